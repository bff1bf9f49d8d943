/** The 4 KiB regression as tables for a terminal. */
import type { RegressReport } from './regress.js';
import type { Style } from './style.js';
import { group, table } from './table.js';

/** A count, with the expected one where they differ. */
function against(actual: number, expected: number, style: Style): string {
  return actual === expected ? group(actual) : style.warn(`${group(actual)} not ${group(expected)}`);
}

function mark(good: boolean, style: Style): string {
  return good ? 'yes' : style.warn('NO');
}

/** The whole report. */
export function formatRegress(report: RegressReport, style: Style): string {
  const rows = report.rows.map((row) => [
    row.way,
    against(row.operations, row.expectedOperations, style),
    against(row.tlps, row.expectedTlps, style),
    against(row.wireBytes, row.expectedWireBytes, style),
    mark(row.memoryEqual, style),
  ]);
  const ways = table(['4 KiB by', 'operations', 'TLPs', 'wire B', 'memory equal'], rows, {
    align: ['left', 'right', 'right', 'right', 'left'],
    style,
  });
  const refusals = table(
    ['strict group refuses', 'answer', 'nothing written'],
    report.refusals.map((row) => [
      row.what,
      row.actual === row.expected ? row.actual : style.warn(`${row.actual}, not ${row.expected}`),
      mark(!row.written, style),
    ]),
    { style },
  );
  const first = report.mismatches[0];
  const random =
    first === undefined
      ? `${group(report.cases)} random offsets and lengths (seed ${report.seed}): memory identical on all ways`
      : style.warn(
          `${report.mismatches.length} of ${report.cases * report.rows.length} random stores left other memory, ` +
            `first: ${first.way}, ${first.length} bytes at offset 0x${first.offset.toString(16)} (seed ${report.seed})`,
        );
  const verdict = report.passed ? style.bold('passed') : style.warn('FAILED');
  const { mps, above4GiB } = report;
  const device = report.device === 'memory' ? '' : ` on ${report.device}`;
  const title = style.bold(
    `4 KiB block store against its splits${device}, MPS ${mps}, BAR ${above4GiB ? 'above' : 'below'} 4 GiB`,
  );
  return [title, ways, random, refusals, verdict].join('\n\n');
}
