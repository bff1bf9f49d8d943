/** Input that no call takes, as callers without TypeScript give it: typed errors that name the field. */
import { describe, expect, it } from 'vitest';
import type { ZtlpError } from '../../src/base/errors.js';
import {
  AmdDomainUnit,
  type AmdDomainUnitInput,
  Domain,
  type DomainInput,
  type Machine,
  type MachineConfig,
  machineDomains,
  PlainMemory,
  VfioContainer,
} from '../../src/index.js';
import { errorOf, machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { notedVtd } from './domain-lab.js';
import { agent, UnitMachine } from './machine-lab.js';
import { ECAP, SMTS } from './unit-lab.js';

/** For what the compiler would refuse. */
const any = <T>(value: unknown): T => value as T;
const fieldOf = (action: () => unknown): string | undefined => errorOf(action).field;

describe('objects that are none', () => {
  it.each([undefined, null, 5, {}])('of domains and containers: %j', (value) => {
    const memory = new PlainMemory();
    const { unit } = notedVtd(memory);
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    const fn = { undefined: 'fn', null: 'fn', 5: 'fn' }[String(value)] ?? 'sid';
    expect(fieldOf(() => domain.attach(any(value)))).toBe(fn);
    expect(fieldOf(() => domain.detach(any(value)))).toBe(fn);
    if (value !== undefined) {
      expect(fieldOf(() => domain.attach({ sid: 8 }, any(value)))).toBe('unit');
      expect(fieldOf(() => domain.detach({ sid: 8 }, any(value)))).toBe('unit');
    }
    expect(fieldOf(() => new Domain({ kind: 'dma', unit: any(value), memory }))).toBe('unit');
    expect(fieldOf(() => new Domain({ kind: 'dma', unit, memory: any(value) }))).toBe('memory');
    expect(fieldOf(() => new Domain(any<DomainInput>(value)))).toBe(fn === 'fn' ? 'input' : 'kind');
    expect(fieldOf(() => new VfioContainer(any(value)))).toBe(fn === 'fn' ? 'input' : 'memory');
    const container = new VfioContainer({ memory });
    expect(fieldOf(() => container.attach(any(value), unit))).toBe(fn);
    expect(fieldOf(() => container.attach({ sid: 8 }, any(value)))).toBe('unit');
    expect(fieldOf(() => container.detach(any(value), unit))).toBe(fn);
    if (value === null || value === 5) {
      expect(fieldOf(() => domain.map(0, 0, 4096, any(value)))).toBe('attributes');
      const dma = new Domain({ kind: 'dma', unit, memory });
      expect(fieldOf(() => dma.mapDma(0, 4096, any(value)))).toBe('options');
    }
    expect([domain.functions, container.domains]).toEqual([0, []]);
  });
});

describe('words that there are not', () => {
  it('of attributes: true and false alone', () => {
    const memory = new PlainMemory();
    const { unit } = notedVtd(memory);
    const [own, dma] = (['unmanaged', 'dma'] as const).map((kind) => new Domain({ kind, unit, memory }));
    const container = new VfioContainer({ memory });
    for (const [name, value] of [
      ['read', 'no'],
      ['write', 0],
      ['cache', null],
      ['device', {}],
    ] as const)
      for (const call of [
        () => own?.map(0, 0, 4096, any({ [name]: value })),
        () => dma?.mapDma(0, 4096, any({ [name]: value })),
        () => container.map(0, 0, 4096, any({ [name]: value })),
      ])
        expect(errorOf(call)).toMatchObject({ field: `attributes.${name}`, value });
    own?.map(0, 0, 4096, any({ read: undefined }));
    expect(own?.isEmpty).toBe(false);
  });

  it.each([
    [{ sizes: 'x' }, 'sizes'],
    [{ forceCoherent: true }, 'forceCoherent'],
  ])('of an AMD unit: %j', (input, field) => {
    const memory = new PlainMemory();
    expect(fieldOf(() => new AmdDomainUnit(any<AmdDomainUnitInput>({ memory, ...input })))).toBe(field);
  });

  it('of a VT-d unit: PASIDs as wide as it takes them', () => {
    const memory = new PlainMemory();
    const PASID = SMTS | (1n << 40n) | ECAP;
    const make = (pss: bigint, pasidBits?: number): Domain => {
      const input = { ecap: PASID | ((pss - 1n) << 35n), mode: 'scalable' } as const;
      const { unit } = notedVtd(memory, pasidBits === undefined ? input : { ...input, pasidBits });
      return new Domain({ kind: 'unmanaged', unit, memory });
    };
    for (const [pss, asked] of [
      [8n, 20],
      [8n, 14],
      [16n, 17],
    ] as const)
      expect(errorOf(() => make(pss, asked))).toMatchObject({ code: 'out-of-range', field: 'pasidBits' });
    for (const [pss, asked, most] of [
      [8n, undefined, 0xff],
      [8n, 13, 0xff],
      [16n, 16, 0xffff],
      [20n, 14, 0x3fff],
    ] as const) {
      const domain = make(pss, asked);
      domain.attach({ sid: 8, pasid: most });
      expect(errorOf(() => domain.attach({ sid: 8, pasid: most + 1 }))).toMatchObject({
        code: 'out-of-range',
        field: 'pasid',
      });
    }
  });
});

it('a container takes no mapping that no domain could have', () => {
  const memory = new PlainMemory();
  const container = new VfioContainer({ memory });
  for (const [iova, address, bytes, field] of [
    [0, 0, 0, 'bytes'],
    [1, 0, 4096, 'iova'],
    [0, 2, 4096, 'address'],
    [4096, 4096, 5, 'bytes'],
    [2n ** 64n - 4096n, 0, 8192, 'iova'],
    [0, 2n ** 64n - 4096n, 8192, 'address'],
  ] as const)
    expect([iova, address, bytes, fieldOf(() => container.map(iova, address, bytes))]).toEqual([
      iova,
      address,
      bytes,
      field,
    ]);
  expect(errorOf(() => container.map(0, 0, 4096, { read: false, write: false })).errno).toBe('EINVAL');
  container.map(4096, 8192, 4096);
  container.attach({ sid: 8 }, notedVtd(memory).unit);
  expect(container.domains[0]?.lookUp(4096)?.address).toBe(8192n);
});

describe.each(BUILDS)('machines on the %s core', (build) => {
  const { make } = machinesOf(build);
  const tables = { at: 0x1_0000, bytes: 0x8_0000 };

  it('machineDomains and create name what is no machine, and no options', async () => {
    for (const machine of [undefined, null, {}, 5])
      expect(fieldOf(() => machineDomains(any<Machine>(machine), { tables }))).toBe('machine');
    const { machine } = await UnitMachine.create(make);
    const domains = machineDomains(machine, { tables });
    for (const options of [5, null, 'linux2021'])
      expect(fieldOf(() => domains.create('dma', any(options)))).toBe('options');
  });

  it('a VT-d unit refuses requests and invalidations that it cannot read', async () => {
    const m = await UnitMachine.create(make);
    const { unit } = m;
    const calls: readonly (readonly [() => unknown, string])[] = [
      [() => unit.translate(any(undefined)), 'request'],
      [() => unit.transfer(any(undefined), 4), 'request'],
      [() => unit.invalidateContexts(any(null)), 'of'],
      [() => unit.invalidateContexts({ sid: -1 }), 'sid'],
      [() => unit.invalidateContexts({ sid: 0x1_0000 }), 'sid'],
      [() => unit.invalidateContexts({ did: Number.NaN }), 'did'],
      [() => unit.invalidateIotlb(Number.NaN), 'did'],
      [() => unit.invalidateIotlb(-5), 'did'],
      [() => unit.invalidatePages(any('x'), 0, 0), 'did'],
      [() => unit.invalidatePasidCache(any(null)), 'of'],
      [() => unit.invalidatePasidCache({ did: 0.5 }), 'did'],
      [() => unit.invalidatePasidPages(-1, 1), 'did'],
    ];
    for (const [call, field] of calls) expect([String(call), fieldOf(call)]).toEqual([String(call), field]);
  });

  it.each(['vtd', 'smmuv3', 'amd'] as const)('%s: a transfer ends below 2^64', async (kind) => {
    const platform = kind === 'smmuv3' ? 'arm64' : 'x86-64';
    const { machine } = await UnitMachine.create(make, { platform, iommus: [{ kind }] });
    const [unit] = machine.iommus;
    const request = { sid: 8, address: 2n ** 64n - 1n, isWrite: false };
    const error: ZtlpError = errorOf(() => unit?.transfer(request, 2));
    expect(error).toMatchObject({ code: 'out-of-range', field: 'address', value: request.address });
    expect(error.message).toMatch(/0xffffffffffffffff.* 2 bytes/);
    expect(unit?.transfer(request, 1)).toHaveLength(1);
    expect(fieldOf(() => unit?.translate(any(undefined)))).toBe('request');
  });

  it('units of a machine are a list without holes, and functions name one of them', async () => {
    const refused = async (config: Parameters<typeof make>[0]): Promise<unknown> => {
      try {
        await make(config);
      } catch (error) {
        return (error as ZtlpError).field;
      }
      return 'nothing';
    };
    expect(await refused({ iommus: any(new Array(2)) })).toBe('iommus[0]');
    const hole = [{ kind: 'vtd' }];
    hole[2] = { kind: 'vtd' };
    expect(await refused({ iommus: any<MachineConfig['iommus'] & object>(hole) })).toBe('iommus[1]');
    const { device } = agent();
    for (const iommu of [null, '0', 1.5])
      expect(await refused({ iommus: [{ kind: 'vtd' }], slots: [{ device, iommu: any(iommu) }] })).toBe(
        'slots[0].iommu',
      );
  });
});
