/** Domains of a machine: the software side of one of its translation units, with tables in host memory. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { OptionValue } from '../base/options.js';
import { hex64 } from '../core/u64.js';
import { AmdDomainUnit, type AmdDomainUnitInput } from '../iommu/amd-domain-unit.js';
import { amdHardware } from '../iommu/amd-hardware.js';
import { AmdUnit } from '../iommu/amd-unit.js';
import { Domain, type DomainKind } from '../iommu/domain.js';
import type { DomainUnit } from '../iommu/domain-unit.js';
import type { AddressRange } from '../iommu/iova.js';
import { S390DomainUnit, type S390DomainUnitInput } from '../iommu/s390-domain-unit.js';
import { SmmuDomainUnit, type SmmuDomainUnitInput } from '../iommu/smmu-domain-unit.js';
import { SmmuUnit } from '../iommu/smmu-unit.js';
import type { TableMemory } from '../iommu/table-memory.js';
import { VtdDomainUnit, type VtdDomainUnitInput } from '../iommu/vtd-domain-unit.js';
import { Machine } from './machine.js';
import { s390Hardware } from './s390-domains.js';
import { RegionMemory, type TableRegion } from './table-region.js';
import { EDMA, SDMA } from './zpci-view.js';

interface Base {
  /** Number of the unit in `machine.iommus`. Default 0. Functions of s390x are behind no unit of that list. */
  readonly iommu?: number;
  /** Where tables go: host memory that nothing else uses. Each table takes 4 KiB or more. */
  readonly tables: TableRegion;
}

/** For a unit of kind `vtd`. */
export type VtdDomainsInput = Base & Pick<VtdDomainUnitInput, 'mode' | 'stage' | 'pasidBits'>;
/** For a unit of kind `smmuv3`. */
export type SmmuDomainsInput = Base & Pick<SmmuDomainUnitInput, 'stage' | 'width' | 'pasidBits'>;
/** For a unit of kind `amd`. */
export type AmdDomainsInput = Base &
  Pick<AmdDomainUnitInput, 'levels' | 'hostWidth' | 'sizes' | 'forceCoherent'>;
/** For a machine of platform `s390x`. */
export type S390DomainsInput = Base & Pick<S390DomainUnitInput, 'top' | 'frames'>;

export type MachineDomainsInput = VtdDomainsInput | SmmuDomainsInput | AmdDomainsInput | S390DomainsInput;

const BASE = { iommu: true, tables: true } as const;
const VTD = keysOf<VtdDomainsInput>({ ...BASE, mode: true, stage: true, pasidBits: true });
const SMMU = keysOf<SmmuDomainsInput>({ ...BASE, stage: true, width: true, pasidBits: true });
const AMD = keysOf<AmdDomainsInput>({
  ...BASE,
  levels: true,
  hostWidth: true,
  sizes: true,
  forceCoherent: true,
});
const S390 = keysOf<S390DomainsInput>({ ...BASE, top: true, frames: true });

/** What `machineDomains` answers. */
export interface MachineDomains {
  /** Pass it to `Domain.attach` of a domain that another unit began, or to a `VfioContainer`. */
  readonly unit: DomainUnit;
  /** The region of the tables. */
  readonly memory: TableMemory;
  /** A domain of the unit. Its functions are named by their `PciFunction.id`: `domain.attach({ sid: fn.id })`. */
  create(kind: DomainKind, options?: { readonly snoopTerms?: OptionValue<'snoopTerms'> }): Domain;
}

/** A unit that is in use, since a reset of its machine. On s390x, where nothing is taken away from others, any number. */
interface Use {
  readonly place: number | undefined;
  readonly generation: number;
  /** Where its tables are. */
  readonly range: AddressRange;
}

const USES = new WeakMap<Machine, readonly Use[]>();

/**
 * Takes a translation unit of `machine` into use: writes its root, device or stream table, in which no function reaches
 * anything, and turns translation on. A function has to be attached to a domain before its requests go anywhere. After
 * `machine.reset` the unit is off and memory empty: call it again. A second call for a unit replaces all tables. Calls of
 * domains from before then throw ZtlpError (EINVAL).
 *
 * Tables are written through the processor's cache, which walks of the units ask: nothing has to be flushed.
 *
 * `attach` of its domains refuses functions that are not behind the unit (EINVAL).
 *
 * Throws ZtlpError: `not-found`, the machine has no such unit; `out-of-range`, tables outside host memory; `invalid-value`
 * (EINVAL), tables where another unit has its own, on s390x also those of an earlier call; `resource` (ENOMEM) where they do
 * not fit; `unsupported` (EOPNOTSUPP) for a mode or a stage that the unit does not have; `unknown-name` for a field of another
 * kind of unit.
 */
export function machineDomains(machine: Machine, input: MachineDomainsInput): MachineDomains {
  if (!(machine instanceof Machine)) throw invalid('machine', machine, 'a machine that createMachine made');
  needObject('input', input);
  const { memory, unit } = unitOf(machine, input);
  // On s390x every function translates for itself.
  const place = machine.platform === 's390x' ? undefined : (input.iommu ?? 0);
  const use = { place, generation: machine.generation, range: memory.range };
  USES.set(machine, [...othersOf(machine, place), use]);
  unit.serveOnly(
    (sid) => machine.functions.some(({ id, iommu }) => id === sid && iommu === place),
    () => needUse(machine, use),
  );
  unit.retireWith(() => machine.retireTranslated());
  return {
    unit,
    memory,
    create(kind, options = {}) {
      needObject('options', options);
      return new Domain({ ...options, kind, unit, memory });
    },
  };
}

/** The units of `machine` that are in use. */
function usesOf(machine: Machine): readonly Use[] {
  return USES.get(machine)?.filter(({ generation }) => generation === machine.generation) ?? [];
}

/** Those that stay when the unit at `place` is taken into use. */
function othersOf(machine: Machine, place: number | undefined): readonly Use[] {
  return usesOf(machine).filter((other) => place === undefined || other.place !== place);
}

/** The region of the unit at `place`. Throws ZtlpError where another unit has its tables. */
function regionOf(machine: Machine, place: number | undefined, tables: TableRegion): RegionMemory {
  const memory = new RegionMemory(machine.memory, tables);
  const { first, last } = memory.range;
  for (const { range } of othersOf(machine, place))
    if (range.first <= last && first <= range.last)
      throw new ZtlpError(
        'invalid-value',
        `tables: ${hex64(range.first)} to ${hex64(range.last)} has tables of another unit or call`,
        { field: 'tables', value: tables.at, allowed: 'memory that nothing else uses', errno: 'EINVAL' },
      );
  return memory;
}

/** Throws ZtlpError when `use` is over. */
function needUse(machine: Machine, use: Use): void {
  if (usesOf(machine).includes(use)) return;
  const why =
    use.generation === machine.generation ? 'the unit was taken into use again' : 'the machine was reset';
  throw new ZtlpError('invalid-value', `${why} since the domain was made: call machineDomains again`, {
    errno: 'EINVAL',
  });
}

function unitOf(machine: Machine, input: MachineDomainsInput): { memory: RegionMemory; unit: DomainUnit } {
  const { iommus, platform } = machine;
  const { iommu = 0, tables, ...rest } = input;
  if (platform === 's390x') return s390Of(machine, input);
  const hardware = iommus[inRange('iommu', iommu, 0, 3)];
  if (hardware === undefined)
    throw new ZtlpError('not-found', `iommu: the machine has ${iommus.length} translation units`, {
      field: 'iommu',
      value: iommu,
      allowed: iommus.length === 0 ? 'a machine with iommus' : `0 to ${iommus.length - 1}`,
    });
  const known = hardware instanceof SmmuUnit ? SMMU : hardware instanceof AmdUnit ? AMD : VTD;
  checkKeys('', input, known);
  const memory = regionOf(machine, iommu, tables);
  // Tables by requester are as long as the functions need.
  const bits = Math.max(...machine.functions.map(({ id }) => id), 1).toString(2).length;
  if (hardware instanceof SmmuUnit) {
    const { outputWidth, substreamBits, canwbs } = hardware;
    inRange('pasidBits', (rest as SmmuDomainsInput).pasidBits ?? 0, 0, Math.min(10, substreamBits));
    const own = { hardware, memory, outputWidth, canwbs, streamBits: Math.max(bits, 6) };
    return { memory, unit: new SmmuDomainUnit({ ...(rest as SmmuDomainsInput), ...own }) };
  }
  if (hardware instanceof AmdUnit) {
    const own = { hardware: amdHardware(hardware), memory, deviceBits: Math.max(bits, 7) };
    return { memory, unit: new AmdDomainUnit({ ...(rest as AmdDomainsInput), ...own }) };
  }
  const { cap, ecap, hostWidth } = hardware;
  const own = { hardware, memory, cap, ecap, hostWidth };
  return { memory, unit: new VtdDomainUnit({ ...(rest as VtdDomainsInput), ...own }) };
}

function s390Of(machine: Machine, input: MachineDomainsInput): { memory: RegionMemory; unit: DomainUnit } {
  checkKeys('', input, S390);
  inRange('iommu', input.iommu ?? 0, 0, 0);
  const { top, frames } = input as S390DomainsInput;
  const tables = { ...(top === undefined ? {} : { top }), ...(frames === undefined ? {} : { frames }) };
  const { width } = new S390DomainUnit(tables).format;
  const last = (1n << BigInt(width)) - 1n;
  const range = { first: SDMA, last: last < EDMA ? last : EDMA };
  const memory = regionOf(machine, undefined, input.tables);
  const hardware = s390Hardware(machine, memory);
  return { memory, unit: new S390DomainUnit({ ...tables, hardware, memory, range }) };
}
