// Register bank: every access kind, side effects once per access, names, save and load.
import { describe, expect, expectTypeOf, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { RegisterBank, registerBank } from '../../src/device/register-bank.js';
import { type RegisterAccess, type RegisterMap, resolveRegisters } from '../../src/device/registers.js';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

function make<const R extends RegisterMap<unknown>>(registers: R, size = 64) {
  return registerBank(registers, { size, context: undefined });
}

describe('an access kind', () => {
  const one = (access: RegisterAccess) =>
    make({ R: { offset: 4, width: 4, access, reset: 0x8765_4321 } }, 16);

  it('ro reads and ignores writes', () => {
    const bank = one('ro');
    bank.writeBytes(4, bytes(1, 2, 3, 4));
    expect(bank.readBytes(4, 4)).toEqual(bytes(0x21, 0x43, 0x65, 0x87));
  });

  it('rw takes what is written', () => {
    const bank = one('rw');
    bank.writeBytes(4, bytes(1, 2, 3, 4));
    expect([bank.get('R'), ...bank.readBytes(4, 4)]).toEqual([0x0403_0201, 1, 2, 3, 4]);
  });

  it('rw1c clears the bits written as 1, byte by byte', () => {
    const bank = one('rw1c');
    bank.writeBytes(5, bytes(0x41));
    expect(bank.get('R')).toBe(0x8765_0221);
    bank.writeBytes(4, bytes(0, 0, 0, 0));
    expect(bank.get('R')).toBe(0x8765_0221);
  });

  it('wo reads as 0, also where holes read as something else, and merges parts into what it holds', () => {
    const bank = registerBank(
      { DOORBELL: { offset: 0, width: 4, access: 'wo' } },
      { size: 8, context: undefined, fill: 0xaa },
    );
    bank.writeBytes(0, bytes(1, 2));
    bank.writeBytes(2, bytes(3, 4));
    expect(bank.get('DOORBELL')).toBe(0x0403_0201);
    expect(bank.readBytes(0, 6)).toEqual(bytes(0, 0, 0, 0, 0xaa, 0xaa));
  });

  it('rc clears as a whole when any byte is read, and returns what was there', () => {
    const bank = one('rc');
    bank.writeBytes(4, bytes(1, 2, 3, 4));
    expect(bank.readBytes(6, 1)).toEqual(bytes(0x65));
    expect(bank.get('R')).toBe(0);
  });
});

describe('a write mask', () => {
  it('keeps the other bits of rw, and protects them from rw1c', () => {
    const bank = make({
      CTRL: { offset: 0, width: 2, access: 'rw', reset: 0xff00, writeMask: 0x0ff0 },
      STAT: { offset: 2, width: 2, access: 'rw1c', reset: 0xffff, writeMask: 0x00ff },
    });
    bank.writeBytes(0, bytes(0x5a, 0x00, 0xff, 0xff));
    expect([bank.get('CTRL'), bank.get('STAT')]).toEqual([0xf050, 0xff00]);
  });
});

describe('side effects', () => {
  /** Four registers in a row, with a hole behind the second; each notes what its hooks are told. */
  function noting() {
    const calls: string[] = [];
    const note = (name: string) => ({
      read: (_: unknown, value: number | bigint) => void calls.push(`read ${name} ${value}`),
      write: (value: number | bigint, _: unknown, old: number | bigint) =>
        void calls.push(`write ${name} ${old} -> ${value}`),
    });
    const bank = make({
      D: { offset: 16, width: 8, access: 'rw', ...note('D') },
      A: { offset: 0, width: 4, access: 'rw', ...note('A') },
      B: { offset: 4, width: 2, access: 'rw1c', reset: 0xf, ...note('B') },
      C: { offset: 9, width: 1, access: 'wo', write: note('C').write },
    });
    return { bank, calls };
  }

  it('happen once per touched register and access, in ascending order of offset', () => {
    const { bank, calls } = noting();
    bank.readBytes(3, 14);
    expect(calls).toEqual(['read A 0', 'read B 15', 'read D 0']);
    calls.length = 0;
    bank.writeBytes(3, new Uint8Array(14).fill(3));
    expect(calls).toEqual(['write A 0 -> 50331648', 'write B 15 -> 12', 'write C 0 -> 3', 'write D 0 -> 3']);
  });

  it('do not happen for registers without an enabled byte, nor for an access of no bytes', () => {
    const { bank, calls } = noting();
    bank.writeBytes(0, new Uint8Array(10).fill(1), bytes(0, 0, 0, 0, 0, 1, 0, 0, 0, 0));
    bank.writeBytes(2, new Uint8Array(0));
    bank.readBytes(2, 0);
    expect(calls).toEqual(['write B 15 -> 15']);
    expect([bank.get('A'), bank.misses]).toEqual([0, 0]);
  });

  it('happen even when a write changes nothing', () => {
    const { bank, calls } = noting();
    bank.writeBytes(0, bytes(0));
    expect(calls).toEqual(['write A 0 -> 0']);
  });

  it('take what a read hook returns as the value, before rc clears it', () => {
    let count = 6;
    const bank = make({
      COUNT: { offset: 0, width: 2, access: 'ro', read: () => ++count },
      ONCE: { offset: 2, width: 2, access: 'rc', read: () => 0x1234 },
    });
    expect(bank.readBytes(0, 3)).toEqual(bytes(7, 0, 0x34));
    expect([bank.get('COUNT'), bank.get('ONCE')]).toEqual([7, 0]);
  });

  it('can set registers: a bit that clears itself', () => {
    const bank: RegisterBank = make({
      GO: { offset: 0, width: 1, access: 'rw', write: (value: number) => bank.set('GO', value & ~1) },
    });
    bank.writeBytes(0, bytes(3));
    expect(bank.get('GO')).toBe(2);
  });

  it('are told each write of a register that clears itself by what that write brought', () => {
    const seen: number[] = [];
    const bank = registerBank(
      {
        BELL: {
          offset: 0,
          width: 4,
          access: 'wo',
          selfClearing: true,
          write: (value) => void seen.push(value),
        },
        START: {
          offset: 4,
          width: 4,
          access: 'rw',
          reset: 8,
          selfClearing: true,
          write: (value) => void seen.push(value),
        },
      },
      { size: 8, context: undefined },
    );
    bank.writeBytes(0, Uint8Array.of(1, 2, 3, 4));
    bank.writeBytes(2, Uint8Array.of(5));
    bank.writeBytes(4, Uint8Array.of(1));
    expect(seen).toEqual([0x0403_0201, 0x0005_0000, 1]);
    expect([bank.get('BELL'), bank.get('START')]).toEqual([0, 0]);
    expect(() =>
      registerBank(
        { A: { offset: 0, width: 4, access: 'rw', selfClearing: true } },
        { size: 4, context: undefined },
      ),
    ).toThrow('A.selfClearing: without a write hook');
  });

  it('drop the writes of a part of a register that takes whole ones', () => {
    const seen: bigint[] = [];
    const warnings: string[] = [];
    const bank = registerBank(
      {
        BELL: {
          offset: 8,
          width: 8,
          access: 'wo',
          wholeWrites: true,
          write: (value) => void seen.push(value),
        },
      },
      { size: 32, context: undefined, warn: (text) => void warnings.push(text) },
    );
    const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, n) => n + 1);
    bank.writeBytes(8, bytes(4));
    bank.writeBytes(12, bytes(4));
    bank.writeBytes(8, bytes(8), Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 0));
    bank.writeBytes(8, bytes(8), new Uint8Array(8));
    expect([seen, bank.refused]).toEqual([[], 3]);
    expect(warnings).toEqual(['registers: a write of 4 bytes at 0x8 is dropped: BELL takes 8 bytes at once']);
    bank.writeBytes(8, bytes(8));
    bank.writeBytes(0, bytes(24));
    expect(seen).toEqual([0x0807_0605_0403_0201n, 0x100f_0e0d_0c0b_0a09n]);
    expect(bank.refused).toBe(3);
  });

  it('are given the context and may use this', () => {
    const context = { seen: 0 };
    const bank = registerBank(
      {
        A: {
          offset: 0,
          width: 4,
          access: 'rw',
          description: 'mine',
          write(value: number, ctx: { seen: number }) {
            ctx.seen = value;
            expect(this.description).toBe('mine');
          },
        },
      },
      { size: 4, context },
    );
    bank.writeBytes(0, bytes(9));
    expect(context.seen).toBe(9);
  });

  it('refuse a value from a read hook that does not fit, and name the register', () => {
    const bank = make({ A: { offset: 0, width: 1, access: 'ro', read: () => 256 } });
    expect(() => bank.readBytes(0, 1)).toThrow('registers.A: 256 is not valid');
  });
});

describe('byte order', () => {
  it('changes values, not which bytes an access touches', () => {
    const registers = resolveRegisters(
      'registers',
      { A: { offset: 1, width: 4, access: 'rw', reset: 0x0102_0304 } },
      { size: 8, byteOrder: 'big' },
    );
    const bank = new RegisterBank(registers, { size: 8, context: undefined });
    expect(bank.readBytes(1, 4)).toEqual(bytes(1, 2, 3, 4));
    bank.writeBytes(4, bytes(0xff));
    expect(bank.get('A')).toBe(0x0102_03ff);
  });
});

describe('bytes that no register holds', () => {
  it('read as the fill, ignore writes, and count once per hole and access', () => {
    const warnings: [string, number][] = [];
    const bank = registerBank(
      { A: { offset: 4, width: 4, access: 'rw' } },
      {
        size: 16,
        name: 'uart bar 0',
        context: undefined,
        fill: 0xff,
        warn: (text, at) => warnings.push([text, at]),
      },
    );
    expect(bank.readBytes(2, 8)).toEqual(bytes(255, 255, 0, 0, 0, 0, 255, 255));
    expect(bank.misses).toBe(2);
    bank.writeBytes(2, bytes(1, 2));
    bank.writeBytes(0, bytes(1, 2, 3, 4, 5), bytes(0, 0, 1, 0, 1));
    expect(bank.misses).toBe(4);
    expect(warnings).toEqual([
      ['uart bar 0: there is no register at 0x2', 2],
      ['uart bar 0: there is no register at 0x8', 8],
    ]);
  });

  it('warn for 1024 offsets at most', () => {
    let warnings = 0;
    const bank = registerBank({}, { size: 4096, context: undefined, warn: () => warnings++ });
    for (let at = 0; at < 4096; at++) bank.readBytes(at, 1);
    expect([warnings, bank.misses]).toEqual([1024, 4096]);
  });
});

describe('names', () => {
  it('give values whose type follows the width', () => {
    const bank = make({
      N: { offset: 0, width: 4, access: 'rw' },
      W: { offset: 8, width: 8, access: 'rw', reset: 2n ** 63n },
    });
    expectTypeOf(bank.get).parameter(0).toEqualTypeOf<'N'>();
    expectTypeOf(bank.get64).parameter(0).toEqualTypeOf<'W'>();
    expect(bank.get64('W')).toBe(1n << 63n);
    bank.set('N', 0xffff_ffff);
    bank.set('W', 5n);
    expect([bank.get('N'), bank.get64('W')]).toEqual([0xffff_ffff, 5n]);
  });

  it('that do not exist or have the other width are refused', () => {
    const bank: RegisterBank = make({
      STATUS: { offset: 0, width: 4, access: 'rw' },
      ADDRESS: { offset: 8, width: 8, access: 'rw' },
    });
    expect(() => bank.get('STATSU')).toThrow('there is no register STATSU, did you mean STATUS?');
    expect(() => bank.get('ADDRESS')).toThrow('is 8 bytes wide; allowed: get64');
    expect(() => bank.get64('STATUS')).toThrow('is less than 8 bytes wide; allowed: get');
    expect(() => bank.set('STATUS', 5n)).toThrow(ZtlpError);
    expect(() => bank.set('ADDRESS', 5)).toThrow(ZtlpError);
    for (const value of [-1, 2 ** 32, 0.5, Number.NaN])
      expect(() => bank.set('STATUS', value)).toThrow('an integer from 0 to 0xffffffff');
  });
});

describe('outside the bank', () => {
  it.each([
    [-1, 1],
    [64, 1],
    [60, 5],
    [0, 65],
    [0.5, 1],
  ])('offset %d with %d bytes is refused', (offset, length) => {
    const bank = make({});
    expect(() => bank.readBytes(offset, length)).toThrow(ZtlpError);
    expect(() => bank.writeBytes(offset, new Uint8Array(length))).toThrow(ZtlpError);
  });

  it('byte enables of another length than the data are refused', () => {
    expect(() => make({}).writeBytes(0, bytes(1, 2), bytes(1))).toThrow('byteEnables');
  });
});

describe('save and load', () => {
  const build = () =>
    make({
      A: { offset: 0, width: 4, access: 'rw', reset: 7 },
      W: { offset: 8, width: 8, access: 'rc', reset: 1n },
    });

  it('restore every value, through JSON too', () => {
    const bank = build();
    bank.writeBytes(0, bytes(1, 2, 3, 4));
    bank.set('W', 0xffff_ffff_ffff_fffen);
    const saved = bank.save();
    expect(saved).toEqual({ A: 0x0403_0201, W: '0xfffffffffffffffe' });
    const other = build();
    other.load(JSON.parse(JSON.stringify(saved)));
    expect(other.save()).toEqual(saved);
    other.reset();
    expect(other.save()).toEqual({ A: 7, W: '0x1' });
  });

  it.each([
    ['a register that there is not', { A: 1, W: '0x1', B: 1 }],
    ['a missing register', { A: 1 }],
    ['a value that does not fit', { A: 2 ** 32, W: '0x1' }],
    ['text that is no number', { A: 1, W: 'one' }],
    ['a number for 8 bytes', { A: 1, W: 1 }],
    ['no object', null],
    ['a list', []],
  ])('refuse %s and change nothing', (_, saved) => {
    const bank = build();
    expect(() => bank.load(saved as never)).toThrow(ZtlpError);
    expect(bank.save()).toEqual({ A: 7, W: '0x1' });
  });

  it('describe lists registers by offset with value and reset value', () => {
    const bank = make({
      B: { offset: 4, width: 2, access: 'wo', description: 'doorbell' },
      A: { offset: 0, width: 4, access: 'rw', reset: 7 },
    });
    bank.set('A', 8);
    expect(bank.describe()).toEqual([
      { name: 'A', offset: 0, width: 4, access: 'rw', value: 8, reset: 7, description: '' },
      { name: 'B', offset: 4, width: 2, access: 'wo', value: 0, reset: 0, description: 'doorbell' },
    ]);
  });
});
