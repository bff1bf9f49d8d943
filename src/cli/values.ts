/** Reads the values that people type on a command line. Every mistake is a usage error with what is allowed. */
import { InvalidArgumentError } from 'commander';
import { show, ZtlpError } from '../base/errors.js';
import {
  checkOption,
  formatValue,
  type OptionInput,
  type OptionName,
  parseOption,
  refuseUnbuilt,
} from '../base/options.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1024,
  kib: 1024,
  m: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
  gib: 2 ** 30,
};

/** A number of bytes up to `most`: `4096`, `0x1000`, `4k`, `4KiB`, `1M`. */
export function bytesUpTo(most: number): (text: string) => number {
  return (text) => {
    const value = parseBytes(text);
    if (value <= most) return value;
    throw new InvalidArgumentError(`Allowed: at most ${most}.`);
  };
}

function parseBytes(text: string): number {
  const match = /^(0x[0-9a-f]+|\d+)\s*(k|m|g|kib|mib|gib)?b?$/i.exec(text.trim());
  const value =
    match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] ?? '').toLowerCase()] as number);
  if (!Number.isNaN(value)) return value;
  throw new InvalidArgumentError('Expected: bytes such as 4096, 0x1000, 4k or 1M.');
}

/** A count: a whole number from 0. */
export function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected: a whole number from 0.');
}

/** A count from `least` to `most`. */
export function countFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = parseCount(text);
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Allowed: ${least} to ${most}.`);
  };
}

/** A time in ns above 0, with a fraction or without. */
export function parseNs(text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && value <= 1e9) return value;
  throw new InvalidArgumentError('Expected: a time in ns above 0, at most 1000000000.');
}

/** One of `values`. */
export function oneOf<T extends string>(...values: readonly T[]): (text: string) => T {
  return (text) => {
    if (values.includes(text as T)) return text as T;
    throw new InvalidArgumentError(`Allowed choices are ${values.join(', ')}.`);
  };
}

/**
 * The parser of an option that may be given once: the same value again changes nothing, another one is a contradiction.
 * To be made anew for each command.
 */
export function once<T>(parse: (text: string) => T): (text: string) => T {
  let before: { readonly text: string; readonly value: T } | undefined;
  return (text) => {
    const value = parse(text);
    if (before !== undefined && before.value !== value)
      throw new InvalidArgumentError(`It was given as ${before.text} before.`);
    before = { text, value };
    return value;
  };
}

/** Runs a check of the library and turns its error into a usage error. */
export function asUsage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof ZtlpError) {
      // The flag and its value are named already; a wrong name needs the rest of the message.
      const isValue =
        (error.code === 'invalid-value' || error.code === 'malformed') && error.allowed !== undefined;
      const named = `${error.field}: ${show(error.value)} is `;
      const text = error.message.startsWith(named)
        ? `It is ${error.message.slice(named.length)}`
        : error.message;
      throw new InvalidArgumentError(isValue ? `Allowed: ${error.allowed}.` : text);
    }
    throw error;
  }
}

/** Collects repeated `--option name=value`. */
export function collectOption(text: string, before: OptionInput = {}): OptionInput {
  return asUsage(() => {
    const [name, value] = parseOption(text);
    const earlier = before[name];
    if (earlier !== undefined && earlier !== value)
      throw new InvalidArgumentError(`${name} was given as ${formatValue(name, earlier)} before.`);
    return { ...before, ...refuseUnbuilt({ [name]: value }) };
  });
}

/** The value of one named option that has a flag of its own, e.g. `--mps 256`. */
export function namedOption(name: OptionName): (text: string) => number {
  return (text) => asUsage(() => checkOption(name, Number(text)) as number);
}

/** Collects repeated flags into a list without repetitions. */
export function collect<T>(
  parse: (text: string) => T,
): (text: string, before?: readonly T[]) => readonly T[] {
  return (text, before = []) => [...new Set([...before, parse(text)])];
}
