/** The NIC's objects as commands will create and destroy them. */
import { describe, expect, it } from 'vitest';
import {
  type CqSpec,
  createCq,
  createEq,
  createMkey,
  createRq,
  createSq,
  createUar,
  destroy,
  newResources,
} from '../../src/devices/mlx/resources.js';

const LIMITS = { vectors: 4, uarPages: 8 };
const buffer = { pages: [0x1000, 0x9000], logPageSize: 12, offset: 0 };

/** UAR 4, EQ 1, CQ 1, SQ 1, RQ 1. */
function made() {
  const to = newResources();
  const common = { buffer, logSize: 5, uar: 4, record: 0x40 };
  const numbers = [
    createUar(to, LIMITS),
    createEq(to, LIMITS, common),
    createCq(to, { ...common, eqn: 1 }),
    createSq(to, { ...common, cqn: 1 }),
    createRq(to, { ...common, cqn: 1 }),
  ];
  return { to, numbers, common };
}

describe('objects of the NIC', () => {
  it('get the lowest number that is free', () => {
    const { to, numbers, common } = made();
    expect(numbers).toEqual([{ number: 4 }, ...Array.from({ length: 4 }, () => ({ number: 1 }))]);
    expect(createEq(to, LIMITS, { ...common, eqn: 3 })).toEqual({ number: 3 });
    expect([createEq(to, LIMITS, common), createEq(to, LIMITS, common)]).toEqual([
      { number: 2 },
      { number: 4 },
    ]);
    expect([5, 6, 7].map(() => createUar(to, LIMITS))).toEqual([{ number: 5 }, { number: 6 }, { number: 7 }]);
    expect(createUar(to, LIMITS)).toEqual({ refused: 'no-resources' });
  });

  it('are not destroyed while others name them', () => {
    const { to } = made();
    expect(destroy(to, 'uar', 4)).toBe('busy');
    expect(destroy(to, 'eq', 1)).toBe('busy');
    expect(destroy(to, 'cq', 1)).toBe('busy');
    const kinds = ['sq', 'rq', 'cq', 'eq'] as const;
    expect(kinds.map((kind) => destroy(to, kind, 1))).toEqual(kinds.map(() => undefined));
    expect(destroy(to, 'uar', 4)).toBeUndefined();
    expect(destroy(to, 'sq', 1)).toBe('bad-resource');
    expect(createMkey(to, { key: 5 })).toEqual({ number: 5 });
    expect([destroy(to, 'mkey', 5), destroy(to, 'mkey', 5)]).toEqual([undefined, 'bad-resource']);
  });

  it.each<[string, Partial<CqSpec>, string]>([
    ['a ring that its pages do not hold', { logSize: 8 }, 'bad-parameter'],
    ['entries of 128 bytes that they do not hold', { logSize: 7, stride: 128 }, 'bad-parameter'],
    ['an offset that is no multiple of 64', { buffer: { ...buffer, offset: 32 } }, 'bad-parameter'],
    ['a page behind the last address', { buffer: { ...buffer, pages: [(1n << 64n) - 8n] } }, 'bad-parameter'],
    ['a record that is not aligned', { record: 0x44 }, 'bad-parameter'],
    ['a number that is taken', { cqn: 1 }, 'bad-parameter'],
    ['a number of 25 bits', { cqn: 0x100_0000 }, 'bad-parameter'],
    ['a period of 13 bits', { period: 0x1000 }, 'bad-parameter'],
    ['an EQ that is not there', { eqn: 2 }, 'bad-resource'],
    ['a UAR page that is not there', { uar: 5 }, 'bad-resource'],
  ])('are refused: a CQ with %s', (_, fields, refused) => {
    const { to, common } = made();
    expect(createCq(to, { ...common, eqn: 1, ...fields })).toEqual({ refused });
    expect(to.cqs.size).toBe(1);
  });

  it('are refused: queues of no CQ, WQEs without a segment, keys whose pages are too few', () => {
    const { to, common } = made();
    expect(createSq(to, { ...common, cqn: 2 })).toEqual({ refused: 'bad-resource' });
    expect(createSq(to, { ...common, cqn: 1, logSize: 14 })).toEqual({ refused: 'bad-parameter' });
    expect(createRq(to, { ...common, cqn: 2 })).toEqual({ refused: 'bad-resource' });
    expect(createRq(to, { ...common, cqn: 1, type: 'linked-list', logStride: 4 })).toEqual({
      refused: 'bad-parameter',
    });
    const pages = { key: 1, mode: 'pages', start: 0x800, pages: [0, 0x1000] } as const;
    expect(createMkey(to, { ...pages, length: 0x1801 })).toEqual({ refused: 'bad-parameter' });
    expect(createMkey(to, { ...pages, length: 0x1800 })).toEqual({ number: 1 });
  });

  it('are refused when there are 4096 of a kind', () => {
    const to = newResources();
    for (let key = 0; key < 4096; key++) expect(createMkey(to, { key })).toEqual({ number: key });
    expect(createMkey(to, { key: 4096 })).toEqual({ refused: 'no-resources' });
  });
});
