/** Accesses of every width at every alignment, and accesses of what is not there. */
import { seeded } from '../../base/random.js';
import type { Bench } from '../bench.js';
import { placesOf } from '../generator.js';
import { type Check, Failed, type Kit } from '../kit.js';
import { equal, plural, shown, where } from '../text.js';

const LENGTHS = [1, 2, 3, 4, 5, 8, 16, 64] as const;
/** Offsets of a region that are tried: all of a small one, start and end of a large one; on a machine fewer. */
const ALL = 1024;
const EDGE = 64;

export const widths: Check = {
  id: 'widths',
  title: 'every width at every alignment',
  async run(kit) {
    const places = placesOf(kit.device);
    let accesses = 0;
    for (const bench of await kit.each()) {
      const next = seeded(kit.seed);
      for (const { bar, region } of places) {
        const registers = kit.device.bars[bar]?.registers ?? [];
        const named = registers.flatMap(({ offset, width }) =>
          Array.from({ length: width }, (_, at) => offset + at),
        );
        const offsets = offsetsOf(region.offset, region.size, bench.way === 'direct' ? ALL : EDGE, named);
        for (const offset of offsets) {
          for (const length of LENGTHS) {
            if (offset + length > region.offset + region.size) continue;
            accesses += 2;
            if (region.kind === 'memory') memory(bench, bar, offset, length, next);
            else touch(kit, bench, bar, offset, length, next);
            kit.needRunning(bench);
          }
        }
      }
    }
    return places.length === 0 ? 'no region that software reaches' : plural(accesses, 'access');
  },
};

/** Ascending, without repetition. */
function offsetsOf(first: number, size: number, most: number, named: readonly number[]): number[] {
  const end = first + size;
  const offsets = new Set<number>(named.filter((offset) => offset >= first && offset < end));
  for (let at = first; at < Math.min(end, first + most); at++) offsets.add(at);
  for (let at = Math.max(first, end - EDGE); at < end; at++) offsets.add(at);
  return [...offsets].sort((a, b) => a - b);
}

/** Whatever the model does with the access: it is served. */
function touch(
  kit: Kit,
  bench: Bench,
  bar: number,
  offset: number,
  length: number,
  next: () => number,
): void {
  const answer = bench.read(bar, offset, length);
  const isServed = typeof answer !== 'string' || (answer === 'rejected' && bench.way === 'emulated');
  kit.needRunning(bench);
  if (!isServed)
    throw new Failed(
      `read of ${length} at ${where(bar, offset)} (${bench.way}) answers ${answer}${kit.reason(bench)}`,
    );
  // Small values, so that no length or address that they may be part of gets large.
  const bytes = Uint8Array.from({ length }, (_, at) => ((offset + at) % 4 === 0 ? next() & 0x0f : 0));
  const done = bench.write(bar, offset, bytes);
  kit.needRunning(bench);
  if (done === 'ok' || (done === 'rejected' && bench.way === 'emulated')) return;
  throw new Failed(
    `write of ${length} at ${where(bar, offset)} (${bench.way}) answers ${done}${kit.reason(bench)}`,
  );
}

/** Memory holds what was written, and nothing around it changes. */
function memory(bench: Bench, bar: number, offset: number, length: number, next: () => number): void {
  const bytes = Uint8Array.from({ length }, () => next() & 0xff);
  const before = offset > 0 ? bench.read(bar, offset - 1, 1) : '';
  const done = bench.write(bar, offset, bytes);
  const answer = bench.read(bar, offset, length);
  if (bench.way === 'emulated' && (done === 'rejected' || answer === 'rejected')) return;
  if (done !== 'ok' || typeof answer === 'string' || !equal(answer, bytes))
    throw new Failed(
      `memory at ${where(bar, offset)} (${bench.way}): ${length} bytes ${shown(bytes)} written (${done}) read as ${shown(answer)}`,
    );
  const after = offset > 0 ? bench.read(bar, offset - 1, 1) : '';
  if (shown(before) !== shown(after))
    throw new Failed(
      `a write of ${length} at ${where(bar, offset)} (${bench.way}) changes the byte before it`,
    );
}

export const ranges: Check = {
  id: 'ranges',
  title: 'accesses of what is not there',
  async run(kit) {
    const bench = kit.direct();
    let tried = 0;
    const refused = (bar: number, offset: number, length: number): void => {
      tried += 2;
      const answer = bench.read(bar, offset, length);
      const done = bench.write(bar, offset, new Uint8Array(length));
      for (const [what, got] of [
        ['read', shown(answer)],
        ['write', done],
      ] as const)
        if (got !== 'unsupported-request')
          throw new Failed(
            `${what} of ${length} at ${where(bar, offset)} answers ${got}, not unsupported-request`,
          );
    };
    for (let index = 0; index < 6; index++) {
      const bar = kit.device.bars[index];
      if (bar === undefined) {
        refused(index, 0, 4);
        continue;
      }
      for (const length of [1, 4, 8, 64]) {
        refused(index, bar.size, length);
        refused(index, 2 * bar.size, length);
        if (length > 1) refused(index, bar.size - 1, length);
      }
    }
    for (const way of await kit.each()) tried += gaps(kit, way);
    return plural(tried, 'access');
  },
};

/** Where a BAR has nothing, reads are 0 and writes do nothing. */
function gaps(kit: Kit, bench: Bench): number {
  let tried = 0;
  for (const bar of kit.device.bars) {
    if (bar === undefined) continue;
    let at = 0;
    for (const region of [...bar.regions, { offset: bar.size, size: 0 }]) {
      // Naturally aligned, as every way can do it.
      const offset = at + ((4 - (at % 4)) % 4);
      if (offset + 4 <= region.offset) {
        tried += 2;
        const done = bench.write(bar.index, offset, Uint8Array.of(1, 2, 3, 4));
        const answer = bench.read(bar.index, offset, 4);
        if (shown(answer) !== '0x00000000' || done !== 'ok')
          throw new Failed(
            `${where(bar.index, offset)} (${bench.way}), where nothing is, reads as ${shown(answer)}, not 0 (write: ${done})`,
          );
      }
      at = region.offset + region.size;
    }
  }
  return tried;
}
