/** Domains on a VT-d unit: root, context and PASID entries in legacy and scalable mode (iommu.md 2.2, 2.3). */
import { inRange, invalid } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';
import { DomainUnit, type FunctionId, notOffered, type Target } from './domain-unit.js';
import { vtdFirst } from './formats/vtd-first.js';
import { vtdSecond } from './formats/vtd-second.js';
import { X86_INTERRUPTS } from './iova.js';
import { silentHardware } from './silent.js';
import { allocateFilled, type TableMemory } from './table-memory.js';
import { bits } from './unit.js';

/** What software does with the registers of a unit; `VtdUnit` has it. */
export interface VtdHardware {
  set rootTable(value: U64);
  set isOn(on: boolean);
  invalidateContexts(of: { readonly sid?: number }): void;
  invalidateIotlb(did: number): void;
  invalidatePages(did: number, address: U64, mask: number): void;
}

export interface VtdDomainUnitInput {
  /** Left out: only tables are written. */
  readonly hardware?: VtdHardware;
  /** Where tables are. */
  readonly memory: TableMemory;
  /** CAP and ECAP registers of the unit. */
  readonly cap: U64;
  readonly ecap: U64;
  /** Address bits of the host, 30 to 52. */
  readonly hostWidth: number;
  /** Default `legacy`. */
  readonly mode?: (typeof MODES)[number];
  /** Stage of the tables of domains; `first` needs scalable mode. Default `second`. */
  readonly stage?: (typeof STAGES)[number];
  /** Bits of PASIDs that directories have room for, 13 to what the unit takes (ECAP.PSS). Default 13. */
  readonly pasidBits?: number;
}

const MODES = ['legacy', 'scalable'] as const;
const STAGES = ['second', 'first'] as const;
// Context entries.
const PRESENT = 1n;
const PASID_ENABLE = 8n;
const TT_PASS_THROUGH = 2n << 2n;
const DID_SHIFT = 8n;
const PDTS_SHIFT = 9n;
// PASID entries.
const PGTT_FIRST = 1n << 6n;
const PGTT_SECOND = 2n << 6n;
const PGTT_PASS_THROUGH = 4n << 6n;
const AW_SHIFT = 2n;
/** PGSNP: No Snoop is taken away on all pages. */
const PAGE_SNOOP = 1n << 24n;
const FIVE_LEVELS = 1n << 2n;
/** RTADDR: scalable mode. */
const SCALABLE = 1n << 10n;
const POINTER = ~0xfffn;
/** Number of the domain in entries that pass addresses through. */
const PASS_THROUGH_ID = 1;
/** PASIDs of a table; PASIDs that the smallest directory has. */
const TABLE_LG2 = 6;
const LEAST_PASID_BITS = 13;

export class VtdDomainUnit extends DomainUnit {
  readonly architecture = 'vtd';
  readonly capabilities;
  readonly reserved = [X86_INTERRUPTS];
  readonly keepsAbsent: boolean;
  readonly format;
  protected readonly ids;
  private readonly hardware: VtdHardware;
  private readonly memory: TableMemory;
  private readonly isScalable: boolean;
  private readonly canPass: boolean;
  private readonly hasPasids: boolean;
  private readonly pasidBits: number;
  /** Bits of the PASIDs that requests can have. */
  private readonly usedBits: number;
  /** The largest mask of a page-selective invalidation; -1: there is none. */
  private readonly mask: number;
  private readonly root: bigint;
  private readonly contexts = new Map<number, bigint>();
  /** PASID directories by requester. */
  private readonly directories = new Map<number, bigint>();

  /** Writes an empty root table and turns translation on. Throws ZtlpError for a mode that the registers do not offer. */
  constructor(input: VtdDomainUnitInput) {
    super(input.memory);
    const {
      hardware = silentHardware(),
      memory,
      mode = 'legacy',
      stage = 'second',
      pasidBits = LEAST_PASID_BITS,
    } = input;
    const cap = checkU64('cap', input.cap);
    const ecap = checkU64('ecap', input.ecap);
    if (!MODES.includes(mode)) throw invalid('mode', mode, MODES.join(', '));
    if (!STAGES.includes(stage)) throw invalid('stage', stage, STAGES.join(', '));
    const isScalable = mode === 'scalable';
    const canEnforce = bits(ecap, 7, 1) === 1;
    if (isScalable && bits(ecap, 43, 1) === 0)
      throw notOffered('mode: the unit has no scalable mode (ECAP.SMTS)');
    if (stage === 'first' && !isScalable)
      throw invalid('mode', mode, 'scalable, for tables of the first stage');
    if (stage === 'first' && bits(ecap, 47, 1) === 0)
      throw notOffered('stage: the unit has no first stage (ECAP.FLTS)');
    this.capabilities = { cacheCoherency: true, enforceCap: canEnforce };
    this.keepsAbsent = bits(cap, 7, 1) === 1;
    this.format = stage === 'first' ? firstOf(cap, input.hostWidth) : secondOf(cap, input.hostWidth);
    this.ids = { first: PASS_THROUGH_ID + 1, last: 2 ** Math.min(16, 4 + 2 * bits(cap, 0, 3)) - 1 };
    this.hardware = hardware;
    this.memory = memory;
    this.isScalable = isScalable;
    this.canPass = bits(ecap, 6, 1) === 1;
    this.hasPasids = isScalable && bits(ecap, 40, 1) === 1;
    // Directories have room for 13 bits at least, also where the unit takes fewer.
    const taken = this.hasPasids ? Math.min(bits(ecap, 35, 5) + 1, 20) : 0;
    this.pasidBits = inRange('pasidBits', pasidBits, LEAST_PASID_BITS, Math.max(LEAST_PASID_BITS, taken));
    this.usedBits = Math.min(taken, this.pasidBits);
    this.mask = bits(cap, 39, 1) === 1 ? bits(cap, 48, 6) : -1;
    this.root = allocateFilled(memory, 4096);
    hardware.rootTable = this.root | (isScalable ? SCALABLE : 0n);
    hardware.isOn = true;
  }

  bind(fn: FunctionId, target: Target): void {
    if (fn.pasid !== undefined && !this.hasPasids)
      throw notOffered('pasid: the unit takes no requests with a PASID');
    if (target.kind === 'identity' && !this.canPass)
      throw notOffered('the unit cannot pass addresses through (ECAP.PT)');
    const id = target.kind === 'tables' ? target.id : target.kind === 'identity' ? PASS_THROUGH_ID : null;
    if (this.isScalable) this.writePasidEntry(fn, this.pasidEntryOf(target));
    else this.writePair(this.contextAt(fn.sid, 16n), this.contextOf(target));
    this.dropFunction(fn.sid, id);
  }

  unbind(fn: FunctionId, id: number | null): void {
    if (!this.isScalable) this.writePair(this.contextAt(fn.sid, 16n), [0n, 0n]);
    else this.writePasidEntry(fn, [0n, 0n, 0n]);
    this.dropFunction(fn.sid, id ?? PASS_THROUGH_ID);
  }

  forget(id: number, first: bigint, last: bigint): void {
    // The smallest aligned power of two of pages that covers the range.
    let mask = 0;
    while (first >> BigInt(12 + mask) !== last >> BigInt(12 + mask)) mask++;
    if (mask > this.mask) this.hardware.invalidateIotlb(id);
    else this.hardware.invalidatePages(id, first, mask);
  }

  private dropFunction(sid: number, id: number | null): void {
    this.hardware.invalidateContexts({ sid });
    if (id !== null) this.hardware.invalidateIotlb(id);
  }

  /** Both words of a legacy context entry. */
  private contextOf(target: Target): [bigint, bigint] {
    if (target.kind === 'blocked') return [0n, 0n];
    const width = BigInt(this.format.levels - 2);
    if (target.kind === 'identity')
      return [PRESENT | TT_PASS_THROUGH, width | (BigInt(PASS_THROUGH_ID) << DID_SHIFT)];
    return [target.root | PRESENT, width | (BigInt(target.id) << DID_SHIFT)];
  }

  /** The three words of a PASID entry that are not 0. */
  private pasidEntryOf(target: Target): [bigint, bigint, bigint] {
    if (target.kind === 'blocked') return [0n, 0n, 0n];
    const width = BigInt(this.format.levels - 2) << AW_SHIFT;
    if (target.kind === 'identity') return [PRESENT | PGTT_PASS_THROUGH | width, BigInt(PASS_THROUGH_ID), 0n];
    const { format, root, id, forces } = target;
    if (format.name !== 'vtd-first') return [PRESENT | PGTT_SECOND | width | root, BigInt(id), 0n];
    return [
      PRESENT | PGTT_FIRST,
      BigInt(id) | (forces ? PAGE_SNOOP : 0n),
      root | (format.levels === 5 ? FIVE_LEVELS : 0n),
    ];
  }

  /** The word with the present bit is written last. */
  private writePair(at: bigint, [low, high]: [bigint, bigint]): void {
    this.memory.write64(at + 8n, high);
    this.memory.write64(at, low);
  }

  private writePasidEntry(fn: FunctionId, [low, middle, high]: [bigint, bigint, bigint]): void {
    const at = this.pasidEntryAt(fn);
    this.memory.write64(at + 16n, high);
    this.writePair(at, [low, middle]);
  }

  /** Address of the context entry of `sid`, of `bytes` bytes. */
  private contextAt(sid: number, bytes: bigint): bigint {
    // In scalable mode each half of the functions of a bus has a table of its own.
    const half = this.isScalable ? (sid >> 7) & 1 : 0;
    const key = (sid >> 8) * 2 + half;
    let table = this.contexts.get(key);
    if (table === undefined) {
      table = allocateFilled(this.memory, 4096);
      this.contexts.set(key, table);
      this.memory.write64(this.root + 16n * BigInt(sid >> 8) + 8n * BigInt(half), table | PRESENT);
    }
    return table + bytes * BigInt(sid & (this.isScalable ? 0x7f : 0xff));
  }

  /** Address of the entry of a PASID; requests without one have that of PASID 0 (RID_PASID). */
  private pasidEntryAt({ sid, pasid = 0 }: FunctionId): bigint {
    if (pasid >> this.usedBits !== 0)
      throw invalid('pasid', pasid, `up to ${2 ** this.usedBits - 1}`, 'out-of-range');
    const { memory } = this;
    let directory = this.directories.get(sid);
    if (directory === undefined) {
      // What may throw comes before what says that it is done.
      const context = this.contextAt(sid, 32n);
      directory = allocateFilled(memory, Math.max(4096, 8 * 2 ** (this.pasidBits - TABLE_LG2)));
      const size = BigInt(this.pasidBits - LEAST_PASID_BITS) << PDTS_SHIFT;
      const first = directory | PRESENT | (this.hasPasids ? PASID_ENABLE : 0n) | size;
      this.writePair(context, [first, 0n]);
      this.directories.set(sid, directory);
    }
    const slot = directory + 8n * BigInt(pasid >> TABLE_LG2);
    let table = memory.read64(slot) & POINTER;
    if (table === 0n) {
      table = allocateFilled(memory, 4096);
      memory.write64(slot, table | PRESENT);
    }
    return table + 64n * BigInt(pasid & 63);
  }
}

/**
 * Tables for 48 bits where the unit has them, else 39, else 57; pages as CAP.SLLPS says. Of the addresses that the tables
 * have, the unit takes those of CAP.MGAW.
 */
function secondOf(cap: U64, hostWidth: number): ReturnType<typeof vtdSecond> {
  const width = [48, 39, 57].find((one) => bits(cap, 8 + (one - 30) / 9, 1) === 1);
  if (width === undefined) throw invalid('cap', cap, 'a width in SAGAW');
  const largest = bits(cap, 35, 1) === 1 && bits(cap, 34, 1) === 1 ? 30 : bits(cap, 34, 1) === 1 ? 21 : 12;
  return { ...vtdSecond({ width, hostWidth, largest }), width: Math.min(width, bits(cap, 16, 6) + 1) };
}

/** Four levels; pages of 1 GiB as CAP.FL1GP says. */
function firstOf(cap: U64, hostWidth: number): ReturnType<typeof vtdFirst> {
  return vtdFirst({ hostWidth, largest: bits(cap, 56, 1) === 1 ? 30 : 21 });
}
