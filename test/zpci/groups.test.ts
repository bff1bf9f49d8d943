/** The function groups of a machine: which functions share one, and what query group tells of it (zpci.md 3.2, 4.5). */
import { describe, expect, it } from 'vitest';
import { createMachine, type Machine, memoryDevice, type OptionInput } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { clp, queryFunction } from './machine-support.js';

describe.each(BUILDS)('function groups on the %s build', (build) => {
  const core = useBuild(build);
  const make = (options: readonly OptionInput[]): Promise<Machine> =>
    createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x1_0000,
      slots: options.map((own) => ({ device: memoryDevice({ bars: [{ size: 0x1000 }] }), options: own })),
    });
  const groupsOf = (machine: Machine): number[] =>
    machine.functions.map(({ handle }) => queryFunction(machine, handle).data.getUint8(19));
  const group = (machine: Machine, id: number): { readonly code: number; readonly data: DataView } =>
    clp(machine, 4, (request) => request.setUint8(19, id), 64);

  it('options of the machine are group 0xff, each other set has a group from 0xf0 on, and keeps it', async () => {
    const machine = await make([
      {},
      { maxstbl: 256 },
      { relaxed: true },
      { maxstbl: 256 },
      { zpciMode: 'vfio' },
    ]);
    for (let n = 0; n < 3; n++) {
      expect(groupsOf(machine)).toEqual([0xff, 0xf0, 0xf1, 0xf0, 0xff]);
      expect([0xff, 0xf0, 0xf1].map((id) => group(machine, id).data.getUint16(20))).toEqual([128, 256, 128]);
      expect([0xff, 0xf0, 0xf1].map((id) => group(machine, id).data.getUint8(19))).toEqual([1, 1, 9]);
      expect(group(machine, 0xf2).code).toBe(0x10b);
    }
  });

  it('functions that differ in what a group tells, whichever field it is, share none', async () => {
    const different: OptionInput[] = [{ maxstbl: 136 }, { relaxed: true }, { rtr: true }, { dtsm: 0x20 }];
    for (const own of different) {
      const machine = await make([{}, own]);
      const [first, second] = groupsOf(machine);
      expect([first, second]).toEqual([0xff, 0xf0]);
      const fields = (id: number) => {
        const { data } = group(machine, id);
        return [data.getUint8(19), data.getUint16(20), data.getUint8(24)];
      };
      expect(fields(0xff)).toEqual([1, 128, 0x40]);
      expect(fields(0xf0)).not.toEqual(fields(0xff));
    }
  });
});
