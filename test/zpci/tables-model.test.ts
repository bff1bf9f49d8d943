/** I/O translation against a plain model: random tables of every designation, refreshed and used by DMA. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { plainWalk } from './plain-tables.js';

const HOST_BYTES = 1 << 20;
/** Tables lie in the first half, frames in the second. */
const FRAMES = 0x8_0000;
/** Does what it is told by DMA, and says how it ended. */
function worker(results: string[]): Device {
  return defineDevice({
    name: 'worker',
    vendorId: 1,
    deviceId: 2,
    bars: [
      {
        size: 64,
        registers: {
          ADDRESS: { offset: 0, width: 8, access: 'rw' },
          READ: {
            offset: 8,
            width: 4,
            access: 'wo',
            write(value, ctx) {
              ctx.dma.read(ctx.registers(0).get64('ADDRESS'), value, {}, ({ status, data }) =>
                results.push(data === undefined ? status : Buffer.from(data).toString('hex')),
              );
            },
          },
          WRITE: {
            offset: 12,
            width: 4,
            access: 'wo',
            write: (value, ctx) =>
              ctx.dma.write(ctx.registers(0).get64('ADDRESS'), Uint8Array.of(value, value + 1, value + 2)),
          },
        },
      },
    ],
  }) as Device;
}

/** An entry: mostly right for `level` (-1: page), pointing at one of a few tables, sometimes anything. */
const entryOf = (level: number): fc.Arbitrary<bigint> => {
  const table = fc.integer({ min: 0, max: 7 }).map((n) => BigInt(0x4000 * (n + 1)));
  const frame = fc.integer({ min: 0, max: 127 }).map((n) => BigInt(FRAMES + 4096 * n));
  const good =
    level > 0
      ? table.map((at) => at | 3n | (BigInt(level) << 2n))
      : level === 0
        ? fc.oneof(table, fc.constantFrom(0x400n, 0x600n, 0x10_0400n))
        : fc.oneof(
            frame,
            frame.map((at) => at | 0x200n),
          );
  const flaw = fc.oneof(
    { weight: 12, arbitrary: fc.constant(0n) },
    { weight: 1, arbitrary: fc.constantFrom(0x200n, 0x20n, 0x40n, 0x400n, 4n, 8n, 1n) },
  );
  return fc.oneof(
    { weight: 20, arbitrary: fc.tuple(good, flaw).map(([entry, bits]) => entry ^ bits) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
    { weight: 1, arbitrary: fc.constant(0n) },
  );
};

describe.each(BUILDS)('I/O translation on the %s build', (build) => {
  const results: string[] = [];
  let machine: Machine;
  let fn: PciFunction;

  beforeAll(async () => {
    const core = await WebAssembly.compile(await readBuild(build));
    machine = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: HOST_BYTES,
      slots: [{ device: worker(results), options: { zpciMode: 'native' } }],
    });
    fn = machine.functions[0] as PciFunction;
  });

  const poke = (offset: number, value: bigint, width: 4 | 8): void => {
    const data = new Uint8Array(width);
    if (width === 8) new DataView(data.buffer).setBigUint64(0, value, true);
    else new DataView(data.buffer).setUint32(0, Number(value), true);
    expect(fn.instance?.write(0, offset, data)).toBe('ok');
  };
  const settle = (): void => void machine.config.read(fn.id, 0, 4);

  /** What a read of 3 bytes at `address` gives. */
  function readBy(address: bigint): string {
    results.length = 0;
    poke(0, address, 8);
    poke(8, 3n, 4);
    settle();
    return results.join();
  }

  it('Z-DMA: any tables, refreshed page by page, are what a plain walk says; DMA sees what was refreshed', () => {
    const scenario = fc.record({
      dt: fc.integer({ min: 0, max: 3 }),
      readOnly: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      // Seven tables of 16 KiB: which level each serves, and the entries that addresses with few distinct bits reach.
      tables: fc.array(
        fc.integer({ min: -1, max: 3 }).chain((level) =>
          fc.record({
            level: fc.constant(level),
            entries: fc.array(entryOf(level), { minLength: 4, maxLength: 4 }),
          }),
        ),
        { minLength: 8, maxLength: 8 },
      ),
      pages: fc.array(fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1), fc.nat(1), fc.nat(3)), {
        minLength: 1,
        maxLength: 6,
      }),
    });
    let mapped = 0;
    let events = 0;
    fc.assert(
      fc.property(scenario, ({ dt, readOnly, tables, pages }) => {
        const image = new Uint8Array(HOST_BYTES);
        const view = new DataView(image.buffer);
        tables.forEach(({ entries }, n) => {
          entries.forEach((entry, index) => {
            view.setBigUint64(0x4000 * (n + 1) + 8 * index, entry);
          });
        });
        for (let at = FRAMES; at < HOST_BYTES; at += 4) view.setUint32(at, at);
        machine.memory.write(0, image);
        const iota = 0x4000n | BigInt(dt << 2) | 0x800n | (readOnly ? 0x200n : 0n);
        const translation = { pba: 0, pal: 2n ** 64n - 1n, iota };
        fn.state = 'enabled';
        fn.translation = translation;
        for (const [a, b, c, d, e] of pages) {
          const address =
            (BigInt(a) << 53n) |
            (BigInt(b) << 42n) |
            (BigInt(c) << 31n) |
            (BigInt(d) << 20n) |
            (BigInt(e) << 12n);
          const expected = plainWalk(view, iota, address);
          machine.takeEvents();
          const answer = machine.cpu.rpcit({ fh: fn.handle, start: address, length: 0x1000 });
          if (expected.kind === 'event') {
            events++;
            expect([answer.cc, answer.status, machine.takeEvents().map(({ code }) => code)]).toEqual([
              1,
              8,
              [expected.code],
            ]);
            fn.state = 'enabled';
            fn.translation = translation;
            continue;
          }
          expect(answer.cc).toBe(0);
          const inMemory = expected.kind === 'page' && expected.frame + 4096n <= BigInt(HOST_BYTES);
          const seen = readBy(address + 5n);
          if (expected.kind === 'unmapped') {
            expect(seen).toBe('unsupported-request');
            expect(machine.takeEvents().map(({ code, isRead }) => [code, isRead])).toEqual([[4, true]]);
            fn.state = 'enabled';
            continue;
          }
          mapped++;
          const at = Number(expected.frame) + 5;
          expect(seen).toBe(
            inMemory ? Buffer.from(image.subarray(at, at + 3)).toString('hex') : 'unsupported-request',
          );
          expect(machine.takeEvents()).toEqual([]);
          poke(0, address + 9n, 8);
          poke(12, 0x41n, 4);
          settle();
          expect(machine.takeEvents().map(({ code }) => code)).toEqual(expected.writable ? [] : [4]);
          if (inMemory && expected.writable) {
            const to = Number(expected.frame) + 9;
            expect([...machine.memory.read(to, 3)]).toEqual([0x41, 0x42, 0x43]);
            image.set([0x41, 0x42, 0x43], to);
          }
          fn.state = 'enabled';
          const memory = machine.memory.read(0, HOST_BYTES);
          if (Buffer.compare(memory, image) !== 0) expect(memory).toEqual(image);
        }
      }),
      { numRuns: 250 },
    );
    // The generator reaches both ends.
    expect(mapped).toBeGreaterThan(20);
    expect(events).toBeGreaterThan(20);
  });

  it('the translation buffer holds what a map holds, through any refreshes and invalidations', () => {
    const image = new Uint8Array(HOST_BYTES);
    const view = new DataView(image.buffer);
    const segment = 0x4000;
    const pageTable = 0x8000;
    view.setBigUint64(segment, BigInt(pageTable));
    view.setBigUint64(segment + 8, BigInt(pageTable + 0x800));
    for (let n = 0; n < 512; n++) view.setBigUint64(pageTable + 8 * n, 0x400n);
    for (let at = FRAMES; at < HOST_BYTES; at += 4) view.setUint32(at, at);
    machine.memory.write(0, image);
    fn.state = 'enabled';
    fn.translation = { pba: 0, pal: 0x1f_ffff, iota: BigInt(segment) | 0x800n };
    const held = new Map<number, number>();
    const step = fc.record({
      page: fc.nat(511),
      frame: fc.option(fc.nat(127), { nil: undefined }),
      count: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        for (const { page, frame, count } of steps) {
          for (let n = page; n < Math.min(page + count, 512); n++) {
            const entry = frame === undefined ? 0x400n : BigInt(FRAMES + 4096 * ((frame + n) % 128));
            const bytes = new Uint8Array(8);
            new DataView(bytes.buffer).setBigUint64(0, entry);
            machine.memory.write(pageTable + 8 * n, bytes);
            if (frame === undefined) held.delete(n);
            else held.set(n, Number(entry));
          }
          const length = 4096 * (Math.min(page + count, 512) - page);
          expect(machine.cpu.rpcit({ fh: fn.handle, start: 4096 * page, length }).cc).toBe(0);
          const probe = (page * 7 + count) % 512;
          const at = held.get(probe);
          const seen = readBy(BigInt(4096 * probe));
          expect(seen).toBe(
            at === undefined
              ? 'unsupported-request'
              : Buffer.from(image.subarray(at, at + 3)).toString('hex'),
          );
          if (at === undefined) fn.state = 'enabled';
        }
      }),
      { numRuns: 60 },
    );
  });

  it('a full buffer answers status 16, and a range that covers everything ends', () => {
    const image = new Uint8Array(HOST_BYTES);
    const view = new DataView(image.buffer);
    // One segment table and one page table, used by every entry: 2 GiB of mapped pages.
    for (let n = 0; n < 2048; n++) view.setBigUint64(0x4000 + 8 * n, 0x8000n);
    for (let n = 0; n < 256; n++) view.setBigUint64(0x8000 + 8 * n, BigInt(FRAMES));
    machine.memory.write(0, image);
    fn.state = 'enabled';
    fn.translation = { pba: 0, pal: 2n ** 64n - 1n, iota: 0x4800n };
    const refreshed = fn.stats.refreshes;
    const full = machine.cpu.rpcit({ fh: fn.handle, start: 0, length: 2n ** 31n });
    expect([full.cc, full.status, fn.stats.refreshes - refreshed]).toEqual([1, 16, 1]);
    expect([fn.state, readBy(0n)]).toEqual(['enabled', '000000']);
    fn.translation = undefined;
    expect(readBy(0n)).toBe('unsupported-request');
    // Nothing mapped, 2^64 addresses: all entries of the top table are invalid.
    for (let n = 0; n < 2048; n++) view.setBigUint64(0x4000 + 8 * n, 0x20n);
    machine.memory.write(0, image);
    fn.translation = { pba: 0, pal: 2n ** 64n - 1n, iota: 0x4000n | (3n << 2n) | 0x800n };
    expect(machine.cpu.rpcit({ fh: fn.handle, start: 0, length: 2n ** 64n - 1n }).cc).toBe(0);
    // Tables that map 2^64 bytes without a page: more entries than one instruction looks at.
    for (let n = 0; n < 2048; n++) view.setBigUint64(0x4000 + 8 * n, 0x8000n | 0xfn);
    for (let n = 0; n < 2048; n++) view.setBigUint64(0x8000 + 8 * n, 0xc000n | 0xbn);
    for (let n = 0; n < 2048; n++) view.setBigUint64(0xc000 + 8 * n, 0x1_0000n | 7n);
    for (let n = 0; n < 2048; n++) view.setBigUint64(0x1_0000 + 8 * n, 0x20n);
    machine.memory.write(0, image);
    const long = machine.cpu.rpcit({ fh: fn.handle, start: 0, length: 2n ** 64n - 1n });
    expect([long.cc, long.status]).toEqual([1, 16]);
  });
});
