/** The objects that software creates: UAR pages, event queues, completion queues, work queues and memory keys. */
import type { U64 } from '../../core/u64.js';
import { BLOCK_BYTES, ENTRY_BYTES, FIRST_UAR } from './layout.js';
import { fits, type QueueBuffer } from './ring.js';
import type { Control } from './wqe.js';

// Fields are those of the contexts eqc, cqc, sqc, rqc, wq and mkc (sheet mlx.md B4), decoded. What a command creates and what
// the `queues` option of the factory creates goes through the same functions; both refuse the same things.
//
//   uar <- eq <- cq <- sq, rq       An object is destroyed after those that name it.

/** Armed and fired as MLX5_CQC_ST_* and the EQ states have it; an EQ that is always armed fires at each event. */
export type EqArm = 'armed' | 'fired' | 'always';
export type CqArm = 'armed' | 'solicited' | 'fired';
export type WorkQueueState = 'reset' | 'ready' | 'error';

export interface EventQueue {
  readonly eqn: number;
  readonly buffer: QueueBuffer;
  /** log_eq_size: log2 of its entries. */
  readonly logSize: number;
  readonly uar: number;
  /** MSI-X vector. */
  readonly vector: number;
  /** Types of asynchronous events that it takes, a bit for each of 0 to 63. */
  readonly events: bigint;
  /** oi: entries that software did not read are written over. */
  readonly overrunIgnore: boolean;
  arm: EqArm;
  /** Entries written and entries read since it was created. */
  produced: number;
  consumed: number;
}

/** A completion that waits for its place in the ring. */
export interface PendingCqe {
  readonly cqe: Uint8Array;
  readonly solicited: boolean;
  /** An EQE follows, whether the CQ is armed or not. */
  readonly event: boolean;
}

export interface CompletionQueue {
  readonly cqn: number;
  readonly buffer: QueueBuffer;
  /** log_cq_size: log2 of its entries. */
  readonly logSize: number;
  /** Bytes from entry to entry. */
  readonly stride: 64 | 128;
  readonly uar: number;
  readonly eqn: number;
  /** Doorbell record: consumer index, arm record. */
  readonly record: U64;
  readonly overrunIgnore: boolean;
  /** cq_period in microseconds and cq_max_count: how long an event may wait, and for how many completions at most. */
  readonly period: number;
  readonly maxCount: number;
  status: 'ok' | 'overflow' | 'write-failed';
  arm: CqArm;
  /** Events so far, modulo 4: the sequence number that an arm must have. */
  sn: number;
  produced: number;
  consumed: number;
  /** `produced` behind the last solicited completion. */
  solicited: number;
  /** Completions since the last event. */
  unreported: number;
  readonly waiting: PendingCqe[];
  /** The doorbell record is being read. */
  reading: boolean;
}

/** A WQE that came through a BlueFlame register. */
export interface BlueFlameWqe {
  readonly index: number;
  readonly bytes: Uint8Array;
}

interface WorkQueue {
  readonly buffer: QueueBuffer;
  /** log_wq_sz: log2 of its blocks (send) or WQEs (receive). */
  readonly logSize: number;
  readonly cqn: number;
  /** Doorbell record: receive counter, send counter. */
  readonly record: U64;
  readonly flushInError: boolean;
  state: WorkQueueState;
  /** Counters of 16 bits: the next to be executed, and the first that is not posted. */
  next: number;
  posted: number;
  /** A WQE is being executed. */
  busy: boolean;
}

export interface SendQueue extends WorkQueue {
  readonly sqn: number;
  readonly uar: number;
  /** The WQE that the last doorbell named, with its blocks: the only one whose length is known before it is read. */
  rung: { readonly index: number; readonly blocks: number } | undefined;
  /** WQEs that need no fetch. */
  readonly blueFlames: BlueFlameWqe[];
  /** The payload is being fetched for the WQE with this control segment. */
  gather: { readonly number: number; readonly control: Control } | undefined;
}

export interface ReceiveQueue extends WorkQueue {
  readonly rqn: number;
  readonly type: 'cyclic' | 'linked-list';
  /** log_wq_stride: log2 of the bytes of a WQE. */
  readonly logStride: number;
  /** Index of the next WQE of a linked list. */
  head: number;
  /** Frames that arrived while another one was being received. */
  readonly frames: Uint8Array[];
}

export interface MemoryKey {
  /** All 32 bits: mkey_index and mkey_7_0. */
  readonly key: number;
  /** Access mode: bus addresses as they are, or pages of a translation table. */
  readonly mode: 'physical' | 'pages';
  readonly start: U64;
  /** Bytes; undefined: all of the address space (length64). */
  readonly length: U64 | undefined;
  readonly localRead: boolean;
  readonly localWrite: boolean;
  readonly relaxedOrderingRead: boolean;
  readonly relaxedOrderingWrite: boolean;
  /** Of mode `pages`: bus addresses, and log2 of the bytes of a page. */
  readonly pages: readonly U64[];
  readonly logPageSize: number;
}

export interface Resources {
  readonly uars: Set<number>;
  readonly eqs: Map<number, EventQueue>;
  readonly cqs: Map<number, CompletionQueue>;
  readonly sqs: Map<number, SendQueue>;
  readonly rqs: Map<number, ReceiveQueue>;
  readonly mkeys: Map<number, MemoryKey>;
}

/** What the device has room for. */
export interface ResourceLimits {
  readonly vectors: number;
  /** UAR pages, counted from the start of the BAR. */
  readonly uarPages: number;
}

/**
 * Why an object was not created or destroyed: a field that cannot be, an object that it names and that is not there, no
 * number left, or others name it (statuses 3, 5, 0xF and 6 of commands).
 */
export type Refusal = 'bad-parameter' | 'bad-resource' | 'no-resources' | 'busy';
export type Created = { readonly number: number } | { readonly refused: Refusal };

type Given<T, Needed extends keyof T> = Pick<T, Needed> & Partial<T>;
/** Fields that a context gives; what is left out has the default of `create...`. */
export type EqSpec = Given<
  Pick<EventQueue, 'eqn' | 'buffer' | 'logSize' | 'uar' | 'vector' | 'events' | 'overrunIgnore' | 'arm'>,
  'buffer' | 'logSize' | 'uar'
>;
export type CqSpec = Given<
  Pick<
    CompletionQueue,
    | 'cqn'
    | 'buffer'
    | 'logSize'
    | 'stride'
    | 'uar'
    | 'eqn'
    | 'record'
    | 'overrunIgnore'
    | 'period'
    | 'maxCount'
    | 'arm'
  >,
  'buffer' | 'logSize' | 'uar' | 'eqn' | 'record'
>;
export type SqSpec = Given<
  Pick<SendQueue, 'sqn' | 'buffer' | 'logSize' | 'uar' | 'cqn' | 'record' | 'flushInError' | 'state'>,
  'buffer' | 'logSize' | 'uar' | 'cqn' | 'record'
>;
export type RqSpec = Given<
  Pick<
    ReceiveQueue,
    'rqn' | 'type' | 'buffer' | 'logSize' | 'logStride' | 'cqn' | 'record' | 'flushInError' | 'state'
  >,
  'buffer' | 'logSize' | 'cqn' | 'record'
>;
export type MkeySpec = Given<MemoryKey, 'key'>;

const MOST_OBJECTS = 4096; // of a kind
const MAX_EQN = 0xff;
const MAX_NUMBER = 0xff_ffff;
/** Entries: more would let one doorbell set more going at one instant than a model may (src/device/guard.ts). */
const MAX_LOG_SQ = 13;
const MAX_LOG_RQ = 15;
const MAX_LOG_CQ = 22;
const MAX_TIMER = 0xffff;
const BAD: Created = { refused: 'bad-parameter' };

export function newResources(): Resources {
  return {
    uars: new Set(),
    eqs: new Map(),
    cqs: new Map(),
    sqs: new Map(),
    rqs: new Map(),
    mkeys: new Map(),
  };
}

/** A UAR page: `page` or the lowest that is free. It begins `page` * 4096 bytes behind the start of the BAR. */
export function createUar(to: Resources, { uarPages }: ResourceLimits, page?: number): Created {
  let number = page ?? FIRST_UAR;
  if (page === undefined) while (to.uars.has(number)) number++;
  if (page !== undefined && (!isIn(page, FIRST_UAR, uarPages - 1) || to.uars.has(page))) return BAD;
  if (number >= uarPages || to.uars.size >= MOST_OBJECTS) return { refused: 'no-resources' };
  to.uars.add(number);
  return { number };
}

export function createEq(to: Resources, limits: ResourceLimits, spec: EqSpec): Created {
  const { buffer, logSize, uar, vector = 0, events = 0n, overrunIgnore = false, arm = 'fired' } = spec;
  if (!isRing(buffer, logSize, MAX_LOG_CQ, ENTRY_BYTES) || !isIn(vector, 0, limits.vectors - 1)) return BAD;
  if (!to.uars.has(uar)) return { refused: 'bad-resource' };
  return add(to.eqs, spec.eqn, MAX_EQN, (eqn) => {
    return { eqn, buffer, logSize, uar, vector, events, overrunIgnore, arm, produced: 0, consumed: 0 };
  });
}

export function createCq(to: Resources, spec: CqSpec): Created {
  const { buffer, logSize, uar, eqn, record, stride = 64, overrunIgnore = false } = spec;
  const { period = 0, maxCount = 0, arm = 'fired' } = spec;
  if (!isRing(buffer, logSize, MAX_LOG_CQ, stride) || !isRecord(record)) return BAD;
  if (!isIn(period, 0, 0xfff) || !isIn(maxCount, 0, MAX_TIMER)) return BAD;
  if (!to.uars.has(uar) || !to.eqs.has(eqn)) return { refused: 'bad-resource' };
  return add<CompletionQueue>(to.cqs, spec.cqn, MAX_NUMBER, (cqn) => ({
    ...{ cqn, buffer, logSize, stride, uar, eqn, record, overrunIgnore, period, maxCount },
    status: 'ok',
    ...{ arm, sn: 0, produced: 0, consumed: 0, solicited: 0, unreported: 0 },
    ...{ waiting: [], reading: false },
  }));
}

export function createSq(to: Resources, spec: SqSpec): Created {
  const { buffer, logSize, uar, cqn, record, flushInError = true, state = 'ready' } = spec;
  if (!isRing(buffer, logSize, MAX_LOG_SQ, BLOCK_BYTES) || !isRecord(record)) return BAD;
  if (!to.uars.has(uar) || !to.cqs.has(cqn)) return { refused: 'bad-resource' };
  return add(to.sqs, spec.sqn, MAX_NUMBER, (sqn) => ({
    ...{ sqn, buffer, logSize, uar, cqn, record, flushInError, state },
    ...{ next: 0, posted: 0, busy: false, rung: undefined, blueFlames: [], gather: undefined },
  }));
}

export function createRq(to: Resources, spec: RqSpec): Created {
  const { buffer, logSize, cqn, record, type = 'cyclic', flushInError = true, state = 'ready' } = spec;
  const logStride = spec.logStride ?? (type === 'cyclic' ? 4 : 5);
  // A WQE of a linked list is its link and at least one segment.
  if (!isIn(logStride, type === 'cyclic' ? 4 : 5, 12)) return BAD;
  if (!isRing(buffer, logSize, MAX_LOG_RQ, 2 ** logStride) || !isRecord(record)) return BAD;
  if (!to.cqs.has(cqn)) return { refused: 'bad-resource' };
  return add(to.rqs, spec.rqn, MAX_NUMBER, (rqn) => ({
    ...{ rqn, type, buffer, logSize, logStride, cqn, record, flushInError, state },
    ...{ next: 0, posted: 0, busy: false, head: 0, frames: [] },
  }));
}

export function createMkey(to: Resources, spec: MkeySpec): Created {
  const { key, mode = 'physical', start = 0, length, localRead = true, localWrite = true } = spec;
  const { relaxedOrderingRead = false, relaxedOrderingWrite = false, pages = [], logPageSize = 12 } = spec;
  if (!isIn(key, 0, 0xffff_ffff) || !isIn(logPageSize, 12, 31) || to.mkeys.has(key)) return BAD;
  const offset = Number(BigInt(start) % BigInt(2 ** logPageSize));
  if (mode === 'pages') {
    const room = { pages, logPageSize, offset };
    if (length === undefined || BigInt(length) > 2n ** 48n || !fits(room, Number(length))) return BAD;
  }
  if (to.mkeys.size >= MOST_OBJECTS) return { refused: 'no-resources' };
  to.mkeys.set(key, {
    ...{ key, mode, start, length, localRead, localWrite, relaxedOrderingRead, relaxedOrderingWrite },
    ...{ pages, logPageSize },
  });
  return { number: key };
}

/** Takes an object away. Work that is under way for it ends without a trace. Undefined: done. */
export function destroy(
  from: Resources,
  kind: 'uar' | 'eq' | 'cq' | 'sq' | 'rq' | 'mkey',
  number: number,
): Refusal | undefined {
  const { uars, eqs, cqs, sqs, rqs, mkeys } = from;
  const isUsed = {
    uar: () => some<{ uar: number }>([eqs, cqs, sqs], ({ uar }) => uar === number),
    eq: () => some([cqs], ({ eqn }) => eqn === number),
    cq: () => some<{ cqn: number }>([sqs, rqs], ({ cqn }) => cqn === number),
    sq: () => false,
    rq: () => false,
    mkey: () => false,
  };
  const table = { uar: uars, eq: eqs, cq: cqs, sq: sqs, rq: rqs, mkey: mkeys }[kind];
  if (table.has(number) && isUsed[kind]()) return 'busy';
  return table.delete(number) ? undefined : 'bad-resource';
}

function some<T>(tables: readonly { values(): Iterable<T> }[], test: (one: T) => boolean): boolean {
  return tables.some((table) => [...table.values()].some(test));
}

function add<T>(
  table: Map<number, T>,
  wanted: number | undefined,
  most: number,
  make: (n: number) => T,
): Created {
  if (wanted !== undefined && (!isIn(wanted, 0, most) || table.has(wanted))) return BAD;
  let number = wanted ?? 1;
  if (wanted === undefined) while (table.has(number)) number++;
  if (table.size >= MOST_OBJECTS || number > most) return { refused: 'no-resources' };
  table.set(number, make(number));
  return { number };
}

function isIn(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}

function isRing(buffer: QueueBuffer, logSize: number, most: number, stride: number): boolean {
  const { logPageSize, offset } = buffer;
  if (!isIn(logSize, 0, most) || !isIn(logPageSize, 12, 31)) return false;
  if (!isIn(offset, 0, 4095) || offset % 64 !== 0) return false;
  return fits(buffer, stride * 2 ** logSize);
}

/** Doorbell records lie at multiples of 8 bytes (A3). */
function isRecord(address: U64): boolean {
  return BigInt(address) % 8n === 0n;
}
