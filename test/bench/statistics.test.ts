/** Medians, spreads and paired ratios of samples that are written down here, never measured. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bests, differs, estimate, median, pairedRatio, quantile } from '../../bench/statistics.js';

const times = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });

describe('quantiles', () => {
  it.each([
    [[5], 0.5, 5],
    [[1, 3], 0.5, 2],
    [[4, 1, 3, 2], 0.25, 1.75],
    [[9, 1, 5], 0, 1],
    [[9, 1, 5], 1, 9],
    [[10, 9, 100], 0.5, 10],
  ])('of %j at %d is %d', (values, part, expected) => {
    expect(quantile(values, part)).toBe(expected);
  });

  it('are NaN without values, and leave the values as they were', () => {
    const values = [3, 1, 2];
    expect(median(values)).toBe(2);
    expect(values).toEqual([3, 1, 2]);
    expect(median([])).toBeNaN();
  });

  it('lie within the values and grow with the part', () => {
    fc.assert(
      fc.property(times, fc.double({ min: 0, max: 1, noNaN: true }), (values, part) => {
        const at = quantile(values, part);
        expect(at).toBeGreaterThanOrEqual(Math.min(...values));
        expect(at).toBeLessThanOrEqual(Math.max(...values));
        expect(quantile(values, part / 2)).toBeLessThanOrEqual(at);
      }),
    );
  });
});

describe('an estimate', () => {
  it('is the median, with half the distance between the quartiles in percent', () => {
    expect(estimate([1, 2, 3, 4, 5])).toEqual({ value: 3, spread: 100 / 3 });
    expect(estimate([7, 7, 7])).toEqual({ value: 7, spread: 0 });
  });

  it('does not follow a few samples that were disturbed', () => {
    const quiet = [10, 10, 10, 10, 10, 10, 10];
    expect(estimate([...quiet, 5000])).toEqual(estimate(quiet));
  });
});

describe('a paired ratio', () => {
  it('is the median over the rounds of the ratio of their best samples', () => {
    const over = [
      [2, 20, 200],
      [9, 10],
      [6, 4],
    ];
    const under = [[8, 1, 5], [3, 3], [5]];
    expect(bests(over)).toEqual([2, 9, 4]);
    expect(pairedRatio(over, under).value).toBe(2);
  });

  it('is NaN, and no other number, where a round is missing', () => {
    expect(pairedRatio([[1], [1], [1]], [[1]]).value).toBeNaN();
    expect(pairedRatio([[1], [1], [1]], [[1], [1]]).value).toBeNaN();
    expect(pairedRatio([], []).value).toBeNaN();
  });

  it('does not see what slows whole rounds down', () => {
    const slow = [1, 3, 20, 1, 7];
    const base = slow.map((factor) => [10 * factor, 10 * factor]);
    const three = slow.map((factor) => [30 * factor, 30 * factor]);
    expect(pairedRatio(three, base)).toEqual({ value: 3, spread: 0 });
  });

  it('of a thing to itself is 1', () => {
    fc.assert(
      fc.property(fc.array(times, { minLength: 1, maxLength: 9 }), (rounds) => {
        expect(pairedRatio(rounds, rounds)).toEqual({ value: 1, spread: 0 });
      }),
    );
  });
});

describe('a difference', () => {
  it('is one only where the spreads do not meet, either way round', () => {
    const at = (value: number, spread: number) => ({ value, spread });
    expect(differs(at(100, 5), at(110, 5))).toBe(false);
    expect(differs(at(100, 5), at(112, 5))).toBe(true);
    expect(differs(at(112, 5), at(100, 5))).toBe(true);
    expect(differs(at(100, 0), at(100, 0))).toBe(false);
    expect(differs(at(100, 500), at(1, 0))).toBe(false);
  });
});
