/** Base address registers of a live function: kinds, sizes, and the bits of each register that software can set. */
import { invalid, needObject, ZtlpError } from '../base/errors.js';
import { ROM_BAR } from './bar-tracker.js';
import { word32 } from './capabilities.js';
import type { Masks } from './masks.js';
import { REG } from './registers.js';

export type BarKind = 'io' | 'memory32' | 'memory64' | 'rom';

/** A base address register that the function implements. */
export interface BarLayout {
  /** 0 to 5, or 6 for the expansion ROM. A 64-bit one takes the next index too. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Bytes: a power of two, exact. */
  readonly size: number;
  /** Offset of the register. */
  readonly register: number;
}

/** Sizes in bytes by BAR index, where configuration space itself does not hold them. */
export interface BarSizes {
  readonly bars?: readonly ({ readonly size: number } | undefined)[];
  readonly rom?: { readonly size: number } | undefined;
}

/**
 * Least and largest size by kind: PCI local bus specification 3.0 sections 6.2.5.1 (I/O at most 256 bytes) and 6.2.5.2
 * (ROM 2 KiB to 16 MiB).
 */
const LIMITS: Readonly<Record<BarKind, readonly [min: number, max: number]>> = {
  io: [4, 256],
  memory32: [16, 2 ** 31],
  memory64: [16, 2 ** 63],
  rom: [2048, 2 ** 24],
};
const TYPE_64 = 4; // of the bits 2:1 of a memory BAR
const PREFETCHABLE = 8;

/** `size`, which has to be a power of two that a BAR of this kind can have. */
export function checkBarSize(field: string, kind: BarKind, size: unknown): number {
  const [min, max] = LIMITS[kind];
  if (typeof size === 'number' && size >= min && size <= max && Number.isInteger(Math.log2(size)))
    return size;
  throw invalid(field, size, `a power of two from ${min} to ${max} (bytes)`, 'out-of-range');
}

/** The flag bits of a register: what its low bits read as. */
export function barFlags(kind: BarKind, prefetchable: boolean): number {
  if (kind === 'rom') return 0;
  if (kind === 'io') return 1;
  return (kind === 'memory64' ? TYPE_64 : 0) | (prefetchable ? PREFETCHABLE : 0);
}

/**
 * The BARs of a header, from the flags in its registers and the sizes given. A register that reads 0 and has no size is
 * not implemented. Throws ZtlpError naming the BAR whose size is missing, wrong, or given for the upper half of another.
 * @param registers 6 for header type 0, 2 for type 1
 * @param first offset of the first register
 */
export function layOutBars(
  bytes: Uint8Array,
  sizes: BarSizes,
  registers: number,
  first: number = REG.BAR0,
  field = 'bars',
): BarLayout[] {
  const { bars = [] } = sizes;
  const over = bars.findIndex((bar, index) => bar !== undefined && index >= registers);
  if (over >= 0) throw invalid(`${field}[${over}]`, bars[over], `BARs 0 to ${registers - 1}`, 'out-of-range');
  const list: BarLayout[] = [];
  for (let index = 0; index < registers; index++) {
    const register = first + 4 * index;
    const raw = word32(bytes, register);
    const given = bars[index];
    if (raw === 0 && given === undefined) continue;
    const name = `${field}[${index}]`;
    const is64 = (raw & 7) === TYPE_64;
    const kind = (raw & 1) === 1 ? 'io' : is64 ? 'memory64' : 'memory32';
    list.push({
      index,
      kind,
      prefetchable: kind !== 'io' && (raw & PREFETCHABLE) !== 0,
      size: checkBarSize(`${name}.size`, kind, sizeOf(given, name, raw)),
      register,
    });
    if (!is64) continue;
    index++;
    if (index >= registers) throw invalid(name, 'a 64-bit BAR', 'a 32-bit one: no register follows');
    if (bars[index] !== undefined)
      throw invalid(`${field}[${index}]`, bars[index], `undefined: it is the upper half of ${name}`);
  }
  return list;
}

/** The expansion ROM of a header, or undefined. A register that reads 0 and has no size is not implemented. */
export function layOutRom(bytes: Uint8Array, sizes: BarSizes, register: number): BarLayout | undefined {
  const raw = word32(bytes, register);
  if (raw === 0 && sizes.rom === undefined) return undefined;
  const size = checkBarSize('rom.size', 'rom', sizeOf(sizes.rom, 'rom', raw));
  return { index: ROM_BAR, kind: 'rom', prefetchable: false, size, register };
}

function sizeOf(given: { readonly size: number } | undefined, name: string, raw: number): number {
  if (given !== undefined) {
    needObject(name, given);
    return given.size;
  }
  throw new ZtlpError('not-found', `${name}: reads 0x${raw.toString(16)}, but nothing tells its size`, {
    field: name,
    value: raw,
    allowed: `a size in bytes, given as ${name}.size or as [size=] of its line in the dump`,
  });
}

/** Address bits that software can set, of the register and of the upper half (0 where there is none). */
export function addressMask({ kind, size }: BarLayout): readonly [lo: number, hi: number] {
  const lo = size >= 2 ** 32 ? 0 : ~(size - 1) >>> 0;
  if (kind !== 'memory64') return [lo, 0];
  return [lo, size <= 2 ** 32 ? 0xffff_ffff : ~(size / 2 ** 32 - 1) >>> 0];
}

/** PCI local bus specification 3.0 section 6.2.5.1: the bits below the size are wired to 0 or hold the flags. */
export function paintBar(masks: Masks, bar: BarLayout): void {
  const [lo, hi] = addressMask(bar);
  // Bit 0 of the ROM's register enables its decoder (6.2.5.2).
  masks.paint(bar.register, 4, { rw: bar.kind === 'rom' ? lo | 1 : lo });
  if (bar.kind === 'memory64') masks.paint(bar.register + 4, 4, { rw: hi });
}
