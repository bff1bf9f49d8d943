/** One rule for every way into a machine: the same instruction, fence or option means the same through each of them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createMachine, type Machine, memoryDevice, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const BYTES = Uint8Array.from({ length: 256 }, (_, n) => n + 1);

describe.each(BUILDS)('ways into a machine on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  const first = (machine: Machine): PciFunction => machine.functions[0] as PciFunction;

  it('refuses PCISTB on x86, also after a fence has prepared the function', async () => {
    const machine = await createMachine({ core });
    const fn = first(machine);
    const store = (): unknown =>
      machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source: 0 });
    expect(store).toThrow('this machine is x86-64');
    machine.cpu.wcFence(fn);
    expect(store).toThrow('this machine is x86-64');
  });

  it('gives every function an ID of its own', async () => {
    const device = memoryDevice({ bars: [{ size: 16 }] });
    const machine = await createMachine({ core, slots: Array.from({ length: 64 }, () => ({ device })) });
    machine.trace.start();
    for (const fn of machine.functions)
      machine.cpu.read({ path: 'x86-uc', function: fn, bar: 0, offset: 0, length: 4 });
    const completers = machine.trace
      .take()
      .flatMap(({ tlp }) => (tlp.type === 'CplD' ? [tlp.completer] : []));
    expect(new Set(completers).size).toBe(64);
    expect(completers.every((id) => (id & 7) === 0 && id >> 8 >= 1)).toBe(true);
  });

  it.each(['x86-uc', 'vfio-rw-w8', 'vfio-rw-w4'] as const)(
    'closes open write-combining lines before an access by %s',
    async (path) => {
      const machine = await createMachine({ core });
      const fn = first(machine);
      machine.cpu.wcStore({ function: fn, bar: 0, offset: 8, data: BYTES.subarray(0, 4) });
      const { data } = machine.cpu.read({ path, function: fn, bar: 0, offset: 8, length: 4 });
      expect([...data]).toEqual([1, 2, 3, 4]);
    },
  );

  it('sends the chunks of a line in the order of the function that wrote it, whoever fences', async () => {
    const device = memoryDevice();
    const machine = await createMachine({
      core,
      slots: [{ device, options: { wcChunkOrder: 'descending' } }, { device }],
    });
    const [one, other] = machine.functions as [PciFunction, PciFunction];
    machine.cpu.wcStore({ function: one, bar: 0, offset: 0, data: BYTES.subarray(0, 24) });
    machine.cpu.wcStore({ function: other, bar: 0, offset: 0, data: BYTES.subarray(0, 24) });
    machine.trace.start();
    machine.cpu.wcFence(other);
    const offsets = machine.trace.take().map(({ tlp, slot }) => [slot, Number(tlp.address) & 0xfff]);
    expect(offsets).toEqual([
      [0, 16],
      [0, 8],
      [0, 0],
      [1, 0],
      [1, 8],
      [1, 16],
    ]);
  });

  it('fences without a function, and for a function without BARs', async () => {
    const machine = await createMachine({ core, slots: [{ device: memoryDevice({ bars: [] }) }] });
    expect(machine.cpu.wcFence().tlps).toBe(0);
    expect(machine.cpu.wcFence(first(machine)).tlps).toBe(0);
    const none = await createMachine({ core, slots: [] });
    expect(() => none.cpu.wcFence()).toThrow('function');
  });

  it('cuts a short PCISTB at MPS as the sheet counts, by instruction and by path (zpci.md 8.4)', async () => {
    for (const offset of [0xf8, 0xfc, 0xff]) {
      for (const length of [1, 4, 8]) {
        const options = { zpciMode: 'native', relaxed: true, maxstbl: 4096, mps: 256 } as const;
        const machine = await createMachine({
          core,
          platform: 's390x',
          slots: [{ device: memoryDevice(), options }],
        });
        const fn = first(machine);
        const data = BYTES.subarray(0, length);
        machine.cpu.pcistb({ fh: fn.handle, as: 0, offset, length, source: data });
        const expected = Math.floor((offset + length - 1) / 256) - Math.floor(offset / 256) + 1;
        expect(machine.stats().tlps).toBe(expected);
        const { totals } = machine.cpu.write({ path: 'zpci-pcistb', function: fn, bar: 0, offset, data });
        expect(totals.tlps).toBe(expected);
      }
    }
  });

  it('takes dwordRule from slot, machine or mode, in this order', async () => {
    const device = memoryDevice();
    const rule = async (machine: object, slot: object): Promise<string> => {
      const made = await createMachine({
        core,
        platform: 's390x',
        options: machine,
        slots: [{ device, options: slot }],
      });
      return first(made).options.dwordRule;
    };
    expect(await rule({}, {})).toBe('qemu');
    expect(await rule({}, { zpciMode: 'native' })).toBe('page');
    expect(await rule({ dwordRule: 'page' }, {})).toBe('page');
    expect(await rule({ dwordRule: 'page' }, { dwordRule: undefined })).toBe('page');
    expect(await rule({ dwordRule: 'page' }, { dwordRule: 'qemu' })).toBe('qemu');
  });

  it.each([null, 5, 'x', []])('refuses %j for a slot or its options with a typed error', async (value) => {
    const device = memoryDevice();
    await expect(createMachine({ core, slots: [value as never] })).rejects.toMatchObject({
      field: 'slots[0]',
    });
    if (value === null) return;
    const slots = [{ device, options: value as never }];
    await expect(createMachine({ core, slots })).rejects.toMatchObject({ field: 'slots[0].options' });
    await expect(createMachine({ core, options: { dwordRule: 'page' }, slots })).rejects.toMatchObject({
      field: 'slots[0].options',
    });
  });
});
