/** Why an access stopped, as people and vectors name it. */
import * as L from '../../assembly/layout.js';
import type { AccessTotals } from '../core/core.js';
import { describeAnswer, INSTRUCTION_BYTES, unpackAnswer, type ZpciAnswer } from '../zpci/answer.js';

export interface Fault {
  readonly kind: 'alignment' | 'general-protection' | 'size' | 'zpci' | 'call';
  /** One line. */
  readonly text: string;
  /** Offset of the instruction that was refused; everything before it was done. */
  readonly offset: number;
  /** What a refused PCI instruction answered. */
  readonly answer: ZpciAnswer | null;
  /** The error number of the system call or, for a PCI instruction, of Linux's accessor around it (zpci.md 2.3). */
  readonly errno: 'EINVAL' | 'EIO' | 'ENXIO' | null;
}

const REFUSED_CALL = { kind: 'call', text: 'EINVAL', errno: 'EINVAL' } as const;

const TEXTS: Readonly<Record<number, Pick<Fault, 'kind' | 'text' | 'errno'>>> = {
  [L.FAULT_ALIGNMENT]: { kind: 'alignment', text: 'alignment fault', errno: null },
  [L.FAULT_GENERAL_PROTECTION]: {
    kind: 'general-protection',
    text: '#GP (destination not 64-byte aligned)',
    errno: null,
  },
  [L.FAULT_SIZE]: { kind: 'size', text: 'the instruction stores exactly 64 bytes', errno: null },
  [L.FAULT_EINVAL]: REFUSED_CALL,
};

/** A system call that refused its range at `offset`. */
export function refusedCall(offset: number): Fault {
  return { ...REFUSED_CALL, offset, answer: null };
}

/** The fault of an access, or undefined when it ran to its end. `alwaysBlock`: the path uses PCISTB for any length. */
export function faultOf(totals: AccessTotals, alwaysBlock: boolean): Fault | undefined {
  if (totals.fault === L.FAULT_NONE) return undefined;
  const known = TEXTS[totals.fault];
  if (known !== undefined) return { ...known, offset: totals.faultOffset, answer: null };
  const isBlock = alwaysBlock || totals.faultBytes > 8;
  const answer = unpackAnswer(totals.answer, isBlock ? INSTRUCTION_BYTES.pcistb : INSTRUCTION_BYTES.pcistg);
  // Linux patches around a program interruption, and takes every other condition code for an I/O error.
  const errno = answer.programInterruption === null ? 'EIO' : 'ENXIO';
  return { kind: 'zpci', text: describeAnswer(answer), offset: totals.faultOffset, answer, errno };
}
