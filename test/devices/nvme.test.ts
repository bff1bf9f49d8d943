/** The NVMe controller as a driver meets it: bring-up, identify, features, logs, reads and writes through PRPs, rings. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import { nvme } from '../../src/devices/index.js';
import type { Device } from '../../src/index.js';
import { pattern } from '../machine/support.js';
import { BUILDS, readBuild, useBuild } from '../support/builds.js';
import {
  ADMIN,
  driveNvme,
  type Fields,
  IO,
  type NvmeDriver,
  type Options,
  type Pair,
  REG,
  rw,
} from './nvme-driver.js';
import { MESSAGE_ADDRESS } from './support.js';

const text = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length));
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset);

describe.each(BUILDS)('an NVMe controller on the %s core', (build) => {
  const core = useBuild(build);
  const make = async (options: Options = {}): Promise<NvmeDriver> => {
    const driver = await driveNvme(options, { core: core() });
    expect(driver.enable()).toBe(1);
    return driver;
  };
  const clean = ({ fn }: NvmeDriver): void => expect(fn.instance?.errors).toEqual([]);

  it('has the registers of its drawing, and is ready when it is enabled', async () => {
    const driver = await driveNvme({ queueEntries: 256, doorbellStride: 64 }, { core: core() });
    const cap = driver.read64(0, REG.CAP);
    expect(cap & 0xffffn).toBe(255n); // MQES
    expect((cap >> 16n) & 0xffn).toBe(1n); // CQR, no other arbitration
    expect((cap >> 24n) & 0xffn).toBeGreaterThan(0n); // TO
    expect((cap >> 32n) & 0xfn).toBe(4n); // DSTRD
    expect((cap >> 37n) & 0xffn).toBe(1n); // NVM command set
    expect((cap >> 48n) & 0xfn).toBe(0n); // MPSMIN
    expect((cap >> 52n) & 0xfn).toBe(4n); // MPSMAX
    expect(driver.read32(0, REG.VS)).toBe(0x0001_0400);
    expect((driver.machine.config.read(driver.fn.id, 8, 4) as number) >>> 8).toBe(0x01_0802);
    expect(driver.fn.config.bars[0]).toMatchObject({ kind: 'memory64', size: 0x4000 });
    expect(driver.read32(0, REG.CSTS)).toBe(0);
    expect(driver.enable()).toBe(1);
    expect(driver.read32(0, REG.CC)).toBe(0x0046_0001);
    expect(driver.read64(0, REG.ASQ)).toBe(BigInt(driver.admin.sq));
    // A doorbell at its stride reaches the queue, one at stride 4 does not.
    driver.put(driver.admin, { opcode: 0x7f });
    driver.write32(0, REG.DOORBELLS + 4, 1);
    expect(driver.reap(driver.admin)).toEqual([]);
    driver.ring(driver.admin);
    expect(driver.reap(driver.admin)).toMatchObject([{ status: 0x001, dnr: true }]);
    clean(driver);
  });

  it('identifies itself, its namespace and what names it', async () => {
    const options = {
      serial: 'S1',
      model: 'M 2',
      firmware: 'F3',
      blocks: 1000,
      lbaBytes: 4096,
      mdts: 3,
    } as const;
    const driver = await make(options);
    const controller = driver.identify(1);
    expect(view(controller).getUint16(0, true)).toBe(0x1af4);
    expect(text(controller, 4, 20)).toBe('S1'.padEnd(20));
    expect(text(controller, 24, 40)).toBe('M 2'.padEnd(40));
    expect(text(controller, 64, 8)).toBe('F3'.padEnd(8));
    expect([controller[77], controller[259], controller[262]]).toEqual([3, 3, 63]);
    expect(view(controller).getUint32(80, true)).toBe(0x0001_0400);
    expect([controller[512], controller[513]]).toEqual([0x66, 0x44]);
    expect(view(controller).getUint32(516, true)).toBe(1);
    expect(view(controller).getUint16(520, true)).toBe(0x18);
    const uuid = driver.identify(3, 1).subarray(0, 21);
    expect([...uuid.subarray(0, 4), uuid[20]]).toEqual([3, 16, 0, 0, 0]);
    const nqn = text(controller, 768, 69);
    expect(nqn).toMatch(
      /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\0$/,
    );
    expect(nqn.slice(32, 68).replaceAll('-', '')).toBe(Buffer.from(uuid.subarray(4, 20)).toString('hex'));
    const namespace = driver.identify(0, 1);
    for (const at of [0, 8, 16]) expect(view(namespace).getBigUint64(at, true)).toBe(1000n);
    expect([namespace[25], namespace[26], namespace[99]]).toEqual([0, 0, 0]);
    expect(view(namespace).getUint32(128, true)).toBe(12 << 16);
    expect([...driver.identify(2).subarray(0, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(driver.identify(2, 1)).toEqual(new Uint8Array(4096));
    clean(driver);
  });

  it('sets and gets features: queues as many as there are, thresholds, defaults, what is changeable', async () => {
    const driver = await make({ queues: 4 });
    const feature = (opcode: number, id: number, word = 0, bits = 0, nsid = 0) => {
      const { status, dw0 } = driver.run(driver.admin, { opcode, nsid, words: [id | bits, word] });
      return status === 0 ? dw0 : `0x${status.toString(16)}`;
    };
    const set = (id: number, word: number, bits = 0, nsid = 0) =>
      feature(ADMIN.SET_FEATURES, id, word, bits, nsid);
    const get = (id: number, word = 0, select = 0) => feature(ADMIN.GET_FEATURES, id, word, select << 8);
    expect(get(7)).toBe(0x0003_0003);
    expect(set(7, 0x00ff_0001)).toBe(0x0003_0001);
    expect(get(7)).toBe(0x0003_0001);
    expect(get(7, 0, 1)).toBe(0x0003_0003);
    expect(set(7, 0xffff_0000)).toBe('0x2');
    expect(get(6)).toBe(1);
    expect(set(6, 0)).toBe(0);
    expect([get(6), get(6, 0, 1), get(6, 0, 3)]).toEqual([0, 1, 4]);
    expect(set(4, 300)).toBe(0);
    expect(set(4, (1 << 20) | 280)).toBe(0);
    expect([get(4), get(4, 1 << 20), get(4, 0, 1)]).toEqual([300, 280, 0xffff]);
    expect([set(4, (3 << 16) | 1), get(4, 0xf << 16), set(4, (2 << 20) | 1)]).toEqual(['0x2', '0x2', '0x2']);
    expect([set(9, 2 | (1 << 16)), get(9, 2), get(9, 3), get(9, 9)]).toEqual([0, 0x1_0002, 3, '0x2']);
    expect([set(2, 1), set(2, 0), set(5, 0x1_0000), set(5, 7), get(5)]).toEqual(['0x2', 0, '0x2', 0, 7]);
    expect([set(0x0d, 0), get(0x7f), get(1, 0, 5)]).toEqual(['0x2', '0x2', '0x2']);
    expect(set(1, 2, 2 ** 31)).toBe('0x10d');
    expect([set(1, 2, 0, 1), set(1, 2, 0, 7), set(5, 2, 0, 1)]).toEqual(['0x10f', '0xb', 0]);
    driver.create(2, 4);
    expect(set(7, 0x0001_0001)).toBe('0xc');
    expect(driver.run(driver.admin, { opcode: ADMIN.CREATE_CQ, words: [(3 << 16) | 5, 1] }).status).toBe(
      0x101,
    );
    clean(driver);
  });

  it('keeps logs of errors and health: counters, offsets, the firmware', async () => {
    const driver = await make({ firmware: 'R2' });
    const pair = driver.create(1, 8);
    const at = driver.pages(1);
    driver.must(pair, rw(IO.WRITE, 0, 8, at));
    for (let n = 0; n < 3; n++) driver.must(pair, rw(IO.READ, 0, 4, at));
    const bad = driver.run(pair, rw(IO.READ, 0x1_2345_6789, 1, at));
    expect(bad).toMatchObject({ status: 0x080, dnr: true, more: true });
    driver.run(driver.admin, { opcode: 0x55, nsid: 9 });
    const errors = driver.log(1, 256);
    const entry = (n: number) => {
      const part = view(errors.subarray(64 * n));
      return [
        part.getBigUint64(0, true),
        part.getUint16(8, true),
        part.getUint16(12, true) >>> 1,
        part.getBigUint64(16, true),
        part.getUint32(24, true),
      ];
    };
    expect(entry(0)).toEqual([2n, 0, 0x4001, 0n, 9]);
    expect(entry(1)).toEqual([1n, 1, 0x4080, 0x1_2345_6789n, 1]);
    expect(view(errors).getUint16(64 + 10, true)).toBe(bad.cid);
    expect(entry(2)).toEqual([0n, 0, 0, 0n, 0]);
    expect(driver.log(1, 64, { offset: 64 })).toEqual(errors.subarray(64, 128));
    const health = driver.log(2, 512);
    expect([health[0], view(health).getUint16(1, true), health[3]]).toEqual([0, 313, 100]);
    const counters = [32, 48, 64, 80, 112, 144, 160, 176].map((offset) =>
      view(health).getBigUint64(offset, true),
    );
    expect(counters).toEqual([1n, 1n, 3n, 1n, 1n, 0n, 0n, 2n]);
    const firmware = driver.log(3, 512);
    expect([firmware[0], text(firmware, 8, 8)]).toEqual([1, 'R2      ']);
    const log = (nsid: number, ...words: number[]) =>
      driver.run(driver.admin, { opcode: ADMIN.GET_LOG, nsid, prp1: at, words }).status;
    expect(log(0, (15 << 16) | 4)).toBe(0x109);
    expect(log(1, (15 << 16) | 2)).toBe(0x002);
    expect(log(0, (15 << 16) | 2, 0, 516)).toBe(0x002);
    expect(log(0, 0xffff_0001, 0xffff)).toBe(0x002); // more than MDTS
    clean(driver);
  });

  // ------------------------------------------------------------------------------------------------------ data

  /** A buffer at any dword of a page, in pages of any order, and the PRPs that say so; lists from any qword of a page. */
  const buffer = (driver: NvmeDriver, offset: number, length: number, listAt: number, seed: number) => {
    const { pageBytes, machine } = driver;
    const count = Math.ceil((offset + length) / pageBytes);
    const base = driver.pages(count);
    // Every other page swapped with its neighbour, so that runs of pages and single ones are both there.
    const order = Array.from({ length: count }, (_, n) => (n ^ (((seed >> (n & 7)) & 1) as number)) % count);
    const unique = new Set(order).size === count ? order : order.map((_, n) => n);
    const addresses = unique.map((n) => base + n * pageBytes);
    const [first = 0, second = 0] = addresses;
    const rest = addresses.slice(1);
    let prp2 = second;
    if (count > 2) {
      let at = driver.pages(1) + listAt;
      prp2 = at;
      while (rest.length > 0) {
        const room = (pageBytes - (at % pageBytes)) / 8;
        const part = rest.splice(0, rest.length > room ? room - 1 : room);
        const next = rest.length > 0 ? driver.pages(1) : 0;
        const list = new BigUint64Array([...part, ...(next === 0 ? [] : [next])].map(BigInt));
        machine.memory.write(at, new Uint8Array(list.buffer));
        at = next;
      }
    }
    const pieces = addresses.map((address, n) => {
      const from = n === 0 ? offset : 0;
      const done = Math.max(0, n * pageBytes - offset);
      return { at: address + from, done, bytes: Math.min(pageBytes - from, length - done) };
    });
    return {
      prp1: first + offset,
      prp2: count > 1 ? prp2 : 0,
      fill: (data: Uint8Array) => {
        for (const { at, done, bytes } of pieces) machine.memory.write(at, data.subarray(done, done + bytes));
      },
      contents: () => {
        const out = new Uint8Array(length);
        for (const { at, done, bytes } of pieces) out.set(machine.memory.read(at, bytes), done);
        return out;
      },
    };
  };

  it.each<[string, Options, number, number, number]>([
    ['PRP1', {}, 0, 8, 0],
    ['PRP1 up to the end of its page', {}, 4096 - 512, 1, 0],
    ['PRP1 at an offset, and PRP2', {}, 0xe04, 8, 0],
    ['PRP1 and PRP2', {}, 0, 16, 0],
    ['a PRP list', {}, 0, 17, 0],
    ['a PRP list up to the end of its page', {}, 0, 256, 4096 - 31 * 8],
    ['two PRP lists, the first with one page', {}, 4, 64, 4096 - 16],
    ['two PRP lists, the first with the second only', {}, 8, 64, 4096 - 8],
    ['lists of a whole page', { mdts: 10, lbaBytes: 4096 }, 12, 520, 8],
    ['pages of 16 KiB and blocks of 4 KiB', { mps: 2, lbaBytes: 4096, mdts: 6 }, 0x1a00, 60, 16384 - 16],
  ])('writes and reads through %s', async (_, options, offset, blocks, listAt) => {
    const driver = await make(options);
    const pair = driver.create(1, 4);
    const length = blocks * (options.lbaBytes ?? 512);
    const data = pattern(length, blocks);
    const out = buffer(driver, offset, length, listAt, 0b101);
    out.fill(data);
    driver.must(pair, rw(IO.WRITE, 3, blocks, out.prp1, out.prp2));
    out.fill(new Uint8Array(length));
    driver.must(pair, rw(IO.READ, 3, blocks, out.prp1, out.prp2));
    expect(Buffer.compare(out.contents(), data)).toBe(0);
    // One block on the way: what was read was shifted by one, and blocks around are zeros.
    const block = options.lbaBytes ?? 512;
    const one = buffer(driver, 0, block, 0, 0);
    driver.must(pair, rw(IO.READ, 3 + blocks - 1, 1, one.prp1));
    expect(Buffer.compare(one.contents(), data.subarray(length - block))).toBe(0);
    for (const lba of [2, 3 + blocks]) {
      driver.must(pair, rw(IO.READ, lba, 1, one.prp1));
      expect(one.contents()).toEqual(new Uint8Array(block));
    }
    clean(driver);
  });

  it('does random reads, writes, flushes and zeroes through random PRPs as a plain array does', async () => {
    const driver = await make({ blocks: 300, mdts: 6 });
    const pair = driver.create(1, 5);
    const model = new Uint8Array(300 * 512);
    const start = driver.pages(0);
    let lists = 0;
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            opcode: fc.constantFrom(IO.WRITE, IO.READ, IO.WRITE, IO.READ, IO.ZEROES, IO.FLUSH),
            lba: fc.nat(299),
            blocks: fc.integer({ min: 1, max: 140 }),
            offset: fc.oneof(
              fc.constant(0),
              fc.nat(1023).map((n) => 4 * n),
            ),
            listAt: fc.oneof(fc.nat(511), fc.integer({ min: 490, max: 511 })).map((n) => 8 * n),
            seed: fc.nat(255),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        (steps) => {
          Object.assign(driver, { next: start });
          for (const { opcode, lba, blocks, offset, listAt, seed } of steps) {
            const count = Math.min(blocks, 300 - lba);
            const length = count * 512;
            const there = buffer(driver, offset, length, listAt, seed);
            if (offset + length > 8192) lists++;
            const data = pattern(length, seed);
            there.fill(data);
            expect(driver.run(pair, rw(opcode, lba, count, there.prp1, there.prp2)).status).toBe(0);
            if (opcode === IO.WRITE) model.set(data, lba * 512);
            if (opcode === IO.ZEROES) model.fill(0, lba * 512, (lba + count) * 512);
            if (opcode === IO.READ)
              expect(Buffer.compare(there.contents(), model.subarray(lba * 512, (lba + count) * 512))).toBe(
                0,
              );
          }
        },
      ),
      { numRuns: 20, seed: 5 },
    );
    expect(lists).toBeGreaterThan(25);
    expect(pair.wraps).toBeGreaterThan(5);
    clean(driver);
  });

  // ----------------------------------------------------------------------------------------------------- rings

  it('wraps rings of every size, in bursts, and tells each queue by its own vector', async () => {
    const driver = await make({ queues: 4, adminEntries: 2 });
    const pairs = [2, 3, 5, 16].map((entries, n) => driver.create(n + 1, entries));
    driver.vectors();
    const at = driver.pages(1);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 15 })), { minLength: 30, maxLength: 40 }),
        (bursts) => {
          for (const [n, wanted] of bursts) {
            const pair = pairs[n] as Pair;
            const count = Math.min(wanted, pair.entries - 1);
            const commands = Array.from({ length: count }, (): Fields => rw(IO.READ, 0, 1, at));
            const ids = driver.submit(pair, ...commands);
            const done = driver.reap(pair);
            expect(done.map(({ cid }) => cid)).toEqual(ids);
            expect(done.every(({ status, sqid }) => status === 0 && sqid === pair.id)).toBe(true);
            expect(done.at(-1)?.sqhd).toBe(pair.tail);
            expect(driver.vectors()).toEqual(Array(count).fill(pair.id));
          }
        },
      ),
      { numRuns: 5, seed: 3 },
    );
    for (const { wraps } of pairs) expect(wraps).toBeGreaterThan(3);
    expect(driver.admin.wraps).toBeGreaterThan(3);
    clean(driver);
  });

  it('fetches what is in the ring in one request, up to its end, the burst, and the room for completions', async () => {
    const driver = await make();
    const pair = driver.create(1, 64);
    const { machine } = driver;
    const fetched = (action: () => void): number[] => {
      machine.trace.start();
      machine.trace.take();
      action();
      const reads = machine.trace.take().filter(({ direction, tlp }) => {
        return (
          direction === 'up' &&
          tlp.type === 'MRd' &&
          Number(tlp.address) >= pair.sq &&
          Number(tlp.address) < pair.sq + 4096
        );
      });
      return reads.map(({ tlp }) => tlp.length / 16);
    };
    const flushes = (count: number) =>
      Array.from({ length: count }, (): Fields => ({ opcode: IO.FLUSH, nsid: 1 }));
    const sum = (list: number[]): number => list.reduce((total, n) => total + n, 0);
    // MRRS of 512 bytes cuts a request into TLPs of 8 entries.
    expect(fetched(() => driver.submit(pair, ...flushes(40)))).toEqual([8, 8, 8, 8, 8]);
    expect(driver.reap(pair)).toHaveLength(40);
    expect(fetched(() => driver.submit(pair, ...flushes(40)))).toEqual([8, 8, 8, 8, 8]);
    expect(driver.reap(pair, 10)).toHaveLength(10);
    // 30 of 63 slots hold entries: 33 commands are fetched, the others when there is room.
    expect(sum(fetched(() => driver.submit(pair, ...flushes(60))))).toBe(33);
    expect(sum(fetched(() => driver.reap(pair, 7)))).toBe(7);
    expect(driver.reap(pair)).toHaveLength(63);
    expect(driver.reap(pair)).toHaveLength(20);
    driver.must(driver.admin, { opcode: ADMIN.SET_FEATURES, words: [1, 2] });
    expect(Math.max(...fetched(() => driver.submit(pair, ...flushes(9))))).toBe(4);
    expect(driver.reap(pair)).toHaveLength(9);
    clean(driver);
  });

  it.each(['functional', 'timed'] as const)(
    'writes data, then the completion, then the message (%s)',
    async (fidelity) => {
      const driver = await driveNvme({}, { core: core(), fidelity });
      const { machine, admin } = driver;
      driver.enable();
      const at = driver.pages(1);
      machine.trace.start();
      driver.submit(admin, { opcode: ADMIN.IDENTIFY, prp1: at, words: [1] });
      if (fidelity === 'timed') machine.settle();
      const posted = machine.trace
        .take()
        .filter(({ direction, tlp }) => direction === 'up' && tlp.flow === 'P')
        .map(({ tlp }) => Number(tlp.flow === 'P' ? tlp.address : 0));
      expect(posted[0]).toBe(at);
      expect(posted.slice(-3)).toEqual([at + 4096 - 256, admin.cq, MESSAGE_ADDRESS]);
      expect(driver.reap(admin)).toMatchObject([{ status: 0, sqhd: 1, sqid: 0 }]);
      clean(driver);
    },
  );

  it('takes queues that share a completion queue, and deep ones', async () => {
    const driver = await make({ queues: 3, queueEntries: 1024 });
    const { machine, admin } = driver;
    const first = driver.create(1, 1024);
    const second = driver.pair(2, 1024);
    driver.must(admin, {
      opcode: ADMIN.CREATE_SQ,
      prp1: second.sq,
      words: [(1023 << 16) | 2, (1 << 16) | 1],
    });
    const command: Fields = { opcode: IO.FLUSH, nsid: 1 };
    driver.put(first, ...Array<Fields>(500).fill(command));
    driver.put(second, ...Array<Fields>(1023).fill(command));
    driver.ring(first);
    driver.ring(second);
    const done = driver.reap(first);
    expect(done).toHaveLength(1023);
    const rest = driver.reap(first);
    expect(rest).toHaveLength(500);
    const by = [...done, ...rest].map(({ sqid }) => sqid);
    expect([by.filter((id) => id === 1).length, by.filter((id) => id === 2).length]).toEqual([500, 1023]);
    expect(machine.takeInterrupts().length).toBeGreaterThan(1500);
    clean(driver);
  });
});

describe('the conformance kit', () => {
  it('passes the controller, whatever is written to its registers', async () => {
    const core = await readBuild('release');
    const { checks } = await checkDevice(nvme({ queues: 1, latencyNs: 500 }) as unknown as Device, {
      accesses: 30,
      core,
    });
    expect(checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    expect(checks.filter(({ outcome }) => outcome === 'pass').length).toBeGreaterThan(10);
  });
});
