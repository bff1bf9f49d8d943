// Floor 4: requests like the ones before, answered without a look at contexts and hash chains: most of all requests.
//
// What stands here is what the IOTLB says, not one more cache: a slot counts as long as its entry there is the same, and all are
// emptied when a context is dropped or read again. Each answers one kind of access (read or write) that was allowed before.

import {
  CACHE_BYPASS,
  CACHE_HIT,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
  RESULT_ADDRESS,
  RESULT_CACHE,
  RESULT_FORCES_SNOOP,
  RESULT_PAGE_LG2,
  RESULT_READS,
  UNIT_HITS,
  UNIT_MOST,
} from '../iommu-layout';
import { beginSteps } from './tables';
import { touchEntry, usedEntry, useEntry, versionOf } from './unit-iotlb';
import { count, RESULT } from './units';

const PAGE: usize = 0; // u64, number of the 4 KiB page
const WHO: usize = 8; // requester, above it flags of the request and the generation
const PASID: usize = 12;
const ENTRY: usize = 16; // of the IOTLB, and its version
const VERSION: usize = 20;
// What goes to RESULT: address of the 4 KiB page (u64), page and permissions, then RESULT_FORCES_SNOOP to its end.
const TO: usize = 32;
const SIZE: usize = 40;
const REST: usize = 48;
const STRIDE_LG2: u32 = 7;

const SLOTS: u32 = 256;
const TABLE: usize = memory.data(UNIT_MOST * 256 * 128, 16);
/** Slots count while they are of this one; of those that were never used it is 0. */
let generation: u32 = 1;
/** Above all REQUEST_* flags. */
const GENERATION_SHIFT: u32 = 21;
const GENERATION_LAST: u32 = (1 << 11) - 1;

/** What was found with the contexts so far counts no longer. */
export function forgetRecent(): void {
  generation += 1;
  if (generation <= GENERATION_LAST) return;
  memory.fill(TABLE, 0, UNIT_MOST * 256 * 128);
  generation = 1;
}

function slotAt(index: u32, page: u64, who: u32): usize {
  return TABLE + ((<usize>((index << 8) | ((<u32>page ^ who ^ (who >> 12)) & (SLOTS - 1)))) << STRIDE_LG2);
}

function whoOf(sid: u32, flags: u32): u32 {
  return sid | (flags << 16) | (generation << GENERATION_SHIFT);
}

/** A class for the decorator: the call would cost as much as the work. */
export class Recent {
  /** Answers the request into RESULT if it is like one before. */
  @inline
  static answers(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): bool {
    const page = address >> 12;
    const who = whoOf(sid, flags);
    const at = slotAt(index, page, who);
    if (load<u64>(at, PAGE) != page || load<u32>(at, WHO) != who || load<u32>(at, PASID) != pasid)
      return false;
    const entry: usize = load<u32>(at, ENTRY);
    if (versionOf(entry) != load<u32>(at, VERSION)) return false;
    touchEntry(entry, unit);
    useEntry(entry);
    store<u64>(RESULT, load<u64>(at, TO) | (address & 0xfff), RESULT_ADDRESS);
    store<u64>(RESULT, load<u64>(at, SIZE), RESULT_PAGE_LG2);
    v128.store(RESULT, v128.load(at, REST), RESULT_FORCES_SNOOP);
    v128.store(RESULT, v128.load(at, REST + 16), RESULT_CACHE);
    beginSteps();
    count(unit, UNIT_HITS, 1);
    return true;
  }
}

/** RESULT has the answer to a request that the IOTLB has an entry for. */
export function keepRecent(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): void {
  if (usedEntry == 0 || load<u32>(RESULT, RESULT_CACHE) == CACHE_BYPASS) return;
  if (flags > <u32>(REQUEST_WRITE | REQUEST_PRIVILEGED)) return;
  const page = address >> 12;
  const who = whoOf(sid, flags);
  const at = slotAt(index, page, who);
  store<u64>(at, page, PAGE);
  store<u32>(at, who, WHO);
  store<u32>(at, pasid, PASID);
  store<u32>(at, <u32>usedEntry, ENTRY);
  store<u32>(at, versionOf(usedEntry), VERSION);
  store<u64>(at, load<u64>(RESULT, RESULT_ADDRESS) & ~0xfff, TO);
  store<u64>(at, load<u64>(RESULT, RESULT_PAGE_LG2), SIZE);
  v128.store(at, v128.load(RESULT, RESULT_FORCES_SNOOP), REST);
  v128.store(at, v128.load(RESULT, RESULT_CACHE), REST + 16);
  // The next one reads nothing, and is a hit.
  store<u32>(at, 0, REST + (RESULT_READS - RESULT_FORCES_SNOOP));
  store<u32>(at, CACHE_HIT, REST + (RESULT_CACHE - RESULT_FORCES_SNOOP));
}
