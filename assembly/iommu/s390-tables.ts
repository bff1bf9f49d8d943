// Floor 4: entries of I/O translation tables of s390 (zpci.md 5.1 to 5.3): region first, second and third, segment, page.
//
//   I/O address   63      53 52      42 41      31 30      20 19      12 11        0
//                 | region 1 | region 2 | region 3 | segment  |   page   |   offset  |
//   entries         2048       2048       2048       2048        256        of 8 bytes, big-endian
//   level           5          4          3          2           1

import { PERMISSION_READ, PERMISSION_WRITE } from '../iommu-layout';
import { hostBytes, hostMemory } from '../kernel/arena';
import { EVENT_INVALID_ENTRY, EVENT_TABLE_LENGTH, EVENT_TABLE_TYPE } from '../layout';
import { ENTRY_DENIED, ENTRY_LEAF, ENTRY_RESERVED, ENTRY_TABLE } from './formats';

// Bits of entries.
const INVALID: u64 = 0x20; // region and segment
const PAGE_INVALID: u64 = 0x400;
const FRAME_CONTROL: u64 = 0x400; // segment: a 1 MiB frame
const PROTECTED: u64 = 0x200;
const TYPE: u64 = 0xc; // DT of the table that holds the entry, in bits 3:2
const TABLE_OFFSET: u64 = 0xc0;
const TABLE_LENGTH: u64 = 0x3; // has to be 3: a whole table

const PAGE_LG2: u32 = 12;
const SEGMENT_LG2: u32 = 20;
const LEVEL_LG2: u32 = 11;
const PAGES: u32 = 1;
const SEGMENTS: u32 = 2;

/** EVENT_* of an entry that is malformed. */
export let s390Event: u32 = 0;
/** The last entry that was read; 0 outside host memory. */
export let s390Entry: u64 = 0;
/** A next table or a frame may stand at address 0. */
let zeroOrigin: bool = false;

/** Prepares for the entries of a walk. */
export function beginS390(hasZero: bool): void {
  s390Event = 0;
  zeroOrigin = hasZero;
}

/** Reads the entry at `address` of host memory. */
export function readS390(address: u64): void {
  const isInside = address < hostBytes && hostBytes - <u32>address >= 8;
  s390Entry = isInside ? bswap<u64>(load<u64>(hostMemory + <usize>address)) : 0;
}

/** Lowest address bit that an entry of `level` decides. */
export function s390Lg2(level: u32): u32 {
  return level == PAGES ? PAGE_LG2 : SEGMENT_LG2 + (level - SEGMENTS) * LEVEL_LG2;
}

/** Bits of index of a table of `level`, as a mask. */
export function s390Mask(level: u32): u64 {
  return level == PAGES ? 0xff : 0x7ff;
}

/** ENTRY_* of `entry` at `level`: ENTRY_DENIED where nothing is mapped, ENTRY_RESERVED with `s390Event`. */
export function s390Kind(entry: u64, level: u32): u32 {
  if (entry == 0) return malformed(EVENT_INVALID_ENTRY);
  if (entry & (level == PAGES ? PAGE_INVALID : INVALID)) return ENTRY_DENIED;
  if (level > SEGMENTS && ((entry & TABLE_LENGTH) != TABLE_LENGTH || entry & TABLE_OFFSET))
    return malformed(EVENT_TABLE_LENGTH);
  if (level != PAGES && (entry & TYPE) >> 2 != level - SEGMENTS) return malformed(EVENT_TABLE_TYPE);
  if (s390Address(entry, level) == 0 && !zeroOrigin) return malformed(EVENT_TABLE_TYPE);
  return isFrame(entry, level) ? ENTRY_LEAF : ENTRY_TABLE;
}

function malformed(event: u32): u32 {
  s390Event = event;
  return ENTRY_RESERVED;
}

function isFrame(entry: u64, level: u32): bool {
  return level == PAGES || (level == SEGMENTS && (entry & FRAME_CONTROL) != 0);
}

/** PERMISSION_* that an entry leaves: protection takes writes away. */
export function s390Permissions(entry: u64): u32 {
  return entry & PROTECTED ? PERMISSION_READ : PERMISSION_READ | PERMISSION_WRITE;
}

/** Address in an entry: of a table of 16 KiB, a page table of 2 KiB, a frame of 1 MiB or 4 KiB. */
export function s390Address(entry: u64, level: u32): u64 {
  if (level > SEGMENTS) return entry & ~0x3fff;
  if (level == PAGES) return entry & ~0xfff;
  return entry & (isFrame(entry, level) ? ~0xfffff : ~0x7ff);
}
