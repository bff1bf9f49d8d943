/** Reads a TLP from a JSON object, the form that `tlpToJson` writes. The text is untrusted: every field is checked. */
import { invalid, show, ZtlpError } from '../base/errors.js';
import type { U64 } from '../core/u64.js';
import type { EncodeOptions } from './codec.js';
import { parseHex, type TlpLine } from './text.js';
import type { TlpInput } from './types.js';

type Fields = Readonly<Record<string, unknown>>;
type Read = (value: unknown, field: string) => unknown;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const number: Read = (value, field) => {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw invalid(field, value, 'an integer', 'malformed');
};

const boolean: Read = (value, field) => {
  if (typeof value === 'boolean') return value;
  throw invalid(field, value, 'true, false', 'malformed');
};

const text: Read = (value, field) => {
  if (typeof value === 'string') return value;
  throw invalid(field, value, 'a text', 'malformed');
};

/** A number, or hexadecimal text for what JSON numbers cannot hold. */
function u64(value: unknown, field: string): U64 {
  if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/i.test(value)) {
    const exact = BigInt(value);
    return exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact;
  }
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(field, value, 'an integer from 0, or 0x text of at most 64 bits', 'malformed');
}

/** An object with no other fields than these; each may be left out. */
function object(fields: Readonly<Record<string, Read>>): Read {
  return (value, field) => {
    if (!isObject(value)) throw invalid(field, value, 'an object', 'malformed');
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => {
        const read = Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (read === undefined) throw unknown(`${field}.${name}`, Object.keys(fields));
        return [name, read(item, `${field}.${name}`)];
      }),
    );
  };
}

function unknown(field: string, allowed: readonly string[]): ZtlpError {
  return new ZtlpError('malformed', `field ${show(field)} is not known`, {
    field,
    allowed: allowed.join(', '),
  });
}

const attributes = object({ ns: boolean, ro: boolean, ido: boolean });
const pasid = object({ pasid: number, privileged: boolean, execute: boolean });
const prefix = object({ scope: text, type: number, value: number });
const prefixes: Read = (value, field) => {
  if (!Array.isArray(value)) throw invalid(field, value, 'a list', 'malformed');
  return value.map((item, n) => prefix(item, `${field}[${n}]`));
};

/** How each field of a TLP is read. */
const INPUT: { readonly [K in keyof Required<TlpInput>]: Read } = {
  type: text,
  headerDw: number,
  tc: number,
  attr: attributes,
  at: number,
  th: boolean,
  ph: number,
  ln: boolean,
  td: boolean,
  ep: boolean,
  length: number,
  requester: number,
  tag: number,
  firstBe: number,
  lastBe: number,
  address: u64,
  completer: number,
  destination: number,
  register: number,
  status: number,
  bcm: boolean,
  byteCount: number,
  lowerAddress: number,
  routing: number,
  messageCode: number,
  message: u64,
  prefixes,
  pasid,
  steeringTag: number,
};

/** Fields that follow from the others, and what the command adds: read over. */
const DERIVED: ReadonlySet<string> = new Set([
  'fmt',
  'typeField',
  'flow',
  'dataCredits',
  'prefixBytes',
  'headerBytes',
  'payloadBytes',
  'wireBytes',
  'digestOk',
  'hex',
  'sequence',
  'lcrc',
]);

const BYTES: ReadonlySet<string> = new Set(['data', 'digest', 'trailing']);

/** The object of one line of JSON. */
export function parseObject(line: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new ZtlpError('malformed', `not JSON: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  if (isObject(value)) return value;
  throw invalid('JSON', value, 'an object', 'malformed');
}

function bytesOf(fields: Fields, name: string): Uint8Array | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  return parseHex(text(value, name) as string);
}

/**
 * A TLP from a JSON object. null stands for an absent field. A `digest` is written as it stands: leave it out to have
 * the ECRC computed, null for none. An object that says `malformed` is built as it is described.
 */
export function tlpFromJson(fields: Fields, options: EncodeOptions = {}): TlpLine {
  const tlp: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (DERIVED.has(name) || BYTES.has(name) || name === 'malformed') continue;
    if (!Object.hasOwn(INPUT, name)) throw unknown(name, [...Object.keys(INPUT), ...BYTES]);
    if (value !== null) tlp[name] = INPUT[name as keyof TlpInput](value, name);
  }
  const { malformed } = fields;
  const isMalformed = malformed !== undefined && malformed !== null && malformed !== false;
  const digest = (options.digest === false ? undefined : bytesOf(fields, 'digest')) ?? new Uint8Array(0);
  const trailing = bytesOf(fields, 'trailing') ?? new Uint8Array(0);
  const computed = !Object.hasOwn(fields, 'digest') && options.digest !== false;
  const body = bytesOf(fields, 'data');
  return {
    tlp: tlp as unknown as TlpInput,
    data: body !== undefined && body.length > 0 ? body : undefined,
    options: { digest: computed, malformed: isMalformed || options.malformed === true },
    tail: Uint8Array.of(...digest, ...trailing),
  };
}
