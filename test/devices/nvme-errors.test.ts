/** What the NVMe controller answers to what a driver must not do: statuses, events, fatal status; never an exception. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  ADMIN,
  driveNvme,
  entryOf,
  type Fields,
  IO,
  MEMORY,
  type NvmeDriver,
  type Options,
  REG,
  rw,
} from './nvme-driver.js';

const NOWHERE = 2 ** 44;

describe.each(BUILDS)('an NVMe controller on the %s core', (build) => {
  const core = useBuild(build);
  const make = async (options: Options = {}): Promise<NvmeDriver> => {
    const driver = await driveNvme(options, { core: core() });
    expect(driver.enable()).toBe(1);
    return driver;
  };
  const clean = ({ fn }: NvmeDriver): void => expect(fn.instance?.errors).toEqual([]);

  it('answers admin commands that are wrong with the status of the specification', async () => {
    const driver = await make({ queues: 4, queueEntries: 64, vectors: 3 });
    driver.create(1, 8);
    const size = (entries: number, id: number): number => ((entries - 1) << 16) | id;
    const cases: [string, Fields, number][] = [
      ['an opcode that there is not', { opcode: 0x10 }, 0x001],
      ['a fused command', { opcode: ADMIN.IDENTIFY, flags: 1, words: [1] }, 0x002],
      ['SGLs', { opcode: ADMIN.IDENTIFY, flags: 0x40, words: [1] }, 0x002],
      ['Identify of a namespace that there is not', { opcode: ADMIN.IDENTIFY, nsid: 2 }, 0x00b],
      ['Identify of no namespace', { opcode: ADMIN.IDENTIFY }, 0x00b],
      ['a list behind the last namespace', { opcode: ADMIN.IDENTIFY, nsid: 0xffff_fffe, words: [2] }, 0x00b],
      ['a structure that there is not', { opcode: ADMIN.IDENTIFY, nsid: 1, words: [0x55] }, 0x002],
      ['Identify to a byte', { opcode: ADMIN.IDENTIFY, prp1: 0x10_0002, words: [1] }, 0x013],
      [
        'a second page in its middle',
        { opcode: ADMIN.IDENTIFY, prp1: 0x10_0800, prp2: 0x10_1800, words: [1] },
        0x013,
      ],
      ['a completion queue 0', { opcode: ADMIN.CREATE_CQ, words: [size(4, 0), 1] }, 0x101],
      ['a completion queue above the number', { opcode: ADMIN.CREATE_CQ, words: [size(4, 5), 1] }, 0x101],
      ['a completion queue that is there', { opcode: ADMIN.CREATE_CQ, words: [size(4, 1), 1] }, 0x101],
      ['a queue of one entry', { opcode: ADMIN.CREATE_CQ, words: [size(1, 2), 1] }, 0x102],
      ['a queue of too many', { opcode: ADMIN.CREATE_CQ, words: [size(65, 2), 1] }, 0x102],
      ['a queue in pieces', { opcode: ADMIN.CREATE_CQ, words: [size(4, 2), 0] }, 0x002],
      ['a queue across pages', { opcode: ADMIN.CREATE_CQ, prp1: 0x10_0040, words: [size(4, 2), 1] }, 0x013],
      ['a vector that there is not', { opcode: ADMIN.CREATE_CQ, words: [size(4, 2), 0x3_0003] }, 0x108],
      ['a submission queue 0', { opcode: ADMIN.CREATE_SQ, words: [size(4, 0), 0x1_0001] }, 0x101],
      ['a submission queue that is there', { opcode: ADMIN.CREATE_SQ, words: [size(4, 1), 0x1_0001] }, 0x101],
      ['completions to queue 0', { opcode: ADMIN.CREATE_SQ, words: [size(4, 2), 0x0_0001] }, 0x101],
      ['completions above the number', { opcode: ADMIN.CREATE_SQ, words: [size(4, 2), 0x9_0001] }, 0x101],
      ['completions to nowhere', { opcode: ADMIN.CREATE_SQ, words: [size(4, 2), 0x2_0001] }, 0x100],
      ['a submission queue of one entry', { opcode: ADMIN.CREATE_SQ, words: [size(1, 2), 0x1_0001] }, 0x102],
      ['a submission queue in pieces', { opcode: ADMIN.CREATE_SQ, words: [size(4, 2), 0x1_0000] }, 0x002],
      ['deleting submission queue 0', { opcode: ADMIN.DELETE_SQ, words: [0] }, 0x101],
      ['deleting a submission queue that there is not', { opcode: ADMIN.DELETE_SQ, words: [2] }, 0x101],
      ['deleting completion queue 0', { opcode: ADMIN.DELETE_CQ, words: [0] }, 0x101],
      ['deleting a completion queue that there is not', { opcode: ADMIN.DELETE_CQ, words: [3] }, 0x101],
      ['deleting a completion queue in use', { opcode: ADMIN.DELETE_CQ, words: [1] }, 0x10c],
    ];
    for (const [name, fields, status] of cases) {
      const done = driver.run(driver.admin, { prp1: 0x10_0000, ...fields });
      expect([name, done.status, done.dnr, done.more]).toEqual([name, status, true, true]);
    }
    // A structure to where nothing is: a posted write says nothing.
    driver.must(driver.admin, { opcode: ADMIN.IDENTIFY, prp1: NOWHERE, words: [1] });
    driver.write32(0, REG.CC, 1);
    for (const opcode of [ADMIN.CREATE_CQ, ADMIN.CREATE_SQ])
      expect(
        driver.run(driver.admin, { opcode, prp1: 0x10_0000, words: [size(4, 2), 0x1_0001] }).status,
      ).toBe(0x102);
    clean(driver);
  });

  it('answers I/O commands that are wrong with the status of the specification, and changes nothing', async () => {
    const driver = await make({ blocks: 100, mdts: 3 });
    const pair = driver.create(1, 8);
    const at = driver.pages(16);
    const cases: [string, Fields, number, boolean?][] = [
      ['an opcode that there is not', { opcode: 0x05, nsid: 1 }, 0x001],
      ['namespace 0', { ...rw(IO.READ, 0, 1, at), nsid: 0 }, 0x00b],
      ['namespace 2', { ...rw(IO.WRITE, 0, 1, at), nsid: 2 }, 0x00b],
      ['a read of all namespaces', { ...rw(IO.READ, 0, 1, at), nsid: 0xffff_ffff }, 0x00b],
      ['a flush of namespace 7', { opcode: IO.FLUSH, nsid: 7 }, 0x00b],
      ['the block behind the last', rw(IO.READ, 100, 1, at), 0x080],
      ['blocks across the end', rw(IO.WRITE, 99, 2, at), 0x080],
      ['zeroes across the end', rw(IO.ZEROES, 50, 51, 0), 0x080],
      [
        'the last block of 64 bits',
        { ...rw(IO.READ, 0, 1, at), words: [0xffff_ffff, 0xffff_ffff, 0] },
        0x080,
      ],
      ['more than MDTS', rw(IO.READ, 0, 65, at, at), 0x002],
      ['SGLs', { ...rw(IO.READ, 0, 1, at), flags: 0x80 }, 0x002],
      ['a buffer at a byte', rw(IO.READ, 0, 1, at + 1), 0x013],
      ['a second page in its middle', rw(IO.WRITE, 0, 9, at, at + 4), 0x013],
      ['a list at a dword', rw(IO.WRITE, 0, 24, at, at + 4), 0x013],
      ['a list with a page in its middle', rw(IO.READ, 0, 24, at, at + 0x2000), 0x013],
      ['a list where nothing is', rw(IO.WRITE, 0, 24, at, NOWHERE), 0x004, false],
      ['data where nothing is', rw(IO.WRITE, 0, 1, NOWHERE), 0x004, false],
      ['a list at the end of 2^64', rw(IO.READ, 0, 24, at, 0xffff_ffff_ffff_fff8n), 0x004, false],
      ['data at the end of 2^64', rw(IO.WRITE, 0, 8, 0xffff_ffff_ffff_f000n), 0x004, false],
      ['data behind the end of a page list', rw(IO.WRITE, 0, 24, at, at + 0x3ff8), 0x013],
    ];
    driver.machine.memory.write(at + 0x2000, Uint8Array.of(0, 0, 0x10, 0, 0, 0, 0, 0, 4));
    driver.machine.memory.write(at + 0x3ff8, Uint8Array.of(8)); // the next list is not at the start of a page
    for (const [name, fields, status, dnr = true] of cases) {
      const done = driver.run(pair, fields);
      expect([name, done.status, done.dnr]).toEqual([name, status, dnr]);
    }
    driver.must(pair, { opcode: IO.FLUSH, nsid: 0xffff_ffff });
    driver.must(pair, rw(IO.ZEROES, 0, 100, 0));
    for (let lba = 0; lba < 100; lba += 50) {
      driver.must(pair, rw(IO.READ, lba, 8, at));
      expect(driver.machine.memory.read(at, 4096)).toEqual(new Uint8Array(4096));
    }
    clean(driver);
  });

  it.each<[string, (driver: NvmeDriver) => void]>([
    ['pages that are too large', (driver) => driver.write32(0, REG.CC, (5 << 7) | 1)],
    ['another command set', (driver) => driver.write32(0, REG.CC, (6 << 4) | 1)],
    ['another arbitration', (driver) => driver.write32(0, REG.CC, (1 << 11) | 1)],
    ['queues that are not aligned', (driver) => driver.write32(0, REG.CC, (2 << 7) | 1)],
    [
      'queues of one entry',
      (driver) => {
        driver.write32(0, REG.AQA, 0x000f_0000);
        driver.write32(0, REG.CC, 1);
      },
    ],
    [
      'a submission queue where nothing is',
      (driver) => {
        driver.write64(0, REG.ASQ, NOWHERE);
        driver.write32(0, REG.CC, 1);
        driver.doorbell(0, 1);
      },
    ],
    [
      'a submission queue up to the end of 2^64 and further',
      (driver) => {
        driver.write64(0, REG.ASQ, 0xffff_ffff_ffff_f000n);
        driver.write32(0, REG.AQA, 0x0fff_0fff);
        driver.write32(0, REG.CC, 1);
        driver.doorbell(0, 4095);
      },
    ],
    [
      'Bus Master Enable off',
      (driver) => {
        driver.write32(0, REG.CC, 1);
        driver.machine.config.write(driver.fn.id, 4, 2, 2);
        driver.doorbell(0, 1);
      },
    ],
    [
      'a completion queue behind 2^64',
      (driver) => {
        driver.write64(0, REG.ACQ, 0xffff_ffff_ffff_f000n);
        driver.write32(0, REG.AQA, 0x0fff_0fff);
        driver.write32(0, REG.CC, 1);
        for (let tail = 1; tail < 300; tail++) driver.doorbell(0, tail);
      },
    ],
  ])('has the fatal status with %s, does nothing more, and is repaired by a reset', async (_, breakIt) => {
    const driver = await driveNvme({}, { core: core() });
    const { machine, admin, fn } = driver;
    driver.write64(0, REG.ASQ, admin.sq);
    driver.write64(0, REG.ACQ, admin.cq);
    driver.write32(0, REG.AQA, 0x000f_000f);
    breakIt(driver);
    expect(driver.read32(0, REG.CSTS) & 2).toBe(2);
    machine.config.write(fn.id, 4, 6, 2);
    const { tlpsUp } = machine.stats(fn);
    driver.doorbell(0, 3);
    driver.doorbell(0, 5);
    machine.run(10_000);
    expect(machine.stats(fn).tlpsUp).toBe(tlpsUp + 0);
    driver.write32(0, REG.CC, 0);
    expect(driver.read32(0, REG.CSTS)).toBe(0);
    expect(driver.enable()).toBe(1);
    expect(driver.identify(2)[0]).toBe(1);
    clean(driver);
  });

  it('reports doorbells that are wrong by events, once until the log is read, and ignores them', async () => {
    const driver = await make();
    const { admin } = driver;
    const pair = driver.create(1, 8);
    const event = (): number[] => driver.reap(admin).map(({ dw0 }) => dw0);
    const ask = () => driver.submit(admin, { opcode: ADMIN.EVENT });
    ask();
    expect(event()).toEqual([]);
    const wrong: [number, number][] = [
      [2, 8], // a tail behind the ring
      [2, 0], // the same tail again
      [3, 1], // a head behind the tail
      [3, 9],
      [3, 0],
    ];
    for (const [index, value] of wrong) {
      driver.doorbell(index, value);
      expect([index, value, event()]).toEqual([index, value, [0x01_0100]]);
      ask();
      driver.doorbell(index, value);
      expect(event()).toEqual([]); // masked until the log is read
      driver.log(1, 64, { isKept: true });
      driver.doorbell(index, value);
      expect(event()).toEqual([]);
      driver.log(1, 64);
    }
    driver.doorbell(6, 1); // a queue that there is not
    expect(event()).toEqual([0x01_0000]);
    driver.log(1, 64);
    driver.doorbell(5, 1);
    ask(); // what happened before is told to the next request
    expect(event()).toEqual([0x01_0000]);
    // The ring is as it was.
    driver.must(pair, { opcode: IO.FLUSH, nsid: 1 });
    const log = new DataView(driver.log(1, 64).buffer);
    expect([log.getUint16(8, true), log.getUint16(10, true)]).toEqual([0xffff, 0xffff]);
    // Four are kept, the fifth is one too many.
    driver.submit(admin, ...Array<Fields>(4).fill({ opcode: ADMIN.EVENT }));
    expect(driver.run(admin, { opcode: ADMIN.EVENT })).toMatchObject({ status: 0x105 });
    clean(driver);
  });

  it('stops a queue that cannot be read, tells it, and lets it be deleted and made again', async () => {
    const driver = await make();
    const { admin } = driver;
    const pair = driver.create(1, 8);
    driver.submit(admin, { opcode: ADMIN.EVENT });
    const size = (7 << 16) | 2;
    driver.must(admin, { opcode: ADMIN.CREATE_SQ, prp1: NOWHERE, words: [size, 0x1_0001] });
    driver.doorbell(4, 1);
    expect(driver.reap(admin).map(({ dw0 }) => dw0)).toEqual([0x01_0400]);
    driver.doorbell(4, 2);
    expect(driver.reap(pair)).toEqual([]);
    driver.must(pair, { opcode: IO.FLUSH, nsid: 1 });
    driver.must(admin, { opcode: ADMIN.DELETE_SQ, words: [2] });
    const again = driver.pair(2, 8);
    driver.must(admin, { opcode: ADMIN.CREATE_SQ, prp1: again.sq, words: [size, 0x1_0001] });
    driver.submit(again, { opcode: IO.FLUSH, nsid: 1 });
    expect(driver.reap(pair)).toMatchObject([{ sqid: 2, status: 0 }]);
    expect(driver.read32(0, REG.CSTS)).toBe(1);
    clean(driver);
  });

  it('survives any driver: random entries, doorbells, registers and time', async () => {
    const driver = await driveNvme({ blocks: 4096, latencyNs: 300, queues: 3, mdts: 4 }, { core: core() });
    const { machine, fn, admin } = driver;
    const pairs = [admin, driver.pair(1, 8), driver.pair(2, 5), driver.pair(3, 16)];
    const address = fc.oneof(
      { weight: 6, arbitrary: fc.nat(MEMORY / 4096 - 1).map((page) => BigInt(page * 4096)) },
      { weight: 2, arbitrary: fc.nat(MEMORY - 1).map((at) => BigInt(at)) },
      { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
    );
    const word = fc.oneof(
      fc.nat(20),
      fc.nat(0xf_ffff),
      fc.nat(0xffff_ffff).map((n) => n >>> 0),
    );
    const entry = fc
      .tuple(
        fc.oneof(fc.nat(12), fc.nat(255)),
        fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(255) }),
        fc.constantFrom(1, 1, 1, 0, 2, 0xffff_ffff),
        address,
        address,
        fc.array(word, { maxLength: 6 }),
      )
      .map(([opcode, flags, nsid, prp1, prp2, words]) => ({ opcode, flags, nsid, prp1, prp2, words }));
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.tuple(fc.constant('put'), fc.nat(3), fc.array(entry, { minLength: 1, maxLength: 6 })),
      },
      { weight: 4, arbitrary: fc.tuple(fc.constant('doorbell'), fc.nat(9), fc.oneof(fc.nat(20), word)) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('run'), fc.nat(1000), fc.constant(0)) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('reap'), fc.nat(3), fc.constant(0)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('register'), fc.nat(15), word) },
    );
    let completed = 0;
    const statuses = new Set<number>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), (steps) => {
        driver.write32(0, REG.CC, 0);
        driver.enable();
        for (const pair of pairs.slice(1)) {
          Object.assign(pair, { tail: 0, head: 0, phase: 1 });
          machine.memory.write(pair.cq, new Uint8Array(16 * pair.entries));
          const size = ((pair.entries - 1) << 16) | pair.id;
          driver.submit(admin, { opcode: ADMIN.CREATE_CQ, prp1: pair.cq, words: [size, 3] });
          driver.submit(admin, {
            opcode: ADMIN.CREATE_SQ,
            prp1: pair.sq,
            words: [size, (pair.id << 16) | 1],
          });
          driver.reap(admin);
        }
        for (const [what, n, value] of steps) {
          const pair = pairs[n & 3] as (typeof pairs)[number];
          if (what === 'run') machine.run(n);
          else if (what === 'doorbell') driver.doorbell(n, value as number);
          else if (what === 'register') driver.write32(0, 4 * n, value as number);
          else if (what === 'reap') {
            for (const { status } of driver.reap(pair)) {
              completed++;
              statuses.add(status);
            }
          } else {
            for (const fields of value as Fields[]) {
              machine.memory.write(pair.sq + 64 * pair.tail, entryOf(fields));
              pair.tail = (pair.tail + 1) % pair.entries;
            }
            driver.ring(pair);
          }
        }
        machine.run(50_000_000);
        expect(fn.instance?.errors).toEqual([]);
        expect(fn.instance?.idle).toBe(true);
      }),
      { numRuns: 35, seed: 17 },
    );
    expect(completed).toBeGreaterThan(100);
    expect(statuses.size).toBeGreaterThan(6);
    // Whatever happened: a reset gives back a controller that works.
    driver.write32(0, REG.CC, 0);
    expect(driver.enable()).toBe(1);
    expect(driver.identify(2)[0]).toBe(1);
  });
});
