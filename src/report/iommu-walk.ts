/** A walk of a translation unit step by step: what it reads, what the entries say, and how it ends. */
import * as L from '../../assembly/layout.js';
import { invalid, ZtlpError } from '../base/errors.js';
import { type OptionInput, resolveOptions } from '../base/options.js';
import { Core } from '../core/core.js';
import { hex64, high32, low32, type U64 } from '../core/u64.js';
import { AmdUnit } from '../iommu/amd-unit.js';
import { type ExplainedStep, explainSteps, reasonName } from '../iommu/explain.js';
import { SmmuUnit } from '../iommu/smmu-unit.js';
import type { UnitAnswer, UnitKind } from '../iommu/unit.js';
import { VtdUnit } from '../iommu/vtd-unit.js';
import { createUnit, type IommuConfig, iotlbRoom, unitOptions } from '../machine/iommus.js';

/** Memory as a file has it: its first byte stands at address `at`. */
export interface TableImage {
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
  /** SMMU: STRTAB_BASE_CFG; AMD: pages of the device table. */
  readonly streams: number;
  readonly options: OptionInput;
  readonly images: readonly TableImage[];
  readonly entries: readonly (readonly [address: bigint, value: bigint])[];
  readonly requests: readonly WalkRequest[];
}

/** One request: the entries that it read, and what became of it. */
export interface Walk {
  readonly request: WalkRequest;
  readonly steps: readonly ExplainedStep[];
  readonly answer: UnitAnswer;
  /** Of a fault: what its reason means. */
  readonly reason?: string;
}

export interface WalkReport {
  readonly unit: UnitKind;
  readonly root: U64;
  /** Memory that is known; a walk that leaves it ends with an unreadable entry. */
  readonly memory: { readonly first: bigint; readonly end: bigint };
  readonly walks: readonly Walk[];
}

const PAGE = 4096n;
const MOST_BYTES = 1n << 31n;

/** The range of all images and entries, in whole pages. */
function rangeOf({ images, entries }: WalkInput): { first: bigint; end: bigint } {
  const parts = [
    ...images.map(({ at, bytes }) => ({ first: at, end: at + BigInt(bytes.length) })),
    ...entries.map(([at]) => ({ first: at, end: at + 8n })),
  ];
  if (parts.length === 0)
    throw invalid(
      'memory',
      undefined,
      'an image or entries: without tables there is nothing to walk',
      'malformed',
    );
  let [{ first, end } = { first: 0n, end: 0n }] = parts;
  for (const part of parts) {
    if (part.first < first) first = part.first;
    if (part.end > end) end = part.end;
  }
  first -= first % PAGE;
  end += (PAGE - (end % PAGE)) % PAGE;
  if (end - first > MOST_BYTES)
    throw new ZtlpError('resource', `tables stand from ${hex64(first)} to ${hex64(end)}`, {
      field: 'memory',
      value: end - first,
      allowed: 'images and entries within 2 GiB',
    });
  return { first, end };
}

/** Throws ZtlpError for an entry that is not at a multiple of 8, and for what units refuse. */
export async function walkTables(input: WalkInput): Promise<WalkReport> {
  const { first, end } = rangeOf(input);
  const units = [input.unit];
  const options = unitOptions(units, resolveOptions(input.options));
  const core = await Core.load(undefined, Number(end - first), 0, 0, (x) =>
    x.unitReserve(1, iotlbRoom(units, options)),
  );
  core.x.unitMemory(low32(first), high32(first), low32(end), high32(end), low32(first), high32(first));
  fill(core, first, input);
  const unit = createUnit(core, 0, input.unit, options);
  if (unit instanceof VtdUnit) unit.rootTable = input.root;
  else if (unit instanceof SmmuUnit) unit.setStreamTable(input.root, input.streams);
  else if (unit instanceof AmdUnit) unit.setDeviceTable(input.root, Math.max(1, input.streams));
  unit.isOn = true;
  const isScalable = input.unit.kind === 'vtd' && (input.root & SCALABLE) !== 0n;
  const { kind } = input.unit;
  const walks = input.requests.map((request) => {
    core.x.unitDropAll(0);
    if (unit instanceof VtdUnit) unit.clearFaults();
    const answer = unit.translate(request);
    const steps = explainSteps(kind, unit.steps, isScalable);
    const reason = answer.kind === 'fault' ? { reason: reasonName(kind, answer.reason) } : {};
    return { request, steps, answer, ...reason };
  });
  return { unit: kind, root: input.root, memory: { first, end }, walks };
}

/** TTM of RTADDR. */
const SCALABLE = 0x400n;

function fill(core: Core, first: bigint, { images, entries }: WalkInput): void {
  const at = core.at(L.PLACE_HOST_MEMORY);
  for (const image of images) core.u8.set(image.bytes, at + Number(image.at - first));
  for (const [address, value] of entries) {
    if (address % 8n !== 0n) throw invalid('entries', hex64(address), 'multiples of 8');
    core.setLong(L.PLACE_HOST_MEMORY, Number(address - first), value);
  }
}

/** Exit code 1: a walk did not end at an address. */
export function walkProblem({ walks }: WalkReport): string | undefined {
  const failed = walks.filter(({ answer }) => answer.kind !== 'translated').length;
  return failed === 0 ? undefined : `${failed} of ${walks.length} requests were not translated`;
}
