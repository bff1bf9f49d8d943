/** The pcie-bench vectors: all of them agree, changed ones are found, and no file stops the run in another way. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it, test } from 'vitest';
import { conformVectors, type FileReport, hasDisagreement } from '../../src/conform/index.js';
import { type AnyCase, BUILDS, errorOf, readVectors, useCore } from './support.js';

const FILE = 'pcie-bench-model.json';
const FORMAT = 'pcie-bench-vectors/1';

let vectors: AnyCase;

beforeAll(async () => {
  vectors = (await readVectors(FILE)) as AnyCase;
});

function run(content: AnyCase): FileReport {
  return conformVectors(FILE, { format: FORMAT, ...content });
}

/** One configuration and one measured system, with a few rows of each table, changed by `change`. */
function changed(change: (copy: AnyCase) => void): FileReport {
  const { mem, nic, ...config } = vectors.configs.g3x8;
  const copy: AnyCase = structuredClone({
    configs: { g3x8: { ...config, mem: mem.slice(60, 63), nic: nic.slice(3, 5) } },
    rawGbps: { gen3: vectors.rawGbps.gen3 },
    tlpGbps: { gen3: { x8: vectors.tlpGbps.gen3.x8 } },
    ackLimitSymbols: { gen2: { x32: vectors.ackLimitSymbols.gen2.x32 } },
    measured: { systems: { hsw2620: vectors.measured.systems.hsw2620 } },
  });
  change(copy);
  return run(copy);
}

const unchanged = (): void => undefined;

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => useCore(build));

  it('agrees with every row of every configuration and every table', () => {
    const report = conformVectors(FILE, vectors);
    const counts = (name: string, cases: number, documented = 0) => ({
      name,
      cases,
      agree: cases - documented,
      documented,
      disagree: 0,
    });
    expect(report.groups).toEqual([
      counts('rawGbps', 30),
      counts('tlpGbps', 108),
      counts('ackLimitSymbols', 108, 1),
      counts('const', 7),
      counts('mem', 1865),
      counts('nic', 158),
      counts('measured', 144, 2),
    ]);
    expect(report.unsupported).toBeUndefined();
    expect(hasDisagreement(report)).toBe(false);
  });

  it('lists the typing error of the table, and the disturbed sizes of two measured systems (L-55)', () => {
    const { deviations } = conformVectors(FILE, vectors);
    expect(deviations.map(({ id, rule }) => [id, rule.slice(0, 40)])).toEqual([
      ['ackLimitSymbols.gen2.x32.4096', 'the table of the model has 237, a typing'],
      ['bdw-local.LAT_DMA_RD', 'L-55: p99.9 over the median is above 1.1'],
      ['hsw2620.LAT_DMA_RD', 'L-55: p99.9 over the median is above 1.1'],
    ]);
  });

  it('takes the typing errors of the tables into the rates, as the model does', () => {
    const { groups } = run({ tlpGbps: { gen1: { x32: { 2048: vectors.tlpGbps.gen1.x32[2048] } } } });
    expect(groups).toEqual([{ name: 'tlpGbps', cases: 1, agree: 1, documented: 0, disagree: 0 }]);
  });
});

/** What is changed, how, and the id that then disagrees. */
const CHANGES: readonly (readonly [what: string, id: string, change: (copy: AnyCase) => void])[] = [
  ['a raw rate', 'rawGbps.gen3.x8', (copy) => (copy.rawGbps.gen3.x8 += 1e-5)],
  ['a raw rate that is text', 'rawGbps.gen3.x8', (copy) => (copy.rawGbps.gen3.x8 = '63')],
  ['a generation of flits', 'rawGbps.gen6.x8', (copy) => (copy.rawGbps.gen6 = { x8: 484 })],
  ['a width that no table has', 'rawGbps.gen3.x12', (copy) => (copy.rawGbps.gen3.x12 = 94.5)],
  ['no table of a generation', 'rawGbps.gen3', (copy) => (copy.rawGbps.gen3 = 5)],
  ['a rate of TLPs', 'tlpGbps.gen3.x8.256', (copy) => (copy.tlpGbps.gen3.x8[256] *= 1 + 3e-8)],
  ['an MPS that does not exist', 'tlpGbps.gen3.x8.64', (copy) => (copy.tlpGbps.gen3.x8[64] = 1)],
  ['a limit', 'ackLimitSymbols.gen2.x32.128', (copy) => (copy.ackLimitSymbols.gen2.x32[128] = 85)],
  ['a constant', 'g3x8', (copy) => (copy.configs.g3x8.const.ackLimit = 204)],
  ['a lost constant', 'g3x8', (copy) => delete copy.configs.g3x8.const.mrdHdr],
  ['a constant that is not known', 'g3x8', (copy) => (copy.configs.g3x8.const.more = 1)],
  ['a write', 'g3x8.mem#1', (copy) => (copy.configs.g3x8.mem[1][1] *= 1 + 3e-8)],
  ['a read', 'g3x8.mem#2', (copy) => (copy.configs.g3x8.mem[2][2] = 0)],
  ['a read beside a write', 'g3x8.mem#0', (copy) => (copy.configs.g3x8.mem[0][6] += 1)],
  ['a row that is too long', 'g3x8.mem#0', (copy) => copy.configs.g3x8.mem[0].push(1)],
  ['a row that is no list', 'g3x8.mem#0', (copy) => (copy.configs.g3x8.mem[0] = {})],
  ['a size of 0', 'g3x8.mem#0', (copy) => (copy.configs.g3x8.mem[0][0] = 0)],
  ['a size with a fraction', 'g3x8.nic#0', (copy) => (copy.configs.g3x8.nic[0][0] = 64.5)],
  ['a frame without data', 'g3x8.nic#0', (copy) => (copy.configs.g3x8.nic[0][0] = 4)],
  ['an adapter', 'g3x8.nic#1', (copy) => (copy.configs.g3x8.nic[1][9] *= 0.99)],
  [
    'a rate above the wire law (L-50)',
    'hsw2620.BW_DMA_WR',
    (copy) => (copy.measured.systems.hsw2620.BW_DMA_WR[6] = [256, 57.7, 57.7e9 / 2048]),
  ],
  [
    'a rate that its count contradicts',
    'hsw2620.BW_DMA_RD',
    (copy) => (copy.measured.systems.hsw2620.BW_DMA_RD[6][1] -= 1),
  ],
  [
    'a read faster than any (L-51)',
    'hsw2620.LAT_CMD_RD',
    (copy) => (copy.measured.systems.hsw2620.LAT_CMD_RD[0][3] = 359),
  ],
  [
    'a median above its p95',
    'hsw2620.LAT_DMA_WRRD',
    (copy) => (copy.measured.systems.hsw2620.LAT_DMA_WRRD[0][2] = 9999),
  ],
  [
    'a latency that does not grow (L-52)',
    'hsw2620.LAT_DMA_RD',
    (copy) => (copy.measured.systems.hsw2620.LAT_DMA_RD[14][1] += 50),
  ],
  [
    'a tail on every size (L-55)',
    'hsw2620.LAT_DMA_RD',
    (copy) => {
      for (const row of copy.measured.systems.hsw2620.LAT_DMA_RD) row[5] = Math.ceil(1.2 * row[2]);
    },
  ],
  [
    'windows in another order',
    'hsw2620.win_rd_64_HWarm',
    (copy) => copy.measured.systems.hsw2620.win_rd_64_HWarm.reverse(),
  ],
  [
    'a window that is a number',
    'hsw2620.latwin_rd_64_Cold',
    (copy) => (copy.measured.systems.hsw2620.latwin_rd_64_Cold[0][0] = 8192),
  ],
  ['rows that are no list', 'hsw2620.BW_DMA_RW', (copy) => (copy.measured.systems.hsw2620.BW_DMA_RW = 7)],
  ['a system without tables', 'bdw', (copy) => (copy.measured.systems.bdw = null)],
];

describe('changes', () => {
  beforeAll(() => useCore('release'));

  it('none of them: nothing disagrees', () => {
    expect(hasDisagreement(changed(unchanged))).toBe(false);
  });

  test.each(CHANGES)('%s is found', (_what, id, change) => {
    const { disagreements } = changed(change);
    expect(disagreements.map((entry) => entry.id)).toEqual([id]);
    expect(JSON.stringify(disagreements)).not.toContain('\\n');
  });

  test.each([
    ['a link', { lanes: 'x3' }],
    ['a generation', { gen: 'gen6' }],
    ['an address width', { addrBits: 48 }],
    ['an MPS', { mps: 100 }],
    ['a flag', { ecrc: 2 }],
    ['a field that is not known', { flit: true }],
  ])('%s that the model does not have fails every row of its configuration', (_what, cfg) => {
    const report = changed((copy) => Object.assign(copy.configs.g3x8.cfg, cfg));
    const ids = ['g3x8', 'g3x8.mem#0', 'g3x8.mem#1', 'g3x8.mem#2', 'g3x8.nic#0', 'g3x8.nic#1'];
    expect(report.disagreements.map(({ id }) => id)).toEqual(ids);
  });

  it('a noisy system may break L-52 and L-50, and that is said', () => {
    const report = changed((copy) => {
      const { hsw2620 } = copy.measured.systems;
      hsw2620.LAT_DMA_RD[14][1] += 50;
      hsw2620.LAT_DMA_RD[0][5] = 9999;
      const row = hsw2620.BW_DMA_WR.find(([size]: number[]) => size === 256);
      row[1] = 40;
      row[2] = 40e9 / 2048;
    });
    expect(report.disagreements).toEqual([]);
    const rules = report.deviations.filter(({ group }) => group === 'measured').map(({ rule }) => rule);
    expect(rules).toEqual([
      'L-52 holds for quiet systems; this one is not',
      'L-50: 256 B writes: 40 Gb/s where other systems have 50.49',
    ]);
  });

  it('counts what nobody knows, so that no case passes by being overlooked', () => {
    const report = changed((copy) => {
      copy.fcLimitSymbols = { gen1: {}, gen2: {} };
      copy.configs.g3x8.ssd = [[1], [2], [3]];
      copy.measured.systems.hsw2620.BW_PIO = [[1]];
    });
    expect(report.unsupported).toEqual([
      { name: 'g3x8.ssd', cases: 3 },
      { name: 'measured.hsw2620.BW_PIO', cases: 1 },
      { name: 'fcLimitSymbols', cases: 2 },
    ]);
  });

  test.each<[string, AnyCase, RegExp]>([
    ['no group', {}, /no group of cases.*measured/],
    ['configurations as a list', { configs: [] }, /configs: a list is not valid/],
    ['rates that are null', { rawGbps: null }, /rawGbps: null/],
    ['rows that are no list', { configs: { a: { mem: 5 } } }, /configs\.a\.mem: 5/],
    ['systems as a list', { measured: { systems: [] } }, /systems: a list/],
  ])('%s is refused as a file', async (_what, content, pattern) => {
    const error = await errorOf(() => run(content));
    expect(error).toMatchObject({ code: 'malformed' });
    expect(error.message).toMatch(pattern);
  });

  it('whatever a file holds, the counts add up or one error says why not', () => {
    const value = fc.oneof(
      fc.double(),
      fc.constantFrom(null, true, '', 'gen3', 'x8', '__proto__', 2 ** 60, -1, 256),
      fc.array(fc.oneof(fc.double(), fc.constantFrom('4KB', '1MB', 64, null)), { maxLength: 7 }),
      fc.dictionary(
        fc.constantFrom('gen3', 'x8', '256', 'cfg', 'mem', 'BW_DMA_WR', 'LAT_DMA_RD'),
        fc.jsonValue(),
      ),
      fc.jsonValue(),
    );
    const names = fc.constantFrom('configs', 'rawGbps', 'tlpGbps', 'ackLimitSymbols', 'measured', 'more');
    const inner = fc.dictionary(fc.constantFrom('gen3', 'g3x8', 'systems', '__proto__', 'x8'), value);
    fc.assert(
      fc.property(fc.dictionary(names, fc.oneof(inner, value)), (content) => {
        try {
          for (const { cases, agree, documented, disagree } of run(content as AnyCase).groups)
            expect(agree + documented + disagree).toBe(cases);
        } catch (error) {
          expect(error).toMatchObject({ name: 'ZtlpError', code: 'malformed' });
        }
      }),
      { numRuns: 300 },
    );
  });
});
