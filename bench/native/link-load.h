/** The requesters: writes and reads as they are queued. Part of link.c. */
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
  uint32_t bytes = (uint32_t)r->bytes, tag = p->tag, mask = (uint32_t)(r->window - 1);
  uint32_t in_page = ((uint32_t)r->address + r->at) & 4095;
  if (in_page + bytes > 4096) r->at = (r->at + 4096 - in_page) & mask; // no request crosses 4 KiB
  uint64_t address = r->address + r->at;
  uint32_t low = (uint32_t)address, high = (uint32_t)(address >> 32);
  p->tags[tag] = (struct read){now, READ_TARGET + (r->at & 0xffff), bytes};
  p->tag = (tag + 1) & (TAGS - 1);
  p->reads_out++;
  r->count--;
  r->at = (r->at + bytes) & mask;
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
