/** A device from a dump of `lspci -xxx` or `-xxxx`: its configuration space, with BARs that are memory. */
import { invalid, needObject, show, ZtlpError } from '../base/errors.js';
import { ROM_BAR } from '../pci/bar-tracker.js';
import { word32 } from '../pci/capabilities.js';
import { type LspciFunction, LspciReader } from '../pci/lspci.js';
import { REG } from '../pci/registers.js';
import { BAR_COUNT } from './bars.js';
import { type Device, defineDevice } from './define.js';
import type { DeviceBar, DeviceDefinition } from './types.js';

/** What the dump does not say: callbacks, and what serves the BARs. */
export interface LspciDeviceOptions<S = unknown>
  extends Omit<
    DeviceDefinition<S>,
    | 'name'
    | 'bars'
    | 'config'
    | 'capabilities'
    | 'vendorId'
    | 'deviceId'
    | 'revision'
    | 'classCode'
    | 'subsystemVendorId'
    | 'subsystemId'
    | 'interruptPin'
  > {
  /** Default: the address in the dump, such as `00-03.0`. */
  readonly name?: string;
  /** Which function, as its line begins: `00:03.0`. Needed where the dump has several. */
  readonly address?: string;
  /**
   * By BAR number; `{ size }` alone is memory. Where one is left out, the BAR is memory of the size in `[size=]` of its
   * line, which `lspci -v` prints.
   */
  readonly bars?: readonly (DeviceBar<S> | { readonly size: number } | undefined)[];
}

/**
 * The device that a dump shows. Registers begin as the dump has them, but for the addresses of BARs and Command.
 * Throws ZtlpError when the dump has no such function, less than 256 bytes of it, or a BAR whose size nothing tells.
 */
export function lspciDevice<S = undefined>(dump: string, options: LspciDeviceOptions<S> = {}): Device<S> {
  if (typeof dump !== 'string') throw invalid('dump', dump, 'the text that lspci -xxxx prints');
  needObject('options', options);
  const { address, name, bars, rom, ...rest } = options;
  const fn = choose(functionsOf(dump), address);
  const { bytes, known, regions } = fn;
  if (known < bytes.length || bytes.length < 256)
    throw new ZtlpError('malformed', `${fn.address}: only ${known} bytes from 0 on are in the dump`, {
      field: 'dump',
      value: known,
      allowed: '256 or 4096 bytes without a gap, as lspci -xxx or -xxxx prints them for root',
    });
  const sizeOf = (index: number): number | undefined =>
    regions.find((region) => region.index === index && region.size !== undefined)?.size;
  const romSize = word32(bytes, REG.ROM) === 0 ? undefined : sizeOf(ROM_BAR);
  const all = Array.from({ length: BAR_COUNT }, (_, index): DeviceBar<S> | undefined => {
    const size = word32(bytes, REG.BAR0 + 4 * index) === 0 ? undefined : sizeOf(index);
    const given = bars?.[index] ?? (size === undefined ? undefined : { size });
    const isShort = given !== undefined && Object.keys(given).join() === 'size';
    return (isShort ? { ...given, memory: true } : given) as DeviceBar<S> | undefined;
  });
  return defineDevice<S>({
    ...(rest as DeviceDefinition<S>),
    name: name ?? fn.address.replaceAll(':', '-'),
    config: bytes,
    bars: all,
    ...(rom === undefined && romSize === undefined ? {} : { rom: rom ?? { size: romSize as number } }),
  });
}

function functionsOf(dump: string): LspciFunction[] {
  const reader = new LspciReader(true);
  const lines = dump.split(/\r?\n/);
  return [...reader.push({ first: 1, lines, tooLong: [] }), ...reader.finish()];
}

function choose(functions: readonly LspciFunction[], address: string | undefined): LspciFunction {
  const [first] = functions;
  if (first === undefined)
    throw new ZtlpError('malformed', 'dump: no function with hexadecimal rows is in it', {
      field: 'dump',
      allowed: 'the text that lspci -xxxx prints',
    });
  const allowed = functions.map((fn) => fn.address).join(', ');
  if (address === undefined && functions.length > 1)
    throw new ZtlpError('invalid-value', 'address: the dump has several functions', {
      field: 'address',
      allowed,
    });
  const found = address === undefined ? first : functions.find((fn) => fn.address === address);
  if (found !== undefined) return found;
  throw new ZtlpError('not-found', `address: ${show(address)} is not in the dump`, {
    field: 'address',
    value: address,
    allowed,
  });
}
