/** The NIC under bad software, saved in the midst of traffic, quiesced, and its WQE codec. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import { DeviceInstance } from '../../src/device/instance.js';
import { BUILTIN_DEVICES } from '../../src/devices/builtin.js';
import { wire } from '../../src/devices/index.js';
import { ringSpans, spansOf } from '../../src/devices/mlx/ring.js';
import type { NicState } from '../../src/devices/mlx/state.js';
import { type Part, parseScatter, parseSend } from '../../src/devices/mlx/wqe.js';
import { TestHost } from '../device/host.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  AREA,
  BUFFERS,
  frame,
  LKEY,
  type NicDriver,
  NOP,
  nic,
  nicAt,
  RECEIVE_CQN,
  SQN,
  UAR_PAGE,
  type Variant,
} from './mlx-support.js';

describe.each(BUILDS)('a NIC on the %s core', (build) => {
  const core = useBuild(build);

  it('answers whatever software writes with CQEs or nothing', async () => {
    const cable = wire();
    const driver = await nic(
      { nic: { port: cable.a, sqDbrRead: 'onDoorbellMiss' }, cq: { period: 2, maxCount: 2 } },
      { core: core() },
    );
    const byte = fc.nat(255);
    const word = fc.oneof(
      fc.nat(40),
      fc.nat(0xffff),
      fc.constantFrom(0xffff_ffff, 0x8000_0000, LKEY, SQN << 8),
    );
    const step = fc.oneof(
      // A WQE of any words, or a sound one with a word that is not, and a doorbell that fits or not.
      fc.record({
        op: fc.constant('words' as const),
        words: fc.array(word, { minLength: 4, maxLength: 32 }),
      }),
      fc.record({ op: fc.constant('broken' as const), at: fc.nat(15), word, length: fc.nat(300) }),
      fc.record({
        op: fc.constant('bell' as const),
        index: fc.nat(0xffff),
        units: fc.nat(63),
        near: fc.boolean(),
      }),
      fc.record({
        op: fc.constant('uar' as const),
        at: fc.nat(0xfff),
        bytes: fc
          .constantFrom(1, 2, 4, 8)
          .chain((length) => fc.uint8Array({ minLength: length, maxLength: length })),
      }),
      fc.record({ op: fc.constant('copy' as const), at: fc.nat(31), word }),
      fc.record({ op: fc.constant('arm' as const), sn: fc.nat(3), ci: fc.nat(5) }),
      fc.record({
        op: fc.constant('memory' as const),
        at: fc.nat(AREA - 9),
        bytes: fc.array(byte, { maxLength: 8 }),
      }),
      fc.record({ op: fc.constant('record' as const), value: fc.nat(20) }),
      fc.record({ op: fc.constant('arrive' as const), length: fc.integer({ min: 1, max: 400 }) }),
      fc.record({ op: fc.constant('run' as const), ns: fc.nat(3000) }),
      fc.record({ op: fc.constant('good' as const) }),
    );
    const kinds = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (program) => {
        driver.machine.reset();
        driver.fresh();
        for (const one of program) perform(driver, one as unknown as Step, (bytes) => cable.b.send(bytes));
        driver.machine.run(10_000);
        for (const key of Object.keys(driver.stats)) kinds.add(key);
        expect(driver.errors).toEqual([]);
        expect(driver.fn.instance?.stopped).toBe(false);
      }),
      { numRuns: 60, seed: 5 },
    );
    for (const key of [
      'framesSent',
      'framesReceived',
      'completions',
      'events',
      'protocolErrors',
      'outOfBuffer',
    ])
      expect(kinds).toContain(key);
  });
});

describe('a NIC at its limits', () => {
  const core = useBuild('release');

  it('passes the checks of every device', async () => {
    const device = BUILTIN_DEVICES['mlx-nic']?.();
    const report = await checkDevice(device as never, { core: core(), accesses: 40 });
    expect(report.checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    expect(report.passed).toBe(true);
  });

  it('survives 8192 WQEs of one doorbell, each with data and an event', async () => {
    const driver = await nic(
      {
        sq: { buffer: { pages: [0x10_0000], logPageSize: 19, offset: 0 }, logSize: 13 },
        cq: { buffer: { pages: [0x18_0000], logPageSize: 20, offset: 0 }, logSize: 14 },
        eq: { buffer: { pages: [0x28_0000], logPageSize: 20, offset: 0 }, logSize: 14, arm: 'always' },
      },
      { core: core(), hostMemoryBytes: 0x40_0000 },
    );
    const data = [{ address: BUFFERS, length: 14 }];
    const wqe = driver.wqe({ data, ce: 3 });
    const ring = new Uint8Array(64 * 8192);
    for (let index = 0; index < 8192; index++) {
      ring.set(wqe, 64 * index);
      new DataView(ring.buffer).setUint16(64 * index + 1, index);
    }
    driver.machine.memory.write(0x10_0000, ring);
    driver.ring(ring.slice(-64));
    expect(driver.stats).toMatchObject({ framesSent: 8192, completions: 8192, events: 8192 });
    expect(driver.errors).toEqual([]);
  });
});

/** One step of a program; it has the fields that its `op` needs. */
interface Step {
  readonly op: string;
  readonly words: readonly number[];
  readonly bytes: Uint8Array;
  readonly near: boolean;
  readonly at: number;
  readonly word: number;
  readonly length: number;
  readonly index: number;
  readonly units: number;
  readonly sn: number;
  readonly ci: number;
  readonly value: number;
  readonly ns: number;
}

function perform(driver: NicDriver, given: Step, arrive: (bytes: Uint8Array) => void): void {
  switch (given.op) {
    case 'words': {
      const bytes = new Uint8Array(Math.ceil(given.words.length / 16) * 64);
      const view = new DataView(bytes.buffer);
      for (const [n, word] of given.words.entries()) view.setUint32(4 * n, word >>> 0);
      view.setUint16(1, driver.pc);
      view.setUint32(4, ((SQN << 8) | (view.getUint8(7) & 0x3f)) >>> 0);
      driver.ring(driver.put(bytes));
      break;
    }
    case 'broken': {
      const data = [{ address: BUFFERS, length: given.length }];
      const wqe = driver.wqe({ header: frame(18), data });
      new DataView(wqe.buffer).setUint32(4 * given.at, given.word >>> 0);
      driver.ring(driver.put(wqe));
      break;
    }
    case 'bell': {
      const index = given.near ? (driver.pc + (given.index % 40)) & 0xffff : given.index;
      driver.ring(driver.wqe({ index, units: given.units }));
      break;
    }
    case 'uar':
      driver.uar(Math.min(given.at, 0x1000 - given.bytes.length), given.bytes);
      break;
    case 'copy': {
      const wqe = driver.wqe({ data: [frame(46)] });
      new DataView(wqe.buffer).setUint32(4, given.word >>> 0);
      driver.uar(0x800 + 64 * given.at, wqe);
      break;
    }
    case 'arm':
      driver.armCq(given.sn, { ci: given.ci });
      driver.armEq(0x40, given.ci);
      break;
    case 'memory':
      driver.machine.memory.write(given.at, Uint8Array.from(given.bytes));
      break;
    case 'record':
      driver.machine.memory.write(0xc000, Uint8Array.of(0, 0, 0, given.value));
      break;
    case 'arrive':
      if (given.length % 3 === 0) driver.postReceive([{ address: BUFFERS, length: 300 }]);
      arrive(frame(given.length));
      driver.machine.settle();
      break;
    case 'run':
      driver.machine.run(given.ns);
      break;
    default:
      driver.post({ header: frame(18), data: [{ address: BUFFERS, length: 100 }] });
      driver.pollAll();
      driver.pollAll(RECEIVE_CQN);
  }
}

// --------------------------------------------------------------------------------------------- save, load, quiesce

/** Host memory that goes from one instance to the next. */
class Host extends TestHost {
  override readonly ram = new Uint8Array(AREA);
}

interface Plugged {
  host: Host;
  instance: DeviceInstance<NicState>;
}

/** A NIC without a machine: the same WQEs, whose writes are told one by one. */
function plugged(device: ReturnType<typeof nicAt>, ram?: Uint8Array, dmaNs?: number): Plugged {
  const host = new Host(dmaNs);
  if (ram !== undefined) host.ram.set(ram);
  const instance = new DeviceInstance(device, host);
  return { host, instance };
}

const SQ_AT = 0x8000;

function post({ host, instance }: Plugged, index: number, payload: Uint8Array, ring = true): void {
  const wqe = new Uint8Array(64);
  const view = new DataView(wqe.buffer);
  view.setUint32(0, (index << 8) | 0x0a);
  view.setUint32(4, (SQN << 8) | 4);
  view.setUint8(11, 8);
  view.setUint32(32, (0x8000_0000 | payload.length) >>> 0);
  wqe.set(payload.subarray(0, 28), 36);
  host.ram.set(wqe, SQ_AT + 64 * (index % 32));
  if (ring) instance.write(0, UAR_PAGE * 4096 + 0x800, wqe.slice(0, 8));
}

describe('a NIC that is saved and loaded', () => {
  /** Frames of 28 bytes, 1 ns for a byte. */
  const cabled = (variant: Variant = {}) => {
    const cable = wire({ bitsPerSecond: 8e9, latencyNs: 100 });
    const seen: number[] = [];
    cable.tap = (one) => seen.push(one[0] as number);
    return { device: nicAt(0, { ...variant, nic: { port: cable.a } }), seen, cable };
  };

  it('goes on in another instance, at another time, with what is on the cable, in a copy and held back', () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 0, max: 700 }),
        fc.nat(10_000),
        fc.boolean(),
        (count, wait, clock, isQuiesced) => {
          const times = [false, true].map((isSaved) => {
            const { device, seen } = cabled({ cq: { period: 1, maxCount: 9, arm: 'armed' } });
            let one = plugged(device);
            const start = (n: number): void => post(one, n, Uint8Array.of(n, ...frame(27)));
            for (let n = 0; n < count; n++) start(n);
            // Half of a BlueFlame copy: two blocks are to come.
            const block = new Uint8Array(64);
            new DataView(block.buffer).setUint32(0, (count << 8) | NOP);
            new DataView(block.buffer).setUint32(4, (SQN << 8) | 9);
            block[11] = 8;
            one.instance.write(0, UAR_PAGE * 4096 + 0x800, block);
            one.host.run(wait);
            if (isSaved) {
              if (isQuiesced) {
                one.instance.quiesce();
                expect(one.instance.idle).toBe(true);
              }
              const saved = structuredClone(one.instance.save());
              const next = plugged(device, one.host.ram);
              next.host.ns = clock;
              next.instance.load(saved);
              one = next;
              if (isQuiesced) {
                one.host.run(10_000);
                one.instance.read(0, 0, 4);
              }
            }
            const events: [number, number][] = [];
            const from = one.host.ns;
            for (let ns = 0; ns < 3000; ns += 25) {
              one.host.run(25);
              const counts = [seen.length, one.instance.stats.events ?? 0] as const;
              if (counts.join() !== events.at(-1)?.join()) events.push([...counts]);
            }
            expect(one.host.ns).toBe(from + 3000);
            expect(one.instance.errors).toEqual([]);
            expect(seen).toEqual(Array.from({ length: count }, (_, n) => n));
            return { events, ram: one.host.ram.slice(0, SQ_AT), stats: one.instance.stats };
          });
          expect(times[1]?.events).toEqual(times[0]?.events);
          expect(times[1]?.stats).toEqual(times[0]?.stats);
        },
      ),
      { numRuns: 40, seed: 9 },
    );
  });

  it('sends nothing while it is quiesced, and takes frames that arrive when it goes on', () => {
    const { device, seen, cable } = cabled();
    const one = plugged(device);
    post(one, 0, frame(28));
    one.host.run(50);
    one.instance.quiesce();
    const before = one.host.sent.length;
    cable.b.send(frame(60));
    one.host.run(10_000);
    expect(one.host.sent.length).toBe(before);
    expect(seen).toEqual([0]); // the test's own frame
    one.instance.read(0, 0, 4);
    one.host.run(77);
    expect(seen.length).toBe(1);
    one.host.run(1);
    expect(seen.length).toBe(2);
    expect(one.instance.stats.outOfBuffer).toBe(1);
  });

  it('starts no timer while it is quiesced, also when DMA ends that was under way', () => {
    const { device, seen } = cabled();
    const one = plugged(device, undefined, 10);
    post(one, 0, frame(28));
    one.instance.quiesce();
    one.host.run(1000);
    expect(one.instance.idle).toBe(true);
    const saved = structuredClone(one.instance.save());
    const next = plugged(device, one.host.ram);
    next.instance.load(saved);
    next.instance.read(0, 0, 4);
    next.host.run(127);
    expect(seen).toEqual([]);
    next.host.run(1);
    expect(seen).toEqual([0]);
  });

  it('is not saved while DMA is outstanding, and takes saves without their like with an error', () => {
    const { device } = cabled();
    const one = plugged(device, undefined, 10);
    post(one, 0, frame(28));
    expect(() => one.instance.save()).toThrow('DMA requests are outstanding: 1');
    one.host.run(100);
    const saved = one.instance.save();
    expect(() => one.instance.load({ ...saved, state: null })).toThrow('mlx-nic: load failed');
  });
});

describe('the payload fetch of a NIC', () => {
  const DMA_NS = 1000;
  const slow = (completionTimeoutNs: number) => {
    const cable = wire();
    const seen: Uint8Array[] = [];
    cable.tap = (one) => seen.push(one);
    const device = nicAt(0, { nic: { port: cable.a, completionTimeoutNs } });
    const one = plugged(device, undefined, DMA_NS);
    const wqe = new Uint8Array(64);
    const view = new DataView(wqe.buffer);
    view.setUint32(0, 0x0a);
    view.setUint32(4, (SQN << 8) | 3);
    view.setUint8(11, 8);
    view.setUint32(32, 64);
    view.setUint32(36, LKEY);
    view.setBigUint64(40, BigInt(BUFFERS));
    one.host.ram.set(wqe, SQ_AT);
    one.instance.write(0, UAR_PAGE * 4096 + 0x800, wqe.slice(0, 8));
    one.host.run(10 * DMA_NS);
    return { ...one, seen, last: one.host.ram.subarray(0x3000 + 54, 0x3000 + 64) };
  };

  it('MLX-39 that takes too long ends with an error CQE and health syndrome 0x0a; what comes later is dropped', () => {
    const { instance, seen, last } = slow(DMA_NS - 1);
    expect([last[1], (last[9] as number) >> 4]).toEqual([0x11, 13]);
    expect(seen).toEqual([]);
    expect((instance.save().state as NicState).health).toBe(0x0a);
    expect(instance.stats.completionTimeouts).toBe(1);
    expect(instance.errors).toEqual([]);
    expect(instance.idle).toBe(true);
  });

  it.each([0, DMA_NS + 1])('MLX-39 is waited for with the limit %i', (limit) => {
    const { instance, seen, last } = slow(limit);
    expect(seen.length).toBe(1);
    expect((last[9] as number) >> 4).toBe(0);
    expect((instance.save().state as NicState).health).toBe(0);
    expect(instance.idle).toBe(true);
  });
});

describe('WQEs as bytes', () => {
  it('give back the frame that was put into them, whatever its cuts', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.record({
        lkey: fc.nat(0xffff),
        address: fc.bigInt(0n, (1n << 64n) - 1n),
        length: fc.integer({ min: 1, max: 0x7fff_ffff }),
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(piece, { maxLength: 8 }), (header, pieces) => {
        const bytes: number[] = [...new Uint8Array(16)];
        const pad = (): void => {
          while (bytes.length % 16 !== 0) bytes.push(0);
        };
        bytes.push(...new Uint8Array(12), header.length >> 8, header.length & 0xff, ...header);
        while (bytes.length < 32) bytes.push(0);
        pad();
        for (const one of pieces) {
          const view = new DataView(new ArrayBuffer(16));
          if (one instanceof Uint8Array) {
            view.setUint32(0, (0x8000_0000 | one.length) >>> 0);
            bytes.push(...new Uint8Array(view.buffer, 0, 4), ...one);
          } else {
            view.setUint32(0, one.length);
            view.setUint32(4, one.lkey);
            view.setBigUint64(8, one.address);
            bytes.push(...new Uint8Array(view.buffer));
          }
          pad();
        }
        const parts = parseSend(Uint8Array.from(bytes));
        const expected: Part[] = header.length === 0 ? [...pieces] : [header, ...pieces];
        expect((parts as Part[]).map(plain)).toEqual(expected.map(plain));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('never throw, and give bytes that they have', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 16, maxLength: 16 }), { minLength: 1, maxLength: 63 }),
        (units) => {
          const bytes = Uint8Array.from(units.flatMap((unit) => [...unit]));
          const parts = parseSend(bytes);
          if (typeof parts === 'number') expect([1, 2]).toContain(parts);
          else
            for (const part of parts) if (part instanceof Uint8Array) expect(part.length).toBeLessThan(0x400);
          expect(parseScatter(bytes).length).toBeLessThanOrEqual(units.length);
        },
      ),
      { numRuns: 200, seed: 2 },
    );
  });

  it('lie in a ring and its pages as if byte by byte', () => {
    const logs = fc.integer({ min: 0, max: 3 });
    fc.assert(
      fc.property(
        logs,
        fc.nat(63),
        fc.nat(5000),
        fc.integer({ min: 1, max: 1024 }),
        (log, units, at, length) => {
          const size = 4096 * 2 ** log;
          const offset = 64 * units;
          const pages = Array.from({ length: 2 ** log + 1 }, (_, n) => 2 ** 33 - 0x1_0000 * n);
          const buffer = { pages, logPageSize: 12, offset };
          const bytes = ringSpans(buffer, size, at * 7, length).flatMap((span) =>
            Array.from({ length: span.length }, (_, n) => Number(span.address) + n),
          );
          const expected = Array.from({ length }, (_, n) => {
            const from = offset + ((at * 7 + n) % size);
            return (pages[Math.floor(from / 4096)] as number) + (from % 4096);
          });
          expect(bytes).toEqual(expected);
        },
      ),
      { numRuns: 100, seed: 4 },
    );
    expect(spansOf({ pages: [0], logPageSize: 12, offset: 0 }, 0, 0)).toEqual([]);
    expect(() => spansOf({ pages: [0], logPageSize: 12, offset: 0 }, 4096, 1)).toThrow('behind the queue');
  });
});

function plain(part: Part): unknown {
  return part instanceof Uint8Array ? [...part] : { ...part };
}
