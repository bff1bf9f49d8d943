/** What entries of SMMUv3 structures say, in words (iommu.md 4.1 to 4.4), with what makes a stream or a context unusable. */
import { hex64 } from '../core/u64.js';
import { flags, has, listed, type Passed, pageOrTable, refusedFor } from './explain-bits.js';
import { bits } from './unit.js';

const POINTER = 0x000f_ffff_ffff_ffc0n;
const TTB = 0x000f_ffff_ffff_fff0n;
const ADDRESS = 0x0000_ffff_ffff_f000n;
/** Smallest width of outputs with which stage 2 may begin at level 0. */
const LEVEL_0_WIDTH = 44;
/** Bits that index 16 tables one after another. */
const CONCATENATED_BITS = 13;
/** By TG0 and S2TG. */
const GRANULES = ['4 KiB', '64 KiB', '16 KiB', 'reserved'];
const HIGH_GRANULES = ['reserved', '16 KiB', '4 KiB', '64 KiB'];
const CONFIGS: Readonly<Record<number, string>> = {
  4: 'bypass',
  5: 'stage 1',
  6: 'stage 2',
  7: 'stage 1 and 2',
};

/** Address bits by IPS and S2PS. */
function widthOf(code: number): number {
  return [32, 36, 40, 42, 44, 48, 52][code] ?? 52;
}

// ------------------------------------------------------------------------------------------------------ paging entries
function kindOf(entry: bigint, level: number): 'page' | 'table' | undefined {
  const type = bits(entry, 0, 2);
  if (level === 1) return type === 3 ? 'page' : undefined;
  if (type === 3) return 'table';
  return type === 1 && level <= 3 ? 'page' : undefined;
}

function addressText(entry: bigint, level: number, kind: 'page' | 'table'): string {
  return pageOrTable(entry & ADDRESS, level, kind === 'page');
}

export function armStage1(entry: bigint, level: number): string {
  const kind = kindOf(entry, level);
  if (kind === undefined) return has(entry, 0) ? 'reserved type' : 'not valid';
  if (kind === 'table') {
    const names = { 59: 'PXNTable', 60: 'XNTable', 61: 'APTable[0]', 62: 'APTable[1]', 63: 'NSTable' };
    return listed(addressText(entry, level, kind), flags(entry, names));
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
  return listed(addressText(entry, level, kind), `AttrIndx ${bits(entry, 2, 3)}`, flags(entry, names));
}

export function armStage2(entry: bigint, level: number): string {
  const kind = kindOf(entry, level);
  if (kind === undefined) return has(entry, 0) ? 'reserved type' : 'not valid';
  if (kind === 'table') return addressText(entry, level, kind);
  return listed(
    addressText(entry, level, kind),
    `MemAttr ${bits(entry, 2, 4)}`,
    flags(entry, { 6: 'read', 7: 'write', 10: 'AF', 51: 'DBM' }),
  );
}

// ---------------------------------------------------------------------------------------------------------- structures
export function streamList(entry: bigint): string {
  const span = bits(entry, 0, 5);
  return span === 0 ? 'not valid' : `${2 ** (span - 1)} streams at ${hex64(entry & POINTER)}`;
}

export function smmuStream(entry: bigint, word: number, passed: Passed): string {
  if (word === 0) return streamHead(entry, passed);
  if (word === 1)
    return listed(
      `S1DSS ${bits(entry, 0, 2)}`,
      flags(entry, { 27: 'S1STALLD' }),
      `EATS ${bits(entry, 28, 2)}`,
      refusedFor(has(entry, 27) && (passed.config & 5) === 5 && 'S1STALLD 1'),
    );
  const usesStage2 = (passed.config & 6) === 6;
  if (word === 3)
    return listed(
      `stage 2 table ${hex64(entry & TTB)}`,
      refusedFor(usesStage2 && (entry & TTB) >> BigInt(passed.outputs) !== 0n && 'a table beyond S2PS'),
    );
  return listed(`VMID ${bits(entry, 0, 16)}`, usesStage2 ? stage2Text(entry, passed) : '');
}

function streamHead(entry: bigint, passed: Passed): string {
  const { facts } = passed;
  const config = bits(entry, 1, 3);
  passed.config = config;
  passed.format = config === 6 ? armStage2 : armStage1;
  if (!has(entry, 0)) return 'not valid';
  const most = bits(entry, 59, 5);
  const format = bits(entry, 4, 2);
  const hasContext = (config & 5) === 5;
  passed.isList = hasContext && most !== 0 && (format === 1 || format === 2);
  return listed(
    `config ${config}: ${CONFIGS[config] ?? 'abort'}`,
    (entry & POINTER) === 0n ? '' : `context ${hex64(entry & POINTER)}`,
    hasContext && most !== 0 ? [`S1CDMax ${most}`, `S1Fmt ${format}`] : [],
    refusedFor(
      facts.isQemu && (config & 6) === 6 && 'stage 2 with smmuModel qemu72',
      hasContext && most > facts.substreamBits && `S1CDMax above ${facts.substreamBits}`,
    ),
  );
}

/** Fields of stage 2, and which of them the unit does not take. */
function stage2Text(entry: bigint, passed: Passed): string {
  const { facts } = passed;
  const size = bits(entry, 32, 6);
  const start = bits(entry, 38, 2);
  const granule = bits(entry, 46, 2);
  const outputs = widthOf(bits(entry, 48, 3));
  passed.outputs = Math.min(outputs, facts.width);
  const inputs = 64 - size;
  // By S2SL0: 2, 1 or 0 of the architecture.
  const first = 3 + 9 * (2 + start);
  const isSize = size >= 16 && size <= 39 && inputs <= facts.width;
  const isStart = start !== 3 && inputs > first && inputs - first <= CONCATENATED_BITS;
  return listed(
    `S2T0SZ ${size}`,
    `S2SL0 ${start}`,
    `S2TG ${GRANULES[granule]}`,
    `S2PS ${outputs} bits`,
    flags(entry, {
      51: 'S2AA64',
      52: 'S2ENDI',
      53: 'S2AFFD',
      54: 'S2PTW',
      55: 'S2HD',
      56: 'S2HA',
      57: 'S2S',
      58: 'S2R',
    }),
    refusedFor(
      granule !== 0 && 'a granule other than 4 KiB',
      !has(entry, 51) && 'S2AA64 0',
      has(entry, 52) && 'S2ENDI 1',
      has(entry, 57) && 'S2S 1',
      !isSize && `S2T0SZ outside ${Math.max(16, 64 - facts.width)} to 39`,
      isSize && !isStart && 'S2SL0 that does not go with S2T0SZ',
      start === 2 && facts.width < LEVEL_0_WIDTH && 'S2SL0 2 below 44 bits of output',
      has(entry, 56) && !facts.setsAccess && 'S2HA without hardwareFlags',
      has(entry, 55) && !facts.setsDirty && 'S2HD without hardwareFlags dirty',
    ),
  );
}

export function smmuDescriptor(entry: bigint, word: number, passed: Passed): string {
  if (passed.isList) {
    passed.isList = false;
    return has(entry, 0) ? `descriptors at ${hex64(entry & ADDRESS)}` : 'not valid';
  }
  if (word === 0) return descriptorHead(entry, passed);
  if (word === 3) return `MAIR ${hex64(entry)}`;
  return listed(
    `table ${word - 1} ${hex64(entry & TTB)}`,
    flags(entry, { 1: 'HAD' }),
    (entry & TTB) >> BigInt(passed.outputs) === 0n ? '' : `beyond ${passed.outputs} bits`,
  );
}

function descriptorHead(entry: bigint, passed: Passed): string {
  const { facts } = passed;
  const outputs = widthOf(bits(entry, 32, 3));
  passed.outputs = Math.min(outputs, facts.width);
  if (!has(entry, 31)) return 'not valid: V 0';
  const halves = [
    { n: 0, size: bits(entry, 0, 6), granule: GRANULES[bits(entry, 6, 2)], isOff: has(entry, 14) },
    { n: 1, size: bits(entry, 16, 6), granule: HIGH_GRANULES[bits(entry, 22, 2)], isOff: has(entry, 30) },
  ];
  const used = halves.filter(({ isOff }) => !isOff);
  return listed(
    halves.flatMap(({ n, size, granule, isOff }) =>
      isOff ? `EPD${n}` : [`T${n}SZ ${size}`, `TG${n} ${granule}`],
    ),
    `IPS ${outputs} bits`,
    `ASID ${bits(entry, 48, 16)}`,
    flags(entry, {
      15: 'ENDI',
      38: 'TBI0',
      39: 'TBI1',
      41: 'AA64',
      42: 'HD',
      43: 'HA',
      44: 'S',
      45: 'R',
      46: 'A',
    }),
    refusedFor(
      !has(entry, 41) && 'AA64 0',
      has(entry, 15) && 'ENDI 1',
      !has(entry, 46) && 'A 0',
      has(entry, 44) && 'S 1',
      has(entry, 43) && !facts.setsAccess && 'HA without hardwareFlags',
      has(entry, 42) && !facts.setsDirty && 'HD without hardwareFlags dirty',
      ...used.flatMap(({ n, size, granule }) => [
        (size < 16 || size > 39) && `T${n}SZ outside 16 to 39`,
        granule !== '4 KiB' && `TG${n} other than 4 KiB`,
      ]),
    ),
  );
}
