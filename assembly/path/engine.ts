// Floor 7: runs one access along its path. Four nested levels cut it: guest instructions, exits, dispatches (system calls,
// device dispatches) and host operations; each operation becomes TLPs or device calls at once.
//
//   access ── guest rule ──> instruction ── exit rule ──> exit ── dispatch rule ──> pwrite ── host rule ──> operation ──> TLPs
//
// The cursors of the four levels are all the state there is, so the run can stop before any operation and go on later.

import { callDevice, deviceCalls } from '../fabric/call';
import { finishServed, resetReads } from '../fabric/deliver';
import { barAt, functionAt, slotOf } from '../fabric/functions';
import { regionAccepts } from '../fabric/region';
import { pushOperation } from '../fabric/request';
import { finishLoads } from '../fabric/schedule';
import { beginOperation, beginTraffic, put, writeTraffic } from '../fabric/traffic';
import { deliverAll } from '../fabric/transport';
import { PARAMS } from '../kernel/arena';
import { isWaiting, lastStatus, pushRecord, recordCount, roomForRecord } from '../kernel/records';
import { recordOperation, recycle, roomForOperation, skipDelivery, stage } from '../kernel/rings';
import {
  ACCESS_ANSWER,
  ACCESS_FAULT,
  ACCESS_FAULT_BYTES,
  ACCESS_FAULT_POSITION,
  BAR_BASE,
  BAR_BYTES,
  BAR_IMPL,
  BAR_MEMORY,
  BAR_SERVER,
  BAR_VALID,
  CC_BUSY,
  CHECK_64,
  CHECK_AT_HOST,
  CHECK_CALL,
  CHECK_KIND,
  CHECK_NATURAL,
  CHECK_NONE,
  CHECK_PASSED_ON,
  CHECK_RETRY,
  CHECK_ZPCI,
  CHECK_ZPCI_BLOCK,
  COUNT_MIO,
  CPL_SC,
  FAULT_ALIGNMENT,
  FAULT_EINVAL,
  FAULT_GENERAL_PROTECTION,
  FAULT_NONE,
  FAULT_SIZE,
  FAULT_ZPCI,
  FUNCTION_DEVICE_CALLS,
  FUNCTION_LOADS,
  FUNCTION_STORE_BLOCKS,
  FUNCTION_STORES,
  FUNCTION_ZPCI_FLAGS,
  INSTRUCTION_MIO,
  INSTRUCTION_PCILG,
  INSTRUCTION_PCISTB,
  INSTRUCTION_PCISTG,
  LEVELS,
  MODE_COUNT,
  MODE_LIST,
  MODE_LIVE,
  MODE_TIMED,
  OP_ACCESS,
  OP_SKIPPED,
  OPERATION_READ,
  PAGE_BYTES,
  PARAM_CHECK,
  PARAM_DESCENDING,
  PARAM_EXCLUDED_END,
  PARAM_EXCLUDED_LO,
  PARAM_MAXSTBL,
  PARAM_MODE,
  PARAM_OP,
  PARAM_REGION_IMPL,
  PARAM_REGION_VALID,
  PARAM_REQUEST,
  PARAM_RULE_VALUES,
  PARAM_RULES,
  PARAM_SOURCE,
  PARAM_ZPCI_FLAGS,
  PE_OPERAND,
  RECORD_CALL_READ,
  RECORD_CALL_WRITE,
  REQUEST_CALL,
  RULE_TCG,
  RULE_VFIO,
  RULE_VFIO_PRESERVE,
  RULE_WC_LINE,
  RUN_DONE,
  RUN_HOST,
  SERVED_BY_HOST,
  SLOT_NONE,
  ZPCI_EMULATED,
} from '../layout';
import { ask, asks } from '../zpci/ask';
import { checkCapable } from '../zpci/mio';
import {
  checkBlockForm,
  checkLoadStoreForm,
  checkRegion,
  checkState,
  DONE,
  insideBar,
  interruption,
} from '../zpci/rules';
import { isTimeFor, resetCost, takeBack } from './cost';
import {
  countAgain,
  countBytes,
  countCalls,
  countExit,
  countGuest,
  countHost,
  counting,
  countSystemCall,
  hostOperations,
  resetCounts,
  writeCounts,
} from './counts';
import { nextPiece } from './rules';

const EXIT: u32 = 1;
const DISPATCH: u32 = 2;
const HOST: u32 = 3;

// Cursor of each level: position u64, end u64.
const CURSORS: usize = memory.data(LEVELS * 16, 16);

/** Linux tries without limit; a model that never gets ready has to end. */
const MOST_RETRIES: u32 = 1 << 16;

// The access.
let start: u64 = 0;
let base: u64 = 0;
let data: usize = 0;
let fn: usize = 0;
let bar: usize = 0;
let barIndex: u32 = 0;
let fault: u32 = FAULT_NONE;
let answer: u32 = DONE;
let faultPosition: u64 = 0;
let tcgUnit: u32 = 0;
let faultBytes: u32 = 0;
// A PCI instruction whose model was asked: the question is open, or was answered with yes.
let isAsking: bool = false;
let wasAsked: bool = false;
let asksHost: bool = false; // the question is about an instruction of the host
let askedPosition: u64 = 0;
let askedBytes: u32 = 0;
/** What the model said of the host's instruction. */
let hostAnswer: u32 = DONE;
/** Times that a busy instruction was tried again. */
let retries: u32 = 0;
/** Length of the guest instruction that runs. */
let instructionBytes: u32 = 0;

function param(at: usize): u32 {
  return load<u32>(PARAMS + at);
}

/** One of the four words at `at` that belong to the levels. */
function levelParam(at: usize, level: u32): u32 {
  return load<u32>(PARAMS + at + <usize>(level << 2));
}

/** True when TLPs and device calls really reach functions. */
function live(): bool {
  return param(PARAM_MODE) >= <u32>MODE_LIVE;
}

function positionOf(level: u32): u64 {
  return load<u64>(CURSORS + <usize>(level << 4));
}

function endOf(level: u32): u64 {
  return load<u64>(CURSORS + <usize>(level << 4), 8);
}

function setCursor(level: u32, position: u64, end: u64): void {
  store<u64>(CURSORS + <usize>(level << 4), position);
  store<u64>(CURSORS + <usize>(level << 4), end, 8);
}

/**
 * Begins an access of `bytes` at offset `position`. With a function slot the BAR gives the bus address; with SLOT_NONE
 * it is `busBase` + `position`. The PARAMS block says everything else. Staged write data stand at the front of the
 * payload ring, congruent to the position modulo 16; read results will stand there.
 */
export function beginAccess(slot: u32, barNumber: u32, busBase: u64, position: u64, bytes: u32): void {
  resetAccess();
  resetReads();
  data = stage(live() ? bytes : 0, <u32>position);
  fn = slot == SLOT_NONE ? 0 : functionAt(slot);
  bar = slot == SLOT_NONE ? 0 : barAt(fn, barNumber);
  base = slot == SLOT_NONE ? busBase : load<u64>(bar, BAR_BASE);
  barIndex = barNumber;
  start = position;
  setCursor(0, position, position + bytes);
  for (let level: u32 = 1; level < <u32>LEVELS; level++) setCursor(level, 0, 0);
}

/** Totals from 0: a new access, or another host call that is reported like one. */
export function resetAccess(): void {
  beginTraffic();
  fault = FAULT_NONE;
  answer = DONE;
  faultPosition = 0;
  faultBytes = 0;
  resetCounts();
  resetCost();
  isAsking = false;
  wasAsked = false;
  retries = 0;
}

/** Runs until the access is done or the host has to drain the rings or serve records. */
export function runAccess(): u32 {
  const mode = param(PARAM_MODE);
  // What the last call left behind goes first.
  if (mode >= <u32>MODE_LIVE && !deliverRest(mode)) return RUN_HOST;
  while (fault == FAULT_NONE && descend()) {
    if (!roomForOperation()) return RUN_HOST;
    if (mode == MODE_TIMED && !isTimeFor(param(PARAM_REQUEST) == REQUEST_CALL)) return RUN_HOST;
    if (!operate()) break;
    if (mode == MODE_COUNT) recycle();
    else if (mode == MODE_LIST) skipDelivery();
    else if (!deliverRest(mode)) return RUN_HOST;
  }
  if (mode == MODE_TIMED) {
    if (fault != FAULT_NONE) takeBack();
    if (!finishLoads()) return RUN_HOST;
  }
  return recordCount == 0 ? RUN_DONE : RUN_HOST;
}

/** Delivers what stands in the ring; false: the host has to serve records first. */
function deliverRest(mode: u32): bool {
  if (!deliverAll()) return false;
  // Records of posted writes may stay: they point at the staged bytes of the access, which last as long as it does.
  if (mode == MODE_LIVE) recycle();
  return true;
}

/** The host has served the records of this access. A device call that failed ends a PCI instruction (zpci.md 2.6, 2.7). */
export function servedAccess(): void {
  const waited = isWaiting;
  finishServed();
  if (isAsking) {
    isAsking = false;
    answered();
    return;
  }
  if (!waited || lastStatus == CPL_SC || param(PARAM_REQUEST) != REQUEST_CALL) return;
  const check = param(PARAM_CHECK) & CHECK_KIND;
  if (check == CHECK_ZPCI || check == CHECK_ZPCI_BLOCK)
    refuse(FAULT_ZPCI, interruption(PE_OPERAND), positionOf(0) - instructionBytes, instructionBytes);
}

/** The model has said what it makes of an instruction; busy is tried again by who does so (zpci.md 2.3). */
function answered(): void {
  const loops = asksHost ? !(counting() & COUNT_MIO) : (param(PARAM_CHECK) & CHECK_RETRY) != 0;
  if (lastStatus == CC_BUSY && loops && retries < MOST_RETRIES) {
    retries += 1;
    if (asksHost) countHost();
    else countAgain();
    return; // the run comes here again
  }
  wasAsked = true;
  hostAnswer = lastStatus;
  if (!asksHost && lastStatus != DONE) {
    wasAsked = false;
    refuse(FAULT_ZPCI, lastStatus, askedPosition, askedBytes);
  }
}

/** Writes the totals of the access into the ACCESS block. */
export function summariseAccess(): void {
  writeTraffic();
  writeCounts();
  put(ACCESS_FAULT, fault);
  put(ACCESS_ANSWER, answer);
  put(ACCESS_FAULT_POSITION, faultPosition);
  put(ACCESS_FAULT_BYTES, faultBytes);
}

/** Moves the cursors until the host level has a piece; false at the end of the access or at a fault. */
function descend(): bool {
  let level = HOST;
  while (true) {
    if (positionOf(level) < endOf(level)) {
      if (level == HOST) return true;
      if (!enter(level)) return false;
      level += 1;
    } else {
      if (level == 0) return false;
      level -= 1;
    }
  }
}

/** Takes the next piece of `level` and makes it the range of the level below; false: the piece faults. */
function enter(level: u32): bool {
  const position = positionOf(level);
  const end = endOf(level);
  const rule = levelParam(PARAM_RULES, level);
  const value = levelParam(PARAM_RULE_VALUES, level);
  const piece = nextPiece(rule, value, position, end, memoryAt(position), tcgUnit);
  if (level == 0 && !checkGuest(position, piece)) return false;
  if (level == 0) instructionBytes = piece;
  setCursor(level, position + piece, end);
  if (level == 0) countGuest(position, piece);
  else if (level == EXIT) countExit();
  else countSystemCall();
  if (level + 1 == DISPATCH && levelParam(PARAM_RULES, DISPATCH) == RULE_TCG) enterTcg(position, piece);
  else setCursor(level + 1, position, position + piece);
  return true;
}

/** QEMU TCG 7.2: an unaligned store goes byte by byte, an unaligned load becomes the two aligned loads around it. */
function enterTcg(position: u64, bytes: u32): void {
  const aligned = (<u32>position & (bytes - 1)) == 0;
  const isRead = param(PARAM_OP) == OPERATION_READ;
  tcgUnit = aligned || isRead ? bytes : 1;
  if (aligned || !isRead) setCursor(DISPATCH, position, position + bytes);
  else {
    const first = position & ~(<u64>bytes - 1);
    setCursor(DISPATCH, first, first + (bytes << 1));
  }
}

/** What a guest-level piece demands: a system call of its range, an instruction of its operand. */
function checkGuest(position: u64, bytes: u32): bool {
  const check = param(PARAM_CHECK);
  if (check & CHECK_CALL && (<u32>position & (<u32>PAGE_BYTES - 1)) + bytes > <u32>PAGE_BYTES)
    return refuse(FAULT_EINVAL, DONE, position, bytes);
  return check & CHECK_AT_HOST ? true : checkInstruction(check & CHECK_KIND, position, bytes);
}

/** What the instruction itself demands of its operand. Sets the fault and answers false when it refuses. */
function checkInstruction(check: u32, position: u64, bytes: u32): bool {
  if (check == CHECK_NONE) return true;
  if (check == CHECK_NATURAL) {
    // A register pair wants the alignment of one register.
    const unit: u32 = bytes > 8 ? 8 : bytes;
    return <u32>position & (unit - 1) ? refuse(FAULT_ALIGNMENT, DONE, position, bytes) : true;
  }
  if (check == CHECK_64) {
    if (<u32>position & 63) return refuse(FAULT_GENERAL_PROTECTION, DONE, position, bytes);
    return bytes == 64 ? true : refuse(FAULT_SIZE, DONE, position, bytes);
  }
  const block = check == CHECK_ZPCI_BLOCK || bytes > 8;
  // What a VMM passes on are instructions of the host: those are asked for.
  if (!(param(PARAM_CHECK) & CHECK_PASSED_ON)) {
    if (asksNow() && checkState(fn) == DONE) {
      askModel(position, bytes, block, false);
      return false;
    }
    wasAsked = false;
  }
  const result = zpciAnswer(position, bytes, block);
  return result == DONE ? true : refuse(FAULT_ZPCI, result, position, bytes);
}

/** The model looks at each instruction, and has not looked at this one yet. */
function asksNow(): bool {
  return fn != 0 && live() && asks(fn) && !wasAsked;
}

/** The model is asked first; the access stops without a fault, and comes here again with the answer. */
function askModel(position: u64, bytes: u32, block: bool, byHost: bool): void {
  if (!roomForRecord()) return; // once the host has served the others
  const isRead = param(PARAM_OP) == OPERATION_READ;
  isAsking = true;
  asksHost = byHost;
  askedPosition = position;
  askedBytes = bytes;
  const instruction: u32 = block ? INSTRUCTION_PCISTB : isRead ? INSTRUCTION_PCILG : INSTRUCTION_PCISTG;
  const isMio = byHost ? (counting() & COUNT_MIO) != 0 : isMioInstruction();
  ask(fn, instruction + (isMio ? INSTRUCTION_MIO : 0), barIndex, position, bytes);
}

function refuse(kind: u32, result: u32, position: u64, bytes: u32): bool {
  faultBytes = bytes;
  fault = kind;
  answer = result;
  faultPosition = position;
  return false;
}

/** The checks of one PCI instruction of the path; in a machine it also counts in the measurement block. */
function zpciAnswer(position: u64, bytes: u32, block: bool): u32 {
  const flags = param(PARAM_ZPCI_FLAGS);
  if (fn != 0) {
    const state = checkState(fn);
    if (state != DONE) return state;
    if (live() && isMioInstruction()) {
      const capable = checkCapable(fn, load<u32>(fn, FUNCTION_ZPCI_FLAGS));
      if (capable != DONE) return capable;
    }
  }
  const form = block
    ? checkBlockForm(flags, param(PARAM_MAXSTBL), <u32>position, bytes, memoryAt(position))
    : checkLoadStoreForm(flags, <u32>position, bytes);
  if (form != DONE) return form;
  // Without a machine there is no BAR to end; region rules still hold.
  if (fn != 0 && !insideBar(load<u64>(bar, BAR_BYTES), position, bytes)) return interruption(PE_OPERAND);
  const target = flags & ZPCI_EMULATED ? regionAnswer(<u32>position, bytes, block) : DONE;
  if (target == DONE && fn != 0) {
    const counter =
      fn +
      (block ? FUNCTION_STORE_BLOCKS : param(PARAM_OP) == OPERATION_READ ? FUNCTION_LOADS : FUNCTION_STORES);
    store<f64>(counter, load<f64>(counter) + 1);
  }
  return target;
}

/** The instructions of the guest level are MIO forms: nobody passes them on. */
function isMioInstruction(): bool {
  return (counting() & COUNT_MIO) != 0 && !(param(PARAM_CHECK) & CHECK_PASSED_ON);
}

/** A block goes to an emulated region in pieces, a load or store as it is (zpci.md 2.6 step 7, 2.7 step 9). */
function regionAnswer(position: u32, bytes: u32, block: bool): u32 {
  if (block) return checkRegion(position, bytes, regionValid());
  return regionAccepts(position, bytes, regionValid()) ? DONE : interruption(PE_OPERAND);
}

function regionValid(): u32 {
  return fn == 0 ? param(PARAM_REGION_VALID) : load<u32>(bar, BAR_VALID);
}

function regionImpl(): u32 {
  return fn == 0 ? param(PARAM_REGION_IMPL) : load<u32>(bar, BAR_IMPL);
}

/** Performs the next operation of the host level; false: the host's own instruction is refused. */
function operate(): bool {
  const position = positionOf(HOST);
  const end = endOf(HOST);
  const rule = levelParam(PARAM_RULES, HOST);
  if (rule == RULE_VFIO || rule == RULE_VFIO_PRESERVE) {
    const skipped = excludedBytes(position, end);
    if (skipped != 0) {
      skip(position, skipped);
      setCursor(HOST, position + skipped, end);
      return true;
    }
  }
  const limit = rule == RULE_VFIO || rule == RULE_VFIO_PRESERVE ? beforeExcluded(position, end) : end;
  const value = levelParam(PARAM_RULE_VALUES, HOST);
  if (rule == RULE_WC_LINE && param(PARAM_DESCENDING)) {
    operateDescending(position, end);
    return true;
  }
  const bytes = nextPiece(rule, value, position, limit, memoryAt(position), tcgUnit);
  const check = param(PARAM_CHECK);
  if (check & CHECK_AT_HOST && !checkInstruction(check & CHECK_KIND, position, bytes)) return false;
  if (check & CHECK_PASSED_ON && fn != 0 && live()) {
    if (asksNow()) {
      askModel(position, bytes, false, true);
      return false;
    }
    if (!isTaken()) {
      lose(position, bytes);
      setCursor(HOST, position + bytes, end);
      return true;
    }
  }
  perform(position, bytes);
  setCursor(HOST, position + bytes, end);
  return true;
}

/** Whether the function takes the host's instruction. */
function isTaken(): bool {
  const answer = wasAsked ? hostAnswer : DONE;
  wasAsked = false;
  if (answer != DONE) return false;
  return !(counting() & COUNT_MIO) || checkCapable(fn, load<u32>(fn, FUNCTION_ZPCI_FLAGS)) == DONE;
}

/**
 * The host's instruction fails. That is an error of the VMM's system call, which the guest is not told: a store is lost, a
 * load gives ones (QEMU 7.2 hw/vfio/common.c).
 */
function lose(position: u64, bytes: u32): void {
  countHost();
  countBytes(bytes);
  if (param(PARAM_OP) == OPERATION_READ) memory.fill(dataAt(position), 0xff, bytes);
}

/** Write-combining chunks from the end of a partial line (option `wcChunkOrder`). */
function operateDescending(position: u64, end: u64): void {
  const full = ((<u32>position & 63) == 0 && end - position >= 64) || end - position <= 1;
  const last = full ? position : max(position, (end - 1) & ~(<u64>7));
  perform(last, <u32>(end - last));
  setCursor(HOST, position, last);
}

/** Bytes from `position` on that lie in the excluded range (MSI-X table, ROM tail). */
function excludedBytes(position: u64, end: u64): u32 {
  const first = param(PARAM_EXCLUDED_LO);
  const behind = param(PARAM_EXCLUDED_END);
  return position >= first && position < behind ? <u32>(min(end, behind) - position) : 0;
}

function beforeExcluded(position: u64, end: u64): u64 {
  const first = param(PARAM_EXCLUDED_LO);
  return first < param(PARAM_EXCLUDED_END) && position < first ? min(end, first) : end;
}

/** The kernel drops writes to the excluded range and answers reads with 0xff. */
function skip(position: u64, bytes: u32): void {
  countBytes(bytes);
  if (param(PARAM_MODE) == MODE_LIST) recordOperation(position, bytes, OP_SKIPPED);
  if (live() && param(PARAM_OP) == OPERATION_READ) {
    memory.fill(dataAt(position), 0xff, bytes);
  }
}

/** Memory address that belongs to `position`, low bits. */
function memoryAt(position: u64): u32 {
  return param(PARAM_SOURCE) + <u32>(position - start);
}

function dataAt(position: u64): usize {
  return data + <usize>(<u32>(position - start));
}

function perform(position: u64, bytes: u32): void {
  const mode = param(PARAM_MODE);
  if (mode == MODE_LIST) recordOperation(position, bytes, OP_ACCESS);
  countBytes(bytes);
  countHost();
  beginOperation();
  if (param(PARAM_REQUEST) == REQUEST_CALL) {
    const n = deviceCalls(bytes, regionImpl());
    countCalls(n);
    if (live()) {
      callBar(position, bytes, dataAt(position), param(PARAM_OP) == OPERATION_READ);
      store<f64>(fn, load<f64>(fn, FUNCTION_DEVICE_CALLS) + <f64>n, FUNCTION_DEVICE_CALLS);
    }
    return;
  }
  pushOperation(base + position, bytes, dataAt(position), <u32>hostOperations);
}

/** A dispatch of an emulator: memory of the core answers at once, a device model through the host. */
function callBar(offset: u64, bytes: u32, at: usize, isRead: bool): void {
  if (load<u32>(bar, BAR_SERVER) == SERVED_BY_HOST) {
    const record: u32 = isRead ? RECORD_CALL_READ : RECORD_CALL_WRITE;
    pushRecord(record, slotOf(fn), barIndex, offset, bytes, 0, at, 0, true);
    return;
  }
  const memoryAt = load<u32>(bar, BAR_MEMORY);
  callDevice(memoryAt, <u32>load<u64>(bar, BAR_BYTES), <u32>offset, at, bytes, regionImpl(), isRead);
}
