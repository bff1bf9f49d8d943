/** `npm run bench`: measures, prints tables of ratios, writes bench.json and bench.svg, compares with an earlier run. */
import { arch, cpus, platform } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { ZtlpError } from '../src/base/errors.js';
import { EXIT_USAGE, endOnClosedPipe, print, printJson, report, styleFor } from '../src/cli/output.js';
import { chooseCases, type Group } from './case.js';
import { crcGroup, decodeGroup } from './codec.js';
import { type Comparison, compareResults, parseResults } from './compare.js';
import { encodeGroup } from './encode.js';
import { makeFolder, packageRoot, readText, writeText } from './files.js';
import { iommuGroups } from './iommu.js';
import { FULL, measureGroup, QUICK } from './measure.js';
import { compileNative, type Native } from './native.js';
import { pcistbGroup, splitsGroup } from './pcistb.js';
import { resultsOf, rowsOf } from './rows.js';
import { drawChart } from './svg.js';
import { formatComparison, formatGroups, formatMarkdown } from './text.js';
import { widthsGroup } from './widths.js';

interface Flags {
  readonly json?: boolean;
  readonly markdown?: boolean;
  readonly compare?: string;
  readonly filter?: string;
  readonly quick?: boolean;
  readonly out: string;
}

const EXAMPLES = `
Examples:
  $ npm run bench -- --filter pcistb
  $ npm run bench -- --quick --filter encode
  $ npm run bench -- --compare old.json

Every run writes bench.json and bench.svg into the folder of --out.`;

function program(): Command {
  const command: Command = new Command('bench')
    .description('Host time of the core, as ratios to a baseline that is measured in the same run.')
    .option('--filter <text>', 'only rows whose name holds this text, and their baselines')
    .option('--quick', 'fewer and shorter samples: not for comparisons')
    .option('--compare <file>', 'ratios to an earlier bench.json')
    .addOption(new Option('--json', 'print bench.json instead of tables').conflicts(['markdown', 'compare']))
    .addOption(new Option('--markdown', 'print the table of the README').conflicts('compare'))
    .addOption(
      new Option('--out <folder>', 'where results go').default(join(packageRoot(), 'build'), '"build"'),
    )
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments(false)
    .exitOverride();
  const oneLine = (text: string): string =>
    text
      .replace(/^error: /, '')
      .trim()
      .replace(/\s+/g, ' ');
  return command.configureOutput({ outputError: (text, write) => write(`ztlp: ${oneLine(text)}\n`) });
}

async function chosenGroups(filter: string): Promise<Group[]> {
  const groups = [
    await widthsGroup(),
    await encodeGroup(),
    await decodeGroup(),
    await crcGroup(),
    await pcistbGroup(),
    await splitsGroup(),
    ...(await iommuGroups(filter)),
  ];
  const chosen = chooseCases(groups, filter);
  if (chosen.length > 0) return chosen;
  throw new ZtlpError('invalid-value', `--filter: no row holds ${JSON.stringify(filter)}`, {
    field: 'filter',
    value: filter,
    allowed: `part of a name; groups are ${groups.map(({ title }) => title).join(', ')}`,
  });
}

/** What the numbers were measured on, without names of people or places. */
function machineText(native: Native | string): string[] {
  const processors = cpus();
  const model = processors[0]?.model.replaceAll(/\s+/g, ' ').trim() || 'an unknown processor';
  return [
    `${model} (${processors.length} logical processors)`,
    `${platform()} ${arch()}`,
    `Node ${process.versions.node} (V8 ${process.versions.v8})`,
    typeof native === 'string' ? 'no C loops' : native.compiler,
  ];
}

/** Read before anything is measured: a wrong file is no reason to wait, and the run may write over it. */
function comparison(
  file: string | undefined,
): ((now: Parameters<typeof compareResults>[1]) => Comparison) | undefined {
  if (file === undefined) return undefined;
  const before = parseResults(readText(file), file);
  return (now) => compareResults(before, now);
}

async function bench(flags: Flags): Promise<void> {
  const compare = comparison(flags.compare);
  const groups = await chosenGroups(flags.filter ?? '');
  makeFolder(flags.out);
  const native = compileNative(join(packageRoot(), 'bench', 'native'), join(flags.out, 'bench-native'));
  if (typeof native === 'string') process.stderr.write(`C loops left out: ${native}\n`);
  const measured = groups.map((group) => {
    if (process.stderr.isTTY) process.stderr.write(`measuring ${group.title}\n`);
    const sampling = flags.quick ? QUICK : FULL;
    return rowsOf(group, measureGroup(group, sampling, typeof native === 'string' ? undefined : native));
  });
  const results = resultsOf(measured);
  writeText(join(flags.out, 'bench.json'), `${JSON.stringify(results, null, 2)}\n`);
  writeText(join(flags.out, 'bench.svg'), drawChart(measured));
  process.stderr.write(`results: ${join(flags.out, 'bench.json')} and ${join(flags.out, 'bench.svg')}\n`);
  if (flags.quick)
    process.stderr.write('--quick: it shows that the benchmark runs; do not compare its numbers\n');
  if (flags.json) return printJson(results);
  const machine = machineText(native);
  if (flags.markdown) return print(formatMarkdown(measured, machine));
  const style = styleFor();
  const parts = [machine.join(', '), formatGroups(measured, style)];
  if (compare !== undefined) parts.push(formatComparison(compare(results), style));
  await print(parts.join('\n\n'));
}

endOnClosedPipe();
try {
  await bench(program().parse().opts<Flags>());
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  else report(error);
}
