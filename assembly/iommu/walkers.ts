// Floor 4: the page-table walkers of translation units in simulated time: a walk takes one of them for as long as it takes.

import {
  CACHE_HIT,
  CACHE_MISS,
  UNIT_MOST,
  UNIT_STRUCTURES,
  UNIT_WALK_TICKS,
  UNIT_WALKERS,
  WALKERS_MOST,
} from '../iommu-layout';
import { delayTables, walkFrom } from './structures';
import { savedSteps, steps } from './tables';
import { delayUsed, usedReady } from './unit-iotlb';
import { unitAt } from './units';

/** By unit: when each of its walkers is free (u64). */
const FREE_AT: usize = memory.data(UNIT_MOST * WALKERS_MOST * 8, 16);
/** By unit: when the last walk ends. */
const LAST: usize = memory.data(UNIT_MOST * 8, 8);

/** All walkers are free. */
export function resetWalkers(): void {
  memory.fill(FREE_AT, 0, UNIT_MOST * WALKERS_MOST * 8);
  memory.fill(LAST, 0, UNIT_MOST * 8);
  walkFrom(0);
}

/**
 * When the translation of a request that arrives `now` is there. A miss (`cache`) waits for the first free walker and walks;
 * a hit waits when the page that it found is still being looked for. A request that faults has walked, too.
 */
export function translatedAt(index: u32, now: u64, cache: u32): u64 {
  if (cache == CACHE_MISS) return walked(index, now);
  if (cache != CACHE_HIT || load<u64>(LAST + ((<usize>index) << 3)) <= now) return now;
  return max(now, usedReady());
}

/** The walker of `unit` that is free first, when all are looked at that are not free `now`. */
function firstWalker(index: u32, now: u64): usize {
  const count = load<u32>(unitAt(index), UNIT_WALKERS);
  const walkers = FREE_AT + ((<usize>(index * WALKERS_MOST)) << 3);
  let first = walkers;
  for (let n: u32 = 1; n < count && load<u64>(first) > now; n++) {
    const at = walkers + ((<usize>n) << 3);
    if (load<u64>(at) < load<u64>(first)) first = at;
  }
  return first;
}

/** A request arrives `now`: if it walks, it begins when a walker is free. What others fetch then is not there for it. */
export function arrive(index: u32, now: u64): void {
  if (load<u32>(unitAt(index), UNIT_STRUCTURES) != 0) walkFrom(max(now, load<u64>(firstWalker(index, now))));
}

/** A walk that begins at a known table takes the part of the time that its reads are of those from the top. */
function duration(index: u32): u64 {
  const whole = load<u64>(unitAt(index), UNIT_WALK_TICKS);
  return savedSteps == 0 ? whole : (whole * steps) / (steps + savedSteps);
}

function walked(index: u32, now: u64): u64 {
  const first = firstWalker(index, now);
  const end = max(now, load<u64>(first)) + duration(index);
  store<u64>(first, end);
  delayUsed(end);
  delayTables(end);
  const last = LAST + ((<usize>index) << 3);
  if (end > load<u64>(last)) store<u64>(last, end);
  return end;
}
