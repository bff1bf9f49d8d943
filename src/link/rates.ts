/** Rates of a link: transfers, line code, raw data rate, symbol time, flits (sheets timing.md 1, link.md 1 and 8). */
import { TICKS_PER_NS } from '../../assembly/layout.js';
import type { AnyLink } from '../base/link.js';

export type Generation = AnyLink['generation'];

/** A fraction of integers: figures that are exact stay so until the one division at the end. */
export interface Ratio {
  readonly over: number;
  readonly under: number;
}

/** How bytes become bits of a lane. */
export type LineCode = '8b/10b' | '128b/130b' | '1b/1b';

/** 8b/10b up to 5 GT/s, 128b/130b up to 32 GT/s, flits without a code of their own above. */
export function lineCode(generation: Generation): LineCode {
  if (generation <= 2) return '8b/10b';
  return generation <= 5 ? '128b/130b' : '1b/1b';
}

/** Generation 6 and 7: packets travel in flits of 256 bytes. */
export function usesFlits(generation: Generation): boolean {
  return generation >= 6;
}

/** Transfers per lane in GT/s: 2.5, then 5, and from 8 on twice as many with every generation. */
export function gigatransfers(generation: Generation): number {
  return generation === 1 ? 2.5 : generation === 2 ? 5 : 2 ** generation;
}

/** Raw rate of a link in Gb/s as a fraction: 8 bits per byte time. Of flits all bytes count. */
export function rawRatio({ ticksPerByte }: Pick<AnyLink, 'ticksPerByte'>): Ratio {
  return { over: 8 * TICKS_PER_NS, under: ticksPerByte };
}

/** Raw rate of a link in Gb/s (10^9 bits), one direction: 63.0153846 for gen3x8. */
export function rawGbps(link: Pick<AnyLink, 'ticksPerByte'>): number {
  const { over, under } = rawRatio(link);
  return over / under;
}

/**
 * Symbol time of the timer tables in ticks: one byte of one lane by the name of the rate, 4, 2, 1, 0.5, 0.25 ns, so
 * without the sync header of 128b/130b (link.md 1 and 5). Flit mode has no such timers; the rule goes on halving.
 */
export function symbolTicks(generation: Generation): number {
  return (4 * TICKS_PER_NS) / 2 ** (generation - 1);
}

/** Bytes of one flit (link.md 8): room for TLPs, for the DLLP part, CRC and error correction. */
export const FLIT = { tlpBytes: 236, dlpBytes: 6, crcBytes: 8, eccBytes: 6, bytes: 256 } as const;

/** Time of one flit on `link` in ticks: 8192 (2 ns) at gen6x16. */
export function flitTicks({ ticksPerByte }: Pick<AnyLink, 'ticksPerByte'>): number {
  return FLIT.bytes * ticksPerByte;
}

/** Rate in Gb/s at which `link` carries bytes of TLPs: 236 of 256 on flits, all of them else. */
export function tlpRatio(link: AnyLink): Ratio {
  const { over, under } = rawRatio(link);
  return usesFlits(link.generation)
    ? { over: over * FLIT.tlpBytes, under: under * FLIT.bytes }
    : { over, under };
}
