/** docs/iommu.md: its snippets run, and it lists the fields of scenarios and all reasons of faults. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { SCENARIO_FIELDS } from '../../src/cli/iommu-scenario.js';
import { ready } from '../../src/index.js';
import { reasonName } from '../../src/iommu/reasons.js';
import { readBuild } from '../support/builds.js';
import { PageSnippets } from './page-snippets.js';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('docs/iommu.md', () => {
  const page = new PageSnippets('iommu');
  const text = read('docs/iommu.md');
  beforeAll(async () => {
    await ready(readBuild('release'));
  });

  it('compiles', () => expect(page.compile()).toEqual([]));

  it('prints what its comments say', async () => {
    expect(page.expected.length).toBeGreaterThan(5);
    expect(await page.run()).toEqual(page.expected);
  });

  it('lists every field of a scenario, and none that there is not', () => {
    const [, table = ''] = /## Scenarios([\s\S]*?)\n## /.exec(text) ?? [];
    const listed = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
    expect(listed.sort()).toEqual([...SCENARIO_FIELDS].sort());
  });

  it('lists every reason of a fault with its name', () => {
    for (const [kind, heading] of [
      ['vtd', 'VT-d'],
      ['smmuv3', 'SMMUv3'],
      ['amd', 'AMD-Vi'],
    ] as const) {
      const [, part = ''] = new RegExp(`### Reasons: ${heading}\\n([\\s\\S]*?)\\n##`).exec(text) ?? [];
      const listed = [...part.matchAll(/^\| `([0-9a-f]+)` \| (.*) \|$/gm)].map(([, code, name]) => [
        code,
        name,
      ]);
      const known = Array.from({ length: 256 }, (_, code) => [
        code.toString(16),
        reasonName(kind, code),
      ]).filter(([, name]) => name !== 'unknown');
      expect([kind, listed]).toEqual([kind, known]);
    }
  });
});
