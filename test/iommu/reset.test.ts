/** Units after a reset: as new ones. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { type IommuConfig, type Machine, machineDomains } from '../../src/index.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { UnitMachine } from './machine-lab.js';
import { CONTEXT, DT, ECAP, IOVA, PAGE, ROOT, RW, SC, SID, UnitLab } from './unit-lab.js';

const PAGES = 12;
const SNP = 1n << 11n;
/** TT 01: ATS. */
const DEVICE_TLB = 1n << 2n;

describe.each(BUILDS)('a reset on the %s core', (build) => {
  const { make } = machinesOf(build);

  /** Which requests of a fixed order the IOTLB answers. */
  function hits(machine: Machine): boolean[] {
    const [unit] = machine.iommus;
    const [fn] = machine.functions;
    if (unit === undefined || fn === undefined) throw new Error('no unit');
    const domain = machineDomains(machine, { tables: { at: 0x1_0000, bytes: 0x10_0000 } }).create(
      'unmanaged',
    );
    domain.attach({ sid: fn.id });
    domain.map(0x100_0000, 0, PAGES * 4096);
    return Array.from({ length: 200 }, (_, n) => {
      const address = 0x100_0000 + 4096 * ((n * 7 + (n >> 3) * 5) % PAGES);
      const answer = unit.translate({ sid: fn.id, address, isWrite: false });
      return answer.kind === 'translated' && answer.iotlb === 'hit';
    });
  }

  it.each([
    { kind: 'vtd' },
    { kind: 'vtd', seed: 77 },
    { kind: 'amd' },
    { kind: 'amd', seed: 77 },
    { kind: 'smmuv3' },
    { kind: 'smmuv3', seed: 77 },
  ] satisfies IommuConfig[])('%j draws the same entries to replace', async (unit) => {
    const options = { iotlbEntries: 8, iotlbReplacement: 'random' } as const;
    const platform = unit.kind === 'smmuv3' ? 'arm64' : 'x86-64';
    const { machine } = await UnitMachine.create(make, { platform, iommus: [unit], options });
    const first = hits(machine);
    expect(new Set(first)).toEqual(new Set([true, false]));
    for (let n = 0; n < 3; n++) {
      machine.reset();
      expect(hits(machine)).toEqual(first);
    }
  });

  describe('of a VT-d unit', () => {
    const module = useBuild(build);
    let core: Core;
    beforeAll(async () => {
      core = await UnitLab.load(module());
    });

    it('forgets what was handed out to endpoints', () => {
      const lab = UnitLab.on(core, { ecap: ECAP | DT | SC });
      const start = (): void => {
        lab.context({ low: 1n | DEVICE_TLB });
        lab.unit.rootTable = ROOT;
        lab.unit.isOn = true;
      };
      const translated = (): unknown =>
        lab.unit.translate({ sid: SID, address: PAGE, isWrite: false, at: 'translated', noSnoop: true });
      lab.map(IOVA, PAGE | RW | SNP);
      start();
      expect(lab.peek(ROOT)).toBe(CONTEXT | 1n);
      lab.unit.translate({ sid: SID, address: IOVA, isWrite: false, at: 'translation' });
      expect(translated()).toMatchObject({ kind: 'translated', translatedNsViolation: true });
      lab.unit.reset();
      start();
      const after = translated();
      expect(after).toMatchObject({ kind: 'translated', path: 'translated' });
      expect(after).not.toHaveProperty('translatedNsViolation');
    });
  });
});
