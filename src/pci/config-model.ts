/** Live configuration space of one function: what reads answer, what writes change, what resets restore. */
import { inRange, invalid } from '../base/errors.js';
import type { BarLayout } from './bars.js';
import { word32 } from './capabilities.js';
import {
  type BarState,
  type CommandState,
  type DeviceControlState,
  type MsiState,
  type MsixState,
  type PowerState,
  readBar,
  readCommand,
  readDeviceControl,
  readMsi,
  readMsix,
  readPowerState,
  word16,
} from './config-fields.js';
import { type ConfigLayout, layOut, type ModelShape } from './config-layout.js';
import { type ConfigObserver, type Watch, watchesOf } from './config-watch.js';
import { CAP, REG } from './registers.js';

/**
 * Fundamental reset, function level reset, hot reset of the link, or the internal reset on the way from D3hot to D0
 * (PCIe base specification 4.0 sections 6.6.1, 6.6.2 and 5.3.1.4).
 */
export type ResetKind = 'power-on' | 'function' | 'hot' | 'd3hot';

export type ConfigWidth = 1 | 2 | 4;

const RESETS: readonly ResetKind[] = ['power-on', 'function', 'hot', 'd3hot'];
const ALL = 0xffff_ffff;
/** Initiate FLR, of Device Control (PCIe base specification 4.0 section 7.5.3.4). */
const INITIATE_FLR = 0x8000;

/**
 * Configuration space of a function with a type 0 or type 1 header. Which bits are writable, cleared by writing 1, or
 * kept by a reset follows from the header and from the capabilities in the bytes; unknown capabilities are read-only.
 */
export class ConfigModel {
  /** Who is told about changes. */
  observer: ConfigObserver = {};
  private readonly bytes: Uint8Array;
  private readonly layout: ConfigLayout;
  private readonly watches: readonly Watch[];

  /**
   * @param bytes 256 or 4096 of them, copied: the registers as they stand
   * Throws ZtlpError for another length, another header type, or a BAR without a size.
   */
  constructor(bytes: Uint8Array, shape: ModelShape = {}) {
    this.layout = layOut(bytes, shape);
    this.bytes = bytes.slice();
    this.watches = watchesOf(this.bytes, this.layout);
  }

  /** Bytes of the space: 256 or 4096. */
  get size(): number {
    return this.bytes.length;
  }

  /** BARs that are implemented, by index; the expansion ROM last. */
  get bars(): readonly BarLayout[] {
    return this.layout.bars;
  }

  /**
   * The little-endian value of `width` bytes at `offset`. Throws ZtlpError when they lie outside the space or in two
   * dwords: no configuration request can ask for that.
   */
  read(offset: number, width: ConfigWidth): number {
    this.check(offset, width);
    const word = word32(this.bytes, offset & ~3) >>> (8 * (offset & 3));
    return width === 4 ? word : word & (2 ** (8 * width) - 1);
  }

  /** Writes `width` bytes as software does; the errors of `read`, and a value that `width` bytes cannot hold. */
  write(offset: number, value: number, width: ConfigWidth): void {
    this.check(offset, width);
    inRange('value', value, 0, 2 ** (8 * width) - 1);
    const shift = offset & 3;
    this.apply(offset & ~3, (value << (8 * shift)) >>> 0, ((1 << width) - 1) << shift);
  }

  /**
   * Writes a dword as a configuration write TLP does.
   * @param register offset of the dword, as in a TLP's header: a multiple of 4
   * @param byteEnables 0 to 15; bit 0 is the byte at `register`
   */
  writeDw(register: number, value: number, byteEnables: number): void {
    this.check(register, 4);
    this.apply(register, inRange('value', value, 0, ALL), inRange('byteEnables', byteEnables, 0, 15));
  }

  /** Sets bytes from the device's side, over all masks: status bits, logs, link state. Tells nobody. */
  poke(offset: number, value: number, width: ConfigWidth): void {
    this.check(offset, width);
    inRange('value', value, 0, 2 ** (8 * width) - 1);
    for (let n = 0; n < width; n++) this.bytes[offset + n] = (value >>> (8 * n)) & 0xff;
  }

  /**
   * Returns registers to their values at power-on. Sticky bits survive all but `power-on`; `function` and `d3hot` keep
   * what belongs to the link too, and `d3hot` the PME context. The observer is told what changed, but not `flr`.
   */
  reset(kind: ResetKind): void {
    if (!RESETS.includes(kind)) throw invalid('kind', kind, RESETS.join(', '));
    const { keepHot, keepFunction, keepD3hot } = this.layout.masks;
    const kept = { 'power-on': undefined, hot: keepHot, function: keepFunction, d3hot: keepD3hot }[kind];
    this.become(
      this.layout.initial.map((byte, n) => {
        const keep = kept?.[n] ?? 0;
        return (byte & ~keep) | ((this.bytes[n] as number) & keep);
      }),
    );
  }

  /** A copy of the bytes, for a snapshot or a `ConfigSpace`. */
  save(): Uint8Array {
    return this.bytes.slice();
  }

  /** Takes the bytes of `save` back; the observer is told what changed. Throws when they are another function's. */
  load(bytes: Uint8Array): void {
    if (bytes.length !== this.size) throw invalid('bytes', bytes, `${this.size} bytes`, 'out-of-range');
    if (word32(bytes, 0) !== word32(this.bytes, 0))
      throw invalid('bytes', word32(bytes, 0), `vendor and device id ${word32(this.bytes, 0)}`);
    this.become(bytes);
  }

  get command(): CommandState {
    return readCommand(this.bytes);
  }

  /** State of BAR `index` (6: the ROM), or undefined where there is none. */
  bar(index: number): BarState | undefined {
    const bar = this.bars.find((candidate) => candidate.index === index);
    return bar && readBar(this.bytes, bar);
  }

  /** Offset of the first capability with identifier `id`, or undefined. */
  capability(id: number): number | undefined {
    return this.layout.at.get(id);
  }

  /** Offset of the first extended capability with identifier `id`, or undefined. */
  extendedCapability(id: number): number | undefined {
    return this.layout.extendedAt.get(id);
  }

  /** The four below: undefined without the capability. */
  get msix(): MsixState | undefined {
    return this.with(CAP.MSIX, readMsix);
  }

  get msi(): MsiState | undefined {
    return this.with(CAP.MSI, readMsi);
  }

  /** Pending Bits of MSI, which belong to the device; 0 without per-vector masking. */
  get msiPending(): number {
    const at = this.pendingRegister;
    return at === undefined ? 0 : word32(this.bytes, at);
  }

  /** Sets the Pending Bits. Does nothing without per-vector masking. */
  set msiPending(bits: number) {
    const at = this.pendingRegister;
    if (at !== undefined) this.poke(at, bits >>> 0, 4);
  }

  /** Offset of the Pending Bits (PCI local bus specification 3.0 figure 6-9). */
  private get pendingRegister(): number | undefined {
    const at = this.layout.at.get(CAP.MSI);
    if (at === undefined) return undefined;
    const control = word16(this.bytes, at + 2);
    if ((control & 0x100) === 0) return undefined;
    return at + ((control & 0x80) === 0 ? 16 : 20);
  }

  get deviceControl(): DeviceControlState | undefined {
    return this.with(CAP.PCIE, readDeviceControl);
  }

  get powerState(): PowerState | undefined {
    return this.with(CAP.PM, readPowerState);
  }

  private with<T>(id: number, read: (bytes: Uint8Array, at: number) => T): T | undefined {
    const at = this.layout.at.get(id);
    return at === undefined ? undefined : read(this.bytes, at);
  }

  private check(offset: number, width: ConfigWidth): void {
    if (width !== 1 && width !== 2 && width !== 4) throw invalid('width', width, '1, 2, 4 (bytes)');
    inRange('offset', offset, 0, this.size - 1);
    if ((offset & 3) + width > 4)
      throw invalid('offset', offset, `${width} bytes within one dword`, 'out-of-range');
  }

  /** One write: the plain bits, the exceptions, what follows from it. */
  private apply(register: number, value: number, byteEnables: number): void {
    const before = word32(this.bytes, register);
    const powerBefore = this.powerState;
    for (let n = 0; n < 4; n++) {
      if ((byteEnables & (1 << n)) === 0) continue;
      const at = register + n;
      const given = (value >>> (8 * n)) & 0xff;
      const write = this.layout.masks.write[at] as number;
      const clear = given & (this.layout.masks.clear[at] as number);
      this.bytes[at] = (((this.bytes[at] as number) & ~write) | (given & write)) & ~clear;
    }
    const power = this.refuseState(powerBefore);
    // Only a function that leaves D3hot may lose its registers, and only if it says so (PCI PM 1.2 section 5.4.1).
    const pm = this.layout.at.get(CAP.PM) ?? 0;
    const wasReset = powerBefore === 3 && power === 0 && ((this.bytes[pm + 4] as number) & 8) === 0;
    this.tell(new Map([[register, before]]));
    if (wasReset) this.reset('d3hot');
    if (power !== undefined && power !== powerBefore) this.observer.powerState?.(power, wasReset);
    if (this.initiatesFlr(register, value, byteEnables)) {
      this.reset('function');
      this.observer.flr?.();
    }
  }

  /** A write of a state that the function does not support is dropped (PCI PM 1.2 section 3.2.4). */
  private refuseState(before: PowerState | undefined): PowerState | undefined {
    const at = this.layout.at.get(CAP.PM);
    if (at === undefined || before === undefined) return undefined;
    const state = readPowerState(this.bytes, at);
    const supported = word16(this.bytes, at + 2);
    const missing = state === 1 ? 0x0200 : state === 2 ? 0x0400 : 0;
    // From D3hot the only way is to D0 (PCI PM 1.2 section 5.4).
    if (missing === 0 || ((supported & missing) !== 0 && before !== 3)) return state;
    this.bytes[at + 4] = ((this.bytes[at + 4] as number) & ~3) | before;
    return before;
  }

  /** Initiate FLR of the PCIe capability, or of Advanced Features (ECN Advanced Capabilities for Conventional PCI). */
  private initiatesFlr(register: number, value: number, byteEnables: number): boolean {
    const pcie = this.layout.at.get(CAP.PCIE);
    if (register === (pcie ?? -8) + 8 && (byteEnables & 2) !== 0 && (value & INITIATE_FLR) !== 0) {
      const isBridge = ((this.bytes[REG.HEADER_TYPE] as number) & 0x7f) === 1;
      return !isBridge && (word32(this.bytes, register - 4) & 0x1000_0000) !== 0;
    }
    const af = this.layout.at.get(CAP.AF);
    if (af === undefined || register !== af + 4 || (byteEnables & 1) === 0) return false;
    return (value & 1) !== 0 && ((this.bytes[af + 3] as number) & 2) !== 0;
  }

  private become(bytes: Uint8Array): void {
    const before = new Map<number, number>();
    for (let register = 0; register < this.size; register += 4) {
      const old = word32(this.bytes, register);
      if (old !== word32(bytes, register)) before.set(register, old);
    }
    const power = this.powerState;
    this.bytes.set(bytes);
    this.tell(before);
    const now = this.powerState;
    if (now !== undefined && now !== power) this.observer.powerState?.(now, false);
  }

  /** Tells the observer about registers whose values were these before. */
  private tell(before: ReadonlyMap<number, number>): void {
    const changed = new Map<number, number>();
    for (const [register, old] of before) {
      const bits = old ^ word32(this.bytes, register);
      if (bits !== 0) changed.set(register, bits);
    }
    for (const { bits, report } of this.watches) {
      if (bits.some(([register, mask]) => ((changed.get(register) ?? 0) & mask) !== 0)) report(this.observer);
    }
    for (const [register, bits] of changed) {
      const value = word32(this.bytes, register);
      this.observer.register?.(register, value, (value ^ bits) >>> 0);
    }
  }
}
