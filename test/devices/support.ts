/** What tests of the bundled models share: a driver's view of a function in a machine. */
import { createMachine, type Machine, type MachineConfig, type PciFunction } from '../../src/index.js';

/** Message address of the interrupts: a LAPIC's. */
export const MESSAGE_ADDRESS = 0xfee0_1000;
/** Message Data of vector n is this and n. */
export const MESSAGE_DATA = 0x40;

export const le = (value: number | bigint, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, n) => Number((BigInt(value) >> BigInt(8 * n)) & 0xffn));

/** Reads and writes BARs, one access each, as a driver on x86 does. */
export class Driver {
  constructor(
    readonly machine: Machine,
    readonly fn: PciFunction,
  ) {}

  write(bar: number, offset: number, data: Uint8Array): void {
    const { fault } = this.machine.cpu.write({
      path: 'x86-uc',
      function: this.fn,
      bar,
      offset,
      data,
      block: false,
    });
    if (fault !== undefined) throw new Error(`the write at ${offset} ended with a fault`);
  }

  read(bar: number, offset: number, length: number): Uint8Array {
    return this.machine.cpu.read({ path: 'x86-uc', function: this.fn, bar, offset, length, block: false })
      .data;
  }

  write32(bar: number, offset: number, value: number): void {
    this.write(bar, offset, le(value, 4));
  }

  write64(bar: number, offset: number, value: number | bigint): void {
    this.write(bar, offset, le(value, 8));
  }

  read32(bar: number, offset: number): number {
    return new DataView(this.read(bar, offset, 4).buffer).getUint32(0, true);
  }

  read64(bar: number, offset: number): bigint {
    return new DataView(this.read(bar, offset, 8).buffer).getBigUint64(0, true);
  }

  /** Programs and unmasks the first `vectors` vectors, and turns MSI-X on. */
  arm(vectors: number): void {
    const messages = Array.from({ length: vectors }, (_, n) => ({
      address: MESSAGE_ADDRESS,
      data: MESSAGE_DATA + n,
    }));
    this.machine.enableMsix(this.fn, messages);
  }

  /** Vectors whose messages arrived since the last call. */
  vectors(): number[] {
    return this.machine.takeInterrupts().map(({ data }) => data - MESSAGE_DATA);
  }
}

/** A machine with one function, and its driver. */
export async function drive(
  device: NonNullable<MachineConfig['slots']>[number]['device'],
  config: Omit<MachineConfig, 'slots'> = {},
): Promise<Driver> {
  const machine = await createMachine({ hostMemoryBytes: 0x10000, ...config, slots: [{ device }] });
  return new Driver(machine, machine.functions[0] as PciFunction);
}
