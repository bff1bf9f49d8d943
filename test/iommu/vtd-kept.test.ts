/** VT-d: what a unit has kept, of which unit, of whom, and how long (iommu.md 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import { VtdUnit } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { CAP_FIRST, ECAP_FIRST, FIRST, P, RW1, ScalableLab, SECOND, SRE, US } from './scalable-lab.js';
import { CAP, DID, ECAP, hex, IOVA, MEMORY, PAGE, RAM_END, RW, SID, UnitLab } from './unit-lab.js';

const OTHER = PAGE + 0x7000n;

/** Two units of one core, in scalable mode with a second stage: the structures of each are in a part of memory of its own. */
class Pair {
  readonly units: readonly VtdUnit[];

  constructor(private readonly core: Core) {
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + MEMORY);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    this.units = [0, 1].map((index) => {
      const input = { cap: CAP_FIRST, ecap: ECAP_FIRST, hostWidth: 48 };
      const unit = new VtdUnit(core, index, input, defaultOptions());
      const base = this.base(index);
      this.poke(base + 0x1000n, (base + 0x2000n) | 1n);
      this.context(index, 1n);
      this.poke(base + 0x3000n, (base + 0x4000n) | 1n);
      this.pasid(index, 1n);
      const indices = [39n, 30n, 21n].map((lg2) => (IOVA >> lg2) & 511n);
      for (const [n, entry] of indices.entries())
        this.poke(
          base + 0x5000n + 0x1000n * BigInt(n) + 8n * entry,
          (base + 0x6000n + 0x1000n * BigInt(n)) | RW,
        );
      this.poke(base + 0x8000n + 8n * ((IOVA >> 12n) & 511n), (PAGE + 0x1000n * BigInt(index)) | RW);
      unit.rootTable = (base + 0x1000n) | (1n << 10n);
      unit.isOn = true;
      return unit;
    });
  }

  private base(index: number): bigint {
    return 0x4_0000n * BigInt(index);
  }

  private poke(address: bigint, value: bigint): void {
    this.core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
  }

  /** The context entry of unit `index`, present or not. */
  context(index: number, present: bigint): void {
    this.poke(this.base(index) + 0x2000n + BigInt(SID) * 32n, (this.base(index) + 0x3000n) | present);
  }

  /** The PASID entry of unit `index`. */
  pasid(index: number, present: bigint): void {
    const at = this.base(index) + 0x4000n;
    this.poke(at, (this.base(index) + 0x5000n) | (SECOND << 6n) | (2n << 2n) | present);
    this.poke(at + 8n, BigInt(DID));
  }

  go(index: number, address = IOVA): string {
    const answer = this.units[index]?.translate({ sid: SID, address, isWrite: false });
    if (answer?.kind === 'translated') return hex(BigInt(answer.address));
    return answer?.kind === 'fault' ? `fault ${answer.reason.toString(16)}` : 'none';
  }
}

describe.each(BUILDS)('what VT-d units keep on the %s core', (build) => {
  const module = useBuild(build);

  describe('two units on one core', () => {
    let core: Core;
    beforeAll(async () => {
      core = await Core.load(module(), MEMORY, 0, 0, (x) => x.unitReserve(2, 4096, 0));
    });
    const pages = [hex(PAGE), hex(PAGE + 0x1000n)];
    const drops: [string, string, (unit: VtdUnit) => void][] = [
      ['contexts of a requester', 'fault 41', (unit) => unit.invalidateContexts({ sid: SID })],
      ['all contexts', 'fault 41', (unit) => unit.invalidateContexts()],
      ['PASID entries of a domain', 'fault 41', (unit) => unit.invalidatePasidCache({ did: DID })],
      ['all PASID entries', 'fault 41', (unit) => unit.invalidatePasidCache()],
      [
        'all, off and on',
        'fault 41',
        (unit) => {
          unit.isOn = false;
          unit.isOn = true;
        },
      ],
      ['the IOTLB', 'kept', (unit) => unit.invalidateIotlb()],
    ];

    it.each(drops)('iommu.md 5: %s of one go, those of the other stay', (_name, expected, drop) => {
      // Who was asked last makes no difference.
      for (const dropped of [0, 1])
        for (const order of [
          [0, 1],
          [1, 0],
        ]) {
          const pair = new Pair(core);
          for (const index of order) expect(pair.go(index)).toBe(pages[index]);
          for (const index of [0, 1]) pair.context(index, 0n);
          drop(pair.units[dropped] as VtdUnit);
          const wanted = pages.map((page, index) =>
            index === dropped && expected !== 'kept' ? expected : page,
          );
          expect([dropped, order, order.map((index) => pair.go(index))]).toEqual([
            dropped,
            order,
            order.map((index) => wanted[index]),
          ]);
        }
    });

    it('each has its own faults and counts', () => {
      const pair = new Pair(core);
      pair.go(0);
      pair.go(1);
      expect(pair.go(1, IOVA + 0x1000n)).toBe('fault 79');
      expect(pair.units.map(({ faults }) => faults.map(({ reason }) => reason))).toEqual([[], [0x79]]);
      expect(pair.units.map(({ counters }) => [counters.misses, counters.faults])).toEqual([
        [1, 0],
        [2, 1],
      ]);
      pair.units[0]?.clearFaults();
      expect(pair.units[1]?.faults).toHaveLength(1);
    });
  });

  describe('one unit', () => {
    let core: Core;
    beforeAll(async () => {
      core = await UnitLab.load(module());
    });

    it('iommu.md 5: a PASID entry that was dropped is read again by a request that was answered before', () => {
      for (const drop of [
        (unit: VtdUnit): void => unit.invalidatePasidCache(),
        (unit: VtdUnit): void => unit.invalidatePasidCache({ did: 3 }),
        (unit: VtdUnit): void => unit.invalidatePasidCache({ did: 3, pasid: 63 }),
      ]) {
        const one = new ScalableLab(core);
        one.pasid({ type: SECOND });
        one.lab.map(IOVA, PAGE | RW);
        for (const repeat of ['miss', 'hit', 'again'])
          expect([repeat, one.go(IOVA)]).toEqual([repeat, hex(PAGE)]);
        one.lab.poke(0x6000n + 64n * 63n, 0n);
        expect(one.go(IOVA)).toBe(hex(PAGE));
        drop(one.lab.unit);
        expect(one.go(IOVA)).toBe('fault 59');
      }
    });

    it('iommu.md 2.5: a page of supervisors is kept for supervisors, whoever pages are known by', () => {
      for (const iotlbKey of ['domain', 'requester'] as const)
        for (const pasid of [5, undefined]) {
          const ask = (one: ScalableLab, isPrivileged: boolean, isWrite = false): string => {
            // Without a PASID privilege is that of the context entry.
            if (pasid === undefined) {
              one.context({ rid: isPrivileged ? 63n | (1n << 20n) : 63n });
              one.lab.unit.invalidateContexts();
              return one.go(IOVA, { isWrite });
            }
            return one.go(IOVA, { isPrivileged, isWrite, pasid });
          };
          const one = new ScalableLab(core, { options: { iotlbKey } });
          one.pasid({ type: FIRST, pasid: pasid ?? 63, first: SRE });
          one.map(IOVA, PAGE | P | RW1);
          const where = [iotlbKey, pasid];
          expect([...where, ask(one, true), ask(one, true)]).toEqual([...where, hex(PAGE), hex(PAGE)]);
          // Requesters' pages are found without a context, so without one their privilege is not known.
          if (iotlbKey === 'requester' && pasid === undefined) continue;
          expect([...where, ask(one, false)]).toEqual([...where, 'fault 81']);
          expect([...where, ask(one, true)]).toEqual([...where, hex(PAGE)]);
          // Read only for users, writable for supervisors without WPE.
          const two = new ScalableLab(core, { options: { iotlbKey } });
          two.pasid({ type: FIRST, pasid: pasid ?? 63, first: SRE });
          two.map(IOVA, PAGE | P | US);
          expect([...where, ask(two, true, true), ask(two, false), ask(two, false, true)]).toEqual([
            ...where,
            hex(PAGE),
            hex(PAGE),
            'fault 85',
          ]);
          expect([...where, ask(two, true, true)]).toEqual([...where, hex(PAGE)]);
        }
    });

    it('IOM-28: what was cleared still translates until it is invalidated: the leaf, and each table above', () => {
      const drops: [string, boolean, (one: UnitLab) => void][] = [
        ['nothing', false, () => undefined],
        ['global', true, (one) => one.unit.invalidateIotlb()],
        ['domain', true, (one) => one.unit.invalidateIotlb(DID)],
        ['another domain', false, (one) => one.unit.invalidateIotlb(DID + 1)],
        ['page', true, (one) => one.unit.invalidatePages(DID, IOVA, 0)],
        ['another page', false, (one) => one.unit.invalidatePages(DID, IOVA + 0x1000n, 0)],
        ['the page of another domain', false, (one) => one.unit.invalidatePages(DID + 1, IOVA, 0)],
        ['contexts', false, (one) => one.unit.invalidateContexts()],
      ];
      for (const level of [1, 2, 3, 4])
        for (const [name, isSeen, drop] of drops) {
          const one = UnitLab.on(core, { cap: CAP, ecap: ECAP });
          one.map(IOVA, PAGE | RW);
          one.map(IOVA + 0x1000n, OTHER | RW);
          expect(one.go(IOVA)).toBe(hex(PAGE));
          one.map(IOVA, 0n, { level });
          drop(one);
          const where = [level, name];
          expect([...where, one.go(IOVA), one.go(IOVA, true)]).toEqual([
            ...where,
            ...(isSeen ? ['fault 6', 'fault 5'] : [hex(PAGE), hex(PAGE)]),
          ]);
          // No table is kept: a page that was not asked for is gone at once.
          expect([...where, one.go(IOVA + 0x1000n)]).toEqual([
            ...where,
            level === 1 ? hex(OTHER) : 'fault 6',
          ]);
        }
    });
  });
});
