/** The throughput of equal transfers on the link simulated event by event, as the table of `ztlp bandwidth` shows it. */

import { TICKS_PER_NS } from '../../assembly/layout.js';
import { parseLink } from '../base/link.js';
import type { OptionValue } from '../base/options.js';
import { COCOTBEXT_CREDITS } from '../link/reference-link.js';
import { ROOT_CREDITS, simulateLink } from '../link/simulation.js';

export interface SimulatedInput {
  readonly op: 'write' | 'read';
  /** Bytes of a transfer. */
  readonly size: number;
  readonly link: string;
  readonly mps: number;
  readonly mrrs: number;
  readonly tags: number;
  /** Time of a read from its request to its last byte on an idle link, ns; undefined: that of the link alone. */
  readonly latencyNs: number | undefined;
  readonly linkLatencyNs: number;
  readonly credits: OptionValue<'credits'> | undefined;
}

/** Enough TLPs that the start, one round trip, is less than 0.1 % (timing.md 9). */
const TLPS = 20_000;
const MOST_BYTES = 4096;
/** Wire bytes of a 4 DW read request, and of a completion without its data. */
const REQUEST_BYTES = 24;
const COMPLETION_BYTES = 20;

/** Gb/s of data; undefined for transfers that one access of the simulation cannot be. */
export async function simulateTransfers(input: SimulatedInput): Promise<number | undefined> {
  const { op, size, mps, mrrs, tags, latencyNs, linkLatencyNs } = input;
  // A partial DW counts as its bytes in the bounds, and as a DW on the wire.
  if (size > MOST_BYTES || size % 4 !== 0) return undefined;
  const common = { link: input.link, mps, latencyNs: linkLatencyNs };
  const receiver = { credits: input.credits === 'cocotbext' ? COCOTBEXT_CREDITS.root : ROOT_CREDITS };
  if (op === 'write') {
    const count = Math.ceil(TLPS / Math.ceil(size / mps));
    const { down } = await simulateLink({
      ...common,
      up: { writes: { count, bytes: size } },
      down: receiver,
    });
    return down.gbps;
  }
  // What MRRS cuts is as many reads of its size.
  if (size > mrrs && size % mrrs !== 0) return undefined;
  const bytes = Math.min(size, mrrs);
  const pieces = Math.ceil(bytes / mps);
  const wire = REQUEST_BYTES + pieces * COMPLETION_BYTES + bytes;
  const onLink = (wire * parseLink(input.link).ticksPerByte) / TICKS_PER_NS + 2 * linkLatencyNs;
  const completerNs = Math.max(0, (latencyNs ?? 0) - onLink);
  const { up } = await simulateLink({
    ...common,
    up: { reads: { count: Math.ceil(TLPS / pieces), bytes, tags } },
    down: { ...receiver, completerNs },
  });
  return up.gbps;
}
