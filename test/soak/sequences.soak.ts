/**
 * The sequences of test/zpci/sequences.test.ts by the hundred thousand, with other seeds, on the release build.
 * SOAK_SEQUENCES: how many; SOAK_SEED: the first seed; SOAK_BUILD: `debug` or `release`.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ready } from '../../src/index.js';
import { type Build, readBuild } from '../support/builds.js';
import { EXPECTED } from '../zpci/sequences/cells.js';
import { type Coverage, compare, sequences } from '../zpci/sequences/compare.js';
import { Rig } from '../zpci/sequences/rig.js';

const { SOAK_SEQUENCES, SOAK_SEED, SOAK_BUILD } = process.env;
const TOTAL = Number(SOAK_SEQUENCES ?? 100_000);
const FIRST_SEED = Number(SOAK_SEED ?? 1);
const BUILD = (SOAK_BUILD ?? 'release') as Build;
const BATCH = 5000;

it(`${TOTAL} sequences on the ${BUILD} build answer as the reference does`, async () => {
  const core = await WebAssembly.compile(await readBuild(BUILD));
  await ready(core);
  const rig = await Rig.create(core);
  const coverage: Coverage = new Map();
  const start = performance.now();
  let instructions = 0;
  for (let done = 0, seed = FIRST_SEED; done < TOTAL; seed++) {
    const numRuns = Math.min(BATCH, TOTAL - done);
    const property = fc.property(sequences, (sequence) => {
      instructions += compare(rig, sequence, coverage);
    });
    fc.assert(property, { numRuns, seed });
    done += numRuns;
    const seconds = Math.round((performance.now() - start) / 1000);
    console.log(`${done} sequences, ${instructions} instructions, ${seconds} s (seed ${seed})`);
  }
  console.log(
    [...coverage]
      .sort()
      .map(([cell, count]) => `${count}\t${cell}`)
      .join('\n'),
  );
  const reached = [...coverage.keys()];
  if (TOTAL >= BATCH) expect(EXPECTED.filter((cell) => !reached.some((key) => cell.test(key)))).toEqual([]);
});
