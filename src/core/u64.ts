/** 64-bit values at the edge: `number | bigint` outside, (lo, hi) pairs of u32 inside. The only file that converts. */
import { invalid } from '../base/errors.js';

/** An address or another 64-bit field as a caller gives it: an integer from 0 to 2^64 - 1. */
export type U64 = number | bigint;

const TWO_32 = 0x1_0000_0000;

/** Throws unless `value` is an integer that 64 bits can hold. Numbers above 2^53 - 1 must come as bigint. */
export function checkU64(field: string, value: unknown): U64 {
  if (typeof value === 'number' ? Number.isSafeInteger(value) && value >= 0 : isU64(value))
    return value as U64;
  throw invalid(field, value, 'an integer from 0 to 2^64 - 1 (above 2^53 - 1 as a bigint)');
}

function isU64(value: unknown): boolean {
  return typeof value === 'bigint' && value >= 0n && value < 1n << 64n;
}

/** Low 32 bits, unsigned. */
export function low32(value: U64): number {
  return typeof value === 'number' ? value >>> 0 : Number(value & 0xffff_ffffn);
}

/** High 32 bits, unsigned. */
export function high32(value: U64): number {
  if (typeof value !== 'number') return Number(value >> 32n);
  return value < TWO_32 ? 0 : Math.floor(value / TWO_32);
}

/** The value of a pair: a number where it is exact, else a bigint. */
export function join64(lo: number, hi: number): U64 {
  return hi < 0x20_0000 ? hi * TWO_32 + (lo >>> 0) : (BigInt(hi) << 32n) | BigInt(lo >>> 0);
}

/** `value` + `bytes`, exact. */
export function add64(value: U64, bytes: number): U64 {
  if (typeof value === 'number' && value + bytes <= Number.MAX_SAFE_INTEGER) return value + bytes;
  return BigInt(value) + BigInt(bytes);
}

/** Hexadecimal text as engineers write it. */
export function hex64(value: U64): string {
  return `0x${value.toString(16)}`;
}
