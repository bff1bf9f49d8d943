/** The records of a Linux mmiotrace text log, and how one line becomes one of them. */
import { detached } from '../base/bad-lines.js';
import type { Access } from './access.js';
import { FieldScanner } from './fields.js';

/** Index of the expansion ROM among the seven resources of a PCIDEV line. */
export const ROM = 6;

// In all records, a 64-bit number is a pair of unsigned 32-bit halves, lo and hi; `ts` is in microseconds.

/** What the kernel notes for every event: `map` is the id of the mapping; pc is 0 when not recorded. */
interface Traced {
  readonly ts: number;
  readonly map: number;
  readonly pcLo: number;
  readonly pcHi: number;
  readonly pid: number;
}

/** A bus address. */
interface Located {
  readonly lo: number;
  readonly hi: number;
}

/** `R` and `W`: one trapped access of `width` bytes. The value is masked to the width. */
export interface MmioAccess extends Traced, Located {
  readonly kind: 'read' | 'write';
  readonly width: 1 | 2 | 4 | 8;
  readonly valueLo: number;
  readonly valueHi: number;
}

/** `MAP`: an ioremap of `length` bytes, which may be a part of a BAR. */
export interface MmioMap extends Traced, Located {
  readonly kind: 'map';
  readonly virtLo: number;
  readonly virtHi: number;
  readonly length: number;
}

/** `UNKNOWN`: an access by an instruction the kernel cannot decode; 3 bytes of it, the first in 23:16. */
export interface MmioUnknown extends Traced, Located {
  readonly kind: 'unknown';
  readonly opcode: number;
}

/** One BAR or the ROM. A 64-bit address is whole here; the next resource is then unused. */
export interface MmioResource extends Located {
  /** Low bits of the BAR: bit 0 I/O, bits 2:1 type (2 = 64-bit), bit 3 prefetchable. ROM: bit 0 enabled. */
  readonly flags: number;
  /** Bytes; 0 = unused. */
  readonly size: number;
}

/** `PCIDEV`: one PCI function as the kernel saw it when the log was opened. */
export interface MmioPcidev {
  readonly kind: 'pcidev';
  readonly bus: number;
  /** Device number in bits 7:3, function number in bits 2:0. */
  readonly devfn: number;
  readonly vendor: number;
  readonly device: number;
  readonly irq: number;
  /** Seven: BAR0 to BAR5, then the expansion ROM. */
  readonly resources: readonly MmioResource[];
  /** Name of the bound driver, or empty. */
  readonly driver: string;
}

export type MmioRecord =
  | MmioAccess
  | MmioMap
  | ({ readonly kind: 'unmap' } & Traced)
  | MmioUnknown
  | MmioPcidev
  | { readonly kind: 'version'; readonly version: number }
  /** Text of a user, or the kernel's `Lost N events.` at time 0. */
  | { readonly kind: 'mark'; readonly ts: number; readonly text: string }
  /** Output of `lspci` that a user put in. */
  | { readonly kind: 'lspci'; readonly text: string };

/** A line as parsed: `other` has a first word that is not mmiotrace's; `bad` has a field that is wrong. */
export type ParsedMmioLine = MmioRecord | { readonly kind: 'bad'; readonly reason: string } | typeof OTHER;

const OTHER = { kind: 'other' } as const;
const fields = new FieldScanner(); // parsing never yields, so one is enough

/** Parses one line without its line end. The grammar is what Linux kernel/trace/trace_mmiotrace.c prints. */
export function parseMmioLine(text: string): ParsedMmioLine {
  const space = text.indexOf(' ');
  const length = space < 0 ? text.length : space;
  if (length === 1) {
    const letter = text.charCodeAt(0);
    if (letter === 0x52) return parseAccess('read', text);
    if (letter === 0x57) return parseAccess('write', text);
    return OTHER;
  }
  if (length < 3 || length > 7) return OTHER;
  const parse = PARSERS.get(text.slice(0, length));
  if (parse === undefined) return OTHER;
  const f = fields.start(text, length);
  const record = parse(f);
  return f.problem === '' ? record : { kind: 'bad', reason: f.problem };
}

function parseAccess(kind: 'read' | 'write', text: string): ParsedMmioLine {
  const f = fields.start(text, 1);
  const width = f.decimal('width');
  if (width !== 4 && width !== 8 && width !== 1 && width !== 2) f.fail('width', `${width}`, '1, 2, 4 or 8');
  const ts = f.time('time');
  const map = f.decimal('map id');
  const lo = f.hex('address', '0x');
  const hi = f.hi;
  const value = f.hex('value', '0x');
  const valueLo = width === 1 ? value & 0xff : width === 2 ? value & 0xffff : value;
  const valueHi = width === 8 ? f.hi : 0;
  const pcLo = f.hex('pc', '0x');
  const pcHi = f.hi;
  const pid = f.decimal('pid');
  f.end();
  if (f.problem !== '') return { kind: 'bad', reason: f.problem };
  return { kind, width: width as 1 | 2 | 4 | 8, ts, map, lo, hi, valueLo, valueHi, pcLo, pcHi, pid };
}

/** Parsers of the rarer lines, by first word. They read through to the end of the line. */
const PARSERS = new Map<string, (f: FieldScanner) => MmioRecord>([
  ['MAP', parseMap],
  ['UNMAP', (f) => ({ kind: 'unmap', ts: f.time('time'), map: f.decimal('map id'), ...parsePc(f) })],
  ['MARK', (f) => ({ kind: 'mark', ts: f.time('time'), text: detached(f.rest()) })],
  ['UNKNOWN', parseUnknown],
  ['PCIDEV', parsePcidev],
  ['LSPCI', (f) => ({ kind: 'lspci', text: detached(f.rest()) })],
  ['VERSION', parseVersion],
]);

function parseVersion(f: FieldScanner): MmioRecord {
  const version = f.decimal('version');
  f.end();
  return { kind: 'version', version };
}

function parseMap(f: FieldScanner): MmioRecord {
  const ts = f.time('time');
  const map = f.decimal('map id');
  const address = { lo: f.hex('address', '0x'), hi: f.hi };
  const virt = { virtLo: f.hex('virtual address', '0x'), virtHi: f.hi };
  return { kind: 'map', ts, map, ...address, ...virt, length: count53(f, 'length', '0x'), ...parsePc(f) };
}

function parseUnknown(f: FieldScanner): MmioRecord {
  const ts = f.time('time');
  const map = f.decimal('map id');
  const address = { lo: f.hex('address', '0x'), hi: f.hi };
  const bytes = f.word('opcode');
  if (!/^[0-9a-f]{2}(,[0-9a-f]{2}){2}$/i.test(bytes)) f.fail('opcode', bytes, 'three bytes hh,hh,hh');
  const opcode = Number.parseInt(bytes.replaceAll(',', ''), 16);
  return { kind: 'unknown', ts, map, ...address, opcode, ...parsePc(f) };
}

/** The last two fields of a record: program counter and process id. */
function parsePc(f: FieldScanner): { pcLo: number; pcHi: number; pid: number } {
  const pc = { pcLo: f.hex('pc', '0x'), pcHi: f.hi, pid: f.decimal('pid') };
  f.end();
  return pc;
}

function parsePcidev(f: FieldScanner): MmioRecord {
  const place = fixedHex(f, 'bus and function', 4);
  const id = fixedHex(f, 'vendor and device', 8);
  const irq = count53(f, 'irq', '');
  const starts = [];
  for (let bar = 0; bar <= ROM; bar++) {
    const word = f.hex(`resource ${bar}`, '');
    // I/O BARs have two flag bits, memory BARs four (PCI 3.0 section 6.2.5.1); bit 0 of the ROM is not I/O.
    const flags = word & (bar !== ROM && (word & 1) === 1 ? 3 : 15);
    starts.push({ lo: (word ^ flags) >>> 0, hi: f.hi, flags });
  }
  const resources = starts.map((start, bar) => ({ ...start, size: count53(f, `size ${bar}`, '') }));
  return {
    kind: 'pcidev',
    bus: place >>> 8,
    devfn: place & 0xff,
    vendor: id >>> 16,
    device: id & 0xffff,
    irq,
    resources,
    driver: detached(f.rest()),
  };
}

function fixedHex(f: FieldScanner, name: string, digits: number): number {
  const word = f.word(name);
  const good = word.length === digits && /^[0-9a-f]+$/i.test(word);
  return good ? Number.parseInt(word, 16) : f.fail(name, word, `${digits} hexadecimal digits`);
}

/** A hexadecimal number below 2^53, exact in one number. */
function count53(f: FieldScanner, name: string, prefix: '0x' | ''): number {
  const lo = f.hex(name, prefix);
  const value = f.hi * 2 ** 32 + lo;
  return value <= Number.MAX_SAFE_INTEGER ? value : f.fail(name, `0x${value.toString(16)}`, 'below 2^53');
}

/** The access that a record of line `line` is, in the form that all readers share. */
export function mmioAccess(record: MmioAccess, line: number): Access {
  const { kind, lo, hi, width, valueLo, valueHi, ts } = record;
  return { line, op: kind, space: 'memory', addressLo: lo, addressHi: hi, width, valueLo, valueHi, time: ts };
}
