// Floor 4: paging-structure caches (iommu.md 5): a walk begins at the lowest table that is known for its address.
//
//   (domain, PASID, address above the entry) -> table that the entry names, what all entries so far leave
//
// They are filled by walks that found a page, when the flags of its entries are set: a table stands here only if nothing is left to
// be done above it. Of a nested walk each stage has its own: the first stage's tables stand at addresses of the second.

import { UNIT_STRUCTURES } from '../iommu-layout';
import { stamp } from './age';
import { saveSteps } from './tables';
import { delayEntry, entryReady, entryValue, findStructure, keepStructure, OWNER_PASID } from './unit-iotlb';

/** Stages, each of which has its owner. */
export const STAGE_FIRST: u32 = 0;
export const STAGE_SECOND: u32 = 1;

/** Lowest level whose entries name tables. */
const LEVEL_LOWEST: u32 = 2;

// A value, beside the address of the table: what entries leave (TAKEN_* of a format above the permissions), reads to the table.
const FLAGS: u64 = 0xf;
const READS_SHIFT: u64 = 4;
const READS: u64 = 0xff;

// A table that the walk has passed, u64 each.
const PASSED_ADDRESS: usize = 0;
const PASSED_VALUE: usize = 8;
const PASSED_STAGE: usize = 16; // u32
const PASSED_LEVEL: usize = 20; // u32
const PASSED_STRIDE: usize = 24;
/** A nested walk of 5 and 5 levels passes 4 tables of the first stage, and 4 of the second on its way to 6 places, or 7. */
const PASSED_MOST: u32 = 32;
const PASSED: usize = memory.data(<i32>(PASSED_MOST * <u32>PASSED_STRIDE), 8);
let passed: u32 = 0;

/** Entries that the last walk filled, u32 each. */
const KEPT: usize = memory.data(<i32>(PASSED_MOST * 4), 4);
let kept: u32 = 0;

/** The walks to come look here and leave what they find. */
export let usesStructures: bool = false;
let unitIndex: u32 = 0;
/** By stage. */
const DOMAINS: usize = memory.data(2 * 4, 4);
const SPACES: usize = memory.data(2 * 4, 4);
const OWNERS: usize = memory.data(2 * 8, 8);

/** What `findTable` found: the table, its level, and what the entries above it leave. */
export let foundTable: u64 = 0;
export let foundLevel: u32 = 0;
export let foundFlags: u32 = 0;
/** Entries that a walk from the top reads up to that table. */
export let foundReads: u32 = 0;

/** PERMISSION_* that tables have to leave: to the request, and to the walk of a second stage. */
export let requestNeeds: u32 = 0;
export let secondNeeds: u32 = 0;

/** In simulated time: tables that other walks are still fetching then do not count. */
let walkTime: u64 = 0;

/** The walks to come neither look here nor leave anything. */
export function endStructures(): void {
  usesStructures = false;
  passed = 0;
  kept = 0;
}

/**
 * The walks to come are of `unit`, for a request that needs `needed` (PERMISSION_*; 0: it takes what there is). Call `ownTables` for
 * each stage next.
 */
export function beginStructures(index: u32, unit: usize, needed: u32): void {
  usesStructures = load<u32>(unit, UNIT_STRUCTURES) != 0;
  unitIndex = index;
  requestNeeds = needed;
  secondNeeds = needed;
  passed = 0;
  kept = 0;
}

/** What the second stage's next walk needs: of a nested walk, for a table of the first stage. */
export function needSecond(needed: u32): void {
  secondNeeds = needed;
}

/** Whose tables those of `stage` are: key of the domain, and of the space of addresses in it; `space` as IOTLB entries have it. */
export function ownTables(stage: u32, domain: u32, key: u32, space: u32): void {
  store<u32>(DOMAINS + ((<usize>stage) << 2), domain);
  store<u32>(SPACES + ((<usize>stage) << 2), space);
  store<u64>(OWNERS + ((<usize>stage) << 3), domain | ((<u64>key) << OWNER_PASID));
}

/** Looks for the lowest table on the way from level `top` to `address` whose entries leave what is needed. */
export function findTable(stage: u32, top: u32, address: u64): bool {
  const needed = stage == STAGE_FIRST ? requestNeeds : secondNeeds;
  const owner = load<u64>(OWNERS + ((<usize>stage) << 3));
  for (let level = LEVEL_LOWEST; level <= top; level++) {
    const at = findStructure(unitIndex, level, address, owner);
    if (at == 0 || entryReady(at) > walkTime) continue;
    const value = entryValue(at);
    if ((<u32>value & needed) != needed) continue;
    stamp(at);
    foundTable = value & ~0xfff;
    foundLevel = level - 1;
    foundFlags = <u32>(value & FLAGS);
    foundReads = <u32>((value >> READS_SHIFT) & READS);
    saveSteps(foundReads);
    return true;
  }
  return false;
}

/** The walk for `address` goes on from an entry of `level` to `table`, after `reads` entries; they leave `flags`. */
export function passTable(stage: u32, level: u32, address: u64, table: u64, flags: u32, reads: u32): void {
  if (passed == PASSED_MOST) return;
  const at = PASSED + <usize>passed * PASSED_STRIDE;
  passed += 1;
  store<u64>(at, address, PASSED_ADDRESS);
  store<u64>(at, table | flags | ((<u64>reads) << READS_SHIFT), PASSED_VALUE);
  store<u32>(at, stage, PASSED_STAGE);
  store<u32>(at, level, PASSED_LEVEL);
}

/** The walk has found its page: its tables are kept. */
export function keepTables(): void {
  kept = 0;
  for (let n: u32 = 0; n < passed; n++) {
    const at = PASSED + <usize>n * PASSED_STRIDE;
    const stage: usize = load<u32>(at, PASSED_STAGE);
    const entry = keepStructure(
      unitIndex,
      load<u32>(at, PASSED_LEVEL),
      load<u64>(at, PASSED_ADDRESS),
      load<u64>(OWNERS + (stage << 3)),
      load<u64>(at, PASSED_VALUE),
      load<u32>(DOMAINS + (stage << 2)),
      load<u32>(SPACES + (stage << 2)),
    );
    if (entry == 0) continue;
    store<u32>(KEPT + ((<usize>kept) << 2), <u32>entry);
    kept += 1;
  }
  passed = 0;
}

/** A walk that begins at `time` comes next. */
export function walkFrom(time: u64): void {
  walkTime = time;
}

/** What the last walk has filled is there at `time`. */
export function delayTables(time: u64): void {
  for (let n: u32 = 0; n < kept; n++) delayEntry(load<u32>(KEPT + ((<usize>n) << 2)), time);
}
