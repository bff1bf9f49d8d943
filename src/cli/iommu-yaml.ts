/** Reads YAML or JSON into plain values: aliases filled in, no key twice, and the line where each value stands. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type ScalarTag,
  type YAMLError,
} from 'yaml';
import { ZtlpError } from '../base/errors.js';

/** A longer number stays text: making it a number would take a time that grows with the square of its length. */
const MOST_DIGITS = 40;
/** Longest name and longest message of the library in a message. */
const MOST_NAME = 60;
const MOST_MESSAGE = 200;
/** Collections in one another. No field needs more than three. */
const MOST_DEPTH = 16;
const TOO_DEEP = 'too many lists or maps in one another';
/** Names that lookups in objects find in objects without fields. */
const NO_FIELDS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

const INTEGER: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$/,
  resolve: (text) => (text.length > MOST_DIGITS ? text : BigInt(text)),
};

/** The text of a key; keys of one map with the same text are the same key. */
export type KeyText = (path: readonly string[], key: unknown) => string;

export interface Plain {
  /** Objects without prototype, lists, text, bigint for integers, number, boolean, null; undefined: the file is empty. */
  readonly value: unknown;
  /** `:LINE` of the value at `path` or of the nearest one around it; empty where neither is known. */
  lineOf(path: readonly string[]): string;
}

/** Reads `text` of the file `name`. Throws ZtlpError `malformed` with file and line. */
export function readPlain(name: string, text: string, keyText: KeyText): Plain {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    customTags: (tags) => [
      INTEGER,
      ...tags.filter((tag) => typeof tag === 'string' || tag.tag !== INTEGER.tag),
    ],
    lineCounter: lines,
    merge: false,
    prettyErrors: false,
    resolveKnownTags: false,
    schema: 'core',
    // The check of the library compares each key with every other one.
    uniqueKeys: false,
  });
  const line = (at: number | undefined): string => (at === undefined ? '' : `:${lines.linePos(at).line}`);
  const [broken] = document.errors;
  if (broken !== undefined)
    throw malformed(`${name}${line(broken.pos[0])}: ${reasonOf(broken)}`, 'file', name);
  const maker = new Maker(keyText, (node, what, field) =>
    malformed(`${name}${line(startOf(node))}: ${what}`, field, undefined),
  );
  return {
    value: document.contents === null ? undefined : maker.valueOf(document.contents, []),
    lineOf: (path) => line(placeOf(document, path, keyText)),
  };
}

/** What the library says, where it speaks to people who write a file. */
function reasonOf({ code, message }: YAMLError): string {
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here';
  return message.startsWith('Maximum call stack') ? TOO_DEEP : shorten(message, MOST_MESSAGE);
}

/** Wrong data of a file. */
export function malformed(what: string, field: string, value: unknown, allowed?: string): ZtlpError {
  return new ZtlpError('malformed', what, { field, value, ...(allowed === undefined ? {} : { allowed }) });
}

/** A path of keys as messages have it. */
export function fieldText(path: readonly string[]): string {
  return path.map((key) => shorten(key, MOST_NAME)).join('.');
}

function shorten(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

type Refuse = (node: unknown, what: string, field: string) => ZtlpError;

/**
 * Makes plain values of nodes. An alias has the very value of its anchor, so that what aliases of aliases would fill is
 * never built.
 */
class Maker {
  private readonly anchored = new Map<string, unknown>();

  constructor(
    private readonly keyText: KeyText,
    private readonly refuse: Refuse,
  ) {}

  valueOf(node: unknown, path: readonly string[]): unknown {
    if (isAlias(node)) {
      const found = this.anchored.get(node.source);
      if (found !== undefined) return found;
      const what = `*${shorten(node.source, MOST_NAME)} has no anchor before it`;
      throw this.refuse(node, what, fieldText(path));
    }
    const value = this.made(node, path);
    if ((isScalar(node) || isCollection(node)) && node.anchor !== undefined)
      this.anchored.set(node.anchor, value);
    return value;
  }

  private made(node: unknown, path: readonly string[]): unknown {
    if (isScalar(node)) return node.value;
    if (path.length > MOST_DEPTH) throw this.refuse(node, TOO_DEEP, 'file');
    if (isSeq(node)) return node.items.map((item, n) => this.valueOf(item, [...path, String(n)]));
    const made = Object.create(null) as Record<string, unknown>;
    if (!isMap(node)) return null;
    const known = new Set<string>();
    for (const { key, value } of node.items) {
      const name = this.valueOf(key, path);
      if (typeof name === 'object' && name !== null)
        throw this.refuse(key, 'a key is a list or a map', fieldText(path));
      const text = this.keyText(path, name);
      const inner = [...path, text];
      const field = fieldText(inner);
      if (NO_FIELDS.has(text)) throw this.refuse(key, `${field} is not a field`, field);
      if (known.has(text)) throw this.refuse(key, `${field} is given twice`, field);
      known.add(text);
      made[text] = this.valueOf(value, inner);
    }
    return made;
  }
}

/** Where the node at `path` begins, or the nearest one around it. */
function placeOf(document: Document, path: readonly string[], keyText: KeyText): number | undefined {
  let node: unknown = document.contents;
  let at: number | undefined;
  for (const [n, key] of path.entries()) {
    let next: unknown;
    if (isMap(node)) {
      const around = path.slice(0, n);
      const pair = node.items.find((item) => isScalar(item.key) && keyText(around, item.key.value) === key);
      at = startOf(pair?.key) ?? at;
      next = pair?.value;
    } else if (isSeq(node)) next = node.items[Number(key)];
    at = startOf(next) ?? at;
    node = next;
  }
  return at;
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: readonly number[] | null } | null | undefined)?.range?.[0];
}
