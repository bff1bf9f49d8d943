/** The function information block byte for byte, and the operations of MPCIFC (sheet zpci.md 5.4, 6.1, 6.2). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { isDesignationSupported, MPCIFC_OC, modifyFunction } from '../../src/zpci/controls.js';
import { decodeFib, encodeFib, type Fib, type FibInput, functionControlBits } from '../../src/zpci/fib.js';
import { EDMA, FUNCTION, Guest, INTERRUPTS_FIB, LIMITS, SDMA, VALID_FIB } from './guest-support.js';

const DONE = { cc: 0, status: 0 };
const SEQUENCE = { cc: 1, status: 24 };
const OPERAND = { programInterruption: 'operand' };

const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const common = {
  fc: fc.nat(0xff),
  pba: u64,
  pal: u64,
  iota: u64,
  noi: fc.nat(0xfff),
  aibv: u64,
  aisb: u64,
  fmb: u64,
  gisa: fc.nat(0xffff_ffff),
};
const format0 = fc.record({
  ...common,
  format: fc.constant(0),
  isc: fc.nat(7),
  aibvo: fc.nat(63),
  sum: fc.boolean(),
  aisbo: fc.nat(63),
  dibvo: fc.constant(0),
});
const format1 = fc.record({
  ...common,
  format: fc.constant(1),
  isc: fc.constant(0),
  aibvo: fc.constant(0),
  sum: fc.constant(false),
  aisbo: fc.constant(0),
  dibvo: fc.nat(0xffff),
});
const anyFib: fc.Arbitrary<Fib> = fc.oneof(format0, format1);
const anyBytes = fc.uint8Array({ minLength: 80, maxLength: 80 });

describe('the block', () => {
  const hex = (fib: FibInput): string => Buffer.from(encodeFib(fib)).toString('hex');

  it('lays out format 0 byte for byte', () => {
    const text = hex({
      fc: 0xf0,
      pba: 0x0102_0304_0506_0708n,
      pal: 0x1112_1314_1516_1718n,
      iota: 0x2122_2324_2526_2728n,
      isc: 3,
      noi: 4,
      aibvo: 2,
      sum: true,
      aisbo: 5,
      aibv: 0x3132_3334_3536_3738n,
      aisb: 0x4142_4344_4546_4748n,
      fmb: 0x5152_5354_5556_5758n,
      gisa: 0x6162_6364,
    });
    expect(text).toBe(
      [
        '0000000000000000f000000000000000',
        '01020304050607081112131415161718',
        '21222324252627283004028500000000',
        '31323334353637384142434445464748',
        '51525354555657580000000061626364',
      ].join(''),
    );
  });

  it('lays out format 1 with NOI and DIBVO', () => {
    const text = hex({ format: 1, noi: 0xabc, dibvo: 0xdef0 });
    expect(text.slice(0, 2)).toBe('01');
    expect(text.slice(80, 96)).toBe('0abc0000def00000');
    expect(decodeFib(Uint8Array.from(Buffer.from(text, 'hex')))).toMatchObject({
      noi: 0xabc,
      dibvo: 0xdef0,
      isc: 0,
    });
  });

  it('reads back what was encoded', () => {
    fc.assert(
      fc.property(anyFib, (fib) => {
        expect(decodeFib(encodeFib(fib))).toEqual(fib);
      }),
    );
  });

  it('reads any 80 bytes, and passes over reserved bits only', () => {
    fc.assert(
      fc.property(anyBytes, fc.nat(2), (bytes, format) => {
        bytes[0] = format;
        const fib = decodeFib(bytes);
        const again = encodeFib(fib);
        expect(decodeFib(again)).toEqual(fib);
        expect(again.every((byte, at) => (byte & ~(bytes[at] ?? 0)) === 0)).toBe(true);
      }),
    );
  });

  it('refuses what does not fit', () => {
    const wrong: readonly FibInput[] = [
      { isc: 8 },
      { noi: 0x1000 },
      { aibvo: 64 },
      { aisbo: 64 },
      { dibvo: 1 },
      { fc: 256 },
      { format: 256 },
      { gisa: 2 ** 32 },
      { pba: -1 },
      { iota: 1n << 64n },
      { format: 1, isc: 1 },
      { format: 1, sum: true },
      { format: 1, dibvo: 0x1_0000 },
    ];
    for (const fib of wrong) expect(() => encodeFib(fib)).toThrow(ZtlpError);
    expect(() => decodeFib(new Uint8Array(79))).toThrow(ZtlpError);
  });

  it('reports function controls in three states', () => {
    expect(
      ['enabled', 'error-ls-open', 'error'].map((state) => functionControlBits(state as 'error', true)),
    ).toEqual([0x90, 0xd0, 0xf0]);
    for (const state of ['reserved', 'standby', 'disabled', 'permanent-error'] as const)
      expect(functionControlBits(state, true)).toBe(0);
  });
});

describe('MPCIFC', () => {
  it('Z-FH-02: a handle without the enable bit names no function', () => {
    expect(new Guest().mpcifc(4, VALID_FIB, { fh: 0x0002_0000 }).answer).toEqual({ cc: 3, status: 0 });
  });

  it('Z-INT-05: interrupts twice, or none to deregister, are out of sequence', () => {
    const guest = new Guest();
    expect(guest.mpcifc(3)).toEqual({ answer: SEQUENCE });
    expect(guest.mpcifc(2, INTERRUPTS_FIB).answer).toEqual(DONE);
    expect(guest.mpcifc(2, INTERRUPTS_FIB)).toEqual({ answer: SEQUENCE });
    expect(guest.mpcifc(3).answer).toEqual(DONE);
    expect(guest.first.controls).toEqual({ state: 'enabled' });
  });

  it('Z-INT-06: a misaligned block is a specification exception before the handle is looked at', () => {
    const answer = { programInterruption: 'specification' };
    for (const fh of [FUNCTION.handle, 0x8002_0009])
      expect(new Guest().mpcifc(4, VALID_FIB, { fh, fibAddress: 0x1004 }).answer).toEqual(answer);
    expect(new Guest().mpcifc(4, VALID_FIB, { fibAddress: 0x1004, problemState: true }).answer).toEqual({
      programInterruption: 'privileged operation',
    });
  });

  it('takes a block that cannot be read after handle and state, before its format', () => {
    const guest = new Guest();
    expect(guest.mpcifc(99, null).answer).toEqual({ programInterruption: 'addressing' });
    expect(guest.mpcifc(4, null, { fh: 0 }).answer).toEqual({ cc: 3, status: 0 });
  });

  it('Z-INT-07: format 1 and operation 8 are operand exceptions, directed interrupts too', () => {
    const guest = new Guest();
    for (const oc of [2, 4, 10, 16, 17])
      expect(guest.mpcifc(oc, { ...VALID_FIB, format: 1 }).answer).toEqual(OPERAND);
    for (const oc of [0, 1, 8, 11, 16, 17, 255]) expect(guest.mpcifc(oc, VALID_FIB).answer).toEqual(OPERAND);
    expect(guest.first.controls).toEqual({ state: 'enabled' });
  });

  it('Z-INT-08: STPCIFC returns ISC, NOI, AIBVO, SUM and AISBO bit-exact at offset 40', () => {
    fc.assert(
      fc.property(format0, (fib) => {
        const guest = new Guest();
        guest.mpcifc(2, fib);
        const stored = guest.stpcifc().fib as Uint8Array;
        expect(Buffer.from(stored.subarray(40, 64))).toEqual(Buffer.from(encodeFib(fib).subarray(40, 64)));
      }),
    );
  });

  it('answers cc 1 status 4 when an indicator cannot be mapped', () => {
    const guest = new Guest();
    const asked: bigint[] = [];
    guest.limits = {
      ...LIMITS,
      mapsIndicators: ({ aibv, aisb }) => {
        asked.push(aibv, aisb);
        return false;
      },
    };
    expect(guest.mpcifc(2, INTERRUPTS_FIB)).toEqual({ answer: { cc: 1, status: 4 } });
    expect(asked).toEqual([0x1300_0000n, 0x1300_1000n]);
  });

  it('Z-DMA-12: a translation twice is out of sequence, DMAAS 1 comes before that', () => {
    const guest = new Guest();
    for (const oc of [5, 6]) expect(guest.mpcifc(oc, VALID_FIB)).toEqual({ answer: SEQUENCE });
    for (const oc of [4, 5, 6])
      expect(guest.mpcifc(oc, VALID_FIB, { dmaas: 1 })).toEqual({ answer: { cc: 1, status: 28 } });
    expect(guest.mpcifc(4, VALID_FIB).answer).toEqual(DONE);
    expect(guest.mpcifc(4, VALID_FIB)).toEqual({ answer: SEQUENCE });
    expect(guest.mpcifc(4, VALID_FIB, { dmaas: 1 })).toEqual({ answer: { cc: 1, status: 28 } });
    expect(guest.mpcifc(6, { ...VALID_FIB, pba: SDMA + 0x1000n }).answer).toEqual(DONE);
    expect(guest.first.controls.ioat?.pba).toBe(SDMA + 0x1000n);
    expect(guest.mpcifc(5).answer).toEqual(DONE);
    expect(guest.first.controls).toEqual({ state: 'enabled' });
  });

  it('Z-DMA-13: PBA below SDMA, designation type 2 and T = 0 are operand exceptions', () => {
    const wrong: readonly FibInput[] = [
      { pba: 0 },
      { pal: EDMA + 1n },
      { pba: SDMA + 0x1000n, pal: SDMA },
      { iota: 0x1100_0808 },
      { iota: 0x1100_0004 },
    ];
    for (const change of wrong) {
      const guest = new Guest();
      expect(guest.mpcifc(4, { ...VALID_FIB, ...change })).toEqual({ answer: OPERAND });
      expect(guest.first.controls.ioat).toBeUndefined();
    }
  });

  it('a refused reregistration has dropped the old translation', () => {
    const guest = new Guest();
    guest.mpcifc(4, VALID_FIB);
    expect(guest.mpcifc(6, { ...VALID_FIB, pba: 0 })).toEqual({
      answer: OPERAND,
      next: { state: 'enabled' },
    });
    expect(guest.stpcifc().fib?.[8]).toBe(0x80);
  });

  it('accepts the designation types of dtsm, and T = 0 with rtr', () => {
    for (let type = 0; type < 8; type++) {
      const iota = BigInt(0x800 | (type << 2));
      expect(isDesignationSupported(iota, { dtsm: 0x40, rtr: false })).toBe(type === 1);
      expect(isDesignationSupported(iota, { dtsm: 0x80 >> type, rtr: false })).toBe(true);
      expect(isDesignationSupported(iota, { dtsm: 0xff ^ (0x80 >> type), rtr: true })).toBe(false);
      expect(isDesignationSupported(BigInt(type << 2), { dtsm: 0xff, rtr: false })).toBe(false);
      expect(isDesignationSupported(BigInt(type << 2), { dtsm: 0, rtr: true })).toBe(true);
    }
  });

  it('rounds the range to whole pages', () => {
    const guest = new Guest();
    guest.mpcifc(4, { ...VALID_FIB, pba: SDMA + 0xfffn, pal: SDMA + 0x1001n });
    expect(guest.first.controls.ioat).toMatchObject({ pba: SDMA, pal: SDMA + 0x1fffn });
  });

  it('Z-FMB-03: a measurement address 1 mod 16 is reported as event 0x2c, and cc 1 leaves the status byte', () => {
    const guest = new Guest();
    expect(guest.mpcifc(10, { fmb: 0x1300_4001 })).toEqual({
      answer: { cc: 1, status: 0 },
      keepsStatus: true,
      event: { pec: 0x2c, address: 0x1300_4001n },
    });
    guest.mpcifc(10, { fmb: 0x1300_4000 });
    expect(guest.first.controls.fmb).toBe(0x1300_4000n);
    guest.mpcifc(10, { fmb: 0 });
    expect(guest.first.controls).toEqual({ state: 'enabled' });
  });

  it('never throws on any block and operation, and keeps the rules of its result', () => {
    const states = fc.constantFrom('enabled', 'error', 'error-ls-open', 'disabled', 'permanent-error');
    fc.assert(
      fc.property(
        anyBytes,
        fc.nat(0x1f),
        fc.nat(2),
        states,
        fc.boolean(),
        (bytes, oc, dmaas, state, plain) => {
          if (plain) bytes[0] = 0;
          const result = modifyFunction(oc, decodeFib(bytes), dmaas, { state: state as 'error' }, LIMITS);
          const { answer, next, event } = result;
          const changed = next !== undefined;
          expect('cc' in answer && answer.cc === 0).toBe(changed);
          if (bytes[0] !== 0) expect(answer).toEqual(OPERAND);
          if (event !== undefined) expect(oc).toBe(MPCIFC_OC.SET_MEASUREMENT);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
