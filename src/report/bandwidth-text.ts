/** The throughput of a link by transfer size as a table for a terminal. */
import { measuredSizes, NFP6000 } from '../link/host-presets.js';
import { MEASURED_SOURCE } from '../link/measured-hosts.js';
import type { BandwidthReport, BandwidthRow, Figure } from './bandwidth.js';
import { type Style, wrap } from './style.js';
import { group, table } from './table.js';

/** A column: its title, and the cell of a row. All but the bound are numbers. */
interface Column {
  readonly title: string;
  readonly cell: (row: BandwidthRow) => string;
  readonly align?: 'left';
}

/** A number with `digits` decimal places and separators. */
function fixed(value: number, digits: number): string {
  const [whole = '', fraction] = value.toFixed(digits).split('.');
  return `${whole.replaceAll(/\B(?=(\d{3})+$)/g, ',')}${fraction === undefined ? '' : `.${fraction}`}`;
}

/** A difference in percent, with its sign. */
function percent(difference: number | undefined): string {
  if (difference === undefined) return '-';
  const text = (100 * difference).toFixed(1);
  return difference > 0 ? `+${text}` : text;
}

function figure(title: string, of: (row: BandwidthRow) => Figure | undefined): Column[] {
  return [
    {
      title: `${title}\nGb/s`,
      cell: (row) => {
        const found = of(row);
        return found === undefined ? '-' : fixed(found.gbps, 3);
      },
    },
    { title: 'diff\n%', cell: (row) => percent(of(row)?.difference) },
  ];
}

function columnsOf(report: BandwidthReport): Column[] {
  const isWriting = report.op === 'write';
  return [
    { title: 'size', cell: (row) => group(row.size) },
    { title: 'TLPs', cell: (row) => group(row.tlps) },
    { title: isWriting ? 'wire\nbytes' : 'bytes\nup', cell: (row) => group(row.upBytes) },
    ...(isWriting ? [] : [{ title: 'bytes\ndown', cell: (row: BandwidthRow) => group(row.downBytes) }]),
    { title: 'wire\nGb/s', cell: (row) => fixed(row.wireGbps, 3) },
    { title: 'wire\nGB/s', cell: (row) => fixed(row.gigabytesPerSecond, 3) },
    { title: 'M\nTLP/s', cell: (row) => fixed(row.tlpsPerSecond / 1e6, 3) },
    { title: 'eff\n%', cell: (row) => fixed(100 * row.efficiency, 1) },
    { title: 'bound by', cell: (row) => row.bound, align: 'left' },
    { title: 'limit\nGb/s', cell: (row) => fixed(row.limitGbps, 3) },
    ...(report.model === undefined ? [] : figure(report.model, (row) => row.model)),
    ...(report.simulate ? figure('simulated', (row) => row.simulated) : []),
    ...(report.preset === undefined ? [] : figure('measured', (row) => row.measured)),
    ...(report.simulate && report.preset !== undefined
      ? [{ title: 'sim err\n%', cell: (row: BandwidthRow) => percent(row.simulationError) }]
      : []),
  ];
}

function headline(report: BandwidthReport): string {
  const { op, link, rawGbps, addressBits, offset, ecrc, mps, mrrs, rcb } = report;
  const what = { write: 'Writes', read: 'Reads', both: 'Reads and writes at once, at the same rate,' }[op];
  const sizes = op === 'write' ? `MPS ${mps}` : `MPS ${mps}, MRRS ${mrrs}, RCB ${rcb}`;
  const parts = [
    `${link} (${fixed(rawGbps, 3)} Gb/s raw)`,
    sizes,
    `${addressBits === 64 ? 4 : 3} DW headers`,
    ...(ecrc ? ['ECRC'] : []),
    ...(offset === 0 ? [] : [`offset ${offset}`]),
  ];
  return `${what} on ${parts.join(', ')}`;
}

/** Sizes for a note: all of a few, the ends of many. */
function sizeList(rows: readonly BandwidthRow[]): string {
  const sizes = rows.map(({ size }) => group(size));
  return sizes.length <= 4 ? sizes.join(', ') : `${sizes[0]} to ${sizes.at(-1)} (${sizes.length} sizes)`;
}

function boundNotes(report: BandwidthReport): string[] {
  const { op, credits, tags, latencyNs, linkLatencyNs, skpShare, rows, preset } = report;
  const notes = [
    op === 'both'
      ? 'up: written data and read requests; down: completions; rates are those of each direction'
      : op === 'read'
        ? 'up: requests; down: completions'
        : '',
    'wire: payload when the wire alone limits, without DLLPs; limit: the lowest bound; TLPs: requests and completions',
  ];
  if (skpShare > 0) notes.push(`SKP ordered sets take ${(100 * skpShare).toFixed(3)} % of the wire`);
  if (credits !== undefined)
    notes.push(`credits: ${credits} of a root port, freed at once; linkLatencyNs ${linkLatencyNs} each way`);
  if (tags !== undefined) {
    const time = latencyNs === undefined ? 'the time of the link alone (give --latency)' : `${latencyNs} ns`;
    notes.push(`tags: ${tags} reads under way, each for ${time}`);
  }
  if (preset !== undefined) {
    const { writeIntervalNs, readIntervalNs } = NFP6000;
    notes.push(
      `issue: the adapter begins a write every ${writeIntervalNs} ns, a read every ${readIntervalNs} ns`,
      'limits of the adapter and latencies are means: what was measured may lie a few percent above the limit',
    );
  }
  const late = rows.filter((row) => row.lateUpdateGbps !== undefined);
  if (late.length > 0) {
    const least = Math.min(...late.map((row) => row.lateUpdateGbps ?? Number.POSITIVE_INFINITY));
    notes.push(
      `late UpdateFC: with each at its limit, credits leave between ${fixed(least, 3)} Gb/s and the limit at ${sizeList(late)}`,
    );
  }
  return notes.filter((note) => note !== '');
}

function comparisonNotes({ model, simulate, preset, options }: BandwidthReport): string[] {
  const notes: string[] = [];
  if (model !== undefined)
    notes.push(
      'pcie-bench: that model with its known errors: DLLPs cost the data direction, as if a symbol time of one lane ' +
        'were a byte time of the link (x8 7 to 8 % low, x16 9 to 10 %); SKP always on; no padding to DWs',
    );
  if (preset !== undefined)
    notes.push(
      measuredSizes(preset).length === 0
        ? `measured: no curve of ${preset} is at hand, latencies only`
        : `measured: ${preset}, ${MEASURED_SOURCE}`,
    );
  if (simulate)
    notes.push(
      'simulated: event by event, from an idle link on, with Ack and UpdateFC at their limits; "-": above 4 KiB, no whole ' +
        'DWs, or of no size that divides MPS and MRRS or is a multiple of them',
    );
  const against = [
    ...(model === undefined ? [] : ['the model against the wire']),
    ...(simulate ? ['the simulation against the limit'] : []),
    ...(preset === undefined ? [] : ['what was measured against the limit']),
  ];
  if (simulate && preset !== undefined) notes.push('sim err: the simulation against what was measured');
  if (against.length > 0) notes.push(`diff: ${against.join(', ')}`);
  const given = Object.entries(options);
  if (given.length > 0)
    notes.push(`options given: ${given.map(([name, value]) => `${name}=${value}`).join(', ')}`);
  return notes;
}

/** Columns that notes fill at most. */
const NOTE_WIDTH = 100;

/** The whole report as text; a table wider than `width` columns is folded. */
export function formatBandwidth(
  report: BandwidthReport,
  style: Style,
  width = Number.POSITIVE_INFINITY,
): string {
  const columns = columnsOf(report);
  const drawn = table(
    columns.map(({ title }) => title),
    report.rows.map((row) => columns.map(({ cell }) => cell(row))),
    { align: columns.map(({ align }) => align ?? 'right'), style, width },
  );
  const notes = [...boundNotes(report), ...comparisonNotes(report)];
  const lines = notes.flatMap((note) => wrap(note, Math.min(width, NOTE_WIDTH)));
  return [style.bold(headline(report)), drawn, style.dim(lines.join('\n'))].join('\n\n');
}
