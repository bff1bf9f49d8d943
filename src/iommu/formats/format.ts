/** What a writer of page tables needs to know of a format. Levels count from 1, the table of the smallest pages. */

/** What a mapping allows, and how it is reached. */
export interface LeafAttributes {
  readonly read: boolean;
  readonly write: boolean;
  /** Coherent mapping (IOMMU_CACHE). Only Arm formats have attributes for it. */
  readonly cache: boolean;
  /** Device memory, such as a doorbell (IOMMU_MMIO). Only Arm formats have attributes for it. */
  readonly device: boolean;
  /** Takes No Snoop away, where the format has a bit for it. */
  readonly force: boolean;
}

/** An entry as it was read. */
export type DecodedEntry =
  | { readonly kind: 'none' }
  | { readonly kind: 'table'; readonly address: bigint }
  | {
      readonly kind: 'leaf';
      /** First address of the page. */
      readonly address: bigint;
      /** Log2 of the bytes of the page. */
      readonly lg2: number;
      readonly read: boolean;
      readonly write: boolean;
      readonly force: boolean;
    };

/** Names of the formats that there are writers for. */
export type FormatName = 'vtd-second' | 'vtd-first' | 'amd-v1' | 'lpae-stage1' | 'lpae-stage2' | 's390';

export interface TableFormat {
  readonly name: FormatName;
  /** Bits of the addresses that are translated. */
  readonly width: number;
  /** Bits of the addresses of pages and tables. */
  readonly outputWidth: number;
  /** Level of the top table. */
  readonly levels: number;
  /** Log2 of the page sizes, in ascending order. */
  readonly pages: readonly number[];
  /** Words of the tables are big-endian. */
  readonly isBigEndian: boolean;
  /** Where it is decided that No Snoop is taken away: in each leaf, in every leaf whatever is asked, or not in the tables. */
  readonly forcing: 'leaf' | 'always' | 'elsewhere';
  /** Log2 of what an entry at `level` covers. */
  lg2(level: number): number;
  /** Entries of a table of `level`. */
  entries(level: number): number;
  /** Bytes that a table of `level` takes, at least its entries. */
  bytes(level: number): number;
  /** An entry of `level` that maps nothing. */
  empty(level: number): bigint;
  /** An entry of `level` that names a table of the level below. */
  table(address: bigint, level: number): bigint;
  /** An entry of `level` that names a page of 2^`lg2` bytes, one of `pages`. */
  leaf(address: bigint, lg2: number, level: number, attributes: LeafAttributes): bigint;
  decode(entry: bigint, level: number): DecodedEntry;
}

const NONE: DecodedEntry = { kind: 'none' };

/** An entry that maps nothing. */
export function none(): DecodedEntry {
  return NONE;
}

/** Geometry of tables with 512 entries of 8 bytes, whose top may have other sizes. */
export function geometry(
  width: number,
  levels: number,
  smallest: number,
): Pick<TableFormat, 'lg2' | 'entries' | 'bytes'> {
  const lg2 = (level: number): number => 3 + 9 * level;
  const entries = (level: number): number => (level < levels ? 512 : 2 ** (width - lg2(levels)));
  return { lg2, entries, bytes: (level) => Math.max(smallest, 8 * entries(level)) };
}

/** Bits 51:12 of an entry. */
export const ADDRESS_52 = 0xf_ffff_ffff_f000n;
/** Bits 47:12 of an entry. */
export const ADDRESS_48 = 0xffff_ffff_f000n;
