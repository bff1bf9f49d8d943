// Floor 4: what an SMMUv3 does with a request (iommu.md 4): stream, TLB, stage 1, stage 2 or both, event.

import {
  CACHE_HIT,
  CACHE_MISS,
  FEATURE_COHERENT,
  MODEL_QEMU,
  PATH_FIRST,
  PATH_NESTED,
  PATH_OFF,
  PATH_PASS_THROUGH,
  PATH_SECOND,
  PERMISSION_READ,
  PERMISSION_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
  RESULT_CACHE,
  RESULT_DOMAIN,
  RESULT_IS_RECORDED,
  RESULT_PATH,
  RESULT_REASON,
  RESULT_TYPE,
  TRANSLATED,
  TRANSLATION_FAULT,
  TRANSLATION_REFUSED,
  TYPE_COHERENT,
  TYPE_UNCACHEABLE,
  UNIT_ABORTS,
  UNIT_FAULTS,
  UNIT_FEATURES,
  UNIT_HITS,
  UNIT_HOST_WIDTH,
  UNIT_IS_ON,
  UNIT_MISSES,
  UNIT_MODEL,
} from '../iommu-layout';
import { recordEvent } from './events';
import { ENTRY_LEAF, ENTRY_UNREADABLE, FORMAT_LPAE, levelLg2 } from './formats';
import { beginLpae, lpaeSets, lpaeTypes } from './lpae';
import {
  findStream,
  STREAM_ABORT,
  STREAM_BYPASS,
  STREAM_NESTED,
  STREAM_STAGE_2,
  streamConfig,
} from './smmu-config';
import {
  asid,
  cacheable,
  ignoresTop0,
  ignoresTop1,
  isFlat0,
  isFlat1,
  isRecording,
  marksDirty,
  outputWidth,
  setsAccess,
  sizes0,
  sizes1,
  table0,
  table1,
} from './smmu-context';
import {
  CLASS_INPUT,
  CLASS_TABLE,
  configEvent,
  configFetch,
  configFlags,
  eventOf,
  F_ADDR_SIZE,
  F_CD_FETCH,
  F_PERMISSION,
  F_TRANSLATION,
  F_WALK_EABT,
  isConfigRecorded,
  OF_STAGE_2,
  PRIVILEGED,
  READ_NOT_WRITE,
} from './smmu-events';
import { isStage2Recording, stage2EventOf, stage2Fetch, vmid } from './smmu-stage2';
import { beginStructures, keepTables, ownTables, STAGE_FIRST, STAGE_SECOND } from './structures';
import { dropFound, findPage, foundLg2, foundValue, keepPage } from './unit-iotlb';
import { answer, answerAsSent, beginAnswer, count, endReads, RESULT, unitAt } from './units';
import {
  isCacheable,
  isOfSecond,
  isOfTable,
  lastAddress,
  pageAddress,
  pageLg2,
  permissions,
  walk,
  walkNested,
  walkSecond,
} from './walk';

/** Which half of the address space an address is in. */
const NO_HALF: u32 = 2;

/** Pages in the TLB belong to a VMID and an ASID, or to stage 2 of a VMID. */
const KIND_STAGE_1: u32 = 0;
const KIND_STAGE_2: u32 = 1;

/** Flag of a value in the TLB beside the permissions: the memory type is not write-back. */
const VALUE_UNCACHEABLE: u64 = 4;

/**
 * Translates a request of stream `sid` at `address`, within one 4 KiB page. `flags` are REQUEST_*. Answers TRANSLATED, or why
 * not; RESULT says more.
 */
export function translateSmmu(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const unit = unitAt(index);
  beginAnswer();
  if (load<u32>(unit, UNIT_FEATURES) & FEATURE_COHERENT) store<u32>(RESULT, TYPE_COHERENT, RESULT_TYPE);
  if (load<u32>(unit, UNIT_IS_ON) == 0) {
    // GBPA lets them pass, or aborts them.
    if (load<u32>(unit, UNIT_ABORTS) != 0) return TRANSLATION_REFUSED;
    return answerAsSent(address, PATH_OFF, false);
  }
  const status = lookUp(index, unit, sid, pasid, address, flags);
  endReads(unit);
  return status;
}

function lookUp(index: u32, unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  if (!findStream(index, unit, sid, pasid)) return refuseStream(unit, sid, pasid, address, flags);
  if (streamConfig == STREAM_ABORT) return TRANSLATION_REFUSED;
  if (streamConfig == STREAM_BYPASS) return answerAsSent(address, PATH_PASS_THROUGH, false);
  const isStage2 = streamConfig == STREAM_STAGE_2;
  const isNested = streamConfig == STREAM_NESTED;
  const kind = isStage2 ? KIND_STAGE_2 : KIND_STAGE_1;
  const owner = isStage2 ? vmid << 16 : (vmid << 16) | asid;
  store<u32>(RESULT, isStage2 ? vmid : asid, RESULT_DOMAIN);
  store<u32>(RESULT, isNested ? PATH_NESTED : isStage2 ? PATH_SECOND : PATH_FIRST, RESULT_PATH);
  const needed: u32 = flags & REQUEST_WRITE ? PERMISSION_WRITE : PERMISSION_READ;
  // The top byte of an address may be a tag: pages are kept without it, as software names them.
  const untagged = isStage2 ? address : withoutTag(address);
  if (findPage(index, unit, untagged, sid, owner, kind)) {
    const allowed = <u32>foundValue & (PERMISSION_READ | PERMISSION_WRITE);
    const isAllowed = (allowed & needed) != 0;
    // A walk may mark the page as dirty, or say which of two stages refuses.
    const isFinal = isAllowed || (!isStage2 && !isNested && !marksDirty);
    if (isFinal) {
      count(unit, UNIT_HITS, 1);
      store<u32>(RESULT, CACHE_HIT, RESULT_CACHE);
      if (!isAllowed) return deny(unit, F_PERMISSION, sid, pasid, address, flags);
      const inPage = ((<u64>1) << foundLg2) - 1;
      tellType(unit, (foundValue & VALUE_UNCACHEABLE) == 0);
      return answer((foundValue & ~0xfff) | (address & inPage), foundLg2, allowed, false);
    }
    dropFound(index);
  }
  count(unit, UNIT_MISSES, 1);
  store<u32>(RESULT, CACHE_MISS, RESULT_CACHE);
  // What a privileged request finds need not be there for others.
  const isShared = (flags & REQUEST_PRIVILEGED) == 0 || isStage2;
  if (isShared) {
    beginStructures(index, unit, needed);
    ownTables(STAGE_FIRST, owner, KIND_STAGE_1, 0);
    ownTables(STAGE_SECOND, vmid << 16, KIND_STAGE_2, 0);
  }
  const status: u32 = isStage2
    ? missStage2(unit, sid, pasid, address, flags)
    : missStage1(unit, sid, pasid, address, untagged, flags, isNested);
  if (status != TRANSLATED) return status;
  const value = pageAddress | permissions | (isCacheable ? 0 : VALUE_UNCACHEABLE);
  keepTables();
  if (isShared) keepPage(index, unit, untagged, pageLg2, value, sid, owner, kind);
  const inPage = ((<u64>1) << pageLg2) - 1;
  tellType(unit, isCacheable);
  return answer(pageAddress | (address & inPage), pageLg2, permissions, false);
}

/** Says whether caches are asked about the page: with CANWBS about any (iommu.md 8.4). */
function tellType(unit: usize, isWriteBack: bool): void {
  if (!isWriteBack && (load<u32>(unit, UNIT_FEATURES) & FEATURE_COHERENT) == 0)
    store<u32>(RESULT, TYPE_UNCACHEABLE, RESULT_TYPE);
}

/** TRANSLATED with what the walk found, or TRANSLATION_FAULT with an event. */
function missStage2(unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  // Stage 1 lets pass what an intermediate address can be.
  if (address >> load<u32>(unit, UNIT_HOST_WIDTH) != 0)
    return event(unit, F_ADDR_SIZE, sid, pasid, address, 0, CLASS_INPUT | rnw(flags), true);
  const kind = walkSecond(address, (flags & REQUEST_WRITE) != 0, false);
  return kind == ENTRY_LEAF ? TRANSLATED : denyStage2(unit, kind, sid, pasid, address, flags);
}

/** The same; `untagged` is the address as its tables are kept. */
function missStage1(
  unit: usize,
  sid: u32,
  pasid: u32,
  address: u64,
  untagged: u64,
  flags: u32,
  isNested: bool,
): u32 {
  const half = halfOf(address);
  if (half == NO_HALF) return deny(unit, F_TRANSLATION, sid, pasid, address, flags);
  const bits = 64 - (half == 0 ? sizes0 : sizes1);
  const top = (bits - 4) / 9;
  const topBits = bits - levelLg2(top);
  const topMask = ((<u64>1) << topBits) - 1;
  // The top table may be shorter than a page, and stands at a multiple of its size.
  const root = (half == 0 ? table0 : table1) & ~(((<u64>8) << topBits) - 1);
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  const isWrite = (flags & REQUEST_WRITE) != 0;
  const isFlat = half == 0 ? isFlat0 : isFlat1;
  beginLpae(isWrite, (flags & REQUEST_PRIVILEGED) != 0, isFlat, !isQemu, outputWidth);
  lpaeSets(setsAccess, marksDirty);
  lpaeTypes(cacheable);
  const kind = isNested
    ? walkNested(FORMAT_LPAE, root, top, topMask, untagged, isWrite)
    : walk(FORMAT_LPAE, root, top, topMask, untagged);
  if (kind == ENTRY_LEAF) return TRANSLATED;
  if (isNested && isOfSecond) return denyStage2(unit, kind, sid, pasid, address, flags);
  if (kind == ENTRY_UNREADABLE)
    return event(unit, F_WALK_EABT, sid, pasid, address, lastAddress, CLASS_TABLE | rnw(flags), true);
  return deny(unit, eventOf(kind), sid, pasid, address, flags);
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

/** `address` with bits 63:56 as bit 55 has them, where its half ignores them (TBI). */
function withoutTag(address: u64): u64 {
  const half = halfOf(address);
  if (half == 0 && ignoresTop0) return (address << 8) >> 8;
  if (half == 1 && ignoresTop1) return address | ((<u64>0xff) << 56);
  return address;
}

/** RnW and PnU of a request. */
function rnw(flags: u32): u32 {
  return (flags & REQUEST_WRITE ? 0 : READ_NOT_WRITE) | (flags & REQUEST_PRIVILEGED ? PRIVILEGED : 0);
}

/** A fault of stage 1: recorded if the context says so. The reference leaves out its class. */
function deny(unit: usize, type: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  return event(unit, type, sid, pasid, address, 0, (isQemu ? 0 : CLASS_INPUT) | rnw(flags), isRecording);
}

/** A fault of stage 2, on the way to a table of stage 1 or to the page: recorded if the stream's entry says so. */
function denyStage2(unit: usize, kind: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  const what = OF_STAGE_2 | (isOfTable ? CLASS_TABLE : CLASS_INPUT) | rnw(flags);
  const isRecorded = kind == ENTRY_UNREADABLE || isStage2Recording;
  return event(unit, stage2EventOf(kind), sid, pasid, address, stage2Fetch(kind), what, isRecorded);
}

/** The reference puts the address of a context descriptor where that of the request goes. */
function refuseStream(unit: usize, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  if (configFlags & OF_STAGE_2)
    return event(
      unit,
      configEvent,
      sid,
      pasid,
      address,
      configFetch,
      configFlags | rnw(flags),
      isConfigRecorded,
    );
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if (configEvent == F_CD_FETCH && isQemu)
    return event(unit, configEvent, sid, pasid, configFetch, 0, 0, true);
  return event(unit, configEvent, sid, pasid, 0, configFetch, 0, true);
}

function event(
  unit: usize,
  type: u32,
  sid: u32,
  pasid: u32,
  address: u64,
  fetch: u64,
  flags: u32,
  isRecorded: bool,
): u32 {
  count(unit, UNIT_FAULTS, 1);
  store<u32>(RESULT, type, RESULT_REASON);
  if (isRecorded && recordEvent(unit, type, sid, address, fetch, flags, pasid))
    store<u32>(RESULT, 1, RESULT_IS_RECORDED);
  return TRANSLATION_FAULT;
}
