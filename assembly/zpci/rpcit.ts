// Floor 6: REFRESH PCI TRANSLATIONS: makes the translation buffer agree with the tables, in the order of zpci.md 5.4.

import { raiseEvent } from '../fabric/events';
import { slotOf } from '../fabric/functions';
import { dropRange, setTranslation } from '../iommu/iotlb';
import { walkEnd, walkFrame, walkMapped, walkTables, walkWritable } from '../iommu/s390-walk';
import { dmaOf } from '../iommu/zpci';
import {
  DMA_FLAGS,
  DMA_IOTA,
  DMA_MODE,
  DMA_PAL,
  DMA_PBA,
  DMA_QUIRKS,
  DMA_REGISTERED,
  EVENT_INVALID_SPACE,
  EVENT_OUT_OF_RANGE,
  FUNCTION_REFRESHES,
  FUNCTION_STATE,
  IOTA_TRANSLATED,
  OPERAND_ODD,
  PE_PRIVILEGED,
  PE_SPECIFICATION,
  STATE_ERROR,
  STATE_PERMANENT_ERROR,
  STATUS_ERROR_RECOVERY,
  STATUS_IN_ERROR,
  STATUS_RESOURCES,
  STORE_PROBLEM_STATE,
} from '../layout';
import { findEnabled } from './live';
import { DONE, interruption, NO_FUNCTION, withStatus } from './rules';

/** Entries of tables and buffer that one instruction looks at. Tables can map 2^52 pages: who means it refreshes in parts. */
const MOST_ENTRIES: u32 = 1 << 26;

/** `flags`: STORE_PROBLEM_STATE, OPERAND_ODD. Refreshes [start, start + length), whole pages. */
export function refresh(handle: u32, flags: u32, start: u64, length: u64): u32 {
  if (flags & STORE_PROBLEM_STATE) return interruption(PE_PRIVILEGED);
  if (flags & OPERAND_ODD) return interruption(PE_SPECIFICATION);
  const fn = findEnabled(handle);
  if (fn == 0) return NO_FUNCTION;
  const state = load<u32>(fn, FUNCTION_STATE);
  if (state == STATE_ERROR) return withStatus(STATUS_ERROR_RECOVERY);
  if (state == STATE_PERMANENT_ERROR) return NO_FUNCTION;
  const dma = dmaOf(slotOf(fn));
  if (load<u32>(dma, DMA_MODE) != DMA_REGISTERED) return fail(fn, EVENT_INVALID_SPACE, start);
  // An end at or behind 2^64 is that of the last page.
  const wraps = start + length < start;
  if ((!wraps && start + length < load<u64>(dma, DMA_PBA)) || start > load<u64>(dma, DMA_PAL))
    return fail(fn, EVENT_OUT_OF_RANGE, start);
  const last: u64 = wraps ? ~0 : start + length - 1;
  const hasTables = (load<u32>(dma, DMA_IOTA) & IOTA_TRANSLATED) != 0;
  const answer = length == 0 || !hasTables ? DONE : walkRange(fn, dma, start & ~0xfff, last);
  if (answer == DONE || answer == withStatus(STATUS_RESOURCES))
    store<f64>(fn, load<f64>(fn, FUNCTION_REFRESHES) + 1, FUNCTION_REFRESHES);
  return answer;
}

/** Refreshes the pages of [from, last]. */
function walkRange(fn: usize, dma: usize, from: u64, last: u64): u32 {
  const slot = slotOf(fn);
  const iota = load<u64>(dma, DMA_IOTA);
  const zeroOrigin = (load<u32>(dma, DMA_FLAGS) & DMA_QUIRKS) == 0;
  let entries: u32 = 0;
  // What is not mapped is dropped in runs, as long as they are.
  let unmapped = from;
  let at = from;
  let answer = DONE;
  do {
    const event = walkTables(iota, at, zeroOrigin);
    entries += 4;
    if (event != 0) {
      answer = fail(fn, event, at);
      break;
    }
    // The first address that the next step looks at; 0 behind 2^64.
    let next = walkEnd;
    if (walkMapped) {
      if (unmapped != at) entries += dropRange(slot, unmapped, at - 1);
      if (!setTranslation(slot, at, walkFrame, walkWritable)) answer = withStatus(STATUS_RESOURCES);
      next = at + 0x1000;
      unmapped = next;
    }
    at = next;
    if (entries > MOST_ENTRIES) answer = withStatus(STATUS_RESOURCES);
  } while (at != 0 && at <= last && answer == DONE);
  // Up to where the walk came; a run that reaches the end of the range ends with it.
  const behind = at == 0 || at > last ? last : at - 1;
  if (unmapped != at && unmapped <= behind) dropRange(slot, unmapped, behind);
  return answer;
}

function fail(fn: usize, event: u32, address: u64): u32 {
  raiseEvent(fn, event, address, false);
  return withStatus(STATUS_IN_ERROR);
}
