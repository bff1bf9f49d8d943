/** Creation and deletion of I/O queues (NVM Express 1.4, sections 5.3 to 5.6). */
import { complete } from './completion.js';
import type { Command, Nvme, SubmissionQueue } from './controller.js';
import { cdw, prp } from './entry.js';
import { allocated } from './features.js';
import { STATUS, type Status } from './status.js';

const CONTIGUOUS = 1 << 0; // PC in CDW11
const INTERRUPTS = 1 << 1; // IEN
/** CC.IOSQES and CC.IOCQES: log2 of the bytes of an entry. */
const SUBMISSION_SHIFT = 6;
const COMPLETION_SHIFT = 4;

interface Asked {
  readonly id: number;
  readonly entries: number;
  readonly base: bigint;
}

/** CDW10: Queue Identifier (15:0), Queue Size (31:16, 0's based). */
function asked(entry: Uint8Array): Asked {
  const word = cdw(entry, 10);
  return { id: word & 0xffff, entries: (word >>> 16) + 1, base: prp(entry, 1) };
}

/** What both kinds refuse. `shift`: CC's entry size, which the host has to have set before. */
function check(nvme: Nvme, entry: Uint8Array, isSizeSet: boolean): Status | undefined {
  const { entries, base } = asked(entry);
  if (entries < 2 || entries > nvme.setup.queueEntries || !isSizeSet) return STATUS.INVALID_QUEUE_SIZE;
  if ((cdw(entry, 11) & CONTIGUOUS) === 0) return STATUS.INVALID_FIELD; // CAP.CQR
  return base % BigInt(nvme.ctx.state.pageBytes) === 0n ? undefined : STATUS.PRP_OFFSET_INVALID;
}

export function createCompletionQueue(nvme: Nvme, entry: Uint8Array): Status {
  const { completion } = nvme.ctx.state;
  const { id, entries, base } = asked(entry);
  if (id === 0 || id > allocated(nvme).completion || completion.has(id)) return STATUS.INVALID_QUEUE_ID;
  const sizes = nvme.ctx.registers(0).get('CC') >>> 20;
  const problem = check(nvme, entry, (sizes & 0xf) === COMPLETION_SHIFT);
  if (problem !== undefined) return problem;
  const vector = cdw(entry, 11) >>> 16;
  const interrupts = (cdw(entry, 11) & INTERRUPTS) !== 0;
  if (vector >= nvme.setup.vectors) return STATUS.INVALID_VECTOR;
  completion.set(id, { id, base, entries, head: 0, tail: 0, phase: 1, reserved: 0, vector, interrupts });
  return STATUS.SUCCESS;
}

export function createSubmissionQueue(nvme: Nvme, entry: Uint8Array): Status {
  const { submission, completion } = nvme.ctx.state;
  const { id, entries, base } = asked(entry);
  const cqid = cdw(entry, 11) >>> 16;
  if (id === 0 || id > allocated(nvme).submission || submission.has(id)) return STATUS.INVALID_QUEUE_ID;
  if (cqid === 0 || cqid > allocated(nvme).completion) return STATUS.INVALID_QUEUE_ID;
  if (!completion.has(cqid)) return STATUS.COMPLETION_QUEUE_INVALID;
  const sizes = nvme.ctx.registers(0).get('CC') >>> 16;
  const problem = check(nvme, entry, (sizes & 0xf) === SUBMISSION_SHIFT);
  if (problem !== undefined) return problem;
  submission.set(id, newSubmissionQueue(id, cqid, base, entries));
  return STATUS.SUCCESS;
}

export function newSubmissionQueue(id: number, cqid: number, base: bigint, entries: number): SubmissionQueue {
  const none = { head: 0, tail: 0, fetching: false, failed: false, active: 0, deletion: undefined };
  return { id, cqid, base, entries, ...none };
}

export function deleteCompletionQueue(nvme: Nvme, entry: Uint8Array): Status {
  const { submission, completion } = nvme.ctx.state;
  const { id } = asked(entry);
  if (id === 0 || !completion.has(id)) return STATUS.INVALID_QUEUE_ID;
  if ([...submission.values()].some(({ cqid }) => cqid === id)) return STATUS.INVALID_QUEUE_DELETION;
  completion.delete(id);
  return STATUS.SUCCESS;
}

/**
 * Delete I/O Submission Queue. Commands that wait are aborted; those whose DMA is under way end first. The command
 * completes in `endDeletion`.
 */
export function deleteSubmissionQueue(nvme: Nvme, command: Command): Status | undefined {
  const { state } = nvme.ctx;
  const queue = state.submission.get(asked(command.entry).id);
  if (queue === undefined || queue.id === 0 || queue.deletion !== undefined) return STATUS.INVALID_QUEUE_ID;
  queue.deletion = command;
  for (const waiting of state.commands.filter(({ sqid }) => sqid === queue.id))
    complete(nvme, waiting, STATUS.ABORTED_SQ_DELETION);
  state.commands = state.commands.filter(({ sqid }) => sqid !== queue.id);
  endDeletion(nvme, queue);
  return undefined;
}

/** Deletes `queue` and answers, if that was asked for and nothing of the queue is under way. */
export function endDeletion(nvme: Nvme, queue: SubmissionQueue): void {
  const { deletion } = queue;
  if (deletion === undefined || queue.active > 0 || queue.fetching) return;
  if (nvme.ctx.state.submission.delete(queue.id)) complete(nvme, deletion, STATUS.SUCCESS);
}
