/** Completion queues: entries, owner bits, overrun, arming and moderation. */
import { readRecord } from './dma.js';
import { completionEvent, cqErrorEvent } from './entries.js';
import { counterNear, postAsync, postEvent } from './events.js';
import { CQ_MASK, ENTRY_BYTES } from './layout.js';
import type { CompletionQueue, PendingCqe } from './resources.js';
import { addressOf } from './ring.js';
import { cancel, later, type Nic, protocolError } from './state.js';

//             completion (solicited: only with SE)
//   ARMED    ---------------------------------------> FIRED     EQE to the EQ of the CQ, sn + 1
//   SOLICITED <-------------------------------------- FIRED     doorbell 0x20 with the sn of now; fires at once when
//                                                               there is such a completion behind its ci
//
// The consumer index comes with the arm doorbell, and stands in the doorbell record, which is read when the ring seems full:
// software that only polls tells the device nothing else.

const ARM_SOLICITED = 1 << 24;
const NS_PER_US = 1000;

/** Completes a WQE. A CQ that has failed takes nothing more. */
export function complete(nic: Nic, cqn: number, one: PendingCqe): void {
  const cq = nic.ctx.state.cqs.get(cqn);
  if (cq === undefined || cq.status !== 'ok') {
    nic.ctx.stats.count('completionsLost');
    return;
  }
  cq.waiting.push(one);
  writeWaiting(nic, cq);
}

/** The arm doorbell: `sn[29:28] | cmd[24] | ci[23:0]`, `cqn[23:0]`. */
export function ringCq(nic: Nic, uar: number, first: number, second: number): void {
  const cq = nic.ctx.state.cqs.get(second & CQ_MASK);
  if (cq === undefined || cq.uar !== uar) {
    protocolError(nic, 'CQ doorbell of no CQ');
    return;
  }
  const consumed = counterNear(cq.produced, first & CQ_MASK, cq.overrunIgnore ? CQ_MASK : 2 ** cq.logSize);
  if (consumed === undefined) {
    protocolError(nic, 'CQ consumer index');
    return;
  }
  // An arm that was meant for before the last event must not cause another one.
  if (((first >>> 28) & 3) !== cq.sn) {
    nic.ctx.stats.count('staleArms');
    return;
  }
  cq.consumed = consumed;
  cq.arm = (first & ARM_SOLICITED) === 0 ? 'armed' : 'solicited';
  const last = cq.arm === 'armed' ? cq.produced : cq.solicited;
  if (last > consumed) fire(nic, cq);
}

/** cq_period is over. */
export function moderationEnds(nic: Nic, cqn: number): void {
  const cq = nic.ctx.state.cqs.get(cqn);
  if (cq !== undefined && cq.arm !== 'fired') fire(nic, cq);
}

function writeWaiting(nic: Nic, cq: CompletionQueue): void {
  const size = 2 ** cq.logSize;
  while (!cq.reading && cq.waiting.length > 0 && cq.status === 'ok') {
    if (cq.produced - cq.consumed >= size && !cq.overrunIgnore) {
      readConsumer(nic, cq);
      return;
    }
    const one = cq.waiting.shift();
    if (one !== undefined) write(nic, cq, one);
  }
}

/** Looks whether software has read entries of a ring that seems full. */
function readConsumer(nic: Nic, cq: CompletionQueue): void {
  const size = 2 ** cq.logSize;
  cq.reading = true;
  readRecord(nic.ctx, cq.record, (value) => {
    cq.reading = false;
    if (nic.ctx.state.cqs.get(cq.cqn) !== cq) return;
    const consumed = value === undefined ? undefined : counterNear(cq.produced, value & CQ_MASK, size);
    if (consumed !== undefined) cq.consumed = Math.max(cq.consumed, consumed);
    if (cq.produced - cq.consumed < size) {
      writeWaiting(nic, cq);
      return;
    }
    cq.status = 'overflow';
    nic.ctx.stats.count('completionsLost', cq.waiting.length);
    cq.waiting.length = 0;
    postAsync(nic, cqErrorEvent(cq.cqn));
  });
}

function write(nic: Nic, cq: CompletionQueue, { cqe, solicited, event }: PendingCqe): void {
  const { ctx } = nic;
  const size = 2 ** cq.logSize;
  const last = ENTRY_BYTES - 1;
  cqe[last] = (cqe[last] ?? 0) | (Math.floor(cq.produced / size) & 1); // owner
  // Of an entry of 128 bytes the CQE is the second half.
  const at = (cq.produced % size) * cq.stride + cq.stride - ENTRY_BYTES;
  ctx.dma.write(addressOf(cq.buffer, at), cqe, {}, ({ status }) => {
    if (status !== 'ok') cq.status = 'write-failed';
  });
  ctx.stats.count('completions');
  cq.produced++;
  cq.unreported++;
  if (solicited) cq.solicited = cq.produced;
  if (event) fire(nic, cq);
  else if (cq.arm === 'armed' || (cq.arm === 'solicited' && solicited)) moderate(nic, cq);
}

/** An event now, or when enough completions or time have come together. A period of 0 holds nothing back. */
function moderate(nic: Nic, cq: CompletionQueue): void {
  const { cqn, period, maxCount } = cq;
  if (period === 0 || (maxCount > 0 && cq.unreported >= maxCount)) {
    fire(nic, cq);
    return;
  }
  const waits = nic.ctx.state.timers.some(({ event }) => isModeration(event, cqn));
  if (!waits) later(nic, period * NS_PER_US, { kind: 'moderation', cqn });
}

function fire(nic: Nic, cq: CompletionQueue): void {
  cancel(nic, (event) => isModeration(event, cq.cqn));
  cq.arm = 'fired';
  cq.sn = (cq.sn + 1) & 3;
  cq.unreported = 0;
  postEvent(nic, cq.eqn, completionEvent(cq.cqn));
}

function isModeration(event: { readonly kind: string; readonly cqn?: number }, cqn: number): boolean {
  return event.kind === 'moderation' && event.cqn === cqn;
}
