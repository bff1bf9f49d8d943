/** The simplest device: BARs that are memory, served inside the core. */
import type { BarDefinition, DeviceModel } from '../base/device.js';

export interface MemoryDeviceOptions {
  readonly name?: string;
  /** Default: one BAR of 64 KiB. */
  readonly bars?: readonly (Omit<BarDefinition, 'memory'> | undefined)[];
}

/** A function whose BARs are plain memory. */
export function memoryDevice(options: MemoryDeviceOptions = {}): DeviceModel {
  const bars = options.bars ?? [{ size: 0x10000 }];
  return {
    name: options.name ?? 'memory',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    bars: bars.map((bar) => (bar === undefined ? undefined : { ...bar, memory: true })),
  };
}
