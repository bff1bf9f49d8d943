/** I/O translation without tables: DMA address SDMA + X is real address X (zpci.md 5.1, 5.4). */
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import { type Prober, prober, SDMA } from './dma-support.js';

describe.each(BUILDS)('translation without tables on the %s build', (build) => {
  const core = useBuild(build);
  const make = (rtr: boolean): Promise<Prober> => prober(core(), { rtr });
  const register = ({ mpcifc }: Prober, iota: number, pal = SDMA + 0xf_ffffn, oc = 4) =>
    mpcifc(oc, { pba: SDMA, pal, iota });

  it('Z-DMA-14: with permission DMA address SDMA + X reaches real address X, without RPCIT', async () => {
    const rig = await make(true);
    const { machine, fn, read, write } = rig;
    machine.memory.write(
      0x8_0ff8,
      Uint8Array.from({ length: 16 }, (_, n) => n + 1),
    );
    expect(register(rig, 0).cc).toBe(0);
    expect(read(SDMA + 0x8_0ff8n, 16)).toBe('0102030405060708090a0b0c0d0e0f10'); // two pages
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
    const rig = await make(true);
    const { read } = rig;
    expect(register(rig, 0, SDMA + 0xffff_ffffn).cc).toBe(0);
    expect(read(SDMA + 0x40_0000n - 8n, 16)).not.toMatch(/^[0-9a-f]+$/);
    expect(read(SDMA + 0xffff_fff0n)).not.toMatch(/^[0-9a-f]+$/);
    expect(read(SDMA + 0x1000n, 4)).toBe('00000000');
  });

  it('Z-DMA-13: without permission T = 0 is an operand exception', async () => {
    const rig = await make(false);
    const { fn } = rig;
    expect(register(rig, 0)).toMatchObject({ programInterruption: { name: 'operand' } });
    expect(fn.translation).toBeUndefined();
    expect(() => {
      fn.translation = { pba: SDMA, pal: SDMA + 0xfffn, iota: 0 };
    }).toThrow(/rtr/);
  });

  it('tables can take its place: what was real before has to be refreshed', async () => {
    const rig = await make(true);
    const { machine, read } = rig;
    register(rig, 0);
    expect(read(SDMA + 0x2000n, 4)).toBe('00000000');
    expect(register(rig, 0x8804, undefined, 6).cc).toBe(0);
    expect(read(SDMA + 0x2000n, 4)).not.toBe('00000000');
    expect(machine.takeEvents()).toMatchObject([{ code: 4 }]);
  });
});
