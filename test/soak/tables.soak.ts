/**
 * A million translations through random tables of every format, on the release build, and a tenth of that on the debug
 * build: each has to come out as a plain walk says, cold and from the IOTLB.
 * SOAK_TRANSLATIONS: how many on the release build; SOAK_SEED: the first seed.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { UnitLab } from '../iommu/unit-lab.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { Draw, type Format, type MakeFormat } from './random.js';
import { s390 } from './s390-format.js';
import { amdHost, smmuStage1, smmuStage2, vtdFirst, vtdSecond } from './unit-formats.js';

const { SOAK_TRANSLATIONS, SOAK_SEED } = process.env;
const TOTAL = Number(SOAK_TRANSLATIONS ?? 1_000_000);
const COUNTS = { debug: TOTAL / 10, release: TOTAL };
const FIRST_SEED = Number(SOAK_SEED ?? 1);
const PROGRESS = 100_000;
/** Addresses per filling of the tables. */
const ADDRESSES = 16;

const FORMATS: readonly [string, MakeFormat][] = [
  ['VT-d second stage, legacy', vtdSecond],
  ['VT-d first stage', vtdFirst(false)],
  ['VT-d nested', vtdFirst(true)],
  ['AMD v1', amdHost],
  ['LPAE stage 1', smmuStage1],
  ['LPAE stage 2', smmuStage2(false)],
  ['LPAE nested', smmuStage2(true)],
];

/** Runs `count` translations of `format`; answers how often each kind of outcome came. */
function run(name: string, format: Format, count: number): ReadonlyMap<string, number> {
  const kinds = new Map<string, number>();
  const start = performance.now();
  for (let done = 0; done < count; done++) {
    if (done % ADDRESSES === 0) format.fill();
    const { actual, expected } = format.ask();
    if (actual !== expected) expect([name, `translation ${done}`, actual]).toEqual([name, '', expected]);
    const kind = /^(0x)?[0-9a-f]+$/.test(expected) ? 'page' : expected;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    if ((done + 1) % PROGRESS === 0)
      process.stdout.write(`${name}: ${done + 1}, ${Math.round((performance.now() - start) / 1000)} s\n`);
  }
  const list = [...kinds].sort(([, a], [, b]) => b - a).map(([kind, times]) => `${times} ${kind}`);
  process.stdout.write(`${name}: ${list.join('; ')}\n`);
  return kinds;
}

/** A soak that finds no pages, or nothing but pages, has not tried much. */
function checkKinds(kinds: ReadonlyMap<string, number>, count: number): void {
  expect(kinds.get('page') ?? 0).toBeGreaterThan(count / 20);
  expect(kinds.size).toBeGreaterThan(3);
}

describe.each(BUILDS)('random tables on the %s build', (build) => {
  const module = useBuild(build);
  const count = COUNTS[build];
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  it.each(FORMATS)(`%s: ${count} translations are those of a plain walk`, (name, make) => {
    checkKinds(run(`${build} ${name}`, make(core, new Draw(FIRST_SEED)), count), count);
  });

  it.each(FORMATS)(`%s: ${count / 2} translations with known tables are the same`, (name, make) => {
    const format = make(core, new Draw(FIRST_SEED + 1), 8);
    checkKinds(run(`${build} ${name}, known tables`, format, count / 2), count / 2);
  });

  it(`s390: ${count} translations are those of a plain walk`, async () => {
    checkKinds(run(`${build} s390`, await s390(module(), new Draw(FIRST_SEED)), count), count);
  });
});
