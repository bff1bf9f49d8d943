/** The command queue and the event queue of an SMMUv3 in memory (specification 3.5, 4, 7; iommu.md 4.5, 5). */
import { inRange } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';
import type { SmmuEvent, SmmuUnit } from './smmu-unit.js';
import { bits } from './unit.js';
import { type UnitMemory, write32 } from './unit-memory.js';

/** What a command sends to a device: the unit has no part in it. */
export type SmmuMessage =
  | {
      readonly kind: 'atc-invalidate';
      readonly sid: number;
      readonly substream?: number;
      readonly address: bigint;
      /** Log2 of 4 KiB pages; 52 and more: everything. */
      readonly size: number;
    }
  | {
      readonly kind: 'page-response';
      readonly sid: number;
      readonly substream?: number;
      readonly group: number;
      /** 0 deny, 1 fail, 2 success. */
      readonly response: number;
    };

/** CERROR_* of CMDQ_CONS.ERR. */
const CERROR_NONE = 0;
const CERROR_ILL = 1;
const CERROR_ABT = 2;

const COMMAND = 16n;
const EVENT = 32n;
/** OVFLG and OVACKFLG. */
const FLAG = 0x8000_0000;
const PAGE = 0xfffn;
const IPA = 0x000f_ffff_ffff_f000n;
const F_STREAM_DISABLED = 0x06;
const C_BAD_SUBSTREAMID = 0x08;
const F_WALK_EABT = 0x0b;

/** The place of a queue: address and log2 of its entries, from a base register. */
class Ring {
  readonly base: bigint;
  readonly lg2: number;

  constructor(name: string, register: U64, entry: bigint) {
    const word = BigInt(checkU64(name, register));
    this.lg2 = inRange(`${name}.LOG2SIZE`, bits(word, 0, 5), 0, 19);
    const address = word & 0x000f_ffff_ffff_ffe0n;
    const size = entry << BigInt(this.lg2);
    this.base = address - (address % size);
  }

  /** Of a register: the index with its wrap bit. */
  at(register: number): number {
    return register & (2 ** (this.lg2 + 1) - 1);
  }

  next(index: number): number {
    return this.at(index + 1);
  }

  place(index: number, entry: bigint): bigint {
    return this.base + entry * BigInt(index & (2 ** this.lg2 - 1));
  }

  /** Full, or in a state that no producer leaves: the distance is as many entries as there are, or more. */
  isFull(prod: number, cons: number): boolean {
    return this.at(prod - cons) >= 2 ** this.lg2;
  }
}

/**
 * The queues of `unit`, whose registers are its properties. `new SmmuQueues(unit, machine.memory.forUnits())` has them in the
 * memory of a machine. After a reset of the unit make new ones.
 */
export class SmmuQueues {
  private commands: Ring | undefined;
  private events: Ring | undefined;
  private prod = 0;
  private cons = 0;
  private error = CERROR_NONE;
  private eventProd = 0;
  private eventCons = 0;

  constructor(
    private readonly unit: SmmuUnit,
    private readonly memory: UnitMemory,
    /** Takes what commands send to devices. */
    private readonly send: (message: SmmuMessage) => void = () => undefined,
  ) {}

  /** CMDQ_BASE with LOG2SIZE in bits 4:0, and CR0.CMDQEN. Indices begin at 0. */
  startCommands(base: U64): void {
    this.commands = new Ring('CMDQ_BASE', base, COMMAND);
    this.prod = 0;
    this.cons = 0;
    this.error = CERROR_NONE;
  }

  /** EVENTQ_BASE likewise, and CR0.EVENTQEN. */
  startEvents(base: U64): void {
    this.events = new Ring('EVENTQ_BASE', base, EVENT);
    this.eventProd = 0;
    this.eventCons = 0;
  }

  /** CMDQ_PROD: index and wrap bit. What the queue holds is consumed at once. */
  set commandProd(value: number) {
    this.prod = this.commands?.at(inRange('CMDQ_PROD', value, 0, 0xffff_ffff)) ?? 0;
    this.consume();
  }

  get commandProd(): number {
    return this.prod;
  }

  /** CMDQ_CONS: index and wrap bit, ERR in bits 30:24. */
  get commandCons(): number {
    return this.cons | (this.error << 24);
  }

  /** GERROR.CMDQ_ERR is active: nothing is consumed. */
  get hasCommandError(): boolean {
    return this.error !== CERROR_NONE;
  }

  /** Software acknowledges in GERRORN; the command that was wrong is read once more. */
  acknowledgeError(): void {
    this.error = CERROR_NONE;
    this.consume();
  }

  /** EVENTQ_CONS: index and wrap bit, OVACKFLG. */
  set eventConsumer(value: number) {
    this.eventCons = inRange('EVENTQ_CONS', value, 0, 0xffff_ffff);
  }

  get eventConsumer(): number {
    return this.eventCons;
  }

  /** EVENTQ_PROD: index and wrap bit, OVFLG. Events that the unit has left are in the queue then. */
  get eventProducer(): number {
    this.collect();
    return this.eventProd;
  }

  private consume(): void {
    const { commands } = this;
    if (commands === undefined) return;
    while (this.error === CERROR_NONE && this.cons !== this.prod) {
      const at = commands.place(this.cons, COMMAND);
      const low = this.memory.read64(at);
      const high = this.memory.read64(at + 8n);
      if (low === undefined || high === undefined) this.error = CERROR_ABT;
      else if (!this.run(low, high)) this.error = CERROR_ILL;
      else this.cons = commands.next(this.cons);
    }
  }

  /** False: the command is illegal. */
  private run(low: bigint, high: bigint): boolean {
    const { unit } = this;
    const sid = bits(low, 32, 32);
    const vmid = bits(low, 32, 16);
    const asid = bits(low, 48, 16);
    const address = high & ~PAGE;
    const isLeaf = bits(high, 0, 1) === 1;
    switch (bits(low, 0, 8)) {
      case 0x01: // PREFETCH_CONFIG
      case 0x02: // PREFETCH_ADDR
        return true;
      case 0x03: // CFGI_STE
      case 0x05: // CFGI_CD
      case 0x06: // CFGI_CD_ALL
        if (sid <= 0xffff) unit.invalidateConfig(sid);
        return true;
      case 0x04: // CFGI_STE_RANGE, and CFGI_ALL with a range of 31
        this.dropStreams(sid, bits(high, 0, 5));
        return true;
      case 0x10:
        unit.invalidateVm(vmid);
        return true;
      case 0x11:
        unit.invalidateTlb(asid, vmid);
        return true;
      case 0x12:
        unit.invalidateAddress(asid, address, vmid, isLeaf);
        return true;
      case 0x13:
        unit.invalidateAddress(undefined, address, vmid, isLeaf);
        return true;
      case 0x28:
        unit.invalidateVm(vmid, true);
        return true;
      case 0x2a:
        unit.invalidateIntermediate(vmid, high & IPA, isLeaf);
        return true;
      case 0x30:
        unit.invalidateTlb();
        return true;
      case 0x40: // ATC_INV
        this.send({ kind: 'atc-invalidate', sid, ...substreamOf(low), address, size: bits(high, 0, 6) });
        return true;
      case 0x41: // PRI_RESP
        if (bits(high, 12, 2) === 3) return false;
        this.send({
          kind: 'page-response',
          sid,
          ...substreamOf(low),
          group: bits(high, 0, 9),
          response: bits(high, 12, 2),
        });
        return true;
      case 0x46:
        return this.sync(low, high);
      default:
        return false;
    }
  }

  /** 2^(`range` + 1) streams, aligned, around `sid`. */
  private dropStreams(sid: number, range: number): void {
    // Requester IDs have 16 bits.
    if (range >= 15) {
      this.unit.invalidateConfig();
      return;
    }
    const count = 2 ** (range + 1);
    const first = sid - (sid % count);
    if (first > 0xffff) return;
    for (let n = 0; n < count; n++) this.unit.invalidateConfig(first + n);
  }

  /** All commands before are complete. CS 1 writes a message; 3 is reserved. */
  private sync(low: bigint, high: bigint): boolean {
    const signal = bits(low, 12, 2);
    const at = high & 0x000f_ffff_ffff_fffcn;
    // A message that cannot be written is lost, as any other.
    if (signal === 1 && at !== 0n) write32(this.memory, at, low >> 32n);
    return signal !== 3;
  }

  /** Moves the unit's events into the queue; what has no room there, or had none in the unit, is an overflow. */
  private collect(): void {
    const { events: ring } = this;
    const { events, count } = this.unit.takeEvents();
    if (ring === undefined) return;
    let lost = count - events.length;
    for (const event of events) if (!this.put(ring, event)) lost += 1;
    const isOver = ((this.eventProd ^ this.eventCons) & FLAG) !== 0;
    if (lost > 0 && !isOver) this.eventProd = (this.eventProd ^ FLAG) >>> 0;
  }

  private put(ring: Ring, event: SmmuEvent): boolean {
    const prod = ring.at(this.eventProd);
    if (ring.isFull(prod, ring.at(this.eventCons))) return false;
    const at = ring.place(prod, EVENT);
    for (const [n, word] of eventWords(event).entries()) this.memory.write64(at + 8n * BigInt(n), word);
    this.eventProd = ((this.eventProd & FLAG) | ring.next(prod)) >>> 0;
    return true;
  }
}

function substreamOf(low: bigint): { readonly substream?: number } {
  return bits(low, 11, 1) === 1 ? { substream: bits(low, 12, 20) } : {};
}

/** An event record: 4 words. */
function eventWords(event: SmmuEvent): bigint[] {
  const { type, sid, substream, intermediate } = event;
  const hasSubstream = substream !== undefined && type !== F_STREAM_DISABLED;
  // There the substream is always valid.
  const valid = hasSubstream && type !== C_BAD_SUBSTREAMID ? 1n << 11n : 0n;
  const first = BigInt(type) | valid | (BigInt(hasSubstream ? substream : 0) << 12n) | (BigInt(sid) << 32n);
  const second =
    (event.isRead ? 1n << 35n : 0n) |
    (event.isPrivileged === true ? 1n << 33n : 0n) |
    (intermediate === undefined ? 0n : 1n << 39n) |
    (BigInt(event.class) << 40n);
  const isEntry = intermediate === undefined || type === F_WALK_EABT;
  const last = isEntry ? BigInt(intermediate ?? event.fetch) : BigInt(intermediate) & ~PAGE;
  return [first, second, BigInt(event.address), last];
}
