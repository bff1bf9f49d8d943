/** Queues in memory: the order of their log, what is not written, descriptors with bits too many (iommu.md 3, 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { AmdQueues } from '../../src/iommu/amd-queues.js';
import { SmmuQueues } from '../../src/iommu/smmu-queues.js';
import { hostMemory } from '../../src/iommu/unit-memory.js';
import { runDescriptor } from '../../src/iommu/vtd-queue.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { AmdLab } from './amd-lab.js';
import { CAP_FIRST, ECAP_FIRST, FIRST, PAGE1, ScalableLab } from './scalable-lab.js';
import { Smmu } from './smmu-lab.js';
import { DT, hex, IOVA, MEMORY, PAGE, SID, UnitLab } from './unit-lab.js';

const COMMANDS = 0xc_0000n;
const EVENTS = 0xd_0000n;
const LENGTH = 8n << 56n;
const OTHER = PAGE + 0x7000n;

describe.each(BUILDS)('queues of units on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  it('iommu.md 3: the AMD-Vi log has events in the order in which they came about', () => {
    for (const isReadable of [true, false]) {
      const one = new AmdLab(core);
      const queues = new AmdQueues(one.unit, hostMemory(core, MEMORY));
      queues.startLog(EVENTS | LENGTH);
      const at = isReadable ? COMMANDS : BigInt(MEMORY);
      queues.startCommands(at | LENGTH);
      if (isReadable) one.poke(COMMANDS, 9n << 60n);
      // Nobody looks at the log between the two page faults, the command, and another page fault.
      one.go(0x1000n);
      one.go(0x2000n, true);
      queues.commandTail = 16;
      one.go(0x3000n);
      expect(queues.logTail).toBe(64);
      const log = [0n, 16n, 32n, 48n].map((n) => [one.peek(EVENTS + n) >> 60n, one.peek(EVENTS + n + 8n)]);
      expect(log).toEqual([
        [2n, 0x1000n],
        [2n, 0x2000n],
        [isReadable ? 5n : 6n, at],
        [2n, 0x3000n],
      ]);
    }
  });

  it('SMMUv3 specification 4.7: SYNC writes a message for CS 1 alone, and none to address 0', () => {
    const one = new Smmu(core);
    const queues = new SmmuQueues(one.unit, hostMemory(core, MEMORY));
    queues.startCommands(COMMANDS | 3n);
    const message = 0x1234_5678n << 32n;
    const before = 0xaaaa_bbbb_cccc_ddddn;
    for (const [n, [signal, address, after]] of (
      [
        [1n, 0n, before],
        [0n, 0x9000n, before],
        [2n, 0x9000n, before],
        [1n, 0x9000n, (before & ~0xffff_ffffn) | 0x1234_5678n],
      ] as const
    ).entries()) {
      one.poke(address, before);
      one.poke(COMMANDS + 16n * BigInt(n), 0x46n | (signal << 12n) | message);
      one.poke(COMMANDS + 16n * BigInt(n) + 8n, address);
      queues.commandProd = n + 1;
      expect([n, queues.commandCons, hex(one.peek(address))]).toEqual([n, n + 1, hex(after)]);
    }
  });

  describe('descriptors of VT-d', () => {
    const run = (
      words: readonly bigint[],
      cap = CAP_FIRST,
      prepare?: (two: ScalableLab) => void,
    ): boolean => {
      const two = new ScalableLab(core, { cap, ecap: ECAP_FIRST | DT });
      prepare?.(two);
      return runDescriptor(words, {
        unit: two.lab.unit,
        mode: 1,
        memory: { read64: () => undefined, write64: () => false },
        complete: () => undefined,
      });
    };

    it('specification 6.5.2: every bit that a descriptor has not makes it invalid', () => {
      // By type: a descriptor that is valid, and the bits of both words that mean something.
      const types: [bigint, bigint, bigint, bigint][] = [
        // Context: G, DID, SID, FM.
        [1n, 1n << 4n, 0x3_ffff_ffff_003fn, 0n],
        // IOTLB: G, DW, DR, DID; ADDR, IH, AM.
        [2n, 1n << 4n, 0xffff_00ffn, 0xffff_ffff_ffff_f07fn],
        // Device TLB: PFSID in two parts, MIP, SID; S, ADDR.
        [3n, 0n, 0xfff0_ffff_001f_f00fn, 0xffff_ffff_ffff_f001n],
        // Wait: IF, SW, FN, PD, data; address.
        [5n, 0n, 0xffff_ffff_0000_00ffn, 0xffff_ffff_ffff_fffcn],
        // PASID-based IOTLB: G, DID, PASID; ADDR, IH, AM.
        [6n, 2n << 4n, 0xf_ffff_ffff_003fn, 0xffff_ffff_ffff_f07fn],
        // PASID cache: G, DID, PASID.
        [7n, 3n << 4n, 0xf_ffff_ffff_003fn, 0n],
        // PASID-based device TLB: MIP, PFSID, SID, PASID; G, S, ADDR.
        [8n, 0n, 0xffff_ffff_ffff_f1ffn, 0xffff_ffff_ffff_f801n],
      ];
      for (const [type, fields, first, second] of types) {
        expect([type, run([type | fields, 0n, 0n, 0n])]).toEqual([type, true]);
        for (let bit = 4n; bit < 64n; bit++) {
          const isFree = ((first >> bit) & 1n) === 0n;
          if (isFree)
            expect([type, bit, run([type | fields | (1n << bit), 0n, 0n, 0n])]).toEqual([type, bit, false]);
        }
        for (let bit = 0n; bit < 64n; bit++) {
          const isFree = ((second >> bit) & 1n) === 0n;
          if (isFree)
            expect([type, bit, run([type | fields, 1n << bit, 0n, 0n])]).toEqual([type, bit, false]);
          for (const words of [
            [0n, 1n << bit, 0n],
            [0n, 0n, 1n << bit],
          ])
            expect([type, bit, run([type | fields, ...words])]).toEqual([type, bit, false]);
        }
      }
    });

    it('specification 6.5.2.4: pages of a PASID go as far as MAMV says', () => {
      for (const most of [0n, 9n, 18n]) {
        const cap = (CAP_FIRST & ~(63n << 48n)) | (most << 48n);
        for (const mask of [0n, 1n, most, most + 1n, 63n]) {
          const words = [6n | (3n << 4n) | (3n << 16n) | (5n << 32n), IOVA | mask, 0n, 0n];
          if (mask > 51n) words[1] = IOVA | 63n;
          expect([most, mask, run(words, cap)]).toEqual([most, mask, mask <= most]);
        }
        // All of a PASID has no mask: what stands there does not count.
        expect(run([6n | (2n << 4n) | (3n << 16n) | (5n << 32n), 63n, 0n, 0n], cap)).toBe(true);
      }
      // An invalid one drops nothing.
      const two = new ScalableLab(core);
      two.pasid({ type: FIRST, pasid: 5 });
      const ask = (): string => {
        const answer = two.lab.unit.translate({ sid: SID, pasid: 5, address: IOVA, isWrite: false });
        return answer.kind === 'translated' ? hex(BigInt(answer.address)) : answer.kind;
      };
      two.map(IOVA, PAGE | PAGE1);
      expect(ask()).toBe(hex(PAGE));
      two.map(IOVA, OTHER | PAGE1);
      for (const [mask, expected] of [
        [19n, PAGE],
        [18n, OTHER],
      ] as const) {
        const words = [6n | (3n << 4n) | (3n << 16n) | (5n << 32n), (IOVA & ~0xfffn) | mask, 0n, 0n];
        const context = { unit: two.lab.unit, mode: 1 };
        const memory = { read64: () => undefined, write64: () => false };
        runDescriptor(words, { ...context, memory, complete: () => undefined });
        expect([mask, ask()]).toEqual([mask, hex(expected)]);
      }
    });
  });
});
