// Floor 4: what an SMMUv3 does with a request (iommu.md 4): stream, TLB, stage 1, event.

import {
  CACHE_HIT,
  CACHE_MISS,
  MODEL_QEMU,
  PASID_NONE,
  PATH_FIRST,
  PATH_OFF,
  PATH_PASS_THROUGH,
  PERMISSION_READ,
  PERMISSION_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
  RESULT_CACHE,
  RESULT_DOMAIN,
  RESULT_IS_RECORDED,
  RESULT_PATH,
  RESULT_READS,
  RESULT_REASON,
  TRANSLATION_FAULT,
  TRANSLATION_REFUSED,
  UNIT_FAULTS,
  UNIT_HITS,
  UNIT_IS_ON,
  UNIT_MISSES,
  UNIT_MODEL,
  UNIT_WALK_READS,
} from '../iommu-layout';
import { recordEvent } from './events';
import {
  ENTRY_FORBIDDEN,
  ENTRY_LEAF,
  ENTRY_TOO_WIDE,
  ENTRY_UNREADABLE,
  ENTRY_UNUSED,
  FORMAT_LPAE,
  levelLg2,
} from './formats';
import { beginLpae } from './lpae';
import {
  asid,
  configEvent,
  configFetch,
  F_CD_FETCH,
  findStream,
  ignoresTop0,
  ignoresTop1,
  isFlat0,
  isFlat1,
  isRecording,
  outputWidth,
  STREAM_ABORT,
  STREAM_BYPASS,
  sizes0,
  sizes1,
  streamConfig,
  table0,
  table1,
} from './smmu-config';
import { steps } from './tables';
import { findPage, foundLg2, foundValue, keepPage } from './unit-iotlb';
import { answer, answerAsSent, beginAnswer, count, RESULT, unitAt } from './units';
import { lastAddress, pageAddress, pageLg2, permissions, walk } from './walk';

// Events of translation (iommu.md 11.2).
const C_BAD_SUBSTREAMID: u32 = 0x08;
const F_WALK_EABT: u32 = 0x0b;
const F_TRANSLATION: u32 = 0x10;
const F_ADDR_SIZE: u32 = 0x11;
const F_ACCESS: u32 = 0x12;
const F_PERMISSION: u32 = 0x13;

// What could not be translated: an address of a table, or the one that came in.
const CLASS_TABLE: u32 = 1 << 1;
const CLASS_INPUT: u32 = 2 << 1;
const READ_NOT_WRITE: u32 = 1;

/** Which half of the address space an address is in. */
const NO_HALF: u32 = 2;

/**
 * Translates a request of stream `sid` at `address`, within one 4 KiB page. `flags` are REQUEST_*. Answers TRANSLATED, or why
 * not; RESULT says more.
 */
export function translateSmmu(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const unit = unitAt(index);
  beginAnswer();
  // GBPA lets them pass.
  if (load<u32>(unit, UNIT_IS_ON) == 0) return answerAsSent(address, PATH_OFF, false);
  const status = lookUp(index, unit, sid, pasid, address, flags);
  store<u32>(RESULT, steps, RESULT_READS);
  if (steps != 0) count(unit, UNIT_WALK_READS, steps);
  return status;
}

function lookUp(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  if (!findStream(index, unit, sid)) return refuseStream(unit, sid);
  if (streamConfig == STREAM_ABORT) return TRANSLATION_REFUSED;
  if (streamConfig == STREAM_BYPASS) return answerAsSent(address, PATH_PASS_THROUGH, false);
  // A stream has one context: there are no substreams.
  if (pasid != PASID_NONE) return event(unit, C_BAD_SUBSTREAMID, sid, address, 0, 0, true);
  store<u32>(RESULT, asid, RESULT_DOMAIN);
  store<u32>(RESULT, PATH_FIRST, RESULT_PATH);
  const needed: u32 = flags & REQUEST_WRITE ? PERMISSION_WRITE : PERMISSION_READ;
  if (findPage(index, unit, address, sid, asid, 0)) {
    count(unit, UNIT_HITS, 1);
    store<u32>(RESULT, CACHE_HIT, RESULT_CACHE);
    const allowed = <u32>foundValue & (PERMISSION_READ | PERMISSION_WRITE);
    if ((allowed & needed) == 0) return deny(unit, F_PERMISSION, sid, address, flags);
    const inPage = ((<u64>1) << foundLg2) - 1;
    return answer((foundValue & ~0xfff) | (address & inPage), foundLg2, allowed, false);
  }
  count(unit, UNIT_MISSES, 1);
  store<u32>(RESULT, CACHE_MISS, RESULT_CACHE);
  return miss(index, unit, sid, address, flags);
}

function miss(index: u32, unit: usize, sid: u32, address: u64, flags: u32): u32 {
  const half = halfOf(address);
  if (half == NO_HALF) return deny(unit, F_TRANSLATION, sid, address, flags);
  const bits = 64 - (half == 0 ? sizes0 : sizes1);
  const top = (bits - 4) / 9;
  const topBits = bits - levelLg2(top);
  // The top table may be shorter than a page, and stands at a multiple of its size.
  const root = (half == 0 ? table0 : table1) & ~(((<u64>8) << topBits) - 1);
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  const isPrivileged = (flags & REQUEST_PRIVILEGED) != 0;
  const isFlat = half == 0 ? isFlat0 : isFlat1;
  beginLpae((flags & REQUEST_WRITE) != 0, isPrivileged, isFlat, !isQemu, outputWidth);
  const kind = walk(FORMAT_LPAE, root, top, ((<u64>1) << topBits) - 1, address);
  if (kind == ENTRY_UNREADABLE) {
    const fetch = lastAddress;
    return event(unit, F_WALK_EABT, sid, address, fetch, CLASS_TABLE | rnw(flags), true);
  }
  if (kind != ENTRY_LEAF) {
    let type = F_TRANSLATION;
    if (kind == ENTRY_FORBIDDEN) type = F_PERMISSION;
    else if (kind == ENTRY_UNUSED) type = F_ACCESS;
    else if (kind == ENTRY_TOO_WIDE) type = F_ADDR_SIZE;
    return deny(unit, type, sid, address, flags);
  }
  // What a privileged request found need not be there for others.
  if (!isPrivileged) keepPage(index, unit, address, pageLg2, pageAddress | permissions, sid, asid, 0);
  const inPage = ((<u64>1) << pageLg2) - 1;
  return answer(pageAddress | (address & inPage), pageLg2, permissions, false);
}

/** 0: below 2^(64 - T0SZ); 1: as far below 2^64; the top byte may be ignored. A disabled half has no addresses. */
function halfOf(address: u64): u32 {
  if (sizes0 != 0) {
    const seen = ignoresTop0 ? (address << 8) >> 8 : address;
    if (seen >> (64 - sizes0) == 0) return 0;
  }
  if (sizes1 != 0) {
    const seen = ignoresTop1 ? address | ((<u64>0xff) << 56) : address;
    if (~seen >> (64 - sizes1) == 0) return 1;
  }
  return NO_HALF;
}

function rnw(flags: u32): u32 {
  return flags & REQUEST_WRITE ? 0 : READ_NOT_WRITE;
}

/** A fault of translation: recorded if the context says so. The reference leaves out its class. */
function deny(unit: usize, type: u32, sid: u32, address: u64, flags: u32): u32 {
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  return event(unit, type, sid, address, 0, (isQemu ? 0 : CLASS_INPUT) | rnw(flags), isRecording);
}

/** The reference puts the address of a context descriptor where that of the request goes. */
function refuseStream(unit: usize, sid: u32): u32 {
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (configEvent == F_CD_FETCH && isQemu) return event(unit, configEvent, sid, configFetch, 0, 0, true);
  return event(unit, configEvent, sid, 0, configFetch, 0, true);
}

function event(unit: usize, type: u32, sid: u32, address: u64, fetch: u64, flags: u32, isKept: bool): u32 {
  count(unit, UNIT_FAULTS, 1);
  store<u32>(RESULT, type, RESULT_REASON);
  if (!isKept) return TRANSLATION_FAULT;
  if (recordEvent(unit, type, sid, address, fetch, flags, 0)) store<u32>(RESULT, 1, RESULT_IS_RECORDED);
  return TRANSLATION_FAULT;
}
