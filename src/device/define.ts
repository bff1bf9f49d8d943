/** `defineDevice`: checks a device model once, with errors that name the field, and fills in what it leaves out. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { checkBarSize } from '../pci/bars.js';
import { word32 } from '../pci/capabilities.js';
import { ConfigSpace } from '../pci/config-space.js';
import { REG } from '../pci/registers.js';
import { checkTraits, type ZpciTraits } from '../zpci/identity.js';
import { type ResolvedBar, resolveBars } from './bars.js';
import { type ResolvedCapabilities, resolveCapabilities } from './capabilities.js';
import { booleanOr, checkFields, checkFunction, type Fields, integerOr, needed } from './check.js';
import { configOf } from './config.js';
import type { DeviceDefinition } from './types.js';

/** What a function says about itself in the header of its configuration space. */
export interface Identity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  readonly classCode: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  readonly interruptPin: number;
}

/** A checked device model. Frozen; any number of instances can be made of it. */
export interface Device<S = unknown> extends Identity {
  readonly name: string;
  /** Six entries, by BAR number. */
  readonly bars: readonly (ResolvedBar | undefined)[];
  /** Bytes of the expansion ROM; undefined: there is none. */
  readonly romSize: number | undefined;
  /** With `config`: only `msi` and `msix`, read from its bytes. */
  readonly capabilities: ResolvedCapabilities;
  /** The whole configuration space, when a dump gives it. Its address fields are the dump's. */
  readonly config: Uint8Array | undefined;
  readonly zpci: Required<ZpciTraits>;
  readonly stateVersion: number;
  readonly blockWrites: boolean;
  /** The callbacks. */
  readonly definition: DeviceDefinition<S>;
}

const IDENTITY = [
  'vendorId',
  'deviceId',
  'revision',
  'classCode',
  'subsystemVendorId',
  'subsystemId',
  'interruptPin',
] as const;
const CALLBACKS = [
  'state',
  'connect',
  'read',
  'write',
  'reset',
  'save',
  'load',
  'quiesce',
  'acceptInstruction',
] as const;
const KEYS = [
  'name',
  ...IDENTITY,
  'bars',
  'rom',
  'capabilities',
  'config',
  'zpci',
  'stateVersion',
  'blockWrites',
  ...CALLBACKS,
] as const;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NO_CLASS = 0xff_0000;
const CONFIG_SIZES: readonly number[] = [256, 4096];

/** Checks `definition` and returns the device. Throws ZtlpError with the field, the value and what is allowed. */
export function defineDevice<S = undefined>(definition: DeviceDefinition<S>): Device<S> {
  const fields = checkFields('device', definition, KEYS);
  const { name, config: dump } = fields;
  needed('name', name);
  if (typeof name !== 'string' || !NAME.test(name))
    throw invalid('name', name, 'up to 64 letters, digits, -, _ and .');
  for (const key of CALLBACKS) checkFunction(key, fields[key]);
  const config = dump === undefined ? undefined : readConfig(dump, fields);
  const identity = config === undefined ? resolveIdentity(fields) : identityOf(config.bytes);
  const capabilities =
    config === undefined
      ? resolveCapabilities('capabilities', fields.capabilities)
      : resolveCapabilities('config', capabilitiesOf(config));
  const bars = resolveBars(fields.bars, capabilities.msix, config?.bars);
  checkCallbacks(fields, bars);
  const device = {
    name,
    ...identity,
    bars,
    romSize: resolveRom(fields.rom, config),
    capabilities,
    config: config?.bytes,
    zpci: checkTraits('zpci', definition.zpci),
    stateVersion: integerOr('stateVersion', fields.stateVersion, 0, 0xffff_ffff, 1),
    blockWrites: booleanOr('blockWrites', fields.blockWrites, false),
    definition,
  };
  configOf(device); // what configuration space cannot hold is refused here
  return Object.freeze(device);
}

function resolveIdentity(fields: Fields): Identity {
  const vendorId = inRange('vendorId', needed('vendorId', fields.vendorId) as number, 0, 0xfffe);
  const deviceId = inRange('deviceId', needed('deviceId', fields.deviceId) as number, 0, 0xffff);
  return {
    vendorId,
    deviceId,
    revision: integerOr('revision', fields.revision, 0, 0xff, 0),
    classCode: integerOr('classCode', fields.classCode, 0, 0xff_ffff, NO_CLASS),
    subsystemVendorId: integerOr('subsystemVendorId', fields.subsystemVendorId, 0, 0xffff, vendorId),
    subsystemId: integerOr('subsystemId', fields.subsystemId, 0, 0xffff, deviceId),
    interruptPin: integerOr('interruptPin', fields.interruptPin, 0, 4, 0),
  };
}

/** The dump as configuration space. What it says cannot be said a second time. */
function readConfig(dump: unknown, fields: Fields): ConfigSpace {
  for (const key of [...IDENTITY, 'capabilities'] as const) {
    if (fields[key] === undefined) continue;
    const detail = { field: key, value: fields[key], allowed: 'left out' };
    throw new ZtlpError('invalid-value', `${key}: stands in config already`, detail);
  }
  if (!(dump instanceof Uint8Array) || !CONFIG_SIZES.includes(dump.length))
    throw invalid('config', dump, `${CONFIG_SIZES.join(', ')} bytes`);
  const config = new ConfigSpace(dump.slice());
  const [problem] = config.problems;
  if (problem !== undefined) throw new ZtlpError('malformed', `config: ${problem}`, { field: 'config' });
  if (config.headerType !== 0)
    throw new ZtlpError('unsupported', `config: header type ${config.headerType} is no device`, {
      field: 'config',
      allowed: 'header type 0',
    });
  return config;
}

/** The size of the expansion ROM: a dump has a register for it, but not its size. */
function resolveRom(given: unknown, config: ConfigSpace | undefined): number | undefined {
  if (given !== undefined) {
    const { size } = checkFields('rom', given, ['size']);
    return checkBarSize('rom.size', 'rom', size);
  }
  if (config === undefined || word32(config.bytes, REG.ROM) === 0) return undefined;
  throw new ZtlpError('invalid-value', 'rom: its size is not in the dump', {
    field: 'rom',
    allowed: '{ size }, 2 KiB to 16 MiB',
  });
}

function identityOf(bytes: Uint8Array): Identity {
  const word16 = (offset: number): number => word32(bytes, offset) & 0xffff;
  return {
    vendorId: word16(0x00),
    deviceId: word16(0x02),
    revision: word16(0x08) & 0xff,
    classCode: word32(bytes, 0x08) >>> 8,
    subsystemVendorId: word16(0x2c),
    subsystemId: word16(0x2e),
    interruptPin: word16(0x3c) >>> 8,
  };
}

/** The interrupt capabilities of a dump; the others matter to configuration space alone. */
function capabilitiesOf(config: ConfigSpace): Fields {
  const { bytes } = config;
  const offsetOf = (name: string, length: number): number | undefined =>
    config.capabilities.find((one) => one.name === name && one.offset + length <= bytes.length)?.offset;
  const found: Record<string, unknown> = {};
  const msi = offsetOf('MSI', 4);
  if (msi !== undefined) {
    const control = word32(bytes, msi) >>> 16;
    found.msi = {
      vectors: 1 << ((control >>> 1) & 7),
      address64: (control & 0x80) !== 0,
      maskable: (control & 0x100) !== 0,
    };
  }
  const msix = offsetOf('MSIX', 12);
  if (msix !== undefined) {
    const table = word32(bytes, msix + 4);
    const pba = word32(bytes, msix + 8);
    found.msix = {
      vectors: ((word32(bytes, msix) >>> 16) & 0x7ff) + 1,
      bar: table & 7,
      tableOffset: (table & ~7) >>> 0,
      pbaOffset: (pba & ~7) >>> 0,
      pbaBar: pba & 7,
    };
  }
  return found;
}

/** A callback that nothing calls, or the lack of one that something needs, is a mistake. */
function checkCallbacks(fields: Fields, bars: readonly (ResolvedBar | undefined)[]): void {
  const regions = bars.flatMap((bar) => bar?.regions ?? []);
  const hasCallback = regions.some(({ kind }) => kind === 'callback');
  for (const key of ['read', 'write'] as const) {
    if (fields[key] === undefined || hasCallback) continue;
    throw misuse(key, 'is never called: no BAR has a callback region', 'with a callback region');
  }
  if (hasCallback && fields.read === undefined && fields.write === undefined)
    throw misuse('read', 'nothing serves the callback regions of bars', 'read or write');
  for (const [key, other] of [
    ['save', 'load'],
    ['load', 'save'],
  ] as const) {
    if (fields[key] !== undefined && fields[other] === undefined)
      throw misuse(key, `needs ${other}`, `together with ${other}`);
  }
}

function misuse(field: string, what: string, allowed: string): ZtlpError {
  return new ZtlpError('invalid-value', `${field}: ${what}`, { field, allowed });
}
