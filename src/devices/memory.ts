/** The simplest device: BARs that are memory, served inside the core. */
import { BAR_KEYS, type BarDefinition, type DeviceModel } from '../base/device.js';
import { invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';

export interface MemoryDeviceOptions {
  readonly name?: string;
  /** Default: one BAR of 64 KiB. */
  readonly bars?: readonly (Omit<BarDefinition, 'memory'> | undefined)[];
}

const KEYS = keysOf<MemoryDeviceOptions>({ name: true, bars: true });

/**
 * A function whose BARs are plain memory. Throws ZtlpError `unknown-name` for a field that it does not have; sizes are
 * checked by `createMachine`.
 */
export function memoryDevice(options: MemoryDeviceOptions = {}): DeviceModel {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  if (options.bars !== undefined && !Array.isArray(options.bars))
    throw invalid('bars', options.bars, 'a list');
  options.bars?.forEach((bar, n) => {
    if (bar === undefined) return;
    needObject(`bars[${n}]`, bar);
    checkKeys(`bars[${n}]`, bar, BAR_KEYS);
  });
  const bars = options.bars ?? [{ size: 0x10000 }];
  return {
    name: options.name ?? 'memory',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    bars: bars.map((bar) => (bar === undefined ? undefined : { ...bar, memory: true })),
  };
}
