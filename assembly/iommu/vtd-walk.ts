// Floor 4: how a VT-d unit comes by a page that its IOTLB has not: one stage or both, flags, and the faults of each step.

import {
  CACHE_MISS,
  FEATURE_SNOOP_CONTROL,
  MODEL_BYTE_CHECK,
  PATH_FIRST,
  PATH_NESTED,
  PATH_SECOND,
  PERMISSION_READ,
  PERMISSION_WRITE,
  RESULT_CACHE,
  UNIT_MISSES,
} from '../iommu-layout';
import {
  ENTRY_DENIED,
  ENTRY_LEAF,
  ENTRY_RESERVED,
  ENTRY_SUPERVISOR,
  ENTRY_TOO_WIDE,
  ENTRY_UNREADABLE,
  FORMAT_FIRST,
  FORMAT_SECOND,
} from './formats';
import { beginStructures, keepTables, ownTables, STAGE_FIRST, STAGE_SECOND } from './structures';
import { keepSteps, steps } from './tables';
import { keepPage, SPACE_OF_PASID } from './unit-iotlb';
import { answer, count, RESULT } from './units';
import {
  domain,
  firstLevels,
  firstTables,
  isScalable,
  levels,
  path,
  secondWidth,
  TRAIT_PAGE_SNOOP,
  TRAIT_PROTECT,
  TRAIT_SECOND_FLAGS,
  TRAIT_SILENT,
  tables,
  traits,
  usedPasid,
} from './vtd-context';
import { beginFirst } from './vtd-first';
import { isMarked, setFlags } from './vtd-flags';
import {
  address,
  deny,
  fault,
  features,
  forbidsWrites,
  isPrivileged,
  isTranslation,
  isWrite,
  mayWrite,
  model,
  sid,
  unit,
  unitIndex,
} from './vtd-request';
import { beginSecond } from './vtd-second';
import {
  beginNested,
  forcesSnoop,
  isOfSecond,
  lastLevel,
  middleLevel,
  needWritableTables,
  pageAddress,
  pageLg2,
  permissions,
  SecondStage,
  walk,
  walkNested,
} from './walk';

/** Addresses of interrupt messages (msi-reserved.md 3): not translated on their way in, and no target of a translation. */
const INTERRUPTS_FIRST: u64 = 0xfee0_0000;
const INTERRUPTS_LAST: u64 = 0xfeef_ffff;

// Flags of an IOTLB value beside the permissions; the path stands above them.
export const VALUE_FORCES: u64 = 4;
export const VALUE_UNMARKED: u64 = 8; // writes have to walk: a dirty flag is to be set
export const VALUE_SILENT: u64 = 16;
export const VALUE_PATH_SHIFT: u64 = 5;

/** A page has an address in the range [first, last] that interrupts are for. */
export function isInterrupts(first: u64, last: u64): bool {
  return first <= INTERRUPTS_LAST && last >= INTERRUPTS_FIRST;
}

/** Translates the request by its tables, and keeps what it found in the IOTLB for `space`, its tables for `own` of the domain. */
export function walkTables(space: u32, own: u32): u32 {
  // Flags are set in the entries that the list of steps has.
  if (path == PATH_SECOND && (traits & TRAIT_SECOND_FLAGS) == 0) return walkNow(space, own);
  const before = keepSteps(true);
  const status = walkNow(space, own);
  keepSteps(before);
  return status;
}

function walkNow(space: u32, own: u32): u32 {
  count(unit, UNIT_MISSES, 1);
  store<u32>(RESULT, CACHE_MISS, RESULT_CACHE);
  const begin = steps;
  if (path == PATH_SECOND && address >> secondWidth(unit) != 0) return fault(4, 0x84, 4);
  if (path != PATH_SECOND && !isCanonical()) return fault(0x80, 0x80, 0x80);
  useStructures(own);
  const kind = walkStages();
  if (kind != ENTRY_LEAF) {
    const isSecond = path == PATH_SECOND || (path == PATH_NESTED && isOfSecond);
    return isSecond ? refuseSecond(kind) : refuseFirst(kind);
  }
  // Levels that have nothing in common: only a request that takes what there is comes this far.
  if (permissions == 0) return fault(6, 0x79, 6);
  const inPage = ((<u64>1) << pageLg2) - 1;
  const to = pageAddress | (address & inPage);
  const isByte = (model & MODEL_BYTE_CHECK) != 0;
  if (isInterrupts(isByte ? to : pageAddress, isByte ? to : pageAddress | inPage))
    return fault(0xe, 0x87, 0x87);
  const written = mayWrite && (permissions & PERMISSION_WRITE) != 0;
  const why = setFlags(begin, written);
  if (why != 0) return fault(why, why, why);
  const forces = (features & FEATURE_SNOOP_CONTROL) != 0 && isSnoopForced();
  const value =
    pageAddress |
    permissions |
    (forces ? VALUE_FORCES : 0) |
    (isMarked() ? 0 : VALUE_UNMARKED) |
    (traits & TRAIT_SILENT ? VALUE_SILENT : 0) |
    ((<u64>path) << VALUE_PATH_SHIFT);
  const owner = path == PATH_SECOND ? 0 : SPACE_OF_PASID | usedPasid;
  keepTables();
  keepPage(unitIndex, unit, address, pageLg2, value, sid, domain, space, owner);
  return answer(to, pageLg2, forbidsWrites() ? permissions & ~PERMISSION_WRITE : permissions, forces);
}

/** SNP of the page, where there is a second stage; PGSNP of the PASID entry, where there is a first one (iommu.md 8.2). */
function isSnoopForced(): bool {
  if (path == PATH_SECOND) return forcesSnoop;
  return (traits & TRAIT_PAGE_SNOOP) != 0 || (path == PATH_NESTED && forcesSnoop);
}

/** Bits 63:N are as bit N - 1, where the first stage has N address bits (specification 3.6). */
function isCanonical(): bool {
  const unused = 64 - (12 + 9 * <i64>firstLevels);
  return ((<i64>address) << unused) >> unused == <i64>address;
}

/** A first stage's tables are those of its space; a second stage's those of all that the domain has. */
function useStructures(own: u32): void {
  beginStructures(unitIndex, unit, isTranslation ? 0 : isWrite ? PERMISSION_WRITE : PERMISSION_READ);
  if (path != PATH_SECOND) ownTables(STAGE_FIRST, domain, own, SPACE_OF_PASID | usedPasid);
  if (path != PATH_FIRST) ownTables(STAGE_SECOND, domain, 0, 0);
}

function walkStages(): u32 {
  const takesEither = isTranslation;
  if (path != PATH_FIRST) beginSecond(unit, isWrite || takesEither, isScalable(unit), takesEither);
  if (path == PATH_SECOND) return SecondStage.walk(tables, levels, address);
  beginFirst(unit, isWrite, isPrivileged(), (traits & TRAIT_PROTECT) != 0);
  if (path == PATH_FIRST) return walk(FORMAT_FIRST, firstTables, firstLevels, 511, address);
  beginNested(FORMAT_SECOND, tables, levels, 511, <u32>secondWidth(unit));
  // With flags in the second stage, to read a table counts as to write it (specification 3.8.1).
  if (traits & TRAIT_SECOND_FLAGS) needWritableTables();
  return walkNested(FORMAT_FIRST, firstTables, firstLevels, 511, address, isWrite || takesEither);
}

/** What stopped the first stage (specification 7.1.3, SFS). */
function refuseFirst(kind: u32): u32 {
  if (kind == ENTRY_UNREADABLE) return lastLevel == firstLevels ? fault(3, 0x73, 0x73) : fault(7, 0x70, 0x70);
  if (kind == ENTRY_DENIED) return fault(6, 0x71, 0x71);
  if (kind == ENTRY_RESERVED) return fault(0xc, 0x72, 0x72);
  if (kind == ENTRY_SUPERVISOR) return fault(6, 0x81, 0x81);
  return fault(5, 0x85, 0x85);
}

/** What stopped the second stage, on the way to the page or to a table of the first. */
function refuseSecond(kind: u32): u32 {
  if (kind == ENTRY_TOO_WIDE) return fault(4, 0x74, 0x74);
  if (kind == ENTRY_RESERVED) return fault(0xc, 0x7a, 0xc);
  if (kind == ENTRY_UNREADABLE) return lastLevel == levels ? fault(3, 0x7b, 3) : fault(7, 0x78, 7);
  // No permission at all counts as not present.
  if (permissions == 0) return isWrite ? fault(5, 0x79, 5) : fault(6, 0x79, 6);
  if (path == PATH_NESTED && middleLevel != 0)
    return middleLevel == firstLevels ? fault(6, 0x75, 0x75) : fault(6, 0x76, 0x76);
  return deny();
}
