/** The rows of zpci.md 8.4 run on machines: operations in order, TLPs, final memory, and their order in time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createMachine,
  type Machine,
  memoryDevice,
  type OptionInput,
  PATHS,
  type PathId,
  type PciFunction,
} from '../../src/index.js';
import { compareWidths, type WidthsRow } from '../../src/report/widths.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { labels, pattern } from '../support/reference.js';
import { block, PAGE, rig, sizesOf, times } from './support.js';

/** Rows that move 4096 bytes to offset 0; B and B' go to offset 4. G' is G fed by memcpy_toio, 128 bytes at a time. */
const ROWS: readonly (readonly [
  row: string,
  path: PathId,
  offset: number,
  options: OptionInput,
  step: number,
])[] = [
  ['A, old helper', 'zpci-memcpy-old', 0, {}, PAGE],
  ['A, new helper', 'zpci-memcpy-new', 0, {}, PAGE],
  ['A, MIO forms', 'zpci-mio', 0, {}, PAGE],
  ['B', 'zpci-memcpy-old', 4, {}, PAGE],
  ["B'", 'zpci-memcpy-new', 4, {}, PAGE],
  ['C', 'zpci-pcistb', 0, {}, PAGE],
  ['D', 'zpci-emulated', 0, {}, PAGE],
  ['E', 'zpci-vfio-w4', 0, {}, PAGE],
  ['F', 'zpci-vfio-w8', 0, {}, PAGE],
  ['G', 'zpci-io-region', 0, {}, PAGE],
  ["G'", 'zpci-io-region', 0, { maxstbl: 128 }, 128],
  ['H as A', 'zpci-interpreted', 0, {}, PAGE],
  ['H as C', 'zpci-pcistb', 0, { zpciMode: 'interpreted' }, PAGE],
  ['I', 'zpci-vfio-ism', 0, {}, PAGE],
  ['I, the pwrite alone', 'vfio-ism-rw', 0, {}, PAGE],
];

describe.each(BUILDS)('rows of zpci.md 8.4 with the %s build', (variant) => {
  const core = useBuild(variant);

  it('Z-PATH-01 row E: 32 exits, 512 pwrites, 1024 host stores of 4 bytes, ascending', () => {
    const { accesses, totals } = block('zpci-vfio-w4', 0, PAGE);
    expect(totals).toMatchObject({ exits: 32, systemCalls: 512, hostOperations: 1024 });
    expect(accesses).toEqual(times(1024, 4).map((bytes, n) => ({ offset: 4 * n, bytes })));
  });

  it('Z-PATH-02 row F: 512 host stores of 8 bytes, ascending', () => {
    const { accesses, totals } = block('zpci-vfio-w8', 0, PAGE);
    expect(totals).toMatchObject({ exits: 32, systemCalls: 512, hostOperations: 512 });
    expect(accesses).toEqual(times(512, 8).map((bytes, n) => ({ offset: 8 * n, bytes })));
  });

  it('Z-PATH-04 row C with MPS 256: one PCISTB, 16 TLPs of 256 bytes', () => {
    const { accesses, tlps, totals } = block('zpci-pcistb', 0, PAGE, { mps: 256 });
    expect(accesses).toEqual([{ offset: 0, bytes: PAGE }]);
    expect(totals).toMatchObject({ guestInstructions: 1, exits: 0, tlps: 16 });
    expect(labels(tlps)).toEqual(times(16, 256).map((bytes, n) => `${(bytes * n).toString(16)}:64/f.f`));
  });

  it('Z-PATH-10 rows A to I leave the same memory for any data', async () => {
    const machines: (readonly [string, Machine, PciFunction])[] = [];
    for (const [row, path, , options] of ROWS) {
      const machine = await createMachine({
        core: core(),
        platform: 's390x',
        slots: [
          {
            device: memoryDevice({ bars: [{ size: 2 * PAGE }] }),
            options: { ...PATHS[path].options, ...options },
          },
        ],
        hostMemoryBytes: PAGE,
      });
      machines.push([row, machine, machine.functions[0] as PciFunction]);
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: PAGE, maxLength: PAGE }), fc.nat(255), (data, fill) => {
        for (const [n, [row, machine, fn]] of machines.entries()) {
          const [, path, offset, options, step] = ROWS[n] as (typeof ROWS)[number];
          const memory = fn.barMemory(0);
          memory.fill(fill);
          if (options.zpciMode === 'interpreted') {
            const answer = machine.cpu.pcistb({ fh: fn.handle, as: 0, offset, length: PAGE, source: data });
            expect(answer.cc, row).toBe(0);
          } else {
            for (let done = 0; done < PAGE; done += step) {
              const piece = data.subarray(done, done + step);
              const at = { path, function: fn, bar: 0, offset: offset + done, sourceAddress: done };
              expect(machine.cpu.write({ ...at, data: piece }).fault, row).toBeUndefined();
            }
          }
          const expected = new Uint8Array(2 * PAGE).fill(fill);
          expected.set(data, offset);
          expect(Buffer.compare(memory, expected), row).toBe(0);
        }
      }),
      { numRuns: 25 },
    );
  });

  it('Z-PATH-15 row E is 1024 TLPs of 1 DW, row G 16 of 64 DW, and both leave the same BAR memory', async () => {
    const data = pattern(PAGE, 21);
    const memories = [];
    for (const [path, count, length] of [
      ['zpci-vfio-w4', 1024, 1],
      ['zpci-io-region', 16, 64],
    ] as const) {
      const { machine, fn } = await rig(core(), path);
      machine.trace.start();
      machine.cpu.write({ path, function: fn, bar: 0, offset: 0, data });
      const traced = machine.trace.take();
      expect(traced.map(({ tlp }) => tlp.length)).toEqual(times(count, length));
      expect(traced.every(({ tlp, direction }) => tlp.type === 'MWr' && direction === 'down')).toBe(true);
      memories.push(fn.barMemory(0));
    }
    const [split, whole] = memories;
    expect(Buffer.compare(split as Uint8Array, whole as Uint8Array)).toBe(0);
    expect(Buffer.compare((whole as Uint8Array).subarray(0, PAGE), data)).toBe(0);
  });

  it('H as A issues what A issues, instruction by instruction', () => {
    for (const offset of [0, 4, 8]) {
      expect(sizesOf(block('zpci-interpreted', offset, PAGE))).toEqual(
        sizesOf(block('zpci-memcpy-new', offset, PAGE)),
      );
    }
  });
});

describe('time by the cost model of timing.md 7', () => {
  const ORDER = ['zpci-io-region', 'zpci-memcpy-new', 'zpci-vfio-w8', 'zpci-vfio-w4'] as const;

  /** Rows G, A, F and E for 4096 bytes at 0, gen 3 x8, MPS 256, at these costs. */
  async function rows(costs: OptionInput): Promise<readonly WidthsRow[]> {
    const options = { mps: 256, ...costs } as const;
    const report = await compareWidths({ size: PAGE, offset: 0, link: 'gen3x8', paths: [...ORDER], options });
    expect(report.rows.map(({ path }) => path)).toEqual([...ORDER]);
    return report.rows;
  }

  it('Z-PATH-14 with one cost for every exit, instruction and operation: G < A < F < E', async () => {
    // From about 12 to 20 ns A hides its software behind the wire while G, one operation, cannot: there G is not faster.
    const costs = [
      ...fc.sample(fc.double({ min: 20, max: 50_000, noNaN: true }), { numRuns: 60, seed: 5 }),
      20,
      100,
    ];
    for (const cost of costs) {
      const each = { instructionNs: cost, exitNs: cost, syscallNs: cost, hostOpNs: cost };
      const times = (await rows(each)).map(({ totalNs }) => totalNs ?? 0);
      for (const [n, time] of times.slice(1).entries()) {
        expect(time, `${ORDER[n + 1]} at ${cost} ns`).toBeGreaterThan(times[n] ?? 0);
      }
    }
  });

  it('Z-PATH-14 the same order without any software cost, and with that of the example preset', async () => {
    for (const costs of [{}, { instructionNs: 100, exitNs: 2000, syscallNs: 300, hostOpNs: 100 }]) {
      const times = (await rows(costs)).map(({ totalNs }) => totalNs ?? 0);
      expect([...times].sort((a, b) => a - b)).toEqual(times);
      expect(new Set(times).size).toBe(4);
    }
  });

  it('timing.md 7: with 100 ns an operation a store block takes 669 ns, 512 and 1024 stores 51204 and 102404', async () => {
    const report = await compareWidths({
      link: 'gen3x8',
      paths: ['zpci-pcistb', 'zpci-pcistg8', 'zpci-pcistg4'],
      options: { mps: 256, instructionNs: 100 },
    });
    expect(report.rows.map(({ totalNs }) => Math.round(totalNs ?? 0))).toEqual([669, 51204, 102404]);
    // L-17 on the wire.
    expect(report.rows[0]).toMatchObject({ tlps: 16, wireBytes: 4480, wireNs: 568.75 });
  });
});
