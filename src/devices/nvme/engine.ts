/** What goes on in the controller: doorbells, fetches from the rings in turn, commands that begin, time. */
import { runAdmin } from './admin.js';
import { complete, freeSlots } from './completion.js';
import {
  type Command,
  CSTS,
  fatal,
  inside,
  type Nvme,
  readHost,
  type SubmissionQueue,
} from './controller.js';
import { ENTRY_BYTES, view } from './entry.js';
import { EVENT, raise, report } from './events.js';
import { FEATURE, featureOf } from './features.js';
import { acknowledge, coalescedNs, sendCoalesced } from './interrupts.js';
import { flush, runNvm } from './nvm.js';
import { endDeletion } from './queues.js';
import { STATUS, type Status } from './status.js';

/** Commands whose DMA is under way, at most. */
const MAX_ACTIVE = 64;
/**
 * Requests of DMA at one instant behind which nothing begins for `PAUSE_NS`: a model that floods is stopped (100,000
 * callbacks), and `MAX_ACTIVE` commands of 4 MiB in single pages still make 66,000.
 */
const MAX_BURST = 30_000;
const PAUSE_NS = 1000;
const NO_LIMIT = 7; // Arbitration Burst
const NOT_PRP_OR_FUSED = 0xc3; // PSDT (7:6) and FUSE (1:0) in byte 1 of an entry

// ------------------------------------------------------------------------------------------------- doorbells

/** Submission Queue Tail Doorbell (section 3.1.24). */
export function ringTail(nvme: Nvme, id: number, value: number): void {
  const { state } = nvme.ctx;
  resume(nvme);
  if (!state.running) return;
  const queue = state.submission.get(id);
  if (queue === undefined || queue.deletion !== undefined) {
    raise(nvme, EVENT.INVALID_DOORBELL);
    return;
  }
  const { head, tail, entries } = queue;
  const held = (tail - head + entries) % entries;
  const added = (value - tail + entries) % entries;
  if (value >= entries || added === 0 || held + added > entries - 1) {
    raise(nvme, EVENT.INVALID_DOORBELL_VALUE);
    return;
  }
  queue.tail = value;
  newBurst(nvme);
  nvme.wake();
}

/** Completion Queue Head Doorbell (section 3.1.25). */
export function ringHead(nvme: Nvme, id: number, value: number): void {
  const { state } = nvme.ctx;
  resume(nvme);
  if (!state.running) return;
  const queue = state.completion.get(id);
  if (queue === undefined) {
    raise(nvme, EVENT.INVALID_DOORBELL);
    return;
  }
  const { head, tail, entries } = queue;
  const taken = (value - head + entries) % entries;
  if (value >= entries || taken === 0 || taken > (tail - head + entries) % entries) {
    raise(nvme, EVENT.INVALID_DOORBELL_VALUE);
    return;
  }
  queue.head = value;
  acknowledge(nvme, queue);
  newBurst(nvme);
  if (id === 0) report(nvme);
  nvme.wake();
}

/** An access from outside while nothing is under way: what it causes is counted from 0, and needs no pause. */
function newBurst({ ctx: { state }, depth }: Nvme): void {
  const isFetching = [...state.submission.values()].some(({ fetching }) => fetching);
  if (depth > 0 || state.active > 0 || isFetching) return;
  state.burst.requests = 0;
  state.pauseNs = 0;
}

// ------------------------------------------------------------------------------------------------ going on

/** Fetches and begins what it can, and sets the timer for the rest. DMA that is done and doorbells call it again. */
export function goOn(nvme: Nvme): void {
  const { state } = nvme.ctx;
  if (!state.running || state.heldNs !== undefined) return;
  sendCoalesced(nvme);
  beginCommands(nvme);
  if (state.running && state.shutdown === 'none') fetchInTurn(nvme);
  if (state.running && state.shutdown === 'asked') finishShutdown(nvme);
  setTimer(nvme);
}

/** One fetch from each queue that has something, the queues in turn (round robin, section 4.13.1). */
function fetchInTurn(nvme: Nvme): void {
  const { state } = nvme.ctx;
  const ids = [...state.submission.values()]
    .filter(({ head, tail, fetching }) => head !== tail && !fetching)
    .map(({ id }) => id)
    .sort((a, b) => a - b);
  if (ids.length === 0) return;
  const first = ids.findIndex((id) => id > state.turn);
  const inTurn = first < 0 ? ids : [...ids.slice(first), ...ids.slice(0, first)];
  state.turn = inTurn[0] ?? 0;
  for (const id of inTurn) {
    const queue = state.submission.get(id);
    if (queue !== undefined && state.running) fetch(nvme, queue);
  }
}

/** Entries up to the tail, the end of the ring, the free slots for completions, and the Arbitration Burst. */
function fetch(nvme: Nvme, queue: SubmissionQueue): void {
  const { state } = nvme.ctx;
  const ring = state.completion.get(queue.cqid);
  if (ring === undefined || queue.fetching || queue.failed || queue.deletion !== undefined) return;
  const { head, tail, entries } = queue;
  const available = tail >= head ? tail - head : entries - head;
  const burst = featureOf(nvme, FEATURE.ARBITRATION) & 7;
  const count = Math.min(available, freeSlots(ring), burst === NO_LIMIT ? entries : 1 << burst);
  if (count <= 0 || !mayBegin(nvme)) return;
  queue.fetching = true;
  ring.reserved += count;
  readHost(nvme, queue.base + BigInt(ENTRY_BYTES * head), ENTRY_BYTES * count, (bytes) => {
    queue.fetching = false;
    if (bytes === undefined || queue.deletion !== undefined) ring.reserved -= count;
    else take(nvme, queue, bytes, count);
    if (bytes === undefined) fetchFailed(nvme, queue);
    endDeletion(nvme, queue);
    nvme.wake();
  });
}

function take(nvme: Nvme, queue: SubmissionQueue, bytes: Uint8Array, count: number): void {
  const { state, time } = nvme.ctx;
  queue.head = (queue.head + count) % queue.entries;
  const readyNs = time.ns + (queue.id === 0 ? 0 : nvme.setup.latencyNs);
  const commands = Array.from({ length: count }, (_, n): Command => {
    const entry = bytes.slice(ENTRY_BYTES * n, ENTRY_BYTES * (n + 1));
    return { sqid: queue.id, cid: view(entry).getUint16(2, true), entry, readyNs };
  });
  const at = state.commands.findLastIndex((command) => command.readyNs <= readyNs) + 1;
  state.commands.splice(at, 0, ...commands);
}

/** Without its admin queue the controller cannot be told anything; of another queue an event can tell. */
function fetchFailed(nvme: Nvme, queue: SubmissionQueue): void {
  if (queue.id === 0) {
    fatal(nvme, 'the admin submission queue cannot be read');
    return;
  }
  queue.failed = true;
  raise(nvme, EVENT.TRANSIENT_ERROR);
}

function beginCommands(nvme: Nvme): void {
  const { state, time } = nvme.ctx;
  while (state.running && state.active < MAX_ACTIVE) {
    const [command] = state.commands;
    if (command === undefined || command.readyNs > time.ns || !mayBegin(nvme)) return;
    state.commands.shift();
    begin(nvme, command);
  }
}

/** Runs a command up to its completion. */
function begin(nvme: Nvme, command: Command): void {
  const { state } = nvme.ctx;
  const queue = state.submission.get(command.sqid);
  if (queue === undefined) return;
  const { epoch } = state;
  state.active++;
  queue.active++;
  const done = (status: Status | undefined, dw0?: number): void => {
    if (state.epoch !== epoch) return; // its answer was what broke the controller
    state.active--;
    queue.active--;
    if (status !== undefined) complete(nvme, command, status, dw0);
    endDeletion(nvme, queue);
  };
  if (((command.entry[1] ?? 0) & NOT_PRP_OR_FUSED) !== 0) done(STATUS.INVALID_FIELD);
  else if (command.sqid === 0) runAdmin(nvme, command, done);
  else runNvm(nvme, command, done);
}

/** False: there was too much DMA at this instant, and the controller pauses. */
function mayBegin({ ctx: { state, time } }: Nvme): boolean {
  if (state.pauseNs > time.ns) return false;
  if (state.burst.ns !== time.ns || state.burst.requests < MAX_BURST) return true;
  state.pauseNs = time.ns + PAUSE_NS;
  return false;
}

// ------------------------------------------------------------------------------------------- time and stops

function setTimer(nvme: Nvme): void {
  const { ctx } = nvme;
  const { state, time } = ctx;
  const [next] = state.commands;
  const times = [coalescedNs(nvme)];
  if (state.pauseNs > time.ns) times.push(state.pauseNs);
  if (next !== undefined && next.readyNs > time.ns) times.push(next.readyNs);
  const atNs = Math.min(...times);
  if (state.timer?.atNs === atNs) return;
  state.timer?.cancel();
  state.timer = undefined;
  if (atNs === Number.POSITIVE_INFINITY) return;
  const cancel = ctx.after(Math.max(0, atNs - time.ns), () => {
    ctx.state.timer = undefined;
    inside(nvme, nvme.wake);
  });
  state.timer = { atNs, cancel };
}

/** CC.SHN (section 7.6.2): what was fetched ends, nothing more is fetched, and the data is made to last. */
export function shutDown(nvme: Nvme): void {
  const { state } = nvme.ctx;
  const bank = nvme.ctx.registers(0);
  state.shutdown = 'asked';
  bank.set('CSTS', (bank.get('CSTS') & ~CSTS.SHST) | CSTS.SHST_BUSY);
  if (state.running) nvme.wake();
  else finishShutdown(nvme);
}

function finishShutdown(nvme: Nvme): void {
  const { state } = nvme.ctx;
  const isFetching = [...state.submission.values()].some(({ fetching }) => fetching);
  if (state.active > 0 || state.commands.length > 0 || isFetching) return;
  const bank = nvme.ctx.registers(0);
  flush(nvme);
  nvme.lasting.inUse = false;
  state.shutdown = 'done';
  bank.set('CSTS', (bank.get('CSTS') & ~CSTS.SHST) | CSTS.SHST_DONE);
}

/** Stands still until the next access. Commands whose DMA is under way end, so that it can be saved soon. */
export function quiesce({ ctx: { state, time } }: Nvme): void {
  if (state.heldNs !== undefined) return;
  state.timer?.cancel();
  state.timer = undefined;
  state.heldNs = time.ns;
}

/** Goes on after a quiesce: what had to wait waits as long as was left. */
export function resume(nvme: Nvme): void {
  const { state, time } = nvme.ctx;
  if (state.heldNs === undefined) return;
  const passed = time.ns - state.heldNs;
  state.heldNs = undefined;
  for (const command of state.commands) command.readyNs += passed;
  for (const held of state.coalesced.values()) held.dueNs += passed;
  state.pauseNs += passed;
  nvme.wake();
}
