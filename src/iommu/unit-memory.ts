/** What registers and queues of translation units read and write: 8-byte words of host memory. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../core/core.js';

/** Memory as a unit reaches it. That of a machine is `machine.memory.forUnits()`. */
export interface UnitMemory {
  /** The little-endian word at `address`, a multiple of 8; undefined: a bus error. */
  read64(address: bigint): bigint | undefined;
  /** Writes such a word. False: a bus error. */
  write64(address: bigint, value: bigint): boolean;
}

/** The first `bytes` of the host memory that the core holds, from address 0 on. */
export function hostMemory(core: Core, bytes: number): UnitMemory {
  const isInside = (address: bigint): boolean => address >= 0n && address + 8n <= BigInt(bytes);
  return {
    read64: (address) => (isInside(address) ? core.long(L.PLACE_HOST_MEMORY, Number(address)) : undefined),
    write64: (address, value) => {
      if (!isInside(address)) return false;
      // Units snoop: a line that the cache kept would bring back what stood there before.
      core.x.cacheFlush(Number(address), 8, 1);
      core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
      return true;
    },
  };
}

/** Writes 4 bytes at `address`, a multiple of 4. False: a bus error. */
export function write32(memory: UnitMemory, address: bigint, value: bigint): boolean {
  const at = address & ~7n;
  const shift = (address & 4n) * 8n;
  const word = memory.read64(at);
  if (word === undefined) return false;
  return memory.write64(at, (word & ~(0xffff_ffffn << shift)) | (value << shift));
}
