/** What limits transfers of one size: the wire in each direction, credits, tags, and how fast an adapter issues. */
import { type AnyLink, type Link, wireNs } from '../base/link.js';
import type { OptionValue } from '../base/options.js';
import { usesFlits } from '../link/rates.js';
import { type CreditPool, dataCredits, littleGbps, roundTripNs, tlpsInFlight } from '../link/saturation.js';
import { ackLimitNs } from '../link/timers.js';
import { type SkpInput, wireLawGbps } from '../link/wire.js';
import {
  type Packet,
  type ReadPackets,
  readPackets,
  type TransferSetting,
  wireSum,
  writePackets,
} from './transfer-bytes.js';

/** A rate in Gb/s that nothing exceeds, and what sets it. */
export interface Bound {
  /**
   * Of the wire: `wire` for writes; `requests` or `completions` for reads; `up` or `down` when both run. `credits` and
   * `tags` are those of the slower kind of request, `issue` is the adapter.
   */
  readonly by: 'wire' | 'requests' | 'completions' | 'up' | 'down' | 'credits' | 'tags' | 'issue';
  readonly gbps: number;
}

export interface BoundSetting {
  readonly op: 'write' | 'read' | 'both';
  readonly link: AnyLink;
  readonly skp: SkpInput;
  readonly mps: number;
  readonly tags: number;
  /** Of a read under load; undefined for what the link alone takes. */
  readonly latencyNs: number | undefined;
  readonly linkLatencyNs: number;
  /** Undefined where credits do not count. */
  readonly credits: OptionValue<'credits'> | undefined;
  readonly adapter: { readonly writeIntervalNs: number; readonly readIntervalNs: number } | undefined;
}

/** What one transfer of `size` bytes, or one each way, becomes. */
export interface Transfer {
  readonly size: number;
  readonly writes: readonly Packet[];
  readonly reads: readonly ReadPackets[];
}

/** The packets of one transfer; await `ready()` before. */
export function transferOf(op: BoundSetting['op'], size: number, setting: TransferSetting): Transfer {
  return {
    size,
    writes: op === 'read' ? [] : writePackets(size, setting),
    reads: op === 'write' ? [] : readPackets(size, setting),
  };
}

/** Credits of a root port, posted and non-posted (timing.md 4, link.md 11). Completions never wait. */
const ROOT_PORT: Readonly<
  Record<OptionValue<'credits'>, { readonly posted: CreditPool; readonly nonPosted: CreditPool }>
> = {
  default: { posted: { headers: 64, data: 512 }, nonPosted: { headers: 64, data: 64 } },
  cocotbext: { posted: { headers: 64, data: 1024 }, nonPosted: { headers: 64, data: 64 } },
};

export interface Bounds {
  readonly list: readonly Bound[];
  readonly wireGbps: number;
  readonly tlps: number;
  readonly upBytes: number;
  readonly downBytes: number;
  /** What credits leave with every UpdateFC at its limit, in Gb/s. */
  readonly late: number | undefined;
}

/** The lowest of `bounds`, the first one where two are equal. */
export function lowest(bounds: readonly Bound[]): Bound {
  return bounds.reduce((least, bound) => (bound.gbps < least.gbps ? bound : least));
}

/** Every bound of `transfer`. Rates are those of one direction. */
export function boundsOf(transfer: Transfer, setting: BoundSetting): Bounds {
  const { size, writes, reads } = transfer;
  const { link, skp, op } = setting;
  const requests = reads.map(({ request }) => request);
  const completions = reads.flatMap((read) => read.completions);
  const upBytes = wireSum(writes) + wireSum(requests);
  const downBytes = wireSum(completions);
  const law = (bytes: number): number => wireLawGbps(link, size, bytes, skp);
  const wire: Bound[] =
    op === 'write'
      ? [{ by: 'wire', gbps: law(upBytes) }]
      : [
          { by: op === 'read' ? 'completions' : 'up', gbps: law(op === 'read' ? downBytes : upBytes) },
          { by: op === 'read' ? 'requests' : 'down', gbps: law(op === 'read' ? upBytes : downBytes) },
        ];
  return {
    list: [
      ...wire,
      ...creditBounds(transfer, setting, 0),
      ...tagBounds(transfer, setting),
      ...issueBounds(transfer, setting),
    ],
    wireGbps: lowest(wire).gbps,
    tlps: writes.length + requests.length + completions.length,
    upBytes,
    downBytes,
    late: lateUpdates(transfer, setting),
  };
}

/** Transfers of these packets that a pool takes at once: whole packets where all are alike. */
function transfersInFlight(pool: CreditPool, packets: readonly Packet[]): number {
  const [first = { payload: 0 }] = packets;
  if (packets.every(({ payload }) => payload === first.payload))
    return tlpsInFlight(pool, first.payload) / packets.length;
  const data = packets.reduce((sum, { payload }) => sum + dataCredits(payload), 0);
  return Math.min(pool.headers / packets.length, pool.data / data);
}

/** Bounds by credits when UpdateFC leaves `updateNs` after its credits are free: with 0 nothing is faster. */
function creditBounds({ size, writes, reads }: Transfer, setting: BoundSetting, updateNs: number): Bound[] {
  const { link, credits, linkLatencyNs } = setting;
  if (credits === undefined) return [];
  const { posted, nonPosted } = ROOT_PORT[credits];
  const kinds = [
    { pool: posted, packets: writes },
    { pool: nonPosted, packets: reads.map(({ request }) => request) },
  ].filter(({ packets }) => packets.length > 0);
  const rates = kinds.map(({ pool, packets }) => {
    // The shortest packet comes back first, so that the bound holds whatever is in flight.
    const shortest = Math.min(...packets.map((packet) => packet.wire));
    const trip = { wire: shortest, latencyNs: linkLatencyNs, updateNs };
    return littleGbps(transfersInFlight(pool, packets), size, roundTripNs(link, trip));
  });
  return [{ by: 'credits', gbps: Math.min(...rates) }];
}

function lateUpdates(transfer: Transfer, setting: BoundSetting): number | undefined {
  const { link, mps } = setting;
  if (usesFlits(link.generation)) return undefined;
  return creditBounds(transfer, setting, ackLimitNs(link as Link, mps))[0]?.gbps;
}

/** Time of a read on the link alone: nothing can be faster. */
function linkNs({ request, completions }: ReadPackets, { link, linkLatencyNs }: BoundSetting): number {
  return wireNs(link, request.wire + wireSum(completions)) + 2 * linkLatencyNs;
}

function tagBounds({ size, reads }: Transfer, setting: BoundSetting): Bound[] {
  if (reads.length === 0) return [];
  const { latencyNs = Math.min(...reads.map((read) => linkNs(read, setting))), tags } = setting;
  return [{ by: 'tags', gbps: littleGbps(tags / reads.length, size, latencyNs) }];
}

function issueBounds({ size, writes, reads }: Transfer, { adapter }: BoundSetting): Bound[] {
  if (adapter === undefined) return [];
  const intervals = [writes.length * adapter.writeIntervalNs, reads.length * adapter.readIntervalNs];
  return [{ by: 'issue', gbps: littleGbps(1, size, Math.max(...intervals)) }];
}
