/** Checks of a definition's fields, so that every mistake names the field, the value and what is allowed. */
import { inRange, invalid, show, ZtlpError } from '../base/errors.js';
import { didYouMean } from '../base/names.js';

/** Any object with string keys, as a caller without TypeScript gives it. */
export type Fields = Readonly<Record<string, unknown>>;

/** Throws unless `value` is an object (no list, no bytes) whose keys are all `known`. */
export function checkFields(field: string, value: unknown, known: readonly string[]): Fields {
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isPlain || ArrayBuffer.isView(value)) throw invalid(field, value, 'an object');
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw unknownKey(field, key, known);
  }
  return value as Fields;
}

function unknownKey(field: string, key: string, known: readonly string[]): ZtlpError {
  return new ZtlpError('unknown-name', `${field}: ${show(key)} is not a field${didYouMean(key, known)}`, {
    field: `${field}.${key}`,
    allowed: known.join(', '),
  });
}

/** Like `invalid`, where a bigint is wrong because it is one: shown as `5n`. */
export function typed(field: string, value: unknown, allowed: string): ZtlpError {
  if (typeof value !== 'bigint') return invalid(field, value, allowed);
  return new ZtlpError('invalid-value', `${field}: ${value}n is not valid`, { field, value, allowed });
}

/** `value`, which must not be left out. */
export function needed<T>(field: string, value: T): T {
  if (value === undefined) throw new ZtlpError('invalid-value', `${field}: is missing`, { field, value });
  return value;
}

/** An integer from `min` to `max`, or `fallback` when it was left out. */
export function integerOr(field: string, value: unknown, min: number, max: number, fallback: number): number {
  return value === undefined ? fallback : inRange(field, value as number, min, max);
}

export function booleanOr(field: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== 'boolean') throw invalid(field, value, 'true, false');
  return value;
}

/** One of `choices`, or `fallback` when it was left out. */
export function choiceOr<T extends string | number>(
  field: string,
  value: unknown,
  choices: readonly T[],
  fallback: T,
): T {
  if (value === undefined) return fallback;
  if (!choices.includes(value as T)) throw invalid(field, value, choices.join(', '));
  return value as T;
}

/** Throws unless `value` is left out or a function. */
export function checkFunction(field: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw invalid(field, value, 'a function');
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

/** An offset as people write it. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
