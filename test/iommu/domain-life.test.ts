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

describe('tables in other memory', () => {
  it('are refused by the unit: of a domain, of one that joins, and of a container', () => {
    const [here, there] = [new PlainMemory(), new PlainMemory()];
    const [near, far] = [notedVtd(here).unit, notedVtd(there).unit];
    for (const kind of KINDS) {
      expect(errorOf(() => new Domain({ kind, unit: near, memory: there }))).toMatchObject({
        code: 'invalid-value',
        field: 'memory',
      });
      const domain = new Domain({ kind, unit: near, memory: here });
      expect([kind, errorOf(() => domain.attach({ sid: 8 }, far))]).toMatchObject([
        kind,
        { code: 'invalid-value', field: 'sid', errno: 'EINVAL', message: expect.stringMatching(/memory/) },
      ]);
      expect(domain.functions).toBe(0);
    }
    const container = new VfioContainer({ memory: here });
    container.attach({ sid: 8 }, near);
    const { blocks } = there;
    expect(errorOf(() => container.attach({ sid: 8 }, far)).field).toBe('memory');
    expect([container.domains[0]?.functions, there.blocks]).toEqual([1, blocks]);
  });
});

describe.each(BUILDS)('units of machines on the %s core', (build) => {
  const { make } = machinesOf(build);

  it.each([{ kind: 'vtd' }, { kind: 'amd' }, undefined] as const)(
    '%j: a domain of one machine does not join a unit of another',
    async (unit) => {
      const config =
        unit === undefined
          ? ({ platform: 's390x', iommus: [] } as const)
          : ({ platform: 'x86-64', iommus: [unit] } as const);
      const slots = unit === undefined ? [{ options: { zpciMode: 'native' } } as const] : [{}];
      const [a, b] = await Promise.all([0, 1].map(() => UnitMachine.create(make, config, slots)));
      if (a === undefined || b === undefined) throw new Error('two machines');
      const sid = b.fn().id;
      const own = machineDomains(a.machine, { tables: TABLES });
      const other = machineDomains(b.machine, { tables: TABLES });
      for (const kind of ['unmanaged', 'blocked'] as const) {
        const domain = own.create(kind);
        expect([kind, errorOf(() => domain.attach({ sid }, other.unit))]).toMatchObject([
          kind,
          { code: 'invalid-value', field: 'sid', errno: 'EINVAL' },
        ]);
        domain.attach({ sid });
        domain.detach({ sid });
      }
      const container = new VfioContainer({ memory: own.memory });
      expect(errorOf(() => container.attach({ sid }, other.unit)).field).toBe('memory');
    },
  );

  it('one domain serves two units of a machine, whose tables are in regions of their own', async () => {
    const iommus = [{ kind: 'vtd' }, { kind: 'vtd' }] as const;
    const m = await UnitMachine.create(make, { iommus }, [{ iommu: 0 }, { iommu: 1 }]);
    const first = machineDomains(m.machine, { tables: TABLES });
    for (const at of [TABLES.at, TABLES.at - 0x1000, TABLES.at + TABLES.bytes - 0x1000]) {
      const tables = { at, bytes: 0x2000 };
      expect(errorOf(() => machineDomains(m.machine, { iommu: 1, tables }))).toMatchObject({
        code: 'invalid-value',
        field: 'tables',
        value: at,
        errno: 'EINVAL',
      });
    }
    // The unit is as it was: off.
    expect(m.read(PAGE, 64, {}, 1).status).toBe('ok');
    const tables = { ...TABLES, at: TABLES.at + TABLES.bytes };
    const second = machineDomains(m.machine, { iommu: 1, tables });
    const domain = first.create('unmanaged');
    domain.attach({ sid: m.fn(0).id });
    domain.attach({ sid: m.fn(1).id }, second.unit);
    domain.map(IOVA, PAGE, 4096);
    for (const slot of [0, 1]) expect(m.read(IOVA, 64, {}, slot).status).toBe('ok');
    // What has been given up can be used again, and so can everything after a reset.
    machineDomains(m.machine, { iommu: 1, tables: { at: 0x10_0000, bytes: 0x1_0000 } });
    machineDomains(m.machine, { iommu: 0, tables: { ...tables, bytes: 0x7_0000 } });
    m.machine.reset();
    machineDomains(m.machine, { iommu: 1, tables });
    expect(errorOf(() => machineDomains(m.machine, { tables })).field).toBe('tables');
  });

  it('s390x: a second call leaves what the first has, and takes no memory of it', async () => {
    const native = { options: { zpciMode: 'native' } } as const;
    const m = await UnitMachine.create(make, { platform: 's390x', iommus: [] }, [native]);
    const domain = machineDomains(m.machine, { tables: TABLES }).create('unmanaged');
    expect(errorOf(() => machineDomains(m.machine, { tables: TABLES })).field).toBe('tables');
    machineDomains(m.machine, { tables: { ...TABLES, at: TABLES.at + TABLES.bytes } });
    domain.map(0x1_0000_0000n, PAGE, 4096);
    domain.attach({ sid: m.fn().id });
    expect(m.read(0x1_0000_0000n, 64).status).toBe('ok');
  });
});
