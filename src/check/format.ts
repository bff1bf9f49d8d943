/** A report of the kit as a table for a terminal, at most 100 columns wide. */
import { printable, type Style, wrap } from '../report/style.js';
import { table } from '../report/table.js';
import { plural } from './text.js';
import type { CheckOutcome, CheckReport } from './types.js';

const WORDS: Readonly<Record<CheckOutcome, string>> = { pass: 'pass', fail: 'FAIL', 'not-applicable': 'n/a' };
const COLUMNS = 100;

/** The whole report. */
export function formatCheck(report: CheckReport, style: Style): string {
  const { device, seed, accesses, checks } = report;
  const ids = Math.max(...checks.map(({ id }) => id.length), 'check'.length);
  const room = COLUMNS - ids - 'result'.length - 4;
  const rows = checks.flatMap(({ id, outcome, line }) => {
    const word = outcome === 'fail' ? style.warn(WORDS.fail) : WORDS[outcome];
    return wrap(printable(line), room).map((part, n) => (n === 0 ? [id, word, part] : ['', '', part]));
  });
  const failed = checks.filter(({ outcome }) => outcome === 'fail').length;
  const title = `${device}: ${plural(checks.length, 'check')}, seed ${seed}, ${plural(accesses, 'access')} each`;
  const verdict = report.passed ? style.bold('passed') : style.warn(`FAILED: ${plural(failed, 'check')}`);
  return [style.bold(title), table(['check', 'result', 'what'], rows, { style }), verdict].join('\n\n');
}

/** What failed, in one line; undefined when nothing did. */
export function checkProblem({ device, checks }: CheckReport): string | undefined {
  const failed = checks.filter(({ outcome }) => outcome === 'fail').map(({ id }) => id);
  return failed.length === 0 ? undefined : `${device}: failed ${failed.join(', ')}`;
}
