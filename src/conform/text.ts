/** Agreement with golden vectors as tables for a terminal. */
import { show } from '../base/errors.js';
import { clip, printable, type Style } from '../report/style.js';
import { group, table } from '../report/table.js';
import type { ConformReport, FileReport } from './index.js';

export interface ConformTextOptions {
  /** Disagreements and deviations to list per file. */
  readonly most: number;
}

/** A short JSON text of one side of a disagreement. */
function side(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? `0x${item.toString(16)}` : item,
  );
  return printable(clip(text ?? 'nothing', 400));
}

function more(total: number, shown: number): string[] {
  return total > shown ? [`  ... and ${group(total - shown)} more (--most 0 lists all)`] : [];
}

function fileText(file: FileReport, style: Style, options: ConformTextOptions): string {
  const rows = file.groups.map(({ name, cases, agree, documented, disagree }) => {
    return [name, cases, agree, documented, disagree];
  });
  const counts = table(['group', 'cases', 'agree', 'documented', 'disagree'], rows, { style });
  const parts = [
    style.bold(`${file.file === '-' ? 'standard input' : printable(file.file)}  (${file.format})`),
    counts,
  ];
  const bad = file.disagreements.slice(0, options.most);
  if (bad.length > 0) {
    const lines = bad.flatMap((entry) => [
      `  ${style.warn(printable(entry.id))} (${entry.group})`,
      `    expected ${side(entry.expected)}`,
      `    actual   ${side(entry.actual)}`,
    ]);
    parts.push(['disagreements:', ...lines, ...more(file.disagreements.length, bad.length)].join('\n'));
  }
  const known = file.deviations.slice(0, options.most);
  if (known.length > 0) {
    const lines = known.map((entry) => `  ${printable(entry.id)}: ${entry.rule}`);
    parts.push(
      style.dim(
        ['documented deviations:', ...lines, ...more(file.deviations.length, known.length)].join('\n'),
      ),
    );
  }
  if (file.notes !== undefined) parts.push(style.dim(file.notes.join('\n')));
  if (file.unsupported !== undefined) {
    const list = file.unsupported
      .map(({ name, cases }) => `${printable(clip(name, 80))} ${group(cases)}`)
      .join(', ');
    parts.push(style.dim(`unsupported: ${list}: not built in this version; not run, counted as disagreeing`));
  }
  return parts.join('\n\n');
}

/** One block per file. */
export function formatConform(report: ConformReport, style: Style, options: ConformTextOptions): string {
  return report.files.map((file) => fileText(file, style, options)).join('\n\n');
}

/** How much of a file disagrees, in one line; undefined when nothing does. */
export function conformProblem({ file, groups }: FileReport): string | undefined {
  const sum = (what: 'cases' | 'disagree'): number =>
    groups.reduce((total, counts) => total + counts[what], 0);
  const disagree = sum('disagree');
  return disagree === 0
    ? undefined
    : `${file === '-' ? 'standard input' : show(file)}: ${group(disagree)} of ${group(sum('cases'))} cases disagree`;
}
