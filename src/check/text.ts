/** Places, values and differences as the lines of a report name them. */
import { hex64 } from '../core/u64.js';

export const where = (bar: number, offset: number): string => `BAR ${bar} offset ${hex64(offset)}`;

/** What a read answered: few bytes as a little-endian number, more as their number and a check sum, else why not. */
export function shown(answer: Uint8Array | string): string {
  if (typeof answer === 'string') return answer;
  if (answer.length > 8) return `${answer.length} bytes with sum ${checksum(answer)}`;
  let value = 0n;
  for (let at = answer.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(answer[at] as number);
  return `0x${value.toString(16).padStart(2 * answer.length, '0')}`;
}

/** FNV-1a, 32 bits, in hexadecimal. */
function checksum(bytes: Uint8Array): string {
  let sum = 0x811c_9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x0100_0193);
  return (sum >>> 0).toString(16).padStart(8, '0');
}

export function plural(count: number, what: string): string {
  if (count === 1) return `1 ${what}`;
  const many = what.endsWith('y') ? `${what.slice(0, -1)}ies` : what.endsWith('s') ? `${what}es` : `${what}s`;
  return `${count} ${many}`;
}

export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
