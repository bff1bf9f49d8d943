// Floor 2: what makes a TLP malformed, as far as one TLP alone shows it (PCIe base specification 2.2, 2.3; sheet tlp.md 12.1).
import {
  DECODE_ADDRESS_FORMAT,
  DECODE_ADDRESS_TYPE,
  DECODE_ATOMIC_ALIGNMENT,
  DECODE_ATOMIC_LENGTH,
  DECODE_BYTE_ENABLES,
  DECODE_CROSS_4K,
  DECODE_DEFERRABLE,
  DECODE_DIGEST,
  DECODE_HINT,
  DECODE_IO_CONFIG,
  DECODE_LENGTH,
  DECODE_MESSAGE_ROUTING,
  DECODE_MESSAGE_TC,
  DECODE_OK,
  DECODE_PAYLOAD,
  DECODE_PREFIX,
  DEFERRABLE_BYTES,
  FIELD_ADDRESS_HI,
  FIELD_ADDRESS_LO,
  FIELD_AT,
  FIELD_ATTR,
  FIELD_FIRST_BE,
  FIELD_KIND,
  FIELD_LAST_BE,
  FIELD_LENGTH,
  FIELD_MESSAGE_CODE,
  FIELD_PAYLOAD_BYTES,
  FIELD_PH,
  FIELD_ROUTING,
  FIELD_TC,
  FIELD_TD,
  FIELD_TH,
  KIND_DMWR32,
  KIND_DMWR64,
  KIND_MRD32,
  KIND_MRD64,
  SHAPE_COMPLETION,
  SHAPE_MEMORY,
  SHAPE_MESSAGE,
} from '../layout';
import { MESSAGE_ROUTING_SHIFT, MESSAGE_TC0 } from '../message-codes';
import { byteEnablesLegal } from './bytes';
import { fmtTypeOf, hasData, isAtomic, isCompareAndSwap, isFourDw, shapeOf } from './kinds';
import { messageRule } from './messages';
import { prefixesLegal } from './prefix';

const AT_TRANSLATION: u32 = 1;
const AT_RESERVED: u32 = 3;

function get(block: usize, field: usize): u32 {
  return load<u32>(block + field);
}

/**
 * The first Malformed TLP rule (2.2, 2.3) that the decoded TLP breaks, or DECODE_OK. `rest` is the number of bytes
 * behind the header, `digest` whether a digest DW is expected among them when TD is set, `mps` the receiver's
 * Max_Payload_Size, `checkEnables` whether byte-enable rules are checked (receivers may: option `beCheck`).
 */
export function checkFields(block: usize, rest: u32, digest: bool, mps: u32, checkEnables: bool): u32 {
  if (!prefixesLegal(block)) return DECODE_PREFIX;
  const fmtType = fmtTypeOf(get(block, FIELD_KIND));
  const payload = get(block, FIELD_PAYLOAD_BYTES);
  const expected = payload + (digest && get(block, FIELD_TD) ? 4 : 0);
  if (rest != expected) {
    // A digest DW too many or too few is told apart from data that does not fit Length.
    const digestOnly = rest == payload || rest == payload + 4;
    return digestOnly ? DECODE_DIGEST : DECODE_LENGTH;
  }
  if (payload > mps) return DECODE_PAYLOAD;
  const shape = shapeOf(fmtType);
  if (shape == SHAPE_COMPLETION) return DECODE_OK;
  if (shape == SHAPE_MESSAGE) return checkMessage(block);
  if (shape == SHAPE_MEMORY) return checkMemory(block, fmtType, checkEnables);
  const attributes = get(block, FIELD_TC) | get(block, FIELD_ATTR) | get(block, FIELD_AT);
  const isLegal = get(block, FIELD_LENGTH) == 1 && get(block, FIELD_LAST_BE) == 0 && attributes == 0;
  return isLegal ? DECODE_OK : DECODE_IO_CONFIG;
}

/** Messages (2.2.8): an unknown code is an unsupported request, which is the completer's to say. */
function checkMessage(block: usize): u32 {
  const rule = messageRule(get(block, FIELD_MESSAGE_CODE));
  if (rule == 0) return DECODE_OK;
  if (((rule >>> (MESSAGE_ROUTING_SHIFT + get(block, FIELD_ROUTING))) & 1) == 0)
    return DECODE_MESSAGE_ROUTING;
  return (rule & MESSAGE_TC0) != 0 && get(block, FIELD_TC) != 0 ? DECODE_MESSAGE_TC : DECODE_OK;
}

/** Memory requests, AtomicOps and Deferrable Memory Writes (2.2.4.1, 2.2.5, 2.2.7). */
function checkMemory(block: usize, fmtType: u32, checkEnables: bool): u32 {
  const kind = get(block, FIELD_KIND);
  const length = get(block, FIELD_LENGTH);
  const low = get(block, FIELD_ADDRESS_LO);
  const at = get(block, FIELD_AT);
  const isRead = kind == KIND_MRD32 || kind == KIND_MRD64;
  if (at == AT_RESERVED || (at == AT_TRANSLATION && !isRead)) return DECODE_ADDRESS_TYPE;
  if (isFourDw(fmtType) && get(block, FIELD_ADDRESS_HI) == 0) return DECODE_ADDRESS_FORMAT;
  // A translation request has its No Write flag in bit 0 of the hint's place (10.2.2).
  const hint = at == AT_TRANSLATION ? get(block, FIELD_PH) & 2 : get(block, FIELD_PH);
  if (!get(block, FIELD_TH) && hint != 0) return DECODE_HINT;
  if (isAtomic(fmtType)) return checkAtomic(fmtType, length, low);
  if ((low & 0xfff) + (length << 2) > 4096) return DECODE_CROSS_4K;
  if ((kind == KIND_DMWR32 || kind == KIND_DMWR64) && length << 2 > <u32>DEFERRABLE_BYTES)
    return DECODE_DEFERRABLE;
  // With TH the byte-enable field of a read is a steering tag (2.2.7.1).
  const hasEnables = hasData(fmtType) || !get(block, FIELD_TH);
  if (!checkEnables || !hasEnables) return DECODE_OK;
  const isLegal = byteEnablesLegal(length, get(block, FIELD_FIRST_BE), get(block, FIELD_LAST_BE), low);
  return isLegal ? DECODE_OK : DECODE_BYTE_ENABLES;
}

/** Operand sizes and their alignment (2.7.2.1). Byte enables are reserved; an aligned operand cannot cross 4 KiB. */
function checkAtomic(fmtType: u32, length: u32, low: u32): u32 {
  const isCas = isCompareAndSwap(fmtType);
  const isSize = isCas ? length == 2 || length == 4 || length == 8 : length == 1 || length == 2;
  if (!isSize) return DECODE_ATOMIC_LENGTH;
  const operand = isCas ? length << 1 : length << 2;
  return low & (operand - 1) ? DECODE_ATOMIC_ALIGNMENT : DECODE_OK;
}
