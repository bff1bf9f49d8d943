/** Medians, spreads and paired ratios: everything a noisy machine leaves of a measurement. */

/** A number and how far it is to be trusted, in percent of it. */
export interface Estimate {
  readonly value: number;
  readonly spread: number;
}

/** Value at `part` (0 to 1) of the sorted values, linear between neighbours. */
export function quantile(values: readonly number[], part: number): number {
  if (values.length === 0 || values.some(Number.isNaN)) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = part * (sorted.length - 1);
  const below = sorted[Math.floor(at)] as number;
  const above = sorted[Math.ceil(at)] as number;
  return below + (above - below) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The median, and half the distance between the quartiles in percent of it. */
export function estimate(values: readonly number[]): Estimate {
  const value = median(values);
  const half = (quantile(values, 0.75) - quantile(values, 0.25)) / 2;
  return { value, spread: value === 0 ? 0 : (100 * half) / value };
}

/**
 * The best sample of each round. Whatever else runs on the machine only ever adds time: among a few short samples one is
 * nearly always undisturbed, while their median is not.
 */
export function bests(rounds: readonly (readonly number[])[]): number[] {
  return rounds.map((samples) => Math.min(...samples));
}

/**
 * How many times `over` the samples of `under` are, one list of samples per round. Each round gives one ratio, so what
 * slows a whole round down cancels out.
 */
export function pairedRatio(
  over: readonly (readonly number[])[],
  under: readonly (readonly number[])[],
): Estimate {
  const base = bests(under);
  return estimate(bests(over).map((best, round) => best / (base[round] ?? Number.NaN)));
}

/** True when the ranges value +- spread do not meet. */
export function differs(a: Estimate, b: Estimate): boolean {
  const low = ({ value, spread }: Estimate): number => value * (1 - spread / 100);
  const high = ({ value, spread }: Estimate): number => value * (1 + spread / 100);
  return low(a) > high(b) || low(b) > high(a);
}
