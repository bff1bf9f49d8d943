/** What `ztlp iommu walk` says about entries that stop a request, held against the fault that the core answers. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ready } from '../../src/index.js';
import { type WalkReport, walkTables } from '../../src/report/iommu-walk.js';
import type { WalkInput } from '../../src/report/iommu-walk-input.js';
import { formatWalks } from '../../src/report/iommu-walk-text.js';
import { PLAIN } from '../../src/report/style.js';
import { readBuild } from '../support/builds.js';

describe('what entries say about a refusal', () => {
  beforeAll(async () => {
    await ready(readBuild('release'));
  });

  type Entries = Readonly<Record<string, string | number | bigint>>;

  function reportOf(
    unit: WalkInput['unit'],
    root: bigint,
    entries: Entries,
    write = [false],
  ): Promise<WalkReport> {
    return walkTables({
      unit,
      root,
      streams: unit.kind === 'smmuv3' ? 6 : undefined,
      options: {},
      images: [],
      entries: Object.entries(entries).map(([at, entry]) => [BigInt(at), BigInt(entry)] as const),
      requests: write.map((isWrite) => ({ sid: 0, address: 0x10n, isWrite, isPrivileged: false })),
    });
  }

  /** What one read of requester 0 at 0x10 prints: the steps' meanings, the end, and all of it. */
  async function said(
    unit: WalkInput['unit'],
    root: bigint,
    entries: Entries,
  ): Promise<{ end: string; steps: string[]; text: string }> {
    const report = await reportOf(unit, root, entries);
    const text = formatWalks(report, PLAIN, Number.POSITIVE_INFINITY).trimEnd();
    const steps = report.walks.flatMap((walk) => walk.steps.map(({ meaning }) => meaning));
    return { end: text.split('\n').at(-1) ?? '', steps, text };
  }
  const LEGACY = { '0x1000': '0x2001', '0x2000': '0x3001', '0x2008': '0x102' };
  const SCALABLE = {
    '0x1000': '0x2001',
    '0x2000': '0x3001',
    '0x3000': '0x4001',
    '0x4000': '0x41',
    '0x4010': '0x5000',
  };
  const ECAP = 0x1_a998_84f0_0fcan;
  const scalable = (less = 0n) => ({ kind: 'vtd', ecap: ECAP & ~less }) as const;

  it.each([
    ['0x2008', '0x1000102', 'AW 2: 4 levels, domain 1, reserved: bit 24', '0xb'],
    ['0x2000', '0x80000000003011', 'TT 0: second stage, reserved: bits 4, 55', '0xb'],
    ['0x2008', '0x103', 'AW 3: 5 levels (not in CAP.SAGAW), domain 1', '0x3'],
    ['0x2000', '0x3005', 'TT 1: second stage, ATS, refused for ATS without ECAP.DT', '0x3'],
    ['0x3000', '0x800000004003', 'R, W, reserved: bit 47', '0xc'],
    ['0x3000', '0x4803', 'SNP, refused for SNP of a table', '0xc'],
    ['0x1000', '0x2ff1', 'context table 0x2000, reserved: bits 4-11', '0xa'],
    ['0x1008', '0x1', 'reserved, has to be 0', '0xa'],
  ])('VT-d legacy: %s: %s is said to be %s', async (address, entry, meaning, code) => {
    const { end, steps } = await said({ kind: 'vtd' }, 0x1000n, { ...LEGACY, [address]: entry });
    expect(steps.some((step) => step.endsWith(meaning))).toBe(true);
    expect(end).toContain(`-> fault ${code}:`);
  });

  it.each([
    [0n, '0x4000', '0x61', 'PGTT 1: first stage, SSEE', '0x71'],
    [0n, '0x4000', '0x441', 'reserved: bit 10', '0x5a'],
    [1n << 45n, '0x4000', '0x241', 'refused for SSADE without ECAP.SLADS', '0x5a'],
    [1n << 48n, '0x4008', '0x800000', 'PWSNP, refused for PWSNP without ECAP.SMPWCS', '0x5a'],
    [1n << 7n, '0x4008', '0x1000000', 'refused for PGSNP without ECAP.SC (pgsnpWithoutSc)', '0x5a'],
    [1n << 31n, '0x4010', '0x5001', 'refused for SRE without ECAP.SRS', '0x5a'],
    [0n, '0x4010', '0x5080', 'refused for EAFE without ECAP.EAFS', '0x5a'],
    [0n, '0x4010', '0x5004', 'refused for 5 levels without CAP.FL5LP', '0x5b'],
    [1n << 47n, '0x4000', '0x41', 'refused for PGTT 1 without ECAP.FLTS', '0x5b'],
    [1n << 26n, '0x4000', '0x90c9', 'refused for PGTT 3 without ECAP.NEST', '0x5b'],
    [0n, '0x2000', '0x3011', 'refused for PRE without DTE', '0x43'],
    [0n, '0x3000', '0x4005', 'reserved: bit 2', '0x52'],
  ])(
    'VT-d scalable without ECAP bits %s: %s: %s is said to be %s',
    async (less, address, entry, meaning, code) => {
      const entries = { ...SCALABLE, '0x5000': '0', [address]: entry };
      const { end, steps } = await said(scalable(less), 0x1400n, entries);
      expect(steps.some((step) => step.endsWith(meaning))).toBe(true);
      expect(end).toContain(`-> fault ${code}:`);
    },
  );

  it('VT-d: modes of RTADDR that the unit has not, and abort mode', async () => {
    const end = async (root: bigint, ecap: bigint): Promise<string> =>
      (await said({ kind: 'vtd', ecap }, root, LEGACY)).end;
    expect(await end(0x1400n, 0xf0_0fcan)).toContain('0x30: RTADDR: table mode that the unit has not');
    expect(await end(0x1400n, 0xf0_0fcan)).toContain('ECAP.SMTS');
    expect(await end(0x1c00n, 0xf0_0fcan | (1n << 52n))).toContain('0x33: RTADDR: abort mode');
  });

  it('VT-d: which flags of a first stage are missing, and why they cannot be set', async () => {
    const { end, steps } = await said(scalable(), 0x1400n, {
      ...SCALABLE,
      '0x5000': '0x6007',
      '0x6000': '0x7027',
      '0x7000': '0x8027',
      '0x8000': '0x20067',
    });
    expect(end).toBe(
      '-> fault 0x90: first-stage entry lacks A, EA or D, and the unit may not set it (PWSNP, ECAP.SMPWCS)',
    );
    expect(steps.slice(-4)).toEqual([
      'table 0x6000, R/W, U/S, A clear',
      'table 0x7000, R/W, U/S, A',
      'table 0x8000, R/W, U/S, A',
      '4 KiB page 0x20000, R/W, U/S, A, D',
    ]);
  });

  const SMMU = { kind: 'smmuv3' } as const;
  /** Word 2 of an entry with stage 2: T0SZ 25, SL0 1, 40 bits, AArch64, S2R. */
  const STAGE_2 = (25n << 32n) | (1n << 38n) | (2n << 48n) | (1n << 51n) | (1n << 58n);
  /** A context: T0SZ 25, EPD1, V, 40 bits, AA64, R, A. */
  const CONTEXT = 25n | (1n << 30n) | (1n << 31n) | (2n << 32n) | (1n << 41n) | (1n << 45n) | (1n << 46n);

  it.each([
    [STAGE_2 ^ (1n << 51n), 'refused for S2AA64 0'],
    [STAGE_2 | (1n << 57n), 'refused for S2S 1'],
    [STAGE_2 | (1n << 52n), 'refused for S2ENDI 1'],
    [STAGE_2 | (1n << 46n), 'refused for a granule other than 4 KiB'],
    [STAGE_2 ^ (9n << 32n), 'refused for S2T0SZ outside 20 to 39'],
    [STAGE_2 | (3n << 38n), 'refused for S2SL0 that does not go with S2T0SZ'],
    [STAGE_2 | (1n << 56n), 'refused for S2HA without hardwareFlags'],
    [STAGE_2 | (1n << 55n), 'refused for S2HD without hardwareFlags dirty'],
  ])('SMMUv3: C_BAD_STE of word 2 %s: %s', async (word, meaning) => {
    const { end, steps } = await said(SMMU, 0x1000n, {
      '0x1000': '0xd',
      '0x1010': `${word}`,
      '0x1018': '0x4000',
    });
    expect(end).toBe('-> fault 0x4: C_BAD_STE');
    expect(steps[2]).toContain(meaning);
  });

  it.each([
    ['0x1000', `${0xbn | (21n << 59n)}`, 'refused for S1CDMax above 20'],
    ['0x1008', '0x8000000', 'refused for S1STALLD 1'],
  ])('SMMUv3: C_BAD_STE of %s: %s', async (address, word, meaning) => {
    const { end, steps } = await said(SMMU, 0x1000n, { '0x1000': '0x200b', [address]: word });
    expect(end).toBe('-> fault 0x4: C_BAD_STE');
    expect(steps.some((step) => step.endsWith(meaning))).toBe(true);
  });

  it.each([
    [CONTEXT ^ (1n << 31n), 'not valid: V 0'],
    [CONTEXT ^ (1n << 41n), 'refused for AA64 0'],
    [CONTEXT ^ (1n << 46n), 'refused for A 0'],
    [CONTEXT | (1n << 44n), 'refused for S 1'],
    [CONTEXT | (1n << 15n), 'refused for ENDI 1'],
    [CONTEXT | (1n << 43n), 'refused for HA without hardwareFlags'],
    [CONTEXT | (1n << 42n), 'refused for HD without hardwareFlags dirty'],
    [CONTEXT | (1n << 6n), 'TG0 64 KiB'],
    [CONTEXT ^ 24n, 'refused for T0SZ outside 16 to 39'],
    [CONTEXT ^ (1n << 30n), 'refused for T1SZ outside 16 to 39 and TG1 other than 4 KiB'],
  ])('SMMUv3: C_BAD_CD of word 0 %s: %s', async (word, meaning) => {
    const { end, steps } = await said(SMMU, 0x1000n, {
      '0x1000': '0x200b',
      '0x2000': `${word}`,
      '0x2008': '0x4000',
    });
    expect(end).toBe('-> fault 0xa: C_BAD_CD');
    expect(steps.some((step) => step.includes(meaning))).toBe(true);
  });

  it('SMMUv3: nothing is refused of what the unit takes, events say stage, class and address, levels are those of Arm', async () => {
    const one = await said(SMMU, 0x1000n, {
      '0x1000': '0x200b',
      '0x2000': `${CONTEXT}`,
      '0x2008': '0x4000',
      '0x4000': '0x5003',
      '0x5000': '0',
    });
    expect(one.steps.filter((step) => step.includes('refused'))).toEqual([]);
    expect(one.end).toBe('-> fault 0x10: F_TRANSLATION, stage 1, CLASS IN');
    expect(one.text).toMatch(/^level 1 +0x4000 .*\nlevel 2 +0x5000 /m);
    const two = await said(SMMU, 0x1000n, {
      '0x1000': '0xd',
      '0x1010': `${STAGE_2}`,
      '0x1018': '0x4000',
      '0x4000': '0',
    });
    expect(two.steps.filter((step) => step.includes('refused'))).toEqual([]);
    expect(two.end).toBe('-> fault 0x10: F_TRANSLATION, stage 2, CLASS IN, IPA 0x10');
    const quiet = await said(SMMU, 0x1000n, {
      '0x1000': '0xd',
      '0x1010': `${STAGE_2 ^ (1n << 58n)}`,
      '0x1018': '0x4000',
      '0x4000': '0',
    });
    expect(quiet.end).toBe('-> fault 0x10: F_TRANSLATION (not recorded)');
  });

  it('SMMUv3: a list of descriptors is not taken for a descriptor', async () => {
    const head = `${0x200bn | (1n << 4n) | (8n << 59n)}`;
    const { steps } = await said(SMMU, 0x1000n, {
      '0x1000': head,
      '0x1008': '2',
      '0x2000': '0x3001',
      '0x3000': `${CONTEXT}`,
    });
    expect(steps).toContain('descriptors at 0x3000');
    expect(steps.some((step) => step.startsWith('T0SZ 25, TG0 4 KiB, EPD1'))).toBe(true);
  });

  it('AMD-Vi: flags of IO_PAGE_FAULT, reserved bits, and room for the event of every request', async () => {
    const entries = { '0x1000': '0x6000000000002203', '0x1008': '1', '0x2000': '0x4000000000009001' };
    const { end } = await said({ kind: 'amd' }, 0x1000n, entries);
    expect(end).toBe('-> fault 0x2: IO_PAGE_FAULT, PR, PE');
    const many = await reportOf({ kind: 'amd' }, 0x1000n, entries, Array<boolean>(12).fill(false));
    expect(
      many.walks.map(({ event, answer }) => [event?.join(), 'isRecorded' in answer && answer.isRecorded]),
    ).toEqual(Array(12).fill(['PR,PE', true]));
    const wrong = await said({ kind: 'amd' }, 0x1000n, { ...entries, '0x2000': '0x6010000000009001' });
    expect(wrong.end).toBe('-> fault 0x2: IO_PAGE_FAULT, PR, RZ');
    expect(wrong.steps.at(-1)).toBe('4 KiB page 0x9000, IR, IW, reserved: bit 52');
    const mode = await said({ kind: 'amd' }, 0x1000n, { ...entries, '0x1000': '0x6000000000002283' });
    expect(mode.end).toContain('ILLEGAL_DEV_TABLE_ENTRY, RZ');
    expect(mode.steps[0]).toContain('refused for HAD without hardwareFlags');
  });
});
