/**
 * Random tables of the units with a second way to walk them: VT-d, AMD-Vi and SMMUv3. With `structures` the unit has that many
 * entries of paging-structure caches, and keeps what it knows of the tables until they are filled anew.
 */
import type { Core } from '../../src/core/core.js';
import * as amd from '../iommu/amd-lab.js';
import { plainAmd } from '../iommu/plain-amd.js';
import { plainNested } from '../iommu/plain-nested.js';
import { plainBoth, plainStage1, plainStage2 } from '../iommu/plain-smmu.js';
import { plainVtd } from '../iommu/plain-vtd.js';
import * as scalable from '../iommu/scalable-lab.js';
import * as smmu from '../iommu/smmu-lab.js';
import { ECAP, LARGE, PAGE, RAM_END, READ, RW, SC, TOP, UnitLab, WRITE } from '../iommu/unit-lab.js';
import type { Draw, Format, MakeFormat } from './random.js';

const SNP = 1n << 11n;
const TM = 1n << 62n;
const OTHER = PAGE + 0x7000n;
/** Entries of a table that addresses reach. */
const SLOTS = 3;

/** Where entry `n` of `tables` leads when all is well: to the next table, from the last one to a page. */
function onward(tables: readonly bigint[], n: number): bigint {
  return tables[n + 1] ?? PAGE;
}

function eachSlot(tables: readonly bigint[], write: (n: number, place: bigint) => void): void {
  for (const [n, table] of tables.entries())
    for (let slot = 0; slot < SLOTS; slot++) write(n, table + 8n * BigInt(slot));
}

/** Options of a unit with `structures` entries for the tables of each level. */
function optionsOf(structures: number): { readonly pagingStructureEntries: number } {
  return { pagingStructureEntries: structures };
}

/** What came of a cold access, and of the same one again where it found a page: that must not differ. */
function twice(cold: () => string, warm: () => string): string {
  const first = cold();
  const second = first.startsWith('0x') ? warm() : first;
  return first === second ? first : `${first}, then ${second}`;
}

/** Second stage of VT-d in legacy mode: four levels, snoop control. */
export function vtdSecond(core: Core, draw: Draw, structures = 0): Format {
  const one = UnitLab.on(core, { ecap: ECAP | SC, options: optionsOf(structures) });
  const tables = [TOP, 0x8000n, 0x9000n, 0xa000n];
  const others = [
    ...tables,
    0x2000_0000n,
    0x4000_0000n,
    0xc000_0000n,
    0xfee0_1000n,
    RAM_END,
    1n << 50n,
    OTHER,
  ];
  const bits = [RW, RW, RW, READ, WRITE, 0n, RW | LARGE, RW | SNP, RW | LARGE | SNP, RW | TM];
  return {
    fill: () => {
      one.unit.invalidateIotlb();
      eachSlot(tables, (n, place) => {
        const to = draw.chance(80) ? onward(tables, n) : draw.of(others);
        one.poke(place, to | (draw.chance(70) ? RW : draw.of(bits)));
      });
    },
    ask: () => {
      const address = draw.address(4, SLOTS);
      const isWrite = draw.chance(50);
      const expected = plainVtd(one, address, isWrite);
      const actual = twice(
        () => (structures === 0 ? one.cold(address, isWrite) : one.known(address, isWrite)),
        () => one.go(address, isWrite),
      );
      return { actual, expected };
    },
  };
}

/** First stage of VT-d, alone or in a second one that is random, too; with the flags that are set. */
export function vtdFirst(isNested: boolean): MakeFormat {
  return (core, draw, structures = 0) => {
    const { A1, A2, D1, D2, EAFE, FIRST, FIRST_TOP, NESTED, P, PAGE1, PWSNP, RW1, SSADE, US } = scalable;
    const one = new scalable.ScalableLab(core, {
      ecap: scalable.ECAP_FIRST | SC,
      options: optionsOf(structures),
    });
    const { lab } = one;
    const firsts = [FIRST_TOP, 0x8_1000n, 0x8_2000n, 0x8_3000n];
    const seconds = [TOP, 0x9_0000n, 0x9_1000n, 0x9_2000n];
    const others = [
      ...firsts,
      ...seconds,
      0x2000_0000n,
      0x4000_0000n,
      PAGE,
      RAM_END,
      0n,
      1n << 40n,
      1n << 50n,
    ];
    const pages = [PAGE, 0x2000_0000n, 0x1234_5000n];
    const bits1 = [PAGE1, PAGE1 | A1, PAGE1 | A1 | D1, P | US, P | RW1, 0n, PAGE1 | LARGE];
    const bits2 = [RW, RW | A2, RW | A2 | D2, READ, WRITE, 0n, RW | LARGE, RW | SNP];
    const places: bigint[] = [];
    for (const tables of [firsts, seconds]) eachSlot(tables, (_n, place) => places.push(place));
    let setting = { type: FIRST, low: 0n, first: 0n, high: PWSNP };
    const read = (at: bigint): bigint => (at < 0x10_0000n ? lab.peek(at) : 0n);
    return {
      fill: () => {
        lab.unit.invalidateIotlb();
        lab.unit.invalidateContexts();
        setting = {
          type: isNested ? NESTED : FIRST,
          low: draw.of([0n, SSADE]),
          first: draw.of([0n, EAFE]),
          high: draw.of([PWSNP, PWSNP, 0n]),
        };
        one.pasid({ ...setting, top: FIRST_TOP });
        eachSlot(firsts, (n, place) => {
          const to = draw.chance(85) ? (firsts[n + 1] ?? draw.of(pages)) : draw.of(others);
          lab.poke(place, to | (draw.chance(75) ? PAGE1 : draw.of(bits1)));
        });
        eachSlot(seconds, (n, place) => {
          const to = draw.chance(85) ? onward(seconds, n) : draw.of(others);
          lab.poke(place, to | (draw.chance(75) ? RW : draw.of(bits2)));
        });
        // Mostly the second stage has the first gigabyte as it is: tables of the first stage are found, and pages.
        if (draw.chance(70)) {
          lab.poke(TOP, 0x9_0000n | RW | (draw.chance(50) ? A2 : 0n));
          lab.poke(0x9_0000n, RW | LARGE | (draw.chance(50) ? A2 | D2 : 0n));
        }
      },
      ask: () => {
        const address = draw.address(4, SLOTS);
        const isWrite = draw.chance(50);
        const plain = plainNested(read, { ...setting, top: FIRST_TOP, address, isWrite });
        const wanted = places.map((at) => read(at) | (plain.flags.get(at) ?? 0n));
        const actual = twice(
          () => (structures === 0 ? one.cold(address, { isWrite }) : one.known(address, { isWrite })),
          () => one.go(address, { isWrite }),
        );
        const wrong = places.filter((at, n) => read(at) !== wanted[n]);
        return { actual: [actual, ...wrong].join(', flags at '), expected: plain.outcome };
      },
    };
  };
}

/** Host tables of AMD-Vi: modes 1 to 6, levels that are skipped, sizes encoded in addresses. */
export function amdHost(core: Core, draw: Draw, structures = 0): Format {
  const { FORCE, PRESENT, READ: R, ROOT, WRITE: W, next } = amd;
  const one = new amd.AmdLab(core, {}, optionsOf(structures));
  const tables = [ROOT, 0x8000n, 0x9000n, 0xa000n, 0xb000n, 0xc000n];
  const others = [
    ...tables,
    PAGE,
    OTHER,
    0x2000_0000n,
    0x1f_f000n,
    0x1_f000n,
    RAM_END,
    (1n << 52n) - 0x1000n,
  ];
  const bits = [R | W, R, W, 0n];
  const extras = [PRESENT, PRESENT | FORCE, 0n, PRESENT | (1n << 55n)];
  let mode = 4;
  return {
    fill: () => {
      one.unit.invalidateDomain();
      one.unit.invalidateDevices();
      mode = 1 + draw.below(6);
      const used = tables.slice(0, mode);
      eachSlot(used, (n, place) => {
        const isPlain = draw.chance(80);
        const to = isPlain ? onward(used, n) : draw.of(others);
        const level = isPlain || draw.chance(50) ? mode - n - 1 : draw.below(8);
        const permissions = draw.chance(80) ? R | W : draw.of(bits);
        one.poke(place, to | next(level) | permissions | (draw.chance(85) ? PRESENT : draw.of(extras)));
      });
      one.device({ mode });
    },
    ask: () => {
      const address = draw.address(mode, SLOTS);
      const isWrite = draw.chance(50);
      const expected = plainAmd(one, mode, address, isWrite);
      const actual = twice(
        () => (structures === 0 ? one.cold(address, isWrite) : one.known(address, isWrite)),
        () => one.go(address, isWrite),
      );
      if (!actual.startsWith('event')) return { actual, expected };
      const [event] = one.events();
      return { actual: `${actual} with ${event?.split('/')[1]}`, expected };
    },
  };
}

/** Stage 1 of an SMMUv3: T0SZ 16, an unprivileged request. */
export function smmuStage1(core: Core, draw: Draw, structures = 0): Format {
  const one = new smmu.Smmu(core, optionsOf(structures));
  const { BLOCK, LEAF, READ_ONLY } = smmu;
  const tables = [smmu.TOP, 0x8000n, 0x9000n, 0xa000n];
  const others = [...tables, PAGE, OTHER, 0x2000_0000n, 0x4000_0000n, RAM_END, 1n << 45n];
  const bits = [BLOCK, LEAF | READ_ONLY, BLOCK | READ_ONLY, LEAF ^ 0x40n, 3n, 0n, 2n];
  return {
    fill: () => {
      one.unit.invalidateTlb();
      eachSlot(tables, (n, place) => {
        const to = draw.chance(80) ? onward(tables, n) : draw.of(others);
        const limits = draw.chance(90) ? 0n : draw.of([1n << 61n, 1n << 62n]);
        one.poke(place, to | (draw.chance(75) ? LEAF : draw.of(bits)) | limits);
      });
    },
    ask: () => {
      const address = draw.address(4, SLOTS);
      const isWrite = draw.chance(50);
      const expected = plainStage1(one, address, isWrite);
      const actual = twice(
        () => (structures === 0 ? one.cold(address, isWrite) : one.known(address, isWrite)),
        () => one.go(address, isWrite),
      );
      return { actual, expected };
    },
  };
}

/** Stage 2 of an SMMUv3, alone or below stage 1: three levels with two top tables. */
export function smmuStage2(isNested: boolean): MakeFormat {
  return (core, draw, structures = 0) => {
    const one = new smmu.Smmu(core, optionsOf(structures));
    const { BLOCK, BLOCK_2, LEAF, LEAF_2, SID, TABLE, TOP_2, stage2Word } = smmu;
    const firsts = [smmu.TOP, 0x8000n, 0x9000n, 0xa000n];
    const seconds = [TOP_2, 0x2_8000n, 0x2_9000n];
    const others1 = [...firsts, 0x1000n, 0x20_0000n, 0x40_1000n, 0x4000_0000n, 1n << 40n];
    const others2 = [...seconds, PAGE, OTHER, 0x4000_0000n, RAM_END, 1n << 45n];
    const flaws = (leaf: bigint, block: bigint): bigint[] => [
      block,
      leaf ^ 0x80n,
      leaf ^ 0x400n,
      leaf ^ 0x40n,
      0n,
    ];
    const bits1 = flaws(LEAF, BLOCK);
    const bits2 = flaws(LEAF_2, BLOCK_2);
    // Pages of stage 1 are intermediate addresses of which stage 2 has random entries.
    const middles = [0x20_0000n, 0x20_1000n, 0x40_2000n, 0x4000_1000n, 0x8020_1000n, 0x3000n];
    one.stream(SID, isNested ? smmu.DESCRIPTOR | 1n | (7n << 1n) : 1n | (6n << 1n), 0n, stage2Word(), TOP_2);
    one.context({ table: smmu.TOP });
    // The first 64 KiB are themselves: structures of stage 1 are to be found.
    for (let n = 0n; n < 16n; n++) one.poke(0x2_a000n + 8n * n, (n << 12n) | LEAF_2);
    return {
      fill: () => {
        one.unit.invalidateTlb();
        eachSlot(firsts, (n, place) => {
          const to = draw.chance(80) ? (firsts[n + 1] ?? draw.of(middles)) : draw.of(others1);
          one.poke(place, to | (draw.chance(85) ? LEAF : draw.of(bits1)));
        });
        eachSlot(seconds, (n, place) => {
          const to = draw.chance(80) ? onward(seconds, n) : draw.of(others2);
          one.poke(place, to | (draw.chance(75) ? LEAF_2 : draw.of(bits2)));
        });
        if (!isNested && draw.chance(50)) return;
        one.poke(TOP_2, 0x2_8000n | TABLE);
        one.poke(0x2_8000n, 0x2_a000n | TABLE);
      },
      ask: () => {
        const address = draw.address(isNested ? 4 : 3, SLOTS);
        const isWrite = draw.chance(50);
        const expected = isNested
          ? plainBoth(one, address, isWrite)
          : plainStage2(one, address, isWrite, 'input');
        const actual = twice(
          () => (structures === 0 ? one.cold(address, isWrite) : one.known(address, isWrite)),
          () => one.go(address, isWrite),
        );
        return { actual: actual.startsWith('event') ? smmu.describeEvent(one) : actual, expected };
      },
    };
  };
}
