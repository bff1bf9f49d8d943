// Floor 4: events of a unit that has a queue for them: the core keeps the first few, and counts all, until software looks.

import {
  EVENT_ADDRESS,
  EVENT_BYTES,
  EVENT_DETAIL,
  EVENT_FETCH,
  EVENT_FLAGS,
  EVENT_SID,
  EVENT_TYPE,
  EVENTS_MOST,
  UNIT_EVENTS,
  UNIT_FAULT_RECORDS,
} from '../iommu-layout';

/** Keeps an event; false: there is no more room. The words mean what the kind of unit says, see EVENT_*. */
export function recordEvent(
  unit: usize,
  type: u32,
  sid: u32,
  address: u64,
  fetch: u64,
  flags: u32,
  detail: u32,
): bool {
  const index = load<u32>(unit, UNIT_EVENTS);
  store<u32>(unit, index + 1, UNIT_EVENTS);
  if (index >= <u32>EVENTS_MOST) return false;
  const at = unit + UNIT_FAULT_RECORDS + <usize>index * EVENT_BYTES;
  store<u64>(at, address, EVENT_ADDRESS);
  store<u32>(at, type, EVENT_TYPE);
  store<u32>(at, sid, EVENT_SID);
  store<u64>(at, fetch, EVENT_FETCH);
  store<u32>(at, flags, EVENT_FLAGS);
  store<u32>(at, detail, EVENT_DETAIL);
  return true;
}
