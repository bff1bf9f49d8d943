/**
 * 100 million TLPs over links with errors: nothing is lost, comes twice or out of order, and credits and bytes are
 * conserved. Each seed is another link with other loads; a part runs on the debug core, which holds every TLP against the
 * queue that it left (see `assertNext`).
 */
import { describe, expect, it } from 'vitest';
import { type EndInput, type SimulationInput, simulateLink } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

const TLPS = { debug: 10_000_000, release: 100_000_000 };
const SHARES = [0, 1e-4, 1e-3, 0.01, 0.05];
const LINKS = ['gen1x1', 'gen2x4', 'gen3x8', 'gen4x16', 'gen5x16'];
const SIZES = [4, 64, 200, 256, 1000, 4096];
const CREDITS = [
  { ph: 64, pd: 512, nph: 64, npd: 64, cplh: 0, cpld: 0 },
  { ph: 5, pd: 40, nph: 3, npd: 3, cplh: 4, cpld: 50 },
  { ph: 127, pd: 2047, nph: 127, npd: 127, cplh: 127, cpld: 2047 },
];

/** Numbers below `n`, the same for the same seed (mulberry32). */
function generator(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

function inputOf(seed: number): SimulationInput & { up: EndInput; down: EndInput } {
  const below = generator(seed);
  const pick = <T>(of: readonly T[]): T => of[below(of.length)] as T;
  const end = (): EndInput => {
    const bytes = pick(SIZES);
    return {
      writes: { count: Math.ceil(14_000 / Math.ceil(bytes / 256)), bytes },
      reads: { count: 1 + below(6000), bytes: pick(SIZES.slice(0, 5)), tags: 1 + below(64) },
      credits: pick(CREDITS),
      badTlps: pick(SHARES),
      badDllps: pick(SHARES),
      drainNs: pick([0, 0, 40]),
      completerNs: pick([0, 300]),
      wide: below(2) === 1,
    };
  };
  return {
    link: pick(LINKS),
    seed,
    latencyNs: pick([0, 5, 75, 500]),
    ackNs: pick([0, 100, 203]),
    replayBytes: pick([2000, 16_384, 1 << 16]),
    skp: below(2) === 1,
    ecrc: below(2) === 1,
    up: end(),
    down: end(),
  };
}

/** Requests and completions of both ends, from the rules for 256 bytes of MPS. */
function expected({ up, down }: { up: EndInput; down: EndInput }): [number, number, number] {
  const pieces = (bytes = 0): number => Math.ceil(bytes / 256);
  const of = (end: EndInput): [number, number] => [
    (end.writes?.count ?? 0) * pieces(end.writes?.bytes) + (end.reads?.count ?? 0),
    (end.writes?.count ?? 0) * Math.ceil((end.writes?.bytes ?? 0) / 4) * 4,
  ];
  return [of(up)[0] + of(down)[0], of(up)[1], of(down)[1]];
}

/** Finite pools: all that one end used, `end` gave back, but for what it still drains when the run ends. */
function checkCredits(
  seed: number,
  used: readonly number[],
  returned: readonly number[],
  end: EndInput,
): void {
  const pools = end.credits?.cplh === 0 ? 4 : 6;
  const rest = used.slice(0, pools).map((count, n) => count - (returned[n] ?? 0));
  if (end.drainNs === 0) expect([seed, ...rest]).toEqual([seed, ...rest.map(() => 0)]);
  else for (const count of rest) if (!(count >= 0 && count < 256)) throw new Error(`seed ${seed}: ${rest}`);
}

describe.each(BUILDS)('links with errors on the %s build', (build) => {
  const core = useBuild(build);

  it(`deliver ${TLPS[build] / 1e6} million TLPs, each once`, async () => {
    let tlps = 0;
    let seeds = 0;
    let replayed = 0;
    while (tlps < TLPS[build]) {
      seeds += 1;
      const input = inputOf(seeds);
      const { up, down, bar } = await simulateLink({ ...input, core: core() });
      const [requests] = expected(input);
      const completions = up.tlps + down.tlps - requests;
      if (completions < (input.up.reads?.count ?? 0) + (input.down.reads?.count ?? 0))
        throw new Error(`seed ${seeds}: ${up.tlps} + ${down.tlps} TLPs arrived`);
      expect([seeds, up.reads.done, down.reads.done]).toEqual([
        seeds,
        input.up.reads?.count,
        input.down.reads?.count,
      ]);
      checkCredits(seeds, up.credits.used, down.credits.returned, input.down);
      checkCredits(seeds, down.credits.used, up.credits.returned, input.up);
      const { bytes, count } = input.up.writes as { bytes: number; count: number };
      const written = Math.min(bar.length, bytes * count);
      // Accesses lie side by side, all from the same source; where the window wraps they lie anew.
      if (bytes * count <= bar.length)
        for (let at = 0; at < written; at++) {
          const n = at % bytes;
          if (bar[at] !== ((n * 167 + (n >> 8) + 13) & 0xff)) throw new Error(`seed ${seeds}: byte ${at}`);
        }
      tlps += up.tlps + down.tlps;
      replayed += up.replayed + down.replayed;
    }
    process.stdout.write(`${build}: ${tlps} TLPs, ${seeds} seeds, ${replayed} sent again\n`);
    expect(replayed).toBeGreaterThan(0);
  });
});
