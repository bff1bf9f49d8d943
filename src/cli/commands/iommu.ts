/** `ztlp iommu`: translation units. */
import { Command, InvalidArgumentError } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import type { OptionInput } from '../../base/options.js';
import { LAST } from '../../iommu/unit.js';
import { type WalkInput, type WalkRequest, walkProblem, walkTables } from '../../report/iommu-walk.js';
import { formatWalks } from '../../report/iommu-walk-text.js';
import { readImage, readScenario, sidOf } from '../iommu-scenario.js';
import { type CommonFlags, columns, complain, printFound, styleFor, withCommonFlags } from '../output.js';
import { collectOption, countFrom, once, oneOf } from '../values.js';

interface Flags extends CommonFlags {
  readonly unit?: 'vtd' | 'smmuv3' | 'amd';
  readonly root?: bigint;
  readonly streams?: bigint;
  readonly cap?: bigint;
  readonly ecap?: bigint;
  readonly image?: readonly { file: string; at: bigint }[];
  readonly address?: readonly bigint[];
  readonly sid?: number;
  readonly pasid?: number;
  readonly write?: boolean;
  readonly privileged?: boolean;
  readonly option?: OptionInput;
}

const EXAMPLES = `
Examples:
  $ ztlp iommu walk examples/walk.yaml      every request of a scenario
  $ ztlp iommu walk examples/walk.yaml --sid 00:04.0 --address 0x123456789a --write
  $ ztlp iommu walk --unit vtd --root 0x1000 --image memory.bin@0 \\
      --sid 00:04.0 --address 0xfff00000    tables from a dump of memory

A scenario is a YAML or JSON file with unit, root, images or entries, requests;
docs/iommu.md lists its fields. An image is a file of memory whose first byte
stands at the address behind @. What no image and no entry covers is unreadable.

Exit codes: 0 every request was translated; 1 one was not, or a file cannot be
used; 2 wrong call.`;

function u64(text: string): bigint {
  if (/^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text) && BigInt(text) <= LAST) return BigInt(text);
  throw new InvalidArgumentError('Expected: a number such as 0x1000, below 2^64.');
}

function image(
  text: string,
  before: readonly { file: string; at: bigint }[] = [],
): { file: string; at: bigint }[] {
  const at = text.lastIndexOf('@');
  if (at < 1) throw new InvalidArgumentError('Expected: FILE@ADDRESS, the address of its first byte.');
  return [...before, { file: text.slice(0, at), at: u64(text.slice(at + 1)) }];
}

function requester(text: string): number {
  if (/^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i.test(text)) return sidOf(text);
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 0xffff) return value;
  throw new InvalidArgumentError('Expected: a requester such as 00:04.0, or its number.');
}

function addresses(text: string, before: readonly bigint[] = []): bigint[] {
  return [...before, u64(text)];
}

/** The unit and its tables: from the scenario, from flags, or both. */
function inputOf(file: string | undefined, flags: Flags): WalkInput {
  const { unit, root, streams, cap, ecap, option = {} } = flags;
  const images = (flags.image ?? []).map(({ file: name, at }) => readImage(name, at));
  if (file !== undefined) {
    for (const name of ['unit', 'cap', 'ecap'] as const)
      if (flags[name] !== undefined)
        throw new ZtlpError('invalid-value', `--${name}: the scenario has it`, { field: name });
    const given = readScenario(file);
    return {
      ...given,
      root: root ?? given.root,
      streams: streams === undefined ? given.streams : Number(streams),
      options: { ...given.options, ...option },
      images: [...given.images, ...images],
    };
  }
  if (unit === undefined || root === undefined || images.length === 0)
    throw new ZtlpError('invalid-value', 'iommu walk: a scenario file, or --unit, --root and --image');
  const figures =
    unit === 'vtd' ? { ...(cap === undefined ? {} : { cap }), ...(ecap === undefined ? {} : { ecap }) } : {};
  if (unit !== 'vtd' && (cap ?? ecap) !== undefined)
    throw new ZtlpError('invalid-value', '--cap and --ecap are for --unit vtd', { field: 'cap' });
  return {
    unit: { kind: unit, ...figures },
    root,
    streams: Number(streams ?? 0n),
    options: option,
    images,
    entries: [],
    requests: [],
  };
}

/** What is asked for: by flags, else what the scenario has. */
function requestsOf(given: readonly WalkRequest[], flags: Flags): readonly WalkRequest[] {
  const { address, sid, pasid, write, privileged } = flags;
  if (address === undefined) {
    if (sid !== undefined || pasid !== undefined || write !== undefined || privileged !== undefined)
      throw new ZtlpError('invalid-value', '--sid, --pasid, --write and --privileged go with --address', {
        field: 'address',
      });
    if (given.length > 0) return given;
    throw new ZtlpError(
      'invalid-value',
      'iommu walk: no request: --sid and --address, or requests in the scenario',
      {
        field: 'address',
      },
    );
  }
  const requester = sid ?? given[0]?.sid;
  if (requester === undefined)
    throw new ZtlpError('invalid-value', '--sid: whose request it is, such as 00:04.0', { field: 'sid' });
  const common = { sid: requester, isWrite: write ?? false, isPrivileged: privileged ?? false };
  return address.map((one) => ({ ...common, address: one, ...(pasid === undefined ? {} : { pasid }) }));
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  const input = inputOf(file, flags);
  const report = await walkTables({ ...input, requests: requestsOf(input.requests, flags) });
  await printFound(flags, report, () => formatWalks(report, styleFor(), columns()));
  const problem = walkProblem(report);
  if (problem !== undefined) complain(problem);
}

function walkCommand(): Command {
  return withCommonFlags(new Command('walk'))
    .summary('a table walk step by step')
    .description(
      'Walks the tables of a translation unit: every entry that it reads, what it says, and the end.',
    )
    .argument('[scenario]', 'YAML or JSON file with unit, tables and requests')
    .option('--address <address>', 'address of a request; may be given several times', addresses)
    .option('--sid <requester>', 'whose request it is: bus:device.function', once(requester))
    .option('--pasid <pasid>', 'process address space of the request', once(countFrom(0, 0xf_ffff)))
    .option('--write', 'a write; else a read')
    .option('--privileged', 'privileged mode requested')
    .option('--unit <kind>', 'vtd, smmuv3 or amd', once(oneOf('vtd', 'smmuv3', 'amd')))
    .option('--root <address>', 'RTADDR, STRTAB_BASE, or base of the device table', once(u64))
    .option('--streams <value>', 'smmuv3: STRTAB_BASE_CFG; amd: pages of the device table', once(u64))
    .option('--cap <register>', 'vtd: CAP register', once(u64))
    .option('--ecap <register>', 'vtd: ECAP register', once(u64))
    .option(
      '--image <file@address>',
      'a file of memory and where it begins; may be given several times',
      image,
    )
    .option('--option <name=value>', 'a named option; see docs/options.md', collectOption)
    .addHelpText('after', EXAMPLES)
    .action(run);
}

export function iommuCommand(): Command {
  return new Command('iommu')
    .summary('translation units: a table walk step by step')
    .description('Looks into translation units (IOMMUs).')
    .helpCommand(false)
    .addCommand(walkCommand());
}
