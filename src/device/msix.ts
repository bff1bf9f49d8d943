/** MSI-X table and Pending Bit Array of one instance (PCIe base specification 6.1.4, 7.7.2): masking, pending, sending. */
import { inRange } from '../base/errors.js';
import { join64, type U64 } from '../core/u64.js';
import { word32 } from '../pci/capabilities.js';
import { pbaBytes, tableBytes } from './capabilities.js';
import { checkFields } from './check.js';
import type { ByteEnables } from './types.js';

// Entry of the table, 16 bytes:
//
//   0  Message Address (low)    4  Message Upper Address    8  Message Data    12  Vector Control: bit 0 Mask
//
// All bytes of an entry can be written and read back, also the reserved ones, as in QEMU; only the Mask bit acts. After a
// reset every Mask bit is 1. Software cannot write the PBA.

const ENTRY = 16;
const VECTOR_CONTROL = 12;
const MASK = 1;

/** Sends the message of a vector. */
export type SendMessage = (vector: number, address: U64, data: number) => void;

/** The tables of one instance as `save` gives them. */
export interface SavedMsix {
  readonly table: readonly number[];
  readonly pending: readonly number[];
  readonly enabled: boolean;
  readonly functionMask: boolean;
}

export class Msix {
  private readonly table: Uint8Array;
  private readonly pending: Uint8Array;
  private enabled = false;
  private functionMask = false;

  /** @param vectors 1 to 2048 */
  constructor(
    readonly vectors: number,
    private readonly send: SendMessage,
  ) {
    this.table = new Uint8Array(tableBytes(vectors));
    this.pending = new Uint8Array(pbaBytes(vectors));
    this.reset();
  }

  /** As after a reset: disabled, every vector masked, nothing pending. */
  reset(): void {
    this.table.fill(0);
    for (let vector = 0; vector < this.vectors; vector++) this.table[ENTRY * vector + VECTOR_CONTROL] = MASK;
    this.pending.fill(0);
    this.enabled = false;
    this.functionMask = false;
  }

  /** MSI-X Enable and Function Mask of the capability's Message Control. Sends what is no longer held back. */
  control(enabled: boolean, functionMask: boolean): void {
    this.enabled = enabled;
    this.functionMask = functionMask;
    this.sendPending(0, this.vectors);
  }

  /**
   * The device's interrupt condition. A masked vector becomes pending; so does every vector while MSI-X is not enabled, as
   * in QEMU.
   */
  raise(vector: number): void {
    this.check(vector);
    if (this.isMasked(vector)) this.setPending(vector, true);
    else this.sendNow(vector);
  }

  /** The condition is gone before its message was sent. */
  clear(vector: number): void {
    this.setPending(this.check(vector), false);
  }

  isPending(vector: number): boolean {
    return ((this.pending[vector >>> 3] as number) & (1 << (vector & 7))) !== 0;
  }

  readTable(offset: number, length: number): Uint8Array {
    return this.table.slice(offset, offset + length);
  }

  readPending(offset: number, length: number): Uint8Array {
    return this.pending.slice(offset, offset + length);
  }

  /** Writes bytes of the table; then vectors that are no longer masked send what is pending, the lowest first. */
  writeTable(offset: number, bytes: Uint8Array, byteEnables: ByteEnables): void {
    bytes.forEach((byte, index) => {
      if (byteEnables === undefined || byteEnables[index] !== 0) this.table[offset + index] = byte;
    });
    this.sendPending(Math.floor(offset / ENTRY), Math.ceil((offset + bytes.length) / ENTRY));
  }

  save(): SavedMsix {
    const { enabled, functionMask } = this;
    return { table: [...this.table], pending: [...this.pending], enabled, functionMask };
  }

  /** Takes what `save` gave and `check` passed. Sends nothing: a pending message stays pending. */
  load(saved: SavedMsix): void {
    this.table.set(saved.table);
    this.pending.set(saved.pending);
    this.enabled = saved.enabled;
    this.functionMask = saved.functionMask;
  }

  /** Throws unless `saved` fits these tables. */
  checkSaved(saved: unknown): void {
    const fields = checkFields('msix', saved, ['table', 'pending', 'enabled', 'functionMask']);
    for (const key of ['table', 'pending'] as const) {
      const list = fields[key];
      const bytes: readonly unknown[] = Array.isArray(list) ? list : [];
      inRange(`msix.${key}.length`, bytes.length, this[key].length, this[key].length);
      bytes.forEach((byte, index) => {
        inRange(`msix.${key}[${index}]`, byte as number, 0, 0xff);
      });
    }
    for (const key of ['enabled', 'functionMask'] as const) inRange(`msix.${key}`, Number(fields[key]), 0, 1);
  }

  private check(vector: number): number {
    return inRange('vector', vector, 0, this.vectors - 1);
  }

  private isMasked(vector: number): boolean {
    const control = this.table[ENTRY * vector + VECTOR_CONTROL] as number;
    return !this.enabled || this.functionMask || (control & MASK) !== 0;
  }

  private setPending(vector: number, value: boolean): void {
    const index = vector >>> 3;
    const bit = 1 << (vector & 7);
    const byte = this.pending[index] as number;
    this.pending[index] = value ? byte | bit : byte & ~bit;
  }

  private sendPending(first: number, end: number): void {
    for (let vector = first; vector < end; vector++) {
      if (!this.isPending(vector) || this.isMasked(vector)) continue;
      // First cleared: sending may raise the vector again.
      this.setPending(vector, false);
      this.sendNow(vector);
    }
  }

  private sendNow(vector: number): void {
    const entry = ENTRY * vector;
    // The low two bits of the address have to be 0 (7.7.2.4): a message is one aligned DW.
    const address = join64((word32(this.table, entry) & ~3) >>> 0, word32(this.table, entry + 4));
    this.send(vector, address, word32(this.table, entry + 8));
  }
}
