/** What a walk step by step is asked: a unit, its tables, requests; and the checks that every way to give them shares. */

import { inRange, invalid, show, ZtlpError } from '../base/errors.js';
import type { OptionInput, OptionName } from '../base/options.js';
import { hex64 } from '../core/u64.js';
import type { HardwareFlags, UnitKind } from '../iommu/unit.js';
import type { IommuConfig } from '../machine/iommus.js';
import { refuseUnused } from './used-options.js';

/** Memory as a file has it: its first byte stands at address `at`. */
export interface TableImage {
  /** For messages. */
  readonly name: string;
  readonly at: bigint;
  readonly bytes: Uint8Array;
}

export interface WalkRequest {
  readonly sid: number;
  readonly address: bigint;
  readonly isWrite: boolean;
  readonly isPrivileged: boolean;
  readonly pasid?: number;
}

export interface WalkInput {
  readonly unit: IommuConfig;
  /** RTADDR, STRTAB_BASE, or the base of the device table. */
  readonly root: bigint;
  /** SMMU: STRTAB_BASE_CFG; AMD: pages of the device table. Default 0, AMD 1. */
  readonly streams?: number | undefined;
  readonly options: OptionInput;
  readonly images: readonly TableImage[];
  readonly entries: readonly (readonly [address: bigint, value: bigint])[];
  readonly requests: readonly WalkRequest[];
}

/** Figures of a unit as scenarios and flags name them. */
export interface UnitFigures {
  readonly cap?: bigint | undefined;
  readonly ecap?: bigint | undefined;
  readonly hostWidth?: number | undefined;
  readonly outputWidth?: number | undefined;
  readonly substreamBits?: number | undefined;
  readonly hardwareFlags?: HardwareFlags | undefined;
}

const FIGURES: Readonly<Record<UnitKind, readonly (keyof UnitFigures)[]>> = {
  vtd: ['cap', 'ecap', 'hostWidth'],
  smmuv3: ['outputWidth', 'substreamBits', 'hardwareFlags'],
  amd: ['hardwareFlags'],
};
/** Options that a request with empty caches depends on. */
const OPTIONS: Readonly<Record<UnitKind, readonly OptionName[]>> = {
  vtd: [
    'vtdModel',
    'faultReasons',
    'interruptRangeCheck',
    'passThroughSnoop',
    'passThroughWidthCheck',
    'pgsnpWithoutSc',
  ],
  smmuv3: ['smmuModel'],
  amd: [],
};
/** Bits of the root register that have to be 0. */
const ROOT_LOW: Readonly<Record<UnitKind, readonly [mask: bigint, allowed: string]>> = {
  vtd: [0x3ffn, 'a multiple of 4096, with the mode in bits 11:10'],
  smmuv3: [0x3fn, 'a multiple of 64'],
  amd: [0xfffn, 'a multiple of 4096'],
};
const PAGE = 4096n;
const MOST_BYTES = 1n << 31n;
/** No unit has wider addresses of memory. */
const MEMORY_END = 1n << 52n;

/** The unit of `kind`. Throws ZtlpError for a figure that units of the kind do not have; `nameOf` is how it was given. */
export function unitOf(
  kind: UnitKind,
  figures: UnitFigures,
  nameOf: (name: keyof UnitFigures) => string = (name) => name,
): IommuConfig {
  const given = Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));
  const known = FIGURES[kind];
  for (const name of Object.keys(given) as (keyof UnitFigures)[])
    if (!known.includes(name))
      throw new ZtlpError('invalid-value', `${nameOf(name)} is not of a unit of kind ${kind}`, {
        field: name,
        allowed: known.map(nameOf).join(', '),
      });
  return { kind, ...given } as IommuConfig;
}

/** Throws ZtlpError for a root with bits that the register has not, or beyond 52 bits. */
export function checkRoot(kind: UnitKind, root: bigint): bigint {
  const [mask, allowed] = ROOT_LOW[kind];
  if ((root & mask) !== 0n) throw invalid('root', root, allowed);
  if (root >= MEMORY_END) throw invalid('root', root, 'an address below 2^52', 'out-of-range');
  return root;
}

/** Throws ZtlpError for `streams` of a VT-d unit, or outside what the others take. */
export function checkStreams(kind: UnitKind, streams: number | undefined): number | undefined {
  if (streams === undefined) return undefined;
  if (kind === 'vtd')
    throw new ZtlpError('invalid-value', 'streams is not of a unit of kind vtd', {
      field: 'streams',
      value: streams,
      allowed: 'smmuv3, amd',
    });
  return kind === 'amd' ? inRange('streams', streams, 1, 512) : inRange('streams', streams, 0, 0xffff_ffff);
}

/** Throws ZtlpError for a named option that a walk of a unit of `kind` does not look at. */
export function checkOptions(kind: UnitKind, options: OptionInput): OptionInput {
  refuseUnused(options, OPTIONS[kind], `a walk of a unit of kind ${kind}`);
  return options;
}

function endOf({ at, bytes }: TableImage): bigint {
  return at + BigInt(bytes.length);
}

/** Throws ZtlpError for images that share an address. */
export function checkImages(images: readonly TableImage[]): void {
  const sorted = [...images].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  let before: TableImage | undefined;
  for (const image of sorted) {
    if (before !== undefined && endOf(before) > image.at)
      throw new ZtlpError('invalid-value', `images overlap: ${placeOf(before)} and ${placeOf(image)}`, {
        field: 'images',
        value: image.name,
        allowed: 'each address in one image',
      });
    if (before === undefined || endOf(image) > endOf(before)) before = image;
  }
}

function placeOf(image: TableImage): string {
  return `${show(image.name)} (${hex64(image.at)} to ${hex64(endOf(image) - 1n)})`;
}

/** Throws ZtlpError for entries that do not stand at a multiple of 8. */
export function checkEntries(entries: WalkInput['entries']): void {
  for (const [address] of entries)
    if (address % 8n !== 0n) throw invalid('entries', address, 'addresses that are multiples of 8');
}

/** The range of all images and entries, in whole pages. */
export function rangeOf({ images, entries }: WalkInput): { first: bigint; end: bigint } {
  const parts = [
    ...images.map((image) => ({ first: image.at, end: endOf(image) })),
    ...entries.map(([at]) => ({ first: at, end: at + 8n })),
  ];
  const [one] = parts;
  if (one === undefined)
    throw new ZtlpError('malformed', 'no tables: there is nothing to walk', {
      field: 'images',
      allowed: 'images or entries',
    });
  let { first, end } = one;
  for (const part of parts) {
    if (part.first < first) first = part.first;
    if (part.end > end) end = part.end;
  }
  first -= first % PAGE;
  end += (PAGE - (end % PAGE)) % PAGE;
  if (end > MEMORY_END) throw invalid('images', end - 1n, 'addresses of memory below 2^52', 'malformed');
  if (end - first > MOST_BYTES)
    throw new ZtlpError('resource', `tables stand from ${hex64(first)} to ${hex64(end - 1n)}`, {
      field: 'memory',
      value: end - first,
      allowed: 'images and entries within 2 GiB',
    });
  return { first, end };
}
