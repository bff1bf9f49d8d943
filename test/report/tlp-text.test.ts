/** Whatever bytes come, they are shown or refused: no other error, no character that a terminal would act on. */
import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { ready } from '../../src/core/shared.js';
import { PLAIN } from '../../src/report/style.js';
import { tlpRows } from '../../src/report/tlp-rows.js';
import { formatDllp, formatTlp } from '../../src/report/tlp-text.js';
import { decodeTlp, encodeTlp } from '../../src/tlp/codec.js';
import { decodeDllp } from '../../src/tlp/dllp.js';
import { tlpFromJson } from '../../src/tlp/json.js';
import { encodeLine, formatHex, tlpToJson } from '../../src/tlp/text.js';
import type { TlpInput } from '../../src/tlp/types.js';
import { readBuild } from '../support/builds.js';

/** Byte 0 of every prefix and type, so that most of the bytes are TLPs. */
const BYTE0 = fc.constantFrom(
  ...[0x00, 0x20, 0x01, 0x40, 0x60, 0x02, 0x42, 0x04, 0x45, 0x30, 0x32, 0x36, 0x74, 0x72],
  ...[0x0a, 0x4a, 0x4b, 0x4c, 0x6d, 0x4e, 0x5b, 0x80, 0x8e, 0x90, 0x91, 0x9f],
);
const BYTES = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc
    .tuple(
      BYTE0,
      fc.uint8Array({ minLength: 3, maxLength: 3 }),
      BYTE0,
      fc.uint8Array({ minLength: 8, maxLength: 48 }),
    )
    .map(([first, prefix, second, rest]) => Uint8Array.of(first, ...prefix, second, ...rest)),
);

beforeAll(() => ready(readBuild('debug')));

it('shows any bytes as a TLP or says why they are none', () => {
  let shown = 0;
  fc.assert(
    fc.property(BYTES, fc.boolean(), (bytes, digest) => {
      try {
        const tlp = decodeTlp(bytes, { digest });
        const text = formatTlp(tlp, bytes, PLAIN, { sequence: 1 });
        expect(text).toMatch(/^[ -~─\n]+$/);
        expect(text).not.toMatch(/undefined|NaN/);
        shown++;
      } catch (error) {
        expect(error).toBeInstanceOf(ZtlpError);
        expect(String(error)).toMatch(/too short|no TLP type|more than 8/);
      }
    }),
    { numRuns: 3000 },
  );
  expect(shown).toBeGreaterThan(200);
});

it('gives bytes back through JSON, but for reserved bits', () => {
  fc.assert(
    fc.property(BYTES, fc.boolean(), (bytes, digest) => {
      let json: string;
      try {
        json = JSON.stringify(tlpToJson(decodeTlp(bytes, { digest })));
      } catch {
        return;
      }
      const back = encodeLine(tlpFromJson(JSON.parse(json)));
      const again = JSON.stringify(tlpToJson(decodeTlp(back, { digest })));
      expect(back).toHaveLength(bytes.length);
      // Reserved bits went; with them an ECRC may have become wrong, and nothing else changes.
      const fields = (text: string) => ({ ...JSON.parse(text), digestOk: null });
      expect(fields(again)).toEqual(fields(json));
    }),
    { numRuns: 3000 },
  );
});

it('rows cover the bytes in order, once each', () => {
  fc.assert(
    fc.property(BYTES, (bytes) => {
      let rows: ReturnType<typeof tlpRows>;
      try {
        rows = tlpRows(decodeTlp(bytes));
      } catch {
        return;
      }
      const seen = new Set<number>();
      let before = 0;
      for (const { byte } of rows) {
        const [first = 0, last = first] = byte.split('-').map(Number);
        expect(first).toBeGreaterThanOrEqual(before);
        before = first;
        for (let n = first; n <= last; n++) seen.add(n);
      }
      expect([...seen].sort((a, b) => a - b)).toEqual([...bytes.keys()]);
    }),
  );
});

it('shows any six bytes as a DLLP or says why they are none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      try {
        const text = formatDllp(decodeDllp(bytes), bytes, PLAIN);
        expect(text).toContain(formatHex(bytes.subarray(4)));
        expect(text).not.toMatch(/undefined|NaN/);
      } catch (error) {
        expect(String(error)).toMatch(/no DLLP type/);
      }
    }),
    { numRuns: 500 },
  );
});

it.each<[Partial<TlpInput>, string]>([
  [{ attr: { ns: true } }, '2 4 Attr NS 1 no snoop'],
  [{ attr: { ro: true } }, '2 5 Attr RO 1 relaxed ordering'],
  [{ attr: { ido: true } }, '1 2 Attr IDO 1 ID-based ordering'],
  [{ ln: true }, '1 1 LN 1 lightweight notification'],
  [{ th: true }, '1 0 TH 1 processing hint present'],
  [{ td: true }, '2 7 TD 1 digest (ECRC) behind the data'],
  [{ ep: true }, '2 6 EP 1 poisoned'],
  [{ tag: 0x200 }, '1 7 T9 1 '],
  [{ tag: 0x100 }, '1 3 T8 1 '],
  [{ tc: 5 }, '1 6:4 TC 5 traffic class 5'],
  [{ at: 2 }, '2 3:2 AT 2 translated'],
  [{ firstBe: 0xc }, '7 3:0 First DW BE 0xc bytes 2, 3'],
  [{ lastBe: 0x1 }, '7 7:4 Last DW BE 0x1 byte 0'],
])('a request with %j differs from a plain one in the row "%s"', (more, line) => {
  const plain: TlpInput = { type: 'MRd', address: 0x1000, length: 2 };
  const lines = (tlp: TlpInput) =>
    tlpRows(decodeTlp(encodeTlp(tlp)))
      .map(({ byte, bits, field, raw, meaning }) => [byte, bits, field, raw, meaning].join(' '))
      // What is computed from several fields, and the tag in words, follows.
      .filter((text) => !/Address|Digest|Tag|ST\[/.test(text));
  const before = lines(plain);
  expect(before).not.toContain(line);
  const rest = lines({ ...plain, ...more }).filter((text) => !before.includes(text));
  if (more.th) expect(rest).toContain(line);
  else expect(rest).toEqual([line]);
});

it.each([
  ['MsgD', 1, undefined],
  ['MsgD', 2, 'Set_Slot_Power_Limit has 1 DW of data'],
  ['Msg', 0, 'Set_Slot_Power_Limit comes as MsgD'],
] as const)('Set_Slot_Power_Limit as %s of %i DW: %s', (type, dw, note) => {
  const bytes = encodeTlp({ type, messageCode: 0x50, routing: 4 }, new Uint8Array(4 * dw));
  const text = formatTlp(decodeTlp(bytes), bytes, PLAIN);
  if (note === undefined) expect(text).not.toMatch(/ has | comes as /);
  else expect(text).toContain(note);
});
