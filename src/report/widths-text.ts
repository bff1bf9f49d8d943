/** The access-width comparison as a table for a terminal. */
import type { Style } from './style.js';
import { group, table } from './table.js';
import type { WidthsReport, WidthsRow } from './widths.js';

const HEAD = [
  'path',
  'guest instr',
  'exits',
  'sys calls',
  'host ops',
  'TLPs',
  'payload B',
  'wire B',
  'wire ns',
  'eff %',
  'total ns',
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

function cells(row: WidthsRow, style: Style): string[] {
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
    fixed(row.wireNs, 1),
    fixed(efficiency, 1),
    fixed(row.totalNs, 1),
    row.ratio === undefined ? '-' : `${row.ratio.toFixed(2)}x`,
  ];
}

function headline(report: WidthsReport): string {
  const { size, op, offset, link } = report;
  const at = offset === 0 ? 'offset 0' : `offset 0x${offset.toString(16)}`;
  return `${op === 'write' ? 'Writing' : 'Reading'} ${group(size)} bytes at BAR ${at}, ${link}, BAR above 4 GiB`;
}

function notes(report: WidthsReport): string[] {
  const { costs } = report;
  const { instructionNs, exitNs, syscallNs, hostOpNs } = costs;
  const values = `instructionNs ${instructionNs}, exitNs ${exitNs}, syscallNs ${syscallNs}, hostOpNs ${hostOpNs}`;
  const lines = [
    costs.preset === 'example'
      ? `costs: ${values} (an assumption for illustration; no source gives these values)`
      : `costs: ${values}${instructionNs + exitNs + syscallNs + hostOpNs === 0 ? ' (software is free: try --costs example)' : ''}`,
    'TLPs and bytes of requests and completions; payload: whole DWs; wire ns: both directions added; eff: bytes asked for / wire',
    `total = larger of wire time and operations x cost + wire time of the last operation; ratio to ${report.baseline}`,
  ];
  if (report.op === 'read')
    lines.push('a load that waits adds its round trip; wire bytes are requests and completions');
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

/** The whole report as text. `quiet` leaves headline and notes out; faults are always told. */
export function formatWidths(report: WidthsReport, style: Style, quiet = false): string {
  const rows = report.rows.map((row) => cells(row, style));
  const parts = [table(HEAD, rows, { align: ALIGN, style })];
  const faults = report.rows.filter((row) => row.fault !== undefined);
  if (faults.length > 0) parts.push(faults.map((row) => `${row.path}: ${row.fault}`).join('\n'));
  if (quiet) return parts.join('\n\n');
  return [style.bold(headline(report)), ...parts, style.dim(notes(report).join('\n'))].join('\n\n');
}
