/** Options of single paths, faults of instructions, and input that no access has. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SplitInput, splitAccess, ZtlpError } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { difference, labels, requestFor, thrownBy } from '../support/reference.js';
import { block, cutAt, LINE_PATHS, PAGE, single, WRITE_PATHS } from './support.js';

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  useBuild(variant);

  it('AP-02 only vector stores with a larger vectorUcChunk are longer than two dwords on x86-uc', () => {
    expect(single('x86-uc', 'write', 0x40, 64)).toEqual(
      ['40', '48', '50', '58', '60', '68', '70', '78'].map((at) => `${at}:2/f.f`),
    );
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 16 }).length).toBe(4);
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 32 })).toEqual(['40:8/f.f', '60:8/f.f']);
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 64 })).toEqual(['40:16/f.f']);
    // A scalar store does not see the vector option.
    expect(single('x86-uc', 'write', 4, 8, { vectorUcChunk: 64 })).toEqual(['4:1/f.0', '8:1/f.0']);
  });

  it('ucSplitBoundary cuts uncached accesses at its multiples, lower part first', () => {
    for (const ucSplitBoundary of [8, 16, 32, 64] as const) {
      for (let offset = 0; offset < 130; offset++) {
        for (const bytes of [1, 2, 4, 8]) {
          const expected = labels(cutAt({ at: offset, bytes }, ucSplitBoundary).map(requestFor));
          for (const op of ['write', 'read'] as const) {
            const actual = single('x86-uc', op, offset, bytes, { ucSplitBoundary });
            expect(difference(`${bytes} at ${offset}`, actual, expected)).toBeUndefined();
          }
        }
      }
    }
    expect(single('x86-uc', 'write', 4, 8)).toEqual(['4:1/f.0', '8:1/f.0']);
    expect(single('x86-uc', 'write', 4, 8, { ucSplitBoundary: 16 })).toEqual(['4:2/f.f']);
  });

  it('ldpStp makes a register pair two accesses or one', () => {
    for (const op of ['write', 'read'] as const) {
      expect(single('arm64-device', op, 0x18, 16)).toEqual(['18:2/f.f', '20:2/f.f']);
      expect(single('arm64-device', op, 0x18, 16, { ldpStp: 'two' })).toEqual(['18:2/f.f', '20:2/f.f']);
      expect(single('arm64-device', op, 0x18, 16, { ldpStp: 'one' })).toEqual(['18:4/f.f']);
    }
  });

  it('an unaligned access to arm64 Device memory is an alignment fault without TLPs', () => {
    for (const [offset, bytes] of [
      [1, 2],
      [2, 4],
      [4, 8],
      [4, 16],
    ] as const) {
      const result = splitAccess('arm64-device', { op: 'write', offset, bytes });
      expect(result.tlps).toEqual([]);
      expect(result.fault).toMatchObject({ kind: 'alignment', offset, answer: null });
      expect(splitAccess('arm64-device', { op: 'write', offset: 2 * bytes, bytes }).fault).toBeUndefined();
    }
  });

  it('MOVDIR64B and ENQCMD store 64 bytes in one TLP or fault', () => {
    expect(single('x86-movdir64b', 'write', 0x40, 64)).toEqual(['40:16/f.f']);
    expect(single('x86-enqcmd', 'write', 0x40, 64)).toEqual(['40:16/f.f']);
    const enqueue = splitAccess('x86-enqcmd', { op: 'write', offset: 0, bytes: 64 });
    expect(enqueue.tlps[0]).toMatchObject({ type: 'DMWr', flow: 'NP' });
    // A deferrable write is answered: one completion without data.
    expect(enqueue.totals).toMatchObject({ tlps: 2, requests: 1, wireBytesUp: 20, payloadBytesUp: 0 });
    for (const id of LINE_PATHS) {
      expect(splitAccess(id, { op: 'write', offset: 8, bytes: 64 }).fault?.kind).toBe('general-protection');
      expect(splitAccess(id, { op: 'write', offset: 64, bytes: 32 }).fault?.kind).toBe('size');
    }
  });

  it('wcChunkOrder turns the chunks of a partial line round and leaves whole lines in order', () => {
    const chunked = (offset: number, bytes: number, wcChunkOrder: 'ascending' | 'descending'): string[] =>
      labels(block('x86-wc-line', offset, bytes, { wcChunkOrder }).tlps);
    expect(chunked(3, 20, 'ascending')).toEqual(['0:2/8.f', '8:2/f.f', '10:2/f.7']);
    expect(chunked(3, 20, 'descending')).toEqual(['10:2/f.7', '8:2/f.f', '0:2/8.f']);
    expect(chunked(0, 128, 'descending')).toEqual(['0:16/f.f', '40:16/f.f']);
    // A chunk with bytes in one dword only is one dword long.
    expect(chunked(12, 5, 'descending')).toEqual(['10:1/1.0', 'c:1/f.0']);
    fc.assert(
      fc.property(fc.nat(63), fc.integer({ min: 1, max: 63 }), (offset, bytes) => {
        fc.pre(offset + bytes <= 64);
        const turned = chunked(offset, bytes, 'descending').reverse();
        expect(turned).toEqual(chunked(offset, bytes, 'ascending'));
      }),
      { numRuns: 200 },
    );
    // Lines leave in ascending order, the chunks of each turned round.
    expect(chunked(56, 20, 'descending')).toEqual(['38:2/f.f', '48:1/f.0', '40:2/f.f']);
  });

  it.each(WRITE_PATHS)('%s reaches the last byte below 4 GiB and the last of the bus', (id) => {
    const bytes = 64;
    const at = { op: 'write', bytes, block: true } as const;
    const near = splitAccess(id, { ...at, offset: PAGE - bytes });
    for (const [offset, base] of [
      [2 ** 32 - bytes, 0],
      [PAGE - bytes, 2n ** 64n - 4096n],
    ] as const) {
      const far = splitAccess(id, { ...at, offset, base });
      expect(far.fault).toBeUndefined();
      expect(far.accesses.map((span) => [span.offset - offset, span.bytes])).toEqual(
        near.accesses.map((span) => [span.offset - (PAGE - bytes), span.bytes]),
      );
      expect(far.totals.guestInstructions).toBe(near.totals.guestInstructions);
      const ends = far.tlps.map(({ address, length }) => BigInt(address) + BigInt(4 * length));
      if (far.tlps.length > 0) expect(ends.at(-1)).toBe(BigInt(base) + BigInt(offset + bytes));
    }
  });

  it('refuse paths, directions, sizes and places that do not exist', () => {
    const good = { op: 'write', offset: 0, bytes: 4 } as const;
    const cases: readonly (readonly [string, object, string, string])[] = [
      ['x86-nc', good, 'unknown-name', 'path'],
      ['toString', good, 'unknown-name', 'path'],
      ['x86-movdir64b', { ...good, op: 'read' }, 'invalid-value', 'op'],
      ['x86-uc', { ...good, op: 'copy' }, 'invalid-value', 'op'],
      ['x86-uc', { ...good, bytes: 3 }, 'invalid-value', 'bytes'],
      ['x86-uc', { ...good, bytes: 0 }, 'out-of-range', 'bytes'],
      ['vfio-rw-w8', { ...good, bytes: (1 << 20) + 1 }, 'out-of-range', 'bytes'],
      ['x86-uc', { ...good, offset: -1 }, 'out-of-range', 'offset'],
      ['x86-uc', { ...good, offset: 2 ** 32 }, 'out-of-range', 'offset'],
      ['x86-uc', { ...good, offset: 2 ** 32 - 3 }, 'out-of-range', 'offset'],
      ['x86-uc', { ...good, base: -1 }, 'invalid-value', 'base'],
      ['x86-uc', { ...good, base: 0x1008 }, 'invalid-value', 'base'],
      ['x86-uc', { ...good, base: 2n ** 64n - 4096n, offset: 4096 }, 'out-of-range', 'base'],
      ['x86-uc', { ...good, base: 2n ** 64n - 4096n, offset: 4094 }, 'out-of-range', 'base'],
      ['x86-uc', { ...good, options: null }, 'invalid-value', 'options'],
      ['x86-uc', { ...good, options: [] }, 'invalid-value', 'options'],
      ['x86-uc', { ...good, options: { toString: 1 } }, 'unknown-name', 'toString'],
      ['x86-uc', { ...good, sourceAddress: 0.5 }, 'invalid-value', 'sourceAddress'],
      ['x86-uc', { ...good, options: { ucSplitBoundary: 24 } }, 'invalid-value', 'ucSplitBoundary'],
      ['x86-uc', { ...good, options: { tags: 32 } }, 'unsupported', 'tags'],
    ];
    for (const [id, input, code, field] of cases) {
      const error = thrownBy(() => splitAccess(id, input as SplitInput));
      expect(error, `${id} ${field}`).toBeInstanceOf(ZtlpError);
      expect(error).toMatchObject({ code, field });
    }
  });
});
