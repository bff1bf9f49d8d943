/** Commands of I/O queues (NVM Express 1.4, section 6): Flush, Write, Read and Write Zeroes. */
import type { Command, Nvme } from './controller.js';
import { cdw, EVERY_NAMESPACE, NAMESPACE, nsid } from './entry.js';
import { FEATURE, featureOf } from './features.js';
import { giveData, takeData } from './prp.js';
import { STATUS, type Status } from './status.js';
import { backingOf, writeZeros } from './store.js';

const OPCODE = { FLUSH: 0x00, WRITE: 0x01, READ: 0x02, WRITE_ZEROES: 0x08 } as const;
const KNOWN: ReadonlySet<number> = new Set(Object.values(OPCODE));
const FORCE_UNIT_ACCESS = 1 << 30; // of CDW12
const MDTS_UNIT = 4096; // CAP.MPSMIN

/** Bytes that one command may transfer. */
export function mostBytes(nvme: Nvme): number {
  return MDTS_UNIT * 2 ** nvme.setup.mdts;
}

/** What Read, Write and Write Zeroes name: bytes of the namespace. */
interface Range {
  readonly offset: number;
  readonly length: number;
}

export function runNvm(nvme: Nvme, { entry }: Command, done: (status: Status) => void): void {
  const { setup, lasting } = nvme;
  const opcode = entry[0];
  if (!KNOWN.has(opcode ?? 0xff)) {
    done(STATUS.INVALID_OPCODE);
    return;
  }
  const isAll = opcode === OPCODE.FLUSH && nsid(entry) === EVERY_NAMESPACE;
  if (nsid(entry) !== NAMESPACE && !isAll) {
    done(STATUS.INVALID_NAMESPACE);
    return;
  }
  if (opcode === OPCODE.FLUSH) {
    done(flush(nvme));
    return;
  }
  const range = rangeOf(nvme, entry);
  if (opcode !== OPCODE.WRITE_ZEROES && range.length > mostBytes(nvme)) {
    done(STATUS.INVALID_FIELD);
    return;
  }
  if (range.offset + range.length > setup.blocks * setup.lbaBytes) {
    done(STATUS.LBA_OUT_OF_RANGE);
    return;
  }
  if (opcode === OPCODE.READ) {
    read(nvme, entry, range, done);
    return;
  }
  if (setup.backing?.readOnly === true) {
    done(STATUS.WRITE_PROTECTED);
    return;
  }
  if (opcode === OPCODE.WRITE_ZEROES) {
    done(change(nvme, entry, () => writeZeros(setup, lasting, range.offset, range.length)));
    return;
  }
  takeData(nvme, entry, range.length, (data) => {
    if (typeof data === 'number') return done(data);
    const status = change(nvme, entry, () => backingOf(setup, lasting).write(range.offset, data));
    if (status === STATUS.SUCCESS) {
      lasting.health.writes++;
      lasting.health.blocksWritten += data.length / 512;
      nvme.ctx.stats.count('bytes written', data.length);
    }
    done(status);
  });
}

/** Starting LBA in CDW10 and CDW11, Number of Logical Blocks (0's based) in CDW12. An LBA that no number holds is far out. */
function rangeOf({ setup }: Nvme, entry: Uint8Array): Range {
  const blocks = (cdw(entry, 12) & 0xffff) + 1;
  const first = cdw(entry, 10) + cdw(entry, 11) * 2 ** 32;
  return { offset: first * setup.lbaBytes, length: blocks * setup.lbaBytes };
}

function read(nvme: Nvme, entry: Uint8Array, range: Range, done: (status: Status) => void): void {
  const { setup, lasting } = nvme;
  const data = guarded(nvme, () => backingOf(setup, lasting).read(range.offset, range.length));
  if (!(data instanceof Uint8Array) || data.length !== range.length) {
    lasting.health.mediaErrors++;
    done(STATUS.READ_ERROR);
    return;
  }
  giveData(nvme, entry, data, (status) => {
    if (status === STATUS.SUCCESS) {
      lasting.health.reads++;
      lasting.health.blocksRead += data.length / 512;
      nvme.ctx.stats.count('bytes read', data.length);
    }
    done(status);
  });
}

/** Changes data; without a volatile write cache, and with Force Unit Access, it lasts before the command completes. */
function change(nvme: Nvme, entry: Uint8Array, body: () => void): Status {
  const isDone = guarded(nvme, () => {
    body();
    return true;
  });
  if (isDone !== true) {
    nvme.lasting.health.mediaErrors++;
    return STATUS.WRITE_FAULT;
  }
  const isCached = (featureOf(nvme, FEATURE.WRITE_CACHE) & 1) === 1;
  return isCached && (cdw(entry, 12) & FORCE_UNIT_ACCESS) === 0 ? STATUS.SUCCESS : flush(nvme);
}

/** Makes what was written last. */
export function flush(nvme: Nvme): Status {
  const isDone = guarded(nvme, () => {
    backingOf(nvme.setup, nvme.lasting).flush();
    return true;
  });
  if (isDone === true) return STATUS.SUCCESS;
  nvme.lasting.health.mediaErrors++;
  return STATUS.WRITE_FAULT;
}

/** A user's backing may fail as a medium does: the command gets the error, and the log of the device says which. */
function guarded<T>(nvme: Nvme, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    nvme.ctx.log(`nvme: the backing failed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
