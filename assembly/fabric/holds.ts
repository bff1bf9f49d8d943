// Floor 5: between the fabric and a port: what waits for its time before it is queued, and the data of what is on its way.
//
//   ring of descriptors ── hold: requests (AT_ISSUE) | answers (AT_READY) ──> queue of the port ──> wire ──> ring again
//
// Each end of a link has two holds, first in first out: what its requester issues, and what its completer answers. The data
// stand in a ring per end, with four words before them that a link does not carry but a descriptor has:
//
//   | kind, flags, slot | prefix | cause | serial number of the access, bit 31: its last posted TLP | data ...

import { copyBytes } from '../kernel/arena';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_CAUSE,
  DESCRIPTOR_H0,
  DESCRIPTOR_H2,
  DESCRIPTOR_KIND,
  DESCRIPTOR_PAYLOAD,
  DESCRIPTOR_TICK,
  DESCRIPTOR_WIRE,
  KIND_CPL,
  KIND_CPLDLK,
  KIND_MSG,
  KIND_MSGD,
  KIND_MWR32,
  KIND_MWR64,
} from '../layout';
import {
  AT_ISSUE,
  AT_READY,
  hasRoom,
  NEVER,
  PORT_STRIDE,
  PORTS,
  QUEUE_ROOM,
  QUEUED,
  queueTlp,
  SENT,
  TLP_BYTES,
  TLP_H0,
  TLP_H2,
  TLP_PAYLOAD,
  TLP_WIRE,
  wake,
} from '../link/port';
import { END_TAGS, LINK_CPL, LINK_MOST, LINK_NP, LINK_P } from '../link-layout';

// The words of an end.
const ISSUE_HEAD: usize = 0;
const ISSUE_TAIL: usize = 4;
const READY_HEAD: usize = 8;
const READY_TAIL: usize = 12;
const READY_LAST: usize = 16; // u64: answers leave in the order of their requests
const ISSUE_NEXT: usize = 24; // u64, the first moment at which the requester may issue again
const OUTSTANDING: usize = 32; // non-posted requests
const DATA_HEAD: usize = 36;
const DATA_AT: usize = 40; // ring of the data
const HOLDS_AT: usize = 44;
const END_LG2: usize = 6;
const ENDS: usize = memory.data(2 * LINK_MOST * 64, 16);

// A TLP on hold: time (u64), header DWs, then as the link has them where the data stand, bytes and wire bytes; class.
const HOLD_H0: usize = 8;
const HOLD_H2: usize = 16;
const HOLD_PAYLOAD: usize = 24;
const HOLD_CLASS: usize = 32;
const HOLD_LG2: u32 = 6;

const SIDE_BYTES: u32 = 16;
export const SIDE_SERIAL: usize = 12;
export const SERIAL_LAST: u32 = 0x8000_0000;
/** Of what a function writes: with its slot. Its requests follow each other, the last of each is marked. */
export const SERIAL_DMA: u32 = 0x4000_0000;

/** Answers that stand in the queue of a port; the others stay on hold. Enough that it never runs dry. */
const FEW: u32 = 64;

let holdMask: u32 = 0;
let dataMask: u32 = 0;

/** Bytes that the holds and the data of a link take: `holds` entries each, `data` bytes an end, both powers of two. */
export function holdBytes(holds: u32, data: u32): u32 {
  return 2 * (((2 * holds) << HOLD_LG2) + data);
}

function endOf(port: usize): usize {
  return ENDS + (((port - PORTS) / PORT_STRIDE) << END_LG2);
}

/** The two ends of a link with nothing on its way; their rings stand at `at`. */
export function resetHolds(first: usize, at: usize, holds: u32, data: u32): void {
  holdMask = holds - 1;
  dataMask = data - 1;
  const each = holdBytes(holds, data) >> 1;
  for (let n: usize = 0; n < 2; n++) {
    const end = endOf(first + n * PORT_STRIDE);
    memory.fill(end, 0, (<usize>1) << END_LG2);
    store<u32>(end, <u32>at + <u32>n * each, HOLDS_AT);
    store<u32>(end, <u32>at + <u32>n * each + ((2 * holds) << HOLD_LG2), DATA_AT);
  }
}

export function classOf(kind: u32): u32 {
  if (kind >= <u32>KIND_CPL && kind <= <u32>KIND_CPLDLK) return LINK_CPL;
  return kind == KIND_MWR32 || kind == KIND_MWR64 || kind == KIND_MSG || kind == KIND_MSGD ? LINK_P : LINK_NP;
}

/** Room for `bytes` of data with their words before them; answers where the words stand. */
function reserve(end: usize, bytes: u32): usize {
  const needed = SIDE_BYTES + ((bytes + 15) & ~15);
  let head = load<u32>(end, DATA_HEAD);
  const rest = dataMask + 1 - (head & dataMask);
  if (needed > rest) head += rest;
  store<u32>(end, head + needed, DATA_HEAD);
  return <usize>(load<u32>(end, DATA_AT) + (head & dataMask));
}

/** Copies the TLP at descriptor `at` into `hold`; answers where its words stand. */
function fill(end: usize, hold: usize, at: usize, time: u64, kind: u32, serial: u32): usize {
  const bytes = load<u32>(at, DESCRIPTOR_BYTES);
  const side = reserve(end, bytes);
  store<u64>(side, load<u64>(at, DESCRIPTOR_KIND)); // and the prefix
  store<u64>(side, <u64>load<u32>(at, DESCRIPTOR_CAUSE) | ((<u64>serial) << 32), 8);
  if (bytes != 0) copyBytes(side + SIDE_BYTES, load<u32>(at, DESCRIPTOR_PAYLOAD), bytes);
  store<u64>(hold, time);
  store<u64>(hold, load<u64>(at, DESCRIPTOR_H0), HOLD_H0);
  store<u64>(hold, load<u64>(at, DESCRIPTOR_H2), HOLD_H2);
  const sizes = bytes | (load<u32>(at, DESCRIPTOR_WIRE) << 16);
  store<u64>(hold, <u64>(<u32>side + SIDE_BYTES) | ((<u64>sizes) << 32), HOLD_PAYLOAD);
  store<u32>(hold, kind, HOLD_CLASS);
  return side;
}

function issueAt(end: usize, index: u32): usize {
  return <usize>load<u32>(end, HOLDS_AT) + ((<usize>(index & holdMask)) << HOLD_LG2);
}

function readyAt(end: usize, index: u32): usize {
  return issueAt(end, index) + ((<usize>(holdMask + 1)) << HOLD_LG2);
}

/** When the requester at this end may issue a request that it has at `time`. */
export function issueTime(port: usize, time: u64): u64 {
  return max(time, load<u64>(endOf(port), ISSUE_NEXT));
}

/** The requester at this end issues the TLP at descriptor `at` at `time`, and nothing before `next`. */
export function holdRequest(port: usize, at: usize, time: u64, next: u64, serial: u32): usize {
  const end = endOf(port);
  const head = load<u32>(end, ISSUE_HEAD);
  // Also in the release build: what would be overwritten has not been sent.
  if (head - load<u32>(end, ISSUE_TAIL) > holdMask) unreachable();
  const side = fill(end, issueAt(end, head), at, time, classOf(load<u8>(at, DESCRIPTOR_KIND)), serial);
  store<u32>(end, head + 1, ISSUE_HEAD);
  store<u64>(end, next, ISSUE_NEXT);
  if (head == load<u32>(end, ISSUE_TAIL)) store<u64>(port, time, AT_ISSUE);
  return side;
}

/** The completer at this end sends the TLP at descriptor `at` at `time`, or after those before it. */
export function holdAnswer(port: usize, at: usize, time: u64, serial: u32): void {
  const end = endOf(port);
  const head = load<u32>(end, READY_HEAD);
  if (head - load<u32>(end, READY_TAIL) > holdMask) unreachable();
  const ready = max(time, load<u64>(end, READY_LAST));
  fill(end, readyAt(end, head), at, ready, classOf(load<u8>(at, DESCRIPTOR_KIND)), serial);
  store<u32>(end, head + 1, READY_HEAD);
  store<u64>(end, ready, READY_LAST);
  if (head == load<u32>(end, READY_TAIL)) store<u64>(port, ready, AT_READY);
}

function queue(port: usize, hold: usize, kind: u32): void {
  const tlp = queueTlp(port, kind);
  store<u64>(tlp, load<u64>(hold, HOLD_H0), TLP_H0);
  store<u64>(tlp, load<u64>(hold, HOLD_H2), TLP_H2);
  store<u64>(tlp, load<u64>(hold, HOLD_PAYLOAD), TLP_PAYLOAD);
}

/** Queues the requests whose time has come, as far as tags and the queue allow. */
export function issue(port: usize, now: u64): void {
  const end = endOf(port);
  const head = load<u32>(end, ISSUE_HEAD);
  let tail = load<u32>(end, ISSUE_TAIL);
  let next = NEVER;
  while (tail != head) {
    const hold = issueAt(end, tail);
    next = load<u64>(hold);
    if (next > now) break;
    next = NEVER; // a completion, or what is sent, goes on
    const kind = load<u32>(hold, HOLD_CLASS);
    // All that there can be: a request that waits for credits must not hold one of another class (2.6.1).
    if (!hasRoom(port, kind, 1)) break;
    if (kind == LINK_NP) {
      const out = load<u32>(end, OUTSTANDING);
      if (out >= load<u32>(port, END_TAGS)) break;
      store<u32>(end, out + 1, OUTSTANDING);
    }
    queue(port, hold, kind);
    tail += 1;
  }
  store<u64>(port, next, AT_ISSUE);
  if (tail == load<u32>(end, ISSUE_TAIL)) return;
  store<u32>(end, tail, ISSUE_TAIL);
  wake(port, now);
}

/** Queues the answers whose time has come. */
export function answer(port: usize, now: u64): void {
  const end = endOf(port);
  const head = load<u32>(end, READY_HEAD);
  let tail = load<u32>(end, READY_TAIL);
  let next = NEVER;
  while (tail != head) {
    const hold = readyAt(end, tail);
    next = load<u64>(hold);
    if (next > now) break;
    next = NEVER;
    const kind = load<u32>(hold, HOLD_CLASS);
    if (!hasRoom(port, kind, QUEUE_ROOM - FEW)) break;
    queue(port, hold, kind);
    tail += 1;
  }
  store<u64>(port, next, AT_READY);
  if (tail == load<u32>(end, READY_TAIL)) return;
  store<u32>(end, tail, READY_TAIL);
  wake(port, now);
}

/** The port has sent something, or a tag is free: what could not be queued is looked at again. */
export function retry(port: usize, now: u64): void {
  const end = endOf(port);
  if (load<u64>(port, AT_ISSUE) == NEVER && requestsOnHold(port) != 0) store<u64>(port, now, AT_ISSUE);
  if (load<u64>(port, AT_READY) == NEVER && load<u32>(end, READY_HEAD) != load<u32>(end, READY_TAIL))
    store<u64>(port, now, AT_READY);
}

/** A non-posted request from this end has its answer. */
export function freeTag(port: usize, now: u64): void {
  const end = endOf(port);
  store<u32>(end, load<u32>(end, OUTSTANDING) - 1, OUTSTANDING);
  retry(port, now);
}

export function requestsOnHold(port: usize): u32 {
  const end = endOf(port);
  return load<u32>(end, ISSUE_HEAD) - load<u32>(end, ISSUE_TAIL);
}

export function isOnHold(port: usize): bool {
  const end = endOf(port);
  return requestsOnHold(port) != 0 || load<u32>(end, READY_HEAD) != load<u32>(end, READY_TAIL);
}

/** Requests that have not been sent: on hold, or posted ones in the queue of the port. */
export function unsentRequests(port: usize): u32 {
  return (
    requestsOnHold(port) + load<u32>(port, QUEUED + (LINK_P << 2)) - load<u32>(port, SENT + (LINK_P << 2))
  );
}

/** The words before the data of `tlp`. */
export function sideOf(tlp: usize): usize {
  return <usize>load<u32>(tlp, TLP_PAYLOAD) - SIDE_BYTES;
}

/** Fills descriptor `at` with what arrived in `tlp` at `now`, as the fabric pushed it at the other end. */
export function unpack(tlp: usize, at: usize, now: u64): void {
  const side = sideOf(tlp);
  store<u64>(at, load<u64>(tlp, TLP_H0), DESCRIPTOR_H0);
  store<u64>(at, load<u64>(tlp, TLP_H2), DESCRIPTOR_H2);
  const bytes = <u64>load<u16>(tlp, TLP_BYTES);
  store<u64>(at, <u64>load<u32>(tlp, TLP_PAYLOAD) | (bytes << 32), DESCRIPTOR_PAYLOAD);
  store<u64>(at, load<u64>(side), DESCRIPTOR_KIND);
  store<u64>(at, now, DESCRIPTOR_TICK);
  const wire = <u64>load<u16>(tlp, TLP_WIRE);
  store<u64>(at, <u64>load<u32>(side, 8) | (wire << 32), DESCRIPTOR_CAUSE);
}
