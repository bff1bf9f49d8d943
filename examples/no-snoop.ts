/** A device reads with No Snoop what the processor wrote: stale, then flushed, then in a domain that enforces coherency. */
import { createMachine, machineDomains } from 'ztlp';
import { defineDevice } from 'ztlp/device';

const NAMES = ['No Snoop clear', 'No Snoop set'];
const reader = defineDevice({
  name: 'reader',
  vendorId: 0x1af4,
  deviceId: 0x10f1,
  capabilities: { pcie: { maxLinkSpeed: 3, maxLinkWidth: 8 } },
  bars: [
    {
      size: 4096,
      registers: {
        ADDRESS: { offset: 0, width: 8, access: 'rw' },
        // Bit 0 is the No Snoop attribute of the read.
        START: {
          offset: 8,
          width: 4,
          access: 'wo',
          write(value, ctx) {
            const noSnoop = (Number(value) & 1) === 1;
            const address = ctx.registers(0).get64('ADDRESS');
            ctx.dma.read(address, 8, { noSnoop }, (result) => {
              const text = result.status === 'ok' ? new TextDecoder().decode(result.data) : result.status;
              console.log(`  the device reads "${text}", ${NAMES[noSnoop ? 1 : 0]}`);
            });
          },
        },
      },
    },
  ],
});

const machine = await createMachine({ iommus: [{ kind: 'vtd' }], slots: [{ device: reader }] });
const [fn] = machine.functions;
if (fn === undefined) throw new Error('the machine has no function');
const buffer = 0x20_0000;

const store = (text: string): void => machine.memory.write(buffer, new TextEncoder().encode(text));
const deviceReads = (iova: bigint, noSnoop: boolean): void => {
  const at = { path: 'x86-uc', function: fn, bar: 0, block: false } as const;
  machine.cpu.write({ ...at, offset: 0, data: new Uint8Array(BigUint64Array.of(iova).buffer) });
  machine.cpu.write({ ...at, offset: 8, data: Uint8Array.of(noSnoop ? 1 : 0, 0, 0, 0) });
};

const domain = machineDomains(machine, { tables: { at: 0x10_0000, bytes: 0x1_0000 } }).create('dma');
domain.attach({ sid: fn.id });

store('1st data');
machine.memory.flushAll();
let iova = domain.mapDma(buffer, 4096);
store('2nd data');
console.log('the processor wrote "2nd data"; the line is dirty in its cache, memory still has "1st data"');
deviceReads(iova, false);
deviceReads(iova, true);

machine.memory.flush(buffer, 8);
console.log('software flushed the line (CLFLUSH): memory has it');
deviceReads(iova, true);

console.log(`with a mapping that lacks SNP the domain cannot enforce: ${domain.enforceCacheCoherency()}`);
domain.unmapDma(iova);
console.log(`without mappings it can: ${domain.enforceCacheCoherency()}; from now on each leaf has SNP`);
iova = domain.mapDma(buffer, 4096);
store('3rd data');
console.log('the processor wrote "3rd data" and flushed nothing; the unit takes No Snoop away');
deviceReads(iova, true);
console.log(
  `reads that lost their No Snoop: ${fn.stats.noSnoopStripped}, not coherent: ${fn.stats.nonCoherentTlps}`,
);
