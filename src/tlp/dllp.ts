/** Data link layer packets: four content bytes and a CRC-16 (PCIe base specification 3.5; sheet tlp.md 9). */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { crc16, needBytes } from './crc.js';

export { DLLP_WIRE_BYTES } from '../base/link.js';

/** Bytes of a DLLP without framing (3.5). */
const DLLP_BYTES = 6;

/** Ack and Nak: the sequence number of the last good TLP. */
export interface AckDllp {
  readonly type: 'Ack' | 'Nak';
  /** 12 bits. */
  readonly sequence: number;
}

/** Flow control: credits of one class of one virtual channel (3.4). */
export interface CreditDllp {
  readonly type: 'InitFC1' | 'InitFC2' | 'UpdateFC';
  readonly flow: 'P' | 'NP' | 'CPL';
  /** Virtual channel, 0..7. */
  readonly vc: number;
  /** Scale codes: 0 not scaled, 1 by 1, 2 by 4, 3 by 16. */
  readonly headerScale: number;
  /** 8 bits. */
  readonly headerCredits: number;
  readonly dataScale: number;
  /** 12 bits. */
  readonly dataCredits: number;
}

/** Data Link Feature exchange (3.3). */
export interface FeatureDllp {
  readonly type: 'DataLinkFeature';
  readonly ack: boolean;
  /** 23 bits; bit 0 scaled flow control. */
  readonly features: number;
}

/** Power management requests and their answer: no fields. */
export interface PowerDllp {
  readonly type: 'PM_Enter_L1' | 'PM_Enter_L23' | 'PM_Active_State_Request_L1' | 'PM_Request_Ack';
}

/** DLLPs whose content is somebody else's to read, or nobody's. */
export interface RawDllp {
  readonly type: 'MRInit' | 'VendorSpecific' | 'NOP';
  /** Bytes 1 to 3 as a big-endian number. */
  readonly value: number;
}

export type Dllp = AckDllp | CreditDllp | FeatureDllp | PowerDllp | RawDllp;
export type DllpType = Dllp['type'];

/** A DLLP as it was received. */
export type DecodedDllp = Dllp & {
  /** The two CRC bytes, least significant first, and whether they are right: a receiver drops the DLLP when not. */
  readonly crc: Uint8Array;
  readonly crcOk: boolean;
};

/** Byte 0 of every type; flow control adds the class in bits 5:4 and the virtual channel in 2:0. */
const TYPES: Readonly<Record<DllpType, number>> = {
  Ack: 0x00,
  MRInit: 0x01,
  DataLinkFeature: 0x02,
  Nak: 0x10,
  PM_Enter_L1: 0x20,
  PM_Enter_L23: 0x21,
  PM_Active_State_Request_L1: 0x23,
  PM_Request_Ack: 0x24,
  VendorSpecific: 0x30,
  NOP: 0x31,
  InitFC1: 0x40,
  UpdateFC: 0x80,
  InitFC2: 0xc0,
};

/** Every DLLP type, in the order of byte 0. */
export const DLLP_TYPES = Object.keys(TYPES) as readonly DllpType[];

const CREDIT_TYPES = { 64: 'InitFC1', 128: 'UpdateFC', 192: 'InitFC2' } as const;
const FLOWS = ['P', 'NP', 'CPL'] as const;
/** Class 3 of a flow control type belongs to MR-IOV, and bit 3 to flit mode: neither is a DLLP of this version. */
const NO_VC = 0x08;
const FEATURE_ACK = 1 << 23;

/** Bytes 1 to 3 as a number. */
function contentOf(dllp: Dllp): number {
  switch (dllp.type) {
    case 'Ack':
    case 'Nak':
      return inRange('sequence', dllp.sequence, 0, 0xfff);
    case 'DataLinkFeature':
      return (dllp.ack ? FEATURE_ACK : 0) | inRange('features', dllp.features, 0, FEATURE_ACK - 1);
    case 'MRInit':
    case 'VendorSpecific':
    case 'NOP':
      return inRange('value', dllp.value, 0, 0xff_ffff);
    case 'InitFC1':
    case 'InitFC2':
    case 'UpdateFC':
      return (
        (inRange('headerScale', dllp.headerScale, 0, 3) << 22) |
        (inRange('headerCredits', dllp.headerCredits, 0, 0xff) << 14) |
        (inRange('dataScale', dllp.dataScale, 0, 3) << 12) |
        inRange('dataCredits', dllp.dataCredits, 0, 0xfff)
      );
    default:
      return 0;
  }
}

function byte0Of(dllp: Dllp): number {
  const type = Object.hasOwn(TYPES, String(dllp.type)) ? TYPES[dllp.type] : undefined;
  if (type === undefined) throw invalid('type', dllp.type, DLLP_TYPES.join(', '), 'unknown-name');
  if (!('flow' in dllp)) return type;
  const flow = FLOWS.indexOf(dllp.flow);
  if (flow < 0) throw invalid('flow', dllp.flow, FLOWS.join(', '));
  return type | (flow << 4) | inRange('vc', dllp.vc, 0, 7);
}

/** A DLLP with its CRC: six bytes as on the wire. Throws ZtlpError for a field outside its range. */
export function encodeDllp(dllp: Dllp): Uint8Array {
  needObject('dllp', dllp);
  const byte0 = byte0Of(dllp);
  const content = contentOf(dllp);
  const out = new Uint8Array(DLLP_BYTES);
  out.set([byte0, content >>> 16, (content >>> 8) & 0xff, content & 0xff]);
  out.set(crc16(out.subarray(0, 4)), 4);
  return out;
}

function fieldsOf(byte0: number, content: number): Dllp | undefined {
  const credits = CREDIT_TYPES[(byte0 & 0xc0) as keyof typeof CREDIT_TYPES];
  if (credits !== undefined) {
    const flow = FLOWS[(byte0 >>> 4) & 3];
    if (flow === undefined || (byte0 & NO_VC) !== 0) return undefined;
    return {
      type: credits,
      flow,
      vc: byte0 & 7,
      headerScale: content >>> 22,
      headerCredits: (content >>> 14) & 0xff,
      dataScale: (content >>> 12) & 3,
      dataCredits: content & 0xfff,
    };
  }
  const type = DLLP_TYPES.find((name) => TYPES[name] === byte0);
  switch (type) {
    case 'Ack':
    case 'Nak':
      return { type, sequence: content & 0xfff };
    case 'DataLinkFeature':
      return { type, ack: (content & FEATURE_ACK) !== 0, features: content & (FEATURE_ACK - 1) };
    case 'MRInit':
    case 'VendorSpecific':
    case 'NOP':
      return { type, value: content };
    case 'PM_Enter_L1':
    case 'PM_Enter_L23':
    case 'PM_Active_State_Request_L1':
    case 'PM_Request_Ack':
      return { type };
    default:
      return undefined;
  }
}

/**
 * Decodes the six bytes of a DLLP. A wrong CRC is reported in `crcOk`. Throws ZtlpError `malformed` when the bytes are
 * no DLLP: another number of them, or a type that has no row in the table.
 */
export function decodeDllp(bytes: Uint8Array): DecodedDllp {
  needBytes(bytes);
  if (bytes.length !== DLLP_BYTES) {
    throw new ZtlpError('malformed', `a DLLP has ${DLLP_BYTES} bytes, not ${bytes.length}`, {
      field: 'bytes',
      value: bytes,
    });
  }
  const [byte0 = 0, high = 0, middle = 0, low = 0] = bytes;
  const fields = fieldsOf(byte0, (high << 16) | (middle << 8) | low);
  const crc = bytes.slice(4);
  const right = crc16(bytes.subarray(0, 4));
  const crcOk = crc[0] === right[0] && crc[1] === right[1];
  if (fields === undefined) {
    const text = `byte 0 is 0x${byte0.toString(16).padStart(2, '0')}: no DLLP type of this version`;
    throw new ZtlpError('malformed', `${text}${crcOk ? '' : ', and the CRC is wrong'}`, {
      field: 'bytes',
      value: bytes,
    });
  }
  return { ...fields, crc, crcOk };
}
