/** What the entries that a walk read say, in words: step by step, each in the light of those before it (iommu.md 2 to 4). */
import { amdDevice, amdPage } from './explain-amd.js';
import type { Explain, Passed, UnitFacts } from './explain-bits.js';
import { armStage1, armStage2, smmuDescriptor, smmuStream, streamList } from './explain-smmu.js';
import { secondStage, vtdContext, vtdDirectory, vtdPasid, vtdRoot } from './explain-vtd.js';
import type { UnitKind, WalkStep } from './unit.js';

/** A step with what its entry says. */
export interface ExplainedStep {
  /** The structure, or the level: of VT-d and AMD-Vi from the top down to 1, of SMMUv3 as Arm counts, 0 to 3. */
  readonly what: string;
  readonly address: bigint;
  /** null: the address is outside memory. */
  readonly entry: bigint | null;
  readonly meaning: string;
}

/** Bytes of a structure, so that its words can be counted, and what they say. */
const STRUCTURES: Readonly<Record<string, readonly [bytes: number, explain: Explain]>> = {
  root: [16, vtdRoot],
  context: [32, vtdContext],
  'PASID directory': [8, vtdDirectory],
  PASID: [64, vtdPasid],
  device: [32, amdDevice],
  'stream list': [8, streamList],
  stream: [64, smmuStream],
  'context descriptor': [64, smmuDescriptor],
};

const FIRST_FORMATS: Readonly<Record<UnitKind, Passed['format']>> = {
  vtd: secondStage,
  amd: amdPage,
  smmuv3: armStage1,
};
const SECOND_FORMATS: Readonly<Record<UnitKind, Passed['format']>> = {
  vtd: secondStage,
  amd: amdPage,
  smmuv3: armStage2,
};
/** The level of 4 KiB pages is 1 for units, 3 for Arm. */
const ARM_LEVELS = 4;

/** The steps of one walk of a unit, explained; `isReadable` says whether an address is in memory. */
export function explainSteps(
  facts: UnitFacts,
  steps: readonly WalkStep[],
  isReadable: (address: bigint) => boolean,
): ExplainedStep[] {
  const passed: Passed = {
    facts,
    format: FIRST_FORMATS[facts.kind],
    hasExtended: false,
    hasSecondFlags: false,
    config: 0,
    isList: false,
    outputs: facts.width,
  };
  return steps.map((step) => {
    const address = BigInt(step.address);
    const what = nameOf(facts.kind, step.what);
    if (!isReadable(address)) return { what, address, entry: null, meaning: 'unreadable: outside memory' };
    const entry = BigInt(step.entry);
    return { what, address, entry, meaning: explain(step.what, address, entry, passed) };
  });
}

const LEVEL = /^(second-stage )?level (\d+)$/;

function nameOf(kind: UnitKind, what: string): string {
  const level = LEVEL.exec(what);
  if (kind !== 'smmuv3' || level === null) return what;
  return `${level[1] ?? ''}level ${ARM_LEVELS - Number(level[2])}`;
}

function explain(what: string, address: bigint, entry: bigint, passed: Passed): string {
  const { kind, isScalable } = passed.facts;
  const level = LEVEL.exec(what);
  if (level !== null)
    return (level[1] === undefined ? passed.format : SECOND_FORMATS[kind])(entry, Number(level[2]), passed);
  const structure = STRUCTURES[what];
  if (structure === undefined) return '';
  const [bytes, tell] = structure;
  const size = what === 'context' && !isScalable ? 16 : bytes;
  return tell(entry, (Number(address & 0xfffn) % size) / 8, passed);
}
