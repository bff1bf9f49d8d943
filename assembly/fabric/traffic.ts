// Floor 5: counts what an access and a machine put on the wire. The ACCESS and COUNTERS blocks are its only output.

import { ACCESS, COUNTERS, PARAMS } from '../kernel/arena';
import {
  ACCESS_BLOCK_BYTES,
  ACCESS_LAST_WIRE_DOWN,
  ACCESS_LAST_WIRE_UP,
  ACCESS_PAYLOAD_BYTES_DOWN,
  ACCESS_PAYLOAD_BYTES_UP,
  ACCESS_REQUESTS,
  ACCESS_TLPS,
  ACCESS_UNCLAIMED,
  ACCESS_WIRE_DOWN,
  ACCESS_WIRE_UP,
  COUNTER_KIND_STRIDE,
  COUNTER_PAYLOAD_DOWN,
  COUNTER_PAYLOAD_UP,
  COUNTER_UNCLAIMED_NON_POSTED,
  COUNTER_UNCLAIMED_POSTED,
  COUNTER_WIRE_DOWN,
  COUNTER_WIRE_UP,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_FLAGS,
  DESCRIPTOR_KIND,
  DESCRIPTOR_WIRE,
  FLAG_UPSTREAM,
  FUNCTION_COHERENT,
  FUNCTION_COHERENT_BYTES,
  FUNCTION_NON_COHERENT,
  FUNCTION_NON_COHERENT_BYTES,
  FUNCTION_STRIPPED,
  FUNCTION_TLPS_DOWN,
  FUNCTION_TLPS_UP,
  FUNCTION_WIRE_DOWN,
  FUNCTION_WIRE_UP,
  ORIGIN_CPU,
  PARAM_ORIGIN,
  TLP_OVERHEAD_BYTES,
} from '../layout';

let requests: u64 = 0;
let completions: u64 = 0;
let wireDown: u64 = 0;
let wireUp: u64 = 0;
let payloadDown: u64 = 0;
let payloadUp: u64 = 0;
let unclaimed: u64 = 0;
// Values of wireDown and wireUp when the current operation began.
let operationDown: u64 = 0;
let operationUp: u64 = 0;

/** A new access: all totals from 0. */
export function beginTraffic(): void {
  unclaimed = 0;
  requests = 0;
  completions = 0;
  wireDown = 0;
  wireUp = 0;
  payloadDown = 0;
  payloadUp = 0;
  operationDown = 0;
  operationUp = 0;
}

// Timed: the totals of an access while TLPs of somebody else are counted.
const SET_ASIDE: usize = memory.data(7 * 8, 8);

/** What is counted next does not belong to the access, until `restoreTotals`. */
export function setTotalsAside(): void {
  store<u64>(SET_ASIDE, requests);
  store<u64>(SET_ASIDE, completions, 8);
  store<u64>(SET_ASIDE, wireDown, 16);
  store<u64>(SET_ASIDE, wireUp, 24);
  store<u64>(SET_ASIDE, payloadDown, 32);
  store<u64>(SET_ASIDE, payloadUp, 40);
  store<u64>(SET_ASIDE, unclaimed, 48);
}

export function restoreTotals(): void {
  requests = load<u64>(SET_ASIDE);
  completions = load<u64>(SET_ASIDE, 8);
  wireDown = load<u64>(SET_ASIDE, 16);
  wireUp = load<u64>(SET_ASIDE, 24);
  payloadDown = load<u64>(SET_ASIDE, 32);
  payloadUp = load<u64>(SET_ASIDE, 40);
  unclaimed = load<u64>(SET_ASIDE, 48);
}

/** Timed: what came up since `setTotalsAside` answers an operation before the last one. */
export function countForEarlier(): void {
  operationUp += wireUp - load<u64>(SET_ASIDE, 24);
}

/** The next TLPs belong to a new operation. */
export function beginOperation(): void {
  operationDown = wireDown;
  operationUp = wireUp;
}

/** Writes the totals of the access into its block. Only when the host asks: most accesses are never looked at. */
export function writeTraffic(): void {
  memory.fill(ACCESS, 0, ACCESS_BLOCK_BYTES);
  put(ACCESS_UNCLAIMED, unclaimed);
  put(ACCESS_TLPS, requests + completions);
  put(ACCESS_REQUESTS, requests);
  put(ACCESS_WIRE_DOWN, wireDown);
  put(ACCESS_WIRE_UP, wireUp);
  put(ACCESS_PAYLOAD_BYTES_DOWN, payloadDown);
  put(ACCESS_PAYLOAD_BYTES_UP, payloadUp);
  put(ACCESS_LAST_WIRE_DOWN, wireDown - operationDown);
  put(ACCESS_LAST_WIRE_UP, wireUp - operationUp);
}

/** Stores count `value` at byte `at` of the ACCESS block. */
export function put(at: usize, value: u64): void {
  store<f64>(ACCESS + at, <f64>value);
}

/** `count` requests of the current access, of `wire` wire bytes with `bytes` data bytes: down, or up from a function. */
export function countRequests(count: u32, wire: u32, bytes: u32): void {
  requests += count;
  if (load<u32>(PARAMS, PARAM_ORIGIN) == ORIGIN_CPU) {
    wireDown += wire;
    payloadDown += bytes;
  } else {
    wireUp += wire;
    payloadUp += bytes;
  }
}

/** No function claimed a request of the current access. */
export function countUnclaimed(posted: bool): void {
  unclaimed += 1;
  add(COUNTERS + (posted ? COUNTER_UNCLAIMED_POSTED : COUNTER_UNCLAIMED_NON_POSTED), 1);
}

/** A completion of `bytes` data bytes, formed or only counted: it travels against the requests of the access. */
export function countCompletion(bytes: u32): void {
  completions += 1;
  const wire = TLP_OVERHEAD_BYTES + 12 + bytes;
  if (load<u32>(PARAMS, PARAM_ORIGIN) == ORIGIN_CPU) {
    wireUp += wire;
    payloadUp += bytes;
  } else {
    wireDown += wire;
    payloadDown += bytes;
  }
}

function add(at: usize, value: u32): void {
  store<f64>(at, load<f64>(at) + <f64>value);
}

/** Posted writes of one kind were delivered to `fn`: `count` TLPs, `wire` wire bytes, `bytes` data bytes. */
export function countWrites(kind: u32, fn: usize, count: u32, wire: u32, bytes: u32): void {
  add(COUNTERS + <usize>kind * COUNTER_KIND_STRIDE, count);
  add(COUNTERS + COUNTER_WIRE_DOWN, wire);
  add(COUNTERS + COUNTER_PAYLOAD_DOWN, bytes);
  add(fn + FUNCTION_TLPS_DOWN, count);
  add(fn + FUNCTION_WIRE_DOWN, wire);
}

/** A TLP was delivered in the machine; `fn` is the function at its device end, 0 when nobody claimed it. */
export function countDelivered(at: usize, fn: usize): void {
  const upstream = (load<u8>(at, DESCRIPTOR_FLAGS) & FLAG_UPSTREAM) != 0;
  const wire = load<u32>(at, DESCRIPTOR_WIRE);
  const bytes = load<u32>(at, DESCRIPTOR_BYTES);
  add(COUNTERS + <usize>load<u8>(at, DESCRIPTOR_KIND) * COUNTER_KIND_STRIDE + (upstream ? 8 : 0), 1);
  add(COUNTERS + (upstream ? COUNTER_WIRE_UP : COUNTER_WIRE_DOWN), wire);
  if (bytes != 0) add(COUNTERS + (upstream ? COUNTER_PAYLOAD_UP : COUNTER_PAYLOAD_DOWN), bytes);
  if (fn == 0) return;
  add(fn + (upstream ? FUNCTION_TLPS_UP : FUNCTION_TLPS_DOWN), 1);
  add(fn + (upstream ? FUNCTION_WIRE_UP : FUNCTION_WIRE_DOWN), wire);
}

/** A request of `fn` for `bytes` bytes of host memory: did caches look at it, and did a unit take its No Snoop away? */
export function countSnoop(fn: usize, bytes: u32, isSnooped: bool, isStripped: bool): void {
  add(fn + (isSnooped ? FUNCTION_COHERENT : FUNCTION_NON_COHERENT), 1);
  add(fn + (isSnooped ? FUNCTION_COHERENT_BYTES : FUNCTION_NON_COHERENT_BYTES), bytes);
  if (isStripped) add(fn + FUNCTION_STRIPPED, 1);
}
