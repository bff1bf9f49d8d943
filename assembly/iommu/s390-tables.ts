// Floor 4: I/O translation tables of s390 in host memory (zpci.md 5.1 to 5.3): region first, second and third, segment, page.
//
//   I/O address   63      53 52      42 41      31 30      20 19      12 11        0
//                 | region 1 | region 2 | region 3 | segment  |   page   |   offset  |
//   entries         2048       2048       2048       2048        256        of 8 bytes, big-endian
//   begins at DT    3          2          1          0

import { hostBytes, hostMemory } from '../kernel/arena';
import { EVENT_INVALID_ENTRY, EVENT_TABLE_LENGTH, EVENT_TABLE_TYPE } from '../layout';

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

// What the last walk found.
/** Address of the 4 KiB frame. */
export let walkFrame: u64 = 0;
export let walkMapped: bool = false;
export let walkWritable: bool = false;
/** First I/O address behind what the last entry read covers; 0: 2^64. */
export let walkEnd: u64 = 0;

/** An entry; 0 outside host memory. */
function entryAt(address: u64): u64 {
  if (address >= hostBytes || hostBytes - <u32>address < 8) return 0;
  return bswap<u64>(load<u64>(hostMemory + <usize>address));
}

/** Lowest address bit that an entry of level `level` decides: page 12 (-1), segment 20 (0), region third 31 (1), ... */
function levelShift(level: i32): u32 {
  return level < 0 ? PAGE_LG2 : SEGMENT_LG2 + <u32>level * LEVEL_LG2;
}

/**
 * Walks the tables of `iota` for `address`. Answers 0, or EVENT_* when an entry is malformed. An invalid entry is no error:
 * nothing is mapped. With `zeroOrigin` false a next table or frame at address 0 is an error, as in QEMU 7.2.
 */
export function walkTables(iota: u64, address: u64, zeroOrigin: bool): u32 {
  let origin = iota & ~0xfff;
  walkMapped = false;
  walkWritable = (iota & PROTECTED) == 0;
  let level = <i32>((<u32>iota >> 2) & 7);
  // The other designations name a frame or a page table, which no group offers.
  if (level > 3) return EVENT_TABLE_TYPE;
  while (true) {
    const shift = levelShift(level);
    const index = (address >> shift) & (level < 0 ? 0xff : 0x7ff);
    const entry = entryAt(origin + (index << 3));
    walkEnd = ((address >> shift) + 1) << shift;
    if (entry == 0) return EVENT_INVALID_ENTRY;
    if (entry & (level < 0 ? PAGE_INVALID : INVALID)) return 0;
    if (level > 0 && ((entry & TABLE_LENGTH) != TABLE_LENGTH || entry & TABLE_OFFSET))
      return EVENT_TABLE_LENGTH;
    if (level >= 0 && (entry & TYPE) >> 2 != <u64>level) return EVENT_TABLE_TYPE;
    const isFrame = level < 0 || (level == 0 && (entry & FRAME_CONTROL) != 0);
    origin = entry & nextMask(level, isFrame);
    if (origin == 0 && !zeroOrigin) return EVENT_TABLE_TYPE;
    if (entry & PROTECTED) walkWritable = false;
    if (isFrame) {
      walkMapped = true;
      walkFrame = level < 0 ? origin : origin | (address & 0xff000);
      return 0;
    }
    level -= 1;
  }
}

/** Address bits of an entry: a table of 16 KiB, a page table of 2 KiB, a frame of 1 MiB or 4 KiB. */
function nextMask(level: i32, isFrame: bool): u64 {
  if (level > 0) return ~0x3fff;
  if (level < 0) return ~0xfff;
  return isFrame ? ~0xfffff : ~0x7ff;
}
