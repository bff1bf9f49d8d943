/** What a check works with: benches for the device, its seed, and every error that the device's model made on them. */
import { ZtlpError } from '../base/errors.js';
import type { CoreSource } from '../core/core.js';
import type { Device } from '../device/define.js';
import type { ContainedError } from '../device/guard.js';
import { type Bench, performAll, type Way } from './bench.js';
import { DirectBench } from './direct-bench.js';
import { type Access, accessesOf } from './generator.js';
import { type MachineBench, machineBench } from './machine-bench.js';
import type { Monitor } from './monitor.js';

/** Ends a check: what is wrong. */
export class Failed extends Error {}

/** Ends a check: why it has nothing to look at. */
export class NotApplicable extends Error {}

/** One check of the list. */
export interface Check {
  readonly id: string;
  readonly title: string;
  /** What was looked at, in one line. Throws Failed or NotApplicable. */
  run(kit: Kit): Promise<string>;
}

/** An error of the model, and the check in which it happened. */
export interface KitError {
  readonly check: string;
  readonly way: Way;
  readonly error: ContainedError;
}

/** Bytes of BARs from which on the kit makes machines for configuration space only. */
const MANY_BYTES = 1 << 26;

/** Reasons of `createMachine` that are no fault of the device: it is too large for a machine. */
const TOO_LARGE: ReadonlySet<string> = new Set(['resource', 'out-of-range']);

export class Kit {
  private readonly benches: { readonly check: string; readonly bench: Bench }[] = [];

  constructor(
    /** Under the monitor. */
    readonly device: Device,
    readonly monitor: Monitor,
    readonly seed: number,
    readonly count: number,
    private readonly core: CoreSource | Promise<CoreSource> | undefined,
  ) {}

  /** The random accesses of part `part` of a check. */
  accesses(part = 0, count = this.count): Access[] {
    return accessesOf(this.device, (this.seed + 0x9e37_79b9 * part) >>> 0, count);
  }

  direct(): DirectBench {
    return this.keep(new DirectBench(this.device));
  }

  /**
   * A fresh machine. Throws NotApplicable for a device that is too large for one, or so large that every machine takes
   * long to make, unless `evenSlow`.
   */
  async machine(way: 'TLPs' | 'emulated' = 'TLPs', evenSlow = false): Promise<MachineBench> {
    const bytes = this.device.bars.reduce((sum, bar) => sum + (bar?.size ?? 0), 0);
    if (bytes > MANY_BYTES && !evenSlow)
      throw new NotApplicable(`BARs of ${bytes} bytes: a machine for each part takes long`);
    try {
      return this.keep(await machineBench(way, this.device, this.core));
    } catch (error) {
      if (error instanceof ZtlpError && TOO_LARGE.has(error.code))
        throw new NotApplicable(`no machine can hold the device: ${error.message}`);
      throw error;
    }
  }

  /** A bench of each way that there can be. */
  async each(): Promise<Bench[]> {
    const benches: Bench[] = [this.direct()];
    for (const way of ['TLPs', 'emulated'] as const) {
      try {
        benches.push(await this.machine(way));
      } catch (error) {
        if (!(error instanceof NotApplicable)) throw error;
      }
    }
    return benches;
  }

  /** A machine that is reached by TLPs; without a machine for devices that are too large for one. */
  async best(): Promise<Bench> {
    try {
      return await this.machine();
    } catch (error) {
      if (error instanceof NotApplicable) return this.direct();
      throw error;
    }
  }

  /** A model was stopped in this check, or called more often than a check may. */
  get stopped(): boolean {
    const { check, exhausted } = this.monitor;
    return exhausted || this.benches.some((one) => one.check === check && one.bench.stopped);
  }

  /** Ends the check when the model was stopped on `bench`: what it does not do then is no mistake of its own. */
  needRunning(bench: Bench): void {
    if (bench.stopped || this.monitor.exhausted) throw new NotApplicable('the model was stopped');
  }

  /** Everything that was contained so far. */
  get errors(): readonly KitError[] {
    return this.benches.flatMap(({ check, bench }) =>
      bench.errors.map((error) => ({ check, way: bench.way, error })),
    );
  }

  /** The last error on `bench`, for a line; empty without one. */
  reason(bench: Bench): string {
    const last = bench.errors.at(-1);
    return last === undefined ? '' : `: ${last.callback}: ${last.message}`;
  }

  private keep<B extends Bench>(bench: B): B {
    this.benches.push({ check: this.monitor.check, bench });
    return bench;
  }
}

/** Does the accesses and waits until the device has done what they set going. */
export function exercise(bench: Bench, accesses: readonly Access[]): void {
  performAll(bench, accesses);
  for (let n = 0; n < 100 && !bench.instance.idle && !bench.stopped; n++) bench.run(10_000);
}
