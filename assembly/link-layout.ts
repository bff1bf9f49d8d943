// Floor 0: the ports of links as core and host both see them: what the host writes before a run and reads after it.

// ------------------------------------------------------------------------------------- PORT: two per link, 1024 bytes each
// Port 0 is the upstream end (root complex), port 1 the downstream one (endpoint). u32 words, or u64 where it says so.
// Whose words stand where; a test holds the files against it:
//
//     0-87   link/port.ts         next events by kind, timers
//    88-159  here                 what the link is
//   160-367  link/port.ts, here   transmitter, credits, receiver
//   368-503  here                 what it did, credits
//   504-511  link/port.ts         rings
//   512-671  here                 the requester behind the port, and the completer
//   672-695  link/port.ts         what waits, rings
//   700-735  fabric/inflight.ts   payload rings
//   736-751  fabric/completer.ts  answers that wait
//   752-759  fabric/loads.ts      tags, latencies
//   760-799  here                 SKP, ECRC
//   800-819  link/port.ts         SKP, checks of debug builds
//   820-831  here                 log
//   832-847  link/port.ts         flow control initialisation
//   896-935  here                 what a timed machine adds
export const LINK_PORT_STRIDE = 1024;
export const LINK_MOST = 64; // links of a machine: one per function
export const LINK_P = 0; // classes of TLPs, and of credits
export const LINK_NP = 1;
export const LINK_CPL = 2;
export const LINK_CLASSES = 3;
export const LINK_DLLP_BYTES = 8; // on the wire, framing included
/** Answers of `linkRun`. */
export const LINK_RUNS = 0; // more events to come
export const LINK_DONE = 1; // all accesses are done and acknowledged
export const LINK_AT_END = 2; // the next event is after the end, or after 2^53 ticks
export const LINK_TAGS = 1024; // of a requester: up to 10 bits

// What the link is.
export const LINK_TICKS_PER_BYTE = 88;
export const LINK_MPS = 92;
export const LINK_LATENCY = 96; // u64 ticks, one way
export const LINK_ACK_INTERVAL = 104; // u64, 0: at once
export const LINK_FC_INTERVAL = 112; // u64, 0: at once
export const LINK_FC_REFRESH = 120; // u64
export const LINK_REPLAY_LIMIT = 128; // u64, replay timer
export const LINK_DRAIN_DELAY = 136; // u64, until a receive buffer is free again
export const LINK_REPLAY_BYTES = 144; // wire bytes that may be unacknowledged
export const LINK_BAD_TLPS = 148; // of 2^32 TLPs that this end sends
export const LINK_BAD_DLLPS = 152;
export const LINK_RANDOM = 156; // state of the generator, not 0

// State of the transmitter, u32.
export const LINK_ACKED_SEQUENCE = 172; // first that is not acknowledged
export const LINK_REPLAY_NEXT = 176; // first to be sent again
export const LINK_SEND_NAK = 200; // what is due: flags
export const LINK_SEND_ACK = 204;
export const LINK_SEND_FC = 208; // bit by class

// Credits by class, u32 counting on: headers and data that this end used, and what it has given in all.
export const LINK_HEADER_USED = 240;
export const LINK_DATA_USED = 264;
export const LINK_HEADER_GIVEN = 316;
export const LINK_DATA_GIVEN = 328;

// What it did, u64.
export const LINK_COUNT_TLPS = 368; // delivered to this end
export const LINK_COUNT_DATA = 376;
export const LINK_COUNT_ACKS = 384; // sent by this end
export const LINK_COUNT_NAKS = 392;
export const LINK_COUNT_FCS = 400;
export const LINK_COUNT_REPLAYED = 408;
export const LINK_COUNT_BUSY = 416; // ticks
export const LINK_COUNT_BLOCKED = 424; // by class: looks at a head that might not go
export const LINK_COUNT_DUPLICATES = 448;
export const LINK_COUNT_TIMEOUTS = 456;
export const LINK_HASH = 464;
export const LINK_LAST_ARRIVAL = 472;

export const LINK_CREDITS = 480; // by class: header credits that this end gives, and 12 bytes on data credits; 0: infinite

// The requester behind the port, and the completer.
export const LOAD_WRITES = 512; // accesses still to be issued
export const LOAD_WRITE_BYTES = 516;
export const LOAD_WRITE_ADDRESS = 520; // u64
export const LOAD_WRITE_WINDOW = 528; // bytes, a power of two: addresses wrap in it
export const LOAD_WRITE_CUT = 532; // longest TLP in bytes
export const LOAD_WRITE_INTERVAL = 536; // u64 between accesses; 0: as fast as the link takes them
export const LOAD_WRITE_NEXT = 544; // u64
export const LOAD_WRITE_AT = 552;
export const LOAD_WRITE_SOURCE = 556; // where the data stand
export const LOAD_READS = 560;
export const LOAD_READ_BYTES = 564;
export const LOAD_READ_ADDRESS = 568; // u64
export const LOAD_READ_WINDOW = 576;
export const LOAD_READ_TAGS = 580; // requests that may be outstanding, up to 1024
export const LOAD_READ_INTERVAL = 584; // u64
export const LOAD_READ_NEXT = 592; // u64
export const LOAD_READ_AT = 600;
export const LOAD_READ_OUT = 604; // outstanding
export const LOAD_COMPLETER_DELAY = 608; // u64, of the completer at this end
export const LOAD_RCB = 616;
export const LOAD_COMPLETION_POLICY = 620;
export const LOAD_WRITE_SPLIT = 624;
export const LOAD_READ_DONE = 628;
export const LOAD_READ_TARGET = 632; // where the data read go
export const LOAD_TAG = 636; // of the next read
export const LOAD_LATENCY_SUM = 640; // u64 ticks, of all reads
export const LOAD_LATENCY_MIN = 648;
export const LOAD_LATENCY_MAX = 656;
// 1: LOAD_WRITE_INTERVAL is the least distance, and a write waits for the queue to run low.
export const LOAD_WRITE_WAITS = 664;

// SKP ordered sets, ECRC.
export const LINK_SKP_INTERVAL = 760; // u64 ticks from one SKP ordered set to the next, 0: none
export const LINK_SKP_TICKS = 768; // u64, time that one takes
export const LINK_COUNT_SKPS = 776; // u64
export const LOAD_HEADER_BITS = 784; // set in DW0 of each TLP: TD
export const LOAD_DIGEST_BYTES = 788; // ECRC behind each TLP: 0 or 4
export const LOAD_HOST_BASE = 792; // u64, of port 0: bus address at which host memory begins

// ------------------------------------------------------------------------------------- LOG: the first packets of each end
// Port 0's entries, then port 1's. An entry: begin (u64 ticks), what (u32, LOG_*), value (u32), four header words of a TLP.
export const LINK_LOGGED = 820; // u32, packets in the log
export const LINK_LOG_ROOM = 824; // u32, packets that the log is to hold, up to LOG_SLOTS; with 0 it costs nothing
export const LINK_INIT = 828; // u32, 1: begins with flow control initialisation
export const LOG_SLOTS = 1024;
export const LOG_STRIDE = 32;
export const LOG_TLP = 0;
export const LOG_ACK = 1; // value: sequence number
export const LOG_NAK = 2;
export const LOG_FC = 3; // value: class in bits 31:24, header credits in 23:12, data credits in 11:0
export const LOG_SKP = 4;
export const LOG_INIT_FC1 = 5; // value: as of LOG_FC
export const LOG_INIT_FC2 = 6;
export const LOG_BAD = 8; // arrives broken

// ------------------------------------------------------------------------------------- LATENCIES: how long reads took
// u32 counts per port, 128 for each doubling of the time. n ticks of b bits count in slot (row << 7) + (n >> row), where row
// is b - 8, or 0 up to 8 bits.
export const LATENCY_COLUMNS_LG2 = 7;
export const LATENCY_ROWS = 40;
export const LATENCY_SLOTS = 5248; // (LATENCY_ROWS + 1) << LATENCY_COLUMNS_LG2

// ------------------------------------------------------------------------------- END: what a timed machine adds to a port
// Words of the same 1024 bytes. The host writes them, before `timedStart`.
export const END_SERVICE = 896; // u64 ticks until the completer at this end answers
export const END_CONFIG_SERVICE = 904; // u64, the same of a configuration request
export const END_INTERVAL = 912; // u64, shortest distance of two requests of the function at this end
export const END_TAGS = 920; // non-posted requests from this end that may be outstanding
export const END_RCB = 924; // how the completer at this end cuts its completions
export const END_COMPLETION_POLICY = 928;
