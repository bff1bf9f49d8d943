// Floor 5: the completer behind an end of a loaded link: reads wait until their data are there, then completions leave.

import { Copy, hostBytes, hostMemory } from '../kernel/arena';
import { KIND_CPLD, TLP_OVERHEAD_BYTES } from '../layout';
import {
  AT_READY,
  hasRoom,
  NEVER,
  PORTS,
  queueTlp,
  TLP_H0,
  TLP_H1,
  TLP_H2,
  TLP_H3,
  TLP_PAYLOAD,
  wake,
} from '../link/port';
import {
  LINK_CPL,
  LINK_MPS,
  LOAD_COMPLETER_DELAY,
  LOAD_COMPLETION_POLICY,
  LOAD_DIGEST_BYTES,
  LOAD_HEADER_BITS,
  LOAD_HOST_BASE,
  LOAD_RCB,
} from '../link-layout';
import { enabledBytes, firstOffset } from '../tlp/bytes';
import { fmtTypeOf, isFourDw } from '../tlp/kinds';
import { completionPiece } from '../tlp/split';
import { routedMemory, routeMemory, windowFirst, windowHolds, windowMemory } from './functions';

import { hasPayloadRoom, reserve, roomOf } from './inflight';

// Words of a port that are this file's.
const READY_HEAD: usize = 736;
const READY_TAIL: usize = 740;
const READY_AT: usize = 744;
export const IS_STALLED: usize = 748; // the next completion waits for room

/** Reads whose completions come later: time (u64), request (u32). The other end has at most LINK_TAGS (1024) under way. */
const READY_SLOTS: u32 = 2048;
const READY_RING: usize = memory.data(2 * 2048 * 16, 16);

/** The completer at the begin of a run. */
export function resetCompleter(port: usize): void {
  const n: usize = port == PORTS ? 0 : 1;
  store<u32>(port, <u32>(READY_RING + n * <usize>READY_SLOTS * 16), READY_AT);
  store<u64>(port, 0, READY_HEAD);
  store<u32>(port, 0, IS_STALLED);
}

/** Wire bytes of a TLP beside header and data: framing, sequence number, LCRC, and ECRC if there is one. */
export function overheadOf(port: usize): u32 {
  return TLP_OVERHEAD_BYTES + load<u32>(port, LOAD_DIGEST_BYTES);
}

export function addressOf(tlp: usize, fmtType: u32): u64 {
  const high = load<u32>(tlp, TLP_H2);
  return isFourDw(fmtType) ? ((<u64>high) << 32) | load<u32>(tlp, TLP_H3) : <u64>high;
}

/** Memory behind this end: BARs below, host memory above; 0: nobody claims it. */
export function memoryAt(port: usize, address: u64, bytes: u32): usize {
  if (port == PORTS) {
    const offset = address - load<u64>(port, LOAD_HOST_BASE);
    return offset < hostBytes && bytes <= hostBytes - <u32>offset ? hostMemory + <usize>offset : 0;
  }
  // Most go where the one before went.
  if (windowHolds(address, bytes)) {
    const memory = windowMemory();
    return memory == 0 ? 0 : memory + <usize>(<u32>(address - windowFirst()));
  }
  return routeMemory(address, bytes) ? routedMemory : 0;
}

function readyAt(port: usize, index: u32): usize {
  return <usize>load<u32>(port, READY_AT) + ((<usize>(index & (READY_SLOTS - 1))) << 4);
}

/** The completer answers a read after its delay. */
export function defer(port: usize, now: u64, tlp: usize): void {
  const head = load<u32>(port, READY_HEAD);
  const at = readyAt(port, head);
  const time = now + load<u64>(port, LOAD_COMPLETER_DELAY);
  store<u64>(at, time);
  store<u32>(at, <u32>tlp, 8);
  store<u32>(port, head + 1, READY_HEAD);
  if (head == load<u32>(port, READY_TAIL)) store<u64>(port, time, AT_READY);
}

/** The next read has its data: one completion, or as many as MPS and RCB make of it. */
export function complete(port: usize, now: u64): void {
  const tail = load<u32>(port, READY_TAIL);
  const tlp: usize = load<u32>(readyAt(port, tail), 8);
  const word0 = load<u32>(tlp, TLP_H0);
  const coded = word0 & 0x3ff;
  let left = coded == 0 ? 1024 : coded;
  const room = roomOf(left << 2);
  if (!hasRoom(port, LINK_CPL, 64) || !hasPayloadRoom(port, LINK_CPL, room)) {
    store<u64>(port, NEVER, AT_READY);
    store<u32>(port, 1, IS_STALLED);
    return;
  }
  store<u32>(port, tail + 1, READY_TAIL);
  // After a wait for room the next one may be late already.
  const next = tail + 1 == load<u32>(port, READY_HEAD) ? NEVER : max(now, load<u64>(readyAt(port, tail + 1)));
  store<u64>(port, next, AT_READY);
  const word1 = load<u32>(tlp, TLP_H1);
  let address = addressOf(tlp, word0 >>> 24);
  let from = memoryAt(port, address, left << 2);
  const data = reserve(port, LINK_CPL, room);
  if (from != 0) Copy.data(data, from, left << 2);
  from = data;
  const enables = word1 & 0xff;
  let offset = firstOffset(enables & 0xf);
  let bytes = enabledBytes(left, enables & 0xf, enables >> 4);
  const mps = load<u32>(port, LINK_MPS);
  const rcb = load<u32>(port, LOAD_RCB);
  const policy = load<u32>(port, LOAD_COMPLETION_POLICY);
  const kept = (fmtTypeOf(KIND_CPLD) << 24) | (word0 & 0x00fc_3000) | load<u32>(port, LOAD_HEADER_BITS);
  const overhead = overheadOf(port) + 12;
  while (left > 0) {
    const piece = completionPiece(<u32>address, left, mps, rcb, policy);
    const cpl = queueTlp(port, LINK_CPL);
    store<u64>(cpl, <u64>(kept | (piece & 0x3ff)) | ((<u64>(bytes & 0xfff)) << 32), TLP_H0);
    store<u64>(cpl, <u64>((word1 & 0xffff_ff00) | (<u32>address & 0x7c) | offset), TLP_H2);
    const wire = overhead + (piece << 2);
    store<u64>(cpl, <u64>(<u32>from) | ((<u64>((piece << 2) | (wire << 16))) << 32), TLP_PAYLOAD);
    bytes -= min(bytes, (piece << 2) - offset);
    offset = 0;
    address += piece << 2;
    from += piece << 2;
    left -= piece;
  }
  wake(port, now);
}
