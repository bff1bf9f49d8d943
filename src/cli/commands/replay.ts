/** `ztlp replay`: the accesses of a recorded trace as TLPs. */
import { Command, Option } from 'commander';
import { show, ZtlpError } from '../../base/errors.js';
import { parseLink } from '../../base/link.js';
import type { OptionInput } from '../../base/options.js';
import { pathOf } from '../../path/prepare.js';
import { type ReplaySummary, replayFile, replayProblem } from '../../report/replay.js';
import { formatReplay } from '../../report/replay-text.js';
import {
  announceInput,
  type CommonFlags,
  columns,
  complain,
  isWrongCall,
  print,
  printJson,
  report,
  styleFor,
  withCommonFlags,
} from '../output.js';
import { progress } from '../progress.js';
import { asUsage, collectOption, once, oneOf } from '../values.js';

interface Flags extends CommonFlags {
  readonly strict?: boolean;
  readonly option?: OptionInput;
  readonly path?: string;
  readonly merge?: 'on' | 'off';
  readonly timed?: boolean;
  readonly link?: string;
}

const EXAMPLES = `
Examples:
  $ ztlp replay trace.txt              accesses by width, BAR, phase; TLPs
  $ zcat trace.txt.gz | ztlp replay -  from a pipe
  $ ztlp replay --strict --json a.txt b.txt
  $ ztlp replay --path zpci-pcistb trace.txt   and through another path
  $ ztlp replay --path zpci-pcistb --option mps=128 trace.txt
  $ ztlp replay --timed --link gen1x1 trace.txt   on a simulated link

A trace is a log of Linux mmiotrace (Documentation/trace/mmiotrace.rst), the
text of qemu-system -trace, a log of s390x PCI instructions, or a log of
accesses to a device. It is recognised by its content.

Exit codes: 0 replayed; 1 a file cannot be used or has nothing but bad lines
(the others are still replayed), or no access could take --path (with --strict:
also a bad line, or a fault on --path); 2 wrong call, or an option that the
replay does not use.`;

async function run(files: string[], flags: Flags): Promise<void> {
  if (flags.merge !== undefined && flags.path === undefined)
    throw new ZtlpError(
      'invalid-value',
      '--merge is for --path: nothing merges on the path of the recording',
    );
  if (flags.link !== undefined && flags.timed !== true)
    throw new ZtlpError('invalid-value', '--link is for --timed: without it no link takes time');
  const summaries: ReplaySummary[] = [];
  for (const file of files) {
    if (file === '-') announceInput('a trace');
    const bar = progress(file === '-' ? 'standard input' : file, flags.quiet);
    try {
      const summary = await replayFile(file, {
        strict: flags.strict ?? false,
        options: flags.option ?? {},
        ...(flags.timed === undefined ? {} : { timed: flags.timed }),
        ...(flags.link === undefined ? {} : { link: flags.link }),
        ...(flags.path === undefined ? {} : { path: flags.path, merge: flags.merge !== 'off' }),
        onProgress: bar.update,
      });
      bar.stop();
      if (!flags.json && !flags.quiet)
        await print(`${summaries.length > 0 ? '\n' : ''}${formatReplay(summary, styleFor(), columns())}`);
      summaries.push(summary);
      const problem = replayProblem(summary, flags.strict);
      if (problem !== undefined) complain(`${show(file)}: ${problem}`);
    } catch (error) {
      // One unusable file does not hide what the others say; a wrong call is wrong for all of them.
      bar.stop();
      if (isWrongCall(error)) throw error;
      report(error);
    }
  }
  if (flags.json) await printJson({ files: summaries });
}

export function replayCommand(): Command {
  const path = (text: string): string => asUsage(() => pathOf(text).id);
  return withCommonFlags(new Command('replay'))
    .summary('a recorded trace as TLPs')
    .description('Replays the accesses of driver traces as TLPs.')
    .argument('<file...>', 'trace files; "-": standard input')
    .option('--strict', 'a bad line, or a fault on --path, is an error; default: both are counted')
    .option('--path <id>', 'the same accesses through this path too, side by side', once(path))
    .addOption(
      new Option(
        '--merge <how>',
        'with --path: stores to adjacent addresses become blocks of up to 4 KiB (default: on)',
      )
        .choices(['on', 'off'])
        .argParser(once(oneOf('on', 'off'))),
    )
    .option('--timed', 'also on a simulated link, access after access without pauses')
    .option(
      '--link <link>',
      'with --timed: generation 1 to 5 and x1 to x16 (default: gen3x8)',
      once((text) => asUsage(() => parseLink(text).name)),
    )
    .option('--option <name=value>', 'a named option (docs/options.md); repeat for more', collectOption)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
