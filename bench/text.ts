/** Results as people read them: tables for a terminal, a table of ratios for the documentation. */
import { clip, PLAIN, printable, type Style } from '../src/report/style.js';
import { group as grouped, table } from '../src/report/table.js';
import { type Comparison, LEAST_SPREAD } from './compare.js';
import type { GroupRows, Row } from './rows.js';
import type { Estimate } from './statistics.js';

/** Three digits that count, never an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 99.95) return grouped(Math.round(value));
  return value.toFixed(size < 0.0995 ? 3 : size < 9.995 ? 2 : 1);
}

/** Units per second: `12.3 M/s`. */
export function rate(hz: number): string {
  const steps: readonly (readonly [number, string])[] = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ];
  const [size, letter] = steps.find(([least]) => hz >= least) ?? [1, ''];
  return `${digits(hz / size)} ${letter}/s`;
}

function times(estimate: Estimate | undefined): string {
  return estimate === undefined ? '' : `${digits(estimate.value)} x`;
}

function withSpread(estimate: Estimate | undefined): string {
  return estimate === undefined ? '' : `${times(estimate)} ±${digits(estimate.spread)} %`;
}

function goalText({ goal }: Row): string {
  if (goal === undefined) return '';
  const limit = goal.of === 'C' ? `>= ${goal.limit} of C` : `<= ${goal.limit} x`;
  return `${limit}: ${goal.met ? 'met' : 'missed'}`;
}

/** Names of a list that are shown, and how much of a name. */
const SHOWN = 4;
const NAME_WIDTH = 80;

const HEAD = ['', 'rate', 'ns', 'GB/s', 'spread', 'ratio', 'speed of C', 'goal'];
const ALIGN = ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'left'] as const;

function cells(row: Row, style: Style): string[] {
  const missed = row.goal?.met === false;
  return [
    row.label,
    rate(row.hz),
    digits(row.ns),
    row.bytes === 0 ? '' : digits(row.bytes / row.ns),
    `±${digits(row.rme)} %`,
    times(row.ratio),
    times(row.speedOfC),
    missed ? style.warn(goalText(row)) : goalText(row),
  ];
}

function formatGroup({ group, rows }: GroupRows, style: Style): string {
  const baselines = new Set(rows.map((row) => row.baseline));
  const baseline = baselines.size > 1 ? 'the row of the same length' : group.baseline;
  return [
    style.bold(group.title),
    style.dim(`one unit: ${group.unit}; ratio: time, ${baseline} = 1`),
    table(
      HEAD,
      rows.map((row) => cells(row, style)),
      { align: ALIGN, style },
    ),
  ].join('\n');
}

/** One table per group. */
export function formatGroups(groups: readonly GroupRows[], style: Style = PLAIN): string {
  return groups.map((rows) => formatGroup(rows, style)).join('\n\n');
}

/** The first few names of a list that may be long. Names come from a file. */
function listed(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const shown = names.slice(0, SHOWN).map((name) => clip(printable(name), NAME_WIDTH));
  const rest = names.length - shown.length;
  return [`${what}: ${shown.join('; ')}${rest === 0 ? '' : `; and ${rest} more`}`];
}

/** Ratios old / new, then what only one of the runs has. */
export function formatComparison({ changes, added, missing }: Comparison, style: Style = PLAIN): string {
  const mark = (text: string): string => (text === 'slower' ? style.warn(text) : text);
  const rows = changes.map((change) => [
    clip(printable(change.name), NAME_WIDTH),
    `${digits(change.ratio)} x`,
    mark(change.mark),
  ]);
  return [
    style.bold('against the earlier run'),
    style.dim(
      `ratio: time before / time now, above 1 is faster now; marked where the spreads, at least ${LEAST_SPREAD} %, do not meet`,
    ),
    rows.length === 0
      ? 'the two runs have no row in common'
      : table(['', 'ratio', ''], rows, { align: ['left', 'right', 'left'], style }),
    ...listed('only in this run', added),
    ...listed('only in the earlier run', missing),
  ].join('\n');
}

/** The table of the README: ratios with their spread, and no time that would be true of one machine only. */
export function formatMarkdown(groups: readonly GroupRows[], machine: readonly string[]): string {
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  const head = ['group', 'row', 'ratio', 'speed of C', 'goal'];
  const body = groups.flatMap(({ group, rows }) =>
    rows
      .filter((row) => !row.isNative)
      .map((row) => [
        group.title,
        row.label,
        row.name === row.baseline ? '1 (baseline)' : withSpread(row.ratio),
        withSpread(row.speedOfC),
        goalText(row).replaceAll('<', '&lt;'),
      ]),
  );
  return [`Measured on ${machine.join(', ')}.`, '', ...[head, head.map(() => '---'), ...body].map(line)].join(
    '\n',
  );
}
