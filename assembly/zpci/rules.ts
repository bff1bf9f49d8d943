// Floor 6: what a zPCI load or store answers before anything moves: the checks, in the order of sheet zpci.md 2.6 and 2.7
// (order as QEMU 7.2 hw/s390x/s390-pci-inst.c implements it). Answers are cc | status << 8 | interruption << 16.

import { regionAccepts } from '../fabric/region';
import {
  ANSWER_INTERRUPTION_SHIFT,
  ANSWER_STATUS_SHIFT,
  BAR_COUNT,
  CC_DONE,
  CC_ERROR,
  CC_NO_FUNCTION,
  FUNCTION_STATE,
  PAGE_BYTES,
  PE_OPERAND,
  PE_SPECIFICATION,
  STATE_ENABLED,
  STATE_ERROR,
  STATE_ERROR_LS_OPEN,
  STATE_PERMANENT_ERROR,
  STATUS_ADDRESS_SPACE,
  STATUS_BLOCKED,
  ZPCI_DWORD_PAGE,
  ZPCI_QUIRKS,
  ZPCI_RELAXED,
  ZPCI_RELAXED_MAXIMUM_PAGE,
  ZPCI_ZERO_LENGTH_PE,
} from '../layout';

export const DONE: u32 = CC_DONE;
export const NO_FUNCTION: u32 = CC_NO_FUNCTION;

export function withStatus(status: u32): u32 {
  return CC_ERROR | (status << ANSWER_STATUS_SHIFT);
}

export function interruption(code: u32): u32 {
  return code << ANSWER_INTERRUPTION_SHIFT;
}

/** Steps "state" of 2.6 and 2.7: the handle is known. */
export function checkState(fn: usize): u32 {
  const state = load<u32>(fn, FUNCTION_STATE);
  if (state == STATE_ENABLED || state == STATE_ERROR_LS_OPEN) return DONE;
  if (state == STATE_ERROR || state == STATE_PERMANENT_ERROR) return withStatus(STATUS_BLOCKED);
  return NO_FUNCTION;
}

/** PCISTB reaches BARs only; PCILG and PCISTG configuration space too (checked by their caller). */
export function checkBlockSpace(space: u32): u32 {
  return space < <u32>BAR_COUNT ? DONE : withStatus(STATUS_ADDRESS_SPACE);
}

/**
 * Steps 5 to 8 of 2.7: offset, length, 4 KiB rule, source alignment. `offset` and `source` by their low bits.
 * A relaxed group keeps only the maximum and the 4 KiB rule.
 */
export function checkBlockForm(flags: u32, maxstbl: u32, offset: u32, length: u32, source: u32): u32 {
  if (flags & ZPCI_RELAXED) {
    if (length == 0 && flags & ZPCI_ZERO_LENGTH_PE) return interruption(PE_SPECIFICATION);
    const maximum = flags & ZPCI_RELAXED_MAXIMUM_PAGE ? <u32>PAGE_BYTES : maxstbl;
    if (length > maximum) return interruption(PE_SPECIFICATION);
  } else {
    if (offset & 7) return interruption(PE_SPECIFICATION);
    if (length <= 8 || length & 7 || length > maxstbl) return interruption(PE_SPECIFICATION);
  }
  if ((offset & (PAGE_BYTES - 1)) + length > <u32>PAGE_BYTES) return interruption(PE_SPECIFICATION);
  if (!(flags & ZPCI_RELAXED) && source & 7) return interruption(PE_SPECIFICATION);
  return DONE;
}

/** Steps 6a of 2.6: length of a PCILG or PCISTG on a BAR under the doubleword or the page rule. */
export function checkLoadStoreForm(flags: u32, offset: u32, length: u32): u32 {
  if (length == 0 || length > 8) return interruption(PE_OPERAND);
  if (flags & ZPCI_DWORD_PAGE) {
    if ((offset & (PAGE_BYTES - 1)) + length > <u32>PAGE_BYTES) return interruption(PE_OPERAND);
  } else if (length > 8 - (offset & 7)) {
    return interruption(PE_OPERAND);
  }
  // Lengths 3, 5, 6, 7 are encodable; QEMU performs only a part of them, we refuse (`qemuQuirks`).
  if (!(flags & ZPCI_QUIRKS) && length & (length - 1)) return interruption(PE_OPERAND);
  return DONE;
}

/** Step 6b of 2.6: 1, 2 or 4 bytes of one DW of configuration space. */
export function checkConfigForm(offset: u32, length: u32): u32 {
  if (length == 0 || length == 3 || length > 4 - (offset & 3)) return interruption(PE_OPERAND);
  return DONE;
}

/** What QEMU 7.2 makes of a PCILG or PCISTG length: the width of its lowest set bit. */
export function quirkLength(length: u32): u32 {
  return 1 << ctz(length);
}

/** Size of the next device call of a block that an emulator serves: up to a doubleword, naturally aligned. */
export function blockPiece(offset: u32, left: u32): u32 {
  const aligned = offset & 7 ? (<u32>1) << ctz(offset) : 8;
  return min(aligned, left >= 8 ? 8 : (<u32>1) << (31 - clz(left)));
}

/** First half of step 9 of 2.7: BAR `barBytes` long (0: there is none) holds the range. */
export function insideBar(barBytes: u64, offset: u64, length: u32): bool {
  return offset < barBytes && length <= barBytes - offset;
}

/**
 * Second half of step 9: an emulated region takes every piece of the range. Native functions have no region rules;
 * whatever the device makes of a TLP comes after the instruction.
 */
export function checkRegion(offset: u32, length: u32, valid: u32): u32 {
  let at = offset;
  let left = length;
  while (left > 0) {
    const piece = blockPiece(at, left);
    if (!regionAccepts(at, piece, valid)) return interruption(PE_OPERAND);
    at += piece;
    left -= piece;
  }
  return DONE;
}
