/** Plugs the copy engine into a machine, does what its driver does, and prints the TLPs of one copy. */
import { createMachine } from 'ztlp';
import { copyEngine } from 'ztlp/devices';

const machine = await createMachine({
  options: { mps: 256 },
  slots: [{ device: copyEngine({ latencyNs: 500, nsPerByte: 1 }) }],
});
const [fn] = machine.functions;
const at = { path: 'x86-uc', function: fn, bar: 0, block: false };
const write32 = (offset, value) =>
  machine.cpu.write({ ...at, offset, data: new Uint8Array(Uint32Array.of(value).buffer) });
const write64 = (offset, value) =>
  machine.cpu.write({ ...at, offset, data: new Uint8Array(BigUint64Array.of(value).buffer) });

machine.enableMsix(fn, [
  { address: 0xfee0_1000, data: 0x40 }, // done
  { address: 0xfee0_1000, data: 0x41 }, // error
]);
machine.memory.write(
  0x1f80,
  Uint8Array.from({ length: 600 }, (_, n) => n),
);
write64(0x08, 0x1f80n); // SRC
write64(0x10, 0x8000n); // DST
write32(0x18, 600); // LEN
machine.trace.start();
write32(0x1c, 1); // CONTROL: START
machine.run(2000);

for (const { direction, tlp } of machine.trace.take()) {
  const where = tlp.flow === 'CPL' ? '' : ` 0x${tlp.address.toString(16)}`;
  console.log(`${direction.padEnd(4)} ${tlp.type.padEnd(4)}${where} ${4 * tlp.length} bytes`);
}
for (const { data, ns } of machine.takeInterrupts())
  console.log(`interrupt 0x${data.toString(16)} at ${ns} ns`);
console.log(
  'copied:',
  Buffer.compare(machine.memory.read(0x8000, 600), machine.memory.read(0x1f80, 600)) === 0,
);
