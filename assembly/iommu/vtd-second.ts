// Floor 4: second-stage paging entries of VT-d (specification 9.8, iommu.md 2.4). Levels count from 1, the page table.
//
//   63 62 61    52 51   HAW HAW-1            12 11  10  9 8  7 6   3 2 1 0
//    | TM  ignored  reserved      address     SNP ign  D A PS EMT.. X W R
//
// An entry without R and W is not present: there is no other bit for it.

import {
  FEATURE_1G,
  FEATURE_2M,
  FEATURE_DEVICE_TLB,
  FEATURE_SNOOP_CONTROL,
  MODEL_QEMU,
  UNIT_FEATURES,
  UNIT_HOST_WIDTH,
  UNIT_MODEL,
} from '../iommu-layout';
import { ENTRY_DENIED, ENTRY_LEAF, ENTRY_RESERVED, ENTRY_TABLE, levelLg2 } from './formats';

const READ: u64 = 1;
const WRITE: u64 = 2;
const LARGE: u64 = 1 << 7;
const SNOOP: u64 = 1 << 11;
const TRANSIENT: u64 = (<u64>1) << 62;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/** The levels of 2 MiB and of 1 GiB pages. */
const LEVEL_2M: u32 = 2;
const LEVEL_1G: u32 = 3;

/** Bits that have to be 0 in a leaf and in an entry that names a table. */
let leafReserved: u64 = 0;
let tableReserved: u64 = 0;
let largeLevels: u32 = 0;
/** The permission that the request needs, one of these bits. */
let needed: u64 = 0;
/** What a write needs. */
let writeNeeds: u64 = WRITE;

/**
 * Prepares for the entries of a walk. In scalable mode the reference takes SNP in a leaf for granted. With `isEither` a write
 * stands for a request that takes what there is.
 */
export function beginSecond(unit: usize, isWrite: bool, isScalable: bool, isEither: bool): void {
  const features = load<u32>(unit, UNIT_FEATURES);
  const above = ADDRESS & ~(((<u64>1) << load<u32>(unit, UNIT_HOST_WIDTH)) - 1);
  const takesSnoop =
    (features & FEATURE_SNOOP_CONTROL) != 0 ||
    (isScalable && (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0);
  leafReserved = above | (takesSnoop ? 0 : SNOOP) | (features & FEATURE_DEVICE_TLB ? 0 : TRANSIENT);
  tableReserved = above | SNOOP | TRANSIENT;
  largeLevels =
    (features & FEATURE_2M ? (<u32>1) << LEVEL_2M : 0) | (features & FEATURE_1G ? (<u32>1) << LEVEL_1G : 0);
  writeNeeds = isEither ? READ | WRITE : WRITE;
  secondNeeds(isWrite);
}

/** The permission that a walk is for: of a nested one the tables of the first stage are read. */
export function secondNeeds(isWrite: bool): void {
  needed = isWrite ? writeNeeds : READ;
}

/** A class for the decorator: the walk of most machines. */
export class Second {
  /** An entry above level 1 that has `plainValue` in these bits is ENTRY_TABLE. */
  @inline
  static tableBits(): u64 {
    return needed | LARGE | tableReserved;
  }

  /** One of level 1 that has it in these is ENTRY_LEAF. */
  @inline
  static leafBits(): u64 {
    return needed | leafReserved;
  }

  @inline
  static plainValue(): u64 {
    return needed;
  }

  /** ENTRY_* of `entry` at `level`. Permission comes before reserved bits (iommu.md 2.6, step 8). */
  @inline
  static kind(entry: u64, level: u32): u32 {
    if ((entry & needed) == 0) return ENTRY_DENIED;
    if (level == 1) return entry & leafReserved ? ENTRY_RESERVED : ENTRY_LEAF;
    if ((entry & LARGE) == 0) return entry & tableReserved ? ENTRY_RESERVED : ENTRY_TABLE;
    if (((largeLevels >> level) & 1) == 0) return ENTRY_RESERVED;
    const inPage = (((<u64>1) << levelLg2(level)) - 1) & ADDRESS;
    return entry & (leafReserved | inPage) ? ENTRY_RESERVED : ENTRY_LEAF;
  }
}

export function secondAddress(entry: u64): u64 {
  return entry & ADDRESS;
}

/** PERMISSION_READ and PERMISSION_WRITE are the bits of the entry. */
export function secondPermissions(entry: u64): u32 {
  return <u32>(entry & (READ | WRITE));
}

export function secondForcesSnoop(entry: u64): bool {
  return (entry & SNOOP) != 0;
}
