// Floor 5: the data in flight from an end of a loaded link: two rings, one of posted requests, one of completions.

import {
  ACKED_SEQUENCE,
  NEXT_SEQUENCE,
  QUEUED,
  replayAt,
  SENT,
  TLP_CLASS,
  TLP_PAYLOAD,
  tlpAt,
} from '../link/port';
import { LINK_P } from '../link-layout';

// Words of a port that are this file's.
const PAYLOAD_RING: usize = 700; // data of posted requests, behind them as much for completions
const PAYLOAD_BYTES: usize = 704; // for each of them
const PAYLOAD_HEADS: usize = 708; // where the next data of posted requests go; 8 bytes on, of completions
const PAYLOAD_ENDS: usize = 720; // up to where it is free, likewise

/** Bytes after which a payload ring looks whether its front is free. */
const PAYLOAD_FRONT: u32 = 1 << 14;

/** `bytes` of memory at `at`, a power of two, for the data in flight from this end. */
export function placePayload(port: usize, at: usize, bytes: u32): void {
  store<u32>(port, <u32>at, PAYLOAD_RING);
  store<u32>(port, bytes >> 1, PAYLOAD_BYTES);
  store<u32>(port, 0, PAYLOAD_HEADS);
  store<u32>(port, 0, PAYLOAD_HEADS + 8);
  store<u32>(port, 0, PAYLOAD_ENDS);
  store<u32>(port, 0, PAYLOAD_ENDS + 8);
}

/** Where the data of a class stand: posted requests or completions. Each class frees its bytes in order. */
function payloadOf(port: usize, kind: u32): usize {
  const ring: usize = load<u32>(port, PAYLOAD_RING);
  return kind == LINK_P ? ring : ring + load<u32>(port, PAYLOAD_BYTES);
}

/**
 * True when `bytes` more of data in flight have room. The ring begins again at the front as soon as that is free, so that
 * a link with little in flight stays in the cache.
 */
export function hasPayloadRoom(port: usize, kind: u32, bytes: u32): bool {
  const at = port + ((<usize>kind) << 2);
  const head = load<u32>(at, PAYLOAD_HEADS);
  if (head + bytes <= load<u32>(at, PAYLOAD_ENDS)) return true;
  const oldest = oldestPayload(port, kind);
  let end: u32 = load<u32>(port, PAYLOAD_BYTES);
  if (oldest == ~0) store<u32>(at, 0, PAYLOAD_HEADS);
  else if (oldest > head) end = oldest;
  else if (oldest > bytes && head >= PAYLOAD_FRONT) {
    store<u32>(at, 0, PAYLOAD_HEADS);
    end = oldest;
  } else end = min(end, head + PAYLOAD_FRONT);
  // One byte stays free: an end that meets the oldest byte is a full ring, not an empty one.
  if (end == oldest) end -= 1;
  store<u32>(at, end, PAYLOAD_ENDS);
  return load<u32>(at, PAYLOAD_HEADS) + bytes <= end;
}

/** Where the oldest data of a class stand that may still be sent; all ones: there are none. */
function oldestPayload(port: usize, kind: u32): u32 {
  const entry = port + ((<usize>kind) << 2);
  const last = load<u32>(port, NEXT_SEQUENCE);
  let tlp: usize = 0;
  for (let sequence = load<u32>(port, ACKED_SEQUENCE); sequence != last; sequence++) {
    const sent: usize = load<u32>(replayAt(port, sequence));
    if (load<u32>(sent, TLP_CLASS) == kind) {
      tlp = sent;
      break;
    }
  }
  if (tlp == 0) {
    const sent = load<u32>(entry, SENT);
    if (sent == load<u32>(entry, QUEUED)) return ~0;
    tlp = tlpAt(port, kind, sent);
  }
  return load<u32>(tlp, TLP_PAYLOAD) - <u32>payloadOf(port, kind);
}

/** `bytes` for data in flight from this end, where `hasPayloadRoom` has said that they are free. */
export function reserve(port: usize, kind: u32, bytes: u32): usize {
  const at = port + ((<usize>kind) << 2);
  const head = load<u32>(at, PAYLOAD_HEADS);
  store<u32>(at, head + bytes, PAYLOAD_HEADS);
  return payloadOf(port, kind) + head;
}

/** Bytes in a payload ring for an access: whole vectors, and the bytes in front of the first DW. */
export function roomOf(bytes: u32): u32 {
  return (bytes + 3 + 31) & ~31;
}
