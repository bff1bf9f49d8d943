/** Calls into the machine from callbacks of models: refused where the machine is in the middle of an access. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, type DeviceContext, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, type MachineConfig, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { errorOf } from './support.js';

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

describe.each(BUILDS)('a callback on the %s core', (build) => {
  let core: WebAssembly.Module;
  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
  });

  /** Records its writes; runs `inside` in the write to 0x10. */
  async function make(
    inside: (made: Machine, ctx: DeviceContext) => void,
    config: Partial<MachineConfig> = {},
    options: object = {},
  ): Promise<{ made: Machine; fn: PciFunction; seen: number[] }> {
    const seen: number[] = [];
    const held: { made?: Machine } = {};
    const device = defineDevice({
      name: 'inner',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size: 0x1000, callback: true }],
      write(at, _bytes, _enables, ctx) {
        seen.push(at.offset);
        if (at.offset === 0x10) inside(held.made as Machine, ctx as DeviceContext);
      },
      read: () => 0,
    }) as Device;
    const slot = { device, options };
    held.made = await createMachine({ core, ...config, slots: [slot, slot] });
    return { made: held.made, fn: held.made.functions[0] as PciFunction, seen };
  }

  const OFFSETS = Array.from({ length: 16 }, (_, n) => 4 * n);

  it.each<[string, (made: Machine) => unknown]>([
    ['config.read', (made) => made.config.read(0x100, 0, 4)],
    [
      'cpu.read',
      (made) => made.cpu.read({ path: 'x86-uc', function: second(made), bar: 0, offset: 0, length: 4 }),
    ],
    [
      'cpu.write',
      (made) => made.cpu.write({ path: 'x86-uc', function: second(made), bar: 0, offset: 0, data: u32(0) }),
    ],
    ['cpu.wcStore', (made) => made.cpu.wcStore({ function: second(made), bar: 0, offset: 0, data: u32(0) })],
    ['cpu.wcFence', (made) => made.cpu.wcFence()],
    ['enumerate', (made) => made.enumerate()],
    ['resetFunction', (made) => made.resetFunction(second(made), 'hot')],
    ['reset', (made) => made.reset()],
    ['run', (made) => made.run(1)],
  ])('cannot call %s; the access that called it goes on whole', async (_what, call) => {
    const { made, fn, seen } = await make((machine) => void call(machine));
    const data = new Uint8Array(64);
    const { totals } = made.cpu.write({ path: 'x86-memcpy-toio', function: fn, bar: 0, offset: 0, data });
    expect([seen, totals.tlps]).toEqual([OFFSETS, 16]);
    expect(fn.instance?.errors.map(({ message }) => message)).toEqual([
      expect.stringContaining('called from a callback of a device model'),
    ]);
    made.reset();
    expect(made.config.read(fn.id, 0, 2)).toBe(1);
  });

  it.each<[string, (made: Machine) => unknown]>([
    ['pcistb', (made) => made.cpu.pcistb({ ...at(made), length: 16, source: new Uint8Array(16) })],
    ['pcistg', (made) => made.cpu.pcistg({ ...at(made), length: 8, data: 0 })],
    ['pcilg', (made) => made.cpu.pcilg({ ...at(made), length: 8 })],
    ['rpcit', (made) => made.cpu.rpcit({ fh: at(made).fh, start: 0, length: 1 })],
    ['clp', (made) => made.cpu.clp({ address: 0 })],
  ])('cannot execute %s within a store', async (_what, call) => {
    const { made, fn, seen } = await make(
      (machine) => void call(machine),
      { platform: 's390x' },
      {
        zpciMode: 'native',
        relaxed: true,
        maxstbl: 4096,
      },
    );
    const input = { fh: fn.handle, as: 0, offset: 0, length: 64, source: new Uint8Array(64) };
    for (let n = 0; n < 2; n++) {
      made.cpu.pcistg({ fh: fn.handle, as: 0, offset: 0x10, length: 8, data: 0 });
      expect(made.cpu.pcistb(input)).toMatchObject({ cc: 0 });
    }
    expect(seen).toEqual([0x10, 0, 0x10, 0]);
    expect(fn.instance?.errors.length).toBe(2);
  });

  it('of a timer or of DMA may access the machine, but not move its time', async () => {
    const seen: unknown[] = [];
    const { made, fn } = await make((machine, ctx) => {
      ctx.after(10, () => {
        seen.push(machine.config.read(0x100, 0, 2));
        seen.push(errorOf(() => machine.run(1000)).field, errorOf(() => machine.reset()).field);
      });
      ctx.dma.read(0, 4, {}, ({ status }) => seen.push(status, machine.config.read(0x100, 2, 2)));
    });
    made.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0x10, data: u32(0), block: false });
    made.run(100);
    expect(seen).toEqual(['ok', 2, 1, 'run', 'reset']);
    expect(made.time.ns).toBe(100);
  });

  it('of a registration says what a translation has to be', async () => {
    const { fn } = await make(() => undefined, { platform: 's390x' });
    const good = { pba: 0, pal: 0xfff, iota: 0x800 };
    for (const [wrong, field] of [
      [{ ...good, pba: -1n }, 'translation.pba'],
      [{ ...good, pal: 2n ** 65n }, 'translation.pal'],
      [{ ...good, pba: 0x1000 }, 'translation.pal'],
      [{ ...good, iota: 0 }, 'translation.iota'],
      [5, 'translation'],
      [null, 'translation'],
    ] as const)
      expect(
        errorOf(() => {
          fn.translation = wrong as never;
        }).field,
      ).toBe(field);
    expect(fn.usesTranslation).toBe(false);
    fn.translation = good;
    expect(fn.usesTranslation).toBe(true);
  });
});

function second(made: Machine): PciFunction {
  return made.functions[1] as PciFunction;
}

function at(made: Machine): { fh: number; as: number; offset: number } {
  return { fh: second(made).handle, as: 0, offset: 0 };
}
