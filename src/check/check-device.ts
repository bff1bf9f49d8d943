/** `checkDevice`: runs the conformance kit on a device model and says of each check how it went. */
import { inRange, needObject, ZtlpError } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { Device } from '../device/define.js';
import { armInterrupts, performAll } from './bench.js';
import { ranges, widths } from './checks/accesses.js';
import { bars, config } from './checks/config.js';
import { determinism } from './checks/determinism.js';
import { dmaFaults, quiesce } from './checks/dma.js';
import { msix } from './checks/msix.js';
import { registers } from './checks/registers.js';
import { resets } from './checks/resets.js';
import { saveLoad } from './checks/save.js';
import { assign } from './errors.js';
import { type Check, Failed, Kit, NotApplicable } from './kit.js';
import { Monitor, monitored } from './monitor.js';
import { plural } from './text.js';
import type { CheckOptions, CheckReport, CheckResult } from './types.js';

/** Random accesses on every way; what goes wrong is found in the errors of all checks. */
const throws: Check = {
  id: 'throws',
  title: 'callbacks that fail',
  async run(kit) {
    const accesses = kit.accesses();
    const benches = await kit.each();
    for (const bench of benches) {
      if (bench.way !== 'emulated') armInterrupts(bench);
      performAll(bench, accesses);
      bench.run(1_000_000);
    }
    // A promise or a timer of the host that the model left behind may call it now, outside of any callback.
    await new Promise((resolve) => setTimeout(resolve, 0));
    return `none in ${plural(benches.length * accesses.length, 'access')}: ${benches.map(({ way }) => way).join(', ')}`;
  },
};

const loops: Check = {
  id: 'loops',
  title: 'loops at one instant',
  run: async () => 'none: simulated time always goes on',
};

const floods: Check = {
  id: 'floods',
  title: 'too many requests in one callback',
  run: async () => 'none',
};

/**
 * In the order of the report. Resets come first of those that call the model: what a model keeps outside of its state is
 * seen best while it is new.
 */
const CHECKS: readonly Check[] = [
  config,
  bars,
  resets,
  registers,
  widths,
  ranges,
  msix,
  dmaFaults,
  saveLoad,
  quiesce,
  determinism,
  throws,
  loops,
  floods,
];

/** Identifier and title of every check, in their order. */
export const CHECK_TITLES: readonly (readonly [id: string, title: string])[] = CHECKS.map(({ id, title }) => [
  id,
  title,
]);

/** Random accesses in each part of each check. */
export const DEFAULT_ACCESSES = 300;
const KEYS = keysOf<CheckOptions>({ seed: true, accesses: true, core: true, onCheck: true, onCall: true });

/**
 * Runs every check on `device`, each on fresh instances. The same device and options give the same report. Never throws
 * for what the model does; a model that does not return from a callback cannot be interrupted here: run the kit in a
 * worker then, as `ztlp check-device` does.
 * Throws ZtlpError for options that are not valid.
 */
export async function checkDevice(device: Device, options: CheckOptions = {}): Promise<CheckReport> {
  needObject('device', device);
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const { seed = 1, accesses = DEFAULT_ACCESSES, core, onCheck, onCall } = options;
  inRange('seed', seed, 0, 0xffff_ffff);
  inRange('accesses', accesses, 1, 100_000);
  const monitor = new Monitor(onCall);
  const kit = new Kit(monitored(device, monitor), monitor, seed, accesses, core);
  const results: CheckResult[] = [];
  let stoppedIn: string | undefined;
  for (const check of CHECKS) {
    monitor.begin(check.id);
    // A model that was stopped once would be again and again, which takes long and tells nothing.
    const result =
      stoppedIn === undefined || isSummary(check) ? await outcomeOf(check, kit) : skipped(check, stoppedIn);
    if (kit.stopped) stoppedIn ??= check.id;
    results.push(result);
    onCheck?.(result);
  }
  const checks = assign(results, kit.errors).map((result, n) =>
    // Of a model that does not run, nothing can be said to pass.
    stoppedIn !== undefined && result.outcome === 'pass' && n >= indexOf(stoppedIn)
      ? skipped(result, stoppedIn)
      : result,
  );
  return {
    device: device.name,
    seed,
    accesses,
    checks,
    passed: checks.every(({ outcome }) => outcome !== 'fail'),
  };
}

const isSummary = (check: Check): boolean => check === loops || check === floods;

const indexOf = (id: string): number => CHECKS.findIndex((check) => check.id === id);

function skipped({ id, title }: Pick<Check, 'id' | 'title'>, stoppedIn: string): CheckResult {
  return {
    id,
    title,
    outcome: 'not-applicable',
    line: id === stoppedIn ? 'the model was stopped' : `not run: the model was stopped in ${stoppedIn}`,
  };
}

async function outcomeOf(check: Check, kit: Kit): Promise<CheckResult> {
  const { id, title } = check;
  try {
    return { id, title, outcome: 'pass', line: await check.run(kit) };
  } catch (error) {
    const line = error instanceof Error ? error.message : String(error);
    if (error instanceof NotApplicable) return { id, title, outcome: 'not-applicable', line };
    // The machine itself gave up on the device: too many requests, a request that it does not know.
    if (error instanceof Failed || error instanceof ZtlpError) return { id, title, outcome: 'fail', line };
    throw error;
  }
}
