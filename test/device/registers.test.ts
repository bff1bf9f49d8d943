// Declarations of registers: every mistake is refused, and named by register and field.
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { registerBank } from '../../src/device/register-bank.js';
import type { RegisterMap } from '../../src/device/registers.js';

describe('a declaration', () => {
  const R = { offset: 0, width: 4, access: 'rw' } as const;
  const wrong: [string, unknown, string][] = [
    ['that is no object', 5, 'registers: 5 is not valid'],
    ['of no object', { A: 5 }, 'registers.A: 5 is not valid'],
    [
      'with an unknown field',
      { A: { ...R, widht: 4 } },
      'registers.A: "widht" is not a field, did you mean width?',
    ],
    ['with a name that is no identifier', { '2A': R }, 'registers: "2A" is not valid'],
    [
      'without a width',
      { A: { offset: 0, access: 'rw' } },
      'registers.A.width: undefined is not valid; allowed: 1, 2, 4, 8',
    ],
    ['of 3 bytes', { A: { ...R, width: 3 } }, 'registers.A.width: 3 is not valid'],
    ['without an offset', { A: { width: 4, access: 'rw' } }, 'registers.A.offset: undefined is not valid'],
    ['with a negative offset', { A: { ...R, offset: -4 } }, 'registers.A.offset: -4 is not valid'],
    [
      'that ends outside the BAR',
      { A: { ...R, offset: 14 } },
      'registers.A.offset: 14 is not valid; allowed: an integer from 0 to 12',
    ],
    ['without an access', { A: { offset: 0, width: 4 } }, 'registers.A.access: undefined is not valid'],
    [
      'with an unknown access',
      { A: { ...R, access: 'w1c' } },
      'registers.A.access: "w1c" is not valid; allowed: ro, rw, rw1c, wo, rc',
    ],
    [
      'with a reset value outside its width',
      { A: { ...R, width: 1, reset: 256 } },
      'registers.A.reset: 256 is not valid; allowed: an integer from 0 to 0xff',
    ],
    [
      'of 8 bytes with a number',
      { A: { ...R, width: 8, reset: 1 } },
      'registers.A.reset: 1 is not valid; allowed: a bigint',
    ],
    [
      'with a write mask outside its width',
      { A: { ...R, width: 2, writeMask: 0x10000 } },
      'registers.A.writeMask',
    ],
    [
      'with a write mask where nothing is written',
      { A: { ...R, access: 'ro', writeMask: 1 } },
      'registers.A.writeMask: has no effect',
    ],
    [
      'with a write hook where nothing is written',
      { A: { ...R, access: 'rc', write() {} } },
      'registers.A.write: has no effect',
    ],
    [
      'with a read hook where nothing is read',
      { A: { ...R, access: 'wo', read() {} } },
      'registers.A.read: has no effect',
    ],
    ['with a hook that is no function', { A: { ...R, read: 5 } }, 'registers.A.read: 5 is not valid'],
    ['with a description that is no text', { A: { ...R, description: 5 } }, 'registers.A.description'],
    [
      'with an overlap',
      { A: R, B: { ...R, offset: 3, width: 1 } },
      'registers.B: overlaps A, which ends at 0x3',
    ],
  ];

  it.each(wrong)('%s is refused and named', (_, registers, message) => {
    let error: unknown;
    try {
      registerBank(registers as RegisterMap, { size: 16, context: undefined });
    } catch (reason) {
      error = reason;
    }
    expect(error).toBeInstanceOf(ZtlpError);
    expect((error as ZtlpError).message).toContain(message);
    expect((error as ZtlpError).field).toMatch(/^registers/);
  });

  it('of a bank needs a size and a fill that are bytes', () => {
    expect(() => registerBank({}, { size: 0, context: undefined })).toThrow('registers size: 0');
    expect(() => registerBank({}, { size: 4, fill: 256, context: undefined })).toThrow('registers fill: 256');
  });
});
