// Floor 4: the IOTLB of a translation unit: pages of any size, fully associative, in a hash table; see age.ts for order.
//
//   bucket[hash] -> entry -> entry ...       entries of one hash
//
// Tables of a level are kept in the same way, each level in a cache of its own: structures.ts.

import {
  KEY_REQUESTER,
  REPLACE_FLUSH,
  REPLACE_LRU,
  REPLACE_RANDOM,
  UNIT_ENTRIES,
  UNIT_KEY,
  UNIT_MOST,
  UNIT_REPLACEMENT,
  UNIT_SEED,
  UNIT_STRUCTURES,
} from '../iommu-layout';
import { ORDER_BYTES, oldest, resetOrder, stamp } from './age';
import { levelLg2 } from './formats';

// An entry. Numbers of entries count from 1; 0 is none.
export const TAG: usize = 0; // u64, page number << 6 | log2 of the page's bytes
export const OWNER: usize = 8; // u64, domain or requester, and PASID above; SMMU: ASID and VMID, and KIND_* above
const VALUE: usize = 16; // u64, address of the page, and flags below
export const DOMAIN: usize = 24;
const NEXT: usize = 28; // of the same hash
// 32: STAMP of age.ts
export const SPACE: usize = 40; // SPACE_*
const VERSION: usize = 44;
const READY: usize = 48; // u64, when the walk that filled it ends; 0: simulated time does not count
const STRIDE: usize = 64;

/** The page is of an address space of its own, of the PASID in the bits below; without it, of its domain. */
export const SPACE_OF_PASID: u32 = 1 << 20;

export const OWNER_PASID: u64 = 32;

/** 2^64 divided by the golden ratio, odd. */
const MULTIPLIER: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15;

/** Caches of a unit: the IOTLB is number 0, and n - 1 has the tables that entries of level n name. */
export const CACHES: u32 = 6;

// A cache: how many entries, how many at most, the first free entry, pages by size, where they stand, their order.
const COUNT: usize = 0;
const MOST: usize = 4;
const FREE: usize = 12; // chained by NEXT
export const TOP: usize = 16; // entries that were ever used
const HASH_LG2: usize = 20;
const BUCKETS: usize = 24;
const ENTRIES: usize = 28;
const SIZES: usize = 32; // u64, a bit per log2 of a page's bytes
const SIZE_COUNTS: usize = 40; // u32 by log2
const ORDER: usize = 40 + 64 * 4;
const STATE_BYTES: usize = ORDER + ORDER_BYTES;
const STATES: usize = memory.data(<i32>(UNIT_MOST * CACHES * <u32>(ORDER + ORDER_BYTES)), 16);

/** What `findPage` found. */
export let foundValue: u64 = 0;
export let foundLg2: u32 = 0;
let foundEntry: u32 = 0;
let versions: u32 = 0;

/** The entry that the last translation used; 0: none. */
export let usedEntry: usize = 0;

export function stateOf(index: u32, cache: u32 = 0): usize {
  return STATES + <usize>(index * CACHES + cache) * STATE_BYTES;
}

function hashBits(entries: u32): u32 {
  let lg2: u32 = 4;
  while ((<u32>1) << lg2 < entries) lg2 += 1;
  return lg2 + 1;
}

/** Bytes of a cache of `entries`. */
function cacheBytes(entries: u32): u32 {
  if (entries == 0) return 0;
  return (((<u32>4) << hashBits(entries)) + (entries + 1) * <u32>STRIDE + 4 * entries + 32 + 15) & ~15;
}

/** Bytes that an IOTLB of `entries` takes, with `structures` for each level of tables. */
export function iotlbBytes(entries: u32, structures: u32): u32 {
  return cacheBytes(entries) + (CACHES - 1) * cacheBytes(structures);
}

/** An empty IOTLB at `at`, and the caches of tables behind it. */
export function startIotlb(index: u32, unit: usize, at: usize): void {
  let free = at;
  for (let cache: u32 = 0; cache < CACHES; cache++) {
    const entries = cache == 0 ? load<u32>(unit, UNIT_ENTRIES) : load<u32>(unit, UNIT_STRUCTURES);
    startCache(stateOf(index, cache), entries, free);
    free += cacheBytes(entries);
  }
}

function startCache(state: usize, most: u32, at: usize): void {
  const lg2 = hashBits(most);
  store<u32>(state, most, MOST);
  store<u32>(state, lg2, HASH_LG2);
  store<u32>(state, <u32>at, BUCKETS);
  store<u32>(state, <u32>((at + ((<usize>4) << (<usize>lg2)) + 15) & ~15), ENTRIES);
  const entries = load<u32>(state, ENTRIES);
  resetOrder(state + ORDER, <usize>(entries + (most + 1) * <u32>STRIDE));
  clearCache(state);
}

/** Empties the IOTLB and the caches of tables. */
export function clearIotlb(index: u32): void {
  for (let cache: u32 = 0; cache < CACHES; cache++) clearCache(stateOf(index, cache));
}

function clearCache(state: usize): void {
  // What pointed at entries must not find them again.
  usedEntry = 0;
  if (load<u32>(state, MOST) != 0) {
    memory.fill(load<u32>(state, BUCKETS), 0, (<usize>4) << (<usize>load<u32>(state, HASH_LG2)));
    memory.fill(load<u32>(state, ENTRIES), 0, <usize>(load<u32>(state, TOP) + 1) * STRIDE);
  }
  store<u32>(state, 0, COUNT);
  store<u32>(state, 0, FREE);
  store<u32>(state, 0, TOP);
  memory.fill(state + SIZES, 0, ORDER - SIZES);
}

export function entryAt(state: usize, n: u32): usize {
  return <usize>load<u32>(state, ENTRIES) + <usize>n * STRIDE;
}

function bucketOf(state: usize, tag: u64, owner: u64): usize {
  const mixed = (tag ^ (owner << 20) ^ (owner >> 24)) * MULTIPLIER;
  return <usize>load<u32>(state, BUCKETS) + ((<usize>(mixed >> (64 - load<u32>(state, HASH_LG2)))) << 2);
}

function tagOf(address: u64, lg2: u32): u64 {
  return ((address >> lg2) << 6) | lg2;
}

function ownerOf(unit: usize, sid: u32, domain: u32, pasid: u32): u64 {
  return (load<u32>(unit, UNIT_KEY) == KEY_REQUESTER ? sid : domain) | ((<u64>pasid) << OWNER_PASID);
}

/** The entry with this tag and owner; 0: there is none. */
function search(state: usize, tag: u64, owner: u64): u32 {
  let n = load<u32>(bucketOf(state, tag, owner));
  while (n != 0) {
    const at = entryAt(state, n);
    if (load<u64>(at, TAG) == tag && load<u64>(at, OWNER) == owner) return n;
    n = load<u32>(at, NEXT);
  }
  return 0;
}

/** Looks for the page of `address`; it becomes the newest with LRU. */
export function findPage(index: u32, unit: usize, address: u64, sid: u32, domain: u32, pasid: u32): bool {
  const state = stateOf(index);
  const owner = ownerOf(unit, sid, domain, pasid);
  for (let sizes = load<u64>(state, SIZES); sizes != 0; sizes &= sizes - 1) {
    const lg2 = ctz(sizes);
    const n = search(state, tagOf(address, <u32>lg2), owner);
    if (n == 0) continue;
    const at = entryAt(state, n);
    foundValue = load<u64>(at, VALUE);
    foundLg2 = <u32>lg2;
    foundEntry = n;
    touchEntry(at, unit);
    usedEntry = at;
    return true;
  }
  return false;
}

/** The translation was answered by the entry at `at`, without a search. */
export function useEntry(at: usize): void {
  usedEntry = at;
}

/** The entry that the last translation filled is there at `time`. */
export function delayUsed(time: u64): void {
  if (usedEntry != 0) store<u64>(usedEntry, time, READY);
}

/** When the entry that the last translation used is there; 0: it is. */
export function usedReady(): u64 {
  return usedEntry == 0 ? 0 : load<u64>(usedEntry, READY);
}

/** It is the newest now, with LRU. */
export function touchEntry(at: usize, unit: usize): void {
  if (load<u32>(unit, UNIT_REPLACEMENT) == REPLACE_LRU) stamp(at);
}

/** A translation begins, which has used no entry. */
export function beginUse(): void {
  usedEntry = 0;
}

/** What the entry at `at` has held since it was filled; 0: nothing. No two fillings have the same version. */
export function versionOf(at: usize): u32 {
  return load<u32>(at, VERSION);
}

function oldestOf(state: usize): u32 {
  return oldest(state + ORDER, load<u32>(state, ENTRIES), STRIDE, load<u32>(state, TOP));
}

/** Drops the page that `findPage` found. */
export function dropFound(index: u32): void {
  remove(stateOf(index), foundEntry);
}

/** Keeps a translation; with a full IOTLB another one goes, or all. */
export function keepPage(
  index: u32,
  unit: usize,
  address: u64,
  lg2: u32,
  value: u64,
  sid: u32,
  domain: u32,
  pasid: u32,
  space: u32 = 0,
): void {
  const state = stateOf(index);
  if (load<u32>(state, COUNT) >= load<u32>(state, MOST)) {
    const replacement = load<u32>(unit, UNIT_REPLACEMENT);
    if (replacement == REPLACE_FLUSH) clearCache(state);
    else remove(state, replacement == REPLACE_RANDOM ? drawn(unit, load<u32>(state, MOST)) : oldestOf(state));
  }
  usedEntry = fill(state, address, lg2, ownerOf(unit, sid, domain, pasid), value, domain, space);
}

/** A free entry takes these; there has to be one. */
function fill(state: usize, address: u64, lg2: u32, owner: u64, value: u64, domain: u32, space: u32): usize {
  let n = load<u32>(state, FREE);
  if (n != 0) store<u32>(state, load<u32>(entryAt(state, n), NEXT), FREE);
  else {
    n = load<u32>(state, TOP) + 1;
    store<u32>(state, n, TOP);
  }
  const at = entryAt(state, n);
  const tag = tagOf(address, lg2);
  const bucket = bucketOf(state, tag, owner);
  store<u64>(at, tag, TAG);
  store<u64>(at, owner, OWNER);
  store<u64>(at, value, VALUE);
  store<u32>(at, domain, DOMAIN);
  store<u32>(at, space, SPACE);
  store<u64>(at, 0, READY);
  store<u32>(at, load<u32>(bucket), NEXT);
  store<u32>(bucket, n);
  stamp(at);
  versions += 1;
  store<u32>(at, versions, VERSION);
  store<u32>(state, load<u32>(state, COUNT) + 1, COUNT);
  const count = state + SIZE_COUNTS + ((<usize>lg2) << 2);
  store<u32>(count, load<u32>(count) + 1);
  store<u64>(state, load<u64>(state, SIZES) | ((<u64>1) << lg2), SIZES);
  return at;
}

/** Looks in the cache of tables that entries of `level` name for the one of `address`; 0: it is not there. */
export function findStructure(index: u32, level: u32, address: u64, owner: u64): usize {
  const state = stateOf(index, level - 1);
  const n = search(state, tagOf(address, levelLg2(level)), owner);
  return n == 0 ? 0 : entryAt(state, n);
}

/** Keeps one there; with a full cache the one goes that was used longest ago. Answers the entry; 0: it was there already. */
export function keepStructure(
  index: u32,
  level: u32,
  address: u64,
  owner: u64,
  value: u64,
  domain: u32,
  space: u32,
): usize {
  const state = stateOf(index, level - 1);
  const lg2 = levelLg2(level);
  const n = search(state, tagOf(address, lg2), owner);
  if (n != 0) {
    const at = entryAt(state, n);
    if (load<u64>(at, VALUE) == value) {
      stamp(at);
      return 0;
    }
    remove(state, n);
  } else if (load<u32>(state, COUNT) >= load<u32>(state, MOST)) remove(state, oldestOf(state));
  return fill(state, address, lg2, owner, value, domain, space);
}

/** Value of an entry. */
export function entryValue(at: usize): u64 {
  return load<u64>(at, VALUE);
}

/** When it is there; 0: it is. */
export function entryReady(at: usize): u64 {
  return load<u64>(at, READY);
}

export function delayEntry(at: usize, time: u64): void {
  store<u64>(at, time, READY);
}

/** A used entry: without free ones between, every number is used when the IOTLB is full. */
function drawn(unit: usize, most: u32): u32 {
  let x = load<u32>(unit, UNIT_SEED);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  store<u32>(unit, x, UNIT_SEED);
  return <u32>(((<u64>x * most) >> 32) + 1);
}

export function remove(state: usize, n: u32): void {
  const at = entryAt(state, n);
  const tag = load<u64>(at, TAG);
  let before = bucketOf(state, tag, load<u64>(at, OWNER));
  while (load<u32>(before) != n) before = entryAt(state, load<u32>(before)) + NEXT;
  store<u32>(before, load<u32>(at, NEXT));
  store<u64>(at, 0, TAG);
  store<u32>(at, 0, VERSION);
  if (at == usedEntry) usedEntry = 0;
  store<u32>(at, load<u32>(state, FREE), NEXT);
  store<u32>(state, n, FREE);
  store<u32>(state, load<u32>(state, COUNT) - 1, COUNT);
  const lg2 = tag & 63;
  const count = state + SIZE_COUNTS + ((<usize>lg2) << 2);
  store<u32>(count, load<u32>(count) - 1);
  if (load<u32>(count) == 0) store<u64>(state, load<u64>(state, SIZES) & ~((<u64>1) << lg2), SIZES);
}
