/** Encodes and decodes single TLPs: the typed face of assembly/tlp/header.ts. */
import * as L from '../../assembly/layout.js';
import { invalid, ZtlpError } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { sharedCore } from '../core/shared.js';
import { checkU64, high32, join64, low32 } from '../core/u64.js';
import type { Malformed, Tlp, TlpInput, TlpType } from './types.js';

/** Kind numbers by type: [3 DW header, 4 DW header]; one entry where there is no 64-bit form. */
const KINDS: Readonly<Record<TlpType, readonly [number, number?]>> = {
  MRd: [L.KIND_MRD32, L.KIND_MRD64],
  MRdLk: [L.KIND_MRDLK32, L.KIND_MRDLK64],
  MWr: [L.KIND_MWR32, L.KIND_MWR64],
  IORd: [L.KIND_IORD],
  IOWr: [L.KIND_IOWR],
  CfgRd0: [L.KIND_CFGRD0],
  CfgWr0: [L.KIND_CFGWR0],
  CfgRd1: [L.KIND_CFGRD1],
  CfgWr1: [L.KIND_CFGWR1],
  Cpl: [L.KIND_CPL],
  CplD: [L.KIND_CPLD],
  CplLk: [L.KIND_CPLLK],
  CplDLk: [L.KIND_CPLDLK],
  FetchAdd: [L.KIND_FETCHADD32, L.KIND_FETCHADD64],
  Swap: [L.KIND_SWAP32, L.KIND_SWAP64],
  CAS: [L.KIND_CAS32, L.KIND_CAS64],
  DMWr: [L.KIND_DMWR32, L.KIND_DMWR64],
};

/** Type by kind number. */
const TYPES: readonly TlpType[] = (Object.entries(KINDS) as [TlpType, readonly [number, number?]][]).reduce<
  TlpType[]
>((list, [type, kinds]) => {
  for (const kind of kinds) if (kind !== undefined) list[kind] = type;
  return list;
}, []);

/** Type names by the kind number of the core: 32-bit and 64-bit forms share one. */
export const KIND_NAMES: readonly string[] = TYPES;

/** Every TLP type, in the order of the specification's table. */
export const TLP_TYPES = Object.keys(KINDS) as readonly TlpType[];

const COMPLETIONS: ReadonlySet<TlpType> = new Set(['Cpl', 'CplD', 'CplLk', 'CplDLk']);
const WITH_DATA: ReadonlySet<TlpType> = new Set([
  'MWr',
  'IOWr',
  'CfgWr0',
  'CfgWr1',
  'CplD',
  'CplDLk',
  'FetchAdd',
  'Swap',
  'CAS',
  'DMWr',
]);
const FLOWS = ['P', 'NP', 'CPL'] as const;

const RULES: Readonly<Record<number, Malformed>> = {
  [L.DECODE_LENGTH]: { code: 'length', rule: 'data bytes differ from the Length field' },
  [L.DECODE_DIGEST]: { code: 'digest', rule: 'TD and the presence of a digest DW disagree' },
  [L.DECODE_BYTE_ENABLES]: {
    code: 'byte-enables',
    rule: 'byte enables break the rules for this Length and address',
  },
  [L.DECODE_CROSS_4K]: { code: 'crosses-4k', rule: 'memory request crosses a 4 KiB boundary' },
  [L.DECODE_IO_CONFIG]: {
    code: 'io-config',
    rule: 'I/O and configuration requests have Length 1, Last DW BE 0 and TC, Attr, AT 0',
  },
  [L.DECODE_PAYLOAD]: { code: 'payload', rule: 'payload is longer than Max_Payload_Size' },
};

/** Throws unless `value` is an integer from `min` to `max`. */
function inRange(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(field, value, `an integer from ${min} to ${max}`, 'out-of-range');
}

/** `type` has data behind its header. */
export function hasData(type: TlpType): boolean {
  return WITH_DATA.has(type);
}

function kindOf(input: TlpInput, address: number | bigint): number {
  const kinds = KINDS[input.type];
  if (kinds === undefined) throw invalid('type', input.type, TLP_TYPES.join(', '), 'unknown-name');
  const high = high32(address) !== 0;
  const wide = kinds[1];
  if (wide === undefined) {
    if (high)
      throw invalid('address', address, `below 4 GiB: ${input.type} has no 64-bit address`, 'out-of-range');
    return kinds[0];
  }
  const dw = input.headerDw ?? (high ? 4 : 3);
  if (dw !== 3 && dw !== 4) throw invalid('headerDw', dw, '3 or 4');
  if (dw === 3 && high) throw invalid('headerDw', dw, '4 for an address at or above 4 GiB');
  return dw === 4 ? wide : kinds[0];
}

/** Length in DW of the TLP to encode. */
function lengthOf(input: TlpInput, data: Uint8Array | undefined): number {
  const carries = hasData(input.type);
  if (!carries && data !== undefined && data.length > 0) {
    throw invalid('data', data, `none: ${input.type} carries none`);
  }
  // Length is reserved in completions without data (2.2.1).
  if (!carries && COMPLETIONS.has(input.type)) return inRange('length', input.length ?? 0, 0, 0);
  const given = input.length ?? (carries && data !== undefined ? data.length / 4 : 1);
  inRange('length', given, 1, 1024);
  if (carries && data?.length !== given * 4) {
    throw invalid('data', data, `${given * 4} bytes for Length ${given}`, 'malformed');
  }
  return given;
}

/** Writes `input` into the FIELDS block. */
function fillFields(core: Core, input: TlpInput, data: Uint8Array | undefined): void {
  const address = checkU64('address', input.address ?? 0);
  const set = (field: number, value: number): void => core.setWord(L.PLACE_FIELDS, field, value);
  const kind = kindOf(input, address);
  const length = lengthOf(input, data);
  if ((low32(address) & 3) !== 0) throw invalid('address', address, 'a multiple of 4', 'out-of-range');
  const register = inRange('register', input.register ?? 0, 0, 0xffc);
  if ((register & 3) !== 0) throw invalid('register', register, 'a multiple of 4', 'out-of-range');
  const { ns = false, ro = false, ido = false } = input.attr ?? {};
  set(L.FIELD_KIND, kind);
  set(L.FIELD_TC, inRange('tc', input.tc ?? 0, 0, 7));
  set(L.FIELD_ATTR, (ns ? 1 : 0) | (ro ? 2 : 0) | (ido ? 4 : 0));
  set(L.FIELD_AT, inRange('at', input.at ?? 0, 0, 3));
  set(L.FIELD_TH, input.th ? 1 : 0);
  set(L.FIELD_LN, input.ln ? 1 : 0);
  set(L.FIELD_TD, input.td ? 1 : 0);
  set(L.FIELD_EP, input.ep ? 1 : 0);
  set(L.FIELD_LENGTH, length);
  set(L.FIELD_REQUESTER, inRange('requester', input.requester ?? 0, 0, 0xffff));
  set(L.FIELD_TAG, inRange('tag', input.tag ?? 0, 0, 0x3ff));
  set(L.FIELD_FIRST_BE, inRange('firstBe', input.firstBe ?? 0xf, 0, 0xf));
  set(L.FIELD_LAST_BE, inRange('lastBe', input.lastBe ?? (length > 1 ? 0xf : 0), 0, 0xf));
  set(L.FIELD_ADDRESS_LO, low32(address));
  set(L.FIELD_ADDRESS_HI, high32(address));
  set(L.FIELD_PH, inRange('ph', input.ph ?? 0, 0, 3));
  const id = input.type.startsWith('Cfg') ? 'destination' : 'completer';
  set(L.FIELD_COMPLETER, inRange(id, input[id] ?? 0, 0, 0xffff));
  set(L.FIELD_REGISTER, register);
  if (!COMPLETIONS.has(input.type)) return;
  set(L.FIELD_STATUS, inRange('status', input.status ?? 0, 0, 7));
  set(L.FIELD_BCM, input.bcm ? 1 : 0);
  set(L.FIELD_BYTE_COUNT, inRange('byteCount', input.byteCount ?? 4, 1, 4096));
  set(L.FIELD_LOWER_ADDRESS, inRange('lowerAddress', input.lowerAddress ?? 0, 0, 0x7f));
}

export interface EncodeOptions {
  /** Append the ECRC of a TLP with TD. Default true; false gives header and data only. */
  readonly digest?: boolean;
}

/**
 * A TLP in wire order: header, data, and the ECRC when TD is set. `data` are the payload bytes, 4 per DW, in memory
 * order. Throws ZtlpError for a field outside its range (PCIe base specification 2.2).
 */
export function encodeTlp(input: TlpInput, data?: Uint8Array, options: EncodeOptions = {}): Uint8Array {
  const core = sharedCore();
  fillFields(core, input, data);
  const header = core.x.tlpEncode();
  const at = core.at(L.PLACE_WIRE) + L.WIRE_LEAD;
  const body = hasData(input.type) && data !== undefined ? data : new Uint8Array(0);
  core.u8.set(body, at + header);
  const bytes = header + body.length;
  const withDigest = input.td === true && options.digest !== false;
  const out = new Uint8Array(bytes + (withDigest ? 4 : 0));
  out.set(core.u8.subarray(at, at + bytes));
  if (withDigest) putCrc(out, bytes, core.x.tlpEcrc(bytes));
  return out;
}

/** CRCs leave least significant byte first. */
function putCrc(out: Uint8Array, at: number, crc: number): void {
  for (let n = 0; n < 4; n++) out[at + n] = (crc >>> (8 * n)) & 0xff;
}

/** Stages bytes in the wire scratch; they must fit the largest TLP. */
function stage(core: Core, bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) throw invalid('bytes', bytes, 'a Uint8Array');
  if (bytes.length > L.WIRE_BYTES - L.WIRE_LEAD) {
    throw invalid('bytes', bytes, `at most ${L.WIRE_BYTES - L.WIRE_LEAD} bytes`, 'malformed');
  }
  core.u8.set(bytes, core.at(L.PLACE_WIRE) + L.WIRE_LEAD);
}

/** LCRC of `bytes` (TLP with its digest, if any) sent as `sequence` (12 bits): the four bytes as on the wire. */
export function lcrc(bytes: Uint8Array, sequence: number): Uint8Array {
  const core = sharedCore();
  inRange('sequence', sequence, 0, 0xfff);
  stage(core, bytes);
  const out = new Uint8Array(4);
  putCrc(out, 0, core.x.tlpLcrc(bytes.length, sequence));
  return out;
}

/** ECRC of `bytes` (header and data): the four bytes as on the wire. Type[0] and EP count as 1 (2.7.1). */
export function ecrc(bytes: Uint8Array): Uint8Array {
  const core = sharedCore();
  stage(core, bytes);
  if (bytes.length < 12) throw invalid('bytes', bytes, 'a whole header', 'malformed');
  const out = new Uint8Array(4);
  putCrc(out, 0, core.x.tlpEcrc(bytes.length));
  return out;
}

/** Reads the FIELDS block as a TLP. */
export function readFields(core: Core): Tlp {
  const get = (field: number): number => core.word(L.PLACE_FIELDS, field);
  const type = TYPES[get(L.FIELD_KIND)] as TlpType;
  const attr = get(L.FIELD_ATTR);
  const isConfig = type.startsWith('Cfg');
  return {
    type,
    headerDw: get(L.FIELD_HEADER_BYTES) === 16 ? 4 : 3,
    fmt: get(L.FIELD_FMT),
    typeField: get(L.FIELD_TYPE),
    tc: get(L.FIELD_TC),
    attr: { ns: (attr & 1) !== 0, ro: (attr & 2) !== 0, ido: (attr & 4) !== 0 },
    at: get(L.FIELD_AT),
    th: get(L.FIELD_TH) === 1,
    ph: get(L.FIELD_PH),
    ln: get(L.FIELD_LN) === 1,
    td: get(L.FIELD_TD) === 1,
    ep: get(L.FIELD_EP) === 1,
    length: get(L.FIELD_LENGTH),
    requester: get(L.FIELD_REQUESTER),
    tag: get(L.FIELD_TAG),
    firstBe: get(L.FIELD_FIRST_BE),
    lastBe: get(L.FIELD_LAST_BE),
    address: join64(get(L.FIELD_ADDRESS_LO), get(L.FIELD_ADDRESS_HI)),
    completer: isConfig ? 0 : get(L.FIELD_COMPLETER),
    destination: isConfig ? get(L.FIELD_COMPLETER) : 0,
    register: get(L.FIELD_REGISTER),
    status: get(L.FIELD_STATUS),
    bcm: get(L.FIELD_BCM) === 1,
    byteCount: get(L.FIELD_BYTE_COUNT),
    lowerAddress: get(L.FIELD_LOWER_ADDRESS),
    flow: FLOWS[get(L.FIELD_FC)] as Tlp['flow'],
    dataCredits: get(L.FIELD_DATA_CREDITS),
    headerBytes: get(L.FIELD_HEADER_BYTES),
    payloadBytes: get(L.FIELD_PAYLOAD_BYTES),
    wireBytes: get(L.FIELD_WIRE_BYTES),
  };
}

export interface DecodeOptions {
  /** A TLP with TD still has its digest DW at the end. Default true; false when a receiver stripped it. */
  readonly digest?: boolean;
  /** Max_Payload_Size of the receiver in bytes. Default 4096: not a limit. */
  readonly mps?: number;
  /** Check byte-enable rules too (option `beCheck`: receivers may). */
  readonly beCheck?: boolean;
}

export interface DecodedTlp extends Tlp {
  /** Payload bytes in memory order; empty without data. */
  readonly data: Uint8Array;
  /** The digest bytes, when there are any. */
  readonly digest: Uint8Array | undefined;
  /** The first rule this TLP breaks; a receiver treats it as Malformed TLP (2.3). */
  readonly malformed: Malformed | undefined;
}

/**
 * Decodes one TLP in wire order, without sequence number and LCRC. Throws ZtlpError `malformed` when the bytes are no
 * TLP at all: too short for a header, or an undefined Fmt and Type. Other broken rules are reported in `malformed`.
 */
export function decodeTlp(bytes: Uint8Array, options: DecodeOptions = {}): DecodedTlp {
  const core = sharedCore();
  stage(core, bytes);
  const answer = core.x.tlpDecode(bytes.length);
  if (answer === L.DECODE_SHORT) {
    throw new ZtlpError('malformed', `${bytes.length} bytes are too short for a TLP header`, {
      field: 'bytes',
      value: bytes,
    });
  }
  if (answer === L.DECODE_UNKNOWN_TYPE) {
    const byte0 = (bytes[0] ?? 0).toString(16).padStart(2, '0');
    throw new ZtlpError(
      'malformed',
      `byte 0 is 0x${byte0}: no TLP type of this version has this Fmt and Type`,
      {
        field: 'bytes',
        value: bytes,
      },
    );
  }
  const tlp = readFields(core);
  const rest = bytes.length - tlp.headerBytes;
  const digest = options.digest !== false;
  const broken = core.x.tlpCheck(rest, digest ? 1 : 0, options.mps ?? 4096, options.beCheck ? 1 : 0);
  const end = Math.min(bytes.length, tlp.headerBytes + tlp.payloadBytes);
  const hasDigest = digest && tlp.td && rest === tlp.payloadBytes + 4;
  return {
    ...tlp,
    data: bytes.slice(tlp.headerBytes, end),
    digest: hasDigest ? bytes.slice(end, end + 4) : undefined,
    malformed: RULES[broken],
  };
}

/** Decodes the descriptor at byte address `at` of `core`: its header words stand in host order. */
export function decodeDescriptor(core: Core, at: number): Tlp {
  const to = core.at(L.PLACE_WIRE) + L.WIRE_LEAD;
  for (let word = 0; word < 4; word++) {
    const value = core.u32[(at + L.DESCRIPTOR_H0 + 4 * word) >>> 2] as number;
    for (let n = 0; n < 4; n++) core.u8[to + 4 * word + n] = (value >>> (24 - 8 * n)) & 0xff;
  }
  core.x.tlpDecode(16);
  return readFields(core);
}
