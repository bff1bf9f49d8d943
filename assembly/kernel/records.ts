// Floor 1: HOST records: what device models have to do before the core can go on. Filled here, served by the host.

import {
  CPL_SC,
  RECORD_BYTES,
  RECORD_DATA,
  RECORD_ENABLES,
  RECORD_KIND,
  RECORD_OFFSET,
  RECORD_OFFSET_HI,
  RECORD_REQUEST,
  RECORD_SLOT,
  RECORD_SLOTS,
  RECORD_SPACE,
  RECORD_STATUS,
  RECORD_STRIDE,
} from '../layout';

export const RECORDS: usize = memory.data(RECORD_SLOTS * RECORD_STRIDE, 16);

/** Records that the host has not served. */
export let recordCount: u32 = 0;
/** The last record is one whose answer the core needs before it does anything else. */
export let isWaiting: bool = false;
/** Answer of the last record that was waited for: CPL_*. */
export let lastStatus: u32 = CPL_SC;

export function recordAt(index: u32): usize {
  return RECORDS + <usize>(index * RECORD_STRIDE);
}

/** True while one more record fits. */
export function roomForRecord(): bool {
  return recordCount < <u32>RECORD_SLOTS;
}

/** Adds a record; `waits`: nothing else happens before the host has answered. */
export function pushRecord(
  kind: u32,
  slot: u32,
  space: u32,
  offset: u64,
  bytes: u32,
  enables: u32,
  data: usize,
  request: usize,
  waits: bool,
): void {
  // Also in the release build: what lies behind the records are other blocks.
  if (!roomForRecord() || isWaiting) unreachable();
  const at = recordAt(recordCount);
  recordCount += 1;
  store<u32>(at, kind, RECORD_KIND);
  store<u16>(at, <u16>slot, RECORD_SLOT);
  store<u16>(at, <u16>space, RECORD_SPACE);
  store<u32>(at, <u32>offset, RECORD_OFFSET);
  store<u32>(at, <u32>(offset >> 32), RECORD_OFFSET_HI);
  store<u32>(at, bytes, RECORD_BYTES);
  store<u32>(at, enables, RECORD_ENABLES);
  store<u32>(at, <u32>data, RECORD_DATA);
  store<u32>(at, CPL_SC, RECORD_STATUS);
  store<u32>(at, <u32>request, RECORD_REQUEST);
  isWaiting = waits;
}

/** The host has served all records. Returns the one that was waited for, 0 when none was. */
export function takeServed(): usize {
  const waited = isWaiting ? recordAt(recordCount - 1) : 0;
  recordCount = 0;
  isWaiting = false;
  if (waited != 0) lastStatus = load<u32>(waited, RECORD_STATUS);
  return waited;
}

/** Nothing is left to serve: a reset. */
export function dropRecords(): void {
  recordCount = 0;
  isWaiting = false;
  lastStatus = CPL_SC;
}
