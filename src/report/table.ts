/** Plain tables for a terminal, and numbers with separators: the one place that uses cli-table3. */
import Table from 'cli-table3';
import { PLAIN, type Style } from './style.js';

export interface TableOptions {
  /** Per column. Default: right where every cell is a number, else left. */
  readonly align?: readonly ('left' | 'right')[];
  /** Marks up the head. Default: PLAIN. */
  readonly style?: Style;
}

/** Nothing around the table, two spaces between columns, one rule under the head. */
const CHARS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '─',
  'mid-mid': '  ',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/**
 * A number with a comma between groups of three digits before the point. Not by Intl: output must not depend on the
 * locale, nor on the locale data of a Node build.
 */
export function group(value: number): string {
  const text = String(value);
  const digits = /^-?\d+/.exec(text)?.[0] ?? '';
  return digits.replaceAll(/\B(?=(\d{3})+$)/g, ',') + text.slice(digits.length);
}

/** A table as text without a last line end. Numbers are grouped; cells may hold SGR codes, which take no width. */
export function table(head: string[], rows: (string | number)[][], options: TableOptions = {}): string {
  const { style = PLAIN } = options;
  const isNumeric = (column: number): boolean =>
    rows.length > 0 && rows.every((row) => typeof row[column] === 'number');
  const align = head.map((_, column) => options.align?.[column] ?? (isNumeric(column) ? 'right' : 'left'));
  const drawn = new Table({
    head: head.map((title) => style.bold(title)),
    colAligns: align,
    chars: CHARS,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) drawn.push(row.map((cell) => (typeof cell === 'number' ? group(cell) : cell)));
  // The last column is padded too; nobody needs spaces at the end of a line.
  return drawn.toString().replaceAll(/ +$/gm, '');
}
