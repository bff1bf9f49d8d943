/** Reads a trace whose lines are records one by one: batches of records, counts and the first bad line, in constant memory. */
import { BadLineCounter } from '../base/bad-lines.js';
import type { BadLine } from './line-format.js';
import { type LineBatch, readLines } from './lines.js';

/** A line that is none of the format's: another event, or a message of another program. */
export const OTHER = { kind: 'other' } as const;

/** A line as parsed. */
export type ParsedLine<R> = R | BadLine | typeof OTHER;

export interface RecordBatch<R> {
  readonly records: readonly R[];
  /** Line number of each record, counted from 1. */
  readonly lines: readonly number[];
}

/** A format: how one line is parsed, and the kinds that its records have, in the order of reports. */
export interface RecordFormat<R extends { readonly kind: string }> {
  parse(text: string): ParsedLine<R>;
  readonly kinds: readonly R['kind'][];
}

/** Takes in the lines of one trace and counts what it saw. */
export class RecordReader<R extends { readonly kind: string }> extends BadLineCounter {
  /** Good lines of each kind. */
  readonly counts: Record<R['kind'], number>;
  /** Lines that are none of the format's. Empty lines are not counted. */
  other = 0;

  /** @param strict throw on the first bad line instead of counting it */
  constructor(
    private readonly format: RecordFormat<R>,
    strict = false,
  ) {
    super(strict);
    this.counts = Object.fromEntries(format.kinds.map((kind) => [kind, 0])) as Record<R['kind'], number>;
  }

  /** Takes the next lines. Throws ZtlpError in strict mode for a bad line. */
  push(batch: LineBatch): RecordBatch<R> {
    const records: R[] = [];
    const lines: number[] = [];
    const tooLong = new Set(batch.tooLong);
    for (let i = 0; i < batch.lines.length; i++) {
      const text = batch.lines[i] as string;
      if (text === '') continue;
      const parsed: ParsedLine<R> = tooLong.has(i)
        ? { kind: 'bad', reason: `line: is too long, cut to ${text.length} characters` }
        : this.format.parse(text);
      if (isBad(parsed)) {
        this.reject(batch.first + i, text, parsed.reason);
      } else if (isOther(parsed)) {
        if (text.trim() !== '') this.other++;
      } else {
        this.counts[parsed.kind as R['kind']]++;
        records.push(parsed);
        lines.push(batch.first + i);
      }
    }
    return { records, lines };
  }
}

function isBad<R extends { readonly kind: string }>(parsed: ParsedLine<R>): parsed is BadLine {
  return parsed.kind === 'bad';
}

function isOther<R extends { readonly kind: string }>(parsed: ParsedLine<R>): parsed is typeof OTHER {
  return parsed.kind === 'other';
}

export interface ReadOptions<R extends { readonly kind: string }> {
  /** Throw on the first bad line. Default: count it and go on. */
  readonly strict?: boolean;
  /** Called now and then with the number of bytes read so far. */
  readonly onProgress?: (bytes: number) => void;
  /** The reader to use, for its counts; `strict` is then that reader's. */
  readonly reader?: RecordReader<R>;
  /** Name of the source for error messages. */
  readonly name?: string;
}

/** Yields the records of a trace in batches, in order. */
export async function* readRecords<R extends { readonly kind: string }>(
  format: RecordFormat<R>,
  source: AsyncIterable<Uint8Array | string>,
  options: ReadOptions<R> = {},
): AsyncGenerator<RecordBatch<R>, void, undefined> {
  const reader = options.reader ?? new RecordReader(format, options.strict);
  for await (const lines of readLines(source, options.name === undefined ? {} : { name: options.name })) {
    const batch = reader.push(lines);
    options.onProgress?.(lines.bytes);
    if (batch.records.length > 0) yield batch;
  }
}
