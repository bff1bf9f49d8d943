/** Names that people mistype: fields of an input and entries of a table, with the nearest right one. */
import { show, ZtlpError } from './errors.js';

/** Set of the fields of `T`: the compiler asks for each of them, so no new field is forgotten. */
export function keysOf<T>(fields: Readonly<Record<keyof T, true>>): ReadonlySet<string> {
  return new Set(Object.keys(fields));
}

/**
 * Throws `unknown-name` when the object `value` has a field that is not in `known`: a field that nothing reads is
 * mistyped, and its default would be taken in silence. `field` names the object as the caller knows it; fields of
 * `derived` are passed over, but not offered.
 */
export function checkKeys(
  field: string,
  value: object,
  known: ReadonlySet<string>,
  derived: ReadonlySet<string> = NONE,
): void {
  for (const key in value) {
    if (!known.has(key) && !derived.has(key)) throw unknownKey(field, key, value, known);
  }
}

const NONE: ReadonlySet<string> = new Set();

/** The error for field `key`, which nothing reads; `field` is empty for the configuration as a whole. */
function unknownKey(field: string, key: string, value: object, known: ReadonlySet<string>): ZtlpError {
  const name = field === '' ? key : `${field}.${key}`;
  return new ZtlpError('unknown-name', `${name} is not a field${didYouMean(key, known)}`, {
    field: name,
    value: (value as Readonly<Record<string, unknown>>)[key],
    allowed: [...known].join(', '),
  });
}

/** The error for `value`, which is none of the names `known`; `kind` says what it should be, with its article. */
export function unknownName(field: string, value: unknown, kind: string, known: Iterable<string>): ZtlpError {
  const names = [...known];
  const hint = typeof value === 'string' ? didYouMean(value, names) : '';
  return new ZtlpError('unknown-name', `${field}: ${show(value)} is not ${kind}${hint}`, {
    field,
    value,
    allowed: names.join(', '),
  });
}

/** `, did you mean NAME?` with the name that is nearest to a mistyped one; empty when none is near. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const near = nearest(name, known);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/**
 * The name that a mistyped one stands for, if one is near: at most half of its letters wrong, or two. Of three letters
 * one may be wrong, and fewer are near to everything.
 */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  if (name.length < 3) return undefined;
  const most = name.length === 3 ? 1 : Math.max(2, name.length / 2);
  let best: string | undefined;
  let least = most + 1;
  for (const candidate of known) {
    const distance = editDistance(name, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return least <= most ? best : undefined;
}

/** Smallest number of letters to insert, delete or replace to turn `from` into `to`. Case does not count. */
function editDistance(from: string, to: string): number {
  if (from.length > 3 * to.length) return from.length;
  const target = [...to.toLowerCase()];
  let row = [0, ...target.map((_, index) => index + 1)];
  for (const letter of from.toLowerCase()) {
    const next = [(row[0] ?? 0) + 1];
    target.forEach((other, index) => {
      const replace = (row[index] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replace, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    });
    row = next;
  }
  return row.at(-1) ?? 0;
}
