/** Takes the samples: every round runs each case once, with its C loop right behind it, so that all share the noise. */
import Benchmark from 'benchmark';
import { type Case, fullName, type Group, nativeName } from './case.js';
import { type Native, runNative } from './native.js';

export interface Sampling {
  readonly rounds: number;
  /** Samples of one case in one round. */
  readonly samples: number;
  /** Least length of a sample. */
  readonly milliseconds: number;
  /** Each case runs this long before the first round, so that the engine has compiled it for good. */
  readonly warmUp: number;
}

/** Short samples: on a busy machine some of them stay undisturbed. */
export const FULL: Sampling = { rounds: 15, samples: 12, milliseconds: 1, warmUp: 150 };
export const QUICK: Sampling = { rounds: 5, samples: 4, milliseconds: 0.5, warmUp: 30 };

/** Samples in ns per unit, one list per round. */
export type Rounds = readonly (readonly number[])[];

/** What was measured, by full name; the C loop of a case under its own name. */
export type Measured = ReadonlyMap<string, Rounds>;

/** Calls per sample that the last round found, by case: what benchmark.js would otherwise search again. */
type Counts = Map<Case, number>;

function sampleHost(one: Case, { samples, milliseconds }: Sampling, counts: Counts): number[] {
  const bench = new Benchmark(one.name, one.run, {
    initCount: counts.get(one) ?? 1,
    maxTime: 0,
    minSamples: samples,
    minTime: milliseconds / 1000,
  });
  bench.run({ async: false });
  const { error, stats, count } = bench as Benchmark & { readonly error?: Error };
  if (error !== undefined) throw error;
  counts.set(one, Math.max(1, count));
  return stats.sample.map((seconds) => (seconds * 1e9) / one.units);
}

function warmUp({ run }: Case, milliseconds: number): void {
  const end = performance.now() + milliseconds;
  do run();
  while (performance.now() < end);
}

/** Measures the cases of one group. The first round, which finds the calls per sample, is thrown away. */
export function measureGroup(group: Group, sampling: Sampling, native: Native | undefined): Measured {
  const counts: Counts = new Map();
  const measured = new Map<string, (readonly number[])[]>();
  for (const one of group.cases) one.check?.();
  for (const one of group.cases) warmUp(one, sampling.warmUp);
  for (let round = 0; round <= sampling.rounds; round++) {
    const keep = (name: string, samples: readonly number[]): void => {
      const key = fullName(group, name);
      const rounds = measured.get(key) ?? [];
      if (round > 0) rounds.push(samples);
      measured.set(key, rounds);
    };
    for (const one of group.cases) {
      keep(one.name, sampleHost(one, sampling, counts));
      if (native === undefined || one.native === undefined) continue;
      keep(nativeName(one.name), runNative(native, one.native, sampling.samples, sampling.milliseconds));
    }
  }
  return measured;
}
