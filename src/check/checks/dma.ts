/** DMA that fails, and a device that is about to be stopped: the model goes on in order, and sends nothing new. */
import type { DmaFailure } from '../../device/types.js';
import { armInterrupts, performAll } from '../bench.js';
import { type Check, exercise, Failed, type Kit, NotApplicable } from '../kit.js';
import { momentsOf, untilRest } from '../moments.js';
import { plural } from '../text.js';

const FAILURES: readonly DmaFailure[] = ['unsupported-request', 'completer-abort', 'blocked'];

export const dmaFaults: Check = {
  id: 'dma-faults',
  title: 'DMA that fails',
  async run(kit) {
    const accesses = kit.accesses(4);
    const usual = kit.direct();
    exercise(usual, accesses);
    kit.needRunning(usual);
    const requests = usual.takeEvents().filter((event) => event.startsWith('DMA')).length;
    if (requests === 0) throw new NotApplicable(`the device did no DMA in ${accesses.length} accesses`);
    for (const failure of FAILURES) {
      const bench = kit.direct();
      bench.failDma(failure);
      exercise(bench, accesses);
      if (bench.stopped)
        throw new Failed(`the model was stopped when all DMA got ${failure}${kit.reason(bench)}`);
    }
    const bench = await kit.best();
    bench.setBusMaster(false);
    exercise(bench, accesses);
    const sent = bench.way === 'direct' ? [] : bench.takeEvents();
    if (sent.length > 0) throw new Failed(`with Bus Master Enable off the device sends ${sent[0]}`);
    return `${requests} requests of ${accesses.length} accesses, answered with ${FAILURES.join(', ')}`;
  },
};

const PARTS = 8;
const QUIET_NS = 100_000;

export const quiesce: Check = {
  id: 'quiesce',
  title: 'nothing new after quiesce',
  async run(kit) {
    const bench = await kit.best();
    armInterrupts(bench);
    const accesses = kit.accesses(5);
    const size = Math.ceil(accesses.length / PARTS);
    for (let at = 0; at < accesses.length; at += size) {
      performAll(bench, accesses.slice(at, at + size));
      kit.needRunning(bench);
      bench.instance.quiesce();
      bench.takeEvents();
      bench.run(QUIET_NS);
      const [first] = bench.takeEvents();
      if (first === undefined) continue;
      throw new Failed(`after quiesce the device sends ${first}${withoutCallback(kit)}`);
    }
    const waiting = whileTimersAreSet(kit);
    const more = waiting === 0 ? '' : `, ${plural(waiting, 'time')} while timers were set`;
    return `${PARTS} times in ${accesses.length} accesses${more}`;
  },
};

/** Quiesces while something is set for later, on every time scale, and waits until that would have come. */
function whileTimersAreSet(kit: Kit): number {
  const { accesses, ends } = momentsOf(kit, 12, 8);
  for (const end of ends) {
    const bench = kit.direct();
    armInterrupts(bench);
    performAll(bench, accesses.slice(0, end));
    kit.needRunning(bench);
    bench.instance.quiesce();
    bench.takeEvents();
    let waited = 0;
    for (const ns of untilRest(kit, bench)) {
      bench.run(ns);
      waited += ns;
      const [first] = bench.takeEvents();
      if (first !== undefined)
        throw new Failed(
          `within ${waited} ns after quiesce the device sends ${first}${withoutCallback(kit)}`,
        );
    }
  }
  return ends.length;
}

const withoutCallback = (kit: Kit): string =>
  kit.device.definition.quiesce === undefined ? ' (it has no quiesce callback)' : '';
