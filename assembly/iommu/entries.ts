// Floor 4: the questions that a walk asks about an entry, answered by the file of its format.
//
// `format` is a constant wherever they are asked of one stage, so that of each format remains a walk of its own.

import {
  amdAddress,
  amdForcesSnoop,
  amdKind,
  amdNext,
  amdPageLg2,
  amdPermissions,
  amdUpdated,
} from './amd-v1';
import {
  FORMAT_AMD,
  FORMAT_FIRST,
  FORMAT_LPAE,
  FORMAT_LPAE_2,
  FORMAT_S390,
  FORMAT_SECOND,
  levelLg2,
} from './formats';
import {
  lpaeAddress,
  lpaeIsCacheable,
  lpaeKind,
  lpaePermissions,
  lpaeTake,
  lpaeTaken,
  lpaeUpdated,
} from './lpae';
import {
  stage2Address,
  stage2IsCacheable,
  stage2Kind,
  stage2Needs,
  stage2Permissions,
  stage2Updated,
} from './lpae-stage2';
import {
  readS390,
  s390Address,
  s390Entry,
  s390Kind,
  s390Lg2,
  s390Mask,
  s390Permissions,
} from './s390-tables';
import { entry, readEntry } from './tables';
import { firstAddress, firstKind, firstPermissions } from './vtd-first';
import { Second, secondAddress, secondForcesSnoop, secondNeeds, secondPermissions } from './vtd-second';

export class Entry {
  /** Reads the entry at `at`. False: a bus error. */
  @inline
  static read(format: u32, at: u64, level: u32): bool {
    if (format != FORMAT_S390) return readEntry(at, level);
    readS390(at);
    return true;
  }

  /** The entry that was read last. */
  @inline
  static found(format: u32): u64 {
    return format == FORMAT_S390 ? s390Entry : entry;
  }

  /** Log2 of what an entry at `level` covers. */
  @inline
  static lg2(format: u32, level: u32): u32 {
    return format == FORMAT_S390 ? s390Lg2(level) : levelLg2(level);
  }

  /** Index bits of a whole table of `level`, as a mask. */
  @inline
  static mask(format: u32, level: u32): u64 {
    return format == FORMAT_S390 ? s390Mask(level) : 511;
  }

  /** ENTRY_* of `found` at `level`. */
  @inline
  static kind(format: u32, found: u64, level: u32): u32 {
    if (format == FORMAT_FIRST) return firstKind(found, level);
    if (format == FORMAT_SECOND) return Second.kind(found, level);
    if (format == FORMAT_AMD) return amdKind(found, level);
    if (format == FORMAT_LPAE_2) return stage2Kind(found, level);
    if (format == FORMAT_S390) return s390Kind(found, level);
    return lpaeKind(found, level);
  }

  /** PERMISSION_* that it leaves. */
  @inline
  static permissions(format: u32, found: u64, level: u32): u32 {
    if (format == FORMAT_FIRST) return firstPermissions(found);
    if (format == FORMAT_SECOND) return secondPermissions(found);
    if (format == FORMAT_AMD) return amdPermissions(found);
    if (format == FORMAT_LPAE_2) return stage2Permissions(found, level);
    if (format == FORMAT_S390) return s390Permissions(found);
    return lpaePermissions(found, level);
  }

  /** Address of the table or page that it names. */
  @inline
  static address(format: u32, found: u64, level: u32): u64 {
    if (format == FORMAT_FIRST) return firstAddress(found);
    if (format == FORMAT_SECOND) return secondAddress(found);
    if (format == FORMAT_AMD) return amdAddress(found);
    if (format == FORMAT_LPAE_2) return stage2Address(found);
    if (format == FORMAT_S390) return s390Address(found, level);
    return lpaeAddress(found);
  }

  /** Log2 of the page that it names. */
  @inline
  static pageLg2(format: u32, found: u64, level: u32): u32 {
    return format == FORMAT_AMD ? amdPageLg2(found, level) : Entry.lg2(format, level);
  }

  /** Level of the table that it names, lower than `level`. */
  @inline
  static next(format: u32, found: u64, level: u32): u32 {
    return format == FORMAT_AMD ? amdNext(found) : level - 1;
  }

  /** The page takes No Snoop away from requests. */
  @inline
  static forcesSnoop(format: u32, found: u64): bool {
    if (format == FORMAT_SECOND) return secondForcesSnoop(found);
    return format == FORMAT_AMD && amdForcesSnoop(found);
  }

  /** The memory type of the page is one that caches are asked for. Arm alone has types. */
  @inline
  static isCacheable(format: u32, found: u64): bool {
    if (format == FORMAT_LPAE) return lpaeIsCacheable(found);
    return format != FORMAT_LPAE_2 || stage2IsCacheable(found);
  }

  /** What the entry of a page becomes with the access: flags that hardware sets. */
  @inline
  static updated(format: u32, found: u64): u64 {
    if (format == FORMAT_FIRST || format == FORMAT_SECOND || format == FORMAT_S390) return found;
    if (format == FORMAT_AMD) return amdUpdated(found);
    if (format == FORMAT_LPAE_2) return stage2Updated(found);
    return lpaeUpdated(found);
  }

  /** What the tables so far took away, beside permissions: Arm's first stage alone has such. */
  @inline
  static taken(format: u32): u32 {
    return format == FORMAT_LPAE ? lpaeTaken() : 0;
  }

  /** Tables that the walk leaves out took `what` away. */
  @inline
  static take(format: u32, what: u32): void {
    if (format == FORMAT_LPAE) lpaeTake(what);
  }

  /** The permission that a walk of a second stage is for: with `isTable` for a structure of the first stage. */
  @inline
  static needs(format: u32, isWrite: bool, isTable: bool): void {
    if (format == FORMAT_SECOND) secondNeeds(isWrite);
    else stage2Needs(isWrite, isTable);
  }
}
