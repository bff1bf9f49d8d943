/** The same accesses give the same answers, TLPs and interrupts, whatever the clock of the host and its random numbers say. */
import { armInterrupts, courseOf, differenceOf } from '../bench.js';
import { type Check, Failed } from '../kit.js';

export const determinism: Check = {
  id: 'determinism',
  title: 'the same accesses give the same course',
  async run(kit) {
    const accesses = kit.accesses(9);
    const one = await kit.best();
    const other = await kit.best();
    for (const bench of [one, other]) armInterrupts(bench);
    const course = courseOf(one, accesses);
    const again = elsewhere(() => courseOf(other, accesses));
    kit.needRunning(one);
    const difference = differenceOf(accesses, ['in one run', course], ['in another', again]);
    if (difference !== undefined) throw new Failed(difference);
    return `${accesses.length} accesses twice, ${one.way === 'TLPs' ? 'as TLPs' : 'without a machine'}`;
  },
};

const SHIFT_MS = 123_456_789;

/** Runs `body`, which is synchronous, with another time of day and other random numbers; then all is as before. */
function elsewhere<T>(body: () => T): T {
  const { random } = Math;
  const { now } = performance;
  const RealDate = Date;
  class LaterDate extends RealDate {
    constructor(...args: ConstructorParameters<typeof Date>) {
      super(...(args.length > 0 ? args : ([RealDate.now() + SHIFT_MS] as typeof args)));
    }
    static override now(): number {
      return RealDate.now() + SHIFT_MS;
    }
  }
  Math.random = () => (random() + 0.5) % 1;
  performance.now = () => now.call(performance) + SHIFT_MS;
  globalThis.Date = LaterDate as DateConstructor;
  try {
    return body();
  } finally {
    Math.random = random;
    performance.now = now;
    globalThis.Date = RealDate;
  }
}
