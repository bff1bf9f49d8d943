/** Accesses of the CPU along every path, and those that are refused. */
import { describe, expect, it } from 'vitest';
import {
  type AccessPath,
  memoryDevice,
  type OptionInput,
  PATH_IDS,
  PATHS,
  type PathId,
  type PciFunction,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { errorOf, MIB, machinesOf, pattern, same, slot } from './support.js';

/** Mode and options under which a function takes accesses along `path` without a fault at any offset. */
function optionsFor(path: AccessPath): OptionInput {
  const { zpciMode, maxstbl, relaxed, interceptStrict } = path.options;
  if (path.platform !== 's390x') return {};
  return {
    zpciMode: zpciMode ?? 'native',
    chunking: 'old', // pieces that never cross a doubleword; a path that names another helper keeps its own
    ...(maxstbl !== undefined && { maxstbl }),
    ...(relaxed !== undefined && { relaxed }),
    ...(interceptStrict !== undefined && { interceptStrict }),
  };
}

const platformOf = (path: AccessPath): 'x86-64' | 'arm64' | 's390x' =>
  path.platform === 'any' ? 'x86-64' : path.platform;

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { make } = machinesOf(build);

  describe('accesses', () => {
    const readable = PATH_IDS.filter((id) => PATHS[id].read !== null);

    it.each(readable)(
      '%s reads 1 to 16 bytes at every offset from 0 to 15 as memory holds them',
      async (id) => {
        const path = PATHS[id];
        const device = memoryDevice({ bars: [{ size: 128 }] });
        const machine = await make({
          platform: platformOf(path),
          slots: [{ device, options: optionsFor(path) }],
        });
        const fn = slot(machine);
        const memory = pattern(128, 0x77);
        fn.barMemory(0).set(memory);
        for (let offset = 0; offset < 16; offset++) {
          for (let length = 1; length <= 16; length++) {
            const { data, fault } = machine.cpu.read({ path: id, function: fn, bar: 0, offset, length });
            expect(fault).toBeUndefined();
            expect(same(data, memory.slice(offset, offset + length)), `${length} bytes at ${offset}`).toBe(
              true,
            );
          }
        }
        expect(same(fn.barMemory(0), memory), 'a read changes nothing').toBe(true);
      },
    );

    it.each(PATH_IDS.filter((id) => PATHS[id].write !== null && !/movdir64b|enqcmd/.test(id)))(
      '%s writes 1 to 16 bytes at every offset from 0 to 15, and only those',
      async (id) => {
        const path = PATHS[id];
        const device = memoryDevice({ bars: [{ size: 128 }] });
        const machine = await make({
          platform: platformOf(path),
          slots: [{ device, options: optionsFor(path) }],
        });
        const fn = slot(machine);
        for (let offset = 0; offset < 16; offset++) {
          for (let length = 1; length <= 16; length++) {
            const expected = new Uint8Array(128).fill(0xee);
            fn.barMemory(0).set(expected);
            const data = pattern(length, offset * 16);
            const { fault } = machine.cpu.write({ path: id, function: fn, bar: 0, offset, data });
            expect(fault).toBeUndefined();
            expected.set(data, offset);
            expect(same(fn.barMemory(0), expected), `${length} bytes at ${offset}`).toBe(true);
          }
        }
      },
    );

    it('beyond the BAR are a typed error that says how far one may go', async () => {
      const machine = await make({ slots: [{ device: memoryDevice({ bars: [{ size: 64 }] }) }] });
      const base = { path: 'x86-uc', function: slot(machine), bar: 0 } as const;
      for (const [offset, length] of [
        [64, 1],
        [63, 2],
        [0, 65],
        [-1, 1],
        [0.5, 1],
        [2 ** 32, 1],
        [Number.NaN, 1],
      ] as const) {
        const read = errorOf(() => machine.cpu.read({ ...base, offset, length }));
        const write = errorOf(() => machine.cpu.write({ ...base, offset, data: new Uint8Array(length) }));
        for (const error of [read, write])
          expect(error).toMatchObject({ code: 'out-of-range', field: 'offset' });
        expect(read.allowed).toBe(`0 to ${64 - length} for ${length} bytes in this BAR`);
        const wc = errorOf(() =>
          machine.cpu.wcStore({ function: slot(machine), bar: 0, offset, data: new Uint8Array(length) }),
        );
        expect(wc).toMatchObject({ code: 'out-of-range', field: 'offset' });
      }
      expect(machine.stats().tlps).toBe(0);
      expect(machine.cpu.read({ ...base, offset: 0, length: 64 }).data.length).toBe(64);
    });

    it('have 1 byte to 1 MiB', async () => {
      const machine = await make({ slots: [{ device: memoryDevice({ bars: [{ size: 2 * MIB }] }) }] });
      const base = { path: 'x86-uc', function: slot(machine), bar: 0, offset: 0 } as const;
      for (const length of [0, MIB + 1, 0.5, -1, Number.NaN]) {
        expect(errorOf(() => machine.cpu.read({ ...base, length })).field).toBe('length');
      }
      for (const length of [0, MIB + 1]) {
        expect(errorOf(() => machine.cpu.write({ ...base, data: new Uint8Array(length) })).field).toBe(
          'data',
        );
      }
      expect(errorOf(() => machine.cpu.write({ ...base, data: [1] as unknown as Uint8Array })).field).toBe(
        'data',
      );
      const data = pattern(MIB, 3);
      machine.cpu.write({ ...base, data });
      expect(same(machine.cpu.read({ ...base, length: MIB }).data, data)).toBe(true);
      expect(same(slot(machine).barMemory(0).subarray(0, MIB), data)).toBe(true);
    });

    it('want a path, a function and a BAR that exist', async () => {
      const machine = await make();
      const other = await make();
      const base = { path: 'x86-uc', function: slot(machine), bar: 0, offset: 0, length: 1 } as const;
      const unknown = errorOf(() => machine.cpu.read({ ...base, path: 'x86-magic' as PathId }));
      expect(unknown).toMatchObject({ code: 'unknown-name', field: 'path' });
      expect(unknown.allowed).toContain('x86-uc');
      expect(errorOf(() => machine.cpu.read({ ...base, path: 'constructor' as PathId })).code).toBe(
        'unknown-name',
      );
      expect(errorOf(() => machine.cpu.read({ ...base, bar: 1 })).code).toBe('not-found');
      expect(errorOf(() => machine.cpu.read({ ...base, function: slot(other) })).field).toBe('function');
      const none = undefined as unknown as PciFunction;
      expect(errorOf(() => machine.cpu.read({ ...base, function: none })).field).toBe('function');
      expect(errorOf(() => machine.cpu.read({ ...base, sourceAddress: -1 })).field).toBe('sourceAddress');
      expect(errorOf(() => machine.cpu.read({ ...base, path: 'x86-movdir64b' })).field).toBe('op');
    });

    it('along a path of another platform are refused with the platform it needs', async () => {
      for (const platform of ['x86-64', 'arm64', 's390x'] as const) {
        const machine = await make({ platform, slots: [{ device: memoryDevice() }] });
        for (const id of PATH_IDS) {
          if (PATHS[id].platform === platform || PATHS[id].platform === 'any') continue;
          const write = (): unknown =>
            machine.cpu.write({
              path: id,
              function: slot(machine),
              bar: 0,
              offset: 0,
              data: new Uint8Array(64),
            });
          const error = errorOf(write);
          expect(error, id).toMatchObject({ code: 'invalid-value', field: 'path', value: id });
          expect(error.message).toContain(PATHS[id].platform);
          expect(error.allowed).toBe(`paths of ${platform}`);
        }
        expect(machine.stats().tlps).toBe(0);
      }
    });

    it('along a zPCI path of another mode are refused with the option that would allow them', async () => {
      for (const zpciMode of ['emulated', 'native', 'interpreted', 'vfio'] as const) {
        const machine = await make({ platform: 's390x', options: { zpciMode } });
        for (const id of PATH_IDS) {
          const path: AccessPath = PATHS[id];
          if (path.platform !== 's390x' || path.options.zpciMode === zpciMode) continue;
          const write = (): unknown =>
            machine.cpu.write({
              path: id,
              function: slot(machine),
              bar: 0,
              offset: 0,
              data: new Uint8Array(16),
            });
          const error = errorOf(write);
          expect(error, id).toMatchObject({ field: 'path', value: id });
          const remedy = `options: { zpciMode: '${path.options.zpciMode}' } for its slot`;
          expect(error.allowed).toBe(remedy);
          const cured = await make({
            platform: 's390x',
            slots: [{ device: memoryDevice(), options: { zpciMode: path.options.zpciMode } }],
          });
          cured.cpu.write({ path: id, function: slot(cured), bar: 0, offset: 0, data: new Uint8Array(16) });
        }
      }
    });

    it('of write-combining stores belong to x86-64 alone', async () => {
      for (const platform of ['arm64', 's390x'] as const) {
        const machine = await make({ platform });
        const store = (): unknown =>
          machine.cpu.wcStore({ function: slot(machine), bar: 0, offset: 0, data: new Uint8Array(8) });
        expect(errorOf(store)).toMatchObject({ field: 'platform', value: platform });
        expect(errorOf(() => machine.cpu.wcFence(slot(machine))).field).toBe('platform');
      }
    });

    it('that nobody claims read as ones, and are counted as unsupported requests of no function', async () => {
      const machine = await make({ slots: [{ device: memoryDevice({ bars: [{ size: 16 }] }) }] });
      machine.trace.start();
      const access = { path: 'x86-wc-line', function: slot(machine), bar: 0, offset: 0 } as const;
      const { data, totals } = machine.cpu.read({ ...access, length: 16 });
      expect([...data]).toEqual(new Array(16).fill(0xff));
      expect(totals.unclaimed).toBe(1);
      expect(machine.stats()).toMatchObject({
        unsupportedRequests: 1,
        droppedPosted: 0,
        tlpsByType: { MRd: 1, Cpl: 1 },
      });
      expect(slot(machine).stats.tlps).toBe(0);
      const [request, completion] = machine.trace.take();
      expect(request?.slot).toBeUndefined();
      expect(completion).toMatchObject({ direction: 'up', tlp: { type: 'Cpl', status: 1 } });
    });
  });
});
