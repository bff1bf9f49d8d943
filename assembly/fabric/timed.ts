// Floor 5: a link in time: two ports, and the order of all events.
//
//   one by one   the smallest event of both ports is next
//   windows      what one end does at t reaches the other at t + 8 byte times + latency or later; until then each may run
//                alone, and does the same as it would one by one
//
// Windows hold while accesses are still to be issued: an access takes a round trip until it is done, so a run never ends
// within one.

import { hasOnlyPosted, lastBegin, sendPosted } from '../link/burst';
import {
  ARRIVAL,
  DRAIN,
  KIND_BITS,
  KINDS,
  nextKey,
  READY,
  restTime,
  SEND,
  sendKey,
  stateKey,
  TIMER,
} from '../link/events';
import {
  ACKED_SEQUENCE,
  joinEnds,
  LINK_BYTES,
  NEXT_SEQUENCE,
  PORT_STRIDE,
  PORTS,
  resetPort,
  WAITING,
} from '../link/port';
import { drain, expire } from '../link/receive';
import { send } from '../link/send';
import {
  LINK_AT_END,
  LINK_DLLP_BYTES,
  LINK_DONE,
  LINK_LATENCY,
  LINK_RUNS,
  LINK_TICKS_PER_BYTE,
  LOAD_READ_OUT,
  LOAD_READS,
  LOAD_WRITES,
} from '../link-layout';
import { arrive, isPostedNext, lastTaken, takePosted } from './arrivals';
import { complete, IS_STALLED, resetCompleter } from './completer';
import { placePayload } from './inflight';
import { issue, looksBelow, refill, resetLoad } from './loads';

/** Ticks of latency from which on windows are worth their while: 10 ns. */
const WINDOWS_FROM: u64 = 10 * 4096;

/** A run ends there, after 2199 s: as far as the host's numbers are exact. A port without events has none before it. */
const LATEST: u64 = 1 << 53;

/** Simulated time of the last event, ticks, and how many there were. */
export let linkTime: u64 = 0;
export let linkEvents: u64 = 0;
/** The order of computation; tests compare both. */
let usesWindows: bool = false;

/**
 * Begins a run of the ports as the host has described them. Rings stand at `at`, behind them `bytes`, a power of two, of data
 * in flight.
 */
export function startLink(at: usize, bytes: u32, windows: bool): void {
  joinEnds(PORTS, at);
  linkTime = 0;
  linkEvents = 0;
  usesWindows = windows;
  for (let n: u32 = 0; n < 2; n++) {
    const port = PORTS + <usize>n * PORT_STRIDE;
    resetPort(port);
    placePayload(port, at + LINK_BYTES + <usize>(n * (bytes >> 1)), bytes >> 1);
    resetCompleter(port);
    resetLoad(port);
    if (load<u64>(port, LINK_LATENCY) < WINDOWS_FROM) usesWindows = false;
  }
}

/** Runs until the loads are done and acknowledged, the next event is after `end`, or about `limit` more events. Answers LINK_*. */
export function runLink(limit: u32, end: u64): u32 {
  const last = linkEvents + limit;
  end = min(end, LATEST);
  if (usesWindows && !runWindows(last, end)) return linkEvents < last ? LINK_AT_END : LINK_RUNS;
  while (linkEvents < last) {
    const first = nextKey(PORTS);
    const second = nextKey(PORTS + PORT_STRIDE);
    const key = min(first, second);
    const time = key >> KIND_BITS;
    if (time > end) return LINK_AT_END;
    linkTime = time;
    linkEvents += 1;
    Event.perform(first <= second ? PORTS : PORTS + PORT_STRIDE, time, key & KINDS);
    if (isDone()) return LINK_DONE;
  }
  return LINK_RUNS;
}

/** Window after window. False: `last` events have happened, or nothing is left before `end`; true: one by one from here. */
function runWindows(last: u64, end: u64): bool {
  const up = PORTS;
  const down = PORTS + PORT_STRIDE;
  const toDown = leastTicks(up);
  const toUp = leastTicks(down);
  while (hasUnissued()) {
    if (linkEvents >= last) return false;
    const next = min(nextTime(down), nextTime(up) + toDown);
    if (min(next, nextTime(up)) > end) return false;
    runPort(up, min(next + toUp, end + 1));
    if (!hasUnissued()) return true;
    runPort(down, min(min(nextTime(up), nextTime(down) + toUp) + toDown, end + 1));
  }
  return true;
}

/** From the begin of the shortest packet to its arrival. */
function leastTicks(port: usize): u64 {
  return LINK_DLLP_BYTES * load<u32>(port, LINK_TICKS_PER_BYTE) + load<u64>(port, LINK_LATENCY);
}

function nextTime(port: usize): u64 {
  return nextKey(port) >> KIND_BITS;
}

/** All events of a port before `horizon`. Runs of posted requests go out and come in without a look at each event. */
function runPort(port: usize, horizon: u64): void {
  let events: u64 = 0;
  let time: u64 = 0;
  const bound = horizon << KIND_BITS;
  while (true) {
    const state = stateKey(port);
    const key = min(state, sendKey(port));
    if (key >= bound) break;
    time = key >> KIND_BITS;
    const kind = key & KINDS;
    if (kind == SEND && hasOnlyPosted(port)) {
      const count = sendPosted(port, time, min(state >> KIND_BITS, horizon), looksBelow(port, time));
      if (count != 0) {
        events += count;
        time = lastBegin;
        refill(port, time);
        continue;
      }
    } else if (kind == ARRIVAL && isPostedNext(port)) {
      const count = takePosted(port, min(restTime(port), horizon - 1));
      if (count != 0) {
        events += count;
        time = lastTaken;
        continue;
      }
    }
    events += 1;
    Event.perform(port, time, kind);
  }
  if (time > linkTime) linkTime = time;
  linkEvents += events;
}

/** Inlined, as a call costs as much as the work. */
class Event {
  @inline
  static perform(port: usize, now: u64, kind: u64): void {
    if (kind == ARRIVAL) arrive(port, now);
    else if (kind == SEND) {
      send(port, now);
      if ((load<u32>(port, LOAD_WRITES) | load<u32>(port, IS_STALLED)) != 0) refill(port, now);
    } else if (kind == READY) complete(port, now);
    else if (kind == TIMER) expire(port, now);
    else if (kind == DRAIN) drain(port, now);
    else issue(port, now);
  }
}

/** An access is still to be issued at one of the ends. */
function hasUnissued(): bool {
  const down = PORTS + PORT_STRIDE;
  return (
    (load<u32>(PORTS, LOAD_WRITES) |
      load<u32>(PORTS, LOAD_READS) |
      load<u32>(down, LOAD_WRITES) |
      load<u32>(down, LOAD_READS)) !=
    0
  );
}

function isQuiet(port: usize): bool {
  return (
    load<u32>(port, LOAD_READ_OUT) == 0 &&
    load<u32>(port, WAITING) == 0 &&
    load<u32>(port, ACKED_SEQUENCE) == load<u32>(port, NEXT_SEQUENCE)
  );
}

function isDone(): bool {
  return !hasUnissued() && isQuiet(PORTS) && isQuiet(PORTS + PORT_STRIDE);
}
