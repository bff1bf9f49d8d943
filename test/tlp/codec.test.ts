/** Single TLPs: headers against the layout of the sheet, and bytes that are no TLP. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  decodeTlp,
  encodeTlp,
  ready,
  splitRequest,
  TLP_TYPES,
  type Tlp,
  type TlpInput,
  type TlpType,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { hex, pattern, thrownBy } from '../support/reference.js';

const FOUR_GIB = 0x1_0000_0000;
const upTo = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

/** Every type but messages, which test/tlp/messages.test.ts and fields.test.ts cover. */
type HeaderType = Exclude<TlpType, 'Msg' | 'MsgD'>;

/** Byte 0 of every type: 3 DW header, then 4 DW header where there is one (tlp.md 2). */
const FIRST_BYTES: Readonly<Record<HeaderType, readonly number[]>> = {
  MRd: [0x00, 0x20],
  MRdLk: [0x01, 0x21],
  MWr: [0x40, 0x60],
  IORd: [0x02],
  IOWr: [0x42],
  CfgRd0: [0x04],
  CfgWr0: [0x44],
  CfgRd1: [0x05],
  CfgWr1: [0x45],
  Cpl: [0x0a],
  CplD: [0x4a],
  CplLk: [0x0b],
  CplDLk: [0x4b],
  FetchAdd: [0x4c, 0x6c],
  Swap: [0x4d, 0x6d],
  CAS: [0x4e, 0x6e],
  DMWr: [0x5b, 0x7b],
};

const TYPES = Object.keys(FIRST_BYTES) as HeaderType[];

type Shape = 'memory' | 'io' | 'config' | 'completion';

function shapeOf(type: HeaderType): Shape {
  if (type.startsWith('Cpl')) return 'completion';
  if (type.startsWith('Cfg')) return 'config';
  return type.startsWith('IO') ? 'io' : 'memory';
}

/** Fmt bit 1 says whether data follow; it is bit 6 of byte 0. */
const carriesData = (type: HeaderType): boolean => ((FIRST_BYTES[type][0] ?? 0) & 0x40) !== 0;

/** Every field of a TLP, each with a value; which of them the type has is decided later. */
interface Fields {
  readonly wide: boolean;
  readonly tc: number;
  readonly attr: { readonly ns: boolean; readonly ro: boolean; readonly ido: boolean };
  readonly at: number;
  readonly th: boolean;
  readonly ph: number;
  readonly ln: boolean;
  readonly td: boolean;
  readonly ep: boolean;
  readonly length: number;
  readonly requester: number;
  readonly tag: number;
  readonly firstBe: number;
  readonly lastBe: number;
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly completer: number;
  readonly destination: number;
  readonly register: number;
  readonly status: number;
  readonly bcm: boolean;
  readonly byteCount: number;
  readonly lowerAddress: number;
  readonly seed: number;
}

const FIELDS: fc.Arbitrary<Fields> = fc.record({
  wide: fc.boolean(),
  tc: upTo(7),
  attr: fc.record({ ns: fc.boolean(), ro: fc.boolean(), ido: fc.boolean() }),
  at: upTo(3),
  th: fc.boolean(),
  ph: upTo(3),
  ln: fc.boolean(),
  td: fc.boolean(),
  ep: fc.boolean(),
  length: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 20 }) },
    { weight: 1, arbitrary: fc.constantFrom(255, 256, 511, 512, 1023, 1024) },
  ),
  requester: upTo(0xffff),
  tag: upTo(0x3ff),
  firstBe: upTo(15),
  lastBe: upTo(15),
  addressLow: upTo(0x3fff_ffff).map((dw) => dw * 4),
  addressHigh: fc.oneof(upTo(0xffff_ffff), fc.constantFrom(0, 1, 0x1f_ffff, 0x20_0000, 0xffff_ffff)),
  completer: upTo(0xffff),
  destination: upTo(0xffff),
  register: upTo(0x3ff).map((dw) => dw * 4),
  status: upTo(7),
  bcm: fc.boolean(),
  byteCount: fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.constantFrom(1, 4095, 4096)),
  lowerAddress: upTo(127),
  seed: upTo(1000),
});

/** A decoded TLP with its address always as a bigint. */
type Decoded = Omit<
  Tlp,
  'address' | 'message' | 'messageCode' | 'routing' | 'prefixes' | 'pasid' | 'steeringTag' | 'prefixBytes'
> & { readonly address: bigint };

/** What `type` takes of `fields`, as input, as the decoded TLP, and as the header the sheet demands. */
function expectation(type: HeaderType, fields: Fields) {
  const shape = shapeOf(type);
  const data = carriesData(type);
  const wide = fields.wide && FIRST_BYTES[type].length === 2;
  const length = shape === 'completion' && !data ? 0 : fields.length;
  const payloadBytes = data ? 4 * length : 0;
  const headerBytes = wide ? 16 : 12;
  const isMemory = shape === 'memory';
  const hasAddress = isMemory || shape === 'io';
  const isCompletion = shape === 'completion';
  const address = hasAddress
    ? (BigInt(wide ? fields.addressHigh : 0) << 32n) | BigInt(fields.addressLow)
    : 0n;
  const { wide: _wide, addressLow: _low, addressHigh: _high, seed: _seed, ...given } = fields;
  const input: TlpInput = { ...given, type, address, length, headerDw: wide ? 4 : 3 };
  const decoded: Decoded = {
    type,
    headerDw: wide ? 4 : 3,
    fmt: (wide ? 1 : 0) + (data ? 2 : 0),
    typeField: (FIRST_BYTES[type][0] ?? 0) % 32,
    tc: fields.tc,
    attr: fields.attr,
    at: fields.at,
    th: fields.th,
    ph: isMemory ? fields.ph : 0,
    ln: fields.ln,
    td: fields.td,
    ep: fields.ep,
    length,
    requester: fields.requester,
    tag: fields.tag,
    firstBe: isCompletion ? 0 : fields.firstBe,
    lastBe: isCompletion ? 0 : fields.lastBe,
    address,
    completer: isCompletion ? fields.completer : 0,
    destination: shape === 'config' ? fields.destination : 0,
    register: shape === 'config' ? fields.register : 0,
    status: isCompletion ? fields.status : 0,
    bcm: isCompletion && fields.bcm,
    byteCount: isCompletion ? fields.byteCount : 0,
    lowerAddress: isCompletion ? fields.lowerAddress : 0,
    flow: isCompletion ? 'CPL' : type === 'MWr' ? 'P' : 'NP',
    dataCredits: Math.ceil(payloadBytes / 16),
    headerBytes,
    payloadBytes,
    wireBytes: 8 + headerBytes + payloadBytes + (fields.td ? 4 : 0),
  };
  return {
    input,
    decoded,
    data: data ? pattern(payloadBytes, fields.seed) : undefined,
    header: referenceHeader(type, decoded),
  };
}

/** The header bytes as tlp.md 1, 3 and 5 lay them out, byte by byte. */
function referenceHeader(type: HeaderType, tlp: Decoded): number[] {
  const bit = (value: boolean, position: number): number => (value ? 2 ** position : 0);
  const upper = (value: number): number => Math.floor(value / 256);
  const { attr, tag, length } = tlp;
  const bytes = [
    FIRST_BYTES[type][tlp.headerDw - 3] ?? 0,
    bit(tag >= 512, 7) +
      tlp.tc * 16 +
      bit(tag % 512 >= 256, 3) +
      bit(attr.ido, 2) +
      bit(tlp.ln, 1) +
      bit(tlp.th, 0),
    bit(tlp.td, 7) + bit(tlp.ep, 6) + bit(attr.ro, 5) + bit(attr.ns, 4) + tlp.at * 4 + (upper(length) % 4),
    length % 256,
  ];
  if (shapeOf(type) === 'completion') {
    bytes.push(upper(tlp.completer), tlp.completer % 256);
    bytes.push(tlp.status * 32 + bit(tlp.bcm, 4) + (upper(tlp.byteCount) % 16), tlp.byteCount % 256);
    bytes.push(upper(tlp.requester), tlp.requester % 256, tag % 256, tlp.lowerAddress);
    return bytes;
  }
  bytes.push(upper(tlp.requester), tlp.requester % 256, tag % 256, tlp.lastBe * 16 + tlp.firstBe);
  if (shapeOf(type) === 'config') {
    bytes.push(upper(tlp.destination), tlp.destination % 256, upper(tlp.register), tlp.register % 256);
    return bytes;
  }
  const digits = (tlp.address + BigInt(tlp.ph)).toString(16).padStart(tlp.headerDw === 4 ? 16 : 8, '0');
  for (let n = 0; n < digits.length; n += 2) bytes.push(Number.parseInt(digits.slice(n, n + 2), 16));
  return bytes;
}

describe.each(BUILDS)('single TLPs with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  it('know exactly the types of the type table', () => {
    expect([...TLP_TYPES].sort()).toEqual([...TYPES, 'Msg', 'MsgD'].sort());
  });

  it.each(TYPES)('TLP-01 encode and decode every field of %s as the sheet lays it out', (type) => {
    const check = (fields: Fields): void => {
      const { input, decoded, data, header } = expectation(type, fields);
      const bytes = encodeTlp(input, data, { digest: false, malformed: true });
      expect(hex(bytes.subarray(0, header.length))).toBe(hex(header));
      expect(Buffer.compare(bytes.subarray(header.length), data ?? new Uint8Array(0))).toBe(0);
      const { data: payload, digest, malformed: _, ...tlp } = decodeTlp(bytes, { digest: false });
      expect({ ...tlp, address: BigInt(tlp.address) }).toMatchObject(decoded);
      expect(Buffer.compare(payload, data ?? new Uint8Array(0))).toBe(0);
      expect(digest).toBeUndefined();
    };
    fc.assert(fc.property(FIELDS, check), { numRuns: 250 });
  });

  it('TLP-01 give addresses as numbers where a number holds them and as bigint above', () => {
    for (const address of [0, 4, 0xffff_fffc, FOUR_GIB, Number.MAX_SAFE_INTEGER - 3]) {
      expect(decodeTlp(encodeTlp({ type: 'MRd', address })).address).toBe(address);
      expect(decodeTlp(encodeTlp({ type: 'MRd', address: BigInt(address) })).address).toBe(address);
    }
    for (const address of [2n ** 53n, 2n ** 64n - 4n]) {
      expect(decodeTlp(encodeTlp({ type: 'MRd', address })).address).toBe(address);
    }
  });

  it('TLP-01 take defaults for what is left out: 3 DW header, Length of the data, all bytes enabled', () => {
    const one = decodeTlp(encodeTlp({ type: 'MRd' }));
    expect([one.headerDw, one.length, one.firstBe, one.lastBe, one.requester, one.tag]).toEqual([
      3, 1, 15, 0, 0, 0,
    ]);
    const two = decodeTlp(encodeTlp({ type: 'MWr' }, new Uint8Array(8)));
    expect([two.length, two.firstBe, two.lastBe]).toEqual([2, 15, 15]);
    const completion = decodeTlp(encodeTlp({ type: 'Cpl' }));
    expect([completion.length, completion.byteCount, completion.status]).toEqual([0, 4, 0]);
  });

  it('TLP-05 code a Length of 1024 DW as 0 and decode it back', () => {
    const data = pattern(4096);
    for (const type of ['MWr', 'CplD'] as const) {
      const bytes = encodeTlp({ type }, data);
      expect((((bytes[2] ?? 0) & 3) << 8) | (bytes[3] ?? 0)).toBe(0);
      expect(decodeTlp(bytes)).toMatchObject({ length: 1024, payloadBytes: 4096, malformed: undefined });
    }
    const read = encodeTlp({ type: 'MRd', length: 1024 });
    expect(hex(read.subarray(0, 4))).toBe('00 00 00 00');
    expect(decodeTlp(read)).toMatchObject({ length: 1024, payloadBytes: 0 });
  });

  it('TLP-05 code a Byte Count of 4096 as 0 and decode it back', () => {
    const bytes = encodeTlp({ type: 'CplD', byteCount: 4096 }, new Uint8Array(64));
    expect(hex(bytes.subarray(6, 8))).toBe('00 00');
    expect(decodeTlp(bytes).byteCount).toBe(4096);
    expect(decodeTlp(encodeTlp({ type: 'CplD', byteCount: 4095 }, new Uint8Array(64))).byteCount).toBe(4095);
  });

  it('TLP-06 use the 3 DW form below 4 GiB and the 4 DW form from there on', () => {
    const forms = [
      [0xffff_fffc, 3, 12, '00'],
      [FOUR_GIB, 4, 16, '20'],
      [2n ** 64n - 4n, 4, 16, '20'],
    ] as const;
    for (const [address, headerDw, headerBytes, byte0] of forms) {
      const bytes = encodeTlp({ type: 'MRd', address });
      expect(bytes.length).toBe(headerBytes);
      expect(hex(bytes.subarray(0, 1))).toBe(byte0);
      expect(decodeTlp(bytes)).toMatchObject({ address, headerDw });
    }
    for (const [address, headerDw] of forms.slice(0, 2)) {
      for (const op of ['read', 'write'] as const) {
        expect(splitRequest({ op, address, bytes: 4 })[0]).toMatchObject({ address, headerDw });
      }
    }
    // One transfer across the border has both forms.
    const both = splitRequest({ op: 'write', address: 0xffff_fff0, bytes: 32 });
    expect(both.map(({ headerDw }) => headerDw)).toEqual([3, 4]);
  });

  it('throw nothing but ZtlpError on random bytes, and report only known rules', () => {
    const codes = new Set([
      'length',
      'digest',
      'byte-enables',
      'crosses-4k',
      'io-config',
      'payload',
      undefined,
    ]);
    const known = new Set(Object.values(FIRST_BYTES).flat());
    const bytes = fc.tuple(
      fc.oneof(upTo(255), fc.constantFrom(...known)),
      fc.uint8Array({ maxLength: 70 }),
      fc.boolean(),
      fc.boolean(),
    );
    fc.assert(
      fc.property(bytes, ([first, rest, digest, beCheck]) => {
        const tlp = Uint8Array.from([first, ...rest]);
        const needed = (first & 0x20) === 0 ? 12 : 16;
        let decoded: ReturnType<typeof decodeTlp> | undefined;
        try {
          decoded = decodeTlp(tlp, { digest, beCheck });
        } catch (error) {
          expect(error).toBeInstanceOf(ZtlpError);
          expect((error as ZtlpError).code).toBe('malformed');
        }
        expect(decoded !== undefined).toBe(known.has(first) && tlp.length >= needed);
        if (decoded === undefined) return;
        expect(codes.has(decoded.malformed?.code)).toBe(true);
        if (decoded.malformed === undefined) {
          expect(tlp.length).toBe(
            decoded.headerBytes + decoded.payloadBytes + (digest && decoded.td ? 4 : 0),
          );
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('refuse bytes that are no TLP: none, too few, more than the largest, an undefined Fmt and Type', () => {
    const cases = [new Uint8Array(0), new Uint8Array(3), new Uint8Array(11), new Uint8Array(5000)];
    cases.push(
      Uint8Array.from([0x20, ...new Uint8Array(14)]),
      Uint8Array.from([0xff, ...new Uint8Array(15)]),
    );
    for (const bytes of cases) {
      const error = thrownBy(() => decodeTlp(bytes));
      expect(error).toBeInstanceOf(ZtlpError);
      expect(error).toMatchObject({ code: 'malformed', field: 'bytes' });
    }
    expect(decodeTlp(new Uint8Array(12)).type).toBe('MRd');
  });
});
