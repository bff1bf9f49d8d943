/** Tables of domains in host memory: a region that the caller names, written as the processor writes. */
import { invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { checkU64, type U64 } from '../core/u64.js';
import type { AddressRange } from '../iommu/iova.js';
import { PlainMemory, type TableMemory } from '../iommu/table-memory.js';
import type { HostMemory } from './memory.js';

/** Part of host memory. */
export interface TableRegion {
  /** First guest address: a multiple of 4096 that is not 0. */
  readonly at: U64;
  /** A multiple of 4096. */
  readonly bytes: number;
}

const KEYS = keysOf<TableRegion>({ at: true, bytes: true });
const PAGE = 4096;

/**
 * Words go through the processor's cache, which writes back. Walks of the units ask the cache, whatever No Snoop does to
 * requests, so nothing has to be flushed; software for a unit whose walks do not snoop (ECAP.C = 0) would flush each table.
 */
export class RegionMemory implements TableMemory {
  /** The host memory. */
  readonly space: object;
  /** First and last address. */
  readonly range: AddressRange;
  private readonly blocks: PlainMemory;
  private readonly bytes = new Uint8Array(8);
  private readonly view = new DataView(this.bytes.buffer);

  /** Throws ZtlpError for a region outside `memory`. */
  constructor(
    private readonly memory: HostMemory,
    region: TableRegion,
  ) {
    needObject('tables', region);
    checkKeys('tables', region, KEYS);
    const { at, bytes } = region;
    const base = BigInt(checkU64('tables.at', at));
    if (base === 0n || base % BigInt(PAGE) !== 0n)
      throw invalid('tables.at', at, `a multiple of ${PAGE} that is not 0`);
    if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % PAGE !== 0)
      throw invalid('tables.bytes', bytes, `a multiple of ${PAGE} that is not 0`);
    if (base + BigInt(bytes) > BigInt(memory.size))
      throw invalid('tables', at, `a region below the end of host memory, ${memory.size}`, 'out-of-range');
    this.space = memory;
    this.range = { first: base, last: base + BigInt(bytes) - 1n };
    this.blocks = new PlainMemory({ base, bytes });
  }

  read64(address: bigint): bigint {
    return wordOf(this.memory.read(address, 8));
  }

  write64(address: bigint, value: bigint): void {
    this.view.setBigUint64(0, value, true);
    this.memory.write(address, this.bytes);
  }

  allocate(bytes: number): bigint {
    return this.blocks.allocate(bytes);
  }

  free(address: bigint): void {
    this.blocks.free(address);
  }
}

function wordOf({ buffer, byteOffset }: Uint8Array): bigint {
  return new DataView(buffer, byteOffset).getBigUint64(0, true);
}
