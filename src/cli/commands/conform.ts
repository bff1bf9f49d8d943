/** `ztlp conform`: agreement with golden vectors. */
import { Command } from 'commander';
import { type ConformReport, conformFile, type FileReport, hasDisagreement } from '../../conform/index.js';
import { formatConform } from '../../conform/text.js';
import {
  type CommonFlags,
  EXIT_DATA,
  print,
  printJson,
  report,
  styleFor,
  withCommonFlags,
} from '../output.js';
import { parseCount } from '../values.js';

interface Flags extends CommonFlags {
  readonly most: number;
}

const EXAMPLES = `
Examples:
  $ ztlp conform test/vectors/*.json         agreement per group, then what disagrees
  $ ztlp conform --json vectors.json         everything, for a script
  $ ztlp conform --most 0 vectors.json       all disagreements instead of the first ones

Exit code 1 when a case disagrees and the difference is not a documented deviation.`;

async function run(files: string[], flags: Flags): Promise<void> {
  const done: FileReport[] = [];
  let failed = false;
  for (const file of files) {
    try {
      done.push(await conformFile(file));
    } catch (error) {
      // One unusable file does not hide what the others say.
      report(error);
      failed = true;
    }
  }
  const result: ConformReport = { files: done };
  const most = flags.most === 0 ? Number.POSITIVE_INFINITY : flags.most;
  if (flags.json) await printJson(result);
  else if (done.length > 0)
    await print(formatConform(result, styleFor(), { quiet: flags.quiet ?? false, most }));
  if (failed || hasDisagreement(result)) process.exitCode = EXIT_DATA;
}

export function conformCommand(): Command {
  return withCommonFlags(new Command('conform'))
    .summary('agreement with golden vectors')
    .description('Runs vector files through the public functions and counts agreement, case by case.')
    .argument('<file...>', 'vector files, recognised by their format field or content')
    .option('--most <n>', 'disagreements to list per file, 0 for all', parseCount, 10)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
