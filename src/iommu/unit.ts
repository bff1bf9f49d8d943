/** A translation unit in the core: what it answers to requests and transfers, whatever its kind. */
import * as I from '../../assembly/iommu-layout.js';
import * as L from '../../assembly/layout.js';
import { inRange, invalid, needObject } from '../base/errors.js';
import type { OptionValue } from '../base/options.js';
import type { Core } from '../core/core.js';
import { add64, checkU64, high32, join64, low32, type U64 } from '../core/u64.js';

/** Kinds of translation units, as `iommus` of a machine names them. */
export type UnitKind = 'vtd' | 'smmuv3' | 'amd';

/** A request for one access of a function. */
export interface UnitRequest {
  /** Requester ID: bus << 8 | device << 3 | function. */
  readonly sid: number;
  /** 20 bits. Left out: the request has no PASID. */
  readonly pasid?: number;
  readonly address: U64;
  readonly isWrite: boolean;
  /** Privileged mode requested. Default false. */
  readonly isPrivileged?: boolean;
}

/** What became of a request. `reasonName` says what the `reason` of a fault means. */
export type UnitAnswer =
  | {
      readonly kind: 'translated';
      readonly address: U64;
      /** Log2 of the bytes of the page; 63 where nothing was translated. */
      readonly pageLg2: number;
      readonly permissions: { readonly read: boolean; readonly write: boolean };
      /** The page takes No Snoop away from requests (iommu.md 8). */
      readonly forcesSnoop: boolean;
      /** SMMU: the memory type is write-back, or the root complex is coherent in any case. True elsewhere. */
      readonly isCacheable: boolean;
      readonly path: (typeof PATHS)[number];
      readonly iotlb: 'hit' | 'miss' | 'bypass';
      /** A translated request with No Snoop, where the translation forbade it (iommu.md 7). */
      readonly translatedNsViolation?: true;
    }
  | { readonly kind: 'fault'; readonly reason: number; readonly isRecorded: boolean }
  /** A write to the interrupt range: a message. */
  | { readonly kind: 'message' }
  /** Refused without a fault: a read of the interrupt range, or a quirk of the reference. */
  | { readonly kind: 'refused' };

/** A part of a transfer within a 4 KiB page. */
export interface UnitSegment {
  readonly address: U64;
  readonly bytes: number;
  readonly answer: UnitAnswer;
}

/** An entry that a walk read. */
export interface WalkStep {
  readonly what: (typeof STRUCTURES)[number] | `level ${number}` | `second-stage level ${number}`;
  readonly address: U64;
  readonly entry: U64;
}

const PATHS = ['off', 'pass-through', 'second-stage', 'first-stage', 'nested', 'translated'] as const;
const CACHES = ['bypass', 'hit', 'miss'] as const;
/** By WHAT_*, from WHAT_ROOT on. */
const STRUCTURES = [
  'root',
  'context',
  'PASID directory',
  'PASID',
  'stream list',
  'stream',
  'context descriptor',
  'device',
] as const;
const PAGE = 4096;
/** No domain: all of them. */
export const ANY_DOMAIN = 0xffff_ffff;
/** The last address. */
export const LAST = 0xffff_ffff_ffff_ffffn;

function word64(core: Core, block: number, offset: number): U64 {
  return join64(core.word(block, offset), core.word(block, offset + 4));
}

/** Bits `from` to `from` + `count` - 1 of a register. */
export function bits(value: U64, from: number, count: number): number {
  return Number((BigInt(value) >> BigInt(from)) & ((1n << BigInt(count)) - 1n));
}

function levelName(what: number): WalkStep['what'] {
  return what > I.WHAT_SECOND ? `second-stage level ${what - I.WHAT_SECOND}` : `level ${what}`;
}

/** For REPLACE_RANDOM: the generator must not begin with 0, and small seeds are alike in its high bits. */
export function spread(seed: number): number {
  return (Math.imul(inRange('seed', seed, 0, 0xffff_ffff) * 2 + 1, 0x9e37_79b1) | 1) >>> 0;
}

export const REPLACEMENTS = {
  lru: I.REPLACE_LRU,
  fifo: I.REPLACE_FIFO,
  random: I.REPLACE_RANDOM,
  flushWhenFull: I.REPLACE_FLUSH,
} as const;

/** Flags in tables that hardware sets: none, the access flag, or that and the dirty state of pages. */
export type HardwareFlags = 'none' | 'access' | 'dirty';

const FLAG_FEATURES = {
  none: 0,
  access: I.FEATURE_ACCESS_FLAG,
  dirty: I.FEATURE_ACCESS_FLAG | I.FEATURE_DIRTY_FLAG,
} as const;

/** FEATURE_* of what hardware sets. Throws ZtlpError for another word. */
export function flagFeatures(flags: HardwareFlags = 'none', field = 'hardwareFlags'): number {
  if (!Object.hasOwn(FLAG_FEATURES, flags))
    throw invalid(field, flags, Object.keys(FLAG_FEATURES).join(', '));
  return FLAG_FEATURES[flags];
}

export abstract class TranslationUnit {
  abstract readonly kind: UnitKind;

  protected constructor(
    protected readonly core: Core,
    protected readonly index: number,
    private readonly splitFault: OptionValue<'splitFault'>,
  ) {}

  /** Translates one access within a 4 KiB page. */
  translate(request: UnitRequest): UnitAnswer {
    return this.ask(request, 0);
  }

  /** The same with further REQUEST_* flags. */
  protected ask(request: UnitRequest, flags: number): UnitAnswer {
    needObject('request', request);
    const { sid, pasid, address, isWrite, isPrivileged = false } = request;
    inRange('sid', sid, 0, 0xffff);
    if (pasid !== undefined) inRange('pasid', pasid, 0, 0xf_ffff);
    checkU64('address', address);
    const { core } = this;
    const status = core.x.unitTranslate(
      this.index,
      sid,
      pasid ?? I.PASID_NONE,
      low32(address),
      high32(address),
      flags | (isWrite ? I.REQUEST_WRITE : 0) | (isPrivileged ? I.REQUEST_PRIVILEGED : 0),
    );
    const word = (offset: number): number => core.word(L.PLACE_UNIT_RESULT, offset);
    if (status === I.TRANSLATION_MESSAGE) return { kind: 'message' };
    if (status === I.TRANSLATION_REFUSED) return { kind: 'refused' };
    if (status === I.TRANSLATION_FAULT)
      return { kind: 'fault', reason: word(I.RESULT_REASON), isRecorded: word(I.RESULT_IS_RECORDED) === 1 };
    const permissions = word(I.RESULT_PERMISSIONS);
    return {
      kind: 'translated',
      address: word64(core, L.PLACE_UNIT_RESULT, I.RESULT_ADDRESS),
      pageLg2: word(I.RESULT_PAGE_LG2),
      permissions: {
        read: (permissions & I.PERMISSION_READ) !== 0,
        write: (permissions & I.PERMISSION_WRITE) !== 0,
      },
      forcesSnoop: word(I.RESULT_FORCES_SNOOP) === 1,
      isCacheable: (word(I.RESULT_TYPE) & I.TYPE_UNCACHEABLE) === 0,
      path: PATHS[word(I.RESULT_PATH)] ?? 'off',
      iotlb: CACHES[word(I.RESULT_CACHE)] ?? 'bypass',
    };
  }

  /** A transfer of `bytes`, cut at 4 KiB: each piece is translated by itself (iommu.md 1). */
  transfer(request: UnitRequest, bytes: number): UnitSegment[] {
    needObject('request', request);
    const end =
      BigInt(checkU64('address', request.address)) + BigInt(inRange('bytes', bytes, 1, 0x4000_0000));
    if (end > LAST + 1n)
      throw invalid(
        'address',
        request.address,
        `an address that leaves room for ${bytes} bytes`,
        'out-of-range',
      );
    const segments: UnitSegment[] = [];
    let { address } = request;
    for (let left = bytes; left > 0; ) {
      const piece = Math.min(left, PAGE - (low32(address) & (PAGE - 1)));
      const answer = this.translate({ ...request, address });
      segments.push({ address, bytes: piece, answer });
      if (this.splitFault === 'stopAtFirst' && answer.kind !== 'translated') break;
      left -= piece;
      address = add64(address, piece);
    }
    return segments;
  }

  /** What it did since it was made or reset. */
  get counters(): {
    readonly hits: number;
    readonly misses: number;
    readonly walkReads: number;
    /** Entries that walks need not read, as they began at a table that was kept (`pagingStructureEntries`). */
    readonly savedReads: number;
    readonly faults: number;
  } {
    const count = (offset: number): number => Number(this.get64(offset));
    return {
      hits: count(I.UNIT_HITS),
      misses: count(I.UNIT_MISSES),
      walkReads: count(I.UNIT_WALK_READS),
      savedReads: count(I.UNIT_SAVED_READS),
      faults: count(I.UNIT_FAULTS),
    };
  }

  /** The entries that the last `translate` read, in order; none once a function has sent a request behind any unit. */
  get steps(): WalkStep[] {
    const { core } = this;
    const count = Math.min(core.x.unitSteps(this.index), I.STEPS_MOST);
    return Array.from({ length: count }, (_, n) => {
      const at = n * I.STEP_STRIDE;
      const what = core.word(L.PLACE_UNIT_STEPS, at + I.STEP_WHAT);
      return {
        what: STRUCTURES[what - I.WHAT_ROOT] ?? levelName(what),
        address: word64(core, L.PLACE_UNIT_STEPS, at + I.STEP_ADDRESS),
        entry: word64(core, L.PLACE_UNIT_STEPS, at + I.STEP_VALUE),
      };
    });
  }

  /** Drops the translations of `did` (a domain, or an address space) that reach into [first, last], and what is kept of tables. */
  protected dropPages(did: number, first: U64 = 0, last: U64 = LAST, withTables = true): void {
    const [lo, hi, lastLo, lastHi] = [low32(first), high32(first), low32(last), high32(last)];
    this.core.x.unitDropPages(this.index, did, lo, hi, lastLo, lastHi, withTables ? 1 : 0);
  }

  /** Takes the events that the unit has left; `eventAt` reads the one whose record begins at an offset of the unit. */
  protected takeRecords<T>(eventAt: (at: number) => T): { readonly events: T[]; readonly count: number } {
    const count = this.get(I.UNIT_EVENTS);
    this.set(I.UNIT_EVENTS, 0);
    const events = Array.from({ length: Math.min(count, I.EVENTS_MOST) }, (_, n) =>
      eventAt(I.UNIT_FAULT_RECORDS + n * I.EVENT_BYTES),
    );
    return { events, count };
  }

  protected set(offset: number, value: number): void {
    this.core.setWord(L.PLACE_UNITS, this.index * I.UNIT_STRIDE + offset, value);
  }

  protected set64(offset: number, value: U64): void {
    this.core.setLong(L.PLACE_UNITS, this.index * I.UNIT_STRIDE + offset, value);
  }

  protected get(offset: number): number {
    return this.core.word(L.PLACE_UNITS, this.index * I.UNIT_STRIDE + offset);
  }

  protected get64(offset: number): U64 {
    return join64(this.get(offset), this.get(offset + 4));
  }
}
