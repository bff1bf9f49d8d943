// Floor 4: the questions that a walk asks about an entry, answered by the file of its format.
//
// `format` is a constant wherever they are asked, so that of each format remains a walk of its own.

import { FORMAT_FIRST, FORMAT_SECOND } from './formats';
import { lpaeAddress, lpaeKind, lpaePermissions } from './lpae';
import { firstAddress, firstKind, firstPermissions } from './vtd-first';
import { secondAddress, secondForcesSnoop, secondKind, secondNeeds, secondPermissions } from './vtd-second';

export class Entry {
  /** ENTRY_* of `found` at `level`. */
  @inline
  static kind(format: u32, found: u64, level: u32): u32 {
    if (format == FORMAT_FIRST) return firstKind(found, level);
    return format == FORMAT_SECOND ? secondKind(found, level) : lpaeKind(found, level);
  }

  /** PERMISSION_* that it leaves. */
  @inline
  static permissions(format: u32, found: u64, level: u32): u32 {
    if (format == FORMAT_FIRST) return firstPermissions(found);
    return format == FORMAT_SECOND ? secondPermissions(found) : lpaePermissions(found, level);
  }

  /** Address of the table or page that it names. */
  @inline
  static address(format: u32, found: u64): u64 {
    if (format == FORMAT_FIRST) return firstAddress(found);
    return format == FORMAT_SECOND ? secondAddress(found) : lpaeAddress(found);
  }

  /** The page takes No Snoop away from requests. */
  @inline
  static forcesSnoop(format: u32, found: u64): bool {
    return format == FORMAT_SECOND && secondForcesSnoop(found);
  }

  /** The permission that a walk of a second stage is for: the tables of the first are read. */
  @inline
  static needs(_format: u32, isWrite: bool): void {
    secondNeeds(isWrite);
  }
}
