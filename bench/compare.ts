/** Reads the results of an earlier run and sets the new ones against them. */
import { ZtlpError } from '../src/base/errors.js';
import type { Result } from './rows.js';
import { differs, type Estimate } from './statistics.js';

/**
 * Least spread that is taken for a run, in percent. Two processes differ by where memory lies and in which order code was
 * compiled; the rounds of one process cannot see that.
 */
export const LEAST_SPREAD = 5;

export interface Change {
  readonly name: string;
  /** Time before over time now: above 1 is faster now. */
  readonly ratio: number;
  /** A change beyond the spread of both runs, or none. */
  readonly mark: 'faster' | 'slower' | '';
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** Names of this run that the earlier one lacks, and the other way round. */
  readonly added: readonly string[];
  readonly missing: readonly string[];
}

function wrong(file: string, what: string): ZtlpError {
  return new ZtlpError('malformed', `${file}: ${what}`, {
    field: 'compare',
    allowed: 'a file that this benchmark wrote: a list of { name, ns, hz, rme, bytes }',
  });
}

function resultOf(value: unknown, index: number, file: string): Result {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(file, `entry ${index} is not an object`);
  const { name, ns, hz, rme, bytes } = value as Partial<Record<keyof Result, unknown>>;
  if (typeof name !== 'string' || name === '') throw wrong(file, `entry ${index} has no name`);
  const number = (field: string, item: unknown, isAllowed: (n: number) => boolean): number => {
    if (typeof item === 'number' && Number.isFinite(item) && isAllowed(item)) return item;
    throw wrong(
      file,
      `entry ${index}: ${field} is ${item === undefined ? 'missing' : 'not a usable number'}`,
    );
  };
  const isPositive = (n: number): boolean => n > 0;
  const isCount = (n: number): boolean => n >= 0;
  return {
    name,
    ns: number('ns', ns, isPositive),
    hz: number('hz', hz, isPositive),
    rme: number('rme', rme, isCount),
    bytes: number('bytes', bytes, isCount),
  };
}

/** Checks the text of a bench.json. Throws ZtlpError `malformed` with the entry and what is wrong with it. */
export function parseResults(text: string, file: string): Result[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ZtlpError('malformed', `${file} is not JSON`, { field: 'compare', cause });
  }
  if (!Array.isArray(value)) throw wrong(file, 'it holds no list');
  return value.map((entry, index) => resultOf(entry, index, file));
}

function trusted(ns: number, rme: number): Estimate {
  return { value: ns, spread: Math.max(rme, LEAST_SPREAD) };
}

/** One change per name that both runs have, in the order of the new run. */
export function compareResults(before: readonly Result[], now: readonly Result[]): Comparison {
  const old = new Map(before.map((result) => [result.name, result]));
  const names = new Set(now.map(({ name }) => name));
  const changes = now.flatMap(({ name, ns, rme }): Change[] => {
    const then = old.get(name);
    if (then === undefined) return [];
    const isBeyond = differs(trusted(ns, rme), trusted(then.ns, then.rme));
    const mark = isBeyond ? (ns < then.ns ? 'faster' : 'slower') : '';
    return [{ name, ratio: then.ns / ns, mark }];
  });
  return {
    changes,
    added: now.flatMap(({ name }) => (old.has(name) ? [] : [name])),
    missing: before.flatMap(({ name }) => (names.has(name) ? [] : [name])),
  };
}
