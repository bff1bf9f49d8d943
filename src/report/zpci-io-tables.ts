/** Builds I/O translation tables in guest memory as Linux does: region third, segment and page tables (zpci.md 5.2). */
import { invalid, ZtlpError } from '../base/errors.js';
import { hex64, type U64 } from '../core/u64.js';
import type { HostMemory } from '../machine/memory.js';

const BIG = 16 * 1024;
const SMALL = 2 * 1024;
const ENTRIES = 2048;
const PAGE_ENTRIES = 256;
const INVALID_TABLE = 0x20n;
const INVALID_PAGE = 0x400n;
/** A region-third entry: its type and its length. */
const REGION_BITS = 0x7n;
/** Translation through a region-third table (5.1). */
const ANCHOR_BITS = 0x804n;
const PROTECTED = 0x200n;
const LIMIT = 1n << 42n;
export const IO_PAGE = 4096;

/** Gives out guest memory from `next` up to `end`. */
export interface Arena {
  next: number;
  readonly end: number;
}

/** The tables of one function. */
export class IoTables {
  private readonly origin: number;

  /** @param arena where tables are put. Throws `resource` when it is full. */
  constructor(
    private readonly memory: HostMemory,
    private readonly arena: Arena,
  ) {
    this.origin = this.place(BIG, ENTRIES, INVALID_TABLE);
  }

  /** I/O translation anchor: what MPCIFC registers. */
  get iota(): bigint {
    return BigInt(this.origin) | ANCHOR_BITS;
  }

  /** Makes the page of `iova` mean the frame of `frame`. */
  map(iova: U64, frame: U64, isProtected: boolean): void {
    const address = checkIova(iova);
    const real = BigInt(frame);
    if (real % BigInt(IO_PAGE) !== 0n) throw invalid('frame', hex64(frame), 'a multiple of 4096');
    const [region, segment, page] = indexes(address);
    const segments = this.below(this.origin, region, REGION_BITS, BIG, ENTRIES, INVALID_TABLE);
    const pages = this.below(segments, segment, 0n, SMALL, PAGE_ENTRIES, INVALID_PAGE);
    this.put(pages + 8 * page, real | (isProtected ? PROTECTED : 0n));
  }

  /** Makes the entry of `iova` invalid, if its tables are there. */
  unmap(iova: U64): void {
    const [region, segment, page] = indexes(checkIova(iova));
    const regionEntry = this.get(this.origin + 8 * region);
    if ((regionEntry & INVALID_TABLE) !== 0n) return;
    const segmentEntry = this.get(Number(regionEntry & ~0x3fffn) + 8 * segment);
    if ((segmentEntry & INVALID_TABLE) !== 0n) return;
    this.put(Number(segmentEntry & ~0x7ffn) + 8 * page, INVALID_PAGE);
  }

  /** The table that entry `index` of `table` leads to: made when the entry is invalid. */
  private below(
    table: number,
    index: number,
    bits: bigint,
    size: number,
    entries: number,
    fill: bigint,
  ): number {
    const at = table + 8 * index;
    const entry = this.get(at);
    if ((entry & INVALID_TABLE) === 0n && entry !== 0n) return Number(entry & ~BigInt(size - 1));
    const origin = this.place(size, entries, fill);
    this.put(at, BigInt(origin) | bits);
    return origin;
  }

  private place(size: number, entries: number, fill: bigint): number {
    const at = Math.ceil(this.arena.next / size) * size;
    if (at + size > this.arena.end)
      throw new ZtlpError(
        'resource',
        `no room for a translation table of ${size} bytes below ${hex64(this.arena.end)}`,
        {
          field: 'tables',
          allowed: 'fewer tables, or tables NAME at=ADDRESS where there is room',
        },
      );
    const bytes = new Uint8Array(8 * entries);
    const view = new DataView(bytes.buffer);
    for (let n = 0; n < entries; n++) view.setBigUint64(8 * n, fill);
    this.memory.write(at, bytes);
    this.arena.next = at + size;
    return at;
  }

  private get(at: number): bigint {
    return new DataView(this.memory.read(at, 8).buffer).getBigUint64(0);
  }

  private put(at: number, entry: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, entry);
    this.memory.write(at, bytes);
  }
}

function checkIova(iova: U64): bigint {
  const address = BigInt(iova);
  if (address < LIMIT && address % BigInt(IO_PAGE) === 0n) return address;
  throw invalid('iova', hex64(iova), 'a multiple of 4096 below 2^42', 'out-of-range');
}

function indexes(address: bigint): [region: number, segment: number, page: number] {
  const part = (shift: bigint, mask: bigint): number => Number((address >> shift) & mask);
  return [part(31n, 0x7ffn), part(20n, 0x7ffn), part(12n, 0xffn)];
}
