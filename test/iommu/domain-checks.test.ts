/** What domains refuse before anything is written: reserved addresses, fields that do not exist, functions elsewhere. */
import { describe, expect, it } from 'vitest';
import {
  AmdDomainUnit,
  Domain,
  type DomainInput,
  type DomainMapAttributes,
  type DomainUnit,
  machineDomains,
  PlainMemory,
  S390DomainUnit,
  SmmuDomainUnit,
  VfioContainer,
} from '../../src/index.js';
import { errorOf, machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { notedVtd } from './domain-lab.js';
import { UnitMachine } from './machine-lab.js';

const memory = new PlainMemory();
const einval = { code: 'invalid-value', errno: 'EINVAL' };
const unmanaged = (unit: DomainUnit): Domain => new Domain({ kind: 'unmanaged', unit, memory });

describe('addresses that a unit reserves', () => {
  const units: readonly (readonly [string, () => DomainUnit, bigint, bigint])[] = [
    ['VT-d', () => notedVtd(memory).unit, 0xfee0_0000n, 0xfeef_ffffn],
    ['AMD', () => new AmdDomainUnit({ memory }), 0xfee0_0000n, 0xfeef_ffffn],
    ['AMD, HyperTransport', () => new AmdDomainUnit({ memory }), 0xfd_0000_0000n, 0xff_ffff_ffffn],
    ['SMMU', () => new SmmuDomainUnit({ memory }), 0x800_0000n, 0x80f_ffffn],
    ['s390', () => new S390DomainUnit({ range: { first: 0x1000_0000n, last: 1n << 40n } }), 0n, 0xfff_ffffn],
  ];

  it.each(units)('%s: cannot be mapped, those beside them can', (_name, unitOf, first, last) => {
    const domain = unmanaged(unitOf());
    const attach = (): void => domain.attach({ sid: 8 });
    for (const step of [() => undefined, attach]) {
      step();
      const ranges = [
        [first, 4096n],
        [last - 4095n, 4096n],
        [last - 4095n, 8192n],
        ...(first === 0n ? [] : [[first - 4096n, 8192n]]),
      ] as [bigint, bigint][];
      for (const [at, bytes] of ranges)
        expect(errorOf(() => domain.map(at, 0x4000_0000, bytes))).toMatchObject({
          ...einval,
          field: 'iova',
          value: at,
        });
      expect(domain.isEmpty).toBe(true);
      domain.map(last + 1n, 0x4000_0000, 4096);
      if (first > 0n) domain.map(first - 4096n, 0x4000_0000, 4096);
      domain.unmap(last + 1n, 4096);
      if (first > 0n) domain.unmap(first - 4096n, 4096);
    }
  });

  it('keep a unit that reserves what is mapped from joining', () => {
    const wide = new S390DomainUnit();
    const narrow = new S390DomainUnit({ range: { first: 0x1000_0000n, last: 1n << 40n } });
    const domain = unmanaged(wide);
    domain.attach({ sid: 8 });
    domain.map(0x1000, 0x5000, 4096);
    expect(errorOf(() => domain.attach({ sid: 16 }, narrow))).toMatchObject({ ...einval, field: 'iova' });
    expect(domain.functions).toBe(1);
    domain.unmap(0x1000, 4096);
    domain.attach({ sid: 16 }, narrow);
    expect(errorOf(() => domain.map(0x1000, 0x5000, 4096))).toMatchObject(einval);
  });
});

describe('fields that do not exist', () => {
  it.each([
    [{ readonly: true }, 'attributes.readonly'],
    [{ perm: 1 }, 'attributes.perm'],
    [{ write: false, force: true }, 'attributes.force'],
  ])('of a mapping are refused: %j', (attributes, field) => {
    const { unit } = notedVtd(memory);
    const given = attributes as DomainMapAttributes;
    const error = { code: 'unknown-name', field };
    const dma = new Domain({ kind: 'dma', unit, memory });
    expect(errorOf(() => dma.mapDma(0, 4096, given))).toMatchObject(error);
    // No address is taken by what was refused.
    expect(dma.mapDma(0, 4096, { write: false, limit: 0xffff_ffff })).toBe(0xffff_f000n);
    const domain = unmanaged(unit);
    expect(errorOf(() => domain.map(0, 0, 4096, given))).toMatchObject(error);
    const container = new VfioContainer({ memory });
    expect(errorOf(() => container.map(0, 0, 4096, given))).toMatchObject(error);
    container.attach({ sid: 8 }, unit);
    expect([domain.isEmpty, container.domains[0]?.isEmpty]).toEqual([true, true]);
  });

  it('of a mapping have to be those of an object', () => {
    const { unit } = notedVtd(memory);
    const given = null as unknown as DomainMapAttributes;
    expect(errorOf(() => unmanaged(unit).map(0, 0, 4096, given)).field).toBe('attributes');
    const dma = new Domain({ kind: 'dma', unit, memory });
    expect(errorOf(() => dma.mapDma(0, 4096, given)).field).toBe('options');
  });

  it('of a domain are refused', () => {
    const input = { kind: 'dma', unit: notedVtd(memory).unit, memory, snoopTerm: 'linux2021' };
    expect(errorOf(() => new Domain(input as DomainInput))).toMatchObject({
      code: 'unknown-name',
      field: 'snoopTerm',
    });
  });
});

describe.each(BUILDS)('domains of a machine on the %s core', (build) => {
  const { make } = machinesOf(build);
  const tables = (n: number): { at: number; bytes: number } => ({
    at: 0x10_0000 * (n + 1),
    bytes: 0x10_0000,
  });

  it('take the functions that are behind their unit, and no others', async () => {
    const iommus = [{ kind: 'vtd' }, { kind: 'vtd' }] as const;
    const slots = [{ iommu: 0 }, { iommu: 1 }, { iommu: 'none' }] as const;
    const m = await UnitMachine.create(make, { iommus }, slots);
    expect(m.machine.functions.map(({ iommu }) => iommu)).toEqual([0, 1, undefined]);
    for (const iommu of [0, 1]) {
      const domains = machineDomains(m.machine, { iommu, tables: tables(iommu) });
      for (const kind of ['unmanaged', 'identity', 'blocked'] as const) {
        const domain = domains.create(kind);
        for (const sid of [m.fn(1 - iommu).id, m.fn(2).id, 0xfff8])
          expect([kind, errorOf(() => domain.attach({ sid }))]).toMatchObject([
            kind,
            { ...einval, field: 'sid', value: sid },
          ]);
        expect(domain.functions).toBe(0);
        domain.attach({ sid: m.fn(iommu).id });
        domain.detach({ sid: m.fn(iommu).id });
      }
      const container = new VfioContainer({ memory: domains.memory });
      expect(errorOf(() => container.attach({ sid: m.fn(2).id }, domains.unit))).toMatchObject({
        field: 'sid',
      });
      container.attach({ sid: m.fn(iommu).id }, domains.unit);
      expect(errorOf(() => container.map(0xfee0_0000, 0x20_0000, 4096))).toMatchObject(einval);
      expect(container.domains[0]?.isEmpty).toBe(true);
    }
  });

  it('s390x: take every function of the machine', async () => {
    const native = { options: { zpciMode: 'native' } } as const;
    const m = await UnitMachine.create(make, { platform: 's390x', iommus: [] }, [native, native]);
    const blocked = machineDomains(m.machine, { tables: tables(0) }).create('blocked');
    for (const slot of [0, 1]) blocked.attach({ sid: m.fn(slot).id });
    expect(errorOf(() => blocked.attach({ sid: 0xfff8 }))).toMatchObject({ ...einval, field: 'sid' });
  });

  it('say which field of a domain there is not, and what a unit does not offer', async () => {
    const m = await UnitMachine.create(make, {});
    const domains = machineDomains(m.machine, { tables: tables(0) });
    expect(errorOf(() => domains.create('dma', { snoopTerm: 'linux2021' } as object))).toMatchObject({
      code: 'unknown-name',
      field: 'snoopTerm',
    });
    expect(errorOf(() => machineDomains(m.machine, { tables: tables(0), mode: 'scalable' }))).toMatchObject({
      code: 'unsupported',
      errno: 'EOPNOTSUPP',
    });
  });
});
