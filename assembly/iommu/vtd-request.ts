// Floor 4: the request that a VT-d unit is at, and how it is refused (specification 7.1.3, iommu.md 2.7, 11.1).

import {
  FEATURE_NO_WRITE,
  MODEL_QEMU,
  MODEL_QEMU_REASONS,
  PASID_NONE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_TRANSLATED,
  REQUEST_TRANSLATION,
  REQUEST_WRITE,
  RESULT_IS_RECORDED,
  RESULT_REASON,
  TRANSLATION_FAULT,
  UNIT_FAULTS,
  UNIT_FEATURES,
  UNIT_MODEL,
} from '../iommu-layout';
import { recordFault } from './faults';
import { answer, count, RESULT, unitAt } from './units';
import {
  isScalable,
  qemuReason,
  reason,
  scalableReason,
  TRAIT_PRIVILEGED,
  TRAIT_SILENT,
  traits,
} from './vtd-context';

export let unitIndex: u32 = 0;
export let unit: usize = 0;
export let model: u32 = 0;
export let features: u32 = 0;
export let sid: u32 = 0;
export let pasid: u32 = 0;
export let address: u64 = 0;
export let isWrite: bool = false;
/** The endpoint asks for a translation: it takes the permissions that there are. */
export let isTranslation: bool = false;
/** The endpoint has translated the address. */
export let isTranslated: bool = false;
/** The page is to be marked as written, if it can be. A translation that may serve writes counts as one (specification 4.2.3.1). */
export let mayWrite: bool = false;
let flags: u32 = 0;

export function beginRequest(index: u32, requester: u32, space: u32, at: u64, wants: u32): void {
  unitIndex = index;
  unit = unitAt(index);
  model = load<u32>(unit, UNIT_MODEL);
  features = load<u32>(unit, UNIT_FEATURES);
  sid = requester;
  pasid = space;
  address = at;
  flags = wants;
  isWrite = (wants & REQUEST_WRITE) != 0;
  isTranslation = (wants & REQUEST_TRANSLATION) != 0;
  isTranslated = (wants & REQUEST_TRANSLATED) != 0;
  mayWrite = isWrite || (isTranslation && !forbidsWrites());
}

/** The answer to a request for a translation has no permission to write (NW); units without ECAP.NWFS do not look. */
export function forbidsWrites(): bool {
  return (flags & REQUEST_NO_WRITE) != 0 && (features & FEATURE_NO_WRITE) != 0;
}

/** Privileged mode is requested by the prefix of the PASID, or for requests without one by the context entry. The reference does not look. */
export function isPrivileged(): bool {
  if (model & MODEL_QEMU) return false;
  return pasid == PASID_NONE ? (traits & TRAIT_PRIVILEGED) != 0 : (flags & REQUEST_PRIVILEGED) != 0;
}

/** The permission is missing: to write, or to read. */
export function deny(): u32 {
  return isWrite ? fault(5, 0x85, 5) : fault(6, 0x86, 6);
}

/** The requester is none, or is not offered what it asks for: `reason` of its context. */
export function refuseContext(): u32 {
  return fault(reason, scalableReason, qemuReason);
}

/** Reports a fault: its code in legacy mode, in scalable mode, and what QEMU 7.2 reports in scalable mode. */
export function fault(legacy: u32, scalable: u32, qemu: u32): u32 {
  const inScalable = isScalable(unit);
  const code = !inScalable ? legacy : model & MODEL_QEMU_REASONS ? qemu : scalable;
  // An endpoint that asks for a translation finds out by itself, and software hears nothing of it.
  if (isTranslation && (inScalable ? isNoAccess(scalable) : legacy >= 4 && legacy <= 6))
    return answer(0, 12, 0, false);
  count(unit, UNIT_FAULTS, 1);
  store<u32>(RESULT, code, RESULT_REASON);
  const isQualified =
    inScalable && (model & MODEL_QEMU) == 0 ? isScalableQualified(scalable) : isLegacyQualified(legacy);
  // The reference reports even the qualified ones of PASID tables.
  const isLoud = inScalable && qemu == 0x58 && (model & MODEL_QEMU) != 0;
  if ((traits & TRAIT_SILENT) != 0 && isQualified && !isLoud) return TRANSLATION_FAULT;
  if (recordFault(unit, code, address, sid, pasid, flags)) store<u32>(RESULT, 1, RESULT_IS_RECORDED);
  return TRANSLATION_FAULT;
}

/** FPD keeps quiet about qualified faults: all but 1 and 8 to B, which are of root and context entries (iommu.md 2.7). */
function isLegacyQualified(legacy: u32): bool {
  return legacy != 1 && (legacy < 8 || legacy > 0xb);
}

/** In scalable mode: all but those of the root table, and of tables that could not be read (specification 7.1.3). */
function isScalableQualified(code: u32): bool {
  return code > 0x40 && code != 0x50 && code != 0x58;
}

/** Faults of scalable mode that a request for a translation is answered with success for, without permissions. */
function isNoAccess(code: u32): bool {
  if (code == 0x51 || code == 0x59 || code == 0x5c || code == 0x5d) return true;
  if (code == 0x79 || code == 0x80 || code == 0x81 || code == 0x90) return true;
  return (code >= 0x70 && code <= 0x77) || (code >= 0x83 && code <= 0x86);
}
