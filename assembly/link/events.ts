// Floor 3: the next event of a port, and the order of events.
//
// A key is a time with the kind below it, so that the smallest key is the next event. Whatever has a constant delay stays in
// order, so each port has one next event of each kind. Events of one tick happen by kind: all changes of state first, then
// the transmitter chooses.

import { AT_ARRIVAL, AT_DRAIN, AT_ISSUE, AT_READY, AT_SEND, AT_TIMER } from './port';

export const KIND_BITS: u64 = 3;
export const KINDS: u64 = (1 << KIND_BITS) - 1;
export const ARRIVAL: u64 = 0;
export const READY: u64 = 1;
export const DRAIN: u64 = 2;
export const TIMER: u64 = 3;
export const ISSUE: u64 = 4;
export const SEND: u64 = 5;

/** The next event of a port. */
export function nextKey(port: usize): u64 {
  return min(stateKey(port), sendKey(port));
}

/** The next one that is not the transmitter's. */
export function stateKey(port: usize): u64 {
  const arrival = load<u64>(port, AT_ARRIVAL) << KIND_BITS;
  let key = min(arrival | ARRIVAL, (load<u64>(port, AT_READY) << KIND_BITS) | READY);
  key = min(key, (load<u64>(port, AT_DRAIN) << KIND_BITS) | DRAIN);
  const timer = (load<u64>(port, AT_TIMER) << KIND_BITS) | TIMER;
  return min(key, min(timer, (load<u64>(port, AT_ISSUE) << KIND_BITS) | ISSUE));
}

export function sendKey(port: usize): u64 {
  return (load<u64>(port, AT_SEND) << KIND_BITS) | SEND;
}

/** Time of the next event that is not an arrival. */
export function restTime(port: usize): u64 {
  let time = min(load<u64>(port, AT_READY), load<u64>(port, AT_DRAIN));
  time = min(time, min(load<u64>(port, AT_TIMER), load<u64>(port, AT_ISSUE)));
  return min(time, load<u64>(port, AT_SEND));
}
