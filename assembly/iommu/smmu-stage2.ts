// Floor 4: stage 2 of an SMMUv3 stream (iommu.md 4.3, 4.4): what its stream table entry says, and addresses through it.

import { FEATURE_ACCESS_FLAG, FEATURE_DIRTY_FLAG, UNIT_FEATURES, UNIT_HOST_WIDTH } from '../iommu-layout';
import { ENTRY_LEAF, ENTRY_TOO_WIDE, ENTRY_UNREADABLE, FORMAT_LPAE_2, levelLg2 } from './formats';
import { beginStage2 } from './lpae-stage2';
import {
  CLASS_DESCRIPTOR,
  eventOf,
  F_CD_FETCH,
  F_TRANSLATION,
  fail,
  failOf,
  OF_STAGE_2,
} from './smmu-events';
import { readEntry } from './tables';
import { beginNested, lastAddress, middleAddress, pageAddress, pageLg2, walkSecond } from './walk';

const TABLE: u64 = 0x000f_ffff_ffff_fff0;
/** An input needs at most 48 bits: T0SZ from 16 to 39. */
const SIZE_LEAST: u32 = 16;
const SIZE_MOST: u32 = 39;
/** Bits of index of one table, and of 16 one after another. */
const CONCATENATED_BITS: u32 = 9 + 4;
/** Level 0 of the architecture takes part from 44 address bits on. */
const LEVEL_0: u32 = 4;
const LEVEL_0_WIDTH: u32 = 44;

/** What the stream's entry says. */
export let vmid: u32 = 0;
/** Bits of an intermediate address. */
let inputWidth: u32 = 0;
/** Translation faults are recorded (S2R). */
export let isStage2Recording: bool = false;
/** Hardware marks pages as dirty. */
let marksStage2: bool = false;
let root: u64 = 0;
let top: u32 = 0;
let width: u32 = 0;
let ignoresAccess: bool = false;
let setsAccess: bool = false;
let protectsWalks: bool = false;

/** Bits of IPS and of S2PS: 32, 36, 40, 42, 44, 48, 52. */
export function widthOf(code: u32): u32 {
  if (code < 3) return 32 + 4 * code;
  return code == 3 ? 42 : code == 4 ? 44 : code == 5 ? 48 : 52;
}

/** The VMID of a stream, which is part of what its pages are known by. */
export function useVmid(third: u64): void {
  vmid = <u32>third & 0xffff;
}

/** Takes words 2 and 3 of a stream table entry; false: they are not what the unit offers. */
export function decodeStage2(unit: usize, third: u64, fourth: u64): bool {
  useVmid(third);
  const outputs = load<u32>(unit, UNIT_HOST_WIDTH);
  const features = load<u32>(unit, UNIT_FEATURES);
  const size = <u32>(third >> 32) & 63;
  const start = <u32>(third >> 38) & 3;
  // 4 KiB granule, AArch64 tables, little-endian, no stalls.
  if (((third >> 46) & 3) != 0 || !bit(third, 51) || bit(third, 52) || bit(third, 57)) return false;
  if (size < SIZE_LEAST || size > SIZE_MOST || <u32>64 - size > outputs || start == 3) return false;
  const hasAccess = bit(third, 56);
  const hasDirty = bit(third, 55);
  if (hasAccess && (features & FEATURE_ACCESS_FLAG) == 0) return false;
  if (hasDirty && (features & FEATURE_DIRTY_FLAG) == 0) return false;
  inputWidth = <u32>64 - size;
  top = 2 + start;
  width = min(widthOf(<u32>(third >> 48) & 7), outputs);
  const first = levelLg2(top);
  if (inputWidth <= first || inputWidth - first > CONCATENATED_BITS) return false;
  if (top == LEVEL_0 && outputs < LEVEL_0_WIDTH) return false;
  root = fourth & TABLE;
  if (root >> width != 0) return false;
  ignoresAccess = bit(third, 53);
  protectsWalks = bit(third, 54);
  setsAccess = hasAccess;
  marksStage2 = hasAccess && hasDirty;
  isStage2Recording = bit(third, 58);
  return true;
}

function bit(word: u64, at: u64): bool {
  return ((word >> at) & 1) != 0;
}

/** The next walks of a second stage are of this stream. */
export function useStage2(): void {
  const topBits = inputWidth - levelLg2(top);
  beginStage2(width, ignoresAccess, setsAccess, marksStage2, protectsWalks);
  // Tables one after another stand at a multiple of the size of all.
  const aligned = root & ~(((<u64>8) << topBits) - 1);
  beginNested(FORMAT_LPAE_2, aligned, top, ((<u64>1) << topBits) - 1, inputWidth);
}

/** Event of a walk whose second stage ended with `kind`: an address that is too wide for it is not translated. */
export function stage2EventOf(kind: u32): u32 {
  return kind == ENTRY_TOO_WIDE && middleAddress >> inputWidth != 0 ? F_TRANSLATION : eventOf(kind);
}

/** What its event has for an address: the one that was to be translated, or of the entry that could not be read. */
export function stage2Fetch(kind: u32): u64 {
  return kind == ENTRY_UNREADABLE ? lastAddress : middleAddress;
}

/** Where the last structure stands that `readThrough` has read. */
export let throughAt: u64 = 0;

/** Reads the entry at `address`, an intermediate one if the stream has a second stage, into `entry`. False: an event. */
export function readThrough(address: u64, what: u32, isNested: bool): bool {
  let at = address;
  if (isNested) {
    const kind = walkSecond(address, false, true);
    if (kind != ENTRY_LEAF) {
      const isRecorded = kind == ENTRY_UNREADABLE || isStage2Recording;
      return failOf(stage2EventOf(kind), stage2Fetch(kind), OF_STAGE_2 | CLASS_DESCRIPTOR, isRecorded);
    }
    at = pageAddress | (address & (((<u64>1) << pageLg2) - 1));
  }
  throughAt = at;
  return readEntry(at, what) ? true : fail(F_CD_FETCH, at);
}

// What the cache of streams keeps: 4 words.
export function keepStage2(at: usize): void {
  store<u64>(at, root);
  store<u32>(at, vmid | (inputWidth << 16) | (top << 24), 8);
  const flags: u32 =
    (isStage2Recording ? 1 : 0) |
    (marksStage2 ? 2 : 0) |
    (ignoresAccess ? 4 : 0) |
    (setsAccess ? 8 : 0) |
    (protectsWalks ? 16 : 0);
  store<u32>(at, flags | (width << 8), 12);
}

export function restoreStage2(at: usize): void {
  root = load<u64>(at);
  const numbers = load<u32>(at, 8);
  vmid = numbers & 0xffff;
  inputWidth = (numbers >> 16) & 0xff;
  top = numbers >> 24;
  const flags = load<u32>(at, 12);
  isStage2Recording = (flags & 1) != 0;
  marksStage2 = (flags & 2) != 0;
  ignoresAccess = (flags & 4) != 0;
  setsAccess = (flags & 8) != 0;
  protectsWalks = (flags & 16) != 0;
  width = flags >> 8;
}
