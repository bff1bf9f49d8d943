/** Opens trace files and cuts them into lines, in constant memory however large the file or the line is. */
import { constants, createReadStream, fstatSync } from 'node:fs';
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
  if (path === '-') {
    // Node takes a directory there for an empty file.
    if (isDirectory(0))
      throw new ZtlpError('io', 'standard input is a directory', { field: 'file', value: path });
    return { stream: guarded(() => process.stdin, 'standard input'), size: undefined };
  }
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

function isDirectory(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isDirectory();
  } catch {
    return false; // closed: reading says so
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
      const advice = 'decompress it first, e.g. zcat FILE, and give - for standard input';
      const what = `${show(this.name)} is gzip-compressed: ${advice}`;
      throw new ZtlpError('malformed', what, { field: 'file', value: this.name });
    }
  }
}
