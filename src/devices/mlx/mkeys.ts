/** Memory keys: what a data segment's address means, and whether it may be used so. */
import { add64, type U64 } from '../../core/u64.js';
import type { MemoryKey, Resources } from './resources.js';
import { type Span, spansOf } from './ring.js';

/**
 * The bus addresses of `length` bytes at `address` under key `lkey`; undefined: there is no such key, it does not allow
 * this, or the bytes are not all in its region.
 */
export function translate(
  { mkeys }: Resources,
  lkey: number,
  address: U64,
  length: number,
  access: 'read' | 'write',
): { readonly key: MemoryKey; readonly spans: readonly Span[] } | undefined {
  const key = mkeys.get(lkey);
  if (key === undefined || !(access === 'read' ? key.localRead : key.localWrite)) return undefined;
  const from = BigInt(address) - BigInt(key.start);
  const room = key.length === undefined ? (1n << 64n) - BigInt(key.start) : BigInt(key.length);
  if (from < 0n || from + BigInt(length) > room) return undefined;
  if (BigInt(address) + BigInt(length) > 1n << 64n) return undefined;
  if (key.mode === 'physical') return { key, spans: [{ address: add64(address, 0), length }] };
  const { pages, logPageSize } = key;
  const offset = Number(BigInt(key.start) % BigInt(2 ** logPageSize));
  return { key, spans: spansOf({ pages, logPageSize, offset }, Number(from), length) };
}
