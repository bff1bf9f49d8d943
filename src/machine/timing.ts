/** Simulated time of a machine: brings its links forward, serves what happens on the way, and charges the CPU. */
import * as L from '../../assembly/layout.js';
import { ZtlpError } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { high32, low32 } from '../core/u64.js';
import { ticksOf } from '../link/ports.js';
import type { Clock } from './clock.js';
import type { Links } from './links.js';

/** What the machine does when simulated time stops for it. */
export interface TimingParts {
  readonly core: Core;
  readonly clock: Clock;
  readonly links: Links;
  readonly options: Options;
  /** Serves the records of the core. */
  serve(): void;
  drainTrace(): void;
  /** Starts and ends DMA of functions, whose callbacks run. */
  pump(): void;
  /** No DMA waits or is under way. */
  isIdle(): boolean;
  /** A call of the machine begins. */
  restart(): void;
  /** Nothing of the CPU is under way: interrupts reach who wants to be told. */
  told(): void;
}

/** Later than every event. */
const NO_END = Number.POSITIVE_INFINITY;
/**
 * Times that one call may stop at one moment of simulated time. Models that keep each other going without taking any
 * time would never end.
 */
const MOST_STOPS = 1_000_000;

export class Timing {
  /** An access of the CPU is under way: its state is in the core, and there is only one. */
  accessing = false;
  private stops = 0;
  private stopTicks = -1;

  constructor(private readonly parts: TimingParts) {
    const { core, clock } = parts;
    clock.onNext = (ticks) => core.x.timedHorizon(...pair(ticks ?? NO_END));
    this.start();
  }

  /** Time 0, nothing on any link. */
  start(): void {
    const { core, links, options } = this.parts;
    links.write();
    core.x.timedStart();
    core.x.timedSetCpu(ticksOf(options.issueIntervalNs), options.storeBuffer);
  }

  /** Time of the CPU in ticks. */
  get cpuTicks(): number {
    return this.parts.core.x.timedCpu();
  }

  get events(): number {
    return this.parts.core.x.timedEvents();
  }

  get hash(): string {
    const half = (which: number): string =>
      (this.parts.core.x.timedHash(which) >>> 0).toString(16).padStart(8, '0');
    return half(1) + half(0);
  }

  /** Costs of the access that begins. */
  charge(options: Options, isDirect: boolean, isPipelined: boolean): void {
    const { instructionNs, exitNs, syscallNs, hostOpNs } = options;
    // A guest instruction that itself reaches the device is charged once.
    const [exit, call, host] = isDirect ? [0, 0, 0] : [exitNs, syscallNs, hostOpNs];
    this.parts.core.x.timedAccess(
      ticksOf(instructionNs),
      ticksOf(exit),
      ticksOf(call),
      ticksOf(host),
      isPipelined ? 1 : 0,
    );
  }

  /** The CPU executes one instruction that takes `ns`; everything up to its end has happened. */
  instruction(ns: number): void {
    this.take(ns);
    this.advance();
    this.until(L.UNTIL_ROOM, NO_END);
  }

  /** The CPU stores to a write-combining buffer, which takes `ns`; it waits while no line could leave. */
  store(ns: number): void {
    this.take(ns);
    this.until(L.UNTIL_ROOM, NO_END);
  }

  private take(ns: number): void {
    const { x } = this.parts.core;
    x.timedAccess(0, 0, 0, 0, 0);
    x.timedSpend(ticksOf(ns));
  }

  /** Whatever happens up to the time of the CPU. */
  advance(): void {
    this.parts.restart();
    for (let ticks = -1; ticks !== this.cpuTicks; ) {
      ticks = this.cpuTicks;
      this.until(L.UNTIL_TIME, ticks);
    }
    this.parts.clock.moveTo(this.parts.core.x.timedNow());
  }

  /** Lets time pass up to `ticks`; the CPU does nothing. */
  idle(ticks: number): void {
    this.parts.restart();
    this.until(L.UNTIL_TIME, ticks);
    this.parts.core.x.timedSpend(Math.max(0, ticks - this.cpuTicks));
    this.advance();
  }

  /** Runs until nothing is under way on any link, and every TLP is acknowledged; the CPU waits for it. */
  settle(): void {
    this.parts.restart();
    do {
      this.until(L.UNTIL_QUIET, NO_END);
      this.parts.pump();
    } while (!this.parts.isIdle());
    this.until(L.UNTIL_QUIET, NO_END);
    this.advance();
  }

  private until(what: number, ticks: number): void {
    const { core } = this.parts;
    while (core.x.timedRun(what, ...pair(ticks)) === L.TIMED_HOST) {
      if (this.step()) core.x.deliver();
      this.after();
    }
  }

  /** What the host has to do. True: records were served, and the core has to be told. */
  step(): boolean {
    const { core, clock } = this.parts;
    clock.moveTo(core.x.timedNow());
    this.count();
    if (core.x.records() > 0) {
      this.parts.serve();
      return true;
    }
    this.parts.drainTrace();
    clock.fireDue();
    return false;
  }

  /** The core has been told: what was set going begins. */
  after(): void {
    this.parts.pump();
    if (!this.accessing) this.parts.told();
  }

  private count(): void {
    const ticks = this.parts.core.x.timedNow();
    if (ticks !== this.stopTicks) this.stops = 0;
    this.stopTicks = ticks;
    if (++this.stops <= MOST_STOPS) return;
    this.stops = 0;
    throw new ZtlpError('resource', `more than ${MOST_STOPS} steps at one instant`, {
      field: 'time',
      value: ticks,
    });
  }
}

function pair(ticks: number): [number, number] {
  return ticks === NO_END ? [0xffff_ffff, 0xffff_ffff] : [low32(ticks), high32(ticks)];
}
