/** Writes page tables of any format: maps, unmaps and reads back. What a unit has kept of them is the caller's care. */
import { invalid, ZtlpError } from '../base/errors.js';
import { checkU64, hex64, type U64 } from '../core/u64.js';
import type { DecodedEntry, LeafAttributes, TableFormat } from './formats/format.js';
import type { AddressRange } from './iova.js';
import { allocateFilled, type TableMemory } from './table-memory.js';

const PAGE = 4096n;

/** What a mapping allows. */
export interface MapAttributes {
  /** Default true. */
  readonly read?: boolean;
  /** Default true. */
  readonly write?: boolean;
  /** Coherent mapping (IOMMU_CACHE). Default true. */
  readonly cache?: boolean;
  /** Device memory (IOMMU_MMIO). Default false. */
  readonly device?: boolean;
  /** Takes No Snoop away, where leaves of the format can. Default false. */
  readonly force?: boolean;
}

/** Where an address of a device goes. */
export interface Mapping {
  readonly address: U64;
  /** Log2 of the bytes of the page. */
  readonly pageLg2: number;
  readonly read: boolean;
  readonly write: boolean;
  /** The leaf takes No Snoop away. */
  readonly force: boolean;
}

/** An entry on the way to a page. */
interface Place {
  readonly table: bigint;
  readonly level: number;
  readonly at: bigint;
  readonly entry: DecodedEntry;
}

export class PageTable {
  /** Address of the top table. */
  readonly root: bigint;
  /** Entries in use of each table, by its address. */
  private readonly inUse = new Map<bigint, number>();

  /** An empty table. Throws ZtlpError where memory has no room for it. */
  constructor(
    readonly format: TableFormat,
    private readonly memory: TableMemory,
  ) {
    this.root = this.newTable(format.levels);
  }

  get isEmpty(): boolean {
    return this.inUse.get(this.root) === 0;
  }

  /**
   * Maps `bytes` from `iova` to `address`, all multiples of 4096, with the largest pages that fit. Throws ZtlpError, and
   * changes nothing, when a part is mapped already (EEXIST), does not fit (ERANGE), allows no access (EINVAL), or when
   * memory has no room for a table.
   */
  map(iova: U64, address: U64, bytes: U64, attributes: MapAttributes = {}): void {
    const { format } = this;
    const { read = true, write = true, cache = true, device = false, force = false } = attributes;
    const { first, to, size } = checkMapping(iova, address, bytes, { read, write });
    this.needWidth('iova', iova, first + size, format.width);
    this.needWidth('address', address, to + size, format.outputWidth);
    const taken = this.firstIn(first, first + size);
    if (taken !== null)
      throw new ZtlpError('invalid-value', `iova: ${hex64(taken)} is mapped already`, {
        field: 'iova',
        value: iova,
        errno: 'EEXIST',
      });
    let done = 0n;
    try {
      while (done < size) {
        const lg2 = this.largest(first + done, to + done, size - done);
        this.mapPage(first + done, to + done, lg2, { read, write, cache, device, force });
        done += 1n << BigInt(lg2);
      }
    } catch (error) {
      if (done > 0n) this.unmap(first, done);
      throw error;
    }
  }

  /**
   * Unmaps whole pages from `iova` on and answers how many bytes that were, as Linux does. It stops at an address that is
   * not mapped or lies within a larger page; a page that reaches beyond `bytes` goes as a whole. Tables without entries are
   * freed after `flush`, in which the caller has to make units forget the pages.
   */
  unmap(iova: U64, bytes: U64, flush: (first: bigint, last: bigint) => void = () => undefined): bigint {
    const first = aligned('iova', iova);
    const end = first + aligned('bytes', bytes);
    const emptied: bigint[] = [];
    let at = first;
    while (at < end && at >> BigInt(this.format.width) === 0n) {
      const path = this.path(at);
      const { level, entry } = last(path);
      if (entry.kind !== 'leaf' || at & (pageBytes(entry.lg2) - 1n)) break;
      this.clear(path, 1 << (entry.lg2 - this.format.lg2(level)));
      this.prune(path, emptied);
      at += pageBytes(entry.lg2);
    }
    if (at > first) flush(first, at - 1n);
    for (const table of emptied) this.memory.free(table);
    return at - first;
  }

  /** Where `iova` goes; null: it is not mapped. */
  lookUp(iova: U64): Mapping | null {
    const at = BigInt(checkU64('iova', iova));
    if (at >> BigInt(this.format.width) !== 0n) return null;
    const { entry } = last(this.path(at & ~(PAGE - 1n)));
    if (entry.kind !== 'leaf') return null;
    const { address, lg2, read, write, force } = entry;
    return { address: address | (at & (pageBytes(lg2) - 1n)), pageLg2: lg2, read, write, force };
  }

  /** What is mapped, in ascending order: pages side by side are one range, wherever they go. */
  ranges(): AddressRange[] {
    const found: AddressRange[] = [];
    const end = 1n << BigInt(this.format.width);
    for (let at = this.firstIn(0n, end); at !== null; ) {
      const first = at;
      for (let { entry } = last(this.path(at)); entry.kind === 'leaf'; { entry } = last(this.path(at))) {
        at += pageBytes(entry.lg2);
        if (at === end) break;
      }
      found.push({ first, last: at - 1n });
      at = this.firstIn(at, end);
    }
    return found;
  }

  /** Frees every table. The object must not be used afterwards. */
  destroy(): void {
    for (const table of this.inUse.keys()) this.memory.free(table);
    this.inUse.clear();
  }

  private newTable(level: number): bigint {
    const { format } = this;
    const table = allocateFilled(this.memory, format.bytes(level), this.stored(format.empty(level)));
    this.inUse.set(table, 0);
    return table;
  }

  /** A word of the format as memory has it, and back. */
  private stored(word: bigint): bigint {
    return this.format.isBigEndian ? swapped(word) : word;
  }

  private needWidth(field: string, value: U64, end: bigint, width: number): void {
    if (end <= 1n << BigInt(width)) return;
    throw new ZtlpError(
      'out-of-range',
      `${field}: the range from ${hex64(value)} needs more than ${width} bits`,
      {
        field,
        value,
        errno: 'ERANGE',
      },
    );
  }

  private indexAt(iova: bigint, level: number): bigint {
    const { format } = this;
    return (iova >> BigInt(format.lg2(level))) & BigInt(format.entries(level) - 1);
  }

  private placeAt(iova: bigint, table: bigint, level: number): Place {
    const at = table + 8n * this.indexAt(iova, level);
    return { table, level, at, entry: this.format.decode(this.stored(this.memory.read64(at)), level) };
  }

  /** The entries on the way to `iova`, from the top; the last one names no table. */
  private path(iova: bigint): Place[] {
    const path = [this.placeAt(iova, this.root, this.format.levels)];
    for (let { entry, level } = last(path); entry.kind === 'table'; { entry, level } = last(path))
      path.push(this.placeAt(iova, entry.address, level - 1));
    return path;
  }

  /** The first mapped address from `first` to below `end`; null: none. */
  private firstIn(first: bigint, end: bigint): bigint | null {
    for (let at = first; at < end; ) {
      const { entry, level } = last(this.path(at));
      if (entry.kind === 'leaf') return at;
      const span = BigInt(this.format.lg2(level));
      at = ((at >> span) + 1n) << span;
    }
    return null;
  }

  /** Log2 of the largest page that both addresses are aligned for, and that `left` bytes fill. */
  private largest(iova: bigint, address: bigint, left: bigint): number {
    let found = 12;
    for (const lg2 of this.format.pages)
      if (((iova | address) & (pageBytes(lg2) - 1n)) === 0n && left >= pageBytes(lg2)) found = lg2;
    return found;
  }

  private mapPage(iova: bigint, address: bigint, lg2: number, attributes: LeafAttributes): void {
    const { format, memory } = this;
    let table = this.root;
    let level = format.levels;
    try {
      for (; format.lg2(level) > lg2; level--) {
        const { entry, at } = this.placeAt(iova, table, level);
        if (entry.kind === 'table') {
          table = entry.address;
          continue;
        }
        const below = this.newTable(level - 1);
        memory.write64(at, this.stored(format.table(below, level)));
        this.use(table, 1);
        table = below;
      }
    } catch (error) {
      // Tables that were made on the way are of no use.
      const unused: bigint[] = [];
      this.prune(this.path(iova), unused);
      for (const one of unused) memory.free(one);
      throw error;
    }
    const copies = 1 << (lg2 - format.lg2(level));
    const word = this.stored(format.leaf(address, lg2, level, attributes));
    const at = table + 8n * this.indexAt(iova, level);
    for (let n = 0; n < copies; n++) memory.write64(at + 8n * BigInt(n), word);
    this.use(table, copies);
  }

  private use(table: bigint, change: number): void {
    this.inUse.set(table, (this.inUse.get(table) ?? 0) + change);
  }

  /** Empties the last entry of `path` and those beside it that are the same page. */
  private clear(path: readonly Place[], copies: number): void {
    const { table, level, at } = last(path);
    const word = this.stored(this.format.empty(level));
    for (let n = 0; n < copies; n++) this.memory.write64(at + 8n * BigInt(n), word);
    this.use(table, -copies);
  }

  /** Takes the tables of `path` that have no entries left out of those above, and adds them to `emptied`. */
  private prune(path: readonly Place[], emptied: bigint[]): void {
    for (let n = path.length - 1; n > 0; n--) {
      const { table } = path[n] as Place;
      if (this.inUse.get(table) !== 0) return;
      this.clear(path.slice(0, n), 1);
      this.inUse.delete(table);
      emptied.push(table);
    }
  }
}

function pageBytes(lg2: number): bigint {
  return 1n << BigInt(lg2);
}

function last(path: readonly Place[]): Place {
  return path[path.length - 1] as Place;
}

/**
 * Where a mapping begins, where it goes, and its bytes. Throws ZtlpError for what no table can have: values that are no
 * multiples of 4096, no bytes, or no access (EINVAL).
 */
export function checkMapping(
  iova: U64,
  address: U64,
  bytes: U64,
  { read = true, write = true }: Pick<MapAttributes, 'read' | 'write'>,
): { readonly first: bigint; readonly to: bigint; readonly size: bigint } {
  const first = aligned('iova', iova);
  const to = aligned('address', address);
  const size = aligned('bytes', bytes);
  if (size === 0n) throw invalid('bytes', bytes, 'a multiple of 4096 that is not 0');
  if (!read && !write)
    throw new ZtlpError('invalid-value', 'a mapping has to allow reading or writing', { errno: 'EINVAL' });
  return { first, to, size };
}

function aligned(field: string, value: U64): bigint {
  const checked = BigInt(checkU64(field, value));
  if (checked % PAGE === 0n) return checked;
  throw new ZtlpError('invalid-value', `${field}: ${hex64(value)} is not a multiple of 4096`, {
    field,
    value,
    allowed: 'a multiple of 4096',
    errno: 'EINVAL',
  });
}

/** The bytes of a word in the other order. */
function swapped(word: bigint): bigint {
  let turned = 0n;
  for (let n = 0n; n < 64n; n += 8n) turned |= ((word >> n) & 0xffn) << (56n - n);
  return turned;
}
