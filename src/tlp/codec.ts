/** Encodes and decodes single TLPs: the typed face of assembly/tlp/header.ts, prefix.ts and check.ts. */
import * as L from '../../assembly/layout.js';
import { ROUTE_BY_ID } from '../../assembly/message-codes.js';
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { checkOption } from '../base/options.js';
import type { Core } from '../core/core.js';
import { sharedCore } from '../core/shared.js';
import { checkU64, high32, join64, low32, type U64 } from '../core/u64.js';
import { ecrc, stage } from './crc.js';
import { checkDecodeKeys, checkTlpKeys } from './keys.js';
import { hasData, KINDS, shapeOf, TLP_TYPES, TYPES } from './kinds.js';
import { malformedBy } from './malformed.js';
import { pasidOf, prefixOf, prefixWord, steeringHigh, withPasid, withSteeringTag } from './prefix.js';
import type { Malformed, Tlp, TlpInput, TlpPrefix, TlpType } from './types.js';

const FLOWS = ['P', 'NP', 'CPL'] as const;

function kindOf(input: TlpInput, address: U64): number {
  const kinds = Object.hasOwn(KINDS, String(input.type)) ? KINDS[input.type] : undefined;
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

/** A bit of the header: a truthy word such as 'no' would set it unseen. */
function flag(field: string, value: boolean | undefined): number {
  if (value !== undefined && typeof value !== 'boolean') throw invalid(field, value, 'true, false');
  return value === true ? 1 : 0;
}

/** Length in DW of the TLP to encode. */
function lengthOf(input: TlpInput, data: Uint8Array | undefined, anyData: boolean): number {
  if (data !== undefined && !(data instanceof Uint8Array)) throw invalid('data', data, 'a Uint8Array');
  const carries = hasData(input.type);
  if (!carries && data !== undefined && data.length > 0 && !anyData) {
    throw invalid('data', data, `none: ${input.type} carries none`);
  }
  // Length is reserved in completions and messages without data (2.2.1).
  const shape = shapeOf(input.type);
  const isReserved = !carries && (shape === 'completion' || shape === 'message');
  if (isReserved) return inRange('length', input.length ?? 0, 0, 0);
  const whole = data === undefined ? 1 : data.length / 4;
  const fitting = anyData ? Math.min(1024, Math.max(1, Math.ceil(whole))) : whole;
  const given = inRange('length', input.length ?? (carries ? fitting : 1), 1, 1024);
  if (carries && (data?.length ?? 0) !== given * 4 && !anyData) {
    throw invalid('data', data, `${given * 4} bytes for Length ${given}`, 'malformed');
  }
  return given;
}

/** The places where a steering tag stands in for other fields: the tag of a write, else the byte enables (2.2.7.1). */
interface TagAndEnables {
  readonly tag: number;
  readonly firstBe: number;
  readonly lastBe: number;
}

function placeSteeringTag(input: TlpInput, plain: TagAndEnables): TagAndEnables {
  const { steeringTag, type, th } = input;
  if (steeringTag === undefined) return plain;
  inRange('steeringTag', steeringTag, 0, 0xffff);
  if (!th || shapeOf(type) !== 'memory') {
    throw invalid('steeringTag', steeringTag, 'only in memory requests with th');
  }
  const low = steeringTag & 0xff;
  const placed =
    type === 'MWr'
      ? { ...plain, tag: (plain.tag & 0x300) | low }
      : { ...plain, firstBe: low & 0xf, lastBe: low >>> 4 };
  for (const name of ['tag', 'firstBe', 'lastBe'] as const) {
    const given = input[name];
    if (given === undefined || given === placed[name] || (name === 'tag' && (given & 0xff) === 0)) continue;
    throw invalid(name, given, `${placed[name]}, or left out: the steering tag stands there`);
  }
  return placed;
}

/** Bytes 8 to 15 of a message, with the destination of one that is routed by ID. */
function messageBytes(input: TlpInput, routing: number): { lo: number; hi: number } {
  const message = checkU64('message', input.message ?? 0);
  const lo = low32(message);
  const hi = high32(message);
  const destination = inRange('destination', input.destination ?? 0, 0, 0xffff);
  if (routing !== ROUTE_BY_ID || destination === 0) return { lo, hi };
  const there = hi >>> 16;
  if (there !== 0 && there !== destination) {
    throw invalid('destination', destination, `${there}, which is in message bytes 8 and 9`);
  }
  return { lo, hi: ((destination << 16) | hi) >>> 0 };
}

/** The prefixes to send: those listed, and those that `pasid` and a long steering tag ask for. */
function fillPrefixes(core: Core, input: TlpInput): void {
  const { prefixes = [], pasid, steeringTag } = input;
  if (!Array.isArray(prefixes)) throw invalid('prefixes', prefixes, 'a list of TLP prefixes');
  const all = withSteeringTag(withPasid(prefixes, pasid ?? undefined), steeringTag ?? undefined);
  if (all.length > L.PREFIX_SLOTS)
    throw invalid('prefixes', all, `at most ${L.PREFIX_SLOTS}`, 'out-of-range');
  core.setWord(L.PLACE_FIELDS, L.FIELD_PREFIX_COUNT, all.length);
  all.forEach((prefix, n) => {
    core.setWord(L.PLACE_FIELDS, L.FIELD_PREFIX + 4 * n, prefixWord(prefix, `prefixes[${n}]`));
  });
}

/** Writes `input` into the FIELDS block. */
function fillFields(core: Core, input: TlpInput, data: Uint8Array | undefined, malformed: boolean): void {
  const address = checkU64('address', input.address ?? 0);
  const set = (field: number, value: number): void => core.setWord(L.PLACE_FIELDS, field, value);
  const kind = kindOf(input, address);
  const shape = shapeOf(input.type);
  const length = lengthOf(input, data, malformed);
  if ((low32(address) & 3) !== 0) throw invalid('address', address, 'a multiple of 4', 'out-of-range');
  const register = inRange('register', input.register ?? 0, 0, 0xffc);
  if ((register & 3) !== 0) throw invalid('register', register, 'a multiple of 4', 'out-of-range');
  const { ns = false, ro = false, ido = false } = input.attr ?? {};
  if ((shape === 'io' || shape === 'config') && !malformed && (ns || ro || ido)) {
    throw invalid('attr', ns ? 'ns' : ro ? 'ro' : 'ido', `none on ${input.type} (2.2.6.3)`);
  }
  const { tag, firstBe, lastBe } = placeSteeringTag(input, {
    tag: inRange('tag', input.tag ?? 0, 0, 0x3ff),
    firstBe: inRange('firstBe', input.firstBe ?? 0xf, 0, 0xf),
    lastBe: inRange('lastBe', input.lastBe ?? (length > 1 ? 0xf : 0), 0, 0xf),
  });
  set(L.FIELD_KIND, kind);
  set(L.FIELD_TC, inRange('tc', input.tc ?? 0, 0, 7));
  set(L.FIELD_ATTR, (ns ? 1 : 0) | (ro ? 2 : 0) | (ido ? 4 : 0));
  set(L.FIELD_AT, inRange('at', input.at ?? 0, 0, 3));
  set(L.FIELD_TH, flag('th', input.th));
  set(L.FIELD_LN, flag('ln', input.ln));
  set(L.FIELD_TD, flag('td', input.td));
  set(L.FIELD_EP, flag('ep', input.ep));
  set(L.FIELD_LENGTH, length);
  set(L.FIELD_REQUESTER, inRange('requester', input.requester ?? 0, 0, 0xffff));
  set(L.FIELD_TAG, tag);
  set(L.FIELD_FIRST_BE, firstBe);
  set(L.FIELD_LAST_BE, lastBe);
  set(L.FIELD_ADDRESS_LO, low32(address));
  set(L.FIELD_ADDRESS_HI, high32(address));
  set(L.FIELD_PH, inRange('ph', input.ph ?? 0, 0, 3));
  const id = shape === 'config' ? 'destination' : 'completer';
  set(L.FIELD_COMPLETER, inRange(id, input[id] ?? 0, 0, 0xffff));
  set(L.FIELD_REGISTER, register);
  fillPrefixes(core, input);
  if (shape === 'message') {
    const routing = inRange('routing', input.routing ?? 0, 0, 7);
    const { lo, hi } = messageBytes(input, routing);
    set(L.FIELD_ROUTING, routing);
    set(L.FIELD_MESSAGE_CODE, inRange('messageCode', input.messageCode ?? 0, 0, 0xff));
    set(L.FIELD_MESSAGE_LO, lo);
    set(L.FIELD_MESSAGE_HI, hi);
  }
  if (shape !== 'completion') return;
  set(L.FIELD_STATUS, inRange('status', input.status ?? 0, 0, 7));
  set(L.FIELD_BCM, flag('bcm', input.bcm));
  set(L.FIELD_BYTE_COUNT, inRange('byteCount', input.byteCount ?? 4, 1, 4096));
  set(L.FIELD_LOWER_ADDRESS, inRange('lowerAddress', input.lowerAddress ?? 0, 0, 0x7f));
}

export interface EncodeOptions {
  /** Append the ECRC of a TLP with TD. Default true; false gives prefixes, header and data only. */
  readonly digest?: boolean;
  /** Build a malformed TLP on purpose: no rule between fields is checked, `data` may have any length. Default false. */
  readonly malformed?: boolean;
}

/**
 * A TLP in wire order: prefixes, header, data, and the ECRC when TD is set. `data` are the payload bytes, 4 per DW, in
 * memory order. Throws ZtlpError for a field outside its range, and for a TLP that a receiver would have to treat as
 * malformed unless `malformed` is set (PCIe base specification 2.2). Byte enables and MPS are left to the receiver.
 */
export function encodeTlp(input: TlpInput, data?: Uint8Array, options: EncodeOptions = {}): Uint8Array {
  checkTlpKeys(input, options);
  const core = sharedCore();
  const anything = options.malformed === true;
  const body = data ?? new Uint8Array(0);
  fillFields(core, input, data, anything);
  const header = core.x.tlpEncode();
  const at = core.at(L.PLACE_WIRE) + L.WIRE_LEAD;
  const bytes = header + body.length;
  if (bytes > L.WIRE_BYTES - L.WIRE_LEAD) {
    throw invalid('data', data, `at most ${L.WIRE_BYTES - L.WIRE_LEAD - header} bytes`, 'malformed');
  }
  const broken = anything ? undefined : malformedBy(core.x.tlpCheck(body.length, 0, 4096, 0));
  if (broken !== undefined) {
    throw new ZtlpError('invalid-value', `Malformed TLP (${broken.section}): ${broken.rule}`);
  }
  core.u8.set(body, at + header);
  const withDigest = input.td === true && options.digest !== false;
  const out = new Uint8Array(bytes + (withDigest ? 4 : 0));
  out.set(core.u8.subarray(at, at + bytes));
  if (withDigest) out.set(ecrc(out.subarray(0, bytes)), bytes);
  return out;
}

/** Reads the FIELDS block as a TLP. */
function readFields(core: Core): Tlp {
  const get = (field: number): number => core.word(L.PLACE_FIELDS, field);
  const type = TYPES[get(L.FIELD_KIND)] as TlpType;
  const shape = shapeOf(type);
  const attr = get(L.FIELD_ATTR);
  const th = get(L.FIELD_TH) === 1;
  const tag = get(L.FIELD_TAG);
  const firstBe = get(L.FIELD_FIRST_BE);
  const lastBe = get(L.FIELD_LAST_BE);
  const routing = get(L.FIELD_ROUTING);
  const prefixes = readPrefixes(core);
  const steeringLow = type === 'MWr' ? tag & 0xff : (lastBe << 4) | firstBe;
  const byId = shape === 'message' && routing === ROUTE_BY_ID;
  return {
    type,
    headerDw: get(L.FIELD_HEADER_BYTES) === 16 ? 4 : 3,
    fmt: get(L.FIELD_FMT),
    typeField: get(L.FIELD_TYPE),
    tc: get(L.FIELD_TC),
    attr: { ns: (attr & 1) !== 0, ro: (attr & 2) !== 0, ido: (attr & 4) !== 0 },
    at: get(L.FIELD_AT),
    th,
    ph: get(L.FIELD_PH),
    ln: get(L.FIELD_LN) === 1,
    td: get(L.FIELD_TD) === 1,
    ep: get(L.FIELD_EP) === 1,
    length: get(L.FIELD_LENGTH),
    requester: get(L.FIELD_REQUESTER),
    tag,
    firstBe,
    lastBe,
    address: join64(get(L.FIELD_ADDRESS_LO), get(L.FIELD_ADDRESS_HI)),
    completer: shape === 'config' ? 0 : get(L.FIELD_COMPLETER),
    destination: byId ? get(L.FIELD_MESSAGE_HI) >>> 16 : shape === 'config' ? get(L.FIELD_COMPLETER) : 0,
    register: get(L.FIELD_REGISTER),
    status: get(L.FIELD_STATUS),
    bcm: get(L.FIELD_BCM) === 1,
    byteCount: get(L.FIELD_BYTE_COUNT),
    lowerAddress: get(L.FIELD_LOWER_ADDRESS),
    routing,
    messageCode: get(L.FIELD_MESSAGE_CODE),
    message: join64(get(L.FIELD_MESSAGE_LO), get(L.FIELD_MESSAGE_HI)),
    prefixes,
    pasid: pasidOf(prefixes),
    steeringTag: th && shape === 'memory' ? (steeringHigh(prefixes) ?? 0) | steeringLow : undefined,
    flow: FLOWS[get(L.FIELD_FC)] as Tlp['flow'],
    dataCredits: get(L.FIELD_DATA_CREDITS),
    prefixBytes: 4 * prefixes.length,
    headerBytes: get(L.FIELD_HEADER_BYTES),
    payloadBytes: get(L.FIELD_PAYLOAD_BYTES),
    wireBytes: get(L.FIELD_WIRE_BYTES),
  };
}

function readPrefixes(core: Core): readonly TlpPrefix[] {
  return Array.from({ length: core.word(L.PLACE_FIELDS, L.FIELD_PREFIX_COUNT) }, (_, n) =>
    prefixOf(core.word(L.PLACE_FIELDS, L.FIELD_PREFIX + 4 * n)),
  );
}

export interface DecodeOptions {
  /** A TLP with TD still has its digest DW at the end. Default true; false when a receiver stripped it. */
  readonly digest?: boolean;
  /** Max_Payload_Size of the receiver in bytes, as option `mps`. Default 4096: not a limit. */
  readonly mps?: number;
  /** Check byte-enable rules too: receivers may (2.2.5). */
  readonly beCheck?: boolean;
}

export interface DecodedTlp extends Tlp {
  /** Payload bytes in memory order; empty without data. */
  readonly data: Uint8Array;
  /** The digest bytes, when there are any, and whether they are the ECRC of what precedes them (2.7.1). */
  readonly digest: Uint8Array | undefined;
  readonly digestOk: boolean | undefined;
  /** Bytes behind what the header announces; empty unless the length is wrong. */
  readonly trailing: Uint8Array;
  /** The first rule this TLP breaks; a receiver treats it as Malformed TLP (2.3). */
  readonly malformed: Malformed | undefined;
}

/** Why the core could not make a TLP of the bytes. */
function undecodable(answer: number, bytes: Uint8Array): ZtlpError {
  const fail = (what: string): ZtlpError =>
    new ZtlpError('malformed', what, { field: 'bytes', value: bytes });
  if (answer === L.DECODE_SHORT) return fail(`${bytes.length} bytes are too short for a TLP header`);
  if (answer === L.DECODE_TOO_MANY_PREFIXES) return fail(`more than ${L.PREFIX_SLOTS} TLP prefixes`);
  let at = 0;
  while (((bytes[at] ?? 0) & L.PREFIX_FMT_MASK) === L.PREFIX_FMT) at += 4;
  const byte0 = (bytes[at] ?? 0).toString(16).padStart(2, '0');
  return fail(`byte ${at} is 0x${byte0}: no TLP type of this version has this Fmt and Type`);
}

/**
 * Decodes one TLP in wire order, without sequence number and LCRC. Throws ZtlpError `malformed` when the bytes are no
 * TLP at all: too short for a header, or an undefined Fmt and Type. Other broken rules are reported in `malformed`.
 */
export function decodeTlp(bytes: Uint8Array, options: DecodeOptions = {}): DecodedTlp {
  checkDecodeKeys(options);
  const mps = options.mps === undefined ? 4096 : checkOption('mps', options.mps);
  const core = sharedCore();
  stage(core, bytes);
  const answer = core.x.tlpDecode(bytes.length);
  if (answer !== L.DECODE_OK) throw undecodable(answer, bytes);
  const tlp = readFields(core);
  const start = tlp.prefixBytes + tlp.headerBytes;
  const rest = bytes.length - start;
  const digest = options.digest !== false;
  const broken = core.x.tlpCheck(rest, digest ? 1 : 0, mps, options.beCheck ? 1 : 0);
  const end = Math.min(bytes.length, start + tlp.payloadBytes);
  const hasDigest = digest && tlp.td && rest === tlp.payloadBytes + 4;
  const found = hasDigest ? bytes.slice(end) : undefined;
  // Not a spread: that copies the thirty fields one by one, and takes ten times as long as everything else here.
  return Object.assign(tlp, {
    data: bytes.slice(start, end),
    digest: found,
    digestOk: found && isSame(found, ecrc(bytes.subarray(0, end))),
    trailing: hasDigest ? new Uint8Array(0) : bytes.slice(end),
    malformed: malformedBy(broken),
  });
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, n) => byte === other[n]);
}

/** Decodes the descriptor at byte address `at` of `core`: its header words stand in host order. */
export function decodeDescriptor(core: Core, at: number): Tlp {
  const word = (offset: number): number => core.u32[(at + offset) >>> 2] as number;
  const prefix = word(L.DESCRIPTOR_PREFIX);
  let to = core.at(L.PLACE_WIRE) + L.WIRE_LEAD;
  const put = (value: number): void => {
    for (let shift = 24; shift >= 0; shift -= 8) core.u8[to++] = (value >>> shift) & 0xff;
  };
  if (prefix !== 0) put(prefix);
  for (let offset = L.DESCRIPTOR_H0; offset <= L.DESCRIPTOR_H3; offset += 4) put(word(offset));
  core.x.tlpDecode(prefix === 0 ? 16 : 20);
  return readFields(core);
}
