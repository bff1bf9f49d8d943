/** Rates at which something other than the wire saturates: credits, buffers, tags, walkers, a shared uplink (timing.md 6). */
import { inRange, invalid } from '../base/errors.js';
import { type AnyLink, DLLP_WIRE_BYTES, wireNs } from '../base/link.js';

/** Bytes of one data credit. */
const CREDIT_BYTES = 16;

/** Data credits that a TLP with `payload` bytes takes. */
export function dataCredits(payload: number): number {
  return Math.ceil(inRange('payload', payload, 0, 4096) / CREDIT_BYTES);
}

/** Credits of one pool as advertised; infinite where nothing waits. */
export interface CreditPool {
  readonly headers: number;
  readonly data: number;
}

/** TLPs with `payload` bytes that the pool takes at once: headers, or data credits, whichever ends first. */
export function tlpsInFlight({ headers, data }: CreditPool, payload: number): number {
  const each = dataCredits(payload);
  return Math.min(headers, each === 0 ? Number.POSITIVE_INFINITY : Math.floor(data / each));
}

/** The way of a credit, or of an Ack, from the TLP to what brings it back. All times in ns, 0 or more. */
export interface RoundTrip {
  /** Bytes of the TLP on the wire. */
  readonly wire: number;
  /** Fixed latency one way. */
  readonly latencyNs: number;
  /** Time the receiver takes to free its buffer. */
  readonly drainNs?: number;
  /** Time until the DLLP leaves: 0 to the limit of the link. */
  readonly updateNs?: number;
}

/** Time from the first byte of a TLP to the return of its credits, or to its Ack, in ns. */
export function roundTripNs(link: AnyLink, trip: RoundTrip): number {
  const { wire, latencyNs, drainNs = 0, updateNs = 0 } = trip;
  for (const [name, value] of Object.entries({ latencyNs, drainNs, updateNs }))
    if (!(value >= 0)) throw invalid(name, value, 'a time of at least 0 ns', 'out-of-range');
  return wireNs(link, wire + DLLP_WIRE_BYTES) + 2 * latencyNs + drainNs + updateNs;
}

/** Gb/s when `count` transfers of `bytes` bytes may be under way for `ns` each: Little's law. */
export function littleGbps(count: number, bytes: number, ns: number): number {
  if (!(ns > 0)) throw invalid('latencyNs', ns, 'a time above 0 ns', 'out-of-range');
  return (8 * count * bytes) / ns;
}

/**
 * Gb/s that credits allow TLPs of `payload` bytes. With `updateNs` 0 no link is faster; with the limit of the UpdateFC
 * timer it is what is left at worst, since one UpdateFC may also report TLPs that came after its timer started.
 */
export function creditGbps(link: AnyLink, pool: CreditPool, payload: number, trip: RoundTrip): number {
  return littleGbps(tlpsInFlight(pool, payload), payload, roundTripNs(link, trip));
}

/** Gb/s that a replay buffer of `bytes` allows TLPs of `payload` bytes; `updateNs` is the time until the Ack leaves. */
export function replayBufferGbps(link: AnyLink, bytes: number, payload: number, trip: RoundTrip): number {
  return littleGbps(Math.floor(bytes / trip.wire), payload, roundTripNs(link, trip));
}

/** Requests of `bytes` bytes that have to be under way for `gbps` Gb/s at `latencyNs`. */
export function tagsToSaturate(gbps: number, bytes: number, latencyNs: number): number {
  return Math.ceil((gbps * latencyNs) / (8 * bytes));
}

/**
 * Share of uniformly random accesses over `pages` pages that a demand-filled, fully associative buffer of `entries`
 * entries hits, whatever it replaces.
 */
export function iotlbHitRatio(entries: number, pages: number): number {
  if (!(entries > 0)) throw invalid('entries', entries, 'at least 1', 'out-of-range');
  if (!(pages > 0)) throw invalid('pages', pages, 'at least 1', 'out-of-range');
  return Math.min(1, entries / pages);
}

/** Mean time that misses add to an access, in ns. */
export function iotlbAddedNs(hitRatio: number, walkNs: number): number {
  return walkNs * (1 - hitRatio);
}

/** Gb/s of accesses of `bytes` bytes when their misses keep `walkers` table walks of `walkNs` busy; infinite without misses. */
export function walkerGbps(hitRatio: number, walkNs: number, walkers: number, bytes: number): number {
  return hitRatio >= 1
    ? Number.POSITIVE_INFINITY
    : littleGbps(walkers, bytes, iotlbAddedNs(hitRatio, walkNs));
}

/**
 * Shares of an uplink of `gbps` between saturating senders served in turn, one TLP each: in proportion to the bytes of
 * their TLPs.
 */
export function uplinkShares(gbps: number, tlpBytes: readonly number[]): number[] {
  const round = tlpBytes.reduce((sum, bytes) => sum + bytes, 0);
  return tlpBytes.map((bytes) => (gbps * bytes) / round);
}
