/** Seeded random numbers: the same seed gives the same run on every host. */

/** Returns a function that gives the next unsigned 32-bit number (mulberry32, a public-domain generator). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** `count` random bytes. */
export function randomBytes(next: () => number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => next() & 0xff);
}
