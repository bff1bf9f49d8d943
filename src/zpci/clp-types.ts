/** What CLP asks of a machine: its zPCI functions and function groups as the responses describe them. */
import type { Options } from '../base/options.js';
import type { U64 } from '../core/u64.js';
import type { FunctionState } from './states.js';

/** One BAR as query function reports it. */
export interface ClpBar {
  /** The BAR has 2^n bytes; 0 stands for a BAR that is not there. */
  readonly sizeExponent: number;
  /** Configuration dword of the BAR, flag bits included. */
  readonly word: number;
}

/** Addresses with which the MIO forms of the instructions reach a BAR. */
export interface MioAddresses {
  readonly writeBack: U64;
  readonly writeThrough: U64;
}

/** A zPCI function (zpci.md 4.3, 4.4). A field left out is 0, and its valid flag off. */
export interface ClpFunction {
  /** Index in the function table, 0 to 0xffff, unique. */
  readonly index: number;
  /** Function handle as it is now, 32 bits. */
  readonly handle: number;
  /** Function ID, 32 bits. */
  readonly fid: number;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly state: FunctionState;
  /** Function group ID (pfgid), 8 bits. */
  readonly groupId: number;
  /** First and last DMA address (SDMA, EDMA). */
  readonly sdma: U64;
  readonly edma: U64;
  /** BAR 0 to 5; the high dword of a 64-bit BAR is an entry of size exponent 0. */
  readonly bars: readonly (ClpBar | undefined)[];
  /** User-defined ID, 32 bits. */
  readonly uid?: number;
  /** Virtual function number, 16 bits. */
  readonly vfn?: number;
  readonly isPhysicalFunction?: boolean;
  /** Physical channel ID, 16 bits. */
  readonly pchid?: number;
  /** Function internal path, 4 bytes. */
  readonly path?: Uint8Array;
  /** Physical port, 4 bits. */
  readonly port?: number;
  /** Function type (pft), 8 bits; 5 is ISM. */
  readonly type?: number;
  /** Bytes of the measurement block: a multiple of 4 up to 1020. */
  readonly fmbBytes?: number;
  /** Routing ID, device and function number in the low byte. */
  readonly rid?: number;
  /** TID, 16 bits. */
  readonly tid?: number;
  /** Utility string in EBCDIC, up to 64 bytes. */
  readonly utilityString?: Uint8Array;
  /** MIO addresses of BAR 0 to 5; absent for a function that the MIO forms do not reach. */
  readonly mio?: readonly (MioAddresses | undefined)[];
}

/** A function group (zpci.md 4.5). A field left out is 0. */
export interface ClpGroup {
  /** Number of interrupts, 12 bits. */
  readonly noi: number;
  /** 1 makes Linux report 5 GT/s. */
  readonly version?: number;
  /** The guest has to issue RPCIT also when an invalid entry becomes valid. */
  readonly refresh: boolean;
  /** Large frames (flag 0x02). */
  readonly frame?: boolean;
  /** Relaxed length and alignment of PCISTB (flag 0x08, zpci.md 3.2). */
  readonly relaxed: boolean;
  /** Relaxed translation (flag 0x20). */
  readonly rtr?: boolean;
  /** Longest PCISTB in bytes, 13 bits. */
  readonly maxstbl: number;
  /** Interval of measurement updates in ms, 16 bits. */
  readonly mui: number;
  /** Supported designation types: bit 0x80 >> type. */
  readonly dtsm: number;
  readonly maxfaal?: number;
  /** Directed interrupts, 12 bits. */
  readonly directedInterrupts?: number;
  /** Most CPUs for directed interrupts, 16 bits. */
  readonly directedCpus?: number;
  /** DMA address space mask. */
  readonly dasm?: U64;
  /** MSI address. */
  readonly msia: U64;
}

/** Answer of a machine to set PCI function. */
export interface ClpSetAnswer {
  /** Response code; 0x0010 when it is done. */
  readonly response: number;
  /** Handle afterwards; stored only when it is done. */
  readonly handle: number;
}

/** What CLP asks of a machine. */
export interface ClpView extends Pick<Options, 'clpBarWords'> {
  /**
   * Bit, counted from the left, that makes a MIO address one for write-back; absent on a machine without MIO.
   */
  readonly writeBackBit?: number | undefined;
  /** UID checking is active, as QEMU says it is; default true. */
  readonly uidChecking?: boolean;
  /** All functions, reserved ones included, in any order. */
  functions(): readonly ClpFunction[];
  group(id: number): ClpGroup | undefined;
  /** Performs set PCI function: what `setFunctionResponse` allows. `gisa` is the GISA designation of the request. */
  setFunction(index: number, oc: number, ndas: number, gisa: number): ClpSetAnswer;
}
