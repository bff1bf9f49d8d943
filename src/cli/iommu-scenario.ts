/** Reads the file of `ztlp iommu walk`: a translation unit, memory with its tables, and requests, as YAML or JSON. */
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { show, ZtlpError } from '../base/errors.js';
import type { OptionInput } from '../base/options.js';
import { hex64 } from '../core/u64.js';
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
import { fieldText, malformed, type Plain, readPlain } from './iommu-yaml.js';
import { nameOfFile, readWhole } from './read-file.js';

const MOST_BYTES = 16 << 20;
/** What a WebAssembly memory has room for beside the core. */
const MOST_IMAGE_BYTES = 2 ** 31;
/** No unit has wider addresses of memory. */
const MEMORY_END = 1n << 52n;
const FIELDS = 'fields of docs/iommu.md';
const KINDS = 'vtd, smmuv3, amd';

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

/** The validator takes a list for an object. */
const map = (allowed: string) =>
  v.custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    allowed,
  );

const SHAPE = v.strictObject({
  unit: v.picklist(['vtd', 'smmuv3', 'amd'], KINDS),
  cap: v.optional(u64),
  ecap: v.optional(u64),
  hostWidth: v.optional(integer(30, 52)),
  outputWidth: v.optional(integer(32, 48)),
  substreamBits: v.optional(integer(0, 20)),
  hardwareFlags: v.optional(v.picklist(['none', 'access', 'dirty'], 'none, access, dirty')),
  root: u64,
  streams: v.optional(integer(0, 0xffff_ffff)),
  options: v.optional(v.pipe(map('values by the names of docs/options.md'), v.record(text, option))),
  images: v.optional(v.array(v.strictObject({ file: text, at: u64 }), 'a list of { file, at }')),
  entries: v.optional(v.pipe(map('64-bit words by address'), v.record(addressKey, u64))),
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
const SCENARIO = v.pipe(map(FIELDS), SHAPE);

/** What a scenario may say. */
export const SCENARIO_FIELDS: readonly string[] = Object.keys(SHAPE.entries);

/**
 * An image of memory whose first byte is at address `at`. Throws ZtlpError `not-found`, `io` or `resource`, and
 * `malformed` where it leaves the addresses that units have for memory.
 */
export async function readImage(file: string, at: bigint): Promise<TableImage> {
  const name = nameOfFile(file);
  const bytes = await readWhole(file, MOST_IMAGE_BYTES, 'an image of memory');
  if (at + BigInt(bytes.length) <= MEMORY_END) return { name, at, bytes };
  const what = `${show(name)}: ${bytes.length} bytes from ${hex64(at)} on`;
  throw malformed(what, 'images', at, 'addresses of memory below 2^52');
}

/** Reads a scenario, `-` from standard input. Throws ZtlpError `malformed` with file, line and field. */
export async function readScenario(file: string): Promise<WalkInput> {
  const name = nameOfFile(file);
  const plain = readPlain(name, textOf(name, await readWhole(file, MOST_BYTES, 'a scenario')), keyText);
  if (plain.value === undefined) throw malformed(`${name}: the file is empty`, 'file', file, FIELDS);
  const { success, output, issues } = v.safeParse(SCENARIO, plain.value);
  if (!success) throw wrongField(name, issues[0], plain);
  const { entries = {}, images = [], requests = [], options = {}, unit, root, streams, ...figures } = output;
  const words = Object.entries(entries).map(([at, value]) => [BigInt(at), value] as const);
  const checked = inFile(name, () => {
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

type Issue = v.InferIssue<typeof SCENARIO>;

/** An issue in one line: file, line, field as it is written, value, and what is allowed. */
function wrongField(name: string, issue: Issue, plain: Plain): ZtlpError {
  const path = (issue.path ?? []).map(({ key }) => String(key));
  const place = `${name}${plain.lineOf(path)}`;
  const field = fieldText(path);
  if (field === '')
    return malformed(`${place}: ${show(issue.input)} is no scenario`, 'file', issue.input, FIELDS);
  if (issue.type !== 'strict_object')
    return malformed(
      `${place}: ${field}: ${show(issue.input)} is not valid`,
      field,
      issue.input,
      issue.message,
    );
  if (issue.expected === 'never')
    return malformed(`${place}: ${field} is not a field`, field, issue.input, FIELDS);
  if (issue.received === 'undefined')
    return malformed(`${place}: ${field} is missing`, field, undefined, field === 'unit' ? KINDS : undefined);
  return malformed(`${place}: ${field}: ${show(issue.input)} is not valid`, field, issue.input, FIELDS);
}

/** Addresses of entries as messages have them, so that an address is one key however it is written. */
function keyText(path: readonly string[], key: unknown): string {
  const address = path.length === 1 && path[0] === 'entries' ? toU64(key) : undefined;
  return address === undefined ? String(key) : hex64(address);
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
