/** What a device instance needs of the machine that it is plugged into. */
import type { U64 } from '../core/u64.js';
import type { DeviceOptions, DmaFailure, DmaOptions } from './types.js';

/** How the machine answers a DMA read. */
export type HostReadResult =
  | { readonly status: 'ok'; readonly data: Uint8Array }
  | { readonly status: DmaFailure };
export interface HostWriteResult {
  readonly status: 'ok' | DmaFailure;
}

/**
 * One per function. `done` of a DMA request is called exactly once; it may be called before the request returns: the
 * instance holds it back until the model's callback has ended.
 */
export interface DeviceHost {
  /** Simulated time in nanoseconds. Never goes back. */
  now(): number;
  /** Runs `callback` once `ns` have passed; never before `after` has returned. */
  after(ns: number, callback: () => void): void;
  dmaRead(address: U64, length: number, options: DmaOptions, done: (result: HostReadResult) => void): void;
  dmaWrite(
    address: U64,
    bytes: Uint8Array,
    options: DmaOptions,
    done: (result: HostWriteResult) => void,
  ): void;
  /** Sends the message of an MSI-X vector: a memory write of one DW. No Snoop and Relaxed Ordering are 0. */
  msix(vector: number, address: U64, data: number): void;
  /** An interrupt condition of an MSI vector; masking is the configuration space's. */
  msi(vector: number): void;
  log(text: string): void;
  /** The model was called through an entry, in nobody's access: what it asked for may be done now. */
  entered?(): void;
  /** Default: the defaults of the options. */
  readonly deviceOptions?: DeviceOptions;
  /**
   * The memory regions of BARs, when the machine serves them itself. Without it the instance holds them. Offsets are in
   * the BAR and lie in one memory region.
   */
  readonly memory?: {
    read(bar: number, offset: number, length: number): Uint8Array;
    write(bar: number, offset: number, bytes: Uint8Array): void;
  };
}
