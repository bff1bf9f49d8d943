/** An SMMUv3 with stage 1 in the core: its registers, commands that drop what it keeps, and its events. */
import * as I from '../../assembly/iommu-layout.js';
import { inRange } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, type U64 } from '../core/u64.js';
import { ANY_DOMAIN, TranslationUnit } from './unit.js';

/** Options that an SMMU follows. */
export type SmmuOptions = Pick<Options, 'iotlbEntries' | 'smmuModel' | 'splitFault'>;

export interface SmmuUnitInput {
  /** Address bits of its outputs (OAS of IDR5), 32 to 48. */
  readonly outputWidth: number;
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
  /** 0 context descriptor, 1 table, 2 input. */
  readonly class: number;
}

const PAGE_LAST = 4095n;

export class SmmuUnit extends TranslationUnit {
  /** Unit `index` of `core`, which has been reserved room. Throws ZtlpError for a width out of range. */
  constructor(core: Core, index: number, { outputWidth }: SmmuUnitInput, options: SmmuOptions) {
    super(core, index, options.splitFault);
    this.set(I.UNIT_KIND, I.UNIT_SMMU);
    this.set(I.UNIT_HOST_WIDTH, inRange('outputWidth', outputWidth, 32, 48));
    this.set(I.UNIT_MODEL, options.smmuModel === 'qemu72' ? I.MODEL_QEMU : 0);
    this.set(I.UNIT_RECORDS, 0);
    this.set(I.UNIT_ENTRIES, options.iotlbEntries);
    this.set(I.UNIT_REPLACEMENT, I.REPLACE_LRU);
    this.set(I.UNIT_KEY, I.KEY_DOMAIN);
    this.reset();
  }

  /** As after power-on: off, no stream table, empty caches, no events. */
  reset(): void {
    this.set(I.UNIT_IS_ON, 0);
    this.setStreamTable(0, 0);
    this.core.x.unitStart(this.index);
  }

  /** STRTAB_BASE, and STRTAB_BASE_CFG: FMT in bits 17:16, SPLIT in 10:6, LOG2SIZE in 5:0. */
  setStreamTable(base: U64, config: number): void {
    this.set64(I.UNIT_ROOT, checkU64('base', base));
    this.set(I.UNIT_STREAMS, inRange('config', config, 0, 0xffff_ffff));
  }

  /** CR0.SMMUEN; off, requests pass as they are. */
  set isOn(on: boolean) {
    this.set(I.UNIT_IS_ON, on ? 1 : 0);
  }

  /** TLBI_NSNH_ALL, or TLBI_NH_ASID. */
  invalidateTlb(asid = ANY_DOMAIN): void {
    this.dropPages(asid);
  }

  /** TLBI_NH_VA: the page of `address`, of whatever size it is kept. */
  invalidateAddress(asid: number, address: U64): void {
    const first = BigInt(checkU64('address', address)) & ~PAGE_LAST;
    this.dropPages(asid, first, first + PAGE_LAST);
  }

  /** CFGI_STE or CFGI_CD of stream `sid`; without it CFGI_ALL. */
  invalidateConfig(sid?: number): void {
    if (sid === undefined) this.core.x.unitDropContexts(this.index, 0, 0xffff_ffff, ANY_DOMAIN);
    else this.core.x.unitDropContexts(this.index, sid, 0, ANY_DOMAIN);
  }

  /** Events since they were taken last: those that there was room for, and how many there were. */
  takeEvents(): { readonly events: SmmuEvent[]; readonly count: number } {
    const count = this.get(I.UNIT_EVENTS);
    this.set(I.UNIT_EVENTS, 0);
    const events = Array.from({ length: Math.min(count, I.EVENTS_MOST) }, (_, n) => {
      const at = I.UNIT_FAULT_RECORDS + n * I.EVENT_BYTES;
      const flags = this.get(at + I.EVENT_FLAGS);
      return {
        type: this.get(at + I.EVENT_TYPE),
        sid: this.get(at + I.EVENT_SID),
        address: this.get64(at + I.EVENT_ADDRESS),
        fetch: this.get64(at + I.EVENT_FETCH),
        isRead: (flags & 1) !== 0,
        class: flags >>> 1,
      };
    });
    return { events, count };
  }
}
