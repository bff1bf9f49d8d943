/** The operands of a zPCI script: what a word may be, read strictly, with what is allowed when it is not. */
import { invalid, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import type { U64 } from '../core/u64.js';
import { parseHex } from '../tlp/text.js';

/** A function handle: as a number, or the function whose handle of the moment is meant. */
export type HandleWord = number | { readonly name: string };

/** What is known where a line is read. */
export interface Known {
  /** Names of the functions, in the order of their slots. */
  readonly functions: readonly string[];
}

/** How one operand is written and read. */
export interface Operand<T> {
  /** `key=value`, the word alone, a word that stands for itself, or all the words that are left. */
  readonly place: 'key' | 'word' | 'flag' | 'rest';
  readonly isRequired: boolean;
  /** An optional word is passed over when this says no. Default: every word. */
  accepts?(word: string): boolean;
  /** Throws ZtlpError with `field`. */
  parse(word: string, field: string, known: Known): T;
}

export type Operands = Readonly<Record<string, Operand<unknown>>>;
type ValueOf<O> = O extends Operand<infer T> ? T : never;
export type Values<O extends Operands> = { readonly [K in keyof O]: ValueOf<O[K]> };

const key = <T>(parse: Operand<T>['parse']): Operand<T> => ({ place: 'key', isRequired: true, parse });

/** An operand that may be missing. */
export function optional<T>(operand: Operand<T>): Operand<T | undefined> {
  return { ...operand, isRequired: false };
}

/** An operand that is a word in its place, without a key. */
export function word<T>(operand: Operand<T>): Operand<T> {
  return { ...operand, place: 'word' };
}

/** The rest of the line, at least one word. */
export function rest<T>(operand: Operand<T>): Operand<T> {
  return { ...operand, place: 'rest' };
}

/** A word that is there or not. */
export const flag: Operand<true | undefined> = { place: 'flag', isRequired: false, parse: () => true };

const UNITS: Readonly<Record<string, bigint>> = { '': 1n, k: 1n << 10n, m: 1n << 20n, g: 1n << 30n };
const NUMBER = /^(0x[0-9a-f][0-9a-f_]{0,40}|\d[\d_]{0,40})([kmg]?)$/i;
const MAX_U64 = (1n << 64n) - 1n;

/** A number: `4096`, `0x1000`, `0x1_0000_0000`, `4K`, `1M`. Throws unless it lies from `min` to `max`. */
export function parseU64(field: string, text: string, min = 0n, max = MAX_U64): U64 {
  const match = NUMBER.exec(text);
  if (match === null) throw invalid(field, text, 'a number such as 16, 0x10 or 4K');
  const [, digits = '', unit = ''] = match;
  const value = BigInt(digits.replaceAll('_', '')) * (UNITS[unit.toLowerCase()] ?? 1n);
  if (value < min || value > max) throw invalid(field, text, rangeText(min, max), 'out-of-range');
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

function rangeText(min: bigint, max: bigint): string {
  if (max === MAX_U64) return 'a number of 64 bits';
  return max > 9999n ? `${min} to 0x${max.toString(16)}` : `${min} to ${max}`;
}

/** 64 bits. */
export const u64: Operand<U64> = key((text, field) => parseU64(field, text));

/** An integer from `min` to `max`. */
export function number(max: number, min = 0): Operand<number> {
  return key((text, field) => Number(parseU64(field, text, BigInt(min), BigInt(max))));
}

/** Up to `most` bytes in hexadecimal, two digits each, perhaps with 0x, blanks and underscores. */
export function bytes(most: number): Operand<Uint8Array> {
  return key((text, field) => {
    try {
      const found = parseHex(text);
      if (found.length > 0 && found.length <= most) return found;
    } catch (error) {
      if (!(error instanceof ZtlpError)) throw error;
    }
    const shown = text.length > 40 ? `${text.slice(0, 40)}... (${text.length} letters)` : text;
    throw invalid(field, shown, `1 to ${most} bytes in hexadecimal, two digits each`);
  });
}

/** `name` as the name of a function: a letter, then letters, digits, `_` and `-`, and no word that means something else. */
export function checkFunctionName(name: string, taken: Iterable<string>): string {
  if (!/^[a-z][a-z0-9_-]{0,31}$/i.test(name) || HANDLE.test(name))
    throw invalid('function', name, 'a letter, then letters, digits, _ and -, and not a handle of 8 digits');
  for (const other of taken) {
    if (other.toLowerCase() === name.toLowerCase())
      throw invalid('function', name, 'a name that no other function and no command has');
  }
  return name;
}

const HANDLE = /^[0-9a-f]{8}$/i;

/** `80020001`, `0x80020001`, or the name of a function. */
export const handle: Operand<HandleWord> = key((text, field, known) => {
  if (HANDLE.test(text) || /^0x[0-9a-f]{1,8}$/i.test(text))
    return Number.parseInt(text.replace(/^0x/i, ''), 16);
  return { name: nameOf(text, field, known) };
});

/** The name of a function. */
export const functionName: Operand<string> = {
  ...key((text, field, known) => nameOf(text, field, known)),
  accepts: (text) => /^[a-z]/i.test(text),
};

function nameOf(text: string, field: string, { functions }: Known): string {
  const found = functions.find((name) => name.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return found;
  const kind = field === 'fh' ? 'a handle of 8 hexadecimal digits or a function' : 'a function of the script';
  throw unknownName(field, text, kind, functions);
}

/** One of a few words. */
export function choice<T extends string>(...values: readonly T[]): Operand<T> {
  return key((text, field) => {
    const found = values.find((value) => value === text.toLowerCase());
    if (found !== undefined) return found;
    throw invalid(field, text, values.join(', '));
  });
}

/** `bar0` to `bar5`. */
export const bar: Operand<number> = {
  ...key((text, field) => {
    if (!/^bar[0-5]$/i.test(text)) throw invalid(field, text, 'bar0 to bar5');
    return Number(text.slice(3));
  }),
  accepts: (text) => /^bar/i.test(text),
};

/** A byte, or `counting`: 00 01 02 ... */
export const pattern: Operand<number | 'counting'> = key((text, field) =>
  text.toLowerCase() === 'counting' ? 'counting' : Number(parseU64(field, text, 0n, 0xffn)),
);

/** A word as it stands. */
export const anything: Operand<string> = key((text) => text);

/** How an operand is written, for messages: `len=`, `[ro]`, `ADDRESS`. */
export function usageOf(name: string, { place, isRequired }: Operand<unknown>): string {
  const text =
    place === 'key'
      ? `${name}=`
      : place === 'flag'
        ? name
        : `${name.toUpperCase()}${place === 'rest' ? '...' : ''}`;
  return isRequired ? text : `[${text}]`;
}
