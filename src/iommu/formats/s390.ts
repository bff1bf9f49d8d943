/** I/O translation tables of s390 (zpci.md 5.1 to 5.3): region tables, segment tables, page tables. Big-endian. */
import { invalid } from '../../base/errors.js';
import { none, type TableFormat } from './format.js';

const PAGE_INVALID = 0x400n;
const INVALID = 0x20n;
const FRAME = 0x400n;
const PROTECTED = 0x200n;
/** Of a region table: a whole table follows. */
const LENGTH = 3n;
const TYPE_SHIFT = 2n;
const PAGES = 1;
const SEGMENTS = 2;
const MIB = 20;
/** T of the anchor: translation is enabled. */
const TRANSLATES = 0x800n;
const TOPS = ['segment', 'region-third', 'region-second', 'region-first'] as const;

export interface S390Input {
  /** The table that the anchor names: 31, 42, 53 or 64 bits of addresses. Default `region-third`, as Linux up to 6.12. */
  readonly top?: (typeof TOPS)[number];
  /** Also frames of 1 MiB; Linux maps pages alone. Default false. */
  readonly frames?: boolean;
}

/** Reading is always allowed. Throws ZtlpError for a table that there is not. */
export function s390Tables({ top = 'region-third', frames = false }: S390Input = {}): TableFormat {
  const place = TOPS.indexOf(top);
  if (place < 0) throw invalid('top', top, TOPS.join(', '));
  const lg2 = (level: number): number => (level === PAGES ? 12 : MIB + 11 * (level - SEGMENTS));
  return {
    name: 's390',
    width: 31 + 11 * place,
    outputWidth: 64,
    levels: SEGMENTS + place,
    pages: frames ? [12, MIB] : [12],
    isBigEndian: true,
    forcing: 'elsewhere',
    lg2,
    entries: (level) => (level === PAGES ? 256 : 2048),
    bytes: (level) => (level === PAGES ? 2048 : 0x4000),
    empty: (level) => (level === PAGES ? PAGE_INVALID : INVALID),
    table: (address, level) =>
      level === SEGMENTS ? address : address | (BigInt(level - SEGMENTS) << TYPE_SHIFT) | LENGTH,
    leaf: (address, _lg2, level, { write }) =>
      address | (level === SEGMENTS ? FRAME : 0n) | (write ? 0n : PROTECTED),
    decode(entry, level) {
      if ((entry & (level === PAGES ? PAGE_INVALID : INVALID)) !== 0n) return none();
      if (level > SEGMENTS) return { kind: 'table', address: entry & ~0x3fffn };
      if (level === SEGMENTS && (entry & FRAME) === 0n) return { kind: 'table', address: entry & ~0x7ffn };
      const size = lg2(level);
      return {
        kind: 'leaf',
        address: (entry >> BigInt(size)) << BigInt(size),
        lg2: size,
        read: true,
        write: (entry & PROTECTED) === 0n,
        force: false,
      };
    },
  };
}

/** The anchor (IOTA) of a top table at `root`: T, and the designation of the table in bits 4:2. */
export function s390Anchor(root: bigint, { levels }: TableFormat): bigint {
  return root | TRANSLATES | (BigInt(levels - SEGMENTS) << TYPE_SHIFT);
}
