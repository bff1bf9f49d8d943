/** Completion queue entries (NVM Express 1.4, section 4.6): written to the ring, then told by an interrupt. */
import { type Command, type CompletionQueue, fatal, type Nvme, writeHost } from './controller.js';
import { COMPLETION_BYTES, cdw, nsid, Structure } from './entry.js';
import { interrupt } from './interrupts.js';
import { MORE, STATUS, type Status } from './status.js';
import { ERROR_ENTRIES, type LoggedError } from './store.js';

//   DW0   command specific
//   DW1   reserved
//   DW2   SQ Identifier (31:16)   SQ Head Pointer (15:0)
//   DW3   Status Field (31:17)    Phase Tag (16)    Command Identifier (15:0)

/** Slots that neither hold an entry that the host has not taken nor are set aside. */
export function freeSlots({ head, tail, entries, reserved }: CompletionQueue): number {
  return entries - 1 - ((tail - head + entries) % entries) - reserved;
}

/** Ends a command that was fetched: its entry takes the slot that was set aside. `dw0`: the command's own answer. */
export function complete(nvme: Nvme, command: Command, status: Status, dw0 = 0): void {
  const queue = nvme.ctx.state.submission.get(command.sqid);
  const ring = queue && nvme.ctx.state.completion.get(queue.cqid);
  if (queue === undefined || ring === undefined) return;
  const { entry, sqid, cid } = command;
  const isIo = sqid !== 0;
  if (status !== STATUS.SUCCESS)
    logError(nvme, {
      sqid,
      cid,
      status,
      lba: isIo ? [cdw(entry, 10), cdw(entry, 11)] : [0, 0],
      nsid: nsid(entry),
    });
  nvme.ctx.stats.count(isIo ? 'io commands' : 'admin commands');
  ring.reserved--;
  post(nvme, ring, command, status === STATUS.SUCCESS ? status : status | MORE, dw0);
}

/** Writes an entry to the next slot of `ring`, which has to be free. */
export function post(
  nvme: Nvme,
  ring: CompletionQueue,
  { sqid, cid }: Pick<Command, 'sqid' | 'cid'>,
  status: number,
  dw0: number,
): void {
  const head = nvme.ctx.state.submission.get(sqid)?.head ?? 0;
  const { bytes } = new Structure(COMPLETION_BYTES)
    .u32(0, dw0)
    .u16(8, head)
    .u16(10, sqid)
    .u16(12, cid)
    .u16(14, (status << 1) | ring.phase);
  const address = ring.base + BigInt(COMPLETION_BYTES * ring.tail);
  ring.tail = (ring.tail + 1) % ring.entries;
  if (ring.tail === 0) ring.phase = ring.phase === 1 ? 0 : 1;
  writeHost(nvme, address, bytes, (isSent) => {
    if (!isSent) return fatal(nvme, `completion queue ${ring.id} cannot be written`);
    interrupt(nvme, ring);
    nvme.wake();
  });
}

/** Puts an error into the Error Information log. */
export function logError(nvme: Nvme, error: Omit<LoggedError, 'count'>): void {
  const { health, errors } = nvme.lasting;
  health.errors++;
  errors.unshift({ count: health.errors, ...error });
  errors.length = Math.min(errors.length, ERROR_ENTRIES);
  nvme.ctx.stats.count('errors');
}
