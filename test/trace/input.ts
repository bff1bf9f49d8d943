/** Input that the tests of the trace readers share: a small log, and ways to cut input into chunks. */
import { fileURLToPath } from 'node:url';

export const VECTOR = fileURLToPath(
  new URL('../vectors/traces/nvme-e1000e-linux61.mmiotrace.txt', import.meta.url),
);

export const SMALL = [
  'VERSION 20070824',
  'PCIDEV 0008 1b360010 a febc0004 0 0 0 0 0 0 4000 0 0 0 0 0 0 nvme',
  'PCIDEV 0010 808610d3 b feb80000 feba0000 c041 0 0 0 feb40001 20000 20000 20 0 0 0 40000 ',
  'MARK 1.000001 größer → 漢字 😀',
  'MAP 2.000000 1 0xfebc0000 0xff79ff86c05a6000 0x2000 0x0 0',
  'R 4 2.000001 1 0xfebc001c 0x1 0x0 0',
  'W 8 2.000002 1 0x123456789a 0xfedcba9876543210 0xffffffff81234567 0',
  'cat: something else',
  '',
  'UNKNOWN 2.000003 -1 0xfebc0000 0f,ab,00 0x0 0',
  'UNMAP 2.000004 1 0x0 0',
  'LSPCI 00:01.0 Non-Volatile memory controller',
].join('\n');

export async function* chunks<T>(...parts: T[]): AsyncGenerator<T> {
  yield* parts;
}

/** Cuts bytes at the given places. */
export function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...places].sort((a, b) => a - b);
  return [0, ...sorted].map((from, i) => bytes.subarray(from, sorted[i] ?? bytes.length));
}
