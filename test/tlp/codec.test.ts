/** Single TLPs in wire order: headers against the layout of the sheet, malformed rules, checksums, sizes on the wire. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type DecodeOptions,
  decodeTlp,
  ecrc,
  encodeTlp,
  lcrc,
  ready,
  splitRequest,
  TLP_TYPES,
  type Tlp,
  type TlpInput,
  type TlpType,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { crc32, crcBytes, hex, pattern, thrownBy } from '../support/reference.js';

const FOUR_GIB = 0x1_0000_0000;

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

const upTo = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

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

/** First Malformed rule of a request with no data behind it, or undefined. */
function rule(input: TlpInput, options: DecodeOptions = {}, data?: Uint8Array): string | undefined {
  return decodeTlp(encodeTlp(input, data, { malformed: true }), options).malformed?.code;
}

function wire(input: TlpInput, payload = 0): number {
  return decodeTlp(encodeTlp(input, payload === 0 ? undefined : new Uint8Array(payload))).wireBytes;
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

  // -------------------------------------------------------------------------------------------- broken bytes

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

  it('TLP-14 report data that do not fit Length', () => {
    const write = encodeTlp({ type: 'MWr', length: 2 }, new Uint8Array(8));
    expect(decodeTlp(write).malformed).toBeUndefined();
    expect(decodeTlp(write.subarray(0, 16)).malformed?.code).toBe('length');
    expect(decodeTlp(write.subarray(0, 19)).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...write, ...new Uint8Array(8)])).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...write, 0])).malformed?.code).toBe('length');
    expect(decodeTlp(Uint8Array.from([...encodeTlp({ type: 'MRd' }), 0, 0])).malformed?.code).toBe('length');
  });

  it('TLP-14 report TD without a digest, and a digest without TD', () => {
    const input: TlpInput = { type: 'MWr', td: true };
    const whole = encodeTlp(input, new Uint8Array(4));
    expect(decodeTlp(whole).malformed).toBeUndefined();
    expect(hex(decodeTlp(whole).digest ?? [])).toBe(hex(whole.subarray(16)));
    const bare = encodeTlp(input, new Uint8Array(4), { digest: false });
    expect(decodeTlp(bare).malformed?.code).toBe('digest');
    expect(decodeTlp(bare).digest).toBeUndefined();
    expect(decodeTlp(bare, { digest: false }).malformed).toBeUndefined();
    expect(decodeTlp(whole, { digest: false }).malformed?.code).toBe('digest');
    const plain = encodeTlp({ type: 'MRd' });
    expect(decodeTlp(Uint8Array.from([...plain, 0, 0, 0, 0])).malformed?.code).toBe('digest');
  });

  it('TLP-14 report memory requests that cross 4 KiB', () => {
    expect(rule({ type: 'MRd', address: 0xffc, length: 1 })).toBeUndefined();
    expect(rule({ type: 'MRd', address: 0xffc, length: 2 })).toBe('crosses-4k');
    expect(rule({ type: 'MRd', address: 0x1000, length: 1024 })).toBeUndefined();
    expect(rule({ type: 'MRd', address: 0x1004, length: 1024 })).toBe('crosses-4k');
    expect(rule({ type: 'MRdLk', address: 0x5_0000_0ff8, length: 3 })).toBe('crosses-4k');
    expect(rule({ type: 'MWr', address: 0xff8 }, {}, new Uint8Array(8))).toBeUndefined();
    expect(rule({ type: 'MWr', address: 0xff8 }, {}, new Uint8Array(12))).toBe('crosses-4k');
    expect(rule({ type: 'DMWr', address: 0xff8 }, {}, new Uint8Array(64))).toBe('crosses-4k');
    // A completion has no address to cross anything with.
    expect(
      rule({ type: 'CplD', lowerAddress: 0x7c, byteCount: 4096 }, {}, new Uint8Array(4096)),
    ).toBeUndefined();
  });

  it('TLP-14 let a compare-and-swap end at a page: it touches half of what it carries', () => {
    // Compare and swap values of 8 bytes each: the operand is [0xff8, 0x1000).
    expect(rule({ type: 'CAS', address: 0xff8 }, {}, new Uint8Array(16))).toBeUndefined();
    expect(rule({ type: 'CAS', address: 0xff0 }, {}, new Uint8Array(32))).toBeUndefined();
  });

  it('TLP-14 report a payload above Max_Payload_Size of the receiver', () => {
    for (const type of ['MWr', 'CplD'] as const) {
      for (const mps of [128, 256, 512, 4096]) {
        expect(rule({ type }, { mps }, new Uint8Array(mps))).toBeUndefined();
        if (mps < 4096) expect(rule({ type }, { mps }, new Uint8Array(mps + 4))).toBe('payload');
      }
    }
    expect(rule({ type: 'MRd', length: 1024 }, { mps: 128 })).toBeUndefined();
  });

  it('TLP-14 report I/O and configuration requests that ask for more than the rules allow', () => {
    const types = ['IORd', 'IOWr', 'CfgRd0', 'CfgWr0', 'CfgRd1', 'CfgWr1'] as const;
    for (const type of types) {
      const data = type.includes('Wr') ? new Uint8Array(4) : undefined;
      expect(rule({ type, firstBe: 5 }, {}, data)).toBeUndefined();
      const broken: Partial<TlpInput>[] = [
        { lastBe: 1 },
        { tc: 1 },
        { at: 2 },
        { attr: { ns: true } },
        { attr: { ro: true } },
        { attr: { ido: true } },
      ];
      for (const change of broken) expect(rule({ type, ...change }, {}, data)).toBe('io-config');
      const two = data === undefined ? undefined : new Uint8Array(8);
      expect(rule({ type, length: 2, lastBe: 0 }, {}, two)).toBe('io-config');
    }
  });

  it('TLP-11 accept a Length of 2 with gaps in First BE at a multiple of 8 and report it elsewhere with beCheck', () => {
    for (const type of ['MRd', 'MWr'] as const) {
      const data = type === 'MWr' ? new Uint8Array(8) : undefined;
      const gaps = { type, length: 2, firstBe: 0b1001, lastBe: 0b1111 };
      expect(rule({ ...gaps, address: 0x1008 }, { beCheck: true }, data)).toBeUndefined();
      expect(rule({ ...gaps, address: 0x100c }, { beCheck: true }, data)).toBe('byte-enables');
      expect(rule({ ...gaps, address: 0x100c }, { beCheck: false }, data)).toBeUndefined();
      expect(rule({ ...gaps, address: 0x100c }, {}, data)).toBeUndefined();
    }
  });

  it('TLP-11 check every pair of byte enables by the rules for its Length and address, only with beCheck', () => {
    const toEnd = [0xf, 0xe, 0xc, 0x8];
    const fromStart = [0xf, 0x7, 0x3, 0x1];
    const wrong: string[] = [];
    for (const length of [1, 2, 3, 4]) {
      for (const address of [0x1000, 0x1004]) {
        for (let both = 0; both < 256; both++) {
          const [firstBe, lastBe] = [both % 16, Math.floor(both / 16)];
          const contiguous = toEnd.includes(firstBe) && fromStart.includes(lastBe);
          const isQuad = length === 2 && address % 8 === 0;
          const legal = length === 1 ? lastBe === 0 : isQuad ? firstBe !== 0 && lastBe !== 0 : contiguous;
          const bytes = encodeTlp({ type: 'MRd', address, length, firstBe, lastBe });
          const checked = decodeTlp(bytes, { beCheck: true }).malformed?.code;
          const unchecked = decodeTlp(bytes).malformed;
          if (checked !== (legal ? undefined : 'byte-enables') || unchecked !== undefined) {
            wrong.push(
              `Length ${length} at ${address.toString(16)}: ${firstBe.toString(16)}.${lastBe.toString(16)}`,
            );
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('TLP-11 take the byte enables of a read with TH as a steering tag, not as enables', () => {
    const read: TlpInput = { type: 'MRd', length: 4, firstBe: 5, lastBe: 10 };
    expect(rule({ ...read, th: true }, { beCheck: true })).toBeUndefined();
    expect(rule(read, { beCheck: true })).toBe('byte-enables');
  });

  it('TLP-11 check the byte enables of a write with TH: its steering tag stands in the tag field', () => {
    const write: TlpInput = { type: 'MWr', length: 4, firstBe: 5, lastBe: 10, th: true };
    expect(rule(write, { beCheck: true }, new Uint8Array(16))).toBe('byte-enables');
  });

  it('TLP-11 ignore the byte enables of atomic operations: they are reserved', () => {
    for (const type of ['FetchAdd', 'Swap', 'CAS'] as const) {
      const atomic: TlpInput = { type, length: 2, firstBe: 0, lastBe: 0, address: 0x1000 };
      expect(rule(atomic, { beCheck: true }, new Uint8Array(8))).toBeUndefined();
    }
  });

  // ---------------------------------------------------------------------------------------------- checksums

  it('TLP-04 compute the known LCRC of sequence 0 and twelve zero bytes', () => {
    expect(hex(lcrc(new Uint8Array(12), 0))).toBe('c7 79 bb d1');
  });

  it('TLP-04 compute the LCRC as a bitwise CRC over sequence number and TLP, at every length and sequence', () => {
    // The reference itself: CRC-32 of "123456789" (tlp.md 7).
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf4_3926);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), upTo(0xfff), (bytes, sequence) => {
        const expected = crcBytes(crc32([Math.floor(sequence / 256), sequence % 256, ...bytes]));
        expect(hex(lcrc(bytes, sequence))).toBe(hex(expected));
      }),
      { numRuns: 600 },
    );
    const largest = pattern(4096 + 20, 3);
    expect(hex(lcrc(largest, 0xfff))).toBe(hex(crcBytes(crc32([0x0f, 0xff, ...largest]))));
  });

  it('TLP-04 refuse a sequence number of more than 12 bits', () => {
    for (const sequence of [-1, 4096, 1.5]) {
      expect(thrownBy(() => lcrc(new Uint8Array(12), sequence))).toMatchObject({
        code: 'out-of-range',
        field: 'sequence',
      });
    }
  });

  it('TLP-18 compute the ECRC as a bitwise CRC with Type[0] and EP taken as 1', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 80 }), (bytes) => {
        const copy = [...bytes];
        copy[0] = (copy[0] ?? 0) | 0x01;
        copy[2] = (copy[2] ?? 0) | 0x40;
        const before = hex(bytes);
        expect(hex(ecrc(bytes, { prefixes: 0 }))).toBe(hex(crcBytes(crc32(copy))));
        expect(hex(bytes)).toBe(before);
      }),
      { numRuns: 600 },
    );
  });

  it('TLP-18 keep the ECRC when only Type[0] or EP differ, and change it with any other bit', () => {
    const bytes = encodeTlp({ type: 'MWr', address: 0x1234, tag: 0x2a5, tc: 3, td: true }, pattern(8), {
      digest: false,
    });
    const original = hex(ecrc(bytes));
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = Uint8Array.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const isVariant = bit === 0 || bit === 8 * 2 + 6;
      expect(hex(ecrc(changed)) === original, `bit ${bit & 7} of byte ${bit >> 3}`).toBe(isVariant);
    }
  });

  it('TLP-18 append the ECRC of header and data to a TLP with TD', () => {
    const whole = encodeTlp({ type: 'MWr', td: true, ep: true, address: 0x40 }, pattern(12));
    const body = whole.subarray(0, whole.length - 4);
    expect(whole.length).toBe(12 + 12 + 4);
    expect(hex(whole.subarray(-4))).toBe(hex(ecrc(body)));
  });

  // ---------------------------------------------------------------------------------------- values out of range

  const RANGES: readonly (readonly [string, Partial<TlpInput>])[] = [
    ['tc', { tc: 8 }],
    ['tc', { tc: -1 }],
    ['tc', { tc: 1.5 }],
    ['at', { at: 4 }],
    ['ph', { ph: 4 }],
    ['length', { length: 0 }],
    ['length', { length: 1025 }],
    ['requester', { requester: 0x1_0000 }],
    ['requester', { requester: Number.NaN }],
    ['tag', { tag: 0x400 }],
    ['firstBe', { firstBe: 16 }],
    ['lastBe', { lastBe: -1 }],
    ['address', { address: 2 }],
    ['address', { address: 0x1_0000_0001n }],
    ['register', { register: 0x1000 }],
    ['register', { register: 3 }],
    ['completer', { completer: 0x1_0000 }],
  ];

  it.each(RANGES)('refuse a value of %s that its field cannot hold: %o', (field, change) => {
    const error = thrownBy(() => encodeTlp({ type: 'MRd', ...change }));
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error).toMatchObject({ code: 'out-of-range', field, value: change[field as keyof TlpInput] });
  });

  it('refuse values that only some types have', () => {
    const bad: readonly (readonly [TlpInput, string])[] = [
      [{ type: 'Cpl', status: 8 }, 'status'],
      [{ type: 'Cpl', byteCount: 0 }, 'byteCount'],
      [{ type: 'Cpl', byteCount: 4097 }, 'byteCount'],
      [{ type: 'Cpl', lowerAddress: 128 }, 'lowerAddress'],
      [{ type: 'CfgRd0', destination: 0x1_0000 }, 'destination'],
      [{ type: 'IORd', address: FOUR_GIB }, 'address'],
    ];
    for (const [input, field] of bad) {
      expect(
        thrownBy(() => encodeTlp(input)),
        field,
      ).toMatchObject({ code: 'out-of-range', field });
    }
  });

  it('refuse an unknown type, a header form that does not fit, and an address that is no 64-bit integer', () => {
    const cases: readonly (readonly [object, string, string])[] = [
      [{ type: 'Nothing' }, 'unknown-name', 'type'],
      [{ type: 'MRd', headerDw: 5 }, 'invalid-value', 'headerDw'],
      [{ type: 'MRd', headerDw: 3, address: FOUR_GIB }, 'invalid-value', 'headerDw'],
      [{ type: 'MRd', address: -4 }, 'invalid-value', 'address'],
      [{ type: 'MRd', address: 2n ** 64n }, 'invalid-value', 'address'],
      [{ type: 'MRd', address: 2 ** 53 }, 'invalid-value', 'address'],
      [{ type: 'MRd', address: '0' }, 'invalid-value', 'address'],
    ];
    for (const [input, code, field] of cases) {
      expect(thrownBy(() => encodeTlp(input as TlpInput))).toMatchObject({ name: 'ZtlpError', code, field });
    }
  });

  it('refuse data that the type does not carry or that do not fill Length', () => {
    const cases: readonly (readonly [TlpInput, number])[] = [
      [{ type: 'MRd' }, 4],
      [{ type: 'MWr', length: 2 }, 4],
      [{ type: 'MWr' }, 0],
      [{ type: 'CplD', length: 1 }, 8],
      [{ type: 'Cpl' }, 4],
    ];
    for (const [input, bytes] of cases) {
      const error = thrownBy(() => encodeTlp(input, new Uint8Array(bytes)));
      expect(error, input.type).toBeInstanceOf(ZtlpError);
    }
    expect(thrownBy(() => encodeTlp({ type: 'MWr', length: 1 }))).toMatchObject({
      field: 'data',
      code: 'malformed',
    });
    expect(thrownBy(() => encodeTlp({ type: 'MWr' }, new Uint8Array(6)))).toMatchObject({ field: 'length' });
    expect(thrownBy(() => encodeTlp({ type: 'Cpl', length: 1 }))).toMatchObject({ field: 'length' });
    expect(thrownBy(() => encodeTlp({ type: 'MWr' }, new Uint8Array(4100)))).toMatchObject({
      field: 'length',
    });
  });

  // ------------------------------------------------------------------------------------------ bytes on the wire

  const LOW = 0x1000;
  const HIGH = FOUR_GIB;

  it('L-01 to L-09 a memory write takes 8 bytes of framing, its header, its data and its digest', () => {
    const laws: readonly (readonly [string, number, number, boolean, number])[] = [
      ['L-01', 4, LOW, false, 24],
      ['L-02', 4, HIGH, false, 28],
      ['L-03', 8, HIGH, false, 32],
      ['L-04', 64, HIGH, false, 88],
      ['L-05', 64, LOW, false, 84],
      ['L-06', 128, HIGH, false, 152],
      ['L-07', 256, HIGH, false, 280],
      ['L-08', 256, LOW, false, 276],
      ['L-08', 256, HIGH, true, 284],
      ['L-09', 512, HIGH, false, 536],
      ['L-09', 4096, HIGH, false, 4120],
    ];
    for (const [law, bytes, address, td, expected] of laws) {
      expect(wire({ type: 'MWr', address, td }, bytes), law).toBe(expected);
      if (td) continue;
      const [tlp] = splitRequest({ op: 'write', address, bytes, options: { mps: 4096 } });
      expect(tlp?.wireBytes, law).toBe(expected);
    }
  });

  it('L-10 a completion with data takes 20 bytes beside its data', () => {
    expect([64, 128, 256].map((bytes) => wire({ type: 'CplD' }, bytes))).toEqual([84, 148, 276]);
  });

  it('L-11 a write of one byte takes as much wire as four, and two bytes across a DW border four more', () => {
    const total = (address: number, bytes: number): number =>
      splitRequest({ op: 'write', address, bytes }).reduce((sum, tlp) => sum + tlp.wireBytes, 0);
    for (const base of [LOW, HIGH]) {
      for (let offset = 0; offset < 4; offset++) expect(total(base + offset, 1)).toBe(total(base, 4));
      expect(splitRequest({ op: 'write', address: base + 3, bytes: 2 }).map(({ length }) => length)).toEqual([
        2,
      ]);
      expect(total(base + 3, 2)).toBe(total(base, 4) + 4);
    }
  });

  it('L-12 reads carry no payload: 24 bytes with 4 DW, CfgRd 20, CplD of 4 bytes 24, MSI 24 or 28', () => {
    for (const length of [1, 64, 1024]) expect(wire({ type: 'MRd', address: HIGH, length })).toBe(24);
    expect(wire({ type: 'CfgRd0' })).toBe(20);
    expect(wire({ type: 'CplD' }, 4)).toBe(24);
    expect(wire({ type: 'MWr', address: 0xfee0_0000 }, 4)).toBe(24);
    expect(wire({ type: 'MWr', address: HIGH }, 4)).toBe(28);
  });

  it('L-25 data credits count 16 bytes each, rounded up to whole dwords first', () => {
    const credits = (bytes: number): number =>
      splitRequest({ op: 'write', address: LOW, bytes, options: { mps: 4096 } })[0]?.dataCredits ?? -1;
    expect([1, 16, 17, 64, 100, 256, 512, 4096].map(credits)).toEqual([1, 1, 2, 4, 7, 16, 32, 256]);
    const read: Tlp | undefined = splitRequest({ op: 'read', address: LOW, bytes: 256 })[0];
    expect(read?.dataCredits).toBe(0);
  });
});
