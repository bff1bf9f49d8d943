/** Turns samples into rows: time, rate, spread, ratio to the baseline of the group and to the C loop. */
import { baselineOf, type Case, fullName, type Goal, type Group, nativeName } from './case.js';
import type { Measured } from './measure.js';
import { bests, type Estimate, estimate, pairedRatio } from './statistics.js';

/** One entry of bench.json. */
export interface Result {
  readonly name: string;
  /** Time of one unit: the median over the rounds of the best sample of each. */
  readonly ns: number;
  /** Units per second. */
  readonly hz: number;
  /** Half the distance between the quartiles of those, in percent of the median. */
  readonly rme: number;
  /** Bytes that one unit moves; 0 when it moves none. */
  readonly bytes: number;
}

export interface Row extends Result {
  /** The name within its group. */
  readonly label: string;
  readonly isNative: boolean;
  /** Time relative to the baseline. */
  readonly ratio: Estimate;
  /** Full name of the baseline. */
  readonly baseline: string;
  /** Speed relative to the C loop that does the same: above 1 is faster than C. */
  readonly speedOfC: Estimate | undefined;
  readonly goal: (Goal & { readonly met: boolean }) | undefined;
}

export interface GroupRows {
  readonly group: Group;
  readonly rows: readonly Row[];
}

function judge(goal: Goal, ratio: Estimate, speedOfC: Estimate | undefined): Row['goal'] {
  if (goal.of === 'baseline') return { ...goal, met: ratio.value <= goal.limit };
  return speedOfC === undefined ? undefined : { ...goal, met: speedOfC.value >= goal.limit };
}

function rowOf(group: Group, one: Case, measured: Measured, isNative: boolean): Row | undefined {
  const label = isNative ? nativeName(one.name) : one.name;
  const name = fullName(group, label);
  const baseline = fullName(group, baselineOf(group, one));
  const rounds = measured.get(name);
  const base = measured.get(baseline);
  if (rounds === undefined || base === undefined) return undefined;
  const { value: ns, spread: rme } = estimate(bests(rounds));
  const ratio = pairedRatio(rounds, base);
  const loop = measured.get(fullName(group, nativeName(one.name)));
  const speedOfC = isNative || loop === undefined ? undefined : pairedRatio(loop, rounds);
  const goal = isNative || one.goal === undefined ? undefined : judge(one.goal, ratio, speedOfC);
  return { name, ns, hz: 1e9 / ns, rme, bytes: one.bytes, label, isNative, ratio, baseline, speedOfC, goal };
}

/** The rows of a group in the order of its cases, each C loop behind its case. */
export function rowsOf(group: Group, measured: Measured): GroupRows {
  const rows = group.cases.flatMap((one) => [
    rowOf(group, one, measured, false),
    rowOf(group, one, measured, true),
  ]);
  return { group, rows: rows.filter((row) => row !== undefined) };
}

export function resultsOf(groups: readonly GroupRows[]): Result[] {
  return groups.flatMap(({ rows }) =>
    rows.map(({ name, ns, hz, rme, bytes }) => ({ name, ns, hz, rme, bytes })),
  );
}
