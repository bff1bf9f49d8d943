/** What the choices of a sequence look at, and the operands that most instructions have. */
import type { Reference, ReferenceFunction } from '../reference/machine.js';
import type { Instruction } from '../reference/types.js';
import type { Dice } from './dice.js';

/** What a choice looks at. */
export interface Scene {
  readonly dice: Dice;
  readonly machine: Reference;
  /** The function that the step is about. */
  readonly fn: ReferenceFunction;
}

/** The instructions that a step may be. */
export type Choice = (scene: Scene) => readonly Instruction[];

export const u64 = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
};

/** Mostly the function's own handle; else one that is wrong in some of its bits, or another function's. */
export function handle({ dice, fn, machine }: Scene): number {
  if (!dice.once(14)) return fn.handle;
  const wrong = [
    (fn.handle ^ 0x8000_0000) >>> 0,
    (fn.handle ^ 0x0100_0000) >>> 0,
    (fn.handle ^ 0x0003_0000) >>> 0,
    (fn.handle ^ 0x0000_4001) >>> 0,
    0,
    0x8000_0000,
    (machine.functions[(fn.slot + 1) % machine.functions.length] as ReferenceFunction).handle,
  ];
  return dice.of(wrong);
}

export const inProblemState = ({ dice }: Scene): boolean => dice.once(40);
export const register = ({ dice }: Scene): number => (dice.once(60) ? 3 : 2);
