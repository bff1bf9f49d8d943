/** Malformed rules of a single TLP as a receiver reports them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type DecodeOptions, decodeTlp, encodeTlp, ready, type TlpInput } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { hex } from '../support/reference.js';

/** First Malformed rule of a request with no data behind it, or undefined. */
function rule(input: TlpInput, options: DecodeOptions = {}, data?: Uint8Array): string | undefined {
  return decodeTlp(encodeTlp(input, data, { malformed: true }), options).malformed?.code;
}

describe.each(BUILDS)('single TLPs with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  it('TLP-14 report data that do not fit Length', () => {
    const write = encodeTlp({ type: 'MWr', length: 2 }, new Uint8Array(8));
    expect(decodeTlp(write).malformed).toBeUndefined();
    expect(decodeTlp(write.subarray(0, 16)).malformed?.code).toBe('length');
    expect(decodeTlp(write.subarray(0, 19)).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...write, ...new Uint8Array(8)])).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...write, 0])).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...encodeTlp({ type: 'MRd' }), 0, 0])).malformed?.code).toBe('length');
  });

  it('TLP-14 report TD without a digest, and a digest without TD', () => {
    const input: TlpInput = { type: 'MWr', td: true };
    const whole = encodeTlp(input, new Uint8Array(4));
    expect(decodeTlp(whole).malformed).toBeUndefined();
    expect(hex(decodeTlp(whole).digest ?? [])).toBe(hex(whole.subarray(16)));
    const bare = encodeTlp(input, new Uint8Array(4), { digest: false });
    expect(decodeTlp(bare).malformed?.code).toBe('digest');
    expect(decodeTlp(bare).digest).toBeUndefined();
    expect(decodeTlp(bare, { digest: false }).malformed).toBeUndefined();
    expect(decodeTlp(whole, { digest: false }).malformed?.code).toBe('digest');
    const plain = encodeTlp({ type: 'MRd' });
    expect(decodeTlp(Uint8Array.from([...plain, 0, 0, 0, 0])).malformed?.code).toBe('digest');
  });

  it('TLP-14 report memory requests that cross 4 KiB', () => {
    expect(rule({ type: 'MRd', address: 0xffc, length: 1 })).toBeUndefined();
    expect(rule({ type: 'MRd', address: 0xffc, length: 2 })).toBe('crosses-4k');
    expect(rule({ type: 'MRd', address: 0x1000, length: 1024 })).toBeUndefined();
    expect(rule({ type: 'MRd', address: 0x1004, length: 1024 })).toBe('crosses-4k');
    expect(rule({ type: 'MRdLk', address: 0x5_0000_0ff8, length: 3 })).toBe('crosses-4k');
    expect(rule({ type: 'MWr', address: 0xff8 }, {}, new Uint8Array(8))).toBeUndefined();
    expect(rule({ type: 'MWr', address: 0xff8 }, {}, new Uint8Array(12))).toBe('crosses-4k');
    expect(rule({ type: 'DMWr', address: 0xff8 }, {}, new Uint8Array(64))).toBe('crosses-4k');
    // A completion has no address to cross anything with.
    expect(
      rule({ type: 'CplD', lowerAddress: 0x7c, byteCount: 4096 }, {}, new Uint8Array(4096)),
    ).toBeUndefined();
  });

  it('TLP-14 let a compare-and-swap end at a page: it touches half of what it carries', () => {
    // Compare and swap values of 8 bytes each: the operand is [0xff8, 0x1000).
    expect(rule({ type: 'CAS', address: 0xff8 }, {}, new Uint8Array(16))).toBeUndefined();
    expect(rule({ type: 'CAS', address: 0xff0 }, {}, new Uint8Array(32))).toBeUndefined();
  });

  it('TLP-14 report a payload above Max_Payload_Size of the receiver', () => {
    for (const type of ['MWr', 'CplD'] as const) {
      for (const mps of [128, 256, 512, 4096]) {
        expect(rule({ type }, { mps }, new Uint8Array(mps))).toBeUndefined();
        if (mps < 4096) expect(rule({ type }, { mps }, new Uint8Array(mps + 4))).toBe('payload');
      }
    }
    expect(rule({ type: 'MRd', length: 1024 }, { mps: 128 })).toBeUndefined();
  });

  it('TLP-14 report I/O and configuration requests that ask for more than the rules allow', () => {
    const types = ['IORd', 'IOWr', 'CfgRd0', 'CfgWr0', 'CfgRd1', 'CfgWr1'] as const;
    for (const type of types) {
      const data = type.includes('Wr') ? new Uint8Array(4) : undefined;
      expect(rule({ type, firstBe: 5 }, {}, data)).toBeUndefined();
      const broken: Partial<TlpInput>[] = [
        { lastBe: 1 },
        { tc: 1 },
        { at: 2 },
        { attr: { ns: true } },
        { attr: { ro: true } },
        { attr: { ido: true } },
      ];
      for (const change of broken) expect(rule({ type, ...change }, {}, data)).toBe('io-config');
      const two = data === undefined ? undefined : new Uint8Array(8);
      expect(rule({ type, length: 2, lastBe: 0 }, {}, two)).toBe('io-config');
    }
  });

  it('TLP-11 accept a Length of 2 with gaps in First BE at a multiple of 8 and report it elsewhere with beCheck', () => {
    for (const type of ['MRd', 'MWr'] as const) {
      const data = type === 'MWr' ? new Uint8Array(8) : undefined;
      const gaps = { type, length: 2, firstBe: 0b1001, lastBe: 0b1111 };
      expect(rule({ ...gaps, address: 0x1008 }, { beCheck: true }, data)).toBeUndefined();
      expect(rule({ ...gaps, address: 0x100c }, { beCheck: true }, data)).toBe('byte-enables');
      expect(rule({ ...gaps, address: 0x100c }, { beCheck: false }, data)).toBeUndefined();
      expect(rule({ ...gaps, address: 0x100c }, {}, data)).toBeUndefined();
    }
  });

  it('TLP-11 check every pair of byte enables by the rules for its Length and address, only with beCheck', () => {
    const toEnd = [0xf, 0xe, 0xc, 0x8];
    const fromStart = [0xf, 0x7, 0x3, 0x1];
    const wrong: string[] = [];
    for (const length of [1, 2, 3, 4]) {
      for (const address of [0x1000, 0x1004]) {
        for (let both = 0; both < 256; both++) {
          const [firstBe, lastBe] = [both % 16, Math.floor(both / 16)];
          const contiguous = toEnd.includes(firstBe) && fromStart.includes(lastBe);
          const isQuad = length === 2 && address % 8 === 0;
          const legal = length === 1 ? lastBe === 0 : isQuad ? firstBe !== 0 && lastBe !== 0 : contiguous;
          const bytes = encodeTlp({ type: 'MRd', address, length, firstBe, lastBe });
          const checked = decodeTlp(bytes, { beCheck: true }).malformed?.code;
          const unchecked = decodeTlp(bytes).malformed;
          if (checked !== (legal ? undefined : 'byte-enables') || unchecked !== undefined) {
            wrong.push(
              `Length ${length} at ${address.toString(16)}: ${firstBe.toString(16)}.${lastBe.toString(16)}`,
            );
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('TLP-11 take the byte enables of a read with TH as a steering tag, not as enables', () => {
    const read: TlpInput = { type: 'MRd', length: 4, firstBe: 5, lastBe: 10 };
    expect(rule({ ...read, th: true }, { beCheck: true })).toBeUndefined();
    expect(rule(read, { beCheck: true })).toBe('byte-enables');
  });

  it('TLP-11 check the byte enables of a write with TH: its steering tag stands in the tag field', () => {
    const write: TlpInput = { type: 'MWr', length: 4, firstBe: 5, lastBe: 10, th: true };
    expect(rule(write, { beCheck: true }, new Uint8Array(16))).toBe('byte-enables');
  });

  it('TLP-11 ignore the byte enables of atomic operations: they are reserved', () => {
    for (const type of ['FetchAdd', 'Swap', 'CAS'] as const) {
      const atomic: TlpInput = { type, length: 2, firstBe: 0, lastBe: 0, address: 0x1000 };
      expect(rule(atomic, { beCheck: true }, new Uint8Array(8))).toBeUndefined();
    }
  });
});
