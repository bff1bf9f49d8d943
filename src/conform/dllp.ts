/** Runs the groups `dllp` and `crc` of `tlp-vectors/1`: data link layer packets, and checksums of bytes. */
import { invalid } from '../base/errors.js';
import { crc16, crc32, ecrc } from '../tlp/crc.js';
import {
  type CreditDllp,
  DLLP_TYPES,
  type Dllp,
  type DllpType,
  decodeDllp,
  encodeDllp,
} from '../tlp/dllp.js';
import { type CaseFields, toHex } from './case.js';
import { type Json, judge, type Verdict } from './report.js';

type Maker = (fields: CaseFields) => Dllp;

const FLOWS: readonly CreditDllp['flow'][] = ['P', 'NP', 'CPL'];

/** Vector names that are not the library's in capitals. */
const OTHER_NAMES: Readonly<Partial<Record<DllpType, string>>> = {
  DataLinkFeature: 'DATA_LINK_FEATURE',
  MRInit: 'MR_INIT',
  VendorSpecific: 'VENDOR_SPECIFIC',
};

/** How the fields of a case make a DLLP, by vector name. */
const MAKERS: ReadonlyMap<string, Maker> = new Map(
  DLLP_TYPES.flatMap((type): [string, Maker][] => {
    switch (type) {
      case 'InitFC1':
      case 'InitFC2':
      case 'UpdateFC': {
        const name = { InitFC1: 'INIT_FC1', InitFC2: 'INIT_FC2', UpdateFC: 'UPDATE_FC' }[type];
        return FLOWS.map((flow) => [`${name}_${flow}`, (fields) => credits(type, flow, fields)]);
      }
      default:
        return [[OTHER_NAMES[type] ?? type.toUpperCase(), (fields) => single(type, fields)]];
    }
  }),
);

function credits(type: CreditDllp['type'], flow: CreditDllp['flow'], fields: CaseFields): Dllp {
  return {
    type,
    flow,
    vc: fields.integer('vc'),
    headerScale: fields.integer('hdrScale'),
    headerCredits: fields.integer('hdrFC'),
    dataScale: fields.integer('dataScale'),
    dataCredits: fields.integer('dataFC'),
  };
}

function single(type: Exclude<DllpType, CreditDllp['type']>, fields: CaseFields): Dllp {
  switch (type) {
    case 'Ack':
    case 'Nak':
      return { type, sequence: fields.integer('seq') };
    case 'DataLinkFeature':
      return { type, ack: fields.flag('featureAck'), features: fields.integer('featureSupport') };
    case 'MRInit':
    case 'VendorSpecific':
    case 'NOP':
      return { type, value: fields.has('value') ? fields.integer('value') : 0 };
    default:
      return { type };
  }
}

/** Encodes the fields and decodes the bytes of the file, each apart from the other. */
export function runDllp(fields: CaseFields): Verdict {
  const name = fields.text('k');
  const make = MAKERS.get(name);
  if (make === undefined) throw invalid('k', name, [...MAKERS.keys()].join(', '), 'unknown-name');
  const dllp = make(fields);
  const bytes = fields.bytes('bytes');
  const { crc, crcOk, ...decoded } = decodeDllp(bytes);
  const expected: Record<string, Json> = { bytes: toHex(bytes), crcOk: true };
  const actual: Record<string, Json> = { bytes: toHex(encodeDllp(dllp)), crcOk };
  return judge({ ...expected, ...dllp }, { ...actual, ...decoded });
}

const CRCS: ReadonlyMap<string, (bytes: Uint8Array) => Uint8Array> = new Map([
  ['dllp16', crc16],
  ['lcrc32', crc32],
  // The bytes are random: what looks like a prefix is none.
  ['ecrc32', (bytes) => ecrc(bytes, { prefixes: 0 })],
]);

/** Every byte of the input counts, also where a real TLP or DLLP could not have it. */
export function runCrc(fields: CaseFields): Verdict {
  const name = fields.text('alg');
  const crc = CRCS.get(name);
  if (crc === undefined) throw invalid('alg', name, [...CRCS.keys()].join(', '), 'unknown-name');
  return judge({ out: toHex(fields.bytes('out')) }, { out: toHex(crc(fields.bytes('in'))) });
}
