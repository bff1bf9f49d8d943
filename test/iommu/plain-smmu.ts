/** Stage 1, stage 2 and both stages of an SMMUv3 once more (iommu.md 4), without the code under test. */
import { READ_ONLY, TOP, TOP_2 } from './smmu-lab.js';
import { hex, RAM_END, type TableMemory } from './unit-lab.js';

/** The walk once more, on bigints: four levels, an unprivileged request, the checks of the specification. */
export function plainStage1(one: TableMemory, address: bigint, isWrite: boolean): string {
  let table = TOP;
  let isReadOnly = false;
  let isHidden = false;
  for (let level = 0; level < 4; level++) {
    const shift = BigInt(12 + 9 * (3 - level));
    const at = table + 8n * ((address >> shift) & 511n);
    if (at + 8n > RAM_END) return 'event b';
    const entry = at < 0x10_0000n ? one.peek(at) : 0n;
    const type = entry & 3n;
    const to = entry & 0xffff_ffff_f000n;
    if (type === 3n && level < 3) {
      if (to >> 44n !== 0n) return 'event 11';
      if ((entry >> 62n) & 1n) isReadOnly = true;
      if ((entry >> 61n) & 1n) isHidden = true;
      table = to;
      continue;
    }
    if (!(level === 3 ? type === 3n : type === 1n && level > 0)) return 'event 10';
    if (to >> 44n !== 0n) return 'event 11';
    if ((entry & 0x400n) === 0n) return 'event 12';
    if (isWrite && (isReadOnly || (entry & READ_ONLY) !== 0n)) return 'event 13';
    if (isHidden || (entry & 0x40n) === 0n) return 'event 13';
    const inPage = (1n << shift) - 1n;
    return hex((to & ~inPage) | (address & inPage));
  }
  throw new Error('a walk ends at level 3');
}

/** Stage 2 once more, on bigints: three levels, 40 bits, two top tables; where the page is, or the event. */
export function plainStage2(one: TableMemory, address: bigint, isWrite: boolean, of: string): string {
  if (address >> 40n !== 0n) return `event 10 of ${of}`;
  let table = TOP_2;
  for (const shift of [30n, 21n, 12n]) {
    const index = shift === 30n ? address >> 30n : (address >> shift) & 511n;
    const at = table + 8n * index;
    if (at + 8n > RAM_END) return `event b of ${of}`;
    const entry = at < 0x10_0000n ? one.peek(at) : 0n;
    const type = entry & 3n;
    const to = entry & 0xffff_ffff_f000n;
    if (shift === 12n ? type !== 3n : type !== 3n && type !== 1n) return `event 10 of ${of}`;
    if (to >> 44n !== 0n) return `event 11 of ${of}`;
    if (shift !== 12n && type === 3n) {
      table = to;
      continue;
    }
    if ((entry & 0x400n) === 0n) return `event 12 of ${of}`;
    if ((entry & (isWrite ? 0x80n : 0x40n)) === 0n) return `event 13 of ${of}`;
    const size = 1n << shift;
    return hex(to - (to % size) + (address % size));
  }
  throw new Error('a walk ends with a page');
}

/** Both stages once more: four levels of stage 1, an unprivileged request. */
export function plainBoth(one: TableMemory, address: bigint, isWrite: boolean): string {
  let table = TOP;
  for (const shift of [39n, 30n, 21n, 12n]) {
    const found = plainStage2(one, table + 8n * ((address >> shift) & 511n), false, 'table');
    if (!found.startsWith('0x')) return found;
    const at = BigInt(found);
    if (at + 8n > RAM_END) return 'event b of stage 1';
    const entry = at < 0x10_0000n ? one.peek(at) : 0n;
    const type = entry & 3n;
    const to = entry & 0xffff_ffff_f000n;
    const isTable = shift !== 12n && type === 3n;
    const isPage = shift === 12n ? type === 3n : type === 1n && shift !== 39n;
    if (!isTable && !isPage) return 'event 10 of stage 1';
    if (to >> 44n !== 0n) return 'event 11 of stage 1';
    if (isTable) {
      table = to;
      continue;
    }
    if ((entry & 0x400n) === 0n) return 'event 12 of stage 1';
    if ((entry & 0x40n) === 0n || (isWrite && (entry & 0x80n) !== 0n)) return 'event 13 of stage 1';
    const size = 1n << shift;
    return plainStage2(one, to - (to % size) + (address % size), isWrite, 'input');
  }
  throw new Error('a walk ends with a page');
}
