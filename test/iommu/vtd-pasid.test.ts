/** VT-d: requests with a PASID, table modes, and what the IOTLB tells apart (iommu.md 5, 6; specification 7.1.3). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { FIRST, FIRST_TOP, PAGE1, PASIDE, SCALABLE_CONTEXT, ScalableLab, SECOND } from './scalable-lab.js';
import { hex, IOVA, PAGE, RAM_END, READ, RW, SID, UnitLab } from './unit-lab.js';

describe.each(BUILDS)('address spaces of a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (): ScalableLab => new ScalableLab(core);
  const first = (): ScalableLab => {
    const one = lab();
    one.pasid({ type: FIRST });
    return one;
  };

  it('IOM-31: pages of the first stage are those of a PASID, kept for each', () => {
    for (const iotlbKey of ['domain', 'requester'] as const) {
      const one = new ScalableLab(core, { options: { iotlbKey } });
      const tops = [FIRST_TOP, 0x9_0000n];
      for (const [n, top] of tops.entries()) {
        one.pasid({ type: FIRST, pasid: n + 1, top });
        one.map(IOVA, (PAGE + BigInt(n) * 0x1000n) | PAGE1, { top });
      }
      for (const repeat of ['miss', 'hit'])
        for (const n of [0, 1]) {
          const answer = one.lab.unit.translate({ sid: SID, pasid: n + 1, address: IOVA, isWrite: false });
          expect(answer).toMatchObject({
            address: Number(PAGE) + n * 0x1000,
            iotlb: repeat,
            path: 'first-stage',
          });
        }
    }
  });

  it('iommu.md 6: requests with a PASID need tables that offer it', () => {
    const one = first();
    one.map(IOVA, PAGE | PAGE1);
    one.pasid({ type: FIRST, pasid: 5 });
    expect(one.cold(IOVA, { pasid: 5 })).toBe(hex(PAGE));
    expect(one.cold(IOVA, { pasid: 6 })).toBe('fault 59');
    expect(one.cold(IOVA, { pasid: 64 })).toBe('fault 51');
    expect(one.cold(IOVA, { pasid: 0x2000 })).toBe('fault 46');
    // The PASID of requests without one is no other request's.
    expect(one.cold(IOVA, { pasid: 63 })).toBe('fault 48');
    one.context({ low: 1n });
    expect(one.cold(IOVA, { pasid: 5 })).toBe('fault 45');
    one.context({ low: 0x11n });
    expect(one.cold(IOVA)).toBe('fault 43');
    one.context({ low: PASIDE | 1n, rid: 0x2000n });
    expect(one.cold(IOVA)).toBe('fault 43');
    one.lab.unit.rootTable = 0x1000n;
    expect(one.cold(IOVA, { pasid: 5 })).toBe('fault 31');
  });

  it('specification 11.4.5: table modes that the unit has not are 30, the one without DMA is 33', () => {
    const modes = (ecap: bigint): string[] =>
      [0n, 1n, 2n, 3n].map((mode) => {
        const one = UnitLab.on(core, { ecap });
        one.map(IOVA, PAGE | RW);
        one.unit.rootTable = 0x1000n | (mode << 10n);
        return one.cold(IOVA);
      });
    const ecap = 0xf0_0f4an;
    expect(modes(ecap)).toEqual([hex(PAGE), 'fault 30', 'fault 30', 'fault 30']);
    expect(modes(ecap | (1n << 52n))).toEqual([hex(PAGE), 'fault 30', 'fault 30', 'fault 33']);
  });

  it('iommu.md 6: with a PASID the interrupt range is translated like any other, and blocked in pass-through', () => {
    const one = lab();
    one.pasid({ type: FIRST, pasid: 5 });
    one.map(0xfee0_0000n, PAGE | PAGE1);
    expect(one.cold(0xfee0_0010n, { pasid: 5, isWrite: true })).toBe(hex(PAGE + 0x10n));
    expect(one.cold(0xfee0_0010n, { isWrite: true })).toBe('message');
    one.pasid({ type: 4n, pasid: 5 });
    for (const [address, expected] of [
      [0xfedf_ffffn, '0xfedfffff'],
      [0xfee0_0000n, 'fault 87'],
      [0xfeef_ffffn, 'fault 87'],
      [0xfef0_0000n, '0xfef00000'],
    ] as const)
      expect(one.cold(address, { pasid: 5 })).toBe(expected);
  });

  it('iommu.md 5: what one kind of tables found does not answer for another', () => {
    const two = lab();
    for (const [type, to] of [
      [SECOND, PAGE + 0x1000n],
      [FIRST, PAGE + 0x2000n],
    ] as const) {
      two.lab.map(IOVA, (PAGE + 0x1000n) | RW);
      two.map(IOVA, (PAGE + 0x2000n) | PAGE1);
      two.pasid({ type, did: 3n });
      two.lab.unit.invalidateContexts();
      expect(two.go(IOVA)).toBe(hex(to));
    }
    // The same unit in legacy mode: context entries of 16 bytes, in the same domain.
    two.lab.unit.rootTable = 0x1000n;
    two.lab.poke(SCALABLE_CONTEXT, 0n);
    two.lab.context({ did: 3n });
    two.lab.map(IOVA, (PAGE + 0x3000n) | RW);
    two.lab.unit.invalidateContexts();
    expect(two.go(IOVA)).toBe(hex(PAGE + 0x3000n));
  });

  it('iommu.md 2.6: a hit of a requester needs no context, and its faults are as quiet as the context was', () => {
    for (const [fpd, count] of [
      [0n, 1],
      [2n, 0],
    ] as const) {
      const one = UnitLab.on(core, { options: { iotlbKey: 'requester' } });
      one.map(IOVA, PAGE | READ);
      one.context({ low: 1n | fpd });
      expect(one.go(IOVA)).toBe(hex(PAGE));
      one.context({ low: 0n });
      one.context({ sid: 0x21, low: 1n | (fpd ^ 2n) });
      one.unit.invalidateContexts();
      // Another requester, whose faults are loud where those of the first are quiet.
      one.go(IOVA + 0x1000n, false, 0x21);
      one.unit.clearFaults();
      expect([one.go(IOVA), one.go(IOVA, true)]).toEqual([hex(PAGE), 'fault 5']);
      expect([fpd, one.unit.faults.length]).toEqual([fpd, count]);
    }
  });

  it('specification 7.1.3: FPD is heard at every structure, and tables that cannot be read are always reported', () => {
    const cases: [string, number, (one: ScalableLab) => void][] = [
      ['fault 71', 0, () => undefined],
      ['fault 59', 0, (one) => one.lab.poke(0x6000n + 64n * 63n, 2n)],
      ['fault 50', 1, (one) => one.lab.poke(SCALABLE_CONTEXT, RAM_END | 3n)],
      ['fault 58', 1, (one) => one.lab.poke(0x5000n, RAM_END | 3n)],
      ['fault 42', 0, (one) => one.lab.poke(SCALABLE_CONTEXT, 0x5000n | 3n | 0x100n)],
    ];
    for (const [expected, count, change] of cases) {
      const one = lab();
      one.context({ low: 3n });
      one.pasid({ type: FIRST });
      change(one);
      expect([expected, one.cold(IOVA), one.lab.unit.faults.length]).toEqual([expected, expected, count]);
    }
  });
});
