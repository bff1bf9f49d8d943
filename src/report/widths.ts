/** The access-width comparison: what one block costs along every path, as counts, wire bytes and time. */
import { invalid, needObject, ZtlpError } from '../base/errors.js';
import { type Link, parseLink, wireNs } from '../base/link.js';
import { checkKeys, keysOf } from '../base/names.js';
import { COST_PRESETS, OPTIONS, type OptionInput, withoutTimed } from '../base/options.js';
import type { AccessTotals } from '../core/core.js';
import { ready } from '../core/shared.js';
import type { U64 } from '../core/u64.js';
import { pathOf, pathOptions, planOf } from '../path/prepare.js';
import { COUNT_LIMIT, countAccess } from '../path/split.js';
import {
  type AccessPath,
  BASELINE,
  isDirect,
  PATH_IDS,
  PATHS,
  type PathId,
  type Plan,
} from '../path/table.js';
import { brokenRule } from './broken-rule.js';
import { TIME_USES, type TimedAccess, timeAccess } from './timed-access.js';
import { pathUses, refuseUnused, usesSource } from './used-options.js';

export interface WidthsInput {
  readonly op?: 'read' | 'write';
  /** Block length in bytes, 1 to 1 GiB. Default 4096. */
  readonly size?: number;
  /** Offset in the BAR. Default 0. */
  readonly offset?: number;
  /** `gen1x1` to `gen5x16`. Default `gen3x8`. */
  readonly link?: string;
  /** Paths to compare. Default: all. */
  readonly paths?: readonly PathId[];
  /** Memory address of the first byte. Default 0: page-aligned. */
  readonly sourceAddress?: U64;
  readonly costs?: keyof typeof COST_PRESETS;
  /** Also does the access in a machine whose link takes time. Blocks of up to 1 MiB. */
  readonly timed?: boolean;
  /**
   * Options of the table, over what a path's name implies; single costs go over `costs`. One that none of the compared
   * paths acts on is refused.
   */
  readonly options?: OptionInput;
}

/** One path. Bytes and times are undefined where the path makes no TLPs. */
export interface WidthsRow {
  readonly path: PathId;
  readonly title: string;
  readonly sheet: string;
  readonly guestInstructions: number;
  readonly exits: number;
  readonly systemCalls: number;
  readonly hostOperations: number;
  readonly deviceCalls: number;
  /** Requests and completions. */
  readonly tlps: number | undefined;
  /** Data DWs in TLPs, in bytes. */
  readonly payloadBytes: number | undefined;
  readonly wireBytes: number | undefined;
  readonly wireNs: number | undefined;
  /** Bytes asked for / wire bytes. */
  readonly efficiency: number | undefined;
  readonly totalNs: number | undefined;
  /** Total time / total time of the baseline path. */
  readonly ratio: number | undefined;
  /** What stopped the path. */
  readonly fault: string | undefined;
  /** Why the path cannot do this at all. */
  readonly notApplicable: string | undefined;
  /** The same in simulated time, when that was asked for. */
  readonly timed?: TimedAccess;
}

export interface WidthsReport {
  readonly op: 'read' | 'write';
  readonly size: number;
  readonly offset: number;
  readonly link: string;
  readonly costs: {
    readonly preset: string;
    readonly instructionNs: number;
    readonly exitNs: number;
    readonly syscallNs: number;
    readonly hostOpNs: number;
    /** What a load that waits is charged beside: undefined when no path was. */
    readonly linkLatencyNs: number | undefined;
    readonly mmioServiceNs: number | undefined;
  };
  /** Memory address of the first byte, where one was given. */
  readonly sourceAddress: U64 | undefined;
  /** Options given, apart from the costs; they go over what a path's name implies. */
  readonly options: OptionInput;
  readonly baseline: PathId;
  readonly rows: readonly WidthsRow[];
}

/** A BAR here makes every header 4 DW, as for a 64-bit BAR of a real machine. */
const BAR_BASE = 2 ** 40;

type Costs = { readonly [N in (typeof TIMES)[number]]: number };

/** Time of everything that is not the wire, in ns (sheet README 2.2). */
function operationNs(direct: boolean, totals: AccessTotals, costs: Costs): number {
  const instructions = totals.guestInstructions * costs.instructionNs;
  // A guest instruction that itself reaches the device is charged once.
  if (direct) return instructions;
  const { exits, systemCalls, hostOperations } = totals;
  return (
    instructions + exits * costs.exitNs + systemCalls * costs.syscallNs + hostOperations * costs.hostOpNs
  );
}

/** Total time of one block in ns. */
function totalNs(
  path: AccessPath,
  plan: Plan,
  op: 'read' | 'write',
  totals: AccessTotals,
  costs: Costs,
  link: Link,
  roundTripNs: number,
): number {
  const software = operationNs(isDirect(plan), totals, costs);
  const all = wireNs(link, totals.wireBytesDown + totals.wireBytesUp);
  const last = wireNs(link, totals.lastWireBytesDown + totals.lastWireBytesUp);
  if (op === 'write' || totals.tlps === 0) return Math.max(all, software + last);
  // A load that waits pays request, completion and latency each time; pipelined loads pay the latency once.
  if (path.loads === 'wait') return software + all + totals.hostOperations * roundTripNs;
  return Math.max(all, software + last) + roundTripNs;
}

interface Setting {
  readonly op: 'read' | 'write';
  readonly size: number;
  readonly offset: number;
  readonly sourceAddress: U64;
  readonly link: Link;
  readonly costs: Costs;
  readonly options: OptionInput;
}

type Row = Omit<WidthsRow, 'ratio'>;

function emptyRow(path: AccessPath): Row {
  return {
    path: path.id as PathId,
    title: path.title,
    sheet: path.sheet,
    guestInstructions: 0,
    exits: 0,
    systemCalls: 0,
    hostOperations: 0,
    deviceCalls: 0,
    tlps: undefined,
    payloadBytes: undefined,
    wireBytes: undefined,
    wireNs: undefined,
    efficiency: undefined,
    totalNs: undefined,
    fault: undefined,
    notApplicable: undefined,
  };
}

function measure(path: AccessPath, setting: Setting): Row {
  const { op, size, offset, sourceAddress, link, costs } = setting;
  const options = withoutTimed(setting.options);
  const row = emptyRow(path);
  if ((op === 'read' ? path.read : path.write) === null) return { ...row, notApplicable: `no ${op}` };
  const { totals, fault } = countAccess(path.id, {
    op,
    offset,
    bytes: size,
    block: true,
    base: BAR_BASE,
    sourceAddress,
    options,
  });
  const { guestInstructions, exits, systemCalls, hostOperations, deviceCalls } = totals;
  const counts = { ...row, guestInstructions, exits, systemCalls, hostOperations, deviceCalls };
  if (fault !== undefined) {
    const where = fault.offset === offset ? '' : ` at offset 0x${fault.offset.toString(16)}`;
    const rule = brokenRule({ path, fault, bytes: totals.faultBytes, options, start: offset, sourceAddress });
    return { ...counts, fault: `${fault.text}${where}${rule === undefined ? '' : `: ${rule}`}` };
  }
  const roundTripNs = 2 * costs.linkLatencyNs + costs.mmioServiceNs;
  const plan = planOf(path, { op, bytes: size, block: true }, pathOptions(path, options));
  const time = totalNs(path, plan, op, totals, costs, link, roundTripNs);
  // An emulator's device calls cross no link; without costs there is no time at all.
  if (totals.tlps === 0) return { ...counts, totalNs: time === 0 ? undefined : time };
  const wireBytes = totals.wireBytesDown + totals.wireBytesUp;
  return {
    ...counts,
    tlps: totals.tlps,
    payloadBytes: totals.payloadBytesDown + totals.payloadBytesUp,
    wireBytes,
    wireNs: wireNs(link, wireBytes),
    efficiency: size / wireBytes,
    totalNs: time,
  };
}

const KEYS = keysOf<WidthsInput>({
  op: true,
  size: true,
  offset: true,
  link: true,
  paths: true,
  sourceAddress: true,
  costs: true,
  timed: true,
  options: true,
});

function checkInput(input: WidthsInput): Omit<Setting, 'costs' | 'options' | 'link'> {
  needObject('input', input);
  checkKeys('input', input, KEYS);
  const { op = 'write', size = 4096, offset = 0, sourceAddress = 0 } = input;
  if (op !== 'write' && op !== 'read') throw invalid('op', op, 'read, write');
  if (!Number.isInteger(size) || size < 1 || size > COUNT_LIMIT) {
    throw invalid('size', size, `1 to ${COUNT_LIMIT} bytes`, 'out-of-range');
  }
  if (!Number.isInteger(offset) || offset < 0 || offset > COUNT_LIMIT) {
    throw invalid('offset', offset, `0 to ${COUNT_LIMIT}`, 'out-of-range');
  }
  return { op, size, offset, sourceAddress };
}

/** Options that belong to the comparison itself, whatever the paths: costs of software, and of loads that wait. */
const SOFTWARE = ['instructionNs', 'exitNs', 'syscallNs', 'hostOpNs'] as const;
const LOADS = ['linkLatencyNs', 'mmioServiceNs'] as const;
const TIMES = [...SOFTWARE, ...LOADS] as const;

/** Throws for what is given and used by none of the paths. */
function checkUses({
  op,
  paths,
  input,
}: {
  op: 'read' | 'write';
  paths: readonly AccessPath[];
  input: WidthsInput;
}): void {
  const times = [...(op === 'read' ? TIMES : SOFTWARE), ...(input.timed === true ? TIME_USES[op] : [])];
  const used = [...times, ...paths.flatMap((path) => pathUses(path, op))];
  refuseUnused(input.options ?? {}, used, `this comparison of ${op}s`);
  const { sourceAddress, options = {} } = input;
  if (sourceAddress === undefined || paths.some((path) => usesSource(path, op, options))) return;
  const able = PATH_IDS.filter((id) => PATHS[id][op] !== null && usesSource(PATHS[id], op, options));
  throw new ZtlpError('invalid-value', `source address: no path of this comparison of ${op}s looks at it`, {
    field: 'sourceAddress',
    value: sourceAddress,
    allowed: `with these options ${able.join(', ') || 'nowhere'}`,
  });
}

/**
 * Runs one block along every path and compares. Throws ZtlpError for input outside its values, and for an option that
 * nothing in the comparison uses.
 */
export async function compareWidths(input: WidthsInput = {}): Promise<WidthsReport> {
  const checked = checkInput(input);
  const link = parseLink(input.link ?? 'gen3x8');
  const preset = input.costs ?? 'zero';
  if (!Object.hasOwn(COST_PRESETS, preset))
    throw invalid('costs', preset, Object.keys(COST_PRESETS).join(', '));
  const base = COST_PRESETS[preset];
  const ids = input.paths ?? PATH_IDS;
  if (!Array.isArray(ids)) throw invalid('paths', ids, 'a list of access paths');
  if (ids.length === 0)
    throw new ZtlpError('invalid-value', 'no path to compare', { field: 'paths', value: ids });
  const { options: given = {} } = input;
  needObject('options', given);
  checkUses({ op: checked.op, paths: ids.map(pathOf), input });
  const { instructionNs, exitNs, syscallNs, hostOpNs, linkLatencyNs, mmioServiceNs, ...options } = given;
  const costs: Costs = {
    instructionNs: instructionNs ?? base.instructionNs,
    exitNs: exitNs ?? base.exitNs,
    syscallNs: syscallNs ?? base.syscallNs,
    hostOpNs: hostOpNs ?? base.hostOpNs,
    linkLatencyNs: linkLatencyNs ?? OPTIONS.linkLatencyNs.default,
    mmioServiceNs: mmioServiceNs ?? OPTIONS.mmioServiceNs.default,
  };
  await ready();
  const setting: Setting = { ...checked, link, costs, options };
  if (input.timed !== undefined && typeof input.timed !== 'boolean')
    throw invalid('timed', input.timed, 'true, false');
  const measured = ids.map((id) => measure(pathOf(id), setting));
  const rows =
    input.timed === true
      ? await Promise.all(measured.map((row) => withTime(row, { ...setting, link: link.name })))
      : measured;
  const baseline = rows.find((row) => row.path === BASELINE) ?? measure(pathOf(BASELINE), setting);
  const per = baseline.totalNs;
  return {
    op: checked.op,
    size: checked.size,
    offset: checked.offset,
    link: link.name,
    costs: {
      preset,
      ...costs,
      ...(isCharged(checked.op, rows) ? {} : { linkLatencyNs: undefined, mmioServiceNs: undefined }),
    },
    sourceAddress: input.sourceAddress,
    options,
    baseline: BASELINE,
    rows: rows.map((row) => ({
      ...row,
      // Without wire and without costs there is no time to compare.
      ratio: row.totalNs === undefined || row.totalNs === 0 || !per ? undefined : row.totalNs / per,
    })),
  };
}

/** The row with its time in a machine, where the path does the access. */
async function withTime(row: Row, setting: Omit<Setting, 'link'> & { readonly link: string }): Promise<Row> {
  if (row.fault !== undefined || row.notApplicable !== undefined) return row;
  const { costs, options } = setting;
  const timed = await timeAccess(pathOf(row.path), { ...setting, options: { ...options, ...costs } });
  return timed === undefined ? row : { ...row, timed };
}

/** A load of `rows` crossed the link, so its round trip is in the totals. */
function isCharged(op: 'read' | 'write', rows: readonly Row[]): boolean {
  return op === 'read' && rows.some((row) => row.tlps !== undefined);
}

/**
 * Why the answer is not the whole answer, in one line; undefined when it is. Without `strict` that is a comparison in
 * which no path did the access; with it, one in which a path faulted.
 */
export function widthsProblem({ op, rows }: WidthsReport, strict = false): string | undefined {
  const faults = rows.filter((row) => row.fault !== undefined);
  const failed = rows.filter((row) => row.fault !== undefined || row.notApplicable !== undefined);
  if (failed.length === rows.length) {
    return `no path did this ${op}: ${failed.map((row) => `${row.path}: ${row.fault ?? row.notApplicable}`).join(', ')}`;
  }
  if (!strict || faults.length === 0) return undefined;
  return `${faults.length} of ${rows.length} paths fault: ${faults.map((row) => row.path).join(', ')}`;
}
