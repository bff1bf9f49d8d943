// Floor 4: what a VT-d unit does with a request (iommu.md 2.6): window of interrupts, IOTLB, context, walk, record.

import {
  CACHE_BYPASS,
  CACHE_HIT,
  CACHE_MISS,
  FEATURE_SNOOP_CONTROL,
  MODEL_BYTE_CHECK,
  MODEL_PASS_AS_SENT,
  MODEL_QEMU,
  MODEL_QEMU_REASONS,
  MODEL_WIDTH_CHECK,
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
  RESULT_READS,
  RESULT_REASON,
  TRANSLATION_FAULT,
  TRANSLATION_MESSAGE,
  TRANSLATION_REFUSED,
  UNIT_FAULTS,
  UNIT_FEATURES,
  UNIT_GUEST_WIDTH,
  UNIT_HITS,
  UNIT_IS_ON,
  UNIT_MISSES,
  UNIT_MODEL,
  UNIT_WALK_READS,
} from '../iommu-layout';
import { recordFault } from './faults';
import { ENTRY_DENIED, ENTRY_LEAF, ENTRY_RESERVED, FORMAT_SECOND } from './formats';
import { steps } from './tables';
import { findPage, foundLg2, foundValue, keepPage } from './unit-iotlb';
import { answer, answerAsSent, beginAnswer, count, RESULT, unitAt } from './units';
import {
  domain,
  findContext,
  forcesPages,
  isScalable,
  isSilent,
  levels,
  path,
  qemuReason,
  reason,
  scalableReason,
  tables,
  useContextCache,
} from './vtd-context';
import { beginSecond } from './vtd-second';
import { forcesSnoop, lastLevel, pageAddress, pageLg2, permissions, walk } from './walk';

/** Addresses of interrupt messages (msi-reserved.md 3): not translated on their way in, and no target of a translation. */
const INTERRUPTS_FIRST: u64 = 0xfee0_0000;
const INTERRUPTS_LAST: u64 = 0xfeef_ffff;

/** Flag of an IOTLB value beside the permissions. */
const VALUE_FORCES: u64 = 4;

/** Whether pages of the requester force coherency, as far as the PASID entry says. */
function forcesByPasid(unit: usize, isPassing: bool): bool {
  if (!forcesPages) return false;
  return !isPassing || (load<u32>(unit, UNIT_MODEL) & MODEL_PASS_AS_SENT) == 0;
}

/**
 * Translates a request of requester `sid` at `address`, within one 4 KiB page. `flags` are REQUEST_*. Answers TRANSLATED,
 * or why not; RESULT says more.
 */
export function translateVtd(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const unit = unitAt(index);
  const isWrite = (flags & REQUEST_WRITE) != 0;
  beginAnswer();
  if (load<u32>(unit, UNIT_IS_ON) == 0) return answerAsSent(address, PATH_OFF, false);
  if (pasid == PASID_NONE && address >= INTERRUPTS_FIRST && address <= INTERRUPTS_LAST)
    return isWrite ? TRANSLATION_MESSAGE : TRANSLATION_REFUSED;
  useContextCache(index);
  const needed: u32 = isWrite ? PERMISSION_WRITE : PERMISSION_READ;
  const status = lookUp(index, unit, sid, pasid, address, flags, needed);
  store<u32>(RESULT, steps, RESULT_READS);
  if (steps != 0) count(unit, UNIT_WALK_READS, steps);
  return status;
}

function lookUp(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32, needed: u32): u32 {
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  // The reference looks at its IOTLB first; whose pages are those of a domain needs the domain.
  if (isQemu && findPage(index, unit, address, sid, 0, pasid))
    return hit(unit, sid, pasid, address, flags, needed, true);
  if (!findContext(unit, sid, pasid))
    return fault(unit, sid, pasid, address, flags, reason, scalableReason, qemuReason);
  store<u32>(RESULT, domain, RESULT_DOMAIN);
  store<u32>(RESULT, path, RESULT_PATH);
  if (path == PATH_PASS_THROUGH) {
    store<u32>(RESULT, CACHE_BYPASS, RESULT_CACHE);
    const isChecked = (load<u32>(unit, UNIT_MODEL) & MODEL_WIDTH_CHECK) != 0;
    if (isChecked && isBeyond(unit, address)) return fault(unit, sid, pasid, address, flags, 4, 0x84, 4);
    return answerAsSent(address, PATH_PASS_THROUGH, forcesByPasid(unit, true));
  }
  if (!isQemu && findPage(index, unit, address, sid, domain, pasid))
    return hit(unit, sid, pasid, address, flags, needed, false);
  if (isBeyond(unit, address)) return fault(unit, sid, pasid, address, flags, 4, 0x84, 4);
  return miss(index, unit, sid, pasid, address, flags);
}

/** The address needs more bits than the unit or the tables have. */
function isBeyond(unit: usize, address: u64): bool {
  const width = min(load<u32>(unit, UNIT_GUEST_WIDTH), 12 + 9 * levels);
  return width < 64 && address >> width != 0;
}

function hit(unit: usize, sid: u32, pasid: u32, address: u64, flags: u32, needed: u32, isQemu: bool): u32 {
  count(unit, UNIT_HITS, 1);
  store<u32>(RESULT, CACHE_HIT, RESULT_CACHE);
  store<u32>(RESULT, PATH_SECOND, RESULT_PATH);
  const allowed = <u32>foundValue & (PERMISSION_READ | PERMISSION_WRITE);
  if ((allowed & needed) == 0) {
    // The reference drops it without a record.
    if (isQemu) return TRANSLATION_REFUSED;
    return deny(unit, sid, pasid, address, flags);
  }
  const inPage = ((<u64>1) << foundLg2) - 1;
  const page = foundValue & ~0xfff;
  return answer(page | (address & inPage), foundLg2, allowed, (foundValue & VALUE_FORCES) != 0);
}

function miss(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  count(unit, UNIT_MISSES, 1);
  store<u32>(RESULT, CACHE_MISS, RESULT_CACHE);
  beginSecond(unit, (flags & REQUEST_WRITE) != 0, isScalable(unit));
  const top = levels;
  const kind = walk(FORMAT_SECOND, tables, top, 511, address);
  if (kind == ENTRY_DENIED) return deny(unit, sid, pasid, address, flags);
  if (kind == ENTRY_RESERVED) return fault(unit, sid, pasid, address, flags, 0xc, 0x7a, 0xc);
  if (kind != ENTRY_LEAF)
    return lastLevel == top
      ? fault(unit, sid, pasid, address, flags, 3, 0x7b, 3)
      : fault(unit, sid, pasid, address, flags, 7, 0x78, 7);
  const inPage = ((<u64>1) << pageLg2) - 1;
  const to = pageAddress | (address & inPage);
  const isByte = (load<u32>(unit, UNIT_MODEL) & MODEL_BYTE_CHECK) != 0;
  const first = isByte ? to : pageAddress;
  const last = isByte ? to : pageAddress | inPage;
  if (first <= INTERRUPTS_LAST && last >= INTERRUPTS_FIRST)
    return fault(unit, sid, pasid, address, flags, 0xe, 0x87, 0x87);
  const hasControl = (load<u32>(unit, UNIT_FEATURES) & FEATURE_SNOOP_CONTROL) != 0;
  const forces = hasControl && (forcesSnoop || forcesByPasid(unit, false));
  const value = pageAddress | permissions | (forces ? VALUE_FORCES : 0);
  keepPage(index, unit, address, pageLg2, value, sid, domain, pasid);
  return answer(to, pageLg2, permissions, forces);
}

/** The permission is missing: to write, or to read. */
function deny(unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  return flags & REQUEST_WRITE
    ? fault(unit, sid, pasid, address, flags, 5, 0x85, 5)
    : fault(unit, sid, pasid, address, flags, 6, 0x86, 6);
}

/** Reports a fault: its code in legacy mode, in scalable mode, and what QEMU 7.2 reports in scalable mode. */
function fault(
  unit: usize,
  sid: u32,
  pasid: u32,
  address: u64,
  flags: u32,
  legacy: u32,
  scalable: u32,
  qemu: u32,
): u32 {
  const inScalable = isScalable(unit);
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU_REASONS) != 0;
  const code = !inScalable ? legacy : isQemu ? qemu : scalable;
  count(unit, UNIT_FAULTS, 1);
  store<u32>(RESULT, code, RESULT_REASON);
  // The reference reports even the qualified ones of PASID tables.
  const isLoud = inScalable && qemu == 0x58 && (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (isSilent && isQualified(legacy) && !isLoud) return TRANSLATION_FAULT;
  if (recordFault(unit, code, address, sid, pasid, flags)) store<u32>(RESULT, 1, RESULT_IS_RECORDED);
  return TRANSLATION_FAULT;
}

/** FPD keeps quiet about qualified faults: all but 1 and 8 to B, which are of root and context entries (iommu.md 2.7). */
function isQualified(legacy: u32): bool {
  return legacy != 1 && (legacy < 8 || legacy > 0xb);
}
