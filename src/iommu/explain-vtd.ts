/** What entries of VT-d structures say, in words (iommu.md 2.2 to 2.5), with what makes them reserved or invalid. */
import { hex64 } from '../core/u64.js';
import {
  above,
  type Explain,
  flags,
  has,
  inPage,
  listed,
  NOT_PRESENT,
  type Passed,
  pageOrTable,
  refusedFor,
  reserved,
  TABLE,
} from './explain-bits.js';
import { bits } from './unit.js';

/** Bits of ECAP, and of CAP, that entries depend on. */
const ECAP = { DT: 2, PT: 6, SC: 7, NEST: 26, SRS: 31, EAFS: 34, SLADS: 45, FLTS: 47, SMPWCS: 48 } as const;
const CAP = { SLLPS_2M: 34, SLLPS_1G: 35, FL1GP: 56, FL5LP: 60 } as const;

const ALL = (1n << 64n) - 1n;
const TRANSLATION_TYPES = ['second stage', 'second stage, ATS', 'pass-through', 'reserved'];
const PGTT: Readonly<Record<number, string>> = {
  1: 'first stage',
  2: 'second stage',
  3: 'nested',
  4: 'pass-through',
};

function lacks({ facts }: Passed, name: keyof typeof ECAP): boolean {
  return !has(facts.ecap, ECAP[name]);
}

/** The reference leaves most of scalable mode alone. */
function isLax({ facts }: Passed): boolean {
  return facts.isQemu && facts.isScalable;
}

/** `AW 2: 4 levels`, and whether the unit has them. */
function widthText(width: number, { facts }: Passed): string {
  if (width < 1 || width > 3) return `AW ${width}: reserved`;
  return `AW ${width}: ${width + 2} levels${has(facts.cap, 8 + width) ? '' : ' (not in CAP.SAGAW)'}`;
}

// ------------------------------------------------------------------------------------------------------ paging entries
export function secondStage(entry: bigint, level: number, passed: Passed): string {
  const { facts } = passed;
  if ((entry & 3n) === 0n) return `${NOT_PRESENT}: neither R nor W`;
  const isPage = level === 1 || has(entry, 7);
  const isLarge = level > 1 && has(entry, 7);
  const bit = level === 2 ? CAP.SLLPS_2M : CAP.SLLPS_1G;
  const isOffered = !isLarge || (level <= 3 && has(facts.cap, bit));
  const low = isLarge ? inPage(level) & TABLE : 0n;
  const takesSnoop = isPage && (!lacks(passed, 'SC') || isLax(passed));
  return listed(
    isLarge && level > 3 ? 'PS' : pageOrTable(entry, level, isPage),
    flags(entry, { 0: 'R', 1: 'W', 8: 'A', 9: 'D', 11: 'SNP', 62: 'TM' }),
    passed.hasSecondFlags && !has(entry, 8) ? 'A clear' : '',
    reserved(entry, above(facts.width) | low),
    refusedFor(
      !isOffered && (level > 3 ? 'PS at this level' : 'a page size that is not in CAP.SLLPS'),
      has(entry, 11) && !takesSnoop && (isPage ? 'SNP without ECAP.SC' : 'SNP of a table'),
      has(entry, 62) && (!isPage || lacks(passed, 'DT')) && (isPage ? 'TM without ECAP.DT' : 'TM of a table'),
    ),
  );
}

function firstStage(entry: bigint, level: number, { facts, hasExtended }: Passed): string {
  if (!has(entry, 0)) return NOT_PRESENT;
  const isPage = level === 1 || has(entry, 7);
  const isLarge = level > 1 && has(entry, 7);
  const names = { 1: 'R/W', 2: 'U/S', 5: 'A', 10: 'EA', 63: 'XD', ...(isPage ? { 6: 'D', 8: 'G' } : {}) };
  // Bit 12 of a large page is PAT.
  const low = isLarge ? inPage(level) & TABLE & ~0x1000n : 0n;
  return listed(
    isLarge && level > 3 ? 'PS' : pageOrTable(entry, level, isPage),
    flags(entry, names),
    has(entry, 5) ? '' : 'A clear',
    hasExtended && !has(entry, 10) ? 'EA clear' : '',
    isPage && !has(entry, 6) ? 'D clear' : '',
    reserved(entry, above(facts.width) | low),
    refusedFor(
      isLarge && level > 3 && 'PS at this level',
      isLarge && level === 3 && !has(facts.cap, CAP.FL1GP) && 'a page of 1 GiB without CAP.FL1GP',
    ),
  );
}

// ---------------------------------------------------------------------------------------------------------- structures
export function vtdRoot(entry: bigint, word: number, passed: Passed): string {
  const { isScalable, width } = passed.facts;
  if (!isScalable && word === 1) return restText(entry);
  if (!has(entry, 0)) return NOT_PRESENT;
  const wrong = isLax(passed) ? '' : reserved(entry, 0xffen | above(width) | (ALL << 52n));
  return listed(`context table ${hex64(entry & TABLE)}`, wrong);
}

/** A word that has to be 0. */
function restText(entry: bigint): string {
  return listed('reserved', entry === 0n ? '' : 'has to be 0');
}

export function vtdContext(entry: bigint, word: number, passed: Passed): string {
  if (passed.facts.isScalable) return scalableContext(entry, word, passed);
  if (word === 1)
    return listed(
      widthText(bits(entry, 0, 3), passed),
      `domain ${bits(entry, 8, 16)}`,
      reserved(entry, 0x80n | (ALL << 24n)),
    );
  if (!has(entry, 0)) return NOT_PRESENT;
  const type = bits(entry, 2, 2);
  return listed(
    `table ${hex64(entry & TABLE)}`,
    `TT ${type}: ${TRANSLATION_TYPES[type]}`,
    flags(entry, { 1: 'FPD' }),
    reserved(entry, 0xff0n | above(passed.facts.width) | (ALL << 52n)),
    refusedFor(
      type === 1 && lacks(passed, 'DT') && 'ATS without ECAP.DT',
      type === 2 && lacks(passed, 'PT') && 'pass-through without ECAP.PT',
    ),
  );
}

function scalableContext(entry: bigint, word: number, passed: Passed): string {
  if (word === 1)
    return listed(
      `RID_PASID ${bits(entry, 0, 20)}`,
      flags(entry, { 20: 'RID_PRIV' }),
      reserved(entry, ALL << 21n),
    );
  if (word > 1) return restText(entry);
  if (!has(entry, 0)) return NOT_PRESENT;
  const size = 2 ** (bits(entry, 9, 3) + 7);
  return listed(
    `PASID directory ${hex64(entry & TABLE)} of ${size}`,
    flags(entry, { 1: 'FPD', 2: 'DTE', 3: 'PASIDE', 4: 'PRE' }),
    reserved(entry, 0x1e0n | above(passed.facts.width) | (ALL << 52n)),
    refusedFor(!isLax(passed) && has(entry, 4) && !has(entry, 2) && 'PRE without DTE'),
  );
}

export function vtdDirectory(entry: bigint, _word: number, passed: Passed): string {
  if (!has(entry, 0)) return NOT_PRESENT;
  const wrong = isLax(passed) ? '' : reserved(entry, 0xffcn | above(passed.facts.width) | (ALL << 52n));
  return listed(`PASID table ${hex64(entry & TABLE)}`, flags(entry, { 1: 'FPD' }), wrong);
}

const PASID_WORDS: readonly Explain[] = [
  (entry, _word, passed) => {
    const type = bits(entry, 6, 3);
    const hasFirst = type === 1 || type === 3;
    const hasSecond = type === 2 || type === 3;
    passed.format = hasFirst ? firstStage : secondStage;
    passed.hasSecondFlags = has(entry, 9) && !passed.facts.isQemu;
    if (!has(entry, 0)) return NOT_PRESENT;
    const table = hasSecond
      ? [widthText(bits(entry, 2, 3), passed), `second-stage table ${hex64(entry & TABLE)}`]
      : [];
    const strict = !isLax(passed);
    return listed(
      `PGTT ${type}: ${PGTT[type] ?? 'reserved'}`,
      table,
      flags(entry, { 1: 'FPD', 5: 'SSEE', 9: 'SSADE' }),
      strict ? reserved(entry, 0xc00n | above(passed.facts.width) | (ALL << 52n)) : '',
      refusedFor(
        strict && has(entry, 9) && lacks(passed, 'SLADS') && 'SSADE without ECAP.SLADS',
        type === 1 && lacks(passed, 'FLTS') && 'PGTT 1 without ECAP.FLTS',
        type === 3 && lacks(passed, 'NEST') && 'PGTT 3 without ECAP.NEST',
        type === 4 && lacks(passed, 'PT') && 'PGTT 4 without ECAP.PT',
        !strict && hasFirst && 'a first stage with vtdModel qemu72',
      ),
    );
  },
  (entry, _word, passed) => {
    const strict = !isLax(passed);
    return listed(
      `domain ${bits(entry, 0, 16)}`,
      flags(entry, { 23: 'PWSNP', 24: 'PGSNP' }),
      strict ? reserved(entry, 0x7f_0000n) : '',
      refusedFor(
        strict && has(entry, 23) && lacks(passed, 'SMPWCS') && 'PWSNP without ECAP.SMPWCS',
        strict && has(entry, 24) && lacks(passed, 'SC') && 'PGSNP without ECAP.SC (pgsnpWithoutSc)',
      ),
    );
  },
  (entry, _word, passed) => {
    if (entry === 0n && passed.format !== firstStage) return 'no first stage';
    passed.hasExtended = has(entry, 7);
    const mode = bits(entry, 2, 2);
    return listed(
      `first-stage table ${hex64(entry & TABLE)}`,
      mode > 1 ? `FSPM ${mode}: reserved` : `${mode + 4} levels`,
      flags(entry, { 0: 'SRE', 1: 'ERE', 4: 'WPE', 5: 'NXE', 7: 'EAFE' }),
      reserved(entry, 0xf00n),
      refusedFor(
        has(entry, 0) && lacks(passed, 'SRS') && 'SRE without ECAP.SRS',
        has(entry, 7) && lacks(passed, 'EAFS') && 'EAFE without ECAP.EAFS',
        mode === 1 && !has(passed.facts.cap, CAP.FL5LP) && '5 levels without CAP.FL5LP',
      ),
    );
  },
];

export function vtdPasid(entry: bigint, word: number, passed: Passed): string {
  return PASID_WORDS[word]?.(entry, word, passed) ?? restText(entry);
}
