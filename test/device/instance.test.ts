// A device in a machine: where accesses go, how they are cut, DMA, timers, interrupts and resets, the same in every run.
import { describe, expect, it } from 'vitest';
import { defineDevice } from '../../src/device/define.js';
import { DeviceInstance } from '../../src/device/instance.js';
import type { BarOffset, ByteEnables, DeviceContext } from '../../src/device/types.js';
import { bytes, le, plug, TestHost } from './host.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10f0 } as const;

/** A device as its author writes it: a DMA engine with doorbell, status and an interrupt. */
const copier = defineDevice({
  name: 'copier',
  ...ID,
  state: () => ({ copies: 0 }),
  bars: [
    {
      size: 4096,
      registers: {
        SOURCE: { offset: 0x00, width: 8, access: 'rw' },
        TARGET: { offset: 0x08, width: 8, access: 'rw' },
        LENGTH: { offset: 0x10, width: 4, access: 'rw', writeMask: 0xff },
        STATUS: { offset: 0x14, width: 4, access: 'rw1c' },
        DOORBELL: { offset: 0x18, width: 4, access: 'wo', write: (_, ctx) => copy(ctx) },
      },
    },
  ],
  capabilities: { pcie: true, msix: { vectors: 2, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 } },
});

function copy(ctx: DeviceContext<{ copies: number }>): void {
  const registers = ctx.registers(0);
  ctx.dma.read(registers.get64('SOURCE'), registers.get('LENGTH'), { relaxedOrdering: true }, (result) => {
    if (result.status !== 'ok') {
      registers.set('STATUS', 2);
      return;
    }
    ctx.dma.write(registers.get64('TARGET'), result.data, {}, () => {
      ctx.state.copies++;
      ctx.stats.count('bytes', result.data.length);
      registers.set('STATUS', 1);
      ctx.msix.raise(1);
    });
  });
}

describe.each([undefined, 0, 100])('a device whose DMA takes %s ns', (dmaNs) => {
  const options = dmaNs === undefined ? {} : { dmaNs };

  it('copies, counts and interrupts', () => {
    const { host, instance } = plug(copier, options);
    instance.setMsixControl(true, false);
    expect(instance.write(0, 0x810, bytes(...le(0xfee0_0000n, 8), ...le(0x41), ...le(0)))).toBe('ok');
    host.ram.set([1, 2, 3, 4], 0x100);
    instance.write(0, 0, le(0x100, 8));
    instance.write(0, 8, le(0x200, 8));
    instance.write(0, 0x10, le(0xff04));
    instance.write(0, 0x18, le(1));
    host.run(1000);
    expect(host.sent).toEqual(['read 256 4', 'write 512 1 2 3 4', 'msix 1 0xfee00000 0x41']);
    expect(host.ram.subarray(0x200, 0x204)).toEqual(bytes(1, 2, 3, 4));
    expect(instance.read(0, 0x14, 4)).toEqual(le(1));
    expect([instance.stats, instance.errors, instance.idle]).toEqual([{ bytes: 4 }, [], true]);
    expect(host.options[0]).toEqual({
      relaxedOrdering: true,
      noSnoop: false,
      idOrdering: false,
      at: 'untranslated',
    });
  });

  it('sees a read that failed', () => {
    const { host, instance } = plug(copier, options);
    instance.write(0, 0, le(2n ** 40n, 8));
    instance.write(0, 0x18, le(1));
    host.run(1000);
    expect(instance.read(0, 0x14, 4)).toEqual(le(2));
  });

  it('is told nothing after a reset', () => {
    const { host, instance } = plug(copier, options);
    instance.write(0, 0x10, le(4));
    instance.write(0, 0x18, le(1));
    instance.reset('flr');
    host.run(1000);
    expect([instance.read(0, 0x14, 4), instance.read(0, 0x10, 4)]).toEqual([le(0), le(0)]);
    expect(instance.idle).toBe(true);
  });
});

/** Every kind of region in one BAR, with gaps; notes what its callbacks are told. */
function mixed(limits = {}) {
  const calls: unknown[] = [];
  const device = defineDevice({
    name: 'mixed',
    ...ID,
    bars: [
      {
        size: 0x1000,
        bits: 64,
        regions: [
          { offset: 0x10, size: 0x10, kind: 'memory' },
          {
            offset: 0x20,
            size: 0x10,
            kind: 'registers',
            registers: { A: { offset: 4, width: 4, access: 'rw' } },
            byteOrder: 'big',
          },
          { offset: 0x40, size: 0x20, kind: 'callback', ...limits },
          { offset: 0x80, kind: 'msix-pba' },
        ],
      },
    ],
    capabilities: { msix: { vectors: 4, bar: 0, tableOffset: 0x100, pbaOffset: 0x80 } },
    read({ bar, offset }: BarOffset, length: number) {
      calls.push(['read', bar, offset, length]);
      return Uint8Array.from({ length }, (_, index) => offset + index);
    },
    write({ bar, offset }: BarOffset, data: Uint8Array, enables: ByteEnables) {
      calls.push(['write', bar, offset, [...data], enables && [...enables]]);
    },
  });
  return { ...plug(device), calls };
}

describe('an access', () => {
  it('is cut at the borders of regions; gaps read as 0 and are counted', () => {
    const { instance, calls } = mixed();
    const data = Uint8Array.from({ length: 0x60 }, (_, index) => index + 1);
    expect(instance.write(0, 0, data)).toBe('ok');
    expect(calls).toEqual([['write', 0, 0x40, [...data.subarray(0x40, 0x60)], undefined]]);
    const expected = new Uint8Array(0x60);
    expected.set(data.subarray(0x10, 0x20), 0x10);
    expected.set(data.subarray(0x24, 0x28), 0x24);
    for (let at = 0x40; at < 0x60; at++) expected[at] = at;
    expect(instance.read(0, 0, 0x60)).toEqual(expected);
    expect(instance.describeRegisters(0)[0]).toMatchObject({ name: 'A', offset: 0x24, value: 0x2526_2728 });
    // 2 gaps and 2 holes of registers, written and read
    expect(instance.counts.misses).toBe(8);
  });

  it('brings its byte enables to every kind of region', () => {
    const { instance, calls } = mixed();
    instance.write(0, 0x10, new Uint8Array(0x10).fill(0xff));
    const enables = Uint8Array.from({ length: 0x38 }, (_, index) => index % 2);
    instance.write(0, 0x10, new Uint8Array(0x38).fill(9), enables);
    expect(instance.read(0, 0x10, 4)).toEqual(bytes(0xff, 9, 0xff, 9));
    expect(instance.read(0, 0x24, 4)).toEqual(bytes(0, 9, 0, 9));
    expect(calls).toEqual([['write', 0, 0x40, Array(8).fill(9), [0, 1, 0, 1, 0, 1, 0, 1]]]);
    instance.write(0, 0x40, bytes(1, 2), bytes(0, 0));
    expect(calls.length).toBe(1);
  });

  it('outside the BARs is an Unsupported Request', () => {
    const { instance } = mixed();
    for (const [bar, offset, length] of [
      [0, 0x1000, 1],
      [0, 0xfff, 2],
      [0, -1, 1],
      [1, 0, 1],
      [6, 0, 1],
    ] as const) {
      expect(instance.read(bar, offset, length)).toBe('unsupported-request');
      expect(instance.write(bar, offset, new Uint8Array(length))).toBe('unsupported-request');
    }
  });

  it('of no bytes reaches nothing', () => {
    const { instance, calls } = mixed();
    expect(instance.read(0, 0x40, 0)).toEqual(bytes());
    expect(instance.write(0, 0x40, bytes())).toBe('ok');
    expect([calls, instance.counts.misses]).toEqual([[], 0]);
  });

  it('gives the model bytes of its own', () => {
    let kept: Uint8Array | undefined;
    const device = defineDevice({
      name: 'keeper',
      ...ID,
      bars: [{ size: 16, callback: true }],
      write(_, data) {
        kept = data;
      },
    });
    const { instance } = plug(device);
    const data = bytes(1, 2);
    instance.write(0, 0, data);
    data.fill(0);
    expect(kept).toEqual(bytes(1, 2));
    expect(instance.read(0, 0, 2)).toEqual(bytes(0, 0));
  });
});

describe('an access that an emulator dispatched', () => {
  const emulated = { emulated: true };

  it.each([
    [{ min: 1, max: 4 }, 0x40, 8],
    [{ min: 4, max: 8 }, 0x40, 2],
    [{ min: 1, max: 8 }, 0x42, 4],
  ])(
    'is rejected by valid %j at 0x%x with %d bytes; without an emulator it is served',
    (valid, offset, length) => {
      const { instance, calls } = mixed({ valid });
      expect(instance.read(0, offset, length, emulated)).toBe('rejected');
      expect(instance.write(0, offset, new Uint8Array(length), undefined, emulated)).toBe('rejected');
      expect(calls).toEqual([]);
      expect(instance.read(0, offset, length)).toBeInstanceOf(Uint8Array);
    },
  );

  it('is cut into calls of at most impl.max bytes', () => {
    const { instance, calls } = mixed({ impl: { min: 1, max: 2 } });
    expect(instance.read(0, 0x40, 4, emulated)).toEqual(bytes(0x40, 0x41, 0x42, 0x43));
    instance.write(0, 0x44, bytes(1, 2, 3, 4), undefined, emulated);
    expect(calls).toEqual([
      ['read', 0, 0x40, 2],
      ['read', 0, 0x42, 2],
      ['write', 0, 0x44, [1, 2], undefined],
      ['write', 0, 0x46, [3, 4], undefined],
    ]);
  });

  it('becomes a larger call when it is smaller than impl.min', () => {
    const { instance, calls } = mixed({ impl: { min: 4, max: 4 } });
    expect(instance.read(0, 0x42, 2, emulated)).toEqual(bytes(0x42, 0x43));
    instance.write(0, 0x44, bytes(7), undefined, emulated);
    expect(calls).toEqual([
      ['read', 0, 0x42, 4],
      ['write', 0, 0x44, [7, 0, 0, 0], undefined],
    ]);
  });

  it('is cut at a border and dispatched again in powers of two', () => {
    const { instance, calls } = mixed();
    expect(instance.read(0, 0x3a, 8, emulated)).toEqual(bytes(0, 0, 0, 0, 0, 0, 0x40, 0x41));
    instance.write(0, 0x5d, new Uint8Array(8), undefined, emulated);
    expect(calls).toEqual([
      ['read', 0, 0x40, 2],
      ['write', 0, 0x5d, [0], undefined],
      ['write', 0, 0x5e, [0, 0], undefined],
    ]);
  });

  it('reaches MSI-X tables with 4 or 8 bytes only', () => {
    const { instance } = mixed();
    expect(instance.read(0, 0x100, 2, emulated)).toBe('rejected');
    expect(instance.read(0, 0x108, 8, emulated)).toEqual(le(2n ** 32n, 8));
    expect(instance.read(0, 0x80, 4, emulated)).toEqual(le(0));
  });
});

describe('timers', () => {
  /** Writing n to the callback BAR sets a timer for n ns; `log` shows when it ran. */
  const clock = defineDevice({
    name: 'clock',
    ...ID,
    bars: [{ size: 16, callback: true }],
    write({ offset }, [ns = 0], _, ctx) {
      const cancel = ctx.after(ns, () => ctx.log(`timer ${ns} at ${ctx.time.ns}`));
      if (offset === 8) cancel();
    },
  });

  it('run when their time has come, in order, unless cancelled', () => {
    const { host, instance } = plug(clock);
    instance.write(0, 0, bytes(30));
    instance.write(0, 0, bytes(10));
    instance.write(0, 8, bytes(20));
    expect(instance.idle).toBe(false);
    host.run(100);
    expect(host.lines).toEqual(['timer 10 at 10', 'timer 30 at 30']);
    expect(instance.idle).toBe(true);
  });

  it('do not outlive a reset', () => {
    const { host, instance } = plug(clock);
    instance.write(0, 0, bytes(30));
    instance.reset('hot');
    expect(instance.idle).toBe(true);
    host.run(100);
    expect(host.lines).toEqual([]);
  });
});

describe('a reset', () => {
  it('makes state, registers, memory and MSI-X new, then tells the model its kind', () => {
    const device = defineDevice({
      name: 'r',
      ...ID,
      state: () => ({ writes: 0 }),
      bars: [
        { size: 64, memory: true },
        {
          size: 64,
          registers: {
            A: { offset: 0, width: 1, access: 'rw', reset: 3, write: (_, ctx) => ctx.state.writes++ },
          },
        },
      ],
      reset: (kind, ctx) =>
        ctx.log(`${kind} ${ctx.state.writes} ${ctx.registers(1).get('A')} ${ctx.memory(0).read(1, 1)}`),
    });
    const { host, instance } = plug(device);
    instance.write(0, 1, bytes(5));
    instance.write(1, 0, bytes(9));
    for (const kind of ['cold', 'warm', 'hot', 'flr', 'd3hot'] as const) instance.reset(kind);
    expect(host.lines).toEqual(['cold 0 3 0', 'warm 0 3 0', 'hot 0 3 0', 'flr 0 3 0', 'd3hot 0 3 0']);
  });
});

describe('memory of the machine', () => {
  it('is used instead of the own, by accesses and by the model', () => {
    const device = defineDevice({
      name: 'm',
      ...ID,
      bars: [
        { size: 16, memory: true },
        { size: 16, callback: true },
      ],
      write: (_at, data, _enables, ctx) => ctx.memory(0).write(4, data),
    });
    const held = new Uint8Array(16);
    const machine = Object.assign(new TestHost(), {
      memory: {
        read: (_: number, offset: number, length: number) => held.slice(offset, offset + length),
        write: (_: number, offset: number, data: Uint8Array) => held.set(data, offset),
      },
    });
    const instance = new DeviceInstance(device, machine);
    instance.write(1, 0, bytes(1, 2));
    instance.write(0, 6, bytes(3, 4), bytes(0, 1));
    expect(instance.read(0, 4, 4)).toEqual(bytes(1, 2, 0, 4));
    const saved = instance.save();
    expect(saved.memory[0]?.[0]).toMatch(/^0{8}01020004(0{8}){1022}$/);
    instance.reset('hot');
    expect(held).toEqual(new Uint8Array(16));
    instance.load(saved);
    expect(held).toEqual(Uint8Array.of(0, 0, 0, 0, 1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0));
  });
});

describe('instructions and quiescing', () => {
  it('ask the model, which may refuse', () => {
    const device = defineDevice({
      name: 'ism-like',
      ...ID,
      bars: [{ size: 16, memory: true }],
      acceptInstruction: ({ op }) => op !== 'pcistg' || { programInterruption: 'operand' },
      quiesce: (ctx) => ctx.log('quiet'),
    });
    const { host, instance } = plug(device);
    const at = { as: 0, offset: 0, length: 8 };
    expect(instance.acceptInstruction({ op: 'pcistb', ...at })).toBe(true);
    expect(instance.acceptInstruction({ op: 'pcistg', ...at })).toEqual({ programInterruption: 'operand' });
    expect(plug(copier).instance.acceptInstruction({ op: 'pcistg', ...at })).toBe(true);
    instance.quiesce();
    expect(host.lines).toEqual(['quiet']);
  });

  it('an MSI goes to the machine as it is', () => {
    const device = defineDevice({
      name: 'msi',
      ...ID,
      bars: [{ size: 16, callback: true }],
      capabilities: { msi: { vectors: 2 } },
      write: (_at, [vector = 0], _enables, ctx) => ctx.msi.raise(vector),
    });
    const { host, instance } = plug(device);
    instance.write(0, 0, bytes(1));
    instance.write(0, 0, bytes(2));
    expect(host.sent).toEqual(['msi 1']);
    expect(instance.errors[0]?.message).toBe('msi vector: 2 is not valid; allowed: an integer from 0 to 1');
  });
});

describe('the same accesses', () => {
  it('give the same run, whichever instance takes them', () => {
    const run = () => {
      const { host, instance } = plug(copier, { dmaNs: 7 });
      for (let n = 0; n < 50; n++) {
        instance.write(0, (n * 12) % 0x1c, le(n * 2654435761, 8).subarray(0, (n % 8) + 1));
        host.run(n % 5);
      }
      host.run(100);
      return [host.sent, host.lines, instance.save(), instance.counts];
    };
    expect(run()).toEqual(run());
  });
});

describe('what is beside software', () => {
  type Enter = (body: (ctx: DeviceContext<{ calls: number }>) => void) => void;
  const other = (host = new TestHost()) => {
    const entries: Enter[] = [];
    const device = defineDevice<{ calls: number }>({
      name: 'other',
      ...ID,
      bars: [{ size: 4096, callback: true }],
      state: () => ({ calls: 0 }),
      connect: (ctx) => void entries.push(ctx.entry('enter', (body) => body(ctx))),
      write(_at, _bytes, _enables, ctx) {
        entries[0]?.(({ state }) => {
          state.calls += 10;
        });
        ctx.log(`${ctx.state.calls}`); // not yet
      },
    });
    const instance = new DeviceInstance(device, host);
    return { host, instance, entry: entries[0] as Enter, entries };
  };

  it('enters the instance as a callback: with its state of now, DMA and containment', () => {
    const { host, instance, entry, entries } = other();
    expect(entries.length).toBe(1);
    const call = (): void =>
      entry((ctx) => {
        ctx.state.calls++;
        ctx.dma.write(0x10, bytes(ctx.state.calls));
      });
    call();
    call();
    expect(host.sent).toEqual(['write 16 1', 'write 16 2']);
    instance.reset('flr');
    call();
    expect(host.sent.at(-1)).toBe('write 16 1');
    expect(instance.errors).toEqual([]);
    entry(() => {
      throw new Error('no');
    });
    expect(instance.errors).toMatchObject([{ callback: 'enter', effect: 'ignored', message: 'no' }]);
    expect(entries.length).toBe(1);
  });

  it('waits for the callback that is running', () => {
    const { host, instance } = other();
    instance.write(0, 0, bytes(1));
    expect(host.lines).toEqual(['0']);
    expect(instance.save().state).toEqual({ calls: 10 });
  });
});
