/** Hardware that is told everything and does nothing: for domains whose tables no unit walks. */
import type { AmdHardware } from './amd-domain-unit.js';
import type { S390Hardware } from './s390-domain-unit.js';
import type { SmmuHardware } from './smmu-domain-unit.js';
import type { VtdHardware } from './vtd-domain-unit.js';

const nothing = (): void => undefined;

/** A fresh one, of every kind. */
export function silentHardware(): VtdHardware & SmmuHardware & AmdHardware & S390Hardware {
  return {
    rootTable: 0n,
    isOn: false,
    setStreamTable: nothing,
    setDeviceTable: nothing,
    invalidateContexts: nothing,
    invalidateIotlb: nothing,
    invalidatePages: nothing,
    invalidateTlb: nothing,
    invalidateAddress: nothing,
    invalidateConfig: nothing,
    invalidateDevice: nothing,
    register: nothing,
    deregister: nothing,
    refresh: nothing,
  };
}
