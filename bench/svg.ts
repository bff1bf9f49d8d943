/** Draws the ratios of a run as an SVG chart: bars on a logarithmic scale, from the baseline to the right where slower. */
import type { GroupRows, Row } from './rows.js';
import { digits } from './text.js';

const WIDTH = 1000;
const MARGIN = 16;
const LABELS = 330;
/** Room right of the longest bar for its value. */
const VALUES = 70;
const ROW = 20;
const BAR = 12;
const TITLE = 34;
const AXIS = 26;
const GAP = 14;
const INTRO = 64;
const LEFT = MARGIN + LABELS;
const RIGHT = WIDTH - MARGIN - VALUES;

const INK = '#1f2933';
const SOFT = '#616e7c';
const LINE = '#d5dce3';
const HOST = '#2b6cb0';
const NATIVE = '#8793a0';
const BASE = '#1f2933';

function safe(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '\ufffd');
}

/** Places ratios on the width of the chart. */
interface Scale {
  readonly at: (ratio: number) => number;
  readonly ticks: readonly number[];
}

const isDrawable = (ratio: number): boolean => Number.isFinite(ratio) && ratio > 0;

/** From the largest of 1, 2, 5, 10, ... below all ratios to the smallest above them, the baseline always inside. */
export function scaleOf(ratios: readonly number[]): Scale {
  const known = [1, ...ratios.filter(isDrawable)];
  const least = Math.min(...known);
  const most = Math.max(...known);
  const steps: number[] = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power++) {
    for (const factor of [1, 2, 5]) steps.push(Number(`${factor}e${power}`));
  }
  const low = Math.max(...steps.filter((step) => step < least));
  const high = Math.min(...steps.filter((step) => step > most));
  const span = Math.log(high / low);
  const within = steps.filter((step) => step >= low && step <= high);
  const ticks = within.length <= 9 ? within : within.filter((step) => Number.isInteger(Math.log10(step)));
  return { at: (ratio) => LEFT + ((RIGHT - LEFT) * Math.log(ratio / low)) / span, ticks };
}

/** A coordinate with one digit behind the point: the same text on every machine. */
function place(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${place(x)}" y="${place(y)}"${more}>${safe(content)}</text>`;
}

function bar(row: Row, top: number, scale: Scale): string[] {
  const ratio = row.ratio.value;
  const middle = top + ROW / 2;
  const label = text(LEFT - 8, middle + 4, row.label, ' text-anchor="end"');
  if (!isDrawable(ratio)) return [label];
  const isBase = row.name === row.baseline;
  const from = Math.min(scale.at(1), scale.at(ratio));
  const to = Math.max(scale.at(1), scale.at(ratio));
  const fill = row.isNative ? NATIVE : isBase ? BASE : HOST;
  const width = Math.max(2, to - from);
  return [
    label,
    `<rect x="${place(from)}" y="${place(middle - BAR / 2)}" width="${place(width)}" height="${BAR}" rx="2" fill="${fill}"/>`,
    text(to + 6, middle + 4, `${digits(ratio)} x`, ` fill="${INK}"`),
  ];
}

function drawGroup(
  { group, rows }: GroupRows,
  top: number,
): { readonly lines: string[]; readonly end: number } {
  const scale = scaleOf(rows.map((row) => row.ratio.value));
  const first = top + TITLE;
  const bottom = first + rows.length * ROW;
  const isShared = rows.every((row) => row.baseline === rows[0]?.baseline);
  const baseline = isShared ? group.baseline : 'the row of the same length';
  const tick = (value: number): string[] => {
    const x = scale.at(value);
    const stroke = value === 1 ? SOFT : LINE;
    return [
      `<line x1="${place(x)}" y1="${first}" x2="${place(x)}" y2="${bottom}" stroke="${stroke}"/>`,
      text(x, bottom + 15, String(value), ` text-anchor="middle" fill="${SOFT}" font-size="11"`),
    ];
  };
  const lines = [
    text(MARGIN, top + 16, group.title, ' font-size="15" font-weight="600"'),
    text(LEFT, top + 16, `${group.unit}; 1 = ${baseline}`, ` fill="${SOFT}"`),
    ...scale.ticks.flatMap(tick),
    ...rows.flatMap((row, n) => bar(row, first + n * ROW, scale)),
  ];
  return { lines, end: bottom + AXIS + GAP };
}

/** The chart as the text of an SVG file. The same rows give the same text. */
export function drawChart(groups: readonly GroupRows[]): string {
  const lines: string[] = [];
  let top = INTRO;
  for (const rows of groups) {
    const drawn = drawGroup(rows, top);
    lines.push(...drawn.lines);
    top = drawn.end;
  }
  const title = 'Time relative to the baseline of each group, logarithmic';
  const legend =
    'Right of 1 takes longer. Blue: WebAssembly and host; grey: C in the same run; black: baseline.';
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}" font-family="system-ui, sans-serif" font-size="12.5" fill="${INK}" role="img">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${top}" fill="#ffffff"/>`,
    text(MARGIN, 26, title, ' font-size="17" font-weight="600"'),
    text(MARGIN, 46, legend, ` fill="${SOFT}"`),
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
