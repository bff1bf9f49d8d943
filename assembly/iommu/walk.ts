// Floor 4: the walk through paging structures, from the top table to the page.

import { PERMISSION_READ, PERMISSION_WRITE } from '../iommu-layout';
import { ENTRY_LEAF, ENTRY_TABLE, ENTRY_UNREADABLE } from './entry-kinds';
import { entry, readEntry } from './tables';
import { secondAddress, secondForcesSnoop, secondKind, secondPageLg2, secondPermissions } from './vtd-second';

/** What the last walk found: the page, and the permissions that all levels have in common. */
export let pageAddress: u64 = 0;
export let pageLg2: u32 = 0;
export let permissions: u32 = 0;
export let forcesSnoop: bool = false;
/** Level of the entry that the walk ended with, 1 for the page table. */
export let lastLevel: u32 = 0;

/** Walks `levels` levels from the table at `root` on for `address`. ENTRY_LEAF: it is translated; else what stopped it. */
export function walkSecond(root: u64, levels: u32, address: u64): u32 {
  let table = root;
  let level = levels;
  permissions = PERMISSION_READ | PERMISSION_WRITE;
  while (true) {
    const lg2 = secondPageLg2(level);
    lastLevel = level;
    if (!readEntry(table + (((address >> lg2) & 511) << 3), level)) return ENTRY_UNREADABLE;
    const found = entry;
    const kind = secondKind(found, level);
    permissions &= secondPermissions(found);
    if (kind == ENTRY_LEAF) {
      pageLg2 = lg2;
      pageAddress = secondAddress(found);
      forcesSnoop = secondForcesSnoop(found);
      return kind;
    }
    if (kind != ENTRY_TABLE) return kind;
    table = secondAddress(found);
    level -= 1;
  }
}
