/** Groups and samples for tests: made up, so that no test depends on how fast anything is. */
import type { Case, Group } from '../../bench/case.js';
import type { Measured } from '../../bench/measure.js';
import { type GroupRows, rowsOf } from '../../bench/rows.js';

export function caseOf(name: string, more: Partial<Case> = {}): Case {
  return { name, bytes: 0, units: 1, run: () => undefined, ...more };
}

/** Two cases with C loops, one without. `slow` is 4 times `base`; the C loops need half of each. */
export const GROUP: Group = {
  title: 'sample',
  unit: 'call',
  baseline: 'base',
  cases: [
    caseOf('base', { bytes: 64, native: { loop: 'copy', bytes: 64, check: 1 } }),
    caseOf('slow', {
      bytes: 4096,
      native: { loop: 'copy', bytes: 4096, check: 2 },
      goal: { of: 'C', limit: 0.8 },
    }),
    caseOf('fast', { goal: { of: 'baseline', limit: 0.8 } }),
  ],
};

const rounds = (ns: number) => [
  [ns, ns],
  [2 * ns, 2 * ns],
  [ns, ns],
];

export const MEASURED: Measured = new Map([
  ['sample: base', rounds(10)],
  ['sample: base (C)', rounds(5)],
  ['sample: slow', rounds(40)],
  ['sample: slow (C)', rounds(20)],
  ['sample: fast', rounds(6)],
]);

export const ROWS: GroupRows = rowsOf(GROUP, MEASURED);
