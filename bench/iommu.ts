/** Group `iommu`: what a translation costs beside forming a TLP, and a walk beside the same walk in C. */
import * as L from '../assembly/layout.js';
import { defaultOptions } from '../src/base/options.js';
import { Core } from '../src/core/core.js';
import { high32, low32 } from '../src/core/u64.js';
import { VtdUnit } from '../src/iommu/vtd-unit.js';
import { ensure, type Group } from './case.js';
import { compileLoops, type Loops } from './iommu-core.js';
import { loadKernel } from './kernel.js';

/** Where the structures are, the pages, and walks of a unit of work: as in bench/native/{walk,main}.c. */
const ROOT = 0x1000;
const CONTEXT = 0x2000;
const TOP = 0x4000;
const LEAVES = 0x10000;
const LEVELS = 4;
const PAGES = 32768;
const FIRST_PAGE = 0x1234_4000_0000n;
const WALKS = 4096;
const HOST_BYTES = 1 << 20;
const SID = 0x20;
const PRESENT = 1n;
const RW = 3n;
/** AW of four levels, domain 1. */
const CONTEXT_HIGH = 2n | (1n << 8n);
/** 48 bits, 2 MiB and 1 GiB pages; no snoop control. */
const CAP = 0xd2_008c_222f_0606n;
const ECAP = 0xf_0f4an;
/** Pages of the hits: fewer than entries. */
const HITS = 64;
const ENTRIES = 4096;

function writeTables(core: Core): void {
  const set = (at: number, entry: bigint): void => core.setLong(L.PLACE_HOST_MEMORY, at, entry);
  const index = (level: number): number => Number((FIRST_PAGE >> BigInt(3 + 9 * level)) & 511n);
  set(ROOT, BigInt(CONTEXT) | PRESENT);
  set(CONTEXT + SID * 16, BigInt(TOP) | PRESENT);
  set(CONTEXT + SID * 16 + 8, CONTEXT_HIGH);
  set(TOP + 8 * index(4), 0x5000n | RW);
  set(0x5000 + 8 * index(3), 0x6000n | RW);
  for (let n = 0; n < PAGES; n++) {
    if (n % 512 === 0) set(0x6000 + (8 * n) / 512, BigInt(LEAVES + 8 * n) | RW);
    set(LEAVES + 8 * n, (BigInt(n) << 12n) | RW);
  }
}

const TITLE = 'iommu';
const KERNEL = '64 B encode kernel';
const HIT = 'IOTLB hit';
const WALK = `walk of ${LEVELS} levels`;

/** Nothing where no row holds `filter`: the core is compiled for this group, which takes longer than all other groups. */
export async function iommuGroups(filter = ''): Promise<Group[]> {
  const names = [KERNEL, HIT, WALK].map((name) => `${TITLE}: ${name}`.toLowerCase());
  return names.some((name) => name.includes(filter.toLowerCase())) ? [await iommuGroup()] : [];
}

async function iommuGroup(): Promise<Group> {
  const kernel = await loadKernel();
  const core = await Core.load(await compileLoops(), HOST_BYTES, 0, 0, (x) => x.unitReserve(1, ENTRIES, 0));
  const loops = core.x as typeof core.x & Loops;
  core.x.unitMemory(0, 0, HOST_BYTES, 0, 0, 0);
  const options = { ...defaultOptions(), iotlbEntries: ENTRIES };
  const unit = new VtdUnit(core, 0, { cap: CAP, ecap: ECAP, hostWidth: 46 }, options);
  writeTables(core);
  unit.rootTable = ROOT;
  unit.isOn = true;
  const [lo, hi] = [low32(FIRST_PAGE), high32(FIRST_PAGE)];
  const hit = (): number => loops.translatePages(SID, lo, hi, HITS, WALKS);
  const walk = (): number => loops.walkPages(TOP, LEVELS, lo, hi, PAGES, WALKS);
  // The first one reads the context, and prepares the unit for the walks of this function.
  hit();
  const check = walk() >>> 0;
  return {
    title: TITLE,
    unit: 'request',
    baseline: KERNEL,
    cases: [
      { name: KERNEL, bytes: 0, units: WALKS, run: () => void kernel(WALKS, 64) },
      {
        name: HIT,
        bytes: 0,
        units: WALKS,
        run: () => void hit(),
        check: () => {
          const before = unit.counters;
          hit();
          const { hits, misses } = unit.counters;
          ensure(hits - before.hits === WALKS && misses === before.misses, 'not every request is a hit');
        },
        goal: { of: 'baseline', limit: 2 },
      },
      {
        name: WALK,
        bytes: 0,
        units: WALKS,
        run: () => void walk(),
        check: () => {
          walk();
          const { address } = unit.translate({ sid: SID, address: FIRST_PAGE + 0x5000n, isWrite: false }) as {
            address: number;
          };
          ensure(address === 0x5000, 'the walk does not find its page');
        },
        native: { loop: 'walk', bytes: PAGES, check },
        goal: { of: 'C', limit: 0.7 },
      },
    ],
  };
}
