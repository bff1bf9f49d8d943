/** What all parts of the simulated link use. Part of link.c. */
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))

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
