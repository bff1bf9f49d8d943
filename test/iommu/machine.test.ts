/** Translation units in machines: what becomes of requests of functions, in both fidelities. */
import { describe, expect, it } from 'vitest';
import { type MachineConfig, memoryDevice } from '../../src/index.js';
import { errorOf, machinesOf, pattern } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { HOST_BYTES, READ, RW, SNP, UnitMachine } from './machine-lab.js';

const IOVA = 0x12_3456_7000;
const PAGE = 0x20_0000;

describe.each(BUILDS)('a machine with a translation unit on the %s core', (build) => {
  const { make, refused } = machinesOf(build);

  describe.each(['functional', 'timed'] as const)('%s', (fidelity) => {
    const create = (config: Omit<MachineConfig, 'slots'> = {}, slots = [{}]): Promise<UnitMachine> =>
      UnitMachine.create(make, { fidelity, ...config }, slots);

    it('IOM-04, 16: reads and writes go to the page that the tables name', async () => {
      const m = await create();
      m.enable();
      m.map(IOVA, PAGE);
      m.map(IOVA + 4096, PAGE + 0x5000);
      const data = pattern(6000, 3);
      m.write(IOVA + 100, data);
      expect(m.machine.memory.read(PAGE + 100, 3996)).toEqual(data.subarray(0, 3996));
      expect(m.machine.memory.read(PAGE + 0x5000, 2004)).toEqual(data.subarray(3996));
      expect(m.read(IOVA + 100, 6000)).toMatchObject({ status: 'ok', data });
    });

    it('lets requests pass as they are while it is off, and those of functions that it does not have', async () => {
      const m = await create({}, [{}, { iommu: 'none' }] as never);
      m.write(PAGE, pattern(64, 1));
      expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
      m.enable();
      m.write(PAGE, pattern(64, 2), {}, 1);
      expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 2));
      m.write(PAGE, pattern(64, 3));
      expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 2));
    });

    it('IOM-14, 18: a page without permission answers reads with Unsupported Request, drops writes, and records a fault', async () => {
      const m = await create();
      m.enable();
      m.map(IOVA, PAGE, READ);
      m.machine.trace.start();
      m.write(IOVA, pattern(64, 1));
      expect(m.machine.memory.read(PAGE, 64)).toEqual(new Uint8Array(64));
      expect(m.read(IOVA + 4096, 64).status).toBe('unsupported-request');
      expect(m.read(IOVA, 4).status).toBe('ok');
      expect(m.unit.faults).toMatchObject([{ reason: 5, sid: m.fn().id, page: IOVA, isWrite: true }]);
      expect(
        m.machine.trace
          .take()
          .filter(({ snoop }) => snoop === 'denied')
          .map(({ tlp }) => tlp.type),
      ).toEqual(['MWr', 'MRd']);
      // The write was dropped, the read answered.
      expect(m.machine.stats()).toMatchObject({ droppedPosted: 1, unsupportedRequests: 1 });
    });

    it('IOM-23: a write to the interrupt range is a message, whatever the tables say', async () => {
      const m = await create();
      m.enable();
      m.machine.enableMsix(m.fn());
      m.act((ctx) => ctx.msix.raise(0));
      expect(m.machine.takeInterrupts()).toHaveLength(1);
      expect(m.read(0xfee0_0000, 4).status).toBe('unsupported-request');
      expect(m.unit.faults).toEqual([]);
    });

    it('sends a request to a peer under the address that it was translated to', async () => {
      const agents = await UnitMachine.create(
        async (config) =>
          make({ ...config, slots: [...(config.slots ?? []), { device: memoryDevice(), iommu: 'none' }] }),
        { fidelity },
      );
      agents.enable();
      const peer = agents.machine.functions[1];
      const bar = peer?.bars[0]?.address ?? 0;
      agents.map(IOVA, BigInt(bar));
      agents.map(0x1000, BigInt(bar) + 4096n);
      agents.write(IOVA + 8, pattern(40, 9));
      agents.write(0x1008, pattern(40, 10));
      expect(peer?.barMemory(0).slice(8, 48)).toEqual(pattern(40, 9));
      expect(peer?.barMemory(0).slice(4104, 4144)).toEqual(pattern(40, 10));
      expect(agents.read(0x1008, 40)).toMatchObject({ status: 'ok', data: pattern(40, 10) });
    });

    it('is off, without caches and faults after a reset of the machine', async () => {
      const m = await create();
      m.enable();
      m.read(IOVA, 4);
      m.machine.reset();
      expect(m.unit.faults).toEqual([]);
      m.write(PAGE, pattern(64, 1));
      expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
    });

    describe('No Snoop', () => {
      const NS = { noSnoop: true };

      it('IOM-50: each SMMU says for itself whether its requests are coherent in any case', async () => {
        const m = await UnitMachine.create(
          make,
          { fidelity, platform: 'arm64', iommus: [{ kind: 'smmuv3' }, { kind: 'smmuv3', canwbs: true }] },
          [{ iommu: 0 }, { iommu: 1 }],
        );
        m.machine.memory.write(PAGE, pattern(64, 1));
        const stale = new Uint8Array(64);
        for (let round = 0; round < 3; round++) {
          expect([round, m.read(PAGE, 64, NS, 1).data]).toEqual([round, pattern(64, 1)]);
          expect([round, m.read(PAGE, 64, NS, 0).data]).toEqual([round, stale]);
        }
      });

      it('reads what is in memory, not what the processor wrote, until software flushes', async () => {
        const m = await create();
        m.machine.memory.write(PAGE, pattern(128, 1));
        expect(m.read(PAGE, 128, NS).data).toEqual(new Uint8Array(128));
        expect(m.read(PAGE, 128).data).toEqual(pattern(128, 1));
        m.machine.memory.flush(PAGE, 64);
        expect(m.read(PAGE, 128, NS).data).toEqual(
          Uint8Array.from([...pattern(128, 1).subarray(0, 64), ...new Uint8Array(64)]),
        );
        expect(m.machine.memory.flushAll()).toBe(1);
        expect(m.read(PAGE, 128, NS).data).toEqual(pattern(128, 1));
      });

      it('writes memory behind the cache: the processor sees it once its line has gone', async () => {
        const m = await create();
        m.machine.memory.write(PAGE, pattern(64, 1));
        m.machine.memory.flush(PAGE, 64, { keep: true });
        m.write(PAGE, pattern(32, 2), NS);
        expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
        expect(m.read(PAGE, 32, NS).data).toEqual(pattern(32, 2));
        m.machine.memory.flush(PAGE, 64);
        expect(m.machine.memory.read(PAGE, 64)).toEqual(
          Uint8Array.from([...pattern(32, 2), ...pattern(64, 1).subarray(32)]),
        );
      });

      it('loses what it wrote when a dirty line is written back over it', async () => {
        const m = await create();
        m.machine.memory.write(PAGE, pattern(64, 1));
        m.write(PAGE, pattern(32, 2), NS);
        m.machine.memory.flush(PAGE, 64);
        expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
      });

      it('takes lines out of the cache with writes that snoop', async () => {
        const m = await create();
        m.machine.memory.write(PAGE, pattern(64, 1));
        m.write(PAGE + 4, pattern(8, 7));
        const seen = m.machine.memory.read(PAGE, 64);
        expect(seen).toEqual(
          Uint8Array.from([
            ...pattern(64, 1).subarray(0, 4),
            ...pattern(8, 7),
            ...pattern(64, 1).subarray(12),
          ]),
        );
        expect(m.read(PAGE, 64, NS).data).toEqual(seen);
      });

      it('makes room by writing the oldest line of a set back', async () => {
        const m = await create();
        // 8 ways of 64 sets: lines 4 KiB apart share a set.
        for (let n = 0; n < 9; n++) m.machine.memory.write(PAGE + 4096 * n, pattern(64, n));
        expect(m.read(PAGE, 64, NS).data).toEqual(pattern(64, 0));
        expect(m.read(PAGE + 4096, 64, NS).data).toEqual(new Uint8Array(64));
      });

      it('IOM-41: is taken away by SNP of the page, on a unit with snoop control', async () => {
        const m = await create();
        m.enable();
        m.map(IOVA, PAGE, RW | SNP);
        m.map(IOVA + 4096, PAGE, RW);
        m.machine.memory.write(PAGE, pattern(64, 1));
        m.machine.trace.start();
        expect(m.read(IOVA, 64, NS).data).toEqual(pattern(64, 1));
        expect(m.read(IOVA + 4096, 64, NS).data).toEqual(new Uint8Array(64));
        expect(m.read(IOVA + 4096, 64).data).toEqual(pattern(64, 1));
        const seen = m.machine.trace.take().flatMap(({ tlp, snoop }) => (tlp.type === 'MRd' ? [snoop] : []));
        expect(seen).toEqual(['stripped', 'not-snooped', 'snooped']);
        expect(m.fn().stats).toMatchObject({
          coherentTlps: 2,
          coherentBytes: 128,
          nonCoherentTlps: 1,
          nonCoherentBytes: 64,
          noSnoopStripped: 1,
        });
      });

      it('IOM-45: changes nothing on a platform that does not honour it', async () => {
        const m = await create({ options: { honourNoSnoop: false } });
        m.machine.memory.write(PAGE, pattern(64, 1));
        expect(m.read(PAGE, 64, NS).data).toEqual(pattern(64, 1));
        expect(m.fn().stats).toMatchObject({ coherentTlps: 1, nonCoherentTlps: 0, noSnoopStripped: 0 });
      });

      it('IOM-39: is never on the wire without Enable No Snoop', async () => {
        const m = await create();
        const at = m.fn().config.capability(0x10) ?? 0;
        m.fn().config.write(at + 8, m.fn().config.read(at + 8, 2) & ~0x0800, 2);
        m.machine.trace.start();
        m.machine.memory.write(PAGE, pattern(64, 1));
        expect(m.read(PAGE, 64, NS).data).toEqual(pattern(64, 1));
        const read = m.machine.trace.take().find(({ tlp }) => tlp.type === 'MRd');
        expect(read?.tlp).toMatchObject({ attr: { ns: false } });
      });

      it('is never on the wire of a message', async () => {
        const m = await create();
        m.machine.enableMsix(m.fn());
        m.machine.trace.start();
        m.act((ctx) => ctx.msix.raise(0));
        const write = m.machine.trace
          .take()
          .find(({ tlp, direction }) => tlp.type === 'MWr' && direction === 'up');
        expect(write).toMatchObject({ tlp: { attr: { ns: false } } });
        expect(write).not.toHaveProperty('snoop');
      });

      it('finds no cache with hostCache false', async () => {
        const m = await create({ hostCache: false });
        m.machine.memory.write(PAGE, pattern(64, 1));
        expect(m.read(PAGE, 64, NS).data).toEqual(pattern(64, 1));
        expect(m.fn().stats.nonCoherentTlps).toBe(1);
      });
    });
  });

  it.each([
    [{ iommus: 'vtd' }, 'iommus'],
    [
      { iommus: [{ kind: 'vtd' }, { kind: 'vtd' }, { kind: 'vtd' }, { kind: 'vtd' }, { kind: 'vtd' }] },
      'iommus',
    ],
    [{ iommus: [null] }, 'iommus[0]'],
    [{ iommus: [{ kind: 'gart' }] }, 'iommus[0].kind'],
    [{ iommus: [{ kind: 'smmuv3' }] }, 'iommus[0].kind'],
    [{ iommus: [{ kind: 'vtd' }], platform: 's390x' }, 'iommus[0].kind'],
    [{ iommus: [{ kind: 'vtd', caps: 1 }] }, 'iommus[0].caps'],
    [{ iommus: [{ kind: 'vtd', hostWidth: 60 }] }, 'iommus[0].hostWidth'],
    [{ slots: [{ device: memoryDevice(), iommu: 0 }] }, 'slots[0].iommu'],
    [{ iommus: [{ kind: 'vtd' }], slots: [{ device: memoryDevice(), iommu: 1 }] }, 'slots[0].iommu'],
    [{ hostCache: 1 }, 'hostCache'],
    [
      {
        fidelity: 'timed',
        iommus: [{ kind: 'vtd' }],
        slots: [
          {
            device: memoryDevice(),
            link: { rootCredits: { ph: 0, pd: 64, nph: 0, npd: 0, cplh: 0, cpld: 0 } },
          },
        ],
      },
      'slots[0].link.rootCredits.ph',
    ],
  ])('refuses %j', async (config, field) => {
    expect(await refused(config)).toMatchObject({ field });
  });

  it('flushes memory within its bounds only', async () => {
    const { machine } = await UnitMachine.create(make);
    expect(errorOf(() => machine.memory.flush(HOST_BYTES - 4, 8))).toMatchObject({ code: 'out-of-range' });
  });
});
