/** Requests of device models on the link: attributes, Address Type, PASID, peers, and what refuses them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type DmaOptions, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, memoryDevice, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

describe.each(BUILDS)('DMA on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  /** Does one DMA of each kind with `options` when it is rung. */
  async function make(
    options: DmaOptions,
    target: number | bigint = 0x2000,
  ): Promise<{ made: Machine; fn: PciFunction; results: string[]; ring(): void }> {
    const results: string[] = [];
    const device = defineDevice({
      name: 'dma',
      vendorId: 1,
      deviceId: 2,
      bars: [
        {
          size: 4096,
          registers: {
            RING: {
              offset: 0,
              width: 4,
              access: 'wo',
              write(_value, ctx) {
                ctx.dma.read(target, 4, options, ({ status, data }) => {
                  results.push(`read ${status} ${data?.join(' ') ?? ''}`.trim());
                });
                ctx.dma.write(target, u32(0x0403_0201), options, ({ status }) => {
                  results.push(`write ${status}`);
                });
              },
            },
          },
        },
      ],
      capabilities: { pcie: true, pasid: true },
    }) as ReturnType<typeof defineDevice>;
    const made = await createMachine({ core, slots: [{ device }, { device: memoryDevice() }] });
    const fn = made.functions[0] as PciFunction;
    const ring = (): void => {
      results.length = 0;
      made.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: u32(1), block: false });
    };
    return { made, fn, results, ring };
  }

  it.each<[DmaOptions, object]>([
    [{}, { attr: { ns: false, ro: false, ido: false }, at: 0 }],
    [{ noSnoop: true }, { attr: { ns: true, ro: false, ido: false } }],
    [{ relaxedOrdering: true }, { attr: { ns: false, ro: true, ido: false } }],
    [{ idOrdering: true }, { attr: { ns: false, ro: false, ido: true } }],
    [{ at: 'translated' }, { at: 2 }],
  ])('%o stands in each request', async (options, expected) => {
    const { made, fn, results, ring } = await make(options);
    made.trace.start();
    ring();
    expect(results).toEqual(['read ok 0 0 0 0', 'write ok']);
    const up = made.trace.take().filter(({ direction, tlp }) => direction === 'up' && tlp.flow !== 'CPL');
    expect(up.map(({ tlp }) => tlp.type)).toEqual(['MRd', 'MWr']);
    for (const { tlp } of up) expect(tlp).toMatchObject({ ...expected, requester: fn.id, prefixes: [] });
    expect(made.memory.read(0x2000, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  it('reaches a BAR of another function', async () => {
    const { made, results, ring } = await make({}, 2 ** 40 + 8);
    const peer = made.functions[1] as PciFunction;
    peer.barMemory(0).set([9, 8, 7, 6], 8);
    ring();
    expect(results).toEqual(['read ok 9 8 7 6', 'write ok']);
    expect([...peer.barMemory(0).subarray(8, 12)]).toEqual([1, 2, 3, 4]);
  });

  it('carries a PASID as prefix once software enabled it; without an IOMMU nobody takes it', async () => {
    const { made, fn, results, ring } = await make({ pasid: 0xabcde });
    ring();
    expect(results).toEqual(['read blocked', 'write blocked']);
    const at = fn.config.extendedCapability(27) as number;
    made.config.write(fn.id, at + 6, 1, 2);
    made.trace.start();
    const before = made.stats();
    ring();
    expect(results).toEqual(['read unsupported-request', 'write ok']); // a posted write gets no answer
    expect(made.memory.read(0x2000, 4)).toEqual(new Uint8Array(4));
    const up = made.trace.take().filter(({ direction }) => direction === 'up');
    expect(up.map(({ tlp }) => [tlp.type, tlp.pasid?.pasid, tlp.wireBytes])).toEqual([
      ['MRd', 0xabcde, 24],
      ['MWr', 0xabcde, 28],
    ]);
    const after = made.stats();
    expect(after.wireBytesUp - before.wireBytesUp).toBe(24 + 28);
    expect([after.unsupportedRequests, after.droppedPosted]).toEqual([
      before.unsupportedRequests + 1,
      before.droppedPosted + 1,
    ]);
    // The next access of the CPU has none.
    const plain = made.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4 });
    expect(plain.completion).toBe('successful');
    expect(made.trace.take()[0]?.tlp.prefixes).toEqual([]);
  });

  it('is blocked without Bus Master Enable, and its interrupts with it', async () => {
    const { made, fn, results, ring } = await make({});
    made.config.write(fn.id, 4, 2, 2);
    made.trace.start();
    ring();
    expect(results).toEqual(['read blocked', 'write blocked']);
    expect(made.trace.take().filter(({ direction }) => direction === 'up')).toEqual([]);
  });
});
