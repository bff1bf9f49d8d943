/** Functions that come and go: plug, unplug, what the guest is told, and the platform's reset (zpci.md 1.3, 5.6). */
import { describe, expect, it } from 'vitest';
import { createMachine, type Machine, type PciFunction, type SlotConfig } from '../../src/index.js';
import { decodeAvailabilityRecord, decodeErrorRecord } from '../../src/zpci/events.js';
import { encodeFib } from '../../src/zpci/fib.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { copier } from '../support/models.js';
import { clp, setFunction } from './machine-support.js';

describe.each(BUILDS)('hot plug on the %s build', (build) => {
  const core = useBuild(build);

  const make = async (slot: Partial<SlotConfig> = {}): Promise<[Machine, PciFunction]> => {
    const machine = await createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x1_0000,
      slots: [{ device: copier, zpci: { fid: 0x77 }, ...slot }, { device: copier }],
    });
    return [machine, machine.functions[0] as PciFunction];
  };
  const codes = (machine: Machine) => machine.takeEvents().map(({ kind, code }) => [kind, code]);
  const listed = (machine: Machine): number[] => {
    const { data } = clp(machine, 2, () => undefined, 64);
    const count = (data.getUint16(0) - 32) / 16;
    return Array.from({ length: count }, (_, n) => data.getUint32(32 + 16 * n + 8));
  };

  it('Z-CLP-07: a plugged function is disabled, listed, and its record says so', async () => {
    const [machine, fn] = await make({ state: 'reserved' });
    const at = { fh: fn.handle, as: 0, offset: 0, length: 4 };
    expect([fn.state, fn.handle >>> 31, listed(machine)]).toEqual(['reserved', 0, [0x11]]);
    expect(machine.cpu.pcilg(at)).toMatchObject({ cc: 3 });
    expect(machine.cpu.sclp('configure', 0x77)).toBe(0x5f0);
    machine.plug(fn);
    expect([fn.state, listed(machine)]).toEqual(['disabled', [0x77, 0x11]]);
    const [event] = machine.takeEvents();
    expect(event).toMatchObject({ kind: 'availability', slot: 0, fid: 0x77, code: 0x301, address: 0 });
    expect(decodeAvailabilityRecord(event?.record as Uint8Array)).toEqual({
      fh: fn.handle,
      fid: 0x77,
      pec: 0x301,
    });
    expect(() => machine.plug(fn)).toThrow(expect.objectContaining({ field: 'function', value: 'disabled' }));
    expect(setFunction(machine, fn.handle, 0).code).toBe(0x10);
    expect(machine.cpu.pcilg({ ...at, fh: fn.handle }).data).toBe(0x551e_ab0d);
  });

  it('Z-ST-11: unplugging asks the guest, and is done when it deconfigures', async () => {
    const [machine, fn] = await make();
    expect(machine.unplug(fn)).toBe(false);
    expect([fn.state, codes(machine)]).toEqual(['enabled', [['availability', 0x303]]]);
    expect(machine.cpu.sclp('deconfigure', 0x77)).toBe(0x20);
    expect([fn.state, codes(machine)]).toEqual(['reserved', [['availability', 0x308]]]);
    expect(machine.cpu.sclp('deconfigure', 0x77)).toBe(0x5f0);
    expect(() => machine.unplug(fn)).toThrow(
      expect.objectContaining({ field: 'function', value: 'reserved' }),
    );
    // The wish was granted: the next deconfigure leaves the function in standby, from which it goes at once.
    machine.plug(fn);
    machine.cpu.sclp('deconfigure', 0x77);
    expect([fn.state, codes(machine)]).toEqual(['standby', [['availability', 0x301]]]);
    expect(machine.unplug(fn)).toBe(true);
    expect([fn.state, codes(machine)]).toEqual(['reserved', [['availability', 0x308]]]);
  });

  it('a surprise removal tells the guest afterwards, and takes everything registered with it', async () => {
    for (const state of ['disabled', 'enabled', 'error', 'error-ls-open', 'permanent-error'] as const) {
      const [machine, fn] = await make();
      const fib = encodeFib({ pba: 0x1_0000_0000n, pal: 0x1_0000_ffffn, iota: 0x4804 });
      machine.memory.write(0x1000, fib);
      expect(machine.cpu.mpcifc({ fh: fn.handle, oc: 4, fib: 0x1000 }).cc).toBe(0);
      fn.state = state;
      expect(machine.unplug(fn, { surprise: true })).toBe(true);
      expect([fn.state, fn.handle >>> 31, fn.translation]).toEqual(['reserved', 0, undefined]);
      expect(codes(machine)).toEqual([['availability', 0x304]]);
      expect(listed(machine)).toEqual([0x11]);
    }
  });

  it('a device comes back as new', async () => {
    const [machine, fn] = await make();
    machine.cpu.pcistg({ fh: fn.handle, as: 0, offset: 8, length: 8, data: 0x1234n });
    machine.unplug(fn, { surprise: true });
    machine.plug(fn);
    setFunction(machine, fn.handle, 0);
    expect(machine.cpu.pcilg({ fh: fn.handle, as: 0, offset: 8, length: 8 })).toMatchObject({
      cc: 0,
      data: 0,
    });
  });

  it('a standby function is configured by SCLP; reset brings every slot back to how it began', async () => {
    const [machine, fn] = await make({ state: 'standby' });
    expect([fn.state, machine.cpu.sclp('configure', 0x77), fn.state]).toEqual(['standby', 0x20, 'disabled']);
    machine.unplug(fn);
    machine.reset();
    expect([fn.state, machine.takeEvents()]).toEqual(['standby', []]);
    // The wish of before the reset is gone.
    machine.cpu.sclp('configure', 0x77);
    machine.cpu.sclp('deconfigure', 0x77);
    expect(fn.state).toBe('standby');
  });

  it('zpci.md 1.3: the platform resets a function to disabled, with nothing registered and its BARs in place', async () => {
    for (const kind of ['cold', 'warm', 'hot'] as const) {
      const [machine, fn] = await make();
      const { address } = fn.bar(0);
      machine.memory.write(0x1000, encodeFib({ pba: 0x1_0000_0000n, pal: 0x1_0000_ffffn, iota: 0x4804 }));
      machine.cpu.mpcifc({ fh: fn.handle, oc: 4, fib: 0x1000 });
      machine.resetFunction(fn, kind);
      expect([fn.state, fn.handle >>> 31, fn.translation, fn.bar(0).address]).toEqual([
        'disabled',
        0,
        undefined,
        address,
      ]);
      expect(machine.takeEvents()).toEqual([]);
      setFunction(machine, fn.handle, 0);
      expect(machine.cpu.pcilg({ fh: fn.handle, as: 0, offset: 0, length: 4 }).data).toBe(0x551e_ab0d);
    }
    const [machine, fn] = await make();
    machine.resetFunction(fn, 'flr');
    expect(fn.state).toBe('enabled');
    fn.state = 'standby';
    machine.resetFunction(fn, 'cold');
    expect(fn.state).toBe('standby');
  });

  it('an error event brings its record', async () => {
    const [machine, fn] = await make();
    machine.memory.write(0x1000, encodeFib({ pba: 0x1_0000_0000n, pal: 0x1_0000_ffffn, iota: 0x4804 }));
    machine.cpu.mpcifc({ fh: fn.handle, oc: 4, fib: 0x1000 });
    machine.cpu.rpcit({ fh: fn.handle, start: 0x9_0000_0000n, length: 4096 });
    const [event] = machine.takeEvents();
    expect(event).toMatchObject({ kind: 'error', code: 2, address: 0x9_0000_0000 });
    expect(decodeErrorRecord(event?.record as Uint8Array)).toEqual({
      fh: fn.handle,
      fid: 0x77,
      pec: 2,
      address: 0x9_0000_0000n,
      ett: 0,
      vector: 0,
      dmaas: 0,
      q: false,
      rw: false,
    });
  });

  it('wrong calls are typed errors', async () => {
    const [machine, fn] = await make();
    const plain = await createMachine({ core: core() });
    const other = plain.functions[0] as PciFunction;
    expect(() => plain.plug(other)).toThrow(expect.objectContaining({ field: 'platform' }));
    expect(() => plain.unplug(other)).toThrow(expect.objectContaining({ field: 'platform' }));
    expect(() => machine.unplug(other)).toThrow(expect.objectContaining({ field: 'function' }));
    expect(() => machine.plug(fn)).toThrow(expect.objectContaining({ value: 'enabled' }));
    const refused = (slot: object, field: string) =>
      expect(make(slot as Partial<SlotConfig>)).rejects.toMatchObject({ name: 'ZtlpError', field });
    await refused({ state: 'error' }, 'slots[0].state');
    await refused({ zpci: { fid: 0x11 } }, 'slots[1].zpci.fid');
    await refused({ zpci: { fid: -1 } }, 'slots[0].zpci.fid');
    await refused({ zpci: { uid: 2 ** 32 } }, 'slots[0].zpci.uid');
    await refused({ zpci: { port: 16 } }, 'slots[0].zpci.port');
    await refused({ zpci: { path: new Uint8Array(3) } }, 'slots[0].zpci.path');
    await refused({ zpci: { utilityString: 'ä' } }, 'slots[0].zpci.utilityString');
    await refused({ zpci: { fibb: 1 } }, 'slots[0].zpci.fibb');
  });

  it('Z-CLP-12: query function says what firmware knows of the function', async () => {
    const machine = await createMachine({
      core: core(),
      platform: 's390x',
      hostMemoryBytes: 0x1_0000,
      slots: [
        {
          device: copier,
          zpci: {
            fid: 0x1234,
            uid: 0xabcd,
            pchid: 0x1c0,
            vfn: 3,
            port: 2,
            tid: 7,
            physicalFunction: true,
            path: Uint8Array.of(1, 2, 3, 4),
            utilityString: 'ZTLP 01',
          },
        },
      ],
    });
    const { data } = clp(machine, 3, (request) => request.setUint32(16, machine.functions[0]?.handle ?? 0));
    expect(data.getUint16(16)).toBe(3);
    expect(data.getUint8(18)).toBe(0x20 | 0x08 | 0x01); // TID, physical function, utility string
    expect([data.getUint32(20), data.getUint16(30), data.getUint32(124)]).toEqual([0x1234, 0x1c0, 0xabcd]);
    expect([data.getUint32(56), data.getUint16(60), data.getUint16(86)]).toEqual([0x0102_0304, 2, 7]);
    const text = Array.from({ length: 8 }, (_, n) => data.getUint8(128 + n));
    expect(text).toEqual([0xe9, 0xe3, 0xd3, 0xd7, 0x40, 0xf0, 0xf1, 0]);
  });
});
