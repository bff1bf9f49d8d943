/** Memory requests of functions: what device models read, write and signal, one after the other. */
import * as L from '../../assembly/layout.js';
import { ZtlpError } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { add64, high32, low32, type U64 } from '../core/u64.js';
import type { DmaFailure, DmaOptions } from '../device/types.js';
import { pasidPrefix } from '../tlp/prefix.js';
import { headerBits, setTlpOptions } from '../tlp/split.js';
import type { PciFunction } from './function.js';

export type DmaResult =
  | { readonly status: 'ok'; readonly data: Uint8Array }
  | { readonly status: DmaFailure };

export interface Job {
  readonly fn: PciFunction;
  readonly address: U64;
  /** Bytes to write; a number is how many to read. */
  readonly what: Uint8Array | number;
  readonly options: DmaOptions;
  readonly done: (result: DmaResult) => void;
}

/** Who takes the requests of functions. */
export interface DmaJobs {
  add(job: Job): void;
  /** Forgets what is queued of `fn`: a reset. */
  drop(fn: PciFunction): void;
  clear(): void;
  /** Does what can be done now. */
  drain(): void;
}

/** What the machine does with the core while a request runs. */
export interface DmaParts {
  readonly core: Core;
  /** MODE_* of accesses now. */
  mode(): number;
  /** Runs the access that was begun, serving models and trace. */
  run(): void;
  /** The parameter block was overwritten. */
  forget(): void;
}

/**
 * Jobs that one settling may run. A model that asks for more each time something is done would never end: its own guard
 * stops it before; this is for several models that keep each other going.
 */
export const MAX_JOBS = 1_000_000;

export class DmaQueue implements DmaJobs {
  private jobs: Job[] = [];
  /** Jobs before this one are done. */
  private first = 0;
  private running = false;

  constructor(private readonly parts: DmaParts) {}

  add(job: Job): void {
    this.jobs.push(job);
  }

  /** Forgets what is queued of `fn`: a reset. */
  drop(fn: PciFunction): void {
    this.jobs = this.jobs.slice(this.first).filter((job) => job.fn !== fn);
    this.first = 0;
  }

  clear(): void {
    this.jobs = [];
    this.first = 0;
  }

  /** Runs what is queued, and what its completions queue. Never from within a running access. */
  drain(): void {
    if (this.running) return;
    this.running = true;
    try {
      for (let count = 0; this.first < this.jobs.length; count++) {
        const job = this.jobs[this.first++] as Job;
        if (count >= MAX_JOBS) {
          this.clear();
          throw new ZtlpError(
            'resource',
            `${job.fn.name}: more than ${MAX_JOBS} DMA requests at one instant`,
            {
              field: 'dma',
              value: job.fn.name,
            },
          );
        }
        job.done(this.perform(job));
      }
      this.clear();
    } finally {
      this.running = false;
    }
  }

  private perform({ fn, address, what, options }: Job): DmaResult {
    if (!fn.busMaster) return { status: 'blocked' };
    if (options.pasid !== undefined && !fn.pasidEnabled) return { status: 'blocked' };
    const isRead = typeof what === 'number';
    const length = isRead ? what : what.length;
    const data = isRead ? new Uint8Array(length) : what;
    for (let done = 0; done < length; ) {
      const bytes = Math.min(length - done, L.ACCESS_BYTES);
      const part = data.subarray(done, done + bytes);
      const failure = this.transfer(fn, add64(address, done), part, isRead, options);
      if (failure !== undefined) return { status: failure };
      done += bytes;
    }
    return { status: 'ok', data };
  }

  /** One access of the core: up to 1 MiB, in requests of at most 4 KiB. */
  private transfer(
    fn: PciFunction,
    address: U64,
    data: Uint8Array,
    isRead: boolean,
    options: DmaOptions,
  ): DmaFailure | undefined {
    const { core } = this.parts;
    setDmaParams(core, fn, isRead, options, this.parts.mode());
    for (let level = 0; level < L.LEVELS; level++) {
      core.setParam(L.PARAM_RULES + 4 * level, level === L.LEVELS - 1 ? L.RULE_FRAGMENT : L.RULE_WHOLE);
      core.setParam(L.PARAM_RULE_VALUES + 4 * level, L.PAGE_BYTES);
    }
    core.setParam(L.PARAM_COUNTING, 0);
    core.setParam(L.PARAM_CHECK, L.CHECK_NONE);
    core.x.accessBegin(L.SLOT_NONE, 0, low32(address), high32(address), 0, 0, data.length);
    const at = core.stagedAt(0);
    if (isRead) core.u8.fill(0xff, at, at + data.length);
    else core.u8.set(data, at);
    this.parts.run();
    core.setParam(L.PARAM_ORIGIN, L.ORIGIN_CPU);
    core.setParam(L.PARAM_PREFIX, 0);
    this.parts.forget();
    if (isRead) data.set(core.u8.subarray(at, at + data.length));
    const status = core.x.completionStatus();
    if (!isRead || status === L.CPL_SC) return undefined;
    return status === L.CPL_UR ? 'unsupported-request' : 'completer-abort';
  }
}

/** Puts what shapes the requests of `fn` into the parameter block. */
export function setDmaParams(
  core: Core,
  fn: PciFunction,
  isRead: boolean,
  options: DmaOptions,
  mode: number,
): void {
  const { noSnoop = false, relaxedOrdering = false, idOrdering: ido = false } = options;
  // Without Enable No Snoop and Enable Relaxed Ordering a function never sets them (iommu.md 8.1, mlx.md MLX-37).
  const ns = noSnoop && fn.noSnoopEnabled;
  const ro = relaxedOrdering && fn.relaxedOrderingEnabled;
  setTlpOptions(core, fn.options);
  core.setParam(L.PARAM_OP, isRead ? L.OPERATION_READ : L.OPERATION_WRITE);
  core.setParam(L.PARAM_REQUEST, L.REQUEST_MEMORY);
  core.setParam(L.PARAM_REQUESTER, fn.id);
  const translated = options.at === 'translated' ? 2 << 10 : 0;
  core.setParam(L.PARAM_HEADER_BITS, headerBits(0, { ns, ro, ido }) | translated);
  core.setParam(L.PARAM_UNCUT, 0);
  core.setParam(L.PARAM_MODE, mode);
  core.setParam(L.PARAM_ORIGIN, fn.slot + 1);
  core.setParam(L.PARAM_PREFIX, options.pasid === undefined ? 0 : pasidPrefix(options.pasid));
}
