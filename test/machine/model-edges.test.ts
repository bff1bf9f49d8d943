/** Models beside each other and at the edges: blocks of two functions, long DMA, instructions that set DMA going, resets. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, memoryDevice, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const NATIVE = { zpciMode: 'native', relaxed: true, maxstbl: 4096 } as const;

describe.each(BUILDS)('models on the %s core', (build) => {
  let core: WebAssembly.Module;
  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
  });

  /** Notes what it is told; a write to 0x800 begins DMA of `dmaBytes` from 0 to `to`. */
  function noting(name: string, seen: string[], dmaBytes = 4, to = 0x40_0000): Device {
    return defineDevice({
      name,
      vendorId: 1,
      deviceId: 2,
      blockWrites: true,
      bars: [
        { size: 0x1000, callback: true },
        { size: 0x1000, callback: true },
      ],
      capabilities: { pcie: true },
      write({ bar, offset }, bytes, _enables, ctx) {
        seen.push(`${name} ${bar} ${offset} ${bytes.length}`);
        if (offset !== 0x800) return;
        ctx.dma.read(0, dmaBytes, {}, ({ status, data }) => {
          seen.push(`${name} ${status} ${data?.length}`);
          if (data !== undefined) ctx.dma.write(to, data);
        });
      },
      read({ offset }, length) {
        seen.push(`${name} read ${offset} ${length}`);
        return 0;
      },
    }) as Device;
  }

  it('are told of blocks of their own: another function, BAR or a read ends a block', async () => {
    const seen: string[] = [];
    const wide = (name: string): Device =>
      defineDevice({
        name,
        vendorId: 1,
        deviceId: 2,
        blockWrites: true,
        bars: [{ size: 0x1000, callback: true }],
        write: ({ offset }, bytes) => void seen.push(`${name} ${offset} ${bytes.length}`),
      }) as Device;
    // A function that writes across the border of two neighbours: one DMA, two blocks.
    const addresses = [[0xd000_0000], [0xd000_1000]];
    const sender = defineDevice({
      name: 'sender',
      vendorId: 1,
      deviceId: 3,
      bars: [
        {
          size: 16,
          registers: {
            GO: {
              offset: 0,
              width: 4,
              access: 'wo',
              write: (_value, ctx) => ctx.dma.write(0xd000_0ff0, new Uint8Array(32)),
            },
          },
        },
      ],
    }) as Device;
    const made = await createMachine({
      core,
      slots: [
        { device: wide('one'), addresses: addresses[0] ?? [] },
        { device: wide('two'), addresses: addresses[1] ?? [] },
        { device: sender },
      ],
    });
    const [one, , third] = made.functions as readonly [PciFunction, PciFunction, PciFunction];
    made.cpu.write({ path: 'x86-uc', function: third, bar: 0, offset: 0, data: u32(1), block: false });
    expect(seen).toEqual(['one 4080 16', 'two 0 16']);
    seen.length = 0;
    made.cpu.write({ path: 'x86-memcpy-toio', function: one, bar: 0, offset: 0, data: new Uint8Array(64) });
    expect(seen).toEqual(['one 0 64']);
  });

  it('get more than 1 MiB of DMA in one piece, and PCISTB works behind it', async () => {
    const seen: string[] = [];
    const bytes = 3 * (1 << 20) + 5;
    const made = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: 8 << 20,
      slots: [{ device: noting('long', seen, bytes), options: NATIVE }],
    });
    const fn = made.functions[0] as PciFunction;
    const data = Uint8Array.from({ length: bytes }, (_, n) => n * 7 + (n >> 9));
    made.memory.write(0, data);
    const input = { fh: fn.handle, as: 0, offset: 0, length: 64, source: new Uint8Array(64) };
    expect(made.cpu.pcistb(input).cc).toBe(0);
    made.cpu.pcistg({ fh: fn.handle, as: 0, offset: 0x800, length: 4, data: 0 });
    expect(seen).toEqual(['long 0 0 64', 'long 0 2048 4', `long ok ${bytes}`]);
    expect(Buffer.compare(made.memory.read(0x40_0000, bytes), data)).toBe(0);
    seen.length = 0;
    expect(made.cpu.pcistb({ ...input, source: 0 }).cc).toBe(0);
    expect(seen).toEqual(['long 0 0 64']);
  });

  it('emulated and native beside each other do not wait for each other', async () => {
    const seen: string[] = [];
    const made = await createMachine({
      core,
      platform: 's390x',
      slots: [
        { device: noting('emulated', seen), options: { zpciMode: 'emulated' } },
        { device: noting('native', seen), options: NATIVE },
        { device: memoryDevice(), options: NATIVE },
      ],
    });
    const store = (fn: PciFunction | undefined): unknown =>
      made.cpu.pcistb({ fh: fn?.handle ?? 0, as: 0, offset: 0, length: 16, source: new Uint8Array(16) }).cc;
    const [emulated, native, memory] = made.functions;
    for (let n = 0; n < 3; n++) expect([emulated, native, memory].map(store)).toEqual([0, 0, 0]);
    const round = ['emulated 0 0 8', 'emulated 0 8 8', 'native 0 0 16'];
    expect(seen).toEqual([...round, ...round, ...round]);
    expect(made.functions.map((fn) => made.stats(fn).storeBlocks)).toEqual([3, 3, 3]);
  });

  it('forget DMA that an FLR finds in the queue, and what a reset sets going is done on return', async () => {
    const seen: string[] = [];
    const held: { made?: Machine } = {};
    const device = defineDevice({
      name: 'queued',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size: 16, registers: { GO: { offset: 0, width: 4, access: 'wo', write: start } } }],
      capabilities: { pcie: true },
      reset: (kind, ctx) => {
        seen.push(kind);
        ctx.dma.read(0, 4, {}, ({ status }) => void seen.push(`after reset ${status}`));
      },
    }) as Device;
    function start(_value: number, ctx: { dma: { read(...given: unknown[]): void } }): void {
      ctx.dma.read(0, 4, {}, () => {
        seen.push('first');
        ctx.dma.read(0, 4, {}, () => void seen.push('never'));
        held.made?.resetFunction(held.made.functions[0] as PciFunction, 'flr');
      });
    }
    held.made = await createMachine({ core, slots: [{ device }] });
    const made = held.made;
    const fn = made.functions[0] as PciFunction;
    made.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: u32(1), block: false });
    expect(seen).toEqual(['first', 'flr', 'after reset blocked']);
    expect(fn.instance?.idle).toBe(true);
  });

  it('an emulated memory BAR takes what its region takes, for loads as for stores', async () => {
    const device = memoryDevice({ bars: [{ size: 0x1000, valid: { min: 4, max: 8 } }] });
    const made = await createMachine({
      core,
      platform: 's390x',
      slots: [{ device, options: { zpciMode: 'emulated' } }],
    });
    const fn = made.functions[0] as PciFunction;
    const load = (offset: number, length: number): unknown =>
      made.cpu.pcilg({ fh: fn.handle, as: 0, offset, length }).programInterruption?.name;
    expect([load(0, 1), load(0, 2), load(0, 4), load(0, 8), load(4, 4)]).toEqual([
      'operand',
      'operand',
      undefined,
      undefined,
      undefined,
    ]);
  });
});
