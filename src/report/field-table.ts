/** The table of a TLP's fields: the look of table.ts in a fraction of its time, for text that is printed line after line. */
import type { Style } from './style.js';
import type { FieldRow } from './tlp-rows.js';

/** A column: its title, and whether it lines up at its right end. */
const COLUMNS: readonly (readonly [key: keyof FieldRow, right: boolean])[] = [
  ['byte', true],
  ['bits', true],
  ['field', false],
  ['raw', false],
  ['meaning', false],
];

function aligned(text: string, width: number, right: boolean): string {
  return right ? text.padStart(width) : text.padEnd(width);
}

/** Rows as text without a last line end and without spaces at the end of a line. Cells are ASCII. */
export function fieldTable(rows: readonly FieldRow[], style: Style): string {
  const columns = COLUMNS.map(([key, right]) => {
    let width = key.length;
    for (const row of rows) width = Math.max(width, row[key].length);
    return { key, right, width };
  });
  const line = (cell: (column: (typeof columns)[number]) => string): string =>
    columns.map(cell).join('  ').trimEnd();
  return [
    // The codes of a style take no width: spaces stand outside of them.
    line(({ key, right, width }) => aligned(key, width, right).replace(key, style.bold(key))),
    line(({ width }) => '─'.repeat(width)),
    ...rows.map((row) => line(({ key, right, width }) => aligned(row[key], width, right))),
  ].join('\n');
}
