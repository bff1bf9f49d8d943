/** Reads the hexadecimal dumps of `lspci -x`, `-xxx` and `-xxxx` into the bytes of each function, and prints them again. */
import { BadLineCounter, detached } from '../base/bad-lines.js';
import { ROM_BAR } from './bar-tracker.js';

// Format: pciutils lspci, as the manual page shows it. A device line, decoded lines (indented, with -v), then rows
// `OFFSET: 16 bytes` in address order; a blank line between devices. Dumps that went through mail have `> ` before each
// line, and long lines broken in two.

/** A `Region n:` or `Expansion ROM at` line: what lspci was told about a BAR. Its size is nowhere else in a dump. */
export interface LspciRegion {
  /** 0 to 5, or 6 for the expansion ROM. */
  readonly index: number;
  readonly space: 'io' | 'memory';
  /** Bytes, where the line has `[size=]`. */
  readonly size?: number;
  /** The text behind the colon, or behind `Expansion ROM at`. */
  readonly text: string;
}

/** One function of a dump. */
export interface LspciFunction {
  /** Line of the device line, counted from 1. */
  readonly line: number;
  /** `[domain:]bus:device.function` as it stands. */
  readonly address: string;
  /** Class and name: the rest of the device line. */
  readonly text: string;
  /** 64, 256 or 4096 bytes: the fewest that hold all rows. What no row gives reads as 0xff. */
  readonly bytes: Uint8Array;
  /** Bytes from 0 on that rows give without a gap. */
  readonly known: number;
  readonly regions: readonly LspciRegion[];
  /** The rows as they stand, quote marks and broken lines mended. */
  readonly rows: readonly string[];
  /** Offsets of the rows, ascending. */
  readonly offsets: readonly number[];
  /** Digits that the offset of the first row has: 2, or 3 in some versions. */
  readonly offsetDigits: number;
  /** Rows of this function that could not be read. */
  readonly problems: readonly string[];
}

/** The hexadecimal rows of a function, one per line, as lspci prints them; no last line end. */
export function formatLspci(fn: Pick<LspciFunction, 'bytes' | 'offsets' | 'offsetDigits'>): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return fn.offsets
    .map((offset) => {
      const row = [...fn.bytes.subarray(offset, offset + ROW)].map((byte) => hex(byte, 2));
      return `${hex(offset, fn.offsetDigits)}: ${row.join(' ')}`;
    })
    .join('\n');
}

const ROW = 16;
const SIZES = [64, 256, 4096] as const;
const QUOTE = /^(?:> ?)+/;
const DEVICE = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.*)$/;
/** What begins like a row; whether it is one is checked then. */
const ROW_LIKE = /^([0-9a-f]{2,3}):(?: |$)/;
const BYTES = /^(?:[0-9a-f]{2}(?: |$)){1,16}$/;
/** One step of indentation: two steps are the regions of a capability (SR-IOV). */
const REGION = /^(?:\t| {1,8})Region ([0-5]): (.*)$/;
const ROM = /^(?:\t| {1,8})(?:\[virtual\] )?(Expansion ROM) at (.*)$/;
const SIZE = /\[size=(\d{1,9})([KMGT]?)\]/;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};
/** Kept of a text, and problems kept of one function: a dump may be no dump at all behind its first lines. */
const MAX_TEXT = 200;
const MAX_PROBLEMS = 10;

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/** Takes in the lines of a dump and hands out functions as they end. Holds one function at a time. */
export class LspciReader extends BadLineCounter {
  /** Device lines so far; functions without rows are counted too, but not handed out. */
  devices = 0;
  private fn: Mutable<LspciFunction> | undefined;
  /** The line before was the device line: this one may be the rest of it. */
  private afterDevice = false;
  /** A row whose bytes go on in the next line. */
  private broken: { readonly line: number; text: string } | undefined;

  /** Takes the next lines, as `readLines` gives them. Throws ZtlpError in strict mode for a bad row. */
  push(batch: {
    readonly first: number;
    readonly lines: readonly string[];
    readonly tooLong: readonly number[];
  }): LspciFunction[] {
    const done: LspciFunction[] = [];
    const tooLong = new Set(batch.tooLong);
    batch.lines.forEach((text, i) => {
      const line = batch.first + i;
      if (tooLong.has(i)) this.reject(line, text, `line: is too long, cut to ${text.length} characters`);
      else this.take(line, text.replace(QUOTE, ''), done);
    });
    return done;
  }

  /** The last function, if it has rows. */
  finish(): LspciFunction[] {
    const done: LspciFunction[] = [];
    this.end(done);
    return done;
  }

  private take(line: number, text: string, done: LspciFunction[]): void {
    if (this.broken !== undefined && this.mend(text)) return;
    const device = DEVICE.exec(text);
    if (device !== null) {
      this.end(done);
      this.begin(line, device[1] as string, device[2] as string);
      return;
    }
    const { fn, afterDevice } = this;
    this.afterDevice = false;
    if (fn === undefined) return;
    const row = ROW_LIKE.exec(text);
    if (row !== null) {
      this.row(line, text, row[1] as string);
      return;
    }
    const region = REGION.exec(text) ?? ROM.exec(text);
    if (region !== null && fn.rows.length === 0) fn.regions.push(regionOf(region));
    else if (afterDevice && /^\S/.test(text)) fn.text = clipped(`${fn.text} ${text}`);
  }

  private begin(line: number, address: string, text: string): void {
    this.devices++;
    this.afterDevice = true;
    this.fn = {
      line,
      address,
      text: clipped(text),
      bytes: new Uint8Array(4096).fill(0xff),
      known: 0,
      regions: [],
      rows: [],
      offsets: [],
      offsetDigits: 2,
      problems: [],
    };
  }

  private end(done: LspciFunction[]): void {
    this.giveUp();
    const { fn } = this;
    this.fn = undefined;
    if (fn === undefined || (fn.rows.length === 0 && fn.problems.length === 0)) return;
    const end = (fn.offsets.at(-1) ?? -ROW) + ROW;
    const size = SIZES.find((bytes) => bytes >= end) ?? 4096;
    let known = 0;
    for (const offset of fn.offsets) if (offset === known) known += ROW;
    done.push({ ...fn, bytes: fn.bytes.slice(0, size), known });
  }

  /** A line that begins like a row. */
  private row(line: number, text: string, offsetText: string): void {
    const fn = this.fn as Mutable<LspciFunction>;
    const content = text.trimEnd();
    const bytes = content.slice(offsetText.length + 2);
    const offset = Number.parseInt(offsetText, 16);
    const least = (fn.offsets.at(-1) ?? -ROW) + ROW;
    if (!BYTES.test(bytes)) {
      this.reject(line, text, 'row: is not 16 bytes of two hexadecimal digits');
    } else if (offset % ROW !== 0) {
      this.reject(line, text, `row: offset 0x${offsetText} is not a multiple of 16`);
    } else if (offset < least) {
      this.reject(line, text, `row: offset 0x${offsetText} comes again`);
    } else if (bytes.length < 3 * ROW - 1) {
      this.broken = { line, text: content };
    } else {
      if (fn.offsets.length === 0) fn.offsetDigits = offsetText.length;
      fn.offsets.push(offset);
      fn.rows.push(detached(content));
      bytes.split(' ').forEach((byte, n) => {
        fn.bytes[offset + n] = Number.parseInt(byte, 16);
      });
    }
  }

  /** Takes `text` as the rest of the broken row, if it can be; else the row is bad and the line is looked at afresh. */
  private mend(text: string): boolean {
    const broken = this.broken as { readonly line: number; text: string };
    const rest = text.trim();
    const whole = `${broken.text} ${rest}`;
    const length = whole.length - whole.indexOf(':') - 2;
    if (!BYTES.test(rest) || length > 3 * ROW - 1) {
      this.giveUp();
      return false;
    }
    broken.text = whole;
    if (length === 3 * ROW - 1) {
      this.broken = undefined;
      this.row(broken.line, whole, whole.slice(0, whole.indexOf(':')));
    }
    return true;
  }

  private giveUp(): void {
    const { broken } = this;
    this.broken = undefined;
    if (broken !== undefined) this.reject(broken.line, broken.text, 'row: has fewer than 16 bytes');
  }

  protected override reject(line: number, text: string, reason: string): void {
    super.reject(line, text, reason);
    if (this.fn !== undefined && this.fn.problems.length < MAX_PROBLEMS)
      this.fn.problems.push(`line ${line}: ${reason}`);
  }
}

function regionOf([, index, text = '']: RegExpExecArray): LspciRegion {
  const size = SIZE.exec(text);
  const bytes = size === null ? undefined : Number(size[1]) * (UNITS[size[2] ?? ''] as number);
  return {
    index: index === 'Expansion ROM' ? ROM_BAR : Number(index),
    space: text.includes('I/O ports') ? 'io' : 'memory',
    ...(bytes === undefined ? {} : { size: bytes }),
    text: clipped(text),
  };
}

/** At most MAX_TEXT characters, in memory of their own: a piece of a line would keep the whole batch alive. */
function clipped(text: string): string {
  return detached(text.slice(0, MAX_TEXT));
}
