/**
 * Runs the simulated link of link.c once and prints one line of JSON: user CPU, final time and, where they are checked,
 * hashes, memory and counts. Arguments are `up.NAME=VALUE` and `down.NAME=VALUE` words, see `fields`; times are ticks.
 */
#define _POSIX_C_SOURCE 200809L
#include "link.h"
#include "loops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void stop(const char *what) {
  fprintf(stderr, "link: %s\n", what);
  exit(1);
}

struct field {
  const char *name;
  size_t at;
};

#define FIELD(name, member) {name, offsetof(struct port, member)}
static const struct field fields[] = {
    FIELD("ticksPerByte", ticks_per_byte),
    FIELD("mps", mps),
    FIELD("latency", latency),
    FIELD("ackInterval", ack_interval),
    FIELD("fcInterval", fc_interval),
    FIELD("fcRefresh", fc_refresh),
    FIELD("replayLimit", replay_limit),
    FIELD("replayBytes", replay_bytes),
    FIELD("drainDelay", drain_delay),
    FIELD("badTlps", bad_tlps),
    FIELD("badDllps", bad_dllps),
    FIELD("random", random),
    FIELD("ph", credits[0][P]),
    FIELD("nph", credits[0][NP]),
    FIELD("cplh", credits[0][CPL]),
    FIELD("pd", credits[1][P]),
    FIELD("npd", credits[1][NP]),
    FIELD("cpld", credits[1][CPL]),
    FIELD("completerDelay", completer_delay),
    FIELD("rcb", rcb),
    FIELD("base", base), // of the memory behind this end
    FIELD("size", size),
    FIELD("writes", writes.count),
    FIELD("writeBytes", writes.bytes),
    FIELD("writeAddress", writes.address),
    FIELD("writeWindow", writes.window),
    FIELD("writeCut", writes.limit),
    FIELD("writeInterval", writes.interval),
    FIELD("reads", reads.count),
    FIELD("readBytes", reads.bytes),
    FIELD("readAddress", reads.address),
    FIELD("readWindow", reads.window),
    FIELD("readTags", reads.limit),
    FIELD("readInterval", reads.interval),
};

static void take(const char *word) {
  const char *value = strchr(word, '=');
  struct port *p = strncmp(word, "up.", 3) == 0 ? &ports[0] : strncmp(word, "down.", 5) == 0 ? &ports[1] : NULL;
  const char *name = p == &ports[0] ? word + 3 : word + 5;
  for (size_t n = 0; p != NULL && value != NULL && n < sizeof fields / sizeof *fields; n++) {
    size_t length = (size_t)(value - name);
    if (strlen(fields[n].name) != length || strncmp(fields[n].name, name, length) != 0) continue;
    uint64_t number = strtoull(value + 1, NULL, 10);
    memcpy((uint8_t *)p + fields[n].at, &number, sizeof number);
    return;
  }
  stop(word);
}

/** Data in flight: what waits and what may be replayed, and every read that may be outstanding. */
static uint32_t payload_bytes(const struct port *p) {
  uint64_t queue = p->writes.interval != 0 ? QUEUE_ROOM * p->mps : 4 * PAGE;
  uint64_t need = queue + p->replay_bytes + p->other->reads.limit * p->other->reads.bytes + 2 * PAGE;
  uint64_t size = PAGE;
  while (size < need) size *= 2;
  return (uint32_t)size;
}

/** Bytes that differ from their neighbours; the benchmark puts the same into the memory of the core. */
static void fill(uint8_t *to, uint64_t bytes) {
  for (uint64_t n = 0; n < bytes; n++) to[n] = (uint8_t)(n * 7 + (n >> 8) * 13 + 1);
}

/** Ports as after flow control initialisation; memory is kept from the run before. `part`: a fraction of the load. */
static void prepare(int argc, char **argv, uint64_t part) {
  for (int n = 0; n < 2; n++) {
    uint8_t *memory = ports[n].memory, *payload = ports[n].payload;
    memset(&ports[n], 0, sizeof ports[n]);
    ports[n].memory = memory;
    ports[n].payload = payload;
    ports[n].other = &ports[1 - n];
  }
  for (int n = 2; n < argc; n++) take(argv[n]);
  for (int n = 0; n < 2; n++) {
    ports[n].writes.count = (ports[n].writes.count + part - 1) / part;
    ports[n].reads.count = (ports[n].reads.count + part - 1) / part;
  }
  for (int n = 0; n < 2; n++) {
    struct port *p = &ports[n];
    p->payload_size = payload_bytes(p);
    if (p->payload == NULL) p->payload = malloc(p->payload_size);
    if (p->memory == NULL) p->memory = malloc(p->size);
    if (p->payload == NULL || p->memory == NULL) stop("no memory");
    link_begin(p);
  }
}

static double user_ns(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec * 1e9 + (double)usage.ru_utime.tv_usec * 1e3;
}

static void print_port(const struct port *p) {
  const uint64_t counts[] = {p->tlps,       p->data,       p->acks,       p->naks, p->fcs,         p->replayed,
                             p->duplicates, p->timeouts,   p->busy,       p->last, p->blocked[P],  p->blocked[NP],
                             p->blocked[CPL], p->reads_done, p->latency_sum, p->latency_min, p->latency_max};
  printf("{\"hash\":\"%016llx\",\"memory\":%u,\"counts\":[", (unsigned long long)p->hash,
         ~crc_run(p->memory, p->size, 0xffffffffu));
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
    printf("%s\"%llu\"", n == 0 ? "" : ",", (unsigned long long)counts[n]);
  printf("]}");
}

/** `check ...`: one run from clean memory. `time ...`: a short run first, and no look at memory. */
int main(int argc, char **argv) {
  int is_timed = argc > 1 && strcmp(argv[1], "time") == 0;
  if (argc < 2 || (!is_timed && strcmp(argv[1], "check") != 0)) stop("usage: check|time NAME=VALUE...");
  prepare(argc, argv, 8);
  for (int n = 0; n < 2; n++) fill(ports[n].memory, ports[n].size);
  if (is_timed) link_run();
  prepare(argc, argv, 1);
  double start = user_ns();
  link_run();
  printf("{\"user\":%.0f,\"ticks\":%llu", user_ns() - start, (unsigned long long)final_time);
  if (is_timed) printf("}\n");
  else {
    crc_tables();
    printf(",\"ports\":[");
    print_port(&ports[0]);
    printf(",");
    print_port(&ports[1]);
    printf("]}\n");
  }
  return 0;
}
