/** The machine: what its configuration accepts, addresses, host memory, accesses along every path, trace, counters, reset. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type AccessPath,
  createMachine,
  type FunctionState,
  type Machine,
  type MachineConfig,
  memoryDevice,
  OPTIONS,
  type OptionInput,
  PATH_IDS,
  PATHS,
  type PathId,
  type PciFunction,
  type SlotConfig,
  type TracedTlp,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const FIRST_ADDRESS = 2 ** 40;
const MIB = 1 << 20;

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, n) => (n * 37 + (n >>> 8) * 11 + seed) & 0xff);
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** The function in slot `slot`. */
function slot(machine: Machine, index = 0): PciFunction {
  return machine.functions[index] as PciFunction;
}

function errorOf(action: () => unknown): ZtlpError {
  try {
    action();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

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
  let core: WebAssembly.Module;

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
  });

  /** A machine with little memory, unless told otherwise. */
  function make(config: MachineConfig = {}): Promise<Machine> {
    return createMachine({ core, hostMemoryBytes: 0x10000, ...config });
  }

  /** The error with which a configuration is refused, whatever its types. */
  async function refused(config: unknown): Promise<ZtlpError> {
    let error: unknown;
    try {
      const whole = typeof config === 'object' && config !== null && !Array.isArray(config);
      await createMachine((whole ? { core, ...config } : config) as MachineConfig);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ZtlpError);
    return error as ZtlpError;
  }

  const one = (config: Record<string, unknown>): unknown => ({
    slots: [{ device: memoryDevice(), ...config }],
  });
  const bars = (...list: unknown[]): unknown => ({
    slots: [{ device: { name: 'd', vendorId: 1, deviceId: 2, bars: list } }],
  });
  const bar = (change: Record<string, unknown>): unknown => bars({ size: 256, memory: true, ...change });

  describe('configuration', () => {
    it('may be left out: x86-64, one memory device with a BAR of 64 KiB, 16 MiB of host memory', async () => {
      const machine = await createMachine({ core });
      expect(machine.platform).toBe('x86-64');
      expect(machine.memory.size).toBe(16 * MIB);
      expect(machine.functions.map(({ name }) => name)).toEqual(['memory']);
      expect(slot(machine).bars).toEqual([{ address: FIRST_ADDRESS, size: 0x10000 }]);
      expect(slot(machine).slot).toBe(0);
      expect((await createMachine()).functions.length).toBe(1);
    });

    it('takes the core as bytes, as a module and as a promise of either', async () => {
      const bytes = new Uint8Array(await readBuild(build));
      for (const source of [bytes, bytes.buffer, core, Promise.resolve(bytes), Promise.resolve(core)]) {
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
      ['slot: options a list', one({ options: [] }), 'invalid-value', 'options'],
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
        ['rtr', true],
        ['fidelity', 'timed'],
        ['crc', 'always'],
        ['clpBarWords', 'big'],
        ['dmaInErrorLsOpen', 'allowed'],
        ['dtsm', 0xff],
        ['vtdModel', 'qemu72'],
        ['tags', 32],
        ['hostPreset', 'bdw'],
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
        [bar({ memory: false }), 'slots[0].bars[0].memory'],
        [bar({ valid: { min: 1, max: 8, unaligned: 'yes' } }), 'slots[0].bars[0].valid.unaligned'],
      ];
      const fields: unknown[] = [];
      for (const [config] of wrong) {
        fields.push(
          await createMachine({ core, ...(config as MachineConfig) }).then(
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
          await createMachine({ core, ...(config as MachineConfig) }).then(
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

  describe('addresses', () => {
    it('start at 2^40 by default, each BAR aligned to its size and to a page', async () => {
      const device = memoryDevice({ bars: [{ size: 16 }, undefined, { size: 0x4000 }, { size: 256 }] });
      const machine = await make({ slots: [{ device }, { device }] });
      expect(slot(machine, 0).bars.map((entry) => entry && Number(entry.address) - FIRST_ADDRESS)).toEqual([
        0,
        undefined,
        0x4000,
        0x8000,
      ]);
      expect(slot(machine, 1).bars.map((entry) => entry && Number(entry.address) - FIRST_ADDRESS)).toEqual([
        0x9000,
        undefined,
        0xc000,
        0x10000,
      ]);
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
