/** Queues of an SMMUv3 and of an AMD-Vi unit in memory: commands, errors, events, overflow (iommu.md 3, 4.5, 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { type AmdMessage, AmdQueues } from '../../src/iommu/amd-queues.js';
import { type SmmuMessage, SmmuQueues } from '../../src/iommu/smmu-queues.js';
import { hostMemory, write32 } from '../../src/iommu/unit-memory.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { AmdLab, DOMAIN, encoded, PRESENT, RW } from './amd-lab.js';
import { LEAF, LEAF_2, nest, OTHER, SID, Smmu, TOP_2, VMID } from './smmu-lab.js';
import { hex, MEMORY, PAGE, UnitLab } from './unit-lab.js';

const COMMANDS = 0xc_0000n;
const EVENTS = 0xd_0000n;
const AT = 0x5000n;

describe.each(BUILDS)('queues on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  it('memory outside is a bus error; half a word may be written', () => {
    const one = new Smmu(core);
    const memory = hostMemory(core, MEMORY);
    expect([
      memory.read64(BigInt(MEMORY) - 8n),
      memory.read64(BigInt(MEMORY) - 7n),
      memory.write64(BigInt(MEMORY), 1n),
    ]).toEqual([0n, undefined, false]);
    one.poke(0x9000n, 0x1111_1111_2222_2222n);
    expect([write32(memory, 0x9004n, 0xffff_ffffn), one.peek(0x9000n)]).toEqual([
      true,
      0xffff_ffff_2222_2222n,
    ]);
    expect([write32(memory, 0x9000n, 0x33n), one.peek(0x9000n)]).toEqual([true, 0xffff_ffff_0000_0033n]);
    expect(write32(memory, BigInt(MEMORY), 1n)).toBe(false);
    // The processor has read the line; dropping it brings nothing back.
    core.x.cacheTouch(0x9000, 64, 0);
    memory.write64(0x9008n, 7n);
    core.x.cacheFlush(0x9000, 64, 1);
    expect([one.peek(0x9000n), one.peek(0x9008n)]).toEqual([0xffff_ffff_0000_0033n, 7n]);
  });

  describe('of an SMMUv3', () => {
    class Queue {
      readonly one = new Smmu(core);
      readonly sent: SmmuMessage[] = [];
      readonly queues = new SmmuQueues(this.one.unit, hostMemory(core, MEMORY), (message) =>
        this.sent.push(message),
      );
      private prod = 0;

      constructor(private readonly lg2 = 3) {
        this.queues.startCommands(COMMANDS | BigInt(lg2));
      }

      /** Puts a command into the queue, and has the unit consume it. */
      command(low: bigint, high = 0n): void {
        const at = COMMANDS + 16n * BigInt(this.prod % 2 ** this.lg2);
        this.one.poke(at, low);
        this.one.poke(at + 8n, high);
        this.prod = (this.prod + 1) % 2 ** (this.lg2 + 1);
        this.queues.commandProd = this.prod;
      }
    }
    const sid = (n: number): bigint => BigInt(n) << 32n;
    const tag = (vmid: bigint, asid: bigint): bigint => (vmid << 32n) | (asid << 48n);

    it('iommu.md 5: each command drops what it names', () => {
      const cases: [string, boolean, bigint, bigint][] = [
        ['TLBI_NH_ALL', true, 0x10n | tag(VMID, 0n), 0n],
        ['TLBI_NH_ALL of another', false, 0x10n | tag(4n, 0n), 0n],
        ['TLBI_NH_ASID', true, 0x11n | tag(VMID, 9n), 0n],
        ['TLBI_NH_ASID of another', false, 0x11n | tag(VMID, 8n), 0n],
        ['TLBI_NH_VA', true, 0x12n | tag(VMID, 9n), AT | 1n],
        ['TLBI_NH_VA of another', false, 0x12n | tag(VMID, 9n), AT + 0x1000n],
        ['TLBI_NH_VAA', true, 0x13n | tag(VMID, 0n), AT],
        ['TLBI_S12_VMALL', true, 0x28n | tag(VMID, 0n), 0n],
        ['TLBI_S2_IPA', false, 0x2an | tag(VMID, 0n), AT],
        ['TLBI_NSNH_ALL', true, 0x30n, 0n],
        ['CFGI_ALL', false, 0x04n, 31n],
        ['PREFETCH_ADDR', false, 0x02n | sid(SID), AT],
        ['SYNC', false, 0x46n, 0n],
      ];
      for (const [name, isSeen, low, high] of cases) {
        const queue = new Queue();
        const { one } = queue;
        const second = nest(one);
        const place = one.map(AT, AT | LEAF);
        for (const slot of [0x4000n, 0x8000n, 0x9000n]) one.poke(slot, 0x8000_0000n | one.peek(slot));
        second.map(AT, PAGE | LEAF_2);
        second.map(AT + 0x1000n, OTHER | LEAF_2);
        expect([name, one.go(AT)]).toEqual([name, hex(PAGE)]);
        one.poke(place, (AT + 0x1000n) | LEAF);
        queue.command(low, high);
        expect([name, queue.queues.hasCommandError, one.go(AT)]).toEqual([
          name,
          false,
          hex(isSeen ? OTHER : PAGE),
        ]);
        expect(queue.queues.commandCons).toBe(1);
      }
      const streams: [string, boolean, bigint, bigint][] = [
        ['CFGI_STE', true, 0x03n | sid(SID), 1n],
        ['CFGI_STE of another', false, 0x03n | sid(SID + 1), 1n],
        ['CFGI_CD', true, 0x05n | sid(SID), 1n],
        ['CFGI_CD_ALL', true, 0x06n | sid(SID), 0n],
        ['CFGI_STE_RANGE of 2', true, 0x04n | sid(SID + 1), 0n],
        ['CFGI_STE_RANGE of the next 2', false, 0x04n | sid(SID + 2), 0n],
        ['CFGI_STE_RANGE of 64', true, 0x04n | sid(0), 5n],
        ['CFGI_ALL', true, 0x04n, 31n],
        ['CFGI_STE beyond 16 bits', false, 0x03n | sid(0x1_0000 + SID), 1n],
        ['TLBI_NSNH_ALL', false, 0x30n, 0n],
      ];
      for (const [name, isSeen, low, high] of streams) {
        const queue = new Queue();
        queue.one.map(AT, PAGE | LEAF);
        queue.one.go(AT);
        queue.one.stream(SID, 1n);
        queue.command(low, high);
        expect([name, queue.one.go(AT)]).toEqual([name, isSeen ? 'refused' : hex(PAGE)]);
      }
    });

    it('stage 2 alone is dropped by its own command', () => {
      const queue = new Queue();
      const { one } = queue;
      const second = nest(one);
      one.stream(SID, 1n | (6n << 1n), 0n, one.peek(0x1000n + 64n * BigInt(SID) + 16n), TOP_2);
      for (const [command, isSeen] of [
        [0x10n, false],
        [0x2an, true],
      ] as const) {
        second.map(AT, PAGE | LEAF_2);
        expect(one.cold(AT)).toBe(hex(PAGE));
        second.map(AT, OTHER | LEAF_2);
        queue.command(command | tag(VMID, 0n), AT);
        expect([command, one.go(AT)]).toEqual([command, hex(isSeen ? OTHER : PAGE)]);
      }
    });

    it('an illegal command stops the queue at itself until software has acknowledged', () => {
      for (const bad of [0x00n, 0x08n, 0x20n, 0x44n, 0x46n | (3n << 12n), 0x41n, 0x90n]) {
        const queue = new Queue();
        queue.command(0x30n);
        queue.command(bad, 3n << 12n);
        queue.one.map(AT, PAGE | LEAF);
        queue.one.go(AT);
        queue.one.map(AT, OTHER | LEAF);
        queue.command(0x30n);
        expect([bad, queue.queues.commandCons, queue.one.go(AT)]).toEqual([bad, 1 | (1 << 24), hex(PAGE)]);
        queue.queues.acknowledgeError();
        expect([bad, queue.queues.commandCons]).toEqual([bad, 1 | (1 << 24)]);
        queue.one.poke(COMMANDS + 16n, 0x46n);
        queue.queues.acknowledgeError();
        expect([bad, queue.queues.commandCons, queue.one.go(AT)]).toEqual([bad, 3, hex(OTHER)]);
      }
      const queue = new Queue();
      queue.queues.startCommands(BigInt(MEMORY) | 3n);
      queue.queues.commandProd = 1;
      expect(queue.queues.commandCons).toBe(2 << 24);
      expect(() => queue.queues.startCommands(COMMANDS | 20n)).toThrow(/LOG2SIZE/);
    });

    it('indices wrap, SYNC writes its message, and devices get theirs', () => {
      const queue = new Queue(1);
      for (let n = 1; n <= 9; n++) {
        queue.command(0x46n | (1n << 12n) | (BigInt(n) << 32n), 0x9004n);
        expect([n, queue.queues.commandCons, queue.one.peek(0x9000n) >> 32n]).toEqual([n, n % 4, BigInt(n)]);
      }
      queue.command(0x40n | (1n << 11n) | (5n << 12n) | sid(SID), 0x7000n | 3n);
      queue.command(0x40n | sid(SID), 52n);
      queue.command(0x41n | sid(SID), 0x17n | (2n << 12n));
      expect(queue.sent).toEqual([
        { kind: 'atc-invalidate', sid: SID, substream: 5, address: 0x7000n, size: 3 },
        { kind: 'atc-invalidate', sid: SID, address: 0n, size: 52 },
        { kind: 'page-response', sid: SID, group: 0x17, response: 2 },
      ]);
    });

    it('iommu.md 4.5: events have 32 bytes, and a full queue overflows once until it is acknowledged', () => {
      const { one, queues } = new Queue();
      queues.startEvents(EVENTS | 1n);
      one.go(0x12_3456n, true, true);
      expect(queues.eventProducer).toBe(1);
      expect([0n, 8n, 16n, 24n].map((at) => one.peek(EVENTS + at))).toEqual([
        0x10n | (BigInt(SID) << 32n),
        (1n << 33n) | (2n << 40n),
        0x12_3456n,
        0n,
      ]);
      nest(one);
      one.unit.invalidateConfig();
      one.context({ table: 0xa000_0abcn & ~0xfn });
      one.go(0x12_3456n);
      expect(queues.eventProducer).toBe(2);
      expect([0n, 8n, 16n, 24n].map((at) => one.peek(EVENTS + 32n + at))).toEqual([
        0x10n | (BigInt(SID) << 32n),
        (1n << 35n) | (1n << 39n) | (1n << 40n),
        0x12_3456n,
        0xa000_0000n,
      ]);
      one.stream(SID, 0n);
      one.unit.invalidateConfig();
      const overflow = 0x8000_0000;
      one.go(0n);
      expect(queues.eventProducer).toBe((overflow | 2) >>> 0);
      // Further losses do not show while it is not acknowledged.
      one.go(0n);
      expect(queues.eventProducer).toBe((overflow | 2) >>> 0);
      queues.eventConsumer = (overflow | 1) >>> 0;
      one.unit.translate({ sid: SID, pasid: 7, address: 0n, isWrite: false });
      expect([queues.eventProducer, one.peek(EVENTS)]).toEqual([
        (overflow | 3) >>> 0,
        0x04n | (1n << 11n) | (7n << 12n) | (BigInt(SID) << 32n),
      ]);
      one.go(0n);
      expect(queues.eventProducer).toBe(3);
      // More than the unit keeps between two looks are lost, too.
      const many = new Queue();
      many.queues.startEvents(EVENTS | 6n);
      for (let n = 0; n < 9; n++) many.one.go(0n);
      expect(many.queues.eventProducer).toBe((overflow | 8) >>> 0);
    });

    it('the substream of an event stands where its type has room for it', () => {
      const { one, queues } = new Queue();
      queues.startEvents(EVENTS | 4n);
      one.stream(SID, 0x3000n | 0xbn | (4n << 59n), 2n);
      one.unit.translate({ sid: SID, pasid: 16, address: 0n, isWrite: false });
      one.unit.translate({ sid: SID, pasid: 0, address: 0n, isWrite: false });
      expect(queues.eventProducer).toBe(2);
      expect([one.peek(EVENTS), one.peek(EVENTS + 32n)]).toEqual([
        0x08n | (16n << 12n) | (BigInt(SID) << 32n),
        0x06n | (BigInt(SID) << 32n),
      ]);
    });
  });

  describe('of an AMD-Vi unit', () => {
    const LEAF_AMD = PRESENT | RW;
    const LENGTH = 8n << 56n;
    class Queue {
      readonly one = new AmdLab(core);
      readonly sent: AmdMessage[] = [];
      readonly queues = new AmdQueues(this.one.unit, hostMemory(core, MEMORY), (message) =>
        this.sent.push(message),
      );
      private tail = 0;

      constructor() {
        this.queues.startCommands(COMMANDS | LENGTH);
        this.queues.startLog(EVENTS | LENGTH);
      }

      command(code: bigint, low: bigint, high = 0n): void {
        this.one.poke(COMMANDS + BigInt(this.tail), low | (code << 60n));
        this.one.poke(COMMANDS + BigInt(this.tail) + 8n, high);
        this.tail = (this.tail + 16) % 4096;
        this.queues.commandTail = this.tail;
      }
    }
    const domain = (n: number): bigint => BigInt(n) << 32n;

    it('iommu.md 3: each command drops what it names', () => {
      const cases: [string, boolean, boolean, bigint, bigint, bigint][] = [
        ['the page', true, false, 3n, domain(DOMAIN), AT],
        ['another page', false, false, 3n, domain(DOMAIN), AT + 0x1000n],
        ['another domain', false, false, 3n, domain(8), AT],
        ['32 KiB', true, false, 3n, domain(DOMAIN), encoded(AT, 15) | 1n],
        ['the domain', true, false, 3n, domain(DOMAIN), 0x7fff_ffff_ffff_f000n | 3n],
        ['the device', false, true, 2n, BigInt(SID), 0n],
        ['another device', false, false, 2n, 0x21n, 0n],
        ['all', true, true, 8n, 0n, 0n],
        ['a wait', false, false, 1n, 0n, 0n],
      ];
      for (const [name, isPage, isDevice, code, low, high] of cases) {
        const queue = new Queue();
        queue.one.map(AT, PAGE | LEAF_AMD);
        queue.one.go(AT);
        queue.one.map(AT, OTHER | LEAF_AMD);
        queue.command(code, low, high);
        expect([name, queue.one.go(AT)]).toEqual([name, hex(isPage ? OTHER : PAGE)]);
        queue.one.device({ valid: 0n });
        queue.command(code, low, high);
        expect([name, queue.one.go(AT) === hex(AT)]).toEqual([name, isDevice]);
        expect(queue.queues.commandHead).toBe(32);
      }
    });

    it('COMPLETION_WAIT stores its word and asks for an interrupt; others go elsewhere', () => {
      const queue = new Queue();
      queue.command(1n, 0x9008n | 1n, 0x1234_5678_9abc_def0n);
      expect([queue.one.peek(0x9008n), queue.queues.takeWaitInterrupt()]).toEqual([
        0x1234_5678_9abc_def0n,
        false,
      ]);
      queue.command(1n, 0x9008n | 2n, 5n);
      expect([
        queue.one.peek(0x9008n),
        queue.queues.takeWaitInterrupt(),
        queue.queues.takeWaitInterrupt(),
      ]).toEqual([0x1234_5678_9abc_def0n, true, false]);
      queue.command(4n, BigInt(SID), AT | 1n);
      queue.command(5n, BigInt(SID));
      expect(queue.sent).toEqual([
        { kind: 'iotlb-invalidate', sid: SID, address: AT, isLarge: true },
        { kind: 'interrupts-invalidate', sid: SID },
      ]);
      for (let n = 0; n < 300; n++) queue.command(1n, 0n);
      expect(queue.queues.commandHead).toBe((304 * 16) % 4096);
    });

    it('an illegal command is an event, and the buffer stops at it until it is started again', () => {
      for (const [code, high] of [
        [0n, 0n],
        [9n, 0n],
        [3n, 4n],
      ] as const) {
        const queue = new Queue();
        queue.command(1n, 0n);
        queue.command(code, 0n, high);
        queue.command(1n, 2n);
        expect([queue.queues.commandHead, queue.queues.isRunning, queue.queues.takeWaitInterrupt()]).toEqual([
          16,
          false,
          false,
        ]);
        expect([queue.queues.logTail, queue.one.peek(EVENTS), queue.one.peek(EVENTS + 8n)]).toEqual([
          16,
          5n << 60n,
          COMMANDS + 16n,
        ]);
        queue.queues.startCommands((COMMANDS + 0x1000n) | LENGTH);
        expect(queue.queues.isRunning).toBe(true);
      }
      const queue = new Queue();
      queue.queues.startCommands(BigInt(MEMORY) | LENGTH);
      queue.queues.commandTail = 16;
      expect([queue.queues.logTail, queue.one.peek(EVENTS)]).toEqual([16, 6n << 60n]);
      expect(() => queue.queues.startCommands(COMMANDS)).toThrow(/length/);
    });

    it('events have 16 bytes; a full log takes no more', () => {
      const { one, queues } = new Queue();
      one.go(0x12_3456n, true);
      expect([queues.logTail, one.peek(EVENTS), one.peek(EVENTS + 8n)]).toEqual([
        16,
        BigInt(SID) | domain(DOMAIN) | (0x20n << 48n) | (2n << 60n),
        0x12_3456n,
      ]);
      for (let n = 0; n < 253; n++) {
        one.go(0n);
        queues.logTail;
      }
      expect([queues.logTail, queues.isOverflowed]).toEqual([254 * 16, false]);
      one.go(0n);
      expect([queues.logTail, queues.isOverflowed]).toEqual([255 * 16, false]);
      one.go(0n);
      expect([queues.logTail, queues.isOverflowed]).toEqual([255 * 16, true]);
      queues.logHead = 16;
      one.go(0n);
      expect(queues.logTail).toBe(255 * 16);
      queues.startLog(EVENTS | LENGTH);
      for (let n = 0; n < 9; n++) one.go(0n);
      expect([queues.isOverflowed, queues.logTail]).toEqual([true, 8 * 16]);
    });
  });
});
