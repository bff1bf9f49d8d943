// Floor 4: what translation units read from memory, and a list of it.
//
//   RAM           [first, end): what is outside answers with a bus error
//   host memory   the part of it that the emulator holds; RAM that it does not hold reads as zeros

import {
  STEP_ADDRESS,
  STEP_STRIDE,
  STEP_VALUE,
  STEP_WHAT,
  STEPS_MOST,
  WHAT_ROOT,
  WHAT_SECOND,
} from '../iommu-layout';
import { hostBytes, hostMemory } from '../kernel/arena';
import { linesHeld, snoopWrite } from '../kernel/host-cache';

let ramFirst: u64 = 0;
let ramEnd: u64 = 0;
let heldFirst: u64 = 0;
/** Offsets in host memory below it are those of entries in RAM, 8 bytes each; 0: not all of host memory is RAM. */
let heldEnd: u64 = 0;

/**
 * For walks that nobody looks at: an entry whose offset from `plainFirst` is below `plainEnd` can be read where it stands, if it
 * is counted. All others go through `readEntry`.
 */
export let plainFirst: u64 = 0;
export let plainEnd: u64 = 0;

/** Entries that have been read since `beginSteps`. */
export const STEPS: usize = memory.data(STEPS_MOST * STEP_STRIDE, 16);
export let steps: u32 = 0;
/** Entries that would have been read as well, had not a table been known. */
export let savedSteps: u32 = 0;

/** The last entry that was read; 0 after a bus error. */
export let entry: u64 = 0;

/** RAM is [first, end); host memory begins at `held`. */
export function describeMemory(first: u64, end: u64, held: u64): void {
  ramFirst = first;
  ramEnd = end;
  heldFirst = held;
  plainFirst = held;
  const end64 = min(end, held + hostBytes);
  heldEnd = first <= held && end64 >= held + 8 ? end64 - held - 7 : 0;
  plainEnd = isKept ? 0 : heldEnd;
}

/** The list is kept: somebody looks at it. Without it steps are only counted. */
let isKept: bool = false;
/** The first thing that was read. */
let firstWhat: u32 = 0;

/** Whether the list is kept; answers what it was before. */
export function keepSteps(on: bool): bool {
  const before = isKept;
  isKept = on;
  plainEnd = on ? 0 : heldEnd;
  return before;
}

/** Whose steps stand in the list, as a number that the caller chooses; 0: nobody's. */
export let listOwner: u32 = 0;

export function ownList(owner: u32): void {
  listOwner = owner;
}

/** Entries need not be read. */
export function saveSteps(count: u32): void {
  savedSteps += count;
}

/** Entries were read where they stand. */
export function countSteps(count: u32): void {
  steps += count;
}

export function beginSteps(): void {
  steps = 0;
  savedSteps = 0;
  firstWhat = 0;
}

/** Since `beginSteps` an entry of a structure was read that says who a requester is. */
export function hasReadContext(): bool {
  return firstWhat >= <u32>WHAT_ROOT && firstWhat < <u32>WHAT_SECOND;
}

/** Reads the little-endian 8-byte entry at `address`, a multiple of 8, into `entry`. False: a bus error. */
export function readEntry(address: u64, what: u32): bool {
  const isRam = address >= ramFirst && address < ramEnd && ramEnd - address >= 8;
  entry = isRam ? heldAt(address) : 0;
  if (steps == 0) firstWhat = what;
  if (isKept && steps < <u32>STEPS_MOST) {
    const at = STEPS + <usize>steps * STEP_STRIDE;
    store<u64>(at, address, STEP_ADDRESS);
    store<u64>(at, entry, STEP_VALUE);
    store<u32>(at, what, STEP_WHAT);
  }
  steps += 1;
  return isRam;
}

/** Sets the entry at `address`, which `readEntry` has found in RAM, to `value`; RAM that is not held forgets it. */
export function writeEntry(address: u64, value: u64): void {
  const offset = address - heldFirst;
  if (offset >= hostBytes || hostBytes - <u32>offset < 8) return;
  storeHeld(<u32>offset, value);
}

/** Units are coherent with the processor's cache: a line of it that stayed would bring back what stood there before. */
function storeHeld(offset: u32, value: u64): void {
  if (linesHeld != 0) snoopWrite(offset, 8);
  store<u64>(hostMemory + <usize>offset, value);
}

function heldAt(address: u64): u64 {
  const offset = address - heldFirst;
  if (offset >= hostBytes || hostBytes - <u32>offset < 8) return 0;
  return load<u64>(hostMemory + <usize>offset);
}

/** Sets bits of the entry at `address`, a multiple of 8, as one access. What host memory does not hold stays as it is. */
export function setBits(address: u64, bits: u64): void {
  const offset = address - heldFirst;
  if (address < ramFirst || address >= ramEnd || ramEnd - address < 8) return;
  if (offset >= hostBytes || hostBytes - <u32>offset < 8) return;
  storeHeld(<u32>offset, load<u64>(hostMemory + <usize>offset) | bits);
}
