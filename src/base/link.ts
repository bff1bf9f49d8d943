/** Link speeds: integer ticks per byte, so that every byte time of gen 1 to 5 is exact (sheet timing.md 1). */
import { TICKS_PER_NS } from '../../assembly/layout.js';
import { invalid } from './errors.js';

/** A non-flit link. */
export interface Link {
  readonly generation: 1 | 2 | 3 | 4 | 5;
  readonly lanes: 1 | 2 | 4 | 8 | 16;
  /** Ticks of 1/4096 ns that one byte takes. */
  readonly ticksPerByte: number;
  /** As written: `gen3x8`. */
  readonly name: string;
}

/** Ticks per byte on one lane: 8b/10b at 2.5 and 5 GT/s, 128b/130b at 8, 16 and 32 GT/s. */
const TICKS_X1: Readonly<Record<Link['generation'], number>> = {
  1: 16384,
  2: 8192,
  3: 4160,
  4: 2080,
  5: 1040,
};
const LANES: readonly Link['lanes'][] = [1, 2, 4, 8, 16];

/** Reads `gen3x8`, in any case. Throws ZtlpError for another form, generation or width. */
export function parseLink(text: string): Link {
  const match = /^gen([1-5])x(\d{1,2})$/i.exec(text);
  const lanes = LANES.find((width) => width === Number(match?.[2]));
  if (match === null || lanes === undefined)
    throw invalid('link', text, 'gen1 to gen5, x1, x2, x4, x8 or x16, e.g. gen3x8');
  const generation = Number(match[1]) as Link['generation'];
  return { generation, lanes, ticksPerByte: TICKS_X1[generation] / lanes, name: text.toLowerCase() };
}

/** Time of `bytes` on `link` in ns, exact. */
export function wireNs(link: Link, bytes: number): number {
  return (bytes * link.ticksPerByte) / TICKS_PER_NS;
}
