/** The plug-in interface: what a device model declares, and what it is given. */
import type { AccessSizes } from '../base/device.js';
import type { Options } from '../base/options.js';
import type { U64 } from '../core/u64.js';
import type { ZpciTraits } from '../zpci/identity.js';
import type { Capabilities } from './capabilities.js';
import type { RegisterBank } from './register-bank.js';
import type { ByteOrder, RegisterMap } from './registers.js';

/** One entry per data byte, 0 for a byte that is not written; undefined when all are (the usual case). */
export type ByteEnables = Uint8Array | undefined;

// ------------------------------------------------------------------------------------------------------ BARs

/** What serves a part of a BAR. `msix-table` and `msix-pba` are the ones of the MSI-X capability. */
export type RegionKind = 'memory' | 'registers' | 'callback' | 'msix-table' | 'msix-pba';

/** How an emulator dispatches accesses (QEMU `valid` and `impl`). On real hardware there are no such rules. */
interface EmulatorRules {
  /** Accepted access sizes and alignment. Default 1 to 8 bytes, aligned; MSI-X: 4 to 8 bytes, aligned. */
  readonly valid?: AccessSizes;
  /** Sizes of the device's calls. Default 1 to 8 bytes; MSI-X: 1 to 4 bytes. */
  readonly impl?: AccessSizes;
}

interface RegisterPart<S> {
  readonly registers: RegisterMap<DeviceContext<S>>;
  /** Default `little`, the rule of PCI. */
  readonly byteOrder?: ByteOrder;
}

/** A part of a BAR. Parts do not overlap; what none covers reads as 0 and ignores writes. */
export type DeviceRegion<S = unknown> = EmulatorRules & {
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  /** Bytes. MSI-X regions: default what the vectors take. */
  readonly size?: number;
  readonly kind: RegionKind;
} & Partial<RegisterPart<S>>;

interface BarCommon extends EmulatorRules {
  /** Bytes: a power of two; memory 16 to 2^31 (32 bits) or 2^52 (64 bits), I/O 4 to 256. */
  readonly size: number;
  /** Default `memory`. */
  readonly space?: 'memory' | 'io';
  /** Default 32. A 64-bit BAR takes the next BAR number too. Memory only. */
  readonly bits?: 32 | 64;
  /** Default false. Memory only. */
  readonly prefetchable?: boolean;
}

type MemoryBar = BarCommon & { readonly memory: true };
type RegisterBar<S> = BarCommon & RegisterPart<S>;
type CallbackBar = BarCommon & { readonly callback: true };
type RegionBar<S> = Omit<BarCommon, 'valid' | 'impl'> & { readonly regions: readonly DeviceRegion<S>[] };

/**
 * One base address register: all memory, all registers, all callback, or a list of regions. In the first three forms an
 * MSI-X table or PBA in the same BAR is cut out of it.
 */
export type DeviceBar<S = unknown> = MemoryBar | RegisterBar<S> | CallbackBar | RegionBar<S>;

// ------------------------------------------------------------------------------------------------- callbacks

/** Where an access of a callback region is: BAR number, and bytes from the start of that BAR. */
export interface BarOffset {
  readonly bar: number;
  readonly offset: number;
  /** Set for a Deferrable Memory Write (ENQCMD): `write` may answer it with `'retry'`. */
  readonly deferrable?: true;
}

/** Resets of the specification: fundamental (cold or warm), hot, Function Level Reset, D3hot to D0. */
export type ResetKind = 'cold' | 'warm' | 'hot' | 'flr' | 'd3hot';

/** A PCI instruction of s390x, before its length and alignment are checked. */
export interface PciInstruction {
  /** The forms with a handle, and those with a MIO address, which the kernels of machines with MIO use. */
  readonly op: 'pcilg' | 'pcistg' | 'pcistb' | 'pcilgi' | 'pcistgi' | 'pcistbi';
  /** Address space: 0 to 5 the BAR, 15 configuration space. */
  readonly as: number;
  readonly offset: U64;
  readonly length: number;
}

/** `true`: go on; else what the instruction answers: condition code 1 to 3 with a status byte, or a program interruption. */
export type InstructionAnswer =
  | true
  | { readonly cc: 1 | 2 | 3; readonly status: number }
  | {
      readonly programInterruption: 'privileged operation' | 'addressing' | 'specification' | 'operand';
    };

/**
 * A device model. `S` is the private state of one instance.
 *
 * A callback that throws is contained: a read is answered with Completer Abort, a write is dropped, and the report names
 * the model and the callback.
 */
export interface DeviceDefinition<S = unknown> {
  /** Letters, digits, `-`, `_` and `.`; named in reports. */
  readonly name: string;
  /** 16 bits. Left out with `config`. */
  readonly vendorId?: number;
  /** 16 bits. Left out with `config`. */
  readonly deviceId?: number;
  /** 8 bits. Default 0. */
  readonly revision?: number;
  /** 24 bits: base class, subclass, programming interface. Default 0xff0000 (no class). */
  readonly classCode?: number;
  /** 16 bits. Default: `vendorId`. */
  readonly subsystemVendorId?: number;
  /** 16 bits. Default: `deviceId`. */
  readonly subsystemId?: number;
  /** 1 to 4: INTA to INTD; 0: none. Default 0. */
  readonly interruptPin?: number;
  /** By BAR number, at most 6; undefined: not implemented. */
  readonly bars?: readonly (DeviceBar<S> | undefined)[];
  /** Expansion ROM: 2 KiB to 16 MiB, a power of two. Its contents are not modelled. */
  readonly rom?: { readonly size: number };
  readonly capabilities?: Capabilities;
  /** Bytes of configuration space (256 or 4096) instead of identity and capabilities, as `lspci -xxxx` dumps them. */
  readonly config?: Uint8Array;
  /** What firmware of an s390x machine says of the device. */
  readonly zpci?: ZpciTraits;
  /** Version of what `save` gives. Another version's save is refused. Default 1. */
  readonly stateVersion?: number;
  /** A write to a callback region is told once per access, when its last TLP has arrived, not once per MWr. */
  readonly blockWrites?: boolean;

  /** Fresh state of one instance: called at creation and at each reset. */
  state?(): S;
  /**
   * Once, when an instance was made: a model that is wired to something makes its entry here (`ctx.entry`). No reset and no load
   * changes that.
   */
  connect?(ctx: DeviceContext<S>): void;
  /**
   * A read of a callback region. A number or bigint is little-endian and has to fit in `length` bytes; bytes are exactly
   * `length`.
   */
  read?(at: BarOffset, length: number, ctx: DeviceContext<S>): Uint8Array | number | bigint;
  /**
   * A write to a callback region. `bytes` belongs to the model. Registers have write hooks of their own. The answer
   * `'retry'` to a Deferrable Memory Write is Request Retry Status: the write was not taken, software tries again.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a callback without a return statement is the usual case
  write?(at: BarOffset, bytes: Uint8Array, byteEnables: ByteEnables, ctx: DeviceContext<S>): 'retry' | void;
  /** After the defaults of a reset: fresh state, registers, MSI-X and memory; no timer and no DMA outstanding. */
  reset?(kind: ResetKind, ctx: DeviceContext<S>): void;
  /** What to save instead of the whole state: anything that `structuredClone` takes. Together with `load`. */
  save?(ctx: DeviceContext<S>): unknown;
  /** Takes what `save` gave, after registers, MSI-X and memory were restored. Timers may be set again here. */
  load?(saved: unknown, ctx: DeviceContext<S>): void;
  /** The device is going to be stopped: issue nothing new until the next access or reset. */
  quiesce?(ctx: DeviceContext<S>): void;
  /** Asked after the handle, state and space of a PCI instruction were checked. */
  acceptInstruction?(instruction: PciInstruction, ctx: DeviceContext<S>): InstructionAnswer;
}

// --------------------------------------------------------------------------------------------------- context

/** How a DMA request is marked on the link. All default to no. */
export interface DmaOptions {
  readonly noSnoop?: boolean;
  readonly relaxedOrdering?: boolean;
  readonly idOrdering?: boolean;
  /**
   * Process Address Space ID, 20 bits. Blocked unless software set PASID Enable of the capability; without an IOMMU the
   * root complex answers Unsupported Request.
   */
  readonly pasid?: number;
  /** Address Type: `translated` for an address that ATS gave. Default `untranslated`. */
  readonly at?: 'untranslated' | 'translated';
}

/**
 * `blocked`: the request never left the function (Bus Master Enable off, a power state other than D0, or a PASID without
 * PASID Enable).
 */
export type DmaFailure = 'unsupported-request' | 'completer-abort' | 'blocked';
export type DmaReadResult =
  | { readonly status: 'ok'; readonly data: Uint8Array }
  | { readonly status: DmaFailure; readonly data?: undefined };
export interface DmaWriteResult {
  readonly status: 'ok' | DmaFailure;
}

/** Named options that device models look at (docs/options.md, scope D). */
export type DeviceOptions = Readonly<
  Pick<Options, 'ismForbiddenAccess' | 'ismMaskBitOrder' | 'ismRejectStatus' | 'ismSuppressMsi'>
>;

/** Memory of a BAR's memory regions, for the device itself. Offsets in bytes from the start of the BAR. */
export interface BarMemory {
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
}

/** What a model is given with every callback: one object per instance. */
export interface DeviceContext<S = unknown> {
  /** The private state. Another object after a reset or a load. */
  readonly state: S;
  /** The registers of a BAR. Throws for a BAR without registers. */
  registers(bar: number): RegisterBank;
  /** The memory of a BAR. Throws for a BAR without memory. */
  memory(bar: number): BarMemory;
  /** `done` runs after the current callback has returned; never after a reset. Lengths up to 2^24 bytes. */
  readonly dma: {
    read(address: U64, length: number, options: DmaOptions, done: (result: DmaReadResult) => void): void;
    /** `bytes` is copied. A posted write is done when it was handed to the link. */
    write(
      address: U64,
      bytes: Uint8Array,
      options?: DmaOptions,
      done?: (result: DmaWriteResult) => void,
    ): void;
  };
  readonly msix: {
    /** Sends the message of a vector, or sets its pending bit while it is masked. Throws for a vector there is not. */
    raise(vector: number): void;
    /** Takes back a message that is pending. */
    clear(vector: number): void;
  };
  readonly msi: {
    raise(vector: number): void;
  };
  /** Simulated time. */
  readonly time: { readonly ns: number };
  /** Calls back `ns` (0 or more) later; returns what cancels it. A reset cancels it too. */
  after(ns: number, callback: () => void): () => void;
  /**
   * A function that others may call at any time: a model that is wired to this one, or a script. What it does runs as the callback
   * `name` of this model, at once or when the callback that is running has returned. Keep it outside of `state`.
   */
  entry<A extends readonly unknown[]>(name: string, callback: (...args: A) => void): (...args: A) => void;
  /** As the slot of the function has them. */
  readonly options: DeviceOptions;
  /** One line of the report. */
  log(text: string): void;
  readonly stats: {
    /** Adds `by` (default 1) to the counter `name`. */
    count(name: string, by?: number): void;
  };
}
