/** The fields of configuration space that change how a function behaves, decoded. */
import { join64, type U64 } from '../core/u64.js';
import type { BarKind, BarLayout } from './bars.js';
import { word32 } from './capabilities.js';
import { COMMAND, REG } from './registers.js';

/** The Command register (PCI local bus specification 3.0 section 6.2.2). */
export interface CommandState {
  readonly io: boolean;
  readonly memory: boolean;
  readonly busMaster: boolean;
  readonly parityErrorResponse: boolean;
  readonly serr: boolean;
  readonly intxDisable: boolean;
}

/** A base address register with the address that it holds; while software sizes it, all ones that stick. */
export interface BarState {
  /** 0 to 5, or 6 for the expansion ROM. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Bytes. */
  readonly size: number;
  readonly address: U64;
  /** The ROM's own enable bit; true for the others, whose decoder the Command register alone enables. */
  readonly enabled: boolean;
}

/** MSI-X Message Control (PCI local bus specification 3.0 section 6.8.2.3). */
export interface MsixState {
  readonly enable: boolean;
  readonly functionMask: boolean;
  /** Entries of the table, 1 to 2048. */
  readonly vectors: number;
}

/** The MSI capability (PCI local bus specification 3.0 section 6.8.1). */
export interface MsiState {
  readonly enable: boolean;
  /** Vectors that may be used: what was enabled, at most what the function asked for. */
  readonly vectors: number;
  readonly address: U64;
  readonly data: number;
  /** A set bit masks its vector; 0 without per-vector masking. */
  readonly mask: number;
}

/** Device Control (PCIe base specification 4.0 section 7.5.3.4). */
export interface DeviceControlState {
  /** Max_Payload_Size in bytes, 128 to 4096; a reserved encoding counts as 128. */
  readonly mps: number;
  /** Max_Read_Request_Size in bytes, 128 to 4096; a reserved encoding counts as 128. */
  readonly mrrs: number;
  readonly relaxedOrdering: boolean;
  readonly noSnoop: boolean;
  readonly extendedTag: boolean;
}

/** D0, D1, D2, D3hot. */
export type PowerState = 0 | 1 | 2 | 3;

/** Two bytes as a little-endian number. */
export function word16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8);
}

export function readCommand(bytes: Uint8Array): CommandState {
  const command = word16(bytes, REG.COMMAND);
  const has = (bit: number): boolean => (command & bit) !== 0;
  return {
    io: has(COMMAND.IO),
    memory: has(COMMAND.MEMORY),
    busMaster: has(COMMAND.BUS_MASTER),
    parityErrorResponse: has(COMMAND.PARITY),
    serr: has(COMMAND.SERR),
    intxDisable: has(COMMAND.INTX_DISABLE),
  };
}

/** Bits of a BAR's register that are no address, by kind. */
const FLAG_BITS: Readonly<Record<BarKind, number>> = { io: 3, memory32: 15, memory64: 15, rom: 0x7ff };

export function readBar(
  bytes: Uint8Array,
  { index, kind, prefetchable, size, register }: BarLayout,
): BarState {
  const raw = word32(bytes, register);
  const address = join64(
    (raw & ~FLAG_BITS[kind]) >>> 0,
    kind === 'memory64' ? word32(bytes, register + 4) : 0,
  );
  return { index, kind, prefetchable, size, address, enabled: kind !== 'rom' || (raw & 1) === 1 };
}

/** @param at offset of the capability, as in the functions below */
export function readMsix(bytes: Uint8Array, at: number): MsixState {
  const control = word16(bytes, at + 2);
  return {
    enable: (control & 0x8000) !== 0,
    functionMask: (control & 0x4000) !== 0,
    vectors: (control & 0x7ff) + 1,
  };
}

export function readMsi(bytes: Uint8Array, at: number): MsiState {
  const control = word16(bytes, at + 2);
  const is64 = (control & 0x80) !== 0;
  const data = at + (is64 ? 12 : 8);
  return {
    enable: (control & 1) !== 0,
    vectors: 1 << Math.min((control >>> 4) & 7, (control >>> 1) & 7, 5),
    address: join64(word32(bytes, at + 4), is64 ? word32(bytes, at + 8) : 0),
    data: (control & 0x400) === 0 ? word16(bytes, data) : word32(bytes, data),
    mask: (control & 0x100) === 0 ? 0 : word32(bytes, data + 4),
  };
}

/** Bytes of an encoding of Max_Payload_Size or Max_Read_Request_Size; 6 and 7 are reserved. */
export function payloadBytes(encoding: number): number {
  return encoding > 5 ? 128 : 128 << encoding;
}

export function readDeviceControl(bytes: Uint8Array, at: number): DeviceControlState {
  const control = word16(bytes, at + 8);
  return {
    mps: payloadBytes((control >>> 5) & 7),
    mrrs: payloadBytes((control >>> 12) & 7),
    relaxedOrdering: (control & 0x0010) !== 0,
    noSnoop: (control & 0x0800) !== 0,
    extendedTag: (control & 0x0100) !== 0,
  };
}

export function readPowerState(bytes: Uint8Array, at: number): PowerState {
  return ((bytes[at + 4] as number) & 3) as PowerState;
}
