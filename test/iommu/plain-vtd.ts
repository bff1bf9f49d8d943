/** The second stage of VT-d in legacy mode once more (iommu.md 2.4, 2.6), without the code under test. */
import { hex, LARGE, RAM_END, READ, type TableMemory, TOP, WRITE } from './unit-lab.js';

const SNP = 1n << 11n;
const TM = 1n << 62n;

/** The walk once more, on bigints: four levels, snoop control, no device TLB. */
export function plainVtd(one: TableMemory, address: bigint, isWrite: boolean): string {
  if (address >> 20n === 0xfeen) return isWrite ? 'message' : 'refused';
  let table = TOP;
  for (let level = 4; level > 0; level--) {
    const shift = BigInt(3 + 9 * level);
    const at = table + 8n * ((address >> shift) & 0x1ffn);
    if (at + 8n > RAM_END) return level === 4 ? 'fault 3' : 'fault 7';
    const entry = at < 0x10_0000n ? one.peek(at) : 0n;
    if ((entry & (isWrite ? WRITE : READ)) === 0n) return isWrite ? 'fault 5' : 'fault 6';
    const isLeaf = level === 1 || (level < 4 && (entry & LARGE) !== 0n);
    const frame = entry & 0xf_ffff_ffff_f000n;
    if ((entry & TM) !== 0n || frame >> 48n !== 0n) return 'fault c';
    if (!isLeaf) {
      if ((entry & (SNP | LARGE)) !== 0n) return 'fault c';
      table = frame;
      continue;
    }
    const inPage = (1n << shift) - 1n;
    if ((frame & inPage) !== 0n) return 'fault c';
    if (frame <= 0xfeef_ffffn && frame + inPage >= 0xfee0_0000n) return 'fault e';
    return hex(frame | (address & inPage));
  }
  throw new Error('a walk ends at level 1');
}
