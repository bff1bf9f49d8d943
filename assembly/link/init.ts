// Floor 3: flow control initialisation: InitFC1 of all classes until those of the other end are known, then InitFC2 until the
// other end is known to be that far, too (base specification 3.4.1). Only then TLPs may go.

import { LINK_CLASSES, LINK_CREDITS, LINK_LATENCY } from '../link-layout';
import { AT_SEND, BUSY_UNTIL, INIT_IS_HEARD, INIT_PHASE, INIT_SEEN, INIT_SENT, setLimits } from './port';

const ALL: u32 = (1 << LINK_CLASSES) - 1;

/** The class, and the credits that this end gives, of the InitFC that goes next: as in an UpdateFC. */
export function nextInit(port: usize): u32 {
  const kind = load<u32>(port, INIT_SENT) % <u32>LINK_CLASSES;
  store<u32>(port, load<u32>(port, INIT_SENT) + 1, INIT_SENT);
  const entry = port + ((<usize>kind) << 2);
  return (kind << 24) | (load<u32>(entry, LINK_CREDITS) << 12) | load<u32>(entry, LINK_CREDITS + 12);
}

/** What an InitFC says. From the second on it also tells that the other end knows all classes. */
export function takeInit(port: usize, now: u64, value: u32, isSecond: bool): void {
  const phase = load<u32>(port, INIT_PHASE);
  if (phase == 0) return;
  const kind = value >>> 24;
  const entry = port + ((<usize>kind) << 2);
  setLimits(entry, (value >>> 12) & 0xff, value & 0xfff);
  const seen = load<u32>(port, INIT_SEEN) | ((<u32>1) << kind);
  store<u32>(port, seen, INIT_SEEN);
  if (phase == 1 && seen == ALL) {
    store<u32>(port, 2, INIT_PHASE);
    store<u32>(port, 0, INIT_SENT);
    goOn(port, now);
  }
  if (isSecond) hearActive(port, now);
}

/** InitFC2, UpdateFC or a TLP came: the other end knows this one's credits. */
export function hearActive(port: usize, now: u64): void {
  store<u32>(port, 1, INIT_IS_HEARD);
  endInit(port);
  if (load<u32>(port, INIT_PHASE) == 0) goOn(port, now);
}

/** Without news the three go again once they have arrived; with news, at once. */
function goOn(port: usize, now: u64): void {
  store<u64>(port, max(now, load<u64>(port, BUSY_UNTIL)), AT_SEND);
}

/** When the next InitFC goes if nothing comes; `until` the last one has left. */
export function repeatInit(port: usize, until: u64): u64 {
  const isRound = load<u32>(port, INIT_SENT) % <u32>LINK_CLASSES == 0;
  return isRound && load<u32>(port, INIT_PHASE) != 0 ? until + load<u64>(port, LINK_LATENCY) : until;
}

/** Over when the other end was heard of and has been sent InitFC2 of each class. */
export function endInit(port: usize): void {
  if (load<u32>(port, INIT_PHASE) != 2 || load<u32>(port, INIT_IS_HEARD) == 0) return;
  if (load<u32>(port, INIT_SENT) >= <u32>LINK_CLASSES) store<u32>(port, 0, INIT_PHASE);
}
