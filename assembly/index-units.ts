// Floor 8: the exported interface, translation units and the cache before host memory.

import { setSnoop } from './fabric/inbound';
import { dropAll, dropUnitContexts, dropUnitPasids, startUnit, switchUnit, Unit } from './iommu/control';
import { clearFault, clearOverflow } from './iommu/faults';
import { walkFrom } from './iommu/structures';
import { describeMemory, keepSteps, listOwner, ownList, steps } from './iommu/tables';
import { dropPages, dropPasidPages, dropTagged } from './iommu/unit-drop';
import { iotlbBytes } from './iommu/unit-iotlb';
import { unitAt } from './iommu/units';
import { reserveUnits, unitCaches } from './kernel/arena';
import { flushAll, flushLines, touchLines } from './kernel/host-cache';
import { pair } from './kernel/pair';

let unitStride: u32 = 0;

/**
 * Before `machineCreate`: room for `count` translation units with up to `entries` translations each, and up to `structures` tables
 * of each level.
 */
export function unitReserve(count: u32, entries: u32, structures: u32): void {
  unitStride = (iotlbBytes(entries, structures) + 63) & ~63;
  reserveUnits(<u64>count * unitStride);
}

/** RAM is [first, end), other addresses are bus errors; host memory begins at `held`, the rest of RAM reads as zeros. */
export function unitMemory(
  firstLo: u32,
  firstHi: u32,
  endLo: u32,
  endHi: u32,
  heldLo: u32,
  heldHi: u32,
): void {
  describeMemory(pair(firstLo, firstHi), pair(endLo, endHi), pair(heldLo, heldHi));
}

/** Starts unit `index` as its block describes it, with empty caches and no faults. */
export function unitStart(index: u32): void {
  startUnit(index, unitCaches + <usize>index * unitStride);
}

/** Translates a request within a 4 KiB page and lists its steps. Answers TRANSLATED, or why not; RESULT says more. */
export function unitTranslate(index: u32, sid: u32, pasid: u32, lo: u32, hi: u32, flags: u32): u32 {
  keepSteps(true);
  // Who asks is outside of simulated time, and finds what there is, as in the IOTLB.
  walkFrom(~0);
  const status = Unit.translate(index, sid, pasid, pair(lo, hi), flags);
  keepSteps(false);
  ownList(index + 1);
  return status;
}

/** The same as requests of functions are translated: without a list. */
export function unitRequest(index: u32, sid: u32, pasid: u32, lo: u32, hi: u32, flags: u32): u32 {
  ownList(0);
  walkFrom(~0);
  return Unit.translate(index, sid, pasid, pair(lo, hi), flags);
}

/**
 * Entries that the last `unitTranslate` read from memory; the first STEPS_MOST stand in PLACE_UNIT_STEPS. 0 as well when another
 * unit or a request of a function came after it.
 */
export function unitSteps(index: u32): u32 {
  return listOwner == index + 1 ? steps : 0;
}

/** Turns unit `index` on or off (TE, SMMUEN, IommuEn). */
export function unitSwitch(index: u32, isOn: u32): void {
  switchUnit(index, isOn != 0);
}

/** Drops all that unit `index` keeps: contexts and translations. */
export function unitDropAll(index: u32): void {
  dropAll(index);
}

/** Drops the contexts of `sid`, compared in the bits that `ignored` has not, and of domain `did` (~0: of any). */
export function unitDropContexts(index: u32, sid: u32, ignored: u32, did: u32): void {
  dropUnitContexts(index, sid, ignored, did);
}

/**
 * Drops the translations of domain `did` (~0: of any) whose page has an address in [first, last]; with `withTables` also what is
 * kept of tables there.
 */
export function unitDropPages(
  index: u32,
  did: u32,
  firstLo: u32,
  firstHi: u32,
  lastLo: u32,
  lastHi: u32,
  withTables: u32,
): void {
  dropPages(index, did, pair(firstLo, firstHi), pair(lastLo, lastHi), withTables != 0);
}

/** The same of the domains with the bits `did` where `mask` has ones; SMMU: of the kind `kind`, ~0 for any. */
export function unitDropTagged(
  index: u32,
  did: u32,
  mask: u32,
  kind: u32,
  firstLo: u32,
  firstHi: u32,
  lastLo: u32,
  lastHi: u32,
  withTables: u32,
): void {
  dropTagged(index, did, mask, kind, pair(firstLo, firstHi), pair(lastLo, lastHi), withTables != 0);
}

/** Drops what unit `index` keeps of PASID entries of `pasid` in domain `did`; ~0: of any. */
export function unitDropPasids(index: u32, did: u32, pasid: u32): void {
  dropUnitPasids(index, did, pasid);
}

/**
 * Drops the first-stage translations of PASID `pasid` in domain `did` whose page has an address in [first, last]; with `others`
 * also the second-stage ones of the domain.
 */
export function unitDropPasidPages(
  index: u32,
  did: u32,
  pasid: u32,
  firstLo: u32,
  firstHi: u32,
  lastLo: u32,
  lastHi: u32,
  others: u32,
  withTables: u32,
): void {
  const first = pair(firstLo, firstHi);
  dropPasidPages(index, did, pasid, first, pair(lastLo, lastHi), others != 0, withTables != 0);
}

/** Software clears fault record `record`, or with ~0 the overflow. */
export function unitClearFault(index: u32, record: u32): void {
  if (record == ~0) clearOverflow(unitAt(index));
  else clearFault(unitAt(index), record);
}

// ------------------------------------------------------------------------------------------------- host cache
/** The processor reads `bytes` bytes of host memory, or is about to write them. */
export function cacheTouch(address: u32, bytes: u32, isWrite: u32): void {
  touchLines(address, bytes, isWrite != 0);
}

/** Writes lines back to memory; with `isDropped` they leave the cache. */
export function cacheFlush(address: u32, bytes: u32, isDropped: u32): void {
  flushLines(address, bytes, isDropped != 0);
}

/** Empties the cache; answers how many lines were written back. */
export function cacheFlushAll(): u32 {
  return flushAll();
}

/** Time in ticks (lo, hi) that a request pays which the cache is asked about. */
export function snoopCosts(lo: u32, hi: u32): void {
  setSnoop(pair(lo, hi));
}
