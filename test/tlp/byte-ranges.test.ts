/** Byte ranges and byte enables, both ways. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { byteRange, enabledRange, ready, ZtlpError } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { coverage, label, requestFor, thrownBy } from '../support/reference.js';
import { FOUR_GIB, PAGE, PLACE } from './split-support.js';

describe.each(BUILDS)('splits with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  it('TLP-07 a byte range enables exactly the requested bytes', () => {
    fc.assert(
      fc.property(PLACE, fc.integer({ min: 1, max: PAGE }), (address, bytes) => {
        // The range alone: 4 KiB borders are the splitter's business; one DW more than 1024 is not a request.
        fc.pre(Number(BigInt(address) & 3n) + bytes <= PAGE);
        const range = byteRange(address, bytes);
        expect(label({ ...range, address: range.dwAddress })).toBe(label(requestFor({ at: address, bytes })));
        const counts = coverage([{ ...range, address: range.dwAddress }], address, bytes);
        expect(counts.every((count) => count === 1)).toBe(true);
        expect(range.firstPad + bytes + range.lastPad).toBe(4 * range.length);
        expect(range.firstPad).toBe(address % 4);
      }),
      { numRuns: 1000 },
    );
  });

  it('TLP-07 a byte range of nothing is one DW without enabled bytes, at any address', () => {
    for (const address of [0, 5, FOUR_GIB + 3, 2n ** 64n - 1n]) {
      expect(byteRange(address, 0)).toMatchObject({ length: 1, firstBe: 0, lastBe: 0 });
    }
    expect(byteRange(2n ** 64n - 1n, 1)).toMatchObject({ dwAddress: 2n ** 64n - 4n, length: 1, firstBe: 8 });
  });

  it('TLP-07 enabled ranges span from the first to the last enabled byte', () => {
    for (let firstBe = 1; firstBe < 16; firstBe++) {
      const low = [0, 1, 2, 3].filter((k) => (firstBe >> k) % 2 === 1);
      const [first = 0, last = 0] = [low[0], low.at(-1)];
      expect(enabledRange(1, firstBe, 0)).toEqual({
        byteCount: last - first + 1,
        firstOffset: first,
        lastOffset: 3 - last,
      });
      for (let lastBe = 1; lastBe < 16; lastBe++) {
        const top = [3, 2, 1, 0].find((k) => (lastBe >> k) % 2 === 1) ?? 0;
        for (const length of [2, 3, 1024]) {
          const byteCount = 4 * length - first - (3 - top);
          expect(enabledRange(length, firstBe, lastBe)).toEqual({
            byteCount,
            firstOffset: first,
            lastOffset: 3 - top,
          });
        }
      }
    }
    expect(enabledRange(1, 0, 0)).toMatchObject({ byteCount: 1, firstOffset: 0 });
  });

  it('refuse ranges that no request can have', () => {
    const cases: readonly (readonly [() => unknown, string])[] = [
      [() => byteRange(0, 4097), 'bytes'],
      [() => byteRange(0, -1), 'bytes'],
      [() => byteRange(0, 1.5), 'bytes'],
      [() => byteRange(-1, 1), 'address'],
      [() => enabledRange(0, 1, 0), 'length'],
      [() => enabledRange(1025, 1, 1), 'length'],
      [() => enabledRange(1, 16, 0), 'firstBe'],
      [() => enabledRange(2, 1, 16), 'lastBe'],
    ];
    for (const [action, field] of cases) {
      const error = thrownBy(action);
      expect(error, field).toBeInstanceOf(ZtlpError);
      expect(error).toMatchObject({ field });
    }
  });
});
