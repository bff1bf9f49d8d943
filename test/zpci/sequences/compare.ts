/** Sequences on the machine under test and on the reference, compared step by step; and what they reached. */
import fc from 'fast-check';
import { decodeTlp, encodeTlp, type PciFunction } from '../../../src/index.js';
import { execute } from '../reference/execute.js';
import { Reference, type ReferenceFunction } from '../reference/machine.js';
import { DONE, type Instruction, type Operands } from '../reference/types.js';
import { Dice } from './dice.js';
import { step } from './generate.js';
import { FIRST_MEMORY } from './layout.js';
import { MEMORY_BYTES, type Rig } from './rig.js';

/** How often each instruction met each state of its function with each answer. */
export type Coverage = Map<string, number>;

/** One sequence: whether TLPs are looked at, and the numbers of its steps. */
export interface Sequence {
  readonly focus: number;
  readonly traced: boolean;
  readonly steps: readonly (readonly number[])[];
}

const NUMBERS_PER_STEP = 23;

export const sequences: fc.Arbitrary<Sequence> = fc.noBias(
  fc.record({
    focus: fc.nat(2),
    traced: fc.nat(9).map((n) => n === 9),
    steps: fc.array(fc.array(fc.nat(0xffff), { minLength: NUMBERS_PER_STEP, maxLength: NUMBERS_PER_STEP }), {
      minLength: 1,
      maxLength: 40,
      size: 'max',
    }),
  }),
);

const ORDER = ['event', 'interrupt', 'message', 'device'];
const rank = (line: string): number => ORDER.indexOf(line.split(' ', 1)[0] as string);

function textOf(instruction: Instruction): string {
  const operands = Object.entries(instruction).flatMap(([name, value]) => {
    if (name === 'kind' || value === false || value === undefined) return [];
    if (value instanceof Uint8Array) return [`${name}=${Buffer.from(value).toString('hex')}`];
    const isNumber = typeof value === 'number' || typeof value === 'bigint';
    return [isNumber ? `${name}=0x${value.toString(16)}` : `${name}=${String(value)}`];
  });
  return [instruction.kind, ...operands].join(' ');
}

const statesOf = (functions: readonly (PciFunction | ReferenceFunction)[]): string =>
  functions.map(({ state, handle }) => `${state} ${handle.toString(16)}`).join(', ');

/** The state that the instruction finds its function in. */
function stateFor(machine: Reference, instruction: Instruction): string {
  if (instruction.kind === 'clp') return clpState(machine, instruction);
  if (instruction.kind === 'dma') return machine.functions[instruction.slot]?.state ?? 'unknown';
  if (!('fh' in instruction)) return '';
  return machine.byIndex(instruction.fh)?.state ?? 'unknown';
}

function nameOf(instruction: Instruction): string {
  if (instruction.kind === 'mpcifc') return `mpcifc ${instruction.oc}`;
  return instruction.kind === 'sclp' ? `sclp ${instruction.command}` : instruction.kind;
}

function count(coverage: Coverage, key: string): void {
  coverage.set(key, (coverage.get(key) ?? 0) + 1);
}

function record(
  coverage: Coverage,
  state: string,
  instruction: Instruction,
  answer: string,
  seen: string[],
): void {
  const add = (key: string): void => count(coverage, key);
  add([nameOf(instruction), state, answer.replace(/ data .*/, '')].join(' | '));
  for (const line of seen)
    add(`${line.replace(/ of slot \d+:?/, '').replace(/(event \S+|interrupt|ok).*/, '$1')} in ${state}`);
}

/** CLP names its function, if any, in the block. */
function clpState(machine: Reference, { address }: Operands<'clp'>): string {
  if (!machine.readable(address, 32)) return '';
  const at = Number(address);
  const command = machine.view.getUint16(at + 2);
  if (command !== 3 && command !== 5) return `command ${command}`;
  const fh = machine.view.getUint32(at + 16);
  const operation = command === 5 ? ` oc ${machine.view.getUint8(at + 22)}` : '';
  return `command ${command}${operation} ${machine.byHandle(fh)?.state ?? 'unknown'}`;
}

/** Runs a sequence on both; throws with its listing where they differ. */
export function compare(rig: Rig, { steps, traced, focus }: Sequence, coverage: Coverage): number {
  const { machine } = rig;
  machine.reset();
  machine.memory.write(0, FIRST_MEMORY);
  const reference = new Reference(rig.shapes, FIRST_MEMORY.slice());
  if (traced) machine.trace.start();
  const listing: [Instruction, string][] = [];
  const differ = (what: string, actual: string, expected: string): never => {
    const lines = listing.map(([instruction, answer]) => `  ${textOf(instruction)} -> ${answer}`);
    throw new Error(`${what} is [${actual}] instead of [${expected}]\n${lines.join('\n')}`);
  };
  const same = (what: string, actual: string, expected: string): void => {
    if (actual !== expected) differ(what, actual, expected);
  };
  for (const numbers of steps) {
    for (const instruction of step(new Dice(numbers), reference, focus)) {
      const state = stateFor(reference, instruction);
      const expected = execute(reference, instruction);
      const seen = reference.seen.sort((one, other) => rank(one) - rank(other));
      reference.seen = [];
      listing.push([instruction, [expected, ...seen].join('; ')]);
      let actual: string;
      try {
        actual = rig.execute(instruction);
      } catch (error) {
        actual = String(error);
      }
      same('the answer', actual, expected);
      same('what happened', rig.take().join('; '), seen.join('; '));
      same('states', statesOf(machine.functions), statesOf(reference.functions));
      if (instruction.kind !== 'store') record(coverage, state, instruction, expected, seen);
    }
  }
  same('memory', ...firstDifference(machine.memory.read(0, MEMORY_BYTES), reference.memory));
  machine.functions.forEach((fn, slot) => {
    const { stats, bars, config } = reference.functions[slot] as ReferenceFunction;
    const { loads, stores, storeBlocks, refreshes } = fn.stats;
    same(
      `counters of slot ${slot}`,
      JSON.stringify({ loads, stores, storeBlocks, refreshes }),
      JSON.stringify(stats),
    );
    bars.forEach((bytes, n) => {
      if (bytes !== undefined) same(`BAR ${n} of slot ${slot}`, ...firstDifference(fn.barMemory(n), bytes));
    });
    const now = Uint8Array.from({ length: 64 }, (_, n) => fn.config.read(n, 1));
    same(`configuration space of slot ${slot}`, ...firstDifference(now, config));
  });
  if (traced) same('malformed TLPs', malformed(rig, coverage), '');
  return listing.length;
}

/** Text of the two where they differ; equal when they do not. */
function firstDifference(actual: Uint8Array, expected: Uint8Array): [string, string] {
  if (Buffer.compare(actual, expected) === 0) return [DONE, DONE];
  const at = actual.findIndex((byte, n) => byte !== expected[n]);
  const show = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(at, at + 16)).toString('hex');
  return [`${at.toString(16)}: ${show(actual)}`, show(expected)];
}

/** Rules that the recorded TLPs break, by the decoder's check. */
function malformed({ machine }: Rig, coverage: Coverage): string {
  machine.trace.stop();
  const broken: string[] = [];
  for (const { tlp, data } of machine.trace.take()) {
    count(coverage, `TLP ${tlp.type}`);
    const wire = encodeTlp(tlp, data.length > 0 ? data : undefined, { malformed: true });
    const found = decodeTlp(wire, { mps: 256, beCheck: true }).malformed;
    if (found !== undefined) broken.push(`${tlp.type}: ${found.code}`);
  }
  return broken.join(', ');
}
