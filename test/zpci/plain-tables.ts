/** I/O translation through tables of s390 once more, without the code under test. */

const SHIFTS = [20n, 31n, 42n, 53n]; // by level 0 (segment) to 3 (region first)

type PlainWalk =
  | { readonly kind: 'event'; readonly code: number }
  | { readonly kind: 'unmapped'; readonly end: bigint }
  | { readonly kind: 'page'; readonly frame: bigint; readonly writable: boolean };

/** One walk as sheet zpci.md 5.3 has it, entry by entry; every entry by its own few lines. */
export function plainWalk(memory: DataView, iota: bigint, address: bigint): PlainWalk {
  const read = (at: bigint): bigint =>
    at + 8n <= BigInt(memory.byteLength) ? memory.getBigUint64(Number(at)) : 0n;
  let origin = iota & ~0xfffn;
  let writable = (iota & 0x200n) === 0n;
  for (let level = Number((iota >> 2n) & 7n); level >= 0; level--) {
    const shift = SHIFTS[level] ?? 20n + 11n * BigInt(level);
    const entry = read(origin + 8n * ((address >> shift) & 0x7ffn));
    if (entry === 0n) return { kind: 'event', code: 7 };
    if ((entry & 0x20n) !== 0n) return { kind: 'unmapped', end: ((address >> shift) + 1n) << shift };
    if (level > 0) {
      if ((entry & 3n) !== 3n || (entry & 0xc0n) !== 0n) return { kind: 'event', code: 8 };
      if (((entry >> 2n) & 3n) !== BigInt(level)) return { kind: 'event', code: 9 };
      origin = entry & ~0x3fffn;
    } else {
      if ((entry & 0xcn) !== 0n) return { kind: 'event', code: 9 };
      if ((entry & 0x400n) !== 0n) {
        if ((entry & 0x200n) !== 0n) writable = false;
        return { kind: 'page', frame: (entry & ~0xf_ffffn) | (address & 0xf_f000n), writable };
      }
      origin = entry & ~0x7ffn;
    }
    if ((entry & 0x200n) !== 0n) writable = false;
  }
  const entry = read(origin + 8n * ((address >> 12n) & 0xffn));
  if (entry === 0n) return { kind: 'event', code: 7 };
  if ((entry & 0x400n) !== 0n) return { kind: 'unmapped', end: ((address >> 12n) + 1n) << 12n };
  if ((entry & 0x200n) !== 0n) writable = false;
  return { kind: 'page', frame: entry & ~0xfffn, writable };
}
