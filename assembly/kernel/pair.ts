// Floor 1: 64-bit values from the two halves that hosts pass: a call with an i64 would cost a bigint.

export function pair(lo: u32, hi: u32): u64 {
  return ((<u64>hi) << 32) | lo;
}
