/** A test of the counter: `node --test examples/counter.test.mjs`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMachine } from 'ztlp';
import counter from './counter.mjs';

test('a counter interrupts when it has reached its limit', async () => {
  const machine = await createMachine({ slots: [{ device: counter }] });
  const [fn] = machine.functions;
  const at = { path: 'x86-uc', function: fn, bar: 0, block: false };
  const write = (offset, value) => {
    machine.cpu.write({ ...at, offset, data: new Uint8Array(Uint32Array.of(value).buffer) });
  };
  machine.enableMsix(fn, [{ address: 0xfee0_0000, data: 0x41 }]);

  write(0x0, 60);
  assert.deepEqual(machine.takeInterrupts(), []);
  write(0x0, 40);
  assert.deepEqual(machine.takeInterrupts(), [{ slot: 0, address: 0xfee0_0000, data: 0x41, ns: 0 }]);
  assert.deepEqual([...machine.cpu.read({ ...at, offset: 0x4, length: 4 }).data], [100, 0, 0, 0]);
  assert.deepEqual(fn.instance.errors, []);
});
