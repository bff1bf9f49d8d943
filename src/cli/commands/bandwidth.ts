/** `ztlp bandwidth`: throughput of a link by transfer size. */
import { Command, Option } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { parseAnyLink } from '../../base/link.js';
import { OPTIONS, type OptionInput, type OptionValue } from '../../base/options.js';
import { checkHost } from '../../link/host-presets.js';
import { type BandwidthOp, bandwidth, MOST_BYTES, MOST_TAGS } from '../../report/bandwidth.js';
import { formatBandwidth } from '../../report/bandwidth-text.js';
import { type CommonFlags, columns, printFound, styleFor, withCommonFlags } from '../output.js';
import {
  asUsage,
  bytesUpTo,
  collect,
  collectOption,
  countFrom,
  namedOption,
  once,
  oneOf,
  parseNs,
} from '../values.js';

interface Flags extends CommonFlags {
  readonly link: string;
  readonly op: BandwidthOp;
  readonly size?: readonly number[];
  readonly offset: number;
  readonly addressBits: '32' | '64';
  readonly mps?: number;
  readonly mrrs?: number;
  readonly rcb?: number;
  readonly ecrc?: boolean;
  readonly skp: 'off' | 'on';
  readonly skpInterval?: number;
  readonly tags?: number;
  readonly latency?: number;
  readonly credits?: OptionValue<'credits'>;
  readonly model?: 'pcie-bench';
  readonly simulate?: boolean;
  readonly preset?: string;
  readonly option?: OptionInput;
}

const EXAMPLES = `
Examples:
  $ ztlp bandwidth                            4 B to 4 KiB written at gen3x8
  $ ztlp bandwidth --op read --link gen5x16 --tags 32 --latency 500
  $ ztlp bandwidth --model pcie-bench         beside a published model
  $ ztlp bandwidth --simulate --link gen4x16  beside the link event by event
  $ ztlp bandwidth --preset hsw2620 --op both beside a measured host
  $ ztlp bandwidth --size 257 --mps 128 --option writeSplit=greedy --json

The bounds are exact arithmetic: no link under these assumptions is faster.
Acks and UpdateFC are not charged there; --simulate sends them.

Exit codes: 0 done; 2 wrong call, or a flag that has no effect in it.`;

/** One value of an option that may come by its flag and by --option. */
function oneValue(name: 'mps' | 'mrrs' | 'rcb', flags: Flags): OptionInput {
  const own = flags[name];
  const other = flags.option?.[name];
  if (own === undefined) return {};
  if (other !== undefined && other !== own)
    throw new ZtlpError('invalid-value', `${name}: given as ${other} and as ${own}`, {
      field: name,
      value: own,
    });
  return { [name]: own };
}

/** Leaves out what was not given: a field that is there counts as given. */
function given<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

async function run(flags: Flags): Promise<void> {
  const {
    link,
    op,
    size,
    offset,
    addressBits,
    ecrc,
    skp,
    skpInterval,
    tags,
    latency,
    credits,
    model,
    simulate,
    preset,
  } = flags;
  const own = (['mps', 'mrrs', 'rcb'] as const).map((name) => oneValue(name, flags));
  const report = await bandwidth({
    link,
    op,
    offset,
    skp,
    addressBits: addressBits === '64' ? 64 : 32,
    options: Object.assign({}, flags.option, ...own) as OptionInput,
    ...given({ sizes: size, ecrc, skpInterval, tags, latencyNs: latency, credits, model, simulate, preset }),
  });
  await printFound(flags, report, () => formatBandwidth(report, styleFor(), columns()));
}

/** A flag with a few words as values. */
function choice<T extends string>(flag: string, text: string, values: readonly T[], usual?: T): Option {
  const option = new Option(flag, text).choices(values).argParser(once(oneOf(...values)));
  return usual === undefined ? option : option.default(usual);
}

export function bandwidthCommand(): Command {
  return withCommonFlags(new Command('bandwidth'))
    .summary('throughput of a link by transfer size')
    .description(
      'Computes what a link carries by transfer size: the wire law, the bound that holds, models, measured hosts.',
    )
    .option(
      '--link <link>',
      'generation 1 to 7 and x1 to x16',
      once((text) => asUsage(() => parseAnyLink(text).name)),
      'gen3x8',
    )
    .addOption(choice('--op <op>', 'direction', ['write', 'read', 'both'], 'write'))
    .option(
      '--size <bytes>',
      'bytes of a transfer; repeat for more (default: 4 to 4096, and those of the preset)',
      collect(bytesUpTo(MOST_BYTES)),
    )
    .option('--offset <bytes>', 'offset of a transfer in its page', once(bytesUpTo(4095)), 0)
    .addOption(
      choice('--address-bits <n>', 'addresses above 4 GiB (4 DW headers) or below (3)', ['32', '64'], '64'),
    )
    .option('--mps <bytes>', 'Max Payload Size (default: 256)', once(namedOption('mps')))
    .option(
      '--mrrs <bytes>',
      'Max Read Request Size (default: 512, or that of the preset)',
      once(namedOption('mrrs')),
    )
    .option('--rcb <bytes>', 'Read Completion Boundary (default: 64)', once(namedOption('rcb')))
    .option('--ecrc', 'TLPs with ECRC')
    .addOption(choice('--skp <skp>', 'charge SKP ordered sets', OPTIONS.skp.values, 'off'))
    .option(
      '--skp-interval <n>',
      'symbols (gen 1, 2) or blocks (gen 3 to 5) between them',
      once(countFrom(1, 1e6)),
    )
    .option('--tags <n>', 'reads under way at most (default: 256)', once(countFrom(1, MOST_TAGS)))
    .option('--latency <ns>', 'time of a read under load (default: that of the link alone)', once(parseNs))
    .addOption(choice('--credits <set>', 'what a root port advertises', OPTIONS.credits.values))
    .addOption(choice('--model <model>', 'compare with a model', ['pcie-bench']))
    .option('--simulate', 'run the link event by event and compare')
    .option(
      '--preset <host>',
      'compare with a measured host: hsw2620, hsw2637, bdw, ib, snb, bdw-remote, ib-remote',
      once((text) => asUsage(() => checkHost(text))),
    )
    .option('--option <name=value>', 'a named option (docs/options.md); repeat for more', collectOption)
    .addHelpText('after', EXAMPLES)
    .action(run);
}
