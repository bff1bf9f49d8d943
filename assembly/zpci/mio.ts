// Floor 6: what the MIO forms of the PCI instructions name: an address instead of handle, space and offset (zpci.md 2.9).

import { barAt, functionAt, functionCount } from '../fabric/functions';
import {
  BAR_BYTES,
  BAR_COUNT,
  FUNCTION_POLICY_VIOLATIONS,
  FUNCTION_ZPCI_FLAGS,
  MIO_BAR_MASK,
  MIO_BASE_HI,
  MIO_SLOT_SHIFT,
  MIO_WRITE_BACK_HI,
  STATUS_ADDRESS_SPACE,
  ZPCI_ASKS,
  ZPCI_EMULATED,
  ZPCI_INTERCEPTED,
  ZPCI_MIO_CAPABLE,
  ZPCI_MIO_ENABLED,
} from '../layout';
import { checkState, DONE, NO_FUNCTION, withStatus } from './rules';

/** What `findMio` found: BAR number and offset in it. */
export let mioSpace: u32 = 0;
export let mioOffset: u32 = 0;

/** Number of the slot whose addresses have these bits 63:32; a large one where none has. */
export function slotOfMio(high: u32): u32 {
  return ((high & ~MIO_WRITE_BACK_HI) - MIO_BASE_HI) >>> MIO_SLOT_SHIFT;
}

/** The function behind MIO address `address`, which may be for write-back or write-through; 0: no BAR is there. */
export function findMio(address: u64): usize {
  const high = <u32>(address >> 32);
  const slot = slotOfMio(high);
  mioSpace = (high - MIO_BASE_HI) & MIO_BAR_MASK;
  mioOffset = <u32>address;
  if (slot >= functionCount || mioSpace >= <u32>BAR_COUNT) return 0;
  const fn = functionAt(slot);
  return mioOffset < load<u64>(barAt(fn, mioSpace), BAR_BYTES) ? fn : 0;
}

/**
 * What stands before the form of a MIO access: that this guest may use MIO on the function, its state, and that the
 * function can be reached that way, where no model decides it.
 */
export function checkMio(fn: usize): u32 {
  const flags = load<u32>(fn, FUNCTION_ZPCI_FLAGS);
  // A VMM does not have these instructions (QEMU), so there is nothing behind the address for its guests.
  if (flags & (ZPCI_EMULATED | ZPCI_INTERCEPTED)) return NO_FUNCTION;
  if ((flags & (ZPCI_MIO_CAPABLE | ZPCI_MIO_ENABLED)) == ZPCI_MIO_CAPABLE) return NO_FUNCTION;
  const answer = checkState(fn);
  return answer == DONE ? checkCapable(fn, flags) : answer;
}

/** A function without MIO refuses, and it is counted; one whose model looks at each instruction decides itself. */
export function checkCapable(fn: usize, flags: u32): u32 {
  if (flags & (ZPCI_MIO_CAPABLE | ZPCI_ASKS)) return DONE;
  store<f64>(fn, load<f64>(fn, FUNCTION_POLICY_VIOLATIONS) + 1, FUNCTION_POLICY_VIOLATIONS);
  return withStatus(STATUS_ADDRESS_SPACE);
}
