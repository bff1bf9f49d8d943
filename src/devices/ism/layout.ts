/** Where things are in the command window, the signal area and the event queue of ISM (ism.md 3 to 6). All big-endian. */

// Command window, BAR 2: one half is written, the other one read, at the same offsets.
//
//   0        2        4         6         8
//   | command         | 0 / ret | length  | request or response ...
//
// Signal block area (SBA), a page of guest memory:
//
//   0            4                      244     256
//   | S E        | 60 words: DMB bits   |       | 1920 x u16: mask of each DMB |
//     bits 0, 1    bit n is that of SBA index n, counted from the most significant
//
// Event queue (IEQ), another page:
//
//   0       8              16             32
//   | idx   | queue length | entry length | 15 entries: type 4, code 4, token 8, time 8, info 8 |
//     idx: number of the last entry that was written, plus 1
//
// Offset of a move in BAR 0:
//
//   63               28 27   24 23 22              0
//   | DMB token        | idx  |SF| offset in the DMB |

export const WINDOW_BYTES = 4096;
export const HEADER_BYTES = 8;

export const REG_SBA = 0x01;
export const REG_IEQ = 0x02;
export const READ_GID = 0x03;
export const ADD_VLAN_ID = 0x04;
export const DEL_VLAN_ID = 0x05;
export const SET_VLAN = 0x06;
export const RESET_VLAN = 0x07;
export const QUERY_INFO = 0x08;
export const QUERY_RGID = 0x09;
export const REG_DMB = 0x0a;
export const UNREG_DMB = 0x0b;
export const SIGNAL_IEQ = 0x0e;
export const UNREG_SBA = 0x11;
export const UNREG_IEQ = 0x12;

/** Bytes of each request and of its response, headers included (ism.md 3.2). */
export const COMMANDS: ReadonlyMap<number, { readonly request: number; readonly response: number }> = new Map(
  (
    [
      [REG_SBA, 16, 8],
      [REG_IEQ, 24, 8],
      [READ_GID, 8, 16],
      [ADD_VLAN_ID, 16, 8],
      [DEL_VLAN_ID, 16, 8],
      [SET_VLAN, 8, 8],
      [RESET_VLAN, 8, 8],
      [QUERY_INFO, 8, 200],
      [QUERY_RGID, 24, 8],
      [REG_DMB, 40, 16],
      [UNREG_DMB, 16, 8],
      [SIGNAL_IEQ, 32, 8],
      [UNREG_SBA, 8, 8],
      [UNREG_IEQ, 8, 8],
    ] as const
  ).map(([code, request, response]) => [code, { request, response }]),
);

// Return codes. 0 and GONE are what Linux knows; the others are choices of this model (ism.md 9).
export const DONE = 0;
/** An unregister call for something that is not registered. */
export const GONE = 0xffff;
/** No such command, or another length than the command has. */
export const BAD_COMMAND = 1;
/** A value that cannot be: address, length, index, VLAN. */
export const BAD_VALUE = 2;
/** The GID is nobody's, or the VLAN is not shared. */
export const UNREACHABLE = 3;
/** It is registered already, or there is no room. */
export const TAKEN = 4;

export const SBA_FIRST_INDEX = 32;
export const SBA_LAST_INDEX = 1919;
const SBA_BITS = 4;
const SBA_MASKS = 256;
/** Bits of the first byte of the SBA. */
export const SBA_SUMMARY = 0x80;
export const SBA_EVENT = 0x40;

/** The byte of the SBA with the bit of DMB `index`, and the bit. */
export function dmbBit(index: number): { readonly offset: number; readonly bit: number } {
  return { offset: SBA_BITS + (index >>> 3), bit: 0x80 >>> (index & 7) };
}

/** The u16 of the SBA that says which elements of DMB `index` were written. */
export function maskOffset(index: number): number {
  return SBA_MASKS + 2 * index;
}

export const IEQ_BYTES = 512;
export const IEQ_ENTRIES = 15;
export const IEQ_ENTRY_BYTES = 32;
export const IEQ_HEADER_BYTES = 32;
/** A peer is gone: token is its GID. */
export const EVENT_GID = 1;
/** What SIGNAL_IEQ of a peer sent: token is its GID. */
export const EVENT_SOFTWARE = 2;

export const DMB_MOST_BYTES = 2 ** 20;
/** Bits of a move's offset below the token. */
export const TOKEN_SHIFT = 28;
/** BAR 0, as wide as tokens are: 20 bits above the offset. */
export const TOKEN_BITS = 20;
export const MOVE_BAR_BYTES = 2 ** (TOKEN_SHIFT + TOKEN_BITS);

/** The parts of a move's offset. */
export interface MoveRequest {
  readonly token: bigint;
  /** Number of the element, 0 to 15. */
  readonly element: number;
  /** SF: the receiver is told. */
  readonly isSignal: boolean;
  /** In the DMB, 23 bits. */
  readonly offset: number;
}

export function decodeMove(offset: number | bigint): MoveRequest {
  const value = BigInt(offset);
  const low = Number(value & 0xfff_ffffn);
  return {
    token: value - BigInt(low),
    element: low >>> 24,
    isSignal: (low & 0x80_0000) !== 0,
    offset: low & 0x7f_ffff,
  };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
