// Floor 4: formats of paging structures, and what an entry of one is to a request.
//
// Entries have 8 bytes; tables have 512, unless the format says otherwise. Levels count from 1, the one of 4 KiB pages.

export const FORMAT_SECOND: u32 = 0; // VT-d second stage: vtd-second.ts
export const FORMAT_LPAE: u32 = 1; // Armv8 stage 1: lpae.ts
export const FORMAT_FIRST: u32 = 2; // VT-d first stage: vtd-first.ts
export const FORMAT_AMD: u32 = 3; // AMD v1: amd-v1.ts
export const FORMAT_LPAE_2: u32 = 4; // Armv8 stage 2: lpae-stage2.ts
export const FORMAT_S390: u32 = 5; // s390: s390-tables.ts

export const ENTRY_TABLE: u32 = 0;
export const ENTRY_LEAF: u32 = 1;
/** Not present; in VT-d also without the permission that the request needs. */
export const ENTRY_DENIED: u32 = 2;
export const ENTRY_RESERVED: u32 = 3;
/** Of a walk alone: the table is not in memory. */
export const ENTRY_UNREADABLE: u32 = 4;
/** The page does not allow the access, or was never to be accessed (access flag), or has an address that is too wide. */
export const ENTRY_FORBIDDEN: u32 = 5;
export const ENTRY_UNUSED: u32 = 6;
export const ENTRY_TOO_WIDE: u32 = 7;
/** AMD: names a level or a page size that cannot follow here. */
export const ENTRY_LEVEL: u32 = 8;
/** The page is for privileged requests. */
export const ENTRY_SUPERVISOR: u32 = 9;

/** Log2 of what an entry at `level` covers. */
export function levelLg2(level: u32): u32 {
  return 3 + 9 * level;
}
