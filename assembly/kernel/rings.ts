// Floor 1: the descriptor ring (queue, pool and record of TLPs in one), the payload ring and the operation records.
//
//   keep ........ tail ........ head          indices only grow; slot = index modulo RING_SLOTS
//   ^ undrained   ^ undelivered ^ next free
import {
  DESCRIPTOR_STRIDE,
  OPERATION_BYTES,
  OPERATION_KIND,
  OPERATION_PAYLOAD,
  OPERATION_POSITION_HI,
  OPERATION_POSITION_LO,
  OPERATION_SLOTS,
  OPERATION_STRIDE,
  OPERATION_TLPS,
  PAYLOAD_BYTES,
  RING_SLOTS,
  STAGE_LEAD,
} from '../layout';
import { operations, payload, ring } from './arena';

/** Next free descriptor. */
export let head: u32 = 0;
/** Next descriptor to deliver. */
export let tail: u32 = 0;
/** Next descriptor the host has not drained. */
export let keep: u32 = 0;

let payloadHead: u32 = 0;
/** Start of what one operation may overwrite: behind the staged bytes of the access. */
let payloadMark: u32 = 0;
let operationCount: u32 = 0;

/** Address of descriptor `index`. */
export function slotAt(index: u32): usize {
  return ring + <usize>(index & (RING_SLOTS - 1)) * DESCRIPTOR_STRIDE;
}

/** Takes the next free descriptor. The caller made sure of room with `roomForOperation`. */
export function pushDescriptor(): usize {
  assert(head - keep < <u32>RING_SLOTS, 'descriptor ring overrun');
  const at = slotAt(head);
  head += 1;
  return at;
}

/** Address of the free descriptor `ahead` places behind the next one; `pushed` takes them all at once. */
export function descriptorAt(ahead: u32): usize {
  assert(head + ahead - keep < <u32>RING_SLOTS, 'descriptor ring overrun');
  return slotAt(head + ahead);
}

/** The next `count` free descriptors are filled. */
export function pushed(count: u32): void {
  head += count;
}

/** The next `count` descriptors are delivered. */
export function delivered(count: u32): void {
  tail += count;
}

export function popDescriptor(): usize {
  const at = slotAt(tail);
  tail += 1;
  return at;
}

/** True while TLPs, data and record of one more operation surely fit. */
export function roomForOperation(): bool {
  return (
    <u32>RING_SLOTS - (head - keep) >= <u32>OPERATION_TLPS &&
    payloadHead + <u32>OPERATION_PAYLOAD <= <u32>PAYLOAD_BYTES &&
    operationCount < <u32>OPERATION_SLOTS
  );
}

/** Forgets what nobody wants to see: an empty ring starts again at slot 0, where the cache is warm. */
export function rewindRing(): void {
  head = 0;
  tail = 0;
  keep = 0;
}

/** The next `count` descriptors stay as delivered ones, all behind them leave the ring. */
export function keepDelivered(count: u32): void {
  tail += count;
  head = tail;
}

/** What stands in the payload ring behind the staged bytes of the access is no longer needed. */
export function releasePayload(): void {
  payloadHead = payloadMark;
}

/** Everything pushed counts as delivered (listing without a machine). */
export function skipDelivery(): void {
  tail = head;
}

/** The host has copied all descriptors and operation records. */
export function drained(): void {
  keep = tail;
  if (head == tail) rewindRing();
  operationCount = 0;
  payloadHead = payloadMark;
}

/** After an operation whose TLPs nobody keeps: descriptors and data start over. */
export function recycle(): void {
  rewindRing();
  operationCount = 0;
  payloadHead = payloadMark;
}

/**
 * Begins an access: rings empty, and `bytes` of staged data (or room for a read result) at the front of the payload
 * ring at an address congruent to `phase` modulo 16. Returns that address; the host computes the same one.
 */
export function stage(bytes: u32, phase: u32): usize {
  rewindRing();
  operationCount = 0;
  payloadHead = STAGE_LEAD;
  const at = reservePayload(bytes, phase);
  payloadMark = payloadHead;
  return at;
}

/**
 * Room for `bytes` in the payload ring whose address is congruent to `phase` modulo 16, so that vector copies
 * between bus address and payload stay aligned. Answers 0 when the ring is full.
 */
export function reservePayload(bytes: u32, phase: u32): usize {
  const start = ((payloadHead + 15) & ~15) + (phase & 15);
  // 16 bytes behind each piece: the last DW of a piece may be only partly ours.
  if (start + bytes + 16 > <u32>PAYLOAD_BYTES) return 0;
  payloadHead = start + bytes + 16;
  return payload + start;
}

export function recordOperation(position: u64, bytes: u32, kind: u32): void {
  assert(operationCount < <u32>OPERATION_SLOTS, 'operation records overrun');
  const at = operations + <usize>operationCount * OPERATION_STRIDE;
  store<u32>(at, <u32>position, OPERATION_POSITION_LO);
  store<u32>(at, <u32>(position >> 32), OPERATION_POSITION_HI);
  store<u32>(at, bytes, OPERATION_BYTES);
  store<u32>(at, kind, OPERATION_KIND);
  operationCount += 1;
}

export function recordedOperations(): u32 {
  return operationCount;
}

/** TLPs that wait for the host. */
export function recordedTlps(): u32 {
  return tail - keep;
}
