/** Moments at which a model has something set for later, on every time scale; and the time until nothing is left. */
import { armInterrupts, type Bench, perform } from './bench.js';
import { type Access, placesOf } from './generator.js';
import type { Kit } from './kit.js';

/** Time that passes behind each access in turn: whatever a model waits for, it is met while it waits. */
const STEPS: readonly number[] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
/** More accesses than this do not show more moments. */
const MOST_ACCESSES = 300;
/** Callbacks in one step of time from which on a model is taken for one that never comes to rest. */
const BUSY = 100;
const FAR_NS = 2e11;
/** Reads of each region while time passes. */
const LOOKS = 16;

export interface Moments {
  /** With time between them: longer and longer, and again. */
  readonly accesses: readonly Access[];
  /** How many of them to do until a timer is set; ascending. */
  readonly ends: readonly number[];
}

/** Does accesses of part `part` on a bench of its own, and finds when timers are set: `perStep` times behind each step. */
export function momentsOf(kit: Kit, part: number, perStep: number): Moments {
  const bench = kit.direct();
  armInterrupts(bench);
  const accesses: Access[] = [];
  const found = new Map<number, number[]>();
  let steps = STEPS;
  for (const [n, access] of kit.accesses(part, Math.min(kit.count, MOST_ACCESSES)).entries()) {
    const ns = steps[n % steps.length] as number;
    const wait: Access = { op: 'run', ns };
    accesses.push(access, wait);
    perform(bench, access);
    const before = kit.monitor.calls;
    perform(bench, wait);
    kit.needRunning(bench);
    if (!bench.instance.idle) found.set(ns, [...(found.get(ns) ?? []), accesses.length]);
    if (kit.monitor.calls - before > BUSY && ns > 1) steps = steps.filter((step) => step < ns);
  }
  const ends = [...found.values()].flatMap((list) =>
    list.filter((_, n) => n % Math.ceil(list.length / perStep) === 0),
  );
  return { accesses, ends: ends.sort((one, other) => one - other) };
}

/** 1, 2, 5, 10, 20, 50, ... ns, to be run until nothing is set any more; then far past that. */
export function* untilRest(kit: Kit, bench: Bench): Generator<number> {
  let total = 0;
  for (let n = 0; total < FAR_NS && !bench.stopped && !bench.instance.idle; n++) {
    const ns = ([1, 2, 5][n % 3] as number) * 10 ** Math.floor(n / 3);
    const before = kit.monitor.calls;
    yield ns;
    total += ns;
    if (kit.monitor.calls - before > 10 * BUSY) return;
  }
  yield Math.min(1e12, 10 * total + 1);
}

/** Reads of registers and of the starts of callback regions: what a driver sees while it waits. */
export function looksOf(kit: Kit): Access[] {
  return placesOf(kit.device).flatMap(({ bar, region: { kind, offset: start, size } }): Access[] => {
    if (kind === 'callback')
      return Array.from({ length: Math.min(LOOKS, size >>> 2) }, (_, n) => ({
        op: 'read',
        bar,
        offset: start + 4 * n,
        length: 4,
      }));
    return (kit.device.bars[bar]?.registers ?? [])
      .filter(({ offset }) => offset >= start && offset < start + size)
      .slice(0, LOOKS)
      .map(({ offset, width }) => ({ op: 'read', bar, offset, length: width }));
  });
}
