/** PCI LOAD and PCI STORE: order of checks, byte order, what each mode sends, configuration space, models that refuse. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, defineDevice, type PciInstruction } from '../../src/device/index.js';
import {
  createMachine,
  type Machine,
  memoryDevice,
  type PciFunction,
  type SlotConfig,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { ismLike } from '../support/models.js';

/** The path along which Linux loads from a function of each mode. */
const PATH_OF = {
  emulated: 'zpci-emulated',
  vfio: 'zpci-vfio-w8',
  native: 'zpci-pcistg8',
  interpreted: 'zpci-interpreted',
} as const;
const MODES = ['emulated', 'vfio', 'native', 'interpreted'] as const;
const R1 = 0x1122_3344_5566_7788n;

function errorField(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return (error as { field?: string }).field;
  }
  return 'nothing thrown';
}

describe.each(BUILDS)('PCILG and PCISTG on the %s build', (build) => {
  let core: WebAssembly.Module;
  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
  });

  async function make(
    options: SlotConfig['options'] = {},
    device: SlotConfig['device'] = memoryDevice({ bars: [{ size: 0x4000 }] }),
  ): Promise<[Machine, PciFunction]> {
    const made = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: 4096,
      slots: [{ device, options: { zpciMode: 'native', ...options } }],
    });
    return [made, made.functions[0] as PciFunction];
  }
  const at = (fn: PciFunction, offset: number, length: number, as = 0) => ({
    fh: fn.handle,
    as,
    offset,
    length,
  });

  it('Z-LS-01, Z-LS-02, Z-LS-08: problem state first, then the odd register, the handle, the state, the space', async () => {
    const [made, fn] = await make();
    const bad = { fh: 5, as: 7, offset: 7, length: 15, r2: 3, problemState: true };
    const name = (answer: { programInterruption: { name: string } | null }) =>
      answer.programInterruption?.name;
    for (const run of [
      made.cpu.pcilg.bind(made.cpu),
      (input: typeof bad) => made.cpu.pcistg({ ...input, data: 0 }),
    ]) {
      expect(name(run(bad))).toBe('privileged operation');
      expect(name(run({ ...bad, problemState: false }))).toBe('specification');
      expect(run({ ...bad, problemState: false, r2: 2 })).toMatchObject({ cc: 3 });
      fn.state = 'error';
      const known = { ...bad, problemState: false, r2: 2, fh: fn.handle };
      expect(run(known)).toMatchObject({ cc: 1, status: 12 });
      fn.state = 'enabled';
      expect(run(known)).toMatchObject({ cc: 1, status: 20 });
      expect(name(run({ ...known, as: 0 }))).toBe('operand');
      fn.state = 'disabled';
      expect(run({ ...known, fh: fn.handle })).toMatchObject({ cc: 3 });
      fn.state = 'enabled';
    }
    expect(made.stats(fn)).toMatchObject({ loads: 0, stores: 0, tlps: 0 });
  });

  it('Z-LS-03: spaces 6 to 14 are no spaces, 15 is configuration space', async () => {
    const [made, fn] = await make();
    for (let as = 6; as < 15; as++)
      expect(made.cpu.pcilg(at(fn, 0, 4, as))).toMatchObject({ cc: 1, status: 20, data: undefined });
    expect(made.cpu.pcilg(at(fn, 0, 2, 15))).toMatchObject({ cc: 0, data: 0xf41a });
  });

  it('Z-LS-04, Z-LS-05, Z-LS-06: lengths, and what they may cross under each rule', async () => {
    for (const dwordRule of ['qemu', 'page'] as const) {
      const [made, fn] = await make({ dwordRule });
      for (let length = 0; length < 16; length++)
        for (const offset of [0, 1, 2, 4, 7, 0xff8, 0xffd, 0xfff]) {
          const inside =
            dwordRule === 'qemu' ? (offset & 7) + length <= 8 : (offset & 0xfff) + length <= 4096;
          const good = [1, 2, 4, 8].includes(length) && inside;
          expect(made.cpu.pcilg(at(fn, offset, length)).cc).toBe(good ? 0 : null);
          const stored = made.cpu.pcistg({ ...at(fn, offset, length), data: R1 });
          expect(stored.programInterruption?.name).toBe(good ? undefined : 'operand');
        }
      // Only four bits of the length count.
      expect(made.cpu.pcilg(at(fn, 0, 0x14)).cc).toBe(0);
    }
  });

  it.each(MODES)('Z-LS-07: configuration space takes 1, 2 and 4 bytes of one DW (%s)', async (zpciMode) => {
    const [made, fn] = await make({ zpciMode });
    for (let length = 0; length < 16; length++)
      for (let offset = 0; offset < 4; offset++) {
        const good = [1, 2, 4].includes(length) && offset + length <= 4;
        expect(made.cpu.pcilg(at(fn, 0x2c + offset, length, 15)).cc).toBe(good ? 0 : null);
      }
    expect(made.cpu.pcilg(at(fn, 0x2c, 4, 15)).data).toBe(0xf41a_f110);
    expect(made.cpu.pcilg(at(fn, 0x1000, 4, 15))).toMatchObject({ cc: 0, data: 0xffff_ffff });
    expect(made.cpu.pcilg({ ...at(fn, 0, 4, 15), offset: 2n ** 60n })).toMatchObject({
      cc: 0,
      data: 0xffff_ffff,
    });
    expect(made.cpu.pcistg({ ...at(fn, 0x1000, 4, 15), data: 1 }).cc).toBe(0);
    expect(made.cpu.pcilg(at(fn, 0, 4, 15)).data).toBe(0xf41a_f110);
  });

  it.each(MODES)('Z-LS-09, Z-LS-10, Z-LS-12: the byte stream never changes order (%s)', async (zpciMode) => {
    const [made, fn] = await make({ zpciMode });
    const memory = fn.barMemory(0);
    memory.set([0x78, 0x56, 0x34, 0x12], 8); // a little-endian register that holds 0x12345678
    expect(made.cpu.pcilg(at(fn, 8, 4)).data).toBe(0x7856_3412);
    expect(made.cpu.pcistg({ ...at(fn, 6, 2), data: R1 }).cc).toBe(0);
    expect([...memory.subarray(5, 9)]).toEqual([0, 0x77, 0x88, 0x78]);
    made.cpu.pcistg({ ...at(fn, 0x10, 8), data: R1 });
    expect([...memory.subarray(0x10, 0x18)]).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    expect(made.cpu.pcilg(at(fn, 0x10, 8)).data).toBe(R1);
    // Linux writes 0x0006 to Command: shifted and swapped, so that the low byte comes first.
    expect(made.cpu.pcistg({ ...at(fn, 4, 2, 15), data: 0x0600 }).cc).toBe(0);
    expect(fn.config.read(4, 2)).toBe(6);
    made.cpu.pcistg({ ...at(fn, 0x3c, 1, 15), data: 0xab });
    expect([fn.config.read(0x3c, 1), made.cpu.pcilg(at(fn, 0x3c, 1, 15)).data]).toEqual([0xab, 0xab]);
  });

  it('Z-LS-11: PCISTG of 8 bytes and PCISTB of the same bytes leave the same memory', async () => {
    for (const zpciMode of MODES) {
      const [made, fn] = await make({ zpciMode });
      const source = Uint8Array.from({ length: 16 }, (_, n) => 0x11 * (n + 1));
      made.cpu.pcistg({ ...at(fn, 0x20, 8), data: new DataView(source.buffer).getBigUint64(0) });
      made.cpu.pcistb({ ...at(fn, 0x40, 16), source });
      expect(fn.barMemory(0).subarray(0x20, 0x28)).toEqual(fn.barMemory(0).subarray(0x40, 0x48));
    }
  });

  it.each(MODES)(
    'Z-LS-13: an unmapped BAR and an end outside are operand exceptions (%s)',
    async (zpciMode) => {
      const [made, fn] = await make({ zpciMode });
      for (const [as, offset] of [
        [3, 0],
        [0, 0x4000],
        [0, 2 ** 35],
      ] as const) {
        const answer = made.cpu.pcilg(at(fn, offset, 8, as));
        expect(answer).toMatchObject({
          cc: null,
          programInterruption: { name: 'operand', code: 0x15, ilc: 4 },
        });
      }
      expect(made.stats(fn)).toMatchObject({ loads: 0, tlps: 0, deviceCalls: 0 });
    },
  );

  it('Z-LS-15: with qemuQuirks a length of 3 moves one byte, without it is refused', async () => {
    const [made, fn] = await make({ zpciMode: 'emulated', qemuQuirks: true });
    expect(made.cpu.pcistg({ ...at(fn, 0, 3), data: R1 }).cc).toBe(0);
    expect([...fn.barMemory(0).subarray(0, 4)]).toEqual([0x88, 0, 0, 0]);
    expect(made.cpu.pcilg(at(fn, 0, 3)).data).toBe(0x88);
    expect(made.cpu.pcistg({ ...at(fn, 2, 6), data: R1 }).cc).toBe(0);
    expect([...fn.barMemory(0).subarray(0, 6)]).toEqual([0x88, 0, 0x77, 0x88, 0, 0]);
    const [plain, other] = await make({ zpciMode: 'emulated' });
    expect(plain.cpu.pcistg({ ...at(other, 0, 3), data: R1 }).programInterruption?.name).toBe('operand');
  });

  it.each([
    ['native', 3, ['MWr 8', 'MRd 8', 'CplD 8']],
    ['interpreted', 3, ['MWr 8', 'MRd 8', 'CplD 8']],
    ['vfio', 3, ['MWr 8', 'MRd 8', 'CplD 8']],
    ['vfio', 1, ['MWr 4', 'MWr 4', 'MRd 4', 'MRd 4', 'CplD 4', 'CplD 4']],
    ['emulated', 3, []],
  ] as const)('a %s function of generation %i sees %o', async (zpciMode, vfioGeneration, expected) => {
    const [made, fn] = await make({ zpciMode, vfioGeneration });
    made.trace.start();
    made.cpu.pcistg({ ...at(fn, 8, 8), data: R1 });
    expect(made.cpu.pcilg(at(fn, 8, 8)).data).toBe(R1);
    expect(made.trace.take().map(({ tlp }) => `${tlp.type} ${4 * tlp.length}`)).toEqual(expected);
    expect(made.stats(fn)).toMatchObject({
      loads: 1,
      stores: 1,
      deviceCalls: zpciMode === 'emulated' ? 2 : 0,
    });
  });

  it('configuration space is reached by TLPs, except that an emulator answers itself', async () => {
    for (const zpciMode of MODES) {
      const [made, fn] = await make({ zpciMode });
      made.trace.start();
      expect(made.cpu.pcilg(at(fn, 2, 2, 15)).data).toBe(0xf110);
      made.cpu.pcistg({ ...at(fn, 0x3c, 1, 15), data: 9 });
      const types = made.trace.take().map(({ tlp }) => tlp.type);
      expect(types).toEqual(zpciMode === 'emulated' ? [] : ['CfgRd0', 'CplD', 'CfgWr0', 'Cpl']);
      expect([fn.config.read(0x3c, 1), made.stats(fn).loads, made.stats(fn).stores]).toEqual([9, 1, 1]);
    }
  });

  it('Z-LS-14: a load of Linux that fails is all ones of its width', async () => {
    for (const zpciMode of MODES) {
      const [made, fn] = await make({ zpciMode });
      fn.barMemory(0).fill(0x11);
      const path = PATH_OF[zpciMode];
      const load = (length: number) =>
        made.cpu.read({ path, function: fn, bar: 0, offset: 8, length, block: false });
      expect(load(4).data).toEqual(new Uint8Array(4).fill(0x11));
      fn.state = 'error';
      for (const length of [1, 2, 4, 8]) {
        const { data, fault } = load(length);
        expect(fault).toMatchObject({ errno: 'EIO', answer: { cc: 1, status: 12 } });
        expect(data).toEqual(new Uint8Array(length).fill(0xff));
      }
    }
  });

  it('reads one byte behind the space of an emulated function as 32 ones, as QEMU gives it', async () => {
    const [made, fn] = await make({ zpciMode: 'emulated' });
    expect(made.cpu.pcilg(at(fn, 0x1000, 1, 15)).data).toBe(0xffff_ffff);
    expect(made.cpu.pcilg(at(fn, 0x1000, 2, 15)).data).toBe(0xffff);
    const [native, other] = await make();
    expect(native.cpu.pcilg(at(other, 0x1000, 1, 15)).data).toBe(0xff);
  });

  it.each(MODES)('any store is read back, and changes nothing else (%s)', async (zpciMode) => {
    const [made, fn] = await make({ zpciMode, vfioGeneration: 1 });
    const memory = fn.barMemory(0);
    const where = fc.tuple(fc.nat(0x3ff), fc.constantFrom(0, 1, 2, 3)).chain(([dw, log]) => {
      return fc.record({ offset: fc.constant(8 * dw + (8 - 2 ** log)), length: fc.constant(2 ** log) });
    });
    fc.assert(
      fc.property(where, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), ({ offset, length }, data) => {
        const before = memory.slice();
        expect(made.cpu.pcistg({ ...at(fn, offset, length), data }).cc).toBe(0);
        const kept = data & (2n ** BigInt(8 * length) - 1n);
        expect(BigInt(made.cpu.pcilg(at(fn, offset, length)).data ?? -1)).toBe(kept);
        for (let n = 0; n < length; n++)
          before[offset + n] = Number((kept >> BigInt(8 * (length - 1 - n))) & 0xffn);
        expect(Buffer.compare(memory, before)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  describe('a model', () => {
    function recorder(answer: (instruction: PciInstruction) => boolean = () => true) {
      const seen: string[] = [];
      const device = defineDevice({
        name: 'recorder',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 0x1000, callback: true, valid: { min: 4, max: 8 } }],
        read: ({ offset }, length) => {
          seen.push(`read ${offset} ${length}`);
          if (offset === 0x40) throw new Error('no');
          return Uint8Array.from({ length }, (_, n) => offset + n);
        },
        write: ({ offset }, bytes) => {
          seen.push(`write ${offset} ${bytes.join(' ')}`);
          if (offset === 0x40) throw new Error('no');
        },
        acceptInstruction: (instruction) => {
          seen.push(`${instruction.op} ${instruction.as} ${instruction.offset} ${instruction.length}`);
          return answer(instruction) || { programInterruption: 'operand' };
        },
      }) as Device;
      return { device, seen };
    }

    it.each([
      ['native', 3, ['pcistg 0 8 8', 'write 8 17 34 51 68 85 102 119 136', 'pcilg 0 16 8', 'read 16 8']],
      ['emulated', 3, ['pcistg 0 8 8', 'write 8 17 34 51 68 85 102 119 136', 'pcilg 0 16 8', 'read 16 8']],
      [
        'vfio',
        1,
        [
          'pcistgi 0 8 4',
          'write 8 17 34 51 68',
          'pcistgi 0 12 4',
          'write 12 85 102 119 136',
          'pcilgi 0 16 4',
          'read 16 4',
          'pcilgi 0 20 4',
          'read 20 4',
        ],
      ],
    ] as const)(
      'is asked and told in order (%s, generation %i)',
      async (zpciMode, vfioGeneration, expected) => {
        const { device, seen } = recorder();
        const [made, fn] = await make({ zpciMode, vfioGeneration }, device);
        made.cpu.pcistg({ ...at(fn, 8, 8), data: R1 });
        expect(made.cpu.pcilg(at(fn, 16, 8)).data).toBe(0x1011_1213_1415_1617n);
        expect(seen).toEqual(expected);
        expect(fn.instance?.errors).toEqual([]);
      },
    );

    it('refuses: natively and emulated the instruction ends, through vfio the guest is not told', async () => {
      for (const zpciMode of MODES) {
        const { device, seen } = recorder(({ op }) => op === 'pcilg');
        const [made, fn] = await make({ zpciMode }, device);
        const stored = made.cpu.pcistg({ ...at(fn, 8, 8), data: R1 });
        expect(stored).toMatchObject(
          zpciMode === 'vfio' ? { cc: 0 } : { programInterruption: { name: 'operand' } },
        );
        expect(seen.some((line) => line.startsWith('write'))).toBe(false);
        const { device: deaf } = recorder(() => false);
        const [other, mute] = await make({ zpciMode }, deaf);
        const read = other.cpu.pcilg(at(mute, 8, 8));
        expect(read.data).toBe(zpciMode === 'vfio' ? 2n ** 64n - 1n : undefined);
      }
    });

    it('that fails is an operand exception when an emulator calls it, and ones natively', async () => {
      for (const zpciMode of ['emulated', 'native'] as const) {
        const { device } = recorder();
        const [made, fn] = await make({ zpciMode }, device);
        const emulated = zpciMode === 'emulated';
        const refused = { cc: null, programInterruption: { name: 'operand' } };
        expect(made.cpu.pcilg(at(fn, 0x40, 8))).toMatchObject(
          emulated ? refused : { cc: 0, data: 2n ** 64n - 1n },
        );
        expect(made.cpu.pcistg({ ...at(fn, 0x40, 8), data: 1 })).toMatchObject(
          emulated ? refused : { cc: 0 },
        );
        // A region that takes 4 to 8 bytes: only an emulator has such rules.
        expect(made.cpu.pcilg(at(fn, 8, 1))).toMatchObject(emulated ? refused : { cc: 0, data: 8 });
        expect(made.cpu.pcilg(at(fn, 8, 4)).data).toBe(0x0809_0a0b);
      }
    });

    it('ISM-INS-01, ISM-INS-04: ISM takes PCILG everywhere and PCISTG in configuration space', async () => {
      const [made, fn] = await make({ maxstbl: 4096, relaxed: true }, ismLike());
      expect(made.cpu.pcistg({ ...at(fn, 0, 8), data: R1 })).toMatchObject({
        cc: null,
        programInterruption: { name: 'operand' },
      });
      expect(made.cpu.pcilg(at(fn, 0, 8)).data).toBe(0);
      expect(made.cpu.pcistg({ ...at(fn, 0x3c, 1, 15), data: 5 }).cc).toBe(0);
      expect(made.cpu.pcilg(at(fn, 0x3c, 1, 15)).data).toBe(5);
    });
  });

  it.each<[string, object, string]>([
    ['a handle of 33 bits', { fh: 2 ** 32 }, 'fh'],
    ['a space above 15', { as: 16 }, 'as'],
    ['no offset', { offset: undefined }, 'offset'],
    ['a length that is no integer', { length: 1.5 }, 'length'],
    ['register 16', { r2: 16 }, 'r2'],
    ['a state that is no boolean', { problemState: 1 }, 'problemState'],
  ])('refuses %s', async (_what, wrong, field) => {
    const [made, fn] = await make();
    const input = { ...at(fn, 0, 8), ...wrong };
    expect(errorField(() => made.cpu.pcilg(input))).toBe(field);
    expect(errorField(() => made.cpu.pcistg({ ...input, data: 0 }))).toBe(field);
  });

  it('refuses data of more than 64 bits, and other platforms', async () => {
    const [made, fn] = await make();
    expect(errorField(() => made.cpu.pcistg({ ...at(fn, 0, 8), data: 2n ** 64n }))).toBe('data');
    const x86 = await createMachine({ core });
    expect(errorField(() => x86.cpu.pcilg({ fh: 1, as: 0, offset: 0, length: 4 }))).toBe('platform');
  });
});
