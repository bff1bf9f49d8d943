/** Replays the accesses of a recorded driver trace as TLPs, in constant memory, and sums up what the bus carries. */
import { invalid, show, ZtlpError } from '../base/errors.js';
import { parseLink } from '../base/link.js';
import { type OptionInput, withoutTimed } from '../base/options.js';
import { ready } from '../core/shared.js';
import { pathOf } from '../path/prepare.js';
import type { Space, Width } from '../trace/access.js';
import { openTrace, readLines } from '../trace/lines.js';
import { FORMAT_NAMES, recognise } from '../trace/recognise.js';
import { PathReplay, type PathSummary, replayPathProblem } from './replay-path.js';
import type { TlpCount } from './replay-patterns.js';
import { openSource, type Place, type SourceResult, type TraceFormat } from './replay-sources.js';
import { Tally } from './replay-tally.js';
import { REPLAY_TIME_USES, TimedReplay, type TimedReplaySummary } from './timed-replay.js';
import { pathUses, recordedUses, refuseUnused } from './used-options.js';

export interface ReplayOptions {
  /** Throw on the first bad line. Default: count it and go on. */
  readonly strict?: boolean;
  /** Named options, over those of the path. One that neither the recorded path nor `path` acts on is refused. */
  readonly options?: OptionInput;
  /** Another access path to take the same accesses through, beside the one they were recorded on. */
  readonly path?: string;
  /** With `path`: merge stores to ascending adjacent addresses into blocks. Default true. */
  readonly merge?: boolean;
  /** Also runs the accesses of the recorded path on a simulated link, `gen3x8` when none is named. */
  readonly timed?: boolean;
  /** With `timed`: `gen1x1` to `gen5x16`. */
  readonly link?: string;
  /** Called now and then with the bytes read so far and the size of the file, where that is known. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void;
}

/** What one replay found. "Down" is towards the device: requests; "up" is back: completions. */
export interface ReplaySummary extends SourceResult {
  /** As given; `-` for standard input. */
  readonly file: string;
  readonly format: TraceFormat;
  readonly lines: number;
  readonly accesses: number;
  readonly reads: number;
  readonly writes: number;
  /** Widths that occur, in bytes. */
  readonly byWidth: readonly { readonly width: Width; readonly reads: number; readonly writes: number }[];
  /** BARs that were accessed, in the order of the log; accesses outside every BAR come last. */
  readonly byBar: readonly {
    /** PCI address and what else the trace tells: `00:01.0 1b36:0010 nvme`, `fh 80020000`. */
    readonly device: string;
    /** `config`: configuration space; `-`: no BAR. */
    readonly bar: Place['bar'];
    readonly reads: number;
    readonly writes: number;
    readonly bytesRead: number;
    readonly bytesWritten: number;
  }[];
  /** What follows each MARK of a user, up to the next one; only mmiotrace has marks. */
  readonly byPhase: readonly {
    readonly mark: string;
    readonly line: number;
    readonly reads: number;
    readonly writes: number;
    readonly tlps: number;
    readonly wireBytesDown: number;
    readonly wireBytesUp: number;
    /** With `timed`: ns that its accesses took of the processor: issue of stores, whole round trips of loads. */
    readonly cpuNs?: number;
  }[];
  /** Memory, ports, configuration space, registers of the machine. Not for mmiotrace, where all is memory. */
  readonly byKind?: readonly {
    readonly kind: Space;
    readonly reads: number;
    readonly writes: number;
    readonly tlps: number;
    readonly wireBytesDown: number;
    readonly wireBytesUp: number;
  }[];
  /** By the names of register blocks, where the trace has them. */
  readonly byRegion?: readonly {
    readonly region: string;
    readonly reads: number;
    readonly writes: number;
    readonly bytesRead: number;
    readonly bytesWritten: number;
  }[];
  readonly tlps: readonly TlpCount[];
  readonly tlpCount: number;
  /** Data in TLPs, whole DWs. */
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  /** TLPs on a non-flit link, with framing, sequence number and LCRC. */
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  /** Memory accesses that nothing before them in the trace explains as a BAR. */
  readonly outsideBars: number;
  /** Configuration accesses of which the trace does not tell the width. Left out when 0. */
  readonly guessedWidths?: number;
  /** With `path`: the same accesses through that path. */
  readonly path?: PathSummary;
  /** With `timed`: how long it takes. */
  readonly timed?: TimedReplaySummary;
}

/**
 * Replays a trace of any format that `recognise` knows. On x86-64 each memory read becomes MRd and CplD, each write
 * MWr, along path `x86-uc`; instructions of s390x go along `zpci-pcistg8`; a configuration access becomes CfgRd0 and
 * CplD or CfgWr0 and Cpl. `-` is standard input. Throws ZtlpError when the file cannot be read or is of another
 * format, for an unknown path, for an option that the replay does not use, and in strict mode for a bad line.
 */
export async function replayFile(path: string, options: ReplayOptions = {}): Promise<ReplaySummary> {
  const name = path === '-' ? 'standard input' : path;
  const { strict = false, merge = true, options: named = {}, timed = false } = options;
  const link = checkLinkFlag(options);
  const other =
    options.path === undefined
      ? undefined
      : new PathReplay(options.path, { merge, options: withoutTimed(named) });
  const { stream, size } = await openTrace(path);
  await ready();
  const { format, lines: batches } = await recognise(readLines(stream, { name }), show(name));
  if (format === 'lspci') {
    await batches.return();
    const what = `${show(name)} looks like an ${FORMAT_NAMES[format]}, which has no accesses to replay`;
    throw new ZtlpError('unsupported', what, { field: 'file', value: name });
  }
  const source = openSource(format, strict);
  try {
    const used = [
      ...recordedUses(source.path),
      ...(options.path === undefined ? [] : pathUses(pathOf(options.path))),
      ...(timed ? REPLAY_TIME_USES : []),
    ];
    const through = options.path === undefined ? ' without --path' : '';
    refuseUnused(named, used, `the replay of a ${FORMAT_NAMES[format]}${through}`);
  } catch (error) {
    await batches.return(); // closes the file
    throw error;
  }
  const clock = timed ? await TimedReplay.create(source.path, link, named) : undefined;
  const tally = new Tally(source.path, withoutTimed(named), other, clock);
  let lines = 0;
  for await (const batch of batches) {
    within(name, () => source.push(batch, tally));
    lines = batch.first + batch.lines.length - 1;
    options.onProgress?.(batch.bytes, size);
  }
  within(name, () => source.finish(tally));
  return { file: path, format, lines, ...tally.counts(format), ...source.result() };
}

/** The link of a timed replay; one that is given without it has no effect. */
function checkLinkFlag({ timed, link }: ReplayOptions): string {
  if (timed !== undefined && typeof timed !== 'boolean') throw invalid('timed', timed, 'true, false');
  if (timed !== true && link !== undefined) throw invalid('link', link, 'nothing without timed');
  return parseLink(link ?? 'gen3x8').name;
}

/**
 * Why a replay is not the whole answer, in one line; undefined when it is. Without `strict`, under which bad lines have
 * been thrown already, that is one that found bad lines alone, or one in which no access took the other path.
 */
export function replayProblem(summary: ReplaySummary, strict = false): string | undefined {
  const { accesses, badLines, path } = summary;
  if (accesses === 0 && badLines > 0)
    return `no access, and ${badLines} bad line${badLines === 1 ? '' : 's'}`;
  return replayPathProblem(path, strict);
}

/** Runs a step of a reader, which knows lines only, and puts the file's name into what it throws. */
function within<T>(name: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    const detail = { field: error.field ?? 'file', value: error.value ?? name, cause: error };
    throw new ZtlpError(error.code, `${show(name)}: ${error.message}`, detail);
  }
}
