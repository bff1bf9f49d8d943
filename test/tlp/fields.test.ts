/** TLP codec beyond the vectors: every type with every field, prefixes, messages, hints, checksums (TLP-12, 14, 16 to 18). */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  decodeTlp,
  ecrc,
  encodeTlp,
  lcrc,
  ready,
  splitCompletion,
  splitRequest,
  TLP_TYPES,
  type TlpInput,
  type TlpPrefix,
} from '../../src/index.js';
import { hasData, shapeOf } from '../../src/tlp/kinds.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { crc32, crcBytes, hex, pattern } from '../support/reference.js';

const bits = (count: number) => fc.integer({ min: 0, max: 2 ** count - 1 });
const PREFIX: fc.Arbitrary<TlpPrefix> = fc.record({
  scope: fc.constantFrom('local' as const, 'endToEnd' as const),
  type: bits(4),
  value: bits(24),
});

/** A TLP with every field that its type has, each at random: legal or not. */
const TLP: fc.Arbitrary<TlpInput> = fc
  .record({
    type: fc.constantFrom(...TLP_TYPES),
    headerDw: fc.constantFrom(3 as const, 4 as const),
    tc: bits(3),
    attr: fc.record({ ns: fc.boolean(), ro: fc.boolean(), ido: fc.boolean() }),
    at: bits(2),
    th: fc.boolean(),
    ph: bits(2),
    ln: fc.boolean(),
    td: fc.boolean(),
    ep: fc.boolean(),
    length: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.constantFrom(1023, 1024)),
    requester: bits(16),
    tag: bits(10),
    firstBe: bits(4),
    lastBe: bits(4),
    address: fc.bigInt({ min: 0n, max: 2n ** 62n - 1n }).map((dw) => dw * 4n),
    completer: bits(16),
    destination: bits(16),
    register: bits(10).map((dw) => dw * 4),
    status: bits(3),
    bcm: fc.boolean(),
    byteCount: fc.integer({ min: 1, max: 4096 }),
    lowerAddress: bits(7),
    routing: bits(3),
    messageCode: bits(8),
    message: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    prefixes: fc.array(PREFIX, { maxLength: 8 }),
  })
  .map(onlyItsFields);

/** Leaves out what the type does not have, and narrows addresses to its header. */
function onlyItsFields(all: Required<Omit<TlpInput, 'pasid' | 'steeringTag'>>): TlpInput {
  const { type, headerDw, tc, attr, at, th, ln, td, ep, requester, tag, prefixes, ...rest } = all;
  const common = { type, tc, attr, at, th, ln, td, ep, requester, tag, prefixes };
  const { length, firstBe, lastBe, ph, destination, register, routing, messageCode } = rest;
  const address = headerDw === 3 || shapeOf(type) === 'io' ? BigInt(rest.address) % 2n ** 32n : rest.address;
  switch (shapeOf(type)) {
    case 'memory':
      return { ...common, length, firstBe, lastBe, ph, headerDw, address };
    case 'io':
      return { ...common, length, firstBe, lastBe, address };
    case 'config':
      return { ...common, length, firstBe, lastBe, destination, register };
    case 'message': {
      // The destination of a message by ID is a part of its bytes.
      const byId = routing === 2 ? { destination: Number(BigInt(rest.message) >> 48n) } : {};
      const { message } = rest;
      return { ...common, ...byId, length: hasData(type) ? length : 0, routing, messageCode, message };
    }
    default: {
      const { completer, status, bcm, byteCount, lowerAddress } = rest;
      const own = { completer, status, bcm, byteCount, lowerAddress };
      return { ...common, ...own, length: hasData(type) ? length : 0 };
    }
  }
}

const wide = (value: unknown): unknown => (typeof value === 'number' ? BigInt(value) : value);

function dataOf(tlp: TlpInput): Uint8Array | undefined {
  return hasData(tlp.type) ? pattern(4 * (tlp.length ?? 1), tlp.tag) : undefined;
}

/** Reserved bits by header byte, which are sent as 0 and not looked at (2.2). */
function reservedBits({ type }: TlpInput): Readonly<Record<number, number>> {
  const length = hasData(type) ? {} : { 2: 0x03, 3: 0xff };
  switch (shapeOf(type)) {
    case 'io':
      return { 11: 0x03 };
    case 'config':
      return { 10: 0xf0, 11: 0x03 };
    case 'message':
      return length;
    case 'completion':
      return { ...length, 11: 0x80 };
    default:
      return {};
  }
}

const HIGH = 0x12_3456_7000;

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => ready(readBuild(build)));

  it('encode and decode are inverse for every type with every field', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(TLP, (tlp) => {
        seen.add(`${tlp.type}${tlp.headerDw ?? ''}`);
        const data = dataOf(tlp);
        const bytes = encodeTlp(tlp, data, { malformed: true });
        const decoded = decodeTlp(bytes);
        for (const [name, value] of Object.entries(tlp)) {
          const actual = decoded[name as keyof typeof decoded];
          if (name === 'address' || name === 'message') expect(wide(actual), name).toBe(value);
          else expect(actual, name).toEqual(value);
        }
        expect([...decoded.data]).toEqual([...(data ?? [])]);
        expect(decoded.digestOk).toBe(tlp.td ? true : undefined);
        // What was decoded encodes to the same bytes, derived fields and all.
        expect(hex(encodeTlp(decoded, decoded.data, { malformed: true }))).toBe(hex(bytes));
        expect(decoded.wireBytes).toBe(bytes.length + 8);
        expect(decoded.dataCredits).toBe(Math.ceil((data?.length ?? 0) / 16));
      }),
      { numRuns: 2000 },
    );
    expect(seen.size).toBe(TLP_TYPES.length + 7); // seven types have both header sizes
  });

  it('every bit behind Fmt and Type is some field, but for the reserved ones', () => {
    fc.assert(
      fc.property(TLP, bits(32), (tlp, at) => {
        const bytes = encodeTlp({ ...tlp, td: false }, dataOf(tlp), { malformed: true });
        const start = 4 * (tlp.prefixes?.length ?? 0);
        const bit = at % (8 * bytes.length);
        const place = bit >> 3;
        if (place <= start && place % 4 === 0) return; // Fmt and Type, of a prefix or of the header
        const mask = 1 << (bit & 7);
        bytes[place] = (bytes[place] ?? 0) ^ mask;
        const { data, trailing, ...fields } = decodeTlp(bytes);
        const back = encodeTlp(fields, Uint8Array.of(...data, ...trailing), {
          malformed: true,
          digest: false,
        });
        const isReserved = ((reservedBits(tlp)[place - start] ?? 0) & mask) !== 0;
        expect(hex(back) === hex(bytes)).toBe(!isReserved);
      }),
      { numRuns: 1000 },
    );
  });

  it('no tlp case of the vectors is malformed', () => {
    const file = new URL('../vectors/tlp-cocotbext-pcie.json', import.meta.url);
    const { tlp } = JSON.parse(readFileSync(file, 'utf8')) as { tlp: { hdr: string; data?: string }[] };
    expect(tlp).toHaveLength(2472);
    for (const { hdr, data = '' } of tlp) {
      const bytes = Uint8Array.from(Buffer.from(hdr + data, 'hex'));
      expect(decodeTlp(bytes, { digest: false }).malformed, hdr).toBeUndefined();
    }
  });

  describe('prefixes', () => {
    it('TLP-17: PASID is 0x91, PMR bit 21, EXE bit 20, PASID 19:0; 4 wire bytes more and no credit', () => {
      const plain: TlpInput = { type: 'MWr', address: HIGH, requester: 0x0100 };
      const pasid = { pasid: 0xabcde, privileged: true, execute: false };
      const without = decodeTlp(encodeTlp(plain, pattern(16)));
      const bytes = encodeTlp({ ...plain, pasid }, pattern(16));
      const decoded = decodeTlp(bytes);
      expect(hex(bytes.subarray(0, 4))).toBe('91 2a bc de');
      expect(hex(bytes.subarray(4))).toBe(hex(encodeTlp(plain, pattern(16))));
      expect(decoded.pasid).toEqual(pasid);
      expect(decoded.prefixes).toEqual([{ scope: 'endToEnd', type: 1, value: 0x2abcde }]);
      expect(decoded.wireBytes).toBe(without.wireBytes + 4);
      expect(decoded.dataCredits).toBe(without.dataCredits);
      expect([decoded.prefixBytes, decoded.headerBytes]).toEqual([4, 16]);
      expect(decoded.malformed).toBeUndefined();
    });

    it.each([
      [{ pasid: 1, privileged: false, execute: true }, '91 10 00 01'],
      [{ pasid: 0xfffff, privileged: true, execute: true }, '91 3f ff ff'],
      [{ pasid: 0, privileged: false, execute: false }, '91 00 00 00'],
    ])('TLP-17: %j', (pasid, word) => {
      const bytes = encodeTlp({ type: 'MRd', address: 0x1000, pasid });
      expect(hex(bytes.subarray(0, 4))).toBe(word);
      expect(decodeTlp(bytes).pasid).toEqual(pasid);
    });

    it('stand in the order given, local ones first', () => {
      const prefixes: TlpPrefix[] = [
        { scope: 'local', type: 0xe, value: 0x010203 },
        { scope: 'endToEnd', type: 0xf, value: 0xffffff },
      ];
      const pasid = { pasid: 5, privileged: false, execute: false };
      const bytes = encodeTlp({ type: 'MRd', address: 0x1000, prefixes, pasid });
      expect(hex(bytes.subarray(0, 12))).toBe('8e 01 02 03 9f ff ff ff 91 00 00 05');
      expect(decodeTlp(bytes)).toMatchObject({ prefixBytes: 12, wireBytes: 8 + 12 + 12, pasid });
    });

    it('pasid and prefixes that say the same are one prefix; what differs is refused', () => {
      const pasid = { pasid: 7, privileged: true, execute: true };
      const bytes = encodeTlp({ type: 'MRd', pasid });
      const { prefixes } = decodeTlp(bytes);
      expect(hex(encodeTlp({ type: 'MRd', pasid, prefixes }))).toBe(hex(bytes));
      for (const other of [{ pasid: 8 }, { privileged: false }, { execute: false }]) {
        expect(() => encodeTlp({ type: 'MRd', pasid: { ...pasid, ...other }, prefixes })).toThrow(/^pasid/);
      }
    });

    it.each([
      [{ scope: 'local', type: 16, value: 0 }, /prefixes\[0\]\.type/],
      [{ scope: 'local', type: 0, value: 2 ** 24 }, /prefixes\[0\]\.value/],
      [{ scope: 'remote', type: 0, value: 0 }, /prefixes\[0\]\.scope/],
    ])('refuse %j', (prefix, message) => {
      expect(() => encodeTlp({ type: 'MRd', prefixes: [prefix as TlpPrefix] })).toThrow(message);
    });

    it('are nine at most in no TLP', () => {
      const prefixes = new Array<TlpPrefix>(9).fill({ scope: 'local', type: 0, value: 0 });
      expect(() => encodeTlp({ type: 'MRd', prefixes }, undefined, { malformed: true })).toThrow(/at most 8/);
    });
  });

  describe('checksums', () => {
    it('TLP-18: ECRC does not see Type[0], EP and local prefixes; it sees everything else', () => {
      fc.assert(
        fc.property(TLP, bits(32), (tlp, at) => {
          const bytes = encodeTlp({ ...tlp, td: true }, dataOf(tlp), { malformed: true, digest: false });
          const { prefixes, prefixBytes } = decodeTlp(bytes);
          const first = prefixes.findIndex(({ scope }) => scope === 'endToEnd');
          const covered = first < 0 ? prefixBytes : 4 * first;
          const bit = at % (8 * bytes.length);
          const place = bit >> 3;
          const flipped = bytes.slice();
          flipped[place] = (flipped[place] ?? 0) ^ (1 << (bit & 7));
          const isVariant = bit === 8 * prefixBytes || bit === 8 * (prefixBytes + 2) + 6;
          const count = { prefixes: prefixes.length };
          // A flipped scope bit moves the start of what is covered: another message altogether.
          if (place < prefixBytes && place % 4 === 0) return;
          const isSame = hex(ecrc(flipped, count)) === hex(ecrc(bytes, count));
          expect(isSame).toBe(place < covered || isVariant);
        }),
        { numRuns: 1000 },
      );
    });

    it('ECRC is CRC-32 from the first end-to-end prefix on; LCRC covers all prefixes and the ECRC', () => {
      const prefixes: TlpPrefix[] = [
        { scope: 'local', type: 0, value: 0xabcdef },
        { scope: 'endToEnd', type: 1, value: 0x000123 },
      ];
      const tlp: TlpInput = { type: 'CfgWr0', td: true, requester: 0x18, prefixes };
      const bytes = encodeTlp(tlp, pattern(4));
      const covered = bytes.slice(4, -4);
      covered[4] = (covered[4] ?? 0) | 1;
      covered[6] = (covered[6] ?? 0) | 0x40;
      expect([...bytes.subarray(-4)]).toEqual(crcBytes(crc32(covered)));
      expect([...lcrc(bytes, 0xabc)]).toEqual(crcBytes(crc32([0x0a, 0xbc, ...bytes])));
      expect(decodeTlp(bytes).digestOk).toBe(true);
      bytes[20] = (bytes[20] ?? 0) ^ 1;
      expect(decodeTlp(bytes)).toMatchObject({ digestOk: false, malformed: undefined });
    });

    it('TLP-04: LCRC of sequence 0 and twelve zero bytes', () => {
      expect(hex(lcrc(new Uint8Array(12), 0))).toBe('c7 79 bb d1');
    });
  });

  describe('messages', () => {
    it.each([4, 5, 6, 7])('carry routing %i in Type bits 2:0 and are posted', (routing) => {
      const message = 0x0102030405060708n;
      const tlp: TlpInput = { type: 'Msg', routing, messageCode: 0x99, requester: 0x0108, tag: 3, message };
      const bytes = encodeTlp(tlp);
      expect(hex(bytes)).toBe(`3${routing} 00 00 00 01 08 03 99 01 02 03 04 05 06 07 08`);
      expect(decodeTlp(bytes)).toMatchObject({
        flow: 'P',
        dataCredits: 0,
        headerBytes: 16,
        length: 0,
        message,
      });
    });

    it('with data', () => {
      const bytes = encodeTlp({ type: 'MsgD', routing: 4, messageCode: 0x50 }, Uint8Array.of(1, 2, 3, 4));
      expect(hex(bytes)).toBe('74 00 00 01 00 00 00 50 00 00 00 00 00 00 00 00 01 02 03 04');
      expect(decodeTlp(bytes)).toMatchObject({
        type: 'MsgD',
        length: 1,
        dataCredits: 1,
        malformed: undefined,
      });
    });

    it('by ID have their destination in bytes 8 and 9', () => {
      const tlp: TlpInput = {
        type: 'Msg',
        routing: 2,
        messageCode: 5,
        destination: 0x0310,
        message: 0x0042_0000_0000,
      };
      const bytes = encodeTlp(tlp);
      expect(hex(bytes.subarray(8))).toBe('03 10 00 42 00 00 00 00');
      expect(decodeTlp(bytes)).toMatchObject({ destination: 0x0310 });
      expect(() => encodeTlp({ ...tlp, message: 0x0311_0042_0000_0000n })).toThrow(/^destination/);
      expect(decodeTlp(encodeTlp({ ...tlp, routing: 4, messageCode: 0x7e })).destination).toBe(0);
    });

    it('ignore a Length in those without data', () => {
      const bytes = encodeTlp({ type: 'Msg', routing: 4, messageCode: 0x20 });
      bytes[3] = 5;
      expect(decodeTlp(bytes)).toMatchObject({ length: 0, malformed: undefined });
    });
  });

  describe('steering tags', () => {
    it('stand in the tag of a write', () => {
      const bytes = encodeTlp({ type: 'MWr', address: HIGH, th: true, ph: 2, steeringTag: 0xa5 }, pattern(8));
      expect(bytes[6]).toBe(0xa5);
      expect(bytes[7]).toBe(0xff);
      expect(decodeTlp(bytes)).toMatchObject({ steeringTag: 0xa5, tag: 0xa5, ph: 2 });
    });

    it.each(['MRd', 'FetchAdd'] as const)('stand in the byte enables of %s', (type) => {
      const data = type === 'MRd' ? undefined : pattern(8);
      const bytes = encodeTlp({ type, address: HIGH, th: true, tag: 9, steeringTag: 0xa5 }, data);
      expect([bytes[6], bytes[7]]).toEqual([9, 0xa5]);
      expect(decodeTlp(bytes, { beCheck: true })).toMatchObject({ steeringTag: 0xa5, malformed: undefined });
    });

    it('of 16 bits take an extended TPH prefix with bits 15:8 in its byte 1', () => {
      const bytes = encodeTlp({ type: 'MRd', address: HIGH, th: true, steeringTag: 0x12a5 });
      expect(hex(bytes.subarray(0, 4))).toBe('90 12 00 00');
      expect(decodeTlp(bytes)).toMatchObject({ steeringTag: 0x12a5 });
      const { prefixes } = decodeTlp(bytes);
      expect(() => encodeTlp({ type: 'MRd', th: true, prefixes, steeringTag: 0x13a5 })).toThrow(
        /^steeringTag/,
      );
    });

    it('need th, and fit what stands in their place', () => {
      expect(() => encodeTlp({ type: 'MRd', steeringTag: 1 })).toThrow(/^steeringTag/);
      expect(() => encodeTlp({ type: 'IORd', th: true, steeringTag: 1 })).toThrow(/^steeringTag/);
      expect(() => encodeTlp({ type: 'MWr', th: true, tag: 2, steeringTag: 1 }, pattern(4))).toThrow(/^tag/);
      expect(() => encodeTlp({ type: 'MRd', th: true, firstBe: 2, steeringTag: 1 })).toThrow(/^firstBe/);
      expect(decodeTlp(encodeTlp({ type: 'MRd', address: HIGH })).steeringTag).toBeUndefined();
    });
  });

  describe('completions', () => {
    it('TLP-12, but for the flush: a zero-length read is completed by one DW, Byte Count 1, Lower Address bits 1:0 zero', () => {
      for (const address of [0x1000, 0x1004, 0x107c, 0x2_0000_0ffc]) {
        const [request, ...more] = splitRequest({ op: 'read', address, bytes: 0, firstTag: 4 });
        expect(more).toEqual([]);
        expect(request).toMatchObject({ length: 1, firstBe: 0, lastBe: 0 });
        if (request === undefined) return;
        const completions = splitCompletion({ request });
        expect(completions).toHaveLength(1);
        expect(completions[0]).toMatchObject({
          type: 'CplD',
          length: 1,
          byteCount: 1,
          lowerAddress: address % 128,
          status: 0,
          tag: 4,
        });
      }
    });

    it('TLP-16: copy TC, Attr, requester and tag; AT is 0', () => {
      fc.assert(
        fc.property(
          bits(3),
          fc.record({ ns: fc.boolean(), ro: fc.boolean(), ido: fc.boolean() }),
          bits(10),
          bits(16),
          bits(2),
          (tc, attr, tag, requester, at) => {
            const tlp: TlpInput = {
              type: 'MRd',
              address: HIGH + 0x40,
              length: 200,
              tc,
              attr,
              tag,
              requester,
              at,
            };
            const request = decodeTlp(encodeTlp(tlp, undefined, { malformed: true }));
            const completions = splitCompletion({
              request,
              completer: 0x0300,
              options: { completionPolicy: 'rcb' },
            });
            expect(completions.length).toBeGreaterThan(2);
            for (const completion of completions) {
              expect(completion).toMatchObject({ tc, attr, tag, requester, at: 0, completer: 0x0300 });
            }
          },
        ),
      );
    });
  });
});
