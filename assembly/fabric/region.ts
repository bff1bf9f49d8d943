// Floor 5: size rules of an emulator's memory region (QEMU memory API, access-paths.md 4): what it accepts (`valid`)
// and how an accepted access is cut into device calls (`impl`). Both are packed: min | max << 8 | unaligned << 16.

const UNALIGNED: u32 = 1 << 16;

/** True when the region accepts one access of `bytes` at `offset`. A maximum of 0 means no size rule. */
export function regionAccepts(offset: u32, bytes: u32, valid: u32): bool {
  if (!(valid & UNALIGNED) && offset & (bytes - 1)) return false;
  const maximum = (valid >> 8) & 0xff;
  return maximum == 0 || (bytes >= (valid & 0xff) && bytes <= maximum);
}

/** Size of each device call for an accepted access of `bytes`: a maximum of 0 means 4, a minimum of 0 means 1. */
export function regionCall(bytes: u32, impl: u32): u32 {
  const maximum = (impl >> 8) & 0xff;
  const minimum = impl & 0xff;
  return max(min(bytes, maximum == 0 ? 4 : maximum), minimum == 0 ? 1 : minimum);
}
