/** Checks of what is given to an s390x PCI instruction: the same words for the same operand, whichever instruction it is. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import type { Platform } from '../path/table.js';

/** Throws on a machine that has no PCI instructions. */
export function needS390(instruction: string, platform: Platform): void {
  if (platform === 's390x') return;
  throw new ZtlpError(
    'invalid-value',
    `${instruction} is an s390x instruction, this machine is ${platform}`,
    { field: 'platform', value: platform, allowed: 's390x' },
  );
}

/** The operands are an object, and the machine has the instruction. */
export function checkInput(instruction: string, input: object, platform: Platform): void {
  needObject('input', input);
  needS390(instruction, platform);
}

/** Function handle, 32 bits. */
export function checkHandle(fh: number): number {
  return inRange('fh', fh, 0, 0xffff_ffff);
}

/** Address space, 4 bits. */
export function checkSpace(as: number): number {
  return inRange('as', as, 0, 15);
}

/** A length as a register of 32 bits gives it. */
export function checkLength(length: number): number {
  return inRange('length', length, 0, 0xffff_ffff);
}

/** Number of a general register. */
export function checkRegister(field: string, register: number | undefined): void {
  if (register !== undefined) inRange(field, register, 0, 15);
}

/** Whether the instruction is executed in problem state. */
export function isInProblemState({ problemState }: { readonly problemState?: boolean }): boolean {
  if (problemState !== undefined && typeof problemState !== 'boolean')
    throw invalid('problemState', problemState, 'true, false');
  return problemState === true;
}
