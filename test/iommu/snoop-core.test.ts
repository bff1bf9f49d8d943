/** The No Snoop decision of machines against `decideSnoop`, over all combinations of its inputs (iommu.md 8). */
import { describe, expect, it } from 'vitest';
import { decideSnoop, type SnoopInput, type SnoopPath, type VtdSnoopInput } from '../../src/iommu/snoop.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { FIRST, NESTED, PASS, SECOND } from './scalable-lab.js';
import { iova, PAGE, PAGE_KINDS, type Seen, SnoopLab, vtdOf } from './snoop-lab.js';

const BITS = [false, true] as const;
const both = BITS.flatMap((one) => BITS.map((other) => [one, other] as const));
const TYPES = { 'second-stage': SECOND, 'first-stage': FIRST, nested: NESTED, 'pass-through': PASS } as const;

/** What the machine shows of a decision. */
function shown(input: SnoopInput): Omit<Seen, 'status'> {
  const decision = decideSnoop(input);
  const { ns0: ns } = decision;
  if (decision.fault !== null) return { ns, snoop: 'denied', counts: [0, 0, 0] };
  const { coherent, stripped, nsOut } = decision;
  // What was taken away is known by what is left.
  expect(nsOut).toBe(ns && !stripped);
  const snoop = coherent ? (stripped ? 'stripped' : 'snooped') : 'not-snooped';
  return { ns, snoop, counts: [coherent ? 1 : 0, coherent ? 0 : 1, stripped ? 1 : 0] };
}

describe.each(BUILDS)('No Snoop of a machine on the %s core', (build) => {
  const { make } = machinesOf(build);
  let compared = 0;

  /** Every kind of page, access, `en` and `want`: the request is sent twice, so that the unit finds the page it keeps. */
  function everyRequest(
    lab: SnoopLab,
    isIdentity: boolean,
    expected: (page: number, isWrite: boolean, en: boolean, want: boolean) => SnoopInput,
    pages = PAGE_KINDS.length,
    check: (fault: number | null) => void = () => undefined,
  ): void {
    for (const en of BITS) {
      lab.enabled = en;
      for (let page = 0; page < pages; page++)
        for (const [isWrite, want] of both) {
          const input = expected(page, isWrite, en, want);
          const address = isIdentity ? BigInt(PAGE + 4096 * page) : iova(page);
          for (const time of ['first', 'again']) {
            const { status, ...seen } = lab.request(address, isWrite, want);
            const { fault } = decideSnoop(input);
            expect([input, time, isWrite, seen]).toEqual([input, time, isWrite, shown(input)]);
            if (!isWrite) expect(status).toBe(fault === null ? 'ok' : 'unsupported-request');
            check(fault);
            compared++;
          }
        }
    }
  }

  function everyVtdRequest(
    lab: SnoopLab,
    base: Omit<VtdSnoopInput, 'en' | 'want' | 'snp' | 'kind' | 'arch'>,
  ): void {
    const { path, isScalable } = base;
    const isTranslated = path !== 'off' && path !== 'pass-through';
    const { unit } = lab.m;
    everyRequest(
      lab,
      !isTranslated,
      (page, isWrite, en, want) => {
        const { forces = false, isWritable = true } = PAGE_KINDS[page] ?? {};
        const isDenied = isTranslated && isWrite && !isWritable;
        return {
          arch: 'vtd',
          kind: 'memory',
          ...base,
          en,
          want,
          // A first stage has no SNP.
          snp: forces && path !== 'first-stage',
          ...(isDenied ? { walkFault: isScalable ? 0x85 : 5 } : {}),
        };
      },
      PAGE_KINDS.length,
      (fault) => {
        expect(unit.faults.map(({ reason }) => reason)).toEqual(fault === null ? [] : [fault]);
        unit.clearFaults();
      },
    );
  }

  describe.each(both)('honour %s, snoop control %s', (honour, sc) => {
    const create = (options = {}): Promise<SnoopLab> =>
      SnoopLab.create(make, { iommus: [vtdOf(sc)], options: { honourNoSnoop: honour, ...options } });
    const base = { honour, sc, granted: false, pgsnp: false };

    it('IOM-41, 45: VT-d in legacy mode, and off', async () => {
      const lab = await create();
      everyVtdRequest(lab, { ...base, path: 'off', isScalable: false });
      lab.legacy(0n);
      everyVtdRequest(lab, { ...base, path: 'second-stage', isScalable: false });
      lab.legacy(2n);
      everyVtdRequest(lab, { ...base, path: 'pass-through', isScalable: false });
    });

    it.each(
      (['reserved', 'ignore'] as const).flatMap((pgsnpWithoutSc) =>
        (['pgsnp', 'asSent'] as const).map((passThroughSnoop) => ({ pgsnpWithoutSc, passThroughSnoop })),
      ),
    )('IOM-41, 42, 45: VT-d in scalable mode, %j', async (options) => {
      const lab = await create(options);
      for (const [path, type] of Object.entries(TYPES))
        for (const pgsnp of BITS) {
          lab.scalable(type, pgsnp);
          everyVtdRequest(lab, { ...base, ...options, pgsnp, path: path as SnoopPath, isScalable: true });
        }
    });

    it('IOM-40: interrupts and configuration requests carry no No Snoop', async () => {
      const lab = await create();
      lab.legacy(0n);
      const { machine } = lab.m;
      machine.enableMsix(lab.m.fn());
      for (const en of BITS) {
        lab.enabled = en;
        machine.trace.start();
        machine.trace.take();
        lab.m.act((ctx) => ctx.msix.raise(0));
        lab.m.fn().config.read(0, 4);
        const seen = machine.trace
          .take()
          .filter(({ tlp, direction }) => direction === 'up' || /^Cfg/.test(tlp.type));
        expect(machine.takeInterrupts()).toHaveLength(1);
        expect(seen.map(({ tlp }) => tlp.type)).toContain('MWr');
        for (const { tlp, snoop } of seen) {
          const kind = tlp.type === 'MWr' ? 'msi' : 'config';
          const decision = decideSnoop({
            arch: 'vtd',
            kind,
            ...base,
            en,
            want: true,
            path: 'second-stage',
            isScalable: false,
            snp: true,
          });
          expect([kind, 'attr' in tlp && (tlp.attr?.ns ?? false), snoop]).toEqual([
            kind,
            decision.ns0,
            undefined,
          ]);
        }
      }
    });
  });

  it.each(BITS)('IOM-34, 45: AMD-Vi, honour %s', async (honour) => {
    const lab = await SnoopLab.create(make, {
      iommus: [{ kind: 'amd' }],
      options: { honourNoSnoop: honour },
    });
    for (const path of ['tables', 'mode 0', 'invalid'] as const) {
      lab.amd(path);
      everyRequest(
        lab,
        path !== 'tables',
        (page, _isWrite, en, want) => ({
          arch: 'amd',
          kind: 'memory',
          en,
          want,
          honour,
          fc: PAGE_KINDS[page]?.forces ?? false,
          path: path === 'tables' ? 'tables' : 'as-sent',
        }),
        2,
      );
    }
  });

  it.each(both)('IOM-45, 50: SMMUv3, honour %s, CANWBS %s', async (honour, canwbs) => {
    const lab = await SnoopLab.create(make, {
      platform: 'arm64',
      iommus: [{ kind: 'smmuv3', canwbs }],
      options: { honourNoSnoop: honour },
    });
    const NAMES = { 255: 'write-back', 68: 'non-cacheable', 4: 'device', 244: 'non-cacheable' } as const;
    const SECOND_NAMES = { 15: 'write-back', 5: 'non-cacheable', 1: 'device' } as const;
    const first = [0xff, 0x44, 0x04, 0xf4] as const;
    const compare = (
      mapping: (page: number) => (typeof NAMES)[keyof typeof NAMES] | 'bypass',
      pages: number,
      isIdentity = false,
    ): void =>
      everyRequest(
        lab,
        isIdentity,
        (page, _isWrite, en, want) => ({
          arch: 'smmu',
          kind: 'memory',
          en,
          want,
          honour,
          canwbs,
          mapping: mapping(page),
        }),
        pages,
      );
    compare(() => 'bypass', 1, true);
    lab.smmu('bypass', [], []);
    compare(() => 'bypass', 1, true);
    lab.smmu('first', first, []);
    compare((page) => NAMES[first[page] ?? 0xff], 4);
    const second = [15, 5, 1] as const;
    lab.smmu('second', [], second);
    compare((page) => SECOND_NAMES[second[page] ?? 15], 3);
    // Either stage can make a page non-cacheable: pages beside those of the other stage.
    for (const [stage1, stage2] of [
      [0xff, 15],
      [0xff, 5],
      [0xff, 1],
      [0x44, 15],
      [0x04, 15],
      [0x44, 5],
    ] as const) {
      lab.smmu('nested', [stage1], [stage2]);
      compare(() => (stage1 === 0xff ? SECOND_NAMES[stage2] : NAMES[stage1]), 1);
    }
  });

  it('compared as many requests as there are combinations', () => {
    // Per honour and snoop control: 3 paths, and for 4 sets of options 4 paths with and without PGSNP; each 4 pages, read or
    // write, wanted or not, enabled or not, twice.
    const vtd = 4 * (3 + 4 * 4 * 2) * 4 * 8 * 2;
    const amd = 2 * 3 * 2 * 8 * 2;
    const smmu = 4 * (1 + 1 + 4 + 3 + 6) * 8 * 2;
    expect(compared).toBe(vtd + amd + smmu);
  });
});
