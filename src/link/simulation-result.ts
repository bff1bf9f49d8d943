/** What the ends of a simulated link did: read from the core after a run. */
import * as L from '../../assembly/layout.js';
import * as P from '../../assembly/link-layout.js';
import type { Core } from '../core/core.js';
import { dataGbps, readPort, type Stalls, utilisation } from './ports.js';

/** A packet as it leaves an end. */
export interface Packet {
  /** When its first byte leaves. */
  readonly ns: number;
  readonly kind: 'TLP' | 'Ack' | 'Nak' | 'UpdateFC' | 'SKP' | 'InitFC1' | 'InitFC2';
  /** Sequence number of a TLP, or the one that an Ack or Nak names. */
  readonly sequence?: number;
  /** Header words of a TLP: three or four. */
  readonly header?: readonly number[];
  /** Of an UpdateFC or InitFC: pool and limits, modulo 256 and 4096. */
  readonly credits?: { readonly pool: 'P' | 'NP' | 'Cpl'; readonly header: number; readonly data: number };
  /** True: it arrives broken. */
  readonly bad: boolean;
}

/** What one end received and sent. */
export interface EndResult {
  /** TLPs delivered to this end, in order and once each, and their data bytes. */
  readonly tlps: number;
  readonly dataBytes: number;
  /** Gb/s of the data that arrived here, writes and read data alike, up to the last arrival. */
  readonly gbps: number;
  readonly lastArrivalNs: number;
  readonly acks: number;
  readonly naks: number;
  readonly updateFcs: number;
  readonly replayed: number;
  readonly duplicates: number;
  readonly timeouts: number;
  /** Part of the time that this end was sending. */
  readonly utilisation: number;
  readonly stalls: Stalls;
  /** Of all arrivals in their order: the same for the same input on every host. */
  readonly hash: string;
  readonly reads: {
    readonly done: number;
    readonly meanNs: number;
    readonly minNs: number;
    readonly maxNs: number;
    /** Half of the reads took this long or less; then 90 %, 99 % and 99.9 %. Within 1/128. */
    readonly p50Ns: number;
    readonly p90Ns: number;
    readonly p99Ns: number;
    readonly p999Ns: number;
  };
  /** Credits of posted requests, non-posted requests and completions: header and data of each class in turn. */
  readonly credits: {
    /** That the TLPs of this end have used. */
    readonly used: readonly number[];
    /** That this end has given back to the other, for finite pools; 0 otherwise. */
    readonly returned: readonly number[];
  };
  /** The first packets that this end sent, as many as asked for. */
  readonly packets: readonly Packet[];
  /** SKP ordered sets that this end sent. */
  readonly skps: number;
}

/** What `end` did in `ns` of simulated time, as the core's blocks say. */
export function readEnd(core: Core, end: 0 | 1, ns: number): EndResult {
  const view = new DataView(core.u8.buffer);
  const base = core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE;
  const inNs = (offset: number): number => Number(view.getBigUint64(base + offset, true)) / L.TICKS_PER_NS;
  const counts = readPort(core, end);
  const { busyTicks: _, ...known } = counts;
  const done = view.getUint32(base + P.LOAD_READ_DONE, true);
  return {
    ...known,
    gbps: dataGbps(counts),
    utilisation: utilisation(counts, ns),
    credits: creditsOf(view, base),
    packets: packetsOf(core, view, end),
    reads: {
      done,
      meanNs: done === 0 ? 0 : inNs(P.LOAD_LATENCY_SUM) / done,
      minNs: done === 0 ? 0 : inNs(P.LOAD_LATENCY_MIN),
      maxNs: inNs(P.LOAD_LATENCY_MAX),
      ...percentiles(core, view, end, done),
    },
  };
}

function packetsOf(core: Core, view: DataView, end: 0 | 1): Packet[] {
  const port = core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE;
  const first = core.at(L.PLACE_LINK_LOG) + end * P.LOG_SLOTS * P.LOG_STRIDE;
  const count = view.getUint32(port + P.LINK_LOGGED, true);
  return Array.from({ length: count }, (_, n) => readPacket(view, first + n * P.LOG_STRIDE));
}

function creditsOf(view: DataView, base: number): EndResult['credits'] {
  const word = (offset: number): number => view.getUint32(base + offset, true);
  const classes = [P.LINK_P, P.LINK_NP, P.LINK_CPL].map((kind) => 4 * kind);
  return {
    used: classes.flatMap((at) => [word(P.LINK_HEADER_USED + at), word(P.LINK_DATA_USED + at)]),
    returned: classes.flatMap((at) => {
      const [header, data] = [word(P.LINK_CREDITS + at), word(P.LINK_CREDITS + 12 + at)];
      return [word(P.LINK_HEADER_GIVEN + at) - header, word(P.LINK_DATA_GIVEN + at) - data];
    }),
  };
}

/** The longest of the slot that holds the read of that rank, never above the longest of all. */
function percentiles(
  core: Core,
  view: DataView,
  end: 0 | 1,
  done: number,
): Record<'p50Ns' | 'p90Ns' | 'p99Ns' | 'p999Ns', number> {
  const base = core.at(L.PLACE_LATENCIES) + 4 * end * P.LATENCY_SLOTS;
  const most = core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE + P.LOAD_LATENCY_MAX;
  const longest = Number(view.getBigUint64(most, true));
  const within = (part: number): number => {
    let left = Math.ceil(part * done);
    if (left === 0) return 0;
    let slot = 0;
    for (; left > 0; slot++) left -= view.getUint32(base + 4 * slot, true);
    return Math.min(longest, latencyOf(slot - 1)) / L.TICKS_PER_NS;
  };
  return { p50Ns: within(0.5), p90Ns: within(0.9), p99Ns: within(0.99), p999Ns: within(0.999) };
}

function readPacket(view: DataView, at: number): Packet {
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const [what, value] = [word(8), word(12)];
  const ns = Number(view.getBigUint64(at, true)) / L.TICKS_PER_NS;
  const kind = (['TLP', 'Ack', 'Nak', 'UpdateFC', 'SKP', 'InitFC1', 'InitFC2'] as const)[
    what & 7
  ] as Packet['kind'];
  const bad = (what & P.LOG_BAD) !== 0;
  if (kind === 'SKP') return { ns, kind, bad };
  if (kind === 'UpdateFC' || kind === 'InitFC1' || kind === 'InitFC2') {
    const pool = (['P', 'NP', 'Cpl'] as const)[value >>> 24] as 'P' | 'NP' | 'Cpl';
    return { ns, kind, credits: { pool, header: (value >>> 12) & 0xff, data: value & 0xfff }, bad };
  }
  if (kind !== 'TLP') return { ns, kind, sequence: value, bad };
  // Bit 29 of DW0: four header words.
  const words = (word(16) >>> 29) & 1 ? 4 : 3;
  const header = Array.from({ length: words }, (_, n) => word(16 + 4 * n));
  return { ns, kind, sequence: value, header, bad };
}

/** Longest time that a slot of the LATENCIES block counts, ticks. */
function latencyOf(slot: number): number {
  const row = Math.max(0, (slot >> P.LATENCY_COLUMNS_LG2) - 1);
  return (slot - (row << P.LATENCY_COLUMNS_LG2) + 1) * 2 ** row - 1;
}
