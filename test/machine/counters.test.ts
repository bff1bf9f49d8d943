/** Counters of a machine and of its functions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AccessPath,
  type Machine,
  memoryDevice,
  PATH_IDS,
  PATHS,
  type SlotConfig,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { machinesOf, pattern, slot } from './support.js';

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { make } = machinesOf(build);

  describe('counters', () => {
    it('of the machine are the sums over its functions, and each access adds its own totals', async () => {
      const device = memoryDevice({ bars: [{ size: 0x2000 }] });
      const machine = await make({ slots: [{ device }, { device, addresses: [0x10000] }, { device }] });
      const paths = PATH_IDS.filter((id) => ['x86-64', 'any'].includes(PATHS[id].platform));
      let [tlps, down, up, payloadDown, payloadUp] = [0, 0, 0, 0, 0];
      fc.assert(
        fc.property(
          fc.constantFrom(...paths),
          fc.nat(2),
          fc.boolean(),
          fc.nat(0xfff),
          fc.integer({ min: 1, max: 0x1000 }),
          (id, n, write, offset, length) => {
            const path: AccessPath = PATHS[id];
            const base = { path: id, function: slot(machine, n), bar: 0, offset } as const;
            const { totals } =
              write || path.read === null
                ? machine.cpu.write({ ...base, data: pattern(length, offset) })
                : machine.cpu.read({ ...base, length });
            tlps += totals.tlps;
            down += totals.wireBytesDown;
            up += totals.wireBytesUp;
            payloadDown += totals.payloadBytesDown;
            payloadUp += totals.payloadBytesUp;
            const sum = (
              field: 'tlps' | 'tlpsDown' | 'tlpsUp' | 'wireBytesDown' | 'wireBytesUp' | 'wireBytes',
            ): number => machine.functions.reduce((total, fn) => total + fn.stats[field], 0);
            const stats = machine.stats();
            expect(stats.tlps).toBe(sum('tlps'));
            expect(stats.tlps).toBe(sum('tlpsDown') + sum('tlpsUp'));
            expect(stats.wireBytesDown).toBe(sum('wireBytesDown'));
            expect(stats.wireBytesUp).toBe(sum('wireBytesUp'));
            expect(stats.wireBytesDown + stats.wireBytesUp).toBe(sum('wireBytes'));
            expect(stats).toMatchObject({
              tlps,
              wireBytesDown: down,
              wireBytesUp: up,
              payloadBytesDown: payloadDown,
              payloadBytesUp: payloadUp,
              droppedPosted: 0,
              unsupportedRequests: 0,
            });
            expect(Object.values(stats.tlpsByType).reduce((a, b) => a + b, 0)).toBe(stats.tlps);
            for (const fn of machine.functions) expect(machine.stats(fn)).toEqual(fn.stats);
          },
        ),
        { numRuns: 200 },
      );
      expect(tlps).toBeGreaterThan(1000);
    });

    it('of the measurement block count instructions of each kind, successful ones only', async () => {
      const machine = await make({ platform: 's390x', options: { zpciMode: 'native' } });
      const fn = slot(machine);
      const base = { path: 'zpci-memcpy-new', function: fn, bar: 0, offset: 0 } as const;
      machine.cpu.write({ ...base, data: new Uint8Array(128 + 8) });
      machine.cpu.read({ ...base, length: 24 });
      expect(fn.stats).toMatchObject({ loads: 3, stores: 1, storeBlocks: 1 });
      fn.state = 'error';
      machine.cpu.write({ ...base, data: new Uint8Array(16) });
      machine.cpu.write({ ...base, data: new Uint8Array(8) });
      machine.cpu.read({ ...base, length: 8 });
      expect(fn.stats).toMatchObject({ loads: 3, stores: 1, storeBlocks: 1 });
    });

    it('of one access hold nothing of the access before', async () => {
      const x86 = { device: memoryDevice({ bars: [{ size: 256 }] }) };
      const s390 = { ...x86, options: { zpciMode: 'native' } } satisfies SlotConfig;
      const data = pattern(16, 3);
      const last = {
        'x86-64': (machine: Machine): unknown => [
          machine.cpu.wcStore({ function: slot(machine), bar: 0, offset: 64, data: pattern(64, 1) }),
          machine.cpu.wcFence(slot(machine)),
        ],
        s390x: (machine: Machine): unknown => {
          const access = { path: 'zpci-pcistg8', function: slot(machine), bar: 0, offset: 0 } as const;
          return machine.cpu.write({ ...access, data }).totals;
        },
      };
      for (const [platform, config] of [
        ['x86-64', x86],
        ['s390x', s390],
      ] as const) {
        const expected = last[platform](await make({ platform, slots: [config] }));
        const machine = await make({ platform, slots: [config] });
        const path = platform === 's390x' ? 'zpci-pcistg4' : 'x86-uc';
        const before = { path, function: slot(machine), bar: 0, offset: 64 } as const;
        machine.cpu.write({ ...before, data });
        slot(machine).state = 'error';
        machine.cpu.write({ ...before, data });
        slot(machine).state = 'enabled';
        expect(last[platform](machine), platform).toEqual(expected);
      }
    });

    it('keep 0 for types that did not occur', async () => {
      const machine = await make();
      expect(machine.stats()).toEqual({
        tlpsByType: {},
        tlps: 0,
        wireBytesDown: 0,
        wireBytesUp: 0,
        payloadBytesDown: 0,
        payloadBytesUp: 0,
        droppedPosted: 0,
        unsupportedRequests: 0,
        coherentTlps: 0,
        coherentBytes: 0,
        nonCoherentTlps: 0,
        nonCoherentBytes: 0,
        noSnoopStripped: 0,
      });
      machine.cpu.read({ path: 'x86-uc', function: slot(machine), bar: 0, offset: 0, length: 8 });
      expect(machine.stats()).toMatchObject({
        tlpsByType: { MRd: 1, CplD: 1 },
        wireBytesDown: 24,
        wireBytesUp: 28,
        payloadBytesUp: 8,
      });
    });
  });
});
