/** VT-d: the first stage, by itself and nested in a second one (iommu.md 2.5, 11.1; specification 3.6, 3.8, 7.1.3). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { plainNested } from './plain-nested.js';
import {
  A1,
  A2,
  CAP_FIRST,
  D1,
  D2,
  EA1,
  EAFE,
  ECAP_FIRST,
  FIRST,
  FIRST_TOP,
  FIVE,
  GUEST,
  NESTED,
  P,
  PAGE1,
  PGSNP,
  PWSNP,
  RW1,
  ScalableLab,
  SECOND,
  SMPWCS,
  SRE,
  SSADE,
  US,
  WPE,
} from './scalable-lab.js';
import {
  hex,
  IOVA,
  LARGE,
  type LabInput,
  PAGE,
  RAM_END,
  READ,
  RW,
  SC,
  SID,
  TOP,
  UnitLab,
  WRITE,
} from './unit-lab.js';

const SNP = 1n << 11n;
const WRITES = { isWrite: true };

describe.each(BUILDS)('the first stage of a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (input: LabInput = {}): ScalableLab => new ScalableLab(core, input);
  const first = (input: LabInput = {}, bits = 0n): ScalableLab => {
    const one = lab(input);
    one.pasid({ type: FIRST, first: bits });
    return one;
  };
  /** Nested: the tables of the first stage stand at guest addresses, which the second stage maps with `bits`. */
  const nested = (input: LabInput = {}, low = 0n, bits = RW): ScalableLab => {
    const one = lab(input);
    one.pasid({ type: NESTED, low });
    for (let page = 0n; page < 6n; page++)
      one.lab.map(GUEST + FIRST_TOP + page * 0x1000n, (FIRST_TOP + page * 0x1000n) | bits);
    return one;
  };

  it('iommu.md 2.5: maps pages of all sizes with 4 and 5 levels, to the low and the high half', () => {
    for (const levels of [4, 5])
      for (const high of [0n, 0xffff_ffff_ffff_ffffn & ~((1n << BigInt(12 + 9 * levels - 1)) - 1n)])
        for (const [level, lg2] of [
          [1, 12n],
          [2, 21n],
          [3, 30n],
        ] as const) {
          const one = first({}, levels === 5 ? FIVE : 0n);
          const address = high | (IOVA & 0x3f_ffff_ffffn);
          const base = (address >> lg2) << lg2;
          // The lowest address bit of a large page is PAT, as bit 7 is in a small one.
          const pat = level === 1 ? LARGE : LARGE | 0x1000n;
          one.map(base, (1n << 30n) | PAGE1 | pat, { level, levels });
          const offset = address - base + 0x123n;
          const expected = { path: 'first-stage', pageLg2: Number(lg2), address: (1 << 30) + Number(offset) };
          const request = { sid: SID, address: base + offset, isWrite: false };
          one.lab.unit.invalidateIotlb();
          for (const iotlb of ['miss', 'hit'])
            expect([levels, level, one.lab.unit.translate(request)]).toMatchObject([
              levels,
              level,
              { ...expected, iotlb },
            ]);
        }
  });

  it('iommu.md 2.5: what a size or a depth needs of the capabilities', () => {
    const noGiga = first({ cap: CAP_FIRST & ~(1n << 56n) });
    noGiga.map(0n, (1n << 30n) | PAGE1 | LARGE, { level: 3 });
    expect(noGiga.cold(0n)).toBe('fault 72');
    for (const cap of [CAP_FIRST, CAP_FIRST & ~(1n << 60n)]) {
      const five = first({ cap }, FIVE);
      five.map(IOVA, PAGE | PAGE1, { levels: 5 });
      expect(five.cold(IOVA)).toBe(cap === CAP_FIRST ? hex(PAGE) : 'fault 5b');
    }
    expect(first({}, 2n << 2n).cold(IOVA)).toBe('fault 5b');
    expect(first({ ecap: ECAP_FIRST & ~(1n << 47n) }).cold(IOVA)).toBe('fault 5b');
    expect(nested({ ecap: ECAP_FIRST & ~(1n << 26n) }).cold(IOVA)).toBe('fault 5b');
    for (const type of [FIRST, NESTED]) {
      const qemu = lab({ options: { vtdModel: 'qemu72', faultReasons: 'qemu72' } });
      qemu.pasid({ type });
      expect(qemu.cold(IOVA)).toBe('fault 58');
    }
  });

  it('iommu.md 11.1: 71 absent, 81 for supervisors, 85 read only, 72 reserved, at every level', () => {
    for (const level of [1, 2, 3, 4]) {
      const one = first();
      one.map(IOVA, PAGE | PAGE1);
      const place = one.place(IOVA, level);
      const entry = one.lab.peek(place);
      const cases: [bigint, string, string][] = [
        [0n, hex(PAGE), hex(PAGE)],
        [P, 'fault 71', 'fault 71'],
        [US, 'fault 81', 'fault 81'],
        [RW1, hex(PAGE), 'fault 85'],
      ];
      for (const [without, reads, writes] of cases) {
        one.lab.poke(place, entry & ~without);
        expect([level, without, one.cold(IOVA), one.cold(IOVA, WRITES)]).toEqual([
          level,
          without,
          reads,
          writes,
        ]);
      }
      for (const bit of [48n, 51n, ...(level === 4 ? [7n] : [])]) {
        one.lab.poke(place, entry | (1n << bit));
        expect([level, bit, one.cold(IOVA)]).toEqual([level, bit, 'fault 72']);
      }
      for (const bit of [3n, 4n, 8n, 9n, 11n, 52n, 62n, 63n]) {
        one.lab.poke(place, entry | (1n << bit));
        expect([level, bit, one.cold(IOVA)]).toEqual([level, bit, hex(PAGE)]);
      }
    }
    const large = first();
    for (const bit of [13n, 20n]) {
      large.map(0n, (1n << 30n) | PAGE1 | LARGE | (1n << bit), { level: 2 });
      expect(large.cold(0n)).toBe('fault 72');
    }
  });

  it('iommu.md 11.1: 73 and 70 tables outside memory, 80 addresses that are not canonical, 87 pages of interrupts', () => {
    const one = lab();
    one.pasid({ type: FIRST, top: RAM_END });
    expect(one.cold(IOVA)).toBe('fault 73');
    one.pasid({ type: FIRST });
    one.map(IOVA, RAM_END | PAGE1, { level: 3 });
    expect(one.cold(IOVA)).toBe('fault 70');
    for (const bits of [0n, FIVE]) {
      const width = bits === FIVE ? 57n : 48n;
      const two = first({}, bits);
      for (const address of [1n << (width - 1n), 1n << width, (1n << 64n) - (1n << width)])
        expect([bits, two.cold(address)]).toEqual([bits, 'fault 80']);
      for (const address of [(1n << (width - 1n)) - 4096n, (1n << 64n) - (1n << (width - 1n))])
        expect([bits, two.cold(address)]).toEqual([bits, 'fault 71']);
    }
    const to = first();
    to.map(IOVA, 0xfee0_0000n | PAGE1);
    expect(to.cold(IOVA)).toBe('fault 87');
  });

  it('specification 3.6.1: supervisors need SRE, are held to R/W by WPE alone, and leave nothing for users', () => {
    const request = { pasid: 5, isPrivileged: true };
    for (const bits of [0n, SRE, SRE | WPE]) {
      const one = lab();
      one.pasid({ type: FIRST, pasid: 5, first: bits });
      one.map(IOVA, PAGE | P);
      const reads = bits === 0n ? 'fault 5d' : hex(PAGE);
      const writes = bits === 0n ? 'fault 5d' : bits === SRE ? hex(PAGE) : 'fault 85';
      expect([bits, one.cold(IOVA, request), one.go(IOVA, { ...request, ...WRITES })]).toEqual([
        bits,
        reads,
        writes,
      ]);
      expect(one.go(IOVA, { pasid: 5 })).toBe('fault 81');
    }
    // A unit without supervisor requests has SRE reserved.
    const none = lab({ ecap: ECAP_FIRST & ~(1n << 31n) });
    none.pasid({ type: FIRST, pasid: 5, first: SRE });
    expect(none.cold(IOVA, request)).toBe('fault 5a');
    // RID_PRIV makes requests without a PASID privileged.
    const rid = first({}, SRE);
    rid.map(IOVA, PAGE | P | RW1);
    expect(rid.cold(IOVA)).toBe('fault 81');
    rid.context({ rid: 63n | (1n << 20n) });
    expect(rid.cold(IOVA)).toBe(hex(PAGE));
  });

  it('IOM-42: PGSNP forces for the first stage, SNP or PGSNP for both stages, SNP alone for the second, with snoop control', () => {
    for (const sc of [0n, SC])
      for (const pgsnp of [0n, PGSNP])
        for (const snp of [0n, SNP])
          for (const type of [FIRST, NESTED, SECOND]) {
            const one = nested({ ecap: ECAP_FIRST | sc, options: { pgsnpWithoutSc: 'ignore' } });
            one.pasid({ type, high: PWSNP | pgsnp });
            const offset = type === NESTED ? GUEST : 0n;
            one.map(IOVA, (PAGE + offset) | PAGE1, { offset });
            one.lab.map(type === SECOND ? IOVA : PAGE + offset, PAGE | RW | snp);
            const isByEntry = type !== SECOND && pgsnp !== 0n;
            const forces = sc !== 0n && (isByEntry || (type !== FIRST && snp !== 0n));
            const expected =
              type !== FIRST && sc === 0n && snp !== 0n
                ? { kind: 'fault', reason: 0x7a }
                : { kind: 'translated', address: Number(PAGE), forcesSnoop: forces };
            for (const repeat of ['miss', 'hit'])
              expect([
                sc,
                pgsnp,
                snp,
                type,
                repeat,
                one.lab.unit.translate({ sid: SID, address: IOVA, isWrite: false }),
              ]).toMatchObject([sc, pgsnp, snp, type, repeat, expected]);
          }
    const reserved = lab();
    reserved.pasid({ type: FIRST, high: PGSNP | PWSNP });
    expect(reserved.cold(IOVA)).toBe('fault 5a');
  });

  it('specification 3.8: a nested page is what both stages have in common', () => {
    for (const [level, lg2] of [
      [1, 12],
      [2, 21],
    ] as const)
      for (const [secondLevel, secondLg2] of [
        [1, 12],
        [2, 21],
        [3, 30],
      ] as const) {
        const one = nested();
        const middle = GUEST + (5n << 30n);
        one.map(0x4000_0000n, middle | PAGE1 | (level === 1 ? 0n : LARGE), { level, offset: GUEST });
        one.lab.map(middle, (1n << 30n) | RW | (secondLevel === 1 ? 0n : LARGE), { level: secondLevel });
        one.lab.unit.invalidateIotlb();
        const answer = one.lab.unit.translate({ sid: SID, address: 0x4000_0123n, isWrite: false });
        expect(answer).toMatchObject({
          kind: 'translated',
          address: 0x4000_0123,
          pageLg2: Math.min(lg2, secondLg2),
          path: 'nested',
          iotlb: 'miss',
        });
        expect(one.go(0x4000_0ff0n, WRITES)).toBe('0x40000ff0');
      }
  });

  it('specification 7.1.3: what the second stage refuses on the way of the first has codes of its own', () => {
    const ready = (): ScalableLab => {
      const one = nested();
      one.map(IOVA, (GUEST + PAGE) | PAGE1 | A1 | D1, { offset: GUEST, table: PAGE1 | A1 });
      one.lab.map(GUEST + PAGE, PAGE | RW);
      return one;
    };
    const tableOf = (one: ScalableLab, level: number): bigint =>
      GUEST + (one.place(IOVA, level, { offset: GUEST }) & ~0xfffn);
    expect([ready().cold(IOVA), ready().cold(IOVA, WRITES)]).toEqual([hex(PAGE), hex(PAGE)]);
    for (const level of [4, 3, 2, 1])
      for (const [bits, expected] of [
        [0n, 'fault 79'],
        [WRITE, level === 4 ? 'fault 75' : 'fault 76'],
        [RW | SNP, 'fault 7a'],
        [READ, hex(PAGE)],
      ] as const) {
        const one = ready();
        const table = tableOf(one, level);
        one.lab.map(table, (table - GUEST) | bits);
        expect([level, bits, one.cold(IOVA)]).toEqual([level, bits, expected]);
      }
    const page = (bits: bigint, request = {}): string => {
      const one = ready();
      one.lab.map(GUEST + PAGE, PAGE | bits);
      return one.cold(IOVA, request);
    };
    expect([page(0n), page(WRITE), page(READ), page(READ, WRITES), page(WRITE, WRITES)]).toEqual([
      'fault 79',
      'fault 86',
      hex(PAGE),
      'fault 85',
      hex(PAGE),
    ]);
    // Addresses of the first stage that the second does not have.
    const wide = ready();
    wide.map(IOVA, (1n << 47n) | (1n << 46n) | PAGE1, { offset: GUEST });
    expect(wide.cold(IOVA)).toBe('fault 79');
    const narrow = new ScalableLab(core, { cap: (CAP_FIRST & ~(63n << 16n)) | (38n << 16n) });
    narrow.pasid({ type: NESTED, top: FIRST_TOP });
    for (let n = 0n; n < 6n; n++) narrow.lab.map(FIRST_TOP + n * 0x1000n, (FIRST_TOP + n * 0x1000n) | RW);
    narrow.map(IOVA, (1n << 39n) | PAGE1);
    expect(narrow.cold(IOVA)).toBe('fault 74');
    narrow.map(IOVA, (1n << 39n) | PAGE1, { level: 2 });
    expect(narrow.cold(IOVA)).toBe('fault 74');
    narrow.pasid({ type: NESTED, top: 1n << 39n });
    expect(narrow.cold(IOVA)).toBe('fault 5b');
    // Tables of the second stage outside memory: the top one, and one below.
    const out = nested();
    out.lab.poke(0x6000n + 64n * 63n, RAM_END | (NESTED << 6n) | (2n << 2n) | 1n);
    expect(out.cold(IOVA)).toBe('fault 7b');
    const below = ready();
    below.lab.map(GUEST + FIRST_TOP, RAM_END | RW, { level: 3 });
    expect(below.cold(IOVA)).toBe('fault 78');
  });

  it('specification 3.6.2: A is set at every level, D by writes in the leaf, EA with EAFE', () => {
    for (const bits of [0n, EAFE]) {
      const one = first({}, bits);
      one.map(IOVA, PAGE | PAGE1);
      const seen = (): bigint[] =>
        [4, 3, 2, 1].map((level) => one.lab.peek(one.place(IOVA, level)) & (A1 | D1 | EA1));
      const flags = A1 | (bits === EAFE ? EA1 : 0n);
      expect(seen()).toEqual([0n, 0n, 0n, 0n]);
      one.cold(IOVA);
      expect(seen()).toEqual([flags, flags, flags, flags]);
      // What is kept does not serve a write until it is marked.
      const write = { sid: SID, address: IOVA, isWrite: true };
      expect(one.lab.unit.translate(write)).toMatchObject({ iotlb: 'miss' });
      expect(seen()).toEqual([flags, flags, flags, flags | D1]);
      expect(one.lab.unit.translate(write)).toMatchObject({ iotlb: 'hit' });
      expect(one.lab.unit.translate({ ...write, isWrite: false })).toMatchObject({ iotlb: 'hit' });
    }
    // A refused request leaves no flag.
    const refused = first();
    refused.map(IOVA, PAGE | P | US);
    expect(refused.cold(IOVA, WRITES)).toBe('fault 85');
    expect([4, 3, 2, 1].map((level) => refused.lab.peek(refused.place(IOVA, level)) & A1)).toEqual([
      0n,
      0n,
      0n,
      0n,
    ]);
  });

  it('specification 3.7.2: SSADE sets the flags of the second stage, no other entry does', () => {
    for (const low of [0n, SSADE]) {
      const one = lab();
      one.pasid({ type: SECOND, low });
      one.lab.map(IOVA, PAGE | RW);
      const seen = (): bigint[] =>
        [4, 3, 2, 1].map((level) => one.lab.peek(one.place(IOVA, level, { top: TOP })) & (A2 | D2));
      one.cold(IOVA);
      const a = low === SSADE ? A2 : 0n;
      expect(seen()).toEqual([a, a, a, a]);
      expect(one.lab.unit.translate({ sid: SID, address: IOVA, isWrite: true })).toMatchObject({
        iotlb: low === SSADE ? 'miss' : 'hit',
      });
      expect(seen()).toEqual([a, a, a, low === SSADE ? A2 | D2 : 0n]);
    }
    const without = lab({ ecap: ECAP_FIRST & ~(1n << 45n) });
    without.pasid({ type: SECOND, low: SSADE });
    expect(without.cold(IOVA)).toBe('fault 5a');
  });

  it('iommu.md 2.5: 90 and 7C where the unit may not write flags, nothing where they are set', () => {
    for (const ecap of [ECAP_FIRST, ECAP_FIRST & ~SMPWCS]) {
      const one = lab({ ecap });
      one.pasid({ type: FIRST, high: 0n });
      one.map(IOVA, PAGE | PAGE1);
      expect(one.cold(IOVA)).toBe('fault 90');
      for (const level of [4, 3, 2, 1]) {
        const place = one.place(IOVA, level);
        one.lab.poke(place, one.lab.peek(place) | A1);
      }
      expect([one.cold(IOVA), one.go(IOVA, WRITES)]).toEqual([hex(PAGE), 'fault 90']);
      one.lab.poke(one.place(IOVA, 1), PAGE | PAGE1 | A1 | D1);
      expect(one.cold(IOVA, WRITES)).toBe(hex(PAGE));
      const two = lab({ ecap });
      two.pasid({ type: SECOND, low: SSADE, high: 0n });
      two.lab.map(IOVA, PAGE | RW);
      expect(two.cold(IOVA)).toBe('fault 7c');
      if (ecap === ECAP_FIRST) continue;
      one.pasid({ type: FIRST, high: PWSNP });
      expect(one.cold(IOVA)).toBe('fault 5a');
    }
  });

  it('specification 3.8.1: entries of the first stage are marked as far as the second lets them be written', () => {
    const ready = (low: bigint, bits: bigint): ScalableLab => {
      const one = nested({}, low, bits);
      one.map(IOVA, (GUEST + PAGE) | PAGE1, { offset: GUEST });
      one.lab.map(GUEST + PAGE, PAGE | RW);
      return one;
    };
    const one = ready(0n, READ);
    expect([one.cold(IOVA), one.lab.peek(FIRST_TOP + 8n * (IOVA >> 39n)) & A1]).toEqual(['fault 77', 0n]);
    // With flags of its own the second stage wants tables to be writable from the start.
    expect(ready(SSADE, READ).cold(IOVA)).toBe('fault 75');
    const both = ready(SSADE, RW);
    expect(both.cold(IOVA)).toBe(hex(PAGE));
    const leaf = (address: bigint): bigint => both.lab.peek(both.place(address, 1, { top: TOP })) & (A2 | D2);
    expect([leaf(GUEST + FIRST_TOP), leaf(GUEST + PAGE)]).toEqual([A2 | D2, A2]);
    expect(both.go(IOVA, WRITES)).toBe(hex(PAGE));
    expect(leaf(GUEST + PAGE)).toBe(A2 | D2);
  });

  it('walks random tables of one and of two stages as a plain walk does, flags included', () => {
    const one = lab({ ecap: ECAP_FIRST | SC });
    const firstTables = [FIRST_TOP, 0x8_1000n, 0x8_2000n, 0x8_3000n];
    const secondTables = [TOP, 0x9_0000n, 0x9_1000n, 0x9_2000n];
    const pick = fc.constantFrom;
    // Most entries lead on to the next table, and from the last one to a page.
    const leads = fc.nat(9);
    const firstEntry = fc.record({
      leads,
      to: pick(...firstTables, 0x2000_0000n, 0x4000_0000n, PAGE, RAM_END, 1n << 40n, 1n << 50n),
      bits: pick(PAGE1, PAGE1, PAGE1 | A1, PAGE1 | A1 | D1, PAGE1, P | US, P | RW1, 0n, PAGE1 | LARGE),
    });
    const secondEntry = fc.record({
      leads,
      to: pick(...firstTables, ...secondTables, 0x2000_0000n, PAGE, RAM_END, 0n, 0n, 1n << 50n),
      bits: pick(RW, RW, RW, RW | A2, RW | A2 | D2, READ, WRITE, 0n, RW | LARGE, RW | SNP),
    });
    const access = fc.record({
      path: fc.array(fc.nat(1), { minLength: 4, maxLength: 4 }),
      isWrite: fc.boolean(),
    });
    let pages = 0;
    fc.assert(
      fc.property(
        fc.array(firstEntry, { minLength: 8, maxLength: 8 }),
        fc.array(secondEntry, { minLength: 8, maxLength: 8 }),
        fc.record({
          type: pick(FIRST, NESTED),
          low: pick(0n, SSADE),
          first: pick(0n, EAFE),
          high: pick(PWSNP, PWSNP, 0n),
        }),
        fc.array(access, { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (firsts, seconds, setting, accesses, isMapped) => {
          const top = FIRST_TOP;
          one.pasid({ ...setting, top });
          // The tables of the second stage lie below 1 GiB, as do those of the first: index 0 of the upper levels leads there.
          for (const [tables, entries] of [
            [firstTables, firsts],
            [secondTables, seconds],
          ] as const)
            for (const [n, entry] of entries.entries()) {
              const isNext = entry.leads < 8;
              const to = isNext ? (tables[(n >> 1) + 1] ?? PAGE) : entry.to;
              const bits = isNext ? entry.bits & ~LARGE : entry.bits;
              one.lab.poke((tables[n >> 1] as bigint) + 8n * BigInt(n & 1), to | bits);
            }
          if (isMapped) {
            // A second stage that leads on: its upper levels, and the identity for the first gigabyte.
            one.lab.poke(TOP, 0x9_0000n | RW);
            one.lab.poke(0x9_0000n, RW | LARGE);
          }
          for (const { path, isWrite } of accesses) {
            const address = path.reduce((sum, index) => (sum << 9n) | BigInt(index), 0n) << 12n;
            const read = (at: bigint): bigint => (at < 0x10_0000n ? one.lab.peek(at) : 0n);
            const plain = plainNested(read, { ...setting, top, address, isWrite });
            const before = new Map([...plain.flags.keys()].map((at) => [at, read(at)]));
            expect(one.cold(address, { isWrite })).toBe(plain.outcome);
            for (const [at, bits] of plain.flags) expect(read(at)).toBe((before.get(at) as bigint) | bits);
            const { steps } = one.lab.unit;
            const outside = steps.filter((step) => BigInt(step.address) >= RAM_END);
            expect(outside.length).toBeLessThanOrEqual(plain.outcome.startsWith('fault 7') ? 1 : 0);
            if (!plain.outcome.startsWith('0x')) continue;
            pages += 1;
            expect(one.go(address, { isWrite })).toBe(plain.outcome);
          }
        },
      ),
      { numRuns: 600 },
    );
    expect(pages).toBeGreaterThan(60);
  });
});
