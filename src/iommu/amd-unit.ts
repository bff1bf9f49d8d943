/** An AMD-Vi unit with host tables (v1) in the core: its registers, commands that drop what it keeps, and its events. */
import * as I from '../../assembly/iommu-layout.js';
import { inRange, invalid } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, type U64 } from '../core/u64.js';
import {
  ANY_DOMAIN,
  flagFeatures,
  type HardwareFlags,
  LAST,
  REPLACEMENTS,
  spread,
  TranslationUnit,
} from './unit.js';

/** Options that an AMD-Vi unit follows. */
export type AmdOptions = Pick<
  Options,
  'iotlbEntries' | 'iotlbKey' | 'iotlbReplacement' | 'pagingStructureEntries' | 'splitFault'
>;

export interface AmdUnitInput {
  /** Flags in tables that hardware sets where a device table entry (HAD) says so. Default none: HAD is reserved. */
  readonly hardwareFlags?: HardwareFlags;
  /** Seed of `iotlbReplacement: random`, 0 to 2^32 - 1. Default 1. */
  readonly seed?: number;
}

/** An entry of the event log (AMD 48882 section 2.5, iommu.md 3). */
export interface AmdEvent {
  /** 1 ILLEGAL_DEV_TABLE_ENTRY, 2 IO_PAGE_FAULT, 3 DEV_TAB_, 4 PAGE_TAB_HARDWARE_ERROR, 8 INVALID_DEVICE_REQUEST. */
  readonly type: number;
  readonly sid: number;
  /** Of the device table entry; 0 where it was not looked at. */
  readonly domain: number;
  /** Address of the request; of 3 and 4, of the entry that could not be read. */
  readonly address: U64;
  /** AMD_* of iommu-layout.ts: I 0x08, PR 0x10, RW 0x20, PE 0x40, RZ 0x80, GN 0x01. */
  readonly flags: number;
}

/** Bytes of a page of the device table, and of an entry. */
const TABLE_PAGE = 4096;
const ENTRY = 32;

export class AmdUnit extends TranslationUnit {
  readonly kind = 'amd';
  private readonly seed: number;

  /** Unit `index` of `core`, which has been reserved room. Throws ZtlpError for input out of range. */
  constructor(core: Core, index: number, input: AmdUnitInput, options: AmdOptions) {
    super(core, index, options.splitFault);
    this.set(I.UNIT_KIND, I.UNIT_AMD);
    this.set(I.UNIT_FEATURES, flagFeatures(input.hardwareFlags));
    this.set(I.UNIT_MODEL, 0);
    this.set(I.UNIT_RECORDS, 0);
    this.set(I.UNIT_ENTRIES, options.iotlbEntries);
    this.set(I.UNIT_STRUCTURES, options.pagingStructureEntries);
    this.set(I.UNIT_REPLACEMENT, REPLACEMENTS[options.iotlbReplacement]);
    this.set(I.UNIT_KEY, options.iotlbKey === 'requester' ? I.KEY_REQUESTER : I.KEY_DOMAIN);
    this.seed = spread(input.seed ?? 1);
    this.reset();
  }

  /** As after power-on: off, no device table, empty caches, no events. */
  reset(): void {
    this.set(I.UNIT_IS_ON, 0);
    this.set(I.UNIT_SEED, this.seed);
    this.setDeviceTable(0, 1);
    this.core.x.unitStart(this.index);
  }

  /** Device Table Base Address Register: `base` a multiple of 4 KiB below 2^52, `pages` of 128 entries, 1 to 512. */
  setDeviceTable(base: U64, pages: number): void {
    if (BigInt(checkU64('base', base)) % BigInt(TABLE_PAGE) !== 0n || BigInt(base) >= 1n << 52n)
      throw invalid('base', base, 'a multiple of 4096 below 2^52');
    this.set64(I.UNIT_ROOT, base);
    this.set(I.UNIT_STREAMS, (inRange('pages', pages, 1, 512) * TABLE_PAGE) / ENTRY);
  }

  /** IommuEn of the control register; off, requests pass as they are. */
  set isOn(on: boolean) {
    this.core.x.unitSwitch(this.index, on ? 1 : 0);
  }

  get isOn(): boolean {
    return this.get(I.UNIT_IS_ON) !== 0;
  }

  /** INVALIDATE_DEVTAB_ENTRY of requester `sid`; without it all of them, as INVALIDATE_IOMMU_ALL does. */
  invalidateDevices(sid?: number): void {
    const ignored = sid === undefined ? 0xffff_ffff : 0;
    this.core.x.unitDropContexts(this.index, inRange('sid', sid ?? 0, 0, 0xffff), ignored, ANY_DOMAIN);
  }

  /** All pages of `domain`; without it of every domain. */
  invalidateDomain(domain?: number): void {
    this.dropPages(domain === undefined ? ANY_DOMAIN : inRange('domain', domain, 0, 0xffff));
  }

  /**
   * INVALIDATE_IOMMU_PAGES: the page at `address`; with `isLarge` (S) the size is in the address, as in a page table: n ones
   * from bit 12 up are 2^(13 + n) bytes, ones up to bit 62 are everything. With `keepTables` (PDE is 0) what is kept of tables
   * stays.
   */
  invalidatePages(domain: number, address: U64, isLarge = false, keepTables = false): void {
    inRange('domain', domain, 0, 0xffff);
    const at = BigInt(checkU64('address', address)) >> 12n;
    let lg2 = 12n;
    if (isLarge) for (lg2 = 13n; lg2 < 64n && ((at >> (lg2 - 13n)) & 1n) === 1n; lg2++);
    const size = (1n << lg2) - 1n;
    const first = (at << 12n) & ~size & LAST;
    this.dropPages(domain, first, first | size, !keepTables);
  }

  /** Events since they were taken last: those that there was room for, and how many there were. */
  takeEvents(): { readonly events: AmdEvent[]; readonly count: number } {
    return this.takeRecords((at) => ({
      type: this.get(at + I.EVENT_TYPE),
      sid: this.get(at + I.EVENT_SID),
      domain: this.get(at + I.EVENT_DETAIL),
      address: this.get64(at + I.EVENT_ADDRESS),
      flags: this.get(at + I.EVENT_FLAGS),
    }));
  }
}
