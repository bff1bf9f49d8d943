/** Machines in simulated time: when things happen. That TLPs and data are those of functional fidelity is tested beside. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createMachine, type MachineConfig, type Machine, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

describe.each(BUILDS)('a timed machine on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = await readBuild(build);
  });
  async function make(config: MachineConfig = {}): Promise<{ m: Machine; fn: PciFunction }> {
    const m = await createMachine({ core, fidelity: 'timed', ...config });
    return { m, fn: m.functions[0] as PciFunction };
  }
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 7 + 1) & 0xff);

  it('L-03: a store of 8 bytes takes its wire time and the latency', async () => {
    const { m, fn } = await make();
    const result = m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: bytes(8), block: false });
    expect(result.ns).toBe(0);
    expect([...fn.barMemory(0).subarray(0, 8)]).toEqual(new Array(8).fill(0));
    m.settle();
    expect([...fn.barMemory(0).subarray(0, 8)]).toEqual([...bytes(8)]);
    expect(m.links[0]?.down.lastArrivalNs).toBe(4.0625 + 75);
    expect(m.links[0]?.down).toMatchObject({ tlps: 1, dataBytes: 8 });
  });

  it('L-53: a load takes request, service and completion', async () => {
    const { m, fn } = await make();
    fn.barMemory(0).set([1, 2, 3, 4]);
    const result = m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4, block: false });
    expect([...result.data]).toEqual([1, 2, 3, 4]);
    const byte = 520 / 4096;
    expect(result.ns).toBe(24 * byte + 75 + 30 + 24 * byte + 75);
    expect(m.time.ns).toBe(result.ns);
  });
});
