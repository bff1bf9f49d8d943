// Floor 5: the function table and the address windows of its BARs, as a root complex routes by address.

import { FUNCTIONS } from '../kernel/arena';
import {
  BAR_BASE,
  BAR_BYTES,
  BAR_COUNT,
  BAR_MEMORY,
  BAR_SERVER,
  BAR_STRIDE,
  COMMAND_MEMORY,
  FUNCTION_BARS,
  FUNCTION_COMMAND,
  FUNCTION_ID,
  FUNCTION_SLOTS,
  FUNCTION_STRIDE,
  SERVED_BY_CORE,
  SLOT_NONE,
} from '../layout';

// One window: base u64, last byte u64 (a BAR may end with the address space), memory u32, slot u32, BAR u32, server u32.
const WINDOW_LAST: usize = 8;
const WINDOW_MEMORY: usize = 16;
const WINDOW_SLOT: usize = 20;
const WINDOW_BAR: usize = 24;
const WINDOW_SERVER: usize = 28;
const WINDOW_STRIDE: u32 = 32;
const WINDOWS: usize = memory.data(FUNCTION_SLOTS * BAR_COUNT * 32, 16);

/** Functions in use, slots 0 to `functionCount` - 1. */
export let functionCount: u32 = 0;
let windowCount: u32 = 0;
// Most accesses hit the window of the one before.
let lastWindow: usize = WINDOWS;

/** Slot and core address that `routeMemory` found; 0 where a device model serves the BAR. */
export let routedSlot: u32 = SLOT_NONE;
export let routedMemory: usize = 0;
/** BAR and offset in it, for a BAR that a device model serves. */
export let routedBar: u32 = 0;
export let routedOffset: u64 = 0;

export function functionAt(slot: u32): usize {
  return FUNCTIONS + <usize>slot * FUNCTION_STRIDE;
}

export function slotOf(fn: usize): u32 {
  return <u32>((fn - FUNCTIONS) / FUNCTION_STRIDE);
}

export function barAt(fn: usize, bar: u32): usize {
  return fn + FUNCTION_BARS + <usize>bar * BAR_STRIDE;
}

/** The function with this bus, device and function number; SLOT_NONE: there is none. */
export function slotById(id: u32): u32 {
  for (let slot: u32 = 0; slot < functionCount; slot++) {
    if (load<u32>(functionAt(slot), FUNCTION_ID) == id) return slot;
  }
  return SLOT_NONE;
}

/** Rebuilds the windows from the function table. Call after a BAR moved. `count` functions are in use. */
export function buildWindows(count: u32): void {
  functionCount = count;
  windowCount = 0;
  lastWindow = WINDOWS;
  store<u64>(WINDOWS, 0);
  store<u64>(WINDOWS, 0, WINDOW_LAST);
  for (let slot: u32 = 0; slot < count; slot++) {
    if (!(load<u32>(functionAt(slot), FUNCTION_COMMAND) & COMMAND_MEMORY)) continue;
    for (let bar: u32 = 0; bar < <u32>BAR_COUNT; bar++) {
      const entry = barAt(functionAt(slot), bar);
      const bytes = load<u64>(entry, BAR_BYTES);
      if (bytes == 0) continue;
      const at = WINDOWS + <usize>(windowCount * WINDOW_STRIDE);
      const base = load<u64>(entry, BAR_BASE);
      store<u64>(at, base);
      store<u64>(at, base + bytes - 1, WINDOW_LAST);
      store<u32>(at, load<u32>(entry, BAR_MEMORY), WINDOW_MEMORY);
      store<u32>(at, slot, WINDOW_SLOT);
      store<u32>(at, bar, WINDOW_BAR);
      store<u32>(at, load<u32>(entry, BAR_SERVER), WINDOW_SERVER);
      windowCount += 1;
    }
  }
}

/** Finds the function that claims all of `bytes` at `address`; false: nobody does (Unsupported Request). */
export function routeMemory(address: u64, bytes: u32): bool {
  let at = lastWindow;
  if (address >= load<u64>(at) && address + bytes - 1 <= load<u64>(at, WINDOW_LAST)) return take(at, address);
  const end = WINDOWS + <usize>(windowCount * WINDOW_STRIDE);
  for (at = WINDOWS; at < end; at += WINDOW_STRIDE) {
    if (address >= load<u64>(at) && address + bytes - 1 <= load<u64>(at, WINDOW_LAST))
      return take(at, address);
  }
  routedSlot = SLOT_NONE;
  return false;
}

/** True when the window found last also claims all of `bytes` at `address`. */
export function windowHolds(address: u64, bytes: u32): bool {
  return address >= load<u64>(lastWindow) && address + bytes - 1 <= load<u64>(lastWindow, WINDOW_LAST);
}

/** The window found last: its first and last address, and its memory; 0 where a device model serves it. */
export function windowFirst(): u64 {
  return load<u64>(lastWindow);
}

export function windowLast(): u64 {
  return load<u64>(lastWindow, WINDOW_LAST);
}

export function windowMemory(): usize {
  return load<u32>(lastWindow, WINDOW_SERVER) == SERVED_BY_CORE
    ? <usize>load<u32>(lastWindow, WINDOW_MEMORY)
    : 0;
}

function take(at: usize, address: u64): bool {
  lastWindow = at;
  routedSlot = load<u32>(at, WINDOW_SLOT);
  const offset = address - load<u64>(at);
  if (load<u32>(at, WINDOW_SERVER) == SERVED_BY_CORE) {
    routedMemory = <usize>load<u32>(at, WINDOW_MEMORY) + <usize>offset;
  } else {
    routedMemory = 0;
    routedBar = load<u32>(at, WINDOW_BAR);
    routedOffset = offset;
  }
  return true;
}
