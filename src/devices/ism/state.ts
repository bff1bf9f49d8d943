/** What an ISM function remembers. */
import type { Dmb } from './fabric.js';
import { WINDOW_BYTES } from './layout.js';

/** Something that the driver is to be told. */
export type Notice =
  | { readonly kind: 'signal'; readonly index: number; readonly element: number }
  | {
      readonly kind: 'event';
      readonly type: number;
      readonly code: number;
      readonly token: bigint;
      readonly info: bigint;
    };

export interface IsmState {
  /** Payload of the next command, at its offsets; cleared when the command has run. */
  request: Uint8Array;
  /** What reads of the command window find. */
  response: Uint8Array;
  /** DMA addresses of signal area and event queue; undefined: not registered. */
  sba: bigint | undefined;
  ieq: bigint | undefined;
  /** Entry of the event queue that is written next. */
  ieqNext: number;
  vlans: number[];
  /** SET_VLAN. */
  needsVlan: boolean;
  /** By SBA index. */
  dmbs: Map<number, Dmb>;
  /** What is still to be told; the first one is being told. */
  notices: Notice[];
}

export function newState(): IsmState {
  return {
    request: new Uint8Array(WINDOW_BYTES),
    response: new Uint8Array(WINDOW_BYTES),
    sba: undefined,
    ieq: undefined,
    ieqNext: 0,
    vlans: [],
    needsVlan: false,
    dmbs: new Map(),
    notices: [],
  };
}
