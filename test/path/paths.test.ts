/** Access paths: what loads, stores and blocks become on the way to a function, listed, counted and delivered. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type AccessTotals,
  countAccess,
  createMachine,
  type Machine,
  memoryDevice,
  type OptionInput,
  PATH_IDS,
  PATHS,
  type PathId,
  type PciFunction,
  ready,
  type Span,
  type SplitInput,
  type SplitResult,
  splitAccess,
  splitRequest,
  type Tlp,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import {
  coverage,
  difference,
  label,
  labels,
  type Piece,
  pattern,
  requestFor,
  thrownBy,
} from '../support/reference.js';

const PAGE = 4096;

const WRITE_PATHS = PATH_IDS.filter((id) => PATHS[id].write !== null);
const READ_PATHS = PATH_IDS.filter((id) => PATHS[id].read !== null);

/** Paths that end in the loop of vfio-pci, where an excluded range is skipped (access-paths.md 5). */
const VFIO_PATHS: ReadonlySet<PathId> = new Set([
  'vfio-rw-w4',
  'vfio-rw-w8',
  'kvm-qemu-vfio-w4',
  'kvm-qemu-vfio-w8',
  'tcg-qemu-vfio-w4',
  'zpci-vfio-w4',
  'zpci-vfio-w8',
]);

/** Paths that may make TLPs of more than two dwords (AP-02). */
const LONG_PATHS: ReadonlySet<PathId> = new Set([
  'x86-wc-line',
  'x86-movdir64b',
  'x86-enqcmd',
  'zpci-memcpy-old',
  'zpci-memcpy-new',
  'zpci-pcistb',
  'zpci-interpreted',
  'zpci-io-region',
  'zpci-vfio-ism',
  'zpci-mio',
]);

/** Paths of instructions that take 64 bytes at a multiple of 64 and nothing else. */
const LINE_PATHS: ReadonlySet<PathId> = new Set(['x86-movdir64b', 'x86-enqcmd']);

interface Access {
  readonly offset: number;
  readonly bytes: number;
  readonly block: boolean;
}

const SIZES = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 70 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 600 }) },
  { weight: 1, arbitrary: fc.constantFrom(64, 128, 256, 1024, 4095, 4096, 4104) },
);
const OFFSETS = fc.oneof(
  fc.integer({ min: 0, max: 80 }),
  fc.integer({ min: PAGE - 80, max: PAGE + 80 }),
  fc.constantFrom(0, 8, 64, 128, PAGE, 2 * PAGE),
);

/** Accesses that path `id` has: blocks of any size, or one instruction of one of its sizes. */
function accessOf(id: PathId): fc.Arbitrary<Access> {
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

function split(
  id: PathId,
  op: 'read' | 'write',
  access: Access,
  more: Partial<SplitInput> = {},
): SplitResult {
  return splitAccess(id, { op, ...access, ...more });
}

/** A block write at page-aligned memory, listed. */
function block(id: PathId, offset: number, bytes: number, options: OptionInput = {}): SplitResult {
  return splitAccess(id, { op: 'write', offset, bytes, block: true, options });
}

/** One access of exactly this size, listed as labels. */
function single(
  id: PathId,
  op: 'read' | 'write',
  offset: number,
  bytes: number,
  options: OptionInput = {},
): string[] {
  return labels(splitAccess(id, { op, offset, bytes, options }).tlps);
}

function sizesOf({ accesses }: SplitResult): number[] {
  return accesses.map(({ bytes }) => bytes);
}

/** A copy of `value` `count` times. */
const times = (count: number, value: number): number[] => Array<number>(count).fill(value);

/** How often `spans` cover each byte of [from, from + bytes). */
function spanCoverage(spans: readonly Span[], from: number, bytes: number): Uint8Array {
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

/** Tags count up over the life of a core: two lists of requests are compared without them. */
function withoutTags(tlps: readonly Tlp[]): Tlp[] {
  return tlps.map((tlp) => ({ ...tlp, tag: 0 }));
}

/** Totals to compare: the offset of a fault says nothing where there was none. */
function comparable(totals: AccessTotals): AccessTotals {
  return totals.fault === 0 ? { ...totals, faultOffset: 0 } : totals;
}

/** The platform of a machine for path `id`. */
function platformOf(id: PathId): 'x86-64' | 'arm64' | 's390x' {
  const { platform } = PATHS[id];
  return platform === 'any' ? 'x86-64' : platform;
}

interface Rig {
  readonly machine: Machine;
  readonly fn: PciFunction;
}

async function rig(
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

// --------------------------------------------------------------------------------------------- tables of the sheets

/** access-paths.md 7: TLPs of a write: `offset,size: vfio-rw-w4 vfio-rw-w8 x86-memcpy-toio arm64-memcpy-io x86-wc-line`. */
const LONGER = `
0,3: 2 2 2 3 1
1,3: 2 2 2 3 1
2,6: 2 2 2 6 1
0,11: 4 3 4 4 2
1,11: 4 4 4 11 2
3,11: 4 4 4 11 2
5,11: 4 3 4 4 2
0,12: 3 2 3 5 2
2,12: 4 4 4 12 2
4,12: 3 2 3 5 2
0,16: 4 2 4 2 2
1,16: 6 5 6 9 3
4,16: 4 3 4 9 3
7,16: 6 5 6 9 3
0,17: 5 3 5 3 3
3,17: 5 4 5 10 3
0,24: 6 3 6 3 3
6,27: 8 5 8 6 5
0,31: 9 6 9 10 4
1,31: 9 6 9 10 4
0,32: 8 4 8 4 4
2,32: 9 6 9 11 5
0,33: 9 5 9 5 5
5,59: 16 9 16 10 8
0,63: 17 10 17 14 8
1,63: 17 10 17 14 8
0,64: 16 8 16 8 1
1,64: 18 11 18 15 -
3,64: 18 11 18 15 -
3d,7: 3 3 3 7 -
7f,3: 2 2 2 3 -
ff8,16: 4 2 4 2 -
ffd,6: 4 4 4 6 -
fff,1: 1 1 1 1 1
0,96: 24 12 24 12 -
2,100: 26 15 26 23 -
0,128: 32 16 32 16 -
8,128: 32 16 32 16 -
1,128: 34 19 34 23 -
0,256: 64 32 64 32 -
0,4096: 1024 512 1024 512 -
1,4095: 1025 514 1025 518 -
0,2048: 512 256 512 256 -`;
const LONGER_PATHS: readonly PathId[] = [
  'vfio-rw-w4',
  'vfio-rw-w8',
  'x86-memcpy-toio',
  'arm64-memcpy-io',
  'x86-wc-line',
];

/** zpci.md 8.1: widths of vfio-pci, old / new; rows are offsets 0 to 7, columns lengths 1 to 8. */
const VFIO_WIDTHS = `
1 / 1 | 2 / 2 | 2+1 / 2+1 | 4 / 4 | 4+1 / 4+1 | 4+2 / 4+2 | 4+2+1 / 4+2+1 | 4+4 / 8
1 / 1 | 1+1 / 1+1 | 1+2 / 1+2 | 1+2+1 / 1+2+1 | 1+2+2 / 1+2+2 | 1+2+2+1 / 1+2+2+1 | 1+2+4 / 1+2+4 | 1+2+4+1 / 1+2+4+1
1 / 1 | 2 / 2 | 2+1 / 2+1 | 2+2 / 2+2 | 2+2+1 / 2+2+1 | 2+4 / 2+4 | 2+4+1 / 2+4+1 | 2+4+2 / 2+4+2
1 / 1 | 1+1 / 1+1 | 1+2 / 1+2 | 1+2+1 / 1+2+1 | 1+4 / 1+4 | 1+4+1 / 1+4+1 | 1+4+2 / 1+4+2 | 1+4+2+1 / 1+4+2+1
1 / 1 | 2 / 2 | 2+1 / 2+1 | 4 / 4 | 4+1 / 4+1 | 4+2 / 4+2 | 4+2+1 / 4+2+1 | 4+4 / 4+4
1 / 1 | 1+1 / 1+1 | 1+2 / 1+2 | 1+2+1 / 1+2+1 | 1+2+2 / 1+2+2 | 1+2+2+1 / 1+2+2+1 | 1+2+4 / 1+2+4 | 1+2+4+1 / 1+2+4+1
1 / 1 | 2 / 2 | 2+1 / 2+1 | 2+2 / 2+2 | 2+2+1 / 2+2+1 | 2+4 / 2+4 | 2+4+1 / 2+4+1 | 2+4+2 / 2+4+2
1 / 1 | 1+1 / 1+1 | 1+2 / 1+2 | 1+2+1 / 1+2+1 | 1+4 / 1+4 | 1+4+1 / 1+4+1 | 1+4+2 / 1+4+2 | 1+4+2+1 / 1+4+2+1`;

/** zpci.md 8.4: name, path, offset, options, then instructions, exits, system calls, host operations, TLPs by MPS. */
type Row = readonly [
  name: string,
  path: PathId,
  offset: number,
  options: OptionInput,
  instructions: number,
  exits: number,
  calls: number,
  operations: number,
  tlps: readonly [number, number, number, number],
];
const ROWS: readonly Row[] = [
  ['A, old helper', 'zpci-memcpy-old', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['A, new helper', 'zpci-memcpy-new', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['A with the MIO forms', 'zpci-mio', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['B', 'zpci-memcpy-old', 4, {}, 1024, 0, 0, 1024, [1024, 1024, 1024, 1024]],
  ["B'", 'zpci-memcpy-new', 4, {}, 513, 0, 0, 513, [513, 513, 513, 513]],
  ['C', 'zpci-pcistb', 0, {}, 1, 0, 0, 1, [32, 16, 8, 1]],
  ['D', 'zpci-emulated', 0, {}, 32, 32, 0, 0, [0, 0, 0, 0]],
  ['E', 'zpci-vfio-w4', 0, {}, 32, 32, 512, 1024, [1024, 1024, 1024, 1024]],
  ['F', 'zpci-vfio-w8', 0, {}, 32, 32, 512, 512, [512, 512, 512, 512]],
  ['G', 'zpci-io-region', 0, {}, 1, 1, 1, 1, [32, 16, 8, 1]],
  ['H as A', 'zpci-interpreted', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['I', 'zpci-vfio-ism', 0, {}, 1, 1, 1, 1, [32, 16, 8, 1]],
];

// ------------------------------------------------------------------------------------- models of rules of the sheets

const powerBelow = (value: number): number => 2 ** Math.floor(Math.log2(value));

/** zpci.md 3.3, old helper: largest power of two that divides both addresses and is at most min(n, limit). */
function oldChunk(offset: number, source: number, left: number, limit: number): number {
  let size = powerBelow(Math.min(left, limit));
  while (offset % size !== 0 || source % size !== 0) size /= 2;
  return size;
}

/** zpci.md 3.3, new helper; `border` is the address whose 4 KiB frame counts. */
function newChunk(offset: number, source: number, left: number, limit: number, border: number): number {
  const size = Math.min(left, PAGE - (border % PAGE), limit);
  if (offset % 8 === 0 && source % 8 === 0 && size % 8 === 0) return size;
  return size >= 8 ? 8 : powerBelow(size);
}

function chunks(offset: number, source: number, bytes: number, next: typeof oldChunk): number[] {
  const sizes: number[] = [];
  for (let done = 0; done < bytes; done += sizes.at(-1) ?? bytes) {
    sizes.push(next(offset + done, source + done, bytes - done, 128));
  }
  return sizes;
}

/** Pieces of [at, at + bytes) between multiples of `boundary`. */
function cutAt({ at, bytes }: Piece, boundary: number): Piece[] {
  const pieces: Piece[] = [];
  for (let from = at; from < at + bytes; ) {
    const to = Math.min(at + bytes, (Math.floor(from / boundary) + 1) * boundary);
    pieces.push({ at: from, bytes: to - from });
    from = to;
  }
  return pieces;
}

/** Naturally aligned pieces of at most `width`. */
function naturalPieces({ at, bytes }: Piece, width: number): Piece[] {
  const pieces: Piece[] = [];
  for (let done = 0; done < bytes; ) {
    let size = width;
    while (size > bytes - done || (at + done) % size !== 0) size /= 2;
    pieces.push({ at: at + done, bytes: size });
    done += size;
  }
  return pieces;
}

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  let core: WebAssembly.Module;

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(variant));
    await ready(core);
  });

  // ------------------------------------------------------------------------------------ bytes of every write path

  const EXCLUDED = fc.option(
    fc
      .tuple(fc.integer({ min: 0, max: PAGE + 100 }), fc.integer({ min: 1, max: 200 }))
      .map(([first, bytes]) => [first, first + bytes] as const),
    { nil: undefined },
  );

  it.each(WRITE_PATHS)(
    'AP-01 and AP-02 %s writes each byte once, but for dropped ones, in legal TLPs',
    (id) => {
      fc.assert(
        fc.property(accessOf(id), EXCLUDED, (access, excluded) => {
          const { offset, bytes } = access;
          const result = split(id, 'write', access, excluded === undefined ? {} : { excluded });
          // A refused instruction ends the access: what came before it was done.
          const end = result.fault === undefined ? offset + bytes : result.fault.offset;
          const done = end - offset;
          const enabled = coverage(result.tlps, offset, bytes);
          const dropped = spanCoverage(result.dropped, offset, bytes);
          const accessed = spanCoverage(result.accesses, offset, bytes);
          const hasTlps = id !== 'zpci-emulated';
          for (let n = 0; n < bytes; n++) {
            const at = offset + n;
            const isExcluded = excluded !== undefined && at >= excluded[0] && at < excluded[1];
            const drop = n < done && VFIO_PATHS.has(id) && isExcluded ? 1 : 0;
            const write = n < done && drop === 0 ? 1 : 0;
            if (dropped[n] !== drop || accessed[n] !== write || enabled[n] !== (hasTlps ? write : 0)) {
              throw new Error(
                `byte ${at}: ${enabled[n]} times in TLPs, ${accessed[n]} in accesses, ${dropped[n]} dropped`,
              );
            }
          }
          expect(result.totals.bytesDone).toBe(done);
          expect(result.filledFF).toEqual([]);
          for (const tlp of result.tlps) {
            expect(tlp.type).toBe(id === 'x86-enqcmd' ? 'DMWr' : 'MWr');
            expect((Number(tlp.address) % PAGE) + 4 * tlp.length).toBeLessThanOrEqual(PAGE);
            if (!LONG_PATHS.has(id)) expect(tlp.length).toBeLessThanOrEqual(2);
          }
        }),
        { numRuns: 120 },
      );
    },
  );

  it.each(READ_PATHS)('AP-02 %s reads every byte asked for, in legal TLPs', (id) => {
    fc.assert(
      fc.property(accessOf(id), (access) => {
        const { offset, bytes } = access;
        const result = split(id, 'read', access);
        const end = result.fault === undefined ? offset + bytes : result.fault.offset;
        // Loads of whole lines and TCG's aligned pairs read up to 63 bytes around the range.
        const around = coverage(result.tlps, offset - 64, bytes + 128);
        const hasTlps = id !== 'zpci-emulated';
        for (let at = offset; at < end; at++) {
          if (hasTlps && (around[at - offset + 64] ?? 0) < 1) throw new Error(`byte ${at} is never read`);
        }
        const isWider = id === 'x86-wc-line' || id === 'tcg-qemu-vfio-w4';
        const total = around.reduce((sum, count) => sum + count, 0);
        if (hasTlps && !isWider) expect(total).toBe(end - offset);
        for (const tlp of result.tlps) {
          expect(tlp.type).toBe('MRd');
          expect((Number(tlp.address) % PAGE) + 4 * tlp.length).toBeLessThanOrEqual(PAGE);
          // A load of 8 bytes at any byte offset may touch three dwords; only s390 has one.
          if (id !== 'x86-wc-line') expect(tlp.length).toBeLessThanOrEqual(id.startsWith('zpci') ? 3 : 2);
        }
        expect(result.dropped).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('AP-02 only vector stores with a larger vectorUcChunk are longer than two dwords on x86-uc', () => {
    expect(single('x86-uc', 'write', 0x40, 64)).toEqual(
      ['40', '48', '50', '58', '60', '68', '70', '78'].map((at) => `${at}:2/f.f`),
    );
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 16 }).length).toBe(4);
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 32 })).toEqual(['40:8/f.f', '60:8/f.f']);
    expect(single('x86-uc', 'write', 0x40, 64, { vectorUcChunk: 64 })).toEqual(['40:16/f.f']);
    // A scalar store does not see the vector option.
    expect(single('x86-uc', 'write', 4, 8, { vectorUcChunk: 64 })).toEqual(['4:1/f.0', '8:1/f.0']);
  });

  it('AP-03 cutting a pwrite at a multiple of 8 does not change the TLPs', () => {
    const cases = fc.tuple(
      OFFSETS,
      fc.integer({ min: 9, max: 300 }),
      fc.nat(40),
      fc.constantFrom('vfio-rw-w4', 'vfio-rw-w8'),
    );
    fc.assert(
      fc.property(cases, ([offset, bytes, steps, id]) => {
        const border = (Math.floor(offset / 8) + 1 + steps) * 8;
        fc.pre(border > offset && border < offset + bytes);
        const path = id as PathId;
        const parts = [
          ...labels(block(path, offset, border - offset).tlps),
          ...labels(block(path, border, offset + bytes - border).tlps),
        ];
        expect(difference('parts', parts, labels(block(path, offset, bytes).tlps))).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it('AP-04 a 64-byte guest store across a page is the KVM fragments of its two parts, cut by QEMU and vfio', () => {
    for (const [id, width] of [
      ['kvm-qemu-vfio-w4', 4],
      ['kvm-qemu-vfio-w8', 8],
    ] as const) {
      for (let offset = PAGE - 63; offset < PAGE; offset++) {
        const parts = cutAt({ at: offset, bytes: 64 }, PAGE);
        const fragments = parts.flatMap(({ at, bytes }) => {
          const count = Math.ceil(bytes / 8);
          return times(count, 0).map((_, n) => ({ at: at + 8 * n, bytes: Math.min(8, bytes - 8 * n) }));
        });
        const qemu = fragments.flatMap((fragment) => naturalPieces(fragment, 8));
        const expected = qemu.flatMap((piece) => naturalPieces(piece, width)).map(requestFor);
        for (const op of ['write', 'read'] as const) {
          const result = splitAccess(id, { op, offset, bytes: 64 });
          expect(difference(`offset ${offset}`, labels(result.tlps), labels(expected))).toBeUndefined();
          expect(result.totals.exits).toBe(fragments.length);
          expect(result.totals.systemCalls).toBe(qemu.length);
          expect(result.totals.guestInstructions).toBe(1);
        }
      }
    }
  });

  it('AP-05 an unaligned TCG load reads both aligned halves around it, an unaligned store goes bytewise', () => {
    const id = 'tcg-qemu-vfio-w4';
    expect(single(id, 'read', 3, 2)).toEqual(['0:1/c.0', '4:1/3.0']);
    expect(single(id, 'read', 5, 8)).toEqual(['0:1/f.0', '4:1/f.0', '8:1/f.0', 'c:1/f.0']);
    expect(single(id, 'read', 0xffe, 4)).toEqual(['ffc:1/f.0', '1000:1/f.0']);
    expect(single(id, 'write', 3, 4)).toEqual(['0:1/8.0', '4:1/1.0', '4:1/2.0', '4:1/4.0']);
    expect(single(id, 'read', 8, 8)).toEqual(['8:1/f.0', 'c:1/f.0']);
    expect(splitAccess(id, { op: 'read', offset: 5, bytes: 8 }).totals).toMatchObject({
      exits: 1,
      systemCalls: 2,
    });
    expect(splitAccess(id, { op: 'write', offset: 5, bytes: 8 }).totals).toMatchObject({
      exits: 1,
      systemCalls: 8,
    });
  });

  it('AP-06 vfio generations 1 and 2 differ only where 8 aligned bytes are left, 2 and 3 not at all', () => {
    fc.assert(
      fc.property(OFFSETS, SIZES, (offset, bytes) => {
        const of = (vfioGeneration: 1 | 2 | 3): SplitResult =>
          block('vfio-rw-w8', offset, bytes, { vfioGeneration });
        const halved = of(2).accesses.flatMap(({ offset: at, bytes: size }) => {
          if (size !== 8) return [{ offset: at, bytes: size }];
          expect(at % 8).toBe(0);
          return [
            { offset: at, bytes: 4 },
            { offset: at + 4, bytes: 4 },
          ];
        });
        expect(of(1).accesses).toEqual(halved);
        expect(of(1).accesses.every(({ bytes: size }) => size <= 4)).toBe(true);
        const hasRun = Math.ceil(offset / 8) * 8 + 8 <= offset + bytes;
        expect(of(2).accesses.some(({ bytes: size }) => size === 8)).toBe(hasRun);
        expect(labels(of(3).tlps)).toEqual(labels(of(2).tlps));
      }),
      { numRuns: 200 },
    );
  });

  it('AP-08 coalesced MMIO changes exits and nothing else: 169 writes wait, the next one exits', () => {
    for (const id of ['kvm-qemu-vfio-w4', 'kvm-qemu-vfio-w8'] as const) {
      for (const count of [1, 169, 170, 171, 339, 340, 512]) {
        const off = block(id, 0, 8 * count);
        const on = block(id, 0, 8 * count, { coalescedMmio: true });
        expect(labels(on.tlps)).toEqual(labels(off.tlps));
        expect(off.totals.exits).toBe(count);
        expect(on.totals.exits).toBe(Math.floor(count / 170));
        expect({ ...comparable(on.totals), exits: 0 }).toEqual({ ...comparable(off.totals), exits: 0 });
      }
      // Reads do not wait in the ring.
      const read = splitAccess(id, {
        op: 'read',
        offset: 0,
        bytes: 4096,
        block: true,
        options: { coalescedMmio: true },
      });
      expect(read.totals.exits).toBe(512);
    }
  });

  // -------------------------------------------------------------------------------------------- the big picture

  const PICTURE: readonly (readonly [string, PathId, number | null, number | null, number])[] = [
    ['one PCISTB, ISM driver', 'zpci-vfio-ism', 1, 1, 16],
    ['one PCISTB, I/O region', 'zpci-io-region', 1, 1, 16],
    ['s390 memcpy_toio', 'zpci-memcpy-new', null, 32, 32],
    ['x86 WC, full lines', 'x86-wc-line', null, null, 64],
    ['x86 MOVDIR64B', 'x86-movdir64b', null, 64, 64],
    ['arm64 __memcpy_toio', 'arm64-memcpy-io', null, 512, 512],
    ['x86 memcpy_toio', 'x86-memcpy-toio', null, 1024, 1024],
    ['one pwrite, generation 3', 'vfio-rw-w8', null, 512, 512],
    ['one pwrite, generation 1', 'vfio-rw-w4', null, 1024, 1024],
    ['guest 8-byte stores, generation 3', 'kvm-qemu-vfio-w8', 512, 512, 512],
    ['guest 8-byte stores, generation 1', 'kvm-qemu-vfio-w4', 512, 1024, 1024],
  ];

  it.each(PICTURE)(
    'AP-12 4096 bytes at 0 by %s (%s): exits, host stores and TLPs of section 6',
    (_name, id, exits, stores, tlps) => {
      const { totals } = block(id, 0, 4096);
      expect(totals.exits).toBe(exits ?? 0);
      if (stores !== null) expect(totals.hostOperations).toBe(stores);
      expect(totals.tlps).toBe(id === 'x86-enqcmd' ? 2 * tlps : tlps);
      expect(totals.requests).toBe(tlps);
    },
  );

  it('AP-12 4096 bytes at 0 by 4-byte guest stores take 1024 of everything, whatever the generation', () => {
    for (const id of ['kvm-qemu-vfio-w4', 'kvm-qemu-vfio-w8'] as const) {
      const sum = { exits: 0, hostOperations: 0, tlps: 0 };
      for (let offset = 0; offset < 4096; offset += 4) {
        const { totals } = countAccess(id, { op: 'write', offset, bytes: 4 });
        sum.exits += totals.exits;
        sum.hostOperations += totals.hostOperations;
        sum.tlps += totals.tlps;
      }
      expect(sum).toEqual({ exits: 1024, hostOperations: 1024, tlps: 1024 });
    }
  });

  it('AP-12 a system call of 4096 bytes is one, and a path without guest has no instructions', () => {
    for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
      expect(block(id, 0, 4096).totals).toMatchObject({ guestInstructions: 0, exits: 0, systemCalls: 1 });
    }
    expect(block('x86-wc-line', 0, 4096).totals.guestInstructions).toBe(64);
  });

  it('AP-13 with vfioMmap an 8-byte store is one write without exit, without it an exit and two writes', () => {
    const mapped = splitAccess('kvm-qemu-vfio-w4', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: true },
    });
    expect(labels(mapped.tlps)).toEqual(['10:2/f.f']);
    expect(mapped.totals).toMatchObject({ exits: 0, systemCalls: 0, guestInstructions: 1 });
    const trapped = splitAccess('kvm-qemu-vfio-w4', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: false },
    });
    expect(labels(trapped.tlps)).toEqual(['10:1/f.0', '14:1/f.0']);
    expect(trapped.totals).toMatchObject({ exits: 1, systemCalls: 1, guestInstructions: 1 });
    const wide = splitAccess('kvm-qemu-vfio-w8', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: false },
    });
    expect(labels(wide.tlps)).toEqual(['10:2/f.f']);
  });

  it('AP-15 one to three bytes inside a dword are one TLP, and come back from a whole dword', async () => {
    const id = 'vfio-rw-w8';
    const { machine, fn } = await rig(core, id, { vfioWidth: 'preserve' });
    const memory = fn.barMemory(0);
    memory.set(pattern(64));
    machine.trace.start();
    for (let offset = 0x10; offset < 0x14; offset++) {
      for (let bytes = 1; bytes <= 3 && offset + bytes <= 0x14; bytes++) {
        const { data } = machine.cpu.read({ path: id, function: fn, bar: 0, offset, length: bytes });
        expect([...data]).toEqual([...memory.subarray(offset, offset + bytes)]);
        const [request, completion, ...more] = machine.trace.take();
        if (request === undefined || completion === undefined) throw new Error('a read is two TLPs');
        expect(more).toEqual([]);
        expect(label(request.tlp, fn.bars[0]?.address)).toBe(label(requestFor({ at: offset, bytes })));
        expect(Number(request.tlp.address) % 4).toBe(0);
        expect(completion.tlp).toMatchObject({
          type: 'CplD',
          length: 1,
          byteCount: bytes,
          lowerAddress: offset,
        });
        expect([...completion.data]).toEqual([...memory.subarray(0x10, 0x14)]);

        const written = pattern(bytes, offset);
        machine.cpu.write({ path: id, function: fn, bar: 0, offset, data: written });
        const writes = machine.trace.take();
        expect(
          labels(
            writes.map(({ tlp }) => tlp),
            fn.bars[0]?.address,
          ),
        ).toEqual([label(requestFor({ at: offset, bytes }))]);
        expect([...memory.subarray(offset, offset + bytes)]).toEqual([...written]);
      }
    }
  });

  it('AP-16 with vfioWidth preserve a pwrite that one TLP can carry is one write', () => {
    const options = { vfioWidth: 'preserve', writeSplit: 'greedy', mps: 256 } as const;
    fc.assert(
      fc.property(OFFSETS, fc.integer({ min: 1, max: 256 }), (offset, bytes) => {
        fc.pre((offset % 4) + bytes <= 256 && (offset % PAGE) + bytes <= PAGE);
        for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
          expect(labels(block(id, offset, bytes, options).tlps)).toEqual([
            label(requestFor({ at: offset, bytes })),
          ]);
        }
      }),
      { numRuns: 200 },
    );
    expect(labels(block('vfio-rw-w8', 0x100, 256, { vfioWidth: 'preserve' }).tlps)).toEqual(['100:64/f.f']);
    // 4 KiB and the excluded range still cut.
    expect(sizesOf(block('vfio-rw-w8', 0xff0, 32, options))).toEqual([16, 16]);
    const excluded = splitAccess('vfio-rw-w8', {
      op: 'write',
      offset: 0x20,
      bytes: 64,
      excluded: [0x30, 0x40],
      options,
    });
    expect(excluded.accesses).toEqual([
      { offset: 0x20, bytes: 16 },
      { offset: 0x40, bytes: 32 },
    ]);
    expect(excluded.dropped).toEqual([{ offset: 0x30, bytes: 16 }]);
  });

  it('AP-16 vfioWidth preserve and split leave the same memory and read the same bytes', async () => {
    const id = 'vfio-rw-w8';
    const [wide, narrow] = [await rig(core, id, { vfioWidth: 'preserve' }), await rig(core, id)];
    fc.assert(
      fc.property(OFFSETS, SIZES, fc.nat(200), (offset, bytes, seed) => {
        const data = pattern(bytes, seed);
        for (const { machine, fn } of [wide, narrow]) {
          machine.cpu.write({ path: id, function: fn, bar: 0, offset, data });
        }
        expect(Buffer.compare(wide.fn.barMemory(0), narrow.fn.barMemory(0))).toBe(0);
        const back = [wide, narrow].map(({ machine, fn }) =>
          machine.cpu.read({ path: id, function: fn, bar: 0, offset, length: bytes }),
        );
        for (const result of back) expect(Buffer.compare(result.data, data)).toBe(0);
        expect(back[0]?.totals.requests).toBeLessThanOrEqual(back[1]?.totals.requests ?? 0);
      }),
      { numRuns: 60 },
    );
  });

  // ------------------------------------------------------------------------------------------------------ tables

  it('access-paths.md 7: the number of TLPs of every longer transfer', () => {
    const wrong: string[] = [];
    const rows = LONGER.trim().split('\n');
    expect(rows.length).toBe(43);
    for (const row of rows) {
      const [, offset = '', size = '', cells = ''] = /^(\w+),(\d+): (.*)$/.exec(row) ?? [];
      for (const [n, cell] of cells.split(' ').entries()) {
        const id = LONGER_PATHS[n];
        if (cell === '-' || id === undefined) continue;
        const { tlps } = block(id, Number.parseInt(offset, 16), Number(size));
        if (tlps.length !== Number(cell))
          wrong.push(`${id} ${offset},${size}: ${tlps.length} instead of ${cell}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('Z-PATH-05 zpci.md 8.1: all 64 cells of old and new vfio-pci widths, for writes and reads', () => {
    const wrong: string[] = [];
    let cells = 0;
    for (const [offset, row] of VFIO_WIDTHS.trim().split('\n').entries()) {
      for (const [column, cell] of row.split(' | ').entries()) {
        cells += 1;
        const [old = '', recent = ''] = cell.split(' / ');
        for (const [id, expected] of [
          ['vfio-rw-w4', old],
          ['vfio-rw-w8', recent],
        ] as const) {
          for (const op of ['write', 'read'] as const) {
            const result = splitAccess(id, { op, offset, bytes: column + 1 });
            const actual = sizesOf(result).join('+');
            if (actual !== expected)
              wrong.push(`${id} ${op} ${column + 1} at ${offset}: ${actual} not ${expected}`);
          }
        }
      }
    }
    expect(cells).toBe(64);
    expect(wrong).toEqual([]);
  });

  it('Z-PATH-06 4096 bytes at 4 are 1024 and 513 vfio accesses, at 1 they are 1026 and 515', () => {
    expect(sizesOf(block('vfio-rw-w4', 4, 4096))).toEqual(times(1024, 4));
    expect(sizesOf(block('vfio-rw-w8', 4, 4096))).toEqual([4, ...times(511, 8), 4]);
    expect(sizesOf(block('vfio-rw-w4', 1, 4096)).length).toBe(1026);
    expect(sizesOf(block('vfio-rw-w8', 1, 4096)).length).toBe(515);
    for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
      expect(sizesOf(block(id, 3, 11))).toEqual([1, 4, 4, 2]);
    }
    expect(sizesOf(block('vfio-rw-w4', 0, 12))).toEqual([4, 4, 4]);
    expect(sizesOf(block('vfio-rw-w8', 0, 12))).toEqual([8, 4]);
  });

  it('Z-PATH-07 8 bytes at 0 of a BAR are two accesses in vfio generation 1 and one in 2 and 3', () => {
    const widths = ([1, 2, 3] as const).map((vfioGeneration) =>
      sizesOf(block('vfio-rw-w8', 0, 8, { vfioGeneration })),
    );
    expect(widths).toEqual([[4, 4], [8], [8]]);
  });

  it('Z-PATH-08 the excluded range drops writes, reads as 0xff, and leaves its neighbours alone', () => {
    for (const id of VFIO_PATHS) {
      for (const op of ['write', 'read'] as const) {
        const result = splitAccess(id, { op, offset: 0, bytes: 64, block: true, excluded: [0x10, 0x20] });
        const skipped = op === 'write' ? result.dropped : result.filledFF;
        const other = op === 'write' ? result.filledFF : result.dropped;
        expect(spanCoverage(skipped, 0x10, 0x10).every((count) => count === 1)).toBe(true);
        expect(other).toEqual([]);
        const enabled = coverage(result.tlps, 0, 64);
        expect([...enabled]).toEqual([...times(16, 1), ...times(16, 0), ...times(32, 1)]);
      }
    }
  });

  it.each(ROWS)(
    'zpci.md 8.4 row %s (%s at %d)',
    (_name, id, offset, options, instructions, exits, calls, operations, tlps) => {
      for (const [n, mps] of ([128, 256, 512, 4096] as const).entries()) {
        const { totals, fault } = countAccess(id, {
          op: 'write',
          offset,
          bytes: 4096,
          block: true,
          options: { ...options, mps },
        });
        expect(fault).toBeUndefined();
        expect({
          guestInstructions: totals.guestInstructions,
          exits: totals.exits,
          systemCalls: totals.systemCalls,
          hostOperations: totals.hostOperations,
          tlps: totals.tlps,
          deviceCalls: totals.deviceCalls,
        }).toEqual({
          guestInstructions: instructions,
          exits,
          systemCalls: calls,
          hostOperations: operations,
          tlps: tlps[n],
          deviceCalls: id === 'zpci-emulated' ? 512 : 0,
        });
      }
    },
  );

  it("zpci.md 8.4 row G': the I/O region fed by memcpy_toio takes 32 of everything", () => {
    const sum = { guestInstructions: 0, exits: 0, systemCalls: 0, hostOperations: 0, tlps: 0 };
    for (let offset = 0; offset < 4096; offset += 128) {
      const { totals } = countAccess('zpci-io-region', {
        op: 'write',
        offset,
        bytes: 128,
        options: { maxstbl: 128 },
      });
      sum.guestInstructions += totals.guestInstructions;
      sum.exits += totals.exits;
      sum.systemCalls += totals.systemCalls;
      sum.hostOperations += totals.hostOperations;
      sum.tlps += totals.tlps;
    }
    expect(sum).toEqual({ guestInstructions: 32, exits: 32, systemCalls: 32, hostOperations: 32, tlps: 32 });
  });

  it('zpci.md 8.4 row D: 512 device calls of 8 bytes, 1024 of 4 where the region takes no more', async () => {
    for (const [max, calls] of [
      [8, 512],
      [4, 1024],
      [0, 1024],
    ] as const) {
      const device = memoryDevice({ bars: [{ size: PAGE, impl: { min: 1, max } }] });
      const machine = await createMachine({
        core,
        platform: 's390x',
        slots: [{ device }],
        hostMemoryBytes: PAGE,
      });
      const [fn] = machine.functions;
      if (fn === undefined) throw new Error('no function');
      const data = pattern(PAGE);
      const { totals } = machine.cpu.write({ path: 'zpci-emulated', function: fn, bar: 0, offset: 0, data });
      expect(totals).toMatchObject({ deviceCalls: calls, tlps: 0, exits: 32, guestInstructions: 32 });
      expect(machine.stats(fn).deviceCalls).toBe(calls);
      expect(Buffer.compare(fn.barMemory(0), data)).toBe(0);
    }
  });

  it('zpci.md 8.4: reading 4096 bytes takes 512 PCILG, 512 exits when intercepted, 1024 host loads of an old vfio', () => {
    const read = (id: PathId): AccessTotals =>
      countAccess(id, { op: 'read', offset: 0, bytes: 4096, block: true }).totals;
    for (const id of ['zpci-memcpy-old', 'zpci-memcpy-new'] as const) {
      expect(read(id)).toMatchObject({ guestInstructions: 512, exits: 0, hostOperations: 512 });
    }
    expect(read('zpci-vfio-w4')).toMatchObject({ guestInstructions: 512, exits: 512, hostOperations: 1024 });
    expect(read('zpci-vfio-w8')).toMatchObject({ guestInstructions: 512, exits: 512, hostOperations: 512 });
  });

  it('Z-PATH-11 a relaxed PCISTB of 11 bytes at 3 is one TLP of four dwords', () => {
    expect(labels(block('zpci-pcistb', 3, 11).tlps)).toEqual(['0:4/8.3']);
  });

  // ------------------------------------------------------------------------------------------ chunks of the s390 copy

  const old = (bytes: number, offset: number): number[] => sizesOf(block('zpci-memcpy-old', offset, bytes));
  const recent = (bytes: number, offset: number): number[] =>
    sizesOf(block('zpci-memcpy-new', offset, bytes));

  it('Z-CHUNK-01 to Z-CHUNK-06 sequences of the old and the new copy helper', () => {
    expect(old(127, 0)).toEqual([64, 32, 16, 8, 4, 2, 1]);
    expect(recent(127, 0)).toEqual([...times(15, 8), 4, 2, 1]);
    expect(old(24, 0)).toEqual([16, 8]);
    expect(recent(24, 0)).toEqual([24]);
    expect(old(20, 0)).toEqual([16, 4]);
    expect(recent(20, 0)).toEqual([8, 8, 4]);
    expect(old(64, 8)).toEqual(times(8, 8));
    expect(recent(64, 8)).toEqual([64]);
    expect(old(4096, 0)).toEqual(times(32, 128));
    expect(recent(4096, 0)).toEqual(times(32, 128));
  });

  it('Z-CHUNK-07 and Z-CHUNK-08 4096 bytes at 4 and at 8', () => {
    expect(old(4096, 4)).toEqual(times(1024, 4));
    expect(recent(4096, 4)).toEqual([...times(511, 8), 4, 4]);
    expect(old(4096, 8)).toEqual(times(512, 8));
    expect(recent(4096, 8)).toEqual([...times(31, 128), 120, 8]);
  });

  it('Z-CHUNK-09 with the literal 4 KiB rule the copy to 8 stops at 0xf88 with a specification exception', async () => {
    const options = { boundary: 'literal' } as const;
    const result = block('zpci-memcpy-new', 8, 4096, options);
    expect(sizesOf(result)).toEqual(times(31, 128));
    expect(result.fault).toMatchObject({ kind: 'zpci', text: 'specification exception', offset: 0xf88 });
    expect(result.fault?.answer?.programInterruption).toEqual({ code: 6, name: 'specification', ilc: 6 });
    expect(result.totals.bytesDone).toBe(3968);
    const counted = countAccess('zpci-memcpy-new', {
      op: 'write',
      offset: 8,
      bytes: 4096,
      block: true,
      options,
    });
    expect(counted).toEqual({ totals: result.totals, fault: result.fault });
    // With the memory address as far into its page, both borders fall together.
    const co = splitAccess('zpci-memcpy-new', {
      op: 'write',
      offset: 8,
      bytes: 4096,
      block: true,
      sourceAddress: 8,
      options,
    });
    expect(co.fault).toBeUndefined();

    const { machine, fn } = await rig(core, 'zpci-memcpy-new', options);
    const data = pattern(4096);
    const written = machine.cpu.write({ path: 'zpci-memcpy-new', function: fn, bar: 0, offset: 8, data });
    expect(written.fault?.offset).toBe(0xf88);
    const memory = fn.barMemory(0);
    expect(Buffer.compare(memory.subarray(8, 8 + 3968), data.subarray(0, 3968))).toBe(0);
    expect(memory.subarray(8 + 3968).every((byte) => byte === 0)).toBe(true);
  });

  it('Z-CHUNK-10 16 bytes at 1: old 16 single bytes; new two of 8, each an operand exception under the qemu dword rule', () => {
    expect(old(16, 1)).toEqual(times(16, 1));
    expect(recent(16, 1)).toEqual([8, 8]);
    const options = { dwordRule: 'qemu' } as const;
    for (const [offset, bytes] of [
      [1, 16],
      [9, 8],
    ] as const) {
      const refused = block('zpci-memcpy-new', offset, bytes, options);
      expect(refused.tlps).toEqual([]);
      expect(refused.fault).toMatchObject({ kind: 'zpci', text: 'operand exception', offset });
      expect(refused.fault?.answer?.programInterruption).toMatchObject({ code: 0x15, name: 'operand' });
    }
    expect(block('zpci-memcpy-old', 1, 16, options).fault).toBeUndefined();
  });

  it('Z-CHUNK-10 a refused PCISTG or PCILG is an instruction of 4 bytes, a refused PCISTB one of 6', () => {
    const ilc = (
      id: PathId,
      op: 'read' | 'write',
      offset: number,
      bytes: number,
      options: OptionInput = {},
    ) => splitAccess(id, { op, offset, bytes, block: true, options }).fault?.answer?.programInterruption?.ilc;
    expect(ilc('zpci-memcpy-new', 'read', 1, 16, { dwordRule: 'qemu' })).toBe(4);
    expect(ilc('zpci-memcpy-new', 'write', 8, 4096, { boundary: 'literal' })).toBe(6);
    expect(ilc('zpci-pcistb', 'write', 4000, 128)).toBe(6);
    expect(ilc('zpci-memcpy-new', 'write', 1, 16, { dwordRule: 'qemu' })).toBe(4);
  });

  it('Z-CHUNK-11 to Z-CHUNK-14 every length up to 129 and around 4096 at every offset follows both helpers', () => {
    const wrong: string[] = [];
    const lengths = [...Array.from({ length: 129 }, (_, n) => n + 1), 4095, 4096, 4097];
    const intended: typeof oldChunk = (offset, source, left, limit) =>
      newChunk(offset, source, left, limit, offset);
    for (const sourceAddress of [0, 3, 8, 4096 - 8]) {
      for (const bytes of lengths) {
        for (let offset = 0; offset <= 8; offset++) {
          const input = { op: 'write', offset, bytes, block: true, sourceAddress } as const;
          for (const [id, next] of [
            ['zpci-memcpy-old', oldChunk],
            ['zpci-memcpy-new', intended],
          ] as const) {
            const sizes = sizesOf(splitAccess(id, input));
            const expected = chunks(offset, sourceAddress, bytes, next);
            if (sizes.join() !== expected.join())
              wrong.push(`${id} ${bytes} at ${offset} from ${sourceAddress}: ${sizes}`);
          }
        }
      }
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    // Counts that the sheet prints where intended and literal differ (table 3.3-new).
    const printed = [
      [4095, 8, 35],
      [4096, 1, 515],
      [4096, 2, 514],
      [4096, 7, 515],
      [4096, 8, 33],
      [4097, 4, 514],
      [4097, 8, 34],
    ] as const;
    for (const [bytes, offset, count] of printed)
      expect(recent(bytes, offset).length, `${bytes} at ${offset}`).toBe(count);
    // The same source and I/O offset: old reaches blocks after a ramp, new never does off a multiple of 8.
    const co = (id: PathId, offset: number): number =>
      splitAccess(id, { op: 'write', offset, bytes: 4096, block: true, sourceAddress: offset }).accesses
        .length;
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].map((o) => co('zpci-memcpy-old', o))).toEqual([
      32, 39, 38, 39, 37, 39, 38, 39, 36,
    ]);
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].map((o) => co('zpci-memcpy-new', o))).toEqual([
      32, 515, 514, 515, 513, 515, 514, 515, 33,
    ]);
  });

  it('Z-CHUNK-12 reads never exceed 8 bytes', () => {
    for (const id of ['zpci-memcpy-old', 'zpci-memcpy-new'] as const) {
      for (const [bytes, offset, count] of [
        [4096, 0, 512],
        [24, 8, 3],
        [7, 0, 3],
      ] as const) {
        const sizes = sizesOf(splitAccess(id, { op: 'read', offset, bytes, block: true }));
        expect(sizes.length).toBe(count);
        expect(Math.max(...sizes)).toBeLessThanOrEqual(8);
      }
    }
  });

  // ------------------------------------------------------------------------------------------------------- options

  it('ucSplitBoundary cuts uncached accesses at its multiples, lower part first', () => {
    for (const ucSplitBoundary of [8, 16, 32, 64] as const) {
      for (let offset = 0; offset < 130; offset++) {
        for (const bytes of [1, 2, 4, 8]) {
          const expected = labels(cutAt({ at: offset, bytes }, ucSplitBoundary).map(requestFor));
          for (const op of ['write', 'read'] as const) {
            const actual = single('x86-uc', op, offset, bytes, { ucSplitBoundary });
            expect(difference(`${bytes} at ${offset}`, actual, expected)).toBeUndefined();
          }
        }
      }
    }
    expect(single('x86-uc', 'write', 4, 8)).toEqual(['4:1/f.0', '8:1/f.0']);
    expect(single('x86-uc', 'write', 4, 8, { ucSplitBoundary: 16 })).toEqual(['4:2/f.f']);
  });

  it('ldpStp makes a register pair two accesses or one', () => {
    for (const op of ['write', 'read'] as const) {
      expect(single('arm64-device', op, 0x18, 16)).toEqual(['18:2/f.f', '20:2/f.f']);
      expect(single('arm64-device', op, 0x18, 16, { ldpStp: 'two' })).toEqual(['18:2/f.f', '20:2/f.f']);
      expect(single('arm64-device', op, 0x18, 16, { ldpStp: 'one' })).toEqual(['18:4/f.f']);
    }
  });

  it('an unaligned access to arm64 Device memory is an alignment fault without TLPs', () => {
    for (const [offset, bytes] of [
      [1, 2],
      [2, 4],
      [4, 8],
      [4, 16],
    ] as const) {
      const result = splitAccess('arm64-device', { op: 'write', offset, bytes });
      expect(result.tlps).toEqual([]);
      expect(result.fault).toMatchObject({ kind: 'alignment', offset, answer: null });
      expect(splitAccess('arm64-device', { op: 'write', offset: 2 * bytes, bytes }).fault).toBeUndefined();
    }
  });

  it('MOVDIR64B and ENQCMD store 64 bytes in one TLP or fault', () => {
    expect(single('x86-movdir64b', 'write', 0x40, 64)).toEqual(['40:16/f.f']);
    expect(single('x86-enqcmd', 'write', 0x40, 64)).toEqual(['40:16/f.f']);
    const enqueue = splitAccess('x86-enqcmd', { op: 'write', offset: 0, bytes: 64 });
    expect(enqueue.tlps[0]).toMatchObject({ type: 'DMWr', flow: 'NP' });
    // A deferrable write is answered: one completion without data.
    expect(enqueue.totals).toMatchObject({ tlps: 2, requests: 1, wireBytesUp: 20, payloadBytesUp: 0 });
    for (const id of LINE_PATHS) {
      expect(splitAccess(id, { op: 'write', offset: 8, bytes: 64 }).fault?.kind).toBe('general-protection');
      expect(splitAccess(id, { op: 'write', offset: 64, bytes: 32 }).fault?.kind).toBe('size');
    }
  });

  it('wcChunkOrder turns the chunks of a partial line round and leaves whole lines in order', () => {
    const chunked = (offset: number, bytes: number, wcChunkOrder: 'ascending' | 'descending'): string[] =>
      labels(block('x86-wc-line', offset, bytes, { wcChunkOrder }).tlps);
    expect(chunked(3, 20, 'ascending')).toEqual(['0:2/8.f', '8:2/f.f', '10:2/f.7']);
    expect(chunked(3, 20, 'descending')).toEqual(['10:2/f.7', '8:2/f.f', '0:2/8.f']);
    expect(chunked(0, 128, 'descending')).toEqual(['0:16/f.f', '40:16/f.f']);
    // A chunk with bytes in one dword only is one dword long.
    expect(chunked(12, 5, 'descending')).toEqual(['10:1/1.0', 'c:1/f.0']);
    fc.assert(
      fc.property(fc.nat(63), fc.integer({ min: 1, max: 63 }), (offset, bytes) => {
        fc.pre(offset + bytes <= 64);
        const turned = chunked(offset, bytes, 'descending').reverse();
        expect(turned).toEqual(chunked(offset, bytes, 'ascending'));
      }),
      { numRuns: 200 },
    );
    // Lines leave in ascending order, the chunks of each turned round.
    expect(chunked(56, 20, 'descending')).toEqual(['38:2/f.f', '48:1/f.0', '40:2/f.f']);
  });

  it('a range behind the BAR is EINVAL for vfio, one that runs over its end is cut short', () => {
    const input = { op: 'write', offset: 0xffc, bytes: 8, barLength: 0x1000 } as const;
    const short = splitAccess('vfio-rw-w8', input);
    expect(short.shortCount).toBe(4);
    expect(labels(short.tlps)).toEqual(['ffc:1/f.0']);
    const behind = splitAccess('vfio-rw-w8', { ...input, offset: 0x1000 });
    expect(behind.error).toBe('EINVAL');
    expect([behind.tlps, behind.accesses, behind.totals.tlps]).toEqual([[], [], 0]);
    const exact = splitAccess('vfio-rw-w8', { ...input, offset: 0xff8 });
    expect([exact.shortCount, exact.error, exact.tlps.length]).toEqual([undefined, undefined, 1]);
  });

  it('refuse paths, directions, sizes and places that do not exist', () => {
    const good = { op: 'write', offset: 0, bytes: 4 } as const;
    const cases: readonly (readonly [string, object, string, string])[] = [
      ['x86-nc', good, 'unknown-name', 'path'],
      ['toString', good, 'unknown-name', 'path'],
      ['x86-movdir64b', { ...good, op: 'read' }, 'invalid-value', 'op'],
      ['x86-uc', { ...good, op: 'copy' }, 'invalid-value', 'op'],
      ['x86-uc', { ...good, bytes: 3 }, 'invalid-value', 'bytes'],
      ['x86-uc', { ...good, bytes: 0 }, 'out-of-range', 'bytes'],
      ['vfio-rw-w8', { ...good, bytes: (1 << 20) + 1 }, 'out-of-range', 'bytes'],
      ['x86-uc', { ...good, offset: -1 }, 'out-of-range', 'offset'],
      ['x86-uc', { ...good, offset: 2 ** 32 }, 'out-of-range', 'offset'],
      ['x86-uc', { ...good, base: -1 }, 'invalid-value', 'base'],
      ['x86-uc', { ...good, sourceAddress: 0.5 }, 'invalid-value', 'sourceAddress'],
      ['x86-uc', { ...good, options: { ucSplitBoundary: 24 } }, 'invalid-value', 'ucSplitBoundary'],
      ['x86-uc', { ...good, options: { tags: 32 } }, 'unsupported', 'tags'],
    ];
    for (const [id, input, code, field] of cases) {
      const error = thrownBy(() => splitAccess(id, input as SplitInput));
      expect(error, `${id} ${field}`).toBeInstanceOf(ZtlpError);
      expect(error).toMatchObject({ code, field });
    }
  });

  // ------------------------------------------------------------------------------------- listing, counting, delivering

  const OPTIONS: fc.Arbitrary<OptionInput> = fc.record({
    mps: fc.constantFrom(128, 256, 4096),
    mrrs: fc.constantFrom(128, 512),
    writeSplit: fc.constantFrom('aligned', 'greedy'),
    readSplit: fc.constantFrom('aligned', 'greedy', 'cocotbext'),
    completionPolicy: fc.constantFrom('fewest', 'rcb'),
    wcChunkOrder: fc.constantFrom('ascending', 'descending'),
    vfioWidth: fc.constantFrom('split', 'split', 'preserve'),
    coalescedMmio: fc.boolean(),
  });
  const OP = fc.constantFrom('read', 'write');

  it.each(PATH_IDS)('%s counts what it lists', (id) => {
    fc.assert(
      fc.property(accessOf(id), OP, OPTIONS, EXCLUDED, (access, op, options, excluded) => {
        fc.pre(PATHS[id][op] !== null);
        const input = { op, ...access, options, ...(excluded === undefined ? {} : { excluded }) };
        const listed = splitAccess(id, input);
        expect(countAccess(id, input)).toEqual({ totals: listed.totals, fault: listed.fault });
        expect(listed.totals.requests).toBe(listed.tlps.length);
        const sum = (of: (tlp: Tlp) => number): number =>
          listed.tlps.reduce((total, tlp) => total + of(tlp), 0);
        expect(listed.totals.wireBytesDown).toBe(sum(({ wireBytes }) => wireBytes));
        expect(listed.totals.payloadBytesDown).toBe(sum(({ payloadBytes }) => payloadBytes));
        const last = listed.accesses.at(-1);
        const ofLast = (tlp: Tlp): number => {
          const first = Number(tlp.address) + Math.log2(tlp.firstBe & -tlp.firstBe);
          const isLast = last !== undefined && first >= last.offset && first < last.offset + last.bytes;
          return isLast ? tlp.wireBytes : 0;
        };
        expect(listed.totals.lastWireBytesDown).toBe(sum(ofLast));
        const answers = listed.totals.tlps - listed.totals.requests;
        if (op === 'read') expect(listed.totals.payloadBytesUp).toBe(sum(({ length }) => 4 * length));
        else expect(listed.totals.payloadBytesUp).toBe(0);
        expect(listed.totals.wireBytesUp).toBe(20 * answers + listed.totals.payloadBytesUp);
      }),
      { numRuns: 60 },
    );
  });

  it('a block of 1 MiB is listed whole, over many rings of TLPs and operations', () => {
    for (const op of ['write', 'read'] as const) {
      const input = {
        op,
        offset: 4,
        bytes: (1 << 20) - 8,
        block: true,
        options: { vfioGeneration: 1 },
      } as const;
      const listed = splitAccess('vfio-rw-w4', input);
      expect(listed.tlps.length).toBe((1 << 18) - 2);
      expect(listed.accesses.length).toBe((1 << 18) - 2);
      expect(listed.tlps.findIndex((tlp, n) => tlp.address !== 4 * n + 4 || tlp.length !== 1)).toBe(-1);
      expect(countAccess('vfio-rw-w4', input).totals).toEqual(listed.totals);
    }
  });

  it.each(['x86-uc', 'vfio-rw-w8', 'x86-enqcmd'] as const)(
    '%s answers the same whatever was listed before',
    (id) => {
      const input = {
        op: id === 'x86-enqcmd' ? 'write' : 'read',
        offset: 0,
        bytes: id === 'x86-enqcmd' ? 64 : 8,
      } as const;
      const first = splitAccess(id, input);
      splitRequest({ op: 'read', address: 0, bytes: 4, firstTag: 77 });
      expect(splitAccess(id, input)).toEqual(first);
    },
  );

  it('L-24 no TLP crosses 4 KiB of the bus, wherever the BAR stands', () => {
    for (const [id, bytes] of [
      ['x86-uc', 8],
      ['x86-movdir64b', 64],
      ['x86-wc-line', 64],
      ['zpci-pcistb', 300],
    ] as const) {
      for (let base = PAGE - 296; base < PAGE; base += 4) {
        const { tlps } = splitAccess(id, {
          op: 'write',
          offset: 0,
          bytes,
          base,
          options: { writeSplit: 'greedy' },
        });
        expect(tlps.every((tlp) => (Number(tlp.address) % PAGE) + 4 * tlp.length <= PAGE)).toBe(true);
        expect(coverage(tlps, base, bytes).every((count) => count === 1)).toBe(true);
      }
    }
  });

  it('the wire bytes of the last operation are its requests and its completions alone', () => {
    const last = (id: PathId, op: 'read' | 'write', offset: number, bytes: number): number[] => {
      const { totals } = splitAccess(id, { op, offset, bytes, base: 2 ** 40, block: true });
      return [totals.lastWireBytesDown, totals.lastWireBytesUp];
    };
    expect(last('vfio-rw-w8', 'write', 0, 12)).toEqual([28, 0]);
    expect(last('vfio-rw-w8', 'write', 0, 16)).toEqual([32, 0]);
    expect(last('vfio-rw-w8', 'read', 0, 16)).toEqual([24, 28]);
    expect(last('zpci-pcistb', 'write', 0, 512)).toEqual([560, 0]);
    expect(last('x86-wc-line', 'read', 0, 128)).toEqual([24, 84]);
    expect(last('x86-enqcmd', 'write', 0, 128)).toEqual([88, 20]);
  });

  it('an access without a fault has no fault offset, also after one that faulted', () => {
    const input = { op: 'write', offset: 0, bytes: 8 } as const;
    expect(splitAccess('arm64-device', { ...input, offset: 4 }).totals.faultOffset).toBe(4);
    expect(splitAccess('arm64-device', input).totals.faultOffset).toBe(0);
    expect(countAccess('x86-uc', input).totals.faultOffset).toBe(0);
  });

  it.each(PATH_IDS)(
    'Z-PATH-10 %s delivers what it lists: bytes, TLPs and totals of a machine',
    async (id) => {
      const { machine, fn } = await rig(core, id);
      const base = fn.bars[0]?.address ?? 0;
      const memory = fn.barMemory(0);
      const background = pattern(memory.length, 99);
      machine.trace.start();
      let before = machine.stats();

      /** What the counters of the machine and of its only function counted since the last call, against `totals`. */
      const compareCounters = (totals: AccessTotals): void => {
        const now = machine.stats();
        for (const key of [
          'tlps',
          'wireBytesDown',
          'wireBytesUp',
          'payloadBytesDown',
          'payloadBytesUp',
        ] as const) {
          expect(now[key] - before[key], key).toBe(totals[key]);
        }
        const byType = Object.values(now.tlpsByType).reduce((sum, count) => sum + count, 0);
        expect(byType).toBe(now.tlps);
        const { tlps, wireBytesDown, wireBytesUp } = now;
        expect(machine.stats(fn)).toMatchObject({ tlps, wireBytesDown, wireBytesUp });
        before = now;
      };

      /** What the machine did against the listing of the same access. */
      const compare = (
        op: 'read' | 'write',
        access: Access,
        totals: AccessTotals,
        fault: unknown,
      ): number => {
        const listed = split(id, op, access, { base });
        const traced = machine.trace.take();
        const down = traced.filter(({ direction }) => direction === 'down');
        expect(withoutTags(down.map(({ tlp }) => tlp))).toEqual(withoutTags(listed.tlps));
        expect(traced.every(({ slot }) => slot === fn.slot)).toBe(true);
        expect(traced.length).toBe(listed.totals.tlps);
        expect(comparable(totals)).toEqual(comparable(listed.totals));
        compareCounters(totals);
        expect(fault).toEqual(listed.fault);
        // What a traced write carries are the bytes it leaves behind.
        for (const { tlp, data } of op === 'write' ? down : []) {
          const at = Number(BigInt(tlp.address) - BigInt(base));
          for (let n = 0; n < data.length; n++) {
            const dw = n < 4 ? tlp.firstBe : n >= data.length - 4 ? tlp.lastBe : 0xf;
            const isEnabled = ((dw >> (n % 4)) & 1) === 1;
            if (data[n] !== (isEnabled ? memory[at + n] : 0))
              throw new Error(`traced byte ${at + n} is ${data[n]}`);
          }
        }
        return listed.fault === undefined ? access.bytes : listed.fault.offset - access.offset;
      };

      fc.assert(
        fc.property(accessOf(id), fc.nat(200), (access, seed) => {
          const { offset, bytes, block: isBlock } = access;
          fc.pre(offset + bytes <= memory.length);
          const at = { path: id, function: fn, bar: 0, offset, block: isBlock };
          memory.set(background);
          const expected = Uint8Array.from(background);
          if (PATHS[id].write !== null) {
            const data = pattern(bytes, seed);
            const { totals, fault } = machine.cpu.write({ ...at, data });
            const done = compare('write', access, totals, fault);
            expected.set(data.subarray(0, done), offset);
            expect(Buffer.compare(memory, expected)).toBe(0);
          }
          if (PATHS[id].read !== null) {
            const { data, totals, fault } = machine.cpu.read({ ...at, length: bytes });
            const done = compare('read', access, totals, fault);
            const wanted = new Uint8Array(bytes);
            wanted.set(expected.subarray(offset, offset + done));
            expect(Buffer.compare(data, wanted)).toBe(0);
            expect(Buffer.compare(memory, expected)).toBe(0);
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  it('TLP-13 a load that no function claims as a whole reads as ones and counts as unsupported', async () => {
    // A load of a 64-byte line reaches over the end of a BAR of 16 bytes.
    const { machine, fn } = await rig(core, 'x86-wc-line', {}, 16);
    machine.trace.start();
    const { data, totals } = machine.cpu.read({
      path: 'x86-wc-line',
      function: fn,
      bar: 0,
      offset: 4,
      length: 8,
    });
    expect([...data]).toEqual(times(8, 0xff));
    expect(totals.unclaimed).toBe(1);
    expect(machine.stats()).toMatchObject({
      unsupportedRequests: 1,
      droppedPosted: 0,
      tlpsByType: { MRd: 1, Cpl: 1 },
    });
    const [request, completion] = machine.trace.take();
    expect(request).toMatchObject({ slot: undefined, direction: 'down' });
    expect(completion).toMatchObject({
      slot: undefined,
      direction: 'up',
      tlp: { type: 'Cpl', status: 1, byteCount: 64 },
    });
    expect(completion?.tlp.tag).toBe(request?.tlp.tag);
    expect(fn.stats.tlps).toBe(0);
  });

  it('Z-PATH-10 every write path that takes a whole page leaves the same bytes', async () => {
    const data = pattern(PAGE, 5);
    for (const id of WRITE_PATHS) {
      const { machine, fn } = await rig(core, id);
      const { fault } = machine.cpu.write({ path: id, function: fn, bar: 0, offset: PAGE, data });
      expect(fault, id).toBeUndefined();
      expect(Buffer.compare(fn.barMemory(0).subarray(PAGE, 2 * PAGE), data), id).toBe(0);
      expect(
        fn
          .barMemory(0)
          .subarray(0, PAGE)
          .every((byte) => byte === 0),
      ).toBe(true);
      expect(
        fn
          .barMemory(0)
          .subarray(2 * PAGE)
          .every((byte) => byte === 0),
      ).toBe(true);
    }
  });

  it('a block of 1 MiB arrives whole with the trace running and with it stopped', async () => {
    const megabyte = 1 << 20;
    const { machine, fn } = await rig(core, 'x86-memcpy-toio', {}, megabyte);
    const at = { path: 'x86-memcpy-toio', function: fn, bar: 0, offset: 1 } as const;
    for (const isTraced of [false, true]) {
      const data = pattern(megabyte - 2, isTraced ? 3 : 4);
      if (isTraced) machine.trace.start();
      const written = machine.cpu.write({ ...at, data });
      const traced = machine.trace.take();
      expect(traced.length).toBe(isTraced ? written.totals.tlps : 0);
      expect(Buffer.compare(fn.barMemory(0).subarray(1, megabyte - 1), data)).toBe(0);
      expect(fn.barMemory(0)[0]).toBe(0);
      const { data: back } = machine.cpu.read({ ...at, length: data.length });
      expect(Buffer.compare(back, data)).toBe(0);
      expect(machine.trace.take().length).toBe(isTraced ? 2 * written.totals.tlps : 0);
    }
  });

  it('L-18 4096 bytes in pieces of 4 take 6.4 times the wire of one store block, in pieces of 8 3.6571 times', () => {
    const wire = (id: PathId): number =>
      countAccess(id, { op: 'write', offset: 0, bytes: 4096, block: true, base: 2 ** 40 }).totals
        .wireBytesDown;
    expect(wire('zpci-pcistb')).toBe(4480);
    expect(wire('zpci-pcistg4') / wire('zpci-pcistb')).toBe(6.4);
    expect(wire('zpci-pcistg8') / wire('zpci-pcistb')).toBeCloseTo(3.6571, 4);
  });

  it('TLP-09 an endpoint cuts completions at 128 bytes and the bytes come back in order', async () => {
    for (const completionPolicy of ['fewest', 'rcb'] as const) {
      const { machine, fn } = await rig(core, 'vfio-rw-w8', {
        vfioWidth: 'preserve',
        completionPolicy,
        mps: 256,
        mrrs: 1024,
      });
      fn.barMemory(0).set(pattern(4 * PAGE));
      machine.trace.start();
      const { data } = machine.cpu.read({
        path: 'vfio-rw-w8',
        function: fn,
        bar: 0,
        offset: 100,
        length: 1000,
      });
      expect(Buffer.compare(data, pattern(4 * PAGE).subarray(100, 1100))).toBe(0);
      const up = machine.trace.take().filter(({ direction }) => direction === 'up');
      // Requests are [100, 1024) and [1024, 1100), 924 and 76 bytes.
      const starts =
        completionPolicy === 'rcb'
          ? [100, 128, 256, 384, 512, 640, 768, 896, 1024]
          : [100, 256, 512, 768, 1024];
      expect(up.map(({ tlp }) => tlp.lowerAddress)).toEqual(starts.map((at) => at % 128));
      expect(up.map(({ tlp }) => tlp.byteCount)).toEqual(starts.map((at) => (at < 1024 ? 1024 : 1100) - at));
      expect(up.every(({ tlp }) => tlp.completer === 0x0100 && tlp.status === 0)).toBe(true);
    }
  });

  // ---------------------------------------------------------------------------------------- write-combining stores

  /** Stores `parts` through the write-combining buffers of `rig`; fences where told; the TLPs as labels. */
  function combine(
    { machine, fn }: Rig,
    parts: readonly (readonly [offset: number, bytes: number] | 'fence')[],
  ): string[] {
    machine.trace.start();
    machine.trace.take();
    for (const part of parts) {
      if (part === 'fence') machine.cpu.wcFence(fn);
      else machine.cpu.wcStore({ function: fn, bar: 0, offset: part[0], data: pattern(part[1], part[0]) });
    }
    const tlps = machine.trace.take().map(({ tlp }) => tlp);
    return labels(tlps, fn.bars[0]?.address);
  }

  it('AP-07 the order of stores inside one line does not change what leaves at the fence', async () => {
    const wc = await rig(core, 'x86-wc-line');
    const memory = wc.fn.barMemory(0);
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 63 }), { minLength: 1, maxLength: 8 });
    const cases = fc.tuple(cuts, fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }), fc.nat(1000));
    fc.assert(
      fc.property(cases, ([borders, kept, shuffle]) => {
        const edges = [0, ...borders.sort((a, b) => a - b), 64];
        const parts = edges.slice(0, -1).map((at, n) => [64 + at, (edges[n + 1] ?? 64) - at] as const);
        const stores = parts.filter((_, n) => kept[n] === true);
        fc.pre(stores.length > 0);
        const rotated = [
          ...stores.slice(shuffle % stores.length),
          ...stores.slice(0, shuffle % stores.length),
        ];
        memory.fill(0);
        const first = combine(wc, [...stores, 'fence']);
        const bytes = Uint8Array.from(memory);
        memory.fill(0);
        const second = combine(wc, [...rotated.reverse(), 'fence']);
        expect(difference('permuted', second, first)).toBeUndefined();
        expect(Buffer.compare(memory, bytes)).toBe(0);
        // Every stored byte arrived, no other changed.
        const expected = new Uint8Array(memory.length);
        for (const [offset, length] of stores) expected.set(pattern(length, offset), offset);
        expect(Buffer.compare(memory, expected)).toBe(0);
        // One write for a full line, else one for each chunk of 8 that holds data.
        const filled = Array.from({ length: 64 }, (_, n) =>
          stores.some(([at, size]) => 64 + n >= at && 64 + n < at + size),
        );
        const chunksWithData = [0, 1, 2, 3, 4, 5, 6, 7].filter((n) =>
          filled.slice(8 * n, 8 * n + 8).includes(true),
        );
        expect(first.length).toBe(filled.every(Boolean) ? 1 : chunksWithData.length);
      }),
      { numRuns: 150 },
    );
  });

  it('AP-07 a fence between two stores to one chunk makes two TLPs, without it they are one', async () => {
    const wc = await rig(core, 'x86-wc-line');
    expect(combine(wc, [[0, 2], [4, 2], 'fence'])).toEqual(['0:2/3.3']);
    expect(combine(wc, [[0, 2], 'fence', [4, 2], 'fence'])).toEqual(['0:1/3.0', '4:1/3.0']);
    expect(combine(wc, [[0, 2], [3, 1], 'fence'])).toEqual(['0:1/b.0']);
    expect(combine(wc, ['fence'])).toEqual([]);
  });

  it('AP-07 the last store to a byte wins', async () => {
    const wc = await rig(core, 'x86-wc-line');
    expect(combine(wc, [[0, 8], [2, 4], 'fence'])).toEqual(['0:2/f.f']);
    const expected = pattern(8, 0);
    expected.set(pattern(4, 2), 2);
    expect([...wc.fn.barMemory(0).subarray(0, 8)]).toEqual([...expected]);
  });

  it('AP-07 a full line leaves at once, or with wcLineComplete lazy at the fence', async () => {
    const immediate = await rig(core, 'x86-wc-line');
    expect(combine(immediate, [[0, 63]])).toEqual([]);
    expect(combine(immediate, [[63, 1]])).toEqual(['0:16/f.f']);
    expect(combine(immediate, [[0, 130]])).toEqual(['0:16/f.f', '40:16/f.f']);
    expect(combine(immediate, ['fence'])).toEqual(['80:1/3.0']);
    const lazy = await rig(core, 'x86-wc-line', { wcLineComplete: 'lazy' });
    expect(combine(lazy, [[0, 64]])).toEqual([]);
    expect(combine(lazy, ['fence'])).toEqual(['0:16/f.f']);
  });

  it('AP-07 with all buffers in use the oldest line leaves first', async () => {
    const four = await rig(core, 'x86-wc-line');
    const lines = [0x100, 0x40, 0xc0, 0x80, 0x140].map((offset) => [offset, 4] as const);
    expect(combine(four, lines.slice(0, 4))).toEqual([]);
    expect(combine(four, lines.slice(4))).toEqual(['100:1/f.0']);
    expect(combine(four, ['fence'])).toEqual(['40:1/f.0', 'c0:1/f.0', '80:1/f.0', '140:1/f.0']);
    const one = await rig(core, 'x86-wc-line', { wcBuffers: 1 });
    expect(
      combine(one, [
        [0, 4],
        [8, 4],
        [64, 4],
      ]),
    ).toEqual(['0:1/f.0', '8:1/f.0']);
  });

  it('AP-07 wcChunkOrder holds for combined stores, and an uncached access closes the open lines', async () => {
    const wc = await rig(core, 'x86-wc-line', { wcChunkOrder: 'descending' });
    expect(combine(wc, [[3, 20], 'fence'])).toEqual(['10:2/f.7', '8:2/f.f', '0:2/8.f']);
    expect(combine(wc, [[0, 4]])).toEqual([]);
    wc.machine.cpu.write({
      path: 'x86-uc',
      function: wc.fn,
      bar: 0,
      offset: 0x200,
      data: pattern(4),
      block: false,
    });
    const tlps = wc.machine.trace.take().map(({ tlp }) => tlp);
    expect(labels(tlps, wc.fn.bars[0]?.address)).toEqual(['0:1/f.0', '200:1/f.0']);
  });

  it('AP-07 a line stored piece by piece and the path of whole lines leave the same TLPs', async () => {
    const wc = await rig(core, 'x86-wc-line');
    fc.assert(
      fc.property(fc.nat(200), fc.integer({ min: 1, max: 300 }), (offset, bytes) => {
        const combined = combine(wc, [[offset, bytes], 'fence']);
        const listed = labels(block('x86-wc-line', offset, bytes).tlps);
        expect([...combined].sort()).toEqual([...listed].sort());
      }),
      { numRuns: 100 },
    );
  });
});
