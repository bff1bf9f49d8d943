/** Bytes on the wire and credits of single TLPs. */
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeTlp, encodeTlp, ready, splitRequest, type Tlp, type TlpInput } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const FOUR_GIB = 0x1_0000_0000;

function wire(input: TlpInput, payload = 0): number {
  return decodeTlp(encodeTlp(input, payload === 0 ? undefined : new Uint8Array(payload))).wireBytes;
}

describe.each(BUILDS)('single TLPs with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  const LOW = 0x1000;
  const HIGH = FOUR_GIB;

  it('L-01 to L-09 a memory write takes 8 bytes of framing, its header, its data and its digest', () => {
    const laws: readonly (readonly [string, number, number, boolean, number])[] = [
      ['L-01', 4, LOW, false, 24],
      ['L-02', 4, HIGH, false, 28],
      ['L-03', 8, HIGH, false, 32],
      ['L-04', 64, HIGH, false, 88],
      ['L-05', 64, LOW, false, 84],
      ['L-06', 128, HIGH, false, 152],
      ['L-07', 256, HIGH, false, 280],
      ['L-08', 256, LOW, false, 276],
      ['L-08', 256, HIGH, true, 284],
      ['L-09', 512, HIGH, false, 536],
      ['L-09', 4096, HIGH, false, 4120],
    ];
    for (const [law, bytes, address, td, expected] of laws) {
      expect(wire({ type: 'MWr', address, td }, bytes), law).toBe(expected);
      if (td) continue;
      const [tlp] = splitRequest({ op: 'write', address, bytes, options: { mps: 4096 } });
      expect(tlp?.wireBytes, law).toBe(expected);
    }
  });

  it('L-10 a completion with data takes 20 bytes beside its data', () => {
    expect([64, 128, 256].map((bytes) => wire({ type: 'CplD' }, bytes))).toEqual([84, 148, 276]);
  });

  it('L-11 a write of one byte takes as much wire as four, and two bytes across a DW border four more', () => {
    const total = (address: number, bytes: number): number =>
      splitRequest({ op: 'write', address, bytes }).reduce((sum, tlp) => sum + tlp.wireBytes, 0);
    for (const base of [LOW, HIGH]) {
      for (let offset = 0; offset < 4; offset++) expect(total(base + offset, 1)).toBe(total(base, 4));
      expect(splitRequest({ op: 'write', address: base + 3, bytes: 2 }).map(({ length }) => length)).toEqual([
        2,
      ]);
      expect(total(base + 3, 2)).toBe(total(base, 4) + 4);
    }
  });

  it('L-12 reads carry no payload: 24 bytes with 4 DW, CfgRd 20, CplD of 4 bytes 24, MSI 24 or 28', () => {
    for (const length of [1, 64, 1024]) expect(wire({ type: 'MRd', address: HIGH, length })).toBe(24);
    expect(wire({ type: 'CfgRd0' })).toBe(20);
    expect(wire({ type: 'CplD' }, 4)).toBe(24);
    expect(wire({ type: 'MWr', address: 0xfee0_0000 }, 4)).toBe(24);
    expect(wire({ type: 'MWr', address: HIGH }, 4)).toBe(28);
  });

  it('L-25 data credits count 16 bytes each, rounded up to whole dwords first', () => {
    const credits = (bytes: number): number =>
      splitRequest({ op: 'write', address: LOW, bytes, options: { mps: 4096 } })[0]?.dataCredits ?? -1;
    expect([1, 16, 17, 64, 100, 256, 512, 4096].map(credits)).toEqual([1, 1, 2, 4, 7, 16, 32, 256]);
    const read: Tlp | undefined = splitRequest({ op: 'read', address: LOW, bytes: 256 })[0];
    expect(read?.dataCredits).toBe(0);
  });
});
