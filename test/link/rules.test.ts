/** Timers of a link, the distance of reads, completions and data in flight, to the tick or to the byte (timing.md 3 to 5, 10). */
import { describe, expect, it } from 'vitest';
import { type Packet, type SimulationInput, type SimulationResult, simulateLink } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

const NONE = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };
/** ns on a gen3x8 wire. */
const wireNs = (bytes: number): number => (bytes * 520) / 4096;
/** Replay timer of gen3x8 with MPS 256: three Ack limits of 203 symbols (LNK-04). */
const REPLAY_NS = 609;

const begins = (packets: readonly Packet[], kind: Packet['kind'] = 'TLP'): number[] =>
  packets.filter((packet) => packet.kind === kind).map(({ ns }) => ns);

/** Writes of `simulateLink` follow each other, and each has the same data. */
function expectWritten(bar: Uint8Array, count: number, bytes: number, offset: number): void {
  const data = Uint8Array.from({ length: bytes }, (_, n) => n * 167 + (n >> 8) + 13);
  for (let n = 0; n < count; n++) {
    const at = offset + n * bytes;
    expect([n, Buffer.compare(bar.subarray(at, at + bytes), data)]).toEqual([n, 0]);
  }
}

describe.each(BUILDS)('rules of a link on the %s build', (build) => {
  const core = useBuild(build);
  const run = (input: SimulationInput): Promise<SimulationResult> => simulateLink({ ...input, core: core() });

  it('L-31: completion credits are refreshed every 30 us as well, when no other pool is', async () => {
    const { up } = await run({
      packets: 100,
      updateFcNs: 500,
      up: {
        reads: { count: 3, bytes: 64, tags: 1, intervalNs: 70_000 },
        credits: { ...NONE, cplh: 8, cpld: 64 },
      },
    });
    const pools = up.packets.filter(({ kind }) => kind === 'UpdateFC');
    expect(new Set(pools.map(({ credits }) => credits?.pool))).toEqual(new Set(['Cpl']));
    const times = [0, ...begins(up.packets, 'UpdateFC')];
    expect(times.length).toBeGreaterThan(5);
    for (const [n, ns] of times.slice(1).entries()) expect(ns - (times[n] ?? 0)).toBeLessThanOrEqual(30_000);
  });

  it.each([true, false])(
    'L-31: news do not put off the UpdateFC after 30 us, windows %s',
    async (windows) => {
      const { down } = await run({
        windows,
        packets: 100,
        // Each write arrives 100 ns before the refresh: the limit of 203 ns would end behind it.
        up: { writes: { count: 4, bytes: 64, intervalNs: 30_100 } },
        down: { credits: { ...NONE, ph: 64, pd: 512 } },
      });
      const times = begins(down.packets, 'UpdateFC');
      // The Ack of the same tick goes first.
      expect(times[0]).toBe(wireNs(88) + 75 + 203 + wireNs(8));
      expect((times[1] ?? 0) - (times[0] ?? 0)).toBe(30_000);
    },
  );

  it.each([0, 20])(
    'L-29: a pool of infinite credits has no UpdateFC, emptied after %i ns',
    async (drainNs) => {
      const { down } = await run({
        up: { writes: { count: 50, bytes: 64, intervalNs: 1000 } },
        down: { credits: { ...NONE, nph: 4, npd: 4 }, drainNs },
      });
      // 50 us: one refresh, of the pool that has a limit.
      expect([down.tlps, down.updateFcs]).toEqual([50, 1]);
    },
  );

  it('LNK-04: the replay timer runs only while a TLP waits for its Ack, and leaves no event behind', async () => {
    const writes = async (count: number): Promise<number> => {
      const { up, events } = await run({ up: { writes: { count, bytes: 64, intervalNs: 10_000 } } });
      expect([up.timeouts, up.replayed]).toEqual([0, 0]);
      return events;
    };
    // Issue, TLP sent and come, timer, Ack and UpdateFC sent and come, and a look after each of these two.
    expect((await writes(5)) - (await writes(4))).toBe(10);
  });

  it('LNK-04: a replay goes through to its end, and the timer counts from its last TLP', async () => {
    const count = 50;
    const wire = wireNs(88);
    // All are sent before the timer of the first one ends; a replay takes less than the timer.
    const replays = [0, REPLAY_NS, REPLAY_NS + (count - 1) * wire + REPLAY_NS];
    const { up, down } = await run({
      seed: 4,
      packets: 1024,
      up: { writes: { count, bytes: 64 } },
      down: { credits: NONE, badDllps: 0.99 },
    });
    const good = down.packets.find(({ kind, bad }) => kind === 'Ack' && !bad)?.ns ?? 0;
    expect(good).toBeGreaterThan((replays[2] ?? 0) + count * wire);
    const expected = replays.flatMap((from) => Array.from({ length: count }, (_, n) => [n, from + n * wire]));
    const sent = up.packets.filter(({ kind }) => kind === 'TLP').map(({ sequence, ns }) => [sequence, ns]);
    expect(sent.slice(0, 3 * count)).toEqual(expected);
    expect(down.tlps).toBe(count);
  });

  it('L-35: a replay leaves out what an Ack reports while it runs', async () => {
    const count = 50;
    const { up } = await run({
      packets: 1024,
      ackNs: 600,
      up: { writes: { count, bytes: 64 }, credits: NONE },
      // The second write keeps the link running.
      down: { writes: { count: 2, bytes: 4, intervalNs: 20_000 }, credits: NONE },
    });
    // The Ack of all is due 600 ns after the first arrival, 9 ns before the first duplicate comes.
    const ackArrival = wireNs(88) + 75 + 600 + wireNs(8) + 75;
    const again = Math.ceil((ackArrival - REPLAY_NS) / wireNs(88));
    expect(begins(up.packets)).toHaveLength(count + again);
    expect([up.replayed, up.timeouts]).toEqual([again, 1]);
  });

  it.each([true, false])('L-34: each gap has one Nak, windows %s', async (windows) => {
    let all = 0;
    for (let seed = 0; seed < 4; seed++) {
      const { up, down } = await run({
        seed,
        windows,
        packets: 1024,
        up: { writes: { count: 700, bytes: 64 }, badTlps: 0.01 },
        down: { credits: NONE },
      });
      expect(up.packets.length).toBeLessThan(1024);
      let [naks, next, isAsked] = [0, 0, false];
      for (const { kind, bad, sequence = 0 } of up.packets) {
        if (kind !== 'TLP' || (!bad && sequence < next)) continue;
        const isNext = !bad && sequence === next;
        if (isNext) next++;
        else if (!isAsked) naks++;
        isAsked = !isNext;
      }
      expect([next, down.naks]).toEqual([700, naks]);
      all += naks;
    }
    expect(all).toBeGreaterThan(8);
  });

  it.each([0, 1])(
    'timing.md 4: reads keep their interval when tags come free together, %i late write',
    async (late) => {
      const { up } = await run({
        link: 'gen1x1',
        packets: 100,
        up: {
          reads: { count: 16, bytes: 4, tags: 4, intervalNs: 500 },
          ...(late === 1 ? { writes: { count: 2, bytes: 4, intervalNs: 1e6 } } : {}),
        },
        // The completions stand behind 16 us of write.
        down: { writes: { count: 1, bytes: 4096 } },
      });
      const reads = up.packets.filter(
        ({ header }) => ((header?.[0] ?? 0) & 0x4000_0000) === 0 && header !== undefined,
      );
      const [first = 0, ...later] = begins(reads).slice(4);
      expect([first > 16_000, later.length]).toEqual([true, 11]);
      for (const [n, ns] of later.entries()) expect(ns).toBeGreaterThanOrEqual(first + 500 * (n + 1));
    },
  );

  it.each([
    [512, 0, 'fewest', 2],
    [512, 4, 'fewest', 3],
    [512, 3, 'fewest', 3],
    [512, 0, 'rcb', 8],
    [512, 4, 'rcb', 9],
    [512, 3, 'rcb', 9],
    [64, 60, 'fewest', 1],
    [64, 60, 'rcb', 2],
  ] as const)(
    'L-22: %i bytes at %i are read with "%s" in %i completions',
    async (bytes, offset, completionPolicy, count) => {
      const { up, down } = await run({
        completionPolicy,
        packets: 40,
        up: { reads: { count: 1, bytes, offset } },
      });
      expect([up.tlps, up.dataBytes]).toEqual([count, 4 * Math.ceil(((offset & 3) + bytes) / 4)]);
      // L-23: each says how many bytes are to come with it, and where the first of them stands.
      let left = bytes;
      let address = offset;
      for (const { header } of down.packets.filter(({ kind }) => kind === 'TLP')) {
        const [word0 = 0, word1 = 0, word2 = 0] = header ?? [];
        expect([word1 & 0xfff, word2 & 0x7f]).toEqual([left, address & 0x7f]);
        const piece = Math.min(left, (word0 & 0x3ff) * 4 - (address & 3));
        left -= piece;
        address += piece;
      }
      expect(left).toBe(0);
    },
  );

  it.each([
    [5, 0],
    [77, 0.02],
    [1237, 0.02],
  ])(
    'L-34: writes of %i bytes off the DW border arrive whole, a share of %f broken',
    async (bytes, badTlps) => {
      const offset = 3;
      const { bar } = await run({ up: { writes: { count: 400, bytes, offset }, badTlps } });
      expectWritten(bar, 400, bytes, offset);
    },
  );

  it.each([
    [75, 0],
    [60_000, 0.005],
  ])(
    'writes that the data in flight have no room for wait, and arrive whole: %i ns, a share of %f broken',
    async (latencyNs, badTlps) => {
      // Each takes 3904 bytes of a ring of 2 MiB, and no two at one place of it in turn stand alike in their DWs.
      const [count, bytes] = [1400, 3901];
      const { up, bar } = await run({
        mps: 4096,
        latencyNs,
        replayBytes: 1 << 20,
        barBytes: 1 << 23,
        up: { writes: { count, bytes, intervalNs: 1 }, badTlps },
        down: { credits: NONE },
      });
      expect(up.replayed > 0).toBe(badTlps > 0);
      expectWritten(bar, count, bytes, 0);
    },
  );

  it('L-23: reads whose completions find no room in the queue wait for it, and each is answered once', async () => {
    // 64 completions each, of which 4096 may wait.
    const [count, bytes, completerNs] = [500, 4096, 20_000];
    const { up } = await run({
      completionPolicy: 'rcb',
      up: { reads: { count, bytes, tags: 400, intervalNs: 100 } },
      down: { completerNs, credits: NONE },
    });
    expect([up.reads.done, up.tlps, up.dataBytes]).toEqual([count, 64 * count, count * bytes]);
    // The first finds the link idle; from there on the wire is busy with completions.
    expect(up.reads.minNs).toBeGreaterThanOrEqual(wireNs(24 + 64 * 84) + 150 + completerNs);
    const idle = wireNs(24) + 150 + completerNs;
    expect(up.lastArrivalNs - idle).toBeGreaterThanOrEqual(count * 64 * wireNs(84));
    expect(up.lastArrivalNs - idle).toBeLessThan(1.02 * count * 64 * wireNs(84));
  });

  it('writes wrap in the BAR', async () => {
    const [count, bytes, barBytes] = [67, 1000, 1 << 16];
    const { bar } = await run({ barBytes, up: { writes: { count, bytes } }, down: { credits: NONE } });
    expectWritten(bar, 1, bytes, ((count - 1) * bytes) % barBytes);
  });

  it('the shortest, the longest and the mean read are those of all, not of the last', async () => {
    const { up } = await run({
      up: { reads: { count: 3, bytes: 4, tags: 1, intervalNs: 20_000 } },
      // The completions of the first and the third read stand behind 16 TLPs.
      down: { writes: { count: 2, bytes: 4096, intervalNs: 40_000 } },
    });
    const { minNs, meanNs, maxNs } = up.reads;
    expect(minNs).toBe(wireNs(24 + 24) + 150);
    expect(maxNs).toBeGreaterThanOrEqual(16 * wireNs(276) + wireNs(24) + 75);
    expect(meanNs).toBeCloseTo((2 * maxNs + minNs) / 3, 6);
  });

  it('2.6.1: an UpdateFC says 0 of an infinite pool, whatever it gives back of the other one', async () => {
    for (const [credits, expected] of [
      [
        { ...NONE, ph: 127 },
        { header: 132, data: 0 },
      ],
      [
        { ...NONE, pd: 100 },
        { header: 0, data: 120 },
      ],
    ] as const) {
      const { down } = await run({ packets: 30, up: { writes: { count: 5, bytes: 64 } }, down: { credits } });
      const updates = down.packets.filter(({ kind }) => kind === 'UpdateFC');
      expect(updates.map(({ credits: given }) => given)).toEqual([{ pool: 'P', ...expected }]);
      expect(down.credits.returned.slice(0, 2)).toEqual(expected.header === 0 ? [0, 20] : [5, 0]);
    }
  });

  it('L-30: a late drain holds what it was given credits for, and nothing else', async () => {
    // Many more writes than buffers in 40 us, of a class that has no limit.
    const { up, down } = await run({
      up: { writes: { count: 30_000, bytes: 4 }, reads: { count: 20, bytes: 4 } },
      down: { drainNs: 40_000, credits: { ...NONE, nph: 2, npd: 2 } },
    });
    expect([down.tlps, up.reads.done]).toEqual([30_020, 20]);
    expect(up.reads.maxNs).toBeGreaterThan(9 * 40_000);
  });

  it('2.2.7: no read crosses a 4 KiB boundary: it begins there instead', async () => {
    for (const bytes of [1, 4, 64, 100, 300, 700, 1500, 4095, 4096])
      for (const offset of [0, 1, 3, 60, 4000, 4090, 4095]) {
        const count = 30;
        const { up } = await run({ packets: 1024, up: { reads: { count, bytes, offset } } });
        const requests = up.packets
          .filter(({ kind }) => kind === 'TLP')
          .map(({ header }) => header as number[]);
        expect([requests.length, up.reads.done]).toEqual([count, count]);
        for (const [word0 = 0, , , low = 0] of requests) {
          const length = word0 & 0x3ff || 1024;
          expect([bytes, offset, (low & 4095) + 4 * length <= 4096]).toEqual([bytes, offset, true]);
        }
      }
  });

  it('refuses a run that is longer than numbers are exact: at once where the intervals say so', async () => {
    const long = run({ up: { writes: { count: 3000, bytes: 4, intervalNs: 1e9 } } });
    const field = 'up.writes.intervalNs';
    await expect(long).rejects.toMatchObject({ name: 'ZtlpError', code: 'out-of-range', field });
    const slow = run({
      up: { reads: { count: 3000, bytes: 4, tags: 1 }, credits: NONE },
      down: { completerNs: 1e9, credits: NONE },
    });
    await expect(slow).rejects.toMatchObject({ name: 'ZtlpError', code: 'out-of-range', field: 'input' });
  });

  it('a late write with `waits` puts the next ones off, so that they keep their distance', async () => {
    const accesses = async (waits: boolean): Promise<number[]> => {
      const { up } = await run({
        packets: 1024,
        updateFcNs: 20_000,
        up: { writes: { count: 16, bytes: 4096, intervalNs: 1000, waits } },
        down: { credits: { ...NONE, ph: 127, pd: 2047 } },
      });
      return begins(up.packets).filter((_, n) => n % 16 === 0);
    };
    // Eight have credits; those of all come back at 20 us, and the ninth goes. Two more wait behind it.
    const [patient, hasty] = [await accesses(true), await accesses(false)];
    const gaps = (times: number[]): number[] => times.slice(1).map((ns, n) => ns - (times[n] as number));
    for (const times of [patient, hasty]) {
      expect(gaps(times).slice(0, 7)).toEqual(Array.from({ length: 7 }, () => 1000));
      expect(gaps(times)[7]).toBeGreaterThan(13_000);
    }
    // Then the interval counts from the issue of the late one, or all that are due follow at once.
    expect(gaps(patient).slice(11)).toEqual([1000, 1000, 1000, 1000]);
    for (const gap of gaps(hasty).slice(8)) expect(gap).toBeCloseTo(wireNs(16 * (256 + 24)), 6);
  });
});
