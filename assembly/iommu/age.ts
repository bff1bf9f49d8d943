// Floor 4: which entry of an IOTLB is the oldest, without a list that every hit would have to change.
//
// Each entry has the time of its last use (LRU) or of its arrival (FIFO). The numbers of all entries are sorted by it once in a
// while. Whatever was used since is younger than everything that was not, so the first of the sorted ones that nobody has
// touched is the oldest of all; when they are used up, it is time to sort again.

/** Word of an entry: its time (u64). */
export const STAMP: usize = 32;

// The order of a unit: where the numbers stand, the next one, behind the last one, when they were sorted (u64).
const NUMBERS: usize = 0;
const NEXT: usize = 4;
const END: usize = 8;
const SORTED_AT: usize = 16;
export const ORDER_BYTES: usize = 24;

let clock: u64 = 0;

/** A new time for the entry at `at`. */
export function stamp(at: usize): void {
  clock += 1;
  store<u64>(at, clock, STAMP);
}

/** Nothing is sorted; numbers go to `numbers`, u32 each. */
export function resetOrder(order: usize, numbers: usize): void {
  store<u32>(order, <u32>numbers, NUMBERS);
  store<u64>(order, 0, NEXT);
  store<u32>(order, 0, END);
}

function numberAt(order: usize, n: u32): usize {
  return <usize>load<u32>(order, NUMBERS) + ((<usize>n) << 2);
}

/**
 * Number of the oldest entry. There are `top` of them, from 1 on, of `stride` bytes from `entries` on; one whose first word (u64)
 * is 0 is free. At least one has to be used.
 */
export function oldest(order: usize, entries: usize, stride: usize, top: u32): u32 {
  while (true) {
    let next = load<u32>(order, NEXT);
    const end = load<u32>(order, END);
    while (next < end) {
      const n = load<u32>(numberAt(order, next));
      const at = entries + <usize>n * stride;
      next += 1;
      if (load<u64>(at) == 0 || load<u64>(at, STAMP) > load<u64>(order, SORTED_AT)) continue;
      store<u32>(order, next, NEXT);
      return n;
    }
    let count: u32 = 0;
    for (let n: u32 = 1; n <= top; n++) {
      if (load<u64>(entries + <usize>n * stride) == 0) continue;
      store<u32>(numberAt(order, count), n);
      count += 1;
    }
    sort(numberAt(order, 0), count, entries, stride);
    store<u32>(order, 0, NEXT);
    store<u32>(order, count, END);
    store<u64>(order, clock, SORTED_AT);
  }
}

/** Heap sort: no recursion, no room of its own. */
function sort(numbers: usize, count: u32, entries: usize, stride: usize): void {
  for (let n = count >> 1; n > 0; n--) sink(numbers, n - 1, count, entries, stride);
  for (let end = count; end > 1; end--) {
    const last = numbers + ((<usize>(end - 1)) << 2);
    const first = load<u32>(numbers);
    store<u32>(numbers, load<u32>(last));
    store<u32>(last, first);
    sink(numbers, 0, end - 1, entries, stride);
  }
}

function sink(numbers: usize, root: u32, count: u32, entries: usize, stride: usize): void {
  const n = load<u32>(numbers + ((<usize>root) << 2));
  const time = load<u64>(entries + <usize>n * stride, STAMP);
  let at = root;
  while (true) {
    let child: u32 = 2 * at + 1;
    if (child >= count) break;
    let below = load<u32>(numbers + ((<usize>child) << 2));
    let belowTime = load<u64>(entries + <usize>below * stride, STAMP);
    if (child + 1 < count) {
      const other = load<u32>(numbers + ((<usize>(child + 1)) << 2));
      const otherTime = load<u64>(entries + <usize>other * stride, STAMP);
      if (otherTime > belowTime) {
        child += 1;
        below = other;
        belowTime = otherTime;
      }
    }
    if (belowTime <= time) break;
    store<u32>(numbers + ((<usize>at) << 2), below);
    at = child;
  }
  store<u32>(numbers + ((<usize>at) << 2), n);
}
