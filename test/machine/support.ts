/** What the tests of the machine share. */
import { expect } from 'vitest';
import {
  createMachine,
  type Machine,
  type MachineConfig,
  type PciFunction,
  ZtlpError,
} from '../../src/index.js';
import { type Build, useBuild } from '../support/builds.js';

export const FIRST_ADDRESS = 2 ** 40;
export const MIB = 1 << 20;

export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, n) => (n * 37 + (n >>> 8) * 11 + seed) & 0xff);
}

export function same(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** The function in slot `slot`. */
export function slot(machine: Machine, index = 0): PciFunction {
  return machine.functions[index] as PciFunction;
}

export function errorOf(action: () => unknown): ZtlpError {
  try {
    action();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Machines on one build of the core. For the head of a `describe`. */
export function machinesOf(build: Build): {
  readonly core: () => WebAssembly.Module;
  readonly make: (config?: MachineConfig) => Promise<Machine>;
  readonly refused: (config: unknown) => Promise<ZtlpError>;
} {
  const core = useBuild(build);
  return {
    core,
    /** A machine with little memory, unless told otherwise. */
    make: (config = {}) => createMachine({ core: core(), hostMemoryBytes: 0x10000, ...config }),
    /** The error with which a configuration is refused, whatever its types. */
    refused: async (config) => {
      let error: unknown;
      try {
        const whole = typeof config === 'object' && config !== null && !Array.isArray(config);
        await createMachine((whole ? { core: core(), ...config } : config) as MachineConfig);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(ZtlpError);
      return error as ZtlpError;
    },
  };
}
