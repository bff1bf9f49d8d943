// Containment: models that throw, answer nonsense, loop, flood or are asynchronous are answered for, stopped and named.
import { describe, expect, it } from 'vitest';
import { defineDevice } from '../../src/device/define.js';
import type { DeviceContext, DeviceDefinition } from '../../src/device/types.js';
import { bytes, le, plug } from './host.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10f0 } as const;

/** A device called `bad`: BAR 0 callback, BAR 1 two registers, BAR 2 memory. */
function bad(callbacks: Partial<DeviceDefinition>, hooks: object = {}, options = {}) {
  const device = defineDevice({
    name: 'bad',
    ...ID,
    bars: [
      { size: 64, callback: true },
      {
        size: 64,
        registers: {
          A: { offset: 0, width: 4, access: 'rw' },
          B: { offset: 4, width: 4, access: 'rw', ...hooks },
        },
      },
      { size: 64, memory: true },
    ],
    write: () => undefined,
    ...callbacks,
  } as DeviceDefinition);
  return plug(device, options);
}

const fail = (): never => {
  throw new Error('broken');
};
const onWrite = (write: (ctx: DeviceContext) => void): Partial<DeviceDefinition> => ({
  write: (_at, _bytes, _enables, ctx) => write(ctx),
});

describe('a callback that throws', () => {
  it('gives a read Completer Abort, and names model, callback and place', () => {
    const { instance } = bad({ read: fail });
    expect(instance.read(0, 8, 4)).toBe('completer-abort');
    expect(instance.errors).toEqual([
      {
        model: 'bad',
        callback: 'read',
        at: { bar: 0, offset: 8 },
        timeNs: 0,
        message: 'broken',
        effect: 'completer-abort',
        cause: new Error('broken'),
      },
    ]);
    expect(instance.stopped).toBe(false);
  });

  it('drops a write and counts it; the device goes on', () => {
    const { instance } = bad({ write: fail });
    expect(instance.write(0, 8, bytes(1))).toBe('completer-abort');
    expect(instance.write(2, 8, bytes(1))).toBe('ok');
    expect(instance.counts).toMatchObject({ droppedWrites: 1, contained: 1 });
    expect(instance.errors[0]).toMatchObject({ callback: 'write', effect: 'write dropped' });
  });

  it('of a register is named by register and hook; registers before it keep what was written', () => {
    const { instance } = bad({}, { read: fail, write: fail });
    expect(instance.write(1, 0, bytes(1, 0, 0, 0, 2, 0, 0, 0))).toBe('completer-abort');
    expect(instance.read(1, 0, 4)).toEqual(le(1));
    expect(instance.read(1, 0, 8)).toBe('completer-abort');
    expect(instance.errors.map(({ callback }) => callback)).toEqual(['B.write', 'B.read']);
  });

  it('is contained in every other callback too', () => {
    const { host, instance } = bad({
      state: fail,
      reset: fail,
      quiesce: fail,
      acceptInstruction: fail,
      ...onWrite((ctx) => {
        ctx.after(1, fail);
        ctx.dma.read(0, 4, {}, fail);
        ctx.dma.write(0, bytes(1), {}, fail);
      }),
    });
    instance.reset('flr');
    instance.quiesce();
    instance.write(0, 0, bytes(1));
    host.run(10);
    expect(instance.acceptInstruction({ op: 'pcilg', as: 0, offset: 0, length: 8 })).toEqual({
      programInterruption: 'operand',
    });
    expect(instance.errors.map(({ callback }) => callback)).toEqual([
      'state',
      'state',
      'reset',
      'quiesce',
      'dma.read done',
      'dma.write done',
      'after',
      'acceptInstruction',
    ]);
  });

  it('may throw anything', () => {
    const nasty = {
      toString: () => {
        throw new Error('again');
      },
    };
    for (const thrown of [undefined, null, 5, 'text', nasty, Object.create(null)]) {
      const { instance } = bad({
        read: () => {
          throw thrown;
        },
      });
      expect(instance.read(0, 0, 1)).toBe('completer-abort');
      expect(typeof instance.errors[0]?.message).toBe('string');
    }
  });

  it('fills a list of 100; the rest is counted', () => {
    const { instance } = bad({ read: fail });
    for (let n = 0; n < 150; n++) instance.read(0, 0, 1);
    expect([instance.errors.length, instance.counts.contained]).toEqual([100, 150]);
  });
});

describe('an answer of a read callback', () => {
  it.each([
    [0x0403_0201, 4, [1, 2, 3, 4]],
    [0xffff_ffff, 4, [255, 255, 255, 255]],
    [2n ** 64n - 2n, 8, [254, 255, 255, 255, 255, 255, 255, 255]],
    [5, 16, [5, ...Array(15).fill(0)]],
    [bytes(1, 2, 3), 3, [1, 2, 3]],
  ])('%s is fine for %d bytes', (answer, length, expected) => {
    expect(bad({ read: () => answer }).instance.read(0, 0, length)).toEqual(Uint8Array.from(expected));
  });

  it.each([
    [undefined, 1],
    [256, 1],
    [-1, 4],
    [0.5, 4],
    [2n ** 64n, 8],
    [bytes(1, 2), 1],
    ['text', 4],
    [[1], 1],
    [Promise.resolve(1), 1],
  ])('%s is none for %d bytes', (answer, length) => {
    const { instance } = bad({ read: () => answer as number });
    expect(instance.read(0, 0, length)).toBe('completer-abort');
    expect(instance.errors[0]?.callback).toBe('read');
  });
});

describe('an answer to an instruction', () => {
  it.each([
    undefined,
    false,
    { cc: 0, status: 0 },
    { cc: 1 },
    { cc: 1, status: 256 },
    { programInterruption: 'x' },
  ])('%j is none', (answer) => {
    const { instance } = bad({ acceptInstruction: () => answer as true });
    const instruction = { op: 'pcistb', as: 0, offset: 0n, length: 8 } as const;
    expect(instance.acceptInstruction(instruction)).toEqual({ programInterruption: 'operand' });
    expect(instance.counts.contained).toBe(1);
  });

  it('with a condition code is passed on', () => {
    const { instance } = bad({ acceptInstruction: () => ({ cc: 1, status: 20 }) });
    const instruction = { op: 'pcistb', as: 0, offset: 0n, length: 8 } as const;
    expect(instance.acceptInstruction(instruction)).toEqual({ cc: 1, status: 20 });
  });
});

describe('a model that loops at one instant', () => {
  const limits = { limits: { callsPerInstant: 50 } };
  const timer = (ctx: DeviceContext): void => void ctx.after(0, () => timer(ctx));
  const dma = (ctx: DeviceContext): void => ctx.dma.read(0, 1, {}, () => dma(ctx));

  it.each([
    ['after', timer],
    ['dma.read done', dma],
  ])('with %s is stopped and named', (callback, loop) => {
    const { host, instance } = bad(onWrite(loop), {}, limits);
    instance.write(0, 0, bytes(1));
    expect(host.run(0, 1000)).toBeLessThan(60);
    expect(instance.stopped).toBe(true);
    expect(instance.errors).toMatchObject([
      { model: 'bad', callback, effect: 'stopped', message: 'caused more than 50 callbacks at one instant' },
    ]);
  });

  it('answers Completer Abort and drops writes until a reset; its memory still answers', () => {
    const { host, instance } = bad(onWrite(timer), {}, limits);
    instance.write(0, 0, bytes(1));
    host.run(0, 1000);
    expect([instance.read(0, 0, 1), instance.read(1, 0, 1), instance.write(0, 0, bytes(1))]).toEqual(
      Array(3).fill('completer-abort'),
    );
    expect(instance.read(2, 0, 1)).toEqual(bytes(0));
    instance.reset('flr');
    expect([instance.stopped, instance.read(1, 0, 1)]).toEqual([false, bytes(0)]);
  });

  it('is not one that lets time pass, nor one that has much to do', () => {
    const tick = (ctx: DeviceContext): void => void ctx.after(1, () => tick(ctx));
    const { host, instance } = bad(onWrite(tick), {}, limits);
    instance.write(0, 0, bytes(1));
    host.run(500);
    for (let n = 0; n < 500; n++) instance.write(1, 0, bytes(1));
    expect([instance.stopped, instance.errors]).toEqual([false, []]);
  });
});

describe('a model that floods', () => {
  const limits = { limits: { operationsPerCall: 20, logLines: 5 } };
  const forever = (body: () => void): void => {
    for (;;) body();
  };

  it.each([
    ['dma', (ctx: DeviceContext) => forever(() => ctx.dma.write(0, bytes(1)))],
    ['timers', (ctx: DeviceContext) => forever(() => ctx.after(1, () => undefined))],
    ['log lines', (ctx: DeviceContext) => forever(() => ctx.log('x'))],
  ])('with %s in one callback is stopped and named', (_, flood) => {
    const { host, instance } = bad(onWrite(flood), {}, limits);
    expect(instance.write(0, 0, bytes(1))).toBe('completer-abort');
    expect(instance.errors).toMatchObject([
      { callback: 'write', effect: 'stopped', message: 'made more than 20 requests in one callback' },
    ]);
    expect(host.sent.length).toBeLessThanOrEqual(20);
  });

  it('with log lines over many callbacks is cut short', () => {
    const { host, instance } = bad(
      onWrite((ctx) => ctx.log(`a\nb${'x'.repeat(5000)}`)),
      {},
      limits,
    );
    for (let n = 0; n < 9; n++) instance.write(0, 0, bytes(1));
    expect(host.lines.length).toBe(6);
    expect(host.lines[0]?.slice(0, 4)).toBe('a bx');
    expect(host.lines[0]?.length).toBe(1000);
    expect(host.lines[5]).toBe('further lines of bad are left out');
    expect(instance.counts.suppressedLogLines).toBe(4);
  });

  it('with counters is refused', () => {
    const { instance } = bad(
      onWrite((ctx) => forever(() => ctx.stats.count(`c${ctx.time.ns}${Math.sqrt(++count)}`))),
    );
    let count = 0;
    expect(instance.write(0, 0, bytes(1))).toBe('completer-abort');
    expect(instance.errors[0]?.message).toContain('more than 1000 counters');
  });
});

describe('a model that is asynchronous', () => {
  it('is refused: a promise is no answer, and the context is closed outside callbacks', async () => {
    let escaped: DeviceContext | undefined;
    const { host, instance } = bad({
      write: (async (_at: unknown, _bytes: unknown, _enables: unknown, ctx: DeviceContext) => {
        escaped = ctx;
        await Promise.resolve();
        ctx.log('late');
        throw new Error('unheard');
      }) as never,
    });
    expect(instance.write(0, 0, bytes(1))).toBe('completer-abort');
    await Promise.resolve();
    escaped?.dma.write(0, bytes(1));
    expect([host.lines, host.sent]).toEqual([[], []]);
    expect(instance.errors.map(({ callback, message }) => `${callback} ${message}`)).toEqual([
      'write returned a promise: callbacks are synchronous',
      'log was called outside a callback: models are synchronous',
      'dma.write was called outside a callback: models are synchronous',
    ]);
  });
});

describe('a wrong request', () => {
  it.each<[string, (ctx: DeviceContext) => void]>([
    ['dma.read address: -1', (ctx) => ctx.dma.read(-1, 1, {}, () => undefined)],
    ['dma.read length: 16777217', (ctx) => ctx.dma.read(0, 2 ** 24 + 1, {}, () => undefined)],
    ['dma.read done: undefined', (ctx) => ctx.dma.read(0, 1, {}, undefined as never)],
    ['dma.read options: "noSnop"', (ctx) => ctx.dma.read(0, 1, { noSnop: true } as never, () => undefined)],
    ['dma.write options.pasid: 1048576', (ctx) => ctx.dma.write(0, bytes(1), { pasid: 2 ** 20 })],
    ['dma.write bytes: "x"', (ctx) => ctx.dma.write(0, 'x' as never)],
    ['after ns: -1', (ctx) => void ctx.after(-1, () => undefined)],
    ['after callback: 5', (ctx) => void ctx.after(1, 5 as never)],
    ['bad has no registers in BAR 0', (ctx) => void ctx.registers(0)],
    ['bad has no registers in BAR 0; allowed: 1', (ctx) => void ctx.registers(0)],
    ['after ns: 5n is not valid', (ctx) => void ctx.after(5n as never, () => undefined)],
    [
      'ctx.state cannot be replaced: set its fields',
      (ctx) => {
        (ctx as { state: unknown }).state = {};
      },
    ],
    ['bad has no memory in BAR 1', (ctx) => void ctx.memory(1)],
    ['memory offset: 65', (ctx) => void ctx.memory(2).read(65, 1)],
    ['bad has no capability msix', (ctx) => ctx.msix.raise(0)],
    ['bad has no capability msi', (ctx) => ctx.msi.raise(0)],
    ['stats x: NaN', (ctx) => ctx.stats.count('x', Number.NaN)],
  ])('%s is thrown into the model', (message, request) => {
    const { host, instance } = bad(onWrite(request));
    instance.write(0, 0, bytes(1));
    expect(instance.errors[0]?.message).toContain(message);
    expect(host.sent).toEqual([]);
  });

  it('for limits is refused', () => {
    expect(() => bad({}, {}, { limits: { callsPerInstant: 0 } })).toThrow('limits.callsPerInstant: 0');
    expect(() => bad({}, {}, { limits: { callPerInstant: 5 } })).toThrow('did you mean callsPerInstant?');
  });
});
