/** What a PCI instruction answers: condition code, status and program interruption, as sheet zpci.md 2.3 and 2.4 name them. */
import * as L from '../../assembly/layout.js';

/** A program exception that the instruction took instead of setting a condition code. */
export interface ProgramInterruption {
  /** Interruption code of z/Architecture. */
  readonly code: number;
  readonly name: 'operation' | 'privileged operation' | 'addressing' | 'specification' | 'operand';
  /** Instruction length in bytes, 4 or 6. The instruction-length code that the machine stores counts halfwords: half of it. */
  readonly ilc: number;
}

export interface ZpciAnswer {
  /** Condition code 0 (done), 1 (error, see status), 2 (busy) or 3 (no such function); null after an exception. */
  readonly cc: 0 | 1 | 2 | 3 | null;
  /** Status byte of the request register; 0 unless cc is 1. */
  readonly status: number;
  readonly programInterruption: ProgramInterruption | null;
}

/** How an instruction ends, before its length is known: `unpackAnswer(packAnswer(outcome), ilc)` is the answer. */
export type ZpciOutcome =
  | { readonly cc: 0 | 1 | 2 | 3; readonly status: number }
  | { readonly programInterruption: ProgramInterruption['name'] };

const NAMES: Readonly<Record<number, ProgramInterruption['name']>> = {
  [L.PE_OPERATION]: 'operation',
  [L.PE_PRIVILEGED]: 'privileged operation',
  [L.PE_ADDRESSING]: 'addressing',
  [L.PE_SPECIFICATION]: 'specification',
  [L.PE_OPERAND]: 'operand',
};

/** Bytes of each instruction: 4 in the formats RRE and RRF, 6 in RSY and RXY (sheet zpci.md 2.1). */
export const INSTRUCTION_BYTES = {
  pcilg: 4,
  pcistg: 4,
  pcistb: 6,
  rpcit: 4,
  mpcifc: 6,
  stpcifc: 6,
  sic: 6,
  clp: 4,
  pcilgi: 4,
  pcistgi: 4,
  pcistbi: 6,
  pciwb: 4,
} as const;

/** The answer of an instruction that did everything it was asked: the same object each time. */
export const ANSWER_DONE: ZpciAnswer = Object.freeze({ cc: 0, status: 0, programInterruption: null });

/** Unpacks an answer of the core for an instruction of `ilc` bytes. */
export function unpackAnswer(packed: number, ilc: number): ZpciAnswer {
  if (packed === L.CC_DONE) return ANSWER_DONE;
  const code = packed >>> L.ANSWER_INTERRUPTION_SHIFT;
  const name = NAMES[code];
  if (name !== undefined) return { cc: null, status: 0, programInterruption: { code, name, ilc } };
  return {
    cc: (packed & L.ANSWER_CC_MASK) as 0 | 1 | 2 | 3,
    status: (packed >>> L.ANSWER_STATUS_SHIFT) & 0xff,
    programInterruption: null,
  };
}

/** The packed form of an answer: what `unpackAnswer` takes. */
export function packAnswer(answer: ZpciOutcome | { readonly cc: number; readonly status: number }): number {
  // Only condition code 1 has a status.
  if ('cc' in answer) return answer.cc | (answer.cc === 1 ? answer.status << L.ANSWER_STATUS_SHIFT : 0);
  const code = Object.entries(NAMES).find(([, name]) => name === answer.programInterruption);
  return Number(code?.[0] ?? L.PE_OPERAND) << L.ANSWER_INTERRUPTION_SHIFT;
}

/** One line for people: `specification exception`, `cc 1 status 12`, ... */
export function describeAnswer(answer: ZpciAnswer): string {
  if (answer.programInterruption !== null) return `${answer.programInterruption.name} exception`;
  return answer.cc === 1 ? `cc 1 status ${answer.status}` : `cc ${answer.cc}`;
}
