// Floor 2: LCRC and ECRC, the reflected CRC-32 0xEDB88320 with seed and final complement (PCIe base spec 2.7.1, 3.6.2).
//
// Slice-by-8: eight tables of 256 words let eight bytes go per step, since WebAssembly has no carry-less multiply.
import { isEndToEnd } from './prefix';

const TABLE_BYTES: u32 = 1024;
const TABLES: usize = memory.data(8 * 1024, 16);
const POLYNOMIAL: u32 = 0xedb88320;

function entry(table: u32, byte: u32): u32 {
  return load<u32>(TABLES + table * TABLE_BYTES + ((byte & 0xff) << 2));
}

for (let byte: u32 = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  store<u32>(TABLES + (byte << 2), value);
}
for (let table: u32 = 1; table < 8; table++) {
  for (let byte: u32 = 0; byte < 256; byte++) {
    const before = entry(table - 1, byte);
    store<u32>(TABLES + table * TABLE_BYTES + (byte << 2), (before >>> 8) ^ entry(0, before));
  }
}

/** Runs `bytes` bytes at `from` through the register `crc` (start with 0xffffffff, complement at the end). */
export function crc32(from: usize, bytes: u32, crc: u32): u32 {
  let at = from;
  const end = from + bytes;
  while (at + 8 <= end) {
    const low = load<u32>(at) ^ crc;
    const high = load<u32>(at, 4);
    crc =
      entry(7, low) ^
      entry(6, low >>> 8) ^
      entry(5, low >>> 16) ^
      entry(4, low >>> 24) ^
      entry(3, high) ^
      entry(2, high >>> 8) ^
      entry(1, high >>> 16) ^
      entry(0, high >>> 24);
    at += 8;
  }
  while (at < end) {
    crc = (crc >>> 8) ^ entry(0, crc ^ load<u8>(at));
    at += 1;
  }
  return crc;
}

/** LCRC over two sequence bytes and the TLP that stands right behind them. Wire order: least significant byte first. */
export function lcrc(tlp: usize, bytes: u32, sequence: u32): u32 {
  store<u8>(tlp - 2, (sequence >> 8) & 0x0f);
  store<u8>(tlp - 1, sequence);
  return ~crc32(tlp - 2, bytes + 2, 0xffffffff);
}

/**
 * ECRC of the `bytes` bytes at `tlp`, whose header stands `header` bytes behind them: end-to-end prefixes, header and
 * data, with the variant bits of the header, Type[0] and EP, taken as 1 (2.7.1). Local prefixes are not covered.
 */
export function ecrc(tlp: usize, bytes: u32, header: u32): u32 {
  let covered: u32 = 0;
  while (covered < header && !isEndToEnd(load<u8>(tlp + covered))) covered += 4;
  const at = tlp + header;
  const byte0 = load<u8>(at);
  const byte2 = load<u8>(at, 2);
  store<u8>(at, byte0 | 0x01);
  store<u8>(at, byte2 | 0x40, 2);
  const result = ~crc32(tlp + covered, bytes - covered, 0xffffffff);
  store<u8>(at, byte0);
  store<u8>(at, byte2, 2);
  return result;
}
