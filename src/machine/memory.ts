/** Emulated host memory: guest addresses from 0 to its size. What lies behind it is unreadable for instructions. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { checkU64, type U64 } from '../core/u64.js';

export class HostMemory {
  /** Bytes, from guest address 0. */
  readonly size: number;
  private readonly core: Core;

  constructor(core: Core, size: number) {
    this.core = core;
    this.size = size;
  }

  /** Puts `bytes` at guest address `address`. Throws `out-of-range` when they do not fit. */
  write(address: U64, bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw invalid('bytes', bytes, 'a Uint8Array');
    this.core.u8.set(bytes, this.at(address, bytes.byteLength));
  }

  /** Copies `length` bytes from guest address `address`. */
  read(address: U64, length: number): Uint8Array {
    const at = this.at(address, length);
    return this.core.u8.slice(at, at + length);
  }

  private at(address: U64, length: number): number {
    checkU64('address', address);
    if (!Number.isInteger(length) || length < 0 || BigInt(address) + BigInt(length) > BigInt(this.size)) {
      throw invalid('address', address, `0 to ${this.size} - length (${length} bytes asked)`, 'out-of-range');
    }
    return this.core.at(L.PLACE_HOST_MEMORY) + Number(address);
  }
}
