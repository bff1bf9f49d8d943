/** Throughput by transfer size: the laws of timing.md that concern whole transfers, bounds, presets, refused input. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLink, wireNs } from '../../src/base/link.js';
import { ready } from '../../src/index.js';
import { HOSTS, measuredGbps, measuredSizes } from '../../src/link/host-presets.js';
import {
  type BandwidthInput,
  type BandwidthOp,
  type BandwidthRow,
  bandwidth,
} from '../../src/report/bandwidth.js';
import { formatBandwidth } from '../../src/report/bandwidth-text.js';
import { PLAIN } from '../../src/report/style.js';

async function row(size: number, input: BandwidthInput = {}): Promise<BandwidthRow> {
  const { rows } = await bandwidth({ ...input, sizes: [size] });
  return rows[0] as BandwidthRow;
}

const GEN3X8 = parseLink('gen3x8');
const digits = (value: number, places: number): string => value.toFixed(places);

describe('transfers', () => {
  it('L-11 (transfer) 1 to 4 bytes cost the same wire, 2 bytes at offset 3 one DW more', async () => {
    const bytes = await Promise.all([1, 2, 3, 4].map(async (size) => (await row(size)).upBytes));
    expect(bytes).toEqual([28, 28, 28, 28]);
    expect((await row(2, { offset: 3 })).upBytes).toBe(32);
  });

  it('L-12 (transfer) a read request has no payload: 24 bytes with 4 DW, 20 with 3', async () => {
    expect(await row(4, { op: 'read' })).toMatchObject({ upBytes: 24, downBytes: 24, tlps: 2 });
    expect(await row(4, { op: 'read', addressBits: 32 })).toMatchObject({ upBytes: 20, downBytes: 24 });
  });

  it('L-17 (transfer) 4 KiB in 16 TLPs take 4480 bytes and 568.75 ns; at offset 1 there are 17', async () => {
    const { tlps, upBytes, wireGbps } = await row(4096);
    expect([tlps, upBytes, wireNs(GEN3X8, upBytes)]).toEqual([16, 4480, 568.75]);
    expect((8 * 4096) / wireGbps).toBeCloseTo(568.75, 9);
    expect((await row(4096, { offset: 1 })).tlps).toBe(17);
  });

  it('L-18 (transfer) pieces of 4 bytes take 6.4 times the wire of 4 KiB in one, of 8 bytes 3.6571 times', async () => {
    const { upBytes } = await row(4096);
    expect(((await row(4)).upBytes * 1024) / upBytes).toBe(6.4);
    expect(digits(((await row(8)).upBytes * 512) / upBytes, 4)).toBe('3.6571');
  });

  it('L-19 (transfer) 257 bytes take 2 TLPs and 308 bytes, where pcie-bench counts 305', async () => {
    const { tlps, upBytes, model } = await row(257, { model: 'pcie-bench' });
    expect([tlps, upBytes]).toEqual([2, 308]);
    const { model: whole } = await row(256, { model: 'pcie-bench' });
    expect(((whole?.gbps ?? 0) / 256) * 280).toBeCloseTo(((model?.gbps ?? 0) / 257) * 305, 9);
  });

  it('L-20 (transfer) 2 bytes at offset 255 are one TLP cut greedily, two cut at multiples', async () => {
    expect((await row(2, { offset: 255 })).tlps).toBe(2);
    expect((await row(2, { offset: 255, options: { writeSplit: 'greedy' } })).tlps).toBe(1);
  });

  it('L-21 (transfer) 4 bytes at offset 4094 are two TLPs under both policies', async () => {
    for (const writeSplit of ['aligned', 'greedy'] as const)
      expect((await row(4, { offset: 4094, options: { writeSplit } })).tlps).toBe(2);
  });

  it('L-22 (transfer) 512 bytes read at offset 0 and 4: 2 and 3 completions, by RCB 8 and 9', async () => {
    const completions = async (offset: number, completionPolicy: 'fewest' | 'rcb'): Promise<number> => {
      const options = { completionPolicy, mrrs: 4096, readSplit: 'greedy' } as const;
      const { tlps, upBytes } = await row(512, { op: 'read', offset, options });
      return tlps - upBytes / 24;
    };
    expect([await completions(0, 'fewest'), await completions(4, 'fewest')]).toEqual([2, 3]);
    expect([await completions(0, 'rcb'), await completions(4, 'rcb')]).toEqual([8, 9]);
  });

  it('L-40 write and read of 256 bytes: 304 up, 276 down, 53.0656 each way; 512: 584 up, 55.2464', async () => {
    const one = await row(256, { op: 'both', options: { mrrs: 256 } });
    expect(one).toMatchObject({ upBytes: 304, downBytes: 276, bound: 'up' });
    expect(digits(one.wireGbps, 4)).toBe('53.0656');
    const two = await row(512, { op: 'both' });
    expect(two.upBytes).toBe(584);
    expect(digits(two.wireGbps, 4)).toBe('55.2464');
  });

  it('L-42 reads of 4 bytes use 24 bytes each way, 10.5026 Gb/s; of 1 byte as many per second', async () => {
    const four = await row(4, { op: 'read' });
    const one = await row(1, { op: 'read' });
    expect(digits(four.wireGbps, 4)).toBe('10.5026');
    expect(one.tlpsPerSecond).toBeCloseTo(four.tlpsPerSecond, 3);
    // A request of 4 DW weighs as much as the smallest completion: both directions are full.
    const [first, second] = four.bounds;
    expect([first?.by, second?.by]).toEqual(['completions', 'requests']);
    expect(first?.gbps).toBe(second?.gbps);
  });

  it('L-50 without a device limit 45.83, 53.07, 57.61 and 57.61 Gb/s; at 21.1 ns 24.27 for 64 bytes', async () => {
    const { rows } = await bandwidth({ sizes: [64, 128, 256, 512] });
    expect(rows.map(({ limitGbps }) => digits(limitGbps, 2))).toEqual(['45.83', '53.07', '57.61', '57.61']);
    const limited = await row(64, { preset: 'hsw2620' });
    expect(limited.bound).toBe('issue');
    expect(digits(limited.limitGbps, 2)).toBe('24.27');
    expect(Math.abs(limited.measured?.difference ?? 1)).toBeLessThan(0.001);
  });

  it('SKP ordered sets take their share of every rate', async () => {
    for (const op of ['write', 'read', 'both'] as const) {
      const [off, on] = [await row(64, { op }), await row(64, { op, skp: 'on' })];
      expect(on.wireGbps / off.wireGbps).toBeCloseTo(374 / 375, 12);
    }
  });

  it('ECRC makes every TLP 4 bytes longer', async () => {
    const [plain, digest] = [await row(512, { op: 'both' }), await row(512, { op: 'both', ecrc: true })];
    expect([digest.upBytes - plain.upBytes, digest.downBytes - plain.downBytes]).toEqual([12, 8]);
  });
});

describe('bounds', () => {
  it('the limit is the lowest of them, never above the wire law, and more tags or less latency never lower it', async () => {
    await ready();
    const input = fc.record({
      op: fc.constantFrom<BandwidthOp>('read', 'both'),
      link: fc.constantFrom('gen1x1', 'gen3x8', 'gen5x16', 'gen6x4', 'gen7x16'),
      tags: fc.integer({ min: 1, max: 1023 }),
      latencyNs: fc.double({ min: 1, max: 1e5, noNaN: true }),
      offset: fc.integer({ min: 0, max: 4095 }),
      ecrc: fc.boolean(),
    });
    const size = fc.integer({ min: 1, max: 9000 });
    await fc.assert(
      fc.asyncProperty(input, size, async (setting, bytes) => {
        const found = await row(bytes, setting);
        expect(found.limitGbps).toBe(Math.min(...found.bounds.map(({ gbps }) => gbps)));
        expect(found.limitGbps).toBeLessThanOrEqual(found.wireGbps);
        expect(found.efficiency).toBeLessThan(1);
        expect(found.bounds.some(({ by, gbps }) => by === found.bound && gbps === found.limitGbps)).toBe(
          true,
        );
        const more = await row(bytes, {
          ...setting,
          tags: setting.tags + 1,
          latencyNs: setting.latencyNs / 2,
        });
        expect(more.limitGbps).toBeGreaterThanOrEqual(found.limitGbps);
        const alone = await row(bytes, { ...setting, op: 'read' });
        expect(found.wireGbps).toBeLessThanOrEqual(alone.wireGbps * (1 + 1e-12));
      }),
      { numRuns: 60 },
    );
  });

  it('few tags hold small reads, Little says how much', async () => {
    const held = await row(64, { op: 'read', tags: 8, latencyNs: 500 });
    expect(held).toMatchObject({ bound: 'tags', limitGbps: 8.192 });
    const pieces = await row(4096, { op: 'read', tags: 8, latencyNs: 500 });
    expect(pieces.limitGbps).toBe(pieces.wireGbps);
    expect(pieces.bounds.find(({ by }) => by === 'tags')?.gbps).toBe((8 * 8 * 512) / 500);
  });

  it('without a latency tags are held for the time of the link alone', async () => {
    const { bounds } = await row(64, { op: 'read', tags: 1 });
    const ns = wireNs(GEN3X8, 24 + 84) + 150;
    expect(bounds.find(({ by }) => by === 'tags')?.gbps).toBe(512 / ns);
    const far = await row(64, { op: 'read', tags: 1, options: { linkLatencyNs: 1000 } });
    expect(far.limitGbps).toBe(512 / (ns - 150 + 2000));
  });

  it('credits hold a fast link: 64 headers of small writes, fewer data credits than cocotbext has', async () => {
    const small = await row(4, { link: 'gen5x16' });
    expect(small.bound).toBe('credits');
    const trip = wireNs(parseLink('gen5x16'), 28 + 8) + 150;
    expect(small.limitGbps).toBe((8 * 64 * 4) / trip);
    const large = { link: 'gen5x16', options: { mps: 512 } } as const;
    const [usual, cocotbext] = [await row(512, large), await row(512, { ...large, credits: 'cocotbext' })];
    expect(usual.bound).toBe('credits');
    expect(cocotbext.bound).toBe('wire');
    expect(usual.lateUpdateGbps).toBeLessThan(usual.limitGbps);
  });

  it('unequal TLPs share the credits: 257 bytes are 2 headers and 17 data credits', async () => {
    const { bounds } = await row(257, { link: 'gen5x16' });
    const trip = wireNs(parseLink('gen5x16'), 28 + 8) + 150;
    expect(bounds.find(({ by }) => by === 'credits')?.gbps).toBeCloseTo((8 * 257 * (512 / 17)) / trip, 9);
  });

  it('a link of flits has no credits, and no rate of the other model', async () => {
    const found = await row(256, { link: 'gen6x16' });
    expect(found.bounds.map(({ by }) => by)).toEqual(['wire']);
    expect(digits(found.wireGbps, 2)).toBe('888.47');
    expect(found.lateUpdateGbps).toBeUndefined();
  });
});

describe('comparisons', () => {
  it('the model is slower at x8, as its errors make it, and nearly right at x1', async () => {
    const x8 = await row(256, { model: 'pcie-bench' });
    const x1 = await row(256, { model: 'pcie-bench', link: 'gen3x1' });
    expect(x8.model?.difference).toBeCloseTo(-(8 / 203 + 8 / 203 + 4 / 1538), 9);
    expect(Math.abs(x1.model?.difference ?? 1)).toBeLessThan(0.04);
  });

  it.each(['hsw2620', 'bdw', 'bdw-remote', 'ib', 'snb'] as const)(
    'no rate measured on %s is above the wire law, and sizes are those of the curve',
    async (preset) => {
      for (const op of ['write', 'read', 'both'] as const) {
        const { rows } = await bandwidth({ preset, op });
        const compared = rows.filter(({ measured }) => measured !== undefined);
        expect(compared.map(({ size }) => size)).toEqual([...measuredSizes(preset)]);
        for (const { size, measured, wireGbps } of compared) {
          expect(measured?.gbps, `${op} ${size}`).toBeLessThan(wireGbps);
          expect(measured?.gbps).toBe(measuredGbps(preset, op, size));
        }
        // Beside the means of a preset, single curves lie a few percent up.
        for (const { measured, size } of compared)
          if (size >= 64) expect(measured?.difference).toBeLessThan(0.04);
      }
    },
  );

  it.each(['hsw2637', 'ib-remote'] as const)('%s has latencies and no curve', async (preset) => {
    const { rows, latencyNs } = await bandwidth({ preset, op: 'read' });
    expect(latencyNs).toBe(HOSTS[preset].dma.cpuWarm);
    expect(rows.map(({ measured }) => measured)).toEqual(rows.map(() => undefined));
    expect(rows).toHaveLength(11);
  });

  it('a preset brings MRRS, tags and latency, and what is given goes before', async () => {
    expect(await bandwidth({ preset: 'bdw', op: 'read', sizes: [64] })).toMatchObject({
      mrrs: 4096,
      tags: 34,
      latencyNs: 555,
    });
    const given = { preset: 'bdw', op: 'read', tags: 8, latencyNs: 400, options: { mrrs: 512 } } as const;
    expect(await bandwidth(given)).toMatchObject({ mrrs: 512, tags: 8, latencyNs: 400 });
  });
});

describe('input', () => {
  it.each<[object | null, string, string]>([
    [null, 'invalid-value', 'input'],
    [{ sise: 4 }, 'unknown-name', 'input.sise'],
    [{ op: 'copy' }, 'invalid-value', 'op'],
    [{ link: 'gen8x1' }, 'invalid-value', 'link'],
    [{ sizes: [] }, 'invalid-value', 'sizes'],
    [{ sizes: 64 }, 'invalid-value', 'sizes'],
    [{ sizes: [0] }, 'out-of-range', 'sizes'],
    [{ sizes: [2 ** 21] }, 'out-of-range', 'sizes'],
    [{ sizes: [1.5] }, 'out-of-range', 'sizes'],
    [{ offset: 4096 }, 'out-of-range', 'offset'],
    [{ addressBits: 48 }, 'invalid-value', 'addressBits'],
    [{ model: 'gem5' }, 'invalid-value', 'model'],
    [{ preset: 'none' }, 'unknown-name', 'preset'],
    [{ preset: 'bdw', link: 'gen4x8' }, 'invalid-value', 'link'],
    [{ preset: 'bdw', options: { mps: 128 } }, 'invalid-value', 'mps'],
    [{ tags: 8 }, 'invalid-value', 'tags'],
    [{ latencyNs: 500 }, 'invalid-value', 'latencyNs'],
    [{ op: 'read', tags: 0 }, 'out-of-range', 'tags'],
    [{ op: 'read', tags: 1025 }, 'out-of-range', 'tags'],
    [{ op: 'read', latencyNs: 0 }, 'out-of-range', 'latencyNs'],
    [{ op: 'read', latencyNs: Number.NaN }, 'out-of-range', 'latencyNs'],
    [{ credits: 'infinite' }, 'invalid-value', 'credits'],
    [{ link: 'gen6x1', credits: 'default' }, 'invalid-value', 'credits'],
    [{ link: 'gen6x1', model: 'pcie-bench' }, 'invalid-value', 'model'],
    [{ link: 'gen6x1', skp: 'on' }, 'invalid-value', 'skp'],
    [{ skpInterval: 375 }, 'invalid-value', 'skpInterval'],
    [{ skp: 'on', skpInterval: 1538 }, 'invalid-value', 'skpBlocks'],
    [{ options: { mrrs: 512 } }, 'invalid-value', 'mrrs'],
    [{ op: 'read', options: { writeSplit: 'greedy' } }, 'invalid-value', 'writeSplit'],
    [{ options: { exitNs: 1 } }, 'invalid-value', 'exitNs'],
    [{ options: { skp: 'on' } }, 'invalid-value', 'skp'],
  ])('refuses %j', async (input, code, field) => {
    await expect(bandwidth(input as BandwidthInput)).rejects.toMatchObject({
      name: 'ZtlpError',
      code,
      field,
    });
  });

  it('takes sizes in any order, once each', async () => {
    const { rows } = await bandwidth({ sizes: [64, 4, 64] });
    expect(rows.map(({ size }) => size)).toEqual([4, 64]);
  });
});

describe('the table', () => {
  it('fits 100 columns without comparison, says what limits, and folds', async () => {
    for (const op of ['write', 'read', 'both'] as const) {
      const text = formatBandwidth(await bandwidth({ op, link: 'gen7x16' }), PLAIN);
      for (const line of text.split('\n').slice(1)) expect(line.length, line).toBeLessThanOrEqual(100);
    }
    const report = await bandwidth({ op: 'read', preset: 'snb', model: 'pcie-bench', skp: 'on' });
    const text = formatBandwidth(report, PLAIN, 60);
    for (const line of text.split('\n').slice(2)) expect(line.length, line).toBeLessThanOrEqual(60);
    expect(text).toContain('pcie-bench: that model with its known errors');
    expect(text).toContain('measured: snb, pcie-bench/data');
    expect(text).toContain('SKP ordered sets take 0.267 % of the wire');
  });
});

describe('the simulation beside', () => {
  it('is below the limit, and at it where the wire or the tags limit', async () => {
    const writes = await bandwidth({ simulate: true, sizes: [4, 6, 64, 256, 4096, 8192] });
    expect(writes.rows.map(({ simulated }) => simulated !== undefined)).toEqual([
      true,
      false,
      true,
      true,
      true,
      false,
    ]);
    for (const { simulated, lateUpdateGbps, limitGbps } of writes.rows) {
      if (simulated === undefined) continue;
      expect(simulated.gbps).toBeLessThan(limitGbps);
      expect(simulated.gbps).toBeGreaterThan((lateUpdateGbps ?? limitGbps) * 0.999);
    }
    const reads = await bandwidth({ simulate: true, op: 'read', sizes: [64, 512], tags: 32, latencyNs: 500 });
    expect(reads.rows.map(({ bound }) => bound)).toEqual(['tags', 'completions']);
    const [tags, completions] = reads.rows.map(({ simulated }) => simulated?.difference ?? -1);
    expect(tags).toBeGreaterThan(-0.002);
    // Acks and UpdateFC share the direction of the completions.
    expect(completions).toBeGreaterThan(-0.012);
    expect(completions).toBeLessThan(-0.005);
    const plain = await bandwidth({ sizes: [64] });
    expect(plain.rows[0]?.simulated).toBeUndefined();
  });

  it('sends ECRC, SKP ordered sets and 3 DW headers where they are asked for', async () => {
    for (const input of [{ ecrc: true }, { skp: 'on' }, { addressBits: 32 }] as const) {
      const { rows } = await bandwidth({ ...input, simulate: true, sizes: [256, 512] });
      for (const { simulated } of rows) expect(Math.abs(simulated?.difference ?? 1)).toBeLessThan(0.001);
    }
  });

  it('L-40 both directions at once: 53.07 Gb/s each way, 55.25 with reads of 512 bytes, less Acks and UpdateFC', async () => {
    const { rows } = await bandwidth({ simulate: true, op: 'both', sizes: [256, 512], credits: 'cocotbext' });
    expect(rows.map(({ limitGbps }) => limitGbps.toFixed(4))).toEqual(['53.0656', '55.2464']);
    for (const { simulated } of rows) {
      // At most one Ack and one UpdateFC per interval of 1624 bytes.
      expect(simulated?.difference).toBeLessThan(0);
      expect(simulated?.difference).toBeGreaterThan(-2 * (8 / 1624));
    }
  });

  it('L-50 has the limits of an adapter, and its error against what was measured', async () => {
    for (const preset of ['hsw2620', 'bdw', 'ib', 'snb'] as const) {
      const { rows } = await bandwidth({ simulate: true, preset, sizes: [64, 128, 256, 512] });
      const [first, ...others] = rows.map(({ simulationError }) => simulationError ?? Number.NaN);
      expect(first).toBeCloseTo(0, 2);
      // Beyond 64 bytes the adapter is slower than its issue interval says: never 15 % below, never above the wire law.
      for (const error of others) expect(error).toBeGreaterThan(-0.15);
      for (const { simulated, wireGbps } of rows) expect(simulated?.gbps).toBeLessThanOrEqual(wireGbps);
    }
  });

  it('refuses what it would answer another question to', async () => {
    for (const input of [{ offset: 4 }, { options: { writeSplit: 'greedy' } }, { link: 'gen6x16' }] as const)
      await expect(bandwidth({ ...input, simulate: true })).rejects.toMatchObject({ field: 'simulate' });
  });
});
