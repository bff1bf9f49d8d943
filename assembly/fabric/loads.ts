// Floor 5: the requesters and the completer behind an end of a link: writes without answer, reads by tags, completions.

import { Copy, copyBytes, hostBytes, hostMemory } from '../kernel/arena';
import {
  KIND_CPLD,
  KIND_MRD32,
  KIND_MRD64,
  KIND_MWR32,
  KIND_MWR64,
  LATENCY_COLUMNS_LG2,
  LATENCY_ROWS,
  LATENCY_SLOTS,
  LINK_CPL,
  LINK_MPS,
  LINK_NP,
  LINK_P,
  LINK_TAGS,
  LOAD_COMPLETER_DELAY,
  LOAD_COMPLETION_POLICY,
  LOAD_DIGEST_BYTES,
  LOAD_HEADER_BITS,
  LOAD_HOST_BASE,
  LOAD_LATENCY_MAX,
  LOAD_LATENCY_MIN,
  LOAD_LATENCY_SUM,
  LOAD_RCB,
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
  LOAD_WRITE_WINDOW,
  LOAD_WRITES,
  SPLIT_ALIGNED,
  TLP_OVERHEAD_BYTES,
} from '../layout';
import {
  ACKED_SEQUENCE,
  AT_ISSUE,
  AT_READY,
  hasRoom,
  NEVER,
  NEXT_SEQUENCE,
  PORTS,
  QUEUED,
  queueTlp,
  replayAt,
  SENT,
  TLP_BYTES,
  TLP_CLASS,
  TLP_H0,
  TLP_H1,
  TLP_H2,
  TLP_H3,
  TLP_PAYLOAD,
  tlpAt,
  WAITING,
  wake,
} from '../link/port';
import { byteEnables, enabledBytes, firstOffset, lengthDw } from '../tlp/bytes';
import { fmtTypeOf, isFourDw } from '../tlp/kinds';
import { completionPiece, requestPiece } from '../tlp/split';
import { routedMemory, routeMemory, windowFirst, windowHolds, windowMemory } from './functions';

/** TLPs that wait when a requester without an interval adds another access. */
const FEW: u32 = 16;

// Words of a port that are this file's.
const PAYLOAD_RING: usize = 700; // data in flight from this end: posted requests, behind them as much for completions
const PAYLOAD_BYTES: usize = 704; // for each of them
const PAYLOAD_HEADS: usize = 708; // where the next data of posted requests go; 8 bytes on, of completions
const PAYLOAD_ENDS: usize = 720; // up to where it is free, likewise
const READY_HEAD: usize = 736;
const READY_TAIL: usize = 740;
const READY_AT: usize = 744;
const TAGS_AT: usize = 748;
const LATENCIES_AT: usize = 756;
export const IS_STALLED: usize = 752; // the next completion waits for room

/** By tag: when it was sent (u64), where the next byte goes (u32), bytes to come (u32). */
const TAGS: usize = memory.data(2 * LINK_TAGS * 16, 16);
/** How many reads took how long, by port. */
export const LATENCIES: usize = memory.data(2 * LATENCY_SLOTS * 4, 16);
/** Reads whose completions come later: time (u64), request (u32). */
const READY_SLOTS: u32 = 2048;
const READY_RING: usize = memory.data(2 * 2048 * 16, 16);
/** Bytes after which a payload ring looks whether its front is free. */
const PAYLOAD_FRONT: u32 = 1 << 14;

/** `bytes` of memory at `at`, a power of two, for the data in flight from this end. */
export function placePayload(port: usize, at: usize, bytes: u32): void {
  store<u32>(port, <u32>at, PAYLOAD_RING);
  store<u32>(port, bytes >> 1, PAYLOAD_BYTES);
}

/** The requester and the completer at the begin of a run: the first access is issued at tick 0. */
export function resetLoad(port: usize): void {
  const n: usize = port == PORTS ? 0 : 1;
  store<u32>(port, <u32>(READY_RING + n * <usize>READY_SLOTS * 16), READY_AT);
  store<u32>(port, <u32>(TAGS + n * LINK_TAGS * 16), TAGS_AT);
  const latencies = LATENCIES + n * LATENCY_SLOTS * 4;
  memory.fill(latencies, 0, LATENCY_SLOTS * 4);
  store<u32>(port, <u32>latencies, LATENCIES_AT);
  store<u64>(port, 0, READY_HEAD);
  store<u32>(port, 0, IS_STALLED);
  store<u32>(port, 0, PAYLOAD_HEADS);
  store<u32>(port, 0, PAYLOAD_HEADS + 8);
  store<u32>(port, 0, PAYLOAD_ENDS);
  store<u32>(port, 0, PAYLOAD_ENDS + 8);
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
      if (interval == 0 && load<u32>(port, WAITING) >= FEW) break;
      issueWrite(port);
      if (interval != 0) store<u64>(port, load<u64>(port, LOAD_WRITE_NEXT) + interval, LOAD_WRITE_NEXT);
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
  return load<u64>(port, LOAD_WRITE_NEXT) <= now ? ~0 : 0;
}

/** Where the data of a class stand: posted requests or completions. Each class frees its bytes in order. */
function payloadOf(port: usize, kind: u32): usize {
  const ring: usize = load<u32>(port, PAYLOAD_RING);
  return kind == LINK_P ? ring : ring + load<u32>(port, PAYLOAD_BYTES);
}

/**
 * True when `bytes` more of data in flight have room. The ring begins again at the front as soon as that is free, so that
 * a link with little in flight stays in the cache.
 */
function hasPayloadRoom(port: usize, kind: u32, bytes: u32): bool {
  const at = port + ((<usize>kind) << 2);
  const head = load<u32>(at, PAYLOAD_HEADS);
  if (head + bytes <= load<u32>(at, PAYLOAD_ENDS)) return true;
  const oldest = oldestPayload(port, kind);
  let end: u32 = load<u32>(port, PAYLOAD_BYTES);
  if (oldest == ~0) store<u32>(at, 0, PAYLOAD_HEADS);
  else if (oldest > head) end = oldest;
  else if (oldest > bytes && head >= PAYLOAD_FRONT) {
    store<u32>(at, 0, PAYLOAD_HEADS);
    end = oldest;
  } else end = min(end, head + PAYLOAD_FRONT);
  // One byte stays free: an end that meets the oldest byte is a full ring, not an empty one.
  if (end == oldest) end -= 1;
  store<u32>(at, end, PAYLOAD_ENDS);
  return load<u32>(at, PAYLOAD_HEADS) + bytes <= end;
}

/** Where the oldest data of a class stand that may still be sent; all ones: there are none. */
function oldestPayload(port: usize, kind: u32): u32 {
  const entry = port + ((<usize>kind) << 2);
  const last = load<u32>(port, NEXT_SEQUENCE);
  let tlp: usize = 0;
  for (let sequence = load<u32>(port, ACKED_SEQUENCE); sequence != last; sequence++) {
    const sent: usize = load<u32>(replayAt(port, sequence));
    if (load<u32>(sent, TLP_CLASS) == kind) {
      tlp = sent;
      break;
    }
  }
  if (tlp == 0) {
    const sent = load<u32>(entry, SENT);
    if (sent == load<u32>(entry, QUEUED)) return ~0;
    tlp = tlpAt(port, kind, sent);
  }
  return load<u32>(tlp, TLP_PAYLOAD) - <u32>payloadOf(port, kind);
}

/** `bytes` for data in flight from this end, where `hasPayloadRoom` has said that they are free. */
function reserve(port: usize, kind: u32, bytes: u32): usize {
  const at = port + ((<usize>kind) << 2);
  const head = load<u32>(at, PAYLOAD_HEADS);
  store<u32>(at, head + bytes, PAYLOAD_HEADS);
  return payloadOf(port, kind) + head;
}

/** Bytes in a payload ring for an access: whole vectors, and the bytes in front of the first DW. */
function roomOf(bytes: u32): u32 {
  return (bytes + 3 + 31) & ~31;
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
  const offset = load<u32>(port, LOAD_READ_AT);
  store<u32>(port, (offset + bytes) & (load<u32>(port, LOAD_READ_WINDOW) - 1), LOAD_READ_AT);
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

/** Wire bytes of a TLP beside header and data: framing, sequence number, LCRC, and ECRC if there is one. */
function overheadOf(port: usize): u32 {
  return TLP_OVERHEAD_BYTES + load<u32>(port, LOAD_DIGEST_BYTES);
}

/** Tag bits 9 and 8 in DW0 (2.2.6.2). */
function tagBits(tag: u32): u32 {
  return (((tag >> 9) & 1) << 23) | (((tag >> 8) & 1) << 19);
}

export function addressOf(tlp: usize, fmtType: u32): u64 {
  const high = load<u32>(tlp, TLP_H2);
  return isFourDw(fmtType) ? ((<u64>high) << 32) | load<u32>(tlp, TLP_H3) : <u64>high;
}

/** Memory behind this end: BARs below, host memory above; 0: nobody claims it. */
export function memoryAt(port: usize, address: u64, bytes: u32): usize {
  if (port == PORTS) {
    const offset = address - load<u64>(port, LOAD_HOST_BASE);
    return offset < hostBytes && bytes <= hostBytes - <u32>offset ? hostMemory + <usize>offset : 0;
  }
  // Most go where the one before went.
  if (windowHolds(address, bytes)) {
    const memory = windowMemory();
    return memory == 0 ? 0 : memory + <usize>(<u32>(address - windowFirst()));
  }
  return routeMemory(address, bytes) ? routedMemory : 0;
}

function readyAt(port: usize, index: u32): usize {
  return <usize>load<u32>(port, READY_AT) + ((<usize>(index & (READY_SLOTS - 1))) << 4);
}

/** The completer answers a read after its delay. */
export function defer(port: usize, now: u64, tlp: usize): void {
  const head = load<u32>(port, READY_HEAD);
  const at = readyAt(port, head);
  const time = now + load<u64>(port, LOAD_COMPLETER_DELAY);
  store<u64>(at, time);
  store<u32>(at, <u32>tlp, 8);
  store<u32>(port, head + 1, READY_HEAD);
  if (head == load<u32>(port, READY_TAIL)) store<u64>(port, time, AT_READY);
}

/** The next read has its data: one completion, or as many as MPS and RCB make of it. */
export function complete(port: usize, now: u64): void {
  const tail = load<u32>(port, READY_TAIL);
  const tlp: usize = load<u32>(readyAt(port, tail), 8);
  const word0 = load<u32>(tlp, TLP_H0);
  const coded = word0 & 0x3ff;
  let left = coded == 0 ? 1024 : coded;
  const room = roomOf(left << 2);
  if (!hasRoom(port, LINK_CPL, 64) || !hasPayloadRoom(port, LINK_CPL, room)) {
    store<u64>(port, NEVER, AT_READY);
    store<u32>(port, 1, IS_STALLED);
    return;
  }
  store<u32>(port, tail + 1, READY_TAIL);
  // After a wait for room the next one may be late already.
  const next = tail + 1 == load<u32>(port, READY_HEAD) ? NEVER : max(now, load<u64>(readyAt(port, tail + 1)));
  store<u64>(port, next, AT_READY);
  const word1 = load<u32>(tlp, TLP_H1);
  let address = addressOf(tlp, word0 >>> 24);
  let from = memoryAt(port, address, left << 2);
  const data = reserve(port, LINK_CPL, room);
  if (from != 0) Copy.data(data, from, left << 2);
  from = data;
  const enables = word1 & 0xff;
  let offset = firstOffset(enables & 0xf);
  let bytes = enabledBytes(left, enables & 0xf, enables >> 4);
  const mps = load<u32>(port, LINK_MPS);
  const rcb = load<u32>(port, LOAD_RCB);
  const policy = load<u32>(port, LOAD_COMPLETION_POLICY);
  const kept = (fmtTypeOf(KIND_CPLD) << 24) | (word0 & 0x00fc_3000) | load<u32>(port, LOAD_HEADER_BITS);
  const overhead = overheadOf(port) + 12;
  while (left > 0) {
    const piece = completionPiece(<u32>address, left, mps, rcb, policy);
    const cpl = queueTlp(port, LINK_CPL);
    store<u64>(cpl, <u64>(kept | (piece & 0x3ff)) | ((<u64>(bytes & 0xfff)) << 32), TLP_H0);
    store<u64>(cpl, <u64>((word1 & 0xffff_ff00) | (<u32>address & 0x7c) | offset), TLP_H2);
    const wire = overhead + (piece << 2);
    store<u64>(cpl, <u64>(<u32>from) | ((<u64>((piece << 2) | (wire << 16))) << 32), TLP_PAYLOAD);
    bytes -= min(bytes, (piece << 2) - offset);
    offset = 0;
    address += piece << 2;
    from += piece << 2;
    left -= piece;
  }
  wake(port, now);
}

/** Counts a latency in its slot: up to 128 ticks exactly, then in steps below 1/128 of it. */
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
