/** Coherency as VFIO and KVM see it: the container's answer, and the count that lets a guest flush caches (iommu.md 9, 13). */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { checkOption, type OptionValue } from '../base/options.js';
import { checkU64, hex64, type U64 } from '../core/u64.js';
import { checkAttributes, Domain, type DomainMapAttributes } from './domain.js';
import {
  checkFunction,
  type DomainUnit,
  type FunctionId,
  nameOf,
  needUnit,
  needUsable,
  unitCapabilities,
} from './domain-unit.js';
import { checkMapping } from './page-table.js';
import { checkMemory, type TableMemory } from './table-memory.js';
import type { WbinvdUnit } from './wbinvd.js';

export interface VfioContainerInput {
  /** Where tables are. */
  readonly memory: TableMemory;
  /** Default `linux612`. */
  readonly snoopTerms?: OptionValue<'snoopTerms'>;
}

/** A file of VFIO as KVM sees it. */
export interface VfioFile {
  readonly name: string;
  /** No device behind the file can send No Snoop requests past its IOMMU. */
  readonly isEnforcedCoherent: boolean;
}

interface ContainerMapping {
  readonly first: bigint;
  readonly last: bigint;
  readonly address: U64;
  readonly attributes: DomainMapAttributes;
}

interface Member {
  readonly fn: FunctionId;
  readonly unit: DomainUnit;
  readonly domain: Domain;
}

/** A VFIO container of type 1: one set of mappings for functions behind any units. */
export class VfioContainer {
  private readonly memory: TableMemory;
  private readonly terms: OptionValue<'snoopTerms'>;
  private readonly members: Member[] = [];
  private mappings: ContainerMapping[] = [];

  /** Throws ZtlpError for input that is none. */
  constructor(input: VfioContainerInput) {
    needObject('input', input);
    const { memory, snoopTerms = 'linux612' } = input;
    checkMemory(memory);
    this.memory = memory;
    this.terms = checkOption('snoopTerms', snoopTerms);
  }

  /**
   * Attaches `fn`, which is behind `unit`. It joins a domain whose tables and enforcement are alike, or gets one of its own
   * with all mappings. Throws ZtlpError: EINVAL, mappings of the unit cannot be coherent, or one lies in a reserved range;
   * or as `Domain.attach`.
   */
  attach(fn: FunctionId, unit: DomainUnit): void {
    checkFunction(fn);
    needUnit(unit);
    if (this.terms === 'linux612' && !unit.capabilities.cacheCoherency)
      throw refused(`${nameOf(fn)}: its unit has no coherent mappings`);
    for (const { first, last } of this.mappings) needUsable(first, last, [unit]);
    const own = new Domain({ kind: 'unmanaged', unit, memory: this.memory, snoopTerms: this.terms });
    try {
      own.attach(fn, unit);
    } catch (error) {
      own.destroy();
      throw error;
    }
    own.enforceCacheCoherency();
    const alike = this.domains.find((other) => other.isEnforced === own.isEnforced && other.canTake(unit));
    try {
      if (alike === undefined)
        for (const { first, last, address, attributes } of this.mappings)
          own.map(first, address, last - first + 1n, attributes);
    } catch (error) {
      own.detach(fn, unit);
      own.destroy();
      throw error;
    }
    if (alike !== undefined) {
      own.detach(fn, unit);
      own.destroy();
      alike.attach(fn, unit);
    }
    this.members.push({ fn, unit, domain: alike ?? own });
  }

  /** Throws ZtlpError (ENOENT) for a function that is not attached. Without functions the mappings are gone, too. */
  detach(fn: FunctionId, unit: DomainUnit): void {
    const member = this.memberOf(fn, unit);
    const { domain } = member;
    domain.detach(fn, unit);
    this.members.splice(this.members.indexOf(member), 1);
    if (domain.functions === 0) domain.destroy();
    if (this.members.length === 0) this.mappings = [];
  }

  /** Maps in every domain. Throws ZtlpError: EEXIST, EINVAL for a reserved range, or as `Domain.map`. */
  map(iova: U64, address: U64, bytes: U64, attributes: DomainMapAttributes = {}): void {
    checkAttributes(attributes);
    // Without functions no table does: every attach would fail at a mapping that none can have.
    const { first, to, size } = checkMapping(iova, address, bytes, attributes);
    const last = first + size - 1n;
    for (const [field, value, end] of [
      ['iova', iova, last],
      ['address', address, to + size - 1n],
    ] as const)
      if (end >> 64n !== 0n)
        throw invalid(field, value, `what leaves room for ${bytes} bytes below 2^64`, 'out-of-range');
    const taken = this.mappings.find((other) => other.first <= last && first <= other.last);
    if (taken !== undefined)
      throw new ZtlpError('invalid-value', `iova: ${hex64(taken.first)} is mapped already`, {
        field: 'iova',
        value: iova,
        errno: 'EEXIST',
      });
    needUsable(
      first,
      last,
      this.members.map(({ unit }) => unit),
    );
    const done: Domain[] = [];
    try {
      for (const domain of this.domains) {
        domain.map(iova, address, bytes, attributes);
        done.push(domain);
      }
    } catch (error) {
      for (const domain of done) domain.unmap(iova, bytes);
      throw error;
    }
    this.mappings.push({ first, last, address, attributes });
  }

  /** Unmaps whole mappings and answers how many bytes. Throws ZtlpError (EINVAL) where a mapping would be cut. */
  unmap(iova: U64, bytes: U64): bigint {
    const first = BigInt(checkU64('iova', iova));
    const last = first + BigInt(checkU64('bytes', bytes)) - 1n;
    const inside = this.mappings.filter((one) => one.first <= last && first <= one.last);
    if (inside.some((one) => one.first < first || one.last > last))
      throw refused('iova: a mapping would be cut: only whole mappings are unmapped');
    this.mappings = this.mappings.filter((one) => !inside.includes(one));
    let sum = 0n;
    for (const one of inside) {
      const size = one.last - one.first + 1n;
      for (const domain of this.domains) domain.unmap(one.first, size);
      sum += size;
    }
    return sum;
  }

  /** VFIO_DMA_CC_IOMMU: every domain enforces coherency (IOM-56). */
  get dmaCcIommu(): boolean {
    return this.domains.every((domain) => domain.isEnforced);
  }

  /** The domains that functions were sorted into. */
  get domains(): Domain[] {
    return [...new Set(this.members.map(({ domain }) => domain))];
  }

  /** What KVM is given for `fn`. By 6.12 the capability of its unit counts; in 2021 it was the container's answer. */
  fileOf(fn: FunctionId, unit: DomainUnit): VfioFile {
    const member = this.memberOf(fn, unit);
    const isEnforced = (): boolean =>
      this.terms === 'linux2021' ? this.dmaCcIommu : unitCapabilities(member.unit).enforceCap;
    return {
      name: nameOf(fn),
      get isEnforcedCoherent() {
        return isEnforced();
      },
    };
  }

  /** What `wbinvdLinux` asks for: the unit in front of each function. */
  get units(): WbinvdUnit[] {
    return this.members.map(({ fn, unit }) => ({
      name: `the unit of ${nameOf(fn)}`,
      enforceCap: unit.capabilities.enforceCap,
    }));
  }

  private memberOf(fn: FunctionId, unit: DomainUnit): Member {
    checkFunction(fn);
    const found = this.members.find((one) => nameOf(one.fn) === nameOf(fn) && one.unit === unit);
    if (found !== undefined) return found;
    throw new ZtlpError('not-found', `${nameOf(fn)} is not attached to this container`, {
      field: 'sid',
      value: fn.sid,
      errno: 'ENOENT',
    });
  }
}

/** The file of a device whose DMA goes through an emulated IOMMU: no unit answers for it, so it counts as not enforced (IOM-59). */
export function emulatedFile(name: string): VfioFile {
  return { name, isEnforcedCoherent: false };
}

/** What flushes of a guest cost the host. */
export interface FlushReport {
  /** Instructions that the guest executed. */
  readonly instructions: number;
  /** Flushes of a host CPU that they caused. */
  readonly hostFlushes: number;
}

/** The KVM-VFIO device of a virtual machine: whether the guest's WBINVD is really executed. */
export class KvmVfio {
  private readonly files = new Set<VfioFile>();
  private count = 0;
  private registered = 0;
  private unregistered = 0;
  private instructions = 0;
  private hostFlushes = 0;

  /** Only x86 counts: elsewhere the calls are empty. */
  constructor(private readonly platform: 'x86' | 'arm64' | 's390x' = 'x86') {}

  add(file: VfioFile): void {
    this.files.add(file);
    this.update();
  }

  remove(file: VfioFile): void {
    this.files.delete(file);
    this.update();
  }

  /** The VM's count of non-coherent DMA: 0 or 1, however many files there are. */
  get noncoherentCount(): number {
    return this.count;
  }

  /** Calls of the register and unregister functions so far: one at each edge. */
  get edges(): { readonly registered: number; readonly unregistered: number } {
    return { registered: this.registered, unregistered: this.unregistered };
  }

  /**
   * The guest executes WBINVD `times` (default 1) in a row on a virtual CPU that has run on `dirtyCpus` CPUs of the host since
   * they were flushed. Answers the flushes that the host does: one on each of them for each, none while the count is 0.
   */
  guestWbinvd(dirtyCpus: number, times = 1): number {
    inRange('dirtyCpus', dirtyCpus, 1, 65536);
    inRange('times', times, 0, 2 ** 31);
    const flushes = this.count > 0 ? dirtyCpus * times : 0;
    this.instructions += times;
    this.hostFlushes += flushes;
    return flushes;
  }

  get flushes(): FlushReport {
    return { instructions: this.instructions, hostFlushes: this.hostFlushes };
  }

  private update(): void {
    const isNoncoherent = [...this.files].some(({ isEnforcedCoherent }) => !isEnforcedCoherent);
    const wanted = isNoncoherent && this.platform === 'x86' ? 1 : 0;
    if (wanted > this.count) this.registered++;
    if (wanted < this.count) this.unregistered++;
    this.count = wanted;
  }
}

function refused(why: string): ZtlpError {
  return new ZtlpError('invalid-value', why, { errno: 'EINVAL' });
}
