/** Log pages (NVM Express 1.4, section 5.14): errors, health, firmware. */
import type { Nvme } from './controller.js';
import { EVERY_NAMESPACE, Structure } from './entry.js';
import { criticalWarning, TEMPERATURE } from './events.js';
import { STATUS, type Status } from './status.js';
import { ERROR_ENTRIES } from './store.js';

const ERROR_BYTES = 64;
const PAGE_BYTES = 512;
const NS_PER_HOUR = 3.6e12;

/** The whole page with identifier `id`. */
export function logPage(nvme: Nvme, id: number, ns: number): Uint8Array | Status {
  if (id === 1) return errorLog(nvme);
  if (id === 3) return firmwareLog(nvme);
  if (id !== 2) return STATUS.INVALID_LOG_PAGE;
  // LPA bit 0 is 0: health is the controller's, not a namespace's.
  return ns === 0 || ns === EVERY_NAMESPACE ? healthLog(nvme) : STATUS.INVALID_FIELD;
}

/** Figure 193, the newest entry first; entries with Error Count 0 are empty. */
function errorLog({ lasting }: Nvme): Uint8Array {
  const log = new Structure(ERROR_BYTES * ERROR_ENTRIES);
  lasting.errors.forEach(({ count, sqid, cid, status, lba, nsid }, n) => {
    const at = ERROR_BYTES * n;
    log
      .u64(at, count)
      .u16(at + 8, sqid)
      .u16(at + 10, cid)
      .u16(at + 12, status << 1) // as in the completion; the phase tag may be 0
      .u16(at + 14, 0xffff) // Parameter Error Location: none in particular
      .u32(at + 16, lba[0])
      .u32(at + 20, lba[1])
      .u32(at + 24, nsid);
  });
  return log.bytes;
}

/** Figure 194. */
function healthLog(nvme: Nvme): Uint8Array {
  const { health } = nvme.lasting;
  return new Structure(PAGE_BYTES)
    .u8(0, criticalWarning(nvme))
    .u16(1, TEMPERATURE)
    .u8(3, 100) // Available Spare in percent
    .u8(4, 10) // and its threshold
    .u64(32, Math.ceil(health.blocksRead / 1000)) // Data Units: 1000 x 512 bytes, rounded up
    .u64(48, Math.ceil(health.blocksWritten / 1000))
    .u64(64, health.reads)
    .u64(80, health.writes)
    .u64(112, health.powerCycles)
    .u64(128, Math.floor(nvme.ctx.time.ns / NS_PER_HOUR))
    .u64(144, health.unsafeShutdowns)
    .u64(160, health.mediaErrors)
    .u64(176, health.errors).bytes; // Number of Error Information Log Entries
}

/** Figure 195: slot 1 is active. */
function firmwareLog({ setup }: Nvme): Uint8Array {
  return new Structure(PAGE_BYTES).u8(0, 1).text(8, 8, setup.firmware).bytes;
}
