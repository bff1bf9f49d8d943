// Floor 4: Armv8 stage 1 descriptors with a 4 KiB granule (iommu.md 4.1, 4.2). Level 3 of the architecture is 1 here, level 0 is 4.
//
//   63  62  61 60 59 58..55 54  53  52 51 50 48 47        12 11  10 9 8 7 6  5 4   2 1 0
//   NS  APTable UXN PXN     UXN PXN cont DBM      address     nG AF SH  AP  NS  index  type
//   of a table              of a block or page

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
/** AP[1]: unprivileged accesses are allowed; AP[2]: read only. */
const UNPRIVILEGED: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 10;
/** AttrIndx, bits 4:2. */
const TYPE_INDEX_SHIFT: u64 = 2;
/** DBM: the page is writable, and is no longer marked read only with the first write. */
const MODIFIED_BY_HARDWARE: u64 = (<u64>1) << 51;
/** APTable: no unprivileged access below; read only below. */
const TABLE_NO_UNPRIVILEGED: u64 = (<u64>1) << 61;
const TABLE_READ_ONLY: u64 = (<u64>1) << 62;
const PAGES: u32 = 1;
/** Blocks stand at the levels of 2 MiB and of 1 GiB. */
const LARGEST_BLOCK: u32 = 3;

let isWrite: bool = false;
let isPrivileged: bool = false;
/** Tables have no permissions (HAD). */
let isFlat: bool = false;
/** Access flag, unprivileged accesses and output width are looked at. */
let isStrict: bool = false;
let outputMask: u64 = 0;
/** Hardware sets access flags, and marks pages as dirty. */
let hasAccess: bool = false;
let hasDirty: bool = false;
/** A bit per AttrIndx: memory of this type is cacheable. */
let cacheable: u32 = 0;
/** What tables above took away. */
let isReadOnly: bool = false;
let isHidden: bool = false;

/** Prepares for the descriptors of a walk. Addresses have `width` bits. Call `lpaeSets` next. */
export function beginLpae(write: bool, privileged: bool, flat: bool, strict: bool, width: u32): void {
  isWrite = write;
  isPrivileged = privileged;
  isFlat = flat;
  isStrict = strict;
  outputMask = ~(((<u64>1) << width) - 1);
  isReadOnly = false;
  isHidden = false;
}

/** What tables took away so far: 1, to write. Tables that hide pages from others are kept for nobody (smmu.ts). */
export function lpaeTaken(): u32 {
  return isReadOnly ? 1 : 0;
}

/** Tables that the walk does not read took `what` away. */
export function lpaeTake(what: u32): void {
  isReadOnly = what != 0;
}

/** Which flags hardware sets in the walks to come: access flags (HA), the dirty state of pages (HD). */
export function lpaeSets(access: bool, dirty: bool): void {
  hasAccess = access;
  hasDirty = dirty;
}

/** Which memory types are cacheable in the walks to come: a bit per AttrIndx. */
export function lpaeTypes(mask: u32): void {
  cacheable = mask;
}

/** ENTRY_* of `entry` at `level`. Faults come in the order of the architecture: translation, size, access flag, permission. */
export function lpaeKind(entry: u64, level: u32): u32 {
  const type = entry & TYPE;
  if (type == TYPE_TABLE && level != PAGES) {
    if (isStrict && (entry & ADDRESS & outputMask) != 0) return ENTRY_TOO_WIDE;
    if (!isFlat && entry & TABLE_READ_ONLY) isReadOnly = true;
    if (!isFlat && entry & TABLE_NO_UNPRIVILEGED) isHidden = true;
    return ENTRY_TABLE;
  }
  const isLeaf = level == PAGES ? type == TYPE_TABLE : type == TYPE_BLOCK && level <= LARGEST_BLOCK;
  if (!isLeaf) return ENTRY_DENIED;
  if (isStrict && (entry & ADDRESS & outputMask) != 0) return ENTRY_TOO_WIDE;
  if (isStrict && (entry & ACCESSED) == 0 && !hasAccess) return ENTRY_UNUSED;
  return isAllowed(entry) ? ENTRY_LEAF : ENTRY_FORBIDDEN;
}

function isAllowed(entry: u64): bool {
  if (isWrite && (isReadOnly || lpaeUpdated(entry) & READ_ONLY)) return false;
  return !isStrict || isPrivileged || (!isHidden && (entry & UNPRIVILEGED) != 0);
}

/** PERMISSION_* of a leaf as the access leaves it, with what tables above it left; a table has all. */
export function lpaePermissions(entry: u64, level: u32): u32 {
  if (level != PAGES && (entry & TYPE) == TYPE_TABLE) return PERMISSION_READ | PERMISSION_WRITE;
  return isReadOnly || lpaeUpdated(entry) & READ_ONLY ? PERMISSION_READ : PERMISSION_READ | PERMISSION_WRITE;
}

export function lpaeAddress(entry: u64): u64 {
  return entry & ADDRESS;
}

/** The descriptor of a page after the access. */
export function lpaeUpdated(entry: u64): u64 {
  const updated = hasAccess ? entry | ACCESSED : entry;
  return hasDirty && isWrite && entry & MODIFIED_BY_HARDWARE ? updated & ~READ_ONLY : updated;
}

/** The memory type of a page is write-back. */
export function lpaeIsCacheable(entry: u64): bool {
  return ((cacheable >> (<u32>(entry >> TYPE_INDEX_SHIFT) & 7)) & 1) != 0;
}
