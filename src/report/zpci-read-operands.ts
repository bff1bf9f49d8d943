/** Gives each word of a line in a zPCI script to the operand of its command that it belongs to. */
import { show, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { type Known, type Operand, usageOf } from './zpci-operands.js';
import { VERBS } from './zpci-verb-list.js';
import type { Verb } from './zpci-verbs.js';

export interface Word {
  readonly text: string;
  /** From 1. */
  readonly column: number;
}

/** Where somebody reads: the column of what is wrong when an error is thrown. */
export interface At {
  column: number;
}

/** @param offset letters of the line before `text` */
export function wordsOf(text: string, offset = 0): Word[] {
  return [...text.matchAll(/\S+/g)].map((match) => ({ text: match[0], column: offset + match.index + 1 }));
}

/** How a command is written, for messages. */
function usage({ name, operands, others }: Verb): string {
  const words = Object.entries(operands).map(([key, operand]) => usageOf(key, operand));
  return [name, ...words, ...(others === undefined ? [] : ['NAME=VALUE...'])].join(' ');
}

/** Every command with its operands, for a person at a terminal. */
export function usages(): string[] {
  return [...VERBS.values()].map(usage);
}

/** The operands of `verb` as `words` give them. Throws ZtlpError for the first word that is wrong, with `at` on it. */
export function readOperands(
  verb: Verb,
  words: readonly Word[],
  known: Known,
  at: At,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const inPlace = Object.entries(verb.operands).filter(
    ([, { place }]) => place === 'word' || place === 'rest',
  );
  const take = (name: string, operand: Operand<unknown>, text: string): void => {
    if (Object.hasOwn(values, name))
      throw new ZtlpError('invalid-value', `${name}: is given twice`, { field: name });
    values[name] = operand.parse(text, name, known);
  };
  for (const [n, { text, column }] of words.entries()) {
    at.column = column;
    const equals = text.indexOf('=');
    const { others } = verb;
    if (equals > 0 && others !== undefined) {
      values[others.name] = [...((values[others.name] ?? []) as unknown[]), others.parse(text)];
      continue;
    }
    if (equals > 0) {
      const name = text.slice(0, equals).toLowerCase();
      const operand = keyOf(verb, name);
      at.column = column + equals + 1;
      take(name, operand, text.slice(equals + 1));
      continue;
    }
    const flag = own(verb, text.toLowerCase());
    if (flag?.place === 'flag') {
      take(text.toLowerCase(), flag, text);
      continue;
    }
    const [name, operand] = nextOf(verb, inPlace, text);
    if (operand.place !== 'rest') take(name, operand, text);
    else {
      const left = words.slice(n).map((word) => word.text);
      take(name, operand, left.join(' '));
      break;
    }
  }
  const last = words.at(-1);
  if (last !== undefined) at.column = last.column + last.text.length;
  checkComplete(verb, values);
  return values;
}

function own({ operands }: Verb, name: string): Operand<unknown> | undefined {
  return Object.hasOwn(operands, name) ? operands[name] : undefined;
}

/** The operand that `name=` means. */
function keyOf(verb: Verb, name: string): Operand<unknown> {
  const operand = own(verb, name);
  if (operand?.place === 'key') return operand;
  const keys = Object.entries(verb.operands).filter(([, { place }]) => place === 'key');
  const names = keys.map(([key]) => key);
  throw unknownName(verb.name, name, 'one of its operands', names);
}

/** Takes the operand that a word in its place is for off `left`, and the optional ones that it is not for. */
function nextOf(
  verb: Verb,
  left: [string, Operand<unknown>][],
  text: string,
): readonly [string, Operand<unknown>] {
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    const [, { isRequired, accepts }] = next;
    if (isRequired || accepts?.(text) !== false) return next;
  }
  throw new ZtlpError('invalid-value', `${verb.name}: ${show(text)} is one word too many`, {
    field: verb.name,
    value: text,
    allowed: usage(verb),
  });
}

function checkComplete(verb: Verb, values: Readonly<Record<string, unknown>>): void {
  for (const [name, operand] of Object.entries(verb.operands)) {
    if (!operand.isRequired || Object.hasOwn(values, name)) continue;
    throw new ZtlpError('invalid-value', `${verb.name}: ${usageOf(name, operand)} is missing`, {
      field: name,
      allowed: usage(verb),
    });
  }
}
