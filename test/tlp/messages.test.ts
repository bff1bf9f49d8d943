/** The table of messages against the one of the sheet (tlp.md 13), row by row. */
import { expect, test } from 'vitest';
import { MESSAGES, messageOf } from '../../src/index.js';

/** code, name, forms with data in DW, routings, and * for those that must have TC 0. */
const SHEET = `
00 Unlock                  Msg      3
01 Invalidate Request      MsgD:2   2
02 Invalidate Completion   Msg      2
04 Page Request            Msg      0
05 PRG Response            Msg      2
10 LTR                     Msg      4
12 OBFF                    Msg      4
14 PM_Active_State_Nak     Msg      4       *
18 PM_PME                  Msg      0       *
19 PME_Turn_Off            Msg      3       *
1b PME_TO_Ack              Msg      5       *
20 Assert_INTA             Msg      4       *
21 Assert_INTB             Msg      4       *
22 Assert_INTC             Msg      4       *
23 Assert_INTD             Msg      4       *
24 Deassert_INTA           Msg      4       *
25 Deassert_INTB           Msg      4       *
26 Deassert_INTC           Msg      4       *
27 Deassert_INTD           Msg      4       *
30 ERR_COR                 Msg      0       *
31 ERR_NONFATAL            Msg      0       *
33 ERR_FATAL               Msg      0       *
50 Set_Slot_Power_Limit    MsgD:1   4
52 PTM Request             Msg      4
53 PTM Response            Msg,MsgD:1 4
7e Vendor_Defined Type 0   Msg,MsgD 0,2,3,4
7f Vendor_Defined Type 1   Msg,MsgD 0,2,3,4
`;

test('MESSAGES is the table of the sheet', () => {
  const rows = MESSAGES.map(({ code, name, types, dataDw, routing, tc0 }) => {
    const forms = types
      .map((type) => (type === 'MsgD' && dataDw !== undefined ? `MsgD:${dataDw}` : type))
      .join(',');
    return [code.toString(16).padStart(2, '0'), name, forms, routing.join(','), ...(tc0 ? ['*'] : [])].join(
      ' ',
    );
  });
  expect(rows).toEqual(
    SHEET.trim()
      .split('\n')
      .map((line) => line.replaceAll(/ +/g, ' ').trim()),
  );
});

test('a code finds its row', () => {
  expect(messageOf(0x1b)?.name).toBe('PME_TO_Ack');
  expect(messageOf(0x1a)).toBeUndefined();
});
