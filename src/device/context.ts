/** Builds the context of one instance: what a model can ask of the machine, each request counted and checked. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { defaultOptions } from '../base/options.js';
import { checkU64, type U64 } from '../core/u64.js';
import { booleanOr, checkFields, checkFunction, choiceOr, integerOr, typed } from './check.js';
import type { Guard } from './guard.js';
import type { DeviceHost } from './host.js';
import type { Msix } from './msix.js';
import type { RegisterBank } from './register-bank.js';
import type { BarMemory, DeviceContext, DmaOptions, DmaReadResult, DmaWriteResult } from './types.js';

/** What the context reaches in its instance. */
export interface ContextParts<S> {
  readonly name: string;
  readonly host: DeviceHost;
  readonly guard: Guard;
  readonly banks: ReadonlyMap<number, RegisterBank>;
  readonly memories: ReadonlyMap<number, BarMemory>;
  readonly msix: Msix | undefined;
  /** 0: the device has no MSI. */
  readonly msiVectors: number;
  state(): S;
  log(text: string): void;
}

const DMA_KEYS = ['noSnoop', 'relaxedOrdering', 'idOrdering', 'pasid', 'at'] as const;
const MAX_DMA_BYTES = 2 ** 24;
const MAX_COUNTERS = 1000;
const NONE: DmaOptions = Object.freeze({});

/** Requests in flight. A reset forgets them all: their callbacks never run. */
export class Outstanding {
  timers = 0;
  dma = 0;
  private epoch = 0;

  forget(): void {
    this.epoch++;
    this.timers = 0;
    this.dma = 0;
  }

  /** Counts one more; the returned function says once whether it still matters, and uncounts it. */
  add(kind: 'timers' | 'dma'): () => boolean {
    const { epoch } = this;
    this[kind]++;
    let isOpen = true;
    return () => {
      const matters = isOpen && epoch === this.epoch;
      isOpen = false;
      if (matters) this[kind]--;
      return matters;
    };
  }
}

/** @param counters filled by `stats.count` */
export function createContext<S>(
  parts: ContextParts<S>,
  outstanding: Outstanding,
  counters: Map<string, number>,
): DeviceContext<S> {
  const { host, guard, name } = parts;
  const context: DeviceContext<S> = {
    get state() {
      return parts.state();
    },
    set state(value) {
      throw new ZtlpError('invalid-value', 'ctx.state cannot be replaced: set its fields', {
        field: 'state',
        value,
      });
    },
    registers: (bar) => of(parts.banks, bar, `${name} has no registers in BAR`),
    memory: (bar) => of(parts.memories, bar, `${name} has no memory in BAR`),
    dma: Object.freeze({
      read: (address: U64, length: number, options: DmaOptions, done: (result: DmaReadResult) => void) => {
        checkU64('dma.read address', address);
        inRange('dma.read length', length, 0, MAX_DMA_BYTES);
        if (typeof done !== 'function') throw invalid('dma.read done', done, 'a function');
        const checked = checkDma('dma.read options', options);
        if (!guard.operation('dma.read')) return;
        const ends = outstanding.add('dma');
        host.dmaRead(address, length, checked, (result) => finish('dma.read done', ends, () => done(result)));
      },
      write: (
        address: U64,
        bytes: Uint8Array,
        options?: DmaOptions,
        done?: (result: DmaWriteResult) => void,
      ) => {
        checkU64('dma.write address', address);
        if (!(bytes instanceof Uint8Array)) throw invalid('dma.write bytes', bytes, 'a Uint8Array');
        inRange('dma.write length', bytes.length, 0, MAX_DMA_BYTES);
        checkFunction('dma.write done', done);
        const checked = checkDma('dma.write options', options);
        if (!guard.operation('dma.write')) return;
        const ends = outstanding.add('dma');
        host.dmaWrite(address, bytes.slice(), checked, (result) =>
          finish('dma.write done', ends, () => done?.(result)),
        );
      },
    }),
    msix: Object.freeze({
      raise: (vector: number) => withMsix('msix.raise', (msix) => msix.raise(vector)),
      clear: (vector: number) => withMsix('msix.clear', (msix) => msix.clear(vector)),
    }),
    msi: Object.freeze({
      raise: (vector: number) => {
        if (parts.msiVectors === 0) throw missing('msi');
        inRange('msi vector', vector, 0, parts.msiVectors - 1);
        if (guard.operation('msi.raise')) host.msi(vector);
      },
    }),
    time: Object.freeze({
      get ns() {
        return host.now();
      },
    }),
    after: (ns, callback) => {
      if (typeof ns !== 'number' || !(ns >= 0 && ns <= Number.MAX_SAFE_INTEGER))
        throw typed('after ns', ns, 'a number of nanoseconds from 0 on');
      if (typeof callback !== 'function') throw invalid('after callback', callback, 'a function');
      if (!guard.operation('after')) return () => undefined;
      const ends = outstanding.add('timers');
      host.after(ns, () => finish('after', ends, callback));
      return () => void ends();
    },
    entry: (name, callback) => {
      if (typeof name !== 'string' || name === '') throw invalid('entry name', name, 'a name');
      if (typeof callback !== 'function') throw invalid('entry callback', callback, 'a function');
      return (...args) => {
        guard.defer(() =>
          guard.run({ callback: name, effect: 'ignored', isAccess: true }, undefined, () =>
            callback(...args),
          ),
        );
        host.entered?.();
      };
    },
    options: Object.freeze({ ...(host.deviceOptions ?? defaultOptions()) }),
    log: (text) => {
      if (guard.operation('log')) parts.log(String(text));
    },
    stats: Object.freeze({
      count: (counter: string, by = 1) => {
        if (typeof counter !== 'string') throw invalid('stats name', counter, 'a text');
        if (!Number.isFinite(by)) throw invalid(`stats ${counter}`, by, 'a number');
        const old = counters.get(counter);
        if (old === undefined && counters.size >= MAX_COUNTERS)
          throw new ZtlpError('resource', `stats: more than ${MAX_COUNTERS} counters`, { field: counter });
        counters.set(counter, (old ?? 0) + by);
      },
    }),
  };
  return Object.freeze(context);

  function finish(callback: string, ends: () => boolean, body: () => void): void {
    guard.defer(() => {
      if (ends()) guard.run({ callback, effect: 'ignored' }, undefined, body);
    });
  }

  function withMsix(what: string, body: (msix: Msix) => void): void {
    if (parts.msix === undefined) throw missing('msix');
    if (guard.operation(what)) body(parts.msix);
  }

  function missing(capability: string): ZtlpError {
    const detail = { field: `capabilities.${capability}` };
    return new ZtlpError('not-found', `${name} has no capability ${capability}`, detail);
  }
}

function of<T>(things: ReadonlyMap<number, T>, bar: number, problem: string): T {
  const thing = things.get(bar);
  if (thing !== undefined) return thing;
  throw new ZtlpError('not-found', `${problem} ${bar}`, {
    field: 'bar',
    value: bar,
    ...(things.size === 0 ? {} : { allowed: [...things.keys()].join(', ') }),
  });
}

function checkDma(field: string, options: DmaOptions | undefined): DmaOptions {
  if (options === undefined || options === NONE) return NONE;
  const fields = checkFields(field, options, DMA_KEYS);
  return {
    noSnoop: booleanOr(`${field}.noSnoop`, fields.noSnoop, false),
    relaxedOrdering: booleanOr(`${field}.relaxedOrdering`, fields.relaxedOrdering, false),
    idOrdering: booleanOr(`${field}.idOrdering`, fields.idOrdering, false),
    ...(fields.pasid === undefined
      ? {}
      : { pasid: integerOr(`${field}.pasid`, fields.pasid, 0, 0xf_ffff, 0) }),
    at: choiceOr(`${field}.at`, fields.at, ['untranslated', 'translated'] as const, 'untranslated'),
  };
}
