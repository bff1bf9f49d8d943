/** SMMUv3 with stage 2, alone and below stage 1: geometry, faults, what the unit keeps (iommu.md 4.3 to 4.5). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { SmmuUnitInput } from '../../src/iommu/smmu-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { plainBoth, plainStage2 } from './plain-smmu.js';
import {
  BLOCK,
  BLOCK_2,
  describeEvent,
  descriptorOf,
  LEAF,
  LEAF_2,
  NESTED,
  nest,
  OTHER,
  READ_ONLY,
  SID,
  Smmu,
  Stage2,
  stage2Word,
  TABLE,
  TOP,
  TOP_2,
} from './smmu-lab.js';
import { hex, PAGE, RAM_END, UnitLab } from './unit-lab.js';

const STAGE_2 = 1n | (6n << 1n);
/** An intermediate address and a virtual one. */
const MIDDLE = 0x9012_3000n;
const ADDRESS = 0x12_3456_7000n;

describe.each(BUILDS)('stage 2 of an SMMUv3 on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const smmu = (input: Partial<SmmuUnitInput> = {}): Smmu => new Smmu(core, {}, 16, input);
  /** A stream with stage 2 alone. */
  const alone = (word = stage2Word(), input: Partial<SmmuUnitInput> = {}): { one: Smmu; second: Stage2 } => {
    const one = smmu(input);
    one.stream(SID, STAGE_2, 0n, word, TOP_2);
    return { one, second: new Stage2(one, Number((word >> 38n) & 3n)) };
  };
  /** A stream with both stages and a page at ADDRESS. */
  const both = (word = stage2Word(), input: Partial<SmmuUnitInput> = {}): { one: Smmu; second: Stage2 } => {
    const one = smmu(input);
    const second = nest(one, word);
    mapNested(one, ADDRESS, MIDDLE | LEAF);
    second.map(MIDDLE, PAGE | LEAF_2);
    return { one, second };
  };

  it('iommu.md 4.1: S2T0SZ and S2SL0 fit with up to 16 top tables, or the entry is 0x04', () => {
    for (let size = 15; size <= 40; size++)
      for (let start = 0; start <= 3; start++) {
        const { one, second } = alone(stage2Word({ size: BigInt(size), start: BigInt(start) }));
        const isLegal = [size >= 30 && size <= 39, size >= 21 && size <= 33, size >= 20 && size <= 24, false][
          start
        ];
        if (isLegal !== true) {
          expect([size, start, one.go(0n)]).toEqual([size, start, 'event 4']);
          continue;
        }
        const last = (1n << BigInt(64 - size)) - 0x1000n;
        for (const address of [0n, last]) second.map(address, PAGE | LEAF_2);
        expect([size, start, one.go(0x123n), one.go(last)]).toEqual([
          size,
          start,
          hex(PAGE + 0x123n),
          hex(PAGE),
        ]);
        expect(one.unit.steps.filter(({ what }) => what.includes('level'))).toHaveLength(2 + start);
        // Beyond the input range there is no translation; beyond what the unit has for addresses, no input.
        expect([size, one.go(last + 0x1000n)]).toEqual([size, size === 20 ? 'event 11' : 'event 10']);
      }
  });

  it('iommu.md 4.3: S2AP, AF with S2AFFD, sizes of blocks and outputs', () => {
    const { one, second } = alone(stage2Word({ outputs: 1n }));
    for (const [permissions, read, write] of [
      [0n, 'event 13', 'event 13'],
      [1n, hex(PAGE), 'event 13'],
      [2n, 'event 13', hex(PAGE)],
      [3n, hex(PAGE), hex(PAGE)],
    ] as const) {
      second.map(MIDDLE, PAGE | (LEAF_2 & ~0xc0n) | (permissions << 6n));
      expect([permissions, one.cold(MIDDLE), one.cold(MIDDLE, true)]).toEqual([permissions, read, write]);
      // What was read says nothing about a write.
      one.cold(MIDDLE);
      expect([permissions, one.go(MIDDLE, true)]).toEqual([permissions, write]);
    }
    second.map(MIDDLE, PAGE | (LEAF_2 & ~0x400n));
    expect(one.cold(MIDDLE)).toBe('event 12');
    one.stream(SID, STAGE_2, 0n, stage2Word({ outputs: 1n, extra: 1n << 53n }), TOP_2);
    expect(one.cold(MIDDLE)).toBe(hex(PAGE));
    second.map(MIDDLE, PAGE | BLOCK_2);
    expect(one.cold(MIDDLE)).toBe('event 10');
    for (const [address, expected] of [
      [1n << 35n, hex((1n << 35n) | 0x34_5678n)],
      [1n << 36n, 'event 11'],
    ] as const)
      for (const level of [1, 2]) {
        const both = alone(stage2Word({ outputs: 1n }));
        both.second.map(0n, address | BLOCK_2, level);
        const offset = level === 1 ? 0x34_5678n : 0x14_5678n;
        expect([address, level, both.one.go(offset)]).toEqual([
          address,
          level,
          expected.startsWith('0x') ? hex(address | offset) : expected,
        ]);
        both.second.map(0n, address | TABLE, level);
        if (address === 1n << 36n) expect(both.one.cold(offset)).toBe('event 11');
      }
  });

  it('iommu.md 4.4: an entry that the unit does not offer is 0x04', () => {
    const cases: [string, bigint][] = [
      ['S2AA64', stage2Word({ clear: 1n << 51n })],
      ['S2ENDI', stage2Word({ extra: 1n << 52n })],
      ['S2TG 64K', stage2Word({ extra: 1n << 46n })],
      ['S2TG 16K', stage2Word({ extra: 2n << 46n })],
      ['S2S', stage2Word({ extra: 1n << 57n })],
      ['S2HA', stage2Word({ extra: 1n << 56n })],
      ['S2HD', stage2Word({ extra: 3n << 55n })],
    ];
    for (const [name, word] of cases) expect([name, alone(word).one.go(0n)]).toEqual([name, 'event 4']);
    const { one } = alone(stage2Word({ outputs: 0n }));
    one.stream(SID, STAGE_2, 0n, stage2Word({ outputs: 0n }), 1n << 32n);
    expect(one.go(0n)).toBe('event 4');
    // A smaller unit has no level 0 to begin with.
    const small = alone(stage2Word({ start: 2n }), { outputWidth: 42 });
    expect(small.one.go(0n)).toBe('event 4');
    expect(alone(stage2Word({ size: 23n }), { outputWidth: 40 }).one.go(0n)).toBe('event 4');
  });

  it('iommu.md 4.5: faults of stage 2 alone have S2, class 2 and the address twice, if S2R says so', () => {
    for (const word of [stage2Word(), stage2Word({ clear: 1n << 58n })]) {
      const { one, second } = alone(word);
      one.go(MIDDLE + 0x18n, true);
      const event = {
        type: 0x10,
        sid: SID,
        address: Number(MIDDLE) + 0x18,
        fetch: 0,
        isRead: false,
        class: 2,
      };
      const isRecorded = word === stage2Word();
      expect(one.unit.takeEvents().events).toEqual(
        isRecorded ? [{ ...event, intermediate: Number(MIDDLE) + 0x18 }] : [],
      );
      second.map(MIDDLE, RAM_END | TABLE, 2);
      one.go(MIDDLE);
      expect(one.unit.takeEvents().events).toMatchObject([
        { type: 0x0b, class: 2, isRead: true, intermediate: Number(RAM_END + 8n * ((MIDDLE >> 12n) & 511n)) },
      ]);
    }
    const { one } = alone();
    one.go(1n << 44n);
    expect(one.unit.takeEvents().events).toEqual([
      { type: 0x11, sid: SID, address: 2 ** 44, fetch: 0, isRead: true, class: 2 },
    ]);
  });

  it('a nested stream has its descriptor, tables and pages behind stage 2', () => {
    const { one } = both();
    expect(one.unit.translate({ sid: SID, address: ADDRESS + 0x123n, isWrite: false })).toMatchObject({
      address: Number(PAGE) + 0x123,
      path: 'nested',
      iotlb: 'miss',
      pageLg2: 12,
    });
    // CD: 2 levels of stage 2; each of 4 levels of stage 1: 2 of stage 2; the page: 3.
    expect(one.unit.steps.filter(({ what }) => what.includes('level'))).toHaveLength(2 + 4 * 3 + 3);
    expect(one.unit.translate({ sid: SID, address: ADDRESS, isWrite: true })).toMatchObject({
      iotlb: 'hit',
      path: 'nested',
    });
  });

  it('iommu.md 4.5: what stage 2 refuses of a nested stream has its class and intermediate address', () => {
    const cases: [string, number, bigint, number, (second: Stage2, one: Smmu) => void][] = [
      ['descriptor', 0, NESTED | 0x3000n, 0x10, (second) => second.map(NESTED, 0n, 2)],
      ['table', 1, 0xa000_4000n, 0x10, (_second, one) => one.context({ table: 0xa000_4000n })],
      [
        'beyond stage 2',
        1,
        (1n << 40n) | 0x4000n,
        0x10,
        (_second, one) => one.context({ table: (1n << 40n) | TOP }),
      ],
      ['page', 2, MIDDLE, 0x10, (second) => second.map(MIDDLE, 0n)],
      ['page without AF', 2, MIDDLE, 0x12, (second) => second.map(MIDDLE, PAGE | (LEAF_2 & ~0x400n))],
      ['page too wide', 2, MIDDLE, 0x11, (second) => second.map(MIDDLE, (1n << 44n) | LEAF_2)],
      ['read only page', 2, MIDDLE, 0x13, (second) => second.map(MIDDLE, PAGE | (LEAF_2 & ~0x80n))],
    ];
    for (const [name, place, intermediate, type, change] of cases)
      for (const isRecorded of [true, false]) {
        const { one, second } = both(isRecorded ? stage2Word() : stage2Word({ clear: 1n << 58n }));
        change(second, one);
        expect([name, one.go(ADDRESS, true)]).toEqual([name, `event ${type.toString(16)}`]);
        expect([name, one.unit.takeEvents().events]).toEqual([
          name,
          isRecorded
            ? [
                {
                  type,
                  sid: SID,
                  address: Number(ADDRESS),
                  fetch: 0,
                  isRead: false,
                  class: place,
                  intermediate: Number(intermediate),
                },
              ]
            : [],
        ]);
      }
    // A fault of stage 1 is none of stage 2, and has its own switch.
    const { one } = both(stage2Word({ clear: 1n << 58n }));
    one.go(0n);
    expect(one.unit.takeEvents().events).toEqual([
      { type: 0x10, sid: SID, address: 0, fetch: 0, isRead: true, class: 2 },
    ]);
    // S2PTW: no tables and descriptors in device memory; pages may be there.
    for (const [ptw, expected] of [
      [0n, hex(PAGE)],
      [1n << 54n, 'event 13'],
    ] as const) {
      const device = both(stage2Word({ extra: ptw }));
      device.second.map(MIDDLE, PAGE | (LEAF_2 & ~0x3cn));
      expect(device.one.go(ADDRESS)).toBe(hex(PAGE));
      device.second.map(NESTED, BLOCK_2 & ~0x3cn, 2);
      expect([ptw, device.one.cold(ADDRESS)]).toEqual([ptw, expected]);
    }
    // A descriptor or table that is not in memory.
    const far = both();
    far.second.map(NESTED, RAM_END | BLOCK_2, 2);
    expect(far.one.go(ADDRESS)).toBe('event 9');
    far.second.map(NESTED, BLOCK_2, 2);
    far.second.map(0xc000_0000n, RAM_END | BLOCK_2, 2);
    far.one.context({ table: 0xc000_0000n });
    expect(far.one.cold(ADDRESS)).toBe('event b');
    expect(far.one.unit.takeEvents().events[0]).toMatchObject({ class: 1, fetch: Number(RAM_END) });
  });

  it('both stages have a say in permissions and sizes', () => {
    for (const [first, second, read, write] of [
      [0n, 3n, hex(PAGE), hex(PAGE)],
      [READ_ONLY, 3n, hex(PAGE), 'event 13'],
      [0n, 1n, hex(PAGE), 'event 13'],
      [0n, 2n, 'event 13', hex(PAGE)],
    ] as const) {
      const lab = both();
      mapNested(lab.one, ADDRESS, MIDDLE | LEAF | first);
      lab.second.map(MIDDLE, PAGE | (LEAF_2 & ~0xc0n) | (second << 6n));
      expect([first, second, lab.one.cold(ADDRESS), lab.one.cold(ADDRESS, true)]).toEqual([
        first,
        second,
        read,
        write,
      ]);
    }
    const block = 0x2_4000_0000n;
    for (const [level, level2, lg2] of [
      [3, 3, 12],
      [3, 2, 12],
      [2, 3, 12],
      [2, 2, 21],
      [1, 2, 21],
      [2, 1, 21],
      [1, 1, 30],
    ] as const) {
      const one = smmu();
      const lower = nest(one);
      mapNested(one, 0x4000_0000n, block | (level === 3 ? LEAF : BLOCK), level);
      lower.map(block, 0x1_c000_0000n | (level2 === 3 ? LEAF_2 : BLOCK_2), level2);
      expect([
        level,
        level2,
        one.unit.translate({ sid: SID, address: 0x4000_0abcn, isWrite: true }),
      ]).toMatchObject([level, level2, { address: 0x1_c000_0abc, pageLg2: lg2 }]);
    }
  });

  it('iommu.md 5: pages are known by VMID and ASID, and dropped so', () => {
    const drops: [string, boolean, boolean, (one: Smmu) => void][] = [
      ['nothing', false, false, () => undefined],
      ['TLBI_NSNH_ALL', true, true, (one) => one.unit.invalidateTlb()],
      ['TLBI_NH_ASID', true, false, (one) => one.unit.invalidateTlb(9, 3)],
      ['of another ASID', false, false, (one) => one.unit.invalidateTlb(8, 3)],
      ['of another VMID', false, false, (one) => one.unit.invalidateTlb(9, 4)],
      ['TLBI_NH_VA', true, false, (one) => one.unit.invalidateAddress(9, ADDRESS, 3)],
      ['TLBI_NH_VAA', true, false, (one) => one.unit.invalidateAddress(undefined, ADDRESS, 3)],
      ['of another page', false, false, (one) => one.unit.invalidateAddress(9, MIDDLE, 3)],
      ['TLBI_NH_ALL', true, false, (one) => one.unit.invalidateVm(3)],
      ['TLBI_S12_VMALL', true, true, (one) => one.unit.invalidateVm(3, true)],
      ['TLBI_S12_VMALL of another', false, false, (one) => one.unit.invalidateVm(4, true)],
      ['TLBI_S2_IPA', false, true, (one) => one.unit.invalidateIntermediate(3, MIDDLE)],
      ['TLBI_S2_IPA of another', false, false, (one) => one.unit.invalidateIntermediate(3, ADDRESS)],
    ];
    for (const [name, isNestedSeen, isAloneSeen, drop] of drops) {
      const { one, second } = both();
      one.stream(SID + 1, STAGE_2, 0n, stage2Word(), TOP_2);
      expect([one.go(ADDRESS), one.go(MIDDLE, false, false, SID + 1)]).toEqual([hex(PAGE), hex(PAGE)]);
      second.map(MIDDLE, OTHER | LEAF_2);
      drop(one);
      expect([name, one.go(ADDRESS), one.go(MIDDLE, false, false, SID + 1)]).toEqual([
        name,
        hex(isNestedSeen ? OTHER : PAGE),
        hex(isAloneSeen ? OTHER : PAGE),
      ]);
    }
    // Stage 1 alone has a VMID, too.
    const one = smmu();
    for (const [sid, vmid, page] of [
      [SID, 0n, PAGE],
      [SID + 1, 5n, OTHER],
    ] as const) {
      one.stream(sid, 0x3000n | 0xbn, 0n, vmid);
      one.map(0x5000n, page | LEAF);
      expect(one.go(0x5000n, false, false, sid)).toBe(hex(page));
    }
    expect(() => one.unit.invalidateTlb(0x1_0000)).toThrow(/asid/);
  });

  it('hardware sets flags in both stages, in stage 1 only where stage 2 lets it write', () => {
    const all = { hardwareFlags: 'dirty' } as const;
    const DBM = 1n << 51n;
    const FLAGS = 3n << 42n;
    for (const isMarked of [true, false]) {
      const { one, second } = both(stage2Word({ extra: isMarked ? 3n << 55n : 0n }), all);
      one.context({ table: NESTED | TOP, word: descriptorOf(16n) | (isMarked ? FLAGS : 0n) });
      const first = (MIDDLE | LEAF | READ_ONLY | DBM) & ~0x400n;
      const page = (PAGE | LEAF_2 | DBM) & ~0x480n;
      const place = mapNested(one, ADDRESS, first);
      const place2 = second.map(MIDDLE, page);
      if (!isMarked) {
        expect([one.go(ADDRESS), one.peek(place), one.peek(place2)]).toEqual(['event 12', first, page]);
        continue;
      }
      expect([one.go(ADDRESS), one.peek(place), one.peek(place2)]).toEqual([
        hex(PAGE),
        first | 0x400n,
        page | 0x400n,
      ]);
      expect(one.unit.translate({ sid: SID, address: ADDRESS, isWrite: true })).toMatchObject({
        permissions: { read: true, write: true },
      });
      expect([one.peek(place), one.peek(place2)]).toEqual([(first | 0x400n) & ~READ_ONLY, page | 0x480n]);
      // Stage 2 lets tables be read only: a fault of a table.
      second.map(NESTED, BLOCK_2 & ~0x80n, 2);
      one.poke(place, first);
      expect([one.cold(ADDRESS), one.peek(place)]).toEqual(['event 13', first]);
      expect(one.unit.takeEvents().events).toMatchObject([
        { class: 1, intermediate: Number(NESTED | place) },
      ]);
    }
    // Access flags without dirty state.
    const { one, second } = alone(stage2Word({ extra: 1n << 56n }), { hardwareFlags: 'access' });
    const place = second.map(MIDDLE, (PAGE | LEAF_2 | DBM) & ~0x480n);
    expect([one.go(MIDDLE), one.go(MIDDLE, true), one.peek(place)]).toEqual([
      hex(PAGE),
      'event 13',
      (PAGE | LEAF_2 | DBM) & ~0x80n,
    ]);
    expect(alone(stage2Word({ extra: 3n << 55n }), { hardwareFlags: 'access' }).one.go(0n)).toBe('event 4');
  });

  it('walks random tables of both stages as a plain walk does, cold and warm', () => {
    const one = smmu();
    const FIRST = [TOP, 0x8000n, 0x9000n, 0xa000n];
    const SECOND = [TOP_2, 0x2_8000n, 0x2_9000n];
    const entry = (
      tables: bigint[],
      leaf: bigint,
      block: bigint,
      places: bigint[],
    ): fc.Arbitrary<[bigint, number, bigint]> =>
      fc.tuple(
        fc.constantFrom(...tables),
        fc.nat(2),
        fc
          .tuple(
            fc.constantFrom(...places),
            fc.constantFrom(
              leaf,
              leaf,
              leaf,
              leaf,
              block,
              block,
              leaf & ~0x80n,
              leaf ^ 0x400n,
              leaf ^ 0x40n,
              0n,
            ),
          )
          .map(([to, bits]) => to | bits),
      );
    const firstEntry = entry(FIRST, LEAF, BLOCK, [
      ...FIRST,
      0x1000n,
      0x20_0000n,
      0x40_1000n,
      0x4000_0000n,
      1n << 40n,
    ]);
    const secondEntry = entry(SECOND, LEAF_2, BLOCK_2, [
      ...SECOND,
      PAGE,
      OTHER,
      0x4000_0000n,
      RAM_END,
      1n << 45n,
    ]);
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(firstEntry, { minLength: 8, maxLength: 12 }),
        fc.array(secondEntry, { minLength: 6, maxLength: 9 }),
        fc.array(
          fc.record({ path: fc.array(fc.nat(2), { minLength: 4, maxLength: 4 }), isWrite: fc.boolean() }),
          {
            minLength: 1,
            maxLength: 10,
          },
        ),
        (isNested, firsts, seconds, accesses) => {
          for (const table of [...FIRST, ...SECOND])
            for (let n = 0n; n < 3n; n++) one.poke(table + 8n * n, 0n);
          one.stream(SID, isNested ? 0x3000n | 1n | (7n << 1n) : STAGE_2, 0n, stage2Word(), TOP_2);
          one.context({ table: TOP });
          for (const [table, index, value] of [...firsts, ...seconds])
            one.poke(table + 8n * BigInt(index), value);
          // The first MiB is itself: structures of stage 1 are to be found.
          for (let n = 0n; n < 16n; n++) one.poke(0x2_a000n + 8n * n, (n << 12n) | LEAF_2);
          one.poke(TOP_2, 0x2_8000n | TABLE);
          one.poke(0x2_8000n, 0x2_a000n | TABLE);
          for (const { path, isWrite } of accesses) {
            const used = isNested ? path : path.slice(1);
            const address = used.reduce((sum, index) => (sum << 9n) | BigInt(index), 0n) << 12n;
            const expected = isNested
              ? plainBoth(one, address, isWrite)
              : plainStage2(one, address, isWrite, 'input');
            seen.add(expected.startsWith('0x') ? 'page' : expected);
            expect(one.cold(address, isWrite)).toBe(expected.split(' of ')[0]);
            if (expected.startsWith('0x')) expect(one.go(address, isWrite)).toBe(expected);
            else expect(describeEvent(one)).toBe(expected);
          }
        },
      ),
      { numRuns: 500, seed: 11 },
    );
    for (const kind of [
      'page',
      'event 10 of input',
      'event 10 of stage 1',
      'event 10 of table',
      'event 13 of input',
      'event b of input',
    ])
      expect(seen).toContain(kind);
  });

  it('answers garbage in tables of both stages, and never leaves memory', () => {
    const one = smmu({ hardwareFlags: 'dirty' });
    const word = fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc
        .tuple(fc.nat(63), fc.constantFrom(LEAF, LEAF_2, TABLE))
        .map(([at, bits]) => (BigInt(at) << 12n) | bits),
    );
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 64, maxLength: 64 }),
        fc.array(word, { minLength: 6, maxLength: 6 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (words, stream, address) => {
          words.forEach((value, n) => {
            for (const shift of [12n, 21n, 30n, 39n])
              one.poke((BigInt(n) << 12n) | (((address >> shift) & 511n) << 3n), value);
          });
          const [low = 0n, high = 0n, extra = 0n, table = 0n, context = 0n, root = 0n] = stream;
          one.stream(
            SID,
            (low & ~0xen) | 1n | (7n << 1n),
            high,
            stage2Word({ extra: extra & (0x3en << 50n) }),
            table,
          );
          one.poke(low & 0xf_ffc0n, descriptorOf(16n) | (context & (3n << 42n)));
          one.poke((low & 0xf_ffc0n) + 8n, root);
          expect(one.cold(address & ~0xfffn, (address & 1n) === 1n)).toMatch(
            /^(0x[0-9a-f]+|event [0-9a-f]+)$/,
          );
          expect(one.core.x.unitSteps(0)).toBeLessThanOrEqual(200);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** Maps `address` in stage 1 of a nested stream: tables stand where the lab puts them, and are named through NESTED. */
function mapNested(one: Smmu, address: bigint, entry: bigint, level = 3): bigint {
  const place = one.map(address, entry, level);
  for (let at = 0, table = TOP; at < level; at++) {
    const slot = table + 8n * ((address >> BigInt(12 + 9 * (3 - at))) & 511n);
    table = one.peek(slot) & 0xf_f000n;
    one.poke(slot, NESTED | table | TABLE);
  }
  return place;
}
