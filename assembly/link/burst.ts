// Floor 3: posted requests that leave one behind the other, with what changes from one to the next in locals.

import {
  LINK_BAD_TLPS,
  LINK_COUNT_BUSY,
  LINK_LATENCY,
  LINK_P,
  LINK_REPLAY_BYTES,
  LINK_TICKS_PER_BYTE,
} from '../link-layout';
import { logs } from './log';
import {
  ACKED_BYTES,
  ACKED_SEQUENCE,
  AT_ARRIVAL,
  AT_SEND,
  BUSY_UNTIL,
  DATA_LIMIT,
  DATA_USED,
  HEADER_LIMIT,
  HEADER_USED,
  IS_FINITE,
  NEVER,
  NEXT_SEQUENCE,
  otherEnd,
  QUEUED,
  REPLAY_NEXT,
  replayAt,
  SENT,
  SENT_BYTES,
  TIMER_REPLAY,
  TLP_BYTES,
  tlpAt,
  WAITING,
  WAITING_CLASSES,
  WINDOW,
  WIRE_HEAD,
  WIRE_TAIL,
  wireAt,
} from './port';
import { DATA_CREDITS, dataCredits, HEADER_CREDITS, isDue, startReplayTimer } from './send';

/** Posted requests, and only such, wait at `port`, and neither DLLPs, replays nor errors come between them. */
export function hasOnlyPosted(port: usize): bool {
  if (load<u32>(port, WAITING_CLASSES) != 1 << LINK_P || load<u32>(port, LINK_BAD_TLPS) != 0) return false;
  if (isDue(port) || logs(port)) return false;
  return load<u32>(port, REPLAY_NEXT) == load<u32>(port, NEXT_SEQUENCE);
}

/** When the last TLP that `sendPosted` sent began. */
export let lastBegin: u64 = 0;

/**
 * Sends posted requests from `now` on as long as they may go, begin before tick `until`, and the requester does not look
 * at the queue: it does when fewer than `few` wait. Same effect as `send` for each. Call when `hasOnlyPosted`. Returns how
 * many went.
 */
export function sendPosted(port: usize, now: u64, until: u64, few: u32): u32 {
  const queued = load<u32>(port, QUEUED);
  const first = load<u32>(port, SENT);
  const keep: u32 = few == 0 ? 0 : few - 1;
  const stop = queued - first > keep ? queued - keep : first + 1;
  const perByte = load<u32>(port, LINK_TICKS_PER_BYTE);
  const latency = load<u64>(port, LINK_LATENCY);
  const finite = load<u32>(port, IS_FINITE);
  const headerUsed = load<u32>(port, HEADER_USED);
  const sequence = load<u32>(port, NEXT_SEQUENCE);
  const head = load<u32>(port, WIRE_HEAD);
  const bytesBefore = load<u32>(port, SENT_BYTES);
  // How many may go as far as counts limit them.
  let most = WINDOW - (sequence - load<u32>(port, ACKED_SEQUENCE));
  if (finite & 1) most = min(most, creditsLeft(load<u32>(port, HEADER_LIMIT) - headerUsed, HEADER_CREDITS));
  most = min(most, stop - first);
  const replayLeft = load<u32>(port, LINK_REPLAY_BYTES) - (bytesBefore - load<u32>(port, ACKED_BYTES));
  const dataLeft =
    finite & 2 ? creditsLeft(load<u32>(port, DATA_LIMIT) - load<u32>(port, DATA_USED), DATA_CREDITS) : ~0;
  let data: u32 = 0;
  let bytes: u32 = 0;
  let count: u32 = 0;
  let time = now;
  let begin = now;
  while (count < most && time < until) {
    const tlp = tlpAt(port, LINK_P, first + count);
    const sizes = load<u32>(tlp, TLP_BYTES);
    const wire = sizes >> 16;
    const credits = dataCredits(sizes & 0xffff);
    if (bytes + wire > replayLeft || data + credits > dataLeft) break;
    store<u64>(replayAt(port, sequence + count), <u64>(<u32>tlp) | ((<u64>(bytesBefore + bytes)) << 32));
    data += credits;
    bytes += wire;
    begin = time;
    time += <u64>(wire * perByte);
    const at = wireAt(port, head + count);
    store<u64>(at, time + latency);
    store<u64>(at, <u64>(<u32>tlp) | ((<u64>((sequence + count) & 0xfff)) << 32), 8);
    count += 1;
  }
  if (count == 0) return 0;
  lastBegin = begin;
  if (load<u64>(port, TIMER_REPLAY) == NEVER) startReplayTimer(port, now);
  const waits = load<u32>(port, WAITING) - count;
  store<u32>(port, waits, WAITING);
  if (waits == 0) store<u32>(port, 0, WAITING_CLASSES);
  store<u32>(port, first + count, SENT);
  store<u32>(port, headerUsed + count, HEADER_USED);
  store<u32>(port, load<u32>(port, DATA_USED) + data, DATA_USED);
  store<u32>(port, sequence + count, NEXT_SEQUENCE);
  store<u32>(port, sequence + count, REPLAY_NEXT);
  store<u32>(port, bytesBefore + bytes, SENT_BYTES);
  store<u64>(port, time, BUSY_UNTIL);
  store<u64>(port, waits == 0 ? NEVER : time, AT_SEND);
  store<u64>(port, load<u64>(port, LINK_COUNT_BUSY) + (time - now), LINK_COUNT_BUSY);
  store<u32>(port, head + count, WIRE_HEAD);
  if (head == load<u32>(port, WIRE_TAIL))
    store<u64>(otherEnd(port), load<u64>(wireAt(port, head)), AT_ARRIVAL);
  return count;
}

/** Credits left of a limit that counts modulo its field. */
function creditsLeft(difference: u32, mask: u32): u32 {
  const left = difference & mask;
  return left > mask >> 1 ? 0 : left;
}
