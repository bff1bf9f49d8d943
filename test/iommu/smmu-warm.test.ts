/** SMMUv3: a stream that is kept answers as one that is read, and the bits that say so count each by itself (iommu.md 4). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { SmmuUnitInput } from '../../src/iommu/smmu-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  DESCRIPTOR,
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
import { hex, PAGE, UnitLab } from './unit-lab.js';

const ADDRESS = 0x5000n;
const UPPER = 0xc000n;
/** The last page of the upper half. */
const LAST = 0xffff_ffff_ffff_f000n;
const TAG = 0xab00_0000_0000_0000n;
const TAG_BITS = 0xff00_0000_0000_0000n;
const R = 1n << 45n;
const TBI0 = 1n << 38n;
const TBI1 = 1n << 39n;
const HAD = 2n;
const HA = 1n << 43n;
const HD = 1n << 42n;
const DBM = 1n << 51n;
const AF = 0x400n;
const S2AFFD = 1n << 53n;
const S2PTW = 1n << 54n;
const S2R = 1n << 58n;
const APTABLE_HIDDEN = 1n << 61n;
const APTABLE_READ_ONLY = 1n << 62n;
const STAGE_1 = 0xbn;
const STAGE_2 = 1n | (6n << 1n);

/** An access, what becomes of it, and the event that it leaves. */
interface Expected {
  readonly address: bigint;
  readonly isWrite?: boolean;
  readonly goes: string;
  readonly leaves?: string;
}

describe.each(BUILDS)('a stream that an SMMUv3 keeps on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  /** Asks a unit that has kept nothing, then one that has kept the stream, whose entry and descriptor are gone from memory. */
  function both(make: () => Smmu, expected: readonly Expected[]): void {
    for (const { address, isWrite = false, goes, leaves = 'none' } of expected)
      for (const warmth of ['cold', 'warm']) {
        const one = make();
        if (warmth === 'warm') {
          one.go(0n);
          one.unit.invalidateTlb();
          one.unit.takeEvents();
          one.stream(SID);
          one.poke(DESCRIPTOR, 0n);
        }
        const where = [warmth, hex(address), isWrite];
        const seen = one.go(address, isWrite);
        expect([...where, seen]).toEqual([...where, goes]);
        expect([...where, describeEvent(one)]).toEqual([...where, leaves]);
        const kept = one.unit.steps.every(({ what }) => what !== 'stream');
        expect([...where, kept]).toEqual([...where, warmth === 'warm']);
      }
  }

  const stage1 = (
    { bits = 0n, clear = 0n, had0 = false, had1 = false, upper = true } = {},
    input: Partial<SmmuUnitInput> = {},
  ): Smmu => {
    const one = new Smmu(core, {}, 16, input);
    one.map(0n, PAGE | LEAF);
    one.map(ADDRESS, PAGE | LEAF);
    one.map(ADDRESS + 0x1000n, PAGE | LEAF | READ_ONLY);
    for (const [table, below] of [
      [UPPER, 0xd000n | TABLE],
      [0xd000n, 0xe000n | TABLE],
      [0xe000n, 0xf000n | TABLE],
      [0xf000n, OTHER | LEAF],
    ] as const)
      one.poke(table + 8n * 511n, below);
    const halves = upper
      ? (descriptorOf(16n) & ~(1n << 30n)) | (16n << 16n) | (2n << 22n)
      : descriptorOf(16n);
    one.context({
      word: (halves | bits) & ~clear,
      table: TOP | (had0 ? HAD : 0n),
      upper: UPPER | (had1 ? HAD : 0n),
    });
    return one;
  };

  it('IOM-38: CD.R counts for a descriptor that is kept', () => {
    const faults = (leaves: (type: string) => string): Expected[] => [
      { address: ADDRESS, goes: hex(PAGE) },
      { address: 0x9000n, goes: 'event 10', leaves: leaves('10') },
      { address: ADDRESS + 0x1000n, isWrite: true, goes: 'event 13', leaves: leaves('13') },
    ];
    both(
      () => stage1(),
      faults((type) => `event ${type} of stage 1`),
    );
    both(
      () => stage1({ clear: R }),
      faults(() => 'none'),
    );
  });

  it('iommu.md 4.4: TBI0 is of the low half, TBI1 of the high one', () => {
    for (const bits of [0n, TBI0, TBI1, TBI0 | TBI1]) {
      const wrong = { goes: 'event 10', leaves: 'event 10 of stage 1' };
      both(
        () => stage1({ bits }),
        [
          { address: ADDRESS, goes: hex(PAGE) },
          { address: LAST, goes: hex(OTHER) },
          { address: ADDRESS | TAG, ...((bits & TBI0) !== 0n ? { goes: hex(PAGE) } : wrong) },
          { address: (LAST & ~TAG_BITS) | TAG, ...((bits & TBI1) !== 0n ? { goes: hex(OTHER) } : wrong) },
        ],
      );
    }
  });

  it('IOM-36: HAD0 is of the low half, HAD1 of the high one; without it both bits of APTable count', () => {
    for (const bit of [APTABLE_HIDDEN, APTABLE_READ_ONLY])
      for (const [had0, had1] of [
        [false, false],
        [true, false],
        [false, true],
        [true, true],
      ] as const) {
        const make = (): Smmu => {
          const one = stage1({ had0, had1 });
          for (const place of [TOP, UPPER + 8n * 511n]) one.poke(place, one.peek(place) | bit);
          return one;
        };
        const refused = { goes: 'event 13', leaves: 'event 13 of stage 1' };
        const isReadOnly = bit === APTABLE_READ_ONLY;
        both(
          make,
          [false, true].flatMap((isWrite) => {
            const isRefused = isWrite || !isReadOnly;
            return [
              { address: ADDRESS, isWrite, ...(isRefused && !had0 ? refused : { goes: hex(PAGE) }) },
              { address: LAST, isWrite, ...(isRefused && !had1 ? refused : { goes: hex(OTHER) }) },
            ];
          }),
        );
        // A privileged request is not what bit 61 refuses.
        const privileged = make().go(ADDRESS, isReadOnly, true);
        expect([bit, had0, privileged]).toEqual([bit, had0, isReadOnly && !had0 ? 'event 13' : hex(PAGE)]);
      }
  });

  it('iommu.md 4.2: HA sets AF; HD counts with HA alone', () => {
    const page = PAGE | LEAF | READ_ONLY | DBM;
    for (const [bits, write, after] of [
      [0n, 'event 13', page],
      [HA, 'event 13', page],
      [HD, 'event 13', page],
      [HA | HD, hex(PAGE), page & ~READ_ONLY],
    ] as const) {
      let place = 0n;
      let one: Smmu | undefined;
      const make = (): Smmu => {
        one = stage1({ bits, upper: false }, { hardwareFlags: 'dirty' });
        place = one.map(ADDRESS, page);
        return one;
      };
      both(make, [
        {
          address: ADDRESS,
          isWrite: true,
          goes: write,
          leaves: write === 'event 13' ? 'event 13 of stage 1' : 'none',
        },
      ]);
      expect([bits, one?.peek(place)]).toEqual([bits, after]);
      const unused = (): Smmu => {
        one = stage1({ bits, upper: false }, { hardwareFlags: 'dirty' });
        place = one.map(ADDRESS, page & ~AF);
        return one;
      };
      const isSet = (bits & HA) !== 0n;
      both(unused, [
        {
          address: ADDRESS,
          goes: isSet ? hex(PAGE) : 'event 12',
          leaves: isSet ? 'none' : 'event 12 of stage 1',
        },
      ]);
      expect([bits, one?.peek(place)]).toEqual([bits, isSet ? page : page & ~AF]);
    }
  });

  it('iommu.md 4.3: S2R and S2AFFD count for an entry that is kept', () => {
    for (const records of [true, false])
      for (const ignores of [true, false]) {
        const word = stage2Word({ extra: ignores ? S2AFFD : 0n, clear: records ? 0n : S2R });
        const make = (): Smmu => {
          const one = new Smmu(core);
          one.stream(SID, STAGE_2, 0n, word, TOP_2);
          const second = new Stage2(one);
          second.map(0n, PAGE | LEAF_2);
          second.map(ADDRESS, PAGE | (LEAF_2 & ~AF));
          return one;
        };
        const left = (type: string): string => (records ? `event ${type} of input` : 'none');
        both(make, [
          { address: 0n, goes: hex(PAGE) },
          { address: ADDRESS, ...(ignores ? { goes: hex(PAGE) } : { goes: 'event 12', leaves: left('12') }) },
          { address: 0x9000n, goes: 'event 10', leaves: left('10') },
        ]);
      }
  });

  it('iommu.md 4.4: S2PTW counts for an entry that is kept: no tables in device memory', () => {
    for (const protects of [true, false]) {
      const make = (): Smmu => {
        const one = new Smmu(core);
        const second = nest(one, stage2Word({ extra: protects ? S2PTW : 0n }));
        one.map(0n, 0x9012_3000n | LEAF);
        one.map(ADDRESS, 0x9012_3000n | LEAF);
        for (const place of [TOP, 0x8000n, 0x9000n]) one.poke(place, NESTED | one.peek(place));
        // The descriptor is in normal memory, the tables are in that of a device.
        for (let page = 0n; page < 0x1_0000n; page += 0x1000n)
          second.map(NESTED | page, page | (page === DESCRIPTOR ? LEAF_2 : LEAF_2 & ~0x38n));
        second.map(0x9012_3000n, PAGE | LEAF_2);
        return one;
      };
      both(make, [
        {
          address: ADDRESS,
          ...(protects ? { goes: 'event 13', leaves: 'event 13 of table' } : { goes: hex(PAGE) }),
        },
      ]);
    }
  });

  it('iommu.md 6: tables of context descriptors stand at a multiple of their size, whatever the bits below say', () => {
    const contexts = 0x8_0000n;
    const lists = 0x6_0000n;
    const cases: [string, bigint, number, number, bigint, bigint, bigint][] = [
      // Format, log2 of descriptors, substream, bits that do not count: of the pointer, of the list's; where it stands.
      ['linear', 0n, 4, 5, 0x3c0n, 0n, contexts + 64n * 5n],
      ['reserved as linear', 3n, 4, 5, 0x200n, 0n, contexts + 64n * 5n],
      ['lists of 64', 1n, 11, 0x7c5, 0xc0n, 0n, contexts + 64n * 5n],
      ['lists of 1024', 2n, 15, 0x405, 0xc0n, 0xf000n, contexts + 64n * 5n],
    ];
    for (const [name, format, most, substream, pointer, list, at] of cases) {
      const one = new Smmu(core);
      one.map(ADDRESS, PAGE | LEAF);
      const isLinear = format === 0n || format === 3n;
      const base = isLinear ? contexts : lists;
      if (!isLinear)
        one.poke(lists + 8n * BigInt(substream >> (format === 1n ? 6 : 10)), contexts | list | 1n);
      one.poke(at, descriptorOf(16n));
      one.poke(at + 8n, TOP);
      one.stream(SID, base | pointer | STAGE_1 | (format << 4n) | (BigInt(most) << 59n));
      const answer = one.unit.translate({ sid: SID, pasid: substream, address: ADDRESS, isWrite: false });
      expect([name, answer]).toMatchObject([name, { kind: 'translated', address: Number(PAGE) }]);
    }
  });
});
