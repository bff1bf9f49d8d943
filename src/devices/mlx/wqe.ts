/** Work queue elements as bytes: control, Ethernet and data segments of a send, scatter list of a receive. */
import type { U64 } from '../../core/u64.js';
import { INVALID_LKEY, SYNDROME, type Syndrome, UNIT_BYTES } from './layout.js';

// Send WQE of raw Ethernet (sheet mlx.md A4), units of 16 bytes, big-endian:
//
//           +0              +4              +8              +12
//   ctrl    opmod|index|op  sqn      | ds   sig|  |  |flags immediate
//   eth     swp offsets     cs|swp|mss      flow metadata   size |h0 h1|     } inline header: its first two bytes
//   (more)  h2 h3 h4 ...                                                     } here, the others in units of their own
//   data    byte count      lkey            address (8)                      pointer segment
//   data    1<<31 | count   payload ...                                      inline segment, padded to 16 bytes
//
// Receive WQE: pointer segments (A5), in a linked list behind one unit with the index of the next WQE in bytes 2 and 3.

const INLINE = 0x8000_0000; // MLX5_INLINE_SEG
const INLINE_LENGTH = 0x3ff;
const ETHERNET_UNITS = 2; // control and Ethernet segment
const HEADER_AT = 14; // of the inline header in the Ethernet segment
const HEADER_IN_SEGMENT = 2;
const MAX_HEADER = 0x3ff;

export interface Control {
  readonly opcode: number;
  /** Producer counter at the first block. */
  readonly index: number;
  readonly sqn: number;
  /** Units of 16 bytes, this segment included. */
  readonly units: number;
  readonly completion: number;
  readonly solicited: boolean;
}

/** Bytes of host memory under a key. */
export interface Pointer {
  readonly lkey: number;
  readonly address: U64;
  readonly length: number;
}

/** A frame in the order of its bytes: what stands in the WQE, and what has to be fetched. */
export type Part = Uint8Array | Pointer;

/** The first 8 bytes say what the doorbell says too; `bytes` has at least 16. */
export function parseControl(bytes: Uint8Array): Control {
  const view = viewOf(bytes);
  const first = view.getUint32(0);
  const second = view.getUint32(4);
  const flags = view.getUint8(11);
  return {
    opcode: first & 0xff,
    index: (first >>> 8) & 0xffff,
    sqn: second >>> 8,
    units: second & 0x3f,
    completion: (flags >>> 2) & 3,
    solicited: (flags & 2) !== 0,
  };
}

/** The frame of a SEND of `bytes` (whole units), or the syndrome of what is wrong with it. */
export function parseSend(bytes: Uint8Array): readonly Part[] | Syndrome {
  const view = viewOf(bytes);
  const parts: Part[] = [];
  let at = ETHERNET_UNITS * UNIT_BYTES;
  if (at > bytes.length) return SYNDROME.LOCAL_QP_OPERATION;
  const size = view.getUint16(UNIT_BYTES + 12);
  if (size > MAX_HEADER) return SYNDROME.LOCAL_QP_OPERATION; // insert.type and the like
  if (size > 0) {
    const from = UNIT_BYTES + HEADER_AT;
    if (from + size > bytes.length) return SYNDROME.LOCAL_QP_OPERATION;
    parts.push(bytes.slice(from, from + size));
    at += padded(Math.max(0, size - HEADER_IN_SEGMENT));
  }
  while (at < bytes.length) {
    const count = view.getUint32(at);
    if ((count & INLINE) !== 0) {
      const length = count & INLINE_LENGTH;
      if (at + 4 + length > bytes.length) return SYNDROME.LOCAL_QP_OPERATION;
      parts.push(bytes.slice(at + 4, at + 4 + length));
      at += padded(4 + length);
      continue;
    }
    if (count === 0) return SYNDROME.LOCAL_LENGTH; // 2 GiB elsewhere; refused here (A4)
    parts.push(pointer(view, at, count));
    at += UNIT_BYTES;
  }
  return parts;
}

/** Bytes of a frame. */
export function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** The scatter list in `bytes`: it ends at the invalid key or at a segment without bytes. */
export function parseScatter(bytes: Uint8Array): readonly Pointer[] {
  const view = viewOf(bytes);
  const list: Pointer[] = [];
  for (let at = 0; at + UNIT_BYTES <= bytes.length; at += UNIT_BYTES) {
    // Bit 31 asks for padding in front of the payload (MLX5_HW_START_PADDING): it is no length.
    const length = view.getUint32(at) & ~INLINE;
    if (length === 0 || view.getUint32(at + 4) === INVALID_LKEY) break;
    list.push(pointer(view, at, length));
  }
  return list;
}

/** next_wqe_index of a WQE in a linked list. */
export function nextIndex(bytes: Uint8Array): number {
  return viewOf(bytes).getUint16(2);
}

function pointer(view: DataView, at: number, length: number): Pointer {
  return { lkey: view.getUint32(at + 4), address: view.getBigUint64(at + 8), length };
}

function padded(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
