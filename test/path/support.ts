/** What the tests of access paths share: sets of paths, random accesses, listings, machines. */
import fc from 'fast-check';
import { expect } from 'vitest';
import {
  type AccessTotals,
  createMachine,
  type Machine,
  memoryDevice,
  type OptionInput,
  PATH_IDS,
  PATHS,
  type PathId,
  type PciFunction,
  type Span,
  type SplitInput,
  type SplitResult,
  splitAccess,
} from '../../src/index.js';
import { labels, type Piece } from '../support/reference.js';

export const PAGE = 4096;
export const WRITE_PATHS = PATH_IDS.filter((id) => PATHS[id].write !== null);

/** Paths that end in the loop of vfio-pci, where an excluded range is skipped (access-paths.md 5). */
export const VFIO_PATHS: ReadonlySet<PathId> = new Set([
  'vfio-rw-w4',
  'vfio-rw-w8',
  'kvm-qemu-vfio-w4',
  'kvm-qemu-vfio-w8',
  'tcg-qemu-vfio-w4',
  'zpci-vfio-w4',
  'zpci-vfio-w8',
]);

/** Paths of instructions that take 64 bytes at a multiple of 64 and nothing else. */
export const LINE_PATHS: ReadonlySet<PathId> = new Set(['x86-movdir64b', 'x86-enqcmd']);

export interface Access {
  readonly offset: number;
  readonly bytes: number;
  readonly block: boolean;
}

export const SIZES = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 70 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 600 }) },
  { weight: 1, arbitrary: fc.constantFrom(64, 128, 256, 1024, 4095, 4096, 4104) },
);

export const OFFSETS = fc.oneof(
  fc.integer({ min: 0, max: 80 }),
  fc.integer({ min: PAGE - 80, max: PAGE + 80 }),
  fc.constantFrom(0, 8, 64, 128, PAGE, 2 * PAGE),
);

/** Accesses that path `id` has: blocks of any size, or one instruction of one of its sizes. */
export function accessOf(id: PathId): fc.Arbitrary<Access> {
  const { sizes } = PATHS[id];
  if (LINE_PATHS.has(id)) {
    const lines = fc.integer({ min: 0, max: 70 }).map((n) => n * 64);
    const whole = fc.record({ offset: lines, bytes: lines.map((n) => n + 64), block: fc.constant(true) });
    const any = fc.record({ offset: OFFSETS, bytes: SIZES, block: fc.boolean() });
    return fc.oneof({ weight: 4, arbitrary: whole }, { weight: 1, arbitrary: any });
  }
  const block = fc.record({ offset: OFFSETS, bytes: SIZES, block: fc.constant(true) });
  const quads = fc.record({
    offset: OFFSETS.map((offset) => offset - (offset % 8)),
    bytes: SIZES.map((bytes) => Math.ceil(bytes / 8) * 8),
    block: fc.constant(true),
  });
  const single = fc.record({
    offset: OFFSETS,
    bytes: sizes === null ? SIZES : fc.constantFrom(...sizes),
    block: fc.constant(false),
  });
  return fc.oneof(block, quads, single);
}

export function split(
  id: PathId,
  op: 'read' | 'write',
  access: Access,
  more: Partial<SplitInput> = {},
): SplitResult {
  return splitAccess(id, { op, ...access, ...more });
}

/** A block write at page-aligned memory, listed. */
export function block(id: PathId, offset: number, bytes: number, options: OptionInput = {}): SplitResult {
  return splitAccess(id, { op: 'write', offset, bytes, block: true, options });
}

/** One access of exactly this size, listed as labels. */
export function single(
  id: PathId,
  op: 'read' | 'write',
  offset: number,
  bytes: number,
  options: OptionInput = {},
): string[] {
  return labels(splitAccess(id, { op, offset, bytes, options }).tlps);
}

export function sizesOf({ accesses }: SplitResult): number[] {
  return accesses.map(({ bytes }) => bytes);
}

/** A copy of `value` `count` times. */
export const times = (count: number, value: number): number[] => Array<number>(count).fill(value);

/** How often `spans` cover each byte of [from, from + bytes). */
export function spanCoverage(spans: readonly Span[], from: number, bytes: number): Uint8Array {
  const counts = new Uint8Array(bytes);
  for (const span of spans) {
    expect(span.offset >= from && span.offset + span.bytes <= from + bytes).toBe(true);
    for (let n = 0; n < span.bytes; n++) {
      const at = span.offset - from + n;
      counts[at] = (counts[at] ?? 0) + 1;
    }
  }
  return counts;
}

/** Totals to compare: the offset of a fault says nothing where there was none. */
export function comparable(totals: AccessTotals): AccessTotals {
  return totals.fault === 0 ? { ...totals, faultOffset: 0 } : totals;
}

/** The platform of a machine for path `id`. */
function platformOf(id: PathId): 'x86-64' | 'arm64' | 's390x' {
  const { platform } = PATHS[id];
  return platform === 'any' ? 'x86-64' : platform;
}

export interface Rig {
  readonly machine: Machine;
  readonly fn: PciFunction;
}

export async function rig(
  core: WebAssembly.Module,
  id: PathId,
  options: OptionInput = {},
  size = 4 * PAGE,
): Promise<Rig> {
  const machine = await createMachine({
    core,
    platform: platformOf(id),
    slots: [{ device: memoryDevice({ bars: [{ size }] }), options: { ...PATHS[id].options, ...options } }],
    hostMemoryBytes: PAGE,
  });
  const [fn] = machine.functions;
  if (fn === undefined) throw new Error('the machine has no function');
  return { machine, fn };
}

/** Pieces of [at, at + bytes) between multiples of `boundary`. */
export function cutAt({ at, bytes }: Piece, boundary: number): Piece[] {
  const pieces: Piece[] = [];
  for (let from = at; from < at + bytes; ) {
    const to = Math.min(at + bytes, (Math.floor(from / boundary) + 1) * boundary);
    pieces.push({ at: from, bytes: to - from });
    from = to;
  }
  return pieces;
}
