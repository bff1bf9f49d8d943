// Floor 4: what an AMD-Vi unit does with a request (iommu.md 3): device table, windows, IOTLB, walk, event.

import {
  AMD_GUEST,
  AMD_INTERRUPT,
  AMD_PERMISSION,
  AMD_PRESENT,
  AMD_RESERVED,
  AMD_WRITE,
  CACHE_HIT,
  CACHE_MISS,
  PASID_NONE,
  PATH_OFF,
  PATH_PASS_THROUGH,
  PATH_SECOND,
  PERMISSION_READ,
  PERMISSION_WRITE,
  REQUEST_WRITE,
  RESULT_CACHE,
  RESULT_DOMAIN,
  RESULT_IS_RECORDED,
  RESULT_PATH,
  RESULT_REASON,
  TRANSLATION_FAULT,
  TRANSLATION_MESSAGE,
  UNIT_FAULTS,
  UNIT_HITS,
  UNIT_IS_ON,
  UNIT_MISSES,
} from '../iommu-layout';
import {
  DEVICE_MODE,
  DEVICE_OK,
  DEVICE_OUTSIDE,
  DEVICE_UNREADABLE,
  deviceAt,
  deviceDomain,
  devicePermissions,
  deviceRoot,
  findDevice,
  INTERRUPTS_REFUSED,
  INTERRUPTS_RESERVED,
  interrupts,
  isSuppressed,
  isTranslating,
  isValid,
  marksAccess,
  marksDirty,
  mode,
} from './amd-device';
import { beginAmd, isAmdClean } from './amd-v1';
import { recordEvent } from './events';
import {
  ENTRY_DENIED,
  ENTRY_FORBIDDEN,
  ENTRY_LEAF,
  ENTRY_RESERVED,
  ENTRY_UNREADABLE,
  FORMAT_AMD,
  levelLg2,
} from './formats';
import { beginStructures, keepTables, ownTables, STAGE_SECOND } from './structures';
import { dropFound, findPage, foundLg2, foundValue, keepPage } from './unit-iotlb';
import { answer, answerAsSent, beginAnswer, count, endReads, RESULT, unitAt } from './units';
import { forcesSnoop, lastAddress, lastEntry, pageAddress, pageLg2, permissions, walk } from './walk';

// Events (iommu.md 3).
const ILLEGAL_DEV_TABLE_ENTRY: u32 = 1;
const IO_PAGE_FAULT: u32 = 2;
const DEV_TAB_HARDWARE_ERROR: u32 = 3;
const PAGE_TAB_HARDWARE_ERROR: u32 = 4;
const INVALID_DEVICE_REQUEST: u32 = 8;

/** Addresses of interrupt messages (msi-reserved.md 3). */
const INTERRUPTS_FIRST: u64 = 0xfee0_0000;
const INTERRUPTS_LAST: u64 = 0xfeef_ffff;
/** Addresses that HyperTransport keeps for itself. */
const RESERVED_FIRST: u64 = (<u64>0xfd) << 32;
const RESERVED_LAST: u64 = ((<u64>0x100) << 32) - 1;

// Flags of an IOTLB value beside the permissions.
const VALUE_FORCES: u64 = 4;
/** A write has to walk, and mark the page as dirty. */
const VALUE_CLEAN: u64 = 8;

/** The top table has 512 entries; at level 6 the address ends with 7 bits of index. */
const LEVEL_LAST: u32 = 6;

/**
 * Translates a request of requester `sid` at `address`, within one 4 KiB page. `flags` are REQUEST_*. Answers TRANSLATED, or why
 * not; RESULT says more.
 */
export function translateAmd(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const unit = unitAt(index);
  beginAnswer();
  if (load<u32>(unit, UNIT_IS_ON) == 0) return answerAsSent(address, PATH_OFF, false);
  const status = lookUp(index, unit, sid, pasid, address, flags);
  endReads(unit);
  return status;
}

function lookUp(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const status = findDevice(index, unit, sid);
  if (status != DEVICE_OK) return refuseDevice(unit, status, sid, address, flags);
  if (address >= INTERRUPTS_FIRST && address <= INTERRUPTS_LAST) return interrupt(unit, sid, address, flags);
  if (!isValid) return answerAsSent(address, PATH_PASS_THROUGH, false);
  if (address >= RESERVED_FIRST && address <= RESERVED_LAST)
    return event(unit, INVALID_DEVICE_REQUEST, sid, address, rw(flags), true);
  store<u32>(RESULT, deviceDomain, RESULT_DOMAIN);
  // There are no guest tables.
  if (pasid != PASID_NONE) return pageFault(unit, sid, address, AMD_GUEST | rw(flags));
  // The entry says nothing about addresses: the walk ends before it begins.
  if (!isTranslating) return pageFault(unit, sid, address, rw(flags));
  const needed: u32 = flags & REQUEST_WRITE ? PERMISSION_WRITE : PERMISSION_READ;
  if ((devicePermissions & needed) == 0)
    return pageFault(unit, sid, address, AMD_PRESENT | AMD_PERMISSION | rw(flags));
  if (mode == 0) {
    answerAsSent(address, PATH_PASS_THROUGH, false);
    return answer(address, 63, devicePermissions, false);
  }
  store<u32>(RESULT, PATH_SECOND, RESULT_PATH);
  if (findPage(index, unit, address, sid, deviceDomain, 0)) {
    const isMarked = (flags & REQUEST_WRITE) == 0 || !marksDirty || (foundValue & VALUE_CLEAN) == 0;
    if (isMarked) return hit(unit, sid, address, flags, needed);
    dropFound(index);
  }
  count(unit, UNIT_MISSES, 1);
  store<u32>(RESULT, CACHE_MISS, RESULT_CACHE);
  return miss(index, unit, sid, address, flags);
}

/** A write to the window of interrupts is one, unless the entry has them aborted; there is nothing to read. */
function interrupt(unit: usize, sid: u32, address: u64, flags: u32): u32 {
  if ((flags & REQUEST_WRITE) == 0) return event(unit, INVALID_DEVICE_REQUEST, sid, address, 0, true);
  if (interrupts == INTERRUPTS_RESERVED)
    return event(unit, ILLEGAL_DEV_TABLE_ENTRY, sid, address, AMD_INTERRUPT | AMD_WRITE, true);
  if (interrupts == INTERRUPTS_REFUSED)
    return event(unit, IO_PAGE_FAULT, sid, address, AMD_INTERRUPT | AMD_WRITE, true);
  return TRANSLATION_MESSAGE;
}

function hit(unit: usize, sid: u32, address: u64, flags: u32, needed: u32): u32 {
  count(unit, UNIT_HITS, 1);
  store<u32>(RESULT, CACHE_HIT, RESULT_CACHE);
  // Devices of one domain may differ in what their entries allow.
  const allowed = <u32>foundValue & devicePermissions;
  if ((allowed & needed) == 0) return pageFault(unit, sid, address, AMD_PRESENT | AMD_PERMISSION | rw(flags));
  const inPage = ((<u64>1) << foundLg2) - 1;
  const page = foundValue & ~0xfff;
  return answer(page | (address & inPage), foundLg2, allowed, (foundValue & VALUE_FORCES) != 0);
}

function miss(index: u32, unit: usize, sid: u32, address: u64, flags: u32): u32 {
  const width = levelLg2(mode + 1);
  if (width < 64 && address >> width != 0) return pageFault(unit, sid, address, rw(flags));
  beginAmd((flags & REQUEST_WRITE) != 0, address, marksAccess, marksDirty);
  beginStructures(index, unit, flags & REQUEST_WRITE ? PERMISSION_WRITE : PERMISSION_READ);
  ownTables(STAGE_SECOND, deviceDomain, 0, 0);
  const kind = walk(FORMAT_AMD, deviceRoot, mode, mode == LEVEL_LAST ? 127 : 511, address);
  if (kind == ENTRY_UNREADABLE)
    return event(unit, PAGE_TAB_HARDWARE_ERROR, sid, lastAddress, rw(flags), true);
  if (kind != ENTRY_LEAF) {
    let why = rw(flags);
    if (kind != ENTRY_DENIED) why |= AMD_PRESENT;
    if (kind == ENTRY_FORBIDDEN) why |= AMD_PERMISSION;
    else if (kind == ENTRY_RESERVED) why |= AMD_RESERVED;
    return pageFault(unit, sid, address, why);
  }
  const isClean = marksDirty && (flags & REQUEST_WRITE) == 0 && isAmdClean(lastEntry);
  const value = pageAddress | permissions | (forcesSnoop ? VALUE_FORCES : 0) | (isClean ? VALUE_CLEAN : 0);
  keepTables();
  keepPage(index, unit, address, pageLg2, value, sid, deviceDomain, 0);
  const inPage = ((<u64>1) << pageLg2) - 1;
  return answer(pageAddress | (address & inPage), pageLg2, permissions & devicePermissions, forcesSnoop);
}

function rw(flags: u32): u32 {
  return flags & REQUEST_WRITE ? AMD_WRITE : 0;
}

function refuseDevice(unit: usize, status: u32, sid: u32, address: u64, flags: u32): u32 {
  if (status == DEVICE_OUTSIDE) return event(unit, IO_PAGE_FAULT, sid, address, rw(flags), true);
  if (status == DEVICE_UNREADABLE) return event(unit, DEV_TAB_HARDWARE_ERROR, sid, deviceAt, rw(flags), true);
  const why = status == DEVICE_MODE ? 0 : AMD_RESERVED;
  return event(unit, ILLEGAL_DEV_TABLE_ENTRY, sid, address, why | rw(flags), true);
}

function pageFault(unit: usize, sid: u32, address: u64, flags: u32): u32 {
  return event(unit, IO_PAGE_FAULT, sid, address, flags, !isSuppressed);
}

function event(unit: usize, type: u32, sid: u32, address: u64, flags: u32, isKept: bool): u32 {
  count(unit, UNIT_FAULTS, 1);
  store<u32>(RESULT, type, RESULT_REASON);
  const domain = load<u32>(RESULT, RESULT_DOMAIN);
  if (isKept && recordEvent(unit, type, sid, address, 0, flags, domain))
    store<u32>(RESULT, 1, RESULT_IS_RECORDED);
  return TRANSLATION_FAULT;
}
