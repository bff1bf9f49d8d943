// Floor 7: how a range of bytes is cut into pieces, one rule per way of hardware or software (access-paths.md, zpci.md 3.3).
import {
  RULE_ARM64_COPY,
  RULE_CUT,
  RULE_FRAGMENT,
  RULE_NATURAL,
  RULE_TCG,
  RULE_VFIO,
  RULE_VFIO_PRESERVE,
  RULE_WC_LINE,
  RULE_X86_STRING,
  RULE_ZPCI_NEW,
  RULE_ZPCI_NEW_LITERAL,
  RULE_ZPCI_OLD,
} from '../layout';

const PAGE: u32 = 4096;
const LINE: u32 = 64;
/** Longest range one rule looks at: keeps 64-bit lengths in 32-bit arithmetic. */
const FAR: u64 = 1 << 30;

/** Largest power of two <= `value` (1 or more). */
function powerBelow(value: u32): u32 {
  return (<u32>1) << (31 - clz(value));
}

/** Largest power of two that divides `position`, at most `limit` (a power of two). */
function alignment(position: u32, limit: u32): u32 {
  return (position & (limit - 1)) == 0 ? limit : (<u32>1) << ctz(position);
}

/** Largest power of two <= `limit` that divides `position` and fits into `left`. */
export function naturalPiece(position: u32, left: u32, limit: u32): u32 {
  return min(alignment(position, limit), powerBelow(min(left, limit)));
}

/** Linux memcpy_toio on x86, string form: 1 byte to an even address, 2 to a dword, dwords, then 2 and 1. */
function x86StringPiece(position: u32, left: u32): u32 {
  if (position & 1) return 1;
  if (position & 2 && left > 1) return 2;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/** Linux __memcpy_toio on arm64: bytes up to an 8-byte aligned device address, qwords, bytes. */
function arm64CopyPiece(position: u32, left: u32): u32 {
  return position & 7 || left < 8 ? 1 : 8;
}

/** s390 helper up to January 2024: largest power of two dividing both addresses (zpci.md 3.3). */
function zpciOldPiece(position: u32, memory: u32, left: u32, limit: u32): u32 {
  return min(alignment(position | memory, limit), powerBelow(min(left, limit)));
}

/** s390 helper since January 2024. `border` is the address whose 4 KiB frame bounds the piece (option `boundary`). */
function zpciNewPiece(position: u32, memory: u32, left: u32, limit: u32, border: u32): u32 {
  const size = min(min(left, PAGE - (border & (PAGE - 1))), limit);
  if (((position | memory | size) & 7) == 0) return size;
  return size >= 8 ? 8 : powerBelow(size);
}

/**
 * Bytes of the next piece of [`position`, `end`) under `rule` with its `value`. `memory` is the memory address that
 * belongs to `position`, `unit` the size of the whole access one level above (RULE_TCG).
 */
export function nextPiece(rule: u32, value: u32, position: u64, end: u64, memory: u32, unit: u32): u32 {
  const left = <u32>min(end - position, FAR);
  const low = <u32>position;
  switch (rule) {
    case RULE_NATURAL:
    case RULE_VFIO:
      return naturalPiece(low, left, value);
    case RULE_CUT:
      return min(left, value - (low & (value - 1)));
    case RULE_FRAGMENT:
      return min(min(left, value), PAGE - (low & (PAGE - 1)));
    case RULE_X86_STRING:
      return x86StringPiece(low, left);
    case RULE_ARM64_COPY:
      return arm64CopyPiece(low, left);
    case RULE_ZPCI_OLD:
      return zpciOldPiece(low, memory, left, value);
    case RULE_ZPCI_NEW:
      return zpciNewPiece(low, memory, left, value, low);
    case RULE_ZPCI_NEW_LITERAL:
      return zpciNewPiece(low, memory, left, value, memory);
    case RULE_TCG:
      return unit;
    case RULE_WC_LINE:
      return (low & (LINE - 1)) == 0 && left >= LINE ? LINE : min(left, 8 - (low & 7));
    case RULE_VFIO_PRESERVE:
      return min(left, PAGE - (low & (PAGE - 1)));
    default:
      return left; // RULE_WHOLE
  }
}
