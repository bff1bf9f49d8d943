/** Paging-structure caches of SMMUv3 and AMD-Vi units, and the hints of commands that keep them (iommu.md 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { AmdQueues } from '../../src/iommu/amd-queues.js';
import { SmmuQueues } from '../../src/iommu/smmu-queues.js';
import type { TranslationUnit } from '../../src/iommu/unit.js';
import { hostMemory } from '../../src/iommu/unit-memory.js';
import { runDescriptor } from '../../src/iommu/vtd-queue.js';
import { VtdRegisters } from '../../src/iommu/vtd-registers.js';
import { BUILDS, useBuild } from '../support/builds.js';
import * as amd from './amd-lab.js';
import { FIRST, PAGE1, ScalableLab } from './scalable-lab.js';
import * as smmu from './smmu-lab.js';
import { DID, hex, IOVA, MEMORY, PAGE, RW, reads, UnitLab } from './unit-lab.js';

const KNOWN = { pagingStructureEntries: 16 };
/** Pages that share all tables with the first one, all but the lowest. */
const NEXT = IOVA + 0x1000n;
const FAR = IOVA + 0x20_0000n;
/** An intermediate address, and a stream with stage 2 alone. */
const MIDDLE = 0x9012_3000n;
const STAGE_2 = 1n | (6n << 1n);

describe.each(BUILDS)('paging-structure caches by kind on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  describe('SMMUv3', () => {
    /** Stage 1 alone, with two pages in one table. */
    function arm(word?: bigint): smmu.Smmu {
      const one = new smmu.Smmu(core, KNOWN);
      if (word !== undefined) one.context({ word });
      for (const [n, at] of [IOVA, NEXT].entries()) one.map(at, (PAGE + BigInt(n) * 0x1000n) | smmu.LEAF);
      return one;
    }
    const find = (one: smmu.Smmu, address: bigint, isPrivileged = false): number =>
      reads(one.unit, () => expect(one.go(address, false, isPrivileged)).toMatch(/^0x/))[1];

    it('iommu.md 4.5, 5: TLBI with Leaf keeps tables, without it drops those above the page', () => {
      const asid = Number(smmu.ASID);
      const drops: [string, number, (one: smmu.Smmu) => void][] = [
        ['nothing', 3, () => undefined],
        ['TLBI_NH_VA', 0, (one) => one.unit.invalidateAddress(asid, NEXT)],
        ['TLBI_NH_VA, Leaf', 3, (one) => one.unit.invalidateAddress(asid, NEXT, 0, true)],
        ['TLBI_NH_VA of another ASID', 3, (one) => one.unit.invalidateAddress(asid + 1, NEXT)],
        ['TLBI_NH_VA of another VMID', 3, (one) => one.unit.invalidateAddress(asid, NEXT, 1)],
        ['TLBI_NH_VA of a page of another table', 3, (one) => one.unit.invalidateAddress(asid, FAR)],
        ['TLBI_NH_VAA', 0, (one) => one.unit.invalidateAddress(undefined, NEXT)],
        ['TLBI_NH_ASID', 0, (one) => one.unit.invalidateTlb(asid)],
        ['TLBI_NH_ALL', 0, (one) => one.unit.invalidateVm(0)],
        ['TLBI_NSNH_ALL', 0, (one) => one.unit.invalidateTlb()],
        ['TLBI_S2_IPA', 3, (one) => one.unit.invalidateIntermediate(0, NEXT)],
        ['CFGI_ALL', 3, (one) => one.unit.invalidateConfig()],
      ];
      for (const [name, left, drop] of drops) {
        const one = arm();
        one.go(IOVA);
        drop(one);
        expect([name, find(one, NEXT)]).toEqual([name, left]);
      }
    });

    it('tables are known by addresses without a tag, and dropped by them', () => {
      const one = arm(smmu.descriptorOf(16n, 1n << 38n));
      const tagged = (0xabn << 56n) | NEXT;
      one.go(IOVA);
      expect(find(one, tagged)).toBe(3);
      one.unit.invalidateAddress(Number(smmu.ASID), NEXT);
      expect(find(one, (0xcdn << 56n) | IOVA)).toBe(0);
      const two = arm(smmu.descriptorOf(16n, 1n << 38n));
      two.go((0xabn << 56n) | IOVA);
      two.unit.invalidateAddress(Number(smmu.ASID), NEXT);
      expect(find(two, NEXT)).toBe(0);
    });

    it('what tables take away is known as well, and privileged requests know nothing', () => {
      for (const [bit, event] of [
        [1n << 62n, 'event 13'],
        [1n << 61n, 'event 13'],
      ] as const) {
        const one = arm();
        const place = one.map(IOVA, 0n, 1);
        const table = 0x8000n;
        one.poke(place, table | smmu.TABLE | bit);
        // The walk of a page that may be read leaves its tables behind; unprivileged ones may not with bit 61.
        const isHidden = bit === 1n << 61n;
        one.map(IOVA, 0x9_0000n | smmu.TABLE, 2);
        one.poke(table + ((IOVA >> 18n) & 0xff8n), 0x9_0000n | smmu.TABLE);
        for (const at of [IOVA, NEXT]) one.poke(0x9_0000n + ((at >> 9n) & 0xff8n), PAGE | smmu.LEAF);
        one.cold(IOVA);
        expect([bit, one.go(NEXT, true)]).toEqual([bit, event]);
        if (isHidden) continue;
        expect(find(one, NEXT)).toBe(3);
        expect(one.go(NEXT, true)).toBe(event);
        one.unit.invalidateAddress(Number(smmu.ASID), NEXT, 0, true);
        expect(reads(one.unit, () => one.go(NEXT, false, true))).toEqual([4, 0]);
      }
    });

    it('a privileged request leaves no tables, nor those of a request before it that failed', () => {
      const one = arm();
      expect(one.go(FAR - 0x1000n)).toBe('event 10');
      expect(one.go(IOVA, false, true)).toBe(hex(PAGE));
      expect(find(one, NEXT)).toBe(0);
    });

    it('tables are those of an ASID and a VMID, whichever stream asked', () => {
      const OTHER = 0x3400n;
      for (const [vmid, asid, left] of [
        [0n, smmu.ASID, 3],
        [0n, smmu.ASID + 1n, 0],
        [1n, smmu.ASID, 0],
      ] as const) {
        const one = arm();
        one.stream(smmu.SID + 1, OTHER | 0xbn, 0n, vmid);
        for (const word of [0n, 8n, 16n, 24n]) one.poke(OTHER + word, one.peek(smmu.DESCRIPTOR + word));
        one.poke(OTHER, (one.peek(OTHER) & ~(0xffffn << 48n)) | (asid << 48n));
        one.go(IOVA);
        const known = reads(one.unit, () =>
          expect(one.go(NEXT, false, false, smmu.SID + 1)).toBe(hex(PAGE + 0x1000n)),
        )[1];
        expect([vmid, asid, known]).toEqual([vmid, asid, left]);
      }
    });

    it('stage 2: tables are those of a VMID, of privileged requests and with stage 1 as well', () => {
      const one = new smmu.Smmu(core, KNOWN);
      const second = smmu.nest(one);
      // Stage 2 alone: one stream of the same VMID, one of another.
      one.stream(smmu.SID + 1, STAGE_2, 0n, smmu.stage2Word(), smmu.TOP_2);
      one.stream(smmu.SID + 2, STAGE_2, 0n, smmu.stage2Word() + 1n, smmu.TOP_2);
      for (const n of [0n, 1n]) second.map(MIDDLE + n * 0x1000n, PAGE | smmu.LEAF_2);
      for (const at of [IOVA, NEXT]) one.map(at, MIDDLE | smmu.LEAF);
      one.poke(
        smmu.TOP + ((IOVA >> 36n) & 0xff8n),
        one.peek(smmu.TOP + ((IOVA >> 36n) & 0xff8n)) | smmu.NESTED,
      );
      for (const n of [0n, 1n]) {
        const at = 0x8000n + n * 0x1000n + ((IOVA >> (27n - 9n * n)) & 0xff8n);
        one.poke(at, one.peek(at) | smmu.NESTED);
      }
      const ask = (address: bigint, sid: number, isPrivileged: boolean): number =>
        reads(one.unit, () => expect(one.go(address, false, isPrivileged, sid)).toBe(hex(PAGE)))[1];
      expect(ask(IOVA, smmu.SID, false)).toBe(0);
      expect(ask(MIDDLE + 0x1000n, smmu.SID + 2, false)).toBe(0);
      expect(ask(MIDDLE + 0x1000n, smmu.SID + 1, true)).toBe(2);
      one.unit.invalidateVm(Number(smmu.VMID), true);
      expect(ask(MIDDLE, smmu.SID + 1, true)).toBe(0);
      expect(ask(MIDDLE + 0x1000n, smmu.SID + 1, false)).toBe(2);
      // Two on the way to the page, and one on the way to each of four tables of stage 1.
      expect(ask(NEXT, smmu.SID, false)).toBe(2 + 4);
    });

    it('stage 2 alone: TLBI_S2_IPA', () => {
      const make = (): smmu.Smmu => {
        const one = new smmu.Smmu(core, KNOWN);
        one.stream(smmu.SID, STAGE_2, 0n, smmu.stage2Word(), smmu.TOP_2);
        const second = new smmu.Stage2(one);
        for (const n of [0n, 1n]) second.map(MIDDLE + n * 0x1000n, PAGE | smmu.LEAF_2);
        one.go(MIDDLE);
        return one;
      };
      const vmid = Number(smmu.VMID);
      const drops: [string, number, (one: smmu.Smmu) => void][] = [
        ['nothing', 2, () => undefined],
        ['TLBI_S2_IPA', 0, (one) => one.unit.invalidateIntermediate(vmid, MIDDLE)],
        ['with Leaf', 2, (one) => one.unit.invalidateIntermediate(vmid, MIDDLE, true)],
        ['of another VMID', 2, (one) => one.unit.invalidateIntermediate(vmid + 1, MIDDLE)],
        ['TLBI_NH_ALL', 2, (one) => one.unit.invalidateVm(vmid)],
        ['TLBI_S12_VMALL', 0, (one) => one.unit.invalidateVm(vmid, true)],
      ];
      for (const [name, left, drop] of drops) {
        const one = make();
        drop(one);
        expect([name, find(one, MIDDLE + 0x1000n)]).toEqual([name, left]);
      }
    });

    it.each([16, 20])('nested: each stage has its own, T0SZ %i', (t0sz) => {
      const make = (bits = 0n): smmu.Smmu => {
        const one = new smmu.Smmu(core, KNOWN, t0sz);
        const second = smmu.nest(one);
        let table = smmu.TOP;
        for (const [n, shift] of [39n, 30n, 21n].entries()) {
          const below = 0x1_0000n + BigInt(n) * 0x1000n;
          one.poke(table + (((IOVA >> shift) & 511n) << 3n), smmu.NESTED | below | smmu.TABLE | bits);
          table = below;
        }
        for (const at of [IOVA, NEXT]) one.poke(table + (((at >> 12n) & 511n) << 3n), MIDDLE | smmu.LEAF);
        second.map(MIDDLE, PAGE | smmu.LEAF_2);
        one.go(IOVA);
        return one;
      };
      // Stage 2: two entries to a block for each of four tables, three to the page. Known: one for the last table, one for the page.
      const whole = 4 + 4 * 2 + 3;
      const one = make();
      expect(reads(one.unit, () => one.go(NEXT))).toEqual([1 + 1 + 1, whole - 3]);
      const two = make();
      two.unit.invalidateVm(Number(smmu.VMID));
      expect(reads(two.unit, () => two.go(NEXT))).toEqual([4 + 4 + 1, 4 + 2]);
      // Tables without permission to write (APTable): pages below them have none either.
      const three = make(1n << 62n);
      expect(find(three, NEXT)).toBe(whole - 3);
      expect(three.go(NEXT, true)).toBe('event 13');
      // With TBI they are known by addresses without a tag.
      const four = make();
      four.poke(smmu.DESCRIPTOR, four.peek(smmu.DESCRIPTOR) | (1n << 38n));
      four.unit.invalidateConfig();
      expect(find(four, (0xabn << 56n) | NEXT)).toBe(whole - 3);
    });
  });

  describe('AMD-Vi', () => {
    it('INVALIDATE_IOMMU_PAGES with PDE drops tables, without it keeps them', () => {
      const { unit } = new amd.AmdLab(core, {}, KNOWN);
      expect(unit.kind).toBe('amd');
      const drops: [string, number, (one: amd.AmdLab) => void][] = [
        ['nothing', 3, () => undefined],
        ['a page and its tables', 0, (one) => one.unit.invalidatePages(amd.DOMAIN, NEXT)],
        ['a page', 3, (one) => one.unit.invalidatePages(amd.DOMAIN, NEXT, false, true)],
        ['of another domain', 3, (one) => one.unit.invalidatePages(amd.DOMAIN + 1, NEXT)],
        ['the domain', 0, (one) => one.unit.invalidateDomain(amd.DOMAIN)],
        ['everything', 0, (one) => one.unit.invalidatePages(amd.DOMAIN, 0x7fff_ffff_ffff_f000n, true)],
        ['devices', 3, (one) => one.unit.invalidateDevices()],
      ];
      for (const [name, left, drop] of drops) {
        const one = new amd.AmdLab(core, {}, KNOWN);
        for (const at of [IOVA, NEXT]) one.map(at, PAGE | amd.PRESENT | amd.RW);
        one.go(IOVA);
        drop(one);
        expect([name, reads(one.unit, () => expect(one.go(NEXT)).toBe(hex(PAGE)))[1]]).toEqual([name, left]);
      }
    });

    it('tables are those of a domain, whichever device asked', () => {
      for (const [domain, left] of [
        [amd.DOMAIN, 3],
        [amd.DOMAIN + 1, 0],
      ] as const) {
        const one = new amd.AmdLab(core, {}, KNOWN);
        one.device({ sid: amd.SID + 1, domain });
        for (const at of [IOVA, NEXT]) one.map(at, PAGE | amd.PRESENT | amd.RW);
        one.go(IOVA);
        const known = reads(one.unit, () => expect(one.go(NEXT, false, amd.SID + 1)).toBe(hex(PAGE)))[1];
        expect([domain, known]).toEqual([domain, left]);
      }
    });

    it('six levels: each is known, and goes with all the others', () => {
      const drops: [number, (one: amd.AmdLab) => void][] = [
        [1, () => undefined],
        [0, () => core.x.unitDropAll(0)],
        [0, (one) => one.unit.invalidateDomain()],
        [0, (one) => one.unit.invalidatePages(amd.DOMAIN, IOVA)],
      ];
      for (const [n, [left, drop]] of drops.entries()) {
        const one = new amd.AmdLab(core, {}, KNOWN);
        one.device({ mode: 6 });
        // They have the table in common that an entry of level 6 names.
        const other = IOVA | (1n << 50n);
        for (const at of [IOVA, other]) one.map(at, PAGE | amd.PRESENT | amd.RW, { mode: 6 });
        one.go(IOVA);
        drop(one);
        expect([n, reads(one.unit, () => expect(one.go(other)).toBe(hex(PAGE)))[1]]).toEqual([n, left]);
      }
    });

    it('a table below a level that is left out serves no address with bits of that level', () => {
      const one = new amd.AmdLab(core, {}, KNOWN);
      // From level 4 to level 2, whose table serves the first gigabyte alone.
      one.poke(amd.ROOT, 0x8000n | amd.PRESENT | amd.RW | amd.next(2));
      one.poke(0x8000n, 0x9000n | amd.PRESENT | amd.RW | amd.next(1));
      for (const n of [5n, 6n]) one.poke(0x9000n + 8n * n, PAGE | amd.PRESENT | amd.RW);
      expect(one.go(0x5000n)).toBe(hex(PAGE));
      expect(reads(one.unit, () => one.go(0x6000n))).toEqual([1, 2]);
      expect(one.go(0x4000_6000n)).toBe('event 2');
      // Another entry of level 2 is found from the top.
      one.poke(0x8008n, 0x9000n | amd.PRESENT | amd.RW | amd.next(1));
      expect(reads(one.unit, () => expect(one.go(0x20_5000n)).toBe(hex(PAGE)))).toEqual([3, 0]);
    });
  });

  describe('hints in commands', () => {
    const COMMANDS = 0xc_0000n;
    const isKnown = (unit: TranslationUnit, go: () => unknown): boolean => reads(unit, go)[1] === 3;

    it.each([false, true])('VT-d: IH of both descriptors and of IVA is %s', (isHint) => {
      const hint = isHint ? 1n << 6n : 0n;
      const legacy = (): UnitLab => {
        const made = UnitLab.on(core, { options: KNOWN });
        for (const at of [IOVA, NEXT]) made.map(at, PAGE | RW);
        return made;
      };
      const one = legacy();
      const memory = hostMemory(core, MEMORY);
      const complete = (): void => undefined;
      const did = BigInt(DID) << 16n;
      one.go(IOVA);
      expect(
        runDescriptor([2n | (3n << 4n) | did, NEXT | hint], { unit: one.unit, mode: 0, memory, complete }),
      ).toBe(true);
      expect(isKnown(one.unit, () => one.go(NEXT))).toBe(isHint);
      const two = legacy();
      const registers = new VtdRegisters({ unit: two.unit, memory, interrupt: () => undefined });
      two.go(IOVA);
      registers.write(0xf0, 8, NEXT | hint);
      registers.write(0xf8, 8, (1n << 63n) | (3n << 60n) | (BigInt(DID) << 32n));
      expect(isKnown(two.unit, () => two.go(NEXT))).toBe(isHint);
      const three = new ScalableLab(core, { options: KNOWN });
      three.pasid({ type: FIRST });
      for (const at of [IOVA, NEXT]) three.map(at, PAGE | PAGE1);
      const { unit } = three.lab;
      three.go(IOVA);
      const words = [6n | (3n << 4n) | (3n << 16n) | (63n << 32n), NEXT | hint, 0n, 0n];
      expect(runDescriptor(words, { unit, mode: 1, memory, complete })).toBe(true);
      expect(isKnown(unit, () => three.go(NEXT))).toBe(isHint);
    });

    it.each([false, true])('SMMUv3: Leaf of TLBI_NH_VA, TLBI_NH_VAA and TLBI_S2_IPA is %s', (isLeaf) => {
      for (const code of [0x12n, 0x13n, 0x2an]) {
        const one = new smmu.Smmu(core, KNOWN);
        const isStage2 = code === 0x2an;
        const vmid = isStage2 ? smmu.VMID : 0n;
        const first = isStage2 ? MIDDLE : IOVA;
        if (isStage2) one.stream(smmu.SID, STAGE_2, 0n, smmu.stage2Word(), smmu.TOP_2);
        const second = new smmu.Stage2(one);
        for (const at of [first, first + 0x1000n]) {
          if (isStage2) second.map(at, PAGE | smmu.LEAF_2);
          else one.map(at, PAGE | smmu.LEAF);
        }
        one.go(first);
        const queues = new SmmuQueues(one.unit, hostMemory(core, MEMORY));
        queues.startCommands(COMMANDS | 3n);
        one.poke(COMMANDS, code | (vmid << 32n) | (isStage2 ? 0n : smmu.ASID << 48n));
        one.poke(COMMANDS + 8n, (first + 0x1000n) | (isLeaf ? 1n : 0n));
        queues.commandProd = 1;
        const known = reads(one.unit, () => expect(one.go(first + 0x1000n)).toBe(hex(PAGE)))[1];
        expect([code, known]).toEqual([code, isLeaf ? (isStage2 ? 2 : 3) : 0]);
      }
    });

    it.each([false, true])('AMD-Vi: PDE of INVALIDATE_IOMMU_PAGES is %s', (hasTables) => {
      const one = new amd.AmdLab(core, {}, KNOWN);
      for (const at of [IOVA, NEXT]) one.map(at, PAGE | amd.PRESENT | amd.RW);
      one.go(IOVA);
      const queues = new AmdQueues(one.unit, hostMemory(core, MEMORY));
      queues.startCommands(COMMANDS | (8n << 56n));
      one.poke(COMMANDS, (3n << 60n) | (BigInt(amd.DOMAIN) << 32n));
      one.poke(COMMANDS + 8n, NEXT | (hasTables ? 2n : 0n));
      queues.commandTail = 16;
      expect([queues.isRunning, isKnown(one.unit, () => one.go(NEXT))]).toEqual([true, !hasTables]);
    });
  });
});
