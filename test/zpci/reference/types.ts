/** What a guest and its devices do to zPCI functions, one step at a time, and what the functions are. */
import type { FunctionState } from '../../../src/index.js';

export type State = FunctionState;

/** Operands that the load and store instructions share. */
interface Addressed {
  readonly fh: number;
  readonly as: number;
  readonly offset: bigint;
  readonly length: number;
  readonly problemState: boolean;
}

export type Instruction =
  | (Addressed & { readonly kind: 'pcilg'; readonly r2: number })
  | (Addressed & { readonly kind: 'pcistg'; readonly r2: number; readonly data: bigint })
  | (Addressed & { readonly kind: 'pcistb'; readonly source: bigint })
  | {
      readonly kind: 'rpcit';
      readonly fh: number;
      readonly start: bigint;
      readonly length: bigint;
      readonly r2: number;
      readonly problemState: boolean;
    }
  | {
      readonly kind: 'mpcifc';
      readonly fh: number;
      readonly oc: number;
      readonly dmaas: number;
      readonly fib: bigint;
      readonly problemState: boolean;
    }
  | {
      readonly kind: 'stpcifc';
      readonly fh: number;
      readonly dmaas: number;
      readonly fib: bigint;
      readonly problemState: boolean;
    }
  | { readonly kind: 'clp'; readonly address: bigint; readonly problemState: boolean }
  | {
      readonly kind: 'sic';
      readonly operation: number;
      readonly isc: number;
      readonly problemState: boolean;
    }
  | { readonly kind: 'sclp'; readonly command: 'configure' | 'deconfigure'; readonly fid: number }
  /** The guest stores into its own memory. */
  | { readonly kind: 'store'; readonly address: number; readonly bytes: Uint8Array }
  /** The device reads or writes memory: because a PCISTG rang its doorbell, or because its own time has come. */
  | {
      readonly kind: 'dma';
      readonly slot: number;
      readonly isRead: boolean;
      readonly address: bigint;
      /** What is written; of a read only its length counts. */
      readonly bytes: Uint8Array;
      /** Handle for the doorbell. */
      readonly doorbell: number | undefined;
    }
  /** Firmware moves a function to a state that no instruction leads to. */
  | { readonly kind: 'firmware'; readonly slot: number; readonly state: State }
  | { readonly kind: 'run'; readonly ns: number };

export type Kind = Instruction['kind'];
export type Operands<K extends Kind> = Extract<Instruction, { kind: K }>;

export interface BarShape {
  readonly size: number;
  /** Sizes that an emulator's region takes; real hardware has no such rule. */
  readonly valid: { readonly min: number; readonly max: number };
}

/** What stays as it is while a machine runs. */
export interface FunctionShape {
  readonly index: number;
  readonly fid: number;
  readonly uid: number;
  readonly mode: 'emulated' | 'vfio' | 'native';
  /** Of the function's group. */
  readonly relaxed: boolean;
  readonly maxstbl: number;
  readonly dtsm: number;
  readonly groupId: number;
  readonly dwordRule: 'qemu' | 'page';
  readonly dmaInErrorLsOpen: 'blocked' | 'allowed';
  /** Memory BARs by number. */
  readonly bars: readonly (BarShape | undefined)[];
  /** BAR that is no memory: its first DW is the doorbell. */
  readonly doorbellBar: number;
  readonly doorbellBytes: number;
  /** The first 64 bytes of configuration space as firmware left them. */
  readonly config: Uint8Array;
}

/** Addresses of every group (zpci.md 4.4, 4.5). */
export const SDMA = 0x1_0000_0000n;
export const EDMA = 0x01ff_ffff_ffff_ffffn;
export const MSIA = 0xfe00_0000_0000_0000n;
export const MUI_NS = 4_000_000_000;
export const ENABLE_BIT = 0x8000_0000;
export const FIB_BYTES = 80;

/** Answers as text: what the two machines are compared by. */
export const DONE = 'cc 0';
export const UNAVAILABLE = 'cc 3';
export const failed = (status: number): string => `cc 1 status ${status}`;
export const exception = (name: string, ilc: 4 | 6): string => `${name} ilc ${ilc}`;
