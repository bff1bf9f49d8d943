/** The function measurement block: the writes of one update. */
import { inRange, invalid } from '../base/errors.js';
import { add64, checkU64, type U64 } from '../core/u64.js';
import { PEC } from './events.js';

//      0     1               4              8                          16
//     +-----+---------------+--------------+--------------------------+
//   0 | fmt |  indicators   |   samples    | last update: TOD << 1, U |
//     +-----+---------------+--------------+--------------------------+
//  16 |        PCI loads                   |       PCI stores         |
//     +------------------------------------+--------------------------+
//  32 |     PCI store blocks               |       refreshes          |
//     +------------------------------------+--------------------------+
//  48 |  further counters: two, four, two or one, by format 0 to 3     |
//     +---------------------------------------------------------------+

/** Counters that every format has: successful instructions, one each whatever their length (zpci.md 7). */
export interface FmbCounters {
  readonly loads: U64;
  readonly stores: U64;
  readonly storeBlocks: U64;
  readonly refreshes: U64;
}

/** Further counters from offset 48 on, by format (zpci.md 7). */
export const FMB_FORMAT_COUNTERS = [
  ['dmaBytesRead', 'dmaBytesWritten'],
  ['rxBytes', 'rxPackets', 'txBytes', 'txPackets'],
  ['consumedWorkUnits', 'maximumWorkUnits'],
  ['txBytes'],
] as const;

/** The block has to stand at a multiple of this many bytes. */
export const FMB_ALIGNMENT = 16;

const SAMPLES = 4;
const LAST_UPDATE = 8;
const COUNTERS = 16;
const FURTHER = 48;
/** In word 0, with format 0: the DMA counters are valid. */
const DMA_COUNTERS_VALID = 0x80_0000;

/** One store into guest memory. */
export interface FmbWrite {
  readonly address: U64;
  /** Big-endian as they go to memory. */
  readonly bytes: Uint8Array;
}

/** What an update stores. */
export interface FmbUpdateInput {
  /** Address of the block: a multiple of 16. */
  readonly address: U64;
  /** Updates done before, 32 bits. */
  readonly samples: number;
  /** Time of day when the update begins and when it ends, 64 bits; the end is the beginning if left out. */
  readonly tod: U64;
  readonly todAtEnd?: U64;
  readonly counters: FmbCounters;
  /** Format 0 to 3; default 0. Like QEMU, an update of format 0 without further counters leaves word 0 alone. */
  readonly format?: 0 | 1 | 2 | 3;
  /** Further counters in the order of `FMB_FORMAT_COUNTERS`; without them nothing from offset 48 on is stored. */
  readonly further?: readonly U64[];
}

export interface FmbUpdate {
  /** The stores in order. The block is in update, and says so, from the first to before the last. */
  readonly writes: readonly FmbWrite[];
  /** Number of updates done afterwards, modulo 2^32. */
  readonly samples: number;
}

/**
 * One update of a measurement block (zpci.md 7). When a store fails, the caller stops there, ends the updates and
 * reports `fmbFailure`.
 *
 * Throws `out-of-range` or `invalid-value` for a value that does not fit its field.
 */
export function updateFmb(input: FmbUpdateInput): FmbUpdate {
  const { counters, tod, todAtEnd = tod, format = 0, further } = input;
  const address = checkU64('address', input.address);
  if (BigInt(address) % BigInt(FMB_ALIGNMENT) !== 0n)
    throw invalid('address', address, `a multiple of ${FMB_ALIGNMENT}`);
  const names = FMB_FORMAT_COUNTERS[inRange('format', format, 0, 3)] ?? [];
  if (further !== undefined && further.length !== names.length)
    throw invalid('further', further.length, `${names.length} counters: ${names.join(', ')}`);
  const samples = inRange('samples', input.samples, 0, 0xffff_ffff);
  const at = (offset: number, bytes: Uint8Array): FmbWrite => ({ address: add64(address, offset), bytes });
  const time = (value: U64): bigint => BigInt.asUintN(64, BigInt(checkU64('tod', value)) << 1n);
  const { loads, stores, storeBlocks, refreshes } = counters;
  const wide = (values: readonly U64[], from: number): FmbWrite[] =>
    values.map((value, n) => at(from + 8 * n, bytes64(BigInt(checkU64('counters', value)))));
  const head = format !== 0 || further !== undefined ? [at(0, bytes32(wordZero(format)))] : [];
  return {
    writes: [
      at(LAST_UPDATE, bytes64(time(tod) | 1n)),
      ...head,
      at(SAMPLES, bytes32(samples)),
      ...wide([loads, stores, storeBlocks, refreshes], COUNTERS),
      ...wide(further ?? [], FURTHER),
      at(LAST_UPDATE, bytes64(time(todAtEnd))),
    ],
    samples: (samples + 1) >>> 0,
  };
}

function wordZero(format: number): number {
  return format === 0 ? DMA_COUNTERS_VALID : (format << 24) >>> 0;
}

/** The error event for a block that could not be stored into at `address`; updates end with it (zpci.md 7). */
export function fmbFailure(address: U64): { readonly pec: number; readonly address: U64 } {
  return { pec: PEC.FMB_ADDRESS, address };
}

function bytes32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function bytes64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}
