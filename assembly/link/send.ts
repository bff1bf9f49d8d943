// Floor 3: what a port sends next, and when: SKP ordered sets, Nak, Ack and UpdateFC that are due, replays, new TLPs (base specification 3.6.2.1).
//
//   after the packet in progress:  SKP | Nak | Ack | UpdateFC | replay | new TLP
//
// A new TLP needs credits of its class, room in the replay buffer and a sequence number. Of the classes the oldest head goes
// first; a blocked one is passed as the ordering rules allow (2.4.1): posted requests pass everything, completions pass
// non-posted requests.

import {
  LINK_BAD_DLLPS,
  LINK_BAD_TLPS,
  LINK_CLASSES,
  LINK_COUNT_ACKS,
  LINK_COUNT_BLOCKED,
  LINK_COUNT_BUSY,
  LINK_COUNT_FCS,
  LINK_COUNT_NAKS,
  LINK_COUNT_REPLAYED,
  LINK_COUNT_SKPS,
  LINK_DLLP_BYTES,
  LINK_FC_REFRESH,
  LINK_LATENCY,
  LINK_P,
  LINK_REPLAY_BYTES,
  LINK_REPLAY_LIMIT,
  LINK_SKP_TICKS,
  LINK_TICKS_PER_BYTE,
  LOG_ACK,
  LOG_BAD,
  LOG_FC,
  LOG_INIT_FC1,
  LOG_INIT_FC2,
  LOG_NAK,
  LOG_SKP,
  LOG_TLP,
} from '../link-layout';
import { endInit, nextInit, repeatInit } from './init';
import { log, logs } from './log';
import {
  ACK_PENDING,
  ACKED_BYTES,
  ACKED_SEQUENCE,
  AT_ARRIVAL,
  AT_SEND,
  BUSY_UNTIL,
  DATA_GIVEN,
  DATA_LIMIT,
  DATA_USED,
  draw,
  EXPECTED,
  FC_PENDING,
  HEADER_GIVEN,
  HEADER_LIMIT,
  HEADER_USED,
  INIT_PHASE,
  IS_FINITE,
  NEVER,
  NEXT_SEQUENCE,
  otherEnd,
  QUEUED,
  REPLAY_NEXT,
  replayAt,
  SEND_FC,
  SEND_NAK,
  SEND_SKP,
  SENT,
  SENT_BYTES,
  setTimer,
  TIMER_ACK,
  TIMER_FC,
  TIMER_REPLAY,
  TLP_BYTES,
  TLP_ORDER,
  TLP_STRIDE_LG2,
  TLP_WIRE,
  tlpAt,
  WAITING,
  WAITING_CLASSES,
  WINDOW,
  WIRE_HEAD,
  WIRE_TAIL,
  wireAt,
} from './port';

// A wire item: arrival (u64), what (u32), value (u32). What it is stands in the low bits of the address of a descriptor, which
// are 0 there; a DLLP has no descriptor. The log of packets has the same codes.
//
//   TLP    descriptor | bad << 3     value: sequence number
//   DLLP   kind       | bad << 3     value: sequence number, or class in bits 31:24, header credits 23:12, data credits 11:0
export const ITEM_TLP: u32 = LOG_TLP;
export const ITEM_ACK: u32 = LOG_ACK;
export const ITEM_NAK: u32 = LOG_NAK;
export const ITEM_FC: u32 = LOG_FC;
export const ITEM_INIT_FC1: u32 = LOG_INIT_FC1;
export const ITEM_INIT_FC2: u32 = LOG_INIT_FC2;
export const ITEM_KIND: u32 = 7;
export const ITEM_BAD: u32 = LOG_BAD; // does not arrive in one piece
/** All that is no address: 0 in a TLP that arrives in one piece. */
export const ITEM_FLAGS: u32 = (1 << (<u32>TLP_STRIDE_LG2)) - 1;

export const HEADER_CREDITS: u32 = 0xff; // 8 and 12 bits (2.6.1)
export const DATA_CREDITS: u32 = 0xfff;

/** The transmitter is free at `now`: sends the next packet, or waits until something changes. */
export function send(port: usize, now: u64): void {
  if (isDue(port)) {
    if (load<u32>(port, INIT_PHASE) != 0) sendInit(port, now);
    else if (load<u32>(port, SEND_SKP) != 0) sendSkp(port, now);
    else sendDllp(port, now);
    return;
  }
  const next = load<u32>(port, REPLAY_NEXT);
  if (next != load<u32>(port, NEXT_SEQUENCE)) {
    sendAgain(port, now, next);
    return;
  }
  const kind = chooseClass(port);
  if (kind < <u32>LINK_CLASSES) sendNew(port, now, kind);
  else store<u64>(port, NEVER, AT_SEND);
}

/** Something goes before TLPs. SEND_NAK and SEND_ACK, SEND_FC and SEND_SKP are neighbours. */
export function isDue(port: usize): bool {
  return (load<u64>(port, SEND_NAK) | load<u64>(port, SEND_FC) | load<u32>(port, INIT_PHASE)) != 0;
}

function sendInit(port: usize, now: u64): void {
  const item: u32 = load<u32>(port, INIT_PHASE) == 1 ? ITEM_INIT_FC1 : ITEM_INIT_FC2;
  const value = nextInit(port);
  endInit(port);
  transmit(port, now, LINK_DLLP_BYTES, item, value, load<u32>(port, LINK_BAD_DLLPS));
  if (load<u32>(port, INIT_PHASE) != 0)
    store<u64>(port, repeatInit(port, load<u64>(port, BUSY_UNTIL)), AT_SEND);
}

/** An ordered set between two packets takes the wire, and nobody is told (base specification 4.2.7). */
function sendSkp(port: usize, now: u64): void {
  const ticks = load<u64>(port, LINK_SKP_TICKS);
  if (logs(port)) log(port, now, LOG_SKP, 0, 0);
  store<u32>(port, load<u32>(port, SEND_SKP) - 1, SEND_SKP);
  store<u64>(port, load<u64>(port, LINK_COUNT_SKPS) + 1, LINK_COUNT_SKPS);
  store<u64>(port, load<u64>(port, LINK_COUNT_BUSY) + ticks, LINK_COUNT_BUSY);
  store<u64>(port, now + ticks, BUSY_UNTIL);
  store<u64>(port, now + ticks, AT_SEND);
}

/** What the hot ways of a packet share; inlined, since a call costs as much as the work. */
class Transmitter {
  /** Puts `bytes` on the wire; they arrive at the other end with the last one and the latency. Returns when it is free again. */
  @inline
  static put(port: usize, now: u64, bytes: u32, item: u32, value: u32, bad: u32): u64 {
    const until = now + <u64>(bytes * load<u32>(port, LINK_TICKS_PER_BYTE));
    store<u64>(port, until, BUSY_UNTIL);
    store<u64>(port, load<u64>(port, LINK_COUNT_BUSY) + (until - now), LINK_COUNT_BUSY);
    const head = load<u32>(port, WIRE_HEAD);
    const at = wireAt(port, head);
    const arrival = until + load<u64>(port, LINK_LATENCY);
    store<u64>(at, arrival);
    const flag = bad != 0 && draw(port) <= bad ? ITEM_BAD : 0;
    store<u64>(at, <u64>(item | flag) | ((<u64>value) << 32), 8);
    store<u32>(port, head + 1, WIRE_HEAD);
    if (logs(port)) log(port, now, (item & ITEM_KIND) | flag, value, item & ~ITEM_FLAGS);
    if (head == load<u32>(port, WIRE_TAIL)) store<u64>(otherEnd(port), arrival, AT_ARRIVAL);
    return until;
  }
}

/** A packet that is not a new TLP. With nothing left the transmitter sleeps: whatever comes wakes it. */
function transmit(port: usize, now: u64, bytes: u32, item: u32, value: u32, bad: u32): void {
  const until = Transmitter.put(port, now, bytes, item, value, bad);
  const isOver =
    load<u32>(port, WAITING) == 0 &&
    !isDue(port) &&
    load<u32>(port, REPLAY_NEXT) == load<u32>(port, NEXT_SEQUENCE);
  store<u64>(port, isOver ? NEVER : until, AT_SEND);
}

function sendDllp(port: usize, now: u64): void {
  const bad = load<u32>(port, LINK_BAD_DLLPS);
  if (load<u64>(port, SEND_NAK) != 0) {
    const last = load<u32>(port, EXPECTED) - 1;
    const isNak = load<u32>(port, SEND_NAK) != 0;
    // A Nak acknowledges what came in order before it, so an Ack that is due goes with it.
    store<u64>(port, 0, SEND_NAK);
    store<u32>(port, 0, ACK_PENDING);
    setTimer(port, TIMER_ACK, NEVER);
    const counter = port + (isNak ? LINK_COUNT_NAKS : LINK_COUNT_ACKS);
    store<u64>(counter, load<u64>(counter) + 1);
    transmit(port, now, LINK_DLLP_BYTES, isNak ? ITEM_NAK : ITEM_ACK, last & 0xfff, bad);
    return;
  }
  const due = load<u32>(port, SEND_FC);
  const kind: u32 = ctz(due);
  store<u32>(port, due & (due - 1), SEND_FC);
  store<u32>(port, load<u32>(port, FC_PENDING) & ~((<u32>1) << kind), FC_PENDING);
  const entry = port + ((<usize>kind) << 2);
  const header = load<u32>(entry, HEADER_GIVEN) & HEADER_CREDITS;
  const data = load<u32>(entry, DATA_GIVEN) & DATA_CREDITS;
  setTimer(port, TIMER_FC + ((<usize>kind) << 3), now + load<u64>(port, LINK_FC_REFRESH));
  store<u64>(port, load<u64>(port, LINK_COUNT_FCS) + 1, LINK_COUNT_FCS);
  transmit(port, now, LINK_DLLP_BYTES, ITEM_FC, (kind << 24) | (header << 12) | data, bad);
}

function sendAgain(port: usize, now: u64, sequence: u32): void {
  const tlp: usize = load<u32>(replayAt(port, sequence));
  store<u32>(port, sequence + 1, REPLAY_NEXT);
  store<u64>(port, load<u64>(port, LINK_COUNT_REPLAYED) + 1, LINK_COUNT_REPLAYED);
  startReplayTimer(port, now);
  transmit(port, now, load<u16>(tlp, TLP_WIRE), <u32>tlp, sequence & 0xfff, load<u32>(port, LINK_BAD_TLPS));
}

/** The class whose oldest TLP may go, LINK_CLASSES when none may. */
function chooseClass(port: usize): u32 {
  const classes = load<u32>(port, WAITING_CLASSES);
  const outstanding = load<u32>(port, NEXT_SEQUENCE) - load<u32>(port, ACKED_SEQUENCE);
  if (classes == 0 || outstanding >= WINDOW) return LINK_CLASSES;
  if ((classes & (classes - 1)) == 0) {
    const kind: u32 = ctz(classes);
    const entry = port + ((<usize>kind) << 2);
    if (mayGo(port, entry, tlpAt(port, kind, load<u32>(entry, SENT)))) return kind;
    countBlocked(entry, kind);
    return LINK_CLASSES;
  }
  let best: u32 = LINK_CLASSES;
  let first: u32 = 0;
  // The oldest posted request that waits: others may not pass it.
  let isPostedBlocked = false;
  let postedOrder: u32 = 0;
  for (let kind: u32 = 0; kind < <u32>LINK_CLASSES; kind++) {
    const entry = port + ((<usize>kind) << 2);
    if (((classes >> kind) & 1) == 0) continue;
    const tlp = tlpAt(port, kind, load<u32>(entry, SENT));
    const order = load<u32>(tlp, TLP_ORDER);
    if (isPostedBlocked && <i32>(order - postedOrder) > 0) continue;
    if (!mayGo(port, entry, tlp)) {
      countBlocked(entry, kind);
      if (kind == LINK_P) {
        isPostedBlocked = true;
        postedOrder = order;
      }
      continue;
    }
    if (best == <u32>LINK_CLASSES || <i32>(order - first) < 0) {
      best = kind;
      first = order;
    }
  }
  return best;
}

function countBlocked(entry: usize, kind: u32): void {
  const counter = entry + ((<usize>kind) << 2);
  store<u64>(counter, load<u64>(counter, LINK_COUNT_BLOCKED) + 1, LINK_COUNT_BLOCKED);
}

/** Credits of the class, and room in the replay buffer (2.6.1.2, 3.6.2). */
function mayGo(port: usize, entry: usize, tlp: usize): bool {
  const unacknowledged = load<u32>(port, SENT_BYTES) - load<u32>(port, ACKED_BYTES);
  if (unacknowledged + load<u16>(tlp, TLP_WIRE) > load<u32>(port, LINK_REPLAY_BYTES)) return false;
  const finite = load<u32>(entry, IS_FINITE);
  if (finite & 1) {
    const needed = load<u32>(entry, HEADER_USED) + 1;
    if (((load<u32>(entry, HEADER_LIMIT) - needed) & HEADER_CREDITS) > HEADER_CREDITS >> 1) return false;
  }
  if (finite & 2) {
    const needed = load<u32>(entry, DATA_USED) + dataCredits(load<u16>(tlp, TLP_BYTES));
    if (((load<u32>(entry, DATA_LIMIT) - needed) & DATA_CREDITS) > DATA_CREDITS >> 1) return false;
  }
  return true;
}

/** A data credit is four DWs (2.6.1). */
export function dataCredits(bytes: u32): u32 {
  return (bytes + 15) >> 4;
}

function sendNew(port: usize, now: u64, kind: u32): void {
  const entry = port + ((<usize>kind) << 2);
  const sent = load<u32>(entry, SENT);
  const tlp = tlpAt(port, kind, sent);
  const wire = load<u16>(tlp, TLP_WIRE);
  store<u32>(entry, sent + 1, SENT);
  const waits = load<u32>(port, WAITING) - 1;
  store<u32>(port, waits, WAITING);
  if (sent + 1 == load<u32>(entry, QUEUED)) dropClass(port, kind);
  store<u32>(entry, load<u32>(entry, HEADER_USED) + 1, HEADER_USED);
  store<u32>(entry, load<u32>(entry, DATA_USED) + dataCredits(load<u16>(tlp, TLP_BYTES)), DATA_USED);
  const sequence = load<u32>(port, NEXT_SEQUENCE);
  const before = load<u32>(port, SENT_BYTES);
  store<u64>(replayAt(port, sequence), <u64>(<u32>tlp) | ((<u64>before) << 32));
  store<u32>(port, sequence + 1, NEXT_SEQUENCE);
  store<u32>(port, sequence + 1, REPLAY_NEXT);
  store<u32>(port, before + wire, SENT_BYTES);
  if (load<u64>(port, TIMER_REPLAY) == NEVER) startReplayTimer(port, now);
  const bad = load<u32>(port, LINK_BAD_TLPS);
  const until = Transmitter.put(port, now, wire, <u32>tlp, sequence & 0xfff, bad);
  store<u64>(port, waits == 0 ? NEVER : until, AT_SEND);
}

/** Nothing of this class waits any more. */
function dropClass(port: usize, kind: u32): void {
  store<u32>(port, load<u32>(port, WAITING_CLASSES) & ~((<u32>1) << kind), WAITING_CLASSES);
}

export function startReplayTimer(port: usize, now: u64): void {
  setTimer(port, TIMER_REPLAY, now + load<u64>(port, LINK_REPLAY_LIMIT));
}
