/** Reads the log of accesses that reached an emulated device: configuration space and register blocks, one per line. */
import { type Access, guessConfigWidth, masked, type Width } from './access.js';
import { LineFormat } from './line-format.js';
import { OTHER, type ParsedLine, type ReadOptions, type RecordBatch, readRecords } from './record-reader.js';

// Format: test/vectors/trace-linux.md. 64-bit numbers are pairs of unsigned 32-bit halves.

/** An access to configuration space; its size is not told. */
export interface DeviceConfigAccess {
  readonly kind: 'config read' | 'config write';
  readonly device: string;
  readonly offset: number;
  /** Little-endian. */
  readonly value: number;
}

/** An access to a register block. The address is physical, or an offset where BARs are not mapped (s390x). */
export interface DeviceRegionAccess {
  readonly kind: 'device read' | 'device write';
  readonly region: string;
  readonly lo: number;
  readonly hi: number;
  readonly width: Width;
  readonly valueLo: number;
  readonly valueHi: number;
}

export type DeviceRecord = DeviceConfigAccess | DeviceRegionAccess;

const CONFIG = 'dev={device:S} off=0x{offset:x} value=0x{value:x}';
const REGION = 'region={region:S} addr=0x{:q} size={width:w} value=0x{value:q}';

const PATTERNS: Readonly<Record<DeviceRecord['kind'], string>> = {
  'config read': `config read ${CONFIG}`,
  'config write': `config write ${CONFIG}`,
  'device read': `device read ${REGION}`,
  'device write': `device write ${REGION}`,
};

const KINDS = Object.keys(PATTERNS) as DeviceRecord['kind'][];
const FORMATS = KINDS.map((kind) => ({
  kind,
  begin: `${kind} `,
  format: new LineFormat<DeviceRecord>(kind, PATTERNS[kind]),
}));

/** Parses one line from character `from` to its end. */
export function parseDeviceLine(text: string, from = 0): ParsedLine<DeviceRecord> {
  const found = FORMATS.find(({ begin }) => text.startsWith(begin, from));
  return found === undefined ? OTHER : found.format.parse(text, from);
}

/** One line without its line end. */
export function formatDeviceRecord(record: DeviceRecord): string {
  const found = FORMATS.find(({ kind }) => kind === record.kind) as (typeof FORMATS)[number];
  return found.format.print(record);
}

export const DEVICE_LOG = { parse: (text: string) => parseDeviceLine(text), kinds: KINDS } as const;

/** Yields the records of a log in batches, in order. */
export function readDeviceLog(
  source: AsyncIterable<Uint8Array | string>,
  options: ReadOptions<DeviceRecord> = {},
): AsyncGenerator<RecordBatch<DeviceRecord>, void, undefined> {
  return readRecords(DEVICE_LOG, source, options);
}

/** Regions that belong to the machine and not to a PCI function: no link leads to them. */
const PLATFORM_REGIONS: ReadonlySet<string> = new Set(['intel_iommu']);

/** The access that a record of line `line` is. */
export function deviceAccess(record: DeviceRecord, line: number): Access {
  const op = record.kind.endsWith('read') ? 'read' : 'write';
  if ('device' in record) {
    const { device, offset, value } = record;
    const width = guessConfigWidth(offset, value);
    const address = { addressLo: offset, addressHi: 0, width, guessed: true } as const;
    return { line, op, space: 'config', device, ...address, ...masked(width, value, 0) };
  }
  const { region, lo, hi, width, valueLo, valueHi } = record;
  const space = PLATFORM_REGIONS.has(region) ? 'platform' : 'memory';
  const value = masked(width, valueLo, valueHi);
  return { line, op, space, region, addressLo: lo, addressHi: hi, width, ...value };
}
