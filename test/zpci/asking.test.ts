/** A model that is asked about each PCI instruction: what a question, a refusal and a piece of a block leave behind. */
import { describe, expect, it } from 'vitest';
import {
  type Device,
  defineDevice,
  type InstructionAnswer,
  type PciInstruction,
} from '../../src/device/index.js';
import { createMachine, type Machine, type OptionInput, type PciFunction } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

const DONE = { cc: 0, status: 0, programInterruption: null };
const OPERAND = { programInterruption: 'operand' } as const;
const BYTES = Uint8Array.from({ length: 32 }, (_, n) => n + 1);

describe.each(BUILDS)('a model that is asked on the %s build', (build) => {
  const core = useBuild(build);

  async function make(
    options: OptionInput,
    isMemory: boolean,
    answer: (instruction: PciInstruction) => InstructionAnswer = () => true,
  ): Promise<{ machine: Machine; fn: PciFunction; asked: string[]; writes: string[] }> {
    const asked: string[] = [];
    const writes: string[] = [];
    const common = {
      name: 'listener',
      vendorId: 1,
      deviceId: 2,
      acceptInstruction(instruction: PciInstruction) {
        asked.push(`${instruction.op} ${instruction.offset} ${instruction.length}`);
        return answer(instruction);
      },
    };
    const device = (
      isMemory
        ? defineDevice({ ...common, bars: [{ size: 0x1000, memory: true }] })
        : defineDevice({
            ...common,
            bars: [{ size: 0x1000, callback: true }],
            read: () => 0,
            write({ offset }, bytes) {
              writes.push(`${offset}: ${bytes.join(' ')}`);
              if (offset === 0x80) throw new Error('no');
            },
          })
    ) as Device;
    const machine = await createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 4096,
      slots: [{ device, options }],
    });
    return { machine, fn: machine.functions[0] as PciFunction, asked, writes };
  }

  const at = (fn: PciFunction, offset: number, length: number) => ({ fh: fn.handle, as: 0, offset, length });

  it.each(['native', 'emulated'] as const)(
    'a refused PCISTG leaves nothing to the instruction behind it (%s)',
    async (zpciMode) => {
      const { machine, fn, asked, writes } = await make({ zpciMode }, false, ({ op }) =>
        op === 'pcistg' ? OPERAND : true,
      );
      const store = { ...at(fn, 0x40, 8), data: 0x1122_3344 };
      const block = { ...at(fn, 0x10, 16), source: BYTES.subarray(0, 16) };
      expect(machine.cpu.pcistg(store)).toMatchObject({ programInterruption: { name: 'operand' } });
      expect(machine.cpu.pcistb(block)).toEqual(DONE);
      expect(asked).toEqual(['pcistg 64 8', 'pcistb 16 16']);
      expect(writes.join(' ')).toBe(
        zpciMode === 'native'
          ? '16: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16'
          : '16: 1 2 3 4 5 6 7 8 24: 9 10 11 12 13 14 15 16',
      );
      expect(machine.stats(fn)).toMatchObject({ stores: 0, storeBlocks: 1 });
    },
  );

  it('each PCISTB is asked for, also the second of two', async () => {
    const { machine, fn, asked } = await make({ zpciMode: 'native' }, true);
    for (let n = 0; n < 3; n++)
      expect(machine.cpu.pcistb({ ...at(fn, 32 * n, 32), source: BYTES })).toEqual(DONE);
    expect(asked).toEqual(['pcistb 0 32', 'pcistb 32 32', 'pcistb 64 32']);
  });

  it('a PCISTB behind one that was refused before the question stores its own bytes', async () => {
    const { machine, fn, asked } = await make({ zpciMode: 'native' }, true);
    const other = new Uint8Array(32).fill(0xee);
    expect(machine.cpu.pcistb({ ...at(fn, 0, 32), source: other, as: 7 })).toMatchObject({ status: 20 });
    expect(machine.cpu.pcistb({ ...at(fn, 0, 32), source: BYTES })).toEqual(DONE);
    expect(fn.barMemory(0).subarray(0, 32)).toEqual(BYTES);
    expect(asked).toEqual(['pcistb 0 32']);
  });

  it('through vfio a piece of a block that is refused is lost, and the others arrive', async () => {
    const { machine, fn, asked } = await make(
      { zpciMode: 'vfio', vfioGeneration: 1, mio: false },
      true,
      ({ offset }) => (Number(offset) === 4 ? OPERAND : true),
    );
    expect(machine.cpu.pcistb({ ...at(fn, 0, 16), source: BYTES.subarray(0, 16) })).toEqual(DONE);
    expect(asked).toEqual(['pcistg 0 4', 'pcistg 4 4', 'pcistg 8 4', 'pcistg 12 4']);
    expect([...fn.barMemory(0).subarray(0, 16)]).toEqual([1, 2, 3, 4, 0, 0, 0, 0, ...BYTES.subarray(8, 16)]);
    expect(machine.stats(fn)).toMatchObject({ storeBlocks: 1, policyViolations: 1, tlps: 3 });
  });

  it('vfio cuts a PCISTG that is not naturally aligned', async () => {
    const { machine, fn, asked } = await make({ zpciMode: 'vfio', mio: false }, true);
    expect(machine.cpu.pcistg({ ...at(fn, 2, 4), data: 0x0102_0304 })).toEqual(DONE);
    expect(machine.cpu.pcilg(at(fn, 2, 4)).data).toBe(0x0102_0304);
    expect(asked).toEqual(['pcistg 2 2', 'pcistg 4 2', 'pcilg 2 2', 'pcilg 4 2']);
  });

  it('a block that an emulator hands to a model counts once, and not when a piece of it fails', async () => {
    const { machine, fn, writes } = await make({ zpciMode: 'emulated' }, false);
    expect(machine.cpu.pcistb({ ...at(fn, 0, 16), source: BYTES.subarray(0, 16) })).toEqual(DONE);
    expect(machine.stats(fn)).toMatchObject({ storeBlocks: 1, deviceCalls: 2 });
    expect(machine.cpu.pcistb({ ...at(fn, 0x78, 24), source: BYTES.subarray(0, 24) })).toMatchObject({
      programInterruption: { name: 'operand' },
    });
    expect(writes.map((line) => line.split(':')[0])).toEqual(['0', '8', '120', '128']);
    expect(machine.stats(fn)).toMatchObject({ storeBlocks: 1, deviceCalls: 4 });
  });

  it('a copy ends at the instruction whose device call fails', async () => {
    const { machine, fn, writes } = await make({ zpciMode: 'emulated' }, false);
    const input = { path: 'zpci-emulated', function: fn, bar: 0, offset: 0 } as const;
    const { fault } = machine.cpu.write({ ...input, data: new Uint8Array(384) });
    expect(fault).toMatchObject({ kind: 'zpci', offset: 128 });
    expect(fault?.answer).toMatchObject({ programInterruption: { name: 'operand' } });
    expect(writes.at(-1)?.split(':')[0]).toBe('128');
    expect(machine.stats(fn).deviceCalls).toBe(17);
  });
});
