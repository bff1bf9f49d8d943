/** A zPCI function whose DMA a test drives, and tables for it in guest memory. */
import { type Device, type DeviceContext, defineDevice } from '../../src/device/index.js';
import {
  createMachine,
  type Machine,
  type OptionInput,
  type PciFunction,
  type U64,
} from '../../src/index.js';
import { encodeFib, type FibInput } from '../../src/zpci/fib.js';

export const SDMA = 0x1_0000_0000n;
export const MSIA = 0xfe00_0000_0000_0000n;
const FIB = 0x1000;
/** Region-third, segment and page table. */
export const TABLES = { region: 0x1_0000, segment: 0x1_4000, page: 0x1_8000 } as const;
export const IOTA = TABLES.region | 0x804;

export interface Prober {
  readonly machine: Machine;
  readonly fn: PciFunction;
  /** What the device reads at an I/O address: hexadecimal digits, or why not. */
  read(address: U64, length?: number): string;
  /** `ok`, or why not. */
  write(address: U64, bytes: Uint8Array): string;
  /** A memory write of one DW to the message address. */
  message(data: number): void;
  put(address: number, entry: bigint): void;
  mpcifc(oc: number, fib?: FibInput): ReturnType<Machine['cpu']['mpcifc']>;
  rpcit(start: U64, length?: U64): ReturnType<Machine['cpu']['rpcit']>;
  /** Registers [SDMA, SDMA + 4 MiB) with the tables, of which the region and the segment entry of SDMA are there. */
  register(): void;
  /** Code, address and direction of the events since the last call. */
  events(): (readonly [code: number, address: bigint, isRead: boolean])[];
}

export async function prober(core: WebAssembly.Module, options: OptionInput = {}): Promise<Prober> {
  let job: ((ctx: DeviceContext) => void) | undefined;
  const device = defineDevice({
    name: 'prober',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    bars: [{ size: 4096, callback: true }],
    read: () => 0,
    write: (_at, _bytes, _enables, ctx) => {
      job?.(ctx);
    },
  }) as Device;
  const machine = await createMachine({
    core,
    platform: 's390x',
    hostMemoryBytes: 0x40_0000,
    slots: [{ device, options }],
  });
  const fn = machine.functions[0] as PciFunction;
  // The device does its DMA when its register is written, also in a state in which the CPU could not reach it.
  const run = (what: (ctx: DeviceContext) => void): void => {
    job = what;
    fn.instance?.write(0, 0, new Uint8Array(4));
    machine.config.read(fn.id, 0, 4);
  };
  const put = (address: number, entry: bigint): void => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, entry);
    machine.memory.write(address, bytes);
  };
  const mpcifc = (oc: number, fib: FibInput = {}) => {
    machine.memory.write(FIB, encodeFib(fib));
    return machine.cpu.mpcifc({ fh: fn.handle, oc, fib: FIB });
  };
  return {
    machine,
    fn,
    put,
    mpcifc,
    read(address, length = 4) {
      let got = 'nothing came';
      run((ctx) =>
        ctx.dma.read(address, length, {}, (result) => {
          got = result.status === 'ok' ? Buffer.from(result.data).toString('hex') : result.status;
        }),
      );
      return got;
    },
    write(address, bytes) {
      let got = 'nothing came';
      run((ctx) =>
        ctx.dma.write(address, bytes, {}, ({ status }) => {
          got = status;
        }),
      );
      return got;
    },
    message: (data) => {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, data, true);
      run((ctx) => ctx.dma.write(MSIA, bytes));
    },
    rpcit: (start, length = 4096) => machine.cpu.rpcit({ fh: fn.handle, start, length }),
    register() {
      put(TABLES.region + 8 * 2, BigInt(TABLES.segment) | 7n);
      put(TABLES.segment, BigInt(TABLES.page));
      mpcifc(4, { pba: SDMA, pal: SDMA + 0x3f_ffffn, iota: IOTA });
    },
    events: () =>
      machine.takeEvents().map(({ code, address, isRead }) => [code, BigInt(address), isRead] as const),
  };
}
