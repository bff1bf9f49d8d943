// Floor 4: the walk through paging structures of any format, from the top table to the page; of one stage, or of two.
//
//   walk         address -> entry -> ... -> page
//   walkNested   address -> entry -> ... -> page, where the address of each entry and of the page is one of the second stage

import { PERMISSION_READ, PERMISSION_WRITE, WHAT_SECOND } from '../iommu-layout';
import { hostMemory } from '../kernel/arena';
import { Entry } from './entries';
import {
  ENTRY_DENIED,
  ENTRY_LEAF,
  ENTRY_TABLE,
  ENTRY_TOO_WIDE,
  ENTRY_UNREADABLE,
  FORMAT_AMD,
  FORMAT_FIRST,
  FORMAT_LPAE,
  FORMAT_LPAE_2,
  FORMAT_S390,
  FORMAT_SECOND,
  levelLg2,
} from './formats';
import {
  findTable,
  foundFlags,
  foundLevel,
  foundReads,
  foundTable,
  needSecond,
  passTable,
  requestNeeds,
  STAGE_FIRST,
  STAGE_SECOND,
  usesStructures,
} from './structures';
import { countSteps, entry, plainEnd, plainFirst, readEntry, savedSteps, steps, writeEntry } from './tables';
import { Second, secondAddress, secondForcesSnoop, secondPermissions } from './vtd-second';

/** What the last walk found: the page, and the permissions that all levels have in common. */
export let pageAddress: u64 = 0;
export let pageLg2: u32 = 0;
export let permissions: u32 = 0;
export let forcesSnoop: bool = false;
/** The memory type is cacheable: of a nested walk, in both stages. */
export let isCacheable: bool = true;
/** Level and address of the entry that the walk ended with. */
export let lastLevel: u32 = 0;
export let lastAddress: u64 = 0;
/** The page's entry as it was read. */
export let lastEntry: u64 = 0;
/** Of a nested walk: what stopped it was the second stage, on its way to this address of the first stage's output. */
export let isOfSecond: bool = false;
/** That address is of a structure of the first stage. */
export let isOfTable: bool = false;
export let middleAddress: u64 = 0;
/** Level of the first stage whose table was on its way to; 0: it was the page. */
export let middleLevel: u32 = 0;

/** Added to the levels that steps report: WHAT_SECOND in the second stage of a nested walk. */
let stage: u32 = 0;

/** Offset in a table of 512 entries, as bits of an address that has been shifted to them. */
const INDEX_BYTES: u64 = 511 << 3;
const PAGE_LG2: u32 = 12;
const ALL_PERMISSIONS: u32 = PERMISSION_READ | PERMISSION_WRITE;

/** What a table took away that no permission tells stands above the permissions in paging-structure caches. */
const TAKEN_SHIFT: u32 = 2;

function stageOf(format: u32): u32 {
  return format == FORMAT_FIRST || format == FORMAT_LPAE ? STAGE_FIRST : STAGE_SECOND;
}

class Walk {
  @inline
  static as(format: u32, root: u64, top: u32, topMask: u64, address: u64): u32 {
    let table = root;
    let level = top;
    let mask = topMask;
    let allowed = ALL_PERMISSIONS;
    let kind: u32;
    let at: u64;
    let reads: u32 = 0;
    let depth: u32 = 0;
    const first = plainFirst;
    const end = plainEnd;
    const knowsTables = format != FORMAT_S390 && usesStructures;
    if (knowsTables && findTable(stageOf(format), top, address)) {
      table = foundTable;
      level = foundLevel;
      mask = Entry.mask(format, level);
      allowed = foundFlags & ALL_PERMISSIONS;
      Entry.take(format, foundFlags >> TAKEN_SHIFT);
      depth = foundReads;
    }
    while (true) {
      const lg2 = Entry.lg2(format, level);
      at = table + (((address >> lg2) & mask) << 3);
      let found: u64;
      const offset = at - first;
      if (format != FORMAT_S390 && offset < end) {
        found = load<u64>(hostMemory + <usize>offset);
        reads += 1;
      } else {
        if (!Entry.read(format, at, stage + level)) {
          kind = ENTRY_UNREADABLE;
          break;
        }
        found = Entry.found(format);
      }
      kind = Entry.kind(format, found, level);
      allowed &= Entry.permissions(format, found, level);
      table = Entry.address(format, found, level);
      depth += 1;
      if (kind != ENTRY_TABLE) {
        forcesSnoop = Entry.forcesSnoop(format, found);
        isCacheable = Entry.isCacheable(format, found);
        const size = Entry.pageLg2(format, found, level);
        pageLg2 = size;
        pageAddress = table & ~(((<u64>1) << size) - 1);
        lastEntry = found;
        const updated = Entry.updated(format, found);
        if (kind == ENTRY_LEAF && updated != found) writeEntry(at, updated);
        break;
      }
      const next = Entry.next(format, found, level);
      // A table below a level that was left out is not that of every address.
      if (knowsTables && next == level - 1)
        passTable(
          stageOf(format),
          level,
          address,
          table,
          allowed | (Entry.taken(format) << TAKEN_SHIFT),
          depth,
        );
      level = next;
      mask = Entry.mask(format, level);
    }
    lastLevel = level;
    lastAddress = at;
    countSteps(reads);
    permissions = allowed;
    return kind;
  }
}

/** The walk with all its questions: what is not as it should be, large pages, what is not held, steps that are kept. */
function walkSecondStage(root: u64, top: u32, address: u64): u32 {
  return Walk.as(FORMAT_SECOND, root, top, 511, address);
}

export class SecondStage {
  /**
   * `walk` of VT-d's second stage, for 4 KiB pages whose entries each pass one comparison: most of all walks, so this stands at
   * its callers. Leaves everything else to the function. `last...` and `isCacheable` are not told: VT-d asks for them after
   * faults alone, and not at all.
   */
  @inline
  static walk(root: u64, top: u32, address: u64): u32 {
    if (usesStructures) return walkSecondStage(root, top, address);
    const first = plainFirst;
    const end = plainEnd;
    const held = hostMemory;
    const bits = Second.tableBits();
    const value = Second.plainValue();
    let table = root - first;
    let allowed: u64 = ~0;
    for (let shift = <u64>top * 9; shift > 9; shift -= 9) {
      const offset = table + ((address >> shift) & INDEX_BYTES);
      if (offset >= end) return walkSecondStage(root, top, address);
      const found = load<u64>(held + <usize>offset);
      if ((found & bits) != value) return walkSecondStage(root, top, address);
      allowed &= found;
      table = secondAddress(found) - first;
    }
    const offset = table + ((address >> 9) & INDEX_BYTES);
    if (offset >= end) return walkSecondStage(root, top, address);
    const found = load<u64>(held + <usize>offset);
    if ((found & Second.leafBits()) != value) return walkSecondStage(root, top, address);
    countSteps(top);
    forcesSnoop = secondForcesSnoop(found);
    pageLg2 = PAGE_LG2;
    pageAddress = secondAddress(found);
    permissions = secondPermissions(allowed & found);
    return ENTRY_LEAF;
  }
}

/**
 * Walks from the table at `root`, of level `top`, on for `address`; the index of its first entry has the bits of `topMask`.
 * Answers ENTRY_LEAF when there is a page, else what stopped it. Call after the `begin` of the format.
 */
export function walk(format: u32, root: u64, top: u32, topMask: u64, address: u64): u32 {
  if (format == FORMAT_FIRST) return Walk.as(FORMAT_FIRST, root, top, topMask, address);
  if (format == FORMAT_SECOND) return SecondStage.walk(root, top, address);
  if (format == FORMAT_AMD) return Walk.as(FORMAT_AMD, root, top, topMask, address);
  if (format == FORMAT_S390) return Walk.as(FORMAT_S390, root, top, topMask, address);
  if (format == FORMAT_LPAE_2) return Walk.as(FORMAT_LPAE_2, root, top, topMask, address);
  return Walk.as(FORMAT_LPAE, root, top, topMask, address);
}

// The second stage of nested walks.
let secondFormat: u32 = 0;
let secondRoot: u64 = 0;
let secondTop: u32 = 0;
let secondMask: u64 = 0;
let secondWidth: u32 = 0;
/** PERMISSION_* that tables of the first stage need in the second. */
let tableNeeds: u32 = 0;

/** The second stage of the walks to come: its addresses have `width` bits. */
export function beginNested(format: u32, root: u64, top: u32, topMask: u64, width: u32): void {
  secondFormat = format;
  secondRoot = root;
  secondTop = top;
  secondMask = topMask;
  secondWidth = width;
  tableNeeds = PERMISSION_READ;
}

/** Tables of the first stage also have to be writable: to be called after `beginNested`. */
export function needWritableTables(): void {
  tableNeeds = ALL_PERMISSIONS;
}

/** Walks the second stage alone for `address`, for a write or for a read; with `isTable` of a structure of the first stage. */
export function walkSecond(address: u64, isWrite: bool, isTable: bool): u32 {
  middleAddress = address;
  isOfTable = isTable;
  isOfSecond = true;
  if (secondWidth < 64 && address >> secondWidth != 0) return ENTRY_TOO_WIDE;
  Entry.needs(secondFormat, isWrite, isTable);
  // Who sets a flag in a structure of the first stage asks each entry of the second one whether it may be written. Entries that
  // were not read cannot be asked: only tables whose entries take nothing away serve here.
  needSecond(isTable ? ALL_PERMISSIONS : requestNeeds);
  stage = WHAT_SECOND;
  const kind = walk(secondFormat, secondRoot, secondTop, secondMask, address);
  stage = 0;
  if (kind == ENTRY_LEAF) isOfSecond = false;
  return kind;
}

/** As `walk`, through two stages: call after the `begin` of both formats and `beginNested`. */
export function walkNested(format: u32, root: u64, top: u32, topMask: u64, address: u64, isWrite: bool): u32 {
  let table = root;
  let level = top;
  let mask = topMask;
  let allowed = ALL_PERMISSIONS;
  const before = steps + savedSteps;
  if (usesStructures && findTable(STAGE_FIRST, top, address)) {
    table = foundTable;
    level = foundLevel;
    mask = 511;
    allowed = foundFlags & ALL_PERMISSIONS;
    Entry.take(format, foundFlags >> TAKEN_SHIFT);
  }
  while (true) {
    const lg2 = levelLg2(level);
    const at = table + (((address >> lg2) & mask) << 3);
    middleLevel = level;
    const second = walkSecond(at, false, true);
    if (second != ENTRY_LEAF) return second;
    if ((permissions & tableNeeds) != tableNeeds) {
      isOfSecond = true;
      return ENTRY_DENIED;
    }
    lastLevel = level;
    lastAddress = pageAddress | (at & (((<u64>1) << pageLg2) - 1));
    if (!readEntry(lastAddress, level)) return ENTRY_UNREADABLE;
    const lastOfFirst = lastAddress;
    const found = entry;
    const kind = Entry.kind(format, found, level);
    allowed &= Entry.permissions(format, found, level);
    table = Entry.address(format, found, level);
    if (kind == ENTRY_TABLE) {
      if (usesStructures) {
        const flags = allowed | (Entry.taken(format) << TAKEN_SHIFT);
        passTable(STAGE_FIRST, level, address, table, flags, steps + savedSteps - before);
      }
      level -= 1;
      mask = 511;
      continue;
    }
    if (kind != ENTRY_LEAF) return kind;
    const updated = Entry.updated(format, found);
    if (updated != found) {
      const written = walkSecond(at, true, true);
      if (written != ENTRY_LEAF) return written;
      writeEntry(lastOfFirst, updated);
    }
    const inPage = ((<u64>1) << lg2) - 1;
    middleLevel = 0;
    const last = walkSecond((table & ~inPage) | (address & inPage), isWrite, false);
    if (last != ENTRY_LEAF) return last;
    permissions &= allowed;
    if (!Entry.isCacheable(format, found)) isCacheable = false;
    if (lg2 < pageLg2) {
      // The page of the first stage is a part of the one of the second.
      pageAddress |= table & ~inPage & (((<u64>1) << pageLg2) - 1);
      pageLg2 = lg2;
    }
    return ENTRY_LEAF;
  }
}
