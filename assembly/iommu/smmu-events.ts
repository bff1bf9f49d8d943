// Floor 4: events of an SMMUv3 (iommu.md 4.5, 11.2), and why the structures of a stream could not be used.

import { ENTRY_FORBIDDEN, ENTRY_TOO_WIDE, ENTRY_UNREADABLE, ENTRY_UNUSED } from './formats';

// Of configuration.
export const C_BAD_STREAMID: u32 = 0x02;
export const F_STE_FETCH: u32 = 0x03;
export const C_BAD_STE: u32 = 0x04;
export const F_STREAM_DISABLED: u32 = 0x06;
export const C_BAD_SUBSTREAMID: u32 = 0x08;
export const F_CD_FETCH: u32 = 0x09;
export const C_BAD_CD: u32 = 0x0a;
// Of translation.
export const F_WALK_EABT: u32 = 0x0b;
export const F_TRANSLATION: u32 = 0x10;
export const F_ADDR_SIZE: u32 = 0x11;
const F_ACCESS: u32 = 0x12;
export const F_PERMISSION: u32 = 0x13;

// Flags of an event. Its class is what could not be translated: the address of a context descriptor, that of a table, or the
// one that came in.
export const READ_NOT_WRITE: u32 = 1;
export const CLASS_DESCRIPTOR: u32 = 0 << 1;
export const CLASS_TABLE: u32 = 1 << 1;
export const CLASS_INPUT: u32 = 2 << 1;
export const OF_STAGE_2: u32 = 1 << 3;
export const PRIVILEGED: u32 = 1 << 4;

/** Event of a walk that ended with `kind` (ENTRY_*). */
export function eventOf(kind: u32): u32 {
  if (kind == ENTRY_FORBIDDEN) return F_PERMISSION;
  if (kind == ENTRY_UNUSED) return F_ACCESS;
  if (kind == ENTRY_TOO_WIDE) return F_ADDR_SIZE;
  return kind == ENTRY_UNREADABLE ? F_WALK_EABT : F_TRANSLATION;
}

/** Why a stream cannot be used: event, the address that could not be read or translated, flags, whether it is recorded. */
export let configEvent: u32 = 0;
export let configFetch: u64 = 0;
export let configFlags: u32 = 0;
export let isConfigRecorded: bool = false;

/** Answers false. */
export function fail(event: u32, fetch: u64): bool {
  return failOf(event, fetch, 0, true);
}

/** The same, of an address that stage 2 did not translate. */
export function failOf(event: u32, fetch: u64, flags: u32, isRecorded: bool): bool {
  configEvent = event;
  configFetch = fetch;
  configFlags = flags;
  isConfigRecorded = isRecorded;
  return false;
}
