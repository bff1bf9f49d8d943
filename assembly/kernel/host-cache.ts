// Floor 1: a small write-back cache between processor and host memory: what No Snoop requests do not see.
//
//   host memory of the arena   what the processor sees, and every request that snoops
//   shadow of a line           what stands in DRAM behind a line that the cache holds
//
// So coherent traffic needs no look into the cache, but for writes, which take the line out of it. A request that does not
// snoop swaps both before and after.

import { hostBytes, hostMemory } from './arena';

const LINE_BYTES: u32 = 64;
const LINE_LG2: u32 = 6;
const WAYS: u32 = 8;
const SETS: u32 = 64;

// A line: number + 1 (0: free), whether it is dirty, when it was used last; 64 bytes of shadow.
const TAG: usize = 0;
const DIRTY: usize = 4;
const USED: usize = 8; // u64
const SHADOW: usize = 16;
const STRIDE: usize = 80;
const LINES: usize = memory.data(64 * 8 * 80, 16);

/** Lines that are held; 0: there is nothing to look for. */
export let linesHeld: u32 = 0;
let clock: u64 = 0;

function lineAt(set: u32, way: u32): usize {
  return LINES + <usize>(set * WAYS + way) * STRIDE;
}

/** The entry of line `number`; 0: the cache does not hold it. */
function find(number: u32): usize {
  const set = number & (SETS - 1);
  for (let way: u32 = 0; way < WAYS; way++) {
    const at = lineAt(set, way);
    if (load<u32>(at, TAG) == number + 1) return at;
  }
  return 0;
}

function placeOf(number: u32): usize {
  return hostMemory + ((<usize>number) << LINE_LG2);
}

/** The line leaves: a dirty one is written back, of a clean one DRAM's contents are what there is. */
function evict(at: usize): void {
  if (load<u32>(at, DIRTY) == 0) memory.copy(placeOf(load<u32>(at, TAG) - 1), at + SHADOW, LINE_BYTES);
  store<u32>(at, 0, TAG);
  linesHeld -= 1;
}

function fetch(number: u32): usize {
  const set = number & (SETS - 1);
  let victim = lineAt(set, 0);
  for (let way: u32 = 0; way < WAYS; way++) {
    const at = lineAt(set, way);
    if (load<u32>(at, TAG) == 0) {
      victim = at;
      break;
    }
    if (load<u64>(at, USED) < load<u64>(victim, USED)) victim = at;
  }
  if (load<u32>(victim, TAG) != 0) evict(victim);
  store<u32>(victim, number + 1, TAG);
  store<u32>(victim, 0, DIRTY);
  memory.copy(victim + SHADOW, placeOf(number), LINE_BYTES);
  linesHeld += 1;
  return victim;
}

/** Number behind the last line that [address, address + bytes) touches; a last line that is not whole is not cached. */
function endOf(address: u32, bytes: u32): u32 {
  const last = (<u64>address + bytes + (LINE_BYTES - 1)) >> LINE_LG2;
  return min(<u32>last, hostBytes >> LINE_LG2);
}

/** The processor reads, or is about to write. */
export function touchLines(address: u32, bytes: u32, isWrite: bool): void {
  const end = endOf(address, bytes);
  for (let number = address >> LINE_LG2; number < end; number++) {
    let at = find(number);
    if (at == 0) at = fetch(number);
    clock += 1;
    store<u64>(at, clock, USED);
    if (isWrite) store<u32>(at, 1, DIRTY);
  }
}

/** The processor writes lines back; with `isDropped` they leave the cache (CLFLUSH), else they stay, clean (CLWB). */
export function flushLines(address: u32, bytes: u32, isDropped: bool): void {
  if (linesHeld == 0) return;
  const end = endOf(address, bytes);
  for (let number = address >> LINE_LG2; number < end; number++) {
    const at = find(number);
    if (at == 0) continue;
    if (isDropped) evict(at);
    else if (load<u32>(at, DIRTY) != 0) {
      memory.copy(at + SHADOW, placeOf(number), LINE_BYTES);
      store<u32>(at, 0, DIRTY);
    }
  }
}

/** Every line leaves (WBINVD). Answers how many were dirty. */
export function flushAll(): u32 {
  let dirty: u32 = 0;
  for (let n: u32 = 0; n < SETS * WAYS; n++) {
    const at = lineAt(0, n);
    if (load<u32>(at, TAG) == 0) continue;
    dirty += load<u32>(at, DIRTY);
    evict(at);
  }
  return dirty;
}

/** Forgets all lines: host memory is cleared. */
export function resetCache(): void {
  memory.fill(LINES, 0, SETS * WAYS * <u32>STRIDE);
  linesHeld = 0;
  clock = 0;
}

/** Before a write that snoops: the cache gives up what it holds of it. */
export function snoopWrite(address: u32, bytes: u32): void {
  const end = endOf(address, bytes);
  for (let number = address >> LINE_LG2; number < end; number++) {
    const at = find(number);
    if (at != 0) evict(at);
  }
}

/** Before and after an access that does not snoop: what stands in DRAM changes places with what the processor sees. */
export function swapLines(address: u32, bytes: u32): void {
  const end = endOf(address, bytes);
  for (let number = address >> LINE_LG2; number < end; number++) {
    const at = find(number);
    if (at == 0) continue;
    const place = placeOf(number);
    for (let n: usize = 0; n < <usize>LINE_BYTES; n += 16) {
      const seen = v128.load(place + n);
      v128.store(place + n, v128.load(at + SHADOW + n));
      v128.store(at + SHADOW + n, seen);
    }
  }
}
