/** Machines in simulated time: rules of single places: software's costs, ties, order, blocks, DMA, what a wait ends with. */
import { describe, expect, it } from 'vitest';
import { type Device, type DeviceContext, defineDevice } from '../../src/device/index.js';
import {
  type Credits,
  type Machine,
  type MachineConfig,
  memoryDevice,
  type OptionInput,
  type PathId,
  type PciFunction,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { machinesOf, pattern, same } from './support.js';

const BYTE = 520 / 4096; // ns on gen3x8
const LATENCY = 75;
const ENDLESS: Credits = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };
const FREE = { rootCredits: ENDLESS, endpointCredits: ENDLESS } as const;

/** A callback BAR; `rung` runs at each write to it. */
function engine(rung: (ctx: DeviceContext<unknown>, offset: number) => void): Device {
  return defineDevice<unknown>({
    name: 'engine',
    vendorId: 1,
    deviceId: 2,
    bars: [{ size: 4096, callback: true }],
    write: ({ offset }, _bytes, _enables, ctx) => void rung(ctx, offset),
  }) as Device;
}

/** Notes what it is told of the blocks that are written to it: offset, bytes, time. */
function blocks(): { device: Device; told: [number, number, number][] } {
  const told: [number, number, number][] = [];
  const device = defineDevice<unknown>({
    name: 'blocks',
    vendorId: 1,
    deviceId: 2,
    blockWrites: true,
    bars: [{ size: 0x4000, bits: 64, callback: true }],
    write: ({ offset }, bytes, _enables, ctx) => void told.push([offset, bytes.length, ctx.time.ns]),
  });
  return { device: device as Device, told };
}

/** Reads of it fail: completer abort. */
const failing = defineDevice<unknown>({
  name: 'failing',
  vendorId: 1,
  deviceId: 2,
  bars: [{ size: 4096, bits: 64, callback: true }],
  read: () => {
    throw new Error('not today');
  },
}) as Device;

describe.each(BUILDS)('rules of a timed machine on the %s core', (build) => {
  const { make: makeAny } = machinesOf(build);

  async function make(config: MachineConfig): Promise<[Machine, PciFunction, PciFunction]> {
    const m = await makeAny({ fidelity: 'timed', ...config });
    return [m, m.functions[0] as PciFunction, m.functions[1] as PciFunction];
  }

  /** One posted write of 4 bytes. */
  function ring(m: Machine, fn: PciFunction, offset = 0): void {
    m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset, data: pattern(4, 1), block: false });
  }

  describe('software (timing.md 7, paths.md)', () => {
    const COSTS = { instructionNs: 1009, exitNs: 2003, syscallNs: 3001, hostOpNs: 401 };

    it.each<[PathId, MachineConfig['platform'], OptionInput, boolean]>([
      ['x86-uc', 'x86-64', {}, true],
      ['vfio-rw-w4', 'x86-64', {}, false],
      ['kvm-qemu-vfio-w4', 'x86-64', {}, false],
      ['zpci-pcistg8', 's390x', { zpciMode: 'native' }, true],
      ['zpci-mmio-call', 's390x', { zpciMode: 'native' }, false],
      ['zpci-vfio-w8', 's390x', { zpciMode: 'vfio' }, false],
      ['zpci-emulated', 's390x', { zpciMode: 'emulated' }, false],
    ])('is charged for what is counted along %s', async (path, platform = 'x86-64', options, isDirect) => {
      const [m, fn] = await make({
        platform,
        options: { ...COSTS, ...options, storeBuffer: 512 },
        slots: [{ device: memoryDevice(), link: { ...FREE, speed: 'gen5x16' } }],
      });
      const data = pattern(300, 1);
      for (const length of [300, 296]) {
        const at = { path, function: fn, bar: 0, offset: 8, data: data.subarray(0, length) };
        const { ns, totals, fault } = m.cpu.write(at);
        expect(fault).toBeUndefined();
        const { guestInstructions, exits, systemCalls, hostOperations } = totals;
        const others = exits * COSTS.exitNs + systemCalls * COSTS.syscallNs + hostOperations * COSTS.hostOpNs;
        expect(ns).toBe(guestInstructions * COSTS.instructionNs + (isDirect ? 0 : others));
        expect(ns).toBeGreaterThan(0);
      }
    });

    it('is not charged for an operation that the host refuses', async () => {
      let taken = 0;
      const device = defineDevice({
        name: 'asking',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 0x4000, bits: 64, memory: true }],
        acceptInstruction: () => ++taken <= 2 || { cc: 2, status: 8 },
      }) as Device;
      const [m, fn] = await make({
        platform: 's390x',
        options: { ...COSTS, zpciMode: 'native' },
        slots: [{ device, link: FREE }],
      });
      const at = { path: 'zpci-mmio-call', function: fn, bar: 0, offset: 0, data: pattern(1024, 1) } as const;
      const { ns, totals, fault } = m.cpu.write(at);
      expect(fault).toBeDefined();
      expect(totals).toMatchObject({ systemCalls: 1, hostOperations: 2 });
      expect(ns).toBe(COSTS.syscallNs + 2 * COSTS.hostOpNs);
    });

    it('of an emulated device calls it at the time of the CPU', async () => {
      const times: number[] = [];
      const [m, fn] = await make({
        platform: 's390x',
        options: { zpciMode: 'emulated', exitNs: 2000 },
        slots: [{ device: engine((ctx) => times.push(ctx.time.ns)) }],
      });
      m.cpu.write({ path: 'zpci-emulated', function: fn, bar: 0, offset: 0, data: pattern(256, 1) });
      expect(times).toEqual([...new Array(16).fill(2000), ...new Array(16).fill(4000)]);
    });

    it('is not charged for time that passed before', async () => {
      const [m, fn] = await make({ slots: [{ device: memoryDevice(), link: FREE }] });
      m.run(500);
      const at = { path: 'x86-uc', function: fn, bar: 0, offset: 0, data: pattern(8, 1) } as const;
      expect(m.cpu.write(at).ns).toBe(0);
    });
  });

  describe('the link', () => {
    it.each([
      ['perTlp', 'gen3x8', 0],
      ['perInterval', 'gen3x8', 203],
      // The limit for MPS 128, not rounded, in symbols with their code (link.md 11).
      ['cocotbext', 'gen3x8', (((128 + 28) * 2.5) / 8 + 115) * 8 * BYTE],
      ['cocotbext', 'gen1x4', (((128 + 28) * 1.4) / 4 + 19) * 4],
    ] as const)('acknowledges as ackPolicy %s says on %s', async (ackPolicy, speed, ns) => {
      const [m, fn] = await make({
        options: { ackPolicy },
        slots: [{ device: memoryDevice(), link: { ...FREE, speed } }],
      });
      ring(m, fn);
      m.settle(); // ends when the Ack is there
      const byte = speed === 'gen3x8' ? BYTE : 1;
      expect(m.time.ns).toBeCloseTo((28 + 8) * byte + 2 * LATENCY + ns, 3);
    });

    it('L-35: covers a lost last Ack by the replay timer, as replayTimer says', async () => {
      let lost = 0;
      for (let seed = 0; seed < 12; seed++) {
        const ends: number[] = [];
        for (const replayTimer of ['table', 'simplified'] as const) {
          const [m, fn] = await make({
            options: { replayTimer },
            slots: [{ device: memoryDevice(), link: { ...FREE, speed: 'gen3x8', badDllps: 0.5, seed } }],
          });
          ring(m, fn);
          m.settle();
          const { timeouts = 0, tlps, duplicates } = m.links[0]?.down ?? {};
          expect([tlps, duplicates]).toEqual([1, timeouts]);
          ends.push(m.time.ns - timeouts * (replayTimer === 'table' ? 3 * 203 : 24_000));
          lost += timeouts;
        }
        expect(ends[0]).toBe(ends[1]);
      }
      expect(lost).toBeGreaterThan(0);
    });

    it('section 5, ties: what arrives at the tick of a timer comes first', async () => {
      // The second store arrives when the Ack for the first is due, or a tick later.
      for (const [late, acks] of [
        [0, 1],
        [1 / 4096, 2],
      ] as const) {
        const [m, fn] = await make({
          options: { issueIntervalNs: 203 + late },
          slots: [{ device: memoryDevice(), link: FREE }],
        });
        ring(m, fn);
        ring(m, fn, 4);
        m.settle();
        expect(m.links[0]?.up.acks).toBe(acks);
      }
    });

    it('L-30: reads without credits hold no write of the same function', async () => {
      const arrived = async (reads: number): Promise<number> => {
        const device = engine((ctx) => {
          for (let n = 0; n < reads; n++) ctx.dma.read(0, 4096, {}, () => undefined);
          ctx.dma.write(0x1000, pattern(4, 1));
        });
        const [m, fn] = await make({
          options: { mrrs: 128 },
          slots: [{ device, link: { ...FREE, rootCredits: { ...ENDLESS, nph: 1 } } }],
        });
        m.trace.start();
        ring(m, fn);
        m.settle();
        const write = m.trace.take().find(({ tlp, direction }) => direction === 'up' && tlp.type === 'MWr');
        return write?.arrivedNs as number;
      };
      // Of 192 requests one has a credit, and goes first.
      expect(await arrived(6)).toBe((await arrived(0)) + 20 * BYTE);
    });

    it('2.2.6.2: a tag is used again only when its completion has come', async () => {
      const [m, fn] = await make({
        platform: 'arm64',
        options: { linkLatencyNs: 2000 },
        slots: [{ device: memoryDevice(), link: FREE }],
      });
      const data = pattern(8 * 600, 3);
      fn.barMemory(0).set(data);
      m.trace.start();
      const at = { path: 'arm64-memcpy-io', function: fn, bar: 0, offset: 0, length: data.length } as const;
      const result = m.cpu.read(at);
      expect(same(result.data, data)).toBe(true);
      const freed = new Map<number, number>();
      const rows = m.trace.take();
      for (const { tlp, arrivedNs = 0 } of rows)
        if (tlp.type === 'CplD') freed.set(tlp.tag, Math.min(arrivedNs, freed.get(tlp.tag) ?? Infinity));
      const asked = rows.filter(({ tlp }) => tlp.type === 'MRd');
      expect(asked).toHaveLength(600);
      asked.slice(256, 512).forEach(({ tlp, sentNs }) => {
        if (tlp.type === 'MRd') expect(sentNs).toBeGreaterThanOrEqual(freed.get(tlp.tag) as number);
      });
      // Pipelined: three times all tags, three round trips and the store that waits for its turn.
      expect(result.ns).toBeGreaterThan(3 * 4000);
      expect(result.ns).toBeLessThan(4 * 4000);
    });

    it('says in the trace what data there were, also when its rings begin anew', async () => {
      // As little room as there can be, so that the rings are passed soon.
      const options = { storeBuffer: 1, mps: 256, mrrs: 128 } as const;
      const data = pattern(140 * 4096, 1);
      const device = engine((ctx) => ctx.dma.write(2 ** 41, data));
      const [m, fn] = await make({
        options,
        slots: [{ device, link: { ...FREE, replayBytes: 4096 } }],
      });
      m.trace.start();
      ring(m, fn);
      m.settle();
      const writes = m.trace.take().filter(({ direction }) => direction === 'up');
      expect(writes).toHaveLength(140 * 16);
      const whole = Buffer.concat(writes.map((row) => row.data));
      expect(whole.compare(data)).toBe(0);
    });

    it('says in the trace that what nobody claims was there at once', async () => {
      const [m, fn] = await make({
        options: { instructionNs: 100 },
        slots: [{ device: memoryDevice(), link: FREE }],
      });
      fn.config.write(4, 0, 2); // no memory space
      m.trace.start();
      m.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: pattern(24, 1) });
      const times = m.trace.take().map(({ slot, sentNs, arrivedNs }) => [slot, sentNs, arrivedNs]);
      expect(times).toEqual([100, 200, 300].map((ns) => [undefined, ns, ns]));
    });
  });

  describe('blocks', () => {
    it('are told as a whole, whatever another function does meanwhile', async () => {
      const [one, other] = [blocks(), blocks()];
      const [m, slow, fast] = await make({
        options: { storeBuffer: 512 },
        slots: [
          { device: one.device, link: { ...FREE, speed: 'gen1x1' } },
          { device: other.device, link: { ...FREE, speed: 'gen3x8' } },
        ],
      });
      const data = pattern(256, 1);
      m.cpu.write({ path: 'x86-uc', function: slow, bar: 0, offset: 0, data });
      m.cpu.write({ path: 'x86-uc', function: fast, bar: 0, offset: 0, data });
      m.config.read(fast.id, 0, 4);
      m.config.read(fast.id, 0, 4);
      m.settle();
      expect(one.told).toEqual([[0, 256, 32 * 32 * 4 + LATENCY]]);
      expect(other.told).toEqual([[0, 256, 32 * 32 * BYTE + LATENCY]]);
    });

    it('are told at the end of the access when all of it had arrived before', async () => {
      const { device, told } = blocks();
      const [m, slow, fn] = await make({
        options: { storeBuffer: 1, wcBuffers: 1, wcLineComplete: 'immediate' },
        slots: [
          { device: memoryDevice(), link: { ...FREE, speed: 'gen1x1' } },
          { device, link: FREE },
        ],
      });
      m.cpu.wcStore({ function: slow, bar: 0, offset: 0, data: pattern(63, 1) });
      // The line of the slow function leaves, then that of the other one; the last bytes wait for the slow link.
      m.cpu.wcStore({ function: fn, bar: 0, offset: 0, data: pattern(72, 1) });
      expect(told).toHaveLength(1);
      expect(told[0]?.slice(0, 2)).toEqual([0, 64]);
      expect(told[0]?.[2]).toBe(m.time.ns);
    });

    it.each([6000, 9000])('of %d bytes of DMA are one, whatever the CPU does meanwhile', async (length) => {
      const { device, told } = blocks();
      const writer = engine((ctx) => ctx.dma.write(2 ** 40, pattern(length, 1)));
      const [m, fn] = await make({ slots: [{ device: writer }, { device }] });
      expect(m.functions[1]?.bar(0).address).toBe(2 ** 40);
      ring(m, fn);
      for (let n = 0; n < 10; n++) m.config.read(fn.id, 0, 4);
      m.settle();
      expect(told.map(([offset, bytes]) => [offset, bytes])).toEqual([[0, length]]);
    });
  });

  describe('DMA', () => {
    it.each([
      ['pieces: nobody, then one that aborts', 2 ** 40 - 4096, 8192, 'unsupported-request'],
      ['pieces: one that aborts, then nobody', 2 ** 40, 8192, 'completer-abort'],
      ['requests: nobody, then one that aborts', 2 ** 40 - 512, 1024, 'unsupported-request'],
      ['requests: one that aborts, then nobody', 2 ** 40 + 4096 - 512, 1024, 'completer-abort'],
    ] as const)('of several %s: fails as the first of them does', async (_what, at, length, expected) => {
      for (const fidelity of ['timed', 'functional'] as const) {
        let status: string | undefined;
        const device = engine((ctx) => {
          ctx.dma.read(at, length, {}, (result) => {
            status = result.status;
          });
        });
        const [m, fn] = await make({ fidelity, slots: [{ device }, { device: failing }] });
        expect(m.functions[1]?.bar(0).address).toBe(2 ** 40);
        ring(m, fn);
        m.settle();
        expect([fidelity, status]).toEqual([fidelity, expected]);
      }
    });

    it('counts a write as done when its last TLP leaves', async () => {
      const times: number[] = [];
      const device = engine((ctx) => {
        times.push(ctx.time.ns);
        ctx.dma.write(0, pattern(4096, 1), {}, () => times.push(ctx.time.ns));
      });
      const [m, fn] = await make({ slots: [{ device, link: { ...FREE, speed: 'gen1x1' } }] });
      ring(m, fn);
      m.settle();
      const tlp = (256 + 20) * 4;
      const [begun = 0, done = 0] = times;
      expect(done - begun).toBeGreaterThanOrEqual(15 * tlp);
      expect(done - begun).toBeLessThanOrEqual(16 * tlp);
    });

    it('is cut by the MPS of its link, and what the CPU writes meanwhile by that of the other', async () => {
      const device = engine((ctx) => {
        for (let n = 0; n < 16; n++) ctx.dma.read(0, 512, {}, () => undefined);
      });
      const [m, fn, other] = await make({
        platform: 's390x',
        options: { zpciMode: 'vfio', maxstbl: 4096, relaxed: true, storeBuffer: 1 },
        slots: [
          { device, options: { mps: 128 }, link: FREE },
          { device: memoryDevice(), options: { mps: 512 }, link: FREE },
        ],
      });
      m.cpu.write({ path: 'zpci-vfio-w4', function: fn, bar: 0, offset: 0, data: pattern(4, 1) });
      const at = { path: 'vfio-ism-rw', function: other, bar: 0, offset: 0 } as const;
      // Each waits until the one before it has left: TLPs of the other link arrive.
      for (let n = 0; n < 8; n++)
        expect(m.cpu.write({ ...at, data: pattern(4096, n) }).fault).toBeUndefined();
      m.settle();
      const [own, its] = m.links;
      expect(own?.down.tlps).toBe(1 + 16 * 4);
      expect(its?.down.tlps).toBe(8 * 8);
    });
  });

  describe('time', () => {
    it('fires a timer that is due at the end of a run in that run', async () => {
      for (const fidelity of ['timed', 'functional'] as const) {
        const times: number[] = [];
        const device = engine((ctx) => void ctx.after(50, () => times.push(ctx.time.ns)));
        const [m, fn] = await make({ fidelity, slots: [{ device }] });
        ring(m, fn);
        m.settle();
        const begun = 0;
        times.length = begun;
        ring(m, fn);
        m.run(2000);
        const [at = 0] = times;
        times.length = 0;
        ring(m, fn);
        const arrival = fidelity === 'timed' ? 24 * BYTE + LATENCY : 0;
        const now = m.time.ns;
        expect(at).toBeLessThan(now);
        m.run(arrival + 50);
        expect(times).toEqual([now + arrival + 50]);
      }
    });

    it.each(['x86-64', 's390x'] as const)(
      'goes on from now for a call of a timer on %s',
      async (platform) => {
        let rang = 0;
        let m: Machine | undefined;
        let fn: PciFunction | undefined;
        const device = engine((ctx) =>
          ctx.after(1000, () => {
            rang = ctx.time.ns;
            m?.config.read(fn?.id ?? 0, 0, 4);
          }),
        );
        const options: OptionInput = platform === 's390x' ? { zpciMode: 'native' } : {};
        const slots = [{ device, link: FREE }];
        [m, fn] = await make({ platform, options: { ...options, instructionNs: 100 }, slots });
        const path = platform === 's390x' ? 'zpci-pcistg4' : 'x86-uc';
        m.cpu.write({ path, function: fn, bar: 0, offset: 0, data: pattern(4, 1) });
        m.trace.start();
        m.run(5000);
        const config = m.trace.take().find(({ tlp }) => tlp.type === 'CfgRd0');
        expect(rang).toBeGreaterThan(1000);
        expect(config?.sentNs).toBe(rang + 100);
        expect(m.time.ns).toBe(100 + 5000);
      },
    );
  });
});
