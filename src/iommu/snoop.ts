/** What becomes of the No Snoop attribute of one DMA request: a pure function, by architecture (iommu.md 8). */
import { invalid, needObject } from '../base/errors.js';
import type { OptionValue } from '../base/options.js';

/** Inputs that every architecture has (iommu.md 8.1). */
interface SnoopRequest {
  /** `memory`: a read, write or atomic operation that is no MSI. Nothing else may carry No Snoop. */
  readonly kind: 'memory' | 'msi' | 'io' | 'config' | 'message';
  /** Enable No Snoop, bit 11 of PCIe Device Control. */
  readonly en: boolean;
  /** The logic of the device asks for No Snoop. */
  readonly want: boolean;
  /** The platform honours No Snoop at all: a property of the root complex. */
  readonly honour: boolean;
}

/** How an Intel unit came to the address of a request. `translated`: the device had asked before (AT = 10). */
export type SnoopPath = 'off' | 'pass-through' | 'second-stage' | 'first-stage' | 'nested' | 'translated';

export interface VtdSnoopInput extends SnoopRequest {
  readonly arch: 'vtd';
  readonly path: SnoopPath;
  /** Tables of scalable mode; only they have PGSNP. */
  readonly isScalable: boolean;
  /** Snoop control, ECAP bit 7. */
  readonly sc: boolean;
  /** SNP, bit 11 of the second-stage leaf. It counts on the paths `second-stage` and `nested`. */
  readonly snp: boolean;
  /** PGSNP of the PASID entry. It counts wherever a PASID entry was read: not on the paths `off` and `translated`. */
  readonly pgsnp: boolean;
  /** N of the translation that the device was granted. It counts on the path `translated`. */
  readonly granted: boolean;
  /** The walk ended with this fault, which wins: permission and presence are tested before reserved bits. */
  readonly walkFault?: number | undefined;
  readonly passThroughSnoop?: OptionValue<'passThroughSnoop'>;
  readonly pgsnpWithoutSc?: OptionValue<'pgsnpWithoutSc'>;
}

export interface AmdSnoopInput extends SnoopRequest {
  readonly arch: 'amd';
  /** FC, bit 60 of the leaf. It counts where a v1 table translated the request. */
  readonly fc: boolean;
  /** `tables`: a v1 table; `as-sent`: V = 0, or mode 0. */
  readonly path: 'tables' | 'as-sent';
}

export interface SmmuSnoopInput extends SnoopRequest {
  readonly arch: 'smmu';
  /** Firmware says that the root complex is coherent whatever the attributes are (CANWBS of the IORT). */
  readonly canwbs: boolean;
  /** Memory type of the mapping. `bypass`: no table said anything. */
  readonly mapping: 'write-back' | 'non-cacheable' | 'device' | 'bypass';
}

export interface S390SnoopInput extends SnoopRequest {
  readonly arch: 's390';
  readonly s390NoSnoop?: OptionValue<'s390NoSnoop'>;
}

export type SnoopInput = VtdSnoopInput | AmdSnoopInput | SmmuSnoopInput | S390SnoopInput;

/** What becomes of the request. One that faults goes nowhere: only what was on the wire is known. */
export type SnoopDecision =
  | {
      readonly fault: null;
      /** No Snoop of the request on the wire. */
      readonly ns0: boolean;
      /** The unit takes No Snoop away. */
      readonly force: boolean;
      /** No Snoop behind the unit. */
      readonly nsOut: boolean;
      /** Caches of processors are snooped. */
      readonly coherent: boolean;
      /** The unit took No Snoop away from this request. */
      readonly stripped: boolean;
    }
  | { readonly fault: number; readonly ns0: boolean };

/** Reserved bit in a paging entry: in legacy and in scalable mode (iommu.md 11.1). */
const RESERVED_LEAF = 0x0c;
const RESERVED_LEAF_SCALABLE = 0x7a;
/** Reserved bit in a PASID entry. */
const RESERVED_PASID_ENTRY = 0x5a;

/**
 * Decides one request by iommu.md 8.2 and 8.4. VT-d: SNP without snoop control is fault 0x0C (0x7A in scalable mode), PGSNP
 * without it 0x5A unless `pgsnpWithoutSc` is `ignore`. That a device wants No Snoop on something other than memory has no
 * effect: the attribute must be 0 there. Throws ZtlpError for another architecture.
 */
export function decideSnoop(input: SnoopInput): SnoopDecision {
  needObject('input', input);
  const { kind, en, want, arch } = input;
  const ns0 = kind === 'memory' && en && want;
  switch (input.arch) {
    case 'vtd': {
      const fault = vtdFault(input);
      return fault === null ? pass(input, ns0, vtdForces(input)) : { fault, ns0 };
    }
    case 'amd':
      return pass(input, ns0, kind === 'memory' && input.path === 'tables' && input.fc);
    case 'smmu':
      return { ...pass(input, ns0, false), coherent: isSmmuCoherent(input, ns0) };
    case 's390':
      return {
        ...pass(input, ns0, false),
        // The tables have no control, and DMA is coherent: the attribute means nothing.
        coherent: input.s390NoSnoop !== 'passed' || !(ns0 && input.honour),
      };
    default:
      throw invalid('arch', arch, 'vtd, amd, smmu, s390');
  }
}

function pass(
  { honour }: SnoopRequest,
  ns0: boolean,
  force: boolean,
): SnoopDecision & { readonly fault: null } {
  const nsOut = ns0 && !force;
  return { fault: null, ns0, force, nsOut, coherent: !(nsOut && honour), stripped: ns0 && !nsOut };
}

/** The path read a PASID entry, in which PGSNP is set. */
function hasPgsnp({ isScalable, pgsnp, path }: VtdSnoopInput): boolean {
  return isScalable && pgsnp && path !== 'off' && path !== 'translated';
}

/** The fault that snoop bits raise, or the one of the walk. Messages and interrupts ask no tables (row 1 of iommu.md 8.3). */
function vtdFault(input: VtdSnoopInput): number | null {
  const { kind, path, isScalable, sc, snp, walkFault, pgsnpWithoutSc = 'reserved' } = input;
  if (kind !== 'memory') return null;
  // The PASID entry is read before the tables that it names.
  if (hasPgsnp(input) && !sc && pgsnpWithoutSc === 'reserved') return RESERVED_PASID_ENTRY;
  if (walkFault !== undefined) return walkFault;
  if ((path === 'second-stage' || path === 'nested') && snp && !sc)
    return isScalable ? RESERVED_LEAF_SCALABLE : RESERVED_LEAF;
  return null;
}

function vtdForces(input: VtdSnoopInput): boolean {
  const { kind, path, sc, snp, granted, passThroughSnoop = 'pgsnp' } = input;
  if (kind !== 'memory') return false;
  switch (path) {
    case 'second-stage':
      return sc && snp;
    case 'first-stage':
      return sc && hasPgsnp(input);
    case 'nested':
      return sc && (hasPgsnp(input) || snp);
    case 'pass-through':
      return sc && hasPgsnp(input) && passThroughSnoop === 'pgsnp';
    case 'translated':
      return granted;
    case 'off':
      return false;
  }
}

/** The memory type that results decides; write-back with No Snoop is like non-cacheable where the platform honours it. */
function isSmmuCoherent({ kind, canwbs, mapping, honour }: SmmuSnoopInput, ns0: boolean): boolean {
  if (kind !== 'memory' || canwbs) return true;
  if (mapping === 'non-cacheable' || mapping === 'device') return false;
  return !(ns0 && honour);
}
