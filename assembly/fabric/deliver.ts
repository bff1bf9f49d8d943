import { copyBytes, PARAMS } from '../kernel/arena';
import { isWaiting, lastStatus, pushRecord, recordCount, roomForRecord, takeServed } from '../kernel/records';
import {
  delivered,
  head,
  popDescriptor,
  pushDescriptor,
  reservePayload,
  slotAt,
  tail,
} from '../kernel/rings';
import {
  CPL_SC,
  CPL_UR,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_FLAGS,
  DESCRIPTOR_H0,
  DESCRIPTOR_H1,
  DESCRIPTOR_H2,
  DESCRIPTOR_KIND,
  DESCRIPTOR_PAYLOAD,
  DESCRIPTOR_SLOT,
  DESCRIPTOR_STRIDE,
  DESCRIPTOR_WIRE,
  FLAG_PASSING,
  FLAG_UPSTREAM,
  FUNCTION_ID,
  KIND_CFGRD0,
  KIND_CFGWR0,
  KIND_CPL,
  KIND_CPLDLK,
  KIND_DMWR32,
  KIND_DMWR64,
  KIND_MRD32,
  KIND_MRD64,
  KIND_MWR32,
  KIND_MWR64,
  ORIGIN_CPU,
  PARAM_COMPLETION_POLICY,
  PARAM_MPS,
  PARAM_ORIGIN,
  PARAM_RCB,
  RECORD_CONFIG_READ,
  RECORD_CONFIG_WRITE,
  RECORD_DATA,
  RECORD_KIND,
  RECORD_READ,
  RECORD_REQUEST,
  RECORD_SLOT,
  RECORD_WRITE,
  SLOT_NONE,
  SPACE_CONFIG,
} from '../layout';
import { addressOf, pushCompletion, requestLength } from '../tlp/build';
import { enabledBytes, firstOffset } from '../tlp/bytes';
import { completionPiece } from '../tlp/split';
import { enterFunction, isTimed, leaveContext } from './context';
import {
  functionAt,
  routedBar,
  routedMemory,
  routedOffset,
  routedSlot,
  routeMemory,
  slotById,
  windowHolds,
} from './functions';
import { countCompletion, countDelivered, countUnclaimed, countWrites } from './traffic';
import { toRootComplex } from './upstream';

/** Everybody but a root complex cuts completions at 128 bytes (base specification 2.3.1.1). */
const ENDPOINT_RCB: u32 = 128;

// Outstanding reads by tag: where the next byte goes (u32) and how many are still to come (u32).
const READS: usize = memory.data(256 * 8, 16);

/** CPL_* of the first request, read or not, that was answered with an error since `resetReads`. */
export let readStatus: u32 = CPL_SC;

export function resetReads(): void {
  readStatus = CPL_SC;
}

/** Puts `status` in place of the one so far, which it answers: a completion for somebody else comes. */
export function exchangeStatus(status: u32): u32 {
  const before = readStatus;
  readStatus = status;
  return before;
}

/** Bytes that the read with `tag` still waits for; 0 also for what is no read. */
export function readLeft(tag: u32): u32 {
  return load<u32>(READS + <usize>((tag & 0xff) << 3), 4);
}

/** The request with `tag` wants `bytes` bytes at core address `to`. */
export function expectRead(tag: u32, to: usize, bytes: u32): void {
  const at = READS + <usize>((tag & 0xff) << 3);
  store<u32>(at, <u32>to);
  store<u32>(at, bytes, 4);
}

/**
 * Delivers the TLPs in the ring, those included that arise on the way. False: the host has to serve its records first,
 * then `finishServed` and this function again. Posted writes to device models may still be recorded when it is true.
 */
export function deliverAtOnce(): bool {
  while (tail != head) {
    if (recordCount != 0 && mustWait(slotAt(tail))) return false;
    if (deliverWrites()) continue;
    deliverOne(popDescriptor());
  }
  return !isWaiting;
}

/** Delivers the TLP at descriptor `at`; what it gives rise to is pushed into the ring. */
export function deliverOne(at: usize): void {
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  if (isCompletion(kind)) toRequester(at);
  else if (load<u8>(at, DESCRIPTOR_FLAGS) & FLAG_UPSTREAM) toRootComplex(at, kind);
  else if (kind == KIND_CFGRD0 || kind == KIND_CFGWR0) toConfiguration(at, kind);
  else toFunction(at);
}

export function isCompletion(kind: u32): bool {
  return kind >= <u32>KIND_CPL && kind <= <u32>KIND_CPLDLK;
}

/** With records open: only further posted writes to device models may go on, anything else would overtake them. */
function mustWait(at: usize): bool {
  if (isWaiting || !roomForRecord()) return true;
  const kind: u32 = load<u16>(at, DESCRIPTOR_KIND);
  if (kind != KIND_MWR32 && kind != KIND_MWR64) return true;
  return routeMemory(addressOf(at), load<u32>(at, DESCRIPTOR_BYTES)) && routedMemory != 0;
}

/** The host has served the records: the request that waited gets its completion. */
export function finishServed(): void {
  const record = takeServed();
  if (record == 0) return;
  const request = <usize>load<u32>(record, RECORD_REQUEST);
  if (request == 0) return;
  if (isTimed) {
    enterFunction(request);
    complete(record, request);
    leaveContext();
  } else complete(record, request);
}

function complete(record: usize, request: usize): void {
  const completer = load<u32>(functionAt(load<u16>(record, RECORD_SLOT)), FUNCTION_ID);
  const kind = load<u32>(record, RECORD_KIND);
  const data: usize = load<u32>(record, RECORD_DATA);
  if (lastStatus != CPL_SC) pushError(request, completer, lastStatus);
  else if (kind == RECORD_READ) answerRead(request, data, requestLength(request), completer, true);
  else if (kind == RECORD_CONFIG_READ) {
    // Completions of configuration reads: Byte Count 4, Lower Address 0 (2.3.1.1).
    pushCompletion(request, completer, CPL_SC, 4, 0, 1, data, true);
    countCompletion(4);
  } else {
    pushCompletion(request, completer, CPL_SC, 4, 0, 0, 0, true);
    countCompletion(0);
  }
}

/**
 * The run of posted writes with whole DWs that stands at the tail, as far as one function claims it. Contiguous ones
 * are copied together and counted once: a 4 KiB block of sixteen TLPs is one copy. False: the tail is something else.
 */
function deliverWrites(): bool {
  let at = slotAt(tail);
  // Kind and flags in one: a write of a function goes the other way.
  const kind: u32 = load<u16>(at, DESCRIPTOR_KIND);
  if (kind != KIND_MWR32 && kind != KIND_MWR64) return false;
  let address = addressOf(at);
  let bytes = load<u32>(at, DESCRIPTOR_BYTES);
  if (load<u8>(at, DESCRIPTOR_H1) != 0xff || !routeMemory(address, bytes) || routedMemory == 0) return false;
  const slot = routedSlot;
  const to = routedMemory;
  const from = load<u32>(at, DESCRIPTOR_PAYLOAD);
  let run: u32 = 0;
  let count: u32 = 0;
  let wire: u32 = 0;
  do {
    store<u16>(at, <u16>slot, DESCRIPTOR_SLOT);
    run += bytes;
    count += 1;
    wire += load<u32>(at, DESCRIPTOR_WIRE);
    address += bytes;
    if (tail + count == head) break;
    at = slotAt(tail + count);
    bytes = load<u32>(at, DESCRIPTOR_BYTES);
  } while (
    load<u16>(at, DESCRIPTOR_KIND) == kind &&
    load<u8>(at, DESCRIPTOR_H1) == 0xff &&
    addressOf(at) == address &&
    load<u32>(at, DESCRIPTOR_PAYLOAD) == from + run &&
    windowHolds(address, bytes)
  );
  delivered(count);
  copyBytes(to, from, run);
  countWrites(kind, functionAt(slot), count, wire, run);
  return true;
}

export function toFunction(at: usize): void {
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  const address = addressOf(at);
  const length = requestLength(at);
  if (!routeMemory(address, length << 2)) {
    unclaimed(at, kind);
    return;
  }
  const fn = functionAt(routedSlot);
  store<u16>(at, <u16>routedSlot, DESCRIPTOR_SLOT);
  countDelivered(at, fn);
  if (routedMemory == 0) {
    toModel(at, kind, length);
    return;
  }
  if (kind == KIND_MRD32 || kind == KIND_MRD64) {
    answerRead(at, routedMemory, length, load<u32>(fn, FUNCTION_ID), true);
    return;
  }
  writeEnabled(routedMemory, load<u32>(at, DESCRIPTOR_PAYLOAD), length, load<u32>(at, DESCRIPTOR_H1) & 0xff);
  if (kind == KIND_DMWR32 || kind == KIND_DMWR64) {
    // A Deferrable Memory Write is answered without data; Byte Count 4 as for all such completions (2.2.9).
    pushCompletion(at, load<u32>(fn, FUNCTION_ID), CPL_SC, 4, 0, 0, 0, true);
    countCompletion(0);
  }
}

/** Timed: sends the completion of a peer, which is seen here, down to the function in `slot` that asked for it. */
export function passCompletion(at: usize, slot: u32): void {
  countDelivered(at, functionAt(load<u16>(at, DESCRIPTOR_SLOT)));
  const copy = pushDescriptor();
  memory.copy(copy, at, DESCRIPTOR_STRIDE);
  const flags: u32 = FLAG_PASSING << 8;
  store<u32>(copy, load<u8>(at, DESCRIPTOR_KIND) | flags | (slot << 16), DESCRIPTOR_KIND);
}

/** Configuration space is the host's. A function that is not there answers with Unsupported Request (2.3.1). */
function toConfiguration(at: usize, kind: u32): void {
  const word = load<u32>(at, DESCRIPTOR_H2);
  const slot = slotById(word >> 16);
  if (slot == SLOT_NONE) {
    unclaimed(at, kind);
    return;
  }
  store<u16>(at, <u16>slot, DESCRIPTOR_SLOT);
  countDelivered(at, functionAt(slot));
  const isRead = kind == KIND_CFGRD0;
  const data = isRead ? reservePayload(4, 0) : load<u32>(at, DESCRIPTOR_PAYLOAD);
  const enables = load<u32>(at, DESCRIPTOR_H1) & 0xf;
  const record: u32 = isRead ? RECORD_CONFIG_READ : RECORD_CONFIG_WRITE;
  pushRecord(record, slot, SPACE_CONFIG, word & 0xffc, 4, enables, data, at, true);
}

/** A device model serves the BAR: what it has to do is recorded. */
function toModel(at: usize, kind: u32, length: u32): void {
  const isRead = kind == KIND_MRD32 || kind == KIND_MRD64;
  const posted = kind == KIND_MWR32 || kind == KIND_MWR64;
  const data = isRead ? reservePayload(length << 2, <u32>routedOffset) : load<u32>(at, DESCRIPTOR_PAYLOAD);
  const enables = load<u32>(at, DESCRIPTOR_H1) & 0xff;
  const record: u32 = isRead ? RECORD_READ : RECORD_WRITE;
  const request: usize = posted ? 0 : at;
  pushRecord(record, routedSlot, routedBar, routedOffset, length << 2, enables, data, request, !posted);
}

/** No BAR claims the address: a posted request is dropped, a non-posted one gets Unsupported Request (2.3.1). */
function unclaimed(at: usize, kind: u32): void {
  store<u16>(at, SLOT_NONE, DESCRIPTOR_SLOT);
  countDelivered(at, 0);
  refuse(at, kind, CPL_UR);
}

/** Nobody takes the request: a posted one is dropped, another one is answered with `status`. */
export function refuse(at: usize, kind: u32, status: u32): void {
  const posted = kind == KIND_MWR32 || kind == KIND_MWR64;
  countUnclaimed(posted);
  if (!posted) pushError(at, 0, status);
}

/** Completion without data that says why; Byte Count as if it were the first one of the request (2.2.9). */
function pushError(request: usize, completer: u32, status: u32): void {
  const kind = load<u8>(request, DESCRIPTOR_KIND);
  const enables = load<u32>(request, DESCRIPTOR_H1) & 0xff;
  const isRead = kind == KIND_MRD32 || kind == KIND_MRD64;
  const bytes = isRead ? enabledBytes(requestLength(request), enables & 0xf, enables >> 4) : 4;
  const fromCpu = load<u32>(PARAMS, PARAM_ORIGIN) == ORIGIN_CPU;
  pushCompletion(request, completer, status, bytes, 0, 0, 0, fromCpu);
  countCompletion(0);
}

/** Writes the enabled bytes of `length` DWs. Inner DWs are always whole. */
export function writeEnabled(to: usize, from: usize, length: u32, enables: u32): void {
  const firstBe = enables & 0xf;
  const lastBe = enables >> 4;
  if (length == 1) {
    writeDw(to, from, firstBe);
    return;
  }
  if (enables == 0xff) {
    copyBytes(to, from, length << 2);
    return;
  }
  writeDw(to, from, firstBe);
  copyBytes(to + 4, from + 4, (length - 2) << 2);
  const last = (<usize>(length - 1)) << 2;
  writeDw(to + last, from + last, lastBe);
}

function writeDw(to: usize, from: usize, be: u32): void {
  if (be == 0xf) {
    store<u32>(to, load<u32>(from));
    return;
  }
  // Spread each enable bit over its byte: the four shifted copies leave bit k at bit 8k, times 255 fills the byte.
  const mask: u32 = ((be * 0x204081) & 0x01010101) * 0xff;
  store<u32>(to, (load<u32>(to) & ~mask) | (load<u32>(from) & mask));
}

/** Completes a read of `length` DWs from `from`: one completion or several, as `completionPolicy` says. */
export function answerRead(request: usize, from: usize, length: u32, completer: u32, upstream: bool): void {
  const enables = load<u32>(request, DESCRIPTOR_H1) & 0xff;
  const firstBe = enables & 0xf;
  const mps = load<u32>(PARAMS, PARAM_MPS);
  const policy = load<u32>(PARAMS, PARAM_COMPLETION_POLICY);
  const rcb = upstream ? ENDPOINT_RCB : load<u32>(PARAMS, PARAM_RCB);
  let address = <u32>addressOf(request);
  let left = length;
  let bytes = enabledBytes(length, firstBe, enables >> 4);
  let offset = firstOffset(firstBe);
  while (left > 0) {
    const piece = completionPiece(address, left, mps, rcb, policy);
    const data = reservePayload(piece << 2, address);
    copyBytes(data, from, piece << 2);
    pushCompletion(request, completer, CPL_SC, bytes, (address & 0x7c) | offset, piece, data, upstream);
    countCompletion(piece << 2);
    bytes -= min(bytes, (piece << 2) - offset);
    offset = 0;
    address += piece << 2;
    from += piece << 2;
    left -= piece;
  }
}

/** A completion came back to its requester: its bytes go where the read wants them; an error reads as all ones (2.3.2). */
function toRequester(at: usize): void {
  const slot = load<u16>(at, DESCRIPTOR_SLOT);
  countDelivered(at, slot == SLOT_NONE ? 0 : functionAt(slot));
  takeCompletion(at);
}

/** The bytes of a completion alone: one that passed through was counted on its way. */
export function takeCompletion(at: usize): void {
  const word = load<u32>(at, DESCRIPTOR_H2);
  const entry = READS + <usize>((word >> 8) & 0xff) * 8;
  const to = load<u32>(entry);
  const left = load<u32>(entry, 4);
  const status = (load<u32>(at, DESCRIPTOR_H1) >> 13) & 7;
  if (readStatus == CPL_SC) readStatus = status;
  if (left == 0) return; // of a write
  if (status != CPL_SC) {
    memory.fill(to, 0xff, left);
    store<u32>(entry, 0, 4);
    return;
  }
  const skip = word & 3;
  const length = load<u32>(at, DESCRIPTOR_H0) & 0x3ff;
  const bytes = min(left, ((length == 0 ? 1024 : length) << 2) - skip);
  copyBytes(to, load<u32>(at, DESCRIPTOR_PAYLOAD) + skip, bytes);
  store<u32>(entry, <u32>to + bytes);
  store<u32>(entry, left - bytes, 4);
}

/** Completions of a read that is only counted, not performed: `length` DWs from bus address `address`. */
export function countReadCompletions(address: u32, length: u32): void {
  const mps = load<u32>(PARAMS, PARAM_MPS);
  const policy = load<u32>(PARAMS, PARAM_COMPLETION_POLICY);
  let left = length;
  while (left > 0) {
    const piece = completionPiece(address, left, mps, ENDPOINT_RCB, policy);
    countCompletion(piece << 2);
    address += piece << 2;
    left -= piece;
  }
}
