/** DLLPs: every type, every field, their CRC-16, and what is no DLLP (TLP-04, L-13). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type CreditDllp,
  crc16,
  DLLP_TYPES,
  DLLP_WIRE_BYTES,
  type Dllp,
  decodeDllp,
  encodeDllp,
  ready,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { hex, thrownBy } from '../support/reference.js';

const bits = (count: number) => fc.integer({ min: 0, max: 2 ** count - 1 });

const DLLP: fc.Arbitrary<Dllp> = fc.oneof(
  fc.record({ type: fc.constantFrom('Ack' as const, 'Nak' as const), sequence: bits(12) }),
  fc.record({
    type: fc.constantFrom('InitFC1' as const, 'InitFC2' as const, 'UpdateFC' as const),
    flow: fc.constantFrom('P' as const, 'NP' as const, 'CPL' as const),
    vc: bits(3),
    headerScale: bits(2),
    headerCredits: bits(8),
    dataScale: bits(2),
    dataCredits: bits(12),
  }),
  fc.record({ type: fc.constant('DataLinkFeature' as const), ack: fc.boolean(), features: bits(23) }),
  fc.record({
    type: fc.constantFrom(
      'PM_Enter_L1' as const,
      'PM_Enter_L23' as const,
      'PM_Active_State_Request_L1' as const,
      'PM_Request_Ack' as const,
    ),
  }),
  fc.record({
    type: fc.constantFrom('MRInit' as const, 'VendorSpecific' as const, 'NOP' as const),
    value: bits(24),
  }),
);

/** CRC-16 bit by bit: polynomial 0x100b, each byte from bit 0 on, seed all ones, complemented at the end. */
function reference(bytes: Iterable<number>): number[] {
  let register = 0xffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const feedback = ((byte >> bit) & 1) ^ (register & 1);
      register = (register >>> 1) ^ (feedback === 1 ? 0xd008 : 0);
    }
  }
  return [~register & 0xff, (~register >>> 8) & 0xff];
}

const FC: CreditDllp = {
  type: 'InitFC1',
  flow: 'P',
  vc: 0,
  headerScale: 0,
  headerCredits: 1,
  dataScale: 0,
  dataCredits: 1,
};

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => ready(readBuild(build)));

  it('encode and decode are inverse, and every type occurs', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(DLLP, (dllp) => {
        seen.add(dllp.type);
        const bytes = encodeDllp(dllp);
        const { crc, crcOk, ...fields } = decodeDllp(bytes);
        expect(fields).toEqual(dllp);
        expect(crcOk).toBe(true);
        expect([...crc]).toEqual(reference(bytes.subarray(0, 4)));
      }),
      { numRuns: 500 },
    );
    expect([...seen].sort()).toEqual([...DLLP_TYPES].sort());
  });

  it('TLP-04: every single-bit error of a DLLP is found', () => {
    fc.assert(
      fc.property(DLLP, (dllp) => {
        for (let bit = 0; bit < 48; bit++) {
          const bytes = encodeDllp(dllp);
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          const error = thrownBy(() => expect(decodeDllp(bytes).crcOk).toBe(false));
          // The flip may have made a type that does not exist: the message still tells of the CRC.
          if (error !== undefined) expect(String(error)).toMatch(/and the CRC is wrong$/);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('TLP-04: CRC-16 is the sheet value for Ack 0, and the reference for any bytes', () => {
    expect(hex(encodeDllp({ type: 'Ack', sequence: 0 }))).toBe('00 00 00 00 b3 62');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect([...crc16(bytes)]).toEqual(reference(bytes));
      }),
    );
  });

  it.each<[Dllp, string]>([
    [{ type: 'Ack', sequence: 0xabc }, '00 00 0a bc'],
    [{ type: 'Nak', sequence: 0xfff }, '10 00 0f ff'],
    [{ type: 'MRInit', value: 0 }, '01 00 00 00'],
    [{ type: 'DataLinkFeature', ack: true, features: 1 }, '02 80 00 01'],
    [{ type: 'PM_Enter_L1' }, '20 00 00 00'],
    [{ type: 'PM_Enter_L23' }, '21 00 00 00'],
    [{ type: 'PM_Active_State_Request_L1' }, '23 00 00 00'],
    [{ type: 'PM_Request_Ack' }, '24 00 00 00'],
    [{ type: 'VendorSpecific', value: 0x123456 }, '30 12 34 56'],
    [{ type: 'NOP', value: 0 }, '31 00 00 00'],
    [{ ...FC, vc: 2 }, '42 00 40 01'],
    [{ ...FC, flow: 'NP', headerScale: 3 }, '50 c0 40 01'],
    [{ ...FC, flow: 'CPL', dataScale: 3, headerCredits: 0xff, dataCredits: 0xfff }, '60 3f ff ff'],
    [{ ...FC, type: 'InitFC2' }, 'c0 00 40 01'],
    [{ ...FC, type: 'InitFC2', flow: 'CPL' }, 'e0 00 40 01'],
    [{ ...FC, type: 'UpdateFC', flow: 'NP', vc: 7 }, '97 00 40 01'],
  ])('writes %j as the sheet draws it', (dllp, content) => {
    expect(hex(encodeDllp(dllp).subarray(0, 4))).toBe(content);
  });

  it('ignores reserved bits of an Ack', () => {
    const bytes = Uint8Array.of(0x00, 0xff, 0xf1, 0x23);
    const decoded = decodeDllp(Uint8Array.of(...bytes, ...crc16(bytes)));
    expect(decoded).toMatchObject({ type: 'Ack', sequence: 0x123, crcOk: true });
  });

  it.each([
    [[0x03, 0, 0, 0], /0x03: no DLLP type/],
    [[0x70, 0, 0, 0], /0x70: no DLLP type/], // MR-IOV
    [[0x48, 0, 0, 0], /0x48: no DLLP type/], // bit 3: flit mode
    [[0x22, 0, 0, 0], /0x22: no DLLP type/],
  ])('refuses %j', (content, pattern) => {
    const bytes = Uint8Array.from(content);
    expect(() => decodeDllp(Uint8Array.of(...bytes, ...crc16(bytes)))).toThrow(pattern);
    expect(() => decodeDllp(Uint8Array.of(...bytes, ...crc16(bytes)))).not.toThrow(/CRC/);
  });

  it.each([0, 5, 7])('refuses %i bytes', (length) => {
    expect(() => decodeDllp(new Uint8Array(length))).toThrow(`a DLLP has 6 bytes, not ${length}`);
  });

  it.each<[unknown, RegExp]>([
    [{ type: 'Ack', sequence: 4096 }, /sequence: 4096.*0 to 4095/],
    [{ ...FC, vc: 8 }, /vc: 8/],
    [{ ...FC, headerCredits: 256 }, /headerCredits/],
    [{ ...FC, dataCredits: 4096 }, /dataCredits/],
    [{ ...FC, headerScale: 4 }, /headerScale/],
    [{ ...FC, dataScale: -1 }, /dataScale/],
    [{ ...FC, flow: 'X' }, /flow.*P, NP, CPL/],
    [{ type: 'DataLinkFeature', ack: true, features: 2 ** 23 }, /features/],
    [{ type: 'VendorSpecific', value: 2 ** 24 }, /value/],
    [{ type: 'Hello' }, /type: "Hello".*Ack, MRInit/],
  ])('refuses to encode %j', (dllp, pattern) => {
    expect(() => encodeDllp(dllp as Dllp)).toThrow(pattern);
  });

  it('refuses what is no object and no bytes', () => {
    for (const wrong of [null, undefined, 7, 'Ack'] as never[]) {
      expect(thrownBy(() => encodeDllp(wrong))).toMatchObject({ code: 'invalid-value', field: 'dllp' });
      expect(thrownBy(() => decodeDllp(wrong))).toMatchObject({ code: 'invalid-value', field: 'bytes' });
    }
  });

  it('L-13: a DLLP takes 8 bytes of a non-flit link: its 6 and two framing symbols', () => {
    expect(DLLP_WIRE_BYTES).toBe(8);
    expect(encodeDllp({ type: 'NOP', value: 0 })).toHaveLength(DLLP_WIRE_BYTES - 2);
  });
});
