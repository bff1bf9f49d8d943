/** Where the bytes of a queue are in host memory: a list of pages, as queue contexts have it. */
import { add64, type U64 } from '../../core/u64.js';

/**
 * A buffer of pages that need not follow each other (B4: pas[], log_page_size, page_offset). One large page is a buffer with
 * a base address.
 *
 *   pages[0]             pages[1]             pages[2]
 *   +--------+-----------+--------------------+-----------+--------+
 *   | offset |  queue, byte 0 ...                                  |
 *   +--------+-----------+--------------------+-----------+--------+
 */
export interface QueueBuffer {
  /** Bus addresses. */
  readonly pages: readonly U64[];
  /** log2 of the bytes of a page: 12 to 31. */
  readonly logPageSize: number;
  /** Bytes from the start of the first page: a multiple of 64 below 4096 (page_offset). */
  readonly offset: number;
}

/** Bytes of host memory that follow each other. */
export interface Span {
  readonly address: U64;
  readonly length: number;
}

const TOP = 1n << 64n;

/** Whether the queue's `bytes` lie in the pages, and the pages in 64 bits of address. */
export function fits({ pages, logPageSize, offset }: QueueBuffer, bytes: number): boolean {
  const page = 2 ** logPageSize;
  if (pages.length * page < offset + bytes) return false;
  return pages.every((address) => BigInt(address) + BigInt(page) <= TOP);
}

/** Address of byte `at` of the queue. */
export function addressOf({ pages, logPageSize, offset }: QueueBuffer, at: number): U64 {
  const page = 2 ** logPageSize;
  const from = offset + at;
  const base = pages[Math.floor(from / page)];
  if (base === undefined) throw new RangeError(`byte ${at} is behind the queue`);
  return add64(base, from % page);
}

/** Bytes [at, at + length) of the queue, cut at the ends of pages. */
export function spansOf(buffer: QueueBuffer, at: number, length: number): Span[] {
  const page = 2 ** buffer.logPageSize;
  const spans: Span[] = [];
  for (let done = 0; done < length; ) {
    const rest = page - ((buffer.offset + at + done) % page);
    const bytes = Math.min(rest, length - done);
    spans.push({ address: addressOf(buffer, at + done), length: bytes });
    done += bytes;
  }
  return spans;
}

/** The same in a ring of `size` bytes (a power of two): what goes over its end goes on at its start. */
export function ringSpans(buffer: QueueBuffer, size: number, at: number, length: number): Span[] {
  const from = at % size;
  const first = Math.min(length, size - from);
  const head = spansOf(buffer, from, first);
  return first === length ? head : [...head, ...spansOf(buffer, 0, length - first)];
}
