/** What the links of a timed machine are and what they did. */
import * as L from '../../assembly/layout.js';
import * as P from '../../assembly/link-layout.js';
import type { Core } from '../core/core.js';
import { type Credits, dataGbps, readPort, type Stalls, utilisation, writePort } from '../link/ports.js';
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
  readonly stalls: Stalls;
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

const ROOT = 0;
const FUNCTION = 1;

/** The ports of all links in the core. */
export class Links {
  constructor(
    private readonly core: Core,
    private readonly links: readonly CheckedLink[],
  ) {}

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

  private writeEnd(slot: number, end: 0 | 1, link: CheckedLink, credits: Credits): void {
    const index = 2 * slot + end;
    const at = index * P.LINK_PORT_STRIDE;
    const word = (offset: number, value: number): void => this.core.setWord(L.PLACE_LINK, at + offset, value);
    const ticks = (offset: number, value: number): void =>
      this.core.setLong(L.PLACE_LINK, at + offset, value);
    writePort(this.core, index, { ...link, credits });
    ticks(P.END_SERVICE, end === ROOT ? link.hostReadTicks : link.mmioTicks);
    ticks(P.END_CONFIG_SERVICE, link.configTicks);
    ticks(P.END_INTERVAL, link.intervalTicks);
    word(P.END_TAGS, link.tags);
    word(P.END_RCB, link.rcb);
    word(P.END_COMPLETION_POLICY, link.completionPolicy);
  }

  /** What the port at `end` sent. */
  private direction(slot: number, end: 0 | 1, ns: number): LinkDirection {
    const sent = readPort(this.core, 2 * slot + end);
    const received = readPort(this.core, 2 * slot + 1 - end);
    const { link, skpTicks } = this.links[slot] as CheckedLink;
    const { tlps, dataBytes, lastArrivalNs, duplicates, hash } = received;
    const { acks, naks, updateFcs, skps, replayed, timeouts, busyTicks } = sent;
    return {
      tlps,
      dataBytes,
      wireBytes: (busyTicks - skps * skpTicks) / link.ticksPerByte,
      utilisation: utilisation(sent, ns),
      gbps: dataGbps(received),
      lastArrivalNs,
      acks,
      naks,
      updateFcs,
      skps,
      replayed,
      timeouts,
      duplicates,
      stalls: sent.stalls,
      hash,
    };
  }
}
