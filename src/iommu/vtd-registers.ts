/** The register page of a VT-d unit, as drivers reach it (iommu.md 2.1, specification 11.4). */
import { inRange, invalid } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { checkU64, join64, type U64 } from '../core/u64.js';
import { bits } from './unit.js';
import type { UnitMemory } from './unit-memory.js';
import {
  type DeviceInvalidation,
  descriptorBytes,
  HINT,
  runContexts,
  runDescriptor,
  takesMask,
} from './vtd-queue.js';
import type { VtdUnit } from './vtd-unit.js';

const VER = 0x00;
const CAP = 0x08;
const ECAP = 0x10;
const GCMD = 0x18;
const GSTS = 0x1c;
const RTADDR = 0x20;
const CCMD = 0x28;
const FSTS = 0x34;
const FECTL = 0x38;
const IQH = 0x80;
const IQT = 0x88;
const IQA = 0x90;
const ICS = 0x9c;
const IECTL = 0xa0;
const IRTA = 0xb8;
const PAGE = 4096;

// GCMD and GSTS: bits that stay, and those that do something once.
const TRANSLATION = 2 ** 31;
const ROOT_POINTER = 2 ** 30;
const QUEUE = 2 ** 26;
const INTERRUPTS = 2 ** 25;
const INTERRUPT_POINTER = 2 ** 24;
const COMPATIBILITY = 2 ** 23;
const VERSION = 0x10;
/** FSTS: queue error, and all that raises an event. */
const QUEUE_ERROR = 1 << 4;
const OVERFLOW = 1;
const EVENTS = 0x13;
/** FECTL and IECTL: masked, pending. */
const MASKED = 2 ** 31;
const PENDING = 2 ** 30;
/** Bit 31 of the upper half of CCMD and IOTLB: the command is to be done. F of a fault record stands there too. */
const COMMAND = 2 ** 31;
const WIDE = 1 << 11;
/** Registers that keep what is written, with the bits that can be. */
const STORED: ReadonlyMap<number, number> = new Map([
  [RTADDR, 0xffff_fc00],
  [RTADDR + 4, 0xffff_ffff],
  [CCMD, 0xffff_ffff],
  [FECTL + 4, 0xffff],
  [FECTL + 8, 0xffff_fffc],
  [FECTL + 12, 0xffff_ffff],
  [IQA, 0xffff_f807],
  [IQA + 4, 0xffff_ffff],
  [IECTL + 4, 0xffff],
  [IECTL + 8, 0xffff_fffc],
  [IECTL + 12, 0xffff_ffff],
  [IRTA, 0xffff_f80f],
  [IRTA + 4, 0xffff_ffff],
]);

export interface VtdRegistersInput {
  readonly unit: VtdUnit;
  /** Where the invalidation queue is: of a machine, `machine.memory.forUnits()`. */
  readonly memory: UnitMemory;
  /** An interrupt of the unit itself: a write of `data` to `address`. */
  readonly interrupt?: (address: U64, data: number) => void;
  /** Invalidations of device TLBs. They count as answered when this returns. */
  readonly invalidateDevice?: (request: DeviceInvalidation) => void;
}

const KEYS = keysOf<VtdRegistersInput>({
  unit: true,
  memory: true,
  interrupt: true,
  invalidateDevice: true,
});

/**
 * The page of 4 KiB of a unit, with the invalidation queue behind it. What is written takes effect before `write` returns.
 * After a reset of the unit make a new one. Throws ZtlpError for an access that is not aligned, of other sizes, or outside.
 */
export class VtdRegisters {
  /** 32-bit words by offset; what was never written is 0. */
  private readonly words = new Map<number, number>([
    [FECTL, MASKED],
    [IECTL, MASKED],
  ]);
  private readonly unit: VtdUnit;
  /** IVA and IOTLB, and the first fault record. */
  private readonly invalidation: number;
  private readonly records: number;
  /** TTM of the root table that is in use. */
  private mode = 0;
  private hasQueueError = false;
  private hadEvents = false;

  constructor(private readonly input: VtdRegistersInput) {
    checkKeys('', input, KEYS);
    this.unit = input.unit;
    this.invalidation = bits(this.unit.ecap, 8, 10) * 16;
    this.records = bits(this.unit.cap, 24, 10) * 16;
  }

  /** Reads 4 or 8 bytes at `offset`, a multiple of them. What is no register reads as 0. */
  read(offset: number, bytes: 4 | 8): U64 {
    checkAccess(offset, bytes);
    return bytes === 4 ? this.word(offset) : join64(this.word(offset), this.word(offset + 4));
  }

  /** Writes 4 or 8 bytes at `offset`; the lower half comes first. What is no register, or read-only, stays as it is. */
  write(offset: number, bytes: 4 | 8, value: U64): void {
    checkAccess(offset, bytes);
    checkU64('value', value);
    this.setWord(offset, bits(value, 0, 32));
    if (bytes === 8) this.setWord(offset + 4, bits(value, 32, 32));
    this.checkFaults();
  }

  /** Raises the fault event if requests have left faults since: to be called after translations. */
  checkFaults(): void {
    const hasEvents = (this.faultStatus() & EVENTS) !== 0;
    if (hasEvents && !this.hadEvents) this.raise(FECTL);
    // Without a condition there is nothing left to tell.
    if (!hasEvents) this.store(FECTL, this.stored(FECTL) & MASKED);
    this.hadEvents = hasEvents;
  }

  private word(offset: number): number {
    if (offset === VER) return VERSION;
    if (offset === CAP || offset === CAP + 4) return bits(this.unit.cap, (offset - CAP) * 8, 32);
    if (offset === ECAP || offset === ECAP + 4) return bits(this.unit.ecap, (offset - ECAP) * 8, 32);
    if (offset === FSTS) return this.faultStatus();
    const record = offset - this.records;
    if (record >= 0 && record < this.unit.records * 16) return this.recordWord(record >> 4, record & 12);
    return this.stored(offset);
  }

  private setWord(offset: number, value: number): void {
    const mask = STORED.get(offset);
    const record = offset - this.records;
    if (mask !== undefined) this.store(offset, value & mask);
    else if (offset === GCMD) this.command(value);
    else if (offset === CCMD + 4) this.contextCommand(value);
    else if (offset === this.invalidation || offset === this.invalidation + 4) this.store(offset, value);
    else if (offset === this.invalidation + 8) this.store(offset, 0);
    else if (offset === this.invalidation + 12) this.iotlbCommand(value);
    else if (offset === FSTS) this.clearStatus(value);
    else if (offset === FECTL || offset === IECTL) this.control(offset, value);
    else if (offset === ICS) this.clearCompletion(value);
    else if (offset === IQT) this.moveTail(value);
    else if ((record & 15) === 12 && record >= 0 && record < this.unit.records * 16 && value >= COMMAND)
      this.unit.clearFault(record >> 4);
  }

  private stored(offset: number): number {
    return this.words.get(offset) ?? 0;
  }

  private store(offset: number, value: number): void {
    this.words.set(offset, value >>> 0);
  }

  private stored64(offset: number): bigint {
    return BigInt(join64(this.stored(offset), this.stored(offset + 4)));
  }

  /** GCMD: the pointers are taken over once, the other bits are states. */
  private command(value: number): void {
    const has = (bit: number, word: number): boolean => (word & bit) !== 0;
    let status = this.stored(GSTS);
    if (has(ROOT_POINTER, value)) {
      this.unit.rootTable = this.stored64(RTADDR);
      this.mode = bits(this.stored(RTADDR), 10, 2);
      // ESRTPS: nothing that is kept outlives the pointer.
      if (bits(this.unit.cap, 63, 1) === 1) this.dropAll();
      status |= ROOT_POINTER;
    }
    if (has(INTERRUPT_POINTER, value)) status |= INTERRUPT_POINTER;
    if (has(TRANSLATION, value) !== has(TRANSLATION, status)) this.unit.isOn = has(TRANSLATION, value);
    if (!has(QUEUE, value)) this.store(IQH, 0);
    // Units without a queue, or without interrupt remapping, have no state of it.
    const queue = bits(this.unit.ecap, 1, 1) === 1 ? QUEUE : 0;
    const interrupts = bits(this.unit.ecap, 3, 1) === 1 ? INTERRUPTS | COMPATIBILITY : 0;
    const states = TRANSLATION | queue | interrupts;
    this.store(GSTS, (status & ~states) | (value & states));
    this.runQueue();
  }

  private dropAll(): void {
    this.unit.invalidateContexts();
    this.unit.invalidatePasidCache();
    this.unit.invalidateIotlb();
  }

  /** Commands through registers are for units without a queue in use: with one they are done with no granularity (0). */
  private get takesCommands(): boolean {
    return (this.stored(GSTS) & QUEUE) === 0;
  }

  /** Upper half of CCMD: ICC, CIRG in bits 62:61, what was done in 60:59; function mask and requester in 33:16. */
  private contextCommand(value: number): void {
    const granularity = bits(value, 29, 2);
    const isDone =
      value >= COMMAND &&
      this.takesCommands &&
      runContexts(this.unit, this.mode, granularity, {
        did: bits(this.stored(CCMD), 0, 16),
        sid: bits(this.stored(CCMD), 16, 16),
        mask: bits(value, 0, 2),
      });
    this.store(CCMD + 4, (value & 0x6000_0003) | (isDone ? granularity << 27 : 0));
  }

  /** Upper half of IOTLB: IVT, IIRG in bits 61:60, what was done in 58:57, DR, DW, domain. */
  private iotlbCommand(value: number): void {
    const did = bits(value, 0, 16);
    let granularity = value >= COMMAND && this.takesCommands ? bits(value, 28, 2) : 0;
    const address = this.stored64(this.invalidation);
    const mask = bits(address, 0, 6);
    // A range that is too wide is done for the domain.
    if (granularity === 3 && !takesMask(this.unit, mask)) granularity = 2;
    if (granularity === 1) this.unit.invalidateIotlb();
    else if (granularity === 2) this.unit.invalidateIotlb(did);
    else if (granularity === 3)
      this.unit.invalidatePages(did, address & ~0xfffn, mask, bits(address, HINT, 1) === 1);
    this.store(this.invalidation + 12, (value & 0x3003_ffff) | (granularity << 25));
  }

  private faultStatus(): number {
    return this.unit.faultStatusBits | (this.hasQueueError ? QUEUE_ERROR : 0);
  }

  private clearStatus(value: number): void {
    if ((value & OVERFLOW) !== 0) this.unit.clearOverflow();
    if ((value & QUEUE_ERROR) === 0 || !this.hasQueueError) return;
    this.hasQueueError = false;
    this.checkFaults();
    this.runQueue();
  }

  /** Half of a fault record: address; requester, privilege and PASID present; reason, PASID, address type, read, F. */
  private recordWord(n: number, part: number): number {
    const { isSet, fault, isPrivileged, addressType } = this.unit.faultRecord(n);
    const { reason, sid, pasid, page, isWrite } = fault;
    if (part < 8) return bits(page, part * 8, 32);
    if (part === 8) return (sid | (isPrivileged ? 2 ** 29 : 0) | (pasid === undefined ? 0 : 2 ** 31)) >>> 0;
    const type = (addressType << 28) | (isWrite ? 0 : 2 ** 30) | (isSet ? COMMAND : 0);
    return (reason | ((pasid ?? 0) << 8) | type) >>> 0;
  }

  /** FECTL, IECTL: with the mask taken away, a pending event is raised. */
  private control(offset: number, value: number): void {
    const isPending = (this.stored(offset) & PENDING) !== 0;
    const isMasked = value >= MASKED;
    this.store(offset, (isMasked ? MASKED : 0) + (isPending && isMasked ? PENDING : 0));
    if (isPending && !isMasked) this.send(offset);
  }

  private raise(control: number): void {
    if ((this.stored(control) & MASKED) === 0) this.send(control);
    else this.store(control, MASKED + PENDING);
  }

  /** Data, address and its upper half follow the control register. */
  private send(control: number): void {
    this.input.interrupt?.(this.stored64(control + 8) as U64, this.stored(control + 4));
  }

  private clearCompletion(value: number): void {
    if ((value & 1) === 0) return;
    this.store(ICS, 0);
    this.store(IECTL, this.stored(IECTL) & MASKED);
  }

  private moveTail(value: number): void {
    this.store(IQT, value & 0x7_fff0);
    this.runQueue();
  }

  /** Fetches descriptors until head meets tail, or one is not valid: then the head stays on it. */
  private runQueue(): void {
    if ((this.stored(GSTS) & QUEUE) === 0) return;
    const { unit, memory, invalidateDevice } = this.input;
    const queue = this.stored64(IQA);
    const isWide = (this.stored(IQA) & WIDE) !== 0;
    const step = descriptorBytes(isWide);
    const end = PAGE * 2 ** bits(queue, 0, 3);
    const complete = (): void => {
      if (this.stored(ICS) !== 0) return;
      this.store(ICS, 1);
      this.raise(IECTL);
    };
    const context = { unit, memory, invalidateDevice, mode: this.mode, complete };
    while (!this.hasQueueError && this.stored(IQH) !== this.stored(IQT)) {
      const head = this.stored(IQH);
      const tail = this.stored(IQT);
      const isInside = head < end && tail < end && tail % step === 0 && head % step === 0;
      const words = isInside ? this.fetch((queue & ~0xfffn) + BigInt(head), step / 8) : undefined;
      if (words === undefined || !runDescriptor(words, context)) this.hasQueueError = true;
      else this.store(IQH, (head + step) % end);
    }
  }

  private fetch(at: bigint, count: number): bigint[] | undefined {
    const words: bigint[] = [];
    for (let n = 0; n < count; n++) {
      const word = this.input.memory.read64(at + BigInt(n * 8));
      if (word === undefined) return undefined;
      words.push(word);
    }
    return words;
  }
}

function checkAccess(offset: number, bytes: 4 | 8): void {
  if (bytes !== 4 && bytes !== 8) throw invalid('bytes', bytes, '4, 8');
  if (inRange('offset', offset, 0, PAGE - bytes) % bytes !== 0)
    throw invalid('offset', offset, `a multiple of ${bytes}`);
}
