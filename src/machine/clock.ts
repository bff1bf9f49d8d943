/** Simulated time and its timers: integer ticks, ties in the order in which they were set. */
import * as L from '../../assembly/layout.js';
import { invalid, ZtlpError } from '../base/errors.js';

interface Timer {
  readonly ticks: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Exact up to 2^53 ticks: 2199 seconds. */
const MAX_NS = 2 ** 53 / L.TICKS_PER_NS;

export class Clock {
  private ticks = 0;
  private order = 0;
  private running = false;
  /** A binary heap: the earliest timer first. */
  private readonly heap: Timer[] = [];

  /** Called when another timer is the next one: its tick, or undefined. */
  onNext: ((ticks: number | undefined) => void) | undefined;

  /** Nanoseconds since create or reset: a multiple of 1/4096. */
  get ns(): number {
    return this.ticks / L.TICKS_PER_NS;
  }

  /** Calls back `ns` (0 or more) nanoseconds from now, rounded up to a tick. */
  after(ns: number, callback: () => void): void {
    if (typeof ns !== 'number' || !(ns >= 0 && this.ns + ns < MAX_NS))
      throw invalid('ns', ns, `0 to ${MAX_NS} with the time so far`);
    this.add({ ticks: this.ticks + Math.ceil(ns * L.TICKS_PER_NS), order: this.order++, callback });
  }

  /** Moves time on by `ns`; `settle` is called after each timer, for what the callback set going. */
  run(ns: number, settle: () => void): void {
    const end = this.ticksAfter(ns);
    this.checkStill('run');
    this.running = true;
    try {
      this.runTo(end, settle);
    } finally {
      this.running = false;
    }
  }

  /** Simulated links have brought time to `ticks`. */
  moveTo(ticks: number): void {
    this.ticks = Math.max(this.ticks, ticks);
  }

  /** Ticks after `ns` from now on. */
  ticksAfter(ns: number): number {
    if (typeof ns !== 'number' || !(ns >= 0 && this.ns + ns < MAX_NS))
      throw invalid('ns', ns, `0 to ${MAX_NS} with the time so far`);
    return this.ticks + Math.round(ns * L.TICKS_PER_NS);
  }

  /** Calls back what is due by now, in order. */
  fireDue(): void {
    for (let next = this.heap[0]; next !== undefined && next.ticks <= this.ticks; next = this.heap[0]) {
      this.take();
      next.callback();
    }
  }

  /** Throws while time runs: a callback of a timer cannot move it. */
  checkStill(what: string): void {
    if (this.running)
      throw new ZtlpError('unsupported', `${what} was called from a timer`, {
        field: what,
        allowed: 'a call when run has returned',
      });
  }

  private runTo(end: number, settle: () => void): void {
    for (let next = this.heap[0]; next !== undefined && next.ticks <= end; next = this.heap[0]) {
      this.take();
      this.ticks = next.ticks;
      next.callback();
      settle();
    }
    this.ticks = end;
  }

  /** Time 0 and no timers: a machine reset. */
  reset(): void {
    this.ticks = 0;
    this.order = 0;
    this.heap.length = 0;
    this.onNext?.(undefined);
  }

  private add(timer: Timer): void {
    const { heap } = this;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent] as Timer, timer)) break;
      heap[at] = heap[parent] as Timer;
      at = parent;
    }
    heap[at] = timer;
    if (at === 0) this.onNext?.(timer.ticks);
  }

  private take(): void {
    const { heap } = this;
    const last = heap.pop() as Timer;
    if (heap.length === 0) {
      this.onNext?.(undefined);
      return;
    }
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child++;
      if (isBefore(last, heap[child] as Timer)) break;
      heap[at] = heap[child] as Timer;
      at = child;
    }
    heap[at] = last;
    this.onNext?.((heap[0] as Timer).ticks);
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.ticks === other.ticks ? one.order < other.order : one.ticks < other.ticks;
}
