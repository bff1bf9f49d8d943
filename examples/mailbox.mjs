/** Three kinds of regions in one BAR: registers, a queue served by callbacks, and memory for the answers. */
import { defineDevice } from 'ztlp/device';

const QUEUE = 0x1000;
const ANSWERS = 0x2000;
const PARSE_NS = 250;

/** Answers the oldest message: its bytes in reverse order. */
function answer(ctx) {
  const message = ctx.state.messages.shift();
  ctx.state.due.shift();
  if (message === undefined) return;
  ctx.memory(0).write(ANSWERS, message.reverse());
  ctx.registers(0).set('LENGTH', message.length);
  ctx.stats.count('answers');
}

export default defineDevice({
  name: 'mailbox',
  vendorId: 0x1af4,
  deviceId: 0x10f4,
  blockWrites: true, // one call per store of software, however many MWr it became
  bars: [
    {
      size: 0x4000,
      regions: [
        {
          offset: 0,
          size: 0x10,
          kind: 'registers',
          registers: { LENGTH: { offset: 0, width: 4, access: 'rc' } },
        },
        { offset: QUEUE, size: 0x1000, kind: 'callback', valid: { min: 4, max: 8 } },
        { offset: ANSWERS, size: 0x2000, kind: 'memory' },
      ],
    },
  ],
  capabilities: { pcie: { maxPayloadSize: 256 }, pm: true },

  state: () => ({ messages: [], due: [] }),
  write(at, bytes, byteEnables, ctx) {
    if (byteEnables !== undefined) throw new Error(`a message with holes at ${at.offset}`);
    ctx.state.messages.push(bytes);
    ctx.state.due.push(ctx.time.ns + PARSE_NS);
    ctx.after(PARSE_NS, () => answer(ctx));
  },
  read: (_at, _length, ctx) => ctx.state.messages.length & 0xff, // fits whatever is read
  save: ({ state, time }) => ({ messages: state.messages, waits: state.due.map((ns) => ns - time.ns) }),
  load({ messages, waits }, ctx) {
    ctx.state.messages = messages;
    ctx.state.due = waits.map((ns) => ctx.time.ns + ns);
    for (const ns of waits) ctx.after(ns, () => answer(ctx));
  },
});
