// Floor 7: x86 write-combining buffers. Stores merge into open 64-byte lines; a closed line leaves as one write or in chunks.
//
// Model rules where the public manual (Intel SDM vol. 3A, "Buffering of Write Combining Memory Locations") leaves a choice:
// options `wcBuffers`, `wcLineComplete`, `wcChunkOrder` (access-paths.md 2).

import { beginOperation, countRequests } from '../fabric/traffic';
import { deliverAll, isPending } from '../fabric/transport';
import { copyBytes, PARAMS } from '../kernel/arena';
import { recycle, reservePayload, roomForOperation } from '../kernel/rings';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_WIRE,
  KIND_MWR32,
  MODE_LIVE,
  PARAM_DESCENDING,
  PARAM_HEADER_BITS,
  PARAM_MODE,
  PARAM_REQUESTER,
} from '../layout';
import { pushRequest } from '../tlp/build';

const LINE: u32 = 64;
const MAX_BUFFERS: u32 = 64;
const FULL: u64 = u64.MAX_VALUE;

// One buffer; oldest first. The order of chunks is the one asked for by the store that opened the line.
//
//   0        8          16         80           84
//   | line   | valid    | 64 data  | descending | spare |
const BUFFER_MASK: usize = 8;
const BUFFER_DATA: usize = 16;
const BUFFER_DESCENDING: usize = 80;
const BUFFER_BYTES: u32 = 96;
const BUFFERS: usize = memory.data(MAX_BUFFERS * BUFFER_BYTES, 16);

let open: u32 = 0;
let buffers: u32 = 4;
let immediate: bool = true;

function bufferAt(index: u32): usize {
  return BUFFERS + <usize>(index * BUFFER_BYTES);
}

/** Forgets open lines without sending them: machine reset. */
export function resetCombining(): void {
  open = 0;
}

/** `count` buffers (1..64); `complete`: a full line leaves at once. */
export function configureCombining(count: u32, complete: bool): void {
  buffers = min(max(count, 1), MAX_BUFFERS);
  immediate = complete;
}

/** Stores `bytes` at `address` from `data`; the range lies in one line. Lines that have to leave are sent. */
export function combineStore(address: u64, bytes: u32, data: usize): void {
  const line = address & ~(<u64>LINE - 1);
  const offset = <u32>address & (LINE - 1);
  // Fewer buffers may have been chosen since the last store.
  while (open > buffers) close(0);
  let index = find(line);
  if (index == open) {
    if (open == buffers) close(0);
    index = open;
    open += 1;
    store<u64>(bufferAt(index), line);
    store<u64>(bufferAt(index), 0, BUFFER_MASK);
    store<u32>(bufferAt(index), load<u32>(PARAMS, PARAM_DESCENDING), BUFFER_DESCENDING);
  }
  const at = bufferAt(index);
  copyBytes(at + BUFFER_DATA + offset, data, bytes);
  const ones: u64 = bytes == LINE ? FULL : (((<u64>1) << bytes) - 1) << offset;
  const mask = load<u64>(at, BUFFER_MASK) | ones;
  store<u64>(at, mask, BUFFER_MASK);
  if (mask == FULL && immediate) close(index);
}

/** A closing event (SFENCE, UC access, interrupt, ...): every open line leaves, in the order of opening. */
export function combineFence(): void {
  while (open > 0) close(0);
}

function find(line: u64): u32 {
  for (let index: u32 = 0; index < open; index++) if (load<u64>(bufferAt(index)) == line) return index;
  return open;
}

/** Sends line `index` and removes it. */
function close(index: u32): void {
  const at = bufferAt(index);
  emit(load<u64>(at), load<u64>(at, BUFFER_MASK), at + BUFFER_DATA, load<u32>(at, BUFFER_DESCENDING) != 0);
  open -= 1;
  memory.copy(at, at + BUFFER_BYTES, (open - index) * BUFFER_BYTES);
}

/** A full line is one write of 64 bytes; of a partial one each 8-byte chunk with data is a write with byte enables. */
function emit(line: u64, mask: u64, from: usize, descending: bool): void {
  assert(roomForOperation(), 'write-combining flush without room in the ring');
  const data = reservePayload(LINE, <u32>line);
  copyBytes(data, from, LINE);
  beginOperation();
  if (mask == FULL) send(line, LINE >> 2, 0xff, data);
  else {
    for (let step: u32 = 0; step < 8; step++) {
      const chunk = descending ? 7 - step : step;
      const enables = <u32>(mask >> (chunk << 3)) & 0xff;
      if (enables != 0) sendChunk(line + (chunk << 3), enables, data + (chunk << 3));
    }
  }
  const mode = load<u32>(PARAMS, PARAM_MODE);
  if (mode < <u32>MODE_LIVE) return;
  // Records point at the data of this line: nothing may take its place before the host has served them.
  if (deliverAll() && !isPending() && mode == MODE_LIVE) recycle();
}

/** One 8-byte chunk; where only one of its DWs holds data it is a write of Length 1. */
function sendChunk(address: u64, enables: u32, data: usize): void {
  const first = enables & 0xf;
  const last = enables >> 4;
  if (first == 0) send(address + 4, 1, last, data + 4);
  else if (last == 0) send(address, 1, first, data);
  else send(address, 2, enables, data);
}

function send(address: u64, length: u32, enables: u32, data: usize): void {
  const ids = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  const at = pushRequest(
    KIND_MWR32,
    address,
    length,
    enables,
    ids,
    load<u32>(PARAMS, PARAM_HEADER_BITS),
    data,
    0,
  );
  countRequests(1, load<u32>(at, DESCRIPTOR_WIRE), load<u32>(at, DESCRIPTOR_BYTES));
}
