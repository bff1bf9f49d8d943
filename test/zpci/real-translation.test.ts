/** I/O translation without tables: DMA address SDMA + X is real address X (zpci.md 5.1, 5.4). */
import { describe, expect, it } from 'vitest';
import { type Device, type DeviceContext, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, type PciFunction, type U64 } from '../../src/index.js';
import { encodeFib } from '../../src/zpci/fib.js';
import { BUILDS, useBuild } from '../support/builds.js';

const SDMA = 0x1_0000_0000n;
const FIB = 0x1000;

describe.each(BUILDS)('translation without tables on the %s build', (build) => {
  const core = useBuild(build);

  const make = async (rtr: boolean) => {
    let job: ((ctx: DeviceContext) => void) | undefined;
    const device = defineDevice({
      name: 'reader',
      vendorId: 0x1af4,
      deviceId: 0x10f1,
      bars: [{ size: 4096, callback: true }],
      read: () => 0,
      write: (_at, _bytes, _enables, ctx) => {
        job?.(ctx);
      },
    }) as Device;
    const machine = await createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x10_0000,
      slots: [{ device, options: { rtr } }],
    });
    const fn = machine.functions[0] as PciFunction;
    // The device does its DMA when its register is written.
    const run = (what: (ctx: DeviceContext) => void) => {
      job = what;
      machine.cpu.pcistg({ fh: fn.handle, as: 0, offset: 0, length: 4, data: 0 });
    };
    const read = (address: U64, length = 16) => {
      let got: unknown;
      run((ctx) =>
        ctx.dma.read(address, length, {}, (result) => {
          got = result.status === 'ok' ? Buffer.from(result.data).toString('hex') : result.status;
        }),
      );
      return got;
    };
    const write = (address: U64, bytes: Uint8Array) => {
      run((ctx) => ctx.dma.write(address, bytes));
    };
    return { machine, fn, read, write };
  };
  const register = (machine: Machine, fn: PciFunction, iota: number, pal = SDMA + 0xf_ffffn, oc = 4) => {
    machine.memory.write(FIB, encodeFib({ pba: SDMA, pal, iota }));
    return machine.cpu.mpcifc({ fh: fn.handle, oc, fib: FIB });
  };

  it('Z-DMA-14: with permission DMA address SDMA + X reaches real address X, without RPCIT', async () => {
    const { machine, fn, read, write } = await make(true);
    machine.memory.write(
      0x8_0ff8,
      Uint8Array.from({ length: 16 }, (_, n) => n + 1),
    );
    expect(register(machine, fn, 0).cc).toBe(0);
    expect(read(SDMA + 0x8_0ff8n)).toBe('0102030405060708090a0b0c0d0e0f10'); // two pages
    write(SDMA + 0x9_0000n, Uint8Array.of(0xaa, 0xbb));
    expect(machine.memory.read(0x9_0000, 2)).toEqual(Uint8Array.of(0xaa, 0xbb));
    expect(machine.cpu.rpcit({ fh: fn.handle, start: SDMA, length: 4096 }).cc).toBe(0);
    expect([machine.takeEvents(), fn.stats.refreshes]).toEqual([[], 1]);
    // The registered range holds: behind it is event 2.
    expect(read(SDMA + 0x10_0000n)).not.toMatch(/^[0-9a-f]+$/);
    expect(machine.takeEvents()).toMatchObject([
      { code: 2, address: Number(SDMA + 0x10_0000n), isRead: true },
    ]);
    expect(fn.state).toBe('error');
  });

  it('Z-DMA-14: an address behind the end of memory is refused without harm', async () => {
    const { machine, fn, read } = await make(true);
    expect(register(machine, fn, 0, SDMA + 0xffff_ffffn).cc).toBe(0);
    expect(read(SDMA + 0x10_0000n - 8n)).not.toMatch(/^[0-9a-f]+$/);
    expect(read(SDMA + 0xffff_fff0n)).not.toMatch(/^[0-9a-f]+$/);
    expect(read(SDMA + 0x1000n, 4)).toBe('00000000');
  });

  it('Z-DMA-13: without permission T = 0 is an operand exception', async () => {
    const { machine, fn } = await make(false);
    expect(register(machine, fn, 0)).toMatchObject({ programInterruption: { name: 'operand' } });
    expect(fn.translation).toBeUndefined();
    expect(() => {
      fn.translation = { pba: SDMA, pal: SDMA + 0xfffn, iota: 0 };
    }).toThrow(/rtr/);
  });

  it('tables can take its place: what was real before has to be refreshed', async () => {
    const { machine, fn, read } = await make(true);
    register(machine, fn, 0);
    expect(read(SDMA + 0x2000n, 4)).toBe('00000000');
    expect(register(machine, fn, 0x8804, undefined, 6).cc).toBe(0);
    expect(read(SDMA + 0x2000n, 4)).not.toBe('00000000');
    expect(machine.takeEvents()).toMatchObject([{ code: 4 }]);
  });
});
