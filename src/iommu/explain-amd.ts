/** What entries of AMD-Vi structures say, in words (iommu.md 3), with what makes them reserved. */
import { hex64 } from '../core/u64.js';
import {
  flags,
  has,
  listed,
  NOT_PRESENT,
  type Passed,
  pageName,
  refusedFor,
  reserved,
  TABLE,
} from './explain-bits.js';
import { bits } from './unit.js';

const HAD = ['', 'HAD 1: access', 'HAD 2: reserved', 'HAD 3: access, dirty'];
const INTERRUPTS = ['aborted', 'as they are', 'remapped', 'reserved'];

export function amdPage(entry: bigint, level: number): string {
  if (!has(entry, 0)) return NOT_PRESENT;
  const next = bits(entry, 9, 3);
  const names = { 5: 'A', 6: 'D', 59: 'U', 60: 'FC', 61: 'IR', 62: 'IW' };
  if (next !== 0 && next !== 7)
    return listed(
      `table ${hex64(entry & TABLE)} of level ${next}`,
      flags(entry, names),
      reserved(entry, 0x1ffn << 52n),
      refusedFor(next >= level && `level ${next} below level ${level}`),
    );
  let lg2 = 3 + 9 * level;
  if (next === 7) for (lg2 = 13; lg2 < 52 && has(entry, lg2 - 1); lg2++);
  const first = entry & TABLE & ~((1n << BigInt(lg2)) - 1n);
  return listed(
    `${pageName(lg2)} page ${hex64(first)}`,
    flags(entry, names),
    reserved(entry, 0x7fn << 52n),
    refusedFor(
      next === 7 && (lg2 <= 3 + 9 * level || lg2 >= 12 + 9 * level) && 'a page size of another level',
    ),
  );
}

export function amdDevice(entry: bigint, word: number, { facts }: Passed): string {
  if (word === 1) return listed(`domain ${bits(entry, 0, 16)}`, flags(entry, { 32: 'IOTLB', 34: 'SA' }));
  if (word > 1) return `interrupts ${INTERRUPTS[has(entry, 0) ? bits(entry, 60, 2) : 1]}`;
  if (!has(entry, 0)) return 'V = 0: requests pass';
  const mode = bits(entry, 9, 3);
  const flagged = bits(entry, 7, 2);
  return listed(
    `mode ${mode}`,
    `table ${hex64(entry & TABLE)}`,
    flags(entry, { 1: 'TV', 61: 'IR', 62: 'IW' }),
    HAD[flagged] as string,
    reserved(entry, 0x7cn | (0x1ffn << 52n) | (1n << 63n)),
    refusedFor(
      mode === 7 && 'mode 7',
      flagged !== 0 && !facts.setsAccess && 'HAD without hardwareFlags',
      flagged === 3 && facts.setsAccess && !facts.setsDirty && 'HAD 3 without hardwareFlags dirty',
    ),
  );
}
