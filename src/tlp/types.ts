/** The public shape of a TLP: names of the PCIe base specification, one field per header field. */
import type { U64 } from '../core/u64.js';

/** TLP kinds as the specification abbreviates them. The address format is in `headerDw`. */
export type TlpType =
  | 'MRd'
  | 'MRdLk'
  | 'MWr'
  | 'IORd'
  | 'IOWr'
  | 'CfgRd0'
  | 'CfgWr0'
  | 'CfgRd1'
  | 'CfgWr1'
  | 'Msg'
  | 'MsgD'
  | 'Cpl'
  | 'CplD'
  | 'CplLk'
  | 'CplDLk'
  | 'FetchAdd'
  | 'Swap'
  | 'CAS'
  | 'DMWr';

/** Ordering and snoop attributes (2.2.6.3). */
export interface Attributes {
  /** No Snoop. */
  readonly ns: boolean;
  /** Relaxed Ordering. */
  readonly ro: boolean;
  /** ID-based Ordering. */
  readonly ido: boolean;
}

/** One TLP prefix, a DW before the header (2.2.10). */
export interface TlpPrefix {
  /** Local prefixes end at the next port and come first. */
  readonly scope: 'local' | 'endToEnd';
  /** 0..15: local 0 MR-IOV; end-to-end 0 extended TPH, 1 PASID, 2 IDE; 14 and 15 are the vendor's in both scopes. */
  readonly type: number;
  /** Bytes 1 to 3 as a big-endian number. */
  readonly value: number;
}

/** Contents of a PASID prefix (6.20). */
export interface Pasid {
  /** Process Address Space ID, 20 bits. */
  readonly pasid: number;
  /** Privileged Mode Requested. */
  readonly privileged: boolean;
  /** Execute Requested. */
  readonly execute: boolean;
}

/**
 * What `encodeTlp` takes. Left out fields are 0. Fields of other kinds are ignored, and so is what else a decoded TLP
 * has; a field that no TLP has is refused.
 */
export interface TlpInput {
  readonly type: TlpType;
  /** Header DWs of memory requests: by default 3 below 4 GiB and 4 from there on (2.2.4.1). */
  readonly headerDw?: 3 | 4;
  /** Traffic Class, 0..7. */
  readonly tc?: number;
  readonly attr?: Partial<Attributes>;
  /** Address Type: 0 untranslated, 1 translation request, 2 translated. */
  readonly at?: number;
  /** TLP Hints present, and the Processing Hint in the low address bits. */
  readonly th?: boolean;
  readonly ph?: number;
  /** Lightweight Notification. */
  readonly ln?: boolean;
  /** TLP Digest: four ECRC bytes follow the data. */
  readonly td?: boolean;
  /** Error Poisoned. */
  readonly ep?: boolean;
  /** Length in DW, 1..1024. By default from the data; 1 without data. */
  readonly length?: number;
  /** Requester ID, 16 bits: bus, device, function. */
  readonly requester?: number;
  /** Tag, 10 bits. */
  readonly tag?: number;
  /** First and Last DW Byte Enables, 4 bits each; by default all bytes of `length`. */
  readonly firstBe?: number;
  readonly lastBe?: number;
  /** Byte address, multiple of 4. */
  readonly address?: U64;
  /** Completer ID of a completion. */
  readonly completer?: number;
  /** Destination ID of a configuration request, or of a message that is routed by ID. */
  readonly destination?: number;
  /** Configuration byte offset, multiple of 4, 0..0xffc. */
  readonly register?: number;
  /** Completion status: 0 SC, 1 UR, 2 RRS, 4 CA. */
  readonly status?: number;
  /** Byte Count Modified. */
  readonly bcm?: boolean;
  /** Bytes still to come including this completion, 1..4096. */
  readonly byteCount?: number;
  /** Lower Address, 7 bits. */
  readonly lowerAddress?: number;
  /** Routing of a message: 0 to root, 1 by address, 2 by ID, 3 broadcast, 4 local, 5 gathered. */
  readonly routing?: number;
  /** Message code, 8 bits; `MESSAGES` names them. */
  readonly messageCode?: number;
  /** Bytes 8 to 15 of a message as a big-endian number. Routed by ID, its upper 16 bits are the destination. */
  readonly message?: U64;
  /** Prefixes in the order of sending: local ones, then at most four end-to-end ones. */
  readonly prefixes?: readonly TlpPrefix[];
  /** Adds the PASID prefix, unless `prefixes` has it. */
  readonly pasid?: Pasid | undefined;
  /**
   * Steering tag of a memory request with `th`, 8 or 16 bits: in the place of a write's tag, in the place of the byte
   * enables of everything else; bits 15:8 make an extended TPH prefix (2.2.7.1).
   */
  readonly steeringTag?: number | undefined;
}

/** A decoded TLP: every field, and what follows from them. */
export interface Tlp {
  readonly type: TlpType;
  readonly headerDw: 3 | 4;
  /** Fmt and Type fields as numbers. */
  readonly fmt: number;
  readonly typeField: number;
  readonly tc: number;
  readonly attr: Attributes;
  readonly at: number;
  readonly th: boolean;
  readonly ph: number;
  readonly ln: boolean;
  readonly td: boolean;
  readonly ep: boolean;
  /** In DW; 0 for completions and messages without data. */
  readonly length: number;
  readonly requester: number;
  readonly tag: number;
  readonly firstBe: number;
  readonly lastBe: number;
  /** Byte address of the first DW; 0 where there is none. */
  readonly address: U64;
  readonly completer: number;
  readonly destination: number;
  readonly register: number;
  readonly status: number;
  readonly bcm: boolean;
  readonly byteCount: number;
  readonly lowerAddress: number;
  readonly routing: number;
  readonly messageCode: number;
  readonly message: U64;
  readonly prefixes: readonly TlpPrefix[];
  /** What the PASID prefix says, when there is one. */
  readonly pasid: Pasid | undefined;
  /** Steering tag of a memory request with TH. */
  readonly steeringTag: number | undefined;
  /** Flow-control class. */
  readonly flow: 'P' | 'NP' | 'CPL';
  /** Data credits of 16 bytes. */
  readonly dataCredits: number;
  /** Prefixes; the header follows them. */
  readonly prefixBytes: number;
  readonly headerBytes: number;
  readonly payloadBytes: number;
  /** Bytes on a non-flit link: framing, sequence, prefixes, header, data, digest, LCRC (sheet link.md 4). */
  readonly wireBytes: number;
}

/** A rule of the specification that a received TLP breaks. */
export interface Malformed {
  readonly code:
    | 'length'
    | 'digest'
    | 'byte-enables'
    | 'crosses-4k'
    | 'io-config'
    | 'payload'
    | 'prefix'
    | 'message-routing'
    | 'message-tc'
    | 'atomic-length'
    | 'atomic-alignment'
    | 'deferrable-length'
    | 'address-format'
    | 'hint'
    | 'address-type';
  readonly rule: string;
  /** Section of the PCIe base specification. */
  readonly section: string;
}
