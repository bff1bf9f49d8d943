/** What the encoder refuses: values that a field or a type cannot hold. */
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeTlp, encodeTlp, ready, type TlpInput, ZtlpError } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { thrownBy } from '../support/reference.js';

const FOUR_GIB = 0x1_0000_0000;

describe.each(BUILDS)('single TLPs with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

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

  it('refuse a Max_Payload_Size that no receiver has, and options that are none', () => {
    const bytes = encodeTlp({ type: 'MWr', address: 0x1000 }, new Uint8Array(4));
    for (const mps of [-1, 0, 100, 8192, Number.NaN]) {
      expect(thrownBy(() => decodeTlp(bytes, { mps }))).toMatchObject({
        name: 'ZtlpError',
        code: 'invalid-value',
        field: 'mps',
      });
    }
    expect(decodeTlp(bytes, { mps: 4096 }).malformed).toBeUndefined();
    for (const wrong of [
      () => decodeTlp(bytes, null as never),
      () => encodeTlp({ type: 'MRd' }, undefined, null as never),
    ]) {
      expect(thrownBy(wrong)).toMatchObject({ code: 'invalid-value', field: 'options' });
    }
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
});
