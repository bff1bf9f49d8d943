/** The recorded log of a Linux driver on s390x: its instructions in order, each with the lines of what it did. */
import { readFileSync } from 'node:fs';
import type { DeviceRegionAccess } from '../../src/trace/device-log.js';
import {
  isInstruction,
  parseZpciLine,
  type ZpciAccess,
  type ZpciEffect,
  type ZpciInstruction,
} from '../../src/trace/zpci-log.js';

/** Format and origin: test/vectors/trace-linux.md. */
export const LINUX_LOG: readonly string[] = readFileSync(
  new URL('../vectors/trace-linux-s390x-virtio-net.log', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n');

export interface Step {
  /** From 1. */
  readonly line: number;
  readonly instruction: ZpciInstruction;
  /** What the instruction did, without messages. */
  readonly effects: readonly ZpciEffect[];
  /** Messages that the device sent before the next instruction. They stand under this one whatever caused them. */
  readonly messages: readonly DeviceRegionAccess[];
}

export interface LinuxLog {
  /** Lines before the first instruction: the emulator looks at the function that is plugged in. */
  readonly firmware: readonly ZpciEffect[];
  readonly steps: readonly Step[];
}

/** The region of messages: function 1 of the machine. */
export const MESSAGES = 'msix-s390-0001';

export function readLog(lines: readonly string[]): LinuxLog {
  const firmware: ZpciEffect[] = [];
  const steps: (Step & { readonly effects: ZpciEffect[]; readonly messages: DeviceRegionAccess[] })[] = [];
  lines.forEach((text, n) => {
    const record = parseZpciLine(text);
    if (record.kind === 'bad' || record.kind === 'other') throw new Error(`line ${n + 1}: ${text}`);
    const step = steps.at(-1);
    if (isInstruction(record)) steps.push({ line: n + 1, instruction: record, effects: [], messages: [] });
    else if (step === undefined) firmware.push(record);
    else if ('region' in record && record.region === MESSAGES) step.messages.push(record);
    else step.effects.push(record);
  });
  return { firmware, steps };
}

/** The operands of a load or store. */
export const isAccess = (instruction: ZpciInstruction): instruction is ZpciAccess =>
  instruction.kind === 'PCILG' || instruction.kind === 'PCISTG';

/**
 * Loads that did nothing, as far as the log tells, and that the next line repeats: the attempt was broken off, and the value
 * is what the register held before. The value to compare with is that of the next line.
 */
export function repeated({ steps }: LinuxLog): ReadonlyMap<Step, Step> {
  const found = new Map<Step, Step>();
  steps.forEach((step, n) => {
    const next = steps[n + 1];
    if (next === undefined || step.instruction.kind !== 'PCILG' || step.effects.length > 0) return;
    if (operands(step) === operands(next)) found.set(step, next);
  });
  return found;
}

function operands({ instruction }: Step): string {
  if (!isAccess(instruction)) return instruction.kind;
  const { kind, as, len, lo, hi } = instruction;
  return [kind, as, len, lo, hi].join();
}
