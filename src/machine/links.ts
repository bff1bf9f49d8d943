/** What the links of a timed machine are and what they did. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../core/core.js';
import { high32, low32 } from '../core/u64.js';
import type { Credits } from '../link/simulation.js';
import type { CheckedLink } from './link-config.js';

/** One direction of a link: what its sender did, and what arrived at the other end. */
export interface LinkDirection {
  /** TLPs delivered, in order and once each, and their data bytes. */
  readonly tlps: number;
  readonly dataBytes: number;
  /** Bytes on the wire: TLPs, replays and DLLPs. */
  readonly wireBytes: number;
  /** Part of the time so far that the sender was sending. */
  readonly utilisation: number;
  /** Gb/s of data up to the last arrival. */
  readonly gbps: number;
  readonly lastArrivalNs: number;
  /** DLLPs of the sender. */
  readonly acks: number;
  readonly naks: number;
  readonly updateFcs: number;
  /** SKP ordered sets of the sender. */
  readonly skps: number;
  /** TLPs sent again, and replay timers that ran out. */
  readonly replayed: number;
  readonly timeouts: number;
  /** TLPs that came a second time. */
  readonly duplicates: number;
  /** Times that the head of a class could not go for want of credits or of room in the replay buffer. */
  readonly stalls: {
    readonly posted: number;
    readonly nonPosted: number;
    readonly completion: number;
  };
  /** Of all arrivals in their order. */
  readonly hash: string;
}

/** The link of one function. `down` is towards it. */
export interface MachineLink {
  readonly slot: number;
  /** `gen3x8`. */
  readonly speed: string;
  readonly mps: number;
  readonly latencyNs: number;
  readonly down: LinkDirection;
  readonly up: LinkDirection;
}

const REFRESH_NS = 30_000;
const ROOT = 0;
const FUNCTION = 1;

function hex(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}

/** The ports of all links in the core. */
export class Links {
  private readonly view: DataView;

  constructor(
    private readonly core: Core,
    private readonly links: readonly CheckedLink[],
  ) {
    this.view = new DataView(core.u8.buffer);
  }

  /** Describes all ports, as before `timedStart`. */
  write(): void {
    this.links.forEach((link, slot) => {
      this.writeEnd(slot, ROOT, link, link.rootCredits);
      this.writeEnd(slot, FUNCTION, link, link.endpointCredits);
    });
  }

  at(slot: number, ns: number): MachineLink {
    const { link, mps, latencyTicks } = this.links[slot] as CheckedLink;
    return {
      slot,
      speed: link.name,
      mps,
      latencyNs: latencyTicks / L.TICKS_PER_NS,
      down: this.direction(slot, ROOT, ns),
      up: this.direction(slot, FUNCTION, ns),
    };
  }

  get count(): number {
    return this.links.length;
  }

  /** When the first byte of a TLP that arrived at `ticks` left, if it was sent once. */
  sentTicks(slot: number, ticks: number, wireBytes: number): number {
    const { link, latencyTicks } = this.links[slot] as CheckedLink;
    return ticks - latencyTicks - wireBytes * link.ticksPerByte;
  }

  private base(slot: number, end: number): number {
    return this.core.at(L.PLACE_LINK) + (2 * slot + end) * L.LINK_PORT_STRIDE;
  }

  private writeEnd(slot: number, end: 0 | 1, link: CheckedLink, credits: Credits): void {
    const base = this.base(slot, end);
    const word = (offset: number, value: number): void => this.view.setUint32(base + offset, value, true);
    const ticks = (offset: number, value: number): void => {
      word(offset, low32(value));
      word(offset + 4, high32(value));
    };
    word(L.LINK_TICKS_PER_BYTE, link.link.ticksPerByte);
    word(L.LINK_MPS, link.mps);
    ticks(L.LINK_LATENCY, link.latencyTicks);
    ticks(L.LINK_ACK_INTERVAL, link.ackTicks);
    ticks(L.LINK_FC_INTERVAL, link.updateFcTicks);
    ticks(L.LINK_FC_REFRESH, REFRESH_NS * L.TICKS_PER_NS);
    ticks(L.LINK_REPLAY_LIMIT, link.replayTicks);
    ticks(L.LINK_DRAIN_DELAY, link.drainTicks);
    word(L.LINK_REPLAY_BYTES, link.replayBytes);
    ticks(L.LINK_SKP_TICKS, link.skpTicks);
    ticks(L.LINK_SKP_INTERVAL, link.skpPeriodTicks);
    word(L.LINK_BAD_TLPS, link.badTlps);
    word(L.LINK_BAD_DLLPS, link.badDllps);
    // An odd factor keeps seeds apart; the generator must not begin with 0.
    word(L.LINK_RANDOM, (Math.imul(link.seed * 2 + end + 1, 0x9e37_79b1) | 1) >>> 0);
    const { ph, pd, nph, npd, cplh, cpld } = credits;
    for (const [kind, count] of [ph, nph, cplh, pd, npd, cpld].entries())
      word(L.LINK_CREDITS + 4 * kind, count);
    ticks(L.LANE_SERVICE, end === ROOT ? link.hostReadTicks : link.mmioTicks);
    ticks(L.LANE_CONFIG_SERVICE, link.configTicks);
    ticks(L.LANE_INTERVAL, link.intervalTicks);
    word(L.LANE_TAGS, link.tags);
    word(L.LANE_RCB, link.rcb);
    word(L.LANE_COMPLETION_POLICY, link.completionPolicy);
  }

  /** What the port at `end` sent. */
  private direction(slot: number, end: 0 | 1, ns: number): LinkDirection {
    const sender = this.base(slot, end);
    const receiver = this.base(slot, 1 - end);
    const count = (at: number): number => Number(this.view.getBigUint64(at, true));
    const dataBytes = count(receiver + L.LINK_COUNT_DATA);
    const lastArrivalNs = count(receiver + L.LINK_LAST_ARRIVAL) / L.TICKS_PER_NS;
    const busy = count(sender + L.LINK_COUNT_BUSY);
    const { link, skpTicks } = this.links[slot] as CheckedLink;
    const skps = count(sender + L.LINK_COUNT_SKPS);
    return {
      tlps: count(receiver + L.LINK_COUNT_TLPS),
      dataBytes,
      wireBytes: (busy - skps * skpTicks) / link.ticksPerByte,
      utilisation: ns === 0 ? 0 : Math.min(1, busy / L.TICKS_PER_NS / ns),
      gbps: lastArrivalNs === 0 ? 0 : (8 * dataBytes) / lastArrivalNs,
      lastArrivalNs,
      acks: count(sender + L.LINK_COUNT_ACKS),
      naks: count(sender + L.LINK_COUNT_NAKS),
      updateFcs: count(sender + L.LINK_COUNT_FCS),
      skps,
      replayed: count(sender + L.LINK_COUNT_REPLAYED),
      timeouts: count(sender + L.LINK_COUNT_TIMEOUTS),
      duplicates: count(receiver + L.LINK_COUNT_DUPLICATES),
      stalls: {
        posted: count(sender + L.LINK_COUNT_BLOCKED),
        nonPosted: count(sender + L.LINK_COUNT_BLOCKED + 8),
        completion: count(sender + L.LINK_COUNT_BLOCKED + 16),
      },
      hash: hex(this.view.getBigUint64(receiver + L.LINK_HASH, true)),
    };
  }
}
