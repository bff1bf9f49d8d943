/** `ztlp check-device`: the conformance kit. */
import { Command } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { checkProblem, formatCheck } from '../../check/format.js';
import { checkWatched } from '../../check/watchdog.js';
import { type CommonFlags, complain, EXIT_DATA, printFound, styleFor, withCommonFlags } from '../output.js';
import { countFrom, once, parseCount } from '../values.js';

interface Flags extends CommonFlags {
  readonly device?: string;
  readonly seed: number;
  readonly accesses?: number;
  readonly timeout: number;
}

const EXAMPLES = `
Examples:
  $ ztlp check-device ./my-device.mjs          a file
  $ ztlp check-device my-device --json         an installed package
  $ ztlp check-device memory --seed 7          a model that comes with ztlp

The default export of a file or package is a device of defineDevice, its
definition, or a function that gives one. docs/devices.md explains the checks.

Exit codes: 0 no check failed; 1 a check failed, or the device cannot be loaded;
2 wrong call.`;

const WORKER = new URL('../check-worker.js', import.meta.url);

async function run(name: string | undefined, flags: Flags): Promise<void> {
  const device = name ?? flags.device;
  if (device === undefined || (name !== undefined && flags.device !== undefined))
    throw new ZtlpError('invalid-value', 'device: name one, as an argument or with --device', {
      field: 'device',
    });
  const { seed, accesses, timeout: timeoutSeconds } = flags;
  const input = { device, seed, timeoutSeconds, ...(accesses === undefined ? {} : { accesses }) };
  const report = await checkWatched(WORKER, input);
  await printFound(flags, report, () => formatCheck(report, styleFor()));
  const problem = checkProblem(report);
  if (problem === undefined) return;
  process.exitCode = EXIT_DATA;
  if (flags.quiet) complain(problem);
}

export function checkDeviceCommand(): Command {
  return withCommonFlags(new Command('check-device'))
    .summary('whether a device model keeps the rules of the bus')
    .description('Checks a device model: resets, widths, MSI-X, DMA that fails, save and load, and more.')
    .argument('[device]', 'a file, an installed package, or a model that comes with ztlp')
    .option('--device <device>', 'the same as the argument', once(String))
    .option('--seed <n>', 'seed of the random accesses', once(parseCount), 1)
    .option(
      '--accesses <n>',
      'random accesses in each part of a check (default: 300)',
      once(countFrom(1, 100_000)),
    )
    .option('--timeout <seconds>', 'until a model that hangs is ended', once(countFrom(1, 86_400)), 60)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
