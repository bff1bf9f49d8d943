/** What the tests of PCI STORE BLOCK share: answers, memory patterns, a function looked at from all sides. */
import { expect } from 'vitest';
import {
  createMachine,
  type Machine,
  type MachineConfig,
  memoryDevice,
  type OptionInput,
  type PciFunction,
  type PcistbInput,
  type ZpciAnswer,
} from '../../src/index.js';
import { type Build, useBuild } from '../support/builds.js';

export const ENABLE = 0x8000_0000;
export const BAR_BYTES = 0x10000;
export const HOST_BYTES = 0x10000;
export const PAGE = 4096;
export const DONE: ZpciAnswer = { cc: 0, status: 0, programInterruption: null };
export const NO_FUNCTION: ZpciAnswer = { cc: 3, status: 0, programInterruption: null };
export const BLOCKED: ZpciAnswer = { cc: 1, status: 12, programInterruption: null };
export const BAD_SPACE: ZpciAnswer = { cc: 1, status: 20, programInterruption: null };

function exception(code: number, name: NonNullable<ZpciAnswer['programInterruption']>['name']): ZpciAnswer {
  return { cc: null, status: 0, programInterruption: { code, name, ilc: 6 } };
}

export const PRIVILEGED = exception(2, 'privileged operation');
export const ADDRESSING = exception(5, 'addressing');
export const SPECIFICATION = exception(6, 'specification');
export const OPERAND = exception(0x15, 'operand');

/** Bytes that differ from their neighbours and, with another seed, from each other. */
export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, n) => (n * 29 + (n >>> 8) * 7 + seed) & 0xff);
}

/** Old contents of a BAR, and what stores bring: never equal at the same distance. */
export const BEFORE = pattern(BAR_BYTES, 3);
export const SOURCE = pattern(8192, 0x90);

type Bars = NonNullable<NonNullable<Parameters<typeof memoryDevice>[0]>['bars']>;

export const RELAXED_NATIVE: OptionInput = { zpciMode: 'native', relaxed: true };

export const RELAXED_MODES: readonly OptionInput[] = [
  RELAXED_NATIVE,
  { zpciMode: 'interpreted', relaxed: true },
  { zpciMode: 'emulated', relaxed: true, interceptStrict: false },
  { zpciMode: 'vfio', relaxed: true, interceptStrict: false },
];

export const STRICT_MODES: readonly OptionInput[] = [
  {},
  { zpciMode: 'native' },
  { zpciMode: 'interpreted' },
  { zpciMode: 'vfio' },
  { zpciMode: 'emulated', relaxed: true },
  { zpciMode: 'vfio', relaxed: true },
];

export function differs(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) !== 0;
}

/** One function of a machine, its BAR 0 filled with BEFORE, and stores that are looked at from all sides. */
export class Rig {
  readonly machine: Machine;
  readonly fn: PciFunction;

  constructor(machine: Machine, slot = 0) {
    this.machine = machine;
    this.fn = machine.functions[slot] as PciFunction;
    this.fn.barMemory(0).set(BEFORE.subarray(0, this.fn.bars[0]?.size));
  }

  /** A legal strict store, changed by `change`. */
  store(change: Partial<PcistbInput> = {}): ZpciAnswer {
    const { fn, machine } = this;
    return machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source: SOURCE, ...change });
  }

  /** Answers `answer`; nothing is written, counted or sent. */
  refuses(change: Partial<PcistbInput>, answer: ZpciAnswer): void {
    const memory = this.fn.barMemory(0).slice();
    const { stats } = this.fn;
    expect(this.store(change)).toEqual(answer);
    expect(differs(this.fn.barMemory(0), memory), 'memory changed').toBe(false);
    expect(this.fn.stats).toEqual(stats);
  }

  /** Condition code 0; exactly the bytes asked for are written and the store-block counter is one more. */
  accepts(change: Partial<PcistbInput> = {}): void {
    const memory = this.fn.barMemory(0).slice();
    const { storeBlocks } = this.fn.stats;
    expect(this.store(change)).toEqual(DONE);
    const length = (change.length ?? 16) & 0x1fff;
    memory.set(SOURCE.subarray(0, length), Number(change.offset ?? 0));
    expect(differs(this.fn.barMemory(0), memory), 'memory is not what was stored').toBe(false);
    expect(this.fn.stats.storeBlocks).toBe(storeBlocks + 1);
  }
}

/** Machines and rigs on one build of the core. For the head of a `describe`. */
export function rigsOf(build: Build): {
  readonly core: () => WebAssembly.Module;
  readonly machineOf: (slots: MachineConfig['slots'], options?: OptionInput) => Promise<Machine>;
  readonly rig: (options?: OptionInput, bars?: Bars) => Promise<Rig>;
} {
  const core = useBuild(build);
  const machineOf = (slots: MachineConfig['slots'], options: OptionInput = {}): Promise<Machine> =>
    createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: HOST_BYTES,
      options,
      ...(slots && { slots }),
    });
  const rig = async (options: OptionInput = {}, bars: Bars = [{ size: BAR_BYTES }]): Promise<Rig> =>
    new Rig(await machineOf([{ device: memoryDevice({ bars }), options, handleIndex: 1 }]));
  return { core, machineOf, rig };
}
