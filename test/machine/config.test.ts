/** What the configuration of a machine accepts, and how it refuses the rest. */
import { describe, expect, it } from 'vitest';
import { createMachine, type MachineConfig, memoryDevice, OPTIONS, ZtlpError } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { errorOf, FIRST_ADDRESS, MIB, machinesOf, pattern, same, slot } from './support.js';

describe.each(BUILDS)('a machine on the %s build', (build) => {
  const { core, make, refused } = machinesOf(build);

  const one = (config: Record<string, unknown>): unknown => ({
    slots: [{ device: memoryDevice(), ...config }],
  });

  const bars = (...list: unknown[]): unknown => ({
    slots: [{ device: { name: 'd', vendorId: 1, deviceId: 2, bars: list } }],
  });

  const bar = (change: Record<string, unknown>): unknown => bars({ size: 256, memory: true, ...change });

  describe('configuration', () => {
    it('may be left out: x86-64, one memory device with a BAR of 64 KiB, 16 MiB of host memory', async () => {
      const machine = await createMachine({ core: core() });
      expect(machine.platform).toBe('x86-64');
      expect(machine.memory.size).toBe(16 * MIB);
      expect(machine.functions.map(({ name }) => name)).toEqual(['memory']);
      expect(slot(machine).bars).toEqual([{ address: FIRST_ADDRESS, size: 0x10000, space: 'memory' }]);
      expect(slot(machine).slot).toBe(0);
      expect((await createMachine()).functions.length).toBe(1);
    });

    it('takes the core as bytes, as a module and as a promise of either', async () => {
      const bytes = new Uint8Array(await readBuild(build));
      for (const source of [bytes, bytes.buffer, core(), Promise.resolve(bytes), Promise.resolve(core())]) {
        const machine = await make({ core: source });
        expect(slot(machine).state).toBe('enabled');
      }
    });

    it.each<readonly [string, unknown, ZtlpError['code'], string]>([
      ['config: a number', 5, 'invalid-value', 'config'],
      ['config: a text', 'x', 'invalid-value', 'config'],
      ['config: a list', [], 'invalid-value', 'config'],
      ['config: null', null, 'invalid-value', 'config'],
      ['unknown key', { colour: 1 }, 'unknown-name', 'colour'],
      ['platform: unknown', { platform: 'riscv' }, 'invalid-value', 'platform'],
      ['platform: a number', { platform: 1 }, 'invalid-value', 'platform'],
      ['options: a number', { options: 5 }, 'invalid-value', 'options'],
      ['options: a list', { options: [] }, 'invalid-value', 'options'],
      ['options: a text', { options: 'mps' }, 'invalid-value', 'options'],
      ['options: unknown name', { options: { mpss: 256 } }, 'unknown-name', 'mpss'],
      ['options: value not in the list', { options: { mps: 100 } }, 'invalid-value', 'mps'],
      ['options: value of another type', { options: { mps: '256' } }, 'invalid-value', 'mps'],
      ['options: boolean as a number', { options: { relaxed: 1 } }, 'invalid-value', 'relaxed'],
      ['options: below its range', { options: { maxstbl: 8 } }, 'invalid-value', 'maxstbl'],
      ['options: above its range', { options: { maxstbl: 4104 } }, 'invalid-value', 'maxstbl'],
      ['options: not a multiple', { options: { maxstbl: 100 } }, 'invalid-value', 'maxstbl'],
      ['options: unknown mode', { options: { zpciMode: 'magic' } }, 'invalid-value', 'zpciMode'],
      ['slots: an object', { slots: {} }, 'invalid-value', 'slots'],
      ['slots: a number', { slots: 3 }, 'invalid-value', 'slots'],
      [
        'slots: 65 of them',
        { slots: Array.from({ length: 65 }, () => ({ device: memoryDevice({ bars: [{ size: 16 }] }) })) },
        'invalid-value',
        'slots',
      ],
      ['slot: null', { slots: [null] }, 'invalid-value', 'slots[0]'],
      ['slot: a number', { slots: [{ device: memoryDevice() }, 7] }, 'invalid-value', 'slots[1]'],
      ['slot: unknown key', one({ adress: [0] }), 'unknown-name', 'slots[0].adress'],
      ['slot: no device', { slots: [{}] }, 'invalid-value', 'slots[0].device'],
      ['slot: device a text', { slots: [{ device: 'nic' }] }, 'invalid-value', 'slots[0].device'],
      [
        'slot: device without BARs',
        { slots: [{ device: { name: 'd' } }] },
        'invalid-value',
        'slots[0].device',
      ],
      ['slot: option unknown', one({ options: { colour: 1 } }), 'unknown-name', 'colour'],
      ['slot: option value', one({ options: { mrrs: 64 } }), 'invalid-value', 'mrrs'],
      ['slot: options a list', one({ options: [] }), 'invalid-value', 'slots[0].options'],
      ['slot: handleIndex a text', one({ handleIndex: '1' }), 'out-of-range', 'slots[0].handleIndex'],
      ['slot: handleIndex a fraction', one({ handleIndex: 1.5 }), 'out-of-range', 'slots[0].handleIndex'],
      ['slot: handleIndex negative', one({ handleIndex: -1 }), 'out-of-range', 'slots[0].handleIndex'],
      ['slot: handleIndex 0x10000', one({ handleIndex: 0x10000 }), 'out-of-range', 'slots[0].handleIndex'],
      ['slot: address a text', one({ addresses: ['x'] }), 'invalid-value', 'slots[0].bars[0].address'],
      ['slot: address negative', one({ addresses: [-0x10000] }), 'invalid-value', 'slots[0].bars[0].address'],
      ['slot: address a fraction', one({ addresses: [0.5] }), 'invalid-value', 'slots[0].bars[0].address'],
      [
        'slot: address above 2^53',
        one({ addresses: [2 ** 53] }),
        'invalid-value',
        'slots[0].bars[0].address',
      ],
      ['slot: address 2^64', one({ addresses: [2n ** 64n] }), 'invalid-value', 'slots[0].bars[0].address'],
      [
        'slot: address not aligned to its size',
        one({ addresses: [0x8000] }),
        'invalid-value',
        'slots[0].bars[0].address',
      ],
      ['BARs: 7 of them', bars(...Array(7).fill(undefined)), 'invalid-value', 'slots[0].device.bars'],
      ['BAR: null', bars(null), 'invalid-value', 'slots[0].bars[0]'],
      ['BAR: a number', bars(undefined, 256), 'invalid-value', 'slots[0].bars[1]'],
      ['BAR: no size', bars({ memory: true }), 'out-of-range', 'slots[0].bars[0].size'],
      ['BAR: size a text', bar({ size: '256' }), 'out-of-range', 'slots[0].bars[0].size'],
      ['BAR: size 8', bar({ size: 8 }), 'out-of-range', 'slots[0].bars[0].size'],
      ['BAR: size 24', bar({ size: 24 }), 'invalid-value', 'slots[0].bars[0].size'],
      ['BAR: size 2^31 - 1', bar({ size: 2 ** 31 - 1 }), 'invalid-value', 'slots[0].bars[0].size'],
      ['BAR: size 2^32', bar({ size: 2 ** 32 }), 'out-of-range', 'slots[0].bars[0].size'],
      ['BAR: valid a number', bar({ valid: 4 }), 'invalid-value', 'slots[0].bars[0].valid'],
      ['BAR: valid.min 3', bar({ valid: { min: 3, max: 8 } }), 'invalid-value', 'slots[0].bars[0].valid.min'],
      [
        'BAR: valid.max 16',
        bar({ valid: { min: 1, max: 16 } }),
        'invalid-value',
        'slots[0].bars[0].valid.max',
      ],
      ['BAR: valid.max left out', bar({ valid: { min: 1 } }), 'invalid-value', 'slots[0].bars[0].valid.max'],
      [
        'BAR: valid.min > max',
        bar({ valid: { min: 8, max: 4 } }),
        'invalid-value',
        'slots[0].bars[0].valid.min',
      ],
      ['BAR: impl a list', bar({ impl: [1, 8] }), 'invalid-value', 'slots[0].bars[0].impl'],
      ['BAR: impl.min -1', bar({ impl: { min: -1, max: 8 } }), 'invalid-value', 'slots[0].bars[0].impl.min'],
      [
        'BAR: impl.min > max',
        bar({ impl: { min: 4, max: 2 } }),
        'invalid-value',
        'slots[0].bars[0].impl.min',
      ],
      ['hostMemoryBytes: a text', { hostMemoryBytes: '1' }, 'out-of-range', 'hostMemoryBytes'],
      ['hostMemoryBytes: negative', { hostMemoryBytes: -1 }, 'out-of-range', 'hostMemoryBytes'],
      ['hostMemoryBytes: a fraction', { hostMemoryBytes: 0.5 }, 'out-of-range', 'hostMemoryBytes'],
      ['hostMemoryBytes: 2^32', { hostMemoryBytes: 2 ** 32 }, 'out-of-range', 'hostMemoryBytes'],
      ['hostMemoryBytes: not a number', { hostMemoryBytes: Number.NaN }, 'out-of-range', 'hostMemoryBytes'],
    ])('refuses %s', async (_, config, code, field) => {
      const error = await refused(config);
      expect(error).toMatchObject({ code, field });
      expect(error.allowed).toMatch(/./);
      expect(error.message).toContain(`; allowed: ${error.allowed}`);
    });

    it('says what an option allows when its value is wrong', async () => {
      expect(await refused({ options: { mps: 100 } })).toMatchObject({
        field: 'mps',
        value: 100,
        allowed: '128, 256, 512, 1024, 2048, 4096 (B)',
      });
      expect(await refused(one({ options: { maxstbl: 12 } }))).toMatchObject({
        field: 'maxstbl',
        value: 12,
        allowed: 'a multiple of 8 from 16 to 4096 (B)',
      });
      expect((await refused({ options: { mpss: 256 } })).message).toContain('did you mean mps?');
    });

    it('refuses options that are not built, of the machine and of a slot, and takes their defaults', async () => {
      const unbuilt: readonly (readonly [keyof typeof OPTIONS, unknown])[] = [
        ['crc', 'always'],
        ['snoopTerms', 'linux2021'],
        ['txArbitration', 'cocotbext'],
        // Without simulated time.
        ['skp', 'on'],
        ['tags', 32],
        ['hostPreset', 'bdw'],
        ['iotlbWalkers', 2],
        ['snoopNs', 10],
      ];
      for (const [name, value] of unbuilt) {
        const usual = OPTIONS[name].default;
        for (const config of [{ options: { [name]: value } }, one({ options: { [name]: value } })]) {
          expect(await refused(config)).toMatchObject({
            code: 'unsupported',
            field: name,
            value,
            allowed: String(usual),
          });
        }
        await make({ options: { [name]: usual } });
      }
    });

    it('refuses a device whose identity or BAR kind is not what a device model says', async () => {
      const device = { name: 'd', vendorId: 1, deviceId: 2, bars: [] };
      const wrong: readonly (readonly [unknown, string])[] = [
        [{ slots: [{ device: { ...device, name: 5 } }] }, 'slots[0].device.name'],
        [{ slots: [{ device: { ...device, vendorId: 0x10000 } }] }, 'slots[0].device.vendorId'],
        [{ slots: [{ device: { ...device, vendorId: 'intel' } }] }, 'slots[0].device.vendorId'],
        [{ slots: [{ device: { ...device, deviceId: -1 } }] }, 'slots[0].device.deviceId'],
        [{ slots: [{ device: { ...device, deviceId: 1.5 } }] }, 'slots[0].device.deviceId'],
        [bars({ size: 256 }), 'slots[0].bars[0].memory'],
        [bars({ size: 256, callback: true }), 'slots[0].device'],
        [{ slots: [{ device: { ...device, capabilities: {} } }] }, 'slots[0].device'],
        [bar({ memory: false }), 'slots[0].bars[0].memory'],
        [bar({ valid: { min: 1, max: 8, unaligned: 'yes' } }), 'slots[0].bars[0].valid.unaligned'],
      ];
      const fields: unknown[] = [];
      for (const [config] of wrong) {
        fields.push(
          await createMachine({ core: core(), ...(config as MachineConfig) }).then(
            () => 'accepted',
            (error: unknown) => (error instanceof ZtlpError ? error.field : error),
          ),
        );
      }
      expect(fields).toEqual(wrong.map(([, field]) => field));
    });

    it('refuses addresses that are no list, that are too many, or that no BAR takes', async () => {
      const wrong = [
        one({ addresses: 0x10000 }),
        one({ addresses: { 0: 0x10000 } }),
        one({ addresses: [undefined, 0x20000] }),
      ];
      const answers: unknown[] = [];
      for (const config of wrong) {
        answers.push(
          await createMachine({ core: core(), ...(config as MachineConfig) }).then(
            () => 'accepted',
            (error: unknown) => error instanceof ZtlpError,
          ),
        );
      }
      expect(answers).toEqual([true, true, true]);
    });

    it('refuses a core that is none with a ZtlpError', async () => {
      for (const source of [
        'release.wasm',
        5,
        new Uint8Array(4),
        new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
      ]) {
        const error = await createMachine({ core: source as unknown as Uint8Array<ArrayBuffer> }).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        expect(error, String(source)).toBeInstanceOf(ZtlpError);
        expect(error).toMatchObject({ field: 'core' });
      }
    });

    it('refuses two functions with one handle index, given or by default', async () => {
      const device = memoryDevice();
      const twice = { slots: [{ device, handleIndex: 5 }, { device }, { device, handleIndex: 5 }] };
      expect(await refused(twice)).toMatchObject({ field: 'slots[2].handleIndex', value: 5 });
      const byDefault = { slots: [{ device, handleIndex: 2 }, { device }] };
      expect(await refused(byDefault)).toMatchObject({ field: 'slots[1].handleIndex', value: 2 });
    });

    it('refuses BARs that overlap, in one function and across two, also by one byte', async () => {
      const device = memoryDevice({ bars: [{ size: 0x1000 }, { size: 0x100 }] });
      const within = { slots: [{ device, addresses: [0x1000, 0x1f00] }] };
      expect(await refused(within)).toMatchObject({ field: 'slots[0].bars[1].address', value: 0x1f00n });
      const across = {
        slots: [
          { device, addresses: [0x1000, 0x5000] },
          { device, addresses: [0x5000, 0x9000] },
        ],
      };
      const error = await refused(across);
      expect(error).toMatchObject({ field: 'slots[1].bars[0].address', value: 0x5000n });
      expect(error.allowed).toContain('slots[0].bars[1]');
      const neighbours = await make({
        slots: [
          { device, addresses: [0x1000, 0x2000] },
          { device, addresses: [0, 0x2100] },
        ],
      });
      expect(neighbours.functions.length).toBe(2);
    });

    it('takes a BAR that ends with the last address, and none that would go on behind it', async () => {
      const last = 2n ** 64n - 0x10000n;
      const machine = await make({ slots: [{ device: memoryDevice(), addresses: [last] }] });
      const fn = slot(machine);
      expect(fn.bars[0]?.address).toBe(last);
      machine.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0xfff8, data: pattern(8, 1) });
      expect(same(fn.barMemory(0).slice(0xfff8), pattern(8, 1))).toBe(true);
      const high = memoryDevice({ bars: [{ size: 2 ** 31 }] });
      expect(await refused({ slots: [{ device: high, addresses: [2n ** 64n - 2n ** 30n] }] })).toMatchObject({
        field: 'slots[0].bars[0].address',
      });
    });

    it('refuses more memory than a 32-bit WebAssembly memory has, with code resource', async () => {
      const large = memoryDevice({ bars: [{ size: 2 ** 31 }, { size: 2 ** 31 }] });
      expect((await refused({ slots: [{ device: large }] })).code).toBe('resource');
      expect((await refused({ hostMemoryBytes: 2 ** 32 - 1 })).code).toBe('resource');
      expect((await refused({ hostMemoryBytes: 2 ** 32 - 2 ** 20, slots: [] })).code).toBe('resource');
    });

    it('may have no slots, no BARs and no host memory', async () => {
      expect((await make({ slots: [], hostMemoryBytes: 0 })).functions).toEqual([]);
      const machine = await make({ slots: [{ device: memoryDevice({ bars: [] }) }] });
      const error = errorOf(() => slot(machine).barMemory(0));
      expect(error).toMatchObject({
        code: 'not-found',
        field: 'bar',
        allowed: 'none: the function has no BAR',
      });
    });

    it('takes 64 slots of 6 BARs, each BAR its own memory', async () => {
      const device = memoryDevice({ bars: Array.from({ length: 6 }, () => ({ size: 16 })) });
      const machine = await make({ slots: Array.from({ length: 64 }, () => ({ device })) });
      for (const fn of machine.functions) {
        for (let n = 0; n < 6; n++) {
          const data = new Uint8Array(8).fill(fn.slot * 3 + n);
          machine.cpu.write({ path: 'x86-uc', function: fn, bar: n, offset: 8, data });
        }
      }
      for (const fn of machine.functions) {
        for (let n = 0; n < 6; n++) {
          const expected = [...new Uint8Array(8), ...new Uint8Array(8).fill(fn.slot * 3 + n)];
          expect([...fn.barMemory(n)]).toEqual(expected);
        }
        expect(fn.stats).toMatchObject({ tlps: 6 });
      }
    });

    it('applies options of the slot over those of the machine, and lets dwordRule follow the mode', async () => {
      const device = memoryDevice();
      const machine = await make({
        options: { mps: 512, zpciMode: 'native', relaxed: true },
        slots: [
          { device },
          { device, options: { mps: 128 } },
          { device, options: { zpciMode: 'emulated', relaxed: false } },
          { device, options: { zpciMode: 'vfio', dwordRule: 'page' } },
        ],
      });
      const facts = machine.functions.map(({ options }) => [
        options.mps,
        options.zpciMode,
        options.relaxed,
        options.dwordRule,
      ]);
      expect(facts).toEqual([
        [512, 'native', true, 'page'],
        [128, 'native', true, 'page'],
        [512, 'emulated', false, 'qemu'],
        [512, 'vfio', true, 'page'],
      ]);
      expect(machine.options).toMatchObject({ mps: 512, zpciMode: 'native', dwordRule: 'page' });
      const given = await make({ options: { dwordRule: 'qemu', zpciMode: 'native' } });
      expect(slot(given).options.dwordRule).toBe('qemu');
    });
  });
});
