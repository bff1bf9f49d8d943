// Floor 4: first-stage paging entries of VT-d (specification 3.6 and 9.7, iommu.md 2.5). Levels count from 1, the page table.
//
//   63    52 51    HAW HAW-1   12 11  10 9 8    7   6 5 4   3   2   1   0
//   ignored  reserved   address   ign EA   G PS/PAT D A PCD PWT U/S R/W P
//
// Requests to execute are no more (specification 5.10): bit 63, which forbids them, is ignored.

import {
  FEATURE_FIRST_1G,
  PERMISSION_READ,
  PERMISSION_WRITE,
  UNIT_FEATURES,
  UNIT_HOST_WIDTH,
} from '../iommu-layout';
import {
  ENTRY_DENIED,
  ENTRY_FORBIDDEN,
  ENTRY_LEAF,
  ENTRY_RESERVED,
  ENTRY_SUPERVISOR,
  ENTRY_TABLE,
  levelLg2,
} from './formats';

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
/** PAT of a large page, in its lowest address bit. */
const LARGE_PAT: u64 = 1 << 12;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LEVEL_2M: u32 = 2;
const LEVEL_1G: u32 = 3;

/** Bits that have to be 0 in every entry. */
let reserved: u64 = 0;
let largeLevels: u32 = 0;
let needsWrite: bool = false;
let isSupervisor: bool = false;
/** Requests of supervisors are held to R/W too (WPE). */
let isProtected: bool = false;

/** Prepares for the entries of a walk. */
export function beginFirst(unit: usize, isWrite: bool, supervisor: bool, protect: bool): void {
  reserved = ADDRESS & ~(((<u64>1) << load<u32>(unit, UNIT_HOST_WIDTH)) - 1);
  largeLevels =
    ((<u32>1) << LEVEL_2M) | (load<u32>(unit, UNIT_FEATURES) & FEATURE_FIRST_1G ? (<u32>1) << LEVEL_1G : 0);
  isSupervisor = supervisor;
  isProtected = protect;
  needsWrite = isWrite;
}

/** ENTRY_* of `entry` at `level`. As in the second stage, permissions come before reserved bits. */
export function firstKind(entry: u64, level: u32): u32 {
  if ((entry & PRESENT) == 0) return ENTRY_DENIED;
  if (!isSupervisor && (entry & USER) == 0) return ENTRY_SUPERVISOR;
  if (needsWrite && (firstPermissions(entry) & PERMISSION_WRITE) == 0) return ENTRY_FORBIDDEN;
  if (entry & reserved) return ENTRY_RESERVED;
  if (level == 1) return ENTRY_LEAF;
  if ((entry & LARGE) == 0) return ENTRY_TABLE;
  if (((largeLevels >> level) & 1) == 0) return ENTRY_RESERVED;
  const inPage = (((<u64>1) << levelLg2(level)) - 1) & ADDRESS & ~LARGE_PAT;
  return entry & inPage ? ENTRY_RESERVED : ENTRY_LEAF;
}

/** What is present can be read. */
export function firstPermissions(entry: u64): u32 {
  const isWritable = (entry & WRITE) != 0 || (isSupervisor && !isProtected);
  return isWritable ? PERMISSION_READ | PERMISSION_WRITE : PERMISSION_READ;
}

export function firstAddress(entry: u64): u64 {
  return entry & ADDRESS;
}
