/** The fields of a TLP where they stand in its bytes, one row each, as engineers read a header. */

import { hex64 } from '../core/u64.js';
import type { DecodedTlp } from '../tlp/codec.js';
import { hasData, shapeOf } from '../tlp/kinds.js';
import { messageOf, ROUTINGS } from '../tlp/messages.js';
import { enabledRange } from '../tlp/split.js';
import { formatHex, formatId, STATUS_NAMES } from '../tlp/text.js';
import type { TlpPrefix } from '../tlp/types.js';

/** One field: bytes from the start of the TLP, bits (7 is the most significant), name, value as sent, what it says. */
export interface FieldRow {
  readonly byte: string;
  readonly bits: string;
  readonly field: string;
  readonly raw: string;
  readonly meaning: string;
}

const HINTS = ['bidirectional', 'requester', 'target', 'target with priority'];
const ADDRESS_TYPES = ['untranslated', 'translation request', 'translated', 'reserved'];
const ROUTING_TEXTS: Readonly<Record<string, string>> = {
  root: 'to the root complex',
  address: 'by address',
  id: 'by ID',
  broadcast: 'broadcast from the root complex',
  local: 'local, ends at the receiver',
  gathered: 'gathered, to the root complex',
};

/** Longest run of data bytes that a row shows. */
const SHOWN_DATA = 32;

/** Rows with bytes counted from `base`. */
class Rows {
  readonly list: FieldRow[] = [];
  base = 0;

  /** A field of `width` bits that begins at bit `high` of byte `from` and ends in byte `to`. */
  add(from: number, to: number, bits: string, field: string, raw: string, meaning = ''): void {
    const first = this.base + from;
    const byte = from === to ? String(first) : `${first}-${this.base + to}`;
    this.list.push({ byte, bits, field, raw, meaning });
  }

  /** A flag, with what it says when it is set. */
  flag(byte: number, bit: number, field: string, value: boolean, meaning: string): void {
    this.add(byte, byte, String(bit), field, value ? '1' : '0', value ? meaning : '');
  }
}

export function hex(value: number | bigint, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** All rows of a TLP. */
export function tlpRows(tlp: DecodedTlp): FieldRow[] {
  const rows = new Rows();
  for (const prefix of tlp.prefixes) {
    prefixRows(rows, tlp, prefix);
    rows.base += 4;
  }
  commonRows(rows, tlp);
  switch (shapeOf(tlp.type)) {
    case 'completion':
      completionRows(rows, tlp);
      break;
    case 'message':
      messageRows(rows, tlp);
      break;
    default:
      requestRows(rows, tlp);
  }
  rows.base += tlp.headerBytes;
  bodyRows(rows, tlp);
  return rows.list;
}

function prefixRows(rows: Rows, { prefixes, pasid }: DecodedTlp, prefix: TlpPrefix): void {
  const isEndToEnd = prefix.scope === 'endToEnd';
  const byte0 = 0x80 | (isEndToEnd ? 0x10 : 0) | prefix.type;
  const name = prefixName(prefix);
  rows.add(0, 0, '7:0', 'Prefix', hex(byte0, 2), `${name}, ${isEndToEnd ? 'end to end' : 'local'}`);
  const isPasid = isEndToEnd && prefix.type === 1 && pasid !== undefined;
  // Only the first PASID prefix counts.
  if (isPasid && prefixes.find((other) => other.scope === 'endToEnd' && other.type === 1) === prefix) {
    rows.flag(1, 5, 'PMR', pasid.privileged, 'privileged mode requested');
    rows.flag(1, 4, 'EXE', pasid.execute, 'execute requested');
    rows.add(1, 3, '19:0', 'PASID', hex(pasid.pasid, 5), String(pasid.pasid));
  } else if (isEndToEnd && prefix.type === 0) {
    rows.add(1, 1, '7:0', 'ST[15:8]', hex(prefix.value >>> 16, 2), 'upper half of the steering tag');
    rows.add(2, 3, '15:0', 'reserved', hex(prefix.value & 0xffff, 4));
  } else {
    rows.add(1, 3, '23:0', 'Contents', hex(prefix.value, 6));
  }
}

function prefixName({ scope, type }: TlpPrefix): string {
  if (type >= 14) return `vendor ${type - 14}`;
  const names = scope === 'local' ? ['MR-IOV'] : ['extended TPH', 'PASID', 'IDE'];
  return names[type] ?? 'unknown';
}

function commonRows(rows: Rows, tlp: DecodedTlp): void {
  const { fmt, typeField, attr, tag, at, length } = tlp;
  const isMessage = shapeOf(tlp.type) === 'message';
  const carries = hasData(tlp.type);
  rows.add(0, 0, '7:5', 'Fmt', String(fmt), `${tlp.headerDw} DW header, ${carries ? 'with' : 'no'} data`);
  rows.add(0, 0, '4:0', 'Type', hex(typeField, 2), isMessage ? `${tlp.type}, ${routingText(tlp)}` : tlp.type);
  rows.add(1, 1, '7', 'T9', String(tag >>> 9));
  rows.add(1, 1, '6:4', 'TC', String(tlp.tc), `traffic class ${tlp.tc}`);
  rows.add(1, 1, '3', 'T8', String((tag >>> 8) & 1));
  rows.flag(1, 2, 'Attr IDO', attr.ido, 'ID-based ordering');
  rows.flag(1, 1, 'LN', tlp.ln, 'lightweight notification');
  rows.flag(1, 0, 'TH', tlp.th, 'processing hint present');
  rows.flag(2, 7, 'TD', tlp.td, 'digest (ECRC) behind the data');
  rows.flag(2, 6, 'EP', tlp.ep, 'poisoned');
  rows.flag(2, 5, 'Attr RO', attr.ro, 'relaxed ordering');
  rows.flag(2, 4, 'Attr NS', attr.ns, 'no snoop');
  rows.add(2, 2, '3:2', 'AT', String(at), ADDRESS_TYPES[at] ?? '');
  const isReserved = length === 0;
  const bytes = length === 1 ? '1 DW, 4 bytes' : `${length} DW, ${length * 4} bytes`;
  rows.add(2, 3, '9:0', 'Length', hex(length & 0x3ff, 3), isReserved ? 'reserved' : bytes);
}

function routingText({ routing }: DecodedTlp): string {
  return ROUTING_TEXTS[ROUTINGS[routing] ?? ''] ?? 'reserved routing, as local';
}

function tagText(tag: number): string {
  return tag > 0xff ? `tag ${tag} with T9 and T8` : `tag ${tag}`;
}

function requestRows(rows: Rows, tlp: DecodedTlp): void {
  const { type, tag, steeringTag } = tlp;
  const isWrite = type === 'MWr';
  rows.add(4, 5, '15:0', 'Requester ID', hex(tlp.requester, 4), formatId(tlp.requester));
  const inTag = steeringTag !== undefined && isWrite;
  rows.add(6, 6, '7:0', inTag ? 'ST[7:0]' : 'Tag', hex(tag & 0xff, 2), inTag ? steering(tlp) : tagText(tag));
  if (steeringTag !== undefined && !isWrite) {
    rows.add(7, 7, '7:0', 'ST[7:0]', hex(steeringTag & 0xff, 2), steering(tlp));
  } else {
    rows.add(7, 7, '7:4', 'Last DW BE', hex(tlp.lastBe, 1), enables(tlp.lastBe));
    rows.add(7, 7, '3:0', 'First DW BE', hex(tlp.firstBe, 1), enables(tlp.firstBe));
  }
  if (shapeOf(type) === 'config') {
    rows.add(8, 9, '15:0', 'Destination ID', hex(tlp.destination, 4), formatId(tlp.destination));
    rows.add(
      10,
      11,
      '11:0',
      'Register',
      hex(tlp.register, 3),
      `configuration offset ${hex(tlp.register, 3)}`,
    );
    return;
  }
  const last = tlp.headerBytes - 1;
  const digits = last === 15 ? 16 : 8;
  rows.add(8, last, `${digits * 4 - 1}:2`, 'Address', hex(tlp.address, digits), rangeText(tlp));
  if (shapeOf(type) !== 'memory') return;
  if (tlp.at === 1) {
    rows.add(last, last, '0', 'NW', String(tlp.ph & 1), (tlp.ph & 1) === 1 ? 'no write intended' : '');
  } else {
    rows.add(last, last, '1:0', 'PH', String(tlp.ph), tlp.th ? (HINTS[tlp.ph] ?? '') : '');
  }
}

function steering({ steeringTag = 0 }: DecodedTlp): string {
  return `steering tag ${hex(steeringTag, steeringTag > 0xff ? 4 : 2)}`;
}

/** The enabled bytes of a DW, as a picture of bytes 3 to 0. */
function enables(bits: number): string {
  if (bits === 0) return 'no byte';
  if (bits === 0xf) return 'all bytes';
  const bytes = [0, 1, 2, 3].filter((byte) => ((bits >>> byte) & 1) === 1);
  return `byte${bytes.length > 1 ? 's' : ''} ${bytes.join(', ')}`;
}

const ATOMICS: ReadonlySet<string> = new Set(['FetchAdd', 'Swap', 'CAS']);

/** The bytes that a memory or I/O request asks for. */
export function rangeText(tlp: DecodedTlp): string {
  const { length, firstBe, lastBe, address, steeringTag, type } = tlp;
  const at = (bytes: number): string => hex64(BigInt(address) + BigInt(bytes));
  if (ATOMICS.has(type)) {
    const operand = type === 'CAS' ? length * 2 : length * 4;
    return `operand of ${operand} bytes at ${at(0)}`;
  }
  if (length === 1 && firstBe === 0 && steeringTag === undefined) return `no byte, flushes at ${at(0)}`;
  // A read whose enables are a steering tag has all bytes enabled (2.2.7.1).
  const all = steeringTag !== undefined && type !== 'MWr';
  const range = enabledRange(length, all ? 0xf : firstBe, all ? 0xf : lastBe);
  const { byteCount, firstOffset } = range;
  const span = `${at(firstOffset)} to ${at(firstOffset + byteCount - 1)}, ${byteCount} bytes`;
  const text = byteCount === 1 ? `${at(firstOffset)}, 1 byte` : span;
  return hasGap(length, firstBe, lastBe) && !all ? `${text} with gaps` : text;
}

function hasGap(length: number, firstBe: number, lastBe: number): boolean {
  const isRun = (bits: number): boolean => /^0*1+0*$/.test(bits.toString(2).padStart(4, '0'));
  if (length === 1) return !isRun(firstBe);
  return !isRun(firstBe) || !isRun(lastBe) || (firstBe & 8) === 0 || (lastBe & 1) === 0;
}

function completionRows(rows: Rows, tlp: DecodedTlp): void {
  rows.add(4, 5, '15:0', 'Completer ID', hex(tlp.completer, 4), formatId(tlp.completer));
  rows.add(6, 6, '7:5', 'Status', String(tlp.status), statusText(tlp.status));
  rows.flag(6, 4, 'BCM', tlp.bcm, 'byte count modified');
  const count = `${tlp.byteCount} ${tlp.byteCount === 1 ? 'byte' : 'bytes'} to come, these included`;
  rows.add(6, 7, '11:0', 'Byte Count', hex(tlp.byteCount & 0xfff, 3), count);
  rows.add(8, 9, '15:0', 'Requester ID', hex(tlp.requester, 4), formatId(tlp.requester));
  rows.add(10, 10, '7:0', 'Tag', hex(tlp.tag & 0xff, 2), tagText(tlp.tag));
  rows.add(11, 11, '6:0', 'Lower Address', hex(tlp.lowerAddress, 2));
}

const STATUS_TEXTS: Readonly<Record<string, string>> = {
  SC: 'successful completion',
  UR: 'unsupported request',
  RRS: 'request retry status',
  CA: 'completer abort',
};

function statusText(status: number): string {
  const name = STATUS_NAMES[status];
  return name === undefined ? 'reserved, as UR' : `${name}, ${STATUS_TEXTS[name]}`;
}

function messageRows(rows: Rows, tlp: DecodedTlp): void {
  rows.add(4, 5, '15:0', 'Requester ID', hex(tlp.requester, 4), formatId(tlp.requester));
  rows.add(6, 6, '7:0', 'Tag', hex(tlp.tag & 0xff, 2), tagText(tlp.tag));
  const name = messageOf(tlp.messageCode)?.name ?? 'not in the table of messages';
  rows.add(7, 7, '7:0', 'Message Code', hex(tlp.messageCode, 2), name);
  const bytes = hex(tlp.message, 16);
  if (tlp.routing === 2) {
    rows.add(8, 9, '15:0', 'Destination ID', hex(tlp.destination, 4), formatId(tlp.destination));
    rows.add(10, 15, '47:0', 'Message bytes', `0x${bytes.slice(-12)}`);
  } else {
    rows.add(8, 15, '63:0', 'Message bytes', bytes);
  }
}

function bodyRows(rows: Rows, tlp: DecodedTlp): void {
  const { data, digest, trailing } = tlp;
  if (data.length > 0) {
    const more = data.length > SHOWN_DATA ? '...' : '';
    const text = formatHex(data.subarray(0, SHOWN_DATA)).replaceAll(/.{8}(?=.)/g, '$& ');
    rows.add(0, data.length - 1, '', 'Data', `${data.length} bytes`, `${text}${more}`);
    rows.base += data.length;
  }
  if (digest !== undefined) {
    rows.add(0, 3, '', 'Digest', formatHex(digest), tlp.digestOk ? 'ECRC ok' : 'ECRC wrong');
    rows.base += digest.length;
  }
  if (trailing.length > 0) {
    rows.add(
      0,
      trailing.length - 1,
      '',
      'Trailing',
      `${trailing.length} bytes`,
      'not announced by the header',
    );
  }
}
