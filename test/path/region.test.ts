/** Sizes that a memory region may have, and those that no region has (access-paths.md 4). */
import { describe, expect, it } from 'vitest';
import { dispatchRegion, type RegionInput } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { thrownBy } from '../support/reference.js';

const ANY = { min: 0, max: 0 };
const INPUT: RegionInput = { offset: 0, bytes: 8, valid: ANY, impl: ANY };

describe.each(BUILDS)('dispatchRegion with the %s build', (variant) => {
  useBuild(variant);

  it('takes a maximum of 0 as no rule for sizes and as 4 for calls', () => {
    expect(dispatchRegion(INPUT).calls.map(({ bytes }) => bytes)).toEqual([4, 4]);
    expect(dispatchRegion({ ...INPUT, valid: { min: 8, max: 0 } }).result).toBe('ok');
    expect(dispatchRegion({ ...INPUT, impl: { min: 4, max: 0 } }).calls).toHaveLength(2);
    expect(dispatchRegion({ ...INPUT, impl: { min: 8, max: 8 } }).calls).toEqual([{ offset: 0, bytes: 8 }]);
  });

  it.each(['valid', 'impl'] as const)('refuses sizes in %s that are no powers of two', (field) => {
    for (const key of ['min', 'max'] as const) {
      for (const value of [3, 5, 6, 7, 12, 24, 63, 128, -1, 1.5, '4', null]) {
        const sizes = { min: 1, max: 64, [key]: value };
        expect(thrownBy(() => dispatchRegion({ ...INPUT, [field]: sizes }))).toMatchObject({
          name: 'ZtlpError',
          code: 'invalid-value',
          field: `${field}.${key}`,
          value,
        });
      }
    }
  });

  it.each(['valid', 'impl'] as const)('refuses a minimum above the maximum in %s', (field) => {
    const refused = (min: number, max: number): unknown =>
      thrownBy(() => dispatchRegion({ ...INPUT, [field]: { min, max } }));
    expect(refused(8, 4)).toMatchObject({ field: `${field}.min`, value: 8 });
    if (field === 'impl') expect(refused(8, 0)).toMatchObject({ field: 'impl.min', value: 8 });
  });

  it.each(['valid', 'impl'] as const)('refuses an unaligned in %s that is no boolean', (field) => {
    for (const unaligned of [0, 1, 'no', null]) {
      const input = { ...INPUT, [field]: { min: 1, max: 4, unaligned } } as RegionInput;
      expect(thrownBy(() => dispatchRegion(input))).toMatchObject({ field: `${field}.unaligned` });
    }
  });
});
