/** The command buffer and the event log of an AMD-Vi unit in memory (AMD 48882 sections 2.4, 2.5; iommu.md 3). */
import { inRange } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';
import type { AmdEvent, AmdUnit } from './amd-unit.js';
import { bits } from './unit.js';
import type { UnitMemory } from './unit-memory.js';

/** What a command sends elsewhere: to the TLB of a device, or to what keeps interrupt tables. */
export type AmdMessage =
  | {
      readonly kind: 'iotlb-invalidate';
      readonly sid: number;
      readonly address: bigint;
      /** The size stands in the address, as in a page table. */
      readonly isLarge: boolean;
    }
  | { readonly kind: 'interrupts-invalidate'; readonly sid: number };

const PAGE = 0xfffn;
const ILLEGAL_COMMAND_ERROR = 5;
const COMMAND_HARDWARE_ERROR = 6;

/** The place of a ring, from a base register: address in bits 51:12, log2 of its entries in bits 59:56. */
class Ring {
  readonly base: bigint;
  readonly bytes: number;
  head = 0;
  tail = 0;

  constructor(name: string, register: U64) {
    const word = BigInt(checkU64(name, register));
    this.base = word & 0x000f_ffff_ffff_f000n;
    this.bytes = 16 * 2 ** inRange(`${name}.length`, bits(word, 56, 4), 8, 15);
  }

  /** An offset as its register holds it: a multiple of 16 within the ring. */
  offset(value: number): number {
    return (value & ~15) % this.bytes;
  }

  next(offset: number): number {
    return (offset + 16) % this.bytes;
  }
}

/**
 * The command buffer and the event log of `unit`, whose registers are its properties. `new AmdQueues(unit,
 * machine.memory.forUnits())` has them in the memory of a machine. After a reset of the unit make new ones.
 */
export class AmdQueues {
  private commands: Ring | undefined;
  private log: Ring | undefined;
  private isStopped = false;
  private hasOverflow = false;
  private hasWaited = false;

  constructor(
    private readonly unit: AmdUnit,
    private readonly memory: UnitMemory,
    /** Takes what commands send elsewhere. */
    private readonly send: (message: AmdMessage) => void = () => undefined,
  ) {}

  /** Command Buffer Base Address Register, and CmdBufEn. Offsets begin at 0. */
  startCommands(base: U64): void {
    this.commands = new Ring('commandBase', base);
    this.isStopped = false;
  }

  /** Event Log Base Address Register, and EventLogEn. */
  startLog(base: U64): void {
    this.log = new Ring('eventBase', base);
    this.hasOverflow = false;
  }

  /** Command buffer tail, in bytes. What the buffer holds is consumed at once. */
  set commandTail(value: number) {
    const { commands } = this;
    if (commands === undefined) return;
    commands.tail = commands.offset(inRange('commandTail', value, 0, 0x7_fff0));
    while (!this.isStopped && commands.head !== commands.tail) this.step(commands);
  }

  get commandTail(): number {
    return this.commands?.tail ?? 0;
  }

  get commandHead(): number {
    return this.commands?.head ?? 0;
  }

  /** CmdBufRun of the status register: an illegal command, or one that cannot be read, ends it. */
  get isRunning(): boolean {
    return this.commands !== undefined && !this.isStopped;
  }

  /** ComWaitInt: a COMPLETION_WAIT has asked for an interrupt; reading it clears it. */
  takeWaitInterrupt(): boolean {
    const hasWaited = this.hasWaited;
    this.hasWaited = false;
    return hasWaited;
  }

  /** Event log head, in bytes: software has read what is before it. */
  set logHead(value: number) {
    if (this.log !== undefined) this.log.head = this.log.offset(inRange('logHead', value, 0, 0x7_fff0));
  }

  get logHead(): number {
    return this.log?.head ?? 0;
  }

  /** Event log tail. Events that the unit has left are in the log then. */
  get logTail(): number {
    this.collect();
    return this.log?.tail ?? 0;
  }

  /** EventOverflow: the log was full, and takes nothing until it is started again. */
  get isOverflowed(): boolean {
    this.collect();
    return this.hasOverflow;
  }

  private step(commands: Ring): void {
    const at = commands.base + BigInt(commands.head);
    const low = this.memory.read64(at);
    const high = this.memory.read64(at + 8n);
    const isRead = low !== undefined && high !== undefined;
    if (isRead && this.run(low, high)) {
      commands.head = commands.next(commands.head);
      return;
    }
    this.isStopped = true;
    this.collect();
    const type = isRead ? ILLEGAL_COMMAND_ERROR : COMMAND_HARDWARE_ERROR;
    this.put({ type, sid: 0, domain: 0, address: at, flags: 0 });
  }

  /** False: the command is illegal. */
  private run(low: bigint, high: bigint): boolean {
    const { unit } = this;
    const sid = bits(low, 0, 16);
    // Guest tables are not offered: nothing is known by a PASID.
    const isGuest = bits(high, 2, 1) === 1;
    const isLarge = bits(high, 0, 1) === 1;
    switch (bits(low, 60, 4)) {
      case 1:
        return this.wait(low, high);
      case 2: // INVALIDATE_DEVTAB_ENTRY
        unit.invalidateDevices(sid);
        return true;
      case 3: // INVALIDATE_IOMMU_PAGES
        if (isGuest) return false;
        unit.invalidatePages(bits(low, 32, 16), high & ~PAGE, isLarge, bits(high, 1, 1) === 0);
        return true;
      case 4: // INVALIDATE_IOTLB_PAGES
        this.send({ kind: 'iotlb-invalidate', sid, address: high & ~PAGE, isLarge });
        return true;
      case 5: // INVALIDATE_INTERRUPT_TABLE
        this.send({ kind: 'interrupts-invalidate', sid });
        return true;
      case 8: // INVALIDATE_IOMMU_ALL
        unit.invalidateDevices();
        unit.invalidateDomain();
        return true;
      default:
        return false;
    }
  }

  /** COMPLETION_WAIT: all commands before are complete; S stores data, I asks for an interrupt. */
  private wait(low: bigint, high: bigint): boolean {
    // A word that cannot be written is lost.
    if (bits(low, 0, 1) === 1) this.memory.write64(low & 0x000f_ffff_ffff_fff8n, high);
    if (bits(low, 1, 1) === 1) this.hasWaited = true;
    return true;
  }

  private collect(): void {
    const { events, count } = this.unit.takeEvents();
    for (const event of events) this.put(event);
    if (this.log !== undefined && count > events.length) this.hasOverflow = true;
  }

  private put({ type, sid, domain, address, flags }: AmdEvent): void {
    const { log } = this;
    if (log === undefined || this.hasOverflow) return;
    if (log.next(log.tail) === log.head) {
      this.hasOverflow = true;
      return;
    }
    const at = log.base + BigInt(log.tail);
    const first = BigInt(sid) | (BigInt(domain) << 32n) | (BigInt(flags) << 48n) | (BigInt(type) << 60n);
    this.memory.write64(at, first);
    this.memory.write64(at + 8n, BigInt(address));
    log.tail = log.next(log.tail);
  }
}
