/** Domains: an address space for functions, its mappings, and whether it enforces cache coherency (iommu.md 8.5). */
import { invalid, needObject, ZtlpError } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { checkOption, type OptionValue } from '../base/options.js';
import { checkU64, type U64 } from '../core/u64.js';
import {
  type CoherencyCapabilities,
  checkFunction,
  type DomainUnit,
  type FunctionId,
  nameOf,
  needUnit,
  needUsable,
  type Target,
  tellAll,
  unitCapabilities,
} from './domain-unit.js';
import { IovaAllocator } from './iova.js';
import { type MapAttributes, type Mapping, PageTable } from './page-table.js';
import { checkMemory, type TableMemory } from './table-memory.js';

/**
 * `dma`: the domain chooses addresses for buffers; `unmanaged`: the owner chooses them (VFIO); `identity`: addresses pass as
 * they are; `blocked`: no request does.
 */
export type DomainKind = 'dma' | 'identity' | 'blocked' | 'unmanaged';

export interface DomainInput {
  readonly kind: DomainKind;
  /** The unit whose tables it uses. Functions of other units with the same tables can be attached, too. */
  readonly unit: DomainUnit;
  /** Where tables are. */
  readonly memory: TableMemory;
  /** Default `linux612`. With `linux2021` a coherent mapping gets the bit that takes No Snoop away where every unit has it. */
  readonly snoopTerms?: OptionValue<'snoopTerms'>;
}

/** Attributes that a caller may ask for; what takes No Snoop away is the domain's decision. */
export type DomainMapAttributes = Omit<MapAttributes, 'force'>;

/** The part of a domain that is in one unit. */
interface Share {
  readonly id: number | null;
  readonly functions: Map<string, FunctionId>;
}

const KINDS = ['dma', 'identity', 'blocked', 'unmanaged'] as const;
const INPUT = keysOf<DomainInput>({ kind: true, unit: true, memory: true, snoopTerms: true });
const ATTRIBUTES = keysOf<DomainMapAttributes>({ read: true, write: true, cache: true, device: true });
/** Where addresses for buffers end, unless a caller says otherwise. */
const DMA_LIMIT = 0xffff_ffffn;

export class Domain {
  readonly kind: DomainKind;
  private readonly unit: DomainUnit;
  private readonly memory: TableMemory;
  private readonly terms: OptionValue<'snoopTerms'>;
  private readonly table: PageTable | null;
  private readonly shares = new Map<DomainUnit, Share>();
  private readonly iovas = new IovaAllocator();
  private isEnforcing = false;
  private isDestroyed = false;

  /**
   * Throws ZtlpError for a kind or a field that there is not, for memory in which the unit does not look for tables, or when
   * memory has no room for the first table.
   */
  constructor(input: DomainInput) {
    needObject('input', input);
    checkKeys('', input, INPUT);
    const { kind, unit, memory, snoopTerms = 'linux612' } = input;
    if (!KINDS.includes(kind)) throw invalid('kind', kind, KINDS.join(', '));
    needUnit(unit);
    checkMemory(memory);
    unit.needServed();
    if (!unit.reads(memory)) throw invalid('memory', memory, 'the memory that tables of the unit are in');
    this.kind = kind;
    this.unit = unit;
    this.memory = memory;
    this.terms = checkOption('snoopTerms', snoopTerms);
    this.table = kind === 'dma' || kind === 'unmanaged' ? new PageTable(unit.format, memory) : null;
  }

  /**
   * Attaches `fn`, which is behind `unit`. Throws ZtlpError: EBUSY, it is attached somewhere; EINVAL, it is not behind the
   * unit, the unit has other tables or memory, or reserves an address that is mapped, or cannot enforce coherency while the
   * domain does (iommu.md 8.5); EOPNOTSUPP, the unit does not offer it; or what the hardware answers. Nothing has changed then.
   */
  attach(fn: FunctionId, unit: DomainUnit = this.unit): void {
    this.needAlive();
    checkFunction(fn);
    needUnit(unit);
    unit.needServed();
    const { table } = this;
    if (!unit.reads(this.memory)) throw this.refused(fn, 'its unit looks for tables in other memory');
    if (!this.canTake(unit)) throw this.refused(fn, 'its unit has other tables');
    if (this.isEnforcing && !unit.capabilities.enforceCap)
      throw this.refused(fn, 'the domain enforces cache coherency, and its unit cannot');
    let share = this.shares.get(unit);
    if (share === undefined)
      for (const { first, last } of table?.ranges() ?? []) needUsable(first, last, [unit]);
    unit.hold(fn, this);
    try {
      share ??= { id: table === null ? null : unit.takeId(), functions: new Map() };
      this.bind(fn, unit, share);
    } catch (error) {
      unit.letGo(fn);
      if (share !== undefined && !this.shares.has(unit)) returnIdOf(unit, share);
      throw error;
    }
    share.functions.set(nameOf(fn), fn);
    this.shares.set(unit, share);
  }

  /** Functions behind `unit` can use the tables of the domain. */
  canTake(unit: DomainUnit): boolean {
    return unit.reads(this.memory) && (this.table === null || unit.takes(this.table.format));
  }

  /**
   * Undoes `attach`: requests of the function are refused then. Throws ZtlpError: ENOENT, it is not attached here; or what the
   * hardware answers, and it is still attached then.
   */
  detach(fn: FunctionId, unit: DomainUnit = this.unit): void {
    this.needAlive();
    checkFunction(fn);
    needUnit(unit);
    unit.needHeld(fn, this);
    const share = this.shares.get(unit);
    if (share === undefined) return;
    unit.unbind(fn, share.id);
    unit.retire();
    unit.letGo(fn);
    share.functions.delete(nameOf(fn));
    if (share.functions.size > 0) return;
    this.shares.delete(unit);
    returnIdOf(unit, share);
  }

  /**
   * Maps `bytes` from `iova` to `address` in a domain of kind `unmanaged`. Throws ZtlpError as `PageTable.map` does, for other
   * kinds and addresses that a unit reserves (EINVAL), `unknown-name` for an attribute that does not exist, or what the
   * hardware answers. Nothing has changed then.
   */
  map(iova: U64, address: U64, bytes: U64, attributes: DomainMapAttributes = {}): void {
    this.needAlive();
    if (this.kind !== 'unmanaged') throw this.wrongKind('unmanaged');
    checkAttributes(attributes);
    const first = BigInt(checkU64('iova', iova));
    needUsable(first, first + BigInt(checkU64('bytes', bytes)) - 1n, this.units);
    this.write(iova, address, bytes, attributes);
  }

  /** Unmaps as `PageTable.unmap` does and answers how many bytes; units have forgotten them when it returns. */
  unmap(iova: U64, bytes: U64): bigint {
    this.needAlive();
    if (this.kind !== 'unmanaged') throw this.wrongKind('unmanaged');
    return this.erase(iova, bytes);
  }

  /**
   * Maps a buffer in a domain of kind `dma` and answers its address for devices: the highest one up to `limit` (default
   * 2^32 - 1), aligned at the power of two that is not smaller than the buffer, outside the reserved ranges of the units.
   * Throws ZtlpError: ENOSPC, or as `map`.
   */
  mapDma(address: U64, bytes: U64, options: DomainMapAttributes & { readonly limit?: U64 } = {}): bigint {
    this.needAlive();
    needObject('options', options);
    const { limit = DMA_LIMIT, ...attributes } = options;
    checkAttributes(attributes);
    if (this.table === null || this.kind !== 'dma') throw this.wrongKind('dma');
    const size = BigInt(checkU64('bytes', bytes));
    if (size === 0n || size % 4096n !== 0n) throw invalid('bytes', bytes, 'a multiple of 4096 that is not 0');
    const end = (1n << BigInt(this.table.format.width)) - 1n;
    const asked = BigInt(checkU64('limit', limit));
    const iova = this.iovas.allocate(size, asked < end ? asked : end, this.reserved);
    try {
      this.write(iova, address, size, attributes);
    } catch (error) {
      this.iovas.free(iova);
      throw error;
    }
    return iova;
  }

  /** Undoes `mapDma`. Throws ZtlpError (ENOENT) for an address that it did not answer. */
  unmapDma(iova: U64): void {
    this.needAlive();
    if (this.kind !== 'dma') throw this.wrongKind('dma');
    const first = BigInt(checkU64('iova', iova));
    const bytes = this.iovas.free(first);
    if (bytes === 0n)
      throw new ZtlpError('not-found', 'iova: no buffer begins there', {
        field: 'iova',
        value: iova,
        errno: 'ENOENT',
      });
    this.erase(first, bytes);
  }

  /** Where `iova` goes by the tables; null: nowhere. In an identity domain every address goes to itself. */
  lookUp(iova: U64): Mapping | null {
    this.needAlive();
    if (this.kind === 'identity')
      return { address: checkU64('iova', iova), pageLg2: 63, read: true, write: true, force: false };
    return this.table?.lookUp(iova) ?? null;
  }

  /**
   * From now on No Snoop is taken away from requests, or means nothing. False: some unit cannot, or there are mappings
   * without the bit already (iommu.md 8.5). In the terms of 2021 there was no such call.
   */
  enforceCacheCoherency(): boolean {
    this.needAlive();
    const { table } = this;
    if (this.isEnforcing) return true;
    if (table === null || this.terms === 'linux2021') return false;
    if (!this.units.every(({ capabilities }) => capabilities.enforceCap)) return false;
    if (table.format.forcing === 'leaf' && !table.isEmpty) return false;
    this.isEnforcing = true;
    if (table.format.forcing !== 'leaf')
      for (const [unit, share] of this.shares)
        for (const fn of share.functions.values()) unit.bind(fn, this.targetOf(share));
    return true;
  }

  /** No Snoop requests of attached functions do not get through: by enforcement, in the terms of 2021 by coherent mappings. */
  get isEnforced(): boolean {
    return this.terms === 'linux2021' ? this.capabilities.enforceCap : this.isEnforcing;
  }

  /** What all of its units can (IOM-54); of one without functions, what the unit that it was made for can. */
  get capabilities(): CoherencyCapabilities {
    const all = this.units.map((unit) => unitCapabilities(unit, this.terms));
    return {
      cacheCoherency: all.every(({ cacheCoherency }) => cacheCoherency),
      enforceCap: all.every(({ enforceCap }) => enforceCap),
    };
  }

  /** Number of functions that are attached. */
  get functions(): number {
    return [...this.shares.values()].reduce((sum, share) => sum + share.functions.size, 0);
  }

  /** The domain has no mappings. */
  get isEmpty(): boolean {
    this.needAlive();
    return this.table?.isEmpty ?? true;
  }

  /** Frees the tables: every later call throws ZtlpError (EINVAL). Throws ZtlpError (EBUSY) while functions are attached. */
  destroy(): void {
    this.needAlive();
    if (this.shares.size > 0)
      throw new ZtlpError('invalid-value', `${this.functions} functions are attached`, { errno: 'EBUSY' });
    this.table?.destroy();
    this.isDestroyed = true;
  }

  /** What held its tables may be those of another domain by now, or empty. */
  private needAlive(): void {
    if (this.isDestroyed)
      throw new ZtlpError('invalid-value', 'the domain was destroyed: create another', { errno: 'EINVAL' });
    for (const unit of [this.unit, ...this.shares.keys()]) unit.needServed();
  }

  private get units(): DomainUnit[] {
    return this.shares.size === 0 ? [this.unit] : [...this.shares.keys()];
  }

  private get reserved(): DomainUnit['reserved'] {
    return this.units.flatMap(({ reserved }) => reserved);
  }

  private targetOf({ id }: Share): Target {
    const { table, kind } = this;
    if (table !== null && id !== null)
      return { kind: 'tables', format: table.format, root: table.root, id, forces: this.isEnforcing };
    return { kind: kind === 'identity' ? 'identity' : 'blocked' };
  }

  /** Binds `fn` and makes its unit forget what it may keep of the mappings, or throws and leaves it unbound. */
  private bind(fn: FunctionId, unit: DomainUnit, share: Share): void {
    const { id } = share;
    unit.bind(fn, this.targetOf(share));
    if (!unit.keepsAbsent || id === null) return;
    try {
      // What was mapped before is as new to the unit as what is mapped from now on.
      for (const { first, last } of this.table?.ranges() ?? []) unit.forget(id, first, last);
    } catch (error) {
      quietly(() => unit.unbind(fn, id));
      throw error;
    }
  }

  private write(iova: U64, address: U64, bytes: U64, attributes: DomainMapAttributes): void {
    const { cache = true } = attributes;
    const force = this.terms === 'linux2021' ? cache && this.capabilities.enforceCap : this.isEnforcing;
    this.table?.map(iova, address, bytes, { ...attributes, force });
    const keepers = [...this.shares].filter(([unit]) => unit.keepsAbsent);
    const first = BigInt(iova);
    try {
      forgetIn(keepers, first, first + BigInt(bytes) - 1n);
    } catch (error) {
      // Those that were told have the pages now: they must not keep what was not mapped.
      this.table?.unmap(iova, bytes, (from, to) => quietly(() => forgetIn(keepers, from, to)));
      throw error;
    }
  }

  private erase(iova: U64, bytes: U64): bigint {
    const unmapped =
      this.table?.unmap(iova, bytes, (first, last) => forgetIn(this.shares, first, last)) ?? 0n;
    if (unmapped > 0n) for (const unit of this.shares.keys()) unit.retire();
    return unmapped;
  }

  private wrongKind(wanted: DomainKind): ZtlpError {
    return new ZtlpError('invalid-value', `a domain of kind ${this.kind} does not take this call`, {
      field: 'kind',
      value: this.kind,
      allowed: wanted,
      errno: 'EINVAL',
    });
  }

  private refused(fn: FunctionId, why: string): ZtlpError {
    return new ZtlpError('invalid-value', `${nameOf(fn)} cannot be attached: ${why}`, {
      field: 'sid',
      value: fn.sid,
      errno: 'EINVAL',
    });
  }
}

/** Throws ZtlpError for an attribute that nothing reads (`unknown-name`), or that is not true or false. */
export function checkAttributes(attributes: DomainMapAttributes): void {
  needObject('attributes', attributes);
  checkKeys('attributes', attributes, ATTRIBUTES);
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && typeof value !== 'boolean')
      throw invalid(`attributes.${name}`, value, 'true, false');
}

/** Makes units forget [first, last] of the domain. Throws the first error, when all have been told. */
function forgetIn(shares: Iterable<readonly [DomainUnit, Share]>, first: bigint, last: bigint): void {
  tellAll(shares, ([unit, { id }]) => {
    if (id !== null) unit.forget(id, first, last);
  });
}

/** For what is undone after an error: that one is thrown, not what undoing it meets. */
function quietly(undo: () => void): void {
  try {
    undo();
  } catch {
    // A function that cannot be told has no use for it.
  }
}

function returnIdOf(unit: DomainUnit, { id }: Share): void {
  if (id !== null) unit.returnId(id);
}
