/** Encodes each kind of capability definition into its registers: the read-only bits, which say what is implemented. */
import { inRange, invalid, needObject, show, ZtlpError } from '../base/errors.js';
import { type Link, parseLink } from '../base/link.js';
import { checkU64, high32, low32 } from '../core/u64.js';
import { barFlags, checkBarSize } from './bars.js';
import {
  type AerDefinition,
  type AtsDefinition,
  type BarShape,
  CAPABILITY_FIELDS,
  type CapabilityDefinition,
  type DeviceType,
  type DsnDefinition,
  type MsiDefinition,
  type MsixDefinition,
  type PasidDefinition,
  type PcieDefinition,
  type PmDefinition,
  type PriDefinition,
  type SriovDefinition,
  type VendorDefinition,
  type VsecDefinition,
} from './capability-definitions.js';
import { CAP, EXT } from './registers.js';

/** A capability without its place: bytes from its header on, identifier set, pointer 0. */
export interface Encoded {
  readonly id: number;
  readonly extended: boolean;
  readonly bytes: Uint8Array;
  /** Bits that software may set where the specifications do not say, and where they begin. */
  readonly writable?: { readonly offset: number; readonly mask: Uint8Array };
}

type Register = readonly [offset: number, width: 1 | 2 | 4, value: number];

/** The encoding of `definition`. Throws ZtlpError naming the field, under `field`. */
export function encodeCapability(
  field: string,
  definition: CapabilityDefinition,
  bars: readonly (BarShape | undefined)[],
): Encoded {
  checkFields(field, definition);
  switch (definition.kind) {
    case 'pcie':
      return pcie(field, definition);
    case 'msi':
      return msi(field, definition);
    case 'msix':
      return msix(field, definition, bars);
    case 'pm':
      return pm(field, definition);
    case 'vendor':
      return vendor(field, definition);
    case 'aer':
      return aer(field, definition);
    case 'ats':
      return ats(field, definition);
    case 'pri':
      return pri(field, definition);
    case 'pasid':
      return pasid(field, definition);
    case 'sriov':
      return sriov(field, definition);
    case 'dsn':
      return dsn(field, definition);
    case 'vsec':
      return vsec(field, definition);
  }
}

/** Throws for a kind or a field that does not exist: a mistyped one would be ignored. */
function checkFields(field: string, definition: CapabilityDefinition): void {
  needObject(field, definition);
  const { kind } = definition;
  if (!Object.hasOwn(CAPABILITY_FIELDS, kind))
    throw unknown(`${field}.kind`, kind, Object.keys(CAPABILITY_FIELDS), 'is not a capability');
  const fields = ['kind', 'offset', ...Object.keys(CAPABILITY_FIELDS[kind])];
  const other = Object.keys(definition).find((name) => !fields.includes(name));
  if (other !== undefined) throw unknown(`${field}.${other}`, other, fields, `is not a field of ${kind}`);
}

function unknown(field: string, value: unknown, names: readonly string[], what: string): ZtlpError {
  const detail = { field, value, allowed: names.join(', ') };
  return new ZtlpError('unknown-name', `${field}: ${show(value)} ${what}`, detail);
}

function standard(id: number, length: number, registers: readonly Register[]): Encoded {
  return { id, extended: false, bytes: fill(length, [[0, 1, id], ...registers]) };
}

function extended(id: number, version: number, length: number, registers: readonly Register[]): Encoded {
  return { id, extended: true, bytes: fill(length, [[0, 4, id | (version << 16)], ...registers]) };
}

function fill(length: number, registers: readonly Register[]): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const [offset, width, value] of registers)
    for (let n = 0; n < width; n++) bytes[offset + n] = (value >>> (8 * n)) & 0xff;
  return bytes;
}

const bit = (n: number, value: boolean): number => (value ? 2 ** n : 0);

/** `value` or its default, which has to be a boolean. */
function flag(field: string, value: boolean | undefined, usual: boolean): boolean {
  if (value === undefined) return usual;
  if (typeof value === 'boolean') return value;
  throw invalid(field, value, 'true, false');
}

/** The base-2 logarithm of `value`, which has to be a power of two from `min` to `max`. */
function powerOfTwo(field: string, value: number, min: number, max: number): number {
  const log = Math.log2(value);
  if (Number.isInteger(log) && value >= min && value <= max) return log;
  throw invalid(field, value, `a power of two from ${min} to ${max}`, 'out-of-range');
}

function linkOf(field: string, link: string): Link {
  try {
    return parseLink(link);
  } catch (error) {
    throw error instanceof ZtlpError ? invalid(field, link, error.allowed ?? 'a link') : error;
  }
}

/** Device/Port Type (PCIe base specification 4.0 section 7.5.3.2). */
const DEVICE_TYPES: Readonly<Record<DeviceType, number>> = {
  endpoint: 0,
  'legacy-endpoint': 1,
  'root-complex-endpoint': 9,
};

function pcie(
  field: string,
  { deviceType = 'endpoint', maxPayload = 128, flr, extendedTag, link = 'gen1x1' }: PcieDefinition,
): Encoded {
  const { generation, lanes } = linkOf(`${field}.link`, link);
  const type = Object.hasOwn(DEVICE_TYPES, deviceType) ? DEVICE_TYPES[deviceType] : undefined;
  if (type === undefined)
    throw invalid(`${field}.deviceType`, deviceType, Object.keys(DEVICE_TYPES).join(', '));
  const hasLink = deviceType !== 'root-complex-endpoint';
  const speedAndWidth = generation | (lanes << 4);
  const linkRegisters: readonly Register[] = [
    [12, 4, speedAndWidth | bit(22, true)], // ASPM optionality compliance; no ASPM
    [18, 2, speedAndWidth | bit(12, true)], // the trained link; slot clock
    [44, 4, (2 ** generation - 1) << 1], // all speeds up to the fastest
  ];
  return standard(CAP.PCIE, 60, [
    [2, 2, 2 | (type << 4)], // version 2
    [
      4,
      4,
      (powerOfTwo(`${field}.maxPayload`, maxPayload, 128, 4096) - 7) |
        bit(5, flag(`${field}.extendedTag`, extendedTag, true)) |
        bit(15, true) | // role-based error reporting, which is required
        bit(28, flag(`${field}.flr`, flr, false)),
    ],
    [36, 4, bit(4, true)], // completion timeout can be disabled, which is required of requesters
    ...(hasLink ? linkRegisters : []),
  ]);
}

function msi(field: string, { vectors, bits64, perVectorMask }: MsiDefinition): Encoded {
  const is64 = flag(`${field}.bits64`, bits64, true);
  const masks = flag(`${field}.perVectorMask`, perVectorMask, false);
  const length = 10 + (is64 ? 4 : 0) + (masks ? 10 : 0);
  const control = (powerOfTwo(`${field}.vectors`, vectors, 1, 32) << 1) | bit(7, is64) | bit(8, masks);
  return standard(CAP.MSI, length, [[2, 2, control]]);
}

function msix(field: string, definition: MsixDefinition, bars: readonly (BarShape | undefined)[]): Encoded {
  const { vectors, tableBar, tableOffset, pbaBar, pbaOffset } = definition;
  inRange(`${field}.vectors`, vectors, 1, 2048);
  const place = (name: string, bar: number, offset: number, length: number): number => {
    const shape = bars[inRange(`${field}.${name}Bar`, bar, 0, 5)];
    if (shape === undefined || shape.io === true)
      throw invalid(`${field}.${name}Bar`, bar, 'the index of a memory BAR of this function');
    inRange(`${field}.${name}Offset`, offset, 0, 2 ** 32 - 8);
    if (offset % 8 !== 0 || offset + length > shape.size)
      throw invalid(
        `${field}.${name}Offset`,
        offset,
        `a multiple of 8 with ${length} bytes left in BAR ${bar} of ${shape.size} bytes`,
      );
    return offset + bar;
  };
  const tableBytes = 16 * vectors;
  const pbaBytes = 8 * Math.ceil(vectors / 64);
  const table = place('table', tableBar, tableOffset, tableBytes);
  const pba = place('pba', pbaBar, pbaOffset, pbaBytes);
  if (tableBar === pbaBar && tableOffset < pbaOffset + pbaBytes && pbaOffset < tableOffset + tableBytes)
    throw invalid(
      `${field}.pbaOffset`,
      pbaOffset,
      `outside the table, ${tableBytes} bytes at ${tableOffset}`,
    );
  return standard(CAP.MSIX, 12, [
    [2, 2, vectors - 1],
    [4, 4, table],
    [8, 4, pba],
  ]);
}

function pm(field: string, { d1, d2, pmeSupport = 0, noSoftReset }: PmDefinition): Encoded {
  const states = bit(9, flag(`${field}.d1`, d1, false)) | bit(10, flag(`${field}.d2`, d2, false));
  return standard(CAP.PM, 8, [
    [2, 2, 3 | states | (inRange(`${field}.pmeSupport`, pmeSupport, 0, 31) << 11)],
    [4, 1, bit(3, flag(`${field}.noSoftReset`, noSoftReset, true))],
  ]);
}

function vendor(field: string, { bytes, writeMask }: VendorDefinition): Encoded {
  checkBytes(field, bytes, writeMask, 189);
  const encoded = standard(CAP.VENDOR, bytes.length + 3, [[2, 1, bytes.length + 3]]);
  encoded.bytes.set(bytes, 3);
  return writeMask === undefined ? encoded : { ...encoded, writable: { offset: 3, mask: writeMask } };
}

function aer(field: string, { ecrc }: AerDefinition): Encoded {
  // Without the registers of a root port, with room for the TLP prefix log.
  const capable = flag(`${field}.ecrc`, ecrc, false);
  return extended(EXT.AER, 2, 72, [[0x18, 4, bit(5, capable) | bit(7, capable)]]);
}

function ats(field: string, { queueDepth = 32, pageAligned, globalInvalidate }: AtsDefinition): Encoded {
  const depth = inRange(`${field}.queueDepth`, queueDepth, 1, 32) & 31; // 0 means 32
  const aligned = bit(5, flag(`${field}.pageAligned`, pageAligned, true));
  const global = bit(6, flag(`${field}.globalInvalidate`, globalInvalidate, false));
  return extended(EXT.ATS, 1, 8, [[4, 2, depth | aligned | global]]);
}

function pri(field: string, { capacity, responsePasid }: PriDefinition): Encoded {
  return extended(EXT.PRI, 1, 16, [
    [6, 2, bit(8, true) | bit(15, flag(`${field}.responsePasid`, responsePasid, false))], // stopped
    [8, 4, inRange(`${field}.capacity`, capacity, 1, 2 ** 32 - 1)],
  ]);
}

function pasid(field: string, { width = 20, execute, privileged }: PasidDefinition): Encoded {
  const permissions =
    bit(1, flag(`${field}.execute`, execute, false)) | bit(2, flag(`${field}.privileged`, privileged, false));
  return extended(EXT.PASID, 1, 8, [[4, 2, permissions | (inRange(`${field}.width`, width, 0, 20) << 8)]]);
}

function sriov(field: string, definition: SriovDefinition): Encoded {
  const { totalVfs, vfDeviceId, firstVfOffset = 1, vfStride = 1, pageSizes = 0x553, bars = [] } = definition;
  const total = inRange(`${field}.totalVfs`, totalVfs, 1, 0xffff);
  if ((inRange(`${field}.pageSizes`, pageSizes, 1, 2 ** 32 - 1) & 1) === 0)
    throw invalid(`${field}.pageSizes`, pageSizes, 'a mask with bit 0 set: 4 KiB is required');
  return extended(EXT.SRIOV, 1, 64, [
    [0x0c, 2, total],
    [0x0e, 2, total],
    [0x14, 2, inRange(`${field}.firstVfOffset`, firstVfOffset, 1, 0xffff)],
    [0x16, 2, inRange(`${field}.vfStride`, vfStride, total > 1 ? 1 : 0, 0xffff)],
    [0x1a, 2, inRange(`${field}.vfDeviceId`, vfDeviceId, 0, 0xffff)],
    [0x1c, 4, pageSizes],
    ...encodeBars(`${field}.bars`, bars, 0x24, true),
  ]);
}

function dsn(field: string, { serial }: DsnDefinition): Encoded {
  checkU64(`${field}.serial`, serial);
  return extended(EXT.DSN, 1, 12, [
    [4, 4, low32(serial)],
    [8, 4, high32(serial)],
  ]);
}

function vsec(field: string, { id, revision = 0, bytes, writeMask }: VsecDefinition): Encoded {
  checkBytes(field, bytes, writeMask, 4096 - 256 - 8);
  const length = bytes.length + 8;
  inRange(`${field}.id`, id, 0, 0xffff);
  inRange(`${field}.revision`, revision, 0, 15);
  const encoded = extended(EXT.VENDOR, 1, length, [[4, 4, id | (revision << 16) | (length << 20)]]);
  encoded.bytes.set(bytes, 8);
  return writeMask === undefined ? encoded : { ...encoded, writable: { offset: 8, mask: writeMask } };
}

function checkBytes(field: string, bytes: Uint8Array, mask: Uint8Array | undefined, most: number): void {
  if (!(bytes instanceof Uint8Array) || bytes.length > most)
    throw invalid(`${field}.bytes`, bytes, `a Uint8Array of 0 to ${most} bytes`);
  if (mask !== undefined && (!(mask instanceof Uint8Array) || mask.length > bytes.length))
    throw invalid(`${field}.writeMask`, mask, `a Uint8Array of 0 to ${bytes.length} bytes`);
}

/** The registers of BARs, unassigned: their flags. Throws ZtlpError naming the BAR. */
export function encodeBars(
  field: string,
  bars: readonly (BarShape | undefined)[],
  first: number,
  isVf = false,
): Register[] {
  if (!Array.isArray(bars) || bars.length > 6) throw invalid(field, bars, 'a list of at most 6 BARs');
  return bars.flatMap((bar: BarShape | undefined, index): Register[] => {
    if (bar === undefined) return [];
    const name = `${field}[${index}]`;
    needObject(name, bar);
    const { size, bits = 32, prefetchable, io } = bar;
    if (bits !== 32 && bits !== 64) throw invalid(`${name}.bits`, bits, '32, 64');
    const isIo = flag(`${name}.io`, io, false);
    const prefetch = flag(`${name}.prefetchable`, prefetchable, false);
    if (isIo && (bits === 64 || prefetch))
      throw invalid(name, bar, 'an I/O BAR has 32 bits and is not prefetchable');
    if (isVf && isIo) throw invalid(`${name}.io`, io, 'false: a VF has no I/O');
    if (bits === 64 && (index === 5 || bars[index + 1] !== undefined))
      throw invalid(`${name}.bits`, bits, '32, or no BAR at the next index, which has to be at most 5');
    const kind = isIo ? 'io' : bits === 64 ? 'memory64' : 'memory32';
    checkBarSize(`${name}.size`, kind, size);
    if (isVf && size < 4096) throw invalid(`${name}.size`, size, '4096 or more (bytes)', 'out-of-range');
    return [[first + 4 * index, 4, barFlags(kind, prefetch)]];
  });
}
