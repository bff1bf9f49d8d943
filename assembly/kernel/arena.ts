// Floor 1: where things stand in memory. Small blocks are static; the large ones are reserved by one growth at create.
//
//   static blocks | descriptor ring | operation records | payload ring | IOTLB | link | units | host memory | BAR memory
import {
  ACCESS_BLOCK_BYTES,
  COUNTERS_BYTES,
  CREATE_NO_MEMORY,
  CREATE_OK,
  CREATE_TOO_LARGE,
  CREATE_TWICE,
  DESCRIPTOR_STRIDE,
  FIELDS_BYTES,
  FUNCTION_SLOTS,
  FUNCTION_STRIDE,
  IOTLB_ENTRY_LG2,
  IOTLB_LG2,
  OPERATION_SLOTS,
  OPERATION_STRIDE,
  PARAM_BYTES,
  PAYLOAD_BYTES,
  RING_SLOTS,
  WIRE_BYTES,
} from '../layout';

export const FIELDS: usize = memory.data(FIELDS_BYTES, 16);
export const WIRE: usize = memory.data(WIRE_BYTES, 16);
export const PARAMS: usize = memory.data(PARAM_BYTES, 16);
export const ACCESS: usize = memory.data(ACCESS_BLOCK_BYTES, 16);
export const FUNCTIONS: usize = memory.data(FUNCTION_SLOTS * FUNCTION_STRIDE, 16);
export const COUNTERS: usize = memory.data(COUNTERS_BYTES, 16);

export let ring: usize = 0;
export let operations: usize = 0;
export let payload: usize = 0;
export let iotlb: usize = 0;
export let linkRings: usize = 0;
/** IOTLBs of translation units. */
export let unitCaches: usize = 0;
/** Bytes that a timed link and units take: none unless they are asked for before create. */
let linkBytes: u64 = 0;
let unitBytes: u64 = 0;
export let hostMemory: usize = 0;
export let hostBytes: u32 = 0;
export let barMemory: usize = 0;
export let barBytes: u32 = 0;

const PAGE_LG2: u32 = 16;
const ALIGN: u64 = 4096;

function align(value: u64): u64 {
  return (value + (ALIGN - 1)) & ~(ALIGN - 1);
}

/** Room for a timed link in the memory that `createArena` reserves. */
export function reserveLink(bytes: u32): void {
  linkBytes = bytes;
}

/** Room for the IOTLBs of translation units, likewise. */
export function reserveUnits(bytes: u64): void {
  unitBytes = bytes;
}

/** Reserves everything a machine ever needs. Answers CREATE_*; memory never grows after CREATE_OK. */
export function createArena(hostSize: u32, barSize: u32): u32 {
  if (ring != 0) return CREATE_TWICE;
  const ringAt: u64 = align(<u64>__heap_base);
  const operationsAt = align(ringAt + RING_SLOTS * DESCRIPTOR_STRIDE);
  const payloadAt = align(operationsAt + OPERATION_SLOTS * OPERATION_STRIDE);
  const iotlbAt = align(payloadAt + PAYLOAD_BYTES);
  const linkAt = align(iotlbAt + (1 << (IOTLB_LG2 + IOTLB_ENTRY_LG2)));
  const unitsAt = align(linkAt + linkBytes);
  const hostAt = align(unitsAt + unitBytes);
  const barAt = align(hostAt + hostSize);
  // One page more than used: vector copies may read up to 15 bytes past a region.
  const end = align(barAt + barSize) + ALIGN;
  if (end > 0xffff0000) return CREATE_TOO_LARGE;
  const pages = <i32>((end + 0xffff) >> PAGE_LG2);
  const missing = pages - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) return CREATE_NO_MEMORY;
  ring = <usize>ringAt;
  operations = <usize>operationsAt;
  payload = <usize>payloadAt;
  iotlb = <usize>iotlbAt;
  linkRings = <usize>linkAt;
  unitCaches = <usize>unitsAt;
  hostMemory = <usize>hostAt;
  hostBytes = hostSize;
  barMemory = <usize>barAt;
  barBytes = barSize;
  return CREATE_OK;
}

/** Clears host memory, BAR memory and counters: as after create. */
export function clearArena(): void {
  memory.fill(hostMemory, 0, hostBytes);
  memory.fill(barMemory, 0, barBytes);
  memory.fill(COUNTERS, 0, COUNTERS_BYTES);
}

/** Copies for the hottest ways, inlined. */
export class Copy {
  /** Data of a TLP: mostly 64 bytes. */
  @inline
  static data(to: usize, from: usize, bytes: u32): void {
    if (bytes == 64) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
      v128.store(to, v128.load(from, 32), 32);
      v128.store(to, v128.load(from, 48), 48);
    } else copyBytes(to, from, bytes);
  }
}

/** Copies bytes; vectors of 16 first, since WebAssembly engines neither vectorise loops nor inline small copies. */
export function copyBytes(to: usize, from: usize, bytes: u32): void {
  if (bytes >= 256) {
    memory.copy(to, from, bytes);
    return;
  }
  let at: u32 = 0;
  while (at + 16 <= bytes) {
    v128.store(to + at, v128.load(from + at));
    at += 16;
  }
  if (bytes & 8) {
    store<u64>(to + at, load<u64>(from + at));
    at += 8;
  }
  if (bytes & 4) {
    store<u32>(to + at, load<u32>(from + at));
    at += 4;
  }
  if (bytes & 2) {
    store<u16>(to + at, load<u16>(from + at));
    at += 2;
  }
  if (bytes & 1) store<u8>(to + at, load<u8>(from + at));
}
