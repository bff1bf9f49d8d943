/** Prints what a replay found as plain tables for a terminal. */
import { show } from '../base/errors.js';
import type { ReplaySummary } from './replay.js';
import { clip, printable, type Style } from './style.js';
import { group, type TableOptions, table } from './table.js';

/** Rows of one table that are printed: a longer list is for programs, which have the summary itself. */
const MAX_ROWS = 200;
/** Characters of a mark or a device in a table. */
const MAX_CELL = 48;

type Align = NonNullable<TableOptions['align']>;

/** The summary as text of several lines, without a last line end. */
export function formatReplay(summary: ReplaySummary, style: Style): string {
  const section = (title: string, head: string[], rows: (string | number)[][], align: Align = []): string => {
    if (rows.length === 0) return '';
    const left = rows.length - MAX_ROWS;
    const more = left > 0 ? `\n${style.dim(`and ${group(left)} more`)}` : '';
    return `${style.bold(title)}\n${table(head, rows.slice(0, MAX_ROWS), { style, align })}${more}`;
  };
  const { reads, writes } = summary;
  const answers = summary.tlps
    .filter(({ type }) => type === 'CplD')
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
    ),
    section(
      'Accesses by phase (MARK lines)',
      ['phase', 'line', 'reads', 'writes', 'TLPs', 'wire bytes down', 'wire bytes up'],
      summary.byPhase.map((row) => [
        cell(row.mark),
        `${row.line}`, // not grouped: people type it into an editor
        row.reads,
        row.writes,
        row.tlps,
        row.wireBytesDown,
        row.wireBytesUp,
      ]),
      ['left', 'right'],
    ),
    section(
      'TLPs by type',
      ['type', 'header DWs', 'length in DWs', 'TLPs'],
      summary.tlps.map((row) => [row.type, row.headerDw, row.lengthDw, row.count]),
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
    remarks(summary, style).join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function headline({ file, lines, accesses, reads, writes, tlpCount }: ReplaySummary, style: Style): string {
  const name = style.bold(file === '-' ? 'standard input' : printable(file));
  const what = `${many(reads, 'read')} and ${many(writes, 'write')}`;
  const outcome = accesses === 0 ? 'no accesses' : `${what} become ${many(tlpCount, 'TLP')}`;
  return `${name}: Linux mmiotrace log, ${many(lines, 'line')}: ${outcome}`;
}

/** What the numbers above leave out. */
function remarks(summary: ReplaySummary, style: Style): string[] {
  const { badLines, firstBad, lostEvents, otherLines, records } = summary;
  const list: string[] = [];
  if (firstBad !== undefined) {
    const which = badLines === 1 ? 'in line' : 'the first in line';
    const where = `${which} ${firstBad.line}: ${firstBad.reason}, in ${show(firstBad.text)}`;
    list.push(style.warn(`${many(badLines, 'bad line')} left out, ${printable(where)}`));
  }
  if (lostEvents > 0) {
    list.push(style.warn(`${many(lostEvents, 'event')} missing in the log: the kernel's buffer ran over`));
  }
  if (records.unknown > 0) {
    const what = many(records.unknown, 'UNKNOWN record');
    list.push(style.warn(`${what} not replayed: the kernel could not decode the instruction`));
  }
  if (otherLines > 0) list.push(style.dim(`${many(otherLines, 'line')} of other text skipped`));
  return list;
}

function cell(text: string): string {
  return text === '' ? '(no text)' : printable(clip(text, MAX_CELL));
}

function many(count: number, noun: string): string {
  return `${group(count)} ${noun}${count === 1 ? '' : 's'}`;
}
