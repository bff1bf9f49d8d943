/** Runs `pcie-bench-vectors/1`: the compatible calculator against the model's curves, and the measured curves against bounds. */
import { invalid, ZtlpError } from '../base/errors.js';
import {
  type BenchConfig,
  benchAckInterval,
  benchFcInterval,
  benchHeaders,
  benchMemory,
  benchNic,
  benchRawGbps,
  benchTlpGbps,
  checkBenchConfig,
} from '../link/pcie-bench.js';
import { ackLimit, type TimerWidth } from '../link/timers.js';
import { CaseFields, finite, numbersOf } from './case.js';
import { judgeMeasured } from './pcie-bench-measured.js';
import { attempt, type Json, judge, type Tally, type Verdict } from './report.js';

type Record_ = Readonly<Record<string, unknown>>;

/** Figures have nine digits: what is nearer than this is the same number. */
const TOLERANCE = 1e-8;

const TYPING_ERROR =
  'the table of the model has 237, a typing error of 327; the formula holds for the others';

/** Groups of the file at its top level; everything else in it is counted as not supported. */
const KNOWN = ['format', 'meta', 'configs', 'rawGbps', 'tlpGbps', 'ackLimitSymbols', 'measured'];

/** Takes the cases of such a file into `tally`. Throws when it is not of its format. */
export function runPcieBench(json: Record_, tally: Tally): void {
  const groups = KNOWN.slice(2).filter((name) => Object.hasOwn(json, name));
  if (groups.length === 0)
    throw new ZtlpError('malformed', 'it has no group of cases', { allowed: KNOWN.slice(2).join(', ') });
  // Shape first: a file that does not follow its format is not run in part.
  const [configs, raw, tlp, ack, measured] = KNOWN.slice(2).map((name) => recordOf(json, name));
  const systems = measured === undefined ? undefined : recordOf(measured, 'systems');
  for (const [name, cells] of [
    ['rawGbps', cellsOf(raw ?? {}, 2)],
    ['tlpGbps', cellsOf(tlp ?? {}, 3)],
    ['ackLimitSymbols', cellsOf(ack ?? {}, 3)],
  ] as const) {
    for (const { path, value } of cells)
      tally.add(
        name,
        `${name}.${path.join('.')}`,
        attempt(() => judgeCell(name, path, value)),
      );
  }
  for (const [name, config] of Object.entries(configs ?? {})) runConfig(name, config, tally);
  for (const [name, system] of Object.entries(systems ?? {})) judgeMeasured(name, system, tally);
  for (const [name, value] of Object.entries(json))
    if (!KNOWN.includes(name)) tally.addUnsupported(name, sizeOf(value));
}

/** A field that has to be an object where it is there at all. */
function recordOf(json: Record_, name: string): Record_ | undefined {
  if (!Object.hasOwn(json, name)) return undefined;
  const value = json[name];
  if (isRecord(value)) return value;
  throw invalid(name, value, 'an object', 'malformed');
}

function isRecord(value: unknown): value is Record_ {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Cases in a part of a file that nobody knows: its rows or entries, at least one. */
function sizeOf(value: unknown): number {
  if (Array.isArray(value)) return Math.max(1, value.length);
  return isRecord(value) ? Math.max(1, Object.keys(value).length) : 1;
}

interface Cell {
  readonly path: readonly string[];
  readonly value: unknown;
}

/** The leaves of nested tables; what is no table where one should be is a leaf that cannot agree. */
function cellsOf(table: unknown, depth: number, path: readonly string[] = []): Cell[] {
  if (depth === 0 || !isRecord(table)) return [{ path, value: table }];
  return Object.entries(table).flatMap(([name, inner]) => cellsOf(inner, depth - 1, [...path, name]));
}

/** `actual`, or `expected` itself when the two are the same but for rounding. */
function rounded(actual: number, expected: number): number {
  return Math.abs(actual - expected) <= TOLERANCE * Math.abs(expected) ? expected : actual;
}

/** Equal but for rounding, name by name. */
function judgeNumbers(
  expected: Readonly<Record<string, number>>,
  actual: Readonly<Record<string, number>>,
): Verdict {
  const near = Object.entries(actual).map(([name, value]): [string, Json] => {
    return [name, rounded(value, expected[name] ?? Number.NaN)];
  });
  return judge(expected, Object.fromEntries(near));
}

function prefixed(field: string, text: unknown, prefix: string): number {
  const digits = typeof text === 'string' ? new RegExp(`^${prefix}([1-9]\\d*)$`).exec(text)?.[1] : undefined;
  if (digits === undefined) throw invalid(field, text, `${prefix} and a number`, 'malformed');
  return Number(digits);
}

/** One figure of a table by generation, width and perhaps MPS. */
function judgeCell(group: string, path: readonly string[], value: unknown): Verdict {
  const [gen, width, size] = path;
  const generation = prefixed('generation', gen, 'gen') as BenchConfig['generation'];
  const lanes = prefixed('lanes', width, 'x') as BenchConfig['lanes'];
  const mps = group === 'rawGbps' ? 128 : prefixed('mps', size, '');
  checkBenchConfig({ ...ANY, generation, lanes, mps });
  const expected = finite(path.join('.'), value);
  if (group === 'rawGbps')
    return judgeNumbers({ gbps: expected }, { gbps: benchRawGbps({ generation, lanes }) });
  if (group === 'tlpGbps')
    return judgeNumbers({ gbps: expected }, { gbps: benchTlpGbps({ generation, lanes, mps }) });
  const limit = ackLimit(generation, lanes, mps);
  if (limit !== expected && benchAckInterval(generation, lanes, mps) === expected)
    return { kind: 'documented', rule: TYPING_ERROR };
  return judge({ symbols: expected }, { symbols: limit });
}

/** The rest of a configuration where a table does not depend on it. */
const ANY = { addressBits: 64, ecrc: false, mrrs: 512, rcb: 64, rcbChunks: false } as const;

export function readConfig(fields: CaseFields): BenchConfig {
  const config = {
    generation: prefixed('gen', fields.text('gen'), 'gen') as BenchConfig['generation'],
    lanes: prefixed('lanes', fields.text('lanes'), 'x') as BenchConfig['lanes'],
    addressBits: fields.integer('addrBits') as BenchConfig['addressBits'],
    ecrc: fields.flag('ecrc'),
    mps: fields.integer('mps'),
    mrrs: fields.integer('mrrs'),
    rcb: fields.integer('rcb'),
    rcbChunks: fields.boolean('rcbChunks'),
  };
  fields.done();
  return checkBenchConfig(config);
}

/** Columns of the rows of a configuration, behind the size. */
const MEMORY = ['write', 'readData', 'readRequests', 'readCompletions', 'bothWrite', 'bothRead'] as const;
const DESIGNS = ['simple', 'kernel', 'dpdk'] as const;
const NIC = DESIGNS.flatMap((design) => [`${design}Both`, `${design}Transmit`, `${design}Receive`]);

function runConfig(name: string, value: unknown, tally: Tally): void {
  const entry: Record_ = isRecord(value) ? value : {};
  const read = (): BenchConfig => readConfig(new CaseFields(entry.cfg, 'cfg.'));
  tally.add(
    'const',
    name,
    attempt(() => judgeConstants(read(), new CaseFields(entry.const, 'const.'))),
  );
  for (const group of ['mem', 'nic'] as const) {
    const rows = entry[group];
    if (rows === undefined) continue;
    if (!Array.isArray(rows)) throw invalid(`configs.${name}.${group}`, rows, 'a list of rows', 'malformed');
    rows.forEach((row: unknown, index) => {
      const run = (): Verdict => (group === 'mem' ? judgeMemory(read(), row) : judgeNic(read(), row));
      tally.add(group, `${name}.${group}#${index}`, attempt(run));
    });
  }
  for (const part of Object.keys(entry))
    if (!['cfg', 'const', 'mem', 'nic'].includes(part))
      tally.addUnsupported(`${name}.${part}`, sizeOf(entry[part]));
}

function judgeConstants(config: BenchConfig, fields: CaseFields): Verdict {
  const { generation, lanes, mps } = config;
  const width: TimerWidth = lanes;
  const headers = benchHeaders(config);
  const actual = {
    rawGbps: benchRawGbps(config),
    tlpGbps: benchTlpGbps(config),
    mwrHdr: headers.write,
    mrdHdr: headers.read,
    cpldHdr: headers.completion,
    ackLimit: benchAckInterval(generation, width, mps),
    fcGuide: benchFcInterval(generation, width, mps),
  };
  const expected = Object.fromEntries(Object.keys(actual).map((name) => [name, fields.number(name)]));
  fields.done();
  return judgeNumbers(expected, actual);
}

/** A row: its size, and its figures by column. */
function readRow(
  row: unknown,
  columns: readonly string[],
): { size: number; figures: Record<string, number> } {
  const [size = 0, ...rest] = numbersOf(row, columns.length + 1);
  return { size, figures: Object.fromEntries(columns.map((name, n) => [name, rest[n] as number])) };
}

function judgeMemory(config: BenchConfig, row: unknown): Verdict {
  const { size, figures } = readRow(row, MEMORY);
  return judgeNumbers(figures, { ...benchMemory(config, size) });
}

function judgeNic(config: BenchConfig, row: unknown): Verdict {
  const { size, figures } = readRow(row, NIC);
  const actual = DESIGNS.flatMap((design): [string, number][] => {
    const { both, transmit, receive } = benchNic(config, design, size);
    return [
      [`${design}Both`, both],
      [`${design}Transmit`, transmit],
      [`${design}Receive`, receive],
    ];
  });
  return judgeNumbers(figures, Object.fromEntries(actual));
}
