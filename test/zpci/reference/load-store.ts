/** PCILG, PCISTG and PCISTB as sheet zpci.md 2.5 to 2.7 and 3.1 have them. */
import type { Reference, ReferenceFunction } from './machine.js';
import { type BarShape, DONE, ENABLE_BIT, exception, failed, type Operands, UNAVAILABLE } from './types.js';

const CONFIG = 15;
const CONFIG_BYTES = 4096;
/** Bits of the first 64 bytes of configuration space that software may change here, by byte. */
const WRITABLE: Readonly<Record<number, number>> = { 4: 0x06, 12: 0xff, 60: 0xff };

/** The function that may be accessed, or what the instruction answers. */
function addressed(machine: Reference, fh: number): ReferenceFunction | string {
  if (fh < ENABLE_BIT) return UNAVAILABLE;
  const fn = machine.byHandle(fh);
  if (fn === undefined) return UNAVAILABLE;
  return fn.state === 'error' || fn.state === 'permanent-error' ? failed(12) : fn;
}

/** The size of an emulator's region rule, which real hardware and vfio do not have (8.2). */
function takes(fn: ReferenceFunction, { valid }: BarShape, offset: number, length: number): boolean {
  if (fn.shape.mode !== 'emulated') return true;
  return length >= valid.min && length <= valid.max && offset % length === 0;
}

type Target =
  | { readonly bytes: Uint8Array; readonly offset: number; readonly isConfig: boolean }
  /** Behind the end of configuration space. */
  | { readonly bytes: undefined; readonly isConfig: true };

/** Steps 1 to 7 of 2.6. */
function target(
  machine: Reference,
  { fh, as, offset, length: field, r2, problemState }: Operands<'pcilg'> | Operands<'pcistg'>,
): { readonly fn: ReferenceFunction; readonly length: number; readonly at: Target } | string {
  if (problemState) return exception('privileged operation', 4);
  if (r2 % 2 === 1) return exception('specification', 4);
  const fn = addressed(machine, fh);
  if (typeof fn === 'string') return fn;
  const length = field % 16;
  const operand = exception('operand', 4);
  if (as === CONFIG) {
    if (length === 0 || length === 3 || length > 4 - Number(offset % 4n)) return operand;
    if (offset >= BigInt(CONFIG_BYTES)) return { fn, length, at: { bytes: undefined, isConfig: true } };
    return { fn, length, at: { bytes: fn.config, offset: Number(offset), isConfig: true } };
  }
  if (as > 5) return failed(20);
  // Lengths that are no power of two: refused, 2.6.
  if (![1, 2, 4, 8].includes(length)) return operand;
  if (fn.shape.dwordRule === 'qemu' && length > 8 - Number(offset % 8n)) return operand;
  if (Number(offset % 4096n) + length > 4096) return operand;
  const bytes = fn.bars[as];
  const shape = fn.shape.bars[as];
  if (bytes === undefined || shape === undefined) return operand;
  if (offset + BigInt(length) > BigInt(shape.size)) return operand;
  if (!takes(fn, shape, Number(offset), length)) return operand;
  return { fn, length, at: { bytes, offset: Number(offset), isConfig: false } };
}

export function load(machine: Reference, input: Operands<'pcilg'>): string {
  const found = target(machine, input);
  if (typeof found === 'string') return found;
  const { fn, length, at } = found;
  fn.stats.loads++;
  let data = 0n;
  for (let n = 0; n < length; n++)
    data = (data << 8n) | BigInt(at.bytes === undefined ? 0xff : (at.bytes[at.offset + n] as number));
  // The recorded cases show 32 ones for one byte behind the space of an emulated function.
  if (at.bytes === undefined && length === 1 && fn.shape.mode === 'emulated') data = 0xffff_ffffn;
  return `${DONE} data 0x${data.toString(16)}`;
}

export function store(machine: Reference, input: Operands<'pcistg'>): string {
  const found = target(machine, input);
  if (typeof found === 'string') return found;
  const { fn, length, at } = found;
  fn.stats.stores++;
  if (at.bytes === undefined) return DONE;
  for (let n = 0; n < length; n++) {
    const byte = Number((input.data >> BigInt(8 * (length - 1 - n))) & 0xffn);
    const offset = at.offset + n;
    const mask = at.isConfig ? (WRITABLE[offset] ?? 0) : 0xff;
    at.bytes[offset] = ((at.bytes[offset] as number) & ~mask) | (byte & mask);
  }
  return DONE;
}

/** The first DW of the doorbell BAR, written with 4 bytes: only whether it gets there. */
export function ring(machine: Reference, fh: number): string {
  const fn = addressed(machine, fh);
  if (typeof fn === 'string') return fn;
  fn.stats.stores++;
  return DONE;
}

/** Widths of an emulator's calls for a block: 8.2. */
function pieces(offset: number, length: number): number[] {
  const widths: number[] = [];
  for (let at = offset; at < offset + length; ) {
    let width = [8, 1, 2, 1, 4, 1, 2, 1][at % 8] as number;
    while (width > offset + length - at) width /= 2;
    widths.push(width);
    at += width;
  }
  return widths;
}

export function storeBlock(
  machine: Reference,
  { fh, as, offset, length: field, source, problemState }: Operands<'pcistb'>,
): string {
  if (problemState) return exception('privileged operation', 6);
  const fn = addressed(machine, fh);
  if (typeof fn === 'string') return fn;
  if (as > 5) return failed(20);
  const { mode, relaxed, maxstbl } = fn.shape;
  const length = field % 0x2000;
  const specification = exception('specification', 6);
  // An intercepting VMM applies the strict rules to every group (3.2).
  const strict = !relaxed || mode !== 'native';
  if (strict && (offset % 8n !== 0n || length <= 8 || length % 8 !== 0)) return specification;
  if (length > maxstbl) return specification;
  if (Number(offset % 4096n) + length > 4096) return specification;
  if (strict && source % 8n !== 0n) return specification;
  const bytes = fn.bars[as];
  const shape = fn.shape.bars[as];
  const operand = exception('operand', 6);
  if (bytes === undefined || shape === undefined) return operand;
  if (offset + BigInt(length) > BigInt(shape.size)) return operand;
  if (mode === 'emulated') {
    let at = Number(offset);
    for (const width of pieces(at, length)) {
      if (!takes(fn, shape, at, width)) return operand;
      at += width;
    }
  }
  if (!machine.readable(source, length)) return exception('addressing', 6);
  bytes.set(machine.memory.subarray(Number(source), Number(source) + length), Number(offset));
  fn.stats.storeBlocks++;
  return DONE;
}
