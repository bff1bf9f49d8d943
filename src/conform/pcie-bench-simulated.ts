/** The simulated link beside the published curves of pcie-bench: how far above them it has to be, and is. */
import { type Link, parseLink, wireNs } from '../base/link.js';
import { type BenchConfig, benchAckInterval, benchFcInterval } from '../link/pcie-bench.js';
import { REFRESH_NS } from '../link/ports.js';
import { dllpShare } from '../link/timers.js';
import { skpRatio } from '../link/wire.js';
import { canSimulate, simulateTransfers } from '../report/simulated-transfers.js';
import { CaseFields, numbersOf } from './case.js';
import { readConfig } from './pcie-bench.js';
import { AGREE, type FileReport, failed, Tally, type Verdict } from './report.js';

const OPS = ['write', 'read', 'both'] as const;
type Op = (typeof OPS)[number];

/** Column of each direction in a row of a configuration. */
const COLUMNS: Readonly<Record<Op, number>> = { write: 1, read: 2, both: 6 };
const ROW = 7;

/** Sizes of a configuration that are run, spread over its rows, and configurations of one file. */
const MOST_SIZES = 8;
const MOST_CONFIGS = 64;
const LEAST_BYTES = 16;
const LINK_NS = 75;
const TLPS = 10_000;
const CLASSES = 3;
const ROUNDING = 1e-3;

/** How far above the model the simulation may be, as a part of the model's rate. */
interface Range {
  readonly low: number;
  readonly high: number;
}

/**
 * That model takes 8/A + 8/F + 4/1538 off the wire law, A and F being its intervals in symbols, whatever the direction
 * of the data and the width. The simulation takes off SKP, and at most one Ack and one UpdateFC per interval of all
 * lanes, the refreshes of three classes and the start, two ways and a transfer, all of that only where DLLPs share the
 * direction that limits. What lies between is the tolerance.
 */
function rangeOf(config: BenchConfig, link: Link, size: number, gbps: number): Range {
  const { generation, lanes, mps } = config;
  const left = 1 - 8 / benchAckInterval(generation, lanes, mps) - 8 / benchFcInterval(generation, lanes, mps);
  const model = left - 4 / 1538;
  const skp = skpRatio(generation, { skp: 'on' });
  const most = skp.over / skp.under;
  const refreshes = wireNs(link, CLASSES * 8) / REFRESH_NS;
  const runNs = (8 * Math.ceil(TLPS / Math.ceil(size / mps)) * size) / gbps;
  const start = (2 * LINK_NS + 2 * wireNs(link, size + 64)) / runNs;
  const low = most * (1 - 2 * dllpShare(link, mps) - refreshes) * (1 - start);
  return { low: low / model - 1 - ROUNDING, high: most / model - 1 + ROUNDING };
}

/** Rows of a configuration that can be simulated in every direction. */
function rowsOf(rows: unknown, { mps, mrrs }: BenchConfig): number[][] {
  const found = (Array.isArray(rows) ? rows : []).flatMap((row: unknown): number[][] => {
    try {
      const numbers = numbersOf(row, ROW);
      const [size = 0] = numbers;
      return size >= LEAST_BYTES && canSimulate({ op: 'both', size, mps, mrrs }) ? [numbers] : [];
    } catch {
      return []; // the group of all rows says what is wrong with it
    }
  });
  if (found.length <= MOST_SIZES) return found;
  const step = (found.length - 1) / (MOST_SIZES - 1);
  return Array.from({ length: MOST_SIZES }, (_, n) => found[Math.round(n * step)] as number[]);
}

function percent(part: number): string {
  return (100 * part).toFixed(1);
}

/** The configuration, where a link of the simulation has it. */
function configOf(value: unknown): { config: BenchConfig; link: Link; rows: unknown } | undefined {
  try {
    const entry = value as Readonly<Record<string, unknown>>;
    const config = readConfig(new CaseFields(entry.cfg, 'cfg.'));
    return { config, link: parseLink(`gen${config.generation}x${config.lanes}`), rows: entry.mem };
  } catch {
    return undefined; // as above; and there is no x32
  }
}

async function runConfig(name: string, value: unknown, tally: Tally): Promise<string[]> {
  const read = configOf(value);
  if (read === undefined) return [];
  const { config, link, rows } = read;
  const ranges: Range[] = [];
  const found: number[] = [];
  for (const row of rowsOf(rows, config)) {
    const [size = 0] = row;
    for (const op of OPS) {
      const gbps = await simulate(config, link, op, size);
      const above = gbps / (row[COLUMNS[op]] as number) - 1;
      const range = rangeOf(config, link, size, gbps);
      tally.add('simulated', `${name}.${op}.${size}`, verdictOf(above, range));
      ranges.push(range);
      found.push(above);
    }
  }
  if (found.length === 0) return [];
  const low = Math.min(...ranges.map((range) => range.low));
  const high = Math.max(...ranges.map((range) => range.high));
  const [least, most] = [Math.min(...found), Math.max(...found)];
  return [
    `  ${name} (${link.name}): ${percent(least)} to ${percent(most)}, allowed ${percent(low)} to ${percent(high)}`,
  ];
}

async function simulate(config: BenchConfig, link: Link, op: Op, size: number): Promise<number> {
  const { addressBits, ecrc, mps, mrrs, rcb, rcbChunks } = config;
  const gbps = await simulateTransfers({
    op,
    size,
    link: link.name,
    addressBits,
    ecrc,
    skp: true,
    skpInterval: undefined,
    mps,
    mrrs,
    rcb,
    completionPolicy: rcbChunks ? 'rcb' : 'fewest',
    tags: 1024,
    latencyNs: undefined,
    linkLatencyNs: LINK_NS,
    // That model has none.
    credits: 'infinite',
    tlps: TLPS,
  });
  return gbps ?? Number.NaN;
}

function verdictOf(above: number, { low, high }: Range): Verdict {
  if (above >= low && above <= high) return AGREE;
  if (!Number.isFinite(above)) return failed('the model has no rate to compare with');
  const expected = `simulation ${percent(low)} to ${percent(high)} % above the model`;
  return { kind: 'disagree', expected, actual: `${percent(above)} % above` };
}

/** The report of a file of that format with the group `simulated` and a line for each configuration. */
export async function addSimulation(
  report: FileReport,
  json: Readonly<Record<string, unknown>>,
): Promise<FileReport> {
  const configs = typeof json.configs === 'object' && json.configs !== null ? json.configs : {};
  const tally = new Tally();
  const lines: string[] = [];
  for (const [name, value] of Object.entries(configs).slice(0, MOST_CONFIGS))
    lines.push(...(await runConfig(name, value, tally)));
  if (lines.length === 0) return report;
  const simulated = tally.report(report.file, report.format);
  return {
    ...report,
    groups: [...report.groups, ...simulated.groups],
    disagreements: [...report.disagreements, ...simulated.disagreements],
    notes: [
      'simulated link, percent above that model, which charges Ack and UpdateFC to the data, as on one lane;',
      'allowed: between none of them and, with refreshes and the start, one of each per interval of all lanes',
      ...lines,
    ],
  };
}
