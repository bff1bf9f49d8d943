/** Reads the file of `ztlp iommu walk`: a translation unit, memory with its tables, and requests, as YAML or JSON. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { LineCounter, parseDocument } from 'yaml';
import { show, ZtlpError } from '../base/errors.js';
import { type OptionInput, resolveOptions } from '../base/options.js';
import { LAST } from '../iommu/unit.js';
import type { TableImage, WalkInput, WalkRequest } from '../report/iommu-walk.js';

const MOST_BYTES = 16 << 20;
/** What a WebAssembly memory has room for beside the core. */
const MOST_IMAGE_BYTES = 2 ** 31;

/** Integers arrive as bigint; text such as `0x1000` is one, too, since keys are text. */
const u64 = v.pipe(
  v.union([
    v.bigint(),
    v.pipe(
      v.string(),
      v.regex(/^(0x[0-9a-f]+|\d+)$/i, 'a number'),
      v.transform((text) => BigInt(text)),
    ),
  ]),
  v.check((value) => value >= 0n && value <= LAST, '0 to 2^64 - 1'),
);
const integer = (min: number, max: number) =>
  v.pipe(
    u64,
    v.check((value) => value >= BigInt(min) && value <= BigInt(max), `${min} to ${max}`),
    v.transform((value) => Number(value)),
  );
/** `00:04.0`, as lspci prints it, or the number. */
const sid = v.union([
  integer(0, 0xffff),
  v.pipe(
    v.string(),
    v.regex(/^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i, 'a requester such as 00:04.0, or its number'),
    v.transform(sidOf),
  ),
]);

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
  options: v.optional(
    v.record(
      v.string(),
      v.union([
        v.string(),
        v.boolean(),
        v.pipe(
          v.bigint(),
          v.transform((value) => Number(value)),
        ),
      ]),
    ),
  ),
  images: v.optional(v.array(v.strictObject({ file: v.string(), at: u64 }))),
  entries: v.optional(v.record(u64AsKey(), u64)),
  requests: v.optional(
    v.array(
      v.strictObject({
        sid,
        address: u64,
        write: v.optional(v.boolean()),
        pasid: v.optional(integer(0, 0xf_ffff)),
        privileged: v.optional(v.boolean()),
      }),
    ),
  ),
});

function u64AsKey() {
  return v.pipe(v.string(), v.regex(/^(0x[0-9a-f]+|\d+)$/i, 'an address such as 0x1000'));
}

/** Bus, device and function of `00:04.0` as a requester ID. */
export function sidOf(text: string): number {
  const [bus = 0, device = 0, fn = 0] = text.split(/[:.]/).map((part) => Number.parseInt(part, 16));
  return (bus << 8) | (device << 3) | fn;
}

function read(file: string, most: number): Buffer {
  try {
    const { size } = statSync(file);
    if (size > most)
      throw new ZtlpError('resource', `${file}: ${size} bytes`, {
        field: 'file',
        value: file,
        allowed: `up to ${most} bytes`,
      });
    return readFileSync(file);
  } catch (cause) {
    if (cause instanceof ZtlpError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ZtlpError('not-found', `${file}: ${reason}`, { field: 'file', value: file, cause });
  }
}

/** An image of memory whose first byte is at address `at`. Throws ZtlpError `not-found` or `resource`. */
export function readImage(file: string, at: bigint): TableImage {
  return { at, bytes: read(file, MOST_IMAGE_BYTES) };
}

/** Throws ZtlpError `malformed` with file, line and field. */
export function readScenario(file: string): WalkInput {
  const text = read(file, MOST_BYTES).toString('utf8');
  const lines = new LineCounter();
  const document = parseDocument(text, { intAsBigInt: true, lineCounter: lines });
  const [broken] = document.errors;
  if (broken !== undefined)
    throw new ZtlpError('malformed', `${file}: ${broken.message}`, { field: 'file', value: file });
  const { success, output, issues } = v.safeParse(SCENARIO, document.toJS({ mapAsMap: false }));
  if (!success) {
    const [issue] = issues;
    const path = (issue.path ?? []).map(({ key }) => key);
    const node = document.getIn(path, true) as { range?: [number, number, number] } | undefined;
    const line = node?.range === undefined ? '' : `:${lines.linePos(node.range[0]).line}`;
    const field = path.map(String).join('.') || 'file';
    throw new ZtlpError('malformed', `${file}${line}: ${field}: ${show(issue.input)}`, {
      field,
      value: issue.input,
      allowed: issue.type === 'strict_object' ? 'a field of docs/iommu.md' : issue.message,
    });
  }
  const { entries = {}, images = [], requests = [], options = {}, unit, root, streams = 0, ...rest } = output;
  resolveOptions(options as OptionInput);
  return {
    unit: unitOf(file, unit, rest),
    root,
    streams,
    options: options as OptionInput,
    images: images.map((image) => readImage(resolve(dirname(file), image.file), image.at)),
    entries: Object.entries(entries).map(([at, value]) => [BigInt(at), value] as const),
    requests: requests.map(requestOf),
  };
}

type Figures = Readonly<Record<string, bigint | number | string | undefined>>;

function unitOf(file: string, kind: WalkInput['unit']['kind'], figures: Figures): WalkInput['unit'] {
  const known: Readonly<Record<WalkInput['unit']['kind'], readonly string[]>> = {
    vtd: ['cap', 'ecap', 'hostWidth'],
    smmuv3: ['outputWidth', 'substreamBits', 'hardwareFlags'],
    amd: ['hardwareFlags'],
  };
  for (const name of Object.keys(figures))
    if (figures[name] !== undefined && !known[kind].includes(name))
      throw new ZtlpError('malformed', `${file}: ${name} is not of a unit of kind ${kind}`, {
        field: name,
        allowed: known[kind].join(', '),
      });
  return { kind, ...figures } as WalkInput['unit'];
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
