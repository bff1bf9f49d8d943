/** Completion and event queue entries as bytes: 64 of each, big-endian, without the owner bit. */
import { CQE, ENTRY_BYTES, EVENT, type QUEUE_RQ, type QUEUE_SQ, type Syndrome } from './layout.js';

// CQE (sheet mlx.md A6); what is not named stays 0:
//
//   28 bit 0: L2 ok   29 [3:2] L3 type     44..47 byte count            48..55 timestamp, ns
//   54 vendor error   55 syndrome          56 opcode of the send WQE    57..59 SQN or RQN
//   60..61 counter    63 [7:4] opcode, [1] solicited, [0] owner: the ring sets it
//
// EQE (A7): 1 type, 32..59 data, 63 [0] owner.

const L2_OK = 1;
const L3_TYPES: ReadonlyMap<number, number> = new Map([
  [0x86dd, 1], // IPv6
  [0x0800, 2], // IPv4
]);
const SOLICITED = 2;
const CQ_OVERRUN = 1;

/** What every CQE says of the WQE that it completes. */
interface Completed {
  readonly queue: number;
  /** wqe_index of a send, counter (cyclic) or index (linked list) of a receive. */
  readonly counter: number;
  readonly ns: number;
}

export function sendCqe(done: Completed, wqeOpcode: number, solicited: boolean): Uint8Array {
  const [bytes, view] = entry(CQE.REQ, done, solicited);
  view.setUint8(56, wqeOpcode);
  return bytes;
}

export function receiveCqe(done: Completed, frame: Uint8Array): Uint8Array {
  const [bytes, view] = entry(CQE.RESP_SEND, done, false);
  view.setUint8(28, L2_OK);
  const etherType = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  view.setUint8(29, (L3_TYPES.get(etherType) ?? 0) << 2);
  view.setUint32(44, frame.length);
  return bytes;
}

/** An error CQE of a send (`wqeOpcode`) or of a receive (undefined). It counts as solicited. */
export function errorCqe(done: Completed, syndrome: Syndrome, wqeOpcode: number | undefined): Uint8Array {
  const [bytes, view] = entry(wqeOpcode === undefined ? CQE.RESP_ERR : CQE.REQ_ERR, done, true);
  view.setBigUint64(48, 0n); // no timestamp: the syndromes stand there
  view.setUint8(55, syndrome);
  view.setUint8(56, wqeOpcode ?? 0);
  return bytes;
}

export function completionEvent(cqn: number): Uint8Array {
  const bytes = event(EVENT.COMPLETION);
  new DataView(bytes.buffer).setUint32(56, cqn);
  return bytes;
}

/** struct mlx5_eqe_cq_err: number of the CQ, then the syndrome in byte 11 of the data. */
export function cqErrorEvent(cqn: number): Uint8Array {
  const bytes = event(EVENT.CQ_ERROR);
  new DataView(bytes.buffer).setUint32(32, cqn);
  bytes[43] = CQ_OVERRUN;
  return bytes;
}

/** struct mlx5_eqe_qp_srq: type of the queue in byte 20 of the data, then its number. */
export function workQueueEvent(type: typeof QUEUE_SQ | typeof QUEUE_RQ, number: number): Uint8Array {
  const bytes = event(EVENT.WQ_CATASTROPHIC);
  bytes[52] = type;
  new DataView(bytes.buffer).setUint32(56, number);
  return bytes;
}

function entry(
  opcode: number,
  { queue, counter, ns }: Completed,
  solicited: boolean,
): [Uint8Array, DataView] {
  const bytes = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(48, BigInt(Math.floor(ns)));
  view.setUint32(56, queue);
  view.setUint16(60, counter);
  view.setUint8(63, (opcode << 4) | (solicited ? SOLICITED : 0));
  return [bytes, view];
}

function event(type: number): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  bytes[1] = type;
  return bytes;
}
