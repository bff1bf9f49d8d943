/** Device models in a machine: registers, callbacks, DMA, MSI-X and timers, reached by TLPs and by an emulator's calls. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type BarOffset, type ByteEnables, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, type MachineConfig, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { copier } from '../support/models.js';

interface Write {
  readonly at: BarOffset;
  readonly bytes: readonly number[];
  readonly enables: ByteEnables;
}

/** Remembers what it is told, and answers reads with a count. */
function recorder(options: { blockWrites?: boolean; fails?: (at: BarOffset) => boolean } = {}): {
  readonly device: ReturnType<typeof defineDevice>;
  readonly writes: Write[];
  readonly reads: (readonly [number, number])[];
} {
  const writes: Write[] = [];
  const reads: (readonly [number, number])[] = [];
  const device = defineDevice({
    name: 'recorder',
    vendorId: 0x1af4,
    deviceId: 0x10f3,
    blockWrites: options.blockWrites ?? false,
    bars: [{ size: 0x4000, callback: true }],
    read(at, length) {
      if (options.fails?.(at)) throw new Error('no');
      reads.push([at.offset, length]);
      return Uint8Array.from({ length }, (_, n) => at.offset + n);
    },
    write(at, bytes, enables) {
      if (options.fails?.(at)) throw new Error('no');
      writes.push({ at: { ...at }, bytes: [...bytes], enables });
    },
  });
  return { device: device as ReturnType<typeof defineDevice>, writes, reads };
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const u64 = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer);
const DATA = Uint8Array.from({ length: 5000 }, (_, n) => n * 11 + (n >> 8));

describe.each(BUILDS)('device models on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  async function machine(
    device: NonNullable<MachineConfig['slots']>[number]['device'],
    config: Omit<MachineConfig, 'slots' | 'core'> & { slot?: object } = {},
  ): Promise<[Machine, PciFunction]> {
    const { slot, ...rest } = config;
    const made = await createMachine({ core, ...rest, slots: [{ device, options: slot ?? {} }] });
    const fn = made.functions[0] as PciFunction;
    const at = fn.config.capability(0x11);
    if (at !== undefined) made.config.write(fn.id, at + 2, 0x8000, 2); // MSI-X Enable
    return [made, fn];
  }

  const write = (made: Machine, offset: number, data: Uint8Array, bar = 0): void => {
    const fn = made.functions[0] as PciFunction;
    expect(
      made.cpu.write({ path: 'x86-uc', function: fn, bar, block: false, offset, data }).fault,
    ).toBeUndefined();
  };
  const read = (made: Machine, offset: number, length: number): Uint8Array => {
    const fn = made.functions[0] as PciFunction;
    return made.cpu.read({ path: 'x86-uc', function: fn, bar: 0, block: false, offset, length }).data;
  };

  /** Programs the copier and rings it. */
  function copy(made: Machine, from: bigint, to: bigint, length: number): void {
    write(made, 0x08, u64(from));
    write(made, 0x10, u64(to));
    write(made, 0x18, u32(length));
    write(made, 0x1c, u32(1));
    expect(made.functions[0]?.instance?.errors).toEqual([]);
  }

  it('copies host memory by DMA and sends the MSI-X message behind the data', async () => {
    const [made, fn] = await machine(copier);
    made.memory.write(0x1003, DATA);
    write(made, 0x0, u64(0xfee0_1000n), 1); // vector 0: message address
    write(made, 0x8, u32(0x4041), 1); // message data
    write(made, 0xc, u32(0), 1); // unmasked
    made.trace.start();
    copy(made, 0x1003n, 0x9_0001n, DATA.length);
    expect(made.memory.read(0x9_0001, DATA.length)).toEqual(DATA);
    expect(read(made, 0x20, 4)).toEqual(u32(1));
    expect(made.takeInterrupts()).toEqual([{ slot: 0, address: 0xfee0_1000, data: 0x4041, ns: 0 }]);
    const up = made.trace.take().filter(({ direction, tlp }) => direction === 'up' && tlp.flow !== 'CPL');
    expect(up.every(({ tlp, slot }) => tlp.requester === fn.id && slot === 0)).toBe(true);
    const types = up.map(({ tlp }) => tlp.type);
    expect(types.filter((type) => type === 'MRd').length).toBe(11); // 5,000 bytes from 0x1003 by MRRS 512
    expect(types.at(-1)).toBe('MWr');
    expect(up.at(-1)?.tlp.address).toBe(0xfee0_1000);
    expect(fn.instance?.errors).toEqual([]);
  });

  it('keeps a message pending while its vector is masked', async () => {
    const [made] = await machine(copier);
    write(made, 0x0, u64(0xfee0_0000n), 1);
    copy(made, 0n, 0x100n, 4);
    expect(made.takeInterrupts()).toEqual([]);
    const fn = made.functions[0] as PciFunction;
    const pba = (): number =>
      made.cpu.read({ path: 'x86-uc', function: fn, bar: 1, offset: 0x800, length: 8 }).data[0] as number;
    expect(pba()).toBe(1);
    write(made, 0xc, u32(0), 1);
    expect(made.takeInterrupts().length).toBe(1);
    expect(pba()).toBe(0);
  });

  it('answers DMA to nowhere with Unsupported Request and changes nothing', async () => {
    const [made, fn] = await machine(copier, { hostMemoryBytes: 0x10000 });
    const before = made.memory.read(0, 0x10000);
    copy(made, 0x2_0000n, 0x100n, 64);
    expect(read(made, 0x20, 4)).toEqual(u32(2));
    expect(made.memory.read(0, 0x10000)).toEqual(before);
    expect(made.stats().unsupportedRequests).toBe(1);
    made.config.write(fn.id, 0x04, 0x0002, 2); // Bus Master Enable off
    write(made, 0x20, u32(3));
    copy(made, 0n, 0x100n, 64);
    expect(read(made, 0x20, 4)).toEqual(u32(2));
    expect(made.stats().unsupportedRequests).toBe(1);
  });

  it('tells the model each memory write with its enabled bytes', async () => {
    const { device, writes } = recorder();
    const [made, fn] = await machine(device);
    made.cpu.wcStore({ function: fn, bar: 0, offset: 0x101, data: DATA.subarray(0, 2) });
    made.cpu.wcStore({ function: fn, bar: 0, offset: 0x106, data: DATA.subarray(2, 3) });
    made.cpu.wcFence(fn);
    write(made, 3, DATA.subarray(0, 1));
    expect(writes).toEqual([
      {
        at: { bar: 0, offset: 0x101 },
        bytes: [DATA[0], DATA[1], 0, 0, 0, DATA[2]],
        enables: Uint8Array.of(1, 1, 0, 0, 0, 1),
      },
      { at: { bar: 0, offset: 3 }, bytes: [DATA[0]], enables: undefined },
    ]);
  });

  it('reads what the model answers, once per request', async () => {
    const { device, reads } = recorder();
    const [made, fn] = await machine(device);
    expect([...read(made, 0x13, 2)]).toEqual([0x13, 0x14]);
    expect(reads).toEqual([[0x13, 2]]);
    const { data } = made.cpu.read({ path: 'vfio-rw-w8', function: fn, bar: 0, offset: 0x20, length: 24 });
    expect([...data]).toEqual(Array.from({ length: 24 }, (_, n) => 0x20 + n));
    expect(reads.slice(1)).toEqual([
      [0x20, 8],
      [0x28, 8],
      [0x30, 8],
    ]);
  });

  it('answers for a model that throws: Completer Abort for a read, a dropped write, and the machine goes on', async () => {
    const { device, writes } = recorder({ fails: ({ offset }) => offset < 0x10 });
    const [made, fn] = await machine(device);
    write(made, 0, u32(1));
    expect([...read(made, 0, 4)]).toEqual([0xff, 0xff, 0xff, 0xff]);
    write(made, 0x10, u32(7));
    expect(writes.length).toBe(1);
    expect(fn.instance?.errors.map(({ callback }) => callback)).toEqual(['write', 'read']);
    expect(fn.instance?.counts.droppedWrites).toBe(1);
  });

  it.each([
    [false, 16],
    [true, 1],
  ])('tells a 4 KiB PCISTB with blockWrites %s in %i calls', async (blockWrites, calls) => {
    const { device, writes } = recorder({ blockWrites });
    const slot = { zpciMode: 'native', relaxed: true, maxstbl: 4096 };
    const [made, fn] = await machine(device, { platform: 's390x', slot });
    for (const source of [DATA.subarray(0, 4096), 0]) {
      made.memory.write(0, DATA.subarray(0, 4096));
      writes.length = 0;
      const answer = made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0x1000, length: 4096, source });
      expect(answer.cc).toBe(0);
      expect(writes.length).toBe(calls);
      expect(Uint8Array.from(writes.flatMap(({ bytes }) => bytes))).toEqual(DATA.subarray(0, 4096));
      expect(writes[0]?.at.offset).toBe(0x1000);
    }
  });

  it('serves an emulated PCISTB doubleword by doubleword, and ends it where the model fails (zpci.md 2.7)', async () => {
    const { device, writes } = recorder({ fails: ({ offset }) => offset === 0x20 });
    const [made, fn] = await machine(device, { platform: 's390x', slot: { zpciMode: 'emulated' } });
    const store = (offset: number): unknown =>
      made.cpu.pcistb({ fh: fn.handle, as: 0, offset, length: 32, source: DATA.subarray(0, 32) });
    expect(store(0x40)).toMatchObject({ cc: 0 });
    expect(writes.map(({ at, bytes }) => [at.offset, bytes.length])).toEqual([
      [0x40, 8],
      [0x48, 8],
      [0x50, 8],
      [0x58, 8],
    ]);
    expect(made.stats(fn).storeBlocks).toBe(1);
    writes.length = 0;
    expect(store(0x10)).toMatchObject({ cc: null, programInterruption: { name: 'operand' } });
    expect(writes.map(({ at }) => at.offset)).toEqual([0x10, 0x18]);
    expect(made.stats(fn).storeBlocks).toBe(1);
    expect(made.stats(fn).tlps).toBe(0);
  });

  it('ends an emulated copy at the instruction that the model fails on', async () => {
    const { device } = recorder({ fails: ({ offset }) => offset === 0x20 });
    const [made, fn] = await machine(device, { platform: 's390x', slot: { zpciMode: 'emulated' } });
    const data = DATA.subarray(0, 4);
    const input = { path: 'zpci-emulated', function: fn, bar: 0, data } as const;
    expect(made.cpu.write({ ...input, offset: 0x10 }).fault).toBeUndefined();
    expect(made.cpu.write({ ...input, offset: 0x20 }).fault).toMatchObject({ offset: 0x20 });
  });

  it('delivers a long block in order with few calls of the core, with and without the trace', async () => {
    for (const isTraced of [false, true]) {
      const { device, writes } = recorder();
      const [made, fn] = await machine(device);
      if (isTraced) made.trace.start();
      const data = Uint8Array.from({ length: 0x4000 }, (_, n) => n * 7 + (n >> 8));
      const { totals } = made.cpu.write({ path: 'x86-memcpy-toio', function: fn, bar: 0, offset: 0, data });
      expect(totals.tlps).toBe(4096);
      expect(writes.map(({ at }) => at.offset)).toEqual(Array.from({ length: 4096 }, (_, n) => 4 * n));
      expect(Uint8Array.from(writes.flatMap(({ bytes }) => bytes))).toEqual(data);
      if (isTraced) expect(made.trace.take().length).toBe(4096);
      const back = made.cpu.read({ path: 'vfio-rw-w4', function: fn, bar: 0, offset: 0, length: 0x100 });
      expect([...back.data]).toEqual(Array.from({ length: 0x100 }, (_, n) => n));
    }
  });

  it('AP-05: a read-sensitive register sees the reads of TCG outside the range, and not those of KVM', async () => {
    const { device, reads } = recorder();
    const [made, fn] = await machine(device);
    const at = { function: fn, bar: 0, offset: 0x102, length: 4, block: false } as const;
    made.cpu.read({ ...at, path: 'tcg-qemu-vfio-w4' });
    expect(reads).toEqual([
      [0x100, 4],
      [0x104, 4],
    ]);
    reads.length = 0;
    made.cpu.read({ ...at, path: 'kvm-qemu-vfio-w4' });
    expect(reads.every(([offset, length]) => offset >= 0x102 && offset + length <= 0x106)).toBe(true);
    expect(reads.reduce((sum, [, length]) => sum + length, 0)).toBe(4);
  });

  it('runs timers in the order of time, then of setting, and stops at the end of the run', async () => {
    const fired: [string, number][] = [];
    const timers = defineDevice({
      name: 'timers',
      vendorId: 1,
      deviceId: 2,
      bars: [
        {
          size: 16,
          registers: {
            GO: {
              offset: 0,
              width: 4,
              access: 'wo',
              write(_value, ctx) {
                for (const [name, ns] of [
                  ['b', 20],
                  ['a', 10],
                  ['c', 20],
                  ['d', 500],
                ] as const)
                  ctx.after(ns, () => fired.push([name, ctx.time.ns]));
              },
            },
          },
        },
      ],
    });
    const [made] = await machine(timers as ReturnType<typeof defineDevice>);
    write(made, 0, u32(1));
    expect(fired).toEqual([]);
    made.run(100);
    expect(fired).toEqual([
      ['a', 10],
      ['b', 20],
      ['c', 20],
    ]);
    expect(made.time.ns).toBe(100);
    made.run(400);
    expect(fired.at(-1)).toEqual(['d', 500]);
    made.reset();
    expect(made.time.ns).toBe(0);
  });

  it('resets, saves and loads the memory of BARs with the rest', async () => {
    const device = defineDevice({
      name: 'mixed',
      vendorId: 1,
      deviceId: 2,
      bars: [
        { size: 0x4000, bits: 64, memory: true },
        undefined,
        {
          size: 0x4000,
          regions: [
            { offset: 0x800, size: 0x2000, kind: 'memory' },
            {
              offset: 0x3000,
              size: 16,
              kind: 'registers',
              registers: { A: { offset: 0, width: 4, access: 'rw' } },
            },
          ],
        },
      ],
    }) as ReturnType<typeof defineDevice>;
    const [made, fn] = await machine(device);
    write(made, 0x1234, u32(1));
    write(made, 0x0ffc, u32(2), 2);
    write(made, 0x3000, u32(3), 2);
    const saved = fn.instance?.save();
    expect(Object.keys(saved?.memory ?? {})).toEqual(['0', '2']);
    for (const reset of [() => made.reset(), () => made.resetFunction(fn, 'flr')]) {
      const [other, twin] = await machine(device);
      twin.instance?.load(JSON.parse(JSON.stringify(saved)));
      const at = { path: 'x86-uc', function: twin, bar: 2, length: 4, block: false } as const;
      expect(read(other, 0x1234, 4)).toEqual(u32(1));
      expect(other.cpu.read({ ...at, offset: 0x0ffc }).data).toEqual(u32(2));
      expect(other.cpu.read({ ...at, offset: 0x3000 }).data).toEqual(u32(3));
      twin.barMemory(0)[5] = 9;
      twin.instance?.load(JSON.parse(JSON.stringify(saved)));
      expect(twin.barMemory(0)[5]).toBe(0);
      reset();
      for (const bar of [0, 2]) expect(fn.barMemory(bar).every((byte) => byte === 0)).toBe(true);
      write(made, 0x0, u32(7));
    }
    const plain = await createMachine({ core });
    const [memory] = plain.functions as readonly [PciFunction];
    memory.barMemory(0)[0] = 1;
    plain.resetFunction(memory, 'hot');
    expect(memory.barMemory(0)[0]).toBe(0);
  });

  it('stops a model whose DMA asks for more each time it is done, and the machine goes on', async () => {
    const greedy = defineDevice({
      name: 'greedy',
      vendorId: 1,
      deviceId: 2,
      bars: [
        {
          size: 16,
          registers: {
            GO: {
              offset: 0,
              width: 4,
              access: 'rw',
              write(_value, ctx) {
                const again = (): void => ctx.dma.read(0, 4, {}, again);
                again();
              },
            },
          },
        },
      ],
    }) as ReturnType<typeof defineDevice>;
    const [made, fn] = await machine(greedy);
    write(made, 0, u32(1));
    expect([fn.instance?.stopped, fn.instance?.errors.at(-1)?.model]).toEqual([true, 'greedy']);
    expect(read(made, 0, 4)).toEqual(u32(0xffff_ffff));
    made.resetFunction(fn, 'warm');
    made.config.write(fn.id, 0x10, 0xc000_0000, 4);
    made.config.write(fn.id, 4, 6, 2);
    expect([fn.instance?.stopped, read(made, 0, 4)]).toEqual([false, u32(0)]);
  });

  it('takes no memory for a BAR that the model serves, however large', async () => {
    const [made, fn] = await machine(
      defineDevice({
        name: 'wide',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 2 ** 31, bits: 64, callback: true }],
        read: ({ offset }, length) => Uint8Array.from({ length }, () => offset / 2 ** 28),
      }) as ReturnType<typeof defineDevice>,
    );
    expect(made.memoryBytes).toBeLessThan(64 << 20);
    expect([...read(made, 0x7000_0000, 4)]).toEqual([7, 7, 7, 7]);
    expect(() => fn.barMemory(0)).toThrow('BAR 0 of wide has no memory');
  });

  it('is as new after a reset', async () => {
    const [made, fn] = await machine(copier);
    copy(made, 0n, 0x100n, 64);
    made.reset();
    expect(read(made, 0x18, 4)).toEqual(u32(0));
    expect(read(made, 0, 4)).toEqual(u32(0x0dab_1e55));
    expect(made.memoryBytes).toBeGreaterThan(0);
    expect(fn.instance?.stopped).toBe(false);
  });
});
