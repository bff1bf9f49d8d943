// Floor 4: accessed and dirty flags, set in the entries that a VT-d walk has used (specification 3.6.2, 3.7.2, 3.8.1).
//
// Only a walk that ends with a page sets flags: the steps that it left behind are gone through once more. Nothing is written when
// one of the entries may not be. Hardware may set accessed flags for requests that it refuses later; this unit does not.
//
//   second stage   ... leaf -> entry of the first stage      a write of that entry is a write of the leaf's page
//                  ... leaf -> page                          as the request is

import {
  PATH_FIRST,
  PATH_SECOND,
  STEP_ADDRESS,
  STEP_STRIDE,
  STEP_VALUE,
  STEP_WHAT,
  WHAT_SECOND,
} from '../iommu-layout';
import { STEPS, setBits, steps } from './tables';
import { path, TRAIT_EXTENDED, TRAIT_SECOND_FLAGS, TRAIT_WALK_SNOOP, traits } from './vtd-context';

const FIRST_ACCESSED: u64 = 1 << 5;
const FIRST_DIRTY: u64 = 1 << 6;
const FIRST_EXTENDED: u64 = 1 << 10;
const SECOND_WRITE: u64 = 2;
const SECOND_ACCESSED: u64 = 1 << 8;
const SECOND_DIRTY: u64 = 1 << 9;

/** First step of the walk; the last entry of the first stage, ~0: there is none; whether the page is written. */
let from: u32 = 0;
let firstLeaf: u32 = 0;
let isWritten: bool = false;

function valueAt(n: u32): u64 {
  return load<u64>(STEPS + <usize>n * STEP_STRIDE, STEP_VALUE);
}

function isOfSecond(n: u32): bool {
  return path == PATH_SECOND || load<u32>(STEPS + <usize>n * STEP_STRIDE, STEP_WHAT) > <u32>WHAT_SECOND;
}

/** Flags that step `n`, of the first stage, has to have and has not. */
function missingFirst(n: u32): u64 {
  const needed =
    FIRST_ACCESSED |
    (traits & TRAIT_EXTENDED ? FIRST_EXTENDED : 0) |
    (isWritten && n == firstLeaf ? FIRST_DIRTY : 0);
  return needed & ~valueAt(n);
}

/** The same of the second stage. */
function missingSecond(n: u32): u64 {
  if ((traits & TRAIT_SECOND_FLAGS) == 0) return 0;
  const isLast = n + 1 == steps;
  const leadsToFirst = !isLast && !isOfSecond(n + 1);
  const isDirty = isLast ? isWritten : leadsToFirst && missingFirst(n + 1) != 0;
  return (SECOND_ACCESSED | (isDirty ? SECOND_DIRTY : 0)) & ~valueAt(n);
}

/**
 * Sets the flags of the entries of a walk whose first step was `begin`; `written`: a page that can be written is. 0: it is done;
 * else why it cannot be: 0x77 no permission to write an entry, 0x90 and 0x7C the unit does not snoop when it walks.
 */
export function setFlags(begin: u32, written: bool): u32 {
  from = begin;
  isWritten = written;
  firstLeaf = ~0;
  if (path == PATH_SECOND && (traits & TRAIT_SECOND_FLAGS) == 0) return 0;
  for (let n = begin; n < steps; n++) if (!isOfSecond(n)) firstLeaf = n;
  const why = whyNot();
  if (why != 0) return why;
  for (let n = begin; n < steps; n++) {
    const bits = isOfSecond(n) ? missingSecond(n) : missingFirst(n);
    if (bits != 0) setBits(load<u64>(STEPS + <usize>n * STEP_STRIDE, STEP_ADDRESS), bits);
  }
  return 0;
}

function whyNot(): u32 {
  const snoops = (traits & TRAIT_WALK_SNOOP) != 0;
  let isAllowed = true;
  for (let n = from; n < steps; n++) {
    if (isOfSecond(n)) {
      if ((valueAt(n) & SECOND_WRITE) == 0) isAllowed = false;
      if (!snoops && missingSecond(n) != 0) return 0x7c;
      continue;
    }
    if (missingFirst(n) != 0) {
      if (!isAllowed) return 0x77;
      if (!snoops) return 0x90;
    }
    isAllowed = true;
  }
  return 0;
}

/** After `setFlags`: writes of the page need no further flag. */
export function isMarked(): bool {
  const hasFirst = firstLeaf == ~0 || isWritten || (valueAt(firstLeaf) & FIRST_DIRTY) != 0;
  if (path == PATH_FIRST || (traits & TRAIT_SECOND_FLAGS) == 0) return hasFirst;
  return hasFirst && (isWritten || (valueAt(steps - 1) & SECOND_DIRTY) != 0);
}
