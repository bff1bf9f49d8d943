// Floor 4: the blocks of translation units, and what every kind of unit answers.

import {
  PERMISSION_READ,
  PERMISSION_WRITE,
  RESULT_ADDRESS,
  RESULT_BYTES,
  RESULT_FORCES_SNOOP,
  RESULT_PAGE_LG2,
  RESULT_PATH,
  RESULT_PERMISSIONS,
  RESULT_READS,
  TRANSLATED,
  UNIT_MOST,
  UNIT_SAVED_READS,
  UNIT_STRIDE,
  UNIT_WALK_READS,
} from '../iommu-layout';
import { endStructures } from './structures';
import { beginSteps, savedSteps, steps } from './tables';

export const UNITS: usize = memory.data(UNIT_MOST * UNIT_STRIDE, 16);
export const RESULT: usize = memory.data(RESULT_BYTES, 16);

/** Log2 of the page where nothing is translated: all of memory. */
const EVERYWHERE: u32 = 63;

export function unitAt(index: u32): usize {
  return UNITS + <usize>index * UNIT_STRIDE;
}

/** Adds to a u64 counter of the unit. */
export function count(unit: usize, counter: usize, by: u64): void {
  store<u64>(unit + counter, load<u64>(unit + counter) + by);
}

export function beginAnswer(): void {
  memory.fill(RESULT, 0, RESULT_BYTES);
  beginSteps();
  endStructures();
}

/** Tells and counts the entries that the request has read, and those that it need not read. */
export function endReads(unit: usize): void {
  store<u32>(RESULT, steps, RESULT_READS);
  if (steps != 0) count(unit, UNIT_WALK_READS, steps);
  if (savedSteps != 0) count(unit, UNIT_SAVED_READS, savedSteps);
}

/** The request goes to `address`, on a page of 2^`lg2` bytes that allows `allowed` (PERMISSION_*). */
export function answer(address: u64, lg2: u32, allowed: u32, forces: bool): u32 {
  store<u64>(RESULT, address, RESULT_ADDRESS);
  store<u32>(RESULT, lg2, RESULT_PAGE_LG2);
  store<u32>(RESULT, allowed, RESULT_PERMISSIONS);
  store<u32>(RESULT, forces ? 1 : 0, RESULT_FORCES_SNOOP);
  return TRANSLATED;
}

/** The request goes where it says; `path` is why (PATH_*). */
export function answerAsSent(address: u64, path: u32, forces: bool): u32 {
  store<u32>(RESULT, path, RESULT_PATH);
  return answer(address, EVERYWHERE, PERMISSION_READ | PERMISSION_WRITE, forces);
}
