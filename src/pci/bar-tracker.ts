/** Learns where BARs lie from the configuration accesses of a trace, and finds the BAR that a bus address belongs to. */

/** The BAR of an address: function as the trace names it, BAR 0 to 5 or 6 for the ROM. */
export interface BarHit {
  readonly device: string;
  readonly bar: number;
  /** I/O ports, not memory. */
  readonly io: boolean;
}

/** Index of the expansion ROM, behind BAR 0 to 5. */
export const ROM_BAR = 6;
const ALL_ONES = 0xffff_ffff;
const ROM_REGISTER = 0x30;
const FIRST_REGISTER = 0x10;
const HEADER_TYPE = 0x0e;
const TWO_32 = 2 ** 32;
/** Functions that are remembered: those of one PCI segment. */
const MAX_FUNCTIONS = 65_536;

/** One register as the trace shows it. */
interface Register {
  address: number;
  /** What was read after all ones were written: the bits that can be set. Undefined until that was seen. */
  mask: number | undefined;
  /** All ones were written last. */
  sizing: boolean;
}

interface Fn {
  readonly registers: readonly Register[];
  isBridge: boolean;
  /** BARs that the trace told as such. They go over what the registers say. */
  readonly told: Map<number, Range>;
}

interface Range extends BarHit {
  readonly lo: number;
  readonly hi: number;
  readonly size: number;
}

/**
 * Follows the sizing of base address registers (PCI local bus specification 3.0 section 6.2.5.1): software writes all
 * ones, reads which bits stick, and writes the address. So a trace that has the configuration accesses needs no other
 * map. Where two BARs overlap, the function seen first wins.
 */
export class BarTracker {
  private readonly functions = new Map<string, Fn>();
  /** Worked out anew at the first look-up behind a change. */
  private ranges: readonly Range[] | undefined = [];
  /** The range that was found last, if none before it in the list overlaps it. */
  private last: Range | undefined;

  /** Takes one configuration access. */
  config(device: string, op: 'read' | 'write', offset: number, width: number, value: number): void {
    if (offset === HEADER_TYPE && op === 'read') {
      const fn = this.of(device);
      if (fn !== undefined) fn.isBridge = (value & 0x7f) === 1;
      return;
    }
    const index =
      offset === ROM_REGISTER ? ROM_BAR : offset < 0x28 ? (offset - FIRST_REGISTER) / 4 : Number.NaN;
    if (width !== 4 || !Number.isInteger(index) || index < 0) return;
    const fn = this.of(device);
    const register = fn?.registers[index];
    if (register === undefined) return;
    if (op === 'write') {
      // The ROM's register is sized with its enable bit left at 0.
      register.sizing = value === ALL_ONES || (index === ROM_BAR && value >>> 11 === ALL_ONES >>> 11);
      if (!register.sizing) register.address = value;
    } else if (register.sizing) {
      register.mask = value;
    } else {
      register.address = value;
    }
    this.change();
  }

  /** Takes a BAR that the trace tells as such. */
  map(device: string, bar: number, lo: number, hi: number, size: number): void {
    // Port numbers have 16 bits, and no memory BAR lies that low.
    const io = hi === 0 && lo + size <= 0x1_0000;
    this.of(device)?.told.set(bar, { device, bar, io, lo, hi, size });
    this.change();
  }

  unmap(device: string, bar: number): void {
    this.of(device)?.told.delete(bar);
    this.change();
  }

  /** The BAR that holds a bus address, or undefined. */
  resolve(lo: number, hi: number): BarHit | undefined {
    if (this.ranges === undefined)
      this.ranges = [...this.functions].flatMap(([name, fn]) => rangesOf(name, fn));
    if (this.last !== undefined && holds(this.last, lo, hi)) return this.last;
    const index = this.ranges.findIndex((range) => holds(range, lo, hi));
    const found = this.ranges[index];
    const isFirst = found && !this.ranges.slice(0, index).some((range) => overlap(range, found));
    this.last = isFirst ? found : undefined;
    return found;
  }

  /** All BARs known at the moment: where they lie, and their sizes in bytes. */
  list(): readonly (BarHit & { readonly lo: number; readonly hi: number; readonly size: number })[] {
    return [...this.functions].flatMap(([name, fn]) => rangesOf(name, fn));
  }

  private of(device: string): Fn | undefined {
    let fn = this.functions.get(device);
    if (fn === undefined && this.functions.size < MAX_FUNCTIONS) {
      const register = (): Register => ({ address: 0, mask: undefined, sizing: false });
      fn = { registers: Array.from({ length: ROM_BAR + 1 }, register), isBridge: false, told: new Map() };
      this.functions.set(device, fn);
    }
    return fn;
  }

  private change(): void {
    this.ranges = undefined;
    this.last = undefined;
  }
}

function holds({ lo, hi, size }: Range, addressLo: number, addressHi: number): boolean {
  // Exact for every offset below 2^53; larger ones stay larger than any size.
  const offset = (addressHi - hi) * TWO_32 + (addressLo - lo);
  return offset >= 0 && offset < size;
}

function overlap(one: Range, other: Range): boolean {
  return holds(one, other.lo, other.hi) || holds(other, one.lo, one.hi);
}

/** The BARs of one function that have a size and an address. */
function rangesOf(device: string, { registers, isBridge, told }: Fn): Range[] {
  if (told.size > 0) return [...told.values()];
  const ranges: Range[] = [];
  const add = (bar: number, io: boolean, lo: number, hi: number, size: number): void => {
    if (size > 0 && (lo | hi) !== 0) ranges.push({ device, bar, io, lo, hi, size });
  };
  // A bridge has two BARs; bus numbers and windows follow.
  const bars = isBridge ? 2 : 6;
  for (let bar = 0; bar < bars; bar++) {
    const { address, mask } = registers[bar] as Register;
    if (mask === undefined || mask === 0) continue;
    if ((mask & 1) === 1) {
      // The upper half of an I/O register may be wired to 0.
      const size = (~(mask & ~3) & 0xffff) + 1;
      add(bar, true, (address & ~3) >>> 0, 0, size);
      continue;
    }
    const lo = (address & ~15) >>> 0;
    const below = (~(mask & ~15) >>> 0) + 1; // 2^32 when no bit of this half sticks
    if ((mask & 6) !== 4 || bar + 1 >= bars) {
      add(bar, false, lo, 0, below);
      continue;
    }
    const upper = registers[++bar] as Register;
    const above = (~(upper.mask ?? ALL_ONES) >>> 0) + 1;
    add(bar - 1, false, lo, upper.address, below === TWO_32 ? above * TWO_32 : below);
  }
  const rom = registers[ROM_BAR] as Register;
  const size = rom.mask === undefined ? 0 : (~(rom.mask & ~0x7ff) >>> 0) + 1;
  if (!isBridge && size < TWO_32 && (rom.address & 1) === 1) {
    add(ROM_BAR, false, (rom.address & ~0x7ff) >>> 0, 0, size);
  }
  return ranges;
}
