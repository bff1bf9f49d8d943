/** What people see of results: the SVG chart, the tables and the table for the documentation. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GroupRows, Row } from '../../bench/rows.js';
import { drawChart, scaleOf } from '../../bench/svg.js';
import { digits, formatGroups, formatMarkdown, rate } from '../../bench/text.js';
import { ROWS } from './support.js';

/** Names of the elements in order; throws where tags do not nest or text and attributes are not escaped. */
function elements(svg: string): string[] {
  const open: string[] = [];
  const seen: string[] = [];
  const body = svg.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, '');
  const text = '(?:[^<>&]|&(?:amp|lt|gt|quot);)*';
  const token = new RegExp(
    `<(/?)([a-z]+)((?: [a-zA-Z0-9-]+="${text.replace('>&]', '>&"]')}")*)(/?)>|(${text})`,
    'y',
  );
  while (token.lastIndex < body.length) {
    const at = token.lastIndex;
    const match = token.exec(body);
    if (match === null || match[0] === '') throw new Error(`not well-formed at ${body.slice(at, at + 60)}`);
    const [, closes, name, , isEmpty] = match;
    if (name === undefined) continue;
    if (closes) {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
    } else {
      seen.push(name);
      if (!isEmpty) open.push(name);
    }
  }
  if (open.length > 0) throw new Error(`${open.join()} left open`);
  return seen;
}

const row = (label: string, ratio: number): Row => ({
  ...(ROWS.rows[0] as Row),
  label,
  name: `sample: ${label}`,
  ratio: { value: ratio, spread: 0 },
});
const chartOf = (rows: readonly Row[]): string => drawChart([{ group: ROWS.group, rows }]);

describe('the chart', () => {
  it('is a well-formed SVG with one bar and two texts per row', () => {
    const svg = drawChart([ROWS, ROWS]);
    const names = elements(svg);
    expect(names[0]).toBe('svg');
    expect(names.filter((name) => name === 'rect')).toHaveLength(1 + 2 * ROWS.rows.length);
    for (const { label } of ROWS.rows) expect(svg).toContain(`>${label}</text>`);
    expect(svg).toContain('>4.00 x</text>');
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('is the same text for the same rows', () => {
    expect(drawChart([ROWS])).toBe(drawChart([ROWS]));
  });

  it('is well-formed whatever names and ratios it is given, and no bar leaves it', () => {
    const rows = fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.double({ min: 1e-6, max: 1e9 })), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(rows, (list) => {
        const svg = chartOf(list.map(([label, ratio]) => row(label, ratio)));
        elements(svg);
        expect(svg).not.toMatch(/"(NaN|-?Infinity|-[\d.]+)"/);
        for (const [, x, width] of svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g))
          expect(Number(x) + Number(width)).toBeLessThanOrEqual(1000);
      }),
    );
  });

  it('draws no bar for a ratio that is no positive number, but keeps its label', () => {
    for (const ratio of [Number.NaN, 0, Number.POSITIVE_INFINITY]) {
      const svg = chartOf([row('odd', ratio)]);
      expect(elements(svg).filter((name) => name === 'rect')).toHaveLength(1);
      expect(svg).toContain('>odd</text>');
    }
  });

  it('is a chart without rows too', () => {
    expect(elements(drawChart([]))).toContain('title');
  });

  it('has a scale that holds every ratio and the baseline, and few ticks', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), { maxLength: 20 }), (ratios) => {
        const { at, ticks } = scaleOf(ratios);
        const places = [1, ...ratios].map(at);
        expect(Math.min(...places)).toBeGreaterThanOrEqual(at(ticks[0] as number) - 1e3);
        expect(Math.max(...places)).toBeLessThan(1000);
        expect(Math.min(...places)).toBeGreaterThan(0);
        expect(ticks).toContain(1);
        expect(ticks.length).toBeLessThanOrEqual(18);
      }),
    );
  });
});

describe('the tables', () => {
  it('show rate, time, GB/s, spread, ratio, speed of C and goal, and name the baseline', () => {
    const text = formatGroups([ROWS]);
    expect(text).toContain('one unit: call; ratio: time, base = 1');
    expect(text).toMatch(/^base +100 M\/s +10\.0 +6\.40 +±[\d.]+ % +1\.00 x +0\.50 x$/m);
    expect(text).toMatch(
      /^slow +25\.0 M\/s +40\.0 +102 +±[\d.]+ % +4\.00 x +0\.50 x +>= 0\.8 of C: missed$/m,
    );
    expect(text).toMatch(/^slow \(C\) +50\.0 M\/s +20\.0 +205 +±[\d.]+ % +2\.00 x$/m);
    expect(text).toMatch(/^fast +167 M\/s +6\.00 +±[\d.]+ % +0\.60 x +<= 0\.8 x: met$/m);
  });

  it('say so when rows have baselines of their own', () => {
    const rows = ROWS.rows.map((one, n) => ({ ...one, baseline: `sample: ${n}` }));
    expect(formatGroups([{ ...ROWS, rows }])).toContain('ratio: time, the row of the same length = 1');
  });

  it('for the documentation hold ratios with their spread and no time', () => {
    const text = formatMarkdown([ROWS], ['a processor', 'Node 1.2.3']);
    expect(text).toBe(
      [
        'Measured on a processor, Node 1.2.3.',
        '',
        '| group | row | ratio | speed of C | goal |',
        '| --- | --- | --- | --- | --- |',
        '| sample | base | 1 (baseline) | 0.50 x ±0.000 % |  |',
        '| sample | slow | 4.00 x ±0.000 % | 0.50 x ±0.000 % | >= 0.8 of C: missed |',
        '| sample | fast | 0.60 x ±0.000 % |  | &lt;= 0.8 x: met |',
      ].join('\n'),
    );
  });

  it('are one line per row whatever was measured', () => {
    const odd: GroupRows = { ...ROWS, rows: [row('odd', Number.NaN)] };
    expect(formatGroups([odd]).split('\n')).toHaveLength(5);
  });
});

describe('numbers', () => {
  it.each([
    [0, '0.000'],
    [0.0123, '0.012'],
    [0.5, '0.50'],
    [9.994, '9.99'],
    [9.996, '10.0'],
    [99.96, '100'],
    [1234567.8, '1,234,568'],
    [Number.NaN, '-'],
    [Number.POSITIVE_INFINITY, '-'],
  ])('%d is printed as %s', (value, text) => {
    expect(digits(value)).toBe(text);
  });

  it.each([
    [3, '3.00 /s'],
    [1500, '1.50 k/s'],
    [2.5e7, '25.0 M/s'],
    [4e9, '4.00 G/s'],
  ])('%d units per second are %s', (hz, text) => {
    expect(rate(hz)).toBe(text);
  });
});
