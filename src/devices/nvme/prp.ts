/** Physical Region Pages (NVM Express 1.4, section 4.3): the pages of host memory that a command's data goes to. */
import { type Nvme, readHost, writeHost } from './controller.js';
import { prp, view } from './entry.js';
import { STATUS, type Status } from './status.js';

// A transfer of `length` bytes, pages of CC.MPS:
//
//   PRP Entry 1   any dword of a page: data up to the end of that page
//   PRP Entry 2   the rest fits in one page:  its address
//                 else:  address of a PRP list, from any qword of a page to the end of the page
//
//   list   [ page ][ page ] ... [ page ][ list ]      the last entry of a page is the next list, unless what is left
//                                        `--> [ page ][ page ] ...       of the data fits in the page that it names
//
// All entries but the first, and the next lists, have offset 0 in their pages.

/** Bytes that lie together in host memory. */
export interface Segment {
  readonly address: bigint;
  readonly length: number;
}

type Done = (outcome: readonly Segment[] | Status) => void;

/** Finds where the `length` bytes (1 or more) of `entry` are. Pages that follow each other become one segment. */
export function walk(nvme: Nvme, entry: Uint8Array, length: number, done: Done): void {
  const { pageBytes } = nvme.ctx.state;
  const first = prp(entry, 1);
  const second = prp(entry, 2);
  if (first % 4n !== 0n) {
    done(STATUS.PRP_OFFSET_INVALID);
    return;
  }
  const inFirst = Math.min(length, pageBytes - Number(first % BigInt(pageBytes)));
  const segments: Segment[] = [{ address: first, length: inFirst }];
  const rest = length - inFirst;
  if (rest === 0) {
    done(segments);
    return;
  }
  if (rest > pageBytes) {
    if (second % 8n !== 0n) {
      done(STATUS.PRP_OFFSET_INVALID);
      return;
    }
    readList(nvme, second, rest, segments, done);
    return;
  }
  if (second % BigInt(pageBytes) !== 0n) {
    done(STATUS.PRP_OFFSET_INVALID);
    return;
  }
  add(segments, second, rest);
  done(segments);
}

/**
 * Goes through the list at `address` for the last `rest` bytes. Each list but the first names at least as many pages as
 * fit behind one another, so that there are never more lists than pages.
 */
function readList(nvme: Nvme, address: bigint, rest: number, segments: Segment[], done: Done): void {
  const { pageBytes } = nvme.ctx.state;
  const wanted = Math.ceil(rest / pageBytes);
  const room = (pageBytes - Number(address % BigInt(pageBytes))) / 8;
  const isChained = wanted > room;
  readHost(nvme, address, 8 * Math.min(wanted, room), (list) => {
    if (list === undefined) return done(STATUS.DATA_TRANSFER_ERROR);
    const entries = view(list);
    let left = rest;
    for (let n = 0; n < (isChained ? room - 1 : wanted); n++) {
      const page = entries.getBigUint64(8 * n, true);
      if (page % BigInt(pageBytes) !== 0n) return done(STATUS.PRP_OFFSET_INVALID);
      const length = Math.min(left, pageBytes);
      add(segments, page, length);
      left -= length;
    }
    if (!isChained) return done(segments);
    const next = entries.getBigUint64(8 * (room - 1), true);
    if (next % BigInt(pageBytes) !== 0n) return done(STATUS.PRP_OFFSET_INVALID);
    readList(nvme, next, left, segments, done);
  });
}

function add(segments: Segment[], address: bigint, length: number): void {
  const last = segments.at(-1);
  if (last !== undefined && last.address + BigInt(last.length) === address)
    segments[segments.length - 1] = { address: last.address, length: last.length + length };
  else segments.push({ address, length });
}

/** Reads the `length` bytes that a command brings. */
export function takeData(
  nvme: Nvme,
  entry: Uint8Array,
  length: number,
  done: (outcome: Uint8Array | Status) => void,
): void {
  walk(nvme, entry, length, (segments) => {
    if (typeof segments === 'number') return done(segments);
    const data = new Uint8Array(length);
    let status: Status = STATUS.SUCCESS;
    let left = segments.length;
    let at = 0;
    for (const segment of segments) {
      const offset = at;
      at += segment.length;
      readHost(nvme, segment.address, segment.length, (bytes) => {
        if (bytes === undefined) status = STATUS.DATA_TRANSFER_ERROR;
        else data.set(bytes, offset);
        left--;
        if (left === 0) done(status === STATUS.SUCCESS ? data : status);
      });
    }
  });
}

/** Writes `data` to where a command wants it. Posted: only what never left the function is known to have failed. */
export function giveData(
  nvme: Nvme,
  entry: Uint8Array,
  data: Uint8Array,
  done: (status: Status) => void,
): void {
  walk(nvme, entry, data.length, (segments) => {
    if (typeof segments === 'number') return done(segments);
    let status: Status = STATUS.SUCCESS;
    let left = segments.length;
    let at = 0;
    for (const { address, length } of segments) {
      const bytes = data.subarray(at, at + length);
      at += length;
      writeHost(nvme, address, bytes, (isSent) => {
        if (!isSent) status = STATUS.DATA_TRANSFER_ERROR;
        left--;
        if (left === 0) done(status);
      });
    }
  });
}
