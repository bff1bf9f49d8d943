/** One end of the simulated link in C, as link.c runs it and link-main.c sets it up. */
#ifndef LINK_H
#define LINK_H

#include <stdint.h>

enum { P, NP, CPL, CLASSES };

// Kinds of events in the order in which those of one tick happen; a key is time << 3 | kind.
enum { ARRIVAL, READY, DRAIN, TIMER, ISSUE, SEND, KINDS };

// What a wire item is, in the low bits of the descriptor's offset. PLAIN lets a burst begin without a look at the TLP.
enum { ITEM_TLP, ITEM_ACK, ITEM_NAK, ITEM_FC, ITEM_KIND = 7, ITEM_BAD = 8, ITEM_PLAIN = 16, ITEM_BITS = 31 };

// DLLPs that are due; UpdateFC of a class is DUE_FC << class.
enum { DUE_NAK = 1, DUE_ACK = 2, DUE_FC = 4 };

enum {
  DLLP_BYTES = 8,
  TLP_OVERHEAD = 8,
  QUEUE_SLOTS = 8192,
  QUEUE_ROOM = 4096, // TLPs that may wait in a class
  WINDOW = 2047,     // TLPs that may be unacknowledged
  SEQUENCES = 4096,
  WIRE_SLOTS = 4096,
  DRAIN_SLOTS = 8192,
  READY_SLOTS = 2048,
  TAGS = 1024,
  FEW = 16, // TLPs that wait when a requester without an interval adds another access
  PAGE = 4096,
  READ_TARGET = 1 << 17,
};

#define NEVER UINT64_MAX

/** A queued TLP: 32 bytes, written and read in halves of 8 where that is possible. */
struct tlp {
  union {
    uint32_t h[4];
    uint64_t words[2];
  };
  uint32_t payload; // offset in the payload ring of its port
  uint16_t bytes;
  uint16_t wire;
  uint32_t order;
  uint32_t what; // of the wire item that carries it: its offset and PLAIN
};

/** What it is stands in the low half of the word, its value in the high one: one store each. */
struct item {
  uint64_t time;
  uint64_t word;
};

struct read {
  uint64_t sent;
  uint32_t to;
  uint32_t left;
};

struct fifo {
  uint32_t head;
  uint32_t tail;
};

struct load {
  uint64_t count;
  uint64_t bytes;
  uint64_t address;
  uint64_t window;
  uint64_t limit; // longest TLP of a write; tags of reads
  uint64_t interval;
  uint64_t next;
  uint32_t at;
};

struct port {
  uint64_t keys[KINDS];
  uint64_t end; // of the window: keys from here on wait
  struct port *other;

  // Transmitter.
  uint64_t busy_until;
  uint32_t next_sequence, acked_sequence, replay_next;
  uint32_t sent_bytes, acked_bytes;
  uint32_t due, order;
  uint32_t queued[CLASSES], sent[CLASSES], waiting; // TLPs of all classes that wait
  uint32_t header_used[CLASSES], header_limit[CLASSES], data_used[CLASSES], data_limit[CLASSES];
  uint32_t finite_header[CLASSES], finite_data[CLASSES];
  struct fifo wire;

  // Receiver.
  uint32_t expected, nak_scheduled, ack_pending, fc_pending;
  uint32_t header_given[CLASSES], data_given[CLASSES], own_finite[CLASSES];
  struct fifo drain, ready;
  uint64_t ack_timer, fc_timer[CLASSES], replay_timer;

  // Link.
  uint64_t ticks_per_byte, mps, latency, ack_interval, fc_interval, fc_refresh, replay_limit, drain_delay;
  uint64_t replay_bytes, bad_tlps, bad_dllps, random;
  uint64_t credits[2][CLASSES];

  // Requester, completer and the memory that they reach.
  struct load writes, reads;
  uint32_t reads_out, reads_done, tag;
  uint64_t completer_delay, rcb;
  uint64_t base, size;
  uint8_t *memory, *payload;
  uint32_t payload_head, payload_size;

  // Counters.
  uint64_t tlps, data, acks, naks, fcs, replayed, duplicates, timeouts, busy, blocked[CLASSES], hash, last;
  uint64_t latency_sum, latency_min, latency_max;

  struct item wire_items[WIRE_SLOTS];
  struct item drain_items[DRAIN_SLOTS];
  struct item ready_items[READY_SLOTS];
  uint64_t replays[SEQUENCES]; // offset of the TLP, and in the high half the wire bytes before it modulo 2^32
  struct read tags[TAGS];
  struct tlp queues[CLASSES * QUEUE_SLOTS] __attribute__((aligned(32)));
};

/** The root complex, then the endpoint. */
extern struct port ports[2];
/** Ticks of the last event. */
extern uint64_t final_time;

/** A port whose settings are made: as after flow control initialisation. */
void link_begin(struct port *p);

/** Runs until all loads are done and acknowledged. */
void link_run(void);

/** Says on stderr what is wrong, and ends the program. */
void stop(const char *what);

#endif
