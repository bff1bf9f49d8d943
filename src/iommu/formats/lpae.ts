/** Tables of Armv8 with a granule of 4 KiB, stages 1 and 2 (iommu.md 4.1 to 4.3). Level 3 of the architecture is 1 here. */
import { inRange } from '../../base/errors.js';
import { ADDRESS_48, type DecodedEntry, geometry, none, type TableFormat } from './format.js';

const TYPE = 3n;
const TYPE_BLOCK = 1n;
/** Of a table, and of a page in the last table. */
const TYPE_TABLE = 3n;
const OUTER = 2n << 8n;
const INNER = 3n << 8n;
const ACCESSED = 1n << 10n;
const PAGES = 1;

// Stage 1.
const INDEX_SHIFT = 2n;
const UNPRIVILEGED = 1n << 6n;
const READ_ONLY = 1n << 7n;
const NOT_GLOBAL = 1n << 11n;
/** Places in MAIR that Linux uses: normal non-cacheable, write-back, device. */
const INDEX_UNCACHED = 0n;
const INDEX_CACHED = 1n;
const INDEX_DEVICE = 2n;

/** The MAIR value that goes with the leaves of stage 1: non-cacheable, write-back, device nGnRE, inner non-cacheable. */
export const MAIR = 0xf4_04_ff_44n;

// Stage 2.
const MEMORY_SHIFT = 2n;
const MEMORY_CACHED = 0xfn;
const MEMORY_UNCACHED = 0x5n;
const MEMORY_DEVICE = 0x1n;
const READ = 1n << 6n;
const WRITE = 1n << 7n;
/** Up to 16 tables may stand side by side at the top of stage 2: 4 index bits. */
const CONCATENATED = 4;

export interface LpaeInput {
  /** Bits of the addresses that are translated (64 - T0SZ), 25 to 48. Default 48. */
  readonly width?: number;
  /** Bits of the addresses that come out, 32 to 48. Default 44. */
  readonly outputWidth?: number;
}

/** Stage 1. Reading is always allowed. Throws ZtlpError for a width out of range. */
export function lpaeStage1({ width = 48, outputWidth = 44 }: LpaeInput = {}): TableFormat {
  inRange('width', width, 25, 48);
  return {
    name: 'lpae-stage1',
    ...shared(width, outputWidth, Math.floor((width - 4) / 9)),
    leaf: (address, _lg2, level, { write, cache, device }) => {
      const index = device ? INDEX_DEVICE : cache ? INDEX_CACHED : INDEX_UNCACHED;
      return (
        leafOf(address, level) |
        (index << INDEX_SHIFT) |
        UNPRIVILEGED |
        (write ? 0n : READ_ONLY) |
        (cache && !device ? INNER : OUTER) |
        NOT_GLOBAL
      );
    },
    decode: (entry, level) => decode(entry, level, () => ({ read: true, write: (entry & READ_ONLY) === 0n })),
  };
}

/** Stage 2, with concatenated tables at the top where that saves a level. Throws ZtlpError for a width out of range. */
export function lpaeStage2({ width = 48, outputWidth = 44 }: LpaeInput = {}): TableFormat {
  inRange('width', width, 25, 48);
  const levels = Math.ceil((width - 12) / 9);
  const top = width - 12 - 9 * (levels - 1);
  return {
    name: 'lpae-stage2',
    ...shared(width, outputWidth, top <= CONCATENATED && levels > 2 ? levels - 1 : levels),
    leaf: (address, _lg2, level, { read, write, cache, device }) => {
      const memory = device ? MEMORY_DEVICE : cache ? MEMORY_CACHED : MEMORY_UNCACHED;
      return (
        leafOf(address, level) |
        (memory << MEMORY_SHIFT) |
        (read ? READ : 0n) |
        (write ? WRITE : 0n) |
        (cache && !device ? INNER : OUTER)
      );
    },
    decode: (entry, level) =>
      decode(entry, level, () => ({ read: (entry & READ) !== 0n, write: (entry & WRITE) !== 0n })),
  };
}

function shared(
  width: number,
  outputWidth: number,
  levels: number,
): Omit<TableFormat, 'name' | 'leaf' | 'decode'> {
  return {
    width,
    outputWidth: inRange('outputWidth', outputWidth, 32, 48),
    levels,
    // A block of 1 GiB has to be smaller than the address space.
    pages: [12, 21, 30].filter((lg2) => lg2 <= 3 + 9 * levels),
    isBigEndian: false,
    forcing: 'elsewhere',
    ...geometry(width, levels, 64),
    empty: () => 0n,
    table: (address) => address | TYPE_TABLE,
  };
}

function leafOf(address: bigint, level: number): bigint {
  return address | (level === PAGES ? TYPE_TABLE : TYPE_BLOCK) | ACCESSED;
}

function decode(
  entry: bigint,
  level: number,
  permissions: () => { readonly read: boolean; readonly write: boolean },
): DecodedEntry {
  const type = entry & TYPE;
  const address = entry & ADDRESS_48;
  if (level !== PAGES && type === TYPE_TABLE) return { kind: 'table', address };
  if (type !== (level === PAGES ? TYPE_TABLE : TYPE_BLOCK)) return none();
  return { kind: 'leaf', address, lg2: 3 + 9 * level, ...permissions(), force: false };
}
