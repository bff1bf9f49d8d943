/** Checks a machine configuration once, at the edge, and fills in what is left out. */
import * as L from '../../assembly/layout.js';
import {
  type AccessSizes,
  BAR_KEYS,
  type BarDefinition,
  type DeviceModel,
  SIZE_KEYS,
} from '../base/device.js';
import { invalid, ZtlpError } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import {
  type OptionInput,
  type Options,
  refuseTimed,
  refuseUnbuilt,
  resolveOptions,
} from '../base/options.js';
import type { CoreSource } from '../core/core.js';
import { add64, checkU64, type U64 } from '../core/u64.js';
import type { ResolvedBar } from '../device/bars.js';
import { configOf } from '../device/config.js';
import type { Device } from '../device/define.js';
import type { Platform } from '../path/table.js';
import { buildConfig } from '../pci/build-config.js';
import type { ConfigModel } from '../pci/config-model.js';
import {
  type CheckedIdentity,
  checkIdentity,
  checkTraits,
  type ZpciIdentity,
  type ZpciTraits,
} from '../zpci/identity.js';
import { groupKey, resolveZpciOptions } from '../zpci/mode.js';
import type { FunctionState } from '../zpci/states.js';
import { checkIommus, checkUnitOf, honoursNoSnoop, type IommuConfig, unitOptions } from './iommus.js';
import { type CheckedLink, checkLink, type LinkConfig } from './link-config.js';

/** One function and the options of its port, group and mode. */
export interface SlotConfig {
  /** From `defineDevice`, or a plain description of memory BARs. */
  readonly device: DeviceModel | Device;
  /** Options of this function (scopes F, G, P, L of the option table); they go over the machine's. */
  readonly options?: OptionInput;
  /**
   * Bus address of each BAR. Default: 64-bit ones from 2^40 up, so that TLPs have 4 DW headers, 32-bit ones from
   * 0xc0000000 up.
   */
  readonly addresses?: readonly (U64 | undefined)[];
  /**
   * s390x: the low 16 bits of the function handle, 0 to 0xffff; the mode's marker and the enable bit stand above them
   * (zpci.md 1.1). No two slots have the same one. Linux takes handle 0 for none. Default: slot number + 1. Other
   * platforms do not look at it. Read the whole handle from `PciFunction.handle`.
   */
  readonly handleIndex?: number;
  /** s390x: what firmware says of the function in CLP query function. */
  readonly zpci?: ZpciIdentity;
  /**
   * s390x: zPCI state after create and after `machine.reset`. Default `enabled`, as a driver's probe leaves it; `reserved`
   * is a function that `machine.plug` brings, `standby` one that SCLP configures.
   */
  readonly state?: InitialState;
  /** Timed fidelity: the link of this function, `gen3x8` for short. */
  readonly link?: string | LinkConfig;
  /** The translation unit of this function by its place in `iommus`, or none. Default: the first one, if there is one. */
  readonly iommu?: number | 'none';
}

export type InitialState = Extract<FunctionState, 'reserved' | 'standby' | 'disabled' | 'enabled'>;

export interface MachineConfig {
  /** Default `x86-64`. */
  readonly platform?: Platform;
  /**
   * `timed`: TLPs travel over simulated links, one per function, and take time; TLPs, data and faults stay the same. Default
   * `functional`: they arrive at once. The same as option `fidelity`.
   */
  readonly fidelity?: 'functional' | 'timed';
  /** Timed fidelity: `gen1x1` to `gen5x16`, for slots that name none. Default: what each function's capability says. */
  readonly link?: string;
  /** Machine-wide options; see docs/options.md. */
  readonly options?: OptionInput;
  /** Default: one memory device with a BAR of 64 KiB. */
  readonly slots?: readonly SlotConfig[];
  /** Size of emulated host memory in bytes, from guest address 0. Default 16 MiB. */
  readonly hostMemoryBytes?: number;
  /** Translation units (IOMMUs) between functions and host memory, at most 4. Default none. s390x has its own translation. */
  readonly iommus?: readonly IommuConfig[];
  /** False: what the processor writes is in memory at once, as if its memory were not cacheable. Default true. */
  readonly hostCache?: boolean;
  /** Where the WebAssembly core comes from. Default: the release build of this package. */
  readonly core?: CoreSource | Promise<CoreSource>;
}

export interface CheckedBar {
  readonly size: number;
  readonly space: 'memory' | 'io';
  readonly bits: 32 | 64;
  /** Where firmware puts it. */
  readonly address: U64;
  readonly valid: AccessSizes;
  readonly impl: AccessSizes;
  /** Offset in the BAR memory of the core; undefined: the BAR has none. */
  readonly memoryOffset: number | undefined;
  /** The core serves it; else the model does. */
  readonly isMemory: boolean;
}

export interface CheckedSlot {
  readonly name: string;
  /** The device, when it is a model of `defineDevice`. */
  readonly model: Device | undefined;
  readonly options: Options;
  readonly bars: readonly (CheckedBar | undefined)[];
  /** As at power-on: nothing enabled, no addresses. */
  readonly config: ConfigModel;
  readonly handleIndex: number;
  readonly zpci: CheckedIdentity;
  readonly traits: Required<ZpciTraits>;
  readonly state: InitialState;
  /** Timed fidelity only. */
  readonly link: CheckedLink | undefined;
  /** Its translation unit, counted from 0. */
  readonly iommu: number | undefined;
}

export interface CheckedConfig {
  readonly isTimed: boolean;
  readonly platform: Platform;
  readonly options: Options;
  readonly slots: readonly CheckedSlot[];
  readonly hostMemoryBytes: number;
  readonly iommus: readonly IommuConfig[];
  /** Options as the units follow them. */
  readonly unitOptions: Options;
  readonly hostCache: boolean;
  readonly honoursNoSnoop: boolean;
  readonly barBytes: number;
  readonly core: CoreSource | Promise<CoreSource> | undefined;
}

const PLATFORMS: readonly Platform[] = ['x86-64', 'arm64', 's390x'];
const DEFAULT_HOST_BYTES = 16 << 20;
const FIRST_BAR_ADDRESS = 2 ** 40;
/** Where 32-bit BARs go: below the addresses that platforms keep for interrupts and firmware. */
export const LOW_WINDOW = { first: 0xc000_0000, end: 0xfe00_0000 };
export const IO_WINDOW = { first: 0x1000, end: 0x1_0000 };
/** Numbers of function groups that are left beside the default one (zpci.md 4.5). */
const MOST_GROUPS = 15;
const PAGE = 4096;
/** The regions of a model have rules of their own, which the model's instance applies. */
const ANY_SIZES: AccessSizes = { min: 1, max: 8, unaligned: true };
const BAR_SIZES: AccessSizes = { min: 1, max: 8, unaligned: false };
const KEYS = keysOf<MachineConfig>({
  platform: true,
  fidelity: true,
  link: true,
  options: true,
  slots: true,
  hostMemoryBytes: true,
  iommus: true,
  hostCache: true,
  core: true,
});
const SLOT_KEYS = keysOf<SlotConfig>({
  device: true,
  options: true,
  addresses: true,
  handleIndex: true,
  zpci: true,
  state: true,
  link: true,
  iommu: true,
});
const INITIAL_STATES: readonly InitialState[] = ['reserved', 'standby', 'disabled', 'enabled'];

/** No type guard on purpose: the declared types stay, whatever a caller without TypeScript passes. */
function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkInteger(field: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  throw invalid(field, value, `an integer from ${min} to ${max}`, 'out-of-range');
}

function checkSizes(field: string, sizes: AccessSizes | undefined): AccessSizes {
  if (sizes === undefined) return BAR_SIZES;
  if (!isObject(sizes)) throw invalid(field, sizes, '{ min, max, unaligned }');
  checkKeys(field, sizes, SIZE_KEYS);
  for (const key of ['min', 'max'] as const) {
    if (![0, 1, 2, 4, 8].includes(sizes[key])) throw invalid(`${field}.${key}`, sizes[key], '0, 1, 2, 4, 8');
  }
  const { unaligned } = sizes;
  if (unaligned !== undefined && typeof unaligned !== 'boolean')
    throw invalid(`${field}.unaligned`, unaligned, 'true, false');
  if (sizes.max !== 0 && sizes.min > sizes.max)
    throw invalid(`${field}.min`, sizes.min, `at most max (${sizes.max})`);
  return sizes;
}

function alignUp(value: U64, size: number): U64 {
  const rest = Number(BigInt(value) % BigInt(size));
  return rest === 0 ? value : add64(value, size - rest);
}

type Shape = Pick<CheckedBar, 'size' | 'space' | 'bits'>;

/** Gives addresses and core memory to BARs. */
class Layout {
  barBytes = 0;
  private nextAddress: U64 = FIRST_BAR_ADDRESS;
  private nextLow = LOW_WINDOW.first;
  private nextIo = IO_WINDOW.first;
  private readonly taken: { field: string; first: bigint; end: bigint }[] = [];

  /** A BAR that is memory and nothing else. */
  placeMemory(field: string, bar: BarDefinition, bits: 32 | 64, given: U64 | undefined): CheckedBar {
    if (!isObject(bar)) throw invalid(field, bar, 'a BAR definition { size, memory: true }');
    checkKeys(field, bar, BAR_KEYS);
    if (bar.memory !== true)
      throw invalid(`${field}.memory`, bar.memory, 'true: the core serves BARs as memory');
    const size = checkInteger(`${field}.size`, bar.size, 16, 2 ** 31);
    if ((size & (size - 1)) !== 0 && size !== 2 ** 31) throw invalid(`${field}.size`, size, 'a power of two');
    const valid = checkSizes(`${field}.valid`, bar.valid);
    const impl = checkSizes(`${field}.impl`, bar.impl);
    return { ...this.place(field, { size, space: 'memory', bits }, given), valid, impl, isMemory: true };
  }

  /** A BAR of a device model: checked already. */
  placeModel(field: string, bar: ResolvedBar, given: U64 | undefined): CheckedBar {
    const [region] = bar.regions;
    const isMemory = bar.regions.length === 1 && region?.kind === 'memory' && region.size === bar.size;
    const { valid, impl } = isMemory ? region : { valid: ANY_SIZES, impl: ANY_SIZES };
    const hasMemory = bar.regions.some(({ kind }) => kind === 'memory');
    // What a model serves takes no memory of the core.
    checkInteger(`${field}.size`, bar.size, 4, hasMemory ? 2 ** 31 : 2 ** 52);
    return { ...this.place(field, bar, given, hasMemory), valid, impl, isMemory };
  }

  private place(
    field: string,
    { size, space, bits }: Shape,
    given: U64 | undefined,
    hasMemory = true,
  ): Shape & Pick<CheckedBar, 'address' | 'memoryOffset'> {
    const address = given === undefined ? this.next(field, { size, space, bits }) : given;
    checkU64(`${field}.address`, address);
    if (alignUp(address, size) !== address)
      throw invalid(`${field}.address`, address, `a multiple of its size ${size}`);
    const [limit, name] =
      space === 'io' ? [IO_WINDOW.end, '64 KiB'] : bits === 32 ? [2 ** 32, '4 GiB'] : [1n << 64n, '2^64'];
    if (BigInt(address) + BigInt(size) > BigInt(limit))
      throw invalid(`${field}.address`, address, `an end below ${name}`);
    if (space === 'memory') this.claim(field, BigInt(address), BigInt(size));
    if (!hasMemory || space === 'io') return { size, space, bits, address, memoryOffset: undefined };
    const memoryOffset = this.barBytes;
    this.barBytes += Math.max(size, 64);
    return { size, space, bits, address, memoryOffset };
  }

  /** The next free address for a BAR. */
  private next(field: string, { size, space, bits }: Shape): U64 {
    // A page at least, so that a 4 KiB frame never belongs to two functions.
    const room = space === 'io' ? size : Math.max(size, PAGE);
    if (space === 'memory' && bits === 64) {
      const address = alignUp(this.nextAddress, room);
      this.nextAddress = add64(address, room);
      return address;
    }
    const { end } = space === 'io' ? IO_WINDOW : LOW_WINDOW;
    const address = Number(alignUp(space === 'io' ? this.nextIo : this.nextLow, room));
    if (address + room > end)
      throw invalid(`${field}.size`, size, `what is left of the window up to ${end}`, 'resource');
    if (space === 'io') this.nextIo = address + room;
    else this.nextLow = address + room;
    return address;
  }

  private claim(field: string, first: bigint, size: bigint): void {
    const end = first + size;
    const other = this.taken.find((range) => first < range.end && range.first < end);
    if (other !== undefined)
      throw invalid(`${field}.address`, first, `a range that does not overlap ${other.field}`);
    this.taken.push({ field, first, end });
  }
}

/** A definition that nobody gave to `defineDevice`: it has more than memory. */
function refuseDefinition(field: string, device: DeviceModel): void {
  const isModel = (bar: unknown): boolean =>
    isObject(bar) && ['registers', 'callback', 'regions'].some((key) => key in (bar as object));
  if (!device.bars.some(isModel) && !('capabilities' in device)) return;
  throw invalid(field, device, 'what defineDevice gives: wrap it in defineDevice({ ... })');
}

/** Addresses are a list, and each belongs to a BAR. */
function checkAddresses(
  field: string,
  { addresses }: SlotConfig,
  device: Pick<DeviceModel | Device, 'bars'>,
): void {
  if (addresses === undefined) return;
  if (!Array.isArray(addresses))
    throw invalid(`${field}.addresses`, addresses, 'a list with one address per BAR');
  addresses.forEach((address, n) => {
    if (address !== undefined && device.bars[n] === undefined) {
      throw invalid(`${field}.addresses[${n}]`, address, 'nothing: the device has no such BAR');
    }
  });
}

/** Options of a slot over the machine's. `dwordRule` follows the slot's own mode unless slot or machine gave it. */
function slotOptions(field: string, slot: SlotConfig, machine: OptionInput, base: Options): Options {
  const own = slot.options ?? {};
  if (!isObject(own)) throw invalid(`${field}.options`, own, 'an object of named options');
  refuseUnbuilt(own);
  if (own.fidelity === undefined || own.fidelity === 'functional') refuseUntimed(own, base);
  if (own.fidelity !== undefined && own.fidelity !== base.fidelity)
    throw invalid(`${field}.options.fidelity`, own.fidelity, `${base.fidelity}, as the machine's`);
  return resolveZpciOptions({ ...own, dwordRule: own.dwordRule ?? machine.dwordRule }, base);
}

/** In a functional machine nothing takes time: an option that only links act on is refused. */
function refuseUntimed(input: OptionInput, { fidelity }: Pick<Options, 'fidelity'>): void {
  if (fidelity !== 'timed') refuseTimed(input);
}

/**
 * Requests that wait for their translation keep their credits: without a limit there would be none to how many wait. The
 * buffers of a real root complex have an end, too.
 */
function checkWaiting(field: string, link: CheckedLink, waits: boolean): void {
  if (!waits) return;
  for (const pool of ['ph', 'pd'] as const)
    if (link.rootCredits[pool] === 0)
      throw new ZtlpError(
        'unsupported',
        `${field}.rootCredits.${pool}: endless, but requests wait for translation`,
        {
          field: `${field}.rootCredits.${pool}`,
          value: 0,
          allowed: 'a number of credits, where there are iommus or snoopNs',
        },
      );
}

/** The link of a slot, once its options and its configuration space are known. */
function slotLink(
  index: number,
  slot: SlotConfig,
  options: Options,
  config: ConfigModel | undefined,
  usual: string | undefined,
  waits: boolean,
): CheckedLink | undefined {
  const field = `slots[${index}].link`;
  if (options.fidelity === 'timed') {
    const link = checkLink(field, slot.link, usual, index, config, options);
    checkWaiting(field, link, waits);
    return link;
  }
  if (slot.link === undefined) return undefined;
  throw new ZtlpError('unsupported', `${field}: links take no time in a functional machine`, {
    field,
    value: slot.link,
    allowed: "nothing, or fidelity: 'timed'",
  });
}

function checkSlot(
  index: number,
  slot: SlotConfig,
  machine: OptionInput,
  base: Options,
  layout: Layout,
  usualLink: string | undefined,
  units: number,
): CheckedSlot {
  const field = `slots[${index}]`;
  if (!isObject(slot)) throw invalid(field, slot, 'an object with a device');
  checkKeys(field, slot, SLOT_KEYS);
  const { device } = slot as SlotConfig;
  const handleIndex = checkInteger(
    `${field}.handleIndex`,
    slot.handleIndex ?? index + 1,
    0,
    L.HANDLE_INDEX_MASK,
  );
  const zpci = checkIdentity(`${field}.zpci`, slot.zpci, index);
  const { state = 'enabled' } = slot;
  if (!INITIAL_STATES.includes(state)) throw invalid(`${field}.state`, state, INITIAL_STATES.join(', '));
  const iommu = checkUnitOf(`${field}.iommu`, slot.iommu, units);
  const waits = iommu !== undefined || base.snoopNs > 0;
  const common = { handleIndex, zpci, state, iommu };
  if (!isObject(device) || !Array.isArray(device.bars))
    throw invalid(`${field}.device`, device, 'a device model');
  if ('definition' in device) {
    checkAddresses(field, slot, device);
    const bars = device.bars.map((bar, n) =>
      bar === undefined ? undefined : layout.placeModel(`${field}.bars[${n}]`, bar, slot.addresses?.[n]),
    );
    const options = slotOptions(field, slot, machine, base);
    const config = configOf(device);
    return {
      ...common,
      name: device.name,
      model: device,
      options,
      bars,
      config,
      traits: device.zpci,
      link: slotLink(index, slot, options, config, usualLink, waits),
    };
  }
  refuseDefinition(`${field}.device`, device);
  if (device.bars.length > L.BAR_COUNT) {
    throw invalid(`${field}.device.bars`, device.bars.length, `at most ${L.BAR_COUNT} BARs`);
  }
  if (typeof device.name !== 'string') throw invalid(`${field}.device.name`, device.name, 'a text');
  checkInteger(`${field}.device.vendorId`, device.vendorId, 0, 0xfffe);
  checkInteger(`${field}.device.deviceId`, device.deviceId, 0, 0xffff);
  checkAddresses(field, slot, device);
  // A BAR has 64 bits where the next register is free for its upper half.
  const bars = device.bars.map((bar: BarDefinition | undefined, n: number) => {
    const bits = n < L.BAR_COUNT - 1 && device.bars[n + 1] === undefined ? 64 : 32;
    return bar === undefined
      ? undefined
      : layout.placeMemory(`${field}.bars[${n}]`, bar, bits, slot.addresses?.[n]);
  });
  const options = slotOptions(field, slot, machine, base);
  return {
    ...common,
    name: device.name,
    model: undefined,
    options,
    // A plain description says nothing of a link.
    link: slotLink(index, slot, options, undefined, usualLink, waits),
    bars,
    config: memoryConfig(device, bars),
    traits: checkTraits(`${field}.device.zpci`, undefined),
  };
}

/** Configuration space of a plain description: a PCI Express endpoint with its BARs. */
function memoryConfig(
  { vendorId, deviceId }: DeviceModel,
  bars: readonly (CheckedBar | undefined)[],
): ConfigModel {
  const shapes = bars.map((bar) => bar && { size: bar.size, bits: bar.bits, prefetchable: bar.bits === 64 });
  const capabilities = [{ kind: 'pcie', maxPayload: 512, flr: true }] as const;
  return buildConfig({ vendorId, deviceId, classCode: 0x05_8000, bars: shapes, capabilities });
}

/** Functions with the same group options share a group; the numbers from 0xf0 to 0xfe are for those unlike the machine's. */
function checkGroups(slots: readonly CheckedSlot[], machine: Options): void {
  const others = new Set<string>();
  for (const [index, { options }] of slots.entries()) {
    if (groupKey(options) !== groupKey(machine)) others.add(groupKey(options));
    if (others.size > MOST_GROUPS)
      throw invalid(
        `slots[${index}].options`,
        options.maxstbl,
        `at most ${MOST_GROUPS} sets of relaxed, maxstbl, dtsm and rtr beside the machine's own`,
        'resource',
      );
  }
}

/** Validates `config`; throws ZtlpError with the field, the value and what is allowed. */
export function checkConfig(config: MachineConfig, defaultDevice: DeviceModel): CheckedConfig {
  if (!isObject(config)) throw invalid('config', config, 'an object');
  checkKeys('', config, KEYS);
  const platform = config.platform ?? 'x86-64';
  if (!PLATFORMS.includes(platform)) throw invalid('platform', platform, PLATFORMS.join(', '));
  const given = withFidelity(config);
  const options = resolveZpciOptions(refuseUnbuilt(given), resolveOptions({}));
  refuseUntimed(given, options);
  const isTimed = options.fidelity === 'timed';
  if (config.link !== undefined && !isTimed)
    throw new ZtlpError('unsupported', 'link: links take no time in a functional machine', {
      field: 'link',
      value: config.link,
      allowed: "nothing, or fidelity: 'timed'",
    });
  const slots = config.slots ?? [{ device: defaultDevice }];
  if (!Array.isArray(slots) || slots.length > L.FUNCTION_SLOTS) {
    throw invalid('slots', slots, `a list of at most ${L.FUNCTION_SLOTS} slots`);
  }
  const layout = new Layout();
  const base = resolveOptions(given);
  const iommus = checkIommus(config.iommus, platform);
  const { hostCache = true } = config;
  if (typeof hostCache !== 'boolean') throw invalid('hostCache', hostCache, 'true, false');
  const checked = slots.map((slot, index) =>
    checkSlot(index, slot, given, base, layout, config.link, iommus.length),
  );
  const indexes = new Set<number>();
  for (const [index, { handleIndex }] of checked.entries()) {
    if (indexes.has(handleIndex))
      throw invalid(`slots[${index}].handleIndex`, handleIndex, 'an index no other slot has');
    indexes.add(handleIndex);
  }
  const fids = new Set<number>();
  for (const [index, { zpci }] of checked.entries()) {
    if (fids.has(zpci.fid)) throw invalid(`slots[${index}].zpci.fid`, zpci.fid, 'an ID no other slot has');
    fids.add(zpci.fid);
  }
  const hostMemoryBytes = checkInteger(
    'hostMemoryBytes',
    config.hostMemoryBytes ?? DEFAULT_HOST_BYTES,
    0,
    2 ** 32 - 1,
  );
  checkGroups(checked, resolveZpciOptions(given, base));
  const { barBytes } = layout;
  if (barBytes + hostMemoryBytes > 2 ** 32 - 1) {
    throw invalid('slots', barBytes, 'BARs and host memory of less than about 4 GiB together', 'resource');
  }
  return {
    isTimed,
    platform,
    options,
    slots: checked,
    hostMemoryBytes,
    iommus,
    unitOptions: unitOptions(iommus, options),
    hostCache,
    honoursNoSnoop: honoursNoSnoop(platform, given.honourNoSnoop, options.s390NoSnoop),
    barBytes,
    core: config.core,
  };
}

/** Options of the machine, with `fidelity` among them. */
function withFidelity({ fidelity, options = {} }: MachineConfig): OptionInput {
  if (!isObject(options) || fidelity === undefined) return options;
  if (fidelity !== 'functional' && fidelity !== 'timed')
    throw invalid('fidelity', fidelity, 'functional, timed');
  if (options.fidelity !== undefined && options.fidelity !== fidelity)
    throw invalid('fidelity', fidelity, `${options.fidelity}, as in the options`);
  return { ...options, fidelity };
}
