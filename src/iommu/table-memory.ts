/** Memory that holds tables of translation units: what writers of tables need of it, and a plain one. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { checkU64, hex64, type U64 } from '../core/u64.js';

/** Where tables are. Words are little-endian, as units read them; only s390 has others (its writer turns them). */
export interface TableMemory {
  /** What its addresses are addresses of, where several share it. Left out: the object itself. */
  readonly space?: object;
  /** The 8 bytes at `address`, a multiple of 8. */
  read64(address: bigint): bigint;
  write64(address: bigint, value: bigint): void;
  /** Address of `bytes` (a power of two), aligned at their size; what they hold is not said. Throws ZtlpError without room. */
  allocate(bytes: number): bigint;
  /** Takes back what `allocate` gave. */
  free(address: bigint): void;
}

export interface PlainMemoryInput {
  /** First address. Default 0x1000. */
  readonly base?: U64;
  /** Room for tables, 4096 to 2^40. Default 64 MiB. */
  readonly bytes?: number;
}

/** Memory that only has tables, word by word: for tests and for examples without a machine. */
export class PlainMemory implements TableMemory {
  private readonly words = new Map<bigint, bigint>();
  private readonly used = new Map<bigint, bigint>();
  /** Freed blocks by size: they are given again first. */
  private readonly spare = new Map<bigint, bigint[]>();
  private next: bigint;
  private readonly end: bigint;

  constructor({ base = 0x1000, bytes = 0x400_0000 }: PlainMemoryInput = {}) {
    this.next = BigInt(checkU64('base', base));
    this.end = this.next + BigInt(inRange('bytes', bytes, 4096, 2 ** 40));
  }

  read64(address: bigint): bigint {
    return this.words.get(address) ?? 0n;
  }

  write64(address: bigint, value: bigint): void {
    this.words.set(address, value);
  }

  allocate(bytes: number): bigint {
    const size = BigInt(bytes);
    const address = this.spare.get(size)?.pop() ?? this.take(size);
    this.used.set(address, size);
    return address;
  }

  free(address: bigint): void {
    const size = this.used.get(address);
    if (size === undefined)
      throw new ZtlpError('invalid-value', `${hex64(address)} is no block that was allocated`, {
        value: address,
      });
    this.used.delete(address);
    const list = this.spare.get(size);
    if (list === undefined) this.spare.set(size, [address]);
    else list.push(address);
  }

  /** Blocks that are in use. */
  get blocks(): number {
    return this.used.size;
  }

  private take(size: bigint): bigint {
    const address = (this.next + size - 1n) & ~(size - 1n);
    if (address + size > this.end)
      throw new ZtlpError('resource', `no room for a table of ${size} bytes`, {
        field: 'bytes',
        errno: 'ENOMEM',
      });
    this.next = address + size;
    return address;
  }
}

/** Throws ZtlpError unless `value` can hold tables, as a caller without TypeScript may give something else. */
export function checkMemory(value: TableMemory): void {
  needObject('memory', value);
  const { read64, write64, allocate, free } = value;
  if ([read64, write64, allocate, free].some((call) => typeof call !== 'function'))
    throw invalid('memory', value, 'an object with read64, write64, allocate and free');
}

/** An address means the same in both. */
export function isSameSpace(one: TableMemory, other: TableMemory): boolean {
  return (one.space ?? one) === (other.space ?? other);
}

/** A table of `bytes` whose words are all `word`. */
export function allocateFilled(memory: TableMemory, bytes: number, word = 0n): bigint {
  const table = memory.allocate(bytes);
  for (let at = 0; at < bytes; at += 8) memory.write64(table + BigInt(at), word);
  return table;
}
