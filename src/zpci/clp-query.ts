/** Responses of CLP query PCI function and query PCI function group, byte for byte. */
import type { ClpFunction, ClpGroup, ClpView, MioAddresses } from './clp-types.js';

// Offsets count from the start of the response; bytes 0 to 15 are its header (zpci.md 4.4, 4.5).
//
//  function      +0        +2    +3       +4                 +8                        +14
//            16 | vfn     |flags|pfgid   | FID              | 6 size exponents        | PCHID |
//            32 | 6 BAR words, 4 bytes each                  56 | path 4 | port 2 |fmbl|pft |
//            64 | SDMA    |  72 EDMA     |  80 RID | .. 86 TID | ...            124 | UID     |
//           128 | utility string 64      | 192 reserved 64
//           256 | valid bits | r 4 | 6 x { write-back 8, write-through 8 } | reserved
//
//  group         +0        +2    +3       +4        +6        +8    +10       +12      +14
//            16 | noi     | ver | flags  | maxstbl | mui     |dtsm | maxfaal | dnoi   | CPUs  |
//            32 | DASM                   | MSIA              | 48 reserved 16

/** Bytes of the response of query function; without MIO addresses only the first 192 are written. */
export const QUERY_FUNCTION_BYTES = 384;
const QUERY_FUNCTION_BASE = 192;
const QUERY_GROUP_BYTES = 64;
const HEADER = 16;
const BARS = 6;
const UTILITY_STRING_BYTES = 64;

const QUERY_FLAGS = {
  TID: 0x20,
  RID: 0x10,
  PHYSICAL: 0x08,
  MIO: 0x02,
  UTILITY_STRING: 0x01,
} as const;

const GROUP_FLAGS = { REFRESH: 0x01, FRAME: 0x02, RELAXED: 0x08, RTR: 0x20 } as const;

const bit = (on: boolean | undefined, mask: number): number => (on === true ? mask : 0);

/** Writes bytes 16 and up of the response of query function into `response`, at least 384 bytes. */
export function writeFunction(
  response: DataView,
  fn: ClpFunction,
  { clpBarWords }: Pick<ClpView, 'clpBarWords'>,
): void {
  clear(response, HEADER, QUERY_FUNCTION_BASE);
  response.setUint16(16, fn.vfn ?? 0);
  response.setUint8(18, flagsOf(fn));
  response.setUint8(19, fn.groupId);
  response.setUint32(20, fn.fid);
  response.setUint16(30, fn.pchid ?? 0);
  for (let n = 0; n < BARS; n++) {
    const bar = fn.bars[n];
    if (bar === undefined) continue;
    response.setUint8(24 + n, bar.sizeExponent);
    response.setUint32(32 + 4 * n, bar.word, clpBarWords === 'little');
  }
  copy(response, 56, fn.path, 4);
  response.setUint16(60, (fn.port ?? 0) & 0xf);
  response.setUint8(62, (fn.fmbBytes ?? 0) >> 2);
  response.setUint8(63, fn.type ?? 0);
  response.setBigUint64(64, BigInt(fn.sdma));
  response.setBigUint64(72, BigInt(fn.edma));
  response.setUint16(80, fn.rid ?? 0);
  response.setUint16(86, fn.tid ?? 0);
  response.setUint32(124, fn.uid ?? 0);
  copy(response, 128, fn.utilityString, UTILITY_STRING_BYTES);
  if (fn.mio === undefined) return;
  clear(response, QUERY_FUNCTION_BASE, QUERY_FUNCTION_BYTES);
  writeMio(response, 256, fn.mio);
}

function flagsOf({ tid, rid, isPhysicalFunction, mio, utilityString }: ClpFunction): number {
  return (
    bit(tid !== undefined, QUERY_FLAGS.TID) |
    bit(rid !== undefined, QUERY_FLAGS.RID) |
    bit(isPhysicalFunction, QUERY_FLAGS.PHYSICAL) |
    bit(mio !== undefined, QUERY_FLAGS.MIO) |
    bit(utilityString !== undefined, QUERY_FLAGS.UTILITY_STRING)
  );
}

/** The MIO information of 128 bytes at `at`, which holds zeros; also part of the response of set function. */
export function writeMio(response: DataView, at: number, mio: readonly (MioAddresses | undefined)[]): void {
  let valid = 0;
  for (let n = 0; n < BARS; n++) {
    const addresses = mio[n];
    if (addresses === undefined) continue;
    valid |= 0x8000_0000 >>> n;
    response.setBigUint64(at + 8 + 16 * n, BigInt(addresses.writeBack));
    response.setBigUint64(at + 16 + 16 * n, BigInt(addresses.writeThrough));
  }
  response.setUint32(at, valid >>> 0);
}

/** Writes bytes 16 to 63 of the response of query group into `response`. */
export function writeGroup(response: DataView, group: ClpGroup): void {
  clear(response, HEADER, QUERY_GROUP_BYTES);
  response.setUint16(16, group.noi & 0xfff);
  response.setUint8(18, group.version ?? 0);
  response.setUint8(
    19,
    bit(group.refresh, GROUP_FLAGS.REFRESH) |
      bit(group.frame, GROUP_FLAGS.FRAME) |
      bit(group.relaxed, GROUP_FLAGS.RELAXED) |
      bit(group.rtr, GROUP_FLAGS.RTR),
  );
  response.setUint16(20, group.maxstbl & 0x1fff);
  response.setUint16(22, group.mui);
  response.setUint8(24, group.dtsm);
  response.setUint16(26, group.maxfaal ?? 0);
  response.setUint16(28, (group.directedInterrupts ?? 0) & 0xfff);
  response.setUint16(30, group.directedCpus ?? 0);
  response.setBigUint64(32, BigInt(group.dasm ?? 0));
  response.setBigUint64(40, BigInt(group.msia));
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function clear(view: DataView, from: number, to: number): void {
  bytesOf(view).fill(0, from, to);
}

function copy(view: DataView, at: number, bytes: Uint8Array | undefined, most: number): void {
  if (bytes !== undefined) bytesOf(view).set(bytes.subarray(0, most), at);
}
