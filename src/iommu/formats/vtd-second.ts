/** Second-stage tables of VT-d (iommu.md 2.4): R 0, W 1, PS 7, SNP 11, address 51:12. */
import { inRange, invalid } from '../../base/errors.js';
import { ADDRESS_52, geometry, none, type TableFormat } from './format.js';

const READ = 1n;
const WRITE = 2n;
const LARGE = 1n << 7n;
const SNOOP = 1n << 11n;

export interface VtdSecondInput {
  /** 39, 48 or 57: three, four or five levels. Default 48. */
  readonly width?: number;
  /** Address bits of the host (HAW), 30 to 52. Default 48. */
  readonly hostWidth?: number;
  /** Log2 of the largest page: 12, 21 or 30, as CAP.SLLPS offers. Default 30. */
  readonly largest?: number;
}

/** Throws ZtlpError for a width or page size that the format does not have. */
export function vtdSecond({ width = 48, hostWidth = 48, largest = 30 }: VtdSecondInput = {}): TableFormat {
  if (![39, 48, 57].includes(width)) throw invalid('width', width, '39, 48, 57');
  const pages = [12, 21, 30].filter((lg2) => lg2 <= largest);
  if (pages.at(-1) !== largest) throw invalid('largest', largest, '12, 21, 30');
  const levels = (width - 12) / 9;
  return {
    name: 'vtd-second',
    width,
    outputWidth: inRange('hostWidth', hostWidth, 30, 52),
    levels,
    pages,
    isBigEndian: false,
    forcing: 'leaf',
    ...geometry(width, levels, 4096),
    empty: () => 0n,
    table: (address) => address | READ | WRITE,
    leaf: (address, _lg2, level, { read, write, force }) =>
      address |
      (read ? READ : 0n) |
      (write ? WRITE : 0n) |
      (level > 1 ? LARGE : 0n) |
      // Never in an entry that names a table: there the bit is reserved.
      (force ? SNOOP : 0n),
    decode(entry, level) {
      if ((entry & (READ | WRITE)) === 0n) return none();
      const address = entry & ADDRESS_52;
      if (level > 1 && (entry & LARGE) === 0n) return { kind: 'table', address };
      return {
        kind: 'leaf',
        address,
        lg2: 3 + 9 * level,
        read: (entry & READ) !== 0n,
        write: (entry & WRITE) !== 0n,
        force: (entry & SNOOP) !== 0n,
      };
    },
  };
}
