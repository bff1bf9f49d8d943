/** PCI STORE BLOCK against what QEMU 7.2 was observed to answer: every PCISTB case of vectors/zpci-qemu72.json. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createMachine,
  type FunctionState,
  type Machine,
  memoryDevice,
  type PciFunction,
  type U64,
  type ZpciAnswer,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

interface Window {
  readonly as: number;
  readonly offset: string;
  readonly hex: string;
}

interface Case {
  readonly id: string;
  readonly group: string;
  readonly instruction: string;
  readonly basis: 'architecture' | 'region' | 'model' | 'qemu-specific';
  readonly device: {
    readonly id: string;
    readonly fhEnabled: string;
    readonly fhDisabled: string;
    readonly maxstbl: number;
    readonly bars: Readonly<Record<string, { readonly sizeLog2: number }>>;
  };
  /** Null or absent where the case addresses a part that has rules of its own. */
  readonly region?: {
    readonly as: number;
    readonly start: number;
    readonly size: number;
    readonly minAccess: number;
    readonly maxAccess: number;
    readonly unaligned: boolean;
  } | null;
  readonly state: { readonly function: string; readonly memoryBefore?: Window };
  readonly operands: {
    readonly fh: string;
    readonly as: number;
    readonly len: number;
    readonly offset: string;
    readonly sourceAddress: string;
    /** Readable bytes at the source: all of `len`, the first 256, or what is left of memory. */
    readonly sourceHex: string;
    readonly problemState: boolean;
  };
  readonly expect: {
    readonly cc: 0 | 1 | 2 | 3 | null;
    readonly status: number | null;
    readonly programInterruption: {
      readonly code: number;
      readonly name: string;
      readonly ilc: number;
    } | null;
    readonly memoryAfter?: Window;
  };
}

interface Vectors {
  readonly format: string;
  readonly cases: readonly Case[];
}

const VECTORS = JSON.parse(
  readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8'),
) as Vectors;
const CASES = VECTORS.cases.filter(({ instruction }) => instruction === 'PCISTB');

/** Cases that a machine cannot be built for, by id, with the reason: none. Nothing else is left out. */
const NOT_EXPRESSIBLE: Readonly<Record<string, string>> = {};

/** Cases run for their answer alone, by id, with the reason. */
const ANSWER_ONLY: Readonly<Record<string, string>> = {
  'pcistb.pba-000':
    'the pending-bit array ignores writes, a memory BAR keeps them; the case compares no memory',
  'pcistb.pba-002':
    'the pending-bit array ignores writes, a memory BAR keeps them; the case compares no memory',
};

const RUN = CASES.filter(({ id }) => !(id in NOT_EXPRESSIBLE));

/** Memory of the observed machine: sources stand close to its end. */
const HOST_BYTES = 512 << 20;

/** How a function gets into the state that a case names: the states of sheet zpci.md 1.2, one after the other. */
const STATES: Readonly<Record<string, readonly FunctionState[]>> = {
  enabled: ['enabled'],
  disabled: ['disabled'],
  error: ['enabled', 'error'],
  'error-unblocked': ['enabled', 'error', 'error-ls-open'],
  recovered: ['enabled', 'error', 'error-ls-open', 'enabled'],
};

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

/** The machine's BAR has one rule for all of it: that of the addressed region. */
function barsOf({ device, region }: Case): NonNullable<Parameters<typeof memoryDevice>[0]>['bars'] {
  const valid =
    region === undefined || region === null
      ? { min: 1, max: 8 }
      : { min: region.minAccess, max: region.maxAccess, unaligned: region.unaligned };
  return Array.from({ length: 6 }, (_, n) => {
    const bar = device.bars[n];
    return bar === undefined ? undefined : { size: 2 ** bar.sizeLog2, valid };
  });
}

function expected({ expect: { cc, status, programInterruption } }: Case): ZpciAnswer {
  const name = programInterruption?.name.replaceAll('-', ' ');
  return {
    cc,
    status: status ?? 0,
    programInterruption:
      programInterruption && ({ ...programInterruption, name } as ZpciAnswer['programInterruption']),
  };
}

describe('the PCISTB cases', () => {
  it('are 96, of which 96 are run, 2 of them for their answer alone, and 0 cannot be expressed', () => {
    expect(VECTORS.format).toBe('zpci-vectors/1');
    expect(CASES.length).toBe(96);
    expect(RUN.length).toBe(96);
    expect(Object.keys(NOT_EXPRESSIBLE).length).toBe(0);
    const ids = new Set(CASES.map(({ id }) => id));
    expect(ids.size).toBe(96);
    for (const id of [...Object.keys(NOT_EXPRESSIBLE), ...Object.keys(ANSWER_ONLY)])
      expect(ids).toContain(id);
    const withoutRegion = CASES.filter(({ region }) => region === undefined || region === null);
    expect(withoutRegion.map(({ id }) => id)).toEqual(Object.keys(ANSWER_ONLY));
  });

  it('compare memory in 74 cases and nothing but the answer in the others', () => {
    expect(CASES.filter(({ expect: { memoryAfter } }) => memoryAfter !== undefined).length).toBe(74);
  });

  it('hold no QEMU deviation, one choice of a model, and otherwise architecture', () => {
    const bases = CASES.map(({ basis }) => basis);
    expect(bases.filter((basis) => basis === 'architecture').length).toBe(95);
    expect(CASES.filter(({ basis }) => basis === 'model').map(({ id }) => id)).toEqual(['pcistb.source-005']);
  });
});

describe.each(BUILDS)('the PCISTB cases on the %s build', (build) => {
  let core: WebAssembly.Module;
  /** One machine for each device and rule, made when its first case comes. */
  const machines = new Map<string, Promise<Machine>>();

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
    return () => machines.clear();
  });

  function machineOf(vector: Case): Promise<Machine> {
    const { device } = vector;
    const bars = barsOf(vector);
    const key = JSON.stringify([device.id, bars]);
    const known = machines.get(key);
    if (known !== undefined) return known;
    const made = createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: HOST_BYTES,
      slots: [
        {
          device: memoryDevice({ name: device.id, ...(bars && { bars }) }),
          options: { maxstbl: device.maxstbl },
          handleIndex: Number(device.fhEnabled) & 0xffff,
        },
      ],
    });
    machines.set(key, made);
    return made;
  }

  function setUp(fn: PciFunction, { device, state }: Case): void {
    fn.state = 'disabled';
    expect(fn.handle).toBe(Number(device.fhDisabled));
    const states = STATES[state.function];
    if (states === undefined) throw new Error(`state ${state.function} has no counterpart`);
    for (const next of states) fn.state = next;
  }

  /** Runs a case with one source; compares the answer and every byte of every BAR. */
  function run(machine: Machine, vector: Case, source: Uint8Array | U64): void {
    const { operands, state } = vector;
    const fn = machine.functions[0] as PciFunction;
    setUp(fn, vector);
    const before = fn.bars.map((bar, n) => {
      if (bar === undefined) return undefined;
      const memory = fn.barMemory(n);
      memory.forEach((_, at) => {
        memory[at] = (at * 13 + n) & 0xff;
      });
      if (state.memoryBefore?.as === n) {
        memory.set(hex(state.memoryBefore.hex), Number(state.memoryBefore.offset));
      }
      return memory.slice();
    });
    const answer = machine.cpu.pcistb({
      fh: Number(operands.fh),
      as: operands.as,
      offset: BigInt(operands.offset),
      length: operands.len,
      source,
      sourceAddress: BigInt(operands.sourceAddress),
      problemState: operands.problemState,
    });
    expect(answer).toEqual(expected(vector));
    const { memoryAfter } = vector.expect;
    for (const [n, contents] of before.entries()) {
      if (contents === undefined) continue;
      if (memoryAfter?.as === n) contents.set(hex(memoryAfter.hex), Number(memoryAfter.offset));
      else if (answer.cc === 0 && operands.as === n) {
        if (vector.id in ANSWER_ONLY) continue;
        // No window was recorded: byte i of the source goes to offset + i (2.5).
        contents.set(hex(operands.sourceHex).subarray(0, operands.len), Number(operands.offset));
      }
      expect(Buffer.compare(fn.barMemory(n), contents), `contents of BAR ${n}`).toBe(0);
    }
  }

  it.each(RUN)('$id agrees', async (vector) => {
    const machine = await machineOf(vector);
    const fn = machine.functions[0] as PciFunction;
    fn.state = 'enabled';
    expect(fn.handle).toBe(Number(vector.device.fhEnabled));
    const { sourceAddress, sourceHex, len } = vector.operands;
    const source = hex(sourceHex);
    if (source.length > 0) machine.memory.write(Number(sourceAddress), source);
    run(machine, vector, BigInt(sourceAddress));
    // The same with the bytes themselves, where the case knows them all.
    if (source.length === len) run(machine, vector, source);
  });
});
