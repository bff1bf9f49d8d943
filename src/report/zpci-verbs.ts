/** What one command of a zPCI script is: its operands, what it does with a machine, what it answers. */
import type { U64 } from '../core/u64.js';
import type { PciFunction } from '../machine/function.js';
import type { Machine } from '../machine/machine.js';
import type { AnswerKey, Answers } from './zpci-expected.js';
import type { IoTables } from './zpci-io-tables.js';
import type { HandleWord, Known, Operands, Values } from './zpci-operands.js';

/** What a command does beside its answers. What happened on the bus is found by who runs it. */
export interface Done {
  readonly answers: Answers;
  /** Why the answer is no success, in a few words. */
  readonly note?: string | undefined;
  /** A block field by field. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
  /** Other lines to show below. */
  readonly lines?: readonly string[];
  /** Answers that a recorded line holds and that say nothing here. */
  readonly unchecked?: readonly AnswerKey[];
  /** The function that the line is about. */
  readonly fn?: PciFunction | undefined;
}

/** DMA that a script asks of a function. */
export interface DmaOutcome {
  readonly status: string;
  readonly data?: Uint8Array;
}

/** The machine of a script, as its commands see it. */
export interface Scene {
  readonly machine: Machine;
  /** Functions by name, in the order of their slots. */
  readonly functions: ReadonlyMap<string, PciFunction>;
  /** 4 KiB in guest memory for blocks that a command builds. */
  readonly scratch: number;
  named(name: string): PciFunction;
  /** The handle that a word means now. */
  handle(word: HandleWord): number;
  /** The function that a handle names, whatever its state. */
  byHandle(fh: number): PciFunction | undefined;
  /** I/O translation tables of a function: made at `at`, or where there is room, when they are not there yet. */
  tables(fn: PciFunction, at?: U64): IoTables;
  hasTables(fn: PciFunction): boolean;
  dma(fn: PciFunction, address: U64, what: number | Uint8Array): DmaOutcome;
  reset(): void;
}

export interface Verb {
  readonly name: string;
  /** Set-up comes before the machine is made; instructions are counted. */
  readonly kind: 'setup' | 'instruction' | 'command';
  readonly operands: Operands;
  readonly answers: readonly AnswerKey[];
  /** Collects `name=value` words that are no operands. */
  readonly others?: { readonly name: string; parse(word: string): unknown };
  /** What can be wrong with the operands together. Throws ZtlpError. */
  check?(values: Readonly<Record<string, unknown>>, known: Known): void;
  run(scene: Scene, values: Readonly<Record<string, unknown>>): Done;
}

/** What a line asks for. */
export interface Statement {
  readonly verb: Verb;
  readonly values: Readonly<Record<string, unknown>>;
}

interface VerbInput<O extends Operands> {
  readonly name: string;
  readonly kind?: Verb['kind'];
  readonly operands: O;
  readonly answers?: readonly AnswerKey[];
  readonly others?: Verb['others'];
  check?(values: Values<O>, known: Known): void;
  run(scene: Scene, values: Values<O>): Done;
}

/** An entry of the table: the operands decide the types of what `check` and `run` are given. */
export function verb<O extends Operands>(input: VerbInput<O>): Verb {
  return { kind: 'command', answers: [], ...input } as unknown as Verb;
}

/** An instruction answers with a condition code, or with a program interruption. */
export function instruction<O extends Operands>(input: VerbInput<O>): Verb {
  const answers: readonly AnswerKey[] = ['cc', 'status', 'outcome', ...(input.answers ?? [])];
  return verb({ ...input, kind: 'instruction', answers });
}
