// Floor 3: one end of a link: what it waits to send, what it may send, and what it has received. Two ends make a link.
//
// Every entry of a port is a word at an offset, so that one code serves both ends. Times are ticks (u64).
//
//   class queue    queued ........ sent ........ (acknowledged)     one ring per class: queue and replay store at once
//   replay list    by sequence number: which descriptor, and all wire bytes sent before it (modulo 2^32)
//   wire           what travels to the other end, in order: arrival time, item, value

import {
  LINK_ACKED_SEQUENCE,
  LINK_CLASSES,
  LINK_COUNT_SKPS,
  LINK_CREDITS,
  LINK_DATA_GIVEN,
  LINK_DATA_USED,
  LINK_FC_REFRESH,
  LINK_HASH,
  LINK_HEADER_GIVEN,
  LINK_HEADER_USED,
  LINK_INIT,
  LINK_LATENCY,
  LINK_LOGGED,
  LINK_MOST,
  LINK_PORT_STRIDE,
  LINK_RANDOM,
  LINK_REPLAY_NEXT,
  LINK_SEND_ACK,
  LINK_SEND_FC,
  LINK_SEND_NAK,
  LINK_SKP_INTERVAL,
  LINK_TICKS_PER_BYTE,
} from '../link-layout';

export const PORT_STRIDE: usize = LINK_PORT_STRIDE;
/** Two ends per link: first the upstream one (root complex), then the downstream one (endpoint). */
export const PORTS: usize = memory.data(2 * LINK_MOST * LINK_PORT_STRIDE, 16);

export const NEVER: u64 = ~0;

// Words of a port, in their order; the map stands in link-layout.ts.

// Next event by kind. The kinds stand in the order in which events of one tick happen.
export const AT_ARRIVAL: usize = 0;
export const AT_READY: usize = 8;
export const AT_DRAIN: usize = 16;
export const AT_TIMER: usize = 24;
export const AT_ISSUE: usize = 32;
export const AT_SEND: usize = 40;

// Timers; AT_TIMER is the minimum of them and of TIMER_SKP.
export const TIMER_ACK: usize = 48;
export const TIMER_FC: usize = 56; // one per class
export const TIMER_REPLAY: usize = 80;

// Transmitter.
export const BUSY_UNTIL: usize = 160; // u64
export const NEXT_SEQUENCE: usize = 168; // u32, counts on; 12 bits are sent
export const ACKED_SEQUENCE: usize = LINK_ACKED_SEQUENCE; // u32, first that is not acknowledged
export const REPLAY_NEXT: usize = LINK_REPLAY_NEXT; // u32, first to be sent again; NEXT_SEQUENCE: none
export const SENT_BYTES: usize = 184; // u32, wire bytes of all TLPs sent, each once; counts on
export const ACKED_BYTES: usize = 192; // u32
export const SEND_NAK: usize = LINK_SEND_NAK; // u32 flags of what is due
export const SEND_ACK: usize = LINK_SEND_ACK;
export const SEND_FC: usize = LINK_SEND_FC; // bit by class
export const SEND_SKP: usize = 212; // u32, ordered sets that are due

// By class, 4 bytes each.
export const QUEUED: usize = 216;
export const SENT: usize = 228;
export const HEADER_USED: usize = LINK_HEADER_USED; // credits, counting on
export const HEADER_LIMIT: usize = 252;
export const DATA_USED: usize = LINK_DATA_USED;
export const DATA_LIMIT: usize = 276;
export const IS_FINITE: usize = 288; // bit 0: headers, bit 1: data

// Receiver.
export const EXPECTED: usize = 300; // u32, sequence number that comes next
export const NAK_SCHEDULED: usize = 304;
export const ACK_PENDING: usize = 308;
export const FC_PENDING: usize = 312; // bit by class
export const HEADER_GIVEN: usize = LINK_HEADER_GIVEN; // by class: what UpdateFC reports
export const DATA_GIVEN: usize = LINK_DATA_GIVEN;
export const OWN_FINITE: usize = 340; // by class, of this end: bits as of IS_FINITE
export const DRAIN_HEAD: usize = 352;
export const DRAIN_TAIL: usize = 356;
export const WIRE_HEAD: usize = 360; // items that this end has put on the wire
export const WIRE_TAIL: usize = 364;

// Set by `joinEnds`; a reset leaves them.
const RINGS: usize = 504; // where the rings of this end begin
const OTHER_END: usize = 508;
const WIRE_RING: usize = 676;
const REPLAY_LIST: usize = 684;

export const WAITING: usize = 672; // u32, TLPs of all classes
const WIRE_MASK: usize = 680;
export const WAITING_CLASSES: usize = 688; // bit by class
export const ORDER: usize = 692; // u32, number of the next TLP that is queued

export const TIMER_SKP: usize = 800; // u64, when the next SKP ordered set is due
const DELIVERED: usize = 808; // by class: TLPs delivered to this end, in builds with assertions

// Flow control initialisation.
export const INIT_PHASE: usize = 832; // 1 sends InitFC1, 2 InitFC2, 0: it is over
export const INIT_SEEN: usize = 836; // bit by class that was heard of
export const INIT_SENT: usize = 840; // packets
export const INIT_IS_HEARD: usize = 844; // FI2

// A queued TLP.
export const TLP_H0: usize = 0;
export const TLP_H1: usize = 4;
export const TLP_H2: usize = 8;
export const TLP_H3: usize = 12;
export const TLP_PAYLOAD: usize = 16; // where its data stand
export const TLP_BYTES: usize = 20; // data bytes, u16; header credits are 1
export const TLP_WIRE: usize = 22; // wire bytes, u16
export const TLP_ORDER: usize = 24; // u32
export const TLP_CLASS: usize = 28; // u32
export const TLP_STRIDE_LG2: usize = 5;

export const QUEUE_LG2: u32 = 13;
const QUEUE_SLOTS: u32 = 1 << QUEUE_LG2;
/** TLPs that may wait in a class. With 2047 unacknowledged ones no descriptor is overwritten before its time. */
export const QUEUE_ROOM: u32 = 4096;
const SEQUENCES: u32 = 4096;
/**
 * TLPs that may be unacknowledged. The next one waits while NEXT_TRANSMIT_SEQ - ACKD_SEQ is 2048, half of the 12-bit space,
 * and ACKD_SEQ is the last number that was acknowledged (base specification 3.6.2.1, tlp.md 8).
 */
export const WINDOW: u32 = 2047;
const WIRE_LG2: u32 = 14;
/** Buffers that are to be emptied. At most 2047 TLPs of a class hold finite credits: each a header credit, or a data credit. */
export const DRAIN_SLOTS: u32 = 8192;

/** A port that has sent and received nothing: before flow control initialisation with LINK_INIT, else after it. */
export function resetPort(port: usize): void {
  for (let at: usize = 0; at < TIMER_FC; at += 8) store<u64>(port + at, NEVER);
  memory.fill(port + BUSY_UNTIL, 0, <usize>LINK_CREDITS - BUSY_UNTIL);
  store<u32>(port, 0, WAITING);
  store<u32>(port, 0, WAITING_CLASSES);
  store<u32>(port, 0, ORDER);
  memory.fill(port + DELIVERED, 0, 12);
  store<u32>(port, 0, LINK_LOGGED);
  store<u64>(port, load<u32>(port, LINK_INIT), INIT_PHASE);
  store<u64>(port, 0, INIT_SENT);
  if (load<u32>(port, LINK_INIT) != 0) store<u64>(port, 0, AT_SEND);
  const interval = load<u64>(port, LINK_SKP_INTERVAL);
  store<u64>(port, interval == 0 ? NEVER : interval, TIMER_SKP);
  store<u64>(port, 0, LINK_COUNT_SKPS);
  store<u32>(port, wireMask(port), WIRE_MASK);
  store<u64>(port, NEVER, TIMER_REPLAY);
  const other = otherEnd(port);
  for (let kind: usize = 0; kind < <usize>LINK_CLASSES; kind++) {
    const entry = port + (kind << 2);
    const theirs = other + (kind << 2);
    setLimits(entry, load<u32>(theirs, LINK_CREDITS), load<u32>(theirs, LINK_CREDITS + 12));
    const ownHeader = load<u32>(entry, LINK_CREDITS);
    const ownData = load<u32>(entry, LINK_CREDITS + 12);
    store<u32>(entry, ownHeader, HEADER_GIVEN);
    store<u32>(entry, ownData, DATA_GIVEN);
    const hasLimit = (ownHeader | ownData) != 0;
    store<u32>(entry, (ownHeader != 0 ? 1 : 0) | (ownData != 0 ? 2 : 0), OWN_FINITE);
    store<u64>(port + (kind << 3), hasLimit ? load<u64>(port, LINK_FC_REFRESH) : NEVER, TIMER_FC);
  }
  updateTimers(port);
}

/** The credits of a class that the other end advertises; 0 is infinite. `entry` is the port, 4 bytes on per class. */
export function setLimits(entry: usize, header: u32, data: u32): void {
  store<u32>(entry, header, HEADER_LIMIT);
  store<u32>(entry, data, DATA_LIMIT);
  store<u32>(entry, (header != 0 ? 1 : 0) | (data != 0 ? 2 : 0), IS_FINITE);
}

/**
 * Slots for what is on the wire at once, less one: no more than one packet in each 8 byte times until it arrives. One end
 * may be computed ahead of the other by both latencies. A short ring stays in the cache.
 */
function wireMask(port: usize): u32 {
  const packets = load<u64>(port, LINK_LATENCY) / (8 * load<u32>(port, LINK_TICKS_PER_BYTE));
  let lg2: u32 = 8;
  while (lg2 < WIRE_LG2 && (<u64>1) << (lg2 - 2) < packets + 32) lg2 += 1;
  return (1 << lg2) - 1;
}

const QUEUES_BYTES: usize = 3 * ((<usize>QUEUE_SLOTS) << TLP_STRIDE_LG2);
const REPLAY_LIST_BYTES: usize = <usize>SEQUENCES * 8;
const WIRE_RING_BYTES: usize = 1 << (WIRE_LG2 + 4);
const DRAIN_RING_BYTES: usize = <usize>DRAIN_SLOTS * 16;
const RINGS_STRIDE: usize = QUEUES_BYTES + REPLAY_LIST_BYTES + WIRE_RING_BYTES + DRAIN_RING_BYTES;
/** Bytes that the rings of a link take. */
export const LINK_BYTES: usize = 2 * RINGS_STRIDE;

/** The upstream end of link `index`; the downstream one stands PORT_STRIDE behind it. */
export function linkAt(index: u32): usize {
  return PORTS + <usize>index * 2 * PORT_STRIDE;
}

/** Gives the two ends of a link their rings, LINK_BYTES from `at` on, and makes them known to each other. */
export function joinEnds(first: usize, at: usize): void {
  const second = first + PORT_STRIDE;
  placeRings(first, at, second);
  placeRings(second, at + RINGS_STRIDE, first);
}

function placeRings(port: usize, at: usize, other: usize): void {
  store<u32>(port, <u32>at, RINGS);
  store<u32>(port, <u32>other, OTHER_END);
  store<u32>(port, <u32>(at + QUEUES_BYTES), REPLAY_LIST);
  store<u32>(port, <u32>(at + QUEUES_BYTES + REPLAY_LIST_BYTES), WIRE_RING);
}

function ringsOf(port: usize): usize {
  return load<u32>(port, RINGS);
}

export function otherEnd(port: usize): usize {
  return load<u32>(port, OTHER_END);
}

/** Descriptor `index` of class `kind`. */
export function tlpAt(port: usize, kind: u32, index: u32): usize {
  const slot = (kind << QUEUE_LG2) + (index & (QUEUE_SLOTS - 1));
  return ringsOf(port) + ((<usize>slot) << TLP_STRIDE_LG2);
}

/** Fails when a TLP from the other end is not the next one of its class that was queued there: each once, in order. */
export function assertNext(port: usize, tlp: usize): void {
  const kind = load<u32>(tlp, TLP_CLASS);
  const at = port + ((<usize>kind) << 2);
  const index = load<u32>(at, DELIVERED);
  assert(
    tlp == tlpAt(otherEnd(port), kind, index),
    'a TLP is lost, comes twice or overtakes one of its class',
  );
  store<u32>(at, index + 1, DELIVERED);
}

/** Entry of the replay list: descriptor (u32), low word of SENT_BYTES in front of it. */
export function replayAt(port: usize, sequence: u32): usize {
  return <usize>load<u32>(port, REPLAY_LIST) + ((<usize>(sequence & (SEQUENCES - 1))) << 3);
}

/** Item of the wire that begins at `port`: arrival (u64), what it is (u32), value (u32). */
export function wireAt(port: usize, index: u32): usize {
  return <usize>load<u32>(port, WIRE_RING) + ((<usize>(index & load<u32>(port, WIRE_MASK))) << 4);
}

/** Credits that come free later: time (u64), class (u32), data credits (u32). */
export function drainAt(port: usize, index: u32): usize {
  const front = QUEUES_BYTES + REPLAY_LIST_BYTES + WIRE_RING_BYTES;
  return ringsOf(port) + front + ((<usize>(index & (DRAIN_SLOTS - 1))) << 4);
}

/** Room in a queue for `count` more TLPs. */
export function hasRoom(port: usize, kind: u32, count: u32): bool {
  const at = port + ((<usize>kind) << 2);
  return load<u32>(at, QUEUED) - load<u32>(at, SENT) + count <= QUEUE_ROOM;
}

/** Queues a TLP of class `kind`, whose header and data the caller fills in; TLP_ORDER and TLP_CLASS are set. */
export function queueTlp(port: usize, kind: u32): usize {
  const at = port + ((<usize>kind) << 2);
  const index = load<u32>(at, QUEUED);
  const tlp = tlpAt(port, kind, index);
  const order = load<u32>(port, ORDER);
  store<u32>(at, index + 1, QUEUED);
  store<u32>(port, order + 1, ORDER);
  store<u32>(port, load<u32>(port, WAITING) + 1, WAITING);
  store<u32>(port, load<u32>(port, WAITING_CLASSES) | ((<u32>1) << kind), WAITING_CLASSES);
  store<u64>(tlp, <u64>order | ((<u64>kind) << 32), TLP_ORDER);
  return tlp;
}

/** A change that may let the transmitter go on: it looks again as soon as it is free. */
export function wake(port: usize, now: u64): void {
  if (load<u64>(port, AT_SEND) == NEVER) store<u64>(port, max(now, load<u64>(port, BUSY_UNTIL)), AT_SEND);
}

/** Sets timer `at` to `time`, NEVER to stop it; AT_TIMER follows. */
export function setTimer(port: usize, at: usize, time: u64): void {
  const before = load<u64>(port + at);
  const first = load<u64>(port, AT_TIMER);
  store<u64>(port + at, time);
  if (time <= first) store<u64>(port, time, AT_TIMER);
  else if (before == first) updateTimers(port);
}

/** AT_TIMER after several timers have changed. */
export function updateTimers(port: usize): void {
  let first = min(load<u64>(port, TIMER_ACK), load<u64>(port, TIMER_REPLAY));
  first = min(first, load<u64>(port, TIMER_SKP));
  first = min(first, load<u64>(port, TIMER_FC));
  first = min(first, load<u64>(port, TIMER_FC + 8));
  store<u64>(port, min(first, load<u64>(port, TIMER_FC + 16)), AT_TIMER);
}

/** 32 bits of the port's own sequence (xorshift): what one end draws does not depend on the other. */
export function draw(port: usize): u32 {
  let x = load<u32>(port, LINK_RANDOM);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  store<u32>(port, x, LINK_RANDOM);
  return x;
}

// Odd numbers that spread their factor over all bits.
const SPREAD: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15;
const STIR: u64 = ((<u64>0xbf58476d) << 32) | 0x1ce4e5b9;

/** `hash` with what happened at `time` mixed in. */
export function mixed(hash: u64, time: u64, what: u64): u64 {
  const product = (hash ^ (time + what * SPREAD)) * STIR;
  return product ^ (product >> 29);
}

/** Mixes an arrival into the hash of the port. */
export function mix(port: usize, time: u64, what: u64): void {
  store<u64>(port, mixed(load<u64>(port, LINK_HASH), time, what), LINK_HASH);
}
