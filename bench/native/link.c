/**
 * The simulated link of the core, written in C for speed: its opponent in bench/link.ts.
 *
 * Two ports with credits, sequence numbers, Ack and Nak, UpdateFC, replay and errors, a requester and memory behind each.
 * One port runs alone up to a horizon before which nothing that the other one does can reach it: 8 bytes on the wire and
 * the latency. In such a window, posted TLPs are sent and received in bursts with the state in locals. The order of all
 * events that can see each other, and so every hash and counter, is that of the core.
 */
#include "link.h"

#include <stddef.h>
#include <string.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))

struct port ports[2];
uint64_t final_time;

INLINE uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }
INLINE uint64_t max64(uint64_t a, uint64_t b) { return a > b ? a : b; }
INLINE uint32_t min32(uint32_t a, uint32_t b) { return a < b ? a : b; }
INLINE uint64_t key_of(uint64_t time, uint32_t kind) { return time << 3 | kind; }
INLINE uint64_t pair(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

INLINE struct tlp *tlp_at(struct port *p, uint32_t offset) {
  return (struct tlp *)((uint8_t *)p->queues + (offset & ~(uint32_t)ITEM_BITS));
}
INLINE uint32_t slot_of(uint32_t class, uint32_t index) { return class * QUEUE_SLOTS + (index & (QUEUE_SLOTS - 1)); }
INLINE uint32_t class_of(const struct tlp *t) { return t->what / (QUEUE_SLOTS * sizeof *t); }
INLINE uint32_t waits(const struct port *p, uint32_t class) { return p->queued[class] - p->sent[class]; }
INLINE uint32_t data_credits(uint32_t bytes) { return (bytes + 15) >> 4; }

/** The usual lengths are constants to the compiler: it makes vector moves of them. */
INLINE void copy(uint8_t *to, const uint8_t *from, uint32_t bytes) {
  if (bytes == 64) memcpy(to, from, 64);
  else if (bytes == 256) memcpy(to, from, 256);
  else memcpy(to, from, bytes);
}

INLINE uint64_t mixed(uint64_t hash, uint64_t time, uint64_t what) {
  hash = (hash ^ (time + what * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
  return hash ^ hash >> 29;
}

INLINE void wake(struct port *p, uint64_t now) {
  if (p->keys[SEND] == NEVER) p->keys[SEND] = key_of(max64(now, p->busy_until), SEND);
}

static void update_timers(struct port *p) {
  uint64_t first = min64(p->ack_timer, p->replay_timer);
  for (int class = 0; class < CLASSES; class++) first = min64(first, p->fc_timer[class]);
  p->keys[TIMER] = first == NEVER ? NEVER : key_of(first, TIMER);
}

static uint32_t draw(struct port *p) {
  uint32_t x = (uint32_t)p->random;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  p->random = x;
  return x;
}

// -------------------------------------------------------------------------------------------------- requesters

INLINE struct tlp *queue_tlp(struct port *p, uint32_t class) {
  uint32_t slot = slot_of(class, p->queued[class]++);
  struct tlp *t = &p->queues[slot];
  p->waiting++;
  t->order = p->order++;
  t->what = slot * (uint32_t)sizeof *t;
  return t;
}

INLINE uint32_t reserve(struct port *p, uint32_t bytes) {
  uint32_t at = p->payload_head;
  if (at + bytes > p->payload_size) at = 0;
  p->payload_head = at + ((bytes + 31) & ~31u);
  return at;
}

INLINE uint32_t length_dw(uint32_t address, uint32_t bytes) { return ((address & 3) + bytes + 3) >> 2; }

INLINE uint32_t byte_enables(uint32_t address, uint32_t bytes) {
  if (LIKELY(((address | bytes) & 3) == 0 && bytes > 4)) return 0xff;
  uint32_t first = 0xfu << (address & 3) & 0xf;
  uint32_t last = 0xfu >> ((4 - ((address + bytes) & 3)) & 3);
  return length_dw(address, bytes) == 1 ? first & last : last << 4 | first;
}

/** The last two header words. */
INLINE uint64_t address_words(uint32_t high, uint32_t low) { return high != 0 ? pair(high, low & ~3u) : low & ~3u; }

INLINE uint64_t address_of(const struct tlp *t) {
  return LIKELY(t->h[0] >> 29 & 1) ? t->words[1] << 32 | t->words[1] >> 32 : t->h[2];
}

/** One access: its data are copied once, and its TLPs point at them. */
static void issue_write(struct port *p) {
  struct load *w = &p->writes;
  uint32_t bytes = (uint32_t)w->bytes, cut = (uint32_t)w->limit;
  uint64_t address = w->address + w->at;
  uint32_t low = (uint32_t)address, high = (uint32_t)(address >> 32);
  uint32_t data = reserve(p, bytes + 32) + (low & 3);
  uint32_t wire = TLP_OVERHEAD + (high != 0 ? 16 : 12), word = (high != 0 ? 0x60u : 0x40u) << 24;
  uint32_t queued = p->queued[P], order = p->order;
  w->count--;
  w->at = (w->at + bytes) & (uint32_t)(w->window - 1);
  memcpy(p->payload + data, ports[0].memory, bytes);
  while (bytes > 0) {
    uint32_t piece = min32(min32(bytes, cut - (low & (cut - 1))), PAGE - (low & (PAGE - 1)));
    uint32_t length = length_dw(low, piece), enables = byte_enables(low, piece), slot = slot_of(P, queued++);
    struct tlp *t = &p->queues[slot];
    t->words[0] = pair(word | (length & 0x3ff), enables);
    t->words[1] = address_words(high, low);
    t->payload = data - (low & 3);
    t->bytes = (uint16_t)(length << 2);
    t->wire = (uint16_t)(wire + (length << 2));
    t->order = order++;
    t->what = slot * (uint32_t)sizeof *t | (enables == 0xff ? ITEM_PLAIN : 0);
    low += piece;
    data += piece;
    bytes -= piece;
  }
  p->waiting += queued - p->queued[P];
  p->queued[P] = queued;
  p->order = order;
}

INLINE void issue_read(struct port *p, uint64_t now) {
  struct load *r = &p->reads;
  uint32_t bytes = (uint32_t)r->bytes, tag = p->tag;
  uint64_t address = r->address + r->at;
  uint32_t low = (uint32_t)address, high = (uint32_t)(address >> 32);
  p->tags[tag] = (struct read){now, READ_TARGET + (r->at & 0xffff), bytes};
  p->tag = (tag + 1) & (TAGS - 1);
  p->reads_out++;
  r->count--;
  r->at = (r->at + bytes) & (uint32_t)(r->window - 1);
  struct tlp *t = queue_tlp(p, NP);
  uint32_t word = (high != 0 ? 0x20u : 0u) << 24 | (tag & 0x200) << 14 | (tag & 0x100) << 11;
  t->words[0] = pair(word | (length_dw(low, bytes) & 0x3ff), (tag & 0xff) << 8 | byte_enables(low, bytes));
  t->words[1] = address_words(high, low);
  t->payload = 0;
  t->bytes = 0;
  t->wire = TLP_OVERHEAD + (high != 0 ? 16 : 12);
}

INLINE uint64_t loads_left(const struct port *p) { return p->writes.count | p->reads.count; }

/** What the requester adds now, and when it adds the next. */
static void issue(struct port *p, uint64_t now) {
  struct load *w = &p->writes, *r = &p->reads;
  const uint32_t before = p->waiting;
  uint64_t next = NEVER;
  if (w->count != 0) {
    while (w->count != 0 && w->next <= now && waits(p, P) + 1024 <= QUEUE_ROOM) {
      if (w->interval == 0 && p->waiting >= FEW) break;
      issue_write(p);
      w->next += w->interval;
    }
    // A late access goes in when a TLP has left.
    if (w->interval != 0 && w->count != 0 && w->next > now) next = w->next;
  }
  while (r->count != 0 && p->reads_out < r->limit && r->next <= now) {
    issue_read(p, now);
    r->next = max64(now, r->next) + r->interval;
  }
  if (r->count != 0 && p->reads_out < r->limit) next = min64(next, r->next);
  p->keys[ISSUE] = next == NEVER ? NEVER : key_of(next, ISSUE);
  if (p->waiting != before) wake(p, now);
  if (loads_left(p) == 0) p->end = 0; // the end of the run may be near
}

/** The requester looks at the queue after a TLP has left if fewer than this still wait. */
INLINE uint32_t looks_below(const struct port *p, uint64_t now) {
  if (p->writes.count == 0) return 0;
  if (p->writes.interval == 0) return FEW;
  return p->writes.next <= now ? UINT32_MAX : 0;
}

// ------------------------------------------------------------------------------------------------- transmitter

INLINE void transmit(struct port *p, uint64_t now, uint32_t bytes, uint32_t what, uint32_t value, uint64_t bad) {
  uint64_t until = now + bytes * p->ticks_per_byte;
  uint32_t head = p->wire.head++;
  struct item *at = &p->wire_items[head & (WIRE_SLOTS - 1)];
  p->busy_until = until;
  p->keys[SEND] = key_of(until, SEND);
  p->busy += until - now;
  if (UNLIKELY(bad != 0) && draw(p) <= bad) what |= ITEM_BAD;
  at->time = until + p->latency;
  at->word = pair(what, value);
  if (UNLIKELY(head - p->wire.tail >= WIRE_SLOTS)) stop("more on the wire than it has slots");
  if (head == p->wire.tail) p->other->keys[ARRIVAL] = key_of(at->time, ARRIVAL);
}

static void send_dllp(struct port *p, uint64_t now) {
  if (p->due & (DUE_NAK | DUE_ACK)) {
    // A Nak acknowledges what came in order before it, so an Ack that is due goes with it.
    uint32_t is_nak = p->due & DUE_NAK;
    p->due &= ~(uint32_t)(DUE_NAK | DUE_ACK);
    p->ack_pending = 0;
    p->ack_timer = NEVER;
    update_timers(p);
    *(is_nak ? &p->naks : &p->acks) += 1;
    transmit(p, now, DLLP_BYTES, is_nak ? ITEM_NAK : ITEM_ACK, (p->expected - 1) & 0xfff, p->bad_dllps);
    return;
  }
  uint32_t class = (uint32_t)__builtin_ctz(p->due / DUE_FC);
  p->due &= ~((uint32_t)DUE_FC << class);
  p->fc_pending &= ~(1u << class);
  p->fc_timer[class] = now + p->fc_refresh;
  update_timers(p);
  p->fcs++;
  uint32_t value = class << 24 | (p->header_given[class] & 0xff) << 12 | (p->data_given[class] & 0xfff);
  transmit(p, now, DLLP_BYTES, ITEM_FC, value, p->bad_dllps);
}

static void start_replay_timer(struct port *p, uint64_t now) {
  p->replay_timer = now + p->replay_limit;
  update_timers(p);
}

static void send_again(struct port *p, uint64_t now) {
  uint32_t sequence = p->replay_next++;
  struct tlp *t = tlp_at(p, (uint32_t)p->replays[sequence & (SEQUENCES - 1)]);
  p->replayed++;
  start_replay_timer(p, now);
  transmit(p, now, t->wire, t->what, sequence & 0xfff, p->bad_tlps);
}

/** Credits left in a pool modulo `mask` + 1; what is beyond half of the range is nothing. */
INLINE uint32_t room(uint32_t finite, uint32_t limit, uint32_t used, uint32_t mask) {
  return finite ? (limit - used) & mask : INT32_MAX;
}

/** Credits of the class, and room in the replay buffer. */
INLINE int may_go(const struct port *p, uint32_t class, const struct tlp *t) {
  return p->sent_bytes - p->acked_bytes + t->wire <= p->replay_bytes &&
         room(p->finite_header[class], p->header_limit[class], p->header_used[class], 0xff) >= 1 &&
         room(p->finite_data[class], p->data_limit[class], p->data_used[class], 0xfff) >= data_credits(t->bytes);
}

/** The class whose oldest TLP goes: of the heads that may, none passing a blocked posted request. */
INLINE uint32_t choose_class(struct port *p) {
  if (p->next_sequence - p->acked_sequence >= WINDOW) return CLASSES;
  if (p->waiting == 0) return CLASSES;
  for (uint32_t class = NP; class < CLASSES; class++) { // alone, as requests of reads and their completions usually are
    if (waits(p, class) != p->waiting) continue;
    if (LIKELY(may_go(p, class, &p->queues[slot_of(class, p->sent[class])]))) return class;
    p->blocked[class]++;
    return CLASSES;
  }
  uint32_t best = CLASSES, first = 0, posted_order = 0;
  int is_posted_blocked = 0;
  for (uint32_t class = 0; class < CLASSES; class++) {
    if (waits(p, class) == 0) continue;
    const struct tlp *t = &p->queues[slot_of(class, p->sent[class])];
    if (is_posted_blocked && (int32_t)(t->order - posted_order) > 0) continue;
    if (!may_go(p, class, t)) {
      p->blocked[class]++;
      if (class != P) continue;
      is_posted_blocked = 1;
      posted_order = t->order;
    } else if (best == CLASSES || (int32_t)(t->order - first) < 0) {
      best = class;
      first = t->order;
    }
  }
  return best;
}

/** Slots from `index` to the end of a ring: a burst goes no further, so that its pointers only count. */
INLINE uint32_t straight(uint32_t index, uint32_t slots) { return slots - (index & (slots - 1)); }

/** Posted TLPs one behind the other, up to the first key that is not their own; answers how many. */
static uint32_t send_burst(struct port *p, uint64_t now, uint64_t limit) {
  const uint64_t ticks_per_byte = p->ticks_per_byte, latency = p->latency, start = now;
  const uint64_t end = (limit - SEND + 7) >> 3; // first time whose key is not below the limit
  const uint32_t count = waits(p, P), outstanding = p->next_sequence - p->acked_sequence;
  const uint32_t headers = room(p->finite_header[P], p->header_limit[P], p->header_used[P], 0xff);
  const uint32_t credits = room(p->finite_data[P], p->data_limit[P], p->data_used[P], 0xfff);
  uint32_t most = min32(min32(count, headers), min32(WINDOW - outstanding, straight(p->sent[P], QUEUE_SLOTS)));
  most = min32(most, min32(straight(p->wire.head, WIRE_SLOTS), straight(p->next_sequence, SEQUENCES)));
  // The TLP after which the requester adds more is the last one.
  const uint32_t few = looks_below(p, now);
  if (few != 0) most = min32(most, count >= few ? count - few + 1 : 1);
  uint32_t space = (uint32_t)p->replay_bytes - (p->sent_bytes - p->acked_bytes), left = credits;
  uint64_t last = now, replay = (uint64_t)p->sent_bytes << 32, value = (uint64_t)(p->next_sequence & 0xfff) << 32;
  const struct tlp *t = &p->queues[slot_of(P, p->sent[P])], *const first = t, *const stop_at = t + most;
  struct item *item = &p->wire_items[p->wire.head & (WIRE_SLOTS - 1)], *const first_item = item;
  uint64_t *entry = &p->replays[p->next_sequence & (SEQUENCES - 1)];
  for (; t != stop_at && now < end; t++) {
    const uint32_t wire = t->wire, need = data_credits(t->bytes);
    if (wire > space || need > left) break;
    *entry++ = replay | t->what;
    last = now;
    now += wire * ticks_per_byte;
    item->time = now + latency;
    item->word = value | t->what;
    item++;
    value += (uint64_t)1 << 32; // no carry out of 12 bits: the burst ends where the ring of sequence numbers does
    replay += (uint64_t)wire << 32;
    space -= wire;
    left -= need;
  }
  const uint32_t n = (uint32_t)(t - first);
  if (n == 0) return 0;
  if (p->wire.head == p->wire.tail) p->other->keys[ARRIVAL] = key_of(first_item->time, ARRIVAL);
  p->wire.head += n;
  p->next_sequence += n;
  p->replay_next = p->next_sequence;
  p->sent_bytes = (uint32_t)(replay >> 32);
  p->sent[P] += n;
  p->waiting -= n;
  p->header_used[P] += n;
  p->data_used[P] += credits - left;
  p->busy += now - start;
  p->busy_until = now;
  p->keys[SEND] = key_of(now, SEND);
  if (count - n < few) p->keys[ISSUE] = key_of(last, ISSUE);
  return n;
}

INLINE void send_new(struct port *p, uint64_t now) {
  uint32_t class = choose_class(p);
  if (class == CLASSES) {
    p->keys[SEND] = NEVER;
    return;
  }
  struct tlp *t = &p->queues[slot_of(class, p->sent[class]++)];
  p->waiting--;
  uint32_t sequence = p->next_sequence++;
  p->header_used[class]++;
  p->data_used[class] += data_credits(t->bytes);
  p->replays[sequence & (SEQUENCES - 1)] = pair(t->what, p->sent_bytes);
  p->replay_next = sequence + 1;
  p->sent_bytes += t->wire;
  if (p->replay_timer == NEVER) start_replay_timer(p, now);
  transmit(p, now, t->wire, t->what, sequence & 0xfff, p->bad_tlps);
}

/** The transmitter is free: Nak, Ack and UpdateFC that are due, then replays, then new TLPs; then perhaps nothing. */
INLINE void send(struct port *p, uint64_t now, uint64_t limit) {
  if (UNLIKELY(p->due != 0)) send_dllp(p, now);
  else if (UNLIKELY(p->replay_next != p->next_sequence)) send_again(p, now);
  else {
    const int is_posted = p->waiting > 1 && waits(p, P) == p->waiting;
    if (is_posted && p->bad_tlps == 0 && p->replay_timer != NEVER && send_burst(p, now, limit)) return;
    send_new(p, now);
  }
  const uint32_t few = looks_below(p, now);
  if (few != 0) {
    if (p->waiting < few) p->keys[ISSUE] = key_of(now, ISSUE);
  } else if (p->waiting == 0 && p->due == 0 && p->replay_next == p->next_sequence) p->keys[SEND] = NEVER;
}

// ---------------------------------------------------------------------------------------------------- receiver

static void release(struct port *p, uint64_t now, uint32_t class, uint32_t data) {
  if (!p->own_finite[class]) return;
  p->header_given[class] += 1;
  p->data_given[class] += data;
  if (p->fc_pending & 1u << class) return;
  p->fc_pending |= 1u << class;
  if (p->fc_interval == 0) {
    p->due |= (uint32_t)DUE_FC << class;
    wake(p, now);
    return;
  }
  p->fc_timer[class] = min64(p->fc_timer[class], now + p->fc_interval);
  update_timers(p);
}

/** The buffer of a TLP is free again, at once or after the delay of this end. */
INLINE void consume(struct port *p, uint64_t now, const struct tlp *t) {
  uint32_t data = data_credits(t->bytes);
  if (LIKELY(p->drain_delay == 0)) {
    release(p, now, class_of(t), data);
    return;
  }
  uint32_t head = p->drain.head++;
  p->drain_items[head & (DRAIN_SLOTS - 1)] = (struct item){now + p->drain_delay, pair(class_of(t), data)};
  if (head - p->drain.tail >= DRAIN_SLOTS) stop("more buffers to empty than slots");
  if (head == p->drain.tail) p->keys[DRAIN] = key_of(now + p->drain_delay, DRAIN);
}

static void drain(struct port *p, uint64_t now) {
  const struct item *at = &p->drain_items[p->drain.tail++ & (DRAIN_SLOTS - 1)];
  const struct item *next = &p->drain_items[p->drain.tail & (DRAIN_SLOTS - 1)];
  p->keys[DRAIN] = p->drain.tail == p->drain.head ? NEVER : key_of(next->time, DRAIN);
  release(p, now, (uint32_t)at->word, (uint32_t)(at->word >> 32));
}

/** Memory behind this end; NULL: nobody claims it. */
INLINE uint8_t *memory_at(const struct port *p, const struct tlp *t, uint32_t bytes) {
  uint64_t offset = address_of(t) - p->base;
  return offset < p->size && bytes <= p->size - offset ? p->memory + offset : NULL;
}

/** Writes the enabled bytes; only those at both ends can be disabled. */
INLINE void write_memory(struct port *p, const struct tlp *t, const uint8_t *payload) {
  uint32_t bytes = t->bytes, first = t->h[1] & 0xf, last = t->h[1] >> 4 & 0xf;
  uint8_t *to = memory_at(p, t, bytes);
  const uint8_t *from = payload + t->payload;
  if (UNLIKELY(to == NULL)) return;
  if (LIKELY((first & (bytes == 4 ? 0xf : last)) == 0xf)) {
    copy(to, from, bytes);
    return;
  }
  for (uint32_t n = 0; n < bytes; n++) {
    uint32_t enables = n < 4 ? first : n >= bytes - 4 ? last : 0xf;
    if (enables >> (n & 3) & 1) to[n] = from[n];
  }
}

INLINE void take_completion(struct port *p, uint64_t now, const struct tlp *t, const uint8_t *payload) {
  uint32_t tag = (t->h[2] >> 8 & 0xff) | (t->h[0] >> 11 & 0x100) | (t->h[0] >> 14 & 0x200);
  uint32_t skip = t->h[2] & 3;
  struct read *r = &p->tags[tag];
  uint32_t bytes = min32(r->left, t->bytes - skip);
  copy(ports[0].memory + r->to, payload + t->payload + skip, bytes);
  r->to += bytes;
  r->left -= bytes;
  if (r->left != 0) return;
  uint64_t latency = now - r->sent;
  p->latency_sum += latency;
  p->latency_min = min64(p->latency_min, latency);
  p->latency_max = max64(p->latency_max, latency);
  p->reads_done++;
  p->reads_out--;
  if (p->reads.count != 0) p->keys[ISSUE] = min64(p->keys[ISSUE], key_of(max64(now, p->reads.next), ISSUE));
}

/** The completer answers after its delay. */
INLINE void defer(struct port *p, uint64_t now, uint32_t offset) {
  uint32_t head = p->ready.head++;
  uint64_t time = now + p->completer_delay;
  p->ready_items[head & (READY_SLOTS - 1)] = (struct item){time, offset};
  if (head == p->ready.tail) p->keys[READY] = key_of(time, READY);
}

/** The next read has its data: one completion, or as many as MPS makes of it. */
INLINE void complete(struct port *p, uint64_t now) {
  if (UNLIKELY(waits(p, CPL) + 64 > QUEUE_ROOM)) stop("more completions than the queue holds");
  uint32_t tail = p->ready.tail++;
  const struct tlp *request = tlp_at(p->other, (uint32_t)p->ready_items[tail & (READY_SLOTS - 1)].word);
  uint64_t next = p->ready_items[(tail + 1) & (READY_SLOTS - 1)].time;
  p->keys[READY] = tail + 1 == p->ready.head ? NEVER : key_of(next, READY);
  uint32_t left = request->h[0] & 0x3ff;
  if (left == 0) left = 1024;
  uint32_t address = (uint32_t)address_of(request);
  const uint8_t *from = memory_at(p, request, left << 2);
  uint32_t data = reserve(p, left << 2);
  if (from != NULL) copy(p->payload + data, from, left << 2);
  uint32_t offset = 0, bytes = left << 2;
  if (UNLIKELY((request->h[1] & 0xff) != 0xff)) {
    uint32_t first = request->h[1] & 0xf, last = request->h[1] >> 4 & 0xf, ends = left == 1 ? first : last;
    offset = first == 0 ? 0 : (uint32_t)__builtin_ctz(first);
    bytes -= offset + (ends == 0 ? 0 : (uint32_t)__builtin_clz(ends) - 28);
    if (left == 1 && first == 0) bytes = 1;
  }
  while (left > 0) {
    uint32_t phase = (address & ((uint32_t)p->rcb - 1)) >> 2, mps = (uint32_t)p->mps >> 2;
    uint32_t piece = left <= mps ? left : mps - phase;
    struct tlp *t = queue_tlp(p, CPL);
    t->words[0] = pair(0x4au << 24 | (request->h[0] & 0x00fc3000) | (piece & 0x3ff), bytes & 0xfff);
    t->words[1] = (request->h[1] & 0xffffff00) | (address & 0x7c) | offset;
    t->payload = data;
    t->bytes = (uint16_t)(piece << 2);
    t->wire = (uint16_t)(TLP_OVERHEAD + 12 + (piece << 2));
    bytes -= min32(bytes, (piece << 2) - offset);
    offset = 0;
    address += piece << 2;
    data += piece << 2;
    left -= piece;
  }
  wake(p, now);
}

/** All up to `value` arrived; with a Nak all behind it are sent again. */
static void take_ack(struct port *p, uint64_t now, uint32_t value, int is_nak) {
  uint32_t count = (value + 1 - p->acked_sequence) & 0xfff;
  if (count > p->next_sequence - p->acked_sequence) return;
  uint32_t acked = p->acked_sequence + count;
  int is_all = acked == p->next_sequence;
  if (count != 0) {
    p->acked_sequence = acked;
    p->acked_bytes = is_all ? p->sent_bytes : (uint32_t)(p->replays[acked & (SEQUENCES - 1)] >> 32);
    if ((int32_t)(p->replay_next - acked) < 0) p->replay_next = acked;
  }
  if (is_nak) p->replay_next = acked;
  if (count != 0 || is_nak) {
    p->replay_timer = is_all ? NEVER : now + p->replay_limit;
    update_timers(p);
  }
  wake(p, now);
}

/** A TLP came: true when it is the expected one, whole. */
INLINE int accept(struct port *p, uint64_t now, uint32_t what, uint32_t value) {
  uint32_t ahead = (value - p->expected) & 0xfff;
  if (UNLIKELY(what & ITEM_BAD || (ahead != 0 && ahead < 2048))) {
    if (p->nak_scheduled) return 0;
    p->nak_scheduled = 1;
    p->due |= DUE_NAK;
    wake(p, now);
    return 0;
  }
  if (UNLIKELY(ahead != 0)) {
    p->duplicates++;
    p->due |= DUE_ACK;
    wake(p, now);
    return 0;
  }
  p->expected++;
  p->nak_scheduled = 0;
  if (p->ack_pending) return 1;
  p->ack_pending = 1;
  if (p->ack_interval == 0) {
    p->due |= DUE_ACK;
    wake(p, now);
  } else {
    p->ack_timer = now + p->ack_interval;
    update_timers(p);
  }
  return 1;
}

/** Plain posted TLPs one behind the other, of which this end owes no new Ack or UpdateFC, up to the first other key. */
static int receive_burst(struct port *p, uint64_t limit) {
  struct port *from = p->other;
  const uint64_t end = (limit + 7) >> 3; // first time whose key is not below the limit
  const uint32_t most = min32(from->wire.head - from->wire.tail, straight(from->wire.tail, WIRE_SLOTS));
  const struct item *item = &from->wire_items[from->wire.tail & (WIRE_SLOTS - 1)];
  const struct item *const first = item, *const stop_at = item + most;
  const uint64_t base = p->base, size = p->size; // locals: the bytes written could be those of the port, as C sees it
  uint8_t *const memory = p->memory;
  const uint8_t *const payload = from->payload;
  uint32_t value = p->expected & 0xfff, credits = 0;
  uint64_t hash = p->hash, data = 0;
  for (; item != stop_at && item->time < end; item++) {
    const uint64_t word = item->word;
    if ((word & ITEM_BITS) != ITEM_PLAIN || word >> 32 != value) break;
    const struct tlp *t = tlp_at(from, (uint32_t)word);
    const uint32_t bytes = t->bytes;
    const uint64_t offset = address_of(t) - base;
    hash = mixed(hash, item->time, value);
    value = (value + 1) & 0xfff;
    data += bytes;
    credits += data_credits(bytes);
    if (LIKELY(offset < size && bytes <= size - offset)) copy(memory + offset, payload + t->payload, bytes);
  }
  const uint32_t n = (uint32_t)(item - first);
  if (n == 0) return 0;
  from->wire.tail += n;
  const struct item *next = &from->wire_items[from->wire.tail & (WIRE_SLOTS - 1)];
  p->keys[ARRIVAL] = from->wire.tail == from->wire.head ? NEVER : key_of(next->time, ARRIVAL);
  p->expected += n;
  p->nak_scheduled = 0;
  p->hash = hash;
  p->data += data;
  p->tlps += n;
  p->last = item[-1].time;
  p->header_given[P] += n; // nobody reads them when they are infinite
  p->data_given[P] += credits;
  return 1;
}

INLINE void arrive(struct port *p, uint64_t now, uint64_t limit) {
  struct port *from = p->other;
  const uint32_t tail = from->wire.tail;
  const struct item *at = &from->wire_items[tail & (WIRE_SLOTS - 1)];
  const uint32_t what = (uint32_t)at->word, value = (uint32_t)(at->word >> 32);
  // In this state a TLP changes nothing but counts.
  if ((what & ITEM_BITS) == ITEM_PLAIN && p->ack_pending && (p->fc_pending & 1 || !p->own_finite[P]) &&
      p->drain_delay == 0 && receive_burst(p, limit))
    return;
  const uint64_t next = key_of(from->wire_items[(tail + 1) & (WIRE_SLOTS - 1)].time, ARRIVAL);
  from->wire.tail = tail + 1;
  p->keys[ARRIVAL] = tail + 1 == from->wire.head ? NEVER : next;
  if ((what & ITEM_KIND) != ITEM_TLP) {
    p->hash = mixed(p->hash, now, (uint64_t)(what & ITEM_KIND) << 32 | value);
    if (UNLIKELY(what & ITEM_BAD)) return;
    if ((what & ITEM_KIND) != ITEM_FC) {
      take_ack(p, now, value, (what & ITEM_KIND) == ITEM_NAK);
      return;
    }
    p->header_limit[value >> 24] = value >> 12 & 0xff;
    p->data_limit[value >> 24] = value & 0xfff;
    wake(p, now);
    return;
  }
  p->hash = mixed(p->hash, now, value);
  if (!accept(p, now, what, value)) return;
  const struct tlp *t = tlp_at(from, what);
  p->tlps++;
  p->data += t->bytes;
  p->last = now;
  if (class_of(t) == CPL) take_completion(p, now, t, from->payload);
  else if (class_of(t) == P) write_memory(p, t, from->payload);
  else defer(p, now, what & ~(uint32_t)ITEM_BITS);
  consume(p, now, t);
}

static void expire(struct port *p, uint64_t now) {
  if (p->ack_timer <= now) {
    p->ack_timer = NEVER;
    p->due |= DUE_ACK;
  }
  for (int class = 0; class < CLASSES; class++) {
    if (p->fc_timer[class] > now) continue;
    p->fc_timer[class] = NEVER;
    p->due |= (uint32_t)DUE_FC << class;
  }
  if (p->replay_timer <= now) {
    p->replay_next = p->acked_sequence;
    p->replay_timer = now + p->replay_limit;
    p->timeouts++;
  }
  update_timers(p);
  wake(p, now);
}

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
    p->own_finite[class] = (p->header_given[class] | p->data_given[class]) != 0;
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
