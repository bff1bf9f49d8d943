/** Where things stand in the guest memory of the sequences, and what it holds at their beginning. */

import { SDMA } from '../reference/types.js';
import { MEMORY_BYTES } from './rig.js';

export const AT = {
  fib: 0x1000,
  stored: 0x1400,
  clp: 0x2000,
  regionSecond: 0x1_8000,
  region: 0x4000,
  segments: [0x8000, 0xc000],
  pages: [0x1_0000, 0x1_0800, 0x1_1000, 0x1_1800],
  indicators: 0x1_4000,
  summaries: 0x1_4800,
  measurement: 0x1_5000,
  frames: 0x2_0000,
} as const;

export const INVALID = 0x20n;
export const INVALID_PAGE = 0x400n;
export const FRAME_COUNT = (MEMORY_BYTES - AT.frames) / 4096;
/** Pages of a page table that the sequences use. */
export const PAGE_COUNT = 10;

/** Index of SDMA in the region-third table. */
const FIRST_REGION = Number(SDMA >> 31n);

function build(): Uint8Array {
  const memory = Uint8Array.from({ length: MEMORY_BYTES }, (_, n) => (n * 29 + (n >>> 8) * 7 + 3) & 0xff);
  const view = new DataView(memory.buffer);
  const fill = (at: number, count: number, value: bigint): void => {
    for (let n = 0; n < count; n++) view.setBigUint64(at + 8 * n, value);
  };
  for (const table of [AT.regionSecond, AT.region, ...AT.segments]) fill(table, 2048, INVALID);
  for (const table of AT.pages) fill(table, 256, INVALID_PAGE);
  view.setBigUint64(AT.regionSecond, BigInt(AT.region) | 0xbn);
  AT.segments.forEach((table, n) => {
    view.setBigUint64(AT.region + 8 * (FIRST_REGION + n), BigInt(table) | 7n);
    for (let k = 0; k < 2; k++) view.setBigUint64(table + 8 * k, BigInt(AT.pages[2 * n + k] as number));
    // A large frame: the first megabyte, of which there is a quarter.
    view.setBigUint64(table + 16, 0x400n);
  });
  AT.pages.forEach((table, n) => {
    for (let k = 0; k < PAGE_COUNT - 2; k++)
      view.setBigUint64(table + 8 * k, BigInt(AT.frames + 4096 * ((5 * n + k) % FRAME_COUNT)));
  });
  memory.fill(0, AT.indicators, AT.measurement + 0x1000);
  memory.fill(0, AT.fib, AT.clp);
  return memory;
}

/** Copy it: sequences change their memory. */
export const FIRST_MEMORY: Uint8Array = build();
