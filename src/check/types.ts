/** What the conformance kit is asked and what it answers. */
import type { CoreSource } from '../core/core.js';
import type { Monitor } from './monitor.js';

export type CheckOutcome = 'pass' | 'fail' | 'not-applicable';

/** One check of a device. */
export interface CheckResult {
  /** A stable name: `resets`, `msix`, ... */
  readonly id: string;
  readonly title: string;
  readonly outcome: CheckOutcome;
  /** What is wrong, what was looked at, or why the check does not apply. One line. */
  readonly line: string;
}

export interface CheckReport {
  /** Name of the device. */
  readonly device: string;
  readonly seed: number;
  readonly accesses: number;
  readonly checks: readonly CheckResult[];
  /** No check failed. */
  readonly passed: boolean;
}

export interface CheckOptions {
  /** Seed of the accesses, 0 to 2^32 - 1. The same seed gives the same report. Default 1. */
  readonly seed?: number;
  /** Random accesses in each part of each check, 1 to 100,000. Default 300. */
  readonly accesses?: number;
  /** Where the WebAssembly core comes from. Default: the release build of this package. */
  readonly core?: CoreSource | Promise<CoreSource>;
  /** Told about each check as soon as it is done; what failed may still be given to another check. */
  readonly onCheck?: (result: CheckResult) => void;
  /** Told which check, and which callback of the model, begins. */
  readonly onCall?: Monitor['onCall'];
}
