/** Mistyped names: fields that no input has are refused everywhere, with the right name when one is near. */
import { beforeAll, describe, expect, it } from 'vitest';
import { checkKeys, didYouMean, nearest, unknownName } from '../../src/base/names.js';
import {
  countAccess,
  createMachine,
  decodeTlp,
  dispatchRegion,
  encodeTlp,
  memoryDevice,
  ready,
  splitAccess,
  splitCompletion,
  splitRequest,
  ZtlpError,
} from '../../src/index.js';

function errorOf(call: () => unknown): ZtlpError {
  try {
    call();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the nearest name', () => {
  const names = ['offset', 'bytes', 'block', 'base'];

  it.each([
    ['ofset', 'offset'],
    ['Offset', 'offset'],
    ['byte', 'bytes'],
    ['blok', 'block'],
    ['sourceAddress', undefined],
    ['', undefined],
    ['ba', undefined],
    ['bas', 'base'],
    ['bsa', undefined],
  ])('to %s is %s', (wrong, right) => expect(nearest(wrong, names)).toBe(right));

  it('is the first of several that are equally near', () => {
    expect(nearest('abc', ['axx', 'acc', 'adc'])).toBe('acc');
  });

  it('is a question in a message, and nothing when none is near', () => {
    expect(didYouMean('ofset', names)).toBe(', did you mean offset?');
    expect(didYouMean('colour', ['x'])).toBe('');
  });
});

describe('an unknown field', () => {
  const known = new Set(['offset', 'bytes']);

  it('is named with its object, its value and what is allowed', () => {
    const error = errorOf(() => checkKeys('input', { offset: 0, byte: 4 }, known));
    expect(error.message).toBe('input.byte is not a field, did you mean bytes?; allowed: offset, bytes');
    expect(error).toMatchObject({
      code: 'unknown-name',
      field: 'input.byte',
      value: 4,
      allowed: 'offset, bytes',
    });
  });

  it('is passed over when it follows from the others', () => {
    expect(() => checkKeys('input', { offset: 0, end: 4 }, known, new Set(['end']))).not.toThrow();
  });

  it('is refused also when it holds undefined, as a misspelt one does', () => {
    expect(errorOf(() => checkKeys('', { ofset: undefined }, known)).field).toBe('ofset');
  });
});

it('a wrong name in a field comes with all names', () => {
  expect(unknownName('path', 'x86-uq', 'an access path', ['x86-uc', 'vfio']).message).toBe(
    'path: "x86-uq" is not an access path, did you mean x86-uc?; allowed: x86-uc, vfio',
  );
  expect(unknownName('path', 7, 'an access path', ['x86-uc']).message).toBe(
    'path: 7 is not an access path; allowed: x86-uc',
  );
});

describe('every plain function refuses a field that it does not have', () => {
  beforeAll(() => ready());
  const access = { op: 'write', offset: 0, bytes: 4 } as const;
  const sizes = { min: 1, max: 4 };
  const bar = { size: 4096 };
  const [request] = [
    { address: 0, length: 1, firstBe: 15, lastBe: 0, requester: 0, tag: 0, tc: 0, attr: {} },
  ];
  const any = (value: object): never => value as never;

  it.each<[string, () => unknown, string, string | undefined]>([
    ['splitAccess', () => splitAccess('x86-uc', any({ ...access, size: 8 })), 'input.size', undefined],
    ['splitAccess', () => splitAccess('x86-uc', any({ ...access, blok: true })), 'input.blok', 'block'],
    ['countAccess', () => countAccess('x86-uc', any({ ...access, bas: 0 })), 'input.bas', 'base'],
    ['splitRequest', () => splitRequest(any({ op: 'read', adress: 0 })), 'input.adress', 'address'],
    ['splitRequest attr', () => splitRequest(any({ op: 'read', attr: { n: true } })), 'attr.n', undefined],
    ['splitCompletion', () => splitCompletion(any({ request, complter: 1 })), 'input.complter', 'completer'],
    ['its request', () => splitCompletion(any({ request: { ...request, taag: 1 } })), 'request.taag', 'tag'],
    ['encodeTlp', () => encodeTlp(any({ type: 'MRd', lenght: 2 })), 'input.lenght', 'length'],
    [
      'encodeTlp attr',
      () => encodeTlp(any({ type: 'MRd', attr: { nosnoop: true } })),
      'attr.nosnoop',
      undefined,
    ],
    [
      'encodeTlp options',
      () => encodeTlp({ type: 'MRd' }, undefined, any({ digset: false })),
      'options.digset',
      'digest',
    ],
    ['decodeTlp', () => decodeTlp(new Uint8Array(12), any({ mpss: 128 })), 'options.mpss', 'mps'],
    ['memoryDevice', () => memoryDevice(any({ bar: [bar] })), 'options.bar', 'bars'],
    ['its BAR', () => memoryDevice(any({ bars: [{ sise: 4096 }] })), 'bars[0].sise', 'size'],
    [
      'dispatchRegion',
      () => dispatchRegion(any({ offset: 0, bytes: 4, valid: sizes, imp: sizes })),
      'input.imp',
      'impl',
    ],
    [
      'its sizes',
      () => dispatchRegion(any({ offset: 0, bytes: 4, valid: { ...sizes, unalign: true }, impl: sizes })),
      'valid.unalign',
      'unaligned',
    ],
  ])('%s %#', (_what, call, field, right) => {
    const error = errorOf(call);
    expect(error).toMatchObject({ code: 'unknown-name', field });
    if (right === undefined) expect(error.message).not.toContain('did you mean');
    else expect(error.message).toContain(`did you mean ${right}?`);
    expect(error.allowed).toBeTruthy();
  });

  it.each<[object, string]>([
    [{ plattform: 's390x' }, 'plattform'],
    [{ slots: [{ device: memoryDevice(), handelIndex: 1 }] }, 'slots[0].handelIndex'],
    [
      { slots: [{ device: { ...memoryDevice(), bars: [{ ...bar, memory: true, bytes: 1 }] } }] },
      'slots[0].bars[0].bytes',
    ],
    [
      {
        slots: [
          { device: { ...memoryDevice(), bars: [{ ...bar, memory: true, valid: { ...sizes, mx: 1 } }] } },
        ],
      },
      'slots[0].bars[0].valid.mx',
    ],
  ])('createMachine %#', async (config, field) => {
    await expect(createMachine(config as never)).rejects.toMatchObject({ code: 'unknown-name', field });
  });

  it('encodeTlp takes a decoded TLP as it is, and splitCompletion any TLP as its request', () => {
    const bytes = encodeTlp({ type: 'MRd', address: 0x1000, length: 2, td: true });
    const tlp = decodeTlp(bytes);
    expect(encodeTlp(tlp)).toEqual(bytes);
    expect(splitCompletion({ request: tlp })).toHaveLength(1);
  });

  it('memoryDevice wants a list of BARs', () => {
    expect(errorOf(() => memoryDevice({ bars: bar as never }))).toMatchObject({
      code: 'invalid-value',
      field: 'bars',
    });
    expect(errorOf(() => memoryDevice({ bars: [7 as never] })).field).toBe('bars[0]');
    expect(memoryDevice({ bars: [undefined, bar] }).bars).toEqual([undefined, { ...bar, memory: true }]);
  });
});
