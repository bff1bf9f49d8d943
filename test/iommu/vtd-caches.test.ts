/** VT-d: fault records, and what the unit keeps until software drops it (iommu.md 2.7, 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { UnitOptions } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  CAP,
  DID,
  ECAP,
  hex,
  IOVA,
  LARGE,
  type LabInput,
  PAGE,
  READ,
  ROOT,
  RW,
  SID,
  UnitLab,
} from './unit-lab.js';

describe.each(BUILDS)('a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (input: LabInput = {}): UnitLab => UnitLab.on(core, input);

  describe('fault records', () => {
    it('IOM-25: FPD keeps qualified faults quiet, and no others', () => {
      const quiet: [string, (one: UnitLab) => void][] = [
        ['fault 2', (one) => one.context({ low: 2n })],
        ['fault 3', (one) => one.context({ low: 3n, aw: 7n })],
        ['fault 6', (one) => one.context({ low: 3n })],
        ['fault b', (one) => one.context({ low: 3n | 0x10n })],
      ];
      for (const [expected, change] of quiet) {
        const one = lab();
        change(one);
        expect(one.cold(IOVA)).toBe(expected);
        expect([expected, one.unit.faults.length]).toEqual([expected, expected === 'fault b' ? 1 : 0]);
      }
    });

    it('IOM-26, IOM-27: a record says who and what, F is cleared by software, further faults merge or overflow', () => {
      const one = lab();
      one.context({ sid: 0x21 });
      expect(one.cold(IOVA + 0x123n, true)).toBe('fault 5');
      const first = { reason: 5, sid: SID, page: Number(IOVA), isWrite: true };
      expect(one.unit.faults).toEqual([first]);
      expect(one.unit.faultStatus).toEqual({ pending: true, overflow: false });
      one.go(IOVA);
      expect([one.unit.faults, one.unit.faultStatus.overflow]).toEqual([[first], false]);
      one.go(IOVA, false, 0x21);
      expect([one.unit.faults, one.unit.faultStatus]).toEqual([[first], { pending: true, overflow: true }]);
      one.unit.clearFaults();
      expect([one.unit.faults, one.unit.faultStatus]).toEqual([[], { pending: false, overflow: false }]);
      one.go(IOVA, false, 0x21);
      expect(one.unit.faults).toMatchObject([{ reason: 6, sid: 0x21, isWrite: false }]);
      // With two registers the second requester has its own.
      const two = lab({ cap: CAP | (1n << 40n) });
      two.context({ sid: 0x21 });
      two.go(IOVA);
      two.go(IOVA, false, 0x21);
      expect(two.unit.faults.map(({ sid }) => sid)).toEqual([SID, 0x21]);
      expect(two.unit.faultStatus.overflow).toBe(false);
    });
  });

  describe('caches', () => {
    const OTHER = PAGE + 0x7000n;
    it('specification 7.1.3: abort mode and reserved modes count at once, for pages that are kept, too', () => {
      const one = lab({ ecap: ECAP | (1n << 52n) });
      one.map(IOVA, PAGE | RW);
      for (const [mode, expected] of [
        [3n, 'fault 33'],
        [2n, 'fault 30'],
      ] as const) {
        expect([one.go(IOVA), one.go(IOVA)]).toEqual([hex(PAGE), hex(PAGE)]);
        one.unit.rootTable = ROOT | (mode << 10n);
        expect([mode, one.go(IOVA)]).toEqual([mode, expected]);
        one.unit.rootTable = ROOT;
      }
      expect(one.go(IOVA)).toBe(hex(PAGE));
    });

    it('IOM-28: a changed leaf is seen after an invalidation that covers it, not before', () => {
      const drops: [string, boolean, (one: UnitLab) => void][] = [
        ['nothing', false, () => undefined],
        ['global', true, (one) => one.unit.invalidateIotlb()],
        ['domain', true, (one) => one.unit.invalidateIotlb(DID)],
        ['another domain', false, (one) => one.unit.invalidateIotlb(DID + 1)],
        ['page', true, (one) => one.unit.invalidatePages(DID, IOVA, 0)],
        ['another page', false, (one) => one.unit.invalidatePages(DID, IOVA + 0x1000n, 0)],
        ['the page of another domain', false, (one) => one.unit.invalidatePages(DID + 1, IOVA, 0)],
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
        one.map(IOVA, PAGE | RW);
        expect(one.go(IOVA)).toBe(hex(PAGE));
        one.map(IOVA, OTHER | RW);
        drop(one);
        expect([name, one.go(IOVA)]).toEqual([name, hex(isSeen ? OTHER : PAGE)]);
      }
    });

    it('IOM-28: permissions are those that were cached, for better and for worse', () => {
      for (const vtdModel of ['spec', 'qemu72'] as const) {
        const one = lab({ options: { vtdModel } });
        one.map(IOVA, PAGE | READ);
        one.go(IOVA);
        one.map(IOVA, PAGE | RW);
        // QEMU 7.2 drops the write without a record.
        expect(one.go(IOVA, true)).toBe(vtdModel === 'spec' ? 'fault 5' : 'refused');
        expect(one.unit.faults).toHaveLength(vtdModel === 'spec' ? 1 : 0);
        expect(one.cold(IOVA, true)).toBe(hex(PAGE));
        one.map(IOVA, PAGE | READ);
        expect(one.go(IOVA, true)).toBe(hex(PAGE));
        expect(one.cold(IOVA, true)).toBe('fault 5');
      }
    });

    it('IOM-29: a page invalidation with mask n drops 2^n pages, aligned, and a large page that it touches', () => {
      for (const mask of [0, 1, 3, 5]) {
        const one = lab();
        const first = 0x12_3450_0000n;
        for (let n = 0n; n < 64n; n++) one.map(first + n * 0x1000n, (PAGE + n * 0x1000n) | RW);
        for (let n = 0n; n < 64n; n++) one.go(first + n * 0x1000n);
        for (let n = 0n; n < 64n; n++) one.map(first + n * 0x1000n, OTHER | RW);
        one.unit.invalidatePages(DID, first + 11n * 0x1000n, mask);
        const from = (11n >> BigInt(mask)) << BigInt(mask);
        for (let n = 0n; n < 64n; n++) {
          const isDropped = n >= from && n < from + (1n << BigInt(mask));
          expect([mask, n, one.go(first + n * 0x1000n)]).toEqual([
            mask,
            n,
            hex(isDropped ? OTHER : PAGE + n * 0x1000n),
          ]);
        }
      }
      const large = lab();
      large.map(0x20_0000n, 0x2000_0000n | RW | LARGE, { level: 2 });
      large.go(0x20_0000n);
      large.map(0x20_0000n, 0x2020_0000n | RW | LARGE, { level: 2 });
      large.unit.invalidatePages(DID, 0x2f_0000n, 0);
      expect(large.go(0x20_0000n)).toBe(hex(0x2020_0000n));
    });

    it('IOM-30: a cached context serves new pages; dropping it leaves the translations of requesters', () => {
      const one = lab({ options: { vtdModel: 'qemu72' } });
      one.map(IOVA, PAGE | RW);
      one.map(IOVA + 0x1000n, OTHER | RW);
      one.go(IOVA);
      one.context({ low: 0n });
      expect([one.go(IOVA), one.go(IOVA + 0x1000n)]).toEqual([hex(PAGE), hex(OTHER)]);
      one.unit.invalidateContexts({ sid: SID });
      expect([one.go(IOVA), one.go(IOVA + 0x1000n)]).toEqual([hex(PAGE), hex(OTHER)]);
      one.unit.invalidateIotlb();
      expect(one.go(IOVA)).toBe('fault 2');
    });

    it('IOM-30: FM leaves out bits of the function number', () => {
      for (const [mask, dropped] of [
        [0, [0]],
        [1, [0, 4]],
        [2, [0, 2, 4, 6]],
        [3, [0, 1, 2, 3, 4, 5, 6, 7]],
      ] as const) {
        const one = lab();
        one.map(IOVA, PAGE | RW);
        for (let fn = 0; fn < 8; fn++) one.context({ sid: SID | fn });
        for (let fn = 0; fn < 8; fn++) one.go(IOVA, false, SID | fn);
        for (let fn = 0; fn < 8; fn++) one.context({ sid: SID | fn, low: 0n });
        one.unit.invalidateContexts({ sid: SID, mask });
        one.unit.invalidateIotlb();
        const gone = [0, 1, 2, 3, 4, 5, 6, 7].filter((fn) => one.go(IOVA, false, SID | fn) === 'fault 2');
        expect([mask, gone]).toEqual([mask, dropped]);
      }
    });

    it('iommu.md 5: a full IOTLB gives up the oldest, the first, any, or all', () => {
      const kept = (iotlbReplacement: UnitOptions['iotlbReplacement'], seed: number): number[] =>
        [0, 1, 2, 3, 4, 5, 6, 7, 8].filter((n) => {
          const one = lab({ seed, options: { iotlbReplacement, iotlbEntries: 8 } });
          const touch = (page: number): string => {
            const address = IOVA + BigInt(page) * 0x1000n;
            const answer = one.unit.translate({ sid: SID, address, isWrite: false });
            return answer.kind === 'translated' ? answer.iotlb : answer.kind;
          };
          for (let page = 0; page < 9; page++) one.map(IOVA + BigInt(page) * 0x1000n, PAGE | RW);
          const order = [0, 1, 2, 3, 4, 5, 6, 7];
          expect(order.map(touch)).toEqual(Array(8).fill('miss'));
          // Page 0 is the newest by use and the oldest by arrival when page 8 comes.
          expect([...order, 0].map(touch)).toEqual(Array(9).fill('hit'));
          expect(touch(8)).toBe('miss');
          return touch(n) === 'hit';
        });
      expect(kept('lru', 1)).toEqual([0, 2, 3, 4, 5, 6, 7, 8]);
      expect(kept('fifo', 1)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(kept('flushWhenFull', 1)).toEqual([8]);
      const random = [1, 2, 3, 4, 5].map((seed) => kept('random', seed));
      for (const pages of random) expect([pages.length, pages.at(-1)]).toEqual([8, 8]);
      expect(new Set(random.map((pages) => pages.join())).size).toBeGreaterThan(1);
    });

    it('iommu.md 5: requesters of a domain share translations, or each has its own', () => {
      for (const iotlbKey of ['domain', 'requester'] as const) {
        const one = lab({ options: { iotlbKey } });
        one.context({ sid: 0x21 });
        one.map(IOVA, PAGE | RW);
        one.go(IOVA);
        const answer = one.unit.translate({ sid: 0x21, address: IOVA, isWrite: false });
        expect(answer).toMatchObject({ kind: 'translated', iotlb: iotlbKey === 'domain' ? 'hit' : 'miss' });
      }
    });
  });
});
