/** A VT-d remapping unit in the core: its registers, what it answers to requests, its caches and fault records. */
import * as I from '../../assembly/iommu-layout.js';
import { inRange, invalid, needObject } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import { AtsGrants, completionOf } from './ats.js';
import {
  ANY_DOMAIN,
  bits,
  LAST,
  REPLACEMENTS,
  spread,
  TranslationUnit,
  type UnitAnswer,
  type UnitRequest,
} from './unit.js';

/** Options that a unit follows. */
export type UnitOptions = Pick<
  Options,
  | 'faultReasons'
  | 'interruptRangeCheck'
  | 'iotlbEntries'
  | 'iotlbKey'
  | 'iotlbReplacement'
  | 'pagingStructureEntries'
  | 'passThroughSnoop'
  | 'passThroughWidthCheck'
  | 'pgsnpWithoutSc'
  | 'splitFault'
  | 'vtdModel'
>;

export interface VtdUnitInput {
  /** CAP and ECAP registers, as Linux prints them at boot: `DMAR: dmar0: ... cap d2008c222f0606 ecap f00f4a`. */
  readonly cap: U64;
  readonly ecap: U64;
  /** Address bits of the host (HAW), 30 to 52: those above are reserved in every entry. */
  readonly hostWidth: number;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default 1. */
  readonly seed?: number;
}

/** A request as a VT-d unit takes it. */
export interface VtdRequest extends UnitRequest {
  /**
   * Address type of the TLP. `translation`: an endpoint asks where an address leads, and is answered with the permissions that
   * there are, none included; a `message` tells it to write there untranslated. `translated`: the address is such an answer.
   */
  readonly at?: keyof typeof ADDRESS_TYPES;
  /** Of a `translation`: it is for reads only (NW). Units without ECAP.NWFS do not look. */
  readonly noWrite?: boolean;
  /** The No Snoop attribute. It does not change the answer; of a `translated` request it is checked against N. */
  readonly noSnoop?: boolean;
}

export interface UnitFault {
  readonly reason: number;
  readonly sid: number;
  readonly pasid?: number;
  /** Address of the page. */
  readonly page: U64;
  readonly isWrite: boolean;
}

/** A fault recording register. */
export interface FaultRecord {
  /** F: software has not cleared it. */
  readonly isSet: boolean;
  readonly fault: UnitFault;
  readonly isPrivileged: boolean;
  /** AT of the request: 0 untranslated, 1 for a translation, 2 translated. */
  readonly addressType: number;
}

const ADDRESS_TYPES = {
  untranslated: 0,
  translation: I.REQUEST_TRANSLATION,
  translated: I.REQUEST_TRANSLATED,
} as const;
/** FEATURE_* by bits of CAP and of ECAP. */
const CAP_FEATURES: readonly (readonly [number, number])[] = [
  [34, I.FEATURE_2M],
  [35, I.FEATURE_1G],
  [56, I.FEATURE_FIRST_1G],
  [60, I.FEATURE_FIVE_LEVELS],
];
const ECAP_FEATURES: readonly (readonly [number, number])[] = [
  [2, I.FEATURE_DEVICE_TLB],
  [6, I.FEATURE_PASS_THROUGH],
  [7, I.FEATURE_SNOOP_CONTROL],
  [26, I.FEATURE_NESTED],
  [31, I.FEATURE_SUPERVISOR],
  [33, I.FEATURE_NO_WRITE],
  [34, I.FEATURE_EXTENDED_FLAG],
  [43, I.FEATURE_SCALABLE],
  [45, I.FEATURE_SECOND_FLAGS],
  [47, I.FEATURE_FIRST_STAGE],
  [48, I.FEATURE_WALK_SNOOPS],
  [52, I.FEATURE_ABORT],
];

function featuresOf(register: U64, features: readonly (readonly [number, number])[]): number {
  return features.reduce((all, [bit, feature]) => all | (bits(register, bit, 1) === 1 ? feature : 0), 0);
}

/** 2^`mask` pages of 4 KiB, aligned, around `address`. */
function rangeOf(address: U64, mask: number): { readonly first: bigint; readonly last: bigint } {
  inRange('mask', mask, 0, 51);
  const size = 1n << BigInt(12 + mask);
  const first = BigInt(checkU64('address', address)) & ~(size - 1n) & LAST;
  return { first, last: first + size - 1n };
}

/** The number of a domain, 0 to 0xffff; without one all domains. */
function domainOf(did: number | undefined): number {
  return did === undefined ? ANY_DOMAIN : inRange('did', did, 0, 0xffff);
}

/** What a reference unit has, whatever the options say (iommu.md 5). */
const QEMU_ENTRIES = 1024;

/** Entries that the IOTLB of a unit with `options` has. */
export function iotlbEntriesOf({ vtdModel, iotlbEntries }: UnitOptions): number {
  return vtdModel === 'qemu72' ? QEMU_ENTRIES : iotlbEntries;
}

export class VtdUnit extends TranslationUnit {
  readonly kind = 'vtd';
  /** SAGAW is empty where the unit cannot translate: translation enable has no effect then. */
  private readonly canTranslate: boolean;
  /** CAP and ECAP registers. */
  readonly cap: U64;
  readonly ecap: U64;
  /** Address bits of the host (HAW). */
  readonly hostWidth: number;
  private readonly seed: number;
  private grants = new AtsGrants();

  /** Unit `index` of `core`, which has been reserved room. Throws ZtlpError for registers that do not fit. */
  constructor(
    core: Core,
    index: number,
    { cap, ecap, hostWidth, seed = 1 }: VtdUnitInput,
    options: UnitOptions,
  ) {
    super(core, index, options.splitFault);
    this.cap = checkU64('cap', cap);
    this.ecap = checkU64('ecap', ecap);
    this.hostWidth = hostWidth;
    const widths = bits(cap, 8, 5) & 0b1110;
    this.canTranslate = widths !== 0;
    const isQemu = options.vtdModel === 'qemu72';
    this.set(I.UNIT_HOST_WIDTH, inRange('hostWidth', hostWidth, 30, 52));
    this.set(I.UNIT_GUEST_WIDTH, bits(cap, 16, 6) + 1);
    this.set(I.UNIT_WIDTHS, widths);
    this.set(I.UNIT_FEATURES, featuresOf(cap, CAP_FEATURES) | featuresOf(ecap, ECAP_FEATURES));
    this.set(
      I.UNIT_MODEL,
      (isQemu ? I.MODEL_QEMU : 0) |
        (options.faultReasons === 'qemu72' ? I.MODEL_QEMU_REASONS : 0) |
        (options.interruptRangeCheck === 'byte' ? I.MODEL_BYTE_CHECK : 0) |
        (options.passThroughWidthCheck ? I.MODEL_WIDTH_CHECK : 0) |
        (options.pgsnpWithoutSc === 'ignore' ? I.MODEL_IGNORE_PGSNP : 0) |
        (options.passThroughSnoop === 'asSent' ? I.MODEL_PASS_AS_SENT : 0),
    );
    const records = bits(cap, 40, 8) + 1;
    if (records > I.FAULT_RECORDS)
      throw invalid('cap', cap, `up to ${I.FAULT_RECORDS} fault recording registers (NFR)`, 'unsupported');
    this.set(I.UNIT_RECORDS, records);
    this.set(I.UNIT_ENTRIES, iotlbEntriesOf(options));
    this.set(I.UNIT_STRUCTURES, isQemu ? 0 : options.pagingStructureEntries);
    this.set(I.UNIT_REPLACEMENT, isQemu ? I.REPLACE_FLUSH : REPLACEMENTS[options.iotlbReplacement]);
    this.set(I.UNIT_KEY, isQemu || options.iotlbKey === 'requester' ? I.KEY_REQUESTER : I.KEY_DOMAIN);
    this.seed = spread(seed);
    this.set(I.UNIT_KIND, I.UNIT_VTD);
    this.reset();
  }

  /** As after power-on: off, no root table, empty caches, no faults, no translations handed out. */
  reset(): void {
    this.set(I.UNIT_IS_ON, 0);
    this.set(I.UNIT_SEED, this.seed);
    this.grants = new AtsGrants();
    this.rootTable = 0;
    this.core.x.unitStart(this.index);
  }

  override translate(request: VtdRequest): UnitAnswer {
    needObject('request', request);
    const { at = 'untranslated', noWrite = false, noSnoop = false } = request;
    if (!Object.hasOwn(ADDRESS_TYPES, at)) throw invalid('at', at, Object.keys(ADDRESS_TYPES).join(', '));
    const answer = this.ask(request, ADDRESS_TYPES[at] | (noWrite ? I.REQUEST_NO_WRITE : 0));
    if (at === 'translation') {
      const completion = completionOf(answer);
      if (completion.status === 'success') this.grants.grant(request.sid, completion.entry);
    }
    const isViolation =
      at === 'translated' && noSnoop && this.grants.isViolation(request.sid, request.address);
    return answer.kind === 'translated' && isViolation ? { ...answer, translatedNsViolation: true } : answer;
  }

  /** RTADDR: address of the root table, and its mode in bits 11:10 (0 legacy, 1 scalable, 3 abort). Takes effect at once. */
  set rootTable(value: U64) {
    this.set64(I.UNIT_ROOT, checkU64('rootTable', value));
    // Its mode counts for requests that the IOTLB could answer, too; switching, to where it is, looks at it again.
    this.core.x.unitSwitch(this.index, this.get(I.UNIT_IS_ON));
  }

  get rootTable(): U64 {
    return this.get64(I.UNIT_ROOT);
  }

  /** Translation enable (GCMD.TE); without an address width it has no effect, and stays false. Caches are dropped. */
  set isOn(on: boolean) {
    this.core.x.unitSwitch(this.index, on && this.canTranslate ? 1 : 0);
    this.core.x.unitDropAll(this.index);
  }

  get isOn(): boolean {
    return this.get(I.UNIT_IS_ON) !== 0;
  }

  /** Global or domain-selective invalidation of the IOTLB. */
  invalidateIotlb(did?: number): void {
    this.dropPages(domainOf(did));
  }

  /**
   * Page-selective invalidation of domain `did`: 2^`mask` pages of 4 KiB, aligned, around `address`. With `keepTables` (IH)
   * software has changed leaves alone: what is kept of tables stays.
   */
  invalidatePages(did: number, address: U64, mask: number, keepTables = false): void {
    const { first, last } = rangeOf(address, mask);
    this.dropPages(domainOf(did), first, last, !keepTables);
  }

  /** Invalidation of context entries: of all, of a domain, or of a requester whose functions `mask` groups (FM, 0 to 3). */
  invalidateContexts(
    of: { readonly sid?: number; readonly mask?: number; readonly did?: number } = {},
  ): void {
    needObject('of', of);
    const { sid, mask = 0, did } = of;
    if (sid !== undefined) inRange('sid', sid, 0, 0xffff);
    // FM leaves out no bit, bit 2, bits 2:1, or all three of the function number.
    const least = [0, 4, 6, 7][inRange('mask', mask, 0, 3)] as number;
    this.core.x.unitDropContexts(this.index, sid ?? 0, sid === undefined ? 0xffff : least, domainOf(did));
  }

  /** Invalidation of PASID entries: of all, of a domain, or of one PASID in it. */
  invalidatePasidCache(of: { readonly did?: number; readonly pasid?: number } = {}): void {
    needObject('of', of);
    const { did, pasid } = of;
    this.core.x.unitDropPasids(
      this.index,
      domainOf(did),
      pasid === undefined ? ANY_DOMAIN : inRange('pasid', pasid, 0, 0xf_ffff),
    );
  }

  /**
   * PASID-based invalidation of the IOTLB in domain `did`: of all that the PASID uses, or with `pages` of 2^`mask` pages of its
   * first stage, aligned, around `address`, with `keepTables` (IH) but not of its tables. Second-stage pages do not know who used
   * them: without `pages` those of the domain go.
   */
  invalidatePasidPages(
    did: number,
    pasid: number,
    pages?: { readonly address: U64; readonly mask: number; readonly keepTables?: boolean },
  ): void {
    inRange('did', did, 0, 0xffff);
    inRange('pasid', pasid, 0, 0xf_ffff);
    const { first, last } =
      pages === undefined ? { first: 0n, last: LAST } : rangeOf(pages.address, pages.mask);
    const { x } = this.core;
    const [lo, hi, endLo, endHi] = [low32(first), high32(first), low32(last), high32(last)];
    const [others, tables] = [pages === undefined ? 1 : 0, pages?.keepTables === true ? 0 : 1];
    x.unitDropPasidPages(this.index, did, pasid, lo, hi, endLo, endHi, others, tables);
  }

  /** Fault recording register `n`, 0 to `records` - 1. */
  faultRecord(n: number): FaultRecord {
    const at = I.UNIT_FAULT_RECORDS + inRange('n', n, 0, this.records - 1) * I.FAULT_RECORD_BYTES;
    const pasid = this.get(at + I.FAULT_RECORD_PASID);
    const flags = this.get(at + I.FAULT_RECORD_FLAGS);
    const isTranslation = (flags & I.REQUEST_TRANSLATION) !== 0;
    return {
      isSet: this.get(at + I.FAULT_RECORD_IS_SET) !== 0,
      fault: {
        reason: this.get(at + I.FAULT_RECORD_REASON),
        sid: this.get(at + I.FAULT_RECORD_SID),
        ...(pasid === I.PASID_NONE ? {} : { pasid }),
        page: this.get64(at),
        isWrite: (flags & I.REQUEST_WRITE) !== 0,
      },
      isPrivileged: (flags & I.REQUEST_PRIVILEGED) !== 0,
      addressType: isTranslation ? 1 : (flags & I.REQUEST_TRANSLATED) !== 0 ? 2 : 0,
    };
  }

  /** Fault recording registers that there are. */
  get records(): number {
    return this.get(I.UNIT_RECORDS);
  }

  /** Fault records that software has not cleared, oldest register first. */
  get faults(): UnitFault[] {
    return Array.from({ length: this.records }, (_, n) => this.faultRecord(n))
      .filter(({ isSet }) => isSet)
      .map(({ fault }) => fault);
  }

  /** PFO, PPF and FRI as FSTS has them. */
  get faultStatusBits(): number {
    return this.get(I.UNIT_FAULT_STATUS);
  }

  /** FSTS: PPF, a record is set; PFO, faults were lost. */
  get faultStatus(): { readonly pending: boolean; readonly overflow: boolean } {
    const status = this.get(I.UNIT_FAULT_STATUS);
    return { pending: (status & I.FAULT_PENDING) !== 0, overflow: (status & I.FAULT_OVERFLOW) !== 0 };
  }

  /** Software writes 1 to F of every record, and to PFO. */
  clearFaults(): void {
    for (let n = 0; n < this.records; n++) this.clearFault(n);
    this.clearOverflow();
  }

  /** Software writes 1 to F of record `n`. */
  clearFault(n: number): void {
    this.core.x.unitClearFault(this.index, inRange('n', n, 0, this.records - 1));
  }

  /** Software writes 1 to PFO. */
  clearOverflow(): void {
    this.core.x.unitClearFault(this.index, 0xffff_ffff);
  }
}
