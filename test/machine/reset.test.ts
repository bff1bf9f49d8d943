/** The same inputs give the same run, and reset gives a new machine. */
import { describe, expect, it } from 'vitest';
import {
  type Machine,
  type MachineConfig,
  memoryDevice,
  type PathId,
  type SlotConfig,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { FIRST_ADDRESS, machinesOf, pattern, same, slot } from './support.js';

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { make } = machinesOf(build);

  describe('determinism and reset', () => {
    const X86: MachineConfig = {
      platform: 'x86-64',
      slots: [
        { device: memoryDevice({ bars: [{ size: 0x1000 }] }) },
        {
          device: memoryDevice({ bars: [undefined, { size: 0x1000 }] }),
          addresses: [undefined, 0x4000_0000],
        },
      ] satisfies SlotConfig[],
    };
    const S390: MachineConfig = {
      platform: 's390x',
      slots: [
        { device: memoryDevice({ bars: [{ size: 0x1000 }] }), options: { zpciMode: 'native' } },
        { device: memoryDevice({ bars: [undefined, { size: 0x1000 }] }), options: { zpciMode: 'emulated' } },
      ] satisfies SlotConfig[],
    };

    /** A mix of everything a machine does; answers all it showed. */
    function scenario(machine: Machine): unknown {
      const seen: unknown[] = [];
      const s390 = machine.platform === 's390x';
      const [first, second] = [slot(machine, 0), slot(machine, 1)];
      machine.trace.start();
      machine.memory.write(0x100, pattern(0x200, 7));
      for (let n = 0; n < 40; n++) {
        const access = { offset: (n * 57) % 0x400, length: 1 + ((n * 31) % 200) };
        const data = pattern(access.length, n);
        const id = (
          s390 ? 'zpci-memcpy-old' : (['x86-uc', 'x86-wc-line', 'vfio-rw-w8'] as const)[n % 3]
        ) as PathId;
        const target = !s390 && n % 2 === 1 ? { function: second, bar: 1 } : { function: first, bar: 0 };
        if (n % 5 === 0) seen.push(machine.cpu.read({ path: id, ...target, ...access }));
        else seen.push(machine.cpu.write({ path: id, ...target, offset: access.offset, data }));
        if (s390) {
          for (const [fn, as] of [
            [first, 0],
            [second, 1],
          ] as const) {
            const store = {
              fh: fn.handle,
              as,
              offset: 8 * n,
              length: 8 * (n % 17),
              source: 0x100 + 8 * (n % 9),
            };
            seen.push(machine.cpu.pcistb(store));
          }
        } else if (n % 4 === 1) seen.push(machine.cpu.wcStore({ ...target, offset: access.offset, data }));
        if (n === 30) first.state = 'error';
        seen.push(machine.stats(), first.stats, second.stats);
      }
      if (!s390) machine.cpu.wcStore({ function: first, bar: 0, offset: 0x800, data: pattern(24, 1) });
      seen.push(machine.trace.take(), first.barMemory(0).slice(), second.barMemory(1).slice());
      machine.trace.stop();
      return seen;
    }

    it.each([X86, S390])(
      'the same inputs give the same trace, answers and counters on $platform',
      async (config) => {
        const once = scenario(await make(config));
        expect(scenario(await make(config))).toEqual(once);
      },
    );

    it.each([X86, S390])('reset makes a $platform machine behave as a new one', async (config) => {
      const machine = await make(config);
      const once = scenario(machine);
      machine.reset();
      expect(scenario(machine)).toEqual(once);
    });

    it.each([X86, S390])(
      'reset clears memories, counters, states and records on $platform',
      async (config) => {
        const machine = await make(config);
        const fresh = await make(config);
        scenario(machine);
        machine.trace.start();
        machine.cpu.read({
          path: machine.platform === 's390x' ? 'zpci-emulated' : 'x86-uc',
          function: slot(machine, 1),
          bar: 1,
          offset: 0,
          length: 8,
        });
        machine.functions.forEach((fn, n) => {
          fn.state = n === 0 ? 'permanent-error' : 'disabled';
          fn.barMemory(n).fill(0xff);
        });
        machine.memory.write(0, new Uint8Array(machine.memory.size).fill(0xff));
        const { memoryBytes } = machine;
        machine.reset();
        expect(machine.trace.take()).toEqual([]);
        expect(machine.stats()).toEqual(fresh.stats());
        for (const [n, fn] of machine.functions.entries()) {
          expect(fn.state).toBe('enabled');
          expect(fn.handle).toBe(slot(fresh, n).handle);
          expect(fn.stats).toEqual(slot(fresh, n).stats);
          expect(fn.stats).toEqual(Object.fromEntries(Object.keys(fn.stats).map((key) => [key, 0])));
          expect(fn.barMemory(n).every((byte) => byte === 0)).toBe(true);
        }
        expect(machine.memory.read(0, machine.memory.size).every((byte) => byte === 0)).toBe(true);
        expect(machine.memoryBytes).toBe(memoryBytes);
      },
    );

    it('reset forgets open write-combining lines: a fence sends nothing and later stores do not carry them', async () => {
      const machine = await make(X86);
      const fn = slot(machine);
      const store = { function: fn, bar: 0 } as const;
      machine.cpu.wcStore({ ...store, offset: 0, data: new Uint8Array(8).fill(0xaa) });
      machine.cpu.wcStore({ ...store, offset: 64, data: new Uint8Array(8).fill(0xbb) });
      expect(machine.stats().tlps).toBe(0);
      machine.reset();
      machine.trace.start();
      expect(machine.cpu.wcFence(fn)).toMatchObject({ tlps: 0, wireBytesDown: 0 });
      machine.cpu.wcStore({ ...store, offset: 16, data: new Uint8Array(8).fill(0xcc) });
      machine.cpu.wcFence(fn);
      expect(
        machine.trace.take().map(({ tlp }) => [Number(tlp.address) - FIRST_ADDRESS, tlp.length]),
      ).toEqual([[16, 2]]);
      expect([...fn.barMemory(0).subarray(0, 24)]).toEqual([
        ...new Uint8Array(16),
        ...new Uint8Array(8).fill(0xcc),
      ]);
      expect(
        fn
          .barMemory(0)
          .subarray(24)
          .every((byte) => byte === 0),
      ).toBe(true);
    });

    it('open write-combining lines leave when an uncacheable access comes (access-paths 2)', async () => {
      const machine = await make(X86);
      const fn = slot(machine);
      machine.cpu.wcStore({ function: fn, bar: 0, offset: 8, data: new Uint8Array(8).fill(0xaa) });
      expect(fn.barMemory(0)[8]).toBe(0);
      const { data } = machine.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 8, length: 8 });
      expect([...data]).toEqual(new Array(8).fill(0xaa));
    });

    it('the later of two write-combining stores to a byte wins, whichever call makes it (access-paths 2, rule 1)', async () => {
      const machine = await make(X86);
      const fn = slot(machine);
      machine.cpu.wcStore({ function: fn, bar: 0, offset: 8, data: new Uint8Array(8).fill(0x11) });
      machine.cpu.write({
        path: 'x86-wc-line',
        function: fn,
        bar: 0,
        offset: 8,
        data: new Uint8Array(8).fill(0x22),
      });
      machine.cpu.wcFence(fn);
      expect([...fn.barMemory(0).subarray(8, 16)]).toEqual(new Array(8).fill(0x22));
      machine.cpu.wcStore({ function: fn, bar: 0, offset: 12, data: new Uint8Array(8).fill(0x33) });
      machine.cpu.wcStore({ function: fn, bar: 0, offset: 16, data: new Uint8Array(8).fill(0x44) });
      machine.cpu.wcFence(fn);
      expect([...fn.barMemory(0).subarray(12, 24)]).toEqual([
        ...new Uint8Array(4).fill(0x33),
        ...new Uint8Array(8).fill(0x44),
      ]);
    });

    it('the lines open at one time stay within wcBuffers, also when functions have different numbers of them', async () => {
      const device = memoryDevice({ bars: [{ size: 0x4000 }] });
      const machine = await make({
        slots: [
          { device, options: { wcBuffers: 5 } },
          { device, options: { wcBuffers: 2 } },
        ],
      });
      const data = pattern(8, 1);
      for (let n = 0; n < 5; n++)
        machine.cpu.wcStore({ function: slot(machine, 0), bar: 0, offset: 64 * n, data });
      expect(machine.stats().tlps).toBe(0);
      machine.cpu.wcStore({ function: slot(machine, 0), bar: 0, offset: 64 * 5, data });
      expect(machine.stats().tlps).toBe(1);
      for (let n = 0; n < 100; n++) {
        machine.cpu.wcStore({ function: slot(machine, 1), bar: 0, offset: 64 * n, data });
        expect(machine.stats().tlps, `store ${n}`).toBeGreaterThanOrEqual(1 + n + 1);
      }
      machine.cpu.wcFence(slot(machine, 0));
      expect(machine.functions.map(({ stats }) => stats.tlps)).toEqual([6, 100]);
    });

    it('memory never grows after create', async () => {
      const machine = await make(X86);
      const before = machine.memoryBytes;
      const view = slot(machine).barMemory(0);
      scenario(machine);
      machine.reset();
      scenario(machine);
      expect(machine.memoryBytes).toBe(before);
      expect(view.length).toBe(0x1000);
      expect(same(view, slot(machine).barMemory(0))).toBe(true);
    });
  });
});
