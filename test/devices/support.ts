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

  /** Programs and unmasks the vectors, and turns MSI-X on where the machine does not have it on from the start. */
  arm(bar: number, table: number, vectors: number): void {
    const machine = this.machine as Machine & { enableMsix?: (fn: PciFunction) => void };
    machine.enableMsix?.(this.fn);
    for (let vector = 0; vector < vectors; vector++) {
      const entry = table + 16 * vector;
      this.write64(bar, entry, MESSAGE_ADDRESS);
      this.write32(bar, entry + 8, MESSAGE_DATA + vector);
      this.write32(bar, entry + 12, 0);
    }
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
