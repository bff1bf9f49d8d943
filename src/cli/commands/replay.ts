/** `ztlp replay`: the accesses of a recorded trace as TLPs. */
import { Command, Option } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import type { OptionInput } from '../../base/options.js';
import { pathOf } from '../../path/prepare.js';
import { type ReplaySummary, replayFile } from '../../report/replay.js';
import { formatReplay } from '../../report/replay-text.js';
import { type CommonFlags, print, printJson, styleFor, withCommonFlags } from '../output.js';
import { progress } from '../progress.js';
import { asUsage, collectOption, oneOf } from '../values.js';

interface Flags extends CommonFlags {
  readonly strict?: boolean;
  readonly option?: OptionInput;
  readonly path?: string;
  readonly merge?: 'on' | 'off';
}

const EXAMPLES = `
Examples:
  $ ztlp replay trace.txt              accesses by width, BAR and phase, and the TLPs they make
  $ zcat trace.txt.gz | ztlp replay -  from a pipe
  $ ztlp replay --strict --json a.txt b.txt
  $ ztlp replay --path kvm-qemu-vfio-w4 trace.txt   the same accesses through another path

A trace is a log of Linux mmiotrace (Documentation/trace/mmiotrace.rst), the text of qemu-system -trace, a log of s390x
PCI instructions, or a log of accesses to a device. It is recognised by its content.`;

async function run(files: string[], flags: Flags): Promise<void> {
  if (flags.merge !== undefined && flags.path === undefined)
    throw new ZtlpError(
      'invalid-value',
      '--merge is for --path: nothing merges on the path of the recording',
    );
  const summaries: ReplaySummary[] = [];
  for (const file of files) {
    const bar = progress(file === '-' ? 'standard input' : file, flags.quiet);
    try {
      const summary = await replayFile(file, {
        strict: flags.strict ?? false,
        options: flags.option ?? {},
        ...(flags.path === undefined ? {} : { path: flags.path, merge: flags.merge !== 'off' }),
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
  const path = (text: string): string => asUsage(() => pathOf(text).id);
  return withCommonFlags(new Command('replay'))
    .summary('a recorded trace as TLPs')
    .description('Replays the accesses of driver traces as TLPs; "-" reads standard input.')
    .argument('<file...>', 'trace files')
    .option('--strict', 'a bad line is an error; default: counted, the first one shown')
    .option('--path <id>', 'the same accesses through this path too, side by side', path)
    .addOption(
      new Option(
        '--merge <how>',
        'with --path: stores to adjacent addresses become blocks of up to 4 KiB (default: on)',
      )
        .choices(['on', 'off'])
        .argParser(oneOf('on', 'off')),
    )
    .option('--option <name=value>', 'an option of the table; repeat for more', collectOption)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
