/** LCRC and ECRC of a TLP against a bitwise CRC. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ecrc, encodeTlp, lcrc, ready } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { crc32, crcBytes, hex, pattern, thrownBy } from '../support/reference.js';

const upTo = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

describe.each(BUILDS)('single TLPs with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  it('TLP-04 compute the known LCRC of sequence 0 and twelve zero bytes', () => {
    expect(hex(lcrc(new Uint8Array(12), 0))).toBe('c7 79 bb d1');
  });

  it('TLP-04 compute the LCRC as a bitwise CRC over sequence number and TLP, at every length and sequence', () => {
    // The reference itself: CRC-32 of "123456789" (tlp.md 7).
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf4_3926);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), upTo(0xfff), (bytes, sequence) => {
        const expected = crcBytes(crc32([Math.floor(sequence / 256), sequence % 256, ...bytes]));
        expect(hex(lcrc(bytes, sequence))).toBe(hex(expected));
      }),
      { numRuns: 600 },
    );
    const largest = pattern(4096 + 20, 3);
    expect(hex(lcrc(largest, 0xfff))).toBe(hex(crcBytes(crc32([0x0f, 0xff, ...largest]))));
  });

  it('TLP-04 refuse a sequence number of more than 12 bits', () => {
    for (const sequence of [-1, 4096, 1.5]) {
      expect(thrownBy(() => lcrc(new Uint8Array(12), sequence))).toMatchObject({
        code: 'out-of-range',
        field: 'sequence',
      });
    }
  });

  it('TLP-18 compute the ECRC as a bitwise CRC with Type[0] and EP taken as 1', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 80 }), (bytes) => {
        const copy = [...bytes];
        copy[0] = (copy[0] ?? 0) | 0x01;
        copy[2] = (copy[2] ?? 0) | 0x40;
        const before = hex(bytes);
        expect(hex(ecrc(bytes, { prefixes: 0 }))).toBe(hex(crcBytes(crc32(copy))));
        expect(hex(bytes)).toBe(before);
      }),
      { numRuns: 600 },
    );
  });

  it('TLP-18 keep the ECRC when only Type[0] or EP differ, and change it with any other bit', () => {
    const bytes = encodeTlp({ type: 'MWr', address: 0x1234, tag: 0x2a5, tc: 3, td: true }, pattern(8), {
      digest: false,
    });
    const original = hex(ecrc(bytes));
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = Uint8Array.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const isVariant = bit === 0 || bit === 8 * 2 + 6;
      expect(hex(ecrc(changed)) === original, `bit ${bit & 7} of byte ${bit >> 3}`).toBe(isVariant);
    }
  });

  it('refuse a number of prefixes that no TLP has, options that are none, and what is not bytes', () => {
    const bytes = new Uint8Array(24);
    for (const prefixes of [-1, 1.5, Number.NaN, 9, '1']) {
      expect(thrownBy(() => ecrc(bytes, { prefixes: prefixes as number }))).toMatchObject({
        name: 'ZtlpError',
        code: 'out-of-range',
        field: 'prefixes',
      });
    }
    expect(thrownBy(() => ecrc(bytes, { prefix: 1 } as never))).toMatchObject({
      code: 'unknown-name',
      field: 'options.prefix',
    });
    expect(thrownBy(() => ecrc(bytes, null as never))).toMatchObject({ field: 'options' });
    for (const wrong of [null, undefined, [0, 0], 'abc'] as never[]) {
      expect(thrownBy(() => ecrc(wrong))).toMatchObject({ code: 'invalid-value', field: 'bytes' });
    }
    expect(hex(ecrc(bytes, { prefixes: undefined as never }))).toBe(hex(ecrc(bytes)));
  });

  it('TLP-18 append the ECRC of header and data to a TLP with TD', () => {
    const whole = encodeTlp({ type: 'MWr', td: true, ep: true, address: 0x40 }, pattern(12));
    const body = whole.subarray(0, whole.length - 4);
    expect(whole.length).toBe(12 + 12 + 4);
    expect(hex(whole.subarray(-4))).toBe(hex(ecrc(body)));
  });
});
