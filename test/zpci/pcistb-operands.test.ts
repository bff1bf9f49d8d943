/** PCI STORE BLOCK: operands, function handles and states (zpci.md 1, 2). */
import { describe, expect, it } from 'vitest';
import {
  createMachine,
  type FunctionState,
  memoryDevice,
  type PciFunction,
  type PcistbInput,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import {
  BEFORE,
  BLOCKED,
  DONE,
  differs,
  ENABLE,
  HOST_BYTES,
  NO_FUNCTION,
  RELAXED_MODES,
  RELAXED_NATIVE,
  Rig,
  rigsOf,
  SOURCE,
  SPECIFICATION,
  STRICT_MODES,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { core, machineOf, rig } = rigsOf(build);

  describe('operands', () => {
    it('Z-PCISTB-22: length bits above 0x1fff are ignored', async () => {
      const one = await rig();
      one.accepts({ length: 16 | 0x2000 });
      one.accepts({ length: 0xffff_e000 + 24, offset: 64 });
      one.refuses({ length: 0x2000 }, SPECIFICATION);
      one.refuses({ length: 0x2000 | 12 }, SPECIFICATION);
      const relaxed = await rig({ ...RELAXED_NATIVE, maxstbl: 4096 });
      relaxed.accepts({ length: 0x2000 | 4096 });
      relaxed.refuses({ length: 0x1000 | 1 }, SPECIFICATION);
    });

    it('Z-PCISTB-23: the register of the offset may be an odd one', async () => {
      const one = await rig();
      for (const r3 of [0, 5, 15]) one.accepts({ r3, offset: 64 * r3 });
      expect(() => one.store({ r3: 16 })).toThrow(expect.objectContaining({ field: 'r3' }));
    });

    it('says which operand it cannot take, without executing anything', async () => {
      const one = await rig();
      const wrong: readonly (readonly [Record<string, unknown>, string])[] = [
        [{ fh: -1 }, 'fh'],
        [{ fh: 2 ** 32 }, 'fh'],
        [{ fh: 0.5 }, 'fh'],
        [{ fh: '1' }, 'fh'],
        [{ fh: 1n }, 'fh'],
        [{ as: -1 }, 'as'],
        [{ as: 16 }, 'as'],
        [{ as: 0.5 }, 'as'],
        [{ as: undefined }, 'as'],
        [{ length: -1 }, 'length'],
        [{ length: 1.5 }, 'length'],
        [{ length: 2 ** 32 }, 'length'],
        [{ length: 16n }, 'length'],
        [{ offset: -8 }, 'offset'],
        [{ offset: 0.5 }, 'offset'],
        [{ offset: 2 ** 53 }, 'offset'],
        [{ offset: 2n ** 64n }, 'offset'],
        [{ offset: -8n }, 'offset'],
        [{ offset: '8' }, 'offset'],
        [{ source: undefined }, 'source'],
        [{ source: -1 }, 'source'],
        [{ source: 2n ** 64n }, 'source'],
        [{ source: [1, 2] }, 'source'],
        [{ source: new Uint8Array(15) }, 'source'],
        [{ sourceAddress: -1 }, 'sourceAddress'],
        [{ sourceAddress: 2n ** 64n }, 'sourceAddress'],
      ];
      const before = one.fn.stats;
      for (const [change, field] of wrong) {
        const label = JSON.stringify(change, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
        let error: unknown;
        try {
          one.store(change as Partial<PcistbInput>);
        } catch (thrown) {
          error = thrown;
        }
        expect(error, label).toBeInstanceOf(ZtlpError);
        expect((error as ZtlpError).field, label).toBe(field);
        expect((error as ZtlpError).allowed, label).toMatch(/./);
      }
      expect(one.fn.stats).toEqual(before);
      one.accepts({ source: SOURCE.slice(0, 16) });
    });

    it('takes the first bytes of a longer source, and offsets as numbers and as bigints', async () => {
      const one = await rig();
      one.accepts({ source: SOURCE.slice(0, 16), offset: 0n });
      one.accepts({ source: SOURCE.slice(0, 17), offset: 32n });
      one.accepts({ offset: 64, sourceAddress: 8n });
      const { memory } = one.machine;
      memory.write(0, BEFORE);
      const long = new Uint8Array(5 << 20).fill(0x5a);
      long.set(SOURCE);
      one.accepts({ offset: 128, source: long });
      expect(differs(memory.read(0, HOST_BYTES), BEFORE), 'host memory changed').toBe(false);
    });

    it('is not an instruction of other platforms', async () => {
      for (const platform of ['x86-64', 'arm64'] as const) {
        const machine = await createMachine({ core: core(), platform, hostMemoryBytes: 0 });
        const { handle } = machine.functions[0] as PciFunction;
        const action = (): unknown =>
          machine.cpu.pcistb({ fh: handle, as: 0, offset: 0, length: 16, source: SOURCE });
        expect(action).toThrow(
          expect.objectContaining({
            name: 'ZtlpError',
            field: 'platform',
            value: platform,
            allowed: 's390x',
          }),
        );
      }
    });
  });

  describe('handles', () => {
    it('Z-FH-01: the index found with other instance or marker bits is no such function', async () => {
      const one = await rig();
      for (const bits of [
        0x0100_0000, 0x4000_0000, 0x7f00_0000, 0x0001_0000, 0x0002_0000, 0x0003_0000, 0x0080_0000,
      ]) {
        one.refuses({ fh: (one.fn.handle ^ bits) >>> 0 }, NO_FUNCTION);
      }
    });

    it('Z-FH-02: the enable bit clear in the request is cc 3 although the function is enabled', async () => {
      const one = await rig();
      expect(one.fn.state).toBe('enabled');
      one.refuses({ fh: 0x0002_0001 }, NO_FUNCTION);
      one.refuses({ fh: 1 }, NO_FUNCTION);
    });

    it('knows no other index, neither 0 nor all ones', async () => {
      const one = await rig();
      for (const fh of [0, 0xffff_ffff, 0x8002_0000, 0x8002_0002, 0x8002_0101, 0x8002_8001, 0x8000_0000]) {
        one.refuses({ fh }, NO_FUNCTION);
      }
    });

    it('carries the marker of the execution mode: emulated 2, vfio 1, native and interpreted 0 (1.1)', async () => {
      const markers = { emulated: 0x0002_0000, vfio: 0x0001_0000, native: 0, interpreted: 0 } as const;
      for (const [zpciMode, marker] of Object.entries(markers)) {
        const one = await rig({ zpciMode: zpciMode as keyof typeof markers });
        expect(one.fn.handle).toBe(ENABLE + marker + 1);
        one.accepts({ fh: ENABLE + marker + 1 });
        for (const other of [0, 0x0001_0000, 0x0002_0000]) {
          if (other !== marker) one.refuses({ fh: ENABLE + other + 1 }, NO_FUNCTION);
        }
      }
    });

    it('addresses the function with that handle among 64, and no other', async () => {
      const slots = Array.from({ length: 64 }, (_, n) => ({
        device: memoryDevice({ bars: [{ size: 64 }] }),
        handleIndex: 0xffff - 17 * n,
      }));
      const machine = await machineOf(slots);
      for (const [slot, { handle }] of machine.functions.entries()) {
        expect(handle).toBe(0x8002_0000 + 0xffff - 17 * slot);
        const before = machine.functions.map((fn) => fn.stats.storeBlocks);
        expect(machine.cpu.pcistb({ fh: handle, as: 0, offset: 0, length: 16, source: SOURCE })).toEqual(
          DONE,
        );
        before[slot] = 1;
        expect(machine.functions.map((fn) => fn.stats.storeBlocks)).toEqual(before);
        const written = machine.functions.map((fn) => fn.barMemory(0)[1] !== 0);
        expect(written).toEqual(machine.functions.map((_, n) => n <= slot));
      }
    });

    it('takes the options of the function whose handle it carries, whichever came before', async () => {
      const device = memoryDevice();
      const machine = await machineOf([
        { device, options: { zpciMode: 'native', maxstbl: 4096, mps: 128 } },
        { device, options: { zpciMode: 'native', maxstbl: 4096, mps: 512 } },
      ]);
      for (const slot of [0, 1, 0, 0, 1, 1, 0]) {
        const one = new Rig(machine, slot);
        const { tlps } = one.fn.stats;
        one.accepts({ length: 1024 });
        expect(one.fn.stats.tlps - tlps).toBe(slot === 0 ? 8 : 2);
      }
    });

    it('takes them also after loads and stores along a path to another function', async () => {
      const device = memoryDevice();
      const machine = await machineOf([
        { device, options: { zpciMode: 'native', maxstbl: 4096, mps: 128 } },
        { device, options: { zpciMode: 'native', maxstbl: 4096, mps: 512 } },
      ]);
      const [first, second] = [new Rig(machine, 0), new Rig(machine, 1)];
      const other = { path: 'zpci-pcistg8', function: second.fn, bar: 0, offset: 0 } as const;
      for (const between of [
        () => machine.cpu.write({ ...other, data: SOURCE.slice(0, 16) }),
        () => machine.cpu.read({ ...other, length: 16 }),
      ]) {
        first.accepts({ length: 1024 });
        between();
        const { tlps } = first.fn.stats;
        first.accepts({ length: 1024, offset: 0x2000 });
        expect(first.fn.stats.tlps - tlps).toBe(8);
      }
    });
  });

  describe('states', () => {
    const NOT_ENABLED: readonly FunctionState[] = ['reserved', 'standby', 'disabled'];

    it('1.4: RESERVED, STANDBY and DISABLED answer cc 3, with the handle of now and with the enabled one', async () => {
      const one = await rig();
      const enabled = one.fn.handle;
      for (const state of NOT_ENABLED) {
        one.fn.state = state;
        expect(one.fn.handle).toBe(enabled - ENABLE);
        one.refuses({ fh: one.fn.handle }, NO_FUNCTION);
        one.refuses({ fh: enabled }, NO_FUNCTION);
        one.refuses({ fh: enabled, as: 15, length: 3, offset: 1 }, NO_FUNCTION);
      }
      one.fn.state = 'enabled';
      one.accepts();
    });

    it('1.4: ENABLED and ERROR_LS_OPEN run', async () => {
      const one = await rig();
      for (const state of ['enabled', 'error-ls-open'] as const) {
        one.fn.state = state;
        expect(one.fn.handle).toBe(0x8002_0001);
        one.accepts();
        one.refuses({ length: 12 }, SPECIFICATION);
      }
    });

    it('Z-ST-04 for PCISTB, 1.4: ERROR and PERMANENT_ERROR answer cc 1 status 12', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        for (const state of ['error', 'permanent-error'] as const) {
          one.fn.state = state;
          const input = Object.freeze({
            fh: one.fn.handle,
            as: 0,
            offset: 0,
            length: 16,
            source: SOURCE.slice(0, 16),
          });
          one.refuses(input, BLOCKED);
          expect(input.source).toEqual(SOURCE.slice(0, 16));
          one.refuses({ fh: 0x8002_0077 }, NO_FUNCTION);
        }
      }
    });

    it('Z-ST-05, first half: a store works in ERROR_LS_OPEN after ERROR', async () => {
      const one = await rig();
      one.fn.state = 'error';
      one.refuses({}, BLOCKED);
      one.fn.state = 'error-ls-open';
      one.accepts();
      one.fn.state = 'enabled';
      one.accepts({ offset: 64 });
    });

    it('blocks one function only', async () => {
      const device = memoryDevice();
      const machine = await machineOf([{ device }, { device }]);
      const [first, second] = [new Rig(machine, 0), new Rig(machine, 1)];
      first.fn.state = 'error';
      first.refuses({}, BLOCKED);
      second.accepts();
      second.fn.state = 'disabled';
      first.fn.state = 'enabled';
      first.accepts();
      second.refuses({}, NO_FUNCTION);
    });

    it('1.2: PERMANENT_ERROR leaves the enable bit of the handle as it was before', async () => {
      const { fn } = await rig();
      fn.state = 'permanent-error';
      expect(fn.handle).toBe(0x8002_0001);
      fn.state = 'disabled';
      fn.state = 'permanent-error';
      expect(fn.handle).toBe(0x0002_0001);
    });
  });
});
