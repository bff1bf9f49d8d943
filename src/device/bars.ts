/** BARs of a definition: checked, and cut into sorted regions that do not overlap, with the MSI-X tables in their places. */
import type { AccessSizes } from '../base/device.js';
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import type { Bar } from '../pci/config-space.js';
import { type MsixCapability, pbaBytes, tableBytes } from './capabilities.js';
import { booleanOr, checkFields, choiceOr, type Fields, hex, isPowerOfTwo, needed } from './check.js';
import { type ByteOrder, type Register, type RegisterMap, resolveRegisters } from './registers.js';
import type { DeviceContext, RegionKind } from './types.js';

/** Bytes [offset, offset + size) of a BAR that one thing serves. */
export interface Region {
  readonly kind: RegionKind;
  readonly offset: number;
  readonly size: number;
  readonly valid: AccessSizes;
  readonly impl: AccessSizes;
}

/** A checked BAR with its defaults filled in. */
export interface ResolvedBar {
  /** Number of the register, 0 to 5. */
  readonly index: number;
  readonly size: number;
  readonly space: 'memory' | 'io';
  readonly bits: 32 | 64;
  readonly prefetchable: boolean;
  /** Ascending, without overlap. What none covers reads as 0. */
  readonly regions: readonly Region[];
  /** Of all its register regions, ascending; offsets from the start of the BAR. */
  readonly registers: readonly Register<DeviceContext<never>>[];
}

export const BAR_COUNT = 6;
const FORMS = ['memory', 'registers', 'callback', 'regions'] as const;
const COMMON = ['size', 'space', 'bits', 'prefetchable'] as const;
const RULES = ['valid', 'impl'] as const;
const REGION_KEYS = ['offset', 'size', 'kind', 'registers', 'byteOrder', ...RULES] as const;
const KINDS: readonly RegionKind[] = ['memory', 'registers', 'callback', 'msix-table', 'msix-pba'];
const ACCESS_SIZES = [0, 1, 2, 4, 8] as const;
const ANY: AccessSizes = Object.freeze({ min: 1, max: 8, unaligned: false });
/** What QEMU says for both MSI-X tables. */
const MSIX_VALID: AccessSizes = Object.freeze({ min: 4, max: 8, unaligned: false });
const MSIX_IMPL: AccessSizes = Object.freeze({ min: 1, max: 4, unaligned: false });

type BarRegister = Register<DeviceContext<never>>;
type Span = Pick<Region, 'kind' | 'offset' | 'size'>;

/** What the registers of a dump say about BARs, when configuration space is a dump. */
export type DumpedBars = readonly Bar[] | undefined;

/** Checks `given` and returns six entries. */
export function resolveBars(
  given: unknown,
  msix: Required<MsixCapability> | undefined,
  dumped: DumpedBars,
): readonly (ResolvedBar | undefined)[] {
  const list: readonly unknown[] = given === undefined ? [] : (given as unknown[]);
  if (!Array.isArray(list) || list.length > BAR_COUNT)
    throw invalid('bars', given, `a list of at most ${BAR_COUNT} BARs`);
  const bars: (ResolvedBar | undefined)[] = [];
  for (let index = 0; index < BAR_COUNT; index++) {
    const below = bars[index - 1];
    const field = `bars[${index}]`;
    if (below?.bits === 64 && list[index] !== undefined)
      throw invalid(field, list[index], `undefined: bars[${index - 1}] has 64 bits and takes two registers`);
    const dump = dumped?.find((bar) => bar.index === index);
    if (list[index] === undefined && dump !== undefined)
      throw new ZtlpError('invalid-value', `${field}: its size is not in the dump`, {
        field,
        allowed: '{ size, ... }',
      });
    bars.push(
      list[index] === undefined
        ? undefined
        : resolveBar(field, index, list[index], windows(index, msix), dump),
    );
    if (bars[index]?.bits === 64 && index === BAR_COUNT - 1)
      throw invalid(`${field}.bits`, 64, '32: there is no register behind the last one');
  }
  if (msix !== undefined) {
    needBar('capabilities.msix.bar', msix.bar, bars);
    needBar('capabilities.msix.pbaBar', msix.pbaBar, bars);
  }
  return Object.freeze(bars);
}

function needBar(field: string, index: number, bars: readonly (ResolvedBar | undefined)[]): void {
  if (bars[index]?.space === 'memory') return;
  throw invalid(field, index, 'a BAR of the device in memory space');
}

/** Where MSI-X has its tables in BAR `index`. */
function windows(index: number, msix: Required<MsixCapability> | undefined): Span[] {
  if (msix === undefined) return [];
  const { vectors, bar, pbaBar, tableOffset, pbaOffset } = msix;
  const table: Span = { kind: 'msix-table', offset: tableOffset, size: tableBytes(vectors) };
  const pba: Span = { kind: 'msix-pba', offset: pbaOffset, size: pbaBytes(vectors) };
  return [...(bar === index ? [table] : []), ...(pbaBar === index ? [pba] : [])];
}

function resolveBar(
  field: string,
  index: number,
  given: unknown,
  msix: readonly Span[],
  dump: Bar | undefined,
): ResolvedBar {
  const form = formOf(field, given);
  const rules = form === 'regions' ? [] : RULES;
  const bar = checkFields(field, given, [
    form,
    ...COMMON,
    ...rules,
    ...(form === 'registers' ? ['byteOrder'] : []),
  ]);
  const { space, bits, prefetchable } = resolveKind(field, bar, dump);
  const size = resolveSize(`${field}.size`, bar.size, space, bits);
  for (const { kind, offset, size: bytes } of msix) {
    if (offset + bytes <= size) continue;
    const [key, name] = kind === 'msix-table' ? ['tableOffset', 'table'] : ['pbaOffset', 'PBA'];
    const what = `the ${name} of ${bytes} bytes ends at ${hex(offset + bytes)}, ${field} at ${hex(size)}`;
    throw new ZtlpError('out-of-range', `capabilities.msix.${key}: ${hex(offset)} is not valid: ${what}`, {
      field: `capabilities.msix.${key}`,
      value: offset,
      allowed: bytes > size ? 'a larger BAR' : `0 to ${hex(size - bytes)}`,
    });
  }
  const { regions, registers } =
    form === 'regions'
      ? resolveRegions(field, bar.regions, size, msix)
      : resolveWhole(field, bar, form, size, msix);
  return Object.freeze({ index, size, space, bits, prefetchable, regions, registers });
}

/** Which of the four forms a BAR has: exactly one. */
function formOf(field: string, given: unknown): (typeof FORMS)[number] {
  const bar = checkFields(field, given, [...FORMS, ...COMMON, ...RULES, 'byteOrder']);
  const forms = FORMS.filter((key) => bar[key] !== undefined);
  const [form] = forms;
  const allowed = `one of ${FORMS.join(', ')}`;
  if (form === undefined)
    throw new ZtlpError('invalid-value', `${field}: does not say what serves it`, {
      field,
      value: given,
      allowed,
    });
  if (forms.length > 1) throw invalid(field, forms.join(' and '), allowed);
  if ((form === 'memory' || form === 'callback') && bar[form] !== true)
    throw invalid(`${field}.${form}`, bar[form], 'true');
  return form;
}

function resolveKind(field: string, bar: Fields, dump: Bar | undefined) {
  const usual = dump ?? { kind: 'memory32', prefetchable: false };
  const isIo = usual.kind === 'io';
  const space = choiceOr(`${field}.space`, bar.space, ['memory', 'io'] as const, isIo ? 'io' : 'memory');
  const bits = choiceOr(`${field}.bits`, bar.bits, [32, 64] as const, usual.kind === 'memory64' ? 64 : 32);
  const prefetchable = booleanOr(`${field}.prefetchable`, bar.prefetchable, usual.prefetchable);
  if (space === 'io' && bits === 64) throw invalid(`${field}.bits`, bits, '32 in I/O space');
  if (space === 'io' && prefetchable)
    throw invalid(`${field}.prefetchable`, prefetchable, 'false in I/O space');
  const kind = space === 'io' ? 'io' : `memory${bits}`;
  if (dump !== undefined && (dump.kind !== kind || dump.prefetchable !== prefetchable))
    throw invalid(
      field,
      kind,
      `what the dump says: ${dump.kind}${dump.prefetchable ? ', prefetchable' : ''}`,
    );
  return { space, bits, prefetchable };
}

function resolveSize(field: string, value: unknown, space: 'memory' | 'io', bits: 32 | 64): number {
  const [min, max] = space === 'io' ? [4, 256] : [16, bits === 64 ? 2 ** 52 : 2 ** 31];
  const size = inRange(field, needed(field, value) as number, min, max);
  if (!isPowerOfTwo(size)) throw invalid(field, size, 'a power of two');
  return size;
}

/** A BAR that one thing serves, but for the MSI-X tables in it. */
function resolveWhole(
  field: string,
  bar: Fields,
  kind: 'memory' | 'registers' | 'callback',
  size: number,
  msix: readonly Span[],
): Pick<ResolvedBar, 'regions' | 'registers'> {
  const valid = resolveSizes(`${field}.valid`, bar.valid, ANY);
  const impl = resolveSizes(`${field}.impl`, bar.impl, ANY);
  const cut = inOrder(field, msix.map(msixRegion));
  const regions: Region[] = [];
  let at = 0;
  for (const table of [...cut, undefined]) {
    const end = table?.offset ?? size;
    if (end > at) regions.push(Object.freeze({ kind, offset: at, size: end - at, valid, impl }));
    if (table === undefined) break;
    regions.push(table);
    at = table.offset + table.size;
  }
  const registers = kind === 'registers' ? resolveBank(field, bar, { size, base: 0 }) : [];
  for (const register of registers) {
    const table = cut.find((region) => overlap(register.offset, register.width, region));
    if (table !== undefined) throw overlapping(`${field}.registers.${register.name}`, register.offset, table);
  }
  return { regions: Object.freeze(regions), registers: Object.freeze(registers) };
}

/** A BAR that is a list of regions. MSI-X tables that are not in the list are added. */
function resolveRegions(
  field: string,
  given: unknown,
  size: number,
  msix: readonly Span[],
): Pick<ResolvedBar, 'regions' | 'registers'> {
  if (!Array.isArray(given)) throw invalid(`${field}.regions`, given, 'a list');
  const registers: BarRegister[] = [];
  const regions = given.map((entry: unknown, index): Region => {
    const at = `${field}.regions[${index}]`;
    const fields = checkFields(at, entry, REGION_KEYS);
    if (fields.kind === undefined) throw invalid(`${at}.kind`, undefined, KINDS.join(', '));
    const kind = choiceOr(`${at}.kind`, fields.kind, KINDS, 'memory');
    const table = msix.find((span) => span.kind === kind);
    const isTable = kind === 'msix-table' || kind === 'msix-pba';
    if (isTable && table === undefined)
      throw invalid(`${at}.kind`, kind, 'a table that capabilities.msix puts here');
    const offset = inRange(`${at}.offset`, fields.offset as number, 0, size - 1);
    const bytes = inRange(`${at}.size`, (fields.size ?? table?.size) as number, 1, size - offset);
    if (table !== undefined && (table.offset !== offset || table.size !== bytes))
      throw invalid(
        at,
        hex(offset),
        `${table.size} bytes at ${hex(table.offset)}, as capabilities.msix says`,
      );
    if (kind === 'registers') registers.push(...resolveBank(at, fields, { size: bytes, base: offset }));
    else checkNoRegisters(at, fields);
    const valid = resolveSizes(`${at}.valid`, fields.valid, isTable ? MSIX_VALID : ANY);
    const impl = resolveSizes(`${at}.impl`, fields.impl, isTable ? MSIX_IMPL : ANY);
    return Object.freeze({ kind, offset, size: bytes, valid, impl });
  });
  const missing = msix.filter(({ kind }) => !regions.some((region) => region.kind === kind)).map(msixRegion);
  registers.sort((a, b) => a.offset - b.offset);
  checkNames(`${field}.regions`, registers);
  return {
    regions: Object.freeze(inOrder(field, [...regions, ...missing])),
    registers: Object.freeze(registers),
  };
}

function checkNoRegisters(field: string, fields: Fields): void {
  for (const key of ['registers', 'byteOrder'] as const) {
    if (fields[key] !== undefined)
      throw invalid(`${field}.${key}`, fields[key], "only with kind 'registers'");
  }
}

/** One bank per BAR: a name stands for one register. */
function checkNames(field: string, registers: readonly BarRegister[]): void {
  const seen = new Set<string>();
  for (const { name } of registers) {
    if (seen.has(name)) throw invalid(field, name, 'register names that are unique in the BAR');
    seen.add(name);
  }
}

function resolveBank(field: string, part: Fields, place: { size: number; base: number }): BarRegister[] {
  const byteOrder = choiceOr<ByteOrder>(`${field}.byteOrder`, part.byteOrder, ['little', 'big'], 'little');
  if (part.registers === undefined) throw invalid(`${field}.registers`, undefined, 'registers by name');
  const map = part.registers as RegisterMap<DeviceContext<never>>;
  return resolveRegisters(`${field}.registers`, map, { ...place, byteOrder });
}

function msixRegion(span: Span): Region {
  return Object.freeze({ ...span, valid: MSIX_VALID, impl: MSIX_IMPL });
}

const overlap = (offset: number, size: number, other: Span): boolean =>
  offset < other.offset + other.size && other.offset < offset + size;

function overlapping(field: string, offset: number, other: Span): ZtlpError {
  const range = `${hex(other.offset)} to ${hex(other.offset + other.size - 1)}`;
  return new ZtlpError('invalid-value', `${field}: ${hex(offset)} overlaps ${other.kind} at ${range}`, {
    field,
    value: offset,
  });
}

/** The regions in ascending order; throws when two overlap. */
function inOrder(field: string, regions: readonly Region[]): Region[] {
  const sorted = [...regions].sort((a, b) => a.offset - b.offset);
  for (const [index, region] of sorted.entries()) {
    const before = sorted[index - 1];
    if (before !== undefined && overlap(region.offset, region.size, before))
      throw overlapping(`${field}: ${region.kind}`, region.offset, before);
  }
  return sorted;
}

function resolveSizes(field: string, given: unknown, usual: AccessSizes): AccessSizes {
  if (given === undefined) return usual;
  const sizes = checkFields(field, given, ['min', 'max', 'unaligned']);
  for (const key of ['min', 'max'] as const) {
    if (sizes[key] === undefined) throw invalid(`${field}.${key}`, undefined, ACCESS_SIZES.join(', '));
  }
  const min = choiceOr(`${field}.min`, sizes.min, ACCESS_SIZES, 1);
  const max = choiceOr(`${field}.max`, sizes.max, ACCESS_SIZES, 8);
  if (max !== 0 && min > max) throw invalid(`${field}.min`, min, `at most max (${max})`);
  return Object.freeze({ min, max, unaligned: booleanOr(`${field}.unaligned`, sizes.unaligned, false) });
}
