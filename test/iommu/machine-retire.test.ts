/** Unmapping in simulated time: what was translated before is performed before the page is given away (iommu.md 5). */
import { describe, expect, it } from 'vitest';
import { machineDomains } from '../../src/index.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { UnitMachine } from './machine-lab.js';

const IOVA = 0x100_0000;
const PAGE = 0x20_0000;
const WALK = 50_000;
const DATA = Uint8Array.of(7, 7, 7, 7);
const TABLES = { at: 0x1_0000, bytes: 0x10_0000 };

describe.each(BUILDS)('unmapping in time on the %s core', (build) => {
  const { make } = machinesOf(build);

  async function create() {
    const options = { iotlbWalkNs: WALK };
    const m = await UnitMachine.create(make, { fidelity: 'timed', options }, [{ link: 'gen3x8' }]);
    const domain = machineDomains(m.machine, { tables: TABLES }).create('unmanaged');
    domain.attach({ sid: m.fn().id });
    domain.map(IOVA, PAGE, 4096);
    return { m, domain, memory: () => m.machine.memory.read(PAGE, 4) };
  }

  it('iommu.md 5: an unmap and a detach wait for writes that were translated before', async () => {
    for (const end of ['unmap', 'detach'] as const) {
      const { m, domain, memory } = await create();
      m.actOnly((ctx) => ctx.dma.write(IOVA, DATA));
      m.machine.run(WALK / 10);
      expect(memory()).toEqual(new Uint8Array(4));
      const begun = m.machine.time.ns;
      if (end === 'unmap') domain.unmap(IOVA, 4096);
      else domain.detach({ sid: m.fn().id });
      expect([end, memory()]).toEqual([end, DATA]);
      const waited = m.machine.time.ns - begun;
      expect(waited).toBeGreaterThan(WALK / 2);
      expect(waited).toBeLessThan(WALK);
      m.machine.memory.write(PAGE, new Uint8Array(4));
      m.write(IOVA, DATA);
      expect([end, memory()]).toEqual([end, new Uint8Array(4)]);
      expect(m.unit.faults).toHaveLength(1);
    }
  });

  it('iommu.md 5: so does one in a callback of DMA, and nothing lands afterwards', async () => {
    const { m, domain, memory } = await create();
    domain.map(IOVA + 4096, PAGE + 4096, 4096);
    const seen: Uint8Array[] = [];
    m.read(IOVA + 4096, 4);
    m.act((ctx) => {
      ctx.dma.read(IOVA + 4096, 4, {}, () => {
        domain.unmap(IOVA, 4096);
        seen.push(memory());
        m.machine.memory.write(PAGE, new Uint8Array(4));
      });
      ctx.dma.write(IOVA, DATA);
    });
    expect([seen, memory()]).toEqual([[DATA], new Uint8Array(4)]);
  });

  it('an unmap waits for nothing when nothing is held', async () => {
    const { m, domain } = await create();
    m.write(IOVA, DATA);
    const begun = m.machine.time.ns;
    domain.unmap(IOVA, 4096);
    expect(m.machine.time.ns).toBe(begun);
  });
});
