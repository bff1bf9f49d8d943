/** Reference arithmetic for tests, written from the definitions and not from the core: byte enables, coverage, CRC, text. */
import type { Tlp } from '../../src/index.js';

/** What says which bytes a request touches. */
export type Enables = Pick<Tlp, 'address' | 'length' | 'firstBe' | 'lastBe'>;

/** Bytes [at, at + bytes). */
export interface Piece {
  readonly at: number;
  readonly bytes: number;
}

/** The one request for a piece of 1 byte or more: every DW it touches, and an enable bit for every byte of it. */
export function requestFor({ at, bytes }: Piece): Enables {
  const end = at + bytes;
  const firstDw = Math.floor(at / 4);
  const lastDw = Math.floor((end - 1) / 4);
  const enables = (dw: number): number => {
    let bits = 0;
    for (let k = 0; k < 4; k++) if (4 * dw + k >= at && 4 * dw + k < end) bits += 2 ** k;
    return bits;
  };
  const length = lastDw - firstDw + 1;
  return {
    address: 4 * firstDw,
    length,
    firstBe: enables(firstDw),
    lastBe: length === 1 ? 0 : enables(lastDw),
  };
}

/** A request as the sheets print it, `address:dw/first.last` in hexadecimal but for the length; relative to `base`. */
export function label({ address, length, firstBe, lastBe }: Enables, base: number | bigint = 0): string {
  const offset = BigInt(address) - BigInt(base);
  return `${offset.toString(16)}:${length}/${firstBe.toString(16)}.${lastBe.toString(16)}`;
}

export function labels(requests: readonly Enables[], base: number | bigint = 0): string[] {
  return requests.map((request) => label(request, base));
}

/** How often the byte-enable bits of `requests` enable each byte of [from, from + bytes). Throws for a byte outside. */
export function coverage(requests: readonly Enables[], from: number | bigint, bytes: number): Uint8Array {
  const counts = new Uint8Array(bytes);
  for (const request of requests) {
    const start = Number(BigInt(request.address) - BigInt(from));
    for (let dw = 0; dw < request.length; dw++) {
      const inner = dw > 0 && dw < request.length - 1;
      const bits = inner ? 0xf : dw === 0 ? request.firstBe : request.lastBe;
      for (let k = 0; k < 4; k++) {
        if (((bits >> k) & 1) === 0) continue;
        const at = start + 4 * dw + k;
        if (at < 0 || at >= bytes)
          throw new Error(`${label(request, from)} enables byte ${at} of 0..${bytes - 1}`);
        counts[at] = (counts[at] ?? 0) + 1;
      }
    }
  }
  return counts;
}

/** Two lists that should be equal, as text where they differ; undefined when they do not. */
export function difference(
  what: string,
  actual: readonly string[],
  expected: readonly string[],
): string | undefined {
  if (actual.length === expected.length && actual.every((text, n) => text === expected[n])) return undefined;
  return `${what}: [${actual.join(' ')}] instead of [${expected.join(' ')}]`;
}

/** CRC-32 bit by bit: polynomial 0x04c11db7, each byte from bit 0 on, seed all ones, complemented at the end. */
export function crc32(bytes: Iterable<number>): number {
  let register = 0xffff_ffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const feedback = ((byte >> bit) & 1) ^ (register & 1);
      register = (register >>> 1) ^ (feedback === 1 ? 0xedb8_8320 : 0);
    }
  }
  return ~register >>> 0;
}

/** The four bytes of a CRC in the order of the wire: least significant first. */
export function crcBytes(crc: number): number[] {
  return [crc & 0xff, (crc >>> 8) & 0xff, (crc >>> 16) & 0xff, crc >>> 24];
}

export function hex(bytes: Iterable<number>): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** `bytes` bytes that repeat only after 251 and differ with `seed`. */
export function pattern(bytes: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, n) => (n * 7 + seed * 13 + 1) % 251);
}

/** The error that `action` throws; undefined when it throws none. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}
