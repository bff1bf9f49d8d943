/** Stands between a device model and everything else: contains what it throws, stops it when it loops or floods, names it. */
import { ZtlpError } from '../base/errors.js';
import { checkFields, integerOr } from './check.js';
import type { BarOffset } from './types.js';

/** When a model is stopped. Counts, not times: the same run stops at the same point on every host. */
export interface DeviceLimits {
  /**
   * Callbacks that the model causes itself (timers, DMA that is done, accesses to its own BARs) without simulated time
   * passing or an access from outside coming in. Default 100,000.
   */
  readonly callsPerInstant: number;
  /** Requests to the machine (DMA, MSI, timers, log lines) in one callback. Default 100,000. */
  readonly operationsPerCall: number;
  /** Log lines until the next reset; further ones are counted and not printed. Default 1000. */
  readonly logLines: number;
}

const DEFAULT_LIMITS: DeviceLimits = {
  callsPerInstant: 100_000,
  operationsPerCall: 100_000,
  logLines: 1000,
};
const LIMITS = Object.keys(DEFAULT_LIMITS) as (keyof DeviceLimits)[];

/** The limits with defaults filled in. */
export function resolveLimits(given: Partial<DeviceLimits> = {}): DeviceLimits {
  const fields = checkFields('limits', given, LIMITS);
  const checked = LIMITS.map((key) => {
    return [key, integerOr(`limits.${key}`, fields[key], 1, Number.MAX_SAFE_INTEGER, DEFAULT_LIMITS[key])];
  });
  return Object.fromEntries(checked) as DeviceLimits;
}

/** What became of the call: the read got Completer Abort, the write was dropped, the model was stopped, nothing. */
export type ContainedEffect = 'completer-abort' | 'write dropped' | 'stopped' | 'ignored';

/** Something that a model did and must not. */
export interface ContainedError {
  /** Name of the device. */
  readonly model: string;
  /** Callback, or register and hook: `write`, `STATUS.read`, `dma done`, `after`. */
  readonly callback: string;
  /** Where the access was. */
  readonly at: BarOffset | undefined;
  readonly timeNs: number;
  readonly message: string;
  readonly effect: ContainedEffect;
  readonly cause: unknown;
}

/** A call into the model. */
export interface GuardedCall {
  readonly callback: string;
  readonly at?: BarOffset;
  readonly effect: ContainedEffect;
  /** Comes from outside, unless a callback of the model is running. */
  readonly isAccess?: boolean;
}

/** Errors that are kept; later ones are only counted. */
const MAX_ERRORS = 100;

/** Unwinds a model that was stopped. */
class Stopped extends Error {}

export class Guard {
  /** The first 100. */
  readonly errors: ContainedError[] = [];
  /** All of them. */
  errorCount = 0;
  last: ContainedError | undefined;
  /** The model was stopped; a reset starts it again. */
  stopped = false;
  private depth = 0;
  private draining = false;
  private operations = 0;
  private ownCalls = 0;
  private instant = Number.NEGATIVE_INFINITY;
  private culprit: string | undefined;
  private call: GuardedCall = { callback: 'none', effect: 'ignored' };
  private deferred: (() => void)[] = [];

  constructor(
    private readonly model: string,
    private readonly now: () => number,
    private readonly limits: DeviceLimits,
  ) {}

  /** Runs `body`, which calls the model. When it fails or the model is stopped, the answer is `fallback`. */
  run<T>(call: GuardedCall, fallback: T, body: () => T): T {
    if (this.stopped || !this.admit(call)) return fallback;
    const outer = this.call;
    this.call = call;
    if (this.depth === 0) this.operations = 0;
    this.depth++;
    this.culprit = undefined;
    try {
      return this.named(call.callback, body);
    } catch (cause) {
      if (!(cause instanceof Stopped)) this.record(messageOf(cause), call.effect, cause);
      return fallback;
    } finally {
      this.depth--;
      this.call = outer;
      this.drain();
    }
  }

  /** Runs a part of a call that has a name of its own: what it throws carries that name. Refuses a promise. */
  named<T>(name: string, body: () => T): T {
    try {
      const result = body();
      if (isThenable(result)) {
        // Nobody will wait for it, so a rejection must not end the process.
        Promise.resolve(result).catch(() => undefined);
        throw new ZtlpError('invalid-value', 'returned a promise: callbacks are synchronous', {
          field: name,
        });
      }
      return result;
    } catch (cause) {
      this.culprit ??= name;
      throw cause;
    }
  }

  /** Runs `task` now, or as soon as the callback that is running has returned. */
  defer(task: () => void): void {
    this.deferred.push(task);
    this.drain();
  }

  /**
   * Counts a request of the model. False: there is none, because no callback is running (a promise or a timer of the
   * host's called it).
   */
  operation(what: string): boolean {
    if (this.depth === 0) {
      this.culprit = what;
      this.record('was called outside a callback: models are synchronous', 'ignored', undefined);
      return false;
    }
    this.operations++;
    if (this.operations <= this.limits.operationsPerCall && !this.stopped) return true;
    if (!this.stopped) this.stop(`made more than ${this.limits.operationsPerCall} requests in one callback`);
    throw new Stopped();
  }

  /** Forgets what was deferred, and lets a stopped model run again. */
  restart(): void {
    this.stopped = false;
    this.deferred = [];
    this.ownCalls = 0;
  }

  private admit(call: GuardedCall): boolean {
    const now = this.now();
    if (now !== this.instant || (call.isAccess && this.depth === 0 && !this.draining)) this.ownCalls = 0;
    else this.ownCalls++;
    this.instant = now;
    if (this.ownCalls <= this.limits.callsPerInstant) return true;
    this.call = call;
    this.culprit = undefined;
    this.stop(`caused more than ${this.limits.callsPerInstant} callbacks at one instant`);
    return false;
  }

  private stop(message: string): void {
    this.stopped = true;
    this.deferred = [];
    this.record(message, 'stopped', undefined);
  }

  private record(message: string, effect: ContainedEffect, cause: unknown): void {
    this.errorCount++;
    const callback = this.culprit ?? this.call.callback;
    this.culprit = undefined;
    const { at } = this.call;
    this.last = { model: this.model, callback, at, timeNs: this.now(), message, effect, cause };
    if (this.errors.length < MAX_ERRORS) this.errors.push(this.last);
  }

  private drain(): void {
    if (this.depth > 0 || this.draining) return;
    this.draining = true;
    try {
      for (let task = this.deferred.shift(); task !== undefined; task = this.deferred.shift()) task();
    } finally {
      this.draining = false;
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { readonly then?: unknown }).then === 'function'
  );
}

/** What was thrown, as text; never throws, whatever it is. */
function messageOf(cause: unknown): string {
  try {
    const text = cause instanceof Error ? cause.message : String(cause);
    return text.length > 500 ? `${text.slice(0, 497)}...` : text;
  } catch {
    return 'threw something that has no text';
  }
}
