/**
 * The link of the public simulation cocotbext-pcie, packet by packet (sheet link.md 11): its arbitration, its timers of
 * Ack and UpdateFC, credits and flow control initialisation, without errors, replay and SKP. `simulateLink` is the model
 * of a real link; this one is there to be held against recordings of that project, so it keeps its time base too:
 * femtoseconds, every packet time cut to a whole number.
 */
import { DLLP_WIRE_BYTES, type Link } from '../base/link.js';
import type { Credits } from './ports.js';
import { gigatransfers, lineCode } from './rates.js';
import { unroundedAckLimit } from './timers.js';

/** Classes of credits, in the order in which they are initialised and reported. */
const FLOWS = ['P', 'NP', 'CPL'] as const;
type Flow = (typeof FLOWS)[number];

const FS_PER_SECOND = 1e15;
/** The Ack timer is that of this MPS, whatever the link has. */
const ACK_MPS = 128;
/** How often credits without news are looked at, and how old a report has to be to be sent again: 10 and 30 us. */
const IDLE_FS = 1e10;
const REFRESH_FS = 3e10;
const SEQUENCES = 4096;
/** Counters of a receiver: they wrap where those of the source do. DLLPs show the low 8 and 12 bits. */
const HEADER_COUNTS = 1 << 12;
const DATA_COUNTS = 1 << 16;

/** A TLP on such a link: what the link looks at, and what the caller makes of it. */
export interface ReferenceTlp<T> {
  readonly flow: Flow;
  readonly dataCredits: number;
  /** Bytes with framing. */
  readonly wire: number;
  readonly content: T;
}

export type ReferenceDllp =
  | { readonly type: 'Ack'; readonly sequence: number }
  | {
      readonly type: 'InitFC1' | 'InitFC2' | 'UpdateFC';
      readonly flow: Flow;
      readonly headerCredits: number;
      readonly dataCredits: number;
    };

/** A packet whose transmission began at `fs`. */
export type SentPacket<T> =
  | { readonly fs: number; readonly sequence: number; readonly tlp: ReferenceTlp<T> }
  | { readonly fs: number; readonly dllp: ReferenceDllp };

/** Events by time; those of one instant in the order in which they were made. */
export class Schedule {
  now = 0;
  private readonly events: { readonly fs: number; readonly run: () => void }[] = [];
  private readonly soon: (() => void)[] = [];

  at(fs: number, run: () => void): void {
    const place = this.events.findLastIndex((event) => event.fs <= fs) + 1;
    this.events.splice(place, 0, { fs, run });
  }

  /** Takes at least one step of time. */
  after(fs: number, run: () => void): void {
    this.at(this.now + Math.max(fs, 1), run);
  }

  /** At this instant, once what runs now has ended. */
  next(run: () => void): void {
    this.soon.push(run);
  }

  /** Runs events as long as `goesOn` says so of the time of the next one. */
  runWhile(goesOn: (nextFs: number) => boolean): void {
    for (;;) {
      for (let run = this.soon.shift(); run !== undefined; run = this.soon.shift()) run();
      const [event] = this.events;
      if (event === undefined || !goesOn(event.fs)) return;
      this.events.shift();
      this.now = event.fs;
      event.run();
    }
  }
}

/** Credits that one class was given and took, at the receiver and at the transmitter. */
interface Pool {
  /** Granted by this end's receiver. */
  headers: number;
  data: number;
  readonly isFreeHeaders: boolean;
  readonly isFreeData: boolean;
  /** Granted to this end's transmitter; undefined before initialisation. */
  limit: { headers: number; data: number; freeHeaders: boolean; freeData: boolean } | undefined;
  usedHeaders: number;
  usedData: number;
  /** When the class may be reported again. */
  reportFs: number;
}

function poolOf(headers: number, data: number): Pool {
  return {
    headers,
    data,
    isFreeHeaders: headers === 0,
    isFreeData: data === 0,
    limit: undefined,
    usedHeaders: 0,
    usedData: 0,
    reportFs: 0,
  };
}

interface PortInput<T> {
  readonly link: Link;
  /** One way, behind the last byte. */
  readonly delayFs: number;
  readonly credits: Credits;
  readonly schedule: Schedule;
  /** Takes a received TLP: `release` gives its credits back, `done` asks for the next one. */
  readonly receive: (tlp: ReferenceTlp<T>, release: () => void, done: () => void) => void;
  readonly sent: (packet: SentPacket<T>) => void;
}

/** Longest time from a TLP to its Ack, and from free credits to their UpdateFC: not rounded to symbols. */
function ackFs({ generation, lanes }: Link): number {
  const { over, under } = unroundedAckLimit(generation, lanes, ACK_MPS);
  return Math.trunc((((over / under) * 8) / laneRate(generation)) * FS_PER_SECOND);
}

/** Bits of data per second on one lane. */
function laneRate(generation: Link['generation']): number {
  const transfers = gigatransfers(generation) * 1e9;
  return lineCode(generation) === '8b/10b' ? (transfers * 8) / 10 : (transfers * 128) / 130;
}

/** One end. Its transmitter takes, in this order: an Ack that is due, UpdateFC or InitFC, a TLP. */
export class ReferencePort<T> {
  private other: ReferencePort<T> | undefined;
  private readonly pools: Readonly<Record<Flow, Pool>>;
  private readonly bytePeriod: number;
  private readonly timerFs: number;

  /** The transmitter holds one TLP ready; others wait in their order. */
  private ready: ReferenceTlp<T> | undefined;
  private readonly putters: { readonly tlp: ReferenceTlp<T>; readonly put: () => void }[] = [];
  /** TLPs without credits. */
  private readonly gated: { readonly tlp: ReferenceTlp<T>; readonly put: () => void }[] = [];
  private readonly received: ReferenceTlp<T>[] = [];
  private isHandling = false;
  private isSending = false;
  private nextSequence = 0;
  private expected = 0;

  private isAckDue = false;
  private isAckTimed = false;
  private isReportDue = false;
  private isReportTimed = false;

  /** All classes known; all classes confirmed; the transmitter has done its part. */
  private isFirstDone = false;
  private isSecondDone = false;
  private isInitialised = false;
  private initialising: Flow = 'P';

  constructor(private readonly input: PortInput<T>) {
    const { link, credits, schedule } = input;
    this.pools = {
      P: poolOf(credits.ph, credits.pd),
      NP: poolOf(credits.nph, credits.npd),
      CPL: poolOf(credits.cplh, credits.cpld),
    };
    this.bytePeriod = 8 / (laneRate(link.generation) * link.lanes);
    this.timerFs = ackFs(link);
    const idle = (): void => {
      this.isReportDue = true;
      this.wake();
      schedule.after(IDLE_FS, idle);
    };
    schedule.after(IDLE_FS, idle);
  }

  /** Connects both ends and lets them initialise flow control. */
  connect(other: ReferencePort<T>): void {
    for (const [one, two] of [
      [this, other],
      [other, this],
    ] as const) {
      one.other = two;
      one.wake();
    }
  }

  /** Whether nothing is under way from this end but refreshes. */
  get isQuiet(): boolean {
    const waits = this.ready !== undefined || this.putters.length + this.gated.length > 0;
    return !(this.isSending || waits || this.isAckTimed || this.isReportTimed || this.isHandling);
  }

  /** Sends a TLP when there are credits; `put` is called when the transmitter has taken it over. */
  send(tlp: ReferenceTlp<T>, put: () => void = () => {}): void {
    if (this.isSecondDone && this.hasCredits(tlp)) this.queue(tlp, put);
    else this.gated.push({ tlp, put });
  }

  private hasCredits({ flow, dataCredits }: ReferenceTlp<T>): boolean {
    const { limit, usedHeaders, usedData } = this.pools[flow];
    if (limit === undefined) return false;
    const left = (granted: number, used: number, of: number): number => (granted - used) & (of - 1);
    return (
      (limit.freeHeaders || left(limit.headers, usedHeaders, HEADER_COUNTS) > 0) &&
      (limit.freeData || left(limit.data, usedData, DATA_COUNTS) >= dataCredits)
    );
  }

  private queue(tlp: ReferenceTlp<T>, put: () => void): void {
    const pool = this.pools[tlp.flow];
    pool.usedHeaders = (pool.usedHeaders + 1) % HEADER_COUNTS;
    pool.usedData = (pool.usedData + tlp.dataCredits) % DATA_COUNTS;
    if (this.ready !== undefined) {
      this.putters.push({ tlp, put });
      return;
    }
    this.ready = tlp;
    this.wake();
    put();
  }

  /** Every TLP of these classes that now has credits goes on, in the order in which they came. */
  private openGate(flows: readonly Flow[]): void {
    for (const entry of [...this.gated]) {
      if (!flows.includes(entry.tlp.flow) || !this.hasCredits(entry.tlp)) continue;
      this.gated.splice(this.gated.indexOf(entry), 1);
      this.queue(entry.tlp, entry.put);
    }
  }

  private wake(): void {
    if (this.isSending) return;
    this.isSending = true;
    this.input.schedule.next(() => this.transmit());
  }

  private transmit(): void {
    const packet = this.choose();
    if (packet === undefined) {
      this.isSending = false;
      return;
    }
    const { schedule, sent, delayFs } = this.input;
    sent(packet);
    const bytes = 'tlp' in packet ? packet.tlp.wire : DLLP_WIRE_BYTES;
    schedule.after(Math.trunc(bytes * this.bytePeriod * FS_PER_SECOND), () => {
      this.transmit();
      schedule.after(delayFs, () => this.other?.arrive(packet));
    });
  }

  private choose(): SentPacket<T> | undefined {
    const fs = this.input.schedule.now;
    if (this.isAckDue) {
      this.isAckDue = false;
      return { fs, dllp: { type: 'Ack', sequence: (this.expected + SEQUENCES - 1) % SEQUENCES } };
    }
    const dllp = this.creditDllp(fs);
    if (dllp !== undefined) return { fs, dllp };
    const tlp = this.ready;
    if (tlp === undefined) return undefined;
    this.ready = undefined;
    const sequence = this.nextSequence;
    this.nextSequence = (sequence + 1) % SEQUENCES;
    const putter = this.putters.shift();
    if (putter !== undefined) {
      this.ready = putter.tlp;
      this.input.schedule.next(putter.put);
    }
    return { fs, sequence, tlp };
  }

  /** An UpdateFC that is due, else the next InitFC as long as no TLP is ready. */
  private creditDllp(fs: number): ReferenceDllp | undefined {
    if (!this.isReportDue && (this.isInitialised || this.ready !== undefined)) return undefined;
    if (this.isReportDue && this.isSecondDone) {
      const flow = FLOWS.find((name) => this.pools[name].reportFs <= fs);
      if (flow !== undefined) {
        this.pools[flow].reportFs = fs + REFRESH_FS;
        return this.report('UpdateFC', flow);
      }
    }
    if (!this.isInitialised) {
      const flow = this.initialising;
      this.initialising = FLOWS[(FLOWS.indexOf(flow) + 1) % FLOWS.length] as Flow;
      this.isInitialised = this.isSecondDone;
      return this.report(this.isFirstDone ? 'InitFC2' : 'InitFC1', flow);
    }
    this.isReportDue = false;
    return undefined;
  }

  private report(type: 'InitFC1' | 'InitFC2' | 'UpdateFC', flow: Flow): ReferenceDllp {
    const { headers, data } = this.pools[flow];
    return { type, flow, headerCredits: headers, dataCredits: data };
  }

  private arrive(packet: SentPacket<T>): void {
    if ('dllp' in packet) {
      if (packet.dllp.type !== 'Ack') this.takeCredits(packet.dllp);
      return;
    }
    this.expected = (packet.sequence + 1) % SEQUENCES;
    if (!this.isAckTimed) {
      this.isAckTimed = true;
      this.input.schedule.after(this.timerFs, () => {
        this.isAckTimed = false;
        this.isAckDue = true;
        this.wake();
      });
    }
    this.received.push(packet.tlp);
    this.handle();
  }

  private handle(): void {
    if (this.isHandling) return;
    const tlp = this.received.shift();
    if (tlp === undefined) return;
    this.isHandling = true;
    this.input.receive(
      tlp,
      () => this.release(tlp),
      () => {
        this.isHandling = false;
        this.handle();
      },
    );
  }

  private release({ flow, dataCredits }: ReferenceTlp<T>): void {
    const pool = this.pools[flow];
    if (!pool.isFreeHeaders) pool.headers = (pool.headers + 1) % HEADER_COUNTS;
    if (!pool.isFreeData) pool.data = (pool.data + dataCredits) % DATA_COUNTS;
    pool.reportFs = 0;
    if (this.isReportTimed) return;
    this.isReportTimed = true;
    this.input.schedule.after(this.timerFs, () => {
      this.isReportTimed = false;
      this.isReportDue = true;
      this.wake();
    });
  }

  private takeCredits(dllp: Exclude<ReferenceDllp, { type: 'Ack' }>): void {
    const { type, flow, headerCredits: headers, dataCredits: data } = dllp;
    const pool = this.pools[flow];
    if (!this.isFirstDone) {
      if (type === 'UpdateFC') return;
      pool.limit = { headers, data, freeHeaders: headers === 0, freeData: data === 0 };
      this.isFirstDone = FLOWS.every((name) => this.pools[name].limit !== undefined);
    } else if (!this.isSecondDone) {
      this.isSecondDone = type !== 'InitFC1';
      if (this.isSecondDone) this.openGate(FLOWS);
    } else if (type === 'UpdateFC' && pool.limit !== undefined) {
      pool.limit.headers = headers;
      pool.limit.data = data;
      this.openGate([flow]);
    }
  }
}
