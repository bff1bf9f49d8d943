/** What a device model tells the machine about itself. Later versions add callbacks; memory BARs need none. */
import { keysOf } from './names.js';

/** Sizes in bytes: what an emulator's memory region accepts, or the calls it makes (QEMU `valid` and `impl`). */
export interface AccessSizes {
  readonly min: number;
  /** 0: no rule (accepted) or 4 (calls). */
  readonly max: number;
  readonly unaligned?: boolean;
}

/** One base address register that the core serves as memory. */
export interface BarDefinition {
  /** Power of two, 16 bytes or more. */
  readonly size: number;
  readonly memory: true;
  /** Accepted access sizes when an emulator serves the function. Default 1 to 8, aligned. */
  readonly valid?: AccessSizes;
  /** Sizes of its device calls. Default 1 to 8. */
  readonly impl?: AccessSizes;
}

/** The fields of a BAR and of its sizes. */
export const BAR_KEYS = keysOf<BarDefinition>({ size: true, memory: true, valid: true, impl: true });
export const SIZE_KEYS = keysOf<AccessSizes>({ min: true, max: true, unaligned: true });

/** A device model: identity and BARs. `undefined` in `bars` is a BAR that is not implemented. */
export interface DeviceModel {
  readonly name: string;
  /** 16-bit PCI identifiers. */
  readonly vendorId: number;
  readonly deviceId: number;
  /** At most 6. */
  readonly bars: readonly (BarDefinition | undefined)[];
}
