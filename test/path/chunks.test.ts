/** How Linux cuts a copy to I/O memory on s390: sequences, borders, refused chunks (zpci.md 3.3). */
import { describe, expect, it } from 'vitest';
import { countAccess, type OptionInput, type PathId, splitAccess } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { pattern } from '../support/reference.js';
import { block, PAGE, rig, sizesOf, times } from './support.js';

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
});
