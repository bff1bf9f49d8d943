/** Forms Memory Write TLPs in a descriptor ring, and copies blocks: the work of the core, written in C. */
#include "loops.h"

#include <string.h>

enum { KIND_MWR32 = 4, KIND_MWR64 = 5, SLOT_NONE = 0xffff, OVERHEAD = 8, PAGE = 4096 };

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/** Length in DW that `bytes` bytes at `address` touch. */
static uint32_t length_dw(uint32_t address, uint32_t bytes) { return ((address & 3) + bytes + 3) >> 2; }

/** Last DW BE in bits 7:4, First DW BE in bits 3:0. */
static uint32_t byte_enables(uint32_t address, uint32_t bytes, uint32_t length) {
  uint32_t first = (0xfu << (address & 3)) & 0xf;
  uint32_t last = 0xfu >> ((4 - ((address + bytes) & 3)) & 3);
  return length == 1 ? first & last : (last << 4) | first;
}

void form_block(struct ring *ring, uint64_t address, const uint8_t *data, uint32_t bytes, uint32_t limit,
                uint32_t bits, int copy) {
  uint32_t left = bytes;
  uint32_t to = 0;
  while (left > 0) {
    uint32_t low = (uint32_t)address;
    uint32_t high = (uint32_t)(address >> 32);
    uint32_t piece = smaller(smaller(left, limit - (low & (limit - 1))), PAGE - (low & (PAGE - 1)));
    uint32_t length = length_dw(low, piece);
    uint32_t dw = low & ~3u;
    struct descriptor *at = &ring->slots[ring->head & ring->mask];
    ring->head += 1;
    at->header[0] = ((high != 0 ? 0x60u : 0x40u) << 24) | bits | (length & 0x3ff);
    at->header[1] = byte_enables(low, piece, length);
    at->header[2] = high != 0 ? high : dw;
    at->header[3] = high != 0 ? dw : 0;
    at->payload = to;
    at->bytes = length << 2;
    at->kind = (high != 0 ? KIND_MWR64 : KIND_MWR32) | ((uint32_t)SLOT_NONE << 16);
    at->spare = 0;
    at->tick = 0;
    at->cause = 0;
    at->wire = OVERHEAD + (high != 0 ? 16 : 12) + (length << 2);
    if (copy) memcpy(ring->payload + to, data, piece);
    to += piece;
    address += piece;
    data += piece;
    left -= piece;
  }
}

void copy_block(uint8_t *to, const uint8_t *from, size_t bytes) { memcpy(to, from, bytes); }
