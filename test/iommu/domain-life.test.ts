/** Domains that are over: destroyed, or from before a reset; and those whose tables are in other memory. */
import { describe, expect, it } from 'vitest';
import { Domain, type DomainKind, machineDomains, PlainMemory, VfioContainer } from '../../src/index.js';
import { errorOf, machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { notedVtd } from './domain-lab.js';
import { UnitMachine } from './machine-lab.js';

const IOVA = 0x1234_5000;
const PAGE = 0x20_0000;
const TABLES = { at: 0x1_0000, bytes: 0x8_0000 };
const KINDS = ['dma', 'identity', 'blocked', 'unmanaged'] as const satisfies readonly DomainKind[];

/** Every call that a domain has. */
function callsOf(domain: Domain, sid: number): readonly (readonly [string, () => unknown])[] {
  return [
    ['attach', () => domain.attach({ sid })],
    ['detach', () => domain.detach({ sid })],
    ['map', () => domain.map(IOVA, PAGE, 4096)],
    ['unmap', () => domain.unmap(IOVA, 4096)],
    ['mapDma', () => domain.mapDma(PAGE, 4096)],
    ['unmapDma', () => domain.unmapDma(IOVA)],
    ['lookUp', () => domain.lookUp(IOVA)],
    ['enforceCacheCoherency', () => domain.enforceCacheCoherency()],
    ['isEmpty', () => domain.isEmpty],
    ['destroy', () => domain.destroy()],
  ];
}

describe('a domain that was destroyed', () => {
  it.each(KINDS)('%s: refuses every call', (kind) => {
    const memory = new PlainMemory();
    const domain = new Domain({ kind, unit: notedVtd(memory).unit, memory });
    domain.attach({ sid: 8 });
    domain.detach({ sid: 8 });
    domain.destroy();
    for (const [name, call] of callsOf(domain, 8))
      expect([name, errorOf(call)]).toMatchObject([
        name,
        { code: 'invalid-value', errno: 'EINVAL', message: expect.stringMatching(/was destroyed/) },
      ]);
    expect(domain.functions).toBe(0);
  });

  it('changes nothing of the domain that has its table now', () => {
    const memory = new PlainMemory();
    const { unit } = notedVtd(memory);
    const first = new Domain({ kind: 'unmanaged', unit, memory });
    first.destroy();
    const second = new Domain({ kind: 'unmanaged', unit, memory });
    second.attach({ sid: 8 });
    expect(errorOf(() => first.map(0x5000, 0x30_0000, 4096)).errno).toBe('EINVAL');
    expect([second.lookUp(0x5000), second.isEmpty]).toEqual([null, true]);
  });
});

describe.each(BUILDS)('domains of a machine on the %s core', (build) => {
  const { make } = machinesOf(build);

  it.each([{ kind: 'vtd' }, { kind: 'amd' }, { kind: 'smmuv3' }, undefined] as const)(
    '%j: from before a reset refuse every call, and leave memory alone',
    async (unit) => {
      const platform = unit === undefined ? 's390x' : unit.kind === 'smmuv3' ? 'arm64' : 'x86-64';
      const slots = unit === undefined ? [{ options: { zpciMode: 'native' } } as const] : [{}];
      const m = await UnitMachine.create(make, { platform, iommus: unit === undefined ? [] : [unit] }, slots);
      const { machine } = m;
      const iova = 0x1_0000_0000n;
      const sid = m.fn().id;
      const old = machineDomains(machine, { tables: TABLES });
      const domain = old.create('unmanaged');
      const loose = old.create('dma');
      const container = new VfioContainer({ memory: old.memory });
      domain.map(iova, PAGE, 4096);
      domain.attach({ sid });
      machine.reset();
      for (const calls of [callsOf(domain, sid), callsOf(loose, sid)])
        for (const [name, call] of calls)
          expect([name, errorOf(call)]).toMatchObject([
            name,
            {
              code: 'invalid-value',
              errno: 'EINVAL',
              message: expect.stringMatching(/reset.*machineDomains/),
            },
          ]);
      expect(errorOf(() => old.create('unmanaged')).message).toMatch(/machineDomains/);
      expect(errorOf(() => container.attach({ sid }, old.unit)).message).toMatch(/machineDomains/);
      expect(machine.memory.read(TABLES.at, TABLES.bytes).every((byte) => byte === 0)).toBe(true);
      const fresh = machineDomains(machine, { tables: TABLES }).create('unmanaged');
      fresh.attach({ sid });
      expect(errorOf(() => fresh.attach({ sid }, old.unit)).message).toMatch(/machineDomains/);
      fresh.map(iova, PAGE, 4096);
      expect(m.read(iova, 64).status).toBe('ok');
      expect(errorOf(() => domain.unmap(iova, 4096)).message).toMatch(/reset/);
    },
  );

  it('from before their unit was taken into use again refuse calls; those of other units do not', async () => {
    const m = await UnitMachine.create(make, { iommus: [{ kind: 'vtd' }, { kind: 'vtd' }] });
    const take = (iommu: number): Domain =>
      machineDomains(m.machine, { iommu, tables: { ...TABLES, at: 0x10_0000 * (iommu + 1) } }).create(
        'unmanaged',
      );
    const [old, other] = [take(0), take(1)];
    const fresh = take(0);
    expect(errorOf(() => old.map(IOVA, PAGE, 4096))).toMatchObject({
      errno: 'EINVAL',
      code: 'invalid-value',
    });
    expect(errorOf(() => old.lookUp(IOVA)).message).toMatch(/again.*machineDomains/);
    for (const domain of [other, fresh]) domain.map(IOVA, PAGE, 4096);
    expect([other.isEmpty, fresh.isEmpty]).toEqual([false, false]);
  });
});
