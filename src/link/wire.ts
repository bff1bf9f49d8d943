/** Bytes of packets on the wire, and what SKP ordered sets take of it (sheets timing.md 2, link.md 4, 6, 9). */
import { inRange, invalid } from '../base/errors.js';
import type { AnyLink } from '../base/link.js';
import { checkOption } from '../base/options.js';
import { type Generation, lineCode, type Ratio, tlpRatio, usesFlits } from './rates.js';

/** What of a TLP takes room on the wire. */
export interface WireTlp {
  /** Header without prefixes. Flit mode: the header base. */
  readonly headerDw: 3 | 4;
  /** Whole DWs of data: 0 to 1024. */
  readonly payloadDw: number;
  /** TLP prefixes of one DW each, 0 to 4. Flit mode: DWs of orthogonal header content. */
  readonly prefixes?: number;
  /** ECRC of one DW. Flit mode: the trailer. */
  readonly ecrc?: boolean;
}

/** Framing, sequence number and LCRC: 1 + 2 + 4 + 1 with 8b/10b, 4 (token) + 4 with 128b/130b. */
export const TLP_OVERHEAD_BYTES = 8;

/**
 * Bytes that a TLP takes on a link of `generation`, 1 by default. Flits hold TLPs without framing, sequence number and
 * LCRC. Throws ZtlpError `out-of-range` for counts that no TLP has.
 */
export function tlpWireBytes(tlp: WireTlp, generation: Generation = 1): number {
  const { headerDw, payloadDw, prefixes = 0, ecrc = false } = tlp;
  inRange('headerDw', headerDw, 3, 4);
  inRange('payloadDw', payloadDw, 0, 1024);
  inRange('prefixes', prefixes, 0, 4);
  const around = usesFlits(generation) ? 0 : TLP_OVERHEAD_BYTES;
  return around + 4 * (headerDw + payloadDw + prefixes + (ecrc ? 1 : 0));
}

/** Share of a raw link that is payload when TLPs of `payload` bytes and `wire` bytes fill it: 256 of 280, for example. */
export function efficiency(link: AnyLink, payload: number, wire: number): number {
  const of = usesFlits(link.generation) ? 236 / 256 : 1;
  return (payload / wire) * of;
}

/** Whether SKP ordered sets take time, and how far apart they are. */
export interface SkpInput {
  readonly skp?: 'off' | 'on' | undefined;
  /** Symbol times between sets with 8b/10b (`skpSymbols`), blocks with 128b/130b (`skpBlocks`). Default: the longest. */
  readonly interval?: number | undefined;
}

/**
 * Part of the time that SKP ordered sets leave to packets: 1 - 4/1538 with 8b/10b, 1 - 1/375 with 128b/130b, at the
 * default intervals. Throws ZtlpError for an interval outside the option's range, and for flits, whose figures no source
 * gives.
 */
export function skpRatio(generation: Generation, { skp = 'off', interval }: SkpInput = {}): Ratio {
  checkOption('skp', skp);
  if (skp === 'off') {
    if (interval !== undefined) throw invalid('skpInterval', interval, 'nothing while skp is off');
    return { over: 1, under: 1 };
  }
  switch (lineCode(generation)) {
    case '8b/10b': {
      const symbols = checkOption('skpSymbols', interval ?? 1538);
      return { over: symbols - 4, under: symbols };
    }
    case '128b/130b': {
      const blocks = checkOption('skpBlocks', interval ?? 375);
      return { over: blocks - 1, under: blocks };
    }
    case '1b/1b':
      throw invalid('skp', skp, 'off, on a link of flits: no source gives the interval');
  }
}

/** The wire law: Gb/s of payload when every `payload` bytes take `wire` bytes of one direction (timing.md 6, posted). */
export function wireLawGbps(link: AnyLink, payload: number, wire: number, skp: SkpInput = {}): number {
  const rate = tlpRatio(link);
  const left = skpRatio(link.generation, skp);
  // Integers below 2^53 up to here, so the quotient is the nearest number to the exact rate.
  return (rate.over * payload * left.over) / (rate.under * wire * left.under);
}
