/** `ztlp regress`: the 4 KiB PCISTB against its splits. */
import { Command } from 'commander';
import { REGRESS_MPS, runRegression } from '../../report/regress.js';
import { formatRegress } from '../../report/regress-text.js';
import { contained } from '../contained.js';
import { loadDevice } from '../load-device.js';
import { type CommonFlags, complain, EXIT_DATA, printFound, styleFor, withCommonFlags } from '../output.js';
import { once, oneOf, parseCount } from '../values.js';

interface Flags extends CommonFlags {
  readonly mps: number;
  readonly cases: number;
  readonly seed: number;
  readonly device?: string;
}

const EXAMPLES = `
Examples:
  $ ztlp regress                 counts, memory and refusals at MPS 256
  $ ztlp regress --mps 4096      one TLP for the whole block
  $ ztlp regress --cases 10000 --seed 7
  $ ztlp regress --device memory   stores to the first BAR that is memory

Exit codes: 0 passed; 1 a count, the final memory or a refusal differs from what
its sources (docs/sources.md) say, or the device cannot be loaded or has no
such BAR; 2 wrong call.`;

const mpsOption = (text: string): number => Number(oneOf(...REGRESS_MPS.map(String))(text));

async function run(flags: Flags): Promise<void> {
  const { mps, cases, seed, device } = flags;
  const options = { mps, cases, seed };
  const report =
    device === undefined
      ? await runRegression(options)
      : await contained(device, async () => runRegression({ ...options, device: await loadDevice(device) }));
  await printFound(flags, report, () => formatRegress(report, styleFor()));
  if (report.passed) return;
  process.exitCode = EXIT_DATA;
  if (flags.quiet) complain('the regression failed: run it without --quiet to see where');
}

export function regressCommand(): Command {
  return withCommonFlags(new Command('regress'))
    .summary('the 4 KiB block store against its splits')
    .description('Stores 4 KiB by one PCISTB, 32 of 128 bytes, 512 x 8 and 1024 x 4 bytes, and compares.')
    .option('--mps <bytes>', `Max Payload Size: ${REGRESS_MPS.join(', ')}`, once(mpsOption), 256)
    .option('--cases <n>', 'random offsets and lengths to try on every way', once(parseCount), 200)
    .option('--seed <n>', 'seed of the random cases', once(parseCount), 1)
    .option('--device <device>', 'a file, a package or a model of ztlp with a memory BAR', once(String))
    .addHelpText('after', EXAMPLES)
    .action(run);
}
