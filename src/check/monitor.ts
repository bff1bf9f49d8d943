/** Stands before every callback of a model: says which one runs, and ends a check that calls too many. */
import type { Device } from '../device/define.js';
import type { Register } from '../device/registers.js';
import type { DeviceContext, DeviceDefinition } from '../device/types.js';

/** Calls of the model that one check may cause, timers and finished DMA included. */
const MAX_CALLS = 1_000_000;

type AnyContext = DeviceContext<never>;
type Callback = (...args: never[]) => unknown;

export class Monitor {
  /** The check that runs. */
  check = 'none';
  /** The check caused more calls than it may; the model is not called any more. */
  exhausted = false;
  /** A callback of the model is running. */
  inside = 0;
  /** Callbacks in this check so far. */
  calls = 0;

  /** @param onCall told when a check begins (callback empty) and when a callback is called or has returned */
  constructor(readonly onCall?: (check: string, callback: string, bar: number, offset: number) => void) {}

  begin(check: string): void {
    this.check = check;
    this.calls = 0;
    this.exhausted = false;
    this.onCall?.(check, '', -1, 0);
  }

  call<T>(callback: string, bar: number, offset: number, body: () => T): T {
    this.calls++;
    if (this.calls > MAX_CALLS) {
      this.exhausted = true;
      throw new Error(`more than ${MAX_CALLS} callbacks in one check`);
    }
    this.inside++;
    this.onCall?.(this.check, callback, bar, offset);
    try {
      return body();
    } finally {
      this.inside--;
      if (this.inside === 0) this.onCall?.(this.check, '', -1, 0);
    }
  }
}

/** `device` with every callback under `monitor`; otherwise the same. */
export function monitored(device: Device, monitor: Monitor): Device {
  const contexts = new WeakMap<AnyContext, AnyContext>();
  const contextOf = (context: AnyContext): AnyContext => {
    const known = contexts.get(context) ?? watchContext(context, monitor);
    contexts.set(context, known);
    return known;
  };
  return Object.freeze({
    ...device,
    bars: device.bars.map((bar) =>
      bar === undefined
        ? undefined
        : {
            ...bar,
            registers: bar.registers.map((register) =>
              watchRegister(register, bar.index, monitor, contextOf),
            ),
          },
    ),
    definition: watchDefinition(device.definition, monitor, contextOf),
  });
}

/** Where the context stands among the parameters of each callback. */
const CONTEXT_AT: Readonly<Record<string, number>> = {
  state: -1,
  read: 2,
  write: 3,
  reset: 1,
  save: 0,
  load: 1,
  quiesce: 0,
  acceptInstruction: 1,
};

function watchDefinition(
  definition: DeviceDefinition,
  monitor: Monitor,
  contextOf: (context: AnyContext) => AnyContext,
): DeviceDefinition {
  const own = definition as unknown as Readonly<Record<string, Callback | undefined>>;
  const watched: Record<string, Callback> = {};
  for (const [name, at] of Object.entries(CONTEXT_AT)) {
    if (own[name] === undefined) continue;
    watched[name] = (...args: unknown[]) => {
      const given = at < 0 ? args : args.map((arg, n) => (n === at ? contextOf(arg as AnyContext) : arg));
      const where = args[0] as { readonly bar?: number; readonly offset?: number } | undefined;
      const isAccess = name === 'read' || name === 'write';
      const [bar, offset] = isAccess ? [where?.bar ?? -1, where?.offset ?? 0] : [-1, 0];
      // Called on the definition itself, so that a callback may use `this`.
      return monitor.call(name, bar, offset, () => own[name]?.(...(given as never[])));
    };
  }
  return { ...definition, ...watched } as unknown as DeviceDefinition;
}

function watchRegister(
  register: Register<AnyContext>,
  bar: number,
  monitor: Monitor,
  contextOf: (context: AnyContext) => AnyContext,
): Register<AnyContext> {
  const { hooks, name, offset } = register;
  return {
    ...register,
    hooks: {
      ...(hooks.read === undefined
        ? {}
        : {
            read: (context, value) =>
              monitor.call(`${name}.read`, bar, offset, () => hooks.read?.(contextOf(context), value)),
          }),
      ...(hooks.write === undefined
        ? {}
        : {
            write: (value, context, old) =>
              monitor.call(`${name}.write`, bar, offset, () => hooks.write?.(value, contextOf(context), old)),
          }),
    },
  };
}

/** The context with timers and DMA whose callbacks are watched too. */
function watchContext(context: AnyContext, monitor: Monitor): AnyContext {
  const { dma } = context;
  const watch =
    <A extends unknown[], R>(name: string, callback: (...args: A) => R) =>
    (...args: A): R =>
      monitor.call(name, -1, 0, () => callback(...args));
  // What is no function goes on as it is, to be refused where the model gives it.
  const own: Pick<AnyContext, 'after' | 'dma'> = {
    after: (ns, callback) =>
      context.after(ns, typeof callback === 'function' ? watch('after', callback) : callback),
    dma: Object.freeze({
      read: (address, length, options, done) =>
        dma.read(address, length, options, typeof done === 'function' ? watch('dma.read done', done) : done),
      write: (address, bytes, options, done) =>
        dma.write(address, bytes, options, typeof done === 'function' ? watch('dma.write done', done) : done),
    } satisfies AnyContext['dma']),
  };
  return Object.freeze(
    Object.create(context, {
      after: { value: own.after, enumerable: true },
      dma: { value: own.dma, enumerable: true },
    }),
  ) as AnyContext;
}
