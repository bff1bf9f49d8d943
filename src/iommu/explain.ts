/** What entries of translation structures say, in words: for the steps of a walk (iommu.md 2 to 4). */
import { hex64 } from '../core/u64.js';
import { bits, type UnitKind, type WalkStep } from './unit.js';

/** A step with what its entry says. */
export interface ExplainedStep extends WalkStep {
  readonly meaning: string;
}

const TABLE = 0x000f_ffff_ffff_f000n;

function has(value: bigint, bit: number): boolean {
  return bits(value, bit, 1) === 1;
}

/** The names whose bit is set, or `none`. */
function flags(value: bigint, names: Readonly<Record<number, string>>, none = ''): string[] {
  const found = Object.entries(names).flatMap(([bit, name]) => (has(value, Number(bit)) ? [name] : []));
  return found.length === 0 && none !== '' ? [none] : found;
}

function listed(...parts: readonly (string | readonly string[])[]): string {
  return parts
    .flat()
    .filter((part) => part !== '')
    .join(', ');
}

/** What a walk has passed: what its paging entries are is said by the structures before them. */
interface Passed {
  format: (entry: bigint, level: number) => string;
  isScalable: boolean;
}

type Explain = (entry: bigint, word: number, passed: Passed) => string;

const NOT_PRESENT = 'not present';

// ------------------------------------------------------------------------------------------------------ paging entries
function pageOrTable(entry: bigint, level: number, isPage: boolean): string {
  if (!isPage) return `table ${hex64(entry & TABLE)}`;
  return `${pageName(3 + 9 * level)} page ${hex64(entry & TABLE & ~((1n << BigInt(3 + 9 * level)) - 1n))}`;
}

/** `4 KiB`, `2 MiB`, from the logarithm of the bytes. */
export function pageName(lg2: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  return `${2 ** (lg2 % 10)} ${units[Math.floor(lg2 / 10)]}`;
}

function secondStage(entry: bigint, level: number): string {
  if ((entry & 3n) === 0n) return `${NOT_PRESENT}: neither R nor W`;
  const isPage = level === 1 || has(entry, 7);
  return listed(
    pageOrTable(entry, level, isPage),
    flags(entry, { 0: 'R', 1: 'W', 8: 'A', 9: 'D', 11: 'SNP', 62: 'TM' }),
  );
}

function firstStage(entry: bigint, level: number): string {
  if (!has(entry, 0)) return NOT_PRESENT;
  const isPage = level === 1 || has(entry, 7);
  const names = { 1: 'R/W', 2: 'U/S', 5: 'A', 10: 'EA', 63: 'XD', ...(isPage ? { 6: 'D', 8: 'G' } : {}) };
  return listed(pageOrTable(entry, level, isPage), flags(entry, names));
}

function amdPage(entry: bigint, level: number): string {
  if (!has(entry, 0)) return NOT_PRESENT;
  const next = bits(entry, 9, 3);
  const names = { 5: 'A', 6: 'D', 59: 'U', 60: 'FC', 61: 'IR', 62: 'IW' };
  if (next !== 0 && next !== 7)
    return listed(`table ${hex64(entry & TABLE)} of level ${next}`, flags(entry, names));
  let lg2 = 3 + 9 * level;
  if (next === 7) for (lg2 = 13; lg2 < 52 && has(entry, lg2 - 1); lg2++);
  const first = entry & TABLE & ~((1n << BigInt(lg2)) - 1n);
  return listed(`${pageName(lg2)} page ${hex64(first)}`, flags(entry, names));
}

function lpaeKind(entry: bigint, level: number): 'page' | 'table' | undefined {
  const type = bits(entry, 0, 2);
  if (level === 1) return type === 3 ? 'page' : undefined;
  if (type === 3) return 'table';
  return type === 1 && level <= 3 ? 'page' : undefined;
}

function armAddress(entry: bigint, level: number, kind: 'page' | 'table'): string {
  return pageOrTable(entry & 0x0000_ffff_ffff_f000n, level, kind === 'page');
}

function armStage1(entry: bigint, level: number): string {
  const kind = lpaeKind(entry, level);
  if (kind === undefined) return has(entry, 0) ? 'reserved type' : 'not valid';
  if (kind === 'table') {
    const names = { 59: 'PXNTable', 60: 'XNTable', 61: 'APTable[0]', 62: 'APTable[1]', 63: 'NSTable' };
    return listed(armAddress(entry, level, kind), flags(entry, names));
  }
  const names = {
    6: 'AP[1]',
    7: 'AP[2]',
    10: 'AF',
    11: 'nG',
    51: 'DBM',
    52: 'contiguous',
    53: 'PXN',
    54: 'UXN',
  };
  return listed(armAddress(entry, level, kind), `AttrIndx ${bits(entry, 2, 3)}`, flags(entry, names));
}

function armStage2(entry: bigint, level: number): string {
  const kind = lpaeKind(entry, level);
  if (kind === undefined) return has(entry, 0) ? 'reserved type' : 'not valid';
  if (kind === 'table') return armAddress(entry, level, kind);
  const memory = `MemAttr ${bits(entry, 2, 4)}`;
  return listed(
    armAddress(entry, level, kind),
    memory,
    flags(entry, { 6: 'read', 7: 'write', 10: 'AF', 51: 'DBM' }),
  );
}

// --------------------------------------------------------------------------------------------------------------- VT-d
const TRANSLATION_TYPES = ['second stage', 'second stage, ATS', 'pass-through', 'reserved'];
const PGTT: Readonly<Record<number, string>> = {
  1: 'first stage',
  2: 'second stage',
  3: 'nested',
  4: 'pass-through',
};

function vtdContext(entry: bigint, word: number, passed: Passed): string {
  if (passed.isScalable) return vtdScalableContext(entry, word);
  if (word === 1) {
    const width = bits(entry, 0, 3);
    return listed(
      width >= 1 && width <= 3 ? `AW ${width}: ${width + 2} levels` : `AW ${width}: reserved`,
      `domain ${bits(entry, 8, 16)}`,
    );
  }
  if (!has(entry, 0)) return NOT_PRESENT;
  const type = bits(entry, 2, 2);
  return listed(
    `table ${hex64(entry & TABLE)}`,
    `TT ${type}: ${TRANSLATION_TYPES[type]}`,
    flags(entry, { 1: 'FPD' }),
  );
}

function vtdScalableContext(entry: bigint, word: number): string {
  if (word === 1) return listed(`RID_PASID ${bits(entry, 0, 20)}`, flags(entry, { 20: 'RID_PRIV' }));
  if (word > 1) return 'reserved';
  if (!has(entry, 0)) return NOT_PRESENT;
  const size = 2 ** (bits(entry, 9, 3) + 7);
  return listed(
    `PASID directory ${hex64(entry & TABLE)} of ${size}`,
    flags(entry, { 1: 'FPD', 2: 'DTE', 3: 'PASIDE', 4: 'PRE' }),
  );
}

function vtdPasid(entry: bigint, word: number, passed: Passed): string {
  if (word === 0) {
    const type = bits(entry, 6, 3);
    passed.format = type === 1 || type === 3 ? firstStage : secondStage;
    if (!has(entry, 0)) return NOT_PRESENT;
    const names = { 1: 'FPD', 5: 'SSEE', 9: 'SSADE' };
    const table =
      type === 2 || type === 3
        ? [`AW ${bits(entry, 2, 3)}`, `second-stage table ${hex64(entry & TABLE)}`]
        : [];
    return listed(`PGTT ${type}: ${PGTT[type] ?? 'reserved'}`, table, flags(entry, names));
  }
  if (word === 1) return listed(`domain ${bits(entry, 0, 16)}`, flags(entry, { 23: 'PWSNP', 24: 'PGSNP' }));
  if (word > 2) return 'reserved';
  const levels = bits(entry, 2, 2) + 4;
  const names = { 0: 'SRE', 1: 'ERE', 4: 'WPE', 5: 'NXE', 7: 'EAFE' };
  return listed(`first-stage table ${hex64(entry & TABLE)}`, `${levels} levels`, flags(entry, names));
}

function present(what: string): Explain {
  return (entry) =>
    has(entry, 0) ? listed(`${what} ${hex64(entry & TABLE)}`, flags(entry, {})) : NOT_PRESENT;
}

// ----------------------------------------------------------------------------------------------------------- AMD and SMMU
function amdDevice(entry: bigint, word: number): string {
  if (word === 1) return listed(`domain ${bits(entry, 0, 16)}`, flags(entry, { 32: 'IOTLB' }));
  if (word > 1) return '';
  if (!has(entry, 0)) return 'V = 0: requests pass';
  const names = { 1: 'TV', 61: 'IR', 62: 'IW' };
  return listed(`mode ${bits(entry, 9, 3)}`, `table ${hex64(entry & TABLE)}`, flags(entry, names));
}

const CONFIGS: Readonly<Record<number, string>> = {
  4: 'bypass',
  5: 'stage 1',
  6: 'stage 2',
  7: 'stage 1 and 2',
};

function smmuStream(entry: bigint, word: number, passed: Passed): string {
  if (word === 0) {
    const config = bits(entry, 1, 3);
    passed.format = config === 6 ? armStage2 : armStage1;
    if (!has(entry, 0)) return 'not valid';
    const context =
      (entry & 0x000f_ffff_ffff_ffc0n) === 0n ? '' : `context ${hex64(entry & 0x000f_ffff_ffff_ffc0n)}`;
    return listed(`config ${config}: ${CONFIGS[config] ?? 'abort'}`, context);
  }
  if (word === 1)
    return listed(
      `S1DSS ${bits(entry, 0, 2)}`,
      flags(entry, { 27: 'S1STALLD' }),
      `EATS ${bits(entry, 28, 2)}`,
    );
  if (word === 2)
    return listed(`VMID ${bits(entry, 0, 16)}`, `S2T0SZ ${bits(entry, 32, 6)}`, `SL0 ${bits(entry, 38, 2)}`);
  return `stage 2 table ${hex64(entry & 0x000f_ffff_ffff_fff0n)}`;
}

function smmuDescriptor(entry: bigint, word: number): string {
  if (word === 0) {
    if (!has(entry, 31)) return 'not valid';
    return listed(
      `T0SZ ${bits(entry, 0, 6)}`,
      `ASID ${bits(entry, 48, 16)}`,
      flags(entry, { 14: 'EPD0', 30: 'EPD1', 41: 'AA64', 45: 'R', 46: 'A' }),
    );
  }
  const table = entry & 0x000f_ffff_ffff_fff0n;
  return word < 3
    ? listed(`table ${word - 1} ${hex64(table)}`, flags(entry, { 1: 'HAD' }))
    : `MAIR ${hex64(entry)}`;
}

function streamList(entry: bigint): string {
  const span = bits(entry, 0, 5);
  return span === 0 ? 'not valid' : `${2 ** (span - 1)} streams at ${hex64(entry & 0x000f_ffff_ffff_ffc0n)}`;
}

/** Bytes of a structure, so that its words can be counted, and what they say. */
const STRUCTURES: Readonly<Record<string, readonly [bytes: number, explain: Explain]>> = {
  context: [32, vtdContext],
  'PASID directory': [8, present('PASID table')],
  PASID: [64, vtdPasid],
  device: [32, amdDevice],
  'stream list': [8, streamList],
  stream: [64, smmuStream],
  'context descriptor': [64, smmuDescriptor],
};

const FIRST_FORMATS: Readonly<Record<UnitKind, Passed['format']>> = {
  vtd: secondStage,
  amd: amdPage,
  smmuv3: armStage1,
};
const SECOND_FORMATS: Readonly<Record<UnitKind, Passed['format']>> = {
  vtd: secondStage,
  amd: amdPage,
  smmuv3: armStage2,
};

/** The steps of one walk of a unit of `kind`, explained. `isScalable`: of VT-d in scalable mode. */
export function explainSteps(
  kind: UnitKind,
  steps: readonly WalkStep[],
  isScalable: boolean,
): ExplainedStep[] {
  const passed: Passed = { format: FIRST_FORMATS[kind], isScalable };
  return steps.map((step) => ({ ...step, meaning: explain(kind, step, passed) }));
}

function explain(kind: UnitKind, { what, address, entry }: WalkStep, passed: Passed): string {
  const value = BigInt(entry);
  const level = /^(second-stage )?level (\d+)$/.exec(what);
  if (level !== null)
    return (level[1] === undefined ? passed.format : SECOND_FORMATS[kind])(value, Number(level[2]));
  if (what === 'root') {
    if (!passed.isScalable && (BigInt(address) & 8n) !== 0n) return 'reserved';
    return present('context table')(value, 0, passed);
  }
  const structure = STRUCTURES[what];
  if (structure === undefined) return '';
  const [bytes, tell] = structure;
  const size = what === 'context' && !passed.isScalable ? 16 : bytes;
  return tell(value, (Number(BigInt(address) & 0xfffn) % size) / 8, passed);
}

// -------------------------------------------------------------------------------------------------------------- faults
const VTD_REASONS: Readonly<Record<number, string>> = {
  1: 'root entry not present',
  2: 'context entry not present',
  3: 'context entry invalid, or its table unreadable',
  4: 'address beyond the width of the unit or of the tables',
  5: 'write not permitted',
  6: 'read not permitted',
  7: 'paging entry unreadable',
  8: 'root entry unreadable',
  9: 'context entry unreadable',
  10: 'reserved bits in the root entry',
  11: 'reserved bits in the context entry',
  12: 'reserved bits in a paging entry',
  13: 'translation type does not allow ATS',
  14: 'output in the interrupt range',
  48: 'RTADDR: reserved translation table mode',
  49: 'request with PASID in legacy mode',
  56: 'root entry unreadable',
  57: 'root entry not present',
  58: 'reserved bits in the root entry',
  64: 'context entry unreadable',
  65: 'context entry not present',
  66: 'reserved bits in the context entry',
  67: 'context entry invalid',
  68: 'device TLB not enabled for the requester',
  69: 'PASID not enabled for the requester',
  70: 'PASID beyond the directory',
  71: 'page requests not enabled for the requester',
  72: 'RID_PASID beyond the directory',
  80: 'PASID directory entry unreadable',
  81: 'PASID directory entry not present',
  82: 'reserved bits in the PASID directory entry',
  88: 'PASID entry unreadable',
  89: 'PASID entry not present',
  90: 'reserved bits in the PASID entry',
  91: 'PASID entry invalid: type or width',
  92: 'execute requests not enabled',
  93: 'supervisor requests not enabled',
  112: 'first-stage entry unreadable',
  113: 'first-stage entry not present',
  114: 'reserved bits in a first-stage entry',
  115: 'top first-stage entry unreadable',
  116: 'first-stage table not readable in the second stage',
  117: 'first-stage table beyond the second stage',
  118: 'first-stage page not permitted in the second stage',
  119: 'first-stage page beyond the second stage',
  120: 'second-stage entry unreadable',
  121: 'second-stage entry not present',
  122: 'reserved bits in a second-stage entry',
  123: 'top second-stage entry unreadable',
  124: 'accessed or dirty flag cannot be set in the second stage',
  128: 'address not canonical',
  129: 'user request for a supervisor page',
  130: 'execute not permitted',
  131: 'address beyond the width of the unit',
  132: 'address beyond the width of the second stage',
  133: 'write not permitted',
  134: 'read not permitted',
  135: 'output in the interrupt range',
  144: 'accessed or dirty flag cannot be set in the first stage',
};

const SMMU_EVENTS: Readonly<Record<number, string>> = {
  2: 'C_BAD_STREAMID',
  3: 'F_STE_FETCH',
  4: 'C_BAD_STE',
  5: 'F_BAD_ATS_TREQ',
  6: 'F_STREAM_DISABLED',
  7: 'F_TRANSL_FORBIDDEN',
  8: 'C_BAD_SUBSTREAMID',
  9: 'F_CD_FETCH',
  10: 'C_BAD_CD',
  11: 'F_WALK_EABT',
  16: 'F_TRANSLATION',
  17: 'F_ADDR_SIZE',
  18: 'F_ACCESS',
  19: 'F_PERMISSION',
};

const AMD_EVENTS: Readonly<Record<number, string>> = {
  1: 'ILLEGAL_DEV_TABLE_ENTRY',
  2: 'IO_PAGE_FAULT',
  3: 'DEV_TAB_HARDWARE_ERROR',
  4: 'PAGE_TAB_HARDWARE_ERROR',
  8: 'INVALID_DEVICE_REQUEST',
};

const REASONS: Readonly<Record<UnitKind, Readonly<Record<number, string>>>> = {
  vtd: VTD_REASONS,
  smmuv3: SMMU_EVENTS,
  amd: AMD_EVENTS,
};

/** What fault or event `reason` of a unit of `kind` means (iommu.md 11). */
export function reasonName(kind: UnitKind, reason: number): string {
  return REASONS[kind][reason] ?? 'unknown';
}
