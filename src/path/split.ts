/** `splitAccess`: what one access along a path becomes, access by access and TLP by TLP, without a machine. */
import * as L from '../../assembly/layout.js';
import { invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { OptionInput } from '../base/options.js';
import type { AccessTotals } from '../core/core.js';
import { sharedCore } from '../core/shared.js';
import { checkU64, high32, join64, low32, type U64 } from '../core/u64.js';
import { decodeDescriptor } from '../tlp/codec.js';
import type { Tlp } from '../tlp/types.js';
import { type Fault, faultOf, refusedCall } from './fault.js';
import { type ParamsInput, pathOf, pathOptions, planOf, setParams } from './prepare.js';
import { type AccessPath, VFIO_REGIONS, type VfioRegion } from './table.js';

/** Bytes [offset, offset + bytes) of a BAR. */
export interface Span {
  readonly offset: number;
  readonly bytes: number;
}

export interface SplitInput {
  readonly op: 'read' | 'write';
  /** Offset in the BAR, below 4 GiB. */
  readonly offset: number;
  /** Length of the access, 1 to 1 MiB; 0 for a system call that refuses it. */
  readonly bytes: number;
  /**
   * Repeat the path's instruction over the bytes, instead of one access of exactly this size. Default false: a split
   * shows one access. (`cpu.write` and `cpu.read` of a machine move blocks: there the default is true.)
   */
  readonly block?: boolean;
  /**
   * Bus address of the BAR, 64 bits, a multiple of 4096 so that borders in the BAR are borders on the bus. Default 0: addresses in TLPs are offsets in the BAR, and headers have 3 DW because
   * they lie below 4 GiB. With 2 ** 40 headers have 4 DW, as on the machines of `createMachine` and in `ztlp widths`.
   */
  readonly base?: U64;
  /** What vfio-pci maps here: generation 3 stays at 4 bytes in the expansion ROM and in VGA ranges. Default 'bar'. */
  readonly region?: VfioRegion;
  /** BAR length for paths with a range rule (vfio): starts behind it are EINVAL, ends behind it are cut. */
  readonly barLength?: number;
  /** Range that vfio-pci keeps from the device (MSI-X table, ROM tail): [first, behind). */
  readonly excluded?: readonly [number, number];
  /** Memory address of the first byte, for rules that look at it. Default 0: page-aligned. */
  readonly sourceAddress?: U64;
  /** List also what would follow a refused instruction, that one included: what software asks for. Default false. */
  readonly ignoreFaults?: boolean;
  readonly options?: OptionInput;
}

export interface SplitResult {
  /** Operations that reach the device, in order: TLPs or device calls come from these. */
  readonly accesses: readonly Span[];
  /** Requests in the order they leave. Completions are counted in `totals`. */
  readonly tlps: readonly Tlp[];
  /** Bytes of the excluded range: written ones are dropped, read ones come back as 0xff. */
  readonly dropped: readonly Span[];
  readonly filledFF: readonly Span[];
  /** Bytes that a system call reports when it did fewer than asked. */
  readonly shortCount: number | undefined;
  /** Error number of a system call that refused the whole range. */
  readonly error: 'EINVAL' | undefined;
  readonly fault: Fault | undefined;
  readonly totals: AccessTotals;
}

function checkSpan(input: Pick<SplitInput, 'op' | 'offset' | 'bytes'>, least: number, limit: number): void {
  const { op, offset, bytes } = input;
  if (op !== 'read' && op !== 'write') throw invalid('op', op, 'read, write');
  if (!Number.isInteger(bytes) || bytes < least || bytes > limit) {
    throw invalid('bytes', bytes, `an integer from ${least} to ${limit}`, 'out-of-range');
  }
  if (!Number.isInteger(offset) || offset < 0 || offset + bytes > 2 ** 32) {
    throw invalid('offset', offset, 'an integer from 0, the access ending at 4 GiB or below', 'out-of-range');
  }
}

/** Range of the bus that an access touches: loads of whole units are wider than what was asked. */
export function touched(path: AccessPath, op: 'read' | 'write', offset: number, bytes: number): Span {
  if (op === 'write' || path.loadUnit === undefined) return { offset, bytes };
  const unit = path.loadUnit;
  const first = Math.floor(offset / unit) * unit;
  return { offset: first, bytes: Math.ceil((offset + bytes) / unit) * unit - first };
}

interface Prepared {
  readonly span: Span;
  readonly base: U64;
  readonly shortCount: number | undefined;
  readonly error: 'EINVAL' | undefined;
  readonly alwaysBlock: boolean;
}

/** Rules of alignment and borders look at offsets alone, which is right where a page of the BAR is one of the bus. */
function checkBase(value: U64 | undefined, span: Span): U64 {
  const base = checkU64('base', value ?? 0);
  if (low32(base) % L.PAGE_BYTES !== 0) throw invalid('base', base, `a multiple of ${L.PAGE_BYTES}`);
  if (BigInt(base) + BigInt(span.offset + span.bytes) > 1n << 64n)
    throw invalid('base', base, 'a BAR in which the access ends within 64 bits', 'out-of-range');
  return base;
}

/** Kind, length and excluded range of a vfio region, in bytes below 4 GiB. */
function checkVfio({ barLength, excluded, region = 'bar' }: SplitInput): void {
  if (!VFIO_REGIONS.includes(region)) throw invalid('region', region, VFIO_REGIONS.join(', '));
  const isBytes = (value: unknown): boolean =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;
  if (barLength !== undefined && !isBytes(barLength)) throw invalid('barLength', barLength, '0 to 2^32 - 1');
  if (excluded === undefined) return;
  if (
    !Array.isArray(excluded) ||
    excluded.length !== 2 ||
    !excluded.every(isBytes) ||
    excluded[0] > excluded[1]
  ) {
    throw invalid('excluded', excluded, '[first, behind), both 0 to 2^32 - 1');
  }
}

const KEYS = keysOf<SplitInput>({
  op: true,
  offset: true,
  bytes: true,
  block: true,
  base: true,
  barLength: true,
  excluded: true,
  sourceAddress: true,
  options: true,
  region: true,
  ignoreFaults: true,
});

/** Checks the input and fills the parameter block of the shared core. */
function prepare(id: string, input: SplitInput, mode: number, limit: number): Prepared {
  needObject('input', input);
  checkKeys('input', input, KEYS);
  const path = pathOf(id);
  checkSpan(input, path.withinPage === true ? 0 : 1, limit);
  checkVfio(input);
  const sourceAddress = checkU64('sourceAddress', input.sourceAddress ?? 0);
  const { op, offset, block = false, barLength, excluded, region = 'bar' } = input;
  // vfio-pci: a start behind the BAR is refused, an end behind it shortens the call (access-paths.md 5).
  const error = barLength !== undefined && offset >= barLength ? 'EINVAL' : undefined;
  const bytes =
    barLength !== undefined && error === undefined ? Math.min(input.bytes, barLength - offset) : input.bytes;
  const options = pathOptions(path, input.options);
  const span = touched(path, op, offset, bytes);
  const base = checkBase(input.base, span);
  const access = { op, bytes: span.bytes, block, region };
  const checked = planOf(path, access, options);
  const plan = input.ignoreFaults === true ? { ...checked, check: L.CHECK_NONE } : checked;
  const params: ParamsInput = { access, plan, options, mode, sourceAddress, excluded };
  setParams(sharedCore(), params);
  // Every listing counts its tags from 0, whatever came before it.
  sharedCore().x.tagNext(0);
  const alwaysBlock = (checked.check & L.CHECK_KIND) === L.CHECK_ZPCI_BLOCK;
  return { span, base, shortCount: bytes < input.bytes ? bytes : undefined, error, alwaysBlock };
}

/**
 * Cuts one access along path `id` into operations and TLPs, in order. Throws ZtlpError for an unknown path, a
 * direction or size the path does not have, or an option outside its values; what the hardware or kernel would refuse
 * comes back in `fault` and `error`.
 */
export function splitAccess(id: string, input: SplitInput): SplitResult {
  const core = sharedCore();
  const { span, base, shortCount, error, alwaysBlock } = prepare(id, input, L.MODE_LIST, L.ACCESS_BYTES);
  const accesses: Span[] = [];
  const skipped: Span[] = [];
  const tlps: Tlp[] = [];
  const addTlp = (at: number): void => void tlps.push(decodeDescriptor(core, at));
  const addOperation = (at: number): void => {
    const word = (offset: number): number => core.u32[(at + offset) >>> 2] as number;
    const offset = join64(word(L.OPERATION_POSITION_LO), word(L.OPERATION_POSITION_HI)) as number;
    const list = word(L.OPERATION_KIND) === L.OP_SKIPPED ? skipped : accesses;
    list.push({ offset, bytes: word(L.OPERATION_BYTES) });
  };
  // A refused call still begins an access, of no bytes, so that the totals are its own.
  const bytes = error === undefined ? span.bytes : 0;
  core.x.accessBegin(L.SLOT_NONE, 0, low32(base), high32(base), span.offset, 0, bytes);
  let answer: number;
  do {
    answer = core.x.run();
    core.drain(addTlp, addOperation);
  } while (answer === L.RUN_HOST);
  const totals = core.totals();
  const fault = faultOfSplit(input, totals, alwaysBlock);
  return {
    accesses,
    tlps,
    dropped: input.op === 'write' ? skipped : [],
    filledFF: input.op === 'read' ? skipped : [],
    shortCount,
    error: fault?.kind === 'call' ? 'EINVAL' : error,
    fault,
    totals,
  };
}

/** The core refuses the ranges that it sees; it never sees an empty one. */
function faultOfSplit(input: SplitInput, totals: AccessTotals, alwaysBlock: boolean): Fault | undefined {
  return input.bytes === 0 ? refusedCall(input.offset) : faultOf(totals, alwaysBlock);
}

/** Longest block that `countAccess` takes, in bytes. */
export const COUNT_LIMIT = 1 << 30;

/** The totals of an access of up to 1 GiB along path `id`, without listing anything. */
export function countAccess(
  id: string,
  input: SplitInput,
): { totals: AccessTotals; fault: Fault | undefined } {
  const core = sharedCore();
  const { span, base, error, alwaysBlock } = prepare(id, input, L.MODE_COUNT, COUNT_LIMIT);
  const bytes = error === undefined ? span.bytes : 0;
  core.x.accessBegin(L.SLOT_NONE, 0, low32(base), high32(base), span.offset, 0, bytes);
  core.x.run();
  const totals = core.totals();
  return { totals, fault: faultOfSplit(input, totals, alwaysBlock) };
}
