/** Reads the file of `ztlp iommu walk`: a translation unit, memory with its tables, and requests, as YAML or JSON. */
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { show, ZtlpError } from '../base/errors.js';
import type { OptionInput } from '../base/options.js';
import {
  checkEntries,
  checkImages,
  checkOptions,
  checkRoot,
  checkStreams,
  type TableImage,
  unitOf,
  type WalkInput,
  type WalkRequest,
} from '../report/iommu-walk-input.js';
import { PASID_FORM, SID_FORM, toInteger, toSid, toU64, U64_FORM } from './iommu-values.js';
import { nameOfFile, readWhole } from './read-file.js';

const MOST_BYTES = 16 << 20;
/** What a WebAssembly memory has room for beside the core. */
const MOST_IMAGE_BYTES = 2 ** 31;
const FIELDS = 'fields of docs/iommu.md';

/** What `read` makes of a value; undefined: it is not `allowed`. Integers arrive as bigint. */
function taken<T>(read: (value: unknown) => T | undefined, allowed: string) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const found = read(dataset.value);
      if (found !== undefined) return found;
      addIssue({ message: allowed });
      return NEVER;
    }),
  );
}

const u64 = taken((value) => toU64(value), U64_FORM);
const integer = (least: number, most: number, allowed = `${least} to ${most}`) =>
  taken((value) => toInteger(value, least, most), allowed);
const truth = v.boolean('true, false');
const text = v.string('text');
const option = taken(
  (value) =>
    typeof value === 'bigint'
      ? Number(value)
      : typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
        ? value
        : undefined,
  'a value of docs/options.md',
);
const addressKey = v.pipe(
  text,
  v.check((key) => toU64(key) !== undefined, 'an address such as 0x1000'),
);

const SCENARIO = v.strictObject({
  unit: v.picklist(['vtd', 'smmuv3', 'amd'], 'vtd, smmuv3, amd'),
  cap: v.optional(u64),
  ecap: v.optional(u64),
  hostWidth: v.optional(integer(30, 52)),
  outputWidth: v.optional(integer(32, 48)),
  substreamBits: v.optional(integer(0, 20)),
  hardwareFlags: v.optional(v.picklist(['none', 'access', 'dirty'], 'none, access, dirty')),
  root: u64,
  streams: v.optional(integer(0, 0xffff_ffff)),
  options: v.optional(v.record(text, option, 'values by the names of docs/options.md')),
  images: v.optional(v.array(v.strictObject({ file: text, at: u64 }), 'a list of { file, at }')),
  entries: v.optional(v.record(addressKey, u64, '64-bit words by address')),
  requests: v.optional(
    v.array(
      v.strictObject({
        sid: taken(toSid, SID_FORM),
        address: u64,
        write: v.optional(truth),
        pasid: v.optional(integer(0, 0xf_ffff, PASID_FORM)),
        privileged: v.optional(truth),
      }),
      'a list of { sid, address, write, pasid, privileged }',
    ),
  ),
});

/** An image of memory whose first byte is at address `at`. Throws ZtlpError `not-found`, `io` or `resource`. */
export async function readImage(file: string, at: bigint): Promise<TableImage> {
  const bytes = await readWhole(file, MOST_IMAGE_BYTES, 'an image of memory');
  return { name: nameOfFile(file), at, bytes };
}

/** Reads a scenario, `-` from standard input. Throws ZtlpError `malformed` with file, line and field. */
export async function readScenario(file: string): Promise<WalkInput> {
  const name = nameOfFile(file);
  const lines = new LineCounter();
  const document = parseDocument(textOf(name, await readWhole(file, MOST_BYTES, 'a scenario')), {
    intAsBigInt: true,
    lineCounter: lines,
  });
  const [broken] = document.errors;
  if (broken !== undefined) throw malformed(`${name}: ${broken.message}`, 'file', file);
  if (document.contents === null) throw malformed(`${name}: the file is empty`, 'file', file, FIELDS);
  const { success, output, issues } = v.safeParse(SCENARIO, plainOf(name, document));
  if (!success) throw wrongField(name, issues[0], document, lines);
  const { entries = {}, images = [], requests = [], options = {}, unit, root, streams, ...figures } = output;
  const words = Object.entries(entries).map(([at, value]) => [BigInt(at), value] as const);
  const checked = inFile(name, () => {
    const known = new Set(words.map(([at]) => at));
    // Keys that are numbers and keys that are text can be the same address.
    const node = document.get('entries', true);
    if (isMap(node) && node.items.length !== known.size)
      throw malformed('entries: an address is given twice', 'entries', file);
    checkEntries(words);
    return {
      unit: unitOf(unit, figures),
      root: checkRoot(unit, root),
      streams: checkStreams(unit, streams),
      options: checkOptions(unit, options as OptionInput),
    };
  });
  const folder = file === '-' ? '.' : dirname(file);
  const read: TableImage[] = [];
  for (const image of images) read.push(await readImage(resolve(folder, image.file), image.at));
  inFile(name, () => checkImages(read));
  return { ...checked, images: read, entries: words, requests: requests.map(requestOf) };
}

function malformed(what: string, field: string, value: unknown, allowed?: string): ZtlpError {
  return new ZtlpError('malformed', what, { field, value, ...(allowed === undefined ? {} : { allowed }) });
}

/** What is wrong with a value of a file is wrong data, not a wrong call. */
function inFile<T>(name: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (!(cause instanceof ZtlpError)) throw cause;
    throw new ZtlpError('malformed', `${name}: ${cause.message}`, { cause, ...fieldOf(cause) });
  }
}

function fieldOf({ field, value }: ZtlpError): { readonly field?: string; readonly value?: unknown } {
  return { ...(field === undefined ? {} : { field }), ...(value === undefined ? {} : { value }) };
}

function textOf(name: string, bytes: Buffer): string {
  const found = bytes.toString('utf8');
  if (!found.includes('\0') && !found.includes('\ufffd')) return found;
  const what = `${name}: it is not text; a dump of memory is given with --image FILE@ADDRESS`;
  throw malformed(what, 'file', name, 'YAML or JSON');
}

function plainOf(name: string, document: Document): unknown {
  try {
    return document.toJS({ mapAsMap: false });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ZtlpError('malformed', `${name}: ${reason}`, { field: 'file', value: name, cause });
  }
}

type Issue = v.InferIssue<typeof SCENARIO>;

/** An issue in one line: file, line, field as it is written, value, and what is allowed. */
function wrongField(name: string, issue: Issue, document: Document, lines: LineCounter): ZtlpError {
  const path = (issue.path ?? []).map(({ key }) => String(key));
  const at = placeOf(document, path);
  const line = at === undefined ? '' : `:${lines.linePos(at).line}`;
  const field = path.map((key, n) => (path[n - 1] === 'entries' ? addressText(key) : key)).join('.');
  const isObject = issue.type === 'strict_object';
  const isMissing = isObject && issue.received === 'undefined';
  const allowed = isMissing ? undefined : isObject ? FIELDS : issue.message;
  if (field === '')
    return malformed(`${name}${line}: ${show(issue.input)} is no scenario`, 'file', issue.input, allowed);
  const isUnknown = isObject && issue.expected === 'never';
  const what = isMissing
    ? `${field} is missing`
    : isUnknown
      ? `${field} is not a field`
      : `${field}: ${show(issue.input)} is not valid`;
  return malformed(`${name}${line}: ${what}`, field, issue.input, allowed);
}

/** Keys of entries are integers: as people write addresses. */
function addressText(key: string): string {
  return /^\d+$/.test(key) ? `0x${BigInt(key).toString(16)}` : key;
}

/** Where the node at `path` begins, or the nearest one around it. */
function placeOf(document: Document, path: readonly string[]): number | undefined {
  let node: unknown = document.contents;
  let at: number | undefined;
  for (const key of path) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === key);
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

function requestOf(request: {
  sid: number;
  address: bigint;
  write?: boolean | undefined;
  pasid?: number | undefined;
  privileged?: boolean | undefined;
}): WalkRequest {
  const { write = false, privileged = false, pasid, ...rest } = request;
  return { ...rest, isWrite: write, isPrivileged: privileged, ...(pasid === undefined ? {} : { pasid }) };
}
