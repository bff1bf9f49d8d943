/** The I/O translation buffer when it is well filled: what goes leaves everything else where it was (zpci.md 5.4). */
import { describe, expect, it } from 'vitest';
import { IOTLB_LG2 } from '../../assembly/layout.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { IOTA, type Prober, prober, SDMA, TABLES } from './dma-support.js';

const FRAME = 0x2_0000;
const MIB = 0x10_0000n;
const APART = 0xb3_4570_0000n;
/** Pages that the buffer holds: three quarters of its slots. */
const MOST = 3 * 2 ** (IOTLB_LG2 - 2);
const SEGMENTS = Math.floor(MOST / 256);

describe.each(BUILDS)('the translation buffer on the %s build', (build) => {
  const core = useBuild(build);
  const length = BigInt(SEGMENTS) * MIB;

  /** One segment table for every region, one page table for every segment. */
  async function make(): Promise<Prober> {
    const rig = await prober(core());
    begin(rig);
    return rig;
  }
  function begin(rig: Prober): void {
    for (let n = 0; n < 2048; n++) rig.put(TABLES.region + 8 * n, BigInt(TABLES.segment) | 7n);
    for (let n = 0; n < 2048; n++) rig.put(TABLES.segment + 8 * n, BigInt(TABLES.page));
    expect(rig.mpcifc(4, { pba: SDMA, pal: 0x3ff_ffff_ffffn, iota: IOTA }).cc).toBe(0);
    rig.machine.memory.write(FRAME, Uint8Array.of(1, 2, 3, 4));
  }
  const pages = (rig: Prober, isMapped: (page: number) => boolean): void => {
    for (let n = 0; n < 256; n++) rig.put(TABLES.page + 8 * n, isMapped(n) ? BigInt(FRAME) : 0x400n);
  };

  /** Address of a segment. Neighbours hash to places far from each other, and do not meet: so there are three ranges. */
  const at = (segment: number): bigint => SDMA + BigInt(segment) * MIB + BigInt(segment % 3) * APART;

  it('keeps every other page when a third of them goes', async () => {
    const rig = await make();
    pages(rig, () => true);
    for (let segment = 0; segment < SEGMENTS; segment++) expect(rig.rpcit(at(segment), MIB).cc).toBe(0);
    const stays = (page: number): boolean => page % 3 !== 0;
    pages(rig, stays);
    for (let segment = 0; segment < SEGMENTS; segment++) expect(rig.rpcit(at(segment), MIB).cc).toBe(0);
    for (let segment = 0; segment < SEGMENTS; segment++) {
      for (let page = segment % 5; page < 256; page += 5) {
        if (stays(page)) expect(rig.read(at(segment) + BigInt(page << 12))).toBe('01020304');
      }
    }
    expect([rig.fn.state, rig.events()]).toEqual(['enabled', []]);
  });

  it('takes as many pages as before when all have gone, and after a reset', async () => {
    const rig = await make();
    for (let round = 0; round < 3; round++) {
      pages(rig, () => true);
      expect(rig.rpcit(SDMA, length).cc).toBe(0);
      pages(rig, () => false);
      expect(rig.rpcit(SDMA, length).cc).toBe(0);
    }
    for (let round = 0; round < 2; round++) {
      pages(rig, () => true);
      expect(rig.rpcit(SDMA, 2n * length)).toMatchObject({ cc: 1, status: 16 });
      rig.machine.reset();
      begin(rig);
    }
    pages(rig, () => true);
    expect(rig.rpcit(SDMA, length).cc).toBe(0);
  });
});
