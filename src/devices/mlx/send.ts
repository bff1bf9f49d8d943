/** Send queues: doorbells, WQE fetch, payload gather, completions and errors. */
import { add64 } from '../../core/u64.js';
import { complete } from './completions.js';
import { readRecord, readSpans } from './dma.js';
import { errorCqe, sendCqe, workQueueEvent } from './entries.js';
import { postAsync } from './events.js';
import * as L from './layout.js';
import { translate } from './mkeys.js';
import { isCableFull, transmit } from './port.js';
import type { SendQueue } from './resources.js';
import { ringSpans, type Span } from './ring.js';
import { cancel, later, type Nic, protocolError } from './state.js';
import { type Control, lengthOf, parseControl, parseSend } from './wqe.js';

//   doorbell -> posted      one WQE at a time, from `next` to `posted`:
//
//   fetch 64 bytes, or the whole WQE if the doorbell names it -> fetch its other blocks -> check -> gather the payload
//      | no data                                                   | wrong                | lkey, no data
//      v                                                           v                      v
//   ERROR: what is posted is lost                        error CQE, ERROR: what is posted, now and later, is flushed
//
// A WQE that a BlueFlame register brought is not fetched.

/** The 8 bytes of a doorbell: the beginning of the control segment of the last WQE that was posted. */
export interface Doorbell {
  readonly index: number;
  readonly sqn: number;
  readonly units: number;
}

/** Takes a doorbell from UAR page `uar`, with the WQE itself if a BlueFlame register brought it. */
export function ringSq(nic: Nic, uar: number, doorbell: Doorbell, blueFlame?: Uint8Array): void {
  const { ctx, settings } = nic;
  const { index, sqn } = doorbell;
  const sq = ctx.state.sqs.get(sqn);
  if (sq === undefined || sq.uar !== uar) {
    protocolError(nic, 'SQ doorbell of no SQ');
    return;
  }
  if (sq.state === 'reset') {
    protocolError(nic, 'SQ doorbell in reset');
    return;
  }
  const blocks = blocksOf(doorbell.units);
  const end = (index + blocks) & L.WQ_MASK;
  const isMiss = index !== sq.posted;
  if (!post(sq, end) && end !== sq.posted) protocolError(nic, 'SQ doorbell behind the ring');
  else {
    sq.rung = { index, blocks };
    if (blueFlame !== undefined) sq.blueFlames.push({ index, bytes: blueFlame });
  }
  const { sqDbrRead } = settings;
  if (sqDbrRead === 'onDoorbell' || (sqDbrRead === 'onDoorbellMiss' && isMiss))
    readRecord(ctx, add64(sq.record, 4), (value) => {
      if (value !== undefined) post(sq, value & L.WQ_MASK);
      runSend(nic, sq);
    });
  else runSend(nic, sq);
}

/** Starts the next WQE, unless one is under way or something holds the queue back. */
export function runSend(nic: Nic, sq: SendQueue): void {
  const { state } = nic.ctx;
  if (sq.busy || sq.next === sq.posted || sq.state === 'reset') return;
  if (state.held !== undefined || isCableFull(nic) || state.sqs.get(sq.sqn) !== sq) return;
  sq.busy = true;
  const { rung, blueFlames } = sq;
  const blueFlame = blueFlames.findIndex(({ index }) => index === sq.next);
  const isKnown = rung?.index === sq.next;
  if (blueFlame >= 0) {
    nic.ctx.stats.count('blueFlames');
    for (const { bytes } of blueFlames.splice(blueFlame, 1)) checkLength(nic, sq, bytes);
  } else fetch(nic, sq, 0, isKnown ? rung.blocks : 1, (bytes) => checkLength(nic, sq, bytes));
}

/** Goes on with all queues: the cable has room again, or the NIC was quiesced. */
export function runAllSends(nic: Nic): void {
  for (const sq of [...nic.ctx.state.sqs.values()]) runSend(nic, sq);
}

/** The payload did not come in time: the send fails, and what comes later is dropped. */
export function fetchTimedOut(nic: Nic, sqn: number, number: number): void {
  const { state, stats } = nic.ctx;
  const sq = state.sqs.get(sqn);
  if (sq?.gather?.number !== number) return;
  state.health = L.HEALTH_FETCH_PCI;
  stats.count('completionTimeouts');
  endGather(nic, sq, L.SYNDROME.LOCAL_ACCESS);
}

/** Moves `posted` on to `end`; false: nothing new, or more than the ring holds. */
function post(sq: SendQueue, end: number): boolean {
  const count = (end - sq.next) & L.WQ_MASK;
  const before = (sq.posted - sq.next) & L.WQ_MASK;
  if (count <= before || count > 2 ** sq.logSize) return false;
  sq.posted = end;
  return true;
}

/** Reads `blocks` blocks of the WQE, `from` blocks behind its first one. */
function fetch(
  nic: Nic,
  sq: SendQueue,
  from: number,
  blocks: number,
  done: (bytes: Uint8Array) => void,
): void {
  const ring = 2 ** sq.logSize * L.BLOCK_BYTES;
  const at = ((sq.next + from) & L.WQ_MASK) * L.BLOCK_BYTES;
  const spans: readonly Span[] = ringSpans(sq.buffer, ring, at, Math.min(blocks * L.BLOCK_BYTES, ring));
  readSpans(nic.ctx, spans, {}, (bytes) => {
    if (nic.ctx.state.sqs.get(sq.sqn) !== sq) return;
    if (bytes === undefined) fetchFailed(nic, sq);
    else done(bytes);
  });
}

/** Without its WQEs a queue cannot even be flushed. */
function fetchFailed(nic: Nic, sq: SendQueue): void {
  nic.ctx.stats.count('wqeFetchErrors');
  if (sq.state !== 'error') {
    completeError(nic, sq, L.SYNDROME.LOCAL_QP_OPERATION, 0);
    postAsync(nic, workQueueEvent(L.QUEUE_SQ, sq.sqn));
  }
  sq.state = 'error';
  sq.next = sq.posted;
  sq.blueFlames.length = 0;
  sq.busy = false;
}

function checkLength(nic: Nic, sq: SendQueue, bytes: Uint8Array): void {
  const control = parseControl(bytes);
  const blocks = blocksOf(control.units);
  const posted = (sq.posted - sq.next) & L.WQ_MASK;
  const isSound =
    control.index === sq.next && control.sqn === sq.sqn && control.units > 0 && blocks <= posted;
  if (!isSound) {
    // Its length cannot be believed: one block is what is sure.
    const { FLUSHED, LOCAL_QP_OPERATION } = L.SYNDROME;
    finish(nic, sq, control, sq.state === 'error' ? FLUSHED : LOCAL_QP_OPERATION, 1);
    return;
  }
  const had = bytes.length / L.BLOCK_BYTES;
  const whole = control.units * L.UNIT_BYTES;
  if (blocks <= had) execute(nic, sq, control, bytes.subarray(0, whole));
  else
    fetch(nic, sq, had, blocks - had, (rest) => {
      const all = new Uint8Array(bytes.length + rest.length);
      all.set(bytes);
      all.set(rest, bytes.length);
      execute(nic, sq, control, all.subarray(0, whole));
    });
}

/** @param bytes the whole WQE */
function execute(nic: Nic, sq: SendQueue, control: Control, bytes: Uint8Array): void {
  const plan = sq.state === 'error' ? L.SYNDROME.FLUSHED : planOf(nic, control, bytes);
  if (plan === undefined || typeof plan === 'number') {
    finish(nic, sq, control, plan);
    return;
  }
  const number = ++nic.ctx.state.fetches;
  sq.gather = { number, control };
  if (plan.reads.length === 0) endGather(nic, sq, plan.frame);
  else gather(nic, sq, number, plan);
}

/** A frame with what stands in the WQE, and what has to be read into it. */
interface SendPlan {
  readonly frame: Uint8Array;
  readonly reads: readonly PayloadRead[];
}

interface PayloadRead {
  /** Place in the frame. */
  readonly at: number;
  readonly span: Span;
  readonly relaxedOrdering: boolean;
}

/** What the WQE asks for: a frame, nothing (NOP), or the syndrome of what is wrong with it. */
function planOf(
  { ctx, settings }: Nic,
  control: Control,
  bytes: Uint8Array,
): SendPlan | L.Syndrome | undefined {
  if (control.opcode === L.WQE_NOP) return undefined;
  if (control.opcode !== L.WQE_SEND) return L.SYNDROME.LOCAL_QP_OPERATION;
  const parts = parseSend(bytes);
  if (typeof parts === 'number') return parts;
  const length = lengthOf(parts);
  if (length === 0 || length > settings.maxFrameBytes) return L.SYNDROME.LOCAL_LENGTH;
  const frame = new Uint8Array(length);
  const reads: PayloadRead[] = [];
  let at = 0;
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      frame.set(part, at);
      at += part.length;
      continue;
    }
    const found = translate(ctx.state, part.lkey, part.address, part.length, 'read');
    if (found === undefined) return L.SYNDROME.LOCAL_PROTECTION;
    for (const span of found.spans) {
      reads.push({ at, span, relaxedOrdering: found.key.relaxedOrderingRead });
      at += span.length;
    }
  }
  return { frame, reads };
}

function gather(nic: Nic, sq: SendQueue, number: number, { frame, reads }: SendPlan): void {
  const { ctx, settings } = nic;
  let open = reads.length;
  let isWhole = true;
  for (const { at, span, relaxedOrdering } of reads)
    ctx.dma.read(span.address, span.length, { relaxedOrdering }, ({ data }) => {
      if (data === undefined) isWhole = false;
      else frame.set(data, at);
      open--;
      if (open > 0 || sq.gather?.number !== number || ctx.state.sqs.get(sq.sqn) !== sq) return;
      cancel(nic, (event) => event.kind === 'fetch' && event.fetch === number);
      endGather(nic, sq, isWhole ? frame : L.SYNDROME.LOCAL_ACCESS);
    });
  const { completionTimeoutNs } = settings;
  if (completionTimeoutNs > 0) later(nic, completionTimeoutNs, { kind: 'fetch', sqn: sq.sqn, fetch: number });
}

function endGather(nic: Nic, sq: SendQueue, result: Uint8Array | L.Syndrome): void {
  const control = sq.gather?.control;
  sq.gather = undefined;
  if (control === undefined) return;
  if (typeof result === 'number') {
    finish(nic, sq, control, result);
    return;
  }
  transmit(nic, result);
  finish(nic, sq, control);
}

/** Completes the WQE as its CE bits ask, or with an error, and goes on behind it. */
function finish(
  nic: Nic,
  sq: SendQueue,
  control: Control,
  syndrome?: L.Syndrome,
  blocks = blocksOf(control.units),
): void {
  const { ctx } = nic;
  const { completion, solicited, opcode } = control;
  if (syndrome !== undefined) {
    if (syndrome !== L.SYNDROME.FLUSHED || sq.flushInError) completeError(nic, sq, syndrome, opcode);
    sq.state = 'error';
  } else if (completion === L.CE_ALWAYS || completion === L.CE_EVENT) {
    const cqe = sendCqe({ queue: sq.sqn, counter: sq.next, ns: ctx.time.ns }, opcode, solicited);
    complete(nic, sq.cqn, { cqe, solicited, event: completion === L.CE_EVENT });
  }
  sq.next = (sq.next + blocks) & L.WQ_MASK;
  if (sq.next === sq.posted) sq.blueFlames.length = 0; // of a WQE that another one covered
  sq.busy = false;
  runSend(nic, sq);
}

function completeError(nic: Nic, sq: SendQueue, syndrome: L.Syndrome, opcode: number): void {
  const cqe = errorCqe({ queue: sq.sqn, counter: sq.next, ns: nic.ctx.time.ns }, syndrome, opcode);
  complete(nic, sq.cqn, { cqe, solicited: true, event: false });
}

/** Blocks of a WQE of `units` units: at least the one that has its control segment. */
function blocksOf(units: number): number {
  return Math.max(1, Math.ceil(units / L.UNITS_PER_BLOCK));
}
