/** Reads one function through configuration accesses: identity, capabilities, and BARs with their sizes. */
import { ROM_BAR } from './bar-tracker.js';
import type { BarKind } from './bars.js';
import { ConfigSpace } from './config-space.js';
import { CAP, COMMAND, CONVENTIONAL, EXTENDED, REG } from './registers.js';

/** Configuration accesses to a hierarchy. Where nobody answers, reads give all ones and writes do nothing. */
export interface ConfigPort {
  /**
   * @param bdf bus << 8 | device << 3 | function
   * @param width 1, 2 or 4 bytes, within one dword
   */
  read(bdf: number, offset: number, width: 1 | 2 | 4): number;
  write(bdf: number, offset: number, value: number, width: 1 | 2 | 4): void;
}

/** A BAR as sizing shows it. */
export interface ProbedBar {
  /** 0 to 5, or 6 for the expansion ROM. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  readonly size: bigint;
  readonly register: number;
}

export interface ProbedFunction {
  readonly bdf: number;
  /** Over the registers that the walk has read; the others are 0. */
  readonly space: ConfigSpace;
  readonly command: number;
  readonly bars: readonly ProbedBar[];
  readonly problems: readonly string[];
}

const ALL = 0xffff_ffff;
const HEADER = 64;
/** What Linux takes for an empty slot: ones or zeros in one half or both. */
const NOBODY: ReadonlySet<number> = new Set([ALL, 0, 0xffff, 0xffff_0000]);

/** Whether a function answers at `bdf`. */
export function answers(port: ConfigPort, bdf: number): boolean {
  return !NOBODY.has(port.read(bdf, REG.VENDOR_ID, 4));
}

/** The function at `bdf`; its registers are afterwards as they were. */
export function probe(port: ConfigPort, bdf: number): ProbedFunction {
  const space = readSpace(port, bdf);
  const { command, headerType } = space;
  const problems = [...space.problems];
  // A BAR that is being sized must not answer (PCI local bus specification 3.0 section 6.2.5.1).
  port.write(bdf, REG.COMMAND, command & ~(COMMAND.IO | COMMAND.MEMORY), 2);
  const bars = probeBars(port, bdf, headerType, problems);
  port.write(bdf, REG.COMMAND, command, 2);
  return { bdf, space, command, bars, problems };
}

/** Reads the header, and then each capability that the chains lead to; only the registers that the walk needs. */
function readSpace(port: ConfigPort, bdf: number): ConfigSpace {
  const bytes = new Uint8Array(EXTENDED);
  const view = new DataView(bytes.buffer);
  const seen = new Set<number>();
  const take = (register: number): boolean => {
    if (seen.has(register)) return false;
    seen.add(register);
    view.setUint32(register, port.read(bdf, register, 4), true);
    return true;
  };
  for (let register = 0; register < HEADER; register += 4) take(register);
  for (;;) {
    const conventional = new ConfigSpace(bytes.subarray(0, CONVENTIONAL));
    // A register that was not read yet is 0, and so ends the chain: each turn goes one link further.
    if (conventional.capabilities.some(({ offset }) => take(offset & ~3))) continue;
    if (!conventional.capabilities.some(({ id }) => id === CAP.PCIE)) return conventional;
    const whole = new ConfigSpace(bytes);
    if (take(CONVENTIONAL)) continue;
    const next = whole.extendedCapabilities.map(({ offset }) => nextOf(view, offset));
    if (!next.some((offset) => offset >= CONVENTIONAL && (offset & 3) === 0 && take(offset))) return whole;
  }
}

/** Where the extended capability at `offset` points. */
function nextOf(view: DataView, offset: number): number {
  return view.getUint32(offset, true) >>> 20;
}

function probeBars(port: ConfigPort, bdf: number, headerType: number, problems: string[]): ProbedBar[] {
  const registers = headerType === 0 ? 6 : headerType === 1 ? 2 : 0;
  const bars: ProbedBar[] = [];
  for (let index = 0; index < registers; index++) {
    const register = REG.BAR0 + 4 * index;
    const lo = sizing(port, bdf, register, ALL);
    if (lo === 0) continue;
    if ((lo & 1) === 1) {
      // The upper half of an I/O register may be wired to 0.
      const size = sizeOf(BigInt(((lo & ~3) | 0xffff_0000) >>> 0), 32n);
      add(bars, problems, { index, kind: 'io', prefetchable: false, size, register });
      continue;
    }
    const prefetchable = (lo & 8) !== 0;
    const low = BigInt((lo & ~15) >>> 0);
    if ((lo & 6) !== 4) {
      add(bars, problems, { index, kind: 'memory32', prefetchable, size: sizeOf(low, 32n), register });
    } else if (index + 1 < registers) {
      const high = BigInt(sizing(port, bdf, register + 4, ALL)) << 32n;
      add(bars, problems, { index, kind: 'memory64', prefetchable, size: sizeOf(high | low, 64n), register });
      index++;
    } else {
      problems.push(`BAR ${index}: is the last one and has no upper half`);
    }
  }
  if (registers === 0) return bars;
  const register = headerType === 1 ? REG.ROM_BRIDGE : REG.ROM;
  // All but the enable bit (section 6.2.5.2).
  const rom = sizing(port, bdf, register, 0xffff_f800) & ~0x7ff;
  const size = sizeOf(BigInt(rom >>> 0), 32n);
  if (rom !== 0) add(bars, problems, { index: ROM_BAR, kind: 'rom', prefetchable: false, size, register });
  return bars;
}

function add(bars: ProbedBar[], problems: string[], bar: ProbedBar): void {
  if (bar.size > 0n) bars.push(bar);
  else problems.push(`BAR ${bar.index}: the bits that can be set are no power of two`);
}

/** What sticks of `ones`; the register is restored. */
function sizing(port: ConfigPort, bdf: number, register: number, ones: number): number {
  const before = port.read(bdf, register, 4);
  port.write(bdf, register, ones, 4);
  const stuck = port.read(bdf, register, 4);
  port.write(bdf, register, before, 4);
  return stuck >>> 0;
}

/** The size that the settable address bits tell, or 0 when they have gaps or are none. */
function sizeOf(mask: bigint, bits: bigint): bigint {
  const size = mask & -mask;
  return mask !== 0n && mask + size === 1n << bits ? size : 0n;
}
