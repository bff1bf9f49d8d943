/** Inspected devices as text for a terminal, at most 100 columns wide. */
import type { InspectedBar, InspectedFunction, InspectReport } from './inspect.js';
import { clip, printable, type Style, wrap } from './style.js';
import { table } from './table.js';

/** The whole report. */
export function formatInspect({ functions }: InspectReport, style: Style): string {
  return functions.map((fn) => functionText(fn, style)).join('\n\n');
}

function functionText({ address, name, handle, config, bars }: InspectedFunction, style: Style): string {
  const title = `${address} ${printable(name)}${handle === undefined ? '' : `, function handle ${handle}`}`;
  const space = config
    .flatMap((line) => wrap(line, 96).map((part, n) => `  ${n === 0 ? '' : '  '}${part}`))
    .join('\n');
  return [`${style.bold(title)}\n${space}`, ...bars.map((bar) => barText(bar, style))].join('\n\n');
}

function barText({ index, size, regions, registers }: InspectedBar, style: Style): string {
  const parts = regions.map(
    ({ kind, offset, size: bytes }) => `${hex(offset)} to ${hex(offset + bytes - 1)} ${kind}`,
  );
  const head = wrap(`BAR ${index}, ${size} bytes: ${parts.join('; ') || 'nothing in it'}`, 96).join('\n  ');
  if (registers.length === 0) return head;
  const rows = registers.map(({ name, offset, width, access, value, reset, description }) => [
    hex(offset),
    width,
    access,
    clip(name, 24),
    valueText(value, width),
    value === reset ? '' : valueText(reset, width),
    clip(printable(description), 20),
  ]);
  const heads = ['offset', 'bytes', 'access', 'name', 'value', 'reset', 'description'];
  // Columns that would be empty in every row are left out.
  const used = heads.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ''));
  const pick = <T>(list: readonly T[]): T[] => used.map((column) => list[column] as T);
  return `${head}\n${table(pick(heads), rows.map(pick), { style })}`;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function valueText(value: number | bigint, width: number): string {
  return `0x${value.toString(16).padStart(2 * width, '0')}`;
}
