/** The receiver: credits, completions, Ack and Nak, bursts of arrivals, timers. Part of link.c. */
static void release(struct port *p, uint64_t now, uint32_t class, uint32_t data) {
  p->header_given[class] += p->own_finite[class] & 1;
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
  const uint32_t finite = p->own_finite[class_of(t)];
  const uint32_t data = finite & 2 ? data_credits(t->bytes) : 0;
  if ((finite & 1) == 0 && data == 0) return;
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
  if (p->own_finite[P] & 1) p->header_given[P] += n;
  if (p->own_finite[P] & 2) p->data_given[P] += credits;
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
