/** Random instruction sequences of a guest against a reference of the zPCI state machine, step by step. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import { EXPECTED } from './sequences/cells.js';
import { type Coverage, compare, sequences } from './sequences/compare.js';
import { MEMORY_BYTES, Rig } from './sequences/rig.js';

/** Fixed, so that what the sequences reach can be asserted. */
const SEED = 20_210_127;
const COUNT = 500;

describe.each(BUILDS)('sequences on the %s build', (build) => {
  const core = useBuild(build);

  it('answer, write, signal and count as the reference does, in every cell of the tables', async () => {
    const rig = await Rig.create(core());
    const coverage: Coverage = new Map();
    fc.assert(
      fc.property(sequences, (sequence) => void compare(rig, sequence, coverage)),
      { numRuns: COUNT, seed: SEED },
    );
    const reached = [...coverage.keys()];
    const missing = EXPECTED.filter((cell) => !reached.some((key) => cell.test(key))).map(String);
    expect(missing).toEqual([]);
  });

  it('leave nothing behind that a reset does not clear', async () => {
    const used = await Rig.create(core());
    const asNew = observed(await Rig.create(core()));
    for (const sequence of fc.sample(sequences, { numRuns: 40, seed: SEED })) {
      compare(used, sequence, new Map());
      used.machine.reset();
      expect(observed(used)).toEqual(asNew);
    }
  });
});

/** All that can be seen of a machine from outside. */
function observed(rig: Rig): unknown {
  const { machine } = rig;
  const sum = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    stats: machine.stats(),
    time: machine.time,
    seen: [rig.take(), machine.trace.take(), machine.takeLog()],
    memory: sum(machine.memory.read(0, MEMORY_BYTES)),
    functions: machine.functions.map((fn) => ({
      state: fn.state,
      handle: fn.handle,
      stats: fn.stats,
      translation: fn.translation,
      usesTranslation: fn.usesTranslation,
      bars: [0, 3].map((bar) => sum(fn.barMemory(bar))),
      config: sum(Uint8Array.from({ length: 256 }, (_, n) => fn.config.read(n, 1))),
      controls: [machine.cpu.stpcifc({ fh: fn.handle, fib: 0 }), sum(machine.memory.read(0, 80))],
    })),
  };
}
