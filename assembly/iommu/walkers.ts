// Floor 4: the page-table walkers of translation units in simulated time: a walk takes one of them for as long as it takes.

import {
  CACHE_HIT,
  CACHE_MISS,
  UNIT_MOST,
  UNIT_WALK_TICKS,
  UNIT_WALKERS,
  WALKERS_MOST,
} from '../iommu-layout';
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

function walked(index: u32, now: u64): u64 {
  const unit = unitAt(index);
  const count = load<u32>(unit, UNIT_WALKERS);
  const walkers = FREE_AT + ((<usize>(index * WALKERS_MOST)) << 3);
  let first = walkers;
  for (let n: u32 = 1; n < count && load<u64>(first) > now; n++) {
    const at = walkers + ((<usize>n) << 3);
    if (load<u64>(at) < load<u64>(first)) first = at;
  }
  const end = max(now, load<u64>(first)) + load<u64>(unit, UNIT_WALK_TICKS);
  store<u64>(first, end);
  delayUsed(end);
  const last = LAST + ((<usize>index) << 3);
  if (end > load<u64>(last)) store<u64>(last, end);
  return end;
}
