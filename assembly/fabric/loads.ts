// Floor 5: the requesters behind an end of a loaded link: writes without an answer, reads by tags.

import { Copy, copyBytes } from '../kernel/arena';
import { KIND_MRD32, KIND_MRD64, KIND_MWR32, KIND_MWR64, SPLIT_ALIGNED } from '../layout';
import {
  AT_ISSUE,
  hasRoom,
  NEVER,
  PORTS,
  queueTlp,
  TLP_BYTES,
  TLP_H0,
  TLP_H2,
  TLP_PAYLOAD,
  WAITING,
  wake,
} from '../link/port';
import {
  LATENCY_COLUMNS_LG2,
  LATENCY_ROWS,
  LATENCY_SLOTS,
  LINK_NP,
  LINK_P,
  LINK_TAGS,
  LOAD_HEADER_BITS,
  LOAD_LATENCY_MAX,
  LOAD_LATENCY_MIN,
  LOAD_LATENCY_SUM,
  LOAD_READ_ADDRESS,
  LOAD_READ_AT,
  LOAD_READ_BYTES,
  LOAD_READ_DONE,
  LOAD_READ_INTERVAL,
  LOAD_READ_NEXT,
  LOAD_READ_OUT,
  LOAD_READ_TAGS,
  LOAD_READ_TARGET,
  LOAD_READ_WINDOW,
  LOAD_READS,
  LOAD_TAG,
  LOAD_WRITE_ADDRESS,
  LOAD_WRITE_AT,
  LOAD_WRITE_BYTES,
  LOAD_WRITE_CUT,
  LOAD_WRITE_INTERVAL,
  LOAD_WRITE_NEXT,
  LOAD_WRITE_SOURCE,
  LOAD_WRITE_SPLIT,
  LOAD_WRITE_WAITS,
  LOAD_WRITE_WINDOW,
  LOAD_WRITES,
} from '../link-layout';
import { byteEnables, lengthDw } from '../tlp/bytes';
import { fmtTypeOf } from '../tlp/kinds';
import { requestPiece } from '../tlp/split';
import { complete, IS_STALLED, overheadOf } from './completer';
import { hasPayloadRoom, reserve, roomOf } from './inflight';

/** TLPs that wait when a requester without an interval adds another access. */
const FEW: u32 = 16;

// Words of a port that are this file's.
const TAGS_AT: usize = 752;
const LATENCIES_AT: usize = 756;

/** By tag: when it was sent (u64), where the next byte goes (u32), bytes to come (u32). */
const TAGS: usize = memory.data(2 * LINK_TAGS * 16, 16);
/** How many reads took how long, by port. */
export const LATENCIES: usize = memory.data(2 * LATENCY_SLOTS * 4, 16);

/** The requester at the begin of a run: the first access is issued at tick 0. */
export function resetLoad(port: usize): void {
  const n: usize = port == PORTS ? 0 : 1;
  store<u32>(port, <u32>(TAGS + n * LINK_TAGS * 16), TAGS_AT);
  const latencies = LATENCIES + n * LATENCY_SLOTS * 4;
  memory.fill(latencies, 0, LATENCY_SLOTS * 4);
  store<u32>(port, <u32>latencies, LATENCIES_AT);
  store<u64>(port, 0, LOAD_WRITE_NEXT);
  store<u64>(port, 0, LOAD_READ_NEXT);
  store<u32>(port, 0, LOAD_READ_OUT);
  store<u32>(port, 0, LOAD_READ_DONE);
  store<u32>(port, 0, LOAD_TAG);
  store<u64>(port, 0, LOAD_LATENCY_SUM);
  store<u64>(port, NEVER, LOAD_LATENCY_MIN);
  store<u64>(port, 0, LOAD_LATENCY_MAX);
  store<u64>(port, 0, AT_ISSUE);
}

/** What the requester at a port adds now, and when it adds the next. */
export function issue(port: usize, now: u64): void {
  const before = load<u32>(port, WAITING);
  let next = NEVER;
  if (load<u32>(port, LOAD_WRITES) != 0) {
    const interval = load<u64>(port, LOAD_WRITE_INTERVAL);
    const room = roomOf(load<u32>(port, LOAD_WRITE_BYTES));
    while (
      load<u32>(port, LOAD_WRITES) != 0 &&
      load<u64>(port, LOAD_WRITE_NEXT) <= now &&
      hasRoom(port, LINK_P, 1024) &&
      hasPayloadRoom(port, LINK_P, room)
    ) {
      if (waitsForRoom(port) && load<u32>(port, WAITING) >= FEW) break;
      issueWrite(port);
      const from = load<u32>(port, LOAD_WRITE_WAITS) != 0 ? now : load<u64>(port, LOAD_WRITE_NEXT);
      if (interval != 0) store<u64>(port, from + interval, LOAD_WRITE_NEXT);
    }
    // An access that is late because the queue is full goes in when a TLP has left: see `refill`.
    if (interval != 0 && load<u32>(port, LOAD_WRITES) != 0 && load<u64>(port, LOAD_WRITE_NEXT) > now)
      next = load<u64>(port, LOAD_WRITE_NEXT);
  }
  if (load<u32>(port, LOAD_READS) != 0) next = min(next, issueReads(port, now));
  store<u64>(port, next, AT_ISSUE);
  if (load<u32>(port, WAITING) != before) wake(port, now);
}

/** Reads as far as tags are free; returns when the next one is due: NEVER when a completion has to come first. */
function issueReads(port: usize, now: u64): u64 {
  const tags = load<u32>(port, LOAD_READ_TAGS);
  while (
    load<u32>(port, LOAD_READS) != 0 &&
    load<u32>(port, LOAD_READ_OUT) < tags &&
    load<u64>(port, LOAD_READ_NEXT) <= now
  ) {
    issueRead(port, now);
    const interval = load<u64>(port, LOAD_READ_INTERVAL);
    store<u64>(port, max(now, load<u64>(port, LOAD_READ_NEXT)) + interval, LOAD_READ_NEXT);
  }
  if (load<u32>(port, LOAD_READS) == 0 || load<u32>(port, LOAD_READ_OUT) >= tags) return NEVER;
  return load<u64>(port, LOAD_READ_NEXT);
}

/** A TLP has left: a requester without an interval keeps the queue from running dry; what waits for room may find it. */
export function refill(port: usize, now: u64): void {
  if (load<u32>(port, IS_STALLED) != 0) {
    store<u32>(port, 0, IS_STALLED);
    complete(port, now);
  }
  if (load<u32>(port, WAITING) < looksBelow(port, now)) issue(port, now);
}

/** The requester looks at the queue after a TLP has left if fewer than this still wait. */
export function looksBelow(port: usize, now: u64): u32 {
  if (load<u32>(port, LOAD_WRITES) == 0) return 0;
  if (load<u64>(port, LOAD_WRITE_INTERVAL) == 0) return FEW;
  if (load<u64>(port, LOAD_WRITE_NEXT) > now) return 0;
  return waitsForRoom(port) ? FEW : ~0;
}

/** Writes are not due at times of their own: the next one is there when the queue runs low. */
function waitsForRoom(port: usize): bool {
  return load<u64>(port, LOAD_WRITE_INTERVAL) == 0 || load<u32>(port, LOAD_WRITE_WAITS) != 0;
}

/** One access: its data are copied once, and its TLPs point at them. */
function issueWrite(port: usize): void {
  store<u32>(port, load<u32>(port, LOAD_WRITES) - 1, LOAD_WRITES);
  const bytes = load<u32>(port, LOAD_WRITE_BYTES);
  const offset = load<u32>(port, LOAD_WRITE_AT);
  store<u32>(port, (offset + bytes) & (load<u32>(port, LOAD_WRITE_WINDOW) - 1), LOAD_WRITE_AT);
  const address = load<u64>(port, LOAD_WRITE_ADDRESS) + offset;
  const shift = <u32>address & 3;
  let data = reserve(port, LINK_P, roomOf(bytes)) + shift;
  copyBytes(data, load<u32>(port, LOAD_WRITE_SOURCE), bytes);
  const cut = load<u32>(port, LOAD_WRITE_CUT);
  const policy = load<u32>(port, LOAD_WRITE_SPLIT);
  const isWide = address >> 32 != 0;
  const word0 = (fmtTypeOf(isWide ? KIND_MWR64 : KIND_MWR32) << 24) | load<u32>(port, LOAD_HEADER_BITS);
  const overhead = overheadOf(port) + (isWide ? 16 : 12);
  let low = <u32>address;
  let left = bytes;
  // Pieces alike: all but the address stays the same.
  if (policy == SPLIT_ALIGNED && ((low | cut) & 3) == 0 && (low & (cut - 1)) == 0 && cut > 4) {
    const first = <u64>(word0 | ((cut >> 2) & 0x3ff)) | ((<u64>0xff) << 32);
    const sizes = (<u64>(cut | ((overhead + cut) << 16))) << 32;
    while (left >= cut) {
      const tlp = queueTlp(port, LINK_P);
      store<u64>(tlp, first, TLP_H0);
      store<u64>(tlp, isWide ? (address >> 32) | ((<u64>low) << 32) : <u64>low, TLP_H2);
      store<u64>(tlp, <u64>(<u32>data) | sizes, TLP_PAYLOAD);
      low += cut;
      data += cut;
      left -= cut;
    }
  }
  while (left > 0) {
    const piece = requestPiece(low, left, cut, policy);
    const length = lengthDw(low, piece);
    const tlp = queueTlp(port, LINK_P);
    store<u64>(tlp, <u64>(word0 | (length & 0x3ff)) | ((<u64>byteEnables(low, piece)) << 32), TLP_H0);
    store<u64>(tlp, isWide ? (address >> 32) | ((<u64>(low & ~3)) << 32) : <u64>(low & ~3), TLP_H2);
    const wire = overhead + (length << 2);
    store<u64>(
      tlp,
      <u64>(<u32>data - (low & 3)) | ((<u64>((length << 2) | (wire << 16))) << 32),
      TLP_PAYLOAD,
    );
    low += piece;
    data += piece;
    left -= piece;
  }
}

function tagOf(port: usize, tag: u32): usize {
  return <usize>load<u32>(port, TAGS_AT) + ((<usize>(tag & (LINK_TAGS - 1))) << 4);
}

function issueRead(port: usize, now: u64): void {
  store<u32>(port, load<u32>(port, LOAD_READS) - 1, LOAD_READS);
  store<u32>(port, load<u32>(port, LOAD_READ_OUT) + 1, LOAD_READ_OUT);
  const bytes = load<u32>(port, LOAD_READ_BYTES);
  const mask = load<u32>(port, LOAD_READ_WINDOW) - 1;
  let offset = load<u32>(port, LOAD_READ_AT);
  // A request does not cross a 4 KiB boundary (2.2.7): it begins there instead.
  const inPage = (<u32>load<u64>(port, LOAD_READ_ADDRESS) + offset) & 4095;
  if (inPage + bytes > 4096) offset = (offset + 4096 - inPage) & mask;
  store<u32>(port, (offset + bytes) & mask, LOAD_READ_AT);
  const tag = load<u32>(port, LOAD_TAG);
  store<u32>(port, (tag + 1) & (LINK_TAGS - 1), LOAD_TAG);
  const entry = tagOf(port, tag);
  store<u64>(entry, now);
  store<u64>(entry, <u64>(load<u32>(port, LOAD_READ_TARGET) + (offset & 0xffff)) | ((<u64>bytes) << 32), 8);
  const address = load<u64>(port, LOAD_READ_ADDRESS) + offset;
  const low = <u32>address;
  const isWide = address >> 32 != 0;
  const length = lengthDw(low, bytes);
  const kind: u32 = isWide ? KIND_MRD64 : KIND_MRD32;
  const word0 = (fmtTypeOf(kind) << 24) | load<u32>(port, LOAD_HEADER_BITS) | tagBits(tag) | (length & 0x3ff);
  const tlp = queueTlp(port, LINK_NP);
  store<u64>(tlp, <u64>word0 | ((<u64>(((tag & 0xff) << 8) | byteEnables(low, bytes))) << 32), TLP_H0);
  store<u64>(tlp, isWide ? (address >> 32) | ((<u64>(low & ~3)) << 32) : <u64>(low & ~3), TLP_H2);
  const wire: u32 = overheadOf(port) + (isWide ? 16 : 12);
  store<u64>(tlp, (<u64>wire) << 48, TLP_PAYLOAD);
}

/** Tag bits 9 and 8 in DW0 (2.2.6.2). */
function tagBits(tag: u32): u32 {
  return (((tag >> 9) & 1) << 23) | (((tag >> 8) & 1) << 19);
}

/** Counts a latency in its slot: up to 255 ticks exactly, then in steps below 1/128 of it. */
function countLatency(port: usize, latency: u64): void {
  const ticks = min(latency, ((<u64>1) << (LATENCY_ROWS + LATENCY_COLUMNS_LG2)) - 1);
  const bits = 64 - <u32>clz(ticks);
  const row = bits > LATENCY_COLUMNS_LG2 + 1 ? bits - (LATENCY_COLUMNS_LG2 + 1) : 0;
  const slot = (row << LATENCY_COLUMNS_LG2) + <u32>(ticks >> row);
  const at = <usize>load<u32>(port, LATENCIES_AT) + ((<usize>slot) << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** A completion: its data go where the read wanted them; the last one frees the tag. */
export function takeCompletion(port: usize, now: u64, tlp: usize, word0: u32): void {
  const word2 = load<u32>(tlp, TLP_H2);
  const tag = ((word2 >> 8) & 0xff) | (((word0 >> 19) & 1) << 8) | (((word0 >> 23) & 1) << 9);
  const entry = tagOf(port, tag);
  const skip = word2 & 3;
  const left = load<u32>(entry, 12);
  const bytes = min(left, <u32>load<u16>(tlp, TLP_BYTES) - skip);
  const to: usize = load<u32>(entry, 8);
  Copy.data(to, load<u32>(tlp, TLP_PAYLOAD) + skip, bytes);
  store<u64>(entry, <u64>(<u32>to + bytes) | ((<u64>(left - bytes)) << 32), 8);
  if (left != bytes) return;
  const latency = now - load<u64>(entry);
  store<u64>(port, load<u64>(port, LOAD_LATENCY_SUM) + latency, LOAD_LATENCY_SUM);
  store<u64>(port, min(load<u64>(port, LOAD_LATENCY_MIN), latency), LOAD_LATENCY_MIN);
  store<u64>(port, max(load<u64>(port, LOAD_LATENCY_MAX), latency), LOAD_LATENCY_MAX);
  countLatency(port, latency);
  store<u32>(port, load<u32>(port, LOAD_READ_DONE) + 1, LOAD_READ_DONE);
  store<u32>(port, load<u32>(port, LOAD_READ_OUT) - 1, LOAD_READ_OUT);
  if (load<u32>(port, LOAD_READS) != 0) readAgain(port, now);
}

/** A tag is free again. Mostly nothing else is to be issued, and the next read takes it. */
function readAgain(port: usize, now: u64): void {
  const isSimple =
    load<u32>(port, LOAD_WRITES) == 0 &&
    load<u32>(port, LOAD_READ_OUT) + 1 == load<u32>(port, LOAD_READ_TAGS) &&
    load<u64>(port, LOAD_READ_NEXT) <= now;
  if (!isSimple) {
    issue(port, now);
    return;
  }
  issueRead(port, now);
  store<u64>(port, now + load<u64>(port, LOAD_READ_INTERVAL), LOAD_READ_NEXT);
  store<u64>(port, NEVER, AT_ISSUE);
  wake(port, now);
}
