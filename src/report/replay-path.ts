/** The accesses of a trace through another access path: merges adjacent stores into blocks and adds up both sides. */
import * as L from '../../assembly/layout.js';
import type { OptionInput } from '../base/options.js';
import { pathOf, pathOptions } from '../path/prepare.js';
import { countAccess } from '../path/split.js';
import type { AccessPath, PathId } from '../path/table.js';
import type { Access } from '../trace/access.js';
import { type Cost, NO_COST, PAGES, type Side, sideOf } from './replay-patterns.js';

/** Sums of one side. */
export interface PathTotals extends Cost {
  /** Accesses of the trace; on the other side blocks and accesses that were not merged. */
  readonly accesses: number;
}

/** Why an access keeps the path it was recorded on. */
export type KeptReason =
  /** Configuration space, I/O ports, registers of the machine: access paths lead to memory BARs. */
  | 'not memory'
  /** The path has no loads. */
  | 'no read'
  /** The path's instruction refuses it, by size or alignment. */
  | 'fault';

/** Both sides of one replay through a path. */
export interface PathSummary {
  readonly path: PathId;
  readonly merge: boolean;
  readonly recorded: PathTotals;
  readonly through: PathTotals;
  /** Accesses that keep their own path; their costs are in `through` too. */
  readonly kept: Readonly<Record<KeptReason, number>>;
  /** Blocks made of two or more stores, the stores in them, and the longest. */
  readonly merged: {
    readonly runs: number;
    readonly stores: number;
    readonly longest: { readonly stores: number; readonly bytes: number };
  };
}

export interface PathReplayOptions {
  /** Merge stores to ascending adjacent addresses. Default true. */
  readonly merge?: boolean;
  /** Named options, over those of the path. */
  readonly options?: OptionInput;
}

/** Longest block: no PCISTB crosses a page of its BAR and no TLP one of the bus, so a block never does either. */
const PAGE = L.PAGE_BYTES;
/** Different accesses that are remembered at once. */
const MAX_KNOWN = 1 << 16;

/** Stores that become one block. */
interface Run {
  readonly place: object;
  readonly lo: number;
  readonly hi: number;
  bytes: number;
  readonly stores: { readonly access: Access; readonly own: Cost }[];
}

type Totals = { -readonly [M in keyof PathTotals]: PathTotals[M] };

const MEASURES = [
  'guestInstructions',
  'exits',
  'systemCalls',
  'hostOperations',
  'deviceCalls',
  'tlpCount',
  'wireBytesDown',
  'wireBytesUp',
] as const satisfies readonly (keyof Cost)[];

/** Takes the accesses of a trace in order. Its size does not depend on their number. */
export class PathReplay {
  private readonly path: AccessPath;
  private readonly merge: boolean;
  private readonly options: OptionInput;
  private readonly recorded = zero();
  private readonly through = zero();
  private readonly kept: Record<KeptReason, number> = { 'not memory': 0, 'no read': 0, fault: 0 };
  private runs = 0;
  private stores = 0;
  private longest = { stores: 0, bytes: 0 };
  private run: Run | undefined;
  /** What a block or access costs along the path, or undefined when the path refuses it. */
  private readonly known = new Map<number, Cost | undefined>();

  /** Throws ZtlpError for an unknown path or option. */
  constructor(path: string, { merge = true, options = {} }: PathReplayOptions = {}) {
    this.path = pathOf(path);
    this.merge = merge;
    this.options = options;
    pathOptions(this.path, options);
  }

  /**
   * Takes the next access: `own` is what it costs on the path it was recorded on, `place` the BAR it reaches, the same
   * object each time; undefined when the BAR is not known, and then nothing merges with it.
   */
  add(access: Access, own: Cost, place: object | undefined): void {
    add(this.recorded, own);
    if (access.space !== 'memory' || access.op === 'read') {
      this.gap();
      this.single(access, own);
      return;
    }
    if (this.extend(access, own, place)) return;
    this.gap();
    if (!this.merge || place === undefined) {
      this.single(access, own);
      return;
    }
    const { addressLo: lo, addressHi: hi, width: bytes } = access;
    this.run = { place, lo, hi, bytes, stores: [{ access, own }] };
  }

  /** Something else happened: what comes next does not merge with what was before. */
  gap(): void {
    const { run } = this;
    this.run = undefined;
    if (run === undefined) return;
    const { stores, bytes } = run;
    const whole = stores.length > 1 ? this.cost('write', run.lo, run.hi, bytes, true) : undefined;
    if (whole === undefined) {
      for (const { access, own } of stores) this.single(access, own);
      return;
    }
    add(this.through, whole);
    this.runs++;
    this.stores += stores.length;
    if (bytes > this.longest.bytes) this.longest = { stores: stores.length, bytes };
  }

  /** Both sides; to be asked behind the last access. */
  result(): PathSummary {
    this.gap();
    const { merge, recorded, through, kept, runs, stores, longest } = this;
    const path = this.path.id as PathId;
    return { path, merge, recorded, through, kept, merged: { runs, stores, longest } };
  }

  /** Adds a store to the open run if it continues it. */
  private extend(access: Access, own: Cost, place: object | undefined): boolean {
    const { run } = this;
    if (run === undefined || run.place !== place || run.hi !== access.addressHi) return false;
    if (run.lo + run.bytes !== access.addressLo) return false;
    if ((run.lo % PAGE) + run.bytes + access.width > PAGE) return false;
    run.stores.push({ access, own });
    run.bytes += access.width;
    return true;
  }

  private single(access: Access, own: Cost): void {
    const reason = this.refusal(access);
    if (reason !== undefined) {
      this.kept[reason]++;
      add(this.through, own);
      return;
    }
    const { op, addressLo, addressHi, width } = access;
    add(this.through, this.cost(op, addressLo, addressHi, width, false) as Cost);
  }

  private refusal({ op, space, addressLo, addressHi, width }: Access): KeptReason | undefined {
    if (space !== 'memory') return 'not memory';
    if (op === 'read' && this.path.read === null) return 'no read';
    return this.cost(op, addressLo, addressHi, width, false) === undefined ? 'fault' : undefined;
  }

  /**
   * The cost of one access, or of a block that the path's instruction is repeated over; undefined for a fault. It
   * depends on the place in the page and the side of 4 GiB. The memory side of a copy is taken as page-aligned.
   */
  private cost(
    op: 'read' | 'write',
    lo: number,
    hi: number,
    bytes: number,
    block: boolean,
  ): Cost | undefined {
    const offset = lo % PAGE;
    const side: Side = sideOf(lo, hi, bytes);
    const key = offset + PAGE * (bytes + 8192 * (side + 4 * ((op === 'read' ? 0 : 1) + (block ? 2 : 0))));
    if (this.known.has(key)) return this.known.get(key);
    const { options } = this;
    const input = { op, bytes, offset, block, base: PAGES[side], options };
    const { totals, fault } = countAccess(this.path.id, input);
    const cost = fault === undefined ? { ...totals, tlpCount: totals.tlps } : undefined;
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(key, cost);
    return cost;
  }
}

/**
 * Why a replay through a path is not the whole answer, in one line; undefined when it is. Without `strict` that is one
 * in which no access took the path; with it, one in which the path refused an access.
 */
export function replayPathProblem(summary: PathSummary | undefined, strict = false): string | undefined {
  if (summary === undefined) return undefined;
  const { path, kept, recorded } = summary;
  const total = Object.values(kept).reduce((sum, count) => sum + count, 0);
  if (recorded.accesses > 0 && total === recorded.accesses) return `no access could take path ${path}`;
  if (strict && kept.fault > 0) return `${kept.fault} of ${recorded.accesses} accesses fault on path ${path}`;
  return undefined;
}

function zero(): Totals {
  return { accesses: 0, ...NO_COST };
}

function add(totals: Totals, cost: Cost): void {
  totals.accesses++;
  for (const measure of MEASURES) totals[measure] += cost[measure];
}
