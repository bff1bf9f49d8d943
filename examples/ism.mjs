/** Two ISM functions: one registers memory, the other one moves 4 KiB into it, as one PCISTB and as 4-byte stores. */
import { createMachine } from 'ztlp';
import { ISM_GROUP, IsmFabric, ism } from 'ztlp/devices';

const fabric = new IsmFabric();
const machine = await createMachine({
  platform: 's390x',
  options: { zpciMode: 'native', ...ISM_GROUP },
  slots: [0x11, 0x22].map((gid) => ({ device: ism({ gid, fabric }), state: 'enabled' })),
});
const [sender, receiver] = machine.functions;
const big = (...fields) => {
  const bytes = new Uint8Array(8 * fields.length);
  for (const [n, field] of fields.entries()) new DataView(bytes.buffer).setBigUint64(8 * n, field);
  return bytes;
};
/** A command: payload, header, and the response behind its header. */
function command(fn, code, payload = new Uint8Array(0)) {
  const header = big((BigInt(code) << 32n) | BigInt(8 + payload.length));
  const at = { fh: fn.handle, as: 2 };
  if (payload.length > 0) machine.cpu.pcistb({ ...at, offset: 8, length: payload.length, source: payload });
  machine.cpu.pcistb({ ...at, offset: 0, length: 8, source: header });
  const { data } = machine.cpu.pcilg({ ...at, offset: 8, length: 8 });
  return BigInt(data);
}

const [SBA, IEQ, DMB] = [0x1000n, 0x2000n, 0x10000n];
command(receiver, 0x01, big(SBA)); // REG_SBA
command(receiver, 0x02, big(IEQ, 512n)); // REG_IEQ
// REG_DMB: 64 KiB with SBA index 32, which function 0x11 may write.
const token = command(receiver, 0x0a, big(DMB, (65536n << 32n) | 32n, 0n, 0x11n));
console.log('token', `0x${token.toString(16)}`);

const block = Uint8Array.from({ length: 4096 }, (_, n) => n * 7);
const SIGNAL = 1n << 23n;
const { cc } = machine.cpu.pcistb({
  fh: sender.handle,
  as: 0,
  offset: token | SIGNAL,
  length: 4096,
  source: block,
});
const same = Buffer.compare(machine.memory.read(Number(DMB), 4096), block) === 0;
console.log(`one PCISTB: cc ${cc}, ${same ? 'the block is there' : 'the block is not there'}`);
console.log('signal area:', Buffer.from(machine.memory.read(Number(SBA), 9)).toString('hex'));

for (let at = 0n; at < 4096n; at += 4n)
  machine.cpu.pcistg({ fh: sender.handle, as: 0, offset: token | at, length: 4, data: 0 });
const stays = Buffer.compare(machine.memory.read(Number(DMB), 4096), block) === 0;
console.log(
  `1024 PCISTG: ${sender.stats.policyViolations} refused, the block ${stays ? 'stays' : 'is gone'}`,
);
