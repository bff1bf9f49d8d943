/** Times one C loop, `LOOP BYTES SAMPLES MILLISECONDS` (the last: least time of a sample), and prints one JSON line. */
#define _POSIX_C_SOURCE 200809L
#include "loops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** Block that `form` and `headers` turn into TLPs, and the slots of their ring: as in bench/encode.ts. */
enum { BLOCK = 65536, SLOTS = 8192, MAX_SAMPLES = 1000 };
/** Walks of a unit of work, the levels, and room for tables: as in bench/iommu.ts. */
enum { WALKS = 4096, LEVELS = 4, TABLES = 1 << 20 };

static const uint64_t ROOT = 0x4000;
static const uint64_t FIRST_PAGE = 0x123440000000;

static const uint64_t BUS = (uint64_t)1 << 40;

/** Two sequence bytes lead a message. */
static uint8_t source[BLOCK + 2];
static uint8_t payload[BLOCK];
static struct descriptor slots[SLOTS];
static struct ring ring = {slots, SLOTS - 1, 0, payload};
static uint8_t memory[TABLES];
static struct walk found;
static struct tables tables = {memory, TABLES, 1, 0, 0, 0};
static volatile uint32_t sink;

/** One unit of work: `bytes` is the payload of a TLP, the message or the block. */
typedef void loop(uint32_t bytes);

static void form(uint32_t bytes) {
  ring.head = 0;
  form_block(&ring, BUS, source + 2, BLOCK, bytes, 0, 1);
}

static void headers(uint32_t bytes) {
  ring.head = 0;
  form_block(&ring, BUS, source + 2, BLOCK, bytes, 0, 0);
}

static void crc(uint32_t bytes) { sink = ~crc_run(source, bytes + 2, 0xffffffffu); }

/** `pages` is the number of pages that are mapped. */
static void walk(uint32_t pages) { sink = walk_pages(&tables, ROOT, LEVELS, FIRST_PAGE, pages, WALKS, &found); }

static void copy(uint32_t bytes) { copy_block(payload, source + 2, bytes); }

/** CRC-32 of everything that the TLPs in the ring are; `payloads` says whether their bytes were copied too. */
static uint32_t check_ring(int payloads) {
  uint32_t value = 0xffffffffu;
  for (uint32_t n = 0; n < ring.head; n++) {
    const struct descriptor *at = &slots[n];
    value = crc_run((const uint8_t *)at->header, sizeof at->header, value);
    value = crc_run((const uint8_t *)&at->bytes, 4, value);
    value = crc_run((const uint8_t *)&at->kind, 4, value);
    value = crc_run((const uint8_t *)&at->wire, 4, value);
    if (payloads) value = crc_run(payload + at->payload, at->bytes, value);
  }
  return ~value;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double time_of(loop *run, uint32_t bytes, uint64_t count) {
  double start = now();
  for (uint64_t n = 0; n < count; n++) run(bytes);
  return now() - start;
}

static int usage(void) {
  fprintf(stderr, "usage: LOOP BYTES SAMPLES MILLISECONDS\n");
  return 2;
}

int main(int argc, char **argv) {
  if (argc != 5) return usage();
  uint32_t bytes = (uint32_t)strtoul(argv[2], NULL, 10);
  unsigned long samples = strtoul(argv[3], NULL, 10);
  double least = strtod(argv[4], NULL) * 1e6;
  loop *run = NULL;
  if (strcmp(argv[1], "form") == 0) run = form;
  if (strcmp(argv[1], "headers") == 0) run = headers;
  if (strcmp(argv[1], "crc") == 0) run = crc;
  if (strcmp(argv[1], "copy") == 0) run = copy;
  if (strcmp(argv[1], "walk") == 0) run = walk;
  if (run == NULL || bytes == 0 || bytes > BLOCK || samples == 0 || samples > MAX_SAMPLES) return usage();

  crc_tables();
  source[0] = 0x01;
  source[1] = 0x23;
  for (uint32_t n = 0; n < BLOCK; n++) source[n + 2] = (uint8_t)(n * 7 + (n >> 8) * 13 + 1);
  if (run == walk) walk_fill(memory, FIRST_PAGE, bytes);
  /* Address bits above 46, snoop control with them in tables, 2 MiB and 1 GiB pages. */
  tables.leaf_reserved = 0x000fc00000000000 | 0x4000000000000000;
  tables.table_reserved = tables.leaf_reserved | 0x800;
  tables.large_levels = 1 << 2 | 1 << 3;
  run(bytes);
  uint32_t check = run == form || run == headers ? check_ring(run == form)
                   : run == crc || run == walk   ? sink
                                                 : ~crc_run(payload, bytes, 0xffffffffu);
  double units = run == form || run == headers ? ring.head
                 : run == walk                    ? WALKS
                                                  : 1;

  uint64_t count = 1;
  while (time_of(run, bytes, count) < least) count *= 2;
  printf("{\"loop\":\"%s\",\"bytes\":%u,\"check\":%u,\"ns\":[", argv[1], bytes, check);
  for (unsigned long n = 0; n < samples; n++) {
    printf("%s%.6g", n == 0 ? "" : ",", time_of(run, bytes, count) / ((double)count * units));
  }
  printf("]}\n");
  return 0;
}
