/** `ztlp conform`: agreement with golden vectors. */
import { Command } from 'commander';
import { type ConformReport, conformFile, type FileReport, hasDisagreement } from '../../conform/index.js';
import { conformProblem, formatConform } from '../../conform/text.js';
import {
  announceInput,
  type CommonFlags,
  complain,
  EXIT_DATA,
  printFound,
  report,
  styleFor,
  withCommonFlags,
} from '../output.js';
import { once, parseCount } from '../values.js';

interface Flags extends CommonFlags {
  readonly most: number;
}

const EXAMPLES = `
Examples:
  $ ztlp conform test/vectors/access-paths.json  agreement, or what disagrees
  $ ztlp conform --json vectors.json         everything, for a script
  $ ztlp conform --most 0 vectors.json       all disagreements
  $ zcat v.json.gz | ztlp conform -          from a pipe
  $ ztlp conform --quiet *.json || echo bad  one line per file that disagrees

A text file (trace or dump) agrees line by line when what was read prints back
as it stood.

Exit codes: 0 all agree, or differ in a documented way; 1 a case disagrees or a
file cannot be used (the others are still run); 2 wrong call.`;

async function run(files: string[], flags: Flags): Promise<void> {
  const done: FileReport[] = [];
  let failed = false;
  for (const file of files) {
    if (file === '-') announceInput('a file');
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
  if (flags.json || done.length > 0)
    await printFound(flags, result, () => formatConform(result, styleFor(), { most }));
  if (flags.quiet) for (const line of done.map(conformProblem)) if (line !== undefined) complain(line);
  if (failed || hasDisagreement(result)) process.exitCode = EXIT_DATA;
}

export function conformCommand(): Command {
  return withCommonFlags(new Command('conform'))
    .summary('agreement with golden vectors')
    .description('Runs vector files through the public functions and counts agreement, case by case.')
    .argument(
      '<file...>',
      'vector files, recognised by their format field, or traces and dumps, by content; "-": standard input',
    )
    .option('--most <n>', 'disagreements to list per file, 0 for all', once(parseCount), 10)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
