/** Calls of a machine with what a caller without TypeScript may give, and from where a model must not call. */
import { describe, expect, it } from 'vitest';
import { type Device, defineDevice } from '../../src/device/index.js';
import { createMachine, type Machine, type PciFunction } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

describe.each(BUILDS)('hostile calls on the %s build', (build) => {
  const core = useBuild(build);

  it('each is a typed error, and nothing is done', async () => {
    const machine = await createMachine({ core: core(), platform: 's390x', hostMemoryBytes: 0x1_0000 });
    const fn = machine.functions[0] as PciFunction;
    const { cpu } = machine;
    const refused = (call: () => unknown, field: string) =>
      expect(call, field).toThrow(expect.objectContaining({ name: 'ZtlpError', field }));
    const any = cpu as unknown as Record<string, (...input: unknown[]) => unknown>;
    for (const name of [
      'pcilg',
      'pcistg',
      'pcistb',
      'rpcit',
      'clp',
      'clpImmediate',
      'mpcifc',
      'stpcifc',
      'sic',
    ])
      refused(() => any[name]?.(), 'input');
    const at = { fh: fn.handle, as: 0, offset: 0, length: 16, source: new Uint8Array(16) };
    expect(cpu.pcistb(at).cc).toBe(0);
    refused(() => cpu.pcistb({ ...at, r3: 99 }), 'r3');
    refused(() => any.pcistb?.({ ...at, problemState: 1 }), 'problemState');
    refused(() => any.sic?.({ operation: 0, isc: 0, problemState: 'x' }), 'problemState');
    refused(() => any.sclp?.('remove', fn.fid), 'command');
    refused(() => any.sclp?.('configure', 'x'), 'fid');
    const loose = machine as unknown as Record<string, (...input: unknown[]) => unknown>;
    refused(() => loose.unplug?.(fn, null), 'options');
    refused(() => loose.unplug?.(fn, { surprise: 'no' }), 'surprise');
    refused(() => loose.stats?.(null), 'function');
    refused(() => loose.run?.(1n), 'ns');
    for (const bar of [undefined, 1.5, Number.POSITIVE_INFINITY, 'x', 6])
      refused(() => fn.mioAddresses(bar as number), 'bar');
    refused(() => {
      fn.state = Object.create(null);
    }, 'state');
    expect([fn.state, fn.stats.storeBlocks]).toEqual(['enabled', 1]);
  });

  it('a model that calls the machine from its reset is contained', async () => {
    let machine: Machine | undefined;
    let resets = 0;
    const device = defineDevice({
      name: 'caller',
      vendorId: 0x1af4,
      deviceId: 0x10f1,
      bars: [{ size: 4096, memory: true }],
      reset() {
        resets++;
        machine?.reset();
      },
    }) as Device;
    machine = await createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x1_0000,
      slots: [{ device, state: 'reserved' }],
    });
    const fn = machine.functions[0] as PciFunction;
    machine.plug(fn);
    expect([fn.state, resets]).toEqual(['disabled', 1]);
    machine.reset();
    expect([fn.state, resets]).toEqual(['reserved', 2]);
    expect(fn.instance?.errors.map(({ message }) => message).join()).toContain('reset was called');
  });

  it('more function groups than there are numbers are refused', async () => {
    const device = { name: 'm', vendorId: 1, deviceId: 2, bars: [{ size: 4096, memory: true as const }] };
    const slots = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ device, options: { maxstbl: 136 + 8 * n } }));
    const make = (count: number) =>
      createMachine({ core: core(), platform: 's390x', hostMemoryBytes: 0x1_0000, slots: slots(count) });
    expect((await make(15)).functions).toHaveLength(15);
    await expect(make(16)).rejects.toMatchObject({ code: 'resource', field: 'slots[15].options' });
  });
});
