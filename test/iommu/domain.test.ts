/** Domains on real units: what functions reach, what is forgotten, and who enforces coherency (iommu.md 8.5). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultOptions } from '../../src/base/options.js';
import { Core } from '../../src/core/core.js';
import { AmdDomainUnit } from '../../src/iommu/amd-domain-unit.js';
import { amdHardware } from '../../src/iommu/amd-hardware.js';
import { AmdUnit } from '../../src/iommu/amd-unit.js';
import { Domain } from '../../src/iommu/domain.js';
import type { DomainUnit, FunctionId } from '../../src/iommu/domain-unit.js';
import { SmmuDomainUnit } from '../../src/iommu/smmu-domain-unit.js';
import { SmmuUnit } from '../../src/iommu/smmu-unit.js';
import type { TranslationUnit } from '../../src/iommu/unit.js';
import { VtdDomainUnit } from '../../src/iommu/vtd-domain-unit.js';
import { VtdUnit } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { CoreMemory, LAB_BYTES } from './domain-lab.js';
import { CAP, ECAP, hex, SC } from './unit-lab.js';

const K4 = 0x1000n;
const M2 = 0x20_0000n;
const G1 = 0x4000_0000n;
const SID = 0x20;
/** Scalable mode with snoop control, as QEMU 7.2 has it, and PASIDs. */
const SCALABLE = 0x4800_80f0_0f4an | SC | (1n << 40n) | (19n << 35n);

/** ECAP.FLTS. */
const FIRST_STAGE = 1n << 47n;

interface Lab {
  readonly memory: CoreMemory;
  readonly hardware: TranslationUnit;
  readonly unit: DomainUnit;
}

const KINDS = [
  'VT-d, legacy',
  'VT-d, scalable',
  'VT-d, first stage',
  'VT-d, caching mode',
  'AMD',
  'AMD, all sizes',
  'SMMU, stage 1',
  'SMMU, stage 2',
] as const;

function labOf(core: Core, kind: (typeof KINDS)[number], ecap = ECAP | SC): Lab {
  const memory = new CoreMemory(core);
  const options = { ...defaultOptions(), iotlbEntries: 64 };
  if (kind === 'SMMU, stage 1' || kind === 'SMMU, stage 2') {
    const hardware = new SmmuUnit(core, 0, { outputWidth: 44 }, options);
    const stage = kind === 'SMMU, stage 1' ? 1 : 2;
    return { memory, hardware, unit: new SmmuDomainUnit({ hardware, memory, stage }) };
  }
  if (kind === 'AMD' || kind === 'AMD, all sizes') {
    const hardware = new AmdUnit(core, 0, {}, options);
    const sizes = kind === 'AMD' ? 'natural' : 'all';
    return {
      memory,
      hardware,
      unit: new AmdDomainUnit({ hardware: amdHardware(hardware), memory, sizes }),
    };
  }
  const isFirst = kind === 'VT-d, first stage';
  const mode = kind === 'VT-d, scalable' || isFirst ? 'scalable' : 'legacy';
  const registers = {
    cap: kind === 'VT-d, caching mode' ? CAP | (1n << 7n) : CAP,
    ecap: mode === 'scalable' ? SCALABLE | (isFirst ? FIRST_STAGE : 0n) : ecap,
    hostWidth: 48,
  };
  const hardware = new VtdUnit(core, 0, registers, options);
  return {
    memory,
    hardware,
    unit: new VtdDomainUnit({ hardware, memory, mode, stage: isFirst ? 'first' : 'second', ...registers }),
  };
}

/** Where an access goes, or `refused`. */
function go(
  hardware: TranslationUnit,
  address: bigint,
  isWrite = false,
  fn: FunctionId = { sid: SID },
): string {
  const { sid, pasid } = fn;
  const answer = hardware.translate({ sid, address, isWrite, ...(pasid === undefined ? {} : { pasid }) });
  return answer.kind === 'translated' ? hex(BigInt(answer.address)) : 'refused';
}

const step = fc.record({
  isMap: fc.boolean(),
  iova: fc.constantFrom(K4, 2n * K4, M2 - K4, M2, M2 + K4, 2n * M2, G1 - M2, G1),
  address: fc.constantFrom(G1, G1 + K4, G1 + M2, 2n * G1),
  bytes: fc.constantFrom(K4, 2n * K4, M2, M2 + K4, 2n * M2),
  write: fc.boolean(),
});

describe.each(BUILDS)('domains on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await Core.load(module(), LAB_BYTES, 0, 0, (x) => x.unitReserve(1, 4096, 64));
  });

  it.each(KINDS)('%s: after each map and unmap the unit answers as a list of pages does', (kind) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), (steps) => {
        const { memory, hardware, unit } = labOf(core, kind);
        const domain = new Domain({ kind: 'unmanaged', unit, memory });
        domain.attach({ sid: SID });
        let model: { iova: bigint; address: bigint; bytes: bigint; write: boolean }[] = [];
        const probes = new Set([0n, K4, M2, M2 + K4, G1]);
        for (const { isMap, iova, address, bytes, write } of steps) {
          const over = model.filter((one) => one.iova < iova + bytes && iova < one.iova + one.bytes);
          if (isMap && over.length === 0) {
            domain.map(iova, address, bytes, { write });
            model.push({ iova, address, bytes, write });
          } else if (isMap) expect(() => domain.map(iova, address, bytes)).toThrow('is mapped already');
          else
            for (const one of over) {
              expect(domain.unmap(one.iova, one.bytes)).toBe(one.bytes);
              model = model.filter((other) => other !== one);
            }
          for (const probe of [iova, iova + bytes - K4, iova + bytes]) probes.add(probe);
          for (const probe of probes) {
            const one = model.find((leaf) => leaf.iova <= probe && probe < leaf.iova + leaf.bytes);
            const to = one === undefined ? 'refused' : hex(one.address + probe - one.iova + 8n);
            expect([probe, go(hardware, probe + 8n)]).toEqual([probe, to]);
            expect([probe, go(hardware, probe + 8n, true)]).toEqual([probe, one?.write ? to : 'refused']);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it.each(KINDS)('%s: functions are refused, passed or translated by the domain they are in', (kind) => {
    const { memory, hardware, unit } = labOf(core, kind);
    const of = (name: 'unmanaged' | 'identity' | 'blocked'): Domain =>
      new Domain({ kind: name, unit, memory });
    const [first, second, identity, blocked] = [
      of('unmanaged'),
      of('unmanaged'),
      of('identity'),
      of('blocked'),
    ];
    first.map(M2, G1, K4);
    second.map(M2, 2n * G1, K4);
    const other = { sid: SID + 8 };
    expect(go(hardware, M2)).toBe('refused');
    for (const [domain, expected] of [
      [first, hex(G1)],
      [second, hex(2n * G1)],
      [identity, hex(M2)],
      [blocked, 'refused'],
      [first, hex(G1)],
    ] as const) {
      domain.attach({ sid: SID });
      expect([domain.kind, go(hardware, M2), go(hardware, M2, true, other)]).toEqual([
        domain.kind,
        expected,
        'refused',
      ]);
      expect(domain.functions).toBe(1);
      domain.detach({ sid: SID });
      expect([go(hardware, M2), domain.functions]).toEqual(['refused', 0]);
    }
    first.attach({ sid: SID });
    second.attach(other);
    expect([go(hardware, M2), go(hardware, M2, false, other)]).toEqual([hex(G1), hex(2n * G1)]);
    expect(() => second.attach({ sid: SID })).toThrow(
      expect.objectContaining({ errno: 'EBUSY', message: '00:04.0 is attached already' }),
    );
    expect(() => second.detach({ sid: SID })).toThrow(expect.objectContaining({ errno: 'ENOENT' }));
    expect(() => first.destroy()).toThrow(expect.objectContaining({ errno: 'EBUSY' }));
    first.detach({ sid: SID });
    expect([go(hardware, M2), go(hardware, M2, false, other)]).toEqual(['refused', hex(2n * G1)]);
    first.destroy();
  });

  it('a function uses another domain for a PASID', () => {
    const { memory, hardware, unit } = labOf(core, 'VT-d, scalable');
    const [plain, process] = [1, 2].map(() => new Domain({ kind: 'unmanaged', unit, memory })) as [
      Domain,
      Domain,
    ];
    plain.map(M2, G1, K4);
    process.map(M2, 2n * G1, K4);
    plain.attach({ sid: SID });
    process.attach({ sid: SID, pasid: 77 });
    expect([go(hardware, M2), go(hardware, M2, false, { sid: SID, pasid: 77 })]).toEqual([
      hex(G1),
      hex(2n * G1),
    ]);
    expect(go(hardware, M2, false, { sid: SID, pasid: 78 })).toBe('refused');
    process.detach({ sid: SID, pasid: 77 });
    expect([go(hardware, M2), go(hardware, M2, false, { sid: SID, pasid: 77 })]).toEqual([
      hex(G1),
      'refused',
    ]);
  });

  it.each(['VT-d, legacy', 'VT-d, scalable'] as const)(
    'IOM-43: %s: enforcing fails with mappings; without, all later leaves have SNP',
    (kind) => {
      const { memory, hardware, unit } = labOf(core, kind);
      const domain = new Domain({ kind: 'unmanaged', unit, memory });
      domain.attach({ sid: SID });
      const forces = (address: bigint): unknown => hardware.translate({ sid: SID, address, isWrite: false });
      domain.map(0, G1, K4);
      expect(forces(0n)).toMatchObject({ forcesSnoop: false });
      expect([domain.enforceCacheCoherency(), domain.isEnforced]).toEqual([false, false]);
      domain.unmap(0, K4);
      expect([domain.enforceCacheCoherency(), domain.isEnforced]).toEqual([true, true]);
      domain.map(K4, G1 + K4, M2 * 2n);
      domain.map(G1, 2n * G1, G1, { cache: false });
      for (const at of [K4, M2, G1]) {
        expect(forces(at)).toMatchObject({ kind: 'translated', forcesSnoop: true });
        expect(domain.lookUp(at)).toMatchObject({ force: true });
      }
      // Once on, it stays on whatever is mapped.
      expect(domain.enforceCacheCoherency()).toBe(true);
    },
  );

  it('IOM-43: a unit without snoop control has no leaf with SNP', () => {
    const { memory, hardware, unit } = labOf(core, 'VT-d, legacy', ECAP);
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    domain.attach({ sid: SID });
    expect(domain.enforceCacheCoherency()).toBe(false);
    domain.map(K4, G1, K4);
    expect(hardware.translate({ sid: SID, address: K4, isWrite: false })).toMatchObject({
      kind: 'translated',
      forcesSnoop: false,
    });
  });

  it('gives buffers addresses that translate', () => {
    const { memory, hardware, unit } = labOf(core, 'VT-d, legacy');
    const domain = new Domain({ kind: 'dma', unit, memory });
    domain.attach({ sid: SID });
    const iova = domain.mapDma(G1, 3n * K4, { write: false });
    expect(iova).toBe(0xffff_c000n);
    expect([go(hardware, iova + 2n * K4 + 5n), go(hardware, iova, true)]).toEqual([
      hex(G1 + 2n * K4 + 5n),
      'refused',
    ]);
    domain.unmapDma(iova);
    expect(go(hardware, iova)).toBe('refused');
    expect(domain.isEmpty).toBe(true);
  });
});
