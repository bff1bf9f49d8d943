/** From samples to rows and to the entries of bench.json; which cases a filter keeps. */
import { describe, expect, it } from 'vitest';
import { chooseCases, type Group } from '../../bench/case.js';
import { resultsOf, rowsOf } from '../../bench/rows.js';
import { caseOf, GROUP, MEASURED, ROWS } from './support.js';

describe('rows', () => {
  const byLabel = new Map(ROWS.rows.map((row) => [row.label, row]));

  it('stand in the order of the cases, each C loop behind its case', () => {
    expect([...byLabel.keys()]).toEqual(['base', 'base (C)', 'slow', 'slow (C)', 'fast']);
  });

  it('have the ratio of time to the baseline and the speed of the C loop', () => {
    expect(byLabel.get('base')).toMatchObject({ ns: 10, hz: 1e8, ratio: { value: 1, spread: 0 } });
    expect(byLabel.get('slow')).toMatchObject({ ratio: { value: 4 }, speedOfC: { value: 0.5 } });
    expect(byLabel.get('slow (C)')).toMatchObject({
      ratio: { value: 2 },
      speedOfC: undefined,
      isNative: true,
      bytes: 4096,
    });
    expect(byLabel.get('fast')).toMatchObject({ ratio: { value: 0.6 }, speedOfC: undefined });
  });

  it('judge goals by the ratio or by the speed of C, and not at all without a C loop', () => {
    expect(byLabel.get('slow')?.goal).toEqual({ of: 'C', limit: 0.8, met: false });
    expect(byLabel.get('slow (C)')?.goal).toBeUndefined();
    expect(byLabel.get('fast')?.goal).toEqual({ of: 'baseline', limit: 0.8, met: true });
    const host = new Map([...MEASURED].filter(([name]) => !name.endsWith('(C)')));
    const { rows } = rowsOf(GROUP, host);
    expect(rows.map(({ label, goal }) => [label, goal?.met])).toEqual([
      ['base', undefined],
      ['slow', undefined],
      ['fast', true],
    ]);
  });

  it('take the baseline of their own case when it names one', () => {
    const group: Group = { ...GROUP, cases: GROUP.cases.map((one) => ({ ...one, baseline: 'slow' })) };
    const ratios = rowsOf(group, MEASURED).rows.map(({ label, ratio }) => [label, ratio.value]);
    expect(ratios).toEqual([
      ['base', 0.25],
      ['base (C)', 0.125],
      ['slow', 1],
      ['slow (C)', 0.5],
      ['fast', 0.15],
    ]);
  });

  it('become entries of name, ns, hz, rme and bytes, and nothing else', () => {
    const results = resultsOf([ROWS]);
    expect(results).toHaveLength(5);
    for (const result of results) {
      expect(Object.keys(result)).toEqual(['name', 'ns', 'hz', 'rme', 'bytes']);
      expect(result.hz * result.ns).toBeCloseTo(1e9);
    }
    expect(results[2]).toMatchObject({ name: 'sample: slow', ns: 40, bytes: 4096 });
  });
});

describe('a filter', () => {
  const other: Group = {
    title: 'other',
    unit: 'call',
    baseline: 'one',
    cases: [caseOf('one'), caseOf('two')],
  };
  const chosen = (text: string): string[] =>
    chooseCases([GROUP, other], text).flatMap(({ title, cases }) =>
      cases.map(({ name }) => `${title}/${name}`),
    );

  it('keeps what it names, whatever the case of letters, and the baselines that this needs', () => {
    expect(chosen('SLOW')).toEqual(['sample/base', 'sample/slow']);
    expect(chosen('two')).toEqual(['other/one', 'other/two']);
    expect(chosen('other: ')).toEqual(['other/one', 'other/two']);
  });

  it('keeps everything when it is empty, and nothing when no name holds it', () => {
    expect(chosen('')).toHaveLength(5);
    expect(chosen('three')).toEqual([]);
  });
});
