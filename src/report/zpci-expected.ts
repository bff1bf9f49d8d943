/** What a line of a zPCI script answers, as words that can be expected and compared. */
import { invalid } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { formatHex } from '../tlp/text.js';
import type { FunctionState } from '../zpci/states.js';
import { bytes, parseU64 } from './zpci-operands.js';
import type { Verb } from './zpci-verbs.js';

/** An answer has one text for one meaning, so that texts can be compared. */
export type Answers = { readonly [K in AnswerKey]?: string | undefined };

export interface Expected {
  readonly key: AnswerKey;
  readonly value: string;
}

const STATES: readonly FunctionState[] = [
  'reserved',
  'standby',
  'disabled',
  'enabled',
  'error-ls-open',
  'error',
  'permanent-error',
];

/** Program interruptions, and how DMA ends. */
const OUTCOMES = [
  'operation',
  'privileged',
  'addressing',
  'specification',
  'operand',
  'ok',
  'blocked',
  'unsupported-request',
  'completer-abort',
] as const;

const count = (text: string, key: string): string => String(parseU64(key, text, 0n, 0xffff_ffffn));
const hex = (text: string, key: string): string => `0x${BigInt(parseU64(key, text)).toString(16)}`;

const KEYS = {
  /** Condition code, and the status byte with cc 1. */
  cc: (text, key) => String(parseU64(key, text, 0n, 3n)),
  status: (text, key) => String(parseU64(key, text, 0n, 255n)),
  /** Instead of a condition code: a program interruption, or the end of a DMA request. */
  outcome: (text, key) => {
    const found = OUTCOMES.find((name) => name === text.toLowerCase());
    if (found === undefined) throw invalid(key, text, OUTCOMES.join(', '));
    return found;
  },
  /** Bytes that a load, a DMA read or `show` found. */
  data: (text, key) => formatHex(bytes(1 << 13).parse(text, key, { functions: [] })),
  /** Response code of CLP or SCLP, four hexadecimal digits. */
  response: (text, key) => {
    if (!/^(0x)?[0-9a-f]{1,4}$/i.test(text)) throw invalid(key, text, 'four hexadecimal digits');
    return text.replace(/^0x/i, '').toLowerCase().padStart(4, '0');
  },
  iota: hex,
  /** Function controls of a stored information block. */
  fc: hex,
  /** TLPs of the line, and calls of an emulator that stand in their place. */
  tlps: count,
  calls: count,
  /** PCI event code of the first error event, or none. */
  event: (text, key) => (text.toLowerCase() === 'none' ? 'none' : hex(text, key)),
  /** Interruption subclass of the first adapter interrupt, or none. */
  interrupt: (text, key) => (text.toLowerCase() === 'none' ? 'none' : String(parseU64(key, text, 0n, 7n))),
  /** State of the function that the line names, afterwards. */
  state: (text, key) => {
    const found = STATES.find((name) => name === text.toLowerCase());
    if (found === undefined) throw invalid(key, text, STATES.join(', '));
    return found;
  },
} satisfies Record<string, (text: string, key: string) => string>;

export type AnswerKey = keyof typeof KEYS;

/** In the order in which they are printed. */
export const ANSWER_KEYS = Object.keys(KEYS) as AnswerKey[];

/** What every line can be asked; the others are asked of the verbs that answer them. */
const EVERYWHERE: readonly AnswerKey[] = ['tlps', 'calls', 'event', 'interrupt', 'state'];

/** Reads one word behind the arrow. Throws ZtlpError. */
export function parseExpected(verb: Verb, text: string): Expected {
  const equals = text.indexOf('=');
  if (equals < 0) return { key: 'outcome', value: KEYS.outcome(text, 'expected') };
  const name = text.slice(0, equals).toLowerCase();
  const own = verb.answers.filter((key) => key !== 'outcome');
  const known = verb.kind === 'setup' ? [] : [...own, ...EVERYWHERE];
  const key = known.find((one) => one === name);
  if (key === undefined) throw unknownName(verb.name, name, 'what it answers', known);
  return { key, value: KEYS[key](text.slice(equals + 1), key) };
}

/** An answer as it stands behind an arrow. */
export function formatAnswer(key: AnswerKey, value: string): string {
  return key === 'outcome' ? value : `${key}=${value}`;
}
