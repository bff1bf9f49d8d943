/** Checks of what callers say about a link: times, shares of errors, credits. Each throws a ZtlpError that names the field. */
import { inRange, invalid } from '../base/errors.js';
import { checkKeys } from '../base/names.js';
import { CREDIT_KEYS, type Credits, ticksOf } from './ports.js';

const DATA_CREDIT_BYTES = 16;

export function between(field: string, value: number, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw invalid(field, value, `a number from ${min} to ${max}`, 'out-of-range');
}

/** Ticks of a time of 0 to `most` ns. */
export function checkTicks(field: string, ns: number, most = 1e9): number {
  return ticksOf(between(field, ns, 0, most));
}

/** Of 2^32, how many: a part of 0 to `most`. */
export function checkShare(field: string, part = 0, most = 1): number {
  return Math.min(0xffff_ffff, Math.round(between(field, part, 0, most) * 2 ** 32));
}

/**
 * All six fields, header credits up to 127, data credits up to 2047, 0 for infinite. A class with finite data credits has to
 * take `largest` bytes of it at once, or a TLP of that size would wait for ever.
 */
export function checkCredits(
  field: string,
  credits: Credits,
  largest: Readonly<Record<'pd' | 'npd' | 'cpld', number>>,
): Credits {
  if (typeof credits !== 'object' || credits === null)
    throw invalid(field, credits, '{ ph, pd, nph, npd, cplh, cpld }');
  checkKeys(field, credits, CREDIT_KEYS);
  for (const name of CREDIT_KEYS as ReadonlySet<keyof Credits>) {
    const count = credits[name];
    if (count === undefined)
      throw invalid(`${field}.${name}`, undefined, 'all of ph, pd, nph, npd, cplh, cpld; 0 for infinite');
    const isData = name === 'pd' || name === 'npd' || name === 'cpld';
    inRange(`${field}.${name}`, count, 0, isData ? 2047 : 127);
    const needed = isData ? Math.ceil(largest[name] / DATA_CREDIT_BYTES) : 0;
    if (count !== 0 && count < needed)
      throw invalid(
        `${field}.${name}`,
        count,
        `0 (infinite), or ${needed} and more for TLPs of ${largest[name as 'pd']} bytes`,
      );
  }
  return credits;
}
