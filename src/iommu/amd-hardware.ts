/** What domains ask of an AMD unit, as commands that `AmdUnit` has (iommu.md 3; AMD 48882 section 2.4). */
import type { AmdHardware } from './amd-domain-unit.js';
import type { AmdUnit } from './amd-unit.js';

/** Entries of a page of the device table. */
const ENTRIES = 128;

/**
 * `unit` as domains see it. A range is named by the smallest aligned power of two that covers it, as one
 * INVALIDATE_IOMMU_PAGES has no other way: pages beside the range may go, too.
 */
export function amdHardware(unit: AmdUnit): AmdHardware {
  return {
    setDeviceTable: (base, entries) => unit.setDeviceTable(base, entries / ENTRIES),
    set isOn(on: boolean) {
      unit.isOn = on;
    },
    invalidateDevice: (sid) => unit.invalidateDevices(sid),
    invalidatePages(domain, first, last) {
      let lg2 = 12n;
      while (first >> lg2 !== last >> lg2) lg2++;
      // With S the size stands in the address: ones from bit 12 up to below the highest bit that the block covers.
      const ones = lg2 === 12n ? 0n : (1n << (lg2 - 1n)) - 4096n;
      unit.invalidatePages(domain, ((first >> lg2) << lg2) | ones, lg2 > 12n);
    },
  };
}
