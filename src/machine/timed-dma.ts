/** Memory requests of functions in simulated time: every function has its own queue, reads wait in parallel. */
import * as L from '../../assembly/layout.js';
import { ZtlpError } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { add64, high32, low32 } from '../core/u64.js';
import type { DmaFailure } from '../device/types.js';
import { type DmaJobs, type DmaResult, type Job, MAX_JOBS, setDmaParams } from './dma.js';
import type { PciFunction } from './function.js';

interface Work {
  readonly job: Job;
  readonly data: Uint8Array;
  /** Bytes asked for so far. */
  issued: number;
  /** Pieces under way. */
  open: number;
  status: 'ok' | DmaFailure;
  /** Offset of the piece that gave the status. */
  failedAt: number;
  done: boolean;
}

interface Piece {
  readonly work: Work;
  readonly offset: number;
  readonly bytes: number;
  readonly isRead: boolean;
}

interface Queue {
  readonly fn: PciFunction;
  works: Work[];
  /** A piece of posted writes has not left. */
  writing: boolean;
}

export class TimedDma implements DmaJobs {
  private readonly queues = new Map<number, Queue>();
  private readonly pieces: (Piece | undefined)[] = new Array(L.DMA_PIECES).fill(undefined);
  private readonly free: number[] = [];
  private pumping = false;
  /** Jobs that are done since `restart`. */
  private ended = 0;

  constructor(private readonly core: Core) {
    this.clear();
  }

  add(job: Job): void {
    const { fn } = job;
    const queue = this.queues.get(fn.slot) ?? { fn, works: [], writing: false };
    this.queues.set(fn.slot, queue);
    const data = typeof job.what === 'number' ? new Uint8Array(job.what) : job.what;
    queue.works.push({ job, data, issued: 0, open: 0, status: 'ok', failedAt: 0, done: false });
  }

  /** Forgets what is queued of `fn`; what is on the link arrives, and nobody is told. */
  drop(fn: PciFunction): void {
    const queue = this.queues.get(fn.slot);
    if (queue !== undefined) queue.works = [];
  }

  clear(): void {
    this.queues.clear();
    this.pieces.fill(undefined);
    this.free.length = 0;
    for (let piece = L.DMA_PIECES - 1; piece >= 0; piece--) this.free.push(piece);
  }

  /** A new call of the machine: it may run as many jobs as one settling of functional fidelity. */
  restart(): void {
    this.ended = 0;
  }

  get isIdle(): boolean {
    for (const { works, writing } of this.queues.values()) if (works.length > 0 || writing) return false;
    return this.free.length === L.DMA_PIECES;
  }

  /** A piece is done: CPL_*. */
  end(index: number, status: number): void {
    const piece = this.pieces[index];
    if (piece === undefined) return;
    this.pieces[index] = undefined;
    this.free.push(index);
    const { work, offset, bytes, isRead } = piece;
    work.open--;
    if (!isRead) {
      const queue = this.queues.get(work.job.fn.slot);
      if (queue !== undefined) queue.writing = false;
      return;
    }
    if (status !== L.CPL_SC) {
      if (work.status !== 'ok' && work.failedAt < offset) return;
      work.status = status === L.CPL_UR ? 'unsupported-request' : 'completer-abort';
      work.failedAt = offset;
      return;
    }
    const at = this.dataAt(index, work, offset);
    work.data.set(this.core.u8.subarray(at, at + bytes), offset);
  }

  /** Begins what can begin, and calls back for what is done, in the order of the requests of each function. */
  drain(): void {
    if (this.pumping) return;
    this.pumping = true;
    try {
      for (let again = true; again; ) {
        again = false;
        for (const queue of this.queues.values()) {
          this.issue(queue);
          if (this.report(queue)) again = true;
        }
      }
    } finally {
      this.pumping = false;
    }
  }

  /** True when a callback ran: it may have asked for more. */
  private report(queue: Queue): boolean {
    let any = false;
    for (let work = queue.works[0]; work?.done === true && work.open === 0; work = queue.works[0]) {
      queue.works.shift();
      this.count(queue.fn);
      const { status, data, job } = work;
      const result: DmaResult = status === 'ok' ? { status, data } : { status };
      job.done(result);
      any = true;
    }
    return any;
  }

  private count(fn: PciFunction): void {
    if (++this.ended <= MAX_JOBS) return;
    for (const queue of this.queues.values()) queue.works = [];
    throw new ZtlpError('resource', `${fn.name}: more than ${MAX_JOBS} DMA requests in one call`, {
      field: 'dma',
      value: fn.name,
    });
  }

  private issue(queue: Queue): void {
    for (const work of queue.works) {
      if (work.done) continue;
      if (!this.begin(queue, work)) return;
    }
  }

  /** True once all of it is on its way. */
  private begin(queue: Queue, work: Work): boolean {
    const { job, data } = work;
    const { fn, options } = job;
    if (work.issued === 0 && (!fn.busMaster || (options.pasid !== undefined && !fn.pasidEnabled))) {
      work.status = 'blocked';
      work.done = true;
      return true;
    }
    while (work.issued < data.length) {
      if (queue.writing || !this.send(queue, work)) return false;
    }
    work.done = true;
    return true;
  }

  /** Sends the next piece, as one access of functional fidelity is cut. */
  private send(queue: Queue, work: Work): boolean {
    const { core } = this;
    const index = this.free.at(-1);
    if (index === undefined) return false;
    const { job, data, issued: offset } = work;
    const address = add64(job.address, offset);
    const isRead = typeof job.what === 'number';
    // The operations of an access: a page of bytes from its start on, wherever pages of memory begin.
    const bytes = Math.min(data.length - offset, L.PAGE_BYTES);
    const params = core.at(L.PLACE_PARAMS);
    const saved = core.u8.slice(params, params + L.PARAM_BYTES);
    setDmaParams(core, job.fn, isRead, job.options, L.MODE_TIMED);
    const at = this.dataAt(index, work, offset);
    if (isRead) core.u8.fill(0xff, at, at + bytes);
    else core.u8.set(data.subarray(offset, offset + bytes), at);
    const isLast = offset + bytes === data.length ? 1 : 0;
    const sent = core.x.timedDma(job.fn.slot, index, low32(address), high32(address), bytes, isLast);
    core.u8.set(saved, params);
    if (sent === 0) return false;
    this.free.pop();
    this.pieces[index] = { work, offset, bytes, isRead };
    work.open++;
    work.issued += bytes;
    if (!isRead) queue.writing = true;
    return true;
  }

  private dataAt(index: number, work: Work, offset: number): number {
    return this.core.x.timedDmaData(index, low32(add64(work.job.address, offset))) >>> 0;
  }
}
