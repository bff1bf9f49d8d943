/** Writers of page tables, each format against a model and a plain reader of the sheet's drawing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { amdV1 } from '../../src/iommu/formats/amd-v1.js';
import type { TableFormat } from '../../src/iommu/formats/format.js';
import { lpaeStage1, lpaeStage2 } from '../../src/iommu/formats/lpae.js';
import { s390Anchor, s390Tables } from '../../src/iommu/formats/s390.js';
import { vtdFirst } from '../../src/iommu/formats/vtd-first.js';
import { vtdSecond } from '../../src/iommu/formats/vtd-second.js';
import { PageTable } from '../../src/iommu/page-table.js';
import { PlainMemory } from '../../src/iommu/table-memory.js';
import {
  amdReader,
  lpaeReader,
  type PlainPage,
  s390Reader,
  vtdFirstReader,
  vtdSecondReader,
} from './plain-readers.js';

const K4 = 0x1000n;
const M2 = 0x20_0000n;
const G1 = 0x4000_0000n;

type Reader = (read: (address: bigint) => bigint, root: bigint, iova: bigint) => PlainPage | null;
/** Name, format, reader, page sizes, and what it cannot express: pages that are only written, a bit for No Snoop. */
const FORMATS: [
  string,
  TableFormat,
  Reader,
  bigint[],
  { writeOnly: boolean; force: 'asked' | 'always' | 'never' },
][] = [
  [
    'vtd-second 39',
    vtdSecond({ width: 39 }),
    vtdSecondReader(3),
    [K4, M2, G1],
    { writeOnly: true, force: 'asked' },
  ],
  ['vtd-second 48', vtdSecond(), vtdSecondReader(4), [K4, M2, G1], { writeOnly: true, force: 'asked' }],
  [
    'vtd-second 57, pages of 4 KiB',
    vtdSecond({ width: 57, largest: 12 }),
    vtdSecondReader(5),
    [K4],
    { writeOnly: true, force: 'asked' },
  ],
  ['vtd-first 4', vtdFirst(), vtdFirstReader(4), [K4, M2, G1], { writeOnly: false, force: 'never' }],
  [
    'vtd-first 5',
    vtdFirst({ levels: 5 }),
    vtdFirstReader(5),
    [K4, M2, G1],
    { writeOnly: false, force: 'never' },
  ],
  ['amd-v1', amdV1({ levels: 3 }), amdReader(3), [K4, M2, G1], { writeOnly: true, force: 'always' }],
  [
    'amd-v1 of all sizes',
    amdV1({ levels: 6, sizes: 'all', forceCoherent: 'enforced' }),
    amdReader(6),
    Array.from({ length: 27 }, (_, n) => K4 << BigInt(n)),
    { writeOnly: true, force: 'asked' },
  ],
  ['lpae-stage1 48', lpaeStage1(), lpaeReader(1, 48, 0), [K4, M2, G1], { writeOnly: false, force: 'never' }],
  [
    'lpae-stage1 33',
    lpaeStage1({ width: 33 }),
    lpaeReader(1, 33, 1),
    [K4, M2, G1],
    { writeOnly: false, force: 'never' },
  ],
  [
    'lpae-stage2 40, two tables at the top',
    lpaeStage2({ width: 40 }),
    lpaeReader(2, 40, 1),
    [K4, M2, G1],
    { writeOnly: true, force: 'never' },
  ],
  ['lpae-stage2 48', lpaeStage2(), lpaeReader(2, 48, 0), [K4, M2, G1], { writeOnly: true, force: 'never' }],
  ['s390 region-third', s390Tables(), s390Reader(1), [K4], { writeOnly: false, force: 'never' }],
  [
    's390 region-first with frames',
    s390Tables({ top: 'region-first', frames: true }),
    s390Reader(3),
    [K4, 0x10_0000n],
    { writeOnly: false, force: 'never' },
  ],
];

interface Leaf {
  readonly iova: bigint;
  readonly address: bigint;
  readonly size: bigint;
  readonly read: boolean;
  readonly write: boolean;
  readonly force: boolean;
}

/** The leaves that a mapping is cut into: at each place the largest size that all fits. */
function cut(
  sizes: readonly bigint[],
  iova: bigint,
  address: bigint,
  bytes: bigint,
): [bigint, bigint, bigint][] {
  const found: [bigint, bigint, bigint][] = [];
  for (let at = 0n; at < bytes; ) {
    const fits = sizes.filter(
      (size) => (iova + at) % size === 0n && (address + at) % size === 0n && at + size <= bytes,
    );
    const size = fits.reduce((most, one) => (one > most ? one : most));
    found.push([iova + at, address + at, size]);
    at += size;
  }
  return found;
}

/** Places around the borders of pages; lengths of pages and of large pages. */
const page = fc.constantFrom(0n, K4, M2 - K4, M2, M2 + K4, 2n * M2, G1 - M2, G1 - K4, G1, G1 + M2);
const length = fc.constantFrom(K4, 2n * K4, 4n * K4, M2 - K4, M2, M2 + K4, 2n * M2, G1);
const step = fc.record({
  isMap: fc.boolean(),
  iova: page,
  address: page.map((at) => at + G1),
  bytes: length,
  read: fc.boolean(),
  write: fc.boolean(),
  force: fc.boolean(),
});

describe.each(FORMATS)('%s', (_name, format, reader, sizes, { writeOnly, force: forcing }) => {
  it('maps and unmaps as a list of pages does, and frees what is empty', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
        const memory = new PlainMemory({ bytes: 2 ** 30 });
        const table = new PageTable(format, memory);
        let model: Leaf[] = [];
        const read = (address: bigint): bigint => memory.read64(address);
        for (const one of steps) {
          // Large pages where the format has none would be many small ones.
          const bytes = one.bytes > M2 * 2n && !sizes.includes(G1) ? M2 : one.bytes;
          const { iova, address } = one;
          if (one.isMap) {
            const isBad =
              (!one.read && !one.write) ||
              model.some((leaf) => leaf.iova < iova + bytes && iova < leaf.iova + leaf.size);
            const before = memory.blocks;
            const map = (): void => table.map(iova, address, bytes, one);
            if (isBad || (bytes === G1 && cut(sizes, iova, address, bytes).length > 2000)) {
              if (!isBad) continue;
              expect(map).toThrow(/mapped already|has to allow/);
              expect(memory.blocks).toBe(before);
              continue;
            }
            map();
            for (const [at, to, size] of cut(sizes, iova, address, bytes))
              model.push({
                iova: at,
                address: to,
                size,
                read: one.read || !writeOnly,
                write: one.write,
                force: forcing === 'always' || (forcing === 'asked' && one.force),
              });
          } else {
            let at = iova;
            for (let leaf: Leaf | undefined; at < iova + bytes; at += leaf.size) {
              leaf = model.find((other) => other.iova === at);
              if (leaf === undefined) break;
              const gone = leaf;
              model = model.filter((other) => other !== gone);
            }
            const flushed: bigint[][] = [];
            expect(table.unmap(iova, bytes, (...range) => flushed.push(range))).toBe(at - iova);
            expect(flushed).toEqual(at === iova ? [] : [[iova, at - 1n]]);
          }
          for (const leaf of [model[0], model[model.length >> 1], model.at(-1)]) {
            if (leaf === undefined) continue;
            for (const offset of [0n, leaf.size - 1n]) {
              const lg2 = leaf.size.toString(2).length - 1;
              const { read: canRead, write, force } = leaf;
              const expected = { address: leaf.address + offset, lg2, read: canRead, write, force };
              expect(reader(read, table.root, leaf.iova + offset)).toEqual(expected);
              const { lg2: pageLg2, ...rest } = expected;
              expect(table.lookUp(leaf.iova + offset)).toEqual({ ...rest, pageLg2 });
            }
          }
          for (const at of [0n, M2 - K4, M2, G1 - 1n, G1, 2n * G1]) {
            if (model.some((leaf) => leaf.iova <= at && at < leaf.iova + leaf.size)) continue;
            expect(reader(read, table.root, at)).toBeNull();
            expect(table.lookUp(at)).toBeNull();
          }
          expect(table.isEmpty).toBe(model.length === 0);
        }
        for (const leaf of model) expect(table.unmap(leaf.iova, K4)).toBe(leaf.size);
        expect([table.isEmpty, memory.blocks]).toEqual([true, 1]);
        table.destroy();
        expect(memory.blocks).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it('reaches the last page of its addresses, and no further', () => {
    const table = new PageTable(format, new PlainMemory());
    const end = 1n << BigInt(format.width);
    table.map(end - K4, 0x7000n, K4);
    expect(table.lookUp(end - 1n)).toMatchObject({ address: 0x7fffn });
    if (format.width < 64) {
      expect(table.lookUp(end)).toBeNull();
      expect(() => table.map(end, 0x7000n, K4)).toThrow(`needs more than ${format.width} bits`);
      expect(() => table.map(end - 2n * K4, 0x7000n, 3n * K4)).toThrow(/bits/);
    }
    if (format.outputWidth < 64) {
      const wide = 1n << BigInt(format.outputWidth);
      expect(() => table.map(0x5000n, wide - K4, 2n * K4)).toThrow(/^address: /);
      table.map(0x5000n, wide - K4, K4);
      expect(table.lookUp(0x5008n)).toMatchObject({ address: wide - K4 + 8n });
    }
  });

  it('leaves everything as it was when memory has no room for a table', () => {
    const top = Math.max(format.bytes(format.levels), 4096);
    for (let room = 1; room < 40; room++) {
      const memory = new PlainMemory({ base: 0x10_0000, bytes: top + room * 4096 });
      const table = new PageTable(format, memory);
      const low = 4n * M2 - 2n * K4;
      try {
        table.map(low, 0x5000n, 0x100_0000n);
        expect(table.lookUp(low + 0xff_ffffn)).not.toBeNull();
        return expect(room).toBeGreaterThan(1);
      } catch (error) {
        expect(error).toMatchObject({ code: 'resource', errno: 'ENOMEM' });
        expect([table.isEmpty, memory.blocks]).toEqual([true, 1]);
        expect(table.lookUp(low)).toBeNull();
      }
    }
    throw new Error('no room was enough');
  });
});

describe('a page table', () => {
  const table = (): PageTable => new PageTable(vtdSecond(), new PlainMemory());

  it('says what is wrong with a mapping', () => {
    const one = table();
    expect(() => one.map(0x800, 0, 4096)).toThrow('iova: 0x800 is not a multiple of 4096');
    expect(() => one.map(0, 1n, 4096)).toThrow('address: 0x1 is not a multiple of 4096');
    expect(() => one.map(0, 0, 0)).toThrow(/^bytes: /);
    expect(() => one.map(-4096, 0, 4096)).toThrow(/^iova: /);
    expect(() => one.map(0, 0, 4096, { read: false, write: false })).toThrow(
      expect.objectContaining({ errno: 'EINVAL' }),
    );
    one.map(0x3000, 0x9000, 0x1000);
    expect(() => one.map(0x1000, 0x9000, 0x3000)).toThrow(
      expect.objectContaining({ errno: 'EEXIST', message: 'iova: 0x3000 is mapped already' }),
    );
    expect(one.lookUp(0x1000)).toBeNull();
  });

  it('unmaps a large page as a whole from its start, and not at all from its middle', () => {
    const one = table();
    one.map(M2, M2, 2n * M2);
    expect(one.unmap(M2 + K4, K4)).toBe(0n);
    expect(one.unmap(M2, K4)).toBe(M2);
    expect(one.lookUp(2n * M2)).toMatchObject({ pageLg2: 21 });
    expect(one.unmap(0n, 8n * M2)).toBe(0n);
    expect(one.unmap(2n * M2, 8n * M2)).toBe(M2);
  });

  it('forgets pages before it frees their tables', () => {
    const memory = new PlainMemory();
    const one = new PageTable(vtdSecond(), memory);
    one.map(0, 0x9000, 4096);
    const seen: number[] = [];
    one.unmap(0, 4096, () => seen.push(memory.blocks));
    expect([seen, memory.blocks]).toEqual([[4], 1]);
  });

  it('IOM-33: a 16 KiB page of AMD is four entries that are alike', () => {
    const memory = new PlainMemory();
    const one = new PageTable(amdV1({ levels: 1, sizes: 'all' }), memory);
    one.map(0x4000, 0x1_0000, 0x4000, { write: false });
    // PR, NextLevel 7, address bit 12 set and bit 13 clear, FC, IR.
    const expected = 1n | (7n << 9n) | 0x1_1000n | (1n << 60n) | (1n << 61n);
    for (let n = 0n; n < 8n; n++)
      expect([n, memory.read64(one.root + 8n * n)]).toEqual([n, n >= 4n ? expected : 0n]);
  });

  it('iommu.md 3: AMD has no pages of 512 GiB', () => {
    const one = new PageTable(amdV1({ levels: 5, sizes: 'all' }), new PlainMemory());
    one.map(0, 0, 1n << 39n);
    expect([one.lookUp(0), one.lookUp(1n << 38n)]).toMatchObject([{ pageLg2: 38 }, { pageLg2: 38 }]);
    const natural = new PageTable(amdV1({ levels: 5 }), new PlainMemory());
    natural.map(0, 0, G1);
    expect(natural.lookUp(0)).toMatchObject({ pageLg2: 30 });
  });

  it('Arm leaves say how memory is reached', () => {
    const memory = new PlainMemory();
    const kinds = [{}, { cache: false }, { device: true }];
    const fields = (format: TableFormat, high: number, low: number): number[] =>
      kinds.map((attributes) => {
        const one = new PageTable(format, memory);
        one.map(0, 0x9000, 4096, attributes);
        let at = one.root;
        for (let n = 1; n < format.levels; n++) at = memory.read64(at) & 0xffff_ffff_f000n;
        return Number((memory.read64(at) >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
      });
    const [first, second] = [lpaeStage1({ width: 39 }), lpaeStage2({ width: 39 })];
    expect([fields(first, 4, 2), fields(first, 9, 8)]).toEqual([
      [1, 0, 2],
      [3, 2, 2],
    ]);
    expect([fields(second, 5, 2), fields(second, 9, 8)]).toEqual([
      [0xf, 0x5, 0x1],
      [3, 2, 2],
    ]);
  });

  it.each([
    ['segment', 0x800n],
    ['region-third', 0x804n],
    ['region-second', 0x808n],
    ['region-first', 0x80cn],
  ] as const)('zpci.md 5.1: the anchor of a %s table designates it', (top, bits) => {
    expect(s390Anchor(0x10_0000n, s390Tables({ top }))).toBe(0x10_0000n | bits);
  });

  it.each([
    ['width', () => vtdSecond({ width: 40 })],
    ['largest', () => vtdSecond({ largest: 22 })],
    ['hostWidth', () => vtdFirst({ hostWidth: 53 })],
    ['largest', () => vtdFirst({ largest: 11 })],
    ['levels', () => amdV1({ levels: 7 })],
    ['width', () => lpaeStage1({ width: 24 })],
    ['width', () => lpaeStage2({ width: 49 })],
    ['outputWidth', () => lpaeStage1({ outputWidth: 52 })],
  ] as const)('refuses a %s that there is not', (field, make) => {
    expect(make).toThrow(expect.objectContaining({ field }));
  });
});

describe('plain memory', () => {
  it('gives aligned blocks, takes only its own back, and ends', () => {
    const memory = new PlainMemory({ base: 0x1100, bytes: 0x4000 });
    expect([memory.allocate(64), memory.allocate(0x1000), memory.allocate(64)]).toEqual([
      0x1100n,
      0x2000n,
      0x3000n,
    ]);
    memory.free(0x2000n);
    expect(memory.allocate(0x1000)).toBe(0x2000n);
    expect(() => memory.free(0x5000n)).toThrow('0x5000 is no block that was allocated');
    expect(() => memory.allocate(0x4000)).toThrow(expect.objectContaining({ errno: 'ENOMEM' }));
  });
});
