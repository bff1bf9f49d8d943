// Floor 4: context descriptors of an SMMUv3 (iommu.md 4.4; SMMUv3 specification 5.3, 5.4): where they stand, what they say.
//
//   one         CD
//   linear      CD[substream]
//   two levels  L1[substream >> 6 or 10] -> CD[substream & 63 or 1023]

import {
  FEATURE_ACCESS_FLAG,
  FEATURE_DIRTY_FLAG,
  MODEL_QEMU,
  UNIT_FEATURES,
  UNIT_HOST_WIDTH,
  UNIT_MODEL,
  WHAT_DESCRIPTOR,
} from '../iommu-layout';
import { C_BAD_CD, C_BAD_SUBSTREAMID, F_CD_FETCH, fail } from './smmu-events';
import { readThrough, throughAt, widthOf } from './smmu-stage2';
import { entry, readEntry } from './tables';

const POINTER: u64 = 0x000f_ffff_ffff_ffc0;
const LIST_POINTER: u64 = 0x000f_ffff_ffff_f000;
const TABLE: u64 = 0x000f_ffff_ffff_fff0;
/** S1Fmt; the fourth value is as the first. */
const LISTS_OF_64: u32 = 1;
const LISTS_OF_1024: u32 = 2;

/** What the last descriptor said. */
export let asid: u32 = 0;
/** Translation faults are recorded (CD.R). */
export let isRecording: bool = false;
/** Hardware sets access flags (HA), and marks pages as dirty (HD). */
export let setsAccess: bool = false;
export let marksDirty: bool = false;
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
/** A bit per AttrIndx: the attribute of MAIR is write-back. */
export let cacheable: u32 = 0;

let descriptor: u64 = 0;
let found: u64 = 0;

/**
 * Reads the descriptor of `substream` of a stream whose entry begins with `word`; with `isNested` addresses are intermediate
 * ones. False: an event.
 */
export function findDescriptor(unit: usize, word: u64, substream: u32, isNested: bool): bool {
  if (!findAddress(word, substream, isNested)) return false;
  if (!readThrough(found, WHAT_DESCRIPTOR, isNested)) return false;
  descriptor = entry;
  const at = throughAt;
  if (!readEntry(at + 8, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
  const low = entry;
  if (!readEntry(at + 16, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
  const high = entry;
  cacheable = 0xff;
  // The reference has no memory types.
  if ((load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) == 0) {
    if (!readEntry(at + 24, WHAT_DESCRIPTOR)) return fail(F_CD_FETCH, at);
    cacheable = writeBacks(entry);
  }
  return decode(unit, low, high);
}

/** A bit per attribute of MAIR: normal memory, write-back in its outer (bits 7:4) and its inner half. */
function writeBacks(mair: u64): u32 {
  let found: u32 = 0;
  for (let n: u32 = 0; n < 8; n++) {
    const attribute = <u32>(mair >> (n << 3));
    if (isWriteBack((attribute >> 4) & 15) && isWriteBack(attribute & 15)) found |= (<u32>1) << n;
  }
  return found;
}

/** 0b11RW, or transient 0b01RW with R or W: 0b0100 is non-cacheable, 0b10RW and 0b00RW are write-through or a device. */
function isWriteBack(half: u32): bool {
  return half >= 12 || (half >= 5 && half <= 7);
}

/** Finds the address of a descriptor. False: an event. */
function findAddress(word: u64, substream: u32, isNested: bool): bool {
  const most = <u32>(word >> 59);
  const base = word & POINTER;
  found = base;
  if (most == 0) return true;
  const format = <u32>(word >> 4) & 3;
  // Tables stand at a multiple of their size.
  if (format != LISTS_OF_64 && format != LISTS_OF_1024) {
    found = (base & ~(((<u64>64) << most) - 1)) + ((<u64>substream) << 6);
    return true;
  }
  const split: u32 = format == LISTS_OF_64 ? 6 : 10;
  const lists = most > split ? most - split : 0;
  const at = (base & ~(((<u64>8) << lists) - 1)) + ((<u64>(substream >> split)) << 3);
  if (!readThrough(at, WHAT_DESCRIPTOR, isNested)) return false;
  if ((entry & 1) == 0) return fail(C_BAD_SUBSTREAMID, 0);
  const list = entry & LIST_POINTER & ~(((<u64>64) << split) - 1);
  found = list + ((<u64>(substream & (((<u32>1) << split) - 1))) << 6);
  return true;
}

function bit(at: u64): bool {
  return ((descriptor >> at) & 1) != 0;
}

/** Valid, AArch64, little-endian, aborts (A), no stalls; hardware sets flags as far as the unit can. */
function decode(unit: usize, low: u64, high: u64): bool {
  const isOffered = bit(31) && bit(41) && !bit(15) && bit(46) && !bit(44);
  if (!isOffered) return fail(C_BAD_CD, 0);
  const features = load<u32>(unit, UNIT_FEATURES);
  if (bit(43) && (features & FEATURE_ACCESS_FLAG) == 0) return fail(C_BAD_CD, 0);
  if (bit(42) && (features & FEATURE_DIRTY_FLAG) == 0) return fail(C_BAD_CD, 0);
  setsAccess = bit(43);
  marksDirty = bit(42) && bit(43);
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

// What the cache of streams keeps: 7 words.
export function keepContext(at: usize): void {
  store<u64>(at, table0);
  store<u64>(at, table1, 8);
  store<u32>(at, asid, 16);
  store<u32>(at, sizes0 | (sizes1 << 8) | (outputWidth << 16), 20);
  const flags: u32 =
    (isRecording ? 1 : 0) |
    (ignoresTop0 ? 2 : 0) |
    (ignoresTop1 ? 4 : 0) |
    (isFlat0 ? 8 : 0) |
    (isFlat1 ? 16 : 0) |
    (setsAccess ? 32 : 0) |
    (marksDirty ? 64 : 0);
  store<u32>(at, flags | (cacheable << 8), 24);
}

export function restoreContext(at: usize): void {
  table0 = load<u64>(at);
  table1 = load<u64>(at, 8);
  asid = load<u32>(at, 16);
  const sizes = load<u32>(at, 20);
  sizes0 = sizes & 0xff;
  sizes1 = (sizes >> 8) & 0xff;
  outputWidth = sizes >> 16;
  const flags = load<u32>(at, 24);
  isRecording = (flags & 1) != 0;
  ignoresTop0 = (flags & 2) != 0;
  ignoresTop1 = (flags & 4) != 0;
  isFlat0 = (flags & 8) != 0;
  isFlat1 = (flags & 16) != 0;
  setsAccess = (flags & 32) != 0;
  marksDirty = (flags & 64) != 0;
  cacheable = flags >> 8;
}
