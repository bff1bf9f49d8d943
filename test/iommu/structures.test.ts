/** Paging-structure caches of the units: what they save, whom they serve, what drops them (iommu.md 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { Draw } from '../soak/random.js';
import { amdHost, smmuStage1, smmuStage2, vtdFirst, vtdSecond } from '../soak/unit-formats.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  CAP_FIRST,
  FIRST,
  FIRST_TOP,
  FIVE,
  GUEST,
  NESTED,
  PAGE1,
  PASID_TABLE,
  RW1,
  SCALABLE_CONTEXT,
  ScalableLab,
  SECOND,
  SRE,
} from './scalable-lab.js';
import * as smmu from './smmu-lab.js';
import {
  DID,
  ECAP,
  hex,
  IOVA,
  LARGE,
  type LabInput,
  PAGE,
  READ,
  RW,
  reads,
  SID,
  UnitLab,
  WRITE,
} from './unit-lab.js';

const OTHER = PAGE + 0x7000n;
const KNOWN = { pagingStructureEntries: 16 };
/** Pages that share all tables with the first one, all but the lowest, all but the two lowest. */
const NEXT = IOVA + 0x1000n;
const FAR = IOVA + 0x20_0000n;
const FARTHER = IOVA + 0x4000_0000n;

describe.each(BUILDS)('paging-structure caches on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  /** A VT-d unit in legacy mode whose context is known, with pages at each distance. */
  function lab({ options = KNOWN, ...input }: LabInput = {}): UnitLab {
    const one = UnitLab.on(core, { ...input, options });
    for (const [n, at] of [IOVA, NEXT, FAR, FARTHER].entries())
      one.map(at, (PAGE + BigInt(n) * 0x1000n) | RW);
    return one;
  }
  const saved = (one: UnitLab, address: bigint, isWrite = false): number =>
    reads(one.unit, () => one.go(address, isWrite))[1];

  it('iommu.md 5: a walk begins at the lowest table that is known, and each level has its own cache', () => {
    const one = lab();
    // Root and context entry, four levels.
    expect(reads(one.unit, () => one.go(IOVA))).toEqual([8, 0]);
    expect(reads(one.unit, () => one.go(NEXT))).toEqual([1, 3]);
    expect(one.unit.steps.map(({ what }) => what)).toEqual(['level 1']);
    expect(reads(one.unit, () => one.go(FAR))).toEqual([2, 2]);
    expect(reads(one.unit, () => one.go(FARTHER))).toEqual([3, 1]);
    expect(reads(one.unit, () => one.go(FARTHER))).toEqual([0, 0]);
    expect(one.unit.counters).toMatchObject({ walkReads: 14, savedReads: 6, misses: 4, hits: 1 });
    one.unit.reset();
    expect(one.unit.counters.savedReads).toBe(0);
  });

  it('iommu.md 5: they are off unless they are asked for, and the reference models have none', () => {
    for (const options of [{}, { ...KNOWN, vtdModel: 'qemu72' }] as const) {
      const one = lab({ options });
      one.go(IOVA);
      expect(reads(one.unit, () => one.go(NEXT))).toEqual([4, 0]);
    }
    const arm = new smmu.Smmu(core, { ...KNOWN, smmuModel: 'qemu72' });
    for (const at of [0x5000n, 0x6000n]) arm.map(at, PAGE | smmu.LEAF);
    arm.go(0x5000n);
    expect(reads(arm.unit, () => arm.go(0x6000n))).toEqual([4, 0]);
  });

  it('the table that was used longest ago leaves a full cache of its level alone', () => {
    const one = lab({ options: { pagingStructureEntries: 2 } });
    const places = [0n, 1n, 2n].map((n) => IOVA + n * 0x20_0000n);
    for (const at of places) for (const page of [0n, 1n, 2n, 3n]) one.map(at + page * 0x1000n, PAGE | RW);
    const [first, second, third] = places as [bigint, bigint, bigint];
    one.go(first);
    one.go(second);
    expect(saved(one, first + 0x1000n)).toBe(3);
    // The second one goes. Its directory is known still.
    one.go(third);
    expect([saved(one, first + 0x2000n), saved(one, second + 0x1000n)]).toEqual([3, 2]);
    // It came back in the place of the third.
    expect([saved(one, first + 0x3000n), saved(one, third + 0x1000n)]).toEqual([3, 2]);
  });

  it('iommu.md 5: a changed table is seen after an invalidation that covers it, not with IH, not before', () => {
    const drops: [string, boolean, (one: UnitLab) => void][] = [
      ['nothing', false, () => undefined],
      ['global', true, (one) => one.unit.invalidateIotlb()],
      ['domain', true, (one) => one.unit.invalidateIotlb(DID)],
      ['another domain', false, (one) => one.unit.invalidateIotlb(DID + 1)],
      ['a page of the table', true, (one) => one.unit.invalidatePages(DID, NEXT, 0)],
      ['the same with IH', false, (one) => one.unit.invalidatePages(DID, NEXT, 0, true)],
      ['that page of another domain', false, (one) => one.unit.invalidatePages(DID + 1, NEXT, 0)],
      ['contexts alone', false, (one) => one.unit.invalidateContexts()],
      [
        'translation off and on',
        true,
        (one) => {
          one.unit.isOn = false;
          one.unit.isOn = true;
        },
      ],
    ];
    for (const [name, isSeen, drop] of drops) {
      const one = lab();
      one.go(IOVA);
      // Another page table, with another page.
      one.poke(0x9_0000n + ((NEXT >> 9n) & 0xff8n), OTHER | RW);
      one.map(IOVA, 0x9_0000n | RW, { level: 2 });
      drop(one);
      expect([name, one.go(NEXT)]).toEqual([name, hex(isSeen ? OTHER : PAGE + 0x1000n)]);
      expect([name, one.cold(NEXT)]).toEqual([name, hex(OTHER)]);
    }
  });

  it('iommu.md 5: tables are those of a domain, whoever asked, and whatever the IOTLB is keyed by', () => {
    for (const iotlbKey of ['domain', 'requester'] as const) {
      const one = lab({ options: { ...KNOWN, iotlbKey } });
      // One of the same domain; one of another, whose tables have another page there.
      one.context({ sid: SID + 1 });
      one.context({ sid: SID + 2, did: BigInt(DID + 1), top: 0x9_0000n });
      for (const level of [4n, 3n, 2n]) {
        const table = 0x9_0000n + (4n - level) * 0x1000n;
        one.poke(table + ((NEXT >> (9n * level)) & 0xff8n), (table + 0x1000n) | RW);
      }
      one.poke(0x9_3000n + ((NEXT >> 9n) & 0xff8n), OTHER | RW);
      one.go(IOVA);
      const ask = (sid: number): [string, number] => {
        let answer = '';
        const known = reads(one.unit, () => {
          answer = one.go(NEXT, false, sid);
        });
        return [answer, known[1]];
      };
      expect([iotlbKey, ask(SID + 2)]).toEqual([iotlbKey, [hex(OTHER), 0]]);
      expect([iotlbKey, ask(SID + 1)]).toEqual([iotlbKey, [hex(PAGE + 0x1000n), 3]]);
    }
  });

  it('a page invalidation leaves what is known above other pages, and drops every level above its own', () => {
    const one = lab();
    for (const at of [IOVA, FAR]) one.go(at);
    one.unit.invalidatePages(DID, FAR, 0);
    one.map(FAR + 0x1000n, PAGE | RW);
    // Its table, and with it the two levels that both share; the table of the first page stays.
    expect([saved(one, NEXT), saved(one, FAR + 0x1000n)]).toEqual([3, 0]);
  });

  it('a write is not led by a table whose entries are read-only, and faults where a whole walk does', () => {
    const one = lab();
    const place = one.map(IOVA, 0x9_0000n | READ, { level: 2 });
    for (const at of [IOVA, NEXT]) one.poke(0x9_0000n + ((at >> 9n) & 0xff8n), PAGE | RW);
    one.go(IOVA);
    expect(saved(one, NEXT)).toBe(3);
    one.unit.invalidatePages(DID, IOVA, 4, true);
    // The two levels above are writable.
    expect([saved(one, IOVA, true), one.go(IOVA, true)]).toEqual([2, 'fault 5']);
    // What a table does not allow, it does not allow through what is known of it either.
    expect(one.unit.translate({ sid: SID, address: NEXT, isWrite: false })).toMatchObject({
      permissions: { read: true, write: false },
    });
    one.poke(place, 0x9_0000n | RW);
    one.unit.invalidatePages(DID, IOVA, 4, true);
    expect([one.go(IOVA, true), saved(one, NEXT, true)]).toEqual([hex(PAGE), 3]);
  });

  it('iommu.md 5: a full IOTLB that drops all of its pages drops no tables', () => {
    const one = lab({ options: { ...KNOWN, iotlbEntries: 1, iotlbReplacement: 'flushWhenFull' } });
    for (const at of [IOVA, NEXT, FAR]) one.go(at);
    expect([saved(one, IOVA), saved(one, NEXT)]).toEqual([3, 3]);
  });

  it('a table that allows more than before takes the place of what was known of it', () => {
    const one = lab({ options: { pagingStructureEntries: 1 } });
    const place = one.map(IOVA, 0x9_0000n | READ, { level: 2 });
    for (const at of [IOVA, NEXT]) one.poke(0x9_0000n + ((at >> 9n) & 0xff8n), PAGE | RW);
    one.go(IOVA);
    one.poke(place, 0x9_0000n | RW);
    one.unit.invalidatePages(DID, IOVA, 0, true);
    expect([saved(one, IOVA, true), saved(one, NEXT, true)]).toEqual([2, 3]);
    // There is still room for one table of the level alone.
    one.go(FAR);
    one.unit.invalidatePages(DID, IOVA, 0, true);
    expect(saved(one, IOVA, true)).toBe(2);
  });

  it('only walks that find a page leave tables behind', () => {
    const one = lab();
    one.map(IOVA, 0n);
    expect([one.go(IOVA), saved(one, NEXT)]).toEqual(['fault 6', 0]);
  });

  it('an endpoint that asks for a translation is told what the known tables leave', () => {
    const one = lab({ ecap: ECAP | 4n });
    one.context({ low: 1n | (1n << 2n) });
    const place = one.map(IOVA, 0x9_0000n | READ, { level: 2 });
    for (const at of [IOVA, NEXT]) one.poke(0x9_0000n + ((at >> 9n) & 0xff8n), PAGE | RW);
    const ask = (address: bigint): unknown =>
      one.unit.translate({ sid: SID, address, isWrite: false, at: 'translation' });
    ask(IOVA);
    expect(reads(one.unit, () => ask(NEXT))).toEqual([1, 3]);
    expect(ask(NEXT)).toMatchObject({ permissions: { read: true, write: false } });
    // A table that can only be written, and a page that can only be read: nothing is left.
    one.poke(place, 0x9_0000n | WRITE);
    one.poke(0x9_0000n + ((NEXT >> 9n) & 0xff8n), PAGE | READ);
    one.unit.invalidateIotlb();
    ask(IOVA);
    expect(reads(one.unit, () => ask(NEXT))).toEqual([1, 3]);
    expect(ask(NEXT)).toMatchObject({ permissions: { read: false, write: false } });
  });

  describe('scalable mode', () => {
    const PASID = 5;
    /** The same tables for a PASID and for requests without one, in a domain of their own. */
    function stages(type: bigint): ScalableLab {
      const one = new ScalableLab(core, { options: KNOWN });
      for (const pasid of [63, PASID]) one.pasid({ type, pasid });
      // Nested: tables and pages of the first stage go through pages of 2 MiB of the second.
      const offset = type === NESTED ? GUEST : 0n;
      for (const [n, at] of [IOVA, NEXT].entries()) {
        const to = PAGE + BigInt(n) * 0x1000n;
        if (type === SECOND) one.lab.map(at, to | RW);
        else one.map(at, to | PAGE1, { offset });
      }
      if (type === NESTED) {
        one.lab.map(GUEST, 0n | RW | LARGE, { level: 2 });
        one.lab.map(PAGE, (PAGE & ~0x1f_ffffn) | RW | LARGE, { level: 2 });
      }
      return one;
    }
    const find = (one: ScalableLab, address: bigint, pasid?: number): number =>
      reads(one.lab.unit, () =>
        expect(one.go(address, pasid === undefined ? {} : { pasid })).toMatch(/^0x/),
      )[1];

    it('what is known is saved: the rest of the walk reads as much less', () => {
      for (const [type, whole, rest] of [
        [SECOND, 4, 1],
        [FIRST, 4, 1],
        // Five walks of the second stage, of three entries each; then one entry for the table, and one for the page.
        [NESTED, 4 + 5 * 3, 1 + 2],
      ] as const) {
        const one = stages(type);
        one.go(IOVA);
        expect([type, ...reads(one.lab.unit, () => one.go(NEXT))]).toEqual([type, rest, whole - rest]);
      }
    });

    it('a first stage is that of its PASID and its privilege, a second one that of the domain', () => {
      for (const [type, others] of [
        [SECOND, 3],
        [FIRST, 0],
        // Tables of the second stage alone: two of each walk's three entries.
        [NESTED, 5 * 2],
      ] as const) {
        const one = stages(type);
        one.go(IOVA);
        expect([type, find(one, NEXT, PASID)]).toEqual([type, others]);
        const two = stages(type);
        for (const pasid of [63, PASID]) two.pasid({ type, pasid, first: SRE });
        two.go(IOVA, { pasid: PASID });
        const privileged = reads(two.lab.unit, () => two.go(NEXT, { pasid: PASID, isPrivileged: true }))[1];
        expect([type, privileged]).toEqual([type, others]);
      }
    });

    it('nested: known tables of the second stage let no flag be set that a whole walk may not set', () => {
      const one = new ScalableLab(core, { options: KNOWN });
      const { lab } = one;
      one.pasid({ type: NESTED });
      const place = one.map(NEXT, OTHER | PAGE1, { offset: GUEST });
      one.map(IOVA, PAGE | PAGE1, { offset: GUEST });
      lab.map(PAGE, (PAGE & ~0x1f_ffffn) | RW | LARGE, { level: 2 });
      // Tables of the first stage stand behind pages of 4 KiB, which can be written as their table can.
      for (let n = 0n; n < 256n; n++) lab.poke(0xa_0000n + 8n * n, (n << 12n) | RW);
      lab.map(GUEST, 0xa_0000n | RW, { level: 2 });
      one.go(IOVA);
      lab.map(GUEST, 0xa_0000n | READ, { level: 2 });
      lab.unit.invalidateIotlb();
      // All that this one needs has its flags; it leaves the read-only table behind.
      expect(one.go(IOVA)).toBe(hex(PAGE));
      for (const go of [one.go, one.known, one.cold])
        expect([go.call(one, NEXT), lab.peek(place)]).toEqual(['fault 77', OTHER | PAGE1]);
    });

    it('nested: what a known table of the first stage does not allow, no page below it allows', () => {
      const one = stages(NESTED);
      const place = one.place(IOVA, 2, { offset: GUEST });
      one.lab.poke(place, one.lab.peek(place) & ~RW1);
      one.go(IOVA);
      expect(find(one, NEXT)).toBe(16);
      expect(one.lab.unit.translate({ sid: SID, address: NEXT, isWrite: false })).toMatchObject({
        permissions: { read: true, write: false },
      });
    });

    it('nested: the tables of five levels of each stage are known after one walk, and what they cost', () => {
      const one = new ScalableLab(core, { cap: CAP_FIRST | (1n << 11n), options: KNOWN });
      const { lab } = one;
      one.pasid({ type: NESTED, first: FIVE });
      // Word 0: five levels of the second stage, too.
      lab.poke(PASID_TABLE + 64n * 63n, lab.peek(PASID_TABLE + 64n * 63n) + (1n << 2n));
      for (const at of [IOVA, NEXT]) one.map(at, PAGE | PAGE1, { levels: 5, offset: GUEST });
      for (let n = 0n; n < 32n; n++)
        lab.map(GUEST + FIRST_TOP + (n << 12n), (FIRST_TOP + (n << 12n)) | RW, { levels: 5 });
      lab.map(PAGE, PAGE | RW, { levels: 5 });
      const whole = 5 * (5 + 1) + 5;
      // One entry of the second stage for the last table, one for the page.
      const rest = 1 + 1 + 1;
      one.go(IOVA);
      expect(reads(lab.unit, () => expect(one.go(NEXT)).toBe(hex(PAGE)))).toEqual([rest, whole - rest]);
      // The first stage alone is dropped: the second one's tables serve each of its five, and the page.
      lab.unit.invalidatePasidPages(3, 63, { address: NEXT, mask: 0 });
      expect(reads(lab.unit, () => one.go(NEXT))).toEqual([5 * 2 + 1, 6 * 4]);
      // What its tables cost is what a walk from the top reads, not what that one did.
      lab.unit.invalidatePages(3, IOVA, 0, true);
      expect(reads(lab.unit, () => one.go(IOVA))).toEqual([rest, whole - rest]);
    });

    it('nested: a table that one walk passes twice was used with the second time', () => {
      // Both stages share the entries of a level: there is one for a table of the first.
      const one = new ScalableLab(core, { options: { pagingStructureEntries: 3 } });
      const { lab } = one;
      // Where the four tables of the first stage are for it: the first 2 MiB twice, with others between and behind.
      const [first, second, third] = [GUEST, GUEST + 0x20_0000n, GUEST + 0x40_0000n];
      const places = [first, second, first, third].map((base, n) => base | (FIRST_TOP + BigInt(n) * 0x1000n));
      one.pasid({ type: NESTED, top: places[0] as bigint });
      for (const [n, middle] of places.entries()) {
        const table = middle & 0xf_ffffn;
        lab.map(middle, table | RW);
        const entry = table + 8n * ((IOVA >> BigInt(39 - 9 * n)) & 511n);
        lab.poke(entry, (places[n + 1] ?? third | 0xa_0000n) | PAGE1);
      }
      lab.map(third | 0xa_0000n, PAGE | RW);
      expect(one.go(IOVA)).toBe(hex(PAGE));
      lab.unit.invalidatePasidPages(3, 63, { address: IOVA, mask: 0 });
      // The second stage knows the first and the third: of the second one its directory.
      expect(reads(lab.unit, () => one.go(IOVA))[0]).toBe(4 + (1 + 2 + 1 + 1) + 1);
    });

    it('a first stage is that of the PASID that stands for a requester, also with an IOTLB by requester', () => {
      for (const iotlbKey of ['domain', 'requester'] as const) {
        const one = new ScalableLab(core, { options: { ...KNOWN, iotlbKey } });
        const { lab } = one;
        const top = 0xa_0000n;
        one.pasid({ type: FIRST });
        one.pasid({ type: FIRST, pasid: 62, top });
        for (const n of [1n, 2n]) {
          const context = SCALABLE_CONTEXT + n * 32n;
          lab.poke(context, lab.peek(SCALABLE_CONTEXT));
          lab.poke(context + 8n, 61n + n);
        }
        for (const at of [IOVA, NEXT]) one.map(at, PAGE | PAGE1);
        one.map(NEXT, OTHER | PAGE1, { top });
        one.go(IOVA);
        const other = reads(lab.unit, () => expect(one.go(NEXT, { sid: SID + 1 })).toBe(hex(OTHER)));
        expect([iotlbKey, other[1]]).toEqual([iotlbKey, 0]);
        const same = reads(lab.unit, () => expect(one.go(NEXT, { sid: SID + 2 })).toBe(hex(PAGE)));
        expect([iotlbKey, same[1]]).toEqual([iotlbKey, 3]);
      }
    });

    it('iommu.md 5: PASID-based invalidations drop the tables that they cover, with IH none', () => {
      const drops: [string, readonly [number, number, number], (one: ScalableLab) => void][] = [
        ['nothing', [3, 3, 16], () => undefined],
        ['a page', [3, 0, 10], (one) => one.lab.unit.invalidatePasidPages(3, 63, { address: NEXT, mask: 0 })],
        [
          'the same with IH',
          [3, 3, 16],
          (one) => one.lab.unit.invalidatePasidPages(3, 63, { address: NEXT, mask: 0, keepTables: true }),
        ],
        [
          'of another PASID',
          [3, 3, 16],
          (one) => one.lab.unit.invalidatePasidPages(3, PASID, { address: NEXT, mask: 0 }),
        ],
        [
          'of another domain',
          [3, 3, 16],
          (one) => one.lab.unit.invalidatePasidPages(4, 63, { address: NEXT, mask: 0 }),
        ],
        [
          'another page',
          [3, 3, 16],
          (one) => one.lab.unit.invalidatePasidPages(3, 63, { address: 1n << 46n, mask: 0 }),
        ],
        ['the PASID', [0, 0, 0], (one) => one.lab.unit.invalidatePasidPages(3, 63)],
        // First-stage tables of a domain have addresses that it does not know.
        ['a page of the domain', [0, 0, 10], (one) => one.lab.unit.invalidatePages(3, NEXT, 0)],
        ['another page of the domain', [3, 0, 10], (one) => one.lab.unit.invalidatePages(3, 1n << 46n, 0)],
        ['the same with IH', [3, 3, 16], (one) => one.lab.unit.invalidatePages(3, NEXT, 0, true)],
        ['the domain', [0, 0, 0], (one) => one.lab.unit.invalidateIotlb(3)],
      ];
      for (const [name, left, drop] of drops)
        for (const [n, type] of [SECOND, FIRST, NESTED].entries()) {
          const one = stages(type);
          one.go(IOVA);
          drop(one);
          expect([name, type, find(one, NEXT)]).toEqual([name, type, left[n]]);
        }
    });
  });

  it('random tables lead to the same pages when they are known', () => {
    for (const [name, make] of [
      ['VT-d second stage', vtdSecond],
      ['VT-d first stage', vtdFirst(false)],
      ['VT-d nested', vtdFirst(true)],
      ['AMD', amdHost],
      ['SMMU stage 1', smmuStage1],
      ['SMMU stage 2', smmuStage2(false)],
      ['SMMU nested', smmuStage2(true)],
    ] as const)
      for (const structures of [1, 16]) {
        const format = make(core, new Draw(7), structures);
        for (let n = 0; n < 480; n++) {
          if (n % 16 === 0) format.fill();
          const { actual, expected } = format.ask();
          expect([name, structures, n, actual]).toEqual([name, structures, n, expected]);
        }
      }
  });
});
