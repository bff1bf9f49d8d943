/** How Linux cuts a copy to I/O memory on s390: sequences, rules, borders, refused chunks (zpci.md 3.3). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countAccess, type OptionInput, type PathId, splitAccess } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { labels, pattern } from '../support/reference.js';
import { block, OFFSETS, PAGE, rig, SIZES, sizesOf, times } from './support.js';

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

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  const core = useBuild(variant);
  const old = (bytes: number, offset: number): number[] => sizesOf(block('zpci-memcpy-old', offset, bytes));

  const recent = (bytes: number, offset: number): number[] =>
    sizesOf(block('zpci-memcpy-new', offset, bytes));

  it('Z-CHUNK-01, Z-CHUNK-02, Z-CHUNK-03, Z-CHUNK-04, Z-CHUNK-05, Z-CHUNK-06: sequences of both copy helpers', () => {
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
    expect(result.fault?.errno).toBe('ENXIO');
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

    const { machine, fn } = await rig(core(), 'zpci-memcpy-new', options);
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

  it('zpci.md 3.3 every length up to 129 and around 4096 at nine offsets and four sources follows a model of both helpers', () => {
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

  it('Z-CHUNK-12 4096, 24 and 7 bytes are read in pieces of at most 8 bytes', () => {
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

  // Copies as software makes them: any length, any I/O offset, any source.
  const COPY = fc.record({
    offset: OFFSETS,
    bytes: SIZES,
    source: fc.oneof(fc.nat(16), fc.nat(3 * PAGE), fc.constantFrom(0, 8, PAGE - 8, PAGE)),
  });
  const COPIES: readonly PathId[] = ['zpci-memcpy-old', 'zpci-memcpy-new', 'zpci-interpreted', 'zpci-mio'];

  it('Z-CHUNK-12 reads of any length at any offset are loads of at most 8 bytes, never blocks', async () => {
    for (const id of COPIES) {
      const { machine, fn } = await rig(core(), id);
      fc.assert(
        fc.property(COPY, ({ offset, bytes, source }) => {
          // A load that crosses a page would be refused, whatever its length: lists go on behind it.
          const input = { op: 'read', offset, bytes, block: true, sourceAddress: source } as const;
          const sizes = sizesOf(splitAccess(id, { ...input, ignoreFaults: true }));
          expect(Math.max(...sizes)).toBeLessThanOrEqual(8);
          expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(bytes);
          const before = fn.stats;
          const { totals } = machine.cpu.read({
            path: id,
            function: fn,
            bar: 0,
            offset,
            length: bytes,
            sourceAddress: source,
          });
          expect(fn.stats.loads - before.loads).toBe(totals.hostOperations);
          expect(totals.hostOperations).toBeGreaterThanOrEqual(totals.bytesDone / 8);
          expect([fn.stats.stores, fn.stats.storeBlocks]).toEqual([0, 0]);
        }),
        { numRuns: 60 },
      );
    }
  });

  it('Z-CHUNK-13 old sizes are powers of two that divide the I/O address and the memory address', () => {
    fc.assert(
      fc.property(COPY, fc.constantFrom('read', 'write'), ({ offset, bytes, source }, op) => {
        const { accesses } = splitAccess('zpci-memcpy-old', {
          op,
          offset,
          bytes,
          block: true,
          sourceAddress: source,
        });
        let next = offset;
        for (const { offset: at, bytes: size } of accesses) {
          expect(at).toBe(next);
          expect(Number.isInteger(Math.log2(size)) && size <= (op === 'write' ? 128 : 8)).toBe(true);
          expect([at % size, (source + at - offset) % size]).toEqual([0, 0]);
          next = at + size;
        }
        expect(next).toBe(offset + bytes);
      }),
      { numRuns: 300 },
    );
  });

  it('Z-CHUNK-14 new blocks are multiples of 8 up to 128 at multiples of 8 of both addresses', () => {
    const aligned = COPY.map((copy) => ({
      ...copy,
      offset: copy.offset - (copy.offset % 8),
      source: copy.source - (copy.source % 8),
    }));
    for (const boundary of ['intended', 'literal'] as const) {
      let blocks = 0;
      fc.assert(
        fc.property(fc.oneof(COPY, aligned), ({ offset, bytes, source }) => {
          const input = { op: 'write', offset, bytes, block: true, sourceAddress: source } as const;
          const { accesses } = splitAccess('zpci-memcpy-new', {
            ...input,
            options: { boundary },
            ignoreFaults: true,
          });
          for (const { offset: at, bytes: size } of accesses.filter((access) => access.bytes > 8)) {
            blocks += 1;
            expect(size % 8 === 0 && size <= 128).toBe(true);
            expect([at % 8, (source + at - offset) % 8]).toEqual([0, 0]);
          }
        }),
        { numRuns: 300 },
      );
      expect(blocks).toBeGreaterThan(100);
    }
  });

  it('Z-CHUNK-15 __iowrite64_copy of 8 doublewords at a multiple of 8 is one PCISTB of 64, in one TLP', async () => {
    // On s390 it is the copy of 8 bytes per doubleword.
    const options = { writeSplit: 'aligned', mps: 4096 } as const;
    const { machine, fn } = await rig(core(), 'zpci-memcpy-new', options);
    machine.trace.start();
    for (let offset = 0; offset + 64 <= PAGE; offset += 8) {
      const before = fn.stats;
      const data = pattern(64, offset);
      const { fault } = machine.cpu.write({ path: 'zpci-memcpy-new', function: fn, bar: 0, offset, data });
      expect(fault).toBeUndefined();
      expect([fn.stats.storeBlocks - before.storeBlocks, fn.stats.stores - before.stores]).toEqual([1, 0]);
      const tlps = machine.trace.take();
      expect(
        labels(
          tlps.map(({ tlp }) => tlp),
          fn.bars[0]?.address,
        ),
      ).toEqual([`${offset.toString(16)}:16/f.f`]);
      expect(recent(64, offset)).toEqual([64]);
      // The old helper did that at multiples of 64 only.
      expect(old(64, offset).length === 1).toBe(offset % 64 === 0);
    }
  });

  it('Z-CHUNK-16, first half: with the MIO forms the sequence is that of the handle forms', () => {
    fc.assert(
      fc.property(COPY, fc.constantFrom('read', 'write'), ({ offset, bytes, source }, op) => {
        const input = { op, offset, bytes, block: true, sourceAddress: source } as const;
        expect(splitAccess('zpci-mio', input)).toEqual(splitAccess('zpci-memcpy-new', input));
      }),
      { numRuns: 200 },
    );
  });

  it('Z-CHUNK-19 a driver of copies and single stores never issues an unaligned PCISTB, also in a relaxed group', async () => {
    // What a driver of the mlx kind does to its BAR: doorbells of 4 and 8 bytes, descriptors copied from anywhere.
    const WORDS = { 'zpci-pcistg4': 4, 'zpci-pcistg8': 8 } as const;
    const word = fc.record({ path: fc.constantFrom('zpci-pcistg4', 'zpci-pcistg8'), slot: fc.nat(500) });
    const path = fc.constantFrom('zpci-memcpy-old', 'zpci-memcpy-new');
    const bytes = fc.integer({ min: 1, max: 300 });
    const anywhere = fc.record({ path, bytes, offset: fc.nat(2 * PAGE), source: fc.nat(PAGE) });
    // Descriptors as a driver lays them out: most of these become blocks.
    const aligned = fc.record({
      path,
      bytes: fc.integer({ min: 8, max: 32 }).map((n) => 8 * n),
      offset: fc.nat(256).map((n) => 16 * n),
      source: fc.nat(16).map((n) => 16 * n),
    });
    const steps = fc.array(fc.oneof(word, anywhere, aligned), { minLength: 6, maxLength: 12 });
    const groups = await Promise.all(
      [false, true].map((relaxed) => rig(core(), 'zpci-memcpy-new', { relaxed, maxstbl: 4096 })),
    );
    let blocks = 0;
    fc.assert(
      fc.property(steps, (sequence) => {
        for (const step of sequence) {
          const single = 'slot' in step;
          const size = single ? WORDS[step.path as keyof typeof WORDS] : step.bytes;
          const offset = single ? step.slot * size : step.offset;
          const source = single ? 0 : step.source;
          const id = step.path as PathId;
          const results = groups.map(({ machine, fn }) => {
            machine.trace.start();
            const block = !single;
            const data = pattern(size, offset);
            const input = { path: id, function: fn, bar: 0, offset, data, block, sourceAddress: source };
            const { fault, totals } = machine.cpu.write(input);
            const tlps = machine.trace.take().map(({ tlp }) => tlp);
            return { fault, totals, tlps };
          });
          // The strict group refuses every unaligned block: both groups see the same and answer the same.
          expect(results[1]).toEqual(results[0]);
          const { accesses } = splitAccess(id, {
            op: 'write',
            offset,
            bytes: size,
            block: !single,
            sourceAddress: source,
            ignoreFaults: true,
          });
          for (const { offset: at, bytes: length } of accesses.filter((access) => access.bytes > 8)) {
            blocks += 1;
            expect([at % 8, length % 8, (source + at - offset) % 8]).toEqual([0, 0, 0]);
          }
        }
        const [strict, relaxed] = groups;
        expect(strict?.fn.stats).toEqual(relaxed?.fn.stats);
      }),
      { numRuns: 80 },
    );
    expect(blocks).toBeGreaterThan(30);
    // The group is relaxed indeed: a PCISTB of its own would pass.
    const answers = groups.map(({ machine, fn }) =>
      machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 3, length: 11, source: pattern(11) }),
    );
    expect(answers.map(({ cc }) => cc)).toEqual([null, 0]);
  });
});
