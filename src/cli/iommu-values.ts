/** Values of `ztlp iommu walk` as people write them, on the command line and in scenarios alike. */
import { LAST } from '../iommu/unit.js';

export const U64_FORM = 'a number such as 0x1000, below 2^64';
export const SID_FORM =
  'bus:device.function in hexadecimal such as 00:04.0 (domain 0000), or its number, 0 to 0xffff';
export const PASID_FORM = '0 to 0xfffff: a PASID has 20 bits';

/** The number that `value` is or spells, decimal or `0x...`, from 0 to `most`; undefined: none. */
export function toU64(value: unknown, most = LAST): bigint | undefined {
  if (typeof value === 'string' && /^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(value))
    return toU64(BigInt(value), most);
  return typeof value === 'bigint' && value >= 0n && value <= most ? value : undefined;
}

/** The same as a number from `least` to `most`. */
export function toInteger(value: unknown, least: number, most: number): number | undefined {
  const found = toU64(value, BigInt(most));
  return found !== undefined && found >= BigInt(least) ? Number(found) : undefined;
}

/** `00:04.0` or `0000:00:04.0`, as lspci prints them, or the number. */
export function toSid(value: unknown): number | undefined {
  const parts =
    typeof value === 'string'
      ? /^(?:0000:)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i.exec(value)?.slice(1)
      : undefined;
  if (parts === undefined) return toInteger(value, 0, 0xffff);
  const [bus = 0, device = 0, fn = 0] = parts.map((part) => Number.parseInt(part, 16));
  return (bus << 8) | (device << 3) | fn;
}
