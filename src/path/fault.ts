/** Why an access stopped, as people and vectors name it. */
import * as L from '../../assembly/layout.js';
import type { AccessTotals } from '../core/core.js';
import { describeAnswer, ILC_PCISTB, ILC_PCISTG, unpackAnswer, type ZpciAnswer } from '../zpci/answer.js';

export interface Fault {
  readonly kind: 'alignment' | 'general-protection' | 'size' | 'zpci' | 'call';
  /** One line. */
  readonly text: string;
  /** Offset of the instruction that was refused; everything before it was done. */
  readonly offset: number;
  /** What a refused PCI instruction answered. */
  readonly answer: ZpciAnswer | null;
}

const TEXTS: Readonly<Record<number, Pick<Fault, 'kind' | 'text'>>> = {
  [L.FAULT_ALIGNMENT]: { kind: 'alignment', text: 'alignment fault' },
  [L.FAULT_GENERAL_PROTECTION]: {
    kind: 'general-protection',
    text: '#GP (destination not 64-byte aligned)',
  },
  [L.FAULT_SIZE]: { kind: 'size', text: 'the instruction stores exactly 64 bytes' },
  [L.FAULT_EINVAL]: { kind: 'call', text: 'EINVAL' },
};

/** A system call that refused its range at `offset`. */
export function refusedCall(offset: number): Fault {
  return { kind: 'call', text: 'EINVAL', offset, answer: null };
}

/** The fault of an access, or undefined when it ran to its end. `alwaysBlock`: the path uses PCISTB for any length. */
export function faultOf(totals: AccessTotals, alwaysBlock: boolean): Fault | undefined {
  if (totals.fault === L.FAULT_NONE) return undefined;
  const known = TEXTS[totals.fault];
  if (known !== undefined) return { ...known, offset: totals.faultOffset, answer: null };
  const isBlock = alwaysBlock || totals.faultBytes > 8;
  const answer = unpackAnswer(totals.answer, isBlock ? ILC_PCISTB : ILC_PCISTG);
  return { kind: 'zpci', text: describeAnswer(answer), offset: totals.faultOffset, answer };
}
