// The same accesses through another path: which stores merge, what the path costs, and what keeps its own path.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ready } from '../../src/core/shared.js';
import { splitAccess } from '../../src/path/split.js';
import { PATH_IDS } from '../../src/path/table.js';
import { type ReplayOptions, replayFile } from '../../src/report/replay.js';
import type { PathSummary } from '../../src/report/replay-path.js';
import { formatReplay } from '../../src/report/replay-text.js';
import { PLAIN } from '../../src/report/style.js';

const vector = (name: string): string => fileURLToPath(new URL(`../vectors/${name}`, import.meta.url));
const MMIO = vector('traces/nvme-e1000e-linux61.mmiotrace.txt');
const ZPCI = vector('trace-linux-s390x-virtio-net.log');

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ztlp-'));
  await ready(await readFile(new URL('../../build/release.wasm', import.meta.url)));
});
afterAll(() => rm(dir, { recursive: true }));

/** BAR0 of 64 KiB at 0xe0000000 and, directly behind it, BAR1 of 4 KiB; BAR2 of 1 MiB above 4 GiB. */
const HEAD = [
  'VERSION 20070824',
  'PCIDEV 0008 1b360010 a e0000000 e0010000 100000000c 0 0 0 0 10000 1000 100000 0 0 0 0 x',
];
const BAR0 = 0xe0000000;
const BAR2 = 0x10_0000_0000;

const R = (width: number, address: number): string =>
  `R ${width} 1.000000 1 0x${address.toString(16)} 0x0 0x0 0`;
const W = (width: number, address: number): string => R(width, address).replace('R', 'W');
/** Stores of `width` bytes, one behind the other. */
const stores = (width: number, from: number, count: number): string[] =>
  Array.from({ length: count }, (_, n) => W(width, from + n * width));

async function through(
  path: string,
  lines: readonly string[],
  options: ReplayOptions = {},
): Promise<PathSummary> {
  const file = join(dir, 'log.txt');
  await writeFile(file, `${[...HEAD, ...lines].join('\n')}\n`);
  return (await replayFile(file, { ...options, path })).path as PathSummary;
}

const NONE = { 'not memory': 0, 'no read': 0, fault: 0 } as const;

describe('the recorded log', () => {
  it('through QEMU and vfio: every access exits and becomes a system call', async () => {
    const { path } = await replayFile(MMIO, { path: 'kvm-qemu-vfio-w4', merge: false });
    const costs = {
      accesses: 4902,
      guestInstructions: 4902,
      hostOperations: 4902,
      deviceCalls: 0,
      tlpCount: 6911,
    };
    const wire = { wireBytesDown: 2009 * 20 + 2893 * 24, wireBytesUp: 2009 * 24 };
    expect(path).toEqual({
      path: 'kvm-qemu-vfio-w4',
      merge: false,
      recorded: { ...costs, ...wire, exits: 0, systemCalls: 0 },
      through: { ...costs, ...wire, exits: 4902, systemCalls: 4902 },
      kept: NONE,
      merged: { runs: 0, stores: 0, longest: { stores: 0, bytes: 0 } },
    });
  });

  it('has 567 stores that merge into 59 blocks', async () => {
    const { path } = await replayFile(MMIO, { path: 'kvm-qemu-vfio-w4' });
    expect(path?.merged).toEqual({ runs: 59, stores: 567, longest: { stores: 128, bytes: 512 } });
    // Pairs of dword stores become one 8-byte store, one exit and one call; generation 1 of vfio cuts it in two again.
    expect(path?.through).toMatchObject({ accesses: 4902 - 567 + 59, hostOperations: 4902, tlpCount: 6911 });
    expect(path?.through.exits).toBe(path?.through.systemCalls);
    expect(path?.through.exits).toBeLessThan(4902);
    const wide = (await replayFile(MMIO, { path: 'kvm-qemu-vfio-w8' })).path;
    expect(wide?.through.exits).toBe(path?.through.exits);
    expect(wide?.through.hostOperations).toBe(wide?.through.systemCalls);
  });

  it('through one PCISTB per block: reads keep their own path', async () => {
    const { path, ...summary } = await replayFile(MMIO, { path: 'zpci-pcistb' });
    expect(path?.kept).toEqual({ ...NONE, 'no read': 2009 });
    expect(path?.through).toMatchObject({ accesses: 4394, hostOperations: 4394, wireBytesUp: 48216 });
    expect(path?.recorded).toMatchObject({
      tlpCount: summary.tlpCount,
      wireBytesDown: summary.wireBytesDown,
    });
  });

  it('of s390x: configuration accesses keep their own path, other instructions end a run', async () => {
    const { path } = await replayFile(ZPCI, { path: 'zpci-pcistg4' });
    expect(path?.kept).toEqual({ ...NONE, 'not memory': 199 + 24 });
    expect(path?.recorded).toMatchObject({ accesses: 532, hostOperations: 532, tlpCount: 807 });
    expect(path?.merged).toEqual({ runs: 11, stores: 37, longest: { stores: 6, bytes: 24 } });
    expect(path?.through).toMatchObject({ hostOperations: 532, tlpCount: 807 });
  });

  it.each(PATH_IDS)('goes through %s, with a cost for every access', async (id) => {
    for (const merge of [true, false]) {
      const { path } = await replayFile(MMIO, { path: id, merge });
      const { recorded, through: other, merged, kept } = path as PathSummary;
      expect(recorded.accesses).toBe(4902);
      expect(other.accesses).toBe(4902 - merged.stores + merged.runs);
      expect(kept['not memory']).toBe(0);
      expect(other.guestInstructions + other.systemCalls).toBeGreaterThan(0);
      if (!merge) expect(merged.runs).toBe(0);
    }
  });
});

describe('stores', () => {
  const merged = async (lines: readonly string[]): Promise<readonly [number, number, number]> => {
    const { runs, stores: count, longest } = (await through('zpci-pcistb', lines)).merged;
    return [runs, count, longest.bytes];
  };

  it('to ascending adjacent addresses become one block', async () => {
    const result = await through('zpci-pcistb', stores(4, BAR0 + 0x1000, 1024));
    expect(result.merged).toEqual({ runs: 1, stores: 1024, longest: { stores: 1024, bytes: 4096 } });
    expect(result.recorded).toMatchObject({ accesses: 1024, tlpCount: 1024, wireBytesDown: 1024 * 24 });
    // One PCISTB; MPS 256 cuts it into 16 requests (zpci.md 8.4, row C).
    expect(result.through).toMatchObject({
      accesses: 1,
      guestInstructions: 1,
      hostOperations: 1,
      tlpCount: 16,
      wireBytesDown: 4096 + 16 * 20,
    });
  });

  it('may differ in width', async () => {
    expect(await merged([W(1, BAR0 + 1), W(2, BAR0 + 2), W(4, BAR0 + 4), W(8, BAR0 + 8)])).toEqual([
      1, 4, 15,
    ]);
  });

  it.each([
    ['a read', R(4, BAR0 + 0x100)],
    ['a mark', 'MARK 1.000000 here'],
    ['an instruction that was not decoded', 'UNKNOWN 1.000000 1 0xe0000100 0f,ab,00 0x0 0'],
    ['a store elsewhere', W(4, BAR0 + 0x200)],
  ])('do not merge when there is %s between them', async (_what, between) => {
    const lines = [...stores(4, BAR0, 2), between, ...stores(4, BAR0 + 8, 2)];
    expect(await merged(lines)).toEqual([2, 4, 8]);
  });

  it('merge over lines that are none of the log', async () => {
    expect(await merged([W(4, BAR0), 'a kernel message', '', W(4, BAR0 + 4)])).toEqual([1, 2, 8]);
  });

  it.each([
    ['with a gap', [W(4, BAR0), W(4, BAR0 + 8)]],
    ['that overlap', [W(4, BAR0), W(4, BAR0 + 2)]],
    ['to one address', [W(4, BAR0), W(4, BAR0)]],
    ['in descending order', [W(4, BAR0 + 4), W(4, BAR0)]],
    ['in two BARs that are neighbours', [W(4, BAR0 + 0xfffc), W(4, BAR0 + 0x10000)]],
    ['outside every BAR', [W(4, 0x1000), W(4, 0x1004)]],
    ['4 GiB apart', [W(4, BAR2), W(4, 4)]],
  ])('do not merge %s', async (_what, lines) => {
    expect(await merged(lines)).toEqual([0, 0, 0]);
  });

  it('make blocks of up to 4 KiB, which no page border crosses', async () => {
    expect(await merged(stores(8, BAR0 + 0x1000, 1536))).toEqual([3, 1536, 4096]);
    expect(await merged(stores(8, BAR0 + 0x800, 1024))).toEqual([3, 1024, 4096]);
    expect(await merged([W(4, BAR0 + 0xffc), W(4, BAR0 + 0x1000)])).toEqual([0, 0, 0]);
    // An unaligned store over the border stays alone.
    expect(await merged([W(4, BAR0 + 0xffa), W(4, BAR0 + 0xffe), W(4, BAR0 + 0x1002)])).toEqual([0, 0, 0]);
  });

  it('merge above 4 GiB, where headers have 4 DWs', async () => {
    const { through: other } = await through('zpci-pcistb', stores(8, BAR2, 32));
    expect(other).toMatchObject({ accesses: 1, tlpCount: 1, wireBytesDown: 256 + 24 });
  });

  it('stay as they are with merge: false', async () => {
    const result = await through('zpci-pcistb', stores(4, BAR0, 8), { merge: false });
    expect(result.merged).toEqual({ runs: 0, stores: 0, longest: { stores: 0, bytes: 0 } });
    expect(result.through).toMatchObject({ accesses: 8, hostOperations: 8, tlpCount: 8 });
  });
});

describe('an access that the path cannot carry', () => {
  it('keeps its own path: no read', async () => {
    const result = await through('zpci-pcistb', [R(4, BAR0), W(4, BAR0)]);
    expect(result.kept).toEqual({ ...NONE, 'no read': 1 });
    expect(result.through).toEqual(result.recorded);
  });

  it('keeps its own path: a fault', async () => {
    const unaligned = await through('arm64-device', [W(4, BAR0 + 2), W(4, BAR0 + 8), R(8, BAR0 + 4)]);
    expect(unaligned.kept).toEqual({ ...NONE, fault: 2 });
    expect(unaligned.through.tlpCount).toBe(unaligned.recorded.tlpCount);
  });

  it('is each store of a block that the path refuses', async () => {
    // MOVDIR64B stores 64 aligned bytes: 16 dwords at a border are one, other blocks are none.
    const good = await through('x86-movdir64b', stores(4, BAR0 + 64, 16));
    expect(good).toMatchObject({
      kept: NONE,
      merged: { runs: 1, stores: 16 },
      through: { accesses: 1, tlpCount: 1 },
    });
    const bad = await through('x86-movdir64b', stores(4, BAR0 + 4, 16));
    expect(bad).toMatchObject({ kept: { fault: 16 }, merged: { runs: 0, stores: 0 } });
    expect(bad.through).toEqual(bad.recorded);
  });
});

describe('options', () => {
  it('go over those of the path', async () => {
    const { through: other } = await through('zpci-pcistb', stores(8, BAR0, 512), { options: { mps: 128 } });
    expect(other.tlpCount).toBe(32);
  });

  it('and paths that do not exist are refused before the file is read', async () => {
    await expect(replayFile('none', { path: 'x86-uq' })).rejects.toMatchObject({
      code: 'unknown-name',
      field: 'path',
    });
    const options = { msiWindowOverflow: 'linux' } as const;
    await expect(replayFile('none', { path: 'x86-uc', options })).rejects.toMatchObject({
      code: 'unsupported',
    });
  });
});

describe('any accesses', () => {
  it('cost without merging what the path makes of each alone', async () => {
    const access = fc.record({
      op: fc.constantFrom('read', 'write'),
      bytes: fc.constantFrom(1, 2, 4, 8),
      offset: fc.nat(0x2ff0),
      base: fc.constantFrom(BAR0, BAR2),
    });
    const ids = fc.constantFrom(
      'x86-uc',
      'kvm-qemu-vfio-w8',
      'tcg-qemu-vfio-w4',
      'zpci-memcpy-new',
      'zpci-emulated',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(access, { maxLength: 30 }), ids, async (accesses, id) => {
        const lines = accesses.map(({ op, bytes, offset, base }) =>
          (op === 'read' ? R : W)(bytes, base + offset),
        );
        const { through: other } = await through(id, lines, { merge: false });
        const alone = accesses.map((input) => {
          const { totals, fault } = splitAccess(id, input);
          return fault === undefined ? totals : splitAccess('x86-uc', input).totals;
        });
        for (const measure of [
          'exits',
          'systemCalls',
          'hostOperations',
          'deviceCalls',
          'wireBytesDown',
        ] as const)
          expect([measure, other[measure]]).toEqual([
            measure,
            alone.reduce((sum, cost) => sum + cost[measure], 0),
          ]);
        expect(other.tlpCount).toBe(alone.reduce((sum, { tlps }) => sum + tlps, 0));
      }),
      { numRuns: 60 },
    );
  });

  it('need no more memory for a long log', async () => {
    const lines = Array.from({ length: 100_000 }, (_, i) => W(4, BAR0 + ((4 * i) % 0x10000)));
    const before = process.memoryUsage().heapUsed;
    const { merged } = await through('zpci-pcistb', lines);
    expect(merged.stores).toBe(100_000);
    expect(merged.runs).toBe(Math.ceil((100_000 * 4) / 4096));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20);
  });
});

describe('the text', () => {
  it('has both sides, and says what merged and what did not', async () => {
    const summary = await replayFile(MMIO, { path: 'zpci-pcistb' });
    const text = formatReplay({ ...summary, file: 'trace.txt' }, PLAIN);
    expect(text).toContain('The same accesses through zpci-pcistb\n');
    expect(text).toMatch(/^accesses +4,902 +4,394$/m);
    expect(text).toMatch(/^TLPs +6,911 +6,406$/m);
    expect(text).not.toContain('device calls');
    expect(text).toContain(
      '567 stores merged into 59 blocks, the longest 128 stores of 512 bytes together; ' +
        '2,009 accesses keep their own path (no read 2,009)',
    );
    const plain = formatReplay(await replayFile(MMIO, { path: 'zpci-emulated', merge: false }), PLAIN);
    expect(plain).toMatch(/^device calls +0 +4,902$/m);
    expect(plain).toContain('stores are not merged; no access keeps its own path');
  });
});
