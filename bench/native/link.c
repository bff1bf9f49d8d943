/**
 * The simulated link of the core, written in C for speed: its opponent in bench/link.ts.
 *
 * Two ports with credits, sequence numbers, Ack and Nak, UpdateFC, replay and errors, a requester and memory behind each.
 * One port runs alone up to a horizon before which nothing that the other one does can reach it: 8 bytes on the wire and
 * the latency. In such a window, posted TLPs are sent and received in bursts with the state in locals. The order of all
 * events that can see each other, and so every hash and counter, is that of the core. The parts are one translation unit,
 * so that the compiler sees through all of it.
 */
#include "link.h"

#include <stddef.h>
#include <string.h>

struct port ports[2];
uint64_t final_time;

#include "link-common.h"
#include "link-load.h"
#include "link-send.h"
#include "link-receive.h"

// ------------------------------------------------------------------------------------------------ order of events

INLINE uint64_t next_key(const struct port *p) {
  const uint64_t *k = p->keys;
  return min64(min64(min64(k[ARRIVAL], k[READY]), min64(k[DRAIN], k[TIMER])), min64(k[ISSUE], k[SEND]));
}

/** The first key of a port that is neither an arrival nor of the transmitter. */
INLINE uint64_t rest(const struct port *p) {
  const uint64_t *k = p->keys;
  return min64(min64(k[READY], k[DRAIN]), min64(k[TIMER], k[ISSUE]));
}

/**
 * One event of the port, or a burst of one kind of events before the end of the window. What an event wakes in the same
 * tick follows at once where it is the next in any case.
 */
INLINE void perform(struct port *p, uint64_t key) {
  const uint64_t *k = p->keys;
  const uint64_t now = key >> 3, send_key = key_of(now, SEND), issue_key = key_of(now, ISSUE);
  switch (key & 7) {
  case ARRIVAL:
    arrive(p, now, min64(rest(p), min64(k[SEND], p->end)));
    if (k[ISSUE] != issue_key || rest(p) != issue_key || issue_key >= p->end) return;
    // fall through
  case ISSUE: issue(p, now); break;
  case READY: complete(p, now); break;
  case DRAIN: drain(p, now); return;
  case TIMER: expire(p, now); break;
  default: break;
  }
  const uint64_t other = rest(p);
  if (k[SEND] == send_key && send_key < min64(other, p->end)) send(p, now, min64(other, min64(k[ARRIVAL], p->end)));
}

/** Runs one port up to `horizon`; returns when its requester has issued all, since the end may then be near. */
static void run_port(struct port *p, uint64_t horizon) {
  p->end = horizon << 3;
  for (uint64_t key = next_key(p); key < p->end; key = next_key(p)) perform(p, key);
}

static int is_done(const struct port *p) {
  return loads_left(p) == 0 && p->reads_out == 0 && p->waiting == 0 && p->acked_sequence == p->next_sequence;
}

void link_begin(struct port *p) {
  for (int kind = 0; kind < KINDS; kind++) p->keys[kind] = NEVER;
  p->keys[ISSUE] = key_of(0, ISSUE);
  p->ack_timer = p->replay_timer = p->latency_min = NEVER;
  for (int class = 0; class < CLASSES; class++) {
    uint32_t header = (uint32_t)p->other->credits[0][class], data = (uint32_t)p->other->credits[1][class];
    p->header_limit[class] = p->finite_header[class] = header;
    p->data_limit[class] = p->finite_data[class] = data;
    p->header_given[class] = (uint32_t)p->credits[0][class];
    p->data_given[class] = (uint32_t)p->credits[1][class];
    p->own_finite[class] = (p->header_given[class] != 0) | (p->data_given[class] != 0) << 1;
    p->fc_timer[class] = p->own_finite[class] ? p->fc_refresh : NEVER;
  }
  update_timers(p);
}

/** Windows while something is still to be issued, then one event after the other, so that the last one is known. */
void link_run(void) {
  struct port *a = &ports[0], *b = &ports[1];
  const uint64_t down = DLLP_BYTES * a->ticks_per_byte + a->latency, up = DLLP_BYTES * b->ticks_per_byte + b->latency;
  const uint64_t ahead = min64(down, up);
  while (loads_left(a) | loads_left(b)) {
    uint64_t first = next_key(a), second = next_key(b);
    if (min64(first, second) == NEVER) stop("nothing gets through");
    run_port(a, min64(min64(second >> 3, (first >> 3) + ahead) + ahead, NEVER >> 3));
    if ((loads_left(a) | loads_left(b)) == 0) break;
    first = next_key(a);
    second = next_key(b);
    run_port(b, min64(min64(first >> 3, (second >> 3) + ahead) + ahead, NEVER >> 3));
  }
  while (!is_done(a) || !is_done(b)) {
    uint64_t first = next_key(a), second = next_key(b), key = min64(first, second);
    if (key == NEVER) stop("nothing gets through");
    struct port *p = first <= second ? a : b;
    final_time = key >> 3;
    p->end = key + 1;
    perform(p, key);
  }
}
