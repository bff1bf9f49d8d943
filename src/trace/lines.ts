/** Opens trace files and cuts them into lines, in constant memory however large the file or the line is. */
import { constants, createReadStream } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { show, ZtlpError } from '../base/errors.js';

/** Some consecutive lines, without their line ends. */
export interface LineBatch {
  /** Number of `lines[0]` in the source, counted from 1. */
  readonly first: number;
  readonly lines: readonly string[];
  /** Indices into `lines`, ascending, of those that were longer than the maximum and are cut to it. */
  readonly tooLong: readonly number[];
  /** Bytes of the source that have been taken in so far. */
  readonly bytes: number;
}

export interface LineOptions {
  /** Longest line that is kept whole, in UTF-8 bytes without the line end. Default 65536. */
  readonly maxLineBytes?: number;
  /** Name of the source for error messages. */
  readonly name?: string;
}

export interface OpenedTrace {
  readonly stream: AsyncIterable<Uint8Array>;
  /** Size in bytes; undefined for standard input and for anything else that is not a regular file. */
  readonly size: number | undefined;
}

const LF = 0x0a;
const CR = 0x0d;
const GZIP_MAGIC = 0x1f8b; // RFC 1952 section 2.3.1, ID1 and ID2
const DEFAULT_MAX = 65_536;
/** Bytes per read of a file. */
const READ_SIZE = 1 << 20;
/** Most bytes of a source in one batch: what is made of them then stays in the processor's caches. */
const PIECE = 1 << 16;

/**
 * Yields the lines of a UTF-8 text in batches. A line ends with LF or CR LF; the last one may have no end. A
 * byte order mark is dropped. Bytes that are not UTF-8 become U+FFFD; nothing else in the text is special.
 * Throws `malformed` for a gzip file, and what the source throws.
 */
export async function* readLines(
  source: AsyncIterable<Uint8Array | string>,
  options: LineOptions = {},
): AsyncGenerator<LineBatch, void, undefined> {
  const splitter = new LineSplitter(options.maxLineBytes ?? DEFAULT_MAX, options.name ?? 'the input');
  let half = ''; // first half of a surrogate pair that string chunks split
  for await (const chunk of source) {
    let bytes: Buffer;
    if (typeof chunk === 'string') {
      let text = half + chunk;
      half = /[\ud800-\udbff]$/.test(text) ? text.slice(-1) : '';
      text = half === '' ? text : text.slice(0, -1);
      bytes = Buffer.from(text, 'utf8');
    } else {
      bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
    for (let at = 0; at < bytes.length; at += PIECE) {
      const batch = splitter.feed(bytes.subarray(at, at + PIECE));
      if (batch.lines.length > 0) yield batch;
    }
  }
  const last = splitter.finish(Buffer.from(half, 'utf8'));
  if (last.lines.length > 0) yield last;
}

/**
 * Opens a trace file for reading; `-` is standard input. Throws `not-found` when there is no such file and
 * `io` when it cannot be read, here or later while the stream is read.
 */
export async function openTrace(path: string): Promise<OpenedTrace> {
  if (path === '-') return { stream: guarded(() => process.stdin, 'standard input'), size: undefined };
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    await access(path, constants.R_OK);
    const open = (): AsyncIterable<Uint8Array> => createReadStream(path, { highWaterMark: READ_SIZE });
    return { stream: guarded(open, path), size: info.isFile() ? info.size : undefined };
  } catch (error) {
    throw readError(path, error);
  }
}

/** Opens on the first read, so that a trace nobody reads holds no file; failures become ZtlpErrors. */
async function* guarded(open: () => AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* open();
  } catch (error) {
    throw readError(name, error);
  }
}

function readError(name: string, cause: unknown): ZtlpError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const detail = { field: 'file', value: name, cause };
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new ZtlpError('not-found', `cannot read ${show(name)}: there is no such file`, detail);
    case 'EISDIR':
      return new ZtlpError('io', `cannot read ${show(name)}: it is a directory`, detail);
    case 'EACCES':
    case 'EPERM':
      return new ZtlpError('io', `cannot read ${show(name)}: permission denied`, detail);
    default: {
      const why = cause instanceof Error ? cause.message : String(cause);
      return new ZtlpError('io', `cannot read ${show(name)}: ${why}`, detail);
    }
  }
}

/** Cuts pieces of bytes into lines; keeps at most one unfinished line of `max` bytes between them. */
class LineSplitter {
  /** The unfinished line; one byte more than the maximum, because that byte may be the CR of the line end. */
  private readonly held: Buffer;
  private heldLength = 0;
  /** True inside a line that was too long and has been handed out already. */
  private skipping = false;
  private next = 1;
  private bytes = 0;
  private magic = 0;
  private lines: string[] = [];
  private tooLong: number[] = [];

  constructor(
    private readonly max: number,
    private readonly name: string,
  ) {
    this.held = Buffer.allocUnsafe(max + 1);
  }

  feed(piece: Buffer): LineBatch {
    this.checkGzip(piece);
    this.bytes += piece.length;
    const lastEnd = piece.lastIndexOf(LF);
    let from = 0;
    if (lastEnd >= 0 && (this.heldLength > 0 || this.skipping)) {
      const end = piece.indexOf(LF);
      this.hold(piece, 0, end);
      this.endHeld();
      from = end + 1;
    }
    if (from <= lastEnd) this.splitWhole(piece.subarray(from, lastEnd + 1));
    this.hold(piece, lastEnd + 1, piece.length);
    return this.take();
  }

  /** Hands out what is left after the last piece; `rest` is one more piece. */
  finish(rest: Buffer): LineBatch {
    this.hold(rest, 0, rest.length);
    if (this.heldLength > 0) this.endHeld();
    return this.take();
  }

  private take(): LineBatch {
    const batch = { first: this.next, lines: this.lines, tooLong: this.tooLong, bytes: this.bytes };
    this.next += this.lines.length;
    this.lines = [];
    this.tooLong = [];
    return batch;
  }

  /** Splits a piece that ends with LF: decoded at once if every byte is one character, else line by line. */
  private splitWhole(piece: Buffer): void {
    const text = piece.toString('utf8');
    const aligned = text.length === piece.length; // decoding never makes a sequence longer, so this is exact
    for (let from = 0; from < piece.length; ) {
      const end = aligned ? text.indexOf('\n', from) : piece.indexOf(LF, from);
      if (aligned) {
        let stop = end > from && text.charCodeAt(end - 1) === CR ? end - 1 : end;
        if (stop - from > this.max) {
          stop = from + this.max;
          this.tooLong.push(this.lines.length);
        }
        this.lines.push(text.slice(from, stop));
      } else {
        this.add(piece, from, end);
      }
      from = end + 1;
    }
  }

  /** Adds one line given as bytes without LF. */
  private add(piece: Buffer, from: number, end: number): void {
    let stop = end > from && piece[end - 1] === CR ? end - 1 : end;
    if (stop - from > this.max) {
      stop = from + this.max;
      this.tooLong.push(this.lines.length);
    }
    const text = piece.toString('utf8', from, stop);
    const isFirst = this.next === 1 && this.lines.length === 0;
    this.lines.push(isFirst && text.startsWith('\ufeff') ? text.slice(1) : text);
  }

  /** Keeps bytes of an unfinished line; as soon as it is too long it is handed out and the rest skipped. */
  private hold(piece: Buffer, from: number, end: number): void {
    if (this.skipping) return;
    const taken = Math.min(end - from, this.max + 1 - this.heldLength);
    piece.copy(this.held, this.heldLength, from, from + taken);
    this.heldLength += taken;
    if (taken === end - from) return;
    this.held[this.max] = 0; // not the CR of a line end
    this.endHeld();
    this.skipping = true;
  }

  private endHeld(): void {
    if (!this.skipping) this.add(this.held, 0, this.heldLength);
    this.heldLength = 0;
    this.skipping = false;
  }

  private checkGzip(piece: Buffer): void {
    for (let i = 0; this.bytes + i < 2 && i < piece.length; i++) {
      this.magic = (this.magic << 8) | (piece[i] ?? 0);
      if (this.magic !== GZIP_MAGIC) continue;
      const advice = 'decompress it first, e.g. zcat FILE | ztlp replay -';
      const what = `${show(this.name)} is gzip-compressed: ${advice}`;
      throw new ZtlpError('malformed', what, { field: 'file', value: this.name });
    }
  }
}

/**
 * Reads the fields of one line from left to right; fields are separated by one space. The first field that is
 * wrong or missing sets `problem`; after that the methods only return 0, so a caller checks once at the end.
 */
export class FieldScanner {
  /** Unsigned 32-bit halves of the number that `hex` read last. */
  lo = 0;
  hi = 0;
  /** What is wrong, starting with the name of the field; empty while all is well. */
  problem = '';
  private text = '';
  private at = 0;

  /** Starts at the space (or the end) behind the first word, which is `length` characters long. */
  start(text: string, length: number): this {
    this.text = text;
    this.at = length;
    this.problem = '';
    return this;
  }

  /** A decimal number of at most 10 digits, perhaps negative. */
  decimal(name: string): number {
    const from = this.open(name);
    const negative = this.text.charCodeAt(this.at) === 0x2d;
    if (negative) this.at++;
    const value = this.digits(10);
    if (value < 0 || !this.closed()) return this.fail(name, from, 'a decimal number');
    return negative ? 0 - value : value;
  }

  /** Seconds, a point and six digits; returns microseconds. */
  time(name: string): number {
    const from = this.open(name);
    const whole = this.digits(10);
    const point = this.at++;
    const micros = this.digits(6);
    const good = whole >= 0 && whole < 2 ** 32 && micros >= 0 && this.at === point + 7 && this.closed();
    if (!good || this.text.charCodeAt(point) !== 0x2e) return this.fail(name, from, 'SECONDS.MICROSECONDS');
    return whole * 1e6 + micros;
  }

  /** A hexadecimal number of up to 64 bits, with or without 0x, into `lo` and `hi`; returns `lo`. */
  hex(name: string, prefix: '0x' | ''): number {
    const from = this.open(name);
    const { text } = this;
    const prefixed = prefix === '' || (text.charCodeAt(from) === 0x30 && text.charCodeAt(from + 1) === 0x78);
    const first = from + prefix.length;
    let lo = 0;
    let hi = 0;
    let at = first;
    for (; at < text.length; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0 || hi >>> 28 !== 0) break;
      hi = (hi << 4) | (lo >>> 28);
      lo = (lo << 4) | digit;
    }
    this.at = at;
    this.lo = lo >>> 0;
    this.hi = hi >>> 0;
    if (!prefixed || at === first || !this.closed()) {
      return this.fail(name, from, prefix === '' ? 'a hexadecimal number' : 'a 0x number of at most 64 bits');
    }
    return this.lo;
  }

  /** The next field as text. */
  word(name: string): string {
    const from = this.open(name);
    const end = this.text.indexOf(' ', from);
    this.at = end < 0 ? this.text.length : end;
    return this.text.slice(from, this.at);
  }

  /** Everything behind the next space; empty when there is nothing. */
  rest(): string {
    const text = this.text.slice(this.at + 1);
    this.at = this.text.length;
    return text;
  }

  /** Requires that only spaces are left. */
  end(): void {
    if (this.problem !== '' || this.at >= this.text.length) return;
    const left = this.text.slice(this.at).trim();
    if (left !== '') this.problem = `end of line: ${show(left)} is left over`;
  }

  /** Sets `problem` for field `name` unless there is one already. */
  fail(name: string, from: number | string, expected: string): 0 {
    if (this.problem !== '') return 0;
    const word = typeof from === 'string' ? from : (this.text.slice(from).split(' ', 1)[0] ?? '');
    this.problem = word === '' ? `${name}: is missing` : `${name}: ${show(word)} is not ${expected}`;
    return 0;
  }

  /** Steps over the separating space; returns where the field begins. */
  private open(name: string): number {
    if (this.at >= this.text.length) this.fail(name, '', '');
    return ++this.at;
  }

  /** True when the position is at the end of a field. */
  private closed(): boolean {
    return this.at >= this.text.length || this.text.charCodeAt(this.at) === 0x20;
  }

  /** Up to `most` decimal digits, or -1 when there is none. */
  private digits(most: number): number {
    const from = this.at;
    const end = Math.min(this.text.length, from + most);
    let value = 0;
    while (this.at < end) {
      const digit = this.text.charCodeAt(this.at) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      this.at++;
    }
    return this.at === from ? -1 : value;
  }
}

/** Value of a hexadecimal digit, or -1. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
