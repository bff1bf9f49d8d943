/** `ctx.entry`: others call a model at any time; and `ctx.options`. */
import { describe, expect, it } from 'vitest';
import { type DeviceContext, defineDevice } from '../../src/device/index.js';
import { createMachine, type MachineConfig } from '../../src/index.js';

interface Rig {
  readonly say: () => (text: string) => void;
  readonly device: ReturnType<typeof defineDevice>;
  readonly seen: string[];
}

/** A device whose register makes an entry: it notes what it is told, and writes it to memory. */
function rig(then: (ctx: DeviceContext, text: string) => void = () => undefined): Rig {
  const seen: string[] = [];
  let say: ((text: string) => void) | undefined;
  const device = defineDevice({
    name: 'told',
    vendorId: 1,
    deviceId: 2,
    bars: [{ size: 4096, callback: true }],
    read: (_at, length) => new Uint8Array(length),
    write: (_at, _bytes, _enables, ctx) => {
      say = ctx.entry('told', (text: string) => {
        seen.push(text);
        ctx.dma.write(0x100, new TextEncoder().encode(text));
        then(ctx as DeviceContext, text);
      });
    },
  });
  return { device: device as Rig['device'], seen, say: () => say ?? (() => seen.push('no entry')) };
}

async function machineWith(
  device: Rig['device'],
  config: MachineConfig = {},
): ReturnType<typeof createMachine> {
  const machine = await createMachine({ hostMemoryBytes: 4096, ...config, slots: [{ device }] });
  const [fn] = machine.functions;
  if (fn === undefined) throw new Error('no function');
  machine.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: Uint8Array.of(1) });
  // A posted write of a timed machine has yet to arrive.
  machine.run(1000);
  return machine;
}

describe('an entry of a model', () => {
  it.each(['functional', 'timed'] as const)(
    '%s: what it asks for is done when the call returns',
    async (fidelity) => {
      const { device, seen, say } = rig();
      const machine = await machineWith(device, { fidelity });
      say()('hello');
      expect(seen).toEqual(['hello']);
      machine.run(1000);
      expect(new TextDecoder().decode(machine.memory.read(0x100, 5))).toBe('hello');
      expect(machine.functions[0]?.instance?.errors).toEqual([]);
    },
  );

  it('is put off while a callback of the model runs, and may call another model', async () => {
    const order: string[] = [];
    const other = rig();
    const one: Rig = rig((_ctx, text) => {
      if (text === 'first') one.say()('second');
      other.say()(`from ${text}`);
      order.push(text);
    });
    const machines = [await machineWith(one.device), await machineWith(other.device)];
    one.say()('first');
    expect([order, one.seen, other.seen]).toEqual([
      ['first', 'second'],
      ['first', 'second'],
      ['from first', 'from second'],
    ]);
    const text = new TextDecoder().decode(machines[1]?.memory.read(0x100, 11));
    expect(text).toBe('from second');
  });

  it('two models that answer each other without end are stopped, and named', async () => {
    const other: Rig = rig((_ctx, text) => one.say()(text));
    const one: Rig = rig((_ctx, text) => other.say()(text));
    const machines = [await machineWith(one.device), await machineWith(other.device)];
    one.say()('ping');
    const errors = machines.flatMap((machine) => machine.functions[0]?.instance?.errors ?? []);
    expect(errors.map(({ callback, effect }) => `${callback} ${effect}`)).toContain('told stopped');
  });

  it('what it throws is contained; its arguments are checked', async () => {
    const { device, say } = rig((ctx, text) => {
      if (text === 'name') ctx.entry('', () => undefined);
      if (text === 'callback') ctx.entry('x', 7 as unknown as () => void);
      throw new Error(text);
    });
    const machine = await machineWith(device);
    for (const text of ['name', 'callback', 'boom']) say()(text);
    const errors = machine.functions[0]?.instance?.errors ?? [];
    expect(errors.map(({ callback }) => callback)).toEqual(['told', 'told', 'told']);
    expect(errors.map(({ message }) => message).join()).toMatch(/entry name.*entry callback.*boom/);
  });

  it('options are those of the slot', async () => {
    const found: unknown[] = [];
    const { device } = rig();
    const asking = defineDevice({
      ...device.definition,
      write: (_at, _bytes, _enables, { options }) => {
        found.push(options.ismRejectStatus, Object.isFrozen(options));
      },
    });
    await machineWith(asking as Rig['device'], { options: { ismRejectStatus: 12 } });
    expect(found).toEqual([12, true]);
  });
});
