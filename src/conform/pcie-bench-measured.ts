/** Measured curves of pcie-bench vectors: read, checked against themselves and against what no link can exceed. */
import { invalid } from '../base/errors.js';
import { parseLink } from '../base/link.js';
import { wireLawGbps } from '../link/wire.js';
import { readPackets, type TransferSetting, wireSum, writePackets } from '../report/transfer-bytes.js';
import { numbersOf } from './case.js';
import { AGREE, attempt, failed, type Tally, type Verdict } from './report.js';

/** How every system was measured: the adapter's link and MPS, the MRRS that is kindest to reads (pcie-bench-model.md). */
const LINK = parseLink('gen3x8');
const SETTING: TransferSetting = {
  generation: LINK.generation,
  addressBits: 64,
  offset: 0,
  ecrc: false,
  options: { mps: 256, mrrs: 4096 },
};

/** L-50: writes alone in Gb/s by size, within the 3 % that measured figures are given. */
const WRITES: ReadonlyMap<number, number> = new Map([
  [64, 24.27],
  [128, 42.36],
  [256, 50.49],
  [512, 54.4],
]);
const MEASURED_TOLERANCE = 0.03;
/** L-51: no unloaded read is faster, in ns, from any size and from 64 bytes on. */
const LEAST_NS = 360;
const LEAST_NS_64 = 373;
/** L-52: what 2048 bytes take more than 64, in ns, as means of DMA reads. */
const GROWTH_NS = [568, 587] as const;
/** L-55: p99.9 over the median, on systems that are named so. */
const QUIET = 1.1;
const QUIET_SYSTEMS = /^(hsw2620|bdw-local)(-|$)/;
/** A system is noisy where a p99.9 is more than twice its median. */
const NOISY = 2;
/** Part of a table that may be outliers of a single run. */
const OUTLIERS = 1 / 3;

/** Takes every table of one system into `tally`. */
export function judgeMeasured(label: string, system: unknown, tally: Tally): void {
  const tables = typeof system === 'object' && system !== null ? Object.entries(system) : [];
  if (tables.length === 0) tally.add('measured', label, failed('no tables'));
  for (const [name, rows] of tables) {
    if (name === 'directory') continue;
    const kind = KINDS.find(([pattern]) => pattern.test(name));
    if (kind === undefined) {
      tally.addUnsupported(`measured.${label}.${name}`, Array.isArray(rows) ? Math.max(1, rows.length) : 1);
      continue;
    }
    tally.add(
      'measured',
      `${label}.${name}`,
      attempt(() => (Array.isArray(rows) ? kind[1](rows, name, label) : failed('rows are no list'))),
    );
  }
}

type Judge = (rows: readonly unknown[], name: string, label: string) => Verdict;

const KINDS: readonly (readonly [RegExp, Judge])[] = [
  [/^LAT_(DMA|CMD)_(RD|WRRD)$/, judgeLatency],
  [/^BW_DMA_(RD|WR|RW)$/, judgeBandwidth],
  [/^win_(rd|wr|rw)_\d+_\w+$/, judgeWindow],
  [/^lat(cmd)?win_rd_\d+_\w+$/, judgeLatencyWindow],
];

/** A bound that a row does not keep. */
function broken(what: string, bound: number, actual: number): Verdict {
  return { kind: 'disagree', expected: { [what]: bound }, actual: { [what]: actual } };
}

function judgeLatency(rows: readonly unknown[], name: string, label: string): Verdict {
  const table = rows.map((row) => {
    const [size = 0, mean = 0, median = 0, least = 0, p95 = 0, p999 = 0] = numbersOf(row, 6);
    return { size, mean, median, least, p95, p999 };
  });
  for (const { size, mean, median, least, p95, p999 } of table) {
    if (!(least <= median && median <= p95 && p95 <= p999 && least <= mean))
      return failed(`${size} bytes: minimum, median, p95 and p99.9 are not in order`);
    const bound = size < 64 ? LEAST_NS : LEAST_NS_64;
    if (least < bound) return broken(`L-51: minimum of ${size} bytes in ns`, bound, least);
  }
  if (name !== 'LAT_DMA_RD') return AGREE;
  const isNoisy = table.some(({ median, p999 }) => p999 > NOISY * median);
  const meanOf = (bytes: number): number => table.find(({ size }) => size === bytes)?.mean ?? Number.NaN;
  const growth = Math.round(meanOf(2048) - meanOf(64));
  if (growth < GROWTH_NS[0] || growth > GROWTH_NS[1]) {
    if (isNoisy) return { kind: 'documented', rule: 'L-52 holds for quiet systems; this one is not' };
    return broken(
      'L-52: growth from 64 to 2048 bytes in ns',
      GROWTH_NS[growth < GROWTH_NS[0] ? 0 : 1],
      growth,
    );
  }
  return QUIET_SYSTEMS.test(label) ? judgeQuiet(table) : AGREE;
}

/** L-55; a few sizes of a run may be disturbed. */
function judgeQuiet(
  table: readonly { readonly size: number; readonly median: number; readonly p999: number }[],
): Verdict {
  const above = table.filter(({ median, p999 }) => p999 > QUIET * median);
  if (above.length === 0) return AGREE;
  const list = above.map(({ size, median, p999 }) => `${size} B ${(p999 / median).toFixed(2)}`).join(', ');
  if (above.length > OUTLIERS * table.length)
    return { kind: 'disagree', expected: 'L-55: p99.9 within 1.1 of the median', actual: list };
  return { kind: 'documented', rule: `L-55: p99.9 over the median is above 1.1 at some sizes: ${list}` };
}

/** Gb/s of the wire law for transfers of `size` bytes, by the letters of a table's name. */
function wireLaw(op: string, size: number): number {
  const write = wireSum(writePackets(size, SETTING));
  const reads = readPackets(size, SETTING);
  const requests = wireSum(reads.map(({ request }) => request));
  const completions = wireSum(reads.flatMap((read) => read.completions));
  const most =
    op === 'wr'
      ? write
      : op === 'rd'
        ? Math.max(requests, completions)
        : Math.max(write + requests, completions);
  return wireLawGbps(LINK, size, most);
}

/** A rate and its number of transactions say the same, and the link can carry it. */
function judgeRate(size: number, law: number, gbps: number, perSecond: number): Verdict {
  const fromCount = (size * 8 * perSecond) / 1e9;
  if (Math.abs(fromCount - gbps) > 0.001 + 1e-4 * gbps)
    return broken(`${size} bytes: Gb/s by the number of transactions`, fromCount, gbps);
  return gbps > law ? broken(`L-50: ${size} bytes: Gb/s, at most`, law, gbps) : AGREE;
}

function judgeBandwidth(rows: readonly unknown[], name: string): Verdict {
  const op = name.slice(-2).toLowerCase();
  let verdict: Verdict = AGREE;
  for (const row of rows) {
    const [size = 0, gbps = 0, perSecond = 0] = numbersOf(row, 3);
    const one = judgeRate(size, wireLaw(op, size), gbps, perSecond);
    if (one.kind === 'disagree') return one;
    const known = op === 'wr' ? WRITES.get(size) : undefined;
    if (known !== undefined && Math.abs(gbps - known) > MEASURED_TOLERANCE * known) {
      const rule = `L-50: ${size} B writes: ${gbps} Gb/s where other systems have ${known}`;
      verdict = { kind: 'documented', rule };
    }
  }
  return verdict;
}

/** Bytes of a window as the tables write it: `4KB`, `1.5MB`. */
function readWindow(value: unknown): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(KB|MB|GB)$/.exec(value) : null;
  return match === null
    ? Number.NaN
    : Number(match[1]) * 1024 ** (['KB', 'MB', 'GB'].indexOf(match[2] ?? '') + 1);
}

/** The figures of a row behind its window; the windows have to grow. */
function windowRows(rows: readonly unknown[], columns: number): number[][] {
  let before = 0;
  return rows.map((row) => {
    const [window, ...rest] = Array.isArray(row) ? row : [];
    const bytes = readWindow(window);
    if (!(bytes > before)) throw invalid('window', window, 'a size above the one before', 'malformed');
    before = bytes;
    return numbersOf(rest, columns);
  });
}

function judgeWindow(rows: readonly unknown[], name: string): Verdict {
  const [, op = '', digits = ''] = name.split('_');
  const size = Number(digits);
  const law = wireLaw(op, size);
  for (const [gbps = 0, perSecond = 0] of windowRows(rows, 2)) {
    const verdict = judgeRate(size, law, gbps, perSecond);
    if (verdict.kind === 'disagree') return verdict;
  }
  return AGREE;
}

function judgeLatencyWindow(rows: readonly unknown[], name: string): Verdict {
  const size = Number(name.split('_')[2]);
  const bound = size < 64 ? LEAST_NS : LEAST_NS_64;
  for (const [mean = 0, median = 0] of windowRows(rows, 2)) {
    const least = Math.min(mean, median);
    if (least < bound) return broken(`L-51: ${size} bytes in ns, at least`, bound, least);
  }
  return AGREE;
}
