/** `ztlp iommu`: translation units. */
import { Command, InvalidArgumentError } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import type { OptionInput } from '../../base/options.js';
import type { UnitKind } from '../../iommu/unit.js';
import { walkProblem, walkTables } from '../../report/iommu-walk.js';
import {
  type TableImage,
  type UnitFigures,
  unitOf,
  type WalkInput,
  type WalkRequest,
} from '../../report/iommu-walk-input.js';
import { formatWalks } from '../../report/iommu-walk-text.js';
import { readImage, readScenario } from '../iommu-scenario.js';
import { PASID_FORM, SID_FORM, toInteger, toSid, toU64, U64_FORM } from '../iommu-values.js';
import { type CommonFlags, columns, complain, printFound, styleFor, withCommonFlags } from '../output.js';
import { collectOption, once, oneOf } from '../values.js';

interface Flags extends CommonFlags, UnitFigures {
  readonly unit?: UnitKind;
  readonly root?: bigint;
  readonly streams?: number;
  readonly image?: readonly { file: string; at: bigint }[];
  readonly address?: readonly bigint[];
  readonly sid?: number;
  readonly pasid?: number;
  readonly write?: boolean;
  readonly privileged?: boolean;
  readonly option?: OptionInput;
}

/** Flags of what the unit is, by the names of scenario fields. */
const UNIT_FLAGS = {
  unit: '--unit',
  cap: '--cap',
  ecap: '--ecap',
  hostWidth: '--host-width',
  outputWidth: '--output-width',
  substreamBits: '--substream-bits',
  hardwareFlags: '--hardware-flags',
} as const;

const EXAMPLES = `
Examples:
  $ ztlp iommu walk examples/walk.yaml      every request of a scenario
  $ ztlp iommu walk examples/walk.yaml --sid 00:04.0 --address 0x123456789a --write
  $ cat s.json | ztlp iommu walk -          a scenario from standard input
  $ ztlp iommu walk --unit vtd --root 0x1000 --image memory.bin@0 \\
      --sid 00:04.0 --address 0xfff00000    tables from a dump of memory

A scenario is a YAML or JSON file with unit, root, images or entries, requests;
docs/iommu.md lists its fields. An image is a file of memory whose first byte
stands at the address behind @. What no image and no entry covers is unreadable.

Exit codes: 0 every request was translated; 1 one was not, or a file cannot be
used; 2 wrong call.`;

/** A parser of a flag: `read` answers undefined for what is not `allowed`. */
function taken<T>(read: (text: string) => T | undefined, allowed: string): (text: string) => T {
  return (text) => {
    const found = read(text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Allowed: ${allowed}.`);
  };
}

const u64 = taken((text) => toU64(text), U64_FORM);

function integer(least: number, most: number, allowed = `${least} to ${most}`): (text: string) => number {
  return taken((text) => toInteger(text, least, most), allowed);
}

function image(
  text: string,
  before: readonly { file: string; at: bigint }[] = [],
): { file: string; at: bigint }[] {
  const at = text.lastIndexOf('@');
  if (at < 1) throw new InvalidArgumentError('Expected: FILE@ADDRESS, the address of its first byte.');
  return [...before, { file: text.slice(0, at), at: u64(text.slice(at + 1)) }];
}

function addresses(text: string, before: readonly bigint[] = []): bigint[] {
  return [...before, u64(text)];
}

async function imagesOf(file: string | undefined, flags: Flags): Promise<TableImage[]> {
  const given = flags.image ?? [];
  if ([file, ...given.map((one) => one.file)].filter((name) => name === '-').length > 1)
    throw new ZtlpError('invalid-value', '-: standard input can be read once', {
      field: 'image',
      value: '-',
    });
  const images: TableImage[] = [];
  for (const { file: name, at } of given) images.push(await readImage(name, at));
  return images;
}

/** The unit and its tables: from the scenario, from flags, or both. */
async function inputOf(file: string | undefined, flags: Flags): Promise<WalkInput> {
  const { unit, root, streams, option = {} } = flags;
  if (file !== undefined) {
    for (const [name, flag] of Object.entries(UNIT_FLAGS))
      if (flags[name as keyof typeof UNIT_FLAGS] !== undefined)
        throw new ZtlpError('invalid-value', `${flag}: the scenario has it`, { field: name });
    const images = await imagesOf(file, flags);
    const given = await readScenario(file);
    return {
      ...given,
      root: root ?? given.root,
      streams: streams ?? given.streams,
      options: { ...given.options, ...option },
      images: [...given.images, ...images],
    };
  }
  if (unit === undefined || root === undefined || flags.image === undefined)
    throw new ZtlpError('invalid-value', 'iommu walk: a scenario file, or --unit, --root and --image');
  const { cap, ecap, hostWidth, outputWidth, substreamBits, hardwareFlags } = flags;
  const figures = { cap, ecap, hostWidth, outputWidth, substreamBits, hardwareFlags };
  return {
    unit: unitOf(unit, figures, (name) => UNIT_FLAGS[name]),
    root,
    streams,
    options: option,
    images: await imagesOf(undefined, flags),
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
  const input = await inputOf(file, flags);
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
    .argument('[scenario]', 'YAML or JSON file with unit, tables and requests; - is standard input')
    .option('--address <address>', 'address of a request; may be given several times', addresses)
    .option('--sid <requester>', 'whose request it is: bus:device.function', once(taken(toSid, SID_FORM)))
    .option('--pasid <pasid>', 'process address space of the request', once(integer(0, 0xf_ffff, PASID_FORM)))
    .option('--write', 'a write; else a read')
    .option('--privileged', 'privileged mode requested')
    .option('--unit <kind>', 'vtd, smmuv3 or amd', once(oneOf('vtd', 'smmuv3', 'amd')))
    .option('--root <address>', 'RTADDR, STRTAB_BASE, or base of the device table', once(u64))
    .option(
      '--streams <value>',
      'smmuv3: STRTAB_BASE_CFG; amd: pages of the device table',
      once(integer(0, 0xffff_ffff)),
    )
    .option('--cap <register>', 'vtd: CAP register', once(u64))
    .option('--ecap <register>', 'vtd: ECAP register', once(u64))
    .option('--host-width <bits>', 'vtd: address bits of the host (default: 46)', once(integer(30, 52)))
    .option(
      '--output-width <bits>',
      'smmuv3: address bits of its outputs (default: 44)',
      once(integer(32, 48)),
    )
    .option('--substream-bits <bits>', 'smmuv3: log2 of the substreams (default: 20)', once(integer(0, 20)))
    .option(
      '--hardware-flags <flags>',
      'smmuv3, amd: none, access or dirty (default: none)',
      once(oneOf('none', 'access', 'dirty')),
    )
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
