/** Addresses for devices, handed out from the top: what is taken, and what has to be left alone. */
import { ZtlpError } from '../base/errors.js';
import { hex64 } from '../core/u64.js';

/** Both ends belong to it. */
export interface AddressRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** The first page is never given: address 0 is how drivers say "none". */
const LOWEST = 4096n;

/** Interrupt messages of x86 (msi-reserved.md 3): never translated. */
export const X86_INTERRUPTS: AddressRange = { first: 0xfee0_0000n, last: 0xfeef_ffffn };
/** HyperTransport of AMD: never translated. */
export const HYPERTRANSPORT: AddressRange = { first: 0xfd_0000_0000n, last: 0xff_ffff_ffffn };
/** Where Linux maps doorbells of interrupts on Arm. */
export const ARM_DOORBELLS: AddressRange = { first: 0x0800_0000n, last: 0x080f_ffffn };

export class IovaAllocator {
  private readonly taken: AddressRange[] = [];

  /**
   * Takes `bytes` at the highest address that leaves the last one at or below `limit`, aligned at the power of two that is
   * not smaller than `bytes`, outside `reserved`. Throws ZtlpError (ENOSPC) without such a place.
   */
  allocate(bytes: bigint, limit: bigint, reserved: readonly AddressRange[]): bigint {
    const align = 1n << BigInt((bytes - 1n).toString(2).length);
    for (let end = limit + 1n; end >= bytes + LOWEST; ) {
      const first = ((end - bytes) / align) * align;
      const last = first + bytes - 1n;
      if (first < LOWEST) break;
      const inWay = [...this.taken, ...reserved].filter(
        (range) => range.first <= last && first <= range.last,
      );
      if (inWay.length === 0) {
        this.taken.push({ first, last });
        return first;
      }
      // The next place to try ends below the lowest of them.
      end = inWay.reduce((least, range) => (range.first < least ? range.first : least), first + bytes);
    }
    throw new ZtlpError('resource', `no room for ${bytes} bytes of addresses up to ${hex64(limit)}`, {
      field: 'bytes',
      value: bytes,
      errno: 'ENOSPC',
    });
  }

  /** Gives back the range that begins at `first`; answers its bytes, 0n: there is none. */
  free(first: bigint): bigint {
    const place = this.taken.findIndex((range) => range.first === first);
    const [range] = place < 0 ? [] : this.taken.splice(place, 1);
    return range === undefined ? 0n : range.last - range.first + 1n;
  }
}
