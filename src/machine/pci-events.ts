/** The events of zPCI functions in their order, with the records that a channel report would bring (zpci.md 5.6). */
import type { U64 } from '../core/u64.js';
import { encodeAvailabilityRecord, encodeErrorRecord } from '../zpci/events.js';
import type { PciFunction } from './function.js';

/** An event of a zPCI function. */
export interface PciEvent {
  /** An error of the function, content code 1; or it came, went or is wanted back, content code 2. */
  readonly kind: 'error' | 'availability';
  readonly slot: number;
  /** Function handle then, and function ID. */
  readonly fh: number;
  readonly fid: number;
  /** PCI event code: 1 invalid address space, 2 out of range, 4 translation, 7 to 9 malformed tables, 0x0301 and up. */
  readonly code: number;
  /** Failing I/O address of an error; else 0. */
  readonly address: U64;
  /** The device was reading; false for a write, for RPCIT and where nobody accessed anything. */
  readonly isRead: boolean;
  /** The record as the guest would store it, 32 bytes. */
  readonly record: Uint8Array;
}

export class PciEvents {
  private list: PciEvent[] = [];

  /** An error, already seen in the state of the function. */
  error(fn: PciFunction, code: number, address: U64, isRead = false): void {
    const { slot, handle: fh, fid } = fn;
    // The detail word stays 0, as QEMU 7.2 leaves it.
    const record = encodeErrorRecord({ fh, fid, pec: code, address });
    this.list.push({ kind: 'error', slot, fh, fid, code, address, isRead, record });
  }

  /** The function came or went, or is wanted back. */
  availability(fn: PciFunction, code: number): void {
    const { slot, handle: fh, fid } = fn;
    const record = encodeAvailabilityRecord({ fh, fid, pec: code });
    this.list.push({ kind: 'availability', slot, fh, fid, code, address: 0, isRead: false, record });
  }

  /** The events since the last call. */
  take(): PciEvent[] {
    return this.list.splice(0);
  }
}
