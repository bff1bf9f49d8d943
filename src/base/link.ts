/** Link speeds: integer ticks per byte, so that every byte time is exact (sheet timing.md 1, link.md 1). */
import { TICKS_PER_NS } from '../../assembly/layout.js';
import { invalid } from './errors.js';

/** A link of any generation. Those of 6 and 7 carry flits: the calculator knows them, the machine does not. */
export interface AnyLink {
  readonly generation: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  readonly lanes: 1 | 2 | 4 | 8 | 16;
  /** Ticks of 1/4096 ns that one byte takes. */
  readonly ticksPerByte: number;
  /** As written: `gen3x8`. */
  readonly name: string;
}

/** A non-flit link. */
export interface Link extends AnyLink {
  readonly generation: 1 | 2 | 3 | 4 | 5;
}

/** Bytes that a DLLP takes on a non-flit link, two of them framing (PCIe base specification 3.5, 4.2.2). */
export const DLLP_WIRE_BYTES = 8;

/**
 * Ticks per byte on one lane: 8b/10b at 2.5 and 5 GT/s, 128b/130b at 8, 16 and 32 GT/s, 1b/1b at 64 and 128 GT/s, where
 * the flits' own bytes are counted too.
 */
const TICKS_X1: Readonly<Record<AnyLink['generation'], number>> = {
  1: 16384,
  2: 8192,
  3: 4160,
  4: 2080,
  5: 1040,
  6: 512,
  7: 256,
};
const LANES: readonly AnyLink['lanes'][] = [1, 2, 4, 8, 16];

function read(text: string, newest: 5 | 7): AnyLink {
  const match = /^gen([1-7])x([1-9]\d?)$/i.exec(text);
  const generation = Number(match?.[1]) as AnyLink['generation'];
  const lanes = LANES.find((width) => width === Number(match?.[2]));
  if (match === null || lanes === undefined || generation > newest)
    throw invalid('link', text, `gen1 to gen${newest}, x1, x2, x4, x8 or x16, e.g. gen3x8`);
  return { generation, lanes, ticksPerByte: TICKS_X1[generation] / lanes, name: text.toLowerCase() };
}

/** Reads `gen3x8`, in any case. Throws ZtlpError for another form, generation or width. */
export function parseLink(text: string): Link {
  return read(text, 5) as Link;
}

/** The same up to generation 7. */
export function parseAnyLink(text: string): AnyLink {
  return read(text, 7);
}

/** Time of `bytes` on `link` in ns, exact. */
export function wireNs(link: AnyLink, bytes: number): number {
  return (bytes * link.ticksPerByte) / TICKS_PER_NS;
}
