// Enumeration: functions found, BARs sized and placed, buses numbered.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { join64 } from '../../src/core/u64.js';
import { BarTracker } from '../../src/pci/bar-tracker.js';
import { buildConfig } from '../../src/pci/build-config.js';
import { ConfigModel } from '../../src/pci/config-model.js';
import { type EnumeratedFunction, enumerate } from '../../src/pci/enumerate.js';
import type { ConfigPort } from '../../src/pci/probe.js';
import { type Bus, bdf, one, portOf, type Slot } from './bus.js';
import { bundled, space } from './dumps.js';
import { dumped, everything } from './models.js';

const MEMORY = { base: 0xe000_0000, size: 0x1000_0000 };
const PREFETCHABLE = { base: 0x40_0000_0000, size: 0x40_0000_0000 };
const IO = { base: 0x1000, size: 0xf000 };

const endpoint = (bars: Parameters<typeof buildConfig>[0]['bars'], multifunction = false): ConfigModel =>
  buildConfig({ vendorId: 0x1234, deviceId: 1, multifunction, bars: bars ?? [] });

/** A bridge with windows of 16-bit I/O and, unless it is old, 64-bit prefetchable memory. */
function bridge(prefetch: 'none' | '32' | '64' = '64', multifunction = 0): ConfigModel {
  const words = [
    [0x00, 0x000c_1b36],
    [0x08, 0x0604_0000],
    [0x0c, 0x0001_0000 | multifunction],
  ] as const;
  if (prefetch === '64') return new ConfigModel(space(256, [...words, [0x24, 0x0001_0001]]));
  return new ConfigModel(space(256, words));
}

const bars = (fn: EnumeratedFunction | undefined): unknown =>
  fn?.bars.map(({ index, kind, size, address }) => [index, kind, size, address]);

describe('six functions of QEMU 7.2', () => {
  const NAMES = ['qemu72-e1000e', 'qemu72-nvme'] as const;
  /** BARs, ROM, Command and Interrupt Line: what firmware and the operating system choose. */
  const chosen = new Set([
    4,
    5,
    0x3c,
    ...Array.from({ length: 24 }, (_, n) => 0x10 + n),
    0x30,
    0x31,
    0x32,
    0x33,
  ]);

  it('come out as their dumps but for addresses, Command and Interrupt Line', async () => {
    const models: [number, (typeof NAMES)[number], ConfigModel][] = [];
    for (let n = 0; n < 6; n++) {
      const name = NAMES[n % 2] as (typeof NAMES)[number];
      models.push([n + 1, name, await dumped(name)]);
    }
    const port = portOf(Object.fromEntries(models.map(([device, , model]) => [device, one(model)])));
    const found = enumerate(port, { memory: MEMORY, prefetchable: PREFETCHABLE, io: IO });
    expect(found.map((fn) => [fn.bdf, fn.vendorId, fn.deviceId, fn.classCode])).toEqual(
      models.map(([device, name]) =>
        name === 'qemu72-nvme'
          ? [bdf(0, device), 0x1b36, 0x0010, 0x010802]
          : [bdf(0, device), 0x8086, 0x10d3, 0x020000],
      ),
    );
    for (const [index, [, name, model]] of models.entries()) {
      const dump = (await bundled(name)).bytes;
      const now = model.save();
      const differ = [...now.keys()].filter((n) => now[n] !== dump[n] && !chosen.has(n));
      expect(differ).toEqual([]);
      expect(model.command).toMatchObject({ memory: true, busMaster: true, io: name === 'qemu72-e1000e' });
      expect(model.read(0x3c, 1)).toBe(dump[0x3c]);
      const fn = found[index];
      expect(fn?.problems).toEqual([]);
      expect(fn?.capabilities.map((capability) => capability.name)).toEqual(
        name === 'qemu72-nvme' ? ['MSIX', 'EXP', 'PM'] : ['PM', 'MSI', 'EXP', 'MSIX'],
      );
      expect(fn?.extendedCapabilities.map(({ name: each, offset }) => [each, offset])).toEqual(
        name === 'qemu72-nvme'
          ? []
          : [
              ['ERR', 0x100],
              ['DSN', 0x140],
            ],
      );
      expect(fn?.bars.map(({ index: bar, kind, size }) => [bar, kind, size])).toEqual(
        name === 'qemu72-nvme'
          ? [[0, 'memory64', 16384]]
          : [
              [0, 'memory32', 131072],
              [1, 'memory32', 131072],
              [2, 'io', 32],
              [3, 'memory32', 16384],
              [6, 'rom', 262144],
            ],
      );
      for (const bar of fn?.bars ?? []) expect(model.bar(bar.index)?.address).toBe(bar.address);
    }
    // Largest first: the three ROMs, the six halves of a quarter MiB, and then six of 16 KiB.
    const memory = found.flatMap((fn) => fn.bars.filter(({ kind }) => kind !== 'io'));
    const order = [...memory].sort((a, b) => Number(a.address) - Number(b.address));
    expect(order.map(({ size }) => size)).toEqual([...order.map(({ size }) => size)].sort((a, b) => b - a));
    expect(order[0]?.address).toBe(0xe000_0000);
  });

  it('come out as the tracker of traces sees them in the configuration accesses', async () => {
    const model = await dumped('qemu72-e1000e');
    const [plain, tracker] = [portOf({ 0: one(model), 1: one(everything()) }), new BarTracker()];
    const port: ConfigPort = {
      read: (at, offset, width) => {
        const value = plain.read(at, offset, width);
        tracker.config(`${at}`, 'read', offset, width, value);
        return value;
      },
      write: (at, offset, value, width) => {
        plain.write(at, offset, value, width);
        tracker.config(`${at}`, 'write', offset, width, value);
      },
    };
    const found = enumerate(port, { memory: MEMORY, prefetchable: PREFETCHABLE, io: IO });
    const expected = found.flatMap((fn) =>
      fn.bars
        .filter(({ kind }) => kind !== 'rom') // not enabled
        .map(({ index, kind, size, address }) => [`${fn.bdf}`, index, kind === 'io', size, address]),
    );
    const seen = tracker
      .list()
      .map(({ device, bar, io, lo, hi, size }) => [device, bar, io, size, join64(lo, hi)]);
    expect(seen).toEqual(expected);
  });

  it('enables no I/O where there is no window for it', async () => {
    const model = await dumped('qemu72-e1000e');
    const [fn] = enumerate(portOf({ 0: one(model) }), { memory: MEMORY });
    expect(fn?.bars[2]).toMatchObject({ kind: 'io', size: 32, address: undefined });
    expect([model.command.io, model.command.memory, model.command.serr]).toEqual([false, true, true]);
  });
});

describe('addresses', () => {
  it('are natural, without overlap, and in the window of their kind', () => {
    const size = (from: number, to: number) => fc.integer({ min: from, max: to }).map((log) => 2 ** log);
    const bar = fc.oneof(
      fc.record({ size: size(4, 24), prefetchable: fc.boolean() }),
      fc.record({ size: size(4, 24), prefetchable: fc.boolean(), bits: fc.constant(64 as const) }),
      fc.record({ size: size(2, 8), io: fc.constant(true) }),
    );
    const fn = fc.array(bar, { maxLength: 6 }).map((list) => {
      const placed: unknown[] = [];
      for (const each of list) {
        placed.push(each);
        if ('bits' in each) placed.push(undefined);
      }
      return endpoint((placed.length > 6 ? [] : placed) as []);
    });
    fc.assert(
      fc.property(fc.array(fn, { minLength: 1, maxLength: 8 }), fc.boolean(), (models, behind) => {
        const slots: Bus = Object.fromEntries(models.map((model, n) => [n, one(model)]));
        const root: Bus = behind ? { 3: { functions: [bridge()], behind: slots } } : slots;
        const memory = { base: 0x8000_0000, size: 0x8000_0000 };
        const found = enumerate(portOf(root), { memory, prefetchable: PREFETCHABLE, io: IO });
        const taken = found
          .flatMap((each) => each.bars)
          .map(({ kind, prefetchable, address, size: bytes }) => {
            const from = BigInt(address ?? -1n);
            const window = kind === 'io' ? IO : kind === 'memory64' && prefetchable ? PREFETCHABLE : memory;
            expect(from % BigInt(bytes)).toBe(0n);
            expect(from).toBeGreaterThanOrEqual(BigInt(window.base));
            const to = from + BigInt(bytes);
            expect(to).toBeLessThanOrEqual(BigInt(window.base) + BigInt(window.size));
            return { io: kind === 'io', from, to };
          })
          .sort((a, b) => (a.from < b.from ? -1 : 1));
        for (const space of [true, false]) {
          const list = taken.filter(({ io }) => io === space);
          list.slice(1).forEach(({ from }, n) => {
            expect(from).toBeGreaterThanOrEqual(list[n]?.to as bigint);
          });
        }
      }),
      { numRuns: 60 },
    );
  });

  it('of 64-bit prefetchable BARs lie below 4 GiB without a window of their own', () => {
    const [fn] = enumerate(portOf({ 0: one(everything()) }), { memory: MEMORY, io: IO });
    expect(bars(fn)).toEqual([
      [0, 'memory64', 16384, 0xe002_0000],
      [2, 'memory32', 65536, 0xe000_0000],
      [3, 'io', 32, 0x1000],
      [4, 'memory64', 4096, 0xe002_4000],
      [6, 'rom', 65536, 0xe001_0000],
    ]);
  });

  it('may be above 2^53', () => {
    const model = endpoint([{ size: 2 ** 55, bits: 64, prefetchable: true }]);
    const prefetchable = { base: 1n << 60n, size: 1n << 56n };
    const [fn] = enumerate(portOf({ 0: one(model) }), { memory: MEMORY, prefetchable });
    expect(bars(fn)).toEqual([[0, 'memory64', 2 ** 55, 1n << 60n]]);
    expect(model.bar(0)?.address).toBe(1n << 60n);
  });

  it.each([
    ['memory', { memory: { base: 0xe000_0000, size: 0x1_ffff } }, 0x2_1000],
    ['prefetchable', { memory: MEMORY, prefetchable: { base: 0x40_0000_0000, size: 4096 } }, 16384],
    ['io', { memory: MEMORY, io: { base: 0x1010, size: 32 } }, 48],
  ])(
    'that do not fit in the window for %s are an error that tells what is needed',
    (space, options, needed) => {
      const give = () =>
        enumerate(portOf({ 0: one(everything()) }), { prefetchable: PREFETCHABLE, ...options });
      expect(give).toThrow(`; allowed: ${needed} bytes or more`);
      expect(give).toThrow(expect.objectContaining({ code: 'resource', field: `${space}.size` }));
    },
  );

  it.each([
    [{}, 'memory'],
    [{ memory: { base: -1, size: 1 } }, 'memory.base'],
    [{ memory: { base: 0xffff_ffff, size: 2 } }, 'memory.size'],
    [{ memory: MEMORY, io: { base: 0xffff, size: 2 } }, 'io.size'],
    [{ memory: MEMORY, prefetchable: { base: 1n << 63n, size: (1n << 63n) + 1n } }, 'prefetchable.size'],
    [{ memory: MEMORY, bus: 256 }, 'bus'],
  ])('of impossible windows are refused: %s', (options, field) => {
    const give = () => enumerate(portOf({}), options as { memory: typeof MEMORY });
    expect(give).toThrow(expect.objectContaining({ field }));
  });
});

describe('functions', () => {
  it('are none on an empty bus', () => {
    expect(enumerate(portOf({}), { memory: MEMORY })).toEqual([]);
  });

  it('above 0 count where function 0 says that there are more', () => {
    const several = (multifunction: boolean): Slot => ({
      functions: [endpoint([], multifunction), undefined, endpoint([]), ...Array(4), endpoint([])],
    });
    const found = enumerate(portOf({ 5: several(false), 31: several(true) }), { memory: MEMORY });
    expect(found.map((fn) => fn.bdf)).toEqual([bdf(0, 5), bdf(0, 31), bdf(0, 31, 2), bdf(0, 31, 7)]);
  });

  it('may begin on another bus', () => {
    const found = enumerate(portOf({ 1: one(endpoint([])) }, 7), { bus: 7, memory: MEMORY });
    expect(found.map((fn) => fn.bdf)).toEqual([bdf(7, 1)]);
  });

  it('have their subsystem and revision', () => {
    const [fn] = enumerate(portOf({ 0: one(everything()) }), { memory: MEMORY });
    expect(fn).toMatchObject({ subsystemVendorId: 0x1af4, subsystemId: 0x1100, revision: 3, problems: [] });
    expect(fn?.extendedCapabilities.map(({ name }) => name)).toEqual([
      'ERR',
      'ATS',
      'PRI',
      'PASID',
      'SRIOV',
      'DSN',
      'VNDR',
    ]);
  });

  it('are sized with decoding off', () => {
    const model = everything();
    model.write(0x04, 0x0007, 2);
    const seen: boolean[] = [];
    model.observer = {
      bar: () => seen.push(model.command.memory || model.command.io),
    };
    enumerate(portOf({ 0: one(model) }), { memory: MEMORY, io: IO });
    expect([seen.length > 10, seen.includes(true)]).toEqual([true, false]);
  });
});

describe('bridges', () => {
  it('get bus numbers depth first, and windows around what is behind', () => {
    const [root, inner, second] = [bridge(), bridge(), bridge()];
    const far = endpoint([
      { size: 1 << 20 },
      { size: 256, io: true },
      { size: 1 << 21, bits: 64, prefetchable: true },
    ]);
    const near = endpoint([{ size: 4096 }]);
    const port = portOf({
      1: { functions: [root], behind: { 0: { functions: [inner], behind: { 0: one(far) } }, 4: one(near) } },
      2: { functions: [second], behind: {} },
    });
    const found = enumerate(port, { memory: MEMORY, prefetchable: PREFETCHABLE, io: IO });
    expect(found.map((fn) => [fn.bdf, fn.bridge])).toEqual([
      [bdf(0, 1), { primary: 0, secondary: 1, subordinate: 2 }],
      [bdf(1, 0), { primary: 1, secondary: 2, subordinate: 2 }],
      [bdf(2, 0), undefined],
      [bdf(1, 4), undefined],
      [bdf(0, 2), { primary: 0, secondary: 3, subordinate: 3 }],
    ]);
    expect(bars(found[2])).toEqual([
      [0, 'memory32', 1 << 20, 0xe000_0000],
      [1, 'io', 256, 0x1000],
      [2, 'memory64', 1 << 21, 0x40_0000_0000],
    ]);
    expect(bars(found[3])).toEqual([[0, 'memory32', 4096, 0xe010_0000]]);
    const windows = (model: ConfigModel): string[] =>
      [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c].map((at) => model.read(at, at === 0x1c ? 2 : 4).toString(16));
    expect(windows(root)).toEqual(['20100', '1010', 'e010e000', '110001', '40', '40']);
    expect(windows(inner)).toEqual(['20201', '1010', 'e000e000', '110001', '40', '40']);
    // Nothing behind: every base above its limit.
    expect(windows(second)).toEqual(['30300', 'f0', 'fff0', '1fff1', '0', '0']);
    expect(
      [root, inner, second].map(({ command }) => [command.memory, command.busMaster, command.io]),
    ).toEqual(Array(3).fill([true, true, true]));
  });

  it('without a 64-bit prefetchable window pass on such BARs below 4 GiB', () => {
    const model = endpoint([{ size: 1 << 20, bits: 64, prefetchable: true }]);
    const port = portOf({ 1: { functions: [bridge('none')], behind: { 0: one(model) } } });
    const found = enumerate(port, { memory: MEMORY, prefetchable: PREFETCHABLE });
    expect(bars(found[1])).toEqual([[0, 'memory64', 1 << 20, 0xe000_0000]]);
  });

  it('number a chain of 255 buses, and one more is an error', () => {
    const chain = (depth: number): Bus =>
      depth === 0 ? {} : { 0: { functions: [bridge()], behind: chain(depth - 1) } };
    expect(enumerate(portOf(chain(255)), { memory: MEMORY })).toHaveLength(255);
    expect(() => enumerate(portOf(chain(256)), { memory: MEMORY })).toThrow('bus: there are more than 256');
  });

  it('that do not route, so that every bus shows the same bridge, end the walk', () => {
    const same = bridge();
    const port: ConfigPort = {
      read: (at, offset, width) => ((at & 0xff) === 0 ? same.read(offset, width) : 2 ** (8 * width) - 1),
      write: (at, offset, value, width) => {
        if ((at & 0xff) === 0) same.write(offset, value, width);
      },
    };
    expect(() => enumerate(port, { memory: MEMORY })).toThrow('bus: there are more than 256');
  });
});
