/** Every malformed rule that one TLP alone shows, broken and kept, and the encoder that refuses to break them (TLP-14, TLP-15). */
import { beforeAll, describe, expect, it, test } from 'vitest';
import { decodeTlp, encodeTlp, type Malformed, MESSAGES, ready, type TlpInput } from '../../src/index.js';
import { MALFORMED_RULES } from '../../src/tlp/malformed.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { pattern } from '../support/reference.js';

const LOW = 0x1000_0000;
const HIGH = 0x20_0000_0000;

interface Case {
  readonly tlp: TlpInput;
  readonly bytes?: number;
  readonly mps?: number;
  readonly beCheck?: boolean;
  readonly digest?: boolean;
}

/** Encodes without the encoder's checks and decodes. */
function judged({ tlp, bytes, mps = 4096, beCheck = false, digest = true }: Case): string | undefined {
  const data = bytes === undefined ? undefined : pattern(bytes);
  const wire = encodeTlp(tlp, data, { malformed: true, digest });
  return decodeTlp(wire, { mps, beCheck }).malformed?.code;
}

const prefix = (scope: 'local' | 'endToEnd', type: number) => ({ scope, type, value: 0 });
const write = (more: Partial<TlpInput> = {}): TlpInput => ({ type: 'MWr', address: LOW, ...more });
const read = (more: Partial<TlpInput> = {}): TlpInput => ({ type: 'MRd', address: LOW, ...more });
const local = prefix('local', 0);
const tph = prefix('endToEnd', 0);

type Rows = readonly (readonly [string, Case])[];

/** Per rule: what breaks it, and what is close but keeps it. */
const RULES: Readonly<Record<Malformed['code'], { readonly broken: Rows; readonly kept: Rows }>> = {
  length: {
    broken: [
      ['a DW too few', { tlp: write({ length: 4 }), bytes: 8 }],
      ['two DW too many', { tlp: write({ length: 1 }), bytes: 12 }],
      ['a byte too many', { tlp: write({ length: 1 }), bytes: 5 }],
      ['data behind a read', { tlp: read({ length: 2 }), bytes: 8 }],
      ['a digest of half a DW', { tlp: write({ td: true, length: 1 }), bytes: 6, digest: false }],
    ],
    kept: [
      ['the data that Length says', { tlp: write({ length: 2 }), bytes: 8 }],
      ['1024 DW', { tlp: write({ length: 1024 }), bytes: 4096 }],
      ['a read of 1024 DW', { tlp: read({ length: 1024 }) }],
    ],
  },
  digest: {
    broken: [
      ['TLP-14: TD without a digest', { tlp: write({ td: true }), bytes: 4, digest: false }],
      ['a DW too many and no TD', { tlp: write({ length: 1 }), bytes: 8 }],
      ['TD on a read without a digest', { tlp: read({ td: true }), digest: false }],
    ],
    kept: [
      ['TD with a digest', { tlp: write({ td: true }), bytes: 4 }],
      ['neither', { tlp: write(), bytes: 4 }],
    ],
  },
  payload: {
    broken: [
      ['TLP-14: a write above MPS', { tlp: write(), bytes: 132, mps: 128 }],
      ['a completion above MPS', { tlp: { type: 'CplD', byteCount: 260 }, bytes: 260, mps: 256 }],
      ['a message above MPS', { tlp: { type: 'MsgD', messageCode: 0x7e }, bytes: 132, mps: 128 }],
    ],
    kept: [
      ['a write of MPS', { tlp: write(), bytes: 128, mps: 128 }],
      ['a read above MPS', { tlp: read({ length: 1024 }), mps: 128 }],
    ],
  },
  'crosses-4k': {
    broken: [
      ['TLP-14: a write', { tlp: write({ address: LOW + 0xffc }), bytes: 8 }],
      ['a read', { tlp: read({ address: LOW + 4, length: 1024 }) }],
      ['a locked read', { tlp: { type: 'MRdLk', address: HIGH + 0xff8, length: 3 } }],
      ['a deferrable write', { tlp: { type: 'DMWr', address: LOW + 0xffc }, bytes: 8 }],
    ],
    kept: [
      ['a write up to it', { tlp: write({ address: LOW + 0xff8 }), bytes: 8 }],
      ['a whole page', { tlp: read({ length: 1024 }) }],
      ['a CAS whose operand ends there', { tlp: { type: 'CAS', address: LOW + 0xff0 }, bytes: 32 }],
    ],
  },
  'io-config': {
    broken: [
      ['an I/O read of 2 DW', { tlp: { type: 'IORd', length: 2, lastBe: 0 } }],
      ['an I/O write with Last BE', { tlp: { type: 'IOWr', lastBe: 1 }, bytes: 4 }],
      ['a configuration read with TC', { tlp: { type: 'CfgRd0', tc: 1 } }],
      ['TLP-15: a configuration write with RO', { tlp: { type: 'CfgWr1', attr: { ro: true } }, bytes: 4 }],
      ['TLP-15: an I/O read with NS', { tlp: { type: 'IORd', attr: { ns: true } } }],
      ['an I/O read with IDO', { tlp: { type: 'IORd', attr: { ido: true } } }],
      ['a configuration read with AT', { tlp: { type: 'CfgRd1', at: 2 } }],
    ],
    kept: [
      ['an I/O write', { tlp: { type: 'IOWr', address: 0xcf8 }, bytes: 4 }],
      ['a configuration read', { tlp: { type: 'CfgRd0', register: 0xffc, firstBe: 3 } }],
    ],
  },
  'byte-enables': {
    broken: [
      ['Last BE with one DW', { tlp: write({ lastBe: 1 }), bytes: 4, beCheck: true }],
      ['no First BE with two DW', { tlp: write({ firstBe: 0 }), bytes: 8, beCheck: true }],
      [
        'TLP-11: a gap, not 8-byte aligned',
        { tlp: write({ address: LOW + 4, firstBe: 9 }), bytes: 8, beCheck: true },
      ],
      ['a gap in three DW', { tlp: read({ length: 3, lastBe: 5 }), beCheck: true }],
      ['a gap in a write with TH', { tlp: write({ th: true, firstBe: 5 }), bytes: 12, beCheck: true }],
    ],
    kept: [
      ['TLP-11: the same gap, not checked', { tlp: write({ address: LOW + 4, firstBe: 9 }), bytes: 8 }],
      ['TLP-11: the gap, 8-byte aligned', { tlp: write({ firstBe: 9, lastBe: 6 }), bytes: 8, beCheck: true }],
      ['one DW with a gap', { tlp: write({ firstBe: 9 }), bytes: 4, beCheck: true }],
      ['a zero-length read', { tlp: read({ firstBe: 0 }), beCheck: true }],
      [
        'a read whose enables are a steering tag',
        { tlp: read({ th: true, length: 3, firstBe: 5, lastBe: 0 }), beCheck: true },
      ],
      [
        'an AtomicOp, where they are reserved',
        { tlp: { type: 'Swap', firstBe: 0, lastBe: 9 }, bytes: 4, beCheck: true },
      ],
    ],
  },
  prefix: {
    broken: [
      ['five end-to-end prefixes', { tlp: read({ prefixes: [tph, tph, tph, tph, tph] }) }],
      ['a local one behind an end-to-end one', { tlp: read({ prefixes: [tph, local] }) }],
      ['an undefined local type', { tlp: read({ prefixes: [prefix('local', 1)] }) }],
      ['the flit-mode local type', { tlp: read({ prefixes: [prefix('local', 13)] }) }],
    ],
    kept: [
      ['four end-to-end prefixes', { tlp: read({ prefixes: [tph, tph, tph, tph] }) }],
      [
        'local ones first',
        { tlp: read({ prefixes: [local, prefix('local', 14), prefix('local', 15), tph] }) },
      ],
      [
        'four end-to-end ones behind two local ones',
        { tlp: read({ prefixes: [local, local, tph, tph, tph, tph] }) },
      ],
      ['an end-to-end type of the future', { tlp: read({ prefixes: [prefix('endToEnd', 9)] }) }],
    ],
  },
  'message-routing': {
    broken: [
      ['INTx to the root', { tlp: { type: 'Msg', messageCode: 0x20, routing: 0 } }],
      ['an error by ID', { tlp: { type: 'Msg', messageCode: 0x33, routing: 2 } }],
      ['a vendor message by address', { tlp: { type: 'MsgD', messageCode: 0x7f, routing: 1 }, bytes: 4 }],
      ['PME_TO_Ack, local', { tlp: { type: 'Msg', messageCode: 0x1b, routing: 4 } }],
      ['a reserved routing', { tlp: { type: 'Msg', messageCode: 0x20, routing: 6 } }],
    ],
    kept: [
      ['a message nobody knows', { tlp: { type: 'Msg', messageCode: 0x66, routing: 1 } }],
      ['the code of the source that errs', { tlp: { type: 'Msg', messageCode: 0x1a, routing: 5 } }],
    ],
  },
  'message-tc': {
    broken: [
      ['INTx', { tlp: { type: 'Msg', messageCode: 0x27, routing: 4, tc: 1 } }],
      ['power management', { tlp: { type: 'Msg', messageCode: 0x19, routing: 3, tc: 7 } }],
      ['an error', { tlp: { type: 'Msg', messageCode: 0x30, routing: 0, tc: 2 } }],
    ],
    kept: [['a vendor message', { tlp: { type: 'Msg', messageCode: 0x7e, routing: 0, tc: 7 } }]],
  },
  'atomic-length': {
    broken: [
      ['FetchAdd of 3 DW', { tlp: { type: 'FetchAdd' }, bytes: 12 }],
      ['Swap of 4 DW', { tlp: { type: 'Swap' }, bytes: 16 }],
      ['CAS of 1 DW', { tlp: { type: 'CAS' }, bytes: 4 }],
      ['CAS of 6 DW', { tlp: { type: 'CAS' }, bytes: 24 }],
    ],
    kept: [
      ['FetchAdd of 1 DW', { tlp: { type: 'FetchAdd' }, bytes: 4 }],
      ['Swap of 2 DW', { tlp: { type: 'Swap', address: HIGH }, bytes: 8 }],
      ['CAS of 2 DW', { tlp: { type: 'CAS' }, bytes: 8 }],
      ['CAS of 4 DW', { tlp: { type: 'CAS' }, bytes: 16 }],
      ['CAS of 8 DW', { tlp: { type: 'CAS' }, bytes: 32 }],
    ],
  },
  'atomic-alignment': {
    broken: [
      ['an 8-byte FetchAdd', { tlp: { type: 'FetchAdd', address: LOW + 4 }, bytes: 8 }],
      ['an 8-byte CAS', { tlp: { type: 'CAS', address: LOW + 4 }, bytes: 16 }],
      ['a 16-byte CAS', { tlp: { type: 'CAS', address: LOW + 8 }, bytes: 32 }],
    ],
    kept: [
      ['a 4-byte Swap', { tlp: { type: 'Swap', address: LOW + 4 }, bytes: 4 }],
      ['a 4-byte CAS', { tlp: { type: 'CAS', address: LOW + 4 }, bytes: 8 }],
      ['an 8-byte CAS', { tlp: { type: 'CAS', address: LOW + 8 }, bytes: 16 }],
    ],
  },
  'deferrable-length': {
    broken: [
      ['132 bytes', { tlp: { type: 'DMWr', address: LOW }, bytes: 132 }],
      ['132 bytes, 64-bit address', { tlp: { type: 'DMWr', address: HIGH }, bytes: 132 }],
    ],
    kept: [
      ['128 bytes', { tlp: { type: 'DMWr', address: HIGH }, bytes: 128 }],
      ['132 bytes of another write', { tlp: write(), bytes: 132 }],
    ],
  },
  'address-format': {
    broken: [
      ['a write', { tlp: write({ headerDw: 4 }), bytes: 4 }],
      ['an AtomicOp', { tlp: { type: 'Swap', headerDw: 4 }, bytes: 4 }],
    ],
    kept: [['4 GiB itself', { tlp: write({ address: 0x1_0000_0000 }), bytes: 4 }]],
  },
  hint: {
    broken: [
      ['PH without TH', { tlp: write({ ph: 1 }), bytes: 4 }],
      ['the upper bit of a translation request', { tlp: read({ at: 1, ph: 2 }) }],
    ],
    kept: [
      ['PH with TH', { tlp: write({ th: true, ph: 3 }), bytes: 4 }],
      ['TH alone', { tlp: read({ th: true }) }],
      ['No Write of a translation request', { tlp: read({ at: 1, ph: 1, length: 2 }) }],
    ],
  },
  'address-type': {
    broken: [
      ['AT 3', { tlp: read({ at: 3 }) }],
      ['AT 1 on a write', { tlp: write({ at: 1 }), bytes: 4 }],
      ['AT 1 on a locked read', { tlp: { type: 'MRdLk', at: 1 } }],
    ],
    kept: [
      ['AT 1 on a read', { tlp: read({ at: 1, length: 2 }) }],
      ['AT 2 on a write', { tlp: write({ at: 2 }), bytes: 4 }],
    ],
  },
};

const rows = (which: 'broken' | 'kept') =>
  Object.entries(RULES).flatMap(([code, rule]) =>
    rule[which].map(([name, input]) => [code, name, input] as const),
  );

/** Rules that hang on what the receiver chose, not on the TLP alone: the encoder does not know them. */
const RECEIVERS: ReadonlySet<string> = new Set(['payload', 'byte-enables']);

test('every rule has a text and a section, and cases here', () => {
  expect(MALFORMED_RULES.map(({ code }) => code).sort()).toEqual(Object.keys(RULES).sort());
  for (const { rule, section } of MALFORMED_RULES) {
    expect(rule).not.toBe('');
    expect(section).toMatch(/^2\.2\.\d/);
  }
});

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => ready(readBuild(build)));

  it.each(rows('broken'))('%s is broken by %s', (code, _name, input) => {
    expect(judged(input)).toBe(code);
  });

  it.each(rows('kept'))('%s is kept by %s', (_code, _name, input) => {
    expect(judged(input)).toBeUndefined();
  });

  it.each(rows('broken').filter(([code]) => !RECEIVERS.has(code)))(
    'the encoder refuses %s: %s',
    (code, _name, { tlp, bytes, digest = true }) => {
      const encode = () => encodeTlp(tlp, bytes === undefined ? undefined : pattern(bytes), { digest });
      // Without its digest a TLP with TD is what a receiver strips it to: nothing to refuse.
      if (code === 'digest' && !digest) expect(encode).not.toThrow();
      else expect(encode).toThrow(/is not valid|Malformed TLP/);
    },
  );

  it.each(rows('kept'))('the encoder takes what keeps %s: %s', (_code, _name, { tlp, bytes }) => {
    expect(() => encodeTlp(tlp, bytes === undefined ? undefined : pattern(bytes))).not.toThrow();
  });

  it.each(['IORd', 'IOWr', 'CfgRd0', 'CfgWr0', 'CfgRd1', 'CfgWr1'] as const)(
    'TLP-15: %s takes neither No Snoop nor Relaxed Ordering',
    (type) => {
      const data = type.includes('Wr') ? pattern(4) : undefined;
      for (const attr of [{ ns: true }, { ro: true }, { ido: true }]) {
        expect(() => encodeTlp({ type, attr }, data)).toThrow(/^attr: .*none on/);
        const forced = encodeTlp({ type, attr }, data, { malformed: true });
        expect(decodeTlp(forced).attr).toMatchObject(attr);
      }
      expect(decodeTlp(encodeTlp({ type }, data)).attr).toEqual({ ns: false, ro: false, ido: false });
    },
  );

  it('every message goes each way its row allows and no other', () => {
    for (const { code, name, routing, types, dataDw, tc0 } of MESSAGES) {
      for (const type of types) {
        const bytes = type === 'MsgD' ? 4 * (dataDw ?? 1) : undefined;
        for (let way = 0; way < 8; way++) {
          const tlp: TlpInput = { type, messageCode: code, routing: way };
          const expected = routing.includes(way) ? undefined : 'message-routing';
          const input = bytes === undefined ? { tlp } : { tlp, bytes };
          expect(judged(input), `${name} ${way}`).toBe(expected);
          if (expected !== undefined) continue;
          const busy = { ...input, tlp: { ...tlp, tc: 3 } };
          expect(judged(busy), name).toBe(tc0 ? 'message-tc' : undefined);
        }
      }
    }
  });

  it.each([
    ['00', /1 bytes are too short/],
    ['4000000100', /too short/],
    ['20000001000000ff00000000', /too short/],
    ['910000', /too short/],
    ['91000001', /too short/],
    ['9100000100000001000000ff', /too short/],
    ['1b000001000000ff00000000', /byte 0 is 0x1b/], // TCfgRd, deprecated
    ['22000001000000ff0000000000000000', /byte 0 is 0x22/], // I/O has no 64-bit form
    ['ff000001000000ff0000000000000000', /byte 0 is 0xff/],
    ['9100000191000002a0000001', /byte 8 is 0xa0/],
    [`${'91000001'.repeat(9)}00000001000000ff00000000`, /more than 8 TLP prefixes/],
  ])('%s is no TLP at all', (text, message) => {
    expect(() => decodeTlp(Uint8Array.from(Buffer.from(text, 'hex')))).toThrow(message);
  });

  it('gives back what stands behind a TLP that is too long', () => {
    const bytes = encodeTlp(write({ length: 1 }), pattern(13), { malformed: true });
    const { data, trailing } = decodeTlp(bytes);
    expect([...data, ...trailing]).toEqual([...pattern(13)]);
    expect(data).toHaveLength(4);
  });

  it('takes no more than the largest TLP', () => {
    expect(() => encodeTlp(write({ length: 1 }), new Uint8Array(5000), { malformed: true })).toThrow(
      /at most/,
    );
  });
});
