/** Host tables (v1) of AMD units (iommu.md 3): PR 0, NextLevel 11:9, address 51:12, FC 60, IR 61, IW 62. */
import { inRange, invalid } from '../../base/errors.js';
import { ADDRESS_52, none, type TableFormat } from './format.js';

const SIZES = ['natural', 'all'] as const;
const FORCES = ['always', 'enforced'] as const;
const PRESENT = 1n;
const NEXT_SHIFT = 9n;
const NEXT = 7n;
const COHERENT = 1n << 60n;
const READ = 1n << 61n;
const WRITE = 1n << 62n;
/** NextLevel of a page whose size stands in its address. */
const SIZED = 7n;
/** Linux leaves out pages of 512 GiB: hardware is said to get them wrong. */
const LEFT_OUT = 39;

export interface AmdV1Input {
  /** Mode of the device table entry, 1 to 6: 21, 30, 39, 48, 57 or 64 bits. Default 4. */
  readonly levels?: number;
  /** Address bits of the host, 30 to 52. Default 48. */
  readonly hostWidth?: number;
  /** `natural`: 4 KiB, 2 MiB, 1 GiB; `all`: also every power of two between, by NextLevel 7. Default `natural`. */
  readonly sizes?: (typeof SIZES)[number];
  /** `always`: FC in every leaf, as Linux 6.12; `enforced`: only where a domain enforces, as the generic page table code. */
  readonly forceCoherent?: (typeof FORCES)[number];
}

/** Throws ZtlpError for levels, widths or words that the format does not have. */
export function amdV1(input: AmdV1Input = {}): TableFormat {
  const { levels = 4, hostWidth = 48, sizes = 'natural', forceCoherent = 'always' } = input;
  inRange('levels', levels, 1, 6);
  if (!SIZES.includes(sizes)) throw invalid('sizes', sizes, SIZES.join(', '));
  if (!FORCES.includes(forceCoherent)) throw invalid('forceCoherent', forceCoherent, FORCES.join(', '));
  const width = Math.min(64, 12 + 9 * levels);
  const most = Math.min(width, inRange('hostWidth', hostWidth, 30, 52)) - 1;
  const every = Array.from({ length: Math.max(0, most - 11) }, (_, n) => 12 + n);
  const isAlways = forceCoherent === 'always';
  const lg2 = (level: number): number => 3 + 9 * level;
  return {
    name: 'amd-v1',
    width,
    outputWidth: hostWidth,
    levels,
    pages:
      sizes === 'natural'
        ? [12, 21, 30].filter((size) => size <= most)
        : every.filter((size) => size < LEFT_OUT),
    isBigEndian: false,
    forcing: isAlways ? 'always' : 'leaf',
    lg2,
    entries: (level) => (level === 6 ? 128 : 512),
    bytes: () => 4096,
    empty: () => 0n,
    table: (address, level) => address | PRESENT | (BigInt(level - 1) << NEXT_SHIFT) | READ | WRITE,
    leaf(address, size, level, { read, write, force }) {
      const isNatural = size === lg2(level);
      // The first 0 bit from 12 on tells the size: below it are ones, as many as the size is larger than 8 KiB.
      const ones = isNatural ? 0n : ((1n << BigInt(size - 1)) - 1n) & ADDRESS_52;
      return (
        address |
        ones |
        PRESENT |
        ((isNatural ? 0n : SIZED) << NEXT_SHIFT) |
        (read ? READ : 0n) |
        (write ? WRITE : 0n) |
        (force || isAlways ? COHERENT : 0n)
      );
    },
    decode(entry, level) {
      if ((entry & PRESENT) === 0n) return none();
      const address = entry & ADDRESS_52;
      const next = (entry >> NEXT_SHIFT) & NEXT;
      if (next !== 0n && next !== SIZED) return { kind: 'table', address };
      const size = next === 0n ? lg2(level) : sizeOf(address);
      return {
        kind: 'leaf',
        address: address & ~((1n << BigInt(size)) - 1n),
        lg2: size,
        read: (entry & READ) !== 0n,
        write: (entry & WRITE) !== 0n,
        force: (entry & COHERENT) !== 0n,
      };
    },
  };
}

function sizeOf(address: bigint): number {
  let size = 13;
  while (((address >> BigInt(size - 1)) & 1n) === 1n) size++;
  return size;
}
