/** The C loops that the core is set against; every length is an argument, so that no loop is built for one length. */
#ifndef LOOPS_H
#define LOOPS_H

#include <stddef.h>
#include <stdint.h>

/** One TLP, queued: the 48 bytes of the core's descriptor, header words in host order. */
struct descriptor {
  uint32_t header[4];
  uint32_t payload;
  uint32_t bytes;
  uint32_t kind;
  uint32_t spare;
  uint64_t tick;
  uint32_t cause;
  uint32_t wire;
};

/** Descriptor ring and payload ring. `head` only grows. */
struct ring {
  struct descriptor *slots;
  uint32_t mask;
  uint32_t head;
  uint8_t *payload;
};

/**
 * Forms the Memory Writes of `bytes` bytes from `data` at bus address `address`, none above `limit` bytes (a power of
 * two) nor across 4 KiB. With `copy` their payload goes to the payload ring, else it stays where it is.
 */
void form_block(struct ring *ring, uint64_t address, const uint8_t *data, uint32_t bytes, uint32_t limit,
                uint32_t bits, int copy);

void crc_tables(void);

/** Runs `bytes` bytes through the CRC-32 register `crc`, eight per step. Start with all ones, complement at the end. */
uint32_t crc_run(const uint8_t *data, size_t bytes, uint32_t crc);

void copy_block(uint8_t *to, const uint8_t *from, size_t bytes);

#endif
