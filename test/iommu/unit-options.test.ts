/** Options of units: each is followed or refused, and room and entries come from the same ones (iommu.md 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { walkTables } from '../../src/report/iommu-walk.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { LEAF, Smmu } from './smmu-lab.js';
import { UnitLab } from './unit-lab.js';

describe.each(BUILDS)('options of units on the %s core', (build) => {
  const { make } = machinesOf(build);

  describe('an SMMUv3', () => {
    const module = useBuild(build);
    let core: Core;
    beforeAll(async () => {
      core = await UnitLab.load(module());
    });

    /** Pages that are kept after pages 0 to 3, page 0 again, and page 4 went through an IOTLB of 4. */
    function kept(iotlbReplacement: 'lru' | 'fifo' | 'random' | 'flushWhenFull', seed = 1): number[] {
      const one = new Smmu(core, { iotlbEntries: 4, iotlbReplacement }, 16, { seed });
      const at = (page: number): bigint => BigInt(page) * 0x1000n;
      for (let page = 0; page < 5; page++) one.map(at(page), at(page) | LEAF);
      for (const page of [0, 1, 2, 3, 0, 4]) one.go(at(page));
      // What stands in tables no longer counts for pages that are kept.
      for (let page = 0; page < 5; page++) one.map(at(page), 0n);
      return [0, 1, 2, 3, 4].filter((page) => !one.go(at(page)).startsWith('event'));
    }

    it('iommu.md 5: gives up entries as iotlbReplacement says', () => {
      expect(kept('lru')).toEqual([0, 2, 3, 4]);
      expect(kept('fifo')).toEqual([1, 2, 3, 4]);
      expect(kept('flushWhenFull')).toEqual([4]);
      const drawn = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => kept('random', seed));
      for (const pages of drawn) expect([pages.length, pages.at(-1)]).toEqual([4, 4]);
      expect(new Set(drawn.map((pages) => pages.join())).size).toBeGreaterThan(1);
    });
  });

  it('iotlbKey is refused where pages belong to address spaces', async () => {
    const error = { code: 'unsupported', field: 'iotlbKey', value: 'requester', allowed: 'domain' };
    const options = { iotlbKey: 'requester' } as const;
    const smmu = [{ kind: 'smmuv3' }] as const;
    await expect(make({ platform: 'arm64', iommus: smmu, options })).rejects.toMatchObject(error);
    await make({ platform: 'arm64', iommus: smmu, options: { iotlbKey: 'domain' } });
    for (const kind of ['vtd', 'amd'] as const) await make({ iommus: [{ kind }], options });
    const walk = { root: 0n, streams: 0, images: [], entries: [[0n, 0n]], requests: [] } as const;
    // A walk begins with empty caches: the option would say nothing.
    const refusal = { field: 'iotlbKey', message: expect.stringContaining('a walk') };
    for (const kind of ['vtd', 'smmuv3', 'amd'] as const)
      await expect(walkTables({ ...walk, unit: { kind }, options })).rejects.toMatchObject(refusal);
  });

  it.each(['vtd', 'smmuv3', 'amd'] as const)('%s: a seed out of range is refused', async (kind) => {
    const platform = kind === 'smmuv3' ? 'arm64' : 'x86-64';
    const config = { platform, iommus: [{ kind, seed: -1 }] } as const;
    await expect(make(config)).rejects.toMatchObject({ code: 'out-of-range', field: 'iommus[0].seed' });
  });
});
