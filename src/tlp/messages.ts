/** The message codes of the PCIe base specification (2.2.8; sheet tlp.md 13) by name, for people and for tables. */
import * as M from '../../assembly/message-codes.js';

/** Where a message goes: Type bits 2:0 of its header (2.2.8, table 2-18). */
export type Routing = 'root' | 'address' | 'id' | 'broadcast' | 'local' | 'gathered';

/** Names by routing number; 6 and 7 are reserved and end at the receiver like 4. */
export const ROUTINGS: readonly Routing[] = ['root', 'address', 'id', 'broadcast', 'local', 'gathered'];

/** One message: its code, its name in the specification, and how it travels. */
export interface MessageDefinition {
  readonly code: number;
  readonly name: string;
  /** Allowed routing numbers. */
  readonly routing: readonly number[];
  /** Has to have Traffic Class 0. */
  readonly tc0: boolean;
  /** Comes as Msg, as MsgD, or as both. */
  readonly types: readonly ('Msg' | 'MsgD')[];
  /** Data in DW of the form with data; undefined where the sender chooses. */
  readonly dataDw: number | undefined;
}

/** A rule word of message-codes.ts with its name. */
function message(name: string, rule: number): MessageDefinition {
  const length = rule >>> M.MESSAGE_LENGTH_SHIFT;
  const plain = (rule & M.MESSAGE_PLAIN) !== 0;
  const data = (rule & M.MESSAGE_DATA) !== 0;
  return {
    code: rule & M.MESSAGE_CODE_MASK,
    name,
    routing: ROUTINGS.map((_, routing) => routing).filter(
      (routing) => ((rule >>> (M.MESSAGE_ROUTING_SHIFT + routing)) & 1) === 1,
    ),
    tc0: (rule & M.MESSAGE_TC0) !== 0,
    types: [...(plain ? (['Msg'] as const) : []), ...(data ? (['MsgD'] as const) : [])],
    dataDw: !data ? 0 : length === 0 ? undefined : length,
  };
}

/** Every message this version names, in the order of their codes. */
export const MESSAGES: readonly MessageDefinition[] = [
  message('Unlock', M.MESSAGE_UNLOCK),
  message('Invalidate Request', M.MESSAGE_INVALIDATE_REQUEST),
  message('Invalidate Completion', M.MESSAGE_INVALIDATE_COMPLETION),
  message('Page Request', M.MESSAGE_PAGE_REQUEST),
  message('PRG Response', M.MESSAGE_PRG_RESPONSE),
  message('LTR', M.MESSAGE_LTR),
  message('OBFF', M.MESSAGE_OBFF),
  message('PM_Active_State_Nak', M.MESSAGE_PM_ACTIVE_STATE_NAK),
  message('PM_PME', M.MESSAGE_PM_PME),
  message('PME_Turn_Off', M.MESSAGE_PME_TURN_OFF),
  message('PME_TO_Ack', M.MESSAGE_PME_TO_ACK),
  ...['A', 'B', 'C', 'D'].map((line, n) => message(`Assert_INT${line}`, M.MESSAGE_ASSERT_INTA + n)),
  ...['A', 'B', 'C', 'D'].map((line, n) => message(`Deassert_INT${line}`, M.MESSAGE_DEASSERT_INTA + n)),
  message('ERR_COR', M.MESSAGE_ERR_COR),
  message('ERR_NONFATAL', M.MESSAGE_ERR_NONFATAL),
  message('ERR_FATAL', M.MESSAGE_ERR_FATAL),
  message('Set_Slot_Power_Limit', M.MESSAGE_SET_SLOT_POWER_LIMIT),
  message('PTM Request', M.MESSAGE_PTM_REQUEST),
  message('PTM Response', M.MESSAGE_PTM_RESPONSE),
  message('Vendor_Defined Type 0', M.MESSAGE_VENDOR_0),
  message('Vendor_Defined Type 1', M.MESSAGE_VENDOR_1),
];

const BY_CODE: ReadonlyMap<number, MessageDefinition> = new Map(
  MESSAGES.map((definition) => [definition.code, definition]),
);

/** The message with this code, if the table has it. */
export function messageOf(code: number): MessageDefinition | undefined {
  return BY_CODE.get(code);
}
