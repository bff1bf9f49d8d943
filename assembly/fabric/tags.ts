// Floor 5: in simulated time: who waits for the answer to a request, by tag: the CPU, or a piece of a function's DMA.

import { pushRecord, recordAt, recordCount } from '../kernel/records';
import { CPL_SC, DESCRIPTOR_H1, DMA_PIECE_BYTES, DMA_PIECES, RECORD_DMA, RECORD_STATUS } from '../layout';
import { LINK_MOST, LINK_NP } from '../link-layout';
import { classOf } from './holds';
import { nextTag } from './request';

// Who waits: 0 nobody, 1 the CPU, 2 + number of a piece of DMA; and the port that sent the request.
const NOBODY: u32 = 0;
export const CPU: u32 = 1;
const FIRST_PIECE: u32 = 2;
const TAGS: usize = memory.data(256 * 8, 16);
let owner: u32 = CPU;
/** Non-posted requests of one operation: 4 KiB at an MRRS of 128, unaligned. */
const OPERATION_TAGS: u32 = 34;

/** Non-posted requests of the CPU without an answer. */
export let cpuOutstanding: u32 = 0;

// Pieces of DMA: requests without an answer; status of the first of them that failed, its place, tag of the very first.
const PIECES: usize = memory.data(DMA_PIECES * 8, 16);
/** By link: the piece of posted writes that is not sent, counted from 1. */
const WRITES: usize = memory.data(LINK_MOST * 4, 4);
let buffers: usize = 0;

/** Bytes that the data of all pieces take. */
export const BUFFER_BYTES: u32 = DMA_PIECES * DMA_PIECE_BYTES;

/** Nobody waits. The data of pieces stand at `at`. */
export function resetTags(at: usize): void {
  cpuOutstanding = 0;
  owner = CPU;
  buffers = at;
  memory.fill(TAGS, 0, 256 * 8);
  memory.fill(PIECES, 0, DMA_PIECES * 8);
  memory.fill(WRITES, 0, LINK_MOST * 4);
}

function tagAt(tag: u32): usize {
  return TAGS + ((<usize>(tag & 0xff)) << 3);
}

/** NOBODY, CPU, or a piece. */
export function waitingFor(tag: u32): u32 {
  return load<u32>(tagAt(tag));
}

/** True while the next `count` tags are free. They are given out in their order. */
function tagsFree(count: u32): bool {
  for (let n: u32 = 0; n < count; n++) if (waitingFor(nextTag + n) != NOBODY) return false;
  return true;
}

/** One operation can be sent. */
export function hasTags(): bool {
  return tagsFree(OPERATION_TAGS);
}

/** The request at descriptor `at` leaves by `port`: if it is not posted, somebody waits for its answer. */
export function takeTag(at: usize, kind: u32, port: usize): void {
  if (classOf(kind) != LINK_NP) return;
  const entry = tagAt(load<u32>(at, DESCRIPTOR_H1) >> 8);
  store<u32>(entry, owner);
  store<u32>(entry, <u32>port, 4);
  if (owner == CPU) cpuOutstanding += 1;
  else {
    const piece = pieceAt(owner - FIRST_PIECE);
    store<u32>(piece, load<u32>(piece) + 1);
  }
}

/** An answer of a piece came with an error. They come in any order: what counts is which request was first. */
export function failed(tag: u32, status: u32): void {
  const who = waitingFor(tag);
  if (who < FIRST_PIECE) return;
  const piece = pieceAt(who - FIRST_PIECE);
  const place = (tag - load<u8>(piece, 6)) & 0xff;
  if (load<u8>(piece, 4) != CPL_SC && place > load<u8>(piece, 5)) return;
  store<u8>(piece, status, 4);
  store<u8>(piece, place, 5);
}

/** The last answer to `tag`, for the function in `slot` if it is a piece's. Returns the port that is free to ask again; 0: none. */
export function answered(tag: u32, slot: u32): usize {
  const entry = tagAt(tag);
  const who = load<u32>(entry);
  if (who == NOBODY) return 0;
  store<u32>(entry, NOBODY);
  if (who == CPU) cpuOutstanding -= 1;
  else {
    const piece = pieceAt(who - FIRST_PIECE);
    const left = load<u32>(piece) - 1;
    store<u32>(piece, left);
    if (left == 0) endPiece(who - FIRST_PIECE, slot, load<u8>(piece, 4));
  }
  return load<u32>(entry, 4);
}

function pieceAt(piece: u32): usize {
  return PIECES + ((<usize>piece) << 3);
}

/** What is sent next belongs to `piece`, until `endOwner`. */
export function beginOwner(piece: u32): void {
  owner = FIRST_PIECE + piece;
  store<u64>(pieceAt(piece), (<u64>nextTag) << 48);
}

/** What is sent next is the CPU's. Posted writes of `piece` are done when they have left the function in `slot`. */
export function endOwner(piece: u32, slot: u32, isWrite: bool): void {
  owner = CPU;
  if (isWrite) store<u32>(WRITES + ((<usize>slot) << 2), piece + 1);
}

/** All that the function in `slot` wrote has left it. */
export function writesLeft(slot: u32): void {
  const entry = WRITES + ((<usize>slot) << 2);
  const piece = load<u32>(entry);
  if (piece == 0) return;
  store<u32>(entry, 0);
  endPiece(piece - 1, slot, CPL_SC);
}

function endPiece(piece: u32, slot: u32, status: u32): void {
  pushRecord(RECORD_DMA, slot, 0, piece, 0, 0, 0, 0, false);
  store<u32>(recordAt(recordCount - 1), status, RECORD_STATUS);
}

/** Where the data of `piece` stand, congruent to `phase` modulo 16. */
export function pieceData(piece: u32, phase: u32): usize {
  return buffers + <usize>(piece * DMA_PIECE_BYTES + (phase & 15));
}
