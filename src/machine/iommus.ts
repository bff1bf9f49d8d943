/** Translation units of a machine: what its configuration says about them, checked, and the units themselves. */
import * as I from '../../assembly/iommu-layout.js';
import * as L from '../../assembly/layout.js';
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import { AmdUnit } from '../iommu/amd-unit.js';
import { coherentFeatures, SmmuUnit } from '../iommu/smmu-unit.js';
import { flagFeatures, type HardwareFlags } from '../iommu/unit.js';
import { iotlbEntriesOf, VtdUnit } from '../iommu/vtd-unit.js';
import { HOSTS } from '../link/host-presets.js';
import { ticksOf } from '../link/ports.js';
import type { Platform } from '../path/table.js';

/** Intel VT-d, for x86-64. Off until software sets `rootTable` and `isOn`. */
export interface VtdConfig {
  readonly kind: 'vtd';
  /**
   * CAP and ECAP registers. Default: 48 bits, 4 levels, pages of 2 MiB and 1 GiB, one fault record; queued invalidation,
   * pass-through, snoop control.
   */
  readonly cap?: U64;
  readonly ecap?: U64;
  /** Address bits of the host, 30 to 52. Default 46. */
  readonly hostWidth?: number;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default: the unit's number. */
  readonly seed?: number;
}

/** Arm SMMUv3, for arm64. Off until software sets the stream table and `isOn`. Option `iotlbKey` has no meaning for it. */
export interface SmmuConfig {
  readonly kind: 'smmuv3';
  /** Address bits of its outputs, 32 to 48. Default 44. */
  readonly outputWidth?: number;
  /** Log2 of the substreams (PASIDs) of a stream, 0 to 20. Default 20. */
  readonly substreamBits?: number;
  /** Flags in tables that hardware sets where a context or stream says so. Default none. */
  readonly hardwareFlags?: HardwareFlags;
  /** The root complex is coherent whatever memory types and No Snoop say (CANWBS of the IORT). Default false. */
  readonly canwbs?: boolean;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default: the unit's number. */
  readonly seed?: number;
}

/** AMD-Vi with host tables, for x86-64. Off until software sets the device table and `isOn`. */
export interface AmdConfig {
  readonly kind: 'amd';
  /** Flags in tables that hardware sets where a device table entry says so. Default none. */
  readonly hardwareFlags?: HardwareFlags;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default: the unit's number. */
  readonly seed?: number;
}

export type IommuConfig = VtdConfig | SmmuConfig | AmdConfig;

export type MachineUnit = VtdUnit | SmmuUnit | AmdUnit;

const KEYS = {
  vtd: keysOf<VtdConfig>({ kind: true, cap: true, ecap: true, hostWidth: true, seed: true }),
  smmuv3: keysOf<SmmuConfig>({
    kind: true,
    outputWidth: true,
    substreamBits: true,
    hardwareFlags: true,
    canwbs: true,
    seed: true,
  }),
  amd: keysOf<AmdConfig>({ kind: true, hardwareFlags: true, seed: true }),
};
const PLATFORM_OF: Readonly<Record<IommuConfig['kind'], Platform>> = {
  vtd: 'x86-64',
  amd: 'x86-64',
  smmuv3: 'arm64',
};
/** What QEMU 7.2 has, with snoop control and without a device TLB (iommu.md 2.1). */
const CAP = 0x00d2_008c_222f_0606n;
const ECAP = 0xf0_0fcan;
const HOST_WIDTH = 46;
const OUTPUT_WIDTH = 44;

/** Checks the units of a machine of `platform`; throws ZtlpError. */
export function checkIommus(given: readonly IommuConfig[] | undefined, platform: Platform): IommuConfig[] {
  if (given === undefined) return [];
  if (!Array.isArray(given) || given.length > I.UNIT_MOST)
    throw invalid('iommus', given, `a list of at most ${I.UNIT_MOST} translation units`);
  // A hole in the list counts as an entry that is no object.
  return Array.from(given as readonly IommuConfig[], (unit, n) => {
    const field = `iommus[${n}]`;
    if (typeof unit !== 'object' || unit === null) throw invalid(field, unit, "an object: { kind: 'vtd' }");
    if (!Object.hasOwn(KEYS, unit.kind))
      throw invalid(`${field}.kind`, unit.kind, Object.keys(KEYS).join(', '));
    if (PLATFORM_OF[unit.kind] !== platform)
      throw new ZtlpError('unsupported', `${field}.kind: ${unit.kind} is not for platform ${platform}`, {
        field: `${field}.kind`,
        value: unit.kind,
        allowed: `platform ${PLATFORM_OF[unit.kind]}`,
      });
    checkKeys(field, unit, KEYS[unit.kind]);
    checkFigures(field, unit);
    return unit;
  });
}

function checkFigures(field: string, unit: IommuConfig): void {
  inRange(`${field}.seed`, unit.seed ?? 0, 0, 0xffff_ffff);
  if (unit.kind === 'smmuv3') {
    inRange(`${field}.outputWidth`, unit.outputWidth ?? OUTPUT_WIDTH, 32, 48);
    inRange(`${field}.substreamBits`, unit.substreamBits ?? 0, 0, 20);
    flagFeatures(unit.hardwareFlags, `${field}.hardwareFlags`);
    coherentFeatures(unit.canwbs, `${field}.canwbs`);
    return;
  }
  if (unit.kind === 'amd') {
    flagFeatures(unit.hardwareFlags, `${field}.hardwareFlags`);
    return;
  }
  checkU64(`${field}.cap`, unit.cap ?? CAP);
  checkU64(`${field}.ecap`, unit.ecap ?? ECAP);
  inRange(`${field}.hostWidth`, unit.hostWidth ?? HOST_WIDTH, 30, 52);
}

/** The unit of a slot, counted from 0; undefined: its requests are not translated. */
export function checkUnitOf(
  field: string,
  given: number | 'none' | undefined,
  units: number,
): number | undefined {
  if (given === 'none' || (given === undefined && units === 0)) return undefined;
  if (units === 0) throw invalid(field, given, "'none': the machine has no translation units");
  return given === undefined ? 0 : inRange(field, given, 0, units - 1);
}

/**
 * Options as `units` follow them: a preset of a measured host brings some. Throws `unsupported` for one that has no meaning for
 * one of the units.
 */
export function unitOptions(units: readonly IommuConfig[], options: Options): Options {
  const { iotlbKey } = options;
  if (iotlbKey !== 'domain' && units.some(({ kind }) => kind === 'smmuv3'))
    throw new ZtlpError('unsupported', `iotlbKey: ${iotlbKey} has no meaning for units of kind smmuv3`, {
      field: 'iotlbKey',
      value: iotlbKey,
      allowed: 'domain',
    });
  if (options.hostPreset === 'none') return options;
  const { entries, walkNs, walkers } = HOSTS[options.hostPreset].iommu;
  return { ...options, iotlbEntries: entries, iotlbWalkNs: walkNs, iotlbWalkers: walkers };
}

/** Room in a core for `units` with options of `unitOptions`, before it is created. */
export function iotlbRoom(units: readonly IommuConfig[], options: Options): number {
  return Math.max(
    ...units.map(({ kind }) => (kind === 'vtd' ? iotlbEntriesOf(options) : options.iotlbEntries)),
  );
}

/** Makes the units in `core`, which has `iotlbRoom` with the same options; RAM is host memory. */
export function createUnits(
  core: Core,
  units: readonly IommuConfig[],
  hostBytes: number,
  options: Options,
): MachineUnit[] {
  core.x.unitMemory(0, 0, low32(hostBytes), high32(hostBytes), 0, 0);
  return units.map((unit, n) => {
    const at = n * I.UNIT_STRIDE;
    core.setWord(L.PLACE_UNITS, at + I.UNIT_WALKERS, options.iotlbWalkers);
    core.setLong(L.PLACE_UNITS, at + I.UNIT_WALK_TICKS, ticksOf(options.iotlbWalkNs));
    return createUnit(core, n, unit, options);
  });
}

/** Unit `n` of `core`, which has `iotlbRoom` with the same options, with its defaults. */
export function createUnit(core: Core, n: number, unit: IommuConfig, options: Options): MachineUnit {
  const { seed = n } = unit;
  if (unit.kind === 'smmuv3')
    return new SmmuUnit(core, n, { ...unit, outputWidth: unit.outputWidth ?? OUTPUT_WIDTH, seed }, options);
  if (unit.kind === 'amd') return new AmdUnit(core, n, { ...unit, seed }, options);
  const { cap = CAP, ecap = ECAP, hostWidth = HOST_WIDTH } = unit;
  return new VtdUnit(core, n, { cap, ecap, hostWidth, seed }, options);
}

/** Whether the platform honours No Snoop (iommu.md 8.1): x86 and Arm do unless told otherwise, s390 ignores it. */
export function honoursNoSnoop(
  platform: Platform,
  given: boolean | undefined,
  s390: Options['s390NoSnoop'],
): boolean {
  if (platform === 's390x' && s390 === 'ignored') return false;
  return given ?? platform !== 's390x';
}

/** Time of asking the caches. */
export function writeSnoop(core: Core, snoopNs: number): void {
  const ticks = ticksOf(snoopNs);
  core.x.snoopCosts(low32(ticks), high32(ticks));
}
