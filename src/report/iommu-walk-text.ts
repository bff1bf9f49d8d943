/** `ztlp iommu walk` for people: a table of steps per request, and how each ended. */
import { hex64 } from '../core/u64.js';
import { nameOf } from '../iommu/domain-unit.js';
import type { ExplainedStep } from '../iommu/explain.js';
import { pageName } from '../iommu/explain-bits.js';
import type { Walk, WalkReport } from './iommu-walk.js';
import type { Style } from './style.js';
import { table } from './table.js';

function requestText({ request }: Walk): string {
  const { sid, address, isWrite, isPrivileged, pasid } = request;
  const of = pasid === undefined ? '' : ` PASID ${pasid}`;
  return `${nameOf({ sid })}${of} ${isPrivileged ? 'privileged ' : ''}${isWrite ? 'write' : 'read'} ${hex64(address)}`;
}

function endText({ answer, reasonName, event = [] }: Walk): string {
  switch (answer.kind) {
    case 'translated': {
      const { read, write } = answer.permissions;
      const allowed = [read ? 'read' : '', write ? 'write' : ''].filter((word) => word !== '').join(' ');
      const page =
        answer.pageLg2 === 63 ? answer.path : `${answer.path}, ${pageName(answer.pageLg2)} page, ${allowed}`;
      return `-> ${hex64(answer.address)}  (${page}${answer.forcesSnoop ? ', takes No Snoop away' : ''})`;
    }
    case 'fault': {
      const what = [reasonName, ...event].join(', ');
      return `-> fault 0x${answer.reason.toString(16)}: ${what}${answer.isRecorded ? '' : ' (not recorded)'}`;
    }
    case 'message':
      return '-> an interrupt message';
    default:
      return '-> refused without a fault';
  }
}

const HEAD = ['structure', 'address', 'entry', 'says'];

/** Words that say nothing, one behind the other, as one row. */
function rowsOf(steps: readonly ExplainedStep[]): string[][] {
  const rows: string[][] = [];
  for (let n = 0; n < steps.length; ) {
    const step = steps[n] as ExplainedStep;
    let count = 1;
    while (isNothing(step) && isNothing(steps[n + count], step.what)) count++;
    n += count;
    const last = step.address + 8n * BigInt(count) - 1n;
    rows.push(
      count === 1
        ? rowOf(step)
        : [step.what, `${hex64(step.address)}-${hex64(last)}`, '0x0', `reserved, ${count} words`],
    );
  }
  return rows;
}

function isNothing(step: ExplainedStep | undefined, what = step?.what): boolean {
  return step?.meaning === 'reserved' && step.what === what;
}

function rowOf({ what, address, entry, meaning }: ExplainedStep): string[] {
  return [what, hex64(address), entry === null ? '-' : hex64(entry), meaning];
}

/** Steps as a table; where it would be wider than `width`, each step in two lines. */
function stepsText(steps: readonly ExplainedStep[], style: Style, width: number): string {
  if (steps.length === 0) return '';
  const rows = rowsOf(steps);
  const wide = HEAD.map((title, n) => Math.max(title.length, ...rows.map((row) => row[n]?.length ?? 0)));
  if (wide.reduce((sum, columns) => sum + columns, 2 * (HEAD.length - 1)) <= width)
    return `${table(HEAD, rows, { style })}\n`;
  return rows
    .map(([what, address, entry, meaning]) => `${what} ${address}: ${entry}\n    ${meaning}\n`)
    .join('');
}

export function formatWalks(report: WalkReport, style: Style, width: number): string {
  const { unit, root, memory, options, walks } = report;
  const head = [`${unit}, root ${hex64(root)}, memory ${hex64(memory.first)} to ${hex64(memory.end - 1n)}`];
  const given = Object.entries(options).map(([name, value]) => `${name}=${value}`);
  if (given.length > 0) head.push(`options given: ${given.join(', ')}`);
  const parts = walks.map(
    (walk) => `${style.bold(requestText(walk))}\n${stepsText(walk.steps, style, width)}${endText(walk)}`,
  );
  return `${head.join('\n')}\n\n${parts.join('\n\n')}\n`;
}
