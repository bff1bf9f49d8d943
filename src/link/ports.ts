/** A port of a link in the core: what it is, written before a run, and what it did, read afterwards. */
import * as L from '../../assembly/layout.js';
import * as P from '../../assembly/link-layout.js';
import type { Link } from '../base/link.js';
import { keysOf } from '../base/names.js';
import type { Core } from '../core/core.js';

/** Credits that a receiver gives: header and data credits by class, 0 for infinite. At most 127 and 2047. */
export interface Credits {
  readonly ph: number;
  readonly pd: number;
  readonly nph: number;
  readonly npd: number;
  readonly cplh: number;
  readonly cpld: number;
}

export const CREDIT_KEYS = keysOf<Credits>({
  ph: true,
  pd: true,
  nph: true,
  npd: true,
  cplh: true,
  cpld: true,
});

/** What receivers advertise by default (timing.md 4): the root port, and the endpoint. */
export const ROOT_CREDITS: Credits = { ph: 64, pd: 512, nph: 64, npd: 64, cplh: 0, cpld: 0 };
export const ENDPOINT_CREDITS: Credits = { ph: 32, pd: 256, nph: 32, npd: 32, cplh: 0, cpld: 0 };

/** What cocotbext-pcie advertises (link.md 11). */
export const COCOTBEXT_CREDITS: Readonly<Record<'root' | 'endpoint', Credits>> = {
  root: { ph: 64, pd: 1024, nph: 64, npd: 64, cplh: 64, cpld: 1024 },
  endpoint: { ph: 64, pd: 1024, nph: 64, npd: 64, cplh: 0, cpld: 0 },
};

/** UpdateFC of a class without news (base specification 2.6.1.2). */
export const REFRESH_NS = 30_000;
/** A ring holds what is on the wire: with 2047 TLPs and their DLLPs never more than 16,384 packets. */
export const MOST_LATENCY_NS = 100_000;

/** Figures of one end of a link; times in ticks of 1/4096 ns. */
export interface PortFigures {
  readonly link: Link;
  readonly mps: number;
  readonly latencyTicks: number;
  /** 0: an Ack for each TLP, an UpdateFC at once. */
  readonly ackTicks: number;
  readonly updateFcTicks: number;
  readonly replayTicks: number;
  readonly drainTicks: number;
  /** Wire bytes that may be unacknowledged. */
  readonly replayBytes: number;
  /** Time that an SKP ordered set takes, and from one to the next; 0: there are none. */
  readonly skpTicks: number;
  readonly skpPeriodTicks: number;
  /** Of 2^32 TLPs and DLLPs, how many arrive broken. */
  readonly badTlps: number;
  readonly badDllps: number;
  readonly seed: number;
  readonly credits: Credits;
}

/** Looks of a transmitter at the head of a class that lacked credits or room in the replay buffer; one TLP may count many times. */
export interface Stalls {
  readonly posted: number;
  readonly nonPosted: number;
  readonly completion: number;
}

/** What a port did; `tlps`, `dataBytes`, `duplicates`, the last arrival and the hash are of what arrived, the others of what it sent. */
export interface PortCounts {
  readonly tlps: number;
  readonly dataBytes: number;
  readonly duplicates: number;
  readonly lastArrivalNs: number;
  readonly hash: string;
  readonly acks: number;
  readonly naks: number;
  readonly updateFcs: number;
  readonly skps: number;
  readonly replayed: number;
  readonly timeouts: number;
  readonly busyTicks: number;
  readonly stalls: Stalls;
}

/** Ticks of `ns`, to the nearest. */
export function ticksOf(ns: number): number {
  return Math.round(ns * L.TICKS_PER_NS);
}

/** COM and three SKP symbols with 8b/10b, a block of 16 symbols with 128b/130b; a symbol is a byte on every lane (link.md 6). */
export function skpOf(
  { generation, ticksPerByte, lanes }: Link,
  isOn: boolean,
  interval: number,
): Pick<PortFigures, 'skpTicks' | 'skpPeriodTicks'> {
  const symbol = ticksPerByte * lanes;
  const isOld = generation <= 2;
  const skpTicks = (isOld ? 4 : 16) * symbol;
  return { skpTicks, skpPeriodTicks: isOn ? interval * (isOld ? symbol : skpTicks) : 0 };
}

/** Describes port `index`: the root end of link n is 2n, the endpoint's 2n + 1. */
export function writePort(core: Core, index: number, figures: PortFigures): void {
  const at = index * P.LINK_PORT_STRIDE;
  const word = (offset: number, value: number): void => core.setWord(L.PLACE_LINK, at + offset, value);
  const ticks = (offset: number, value: number): void => core.setLong(L.PLACE_LINK, at + offset, value);
  word(P.LINK_TICKS_PER_BYTE, figures.link.ticksPerByte);
  word(P.LINK_MPS, figures.mps);
  ticks(P.LINK_LATENCY, figures.latencyTicks);
  ticks(P.LINK_ACK_INTERVAL, figures.ackTicks);
  ticks(P.LINK_FC_INTERVAL, figures.updateFcTicks);
  ticks(P.LINK_FC_REFRESH, ticksOf(REFRESH_NS));
  ticks(P.LINK_REPLAY_LIMIT, figures.replayTicks);
  ticks(P.LINK_DRAIN_DELAY, figures.drainTicks);
  word(P.LINK_REPLAY_BYTES, figures.replayBytes);
  ticks(P.LINK_SKP_TICKS, figures.skpTicks);
  ticks(P.LINK_SKP_INTERVAL, figures.skpPeriodTicks);
  word(P.LINK_BAD_TLPS, figures.badTlps);
  word(P.LINK_BAD_DLLPS, figures.badDllps);
  // An odd factor keeps seeds and ends apart; the generator must not begin with 0.
  word(P.LINK_RANDOM, (Math.imul(figures.seed * 2 + (index & 1) + 1, 0x9e37_79b1) | 1) >>> 0);
  const { ph, pd, nph, npd, cplh, cpld } = figures.credits;
  for (const [kind, count] of [ph, nph, cplh, pd, npd, cpld].entries())
    word(P.LINK_CREDITS + 4 * kind, count);
}

export function readPort(core: Core, index: number): PortCounts {
  const view = new DataView(core.u8.buffer);
  const at = core.at(L.PLACE_LINK) + index * P.LINK_PORT_STRIDE;
  const count = (offset: number): number => Number(view.getBigUint64(at + offset, true));
  return {
    tlps: count(P.LINK_COUNT_TLPS),
    dataBytes: count(P.LINK_COUNT_DATA),
    duplicates: count(P.LINK_COUNT_DUPLICATES),
    lastArrivalNs: count(P.LINK_LAST_ARRIVAL) / L.TICKS_PER_NS,
    hash: view
      .getBigUint64(at + P.LINK_HASH, true)
      .toString(16)
      .padStart(16, '0'),
    acks: count(P.LINK_COUNT_ACKS),
    naks: count(P.LINK_COUNT_NAKS),
    updateFcs: count(P.LINK_COUNT_FCS),
    skps: count(P.LINK_COUNT_SKPS),
    replayed: count(P.LINK_COUNT_REPLAYED),
    timeouts: count(P.LINK_COUNT_TIMEOUTS),
    busyTicks: count(P.LINK_COUNT_BUSY),
    stalls: {
      posted: count(P.LINK_COUNT_BLOCKED),
      nonPosted: count(P.LINK_COUNT_BLOCKED + 8),
      completion: count(P.LINK_COUNT_BLOCKED + 16),
    },
  };
}

/** Part of `ns` in which a port was sending. What goes out when the last Ack arrives ends later. */
export function utilisation({ busyTicks }: PortCounts, ns: number): number {
  return ns === 0 ? 0 : Math.min(1, busyTicks / L.TICKS_PER_NS / ns);
}

/** Gb/s of data up to the last arrival. */
export function dataGbps({ dataBytes, lastArrivalNs }: PortCounts): number {
  return lastArrivalNs === 0 ? 0 : (8 * dataBytes) / lastArrivalNs;
}
