// Floor 6: PCI STORE BLOCK. One guest instruction moves up to 4 KiB: checks in the order of sheet zpci.md 2.7, then Memory
// Writes for a native function or device calls for an emulated one.

import { callDevice, deviceCalls } from '../fabric/call';
import { finishServed } from '../fabric/deliver';
import { barAt, functionAt, routedMemory, routedSlot, routeMemory, slotOf } from '../fabric/functions';
import { overheadOf, payloadBytes, pushWrites, Single } from '../fabric/request';
import { countWrites } from '../fabric/traffic';
import { deliverAll } from '../fabric/transport';
import { copyBytes, hostBytes, hostMemory, PARAMS } from '../kernel/arena';
import { lastStatus, pushRecord } from '../kernel/records';
import { rewindRing, stage } from '../kernel/rings';
import {
  ANSWER_HOST,
  BAR_BASE,
  BAR_BYTES,
  BAR_IMPL,
  BAR_MEMORY,
  BAR_SERVER,
  BAR_VALID,
  CPL_SC,
  FUNCTION_DEVICE_CALLS,
  FUNCTION_HOST_WIDTH,
  FUNCTION_MAXSTBL,
  FUNCTION_STORE_BLOCKS,
  FUNCTION_ZPCI_FLAGS,
  INSTRUCTION_MIO,
  INSTRUCTION_PCISTB,
  INSTRUCTION_PCISTG,
  KIND_MWR32,
  KIND_MWR64,
  MODE_LIVE,
  OPERAND_ADDRESS,
  PARAM_MODE,
  PCISTB_LENGTH_MASK,
  PE_ADDRESSING,
  PE_OPERAND,
  PE_PRIVILEGED,
  RECORD_CALL_WRITE,
  SERVED_BY_HOST,
  STAGE_FIRST,
  STORE_FROM_MEMORY,
  STORE_IN_PLACE,
  STORE_PROBLEM_STATE,
  ZPCI_ASKS,
  ZPCI_EMULATED,
  ZPCI_HOST_MIO,
  ZPCI_INTERCEPTED,
} from '../layout';
import { ask } from './ask';
import { deliverLive, findEnabled } from './live';
import { checkCapable, checkMio, findMio, mioOffset, mioSpace } from './mio';
import {
  blockPiece,
  checkBlockForm,
  checkBlockSpace,
  checkRegion,
  checkState,
  DONE,
  insideBar,
  interruption,
  NO_FUNCTION,
} from './rules';

const SPACE_MASK: u32 = 0xf;

/**
 * One PCISTB. `spaceAndFlags`: address space in bits 3:0, STORE_* above. `source` is a guest address with
 * STORE_FROM_MEMORY; else its low bits serve the alignment rule and the bytes stand staged in the payload ring.
 * Answers cc | status << 8 | program interruption code << 16.
 *
 * With STORE_IN_PLACE the bytes are still the host's: the answer of a store that is done is the core address (above
 * ANSWER_LIMIT) where the host puts them, or STAGE_FIRST when the TLPs have to carry them and nothing happened yet.
 */
export function storeBlock(handle: u32, spaceAndFlags: u32, lengthField: u32, offset: u64, source: u64): u32 {
  // The operand length has 13 bits; what stands above them is ignored.
  const length = lengthField & PCISTB_LENGTH_MASK;
  if (spaceAndFlags & STORE_PROBLEM_STATE) return interruption(PE_PRIVILEGED);
  if (spaceAndFlags & OPERAND_ADDRESS) return storeByAddress(spaceAndFlags, lengthField, offset, source);
  const fn = findEnabled(handle);
  if (fn == 0) return NO_FUNCTION;
  let answer = checkState(fn);
  if (answer != DONE) return answer;
  const space = spaceAndFlags & SPACE_MASK;
  answer = checkBlockSpace(space);
  return answer == DONE ? storeAt(fn, space, spaceAndFlags, length, offset, source) : answer;
}

/** The MIO form: the length is a register of its own, of which nothing is ignored. */
function storeByAddress(flags: u32, length: u32, address: u64, source: u64): u32 {
  const fn = findMio(address);
  if (fn == 0) return interruption(PE_ADDRESSING);
  const offset = mioOffset;
  const space = mioSpace;
  const answer = checkMio(fn);
  return answer == DONE ? storeAt(fn, space, flags, length, offset, source) : answer;
}

/** Behind handle, state and space: model, form, region, source, then the store. */
function storeAt(fn: usize, space: u32, spaceAndFlags: u32, length: u32, offset: u64, source: u64): u32 {
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  if (flags & ZPCI_ASKS && !wasAsked) {
    // The question goes to the host, and so do the bytes.
    if (spaceAndFlags & STORE_IN_PLACE) return STAGE_FIRST;
    // A VMM passes a block on in instructions of the host: those are asked for, one by one.
    if (flags & ZPCI_EMULATED || !(flags & ZPCI_INTERCEPTED))
      return askBlock(fn, space, spaceAndFlags, length, offset, source);
  }
  let answer = checkBlockForm(flags, load<u32>(fn, FUNCTION_MAXSTBL), <u32>offset, length, <u32>source);
  if (answer != DONE) return answer;
  const bar = barAt(fn, space);
  if (!insideBar(load<u64>(bar, BAR_BYTES), offset, length)) return interruption(PE_OPERAND);
  if (flags & ZPCI_EMULATED) {
    answer = checkRegion(<u32>offset, length, load<u32>(bar, BAR_VALID));
    if (answer != DONE) return answer;
  }
  let data: usize;
  if (spaceAndFlags & STORE_FROM_MEMORY) {
    // Also catches a source that wraps around: both sums stay below 2^64 only for addresses inside the memory.
    // A store of nothing looks at no byte of it.
    if (length != 0 && (source >= hostBytes || length > hostBytes - <u32>source))
      return interruption(PE_ADDRESSING);
    data = hostMemory + <usize>source;
    if (load<u32>(PARAMS, PARAM_MODE) != MODE_LIVE) {
      // TLPs may point at the source itself only while nobody keeps them.
      const from = data;
      data = stage(length, <u32>offset);
      copyBytes(data, from, length);
    }
  } else if (spaceAndFlags & STORE_IN_PLACE) {
    if (length != 0) {
      if (flags & (ZPCI_EMULATED | ZPCI_INTERCEPTED) || load<u32>(PARAMS, PARAM_MODE) != MODE_LIVE)
        return STAGE_FIRST;
      const address = load<u64>(bar, BAR_BASE) + offset;
      if (!routeMemory(address, length) || routedMemory == 0) return STAGE_FIRST;
      sendRouted(address, length, routedMemory);
    }
    countStore(fn);
    return length == 0 ? DONE : <u32>routedMemory;
  } else {
    data = stage(length, <u32>offset);
  }
  if (length != 0) {
    const address = load<u64>(bar, BAR_BASE) + offset;
    if (flags & ZPCI_EMULATED) {
      if (load<u32>(bar, BAR_SERVER) == SERVED_BY_HOST) {
        beginPieces(FOR_CALL, fn, bar, space, offset, length, data);
        return nextCall();
      }
      callPieces(fn, bar, <u32>offset, length, data);
    } else if (flags & ZPCI_INTERCEPTED && flags & ZPCI_ASKS) {
      beginPieces(FOR_PIECE, fn, bar, space, offset, length, data);
      return nextPiece();
    } else if (flags & ZPCI_INTERCEPTED) answer = passOn(fn, address, <u32>offset, length, data);
    else answer = sendBlock(address, length, data);
  }
  countStore(fn);
  return answer;
}

/** A PCISTB ended with condition code 0: one more in the measurement block. */
function countStore(fn: usize): void {
  store<f64>(fn, load<f64>(fn, FUNCTION_STORE_BLOCKS) + 1, FUNCTION_STORE_BLOCKS);
}

/** Native: validity is known, so the TLPs leave and condition code 0 does not wait for them. */
function sendBlock(address: u64, length: u32, data: usize): u32 {
  if (load<u32>(PARAMS, PARAM_MODE) == MODE_LIVE && routeMemory(address, length) && routedMemory != 0) {
    copyBytes(routedMemory, data, length);
    sendRouted(address, length, data);
    return DONE;
  }
  pushWrites(address, length, data, 0);
  return deliverLive();
}

/**
 * The TLPs of a block that `routeMemory` has just given to one function and whose bytes are, or will be, in place. They
 * are formed and counted; nobody keeps them, so nobody has to read their descriptors back.
 */
function sendRouted(address: u64, length: u32, data: usize): void {
  const low = <u32>address;
  const isWide = address >> 32 != 0;
  const kind: u32 = isWide ? KIND_MWR64 : KIND_MWR32;
  const fn = functionAt(routedSlot);
  if (Single.fits(low, length)) {
    countWrites(kind, fn, 1, Single.form(address, length, data, 0), length);
    return;
  }
  const count = pushWrites(address, length, data, 0);
  const payload = payloadBytes(low, length);
  countWrites(kind, fn, count, payload + count * overheadOf(isWide), payload);
  rewindRing();
}

/** vfio: QEMU passes each doubleword on in a pwrite, and the host kernel cuts that to its own width (zpci.md 8.2). */
function passOn(fn: usize, address: u64, offset: u32, length: u32, data: usize): u32 {
  const width = load<u32>(fn, FUNCTION_HOST_WIDTH);
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  const isMio = (flags & ZPCI_HOST_MIO) != 0;
  let done: u32 = 0;
  while (done < length) {
    const piece = blockPiece(offset + done, length - done);
    // Pieces are naturally aligned powers of two: the kernel halves what is wider than it may be.
    const step = width == 0 ? piece : min(piece, width);
    for (let at: u32 = 0; at < piece; at += step) {
      if (isMio && checkCapable(fn, flags) != DONE) continue;
      pushWrites(address + done + at, step, data + done + at, 0);
    }
    done += piece;
  }
  return deliverLive();
}

/** Emulated: doubleword by doubleword in ascending order, each as the device calls its region wants. */
function callPieces(fn: usize, bar: usize, offset: u32, length: u32, data: usize): void {
  const memoryAt: usize = load<u32>(bar, BAR_MEMORY);
  const barBytes = <u32>load<u64>(bar, BAR_BYTES);
  const impl = load<u32>(bar, BAR_IMPL);
  let calls: u32 = 0;
  let done: u32 = 0;
  while (done < length) {
    const piece = blockPiece(offset + done, length - done);
    callDevice(memoryAt, barBytes, offset + done, data + done, piece, impl, false);
    calls += deviceCalls(piece, impl);
    done += piece;
  }
  store<f64>(fn, load<f64>(fn, FUNCTION_DEVICE_CALLS) + <f64>calls, FUNCTION_DEVICE_CALLS);
}

// What a store waits for, and where it goes on. A store to a BAR that a device model serves, or one that a VMM passes on
// to a model that accepts instructions, goes piece by piece: the host answers each before the next one is asked.
const FOR_NOTHING: u32 = 0;
const FOR_CALL: u32 = 1;
const FOR_PIECE: u32 = 2;
const FOR_BLOCK: u32 = 3;
let waitsFor: u32 = FOR_NOTHING;
let callFn: usize = 0;
let callBar: usize = 0;
let callSpace: u32 = 0;
let callOffset: u64 = 0;
let callLeft: u32 = 0;
let callData: usize = 0;

// The operands of a store whose model was asked, and that it was.
let askedFn: usize = 0;
let askedSpace: u32 = 0;
let askedSpaceAndFlags: u32 = 0;
let askedLength: u32 = 0;
let askedOffset: u64 = 0;
let askedSource: u64 = 0;
let wasAsked: bool = false;

/** Nothing waits: a reset. */
export function dropStore(): void {
  waitsFor = FOR_NOTHING;
  wasAsked = false;
}

function askBlock(fn: usize, space: u32, spaceAndFlags: u32, length: u32, offset: u64, source: u64): u32 {
  waitsFor = FOR_BLOCK;
  askedFn = fn;
  askedSpace = space;
  askedSpaceAndFlags = spaceAndFlags;
  askedLength = length;
  askedOffset = offset;
  askedSource = source;
  const form: u32 = spaceAndFlags & OPERAND_ADDRESS ? INSTRUCTION_MIO : 0;
  ask(fn, INSTRUCTION_PCISTB + form, space, offset, length);
  return ANSWER_HOST;
}

function beginPieces(
  what: u32,
  fn: usize,
  bar: usize,
  space: u32,
  offset: u64,
  length: u32,
  data: usize,
): void {
  waitsFor = what;
  callFn = fn;
  callBar = bar;
  callSpace = space;
  callOffset = offset;
  callLeft = length;
  callData = data;
}

/** Size of the next PCISTG with which the host passes a block on. */
function hostPiece(): u32 {
  const width = load<u32>(callFn, FUNCTION_HOST_WIDTH);
  const piece = blockPiece(<u32>callOffset, callLeft);
  return width == 0 ? piece : min(piece, width);
}

/** Asks for the next PCISTG of the host, behind what was sent before it; or answers when there is none. */
function nextPiece(): u32 {
  if (callLeft == 0) {
    waitsFor = FOR_NOTHING;
    countStore(callFn);
    return deliverLive();
  }
  deliverAll();
  const form: u32 = load<u32>(callFn, FUNCTION_ZPCI_FLAGS) & ZPCI_HOST_MIO ? INSTRUCTION_MIO : 0;
  ask(callFn, INSTRUCTION_PCISTG + form, callSpace, callOffset, hostPiece());
  return ANSWER_HOST;
}

/**
 * Sends the piece, if the model accepted it. A host instruction that fails is an error of the VMM's system call, which the
 * guest is not told: its instruction ends with condition code 0 (QEMU 7.2 hw/vfio/common.c reports it in its log).
 */
function sendPiece(): void {
  const piece = hostPiece();
  if (lastStatus == DONE) pushWrites(load<u64>(callBar, BAR_BASE) + callOffset, piece, callData, 0);
  callOffset += piece;
  callLeft -= piece;
  callData += piece;
}

/** Asks for the next piece, or answers when there is none. */
function nextCall(): u32 {
  if (callLeft == 0) {
    countStore(callFn);
    return DONE;
  }
  const piece = blockPiece(<u32>callOffset, callLeft);
  const slot = slotOf(callFn);
  pushRecord(RECORD_CALL_WRITE, slot, callSpace, callOffset, piece, 0, callData, 0, true);
  const calls = deviceCalls(piece, load<u32>(callBar, BAR_IMPL));
  store<f64>(callFn, load<f64>(callFn, FUNCTION_DEVICE_CALLS) + <f64>calls, FUNCTION_DEVICE_CALLS);
  callOffset += piece;
  callLeft -= piece;
  callData += piece;
  return ANSWER_HOST;
}

/**
 * The host has served the records of a store that answered ANSWER_HOST: goes on. A piece that the model failed on ends it
 * with an operand exception (zpci.md 2.7).
 */
export function resumeStore(): u32 {
  finishServed();
  if (waitsFor == FOR_NOTHING) return deliverLive();
  if (waitsFor == FOR_PIECE) {
    sendPiece();
    return nextPiece();
  }
  if (waitsFor == FOR_BLOCK) {
    waitsFor = FOR_NOTHING;
    if (lastStatus != DONE) return lastStatus;
    wasAsked = true;
    const answer = storeAt(askedFn, askedSpace, askedSpaceAndFlags, askedLength, askedOffset, askedSource);
    wasAsked = false;
    return answer;
  }
  const answer = lastStatus == CPL_SC ? nextCall() : interruption(PE_OPERAND);
  if (answer != ANSWER_HOST) waitsFor = FOR_NOTHING;
  return answer;
}
