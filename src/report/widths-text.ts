/** The access-width comparison as a table for a terminal. */
import { PATHS } from '../path/table.js';
import type { Style } from './style.js';
import { group, table } from './table.js';
import type { WidthsReport, WidthsRow } from './widths.js';

const HEAD = [
  'path',
  'guest\ninstr',
  'exits',
  'sys\ncalls',
  'host\nops',
  'TLPs',
  'data\nbytes',
  'wire\nbytes',
  'wire\nns',
  'eff\n%',
  'total\nns',
  'ratio',
];

/** Columns behind the path: numbers. */
const ALIGN = HEAD.map((_, column) => (column === 0 ? 'left' : 'right') as 'left' | 'right');

function fixed(value: number | undefined, digits: number): string {
  return value === undefined
    ? '-'
    : group(Number(value.toFixed(digits))).replace(/^-?[\d,]+$/, (text) => pad(text, digits));
}

/** Keeps the decimal places of whole numbers, so that columns line up. */
function pad(text: string, digits: number): string {
  return digits === 0 ? text : `${text}.${'0'.repeat(digits)}`;
}

function count(value: number | undefined): string {
  return value === undefined ? '-' : group(value);
}

/**
 * Decimal places of the times: from 0.1 ms on, tenths of a nanosecond say nothing and only take room. The same for both
 * columns, which then leave room for ratios of three digits.
 */
function places(times: readonly (number | undefined)[]): 0 | 1 {
  return times.some((time) => time !== undefined && time >= 1e5) ? 0 : 1;
}

function cells(row: WidthsRow, style: Style, digits: 0 | 1): string[] {
  if (row.notApplicable !== undefined) return [row.path, ...HEAD.slice(1).map(() => 'n/a')];
  const { guestInstructions, exits, systemCalls, hostOperations } = row;
  const counts = [guestInstructions, exits, systemCalls, hostOperations].map(count);
  if (row.fault !== undefined) {
    return [row.path, ...counts, style.warn('fault'), ...HEAD.slice(6).map(() => '-')];
  }
  const efficiency = row.efficiency === undefined ? undefined : row.efficiency * 100;
  return [
    row.path,
    ...counts,
    count(row.tlps),
    count(row.payloadBytes),
    count(row.wireBytes),
    fixed(row.wireNs, digits),
    fixed(efficiency, 1),
    fixed(row.totalNs, digits),
    row.ratio === undefined ? '-' : `${ratioText(row.ratio)}x`,
  ];
}

/** Two decimal places, or as many as it takes for three digits. */
function ratioText(ratio: number): string {
  const zeros = ratio > 0 ? Math.ceil(-Math.log10(ratio)) : 0;
  return ratio.toFixed(Math.min(100, ratio < 0.1 ? 2 + zeros : 2));
}

function headline(report: WidthsReport): string {
  const { size, op, offset, link, sourceAddress } = report;
  const at = offset === 0 ? 'offset 0' : `offset 0x${offset.toString(16)}`;
  const memory = sourceAddress === undefined ? '' : `, memory at 0x${sourceAddress.toString(16)}`;
  return `${op === 'write' ? 'Writing' : 'Reading'} ${group(size)} bytes at BAR ${at}, ${link}, BAR above 4 GiB${memory}`;
}

function notes(report: WidthsReport): string[] {
  const { costs } = report;
  const { instructionNs, exitNs, syscallNs, hostOpNs } = costs;
  const values = `instructionNs ${instructionNs}, exitNs ${exitNs}, syscallNs ${syscallNs}, hostOpNs ${hostOpNs}`;
  const isFree = instructionNs + exitNs + syscallNs + hostOpNs === 0;
  const lines = [
    `costs: ${values}${isFree ? ' (all free: try --costs example)' : ''}`,
    ...(costs.preset === 'example'
      ? ['these costs are an assumption for illustration: no source gives values']
      : []),
    'TLPs and bytes: requests and completions; data: whole DWs; wire ns: both directions added',
    'eff: bytes asked for / wire bytes; total: the larger of the wire time of all TLPs and of',
    `operations x cost + wire time of the last operation; ratio: total / total of ${report.baseline}`,
  ];
  lines.push(...waits(report));
  if (report.rows.some((row) => row.tlps === undefined && row.deviceCalls > 0)) {
    const calls = report.rows
      .filter((row) => row.deviceCalls > 0)
      .map((row) => `${row.path} ${group(row.deviceCalls)}`);
    lines.push(`device calls of the emulator instead of TLPs: ${calls.join(', ')}`);
  }
  const options = Object.entries(report.options);
  if (options.length > 0) {
    lines.push(`options given: ${options.map(([name, value]) => `${name}=${value}`).join(', ')}`);
  }
  return lines;
}

/** What the totals say about waiting: loads are charged for it, stores are not. */
function waits({ op, costs, rows }: WidthsReport): string[] {
  const done = rows.filter((row) => row.tlps !== undefined).map((row) => PATHS[row.path]);
  if (op === 'write') {
    return done.some(({ stores }) => stores === 'synchronous')
      ? ['synchronous stores (PCISTG, PCISTB, ENQCMD) are not charged their wait in the total']
      : [];
  }
  const { linkLatencyNs = 0, mmioServiceNs = 0 } = costs;
  const roundTrip = `2 x linkLatencyNs + mmioServiceNs, ${group(2 * linkLatencyNs + mmioServiceNs)} ns`;
  const wait = done.some(({ loads }) => loads === 'wait');
  const pipelined = done.some(({ loads }) => loads === 'pipelined');
  return [
    ...(done.length > 0 ? [`linkLatencyNs ${linkLatencyNs}, mmioServiceNs ${mmioServiceNs}`] : []),
    ...(wait ? [`each load that waits adds ${roundTrip}, to the total`] : []),
    ...(pipelined ? [`pipelined loads add ${wait ? 'that' : roundTrip} once`] : []),
  ];
}

const TIMED_HEAD = [
  'path',
  'simulated\nns',
  'CPU\nns',
  'Gb/s',
  'down\n%',
  'up\n%',
  'stalls',
  'Acks',
  'Update\nFCs',
];

/** What a machine whose link takes time says, where it was asked. */
function timedTable(report: WidthsReport, style: Style, width: number): string | undefined {
  const rows = report.rows.flatMap(({ path, timed }) => (timed === undefined ? [] : [{ path, timed }]));
  if (rows.length === 0) return undefined;
  const digits = places(rows.map(({ timed }) => timed.ns));
  const text = rows.map(({ path, timed }) => [
    path,
    fixed(timed.ns, digits),
    fixed(timed.cpuNs, digits),
    timed.gbps.toFixed(2),
    fixed(timed.utilisationDown * 100, 1),
    fixed(timed.utilisationUp * 100, 1),
    count(timed.stalls),
    count(timed.acks),
    count(timed.updateFcs),
  ]);
  const title = 'In simulated time: to the last byte at its destination, with latency, credits and Acks';
  return `${style.bold(title)}\n${table(TIMED_HEAD, text, { align: ALIGN.slice(0, TIMED_HEAD.length), style, width })}`;
}

/** What stands below the table of simulated times. */
const TIMED_NOTES = [
  'simulated: alone on an idle link; CPU: its costs, and what it waits for answers and room in the store buffer',
  'down, up: part of the time that the direction is busy; stalls: looks at a TLP that had no credits',
  'credits come back at the UpdateFC limit, so that many small stores wait for them (option credits)',
];

/** The whole report as text; a table wider than `width` columns is folded. */
export function formatWidths(report: WidthsReport, style: Style, width = Number.POSITIVE_INFINITY): string {
  const digits = places(report.rows.flatMap((row) => [row.wireNs, row.totalNs]));
  const rows = report.rows.map((row) => cells(row, style, digits));
  const parts = [table(HEAD, rows, { align: ALIGN, style, width })];
  const timed = timedTable(report, style, width);
  if (timed !== undefined) parts.push(timed);
  const faults = report.rows.filter((row) => row.fault !== undefined);
  if (faults.length > 0) parts.push(faults.map((row) => `${row.path}: ${row.fault}`).join('\n'));
  const legend = timed === undefined ? [] : TIMED_NOTES;
  return [style.bold(headline(report)), ...parts, style.dim([...notes(report), ...legend].join('\n'))].join(
    '\n\n',
  );
}
