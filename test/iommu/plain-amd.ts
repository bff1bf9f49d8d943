/** The host tables of AMD-Vi once more (iommu.md 3), without the code under test. */
import { READ, ROOT, WRITE } from './amd-lab.js';
import { hex, RAM_END, type TableMemory } from './unit-lab.js';

/** The walk once more, on bigints: where the page is, or the event and its flags. */
export function plainAmd(one: TableMemory, mode: number, address: bigint, isWrite: boolean): string {
  const rw = isWrite ? 0x20 : 0;
  const fault = (flags: number): string => `event 2 with ${hex(BigInt(flags | rw))}`;
  if (address >= 0xfd_0000_0000n && address <= 0xff_ffff_ffffn) return `event 8 with ${hex(BigInt(rw))}`;
  let table = ROOT;
  let level = mode;
  while (true) {
    const at = table + 8n * ((address >> BigInt(3 + 9 * level)) & (level === 6 ? 127n : 511n));
    if (at + 8n > RAM_END) return `event 4 with ${hex(BigInt(rw))}`;
    const entry = at < 0x10_0000n ? one.peek(at) : 0n;
    if ((entry & 1n) === 0n) return fault(0);
    if ((entry & (isWrite ? WRITE : READ)) === 0n) return fault(0x50);
    const below = Number((entry >> 9n) & 7n);
    const to = entry & 0xf_ffff_ffff_f000n;
    if (below === 0 || below === 7) {
      let lg2 = 3 + 9 * level;
      if (below === 7) {
        const [, ones = ''] = /(1*)$/.exec((to >> 12n).toString(2)) ?? [];
        const size = 13 + ones.length;
        if (size <= lg2 || size >= lg2 + 9) return fault(0x10);
        lg2 = size;
      }
      if (((entry >> 52n) & 0x7fn) !== 0n) return fault(0x90);
      const size = 1n << BigInt(lg2);
      return hex(to - (to % size) + (address % size));
    }
    if (below >= level) return fault(0x10);
    for (let skipped = below + 1; skipped < level; skipped++)
      if (((address >> BigInt(3 + 9 * skipped)) & 511n) !== 0n) return fault(0x10);
    if (((entry >> 52n) & 0x1ffn) !== 0n) return fault(0x90);
    table = to;
    level = below;
  }
}
