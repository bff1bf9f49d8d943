/** Ack and UpdateFC latency limits and the replay timer of a non-flit link (sheets timing.md 5, link.md 5). */
import { TICKS_PER_NS } from '../../assembly/layout.js';
import { inRange, invalid } from '../base/errors.js';
import type { Link } from '../base/link.js';
import { checkOption, type OptionValue } from '../base/options.js';
import { type Ratio, symbolTicks } from './rates.js';

/** Widths of the tables. Links of x12 and x32 cannot be built, but their limits are defined. */
export const TIMER_WIDTHS = [1, 2, 4, 8, 12, 16, 32] as const;
export type TimerWidth = (typeof TIMER_WIDTHS)[number];

/** Bytes of a TLP around its payload in the formula of the limits: 8 of the link, 4 DW of header, ECRC. */
const TLP_OVERHEAD = 28;

/** Wire bytes of the longest TLP. */
export function largestTlpBytes(mps: number): number {
  return mps + TLP_OVERHEAD;
}

/** Delay inside the receiver in symbol times: 2.5, 5, 8 GT/s and faster. */
function internalDelay(generation: Link['generation']): number {
  return generation === 1 ? 19 : generation === 2 ? 70 : 115;
}

/** Ten times the factor of TLPs that one Ack or UpdateFC may stand for. */
function tenfoldFactor(width: TimerWidth, mps: number): number {
  if (mps <= 256) return width <= 4 ? 14 : width === 8 ? 25 : 30;
  return width <= 8 ? 10 : 20;
}

/** The limit before it is rounded, in symbol times as a fraction. The cocotbext preset uses it like this. */
export function unroundedAckLimit(generation: Link['generation'], width: TimerWidth, mps: number): Ratio {
  inRange('generation', generation, 1, 5);
  if (!TIMER_WIDTHS.includes(width)) throw invalid('width', width, TIMER_WIDTHS.join(', '));
  checkOption('mps', mps);
  const under = 10 * width;
  return {
    over: (mps + TLP_OVERHEAD) * tenfoldFactor(width, mps) + internalDelay(generation) * under,
    under,
  };
}

/**
 * Longest time from the first TLP without Ack to its Ack in symbol times, rounded down: 203 at gen3x8 with MPS 256. The
 * same number is the recommended interval of UpdateFC. `mps` in bytes; throws ZtlpError for values without an entry.
 */
export function ackLimit(generation: Link['generation'], width: TimerWidth, mps: number): number {
  const { over, under } = unroundedAckLimit(generation, width, mps);
  return Math.floor(over / under);
}

/** The same on a link in ticks of 1/4096 ns. */
export function ackLimitTicks(link: Link, mps: number): number {
  return ackLimit(link.generation, link.lanes, mps) * symbolTicks(link.generation);
}

/** The same in ns, exact. */
export function ackLimitNs(link: Link, mps: number): number {
  return ackLimitTicks(link, mps) / TICKS_PER_NS;
}

/** Part of the opposite direction that one DLLP per limit takes: 0.49 % at gen3x8 with MPS 256 (link.md 10). */
export function dllpShare(link: Link, mps: number): number {
  return 8 / (ackLimit(link.generation, link.lanes, mps) * link.lanes);
}

/** Replay timer of the simplified rule, in symbol times: the least of 24,000 to 31,000. */
const SIMPLIFIED = 24_000;

/** The replay timer that holds when nobody chose one: the table up to 8 GT/s, the simplified range from 16 GT/s on. */
export function usualReplayTimer(generation: Link['generation']): OptionValue<'replayTimer'> {
  return generation >= 4 ? 'simplified' : 'table';
}

/**
 * Time until unacknowledged TLPs are sent again, in symbol times: three times the Ack limit (711 at gen1x1 with MPS
 * 128), or 24,000. Default: by generation.
 */
export function replaySymbols(
  generation: Link['generation'],
  width: TimerWidth,
  mps: number,
  timer: OptionValue<'replayTimer'> = usualReplayTimer(generation),
): number {
  checkOption('replayTimer', timer);
  const limit = ackLimit(generation, width, mps); // also checks the arguments of the other rule
  return timer === 'simplified' ? SIMPLIFIED : 3 * limit;
}

/** What the replay timer of a link has to outlast beside the Ack limit. */
export interface ReplayInput {
  readonly mps: number;
  readonly timer?: OptionValue<'replayTimer'>;
  /** One-way latency in ticks. */
  readonly latencyTicks: number;
  /** Wire time of the largest TLP in ticks. */
  readonly tlpTicks: number;
}

/**
 * The replay timer of `link` in ticks: by its rule, but never shorter than the Ack limit, two one-way latencies and two
 * TLPs, or a long link would send every TLP twice (timing.md 5).
 */
export function replayTicks(link: Link, { mps, timer, latencyTicks, tlpTicks }: ReplayInput): number {
  const byRule = replaySymbols(link.generation, link.lanes, mps, timer) * symbolTicks(link.generation);
  return Math.max(byRule, ackLimitTicks(link, mps) + 2 * latencyTicks + 2 * tlpTicks);
}
