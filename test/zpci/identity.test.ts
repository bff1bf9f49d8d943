/** What firmware says of a function (`slots[].zpci`): its bounds, its defaults, and where CLP shows it (zpci.md 4.4). */
import { describe, expect, it } from 'vitest';
import { createMachine, type Machine, memoryDevice, type SlotConfig } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { queryFunction } from './machine-support.js';

describe.each(BUILDS)('the identity of a function on the %s build', (build) => {
  const core = useBuild(build);
  const device = memoryDevice({ bars: [{ size: 0x1000 }] });
  const make = (zpci: SlotConfig['zpci']): Promise<Machine> =>
    createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x1_0000,
      slots: [{ device, ...(zpci === undefined ? {} : { zpci }) }],
    });
  const query = (machine: Machine): DataView =>
    queryFunction(machine, machine.functions[0]?.handle ?? 0).data;

  it('stands in query function, at its largest too', async () => {
    const utilityString = Uint8Array.of(1, 2, 3);
    const given = { fid: 0xffff_ffff, uid: 0xffff_ffff, pchid: 0xffff, vfn: 0xffff, port: 15, tid: 0xffff };
    const machine = await make({ ...given, path: Uint8Array.of(9, 8, 7, 6), utilityString });
    utilityString.fill(0xee); // of the caller, not of the machine
    const data = query(machine);
    expect([20, 124].map((at) => data.getUint32(at))).toEqual([0xffff_ffff, 0xffff_ffff]);
    expect([30, 16, 60, 86].map((at) => data.getUint16(at))).toEqual([0xffff, 0xffff, 15, 0xffff]);
    expect(data.getUint32(56)).toBe(0x0908_0706);
    expect(data.getUint32(128)).toBe(0x0102_0300);
  });

  it('has IDs of its own where none is given', async () => {
    const data = query(await make(undefined));
    expect([20, 124].map((at) => data.getUint32(at))).toEqual([0x10, 1]);
  });

  it.each([
    ['fid', 2 ** 32],
    ['uid', -1],
    ['pchid', 0x1_0000],
    ['vfn', 0x1_0000],
    ['port', 16],
    ['tid', 0x1_0000],
    ['path', new Uint8Array(5)],
    ['utilityString', new Uint8Array(65)],
    ['utilityString', 'a'.repeat(65)],
    ['utilityString', '\u00e9'],
    ['physicalFunction', 1],
    ['other', 1],
  ])('refuses %s %o', async (field, value) => {
    const wrong = { [field]: value } as SlotConfig['zpci'];
    await expect(make(wrong)).rejects.toMatchObject({ name: 'ZtlpError', field: `slots[0].zpci.${field}` });
  });
});
