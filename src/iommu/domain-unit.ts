/** What a domain needs of a translation unit: its capabilities, and where software writes who a function is. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import type { OptionValue } from '../base/options.js';
import { hex64 } from '../core/u64.js';
import type { TableFormat } from './formats/format.js';
import type { AddressRange } from './iova.js';
import { isSameSpace, type TableMemory } from './table-memory.js';

/** A function of a PCI device, or a part of it that uses a PASID of its own. */
export interface FunctionId {
  /** Requester ID, 0 to 0xffff. */
  readonly sid: number;
  /** 1 to 0xfffff. Left out: requests without a PASID. */
  readonly pasid?: number | undefined;
}

/** What the requests of a function meet. */
export type Target =
  | { readonly kind: 'identity' }
  | { readonly kind: 'blocked' }
  | {
      readonly kind: 'tables';
      readonly format: TableFormat;
      /** Address of the top table. */
      readonly root: bigint;
      /** Number of the domain in this unit (DID, ASID, DomainID). */
      readonly id: number;
      /** The domain enforces coherency; it counts where leaves have no bit for it. */
      readonly forces: boolean;
    };

/** Two different things that had one name in 2021 (iommu.md 13). */
export interface CoherencyCapabilities {
  /** IOMMU_CAP_CACHE_COHERENCY. `linux612`: mappings can be coherent; `linux2021`, VT-d: No Snoop can be taken away. */
  readonly cacheCoherency: boolean;
  /** IOMMU_CAP_ENFORCE_CACHE_COHERENCY: No Snoop can be taken away, or means nothing. */
  readonly enforceCap: boolean;
}

/** A unit as domains see it. One for each architecture: `VtdDomainUnit`, `AmdDomainUnit`, `SmmuDomainUnit`, `S390DomainUnit`. */
export abstract class DomainUnit {
  abstract readonly architecture: 'vtd' | 'amd' | 'smmu' | 's390';
  /** In the terms of Linux 6.12. */
  abstract readonly capabilities: CoherencyCapabilities;
  /** Addresses that no mapping may have: the hardware, or Linux, does something else with them. */
  abstract readonly reserved: readonly AddressRange[];
  /** Entries that were not present may be kept: units have to forget them after a mapping, too. */
  abstract readonly keepsAbsent: boolean;
  /** Format of the tables of a new domain. */
  abstract readonly format: TableFormat;
  /** Numbers that domains get. */
  protected abstract readonly ids: { readonly first: number; readonly last: number };

  private readonly usedIds = new Set<number>();
  private readonly holders = new Map<string, object>();
  private isBehind: (sid: number) => boolean = () => true;
  private waitFor = (): void => undefined;
  private checkServed = (): void => undefined;

  /** `tables`: where tables are; null: it does not matter. */
  protected constructor(private readonly tables: TableMemory | null) {}

  /** Writes what `target` is for `fn`, and makes the unit forget what was there. Throws ZtlpError for what it cannot do. */
  abstract bind(fn: FunctionId, target: Target): void;

  /** Takes `fn` out of the tables of the unit: its requests are refused. `id` is the domain that it was in; null: none. */
  abstract unbind(fn: FunctionId, id: number | null): void;

  /** Makes the unit forget what it has kept of the addresses [first, last] of domain `id`, of every function in it. */
  abstract forget(id: number, first: bigint, last: bigint): void;

  /** A domain of another unit can use this one: tables are alike. */
  takes({ name, width, levels, outputWidth, pages }: TableFormat): boolean {
    const own = this.format;
    return (
      own.name === name &&
      own.width >= width &&
      own.levels === levels &&
      own.outputWidth >= outputWidth &&
      pages.every((lg2) => own.pages.includes(lg2))
    );
  }

  /** Tables in `memory` are where the unit looks for them. */
  reads(memory: TableMemory): boolean {
    return this.tables === null || isSameSpace(this.tables, memory);
  }

  /**
   * From now on only functions for which `isBehind` answers true can be attached: the requests of others do not get here.
   * `checkServed` throws ZtlpError when the unit has lost its tables, to a reset for instance.
   */
  serveOnly(isBehind: (sid: number) => boolean, checkServed = (): void => undefined): void {
    this.isBehind = isBehind;
    this.checkServed = checkServed;
  }

  /** Throws ZtlpError (EINVAL) when the unit has lost its tables: domains of it are of no use then. */
  needServed(): void {
    this.checkServed();
  }

  /** From now on `retire` is what waits for the requests that the unit has translated but not performed. */
  retireWith(retire: () => void): void {
    this.waitFor = retire;
  }

  /**
   * After an invalidation: returns when the requests are performed that were translated before it. Software has to wait for them
   * before it gives the page away (iommu.md 5: draining).
   */
  retire(): void {
    this.waitFor();
  }

  /** Marks `fn` as attached to `holder`. Throws ZtlpError: out of range, EINVAL for one that is not behind the unit, or EBUSY. */
  hold(fn: FunctionId, holder: object): void {
    checkFunction(fn);
    const name = nameOf(fn);
    if (!this.isBehind(fn.sid))
      throw new ZtlpError('invalid-value', `sid: ${name} is no function behind this unit`, {
        field: 'sid',
        value: fn.sid,
        allowed: 'the id of a function behind the unit',
        errno: 'EINVAL',
      });
    if (this.holders.has(name))
      throw new ZtlpError('invalid-value', `${name} is attached already`, {
        field: 'sid',
        value: fn.sid,
        errno: 'EBUSY',
      });
    this.holders.set(name, holder);
  }

  /** Undoes `hold`. */
  letGo(fn: FunctionId): void {
    this.holders.delete(nameOf(fn));
  }

  /** Throws ZtlpError (ENOENT) when `fn` is not attached to `holder`. */
  needHeld(fn: FunctionId, holder: object): void {
    const name = nameOf(fn);
    if (this.holders.get(name) === holder) return;
    throw new ZtlpError('not-found', `${name} is not attached to this domain`, {
      field: 'sid',
      value: fn.sid,
      errno: 'ENOENT',
    });
  }

  /** A number for a domain. Throws ZtlpError (ENOSPC) when all are used. */
  takeId(): number {
    const { first, last } = this.ids;
    for (let id = first; id <= last; id++) {
      if (this.usedIds.has(id)) continue;
      this.usedIds.add(id);
      return id;
    }
    throw new ZtlpError('resource', `the unit has numbers for ${last - first + 1} domains`, {
      errno: 'ENOSPC',
    });
  }

  returnId(id: number): void {
    this.usedIds.delete(id);
  }
}

/** Capabilities of `unit` in the words of a Linux (IOM-54). */
export function unitCapabilities(
  unit: DomainUnit,
  terms: OptionValue<'snoopTerms'> = 'linux612',
): CoherencyCapabilities {
  const { cacheCoherency, enforceCap } = unit.capabilities;
  return {
    cacheCoherency: terms === 'linux2021' && unit.architecture === 'vtd' ? enforceCap : cacheCoherency,
    enforceCap,
  };
}

/** Throws ZtlpError for what is no object, or a number out of range. */
export function checkFunction(fn: FunctionId): void {
  needObject('fn', fn);
  inRange('sid', fn.sid, 0, 0xffff);
  if (fn.pasid !== undefined) inRange('pasid', fn.pasid, 1, 0xf_ffff);
}

/** `01:00.0`, with its PASID behind it. */
export function nameOf({ sid, pasid }: FunctionId): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const name = `${hex(sid >> 8, 2)}:${hex((sid >> 3) & 31, 2)}.${sid & 7}`;
  return pasid === undefined ? name : `${name} pasid ${pasid}`;
}

/** Throws ZtlpError unless `value` is a unit, as a caller without TypeScript may not give one. */
export function needUnit(value: unknown): void {
  if (!(value instanceof DomainUnit)) throw invalid('unit', value, 'a unit of domains');
}

/** Throws ZtlpError (EINVAL) when [first, last] has an address that one of `units` reserves. */
export function needUsable(first: bigint, last: bigint, units: readonly DomainUnit[]): void {
  for (const { reserved } of units)
    for (const range of reserved)
      if (range.first <= last && first <= range.last)
        throw new ZtlpError(
          'invalid-value',
          `iova: ${hex64(range.first)} to ${hex64(range.last)} is reserved`,
          { field: 'iova', value: first, errno: 'EINVAL' },
        );
}

/** Calls `tell` for each of `all`, whatever the others threw, and throws the first of the errors. */
export function tellAll<T>(all: Iterable<T>, tell: (one: T) => void): void {
  const errors: unknown[] = [];
  for (const one of all)
    try {
      tell(one);
    } catch (error) {
      errors.push(error);
    }
  if (errors.length > 0) throw errors[0];
}

/** What this unit, or its kind, does not do. */
export function notOffered(what: string): ZtlpError {
  return new ZtlpError('unsupported', what, { errno: 'EOPNOTSUPP' });
}
