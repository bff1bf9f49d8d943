// Floor 4: who a requester is to a VT-d unit: root entry, context entry and PASID entry (iommu.md 2.2, 2.3), and a cache of it.
//
//   legacy     root[bus] -> context[devfn]
//   scalable   root[bus], half by devfn -> context[devfn & 127] -> PASID directory -> PASID table

import {
  FEATURE_ABORT,
  FEATURE_DEVICE_TLB,
  FEATURE_EXTENDED_FLAG,
  FEATURE_FIRST_STAGE,
  FEATURE_FIVE_LEVELS,
  FEATURE_NESTED,
  FEATURE_PASS_THROUGH,
  FEATURE_SCALABLE,
  FEATURE_SECOND_FLAGS,
  FEATURE_SNOOP_CONTROL,
  FEATURE_SUPERVISOR,
  FEATURE_WALK_SNOOPS,
  MODEL_IGNORE_PGSNP,
  MODEL_QEMU,
  PASID_NONE,
  PATH_FIRST,
  PATH_NESTED,
  PATH_PASS_THROUGH,
  PATH_SECOND,
  UNIT_FEATURES,
  UNIT_GUEST_WIDTH,
  UNIT_HOST_WIDTH,
  UNIT_MODEL,
  UNIT_MOST,
  UNIT_ROOT,
  UNIT_WIDTHS,
  WHAT_CONTEXT,
  WHAT_DIRECTORY,
  WHAT_PASID,
  WHAT_ROOT,
} from '../iommu-layout';
import { entry, readEntry } from './tables';

const PRESENT: u64 = 1;
/** Fault processing disable: in context entries, PASID directory entries and PASID entries. */
const FPD: u64 = 2;
const POINTER: u64 = ~0xfff;
const ROOT_RESERVED: u64 = 0xffe;
const CONTEXT_RESERVED: u64 = 0xff0;
const CONTEXT_HIGH_RESERVED: u64 = ((<u64>0xffffffff) << 32) | 0xff000080;
const SCALABLE_RESERVED: u64 = 0x1e0;
const SCALABLE_HIGH_RESERVED: u64 = ~0x1fffff;
const DIRECTORY_RESERVED: u64 = 0xffc;
const PASID_BITS: u64 = 0xfffff;
// Of a scalable context entry: requests for translations are answered, requests with a PASID are offered, page requests are;
// in its second word, requests without a PASID are privileged.
const DEVICE_TLB_ENABLE: u64 = 4;
const PASID_ENABLE: u64 = 8;
const PAGE_REQUEST_ENABLE: u64 = 16;
const RID_PRIVILEGED: u64 = 1 << 20;
// Of the words of a PASID entry: what is reserved, and what needs a capability.
const PASID_ENTRY_RESERVED: u64 = 0xc00;
const PASID_ENTRY_HIGH_RESERVED: u64 = 0x7f0000;
const PASID_ENTRY_FIRST_RESERVED: u64 = 0xf00;
const SECOND_FLAGS: u64 = 1 << 9; // SSADE
const WALK_SNOOP: u64 = 1 << 23; // PWSNP
const PAGE_SNOOP: u64 = 1 << 24; // PGSNP
const SUPERVISOR: u64 = 1; // SRE
const WRITE_PROTECT: u64 = 1 << 4; // WPE
const EXTENDED_FLAG: u64 = 1 << 7; // EAFE

/** Bits 11:10 of RTADDR: translation table mode. */
const SCALABLE_TABLES: u64 = 1;
const RESERVED_TABLES: u64 = 2;
const ABORT: u64 = 3;
const MODE_SHIFT: u64 = 10;

// Translation types of a context entry, and of a PASID entry.
const TT_SECOND: u32 = 0;
const TT_DEVICE_TLB: u32 = 1;
const TT_PASS_THROUGH: u32 = 2;
const PGTT_FIRST: u32 = 1;
const PGTT_SECOND: u32 = 2;
const PGTT_NESTED: u32 = 3;
const PGTT_PASS_THROUGH: u32 = 4;
/** First-stage paging modes, as levels above 4. */
const FIVE_LEVELS: u32 = 1;

/** What the last look found; `tables` and `levels` are of the second stage. */
export let path: u32 = 0;
export let tables: u64 = 0;
export let levels: u32 = 0;
export let firstTables: u64 = 0;
export let firstLevels: u32 = 0;
export let domain: u32 = 0;
/** The PASID that the request has, or that the context entry gives it. */
export let usedPasid: u32 = 0;
/** TRAIT_* of the requester. */
export let traits: u32 = 0;
export const TRAIT_SILENT: u32 = 1; // qualified faults are not recorded (FPD)
export const TRAIT_PAGE_SNOOP: u32 = 2; // its pages force coherency (PGSNP)
export const TRAIT_SUPERVISOR: u32 = 4; // privileged requests are allowed (SRE)
export const TRAIT_PROTECT: u32 = 8; // and held to write permission (WPE)
export const TRAIT_EXTENDED: u32 = 16; // entries of the first stage have an extended accessed flag (EAFE)
export const TRAIT_SECOND_FLAGS: u32 = 32; // those of the second have flags (SSADE)
export const TRAIT_WALK_SNOOP: u32 = 64; // and the unit may write them (PWSNP)
export const TRAIT_DEVICE_TLB: u32 = 128; // it may ask for translations and use them (TT, DTE)
export const TRAIT_PRIVILEGED: u32 = 256; // its requests without a PASID are privileged (RID_PRIV)
/** Why there is none: code in legacy mode, in scalable mode, and what QEMU 7.2 reports in scalable mode (iommu.md 11.1). */
export let reason: u32 = 0;
export let scalableReason: u32 = 0;
export let qemuReason: u32 = 0;

export function isScalable(unit: usize): bool {
  return (
    (load<u32>(unit, UNIT_FEATURES) & FEATURE_SCALABLE) != 0 &&
    ((load<u64>(unit, UNIT_ROOT) >> MODE_SHIFT) & 3) == SCALABLE_TABLES
  );
}

/** Forgets the requester before; of the one to come only `silent` is known. */
export function beginContext(silent: bool): void {
  traits = silent ? TRAIT_SILENT : 0;
}

function fail(legacy: u32, scalable: u32, qemu: u32): bool {
  reason = legacy;
  scalableReason = scalable;
  qemuReason = qemu;
  return false;
}

/** Address bits that the host does not have. */
function above(unit: usize): u64 {
  return ~(((<u64>1) << load<u32>(unit, UNIT_HOST_WIDTH)) - 1);
}

/**
 * The mode that RTADDR asks for is one that the unit has, and lets requests pass (specification 7.1.3, RTA.1 and RTA.4). The
 * reference takes every other mode for legacy mode.
 */
export function hasMode(unit: usize): bool {
  if (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) return true;
  const mode = (load<u64>(unit, UNIT_ROOT) >> MODE_SHIFT) & 3;
  const features = load<u32>(unit, UNIT_FEATURES);
  if (mode == ABORT && (features & FEATURE_ABORT) != 0) return fail(0x33, 0x33, 0x33);
  if (mode == ABORT || mode == RESERVED_TABLES) return fail(0x30, 0x30, 0x30);
  if (mode == SCALABLE_TABLES && (features & FEATURE_SCALABLE) == 0) return fail(0x30, 0x30, 0x30);
  return true;
}

/** Finds out about requester `sid`. False: a fault, see `reason`. */
export function findContext(unit: usize, sid: u32, pasid: u32): bool {
  if (isCached(sid, pasid)) return true;
  traits = 0;
  const isFound = isScalable(unit) ? findScalable(unit, sid, pasid) : findLegacy(unit, sid, pasid);
  if (isFound) keep(sid, pasid);
  return isFound;
}

function findLegacy(unit: usize, sid: u32, pasid: u32): bool {
  if (pasid != PASID_NONE) return fail(0x31, 0x31, 0x31);
  const root = (load<u64>(unit, UNIT_ROOT) & POINTER) + ((<u64>(sid >> 8)) << 4);
  if (!readEntry(root, WHAT_ROOT)) return fail(8, 0x38, 8);
  const low = entry;
  if (!readEntry(root + 8, WHAT_ROOT)) return fail(8, 0x38, 8);
  if ((low & PRESENT) == 0) return fail(1, 0x39, 1);
  if (entry != 0 || low & (ROOT_RESERVED | above(unit))) return fail(0xa, 0x3a, 0xa);
  const context = (low & POINTER) + ((<u64>(sid & 0xff)) << 4);
  if (!readEntry(context, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  const first = entry;
  if (!readEntry(context + 8, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  const second = entry;
  if (first & FPD) traits |= TRAIT_SILENT;
  if ((first & PRESENT) == 0) return fail(2, 0x41, 2);
  if (first & (CONTEXT_RESERVED | above(unit)) || second & CONTEXT_HIGH_RESERVED) return fail(0xb, 0x42, 0xb);
  const width = <u32>second & 7;
  if (!hasWidth(unit, width)) return fail(3, 0x43, 0x58);
  const type = <u32>(first >> 2) & 3;
  const features = load<u32>(unit, UNIT_FEATURES);
  const isOffered =
    type == TT_SECOND ||
    (type == TT_DEVICE_TLB && (features & FEATURE_DEVICE_TLB) != 0) ||
    (type == TT_PASS_THROUGH && (features & FEATURE_PASS_THROUGH) != 0);
  if (!isOffered) return fail(3, 0x43, 0x58);
  if (type == TT_DEVICE_TLB) traits |= TRAIT_DEVICE_TLB;
  usedPasid = 0;
  path = type == TT_PASS_THROUGH ? PATH_PASS_THROUGH : PATH_SECOND;
  tables = first & POINTER;
  levels = width + 2;
  domain = <u32>(second >> 8) & 0xffff;
  return true;
}

/** AW values 1 to 3: 3 to 5 levels, as far as SAGAW has them. */
function hasWidth(unit: usize, width: u32): bool {
  return width >= 1 && width <= 3 && ((load<u32>(unit, UNIT_WIDTHS) >> width) & 1) != 0;
}

function findScalable(unit: usize, sid: u32, pasid: u32): bool {
  const isUpper: u64 = (sid & 0x80) != 0 ? 8 : 0;
  const root = (load<u64>(unit, UNIT_ROOT) & POINTER) + ((<u64>(sid >> 8)) << 4) + isUpper;
  if (!readEntry(root, WHAT_ROOT)) return fail(8, 0x38, 8);
  const isQemu = (load<u32>(unit, UNIT_MODEL) & MODEL_QEMU) != 0;
  if ((entry & PRESENT) == 0) return fail(1, 0x39, 1);
  // The reference leaves these bits alone.
  if (!isQemu && entry & (ROOT_RESERVED | above(unit))) return fail(0xa, 0x3a, 0xa);
  const context = (entry & POINTER) + ((<u64>(sid & 0x7f)) << 5);
  if (!readEntry(context, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  const first = entry;
  if (!readEntry(context + 8, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  const second = entry;
  if (!readEntry(context + 16, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  let rest = entry;
  if (!readEntry(context + 24, WHAT_CONTEXT)) return fail(9, 0x40, 9);
  rest |= entry;
  if (first & FPD) traits |= TRAIT_SILENT;
  if ((first & PRESENT) == 0) return fail(2, 0x41, 2);
  if (first & (SCALABLE_RESERVED | above(unit)) || second & SCALABLE_HIGH_RESERVED || rest != 0)
    return fail(0xb, 0x42, 0xb);
  const hasDeviceTlb = (first & DEVICE_TLB_ENABLE) != 0;
  if (!isQemu && !hasDeviceTlb && (first & PAGE_REQUEST_ENABLE) != 0) return fail(3, 0x43, 0x58);
  if (hasDeviceTlb && (load<u32>(unit, UNIT_FEATURES) & FEATURE_DEVICE_TLB) != 0) traits |= TRAIT_DEVICE_TLB;
  if (!isQemu && second & RID_PRIVILEGED) traits |= TRAIT_PRIVILEGED;
  const ridPasid = <u32>(second & PASID_BITS);
  const entries = (<u32>1) << ((<u32>(first >> 9) & 7) + 7);
  if (!isQemu && ridPasid >> 6 >= entries) return fail(3, 0x43, 0x58);
  usedPasid = pasid == PASID_NONE ? ridPasid : pasid;
  if (pasid != PASID_NONE) {
    if ((first & PASID_ENABLE) == 0) return fail(0x45, 0x45, 0x45);
    if (!isQemu && pasid >> 6 >= entries) return fail(0x46, 0x46, 0x58);
    if (!isQemu && pasid == ridPasid) return fail(0x48, 0x48, 0x58);
  }
  return findPasid(unit, first & POINTER, isQemu);
}

/** The words of the PASID entry that are looked at; `pasidRest`: of those that are reserved. */
let pasidFirst: u64 = 0;
let pasidSecond: u64 = 0;
let pasidThird: u64 = 0;
let pasidRest: u64 = 0;

function readPasid(at: u64, isQemu: bool): bool {
  pasidThird = 0;
  pasidRest = 0;
  if (!readEntry(at, WHAT_PASID)) return false;
  pasidFirst = entry;
  if (!readEntry(at + 8, WHAT_PASID)) return false;
  pasidSecond = entry;
  // The reference has no first stage, and looks no further.
  if (isQemu) return true;
  if (!readEntry(at + 16, WHAT_PASID)) return false;
  pasidThird = entry;
  for (let word: u64 = 24; word < 64; word += 8) {
    if (!readEntry(at + word, WHAT_PASID)) return false;
    pasidRest |= entry;
  }
  return true;
}

/** Reserved fields of the PASID entry, and those that stand for a capability that the unit has not (specification 9.6). */
function isPasidReserved(unit: usize, features: u32): bool {
  if (pasidFirst & (PASID_ENTRY_RESERVED | above(unit)) || pasidSecond & PASID_ENTRY_HIGH_RESERVED)
    return true;
  if (pasidThird & PASID_ENTRY_FIRST_RESERVED || pasidRest != 0) return true;
  return (
    ((features & FEATURE_SECOND_FLAGS) == 0 && (pasidFirst & SECOND_FLAGS) != 0) ||
    ((features & FEATURE_WALK_SNOOPS) == 0 && (pasidSecond & WALK_SNOOP) != 0) ||
    ((features & FEATURE_SUPERVISOR) == 0 && (pasidThird & SUPERVISOR) != 0) ||
    ((features & FEATURE_EXTENDED_FLAG) == 0 && (pasidThird & EXTENDED_FLAG) != 0)
  );
}

function findPasid(unit: usize, directory: u64, isQemu: bool): bool {
  if (!readEntry(directory + ((<u64>(usedPasid >> 6)) << 3), WHAT_DIRECTORY)) return fail(3, 0x50, 0x58);
  if (entry & FPD) traits |= TRAIT_SILENT;
  if ((entry & PRESENT) == 0) return fail(3, 0x51, 0x58);
  if (!isQemu && entry & (DIRECTORY_RESERVED | above(unit))) return fail(3, 0x52, 0x58);
  const at = (entry & POINTER) + ((<u64>(usedPasid & 63)) << 6);
  if (!readPasid(at, isQemu)) return fail(3, 0x58, 0x58);
  if (pasidFirst & FPD) traits |= TRAIT_SILENT;
  if ((pasidFirst & PRESENT) == 0) return fail(3, 0x59, 0x58);
  const features = load<u32>(unit, UNIT_FEATURES);
  if (!isQemu && isPasidReserved(unit, features)) return fail(3, 0x5a, 0x58);
  if (!findStages(unit, features, isQemu)) return fail(3, 0x5b, 0x58);
  if (pasidSecond & PAGE_SNOOP) {
    if (features & FEATURE_SNOOP_CONTROL) traits |= TRAIT_PAGE_SNOOP;
    else if (!isQemu && (load<u32>(unit, UNIT_MODEL) & MODEL_IGNORE_PGSNP) == 0) return fail(3, 0x5a, 0x58);
  }
  if (pasidFirst & SECOND_FLAGS && !isQemu) traits |= TRAIT_SECOND_FLAGS;
  if (pasidSecond & WALK_SNOOP) traits |= TRAIT_WALK_SNOOP;
  if (pasidThird & SUPERVISOR) traits |= TRAIT_SUPERVISOR;
  if (pasidThird & WRITE_PROTECT) traits |= TRAIT_PROTECT;
  if (pasidThird & EXTENDED_FLAG) traits |= TRAIT_EXTENDED;
  domain = <u32>pasidSecond & 0xffff;
  return true;
}

/** Sets path and tables from the PASID entry. False: it asks for what the unit has not. */
function findStages(unit: usize, features: u32, isQemu: bool): bool {
  const type = <u32>(pasidFirst >> 6) & 7;
  const width = <u32>(pasidFirst >> 2) & 7;
  tables = pasidFirst & POINTER;
  levels = width + 2;
  if (type == PGTT_PASS_THROUGH) {
    path = PATH_PASS_THROUGH;
    return (features & FEATURE_PASS_THROUGH) != 0;
  }
  if (type == PGTT_SECOND) {
    path = PATH_SECOND;
    return hasWidth(unit, width);
  }
  if (isQemu || (type != PGTT_FIRST && type != PGTT_NESTED)) return false;
  const mode = <u32>(pasidThird >> 2) & 3;
  if (mode > FIVE_LEVELS || (mode == FIVE_LEVELS && (features & FEATURE_FIVE_LEVELS) == 0)) return false;
  firstTables = pasidThird & POINTER;
  firstLevels = 4 + mode;
  if (type == PGTT_FIRST) {
    path = PATH_FIRST;
    return (features & FEATURE_FIRST_STAGE) != 0 && (firstTables & above(unit)) == 0;
  }
  path = PATH_NESTED;
  return (features & FEATURE_NESTED) != 0 && hasWidth(unit, width) && firstTables >> secondWidth(unit) == 0;
}

/** Address bits of the second stage: those of the unit, or of its tables. */
export function secondWidth(unit: usize): u64 {
  return <u64>min(load<u32>(unit, UNIT_GUEST_WIDTH), 12 + 9 * levels);
}

// --------------------------------------------------------------------------------------------------------- cache
// Direct-mapped by requester and PASID: tables (u64), key (u64), levels, domain, path, traits, tables of the first stage (u64),
// its levels, PASID.

const SLOTS: u32 = 256;
const STRIDE: usize = 48;
const CACHE: usize = memory.data(UNIT_MOST * 256 * 48, 16);
const USED: u64 = (<u64>1) << 40;
const SLOT_DOMAIN: usize = 20;
const SLOT_PASID: usize = 44;

let cacheOf: usize = CACHE;

/** Which unit's entries are looked at. */
export function useContextCache(index: u32): void {
  cacheOf = CACHE + <usize>(index * SLOTS) * STRIDE;
}

function slotAt(sid: u32, pasid: u32): usize {
  return cacheOf + <usize>((sid ^ (sid >> 8) ^ (pasid * 7)) & (SLOTS - 1)) * STRIDE;
}

function isCached(sid: u32, pasid: u32): bool {
  const at = slotAt(sid, pasid);
  if (load<u64>(at, 8) != (USED | ((<u64>sid) << 21) | pasid)) return false;
  tables = load<u64>(at);
  levels = load<u32>(at, 16);
  domain = load<u32>(at, SLOT_DOMAIN);
  path = load<u32>(at, 24);
  traits = load<u32>(at, 28);
  firstTables = load<u64>(at, 32);
  firstLevels = load<u32>(at, 40);
  usedPasid = load<u32>(at, SLOT_PASID);
  return true;
}

function keep(sid: u32, pasid: u32): void {
  const at = slotAt(sid, pasid);
  store<u64>(at, tables);
  store<u64>(at, USED | ((<u64>sid) << 21) | pasid, 8);
  store<u32>(at, levels, 16);
  store<u32>(at, domain, SLOT_DOMAIN);
  store<u32>(at, path, 24);
  store<u32>(at, traits, 28);
  store<u64>(at, firstTables, 32);
  store<u32>(at, firstLevels, 40);
  store<u32>(at, usedPasid, SLOT_PASID);
}

export function dropContexts(): void {
  memory.fill(cacheOf, 0, <usize>SLOTS * STRIDE);
}

/** Drops the contexts of `sid`, of all whose bits outside `ignored` are the same; `did` ~0: of any domain. */
export function dropContextsOf(sid: u32, ignored: u32, did: u32): void {
  for (let n: u32 = 0; n < SLOTS; n++) {
    const at = cacheOf + <usize>n * STRIDE;
    const key = load<u64>(at, 8);
    if (key == 0 || ((<u32>(key >> 21) ^ sid) & 0xffff & ~ignored) != 0) continue;
    if (did == ~0 || load<u32>(at, SLOT_DOMAIN) == did) store<u64>(at, 0, 8);
  }
}

/** Drops what is kept of PASID `pasid` in domain `did`, whichever way it was come by; ~0: of any. */
export function dropPasids(did: u32, pasid: u32): void {
  for (let n: u32 = 0; n < SLOTS; n++) {
    const at = cacheOf + <usize>n * STRIDE;
    if (did != ~0 && load<u32>(at, SLOT_DOMAIN) != did) continue;
    if (pasid == ~0 || load<u32>(at, SLOT_PASID) == pasid) store<u64>(at, 0, 8);
  }
}
