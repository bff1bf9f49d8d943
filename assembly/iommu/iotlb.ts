// Floor 4: the I/O translation lookaside buffer: 4 KiB translations of all functions, in one hash table that never grows.
//
// Entry, 16 bytes: key u64 = page number of the I/O address << 8 | slot << 1 | 1 (0: free), value u64 = frame | writable.
// Linear probing; a removal moves later entries of the same run back, so that there are no tombstones.

import { iotlb } from '../kernel/arena';
import { IOTLB_ENTRY_LG2, IOTLB_LG2, PAGE_BYTES } from '../layout';

const SLOTS: u32 = 1 << IOTLB_LG2;
/** At three quarters a run is still short. */
const MOST: u32 = (SLOTS / 4) * 3;

/** 2^64 divided by the golden ratio, odd. */
const MULTIPLIER: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15;

let used: u32 = 0;

function at(index: u32): usize {
  return iotlb + <usize>((index & (SLOTS - 1)) << IOTLB_ENTRY_LG2);
}

function keyOf(slot: u32, address: u64): u64 {
  return ((address >> 12) << 8) | ((<u64>slot) << 1) | 1;
}

function home(key: u64): u32 {
  // Fibonacci hashing: the high bits of the product depend on all bits of the key.
  return <u32>((key * MULTIPLIER) >> (64 - IOTLB_LG2));
}

/** Index of the entry with `key`, or of the free one where it would go. */
function probe(key: u64): u32 {
  let index = home(key);
  while (true) {
    const found = load<u64>(at(index));
    if (found == key || found == 0) return index & (SLOTS - 1);
    index += 1;
  }
}

/** The translation of the page of `address`: frame address, bit 0 set when it can be written; ~0: there is none. */
export function findTranslation(slot: u32, address: u64): u64 {
  const entry = at(probe(keyOf(slot, address)));
  return load<u64>(entry) == 0 ? ~0 : load<u64>(entry, 8);
}

/** Sets a translation; false: the table is full. */
export function setTranslation(slot: u32, address: u64, frame: u64, writable: bool): bool {
  const key = keyOf(slot, address);
  const entry = at(probe(key));
  if (load<u64>(entry) == 0) {
    if (used >= MOST) return false;
    used += 1;
    store<u64>(entry, key);
  }
  store<u64>(entry, (frame & ~(<u64>PAGE_BYTES - 1)) | (writable ? 1 : 0), 8);
  return true;
}

function removeTranslation(slot: u32, address: u64): void {
  const index = probe(keyOf(slot, address));
  if (load<u64>(at(index)) != 0) removeAt(index);
}

function removeAt(index: u32): void {
  used -= 1;
  let hole = index;
  let next = index;
  while (true) {
    next += 1;
    const key = load<u64>(at(next));
    if (key == 0) break;
    // An entry may move back into the hole unless its home lies cyclically behind it.
    if (((next - home(key)) & (SLOTS - 1)) < ((next - hole) & (SLOTS - 1))) continue;
    store<u64>(at(hole), key);
    store<u64>(at(hole), load<u64>(at(next), 8), 8);
    hole = next;
  }
  store<u64>(at(hole), 0);
}

/** Drops the pages of [first, last] of one function, however many there could be. Returns how many entries it looked at. */
export function dropRange(slot: u32, first: u64, last: u64): u32 {
  if (used == 0) return 1;
  const pages = (last >> 12) - (first >> 12);
  if (pages < SLOTS) {
    for (let page: u64 = 0; page <= pages; page++) removeTranslation(slot, first + (page << 12));
    return <u32>pages + 1;
  }
  for (let index: u32 = 0; index < SLOTS; ) {
    const key = load<u64>(at(index));
    const page = key >> 8;
    // Removing moves another entry here: looked at again.
    if (key != 0 && ((<u32>key >> 1) & 0x7f) == slot && page >= first >> 12 && page <= last >> 12)
      removeAt(index);
    else index += 1;
  }
  return SLOTS;
}

export function clearTranslations(): void {
  memory.fill(iotlb, 0, SLOTS << IOTLB_ENTRY_LG2);
  used = 0;
}
