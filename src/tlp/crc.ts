/** The checksums of TLPs and DLLPs as plain functions: the typed face of assembly/tlp/crc.ts and dllp.ts. */
import * as L from '../../assembly/layout.js';
import { inRange, invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { Core } from '../core/core.js';
import { sharedCore } from '../core/shared.js';

/** Bytes of a checksum as they leave: least significant first. */
function wireOrder(crc: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, n) => (crc >>> (8 * n)) & 0xff);
}

/** Throws unless `bytes` are bytes, as a caller without TypeScript may not give them. */
export function needBytes(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) throw invalid('bytes', bytes, 'a Uint8Array');
}

/** Stages bytes in the wire scratch; they must fit the largest TLP. */
export function stage(core: Core, bytes: Uint8Array): void {
  needBytes(bytes);
  if (bytes.length > L.WIRE_BYTES - L.WIRE_LEAD) {
    throw invalid('bytes', bytes, `at most ${L.WIRE_BYTES - L.WIRE_LEAD} bytes`, 'malformed');
  }
  core.u8.set(bytes, core.at(L.PLACE_WIRE) + L.WIRE_LEAD);
}

/** LCRC of `bytes` (TLP with prefixes and digest, if any) sent as `sequence` (12 bits): four bytes as on the wire (3.6.2). */
export function lcrc(bytes: Uint8Array, sequence: number): Uint8Array {
  const core = sharedCore();
  inRange('sequence', sequence, 0, 0xfff);
  stage(core, bytes);
  return wireOrder(core.x.tlpLcrc(bytes.length, sequence), 4);
}

/** The Ethernet CRC-32 that LCRC and ECRC use, over any bytes: four bytes as on the wire (3.6.2). */
export function crc32(bytes: Uint8Array): Uint8Array {
  const core = sharedCore();
  stage(core, bytes);
  return wireOrder(core.x.tlpCrc32(bytes.length), 4);
}

/** CRC-16 of the content bytes of a DLLP: two bytes as on the wire (3.5.2). */
export function crc16(bytes: Uint8Array): Uint8Array {
  const core = sharedCore();
  stage(core, bytes);
  return wireOrder(core.x.dllpCrc16(bytes.length), 2);
}

export interface EcrcOptions {
  /** Prefix DWs before the header, 0..8. Default: as many as their Fmt fields say. */
  readonly prefixes?: number;
}

const KEYS = keysOf<EcrcOptions>({ prefixes: true });

/**
 * ECRC of `bytes` (prefixes, header and data): the four bytes as on the wire. Type[0] and EP of the header count as 1,
 * local prefixes do not count at all (2.7.1).
 */
export function ecrc(bytes: Uint8Array, options: EcrcOptions = {}): Uint8Array {
  needBytes(bytes);
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const core = sharedCore();
  const { prefixes } = options;
  const header =
    4 * (prefixes === undefined ? prefixesOf(bytes) : inRange('prefixes', prefixes, 0, L.PREFIX_SLOTS));
  if (bytes.length < header + 4) throw invalid('bytes', bytes, 'a whole header', 'malformed');
  stage(core, bytes);
  return wireOrder(core.x.tlpEcrc(bytes.length, header), 4);
}

/** Number of prefix DWs at the start: those whose Fmt is 4 (2.2.10). */
function prefixesOf(bytes: Uint8Array): number {
  let count = 0;
  while (((bytes[4 * count] ?? 0) & L.PREFIX_FMT_MASK) === L.PREFIX_FMT) count++;
  return count;
}
