/** Fields of a submission queue entry (NVM Express 1.4, section 4.2, figure 105), and structures in little-endian order. */

//   byte  0  Opcode    1  FUSE (1:0), PSDT (7:6)   2  Command Identifier   4  Namespace Identifier
//        16  Metadata Pointer   24  PRP Entry 1   32  PRP Entry 2   40  CDW10  ...  60  CDW15

export const ENTRY_BYTES = 64;
export const COMPLETION_BYTES = 16;
/** All namespaces. */
export const EVERY_NAMESPACE = 0xffff_ffff;
/** The one there is. */
export const NAMESPACE = 1;

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Command dword `n`: 10 to 15. */
export function cdw(entry: Uint8Array, n: number): number {
  return view(entry).getUint32(4 * n, true);
}

export function nsid(entry: Uint8Array): number {
  return view(entry).getUint32(4, true);
}

/** Address in PRP Entry 1 or 2. */
export function prp(entry: Uint8Array, n: 1 | 2): bigint {
  return view(entry).getBigUint64(16 + 8 * n, true);
}

/** A structure of `length` bytes that is filled in field by field. */
export class Structure {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.view = view(this.bytes);
  }

  u8(at: number, value: number): this {
    this.view.setUint8(at, value);
    return this;
  }

  u16(at: number, value: number): this {
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(at: number, value: number): this {
    this.view.setUint32(at, value, true);
    return this;
  }

  u64(at: number, value: number | bigint): this {
    this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    return this;
  }

  /** ASCII, padded with spaces or zeros to `length` (section 1.6.9: strings are left justified). */
  text(at: number, length: number, value: string, pad = 0x20): this {
    this.bytes.fill(pad, at, at + length);
    for (let n = 0; n < Math.min(length, value.length); n++) this.bytes[at + n] = value.charCodeAt(n);
    return this;
  }

  put(at: number, bytes: Uint8Array): this {
    this.bytes.set(bytes, at);
    return this;
  }
}
