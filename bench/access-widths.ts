/** Host time of 4 KiB stores at several widths, as ratios to one `Uint8Array.set` of 4 KiB in the same run. */
import Benchmark from 'benchmark';
import { createMachine, memoryDevice, type PathId } from '../src/index.js';

const options = { zpciMode: 'native', maxstbl: 4096, relaxed: true } as const;
const machine = await createMachine({ platform: 's390x', slots: [{ device: memoryDevice(), options }] });
const fn = machine.functions[0];
if (fn === undefined) throw new Error('the machine has no function');
const block = new Uint8Array(4096).fill(0x5a);
const target = new Uint8Array(4096);
machine.memory.write(0, block);

/** Calls per test: benchmark.js measures large units of work well, single short calls badly. */
const REPEAT = 100;
const BASELINE = 'Uint8Array.set of 4 KiB';

const suite = new Benchmark.Suite();
suite.add(BASELINE, () => {
  for (let n = 0; n < REPEAT; n++) target.set(block);
});
for (const length of [4096, 128]) {
  const operand = { fh: fn.handle, as: 0, length, source: 0 };
  suite.add(`4 KiB by ${4096 / length} PCISTB of ${length}`, () => {
    for (let n = 0; n < REPEAT; n++) {
      for (let offset = 0; offset < 4096; offset += length) machine.cpu.pcistb({ ...operand, offset });
    }
  });
}
const split = (path: PathId): void => {
  suite.add(`4 KiB by ${path}`, () => {
    for (let n = 0; n < REPEAT; n++)
      machine.cpu.write({ path, function: fn, bar: 0, offset: 0, data: block });
  });
};
split('zpci-pcistg8');
split('zpci-pcistg4');

suite
  .on('complete', function (this: Benchmark.Suite) {
    const runs = this.map((run: Benchmark) => run) as unknown as Benchmark[];
    const base = runs.find((run) => run.name === BASELINE)?.stats.mean ?? Number.NaN;
    for (const run of runs) {
      const ratio = (run.stats.mean / base).toFixed(2).padStart(8);
      console.log(`${ratio} x  +-${run.stats.rme.toFixed(1).padStart(4)} %  ${run.name}`);
    }
  })
  .run();
