/** Runs the group `split` of `tlp-vectors/1`: one DMA as requests and completions, tags compared modulo renumbering. */
import { invalid } from '../base/errors.js';
import { decodeTlp, encodeTlp } from '../tlp/codec.js';
import { splitCompletion, splitRequest } from '../tlp/split.js';
import type { Tlp } from '../tlp/types.js';
import { type CaseFields, toHex } from './case.js';
import { splitPreset } from './presets.js';
import { judge, type Verdict } from './report.js';
import { attributes } from './tlp.js';

/** Requester IDs of the two sides: function 01:00.0 and the root complex. */
const ENDPOINT = 0x0100;
const ROOT_COMPLEX = 0;

/** The smallest tag pool there is: among this many read requests in a row no tag may come twice. */
const TAG_POOL = 32;
/** Numbers from 1 that ten tag bits hold. */
const MOST_TAGS = 1023;

/** The documented deviation of the source, by name. */
const ZERO_LENGTH_READ =
  'zero-length read: Lower Address bits 1:0 are 0 by PCIe base specification 2.3.1.1, the source sends 3';

/** One TLP as the vectors hold it: header bytes and payload DW. */
interface Packet {
  readonly header: Uint8Array;
  readonly dw: number;
}

/** Both directions of one DMA. */
interface Exchange {
  readonly req: readonly Packet[];
  readonly cpl: readonly Packet[];
}

export function runSplit(fields: CaseFields): Verdict {
  const expected: Exchange = { req: packets(fields, 'req'), cpl: packets(fields, 'cpl') };
  const { exchange: actual, isZeroLengthRead } = transfer(fields);
  const right = renumber(actual);
  const verdict = judge(renumber(expected), right);
  if (verdict.kind === 'agree' || !isZeroLengthRead) return verdict;
  const corrected = renumber({ req: expected.req, cpl: expected.cpl.map(withSpecifiedLowerAddress) });
  const isDocumented = judge(corrected, right).kind === 'agree';
  return isDocumented ? { kind: 'documented', rule: ZERO_LENGTH_READ } : verdict;
}

/** The DMA of a case as the library does it. */
function transfer(fields: CaseFields): { exchange: Exchange; isZeroLengthRead: boolean } {
  const side = fields.text('side');
  if (side !== 'ep' && side !== 'rc') throw invalid('side', side, 'ep, rc');
  const op = fields.text('op');
  if (op !== 'read' && op !== 'write') throw invalid('op', op, 'read, write');
  const [requester, completer] = side === 'ep' ? [ENDPOINT, ROOT_COMPLEX] : [ROOT_COMPLEX, ENDPOINT];
  const bytes = fields.integer('bytes');
  const options = splitPreset(fields);
  const requests = splitRequest({
    op,
    address: fields.u64('addr'),
    bytes,
    requester,
    tc: fields.integer('tc'),
    attr: attributes(fields),
    firstTag: 1,
    options,
  });
  const completions =
    op === 'read' ? requests.flatMap((request) => splitCompletion({ request, completer, options })) : [];
  const exchange = { req: requests.map(toPacket), cpl: completions.map(toPacket) };
  return { exchange, isZeroLengthRead: op === 'read' && bytes === 0 };
}

function toPacket(tlp: Tlp): Packet {
  const bytes = encodeTlp(tlp, new Uint8Array(tlp.payloadBytes), { digest: false });
  return { header: bytes.subarray(0, tlp.headerBytes), dw: tlp.payloadBytes / 4 };
}

/** A list of [header, payload DW]. */
function packets(fields: CaseFields, name: string): Packet[] {
  return fields.list(name).map((entry) => {
    const [header, dw, ...rest] = Array.isArray(entry) ? entry : [];
    const isHeader = typeof header === 'string' && /^([0-9a-f]{24}|[0-9a-f]{32})$/i.test(header);
    if (!isHeader || !Number.isSafeInteger(dw) || rest.length > 0) {
      throw invalid(name, entry, 'a list of pairs of header, 12 or 16 bytes, and payload DW', 'malformed');
    }
    return { header: Uint8Array.from(Buffer.from(header, 'hex')), dw };
  });
}

/** Comparable form: header as hexadecimal digits, payload DW. */
type Line = [header: string, dw: number];

/**
 * Both directions with tags numbered from 1 by first appearance, so that lists whose tags were allocated differently are
 * equal and completions still belong to their request. A completion answers the earliest request of its tag that is
 * not answered whole; one that answers none has tag 0. Posted writes use no tag.
 */
function renumber({ req, cpl }: Exchange): { req: Line[]; cpl: Line[] } {
  const reads: { readonly tag: number; readonly number: number }[] = [];
  const open = new Map<number, number[]>();
  const requests = req.map(({ header, dw }): Line => {
    const { flow, tag } = decodeTlp(header, { digest: false });
    if (flow === 'P') return [withTag(header, REQUEST_TAG, 0), dw];
    const reused = reads.slice(1 - TAG_POOL).find((read) => read.tag === tag);
    const number = reused?.number ?? (reads.length % MOST_TAGS) + 1;
    reads.push({ tag, number });
    const waiting = open.get(tag);
    if (waiting === undefined) open.set(tag, [number]);
    else waiting.push(number);
    return [withTag(header, REQUEST_TAG, number), dw];
  });
  const completions = cpl.map(({ header, dw }): Line => {
    const { tag, byteCount, lowerAddress } = decodeTlp(header, { digest: false });
    const waiting = open.get(tag);
    const number = waiting?.[0] ?? 0;
    const isLast = byteCount <= dw * 4 - (lowerAddress & 3);
    if (isLast) waiting?.shift();
    return [withTag(header, COMPLETION_TAG, number), dw];
  });
  return { req: requests, cpl: completions };
}

/** Header byte with the low eight tag bits. Tag bits 8 and 9 stand in byte 1. */
const REQUEST_TAG = 6;
const COMPLETION_TAG = 10;

function withTag(header: Uint8Array, at: number, tag: number): string {
  const copy = Uint8Array.from(header);
  copy[1] = ((copy[1] as number) & 0x77) | ((tag >>> 2) & 0x80) | ((tag >>> 5) & 0x08);
  copy[at] = tag & 0xff;
  return toHex(copy);
}

/** A completion of the source's zero-length read with the Lower Address that the specification asks for. */
function withSpecifiedLowerAddress(packet: Packet): Packet {
  const header = Uint8Array.from(packet.header);
  const lower = header[11] as number;
  if ((lower & 3) === 3) header[11] = lower & ~3;
  return { ...packet, header };
}
