// Floor 2: what the message codes demand, by code (PCIe base specification 2.2.8; sheet tlp.md 13).
import {
  MESSAGE_ASSERT_INTA,
  MESSAGE_CODE_MASK,
  MESSAGE_DEASSERT_INTA,
  MESSAGE_ERR_COR,
  MESSAGE_ERR_FATAL,
  MESSAGE_ERR_NONFATAL,
  MESSAGE_INVALIDATE_COMPLETION,
  MESSAGE_INVALIDATE_REQUEST,
  MESSAGE_LTR,
  MESSAGE_OBFF,
  MESSAGE_PAGE_REQUEST,
  MESSAGE_PM_ACTIVE_STATE_NAK,
  MESSAGE_PM_PME,
  MESSAGE_PME_TO_ACK,
  MESSAGE_PME_TURN_OFF,
  MESSAGE_PRG_RESPONSE,
  MESSAGE_PTM_REQUEST,
  MESSAGE_PTM_RESPONSE,
  MESSAGE_SET_SLOT_POWER_LIMIT,
  MESSAGE_UNLOCK,
  MESSAGE_VENDOR_0,
  MESSAGE_VENDOR_1,
} from '../message-codes';

// One MESSAGE_* word per code; 0 for a code that no table knows.
const RULES: usize = memory.data(256 * 4, 16);

function put(rule: u32): void {
  store<u32>(RULES + ((rule & MESSAGE_CODE_MASK) << 2), rule);
}

put(MESSAGE_UNLOCK);
put(MESSAGE_INVALIDATE_REQUEST);
put(MESSAGE_INVALIDATE_COMPLETION);
put(MESSAGE_PAGE_REQUEST);
put(MESSAGE_PRG_RESPONSE);
put(MESSAGE_LTR);
put(MESSAGE_OBFF);
put(MESSAGE_PM_ACTIVE_STATE_NAK);
put(MESSAGE_PM_PME);
put(MESSAGE_PME_TURN_OFF);
put(MESSAGE_PME_TO_ACK);
for (let line = 0; line < 4; line++) {
  put(MESSAGE_ASSERT_INTA + line);
  put(MESSAGE_DEASSERT_INTA + line);
}
put(MESSAGE_ERR_COR);
put(MESSAGE_ERR_NONFATAL);
put(MESSAGE_ERR_FATAL);
put(MESSAGE_SET_SLOT_POWER_LIMIT);
put(MESSAGE_PTM_REQUEST);
put(MESSAGE_PTM_RESPONSE);
put(MESSAGE_VENDOR_0);
put(MESSAGE_VENDOR_1);

/** The MESSAGE_* word of a message code, 0 when it is in no table: an unknown message is unsupported, not malformed. */
export function messageRule(code: u32): u32 {
  return load<u32>(RULES + ((code & MESSAGE_CODE_MASK) << 2));
}
