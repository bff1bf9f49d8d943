/** Write-combining stores: order inside a line, fences, full lines, buffers in use. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import { difference, labels, pattern } from '../support/reference.js';
import { block, type Rig, rig } from './support.js';

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  const core = useBuild(variant);

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
    const wc = await rig(core(), 'x86-wc-line');
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
    const wc = await rig(core(), 'x86-wc-line');
    expect(combine(wc, [[0, 2], [4, 2], 'fence'])).toEqual(['0:2/3.3']);
    expect(combine(wc, [[0, 2], 'fence', [4, 2], 'fence'])).toEqual(['0:1/3.0', '4:1/3.0']);
    expect(combine(wc, [[0, 2], [3, 1], 'fence'])).toEqual(['0:1/b.0']);
    expect(combine(wc, ['fence'])).toEqual([]);
  });

  it('AP-07 the last store to a byte wins', async () => {
    const wc = await rig(core(), 'x86-wc-line');
    expect(combine(wc, [[0, 8], [2, 4], 'fence'])).toEqual(['0:2/f.f']);
    const expected = pattern(8, 0);
    expected.set(pattern(4, 2), 2);
    expect([...wc.fn.barMemory(0).subarray(0, 8)]).toEqual([...expected]);
  });

  it('AP-07 a full line leaves at once, or with wcLineComplete lazy at the fence', async () => {
    const immediate = await rig(core(), 'x86-wc-line');
    expect(combine(immediate, [[0, 63]])).toEqual([]);
    expect(combine(immediate, [[63, 1]])).toEqual(['0:16/f.f']);
    expect(combine(immediate, [[0, 130]])).toEqual(['0:16/f.f', '40:16/f.f']);
    expect(combine(immediate, ['fence'])).toEqual(['80:1/3.0']);
    const lazy = await rig(core(), 'x86-wc-line', { wcLineComplete: 'lazy' });
    expect(combine(lazy, [[0, 64]])).toEqual([]);
    expect(combine(lazy, ['fence'])).toEqual(['0:16/f.f']);
  });

  it('AP-07 with all buffers in use the oldest line leaves first', async () => {
    const four = await rig(core(), 'x86-wc-line');
    const lines = [0x100, 0x40, 0xc0, 0x80, 0x140].map((offset) => [offset, 4] as const);
    expect(combine(four, lines.slice(0, 4))).toEqual([]);
    expect(combine(four, lines.slice(4))).toEqual(['100:1/f.0']);
    expect(combine(four, ['fence'])).toEqual(['40:1/f.0', 'c0:1/f.0', '80:1/f.0', '140:1/f.0']);
    const one = await rig(core(), 'x86-wc-line', { wcBuffers: 1 });
    expect(
      combine(one, [
        [0, 4],
        [8, 4],
        [64, 4],
      ]),
    ).toEqual(['0:1/f.0', '8:1/f.0']);
  });

  it('AP-07 wcChunkOrder holds for combined stores, and an uncached access closes the open lines', async () => {
    const wc = await rig(core(), 'x86-wc-line', { wcChunkOrder: 'descending' });
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
    const wc = await rig(core(), 'x86-wc-line');
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
