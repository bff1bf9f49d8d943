/** A UART as a PCI function: FIFOs of 16 bytes each way, time per byte by its divisor, loopback, two MSI-X vectors. */
import { defineDevice } from 'ztlp/device';

const FIFO = 16;
const CLOCK_HZ = 1_843_200;
const BITS_PER_BYTE = 10; // start, 8 data, stop

export const IER = { RX: 0x01, TX_EMPTY: 0x02 };
export const MCR = { LOOPBACK: 0x10 };
export const LSR = { DATA_READY: 0x01, OVERRUN: 0x02, THR_EMPTY: 0x20, IDLE: 0x40 };
export const VECTOR = { RX: 0, TX_EMPTY: 1 };

/** Time of one byte on the line; a divisor of 0 counts as 65536. */
export const byteNs = (divisor) => Math.round(((divisor || 0x10000) * 16 * BITS_PER_BYTE * 1e9) / CLOCK_HZ);

const enabled = (ctx, bit) => (ctx.registers(0).get('IER') & bit) !== 0;

function receive(byte, ctx) {
  const { state } = ctx;
  if (state.rx.length === FIFO) {
    state.overrun = true;
    ctx.stats.count('overruns');
    return;
  }
  state.rx.push(byte);
  if (state.rx.length === 1 && enabled(ctx, IER.RX)) ctx.msix.raise(VECTOR.RX);
}

/** The byte of the shift register has left. */
function sent(ctx) {
  const byte = ctx.state.shifting.byte;
  ctx.state.shifting = ctx.state.cancel = undefined;
  ctx.stats.count('sent');
  if (ctx.registers(0).get('MCR') & MCR.LOOPBACK) receive(byte, ctx);
  shift(ctx);
}

/** Starts the clock of the shift register, or starts it again after quiesce or a load. */
function resume(ctx) {
  const { shifting } = ctx.state;
  if (shifting === undefined || ctx.state.cancel !== undefined) return;
  ctx.state.due = ctx.time.ns + shifting.left;
  ctx.state.cancel = ctx.after(shifting.left, () => sent(ctx));
}

/** Moves the oldest byte of the transmit FIFO to the shift register, if that is free. */
function shift(ctx) {
  const { state } = ctx;
  if (state.shifting !== undefined || state.tx.length === 0) return;
  state.shifting = { byte: state.tx.shift(), left: byteNs(ctx.registers(0).get('DIVISOR')) };
  resume(ctx);
  if (state.tx.length === 0 && enabled(ctx, IER.TX_EMPTY)) ctx.msix.raise(VECTOR.TX_EMPTY);
}

export default defineDevice({
  name: 'uart',
  vendorId: 0x1af4,
  deviceId: 0x10f6,
  classCode: 0x070002, // serial controller, 16550
  bars: [
    {
      size: 4096,
      registers: {
        DATA: {
          offset: 0,
          width: 1,
          access: 'rw',
          read(ctx) {
            resume(ctx);
            return ctx.state.rx.shift() ?? 0;
          },
          write(value, ctx) {
            if (ctx.state.tx.length === FIFO) ctx.stats.count('dropped');
            else ctx.state.tx.push(value);
            resume(ctx);
            shift(ctx);
          },
        },
        IER: {
          offset: 1,
          width: 1,
          access: 'rw',
          writeMask: IER.RX | IER.TX_EMPTY,
          write(value, ctx, old) {
            resume(ctx);
            const now = value & ~old; // what is enabled while its cause stands interrupts at once
            if (now & IER.RX && ctx.state.rx.length > 0) ctx.msix.raise(VECTOR.RX);
            if (now & IER.TX_EMPTY && ctx.state.tx.length === 0) ctx.msix.raise(VECTOR.TX_EMPTY);
          },
        },
        MCR: { offset: 4, width: 1, access: 'rw', writeMask: MCR.LOOPBACK },
        LSR: {
          offset: 5,
          width: 1,
          access: 'ro',
          reset: LSR.THR_EMPTY | LSR.IDLE,
          read(ctx) {
            resume(ctx);
            const { state } = ctx;
            let value = 0;
            if (state.rx.length > 0) value |= LSR.DATA_READY;
            if (state.overrun) value |= LSR.OVERRUN;
            if (state.tx.length === 0) value |= LSR.THR_EMPTY;
            if (state.tx.length === 0 && state.shifting === undefined) value |= LSR.IDLE;
            state.overrun = false; // cleared by this read
            return value;
          },
        },
        DIVISOR: { offset: 8, width: 2, access: 'rw', reset: 1 },
      },
    },
  ],
  capabilities: { pcie: true, msix: { vectors: 2, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 } },

  state: () => ({ rx: [], tx: [], overrun: false, shifting: undefined, due: 0, cancel: undefined }),
  quiesce({ state, time }) {
    if (state.cancel === undefined) return;
    state.cancel();
    state.cancel = undefined;
    state.shifting.left = state.due - time.ns;
  },
  save({ state: { rx, tx, overrun, shifting, due, cancel }, time }) {
    const left = cancel === undefined ? shifting?.left : due - time.ns; // how long, not when: clocks differ
    return {
      rx,
      tx,
      overrun,
      shifting: shifting && { byte: shifting.byte, left },
      running: cancel !== undefined,
    };
  },
  load({ running, ...saved }, ctx) {
    Object.assign(ctx.state, saved);
    if (running) resume(ctx);
  },
});
