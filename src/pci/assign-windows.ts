/** Places BARs and bridge windows into address windows: naturally aligned, the largest first. */
import { needObject, ZtlpError } from '../base/errors.js';
import { checkU64, hex64, high32, join64, low32, type U64 } from '../core/u64.js';

/** A range of bus addresses to give out. */
export interface Window {
  readonly base: U64;
  /** Bytes. */
  readonly size: U64;
}

/** Something that needs addresses. */
export interface Claim {
  readonly size: bigint;
  /** A power of two. */
  readonly align: bigint;
  /** Told where it lies. */
  place(address: bigint): void;
}

/** `window`, checked: sizes and ends that 64 bits, or `limit`, can hold. */
export function checkWindow(field: string, window: Window, limit: bigint): { base: bigint; size: bigint } {
  needObject(field, window);
  const base = BigInt(checkU64(`${field}.base`, window.base));
  const size = BigInt(checkU64(`${field}.size`, window.size));
  if (base + size <= limit) return { base, size };
  throw new ZtlpError('out-of-range', `${field}: ends at ${hex64(base + size)}`, {
    field: `${field}.size`,
    value: window.size,
    allowed: `an end of at most ${hex64(limit)}`,
  });
}

/** The address behind the last claim, when they are placed from `base` on. Nothing is told. */
export function endOf(claims: readonly Claim[], base: bigint): bigint {
  let next = base;
  for (const { size, align } of ordered(claims)) next = alignUp(next, align) + size;
  return next;
}

/** Places all claims from `base` on. Throws ZtlpError, before anything is placed, when they need more than `size`. */
export function placeAll(field: string, claims: readonly Claim[], base: bigint, size: bigint): void {
  const needed = endOf(claims, base) - base;
  if (needed > size) {
    throw new ZtlpError('resource', `${field}: ${size} bytes at ${hex64(base)} are too few`, {
      field: `${field}.size`,
      value: size,
      allowed: `${needed} bytes or more`,
    });
  }
  let next = base;
  for (const claim of ordered(claims)) {
    const address = alignUp(next, claim.align);
    claim.place(address);
    next = address + claim.size;
  }
}

/** Largest alignment first, so that nothing but the first claim leaves a gap; equal ones in the order given. */
function ordered(claims: readonly Claim[]): Claim[] {
  return [...claims].sort((a, b) => (a.align === b.align ? 0 : a.align > b.align ? -1 : 1));
}

export function alignUp(address: bigint, align: bigint): bigint {
  return (address + align - 1n) & ~(align - 1n);
}

/** Halves of an address, and the address as it is handed out. */
export function split(address: bigint): { readonly lo: number; readonly hi: number; readonly address: U64 } {
  const lo = low32(address);
  const hi = high32(address);
  return { lo, hi, address: join64(lo, hi) };
}
