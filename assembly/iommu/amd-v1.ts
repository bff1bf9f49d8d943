// Floor 4: host page tables of AMD-Vi, version 1 (AMD 48882 section 2.2.3, iommu.md 3). Levels count from 1, the page table.
//
//   63 62 61 60 59 58  52 51                12 11   9 8 7 6 5 4  1  0
//    | IW IR FC U  rsvd         address       NextLevel    D A     PR
//
// NextLevel names the level of the table below, which may be lower by more than 1: the address bits in between are then 0.
// 0 is a page of the size that an entry here covers; 7 is one whose size stands in the address, as ones from bit 12 up.

import { PERMISSION_READ, PERMISSION_WRITE } from '../iommu-layout';
import {
  ENTRY_DENIED,
  ENTRY_FORBIDDEN,
  ENTRY_LEAF,
  ENTRY_LEVEL,
  ENTRY_RESERVED,
  ENTRY_TABLE,
  levelLg2,
} from './formats';

const PRESENT: u64 = 1;
/** Bit 5 is what the format has room for; no source at hand confirms it. */
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const FORCE_COHERENT: u64 = (<u64>1) << 60;
const PERMISSIONS_LG2: u64 = 61;
/** Bits 58:52; in an entry that names a table U and FC, too. */
const LEAF_RESERVED: u64 = (<u64>0x7f) << 52;
const TABLE_RESERVED: u64 = (<u64>0x1ff) << 52;

const NATURAL: u32 = 0;
const ENCODED: u32 = 7;

let needed: u32 = 0;
/** The address that is walked for: skipped levels may not have bits of it. */
let address: u64 = 0;
/** What hardware sets in the page's entry: ACCESSED, DIRTY. */
let marks: u64 = 0;

/** Prepares for the entries of a walk for `at`. Hardware sets the access bit, for a write also the dirty bit, if it `has` them. */
export function beginAmd(isWrite: bool, at: u64, hasAccess: bool, hasDirty: bool): void {
  needed = isWrite ? PERMISSION_WRITE : PERMISSION_READ;
  address = at;
  marks = (hasAccess ? ACCESSED : 0) | (hasDirty && isWrite ? DIRTY : 0);
}

function nextLevel(entry: u64): u32 {
  return <u32>(entry >> 9) & 7;
}

/** ENTRY_* of `entry` at `level`. Presence comes first, then permission, then its form. */
export function amdKind(entry: u64, level: u32): u32 {
  if ((entry & PRESENT) == 0) return ENTRY_DENIED;
  if ((amdPermissions(entry) & needed) == 0) return ENTRY_FORBIDDEN;
  const next = nextLevel(entry);
  if (next == NATURAL) return entry & LEAF_RESERVED ? ENTRY_RESERVED : ENTRY_LEAF;
  if (next == ENCODED) {
    // Larger than what an entry covers here, smaller than what one of the level above does.
    const lg2 = encodedLg2(entry);
    if (lg2 <= levelLg2(level) || lg2 >= levelLg2(level + 1)) return ENTRY_LEVEL;
    return entry & LEAF_RESERVED ? ENTRY_RESERVED : ENTRY_LEAF;
  }
  if (next >= level) return ENTRY_LEVEL;
  const skipped = (((<u64>1) << levelLg2(level)) - 1) & ~(((<u64>1) << levelLg2(next + 1)) - 1);
  if (address & skipped) return ENTRY_LEVEL;
  return entry & TABLE_RESERVED ? ENTRY_RESERVED : ENTRY_TABLE;
}

/** PERMISSION_READ is IR, PERMISSION_WRITE is IW. */
export function amdPermissions(entry: u64): u32 {
  return <u32>(entry >> PERMISSIONS_LG2) & (PERMISSION_READ | PERMISSION_WRITE);
}

export function amdAddress(entry: u64): u64 {
  return entry & ADDRESS;
}

export function amdForcesSnoop(entry: u64): bool {
  return (entry & FORCE_COHERENT) != 0;
}

export function amdNext(entry: u64): u32 {
  return nextLevel(entry);
}

/** Log2 of the page that `entry` at `level` names. */
export function amdPageLg2(entry: u64, level: u32): u32 {
  return nextLevel(entry) == ENCODED ? encodedLg2(entry) : levelLg2(level);
}

/** One more than the zero bit that ends the ones from bit 12 up; with ones only it would be bit 52. */
function encodedLg2(entry: u64): u32 {
  return 13 + <u32>ctz(~((entry & ADDRESS) >> 12));
}

/** The entry of a page after the access. */
export function amdUpdated(entry: u64): u64 {
  return entry | marks;
}

/** A write has yet to mark the page as dirty. */
export function isAmdClean(entry: u64): bool {
  return (entry & DIRTY) == 0;
}
