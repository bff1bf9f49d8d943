// Floor 5: the requester. One operation of a CPU or host bridge becomes memory requests in the descriptor ring.

import { PARAMS } from '../kernel/arena';
import { descriptorAt, pushed } from '../kernel/rings';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_WIRE,
  KIND_DMWR32,
  KIND_MRD32,
  KIND_MWR32,
  MODE_LIVE,
  OPERATION_READ,
  PAGE_BYTES,
  PARAM_HEADER_BITS,
  PARAM_MODE,
  PARAM_MPS,
  PARAM_MRRS,
  PARAM_OP,
  PARAM_READ_SPLIT,
  PARAM_REQUEST,
  PARAM_REQUESTER,
  PARAM_UNCUT,
  PARAM_WRITE_SPLIT,
  REQUEST_DEFERRABLE,
} from '../layout';
import { Form, pushRequest } from '../tlp/build';
import { byteEnables, lengthDw } from '../tlp/bytes';
import { requestPiece } from '../tlp/split';
import { countReadCompletions, expectRead } from './deliver';
import { countCompletion, countRequests } from './traffic';

let nextTag: u32 = 0;

/** Sets the tag of the next non-posted request. */
export function setNextTag(tag: u32): void {
  nextTag = tag;
}

/** Reads or writes `bytes` at bus address `address`; `data` is where the first byte stands or goes. */
export function pushOperation(address: u64, bytes: u32, data: usize, cause: u32): void {
  if (load<u32>(PARAMS, PARAM_OP) == OPERATION_READ) pushReads(address, bytes, data, cause);
  else if (load<u32>(PARAMS, PARAM_REQUEST) == REQUEST_DEFERRABLE)
    pushWrites(KIND_DMWR32, address, bytes, data, cause);
  else pushWrites(KIND_MWR32, address, bytes, data, cause);
}

/** Memory Writes, or Deferrable Memory Writes (`kind`), cut by MPS, 4 KiB and `writeSplit`. */
export function pushWrites(kind: u32, address: u64, bytes: u32, data: usize, cause: u32): void {
  const mps = load<u32>(PARAMS, PARAM_MPS);
  const policy = load<u32>(PARAMS, PARAM_WRITE_SPLIT);
  const uncut = load<u32>(PARAMS, PARAM_UNCUT);
  const bits = load<u32>(PARAMS, PARAM_HEADER_BITS);
  const deferrable = kind == KIND_DMWR32;
  const requester = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  let left = bytes;
  let count: u32 = 0;
  let wire: u32 = 0;
  let payload: u32 = 0;
  do {
    const low = <u32>address;
    const piece = left <= uncut ? wholePiece(low, left) : requestPiece(low, left, mps, policy);
    // Posted writes need no tag (2.2.6.2); deferrable ones wait for a completion.
    const ids = deferrable ? requester | takeTag() : requester;
    const whole = ((low | piece) & 3) == 0 && piece > 4;
    const length = whole ? piece >> 2 : lengthDw(low, piece);
    const enables = whole ? 0xff : byteEnables(low, piece);
    const at = descriptorAt(count);
    wire += Form.request(at, kind, address, length, enables, ids, bits, data - (low & 3), cause);
    count += 1;
    payload += length << 2;
    if (deferrable && !isLive()) countCompletion(0);
    address += piece;
    data += piece;
    left -= piece;
  } while (left > 0);
  pushed(count);
  countRequests(count, wire, payload);
}

/** Memory Reads, cut by MRRS, 4 KiB and `readSplit`. */
function pushReads(address: u64, bytes: u32, data: usize, cause: u32): void {
  const mrrs = load<u32>(PARAMS, PARAM_MRRS);
  const policy = load<u32>(PARAMS, PARAM_READ_SPLIT);
  const uncut = load<u32>(PARAMS, PARAM_UNCUT);
  const bits = load<u32>(PARAMS, PARAM_HEADER_BITS);
  const requester = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  const live = isLive();
  let left = bytes;
  do {
    const low = <u32>address;
    const piece = left <= uncut ? wholePiece(low, left) : requestPiece(low, left, mrrs, policy);
    const length = lengthDw(low, piece);
    if (live) expectRead(nextTag, data, piece);
    const at = pushRequest(
      KIND_MRD32,
      address,
      length,
      byteEnables(low, piece),
      requester | takeTag(),
      bits,
      0,
      cause,
    );
    assert(load<u32>(at, DESCRIPTOR_BYTES) == 0, 'a read request carries no data');
    countRequests(1, load<u32>(at, DESCRIPTOR_WIRE), 0);
    if (!live) countReadCompletions(low & ~3, length);
    address += piece;
    data += piece;
    left -= piece;
  } while (left > 0);
}

/** A load or store of up to a doubleword is one request: only a 4 KiB border cuts it (access-paths.md 1, zpci.md 8.4). */
function wholePiece(address: u32, left: u32): u32 {
  return min(left, <u32>PAGE_BYTES - (address & (PAGE_BYTES - 1)));
}

/** Tag field of DW1 for the next non-posted request: 8-bit tags, all 256 in use. */
function takeTag(): u32 {
  const tag = nextTag;
  nextTag = (nextTag + 1) & 0xff;
  return tag << 8;
}

function isLive(): bool {
  return load<u32>(PARAMS, PARAM_MODE) >= <u32>MODE_LIVE;
}
