/** The link event by event: laws with the time of every event in them, errors, conservation, determinism (timing.md 10). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EndInput, type SimulationInput, type SimulationResult, simulateLink } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

const COUNT = 20_000;
const CREDITS = { ph: 64, pd: 512, nph: 64, npd: 64, cplh: 0, cpld: 0 };
const AT_ONCE = { updateFcNs: 0 };
/** Wire time of a 4 DW read request and a completion of `bytes`, gen3x8. */
const wireNs = (bytes: number): number => ((24 + 20 + bytes) * 520) / 4096;

describe.each(BUILDS)('a link on the %s build', (build) => {
  const core = useBuild(build);
  const run = (input: SimulationInput): Promise<SimulationResult> => simulateLink({ ...input, core: core() });
  const write = async (bytes: number, input: SimulationInput = {}, credits = CREDITS): Promise<number> => {
    const { down } = await run({ up: { writes: { count: COUNT, bytes } }, down: { credits }, ...input });
    expect([down.tlps, down.dataBytes]).toEqual([COUNT, COUNT * (bytes < 4 ? 4 : bytes)]);
    return down.gbps;
  };
  const read = async (bytes: number, tags: number, latencyNs: number): Promise<number> => {
    const completerNs = latencyNs - wireNs(bytes) - 150;
    const { up } = await run({
      up: { reads: { count: COUNT, bytes, tags } },
      down: { completerNs, credits: CREDITS },
    });
    expect(up.reads.done).toBe(COUNT);
    return up.gbps;
  };
  /** Start-up is one round trip: 0.1 % of 10,000 TLPs (timing.md 9). */
  const near = (value: number, law: number, tolerance = 0.001): void => {
    expect(Math.abs(value / law - 1)).toBeLessThan(tolerance);
  };

  it.each([
    ['L-03', 8, 15.7538],
    ['L-04', 64, 45.8294],
    ['L-06', 128, 53.0656],
    ['L-07', 256, 57.6141],
  ])('%s: %i bytes saturate the wire', async (_law, bytes, gbps) => {
    near(await write(bytes, {}, { ...CREDITS, ph: 127, pd: 2000 }), gbps);
  });

  it.each([
    ['L-05', 64, false, false, 48.0117],
    ['L-08', 256, false, false, 58.4491],
    ['L-08 with ECRC', 256, true, true, 56.8026],
  ])('%s: %i bytes, other headers', async (_law, bytes, wide, ecrc, gbps) => {
    const credits = { ...CREDITS, ph: 127, pd: 2000 };
    near(await write(bytes, { ecrc, up: { writes: { count: COUNT, bytes }, wide } }, credits), gbps);
  });

  it('L-05, both ends: where an end reaches memory below or above 4 GiB decides its headers', async () => {
    const at = async (wide: boolean): Promise<number> => {
      const { up } = await run({ down: { writes: { count: COUNT, bytes: 64 }, wide } });
      return up.gbps;
    };
    near(await at(false), 48.0117);
    near(await at(true), 45.8294);
  });

  it.each([
    ['gen1x1', 1538, 4 / 1538],
    // Several fall due while one TLP goes, and none is lost.
    ['gen1x1', 16, 4 / 16],
    ['gen2x16', 1180, 4 / 1180],
    ['gen3x8', 375, 1 / 375],
    ['gen5x16', 370, 1 / 370],
  ])(
    'LNK-07: SKP ordered sets of %s take their share of a saturated stream',
    async (link, skpInterval, share) => {
      const credits = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };
      const replayBytes = 1 << 20;
      const input = { link, skpInterval, replayBytes, up: { writes: { count: COUNT, bytes: 256 } } };
      const plain = await run({ ...input, down: { credits } });
      const skp = await run({ ...input, skp: true, down: { credits } });
      expect([plain.up.skps, skp.down.tlps]).toEqual([0, COUNT]);
      const loss = 1 - skp.down.gbps / plain.down.gbps;
      expect(Math.abs(loss / share - 1)).toBeLessThan(0.01);
      // Nothing but the time of arrival changes: no packet is cut, none is lost.
      expect(Buffer.compare(skp.bar, plain.bar)).toBe(0);
    },
  );

  it('writes that wait for the queue leave reads their share, and keep their distance', async () => {
    const both = async (waits: boolean) => {
      const { up, down } = await run({
        down: {
          writes: { count: 3000, bytes: 256, intervalNs: 21.1, waits },
          reads: { count: 3000, bytes: 256, tags: 34, intervalNs: 16 },
        },
        up: { completerNs: 300 },
      });
      return [up.tlps, down.reads.maxNs, (8 * 3000 * 256) / Math.max(up.lastArrivalNs, down.lastArrivalNs)];
    };
    const [tlps, longest = 0, gbps = 0] = await both(true);
    expect(tlps).toBe(6000);
    // L-40: up 300 B of each 256, here with 3 DW headers 296: 54.5; the queue in front of a read is short.
    expect(gbps).toBeGreaterThan(0.93 * 54.5);
    expect(longest).toBeLessThan(2000);
    const [, late = 0] = await both(false);
    expect(late).toBeGreaterThan(5 * longest);
    const slow = await run({ up: { writes: { count: 100, bytes: 64, intervalNs: 100, waits: true } } });
    expect(slow.down.lastArrivalNs).toBeCloseTo(99 * 100 + (88 * 520) / 4096 + 75, 3);
  });

  it('accesses that begin off a border are cut there: L-17', async () => {
    const { down } = await run({ up: { writes: { count: 100, bytes: 4096, offset: 1 } } });
    expect([down.tlps, down.dataBytes]).toEqual([1700, 100 * (4096 + 4)]);
  });

  it('percentiles of reads: exact without load, ordered, and within 1/128 of a known mixture', async () => {
    const quiet = await run({
      up: { reads: { count: 50, bytes: 4, tags: 1 } },
      down: { completerNs: 100 },
    });
    const { minNs, p50Ns, p999Ns } = quiet.up.reads;
    expect([p50Ns, p999Ns]).toEqual([minNs, minNs]);
    // Writes of 4 KiB once a microsecond stand in front of some of the reads.
    const busy = await run({
      up: {
        reads: { count: 4000, bytes: 4, tags: 1, intervalNs: 170 },
        writes: { count: 600, bytes: 4096, intervalNs: 1000 },
      },
      down: { completerNs: 100 },
    });
    const reads = busy.up.reads;
    expect(reads.p50Ns).toBeLessThan(reads.p99Ns);
    expect(reads.p90Ns).toBeLessThanOrEqual(reads.p99Ns);
    expect(reads.p99Ns).toBeLessThanOrEqual(reads.p999Ns);
    expect(reads.p999Ns).toBeLessThanOrEqual(reads.maxNs);
    expect(reads.p50Ns).toBeGreaterThanOrEqual(reads.minNs);
    expect(reads.minNs).toBe(minNs);
  });

  it.each([
    [16, 10.978],
    [32, 21.955],
    [64, 43.91],
    [128, 57.614],
  ])('L-26: %i data credits, UpdateFC at once', async (pd, gbps) => {
    near(await write(256, AT_ONCE, { ...CREDITS, pd }), gbps, 0.0003);
  });

  it.each([
    [16, 10.918],
    [64, 43.672],
  ])('L-26: %i data credits, and an Ack before each UpdateFC', async (pd, gbps) => {
    near(await write(256, { ...AT_ONCE, ackNs: 0 }, { ...CREDITS, pd }), gbps, 0.0001);
  });

  it.each([
    [64, 20.974],
    [128, 43.25],
    [256, 57.614],
  ])('L-27: %i data credits, UpdateFC at its limit, the Ack of the same tick first', async (pd, gbps) => {
    near(await write(256, {}, { ...CREDITS, pd }), gbps, 0.0002);
  });

  it.each([
    [64, 21.029],
    [128, 43.36],
  ])('L-27: %i data credits, and no Ack in the tick of the UpdateFC', async (pd, gbps) => {
    near(await write(256, { ackNs: 150 }, { ...CREDITS, pd }), gbps, 0.0002);
  });

  it('L-38: writes of 256 bytes both ways are 57.07 each', async () => {
    const end: EndInput = { writes: { count: 40_000, bytes: 256 }, wide: true, credits: CREDITS };
    const { up, down } = await run({ up: end, down: end });
    near(up.gbps, 57.07, 0.0003);
    near(down.gbps, 57.07, 0.0003);
  });

  it('L-29: what is used never exceeds what the other end has advertised by then', async () => {
    const pools: [number, number][] = [
      [4, 40],
      [1, 16],
      [127, 33],
    ];
    for (const [ph, pd] of pools) {
      const latencyNs = 75;
      const { up, down } = await run({
        packets: 1024,
        latencyNs,
        up: { writes: { count: 150, bytes: 200 } },
        down: { credits: { ...CREDITS, ph, pd }, drainNs: 90 },
      });
      const reports = down.packets
        .filter(({ kind, credits }) => kind === 'UpdateFC' && credits?.pool === 'P')
        .map(({ ns, credits }) => ({ ns: ns + (8 * 520) / 4096 + latencyNs, ...credits }));
      let [headers, data, n] = [0, 0, 0];
      let [headerLimit, dataLimit] = [ph, pd];
      for (const { ns, header } of up.packets.filter(({ kind }) => kind === 'TLP')) {
        for (; n < reports.length && (reports[n]?.ns ?? 0) <= ns; n++) {
          headerLimit = reports[n]?.header ?? 0;
          dataLimit = reports[n]?.data ?? 0;
        }
        headers += 1;
        data += Math.ceil(((header?.[0] ?? 0) & 0x3ff) / 4);
        expect((headerLimit - headers) & 0xff).toBeLessThan(128);
        expect((dataLimit - data) & 0xfff).toBeLessThan(2048);
      }
      expect([headers, n > 2]).toEqual([down.tlps, true]);
    }
  });

  it('L-30: a blocked read holds neither writes nor completions of the same end', async () => {
    const { up, down } = await run({
      up: { reads: { count: 4, bytes: 64, tags: 4 }, writes: { count: 50, bytes: 64 } },
      down: {
        credits: { ...CREDITS, nph: 1, npd: 1 },
        drainNs: 20_000,
        reads: { count: 50, bytes: 64, tags: 1 },
      },
      packets: 200,
    });
    const writes = up.packets.filter(({ header }) => (header?.[0] ?? 0) >>> 24 === 0x60);
    expect([writes.length, (writes.at(-1)?.ns ?? 0) < 1000]).toEqual([50, true]);
    // The reads from above wait for their buffer, 20 us each; those from below are answered all the while.
    expect(up.reads.maxNs).toBeGreaterThan(60_000);
    expect([down.reads.done, down.reads.maxNs < 1000]).toEqual([50, true]);
  });

  it('L-35: a lost Ack is covered by the next one', async () => {
    let lost = 0;
    for (let seed = 0; seed < 20; seed++) {
      const { up, down } = await run({
        link: 'gen4x8',
        seed,
        packets: 1024,
        up: { writes: { count: 800, bytes: 64, intervalNs: 40 } },
        down: { credits: CREDITS, badDllps: 0.02 },
      });
      expect(down.packets.length).toBeLessThan(1024);
      const acks = down.packets.filter(({ kind }) => kind === 'Ack');
      // The last Ack has none behind it.
      const isCovered = acks.every(
        ({ bad, sequence }, n) => !bad || (sequence !== 799 && acks[n + 1]?.bad === false),
      );
      if (!isCovered) continue;
      lost += acks.filter(({ bad }) => bad).length;
      // The replay timer is 12 us, and the next Ack comes within one: nothing is sent again.
      expect([seed, up.replayed, down.duplicates, down.tlps]).toEqual([seed, 0, 0, 800]);
    }
    expect(lost).toBeGreaterThan(5);
  });

  it('L-53: an idle read grows with each latency by as much, and does not depend on credits above one', async () => {
    const idle = async (latencyNs: number, completerNs: number, nph = 64): Promise<number> => {
      const { up } = await run({
        latencyNs,
        up: { reads: { count: 3, bytes: 4, tags: 1, intervalNs: 5000 } },
        down: { completerNs, credits: { ...CREDITS, nph, npd: nph } },
      });
      expect(up.reads.minNs).toBe(up.reads.maxNs);
      return up.reads.minNs;
    };
    const base = await idle(75, 100);
    for (const more of [1, 25, 400]) {
      expect((await idle(75 + more, 100)) - base).toBe(2 * more);
      expect((await idle(75, 100 + more)) - base).toBe(more);
    }
    for (const nph of [1, 2, 8]) expect(await idle(75, 100, nph)).toBe(base);
  });

  it('L-28: eight header credits and 4-byte writes are 51.76 million TLPs a second; 64 saturate', async () => {
    const rate = async (ph: number): Promise<number> => {
      const { down } = await run({
        ...AT_ONCE,
        up: { writes: { count: COUNT, bytes: 4 } },
        down: { credits: { ...CREDITS, ph, pd: 0 } },
      });
      return (down.tlps / down.lastArrivalNs) * 1e3;
    };
    near(await rate(8), 51.76, 0.0002);
    near(await rate(64), 281.32, 0.003);
  });

  it.each([
    [4, 21.029],
    [7, 38.54],
    [8, 43.36],
    [10, 52.99],
    [11, 57.614],
  ])('L-33: a replay buffer of %i TLPs of 256 bytes', async (count, gbps) => {
    near(await write(256, { ...AT_ONCE, replayBytes: 280 * count }, { ...CREDITS, pd: 1000 }), gbps, 0.0002);
  });

  it.each([
    [1, 1.024, 0.0001],
    [8, 8.192, 0.0003],
    [32, 32.768, 0.002],
    [64, 47.55, 0.003],
  ])('L-37: 64-byte reads of 500 ns with %i tags', async (tags, gbps, tolerance) => {
    near(await read(64, tags, 500), gbps, tolerance);
  });

  it.each([
    [8, 16.384],
    [32, 57.95],
  ])('L-38: 256-byte reads of 1000 ns with %i tags', async (tags, gbps) => {
    near(await read(256, tags, 1000), gbps, 0.0015);
  });

  it('L-53, idle: a read takes request, completion and fixed times, to the tick', async () => {
    for (const completerNs of [0, 100, 333]) {
      const { up } = await run({ up: { reads: { count: 5, bytes: 4, tags: 1 } }, down: { completerNs } });
      const expected = wireNs(4) + 150 + completerNs;
      expect([up.reads.minNs, up.reads.maxNs]).toEqual([expected, expected]);
    }
  });

  it('L-31: with zero load there is nothing but an UpdateFC per pool at its time', async () => {
    const { up } = await run({
      packets: 100,
      down: { reads: { count: 2, bytes: 4, tags: 1, intervalNs: 100_000 } },
    });
    const updates = up.packets.flatMap((packet) =>
      packet.kind === 'UpdateFC' ? [{ ns: packet.ns, pool: packet.credits?.pool }] : [],
    );
    const times = (pool: string): number[] => updates.filter((one) => one.pool === pool).map(({ ns }) => ns);
    // Every 30 microseconds; the pool of the reads also 203 ns after each of them, behind its Ack.
    expect(times('P')).toEqual([30_000, 60_000, 90_000]);
    const news = 20 * (520 / 4096) + 75 + 203 + 8 * (520 / 4096) + 4 * (520 / 4096);
    expect(times('NP')).toHaveLength(5);
    times('NP').forEach((ns, n) => {
      expect(ns).toBeCloseTo([0, 30_000, 60_000, 90_000, 100_000][n] as number, -3);
      expect(ns - (times('NP')[0] as number)).toBe([0, 30_000, 60_000, 90_000, 100_000][n]);
    });
    expect(Math.abs((times('NP')[0] as number) - news)).toBeLessThan(2);
    expect(updates).toHaveLength(8);
  });

  it('L-29, L-30: a receiver that drains late blocks its class, and no other', async () => {
    const slow: EndInput = { drainNs: 5000, credits: { ...CREDITS, nph: 1, npd: 1 } };
    const { down, up } = await run({
      up: { writes: { count: 2000, bytes: 64 }, reads: { count: 20, bytes: 64, tags: 20 } },
      down: slow,
    });
    expect([down.tlps, up.reads.done]).toEqual([2020, 20]);
    expect(up.stalls.nonPosted).toBeGreaterThan(0);
    // One read after the other, each when the buffer of the one before is free: about 5 us each.
    expect(up.reads.maxNs).toBeGreaterThan(19 * 5000);
  });

  it('TLP-19: 2047 TLPs without an Ack may be under way, and the next one waits for it', async () => {
    const last = async (count: number): Promise<number> => {
      const input = { latencyNs: 100_000, replayBytes: 1 << 20, up: { writes: { count, bytes: 4 } } };
      const { down } = await run({ ...input, down: { credits: { ...CREDITS, ph: 0, pd: 0 } } });
      expect(down.tlps).toBe(count);
      return down.lastArrivalNs;
    };
    expect(await last(2047)).toBe(100_000 + (2047 * 28 * 520) / 4096);
    // The first Ack comes back, and one more TLP goes.
    expect(await last(2048)).toBeGreaterThan(3 * 100_000);
  });

  it('a read does not pass the posted writes before it, however long they wait for credits', async () => {
    const { up } = await run({
      up: { writes: { count: 10, bytes: 256 }, reads: { count: 1, bytes: 4 } },
      down: { drainNs: 5000, credits: { ...CREDITS, ph: 1 } },
    });
    expect(up.stalls.posted).toBeGreaterThan(0);
    expect(up.reads.minNs).toBeGreaterThan(9 * 5000);
  });

  it('with 1024 tags each completion finds its own read', async () => {
    const { up } = await run({
      up: { reads: { count: 3000, bytes: 4, tags: 1024, intervalNs: 10 } },
      down: { completerNs: 9000, credits: { ...CREDITS, nph: 0, npd: 0 } },
    });
    expect(up.reads.done).toBe(3000);
    // All take the same, but for the DLLPs on the way.
    expect(up.reads.minNs).toBe(wireNs(4) + 150 + 9000);
    expect(up.reads.maxNs - up.reads.minNs).toBeLessThan(50);
  });

  it('L-35: a lost last Ack is made up for by the replay timer, and the duplicate is acknowledged', async () => {
    // Every DLLP of the endpoint is lost until its generator lets one through.
    const { down, up } = await run({
      up: { writes: { count: 3, bytes: 64 } },
      down: { badDllps: 0.9 },
      seed: 3,
    });
    expect(down.tlps).toBe(3);
    expect(up.timeouts).toBeGreaterThan(0);
    expect(down.duplicates).toBeGreaterThan(0);
  });

  it('L-34, L-35: under any errors every byte arrives once and in order, and the link goes quiet', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.nat(0xffff_ffff),
          badTlps: fc.constantFrom(0, 0.001, 0.02, 0.2),
          badDllps: fc.constantFrom(0, 0.001, 0.05, 0.2),
          bytes: fc.constantFrom(4, 64, 200, 256, 1000, 4096),
          link: fc.constantFrom('gen1x1', 'gen3x8', 'gen5x16'),
          drainNs: fc.constantFrom(0, 20),
        }),
        async ({ seed, badTlps, badDllps, bytes, link, drainNs }) => {
          const count = 150;
          const end: EndInput = {
            badTlps,
            badDllps,
            drainNs,
            writes: { count, bytes },
            reads: { count: 60, bytes: Math.min(bytes, 512), tags: 8 },
          };
          const { up, down, bar } = await run({ link, seed, up: end, down: end });
          for (const side of [up, down]) expect(side.reads.done).toBe(60);
          const written = Math.min(count * bytes, 1 << 20);
          for (let at = 0; at < written; at++) {
            const n = at % bytes;
            if (bar[at] !== ((n * 167 + (n >> 8) + 13) & 0xff)) throw new Error(`byte ${at} is ${bar[at]}`);
          }
          expect(bar.subarray(written).every((byte) => byte === 0)).toBe(true);
          // What the TLPs of one end used, the other has given back; completions have infinite credits.
          expect(down.credits.returned.slice(0, 4)).toEqual(up.credits.used.slice(0, 4));
          expect(up.credits.returned.slice(0, 4)).toEqual(down.credits.used.slice(0, 4));
          if (badTlps === 0 && badDllps === 0) expect([up.replayed, down.replayed]).toEqual([0, 0]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('L-34: one broken TLP costs itself and what was under way behind it', async () => {
    const plain = await run({ up: { writes: { count: 5000, bytes: 256 } }, down: { credits: CREDITS } });
    const broken = await run({
      up: { writes: { count: 5000, bytes: 256 }, badTlps: 0.001 },
      down: { credits: CREDITS },
      seed: 7,
    });
    const { naks } = broken.down;
    expect(naks).toBeGreaterThan(0);
    expect(broken.up.replayed).toBeGreaterThanOrEqual(naks);
    // At most an Ack round trip of 256-byte TLPs for each.
    expect(broken.up.replayed).toBeLessThanOrEqual(naks * 12);
    expect(broken.down.tlps).toBe(plain.down.tlps);
    expect(Buffer.compare(broken.bar, plain.bar)).toBe(0);
  });

  it('L-34: a Nak goes once for a gap, and not for each TLP that comes behind it', async () => {
    const { up, down } = await run({
      up: { writes: { count: 600, bytes: 64 }, badTlps: 0.01 },
      packets: 1024,
      seed: 7,
    });
    const broken = up.packets.filter(({ kind, bad }) => kind === 'TLP' && bad).length;
    expect(up.packets.length).toBeLessThan(1024);
    expect(down.naks).toBeGreaterThan(0);
    expect(down.naks).toBeLessThanOrEqual(broken);
  });

  it('both ends busy: neither direction is above the wire law, and the loss is that of Ack and UpdateFC', async () => {
    const end: EndInput = { writes: { count: 40_000, bytes: 256 }, credits: CREDITS };
    const { up, down, ns } = await run({ up: end, down: end });
    // Up has 3 DW headers here: 58.449 of the wire law, down 57.614; DLLPs take about 1 %.
    near(up.gbps, 58.449 * 0.99, 0.005);
    near(down.gbps, 57.614 * 0.99, 0.005);
    expect(ns).toBeGreaterThan((40_000 * 280 * 520) / 4096);
  });

  it('a link that gets nothing through is told from one with little to do, however many accesses wait', async () => {
    const stuck = run({
      up: { writes: { count: 1e9, bytes: 256 }, badTlps: 1 },
    });
    await expect(stuck).rejects.toMatchObject({
      name: 'ZtlpError',
      field: 'input',
      value: 'a link that gets nothing through',
    });
    const { down } = await run({ up: { writes: { count: 40, bytes: 4, intervalNs: 1e9 } } });
    expect(down.tlps).toBe(40);
  });

  it('wrong input is a typed error', async () => {
    const refused = (input: object, field: string) =>
      expect(run(input as SimulationInput)).rejects.toMatchObject({ name: 'ZtlpError', field });
    await refused({ link: 'gen9x8' }, 'link');
    await refused({ mps: 100 }, 'mps');
    await refused({ upp: {} }, 'input.upp');
    await refused({ up: { writes: { count: -1, bytes: 4 } } }, 'up.writes.count');
    await refused({ up: { writes: { count: 1, bytes: 5000 } } }, 'up.writes.bytes');
    await refused({ down: { reads: { count: 1, bytes: 4, tags: 0 } } }, 'down.reads.tags');
    await refused({ down: { credits: { ...CREDITS, ph: 128 } } }, 'down.credits.ph');
    await refused({ down: { credits: { ph: 1 } } }, 'down.credits.pd');
    await refused(
      { up: { reads: { count: 1, bytes: 256 }, credits: { ...CREDITS, cpld: 15 } } },
      'up.credits.cpld',
    );
    await refused({ up: { badTlps: 2 } }, 'up.badTlps');
    await refused({ latencyNs: Number.NaN }, 'latencyNs');
    await refused({ latencyNs: 100_001 }, 'latencyNs');
    await refused({ skpInterval: 1 }, 'skpInterval');
    await refused({ up: { writes: { count: 1, bytes: 4, offset: 4096 } } }, 'up.writes.offset');
    await refused({ barBytes: 100_000 }, 'barBytes');
    await refused({ up: null }, 'up');
    await refused({ down: 'x' }, 'down');
    await refused({ up: { writess: {} } }, 'up.writess');
    await refused({ up: { writes: null } }, 'up.writes');
    await refused({ up: { writes: { count: 1, bytes: 4, tags: 1 } } }, 'up.writes.tags');
    await refused({ up: { reads: { count: 1, bytes: 4, cut: 4 } } }, 'up.reads.cut');
    await refused({ up: { credits: null } }, 'up.credits');
    await refused({ up: { credits: { ...CREDITS, pdd: 1 } } }, 'up.credits.pdd');
    await refused({ up: { wide: 'false' } }, 'up.wide');
    await refused({ up: { badTlps: '0.1' } }, 'up.badTlps');
    await refused({ skp: 'on' }, 'skp');
    await refused({ ecrc: 1 }, 'ecrc');
    await refused({ windows: 'no' }, 'windows');
    await refused({ latencyNs: null }, 'latencyNs');
    await refused({ ackNs: 1n }, 'ackNs');
    await refused({ replayBytes: 10 }, 'replayBytes');
    await refused(
      { up: { writes: { count: 1, bytes: 256 } }, down: { credits: { ...CREDITS, pd: 1 } } },
      'down.credits.pd',
    );
  });
});

describe('the same input', () => {
  const debug = useBuild('debug');
  const release = useBuild('release');

  it('gives the same events, times and memory on both builds, and other events with another seed', async () => {
    const input = (seed: number): SimulationInput => ({
      seed,
      link: 'gen4x4',
      up: { writes: { count: 3000, bytes: 700 }, reads: { count: 500, bytes: 300, tags: 16 }, badTlps: 0.01 },
      down: { writes: { count: 2000, bytes: 256 }, drainNs: 30, badDllps: 0.02, completerNs: 200 },
    });
    const outcome = async (core: WebAssembly.Module, seed: number) => {
      const { ns, events, up, down } = await simulateLink({ ...input(seed), core });
      return { ns, events, up, down };
    };
    const first = await outcome(debug(), 5);
    expect(await outcome(release(), 5)).toEqual(first);
    // The same on every host and every Node: what this version does with this seed.
    expect([first.up.hash, first.down.hash, first.events]).toEqual([
      '6f3b30d62d46112c',
      '4d2b8c97f8a51080',
      63_387,
    ]);
    expect((await outcome(release(), 6)).down.hash).not.toBe(first.down.hash);
  });
});
