/** The records that tell a guest of PCI errors and of functions that come and go: 32 bytes each, big-endian. */
import * as L from '../../assembly/layout.js';
import { inRange, invalid } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';

/** PCI event codes (zpci.md 5.6). Those from 0x0300 stand in availability records, the others in error records. */
export const PEC = {
  INVALID_ADDRESS_SPACE: L.EVENT_INVALID_SPACE,
  OUT_OF_RANGE: L.EVENT_OUT_OF_RANGE,
  INVALID_TRANSACTION_FORMAT: 0x3,
  TRANSLATION_PROTECTION: L.EVENT_TRANSLATION,
  ACCESS_PROTECTION: 0x5,
  KEY: 0x6,
  INVALID_TABLE_ENTRY: L.EVENT_INVALID_ENTRY,
  INVALID_TABLE_LENGTH: L.EVENT_TABLE_LENGTH,
  TABLE_TYPE: L.EVENT_TABLE_TYPE,
  INVALID_MSI: 0xa,
  SERR: 0xb,
  NO_MSI: 0x10,
  INVALID_BIT_VECTOR_NUMBER: 0x11,
  AIBV: 0x12,
  ADAPTER_INTERRUPTION: 0x13,
  FMB_ADDRESS: 0x2a,
  FMB_UPDATE: 0x2b,
  FMB_PROTECTION: 0x2c,
  CCONF: 0x30,
  SERVICE_ACTION: 0x3a,
  PERMANENT_ERROR: 0x3b,
  RECOVERY_FAILED: 0x40,
  TO_CONFIGURED: 0x0301,
  RESERVED_TO_STANDBY: 0x0302,
  DECONFIGURE_REQUESTED: 0x0303,
  TO_STANDBY_OR_RESERVED: 0x0304,
  RESCAN: 0x0306,
  STANDBY_TO_RESERVED: 0x0308,
} as const;

/** Content code of the channel-report event that carries a record; its response type is 2 (zpci.md 5.6). */
export const CONTENT_CODE = { error: 1, availability: 2 } as const;

/** Bytes of a record. */
export const EVENT_RECORD_BYTES = 32;

export interface AvailabilityEvent {
  /** Function handle, 32 bits. */
  readonly fh: number;
  /** Function ID, 32 bits. */
  readonly fid: number;
  /** PCI event code, 16 bits. */
  readonly pec: number;
}

export interface ErrorEvent extends AvailabilityEvent {
  /** Failing address, 64 bits. */
  readonly address: bigint;
  /** Expected table type, 4 bits: 1 region, 0 segment, 15 (-1) page. */
  readonly ett: number;
  /** MSI vector, 12 bits. */
  readonly vector: number;
  /** DMA address space, 8 bits. */
  readonly dmaas: number;
  /** Bit Q. */
  readonly q: boolean;
  /** Read/write bit as it stands in the record. */
  readonly rw: boolean;
}

/** What a caller has to give of an error; all that QEMU leaves 0 may be left out. */
export type ErrorEventInput = AvailabilityEvent &
  Partial<Omit<ErrorEvent, 'address'>> & { readonly address?: U64 };

const FH = 4;
const FID = 8;
const DETAIL = 12;
const ADDRESS = 16;
const CODE = 30;

//      0              4              8              12
//     +--------------+--------------+--------------+--------------+
//   0 |   reserved   |      FH      |     FID      |  detail      |
//     +--------------+--------------+--------------+---------+----+
//  16 |       failing address       |         reserved       | PEC|
//     +-----------------------------+------------------------+----+
//
//  detail:  ETT 4 | MSI vector 12 | DMAAS 8 | reserved 6 | Q 1 | RW 1

/**
 * The record of an error, content code 1 (zpci.md 5.6).
 *
 * Throws `out-of-range` when a field does not fit its bits.
 */
export function encodeErrorRecord(event: ErrorEventInput): Uint8Array {
  const { ett = 0, vector = 0, dmaas = 0, q = false, rw = false, address = 0 } = event;
  const record = encodeAvailabilityRecord(event);
  const view = new DataView(record.buffer);
  inRange('ett', ett, 0, 0xf);
  inRange('vector', vector, 0, 0xfff);
  inRange('dmaas', dmaas, 0, 0xff);
  view.setUint32(DETAIL, ((ett << 28) | (vector << 16) | (dmaas << 8) | (q ? 2 : 0) | (rw ? 1 : 0)) >>> 0);
  view.setBigUint64(ADDRESS, BigInt(checkU64('address', address)));
  return record;
}

/** The record of a change of availability, content code 2 (zpci.md 5.6). Throws as `encodeErrorRecord`. */
export function encodeAvailabilityRecord({ fh, fid, pec }: AvailabilityEvent): Uint8Array {
  const record = new Uint8Array(EVENT_RECORD_BYTES);
  const view = new DataView(record.buffer);
  view.setUint32(FH, inRange('fh', fh, 0, 0xffff_ffff));
  view.setUint32(FID, inRange('fid', fid, 0, 0xffff_ffff));
  view.setUint16(CODE, inRange('pec', pec, 0, 0xffff));
  return record;
}

/** Reads a record of content code 1. Throws `malformed` unless `record` has 32 bytes. */
export function decodeErrorRecord(record: Uint8Array): ErrorEvent {
  const view = viewOf(record);
  const detail = view.getUint32(DETAIL);
  return {
    ...identity(view),
    address: view.getBigUint64(ADDRESS),
    ett: detail >>> 28,
    vector: (detail >>> 16) & 0xfff,
    dmaas: (detail >>> 8) & 0xff,
    q: (detail & 2) !== 0,
    rw: (detail & 1) !== 0,
  };
}

/** Reads a record of content code 2. Throws `malformed` unless `record` has 32 bytes. */
export function decodeAvailabilityRecord(record: Uint8Array): AvailabilityEvent {
  return identity(viewOf(record));
}

function identity(view: DataView): AvailabilityEvent {
  return { fh: view.getUint32(FH), fid: view.getUint32(FID), pec: view.getUint16(CODE) };
}

function viewOf(record: Uint8Array): DataView {
  if (record.length !== EVENT_RECORD_BYTES)
    throw invalid('record', record, `${EVENT_RECORD_BYTES} bytes`, 'malformed');
  return new DataView(record.buffer, record.byteOffset, record.length);
}
