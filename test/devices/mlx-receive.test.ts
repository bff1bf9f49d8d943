/** The NIC's receive side, and the cable: two NICs in one machine, frames of a capture, time on the wire. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Wire, type WireOptions, wire } from '../../src/devices/index.js';
import type { MachineConfig } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { capture, readPcap } from './mlx-pcap.js';
import {
  ASYNC_EQN,
  BUFFERS,
  type Cqe,
  frame,
  LKEY,
  type NicDriver,
  nic,
  nics,
  RECEIVE_CQN,
  RQN,
  tlps,
  type Variant,
} from './mlx-support.js';

const RESP_SEND = 2;
const RESP_ERR = 14;

describe.each(BUILDS)('the receive side of the NIC on the %s core', (build) => {
  const core = useBuild(build);

  const make = async (
    variant: Variant = {},
  ): Promise<{ driver: NicDriver; arrive: (one: Uint8Array) => void }> => {
    const cable = wire();
    const driver = await nic({ ...variant, nic: { port: cable.a, ...variant.nic } }, { core: core() });
    const arrive = (one: Uint8Array): void => {
      cable.b.send(one);
      driver.machine.settle();
    };
    return { driver, arrive };
  };
  const brief = ({ opcode, counter, bytes, syndrome }: Cqe): number[] =>
    opcode === RESP_SEND ? [opcode, counter, bytes] : [opcode, counter, syndrome];
  const received = (driver: NicDriver): number[][] => driver.pollAll(RECEIVE_CQN).map(brief);

  it('MLX-33 sees a post by reading the record alone', async () => {
    const { driver, arrive } = await make();
    driver.machine.trace.start();
    driver.postReceive([{ address: BUFFERS, length: 2048 }]);
    driver.postReceive([{ address: BUFFERS + 2048, length: 2048 }]);
    expect(tlps(driver)).toEqual([]);
    arrive(frame(100));
    expect(tlps(driver)).toEqual([
      'up MRd 0xc000 1',
      'down CplD 1',
      'up MRd 0xa000 16',
      'down CplD 16',
      'up MWr 0x10000 25',
      'up MWr 0x5000 16',
    ]);
    arrive(frame(60, 1)); // the second WQE is known
    expect(tlps(driver)[0]).toBe('up MRd 0xa040 16');
    expect(driver.machine.memory.read(BUFFERS, 100)).toEqual(frame(100));
    expect(driver.machine.memory.read(BUFFERS + 2048, 60)).toEqual(frame(60, 1));
    expect(received(driver)).toEqual([
      [RESP_SEND, 0, 100],
      [RESP_SEND, 1, 60],
    ]);
  });

  it('MLX-33 drops frames while nothing is posted', async () => {
    const { driver, arrive } = await make();
    arrive(frame(64));
    expect(driver.stats).toMatchObject({ outOfBuffer: 1, framesDropped: 1 });
    driver.postReceive([{ address: BUFFERS, length: 64 }]);
    arrive(frame(64));
    arrive(frame(64));
    expect(received(driver)).toEqual([[RESP_SEND, 0, 64]]);
    expect(driver.stats.outOfBuffer).toBe(2);
  });

  it('scatters a frame over segments, and leaves what is behind it', async () => {
    const { driver, arrive } = await make();
    driver.postReceive([
      { address: BUFFERS + 1, length: 10 },
      { address: BUFFERS + 0x1000, length: 50 },
      { address: BUFFERS + 0x2000, length: 50 },
    ]);
    arrive(frame(64));
    const { memory } = driver.machine;
    expect(memory.read(BUFFERS, 12)).toEqual(Uint8Array.of(0, ...frame(64).subarray(0, 10), 0));
    expect(memory.read(BUFFERS + 0x1000, 51)).toEqual(Uint8Array.of(...frame(64).subarray(10, 60), 0));
    expect(memory.read(BUFFERS + 0x2000, 5)).toEqual(Uint8Array.of(...frame(64).subarray(60), 0));
  });

  it.each([
    [0x0800, 2],
    [0x86dd, 1],
    [0x0806, 0],
  ])('says of EtherType %i that the L3 type is %i', async (etherType, l3) => {
    const { driver, arrive } = await make();
    driver.postReceive([{ address: BUFFERS, length: 64 }]);
    const one = frame(64);
    one.set([etherType >> 8, etherType & 0xff], 12);
    arrive(one);
    const cqe = driver.poll(RECEIVE_CQN) as Cqe;
    expect([cqe.raw[28], cqe.raw[29], cqe.qpn]).toEqual([1, l3 << 2, RQN]);
  });

  it('MLX-34 answers a frame that is longer than the scatter list with 0x01, and flushes what was posted', async () => {
    const { driver, arrive } = await make();
    for (let n = 0; n < 3; n++)
      driver.postReceive([
        { address: BUFFERS, length: 32 },
        { address: BUFFERS + 0x100, length: 31 },
      ]);
    arrive(frame(63));
    arrive(frame(64, 1));
    expect(received(driver)).toEqual([
      [RESP_SEND, 0, 63],
      [RESP_ERR, 1, 1],
      [RESP_ERR, 2, 5],
    ]);
    expect(driver.machine.memory.read(BUFFERS, 32)).toEqual(frame(63).subarray(0, 32)); // nothing of the second frame
    arrive(frame(10));
    expect(received(driver)).toEqual([]);
    expect(driver.errors).toEqual([]);
  });

  it.each<[string, Variant, Parameters<NicDriver['postReceive']>[0], number]>([
    ['a key that is not there', {}, [{ address: BUFFERS, length: 64, lkey: LKEY + 1 }], 4],
    [
      'a key without local write',
      { mkeys: [{ key: LKEY, localWrite: false }] },
      [{ address: 0, length: 64 }],
      4,
    ],
    ['an empty list', {}, [], 1],
    ['a ring that nobody answers', { rq: { buffer: at41() } }, [{ address: 0, length: 64 }], 2],
  ])('answers %s with an error', async (_, variant, list, syndrome) => {
    const { driver, arrive } = await make(variant);
    driver.postReceive(list);
    arrive(frame(64));
    expect(received(driver)).toEqual([[RESP_ERR, 0, syndrome]]);
    const events = driver.pollEqs(ASYNC_EQN).map((one) => [one[1], one[52], one[59]]);
    expect(events).toEqual(syndrome === 2 ? [[5, 1, RQN]] : []);
    expect(driver.errors).toEqual([]);
  });

  it('ignores a record that posts more than the ring holds', async () => {
    const { driver, arrive } = await make();
    driver.postReceive([{ address: BUFFERS, length: 64 }]);
    driver.machine.memory.write(0xc000, Uint8Array.of(0, 0, 0, 9));
    arrive(frame(64));
    expect(received(driver)).toEqual([]);
    expect(driver.stats['protocolErrors: RQ doorbell record']).toBe(1);
    driver.machine.memory.write(0xc000, Uint8Array.of(0, 0, 0, 1));
    arrive(frame(64));
    expect(received(driver)).toEqual([[RESP_SEND, 0, 64]]);
  });

  it('follows the links of a linked list, whose CQEs name the place of the WQE', async () => {
    const { driver, arrive } = await make({ rq: { type: 'linked-list' } });
    const next = [3, 0, 1, 5, 6, 2, 7, 4]; // 0 3 5 2 1, then 0 again
    for (let n = 0; n < 8; n++) driver.postReceive([{ address: BUFFERS + 256 * n, length: 256 }], next[n]);
    for (let n = 0; n < 6; n++) arrive(frame(64, n));
    expect(received(driver).map(([, counter]) => counter)).toEqual([0, 3, 5, 2, 1, 0]);
    expect(driver.machine.memory.read(BUFFERS + 256 * 5, 64)).toEqual(frame(64, 2));
  });

  it('answers a link behind the ring with 0x02', async () => {
    const { driver, arrive } = await make({ rq: { type: 'linked-list' } });
    driver.postReceive([{ address: BUFFERS, length: 256 }], 8);
    arrive(frame(64));
    expect(received(driver)).toEqual([[RESP_ERR, 0, 2]]);
  });

  describe('a cable between two NICs of one machine', () => {
    const join = async (
      options: WireOptions = {},
      config: Omit<MachineConfig, 'slots'> = {},
    ): Promise<{ a: NicDriver; b: NicDriver; cable: Wire }> => {
      const cable = wire(options);
      const logs = { cq: 6 };
      const [a, b] = await nics(
        [
          { nic: { port: cable.a }, logs },
          { nic: { port: cable.b }, logs },
        ],
        {
          core: core(),
          ...config,
        },
      );
      return { a: a as NicDriver, b: b as NicDriver, cable };
    };
    const SLOT = 2048;
    const give = (driver: NicDriver, count: number): void => {
      for (let n = 0; n < count; n++)
        driver.postReceive([{ address: driver.base + BUFFERS + SLOT * (driver.rqPc % 8), length: SLOT }]);
    };
    /** Sends a frame with an inline header of 18 bytes and the rest from memory. */
    const send = (driver: NicDriver, one: Uint8Array): void => {
      const from = driver.base + BUFFERS + 0x8000;
      driver.machine.memory.write(from, one.subarray(18));
      const rest = one.length > 18 ? [{ address: from, length: one.length - 18 }] : [];
      driver.post({ header: one.subarray(0, 18), data: rest });
    };
    const take = (driver: NicDriver): Uint8Array[] =>
      driver.pollAll(RECEIVE_CQN).map(({ counter, bytes }) => {
        return driver.machine.memory.read(driver.base + BUFFERS + SLOT * (counter % 8), bytes);
      });

    it('carries the frames of a capture both ways unchanged', async () => {
      const { a, b, cable } = await join();
      const frames = readPcap(capture());
      expect(frames.length).toBeGreaterThan(5);
      const seen: [string, Uint8Array][] = [];
      cable.tap = (one, from) => seen.push([from, one]);
      for (const one of frames) {
        give(a, 1);
        give(b, 1);
        send(a, one);
        send(b, one);
        expect(take(b)).toEqual([one]);
        expect(take(a)).toEqual([one]);
      }
      expect(seen).toEqual(
        frames.flatMap((one) => [
          ['a', one],
          ['b', one],
        ]),
      );
      expect([...a.pollAll(), ...b.pollAll()].every(({ opcode }) => opcode === 0)).toBe(true);
      expect([a.errors, b.errors]).toEqual([[], []]);
    });

    it('takes the time of its bits, one frame behind the other, and the latency', async () => {
      const { a, b } = await join({ bitsPerSecond: 8e9, latencyNs: 500 }); // 1 ns for a byte
      give(b, 2);
      send(a, frame(1000));
      send(a, frame(100, 1));
      expect(a.pollAll().length).toBe(2); // sent is sent
      a.machine.run(1499);
      expect(take(b)).toEqual([]);
      a.machine.run(1);
      expect(take(b)).toEqual([frame(1000)]);
      a.machine.run(99);
      expect(take(b)).toEqual([]);
      a.machine.run(1);
      expect(take(b)).toEqual([frame(100, 1)]);
    });

    it('holds back a sender when 1024 frames are on it', async () => {
      const { a, cable } = await join({ latencyNs: 1000 });
      const seen: Uint8Array[] = [];
      cable.tap = (one) => seen.push(one);
      for (let n = 0; n < 1030; n++) {
        a.post({ data: [frame(14, n)] });
        if (n < 1024) expect(a.poll()?.opcode).toBe(0);
      }
      expect(a.poll()).toBeUndefined();
      a.machine.run(1000);
      expect([seen.length, a.pollAll().length]).toEqual([1024, 6]);
      a.machine.run(1000);
      expect(seen).toEqual(Array.from({ length: 1030 }, (_, n) => frame(14, n)));
    });

    it('carries frames in timed fidelity, and is idle afterwards', async () => {
      const { a, b } = await join(
        { bitsPerSecond: 1e11, latencyNs: 300 },
        { options: { fidelity: 'timed' } },
      );
      give(b, 4);
      for (let n = 0; n < 4; n++) a.post({ data: [frame(300, n)] });
      a.machine.run(100_000);
      expect(take(b)).toEqual([0, 1, 2, 3].map((n) => frame(300, n)));
      expect([a.errors, b.errors, b.stats.framesReceived]).toEqual([[], [], 4]);
    });

    it('carries any frames in any order of posts and sends', async () => {
      const { a, b } = await join();
      const lengths = fc.array(fc.integer({ min: 1, max: 1600 }), { minLength: 1, maxLength: 12 });
      let carried = 0;
      fc.assert(
        fc.property(lengths, fc.nat(6), fc.boolean(), (list, ahead, isReverse) => {
          a.machine.reset();
          a.fresh();
          b.fresh();
          const [from, to] = isReverse ? [b, a] : [a, b];
          give(to, Math.min(ahead, 4));
          for (const [n, length] of list.entries()) {
            give(to, 1);
            send(from, frame(length, n));
            const [got] = take(to);
            expect(got).toEqual(frame(length, n));
            carried++;
          }
          expect([a.errors, b.errors]).toEqual([[], []]);
        }),
        { numRuns: 20, seed: 3 },
      );
      expect(carried).toBeGreaterThan(60);
    });
  });
});

function at41() {
  return { pages: [2 ** 41], logPageSize: 16, offset: 0 };
}
