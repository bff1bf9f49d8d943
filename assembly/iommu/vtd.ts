// Floor 4: what a VT-d unit does with a request (iommu.md 2.6): window of interrupts, IOTLB, context, walk, record.

import {
  CACHE_BYPASS,
  CACHE_HIT,
  FEATURE_1G,
  FEATURE_2M,
  FEATURE_SNOOP_CONTROL,
  KEY_REQUESTER,
  MODEL_PASS_AS_SENT,
  MODEL_QEMU,
  MODEL_WIDTH_CHECK,
  PASID_NONE,
  PATH_OFF,
  PATH_PASS_THROUGH,
  PATH_SECOND,
  PATH_TRANSLATED,
  PERMISSION_READ,
  PERMISSION_WRITE,
  RESULT_CACHE,
  RESULT_DOMAIN,
  RESULT_PAGE_LG2,
  RESULT_PATH,
  RESULT_PERMISSIONS,
  TRANSLATED,
  TRANSLATION_MESSAGE,
  TRANSLATION_REFUSED,
  UNIT_HITS,
  UNIT_HOST_WIDTH,
  UNIT_IS_ON,
  UNIT_KEY,
} from '../iommu-layout';
import { dropFound, findPage, foundLg2, foundValue } from './unit-iotlb';
import { answer, answerAsSent, beginAnswer, count, endReads, RESULT } from './units';
import {
  beginContext,
  domain,
  findContext,
  hasMode,
  isScalable,
  path,
  TRAIT_DEVICE_TLB,
  TRAIT_PAGE_SNOOP,
  TRAIT_SUPERVISOR,
  traits,
  useContextCache,
  usedPasid,
} from './vtd-context';
import {
  address,
  beginRequest,
  deny,
  fault,
  features,
  forbidsWrites,
  isPrivileged,
  isTranslated,
  isTranslation,
  isWrite,
  mayWrite,
  model,
  pasid,
  refuseContext,
  sid,
  unit,
  unitIndex,
} from './vtd-request';
import {
  isInterrupts,
  VALUE_FORCES,
  VALUE_PATH_SHIFT,
  VALUE_SILENT,
  VALUE_UNMARKED,
  walkTables,
} from './vtd-walk';

// What tells pages of the IOTLB apart beside domain or requester: a PASID below, and in scalable mode path and privilege.
const SPACE_SCALABLE: u32 = 1 << 21;
const SPACE_PATH_SHIFT: u32 = 22;
const SPACE_PRIVILEGED: u32 = 1 << 25;

/**
 * Translates a request of requester `requester` at `at`, within one 4 KiB page. `flags` are REQUEST_*. Answers TRANSLATED, or why
 * not; RESULT says more. A request for a translation is answered with the permissions that there are; TRANSLATION_MESSAGE says
 * that untranslated writes are meant to be used.
 */
export function translateVtd(index: u32, requester: u32, space: u32, at: u64, flags: u32): u32 {
  beginRequest(index, requester, space, at, flags);
  beginAnswer();
  if (load<u32>(unit, UNIT_IS_ON) == 0) {
    // What a device TLB sends is an unsupported request then (specification 4.2.1).
    return isTranslation || isTranslated ? TRANSLATION_REFUSED : answerAsSent(at, PATH_OFF, false);
  }
  // Addresses of interrupts are not translated: a write is a message. An endpoint that asks is told so below.
  if (pasid == PASID_NONE && !isTranslated && !isTranslation && isInterrupts(at, at))
    return isWrite ? TRANSLATION_MESSAGE : TRANSLATION_REFUSED;
  useContextCache(index);
  const status = isTranslated ? passTranslated() : lookUp();
  endReads(unit);
  return status;
}

function lookUp(): u32 {
  const isQemu = (model & MODEL_QEMU) != 0;
  // Pages of requesters are found without their context; whose pages are those of a domain needs the domain.
  const isByRequester = load<u32>(unit, UNIT_KEY) == KEY_REQUESTER;
  const space = isQemu ? pasid : requesterSpace();
  beginContext(false);
  if (!hasMode(unit)) return refuseContext();
  if (isByRequester && findPage(unitIndex, unit, address, sid, 0, space) && isServing()) return hit(true);
  if (!findContext(unit, sid, pasid)) return refuseContext();
  if (isTranslation && (traits & TRAIT_DEVICE_TLB) == 0) return fault(0xd, 0x44, 0xd);
  // To send such a write untranslated, or that there is nothing to be read (specification 7.1.3, S.1 and S.2).
  if (isTranslation && pasid == PASID_NONE && isInterrupts(address, address))
    return forbidsWrites() ? answer(0, 12, 0, false) : TRANSLATION_MESSAGE;
  if (isPrivileged() && (traits & TRAIT_SUPERVISOR) == 0 && isScalable(unit)) return fault(3, 0x5d, 0x58);
  store<u32>(RESULT, domain, RESULT_DOMAIN);
  store<u32>(RESULT, path, RESULT_PATH);
  if (path == PATH_PASS_THROUGH) return passThrough();
  if (isByRequester) return walkTables(space, domainSpace());
  const own = domainSpace();
  if (findPage(unitIndex, unit, address, sid, domain, own) && isServing()) return hit(false);
  return walkTables(own, own);
}

/** Pages of a requester: those of each PASID, and with it of each privilege, stand for themselves. */
function requesterSpace(): u32 {
  if (!isScalable(unit)) return pasid;
  return pasid | SPACE_SCALABLE | (pasid != PASID_NONE && isPrivileged() ? SPACE_PRIVILEGED : 0);
}

/** Pages of a domain: of a second stage for all of its requests, of a first stage for each PASID and privilege. */
function domainSpace(): u32 {
  if (!isScalable(unit)) return 0;
  const kind = SPACE_SCALABLE | (path << SPACE_PATH_SHIFT);
  if (path == PATH_SECOND) return kind;
  return kind | usedPasid | (isPrivileged() ? SPACE_PRIVILEGED : 0);
}

/** What the IOTLB has serves the request; if a dirty flag is still to be set, it goes, and the tables are walked again. */
function isServing(): bool {
  const isStale = (foundValue & VALUE_UNMARKED) != 0 && mayWrite && (<u32>foundValue & PERMISSION_WRITE) != 0;
  if (isStale) dropFound(unitIndex);
  return !isStale;
}

function hit(isBare: bool): u32 {
  count(unit, UNIT_HITS, 1);
  store<u32>(RESULT, CACHE_HIT, RESULT_CACHE);
  store<u32>(RESULT, <u32>(foundValue >> VALUE_PATH_SHIFT) & 7, RESULT_PATH);
  // Without a context the page itself says whether its faults are recorded.
  if (isBare) beginContext((foundValue & VALUE_SILENT) != 0);
  let allowed = <u32>foundValue & (PERMISSION_READ | PERMISSION_WRITE);
  if (!isTranslation && (allowed & (isWrite ? PERMISSION_WRITE : PERMISSION_READ)) == 0) {
    // The reference drops it without a record.
    return model & MODEL_QEMU ? TRANSLATION_REFUSED : deny();
  }
  if (forbidsWrites()) allowed &= ~PERMISSION_WRITE;
  const inPage = ((<u64>1) << foundLg2) - 1;
  const page = foundValue & ~0xfff;
  return answer(page | (address & inPage), foundLg2, allowed, (foundValue & VALUE_FORCES) != 0);
}

/** The address is wider than those of the host. */
function isAboveHost(): bool {
  return address >> load<u32>(unit, UNIT_HOST_WIDTH) != 0;
}

function passThrough(): u32 {
  store<u32>(RESULT, CACHE_BYPASS, RESULT_CACHE);
  if ((model & MODEL_WIDTH_CHECK) != 0 && isAboveHost()) return fault(4, 0x83, 4);
  // Only requests with a PASID come here with such an address: they are not taken for messages.
  if (!isTranslation && (model & MODEL_QEMU) == 0 && isInterrupts(address, address))
    return fault(0xe, 0x87, 0x87);
  const forces = (traits & TRAIT_PAGE_SNOOP) != 0 && (model & MODEL_PASS_AS_SENT) == 0;
  answerAsSent(address, PATH_PASS_THROUGH, forces);
  if (!isTranslation) return TRANSLATED;
  // An endpoint is given a region of the largest page (specification 4.2.3).
  const lg2: u32 = features & FEATURE_1G ? 30 : features & FEATURE_2M ? 21 : 12;
  store<u32>(RESULT, lg2, RESULT_PAGE_LG2);
  if (forbidsWrites()) store<u32>(RESULT, PERMISSION_READ, RESULT_PERMISSIONS);
  return TRANSLATED;
}

/** A request with a translated address passes as it is, from endpoints that may translate (iommu.md 7). */
function passTranslated(): u32 {
  beginContext(false);
  if (!hasMode(unit) || !findContext(unit, sid, pasid)) return refuseContext();
  if ((traits & TRAIT_DEVICE_TLB) == 0) return fault(0xd, 0x44, 0xd);
  // No unit here lets translated requests carry a PASID (EPTR).
  if (pasid != PASID_NONE) return fault(0x49, 0x49, 0x49);
  if (isAboveHost()) return fault(4, 0x83, 4);
  if (isInterrupts(address, address)) return fault(0xe, 0x87, 0x87);
  const forces = (features & FEATURE_SNOOP_CONTROL) != 0 && (traits & TRAIT_PAGE_SNOOP) != 0;
  return answerAsSent(address, PATH_TRANSLATED, forces);
}
