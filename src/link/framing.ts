/** How a TLP is framed on a non-flit link: STP and END symbols, or an STP token (sheet link.md 2 and 3). */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import type { Link } from '../base/link.js';

/** Control symbols of 8b/10b around packets (PCIe base specification 4.2.1). */
export const SYMBOL = { STP: 0xfb, SDP: 0x5c, END: 0xfd, EDB: 0xfe, PAD: 0xf7 } as const;

/** What an STP token says. */
export interface StpToken {
  /** DWs of token, prefixes, header, data, ECRC and LCRC: those of the TLP plus 2. */
  readonly length: number;
  /** 12 bits. */
  readonly sequence: number;
}

/**
 * Frame CRC of a length field: the remainder by x^4 + x + 1, bit 0 of the length first. The sheet gives the four sums of
 * bits; they are this polynomial, in every column.
 */
function frameCrc(length: number): number {
  let crc = 0;
  for (let bit = 0; bit < 11; bit++) {
    const carry = ((crc >>> 3) ^ (length >>> bit)) & 1;
    crc = ((crc << 1) & 0xf) ^ (carry === 1 ? 0b0011 : 0);
  }
  return crc;
}

/** 1 when an odd number of bits is set. */
function parity(value: number): number {
  let odd = 0;
  for (let rest = value; rest !== 0; rest &= rest - 1) odd ^= 1;
  return odd;
}

/** The four bytes of the STP token before a TLP of `tlpDw` DWs without LCRC (4.2.2). */
export function encodeStpToken(tlpDw: number, sequence: number): Uint8Array {
  const length = inRange('tlpDw', tlpDw, 3, 1024 + 9) + 2;
  inRange('sequence', sequence, 0, 0xfff);
  const crc = frameCrc(length);
  return Uint8Array.of(
    ((length & 0xf) << 4) | 0xf,
    (parity(length) ^ parity(crc) ? 0x80 : 0) | (length >>> 4),
    (crc << 4) | (sequence >>> 8),
    sequence & 0xff,
  );
}

/** Reads an STP token. Throws ZtlpError `malformed` for other bytes, a wrong CRC or a wrong parity. */
export function decodeStpToken(bytes: Uint8Array): StpToken {
  const [b0 = 0, b1 = 0, b2 = 0, b3 = 0] = bytes;
  if (bytes.length !== 4 || (b0 & 0xf) !== 0xf) throw invalid('token', bytes, 'an STP token', 'malformed');
  const length = (b0 >>> 4) | ((b1 & 0x7f) << 4);
  const crc = b2 >>> 4;
  if (crc !== frameCrc(length)) throw new ZtlpError('malformed', 'token: the frame CRC is wrong');
  if (b1 >>> 7 !== (parity(length) ^ parity(crc)))
    throw new ZtlpError('malformed', 'token: the parity is wrong');
  return { length, sequence: ((b2 & 0xf) << 8) | b3 };
}

/**
 * A TLP as it crosses a link of `generation`: framing, sequence number, the TLP with its ECRC, LCRC. With 8b/10b the
 * first and the last byte stand for control symbols. Throws ZtlpError for bytes that are no whole DWs.
 */
export function frameTlp(
  generation: Link['generation'],
  tlp: Uint8Array,
  sequence: number,
  lcrc: Uint8Array,
): Uint8Array {
  if (tlp.length % 4 !== 0) throw invalid('tlp', tlp, 'whole DWs', 'malformed');
  if (lcrc.length !== 4) throw invalid('lcrc', lcrc, '4 bytes', 'malformed');
  inRange('sequence', sequence, 0, 0xfff);
  if (generation >= 3) return Uint8Array.of(...encodeStpToken(tlp.length / 4, sequence), ...tlp, ...lcrc);
  return Uint8Array.of(SYMBOL.STP, sequence >>> 8, sequence & 0xff, ...tlp, ...lcrc, SYMBOL.END);
}
