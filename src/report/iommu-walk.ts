/** A walk of a translation unit step by step: what it reads, what the entries say, and how it ends. */
import * as L from '../../assembly/layout.js';
import { nonDefault, type OptionInput, type Options, resolveOptions } from '../base/options.js';
import { Core } from '../core/core.js';
import { high32, low32 } from '../core/u64.js';
import { type ExplainedStep, explainSteps } from '../iommu/explain.js';
import type { UnitFacts } from '../iommu/explain-bits.js';
import { amdEventText, reasonName, smmuEventText } from '../iommu/reasons.js';
import { SmmuUnit } from '../iommu/smmu-unit.js';
import type { UnitAnswer, UnitKind } from '../iommu/unit.js';
import { VtdUnit } from '../iommu/vtd-unit.js';
import { createUnit, iotlbRoom, type MachineUnit, unitOptions } from '../machine/iommus.js';
import {
  checkEntries,
  checkImages,
  checkOptions,
  checkRoot,
  checkStreams,
  rangeOf,
  type WalkInput,
  type WalkRequest,
} from './iommu-walk-input.js';

type Translated = Extract<UnitAnswer, { kind: 'translated' }>;

/** As `UnitAnswer`, with the address as a bigint. */
export type WalkAnswer =
  | (Omit<Translated, 'address'> & { readonly address: bigint })
  | Exclude<UnitAnswer, Translated>;

/** One request: the entries that it read, and what became of it. */
export interface Walk {
  readonly request: WalkRequest;
  readonly steps: readonly ExplainedStep[];
  readonly answer: WalkAnswer;
  /** Of a fault: what its reason means. */
  readonly reasonName?: string;
  /** Of an event of an SMMUv3 or an AMD-Vi unit: what it says beside its type. */
  readonly event?: readonly string[];
}

export interface WalkReport {
  readonly unit: UnitKind;
  readonly root: bigint;
  /** Options that do not hold their default. */
  readonly options: OptionInput;
  /** Memory that is known; a walk that leaves it ends with an unreadable entry. */
  readonly memory: { readonly first: bigint; readonly end: bigint };
  readonly walks: readonly Walk[];
}

/** TTM of RTADDR: scalable mode. */
const MODE = 0xc00n;
const SCALABLE = 0x400n;
/** SMTS of ECAP. */
const SMTS = 1n << 43n;

/** Throws ZtlpError for images that overlap, entries that are not at a multiple of 8, and for what units refuse. */
export async function walkTables(input: WalkInput): Promise<WalkReport> {
  const { kind } = input.unit;
  checkOptions(kind, input.options);
  checkRoot(kind, input.root);
  checkStreams(kind, input.streams);
  checkImages(input.images);
  checkEntries(input.entries);
  const { first, end } = rangeOf(input);
  const units = [input.unit];
  const options = unitOptions(units, resolveOptions(input.options));
  const core = await Core.load(undefined, Number(end - first), 0, 0, (x) =>
    x.unitReserve(1, iotlbRoom(units, options), options.pagingStructureEntries),
  );
  core.x.unitMemory(low32(first), high32(first), low32(end), high32(end), low32(first), high32(first));
  fill(core, first, input);
  const unit = createUnit(core, 0, input.unit, options);
  if (unit instanceof VtdUnit) unit.rootTable = input.root;
  else if (unit instanceof SmmuUnit) unit.setStreamTable(input.root, input.streams ?? 0);
  else unit.setDeviceTable(input.root, input.streams ?? 1);
  unit.isOn = true;
  const facts = factsOf(unit, input, options);
  const isReadable = (address: bigint): boolean => address >= first && address + 8n <= end;
  const walks = input.requests.map((request): Walk => {
    core.x.unitDropAll(0);
    takeEvent(unit);
    const answer = unit.translate(request);
    const steps = explainSteps(facts, unit.steps, isReadable);
    if (answer.kind === 'translated')
      return { request, steps, answer: { ...answer, address: BigInt(answer.address) } };
    if (answer.kind !== 'fault') return { request, steps, answer };
    const event = takeEvent(unit);
    return {
      request,
      steps,
      answer,
      reasonName: reasonName(kind, answer.reason),
      ...(event === undefined ? {} : { event }),
    };
  });
  const given = nonDefault(input.options).map(({ name, value }) => [name, value]);
  return {
    unit: kind,
    root: input.root,
    options: Object.fromEntries(given) as OptionInput,
    memory: { first, end },
    walks,
  };
}

/** Takes what the last request left behind, so that the next one has room; what an event says, if it was one. */
function takeEvent(unit: MachineUnit): readonly string[] | undefined {
  if (unit instanceof VtdUnit) {
    unit.clearFaults();
    return undefined;
  }
  if (unit instanceof SmmuUnit) return unit.takeEvents().events.map(smmuEventText)[0];
  return unit.takeEvents().events.map(amdEventText)[0];
}

function factsOf(unit: MachineUnit, input: WalkInput, options: Options): UnitFacts {
  const { kind } = input.unit;
  const isVtd = unit instanceof VtdUnit;
  const cap = isVtd ? BigInt(unit.cap) : 0n;
  const ecap = isVtd ? BigInt(unit.ecap) : 0n;
  const isQemu = kind === 'vtd' ? options.vtdModel === 'qemu72' : options.smmuModel === 'qemu72';
  const hardware = 'hardwareFlags' in input.unit ? (input.unit.hardwareFlags ?? 'none') : 'none';
  const hasFlags = kind !== 'smmuv3' || !isQemu;
  return {
    kind,
    isScalable: isVtd && (input.root & MODE) === SCALABLE && (ecap & SMTS) !== 0n,
    isQemu,
    width: isVtd ? unit.hostWidth : unit instanceof SmmuUnit ? unit.outputWidth : 52,
    cap,
    ecap,
    substreamBits: unit instanceof SmmuUnit ? unit.substreamBits : 0,
    setsAccess: hasFlags && hardware !== 'none',
    setsDirty: hasFlags && hardware === 'dirty',
  };
}

function fill(core: Core, first: bigint, { images, entries }: WalkInput): void {
  const at = core.at(L.PLACE_HOST_MEMORY);
  for (const image of images) core.u8.set(image.bytes, at + Number(image.at - first));
  for (const [address, value] of entries) core.setLong(L.PLACE_HOST_MEMORY, Number(address - first), value);
}

/** Exit code 1: a request did not get where it was to go. A message has. */
export function walkProblem({ walks }: WalkReport): string | undefined {
  const failed = walks.filter(({ answer }) => answer.kind === 'fault' || answer.kind === 'refused').length;
  return failed === 0 ? undefined : `${failed} of ${walks.length} requests were not translated`;
}
