/** ISM: moves into the memory of another function, the paths to them, and whole transfers (ism.md 6, 10). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/index.js';
import { ISM_GROUP, IsmFabric, ism, memoryDevice } from '../../src/devices/index.js';
import { checkDevice, type Machine, type OptionInput, type PciFunction } from '../../src/index.js';
import { encodeFib } from '../../src/zpci/fib.js';
import { machinesOf, pattern } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { IsmDriver } from './ism-driver.js';

const BYTES = 1 << 22;
const SECOND = 0x10000;
const BUFFER = 0x20_0000;
const MIB = 2 ** 20;
const FILE = fileURLToPath(new URL('../vectors/README.md', import.meta.url));

/** Registers addresses from SDMA to `pal`, translated by a region table at 0x8000. */
function fibOf(pal: bigint): Uint8Array {
  return encodeFib({ pba: 0x1_0000_0000n, pal, iota: 0x8804n });
}

describe.each(BUILDS)('moves of ISM on the %s core', (build) => {
  const { make, core } = machinesOf(build);
  const machineWith = (
    gids: readonly number[],
    fabric: IsmFabric,
    options: OptionInput = {},
  ): Promise<Machine> =>
    make({
      platform: 's390x',
      hostMemoryBytes: BYTES,
      options: { zpciMode: 'native', ...ISM_GROUP, ...options },
      slots: gids.map((gid) => ({ device: ism({ gid, fabric }), state: 'enabled' as const })),
    });

  interface Pair {
    readonly machine: Machine;
    readonly one: IsmDriver;
    readonly other: IsmDriver;
    readonly token: bigint;
  }
  /** Two functions in one machine; the second one has a buffer that the first one may write. */
  async function pair(bytes = MIB, options: OptionInput = {}): Promise<Pair> {
    const machine = await machineWith([0x11, 0x22], new IsmFabric(), options);
    const [first, second] = machine.functions as [PciFunction, PciFunction];
    const one = new IsmDriver(machine, first);
    const other = new IsmDriver(machine, second, SECOND);
    for (const driver of [one, other]) expect(driver.probe()).toBe('up');
    const token = other.registerDmb({ address: BUFFER, bytes, peer: 0x11n }) as bigint;
    one.takeLog();
    return { machine, one, other, token };
  }

  it.each([
    ['01', 0, 32, [32]],
    ['02', 4090, 100, [6, 94]],
    ['03', 32, 8192, [4064, 4096, 32]],
    ['04', 0, 4096, [4096]],
    ['05', 1, 4096, [4095, 1]],
    ['06', 0, MIB, Array(256).fill(4096)],
    ['07', 32, MIB - 32, [4064, ...Array(255).fill(4096)]],
  ] as const)('ISM-MOV-%s: at %i, %i bytes', async (_id, offset, length, pieces) => {
    const { machine, one, other, token } = await pair();
    const bytes = pattern(length, 5);
    const before = machine.memory.read(BUFFER, MIB);
    const { storeBlocks, stores } = one.fn.stats;
    const done = one.move(token, 3, true, offset, bytes);
    expect(done.map(({ bytes: count }) => count)).toEqual(pieces);
    let at = offset;
    for (const [n, { request, cc, bytes: count }] of done.entries()) {
      const signal = n === done.length - 1 ? 0x80_0000n : 0n;
      expect([n, request, cc]).toEqual([n, token | (3n << 24n) | signal | BigInt(at), 0]);
      at += count;
    }
    before.set(bytes, offset);
    expect(Buffer.compare(machine.memory.read(BUFFER, MIB), before)).toBe(0);
    expect([other.interrupts(), other.handle().signals]).toEqual([1, [[32, 0x1000]]]);
    // ISM-MOV-12: one store block each, and nothing else.
    expect(one.fn.stats).toMatchObject({ storeBlocks: storeBlocks + pieces.length, stores });
  });

  it('ISM-DMB-02: the parts of a request', async () => {
    const { one } = await pair();
    const [piece] = one.move(0x0000_00ab_c000_0000n, 2, true, 0x1010, Uint8Array.of(1));
    expect(piece?.request).toBe(0x0000_00ab_c280_1010n);
  });

  it('ISM-MOV-08, ISM-MOV-09: nothing is no instruction; an odd run of bytes is one, and no byte more', async () => {
    const { machine, one, token } = await pair();
    expect([one.move(token, 0, true, 0, new Uint8Array(0)), one.takeLog()]).toEqual([[], []]);
    machine.memory.write(BUFFER, new Uint8Array(32).fill(0xee));
    machine.memory.write(0x3001, pattern(11, 1));
    const answer = machine.cpu.pcistb({
      fh: one.fn.handle,
      as: 0,
      offset: token | 3n,
      length: 11,
      source: 0x3001,
    });
    expect(answer.cc).toBe(0);
    const expected = new Uint8Array(32).fill(0xee);
    expected.set(pattern(11, 1), 3);
    expect(machine.memory.read(BUFFER, 32)).toEqual(expected);
  });

  it('ISM-MOV-10: without SF nobody is told', async () => {
    const { machine, one, other, token } = await pair();
    one.move(token, 0, false, 0, pattern(64, 1));
    expect(other.interrupts()).toBe(0);
    expect(machine.memory.read(other.sba, 4096).every((value) => value === 0)).toBe(true);
  });

  it('ISM-MOV-11, ISM-MOV-14: a piece that is refused ends the move; what came before it is there', async () => {
    const { machine, one, other, token } = await pair(8000);
    const before = machine.memory.read(BUFFER, 16384);
    const bytes = pattern(12288, 3);
    const done = one.move(token, 0, true, 0, bytes);
    expect(done.map(({ cc, status, bytes: count }) => [cc, status, count])).toEqual([
      [0, 0, 4096],
      [1, 40, 4096],
    ]);
    before.set(bytes.subarray(0, 4096), 0);
    expect(machine.memory.read(BUFFER, 16384)).toEqual(before);
    expect(other.interrupts()).toBe(0);
    expect(one.store(0, token | 7999n, Uint8Array.of(1)).cc).toBe(0);
    expect(one.store(0, token | 7999n, Uint8Array.of(1, 2)).cc).toBe(1);
    expect(one.store(0, token | 8000n, Uint8Array.of(1)).cc).toBe(1);
  });

  it('ISM-MOV-13: data are in the buffer before the summary bit is set', async () => {
    const { machine, one, token } = await pair();
    machine.trace.start();
    one.move(token, 0, true, 0, pattern(4096, 1));
    const writes = machine.trace
      .take()
      .flatMap(({ tlp, direction }) =>
        direction === 'up' && tlp.type.startsWith('MWr') ? [Number(tlp.address)] : [],
      );
    const data = writes.filter((at) => at >= BUFFER && at < BUFFER + 4096);
    expect(data.length).toBeGreaterThan(0);
    const sba = SECOND + 0x1000;
    // Data, mask, bit, summary; then the message.
    expect(writes.slice(data.length, -1)).toEqual([sba + 320, sba + 8, sba]);
    expect(writes.slice(0, data.length)).toEqual(data);
  });

  it('ISM-DMA-01: a buffer that the receiver has not mapped puts the receiver into error', async () => {
    const machine = await machineWith([0x11, 0x22], new IsmFabric());
    const [first, second] = machine.functions as [PciFunction, PciFunction];
    const one = new IsmDriver(machine, first);
    const other = new IsmDriver(machine, second, SECOND);
    for (const driver of [one, other]) expect(driver.probe()).toBe('up');
    const sdma = 0x1_0000_0000n;
    // A region table of invalid entries: every address in it is unmapped.
    const table = 0x8000;
    const invalid = new Uint8Array(16384);
    for (let at = 7; at < invalid.length; at += 8) invalid[at] = 0x20;
    machine.memory.write(table, invalid);
    machine.memory.write(0xf000, fibOf(sdma + 0x3f_ffffn));
    const answer = machine.cpu.mpcifc({ fh: second.handle, oc: 4, fib: 0xf000 });
    expect(answer).toMatchObject({ cc: 0 });
    const token = other.run(0x0a, sdma, 4096, 32, 0, 0, 0x11n).response.getBigUint64(8);
    expect(one.move(token, 0, true, 0, pattern(64, 1))[0]?.cc).toBe(0);
    expect([second.state, first.state]).toEqual(['error', 'enabled']);
    expect(machine.takeEvents().map(({ fid, code }) => [fid, code])).toEqual([[second.fid, 4]]);
  });

  it('ISM-DMA-02: a limit one page above EDMA is taken from function type 5 alone', async () => {
    const machine = await make({
      platform: 's390x',
      hostMemoryBytes: BYTES,
      options: { zpciMode: 'native', ...ISM_GROUP },
      slots: [
        { device: ism(), state: 'enabled' },
        { device: memoryDevice(), state: 'enabled' },
      ],
    });
    const register = (fn: PciFunction, pal: bigint): string => {
      machine.memory.write(0xf000, fibOf(pal));
      const { cc, programInterruption } = machine.cpu.mpcifc({ fh: fn.handle, oc: 4, fib: 0xf000 });
      return programInterruption?.name ?? `cc ${cc}`;
    };
    const edma = 0x01ff_ffff_ffff_ffffn;
    const [type5, type0] = machine.functions as [PciFunction, PciFunction];
    expect([register(type5, edma + 8192n), register(type5, edma + 4096n)]).toEqual(['operand', 'cc 0']);
    expect([register(type0, edma + 4096n), register(type0, edma)]).toEqual(['operand', 'cc 0']);
  });

  it('ISM-PATH-01: one PCISTB natively, interpreted and by a region of its own; nothing by interception', async () => {
    /** The sender runs in one way or another; the receiver is native. */
    const sending = async (options: OptionInput): Promise<Pair> => {
      const fabric = new IsmFabric();
      const machine = await make({
        platform: 's390x',
        hostMemoryBytes: BYTES,
        slots: [
          { device: ism({ gid: 0x11, fabric }), state: 'enabled', options: { ...ISM_GROUP, ...options } },
          {
            device: ism({ gid: 0x22, fabric }),
            state: 'enabled',
            options: { zpciMode: 'native', ...ISM_GROUP },
          },
        ],
      });
      const [first, second] = machine.functions as [PciFunction, PciFunction];
      const other = new IsmDriver(machine, second, SECOND);
      expect(other.probe()).toBe('up');
      const token = other.registerDmb({ address: BUFFER, bytes: MIB, peer: 0x11n }) as bigint;
      return { machine, one: new IsmDriver(machine, first), other, token };
    };
    const bytes = pattern(4096, 1);
    for (const zpciMode of ['native', 'interpreted'] as const) {
      const { machine, one, token } = await sending({ zpciMode });
      expect(one.move(token, 0, false, 0, bytes).map(({ cc }) => cc)).toEqual([0]);
      expect([zpciMode, one.fn.stats.storeBlocks, one.fn.stats.stores]).toEqual([zpciMode, 1, 0]);
      expect(machine.memory.read(BUFFER, 4096)).toEqual(bytes);
    }
    const region = await sending({ zpciMode: 'vfio', interceptStrict: false });
    const offset = Number(region.token);
    const { fault, totals } = region.machine.cpu.write({
      path: 'zpci-vfio-ism',
      function: region.one.fn,
      bar: 0,
      offset,
      data: bytes,
    });
    expect([fault, totals.exits, totals.hostOperations]).toEqual([undefined, 1, 1]);
    expect(region.machine.memory.read(BUFFER, 4096)).toEqual(bytes);
    const intercepted = await sending({ zpciMode: 'vfio', maxstbl: 128 });
    const before = intercepted.machine.memory.read(BUFFER, 4096);
    const { fh, as, length } = { fh: intercepted.one.fn.handle, as: 0, length: 4096 };
    const answer = intercepted.machine.cpu.pcistb({
      fh,
      as,
      offset: intercepted.token,
      length,
      source: bytes,
    });
    expect(answer.programInterruption?.name).toBe('specification');
    expect(intercepted.machine.memory.read(BUFFER, 4096)).toEqual(before);
  });

  it('ISM-PATH-02: cut into 4-byte stores, 1024 of them are refused, and nothing is written', async () => {
    const { machine, one, token } = await pair();
    const before = machine.memory.read(BUFFER, 4096);
    for (let at = 0; at < 4096; at += 4) {
      const offset = token | BigInt(at);
      const answer = machine.cpu.pcistg({ fh: one.fn.handle, as: 0, offset, length: 4, data: 0x01020304n });
      expect(answer.programInterruption?.name).toBe('operand');
    }
    expect(one.fn.stats.policyViolations).toBe(1024);
    expect(machine.memory.read(BUFFER, 4096)).toEqual(before);
  });

  it('two partitions exchange a file in blocks, as SMC-D does: payload in a ring, then a control message', async () => {
    const fabric = new IsmFabric();
    const machines = await Promise.all([machineWith([0x11], fabric), machineWith([0x22], fabric)]);
    const [here, there] = machines.map((machine) => {
      const [fn] = machine.functions as [PciFunction];
      return new IsmDriver(machine, fn);
    }) as [IsmDriver, IsmDriver];
    for (const driver of [here, there]) expect(driver.probe()).toBe('up');
    const size = 16384;
    const token = there.registerDmb({ address: BUFFER, bytes: size, peer: 0x11n }) as bigint;
    const back = here.registerDmb({ address: BUFFER, bytes: size, peer: 0x22n }) as bigint;
    const file = readFileSync(FILE);
    const ring = size - 32;
    const received: number[] = [];
    let [produced, consumed] = [0, 0];
    const cursor = (count: number): Uint8Array => {
      const message = new Uint8Array(32);
      const view = new DataView(message.buffer);
      message[0] = 0xfe;
      view.setUint16(8, Math.floor(count / ring));
      view.setUint32(10, count % ring);
      return message;
    };
    while (received.length < file.length) {
      const free = ring - (produced - consumed);
      const count = Math.min(free, 5000, file.length - produced);
      const at = produced % ring;
      const first = Math.min(count, ring - at);
      here.move(token, 0, false, 32 + at, file.subarray(produced, produced + first));
      here.move(token, 0, false, 32, file.subarray(produced + first, produced + count));
      produced += count;
      here.move(token, 0, true, 0, cursor(produced));
      // The other partition.
      expect(there.handle().signals).toEqual([[32, 0x8000]]);
      const message = there.machine.memory.read(BUFFER, 32);
      const view = new DataView(message.buffer, message.byteOffset);
      const end = view.getUint16(8) * ring + view.getUint32(10);
      for (; consumed < end; consumed++)
        received.push(there.machine.memory.read(BUFFER + 32 + (consumed % ring), 1)[0] ?? 0);
      there.move(back, 0, true, 0, cursor(consumed));
      expect(here.handle().signals).toEqual([[32, 0x8000]]);
    }
    expect(Buffer.compare(Uint8Array.from(received), file)).toBe(0);
    expect([here, there].flatMap(({ fn }) => fn.instance?.errors ?? [])).toEqual([]);
  });

  it('saved in the middle of a transfer, it goes on in another machine', async () => {
    const { machine, one, other, token } = await pair(16384);
    one.move(token, 0, true, 0, pattern(4000, 1));
    const saved = machine.functions.map((fn) => fn.instance?.save());
    const memory = machine.memory.read(0, BYTES);
    const next = await machineWith([0x11, 0x22], new IsmFabric());
    next.memory.write(0, memory);
    for (const [n, fn] of next.functions.entries()) {
      fn.instance?.load(saved[n] as NonNullable<(typeof saved)[number]>);
    }
    const [first, second] = next.functions as [PciFunction, PciFunction];
    const sender = new IsmDriver(next, first);
    const receiver = new IsmDriver(next, second, SECOND);
    sender.move(token, 1, true, 4000, pattern(4000, 2));
    expect(receiver.handle().signals).toEqual([[32, 0xc000]]);
    expect(next.memory.read(BUFFER, 8000)).toEqual(
      Uint8Array.from([...pattern(4000, 1), ...pattern(4000, 2)]),
    );
    expect(other.handle().signals).toEqual([[32, 0x8000]]);
  });

  it('takes whatever software writes', async () => {
    const { machine, one, other, token } = await pair(4096);
    const step = fc.oneof(
      fc.record({
        as: fc.constantFrom(0, 2),
        offset: fc.bigInt(0n, 2n ** 50n),
        length: fc.integer({ min: 0, max: 4096 }),
      }),
      fc.record({
        as: fc.constant(0),
        offset: fc.bigInt(token, token + 0xfff_ffffn),
        length: fc.integer({ min: 0, max: 4096 }),
      }),
      fc.record({ as: fc.constant(2), offset: fc.bigInt(0n, 48n), length: fc.integer({ min: 1, max: 40 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.integer(), (steps, seed) => {
        for (const { as, offset, length } of steps) {
          const source = pattern(length, seed);
          // Half of the headers name a command.
          if (as === 2 && length >= 8 && seed % 2 === 0)
            source.set([0, 0, 0, (seed >>> 1) & 0x1f, 0, 0, 0, length + 8]);
          machine.cpu.pcistb({ fh: one.fn.handle, as, offset, length, source });
        }
        expect([one, other].flatMap(({ fn }) => fn.instance?.errors ?? [])).toEqual([]);
        expect(one.run(0x03).response.getBigUint64(8)).toBe(0x11n);
      }),
      { numRuns: 60, seed: 8 },
    );
  });

  it('passes the conformance kit', async () => {
    const { checks } = await checkDevice(ism() as unknown as Device, { core: core(), accesses: 100 });
    expect(checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
  });
});
