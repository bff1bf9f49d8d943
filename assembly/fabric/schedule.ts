// Floor 5: a machine in simulated time: its links, what happens on them in order, the time of its CPU, requests of functions.
//
//   ring ── depart ──> hold ──> port ──> wire ──> port ── arrive ──> ring, and from there as in functional mode
//
// Whatever a TLP does where it arrives is the code of functional mode (deliver.ts), so that TLPs and data are the same. Here
// stands only when it happens. The CPU has a time of its own, which runs ahead of the links: posted stores leave it in the
// store buffer, non-posted requests make it wait.

import { resetWalkers } from '../iommu/walkers';
import { recordCount } from '../kernel/records';
import {
  head,
  keepDelivered,
  popDescriptor,
  pushDescriptor,
  recordedTlps,
  releasePayload,
  rewindRing,
  slotAt,
  tail,
} from '../kernel/rings';
import {
  CPL_SC,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_CAUSE,
  DESCRIPTOR_FLAGS,
  DESCRIPTOR_H2,
  DESCRIPTOR_KIND,
  DESCRIPTOR_SLOT,
  DESCRIPTOR_STRIDE,
  DESCRIPTOR_TICK,
  FLAG_PASSING,
  FLAG_UPSTREAM,
  KIND_CFGRD0,
  KIND_CFGWR0,
  SLOT_NONE,
  UNTIL_QUIET,
  UNTIL_ROOM,
  UNTIL_TIME,
} from '../layout';
import { ARRIVAL, DRAIN, KIND_BITS, KINDS, nextKey, READY, SEND, TIMER } from '../link/events';
import {
  ACKED_SEQUENCE,
  assertNext,
  joinEnds,
  LINK_BYTES,
  linkAt,
  mixed,
  NEVER,
  NEXT_SEQUENCE,
  PORT_STRIDE,
  PORTS,
  resetPort,
  TLP_BYTES,
  WAITING,
} from '../link/port';
import { consume, drain, expire, free, receive, received } from '../link/receive';
import { send } from '../link/send';
import {
  END_INTERVAL,
  LINK_COUNT_DATA,
  LINK_COUNT_TLPS,
  LINK_LAST_ARRIVAL,
  LINK_MOST,
  LINK_P,
} from '../link-layout';
import { addressOf, requestLength } from '../tlp/build';
import {
  enterFunction,
  enterRoot,
  functionEnd,
  leaveContext,
  serviceTicks,
  setLastOperation,
  setTimed,
} from './context';
import {
  deliverOne,
  exchangeStatus,
  isCompletion,
  passCompletion,
  readLeft,
  takeCompletion,
} from './deliver';
import { routedSlot, routeMemory, slotById } from './functions';
import {
  answer,
  classOf,
  freeTag,
  holdAnswer,
  holdBytes,
  holdRequest,
  isOnHold,
  issue,
  issueTime,
  resetHolds,
  retry,
  SERIAL_DMA,
  SERIAL_LAST,
  SIDE_SERIAL,
  sideOf,
  unpack,
  unsentRequests,
} from './holds';
import {
  beginTranslation,
  HELD_SERIAL,
  hasHeld,
  heldBytes,
  heldUntil,
  hold,
  inboundBytes,
  isHeldBack,
  lastHeld,
  resetInbound,
  takeHeld,
} from './inbound';
import {
  answered,
  BUFFER_BYTES,
  beginOwner,
  CPU,
  cpuOutstanding,
  endOwner,
  failed,
  hasTags,
  resetTags,
  takeTag,
  waitingFor,
  writesLeft,
} from './tags';
import { restoreTotals, setTotalsAside } from './traffic';
import { decide, perform } from './upstream';

/** By port: its next event; behind those by link: when the root complex performs what it holds. */
const KEYS: usize = memory.data(3 * LINK_MOST * 8, 16);
/** By link: requests of the CPU that have not been sent, and whether anything is on its way. */
const LINK_UNSENT: usize = 0;
const LINK_IS_BUSY: usize = 4;
const STATES: usize = memory.data(LINK_MOST * 8, 8);
let links: u32 = 0;
/** The root complex holds TLPs until they are translated. */
let holdsBack: bool = false;
let unsent: u32 = 0;
let busyLinks: u32 = 0;

/** Simulated time of the links, ticks; events so far, and a hash of them. */
export let now: u64 = 0;
export let events: u64 = 0;
export let eventHash: u64 = 0;
/** The time of the CPU: when it can do the next thing. */
export let cpuTime: u64 = 0;
/** The next timer of the host. */
let horizon: u64 = NEVER;

let cpuInterval: u64 = 0;
let cpuNext: u64 = 0;
let storeBuffer: u32 = 64;
/** Loads of the access do not wait for each other. */
let isPipelined: bool = false;

/** The host keeps TLPs: those that arrived stay in the ring until it has drained them. */
let keepsTlps: bool = false;
/** Data bytes of the TLPs that the host has not drained; they stand in the rings of the links. */
let keptBytes: u32 = 0;
let mostKept: u32 = 0;
const MOST_TLPS: u32 = 2048;

/** Number of the access that the next request belongs to, and of the one that arrived last. */
let serial: u32 = 0;
export let arrivedSerial: u32 = 0;
/** Words before the last posted TLP of the access; 0: it has arrived, or there was none. */
let lastPosted: usize = 0;

/** Bytes that the timed machine takes. */
export function timedBytes(count: u32, holds: u32, data: u32, held: u32): u32 {
  return count * linkRoom(holds, data, held) + BUFFER_BYTES;
}

function linkRoom(holds: u32, data: u32, held: u32): u32 {
  return <u32>LINK_BYTES + holdBytes(holds, data) + inboundBytes(held);
}

/**
 * Begins at time 0 with `count` idle links, whose ports the host has described. Their rings stand at `at`. With `held` the
 * root complex may hold so many TLPs of a link.
 */
export function startTimed(at: usize, count: u32, holds: u32, data: u32, held: u32): void {
  setTimed(true);
  links = count;
  now = 0;
  events = 0;
  eventHash = 0;
  cpuTime = 0;
  cpuNext = 0;
  horizon = NEVER;
  keptBytes = 0;
  mostKept = data >> 2;
  serial = 0;
  lastPosted = 0;
  unsent = 0;
  busyLinks = 0;
  memory.fill(STATES, 0, LINK_MOST * 8);
  holdsBack = held != 0;
  resetWalkers();
  resetTags(at + <usize>(count * linkRoom(holds, data, held)));
  for (let link: u32 = 0; link < count; link++) {
    const first = linkAt(link);
    const base = at + <usize>(link * linkRoom(holds, data, held));
    joinEnds(first, base);
    resetPort(first);
    resetPort(first + PORT_STRIDE);
    resetHolds(first, base + LINK_BYTES, holds, data);
    resetInbound(link, base + LINK_BYTES + holdBytes(holds, data), held);
    update(link);
  }
}

export function setCpu(interval: u64, buffer: u32): void {
  cpuInterval = interval;
  storeBuffer = buffer;
}

export function setHorizon(time: u64): void {
  horizon = time;
}

export function keepTlps(on: bool): void {
  keepsTlps = on;
}

/** The loads of the next access are pipelined, or each waits. */
export function setPipelined(on: bool): void {
  isPipelined = on;
}

/** The CPU is busy with something else for so long. */
export function spend(ticks: u64): void {
  cpuTime += ticks;
}

/** The CPU has waited for what has happened by now. */
export function catchUp(): void {
  cpuTime = max(cpuTime, now);
}

/** The access is over. Answers its number if the last of its posted TLPs has arrived, or there was none; else -1. */
export function endSerial(): i32 {
  const ended = serial;
  serial = (serial + 1) & (SERIAL_DMA - 1);
  if (lastPosted == 0) return ended;
  store<u32>(lastPosted, load<u32>(lastPosted, SIDE_SERIAL) | SERIAL_LAST, SIDE_SERIAL);
  lastPosted = 0;
  return -1;
}

// ---------------------------------------------------------------------------------------------------- events

function isBusy(port: usize): bool {
  return (
    load<u32>(port, WAITING) != 0 ||
    isOnHold(port) ||
    load<u32>(port, ACKED_SEQUENCE) != load<u32>(port, NEXT_SEQUENCE)
  );
}

/** Something changed at the ends of a link. */
function update(link: u32): void {
  const first = linkAt(link);
  const keys = KEYS + ((<usize>link) << 4);
  store<u64>(keys, nextKey(first));
  store<u64>(keys, nextKey(first + PORT_STRIDE), 8);
  if (holdsBack) store<u64>(KEYS + ((<usize>((links << 1) + link)) << 3), heldUntil(link) << KIND_BITS);
  const state = STATES + ((<usize>link) << 3);
  const count = unsentRequests(first);
  unsent += count - load<u32>(state, LINK_UNSENT);
  store<u32>(state, count, LINK_UNSENT);
  const busy: u32 = isBusy(first) || isBusy(first + PORT_STRIDE) || hasHeld(link) ? 1 : 0;
  busyLinks += busy - load<u32>(state, LINK_IS_BUSY);
  store<u32>(state, busy, LINK_IS_BUSY);
}

function isReached(what: u32): bool {
  if (what == UNTIL_ROOM) return unsent < storeBuffer && hasTags();
  return what == UNTIL_QUIET && busyLinks == 0;
}

/** When the last of the TLPs that links hold now is performed; 0: there is none. */
export function heldEnd(): u64 {
  let end: u64 = 0;
  for (let link: u32 = 0; link < links; link++) end = max(end, lastHeld(link));
  return end;
}

/** True once what is waited for is there, or `end` is reached; false: the host has something to do. */
export function runTimed(what: u32, end: u64): bool {
  while (recordCount == 0) {
    if (isReached(what)) {
      // The CPU has waited for it.
      if (what != UNTIL_TIME) catchUp();
      return true;
    }
    if (recordedTlps() == 0) keptBytes = 0;
    else if (recordedTlps() >= MOST_TLPS || keptBytes >= mostKept) return false;
    if (!step(end)) return horizon > end;
  }
  return false;
}

/** The CPU waits for the answers to what it has asked. False: the host has something to do. */
function awaitAnswers(): bool {
  while (recordCount == 0) {
    if (cpuOutstanding == 0) {
      catchUp();
      return true;
    }
    if (recordedTlps() == 0) keptBytes = 0;
    else if (recordedTlps() >= MOST_TLPS || keptBytes >= mostKept) return false;
    // Without an event left nothing would ever change.
    if (!step(NEVER)) {
      if (horizon == NEVER) unreachable();
      return false;
    }
  }
  return false;
}

/** Performs the next event. False: there is none before `end` and the next timer of the host. */
function step(end: u64): bool {
  let key: u64 = NEVER;
  let at: u32 = 0;
  const ports = links << 1;
  const places = holdsBack ? ports + links : ports;
  for (let n: u32 = 0; n < places; n++) {
    const next = load<u64>(KEYS + ((<usize>n) << 3));
    if (next < key) {
      key = next;
      at = n;
    }
  }
  const time = key >> KIND_BITS;
  const limit = min(end, horizon);
  if (time >= NEVER >> KIND_BITS || time > limit) {
    if (limit != NEVER) now = max(now, limit);
    return false;
  }
  now = time;
  events += 1;
  eventHash = mixed(eventHash, key, at + 1);
  if (at >= ports) {
    performHeld(at - ports);
    return true;
  }
  const port = PORTS + <usize>at * PORT_STRIDE;
  const kind = key & KINDS;
  if (kind == ARRIVAL) arrive(port, at);
  else if (kind == SEND) {
    send(port, time);
    retry(port, time);
    endWrites(port, at);
  } else if (kind == TIMER) expire(port, time);
  else if (kind == READY) answer(port, time);
  else if (kind == DRAIN) drain(port, time);
  else issue(port, time);
  update(at >> 1);
  return true;
}

// -------------------------------------------------------------------------------------------------- arrivals

function arrive(port: usize, index: u32): void {
  receive(port, now);
  const tlp = received;
  if (tlp == 0) return;
  if (!ASC_NO_ASSERT) assertNext(port, tlp);
  store<u64>(port, load<u64>(port, LINK_COUNT_TLPS) + 1, LINK_COUNT_TLPS);
  store<u64>(port, load<u64>(port, LINK_COUNT_DATA) + load<u16>(tlp, TLP_BYTES), LINK_COUNT_DATA);
  store<u64>(port, now, LINK_LAST_ARRIVAL);
  const side = sideOf(tlp);
  arrivedSerial = load<u32>(side, SIDE_SERIAL);
  if (side == lastPosted) lastPosted = 0;
  const at = pushDescriptor();
  unpack(tlp, at, now);
  popDescriptor();
  keptBytes += load<u32>(at, DESCRIPTOR_BYTES);
  const isRoot = (index & 1) == 0;
  const link = index >> 1;
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  const isAnswer = isCompletion(kind);
  if (isRoot) {
    const isHeld = isHeldBack(link);
    if (isHeld && !isAnswer) beginTranslation(at, now);
    if (!isAnswer) decide(at, kind);
    if (isHeld && hold(link, at, arrivedSerial, now)) return;
    toRoot(at, kind, link);
  } else if (isAnswer) takeAnswer(at, false, link);
  else {
    store<u16>(at, <u16>link, DESCRIPTOR_SLOT);
    enterFunction(at);
    deliverOne(at);
    leaveContext();
  }
  departAll(false);
  consume(port, now, tlp);
}

/** The root complex performs a TLP, which it has decided about. */
function toRoot(at: usize, kind: u32, link: u32): void {
  if (isCompletion(kind)) {
    takeAnswer(at, true, link);
    return;
  }
  enterRoot(link);
  perform(at, kind);
  leaveContext();
}

/** The next TLP that the root complex holds has waited long enough. Its buffer is free now. */
function performHeld(link: u32): void {
  const at = takeHeld(link);
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  arrivedSerial = load<u32>(at, HELD_SERIAL);
  toRoot(at, kind, link);
  departAll(false);
  free(linkAt(link), now, classOf(kind), heldBytes(at));
  update(link);
}

/** A completion arrived at its requester, or at the root complex on its way to a function. */
function takeAnswer(at: usize, isRoot: bool, link: u32): void {
  const word = load<u32>(at, DESCRIPTOR_H2);
  if (isRoot && word >> 16 != 0) {
    const slot = slotById(word >> 16);
    enterRoot(link);
    if (slot != SLOT_NONE) passCompletion(at, slot);
    leaveContext();
    return;
  }
  const tag = (word >> 8) & 0xff;
  const isCpu = waitingFor(tag) == CPU;
  const before = isCpu ? CPL_SC : exchangeStatus(CPL_SC);
  enterRoot(link);
  if (load<u8>(at, DESCRIPTOR_FLAGS) & FLAG_PASSING) takeCompletion(at);
  else deliverOne(at);
  leaveContext();
  const status = isCpu ? <u32>CPL_SC : exchangeStatus(before);
  if (status != CPL_SC) failed(tag, status);
  if (readLeft(tag) != 0) return;
  const port = answered(tag, link);
  if (port != 0) freeTag(port, now);
}

/** The posted writes of a function count as done when the last of them leaves it. */
function endWrites(port: usize, index: u32): void {
  if ((index & 1) != 0 && unsentRequests(port) == 0) writesLeft(index >> 1);
}

// ------------------------------------------------------------------------------------------------ departures

/** Takes what stands in the ring to the links. What nobody claims is answered by the root complex on the spot. */
function departAll(byCpu: bool): void {
  let kept: u32 = 0;
  const first = tail;
  for (let index = first; index != head; index++) {
    const at = slotAt(index);
    if (depart(at, byCpu)) continue;
    store<u64>(at, byCpu ? cpuTime : now, DESCRIPTOR_TICK);
    deliverOne(at);
    const to = slotAt(first + kept);
    if (to != at) memory.copy(to, at, DESCRIPTOR_STRIDE);
    kept += 1;
  }
  keepDelivered(kept);
  if (recordCount != 0) return;
  releasePayload();
  if (!keepsTlps) rewindRing();
}

/** False: no link leads there. */
function depart(at: usize, byCpu: bool): bool {
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  const isUp = (load<u8>(at, DESCRIPTOR_FLAGS) & FLAG_UPSTREAM) != 0;
  let slot: u32 = load<u16>(at, DESCRIPTOR_SLOT);
  if (isCompletion(kind)) {
    if (slot == SLOT_NONE) return false;
    const port = isUp ? functionEnd(slot) : linkAt(slot);
    const isPassing = (load<u8>(at, DESCRIPTOR_FLAGS) & FLAG_PASSING) != 0;
    holdAnswer(port, at, isPassing ? now : now + serviceTicks, serial);
    update(slot);
    return true;
  }
  if (!isUp) {
    slot = targetOf(at, kind);
    if (slot == SLOT_NONE) return false;
    if (byCpu) departFromCpu(at, kind, slot);
    else holdAnswer(linkAt(slot), at, now, arrivedSerial);
    update(slot);
    return true;
  }
  const port = functionEnd(slot);
  const time = issueTime(port, now);
  const side = holdRequest(port, at, time, time + load<u64>(port, END_INTERVAL), SERIAL_DMA | slot);
  takeTag(at, kind, port);
  if (classOf(kind) == LINK_P) lastPosted = side;
  update(slot);
  return true;
}

function targetOf(at: usize, kind: u32): u32 {
  if (kind == KIND_CFGRD0 || kind == KIND_CFGWR0) return slotById(load<u32>(at, DESCRIPTOR_H2) >> 16);
  return routeMemory(addressOf(at), requestLength(at) << 2) ? routedSlot : SLOT_NONE;
}

function departFromCpu(at: usize, kind: u32, slot: u32): void {
  const port = linkAt(slot);
  const time = issueTime(port, max(cpuTime, cpuNext));
  cpuTime = time;
  cpuNext = time + cpuInterval;
  const side = holdRequest(port, at, time, time, serial);
  if (classOf(kind) == LINK_P) lastPosted = side;
  takeTag(at, kind, port);
  setLastOperation(load<u32>(at, DESCRIPTOR_CAUSE));
}

/** Sends what the CPU has pushed. True: it goes on; false: the host has something to do first. */
export function sendAll(): bool {
  departAll(true);
  return isPipelined ? recordCount == 0 : awaitAnswers();
}

/** Nothing that the CPU has to wait for is open. */
export function isAnswered(): bool {
  return cpuOutstanding == 0;
}

/** The end of an access whose loads are pipelined. */
export function finishLoads(): bool {
  return awaitAnswers();
}

// ----------------------------------------------------------------------------------------- requests of functions

/** What is pushed next belongs to `piece` of a function's DMA, until `endDma`. */
export function beginDma(piece: u32): void {
  setTotalsAside();
  beginOwner(piece);
}

/** The requests of the piece stand in the ring. With `isLast` they end one access of the function in `slot`. */
export function endDma(piece: u32, slot: u32, isWrite: bool, isLast: bool): void {
  const before = lastPosted;
  lastPosted = 0;
  departAll(false);
  endOwner(piece, slot, isWrite);
  restoreTotals();
  if (isLast && lastPosted != 0)
    store<u32>(lastPosted, load<u32>(lastPosted, SIDE_SERIAL) | SERIAL_LAST, SIDE_SERIAL);
  lastPosted = before;
}
