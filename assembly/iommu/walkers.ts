// Floor 4: the page-table walkers of translation units in simulated time: a walk takes one of them for as long as it takes.

import {
  CACHE_HIT,
  CACHE_MISS,
  UNIT_MOST,
  UNIT_WALK_TICKS,
  UNIT_WALKERS,
  WALKERS_MOST,
} from '../iommu-layout';
import { unitAt } from './units';

// A walker: when it is free (u64), number of the page that it looks for (u64), log2 of its bytes, its domain.
const FREE_AT: usize = 0;
const PAGE: usize = 8;
const PAGE_LG2: usize = 16;
const DOMAIN: usize = 20;
const STRIDE: usize = 24;
const WALKERS: usize = memory.data(UNIT_MOST * WALKERS_MOST * 24, 16);
/** By unit: when the last walk ends. */
const LAST: usize = memory.data(UNIT_MOST * 8, 8);

/** All walkers are free. */
export function resetWalkers(): void {
  memory.fill(WALKERS, 0, UNIT_MOST * WALKERS_MOST * 24);
  memory.fill(LAST, 0, UNIT_MOST * 8);
}

function walkerAt(index: u32, n: u32): usize {
  return WALKERS + <usize>(index * WALKERS_MOST + n) * STRIDE;
}

/**
 * When the translation of a request that arrives `now` is there. A miss (`cache`) waits for the first free walker and walks;
 * a hit waits when the page that it found is still being looked for. A request that faults has walked, too: its `lg2` is 0.
 */
export function translatedAt(index: u32, now: u64, cache: u32, address: u64, lg2: u32, domain: u32): u64 {
  if (cache == CACHE_MISS) return walked(index, now, address, lg2, domain);
  const last = LAST + ((<usize>index) << 3);
  if (cache != CACHE_HIT || load<u64>(last) <= now) return now;
  const count = load<u32>(unitAt(index), UNIT_WALKERS);
  for (let n: u32 = 0; n < count; n++) {
    const at = walkerAt(index, n);
    const end = load<u64>(at, FREE_AT);
    if (end <= now || load<u32>(at, PAGE_LG2) != lg2 || load<u32>(at, DOMAIN) != domain) continue;
    if (load<u64>(at, PAGE) == address >> lg2) return end;
  }
  return now;
}

function walked(index: u32, now: u64, address: u64, lg2: u32, domain: u32): u64 {
  const unit = unitAt(index);
  const count = load<u32>(unit, UNIT_WALKERS);
  let first = walkerAt(index, 0);
  for (let n: u32 = 1; n < count && load<u64>(first, FREE_AT) > now; n++) {
    const at = walkerAt(index, n);
    if (load<u64>(at, FREE_AT) < load<u64>(first, FREE_AT)) first = at;
  }
  const end = max(now, load<u64>(first, FREE_AT)) + load<u64>(unit, UNIT_WALK_TICKS);
  store<u64>(first, end, FREE_AT);
  store<u64>(first, address >> lg2, PAGE);
  store<u32>(first, lg2, PAGE_LG2);
  store<u32>(first, domain, DOMAIN);
  const last = LAST + ((<usize>index) << 3);
  if (end > load<u64>(last)) store<u64>(last, end);
  return end;
}
