// Floor 3: what a port does with what arrives: sequence numbers, Ack and Nak, credits (base specification 3.6, 2.6).

import {
  LINK_ACK_INTERVAL,
  LINK_CLASSES,
  LINK_COUNT_DUPLICATES,
  LINK_COUNT_TIMEOUTS,
  LINK_DRAIN_DELAY,
  LINK_FC_INTERVAL,
  LINK_REPLAY_LIMIT,
  LINK_SKP_INTERVAL,
} from '../link-layout';
import { hearActive, takeInit } from './init';
import {
  ACK_PENDING,
  ACKED_BYTES,
  ACKED_SEQUENCE,
  AT_ARRIVAL,
  AT_DRAIN,
  DATA_GIVEN,
  DATA_LIMIT,
  DRAIN_HEAD,
  DRAIN_SLOTS,
  DRAIN_TAIL,
  drainAt,
  EXPECTED,
  FC_PENDING,
  HEADER_GIVEN,
  HEADER_LIMIT,
  INIT_PHASE,
  mix,
  NAK_SCHEDULED,
  NEVER,
  NEXT_SEQUENCE,
  OWN_FINITE,
  otherEnd,
  REPLAY_NEXT,
  replayAt,
  SEND_ACK,
  SEND_FC,
  SEND_NAK,
  SEND_SKP,
  SENT_BYTES,
  setTimer,
  TIMER_ACK,
  TIMER_FC,
  TIMER_REPLAY,
  TIMER_SKP,
  TLP_BYTES,
  TLP_CLASS,
  updateTimers,
  WIRE_HEAD,
  WIRE_TAIL,
  wake,
  wireAt,
} from './port';
import {
  DATA_CREDITS,
  dataCredits,
  HEADER_CREDITS,
  ITEM_ACK,
  ITEM_BAD,
  ITEM_FC,
  ITEM_FLAGS,
  ITEM_INIT_FC1,
  ITEM_INIT_FC2,
  ITEM_KIND,
  ITEM_TLP,
} from './send';

/** The TLP that `receive` took in order; 0: nothing to deliver. */
export let received: usize = 0;

/** What every arrival does; inlined, since a call costs as much as the work. */
export class Receiver {
  /** The item leaves the wire of the other end. */
  @inline
  static takeItem(port: usize, from: usize, tail: u32): void {
    store<u32>(from, tail + 1, WIRE_TAIL);
    const next = tail + 1 == load<u32>(from, WIRE_HEAD) ? NEVER : load<u64>(wireAt(from, tail + 1));
    store<u64>(port, next, AT_ARRIVAL);
  }

  /** A TLP in order: the next one is expected, and an Ack goes when its time has come. */
  @inline
  static accept(port: usize, now: u64, expected: u32): void {
    if (load<u32>(port, INIT_PHASE) != 0) hearActive(port, now);
    store<u32>(port, expected + 1, EXPECTED);
    store<u32>(port, 0, NAK_SCHEDULED);
    if (load<u32>(port, ACK_PENDING) == 0) beginAck(port, now);
  }

  /** The buffer of a TLP is free again, at once or after the delay with which this end empties it. */
  @inline
  static consume(port: usize, now: u64, tlp: usize): void {
    Receiver.free(port, now, load<u32>(tlp, TLP_CLASS), load<u16>(tlp, TLP_BYTES));
  }

  /** The same for a TLP that is known by its class and its data bytes. */
  @inline
  static free(port: usize, now: u64, kind: u32, bytes: u32): void {
    const finite = load<u32>(port + ((<usize>kind) << 2), OWN_FINITE);
    if (finite == 0) return;
    const data = finite & 2 ? dataCredits(bytes) : 0;
    if ((finite & 1) == 0 && data == 0) return;
    if (load<u64>(port, LINK_DRAIN_DELAY) != 0) drainLater(port, now, kind, data);
    else release(port, now, kind, data);
  }
}

/** Takes the item that arrives now at `port`. What it is for the layer above stands in `received`. */
export function receive(port: usize, now: u64): void {
  const from = otherEnd(port);
  const tail = load<u32>(from, WIRE_TAIL);
  const at = wireAt(from, tail);
  const item = load<u32>(at, 8);
  const value = load<u32>(at, 12);
  Receiver.takeItem(port, from, tail);
  received = 0;
  const kind = item & ITEM_KIND;
  if (kind == ITEM_TLP) receiveTlp(port, now, item, value);
  else {
    mix(port, now, ((<u64>kind) << 32) | value);
    // A DLLP that arrives broken is dropped, and nobody is told (3.6.3.1).
    if (item & ITEM_BAD) return;
    if (kind >= ITEM_INIT_FC1) takeInit(port, now, value, kind == ITEM_INIT_FC2);
    else if (kind == ITEM_FC) takeCredits(port, now, value);
    else takeAck(port, now, value, kind != ITEM_ACK);
  }
}

function receiveTlp(port: usize, now: u64, item: u32, value: u32): void {
  mix(port, now, value);
  const expected = load<u32>(port, EXPECTED);
  const ahead = (value - expected) & 0xfff;
  if (item & ITEM_BAD || (ahead != 0 && ahead < 2048)) {
    // Broken, or one before it was: a Nak, once until the expected one comes.
    if (load<u32>(port, NAK_SCHEDULED)) return;
    store<u32>(port, 1, NAK_SCHEDULED);
    store<u32>(port, 1, SEND_NAK);
    wake(port, now);
    return;
  }
  if (ahead != 0) {
    // Was here before: it is acknowledged again.
    store<u64>(port, load<u64>(port, LINK_COUNT_DUPLICATES) + 1, LINK_COUNT_DUPLICATES);
    store<u32>(port, 1, SEND_ACK);
    wake(port, now);
    return;
  }
  Receiver.accept(port, now, expected);
  received = item & ~ITEM_FLAGS;
}

/** The first TLP without an Ack: one is due at once, or when the interval is over. */
function beginAck(port: usize, now: u64): void {
  store<u32>(port, 1, ACK_PENDING);
  const interval = load<u64>(port, LINK_ACK_INTERVAL);
  if (interval != 0) {
    setTimer(port, TIMER_ACK, now + interval);
    return;
  }
  store<u32>(port, 1, SEND_ACK);
  wake(port, now);
}

/** See `Receiver.consume`. */
export function consume(port: usize, now: u64, tlp: usize): void {
  Receiver.consume(port, now, tlp);
}

/** See `Receiver.free`. */
export function free(port: usize, now: u64, kind: u32, bytes: u32): void {
  Receiver.free(port, now, kind, bytes);
}

function drainLater(port: usize, now: u64, kind: u32, data: u32): void {
  const time = now + load<u64>(port, LINK_DRAIN_DELAY);
  const head = load<u32>(port, DRAIN_HEAD);
  const at = drainAt(port, head);
  store<u64>(at, time);
  store<u64>(at, <u64>kind | ((<u64>data) << 32), 8);
  store<u32>(port, head + 1, DRAIN_HEAD);
  if (!ASC_NO_ASSERT)
    assert(head - load<u32>(port, DRAIN_TAIL) < DRAIN_SLOTS, 'more buffers to empty than slots');
  if (head == load<u32>(port, DRAIN_TAIL)) store<u64>(port, time, AT_DRAIN);
}

/** The next buffer has been emptied. */
export function drain(port: usize, now: u64): void {
  const tail = load<u32>(port, DRAIN_TAIL);
  const at = drainAt(port, tail);
  store<u32>(port, tail + 1, DRAIN_TAIL);
  const next = tail + 1 == load<u32>(port, DRAIN_HEAD) ? NEVER : load<u64>(drainAt(port, tail + 1));
  store<u64>(port, next, AT_DRAIN);
  release(port, now, load<u32>(at, 8), load<u32>(at, 12));
}

/** Credits of a TLP are free again: those of finite pools. The field of an infinite one stays 0 (2.6.1). */
function release(port: usize, now: u64, kind: u32, data: u32): void {
  const entry = port + ((<usize>kind) << 2);
  store<u32>(entry, load<u32>(entry, HEADER_GIVEN) + (load<u32>(entry, OWN_FINITE) & 1), HEADER_GIVEN);
  store<u32>(entry, load<u32>(entry, DATA_GIVEN) + data, DATA_GIVEN);
  const bit: u32 = 1 << kind;
  const pending = load<u32>(port, FC_PENDING);
  if (pending & bit) return;
  store<u32>(port, pending | bit, FC_PENDING);
  const interval = load<u64>(port, LINK_FC_INTERVAL);
  if (interval == 0) {
    store<u32>(port, load<u32>(port, SEND_FC) | bit, SEND_FC);
    wake(port, now);
    return;
  }
  const timer = TIMER_FC + ((<usize>kind) << 3);
  setTimer(port, timer, min(load<u64>(port + timer), now + interval));
}

/** Limits of the other end. Modulo arithmetic keeps them apart from old ones: at most half the range is out (2.6.1). */
function takeCredits(port: usize, now: u64, value: u32): void {
  if (load<u32>(port, INIT_PHASE) != 0) hearActive(port, now);
  const entry = port + ((<usize>(value >>> 24)) << 2);
  store<u32>(entry, (value >>> 12) & HEADER_CREDITS, HEADER_LIMIT);
  store<u32>(entry, value & DATA_CREDITS, DATA_LIMIT);
  wake(port, now);
}

/** All up to `value` arrived; with a Nak all behind it are sent again. */
function takeAck(port: usize, now: u64, value: u32, isNak: bool): void {
  const first = load<u32>(port, ACKED_SEQUENCE);
  const count = (value + 1 - first) & 0xfff;
  const sent = load<u32>(port, NEXT_SEQUENCE);
  if (count > sent - first) return; // older than what was acknowledged
  const acked = first + count;
  if (count != 0) {
    store<u32>(port, acked, ACKED_SEQUENCE);
    const bytes = acked == sent ? load<u32>(port, SENT_BYTES) : load<u32>(replayAt(port, acked), 4);
    store<u32>(port, bytes, ACKED_BYTES);
    // A replay that runs does not send again what has arrived.
    if (<i32>(load<u32>(port, REPLAY_NEXT) - acked) < 0) store<u32>(port, acked, REPLAY_NEXT);
  }
  if (isNak) store<u32>(port, acked, REPLAY_NEXT);
  if (count != 0 || isNak) {
    setTimer(port, TIMER_REPLAY, acked == sent ? NEVER : now + load<u64>(port, LINK_REPLAY_LIMIT));
  }
  wake(port, now);
}

/** Timers that are due. */
export function expire(port: usize, now: u64): void {
  if (load<u64>(port, TIMER_ACK) <= now) {
    store<u64>(port, NEVER, TIMER_ACK);
    store<u32>(port, 1, SEND_ACK);
  }
  for (let kind: u32 = 0; kind < <u32>LINK_CLASSES; kind++) {
    const timer = port + ((<usize>kind) << 3);
    if (load<u64>(timer, TIMER_FC) > now) continue;
    store<u64>(timer, NEVER, TIMER_FC);
    store<u32>(port, load<u32>(port, SEND_FC) | ((<u32>1) << kind), SEND_FC);
  }
  if (load<u64>(port, TIMER_SKP) <= now) {
    store<u64>(port, load<u64>(port, TIMER_SKP) + load<u64>(port, LINK_SKP_INTERVAL), TIMER_SKP);
    store<u32>(port, load<u32>(port, SEND_SKP) + 1, SEND_SKP);
  }
  if (load<u64>(port, TIMER_REPLAY) <= now) {
    // Nothing was acknowledged for too long: everything again.
    store<u32>(port, load<u32>(port, ACKED_SEQUENCE), REPLAY_NEXT);
    store<u64>(port, now + load<u64>(port, LINK_REPLAY_LIMIT), TIMER_REPLAY);
    store<u64>(port, load<u64>(port, LINK_COUNT_TIMEOUTS) + 1, LINK_COUNT_TIMEOUTS);
  }
  updateTimers(port);
  wake(port, now);
}
