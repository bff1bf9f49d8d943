/** A zPCI machine written from sheet zpci.md alone: the functions, their states, and what any instruction may touch. */
import { ENABLE_BIT, type FunctionShape, MUI_NS, type State } from './types.js';

export interface Translation {
  readonly pba: bigint;
  readonly pal: bigint;
  readonly iota: bigint;
}

export interface Interrupts {
  readonly isc: number;
  readonly noi: number;
  readonly aibvo: number;
  readonly sum: boolean;
  readonly aisbo: number;
  readonly aibv: bigint;
  readonly aisb: bigint;
}

/** What the translation cache holds of a page. */
export interface CachedPage {
  readonly frame: bigint;
  readonly writable: boolean;
}

/** zpci.md 1.1: software-handled marker of the modes. */
const MARKERS = { emulated: 0x0002_0000, vfio: 0x0001_0000, native: 0 } as const;
const NOT_ENABLED: readonly State[] = ['reserved', 'standby', 'disabled'];
const BUS_MASTER = 4;

export class ReferenceFunction {
  state: State = 'enabled';
  hasEnableBit = true;
  /** Control software has named the function: from then on its DMA is translated or refused. */
  isControlled = false;
  translation: Translation | undefined;
  interrupts: Interrupts | undefined;
  /** Address of the measurement block, 0: none. */
  fmb = 0n;
  readonly cache = new Map<bigint, CachedPage>();
  readonly stats = { loads: 0, stores: 0, storeBlocks: 0, refreshes: 0 };
  readonly bars: readonly (Uint8Array | undefined)[];
  readonly config: Uint8Array;

  constructor(
    readonly slot: number,
    readonly shape: FunctionShape,
  ) {
    this.bars = shape.bars.map((bar) => bar && new Uint8Array(bar.size));
    this.config = shape.config.slice();
  }

  get bareHandle(): number {
    return MARKERS[this.shape.mode] + this.shape.index;
  }

  get handle(): number {
    return this.hasEnableBit ? this.bareHandle + ENABLE_BIT : this.bareHandle;
  }

  get isBusMaster(): boolean {
    return ((this.config[4] as number) & BUS_MASTER) !== 0;
  }

  /** The enable bit follows the state; a permanent error leaves it as it was (1.2). */
  become(state: State): void {
    this.state = state;
    if (state !== 'permanent-error') this.hasEnableBit = !NOT_ENABLED.includes(state);
  }

  register(translation: Translation | undefined): void {
    this.translation = translation;
    this.cache.clear();
  }

  /** As firmware hands the device over. */
  resetDevice(): void {
    for (const bar of this.bars) bar?.fill(0);
    this.config.set(this.shape.config);
  }
}

/** The next update of a measurement block. */
interface Update {
  readonly due: number;
  readonly fn: ReferenceFunction;
  readonly address: bigint;
  readonly samples: number;
}

export const messageText = (slot: number, data: number): string => `message of slot ${slot}: ${data}`;

export class Reference {
  readonly functions: readonly ReferenceFunction[];
  readonly memory: Uint8Array;
  readonly view: DataView;
  /** Events, adapter interrupts and results of DMA since they were last taken, as text. */
  seen: string[] = [];
  ns = 0;
  /** By ISC: single-interrupt mode, and whether its one interrupt was given. */
  readonly single = new Array<boolean>(8).fill(false);
  readonly given = new Array<boolean>(8).fill(false);
  private updates: Update[] = [];

  constructor(shapes: readonly FunctionShape[], memory: Uint8Array) {
    this.functions = shapes.map((shape, slot) => new ReferenceFunction(slot, shape));
    this.memory = memory;
    this.view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  }

  /** All 32 bits have to be right (1.1). */
  byHandle(fh: number): ReferenceFunction | undefined {
    return this.functions.find(({ handle }) => handle === fh);
  }

  byIndex(fh: number): ReferenceFunction | undefined {
    return this.functions.find(({ shape }) => shape.index === (fh & 0xffff));
  }

  readable(address: bigint, length: number): boolean {
    return address + BigInt(length) <= BigInt(this.memory.length);
  }

  event(fn: ReferenceFunction, code: number, address: bigint, isRead = false): void {
    this.seen.push(eventText(fn.slot, fn.handle, code, address, isRead));
  }

  /** An error of the function's DMA or of its tables (5.6). */
  fault(fn: ReferenceFunction, code: number, address: bigint, isRead = false): void {
    fn.become('error');
    this.event(fn, code, address, isRead);
  }

  /** Section 6.4. */
  message(fn: ReferenceFunction, data: number): void {
    if (fn.state !== 'enabled' || fn.interrupts === undefined) return;
    const { aibv, aibvo, sum, aisb, aisbo, isc } = fn.interrupts;
    this.setBit(aibv, aibvo + (data & 0x7ff));
    // QEMU does not look at the flag; the recorded case counts that as its own fault.
    if (!sum) return;
    if (this.setBit(aisb, aisbo) !== 0) return;
    if (this.single[isc] === true && this.given[isc] === true) return;
    this.given[isc] = true;
    this.seen.push(interruptText(fn.slot, isc, this.ns));
  }

  /** Sets a bit counted from the left; the byte as it was. */
  private setBit(base: bigint, bit: number): number {
    const at = Number(base) + (bit >> 3);
    const before = this.memory[at] as number;
    this.memory[at] = before | (0x80 >> (bit & 7));
    return before;
  }

  /** Every registration starts anew; address 0 stops the updates. */
  measure(fn: ReferenceFunction, address: bigint): void {
    this.updates = this.updates.filter((update) => update.fn !== fn);
    fn.fmb = address;
    if (address !== 0n) this.updates.push({ due: this.ns + MUI_NS, fn, address, samples: 0 });
  }

  /** Updates of its measurement block are to come. */
  isMeasured(fn: ReferenceFunction): boolean {
    return this.updates.some((update) => update.fn === fn);
  }

  /** Time goes by: measurement blocks are updated when they are due, those of one instant in the order of their setting. */
  run(ns: number): void {
    const end = this.ns + ns;
    for (;;) {
      let next: Update | undefined;
      for (const update of this.updates) if (next === undefined || update.due < next.due) next = update;
      if (next === undefined || next.due > end) break;
      this.updates = this.updates.filter((update) => update !== next);
      this.ns = next.due;
      if (this.update(next))
        this.updates.push({ ...next, due: next.due + MUI_NS, samples: next.samples + 1 });
    }
    this.ns = end;
  }

  /** Section 7: the stores of one update, in their order. False: one of them failed. */
  private update({ fn, address, samples }: Update): boolean {
    const { loads, stores, storeBlocks, refreshes } = fn.stats;
    // The TOD clock ticks 4096 times in a microsecond.
    const tod = (BigInt(this.ns) * 4096n) / 1000n;
    const put = (offset: number, bytes: 4 | 8, value: bigint): boolean => {
      const at = address + BigInt(offset);
      if (!this.readable(at, bytes)) {
        this.event(fn, 0x2a, at);
        return false;
      }
      if (bytes === 4) this.view.setUint32(Number(at), Number(value));
      else this.view.setBigUint64(Number(at), value);
      return true;
    };
    return (
      put(8, 8, (tod << 1n) | 1n) &&
      put(4, 4, BigInt(samples)) &&
      put(16, 8, BigInt(loads)) &&
      put(24, 8, BigInt(stores)) &&
      put(32, 8, BigInt(storeBlocks)) &&
      put(40, 8, BigInt(refreshes)) &&
      put(8, 8, tod << 1n)
    );
  }
}

export function eventText(
  slot: number,
  handle: number,
  code: number,
  address: bigint,
  isRead: boolean,
): string {
  return `event 0x${code.toString(16)} of slot ${slot} (${handle.toString(16)}) at 0x${address.toString(16)}${isRead ? ' reading' : ''}`;
}

export function interruptText(slot: number, isc: number, ns: number): string {
  return `interrupt of slot ${slot} on ISC ${isc} at ${ns}`;
}
