/** The function information block of MPCIFC and STPCIFC: 80 bytes as a guest lays them out, and as fields. */
import { inRange, invalid } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';
import type { FunctionState } from './states.js';

/** Bytes of a block; it stands at a multiple of 8. */
export const FIB_BYTES = 80;

//      0     1              8     9               16                24
//     +-----+--------------+-----+---------------+-----------------+
//   0 | fmt |   reserved   | fc  |   reserved    |      PBA        |
//     +-----+--------------+-----+---------------+-----------------+
//  24 |        PAL         |        IOTA         | int 40 | dib 44 |
//     +--------------------+---------------------+-----------------+
//  48 |        AIBV        |        AISB         |      FMB        |
//     +--------------------+------+--------------+-----------------+
//  72 |      reserved      | GISA |
//     +--------------------+------+
//
//  int, format 0:  r 1 | ISC 3 | NOI 12 | r 2 | AIBVO 6 | SUM 1 | r 1 | AISBO 6
//  int, format 1:  r 4 | NOI 12 | r 16            dib, format 1:  DIBVO 16 | r 16

const AT = {
  format: 0,
  fc: 8,
  pba: 16,
  pal: 24,
  iota: 32,
  interrupts: 40,
  directed: 44,
  aibv: 48,
  aisb: 56,
  fmb: 64,
  gisa: 76,
} as const;

/** Function controls of byte 8 (zpci.md 6.2). */
export const FC = {
  ENABLED: 0x80,
  ERROR: 0x40,
  LOAD_STORE_BLOCKED: 0x20,
  DMA_REGISTERED: 0x10,
} as const;

/** A block as fields. */
export interface Fib {
  /** 0; 1 for directed interrupts. Any other byte is kept, and read as format 0. */
  readonly format: number;
  /** Function controls, `FC` bits. */
  readonly fc: number;
  /** First DMA address of the translation. */
  readonly pba: bigint;
  /** Last DMA address of the translation. */
  readonly pal: bigint;
  /** I/O translation anchor. */
  readonly iota: bigint;
  /** Interruption subclass, 0 to 7; 0 in format 1. */
  readonly isc: number;
  /** Number of interrupts, 12 bits. */
  readonly noi: number;
  /** Bit offset in the interrupt bit vector, 6 bits; 0 in format 1. */
  readonly aibvo: number;
  /** Summary notification is wanted; false in format 1. */
  readonly sum: boolean;
  /** Bit offset in the summary, 6 bits; 0 in format 1. */
  readonly aisbo: number;
  /** Bit offset in the directed bit vector, 16 bits; 0 but in format 1. */
  readonly dibvo: number;
  /** Address of the interrupt bit vector. */
  readonly aibv: bigint;
  /** Address of the summary. */
  readonly aisb: bigint;
  /** Address of the measurement block; its low 4 bits are the key. */
  readonly fmb: bigint;
  /** Designation of the guest interruption state area, 32 bits. */
  readonly gisa: number;
}

type AddressField = 'pba' | 'pal' | 'iota' | 'aibv' | 'aisb' | 'fmb';

/** What a caller gives of a block: a field left out is 0. */
export type FibInput = Partial<Omit<Fib, AddressField>> & { readonly [N in AddressField]?: U64 };

/**
 * The 80 bytes of a block (zpci.md 6.2); reserved ones are 0.
 *
 * Throws `out-of-range` or `invalid-value` when a field does not fit, also one that the format does not have.
 */
export function encodeFib(fib: FibInput): Uint8Array {
  const bytes = new Uint8Array(FIB_BYTES);
  const view = new DataView(bytes.buffer);
  const format = inRange('format', fib.format ?? 0, 0, 0xff);
  const directed = format === 1;
  const number = (field: 'isc' | 'noi' | 'aibvo' | 'aisbo' | 'dibvo', max: number): number =>
    inRange(field, fib[field] ?? 0, 0, max);
  view.setUint8(AT.format, format);
  view.setUint8(AT.fc, inRange('fc', fib.fc ?? 0, 0, 0xff));
  for (const field of ['pba', 'pal', 'iota', 'aibv', 'aisb', 'fmb'] as const)
    view.setBigUint64(AT[field], BigInt(checkU64(field, fib[field] ?? 0)));
  const only = directed ? 0 : 0x3f;
  const sum = fib.sum ?? false;
  if (directed && sum) throw invalid('sum', sum, 'false in format 1', 'out-of-range');
  view.setUint32(
    AT.interrupts,
    (number('isc', only & 7) << 28) |
      (number('noi', 0xfff) << 16) |
      (number('aibvo', only) << 8) |
      (sum ? 0x80 : 0) |
      number('aisbo', only),
  );
  view.setUint16(AT.directed, number('dibvo', directed ? 0xffff : 0));
  view.setUint32(AT.gisa, inRange('gisa', fib.gisa ?? 0, 0, 0xffff_ffff));
  return bytes;
}

/** Reads a block; reserved bits are passed over (zpci.md 6.2). Throws `malformed` unless `bytes` are 80. */
export function decodeFib(bytes: Uint8Array): Fib {
  if (bytes.length !== FIB_BYTES) throw invalid('fib', bytes, `${FIB_BYTES} bytes`, 'malformed');
  const view = new DataView(bytes.buffer, bytes.byteOffset, FIB_BYTES);
  const format = view.getUint8(AT.format);
  const word = view.getUint32(AT.interrupts);
  const directed = format === 1;
  return {
    format,
    fc: view.getUint8(AT.fc),
    pba: view.getBigUint64(AT.pba),
    pal: view.getBigUint64(AT.pal),
    iota: view.getBigUint64(AT.iota),
    isc: directed ? 0 : (word >>> 28) & 7,
    noi: (word >>> 16) & 0xfff,
    aibvo: directed ? 0 : (word >>> 8) & 0x3f,
    sum: !directed && (word & 0x80) !== 0,
    aisbo: directed ? 0 : word & 0x3f,
    dibvo: directed ? view.getUint16(AT.directed) : 0,
    aibv: view.getBigUint64(AT.aibv),
    aisb: view.getBigUint64(AT.aisb),
    fmb: view.getBigUint64(AT.fmb),
    gisa: view.getUint32(AT.gisa),
  };
}

const FC_OF: Partial<Record<FunctionState, number>> = {
  enabled: FC.ENABLED,
  'error-ls-open': FC.ENABLED | FC.ERROR,
  error: FC.ENABLED | FC.ERROR | FC.LOAD_STORE_BLOCKED,
};

/** Function controls that STPCIFC reports in `state`: 0 where it reports none (zpci.md 1.4). */
export function functionControlBits(state: FunctionState, ioatRegistered: boolean): number {
  const bits = FC_OF[state];
  if (bits === undefined) return 0;
  return ioatRegistered ? bits | FC.DMA_REGISTERED : bits;
}
