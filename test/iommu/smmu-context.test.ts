/** SMMUv3: substreams and where their context descriptors stand, flags set by hardware in stage 1 (iommu.md 4.4, 6). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { SmmuUnitInput } from '../../src/iommu/smmu-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { descriptorOf, LEAF, nest, OTHER, READ_ONLY, SID, Smmu } from './smmu-lab.js';
import { hex, PAGE, UnitLab } from './unit-lab.js';

const ADDRESS = 0x5000n;
/** Tables of context descriptors, and of their lists. */
const CONTEXTS = 0x8_0000n;
const LISTS = 0x6_0000n;
const STAGE_1 = 0xbn;
const DBM = 1n << 51n;
const HA = 1n << 43n;
const HD = 1n << 42n;

describe.each(BUILDS)('contexts of an SMMUv3 on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const smmu = (input: Partial<SmmuUnitInput> = {}): Smmu => new Smmu(core, {}, 16, input);

  /** Puts a descriptor at `at` with an address space of its own, whose page is `page`. */
  function context(one: Smmu, at: bigint, asid: bigint, page: bigint): void {
    one.poke(at, (descriptorOf(16n) & ~(0xffffn << 48n)) | (asid << 48n));
    one.poke(at + 8n, 0x4000n + (asid << 16n));
    for (const [level, table] of [0n, 1n, 2n].entries())
      one.poke(
        0x4000n + (asid << 16n) + (table << 12n),
        (0x5000n + (asid << 16n) + (BigInt(level) << 12n)) | 3n,
      );
    one.poke(0x7000n + (asid << 16n) + 8n * (ADDRESS >> 12n), page | LEAF);
  }

  const ask = (one: Smmu, pasid?: number, address = ADDRESS): string => {
    const answer = one.unit.translate({
      sid: SID,
      address,
      isWrite: false,
      ...(pasid === undefined ? {} : { pasid }),
    });
    if (answer.kind === 'translated') return hex(BigInt(answer.address));
    return answer.kind === 'fault' ? `event ${answer.reason.toString(16)}` : answer.kind;
  };

  it('iommu.md 6: a substream has its descriptor in a table, of one level or of two', () => {
    const last = 2047;
    const cases: [string, bigint, (one: Smmu) => bigint, number, bigint][] = [
      ['linear', 0n, () => CONTEXTS, 11, CONTEXTS + 64n * 2047n],
      ['reserved as linear', 3n, () => CONTEXTS, 11, CONTEXTS + 64n * 2047n],
      ['lists of 64', 1n, (one) => list(one, last >> 6), 11, CONTEXTS + 64n * 63n],
      ['lists of 1024', 2n, (one) => list(one, last >> 10), 11, CONTEXTS + 64n * 1023n],
      ['one list of 64', 1n, (one) => list(one, 0), 6, CONTEXTS + 64n * 63n],
    ];
    for (const [name, format, prepare, most, at] of cases) {
      const one = smmu();
      const table = prepare(one);
      one.stream(SID, table | STAGE_1 | (format << 4n) | (BigInt(most) << 59n));
      context(one, at, 1n, PAGE);
      const substream = 2 ** most - 1;
      expect([name, ask(one, substream), ask(one, substream + 1)]).toEqual([name, hex(PAGE), 'event 8']);
      expect(one.unit.takeEvents().events).toMatchObject([{ type: 8, substream: substream + 1 }]);
      // Its neighbour has a descriptor of zeros.
      expect([name, ask(one, substream - 1)]).toEqual([name, 'event a']);
      expect(one.unit.takeEvents().events).toMatchObject([{ type: 10, substream: substream - 1 }]);
      if (format === 0n || format === 3n) continue;
      one.poke(LISTS + 8n * BigInt(most === 6 ? 0 : format === 1n ? last >> 6 : last >> 10), CONTEXTS);
      one.unit.invalidateConfig(SID);
      expect([name, ask(one, substream)]).toEqual([name, 'event 8']);
    }
  });

  it('iommu.md 4.4: S1DSS says what requests without a substream get', () => {
    const cases = [
      [0n, 'event 6', hex(PAGE)],
      [1n, hex(ADDRESS), hex(PAGE)],
      [2n, hex(PAGE), 'event 6'],
      [3n, 'event 6', hex(PAGE)],
    ] as const;
    for (const [byDefault, without, first] of cases) {
      const one = smmu();
      one.stream(SID, CONTEXTS | STAGE_1 | (4n << 59n), byDefault);
      context(one, CONTEXTS, 1n, PAGE);
      context(one, CONTEXTS + 64n, 2n, OTHER);
      expect([byDefault, ask(one), ask(one, 0), ask(one, 1)]).toEqual([
        byDefault,
        without,
        first,
        hex(OTHER),
      ]);
      // Each has its own pages.
      expect([byDefault, ask(one), ask(one, 0), ask(one, 1)]).toEqual([
        byDefault,
        without,
        first,
        hex(OTHER),
      ]);
    }
    // Past stage 1, not past stage 2.
    const one = smmu();
    const second = nest(one, undefined, 4n << 59n);
    one.stream(SID, (0x8000_0000n + CONTEXTS) | 1n | (7n << 1n) | (4n << 59n), 1n, ...stage2Of(one));
    second.map(ADDRESS, PAGE | 0x4ffn);
    expect(one.unit.translate({ sid: SID, address: ADDRESS, isWrite: false })).toMatchObject({
      address: Number(PAGE),
      path: 'second-stage',
    });
  });

  it('iommu.md 6: where there are no substreams a PASID is 0x08', () => {
    for (const word of [1n | (4n << 1n), 0x3000n | STAGE_1]) {
      const one = smmu();
      one.stream(SID, word);
      expect([word, ask(one, 0)]).toEqual([word, 'event 8']);
      expect(one.unit.takeEvents().events).toMatchObject([{ type: 8, substream: 0 }]);
    }
    const one = smmu({ substreamBits: 4 });
    one.stream(SID, CONTEXTS | STAGE_1 | (5n << 59n));
    context(one, CONTEXTS + 64n, 1n, PAGE);
    expect(ask(one, 1)).toBe('event 4');
    one.stream(SID, CONTEXTS | STAGE_1 | (4n << 59n));
    expect(ask(one, 1)).toBe(hex(PAGE));
    expect(() => smmu({ substreamBits: 21 })).toThrow(/substreamBits/);
  });

  it('iommu.md 5: CFGI of a stream drops all its substreams, and no others', () => {
    const one = smmu();
    for (const sid of [SID, SID + 1]) one.stream(sid, CONTEXTS | STAGE_1 | (4n << 59n));
    for (const n of [1n, 2n]) context(one, CONTEXTS + 64n * n, n, PAGE);
    for (const pasid of [1, 2]) expect(ask(one, pasid)).toBe(hex(PAGE));
    one.unit.translate({ sid: SID + 1, pasid: 1, address: ADDRESS, isWrite: false });
    for (const n of [1n, 2n]) one.poke(CONTEXTS + 64n * n, 0n);
    one.unit.invalidateConfig(SID);
    expect([ask(one, 1), ask(one, 2)]).toEqual(['event a', 'event a']);
    expect(one.unit.translate({ sid: SID + 1, pasid: 1, address: ADDRESS, isWrite: false }).kind).toBe(
      'translated',
    );
  });

  it('what a privileged request found with HD does not outlive an invalidation', () => {
    const one = smmu({ hardwareFlags: 'dirty' });
    one.context({ word: descriptorOf(16n, HA | HD) });
    const privileged = { sid: SID, address: ADDRESS, isWrite: true, isPrivileged: true };
    one.map(ADDRESS, PAGE | LEAF | READ_ONLY | DBM);
    for (const isWrite of [false, false]) expect(one.go(ADDRESS, isWrite)).toBe(hex(PAGE));
    expect(one.unit.translate(privileged)).toMatchObject({ address: Number(PAGE) });
    one.map(ADDRESS, OTHER | LEAF);
    one.unit.invalidateTlb();
    expect(one.unit.translate(privileged)).toMatchObject({ address: Number(OTHER) });
  });

  it('flags that hardware sets stay when the processor drops its line of the table unwritten', () => {
    const one = smmu({ hardwareFlags: 'dirty' });
    one.context({ word: descriptorOf(16n, HA | HD) });
    const place = one.map(ADDRESS, (PAGE | LEAF | READ_ONLY | DBM) & ~0x400n);
    const line = Number(place) & ~63;
    for (const isWrite of [false, true]) {
      core.x.cacheTouch(line, 64, 0);
      expect(one.go(ADDRESS, isWrite)).toBe(hex(PAGE));
      const after = one.peek(place);
      expect(after & 0x400n).toBe(0x400n);
      core.x.cacheFlush(line, 64, 1);
      expect([isWrite, hex(one.peek(place))]).toEqual([isWrite, hex(after)]);
    }
  });

  it('iommu.md 4.2: hardware sets AF with HA, and makes a page with DBM writable with HD', () => {
    const clean = (PAGE | LEAF | READ_ONLY | DBM) & ~0x400n;
    const cases = [
      ['none', 0n, 'event 12', clean, 'event 12', clean],
      ['none', HA, 'event a', clean, 'event a', clean],
      ['access', HA, hex(PAGE), clean | 0x400n, 'event 13', clean | 0x400n],
      ['access', HA | HD, 'event a', clean, 'event a', clean],
      ['dirty', HA, hex(PAGE), clean | 0x400n, 'event 13', clean | 0x400n],
      ['dirty', HA | HD, hex(PAGE), clean | 0x400n, hex(PAGE), (clean | 0x400n) & ~READ_ONLY],
      ['dirty', HD, 'event 12', clean, 'event 12', clean],
    ] as const;
    for (const [hardwareFlags, bits, read, afterRead, write, afterWrite] of cases) {
      const one = smmu({ hardwareFlags });
      one.context({ word: descriptorOf(16n, bits) });
      const place = one.map(ADDRESS, clean);
      expect([hardwareFlags, bits, one.go(ADDRESS), one.peek(place)]).toEqual([
        hardwareFlags,
        bits,
        read,
        afterRead,
      ]);
      expect([hardwareFlags, bits, one.go(ADDRESS, true), one.peek(place)]).toEqual([
        hardwareFlags,
        bits,
        write,
        afterWrite,
      ]);
    }
    // Without DBM a page stays read only; a table that is read only has the last word.
    const one = smmu({ hardwareFlags: 'dirty' });
    one.context({ word: descriptorOf(16n, HA | HD) });
    one.map(ADDRESS, clean & ~DBM);
    expect(one.go(ADDRESS, true)).toBe('event 13');
    one.map(ADDRESS, clean);
    one.poke(0x4000n, 0x8000n | 3n | (1n << 62n));
    expect(one.cold(ADDRESS, true)).toBe('event 13');
  });
});

/** A list at LISTS whose entry `index` names CONTEXTS. */
function list(one: Smmu, index: number): bigint {
  one.poke(LISTS + 8n * BigInt(index), CONTEXTS | 1n);
  return LISTS;
}

/** Words 2 and 3 of the lab's stream. */
function stage2Of(one: Smmu): bigint[] {
  const at = 0x1000n + 64n * BigInt(SID);
  return [one.peek(at + 16n), one.peek(at + 24n)];
}
