/** Domains on an SMMUv3: stream table entries and context descriptors (iommu.md 4.4). */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import type { U64 } from '../core/u64.js';
import { DomainUnit, type FunctionId, notOffered, type Target } from './domain-unit.js';
import { lpaeStage1, lpaeStage2, MAIR } from './formats/lpae.js';
import { ARM_DOORBELLS } from './iova.js';
import { silentHardware } from './silent.js';
import { allocateFilled, type TableMemory } from './table-memory.js';

/** What software does with the registers and commands of a unit; `SmmuUnit` has it. */
export interface SmmuHardware {
  setStreamTable(base: U64, config: number): void;
  set isOn(on: boolean);
  invalidateTlb(asid?: number): void;
  invalidateAddress(asid: number, address: U64): void;
  invalidateConfig(sid: number): void;
}

export interface SmmuDomainUnitInput {
  /** Left out: only tables are written. */
  readonly hardware?: SmmuHardware;
  /** Where tables are. */
  readonly memory: TableMemory;
  /** Address bits of its outputs (OAS), 32 to 48. Default 44. */
  readonly outputWidth?: number;
  /** Bits of the addresses of domains, 25 to 48, of stage 2 up to `outputWidth`. Default the most. */
  readonly width?: number;
  /** Stage of the tables of domains. Default 1. */
  readonly stage?: 1 | 2;
  /** The stream table has 2^`streamBits` entries, 6 to 16. Default 8. */
  readonly streamBits?: number;
  /** Each stream has 2^`pasidBits` context descriptors (S1CDMax), 0 to 10. Default 0: no PASIDs. */
  readonly pasidBits?: number;
  /** COHACC of IDR0. Default true. */
  readonly coherent?: boolean;
  /** Firmware declares that the root complex is coherent whatever attributes say (CANWBS). Default false. */
  readonly canwbs?: boolean;
}

const VALID = 1n;
// STE.Config in bits 3:1.
const ABORT = 0n << 1n;
const BYPASS = 4n << 1n;
const STAGE_1 = 5n << 1n;
const STAGE_2 = 6n << 1n;
/** S1DSS 2: requests without PASID use descriptor 0; then tables are read through caches, inner shareable. */
const STAGE_1_HIGH = 2n | (1n << 2n) | (1n << 4n) | (3n << 6n);
/** SHCFG: shareability as it comes in. */
const SHARE_AS_IS = 1n << 44n;
const CD_MAX_SHIFT = 59n;
/** Tables are read through caches, write-back, inner shareable; AArch64; recorded (S2R); device memory holds no tables (S2PTW). */
const STAGE_2_WORD = (1n << 40n) | (1n << 42n) | (3n << 44n) | (1n << 51n) | (1n << 54n) | (1n << 58n);
/** IR0, OR0, SH0 alike; EPD1; V; AA64; R; A; ASET. */
const DESCRIPTOR =
  (1n << 8n) |
  (1n << 10n) |
  (3n << 12n) |
  (1n << 30n) |
  (1n << 31n) |
  (1n << 41n) |
  (1n << 45n) |
  (1n << 46n) |
  (1n << 47n);
/** Widths by number, as IPS and S2PS have them. */
const SIZES = [32, 36, 40, 42, 44, 48];
/** More pages than this are not named one by one. */
const MANY_PAGES = 512n;

export class SmmuDomainUnit extends DomainUnit {
  readonly architecture = 'smmu';
  readonly capabilities;
  readonly reserved = [ARM_DOORBELLS];
  readonly keepsAbsent = false;
  readonly format;
  protected readonly ids = { first: 1, last: 0xffff };
  private readonly hardware: SmmuHardware;
  private readonly memory: TableMemory;
  private readonly outputSize: bigint;
  private readonly streamBits: number;
  private readonly pasidBits: number;
  private readonly isSecond: boolean;
  private readonly streams: bigint;
  /** Streams whose entry says all: no context descriptors. */
  private readonly whole = new Set<number>();
  /** Tables of context descriptors by stream, and how many descriptors are in use. */
  private readonly descriptors = new Map<number, { readonly table: bigint; readonly inUse: Set<number> }>();

  /** Writes a stream table that aborts all streams and turns translation on. Throws ZtlpError for values out of range. */
  constructor(input: SmmuDomainUnitInput) {
    super(input.memory);
    const {
      hardware = silentHardware(),
      memory,
      outputWidth = 44,
      stage = 1,
      streamBits = 8,
      pasidBits = 0,
    } = input;
    if (stage !== 1 && stage !== 2) throw invalid('stage', stage, '1, 2');
    // Addresses before stage 2 are physical ones of a guest: no wider than those of the unit.
    const widest = stage === 2 ? outputWidth : 48;
    const { width = widest, coherent = true, canwbs = false } = input;
    if (width > widest) throw invalid('width', width, `up to ${widest}`, 'out-of-range');
    const size = SIZES.indexOf(outputWidth);
    if (size < 0) throw invalid('outputWidth', outputWidth, SIZES.join(', '));
    this.capabilities = { cacheCoherency: coherent, enforceCap: canwbs };
    this.format = (stage === 1 ? lpaeStage1 : lpaeStage2)({ width, outputWidth });
    this.hardware = hardware;
    this.memory = memory;
    this.outputSize = BigInt(size);
    this.streamBits = inRange('streamBits', streamBits, 6, 16);
    this.pasidBits = inRange('pasidBits', pasidBits, 0, 10);
    this.isSecond = stage === 2;
    this.streams = allocateFilled(memory, 64 * 2 ** streamBits);
    for (let sid = 0; sid < 2 ** streamBits; sid++) memory.write64(this.streamAt(sid), VALID | ABORT);
    hardware.setStreamTable(this.streams, streamBits);
    hardware.isOn = true;
  }

  bind(fn: FunctionId, target: Target): void {
    const { sid, pasid } = fn;
    if (sid >> this.streamBits !== 0)
      throw invalid('sid', sid, `up to ${2 ** this.streamBits - 1}`, 'out-of-range');
    if (pasid !== undefined && (this.isSecond || pasid >> this.pasidBits !== 0))
      throw notOffered(`pasid: a stream has ${2 ** this.pasidBits} context descriptors`);
    if (pasid !== undefined && target.kind !== 'tables')
      throw notOffered('pasid: only domains with tables take one');
    const isWhole = target.kind !== 'tables' || this.isSecond;
    if (isWhole ? this.descriptors.has(sid) : this.whole.has(sid))
      throw new ZtlpError('invalid-value', 'the stream is used with and without context descriptors', {
        field: 'sid',
        value: sid,
        errno: 'EBUSY',
      });
    if (isWhole) this.whole.add(sid);
    if (target.kind === 'tables' && !this.isSecond) this.bindFirst(fn, target);
    else if (target.kind === 'tables') this.writeStream(sid, this.secondOf(target));
    else this.writeStream(sid, [VALID | (target.kind === 'identity' ? BYPASS : ABORT), SHARE_AS_IS, 0n, 0n]);
    this.hardware.invalidateConfig(sid);
    if (target.kind === 'tables') this.forgetAll(target.id);
  }

  unbind(fn: FunctionId, id: number | null): void {
    const { sid, pasid = 0 } = fn;
    const found = this.descriptors.get(sid);
    this.whole.delete(sid);
    found?.inUse.delete(pasid);
    if (found !== undefined) this.memory.write64(found.table + 64n * BigInt(pasid), 0n);
    const isLast = found === undefined || found.inUse.size === 0;
    if (isLast) this.writeStream(sid, [VALID | ABORT, 0n, 0n, 0n]);
    this.hardware.invalidateConfig(sid);
    if (id !== null) this.forgetAll(id);
    if (found === undefined || !isLast) return;
    this.descriptors.delete(sid);
    this.memory.free(found.table);
  }

  forget(id: number, first: bigint, last: bigint): void {
    if (this.isSecond || (last - first) / 4096n >= MANY_PAGES) this.forgetAll(id);
    else for (let at = first; at <= last; at += 4096n) this.hardware.invalidateAddress(id, at);
  }

  /** All of an address space. Of the second stage all of the unit: commands by VMID are not used. */
  private forgetAll(id: number): void {
    if (this.isSecond) this.hardware.invalidateTlb();
    else this.hardware.invalidateTlb(id);
  }

  private streamAt(sid: number): bigint {
    return this.streams + 64n * BigInt(sid);
  }

  /** The word with the valid bit is written last. */
  private writeStream(sid: number, words: readonly [bigint, bigint, bigint, bigint]): void {
    const at = this.streamAt(sid);
    for (let n = 3; n >= 0; n--) this.memory.write64(at + 8n * BigInt(n), words[n] as bigint);
  }

  private bindFirst({ sid, pasid = 0 }: FunctionId, { format, root, id }: Target & { kind: 'tables' }): void {
    let found = this.descriptors.get(sid);
    if (found === undefined) {
      found = { table: allocateFilled(this.memory, 64 * 2 ** this.pasidBits), inUse: new Set() };
      this.descriptors.set(sid, found);
    }
    const at = found.table + 64n * BigInt(pasid);
    this.memory.write64(at + 24n, MAIR);
    this.memory.write64(at + 16n, 0n);
    this.memory.write64(at + 8n, root);
    this.memory.write64(
      at,
      DESCRIPTOR | BigInt(64 - format.width) | (this.outputSize << 32n) | (BigInt(id) << 48n),
    );
    found.inUse.add(pasid);
    const low = VALID | STAGE_1 | found.table | (BigInt(this.pasidBits) << CD_MAX_SHIFT);
    this.writeStream(sid, [low, STAGE_1_HIGH | SHARE_AS_IS, 0n, 0n]);
  }

  private secondOf({ format, root, id }: Target & { kind: 'tables' }): [bigint, bigint, bigint, bigint] {
    // S2SL0 counts levels from the last: 0 is level 2.
    const fields =
      (BigInt(64 - format.width) << 32n) | (BigInt(format.levels - 2) << 38n) | (this.outputSize << 48n);
    return [VALID | STAGE_2, SHARE_AS_IS, BigInt(id) | fields | STAGE_2_WORD, root];
  }
}
