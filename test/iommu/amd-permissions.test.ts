/** AMD-Vi: what an answer allows, reserved bits of tables at each level, and tables in RAM that is not held (iommu.md 3). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { AmdLab, next, PRESENT, READ, RW, SID, WRITE } from './amd-lab.js';
import {
  asFunction,
  CONTEXT,
  hex,
  MEMORY,
  PAGE,
  RAM_END,
  ROOT,
  RW as RW_VTD,
  TOP,
  UnitLab,
} from './unit-lab.js';

const IOVA = 0x12_3456_7000n;

describe.each(BUILDS)('tables of units on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  it('IOM-33: an answer allows what the page, every table and the device entry have in common, cold and warm', () => {
    const rights = [READ, WRITE, RW];
    const named = (bits: bigint): { read: boolean; write: boolean } => ({
      read: (bits & READ) !== 0n,
      write: (bits & WRITE) !== 0n,
    });
    for (const page of rights)
      for (const table of rights)
        for (const device of rights) {
          const one = new AmdLab(core);
          one.map(IOVA, PAGE | PRESENT | page);
          const upper = one.map(IOVA, 0n, { level: 3 });
          one.poke(upper, 0x9000n | PRESENT | table | next(2));
          one.device({ permissions: device });
          const common = page & table & device;
          for (const isWrite of [false, true])
            for (const warmth of ['cold', 'warm']) {
              const answer = one.unit.translate({ sid: SID, address: IOVA, isWrite });
              const isAllowed = (common & (isWrite ? WRITE : READ)) !== 0n;
              const where = [page, table, device, isWrite, warmth];
              if (isAllowed)
                expect([...where, answer]).toMatchObject([
                  ...where,
                  { kind: 'translated', address: Number(PAGE), permissions: named(common) },
                ]);
              else expect([...where, answer]).toMatchObject([...where, { kind: 'fault', reason: 2 }]);
            }
        }
  });

  it('iommu.md 3: bits 60:52 of an entry that names a table are reserved, at every level', () => {
    for (const level of [2, 3, 4]) {
      const one = new AmdLab(core);
      one.map(IOVA, PAGE | PRESENT | RW);
      const below = 0x8000n + 0x1000n * BigInt(4 - level);
      const place = one.map(IOVA, 0n, { level });
      for (let bit = 52n; bit <= 60n; bit++) {
        one.poke(place, below | PRESENT | RW | next(level - 1) | (1n << bit));
        expect([level, bit, one.cold(IOVA), one.events()]).toEqual([level, bit, 'event 2', ['2/0x90']]);
      }
      for (const bit of [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 63n]) {
        one.poke(place, below | PRESENT | RW | next(level - 1) | (1n << bit));
        expect([level, bit, one.cold(IOVA)]).toEqual([level, bit, hex(PAGE)]);
      }
    }
  });

  it('iommu.md 2.6: RAM beyond what host memory holds reads as zeros, for requests of functions, too', () => {
    // Just behind what is held, far behind it, and the last table of RAM.
    for (const table of [BigInt(MEMORY), 0x1000_0000n, RAM_END - 0x1000n]) {
      for (const level of [4, 3, 2]) {
        const one = UnitLab.on(core);
        one.map(IOVA, PAGE | RW_VTD);
        one.map(IOVA, table | RW_VTD, { level });
        expect([table, level, one.cold(IOVA), one.cold(IOVA, true)]).toEqual([
          table,
          level,
          'fault 6',
          'fault 5',
        ]);
        const amd = new AmdLab(core);
        amd.map(IOVA, PAGE | PRESENT | RW);
        amd.map(IOVA, table | PRESENT | RW | next(level - 1), { level });
        expect([table, level, amd.cold(IOVA), amd.events()]).toEqual([table, level, 'event 2', ['2/0x0']]);
      }
      const one = UnitLab.on(core);
      one.poke(ROOT, table | 1n);
      expect([table, one.cold(IOVA)]).toEqual([table, 'fault 2']);
      one.poke(ROOT, CONTEXT | 1n);
      one.context({ top: table });
      expect([table, one.cold(IOVA)]).toEqual([table, 'fault 6']);
      one.unit.rootTable = table;
      expect([table, one.cold(IOVA)]).toEqual([table, 'fault 1']);
    }
    // The last table that is held, with an entry in its last 8 bytes, is read.
    const one = UnitLab.on(core);
    const last = BigInt(MEMORY) - 0x1000n;
    const address = (IOVA & ~(511n << 12n)) | (511n << 12n);
    one.map(address, PAGE | RW_VTD);
    one.map(address, last | RW_VTD, { level: 2 });
    one.poke(BigInt(MEMORY) - 8n, (PAGE + 0x1000n) | RW_VTD);
    expect(one.cold(address)).toBe(hex(PAGE + 0x1000n));
    one.unit.invalidateIotlb();
    expect(asFunction(core, { sid: SID, address, isWrite: false })[0]).toBe(Number(PAGE) + 0x1000);
    expect(one.peek(TOP + 8n * ((address >> 39n) & 511n)) & 3n).toBe(RW_VTD);
  });
});
