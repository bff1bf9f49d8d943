/** The guest of `zpci-vectors/1`: the two functions of the observed machine, brought to where a case begins. */
import { ZtlpError } from '../base/errors.js';
import { virtioLike } from '../devices/virtio-like.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine, type Machine } from '../machine/machine.js';
import { encodeFib, type FibInput } from '../zpci/fib.js';
import type { CaseFields } from './case.js';
import { PRESETS } from './presets.js';

/** Memory of the observed machine: sources stand close to its end. */
const HOST_BYTES = 512 << 20;
/** Where the guest keeps its blocks: no case uses these addresses. */
export const FIB_AT = 0x1000;
export const CLP_AT = 0x2000;
/** Translation tables of the cases, and the frames that are watched. */
const TABLES = { from: 0x1100_0000, to: 0x1100_9000 };
export const FRAMES = { from: 0x1400_0000, to: 0x1420_0000 };
export const FILL = 0x55;

const VALID_FIB: FibInput = { pba: 0x1_0000_0000n, pal: 0x1_003f_ffff, iota: 0x1100_0804 };
const INTERRUPTS_FIB: FibInput = {
  isc: 3,
  noi: 4,
  aibvo: 2,
  sum: true,
  aisbo: 5,
  aibv: 0x1300_0000,
  aisb: 0x1300_1000,
};

const machines = new Map<boolean, Machine>();

/** Makes the machines: one by the architecture, one with the deviations of QEMU 7.2. Needed before a case is run. */
export async function prepareZpci(): Promise<void> {
  for (const isQemu of [false, true]) {
    if (machines.has(isQemu)) continue;
    const options = { ...PRESETS.zpci, ...(isQemu ? PRESETS.zpciQemuSpecific : {}) };
    const machine = await createMachine({
      platform: 's390x',
      hostMemoryBytes: HOST_BYTES,
      options: { clpBarWords: options.clpBarWords },
      slots: [
        { device: virtioLike({ name: 'net0', vectors: 1024 }), handleIndex: 0, options },
        { device: virtioLike({ name: 'rng0', deviceId: 0x1044 }), handleIndex: 1, options },
      ],
    });
    machines.set(isQemu, machine);
  }
}

/** One case's view of the machine. */
export class Guest {
  readonly machine: Machine;
  /** The function that the case is about. */
  readonly fn: PciFunction;

  /** @param index function 0 or 1 */
  constructor(isQemu: boolean, index: number) {
    const machine = machines.get(isQemu);
    if (machine === undefined)
      throw new ZtlpError('unsupported', 'zpci-vectors/1: its machines are not made yet', {
        field: 'format',
      });
    this.machine = machine;
    this.fn = machine.functions[index & 1] as PciFunction;
    for (const fn of machine.functions) this.renew(fn);
    machine.takeEvents();
    machine.takeInterrupts();
    machine.takeAdapterInterrupts();
  }

  /** A fresh disable and enable, as before each recorded case. */
  private renew(fn: PciFunction): void {
    if (fn.state !== 'disabled') this.setFunction(fn, 1, 0);
    this.setFunction(fn, 0, 1);
  }

  private setFunction(fn: PciFunction, oc: number, ndas: number): void {
    const block = new Uint8Array(72);
    const view = new DataView(block.buffer);
    view.setUint16(0, 32);
    view.setUint16(2, 5);
    view.setUint32(16, fn.handle);
    view.setUint8(22, oc);
    view.setUint8(23, ndas);
    view.setUint16(32, 40);
    this.machine.memory.write(CLP_AT, block);
    this.machine.cpu.clp({ address: CLP_AT });
  }

  mpcifc(oc: number, block: Uint8Array): number | null {
    this.machine.memory.write(FIB_AT, block);
    return this.machine.cpu.mpcifc({ fh: this.fn.handle, oc, fib: FIB_AT }).cc;
  }

  /** Tables, registrations, state: everything that `state` names. */
  setUp(state: CaseFields): void {
    const { machine, fn } = this;
    if (state.has('memory')) this.tables(state);
    state.skip('memoryElsewhere', 'watchedMemoryBefore');
    if (state.has('watchedMemoryBefore'))
      machine.memory.write(FRAMES.from, new Uint8Array(FRAMES.to - FRAMES.from).fill(FILL));
    const setup = state.has('setup') ? state.list('setup').map(String) : [];
    if (state.has('registered')) {
      this.done('registered', this.mpcifc(4, blockOf(state.object('registered'))));
    }
    for (const words of setup) {
      if (words.startsWith('MPCIFC register-ioat')) {
        if (!state.has('registered')) this.done(words, this.mpcifc(4, encodeFib(VALID_FIB)));
      } else if (words.startsWith('MPCIFC register-interrupts'))
        this.done(words, this.mpcifc(2, encodeFib(INTERRUPTS_FIB)));
      else if (words.includes('(oc 7)')) this.done(words, this.mpcifc(7, encodeFib({})));
      else if (words.includes('(oc 9)')) this.done(words, this.mpcifc(9, encodeFib({})));
      else if (words === 'CLP disable function') this.setFunction(fn, 1, 0);
      else if (words.startsWith('RPCIT with no translation')) this.fail(0x1_0000_0000n);
      else if (words === 'RPCIT outside the registered range') this.fail(0x9_0000_0000n);
      else throw new ZtlpError('unsupported', `setup ${JSON.stringify(words)} is not known`);
    }
    if (state.text('function') === 'disabled' && fn.state !== 'disabled') this.setFunction(fn, 1, 0);
    if (state.has('rpcit'))
      state.objects('rpcit', (range) => {
        const { cc } = machine.cpu.rpcit({
          fh: fn.handle,
          start: range.u64('start'),
          length: range.u64('length'),
        });
        this.done('rpcit', cc);
      });
    machine.takeEvents();
  }

  /** An RPCIT that puts the function into error. */
  fail(start: bigint): void {
    this.machine.cpu.rpcit({ fh: this.fn.handle, start, length: 0x1000 });
    if (this.fn.state !== 'error') throw new ZtlpError('unsupported', 'setup: no error came out of RPCIT');
  }

  putQword(address: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value);
    this.machine.memory.write(address, bytes);
  }

  private tables(state: CaseFields): void {
    this.machine.memory.write(TABLES.from, new Uint8Array(TABLES.to - TABLES.from));
    const elsewhere = state.has('memoryElsewhere') ? state.text('memoryElsewhere') : '';
    if (elsewhere.startsWith('entries 0-7')) {
      for (const table of [TABLES.from, TABLES.from + 0x4000])
        for (const n of [0, 1, 2, 3, 4, 5, 6, 7, 2047]) this.putQword(table + 8 * n, 0x20n);
      for (let n = 0; n < 512; n++) this.putQword(TABLES.from + 0x8000 + 8 * n, 0x400n);
    }
    state.objects('memory', (entry) => {
      this.putQword(Number(entry.u64('address')), BigInt(entry.u64('qword')));
    });
  }

  private done(words: string, cc: number | null): void {
    if (cc !== 0)
      throw new ZtlpError('unsupported', `setup ${JSON.stringify(words)} ended with condition code ${cc}`);
  }
}

/** A function information block as cases print it. */
export function blockOf(fields: CaseFields): Uint8Array {
  const bytes = encodeFib({
    fc: fields.integer('fc'),
    pba: fields.u64('pba'),
    pal: fields.u64('pal'),
    iota: fields.u64('iota'),
    aibv: fields.u64('aibv'),
    aisb: fields.u64('aisb'),
    fmb: fields.u64('fmbAddr'),
  });
  bytes[0] = fields.integer('fmt');
  new DataView(bytes.buffer).setUint32(40, Number(fields.u64('intData')));
  return bytes;
}
