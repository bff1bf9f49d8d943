// Floor 5: what the root complex does with a request of a function: translates it, decides about No Snoop, and performs it.
//
//   decide    what becomes of the request, as the tables stand now
//   perform   does it: at once, or in a timed machine when the translation is there
//
// Requests go to host memory, to a BAR of a peer, or are interrupt messages.

import { Unit } from '../iommu/control';
import { isCoherent, noSnoopOut } from '../iommu/snoop';
import { ownList } from '../iommu/tables';
import { RESULT, unitAt } from '../iommu/units';
import { dmaEvent, isDirect, isMessagePage, LOST, MESSAGE, REFUSED, translate } from '../iommu/zpci';
import {
  PASID_NONE,
  REQUEST_PRIVILEGED,
  REQUEST_TRANSLATED,
  REQUEST_WRITE,
  RESULT_ADDRESS,
  RESULT_CACHE,
  RESULT_FORCES_SNOOP,
  RESULT_TYPE,
  TRANSLATED,
  TRANSLATION_MESSAGE,
  TYPE_COHERENT,
  TYPE_UNCACHEABLE,
  UNIT_KIND,
  UNIT_SMMU,
} from '../iommu-layout';
import { hostBytes, hostMemory, PARAMS } from '../kernel/arena';
import { linesHeld, snoopWrite, swapLines } from '../kernel/host-cache';
import { pushRecord } from '../kernel/records';
import { pushDescriptor } from '../kernel/rings';
import {
  CPL_CA,
  CPL_UR,
  DESCRIPTOR_FLAGS,
  DESCRIPTOR_H0,
  DESCRIPTOR_H1,
  DESCRIPTOR_H2,
  DESCRIPTOR_H3,
  DESCRIPTOR_KIND,
  DESCRIPTOR_PAYLOAD,
  DESCRIPTOR_PREFIX,
  DESCRIPTOR_SLOT,
  DESCRIPTOR_STRIDE,
  DESCRIPTOR_WIRE,
  FLAG_DENIED,
  FLAG_NON_COHERENT,
  FLAG_PASSING,
  FLAG_SNOOPED,
  FLAG_STRIPPED,
  FLAG_UPSTREAM,
  FUNCTION_ID,
  FUNCTION_STATE,
  FUNCTION_UNIT,
  KIND_MRD32,
  KIND_MRD64,
  PARAM_HONOURS,
  PARAM_MESSAGE_END,
  PARAM_MESSAGE_LO,
  RECORD_MESSAGE,
  SLOT_NONE,
  STATE_ENABLED,
} from '../layout';
import { addressOf, requestLength } from '../tlp/build';
import { enabledBytes, firstOffset } from '../tlp/bytes';
import { fmtTypeOf, isFourDw } from '../tlp/kinds';
import { isTimed } from './context';
import { answerRead, refuse, toFunction, writeEnabled } from './deliver';
import { raiseEvent } from './events';
import { functionAt, routeMemory } from './functions';
import { countDelivered, countSnoop } from './traffic';

/** What becomes of a request. */
const TO_MEMORY: u32 = 0;
const TO_PEER: u32 = 1;
const IS_MESSAGE: u32 = 2;
const IS_UNSUPPORTED: u32 = 3;
const IS_ABORTED: u32 = 4; // by an SMMU
const IS_LOST: u32 = 5; // a write that disappears (QEMU 7.2)
const IS_ONES: u32 = 6; // a read of the MSI page of a zPCI function
const IS_NOTHING: u32 = 7; // a message that nobody takes

/** What the last look decided, and where the first DW of the request goes. */
export let outcome: u32 = 0;
export let outcomeAddress: u64 = 0;
/** Caches are asked about it. */
export let isSnooped: bool = true;
/** How the unit found the page (CACHE_*), and of whom and which it is: the walk that others wait for, too. */
export let pageCache: u32 = 0;

/** What a read of the MSI page gives. */
const ONES: usize = memory.data(4096, 16);
/** Bus 0, device 0, function 0. */
const ROOT_COMPLEX_ID: u32 = 0;
const NO_SNOOP: u32 = 1 << 12;
const PASID_BITS: u32 = 0xfffff;
const PASID_PRIVILEGED: u32 = 1 << 21;

/** A request of a function arrived: performs it at once. */
export function toRootComplex(at: usize, kind: u32): void {
  decide(at, kind);
  perform(at, kind);
}

/** The decision about a request that waited for its translation. */
export function restoreOutcome(what: u32, address: u64, snooped: bool): void {
  outcome = what;
  outcomeAddress = address;
  isSnooped = snooped;
}

/** The request goes to host memory. */
export function usesMemory(): bool {
  return outcome == TO_MEMORY;
}

/** AT of the first header DW: 10b is an address that the device's own cache has translated. */
const ADDRESS_TYPE: u32 = 3 << 10;
const AT_TRANSLATED: u32 = 2 << 10;

/** Finds out what becomes of the request at descriptor `at`, marks it and counts it. */
export function decide(at: usize, kind: u32): void {
  const slot = load<u16>(at, DESCRIPTOR_SLOT);
  const fn = functionAt(slot);
  const isRead = kind == KIND_MRD32 || kind == KIND_MRD64;
  const address = addressOf(at);
  const bytes = requestLength(at) << 2;
  const unit = load<u32>(fn, FUNCTION_UNIT);
  pageCache = 0;
  isSnooped = true;
  if (unit != 0) byUnit(at, fn, unit - 1, isRead, address, bytes);
  else if (load<u32>(at, DESCRIPTOR_PREFIX) != 0) {
    // Nothing here can tell process address spaces apart: that takes an IOMMU (6.20).
    outcome = IS_UNSUPPORTED;
  } else if (!isDirect(slot)) {
    byTables(at, slot, fn, isRead, address, bytes);
    return;
  } else if (!isRead && isMessagePage(slot, address)) {
    outcome = IS_MESSAGE;
    outcomeAddress = address;
  } else {
    goTo(address, bytes, isRead);
    snoop(at, fn, bytes, false, true, true);
  }
  countDelivered(at, fn);
}

/** Who has `address`. */
function goTo(address: u64, bytes: u32, isRead: bool): void {
  outcomeAddress = address;
  if (!isRead && isMessage(address)) outcome = IS_MESSAGE;
  else if (address < hostBytes && bytes <= hostBytes - <u32>address) outcome = TO_MEMORY;
  else outcome = routeMemory(address, bytes) ? TO_PEER : IS_UNSUPPORTED;
}

/** Memory writes here are interrupts (MSI, MSI-X): the range of the platform. */
function isMessage(address: u64): bool {
  return address >= load<u32>(PARAMS, PARAM_MESSAGE_LO) && address < load<u32>(PARAMS, PARAM_MESSAGE_END);
}

/** Decides about No Snoop: of requests for host memory alone. With `counts` false the attribute means nothing. */
function snoop(at: usize, fn: usize, bytes: u32, isForced: bool, isCacheable: bool, counts: bool): void {
  if (outcome != TO_MEMORY) return;
  const noSnoop = (load<u32>(at, DESCRIPTOR_H0) & NO_SNOOP) != 0;
  const out = noSnoopOut(noSnoop, isForced);
  isSnooped = isCoherent(out, isCacheable, counts && load<u32>(PARAMS, PARAM_HONOURS) != 0);
  const isStripped = noSnoop && !out;
  mark(at, isSnooped ? FLAG_SNOOPED : FLAG_NON_COHERENT);
  if (isStripped) mark(at, FLAG_STRIPPED);
  countSnoop(fn, bytes, isSnooped, isStripped);
}

function mark(at: usize, flag: u32): void {
  store<u8>(at, load<u8>(at, DESCRIPTOR_FLAGS) | flag, DESCRIPTOR_FLAGS);
}

/** A request of a function behind a translation unit. */
function byUnit(at: usize, fn: usize, index: u32, isRead: bool, address: u64, bytes: u32): void {
  const prefix = load<u32>(at, DESCRIPTOR_PREFIX);
  const pasid = prefix == 0 ? <u32>PASID_NONE : prefix & PASID_BITS;
  const flags: u32 =
    (isRead ? 0 : REQUEST_WRITE) |
    (prefix & PASID_PRIVILEGED ? REQUEST_PRIVILEGED : 0) |
    ((load<u32>(at, DESCRIPTOR_H0) & ADDRESS_TYPE) == AT_TRANSLATED ? REQUEST_TRANSLATED : 0);
  ownList(0);
  const status = Unit.translate(index, load<u32>(fn, FUNCTION_ID), pasid, address, flags);
  pageCache = load<u32>(RESULT, RESULT_CACHE);
  if (status == TRANSLATED) {
    goTo(load<u64>(RESULT, RESULT_ADDRESS), bytes, isRead);
    const type = load<u32>(RESULT, RESULT_TYPE);
    const isForced = load<u32>(RESULT, RESULT_FORCES_SNOOP) != 0;
    snoop(at, fn, bytes, isForced, (type & TYPE_UNCACHEABLE) == 0, (type & TYPE_COHERENT) == 0);
    return;
  }
  outcomeAddress = address;
  if (status == TRANSLATION_MESSAGE) {
    outcome = IS_MESSAGE;
    return;
  }
  mark(at, FLAG_DENIED);
  outcome = load<u32>(unitAt(index), UNIT_KIND) == UNIT_SMMU ? IS_ABORTED : IS_UNSUPPORTED;
}

/** A request of a zPCI function (zpci.md 5.6, 6.4): translated, an interrupt message, or refused with or without an event. */
function byTables(at: usize, slot: u32, fn: usize, isRead: bool, address: u64, bytes: u32): void {
  const state = load<u32>(fn, FUNCTION_STATE);
  // Only the bytes that are enabled have to lie in the range.
  const enables = load<u32>(at, DESCRIPTOR_H1) & 0xff;
  const skip = firstOffset(enables & 0xf);
  const count = enabledBytes(bytes >> 2, enables & 0xf, enables >> 4);
  const found = translate(slot, state, address + skip, max(count, 1), isRead);
  if (found == LOST) outcome = IS_LOST;
  else if (found == MESSAGE) {
    outcomeAddress = address;
    outcome = isRead ? IS_ONES : state == STATE_ENABLED ? IS_MESSAGE : IS_NOTHING;
  } else if (found == REFUSED) {
    mark(at, FLAG_DENIED);
    if (dmaEvent != 0) raiseEvent(fn, dmaEvent, address + skip, isRead);
    outcome = IS_UNSUPPORTED;
  } else {
    // A frame outside host memory reaches nobody.
    outcomeAddress = found - skip;
    const isHost = outcomeAddress < hostBytes && bytes <= hostBytes - <u32>outcomeAddress;
    outcome = isHost ? TO_MEMORY : IS_UNSUPPORTED;
    snoop(at, fn, bytes, false, true, true);
  }
  countDelivered(at, fn);
}

/** Does what `decide` found out about the request at `at`. */
export function perform(at: usize, kind: u32): void {
  switch (outcome) {
    case TO_MEMORY:
      if (isSnooped || linesHeld == 0) access(at, kind);
      else {
        const bytes = requestLength(at) << 2;
        const first = <u32>outcomeAddress;
        swapLines(first, bytes);
        access(at, kind);
        swapLines(first, bytes);
      }
      return;
    case TO_PEER:
      toPeer(at);
      return;
    case IS_MESSAGE:
      recordMessage(at, outcomeAddress, requestLength(at) << 2);
      return;
    case IS_ONES:
      memory.fill(ONES, 0xff, 4096);
      answerRead(at, ONES, requestLength(at), ROOT_COMPLEX_ID, false);
      return;
    case IS_UNSUPPORTED:
      refuse(at, kind, CPL_UR);
      return;
    case IS_ABORTED:
      refuse(at, kind, CPL_CA);
      return;
    default:
      return;
  }
}

function access(at: usize, kind: u32): void {
  const first = <u32>outcomeAddress;
  const place = hostMemory + <usize>first;
  const length = requestLength(at);
  if (kind == KIND_MRD32 || kind == KIND_MRD64) {
    answerRead(at, place, length, ROOT_COMPLEX_ID, false);
    return;
  }
  if (linesHeld != 0 && isSnooped) snoopWrite(first, length << 2);
  writeEnabled(place, load<u32>(at, DESCRIPTOR_PAYLOAD), length, load<u32>(at, DESCRIPTOR_H1) & 0xff);
}

/** The request turns round at the root complex. In a timed machine it goes down the other link, and is seen there. */
function toPeer(at: usize): void {
  if (!isTimed) {
    store<u8>(at, 0, DESCRIPTOR_FLAGS);
    readdress(at);
    toFunction(at);
    return;
  }
  const copy = pushDescriptor();
  memory.copy(copy, at, DESCRIPTOR_STRIDE);
  readdress(copy);
  store<u32>(copy, load<u8>(copy, DESCRIPTOR_KIND) | ((<u32>SLOT_NONE) << 16), DESCRIPTOR_KIND);
  store<u8>(at, FLAG_UPSTREAM | FLAG_PASSING, DESCRIPTOR_FLAGS);
}

/** Behind the root complex a request has the address that it was translated to, and no PASID. */
function readdress(at: usize): void {
  const prefix = load<u32>(at, DESCRIPTOR_PREFIX);
  if (outcomeAddress == addressOf(at) && prefix == 0) return;
  const isWide = outcomeAddress >> 32 != 0;
  const wasWide = isFourDw(load<u32>(at, DESCRIPTOR_H0) >>> 24);
  const kind = (load<u8>(at, DESCRIPTOR_KIND) & ~1) | (isWide ? 1 : 0);
  const wire = load<u32>(at, DESCRIPTOR_WIRE) + (isWide ? 4 : 0) - (wasWide ? 4 : 0) - (prefix != 0 ? 4 : 0);
  const low = <u32>outcomeAddress;
  store<u8>(at, kind, DESCRIPTOR_KIND);
  store<u32>(at, 0, DESCRIPTOR_PREFIX);
  store<u32>(at, (load<u32>(at, DESCRIPTOR_H0) & 0x00ff_ffff) | (fmtTypeOf(kind) << 24), DESCRIPTOR_H0);
  store<u32>(at, isWide ? <u32>(outcomeAddress >> 32) : low, DESCRIPTOR_H2);
  store<u32>(at, isWide ? low : 0, DESCRIPTOR_H3);
  store<u32>(at, wire, DESCRIPTOR_WIRE);
}

function recordMessage(at: usize, address: u64, bytes: u32): void {
  const data = load<u32>(at, DESCRIPTOR_PAYLOAD);
  const slot = load<u16>(at, DESCRIPTOR_SLOT);
  pushRecord(RECORD_MESSAGE, slot, 0, address, bytes, 0, data, 0, false);
}
