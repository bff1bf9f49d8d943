// Floor 2: byte ranges and byte enables of memory requests (PCIe base specification 2.2.5).

/** Length in DW that `bytes` at `address` touch; a zero-length request still has one DW. */
export function lengthDw(address: u32, bytes: u32): u32 {
  return bytes == 0 ? 1 : ((address & 3) + bytes + 3) >> 2;
}

/** Both byte-enable fields as in DW1: Last DW BE in bits 7:4, First DW BE in 3:0. */
export function byteEnables(address: u32, bytes: u32): u32 {
  if (bytes == 0) return 0;
  const first = (0xf << (address & 3)) & 0xf;
  const last = 0xf >> ((4 - ((address + bytes) & 3)) & 3);
  return lengthDw(address, bytes) == 1 ? first & last : (last << 4) | first;
}

/** Position of the first enabled byte within its DW; 0 for the zero-length request (2.3.1.1). */
export function firstOffset(firstBe: u32): u32 {
  return firstBe == 0 ? 0 : ctz(firstBe);
}

/** Disabled bytes after the last enabled one within its DW. */
export function lastOffset(lastBe: u32): u32 {
  return lastBe == 0 ? 0 : clz(lastBe) - 28;
}

/** Bytes from the first to the last enabled one. Gaps count; First BE 0 with Length 1 counts as 1 (2.3.1.1). */
export function enabledBytes(length: u32, firstBe: u32, lastBe: u32): u32 {
  if (length == 1) return firstBe == 0 ? 1 : 4 - firstOffset(firstBe) - lastOffset(firstBe);
  return (length << 2) - firstOffset(firstBe) - lastOffset(lastBe);
}

/** True when the enabled bits of a DW that continues to the next one are contiguous up to its end. */
function reachesEnd(firstBe: u32): bool {
  return firstBe == 0xf || firstBe == 0xe || firstBe == 0xc || firstBe == 0x8;
}

/** True when the enabled bits of the last DW are contiguous from its start. */
function reachesStart(lastBe: u32): bool {
  return lastBe == 0xf || lastBe == 0x7 || lastBe == 0x3 || lastBe == 0x1;
}

/** The rules of 2.2.5 that a receiver may check. `address` is the DW address. */
export function byteEnablesLegal(length: u32, firstBe: u32, lastBe: u32, address: u32): bool {
  if (length == 1) return lastBe == 0;
  if (firstBe == 0 || lastBe == 0) return false;
  if (length == 2 && (address & 7) == 0) return true;
  return reachesEnd(firstBe) && reachesStart(lastBe);
}
