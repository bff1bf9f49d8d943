/** The snoop decision against the rows of iommu.md 8.3 and 8.4, over all combinations of its inputs. */
import { describe, expect, it } from 'vitest';
import { decideSnoop, type SnoopPath, type VtdSnoopInput } from '../../src/iommu/snoop.js';

const BITS = [false, true] as const;
const KINDS = ['memory', 'msi', 'io', 'config', 'message'] as const;
const PATHS: readonly SnoopPath[] = [
  'off',
  'pass-through',
  'second-stage',
  'first-stage',
  'nested',
  'translated',
];
/** A fault of the walk: the write permission is missing. */
const DENIED = 5;

/** Every input there is, defaults of the options: 5 kinds, 6 paths, 8 bits, with and without a fault of the walk. */
function everyInput(): VtdSnoopInput[] {
  const all: VtdSnoopInput[] = [];
  for (const kind of KINDS)
    for (const path of PATHS)
      for (let bits = 0; bits < 512; bits++) {
        const bit = (n: number): boolean => ((bits >> n) & 1) === 1;
        all.push({
          arch: 'vtd',
          kind,
          path,
          en: bit(0),
          want: bit(1),
          honour: bit(2),
          isScalable: bit(3),
          sc: bit(4),
          snp: bit(5),
          pgsnp: bit(6),
          granted: bit(7),
          walkFault: bit(8) ? DENIED : undefined,
        });
      }
  return all;
}

interface Row {
  readonly row: number;
  readonly mem: 0 | 1;
  readonly en?: 0 | 1;
  readonly want?: 0 | 1;
  readonly path?: readonly SnoopPath[];
  readonly sc?: 0 | 1;
  /** Of the column SNP: a test of both bits. */
  readonly force?: (snp: boolean, pgsnp: boolean) => boolean;
  readonly honour?: 0 | 1;
  readonly walk?: true;
  readonly out: { nsOut: boolean; coherent: boolean; stripped: boolean } | 'reserved' | 'walk';
}

const snpIs =
  (wanted: boolean) =>
  (snp: boolean): boolean =>
    snp === wanted;
const out = (nsOut: number, coherent: 'yes' | 'no', stripped: 'yes' | 'no'): Row['out'] => ({
  nsOut: nsOut === 1,
  coherent: coherent === 'yes',
  stripped: stripped === 'yes',
});
const SECOND: readonly SnoopPath[] = ['second-stage'];

/** The 17 rows of iommu.md 8.3, column by column. */
const ROWS: readonly Row[] = [
  { row: 1, mem: 0, out: out(0, 'yes', 'no') },
  { row: 2, mem: 1, en: 0, force: snpIs(false), out: out(0, 'yes', 'no') },
  { row: 3, mem: 1, en: 1, want: 0, force: snpIs(false), out: out(0, 'yes', 'no') },
  { row: 4, mem: 1, path: SECOND, sc: 0, force: snpIs(true), out: 'reserved' },
  { row: 5, mem: 1, en: 1, want: 1, path: ['off'], honour: 1, out: out(1, 'no', 'no') },
  { row: 6, mem: 1, en: 1, want: 1, path: ['off'], honour: 0, out: out(1, 'yes', 'no') },
  { row: 7, mem: 1, en: 1, want: 1, path: ['pass-through'], honour: 1, out: out(1, 'no', 'no') },
  { row: 8, mem: 1, en: 1, want: 1, path: ['pass-through'], honour: 0, out: out(1, 'yes', 'no') },
  { row: 9, mem: 1, en: 1, want: 1, path: SECOND, force: snpIs(false), honour: 1, out: out(1, 'no', 'no') },
  { row: 10, mem: 1, en: 1, want: 1, path: SECOND, force: snpIs(false), honour: 0, out: out(1, 'yes', 'no') },
  { row: 11, mem: 1, en: 1, want: 1, path: SECOND, sc: 1, force: snpIs(true), out: out(0, 'yes', 'yes') },
  { row: 12, mem: 1, want: 0, path: SECOND, sc: 1, force: snpIs(true), out: out(0, 'yes', 'no') },
  {
    row: 13,
    mem: 1,
    en: 1,
    want: 1,
    path: ['first-stage'],
    sc: 1,
    force: (_snp, pgsnp) => pgsnp,
    out: out(0, 'yes', 'yes'),
  },
  {
    row: 14,
    mem: 1,
    en: 1,
    want: 1,
    path: ['first-stage'],
    force: (_snp, pgsnp) => !pgsnp,
    honour: 1,
    out: out(1, 'no', 'no'),
  },
  {
    row: 15,
    mem: 1,
    en: 1,
    want: 1,
    path: ['nested'],
    sc: 1,
    force: (snp, pgsnp) => snp || pgsnp,
    out: out(0, 'yes', 'yes'),
  },
  {
    row: 16,
    mem: 1,
    en: 1,
    want: 1,
    path: ['nested'],
    sc: 1,
    force: (snp, pgsnp) => !snp && !pgsnp,
    honour: 1,
    out: out(1, 'no', 'no'),
  },
  { row: 17, mem: 1, walk: true, out: 'walk' },
];

/** PGSNP as the unit sees it: only where a PASID entry was read. */
const seenPgsnp = ({ isScalable, pgsnp, path }: VtdSnoopInput): boolean =>
  isScalable && pgsnp && path !== 'off' && path !== 'translated';

function fits(row: Row, input: VtdSnoopInput): boolean {
  const is = (wanted: 0 | 1 | undefined, value: boolean): boolean =>
    wanted === undefined || (wanted === 1) === value;
  return (
    is(row.mem, input.kind === 'memory') &&
    is(row.en, input.en) &&
    is(row.want, input.want) &&
    is(row.sc, input.sc) &&
    is(row.honour, input.honour) &&
    (row.path?.includes(input.path) ?? true) &&
    (row.force?.(input.snp, seenPgsnp(input)) ?? true) &&
    (row.mem === 0 || (row.walk ?? false) === (input.walkFault !== undefined))
  );
}

const MEMORY: VtdSnoopInput = {
  arch: 'vtd',
  kind: 'memory',
  path: 'second-stage',
  en: true,
  want: true,
  honour: true,
  isScalable: false,
  sc: true,
  snp: false,
  pgsnp: false,
  granted: false,
};

describe('the snoop decision', () => {
  it.each(ROWS)('IOM-41: row $row of iommu.md 8.3 holds for every input that fits it', (row) => {
    let count = 0;
    for (const input of everyInput()) {
      // PGSNP without snoop control is a fault of its own, and pass-through may have PGSNP: no row speaks of these.
      if (input.kind === 'memory' && seenPgsnp(input) && (!input.sc || input.path === 'pass-through'))
        continue;
      if (!fits(row, input)) continue;
      count++;
      const decision = decideSnoop(input);
      if (row.out === 'walk') expect([input, decision.fault]).toEqual([input, DENIED]);
      else if (row.out === 'reserved')
        expect([input, decision.fault]).toEqual([input, input.isScalable ? 0x7a : 0xc]);
      else {
        expect([input, decision]).toMatchObject([input, { fault: null, ...row.out }]);
      }
    }
    expect(count).toBeGreaterThan(0);
  });

  it('IOM-41: where no row speaks, the formulas of iommu.md 8.2 do', () => {
    const silent = new Set<string>();
    for (const input of everyInput()) {
      const decision = decideSnoop(input);
      expect(decision.ns0).toBe(input.kind === 'memory' && input.en && input.want);
      if (decision.fault === null) {
        expect(decision.nsOut).toBe(decision.ns0 && !decision.force);
        expect(decision.coherent).toBe(!(decision.nsOut && input.honour));
        expect(decision.stripped).toBe(decision.ns0 && !decision.nsOut);
      }
      if (ROWS.some((row) => fits(row, input))) continue;
      silent.add(
        [
          input.path,
          decision.fault === null ? (decision.force ? 'forced' : 'as sent') : decision.fault.toString(16),
        ].join(' '),
      );
    }
    expect([...silent].sort()).toEqual(
      [
        // The rows leave out SNP without Enable No Snoop, platforms that do not honour it on some paths, and PGSNP
        // without snoop control.
        'off as sent',
        'pass-through 5a',
        'pass-through as sent',
        'pass-through forced',
        'translated as sent',
        'translated forced',
        'second-stage forced',
        'first-stage 5a',
        'first-stage as sent',
        'first-stage forced',
        'nested 5a',
        'nested 7a',
        'nested as sent',
        'nested c',
        'nested forced',
      ].sort(),
    );
  });

  it('IOM-39: with Enable No Snoop clear nothing has the attribute on the wire', () => {
    for (const input of everyInput()) if (!input.en) expect(decideSnoop(input).ns0).toBe(false);
    expect(decideSnoop(MEMORY).ns0).toBe(true);
  });

  it('IOM-40: interrupts, I/O, configuration and messages never have it, and never fault for it', () => {
    for (const input of everyInput()) {
      if (input.kind === 'memory') continue;
      expect(decideSnoop(input)).toEqual({
        fault: null,
        ns0: false,
        force: false,
        nsOut: false,
        coherent: true,
        stripped: false,
      });
    }
  });

  it('IOM-42: PGSNP forces in the first stage, SNP or PGSNP in nested translation', () => {
    const scalable = { ...MEMORY, isScalable: true };
    for (const snp of BITS)
      for (const pgsnp of BITS) {
        expect(decideSnoop({ ...scalable, path: 'first-stage', snp, pgsnp })).toMatchObject({ force: pgsnp });
        expect(decideSnoop({ ...scalable, path: 'nested', snp, pgsnp })).toMatchObject({
          force: snp || pgsnp,
        });
        expect(decideSnoop({ ...scalable, snp, pgsnp })).toMatchObject({ force: snp });
      }
  });

  it('IOM-45: a platform that does not honour it makes all coherent, and changes nothing else', () => {
    for (const input of everyInput()) {
      if (!input.honour) continue;
      const [yes, no] = [decideSnoop(input), decideSnoop({ ...input, honour: false })];
      if (yes.fault !== null) expect(no).toEqual(yes);
      else expect(no).toEqual({ ...yes, coherent: true });
    }
  });

  it('IOM-60: of the combinations of sent, forced and honoured only (yes, no, yes) is not coherent', () => {
    const found: boolean[][] = [];
    for (const want of BITS)
      for (const snp of BITS)
        for (const honour of BITS) {
          const decision = decideSnoop({ ...MEMORY, want, snp, honour });
          if (decision.fault === null && !decision.coherent) found.push([want, snp, honour]);
        }
    expect(found).toEqual([[true, false, true]]);
  });

  it('options: PGSNP without snoop control, and in pass-through', () => {
    const bare = { ...MEMORY, isScalable: true, sc: false, pgsnp: true, path: 'first-stage' } as const;
    expect(decideSnoop(bare)).toEqual({ fault: 0x5a, ns0: true });
    expect(decideSnoop({ ...bare, pgsnpWithoutSc: 'ignore' })).toMatchObject({ fault: null, nsOut: true });
    const passing = { ...bare, sc: true, path: 'pass-through' } as const;
    expect(decideSnoop(passing)).toMatchObject({ stripped: true });
    expect(decideSnoop({ ...passing, passThroughSnoop: 'asSent' })).toMatchObject({ nsOut: true });
    expect(decideSnoop({ ...MEMORY, path: 'translated', granted: true })).toMatchObject({ stripped: true });
  });

  it('says which architectures there are', () => {
    const other = { ...MEMORY, arch: 'riscv' } as unknown as VtdSnoopInput;
    expect(() => decideSnoop(other)).toThrow('arch: "riscv" is not valid; allowed: vtd, amd, smmu, s390');
  });

  describe('of other architectures', () => {
    const request = { kind: 'memory', en: true, want: true, honour: true } as const;

    it('IOM-50: an SMMU without CANWBS lets No Snoop through; with it all is coherent', () => {
      for (const honour of BITS)
        for (const want of BITS)
          for (const mapping of ['write-back', 'bypass', 'non-cacheable', 'device'] as const) {
            const input = { arch: 'smmu', ...request, want, honour, mapping } as const;
            const isUncached = mapping === 'non-cacheable' || mapping === 'device';
            expect(decideSnoop({ ...input, canwbs: false })).toMatchObject({
              nsOut: want,
              stripped: false,
              coherent: !isUncached && !(want && honour),
            });
            expect(decideSnoop({ ...input, canwbs: true })).toMatchObject({ nsOut: want, coherent: true });
            expect(decideSnoop({ ...input, kind: 'msi', canwbs: false })).toMatchObject({
              nsOut: false,
              coherent: true,
            });
          }
    });

    it('IOM-50: s390 ignores No Snoop, unless the option passes it on', () => {
      const input = { arch: 's390', ...request } as const;
      expect(decideSnoop(input)).toMatchObject({ nsOut: true, coherent: true, stripped: false });
      expect(decideSnoop({ ...input, s390NoSnoop: 'passed' })).toMatchObject({ coherent: false });
      expect(decideSnoop({ ...input, s390NoSnoop: 'passed', honour: false })).toMatchObject({
        coherent: true,
      });
    });

    it('iommu.md 8.4: FC of an AMD leaf strips No Snoop, where tables are used', () => {
      const input = { arch: 'amd', ...request } as const;
      expect(decideSnoop({ ...input, fc: true, path: 'tables' })).toMatchObject({
        stripped: true,
        coherent: true,
      });
      expect(decideSnoop({ ...input, fc: false, path: 'tables' })).toMatchObject({
        nsOut: true,
        coherent: false,
      });
      expect(decideSnoop({ ...input, fc: true, path: 'as-sent' })).toMatchObject({ nsOut: true });
      expect(decideSnoop({ ...input, want: false, fc: true, path: 'tables' })).toMatchObject({
        stripped: false,
      });
    });
  });
});
