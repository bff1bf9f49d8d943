// Floor 4: translation of I/O addresses through tables of s390 in host memory (zpci.md 5.1 to 5.3).

import { PERMISSION_WRITE } from '../iommu-layout';
import { EVENT_TABLE_TYPE } from '../layout';
import { ENTRY_LEAF, FORMAT_S390 } from './formats';
import { beginS390, s390Event, s390Lg2, s390Mask } from './s390-tables';
import { lastLevel, pageAddress, pageLg2, permissions, walk } from './walk';

const PROTECTED: u64 = 0x200;
/** Region tables have the designation types 3 to 1, segment tables 0; the others name what no group offers. */
const TYPE_MOST: u32 = 3;
const SEGMENTS: u32 = 2;

// What the last walk found.
/** Address of the 4 KiB frame. */
export let walkFrame: u64 = 0;
export let walkMapped: bool = false;
export let walkWritable: bool = false;
/** First I/O address behind what the last entry read covers; 0: 2^64. */
export let walkEnd: u64 = 0;

/**
 * Walks the tables of `iota` for `address`. Answers 0, or EVENT_* when an entry is malformed. An invalid entry is no error:
 * nothing is mapped. With `zeroOrigin` false a next table or frame at address 0 is an error, as in QEMU 7.2.
 */
export function walkTables(iota: u64, address: u64, zeroOrigin: bool): u32 {
  walkMapped = false;
  const type = (<u32>iota >> 2) & 7;
  if (type > TYPE_MOST) return EVENT_TABLE_TYPE;
  const top = SEGMENTS + type;
  beginS390(zeroOrigin);
  const kind = walk(FORMAT_S390, iota & ~0xfff, top, s390Mask(top), address);
  const covered = s390Lg2(lastLevel);
  walkEnd = ((address >> covered) + 1) << covered;
  if (kind != ENTRY_LEAF) return s390Event;
  walkMapped = true;
  walkWritable = (iota & PROTECTED) == 0 && (permissions & PERMISSION_WRITE) != 0;
  walkFrame = pageAddress | (address & (((<u64>1) << pageLg2) - 1) & ~0xfff);
  return 0;
}
