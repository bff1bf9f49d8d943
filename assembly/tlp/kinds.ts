// Floor 2: the type table of the PCIe base specification (2.2.1): one row of properties per TLP kind.
import {
  FC_COMPLETION,
  FC_NON_POSTED,
  FC_POSTED,
  KIND_COUNT,
  KIND_MSG,
  KIND_MSGD,
  KIND_UNKNOWN,
  SHAPE_COMPLETION,
  SHAPE_CONFIG,
  SHAPE_IO,
  SHAPE_MEMORY,
  SHAPE_MESSAGE,
} from '../layout';

// Byte 0 of the header (Fmt, Type), in the order of the KIND_* numbers; of messages with routing 0.
const FMT_TYPE: usize = memory.data<u8>([
  0x00, 0x20, 0x01, 0x21, 0x40, 0x60, 0x02, 0x42, 0x04, 0x44, 0x05, 0x45, 0x0a, 0x4a, 0x0b, 0x4b, 0x4c, 0x6c,
  0x4d, 0x6d, 0x4e, 0x6e, 0x5b, 0x7b, 0x30, 0x70,
]);
// Inverse of the table above: byte 0 to kind, KIND_UNKNOWN where there is none.
const KIND_OF: usize = memory.data(256);

for (let byte = 0; byte < 256; byte++) store<u8>(KIND_OF + byte, KIND_UNKNOWN);
for (let kind = 0; kind < KIND_COUNT; kind++) store<u8>(KIND_OF + load<u8>(FMT_TYPE + kind), <u8>kind);
// Type bits 2:0 of a message are its routing.
for (let routing = 0; routing < 8; routing++) {
  store<u8>(KIND_OF + 0x30 + routing, <u8>KIND_MSG);
  store<u8>(KIND_OF + 0x70 + routing, <u8>KIND_MSGD);
}

const TYPE_MASK: u32 = 0x1f;
const TYPE_IO: u32 = 0x02;
const TYPE_CONFIG0: u32 = 0x04;
const TYPE_CONFIG1: u32 = 0x05;
const TYPE_COMPLETION: u32 = 0x0a;
const TYPE_COMPLETION_LOCKED: u32 = 0x0b;
const TYPE_MESSAGE: u32 = 0x10;
const TYPE_MESSAGE_MASK: u32 = 0x18;
const TYPE_FETCHADD: u32 = 0x0c;
const TYPE_CAS: u32 = 0x0e;

/** Byte 0 of the header: Fmt in bits 7:5, Type in 4:0. */
export function fmtTypeOf(kind: u32): u32 {
  return load<u8>(FMT_TYPE + kind);
}

export function kindOf(fmtType: u32): u32 {
  return load<u8>(KIND_OF + (fmtType & 0xff));
}

/** Fmt bit 0: four header DWs. */
export function isFourDw(fmtType: u32): bool {
  return (fmtType & 0x20) != 0;
}

/** Fmt bit 1: the TLP carries data. */
export function hasData(fmtType: u32): bool {
  return (fmtType & 0x40) != 0;
}

export function headerBytes(fmtType: u32): u32 {
  return isFourDw(fmtType) ? 16 : 12;
}

export function shapeOf(fmtType: u32): u32 {
  const type = fmtType & TYPE_MASK;
  if (type == TYPE_COMPLETION || type == TYPE_COMPLETION_LOCKED) return SHAPE_COMPLETION;
  if (type == TYPE_CONFIG0 || type == TYPE_CONFIG1) return SHAPE_CONFIG;
  if ((type & TYPE_MESSAGE_MASK) == TYPE_MESSAGE) return SHAPE_MESSAGE;
  return type == TYPE_IO ? SHAPE_IO : SHAPE_MEMORY;
}

/** FetchAdd, Swap or CAS. */
export function isAtomic(fmtType: u32): bool {
  const type = fmtType & TYPE_MASK;
  return type >= TYPE_FETCHADD && type <= TYPE_CAS;
}

/** CAS carries two operands, the value to compare and the value to swap in (2.7.2.1). */
export function isCompareAndSwap(fmtType: u32): bool {
  return (fmtType & TYPE_MASK) == TYPE_CAS;
}

/** Posted: memory writes and messages. Everything else is a request that waits, or its answer. */
export function flowClassOf(fmtType: u32): u32 {
  const shape = shapeOf(fmtType);
  if (shape == SHAPE_COMPLETION) return FC_COMPLETION;
  if (shape == SHAPE_MESSAGE) return FC_POSTED;
  return (fmtType & ~0x20) == 0x40 ? FC_POSTED : FC_NON_POSTED;
}
