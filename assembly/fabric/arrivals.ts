// Floor 5: what the TLPs that arrive at an end of a loaded link do there: data into memory, reads to the completer.

import { Copy, hostBytes, hostMemory } from '../kernel/arena';
import { KIND_CPLD, KIND_MWR32, KIND_MWR64 } from '../layout';
import {
  ACK_PENDING,
  AT_ARRIVAL,
  assertNext,
  DATA_GIVEN,
  EXPECTED,
  FC_PENDING,
  HEADER_GIVEN,
  INIT_PHASE,
  mixed,
  NAK_SCHEDULED,
  NEVER,
  OWN_FINITE,
  otherEnd,
  PORTS,
  setTimer,
  TIMER_ACK,
  TIMER_FC,
  TLP_BYTES,
  TLP_CLASS,
  TLP_H0,
  TLP_H1,
  TLP_H2,
  TLP_PAYLOAD,
  WIRE_HEAD,
  WIRE_TAIL,
  wireAt,
} from '../link/port';
import { Receiver, receive } from '../link/receive';
import { dataCredits, ITEM_FLAGS } from '../link/send';
import {
  LINK_ACK_INTERVAL,
  LINK_COUNT_DATA,
  LINK_COUNT_TLPS,
  LINK_DRAIN_DELAY,
  LINK_FC_INTERVAL,
  LINK_HASH,
  LINK_LAST_ARRIVAL,
  LINK_P,
  LOAD_HOST_BASE,
} from '../link-layout';
import { fmtTypeOf, hasData } from '../tlp/kinds';
import { addressOf, defer, memoryAt } from './completer';
import { writeEnabled } from './deliver';
import { windowFirst, windowLast, windowMemory } from './functions';
import { takeCompletion } from './loads';

/** The next item arrives. Only a TLP in one piece and in order reaches the layer above. */
export function arrive(port: usize, now: u64): void {
  const from = otherEnd(port);
  const tail = load<u32>(from, WIRE_TAIL);
  const item = load<u64>(wireAt(from, tail), 8);
  const expected = load<u32>(port, EXPECTED);
  if ((<u32>item & ITEM_FLAGS) != 0 || <u32>(item >> 32) != (expected & 0xfff)) {
    receive(port, now);
    return;
  }
  const tlp = <usize>(<u32>item);
  if (!ASC_NO_ASSERT) assertNext(port, tlp);
  Receiver.takeItem(port, from, tail);
  store<u64>(port, mixed(load<u64>(port, LINK_HASH), now, item >> 32), LINK_HASH);
  Receiver.accept(port, now, expected);
  store<u64>(port, load<u64>(port, LINK_COUNT_TLPS) + 1, LINK_COUNT_TLPS);
  store<u64>(port, load<u64>(port, LINK_COUNT_DATA) + load<u16>(tlp, TLP_BYTES), LINK_COUNT_DATA);
  store<u64>(port, now, LINK_LAST_ARRIVAL);
  const word0 = load<u32>(tlp, TLP_H0);
  const fmtType = word0 >>> 24;
  if (fmtType == fmtTypeOf(KIND_CPLD)) takeCompletion(port, now, tlp, word0);
  else if (hasData(fmtType)) write(port, tlp, fmtType);
  else defer(port, now, tlp);
  Receiver.consume(port, now, tlp);
}

function write(port: usize, tlp: usize, fmtType: u32): void {
  const bytes = load<u16>(tlp, TLP_BYTES);
  const to = memoryAt(port, addressOf(tlp, fmtType), bytes);
  if (to == 0) return;
  const enables = load<u32>(tlp, TLP_H1) & 0xff;
  const from: usize = load<u32>(tlp, TLP_PAYLOAD);
  if (enables == 0xff) Copy.data(to, from, bytes);
  else writeEnabled(to, from, bytes >> 2, enables);
}

/** The next item is a posted request. */
export function isPostedNext(port: usize): bool {
  const from = otherEnd(port);
  const item = load<u32>(wireAt(from, load<u32>(from, WIRE_TAIL)), 8);
  return (item & ITEM_FLAGS) == 0 && load<u32>(item, TLP_CLASS) == LINK_P;
}

/** When the last one of `takePosted` arrived. */
export let lastTaken: u64 = 0;

/**
 * Takes whole-DW writes that arrive in order up to tick `until`, into the window of the write before them. Same effect as
 * `arrive` for each, with what changes from one to the next in locals. Returns how many; 0 when the first one needs `arrive`.
 */
export function takePosted(port: usize, until: u64): u32 {
  const finite = load<u32>(port, OWN_FINITE);
  const isReported = finite != 0;
  const isFcPending = (load<u32>(port, FC_PENDING) & 1) != 0;
  const isAckPending = load<u32>(port, ACK_PENDING) != 0;
  const ackInterval = load<u64>(port, LINK_ACK_INTERVAL);
  const fcInterval = load<u64>(port, LINK_FC_INTERVAL);
  // What has an effect at once takes the long way.
  if (load<u64>(port, LINK_DRAIN_DELAY) != 0 || load<u32>(port, INIT_PHASE) != 0) return 0;
  if ((!isAckPending && ackInterval == 0) || (isReported && !isFcPending && fcInterval == 0)) return 0;
  const isUp = port == PORTS;
  const base = isUp ? load<u64>(port, LOAD_HOST_BASE) : windowFirst();
  const last = isUp ? base + hostBytes - 1 : windowLast();
  const target = isUp ? hostMemory : windowMemory();
  if (target == 0) return 0;
  const from = otherEnd(port);
  const tail = load<u32>(from, WIRE_TAIL);
  const most = load<u32>(from, WIRE_HEAD) - tail;
  const expected = load<u32>(port, EXPECTED);
  let hash = load<u64>(port, LINK_HASH);
  let limit = until;
  let count: u32 = 0;
  let first: u64 = 0;
  let time: u64 = 0;
  let data: u32 = 0;
  let credits: u32 = 0;
  let next = NEVER;
  while (count < most) {
    const at = wireAt(from, tail + count);
    next = load<u64>(at);
    if (next > limit) break;
    const item = load<u64>(at, 8);
    const tlp = <usize>(<u32>item);
    if ((<u32>item & ITEM_FLAGS) != 0 || <u32>(item >> 32) != ((expected + count) & 0xfff)) break;
    const fmtType = load<u8>(tlp, TLP_H0 + 3);
    const high = load<u64>(tlp, TLP_H2);
    let address: u64 = 0;
    if (fmtType == fmtTypeOf(KIND_MWR64)) address = (high << 32) | (high >> 32);
    else if (fmtType == fmtTypeOf(KIND_MWR32)) address = <u64>(<u32>high);
    else break;
    const bytes: u32 = load<u16>(tlp, TLP_BYTES);
    if (load<u8>(tlp, TLP_H1) != 0xff || address < base || address + bytes - 1 > last) break;
    if (!ASC_NO_ASSERT) assertNext(port, tlp);
    time = next;
    hash = mixed(hash, time, item >> 32);
    const to = target + <usize>(<u32>(address - base));
    const source: usize = load<u32>(tlp, TLP_PAYLOAD);
    Copy.data(to, source, bytes);
    if (count == 0) {
      if (!isAckPending) limit = min(limit, time + ackInterval);
      if (isReported && !isFcPending) limit = min(limit, time + fcInterval);
      first = time;
    }
    data += bytes;
    credits += dataCredits(bytes);
    count += 1;
    next = NEVER;
  }
  if (count == 0) return 0;
  lastTaken = time;
  store<u64>(port, next, AT_ARRIVAL);
  store<u32>(from, tail + count, WIRE_TAIL);
  store<u64>(port, hash, LINK_HASH);
  store<u32>(port, expected + count, EXPECTED);
  store<u32>(port, 0, NAK_SCHEDULED);
  store<u64>(port, load<u64>(port, LINK_COUNT_TLPS) + count, LINK_COUNT_TLPS);
  store<u64>(port, load<u64>(port, LINK_COUNT_DATA) + data, LINK_COUNT_DATA);
  store<u64>(port, time, LINK_LAST_ARRIVAL);
  if (!isAckPending) {
    store<u32>(port, 1, ACK_PENDING);
    setTimer(port, TIMER_ACK, first + ackInterval);
  }
  if (!isReported) return count;
  if (finite & 1) store<u32>(port, load<u32>(port, HEADER_GIVEN) + count, HEADER_GIVEN);
  if (finite & 2) store<u32>(port, load<u32>(port, DATA_GIVEN) + credits, DATA_GIVEN);
  if (!isFcPending) {
    store<u32>(port, load<u32>(port, FC_PENDING) | 1, FC_PENDING);
    setTimer(port, TIMER_FC, min(load<u64>(port, TIMER_FC), first + fcInterval));
  }
  return count;
}
