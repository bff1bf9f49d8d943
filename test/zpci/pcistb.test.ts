/** PCI STORE BLOCK against sheet zpci.md: checks and their order, strict and relaxed rules, states, sources, traffic. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ZPCI_RELAXED } from '../../assembly/layout.js';
import { resolveOptions } from '../../src/base/options.js';
import {
  createMachine,
  dispatchRegion,
  type FunctionState,
  type Machine,
  type MachineConfig,
  memoryDevice,
  type OptionInput,
  type PciFunction,
  type PcistbInput,
  ready,
  type U64,
  type ZpciAnswer,
  ZtlpError,
} from '../../src/index.js';
import { zpciFlags } from '../../src/zpci/mode.js';
import { BUILDS, readBuild } from '../support/builds.js';

const ENABLE = 0x8000_0000;
const BAR_BYTES = 0x10000;
const HOST_BYTES = 0x10000;
const PAGE = 4096;

const DONE: ZpciAnswer = { cc: 0, status: 0, programInterruption: null };
const NO_FUNCTION: ZpciAnswer = { cc: 3, status: 0, programInterruption: null };
const BLOCKED: ZpciAnswer = { cc: 1, status: 12, programInterruption: null };
const BAD_SPACE: ZpciAnswer = { cc: 1, status: 20, programInterruption: null };

function exception(code: number, name: NonNullable<ZpciAnswer['programInterruption']>['name']): ZpciAnswer {
  return { cc: null, status: 0, programInterruption: { code, name, ilc: 6 } };
}

const PRIVILEGED = exception(2, 'privileged operation');
const ADDRESSING = exception(5, 'addressing');
const SPECIFICATION = exception(6, 'specification');
const OPERAND = exception(0x15, 'operand');

/** Bytes that differ from their neighbours and, with another seed, from each other. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, n) => (n * 29 + (n >>> 8) * 7 + seed) & 0xff);
}

/** Old contents of a BAR, and what stores bring: never equal at the same distance. */
const BEFORE = pattern(BAR_BYTES, 3);
const SOURCE = pattern(8192, 0x90);

type Bars = NonNullable<NonNullable<Parameters<typeof memoryDevice>[0]>['bars']>;

const RELAXED_NATIVE: OptionInput = { zpciMode: 'native', relaxed: true };
const RELAXED_MODES: readonly OptionInput[] = [
  RELAXED_NATIVE,
  { zpciMode: 'interpreted', relaxed: true },
  { zpciMode: 'emulated', relaxed: true, interceptStrict: false },
  { zpciMode: 'vfio', relaxed: true, interceptStrict: false },
];
const STRICT_MODES: readonly OptionInput[] = [
  {},
  { zpciMode: 'native' },
  { zpciMode: 'interpreted' },
  { zpciMode: 'vfio' },
  { zpciMode: 'emulated', relaxed: true },
  { zpciMode: 'vfio', relaxed: true },
];

function differs(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) !== 0;
}

/** One function of a machine, its BAR 0 filled with BEFORE, and stores that are looked at from all sides. */
class Rig {
  readonly machine: Machine;
  readonly fn: PciFunction;

  constructor(machine: Machine, slot = 0) {
    this.machine = machine;
    this.fn = machine.functions[slot] as PciFunction;
    this.fn.barMemory(0).set(BEFORE.subarray(0, this.fn.bars[0]?.size));
  }

  /** A legal strict store, changed by `change`. */
  store(change: Partial<PcistbInput> = {}): ZpciAnswer {
    const { fn, machine } = this;
    return machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source: SOURCE, ...change });
  }

  /** Answers `answer`; nothing is written, counted or sent. */
  refuses(change: Partial<PcistbInput>, answer: ZpciAnswer): void {
    const memory = this.fn.barMemory(0).slice();
    const { stats } = this.fn;
    expect(this.store(change)).toEqual(answer);
    expect(differs(this.fn.barMemory(0), memory), 'memory changed').toBe(false);
    expect(this.fn.stats).toEqual(stats);
  }

  /** Condition code 0; exactly the bytes asked for are written and the store-block counter is one more. */
  accepts(change: Partial<PcistbInput> = {}): void {
    const memory = this.fn.barMemory(0).slice();
    const { storeBlocks } = this.fn.stats;
    expect(this.store(change)).toEqual(DONE);
    const length = (change.length ?? 16) & 0x1fff;
    memory.set(SOURCE.subarray(0, length), Number(change.offset ?? 0));
    expect(differs(this.fn.barMemory(0), memory), 'memory is not what was stored').toBe(false);
    expect(this.fn.stats.storeBlocks).toBe(storeBlocks + 1);
  }
}

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  let core: WebAssembly.Module;

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
    await ready(core);
  });

  function machineOf(slots: MachineConfig['slots'], options: OptionInput = {}): Promise<Machine> {
    return createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: HOST_BYTES,
      options,
      ...(slots && { slots }),
    });
  }

  async function rig(options: OptionInput = {}, bars: Bars = [{ size: BAR_BYTES }]): Promise<Rig> {
    return new Rig(await machineOf([{ device: memoryDevice({ bars }), options, handleIndex: 1 }]));
  }

  describe('under the strict rules', () => {
    it('Z-PCISTB-01: strict, length 16, offset 0 and an aligned source store 16 bytes and count one block', async () => {
      const { fn, machine } = await rig();
      expect(fn.handle).toBe(0x8002_0001);
      expect(fn.options.maxstbl).toBe(128);
      fn.barMemory(0).fill(0xee);
      const source = Uint8Array.from({ length: 16 }, (_, n) => n + 1);
      expect(machine.cpu.pcistb({ fh: 0x8002_0001, as: 0, offset: 0, length: 16, source })).toEqual(DONE);
      expect([...fn.barMemory(0).subarray(0, 17)]).toEqual([...source, 0xee]);
      expect(fn.stats).toMatchObject({ storeBlocks: 1, stores: 0, loads: 0 });
    });

    it('Z-PCISTB-02: strict, length 8 is a specification exception', async () => {
      (await rig()).refuses({ length: 8 }, SPECIFICATION);
    });

    it('Z-PCISTB-03: strict, length 0 is a specification exception', async () => {
      (await rig()).refuses({ length: 0 }, SPECIFICATION);
    });

    it('Z-PCISTB-04: strict, length 11 is a specification exception', async () => {
      (await rig()).refuses({ length: 11 }, SPECIFICATION);
    });

    it('Z-PCISTB-05: strict, length 128 is stored, 136 above maxstbl 128 is a specification exception', async () => {
      const one = await rig();
      one.accepts({ length: 128 });
      one.refuses({ length: 136 }, SPECIFICATION);
    });

    it('Z-PCISTB-06: strict, offset 4 is a specification exception', async () => {
      (await rig()).refuses({ offset: 4 }, SPECIFICATION);
    });

    it('Z-PCISTB-07: strict, length 12 is a specification exception', async () => {
      (await rig()).refuses({ length: 12 }, SPECIFICATION);
    });

    it('Z-PCISTB-08: strict, a source at 4 modulo 8 is a specification exception', async () => {
      const one = await rig();
      one.refuses({ sourceAddress: 4 }, SPECIFICATION);
      one.refuses({ source: 0x1004 }, SPECIFICATION);
    });

    it.each(STRICT_MODES)(
      'accepts 16, 24, ... maxstbl bytes and no other length with %o (3.1)',
      async (options) => {
        for (const maxstbl of [16, 128, 4096]) {
          const one = await rig({ ...options, maxstbl });
          for (let length = 0; length <= 160; length++) {
            const legal = length > 8 && length % 8 === 0 && length <= maxstbl;
            if (legal) one.accepts({ length, offset: 8 });
            else one.refuses({ length, offset: 8 }, SPECIFICATION);
          }
          const long = { length: 4096 };
          if (maxstbl === 4096) one.accepts(long);
          else one.refuses(long, SPECIFICATION);
          one.refuses({ length: 4104 }, SPECIFICATION);
        }
      },
    );

    it.each(STRICT_MODES)('wants offset and source at multiples of 8 with %o (3.1)', async (options) => {
      const one = await rig(options);
      for (let low = 1; low < 8; low++) {
        one.refuses({ offset: low }, SPECIFICATION);
        one.refuses({ offset: 0x1230 + low }, SPECIFICATION);
        one.refuses({ sourceAddress: low }, SPECIFICATION);
        one.refuses({ sourceAddress: 2n ** 64n - 8n + BigInt(low) }, SPECIFICATION);
        one.refuses({ source: 0x2000 + low }, SPECIFICATION);
      }
      one.accepts({ offset: 0x1238, sourceAddress: 2n ** 64n - 8n });
    });
  });

  describe('in both modes', () => {
    it('Z-PCISTB-09: offset 0xfc0 takes 64 bytes and refuses 72, strict and relaxed', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.accepts({ offset: 0xfc0, length: 64 });
        one.refuses({ offset: 0xfc0, length: 72 }, SPECIFICATION);
      }
    });

    it('Z-PCISTB-10: offset 0x1fc0 takes 64 bytes: the rule is modulo 4096', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.accepts({ offset: 0x1fc0, length: 64 });
        one.accepts({ offset: 0x1000, length: 128 });
        one.refuses({ offset: 0x1fc0, length: 72 }, SPECIFICATION);
      }
    });

    it('Z-PCISTB-11: spaces 6 to 15, configuration space included, answer cc 1 status 20', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        for (let as = 6; as <= 15; as++) one.refuses({ as }, BAD_SPACE);
      }
    });

    it('Z-PCISTB-12: space 15 with length 12 answers cc 1 status 20: the space comes before the length', async () => {
      (await rig()).refuses({ as: 15, length: 12 }, BAD_SPACE);
    });

    it('reaches each of six BARs by its number, and only that one', async () => {
      const sizes = [256, 16, 4096, 512, 64, 0x2000];
      const one = await rig(
        {},
        sizes.map((size) => ({ size })),
      );
      sizes.forEach((size, as) => {
        for (let bar = 0; bar < 6; bar++) one.fn.barMemory(bar).fill(0x11);
        expect(one.store({ as, offset: size - 16 })).toEqual(DONE);
        for (let bar = 0; bar < 6; bar++) {
          const expected = new Uint8Array(sizes[bar] as number).fill(0x11);
          if (bar === as) expected.set(SOURCE.subarray(0, 16), size - 16);
          expect(differs(one.fn.barMemory(bar), expected), `BAR ${bar} after a store to ${as}`).toBe(false);
        }
        expect(one.store({ as, offset: size })).toEqual(OPERAND);
      });
    });

    it('refuses a BAR that is not implemented with an operand exception', async () => {
      for (const options of [{}, { zpciMode: 'native' }, RELAXED_NATIVE] as const) {
        const one = await rig(options, [{ size: 256 }, undefined, { size: 256 }]);
        for (const as of [1, 3, 4, 5]) one.refuses({ as }, OPERAND);
        expect(one.store({ as: 2 })).toEqual(DONE);
      }
    });

    it('refuses a range that leaves the BAR, also where the offset or its end passes 2^32 or 2^64', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options, [{ size: 64 }]);
        one.accepts({ offset: 48 });
        const beyond: readonly U64[] = [
          56,
          64,
          0x1000,
          2 ** 32,
          2 ** 32 + 8,
          2 ** 40,
          2n ** 63n,
          2n ** 64n - 0x1000n,
          2n ** 64n - 0x1000n + 64n,
          2n ** 64n - 0xff0n,
        ];
        for (const offset of beyond) one.refuses({ offset }, OPERAND);
        for (const offset of [2n ** 32n - 8n, 2n ** 64n - 8n]) one.refuses({ offset }, SPECIFICATION);
        one.refuses({ offset: 2n ** 32n - 16n }, OPERAND);
        one.refuses({ offset: 2n ** 64n - 16n }, OPERAND);
      }
    });
  });

  describe('under the relaxed rules', () => {
    it('Z-PCISTB-13: relaxed, length 11 at offset 3 from a source at 5 modulo 8 stores 11 bytes at 3 to 13', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options);
        one.accepts({ length: 11, offset: 3, sourceAddress: 5 });
        one.machine.memory.write(0x2005, SOURCE.subarray(0, 11));
        one.fn.barMemory(0).set(BEFORE);
        one.accepts({ length: 11, offset: 3, source: 0x2005 });
      }
    });

    it('Z-PCISTB-14: relaxed, length 8 at offset 0 is stored', async () => {
      (await rig(RELAXED_NATIVE)).accepts({ length: 8 });
    });

    it('Z-PCISTB-15: relaxed, length 4096 with maxstbl 4096 is stored and counts exactly one block', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig({ ...options, maxstbl: 4096 });
        one.accepts({ length: 4096 });
        expect(one.fn.stats.storeBlocks).toBe(1);
      }
    });

    it('Z-PCISTB-16: relaxed, length 4096 at offset 1 is a specification exception: the 4 KiB rule stays', async () => {
      (await rig({ ...RELAXED_NATIVE, maxstbl: 4096 })).refuses({ length: 4096, offset: 1 }, SPECIFICATION);
    });

    it('Z-PCISTB-17: relaxed, length 1 at offset 0xfff is stored', async () => {
      const one = await rig(RELAXED_NATIVE);
      one.accepts({ length: 1, offset: 0xfff });
      one.refuses({ length: 2, offset: 0xfff }, SPECIFICATION);
    });

    it('Z-PCISTB-18: relaxed, length 4097 is a specification exception whatever the maximum', async () => {
      for (const relaxedMaximum of ['maxstbl', 'page'] as const) {
        for (const maxstbl of [128, 4096]) {
          const one = await rig({ ...RELAXED_NATIVE, maxstbl, relaxedMaximum });
          one.refuses({ length: 4097 }, SPECIFICATION);
          one.refuses({ length: 8191 }, SPECIFICATION);
        }
      }
    });

    it('Z-PCISTB-29: relaxed, length 0 does nothing or is a specification exception, as relaxedZeroLength says', async () => {
      for (const options of RELAXED_MODES) {
        const noop = await rig(options);
        noop.accepts({ length: 0 });
        noop.accepts({ length: 0, offset: 5, sourceAddress: 3 });
        expect(noop.fn.stats).toMatchObject({ tlps: 0, deviceCalls: 0 });
        const refusing = await rig({ ...options, relaxedZeroLength: 'specificationPe' });
        refusing.refuses({ length: 0 }, SPECIFICATION);
        refusing.accepts({ length: 1 });
      }
    });

    it('Z-PCISTB-30: relaxed, maxstbl 128, length 136 is refused, or stored with relaxedMaximum page', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options);
        one.refuses({ length: 136 }, SPECIFICATION);
        one.refuses({ length: 129 }, SPECIFICATION);
        one.accepts({ length: 128 });
        const page = await rig({ ...options, relaxedMaximum: 'page' });
        page.accepts({ length: 136 });
        page.accepts({ length: 4096 });
        page.refuses({ length: 4097 }, SPECIFICATION);
      }
    });

    it('gives relaxedMaximum and relaxedZeroLength no say in a strict group (3.1)', async () => {
      const one = await rig({ relaxedMaximum: 'page', relaxedZeroLength: 'noop' });
      one.refuses({ length: 136 }, SPECIFICATION);
      one.refuses({ length: 0 }, SPECIFICATION);
    });

    it('stores every length from 1 to 64 at every offset from 0 to 15, whoever executes it', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options, [{ size: 256 }]);
        for (let offset = 0; offset < 16; offset++) {
          for (let length = 1; length <= 64; length++) one.accepts({ offset, length, sourceAddress: length });
        }
      }
    });
  });

  describe('and who decides about relaxed', () => {
    it('Z-PCISTB-24: relaxed is a property of the group: two functions of one group agree', async () => {
      for (const relaxed of [false, true]) {
        const device = memoryDevice();
        const machine = await machineOf([{ device }, { device }], { zpciMode: 'native', relaxed });
        const answers = [0, 1].map((slot) => new Rig(machine, slot).store({ length: 11, offset: 3 }));
        expect(answers).toEqual(relaxed ? [DONE, DONE] : [SPECIFICATION, SPECIFICATION]);
      }
    });

    it('Z-PCISTB-25: relaxed translation alone leaves PCISTB strict; option rtr is refused as not built', async () => {
      (await rig({ zpciMode: 'native' })).refuses({ length: 11, offset: 3 }, SPECIFICATION);
      (await rig({ zpciMode: 'native', rtr: false })).refuses({ length: 11, offset: 3 }, SPECIFICATION);
      await expect(rig({ zpciMode: 'native', rtr: true })).rejects.toMatchObject({
        code: 'unsupported',
        field: 'rtr',
      });
      // What the core would be told, were the option built.
      for (const zpciMode of ['emulated', 'vfio', 'native', 'interpreted'] as const) {
        const strict = zpciFlags(resolveOptions({ zpciMode }));
        expect(zpciFlags(resolveOptions({ zpciMode, rtr: true }))).toBe(strict);
        expect(strict & ZPCI_RELAXED).toBe(0);
      }
    });

    it('Z-PCISTB-26: an intercepted vfio function with maxstbl 128 refuses 4096 bytes', async () => {
      (await rig({ zpciMode: 'vfio' })).refuses({ length: 4096 }, SPECIFICATION);
      (await rig({ zpciMode: 'vfio', relaxed: true })).refuses({ length: 4096 }, SPECIFICATION);
    });

    it('Z-PCISTB-27: the same strict 64-byte store works on an ISM-type and on a NIC-type function', async () => {
      const machine = await machineOf([
        {
          device: memoryDevice({ name: 'ism' }),
          options: { zpciMode: 'native', relaxed: true, maxstbl: 4096 },
        },
        { device: memoryDevice({ name: 'nic' }), options: { zpciMode: 'native' } },
      ]);
      for (const slot of [0, 1]) new Rig(machine, slot).accepts({ length: 64, offset: 0x40 });
    });

    it('Z-PCISTB-28: a NIC-type function takes 11 bytes at offset 3 in a relaxed group, not in a strict one', async () => {
      (await rig(RELAXED_NATIVE)).accepts({ length: 11, offset: 3 });
      (await rig({ zpciMode: 'native' })).refuses({ length: 11, offset: 3 }, SPECIFICATION);
    });

    it('interceptStrict makes an intercepting mode strict and leaves native and interpreted alone (3.2)', async () => {
      for (const zpciMode of ['emulated', 'vfio', 'native', 'interpreted'] as const) {
        for (const interceptStrict of [true, false]) {
          const one = await rig({ zpciMode, relaxed: true, interceptStrict });
          const intercepted = zpciMode === 'emulated' || zpciMode === 'vfio';
          if (intercepted && interceptStrict) one.refuses({ length: 11, offset: 3 }, SPECIFICATION);
          else one.accepts({ length: 11, offset: 3 });
        }
      }
    });
  });

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

    it('Z-PCISTB-23: R3 odd is legal: the operands name no register pair that could be refused', async () => {
      const one = await rig();
      one.accepts({ r3: 5, r1: 3 } as Partial<PcistbInput>);
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
        const machine = await createMachine({ core, platform, hostMemoryBytes: 0 });
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

  describe('the source', () => {
    it('Z-PCISTB-19: an unreadable source is an addressing exception, after a bad length, and nothing is written', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.refuses({ source: HOST_BYTES }, ADDRESSING);
        one.refuses({ source: 2n ** 64n - 8n }, ADDRESSING);
        one.refuses({ source: HOST_BYTES, length: 4104 }, SPECIFICATION);
      }
      (await rig()).refuses({ source: HOST_BYTES, length: 12 }, SPECIFICATION);
    });

    it('may end with the last byte of memory and not one byte later', async () => {
      const strict = await rig();
      strict.machine.memory.write(HOST_BYTES - 64, SOURCE.subarray(0, 64));
      strict.accepts({ source: HOST_BYTES - 64, length: 64 });
      for (let past = 8; past <= 64; past += 8) {
        strict.refuses({ source: HOST_BYTES - 64 + past, length: 64 }, ADDRESSING);
      }
      const relaxed = await rig(RELAXED_NATIVE);
      relaxed.machine.memory.write(HOST_BYTES - 11, SOURCE.subarray(0, 11));
      relaxed.accepts({ source: HOST_BYTES - 11, length: 11, offset: 3 });
      relaxed.refuses({ source: HOST_BYTES - 10, length: 11, offset: 3 }, ADDRESSING);
    });

    it('is a 64-bit address: 2^32, 2^33 or 2^63 above readable memory is not readable, nor where it wraps', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        for (const source of [2 ** 32 + 0x1000, 2 ** 33, 2n ** 63n, 2n ** 64n - 16n, 2n ** 64n - 8n]) {
          one.refuses({ source }, ADDRESSING);
        }
      }
    });

    it('is nowhere when the machine has no host memory', async () => {
      const machine = await createMachine({ core, platform: 's390x', hostMemoryBytes: 0 });
      const one = new Rig(machine);
      one.refuses({ source: 0 }, ADDRESSING);
      one.accepts();
    });

    it('may cross a 4 KiB border, in both modes (3.1)', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        one.machine.memory.write(PAGE - 8, SOURCE.subarray(0, 128));
        one.accepts({ source: PAGE - 8, length: 128 });
      }
    });

    it('gives the same as bytes and as a guest address, for any legal store', async () => {
      const one = await rig({ ...RELAXED_NATIVE, maxstbl: 4096 });
      const other = await rig({ ...RELAXED_NATIVE, maxstbl: 4096 });
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 0, maxLength: 300 }),
          fc.nat(PAGE - 300),
          fc.nat(HOST_BYTES - 300),
          (data, offset, address) => {
            one.machine.memory.write(address, data);
            const input = { offset, length: data.length };
            expect(one.store({ ...input, source: address })).toEqual(other.store({ ...input, source: data }));
            expect(differs(one.fn.barMemory(0), other.fn.barMemory(0))).toBe(false);
            expect(one.fn.stats).toEqual(other.fn.stats);
          },
        ),
        { numRuns: 300 },
      );
    });

    it('is read when the instruction executes: a later change of memory does not reach the BAR', async () => {
      const one = await rig();
      one.machine.memory.write(0x100, SOURCE.subarray(0, 16));
      one.accepts({ source: 0x100 });
      one.machine.memory.write(0x100, new Uint8Array(16));
      expect(one.fn.barMemory(0).slice(0, 16)).toEqual(SOURCE.slice(0, 16));
      one.refuses({ source: 0x100, length: 12 }, SPECIFICATION);
    });
  });

  describe('the region of an emulated function', () => {
    it('Z-PCISTB-20: a valid maximum of 4 is an operand exception and nothing is written', async () => {
      const one = await rig({}, [{ size: BAR_BYTES, valid: { min: 1, max: 4 } }]);
      one.refuses({}, OPERAND);
      one.refuses({ length: 128 }, OPERAND);
    });

    it('Z-PCISTB-21: an impl maximum of 4 makes two 4-byte calls of each doubleword, low address first', async () => {
      for (const max of [4, 0]) {
        const one = await rig({}, [{ size: BAR_BYTES, impl: { min: 1, max } }]);
        one.accepts({ length: 128, offset: 8 });
        expect(one.fn.stats).toMatchObject({ deviceCalls: 32, tlps: 0 });
        const call = { offset: 8, bytes: 8, valid: { min: 1, max: 8 }, impl: { min: 1, max } };
        expect(dispatchRegion(call)).toEqual({
          result: 'ok',
          calls: [
            { offset: 8, bytes: 4 },
            { offset: 12, bytes: 4 },
          ],
        });
      }
    });

    it('is asked for doublewords: it needs a maximum of 8, or none, and at most a minimum of 8 (8.2)', async () => {
      for (const [min, max, accepted] of [
        [1, 8, true],
        [4, 8, true],
        [8, 8, true],
        [0, 0, true],
        [8, 0, true],
        [1, 1, false],
        [1, 2, false],
        [4, 4, false],
      ] as const) {
        const one = await rig({}, [{ size: 256, valid: { min, max } }]);
        if (accepted) one.accepts({ length: 128 });
        else one.refuses({ length: 128 }, OPERAND);
      }
    });

    it('is walked greedily by a relaxed store: 11 bytes at 3 are 1, 4, 4 and 2 (8.2)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const store = { length: 11, offset: 3 };
      const any = await rig(relaxed, [{ size: 256 }]);
      any.accepts(store);
      expect(any.fn.stats.deviceCalls).toBe(4);
      const bytes = await rig(relaxed, [{ size: 256, impl: { min: 1, max: 1 } }]);
      bytes.accepts(store);
      expect(bytes.fn.stats.deviceCalls).toBe(11);
      (await rig(relaxed, [{ size: 256, valid: { min: 1, max: 4 } }])).accepts(store);
      (await rig(relaxed, [{ size: 256, valid: { min: 1, max: 2 } }])).refuses(store, OPERAND);
      (await rig(relaxed, [{ size: 256, valid: { min: 2, max: 8 } }])).refuses(store, OPERAND);
      (await rig(relaxed, [{ size: 256, valid: { min: 2, max: 8 } }])).accepts({ length: 10, offset: 2 });
    });

    it('refuses the whole block for its last piece, so that nothing is written (2.7 step 9)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const one = await rig(relaxed, [{ size: 256, valid: { min: 4, max: 8 } }]);
      one.accepts({ length: 12, offset: 8 });
      one.refuses({ length: 14, offset: 8 }, OPERAND);
      one.refuses({ length: 13, offset: 8 }, OPERAND);
      one.refuses({ length: 14, offset: 2 }, OPERAND);
    });

    it('gets zero-extended values where it insists on calls larger than a piece (access-paths 4, step 3)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const one = await rig(relaxed, [{ size: 16, impl: { min: 4, max: 8 } }]);
      one.fn.barMemory(0).fill(0xee);
      expect(one.store({ length: 3, offset: 8 })).toEqual(DONE);
      const [a, b, c] = SOURCE;
      expect([...one.fn.barMemory(0).subarray(6)]).toEqual(
        [0xee, 0xee, a, b, c, 0, 0, 0, 0xee, 0xee].slice(0, 10),
      );
      expect(one.fn.stats.deviceCalls).toBe(2);
      expect(one.store({ length: 1, offset: 15 })).toEqual(DONE);
      expect(one.fn.barMemory(0)[15]).toBe(a);
    });

    it('has no say about functions that nobody emulates', async () => {
      for (const zpciMode of ['native', 'interpreted', 'vfio'] as const) {
        const sizes = { min: 1, max: 1 };
        const one = await rig({ zpciMode }, [{ size: 256, valid: sizes, impl: sizes }]);
        one.accepts();
        expect(one.fn.stats.deviceCalls).toBe(0);
      }
    });
  });

  describe('order of checks (2.7)', () => {
    /** A store with everything that can be wrong with it, one field per property. */
    interface Attempt {
      slot: number;
      state: FunctionState;
      handleBits: number;
      problemState: boolean;
      as: number;
      offsetLow: bigint;
      offsetInPage: bigint;
      offsetHigh: bigint;
      length: number;
      sourceHigh: bigint;
      sourceLow: bigint;
    }

    interface Violation {
      readonly step: number;
      readonly name: string;
      readonly answer: ZpciAnswer;
      readonly set: Partial<Attempt>;
    }

    const LEGAL: Attempt = {
      slot: 0,
      state: 'enabled',
      handleBits: 0,
      problemState: false,
      as: 0,
      offsetLow: 0n,
      offsetInPage: 0x100n,
      offsetHigh: 0n,
      length: 16,
      sourceHigh: 0x1000n,
      sourceLow: 0n,
    };

    const COMMON: readonly Violation[] = [
      { step: 1, name: 'problem state', answer: PRIVILEGED, set: { problemState: true } },
      { step: 2, name: 'enable bit clear', answer: NO_FUNCTION, set: { handleBits: ENABLE } },
      { step: 2, name: 'unknown index', answer: NO_FUNCTION, set: { handleBits: 0x0700 } },
      { step: 2, name: 'other instance bits', answer: NO_FUNCTION, set: { handleBits: 0x0100_0000 } },
      { step: 2, name: 'function disabled', answer: NO_FUNCTION, set: { state: 'disabled' } },
      { step: 3, name: 'ERROR', answer: BLOCKED, set: { state: 'error' } },
      { step: 3, name: 'PERMANENT_ERROR', answer: BLOCKED, set: { state: 'permanent-error' } },
      { step: 4, name: 'space 6', answer: BAD_SPACE, set: { as: 6 } },
      { step: 4, name: 'space 14', answer: BAD_SPACE, set: { as: 14 } },
      { step: 4, name: 'space 15', answer: BAD_SPACE, set: { as: 15 } },
      { step: 6, name: 'length 136', answer: SPECIFICATION, set: { length: 136 } },
      { step: 6, name: 'length 4104', answer: SPECIFICATION, set: { length: 4104 } },
      { step: 7, name: 'crosses 4 KiB', answer: SPECIFICATION, set: { offsetInPage: 0xff8n } },
      { step: 9, name: 'BAR not implemented', answer: OPERAND, set: { as: 1 } },
      { step: 9, name: 'outside the BAR', answer: OPERAND, set: { offsetHigh: BigInt(BAR_BYTES) } },
      { step: 9, name: '2^32 outside the BAR', answer: OPERAND, set: { offsetHigh: 1n << 32n } },
      { step: 10, name: 'source behind memory', answer: ADDRESSING, set: { sourceHigh: BigInt(HOST_BYTES) } },
      {
        step: 10,
        name: 'source runs past memory',
        answer: ADDRESSING,
        set: { sourceHigh: BigInt(HOST_BYTES - 8) },
      },
      { step: 10, name: 'source near 2^64', answer: ADDRESSING, set: { sourceHigh: 2n ** 64n - 8n } },
    ];
    const STRICT_ONLY: readonly Violation[] = [
      { step: 5, name: 'offset 4 mod 8', answer: SPECIFICATION, set: { offsetLow: 4n } },
      { step: 5, name: 'offset 1 mod 8', answer: SPECIFICATION, set: { offsetLow: 1n } },
      { step: 6, name: 'length 12', answer: SPECIFICATION, set: { length: 12 } },
      { step: 6, name: 'length 8', answer: SPECIFICATION, set: { length: 8 } },
      { step: 6, name: 'length 0', answer: SPECIFICATION, set: { length: 0 } },
      { step: 8, name: 'source 4 mod 8', answer: SPECIFICATION, set: { sourceLow: 4n } },
    ];
    const RELAXED_ONLY: readonly Violation[] = [
      { step: 6, name: 'length 0 refused', answer: SPECIFICATION, set: { length: 0 } },
      { step: 6, name: 'length 129', answer: SPECIFICATION, set: { length: 129 } },
    ];
    const EMULATED_ONLY: readonly Violation[] = [
      { step: 9, name: 'region takes 4 bytes at most', answer: OPERAND, set: { slot: 1 } },
    ];

    const zero: OptionInput = { relaxedZeroLength: 'specificationPe' };
    const SETUPS: readonly (readonly [string, OptionInput, readonly Violation[]])[] = [
      ['strict and emulated', {}, [...COMMON, ...STRICT_ONLY, ...EMULATED_ONLY]],
      ['strict and native', { zpciMode: 'native' }, [...COMMON, ...STRICT_ONLY]],
      ['strict and vfio', { zpciMode: 'vfio' }, [...COMMON, ...STRICT_ONLY]],
      ['relaxed and native', { ...RELAXED_NATIVE, ...zero }, [...COMMON, ...RELAXED_ONLY]],
      [
        'relaxed and emulated without interceptStrict',
        { relaxed: true, interceptStrict: false, ...zero },
        [...COMMON, ...RELAXED_ONLY, ...EMULATED_ONLY],
      ],
    ];

    async function attempts(options: OptionInput): Promise<(...violations: Violation[]) => ZpciAnswer> {
      const small = { size: BAR_BYTES, valid: { min: 1, max: 4 } };
      const machine = await machineOf([
        { device: memoryDevice(), options },
        { device: memoryDevice({ bars: [small] }), options },
      ]);
      return (...violations) => {
        const a: Attempt = Object.assign({}, LEGAL, ...violations.map(({ set }) => set));
        const one = new Rig(machine, a.slot);
        const { handle } = one.fn;
        one.fn.state = a.state;
        const before = one.fn.stats;
        const answer = one.store({
          fh: (handle ^ a.handleBits) >>> 0,
          as: a.as,
          offset: a.offsetHigh + a.offsetInPage + a.offsetLow,
          length: a.length,
          source: a.sourceHigh + a.sourceLow,
          problemState: a.problemState,
        });
        one.fn.state = 'enabled';
        if (answer.cc !== 0) {
          expect(differs(one.fn.barMemory(0), BEFORE), 'memory changed').toBe(false);
          expect(one.fn.stats).toEqual(before);
        }
        return answer;
      };
    }

    it.each(SETUPS)(
      '%s: each violation alone has its own answer, and none is cc 0',
      async (_, options, list) => {
        const attempt = await attempts(options);
        expect(attempt()).toEqual(DONE);
        for (const violation of list) expect(attempt(violation), violation.name).toEqual(violation.answer);
      },
    );

    it.each(SETUPS)('%s: of every two violations the earlier one wins', async (_, options, list) => {
      const attempt = await attempts(options);
      let pairs = 0;
      for (const first of list) {
        for (const second of list) {
          const shared = Object.keys(first.set).some((key) => key in second.set);
          if (first.step >= second.step || shared) continue; // two values of one field cannot meet
          expect(attempt(second, first), `${first.name}, then ${second.name}`).toEqual(first.answer);
          pairs += 1;
        }
      }
      expect(pairs).toBeGreaterThan(150);
    });

    it.each(SETUPS)('%s: of all violations at once the earliest one wins', async (_, options, list) => {
      const attempt = await attempts(options);
      const steps = [...new Set(list.map(({ step }) => step))].sort((a, b) => a - b);
      for (const step of steps) {
        for (const first of list.filter((violation) => violation.step === step)) {
          const later = list.filter((violation) => violation.step > step);
          expect(attempt(...later, first), first.name).toEqual(first.answer);
        }
      }
    });
  });

  describe('traffic', () => {
    const LARGE: OptionInput = { zpciMode: 'native', relaxed: true, maxstbl: 4096 };

    it('8: an emulated function sees one device call per doubleword and no TLP', async () => {
      const one = await rig();
      one.machine.trace.start();
      one.accepts({ length: 128 });
      expect(one.fn.stats).toMatchObject({ deviceCalls: 16, tlps: 0, wireBytes: 0 });
      expect(one.machine.trace.take()).toEqual([]);
      one.accepts({ length: 24 });
      expect(one.fn.stats.deviceCalls).toBe(19);
    });

    it('8: vfio, native and interpreted functions see TLPs and no device call', async () => {
      for (const zpciMode of ['vfio', 'native', 'interpreted'] as const) {
        const one = await rig({ zpciMode });
        one.machine.trace.start();
        one.accepts({ length: 128 });
        expect(one.fn.stats.deviceCalls).toBe(0);
        expect(one.fn.stats.tlps).toBeGreaterThan(0);
        const trace = one.machine.trace.take();
        expect(trace.length).toBe(one.fn.stats.tlps);
        expect(trace.every(({ tlp }) => tlp.type === 'MWr')).toBe(true);
      }
    });

    it.each([
      [{ vfioGeneration: 3 }, 16, 2],
      [{ vfioGeneration: 2 }, 16, 2],
      [{ vfioGeneration: 1 }, 32, 1],
      [{ vfioWidth: 'preserve' }, 16, 2],
    ] as const)(
      '8.2, 8.4 rows E and F: 128 bytes to a vfio function with %o are %i TLPs of %i DW, ascending',
      async (options, tlps, dwords) => {
        const one = await rig({ zpciMode: 'vfio', ...options });
        one.machine.trace.start();
        one.accepts({ length: 128, offset: 0x1010 });
        const trace = one.machine.trace.take().map(({ tlp, data }) => ({ ...tlp, data }));
        expect(trace.length).toBe(tlps);
        trace.forEach(({ length, address, firstBe, lastBe, data }, n) => {
          expect([length, firstBe, lastBe]).toEqual([dwords, 0xf, dwords === 1 ? 0 : 0xf]);
          expect(Number(address)).toBe(2 ** 40 + 0x1010 + 4 * dwords * n);
          expect(data).toEqual(SOURCE.slice(4 * dwords * n, 4 * dwords * (n + 1)));
        });
      },
    );

    it('8.2: a relaxed store to a vfio function is walked greedily: 11 bytes at 3 are 1, 4, 4 and 2', async () => {
      for (const vfioGeneration of [1, 3] as const) {
        const one = await rig({ zpciMode: 'vfio', relaxed: true, interceptStrict: false, vfioGeneration });
        one.machine.trace.start();
        one.accepts({ length: 11, offset: 3 });
        const trace = one.machine.trace.take();
        expect(trace.map(({ tlp }) => [Number(tlp.address) - 2 ** 40, tlp.length, tlp.firstBe])).toEqual([
          [0, 1, 0b1000],
          [4, 1, 0b1111],
          [8, 1, 0b1111],
          [12, 1, 0b0011],
        ]);
        one.accepts({ length: 16, offset: 8 });
        expect(one.machine.trace.take().length).toBe(vfioGeneration === 1 ? 4 : 2);
      }
    });

    it('L-17, Z-PATH-04: 4096 bytes at 0, native, MPS 256 are 16 TLPs and 4480 bytes on the wire', async () => {
      const one = await rig(LARGE);
      one.machine.trace.start();
      one.accepts({ length: 4096 });
      expect(one.machine.trace.take().map(({ tlp }) => tlp.length)).toEqual(new Array<number>(16).fill(64));
      expect(one.fn.stats).toMatchObject({
        tlps: 16,
        tlpsDown: 16,
        tlpsUp: 0,
        wireBytes: 4480,
        wireBytesDown: 4480,
      });
      expect(one.machine.stats()).toMatchObject({ tlpsByType: { MWr: 16 }, payloadBytesDown: 4096 });
    });

    it('8.4 row C: 4096 bytes at MPS 128, 256, 512 and 4096 are 32, 16, 8 and 1 TLPs', async () => {
      for (const [mps, tlps] of [
        [128, 32],
        [256, 16],
        [512, 8],
        [1024, 4],
        [2048, 2],
        [4096, 1],
      ] as const) {
        const one = await rig({ ...LARGE, mps });
        one.accepts({ length: 4096 });
        expect(one.fn.stats).toMatchObject({ tlps, wireBytes: 4096 + 24 * tlps, storeBlocks: 1 });
      }
    });

    it('8.4: any block is cut at multiples of MPS: its TLPs count floor((o+n-1)/MPS) - floor(o/MPS) + 1', async () => {
      for (const mps of [128, 256, 512, 4096] as const) {
        const one = await rig({ ...LARGE, mps });
        fc.assert(
          fc.property(fc.nat(PAGE - 1), fc.integer({ min: 1, max: PAGE }), (offset, wish) => {
            const length = Math.min(wish, PAGE - offset);
            const before = one.fn.stats.tlps;
            one.fn.barMemory(0).set(BEFORE);
            one.accepts({ offset: 0x3000 + offset, length });
            const expected = Math.floor((offset + length - 1) / mps) - Math.floor(offset / mps) + 1;
            expect(one.fn.stats.tlps - before).toBe(expected);
          }),
          { numRuns: 100 },
        );
      }
    });

    it('Z-PATH-11: relaxed, 11 bytes at offset 3 are one TLP of 4 DW, first byte enables 8, last 3', async () => {
      const one = await rig(RELAXED_NATIVE);
      one.machine.trace.start();
      one.accepts({ length: 11, offset: 3, sourceAddress: 5 });
      const [only, ...more] = one.machine.trace.take();
      expect(more).toEqual([]);
      expect(only).toMatchObject({ direction: 'down', slot: 0 });
      expect(only?.tlp).toMatchObject({
        type: 'MWr',
        headerDw: 4,
        length: 4,
        firstBe: 0b1000,
        lastBe: 0b0011,
        address: one.fn.bars[0]?.address,
        wireBytes: 8 + 16 + 16,
      });
      expect([...(only?.data ?? [])]).toEqual([0, 0, 0, ...SOURCE.subarray(0, 11), 0, 0]);
    });

    it('Z-PCISTB-31: every TLP of a strict store has byte enables F/F and an even Length', async () => {
      for (const mps of [128, 256, 4096] as const) {
        for (const zpciMode of ['native', 'interpreted', 'vfio'] as const) {
          const one = await rig({ zpciMode, maxstbl: 4096, mps });
          one.machine.trace.start();
          for (let length = 16; length <= 4096; length += length < 256 ? 8 : 248) {
            for (const offset of [0, 8, 0x78, 0xf8]) {
              if (offset + length > PAGE) continue;
              one.fn.barMemory(0).set(BEFORE);
              one.accepts({ length, offset });
              const trace = one.machine.trace.take();
              let at = offset;
              for (const { tlp, data } of trace) {
                expect(tlp).toMatchObject({ type: 'MWr', firstBe: 0xf, lastBe: 0xf });
                expect(tlp.length % 2).toBe(0);
                expect(Number(tlp.address)).toBe(2 ** 40 + at);
                expect(data).toEqual(SOURCE.slice(at - offset, at - offset + 4 * tlp.length));
                at += 4 * tlp.length;
              }
              expect(at).toBe(offset + length);
            }
          }
        }
      }
    });

    it('leaves 3 DW headers below 4 GiB', async () => {
      const machine = await machineOf([{ device: memoryDevice(), options: LARGE, addresses: [0xe000_0000] }]);
      const one = new Rig(machine);
      one.accepts({ length: 4096 });
      expect(one.fn.stats).toMatchObject({ tlps: 16, wireBytes: 16 * (8 + 12 + 256) });
    });
  });

  describe('against a model of 2.7 and 3.1', () => {
    const SIZES: readonly (readonly [min: number, max: number])[] = [
      [1, 8],
      [1, 4],
      [4, 8],
      [8, 8],
      [0, 0],
      [2, 4],
    ];
    const IMPLS = [1, 2, 4, 8, 0] as const;
    const MAXSTBLS = [16, 128, 4096, 2048] as const;
    const BAR_SIZES = [0x2000, undefined, 64, undefined, undefined, 0x1000] as const;
    const MODEL_HOST_BYTES = 0x5008;
    const BOTH = [false, true] as const;

    interface Group {
      readonly zpciMode: 'emulated' | 'native' | 'interpreted' | 'vfio';
      readonly relaxed: boolean;
      readonly interceptStrict: boolean;
      readonly relaxedMaximum: 'maxstbl' | 'page';
      readonly relaxedZeroLength: 'noop' | 'specificationPe';
      readonly maxstbl: number;
      readonly valid: readonly [min: number, max: number];
      readonly impl: number;
    }

    /** The 64 combinations of the choices, each with the numbers of round `round`. */
    function groups(round: number): Group[] {
      const list: Group[] = [];
      for (const zpciMode of ['emulated', 'native', 'interpreted', 'vfio'] as const) {
        for (const relaxed of BOTH) {
          for (const interceptStrict of BOTH) {
            for (const relaxedMaximum of ['maxstbl', 'page'] as const) {
              for (const relaxedZeroLength of ['noop', 'specificationPe'] as const) {
                const n = list.length + round;
                list.push({
                  zpciMode,
                  relaxed,
                  interceptStrict,
                  relaxedMaximum,
                  relaxedZeroLength,
                  maxstbl: MAXSTBLS[n % MAXSTBLS.length] as number,
                  valid: SIZES[(n * 5 + round) % SIZES.length] as readonly [number, number],
                  impl: IMPLS[(n + (n >> 3)) % IMPLS.length] as number,
                });
              }
            }
          }
        }
      }
      return list;
    }

    interface Case {
      readonly state: FunctionState;
      readonly handle: 'right' | 'not enabled' | 'unknown';
      readonly problemState: boolean;
      readonly as: number;
      readonly offset: bigint;
      readonly lengthField: number;
      /** Guest address, or with `asBytes` only the address for the alignment rule. */
      readonly source: bigint;
      readonly asBytes: boolean;
    }

    interface Prediction {
      /** Undefined: the sheet does not say (a zero-length store outside the BAR or from outside memory). */
      readonly answer: ZpciAnswer | undefined;
      readonly pieces: readonly number[];
    }

    /** QEMU's walk (8.2): 8 at multiples of 8, 4 at 4, 2 at 2 and 6, else 1; what is left takes the next smaller. */
    function walk(offset: number, length: number): number[] {
      const pieces: number[] = [];
      for (let at = offset; at < offset + length; ) {
        let width = [8, 1, 2, 1, 4, 1, 2, 1][at % 8] as number;
        while (width > offset + length - at) width /= 2;
        pieces.push(width);
        at += width;
      }
      return pieces;
    }

    function predict(group: Group, input: Case): Prediction {
      const refuse = (answer: ZpciAnswer | undefined): Prediction => ({ answer, pieces: [] });
      const { offset, source, state } = input;
      const length = input.lengthField % 0x2000;
      if (input.problemState) return refuse(PRIVILEGED);
      if (input.handle !== 'right') return refuse(NO_FUNCTION);
      if (state === 'reserved' || state === 'standby' || state === 'disabled') return refuse(NO_FUNCTION);
      if (state === 'error' || state === 'permanent-error') return refuse(BLOCKED);
      if (input.as > 5) return refuse(BAD_SPACE);
      const intercepted = group.zpciMode === 'emulated' || group.zpciMode === 'vfio';
      const strict = !group.relaxed || (intercepted && group.interceptStrict);
      const offsetInPage = Number(offset % 4096n);
      if (strict) {
        if (offset % 8n !== 0n) return refuse(SPECIFICATION);
        if (length < 16 || length % 8 !== 0 || length > group.maxstbl) return refuse(SPECIFICATION);
      } else {
        if (length === 0 && group.relaxedZeroLength === 'specificationPe') return refuse(SPECIFICATION);
        if (length > (group.relaxedMaximum === 'page' ? 4096 : group.maxstbl)) return refuse(SPECIFICATION);
      }
      if (offsetInPage + length > 4096) return refuse(SPECIFICATION);
      if (strict && source % 8n !== 0n) return refuse(SPECIFICATION);
      const size = BAR_SIZES[input.as as 0];
      const inside = size !== undefined && offset + BigInt(length) <= BigInt(size);
      const readable = input.asBytes || source + BigInt(length) <= BigInt(MODEL_HOST_BYTES);
      if (length === 0) {
        const plain = inside && offset < BigInt(size) && (input.asBytes || source < BigInt(MODEL_HOST_BYTES));
        return refuse(plain ? DONE : undefined);
      }
      if (!inside) return refuse(OPERAND);
      const pieces = walk(Number(offset), length);
      if (group.zpciMode === 'emulated') {
        const [min, max] = group.valid;
        if (max !== 0 && pieces.some((piece) => piece < min || piece > max)) return refuse(OPERAND);
      }
      return readable ? { answer: DONE, pieces } : refuse(ADDRESSING);
    }

    const near = (...centres: bigint[]): fc.Arbitrary<bigint> =>
      fc
        .tuple(fc.constantFrom(...centres), fc.bigInt(-20n, 20n), fc.constantFrom(1n, 8n))
        .map(([centre, step, unit]) => BigInt.asUintN(64, centre + step * unit));
    const arbitraryOffset = fc.oneof(
      { weight: 4, arbitrary: fc.bigInt(0n, 0x420n).map((n) => n * 8n) },
      { weight: 3, arbitrary: fc.bigInt(0n, 0x2100n) },
      { weight: 4, arbitrary: near(0n, 0x40n, 0xfc0n, 0x1000n, 0x2000n) },
      { weight: 2, arbitrary: near(1n << 32n, (1n << 32n) + 0x100n, (1n << 33n) + 0x800n, 1n << 63n) },
      { weight: 1, arbitrary: near(0n, (1n << 64n) - 0x1000n, (1n << 64n) - 0x100n) },
    );
    const arbitraryLength = fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: 17 }).map((n) => n * 8) },
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 140 }) },
      { weight: 2, arbitrary: fc.constantFrom(2040, 2048, 2056, 4088, 4095, 4096, 4097, 8191) },
      { weight: 1, arbitrary: fc.nat(0x1fff) },
      { weight: 1, arbitrary: fc.tuple(fc.nat(140), fc.nat(0x7ffff)).map(([n, high]) => n + high * 0x2000) },
    );
    const arbitrarySource = fc.oneof(
      { weight: 4, arbitrary: fc.bigInt(0n, 0x9ffn).map((n) => n * 8n) },
      { weight: 2, arbitrary: fc.bigInt(0n, 0x4fffn) },
      { weight: 4, arbitrary: near(BigInt(MODEL_HOST_BYTES), BigInt(MODEL_HOST_BYTES - 128)) },
      { weight: 2, arbitrary: near(1n << 32n, 1n << 63n, (1n << 32n) + 0x1000n, 0n) },
    );
    const arbitraryCase: fc.Arbitrary<Case> = fc.record({
      state: fc.oneof(
        { weight: 8, arbitrary: fc.constant<FunctionState>('enabled') },
        {
          weight: 2,
          arbitrary: fc.constantFrom<FunctionState>(
            'error-ls-open',
            'error',
            'permanent-error',
            'disabled',
            'standby',
            'reserved',
          ),
        },
      ),
      handle: fc.oneof(
        { weight: 15, arbitrary: fc.constant('right' as const) },
        { weight: 1, arbitrary: fc.constantFrom('not enabled' as const, 'unknown' as const) },
      ),
      problemState: fc.integer({ min: 0, max: 15 }).map((n) => n === 15),
      as: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 2, 5) }, { weight: 1, arbitrary: fc.nat(15) }),
      offset: arbitraryOffset,
      lengthField: arbitraryLength,
      source: arbitrarySource,
      asBytes: fc.boolean(),
    });

    it('answers, writes and counts as the model says, in every mode and group, and touches nothing else', async () => {
      const host = pattern(MODEL_HOST_BYTES, 0x41);
      const before = BAR_SIZES.map((size, n) => (size === undefined ? undefined : pattern(size, n)));
      const fill = (fn: PciFunction): void =>
        before.forEach((bytes, n) => {
          if (bytes !== undefined) fn.barMemory(n).set(bytes);
        });
      const rounds = await Promise.all(
        [0, 1, 2, 3, 4, 5].map(async (round) => {
          const list = groups(round);
          const slots = list.map(({ valid: [min, max], impl, ...options }) => ({
            options,
            device: memoryDevice({
              bars: BAR_SIZES.map((size) =>
                size === undefined ? undefined : { size, valid: { min, max }, impl: { min: 1, max: impl } },
              ),
            }),
          }));
          const machine = await createMachine({
            core,
            platform: 's390x',
            hostMemoryBytes: MODEL_HOST_BYTES,
            slots,
          });
          machine.memory.write(0, host);
          machine.functions.forEach(fill);
          return { machine, list };
        }),
      );
      const seen = new Map<string, number>();
      fc.assert(
        fc.property(fc.nat(5), fc.nat(63), arbitraryCase, (round, slot, input) => {
          const { machine, list } = rounds[round] as (typeof rounds)[0];
          const group = list[slot] as Group;
          const fn = machine.functions[slot] as PciFunction;
          const right = fn.handle;
          fn.state = input.state;
          const fh = { right, 'not enabled': right - ENABLE, unknown: (right ^ 0x4000) >>> 0 }[input.handle];
          const length = input.lengthField % 0x2000;
          const stats = fn.stats;
          const total = machine.stats().tlps;
          const answer = machine.cpu.pcistb({
            fh,
            as: input.as,
            offset: input.offset,
            length: input.lengthField,
            source: input.asBytes ? SOURCE : input.source,
            sourceAddress: input.source,
            problemState: input.problemState,
          });
          fn.state = 'enabled';
          const { answer: expected, pieces } = predict(group, input);
          if (expected === undefined) expect([DONE, OPERAND, ADDRESSING]).toContainEqual(answer);
          else expect(answer).toEqual(expected);
          const stored = answer.cc === 0 && length > 0;
          BAR_SIZES.forEach((size, n) => {
            if (size === undefined) return;
            let contents = before[n] as Uint8Array;
            if (stored && n === input.as) {
              contents = contents.slice();
              const from = Number(input.source);
              const data = input.asBytes ? SOURCE.subarray(0, length) : host.subarray(from, from + length);
              contents.set(data, Number(input.offset));
            }
            expect(differs(fn.barMemory(n), contents), `contents of BAR ${n}`).toBe(false);
          });
          const now = fn.stats;
          expect(now.storeBlocks - stats.storeBlocks).toBe(answer.cc === 0 ? 1 : 0);
          const emulated = group.zpciMode === 'emulated';
          const calls = pieces.map((piece) =>
            Math.ceil(piece / Math.min(piece, group.impl === 0 ? 4 : group.impl)),
          );
          const sum = calls.reduce((a, b) => a + b, 0);
          expect(now.deviceCalls - stats.deviceCalls).toBe(emulated ? sum : 0);
          const at = Number(input.offset % 4096n);
          const blocks = stored ? Math.floor((at + length - 1) / 256) - Math.floor(at / 256) + 1 : 0;
          // vfio: one pwrite, so one TLP, for each piece of the walk (8.2).
          const tlps = { emulated: 0, vfio: pieces.length, native: blocks, interpreted: blocks }[
            group.zpciMode
          ];
          expect(now.tlps - stats.tlps).toBe(tlps);
          expect(machine.stats().tlps - total).toBe(now.tlps - stats.tlps);
          if (stored) fill(fn);
          const kind = answer.programInterruption?.name ?? `cc ${answer.cc} status ${answer.status}`;
          seen.set(kind, (seen.get(kind) ?? 0) + 1);
        }),
        { numRuns: 20_000 },
      );
      for (const { machine, list } of rounds) {
        machine.functions.forEach((fn, slot) => {
          before.forEach((bytes, n) => {
            if (bytes !== undefined)
              expect(differs(fn.barMemory(n), bytes), JSON.stringify(list[slot])).toBe(false);
          });
        });
        expect(differs(machine.memory.read(0, MODEL_HOST_BYTES), host), 'host memory').toBe(false);
      }
      // Every answer was met often enough for the comparison to mean something.
      expect([...seen.keys()].sort()).toEqual(
        [
          'addressing',
          'cc 0 status 0',
          'cc 1 status 12',
          'cc 1 status 20',
          'cc 3 status 0',
          'operand',
          'privileged operation',
          'specification',
        ].sort(),
      );
      for (const [kind, count] of seen) expect(count, kind).toBeGreaterThan(100);
    });
  });
});
