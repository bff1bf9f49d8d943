/** What queues of translation units read and write: 8-byte words of host memory. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../core/core.js';
import { high32, low32 } from '../core/u64.js';

export interface UnitMemory {
  /** The little-endian word at `address`, a multiple of 8; undefined: a bus error. */
  read64(address: bigint): bigint | undefined;
  /** False: a bus error. */
  write64(address: bigint, value: bigint): boolean;
}

/** The first `bytes` of the host memory that the core holds, from address 0 on. */
export function hostMemory(core: Core, bytes: number): UnitMemory {
  const isInside = (address: bigint): boolean => address >= 0n && address + 8n <= BigInt(bytes);
  return {
    read64: (address) => {
      if (!isInside(address)) return undefined;
      const word = (at: number): bigint => BigInt(core.word(L.PLACE_HOST_MEMORY, at) >>> 0);
      return word(Number(address)) | (word(Number(address) + 4) << 32n);
    },
    write64: (address, value) => {
      if (!isInside(address)) return false;
      core.setWord(L.PLACE_HOST_MEMORY, Number(address), low32(value));
      core.setWord(L.PLACE_HOST_MEMORY, Number(address) + 4, high32(value));
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

/** Bits `from` to `from` + `count` - 1 of a word. */
export function field(word: bigint, from: number, count: number): number {
  return Number((word >> BigInt(from)) & ((1n << BigInt(count)) - 1n));
}
