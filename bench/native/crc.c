/** CRC-32 (reflected polynomial 0xEDB88320) by eight tables of 256 words: the method of the core, written in C. */
#include "loops.h"

#include <string.h>

static uint32_t tables[8][256];

void crc_tables(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0xedb88320u : value >> 1;
    tables[0][byte] = value;
  }
  for (int table = 1; table < 8; table++) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t before = tables[table - 1][byte];
      tables[table][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
}

uint32_t crc_run(const uint8_t *data, size_t bytes, uint32_t crc) {
  while (bytes >= 8) {
    uint32_t low;
    uint32_t high;
    memcpy(&low, data, 4);
    memcpy(&high, data + 4, 4);
    low ^= crc;
    crc = tables[7][low & 0xff] ^ tables[6][(low >> 8) & 0xff] ^ tables[5][(low >> 16) & 0xff] ^
          tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][(high >> 8) & 0xff] ^
          tables[1][(high >> 16) & 0xff] ^ tables[0][high >> 24];
    data += 8;
    bytes -= 8;
  }
  while (bytes > 0) {
    crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 0xff];
    data += 1;
    bytes -= 1;
  }
  return crc;
}
