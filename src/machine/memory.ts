/** Emulated host memory as the processor sees it, through its cache: guest addresses from 0 to its size. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { checkU64, type U64 } from '../core/u64.js';
import { hostMemory, type UnitMemory } from '../iommu/unit-memory.js';

/**
 * What `write` puts into memory stands in a write-back cache of 32 KiB (512 lines of 64 bytes, 8 ways) until a line is pushed
 * out or flushed. Requests of functions ask the cache, so that nobody notices, but for those with No Snoop that the platform
 * honours: they read and write DRAM behind the cache's back.
 */
export class HostMemory {
  /** Bytes, from guest address 0. */
  readonly size: number;
  private readonly core: Core;

  /** With `isCached` false the processor has no cache: what it writes is in memory at once. */
  constructor(
    core: Core,
    size: number,
    private readonly isCached = false,
  ) {
    this.core = core;
    this.size = size;
  }

  /** Puts `bytes` at guest address `address`. Throws `out-of-range` when they do not fit. */
  write(address: U64, bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw invalid('bytes', bytes, 'a Uint8Array');
    const at = this.at(address, bytes.byteLength);
    if (this.isCached) this.core.x.cacheTouch(Number(address), bytes.byteLength, 1);
    this.core.u8.set(bytes, at);
  }

  /** Copies `length` bytes from guest address `address`. */
  read(address: U64, length: number): Uint8Array {
    const at = this.at(address, length);
    if (this.isCached) this.core.x.cacheTouch(Number(address), length, 0);
    return this.core.u8.slice(at, at + length);
  }

  /**
   * Writes the cache lines of [address, address + length) back to memory, and drops them (CLFLUSH), or with `keep` leaves them
   * in the cache, clean (CLWB). Throws `out-of-range` as `write` does.
   */
  flush(address: U64, length: number, { keep = false }: { readonly keep?: boolean } = {}): void {
    this.at(address, length);
    this.core.x.cacheFlush(Number(address), length, keep ? 0 : 1);
  }

  /** Writes all dirty lines back and empties the cache (WBINVD). Answers how many lines were dirty. */
  flushAll(): number {
    return this.core.x.cacheFlushAll();
  }

  /** As registers and queues of translation units reach it: they ask the cache, as requests without No Snoop do. */
  forUnits(): UnitMemory {
    return hostMemory(this.core, this.size);
  }

  private at(address: U64, length: number): number {
    checkU64('address', address);
    if (!Number.isInteger(length) || length < 0 || BigInt(address) + BigInt(length) > BigInt(this.size)) {
      throw invalid('address', address, `0 to ${this.size} - length (${length} bytes asked)`, 'out-of-range');
    }
    return this.core.at(L.PLACE_HOST_MEMORY) + Number(address);
  }
}
