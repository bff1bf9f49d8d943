// Floor 4: the fault recording registers of a translation unit (VT-d specification 7.3 and 11.4.14, iommu.md 2.7).

import {
  FAULT_OVERFLOW,
  FAULT_PENDING,
  FAULT_RECORD_BYTES,
  FAULT_RECORD_FLAGS,
  FAULT_RECORD_IS_SET,
  FAULT_RECORD_PASID,
  FAULT_RECORD_REASON,
  FAULT_RECORD_SID,
  UNIT_FAULT_RECORDS,
  UNIT_FAULT_STATUS,
  UNIT_NEXT_RECORD,
  UNIT_RECORDS,
} from '../iommu-layout';

const FIRST_SHIFT: u32 = 8;
const FIRST_MASK: u32 = 0xff00;

function recordOf(unit: usize, index: u32): usize {
  return unit + UNIT_FAULT_RECORDS + <usize>index * FAULT_RECORD_BYTES;
}

export function resetFaults(unit: usize): void {
  store<u32>(unit, 0, UNIT_NEXT_RECORD);
  store<u32>(unit, 0, UNIT_FAULT_STATUS);
  for (let n: u32 = 0; n < load<u32>(unit, UNIT_RECORDS); n++)
    store<u32>(recordOf(unit, n), 0, FAULT_RECORD_IS_SET);
}

/** Records a fault; false: it was merged into one of the same requester, or lost for want of a register. */
export function recordFault(unit: usize, reason: u32, address: u64, sid: u32, pasid: u32, flags: u32): bool {
  const status = load<u32>(unit, UNIT_FAULT_STATUS);
  if (status & FAULT_OVERFLOW) return false;
  const count = load<u32>(unit, UNIT_RECORDS);
  for (let n: u32 = 0; n < count; n++) {
    const at = recordOf(unit, n);
    if (load<u32>(at, FAULT_RECORD_IS_SET) != 0 && load<u32>(at, FAULT_RECORD_SID) == sid) return false;
  }
  const next = load<u32>(unit, UNIT_NEXT_RECORD);
  const at = recordOf(unit, next);
  if (load<u32>(at, FAULT_RECORD_IS_SET) != 0) {
    store<u32>(unit, status | FAULT_OVERFLOW, UNIT_FAULT_STATUS);
    return false;
  }
  store<u64>(at, address & ~0xfff);
  store<u32>(at, reason, FAULT_RECORD_REASON);
  store<u32>(at, sid, FAULT_RECORD_SID);
  store<u32>(at, pasid, FAULT_RECORD_PASID);
  store<u32>(at, flags, FAULT_RECORD_FLAGS);
  store<u32>(at, 1, FAULT_RECORD_IS_SET);
  const first = status & FAULT_PENDING ? status & FIRST_MASK : next << FIRST_SHIFT;
  store<u32>(unit, first | FAULT_PENDING, UNIT_FAULT_STATUS);
  // The register after the last is the first.
  store<u32>(unit, next + 1 == count ? 0 : next + 1, UNIT_NEXT_RECORD);
  return true;
}

/** Software writes 1 to F of record `index`. PPF follows the F bits. */
export function clearFault(unit: usize, index: u32): void {
  store<u32>(recordOf(unit, index), 0, FAULT_RECORD_IS_SET);
  for (let n: u32 = 0; n < load<u32>(unit, UNIT_RECORDS); n++)
    if (load<u32>(recordOf(unit, n), FAULT_RECORD_IS_SET) != 0) return;
  store<u32>(unit, load<u32>(unit, UNIT_FAULT_STATUS) & FAULT_OVERFLOW, UNIT_FAULT_STATUS);
}

/** Software writes 1 to PFO. */
export function clearOverflow(unit: usize): void {
  store<u32>(unit, load<u32>(unit, UNIT_FAULT_STATUS) & ~FAULT_OVERFLOW, UNIT_FAULT_STATUS);
}
