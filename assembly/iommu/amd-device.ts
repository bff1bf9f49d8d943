// Floor 4: what a requester is to an AMD-Vi unit: its device table entry (AMD 48882 section 2.2.2, iommu.md 3), and a cache of it.
//
//   word 0   63 62 61 60..52       51        12 11  9 8 7 6..2 1  0
//             | IW IR guest tables  root table   Mode HAD      TV V
//   word 1   42..40: SATS, SysMgt   39 EX  36:35 IoCtl  34 SA  32 I  15:0 domain
//   word 2   61:60 IntCtl           51:6 interrupt table  4:1 its length  0 IV
//
// Offered are host tables: what is of guest tables and of page requests is reserved.

import {
  FEATURE_ACCESS_FLAG,
  FEATURE_DIRTY_FLAG,
  PERMISSION_READ,
  PERMISSION_WRITE,
  UNIT_FEATURES,
  UNIT_MOST,
  UNIT_ROOT,
  UNIT_STREAMS,
  WHAT_DEVICE,
} from '../iommu-layout';
import { entry, readEntry } from './tables';

const VALID: u64 = 1;
const TRANSLATES: u64 = 2;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PERMISSIONS_LG2: u64 = 61;
const SUPPRESSED: u64 = (<u64>1) << 34;
/** Bits 6:2, what is of guest tables and of page requests (60:52), bit 63. */
const RESERVED: u64 = 0x7c | ((<u64>0x1ff) << 52) | ((<u64>1) << 63);
const FLAGS: u64 = 3 << 7;
/** The levels that tables may have. */
const MODE_MOST: u32 = 6;

// Why there is no entry to be used; DEVICE_OK: there is one.
export const DEVICE_OK: u32 = 0;
export const DEVICE_OUTSIDE: u32 = 1; // of the table
export const DEVICE_UNREADABLE: u32 = 2;
const DEVICE_RESERVED: u32 = 3; // a reserved bit is set
export const DEVICE_MODE: u32 = 4; // Mode or HAD has a reserved value

// IntCtl.
export const INTERRUPTS_REFUSED: u32 = 0;
export const INTERRUPTS_RESERVED: u32 = 3;
/** IV is 0: interrupts pass as they are, as with IntCtl 1. */
const INTERRUPTS_PASS: u32 = 1;

/** What the last look found. V: requests are looked at; TV: they are translated. */
export let isValid: bool = false;
export let isTranslating: bool = false;
/** Levels of the tables; 0: addresses stay as they are. */
export let mode: u32 = 0;
export let deviceRoot: u64 = 0;
export let deviceDomain: u32 = 0;
/** PERMISSION_* of all that the device does (IR, IW). */
export let devicePermissions: u32 = 0;
/** Page faults of the device are not logged (SA). */
export let isSuppressed: bool = false;
export let interrupts: u32 = 0;
/** HAD: hardware sets access bits, and dirty bits. */
export let marksAccess: bool = false;
export let marksDirty: bool = false;
/** Address of the entry. */
export let deviceAt: u64 = 0;

let low: u64 = 0;
let middle: u64 = 0;
let high: u64 = 0;

/** Finds out about requester `sid`: DEVICE_OK, or why not. */
export function findDevice(index: u32, unit: usize, sid: u32): u32 {
  const slot = slotOf(index, sid);
  if (load<u64>(slot) == (USED | sid)) {
    low = load<u64>(slot, 8);
    middle = load<u64>(slot, 16);
    high = load<u64>(slot, 24);
    return decode(unit);
  }
  if (sid >= load<u32>(unit, UNIT_STREAMS)) return DEVICE_OUTSIDE;
  deviceAt = load<u64>(unit, UNIT_ROOT) + ((<u64>sid) << 5);
  if (!readEntry(deviceAt, WHAT_DEVICE)) return DEVICE_UNREADABLE;
  low = entry;
  if (!readEntry(deviceAt + 8, WHAT_DEVICE)) return DEVICE_UNREADABLE;
  middle = entry;
  if (!readEntry(deviceAt + 16, WHAT_DEVICE)) return DEVICE_UNREADABLE;
  high = entry;
  const status = decode(unit);
  if (status != DEVICE_OK) return status;
  store<u64>(slot, USED | sid);
  store<u64>(slot, low, 8);
  store<u64>(slot, middle, 16);
  store<u64>(slot, high, 24);
  return DEVICE_OK;
}

function decode(unit: usize): u32 {
  isValid = (low & VALID) != 0;
  interrupts = high & 1 ? <u32>(high >> 60) & 3 : INTERRUPTS_PASS;
  if (!isValid) return DEVICE_OK;
  const features = load<u32>(unit, UNIT_FEATURES);
  const hasAccess = (features & FEATURE_ACCESS_FLAG) != 0;
  if (low & (RESERVED | (hasAccess ? 0 : FLAGS))) return DEVICE_RESERVED;
  isTranslating = (low & TRANSLATES) != 0;
  mode = <u32>(low >> 9) & 7;
  deviceRoot = low & ADDRESS;
  deviceDomain = <u32>middle & 0xffff;
  devicePermissions = <u32>(low >> PERMISSIONS_LG2) & (PERMISSION_READ | PERMISSION_WRITE);
  isSuppressed = (middle & SUPPRESSED) != 0;
  // 1: access bits; 3: dirty bits, too; 2 is reserved.
  const flags = <u32>(low >> 7) & 3;
  marksAccess = flags != 0;
  marksDirty = flags == 3;
  if (mode > MODE_MOST || flags == 2 || (marksDirty && (features & FEATURE_DIRTY_FLAG) == 0))
    return DEVICE_MODE;
  return DEVICE_OK;
}

// --------------------------------------------------------------------------------------------------------- cache
// Direct-mapped by requester: key (u64), the first three words of the entry.

const SLOTS: u32 = 64;
const STRIDE: usize = 32;
const CACHE: usize = memory.data(UNIT_MOST * 64 * 32, 16);
const USED: u64 = (<u64>1) << 40;

function slotOf(index: u32, sid: u32): usize {
  return CACHE + <usize>(index * SLOTS + ((sid ^ (sid >> 8)) & (SLOTS - 1))) * STRIDE;
}

/** Drops what is kept of all requesters. */
export function dropDevices(index: u32): void {
  memory.fill(CACHE + <usize>(index * SLOTS) * STRIDE, 0, <usize>SLOTS * STRIDE);
}

export function dropDevice(index: u32, sid: u32): void {
  const slot = slotOf(index, sid);
  if (load<u64>(slot) == (USED | sid)) store<u64>(slot, 0);
}
