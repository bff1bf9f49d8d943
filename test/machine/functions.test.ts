/** Addresses of BARs, functions beside each other, host memory. */
import { describe, expect, it } from 'vitest';
import { type FunctionState, memoryDevice } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { errorOf, FIRST_ADDRESS, machinesOf, pattern, same, slot } from './support.js';

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { make, refused } = machinesOf(build);

  describe('addresses', () => {
    it('start at 2^40 by default, or at 3 GiB with 32 bits, each BAR aligned to its size and to a page', async () => {
      const device = memoryDevice({
        bars: [{ size: 16 }, undefined, { size: 0x4000 }, { size: 256 }, undefined, { size: 0x2000 }],
      });
      const machine = await make({ slots: [{ device }, { device }] });
      const addresses = machine.functions.map((fn) => fn.bars.map((entry) => entry?.address));
      const high = FIRST_ADDRESS;
      expect(addresses).toEqual([
        [high, undefined, 0xc000_0000, high + 0x1000, undefined, 0xc000_4000],
        [high + 0x2000, undefined, 0xc000_8000, high + 0x3000, undefined, 0xc000_c000],
      ]);
    });

    it('of a BAR with 32 bits end below 4 GiB, and default ones in their window', async () => {
      const device = memoryDevice({ bars: [{ size: 0x1000 }, { size: 0x1000 }] });
      await make({ slots: [{ device, addresses: [0xffff_f000] }] });
      const error = await refused({ slots: [{ device, addresses: [0x1_0000_0000] }] });
      expect(error).toMatchObject({ field: 'slots[0].bars[0].address', allowed: 'an end below 4 GiB' });
      const large = memoryDevice({ bars: [{ size: 2 ** 30 }, { size: 4096 }] });
      expect(await refused({ slots: [{ device: large }] })).toMatchObject({
        code: 'resource',
        field: 'slots[0].bars[0].size',
      });
    });

    it('above 4 GiB make 4 DW headers, below it 3 DW headers', async () => {
      const device = memoryDevice();
      const machine = await make({
        slots: [{ device }, { device, addresses: [0xffff_0000] }, { device, addresses: [0x1_0000_0000] }],
      });
      machine.trace.start();
      const seen = machine.functions.map((fn) => {
        machine.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0xfffc, data: pattern(4, 1) });
        machine.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0xfffc, length: 4 });
        return machine.trace
          .take()
          .map(({ tlp }) => [tlp.type, tlp.headerDw, Number(tlp.address), tlp.wireBytes]);
      });
      expect(seen).toEqual([
        [
          ['MWr', 4, FIRST_ADDRESS + 0xfffc, 28],
          ['MRd', 4, FIRST_ADDRESS + 0xfffc, 24],
          ['CplD', 3, 0, 24],
        ],
        [
          ['MWr', 3, 0xffff_fffc, 24],
          ['MRd', 3, 0xffff_fffc, 20],
          ['CplD', 3, 0, 24],
        ],
        [
          ['MWr', 4, 0x1_0000_fffc, 28],
          ['MRd', 4, 0x1_0000_fffc, 24],
          ['CplD', 3, 0, 24],
        ],
      ]);
    });
  });

  describe('functions', () => {
    it('do not disturb each other: memory, counters and state of one leave the other alone', async () => {
      const device = memoryDevice({ bars: [{ size: 256 }, { size: 256 }] });
      const machine = await make({
        platform: 's390x',
        slots: [
          { device, options: { zpciMode: 'native' } },
          { device, options: { zpciMode: 'native' } },
        ],
      });
      const [first, second] = [slot(machine, 0), slot(machine, 1)];
      for (const n of [0, 1]) {
        first.barMemory(n).fill(0x11);
        second.barMemory(n).fill(0x22);
      }
      const { stats } = second;
      const access = { path: 'zpci-memcpy-new', function: first, bar: 1, offset: 0 } as const;
      machine.cpu.write({ ...access, data: pattern(256, 4) });
      machine.cpu.read({ ...access, length: 256 });
      first.state = 'error';
      expect(machine.cpu.write({ ...access, data: pattern(16, 0) }).fault?.answer).toMatchObject({
        cc: 1,
        status: 12,
      });
      expect(same(first.barMemory(1), pattern(256, 4))).toBe(true);
      expect(same(first.barMemory(0), new Uint8Array(256).fill(0x11))).toBe(true);
      for (const n of [0, 1]) expect(same(second.barMemory(n), new Uint8Array(256).fill(0x22))).toBe(true);
      expect(second.stats).toEqual(stats);
      expect(second.state).toBe('enabled');
      expect(machine.cpu.write({ ...access, function: second, data: pattern(16, 9) }).fault).toBeUndefined();
      expect(same(first.barMemory(1), pattern(256, 4))).toBe(true);
    });

    it('have a state that can be set, and a handle whose enable bit follows', async () => {
      const machine = await make({
        platform: 's390x',
        slots: [{ device: memoryDevice(), handleIndex: 0xbeef }],
      });
      const fn = slot(machine);
      const states: readonly (readonly [FunctionState, boolean])[] = [
        ['enabled', true],
        ['error-ls-open', true],
        ['error', true],
        ['permanent-error', true],
        ['disabled', false],
        ['standby', false],
        ['reserved', false],
        ['enabled', true],
      ];
      expect(fn.state).toBe('enabled');
      for (const [state, enabled] of states) {
        fn.state = state;
        expect(fn.state).toBe(state);
        expect(fn.handle).toBe((enabled ? 0x8002_0000 : 0x0002_0000) + 0xbeef);
      }
    });

    it('take an index from 0 to 0xffff in their handle; by default slot number + 1', async () => {
      const device = memoryDevice();
      const machine = await make({
        slots: [{ device, handleIndex: 0 }, { device }, { device, handleIndex: 0xffff }],
      });
      expect(machine.functions.map(({ handle }) => handle)).toEqual([0x8002_0000, 0x8002_0002, 0x8002_ffff]);
    });

    it.each(['broken', '', 'Enabled', undefined, 3, 'constructor', 'toString'])(
      'refuse the state %s and keep their own',
      async (state) => {
        const fn = slot(await make());
        fn.state = 'error';
        const error = errorOf(() => {
          fn.state = state as FunctionState;
        });
        expect(error).toMatchObject({ field: 'state', value: state });
        expect(error.allowed).toContain('error-ls-open');
        expect(fn.state).toBe('error');
      },
    );

    it('name the BARs they have when asked for another', async () => {
      const device = memoryDevice({ bars: [{ size: 16 }, undefined, { size: 32 }] });
      const machine = await make({ slots: [{ device }] });
      for (const n of [1, 3, 6, -1, 0.5]) {
        expect(errorOf(() => slot(machine).barMemory(n))).toMatchObject({
          code: 'not-found',
          field: 'bar',
          value: n,
          allowed: '0, 2',
        });
      }
      expect(slot(machine).barMemory(2).length).toBe(32);
    });
  });

  describe('host memory', () => {
    it('is written and read up to its last byte and not beyond', async () => {
      const { memory } = await make({ hostMemoryBytes: 0x1001 });
      expect(memory.size).toBe(0x1001);
      memory.write(0, pattern(0x1001, 5));
      expect(same(memory.read(0, 0x1001), pattern(0x1001, 5))).toBe(true);
      memory.write(0x1000n, Uint8Array.of(7));
      expect([...memory.read(0xfff, 2)]).toEqual([pattern(0x1001, 5)[0xfff], 7]);
      expect(memory.read(0x1001, 0).length).toBe(0);
      memory.write(0x1001, new Uint8Array(0));
      for (const [address, length] of [
        [0x1001, 1],
        [0x1000, 2],
        [0, 0x1002],
        [2 ** 32, 1],
        [2n ** 64n - 1n, 1],
        [2n ** 64n - 1n, 2],
      ] as const) {
        expect(errorOf(() => memory.read(address, length))).toMatchObject({
          code: 'out-of-range',
          field: 'address',
        });
        const write = (): void => memory.write(address, new Uint8Array(length));
        expect(errorOf(write)).toMatchObject({ code: 'out-of-range', field: 'address' });
      }
    });

    it('refuses addresses and lengths that are none', async () => {
      const { memory } = await make();
      for (const address of [-1, 0.5, 2 ** 53, 2n ** 64n, -1n, '0', undefined]) {
        expect(errorOf(() => memory.read(address as number, 1)).field).toBe('address');
      }
      for (const length of [-1, 0.5, Number.NaN]) {
        expect(errorOf(() => memory.read(0, length)).code).toBe('out-of-range');
      }
    });

    it('hands out copies', async () => {
      const { memory } = await make();
      memory.write(8, Uint8Array.of(1, 2, 3));
      const copy = memory.read(8, 3);
      copy.fill(9);
      memory.write(8, Uint8Array.of(4));
      expect([...copy]).toEqual([9, 9, 9]);
      expect([...memory.read(8, 3)]).toEqual([4, 2, 3]);
    });

    it('does not share bytes with BARs', async () => {
      const machine = await make({
        hostMemoryBytes: 100,
        slots: [{ device: memoryDevice({ bars: [{ size: 64 }] }) }],
      });
      slot(machine).barMemory(0).fill(0xff);
      expect(same(machine.memory.read(0, 100), new Uint8Array(100))).toBe(true);
      machine.memory.write(0, new Uint8Array(100).fill(0x55));
      expect(same(slot(machine).barMemory(0), new Uint8Array(64).fill(0xff))).toBe(true);
    });
  });
});
