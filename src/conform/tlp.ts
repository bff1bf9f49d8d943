/** Runs the groups `tlp`, `byteRange` and `beCount` of `tlp-vectors/1`: single headers, their checksums and sizes. */
import { invalid } from '../base/errors.js';
import { hex64 } from '../core/u64.js';
import { decodeTlp, encodeTlp } from '../tlp/codec.js';
import { ecrc, lcrc } from '../tlp/crc.js';
import { TLP_TYPES } from '../tlp/kinds.js';
import { byteRange, enabledRange } from '../tlp/split.js';
import type { Attributes, Tlp, TlpInput, TlpType } from '../tlp/types.js';
import { type CaseFields, toHex } from './case.js';
import { type Json, judge, type Verdict } from './report.js';

/** Types whose vector name says the header size: MRd32, MRd64. */
const TWO_SIZES: ReadonlySet<TlpType> = new Set(['MRd', 'MRdLk', 'MWr', 'FetchAdd', 'Swap', 'CAS', 'DMWr']);

type Kind = Pick<TlpInput, 'type' | 'headerDw'>;

/** Type and header size by vector name. */
const KINDS: ReadonlyMap<string, Kind> = new Map(
  TLP_TYPES.flatMap((type): [string, Kind][] =>
    TWO_SIZES.has(type)
      ? [
          [`${type}32`, { type, headerDw: 3 }],
          [`${type}64`, { type, headerDw: 4 }],
        ]
      : [[type, { type }]],
  ),
);

/** One header field: its name in the vectors, how a case gives it to the encoder, and what the decoder found. */
interface Field {
  readonly name: string;
  readonly input: (fields: CaseFields) => Partial<TlpInput>;
  readonly expected: (fields: CaseFields) => Json;
  readonly actual: (tlp: Tlp) => Json;
}

function number(name: string, key: keyof TlpInput & keyof Tlp): Field {
  const expected = (fields: CaseFields): number => fields.integer(name);
  return {
    name,
    expected,
    input: (fields) => ({ [key]: expected(fields) }),
    actual: (tlp) => Number(tlp[key]),
  };
}

/** A bit: a number in the vectors, a boolean in the library. */
function bit(name: 'th' | 'ln' | 'td' | 'ep' | 'bcm'): Field {
  const expected = (fields: CaseFields): number => (fields.flag(name) ? 1 : 0);
  return {
    name,
    expected,
    input: (fields) => ({ [name]: fields.flag(name) }),
    actual: (tlp) => (tlp[name] ? 1 : 0),
  };
}

/** A field that follows from the type: nothing to give to the encoder. */
function derived(name: string, actual: (tlp: Tlp) => Json): Field {
  return { name, expected: (fields) => fields.integer(name), input: () => ({}), actual };
}

const COMMON: readonly Field[] = [
  derived('fmt', (tlp) => tlp.fmt),
  derived('type', (tlp) => tlp.typeField),
  number('tc', 'tc'),
  {
    name: 'attr',
    expected: (fields) => fields.integer('attr'),
    input: (fields) => ({ attr: attributes(fields) }),
    actual: ({ attr }) => (attr.ns ? 1 : 0) | (attr.ro ? 2 : 0) | (attr.ido ? 4 : 0),
  },
  number('at', 'at'),
  bit('th'),
  bit('ln'),
  bit('td'),
  bit('ep'),
  number('len', 'length'),
  number('req', 'requester'),
  number('tag', 'tag'),
];

const REQUEST: readonly Field[] = [...COMMON, number('fbe', 'firstBe'), number('lbe', 'lastBe')];
const CONFIG: readonly Field[] = [...REQUEST, number('cpl', 'destination'), number('reg', 'register')];
const ADDRESSED: readonly Field[] = [
  ...REQUEST,
  {
    name: 'addr',
    expected: (fields) => hex64(fields.u64('addr')),
    input: (fields) => ({ address: fields.u64('addr') }),
    actual: (tlp) => hex64(tlp.address),
  },
  number('ph', 'ph'),
];
const COMPLETION: readonly Field[] = [
  ...COMMON,
  number('cpl', 'completer'),
  number('status', 'status'),
  bit('bcm'),
  number('bc', 'byteCount'),
  number('la', 'lowerAddress'),
];

/** The header fields that a TLP of `type` has. */
function fieldsOf(type: TlpType): readonly Field[] {
  if (type.startsWith('Cpl')) return COMPLETION;
  return type.startsWith('Cfg') ? CONFIG : ADDRESSED;
}

/** Bit 0 No Snoop, bit 1 Relaxed Ordering, bit 2 ID-based Ordering. */
export function attributes(fields: CaseFields): Attributes {
  const attr = fields.integer('attr');
  if (attr < 0 || attr > 7) throw invalid('attr', attr, 'an integer from 0 to 7', 'out-of-range');
  return { ns: (attr & 1) !== 0, ro: (attr & 2) !== 0, ido: (attr & 4) !== 0 };
}

/** Encodes the fields and decodes the bytes of the file, each apart from the other. */
export function runTlp(fields: CaseFields): Verdict {
  const name = fields.text('k');
  const kind = KINDS.get(name);
  if (kind === undefined) throw invalid('k', name, [...KINDS.keys()].join(', '), 'unknown-name');
  const list = fieldsOf(kind.type);
  const header = fields.bytes('hdr');
  const data = fields.has('data') ? fields.bytes('data') : new Uint8Array(0);
  const sequence = fields.integer('seq');
  const input: TlpInput = Object.assign({ ...kind }, ...list.map((field) => field.input(fields)));
  const encoded = encodeTlp(input, data, { digest: false });
  const bytes = new Uint8Array(Buffer.concat([header, data]));
  const decoded = decodeTlp(bytes, { digest: false });
  const digest = fields.flag('td');
  const expected: Record<string, Json> = {
    hdr: toHex(header),
    data: toHex(data),
    decodedData: toHex(data),
    fc: fields.text('fc'),
    dc: fields.integer('dc'),
    wire: fields.integer('wire'),
    lcrc: toHex(fields.bytes('lcrc')),
  };
  const actual: Record<string, Json> = {
    hdr: toHex(encoded.subarray(0, encoded.length - data.length)),
    data: toHex(encoded.subarray(encoded.length - data.length)),
    decodedData: toHex(decoded.data),
    fc: decoded.flow,
    dc: decoded.dataCredits,
    wire: decoded.wireBytes - (digest ? 4 : 0), // the file counts the TLP without its digest
    lcrc: toHex(lcrc(bytes, sequence)),
  };
  for (const field of list) {
    expected[field.name] = field.expected(fields);
    actual[field.name] = field.actual(decoded);
  }
  if (digest) {
    expected.ecrc = toHex(fields.bytes('ecrc'));
    expected.lcrcWithEcrc = toHex(fields.bytes('lcrcWithEcrc'));
    actual.ecrc = toHex(ecrc(bytes));
    actual.lcrcWithEcrc = toHex(lcrc(encodeTlp(input, data), sequence));
  }
  return judge(expected, actual);
}

export function runByteRange(fields: CaseFields): Verdict {
  const bytes = fields.integer('bytes');
  const range = byteRange(fields.u64('addr'), bytes);
  const expected: Record<string, Json> = {
    dwAddr: hex64(fields.u64('dwAddr')),
    len: fields.integer('len'),
    fbe: fields.integer('fbe'),
    lbe: fields.integer('lbe'),
  };
  const actual: Record<string, Json> = {
    dwAddr: hex64(range.dwAddress),
    len: range.length,
    fbe: range.firstBe,
    lbe: range.lastBe,
  };
  // A range of no bytes has no pads to speak of.
  if (bytes === 0) {
    fields.skip('firstPad', 'lastPad');
  } else {
    expected.firstPad = fields.integer('firstPad');
    expected.lastPad = fields.integer('lastPad');
    actual.firstPad = range.firstPad;
    actual.lastPad = range.lastPad;
  }
  return judge(expected, actual);
}

export function runBeCount(fields: CaseFields): Verdict {
  const firstBe = fields.integer('fbe');
  const range = enabledRange(fields.integer('len'), firstBe, fields.integer('lbe'));
  const expected: Record<string, Json> = { byteCount: fields.integer('byteCount') };
  const actual: Record<string, Json> = { byteCount: range.byteCount };
  // Without an enabled byte in the first DW there is no first offset.
  if (firstBe === 0) {
    fields.skip('firstOffset', 'lastOffset');
  } else {
    expected.firstOffset = fields.integer('firstOffset');
    expected.lastOffset = fields.integer('lastOffset');
    actual.firstOffset = range.firstOffset;
    actual.lastOffset = range.lastOffset;
  }
  return judge(expected, actual);
}
