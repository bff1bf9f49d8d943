/** First-stage tables of VT-d, which are those of x86-64 (iommu.md 2.5): P 0, R/W 1, U/S 2, A 5, D 6, PS 7. */
import { inRange, invalid } from '../../base/errors.js';
import { ADDRESS_52, geometry, none, type TableFormat } from './format.js';

const PRESENT = 1n;
const WRITE = 2n;
const USER = 4n;
const ACCESSED = 1n << 5n;
const DIRTY = 1n << 6n;
const LARGE = 1n << 7n;

export interface VtdFirstInput {
  /** 4 or 5 levels. Default 4. */
  readonly levels?: 4 | 5;
  /** Address bits of the host (HAW), 30 to 52. Default 48. */
  readonly hostWidth?: number;
  /** Log2 of the largest page: 12, 21 or 30. Default 30. */
  readonly largest?: number;
}

/**
 * The lower half of the address space: the upper one begins where addresses are sign-extended, and no domain uses it.
 * Reading is always allowed; A and D are set, so that a unit has nothing to update. Throws ZtlpError for other levels.
 */
export function vtdFirst({ levels = 4, hostWidth = 48, largest = 30 }: VtdFirstInput = {}): TableFormat {
  if (levels !== 4 && levels !== 5) throw invalid('levels', levels, '4, 5');
  const pages = [12, 21, 30].filter((lg2) => lg2 <= largest);
  if (pages.at(-1) !== largest) throw invalid('largest', largest, '12, 21, 30');
  const width = 11 + 9 * levels;
  return {
    name: 'vtd-first',
    width,
    outputWidth: inRange('hostWidth', hostWidth, 30, 52),
    levels,
    pages,
    isBigEndian: false,
    // PGSNP of the PASID entry: leaves have no bit for it.
    forcing: 'elsewhere',
    ...geometry(width, levels, 4096),
    empty: () => 0n,
    table: (address) => address | PRESENT | WRITE | USER | ACCESSED,
    leaf: (address, _lg2, level, { write }) =>
      address |
      PRESENT |
      USER |
      ACCESSED |
      (write ? WRITE | DIRTY : 0n) |
      // Bit 7 of the smallest page is PAT.
      (level > 1 ? LARGE : 0n),
    decode(entry, level) {
      if ((entry & PRESENT) === 0n) return none();
      const lg2 = 3 + 9 * level;
      const address = entry & ADDRESS_52;
      if (level > 1 && (entry & LARGE) === 0n) return { kind: 'table', address };
      // Bit 12 of a large page is PAT.
      return {
        kind: 'leaf',
        address: address & ~((1n << BigInt(lg2)) - 1n),
        lg2,
        read: true,
        write: (entry & WRITE) !== 0n,
        force: false,
      };
    },
  };
}
