// Floor 4: Armv8 stage 2 descriptors with a 4 KiB granule (iommu.md 4.1, 4.3). Level 3 of the architecture is 1 here, level 0 is 4.
//
//   63  59 58..55 54 53 52   51  50 48 47        12 11 10 9 8 7 6  5     2 1 0
//    ignored      XN    cont DBM          address      AF SH  S2AP MemAttr type
//
// Tables have no permissions. The top table may be up to 16 tables one after another.

import { PERMISSION_READ, PERMISSION_WRITE } from '../iommu-layout';
import {
  ENTRY_DENIED,
  ENTRY_FORBIDDEN,
  ENTRY_LEAF,
  ENTRY_TABLE,
  ENTRY_TOO_WIDE,
  ENTRY_UNUSED,
} from './formats';

const TYPE: u64 = 3;
const TYPE_BLOCK: u64 = 1;
const TYPE_TABLE: u64 = 3; // and of a page
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/** S2AP: bit 6 is to read, bit 7 to write. */
const PERMISSIONS_LG2: u64 = 6;
const WRITABLE: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 10;
/** The page is writable, and marked as such with the first write. */
const MODIFIED_BY_HARDWARE: u64 = (<u64>1) << 51;
/** MemAttr[3:2] is 0 for every kind of device memory. */
const MEMORY: u64 = 3 << 4;
/** MemAttr of normal memory, outer and inner write-back: all ones. */
const WRITE_BACK: u64 = 0xf << 2;
const PAGES: u32 = 1;
const LARGEST_BLOCK: u32 = 3;

let outputMask: u64 = 0;
let ignoresAccess: bool = false;
let hasAccess: bool = false;
let hasDirty: bool = false;
let protectsWalks: bool = false;
let needed: u32 = 0;
/** The walk is for a structure of stage 1, or for a context descriptor. */
let isForTable: bool = false;

/**
 * Prepares for the descriptors of a stream's stage 2: addresses have `width` bits; S2AFFD; hardware sets access flags and
 * marks pages as dirty (S2HA, S2HD); no tables in device memory (S2PTW).
 */
export function beginStage2(width: u32, affd: bool, setsAccess: bool, setsDirty: bool, ptw: bool): void {
  outputMask = ~(((<u64>1) << width) - 1);
  ignoresAccess = affd;
  hasAccess = setsAccess;
  hasDirty = setsDirty;
  protectsWalks = ptw;
}

/** What the next walk is for. */
export function stage2Needs(isWrite: bool, forTable: bool): void {
  needed = isWrite ? PERMISSION_WRITE : PERMISSION_READ;
  isForTable = forTable;
}

/** ENTRY_* of `entry` at `level`, faults in the order of the architecture. */
export function stage2Kind(entry: u64, level: u32): u32 {
  const type = entry & TYPE;
  const isTable = type == TYPE_TABLE && level != PAGES;
  const isLeaf = level == PAGES ? type == TYPE_TABLE : type == TYPE_BLOCK && level <= LARGEST_BLOCK;
  if (!isTable && !isLeaf) return ENTRY_DENIED;
  if (entry & ADDRESS & outputMask) return ENTRY_TOO_WIDE;
  if (isTable) return ENTRY_TABLE;
  if ((entry & ACCESSED) == 0 && !ignoresAccess && !hasAccess) return ENTRY_UNUSED;
  if (protectsWalks && isForTable && (entry & MEMORY) == 0) return ENTRY_FORBIDDEN;
  return stage2Permissions(entry, level) & needed ? ENTRY_LEAF : ENTRY_FORBIDDEN;
}

/** PERMISSION_* of a leaf, as the access leaves it; a table has all. */
export function stage2Permissions(entry: u64, level: u32): u32 {
  if (level != PAGES && (entry & TYPE) == TYPE_TABLE) return PERMISSION_READ | PERMISSION_WRITE;
  return <u32>(stage2Updated(entry) >> PERMISSIONS_LG2) & (PERMISSION_READ | PERMISSION_WRITE);
}

export function stage2Address(entry: u64): u64 {
  return entry & ADDRESS;
}

/** The descriptor of a page after the access. */
export function stage2Updated(entry: u64): u64 {
  let updated = hasAccess ? entry | ACCESSED : entry;
  if (hasDirty && needed == PERMISSION_WRITE && entry & MODIFIED_BY_HARDWARE) updated |= WRITABLE;
  return updated;
}

/** The memory type of a page is write-back (iommu.md 4.3). */
export function stage2IsCacheable(entry: u64): bool {
  return (entry & WRITE_BACK) == WRITE_BACK;
}
