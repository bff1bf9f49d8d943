/** The function measurement block: the stores of an update (sheet zpci.md 7). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { type FmbUpdateInput, fmbFailure, updateFmb } from '../../src/zpci/fmb.js';

const COUNTERS = { loads: 1, stores: 2, storeBlocks: 3, refreshes: 4n };
const PLAIN: FmbUpdateInput = { address: 0x1000, samples: 7, tod: 0x1234_5678_9abcn, counters: COUNTERS };

/** Writes as `offset: hex`. */
function listed(input: FmbUpdateInput): string[] {
  return updateFmb(input).writes.map(
    ({ address, bytes }) =>
      `${BigInt(address) - BigInt(input.address)}: ${Buffer.from(bytes).toString('hex')}`,
  );
}

/** Memory of the block after each store of an update. */
function* memoryOf(input: FmbUpdateInput): Generator<DataView> {
  const memory = new Uint8Array(128).fill(0xee);
  for (const { address, bytes } of updateFmb(input).writes) {
    memory.set(bytes, Number(BigInt(address) - BigInt(input.address)));
    yield new DataView(memory.slice().buffer);
  }
}

describe('an update', () => {
  it('stores time with U, samples, four counters, and time without U', () => {
    expect(listed(PLAIN)).toEqual([
      '8: 00002468acf13579',
      '4: 00000007',
      '16: 0000000000000001',
      '24: 0000000000000002',
      '32: 0000000000000003',
      '40: 0000000000000004',
      '8: 00002468acf13578',
    ]);
    expect(updateFmb(PLAIN).samples).toBe(8);
    expect(updateFmb({ ...PLAIN, samples: 0xffff_ffff }).samples).toBe(0);
  });

  it('Z-FMB-04: the low bit of last update is 1 in it, and 0 afterwards', () => {
    const bits = [...memoryOf({ ...PLAIN, todAtEnd: 0x8000_0000_0000_0001n })].map((view) =>
      view.getBigUint64(8),
    );
    expect(bits.slice(0, -1).every((value) => (value & 1n) === 1n)).toBe(true);
    expect(bits.at(-1)).toBe(2n);
  });

  it.each<[0 | 1 | 2 | 3, string, number]>([
    [0, '00800000', 2],
    [1, '01000000', 4],
    [2, '02000000', 2],
    [3, '03000000', 1],
  ])('of format %i has word 0 %s and %i further counters', (format, head, count) => {
    const further = Array.from({ length: count }, (_, n) => 0x100 + n);
    const lines = listed({ ...PLAIN, format, further });
    expect(lines[1]).toBe(`0: ${head}`);
    expect(lines.slice(7, -1)).toEqual(
      further.map((value, n) => `${48 + 8 * n}: ${value.toString(16).padStart(16, '0')}`),
    );
    expect(() => updateFmb({ ...PLAIN, format, further: [...further, 1] })).toThrow(ZtlpError);
  });

  it('ends up in memory as given, whatever is given, and stays inside the block', () => {
    const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
    const input = fc.record({
      address: fc.nat(0xffff).map((n) => BigInt(n) << 40n),
      samples: fc.nat(0xffff_ffff),
      tod: u64,
      todAtEnd: u64,
      counters: fc.record({ loads: u64, stores: u64, storeBlocks: u64, refreshes: u64 }),
      format: fc.constant(1 as const),
      further: fc.array(u64, { minLength: 4, maxLength: 4 }),
    });
    fc.assert(
      fc.property(input, (update) => {
        const view = [...memoryOf(update)].at(-1) as DataView;
        expect(view.getUint32(4)).toBe(update.samples);
        expect(view.getBigUint64(8)).toBe(BigInt.asUintN(64, update.todAtEnd << 1n));
        const counters = [...Object.values(update.counters), ...update.further];
        expect(counters.map((_, n) => view.getBigUint64(16 + 8 * n))).toEqual(counters);
        expect(view.getBigUint64(80)).toBe(0xeeee_eeee_eeee_eeeen);
      }),
    );
  });

  it('refuses what does not fit', () => {
    const wrong: readonly Partial<FmbUpdateInput>[] = [
      { address: 0x1008 },
      { address: -16 },
      { samples: 2 ** 32 },
      { tod: 1n << 64n },
      { counters: { ...COUNTERS, loads: -1 } },
      { format: 4 as 3 },
    ];
    for (const change of wrong) expect(() => updateFmb({ ...PLAIN, ...change })).toThrow(ZtlpError);
  });

  it('that fails is event 0x2a', () => {
    expect(fmbFailure(0x1000)).toEqual({ pec: 0x2a, address: 0x1000 });
  });
});
