// Floor 5: the requester. One operation of a CPU or host bridge becomes memory requests in the descriptor ring.

import { PARAMS } from '../kernel/arena';
import { descriptorAt, head, pushed, slotAt } from '../kernel/rings';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_PREFIX,
  DESCRIPTOR_WIRE,
  KIND_DMWR32,
  KIND_MRD32,
  KIND_MWR32,
  KIND_MWR64,
  MODE_LIVE,
  OPERATION_READ,
  PAGE_BYTES,
  PARAM_HEADER_BITS,
  PARAM_MODE,
  PARAM_MPS,
  PARAM_MRRS,
  PARAM_OP,
  PARAM_PREFIX,
  PARAM_READ_SPLIT,
  PARAM_REQUEST,
  PARAM_REQUESTER,
  PARAM_UNCUT,
  PARAM_WRITE_SPLIT,
  REQUEST_DEFERRABLE,
  SLOT_NONE,
  SPLIT_ALIGNED,
  TLP_OVERHEAD_BYTES,
} from '../layout';
import { Form, origin, pushRequest } from '../tlp/build';
import { byteEnables, lengthDw } from '../tlp/bytes';
import { fmtTypeOf } from '../tlp/kinds';
import { requestPiece } from '../tlp/split';
import { countReadCompletions, expectRead } from './deliver';
import { countCompletion, countRequests } from './traffic';

/** Tag of the next non-posted request. */
export let nextTag: u32 = 0;

/** Sets the tag of the next non-posted request. */
export function setNextTag(tag: u32): void {
  nextTag = tag;
}

/** Reads or writes `bytes` at bus address `address`; `data` is where the first byte stands or goes. */
export function pushOperation(address: u64, bytes: u32, data: usize, cause: u32): void {
  const first = head;
  pushRequests(address, bytes, data, cause);
  const prefix = load<u32>(PARAMS, PARAM_PREFIX);
  if (prefix != 0) addPrefix(first, prefix);
}

/** Puts `prefix` on the requests in the ring from index `first` on. Rare: no loop that forms TLPs looks for it. */
function addPrefix(first: u32, prefix: u32): void {
  for (let index = first; index < head; index++) {
    const at = slotAt(index);
    store<u32>(at, prefix, DESCRIPTOR_PREFIX);
    store<u32>(at, load<u32>(at, DESCRIPTOR_WIRE) + 4, DESCRIPTOR_WIRE);
  }
  countRequests(0, (head - first) << 2, 0);
}

function pushRequests(address: u64, bytes: u32, data: usize, cause: u32): void {
  if (load<u32>(PARAMS, PARAM_OP) == OPERATION_READ) {
    const mrrs = load<u32>(PARAMS, PARAM_MRRS);
    pushNonPosted(KIND_MRD32, mrrs, load<u32>(PARAMS, PARAM_READ_SPLIT), address, bytes, data, cause);
  } else if (load<u32>(PARAMS, PARAM_REQUEST) == REQUEST_DEFERRABLE) {
    const mps = load<u32>(PARAMS, PARAM_MPS);
    pushNonPosted(KIND_DMWR32, mps, load<u32>(PARAMS, PARAM_WRITE_SPLIT), address, bytes, data, cause);
  } else pushWrites(address, bytes, data, cause);
}

/**
 * Memory Writes, cut by MPS, 4 KiB and `writeSplit`; answers how many. The hottest loop of the core: what is the same for
 * a whole 4 KiB page (address half, header format, overhead) is worked out once, and a descriptor takes six stores.
 */
export function pushWrites(address: u64, bytes: u32, data: usize, cause: u32): u32 {
  const isUncut = bytes <= load<u32>(PARAMS, PARAM_UNCUT);
  const limit = isUncut ? <u32>PAGE_BYTES : load<u32>(PARAMS, PARAM_MPS);
  const policy = isUncut ? <u32>SPLIT_ALIGNED : load<u32>(PARAMS, PARAM_WRITE_SPLIT);
  const bits = load<u32>(PARAMS, PARAM_HEADER_BITS);
  const requester = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  const payload = payloadBytes(<u32>address, bytes);
  const from = origin();
  let left = bytes;
  let count: u32 = 0;
  let wide: u32 = 0;
  do {
    const high = <u32>(address >> 32);
    const isWide = high != 0;
    const kind: u32 = isWide ? KIND_MWR64 : KIND_MWR32;
    const word0 = (fmtTypeOf(kind) << 24) | bits;
    const overhead = overheadOf(isWide);
    const before = count;
    let low = <u32>address;
    let room = min(left, <u32>PAGE_BYTES - (low & (PAGE_BYTES - 1)));
    address += room;
    left -= room;
    do {
      const piece = requestPiece(low, room, limit, policy);
      const isWhole = ((low | piece) & 3) == 0 && piece > 4;
      const length = isWhole ? piece >> 2 : lengthDw(low, piece);
      const enables = isWhole ? 0xff : byteEnables(low, piece);
      Form.tlp(
        descriptorAt(count),
        word0 | (length & 0x3ff),
        requester | enables, // posted writes need no tag (2.2.6.2)
        isWide ? <u64>high | ((<u64>(low & ~3)) << 32) : <u64>(low & ~3),
        data - (low & 3),
        length << 2,
        kind | (from & 0xff00),
        from >> 16,
        cause,
        overhead + (length << 2),
      );
      count += 1;
      low += piece;
      data += piece;
      room -= piece;
    } while (room > 0);
    if (isWide) wide += count - before;
  } while (left > 0);
  pushed(count);
  countRequests(count, payload + count * overheadOf(false) + (wide << 2), payload);
  return count;
}

/** Data of posted writes in whole DWs: every cut inside a write is at a DW, so only the ends add to the `bytes`. */
export function payloadBytes(address: u32, bytes: u32): u32 {
  return lengthDw(address, bytes) << 2;
}

/** Wire bytes of a memory write beside its data: framing, sequence number, header, LCRC. */
export function overheadOf(isWide: bool): u32 {
  return TLP_OVERHEAD_BYTES + (isWide ? 16 : 12);
}

/** The write of the CPU that needs no loop: whole DWs, at least two, in one TLP. A class for the decorator; see `Form`. */
export class Single {
  @inline
  static fits(address: u32, bytes: u32): bool {
    const mps = load<u32>(PARAMS, PARAM_MPS);
    // At multiples of MPS no policy cuts, and none of them is a 4 KiB border.
    return ((address | bytes) & 3) == 0 && bytes > 4 && (address & (mps - 1)) + bytes <= mps;
  }

  /** Forms the TLP in the next free descriptor and leaves it there: nobody keeps it. Returns its wire bytes. */
  @inline
  static form(address: u64, bytes: u32, data: usize, cause: u32): u32 {
    const high = <u32>(address >> 32);
    const low = <u32>address;
    const isWide = high != 0;
    const kind: u32 = isWide ? KIND_MWR64 : KIND_MWR32;
    const wire = overheadOf(isWide) + bytes;
    Form.tlp(
      descriptorAt(0),
      (fmtTypeOf(kind) << 24) | load<u32>(PARAMS, PARAM_HEADER_BITS) | ((bytes >> 2) & 0x3ff),
      (load<u32>(PARAMS, PARAM_REQUESTER) << 16) | 0xff,
      isWide ? <u64>high | ((<u64>low) << 32) : <u64>low,
      data,
      bytes,
      kind,
      SLOT_NONE,
      cause,
      wire,
    );
    return wire;
  }
}

/**
 * Memory Reads, or Deferrable Memory Writes (`kind32`), cut by `limit`, 4 KiB and `policy`. Each has a tag and waits for
 * its completion.
 */
function pushNonPosted(
  kind32: u32,
  limit: u32,
  policy: u32,
  address: u64,
  bytes: u32,
  data: usize,
  cause: u32,
): void {
  const uncut = load<u32>(PARAMS, PARAM_UNCUT);
  const bits = load<u32>(PARAMS, PARAM_HEADER_BITS);
  const requester = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  const live = load<u32>(PARAMS, PARAM_MODE) >= <u32>MODE_LIVE;
  const isRead = kind32 == KIND_MRD32;
  let left = bytes;
  do {
    const low = <u32>address;
    const piece = left <= uncut ? wholePiece(low, left) : requestPiece(low, left, limit, policy);
    const length = lengthDw(low, piece);
    const enables = byteEnables(low, piece);
    if (live && isRead) expectRead(nextTag, data, piece);
    const from: usize = isRead ? 0 : data - (low & 3);
    const at = pushRequest(kind32, address, length, enables, requester | takeTag(), bits, from, cause);
    countRequests(1, load<u32>(at, DESCRIPTOR_WIRE), load<u32>(at, DESCRIPTOR_BYTES));
    if (!live) {
      if (isRead) countReadCompletions(low & ~3, length);
      else countCompletion(0);
    }
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
export function takeTag(): u32 {
  const tag = nextTag;
  nextTag = (nextTag + 1) & 0xff;
  return tag << 8;
}
