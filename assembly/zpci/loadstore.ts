// Floor 6: PCI LOAD and PCI STORE: checks in the order of sheet zpci.md 2.6, then a device call for an emulated function, TLPs
// for the others. The bytes stand, or will stand, staged in the payload ring.

import { callDevice, deviceCalls } from '../fabric/call';
import { pushConfig } from '../fabric/config';
import { finishServed, resetReads } from '../fabric/deliver';
import { barAt, slotOf } from '../fabric/functions';
import { regionAccepts } from '../fabric/region';
import { pushOperation } from '../fabric/request';
import { lastStatus, pushRecord } from '../kernel/records';
import { stage } from '../kernel/rings';
import {
  ANSWER_HOST,
  BAR_BASE,
  BAR_BYTES,
  BAR_COUNT,
  BAR_IMPL,
  BAR_MEMORY,
  BAR_SERVER,
  BAR_VALID,
  CPL_SC,
  FUNCTION_DEVICE_CALLS,
  FUNCTION_HOST_WIDTH,
  FUNCTION_ID,
  FUNCTION_LOADS,
  FUNCTION_STORES,
  FUNCTION_ZPCI_FLAGS,
  INSTRUCTION_MIO,
  INSTRUCTION_PCILG,
  INSTRUCTION_PCISTG,
  OPERAND_ADDRESS,
  OPERAND_ODD,
  PE_ADDRESSING,
  PE_OPERAND,
  PE_PRIVILEGED,
  PE_SPECIFICATION,
  RECORD_CALL_READ,
  RECORD_CALL_WRITE,
  RECORD_CONFIG_READ,
  RECORD_CONFIG_WRITE,
  SERVED_BY_HOST,
  SPACE_CONFIG,
  STATUS_ADDRESS_SPACE,
  STORE_PROBLEM_STATE,
  ZPCI_ASKS,
  ZPCI_EMULATED,
  ZPCI_HOST_MIO,
  ZPCI_INTERCEPTED,
  ZPCI_QUIRKS,
} from '../layout';
import { ask } from './ask';
import { deliverLive, findEnabled } from './live';
import { checkCapable, checkMio, findMio, mioOffset, mioSpace } from './mio';
import {
  checkConfigForm,
  checkLoadStoreForm,
  checkState,
  DONE,
  insideBar,
  interruption,
  NO_FUNCTION,
  quirkLength,
  withStatus,
} from './rules';

const SPACE_MASK: u32 = 0xf;
/** Bytes of configuration space that a request can address. */
const CONFIG_BYTES: u64 = 4096;

// The instruction that runs, and what it waits for.
const FOR_NOTHING: u32 = 0;
const FOR_MODEL: u32 = 1; // whether it accepts the instruction
const FOR_CALL: u32 = 2; // a device call, or configuration space of an emulated function
const FOR_PIECE: u32 = 3; // whether it accepts the next instruction of the host
const FOR_TLPS: u32 = 4;
const FOR_REST: u32 = 5; // TLPs before the next instruction of the host
let waitsFor: u32 = FOR_NOTHING;
let fn: usize = 0;
let isRead: bool = false;
let isMio: bool = false;
let space: u32 = 0;
let offset: u64 = 0;
let length: u32 = 0;
let data: usize = 0;
/** Bytes that the host's instructions have moved. */
let done: u32 = 0;
/** Where the DW of a configuration TLP stands; 0: there is none. */
let configDw: usize = 0;

/** True while an instruction waits for the host. */
export function loadStoreWaits(): bool {
  return waitsFor != FOR_NOTHING;
}

/** Nothing waits: a reset. */
export function dropLoadStore(): void {
  waitsFor = FOR_NOTHING;
}

/**
 * One PCILG (`read`) or PCISTG of `bytes`, of which an instruction has 4 bits. `spaceAndFlags`: address space in bits 3:0,
 * STORE_PROBLEM_STATE, OPERAND_ODD, OPERAND_ADDRESS. Answers as `storeBlock`; bytes read stand staged.
 */
export function loadStore(read: bool, handle: u32, spaceAndFlags: u32, bytes: u32, at: u64): u32 {
  if (spaceAndFlags & STORE_PROBLEM_STATE) return interruption(PE_PRIVILEGED);
  if (spaceAndFlags & OPERAND_ODD) return interruption(PE_SPECIFICATION);
  isRead = read;
  isMio = (spaceAndFlags & OPERAND_ADDRESS) != 0;
  const answer = isMio ? byAddress(at, bytes) : byHandle(handle, spaceAndFlags & SPACE_MASK, at, bytes & 0xf);
  if (answer != DONE) return answer;
  done = 0;
  configDw = 0;
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  // What a VMM passes on are instructions of the host: those are asked for.
  if (flags & ZPCI_ASKS && !passesOn(flags)) {
    waitsFor = FOR_MODEL;
    ask(fn, instruction(), space, offset, length);
    return ANSWER_HOST;
  }
  return perform();
}

/** Handle, state and space of the form with a handle. */
function byHandle(handle: u32, number: u32, at: u64, bytes: u32): u32 {
  fn = findEnabled(handle);
  if (fn == 0) return NO_FUNCTION;
  space = number;
  offset = at;
  length = bytes;
  const answer = checkState(fn);
  if (answer != DONE) return answer;
  return space < <u32>BAR_COUNT || space == SPACE_CONFIG ? DONE : withStatus(STATUS_ADDRESS_SPACE);
}

/** The same of the MIO form, whose length is a register of its own. */
function byAddress(address: u64, bytes: u32): u32 {
  fn = findMio(address);
  if (fn == 0) return interruption(PE_ADDRESSING);
  space = mioSpace;
  offset = mioOffset;
  length = bytes;
  return checkMio(fn);
}

/** INSTRUCTION_* that reaches the function: the guest's own, or one of the kernel that passes it on. */
function instruction(): u32 {
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  const form: u32 = isMio || (passesOn(flags) && flags & ZPCI_HOST_MIO) ? INSTRUCTION_MIO : 0;
  return form + (isRead ? INSTRUCTION_PCILG : INSTRUCTION_PCISTG);
}

function passesOn(flags: u32): bool {
  return (flags & (ZPCI_INTERCEPTED | ZPCI_EMULATED)) == ZPCI_INTERCEPTED;
}

/** Behind the checks of the handle: form, region, then the access. */
function perform(): u32 {
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  if (space == SPACE_CONFIG) return performConfig(flags);
  const form = checkLoadStoreForm(flags, <u32>offset, length);
  if (form != DONE) return form;
  if (flags & ZPCI_QUIRKS) length = quirkLength(length);
  const bar = barAt(fn, space);
  if (!insideBar(load<u64>(bar, BAR_BYTES), offset, length)) return interruption(PE_OPERAND);
  data = stage(length, <u32>offset);
  if (!(flags & ZPCI_EMULATED)) return nextPiece();
  if (!regionAccepts(<u32>offset, length, load<u32>(bar, BAR_VALID))) return interruption(PE_OPERAND);
  const impl = load<u32>(bar, BAR_IMPL);
  const calls = <f64>deviceCalls(length, impl);
  store<f64>(fn, load<f64>(fn, FUNCTION_DEVICE_CALLS) + calls, FUNCTION_DEVICE_CALLS);
  if (load<u32>(bar, BAR_SERVER) == SERVED_BY_HOST) {
    const record: u32 = isRead ? RECORD_CALL_READ : RECORD_CALL_WRITE;
    waitsFor = FOR_CALL;
    pushRecord(record, slotOf(fn), space, offset, length, 0, data, 0, true);
    return ANSWER_HOST;
  }
  callDevice(
    load<u32>(bar, BAR_MEMORY),
    <u32>load<u64>(bar, BAR_BYTES),
    <u32>offset,
    data,
    length,
    impl,
    isRead,
  );
  return finish();
}

/** Sends the next host instruction; natively the whole access is one. */
function nextPiece(): u32 {
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  if (done == length) return afterTlps();
  if (passesOn(flags) && flags & ZPCI_HOST_MIO && checkCapable(fn, flags) != DONE) {
    const bytes = pieceBytes(flags);
    lose(bytes);
    return nextPiece();
  }
  if (passesOn(flags) && flags & ZPCI_ASKS) {
    waitsFor = FOR_REST;
    if (deliverLive() != DONE) return ANSWER_HOST;
    waitsFor = FOR_PIECE;
    ask(fn, instruction(), space, offset + done, pieceBytes(flags));
    return ANSWER_HOST;
  }
  while (done < length) sendPiece(pieceBytes(flags));
  return afterTlps();
}

/** vfio passes on what its kernel can do at once (zpci.md 8.1). */
function pieceBytes(flags: u32): u32 {
  const width = load<u32>(fn, FUNCTION_HOST_WIDTH);
  const left = length - done;
  if (!passesOn(flags) || width == 0) return left;
  const at = <u32>offset + done;
  const natural: u32 = at == 0 ? width : min((<u32>1) << ctz(at), width);
  return min(natural, (<u32>1) << (31 - clz(left)));
}

function sendPiece(bytes: u32): void {
  if (done == 0) resetReads();
  pushOperation(load<u64>(barAt(fn, space), BAR_BASE) + offset + done, bytes, data + done, 0);
  done += bytes;
}

/** Delivers what was sent; a load waits for its completions in any case. */
function afterTlps(): u32 {
  waitsFor = FOR_TLPS;
  const answer = deliverLive();
  return answer == DONE ? finish() : answer;
}

/** Configuration space: 1, 2 or 4 bytes of one DW. Behind it reads give ones, and writes are lost. */
function performConfig(flags: u32): u32 {
  const form = checkConfigForm(<u32>offset, length);
  if (form != DONE) return form;
  data = stage(length, <u32>offset);
  if (offset >= CONFIG_BYTES) return finishWithOnes();
  const lane = <u32>offset & 3;
  const register = <u32>offset & ~3;
  const enables = (((<u32>1) << length) - 1) << lane;
  if (flags & ZPCI_EMULATED) {
    const record: u32 = isRead ? RECORD_CONFIG_READ : RECORD_CONFIG_WRITE;
    waitsFor = FOR_CALL;
    pushRecord(record, slotOf(fn), SPACE_CONFIG, register, 4, enables, data - lane, 0, true);
    return ANSWER_HOST;
  }
  resetReads();
  configDw = pushConfig(load<u32>(fn, FUNCTION_ID), !isRead, register, enables, load<u32>(data - lane));
  return afterTlps();
}

function finishWithOnes(): u32 {
  if (isRead) memory.fill(data, 0xff, length);
  return finish();
}

/** Condition code 0: one more in the measurement block. */
function finish(): u32 {
  waitsFor = FOR_NOTHING;
  if (isRead && configDw != 0) store<u32>(data - (<u32>offset & 3), load<u32>(configDw));
  const counter = fn + (isRead ? FUNCTION_LOADS : FUNCTION_STORES);
  store<f64>(counter, load<f64>(counter) + 1);
  return DONE;
}

/** The host has served the records of an instruction that answered ANSWER_HOST: goes on. */
export function resumeLoadStore(): u32 {
  const waited = waitsFor;
  finishServed();
  if (waited == FOR_TLPS) return afterTlps();
  if (waited == FOR_REST) return nextPiece();
  waitsFor = FOR_NOTHING;
  if (waited == FOR_MODEL) return lastStatus == DONE ? perform() : lastStatus;
  if (waited == FOR_PIECE) return afterAsking();
  if (lastStatus == CPL_SC) return finish();
  // A device call that fails is an operand exception (2.6); a register that is not there reads as ones.
  return space == SPACE_CONFIG ? finishWithOnes() : interruption(PE_OPERAND);
}

/**
 * The model has said whether it accepts an instruction of the host. The system call of one that fails is an error that the
 * guest is not told: a store is lost, a load gives ones (QEMU 7.2 hw/vfio/common.c).
 */
function afterAsking(): u32 {
  const bytes = pieceBytes(load<u32>(fn, FUNCTION_ZPCI_FLAGS));
  if (lastStatus == DONE) sendPiece(bytes);
  else lose(bytes);
  return nextPiece();
}

function lose(bytes: u32): void {
  if (isRead) memory.fill(data + done, 0xff, bytes);
  done += bytes;
}
