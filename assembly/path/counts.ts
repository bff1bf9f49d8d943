// Floor 7: what one access along a path counts: instructions, exits, system calls, host operations, device calls, bytes.

import { put } from '../fabric/traffic';
import { PARAMS } from '../kernel/arena';
import {
  ACCESS_BYTES_DONE,
  ACCESS_DEVICE_CALLS,
  ACCESS_EXITS,
  ACCESS_GUEST_INSTRUCTIONS,
  ACCESS_HOST_OPERATIONS,
  ACCESS_MIO_OPERATIONS,
  ACCESS_SYSTEM_CALLS,
  COUNT_DEVICE_CALLS,
  COUNT_EXITS,
  COUNT_HOST_OPERATIONS,
  COUNT_INSTRUCTIONS,
  COUNT_LINE_STORES,
  COUNT_MIO,
  COUNT_SYSTEM_CALLS,
  OPERATION_WRITE,
  PARAM_COALESCED,
  PARAM_COUNTING,
  PARAM_OP,
} from '../layout';
import { naturalPiece } from './rules';

/** A coalesced MMIO ring queues this many writes; the next one exits (KVM, access-paths.md 5). */
const COALESCED_ENTRIES: u32 = 169;

export let instructions: u64 = 0;
export let exits: u64 = 0;
export let systemCalls: u64 = 0;
export let hostOperations: u64 = 0;
let mioOperations: u64 = 0;
let calls: u64 = 0;
let bytesDone: u64 = 0;
/** Writes in the coalesced MMIO ring. */
let queued: u32 = 0;

export function resetCounts(): void {
  instructions = 0;
  exits = 0;
  systemCalls = 0;
  hostOperations = 0;
  mioOperations = 0;
  calls = 0;
  bytesDone = 0;
  queued = 0;
}

/** COUNT_* of the access that runs. */
export function counting(): u32 {
  return load<u32>(PARAMS, PARAM_COUNTING);
}

/** A guest-level piece. */
export function countGuest(position: u64, bytes: u32): void {
  if (counting() & COUNT_LINE_STORES) instructions += naturalStores(position, bytes);
  else if (counting() & COUNT_INSTRUCTIONS) instructions += 1;
}

/** A guest instruction that was executed once more. */
export function countAgain(): void {
  instructions += 1;
}

/** An exit-level piece: a write that the coalesced MMIO ring takes does not exit. */
export function countExit(): void {
  if (!(counting() & COUNT_EXITS)) return;
  const isQueued = load<u32>(PARAMS, PARAM_COALESCED) && load<u32>(PARAMS, PARAM_OP) == OPERATION_WRITE;
  if (isQueued && queued < COALESCED_ENTRIES) queued += 1;
  else {
    exits += 1;
    queued = 0;
  }
}

export function countSystemCall(): void {
  if (counting() & COUNT_SYSTEM_CALLS) systemCalls += 1;
}

/** Host operations once the next one is done: an emulator's calls are none. */
export function hostOperationsNext(): u64 {
  return counting() & COUNT_HOST_OPERATIONS ? hostOperations + 1 : hostOperations;
}

/** An operation of the host, whatever comes of it. */
export function countHost(): void {
  if (counting() & COUNT_HOST_OPERATIONS) hostOperations += 1;
  if (counting() & COUNT_MIO) mioOperations += 1;
}

export function countCalls(count: u32): void {
  if (counting() & COUNT_DEVICE_CALLS) calls += count;
}

/** Bytes that an operation covered, skipped and lost ones included. */
export function countBytes(bytes: u32): void {
  bytesDone += bytes;
}

/** Writes the counts into the ACCESS block. */
export function writeCounts(): void {
  put(ACCESS_GUEST_INSTRUCTIONS, instructions);
  put(ACCESS_EXITS, exits);
  put(ACCESS_SYSTEM_CALLS, systemCalls);
  put(ACCESS_HOST_OPERATIONS, hostOperations);
  put(ACCESS_MIO_OPERATIONS, mioOperations);
  put(ACCESS_DEVICE_CALLS, calls);
  put(ACCESS_BYTES_DONE, bytesDone);
}

/** Naturally aligned stores of at most 64 bytes that fill a range of one line. */
function naturalStores(position: u64, bytes: u32): u32 {
  let stores: u32 = 0;
  let at = <u32>position;
  let left = bytes;
  while (left > 0) {
    const piece = naturalPiece(at, left, 64);
    at += piece;
    left -= piece;
    stores += 1;
  }
  return stores;
}
