/** The counts of one replay. Their size depends on the devices, regions and marks of a trace, all limited, not on its length. */
import { detached } from '../base/bad-lines.js';
import type { OptionInput } from '../base/options.js';
import type { Access, Space, Width } from '../trace/access.js';
import type { ReplaySummary } from './replay.js';
import type { PathReplay } from './replay-path.js';
import { type Pattern, Patterns, type RecordedPath } from './replay-patterns.js';
import { MAX_NAME, type Place, type Sink, type SourceResult, type TraceFormat } from './replay-sources.js';
import { clip } from './style.js';
import type { TimedReplay } from './timed-replay.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Row<K extends 'byWidth' | 'byBar' | 'byPhase' | 'byKind' | 'byRegion'> = Mutable<
  NonNullable<ReplaySummary[K]>[number]
>;
type Counts = Omit<ReplaySummary, keyof SourceResult | 'file' | 'format' | 'lines'>;

/**
 * Phases that are listed one by one. A log may have any number of marks, but memory is to stay constant: all phases
 * behind these are added up in one last entry, '(later marks)'.
 */
const MAX_PHASES = 10_000;
/** Regions that are listed one by one; all others are '(other regions)'. */
const MAX_REGIONS = 10_000;

const KINDS: readonly Space[] = ['config', 'io', 'memory', 'platform'];

/** Adds up what a source finds. */
export class Tally implements Sink {
  private reads = 0;
  private writes = 0;
  private outside = 0;
  private guessed = 0;
  private readonly widths = new Map<Width, Row<'byWidth'>>();
  private readonly bars = new Map<Place, Row<'byBar'>>();
  private readonly kinds = new Map<Space, Row<'byKind'>>();
  private readonly regions = new Map<string, Row<'byRegion'>>();
  private readonly phases: Row<'byPhase'>[] = [];
  private phase = newPhase('(before the first mark)', 1);
  private readonly patterns: Patterns;

  /** @param other the same accesses through another path; `timed`: on a simulated link */
  constructor(
    path: RecordedPath,
    options: OptionInput,
    private readonly other: PathReplay | undefined,
    private readonly timed?: TimedReplay,
  ) {
    this.patterns = new Patterns(path, options);
  }

  access(access: Access, place: Place): void {
    const { op, width, space, region } = access;
    const pattern = this.patterns.of(access);
    pattern.accesses++;
    if (op === 'read') this.reads++;
    else this.writes++;
    if (!place.inside && space === 'memory') this.outside++;
    if (access.guessed) this.guessed++;
    count(
      rowOf(this.widths, width, () => ({ width, reads: 0, writes: 0 })),
      op,
    );
    countBytes(
      rowOf(this.bars, place, () => ({ device: place.device, bar: place.bar, ...NO_BYTES })),
      op,
      width,
    );
    countTlps(
      rowOf(this.kinds, space, () => ({ kind: space, ...NO_TLPS })),
      op,
      pattern,
    );
    countTlps(this.phase, op, pattern);
    if (region !== undefined) countBytes(this.regionOf(region), op, width);
    this.other?.add(access, pattern, place.known ? place : undefined);
    if (this.timed !== undefined) this.phase.cpuNs = (this.phase.cpuNs ?? 0) + this.timed.access(access);
  }

  /** Begins a phase, or goes on with the last one when there are too many. */
  mark(text: string, line: number): void {
    if (this.phases.length === 0 && this.phase.reads + this.phase.writes > 0) this.phases.push(this.phase);
    if (this.phases.length > MAX_PHASES) return;
    this.phase =
      this.phases.length < MAX_PHASES
        ? newPhase(detached(clip(text, MAX_NAME)), line)
        : newPhase('(later marks)', line);
    this.phases.push(this.phase);
  }

  gap(): void {
    this.other?.gap();
  }

  /** The sums; to be asked behind the last access. */
  counts(format: TraceFormat): Counts {
    const { patterns, reads, writes, other, guessed } = this;
    const plain = format === 'mmiotrace';
    if (plain && this.phases.length === 0 && reads + writes > 0) this.phases.push(this.phase);
    const kinds = [...this.kinds.values()].sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
    return {
      accesses: reads + writes,
      reads,
      writes,
      byWidth: [...this.widths.values()].sort((a, b) => a.width - b.width),
      byBar: [...this.bars].sort(([a], [b]) => compare(a.order, b.order)).map(([, row]) => row),
      byPhase: this.phases,
      ...(plain ? {} : { byKind: kinds }),
      ...(this.regions.size === 0 ? {} : { byRegion: [...this.regions.values()] }),
      tlps: patterns.counts(),
      tlpCount: patterns.sum(({ tlpCount }) => tlpCount),
      payloadBytesDown: patterns.sum((pattern) => pattern.payloadBytesDown),
      payloadBytesUp: patterns.sum((pattern) => pattern.payloadBytesUp),
      wireBytesDown: patterns.sum((pattern) => pattern.wireBytesDown),
      wireBytesUp: patterns.sum((pattern) => pattern.wireBytesUp),
      outsideBars: this.outside,
      ...(guessed === 0 ? {} : { guessedWidths: guessed }),
      ...(other === undefined ? {} : { path: other.result() }),
      ...(this.timed === undefined ? {} : { timed: this.timed.result() }),
    };
  }

  private regionOf(region: string): Row<'byRegion'> {
    const known = this.regions.get(region);
    if (known !== undefined) return known;
    const name = this.regions.size < MAX_REGIONS ? detached(region) : OTHER_REGIONS;
    return rowOf(this.regions, name, () => ({ region: clip(name, MAX_NAME), ...NO_BYTES }));
  }
}

const OTHER_REGIONS = '(other regions)';
const NO_BYTES = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 } as const;
const NO_TLPS = { reads: 0, writes: 0, tlps: 0, wireBytesDown: 0, wireBytesUp: 0 } as const;

/** Two infinite places are equal; their difference would be no number. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function newPhase(mark: string, line: number): Row<'byPhase'> {
  return { mark, line, ...NO_TLPS };
}

function rowOf<K, R>(rows: Map<K, R>, key: K, make: () => R): R {
  let row = rows.get(key);
  if (row === undefined) {
    row = make();
    rows.set(key, row);
  }
  return row;
}

function count(row: { reads: number; writes: number }, op: Access['op']): void {
  if (op === 'read') row.reads++;
  else row.writes++;
}

function countBytes(row: Omit<Row<'byRegion'>, 'region'>, op: Access['op'], bytes: number): void {
  count(row, op);
  if (op === 'read') row.bytesRead += bytes;
  else row.bytesWritten += bytes;
}

function countTlps(row: Omit<Row<'byKind'>, 'kind'>, op: Access['op'], pattern: Pattern): void {
  count(row, op);
  row.tlps += pattern.tlpCount;
  row.wireBytesDown += pattern.wireBytesDown;
  row.wireBytesUp += pattern.wireBytesUp;
}
