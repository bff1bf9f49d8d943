/** Machines in simulated time: when things happen (sheet timing.md). That TLPs and data are the same is tested beside. */
import { describe, expect, it } from 'vitest';
import { defineDevice } from '../../src/device/index.js';
import {
  type Credits,
  createMachine,
  type LinkConfig,
  type Machine,
  type MachineConfig,
  memoryDevice,
  type OptionInput,
  type PathId,
  type PciFunction,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { errorOf, machinesOf } from './support.js';

const BYTE = 520 / 4096; // ns on gen3x8
const LATENCY = 75;
const ENDLESS: Credits = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };
const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 7 + 1) & 0xff);

/** Asks for `length` bytes at `address` when it is rung, and remembers when they came. */
function reader(length: number, address = 0): { device: ReturnType<typeof defineDevice>; times: number[] } {
  const times: number[] = [];
  const device = defineDevice({
    name: 'reader',
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
              times.push(ctx.time.ns);
              ctx.dma.read(address, length, {}, () => times.push(ctx.time.ns));
            },
          },
        },
      },
    ],
    capabilities: { pcie: { maxLinkSpeed: 3, maxLinkWidth: 8 } },
  });
  return { device: device as ReturnType<typeof defineDevice>, times };
}

describe.each(BUILDS)('a timed machine on the %s core', (build) => {
  const { make: makeAny, refused } = machinesOf(build);

  async function make(config: MachineConfig = {}): Promise<[Machine, PciFunction]> {
    const m = await makeAny({ fidelity: 'timed', ...config });
    return [m, m.functions[0] as PciFunction];
  }

  /** One memory function behind a link without credit limits. */
  function memory(options: OptionInput = {}, link: LinkConfig = {}, platform: 's390x' | 'x86-64' = 'x86-64') {
    const device = {
      name: 'memory',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size: 0x10000, memory: true as const }],
    };
    return make({
      platform,
      options: platform === 's390x' ? { zpciMode: 'native', maxstbl: 4096, ...options } : options,
      slots: [{ device, link: { rootCredits: ENDLESS, endpointCredits: ENDLESS, ...link } }],
    });
  }

  function store(m: Machine, path: PathId, data: Uint8Array, block = true): number {
    const fn = m.functions[0] as PciFunction;
    const result = m.cpu.write({ path, function: fn, bar: 0, offset: 0, data, block });
    expect(result.fault).toBeUndefined();
    return result.ns as number;
  }

  /** When the last byte had left the sender. */
  function lastSent(m: Machine): number {
    return (m.links[0]?.down.lastArrivalNs as number) - LATENCY;
  }

  describe('stores', () => {
    it.each([
      ['L-02', 4, 3.5546875],
      ['L-03', 8, 4.0625],
    ])('%s: of %d bytes take %d ns on the wire, and then the latency', async (_law, length, ns) => {
      const [m, fn] = await memory();
      expect(store(m, 'x86-uc', bytes(length), false)).toBe(0);
      expect(fn.barMemory(0)[0]).toBe(0); // under way
      m.settle();
      expect([...fn.barMemory(0).subarray(0, length)]).toEqual([...bytes(length)]);
      expect(lastSent(m)).toBe(ns);
      expect(m.links[0]?.down).toMatchObject({ tlps: 1, dataBytes: length });
    });

    it('L-14, L-15: take as long as lanes and generation say', async () => {
      for (const [speed, ns] of [
        ['gen1x1', 128],
        ['gen2x4', 16],
        ['gen3x16', 4.0625 / 2],
        ['gen5x16', (32 * 65) / 4096],
      ] as const) {
        const [m] = await memory({}, { speed });
        store(m, 'x86-uc', bytes(8), false);
        m.settle();
        expect([speed, lastSent(m)]).toEqual([speed, ns]);
      }
    });

    // The table of section 7: 4 KiB, headers of 4 DW, gen3x8.
    it.each<[PathId, 's390x' | 'x86-64', 128 | 256, number, number, number]>([
      ['zpci-pcistb', 's390x', 256, 1, 4480, 568.75],
      ['zpci-pcistb', 's390x', 128, 1, 4864, 617.5],
      ['x86-movdir64b', 'x86-64', 256, 64, 5632, 715],
      ['zpci-pcistg8', 's390x', 256, 512, 16384, 2080],
      ['zpci-pcistg4', 's390x', 256, 1024, 28672, 3640],
    ])(
      'L-17, L-18: 4 KiB along %s on %s, MPS %d: %d operations',
      async (path, platform, mps, count, wire, ns) => {
        const [m] = await memory({ mps }, {}, platform);
        store(m, path, bytes(4096));
        m.settle();
        expect(lastSent(m)).toBe(ns);
        const costs = 100;
        const [paid] = await memory({ mps, instructionNs: costs }, {}, platform);
        expect(store(paid, path, bytes(4096))).toBe(count * costs);
        paid.settle();
        // All wire time is hidden but that of the last operation.
        expect(lastSent(paid)).toBe(count * costs + ns / count);
        expect(paid.links[0]?.down.wireBytes).toBeGreaterThanOrEqual(wire);
      },
    );

    it('cost what software costs, where the wire is the bottleneck at most one operation more', async () => {
      const [m] = await memory({ instructionNs: 3 }, {}, 's390x');
      store(m, 'zpci-pcistg4', bytes(4096));
      m.settle();
      const law = Math.max(3640, 1024 * 3 + 3640 / 1024);
      expect(lastSent(m)).toBeGreaterThanOrEqual(law);
      expect(lastSent(m)).toBeLessThanOrEqual(law + 3);
    });

    it('wait in the store buffer, and then the CPU waits', async () => {
      const [m] = await memory({ storeBuffer: 4 }, { speed: 'gen1x1' });
      const wire = 128; // one of 8 bytes
      const busy = store(m, 'x86-uc', bytes(800));
      expect(busy).toBeGreaterThanOrEqual((100 - 5) * wire);
      expect(busy).toBeLessThanOrEqual(100 * wire);
      m.settle();
      expect(lastSent(m)).toBe(100 * wire);
      const [free] = await memory({ storeBuffer: 512 }, { speed: 'gen1x1' });
      expect(store(free, 'x86-uc', bytes(800))).toBe(0);
    });

    it('are at least the issue interval apart', async () => {
      const [m] = await memory({ issueIntervalNs: 50 });
      expect(store(m, 'x86-uc', bytes(80))).toBe(9 * 50);
      m.settle();
      expect(lastSent(m)).toBe(9 * 50 + 4.0625);
    });

    it('L-28: with 8 header credits and UpdateFC at once go at 51.76 million a second', async () => {
      const credits = { ...ENDLESS, ph: 8 };
      const [m] = await memory({}, { endpointCredits: credits, updateFcNs: 0 }, 's390x');
      store(m, 'zpci-pcistg4', bytes(0x8000));
      m.settle();
      const { down } = m.links[0] as Machine['links'][number];
      // Headers of 4 DW: 28 bytes.
      const round = 28 * BYTE + 2 * LATENCY + 8 * BYTE;
      expect((down.tlps * 1000) / down.lastArrivalNs / ((8 * 1000) / round)).toBeCloseTo(1, 2);
      expect(down.stalls.posted).toBeGreaterThan(0);
    });

    it('L-36: of one direction lose nothing to Acks, which go the other way', async () => {
      const [each] = await memory({ ackPolicy: 'perTlp' });
      const wire = 512 * 88 * BYTE;
      store(each, 'x86-movdir64b', bytes(0x8000));
      each.settle();
      expect(lastSent(each)).toBe(wire);
      const [few] = await memory();
      store(few, 'x86-movdir64b', bytes(0x8000));
      few.settle();
      expect(lastSent(few)).toBe(wire);
      expect(each.links[0]?.up.acks).toBeGreaterThan(few.links[0]?.up.acks as number);
    });

    it('LNK-07: make room for SKP ordered sets', async () => {
      const [m] = await memory({ skp: 'on' }, { speed: 'gen1x1' });
      store(m, 'x86-movdir64b', bytes(0x8000));
      m.settle();
      const [off] = await memory({}, { speed: 'gen1x1' });
      store(off, 'x86-movdir64b', bytes(0x8000));
      off.settle();
      expect(lastSent(m) / lastSent(off)).toBeCloseTo(1 / (1 - 4 / 1538), 4);
      expect(m.links[0]?.down.wireBytes).toBe(off.links[0]?.down.wireBytes);
    });

    it('L-34: survive broken TLPs: each arrives once and in order', async () => {
      const [m, fn] = await memory({}, { badTlps: 0.05, badDllps: 0.05, seed: 7 });
      store(m, 'x86-uc', bytes(0x4000));
      m.settle();
      expect(Buffer.compare(fn.barMemory(0).subarray(0, 0x4000), bytes(0x4000))).toBe(0);
      const { down, up } = m.links[0] as Machine['links'][number];
      expect(down.tlps).toBe(0x800);
      expect(up.naks).toBeGreaterThan(0);
      expect(down.replayed).toBeGreaterThan(0);
    });
  });

  describe('loads', () => {
    it('L-53: take request, service and completion', async () => {
      const [m, fn] = await memory();
      fn.barMemory(0).set([1, 2, 3, 4]);
      const read = (): number => {
        const result = m.cpu.read({
          path: 'x86-uc',
          function: fn,
          bar: 0,
          offset: 0,
          length: 4,
          block: false,
        });
        expect([...result.data]).toEqual([1, 2, 3, 4]);
        return result.ns as number;
      };
      expect(read()).toBe(24 * BYTE + LATENCY + 30 + 24 * BYTE + LATENCY);
      expect(m.time.ns).toBe(48 * BYTE + 180);
      const [slow] = await memory({ linkLatencyNs: 200, mmioServiceNs: 100 });
      const result = slow.cpu.read({
        path: 'x86-uc',
        function: slow.functions[0] as PciFunction,
        bar: 0,
        offset: 0,
        length: 4,
        block: false,
      });
      expect(result.ns).toBe(48 * BYTE + 500);
    });

    it('wait behind the stores before them', async () => {
      const [m, fn] = await memory();
      store(m, 'x86-uc', bytes(64));
      const { data } = m.cpu.read({
        path: 'x86-uc',
        function: fn,
        bar: 0,
        offset: 0,
        length: 8,
        block: false,
      });
      expect([...data]).toEqual([...bytes(8)]);
    });

    it('of configuration space take their own service time', async () => {
      const [m, fn] = await memory();
      m.config.read(fn.id, 0, 4);
      expect(m.time.ns).toBe(20 * BYTE + LATENCY + 20 + 24 * BYTE + LATENCY);
    });
  });

  describe('DMA', () => {
    async function readTime(length: number, options: OptionInput): Promise<number> {
      const { device, times } = reader(length);
      const [m] = await make({ options, slots: [{ device }] });
      store(m, 'x86-uc', bytes(4), false);
      m.settle();
      expect(times).toHaveLength(2);
      return (times[1] as number) - (times[0] as number);
    }

    it('L-41: with tags fixed falls as the latency grows', async () => {
      const near = { tags: 32, mrrs: 128, hostReadNs: 400 } as const;
      const [fast, slow] = [
        await readTime(1 << 16, near),
        await readTime(1 << 16, { ...near, hostReadNs: 800 }),
      ];
      const round = 20 * BYTE + 2 * LATENCY + 148 * BYTE;
      expect(fast / slow).toBeCloseTo((round + 400) / (round + 800), 1);
      expect(slow / 16).toBeCloseTo(round + 800, -2);
    });

    it.each([
      ['hsw2620', 'dmaWarm', 412],
      ['hsw2620', 'cold', 480],
      ['bdw-remote', 'cpuWarm', 537],
      ['ib', 'cpuWarm', 440],
    ] as const)(
      'a read of 64 bytes takes what was measured on %s, %s: %d ns',
      async (hostPreset, hostLines, ns) => {
        // Measured with headers of 4 DW; here the address needs 3.
        expect(await readTime(64, { hostPreset, hostLines })).toBeCloseTo(ns - 4 * BYTE, 2);
      },
    );

    it('L-52: grows with the size as the wire says, not faster', async () => {
      const [small, large] = [await readTime(64, { mrrs: 4096 }), await readTime(2048, { mrrs: 4096 })];
      expect(large - small).toBeCloseTo((8 * 276 - 84) * BYTE, 6);
    });

    it('L-50: issues its requests at least the issue interval apart', async () => {
      const time = await readTime(1024, { mrrs: 128, hostReadNs: 400, issueIntervalNs: 50 });
      expect(time).toBeCloseTo(7 * 50 + 20 * BYTE + 2 * LATENCY + 400 + 148 * BYTE, 6);
    });

    it('goes on while the CPU waits for a load, and models see the time of each arrival', async () => {
      const { device, times } = reader(64);
      const [m, fn] = await make({ slots: [{ device }] });
      store(m, 'x86-uc', bytes(4), false);
      expect(times).toEqual([]);
      const first = 24 * BYTE + LATENCY; // a BAR below 4 GiB
      m.run(10);
      expect(m.time.ns).toBe(10);
      m.run(first - 10);
      expect(times).toEqual([first]);
      for (let n = 0; n < 4; n++) m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4 });
      expect(times).toHaveLength(2);
      expect(times[1]).toBeLessThan(m.time.ns);
    });
  });

  it('fires timers of models in order with what arrives', async () => {
    const seen: [string, number][] = [];
    const device = defineDevice({
      name: 'timer',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size: 4096, callback: true }],
      write({ offset }, _bytes, _enables, ctx) {
        seen.push([`write ${offset}`, ctx.time.ns]);
        if (offset === 0) ctx.after(5, () => seen.push(['timer', ctx.time.ns]));
      },
      capabilities: { pcie: { maxLinkSpeed: 3, maxLinkWidth: 8 } },
    });
    const [m] = await make({ slots: [{ device: device as ReturnType<typeof defineDevice> }] });
    store(m, 'x86-uc', bytes(24));
    m.settle();
    m.run(10);
    const wire = 28 * BYTE; // a BAR below 4 GiB
    expect(seen).toEqual([
      ['write 0', LATENCY + wire],
      ['write 8', LATENCY + 2 * wire],
      ['timer', LATENCY + wire + 5],
      ['write 16', LATENCY + 3 * wire],
    ]);
  });

  it('tells a model of a block when its last TLP has arrived', async () => {
    const seen: [number, number, number][] = [];
    const device = defineDevice({
      name: 'blocks',
      vendorId: 1,
      deviceId: 2,
      blockWrites: true,
      bars: [{ size: 0x2000, callback: true }],
      write: ({ offset }, data, _enables, ctx) => void seen.push([offset, data.length, ctx.time.ns]),
      capabilities: { pcie: { maxLinkSpeed: 3, maxLinkWidth: 8 } },
    });
    const [m, fn] = await make({
      platform: 's390x',
      options: { zpciMode: 'native', maxstbl: 4096 },
      slots: [{ device: device as ReturnType<typeof defineDevice>, link: { endpointCredits: ENDLESS } }],
    });
    const fh = fn.handle;
    for (const offset of [0, 1024])
      expect(m.cpu.pcistb({ fh, as: 0, offset, length: 1024, source: bytes(1024) }).cc).toBe(0);
    m.settle();
    const wire = 4 * 276 * BYTE; // a BAR below 4 GiB
    expect(seen).toEqual([
      [0, 1024, LATENCY + wire],
      [1024, 1024, LATENCY + 2 * wire],
    ]);
  });

  it('LNK-11: says in the trace when a TLP left and arrived', async () => {
    const [m, fn] = await memory();
    m.trace.start();
    m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4, block: false });
    const times = m.trace.take().map(({ tlp, sentNs, arrivedNs }) => [tlp.type, sentNs, arrivedNs]);
    const arrived = 24 * BYTE + LATENCY;
    expect(times).toEqual([
      ['MRd', 0, arrived],
      ['CplD', arrived + 30, arrived + 30 + 24 * BYTE + LATENCY],
    ]);
  });

  it('takes DMA between two functions over both links', async () => {
    const peer = { device: memoryDevice(), link: 'gen3x8' };
    const { device, times } = reader(4, 2 ** 40);
    const [m] = await make({ slots: [{ device }, peer] });
    expect(m.functions[1]?.bar(0).address).toBe(2 ** 40);
    store(m, 'x86-uc', bytes(4), false);
    m.settle();
    const [asked = 0, came = 0] = times;
    // Request and completion cross two links each, and the peer takes its time.
    expect(came - asked).toBe(2 * (24 * BYTE + LATENCY) + 30 + 2 * (24 * BYTE + LATENCY));
    expect(m.links[1]?.up.tlps).toBe(1);
  });

  it('TLP-12, the flush: a read ends after the posted writes in front of it have arrived', async () => {
    const [m, fn] = await memory();
    m.trace.start();
    const data = bytes(400);
    const write = m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data });
    const end = m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 8 });
    expect([...(end.data ?? [])]).toEqual([...data.subarray(0, 8)]);
    const rows = m.trace.take();
    const writes = rows.filter(({ tlp }) => tlp.type === 'MWr');
    const read = rows.find(({ tlp }) => tlp.type === 'MRd');
    expect(write.totals.tlps).toBeGreaterThan(40);
    // Nothing had to settle: all of them are there when the read is answered, and came before it.
    expect(writes).toHaveLength(write.totals.tlps);
    for (const { arrivedNs } of writes) expect(arrivedNs).toBeLessThan(read?.arrivedNs ?? 0);
  });

  it('begins anew after a reset', async () => {
    const [m] = await memory();
    const run = (): unknown => {
      store(m, 'x86-uc', bytes(400));
      m.settle();
      return [m.time.ns, m.linkEvents, m.links];
    };
    const first = run();
    expect(run()).not.toEqual(first);
    store(m, 'x86-uc', bytes(400)); // under way
    m.reset();
    expect(m.time.ns).toBe(0);
    expect(run()).toEqual(first);
  });

  it('has room for a link per function', async () => {
    const slots = Array.from({ length: 64 }, () => ({ device: memoryDevice() }));
    const [m] = await make({ slots, link: 'gen1x1' });
    for (const fn of m.functions)
      m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: bytes(64) });
    m.settle();
    expect(m.links.map(({ down }) => down.dataBytes)).toEqual(new Array(64).fill(64));
  });

  it('keeps the size of its memory', async () => {
    const [m, fn] = await memory();
    const before = m.memoryBytes;
    for (let n = 0; n < 50; n++) {
      store(m, 'x86-uc', bytes(0x1000));
      m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 256 });
    }
    m.settle();
    expect(m.memoryBytes).toBe(before);
  });

  describe('refuses', () => {
    it.each([
      [{ link: 'gen6x1' }, 'link'],
      [{ fidelity: 'fast' }, 'fidelity'],
      [{ fidelity: 'functional', link: 'gen3x8' }, 'link'],
      [{ fidelity: 'functional', options: { tags: 32 } }, 'tags'],
      [{ fidelity: 'functional', options: { fidelity: 'timed' } }, 'fidelity'],
      [
        { slots: [{ device: memoryDevice(), options: { fidelity: 'functional' } }] },
        'slots[0].options.fidelity',
      ],
      [{ options: { txArbitration: 'cocotbext' } }, 'txArbitration'],
      // More than the rings of a link hold would be under way.
      [{ options: { linkLatencyNs: 100_001 } }, 'linkLatencyNs'],
      [{ options: { orderingMay: 'pass' } }, 'orderingMay'],
      [{ slots: [{ device: memoryDevice(), link: { lanes: 8 } }] }, 'slots[0].link.lanes'],
      [{ slots: [{ device: memoryDevice(), link: { badTlps: 1 } }] }, 'slots[0].link.badTlps'],
      [
        { slots: [{ device: memoryDevice(), link: { endpointCredits: { ...ENDLESS, pd: 4 } } }] },
        'slots[0].link.endpointCredits.pd',
      ],
    ])('%o', async (config, field) => {
      const error = await refused({ fidelity: 'timed', ...config });
      expect(error.field).toBe(field);
      expect(error.allowed).toBeDefined();
    });

    it('an access from a callback while the CPU is busy with another', async () => {
      let m: Machine | undefined;
      let error: unknown;
      const { device } = reader(4);
      const inner = defineDevice({
        name: 'inner',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 4096, callback: true }],
        read: () => 0,
        write(_at, _bytes, _enables, ctx) {
          ctx.dma.read(0, 4, {}, () => {
            error = errorOf(() => m?.config.read(0x100, 0, 4));
          });
        },
      });
      [m] = await make({ slots: [{ device: inner as typeof device }] });
      store(m, 'x86-uc', bytes(4), false);
      const fn = m.functions[0] as PciFunction;
      for (let n = 0; n < 8; n++) m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4 });
      expect(error).toMatchObject({ code: 'unsupported', field: 'config' });
    });
  });
});

describe('L-55: a program of several functions', () => {
  it('has the same events on the debug and the release core', async () => {
    const seen = [];
    for (const build of BUILDS) {
      const { device } = reader(5000);
      const m = await createMachine({
        core: readBuild(build),
        fidelity: 'timed',
        hostMemoryBytes: 0x10000,
        slots: [
          { device, link: { speed: 'gen2x1', badTlps: 0.02 } },
          { device: memoryDevice(), link: 'gen4x4' },
        ],
      });
      for (let n = 0; n < 20; n++) {
        for (const fn of m.functions) {
          m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: bytes(4), block: false });
          m.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 64, length: 4 * n + 1 });
        }
      }
      m.settle();
      seen.push({ time: m.time, links: m.links, ...m.linkEvents });
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]?.count).toBeGreaterThan(1000);
  });
});
