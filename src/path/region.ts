/** `dispatchRegion`: the size rules of an emulator's memory region (QEMU memory API, sheet access-paths.md 4). */
import { type AccessSizes, SIZE_KEYS } from '../base/device.js';
import { invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { sharedCore } from '../core/shared.js';
import { packSizes } from './prepare.js';
import type { Span } from './split.js';

export interface RegionInput {
  /** Offset in the region, below 4 GiB. */
  readonly offset: number;
  /** Size of the dispatched access: 1, 2, 4 or 8 bytes. */
  readonly bytes: number;
  /** What the region accepts. A maximum of 0: any size. */
  readonly valid: AccessSizes;
  /** Sizes of the device calls. A maximum of 0 means 4, a minimum of 0 means 1. */
  readonly impl: AccessSizes;
}

/** Accepted with its device calls in order, or rejected for its size or alignment. */
export type RegionResult =
  | { readonly result: 'ok'; readonly calls: readonly Span[] }
  | { readonly result: 'rejected'; readonly reason: 'unaligned' | 'size'; readonly calls: readonly [] };

/** `usual` is what a maximum of 0 means. */
function checkSizes(field: string, sizes: AccessSizes, usual: number): void {
  needObject(field, sizes);
  checkKeys(field, sizes, SIZE_KEYS);
  for (const key of ['min', 'max'] as const) {
    const value = sizes[key];
    if (!SIZES.includes(value)) throw invalid(`${field}.${key}`, value, `${SIZES.join(', ')} bytes`);
  }
  const { min, max, unaligned } = sizes;
  const largest = max === 0 ? usual : max;
  if (min > largest) throw invalid(`${field}.min`, min, `at most max (${largest})`);
  if (unaligned !== undefined && typeof unaligned !== 'boolean')
    throw invalid(`${field}.unaligned`, unaligned, 'true, false');
}

/** Sizes of an access, and 0 for no rule. */
const SIZES: readonly number[] = [0, 1, 2, 4, 8, 16, 32, 64];

const KEYS = keysOf<RegionInput>({ offset: true, bytes: true, valid: true, impl: true });

/** Checks one access against `valid` and cuts it by `impl`. */
export function dispatchRegion(input: RegionInput): RegionResult {
  needObject('input', input);
  checkKeys('input', input, KEYS);
  const { offset, bytes, valid, impl } = input;
  if (![1, 2, 4, 8].includes(bytes)) throw invalid('bytes', bytes, '1, 2, 4, 8');
  if (!Number.isInteger(offset) || offset < 0 || offset > 0xffff_fff0) {
    throw invalid('offset', offset, 'an integer from 0 to 0xfffffff0', 'out-of-range');
  }
  checkSizes('valid', valid, Number.POSITIVE_INFINITY);
  checkSizes('impl', impl, 4);
  const step = sharedCore().x.regionDispatch(offset, bytes, packSizes(valid), packSizes(impl));
  if (step === 0) {
    const unaligned = !valid.unaligned && (offset & (bytes - 1)) !== 0;
    return { result: 'rejected', reason: unaligned ? 'unaligned' : 'size', calls: [] };
  }
  const calls: Span[] = [];
  for (let done = 0; done < bytes; done += step) calls.push({ offset: offset + done, bytes: step });
  return { result: 'ok', calls };
}
