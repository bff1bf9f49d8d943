/** Prints what a replay found as plain tables for a terminal. */
import { show } from '../base/errors.js';
import { FORMAT_NAMES } from '../trace/recognise.js';
import type { ReplaySummary } from './replay.js';
import type { PathSummary, PathTotals } from './replay-path.js';
import { isCompletion } from './replay-patterns.js';
import { clip, printable, type Style } from './style.js';
import { group, type TableOptions, table } from './table.js';
import type { TimedReplaySummary } from './timed-replay.js';

/** Rows of one table that are printed: a longer list is for programs, which have the summary itself. */
const MAX_ROWS = 200;
/** Characters of a mark or a device in a table. */
const MAX_CELL = 48;

/** The summary as text of several lines, without a last line end; tables wider than `width` columns are folded. */
export function formatReplay(summary: ReplaySummary, style: Style, width = Number.POSITIVE_INFINITY): string {
  const section = (
    title: string,
    head: string[],
    rows: (string | number)[][],
    { align = [], keys = 1 }: Pick<TableOptions, 'align' | 'keys'> = {},
  ): string => {
    if (rows.length === 0) return '';
    const left = rows.length - MAX_ROWS;
    const more = left > 0 ? `\n${style.dim(`and ${group(left)} more`)}` : '';
    return `${style.bold(title)}\n${table(head, rows.slice(0, MAX_ROWS), { style, align, width, keys })}${more}`;
  };
  const { reads, writes } = summary;
  const answers = summary.tlps
    .filter(({ type }) => isCompletion(type))
    .reduce((sum, { count }) => sum + count, 0);
  return [
    headline(summary, style),
    section(
      'Accesses by width',
      ['bytes', 'reads', 'writes'],
      summary.byWidth.map((row) => [row.width, row.reads, row.writes]),
    ),
    section(
      'Accesses by BAR',
      ['device', 'BAR', 'reads', 'writes', 'bytes read', 'bytes written'],
      summary.byBar.map((row) => [
        cell(row.device),
        row.bar,
        row.reads,
        row.writes,
        row.bytesRead,
        row.bytesWritten,
      ]),
      { keys: 2 },
    ),
    section(
      'Accesses by kind',
      ['kind', 'reads', 'writes', 'TLPs', 'wire bytes down', 'wire bytes up'],
      (summary.byKind ?? []).map((row) => [
        KIND_NAMES[row.kind],
        row.reads,
        row.writes,
        row.tlps,
        row.wireBytesDown,
        row.wireBytesUp,
      ]),
    ),
    section(
      'Accesses by region',
      ['region', 'reads', 'writes', 'bytes read', 'bytes written'],
      (summary.byRegion ?? []).map((row) => [
        cell(row.region),
        row.reads,
        row.writes,
        row.bytesRead,
        row.bytesWritten,
      ]),
    ),
    section(
      'Instructions',
      ['instruction', 'count', 'refused'],
      (summary.instructions ?? []).map((row) => [row.instruction, row.count, row.refused]),
    ),
    section(
      'Accesses by phase (MARK lines)',
      [
        ...['phase', 'line', 'reads', 'writes', 'TLPs', 'wire bytes down', 'wire bytes up'],
        ...(summary.timed === undefined ? [] : ['processor ns']),
      ],
      summary.byPhase.map((row) => [
        cell(row.mark),
        `${row.line}`, // not grouped: people type it into an editor
        row.reads,
        row.writes,
        row.tlps,
        row.wireBytesDown,
        row.wireBytesUp,
        ...(summary.timed === undefined ? [] : [Math.round(row.cpuNs ?? 0)]),
      ]),
      { align: ['left', 'right'], keys: 2 },
    ),
    section(
      'TLPs by type',
      ['type', 'header DWs', 'length in DWs', 'TLPs'],
      summary.tlps.map((row) => [row.type, row.headerDw, row.lengthDw, row.count]),
      { keys: 3 },
    ),
    reads + writes === 0
      ? ''
      : section(
          'Bytes on the wire',
          ['direction', 'TLPs', 'payload bytes', 'wire bytes'],
          [
            ['down: requests', summary.tlpCount - answers, summary.payloadBytesDown, summary.wireBytesDown],
            ['up: completions', answers, summary.payloadBytesUp, summary.wireBytesUp],
          ],
        ),
    summary.path === undefined
      ? ''
      : section(
          `The same accesses through ${summary.path.path}`,
          ['', 'recorded', 'through'],
          pathRows(summary.path),
        ),
    summary.path === undefined ? '' : style.dim(pathRemark(summary.path)),
    summary.timed === undefined
      ? ''
      : section(
          `The recorded accesses in simulated time, all on one ${summary.timed.link} link`,
          ['measure', 'value'],
          timedRows(summary.timed),
        ),
    remarks(summary, style).join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function timedRows(timed: TimedReplaySummary): (string | number)[][] {
  const percent = (part: number): string => `${(part * 100).toFixed(1)} %`;
  return [
    ['accesses timed', timed.timed],
    ['not timed: ports, registers of the machine, refused', timed.untimed],
    ['ns, to the last byte at its destination', Math.round(timed.ns)],
    ['ns of the processor', Math.round(timed.cpuNs)],
    ['of them in loads', Math.round(timed.loadNs)],
    ['Gb/s, read and written', timed.gbps.toFixed(3)],
    ['down busy', percent(timed.utilisationDown)],
    ['up busy', percent(timed.utilisationUp)],
    ['waits for credits', timed.stalls],
    ['Acks', timed.acks],
    ['UpdateFCs', timed.updateFcs],
  ];
}

function headline(
  { file, format, lines, accesses, reads, writes, tlpCount }: ReplaySummary,
  style: Style,
): string {
  const name = style.bold(file === '-' ? 'standard input' : printable(file));
  const what = `${many(reads, 'read')} and ${many(writes, 'write')}`;
  const outcome = accesses === 0 ? 'no accesses' : `${what} become ${many(tlpCount, 'TLP')}`;
  return `${name}: ${FORMAT_NAMES[format]}, ${many(lines, 'line')}: ${outcome}`;
}

const KIND_NAMES = {
  config: 'configuration space',
  io: 'I/O ports',
  memory: 'memory',
  platform: 'registers of the machine',
} as const;

/** What is compared, in the order of an access's way. Rows that are 0 on both sides and marked `rare` are left out. */
const MEASURES: readonly (readonly [measure: keyof PathTotals, title: string, rare?: true])[] = [
  ['accesses', 'accesses'],
  ['exits', 'exits'],
  ['systemCalls', 'system calls'],
  ['hostOperations', 'host operations'],
  ['deviceCalls', 'device calls', true],
  ['tlpCount', 'TLPs'],
  ['wireBytesDown', 'wire bytes down'],
  ['wireBytesUp', 'wire bytes up'],
];

function pathRows({ recorded, through }: PathSummary): (string | number)[][] {
  return MEASURES.filter(([measure, , rare]) => !rare || recorded[measure] + through[measure] > 0).map(
    ([measure, title]) => [title, recorded[measure], through[measure]],
  );
}

/** What became of single accesses on their way through another path. */
function pathRemark({ merge, merged, kept }: PathSummary): string {
  const { runs, stores, longest } = merged;
  const long = `${many(longest.stores, 'store')} of ${many(longest.bytes, 'byte')} together`;
  const blocks = `${many(stores, 'store')} merged into ${many(runs, 'block')}, the longest ${long}`;
  const reasons = Object.entries(kept).filter(([, count]) => count > 0);
  const total = reasons.reduce((sum, [, count]) => sum + count, 0);
  const why = reasons.map(([reason, count]) => `${reason} ${group(count)}`).join(', ');
  const own =
    total === 1 ? '1 access keeps its own path' : `${many(total, '', 'accesses')} keep their own path`;
  return [
    runs > 0 ? blocks : merge ? 'no stores merged' : 'stores are not merged',
    total === 0 ? 'no access keeps its own path' : `${own} (${why})`,
  ].join('; ');
}

/** What the numbers above leave out. */
function remarks(summary: ReplaySummary, style: Style): string[] {
  const { badLines, firstBad, format, guessedWidths = 0, lostEvents, otherLines, records } = summary;
  const list: string[] = [];
  if (firstBad !== undefined) {
    const which = badLines === 1 ? 'in line' : 'the first in line';
    const where = `${which} ${firstBad.line}: ${firstBad.reason}, in ${show(firstBad.text)}`;
    list.push(style.warn(`${many(badLines, 'bad line')} left out, ${printable(where)}`));
  }
  if (lostEvents > 0) {
    list.push(style.warn(`${many(lostEvents, 'event')} missing in the log: the kernel's buffer ran over`));
  }
  const unknown = format === 'mmiotrace' ? (records.unknown ?? 0) : 0;
  if (unknown > 0) {
    const what = many(unknown, 'UNKNOWN record');
    list.push(style.warn(`${what} not replayed: the kernel could not decode the instruction`));
  }
  if (guessedWidths > 0) {
    const what = many(guessedWidths, 'configuration access', 'configuration accesses');
    list.push(style.dim(`${what} without a width in the trace: taken as the smallest that holds the value`));
  }
  if (otherLines > 0) list.push(style.dim(`${many(otherLines, 'line')} of other text skipped`));
  return list;
}

function cell(text: string): string {
  return text === '' ? '(no text)' : printable(clip(text, MAX_CELL));
}

function many(count: number, noun: string, plural = `${noun}s`): string {
  return `${group(count)} ${count === 1 ? noun : plural}`;
}
