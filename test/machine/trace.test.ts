/** The trace of a machine: what it records, in which order, and that nothing is lost. */
import { describe, expect, it } from 'vitest';
import { memoryDevice, type TracedTlp } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { FIRST_ADDRESS, MIB, machinesOf, pattern, same, slot } from './support.js';

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { make } = machinesOf(build);

  describe('the trace', () => {
    it('records nothing while it is off, and hands out what it has once', async () => {
      const machine = await make();
      const write = (offset: number): unknown =>
        machine.cpu.write({
          path: 'x86-uc',
          function: slot(machine),
          bar: 0,
          offset,
          data: pattern(8, offset),
        });
      const addresses = (): number[] =>
        machine.trace.take().map(({ tlp }) => Number(tlp.address) - FIRST_ADDRESS);
      expect(machine.trace.enabled).toBe(false);
      write(0);
      expect(addresses()).toEqual([]);
      machine.trace.start();
      expect(machine.trace.enabled).toBe(true);
      expect(addresses()).toEqual([]);
      write(8);
      write(16);
      expect(addresses()).toEqual([8, 16]);
      expect(addresses()).toEqual([]);
      write(24);
      machine.trace.stop();
      expect(machine.trace.enabled).toBe(false);
      write(32);
      expect(addresses()).toEqual([24]);
      machine.trace.start();
      write(40);
      expect(addresses()).toEqual([40]);
      expect(machine.stats().tlps).toBe(6);
    });

    it('starts and stops between two stores of one function on s390x, block stores included', async () => {
      const machine = await make({ platform: 's390x', options: { zpciMode: 'native' } });
      const fn = slot(machine);
      const store = (): unknown =>
        machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source: pattern(16, 0) });
      store();
      machine.trace.start();
      store();
      expect(machine.trace.take().length).toBe(1);
      machine.trace.stop();
      store();
      expect(machine.trace.take()).toEqual([]);
      machine.trace.start();
      store();
      store();
      expect(machine.trace.take().length).toBe(2);
    });

    it('holds TLPs in the order of delivery: each read request before its completions', async () => {
      const machine = await make({
        platform: 's390x',
        options: { zpciMode: 'native' },
        slots: [{ device: memoryDevice() }, { device: memoryDevice() }],
      });
      machine.trace.start();
      for (const fn of [slot(machine, 1), slot(machine, 0)]) {
        const access = { path: 'zpci-pcistg8', function: fn, bar: 0, offset: 4 } as const;
        machine.cpu.write({ ...access, data: pattern(12, 1) });
        machine.cpu.read({ ...access, length: 12 });
      }
      const seen = machine.trace
        .take()
        .map(({ tlp, direction, slot: at }) => [tlp.type, direction, at, tlp.length]);
      const each = (n: number): unknown[] => [
        ['MWr', 'down', n, 1],
        ['MWr', 'down', n, 2],
        ['MRd', 'down', n, 1],
        ['CplD', 'up', n, 1],
        ['MRd', 'down', n, 2],
        ['CplD', 'up', n, 2],
      ];
      expect(seen).toEqual([...each(1), ...each(0)]);
    });

    it('says who completed a read: bus 1, device number of the slot', async () => {
      const machine = await make({ slots: [{ device: memoryDevice() }, { device: memoryDevice() }] });
      machine.trace.start();
      for (const fn of machine.functions) {
        machine.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 6, length: 2 });
      }
      const completions = machine.trace.take().filter(({ direction }) => direction === 'up');
      expect(completions.map(({ tlp }) => [tlp.completer, tlp.tag, tlp.byteCount, tlp.lowerAddress])).toEqual(
        [
          [0x0100, 0, 2, 6],
          [0x0108, 1, 2, 6],
        ],
      );
    });

    it('shows data masked by the byte enables, whatever stood there before', async () => {
      const machine = await make();
      const fn = slot(machine);
      fn.barMemory(0).fill(0xcc);
      const base = { path: 'x86-uc', function: fn, bar: 0 } as const;
      machine.trace.start();
      machine.cpu.write({ ...base, offset: 0, data: new Uint8Array(64).fill(0xdd) });
      machine.trace.take();
      for (let offset = 0; offset < 16; offset++) {
        for (const length of [1, 2, 4, 8]) {
          // The same place modulo 16, so that the bytes around are left over from the access before.
          machine.cpu.write({ ...base, offset: 64 + offset, data: pattern(length, 1), block: false });
          for (const { tlp, data } of machine.trace.take()) {
            const first = Number(tlp.address) - FIRST_ADDRESS - 64;
            data.forEach((byte, n) => {
              const at = first + n - offset;
              expect(byte).toBe(at >= 0 && at < length ? pattern(length, 1)[at] : 0);
            });
            expect(data.length).toBe(4 * tlp.length);
          }
          machine.cpu.write({ ...base, offset: 32, data: new Uint8Array(32).fill(0xdd) });
          machine.trace.take();
        }
      }
      machine.cpu.read({ ...base, offset: 33, length: 1 });
      const [request, completion] = machine.trace.take() as [TracedTlp, TracedTlp];
      expect(request.data.length).toBe(0);
      expect([...completion.data]).toEqual([0xdd, 0xdd, 0xdd, 0xdd]);
    });

    it('keeps what it recorded: later accesses do not change data of earlier records', async () => {
      const machine = await make();
      const base = { path: 'x86-uc', function: slot(machine), bar: 0, offset: 0 } as const;
      machine.trace.start();
      machine.cpu.write({ ...base, data: new Uint8Array(8).fill(1) });
      const [first] = machine.trace.take();
      machine.cpu.write({ ...base, data: new Uint8Array(8).fill(2) });
      expect([...(first?.data ?? [])]).toEqual(new Array(8).fill(1));
    });

    it('of 1 MiB in 4-byte stores loses none of 262144 TLPs', async () => {
      const machine = await make({
        platform: 's390x',
        slots: [{ device: memoryDevice({ bars: [{ size: MIB }] }), options: { zpciMode: 'native' } }],
      });
      const fn = slot(machine);
      const data = pattern(MIB, 1);
      machine.trace.start();
      const { totals, fault } = machine.cpu.write({
        path: 'zpci-pcistg4',
        function: fn,
        bar: 0,
        offset: 0,
        data,
      });
      expect(fault).toBeUndefined();
      const records = machine.trace.take();
      expect(records.length).toBe(MIB / 4);
      expect(totals).toMatchObject({
        tlps: MIB / 4,
        requests: MIB / 4,
        hostOperations: MIB / 4,
        bytesDone: MIB,
      });
      const seen = new Uint8Array(MIB);
      let inOrder = true;
      for (const [n, { tlp, data: bytes }] of records.entries()) {
        const at = Number(tlp.address) - FIRST_ADDRESS;
        inOrder &&= at === 4 * n && bytes.length === 4;
        seen.set(bytes, at);
      }
      expect(inOrder).toBe(true);
      expect(same(seen, data)).toBe(true);
      expect(same(fn.barMemory(0), data)).toBe(true);
      expect(fn.stats).toMatchObject({ tlps: MIB / 4, stores: MIB / 4 });
    });

    it('of a 256 KiB read in 8-byte loads loses no request and no completion', async () => {
      const size = MIB / 4;
      const machine = await make({ slots: [{ device: memoryDevice({ bars: [{ size }] }) }] });
      slot(machine).barMemory(0).set(pattern(size, 2));
      machine.trace.start();
      const read = machine.cpu.read({
        path: 'x86-uc',
        function: slot(machine),
        bar: 0,
        offset: 0,
        length: size,
      });
      expect(same(read.data, pattern(size, 2))).toBe(true);
      const types = machine.trace.take().map(({ tlp }) => tlp.type);
      expect(types.length).toBe(size / 4);
      expect(types.every((type, n) => type === (n % 2 === 0 ? 'MRd' : 'CplD'))).toBe(true);
    });
  });
});
