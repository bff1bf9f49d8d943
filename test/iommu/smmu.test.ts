/** SMMUv3 with stage 1: streams, descriptors, what the unit keeps, events (iommu.md 4, 5, 14). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { SmmuOptions } from '../../src/iommu/smmu-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { plainStage1 } from './plain-smmu.js';
import {
  BLOCK,
  DESCRIPTOR,
  descriptorOf,
  LEAF,
  OTHER,
  READ_ONLY,
  SID,
  Smmu,
  STREAMS,
  TABLE,
  TOP,
} from './smmu-lab.js';
import { hex, PAGE, RAM_END, UnitLab } from './unit-lab.js';

describe.each(BUILDS)('an SMMUv3 on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const smmu = (options: Partial<SmmuOptions> = {}, t0sz = 16): Smmu => new Smmu(core, options, t0sz);

  it.each([16, 24, 25, 33, 34, 39])(
    'IOM-35: T0SZ %i has its start level, blocks at levels 1 and 2, and an end',
    (t0sz) => {
      const bits = BigInt(64 - t0sz);
      const start = 4 - Math.floor((Number(bits) - 4) / 9);
      for (const address of [0n, (1n << bits) - 0x1000n]) {
        const one = smmu({}, t0sz);
        one.map(address, PAGE | LEAF);
        expect([address, one.cold(address + 0x123n)]).toEqual([address, hex(PAGE + 0x123n)]);
        expect(one.unit.steps.filter(({ what }) => what.startsWith('level'))).toHaveLength(4 - start);
        expect(one.cold(1n << bits)).toBe('event 10');
        // A table of the last level names no further one: type 01 is reserved there.
        one.map(address, PAGE | BLOCK);
        expect(one.cold(address)).toBe('event 10');
      }
      for (const [level, to, lg2] of [
        [1, 0x4000_0000n, 30n],
        [2, 0x2000_0000n, 21n],
      ] as const) {
        if (level < start) continue;
        const one = smmu({}, t0sz);
        one.map(0n, to | BLOCK, level);
        const mask = (1n << lg2) - 1n;
        const offset = 0x12_3456n & mask;
        expect([level, one.cold(offset)]).toEqual([level, hex(to + offset)]);
      }
      if (start === 0) {
        const one = smmu({}, t0sz);
        one.map(0n, 0x4000_0000n | BLOCK, 0);
        expect(one.cold(0n)).toBe('event 10');
      }
    },
  );

  it('IOM-36: read-only pages and tables refuse writes; with HAD tables have no permissions', () => {
    for (const isFlat of [false, true])
      for (const level of [0, 1, 2, 3]) {
        const one = smmu();
        one.map(0n, PAGE | LEAF);
        if (isFlat) one.context({ table: TOP | 2n });
        const place = level === 3 ? one.map(0n, PAGE | LEAF | READ_ONLY) : one.map(0n, 0n, level);
        if (level !== 3)
          one.poke(place, (level === 0 ? 0x8000n : level === 1 ? 0x9000n : 0xa000n) | TABLE | (1n << 62n));
        const isRefused = level === 3 || !isFlat;
        expect([isFlat, level, one.cold(0n)]).toEqual([isFlat, level, hex(PAGE)]);
        expect([isFlat, level, one.cold(0n, true)]).toEqual([
          isFlat,
          level,
          isRefused ? 'event 13' : hex(PAGE),
        ]);
      }
  });

  it('IOM-36: by the specification AF, AP[1] and the output size count, the reference leaves them out', () => {
    for (const smmuModel of ['spec', 'qemu72'] as const) {
      const isStrict = smmuModel === 'spec';
      const one = smmu({ smmuModel });
      one.map(0n, PAGE | (LEAF & ~0x400n));
      expect(one.cold(0n)).toBe(isStrict ? 'event 12' : hex(PAGE));
      one.map(0n, PAGE | (LEAF & ~0x40n));
      expect([one.cold(0n), one.cold(0n, false, true)]).toEqual([
        isStrict ? 'event 13' : hex(PAGE),
        hex(PAGE),
      ]);
      // What a privileged request found does not let others in.
      expect(one.go(0n)).toBe(isStrict ? 'event 13' : hex(PAGE));
      one.map(0n, PAGE | LEAF | (1n << 45n));
      expect(one.cold(0n)).toBe(isStrict ? 'event 11' : hex(PAGE | (1n << 45n)));
      one.map(0n, PAGE | LEAF);
      one.map(0n, 0x8000n | TABLE | (1n << 61n), 0);
      expect(one.cold(0n)).toBe(isStrict ? 'event 13' : hex(PAGE));
    }
  });

  it('IOM-37: streams are aborted silently, passed, or refused with their event', () => {
    const one = smmu();
    one.map(0n, PAGE | LEAF);
    const cases: [string, number, () => void][] = [
      ['refused', 0, () => one.stream(SID, 1n)],
      ['refused', 0, () => one.stream(SID, 1n | (1n << 1n))],
      [hex(0x1234n), 0, () => one.stream(SID, 1n | (4n << 1n))],
      ['event 4', 1, () => one.stream(SID, 0n)],
      ['event 6', 1, () => one.stream(SID, DESCRIPTOR | 0xbn | (1n << 59n))],
      ['event 4', 1, () => one.stream(SID, DESCRIPTOR | 0xbn | (21n << 59n))],
      ['event 4', 1, () => one.stream(SID, DESCRIPTOR | 0xbn, 1n << 27n)],
      ['event 9', 1, () => one.stream(SID, RAM_END | 0xbn)],
      ['event 3', 1, () => one.unit.setStreamTable(RAM_END, 7)],
      ['event 2', 1, () => one.unit.setStreamTable(STREAMS, 5)],
    ];
    for (const [expected, events, change] of cases) {
      one.stream(SID, DESCRIPTOR | 0xbn);
      one.unit.setStreamTable(STREAMS, 7);
      change();
      expect([expected, one.cold(0x1234n)]).toEqual([expected, expected]);
      expect([expected, one.unit.takeEvents().count]).toEqual([expected, events]);
    }
    one.unit.isOn = false;
    expect(one.cold(0x1234n)).toBe('0x1234');
    one.unit.abortsAll = true;
    expect([one.cold(0x1234n), one.unit.takeEvents().count]).toEqual(['refused', 0]);
  });

  it('IOM-37: the reference has neither a second stage nor substreams', () => {
    const one = smmu({ smmuModel: 'qemu72' });
    for (const word of [1n | (6n << 1n), DESCRIPTOR | 1n | (7n << 1n), DESCRIPTOR | 0xbn | (1n << 59n)]) {
      one.stream(SID, word);
      expect([word, one.cold(0n)]).toEqual([word, 'event 4']);
    }
  });

  it('IOM-37: a context descriptor that the unit does not offer is 0x0A', () => {
    const good = descriptorOf(16n);
    for (const bit of [31n, 41n, 46n]) {
      const one = smmu();
      one.context({ word: good & ~(1n << bit) });
      expect([bit, one.cold(0n)]).toEqual([bit, 'event a']);
    }
    for (const extra of [1n << 15n, 1n << 42n, 1n << 43n, 1n << 44n, 1n << 6n, 2n << 6n, 3n << 6n]) {
      const one = smmu();
      one.context({ word: good | extra });
      expect([extra, one.cold(0n)]).toEqual([extra, 'event a']);
    }
    for (const [t0sz, expected] of [
      [15n, 'event a'],
      [16n, 'event 10'],
      [39n, 'event 10'],
      [40n, 'event a'],
    ] as const) {
      const one = smmu();
      one.context({ word: descriptorOf(t0sz) });
      expect([t0sz, one.cold(0n)]).toEqual([t0sz, expected]);
    }
    const wide = smmu();
    wide.context({ table: 1n << 44n });
    expect(wide.cold(0n)).toBe('event a');
  });

  it('iommu.md 4.4: two-level stream tables have 2^(span - 1) entries, in the reference twice as many', () => {
    for (const smmuModel of ['spec', 'qemu72'] as const)
      for (const [span, sid] of [
        [0n, 0],
        [5n, 15],
        [5n, 16],
        [6n, 31],
        [6n, 32],
        [6n, 63],
      ] as const) {
        const one = smmu({ smmuModel });
        one.map(0n, PAGE | LEAF);
        one.poke(0x2000n, STREAMS | span);
        one.unit.setStreamTable(0x2000n, (1 << 16) | (6 << 6) | 8);
        one.stream(sid, DESCRIPTOR | 0xbn);
        const entries = span === 0n ? 0 : 2 ** Number(smmuModel === 'spec' ? span - 1n : span);
        const outside = span === 0n || smmuModel === 'spec' ? 'event 2' : 'event 4';
        expect([smmuModel, span, sid, one.cold(0n, false, false, sid)]).toEqual([
          smmuModel,
          span,
          sid,
          sid < entries ? hex(PAGE) : outside,
        ]);
      }
  });

  it('IOM-38: with CD.R 0 faults of translation leave no event, others do', () => {
    const one = smmu();
    one.map(0n, PAGE | LEAF | READ_ONLY);
    one.context({ word: descriptorOf(16n) & ~(1n << 45n) });
    for (const [address, isWrite, expected] of [
      [0x1000n, false, 'event 10'],
      [0n, true, 'event 13'],
    ] as const) {
      expect(one.cold(address, isWrite)).toBe(expected);
      expect(one.unit.takeEvents()).toEqual({ events: [], count: 0 });
    }
    one.map(0n, RAM_END | TABLE, 1);
    expect(one.cold(0n)).toBe('event b');
    const place = RAM_END;
    expect(one.unit.takeEvents().events).toEqual([
      { type: 0x0b, sid: SID, address: 0, fetch: Number(place), isRead: true, class: 1 },
    ]);
  });

  it('iommu.md 4.5: an event has the address, direction and class', () => {
    for (const smmuModel of ['spec', 'qemu72'] as const) {
      const one = smmu({ smmuModel });
      one.go(0x12_3456n, true);
      const { events } = one.unit.takeEvents();
      expect(events).toEqual([
        {
          type: 0x10,
          sid: SID,
          address: 0x12_3456,
          fetch: 0,
          isRead: false,
          class: smmuModel === 'spec' ? 2 : 0,
        },
      ]);
    }
  });

  it('both halves of the address space have their own size and table; the top byte may be ignored', () => {
    const one = smmu();
    const upper = 0xc000n;
    one.map(0x5000n, PAGE | LEAF);
    one.poke(upper + 8n * 511n, 0xd000n | TABLE);
    one.poke(0xd000n + 8n * 511n, 0xe000n | TABLE);
    one.poke(0xe000n + 8n * 511n, 0xf000n | TABLE);
    one.poke(0xf000n + 8n * 511n, OTHER | LEAF);
    const last = 0xffff_ffff_ffff_f000n;
    const both = (descriptorOf(16n) & ~(1n << 30n)) | (16n << 16n) | (2n << 22n);
    one.context({ word: both, upper });
    expect([one.cold(0x5000n), one.cold(last)]).toEqual([hex(PAGE), hex(OTHER)]);
    expect([one.cold(0xff00_0000_0000_5000n), one.cold(0x00ff_ffff_ffff_f000n)]).toEqual([
      'event 10',
      'event 10',
    ]);
    one.context({ word: both | (3n << 38n), upper });
    expect([one.cold(0xab00_0000_0000_5000n), one.cold(0xcdff_ffff_ffff_f000n)]).toEqual([
      hex(PAGE),
      hex(OTHER),
    ]);
    // One page whatever its tag is: it goes with the command that names it without.
    expect(one.cold(0x5000n)).toBe(hex(PAGE));
    expect(one.unit.translate({ sid: SID, address: 0x1200_0000_0000_5000n, isWrite: false })).toMatchObject({
      address: Number(PAGE),
      iotlb: 'hit',
    });
    one.map(0x5000n, OTHER | LEAF);
    one.poke(0xf000n + 8n * 511n, PAGE | LEAF);
    one.unit.invalidateAddress(9, 0x5000n);
    one.unit.invalidateAddress(9, last);
    expect([one.go(0xab00_0000_0000_5000n), one.go(0xcdff_ffff_ffff_f000n)]).toEqual([hex(OTHER), hex(PAGE)]);
    one.context({ word: both | (1n << 14n), upper });
    expect([one.cold(0x5000n), one.cold(last)]).toEqual(['event 10', hex(PAGE)]);
  });

  it('a stream table may stand at address 0, and what it says is reported as it is', () => {
    const one = smmu();
    one.unit.setStreamTable(0n, 7);
    one.map(0x5000n, PAGE | LEAF);
    for (const [word, expected] of [
      [0n, 'event 4'],
      [1n | (4n << 1n), hex(0x5000n)],
    ] as const) {
      one.poke(0n, word);
      expect([word, one.cold(0x5000n, false, false, 0)]).toEqual([word, expected]);
    }
    // The same through a list whose table stands there.
    one.unit.setStreamTable(0x9000n, (1 << 16) | (6 << 6) | 8);
    one.poke(0x9000n, 0x7n);
    expect(one.cold(0x5000n, false, false, 0)).toBe(hex(0x5000n));
    one.poke(0x9000n, 0n);
    expect(one.cold(0x5000n, false, false, 0)).toBe('event 2');
  });

  it('iommu.md 5: a changed page or context is seen after the command that covers it', () => {
    const drops: [string, boolean, (one: Smmu) => void][] = [
      ['nothing', false, () => undefined],
      ['TLBI_NSNH_ALL', true, (one) => one.unit.invalidateTlb()],
      ['TLBI_NH_ASID', true, (one) => one.unit.invalidateTlb(9)],
      ['another ASID', false, (one) => one.unit.invalidateTlb(8)],
      ['TLBI_NH_VA', true, (one) => one.unit.invalidateAddress(9, 0x5123n)],
      ['another page', false, (one) => one.unit.invalidateAddress(9, 0x6000n)],
      ['the page of another ASID', false, (one) => one.unit.invalidateAddress(8, 0x5000n)],
      ['CFGI alone', false, (one) => one.unit.invalidateConfig()],
    ];
    for (const [name, isSeen, drop] of drops) {
      const one = smmu();
      one.map(0x5000n, PAGE | LEAF);
      one.go(0x5000n);
      one.map(0x5000n, OTHER | LEAF);
      drop(one);
      expect([name, one.go(0x5000n)]).toEqual([name, hex(isSeen ? OTHER : PAGE)]);
    }
    const one = smmu();
    one.map(0x5000n, PAGE | LEAF);
    one.go(0x5000n);
    one.stream(SID, 1n);
    one.unit.invalidateConfig(SID + 1);
    expect(one.go(0x5000n)).toBe(hex(PAGE));
    one.unit.invalidateConfig(SID);
    expect(one.go(0x5000n)).toBe('refused');
  });

  it('walks random tables as a plain walk does, cold and warm', () => {
    const one = smmu();
    const PLACES = [TOP, 0x8000n, 0x9000n, 0xa000n, 0xb000n];
    const entry = fc.record({
      to: fc.constantFrom(...PLACES, PAGE, OTHER, 0x2000_0000n, 0x4000_0000n, RAM_END, 1n << 45n),
      bits: fc.constantFrom(
        LEAF,
        LEAF,
        LEAF,
        LEAF,
        BLOCK,
        BLOCK,
        LEAF | READ_ONLY,
        BLOCK | READ_ONLY,
        3n,
        0n,
        2n,
      ),
      top: fc.constantFrom(0n, 0n, 0n, 1n << 61n, 1n << 62n),
    });
    const slot = fc.record({ table: fc.constantFrom(...PLACES), index: fc.nat(3), entry });
    const access = fc.record({
      path: fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
      isWrite: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(slot, { minLength: 8, maxLength: 20 }),
        fc.array(access, { minLength: 1, maxLength: 12 }),
        (slots, accesses) => {
          for (const table of PLACES) for (let n = 0n; n < 4n; n++) one.poke(table + 8n * n, 0n);
          for (const {
            table,
            index,
            entry: { to, bits, top },
          } of slots)
            one.poke(table + 8n * BigInt(index), to | bits | top);
          for (const { path, isWrite } of accesses) {
            const address = path.reduce((sum, index) => (sum << 9n) | BigInt(index), 0n) << 12n;
            const expected = plainStage1(one, address, isWrite);
            expect(one.cold(address, isWrite)).toBe(expected);
            if (expected.startsWith('0x')) expect(one.go(address, isWrite)).toBe(expected);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});
