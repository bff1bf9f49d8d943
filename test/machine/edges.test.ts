/** Edges of routing and counting: adjacent BARs, dropped posted writes, keys that are no BAR, lengths that change. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createMachine,
  type Machine,
  memoryDevice,
  type PciFunction,
  type SlotConfig,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

describe.each(BUILDS)('a machine on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  async function machine(
    slot: SlotConfig,
    platform: 'x86-64' | 's390x' = 'x86-64',
  ): Promise<[Machine, PciFunction]> {
    const made = await createMachine({ core, platform, slots: [slot] });
    return [made, made.functions[0] as PciFunction];
  }

  it('delivers a contiguous run of writes across two adjacent BARs to each of them', async () => {
    const [one, fn] = await machine({
      device: memoryDevice({ bars: [{ size: 32 }, { size: 32 }] }),
      addresses: [0x1000, 0x1020],
    });
    one.cpu.wcStore({ function: fn, bar: 0, offset: 24, data: new Uint8Array(8).fill(1) });
    one.cpu.wcStore({ function: fn, bar: 1, offset: 0, data: new Uint8Array(8).fill(2) });
    one.cpu.wcFence(fn);
    expect([...fn.barMemory(0).subarray(24)]).toEqual(new Array(8).fill(1));
    expect([...fn.barMemory(1).subarray(0, 8)]).toEqual(new Array(8).fill(2));
  });

  it('TLP-13: drops and counts a posted write that no BAR claims', async () => {
    // A full write-combining line over four BARs of 16 bytes: one write of 64 bytes, which none of them claims.
    const sizes = [16, 16, 16, 16];
    const [one, fn] = await machine({
      device: memoryDevice({ bars: sizes.map((size) => ({ size })) }),
      addresses: sizes.map((size, n) => 0x1000 + size * n),
    });
    one.trace.start();
    for (const bar of sizes.keys()) {
      one.cpu.wcStore({ function: fn, bar, offset: 0, data: new Uint8Array(16).fill(bar + 1) });
    }
    const [write, ...more] = one.trace.take();
    expect(more).toEqual([]);
    expect(write).toMatchObject({ slot: undefined, direction: 'down', tlp: { type: 'MWr', length: 16 } });
    expect(one.stats()).toMatchObject({ droppedPosted: 1, unsupportedRequests: 0, tlpsByType: { MWr: 1 } });
    for (const bar of sizes.keys()) expect([...fn.barMemory(bar)]).toEqual(new Array(16).fill(0));
    expect(fn.stats).toMatchObject({ tlps: 0, wireBytes: 0 });
    // A posted write has no completion, dropped or not; the next one that a BAR claims arrives.
    one.cpu.wcStore({ function: fn, bar: 0, offset: 0, data: new Uint8Array(8).fill(9) });
    one.cpu.wcFence(fn);
    expect([...fn.barMemory(0).subarray(0, 8)]).toEqual(new Array(8).fill(9));
    expect(one.stats()).toMatchObject({ droppedPosted: 1, tlpsByType: { MWr: 2 } });
  });

  it('TLP-13: answers a read that no BAR claims with UR, and the CPU sees all ones', async () => {
    // A BAR of 16 bytes: a load of a whole line reaches behind it.
    const [one, fn] = await machine({ device: memoryDevice({ bars: [{ size: 16 }] }), addresses: [0x1000] });
    one.trace.start();
    const line = one.cpu.read({ path: 'x86-wc-line', function: fn, bar: 0, offset: 0, length: 8 });
    expect(line.totals.unclaimed).toBe(1);
    expect([...line.data]).toEqual(new Array(8).fill(0xff));
    expect(one.stats()).toMatchObject({ unsupportedRequests: 1, droppedPosted: 0 });
    expect(one.trace.take().map(({ tlp }) => [tlp.type, tlp.status])).toEqual([
      ['MRd', 0],
      ['Cpl', 1],
    ]);
    const good = one.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 8 });
    expect(good.totals.unclaimed).toBe(0);
    expect([...good.data]).toEqual(new Array(8).fill(0));
  });

  it('refuses a relaxed PCISTB of length 0 behind the last byte of the BAR, not at it', async () => {
    const device = memoryDevice({ bars: [{ size: 0x1000 }] });
    const [one, fn] = await machine({ device, options: { zpciMode: 'native', relaxed: true } }, 's390x');
    const store = (offset: number): unknown =>
      one.cpu.pcistb({ fh: fn.handle, as: 0, offset, length: 0, source: new Uint8Array(0) })
        .programInterruption?.name;
    expect(store(0xfff)).toBeUndefined();
    expect(store(0x1000)).toBe('operand');
  });

  it('takes nothing but the number of a BAR for a BAR', async () => {
    const [one, fn] = await machine({ device: memoryDevice() });
    for (const bar of ['length', 'map', 1.5, -1, 6, undefined]) {
      const input = {
        path: 'x86-uc',
        function: fn,
        bar: bar as number,
        offset: 0x20000,
        data: new Uint8Array(4),
      } as const;
      expect(() => one.cpu.write(input)).toThrowError(
        expect.objectContaining({ name: 'ZtlpError', field: 'bar' }),
      );
    }
  });

  it('reads the length it checked, whatever the object answers later', async () => {
    const [one, fn] = await machine({ device: memoryDevice() });
    let asked = 0;
    const input = {
      path: 'x86-uc',
      function: fn,
      bar: 0,
      offset: 0,
      get length(): number {
        asked += 1;
        return asked === 1 ? 4 : 8 << 20;
      },
    } as const;
    expect(one.cpu.read(input).data).toHaveLength(4);
  });

  it('reads and writes a BAR that ends with the address space', async () => {
    const [one, fn] = await machine({ device: memoryDevice(), addresses: [2n ** 64n - 0x10000n] });
    const data = Uint8Array.from({ length: 16 }, (_, n) => n + 1);
    const { totals } = one.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0xfff0, data });
    expect(totals.unclaimed).toBe(0);
    expect([...fn.barMemory(0).subarray(0xfff0)]).toEqual([...data]);
    expect([
      ...one.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0xfff0, length: 16 }).data,
    ]).toEqual([...data]);
  });
});
