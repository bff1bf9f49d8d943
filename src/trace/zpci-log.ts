/** Reads the log of s390x PCI instructions: what the guest's driver issued, and what each instruction did. */
import * as L from '../../assembly/layout.js';
import { type Access, isWidth } from './access.js';
import { type DeviceRecord, formatDeviceRecord, parseDeviceLine } from './device-log.js';
import { LineFormat } from './line-format.js';
import { OTHER, type ParsedLine, type ReadOptions, type RecordBatch, readRecords } from './record-reader.js';

// Format: test/vectors/trace-linux.md; the instructions are those of Linux arch/s390/include/asm/pci_insn.h.

/** How an instruction ended. */
interface Ended {
  /** Condition code; SIC leaves it alone, so there it is the old one. */
  readonly cc: number;
  /** Status of the request register, given when the condition code is 1. */
  readonly status?: number;
}

/** Load or store. */
export interface ZpciAccess extends Ended {
  readonly kind: 'PCILG' | 'PCISTG';
  /** Function handle. */
  readonly fh: number;
  /** Address space: 0 to 5 are BARs, 15 is configuration space. */
  readonly as: number;
  /** Bytes, 1 to 8. */
  readonly len: number;
  readonly lo: number;
  readonly hi: number;
  /** Two digits per byte, the byte at the lowest PCI address first. */
  readonly data: string;
}

/** Refresh of translations of `len` bytes of DMA space. */
export interface ZpciRefresh extends Ended {
  readonly kind: 'RPCIT';
  readonly fh: number;
  readonly startLo: number;
  readonly startHi: number;
  readonly lenLo: number;
  readonly lenHi: number;
}

/** Modify function controls: DMA address space and operation. */
export interface ZpciModify extends Ended {
  readonly kind: 'MPCIFC';
  readonly fh: number;
  readonly dmaas: number;
  readonly oc: number;
}

/** Call logical processor; its blocks are not recorded. */
export interface ZpciCall extends Ended {
  readonly kind: 'CLP';
}

/** Set interruption controls. */
export interface ZpciInterruption extends Ended {
  readonly kind: 'SIC';
  readonly oc: number;
  readonly isc: number;
}

/** An indented line: what the instruction above it did. */
export type ZpciEffect = DeviceRecord;

export type ZpciInstruction = ZpciAccess | ZpciRefresh | ZpciModify | ZpciCall | ZpciInterruption;

export type ZpciRecord = ZpciInstruction | ZpciEffect;

const ACCESS = 'fh={fh:x8} as={as:u} len={len:u} off=0x{:q} data={data:s} -> cc={cc:u}';

const PATTERNS: Readonly<Record<ZpciInstruction['kind'], string>> = {
  PCILG: ACCESS,
  PCISTG: ACCESS,
  RPCIT: 'fh={fh:x8} start=0x{start:q} len=0x{len:q} -> cc={cc:u}',
  MPCIFC: 'fh={fh:x8} dmaas={dmaas:u} oc={oc:u} -> cc={cc:u}',
  CLP: '-> cc={cc:u}',
  SIC: 'oc={oc:u} isc={isc:u} -> cc={cc:u}',
};

const STATUS = / status=\d/;

const INSTRUCTIONS = Object.keys(PATTERNS) as ZpciInstruction['kind'][];

function formats(tail: string): ReadonlyMap<string, LineFormat<ZpciInstruction>> {
  return new Map(
    INSTRUCTIONS.map((kind) => [kind, new LineFormat<ZpciInstruction>(kind, PATTERNS[kind] + tail)]),
  );
}

const PLAIN = formats('');
const WITH_STATUS = formats(' status={status:u}');

/** Blanks before a line that tells what an instruction did. */
const INDENT = '  ';

/** Parses one line without its line end. */
export function parseZpciLine(text: string): ParsedLine<ZpciRecord> {
  if (text.startsWith(' ') || text.startsWith('\t')) {
    return parseDeviceLine(text, text.length - text.trimStart().length);
  }
  const space = text.indexOf(' ');
  const name = space < 0 ? text : text.slice(0, space);
  const format = (STATUS.test(text) ? WITH_STATUS : PLAIN).get(name);
  if (format === undefined) return OTHER;
  const record = format.parse(text, name.length + 1);
  if (record.kind === 'bad') return record;
  if (record.cc > 3) return { kind: 'bad', reason: `cc: ${record.cc} is not 0, 1, 2 or 3` };
  return record.kind === 'PCILG' || record.kind === 'PCISTG' ? checkData(record) : record;
}

function checkData(record: ZpciAccess): ParsedLine<ZpciRecord> {
  const { len, data } = record;
  if (len < 1 || len > 8) return { kind: 'bad', reason: `len: ${len} is not 1 to 8` };
  const good = data.length === 2 * len && /^[0-9a-f]+$/i.test(data);
  return good ? record : { kind: 'bad', reason: `data: "${data}" is not ${2 * len} hexadecimal digits` };
}

/** One line without its line end. */
export function formatZpciRecord(record: ZpciRecord): string {
  if (!isInstruction(record)) return INDENT + formatDeviceRecord(record);
  const format = (record.status === undefined ? PLAIN : WITH_STATUS).get(record.kind);
  return `${record.kind} ${(format as LineFormat<ZpciInstruction>).print(record)}`;
}

/** True for an instruction, false for what one did. */
export function isInstruction(record: ZpciRecord): record is ZpciInstruction {
  return PLAIN.has(record.kind);
}

const EFFECTS = ['config read', 'config write', 'device read', 'device write'] as const;

export const ZPCI_LOG = { parse: parseZpciLine, kinds: [...INSTRUCTIONS, ...EFFECTS] } as const;

/** Yields the records of a log in batches, in order. */
export function readZpciLog(
  source: AsyncIterable<Uint8Array | string>,
  options: ReadOptions<ZpciRecord> = {},
): AsyncGenerator<RecordBatch<ZpciRecord>, void, undefined> {
  return readRecords(ZPCI_LOG, source, options);
}

/**
 * The access that an instruction of line `line` made. Undefined for other instructions, for one that was refused
 * (condition code not 0), and for lengths and address spaces that no access has.
 */
export function zpciAccess(record: ZpciInstruction, line: number): Access | undefined {
  if (record.kind !== 'PCILG' && record.kind !== 'PCISTG') return undefined;
  const { fh, as, len: width, cc, lo, hi, data } = record;
  const isConfig = as === L.SPACE_CONFIG;
  if (cc !== 0 || !isWidth(width) || !(isConfig || as < L.BAR_COUNT)) return undefined;
  // Bytes stand in the order of PCI addresses, which makes the number little-endian.
  let valueLo = 0;
  let valueHi = 0;
  for (let n = width - 1; n >= 0; n--) {
    const byte = Number.parseInt(data.slice(2 * n, 2 * n + 2), 16);
    valueHi = ((valueHi << 8) | (valueLo >>> 24)) >>> 0;
    valueLo = ((valueLo << 8) | byte) >>> 0;
  }
  return {
    line,
    op: record.kind === 'PCILG' ? 'read' : 'write',
    space: isConfig ? 'config' : 'memory',
    device: `fh ${fh.toString(16).padStart(8, '0')}`,
    ...(isConfig ? {} : { bar: as }),
    addressLo: lo,
    addressHi: hi,
    width,
    valueLo,
    valueHi,
  };
}
