/** The registers of one device instance: partial, unaligned and multi-register accesses solved once, for every model. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { didYouMean } from '../base/names.js';
import { checkFields, hex } from './check.js';
import {
  checkValue,
  type Register,
  type RegisterAccess,
  type RegisterMap,
  resolveRegisters,
} from './registers.js';
import type { ByteEnables } from './types.js';

// An access is any run of bytes. It is cut into the registers and the holes that it touches, in ascending order of
// offset. Each touched register has its side effect exactly once:
//
//   offset   0   1   2   3   4   5   6   7   8   9   a   b
//            [ CONTROL (4)  ][ STATUS (2)][ hole][ COUNT (4) ]
//   access           <----------- 8 bytes ---------->
//
// reads bytes 2 and 3 of CONTROL, all of STATUS, a hole (one miss) and bytes 0 and 1 of COUNT. A hook sees whole values:
// a write merges the bytes that it brings into what the register holds, also in a `wo` register, so that two writes of
// 4 bytes fill one of 8. Values are held as bytes as they lie in the BAR; byte order matters only to hooks and names.

export interface RegisterBankOptions<C> {
  /** Bytes that the bank spans: accesses lie within. */
  readonly size: number;
  /** Named in errors and warnings. */
  readonly name?: string;
  /** What bytes outside registers read as. Default 0. */
  readonly fill?: number;
  /** Called at the first access of each offset that no register holds (of the first 1024 such offsets). */
  readonly warn?: (message: string, offset: number) => void;
  /** Passed to the hooks. */
  readonly context: C;
}

/** One register for inspection. */
export interface RegisterView {
  readonly name: string;
  readonly offset: number;
  readonly width: 1 | 2 | 4 | 8;
  readonly access: RegisterAccess;
  readonly value: number | bigint;
  readonly reset: number | bigint;
  readonly description: string;
}

/** Values by name; 8-byte ones in hexadecimal text, so that JSON can hold them. */
export type SavedRegisters = Record<string, number | string>;

/** A register with its current bytes, as they lie in the BAR. */
interface Slot<C> {
  readonly register: Register<C>;
  readonly bytes: Uint8Array;
  readonly mask: Uint8Array;
}

const MAX_WARNINGS = 1024;

/** `Narrow` and `Wide` are the names of registers up to 4 bytes and of 8 bytes. */
export class RegisterBank<Narrow extends string = string, Wide extends string = string, C = unknown> {
  /** Accesses of bytes that no register holds: one per hole that an access touches. */
  misses = 0;
  /** Writes of a part of a register that takes whole ones: dropped. */
  refused = 0;
  private readonly slots: readonly Slot<C>[];
  private readonly byName: ReadonlyMap<string, Slot<C>>;
  private readonly warned = new Set<number>();

  /** @param registers checked, ascending and without overlap: see `registerBank` */
  constructor(
    registers: readonly Register<C>[],
    private readonly options: RegisterBankOptions<C>,
  ) {
    this.slots = registers.map((register) => ({
      register,
      bytes: toBytes(register, register.reset),
      mask: toBytes(register, register.writeMask),
    }));
    this.byName = new Map(this.slots.map((slot) => [slot.register.name, slot]));
  }

  /** What software reads; runs the read hooks and clears `rc` registers. */
  readBytes(offset: number, length: number): Uint8Array {
    this.checkSpan(offset, length);
    const out = new Uint8Array(length).fill(this.options.fill ?? 0);
    this.walk(offset, length, undefined, (slot, from, to) => {
      const { register, bytes } = slot;
      this.runReadHook(slot);
      const first = from - register.offset;
      const seen = bytes.subarray(first, first + to - from);
      if (register.access === 'wo') out.fill(0, from - offset, to - offset);
      else out.set(seen, from - offset);
      if (register.access === 'rc') bytes.fill(0);
    });
    return out;
  }

  /** What software writes; runs the write hooks. Bytes that are not enabled are as if they were not in the access. */
  writeBytes(offset: number, data: Uint8Array, byteEnables?: ByteEnables): void {
    this.checkSpan(offset, data.length);
    if (byteEnables !== undefined && byteEnables.length !== data.length)
      throw invalid(`${this.name} byteEnables`, byteEnables, `one byte for each of ${data.length}`);
    this.walk(offset, data.length, byteEnables, (slot, from, to) => {
      const { register } = slot;
      if (register.access === 'ro' || register.access === 'rc') return;
      const parts = byteEnables?.subarray(from - offset, to - offset);
      if (register.wholeWrites && (to - from < register.width || parts?.includes(0) === true)) {
        this.refusePart(register, from, parts === undefined ? to - from : parts.filter(Boolean).length);
        return;
      }
      const old = this.valueOf(slot);
      let isTouched = false;
      for (let at = from; at < to; at++) {
        if (byteEnables !== undefined && byteEnables[at - offset] === 0) continue;
        merge(slot, at - register.offset, data[at - offset] as number);
        isTouched = true;
      }
      if (!isTouched) return;
      const value = this.valueOf(slot);
      if (register.selfClearing) slot.bytes.fill(0);
      register.hooks.write?.(value, this.options.context, old);
    });
  }

  /** Value of a register of 1, 2 or 4 bytes, for the device itself: no hook runs, nothing clears. */
  get(name: Narrow): number {
    const value = this.valueOf(this.slot(name));
    if (typeof value === 'number') return value;
    throw new ZtlpError('invalid-value', `${this.name}.${name}: is 8 bytes wide`, {
      field: name,
      allowed: 'get64',
    });
  }

  /** Value of a register of 8 bytes, for the device itself. */
  get64(name: Wide): bigint {
    const value = this.valueOf(this.slot(name));
    if (typeof value === 'bigint') return value;
    throw new ZtlpError('invalid-value', `${this.name}.${name}: is less than 8 bytes wide`, {
      field: name,
      allowed: 'get',
    });
  }

  /** Sets a register, for the device itself: no access rule, no write mask and no hook. */
  set(name: Narrow, value: number): void;
  set(name: Wide, value: bigint): void;
  set(name: string, value: number | bigint): void {
    this.put(this.slot(name), value);
  }

  /** Every register at its reset value. No hook runs; `misses` stays. */
  reset(): void {
    for (const slot of this.slots) slot.bytes.set(toBytes(slot.register, slot.register.reset));
  }

  save(): SavedRegisters {
    const entries = this.slots.map((slot): [string, number | string] => {
      const value = this.valueOf(slot);
      return [slot.register.name, typeof value === 'bigint' ? hex(value) : value];
    });
    return Object.fromEntries(entries);
  }

  /** Takes what `save` gave. A save that lacks a register, has another one or does not fit changes nothing. */
  load(saved: SavedRegisters): void {
    const values = this.checkSaved(saved);
    for (const [slot, value] of values) this.put(slot, value);
  }

  /** The values of `saved`, checked. */
  checkSaved(saved: unknown): readonly (readonly [Slot<C>, number | bigint])[] {
    const fields = checkFields(this.name, saved, [...this.byName.keys()]);
    return this.slots.map((slot) => {
      const { name, width } = slot.register;
      const value = fields[name];
      const isHex = width === 8 && typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value);
      return [slot, checkValue(`${this.name}.${name}`, isHex ? BigInt(value) : value, width)] as const;
    });
  }

  /** All registers in ascending order of offset, for inspection. */
  describe(): RegisterView[] {
    return this.slots.map((slot) => {
      const { name, offset, width, access, reset, description } = slot.register;
      return { name, offset, width, access, value: this.valueOf(slot), reset, description };
    });
  }

  private get name(): string {
    return this.options.name ?? 'registers';
  }

  private valueOf(slot: Slot<C>): number | bigint {
    return toValue(slot.register, slot.bytes);
  }

  private put(slot: Slot<C>, value: unknown): void {
    const { register } = slot;
    slot.bytes.set(toBytes(register, checkValue(`${this.name}.${register.name}`, value, register.width)));
  }

  private runReadHook(slot: Slot<C>): void {
    const { hooks } = slot.register;
    const value = hooks.read?.(this.options.context, this.valueOf(slot));
    if (value !== undefined) this.put(slot, value);
  }

  private slot(name: string): Slot<C> {
    const slot = this.byName.get(name);
    if (slot !== undefined) return slot;
    const names = [...this.byName.keys()];
    throw new ZtlpError(
      'unknown-name',
      `${this.name}: there is no register ${name}${didYouMean(name, names)}`,
      {
        field: name,
        allowed: names.join(', '),
      },
    );
  }

  private checkSpan(offset: number, length: number): void {
    const { size } = this.options;
    inRange(`${this.name} offset`, offset, 0, size);
    inRange(`${this.name} length`, length, 0, size - offset);
  }

  /** Visits each register of [offset, offset + length) with the part of it that lies inside, in ascending order. */
  private walk(
    offset: number,
    length: number,
    byteEnables: ByteEnables,
    visit: (slot: Slot<C>, from: number, to: number) => void,
  ): void {
    const end = offset + length;
    let at = offset;
    for (let index = this.firstEndingBehind(offset); at < end; index++) {
      const slot = this.slots[index];
      const from = Math.max(at, Math.min(slot?.register.offset ?? end, end));
      if (from > at) this.miss(at, from, offset, byteEnables);
      at = from;
      if (slot === undefined || from === end) continue;
      at = Math.min(slot.register.offset + slot.register.width, end);
      visit(slot, from, at);
    }
  }

  /** Index of the first register that has bytes at `offset` or behind it. */
  private firstEndingBehind(offset: number): number {
    let low = 0;
    let high = this.slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { register } = this.slots[middle] as Slot<C>;
      if (register.offset + register.width <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Counts a write of `length` enabled bytes to a register that takes whole ones. */
  private refusePart({ name, width, offset }: Register<C>, from: number, length: number): void {
    if (length === 0) return;
    this.refused++;
    if (this.warned.has(offset) || this.warned.size >= MAX_WARNINGS) return;
    this.warned.add(offset);
    const what = `a write of ${length} ${length === 1 ? 'byte' : 'bytes'} at ${hex(from)} is dropped`;
    this.options.warn?.(`${this.name}: ${what}: ${name} takes ${width} bytes at once`, from);
  }

  /** Counts the hole [from, to) of an access that begins at `offset`, unless no byte of it is enabled. */
  private miss(from: number, to: number, offset: number, byteEnables: ByteEnables): void {
    let at = from;
    while (at < to && byteEnables !== undefined && byteEnables[at - offset] === 0) at++;
    if (at === to) return;
    this.misses++;
    if (this.warned.has(at) || this.warned.size >= MAX_WARNINGS) return;
    this.warned.add(at);
    this.options.warn?.(`${this.name}: there is no register at ${hex(at)}`, at);
  }
}

type NarrowNames<R> = {
  [N in keyof R & string]: R[N] extends { width: 8 } ? never : N;
}[keyof R & string];
type WideNames<R> = { [N in keyof R & string]: R[N] extends { width: 8 } ? N : never }[keyof R & string];

/** A bank for registers as a device declares them. Throws for a declaration that is not valid. */
export function registerBank<C, const R extends RegisterMap<C>>(
  registers: R,
  options: RegisterBankOptions<C>,
): RegisterBank<NarrowNames<R>, WideNames<R>, C> {
  const { name = 'registers', size, fill = 0 } = options;
  inRange(`${name} size`, size, 1, Number.MAX_SAFE_INTEGER);
  inRange(`${name} fill`, fill, 0, 0xff);
  return new RegisterBank(resolveRegisters<C>(name, registers, { size }), options);
}

/** One written byte by the access rule. Bits outside the write mask stay. */
function merge({ register, bytes, mask }: Slot<unknown>, index: number, written: number): void {
  const old = bytes[index] as number;
  const bits = mask[index] as number;
  bytes[index] = register.access === 'rw1c' ? old & ~(written & bits) : (old & ~bits) | (written & bits);
}

function toBytes({ width, byteOrder }: Register, value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(width);
  const view = new DataView(bytes.buffer);
  const isLittle = byteOrder === 'little';
  if (width === 8) view.setBigUint64(0, value as bigint, isLittle);
  else if (width === 4) view.setUint32(0, value as number, isLittle);
  else if (width === 2) view.setUint16(0, value as number, isLittle);
  else view.setUint8(0, value as number);
  return bytes;
}

function toValue({ width, byteOrder }: Register, bytes: Uint8Array): number | bigint {
  const view = new DataView(bytes.buffer);
  const isLittle = byteOrder === 'little';
  if (width === 8) return view.getBigUint64(0, isLittle);
  if (width === 4) return view.getUint32(0, isLittle);
  return width === 2 ? view.getUint16(0, isLittle) : view.getUint8(0);
}
