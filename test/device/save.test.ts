// Save and load of a device instance: round trips, and refusal of saves that do not fit.
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { defineDevice } from '../../src/device/define.js';
import type { DeviceDefinition } from '../../src/device/types.js';
import { bytes, le, plug } from './host.js';

const definition: DeviceDefinition<{ log: number[]; seen: Map<string, bigint> }> = {
  name: 'saver',
  vendorId: 0x1af4,
  deviceId: 0x10f0,
  state: () => ({ log: [], seen: new Map() }),
  bars: [
    { size: 0x4000, memory: true },
    {
      size: 4096,
      registers: {
        A: { offset: 0, width: 4, access: 'rw' },
        W: {
          offset: 8,
          width: 8,
          access: 'rw',
          reset: 1n,
          write: (value, ctx) => void ctx.state.seen.set('W', value),
        },
      },
    },
    { size: 16, callback: true },
  ],
  capabilities: { msix: { vectors: 2, bar: 1, tableOffset: 0x800, pbaOffset: 0xc00 } },
  write({ offset }, data, _enables, ctx) {
    ctx.state.log.push(...data);
    ctx.stats.count('writes');
    ctx.msix.raise(0);
    if (offset === 8) ctx.after(10, () => undefined);
    if (offset === 12) ctx.dma.read(0, 4, {}, () => undefined);
  },
};

function used(changes: Partial<typeof definition> = {}, options = {}) {
  const plugged = plug(defineDevice({ ...definition, ...changes }), options);
  const { instance } = plugged;
  instance.setMsixControl(true, false);
  instance.write(0, 0x1ffe, bytes(1, 2, 3, 4));
  instance.write(0, 0x3000, bytes(5));
  instance.write(0, 0x3000, bytes(0));
  instance.write(1, 0, le(0x1234));
  instance.write(1, 8, le(2n ** 63n, 8));
  instance.write(2, 0, bytes(7, 8));
  return plugged;
}

describe('a save', () => {
  it('brings back state, registers, memory, MSI-X and counters', () => {
    const { instance } = used();
    const saved = instance.save();
    expect(Object.keys(saved.memory['0'] ?? {})).toEqual(['1', '2']);
    const other = plug(defineDevice(definition));
    other.instance.write(0, 0, bytes(9));
    other.instance.load(structuredClone(saved));
    expect(other.instance.save()).toEqual(saved);
    expect(other.instance.read(0, 0, 2)).toEqual(bytes(0, 0));
    expect(other.instance.read(0, 0x1ffe, 4)).toEqual(bytes(1, 2, 3, 4));
    expect(other.instance.stats).toEqual({ writes: 1 });
    other.instance.write(1, 0x80c, le(0));
    expect(other.host.sent).toEqual(['msix 0 0x0 0x0']);
  });

  it('shares nothing with the device', () => {
    const { instance } = used();
    const saved = instance.save();
    const before = structuredClone(saved);
    instance.write(2, 0, bytes(1));
    expect(saved).toEqual(before);
    instance.load(saved);
    instance.write(2, 0, bytes(1));
    expect(saved).toEqual(before);
  });

  it('holds what the model gives, when the model has save and load', () => {
    const callbacks: Partial<typeof definition> = {
      save: (ctx) => ({ log: ctx.state.log, timer: 10 }),
      load(saved, ctx) {
        const { log, timer } = saved as { log: number[]; timer: number };
        ctx.state.log = log;
        ctx.after(timer, () => ctx.log(`timer, ${ctx.state.log}, ${ctx.registers(1).get('A')}`));
      },
    };
    const { instance } = used(callbacks);
    instance.write(2, 8, bytes(6));
    const other = plug(defineDevice({ ...definition, ...callbacks }));
    other.instance.load(JSON.parse(JSON.stringify(instance.save())));
    other.host.run(10);
    expect(other.host.lines).toEqual(['timer, 7,8,6, 4660']);
  });

  it('is refused while timers or DMA would be lost', () => {
    const { host, instance } = used({}, { dmaNs: 5 });
    instance.write(2, 8, bytes(1));
    expect(() => instance.save()).toThrow('save: timers are set: 1');
    instance.write(2, 12, bytes(1));
    expect(() => instance.save()).toThrow('save: DMA requests are outstanding: 1');
    host.run(20);
    expect(instance.save().stateVersion).toBe(1);
  });

  it('is refused when the state cannot be copied, or the model fails', () => {
    const { instance } = plug(
      defineDevice({ name: 'f', vendorId: 1, deviceId: 1, state: () => ({ f: () => 1 }) }),
    );
    expect(() => instance.save()).toThrow('state: cannot be copied');
    const failing = used({
      save: () => {
        throw new Error('full');
      },
      load: () => undefined,
    });
    expect(() => failing.instance.save()).toThrow('saver: save failed: full');
  });
});

describe('a load', () => {
  it.each<[string, object, string]>([
    ['of another device', { name: 'other' }, 'save.name: "other" is not valid; allowed: saver'],
    ['of another vendor', { vendorId: 1 }, 'save.vendorId'],
    ['of another version', { stateVersion: 2 }, 'save.stateVersion: 2 is not valid; allowed: 1'],
    ['of another form', { format: 'ztlp-device-0' }, 'save.format'],
    ['with an unknown field', { more: 1 }, '"more" is not a field'],
    ['without the registers of a BAR', { registers: {} }, 'save.registers[1]'],
    ['with a register that does not fit', { registers: { 1: { A: -1, W: '0x1' } } }, 'bar 1.A: -1'],
    ['with memory that is no page', { memory: { 0: { 1: 'ab' } } }, 'save.memory[0][1]'],
    ['with memory outside the BAR', { memory: { 0: { 4: '00'.repeat(4096) } } }, 'save.memory[0] page: 4'],
    ['without MSI-X', { msix: undefined }, 'msix'],
    ['with counters that are none', { stats: { a: 'x' } }, 'save.stats.a'],
  ])('%s is refused and changes nothing', (_, wrong, message) => {
    const { instance } = used();
    const before = instance.save();
    let error: unknown;
    try {
      instance.load({ ...before, ...wrong } as never);
    } catch (reason) {
      error = reason;
    }
    expect(error).toBeInstanceOf(ZtlpError);
    expect((error as ZtlpError).message).toContain(message);
    expect(instance.save()).toEqual(before);
  });

  it.each([null, undefined, 5, []])('of %j is refused', (saved) => {
    expect(() => used().instance.load(saved as never)).toThrow(ZtlpError);
  });

  it('whose model fails says so, and leaves a device as after a reset', () => {
    const callbacks: Partial<typeof definition> = {
      save: () => 1,
      load: () => {
        throw new Error('too old');
      },
    };
    const { instance } = used(callbacks);
    const saved = instance.save();
    expect(() => instance.load(saved)).toThrow('saver: load failed: too old');
    expect(instance.read(1, 0, 4)).toEqual(le(0));
  });
});
