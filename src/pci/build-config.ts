/** Builds the configuration space of an endpoint from a definition, or from a dump of `lspci -xxx` or `-xxxx`. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { ROM_BAR } from './bar-tracker.js';
import { type BarSizes, checkBarSize } from './bars.js';
import { type Encoded, encodeBars, encodeCapability } from './build-capabilities.js';
import { FIRST_EXTENDED, word32 } from './capabilities.js';
import type { BarShape, CapabilityDefinition } from './capability-definitions.js';
import { ConfigModel } from './config-model.js';
import type { LspciFunction } from './lspci.js';
import { CAP, CONVENTIONAL, EXTENDED, REG } from './registers.js';

/** An endpoint function: a type 0 header and its capabilities. Identifiers are 16 bits. */
export interface FunctionDefinition {
  /** 0 to 0xfffe. */
  readonly vendorId: number;
  readonly deviceId: number;
  /** 8 bits. Default 0. */
  readonly revision?: number;
  /** Base class, subclass and programming interface, 24 bits. Default 0xff0000: no class fits. */
  readonly classCode?: number;
  /** Defaults: those of the device. */
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  readonly headerType?: 0;
  /** The device has more functions than 0. Default false. */
  readonly multifunction?: boolean;
  /** 0 (none, default), or 1 to 4 for INTA to INTD. */
  readonly interruptPin?: number;
  readonly bars?: readonly (BarShape | undefined)[];
  /** Expansion ROM: 2 KiB to 16 MiB, a power of two. */
  readonly rom?: { readonly size: number };
  /** In the order of their chains. */
  readonly capabilities?: readonly CapabilityDefinition[];
}

/** Where the first capability can stand. */
const FIRST = 0x40;
const CAPABILITY_LIST = 0x10; // of the Status register

/**
 * The space of a function that was just powered on: 4096 bytes with a PCIe capability, else 256. Capabilities are
 * placed from 0x40 and 0x100 on, in order, each at a multiple of 4, unless they have an `offset`.
 * Throws ZtlpError for a value that its field cannot hold, for capabilities that overlap, do not fit, come twice, or
 * need another one.
 */
export function buildConfig(definition: FunctionDefinition): ConfigModel {
  needObject('definition', definition);
  const { vendorId, deviceId, bars = [], rom, capabilities = [], headerType = 0, multifunction } = definition;
  if (headerType !== 0) throw invalid('headerType', headerType, '0 (endpoint)');
  if (multifunction !== undefined && typeof multifunction !== 'boolean')
    throw invalid('multifunction', multifunction, 'true, false');
  if (!Array.isArray(capabilities)) throw invalid('capabilities', capabilities, 'a list of capabilities');
  const barRegisters = encodeBars('bars', bars, REG.BAR0);
  if (rom !== undefined) needObject('rom', rom);
  const romSize = rom === undefined ? undefined : { size: checkBarSize('rom.size', 'rom', rom.size) };
  const encoded = capabilities.map((each, n) => encodeCapability(`capabilities[${n}]`, each, bars));
  checkTogether(capabilities, encoded);
  const express = encoded.some(({ id, extended }) => id === CAP.PCIE && !extended);
  const bytes = new Uint8Array(express ? EXTENDED : CONVENTIONAL);
  const view = new DataView(bytes.buffer);
  const word = (field: keyof FunctionDefinition, value: number): number => inRange(field, value, 0, 0xffff);
  view.setUint16(REG.VENDOR_ID, inRange('vendorId', vendorId, 0, 0xfffe), true);
  view.setUint16(REG.DEVICE_ID, word('deviceId', deviceId), true);
  const classCode = inRange('classCode', definition.classCode ?? 0xff0000, 0, 0xff_ffff);
  const revision = inRange('revision', definition.revision ?? 0, 0, 0xff);
  view.setUint32(REG.REVISION, classCode * 256 + revision, true);
  view.setUint8(REG.HEADER_TYPE, multifunction === true ? 0x80 : 0);
  for (const [offset, , value] of barRegisters) view.setUint32(offset, value, true);
  const subsystem = word('subsystemVendorId', definition.subsystemVendorId ?? vendorId);
  view.setUint16(REG.SUBSYSTEM_VENDOR_ID, subsystem, true);
  view.setUint16(REG.SUBSYSTEM_ID, word('subsystemId', definition.subsystemId ?? deviceId), true);
  view.setUint8(REG.INTERRUPT_PIN, inRange('interruptPin', definition.interruptPin ?? 0, 0, 4));
  const offsets = place(capabilities, encoded, bytes);
  const sriov = capabilities.find((each) => each.kind === 'sriov');
  const model = new ConfigModel(bytes, {
    bars,
    rom: romSize,
    ...(sriov?.bars === undefined ? {} : { vfBars: sriov.bars }),
    writable: encoded.flatMap(({ writable }, n) =>
      writable === undefined
        ? []
        : [{ offset: (offsets[n] as number) + writable.offset, mask: writable.mask }],
    ),
  });
  model.reset('power-on');
  return model;
}

/** Kinds that may come more than once. */
const REPEATED: ReadonlySet<string> = new Set(['vendor', 'vsec']);

function checkTogether(capabilities: readonly CapabilityDefinition[], encoded: readonly Encoded[]): void {
  const kinds = new Set<string>();
  capabilities.forEach(({ kind }, n) => {
    if (kinds.has(kind) && !REPEATED.has(kind))
      throw invalid(`capabilities[${n}].kind`, kind, 'each kind once; vendor and vsec more often');
    kinds.add(kind);
  });
  const first = encoded.findIndex(({ extended }) => extended);
  if (first >= 0 && !kinds.has('pcie'))
    throw invalid(`capabilities[${first}].kind`, capabilities[first]?.kind, 'together with pcie only');
  const pri = capabilities.findIndex(({ kind }) => kind === 'pri');
  if (pri >= 0 && !kinds.has('ats'))
    throw invalid(`capabilities[${pri}].kind`, 'pri', 'together with ats only');
}

/** Writes the capabilities and their two chains into `bytes`. Returns their offsets. */
function place(
  definitions: readonly CapabilityDefinition[],
  encoded: readonly Encoded[],
  bytes: Uint8Array,
): number[] {
  const taken: { readonly from: number; readonly to: number; readonly field: string }[] = [];
  const free = { standard: FIRST, extended: FIRST_EXTENDED };
  const last = { standard: -1, extended: -1 };
  return encoded.map((capability, n) => {
    const area = capability.extended ? 'extended' : 'standard';
    const field = `capabilities[${n}].offset`;
    const from = definitions[n]?.offset ?? free[area];
    const to = from + capability.bytes.length;
    const [low, high] = capability.extended ? [FIRST_EXTENDED, EXTENDED] : [FIRST, CONVENTIONAL];
    if (!Number.isInteger(from) || from % 4 !== 0 || from < low || to > high)
      throw invalid(
        field,
        from,
        `a multiple of 4 from ${low} on with ${capability.bytes.length} bytes left below ${high}`,
        'out-of-range',
      );
    const other = taken.find((each) => from < each.to && each.from < to);
    if (other !== undefined)
      throw invalid(field, from, `outside ${other.field}, bytes ${other.from} to ${other.to - 1}`);
    if (capability.extended && last.extended < 0 && from !== FIRST_EXTENDED)
      throw invalid(field, from, `${FIRST_EXTENDED}: there the chain begins`);
    taken.push({ from, to, field: `capabilities[${n}]` });
    free[area] = (to + 3) & ~3;
    bytes.set(capability.bytes, from);
    link(bytes, area, last[area], from);
    last[area] = from;
    return from;
  });
}

/** Lets the pointer of the capability at `last` (none yet: -1) point to `offset`. */
function link(bytes: Uint8Array, area: 'standard' | 'extended', last: number, offset: number): void {
  if (area === 'extended') {
    if (last >= 0)
      new DataView(bytes.buffer).setUint16(last + 2, (offset << 4) | (bytes[last + 2] as number), true);
    return;
  }
  bytes[last < 0 ? REG.CAPABILITIES : last + 1] = offset;
  bytes[REG.STATUS] = (bytes[REG.STATUS] as number) | CAPABILITY_LIST;
}

/** A function as a dump has it: its registers hold what the dump shows, until the first reset. */
export function configFromLspci(fn: LspciFunction, sizes: BarSizes = {}): ConfigModel {
  needObject('sizes', sizes);
  const { bytes, known, regions } = fn;
  if (known < bytes.length || bytes.length < CONVENTIONAL) {
    throw new ZtlpError('malformed', `${fn.address}: only ${known} bytes from 0 on are in the dump`, {
      field: 'bytes',
      value: known,
      allowed: `${CONVENTIONAL} or ${EXTENDED} bytes without a gap, as lspci -xxx or -xxxx prints them for root`,
    });
  }
  const isBridge = ((bytes[REG.HEADER_TYPE] as number) & 0x7f) === 1;
  const bars: ({ readonly size: number } | undefined)[] = [...(sizes.bars ?? [])];
  let rom = sizes.rom;
  for (const { index, size } of regions) {
    if (size === undefined) continue;
    if (index === ROM_BAR) rom ??= romRegister(bytes, isBridge) === 0 ? undefined : { size };
    // A line may tell of a BAR that the registers do not have, as lspci takes it from the system ([virtual]).
    else if (index < (isBridge ? 2 : 6) && word32(bytes, REG.BAR0 + 4 * index) !== 0)
      bars[index] ??= { size };
  }
  return new ConfigModel(bytes, { bars, rom });
}

function romRegister(bytes: Uint8Array, isBridge: boolean): number {
  return word32(bytes, isBridge ? REG.ROM_BRIDGE : REG.ROM);
}
