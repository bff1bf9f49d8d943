/** Options that a path acts on, tried out: every option with every value, among random other options. */
import { beforeAll, describe, expect, it } from 'vitest';
import { BUILT_OPTIONS, type OptionDef, TIMED_OPTIONS } from '../../src/base/option-table.js';
import { OPTIONS, type OptionInput, type OptionName } from '../../src/base/options.js';
import { seeded } from '../../src/base/random.js';
import { ready } from '../../src/core/shared.js';
import { countAccess } from '../../src/path/split.js';
import { PATH_IDS, PATHS, type PathId } from '../../src/path/table.js';
import { ownUses, pathUses, recordedUses, refuseUnused, usesSource } from '../../src/report/used-options.js';

// Those of simulated time are refused here: splitting takes none.
const NAMES = [...BUILT_OPTIONS].filter((name) => !TIMED_OPTIONS.has(name)) as OptionName[];
const TRIES = 1500;

function valuesOf(name: OptionName): readonly unknown[] {
  const def: OptionDef = OPTIONS[name];
  if (def.kind === 'choice') return def.values;
  if (def.kind === 'boolean') return [true, false];
  return name === 'maxstbl' ? [16, 128, 256, 4096] : [def.min, OPTIONS[name].default, def.max];
}

/** Options that changed an access along `id`: blocks, or single accesses of up to 8 bytes. */
function effective(
  id: PathId,
  block: boolean,
  seed: number,
  ops: readonly ('read' | 'write')[] = ['read', 'write'],
): Set<OptionName> {
  const next = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[next() % list.length] as T;
  const found = new Set<OptionName>();
  for (let n = 0; n < TRIES; n++) {
    const op = PATHS[id].read === null ? 'write' : pick(ops);
    const bytes = block ? pick([1, 7, 13, 64, 128, 256, 300, 1000, 2048, 4096]) : 1 + (next() % 8);
    const offset = pick([0, 0, 1, 4, 8, 60, 63, 124, 126, 252, 254, 4090, 4094, next() % 4096]);
    const base = pick([0, 2 ** 40]);
    const sourceAddress = block ? pick([0, 4, offset, next() % 4096]) : 0;
    const others = Object.fromEntries(
      NAMES.filter(() => next() % 3 === 0).map((name) => [name, pick(valuesOf(name))]),
    );
    const outcome = (options: OptionInput): string => {
      try {
        return JSON.stringify(countAccess(id, { op, bytes, offset, block, base, sourceAddress, options }));
      } catch {
        return 'the path has no such access';
      }
    };
    const name = pick(NAMES);
    const [one, other] = [pick(valuesOf(name)), pick(valuesOf(name))];
    if (one === other) continue;
    if (outcome({ ...others, [name]: one }) !== outcome({ ...others, [name]: other })) found.add(name);
  }
  return found;
}

beforeAll(() => ready());

describe('options of a path', () => {
  const seen = new Set<OptionName>();

  it.each(PATH_IDS)('that change an access along %s are all among those it uses in that direction', (id) => {
    for (const op of ['read', 'write'] as const) {
      if (PATHS[id][op] === null) continue;
      const used = new Set(pathUses(PATHS[id], op));
      for (const name of used) expect(pathUses(PATHS[id])).toContain(name);
      for (const block of [true, false]) {
        for (const name of effective(id, block, 7, [op])) {
          expect(used, op).toContain(name);
          seen.add(name);
        }
      }
    }
  });

  it.each(PATH_IDS)('%s looks at the memory address or not, as its entry says', (id) => {
    for (const op of ['read', 'write'] as const) {
      if (PATHS[id][op] === null) continue;
      const sets: OptionInput[] = [{}, { relaxed: true }, { relaxed: false }];
      sets.push(
        { chunking: 'old' },
        { chunking: 'new', boundary: 'literal' },
        { interceptStrict: true, zpciMode: 'vfio' },
      );
      for (const options of sets) {
        let differs = false;
        for (const [offset, bytes] of [
          [0, 64],
          [8, 24],
          [3, 61],
          [4090, 14],
        ] as const) {
          const outcome = (sourceAddress: number): string => {
            const input = { op, bytes, offset, block: true, base: 2 ** 40, sourceAddress, options };
            return JSON.stringify(countAccess(id, input));
          };
          for (const at of [1, 4, 4092]) differs ||= outcome(0) !== outcome(at);
        }
        expect(differs, `${op} ${JSON.stringify(options)}`).toBe(usesSource(PATHS[id], op, options));
      }
    }
  });

  it('change an access along one path or another: none is listed for nothing', () => {
    const listed = new Set(PATH_IDS.flatMap((id) => ownUses(id)));
    // What takes a rare coincidence to show is tried on purpose below.
    for (const name of ['ucSplitBoundary', 'relaxedMaximum', 'interceptStrict'] as const) listed.delete(name);
    for (const name of listed) expect(seen).toContain(name);
    const tlps = (path: PathId, bytes: number, offset: number, options: OptionInput): number =>
      countAccess(path, { op: 'write', bytes, offset, options, block: bytes > 8 }).totals.tlps;
    expect(tlps('x86-uc', 8, 4, { ucSplitBoundary: 8 })).toBe(2);
    expect(tlps('x86-uc', 8, 4, { ucSplitBoundary: 64 })).toBe(1);
    const small = { maxstbl: 128 } as const;
    expect(tlps('zpci-pcistb', 256, 0, { ...small, relaxedMaximum: 'page' })).toBe(1);
    expect(tlps('zpci-pcistb', 256, 0, { ...small, relaxedMaximum: 'maxstbl' })).toBe(0);
    expect(tlps('zpci-vfio-ism', 13, 0, { interceptStrict: false })).toBe(1);
    expect(tlps('zpci-vfio-ism', 13, 0, { interceptStrict: true })).toBe(0);
  });

  it.each(['x86-uc', 'zpci-pcistg8'] as const)('recorded on %s are all that change a single access', (id) => {
    const used = recordedUses(id);
    for (const name of effective(id, false, 9)) expect(used).toContain(name);
  });
});

describe('an option that nothing uses', () => {
  it('is refused with what is used, also at its default', () => {
    for (const mps of [128, 256] as const) {
      expect(() => refuseUnused({ mps }, ['mrrs', 'chunking'], 'this')).toThrow(
        'mps: this does not use this option; allowed: chunking, mrrs',
      );
    }
    expect(() => refuseUnused({ mps: 128 }, [], 'this')).toThrow(/allowed: none$/);
    expect(() => refuseUnused({ mps: 128, mrrs: undefined }, ['mps'], 'this')).not.toThrow();
  });

  it('is named as unknown, wrong or unbuilt when it is that', () => {
    expect(() => refuseUnused({ mpss: 1 } as never, [], 'this')).toThrow(/did you mean mps/);
    expect(() => refuseUnused({ mps: 100 as never }, [], 'this')).toThrow(/128, 256/);
    for (const msiWindowOverflow of ['linux', 'enospc'] as const)
      expect(() => refuseUnused({ msiWindowOverflow }, [], 'this')).toThrow(/no effect in this version/);
  });
});
