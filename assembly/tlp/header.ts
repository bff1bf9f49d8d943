// Floor 2: one TLP header between the FIELDS block and wire order (PCIe base specification 2.2; sheet tlp.md 1 to 5).
//
//   DW0  Fmt 31:29  Type 28:24  T9 23  TC 22:20  T8 19  IDO 18  LN 17  TH 16  TD 15  EP 14  RO,NS 13:12  AT 11:10  Length 9:0
//   DW1  requester 31:16  tag 15:8  Last BE 7:4  First BE 3:0     | completer 31:16  status 15:13  BCM 12  byte count 11:0
//   DW2  address (64-bit: upper half) | destination 31:16 register 11:2 | requester 31:16  tag 15:8  lower address 6:0
//   DW3  lower half of a 64-bit address, processing hint in 1:0
//
// Messages: message code in DW1 7:0, DW2 and DW3 message specific, the routing in Type 2:0. Prefixes stand before DW0.
import {
  DECODE_OK,
  DECODE_SHORT,
  DECODE_UNKNOWN_TYPE,
  FIELD_ADDRESS_HI,
  FIELD_ADDRESS_LO,
  FIELD_AT,
  FIELD_ATTR,
  FIELD_BCM,
  FIELD_BYTE_COUNT,
  FIELD_COMPLETER,
  FIELD_DATA_CREDITS,
  FIELD_EP,
  FIELD_FC,
  FIELD_FIRST_BE,
  FIELD_FMT,
  FIELD_HEADER_BYTES,
  FIELD_KIND,
  FIELD_LAST_BE,
  FIELD_LENGTH,
  FIELD_LN,
  FIELD_LOWER_ADDRESS,
  FIELD_MESSAGE_CODE,
  FIELD_MESSAGE_HI,
  FIELD_MESSAGE_LO,
  FIELD_PAYLOAD_BYTES,
  FIELD_PH,
  FIELD_REGISTER,
  FIELD_REQUESTER,
  FIELD_ROUTING,
  FIELD_STATUS,
  FIELD_TAG,
  FIELD_TC,
  FIELD_TD,
  FIELD_TH,
  FIELD_TYPE,
  FIELD_WIRE_BYTES,
  KIND_UNKNOWN,
  SHAPE_COMPLETION,
  SHAPE_CONFIG,
  SHAPE_MEMORY,
  SHAPE_MESSAGE,
  TLP_OVERHEAD_BYTES,
} from '../layout';
import { flowClassOf, fmtTypeOf, hasData, headerBytes, isFourDw, kindOf, shapeOf } from './kinds';
import { prefixBytes } from './prefix';

function get(block: usize, field: usize): u32 {
  return load<u32>(block + field);
}

function set(block: usize, field: usize, value: u32): void {
  store<u32>(block + field, value);
}

/** Big-endian word at `at`: header DWs go byte 0 first. */
function putWord(at: usize, value: u32): void {
  store<u32>(at, bswap<u32>(value));
}

function getWord(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}

/** Fills the derived fields (flow class, credits, sizes) of a block whose kind, length and TD are set. */
function deriveSizes(block: usize, fmtType: u32): void {
  const payload = hasData(fmtType) ? get(block, FIELD_LENGTH) << 2 : 0;
  const header = headerBytes(fmtType);
  set(block, FIELD_FC, flowClassOf(fmtType));
  set(block, FIELD_DATA_CREDITS, (payload + 15) >> 4);
  set(block, FIELD_HEADER_BYTES, header);
  set(block, FIELD_PAYLOAD_BYTES, payload);
  const digest = get(block, FIELD_TD) << 2;
  set(block, FIELD_WIRE_BYTES, TLP_OVERHEAD_BYTES + prefixBytes(block) + header + payload + digest);
}

/** DW0 of a TLP of byte 0 `fmtType` with the attribute fields of `block`. */
function word0(block: usize, fmtType: u32): u32 {
  const tag = get(block, FIELD_TAG);
  const attr = get(block, FIELD_ATTR);
  return (
    (fmtType << 24) |
    (((tag >> 9) & 1) << 23) |
    ((get(block, FIELD_TC) & 7) << 20) |
    (((tag >> 8) & 1) << 19) |
    (((attr >> 2) & 1) << 18) |
    ((get(block, FIELD_LN) & 1) << 17) |
    ((get(block, FIELD_TH) & 1) << 16) |
    ((get(block, FIELD_TD) & 1) << 15) |
    ((get(block, FIELD_EP) & 1) << 14) |
    ((attr & 3) << 12) |
    ((get(block, FIELD_AT) & 3) << 10) |
    (get(block, FIELD_LENGTH) & 0x3ff)
  );
}

/** Writes the header of the TLP in `block` to `to` in wire order and fills the derived fields. Returns header bytes. */
export function encodeHeader(block: usize, to: usize): u32 {
  let fmtType = fmtTypeOf(get(block, FIELD_KIND));
  const shape = shapeOf(fmtType);
  if (shape == SHAPE_MESSAGE) fmtType |= get(block, FIELD_ROUTING) & 7;
  const tag = get(block, FIELD_TAG) & 0xff;
  const requester = get(block, FIELD_REQUESTER) & 0xffff;
  set(block, FIELD_FMT, fmtType >> 5);
  set(block, FIELD_TYPE, fmtType & 0x1f);
  putWord(to, word0(block, fmtType));
  if (shape == SHAPE_COMPLETION) {
    putWord(
      to + 4,
      (get(block, FIELD_COMPLETER) << 16) |
        ((get(block, FIELD_STATUS) & 7) << 13) |
        ((get(block, FIELD_BCM) & 1) << 12) |
        (get(block, FIELD_BYTE_COUNT) & 0xfff),
    );
    putWord(to + 8, (requester << 16) | (tag << 8) | (get(block, FIELD_LOWER_ADDRESS) & 0x7f));
  } else if (shape == SHAPE_MESSAGE) {
    putWord(to + 4, (requester << 16) | (tag << 8) | (get(block, FIELD_MESSAGE_CODE) & 0xff));
    putWord(to + 8, get(block, FIELD_MESSAGE_HI));
    putWord(to + 12, get(block, FIELD_MESSAGE_LO));
  } else {
    const enables = ((get(block, FIELD_LAST_BE) & 0xf) << 4) | (get(block, FIELD_FIRST_BE) & 0xf);
    putWord(to + 4, (requester << 16) | (tag << 8) | enables);
    if (shape == SHAPE_CONFIG) {
      putWord(to + 8, (get(block, FIELD_COMPLETER) << 16) | (get(block, FIELD_REGISTER) & 0xffc));
    } else {
      const hint = shape == SHAPE_MEMORY ? get(block, FIELD_PH) & 3 : 0;
      const low = (get(block, FIELD_ADDRESS_LO) & ~3) | hint;
      if (isFourDw(fmtType)) {
        putWord(to + 8, get(block, FIELD_ADDRESS_HI));
        putWord(to + 12, low);
      } else {
        putWord(to + 8, low);
      }
    }
  }
  deriveSizes(block, fmtType);
  return get(block, FIELD_HEADER_BYTES);
}

/** Decodes the header at `from` (`bytes` available) into `block`. Answers DECODE_OK, DECODE_SHORT or DECODE_UNKNOWN_TYPE. */
export function decodeHeader(block: usize, from: usize, bytes: u32): u32 {
  if (bytes < 4) return DECODE_SHORT;
  const first = getWord(from);
  const fmtType = first >>> 24;
  const kind = kindOf(fmtType);
  if (kind == KIND_UNKNOWN) return DECODE_UNKNOWN_TYPE;
  if (bytes < headerBytes(fmtType)) return DECODE_SHORT;
  const second = getWord(from + 4);
  const third = getWord(from + 8);
  const shape = shapeOf(fmtType);
  set(block, FIELD_KIND, kind);
  set(block, FIELD_FMT, fmtType >> 5);
  set(block, FIELD_TYPE, fmtType & 0x1f);
  set(block, FIELD_TC, (first >> 20) & 7);
  set(block, FIELD_ATTR, (((first >> 18) & 1) << 2) | ((first >> 12) & 3));
  set(block, FIELD_AT, (first >> 10) & 3);
  set(block, FIELD_LN, (first >> 17) & 1);
  set(block, FIELD_TH, (first >> 16) & 1);
  set(block, FIELD_TD, (first >> 15) & 1);
  set(block, FIELD_EP, (first >> 14) & 1);
  const tagHigh = (((first >> 23) & 1) << 9) | (((first >> 19) & 1) << 8);
  // Length 0 means 1024 DW, but it is reserved where there is no data (2.2.1).
  const coded = first & 0x3ff;
  const isReserved = (shape == SHAPE_COMPLETION || shape == SHAPE_MESSAGE) && !hasData(fmtType);
  set(block, FIELD_LENGTH, isReserved ? 0 : coded == 0 ? 1024 : coded);
  clearVariant(block);
  if (shape == SHAPE_COMPLETION) {
    set(block, FIELD_COMPLETER, second >>> 16);
    set(block, FIELD_STATUS, (second >> 13) & 7);
    set(block, FIELD_BCM, (second >> 12) & 1);
    const count = second & 0xfff;
    set(block, FIELD_BYTE_COUNT, count == 0 ? 4096 : count);
    set(block, FIELD_REQUESTER, third >>> 16);
    set(block, FIELD_TAG, tagHigh | ((third >> 8) & 0xff));
    set(block, FIELD_LOWER_ADDRESS, third & 0x7f);
    deriveSizes(block, fmtType);
    return DECODE_OK;
  }
  set(block, FIELD_REQUESTER, second >>> 16);
  set(block, FIELD_TAG, tagHigh | ((second >> 8) & 0xff));
  if (shape == SHAPE_MESSAGE) {
    set(block, FIELD_ROUTING, fmtType & 7);
    set(block, FIELD_MESSAGE_CODE, second & 0xff);
    set(block, FIELD_MESSAGE_HI, third);
    set(block, FIELD_MESSAGE_LO, getWord(from + 12));
  } else {
    set(block, FIELD_LAST_BE, (second >> 4) & 0xf);
    set(block, FIELD_FIRST_BE, second & 0xf);
    if (shape == SHAPE_CONFIG) {
      set(block, FIELD_COMPLETER, third >>> 16);
      set(block, FIELD_REGISTER, third & 0xffc);
    } else {
      const low = isFourDw(fmtType) ? getWord(from + 12) : third;
      set(block, FIELD_ADDRESS_HI, isFourDw(fmtType) ? third : 0);
      set(block, FIELD_ADDRESS_LO, low & ~3);
      set(block, FIELD_PH, shape == SHAPE_MEMORY ? low & 3 : 0);
    }
  }
  deriveSizes(block, fmtType);
  return DECODE_OK;
}

/** Fields that only some shapes have start from 0. */
function clearVariant(block: usize): void {
  set(block, FIELD_FIRST_BE, 0);
  set(block, FIELD_LAST_BE, 0);
  set(block, FIELD_ADDRESS_LO, 0);
  set(block, FIELD_ADDRESS_HI, 0);
  set(block, FIELD_PH, 0);
  set(block, FIELD_COMPLETER, 0);
  set(block, FIELD_REGISTER, 0);
  set(block, FIELD_STATUS, 0);
  set(block, FIELD_BCM, 0);
  set(block, FIELD_BYTE_COUNT, 0);
  set(block, FIELD_LOWER_ADDRESS, 0);
  set(block, FIELD_ROUTING, 0);
  set(block, FIELD_MESSAGE_CODE, 0);
  set(block, FIELD_MESSAGE_LO, 0);
  set(block, FIELD_MESSAGE_HI, 0);
}
