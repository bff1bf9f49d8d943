/** What the root complex does with requests of functions: refusals, the edges of the message range, peers, attributes. */
import { describe, expect, it } from 'vitest';
import { type MachineConfig, memoryDevice, type TracedTlp } from '../../src/index.js';
import { SmmuUnit } from '../../src/iommu/smmu-unit.js';
import { machinesOf, pattern } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { UnitMachine } from './machine-lab.js';
import { PASS, SECOND } from './scalable-lab.js';
import { iova, PAGE, SnoopLab, vtdOf } from './snoop-lab.js';

const IOVA = 0x12_3456_7000;
const FIDELITIES = ['functional', 'timed'] as const;

/** Types of TLPs that may carry No Snoop. */
const MEMORY = /^(MRd|MWr|FetchAdd|Swap|CAS)$/;

describe.each(BUILDS)('requests of functions on the %s core', (build) => {
  const { make } = machinesOf(build);

  describe.each(FIDELITIES)('%s', (fidelity) => {
    it('iommu.md 1: an SMMU aborts what it does not let pass, VT-d and AMD-Vi do not support it', async () => {
      const smmu = await UnitMachine.create(make, {
        fidelity,
        platform: 'arm64',
        iommus: [{ kind: 'smmuv3' }],
      });
      const [unit] = smmu.machine.iommus;
      if (!(unit instanceof SmmuUnit)) throw new Error('no SMMU');
      const at = 0x1_0000 + 64 * smmu.fn().id;
      unit.setStreamTable(0x1_0000, 9);
      unit.isOn = true;
      for (const [name, entry, events] of [
        ['an entry that is not valid', 0n, [4]],
        ['a stream that is aborted', 1n, []],
        ['a descriptor that cannot be', 1n | (5n << 1n) | 0x3000n, [10]],
      ] as const) {
        smmu.poke(at, entry);
        unit.invalidateConfig();
        expect([name, smmu.read(PAGE, 64).status]).toEqual([name, 'completer-abort']);
        expect([name, unit.takeEvents().events.map(({ type }) => type)]).toEqual([name, events]);
        smmu.write(PAGE, pattern(64, 1));
        unit.takeEvents();
        expect([name, smmu.machine.memory.read(PAGE, 64)]).toEqual([name, new Uint8Array(64)]);
      }
      unit.isOn = false;
      unit.abortsAll = true;
      expect(smmu.read(PAGE, 64).status).toBe('completer-abort');
      unit.abortsAll = false;
      expect(smmu.read(PAGE, 64).status).toBe('ok');
      // Memory that is not there is the root complex's own refusal.
      expect(smmu.read(2 ** 40, 64).status).toBe('unsupported-request');

      for (const kind of ['vtd', 'amd'] as const) {
        const lab = await SnoopLab.create(make, {
          fidelity,
          iommus: [kind === 'vtd' ? vtdOf(true) : { kind }],
        });
        if (kind === 'vtd') lab.legacy(0n);
        else lab.amd('tables');
        expect([kind, lab.m.read(iova(0), 64).status]).toEqual([kind, 'ok']);
        expect([kind, lab.m.read(iova(64), 64).status]).toEqual([kind, 'unsupported-request']);
      }
    });

    it('IOM-24: the range of messages ends where it ends, with and without a unit', async () => {
      const words = [0x11, 0x22, 0x33, 0x44];
      for (const unit of ['none', 'off', 'on'] as const) {
        const m = await UnitMachine.create(make, { fidelity, ...(unit === 'none' ? { iommus: [] } : {}) });
        const at = [0xfedf_fffc, 0xfee0_0000, 0xfeef_fffc, 0xfef0_0000];
        if (unit === 'on') {
          m.enable();
          for (const page of [0xfedf_f000, 0xfef0_0000]) m.map(page, page);
        }
        for (const [n, address] of at.entries()) m.write(address, Uint8Array.of(words[n] as number, 0, 0, 0));
        const taken = m.machine.takeInterrupts().map(({ address, data }) => [Number(address), data]);
        expect([unit, taken]).toEqual([unit, [1, 2].map((n) => [at[n], words[n]])]);
        // The others have no memory behind them.
        expect([unit, m.machine.stats().droppedPosted]).toEqual([unit, 2]);
        if (unit === 'on') expect(m.unit.faults).toEqual([]);
      }
    });

    it('PCIe 6.20: a request to a peer leaves its PASID behind, and its bytes with it', async () => {
      const lab = await SnoopLab.create(
        async (config) =>
          make({ ...config, slots: [...(config.slots ?? []), { device: memoryDevice(), iommu: 'none' }] }),
        { fidelity, iommus: [vtdOf(true)] },
      );
      const { m } = lab;
      const peer = m.machine.functions[1];
      const bar = peer?.bars[0]?.address ?? 0;
      const { config } = m.fn();
      const capability = config.extendedCapability(0x1b) ?? 0;
      config.write(capability + 6, 1, 2);
      /** What a write and a read of 8 bytes are on the link of the peer, and the bytes that both links spent. */
      const seen = (
        pasid?: number,
      ): { readonly requests: unknown[]; readonly down: number; readonly up: number } => {
        const options = pasid === undefined ? {} : { pasid };
        const spent = (): [number, number] => [peer?.stats.wireBytesDown ?? 0, m.fn().stats.wireBytesUp];
        const before = spent();
        m.machine.trace.start();
        m.machine.trace.take();
        m.write(bar, pattern(8, 5), options);
        expect(m.read(bar, 8, options)).toMatchObject({ status: 'ok', data: pattern(8, 5) });
        const all = m.machine.trace.take().filter(({ slot }) => slot === 1);
        const after = spent();
        return {
          requests: all.map(({ tlp, direction }) => [
            direction,
            tlp.type,
            tlp.wireBytes,
            tlp.pasid,
            tlp.prefixes,
          ]),
          down: after[0] - before[0],
          up: after[1] - before[1],
        };
      };
      // Without translation and without a PASID both links carry the same.
      const plain = seen();
      expect(plain.requests).toHaveLength(3);
      lab.scalable(PASS, false);
      const context = 0x2000 + 32 * (m.fn().id & 0x7f);
      m.poke(context, 0x7000n | 8n | 1n);
      m.poke(context + 8, 63n);
      for (let word = 0; word < 2; word++) {
        const old = new DataView(m.machine.memory.read(0x8000 + 8 * word, 8).buffer).getBigUint64(0, true);
        m.poke(0x8000 + 64 * 5 + 8 * word, old);
      }
      lab.forget();
      const tagged = seen(5);
      expect(tagged.requests).toEqual(plain.requests);
      // The prefix is a DW of each request, on the way up alone.
      expect([tagged.down, tagged.up]).toEqual([plain.down, plain.up + 8]);
    });

    it('IOM-40: of all TLPs of a machine only memory requests of functions carry No Snoop, and messages do not', async () => {
      const lab = await SnoopLab.create(make, { fidelity, iommus: [vtdOf(true)] });
      const { m } = lab;
      const { machine } = m;
      machine.enableMsix(m.fn());
      const all: TracedTlp[] = [];
      const collect = (): void => void all.push(...machine.trace.take());
      for (const prepare of [
        (): void => undefined,
        (): void => lab.legacy(0n),
        (): void => lab.legacy(2n),
        (): void => lab.scalable(SECOND, true),
      ]) {
        prepare();
        lab.enabled = true;
        machine.trace.start();
        collect();
        const { id } = m.fn();
        for (const [offset, width] of [
          [0x3c, 1],
          [4, 2],
          [0x10, 4],
        ] as const)
          machine.config.write(id, offset, machine.config.read(id, offset, width), width);
        m.act((ctx) => ctx.msix.raise(0));
        m.read(iova(0), 64, { noSnoop: true });
        m.write(iova(0), pattern(64, 1), { noSnoop: true });
        collect();
      }
      machine.takeInterrupts();
      const types = new Set(all.map(({ tlp }) => tlp.type));
      for (const type of ['CfgRd0', 'CfgWr0', 'MRd', 'MWr', 'CplD']) expect([...types]).toContain(type);
      const flagged = all.filter(({ tlp }) => 'attr' in tlp && tlp.attr?.ns === true);
      expect(flagged.length).toBeGreaterThan(0);
      for (const { tlp } of flagged)
        expect([tlp.type, MEMORY.test(tlp.type) || /^Cpl/.test(tlp.type)]).toEqual([tlp.type, true]);
      const messages = all.filter(({ tlp }) => 'address' in tlp && Number(tlp.address) === 0xfee0_0000);
      expect(messages.map(({ tlp }) => 'attr' in tlp && tlp.attr?.ns)).toEqual([false, false, false, false]);
      // What a device writes there of its own is a message for the root complex, which asks no caches, whatever it carries.
      m.write(0xfee0_0000, Uint8Array.of(7, 0, 0, 0), { noSnoop: true });
      expect(machine.takeInterrupts().map(({ data }) => data)).toEqual([7]);
      const [own] = machine.trace
        .take()
        .filter(({ tlp }) => 'address' in tlp && Number(tlp.address) === 0xfee0_0000);
      expect([own?.tlp.type, own?.snoop]).toEqual(['MWr', undefined]);
    });
  });

  it('IOM-50: an SMMU that lets pass as it is keeps the status of what is behind it', async () => {
    const config: Omit<MachineConfig, 'slots'> = { platform: 'arm64', iommus: [{ kind: 'smmuv3' }] };
    const m = await UnitMachine.create(make, config);
    expect([m.read(PAGE, 64).status, m.read(IOVA, 64).status]).toEqual(['ok', 'unsupported-request']);
  });
});
