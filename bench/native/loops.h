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

/** Memory with paging structures, and what the unit takes for reserved there. */
struct tables {
  const uint8_t *memory;
  uint64_t bytes;
  uint64_t needed;
  uint64_t leaf_reserved;
  uint64_t table_reserved;
  uint32_t large_levels;
};

/** What a walk found: as much as the core keeps of one; level and place of the entry that ended it without a page. */
struct walk {
  uint64_t page;
  uint64_t at;
  uint32_t lg2;
  uint32_t permissions;
  uint32_t forces_snoop;
  uint32_t level;
  uint32_t reads;
};

/** Tables of four levels at 0x4000 for `pages` pages from `base` on; bench/iommu.ts writes the same. */
void walk_fill(uint8_t *memory, uint64_t base, uint32_t pages);

/**
 * `count` walks for pages in a random order; answers a sum over what they found. `pages` is a power of two. What each found
 * goes to `walk`, as the core keeps it for whoever asked.
 */
uint32_t walk_pages(const struct tables *tables, uint64_t root, int top, uint64_t base, uint32_t pages,
                    uint32_t count, struct walk *walk);

void copy_block(uint8_t *to, const uint8_t *from, size_t bytes);

#endif
