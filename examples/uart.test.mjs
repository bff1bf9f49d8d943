/** Tests of the UART: `node --test examples/uart.test.mjs`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMachine } from 'ztlp';
import uart, { byteNs, IER, LSR, MCR } from './uart.mjs';

async function plugged() {
  const machine = await createMachine({ slots: [{ device: uart }] });
  const [fn] = machine.functions;
  const at = { path: 'x86-uc', function: fn, bar: 0, block: false };
  machine.enableMsix(fn, [
    { address: 0xfee0_0000, data: 0x50 },
    { address: 0xfee0_0000, data: 0x51 },
  ]);
  return {
    machine,
    fn,
    put: (offset, ...bytes) => machine.cpu.write({ ...at, offset, data: Uint8Array.from(bytes) }),
    get: (offset) => machine.cpu.read({ ...at, offset, length: 1 }).data[0],
    interrupts: () => machine.takeInterrupts().map(({ data, ns }) => [data, ns]),
  };
}

test('a byte comes back after the time of its divisor', async () => {
  const { machine, fn, put, get, interrupts } = await plugged();
  put(4, MCR.LOOPBACK);
  put(1, IER.RX);
  put(8, 12, 0);
  const ns = byteNs(12);
  put(0, 0x41);
  machine.run(ns - 1);
  assert.equal(get(5), LSR.THR_EMPTY);
  assert.deepEqual(interrupts(), []);
  machine.run(1);
  assert.equal(get(5), LSR.THR_EMPTY | LSR.IDLE | LSR.DATA_READY);
  assert.deepEqual(interrupts(), [[0x50, ns]]);
  assert.equal(get(0), 0x41);
  assert.equal(get(5), LSR.THR_EMPTY | LSR.IDLE);
  assert.deepEqual(fn.instance.errors, []);
});

test('overrun is reported once, and the first 16 bytes are kept', async () => {
  const { machine, fn, put, get } = await plugged();
  put(4, MCR.LOOPBACK);
  for (let n = 0; n < 17; n++) put(0, n);
  machine.run(17 * byteNs(1));
  assert.equal(get(5) & LSR.OVERRUN, LSR.OVERRUN);
  assert.equal(get(5) & LSR.OVERRUN, 0);
  assert.deepEqual(
    Array.from({ length: 16 }, () => get(0)),
    Array.from({ length: 16 }, (_, n) => n),
  );
  assert.equal(get(5) & LSR.DATA_READY, 0);
  assert.equal(fn.instance.stats.overruns, 1);
  assert.deepEqual(fn.instance.errors, []);
});

test('the transmit FIFO empties once', async () => {
  const { machine, fn, put, interrupts } = await plugged();
  put(1, IER.TX_EMPTY);
  assert.deepEqual(interrupts(), [[0x51, 0]]);
  put(0, 1);
  put(0, 2);
  assert.deepEqual(interrupts(), [[0x51, 0]]); // the first went to the shift register at once
  machine.run(byteNs(1));
  assert.deepEqual(interrupts(), [[0x51, byteNs(1)]]);
  assert.deepEqual(fn.instance.errors, []);
});

test('a save in the middle of a byte goes on where it was', async () => {
  const a = await plugged();
  const b = await plugged();
  a.put(4, MCR.LOOPBACK);
  a.put(1, IER.RX);
  a.put(0, 0x55);
  a.machine.run(1000);
  b.machine.run(777);
  b.fn.instance.load(a.fn.instance.save());
  b.machine.run(byteNs(1) - 1001);
  assert.deepEqual(b.interrupts(), []);
  b.machine.run(1);
  assert.deepEqual(b.interrupts(), [[0x50, 777 + byteNs(1) - 1000]]);
  assert.equal(b.get(0), 0x55);
  assert.deepEqual(b.fn.instance.errors, []);
});
