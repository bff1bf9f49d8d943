/** The zPCI instructions of a script that load, store and refresh: operands, call, answer. */
import { invalid } from '../base/errors.js';
import { hex64, type U64 } from '../core/u64.js';
import type { PciFunction } from '../machine/function.js';
import { formatHex } from '../tlp/text.js';
import type { ZpciAnswer } from '../zpci/answer.js';
import { blockRule, wordRule } from './broken-rule.js';
import { statusText } from './zpci-blocks.js';
import type { Answers } from './zpci-expected.js';
import { bytes, flag, handle, number, optional, pattern, u64 } from './zpci-operands.js';
import { type Done, instruction, type Scene, type Verb } from './zpci-verbs.js';

const CONFIG_SPACE = 15;
const BLOCK_BYTES = 8191;

const NO_FUNCTION = 'no function has this handle, or it is not enabled';

/** Condition code and status, or the program interruption. */
export function answersOf({ cc, status, programInterruption }: ZpciAnswer): Answers {
  // The log has one word for each.
  if (programInterruption !== null) return { outcome: programInterruption.name.split(' ')[0] };
  return cc === 1 ? { cc: '1', status: String(status) } : { cc: String(cc) };
}

/** Why an instruction was refused, as far as the answer tells. */
export function noteOf(name: string, { cc, status, programInterruption }: ZpciAnswer): string | undefined {
  if (programInterruption !== null) return `${programInterruption.name} exception`;
  if (cc === 1) {
    const text = statusText(name, status);
    return `status ${status}${text === undefined ? '' : `: ${text}`}`;
  }
  return cc === 3 ? NO_FUNCTION : cc === 2 ? 'busy' : undefined;
}

function done(name: string, scene: Scene, fh: number, answer: ZpciAnswer, more: Partial<Done> = {}): Done {
  return {
    answers: answersOf(answer),
    note: withHandles(noteOf(name, answer), scene),
    fn: scene.byHandle(fh),
    ...more,
  };
}

/** For condition code 3: the handles that there are. */
export function withHandles(note: string | undefined, { functions }: Scene): string | undefined {
  if (note !== NO_FUNCTION) return note;
  const handles = [...functions].map(
    ([name, { handle: fh }]) => `${name} ${fh.toString(16).padStart(8, '0')}`,
  );
  return `${note}: ${handles.slice(0, 4).join(', ')}${handles.length > 4 ? ', ...' : ''}`;
}

/** The rule behind a program interruption of a store or load in a BAR. */
export function withRule(note: string | undefined, rule: string | undefined): string | undefined {
  return note === undefined || rule === undefined ? note : `${note}: ${rule}`;
}

/** The pair of registers begins at an even one. */
function pairRule({ programInterruption }: ZpciAnswer, r2: number): string | undefined {
  if (programInterruption?.name !== 'specification' || r2 % 2 === 0) return undefined;
  return `register ${r2} begins no pair`;
}

interface AccessForm {
  readonly as: number;
  readonly offset: U64;
  readonly bytes: number;
  readonly r2: number;
}

/** The rule that a refused PCILG or PCISTG broke; undefined where only the device knows. */
export function accessRule(
  answer: ZpciAnswer,
  { as, offset, bytes, r2 }: AccessForm,
  fn: PciFunction | undefined,
): string | undefined {
  if (fn === undefined || answer.programInterruption?.name !== 'operand') return pairRule(answer, r2);
  if (as === CONFIG_SPACE) return undefined;
  return placeRule(fn, { as, offset, bytes }) ?? wordRule({ offset: Number(offset), bytes }, fn.options);
}

/** The access is where the function has no BAR. */
function placeRule(
  { name, bars }: PciFunction,
  { as, offset, bytes }: Omit<AccessForm, 'r2'>,
): string | undefined {
  const bar = bars[as];
  if (bar === undefined) return `${name} has no BAR ${as}`;
  return BigInt(offset) + BigInt(bytes) > BigInt(bar.size)
    ? `BAR ${as} ends at ${hex64(bar.size)}`
    : undefined;
}

/** Bytes as the right end of a register. */
export function registerOf(data: Uint8Array | undefined): bigint {
  return data === undefined ? 0n : BigInt(`0x${formatHex(data)}`);
}

export function dataText(data: U64 | undefined, length: number): string | undefined {
  if (data === undefined || length === 0) return undefined;
  return data.toString(16).padStart(2 * length, '0');
}

/** The number of bytes given has to be the length that the instruction is told. */
export function checkData(data: Uint8Array | undefined, length: number): void {
  if (data !== undefined && data.length !== length)
    throw invalid('data', `${data.length} bytes`, `${length} bytes, as len says`);
}

const ACCESS = { fh: handle, as: number(15), len: number(0xffff_ffff), off: u64 } as const;
const HOW = { r2: optional(number(15)), problem: flag } as const;

const pcilg = instruction({
  name: 'PCILG',
  operands: { ...ACCESS, data: optional(bytes(8)), ...HOW },
  answers: ['data'],
  check: ({ data, len }) => checkData(data, len & 0xf),
  run(scene, { fh: word, as, len: length, off: offset, r2 = 2, problem: problemState = false }) {
    const fh = scene.handle(word);
    const fn = scene.byHandle(fh);
    const answer = scene.machine.cpu.pcilg({ fh, as, length, offset, r2, problemState });
    const bytesRead = length & 0xf;
    const rule = accessRule(answer, { as, offset, bytes: bytesRead, r2 }, fn);
    return {
      answers: { ...answersOf(answer), data: dataText(answer.data, bytesRead) },
      note: withHandles(withRule(noteOf('PCILG', answer), rule), scene),
      fn,
    };
  },
});

const pcistg = instruction({
  name: 'PCISTG',
  operands: { ...ACCESS, data: optional(bytes(8)), ...HOW },
  check: ({ data, len }) => checkData(data, len & 0xf),
  run(scene, { fh: word, as, len: length, off: offset, data, r2 = 2, problem: problemState = false }) {
    const fh = scene.handle(word);
    const fn = scene.byHandle(fh);
    const register = registerOf(data);
    const answer = scene.machine.cpu.pcistg({ fh, as, length, offset, data: register, r2, problemState });
    const rule = accessRule(answer, { as, offset, bytes: length & 0xf, r2 }, fn);
    return done('PCISTG', scene, fh, answer, {
      note: withHandles(withRule(noteOf('PCISTG', answer), rule), scene),
    });
  },
});

const pcistb = instruction({
  name: 'PCISTB',
  operands: {
    ...ACCESS,
    src: optional(u64),
    data: optional(bytes(BLOCK_BYTES)),
    fill: optional(pattern),
    problem: flag,
  },
  check({ data, len, src, fill }) {
    checkData(data, len & 0x1fff);
    if ([data, src, fill].filter((given) => given !== undefined).length > 1)
      throw invalid('PCISTB', 'several sources', 'one of src=, data= and fill=');
  },
  run(scene, { fh: word, as, len: length, off: offset, src, data, fill, problem: problemState = false }) {
    const fh = scene.handle(word);
    const fn = scene.byHandle(fh);
    const source = src ?? data ?? patternBytes(fill ?? 'counting', length & 0x1fff);
    const answer = scene.machine.cpu.pcistb({ fh, as, length, offset, source, problemState });
    const rule = blockStoreRule(answer, { as, offset, bytes: length & 0x1fff, src: src ?? 0 }, fn);
    return done('PCISTB', scene, fh, answer, {
      note: withHandles(withRule(noteOf('PCISTB', answer), rule), scene),
    });
  },
});

export function blockStoreRule(
  { programInterruption }: ZpciAnswer,
  { src, ...form }: Omit<AccessForm, 'r2'> & { readonly src: U64 },
  fn: PciFunction | undefined,
): string | undefined {
  if (fn === undefined) return undefined;
  if (programInterruption?.name === 'operand') return placeRule(fn, form);
  if (programInterruption?.name !== 'specification') return undefined;
  return blockRule({ offset: Number(form.offset), bytes: form.bytes, source: BigInt(src) }, fn.options);
}

const rpcit = instruction({
  name: 'RPCIT',
  operands: { fh: handle, start: u64, len: u64, ...HOW },
  run(scene, { fh: word, start, len: length, r2 = 2, problem: problemState = false }) {
    const fh = scene.handle(word);
    const answer = scene.machine.cpu.rpcit({ fh, start, length, r2, problemState });
    return done('RPCIT', scene, fh, answer, {
      note: withHandles(withRule(noteOf('RPCIT', answer), pairRule(answer, r2)), scene),
    });
  },
});

/** `length` bytes of one value, or 00 01 02 ... */
export function patternBytes(fill: number | 'counting', length: number): Uint8Array {
  if (fill !== 'counting') return new Uint8Array(length).fill(fill);
  return Uint8Array.from({ length }, (_, n) => n & 0xff);
}

export const LOADS_AND_STORES: readonly Verb[] = [pcilg, pcistg, pcistb, rpcit];
