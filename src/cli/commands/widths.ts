/** `ztlp widths`: the access-width comparison. */
import { Command, Option } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { parseLink } from '../../base/link.js';
import { COST_PRESETS, type OptionInput } from '../../base/options.js';
import { pathOf } from '../../path/prepare.js';
import { COUNT_LIMIT } from '../../path/split.js';
import type { PathId } from '../../path/table.js';
import { compareWidths, widthsProblem } from '../../report/widths.js';
import { formatWidths } from '../../report/widths-text.js';
import { type CommonFlags, columns, complain, printFound, styleFor, withCommonFlags } from '../output.js';
import { asUsage, bytesUpTo, collect, collectOption, namedOption, once, oneOf } from '../values.js';

interface Flags extends CommonFlags {
  readonly size: number;
  readonly offset: number;
  readonly op: 'read' | 'write';
  readonly link: string;
  readonly path?: readonly PathId[];
  readonly sourceAddress?: number;
  readonly costs: keyof typeof COST_PRESETS;
  readonly mps?: number;
  readonly mrrs?: number;
  readonly option?: OptionInput;
  readonly strict?: boolean;
  readonly timed?: boolean;
}

const EXAMPLES = `
Examples:
  $ ztlp widths                             4 KiB written along every path
  $ ztlp widths --op read --link gen4x16    the same read, on a faster link
  $ ztlp widths --costs example             with assumed costs of software
  $ ztlp widths --path zpci-pcistb --path zpci-pcistg4 --json
  $ ztlp widths --offset 4 --option chunking=old
  $ ztlp widths --timed --link gen5x16      and on a simulated link

A path that the hardware refuses is part of the answer: its row says fault, and
the reason stands below the table. docs/paths.md lists the paths.

Exit codes: 0 compared; 1 no path at all did the access (with --strict: a path
faulted); 2 wrong call, or an option that no compared path uses.`;

async function run(flags: Flags): Promise<void> {
  const { mps, mrrs } = flags;
  const own = { ...(mps === undefined ? {} : { mps }), ...(mrrs === undefined ? {} : { mrrs }) };
  for (const [name, value] of Object.entries(own)) {
    const other = flags.option?.[name as keyof typeof own];
    if (other === undefined || other === value) continue;
    throw new ZtlpError('invalid-value', `${name}: given as ${other} and as ${value}`, {
      field: name,
      value,
    });
  }
  const options = { ...flags.option, ...own } as OptionInput;
  const { size, offset, op, link, sourceAddress, costs, path, timed } = flags;
  const source = sourceAddress === undefined ? {} : { sourceAddress };
  const simulated = timed === undefined ? {} : { timed };
  const input = { size, offset, op, link, costs, options, ...source, ...simulated };
  const report = await compareWidths(path === undefined ? input : { ...input, paths: path });
  await printFound(flags, report, () => formatWidths(report, styleFor(), columns()));
  const problem = widthsProblem(report, flags.strict);
  if (problem !== undefined) complain(problem);
}

export function widthsCommand(): Command {
  const presets = Object.keys(COST_PRESETS) as (keyof typeof COST_PRESETS)[];
  const path = (text: string): PathId => asUsage(() => pathOf(text).id as PathId);
  return withCommonFlags(new Command('widths'))
    .summary('what one block costs along every access path')
    .description(
      'Compares what a block write or read costs along every access path: operations, TLPs, wire, time.',
    )
    .option('--size <bytes>', 'length of the block', once(bytesUpTo(COUNT_LIMIT)), 4096)
    .option('--offset <bytes>', 'offset in the BAR', once(bytesUpTo(COUNT_LIMIT)), 0)
    .addOption(
      new Option('--op <op>', 'direction')
        .choices(['write', 'read'])
        .default('write')
        .argParser(once(oneOf('write', 'read'))),
    )
    .option('--mps <bytes>', 'Max Payload Size (default: 256)', once(namedOption('mps')))
    .option('--mrrs <bytes>', 'Max Read Request Size (default: 512)', once(namedOption('mrrs')))
    .option(
      '--link <link>',
      'generation 1 to 5 and x1 to x16',
      once((text) => asUsage(() => parseLink(text).name)),
      'gen3x8',
    )
    .option('--path <id>', 'only this path (docs/paths.md); repeat for more', collect(path))
    .option(
      '--source-address <bytes>',
      'memory address of the first byte (default: 0)',
      once(bytesUpTo(Number.MAX_SAFE_INTEGER)),
    )
    .addOption(
      new Option('--costs <set>', 'assumed costs of software')
        .choices(presets)
        .default('zero')
        .argParser(once(oneOf(...presets))),
    )
    .option('--option <name=value>', 'a named option (docs/options.md); repeat for more', collectOption)
    .option('--timed', 'also in a machine whose link takes time: credits, Acks, latency, store buffer')
    .option('--strict', 'exit code 1 as soon as one path faults')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
