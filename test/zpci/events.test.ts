/** Error and availability records byte for byte (sheet zpci.md 5.6). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import {
  CONTENT_CODE,
  decodeAvailabilityRecord,
  decodeErrorRecord,
  type ErrorEventInput,
  encodeAvailabilityRecord,
  encodeErrorRecord,
  PEC,
} from '../../src/zpci/events.js';

const u32 = fc.nat(0xffff_ffff);
const identity = { fh: u32, fid: u32, pec: fc.nat(0xffff) };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('records of PCI events', () => {
  it('lay out an error byte for byte', () => {
    const record = encodeErrorRecord({
      fh: 0x8002_0001,
      fid: 0x1112_1314,
      pec: PEC.TRANSLATION_PROTECTION,
      address: 0x2122_2324_2526_2728n,
      ett: 0xf,
      vector: 0xabc,
      dmaas: 0xde,
      q: true,
      rw: true,
    });
    expect(hex(record)).toBe(
      `00000000800200011112${'1314'}fabcde03${'2122232425262728'}${'00'.repeat(6)}0004`,
    );
  });

  it('leave the detail word and the address 0 if not told otherwise, as QEMU does', () => {
    const record = encodeErrorRecord({ fh: 1, fid: 2, pec: 0x2c });
    expect(hex(record)).toBe(`000000000000000100000002${'00'.repeat(18)}002c`);
  });

  it('lay out a change of availability byte for byte', () => {
    const record = encodeAvailabilityRecord({ fh: 0x0002_0001, fid: 0x10, pec: PEC.TO_CONFIGURED });
    expect(hex(record)).toBe(`000000000002000100000010${'00'.repeat(18)}0301`);
  });

  it('read back what was encoded', () => {
    const error = fc.record({
      ...identity,
      address: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
      ett: fc.nat(0xf),
      vector: fc.nat(0xfff),
      dmaas: fc.nat(0xff),
      q: fc.boolean(),
      rw: fc.boolean(),
    });
    fc.assert(
      fc.property(error, (event) => {
        expect(decodeErrorRecord(encodeErrorRecord(event))).toEqual(event);
      }),
    );
    fc.assert(
      fc.property(fc.record(identity), (event) => {
        expect(decodeAvailabilityRecord(encodeAvailabilityRecord(event))).toEqual(event);
      }),
    );
  });

  it('refuse what does not fit', () => {
    const good: ErrorEventInput = { fh: 0, fid: 0, pec: 1 };
    const wrong: readonly Partial<ErrorEventInput>[] = [
      { fh: 2 ** 32 },
      { fid: -1 },
      { pec: 0x1_0000 },
      { ett: 16 },
      { vector: 0x1000 },
      { dmaas: 256 },
      { address: -1 },
      { address: 1n << 64n },
    ];
    for (const change of wrong) expect(() => encodeErrorRecord({ ...good, ...change })).toThrow(ZtlpError);
    expect(() => decodeErrorRecord(new Uint8Array(31))).toThrow(ZtlpError);
    expect(() => decodeAvailabilityRecord(new Uint8Array(33))).toThrow(ZtlpError);
  });

  it('have codes of their own', () => {
    const codes = Object.values(PEC);
    expect(new Set(codes).size).toBe(codes.length);
    expect(CONTENT_CODE).toEqual({ error: 1, availability: 2 });
  });
});
