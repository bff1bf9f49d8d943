// Floor 4: who a requester is to a VT-d unit: root entry, context entry and PASID entry (iommu.md 2.2, 2.3), and a cache of it.
//
//   legacy     root[bus] -> context[devfn]
//   scalable   root[bus], half by devfn -> context[devfn & 127] -> PASID directory -> PASID table

import {
  FEATURE_DEVICE_TLB,
  FEATURE_PASS_THROUGH,
  FEATURE_SCALABLE,
  FEATURE_SNOOP_CONTROL,
  MODEL_IGNORE_PGSNP,
  MODEL_QEMU,
  PASID_NONE,
  PATH_PASS_THROUGH,
  PATH_SECOND,
  UNIT_FEATURES,
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
const PASID_ENTRY_HIGH_RESERVED: u64 = 0x7f0000;
const DIRECTORY_RESERVED: u64 = 0xffc;
const PAGE_SNOOP: u64 = 1 << 24;
const PASID_BITS: u64 = 0xfffff;
/** PASIDE of a scalable context entry: requests with a PASID are offered. */
const PASID_ENABLE: u64 = 8;
const PASID_ENTRY_RESERVED: u64 = 0xc00;

/** Bits 11:10 of RTADDR. */
const SCALABLE_TABLES: u64 = 1;
const MODE_SHIFT: u64 = 10;

// Translation types of a context entry, and of a PASID entry.
const TT_SECOND: u32 = 0;
const TT_DEVICE_TLB: u32 = 1;
const TT_PASS_THROUGH: u32 = 2;
const PGTT_SECOND: u32 = 2;
const PGTT_PASS_THROUGH: u32 = 4;

/** What the last look found. */
export let path: u32 = 0;
export let tables: u64 = 0;
export let levels: u32 = 0;
export let domain: u32 = 0;
export let forcesPages: bool = false;
/** Qualified faults of this requester are not recorded. */
export let isSilent: bool = false;
/** Why there is none: code in legacy mode, in scalable mode, and what QEMU 7.2 reports in scalable mode (iommu.md 11.1). */
export let reason: u32 = 0;
export let scalableReason: u32 = 0;
export let qemuReason: u32 = 0;

/** PASID of requests without one, in scalable mode. */
let requestPasid: u32 = 0;

export function isScalable(unit: usize): bool {
  return (
    (load<u32>(unit, UNIT_FEATURES) & FEATURE_SCALABLE) != 0 &&
    ((load<u64>(unit, UNIT_ROOT) >> MODE_SHIFT) & 3) == SCALABLE_TABLES
  );
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

/** Finds out about requester `sid`. False: a fault, see `reason`. */
export function findContext(unit: usize, sid: u32, pasid: u32): bool {
  if (isCached(sid, pasid)) return true;
  isSilent = false;
  forcesPages = false;
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
  isSilent = (first & FPD) != 0;
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
  isSilent = (first & FPD) != 0;
  if ((first & PRESENT) == 0) return fail(2, 0x41, 2);
  if (first & (SCALABLE_RESERVED | above(unit)) || second & SCALABLE_HIGH_RESERVED || rest != 0)
    return fail(0xb, 0x42, 0xb);
  requestPasid = pasid == PASID_NONE ? <u32>(second & PASID_BITS) : pasid;
  if (pasid != PASID_NONE && (first & PASID_ENABLE) == 0) return fail(0x45, 0x45, 0x45);
  const entries = (<u32>1) << ((<u32>(first >> 9) & 7) + 7);
  if (!isQemu && requestPasid >> 6 >= entries)
    return pasid == PASID_NONE ? fail(0x48, 0x48, 0x58) : fail(0x46, 0x46, 0x58);
  return findPasid(unit, first & POINTER, isQemu);
}

function findPasid(unit: usize, directory: u64, isQemu: bool): bool {
  if (!readEntry(directory + ((<u64>(requestPasid >> 6)) << 3), WHAT_DIRECTORY)) return fail(3, 0x50, 0x58);
  if (entry & FPD) isSilent = true;
  if ((entry & PRESENT) == 0) return fail(3, 0x51, 0x58);
  if (!isQemu && entry & (DIRECTORY_RESERVED | above(unit))) return fail(3, 0x52, 0x58);
  const at = (entry & POINTER) + ((<u64>(requestPasid & 63)) << 6);
  if (!readEntry(at, WHAT_PASID)) return fail(3, 0x58, 0x58);
  const first = entry;
  if (!readEntry(at + 8, WHAT_PASID)) return fail(3, 0x58, 0x58);
  const second = entry;
  if (first & FPD) isSilent = true;
  if ((first & PRESENT) == 0) return fail(3, 0x59, 0x58);
  if (!isQemu && (first & (PASID_ENTRY_RESERVED | above(unit)) || second & PASID_ENTRY_HIGH_RESERVED))
    return fail(3, 0x5a, 0x58);
  const type = <u32>(first >> 6) & 7;
  const features = load<u32>(unit, UNIT_FEATURES);
  const width = <u32>(first >> 2) & 7;
  const isOffered =
    (type == PGTT_SECOND && hasWidth(unit, width)) ||
    (type == PGTT_PASS_THROUGH && (features & FEATURE_PASS_THROUGH) != 0);
  if (!isOffered) return fail(3, 0x5b, 0x58);
  forcesPages = (second & PAGE_SNOOP) != 0;
  if (forcesPages && (features & FEATURE_SNOOP_CONTROL) == 0) {
    if (!isQemu && (load<u32>(unit, UNIT_MODEL) & MODEL_IGNORE_PGSNP) == 0) return fail(3, 0x5a, 0x58);
    forcesPages = false;
  }
  path = type == PGTT_PASS_THROUGH ? PATH_PASS_THROUGH : PATH_SECOND;
  tables = first & POINTER;
  levels = width + 2;
  domain = <u32>second & 0xffff;
  return true;
}

// --------------------------------------------------------------------------------------------------------- cache
// Direct-mapped by requester and PASID: tables (u64), key (u64), levels, domain, path, flags.

const SLOTS: u32 = 256;
const STRIDE: usize = 32;
const CACHE: usize = memory.data(UNIT_MOST * 256 * 32, 16);
const USED: u64 = (<u64>1) << 40;
const FLAG_SILENT: u32 = 1;
const FLAG_PAGES: u32 = 2;

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
  domain = load<u32>(at, 20);
  path = load<u32>(at, 24);
  const flags = load<u32>(at, 28);
  isSilent = (flags & FLAG_SILENT) != 0;
  forcesPages = (flags & FLAG_PAGES) != 0;
  return true;
}

function keep(sid: u32, pasid: u32): void {
  const at = slotAt(sid, pasid);
  store<u64>(at, tables);
  store<u64>(at, USED | ((<u64>sid) << 21) | pasid, 8);
  store<u32>(at, levels, 16);
  store<u32>(at, domain, 20);
  store<u32>(at, path, 24);
  store<u32>(at, (isSilent ? FLAG_SILENT : 0) | (forcesPages ? FLAG_PAGES : 0), 28);
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
    if (did == ~0 || load<u32>(at, 20) == did) store<u64>(at, 0, 8);
  }
}
