/** Identify (NVM Express 1.4, section 5.15): what the controller says about itself and its namespace. */
import type { Nvme } from './controller.js';
import { EVERY_NAMESPACE, NAMESPACE, Structure } from './entry.js';
import { MAX_REQUESTS } from './events.js';
import type { Setup } from './setup.js';
import { STATUS, type Status } from './status.js';
import { ERROR_ENTRIES } from './store.js';

export const VENDOR_ID = 0x1af4;
export const DEVICE_ID = 0x10f7;
/** Aborts at a time (ACL, 0's based): each ends at once. */
const ABORT_LIMIT = 3;
export const VERSION = 0x0001_0400; // 1.4.0
const BYTES = 4096;
/** Kelvins at which a driver should warn (WCTEMP), and at which it should act (CCTEMP). */
const WARNING_TEMPERATURE = 343;
const CRITICAL_TEMPERATURE = 353;

/** Controller or Namespace Structure: CDW10 bits 7:0. */
export function identify({ setup }: Nvme, structure: number, ns: number): Uint8Array | Status {
  switch (structure) {
    case 0x00:
      return ns === NAMESPACE ? identifyNamespace(setup) : STATUS.INVALID_NAMESPACE;
    case 0x01:
      return identifyController(setup);
    case 0x02: // namespaces in use with an identifier above `ns`
      if (ns >= EVERY_NAMESPACE - 1) return STATUS.INVALID_NAMESPACE;
      return new Structure(BYTES).u32(0, ns < NAMESPACE ? NAMESPACE : 0).bytes;
    case 0x03:
      return ns === NAMESPACE ? identifiers(setup) : STATUS.INVALID_NAMESPACE;
    default:
      return STATUS.INVALID_FIELD;
  }
}

/** Figure 247. Fields that are 0 are left out. */
function identifyController(setup: Setup): Uint8Array {
  return new Structure(BYTES)
    .u16(0, VENDOR_ID) // VID
    .u16(2, VENDOR_ID) // SSVID
    .text(4, 20, setup.serial) // SN
    .text(24, 40, setup.model) // MN
    .text(64, 8, setup.firmware) // FR
    .u8(72, 6) // RAB: 64 entries are one page
    .u8(77, setup.mdts) // MDTS
    .u32(80, VERSION) // VER
    .u8(111, 1) // CNTRLTYPE: I/O controller
    .u8(258, ABORT_LIMIT) // ACL
    .u8(259, MAX_REQUESTS - 1) // AERL
    .u8(260, 0x03) // FRMW: one slot, read only
    .u8(261, 0x04) // LPA: offsets and long lengths of Get Log Page
    .u8(262, ERROR_ENTRIES - 1) // ELPE
    .u16(266, WARNING_TEMPERATURE) // WCTEMP
    .u16(268, CRITICAL_TEMPERATURE) // CCTEMP
    .u8(512, 0x66) // SQES: 64 bytes
    .u8(513, 0x44) // CQES: 16 bytes
    .u32(516, NAMESPACE) // NN
    .u16(520, 0x18) // ONCS: Write Zeroes, Select of Get Features
    .u8(525, 0x07) // VWC: there is one; Flush takes all namespaces
    .text(768, 256, `nqn.2014-08.org.nvmexpress:uuid:${uuidText(setup)}`, 0).bytes; // SUBNQN
}

/** Figure 245. */
function identifyNamespace({ blocks, lbaBytes, backing }: Setup): Uint8Array {
  return new Structure(BYTES)
    .u64(0, blocks) // NSZE
    .u64(8, blocks) // NCAP
    .u64(16, blocks) // NUSE
    .u8(99, backing?.readOnly === true ? 1 : 0) // NSATTR: write protected
    .u8(130, Math.log2(lbaBytes)).bytes; // LBAF0.LBADS
}

/** Namespace Identification Descriptors (figure 248): one, of type 3, a UUID. */
function identifiers(setup: Setup): Uint8Array {
  return new Structure(BYTES).u8(0, 3).u8(1, 16).put(4, uuidOf(setup)).bytes;
}

/** A UUID of version 8 (RFC 9562 section 5.8) from model and serial number: the same for the same options. */
function uuidOf({ model, serial }: Setup): Uint8Array {
  const bytes = new Uint8Array(16);
  let hash = 0x811c_9dc5; // FNV-1a
  for (let n = 0; n < 16; n++) {
    for (const letter of `${n}/${model}/${serial}`)
      hash = Math.imul(hash ^ letter.charCodeAt(0), 0x0100_0193) >>> 0;
    bytes[n] = hash >>> 13;
  }
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return bytes;
}

function uuidText(setup: Setup): string {
  const hex = Array.from(uuidOf(setup), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
