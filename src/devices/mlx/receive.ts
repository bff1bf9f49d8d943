/** Receive queues: finding what software posted, scattering frames, completions and errors. */
import { complete } from './completions.js';
import { readRecord, readSpans } from './dma.js';
import { errorCqe, receiveCqe, workQueueEvent } from './entries.js';
import { postAsync } from './events.js';
import { QUEUE_RQ, SYNDROME, type Syndrome, UNIT_BYTES, WQ_MASK } from './layout.js';
import { translate } from './mkeys.js';
import type { ReceiveQueue } from './resources.js';
import { spansOf } from './ring.js';
import { type Nic, protocolError } from './state.js';
import { nextIndex, parseScatter } from './wqe.js';

//   frame -> a WQE that is known to be posted? -- no --> read the doorbell record -- still none --> the frame is dropped
//                       | yes                                   | more were posted
//                       v                                       v
//            read the WQE -> scatter the frame -> CQE         (as yes)
//
// An RQ is posted to without MMIO (A3), so the record is read when nothing else is known.

/** Frames that wait for the one before them. */
const MOST_WAITING = 256;

/** Takes a frame from the cable. */
export function receiveFrame(nic: Nic, frame: Uint8Array): void {
  const { state, stats } = nic.ctx;
  const rq = state.receiver === undefined ? undefined : state.rqs.get(state.receiver);
  stats.count('framesArrived');
  if (rq === undefined || rq.state !== 'ready' || rq.frames.length >= MOST_WAITING || frame.length === 0) {
    stats.count('framesDropped');
    return;
  }
  rq.frames.push(frame);
  runReceive(nic, rq);
}

/** Goes on with all queues after the NIC was quiesced. */
export function runAllReceives(nic: Nic): void {
  for (const rq of [...nic.ctx.state.rqs.values()]) runReceive(nic, rq);
}

function runReceive(nic: Nic, rq: ReceiveQueue): void {
  const { ctx } = nic;
  const [frame] = rq.frames;
  if (rq.busy || frame === undefined || rq.state !== 'ready' || ctx.state.held !== undefined) return;
  rq.busy = true;
  const take = (): void => {
    rq.frames.shift();
    fetch(nic, rq, frame);
  };
  if (rq.next !== rq.posted) {
    take();
    return;
  }
  readPosted(nic, rq, () => {
    if (rq.next !== rq.posted) {
      take();
      return;
    }
    rq.frames.shift();
    ctx.stats.count('framesDropped');
    ctx.stats.count('outOfBuffer');
    release(nic, rq);
  });
}

/** Reads the record; a counter that would post more than the ring holds changes nothing. */
function readPosted(nic: Nic, rq: ReceiveQueue, then: () => void): void {
  const { ctx } = nic;
  readRecord(ctx, rq.record, (value) => {
    if (ctx.state.rqs.get(rq.rqn) !== rq) return;
    const count = value === undefined ? 0 : (value - rq.next) & WQ_MASK;
    if (count <= 2 ** rq.logSize) rq.posted = (rq.next + count) & WQ_MASK;
    else protocolError(nic, 'RQ doorbell record');
    then();
  });
}

function fetch(nic: Nic, rq: ReceiveQueue, frame: Uint8Array): void {
  const bytes = 2 ** rq.logStride;
  readSpans(nic.ctx, spansOf(rq.buffer, indexOf(rq) * bytes, bytes), {}, (wqe) => {
    if (nic.ctx.state.rqs.get(rq.rqn) !== rq) return;
    if (wqe !== undefined) {
      scatter(nic, rq, frame, wqe);
      return;
    }
    nic.ctx.stats.count('wqeFetchErrors');
    fail(nic, rq, SYNDROME.LOCAL_QP_OPERATION);
    postAsync(nic, workQueueEvent(QUEUE_RQ, rq.rqn));
    release(nic, rq);
  });
}

/** Writes the frame where the scatter list says, nothing of it when not all of it can be written. */
function scatter(nic: Nic, rq: ReceiveQueue, frame: Uint8Array, wqe: Uint8Array): void {
  const { ctx } = nic;
  const isList = rq.type === 'linked-list';
  const list = parseScatter(isList ? wqe.subarray(UNIT_BYTES) : wqe);
  const next = nextIndex(wqe);
  if (isList && next >= 2 ** rq.logSize) {
    failAndFlush(nic, rq, SYNDROME.LOCAL_QP_OPERATION);
    return;
  }
  const writes = [];
  let at = 0;
  for (const { lkey, address, length } of list) {
    const bytes = Math.min(length, frame.length - at);
    if (bytes === 0) break;
    const found = translate(ctx.state, lkey, address, bytes, 'write');
    if (found === undefined) {
      failAndFlush(nic, rq, SYNDROME.LOCAL_PROTECTION);
      return;
    }
    for (const span of found.spans) {
      writes.push({ span, at, relaxedOrdering: found.key.relaxedOrderingWrite });
      at += span.length;
    }
  }
  if (at < frame.length) {
    failAndFlush(nic, rq, SYNDROME.LOCAL_LENGTH);
    return;
  }
  for (const { span, at: from, relaxedOrdering } of writes)
    ctx.dma.write(span.address, frame.subarray(from, from + span.length), { relaxedOrdering });
  ctx.stats.count('framesReceived');
  // A posted write behind the payload that may not pass it: software that sees the CQE sees the frame.
  const cqe = receiveCqe({ queue: rq.rqn, counter: counterOf(rq), ns: ctx.time.ns }, frame);
  complete(nic, rq.cqn, { cqe, solicited: false, event: false });
  advance(rq, next);
  release(nic, rq);
}

/** An error CQE for the next WQE, and the queue takes nothing more. */
function fail(nic: Nic, rq: ReceiveQueue, syndrome: Syndrome): void {
  const cqe = errorCqe({ queue: rq.rqn, counter: counterOf(rq), ns: nic.ctx.time.ns }, syndrome, undefined);
  complete(nic, rq.cqn, { cqe, solicited: true, event: false });
  nic.ctx.stats.count('framesDropped', 1 + rq.frames.length);
  rq.frames.length = 0;
  rq.state = 'error';
}

/** The same, then everything that was posted behind it is flushed. */
function failAndFlush(nic: Nic, rq: ReceiveQueue, syndrome: Syndrome): void {
  fail(nic, rq, syndrome);
  const first = counterOf(rq);
  readPosted(nic, rq, () => {
    // The list of a linked-list RQ may be what is broken: its WQEs are flushed by their place in the ring.
    const count = (rq.posted - rq.next) & WQ_MASK;
    for (let n = 1; n < count && rq.flushInError; n++) {
      const counter = rq.type === 'cyclic' ? (first + n) & WQ_MASK : (first + n) % 2 ** rq.logSize;
      const cqe = errorCqe({ queue: rq.rqn, counter, ns: nic.ctx.time.ns }, SYNDROME.FLUSHED, undefined);
      complete(nic, rq.cqn, { cqe, solicited: true, event: false });
    }
    rq.next = rq.posted;
    release(nic, rq);
  });
}

function release(nic: Nic, rq: ReceiveQueue): void {
  rq.busy = false;
  runReceive(nic, rq);
}

function advance(rq: ReceiveQueue, next: number): void {
  rq.next = (rq.next + 1) & WQ_MASK;
  rq.head = next;
}

/** Place of the next WQE in the ring. */
function indexOf(rq: ReceiveQueue): number {
  return rq.type === 'cyclic' ? rq.next % 2 ** rq.logSize : rq.head;
}

/** What a CQE says of it: the running counter of a cyclic queue, the place in a linked list. */
function counterOf(rq: ReceiveQueue): number {
  return rq.type === 'cyclic' ? rq.next : rq.head;
}
