// Floor 5: between a link and the root complex in simulated time: what came up waits until its translation is there.
//
//   link ── arrive, decide ──> held ──> perform
//
// Posted requests are performed in their order. Reads and completions wait for the posted requests before them, reads for
// nothing else, so the entries of a link stand in a list by time. Data stay where the sender's end keeps them: an entry holds
// the credits of the root complex until it is performed, so there are never more than those.

import { arrive, translatedAt } from '../iommu/walkers';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_KIND,
  DESCRIPTOR_SLOT,
  DESCRIPTOR_STRIDE,
  FUNCTION_UNIT,
} from '../layout';
import { NEVER } from '../link/port';
import { LINK_MOST, LINK_P } from '../link-layout';
import { isCompletion } from './deliver';
import { functionAt } from './functions';
import { classOf } from './holds';
import { isSnooped, outcome, outcomeAddress, pageCache, restoreOutcome, usesMemory } from './upstream';

// An entry begins with its descriptor.
const TIME: usize = 48; // u64
const OUTCOME: usize = 56;
const SNOOPED: usize = 60;
const ADDRESS: usize = 64; // u64
export const HELD_SERIAL: usize = 72;
const NEXT: usize = 76; // entry, later or of the same time; 0: none. Of a free one the next free one
const BEFORE: usize = 80;
const STRIDE: usize = 96;

// A link: entries by time, free entries, those never used, when the last posted request is performed.
const FIRST: usize = 0;
const LAST: usize = 4;
const FREE: usize = 8;
const FRESH: usize = 12;
const END: usize = 16;
const IS_ON: usize = 20;
const POSTED_AT: usize = 24; // u64
const LINKS: usize = memory.data(LINK_MOST * 32, 16);

let snoopTicks: u64 = 0;

/** Bytes for the entries of a link. */
export function inboundBytes(entries: u32): u32 {
  return entries * <u32>STRIDE;
}

function linkState(link: u32): usize {
  return LINKS + ((<usize>link) << 5);
}

/** Nothing is held. Without room requests are performed as they arrive. */
export function resetInbound(link: u32, at: usize, entries: u32): void {
  const state = linkState(link);
  memory.fill(state, 0, 32);
  store<u32>(state, <u32>at, FRESH);
  store<u32>(state, <u32>at + inboundBytes(entries), END);
  store<u32>(state, entries == 0 ? 0 : 1, IS_ON);
}

/** Time that each request pays which caches are asked about. */
export function setSnoop(ticks: u64): void {
  snoopTicks = ticks;
}

export function isHeldBack(link: u32): bool {
  return load<u32>(linkState(link), IS_ON) != 0;
}

export function hasHeld(link: u32): bool {
  return load<u32>(linkState(link), FIRST) != 0;
}

/** When the next held TLP of `link` is performed. */
export function heldUntil(link: u32): u64 {
  const first: usize = load<u32>(linkState(link), FIRST);
  return first == 0 ? NEVER : load<u64>(first, TIME);
}

/** When the last one of `link` is; 0: there is none. */
export function lastHeld(link: u32): u64 {
  const last: usize = load<u32>(linkState(link), LAST);
  return last == 0 ? 0 : load<u64>(last, TIME);
}

/** The request at `at` arrives `now`, and is about to be decided about. */
export function beginTranslation(at: usize, now: u64): void {
  const unit = load<u32>(functionAt(load<u16>(at, DESCRIPTOR_SLOT)), FUNCTION_UNIT);
  if (unit != 0) arrive(unit - 1, now);
}

/** When the TLP at `at`, which `decide` has looked at, is performed. */
function timeOf(state: usize, at: usize, kind: u32, now: u64): u64 {
  const posted = load<u64>(state, POSTED_AT);
  if (isCompletion(kind)) return max(now, posted);
  const unit = load<u32>(functionAt(load<u16>(at, DESCRIPTOR_SLOT)), FUNCTION_UNIT);
  let time = now;
  if (unit != 0) time = translatedAt(unit - 1, now, pageCache);
  if (isSnooped && usesMemory()) time += snoopTicks;
  time = max(time, posted);
  if (classOf(kind) == LINK_P) store<u64>(state, time, POSTED_AT);
  return time;
}

/** Holds the TLP at descriptor `at`, of access `serial`, until its time. False: it is performed now. */
export function hold(link: u32, at: usize, serial: u32, now: u64): bool {
  const state = linkState(link);
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  const time = timeOf(state, at, kind, now);
  if (time == now && load<u32>(state, FIRST) == 0) return false;
  let entry: usize = load<u32>(state, FREE);
  if (entry != 0) store<u32>(state, load<u32>(entry, NEXT), FREE);
  else {
    entry = load<u32>(state, FRESH);
    // Also in the release build: credits and tags allow no more.
    if (entry + STRIDE > <usize>load<u32>(state, END)) unreachable();
    store<u32>(state, <u32>(entry + STRIDE), FRESH);
  }
  memory.copy(entry, at, DESCRIPTOR_STRIDE);
  store<u64>(entry, time, TIME);
  store<u32>(entry, outcome, OUTCOME);
  store<u32>(entry, isSnooped ? 1 : 0, SNOOPED);
  store<u64>(entry, outcomeAddress, ADDRESS);
  store<u32>(entry, serial, HELD_SERIAL);
  insert(state, entry, time);
  return true;
}

/** Behind all of the same time or an earlier one: most go to the end. */
function insert(state: usize, entry: usize, time: u64): void {
  let before: usize = load<u32>(state, LAST);
  let next: usize = 0;
  while (before != 0 && load<u64>(before, TIME) > time) {
    next = before;
    before = load<u32>(before, BEFORE);
  }
  store<u32>(entry, <u32>next, NEXT);
  store<u32>(entry, <u32>before, BEFORE);
  if (before == 0) store<u32>(state, <u32>entry, FIRST);
  else store<u32>(before, <u32>entry, NEXT);
  if (next == 0) store<u32>(state, <u32>entry, LAST);
  else store<u32>(next, <u32>entry, BEFORE);
}

/** The next held TLP: its descriptor, with `HELD_SERIAL`. It stays valid until another one is held. */
export function takeHeld(link: u32): usize {
  const state = linkState(link);
  const entry: usize = load<u32>(state, FIRST);
  const next: usize = load<u32>(entry, NEXT);
  store<u32>(state, <u32>next, FIRST);
  if (next == 0) store<u32>(state, 0, LAST);
  else store<u32>(next, 0, BEFORE);
  store<u32>(entry, load<u32>(state, FREE), NEXT);
  store<u32>(state, <u32>entry, FREE);
  restoreOutcome(load<u32>(entry, OUTCOME), load<u64>(entry, ADDRESS), load<u32>(entry, SNOOPED) != 0);
  return entry;
}

/** Data bytes of a held TLP. */
export function heldBytes(entry: usize): u32 {
  return load<u32>(entry, DESCRIPTOR_BYTES);
}
