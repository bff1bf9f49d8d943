/** Runs `access-path-vectors/1`: what an access along a path becomes, and the size rules of memory regions. */
import type { AccessSizes } from '../base/device.js';
import { invalid } from '../base/errors.js';
import { hex64 } from '../core/u64.js';

import { dispatchRegion } from '../path/region.js';
import { type Span, type SplitInput, splitAccess } from '../path/split.js';
import type { Tlp } from '../tlp/types.js';
import type { CaseFields } from './case.js';
import { pathPreset } from './presets.js';
import { type Json, judge, type Verdict } from './report.js';

export function runAccessPath(fields: CaseFields): Verdict {
  const path = fields.text('path');
  const result = splitAccess(path, { ...inputOf(fields), options: pathPreset(path) });
  // What a case does not mention did not happen: an absent list is an empty one.
  const expected: Record<string, Json> = {
    tlps: fields.has('tlps') ? fields.objects('tlps', expectedTlp) : [],
    dropped: fields.pairs('dropped'),
    filledFF: fields.pairs('filledFF'),
    shortCount: fields.has('shortCount') ? fields.integer('shortCount') : null,
    error: fields.has('error') ? fields.text('error') : null,
    fault: fields.has('fault') ? fields.text('fault') : null,
  };
  const actual: Record<string, Json> = {
    tlps: result.tlps.map(actualTlp),
    dropped: result.dropped.map(pair),
    filledFF: result.filledFF.map(pair),
    shortCount: result.shortCount ?? null,
    error: result.error ?? null,
    fault: result.fault?.text ?? null,
  };
  // Paths without operations of their own (a write-combining line) give no list of them.
  if (fields.has('accesses')) {
    expected.accesses = fields.pairs('accesses');
    actual.accesses = result.accesses.map(pair);
  }
  return judge(expected, actual);
}

function inputOf(fields: CaseFields): SplitInput {
  const op = fields.text('op');
  if (op !== 'read' && op !== 'write') throw invalid('op', op, 'read, write');
  return {
    op,
    offset: offsetOf(fields),
    bytes: fields.integer('size'),
    ...(fields.has('barLength') ? { barLength: fields.integer('barLength') } : {}),
    ...(fields.has('excluded') ? { excluded: rangeOf(fields, 'excluded') } : {}),
  };
}

/** The library takes offsets as numbers: it refuses those that a number does not hold anyway. */
function offsetOf(fields: CaseFields): number {
  return Number(fields.u64('offset'));
}

/** [first, behind). */
function rangeOf(fields: CaseFields, name: string): readonly [number, number] {
  const [first, behind, ...rest] = fields
    .list(name)
    .map((value) => (isOffset(value) ? Number(value) : undefined));
  if (first === undefined || behind === undefined || rest.length > 0) {
    throw invalid(name, fields.list(name), 'first offset and the one behind the last', 'malformed');
  }
  return [first, behind];
}

function isOffset(value: unknown): boolean {
  return typeof value === 'string' ? /^0x[0-9a-f]{1,8}$/i.test(value) : Number.isSafeInteger(value);
}

function expectedTlp(fields: CaseFields): Json {
  return {
    t: fields.text('t'),
    addr: hex64(fields.u64('addr')),
    dw: fields.integer('dw'),
    fbe: fields.integer('fbe'),
    lbe: fields.integer('lbe'),
  };
}

function actualTlp(tlp: Tlp): Json {
  return { t: tlp.type, addr: hex64(tlp.address), dw: tlp.length, fbe: tlp.firstBe, lbe: tlp.lastBe };
}

function pair({ offset, bytes }: Span): [string, number] {
  return [hex64(offset), bytes];
}

/** Only the verdict is compared, not the reason of a rejection; and the calls. */
export function runMemoryRegion(fields: CaseFields): Verdict {
  const verdict = fields.text('result').split(':', 1)[0] as string;
  if (verdict !== 'ok' && verdict !== 'rejected') throw invalid('result', verdict, 'ok, rejected');
  const result = dispatchRegion({
    offset: offsetOf(fields),
    bytes: fields.integer('size'),
    valid: sizesOf(fields.object('valid')),
    impl: sizesOf(fields.object('impl')),
  });
  return judge(
    { result: verdict, calls: fields.pairs('calls') },
    { result: result.result, calls: result.calls.map(pair) },
  );
}

function sizesOf(fields: CaseFields): AccessSizes {
  const min = fields.integer('min');
  const max = fields.integer('max');
  const unaligned = fields.has('unaligned') && fields.boolean('unaligned');
  fields.done();
  return { min, max, unaligned };
}
