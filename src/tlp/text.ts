/** TLPs and DLLPs as people type them: hex digits, `key=value` words, and JSON objects. */
import * as L from '../../assembly/layout.js';
import { invalid, show, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { checkU64, hex64, type U64 } from '../core/u64.js';
import type { DecodedTlp, EncodeOptions } from './codec.js';
import { encodeTlp } from './codec.js';
import { KINDS, TLP_TYPES } from './kinds.js';
import { MESSAGES, ROUTINGS } from './messages.js';
import type { TlpInput, TlpPrefix } from './types.js';

/** Completion statuses by number (2.2.9.1); what is not here is treated as UR. */
export const STATUS_NAMES: Readonly<Record<number, string>> = {
  [L.CPL_SC]: 'SC',
  [L.CPL_UR]: 'UR',
  [L.CPL_RRS]: 'RRS',
  [L.CPL_CA]: 'CA',
};

/** What one line asks to encode. */
export interface TlpLine {
  readonly tlp: TlpInput;
  readonly data: Uint8Array | undefined;
  readonly options: EncodeOptions;
  /** Bytes to append as they are: a digest that was read, and what stood behind the TLP. */
  readonly tail: Uint8Array;
}

/** Bytes of hex text: digits with spaces, colons, underscores or commas between bytes, each word perhaps with 0x. */
export function parseHex(text: string): Uint8Array {
  const digits = text
    .trim()
    .split(/[\s:_,]+/)
    .map((word) => word.replace(/^0x/i, ''))
    .join('');
  const wrong = /[^0-9a-f]/i.exec(digits)?.[0];
  if (wrong !== undefined) {
    throw new ZtlpError('malformed', `${show(wrong)} is no hex digit`, { field: 'hex', value: text });
  }
  if (digits.length % 2 === 1) {
    throw new ZtlpError('malformed', `${digits.length} hex digits are no whole bytes`, {
      field: 'hex',
      value: text,
    });
  }
  return Uint8Array.from({ length: digits.length / 2 }, (_, n) =>
    Number.parseInt(digits.slice(2 * n, 2 * n + 2), 16),
  );
}

/** Bytes as hex digits. */
export function formatHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Bus, device and function as lspci writes them: 01:00.0. */
export function formatId(id: number): string {
  const two = (value: number): string => value.toString(16).padStart(2, '0');
  return `${two(id >>> 8)}:${two((id >>> 3) & 0x1f)}.${id & 7}`;
}

/** A requester, completer or destination ID: 01:00.0, 0000:01:00.0 or a number. */
function parseId(field: string, text: string): number {
  const match = /^(?:[0-9a-f]{1,8}:)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i.exec(text);
  if (match === null) return parseNumber(field, text, 'an ID such as 01:00.0 or 0x100');
  const [bus = 0, device = 0, fn = 0] = match.slice(1).map((part) => Number.parseInt(part, 16));
  if (device > 31) throw invalid(field, text, 'a device number up to 1f');
  return (bus << 8) | (device << 3) | fn;
}

/** A decimal or hexadecimal integer that a number holds exactly. */
export function parseNumber(field: string, text: string, allowed = 'a number such as 16 or 0x10'): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw invalid(field, text, allowed);
}

function parseU64(field: string, text: string): U64 {
  if (!/^(0x[0-9a-f]{1,32}|\d{1,20})$/i.test(text))
    throw invalid(field, text, 'a number such as 0x10000000000');
  const exact = BigInt(text);
  return checkU64(field, exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact);
}

export function parseFlag(field: string, text: string): boolean {
  if (text === '1' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  throw invalid(field, text, '0, 1');
}

/** A name of `names` in any case, or a number. */
function named(field: string, text: string, names: readonly (readonly [string, number])[]): number {
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[ _-]/g, '');
  const found = names.find(([name]) => plain(name) === plain(text));
  return found?.[1] ?? parseNumber(field, text, `a number, ${names.map(([name]) => name).join(', ')}`);
}

const STATUSES = Object.entries(STATUS_NAMES).map(([code, name]) => [name, Number(code)] as const);
const ROUTING_NAMES = ROUTINGS.map((name, routing) => [name, routing] as const);
const MESSAGE_NAMES = MESSAGES.map(({ name, code }) => [name, code] as const);

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** What a word adds up to: the words of one line fill it one after another. */
interface Draft {
  readonly tlp: Writable<TlpInput>;
  readonly prefixes: TlpPrefix[];
  data: Uint8Array | undefined;
}

type Word = (draft: Draft, text: string, key: string) => void;

type FieldsOf<T> = {
  [K in keyof TlpInput]-?: NonNullable<TlpInput[K]> extends T ? K : never;
}[keyof TlpInput];

function number(field: FieldsOf<number>): Word {
  return ({ tlp }, text, key) => Object.assign(tlp, { [field]: parseNumber(key, text) });
}

function flag(field: FieldsOf<boolean>): Word {
  return ({ tlp }, text, key) => Object.assign(tlp, { [field]: parseFlag(key, text) });
}

function id(field: FieldsOf<number>): Word {
  return ({ tlp }, text, key) => Object.assign(tlp, { [field]: parseId(key, text) });
}

function wide(field: 'address' | 'message'): Word {
  return ({ tlp }, text, key) => Object.assign(tlp, { [field]: parseU64(key, text) });
}

function choice(field: FieldsOf<number>, names: readonly (readonly [string, number])[]): Word {
  return ({ tlp }, text, key) => Object.assign(tlp, { [field]: named(key, text, names) });
}

function attribute(field: 'ns' | 'ro' | 'ido'): Word {
  return ({ tlp }, text, key) => {
    tlp.attr = { ...tlp.attr, [field]: parseFlag(key, text) };
  };
}

function pasid(part: 'pasid' | 'privileged' | 'execute'): Word {
  return ({ tlp }, text, key) => {
    const before = tlp.pasid ?? { pasid: 0, privileged: false, execute: false };
    const value = part === 'pasid' ? parseNumber(key, text) : parseFlag(key, text);
    tlp.pasid = { ...before, [part]: value };
  };
}

/** `local:TYPE:VALUE` or `e2e:TYPE:VALUE`. */
const prefix: Word = ({ prefixes }, text, key) => {
  const [scope, type, value, ...rest] = text.split(':');
  const scopes: Readonly<Record<string, TlpPrefix['scope']>> = { local: 'local', e2e: 'endToEnd' };
  const found = Object.hasOwn(scopes, scope ?? '') ? scopes[scope ?? ''] : undefined;
  if (found === undefined || type === undefined || value === undefined || rest.length > 0)
    throw invalid(key, text, 'local:TYPE:VALUE, e2e:TYPE:VALUE');
  prefixes.push({ scope: found, type: parseNumber(key, type), value: parseNumber(key, value) });
};

const data: Word = (draft, text) => {
  draft.data = parseHex(text);
};

/** The words of `ztlp encode`; several keys may mean the same field: a short one, then the field's own name. */
const KEYED: readonly (readonly [keys: readonly [string, string?], word: Word])[] = [
  [['addr', 'address'], wide('address')],
  [['len', 'length'], number('length')],
  [['dw', 'headerDw'], number('headerDw')],
  [['req', 'requester'], id('requester')],
  [['cpl', 'completer'], id('completer')],
  [['dst', 'destination'], id('destination')],
  [['reg', 'register'], number('register')],
  [['tag'], number('tag')],
  [['fbe', 'firstBe'], number('firstBe')],
  [['lbe', 'lastBe'], number('lastBe')],
  [['tc'], number('tc')],
  [['ns'], attribute('ns')],
  [['ro'], attribute('ro')],
  [['ido'], attribute('ido')],
  [['at'], number('at')],
  [['th'], flag('th')],
  [['ph'], number('ph')],
  [['st', 'steeringTag'], number('steeringTag')],
  [['ln'], flag('ln')],
  [['td'], flag('td')],
  [['ep'], flag('ep')],
  [['status'], choice('status', STATUSES)],
  [['bcm'], flag('bcm')],
  [['bc', 'byteCount'], number('byteCount')],
  [['la', 'lowerAddress'], number('lowerAddress')],
  [['routing'], choice('routing', ROUTING_NAMES)],
  [['code', 'messageCode'], choice('messageCode', MESSAGE_NAMES)],
  [['msg', 'message'], wide('message')],
  [['pasid'], pasid('pasid')],
  [['priv'], pasid('privileged')],
  [['exec'], pasid('execute')],
  [['prefix'], prefix],
  [['data'], data],
];

const WORDS: ReadonlyMap<string, Word> = new Map(
  KEYED.flatMap(([keys, word]) => keys.flatMap((key = '') => [[key.toLowerCase(), word] as const])),
);

/** The short key of a field that has one. */
export const SHORT_KEYS: ReadonlyMap<string, string> = new Map(
  KEYED.flatMap(([[short, field]]) => (field === undefined ? [] : [[field, short] as const])),
);

/** A type as people write it, in any case; MRd64 is MRd with a 4 DW header. Types with one form have no number. */
function parseType(text: string): Pick<TlpInput, 'type' | 'headerDw'> {
  const find = (name: string) => TLP_TYPES.find((type) => type.toLowerCase() === name.toLowerCase());
  const type = find(text);
  if (type !== undefined) return { type };
  const sized = find(text.replace(/(32|64)$/, ''));
  if (sized === undefined || KINDS[sized].length === 1)
    throw unknownName('type', text, 'a TLP type', TLP_TYPES);
  return { type: sized, headerDw: text.endsWith('64') ? 4 : 3 };
}

/** Key and text of `key=text`; a bare word is a flag that is set. */
export function splitWord(word: string): [string, string] {
  const at = word.indexOf('=');
  return at < 0 ? [word, '1'] : [word.slice(0, at), word.slice(at + 1)];
}

/** The error for a key that a line gives twice, perhaps under another name. */
export function repeatedKey(key: string): ZtlpError {
  return new ZtlpError('invalid-value', `${show(key)} is given twice`, {
    field: key,
    allowed: 'each key once',
  });
}

/** A TLP from words: its type, then `key=value` in any order, each key once; a TLP may have several prefixes. */
export function parseTlpWords(words: readonly string[], options: EncodeOptions = {}): TlpLine {
  const [first, ...rest] = words;
  if (first === undefined) throw invalid('type', '', `a TLP type: ${TLP_TYPES.join(', ')}`, 'invalid-value');
  const draft: Draft = { tlp: parseType(first), prefixes: [], data: undefined };
  const seen = new Set<Word>();
  for (const word of rest) {
    const [key, text] = splitWord(word);
    const apply = WORDS.get(key.toLowerCase());
    if (apply === undefined) throw unknownName('key', key, 'a key', WORDS.keys());
    if (seen.has(apply) && apply !== prefix) throw repeatedKey(key);
    seen.add(apply);
    apply(draft, text, key);
  }
  const { prefixes } = draft;
  const tlp: TlpInput = prefixes.length > 0 ? { ...draft.tlp, prefixes } : draft.tlp;
  return { tlp, data: draft.data, options, tail: new Uint8Array(0) };
}

/** The bytes that a line asks for. */
export function encodeLine({ tlp, data: body, options, tail }: TlpLine): Uint8Array {
  const bytes = encodeTlp(tlp, body, options);
  return tail.length === 0 ? bytes : Uint8Array.of(...bytes, ...tail);
}

/** A decoded TLP with its bytes as hex text: what `ztlp decode --json` prints and `ztlp encode` reads. */
export function tlpToJson(tlp: DecodedTlp): Readonly<Record<string, unknown>> {
  const { data: body, digest, trailing, address, message, ...rest } = tlp;
  return {
    ...rest,
    address: hex64(address),
    message: hex64(message),
    data: formatHex(body),
    digest: digest === undefined ? null : formatHex(digest),
    trailing: formatHex(trailing),
  };
}
