// Floor 2: the CRC-16 of DLLPs, reflected polynomial 0xd008 (0x100b) with seed and final complement (PCIe base
// specification 3.5.2; sheet tlp.md 7).
const TABLE: usize = memory.data(256 * 2, 16);
const POLYNOMIAL: u32 = 0xd008;

for (let byte: u32 = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  store<u16>(TABLE + (byte << 1), value);
}

/** CRC-16 of the `bytes` bytes at `from`. Wire order: least significant byte first. */
export function crc16(from: usize, bytes: u32): u32 {
  let crc: u32 = 0xffff;
  for (let at: u32 = 0; at < bytes; at++) {
    crc = (crc >>> 8) ^ load<u16>(TABLE + (((crc ^ load<u8>(from + at)) & 0xff) << 1));
  }
  return crc ^ 0xffff;
}
