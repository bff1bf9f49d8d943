/** Who can enforce cache coherency, in the words of two Linux versions; containers, KVM's count, addresses for buffers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AmdDomainUnit } from '../../src/iommu/amd-domain-unit.js';
import { Domain, type DomainKind } from '../../src/iommu/domain.js';
import { type DomainUnit, unitCapabilities } from '../../src/iommu/domain-unit.js';
import { S390DomainUnit } from '../../src/iommu/s390-domain-unit.js';
import { SmmuDomainUnit } from '../../src/iommu/smmu-domain-unit.js';
import { PlainMemory } from '../../src/iommu/table-memory.js';
import { emulatedFile, KvmVfio, VfioContainer } from '../../src/iommu/vfio-coherency.js';
import { wbinvdLinux } from '../../src/iommu/wbinvd.js';
import { Notes, notedVtd } from './domain-lab.js';
import { ECAP, SC } from './unit-lab.js';

const TERMS = ['linux2021', 'linux612'] as const;
const memory = new PlainMemory({ bytes: 2 ** 34 });
const vtd = (sc: bigint): DomainUnit => notedVtd(memory, { ecap: ECAP | sc }).unit;
const smmu = (input: { canwbs?: boolean; coherent?: boolean } = {}): DomainUnit =>
  new SmmuDomainUnit({ hardware: new Notes(), memory, ...input });
const domainOf = (unit: DomainUnit, kind: DomainKind = 'unmanaged'): Domain =>
  new Domain({ kind, unit, memory });

describe('capabilities', () => {
  const units = (): [string, DomainUnit, [boolean, boolean], [boolean, boolean]][] => [
    // In 6.12: coherent mappings, enforcement; in 2021: the same.
    ['VT-d with SC', vtd(SC), [true, true], [true, true]],
    ['VT-d without SC', vtd(0n), [true, false], [false, false]],
    ['AMD', new AmdDomainUnit({ hardware: new Notes(), memory }), [true, true], [true, true]],
    ['SMMU', smmu(), [true, false], [true, false]],
    ['SMMU with CANWBS', smmu({ canwbs: true }), [true, true], [true, true]],
    ['SMMU without COHACC', smmu({ coherent: false }), [false, false], [false, false]],
    ['s390', new S390DomainUnit({ hardware: new Notes() }), [true, false], [true, false]],
  ];

  it.each(units())('IOM-54, IOM-50: %s', (_name, unit, today, then) => {
    const pair = ({ cacheCoherency, enforceCap }: ReturnType<typeof unitCapabilities>): boolean[] => [
      cacheCoherency,
      enforceCap,
    ];
    expect([pair(unitCapabilities(unit)), pair(unitCapabilities(unit, 'linux2021'))]).toEqual([today, then]);
    const domain = domainOf(unit);
    expect(pair(domain.capabilities)).toEqual(today);
    expect(
      pair(new Domain({ kind: 'unmanaged', unit, memory, snoopTerms: 'linux2021' }).capabilities),
    ).toEqual(then);
    domain.attach({ sid: 1 });
    // iommu.md 8.4: what the call answers is what the capability says.
    expect([domain.enforceCacheCoherency(), domain.isEnforced]).toEqual([today[1], today[1]]);
    for (const kind of ['identity', 'blocked'] as const)
      expect(domainOf(unit, kind).enforceCacheCoherency()).toBe(false);
  });

  it('IOM-54: a domain has what all of its units have', () => {
    const [strong, weak] = [vtd(SC), vtd(0n)];
    const domain = domainOf(strong);
    expect(domain.capabilities).toEqual({ cacheCoherency: true, enforceCap: true });
    domain.attach({ sid: 1 }, strong);
    domain.attach({ sid: 1 }, weak);
    expect(domain.capabilities).toEqual({ cacheCoherency: true, enforceCap: false });
    expect(domain.enforceCacheCoherency()).toBe(false);
    domain.detach({ sid: 1 }, weak);
    expect(domain.enforceCacheCoherency()).toBe(true);
  });

  it('IOM-44: a unit without snoop control cannot join a domain that enforces', () => {
    const [strong, weak] = [vtd(SC), vtd(0n)];
    const domain = domainOf(strong);
    domain.attach({ sid: 1 }, strong);
    domain.enforceCacheCoherency();
    expect(() => domain.attach({ sid: 0x108 }, weak)).toThrow(
      expect.objectContaining({
        code: 'invalid-value',
        errno: 'EINVAL',
        message: '01:01.0 cannot be attached: the domain enforces cache coherency, and its unit cannot',
      }),
    );
    expect(domain.functions).toBe(1);
    // It is free for another domain, and a strong unit may still join.
    domainOf(weak).attach({ sid: 0x108 }, weak);
    domain.attach({ sid: 1 }, vtd(SC));
    expect(domain.functions).toBe(2);
  });

  it('a unit with other tables cannot join', () => {
    const domain = domainOf(vtd(SC));
    for (const other of [smmu(), notedVtd(memory, { cap: 0xd2_008c_2226_0206n }).unit])
      expect(() => domain.attach({ sid: 1 }, other)).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
  });
});

describe('a VFIO container', () => {
  const container = (snoopTerms: (typeof TERMS)[number] = 'linux612'): VfioContainer =>
    new VfioContainer({ memory, snoopTerms });

  it.each(TERMS)('IOM-55: %s: behind snoop control every leaf has SNP, without it none', (terms) => {
    for (const sc of [SC, 0n]) {
      const one = container(terms);
      one.attach({ sid: 1 }, vtd(sc));
      one.map(0x1000, 0x4000_1000, 0x40_0000);
      one.map(0x4000_0000, 0x4000_0000, 0x4000_0000);
      const [domain] = one.domains as [Domain];
      for (const at of [0x1000, 0x20_0000, 0x40_0fff, 0x4000_0000])
        expect([sc, at, domain.lookUp(at)?.force]).toEqual([sc, at, sc !== 0n]);
    }
  });

  it('IOM-55: in 2021 a mapping that is not coherent has no SNP', () => {
    const domain = new Domain({ kind: 'unmanaged', unit: vtd(SC), memory, snoopTerms: 'linux2021' });
    domain.map(0, 0, 4096, { cache: false });
    domain.map(4096, 0, 4096, { cache: true });
    expect([domain.lookUp(0)?.force, domain.lookUp(4096)?.force]).toEqual([false, true]);
    expect(domain.enforceCacheCoherency()).toBe(false);
  });

  it.each(TERMS)(
    'IOM-56: %s: one unit without snoop control turns the answer to 0 and registers once',
    (terms) => {
      const one = container(terms);
      const kvm = new KvmVfio();
      const [strong, weak] = [vtd(SC), vtd(0n)];
      one.attach({ sid: 1 }, strong);
      one.map(0, 0x4000_0000, 0x1000);
      kvm.add(one.fileOf({ sid: 1 }, strong));
      expect([one.dmaCcIommu, one.domains.length, kvm.noncoherentCount]).toEqual([true, 1, 0]);
      one.attach({ sid: 2 }, weak);
      const file = one.fileOf({ sid: 2 }, weak);
      kvm.add(file);
      expect([one.dmaCcIommu, one.domains.length]).toEqual([false, 2]);
      one.attach({ sid: 3 }, weak);
      kvm.add(one.fileOf({ sid: 3 }, weak));
      // Domains that are alike are shared; the new one has the mappings, without SNP.
      expect(one.domains.map((domain) => [domain.functions, domain.lookUp(0)?.force])).toEqual([
        [1, true],
        [2, false],
      ]);
      expect([kvm.noncoherentCount, kvm.edges]).toEqual([1, { registered: 1, unregistered: 0 }]);
      expect(wbinvdLinux({ units: one.units })).toEqual({
        answer: true,
        why: 'the unit of 00:00.2 cannot enforce cache coherency',
      });
    },
  );

  it('IOM-49: the count moves at its edges alone', () => {
    const kvm = new KvmVfio();
    const bad = [emulatedFile('a'), emulatedFile('b')];
    const good = { name: 'c', isEnforcedCoherent: true };
    const counts = [
      () => kvm.add(good),
      ...bad.map((file) => () => kvm.add(file)),
      ...bad.map((file) => () => kvm.remove(file)),
      () => kvm.add(bad[0] as (typeof bad)[0]),
      () => kvm.remove(good),
      () => kvm.remove(bad[0] as (typeof bad)[0]),
    ].map((change) => {
      change();
      return [kvm.noncoherentCount, kvm.edges.registered, kvm.edges.unregistered];
    });
    expect(counts).toEqual([
      [0, 0, 0],
      [1, 1, 0],
      [1, 1, 0],
      [1, 1, 0],
      [0, 1, 1],
      [1, 2, 1],
      [1, 2, 1],
      [0, 2, 2],
    ]);
    for (const platform of ['arm64', 's390x'] as const) {
      const other = new KvmVfio(platform);
      other.add(emulatedFile('a'));
      expect([other.noncoherentCount, other.edges.registered]).toEqual([0, 0]);
    }
  });

  it('IOM-57: a flush of the guest costs one on every dirty CPU, and nothing while the count is 0', () => {
    const kvm = new KvmVfio();
    expect(kvm.guestWbinvd(8, 1000)).toBe(0);
    kvm.add(emulatedFile('gpu'));
    expect([kvm.guestWbinvd(8), kvm.guestWbinvd(3, 1000)]).toEqual([8, 3000]);
    expect(kvm.flushes).toEqual({ instructions: 2001, hostFlushes: 3008 });
    expect(() => kvm.guestWbinvd(0)).toThrow(/^dirtyCpus: /);
  });

  it('IOM-59: a device behind an emulated IOMMU counts as not enforced', () => {
    const kvm = new KvmVfio();
    kvm.add(emulatedFile('mdev'));
    expect(kvm.noncoherentCount).toBe(1);
    expect(wbinvdLinux({ units: [{ name: 'mdev', enforceCap: false }] }).answer).toBe(true);
  });

  it('iommu.md 13: refuses units without coherent mappings, today', () => {
    const unit = smmu({ coherent: false });
    expect(() => container().attach({ sid: 1 }, unit)).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
    const old = container('linux2021');
    old.attach({ sid: 1 }, unit);
    expect(old.dmaCcIommu).toBe(false);
  });

  it('maps in all domains or in none, and never in a reserved range', () => {
    const one = container();
    const [strong, weak] = [vtd(SC), vtd(0n)];
    one.attach({ sid: 1 }, strong);
    one.attach({ sid: 2 }, weak);
    const refused = (errno: string): unknown => expect.objectContaining({ errno });
    expect(() => one.map(0xfee0_0000, 0, 0x1000)).toThrow(refused('EINVAL'));
    expect(() => one.map(0xfedf_f000, 0, 0x2000)).toThrow('0xfee00000 to 0xfeefffff is reserved');
    expect(() => one.map(0xfef0_0000 - 0x1000, 0, 0x1000)).toThrow(refused('EINVAL'));
    one.map(0xfedf_f000, 0x4000_0000, 0x1000);
    one.map(0xfef0_0000, 0x4000_0000, 0x3000);
    expect(() => one.map(0xfef0_2000, 0, 0x1000)).toThrow(refused('EEXIST'));
    expect(() => one.unmap(0xfef0_1000, 0x1000)).toThrow(refused('EINVAL'));
    expect(() => one.map(0, 1n << 48n, 0x1000)).toThrow(refused('ERANGE'));
    expect(one.domains.map((domain) => domain.lookUp(0))).toEqual([null, null]);
    expect(one.unmap(0xf000_0000, 0x1000_0000)).toBe(0x4000n);
    expect(one.domains.map(({ isEmpty }) => isEmpty)).toEqual([true, true]);
    one.map(0x5000, 0x5000, 0x1000);
    one.detach({ sid: 1 }, strong);
    expect([one.domains.length, one.domains[0]?.isEmpty, one.dmaCcIommu]).toEqual([1, false, false]);
    expect(() => one.detach({ sid: 1 }, strong)).toThrow(refused('ENOENT'));
    one.detach({ sid: 2 }, weak);
    one.attach({ sid: 1 }, strong);
    expect(one.domains.map(({ isEmpty }) => isEmpty)).toEqual([true]);
  });

  it('undoes what it did when the tables of one unit are too narrow', () => {
    const narrow = notedVtd(memory, { cap: 0xd2_008c_2226_0206n }).unit;
    const one = container();
    one.attach({ sid: 1 }, vtd(SC));
    one.attach({ sid: 2 }, narrow);
    const refused = expect.objectContaining({ errno: 'ERANGE' });
    expect(() => one.map(1n << 40n, 0, 0x1000)).toThrow(refused);
    expect(one.domains.map(({ isEmpty }) => isEmpty)).toEqual([true, true]);
    one.detach({ sid: 2 }, narrow);
    one.map(1n << 40n, 0, 0x1000);
    expect(() => one.attach({ sid: 2 }, narrow)).toThrow(refused);
    expect(one.domains).toHaveLength(1);
    // The function is free.
    domainOf(narrow).attach({ sid: 2 }, narrow);
  });

  it('a unit whose reserved range is mapped cannot join', () => {
    const one = container();
    one.attach({ sid: 1 }, vtd(SC));
    one.map(0x800_0000, 0, 0x1000);
    expect(() => one.attach({ sid: 2 }, smmu())).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
    expect(one.domains).toHaveLength(1);
  });
});

describe('addresses for buffers', () => {
  it('come from the top, aligned, apart from each other and from what is reserved', () => {
    const want = fc.record({
      pages: fc.integer({ min: 1, max: 300 }),
      limit: fc.constantFrom(0xffff_ffffn, 0xfef0_1fffn, 0xfee0_0000n, 0xff_ffff_ffffn),
      frees: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(want, { maxLength: 12 }), (wants) => {
        const unit = vtd(SC);
        const domain = domainOf(unit, 'dma');
        domain.attach({ sid: 1 }, unit);
        let taken: { first: bigint; last: bigint }[] = [];
        for (const { pages, limit, frees } of wants) {
          const bytes = 4096n * BigInt(pages);
          const first = domain.mapDma(0x4000_0000, bytes, { limit });
          const last = first + bytes - 1n;
          let align = 4096n;
          while (align < bytes) align *= 2n;
          const isFree = (at: bigint): boolean =>
            [...taken, { first: 0xfee0_0000n, last: 0xfeef_ffffn }].every(
              (range) => range.last < at || at + bytes - 1n < range.first,
            );
          expect([first % align, last <= limit, isFree(first)]).toEqual([0n, true, true]);
          // No place above it was free.
          for (let at = first + align; at + bytes - 1n <= limit && at < first + 600n * align; at += align)
            expect([first, at, isFree(at)]).toEqual([first, at, false]);
          taken.push({ first, last });
          if (frees) {
            const [gone] = taken as [(typeof taken)[0]];
            domain.unmapDma(gone.first);
            taken = taken.slice(1);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('end', () => {
    const domain = domainOf(vtd(SC), 'dma');
    const refused = (errno: string): unknown => expect.objectContaining({ errno });
    expect(domain.mapDma(0, 0x1000, { limit: 0x2fff })).toBe(0x2000n);
    expect(domain.mapDma(0, 0x1000, { limit: 0x2fff })).toBe(0x1000n);
    // Page 0 is never given.
    expect(() => domain.mapDma(0, 0x1000, { limit: 0x2fff })).toThrow(refused('ENOSPC'));
    expect(() => domain.mapDma(0, 0x1000, { limit: 0x10 })).toThrow(refused('ENOSPC'));
    expect(() => domain.mapDma(0, 0)).toThrow(/^bytes: /);
    expect(() => domain.unmapDma(0x3000)).toThrow(refused('ENOENT'));
    // A mapping that is refused leaves no address taken.
    expect(() => domain.mapDma(0x800, 0x1000)).toThrow(refused('EINVAL'));
    expect(domain.mapDma(0, 0x1000)).toBe(0xffff_f000n);
  });

  it('each call belongs to a kind', () => {
    const [dma, unmanaged, identity] = (['dma', 'unmanaged', 'identity'] as const).map((kind) =>
      domainOf(vtd(SC), kind),
    ) as [Domain, Domain, Domain];
    const refused = expect.objectContaining({ errno: 'EINVAL', field: 'kind' });
    expect(() => dma.map(0, 0, 4096)).toThrow(refused);
    expect(() => dma.unmap(0, 4096)).toThrow(refused);
    expect(() => unmanaged.mapDma(0, 4096)).toThrow(refused);
    expect(() => unmanaged.unmapDma(0)).toThrow(refused);
    expect(() => identity.map(0, 0, 4096)).toThrow(refused);
    expect(identity.lookUp(0x1234)).toMatchObject({ address: 0x1234, read: true, write: true });
    expect(domainOf(vtd(SC), 'blocked').lookUp(0x1234)).toBeNull();
    expect(() => domainOf(vtd(SC), 'other' as DomainKind)).toThrow(/^kind: /);
  });
});
