/** Admin commands (NVM Express 1.4, section 5). */
import { complete, freeSlots, logError, post } from './completion.js';
import type { Command, Nvme } from './controller.js';
import { cdw, nsid } from './entry.js';
import { checkHealth, clearEvents, keepRequest } from './events.js';
import { getFeature, type Outcome, setFeature } from './features.js';
import { identify } from './identify.js';
import { logPage } from './logs.js';
import { mostBytes } from './nvm.js';
import { giveData } from './prp.js';
import {
  createCompletionQueue,
  createSubmissionQueue,
  deleteCompletionQueue,
  deleteSubmissionQueue,
} from './queues.js';
import { MORE, STATUS, type Status } from './status.js';

const OPCODE = {
  DELETE_SQ: 0x00,
  CREATE_SQ: 0x01,
  GET_LOG_PAGE: 0x02,
  DELETE_CQ: 0x04,
  CREATE_CQ: 0x05,
  IDENTIFY: 0x06,
  ABORT: 0x08,
  SET_FEATURES: 0x09,
  GET_FEATURES: 0x0a,
  EVENT_REQUEST: 0x0c,
} as const;
const RETAIN_EVENT = 1 << 15; // RAE in CDW10 of Get Log Page
const SAVE = 2 ** 31; // SV in CDW10 of Set Features
const NOT_ABORTED = 1; // bit 0 of DW0 of Abort

/** Ends with a status and DW0; `undefined`: with neither now, another part of the controller will. */
type Done = (status: Status | undefined, dw0?: number) => void;

export function runAdmin(nvme: Nvme, command: Command, done: Done): void {
  const { entry } = command;
  const word = cdw(entry, 10);
  switch (entry[0]) {
    case OPCODE.DELETE_SQ:
      done(deleteSubmissionQueue(nvme, command));
      return;
    case OPCODE.CREATE_SQ:
      done(createSubmissionQueue(nvme, entry));
      return;
    case OPCODE.DELETE_CQ:
      done(deleteCompletionQueue(nvme, entry));
      return;
    case OPCODE.CREATE_CQ:
      done(createCompletionQueue(nvme, entry));
      return;
    case OPCODE.IDENTIFY:
      give(nvme, entry, identify(nvme, word & 0xff, nsid(entry)), done);
      return;
    case OPCODE.GET_LOG_PAGE:
      getLogPage(nvme, entry, done);
      return;
    case OPCODE.ABORT:
      done(STATUS.SUCCESS, abort(nvme, word & 0xffff, word >>> 16) ? 0 : NOT_ABORTED);
      return;
    case OPCODE.SET_FEATURES: {
      const isSaved = (word & SAVE) !== 0;
      end(setFeature(nvme, word & 0xff, isSaved, nsid(entry), cdw(entry, 11)), done);
      checkHealth(nvme);
      return;
    }
    case OPCODE.GET_FEATURES:
      end(getFeature(nvme, word & 0xff, (word >>> 8) & 7, cdw(entry, 11)), done);
      return;
    case OPCODE.EVENT_REQUEST:
      done(keepRequest(nvme, command));
      return;
    default:
      done(STATUS.INVALID_OPCODE);
  }
}

function end(outcome: Outcome, done: Done): void {
  if ('status' in outcome) done(outcome.status);
  else done(STATUS.SUCCESS, outcome.dw0);
}

/** Hands a structure to the host, unless it is an error. */
function give(nvme: Nvme, entry: Uint8Array, bytes: Uint8Array | Status, done: Done): void {
  if (typeof bytes === 'number') done(bytes);
  else giveData(nvme, entry, bytes, done);
}

/**
 * CDW10: Log Page Identifier (7:0), RAE (15), Number of Dwords (31:16, 0's based, upper half in CDW11). CDW12 and CDW13:
 * offset in bytes. What lies behind the page reads as 0.
 */
function getLogPage(nvme: Nvme, entry: Uint8Array, done: Done): void {
  const word = cdw(entry, 10);
  const id = word & 0xff;
  const length = 4 * ((word >>> 16) + (cdw(entry, 11) & 0xffff) * 2 ** 16 + 1);
  const offset = cdw(entry, 12) + cdw(entry, 13) * 2 ** 32;
  const page = logPage(nvme, id, nsid(entry));
  if (typeof page === 'number') {
    done(page);
    return;
  }
  if (length > mostBytes(nvme) || offset > page.length || offset % 4 !== 0) {
    done(STATUS.INVALID_FIELD);
    return;
  }
  const bytes = new Uint8Array(length);
  bytes.set(page.subarray(offset, offset + length));
  giveData(nvme, entry, bytes, (status) => {
    done(status);
    if (status === STATUS.SUCCESS && (word & RETAIN_EVENT) === 0) clearEvents(nvme, id);
  });
}

/** Aborts a command that waits: fetched and not begun, or a kept event request that its queue has room to answer. */
function abort(nvme: Nvme, sqid: number, cid: number): boolean {
  const { state } = nvme.ctx;
  const at = state.commands.findIndex((command) => command.sqid === sqid && command.cid === cid);
  const [waiting] = at < 0 ? [] : state.commands.splice(at, 1);
  if (waiting !== undefined) {
    complete(nvme, waiting, STATUS.ABORT_REQUESTED);
    return true;
  }
  const kept = sqid === 0 ? state.events.asked.indexOf(cid) : -1;
  const ring = state.completion.get(0);
  if (kept < 0 || ring === undefined || freeSlots(ring) === 0) return false;
  state.events.asked.splice(kept, 1);
  logError(nvme, { sqid, cid, status: STATUS.ABORT_REQUESTED, lba: [0, 0], nsid: 0 });
  post(nvme, ring, { sqid, cid }, STATUS.ABORT_REQUESTED | MORE, 0);
  return true;
}
