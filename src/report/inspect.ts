/** What a device looks like to software: its configuration space by name, its BARs, and its registers with their values. */
import type { DeviceModel } from '../base/device.js';
import { hex64, type U64 } from '../core/u64.js';
import type { Device } from '../device/define.js';
import type { RegisterView } from '../device/register-bank.js';
import type { RegionKind } from '../device/types.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine } from '../machine/machine.js';
import type { Platform } from '../path/table.js';
import type { Capability } from '../pci/capabilities.js';
import { ConfigSpace } from '../pci/config-space.js';
import { describeConfig } from '../pci/describe.js';

export interface InspectInput {
  /** One function each. */
  readonly devices: readonly (Device | DeviceModel)[];
  /** Default `x86-64`. */
  readonly platform?: Platform;
}

export interface InspectedRegion {
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  readonly size: number;
  readonly kind: RegionKind;
}

export interface InspectedBar {
  readonly index: number;
  readonly space: 'memory' | 'io';
  readonly address: U64;
  readonly size: number;
  readonly regions: readonly InspectedRegion[];
  /** Ascending. */
  readonly registers: readonly RegisterView[];
}

export interface InspectedFunction {
  /** `bus:device.function` in hexadecimal. */
  readonly address: string;
  readonly name: string;
  /** Function handle of s390x, else undefined. */
  readonly handle: string | undefined;
  readonly vendorId: number;
  readonly deviceId: number;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  /** In the order of their chains; extended ones behind the others. */
  readonly capabilities: readonly Capability[];
  /** Configuration space in words, as firmware left it. */
  readonly config: readonly string[];
  readonly bars: readonly InspectedBar[];
}

export interface InspectReport {
  readonly platform: Platform;
  readonly functions: readonly InspectedFunction[];
}

/** Puts the devices into a machine and describes them as they are then. Throws what `createMachine` throws. */
export async function inspectDevices(input: InspectInput): Promise<InspectReport> {
  const { devices, platform = 'x86-64' } = input;
  const machine = await createMachine({
    platform,
    hostMemoryBytes: 0,
    slots: devices.map((device) => ({ device })),
  });
  return { platform, functions: machine.functions.map((fn) => inspect(fn, platform)) };
}

function inspect(fn: PciFunction, platform: Platform): InspectedFunction {
  const bars = fn.bars.flatMap((bar, index): InspectedBar[] => {
    if (bar === undefined) return [];
    const { space, address, size } = bar;
    const regions = fn.device?.bars[index]?.regions ?? [{ offset: 0, size, kind: 'memory' as const }];
    return [
      {
        index,
        space,
        address,
        size,
        regions: regions.map((region) => ({ offset: region.offset, size: region.size, kind: region.kind })),
        registers: fn.instance?.describeRegisters(index) ?? [],
      },
    ];
  });
  const { vendorId, deviceId, classCode, capabilities, extendedCapabilities } = new ConfigSpace(
    fn.config.save(),
  );
  return {
    address: addressOf(fn.id),
    name: fn.name,
    handle: platform === 's390x' ? hex64(fn.handle) : undefined,
    vendorId,
    deviceId,
    classCode,
    capabilities: [...capabilities, ...extendedCapabilities].map(({ id, name, offset }) => ({
      id,
      name,
      offset,
    })),
    config: describeConfig(fn.config),
    bars,
  };
}

function addressOf(bdf: number): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `${hex(bdf >>> 8)}:${hex((bdf >>> 3) & 31)}.${bdf & 7}`;
}
