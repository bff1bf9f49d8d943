/** Which units a domain can be attached to, and what a unit takes back of its tables (iommu.md 8.5, 4.4). */
import { describe, expect, it } from 'vitest';
import { AmdDomainUnit } from '../../src/iommu/amd-domain-unit.js';
import { Domain } from '../../src/iommu/domain.js';
import type { DomainUnit } from '../../src/iommu/domain-unit.js';
import { SmmuDomainUnit } from '../../src/iommu/smmu-domain-unit.js';
import { PlainMemory } from '../../src/iommu/table-memory.js';
import { Notes, notedVtd } from './domain-lab.js';
import { CAP } from './unit-lab.js';

const SID = 0x21;

describe('units with tables of the same kind', () => {
  const memory = new PlainMemory();
  const PAGES_2M = CAP & ~(1n << 35n);
  const PAGES_4K = CAP & ~(3n << 34n);
  const vtd = (cap = CAP, hostWidth = 48): DomainUnit => notedVtd(memory, { cap, hostWidth }).unit;
  const smmu = (outputWidth: number, stage: 1 | 2 = 1, width = 40): DomainUnit =>
    new SmmuDomainUnit({ hardware: new Notes(), memory, outputWidth, stage, width });
  const amd = (hostWidth: number): DomainUnit =>
    new AmdDomainUnit({ hardware: new Notes(), memory, hostWidth });

  const cases: [string, () => DomainUnit, () => DomainUnit, boolean][] = [
    ['the same', vtd, vtd, true],
    ['more address bits', () => vtd(CAP, 46), () => vtd(CAP, 48), true],
    ['fewer address bits', () => vtd(CAP, 48), () => vtd(CAP, 46), false],
    ['without pages of 1 GiB', vtd, () => vtd(PAGES_2M), false],
    ['without large pages', () => vtd(PAGES_2M), () => vtd(PAGES_4K), false],
    ['with pages of 1 GiB as well', () => vtd(PAGES_2M), vtd, true],
    ['fewer levels', vtd, () => vtd(CAP & ~(1n << 10n)), false],
    ['SMMU, fewer output bits', () => smmu(44), () => smmu(42), false],
    ['SMMU, more output bits', () => smmu(42), () => smmu(44), true],
    ['SMMU, stage 2 with fewer output bits', () => smmu(44, 2), () => smmu(42, 2), false],
    ['SMMU, the other stage', () => smmu(44, 1), () => smmu(44, 2), false],
    ['AMD, fewer address bits', () => amd(48), () => amd(46), false],
    ['AMD, more address bits', () => amd(46), () => amd(48), true],
    ['of another architecture', vtd, () => amd(48), false],
  ];

  it.each(cases)(
    'iommu.md 8.5: a domain joins a unit that reads its tables: %s, %#',
    (_name, own, other, isTaken) => {
      const [home, away] = [own(), other()];
      expect(away.takes(home.format)).toBe(isTaken);
      const domain = new Domain({ kind: 'unmanaged', unit: home, memory });
      domain.attach({ sid: SID });
      if (isTaken) {
        domain.attach({ sid: SID }, away);
        expect(domain.functions).toBe(2);
        return;
      }
      expect(() => domain.attach({ sid: SID }, away)).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
      expect(domain.functions).toBe(1);
      // It is free for a domain of its own.
      const second = new Domain({ kind: 'unmanaged', unit: away, memory });
      second.attach({ sid: SID });
      expect(second.functions).toBe(1);
    },
  );
});

describe('tables of context descriptors', () => {
  it('iommu.md 4.4: they come back when the last function of a stream goes, and not before', () => {
    const memory = new PlainMemory();
    const unit = new SmmuDomainUnit({ hardware: new Notes(), memory, pasidBits: 4 });
    const [plain, process] = [1, 2].map(() => new Domain({ kind: 'unmanaged', unit, memory })) as [
      Domain,
      Domain,
    ];
    const idle = memory.blocks;
    for (let round = 0; round < 3; round++) {
      plain.attach({ sid: SID });
      expect(memory.blocks).toBe(idle + 1);
      process.attach({ sid: SID, pasid: 3 });
      expect(memory.blocks).toBe(idle + 1);
      plain.attach({ sid: SID + 1 });
      expect(memory.blocks).toBe(idle + 2);
      plain.detach({ sid: SID });
      expect(memory.blocks).toBe(idle + 2);
      process.detach({ sid: SID, pasid: 3 });
      expect(memory.blocks).toBe(idle + 1);
      plain.detach({ sid: SID + 1 });
      expect(memory.blocks).toBe(idle);
    }
  });
});
