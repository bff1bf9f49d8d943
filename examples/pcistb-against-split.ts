/** 4 KiB to a BAR by one PCISTB and by the 4-byte split path: same bytes, 16 TLPs against 1024. */
import { createMachine, memoryDevice } from 'ztlp';

const machine = await createMachine({
  platform: 's390x', // zpciMode native: the instructions reach the bus, no emulator serves them
  slots: [{ device: memoryDevice(), options: { zpciMode: 'native', maxstbl: 4096, relaxed: true } }],
});
const [fn] = machine.functions;
if (fn === undefined) throw new Error('the machine has no function');

const data = Uint8Array.from({ length: 4096 }, (_, n) => n & 0xff);
const answer = machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0x1000, length: 4096, source: data });
console.log('one PCISTB: cc', answer.cc, 'and', fn.stats.tlps, 'TLPs,', fn.stats.wireBytes, 'wire bytes');

const split = machine.cpu.write({ path: 'zpci-pcistg4', function: fn, bar: 0, offset: 0x2000, data });
console.log('4-byte split:', split.totals.tlps, 'TLPs,', split.totals.wireBytesDown, 'wire bytes');
