// Floor 4: what invalidations take out of an IOTLB, and with `withTables` out of the caches of tables as well.

import {
  CACHES,
  DOMAIN,
  entryAt,
  OWNER,
  OWNER_PASID,
  remove,
  SPACE,
  SPACE_OF_PASID,
  stateOf,
  TAG,
  TOP,
} from './unit-iotlb';

/**
 * Drops the pages of domain `did` that have an address in [first, last]; `did` ~0: of every domain. Spaces of a PASID have other
 * addresses than the domain: all of their pages go.
 */
export function dropPages(index: u32, did: u32, first: u64, last: u64, withTables: bool): void {
  const caches = withTables ? CACHES : 1;
  for (let cache: u32 = 0; cache < caches; cache++) {
    const state = stateOf(index, cache);
    const top = load<u32>(state, TOP);
    for (let n: u32 = 1; n <= top; n++) {
      const at = entryAt(state, n);
      if (!isOf(at, did)) continue;
      if ((load<u32>(at, SPACE) & SPACE_OF_PASID) != 0 || touches(at, first, last)) remove(state, n);
    }
  }
}

/** SMMU: those of the domains that have the bits `did` where `mask` has ones, and of the kind `kind`; ~0: of any. */
export function dropTagged(
  index: u32,
  did: u32,
  mask: u32,
  kind: u32,
  first: u64,
  last: u64,
  withTables: bool,
): void {
  const caches = withTables ? CACHES : 1;
  for (let cache: u32 = 0; cache < caches; cache++) {
    const state = stateOf(index, cache);
    const top = load<u32>(state, TOP);
    for (let n: u32 = 1; n <= top; n++) {
      const at = entryAt(state, n);
      if (load<u64>(at, TAG) == 0 || ((load<u32>(at, DOMAIN) ^ did) & mask) != 0) continue;
      if (kind != ~0 && load<u64>(at, OWNER) >> OWNER_PASID != kind) continue;
      if (touches(at, first, last)) remove(state, n);
    }
  }
}

/** Drops the pages of `pasid` in domain `did` with an address in [first, last]. With `others` also those of the domain itself. */
export function dropPasidPages(
  index: u32,
  did: u32,
  pasid: u32,
  first: u64,
  last: u64,
  others: bool,
  withTables: bool,
): void {
  const caches = withTables ? CACHES : 1;
  for (let cache: u32 = 0; cache < caches; cache++) {
    const state = stateOf(index, cache);
    const top = load<u32>(state, TOP);
    for (let n: u32 = 1; n <= top; n++) {
      const at = entryAt(state, n);
      if (!isOf(at, did)) continue;
      const space = load<u32>(at, SPACE);
      const isMeant = space == (SPACE_OF_PASID | pasid) && touches(at, first, last);
      if (isMeant || (others && (space & SPACE_OF_PASID) == 0)) remove(state, n);
    }
  }
}

/** A used entry of domain `did`, or with ~0 of any: no page has the size 2^0. */
function isOf(at: usize, did: u32): bool {
  return load<u64>(at, TAG) != 0 && (did == ~0 || load<u32>(at, DOMAIN) == did);
}

function touches(at: usize, first: u64, last: u64): bool {
  const tag = load<u64>(at, TAG);
  const lg2 = tag & 63;
  const begin = (tag >> 6) << lg2;
  return begin <= last && begin + (((<u64>1) << lg2) - 1) >= first;
}
