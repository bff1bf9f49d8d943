/** The error type: the forms of its message, the fields scripts read, and values as short text. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { invalid, show, ZtlpError } from '../../src/base/errors.js';

describe('a ZtlpError', () => {
  it('is an Error with its own name, whose message is what was wrong and then what is allowed', () => {
    const error = new ZtlpError('not-found', 'no such thing', { field: 'slot', value: 7, allowed: '0 to 3' });
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe('ZtlpError: no such thing; allowed: 0 to 3');
    expect(error).toMatchObject({ code: 'not-found', field: 'slot', value: 7, allowed: '0 to 3' });
  });

  it('says nothing about what is allowed when that was not given', () => {
    const error = new ZtlpError('io', 'reading failed');
    expect(error.message).toBe('reading failed');
    expect([error.field, error.value, error.allowed]).toEqual([undefined, undefined, undefined]);
    expect('cause' in error).toBe(false);
  });

  it('says what the same call answers in Linux, where that is known', () => {
    expect(new ZtlpError('invalid-value', 'in use', { errno: 'EBUSY' }).errno).toBe('EBUSY');
    expect(new ZtlpError('io', 'reading failed').errno).toBeUndefined();
  });

  it('keeps its cause', () => {
    const cause = new Error('disk');
    expect(new ZtlpError('io', 'reading failed', { cause }).cause).toBe(cause);
  });
});

describe('invalid', () => {
  it('names the field, shows the value and says what is allowed', () => {
    const error = invalid('mps', 100, '128, 256');
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error.message).toBe('mps: 100 is not valid; allowed: 128, 256');
    expect(error).toMatchObject({ code: 'invalid-value', field: 'mps', value: 100, allowed: '128, 256' });
  });

  it('takes another code', () => {
    expect(invalid('offset', -1, '0 to 15', 'out-of-range').code).toBe('out-of-range');
  });
});

describe('a value in a message', () => {
  it.each([
    ['abc', '"abc"'],
    ['', '""'],
    ['two\nlines "quoted"', '"two\\nlines \\"quoted\\""'],
    ['C:\\logs\\new\\trace.txt', '"C:\\logs\\new\\trace.txt"'],
    [12, '12'],
    [-0.5, '-0.5'],
    [Number.NaN, 'NaN'],
    [255n, '0xff'],
    [2n ** 64n - 1n, '0xffffffffffffffff'],
    [new Uint8Array(3), '3 bytes'],
    [new Uint8Array(0), '0 bytes'],
    [[1, 2], 'a list'],
    [{ a: 1 }, 'an object'],
    [new Map(), 'an object'],
    [null, 'null'],
    [undefined, 'undefined'],
    [true, 'true'],
    [Symbol('s'), 'Symbol(s)'],
  ])('%o is shown as %s', (value, text) => {
    expect(show(value)).toBe(text);
  });

  it('keeps a text of 200 characters and cuts one of 201 to 197 and three dots', () => {
    expect(show('x'.repeat(200))).toBe(`"${'x'.repeat(200)}"`);
    expect(show('x'.repeat(201))).toBe(`"${'x'.repeat(197)}..."`);
  });

  it('is always one line, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 250 }), (text) => {
        expect(show(text)).not.toMatch(/[\n\r]/);
      }),
    );
  });
});
