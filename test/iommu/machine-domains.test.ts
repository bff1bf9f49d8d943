/** Domains of machines: where requests of a device go by the domain that its function is in, on every kind of unit. */
import { describe, expect, it } from 'vitest';
import {
  type DomainKind,
  type IommuConfig,
  type Machine,
  type MachineConfig,
  type MachineDomains,
  type MachineDomainsInput,
  machineDomains,
  type U64,
} from '../../src/index.js';
import { errorOf, machinesOf, pattern } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { UnitMachine } from './machine-lab.js';
import { CAP, ECAP, SC } from './unit-lab.js';

const PAGE = 0x20_0000;
const OTHER = 0x28_0000;
const IOVA = 0x1234_5000;
const TABLES = { at: 0x1_0000, bytes: 0x10_0000 };
/** ECAP with scalable mode, PASIDs of 20 bits, both stages and snoop control. */
const SCALABLE = ECAP | SC | (7n << 46n) | (19n << 35n) | (1n << 40n) | (1n << 43n);
const NS = { noSnoop: true };

type Own<T> = T extends unknown ? Omit<T, 'tables'> : never;

interface Kind {
  readonly name: string;
  readonly iommu?: IommuConfig;
  readonly input?: Own<MachineDomainsInput>;
  /** Where leaves have the bit that takes No Snoop away, a domain that has mappings cannot begin to enforce. */
  readonly enforces: 'empty' | 'always' | 'never';
  /** What the unit recorded of a read of page IOVA. */
  readonly fault: readonly [reason: number, address: U64];
}

const scalable = { kind: 'vtd', cap: CAP, ecap: SCALABLE } as const;
const KINDS: readonly Kind[] = [
  { name: 'VT-d, legacy', enforces: 'empty', fault: [6, IOVA] },
  {
    name: 'VT-d, scalable, second stage',
    iommu: scalable,
    input: { mode: 'scalable' },
    enforces: 'empty',
    fault: [0x79, IOVA],
  },
  {
    name: 'VT-d, first stage',
    iommu: scalable,
    input: { mode: 'scalable', stage: 'first' },
    enforces: 'always',
    fault: [0x71, IOVA],
  },
  {
    name: 'AMD',
    iommu: { kind: 'amd' },
    input: { forceCoherent: 'enforced', sizes: 'all' },
    enforces: 'empty',
    fault: [2, IOVA],
  },
  {
    name: 'SMMU, stage 1',
    iommu: { kind: 'smmuv3' },
    enforces: 'never',
    fault: [0x10, IOVA],
  },
  {
    name: 'SMMU, stage 2',
    iommu: { kind: 'smmuv3', outputWidth: 40 },
    input: { stage: 2 },
    enforces: 'never',
    fault: [0x10, IOVA],
  },
];

/** What units recorded since the last call: reason or type, and address. */
function recorded({ iommus }: Machine): (readonly [reason: number, address: U64])[] {
  return iommus.flatMap((unit): (readonly [number, U64])[] => {
    if ('takeEvents' in unit) return unit.takeEvents().events.map(({ type, address }) => [type, address]);
    const { faults } = unit;
    unit.clearFaults();
    return faults.map(({ reason, page }) => [reason, page]);
  });
}

describe.each(BUILDS)('domains of a machine on the %s core', (build) => {
  const { make } = machinesOf(build);

  interface Lab {
    readonly m: UnitMachine;
    readonly domains: MachineDomains;
    readonly sid: number;
  }

  const lab = async (
    { iommu = { kind: 'vtd' }, input = {} }: Partial<Kind>,
    config: Omit<MachineConfig, 'slots'> = {},
    slots = [{}],
  ): Promise<Lab> => {
    const platform = iommu.kind === 'smmuv3' ? 'arm64' : 'x86-64';
    const m = await UnitMachine.create(make, { platform, iommus: [iommu], ...config }, slots);
    return { m, domains: machineDomains(m.machine, { ...input, tables: TABLES }), sid: m.fn().id };
  };

  describe.each(KINDS)('$name', (kind) => {
    describe.each(['functional', 'timed'] as const)('%s', (fidelity) => {
      it('a buffer of a dma domain is reached at the address that it got, until it is unmapped', async () => {
        const { m, domains, sid } = await lab(kind, { fidelity });
        const domain = domains.create('dma');
        domain.attach({ sid });
        const iova = domain.mapDma(PAGE, 8192);
        const data = pattern(6000, 3);
        m.write(iova + 100n, data);
        expect(m.machine.memory.read(PAGE + 100, 6000)).toEqual(data);
        expect(m.read(iova + 100n, 6000)).toMatchObject({ status: 'ok', data });
        expect(recorded(m.machine)).toEqual([]);
        domain.unmapDma(iova);
        m.write(iova + 100n, pattern(64, 9));
        expect(m.read(iova + 8000n, 4).status).not.toBe('ok');
        expect(m.machine.memory.read(PAGE + 100, 6000)).toEqual(data);
      });

      it('a function reaches what its domain maps: unmanaged, identity, blocked, and from one to another', async () => {
        const { m, domains, sid } = await lab(kind, { fidelity });
        m.machine.memory.write(PAGE, pattern(64, 1));
        m.machine.memory.write(OTHER, pattern(64, 2));
        const [first, second, identity, blocked] = (
          ['unmanaged', 'unmanaged', 'identity', 'blocked'] satisfies DomainKind[]
        ).map((name) => domains.create(name)) as [MachineDomain, MachineDomain, MachineDomain, MachineDomain];
        first.map(IOVA, PAGE, 4096, { write: false });
        second.map(IOVA, OTHER, 4096);
        second.map(PAGE, PAGE, 4096);
        // Nothing passes before a function is attached.
        expect(m.read(PAGE, 64).status).not.toBe('ok');
        for (const [domain, atIova, atPage] of [
          [first, pattern(64, 1), undefined],
          [second, pattern(64, 2), pattern(64, 1)],
          [identity, 'outside', pattern(64, 1)],
          [blocked, undefined, undefined],
          [first, pattern(64, 1), undefined],
        ] as const) {
          domain.attach({ sid });
          if (atIova !== 'outside')
            expect([domain.kind, m.read(IOVA, 64).data]).toEqual([domain.kind, atIova]);
          expect([domain.kind, m.read(PAGE, 64).data]).toEqual([domain.kind, atPage]);
          // Only the second lets the device write at IOVA, and to OTHER.
          m.write(IOVA, pattern(8, 40));
          domain.detach({ sid });
          expect([domain.kind, m.read(PAGE, 64).status === 'ok']).toEqual([domain.kind, false]);
        }
        expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
        expect(m.machine.memory.read(OTHER, 8)).toEqual(pattern(8, 40));
      });
    });

    it('a page that was unmapped faults, and its neighbour does not', async () => {
      const { m, domains, sid } = await lab(kind);
      const domain = domains.create('unmanaged');
      domain.attach({ sid });
      domain.map(IOVA, PAGE, 3 * 4096);
      for (let n = 0; n < 3; n++) expect(m.read(IOVA + 4096 * n, 64).status).toBe('ok');
      expect([domain.unmap(IOVA, 4096), recorded(m.machine)]).toEqual([4096n, []]);
      expect(m.read(IOVA, 64).status).not.toBe('ok');
      expect(recorded(m.machine).map(([reason, at]) => [reason, Number(at)])).toEqual([kind.fault]);
      expect(m.read(IOVA + 4096, 64).status).toBe('ok');
      domain.map(IOVA, OTHER, 4096);
      m.write(IOVA, pattern(64, 5));
      expect(m.machine.memory.read(OTHER, 64)).toEqual(pattern(64, 5));
    });

    it('IOM-43, 50: a domain that enforces coherency makes a No Snoop read fresh', async () => {
      const { m, domains, sid } = await lab(kind);
      const domain = domains.create('unmanaged');
      domain.attach({ sid });
      domain.map(IOVA, PAGE, 4096);
      m.machine.memory.write(PAGE, pattern(64, 1));
      expect(m.read(IOVA, 64, NS).data).toEqual(new Uint8Array(64));
      expect(m.read(IOVA, 64).data).toEqual(pattern(64, 1));
      m.machine.memory.flush(PAGE, 64);
      expect(m.read(IOVA, 64, NS).data).toEqual(pattern(64, 1));
      expect(domain.enforceCacheCoherency()).toBe(kind.enforces === 'always');
      if (kind.enforces === 'empty') {
        domain.unmap(IOVA, 4096);
        expect(domain.enforceCacheCoherency()).toBe(true);
        domain.map(IOVA, PAGE, 4096);
      }
      m.machine.memory.write(PAGE, pattern(64, 2));
      const isFresh = kind.enforces !== 'never';
      expect(m.read(IOVA, 64, NS).data).toEqual(pattern(64, isFresh ? 2 : 1));
      expect([domain.isEnforced, m.fn().stats.noSnoopStripped]).toEqual([isFresh, isFresh ? 1 : 0]);
      // Functions that come later are held to it, too.
      domain.detach({ sid });
      domain.attach({ sid });
      expect(m.read(IOVA, 64, NS).data).toEqual(pattern(64, isFresh ? 2 : 1));
    });

    it('two functions behind one unit keep to their own domains', async () => {
      const { m, domains } = await lab(kind, {}, [{}, {}]);
      const both = [PAGE, OTHER].map((to, n) => {
        const domain = domains.create('unmanaged');
        domain.map(IOVA, to, 4096);
        domain.attach({ sid: m.fn(n).id });
        return domain;
      });
      for (const n of [0, 1]) m.write(IOVA, pattern(64, 10 + n), {}, n);
      expect([PAGE, OTHER].map((at) => m.machine.memory.read(at, 64))).toEqual([
        pattern(64, 10),
        pattern(64, 11),
      ]);
      both[0]?.unmap(IOVA, 4096);
      expect([0, 1].map((n) => m.read(IOVA, 64, {}, n).status === 'ok')).toEqual([false, true]);
    });
  });

  it.each([
    ['VT-d, second stage', { iommu: scalable, input: { mode: 'scalable' } }],
    ['VT-d, first stage', { iommu: scalable, input: { mode: 'scalable', stage: 'first' } }],
    ['SMMU, stage 1', { iommu: { kind: 'smmuv3' }, input: { pasidBits: 5 } }],
  ] as const)('%s: requests with a PASID go through the domain of the PASID', async (_name, kind) => {
    const { m, domains, sid } = await lab(kind);
    enablePasid(m);
    const [own, process] = ['unmanaged', 'unmanaged'].map((name) => domains.create(name as DomainKind)) as [
      MachineDomain,
      MachineDomain,
    ];
    own.map(IOVA, PAGE, 4096);
    process.map(IOVA, OTHER, 4096);
    own.attach({ sid });
    process.attach({ sid, pasid: 9 });
    m.write(IOVA, pattern(64, 1));
    m.write(IOVA, pattern(64, 2), { pasid: 9 });
    m.write(IOVA, pattern(64, 3), { pasid: 8 });
    expect([PAGE, OTHER].map((at) => m.machine.memory.read(at, 64))).toEqual([
      pattern(64, 1),
      pattern(64, 2),
    ]);
    process.detach({ sid, pasid: 9 });
    expect([m.read(IOVA, 4, { pasid: 9 }).status === 'ok', m.read(IOVA, 4).status]).toEqual([false, 'ok']);
  });

  it('VT-d: the highest address that a unit with a small MGAW gives is one that it takes', async () => {
    for (const [mgaw, top] of [
      [40n, 1n << 40n],
      [39n, 1n << 39n],
      [57n, 1n << 48n],
    ] as const) {
      const cap = (CAP & ~(0x3fn << 16n)) | ((mgaw - 1n) << 16n);
      const { m, domains, sid } = await lab({ iommu: { kind: 'vtd', cap } });
      const domain = domains.create('dma');
      domain.attach({ sid });
      const iova = domain.mapDma(PAGE, 4096, { limit: 2n ** 64n - 1n });
      expect([mgaw, iova]).toEqual([mgaw, top - 4096n]);
      expect([mgaw, m.read(iova, 64).status, recorded(m.machine)]).toEqual([mgaw, 'ok', []]);
    }
  });

  it('tables stay in their region, and come back to it', async () => {
    const { m, domains, sid } = await lab({});
    const outside = (): Uint8Array[] => [
      m.machine.memory.read(0, TABLES.at),
      m.machine.memory.read(TABLES.at + TABLES.bytes, 0x10_0000),
    ];
    const before = outside();
    const domain = domains.create('unmanaged');
    domain.attach({ sid });
    for (let n = 0; n < 20; n++) domain.map(n * 2 ** 30, PAGE, 4096);
    expect(outside()).toEqual(before);
    for (let n = 0; n < 20; n++) domain.unmap(n * 2 ** 30, 4096);
    for (let round = 0; round < 50; round++) {
      domain.map(round * 2 ** 30, PAGE, 0x10_0000);
      domain.unmap(round * 2 ** 30, 0x10_0000);
    }
  });

  it('a region that is full is an error with ENOMEM, after which what was mapped still is', async () => {
    const m = await UnitMachine.create(make);
    // Root and context table, four levels.
    const domains = machineDomains(m.machine, { tables: { at: 0x1000, bytes: 6 * 4096 } });
    const domain = domains.create('unmanaged');
    domain.attach({ sid: m.fn().id });
    domain.map(IOVA, PAGE, 4096);
    expect(errorOf(() => domain.map(2 ** 32, PAGE, 4096))).toMatchObject({
      code: 'resource',
      errno: 'ENOMEM',
    });
    expect(m.read(IOVA, 64).status).toBe('ok');
    expect(m.read(2 ** 32, 64).status).not.toBe('ok');
  });

  it('after a reset of the machine it is called again', async () => {
    const { m, sid } = await lab({});
    m.machine.reset();
    const domain = machineDomains(m.machine, { tables: TABLES }).create('unmanaged');
    expect(m.read(PAGE, 64).status).not.toBe('ok');
    domain.attach({ sid });
    domain.map(IOVA, PAGE, 4096);
    expect(m.read(IOVA, 64).status).toBe('ok');
  });

  it.each([
    [{}, 'tables', 'invalid-value'],
    [{ tables: { at: 0, bytes: 4096 } }, 'tables.at', 'invalid-value'],
    [{ tables: { at: 0x1800, bytes: 4096 } }, 'tables.at', 'invalid-value'],
    [{ tables: { at: 0x1000, bytes: 100 } }, 'tables.bytes', 'invalid-value'],
    [{ tables: { at: 0x1000, bytes: 0 } }, 'tables.bytes', 'invalid-value'],
    [{ tables: { at: 0x1000, bytes: Number.NaN } }, 'tables.bytes', 'invalid-value'],
    [{ tables: { at: 0x1000, bytes: 1 << 22 } }, 'tables', 'out-of-range'],
    [{ tables: { at: 2 ** 52, bytes: 4096 } }, 'tables', 'out-of-range'],
    [{ tables: { at: 0x1000, bytes: 4096, size: 1 } }, 'tables.size', 'unknown-name'],
    [{ tables: TABLES, iommu: 1 }, 'iommu', 'not-found'],
    [{ tables: TABLES, iommu: -1 }, 'iommu', 'out-of-range'],
    [{ tables: TABLES, levels: 4 }, 'levels', 'unknown-name'],
    [{ tables: TABLES, stage: 'third' }, 'stage', 'invalid-value'],
    [{ tables: TABLES, mode: 'abort' }, 'mode', 'invalid-value'],
    [{ tables: TABLES, stage: 'first' }, 'mode', 'invalid-value'],
    [undefined, 'input', 'invalid-value'],
  ])('refuses %j', async (input, field, code) => {
    const m = await UnitMachine.create(make);
    const error = errorOf(() => machineDomains(m.machine, input as MachineDomainsInput));
    expect(error).toMatchObject({ field, code });
    // The unit is as it was.
    m.write(PAGE, pattern(64, 1));
    expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
  });

  it('refuses more PASIDs than the unit has substreams, and a machine without units', async () => {
    const iommu = { kind: 'smmuv3', substreamBits: 3 } as const;
    await expect(lab({ iommu, input: { pasidBits: 4 } })).rejects.toMatchObject({ field: 'pasidBits' });
    const { machine } = await UnitMachine.create(make, { iommus: [] });
    expect(errorOf(() => machineDomains(machine, { tables: TABLES }))).toMatchObject({ code: 'not-found' });
  });

  describe('s390x', () => {
    const SDMA = 0x1_0000_0000n;
    const machine = (): Promise<UnitMachine> =>
      UnitMachine.create(make, { platform: 's390x', iommus: [] }, [{ options: { zpciMode: 'native' } }]);

    it('zpci.md 5.4: a function is registered with the tables of its domain, and refreshed', async () => {
      const m = await machine();
      const sid = m.fn().id;
      const domains = machineDomains(m.machine, { tables: TABLES });
      const [first, second] = [PAGE, OTHER].map((to) => {
        const domain = domains.create('unmanaged');
        domain.map(SDMA, to, 4096);
        return domain;
      }) as [MachineDomain, MachineDomain];
      first.attach({ sid });
      m.write(SDMA, pattern(64, 1));
      first.map(SDMA + 4096n, OTHER, 4096, { write: false });
      expect(m.read(SDMA + 4096n, 64).status).toBe('ok');
      first.unmap(SDMA, 4096);
      expect(m.read(SDMA, 64).status).not.toBe('ok');
      expect(m.machine.memory.read(PAGE, 64)).toEqual(pattern(64, 1));
      // In error it takes no refresh, and needs none.
      expect([m.fn().state, first.unmap(SDMA + 4096n, 4096)]).toEqual(['error', 4096n]);
      first.detach({ sid });
      // The error has to be cleared before the function does DMA again.
      m.fn().state = 'enabled';
      second.map(SDMA + 0x4000_0000n, PAGE, 8192);
      second.attach({ sid });
      for (const [at, seed] of [
        [0n, 2],
        [0x4000_1000n, 3],
      ] as const)
        m.write(SDMA + at, pattern(64, seed));
      expect([OTHER, PAGE + 4096].map((at) => m.machine.memory.read(at, 64))).toEqual([
        pattern(64, 2),
        pattern(64, 3),
      ]);
    });

    it('a mapping that the function cannot be told of is taken back; a function that has gone is detached', async () => {
      const m = await machine();
      const sid = m.fn().id;
      const domain = machineDomains(m.machine, { tables: TABLES }).create('unmanaged');
      domain.attach({ sid });
      m.machine.cpu.sclp('deconfigure', m.fn().fid);
      expect(errorOf(() => domain.map(SDMA, PAGE, 4096))).toMatchObject({ field: 'sid', errno: 'EINVAL' });
      expect([domain.lookUp(SDMA), domain.isEmpty]).toEqual([null, true]);
      domain.detach({ sid });
      expect(domain.functions).toBe(0);
      domain.destroy();
    });

    it('refuses functions that are not there, or not enabled', async () => {
      const m = await machine();
      const domain = machineDomains(m.machine, { tables: TABLES }).create('unmanaged');
      expect(errorOf(() => domain.attach({ sid: 0xff8 }))).toMatchObject({ field: 'sid' });
      m.machine.cpu.sclp('deconfigure', m.fn().fid);
      expect(errorOf(() => domain.attach({ sid: m.fn().id }))).toMatchObject({
        field: 'sid',
        errno: 'EINVAL',
      });
      expect(domain.functions).toBe(0);
      for (const [input, field] of [
        [{ iommu: 1 }, 'iommu'],
        [{ stage: 1 }, 'stage'],
        [{ top: 'page' }, 'top'],
      ] as const)
        expect(
          errorOf(() => machineDomains(m.machine, { tables: TABLES, ...input } as MachineDomainsInput)),
        ).toMatchObject({ field });
    });
  });
});

type MachineDomain = ReturnType<MachineDomains['create']>;

/** PASID Enable in the PASID capability of the function. */
function enablePasid(m: UnitMachine): void {
  const fn = m.fn();
  const at = fn.config.extendedCapability(0x1b) ?? 0;
  fn.config.write(at + 6, 1, 2);
}
