// Floor 0: the message codes and what each demands, shared by the core and the host. Imports nothing.
//
// Plain constants only, as in layout.ts (PCIe base specification 2.2.8; sheet tlp.md 13).

// Message routing, Type bits 2:0 (2.2.8, table 2-18).
export const ROUTE_TO_ROOT = 0;
export const ROUTE_BY_ADDRESS = 1;
export const ROUTE_BY_ID = 2;
export const ROUTE_BROADCAST = 3;
export const ROUTE_LOCAL = 4;
export const ROUTE_GATHERED = 5;

// One word per message code: the code in bits 7:0, a bit per allowed routing in 15:8, then the rules below. The core
// checks by them and the host names them, so that there is one truth.
export const MESSAGE_CODE_MASK = 0xff;
export const MESSAGE_ROUTING_SHIFT = 8;
export const MESSAGE_TC0 = 1 << 16; // Traffic Class 0 required
export const MESSAGE_PLAIN = 1 << 17; // may come without data (Msg)
export const MESSAGE_DATA = 1 << 18; // may come with data (MsgD)
export const MESSAGE_LENGTH_SHIFT = 20; // data in DW when there are any, 0: as the sender likes
const TO_ROOT = 1 << (MESSAGE_ROUTING_SHIFT + ROUTE_TO_ROOT);
const BY_ID = 1 << (MESSAGE_ROUTING_SHIFT + ROUTE_BY_ID);
const BROADCAST = 1 << (MESSAGE_ROUTING_SHIFT + ROUTE_BROADCAST);
const LOCAL = 1 << (MESSAGE_ROUTING_SHIFT + ROUTE_LOCAL);
const GATHERED = 1 << (MESSAGE_ROUTING_SHIFT + ROUTE_GATHERED);
const INTX = LOCAL | MESSAGE_PLAIN | MESSAGE_TC0;
const ERROR = TO_ROOT | MESSAGE_PLAIN | MESSAGE_TC0;
const ONE_DW = 1 << MESSAGE_LENGTH_SHIFT;
const TWO_DW = 2 << MESSAGE_LENGTH_SHIFT;
const VENDOR = TO_ROOT | BY_ID | BROADCAST | LOCAL | MESSAGE_PLAIN | MESSAGE_DATA;
export const MESSAGE_UNLOCK = 0x00 | BROADCAST | MESSAGE_PLAIN;
export const MESSAGE_INVALIDATE_REQUEST = 0x01 | BY_ID | MESSAGE_DATA | TWO_DW;
export const MESSAGE_INVALIDATE_COMPLETION = 0x02 | BY_ID | MESSAGE_PLAIN;
export const MESSAGE_PAGE_REQUEST = 0x04 | TO_ROOT | MESSAGE_PLAIN;
export const MESSAGE_PRG_RESPONSE = 0x05 | BY_ID | MESSAGE_PLAIN;
export const MESSAGE_LTR = 0x10 | LOCAL | MESSAGE_PLAIN;
export const MESSAGE_OBFF = 0x12 | LOCAL | MESSAGE_PLAIN;
export const MESSAGE_PM_ACTIVE_STATE_NAK = 0x14 | LOCAL | MESSAGE_PLAIN | MESSAGE_TC0;
export const MESSAGE_PM_PME = 0x18 | TO_ROOT | MESSAGE_PLAIN | MESSAGE_TC0;
export const MESSAGE_PME_TURN_OFF = 0x19 | BROADCAST | MESSAGE_PLAIN | MESSAGE_TC0;
export const MESSAGE_PME_TO_ACK = 0x1b | GATHERED | MESSAGE_PLAIN | MESSAGE_TC0;
export const MESSAGE_ASSERT_INTA = 0x20 | INTX; // INTB to INTD follow
export const MESSAGE_DEASSERT_INTA = 0x24 | INTX;
export const MESSAGE_ERR_COR = 0x30 | ERROR;
export const MESSAGE_ERR_NONFATAL = 0x31 | ERROR;
export const MESSAGE_ERR_FATAL = 0x33 | ERROR;
export const MESSAGE_SET_SLOT_POWER_LIMIT = 0x50 | LOCAL | MESSAGE_DATA | ONE_DW;
export const MESSAGE_PTM_REQUEST = 0x52 | LOCAL | MESSAGE_PLAIN;
export const MESSAGE_PTM_RESPONSE = 0x53 | LOCAL | MESSAGE_PLAIN | MESSAGE_DATA | ONE_DW;
export const MESSAGE_VENDOR_0 = 0x7e | VENDOR;
export const MESSAGE_VENDOR_1 = 0x7f | VENDOR;
