/** DLLPs as people type them: `key=value` words and JSON objects. */
import { invalid, show, ZtlpError } from '../base/errors.js';
import { type DecodedDllp, DLLP_TYPES, type Dllp, type DllpType } from './dllp.js';
import { formatHex, parseFlag, parseNumber, repeatedKey, splitWord } from './text.js';

type Fields = Readonly<Record<string, number | boolean | string>>;

const CREDITS: Fields = { flow: 'P', vc: 0, headerScale: 0, headerCredits: 0, dataScale: 0, dataCredits: 0 };

/** The fields of each type with what stands for one that is left out. */
const FIELDS: Readonly<Record<DllpType, Fields>> = {
  Ack: { sequence: 0 },
  Nak: { sequence: 0 },
  MRInit: { value: 0 },
  DataLinkFeature: { ack: false, features: 0 },
  PM_Enter_L1: {},
  PM_Enter_L23: {},
  PM_Active_State_Request_L1: {},
  PM_Request_Ack: {},
  VendorSpecific: { value: 0 },
  NOP: { value: 0 },
  InitFC1: CREDITS,
  InitFC2: CREDITS,
  UpdateFC: CREDITS,
};

/** Fields by the short keys of the words. */
const SHORT: Readonly<Record<string, string>> = {
  seq: 'sequence',
  hs: 'headerScale',
  hc: 'headerCredits',
  ds: 'dataScale',
  dc: 'dataCredits',
};

/** The short key of a field that has one. */
export const DLLP_SHORT_KEYS: ReadonlyMap<string, string> = new Map(
  Object.entries(SHORT).map(([short, field]) => [field, short] as const),
);

/** What follows from the others, and what the command adds: read over. */
const DERIVED: ReadonlySet<string> = new Set(['type', 'crc', 'crcOk', 'hex']);

/** A DLLP of `type`; `read` gives the value of a field as the kind of its default, undefined where it is left out. */
function build(
  type: string,
  names: readonly string[],
  read: (name: string, kind: number | boolean | string) => unknown,
): Dllp {
  const found = DLLP_TYPES.find((name) => name.toLowerCase() === type.toLowerCase());
  if (found === undefined) throw invalid('type', type, DLLP_TYPES.join(', '), 'unknown-name');
  const fields = FIELDS[found];
  const unknown = names.find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) {
    const allowed = Object.keys(fields).join(', ') || 'none';
    throw new ZtlpError('unknown-name', `${found} has no field ${show(unknown)}`, {
      field: unknown,
      allowed,
    });
  }
  const values = Object.entries(fields).map(([name, standard]) => [name, read(name, standard) ?? standard]);
  return { type: found, ...Object.fromEntries(values) } as Dllp;
}

/** A DLLP from words: its type, then `key=value` in any order, each key once. */
export function parseDllpWords(words: readonly string[]): Dllp {
  const [type = '', ...rest] = words;
  const texts = new Map<string, string>();
  for (const [key, text] of rest.map(splitWord)) {
    const name = Object.hasOwn(SHORT, key) ? (SHORT[key] ?? key) : key;
    if (texts.has(name)) throw repeatedKey(key);
    texts.set(name, text);
  }
  return build(type, [...texts.keys()], (name, kind) => {
    const text = texts.get(name);
    if (text === undefined) return undefined;
    if (typeof kind === 'string') return text.toUpperCase();
    return typeof kind === 'boolean' ? parseFlag(name, text) : parseNumber(name, text);
  });
}

/** A DLLP from a JSON object. Its CRC is computed, whatever the object says. */
export function dllpFromJson(fields: Readonly<Record<string, unknown>>): Dllp {
  const names = Object.keys(fields).filter((name) => !DERIVED.has(name));
  return build(String(fields.type), names, (name, kind) => {
    const value = fields[name];
    if (value === undefined || value === null || typeof value === typeof kind) return value;
    throw invalid(name, value, `a ${typeof kind}`, 'malformed');
  });
}

export function dllpToJson(dllp: DecodedDllp): Readonly<Record<string, unknown>> {
  return { ...dllp, crc: formatHex(dllp.crc) };
}
