/** Plain tables for a terminal, and numbers with separators: the one place that uses cli-table3. */
import Table from 'cli-table3';
import { PLAIN, type Style } from './style.js';

export interface TableOptions {
  /** Per column. Default: right where every cell is a number, else left. */
  readonly align?: readonly ('left' | 'right')[];
  /** Marks up the head. Default: PLAIN. */
  readonly style?: Style;
  /**
   * Columns of the terminal. A wider table is folded: the columns that do not fit follow below, behind the key columns
   * again. Default: any number.
   */
  readonly width?: number;
  /** Columns from the left that say what a row is about. Default 1. */
  readonly keys?: number;
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

/**
 * A table as text without a last line end. Numbers are grouped; cells may hold SGR codes, which take no width. A line end
 * in a title makes a head of two lines.
 */
export function table(head: string[], rows: (string | number)[][], options: TableOptions = {}): string {
  const { style = PLAIN, width = Number.POSITIVE_INFINITY, keys = 1 } = options;
  const lines = Math.max(...head.map((title) => title.split('\n').length));
  const isNumeric = (column: number): boolean =>
    rows.length > 0 && rows.every((row) => typeof row[column] === 'number');
  const align = head.map((_, column) => options.align?.[column] ?? (isNumeric(column) ? 'right' : 'left'));
  const drawn = new Table({
    head: head.map((title) =>
      ontoRule(title, lines)
        .split('\n')
        .map((line) => (line === '' ? line : style.bold(line)))
        .join('\n'),
    ),
    colAligns: align,
    chars: CHARS,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) drawn.push(row.map((cell) => (typeof cell === 'number' ? group(cell) : cell)));
  // The last column is padded too; nobody needs spaces at the end of a line.
  const text = drawn.toString().replaceAll(/ +$/gm, '');
  const rule = text.split('\n')[lines];
  if (rule === undefined || rule.length <= width) return text;
  const widths = rule.split('  ').map((part) => part.length);
  const parts = fold(widths, width, keys);
  if (parts.length < 2) return text;
  return parts
    .map((columns) => {
      const pick = <T>(list: readonly T[]): T[] => columns.map((column) => list[column] as T);
      return table(pick(head), rows.map(pick), { style, align: pick(align) });
    })
    .join('\n\n');
}

/** A title with empty lines above it, so that titles of one and of two lines stand on the rule alike. */
function ontoRule(title: string, lines: number): string {
  return `${'\n'.repeat(lines - title.split('\n').length)}${title}`;
}

/** Columns by the part of a folded table they stand in; each part begins with the keys and has at least one other. */
function fold(widths: readonly number[], width: number, keys: number): number[][] {
  const parts: number[][] = [];
  const key = [...widths.keys()].slice(0, keys);
  const keyWidth = key.reduce((sum, column) => sum + (widths[column] as number), 2 * (keys - 1));
  let used = Number.POSITIVE_INFINITY;
  for (let column = keys; column < widths.length; column++) {
    const more = 2 + (widths[column] as number);
    if (used + more > width) {
      parts.push([...key]);
      used = keyWidth;
    }
    parts.at(-1)?.push(column);
    used += more;
  }
  return parts;
}
