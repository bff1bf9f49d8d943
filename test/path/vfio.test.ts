/** Reads and writes on vfio-pci: widths by generation, excluded ranges, kept widths, ends of the BAR. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MODE_LIVE, RUN_DONE } from '../../assembly/layout.js';
import { Core } from '../../src/core/core.js';
import { memoryDevice, type PathId, type SplitResult, splitAccess } from '../../src/index.js';
import { checkConfig } from '../../src/machine/config.js';
import { Machine } from '../../src/machine/machine.js';
import { pathOf, pathOptions, planOf, setParams } from '../../src/path/prepare.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { coverage, difference, label, labels, pattern, requestFor } from '../support/reference.js';
import {
  block,
  cutAt,
  OFFSETS,
  PAGE,
  rig,
  SIZES,
  sizesOf,
  spanCoverage,
  times,
  VFIO_PATHS,
} from './support.js';

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

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  const core = useBuild(variant);

  it('AP-03 vfio output does not depend on where the caller keeps the data', async () => {
    for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
      const { machine, fn } = await rig(core(), id);
      machine.trace.start();
      fc.assert(
        fc.property(OFFSETS, SIZES, fc.nat(40), fc.nat(2 * PAGE), (offset, bytes, gap, sourceAddress) => {
          // The same bytes as an array of their own, and inside a larger one, said to stand somewhere else in memory.
          const data = pattern(bytes, gap);
          const inside = new Uint8Array(gap + bytes + 7).fill(0xdd);
          inside.set(data, gap);
          const at = { path: id, function: fn, bar: 0, offset } as const;
          machine.cpu.write({ ...at, data });
          const expected = machine.trace.take();
          machine.cpu.write({ ...at, data: inside.subarray(gap, gap + bytes), sourceAddress });
          expect(machine.trace.take()).toEqual(expected);
          for (const op of ['write', 'read'] as const) {
            const input = { op, offset, bytes, block: true } as const;
            const moved = splitAccess(id, { ...input, sourceAddress });
            expect(labels(moved.tlps)).toEqual(labels(splitAccess(id, input).tlps));
          }
        }),
        { numRuns: 60 },
      );
    }
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

  it('AP-15 one to three bytes inside a dword are one TLP, and come back from a whole dword', async () => {
    const id = 'vfio-rw-w8';
    const { machine, fn } = await rig(core(), id, { vfioWidth: 'preserve' });
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

  it('AP-16 with vfioWidth preserve and writeSplit greedy a pwrite that one TLP can carry is one write', () => {
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

  it('AP-16 with writeSplit aligned a kept width is cut at multiples of MPS and nowhere else', () => {
    for (const mps of [128, 256, 4096] as const) {
      fc.assert(
        fc.property(OFFSETS, fc.integer({ min: 1, max: 600 }), (offset, bytes) => {
          fc.pre((offset % PAGE) + bytes <= PAGE);
          const { tlps, accesses } = block('vfio-rw-w8', offset, bytes, { vfioWidth: 'preserve', mps });
          expect(accesses).toEqual([{ offset, bytes }]);
          // Up to a doubleword is never cut.
          const pieces = bytes <= 8 ? [{ at: offset, bytes }] : cutAt({ at: offset, bytes }, mps);
          expect(labels(tlps)).toEqual(labels(pieces.map(requestFor)));
        }),
        { numRuns: 150 },
      );
    }
  });

  it('AP-16 vfioWidth preserve and split leave the same memory and read the same bytes', async () => {
    const id = 'vfio-rw-w8';
    const [wide, narrow] = [await rig(core(), id, { vfioWidth: 'preserve' }), await rig(core(), id)];
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

  it('Z-PATH-07 8 bytes at 0 of the ROM BAR are 4 and 4 in vfio generations 1 and 3, 8 in 2; so in VGA ranges', () => {
    for (const region of ['rom', 'vga'] as const) {
      for (const op of ['read', 'write'] as const) {
        for (const id of VFIO_PATHS) {
          const widths = ([1, 2, 3] as const).map((vfioGeneration) => {
            const options = { vfioGeneration };
            return sizesOf(splitAccess(id, { op, offset: 0, bytes: 8, region, options }));
          });
          expect(widths, `${id} ${op} ${region}`).toEqual([[4, 4], [8], [4, 4]]);
        }
      }
    }
    const wrong = { op: 'read', offset: 0, bytes: 8, region: 'io' as 'bar' } as const;
    expect(() => splitAccess('vfio-rw-w8', wrong)).toThrow(/bar, rom, vga/);
  });

  it('access-paths.md 5: the ROM behind its last byte is kept from the device', () => {
    const input = { op: 'read', offset: 0xf8, bytes: 16, region: 'rom', excluded: [0x100, 0x200] } as const;
    const { accesses, filledFF } = splitAccess('vfio-rw-w8', input);
    expect(accesses).toEqual([
      { offset: 0xf8, bytes: 4 },
      { offset: 0xfc, bytes: 4 },
    ]);
    expect(filledFF).toEqual([{ offset: 0x100, bytes: 8 }]);
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

  it('Z-PATH-08 any access over an MSI-X table: inside nothing is touched, outside every byte once', () => {
    const range = fc
      .tuple(fc.nat(40), fc.integer({ min: 1, max: 8 }))
      .map(([first, entries]) => [8 * first, 8 * first + 16 * entries] as const);
    fc.assert(
      fc.property(
        fc.constantFrom('vfio-rw-w4', 'vfio-rw-w8'),
        fc.constantFrom('read', 'write'),
        fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 300 })),
        range,
        (id, op, [offset, bytes], excluded) => {
          const result = splitAccess(id, { op, offset, bytes, block: true, excluded });
          const inside = (at: number): number => (at >= excluded[0] && at < excluded[1] ? 1 : 0);
          const expected = Array.from({ length: bytes }, (_, n) => inside(offset + n));
          const skipped = op === 'write' ? result.dropped : result.filledFF;
          expect([...spanCoverage(skipped, offset, bytes)]).toEqual(expected);
          expect([...coverage(result.tlps, offset, bytes)]).toEqual(expected.map((value) => 1 - value));
          expect(result.totals.bytesDone).toBe(bytes);
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each(['write', 'read'] as const)(
    'Z-PATH-08 a %s over the MSI-X table: the device sees its neighbours, the caller 0xff',
    async (op) => {
      // The range is part of the access, not yet of a device model: it is put beside the parameters of a machine's core.
      const config = checkConfig(
        {
          core: core(),
          slots: [{ device: memoryDevice({ bars: [{ size: PAGE }] }) }],
          hostMemoryBytes: PAGE,
        },
        memoryDevice(),
      );
      const instance = await Core.load(core(), PAGE, config.barBytes);
      const machine = new Machine(instance, config);
      const [fn] = machine.functions;
      if (fn === undefined) throw new Error('the machine has no function');
      const memory = fn.barMemory(0);
      for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
        const before = pattern(PAGE, 1);
        memory.set(before);
        const path = pathOf(id);
        const options = pathOptions(path);
        const access = { op, bytes: 0x60, block: true };
        const plan = planOf(path, access, options);
        const excluded = [0x10, 0x40] as const;
        setParams(instance, { access, plan, options, mode: MODE_LIVE, sourceAddress: 0, excluded });
        const staged = instance.stagedAt(4);
        const data = pattern(0x60, 77);
        instance.u8.set(op === 'write' ? data : new Uint8Array(0x60), staged);
        instance.x.accessBegin(fn.slot, 0, 0, 0, 4, 0, 0x60);
        expect(instance.x.run()).toBe(RUN_DONE);
        const seen = instance.u8.slice(staged, staged + 0x60);
        const expected = Uint8Array.from(before);
        if (op === 'write') {
          expected.set(data.subarray(0, 0xc), 4);
          expected.set(data.subarray(0x3c), 0x40);
        } else {
          const wanted = before.slice(4, 0x64).fill(0xff, 0xc, 0x3c);
          expect(Buffer.compare(seen, wanted)).toBe(0);
        }
        expect(Buffer.compare(memory, expected)).toBe(0);
      }
    },
  );

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
});
