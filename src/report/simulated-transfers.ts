/** The throughput of equal transfers on the link simulated event by event, as the table of `ztlp bandwidth` shows it. */

import { TICKS_PER_NS } from '../../assembly/layout.js';
import { parseLink } from '../base/link.js';
import type { OptionValue } from '../base/options.js';
import { COCOTBEXT_CREDITS, type Credits, ROOT_CREDITS } from '../link/ports.js';
import { simulateLink } from '../link/simulation.js';

export interface SimulatedInput {
  /** What the endpoint does: writes to the host, reads of it, or as many of both at once. */
  readonly op: 'write' | 'read' | 'both';
  /** Bytes of a transfer. */
  readonly size: number;
  readonly link: string;
  readonly addressBits: 32 | 64;
  readonly ecrc: boolean;
  readonly skp: boolean;
  readonly skpInterval: number | undefined;
  readonly mps: number;
  readonly mrrs: number;
  readonly rcb: number;
  readonly completionPolicy: OptionValue<'completionPolicy'>;
  readonly tags: number;
  /** Time of a read from its request to its last byte on an idle link, ns; undefined: that of the link alone. */
  readonly latencyNs: number | undefined;
  readonly linkLatencyNs: number;
  /** Of the root port. `infinite`: nothing ever waits for credits. */
  readonly credits: OptionValue<'credits'> | 'infinite' | undefined;
  /** How fast the endpoint begins requests: ns from one to the next. */
  readonly adapter?: { readonly writeIntervalNs: number; readonly readIntervalNs: number } | undefined;
  /** Write or completion TLPs to send. Default 20,000, so that the start, one round trip, is less than 0.1 %. */
  readonly tlps?: number;
}

const TLPS = 20_000;
const MOST_BYTES = 4096;
const MOST_TAGS = 1024;
const INFINITE: Credits = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };

function creditsOf(name: SimulatedInput['credits']): Credits {
  if (name === 'infinite') return INFINITE;
  return name === 'cocotbext' ? COCOTBEXT_CREDITS.root : ROOT_CREDITS;
}

/** Accesses follow each other in memory: all of them are cut alike when one of the two divides the other. */
function fits(size: number, border: number): boolean {
  return size % border === 0 || border % size === 0;
}

/** Whether `simulateTransfers` has an answer. */
export function canSimulate({
  op,
  size,
  mps,
  mrrs,
}: Pick<SimulatedInput, 'op' | 'size' | 'mps' | 'mrrs'>): boolean {
  const isWhole = size >= 4 && size <= MOST_BYTES && size % 4 === 0 && fits(size, mps);
  return isWhole && (op === 'write' || fits(size, mrrs));
}

/** One read of `bytes` bytes alone on the link, ns. */
function linkNs(
  { link, addressBits, ecrc, mps, rcb, completionPolicy, ...input }: SimulatedInput,
  bytes: number,
): number {
  const pieces = Math.ceil(bytes / (completionPolicy === 'rcb' ? rcb : mps));
  const digest = ecrc ? 4 : 0;
  const wire = (addressBits === 64 ? 24 : 20) + digest + pieces * (20 + digest) + bytes;
  return (wire * parseLink(link).ticksPerByte) / TICKS_PER_NS + 2 * input.linkLatencyNs;
}

/**
 * Gb/s of data, each way with `both`; undefined for transfers that are not whole DWs or would be cut now this way, now
 * that, as one follows the other.
 */
export async function simulateTransfers(input: SimulatedInput): Promise<number | undefined> {
  const { op, size, mps, mrrs, tags, adapter, tlps = TLPS } = input;
  if (!canSimulate(input)) return undefined;
  const asked = Math.min(size, mrrs);
  const cut = Math.ceil(size / mps);
  const count = Math.ceil(tlps / cut);
  const reads = size / asked;
  const { up, down } = await simulateLink({
    link: input.link,
    mps,
    latencyNs: input.linkLatencyNs,
    ecrc: input.ecrc,
    skp: input.skp,
    ...(input.skpInterval === undefined ? {} : { skpInterval: input.skpInterval }),
    rcb: input.rcb,
    completionPolicy: input.completionPolicy,
    up: {
      credits: creditsOf(input.credits),
      completerNs: op === 'write' ? 0 : Math.max(0, (input.latencyNs ?? 0) - linkNs(input, asked)),
    },
    down: {
      wide: input.addressBits === 64,
      ...(op === 'read'
        ? {}
        : { writes: { count, bytes: size, intervalNs: cut * (adapter?.writeIntervalNs ?? 0), waits: true } }),
      ...(op === 'write'
        ? {}
        : {
            reads: {
              count: count * reads,
              bytes: asked,
              tags: Math.min(tags, MOST_TAGS),
              intervalNs: adapter?.readIntervalNs ?? 0,
            },
          }),
    },
  });
  // With both, as many transfers each way: what ends last says how fast they are at equal rates.
  const last = (end: { readonly lastArrivalNs: number }): number => end.lastArrivalNs;
  const ns = op === 'write' ? last(up) : op === 'read' ? last(down) : Math.max(last(up), last(down));
  return (8 * count * size) / ns;
}
