/** What the tests of splits share: borders, policies, hard rules. */
import fc from 'fast-check';

export const FOUR_GIB = 0x1_0000_0000;
export const PAGE = 4096;
export const LIMITS = [128, 256, 512, 1024, 2048, 4096] as const;
const BORDERS = [4, 8, 64, 128, 256, 512, 4096];
const near = (border: number): number[] => [border - 3, border - 1, border, border + 1, border + 4];
export const LENGTHS = [...new Set([1, 2, 3, 5, 6, 7, ...BORDERS.flatMap(near), 8192, 8193])];
export const OFFSETS = [...new Set([0, 1, 2, 3, ...BORDERS.flatMap(near)])];

export const PLACE = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 3 * PAGE }) },
  { weight: 1, arbitrary: fc.integer({ min: FOUR_GIB - PAGE, max: FOUR_GIB + PAGE }) },
);
