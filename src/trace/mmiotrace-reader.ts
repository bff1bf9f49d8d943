/** Reads Linux mmiotrace text logs: batches of records, PCI devices and address lookup, in constant memory. */
import { BadLineCounter, detached } from '../base/bad-lines.js';
import { show, ZtlpError } from '../base/errors.js';
import { type LineBatch, readLines } from './lines.js';
import { type MmioPcidev, type MmioRecord, type ParsedMmioLine, parseMmioLine, ROM } from './mmiotrace.js';

/** The one format version that exists (Linux kernel/trace/trace_mmiotrace.c). */
const VERSION = 20070824;
/** Functions of one PCI segment: 256 buses x 256 device/function numbers. */
const MAX_DEVICES = 65_536;
/** Kernel module names are shorter than 64 characters. */
const MAX_DRIVER = 200;

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

/**
 * Takes in the lines of one log, keeps its PCI devices and counts what it saw. Where the kernel's buffer ran over, the
 * kernel itself writes `MARK 0.000000 Lost N events.` into the log: such a line is a mark and also adds N to `lost`.
 */
export class MmioTraceReader extends BadLineCounter {
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
  /** Lines that are not mmiotrace's, such as kernel messages. Empty lines are not counted. */
  other = 0;
  /** Events missing in the log because the kernel lost them. */
  lost = 0;
  private started = false;
  private readonly ranges: Range[] = [];
  private lastHit: Range | undefined;

  /** Takes the next lines. Throws ZtlpError for a log that is none, and in strict mode for a bad line. */
  push(batch: LineBatch): MmioBatch {
    const records: MmioRecord[] = [];
    const lines: number[] = [];
    const tooLong = new Set(batch.tooLong);
    for (let i = 0; i < batch.lines.length; i++) {
      const text = batch.lines[i] ?? '';
      if (text === '') continue;
      const number = batch.first + i;
      if (!this.started && !this.begin(text)) continue;
      let parsed: ParsedMmioLine;
      if (tooLong.has(i)) {
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
    if (record.kind === 'mark') this.lost += lostEvents(record);
    if (record.kind === 'pcidev') {
      if (this.devices.length >= MAX_DEVICES)
        return { kind: 'bad', reason: `more than ${MAX_DEVICES} PCIDEV lines` };
      // A name is text of the file: bounded, and not a slice that keeps its whole chunk alive.
      const driver = detached(record.driver.slice(0, MAX_DRIVER));
      const device = this.devices.push({ ...record, driver }) - 1;
      record.resources.forEach(({ lo, hi, flags, size }, bar) => {
        const isIo = bar !== ROM && (flags & 1) === 1;
        if (!isIo && size > 0 && (lo | hi) !== 0)
          this.ranges.push({ device, bar, lo, hi, size, alone: undefined });
      });
    }
    return record;
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

/** Number of events that the kernel says it lost in a mark of its own; 0 for the marks of users. */
export function lostEvents(mark: { readonly ts: number; readonly text: string }): number {
  return mark.ts === 0 ? Number(/^Lost (\d{1,15}) events\.$/.exec(mark.text)?.[1] ?? 0) : 0;
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
