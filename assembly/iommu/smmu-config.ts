// Floor 4: what a stream is to an SMMUv3: stream table entry and context descriptor (iommu.md 4.4), and a cache of it.
//
//   linear      STE[sid]
//   two levels  L1[sid >> SPLIT] -> STE[sid & (2^SPLIT - 1)], as many as the span of the L1 descriptor says
//
// Offered are one stage, one context per stream, granules of 4 KiB, no stalls.

import {
  MODEL_QEMU,
  UNIT_HOST_WIDTH,
  UNIT_MODEL,
  UNIT_MOST,
  UNIT_ROOT,
  UNIT_STREAMS,
  WHAT_DESCRIPTOR,
  WHAT_STREAM,
  WHAT_STREAM_LIST,
} from '../iommu-layout';
import { entry, readEntry } from './tables';

// Events of configuration (iommu.md 11.2).
export const C_BAD_STREAMID: u32 = 0x02;
export const F_STE_FETCH: u32 = 0x03;
export const C_BAD_STE: u32 = 0x04;
export const F_CD_FETCH: u32 = 0x09;
export const C_BAD_CD: u32 = 0x0a;

// STE.Config: without bit 2 the stream is aborted; bit 0 is stage 1, bit 1 stage 2.
const CONFIG_TRANSLATES: u32 = 4;
export const STREAM_ABORT: u32 = 0;
export const STREAM_BYPASS: u32 = 4;
const STREAM_STAGE_1: u32 = 5;

const POINTER: u64 = 0x000f_ffff_ffff_ffc0;
const TABLE: u64 = 0x000f_ffff_ffff_fff0;
const VALID: u64 = 1;
const STALL_DISABLE: u64 = 1 << 27;

/** What the last look found: STREAM_*, and of a context descriptor both halves of the address space. */
export let streamConfig: u32 = 0;
export let asid: u32 = 0;
/** Translation faults are recorded (CD.R). */
export let isRecording: bool = false;
/** By half: T0SZ or T1SZ, 0 where the half is disabled; top byte ignored; table; tables without permissions. */
export let sizes0: u32 = 0;
export let sizes1: u32 = 0;
export let ignoresTop0: bool = false;
export let ignoresTop1: bool = false;
export let table0: u64 = 0;
export let table1: u64 = 0;
export let isFlat0: bool = false;
export let isFlat1: bool = false;
export let outputWidth: u32 = 0;

/** Why there is none, and the address that could not be read. */
export let configEvent: u32 = 0;
export let configFetch: u64 = 0;

let first: u64 = 0;
let second: u64 = 0;
let descriptor: u64 = 0;

function fail(event: u32, fetch: u64): bool {
  configEvent = event;
  configFetch = fetch;
  return false;
}

/** Finds out about stream `sid`. False: an event, see `configEvent`. */
export function findStream(index: u32, unit: usize, sid: u32): bool {
  const slot = slotOf(index, sid);
  if (load<u64>(slot) == (USED | sid)) {
    restore(slot);
    return true;
  }
  if (!readStream(unit, sid) || !decodeStream(unit)) return false;
  store<u64>(slot, USED | sid);
  keep(slot);
  return true;
}

function readStream(unit: usize, sid: u32): bool {
  const config = load<u32>(unit, UNIT_STREAMS);
  const lg2 = config & 63;
  const base = load<u64>(unit, UNIT_ROOT) & POINTER;
  if (lg2 < 32 && sid >> lg2 != 0) return fail(C_BAD_STREAMID, 0);
  const isLinear = ((config >> 16) & 3) == 0;
  const at = isLinear ? base + ((<u64>sid) << 6) : streamOfList(unit, base, sid, (config >> 6) & 31);
  if (at == 0) return false;
  if (!readEntry(at, WHAT_STREAM)) return fail(F_STE_FETCH, at);
  first = entry;
  if (!readEntry(at + 8, WHAT_STREAM)) return fail(F_STE_FETCH, at);
  second = entry;
  return true;
}

/** Address of the entry in a two-level table; 0: an event. */
function streamOfList(unit: usize, base: u64, sid: u32, split: u32): u64 {
  const at = base + ((<u64>(sid >> split)) << 3);
  if (!readEntry(at, WHAT_STREAM_LIST)) {
    fail(F_STE_FETCH, at);
    return 0;
  }
  const span = <u32>entry & 31;
  const offset = sid & (((<u32>1) << split) - 1);
  if (span == 0) {
    fail(C_BAD_STREAMID, 0);
    return 0;
  }
  // The reference has twice the entries, and another event.
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (offset >> (isQemu ? span : span - 1) != 0) {
    fail(isQemu ? C_BAD_STE : C_BAD_STREAMID, 0);
    return 0;
  }
  return (entry & POINTER) + ((<u64>offset) << 6);
}

function decodeStream(unit: usize): bool {
  if ((first & VALID) == 0) return fail(C_BAD_STE, 0);
  streamConfig = <u32>(first >> 1) & 7;
  if ((streamConfig & CONFIG_TRANSLATES) == 0) {
    streamConfig = STREAM_ABORT;
    return true;
  }
  if (streamConfig == STREAM_BYPASS) return true;
  // No second stage, no substreams, no stalls to be disabled.
  if (streamConfig != STREAM_STAGE_1 || first >> 59 != 0 || second & STALL_DISABLE) return fail(C_BAD_STE, 0);
  const at = first & POINTER;
  if (!readEntry(at, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
  descriptor = entry;
  if (!readEntry(at + 8, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
  const low = entry;
  if (!readEntry(at + 16, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
  const high = entry;
  return decodeDescriptor(unit, low, high);
}

function bit(at: u64): bool {
  return ((descriptor >> at) & 1) != 0;
}

/** Valid, AArch64, little-endian, aborts (A), no stalls, no hardware update of flags. */
function decodeDescriptor(unit: usize, low: u64, high: u64): bool {
  const isOffered = bit(31) && bit(41) && !bit(15) && bit(46) && !bit(44) && !bit(42) && !bit(43);
  if (!isOffered) return fail(C_BAD_CD, 0);
  const width = widthOf(<u32>(descriptor >> 32) & 7);
  outputWidth = min(width, load<u32>(unit, UNIT_HOST_WIDTH));
  sizes0 = bit(14) ? 0 : <u32>descriptor & 63;
  sizes1 = bit(30) ? 0 : <u32>(descriptor >> 16) & 63;
  table0 = low & TABLE;
  table1 = high & TABLE;
  if (!bit(14) && !isHalf(sizes0, (<u32>descriptor >> 6) & 3, 0, table0)) return fail(C_BAD_CD, 0);
  if (!bit(30) && !isHalf(sizes1, (<u32>descriptor >> 22) & 3, 2, table1)) return fail(C_BAD_CD, 0);
  ignoresTop0 = bit(38);
  ignoresTop1 = bit(39);
  isFlat0 = (low & 2) != 0;
  isFlat1 = (high & 2) != 0;
  isRecording = bit(45);
  asid = <u32>(descriptor >> 48);
  return true;
}

/** Size, granule (4 KiB is 0 in TG0, 2 in TG1) and table of a half. */
function isHalf(size: u32, granule: u32, wanted: u32, table: u64): bool {
  return size >= 16 && size <= 39 && granule == wanted && table >> outputWidth == 0;
}

/** Bits of IPS: 32, 36, 40, 42, 44, 48, 52. */
function widthOf(ips: u32): u32 {
  if (ips < 3) return 32 + 4 * ips;
  return ips == 3 ? 42 : ips == 4 ? 44 : ips == 5 ? 48 : 52;
}

// --------------------------------------------------------------------------------------------------------- cache
// Direct-mapped by stream: key (u64), tables (2 u64), STREAM_*, ASID, sizes, output width, flags.

const SLOTS: u32 = 64;
const STRIDE: usize = 64;
const CACHE: usize = memory.data(UNIT_MOST * 64 * 64, 16);
const USED: u64 = (<u64>1) << 40;

function slotOf(index: u32, sid: u32): usize {
  return CACHE + <usize>(index * SLOTS + ((sid ^ (sid >> 8)) & (SLOTS - 1))) * STRIDE;
}

function keep(slot: usize): void {
  store<u64>(slot, table0, 8);
  store<u64>(slot, table1, 16);
  store<u32>(slot, streamConfig, 24);
  store<u32>(slot, asid, 28);
  store<u32>(slot, sizes0 | (sizes1 << 8), 32);
  store<u32>(slot, outputWidth, 36);
  const flags: u32 =
    (isRecording ? 1 : 0) |
    (ignoresTop0 ? 2 : 0) |
    (ignoresTop1 ? 4 : 0) |
    (isFlat0 ? 8 : 0) |
    (isFlat1 ? 16 : 0);
  store<u32>(slot, flags, 40);
}

function restore(slot: usize): void {
  table0 = load<u64>(slot, 8);
  table1 = load<u64>(slot, 16);
  streamConfig = load<u32>(slot, 24);
  asid = load<u32>(slot, 28);
  sizes0 = load<u32>(slot, 32) & 63;
  sizes1 = load<u32>(slot, 32) >> 8;
  outputWidth = load<u32>(slot, 36);
  const flags = load<u32>(slot, 40);
  isRecording = (flags & 1) != 0;
  ignoresTop0 = (flags & 2) != 0;
  ignoresTop1 = (flags & 4) != 0;
  isFlat0 = (flags & 8) != 0;
  isFlat1 = (flags & 16) != 0;
}

/** Drops what is kept of all streams. */
export function dropStreams(index: u32): void {
  memory.fill(CACHE + <usize>(index * SLOTS) * STRIDE, 0, <usize>SLOTS * STRIDE);
}

export function dropStream(index: u32, sid: u32): void {
  const slot = slotOf(index, sid);
  if (load<u64>(slot) == (USED | sid)) store<u64>(slot, 0);
}
