// Floor 5: error events: a zPCI function goes into error, and the host is told with a record.

import { pushRecord } from '../kernel/records';
import { FUNCTION_STATE, RECORD_EVENT, STATE_ERROR } from '../layout';
import { slotOf } from './functions';

/** `event` EVENT_*, `address` the failing I/O address (zpci.md 5.6). There has to be room for a record. */
export function raiseEvent(fn: usize, event: u32, address: u64, isRead: bool): void {
  store<u32>(fn, STATE_ERROR, FUNCTION_STATE);
  pushRecord(RECORD_EVENT, slotOf(fn), isRead ? 1 : 0, address, event, 0, 0, 0, false);
}
