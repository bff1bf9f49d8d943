/** What codes of faults and events mean, and what is known of an event beside its code (iommu.md 11). */
import * as I from '../../assembly/iommu-layout.js';
import { hex64 } from '../core/u64.js';
import type { AmdEvent } from './amd-unit.js';
import type { SmmuEvent } from './smmu-unit.js';
import type { UnitKind } from './unit.js';

const VTD_REASONS: ReadonlyMap<number, string> = new Map([
  [0x01, 'root entry not present'],
  [0x02, 'context entry not present'],
  [0x03, 'context entry invalid, or its table unreadable'],
  [0x04, 'address beyond the width of the unit or of the tables'],
  [0x05, 'write not permitted'],
  [0x06, 'read not permitted'],
  [0x07, 'paging entry unreadable'],
  [0x08, 'root entry unreadable'],
  [0x09, 'context entry unreadable'],
  [0x0a, 'reserved bits in the root entry'],
  [0x0b, 'reserved bits in the context entry'],
  [0x0c, 'reserved bits in a paging entry'],
  [0x0d, 'translation type does not allow ATS'],
  [0x0e, 'output in the interrupt range'],
  [0x30, 'RTADDR: table mode that the unit has not (scalable mode needs ECAP.SMTS)'],
  [0x31, 'request with PASID in legacy mode'],
  [0x33, 'RTADDR: abort mode (TTM 3, ECAP.ADMS)'],
  [0x38, 'root entry unreadable'],
  [0x39, 'root entry not present'],
  [0x3a, 'reserved bits in the root entry'],
  [0x40, 'context entry unreadable'],
  [0x41, 'context entry not present'],
  [0x42, 'reserved bits in the context entry'],
  [0x43, 'context entry invalid: width, type, PRE without DTE, or RID_PASID beyond the directory'],
  [0x44, 'device TLB not enabled for the requester'],
  [0x45, 'PASID not enabled for the requester'],
  [0x46, 'PASID beyond the directory'],
  [0x47, 'page requests not enabled for the requester'],
  [0x48, 'request with the PASID that RID_PASID names'],
  [0x49, 'translated request with PASID'],
  [0x50, 'PASID directory entry unreadable'],
  [0x51, 'PASID directory entry not present'],
  [0x52, 'reserved bits in the PASID directory entry'],
  [0x58, 'PASID entry unreadable'],
  [0x59, 'PASID entry not present'],
  [0x5a, 'reserved bits in the PASID entry'],
  [0x5b, 'PASID entry invalid: type, width or first-stage mode that the unit has not'],
  [0x5c, 'execute requests not enabled'],
  [0x5d, 'supervisor requests not enabled'],
  [0x70, 'first-stage entry unreadable'],
  [0x71, 'first-stage entry not present'],
  [0x72, 'reserved bits in a first-stage entry'],
  [0x73, 'top first-stage entry unreadable'],
  [0x74, 'address of the first stage too wide for the second stage'],
  [0x75, 'top table of the first stage not permitted by the second stage'],
  [0x76, 'table of the first stage not permitted by the second stage'],
  [0x77, 'first-stage entry lacks a flag, and the second stage does not permit to write it'],
  [0x78, 'second-stage entry unreadable'],
  [0x79, 'second-stage entry not present'],
  [0x7a, 'reserved bits in a second-stage entry'],
  [0x7b, 'top second-stage entry unreadable'],
  [0x7c, 'second-stage entry lacks A or D, and the unit may not set it (PWSNP, ECAP.SMPWCS)'],
  [0x80, 'address not canonical'],
  [0x81, 'user request for a supervisor page'],
  [0x82, 'execute not permitted'],
  [0x83, 'address beyond the width of the unit'],
  [0x84, 'address beyond the width of the second stage'],
  [0x85, 'write not permitted'],
  [0x86, 'read not permitted'],
  [0x87, 'output in the interrupt range'],
  [0x90, 'first-stage entry lacks A, EA or D, and the unit may not set it (PWSNP, ECAP.SMPWCS)'],
]);

const SMMU_EVENTS: ReadonlyMap<number, string> = new Map([
  [0x02, 'C_BAD_STREAMID'],
  [0x03, 'F_STE_FETCH'],
  [0x04, 'C_BAD_STE'],
  [0x05, 'F_BAD_ATS_TREQ'],
  [0x06, 'F_STREAM_DISABLED'],
  [0x07, 'F_TRANSL_FORBIDDEN'],
  [0x08, 'C_BAD_SUBSTREAMID'],
  [0x09, 'F_CD_FETCH'],
  [0x0a, 'C_BAD_CD'],
  [0x0b, 'F_WALK_EABT'],
  [0x10, 'F_TRANSLATION'],
  [0x11, 'F_ADDR_SIZE'],
  [0x12, 'F_ACCESS'],
  [0x13, 'F_PERMISSION'],
]);

const AMD_EVENTS: ReadonlyMap<number, string> = new Map([
  [0x01, 'ILLEGAL_DEV_TABLE_ENTRY'],
  [0x02, 'IO_PAGE_FAULT'],
  [0x03, 'DEV_TAB_HARDWARE_ERROR'],
  [0x04, 'PAGE_TAB_HARDWARE_ERROR'],
  [0x08, 'INVALID_DEVICE_REQUEST'],
]);

const REASONS: Readonly<Record<UnitKind, ReadonlyMap<number, string>>> = {
  vtd: VTD_REASONS,
  smmuv3: SMMU_EVENTS,
  amd: AMD_EVENTS,
};

/** What fault or event `reason` of a unit of `kind` means (iommu.md 11). */
export function reasonName(kind: UnitKind, reason: number): string {
  return REASONS[kind].get(reason) ?? 'unknown';
}

// ------------------------------------------------------------------------------------------------------- what events say
const CLASSES = ['CD', 'TT', 'IN', 'reserved'];
const F_WALK_EABT = 0x0b;
/** Events of translations: the others have no class. */
const hasClass = (type: number): boolean => type >= 0x10 || type === F_WALK_EABT;

/** Stage, class and addresses of an SMMUv3 event, in words (iommu.md 4.5). */
export function smmuEventText({ type, intermediate, fetch, class: kind }: SmmuEvent): string[] {
  const parts: string[] = [];
  if (hasClass(type))
    parts.push(intermediate === undefined ? 'stage 1' : 'stage 2', `CLASS ${CLASSES[kind]}`);
  if (intermediate !== undefined)
    parts.push(`${type === F_WALK_EABT ? 'entry at' : 'IPA'} ${hex64(intermediate)}`);
  if (BigInt(fetch) !== 0n) parts.push(`fetched from ${hex64(fetch)}`);
  return parts;
}

const AMD_FLAGS: Readonly<Record<string, number>> = {
  PR: I.AMD_PRESENT,
  RW: I.AMD_WRITE,
  PE: I.AMD_PERMISSION,
  RZ: I.AMD_RESERVED,
  I: I.AMD_INTERRUPT,
  GN: I.AMD_GUEST,
};

/** Names of the flags of an AMD-Vi event that are set; `no flags` where none is. */
export function amdEventText({ flags }: Pick<AmdEvent, 'flags'>): string[] {
  const names = Object.keys(AMD_FLAGS).filter((name) => (flags & (AMD_FLAGS[name] as number)) !== 0);
  return names.length === 0 ? ['no flags'] : names;
}
