/** A walk through second-stage paging structures of VT-d: each entry checked, all results stored; formats are run-time values. */
#include "loops.h"

#include <string.h>

enum { LEAF = 1, DENIED = 2, RESERVED = 3, UNREADABLE = 4 };

static const uint64_t ADDRESS = 0x000ffffffffff000u;
static const uint64_t LARGE = 0x80;
static const uint64_t SNOOP = 0x800;

static int fail(struct walk *walk, int level, uint64_t at, int kind) {
  walk->level = (uint32_t)level;
  walk->at = at;
  return kind;
}

/** LEAF with the page in `walk`, or why there is none. */
static int walk_tables(const struct tables *tables, uint64_t root, int top, uint64_t address, struct walk *walk) {
  uint64_t table = root;
  uint32_t permissions = 3;
  for (int level = top;; level--) {
    int lg2 = 3 + 9 * level;
    uint64_t at = table + (((address >> lg2) & 511) << 3);
    uint64_t entry;
    if (at >= tables->bytes || tables->bytes - at < 8) return fail(walk, level, at, UNREADABLE);
    memcpy(&entry, tables->memory + at, 8);
    if (!(entry & tables->needed)) return fail(walk, level, at, DENIED);
    int is_leaf = level == 1 || (entry & LARGE) != 0;
    uint64_t reserved = is_leaf ? tables->leaf_reserved : tables->table_reserved;
    if (is_leaf && level > 1) {
      if (!(tables->large_levels >> level & 1)) return fail(walk, level, at, RESERVED);
      reserved |= (((uint64_t)1 << lg2) - 1) & ADDRESS;
    }
    if (entry & reserved) return fail(walk, level, at, RESERVED);
    permissions &= (uint32_t)entry & 3;
    table = entry & ADDRESS;
    walk->reads++;
    if (!is_leaf) continue;
    walk->page = table;
    walk->lg2 = (uint32_t)lg2;
    walk->permissions = permissions;
    walk->forces_snoop = (entry & SNOOP) != 0;
    return LEAF;
  }
}

uint32_t walk_pages(const struct tables *tables, uint64_t root, int top, uint64_t base, uint32_t pages,
                    uint32_t count, struct walk *walk) {
  uint32_t x = 1;
  uint32_t sum = 0;
  for (uint32_t n = 0; n < count; n++) {
    x = x * 1664525u + 1013904223u;
    uint32_t page = (x >> 10) & (pages - 1);
    sum += (uint32_t)walk_tables(tables, root, top, base + ((uint64_t)page << 12), walk);
    sum += (uint32_t)walk->page + walk->permissions + walk->lg2;
  }
  return sum;
}

static void set(uint8_t *memory, uint64_t at, uint64_t entry) { memcpy(memory + at, &entry, 8); }

void walk_fill(uint8_t *memory, uint64_t base, uint32_t pages) {
  uint64_t leaves = 0x10000;
  set(memory, 0x4000 + 8 * (base >> 39 & 511), 0x5003);
  set(memory, 0x5000 + 8 * (base >> 30 & 511), 0x6003);
  for (uint64_t n = 0; n < pages; n++) {
    set(memory, 0x6000 + 8 * (n >> 9), (leaves + 4096 * (n >> 9)) | 3);
    set(memory, leaves + 8 * n, n << 12 | 3);
  }
}
