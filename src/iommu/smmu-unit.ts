/** An SMMUv3 with both stages in the core: its registers, commands that drop what it keeps, and its events. */
import * as I from '../../assembly/iommu-layout.js';
import { inRange, invalid } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import {
  ANY_DOMAIN,
  flagFeatures,
  type HardwareFlags,
  LAST,
  REPLACEMENTS,
  spread,
  TranslationUnit,
} from './unit.js';

/** Options that an SMMU follows. */
export type SmmuOptions = Pick<
  Options,
  'iotlbEntries' | 'iotlbReplacement' | 'pagingStructureEntries' | 'smmuModel' | 'splitFault'
>;

export interface SmmuUnitInput {
  /** Address bits of its outputs (OAS of IDR5), 32 to 48. */
  readonly outputWidth: number;
  /** Log2 of the substreams (PASIDs) of a stream (SSIDSIZE of IDR1), 0 to 20. Default 20; the reference has none. */
  readonly substreamBits?: number;
  /** Flags in tables that hardware sets where a context or stream says so (HTTU of IDR0). Default none. */
  readonly hardwareFlags?: HardwareFlags;
  /**
   * Firmware declares that the root complex is coherent whatever attributes say (CANWBS of the IORT): pages of any memory type
   * are, and No Snoop means nothing (iommu.md 8.4). Default false.
   */
  readonly canwbs?: boolean;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default 1. */
  readonly seed?: number;
}

/** An event record (iommu.md 4.5). */
export interface SmmuEvent {
  /** 0x02 C_BAD_STREAMID to 0x13 F_PERMISSION (iommu.md 11.2). */
  readonly type: number;
  readonly sid: number;
  /** Address of the request. */
  readonly address: U64;
  /** Address of the structure that could not be read. */
  readonly fetch: U64;
  readonly isRead: boolean;
  /** PnU: the request was privileged. */
  readonly isPrivileged?: true;
  /** 0 context descriptor, 1 table, 2 input. */
  readonly class: number;
  /** Of a request with a PASID. */
  readonly substream?: number;
  /** Of a fault of stage 2: the intermediate address; of F_WALK_EABT, where the entry stands. */
  readonly intermediate?: U64;
}

const PAGE_LAST = 4095n;
const ALL_BITS = 0xffff_ffff;
// Flags of an event.
const IS_READ = 1;
const OF_STAGE_2 = 8;
const IS_PRIVILEGED = 16;
// Kinds of pages in the TLB.
const STAGE_1 = 0;
const STAGE_2 = 1;
const ANY_KIND = 0xffff_ffff;

/** What pages of an address space are known by: VMID above, ASID below. */
const VMID_BITS = 0xffff_0000;

function tagOf(vmid: number, asid: number): number {
  return ((inRange('vmid', vmid, 0, 0xffff) << 16) | inRange('asid', asid, 0, 0xffff)) >>> 0;
}

/** FEATURE_* of CANWBS. Throws ZtlpError for what is no boolean. */
export function coherentFeatures(canwbs: boolean | undefined, field = 'canwbs'): number {
  if (canwbs !== undefined && typeof canwbs !== 'boolean') throw invalid(field, canwbs, 'true, false');
  return canwbs === true ? I.FEATURE_COHERENT : 0;
}

export class SmmuUnit extends TranslationUnit {
  readonly kind = 'smmuv3';
  /** Address bits of its outputs (OAS). */
  readonly outputWidth: number;
  /** Log2 of the substreams (PASIDs) that a stream can have. */
  readonly substreamBits: number;
  /** Coherent whatever the attributes are. */
  readonly canwbs: boolean;
  private readonly seed: number;

  /** Unit `index` of `core`, which has been reserved room. Throws ZtlpError for a width out of range. */
  constructor(core: Core, index: number, input: SmmuUnitInput, options: SmmuOptions) {
    super(core, index, options.splitFault);
    const { outputWidth, substreamBits = 20, hardwareFlags, canwbs, seed = 1 } = input;
    const isQemu = options.smmuModel === 'qemu72';
    this.canwbs = canwbs ?? false;
    this.substreamBits = isQemu ? 0 : inRange('substreamBits', substreamBits, 0, 20);
    this.set(I.UNIT_SUBSTREAM_BITS, this.substreamBits);
    this.set(I.UNIT_FEATURES, (isQemu ? 0 : flagFeatures(hardwareFlags)) | coherentFeatures(canwbs));
    this.set(I.UNIT_KIND, I.UNIT_SMMU);
    this.outputWidth = inRange('outputWidth', outputWidth, 32, 48);
    this.set(I.UNIT_HOST_WIDTH, outputWidth);
    this.set(I.UNIT_MODEL, isQemu ? I.MODEL_QEMU : 0);
    this.set(I.UNIT_RECORDS, 0);
    this.set(I.UNIT_ENTRIES, options.iotlbEntries);
    this.set(I.UNIT_STRUCTURES, isQemu ? 0 : options.pagingStructureEntries);
    this.set(I.UNIT_REPLACEMENT, REPLACEMENTS[options.iotlbReplacement]);
    // Pages belong to address spaces, of which a requester may have many: `iotlbKey` has no meaning here.
    this.set(I.UNIT_KEY, I.KEY_DOMAIN);
    this.seed = spread(seed);
    this.reset();
  }

  /** As after power-on: off, no stream table, empty caches, no events. */
  reset(): void {
    this.set(I.UNIT_IS_ON, 0);
    this.set(I.UNIT_SEED, this.seed);
    this.set(I.UNIT_ABORTS, 0);
    this.setStreamTable(0, 0);
    this.core.x.unitStart(this.index);
  }

  /** STRTAB_BASE, and STRTAB_BASE_CFG: FMT in bits 17:16, SPLIT in 10:6, LOG2SIZE in 5:0. */
  setStreamTable(base: U64, config: number): void {
    this.set64(I.UNIT_ROOT, checkU64('base', base));
    this.set(I.UNIT_STREAMS, inRange('config', config, 0, 0xffff_ffff));
  }

  /** CR0.SMMUEN; off, requests pass as they are unless `abortsAll` says otherwise. */
  set isOn(on: boolean) {
    this.core.x.unitSwitch(this.index, on ? 1 : 0);
  }

  get isOn(): boolean {
    return this.get(I.UNIT_IS_ON) !== 0;
  }

  /** GBPA.ABORT: while the unit is off, requests are aborted without an event. */
  set abortsAll(aborts: boolean) {
    this.set(I.UNIT_ABORTS, aborts ? 1 : 0);
  }

  get abortsAll(): boolean {
    return this.get(I.UNIT_ABORTS) !== 0;
  }

  /** TLBI_NSNH_ALL; with `asid` TLBI_NH_ASID, of the virtual machine `vmid`. */
  invalidateTlb(asid?: number, vmid = 0): void {
    if (asid === undefined) this.dropPages(ANY_DOMAIN);
    else this.drop(tagOf(vmid, asid), ALL_BITS, STAGE_1);
  }

  /**
   * TLBI_NH_VA: the page of `address`, of whatever size it is kept; without `asid` TLBI_NH_VAA. With `keepTables` (Leaf) software
   * has changed the last level alone: what is kept of tables stays.
   */
  invalidateAddress(asid: number | undefined, address: U64, vmid = 0, keepTables = false): void {
    const mask = asid === undefined ? VMID_BITS : ALL_BITS;
    this.drop(tagOf(vmid, asid ?? 0), mask, STAGE_1, address, keepTables);
  }

  /** TLBI_NH_ALL: the pages of stage 1 of `vmid`, or of both stages; with `isAll` also those of stage 2: TLBI_S12_VMALL. */
  invalidateVm(vmid: number, isAll = false): void {
    this.drop(tagOf(vmid, 0), VMID_BITS, isAll ? ANY_KIND : STAGE_1);
  }

  /** TLBI_S2_IPA: the page of stage 2 alone that has the intermediate address; `keepTables` (Leaf) as above. */
  invalidateIntermediate(vmid: number, address: U64, keepTables = false): void {
    this.drop(tagOf(vmid, 0), ALL_BITS, STAGE_2, address, keepTables);
  }

  /** Drops what has the bits of `tag` where `mask` has ones; with `address` only the page of it. */
  private drop(tag: number, mask: number, kind: number, address?: U64, keepTables = false): void {
    const first = address === undefined ? 0n : BigInt(checkU64('address', address)) & ~PAGE_LAST;
    const last = address === undefined ? LAST : first + PAGE_LAST;
    this.core.x.unitDropTagged(
      this.index,
      tag,
      mask,
      kind,
      low32(first),
      high32(first),
      low32(last),
      high32(last),
      keepTables ? 0 : 1,
    );
  }

  /** CFGI_STE or CFGI_CD of stream `sid`, with all its substreams; without it CFGI_ALL. */
  invalidateConfig(sid?: number): void {
    if (sid === undefined) this.core.x.unitDropContexts(this.index, 0, 0xffff_ffff, ANY_DOMAIN);
    else this.core.x.unitDropContexts(this.index, sid, 0, ANY_DOMAIN);
  }

  /** Events since they were taken last: those that there was room for, and how many there were. */
  takeEvents(): { readonly events: SmmuEvent[]; readonly count: number } {
    return this.takeRecords((at) => {
      const flags = this.get(at + I.EVENT_FLAGS);
      const substream = this.get(at + I.EVENT_DETAIL);
      const fetch = this.get64(at + I.EVENT_FETCH);
      return {
        type: this.get(at + I.EVENT_TYPE),
        sid: this.get(at + I.EVENT_SID),
        address: this.get64(at + I.EVENT_ADDRESS),
        fetch: (flags & OF_STAGE_2) === 0 ? fetch : 0,
        isRead: (flags & IS_READ) !== 0,
        class: (flags >>> 1) & 3,
        ...((flags & IS_PRIVILEGED) === 0 ? {} : { isPrivileged: true as const }),
        ...(substream === I.PASID_NONE ? {} : { substream }),
        ...((flags & OF_STAGE_2) === 0 ? {} : { intermediate: fetch }),
      };
    });
  }
}
