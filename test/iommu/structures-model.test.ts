/** Paging-structure caches against a plain model of them: which tables are known, of several units, at the limits of their size. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import { VtdUnit } from '../../src/iommu/vtd-unit.js';
import { Draw } from '../soak/random.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { CAP, CONTEXT, ECAP, hex, MEMORY, RAM_END, ROOT, RW, reads, SID, TOP } from './unit-lab.js';

const LEVELS = 4;
const MOST = 4096;
const UNITS = 3;

/** Tables that a unit knows, by level and what is above the entry's reach; those used last stand behind. */
class PlainTables {
  private readonly levels = Array.from({ length: LEVELS + 1 }, () => new Set<bigint>());

  constructor(private readonly most: number) {}

  /** Entries that a walk for `address` need not read. It finds its page. */
  walk(address: bigint): number {
    const from = this.levels.findIndex((known, level) => level > 1 && known.has(above(address, level)));
    const top = from < 0 ? LEVELS : from;
    if (from > 0) this.use(address, from);
    for (let level = from < 0 ? top : top - 1; level > 1; level--) this.use(address, level);
    return from < 0 ? 0 : LEVELS - from + 1;
  }

  /** Drops the tables that have an address in [first, last]. */
  drop(first: bigint, last: bigint): void {
    for (const [level, known] of this.levels.entries())
      for (const page of known)
        if (page >= above(first, level) && page <= above(last, level)) known.delete(page);
  }

  private use(address: bigint, level: number): void {
    const known = this.levels[level] as Set<bigint>;
    const page = above(address, level);
    const [oldest] = known;
    if (!known.delete(page) && known.size === this.most) known.delete(oldest as bigint);
    known.add(page);
  }
}

function above(address: bigint, level: number): bigint {
  return address >> BigInt(3 + 9 * level);
}

describe.each(BUILDS)('known tables and a plain model on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await Core.load(module(), MEMORY, 0, 0, (x) => x.unitReserve(UNITS, 64, MOST));
  });

  it.each([
    [1, 3000],
    [3, 3000],
    [MOST, 14_000],
  ])('iommu.md 5: %i tables of each level, of three units with a domain each', (most, count) => {
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + MEMORY);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    const poke = (address: bigint, value: bigint): void =>
      core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
    // One table for every level: all addresses lead to it.
    for (let n = 0n; n < 512n; n++) poke(TOP + 8n * n, TOP | RW);
    poke(ROOT, CONTEXT | 1n);
    poke(CONTEXT + 16n * BigInt(SID), TOP | 1n);
    poke(CONTEXT + 16n * BigInt(SID) + 8n, 2n | (7n << 8n));
    const options = { ...defaultOptions(), iotlbEntries: 64, pagingStructureEntries: most };
    const units = Array.from({ length: UNITS }, (_, n) => {
      const unit = new VtdUnit(core, n, { cap: CAP, ecap: ECAP, hostWidth: 48, seed: 1 }, options);
      unit.rootTable = ROOT;
      unit.isOn = true;
      unit.translate({ sid: SID, address: 0n, isWrite: false });
      unit.invalidateIotlb();
      return { unit, plain: new PlainTables(most) };
    });
    const draw = new Draw(most);
    const bits = most === MOST ? [9, 9, 9] : [3, 2, 2];
    for (let n = 0; n < count; n++) {
      const { unit, plain } = units[draw.below(UNITS)] as (typeof units)[number];
      const address = bits.reduce(
        (sum, width, index) => sum | (BigInt(draw.below(1 << width)) << BigInt(39 - 9 * index)),
        (BigInt(n) << 12n) & 0x1f_f000n,
      );
      if (draw.chance(most === MOST ? 0 : 10)) {
        const mask = draw.of([0, 9, 18, 27]);
        const size = 1n << BigInt(12 + mask);
        unit.invalidatePages(7, address & ~(size - 1n), mask);
        plain.drop(address & ~(size - 1n), address | (size - 1n));
      } else unit.invalidatePages(7, address, 0, true);
      const isWrite = draw.chance(50);
      const known = reads(unit, () =>
        expect([n, unit.translate({ sid: SID, address, isWrite })]).toMatchObject([
          n,
          { kind: 'translated', address: Number(TOP) },
        ]),
      );
      const saved = plain.walk(address);
      expect([n, hex(address), ...known]).toEqual([n, hex(address), LEVELS - saved, saved]);
    }
  });

  it('a unit without tables drops nothing of the unit behind it', async () => {
    const two = await Core.load(module(), MEMORY, 0, 0, (x) => x.unitReserve(2, 64, 0));
    const poke = (address: bigint, value: bigint): void =>
      two.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
    two.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    for (let n = 0n; n < 512n; n++) poke(TOP + 8n * n, TOP | RW);
    poke(ROOT, CONTEXT | 1n);
    poke(CONTEXT + 16n * BigInt(SID), TOP | 1n);
    poke(CONTEXT + 16n * BigInt(SID) + 8n, 2n | (7n << 8n));
    const options = { ...defaultOptions(), iotlbEntries: 64 };
    const [first, second] = [0, 1].map((n) => {
      const unit = new VtdUnit(two, n, { cap: CAP, ecap: ECAP, hostWidth: 48, seed: 1 }, options);
      unit.rootTable = ROOT;
      unit.isOn = true;
      return unit;
    }) as [VtdUnit, VtdUnit];
    const touch = (): void => {
      for (let n = 0n; n < 64n; n++) second.translate({ sid: SID, address: n << 12n, isWrite: false });
    };
    touch();
    first.isOn = false;
    // Entries that answered are found again without their chains: contexts that are read anew end that.
    second.invalidateContexts();
    touch();
    expect(second.counters).toMatchObject({ hits: 64, misses: 64 });
  });
});
