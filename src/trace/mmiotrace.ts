/** Reads Linux mmiotrace text logs: lines to records, PCI devices and address lookup, in constant memory. */
import { show, ZtlpError } from '../base/errors.js';
import { FieldScanner, type LineBatch, readLines } from './lines.js';

/** The one format version that exists (Linux kernel/trace/trace_mmiotrace.c). */
const VERSION = 20070824;
/** Functions of one PCI segment: 256 buses x 256 device/function numbers. */
const MAX_DEVICES = 65_536;
const ROM = 6;

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

export interface MmioBatch {
  readonly records: readonly MmioRecord[];
  /** Line number of each record, counted from 1. */
  readonly lines: readonly number[];
}

/** Where a bus address lies: index into `devices`, BAR 0 to 5 or 6 for the ROM, offset in bytes. */
export interface MmioTarget {
  readonly device: number;
  readonly bar: number;
  readonly offset: number;
}

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

/** The same text in memory of its own: a piece of a line would keep the whole batch it was cut from alive. */
function detached(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le');
}

/** Takes in the lines of one log, keeps its PCI devices and counts what it saw. */
export class MmioTraceReader {
  /** PCIDEV lines in the order of the log. */
  readonly devices: MmioPcidev[] = [];
  /** Good lines of each kind. */
  readonly counts: Record<MmioRecord['kind'], number> = {
    version: 0,
    pcidev: 0,
    read: 0,
    write: 0,
    map: 0,
    unmap: 0,
    mark: 0,
    unknown: 0,
    lspci: 0,
  };
  /** Lines with a field that does not follow the format, and lines that are too long. */
  bad = 0;
  firstBad: { readonly line: number; readonly text: string; readonly reason: string } | undefined;
  /** Lines that are not mmiotrace's, such as kernel messages. Empty lines are not counted. */
  other = 0;
  /** Events missing in the log because the kernel lost them: the sum of `MARK 0.000000 Lost N events.`. */
  lost = 0;
  private started = false;
  private readonly ranges: Range[] = [];
  private lastHit: Range | undefined;

  /** @param strict throw on the first bad line instead of counting it */
  constructor(private readonly strict = false) {}

  /** Takes the next lines. Throws ZtlpError for a log that is none, and in strict mode for a bad line. */
  push(batch: LineBatch): MmioBatch {
    const records: MmioRecord[] = [];
    const lines: number[] = [];
    let cut = 0;
    for (let i = 0; i < batch.lines.length; i++) {
      const text = batch.lines[i] ?? '';
      if (text === '') continue;
      const number = batch.first + i;
      if (!this.started && !this.begin(text)) continue;
      let parsed: ParsedMmioLine;
      if (batch.tooLong[cut] === i) {
        cut++;
        parsed = { kind: 'bad', reason: `line: is too long, cut to ${text.length} characters` };
      } else {
        parsed = this.check(parseMmioLine(text));
      }
      if (parsed.kind === 'bad') {
        this.reject(number, text, parsed.reason);
      } else if (parsed.kind === 'other') {
        if (text.trim() !== '') this.other++;
      } else {
        this.counts[parsed.kind]++;
        records.push(parsed);
        lines.push(number);
      }
    }
    return { records, lines };
  }

  /** To be called behind the last line. Throws when there was none. */
  finish(): void {
    if (this.started) return;
    throw new ZtlpError('malformed', 'not an mmiotrace log: it is empty', { allowed: EXPECTED });
  }

  /** Finds a bus address. The first range that contains it wins; I/O BARs and unassigned BARs never do. */
  resolve(lo: number, hi: number): MmioTarget | undefined {
    const last = this.lastHit;
    if (last !== undefined) {
      const offset = offsetIn(last, lo, hi);
      if (offset >= 0) return { device: last.device, bar: last.bar, offset };
    }
    for (const range of this.ranges) {
      const offset = offsetIn(range, lo, hi);
      if (offset < 0) continue;
      range.alone ??= this.isAlone(range);
      if (range.alone) this.lastHit = range;
      return { device: range.device, bar: range.bar, offset };
    }
    return undefined;
  }

  /** The first line with text on it. Returns false for a blank one. */
  private begin(text: string): boolean {
    if (text.trim() === '') return false;
    const parsed = parseMmioLine(text);
    if (parsed.kind !== 'version') {
      throw new ZtlpError('malformed', `not an mmiotrace log: it begins with ${show(text)}`, {
        allowed: EXPECTED,
      });
    }
    if (parsed.version !== VERSION) {
      const what = `version ${parsed.version} of the mmiotrace format is not supported`;
      throw new ZtlpError('unsupported', what, {
        field: 'VERSION',
        value: parsed.version,
        allowed: String(VERSION),
      });
    }
    this.started = true;
    return true;
  }

  /** Keeps what the reader needs of a record; may find it bad after all. */
  private check(record: ParsedMmioLine): ParsedMmioLine {
    if (record.kind === 'read' || record.kind === 'write') return record;
    if (record.kind === 'version' && record.version !== VERSION) {
      return { kind: 'bad', reason: `version: ${record.version} is not ${VERSION}` };
    }
    if (record.kind === 'mark' && record.ts === 0) {
      this.lost += Number(/^Lost (\d{1,15}) events\.$/.exec(record.text)?.[1] ?? 0);
    }
    if (record.kind === 'pcidev') {
      if (this.devices.length >= MAX_DEVICES)
        return { kind: 'bad', reason: `more than ${MAX_DEVICES} PCIDEV lines` };
      const device = this.devices.push(record) - 1;
      record.resources.forEach(({ lo, hi, flags, size }, bar) => {
        const isIo = bar !== ROM && (flags & 1) === 1;
        if (!isIo && size > 0 && (lo | hi) !== 0)
          this.ranges.push({ device, bar, lo, hi, size, alone: undefined });
      });
    }
    return record;
  }

  private reject(line: number, text: string, reason: string): void {
    if (this.strict) {
      throw new ZtlpError('malformed', `line ${line}: ${reason}, in ${show(text)}`, {
        field: `line ${line}`,
        value: text,
      });
    }
    this.bad++;
    this.firstBad ??= { line, text: detached(text), reason };
  }

  /** True when no earlier range shares an address with this one. */
  private isAlone(range: Range): boolean {
    for (const earlier of this.ranges) {
      if (earlier === range) break;
      if (offsetIn(earlier, range.lo, range.hi) >= 0 || offsetIn(range, earlier.lo, earlier.hi) >= 0)
        return false;
    }
    return true;
  }
}

const EXPECTED = `a first line "VERSION ${VERSION}"`;

interface Range {
  readonly device: number;
  readonly bar: number;
  readonly lo: number;
  readonly hi: number;
  readonly size: number;
  /** Whether no earlier range overlaps; worked out at the first hit. */
  alone: boolean | undefined;
}

/** Offset of a bus address in a range, or -1. */
function offsetIn(range: Range, lo: number, hi: number): number {
  // Exact for every offset below 2^53; larger ones stay larger than any size.
  const offset = (hi - range.hi) * 2 ** 32 + (lo - range.lo);
  return offset >= 0 && offset < range.size ? offset : -1;
}

export interface MmioReadOptions {
  /** Throw on the first bad line. Default: count it and go on. */
  readonly strict?: boolean;
  /** Called now and then with the number of bytes read so far. */
  readonly onProgress?: (bytes: number) => void;
  /** The reader to use, for its counts and its address lookup; `strict` is then that reader's. */
  readonly reader?: MmioTraceReader;
  /** Name of the source for error messages. */
  readonly name?: string;
}

/** Yields the records of a log in batches, in order. Throws ZtlpError when the source is no mmiotrace log. */
export async function* readMmiotrace(
  source: AsyncIterable<Uint8Array | string>,
  options: MmioReadOptions = {},
): AsyncGenerator<MmioBatch, void, undefined> {
  const reader = options.reader ?? new MmioTraceReader(options.strict);
  for await (const lines of readLines(source, options.name === undefined ? {} : { name: options.name })) {
    const batch = reader.push(lines);
    options.onProgress?.(lines.bytes);
    if (batch.records.length > 0) yield batch;
  }
  reader.finish();
}
