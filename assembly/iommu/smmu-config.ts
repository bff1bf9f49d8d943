// Floor 4: what a stream is to an SMMUv3: its stream table entry (iommu.md 4.4), and a cache of it with its context descriptor.
//
//   linear      STE[sid]
//   two levels  L1[sid >> SPLIT] -> STE[sid & (2^SPLIT - 1)], as many as the span of the L1 descriptor says
//
// Offered are both stages with granules of 4 KiB, substreams, no stalls; of the reference stage 1 with one context.

import {
  MODEL_QEMU,
  PASID_NONE,
  UNIT_MODEL,
  UNIT_MOST,
  UNIT_ROOT,
  UNIT_STREAMS,
  UNIT_SUBSTREAM_BITS,
  WHAT_STREAM,
  WHAT_STREAM_LIST,
} from '../iommu-layout';
import { findDescriptor, keepContext, restoreContext } from './smmu-context';
import {
  C_BAD_STE,
  C_BAD_STREAMID,
  C_BAD_SUBSTREAMID,
  F_STE_FETCH,
  F_STREAM_DISABLED,
  fail,
} from './smmu-events';
import { decodeStage2, keepStage2, restoreStage2, useStage2, useVmid } from './smmu-stage2';
import { entry, readEntry } from './tables';

// STE.Config: without bit 2 the stream is aborted; bit 0 is stage 1, bit 1 stage 2.
const CONFIG_TRANSLATES: u32 = 4;
const CONFIG_STAGE_1: u32 = 1;
const CONFIG_STAGE_2: u32 = 2;
export const STREAM_ABORT: u32 = 0;
export const STREAM_BYPASS: u32 = 4;
export const STREAM_STAGE_2: u32 = 6;
export const STREAM_NESTED: u32 = 7;

const POINTER: u64 = 0x000f_ffff_ffff_ffc0;
const VALID: u64 = 1;
const STALL_DISABLE: u64 = 1 << 27;
// S1DSS: what becomes of requests without a substream of a stream that has some.
const DEFAULT_BYPASS: u32 = 1;
const DEFAULT_FIRST: u32 = 2; // the first context, which no substream may use then

/** What the last look found: STREAM_*. */
export let streamConfig: u32 = 0;

let streamAt: u64 = 0;
let first: u64 = 0;
let second: u64 = 0;

/** Finds out about stream `sid` and its substream, PASID_NONE for none. False: an event, see `configEvent`. */
export function findStream(index: u32, unit: usize, sid: u32, pasid: u32): bool {
  const slot = slotOf(index, sid, pasid);
  const key = USED | ((<u64>pasid) << 16) | sid;
  if (load<u64>(slot) == key) {
    streamConfig = load<u32>(slot, 8);
    restoreContext(slot + CONTEXT);
    restoreStage2(slot + STAGE_2);
    if (streamConfig & CONFIG_STAGE_2) useStage2();
    return true;
  }
  if (!readStream(unit, sid)) return false;
  if (!decodeStream(unit, pasid)) return false;
  store<u64>(slot, key);
  store<u32>(slot, streamConfig, 8);
  keepContext(slot + CONTEXT);
  keepStage2(slot + STAGE_2);
  return true;
}

function readStream(unit: usize, sid: u32): bool {
  const config = load<u32>(unit, UNIT_STREAMS);
  const lg2 = config & 63;
  const base = load<u64>(unit, UNIT_ROOT) & POINTER;
  if (lg2 < 32 && sid >> lg2 != 0) return fail(C_BAD_STREAMID, 0);
  const isLinear = ((config >> 16) & 3) == 0;
  streamAt = base + ((<u64>sid) << 6);
  if (!isLinear && !findInList(unit, base, sid, (config >> 6) & 31)) return false;
  const at = streamAt;
  if (!readEntry(at, WHAT_STREAM)) return fail(F_STE_FETCH, at);
  first = entry;
  if (!readEntry(at + 8, WHAT_STREAM)) return fail(F_STE_FETCH, at);
  second = entry;
  return true;
}

/** Finds `streamAt` in a two-level table. False: an event. */
function findInList(unit: usize, base: u64, sid: u32, split: u32): bool {
  const at = base + ((<u64>(sid >> split)) << 3);
  if (!readEntry(at, WHAT_STREAM_LIST)) return fail(F_STE_FETCH, at);
  const span = <u32>entry & 31;
  const offset = sid & (((<u32>1) << split) - 1);
  if (span == 0) return fail(C_BAD_STREAMID, 0);
  // The reference has twice the entries, and another event.
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (offset >> (isQemu ? span : span - 1) != 0) return fail(isQemu ? C_BAD_STE : C_BAD_STREAMID, 0);
  streamAt = (entry & POINTER) + ((<u64>offset) << 6);
  return true;
}

function decodeStream(unit: usize, pasid: u32): bool {
  useVmid(0);
  if ((first & VALID) == 0) return fail(C_BAD_STE, 0);
  streamConfig = <u32>(first >> 1) & 7;
  if ((streamConfig & CONFIG_TRANSLATES) == 0) {
    streamConfig = STREAM_ABORT;
    return true;
  }
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (isQemu && streamConfig & CONFIG_STAGE_2) return fail(C_BAD_STE, 0);
  const substreams = <u32>(first >> 59);
  // No stalls to be disabled.
  if (streamConfig & CONFIG_STAGE_1)
    if (substreams > load<u32>(unit, UNIT_SUBSTREAM_BITS) || second & STALL_DISABLE)
      return fail(C_BAD_STE, 0);
  if (!isQemu && streamConfig != STREAM_BYPASS && !readStage2(unit)) return false;
  if ((streamConfig & CONFIG_STAGE_1) == 0) return pasid == PASID_NONE ? true : fail(C_BAD_SUBSTREAMID, 0);
  let substream: u32 = 0;
  if (pasid != PASID_NONE) {
    if (substreams == 0 || pasid >> substreams != 0) return fail(C_BAD_SUBSTREAMID, 0);
    substream = pasid;
  }
  const byDefault = <u32>second & 3;
  if (substreams != 0) {
    if (pasid == 0 && byDefault == DEFAULT_FIRST) return fail(F_STREAM_DISABLED, 0);
    if (pasid == PASID_NONE && byDefault == DEFAULT_BYPASS) {
      streamConfig &= ~CONFIG_STAGE_1;
      return true;
    }
    if (pasid == PASID_NONE && byDefault != DEFAULT_FIRST) return fail(F_STREAM_DISABLED, 0);
  }
  return findDescriptor(unit, first, substream, streamConfig == STREAM_NESTED);
}

/** Reads what an entry says of stage 2; without one it still has a VMID. */
function readStage2(unit: usize): bool {
  if (!readEntry(streamAt + 16, WHAT_STREAM)) return fail(F_STE_FETCH, streamAt + 16);
  const third = entry;
  useVmid(third);
  if ((streamConfig & CONFIG_STAGE_2) == 0) return true;
  if (!readEntry(streamAt + 24, WHAT_STREAM)) return fail(F_STE_FETCH, streamAt + 24);
  if (!decodeStage2(unit, third, entry)) return fail(C_BAD_STE, 0);
  useStage2();
  return true;
}

// --------------------------------------------------------------------------------------------------------- cache
// Direct-mapped by stream and substream: key (u64), STREAM_*, the context, stage 2.

const SLOTS: u32 = 64;
const STRIDE: usize = 64;
const CONTEXT: usize = 16;
const STAGE_2: usize = 48;
const CACHE: usize = memory.data(UNIT_MOST * 64 * 64, 16);
const USED: u64 = (<u64>1) << 40;
const SID_MASK: u64 = 0xffff;

function slotOf(index: u32, sid: u32, pasid: u32): usize {
  const mixed = sid ^ (sid >> 8) ^ pasid ^ (pasid >> 6);
  return CACHE + <usize>(index * SLOTS + (mixed & (SLOTS - 1))) * STRIDE;
}

/** Drops what is kept of all streams. */
export function dropStreams(index: u32): void {
  memory.fill(CACHE + <usize>(index * SLOTS) * STRIDE, 0, <usize>SLOTS * STRIDE);
}

/** Drops stream `sid` with all its substreams. */
export function dropStream(index: u32, sid: u32): void {
  const cache = CACHE + <usize>(index * SLOTS) * STRIDE;
  for (let n: u32 = 0; n < SLOTS; n++) {
    const slot = cache + <usize>n * STRIDE;
    if ((load<u64>(slot) & (USED | SID_MASK)) == (USED | sid)) store<u64>(slot, 0);
  }
}
