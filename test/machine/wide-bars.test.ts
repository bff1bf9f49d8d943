/** BARs above 4 GiB that a model serves: every way of access reaches the offset that it names. */
import { describe, expect, it } from 'vitest';
import { defineDevice } from '../../src/device/index.js';
import { BUILDS } from '../support/builds.js';
import { machinesOf } from './support.js';

const SIZE = 2 ** 40;
const FAR = 0xab_c280_1010;

describe.each(BUILDS)('wide BARs on the %s core', (build) => {
  const { make } = machinesOf(build);
  /** A device that notes what it is told; a read answers with the offset. */
  function recorder(size = SIZE): {
    readonly device: ReturnType<typeof defineDevice>;
    readonly seen: string[];
  } {
    const seen: string[] = [];
    const device = defineDevice({
      name: 'recorder',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size, bits: 64, callback: true }],
      read: ({ bar, offset }, length) => {
        seen.push(`read ${bar}:${offset.toString(16)} ${length}`);
        return Uint8Array.from({ length }, (_, n) => n + 1);
      },
      write: ({ bar, offset }, bytes) => {
        seen.push(`write ${bar}:${offset.toString(16)} ${bytes.join(' ')}`);
      },
    });
    return { device, seen };
  }

  it.each(['functional', 'timed'] as const)('%s: TLPs carry the whole address', async (fidelity) => {
    const { device, seen } = recorder();
    const machine = await make({ fidelity, slots: [{ device }] });
    const [fn] = machine.functions;
    if (fn === undefined) throw new Error('no function');
    machine.trace.start();
    machine.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: FAR, data: Uint8Array.of(1, 2, 3, 4) });
    const { data } = machine.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: FAR + 4, length: 4 });
    expect([...(data ?? [])]).toEqual([1, 2, 3, 4]);
    const base = BigInt(fn.bars[0]?.address ?? 0);
    const addresses = machine.trace
      .take()
      .flatMap(({ tlp }) => (tlp.flow === 'CPL' ? [] : [BigInt(tlp.address) - base]));
    expect(addresses).toEqual([BigInt(FAR), BigInt(FAR + 4)]);
    expect(seen).toEqual([`write 0:${FAR.toString(16)} 1 2 3 4`, `read 0:${(FAR + 4).toString(16)} 4`]);
  });

  it('PCI instructions and emulated accesses reach the offset, and end with the BAR', async () => {
    for (const zpciMode of ['native', 'emulated'] as const) {
      const { device, seen } = recorder();
      const machine = await make({
        platform: 's390x',
        options: { zpciMode },
        slots: [{ device, state: 'enabled' }],
      });
      const [fn] = machine.functions;
      if (fn === undefined) throw new Error('no function');
      const store = (offset: number | bigint): number | null =>
        machine.cpu.pcistb({ fh: fn.handle, as: 0, offset, length: 16, source: new Uint8Array(16).fill(7) })
          .cc;
      const [far, end] = [0xab_c280_1010n, 2n ** 40n];
      expect(store(far)).toBe(0);
      const calls =
        zpciMode === 'native'
          ? [[far, 16]]
          : [
              [far, 8],
              [far + 8n, 8],
            ];
      expect([zpciMode, ...seen]).toEqual([
        zpciMode,
        ...calls.map(([at = 0n, n]) => `write 0:${at.toString(16)} ${Array(Number(n)).fill(7).join(' ')}`),
      ]);
      seen.length = 0;
      expect(store(end - 16n)).toBe(0);
      for (const offset of [end, 2n ** 63n, far + end])
        expect([
          offset,
          machine.cpu.pcistb({ fh: fn.handle, as: 0, offset, length: 16, source: new Uint8Array(16) })
            .programInterruption?.name,
        ]).toEqual([offset, 'operand']);
      const { cc } = machine.cpu.pcistg({ fh: fn.handle, as: 0, offset: far, length: 8, data: 1n });
      expect([cc, seen.at(-1)]).toEqual([0, `write 0:${far.toString(16)} 0 0 0 0 0 0 0 1`]);
    }
  });
});
