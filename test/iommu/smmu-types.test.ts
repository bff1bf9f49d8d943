/** SMMUv3: memory types of pages, and which of them are cacheable (iommu.md 4.2, 4.3, 8.4). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { SmmuOptions } from '../../src/iommu/smmu-unit.js';
import { errorOf } from '../machine/support.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  BLOCK,
  DESCRIPTOR,
  LEAF,
  NESTED,
  nest,
  OTHER,
  SID,
  Smmu,
  Stage2,
  stage2Word,
  TOP_2,
} from './smmu-lab.js';
import { IOVA, PAGE, UnitLab } from './unit-lab.js';

/** Attributes of MAIR as the architecture names them: outer half, then inner half. */
const HALVES: readonly string[] = [
  'device',
  'write-through transient',
  'write-through transient',
  'write-through transient',
  'non-cacheable',
  'write-back transient',
  'write-back transient',
  'write-back transient',
  'write-through',
  'write-through',
  'write-through',
  'write-through',
  'write-back',
  'write-back',
  'write-back',
  'write-back',
];
const isWriteBack = (half: number): boolean => HALVES[half]?.startsWith('write-back') ?? false;
const ALL = 0xffff_ffff_ffff_ffffn;
/** A page of stage 2 without its MemAttr. */
const LEAF_2 = 0x4c3n;

describe.each(BUILDS)('memory types of an SMMUv3 on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const mair = (one: Smmu, value: bigint): void => one.poke(DESCRIPTOR + 24n, value);

  /** Is the page at `address` cacheable: twice, as the walk and the TLB say. */
  function types(one: Smmu, address = IOVA, isWrite = false): readonly unknown[] {
    one.unit.invalidateTlb();
    one.unit.invalidateConfig();
    return ['miss', 'hit'].map((iotlb) => {
      const answer = one.unit.translate({ sid: SID, address, isWrite });
      expect(answer).toMatchObject({ kind: 'translated', iotlb });
      return answer.kind === 'translated' && answer.isCacheable;
    });
  }

  it('IOM-50: stage 1: an attribute of MAIR is cacheable when both halves are write-back', () => {
    const one = new Smmu(core);
    one.map(IOVA, PAGE | LEAF);
    let count = 0;
    for (let attribute = 0; attribute < 256; attribute++) {
      mair(one, BigInt(attribute));
      const expected = isWriteBack(attribute >> 4) && isWriteBack(attribute & 15);
      if (expected) count++;
      expect([attribute, ...types(one)]).toEqual([attribute, expected, expected]);
    }
    expect(count).toBe(49);
  });

  it('takes the attribute that AttrIndx names, of pages and of blocks', () => {
    const one = new Smmu(core);
    for (let index = 0n; index < 8n; index++) {
      one.map(IOVA, PAGE | LEAF | (index << 2n));
      one.map(OTHER & ~0x1f_ffffn, (PAGE & ~0x1f_ffffn) | BLOCK | (index << 2n), 2);
      for (const [value, expected] of [
        [0xffn << (8n * index), true],
        [ALL ^ (0xffn << (8n * index)), false],
      ] as const) {
        mair(one, value);
        expect([index, ...types(one), ...types(one, OTHER)]).toEqual([index, ...Array(4).fill(expected)]);
      }
    }
  });

  it('stage 2: MemAttr 0xF alone is cacheable', () => {
    const one = new Smmu(core);
    one.stream(SID, 1n | (6n << 1n), 0n, stage2Word(), TOP_2);
    const second = new Stage2(one);
    for (let attribute = 0n; attribute < 16n; attribute++) {
      second.map(OTHER, PAGE | LEAF_2 | (attribute << 2n));
      expect([attribute, ...types(one, OTHER)]).toEqual([attribute, attribute === 15n, attribute === 15n]);
    }
  });

  it('both stages: cacheable when both are, whatever the memory type of their tables', () => {
    const one = new Smmu(core);
    const second = nest(one);
    const middle = 0x9000_0000n;
    one.map(IOVA, middle | LEAF | (1n << 2n));
    for (const first of [0xffn, 0x44n])
      for (const attribute of [15n, 5n, 1n])
        for (const tables of [15n, 5n]) {
          mair(one, first << 8n);
          // What is below 2 MiB is there twice: for the descriptor, and for the tables that it names.
          for (const from of [0n, NESTED]) second.map(from, 0x4c1n | (tables << 2n), 2);
          second.map(middle, PAGE | LEAF_2 | (attribute << 2n));
          const expected = first === 0xffn && attribute === 15n;
          expect([first, attribute, tables, ...types(one)]).toEqual([
            first,
            attribute,
            tables,
            expected,
            expected,
          ]);
        }
  });

  it('keeps the types of a context until it is invalidated', () => {
    const one = new Smmu(core);
    mair(one, 0xffn);
    one.map(IOVA, PAGE | LEAF);
    expect(types(one)).toEqual([true, true]);
    mair(one, 0n);
    one.unit.invalidateTlb();
    expect(one.unit.translate({ sid: SID, address: IOVA, isWrite: false })).toMatchObject({
      isCacheable: true,
    });
    expect(types(one)).toEqual([false, false]);
  });

  it('leaves types as they come in where nothing is translated', () => {
    const one = new Smmu(core);
    const go = (): unknown => one.unit.translate({ sid: SID, address: IOVA, isWrite: false });
    one.stream(SID, 1n | (4n << 1n));
    expect(go()).toMatchObject({ path: 'pass-through', isCacheable: true });
    one.unit.isOn = false;
    expect(go()).toMatchObject({ path: 'off', isCacheable: true });
  });

  it('with CANWBS every page is cacheable', () => {
    const one = new Smmu(core, {}, 16, { canwbs: true });
    one.map(IOVA, PAGE | LEAF);
    mair(one, 0x44n);
    expect(types(one)).toEqual([true, true]);
    const wrong = { canwbs: 1 } as unknown as { canwbs: boolean };
    expect(errorOf(() => new Smmu(core, {}, 16, wrong))).toMatchObject({ field: 'canwbs' });
  });

  it.each([
    ['spec', 3],
    ['qemu72', 2],
  ] as const)('IOM-62: %s reads so many further words of the context descriptor', (smmuModel, words) => {
    const options: Partial<SmmuOptions> = { smmuModel };
    const one = new Smmu(core, options);
    one.map(IOVA, PAGE | LEAF);
    one.go(IOVA);
    const read = one.unit.steps.filter(({ what }) => what === 'context descriptor');
    expect(read.map(({ address }) => BigInt(address))).toEqual(
      [0n, 8n, 16n, 24n].slice(0, words + 1).map((offset) => DESCRIPTOR + offset),
    );
    // The reference has no memory types: MAIR is 0 here.
    expect(types(one)).toEqual(smmuModel === 'qemu72' ? [true, true] : [false, false]);
  });
});
