/** Configuration space of a device: built from its definition, or taken from its dump. */
import { buildConfig } from '../pci/build-config.js';
import type { BarShape, CapabilityDefinition } from '../pci/capability-definitions.js';
import { ConfigModel } from '../pci/config-model.js';
import type { ResolvedBar } from './bars.js';
import type { ResolvedCapabilities } from './capabilities.js';
import type { Device } from './define.js';

/** A new configuration space: as at power-on with nothing enabled, or with a dump as the dump shows it. */
export function configOf(device: Omit<Device, 'definition'>): ConfigModel {
  const bars = device.bars.map(shapeOf);
  const rom = device.romSize === undefined ? undefined : { size: device.romSize };
  if (device.config !== undefined) return new ConfigModel(device.config, { bars, rom });
  return buildConfig({
    vendorId: device.vendorId,
    deviceId: device.deviceId,
    revision: device.revision,
    classCode: device.classCode,
    subsystemVendorId: device.subsystemVendorId,
    subsystemId: device.subsystemId,
    interruptPin: device.interruptPin,
    bars,
    ...(rom === undefined ? {} : { rom }),
    capabilities: definitionsOf(device.capabilities),
  });
}

function shapeOf(bar: ResolvedBar | undefined): BarShape | undefined {
  if (bar === undefined) return undefined;
  const { size, bits, prefetchable, space } = bar;
  return { size, bits, prefetchable, io: space === 'io' };
}

/** The capabilities in the order of their chains: power management and interrupts first, as most devices have them. */
function definitionsOf(has: ResolvedCapabilities): CapabilityDefinition[] {
  const list: CapabilityDefinition[] = [];
  const { pm, msi, pcie, msix, vendor, aer, ats, pri, pasid, sriov } = has;
  if (pm !== undefined)
    list.push({ kind: 'pm', d1: pm.d1, d2: pm.d2, pmeSupport: pm.pme, noSoftReset: pm.noSoftReset });
  if (msi !== undefined)
    list.push({
      kind: 'msi',
      vectors: msi.vectors,
      bits64: msi.address64,
      perVectorMask: msi.maskable,
    });
  if (pcie !== undefined)
    list.push({
      kind: 'pcie',
      deviceType: pcie.deviceType,
      maxPayload: pcie.maxPayloadSize,
      flr: pcie.functionLevelReset,
      extendedTag: pcie.extendedTags,
      link: `gen${pcie.maxLinkSpeed}x${pcie.maxLinkWidth}`,
    });
  if (msix !== undefined)
    list.push({
      kind: 'msix',
      vectors: msix.vectors,
      tableBar: msix.bar,
      tableOffset: msix.tableOffset,
      pbaBar: msix.pbaBar,
      pbaOffset: msix.pbaOffset,
    });
  for (const { data } of vendor) list.push({ kind: 'vendor', bytes: data });
  if (aer !== undefined) list.push({ kind: 'aer', ecrc: aer.ecrc });
  if (ats !== undefined)
    list.push({
      kind: 'ats',
      queueDepth: ats.invalidateQueueDepth,
      pageAligned: ats.pageAligned,
      globalInvalidate: ats.globalInvalidate,
    });
  if (pri !== undefined) list.push({ kind: 'pri', capacity: pri.capacity, responsePasid: pri.responsePasid });
  if (pasid !== undefined)
    list.push({ kind: 'pasid', width: pasid.width, execute: pasid.execute, privileged: pasid.privileged });
  if (sriov !== undefined)
    list.push({
      kind: 'sriov',
      totalVfs: sriov.totalVfs,
      vfDeviceId: sriov.vfDeviceId,
      firstVfOffset: sriov.firstVfOffset,
      vfStride: sriov.vfStride,
      pageSizes: sriov.pageSizes,
    });
  return list;
}
