// Floor 4: the walk through paging structures of any format, from the top table to the page.

import { PERMISSION_READ, PERMISSION_WRITE } from '../iommu-layout';
import { ENTRY_LEAF, ENTRY_TABLE, ENTRY_UNREADABLE, FORMAT_SECOND, levelLg2 } from './formats';
import { lpaeAddress, lpaeKind, lpaePermissions } from './lpae';
import { entry, readEntry } from './tables';
import { secondAddress, secondForcesSnoop, secondKind, secondPermissions } from './vtd-second';

/** What the last walk found: the page, and the permissions that all levels have in common. */
export let pageAddress: u64 = 0;
export let pageLg2: u32 = 0;
export let permissions: u32 = 0;
export let forcesSnoop: bool = false;
/** Level and address of the entry that the walk ended with. */
export let lastLevel: u32 = 0;
export let lastAddress: u64 = 0;

/**
 * Walks from the table at `root`, of level `top`, on for `address`; the index of its first entry has the bits of `topMask`.
 * Answers ENTRY_LEAF when there is a page, else what stopped it. Call after the `begin` of the format.
 */
export function walk(format: u32, root: u64, top: u32, topMask: u64, address: u64): u32 {
  const isSecond = format == FORMAT_SECOND;
  let table = root;
  let level = top;
  let mask = topMask;
  permissions = PERMISSION_READ | PERMISSION_WRITE;
  while (true) {
    const lg2 = levelLg2(level);
    lastLevel = level;
    lastAddress = table + (((address >> lg2) & mask) << 3);
    if (!readEntry(lastAddress, level)) return ENTRY_UNREADABLE;
    const found = entry;
    const kind = isSecond ? secondKind(found, level) : lpaeKind(found, level);
    permissions &= isSecond ? secondPermissions(found) : lpaePermissions(found, level);
    if (kind == ENTRY_LEAF) {
      pageLg2 = lg2;
      pageAddress = isSecond ? secondAddress(found) : lpaeAddress(found) & ~(((<u64>1) << lg2) - 1);
      forcesSnoop = isSecond && secondForcesSnoop(found);
      return kind;
    }
    if (kind != ENTRY_TABLE) return kind;
    table = isSecond ? secondAddress(found) : lpaeAddress(found);
    level -= 1;
    mask = 511;
  }
}
