/** Earlier results: what is accepted as such, and how a new run is set against them. */
import { describe, expect, it } from 'vitest';
import { compareResults, parseResults } from '../../bench/compare.js';
import { type Result, resultsOf } from '../../bench/rows.js';
import { formatComparison } from '../../bench/text.js';
import { ZtlpError } from '../../src/index.js';
import { ROWS } from './support.js';

const result = (name: string, ns: number, rme = 0): Result => ({ name, ns, hz: 1e9 / ns, rme, bytes: 0 });

describe('a file of results', () => {
  it('is read back as it was written', () => {
    const results = resultsOf([ROWS]);
    expect(parseResults(JSON.stringify(results), 'old.json')).toEqual(results);
    expect(parseResults('[]', 'old.json')).toEqual([]);
  });

  it('may hold more than is used', () => {
    expect(parseResults(JSON.stringify([{ ...result('a', 1), more: 1 }]), 'old.json')).toEqual([
      result('a', 1),
    ]);
  });

  const entry = (change: object): string =>
    JSON.stringify([result('a', 1), { ...result('b', 2), ...change }]);
  it.each([
    ['', /^old\.json is not JSON$/],
    ['{"name":', /^old\.json is not JSON$/],
    ['{}', /^old\.json: it holds no list; allowed: /],
    ['null', /holds no list/],
    ['[1]', /entry 0 is not an object/],
    ['[null]', /entry 0 is not an object/],
    ['[[]]', /entry 0 is not an object/],
    ['[{}]', /entry 0 has no name/],
    [entry({ name: 7 }), /entry 1 has no name/],
    [entry({ ns: undefined }), /entry 1: ns is missing/],
    [entry({ ns: 0 }), /entry 1: ns is not a usable number/],
    [entry({ hz: '5' }), /entry 1: hz is not a usable number/],
    [entry({ rme: -1 }), /entry 1: rme is not a usable number/],
    [entry({ bytes: null }), /entry 1: bytes is not a usable number/],
  ])('%s is refused', (text, pattern) => {
    let thrown: unknown;
    try {
      parseResults(text, 'old.json');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ZtlpError);
    expect(thrown).toMatchObject({ code: 'malformed', message: expect.stringMatching(pattern) });
  });
});

describe('a comparison', () => {
  const before = [
    result('same', 100, 5),
    result('better', 100, 5),
    result('worse', 100, 5),
    result('old', 1),
  ];
  const now = [result('worse', 200, 5), result('same', 105, 5), result('better', 50, 5), result('new', 1)];

  it('has one ratio old / new per common name, in the order of the new run, and marks what exceeds the spread', () => {
    expect(compareResults(before, now)).toEqual({
      changes: [
        { name: 'worse', ratio: 0.5, mark: 'slower' },
        { name: 'same', ratio: 100 / 105, mark: '' },
        { name: 'better', ratio: 2, mark: 'faster' },
      ],
      added: ['new'],
      missing: ['old'],
    });
  });

  it('takes a spread of 5 % at least, and more where a run has more', () => {
    const mark = (then: Result, nowOne: Result) => compareResults([then], [nowOne]).changes[0]?.mark;
    expect(mark(result('a', 100), result('a', 109))).toBe('');
    expect(mark(result('a', 100), result('a', 112))).toBe('slower');
    expect(mark(result('a', 100, 30), result('a', 112))).toBe('');
    expect(mark(result('a', 100), result('a', 60, 40))).toBe('faster');
    expect(mark(result('a', 100), result('a', 60, 80))).toBe('');
  });

  it('of a run with itself has ratio 1 everywhere and no mark', () => {
    const { changes, added, missing } = compareResults(now, now);
    expect(changes.map(({ ratio, mark }) => [ratio, mark])).toEqual(now.map(() => [1, '']));
    expect([added, missing]).toEqual([[], []]);
  });

  it('is printed as a table, with the first few of the names that only one run has', () => {
    const text = formatComparison(compareResults(before, now));
    expect(text).toMatch(/^worse +0\.50 x +slower$/m);
    expect(text).toMatch(/^same +0\.95 x$/m);
    expect(text).toMatch(/^better +2\.00 x +faster$/m);
    expect(text).toMatch(/^only in this run: new$/m);
    const many = Array.from({ length: 9 }, (_, n) => result(`row ${n}`, 1));
    expect(formatComparison(compareResults(many, []))).toMatch(
      /no row in common\nonly in the earlier run: row 0; row 1; row 2; row 3; and 5 more$/,
    );
  });

  it('prints names from a file without their control characters, and not at any length', () => {
    const name = `\u001b[2J${'x'.repeat(500)}`;
    const text = formatComparison(compareResults([], [result(name, 1)]));
    expect(text).not.toContain('\u001b');
    expect(text.split('\n').every((line) => line.length < 120)).toBe(true);
  });
});
