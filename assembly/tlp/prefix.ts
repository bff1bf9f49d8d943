// Floor 2: TLP prefixes between the FIELDS block and wire order (PCIe base specification 2.2.10; sheet tlp.md 2, 3).
//
// One DW each, before the header: local ones first, then those that travel end to end. Prefixes have wire bytes but no
// credit of their own: one header credit covers a header with its prefixes and its digest (2.6.1).
import {
  DECODE_OK,
  DECODE_SHORT,
  DECODE_TOO_MANY_PREFIXES,
  FIELD_PREFIX,
  FIELD_PREFIX_COUNT,
  PREFIX_END_TO_END,
  PREFIX_FMT,
  PREFIX_FMT_MASK,
  PREFIX_LOCAL_MR_IOV,
  PREFIX_MAXIMUM,
  PREFIX_SLOTS,
  PREFIX_TYPE_MASK,
  PREFIX_VENDOR_0,
  PREFIX_VENDOR_1,
} from '../layout';

/** Byte 0 begins a prefix and not a header. */
function isPrefix(byte0: u32): bool {
  return (byte0 & PREFIX_FMT_MASK) == PREFIX_FMT;
}

/** Byte 0 begins a prefix that travels end to end. */
export function isEndToEnd(byte0: u32): bool {
  return isPrefix(byte0) && (byte0 & PREFIX_END_TO_END) != 0;
}

/** Bytes before the header of the TLP in `block`. */
export function prefixBytes(block: usize): u32 {
  return load<u32>(block + FIELD_PREFIX_COUNT) << 2;
}

/** Writes the prefixes of `block` to `to` in wire order; returns their bytes. */
export function encodePrefixes(block: usize, to: usize): u32 {
  const bytes = prefixBytes(block);
  for (let at: u32 = 0; at < bytes; at += 4) {
    store<u32>(to + at, bswap<u32>(load<u32>(block + FIELD_PREFIX + at)));
  }
  return bytes;
}

/** Takes the prefixes at `from` (`bytes` available) into `block`; the header follows them. Answers DECODE_*. */
export function decodePrefixes(block: usize, from: usize, bytes: u32): u32 {
  let at: u32 = 0;
  store<u32>(block + FIELD_PREFIX_COUNT, 0);
  while (at < bytes && isPrefix(load<u8>(from + at))) {
    if (at == PREFIX_SLOTS << 2) return DECODE_TOO_MANY_PREFIXES;
    if (at + 4 > bytes) return DECODE_SHORT;
    store<u32>(block + FIELD_PREFIX + at, bswap<u32>(load<u32>(from + at)));
    at += 4;
  }
  store<u32>(block + FIELD_PREFIX_COUNT, at >> 2);
  return DECODE_OK;
}

/** MR-IOV and vendor prefixes are the local ones outside flit mode; a receiver must know what it is sent (2.2.10.1). */
function isKnownLocal(type: u32): bool {
  return type == PREFIX_LOCAL_MR_IOV || type == PREFIX_VENDOR_0 || type == PREFIX_VENDOR_1;
}

/** The prefixes of `block` are in order, known where they are local, and not too many (2.2.10). */
export function prefixesLegal(block: usize): bool {
  const bytes = prefixBytes(block);
  let endToEnd = 0;
  for (let at: u32 = 0; at < bytes; at += 4) {
    const byte0 = load<u32>(block + FIELD_PREFIX + at) >>> 24;
    if (isEndToEnd(byte0)) endToEnd++;
    else if (endToEnd != 0 || !isKnownLocal(byte0 & PREFIX_TYPE_MASK)) return false;
  }
  return endToEnd <= PREFIX_MAXIMUM;
}
