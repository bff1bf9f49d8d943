// Floor 5: a link in time: two ports, the requesters behind them, what they reach, and the order of all events.
//
// Each port has one next event of each kind, since whatever has a constant delay stays in order; the next event of the
// link is the smallest. Events of one tick happen by kind: all changes of state first, then the transmitter chooses.

import { copyBytes, hostBytes, hostMemory } from '../kernel/arena';
import {
  KIND_CPLD,
  KIND_MRD32,
  KIND_MRD64,
  KIND_MWR32,
  KIND_MWR64,
  LINK_COUNT_DATA,
  LINK_COUNT_TLPS,
  LINK_CPL,
  LINK_LAST_ARRIVAL,
  LINK_MPS,
  LINK_NP,
  LINK_P,
  LINK_TAGS,
  LOAD_COMPLETER_DELAY,
  LOAD_COMPLETION_POLICY,
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
  TLP_OVERHEAD_BYTES,
} from '../layout';
import {
  ACKED_SEQUENCE,
  AT_ARRIVAL,
  AT_DRAIN,
  AT_ISSUE,
  AT_READY,
  AT_SEND,
  AT_TIMER,
  hasRoom,
  joinEnds,
  LINK_BYTES,
  NEVER,
  NEXT_SEQUENCE,
  PORT_STRIDE,
  PORTS,
  queueTlp,
  resetPort,
  TLP_BYTES,
  TLP_H0,
  TLP_H1,
  TLP_H2,
  TLP_H3,
  TLP_PAYLOAD,
  waiting,
  wake,
} from '../link/port';
import { consume, drain, expire, receive, received } from '../link/receive';
import { send } from '../link/send';
import { byteEnables, enabledBytes, firstOffset, lengthDw } from '../tlp/bytes';
import { fmtTypeOf, hasData, isFourDw } from '../tlp/kinds';
import { completionPiece, requestPiece } from '../tlp/split';
import { writeEnabled } from './deliver';
import { routedMemory, routeMemory } from './functions';

// Events by kind, in the order in which those of one tick happen; packed behind the time.
const KIND_BITS: u64 = 3;
const ARRIVAL: u64 = 0;
const READY: u64 = 1;
const DRAIN: u64 = 2;
const TIMER: u64 = 3;
const ISSUE: u64 = 4;
const SEND: u64 = 5;

/** TLPs that wait when a requester without an interval adds another access. */
const FEW: u32 = 16;

/** By tag: when it was sent (u64), where the next byte goes (u32), bytes to come (u32). */
const TAGS: usize = memory.data(2 * LINK_TAGS * 16, 16);
// Reads whose completions come later: time (u64), request (u32).
const READY_LG2: u32 = 11;
const READY_RING: usize = memory.data(2 * 2048 * 16, 16);
const READY_HEADS: usize = memory.data(2 * 8, 8);

let payload: usize = 0;
let payloadMask: u32 = 0;
const PAYLOAD_HEADS: usize = memory.data(2 * 4, 4);

/** Simulated time of the last event, ticks, and how many there were. */
export let linkTime: u64 = 0;
export let linkEvents: u64 = 0;

function indexOf(port: usize): usize {
  return port == PORTS ? 0 : 1;
}

/** Begins a run: ports as after flow control initialisation. Rings stand at `at`, behind them `bytes`, a power of two, of data in flight. */
export function startLink(at: usize, bytes: u32): void {
  joinEnds(PORTS, at);
  payload = at + LINK_BYTES;
  payloadMask = (bytes >> 1) - 1;
  linkTime = 0;
  linkEvents = 0;
  for (let n: usize = 0; n < 2; n++) {
    const port = PORTS + n * PORT_STRIDE;
    resetPort(port);
    store<u64>(READY_HEADS + (n << 3), 0);
    store<u32>(PAYLOAD_HEADS + (n << 2), 0);
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
}

/** Runs until the loads are done and acknowledged, `end` is passed, or `limit` more events. True: it is done. */
export function runLink(limit: u32, end: u64): bool {
  for (let left = limit; left > 0; left--) {
    const first = nextKey(PORTS);
    const second = nextKey(PORTS + PORT_STRIDE);
    const key = min(first, second);
    const time = key >> KIND_BITS;
    if (time > end || key == NEVER) return true;
    linkTime = time;
    linkEvents += 1;
    perform(first <= second ? PORTS : PORTS + PORT_STRIDE, time, key & ((1 << KIND_BITS) - 1));
    if (isDone()) return true;
  }
  return false;
}

/** The next event of a port: its time, and its kind below. */
function nextKey(port: usize): u64 {
  let key = (load<u64>(port, AT_ARRIVAL) << KIND_BITS) | ARRIVAL;
  key = min(key, (load<u64>(port, AT_READY) << KIND_BITS) | READY);
  key = min(key, (load<u64>(port, AT_DRAIN) << KIND_BITS) | DRAIN);
  key = min(key, (load<u64>(port, AT_TIMER) << KIND_BITS) | TIMER);
  key = min(key, (load<u64>(port, AT_ISSUE) << KIND_BITS) | ISSUE);
  return min(key, (load<u64>(port, AT_SEND) << KIND_BITS) | SEND);
}

function perform(port: usize, now: u64, kind: u64): void {
  if (kind == ARRIVAL) arrive(port, now);
  else if (kind == SEND) {
    send(port, now);
    refill(port, now);
  } else if (kind == TIMER) expire(port, now);
  else if (kind == READY) complete(port, now);
  else if (kind == DRAIN) drain(port, now);
  else issue(port, now);
}

function isLoaded(port: usize): bool {
  return (
    load<u32>(port, LOAD_WRITES) != 0 ||
    load<u32>(port, LOAD_READS) != 0 ||
    load<u32>(port, LOAD_READ_OUT) != 0
  );
}

function isQuiet(port: usize): bool {
  return waiting(port) == 0 && load<u32>(port, ACKED_SEQUENCE) == load<u32>(port, NEXT_SEQUENCE);
}

function isDone(): bool {
  if (isLoaded(PORTS) || isLoaded(PORTS + PORT_STRIDE)) return false;
  return isQuiet(PORTS) && isQuiet(PORTS + PORT_STRIDE);
}

// ------------------------------------------------------------------------------------------------ requesters

/** What the requester at a port adds now, and when it adds the next. */
function issue(port: usize, now: u64): void {
  let next = NEVER;
  if (load<u32>(port, LOAD_WRITES) != 0) {
    const interval = load<u64>(port, LOAD_WRITE_INTERVAL);
    while (
      load<u32>(port, LOAD_WRITES) != 0 &&
      load<u64>(port, LOAD_WRITE_NEXT) <= now &&
      hasRoom(port, LINK_P, 1024)
    ) {
      if (interval == 0 && waiting(port) >= FEW) break;
      issueWrite(port);
      if (interval != 0) store<u64>(port, load<u64>(port, LOAD_WRITE_NEXT) + interval, LOAD_WRITE_NEXT);
    }
    if (interval != 0 && load<u32>(port, LOAD_WRITES) != 0)
      next = max(now + 1, load<u64>(port, LOAD_WRITE_NEXT));
  }
  const tags = load<u32>(port, LOAD_READ_TAGS);
  while (
    load<u32>(port, LOAD_READS) != 0 &&
    load<u32>(port, LOAD_READ_OUT) < tags &&
    load<u64>(port, LOAD_READ_NEXT) <= now
  ) {
    issueRead(port, now);
    store<u64>(
      port,
      max(now, load<u64>(port, LOAD_READ_NEXT)) + load<u64>(port, LOAD_READ_INTERVAL),
      LOAD_READ_NEXT,
    );
  }
  // Without a free tag the next completion goes on.
  if (load<u32>(port, LOAD_READS) != 0 && load<u32>(port, LOAD_READ_OUT) < tags)
    next = min(next, load<u64>(port, LOAD_READ_NEXT));
  store<u64>(port, next, AT_ISSUE);
  wake(port, now);
}

/** A requester without an interval keeps the queue from running dry. */
function refill(port: usize, now: u64): void {
  if (load<u32>(port, LOAD_WRITES) == 0 || load<u64>(port, LOAD_WRITE_INTERVAL) != 0) return;
  if (waiting(port) < FEW) store<u64>(port, now, AT_ISSUE);
}

/** Room for `bytes` of data in flight from this end. */
function reserve(port: usize, bytes: u32): usize {
  const n = indexOf(port);
  const size = payloadMask + 1;
  let head = load<u32>(PAYLOAD_HEADS + (n << 2));
  // What does not fit before the end begins at the front.
  if ((head & payloadMask) + bytes > size) head += size - (head & payloadMask);
  store<u32>(PAYLOAD_HEADS + (n << 2), head + ((bytes + 31) & ~31));
  return payload + n * size + (head & payloadMask);
}

/** One access: its data are copied once, and its TLPs point at them. */
function issueWrite(port: usize): void {
  store<u32>(port, load<u32>(port, LOAD_WRITES) - 1, LOAD_WRITES);
  const bytes = load<u32>(port, LOAD_WRITE_BYTES);
  const offset = load<u32>(port, LOAD_WRITE_AT);
  store<u32>(port, (offset + bytes) & (load<u32>(port, LOAD_WRITE_WINDOW) - 1), LOAD_WRITE_AT);
  const address = load<u64>(port, LOAD_WRITE_ADDRESS) + offset;
  const shift = <u32>address & 3;
  let data = reserve(port, bytes + 32) + shift;
  copyBytes(data, load<u32>(port, LOAD_WRITE_SOURCE), bytes);
  const cut = load<u32>(port, LOAD_WRITE_CUT);
  const policy = load<u32>(port, LOAD_WRITE_SPLIT);
  const isWide = address >> 32 != 0;
  const word0 = fmtTypeOf(isWide ? KIND_MWR64 : KIND_MWR32) << 24;
  const overhead = TLP_OVERHEAD_BYTES + (isWide ? 16 : 12);
  let low = <u32>address;
  let left = bytes;
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
  return TAGS + (indexOf(port) << 14) + ((<usize>(tag & (LINK_TAGS - 1))) << 4);
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
  const word0 = (fmtTypeOf(isWide ? KIND_MRD64 : KIND_MRD32) << 24) | tagBits(tag) | (length & 0x3ff);
  const tlp = queueTlp(port, LINK_NP);
  store<u64>(tlp, <u64>word0 | ((<u64>(((tag & 0xff) << 8) | byteEnables(low, bytes))) << 32), TLP_H0);
  store<u64>(tlp, isWide ? (address >> 32) | ((<u64>(low & ~3)) << 32) : <u64>(low & ~3), TLP_H2);
  const wire: u32 = TLP_OVERHEAD_BYTES + (isWide ? 16 : 12);
  store<u64>(tlp, (<u64>wire) << 48, TLP_PAYLOAD);
}

/** Tag bits 9 and 8 in DW0 (2.2.6.2). */
function tagBits(tag: u32): u32 {
  return (((tag >> 9) & 1) << 23) | (((tag >> 8) & 1) << 19);
}

// -------------------------------------------------------------------------------------------------- delivery

function arrive(port: usize, now: u64): void {
  receive(port, now);
  const tlp = received;
  if (tlp == 0) return;
  store<u64>(port, load<u64>(port, LINK_COUNT_TLPS) + 1, LINK_COUNT_TLPS);
  store<u64>(port, load<u64>(port, LINK_COUNT_DATA) + load<u16>(tlp, TLP_BYTES), LINK_COUNT_DATA);
  store<u64>(port, now, LINK_LAST_ARRIVAL);
  const word0 = load<u32>(tlp, TLP_H0);
  const fmtType = word0 >>> 24;
  if (fmtType == fmtTypeOf(KIND_CPLD)) takeCompletion(port, now, tlp, word0);
  else if (hasData(fmtType)) write(port, tlp, fmtType);
  else defer(port, now, tlp);
  consume(port, now, tlp);
}

function addressOf(tlp: usize, fmtType: u32): u64 {
  const high = load<u32>(tlp, TLP_H2);
  return isFourDw(fmtType) ? ((<u64>high) << 32) | load<u32>(tlp, TLP_H3) : <u64>high;
}

/** Memory behind this end: BARs below, host memory above; 0: nobody claims it. */
function memoryAt(port: usize, address: u64, bytes: u32): usize {
  if (port == PORTS)
    return address < hostBytes && bytes <= hostBytes - <u32>address ? hostMemory + <usize>address : 0;
  return routeMemory(address, bytes) ? routedMemory : 0;
}

function write(port: usize, tlp: usize, fmtType: u32): void {
  const bytes = load<u16>(tlp, TLP_BYTES);
  const to = memoryAt(port, addressOf(tlp, fmtType), bytes);
  if (to == 0) return;
  const enables = load<u32>(tlp, TLP_H1) & 0xff;
  const from: usize = load<u32>(tlp, TLP_PAYLOAD);
  if (enables == 0xff) copyBytes(to, from, bytes);
  else writeEnabled(to, from, bytes >> 2, enables);
}

function readyAt(port: usize, index: u32): usize {
  const slot = ((<u32>indexOf(port)) << READY_LG2) + (index & ((1 << READY_LG2) - 1));
  return READY_RING + ((<usize>slot) << 4);
}

/** The completer answers a read after its delay. */
function defer(port: usize, now: u64, tlp: usize): void {
  const heads = READY_HEADS + (indexOf(port) << 3);
  const head = load<u32>(heads);
  const at = readyAt(port, head);
  const time = now + load<u64>(port, LOAD_COMPLETER_DELAY);
  store<u64>(at, time);
  store<u32>(at, <u32>tlp, 8);
  store<u32>(heads, head + 1);
  if (head == load<u32>(heads, 4)) store<u64>(port, time, AT_READY);
}

/** The next read has its data: one completion, or as many as MPS and RCB make of it. */
function complete(port: usize, now: u64): void {
  const heads = READY_HEADS + (indexOf(port) << 3);
  const tail = load<u32>(heads, 4);
  const tlp: usize = load<u32>(readyAt(port, tail), 8);
  if (!hasRoom(port, LINK_CPL, 64)) {
    store<u64>(port, max(now + 1, load<u64>(port, AT_SEND)), AT_READY);
    return;
  }
  store<u32>(heads, tail + 1, 4);
  const next = tail + 1 == load<u32>(heads) ? NEVER : load<u64>(readyAt(port, tail + 1));
  store<u64>(port, next, AT_READY);
  const word0 = load<u32>(tlp, TLP_H0);
  const word1 = load<u32>(tlp, TLP_H1);
  const coded = word0 & 0x3ff;
  let left = coded == 0 ? 1024 : coded;
  let address = addressOf(tlp, word0 >>> 24);
  let from = memoryAt(port, address, left << 2);
  const data = reserve(port, left << 2);
  if (from != 0) copyBytes(data, from, left << 2);
  from = data;
  const enables = word1 & 0xff;
  let offset = firstOffset(enables & 0xf);
  let bytes = enabledBytes(left, enables & 0xf, enables >> 4);
  const mps = load<u32>(port, LINK_MPS);
  const rcb = load<u32>(port, LOAD_RCB);
  const policy = load<u32>(port, LOAD_COMPLETION_POLICY);
  const kept = (fmtTypeOf(KIND_CPLD) << 24) | (word0 & 0x00fc_3000);
  while (left > 0) {
    const piece = completionPiece(<u32>address, left, mps, rcb, policy);
    const cpl = queueTlp(port, LINK_CPL);
    store<u64>(cpl, <u64>(kept | (piece & 0x3ff)) | ((<u64>(bytes & 0xfff)) << 32), TLP_H0);
    store<u64>(cpl, <u64>((word1 & 0xffff_ff00) | (<u32>address & 0x7c) | offset), TLP_H2);
    const wire = TLP_OVERHEAD_BYTES + 12 + (piece << 2);
    store<u64>(cpl, <u64>(<u32>from) | ((<u64>((piece << 2) | (wire << 16))) << 32), TLP_PAYLOAD);
    bytes -= min(bytes, (piece << 2) - offset);
    offset = 0;
    address += piece << 2;
    from += piece << 2;
    left -= piece;
  }
  wake(port, now);
}

function takeCompletion(port: usize, now: u64, tlp: usize, word0: u32): void {
  const word2 = load<u32>(tlp, TLP_H2);
  const tag = ((word2 >> 8) & 0xff) | (((word0 >> 19) & 1) << 8) | (((word0 >> 23) & 1) << 9);
  const entry = tagOf(port, tag);
  const skip = word2 & 3;
  const left = load<u32>(entry, 12);
  const bytes = min(left, <u32>load<u16>(tlp, TLP_BYTES) - skip);
  const to: usize = load<u32>(entry, 8);
  copyBytes(to, load<u32>(tlp, TLP_PAYLOAD) + skip, bytes);
  store<u64>(entry, <u64>(<u32>to + bytes) | ((<u64>(left - bytes)) << 32), 8);
  if (left != bytes) return;
  const latency = now - load<u64>(entry);
  store<u64>(port, load<u64>(port, LOAD_LATENCY_SUM) + latency, LOAD_LATENCY_SUM);
  store<u64>(port, min(load<u64>(port, LOAD_LATENCY_MIN), latency), LOAD_LATENCY_MIN);
  store<u64>(port, max(load<u64>(port, LOAD_LATENCY_MAX), latency), LOAD_LATENCY_MAX);
  store<u32>(port, load<u32>(port, LOAD_READ_DONE) + 1, LOAD_READ_DONE);
  store<u32>(port, load<u32>(port, LOAD_READ_OUT) - 1, LOAD_READ_OUT);
  if (load<u32>(port, LOAD_READS) != 0) store<u64>(port, max(now, load<u64>(port, LOAD_READ_NEXT)), AT_ISSUE);
}
