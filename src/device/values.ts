/** What callbacks return, checked: a model written without TypeScript may answer anything. */
import { inRange, invalid } from '../base/errors.js';
import { checkFields, choiceOr } from './check.js';
import type { InstructionAnswer } from './types.js';

const INTERRUPTIONS = ['privileged operation', 'addressing', 'specification', 'operand'] as const;

/** The answer of a read callback as `length` bytes of the caller's own. */
export function bytesOf(answer: unknown, length: number): Uint8Array {
  if (answer instanceof Uint8Array && answer.length === length) return answer.slice();
  const isNumber = typeof answer === 'bigint' || (typeof answer === 'number' && Number.isSafeInteger(answer));
  const value = isNumber ? BigInt(answer) : -1n;
  if (value < 0n || value >> BigInt(8 * length) !== 0n)
    throw invalid('the answer', answer, `${length} bytes, or a number that fits in them`);
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let index = 0; rest > 0n; index++) {
    bytes[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** The answer of a write callback: only a Deferrable Memory Write can be put off. */
export function checkWriteAnswer(answer: unknown, deferrable: boolean): 'ok' | 'retry' {
  if (answer === 'retry' && deferrable) return 'retry';
  if (answer === undefined) return 'ok';
  throw invalid('the answer', answer, deferrable ? "nothing, or 'retry'" : 'nothing: the write is posted');
}

/** The answer of `acceptInstruction`. */
export function checkInstructionAnswer(answer: unknown): InstructionAnswer {
  if (answer === true) return true;
  const fields = checkFields('the answer', answer, ['cc', 'status', 'programInterruption']);
  const { cc, status, programInterruption } = fields;
  if (programInterruption !== undefined) {
    const name = choiceOr('programInterruption', programInterruption, INTERRUPTIONS, 'operand');
    return { programInterruption: name };
  }
  inRange('cc', cc as number, 1, 3);
  return { cc: cc as 1 | 2 | 3, status: inRange('status', status as number, 0, 0xff) };
}
