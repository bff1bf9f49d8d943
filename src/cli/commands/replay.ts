/** `ztlp replay`: the accesses of a recorded trace as TLPs. */
import { Command } from 'commander';
import type { OptionInput } from '../../base/options.js';
import { type ReplaySummary, replayFile } from '../../report/replay.js';
import { formatReplay } from '../../report/replay-text.js';
import { type CommonFlags, print, printJson, styleFor, withCommonFlags } from '../output.js';
import { progress } from '../progress.js';
import { collectOption } from '../values.js';

interface Flags extends CommonFlags {
  readonly strict?: boolean;
  readonly option?: OptionInput;
}

const EXAMPLES = `
Examples:
  $ ztlp replay trace.txt              accesses by width, BAR and phase, and the TLPs they make
  $ zcat trace.txt.gz | ztlp replay -  from a pipe
  $ ztlp replay --strict --json a.txt b.txt

A trace is recorded with Linux mmiotrace (Documentation/trace/mmiotrace.rst).`;

async function run(files: string[], flags: Flags): Promise<void> {
  const summaries: ReplaySummary[] = [];
  for (const file of files) {
    const bar = progress(file === '-' ? 'standard input' : file, flags.quiet);
    try {
      const summary = await replayFile(file, {
        strict: flags.strict ?? false,
        options: flags.option ?? {},
        onProgress: bar.update,
      });
      summaries.push(summary);
    } finally {
      bar.stop();
    }
    const last = summaries.at(-1);
    if (!flags.json && last !== undefined) await print(formatReplay(last, styleFor()));
  }
  if (flags.json) await printJson({ files: summaries });
}

export function replayCommand(): Command {
  return withCommonFlags(new Command('replay'))
    .summary('a recorded trace as TLPs')
    .description('Replays the accesses of Linux mmiotrace logs as TLPs; "-" reads standard input.')
    .argument('<file...>', 'trace files')
    .option('--strict', 'a bad line is an error; default: counted, the first one shown')
    .option('--option <name=value>', 'an option of the table; repeat for more', collectOption)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
