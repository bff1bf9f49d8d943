/** One controller: what its parts share, what it remembers, and how it stops. */
import type { DeviceContext } from '../../device/types.js';
import type { Setup } from './setup.js';
import type { Lasting } from './store.js';

// A command goes through these places. A slot of the completion queue is set aside when it is fetched, so that its
// completion always has room and what is fetched is bounded by the queues:
//
//   ring in host memory --fetch--> commands (wait for latency and turn) --begin--> active (DMA) --post--> ring
//
// Asynchronous Event Requests give their slot back: they stay in `events.asked` until there is something to say.

/** A command that was fetched and has not begun. */
export interface Command {
  readonly sqid: number;
  /** Command Identifier. */
  readonly cid: number;
  /** The 64 bytes of the submission queue entry (section 4.2). */
  readonly entry: Uint8Array;
  /** Simulated time at which it may begin. */
  readyNs: number;
}

export interface SubmissionQueue {
  readonly id: number;
  readonly cqid: number;
  readonly base: bigint;
  readonly entries: number;
  /** Next entry to fetch. */
  head: number;
  /** As the doorbell said last. */
  tail: number;
  fetching: boolean;
  /** Its ring could not be read: it stands still until it is deleted. */
  failed: boolean;
  /** Commands whose DMA is under way. */
  active: number;
  /** Delete I/O Submission Queue waits for those. */
  deletion: Command | undefined;
}

export interface CompletionQueue {
  readonly id: number;
  readonly base: bigint;
  readonly entries: number;
  /** As the doorbell said last. */
  head: number;
  /** Next entry to write. */
  tail: number;
  /** Phase Tag of the next entry: 1 in the first pass, then inverted with each. */
  phase: 0 | 1;
  /** Slots set aside for commands that were fetched. */
  reserved: number;
  readonly vector: number;
  readonly interrupts: boolean;
}

/** An asynchronous event (section 5.2, figure 146). */
export interface Event {
  readonly type: number;
  readonly info: number;
  readonly logPage: number;
}

export interface NvmeState {
  /** Counts controller resets: DMA of an earlier one is none of ours any more. */
  epoch: number;
  /** Enabled, and not fatal. */
  running: boolean;
  shutdown: 'none' | 'asked' | 'done';
  /** From CC.MPS at enable. */
  pageBytes: number;
  submission: Map<number, SubmissionQueue>;
  completion: Map<number, CompletionQueue>;
  /** Ascending by `readyNs`. */
  commands: Command[];
  active: number;
  /** Submission queue that was looked at first in the last round. */
  turn: number;
  /** By Feature Identifier, and by what CDW11 selects: see features.ts. */
  features: Map<number, number>;
  /** Identifiers of kept requests, events to report, and types that wait for their log page to be read. */
  events: { asked: number[]; pending: Event[]; masked: number[] };
  /** Interrupts held back by vector: entries so far, and when they are told at the latest. */
  coalesced: Map<number, { count: number; dueNs: number }>;
  /** DMA at the instant `ns`, to stay below the limits of the host. */
  burst: { ns: number; requests: number };
  /** Nothing begins before. */
  pauseNs: number;
  timer: { readonly atNs: number; readonly cancel: () => void } | undefined;
  /** When it was quiesced: time stands still for the controller until the next access. */
  heldNs: number | undefined;
}

export type Context = DeviceContext<NvmeState>;

/** One instance. */
export interface Nvme {
  readonly setup: Setup;
  readonly ctx: Context;
  /** What outlives resets. */
  lasting: Lasting;
  /** Callbacks of its own that are running: an access that comes now is caused by the controller itself. */
  depth: number;
  /** Goes on with whatever can go on. */
  wake(): void;
}

export function freshState(): NvmeState {
  return {
    epoch: 0,
    running: false,
    shutdown: 'none',
    pageBytes: 4096,
    submission: new Map(),
    completion: new Map(),
    commands: [],
    active: 0,
    turn: 0,
    features: new Map(),
    events: { asked: [], pending: [], masked: [] },
    coalesced: new Map(),
    burst: { ns: 0, requests: 0 },
    pauseNs: 0,
    timer: undefined,
    heldNs: undefined,
  };
}

/** Bits of Controller Status (section 3.1.6). */
export const CSTS = {
  RDY: 1 << 0, // Ready
  CFS: 1 << 1, // Controller Fatal Status
  SHST: 3 << 2, // Shutdown Status
  SHST_BUSY: 1 << 2,
  SHST_DONE: 2 << 2,
} as const;

/** Queues, commands and features are gone: a controller reset (section 7.3.2), or the end before one. */
export function clear(nvme: Nvme): void {
  const { state } = nvme.ctx;
  state.timer?.cancel();
  Object.assign(state, freshState(), { epoch: state.epoch + 1 });
}

/** Controller Fatal Status: it can no longer talk through its queues (section 9.5). Only a reset helps. */
export function fatal(nvme: Nvme, why: string): void {
  const bank = nvme.ctx.registers(0);
  nvme.ctx.log(`nvme: Controller Fatal Status: ${why}`);
  nvme.ctx.stats.count('fatal');
  clear(nvme);
  bank.set('CSTS', bank.get('CSTS') | CSTS.CFS);
}

const END = 1n << 64n;

/** Reads host memory; `undefined` when that failed. Not called back after a controller reset. */
export function readHost(
  nvme: Nvme,
  address: bigint,
  length: number,
  done: (data: Uint8Array | undefined) => void,
): void {
  const { ctx } = nvme;
  const { epoch } = ctx.state;
  if (address + BigInt(length) > END) {
    done(undefined);
    return;
  }
  countRequest(ctx);
  ctx.dma.read(address, length, {}, (result) => {
    if (ctx.state.epoch === epoch) inside(nvme, () => done(result.data));
  });
}

/** Writes host memory; `false` when the request never left. Not called back after a controller reset. */
export function writeHost(
  nvme: Nvme,
  address: bigint,
  bytes: Uint8Array,
  done: (isSent: boolean) => void,
): void {
  const { ctx } = nvme;
  const { epoch } = ctx.state;
  if (address + BigInt(bytes.length) > END) {
    done(false);
    return;
  }
  countRequest(ctx);
  ctx.dma.write(address, bytes, {}, ({ status }) => {
    if (ctx.state.epoch === epoch) inside(nvme, () => done(status === 'ok'));
  });
}

function countRequest({ state, time }: Context): void {
  if (state.burst.ns === time.ns) state.burst.requests++;
  else state.burst = { ns: time.ns, requests: 1 };
}

/** Runs a callback of the controller's own. */
export function inside(nvme: Nvme, body: () => void): void {
  nvme.depth++;
  try {
    body();
  } finally {
    nvme.depth--;
  }
}
