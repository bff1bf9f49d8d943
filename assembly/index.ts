// Floor 8: the exported interface of the core, nothing else. `src/core/exports.ts` holds its TypeScript twin.

import { pushConfig } from './fabric/config';
import { isTimed } from './fabric/context';
import { finishServed, readStatus, resetReads } from './fabric/deliver';
import { buildWindows } from './fabric/functions';
import { LATENCIES } from './fabric/loads';
import { regionAccepts, regionCall } from './fabric/region';
import { pushOperation, setNextTag } from './fabric/request';
import {
  arrivedSerial,
  beginDma,
  catchUp,
  cpuTime,
  endDma,
  endSerial,
  eventHash,
  events,
  heldEnd,
  keepTlps,
  now,
  runTimed,
  setCpu,
  setHorizon,
  setPipelined,
  spend,
  startTimed,
  timedBytes,
} from './fabric/schedule';
import { hasTags, pieceData } from './fabric/tags';
import { linkEvents, linkTime, runLink, startLink } from './fabric/timed';
import { deliverAll } from './fabric/transport';
import { clearTranslations, dropRange } from './iommu/iotlb';
import { STEPS } from './iommu/tables';
import { RESULT, UNITS } from './iommu/units';
import { DMA } from './iommu/zpci';
import {
  ACCESS,
  barMemory,
  COUNTERS,
  clearArena,
  createArena,
  FIELDS,
  FUNCTIONS,
  hostMemory,
  linkRings,
  operations,
  PARAMS,
  payload,
  reserveLink,
  ring,
  WIRE,
} from './kernel/arena';
import { resetCache } from './kernel/host-cache';
import { pair } from './kernel/pair';
import { dropRecords, RECORDS, recordCount } from './kernel/records';
import {
  drained as drainRings,
  keep,
  recordedOperations,
  recordedTlps,
  skipDelivery,
  stage,
} from './kernel/rings';
import {
  DECODE_OK,
  OPERATION_WRITE,
  PARAM_OP,
  PLACE_ACCESS,
  PLACE_BAR_MEMORY,
  PLACE_COUNTERS,
  PLACE_DMA,
  PLACE_FIELDS,
  PLACE_FUNCTIONS,
  PLACE_HOST_MEMORY,
  PLACE_LATENCIES,
  PLACE_LINK,
  PLACE_LINK_LOG,
  PLACE_OPERATIONS,
  PLACE_PARAMS,
  PLACE_PAYLOAD,
  PLACE_RECORDS,
  PLACE_RING,
  PLACE_UNIT_RESULT,
  PLACE_UNIT_STEPS,
  PLACE_UNITS,
  PLACE_WIRE,
  RUN_DONE,
  RUN_HOST,
  TIMED_HOST,
  TIMED_REACHED,
  WIRE_LEAD,
} from './layout';
import { LOGS } from './link/log';
import { LINK_BYTES, PORTS } from './link/port';
import { combineFence, combineStore, configureCombining, resetCombining } from './path/combine';
import { listReadCompletions } from './path/completions';
import { setCosts } from './path/cost';
import { beginAccess, resetAccess, runAccess, servedAccess, summariseAccess } from './path/engine';
import { byteEnables, enabledBytes, firstOffset, lastOffset, lengthDw } from './tlp/bytes';
import { checkFields } from './tlp/check';
import { crc32, ecrc, lcrc } from './tlp/crc';
import { crc16 } from './tlp/dllp';
import { decodeHeader, encodeHeader } from './tlp/header';
import { decodePrefixes, encodePrefixes, prefixBytes } from './tlp/prefix';
import { dropLoadStore, loadStore, loadStoreWaits, resumeLoadStore } from './zpci/loadstore';
import { slotOfMio } from './zpci/mio';
import { refresh } from './zpci/rpcit';
import { dropStore, resumeStore, storeBlock } from './zpci/storeblock';

let linkPayloadBytes: u32 = 0;

// -------------------------------------------------------------------------------------------------- machine
/** Reserves all memory of a machine: host memory and BAR memory in bytes. Answers CREATE_*. */
export function machineCreate(hostBytes: u32, barBytes: u32): u32 {
  return createArena(hostBytes, barBytes);
}

/** Clears memories and counters; the function table is the host's to rewrite. */
export function machineReset(): void {
  clearArena();
  resetCache();
  resetCombining();
  dropRecords();
  dropStore();
  dropLoadStore();
  clearTranslations();
  setNextTag(0);
  if (isTimed) timedStart();
}

/** Where block PLACE_* stands in memory. */
export function place(block: u32): u32 {
  switch (block) {
    case PLACE_FIELDS:
      return <u32>FIELDS;
    case PLACE_WIRE:
      return <u32>WIRE;
    case PLACE_PARAMS:
      return <u32>PARAMS;
    case PLACE_ACCESS:
      return <u32>ACCESS;
    case PLACE_FUNCTIONS:
      return <u32>FUNCTIONS;
    case PLACE_COUNTERS:
      return <u32>COUNTERS;
    case PLACE_RING:
      return <u32>ring;
    case PLACE_OPERATIONS:
      return <u32>operations;
    case PLACE_PAYLOAD:
      return <u32>payload;
    case PLACE_HOST_MEMORY:
      return <u32>hostMemory;
    case PLACE_BAR_MEMORY:
      return <u32>barMemory;
    case PLACE_RECORDS:
      return <u32>RECORDS;
    case PLACE_LINK:
      return <u32>PORTS;
    case PLACE_UNITS:
      return <u32>UNITS;
    case PLACE_UNIT_RESULT:
      return <u32>RESULT;
    case PLACE_UNIT_STEPS:
      return <u32>STEPS;
    case PLACE_LINK_LOG:
      return <u32>LOGS;
    case PLACE_LATENCIES:
      return <u32>LATENCIES;
    case PLACE_DMA:
      return <u32>DMA;
    default:
      return 0;
  }
}

/** The host changed the function table: `count` functions, BARs where the table says. */
export function functionsChanged(count: u32): void {
  buildWindows(count);
}

// ------------------------------------------------------------------------------------------------ accesses
/** Begins an access at offset `position`; see `beginAccess` in path/engine.ts. Then call `run` until RUN_DONE. */
export function accessBegin(
  slot: u32,
  bar: u32,
  baseLo: u32,
  baseHi: u32,
  lo: u32,
  hi: u32,
  bytes: u32,
): void {
  beginAccess(slot, bar, pair(baseLo, baseHi), pair(lo, hi), bytes);
}

/** Answers RUN_DONE, or RUN_HOST when the host has to drain the ring and the operation records first. */
export function run(): u32 {
  return runAccess();
}

/** Fills the ACCESS block with the totals of the access. */
export function summarise(): void {
  summariseAccess();
}

/** First undrained descriptor, as an index of the ring. */
export function ringKeep(): u32 {
  return keep;
}

/** Number of undrained TLPs and of operation records. */
export function ringTlps(): u32 {
  return recordedTlps();
}

export function ringOperations(): u32 {
  return recordedOperations();
}

/** The host has read descriptors, their data and the operation records. */
export function drained(): void {
  drainRings();
}

/** PCI STORE BLOCK; see `storeBlock` in zpci/storeblock.ts. */
export function pcistb(
  handle: u32,
  spaceAndFlags: u32,
  length: u32,
  offsetLo: u32,
  offsetHi: u32,
  sourceLo: u32,
  sourceHi: u32,
): u32 {
  return storeBlock(handle, spaceAndFlags, length, pair(offsetLo, offsetHi), pair(sourceLo, sourceHi));
}

/** PCI LOAD (`isRead` not 0) or PCI STORE; see `loadStore` in zpci/loadstore.ts. Bytes stand staged at the offset. */
export function pcilgOrStg(
  isRead: u32,
  handle: u32,
  spaceAndFlags: u32,
  length: u32,
  offsetLo: u32,
  offsetHi: u32,
): u32 {
  return loadStore(isRead != 0, handle, spaceAndFlags, length, pair(offsetLo, offsetHi));
}

/** Slot of the function at a MIO address with these bits 63:32; one behind the last when there is none. */
export function mioSlot(high: u32): u32 {
  return slotOfMio(high);
}

/** REFRESH PCI TRANSLATIONS; see `refresh` in zpci/rpcit.ts. Records may wait afterwards. */
export function rpcit(
  handle: u32,
  flags: u32,
  startLo: u32,
  startHi: u32,
  lengthLo: u32,
  lengthHi: u32,
): u32 {
  return refresh(handle, flags, pair(startLo, startHi), pair(lengthLo, lengthHi));
}

/** Forgets all translations of a function: its tables were deregistered. */
export function dropTranslations(slot: u32): void {
  dropRange(slot, 0, ~0);
}

/** The host has served what a PCI instruction waited for: its answer, or one with ANSWER_HOST again. */
export function zpciResume(): u32 {
  return loadStoreWaits() ? resumeLoadStore() : resumeStore();
}

/** HOST records to serve, from PLACE_RECORDS on. */
export function records(): u32 {
  return recordCount;
}

/** The host has served the records of an access begun with `accessBegin`; then call `run` again. */
export function served(): void {
  servedAccess();
}

/** The host has served the records of write-combining stores or a configuration request; delivers on. Answers RUN_*. */
export function deliver(): u32 {
  finishServed();
  return deliverAll() && recordCount == 0 ? RUN_DONE : RUN_HOST;
}

/**
 * Sends a configuration request to function `id`; see `pushConfig`. Then call `deliver` until RUN_DONE. Returns where the
 * value read will stand: all ones when nobody answers.
 */
export function configBegin(id: u32, isWrite: u32, register: u32, enables: u32, value: u32): u32 {
  resetAccess();
  resetReads();
  const at = pushConfig(id, isWrite != 0, register, enables, value);
  return <u32>at;
}

/** CPL_* of the access that ended: CPL_SC, or the last error that a completion brought. */
export function completionStatus(): u32 {
  return readStatus;
}

/** Write-combining buffers: how many, and whether a full line leaves at once (1) or at the next closing event (0). */
export function wcConfigure(buffers: u32, immediate: u32): void {
  configureCombining(buffers, immediate != 0);
}

/** Begins a host call on the write-combining buffers: `bytes` staged bytes at a place congruent to `phase` modulo 16. */
export function wcBegin(bytes: u32, phase: u32): u32 {
  resetAccess();
  return <u32>stage(bytes, phase);
}

/** Stores up to one line at bus address (lo, hi) from core address `data`. */
export function wcStore(lo: u32, hi: u32, bytes: u32, data: u32): void {
  combineStore(pair(lo, hi), bytes, data);
}

export function wcFence(): void {
  combineFence();
}

export * from './index-units';

// ----------------------------------------------------------------------------------------------- timed link
/** Before `machineCreate`: room for a link with `payloadBytes` of data in flight, a power of two. */
export function linkReserve(payloadBytes: u32): void {
  linkPayloadBytes = payloadBytes;
  reserveLink(<u32>LINK_BYTES + payloadBytes);
}

/** Begins a run of the link as the PLACE_LINK block describes it; one by one (0), or in windows where that pays (1). */
export function linkStart(windows: u32): void {
  startLink(linkRings, linkPayloadBytes, windows != 0);
}

/** Runs up to `limit` events and up to tick (endLo, endHi). Answers LINK_*. */
export function linkRun(limit: u32, endLo: u32, endHi: u32): u32 {
  return runLink(limit, pair(endLo, endHi));
}

/** Tick of the last event. */
export function linkTicks(): f64 {
  return <f64>linkTime;
}

/** Events so far. */
export function linkEventCount(): f64 {
  return <f64>linkEvents;
}

// -------------------------------------------------------------------------------------------- timed machine
let timedLinks: u32 = 0;
let timedHolds: u32 = 0;
let timedData: u32 = 0;
let timedHeld: u32 = 0;

/**
 * Before `machineCreate`: room for `count` links; `holds` TLPs may be on hold and `data` bytes on their way at an end, and
 * `held` TLPs wait for translation behind a link (0: none ever does).
 */
export function timedReserve(count: u32, holds: u32, data: u32, held: u32): void {
  timedLinks = count;
  timedHolds = holds;
  timedData = data;
  timedHeld = held;
  reserveLink(timedBytes(count, holds, data, held));
}

/** Begins at time 0; PLACE_LINK describes the ports. */
export function timedStart(): void {
  startTimed(linkRings, timedLinks, timedHolds, timedData, timedHeld);
}

/** Runs until UNTIL_*, or to tick (lo, hi). Answers TIMED_*. */
export function timedRun(what: u32, lo: u32, hi: u32): u32 {
  return runTimed(what, pair(lo, hi)) ? TIMED_REACHED : TIMED_HOST;
}

/** Time of the links, and of the CPU, in ticks. */
export function timedNow(): f64 {
  return <f64>now;
}

/** When the last of the TLPs is performed whose translation waits; 0: there is none. */
export function timedHeldEnd(): f64 {
  return <f64>heldEnd();
}

export function timedCpu(): f64 {
  return <f64>cpuTime;
}

export function timedEvents(): f64 {
  return <f64>events;
}

/** Low and high half of the hash of all events. */
export function timedHash(isHigh: u32): u32 {
  return <u32>(isHigh != 0 ? eventHash >> 32 : eventHash);
}

/** The CPU takes `ticks` for something else. */
export function timedSpend(ticks: f64): void {
  spend(<u64>ticks);
}

/** Ticks between two requests of the CPU, and TLPs in its store buffer. */
export function timedSetCpu(interval: f64, buffer: u32): void {
  setCpu(<u64>interval, buffer);
}

/**
 * The CPU begins something, at the earliest now: a callback may have it do so while it waits. Ticks of an instruction, an
 * exit, a system call and a host operation, and whether loads are pipelined.
 */
export function timedAccess(instruction: f64, exit: f64, systemCall: f64, host: f64, pipelined: u32): void {
  catchUp();
  setCosts(<u64>instruction, <u64>exit, <u64>systemCall, <u64>host);
  setPipelined(pipelined != 0);
}

/** Tick of the next timer of the host. */
export function timedHorizon(lo: u32, hi: u32): void {
  setHorizon(pair(lo, hi));
}

/** TLPs that arrive stay in the ring until they are drained. */
export function timedKeep(on: u32): void {
  keepTlps(on != 0);
}

/** The access is over. Answers its number if all of its posted TLPs have arrived, else -1. */
export function timedEndAccess(): i32 {
  return endSerial();
}

/** Access of the TLP that arrived last; bit 31: it is the last posted one. */
export function timedSerial(): u32 {
  return arrivedSerial;
}

/** Where the data of a piece of DMA stand, at a place congruent to `phase` modulo 16. */
export function timedDmaData(piece: u32, phase: u32): u32 {
  return <u32>pieceData(piece, phase);
}

/** Requests of the function in `slot` for up to a page, as the parameter block says. 0: not now, the tags are in use. */
export function timedDma(slot: u32, piece: u32, lo: u32, hi: u32, bytes: u32, isLast: u32): u32 {
  const isWrite = load<u32>(PARAMS, PARAM_OP) == OPERATION_WRITE;
  if (!isWrite && !hasTags()) return 0;
  beginDma(piece);
  pushOperation(pair(lo, hi), bytes, pieceData(piece, lo), 0);
  endDma(piece, slot, isWrite, isLast != 0);
  return 1;
}

// ------------------------------------------------------------------------------------- transaction layer tools
/** Encodes the prefixes and the header of the FIELDS block into the wire scratch; returns their bytes. */
export function tlpEncode(): u32 {
  const prefixes = encodePrefixes(FIELDS, WIRE + WIRE_LEAD);
  return prefixes + encodeHeader(FIELDS, WIRE + WIRE_LEAD + prefixes);
}

/** Decodes prefixes and header of the `bytes` bytes in the wire scratch into the FIELDS block. Answers DECODE_*. */
export function tlpDecode(bytes: u32): u32 {
  const answer = decodePrefixes(FIELDS, WIRE + WIRE_LEAD, bytes);
  if (answer != DECODE_OK) return answer;
  const prefixes = prefixBytes(FIELDS);
  return decodeHeader(FIELDS, WIRE + WIRE_LEAD + prefixes, bytes - prefixes);
}

/** First malformed rule of the decoded TLP with `rest` bytes behind its header; see `checkFields`. */
export function tlpCheck(rest: u32, digest: u32, mps: u32, beCheck: u32): u32 {
  return checkFields(FIELDS, rest, digest != 0, mps, beCheck != 0);
}

/** LCRC over the sequence number and the `bytes` bytes in the wire scratch; send least significant byte first. */
export function tlpLcrc(bytes: u32, sequence: u32): u32 {
  return lcrc(WIRE + WIRE_LEAD, bytes, sequence);
}

/** ECRC over the `bytes` bytes in the wire scratch with `header` bytes of prefixes; least significant byte first. */
export function tlpEcrc(bytes: u32, header: u32): u32 {
  return ecrc(WIRE + WIRE_LEAD, bytes, header);
}

/** CRC-32 of the `bytes` bytes in the wire scratch; send least significant byte first. */
export function tlpCrc32(bytes: u32): u32 {
  return ~crc32(WIRE + WIRE_LEAD, bytes, 0xffffffff);
}

/** CRC-16 of the `bytes` bytes of a DLLP in the wire scratch; send least significant byte first. */
export function dllpCrc16(bytes: u32): u32 {
  return crc16(WIRE + WIRE_LEAD, bytes);
}

/** Length in DW in bits 15:0, Last and First DW BE in bits 23:16. */
export function byteRange(address: u32, bytes: u32): u32 {
  return lengthDw(address, bytes) | (byteEnables(address, bytes) << 16);
}

/** Byte count in bits 15:0, first offset in 19:16, last offset in 23:20. */
export function enabledRange(length: u32, firstBe: u32, lastBe: u32): u32 {
  const last = length == 1 ? lastOffset(firstBe) : lastOffset(lastBe);
  return enabledBytes(length, firstBe, lastBe) | (firstOffset(firstBe) << 16) | (last << 20);
}

/** Lists the one request of a zero-length transfer at bus address (lo, hi). */
export function splitZero(lo: u32, hi: u32): void {
  resetAccess();
  stage(0, 0);
  pushOperation(pair(lo, hi), 0, 0, 0);
  skipDelivery();
}

/** Tag of the next non-posted request. */
export function tagNext(tag: u32): void {
  setNextTag(tag & 0xff);
}

/** Lists a read request and its completions; see `listReadCompletions`. Returns the number of completions. */
export function splitCompletions(lo: u32, hi: u32, length: u32, enables: u32, tag: u32, upstream: u32): u32 {
  return listReadCompletions(pair(lo, hi), length, enables, tag, upstream != 0);
}

/** Device calls of one dispatch of `bytes` at `offset`: 0 when the region refuses it, else the size of each call. */
export function regionDispatch(offset: u32, bytes: u32, valid: u32, impl: u32): u32 {
  return regionAccepts(offset, bytes, valid) ? regionCall(bytes, impl) : 0;
}
