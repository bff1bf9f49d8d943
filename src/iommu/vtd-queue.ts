/** The invalidation queue of VT-d: what its descriptors ask for (specification 6.5.2, iommu.md 5). */
import { invalidationRange } from './ats.js';
import { bits } from './unit.js';
import { type UnitMemory, write32 } from './unit-memory.js';
import type { VtdUnit } from './vtd-unit.js';

/** What a unit sends to the device TLB of requester `sid`. */
export interface DeviceInvalidation {
  readonly sid: number;
  /** Without it: translations of requests without a PASID; with `isGlobal` those of every PASID are meant. */
  readonly pasid?: number;
  readonly isGlobal: boolean;
  readonly first: bigint;
  readonly last: bigint;
}

export interface QueueContext {
  readonly unit: VtdUnit;
  /** Translation table mode of RTADDR: 0 legacy, 1 scalable, 2 reserved, 3 abort. */
  readonly mode: number;
  readonly memory: UnitMemory;
  readonly invalidateDevice?: ((request: DeviceInvalidation) => void) | undefined;
  /** A wait descriptor asked for an interrupt (IF). */
  readonly complete: () => void;
}

const SCALABLE = 1;
const ABORT = 3;
/** Types by mode: legacy mode has those of requests without a PASID, others need descriptors of 256 bits (table 26). */
const LEGACY_LAST = 5;
const LAST_TYPE = 9;
/** Bits that the first two words of each type have, by type. */
const FIELDS: readonly (readonly [bigint, bigint])[] = [
  [0n, 0n],
  [0x3_ffff_ffff_003fn, 0n],
  [0xffff_00ffn, 0xffff_ffff_ffff_f07fn],
  [0xfff0_ffff_001f_f00fn, 0xffff_ffff_ffff_f001n],
  [0xffff_f800_001fn, 0n],
  [0xffff_ffff_0000_00ffn, 0xffff_ffff_ffff_fffcn],
  [0xf_ffff_ffff_003fn, 0xffff_ffff_ffff_f07fn],
  [0xf_ffff_ffff_003fn, 0n],
  [0xffff_ffff_ffff_f1ffn, 0xffff_ffff_ffff_f801n],
  [0xf_ffff_ffff_f01fn, 0xffcn],
];
/** Page group responses may carry words of the requester, which nothing here looks at. */
const PAGE_GROUP_RESPONSE = 9;
const PSI = 39;
const MAMV = 48;
const DEVICE_TLB = 2;
/** IH, beside AM: tables above the pages are as they were. IVA has it in the same place. */
export const HINT = 6;

/** Bytes of a descriptor with IQA.DW. */
export function descriptorBytes(isWide: boolean): number {
  return isWide ? 32 : 16;
}

/** Does what the descriptor of `words` (2, or 4 with 256 bits) asks for. False: it is not valid. */
export function runDescriptor(words: readonly bigint[], context: QueueContext): boolean {
  const [first = 0n, second = 0n, third = 0n, fourth = 0n] = words;
  const type = bits(first, 0, 4) | (bits(first, 9, 3) << 4);
  const fields = FIELDS[type];
  if (fields === undefined || !isOffered(type, words.length === 4, context)) return false;
  if ((first & ~fields[0]) !== 0n || (second & ~fields[1]) !== 0n) return false;
  if (type !== PAGE_GROUP_RESPONSE && (third !== 0n || fourth !== 0n)) return false;
  return RUN[type]?.(first, second, context) ?? false;
}

function isOffered(type: number, isWide: boolean, { mode, unit }: QueueContext): boolean {
  if (type === 0 || ((type === 3 || type === 8) && bits(unit.ecap, DEVICE_TLB, 1) === 0)) return false;
  if (mode === 0) return type <= LEGACY_LAST;
  return isWide && (mode === SCALABLE || mode === ABORT) && type <= LAST_TYPE;
}

type Runner = (first: bigint, second: bigint, context: QueueContext) => boolean;

const RUN: readonly (Runner | undefined)[] = [
  undefined,
  invalidateContexts,
  invalidateIotlb,
  (first, second, context) =>
    invalidateDevice({ sid: bits(first, 32, 16), isGlobal: false }, second, bits(second, 0, 1), context),
  // There is no cache of interrupt entries to drop.
  () => true,
  wait,
  invalidatePasidPages,
  invalidatePasids,
  (first, second, context) =>
    invalidateDevice(
      { sid: bits(first, 16, 16), pasid: bits(first, 32, 20), isGlobal: bits(second, 0, 1) === 1 },
      second,
      bits(second, 11, 1),
      context,
    ),
  // A response to a page request: there are none, as no unit here takes any.
  () => true,
];

function invalidateContexts(first: bigint, _second: bigint, { unit, mode }: QueueContext): boolean {
  return runContexts(unit, mode, bits(first, 4, 2), {
    did: bits(first, 16, 16),
    sid: bits(first, 32, 16),
    mask: bits(first, 48, 2),
  });
}

/** By granularity, of the queue and of CCMD: 1 all, 2 a domain, 3 a requester; scalable mode does not know domains here. */
export function runContexts(
  unit: VtdUnit,
  mode: number,
  granularity: number,
  { did, sid, mask }: { readonly did: number; readonly sid: number; readonly mask: number },
): boolean {
  if (granularity === 0) return false;
  const domain = mode === SCALABLE ? {} : { did };
  if (granularity === 1) unit.invalidateContexts();
  else if (granularity === 2) unit.invalidateContexts(domain);
  else unit.invalidateContexts({ ...domain, sid, mask });
  return true;
}

function invalidateIotlb(first: bigint, second: bigint, { unit }: QueueContext): boolean {
  const granularity = bits(first, 4, 2);
  const mask = bits(second, 0, 6);
  if (granularity === 0 || (granularity === 3 && !takesMask(unit, mask))) return false;
  const did = bits(first, 16, 16);
  if (granularity === 1) unit.invalidateIotlb();
  else if (granularity === 2) unit.invalidateIotlb(did);
  else unit.invalidatePages(did, second & ~0xfffn, mask, bits(second, HINT, 1) === 1);
  return true;
}

/** Page-selective invalidation is there (PSI), and as wide as `mask` (MAMV). */
export function takesMask({ cap }: VtdUnit, mask: number): boolean {
  return bits(cap, PSI, 1) === 1 && mask <= bits(cap, MAMV, 6);
}

function invalidatePasidPages(first: bigint, second: bigint, { unit }: QueueContext): boolean {
  const granularity = bits(first, 4, 2);
  const mask = bits(second, 0, 6);
  if (granularity < 2 || (granularity === 3 && mask > bits(unit.cap, MAMV, 6))) return false;
  const did = bits(first, 16, 16);
  const pasid = bits(first, 32, 20);
  if (granularity === 2) unit.invalidatePasidPages(did, pasid);
  else {
    const keepTables = bits(second, HINT, 1) === 1;
    unit.invalidatePasidPages(did, pasid, { address: second & ~0xfffn, mask, keepTables });
  }
  return true;
}

function invalidatePasids(first: bigint, _second: bigint, { unit }: QueueContext): boolean {
  const granularity = bits(first, 4, 2);
  const did = bits(first, 16, 16);
  if (granularity === 2) return false;
  if (granularity === 0) unit.invalidatePasidCache({ did });
  else if (granularity === 1) unit.invalidatePasidCache({ did, pasid: bits(first, 32, 20) });
  else unit.invalidatePasidCache();
  return true;
}

function invalidateDevice(
  target: { readonly sid: number; readonly pasid?: number; readonly isGlobal: boolean },
  second: bigint,
  size: number,
  { invalidateDevice }: QueueContext,
): boolean {
  invalidateDevice?.({ ...target, ...invalidationRange(second & ~0xfffn, size === 1) });
  return true;
}

/** Descriptors are done one after the other, so all before this one have been. */
function wait(first: bigint, second: bigint, { memory, complete }: QueueContext): boolean {
  // A word that cannot be written is lost.
  if (bits(first, 5, 1) === 1) write32(memory, second, first >> 32n);
  if (bits(first, 4, 1) === 1) complete();
  return true;
}
