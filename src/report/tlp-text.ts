/** One TLP or DLLP as a table of its fields, with what is wrong with it. */
import * as L from '../../assembly/layout.js';
import { hex64 } from '../core/u64.js';
import { type DecodedTlp, decodeTlp, encodeTlp } from '../tlp/codec.js';
import { ecrc, lcrc } from '../tlp/crc.js';
import { type DecodedDllp, DLLP_WIRE_BYTES } from '../tlp/dllp.js';
import { hasData, shapeOf } from '../tlp/kinds.js';
import { messageOf } from '../tlp/messages.js';
import { formatHex, formatId, STATUS_NAMES } from '../tlp/text.js';
import { fieldTable } from './field-table.js';
import type { Style } from './style.js';
import { type FieldRow, hex, rangeText, tlpRows } from './tlp-rows.js';

export interface TlpTextOptions {
  /** Show the LCRC of this sequence number. */
  readonly sequence?: number | undefined;
}

/** What is wrong with a TLP, one line each; empty when nothing is. */
export function tlpProblems(tlp: DecodedTlp, bytes: Uint8Array): string[] {
  const problems: string[] = [];
  const { malformed } = tlp;
  if (malformed !== undefined) {
    problems.push(`Malformed TLP: ${malformed.rule} (PCIe base specification ${malformed.section})`);
  }
  if (tlp.digestOk === false) {
    const right = formatHex(ecrc(bytes.subarray(0, bytes.length - 4)));
    problems.push(`ECRC error: the digest should be ${right} (PCIe base specification 2.7.1)`);
  }
  return problems;
}

/** Remarks that are no errors: reserved bits that are set, and a message with other data than the table says. */
function tlpNotes(tlp: DecodedTlp, bytes: Uint8Array): string[] {
  const notes: string[] = [];
  const start = tlp.prefixBytes + tlp.headerBytes;
  const again = encodeTlp(tlp, tlp.data, { digest: false, malformed: true });
  const reserved = Array.from({ length: start }, (_, n) => n).filter((n) => again[n] !== bytes[n]);
  if (reserved.length > 0) {
    notes.push(`reserved bits are set in byte ${reserved.join(', ')}: a receiver ignores them`);
  }
  if (tlp.malformed === undefined && shapeOf(tlp.type) === 'memory') {
    // A digest that was stripped is not missing.
    const again = decodeTlp(bytes, { beCheck: true, digest: tlp.digest !== undefined || !tlp.td });
    if (again.malformed?.code === 'byte-enables')
      notes.push('byte enables break 2.2.5: malformed for a receiver that checks them (--be-check)');
  }
  const message = shapeOf(tlp.type) === 'message' ? messageOf(tlp.messageCode) : undefined;
  if (message !== undefined) {
    const { name, types, dataDw } = message;
    const isForm = types.some((type) => type === tlp.type);
    if (!isForm) notes.push(`${name} comes as ${types.join(' or ')}`);
    else if (hasData(tlp.type) && dataDw !== undefined && tlp.length !== dataDw)
      notes.push(`${name} has ${dataDw} DW of data`);
  }
  return notes;
}

/** What the TLP is, in one line. */
export function headline(tlp: DecodedTlp): string {
  const { type, tag, requester } = tlp;
  const from = `from ${formatId(requester)}`;
  switch (shapeOf(type)) {
    case 'completion': {
      const status = STATUS_NAMES[tlp.status] ?? `status ${tlp.status}`;
      return `${type}: ${status} from ${formatId(tlp.completer)} to ${formatId(requester)}, tag ${tag}`;
    }
    case 'message':
      return `${type}: ${messageOf(tlp.messageCode)?.name ?? `code ${hex(tlp.messageCode, 2)}`} ${from}`;
    case 'config':
      return `${type}: ${formatId(tlp.destination)} offset ${hex(tlp.register, 3)} ${from}, tag ${tag}`;
    case 'io':
      return `${type}: ${rangeText(tlp)}, ${from}, tag ${tag}`;
    default: {
      const size = tlp.headerDw === 4 ? '64' : '32';
      return `${type}${size}: ${rangeText(tlp)}, ${from}${type === 'MWr' ? '' : `, tag ${tag}`}`;
    }
  }
}

const FLOW_TEXTS = { P: 'posted', NP: 'non-posted', CPL: 'completion' } as const;

/** Flow class, credits and wire bytes. */
function cost(tlp: DecodedTlp): string {
  const { dataCredits } = tlp;
  const data =
    dataCredits === 0 ? 'no data credit' : `${dataCredits} data credit${dataCredits > 1 ? 's' : ''}`;
  const parts: [string, number][] = [
    ['framing, sequence and LCRC', L.TLP_OVERHEAD_BYTES],
    ['prefixes', tlp.prefixBytes],
    ['header', tlp.headerBytes],
    ['data', tlp.payloadBytes],
    ['digest', tlp.td ? 4 : 0],
  ];
  const sum = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${bytes}`);
  return `${FLOW_TEXTS[tlp.flow]}: 1 header credit, ${data}; ${tlp.wireBytes} bytes on the wire (${sum.join(', ')})`;
}

/** A TLP as text; `bytes` are what it was decoded from. */
export function formatTlp(
  tlp: DecodedTlp,
  bytes: Uint8Array,
  style: Style,
  options: TlpTextOptions = {},
): string {
  const rows = [...tlpRows(tlp)];
  if (options.sequence !== undefined) rows.push(lcrcRow(bytes, options.sequence));
  const problems = tlpProblems(tlp, bytes).map((text) => style.warn(text));
  const notes = [...tlpNotes(tlp, bytes), cost(tlp)].map((text) => style.dim(text));
  return [style.bold(headline(tlp)), '', fieldTable(rows, style), '', ...problems, ...notes].join('\n');
}

function lcrcRow(bytes: Uint8Array, sequence: number): FieldRow {
  const raw = formatHex(lcrc(bytes, sequence));
  const from = bytes.length;
  const meaning = `over sequence number ${sequence} and all above`;
  return { byte: `${from}-${from + 3}`, bits: '', field: 'LCRC', raw, meaning };
}

/** A DLLP as text. */
export function formatDllp(dllp: DecodedDllp, bytes: Uint8Array, style: Style): string {
  const rows: FieldRow[] = [];
  const add = (byte: string, bits: string, field: string, raw: string, meaning = ''): void => {
    rows.push({ byte, bits, field, raw, meaning });
  };
  const type = bytes[0] ?? 0;
  let title: string = dllp.type;
  switch (dllp.type) {
    case 'Ack':
    case 'Nak':
      add('0', '7:0', 'Type', hex(type, 2), dllp.type);
      add('2-3', '11:0', 'AckNak_Seq_Num', hex(dllp.sequence, 3), `sequence number ${dllp.sequence}`);
      break;
    case 'InitFC1':
    case 'InitFC2':
    case 'UpdateFC': {
      title = `${dllp.type}-${dllp.flow}`;
      const { headerCredits, dataCredits } = dllp;
      const header = scaled(headerCredits, dllp.headerScale);
      const data = scaled(dataCredits, dllp.dataScale);
      add('0', '7:4', 'Type', hex(type >>> 4, 1), `${title}, ${FLOW_TEXTS[dllp.flow]}`);
      add('0', '2:0', 'VC', String(dllp.vc), `virtual channel ${dllp.vc}`);
      add('1', '7:6', 'HdrScale', String(dllp.headerScale), scaleText(dllp.headerScale));
      add('1-2', '7:0', 'HdrFC', hex(headerCredits, 2), creditText(title, headerCredits, header, 'header'));
      add('2', '5:4', 'DataScale', String(dllp.dataScale), scaleText(dllp.dataScale));
      add('2-3', '11:0', 'DataFC', hex(dataCredits, 3), creditText(title, dataCredits, data, 'data'));
      break;
    }
    case 'DataLinkFeature':
      add('0', '7:0', 'Type', hex(type, 2), dllp.type);
      add('1', '7', 'Feature Ack', dllp.ack ? '1' : '0', dllp.ack ? 'partner seen' : '');
      add('1-3', '22:0', 'Features', hex(dllp.features, 6), dllp.features & 1 ? 'scaled flow control' : '');
      break;
    default:
      add('0', '7:0', 'Type', hex(type, 2), dllp.type);
      if ('value' in dllp) add('1-3', '23:0', 'Contents', hex(dllp.value, 6));
  }
  add('4-5', '15:0', 'CRC', formatHex(dllp.crc), dllp.crcOk ? 'ok' : 'wrong');
  const problems = dllp.crcOk ? [] : [style.warn(DLLP_CRC_ERROR)];
  const note = style.dim(`${DLLP_WIRE_BYTES} bytes on the wire`);
  return [style.bold(title), '', fieldTable(rows, style), '', ...problems, note].join('\n');
}

/** What is wrong with a DLLP whose CRC does not fit. */
export const DLLP_CRC_ERROR =
  'Bad DLLP: the CRC-16 does not fit, a receiver drops it (PCIe base specification 3.5.2)';

const SCALES = ['not scaled', 'in units of 1', 'in units of 4', 'in units of 16'];

function scaleText(scale: number): string {
  return SCALES[scale] ?? '';
}

/** Scale codes 1, 2 and 3 stand for 1, 4 and 16 (3.4.2). */
function scaled(credits: number, scale: number): number {
  return credits << (scale === 0 ? 0 : 2 * (scale - 1));
}

function creditText(title: string, field: number, credits: number, kind: string): string {
  if (title.startsWith('Init')) return field === 0 ? 'infinite' : `${credits} ${kind} credits`;
  return `${kind} credits up to ${hex64(credits)}, counted modulo`;
}
