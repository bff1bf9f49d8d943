/** The transmitter: what goes next, and bursts of posted requests. Part of link.c. */
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
