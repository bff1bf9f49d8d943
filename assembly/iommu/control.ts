// Floor 4: what every kind of translation unit has: a start, requests, caches to be dropped.

import {
  TRANSLATED,
  UNIT_AMD,
  UNIT_EVENTS,
  UNIT_FAULTS,
  UNIT_HITS,
  UNIT_IS_ON,
  UNIT_KIND,
  UNIT_MISSES,
  UNIT_SAVED_READS,
  UNIT_SMMU,
  UNIT_WALK_READS,
} from '../iommu-layout';
import { translateAmd } from './amd';
import { dropDevice, dropDevices } from './amd-device';
import { resetFaults } from './faults';
import { forgetRecent, keepRecent, Recent } from './recent';
import { translateSmmu } from './smmu';
import { dropStream, dropStreams } from './smmu-config';
import { hasReadContext } from './tables';
import { beginUse, clearIotlb, startIotlb } from './unit-iotlb';
import { unitAt } from './units';
import { translateVtd } from './vtd';
import { dropContexts, dropContextsOf, dropPasids, useContextCache } from './vtd-context';

function kindOf(index: u32): u32 {
  return load<u32>(unitAt(index), UNIT_KIND);
}

/** An empty unit whose IOTLB stands at `at`. */
export function startUnit(index: u32, at: usize): void {
  const unit = unitAt(index);
  resetFaults(unit);
  store<u32>(unit, 0, UNIT_EVENTS);
  store<u64>(unit, 0, UNIT_HITS);
  store<u64>(unit, 0, UNIT_MISSES);
  store<u64>(unit, 0, UNIT_WALK_READS);
  store<u64>(unit, 0, UNIT_SAVED_READS);
  store<u64>(unit, 0, UNIT_FAULTS);
  startIotlb(index, unit, at);
  dropAllContexts(index);
}

/** Translation on or off. What is kept stays. */
export function switchUnit(index: u32, isOn: bool): void {
  forgetRecent();
  store<u32>(unitAt(index), isOn ? 1 : 0, UNIT_IS_ON);
}

export class Unit {
  /** Translates a request within a 4 KiB page. Answers TRANSLATED, or why not. Inlined: most requests are like one before. */
  @inline
  static translate(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
    if (Recent.answers(index, unitAt(index), sid, pasid, address, flags)) return TRANSLATED;
    return translateAnew(index, sid, pasid, address, flags);
  }
}

function translateAnew(index: u32, sid: u32, pasid: u32, address: u64, flags: u32): u32 {
  beginUse();
  const kind = kindOf(index);
  let status: u32;
  if (kind == UNIT_SMMU) status = translateSmmu(index, sid, pasid, address, flags);
  else if (kind == UNIT_AMD) status = translateAmd(index, sid, pasid, address, flags);
  else status = translateVtd(index, sid, pasid, address, flags);
  // Whoever read a context put it in the place of another one.
  if (hasReadContext()) forgetRecent();
  if (status == TRANSLATED) keepRecent(index, sid, pasid, address, flags);
  return status;
}

export function dropAll(index: u32): void {
  clearIotlb(index);
  dropAllContexts(index);
}

function dropAllContexts(index: u32): void {
  forgetRecent();
  useContextCache(index);
  dropContexts();
  dropStreams(index);
  dropDevices(index);
}

/** Drops what is kept of requester `sid`; VT-d: of all that differ from it in the bits of `ignored` only, in domain `did`. */
export function dropUnitContexts(index: u32, sid: u32, ignored: u32, did: u32): void {
  forgetRecent();
  const kind = kindOf(index);
  if (kind == UNIT_SMMU) {
    if (ignored == 0) dropStream(index, sid);
    else dropStreams(index);
    return;
  }
  if (kind == UNIT_AMD) {
    if (ignored == 0) dropDevice(index, sid);
    else dropDevices(index);
    return;
  }
  useContextCache(index);
  dropContextsOf(sid, ignored, did);
}

/** VT-d: drops what is kept of PASID `pasid` in domain `did`; ~0: of any. */
export function dropUnitPasids(index: u32, did: u32, pasid: u32): void {
  forgetRecent();
  useContextCache(index);
  dropPasids(did, pasid);
}
