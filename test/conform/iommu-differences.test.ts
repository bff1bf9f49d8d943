/** Where the specification and the observed emulator differ: every case by a rule of docs/iommu-differences.md. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CaseRunner, type Disagreement, type Json, Tally } from '../../src/conform/report.js';
import { prepareSmmu, smmuRunner } from '../../src/conform/smmu.js';
import { prepareVtd, vtdRunner } from '../../src/conform/vtd.js';
import { readBuild } from '../support/builds.js';
import { BUILDS, readVectors, type VectorFile } from './support.js';

/** One step of a case: what differs in it, by field: what the emulator did, what the specification says. */
interface Difference {
  readonly tags: readonly string[];
  readonly config: string;
  readonly fields: ReadonlyMap<string, readonly [Json, Json]>;
}

/** Whether a rule explains all that differs in a step. */
type Rule = (difference: Difference) => boolean;

const only = ({ fields }: Difference, ...names: string[]): boolean =>
  fields.size === names.length && names.every((name) => fields.has(name));
const pair = ({ fields }: Difference, name: string): string =>
  (fields.get(name) ?? []).map((value) => (typeof value === 'number' ? value.toString(16) : value)).join(' ');
/** The number in `field` of a record that the emulator did not leave. */
const added = ({ fields }: Difference, record: string, field: string): unknown => {
  const [before, after] = fields.get(record) ?? [];
  return before === null ? (after as Record<string, unknown> | undefined)?.[field] : undefined;
};
const isScalable = ({ config }: Difference): boolean => config.startsWith('sm');

/** The access moved data, and is refused. */
const isRefused = (one: Difference): boolean =>
  ['moved dropped', 'moved zeros'].includes(pair(one, 'segments[0].result'));

/** A scalable unit reports another code, nothing else. */
const codes =
  (...pairs: string[]): Rule =>
  (one) =>
    isScalable(one) && only(one, 'fault.reason') && pairs.includes(pair(one, 'fault.reason'));

/** The record that there was none of, and the access that it refuses. */
const faults =
  (reason: number): Rule =>
  (one) =>
    only(one, 'segments[0].gpa', 'segments[0].result', 'fault', 'ppf') &&
    isRefused(one) &&
    added(one, 'fault', 'reason') === reason;
const events =
  (type: number): Rule =>
  (one) =>
    only(one, 'segments[0].gpa', 'segments[0].result', 'events[0]', 'events.length') &&
    isRefused(one) &&
    added(one, 'events[0]', 'type') === type;

const RULES: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  'vtd-qemu72.json': {
    'VTD-1': codes('1 39', 'b 42'),
    'VTD-2': codes('58 51', '58 59', '58 5b'),
    'VTD-3': codes('4 84'),
    'VTD-4': codes('5 79', '5 85', '6 79', '6 86'),
    'VTD-5': codes('c 7a'),
    'VTD-6': (one) => one.config === 'sm48' && one.tags.includes('snp') && faults(0x7a)(one),
    'VTD-7': (one) => one.config === 'sm48' && faults(0x5a)(one),
    'VTD-8': (one) =>
      one.tags.includes('iotlb') && only(one, 'fault', 'ppf') && added(one, 'fault', 'reason') === 5,
    'VTD-9': (one) => one.tags.includes('iotlb') && one.tags.includes('cc') && faults(2)(one),
  },
  'smmuv3-qemu72.json': {
    'SMMU-1': (one) => only(one, 'events[0].class') && pair(one, 'events[0].class') === '0 2',
    'SMMU-2': (one) => one.tags.includes('af') && events(0x12)(one),
    'SMMU-3': (one) => one.tags.includes('perm') && events(0x13)(one),
    'SMMU-4': (one) => one.tags.includes('cd') && only(one, 'events[0].addr', 'events[0].addr2'),
    'SMMU-5': (one) =>
      one.tags.includes('2lvl') && only(one, 'events[0].type') && pair(one, 'events[0].type') === '4 2',
  },
};

/** Runs all cases of a file as the specification has them. */
function disagreements(file: VectorFile, runner: CaseRunner): readonly Disagreement[] {
  const tally = new Tally();
  tally.run('cases', file.cases as unknown[], runner);
  return tally.report('file', file.format).disagreements;
}

/** The steps of a case that differ. */
function stepsOf({ id, expected, actual }: Disagreement, file: VectorFile): Difference[] {
  const found = (file.cases as { id: string; config?: string; tags: string[] }[]).find(
    (one) => one.id === id,
  );
  const steps = new Map<string, Map<string, readonly [Json, Json]>>();
  for (const [path, value] of Object.entries(expected as Record<string, Json>)) {
    const [, step = path, field = ''] = /^(steps\[\d+\])\.(.*)$/.exec(path) ?? [];
    const fields = steps.get(step) ?? new Map<string, readonly [Json, Json]>();
    steps.set(step, fields.set(field, [value, (actual as Record<string, Json>)[path] ?? null]));
  }
  return [...steps.values()].map((fields) => ({
    tags: found?.tags ?? [],
    config: found?.config ?? '',
    fields,
  }));
}

/** Cases by rule, and those with a step that no rule explains, or several do. */
function explain(name: string, file: VectorFile, differing: readonly Disagreement[]) {
  const byRule = new Map<string, string[]>(Object.keys(RULES[name] ?? {}).map((rule) => [rule, []]));
  const unexplained: string[] = [];
  for (const one of differing)
    for (const step of stepsOf(one, file)) {
      const [rule, ...more] = Object.entries(RULES[name] ?? {}).filter(([, explains]) => explains(step));
      const cases = rule === undefined || more.length > 0 ? unexplained : (byRule.get(rule[0]) ?? []);
      if (!cases.includes(one.id)) cases.push(one.id);
    }
  return { byRule, unexplained };
}

/** Numbers of cases as the page has them: `0016-0018, 0020`. */
function ranges(ids: readonly string[]): string {
  const numbers = ids.map((id) => Number(id.replace(/\D/g, '')));
  const parts: [number, number][] = [];
  for (const n of numbers) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  const text = (n: number): string => String(n).padStart(4, '0');
  return parts.map(([from, to]) => (from === to ? text(from) : `${text(from)}-${text(to)}`)).join(', ');
}

/** Rows of the tables on the page: rule, count and cases. */
const page = readFileSync(fileURLToPath(new URL('../../docs/iommu-differences.md', import.meta.url)), 'utf8');
const listed = [...page.matchAll(/^\| ((?:VTD|SMMU)-\d+) \|.*\| (\d+) \| ([^|]*) \|$/gm)].map(
  ([, rule, count, cases]) => `${rule}: ${count}: ${cases}`,
);

describe.each(BUILDS)('differences from the observed emulator on the %s core', (build) => {
  const files = new Map<string, { file: VectorFile; differing: readonly Disagreement[] }>();

  beforeAll(async () => {
    await prepareVtd(await readBuild(build));
    await prepareSmmu(await readBuild(build));
    const vtd = await readVectors('vtd-qemu72.json');
    files.set('vtd-qemu72.json', { file: vtd, differing: disagreements(vtd, vtdRunner(vtd, {})) });
    const smmu = await readVectors('smmuv3-qemu72.json');
    files.set('smmuv3-qemu72.json', { file: smmu, differing: disagreements(smmu, smmuRunner(smmu, {})) });
  });

  const explained = (name: string) => {
    const { file, differing } = files.get(name) ?? { file: { format: '' }, differing: [] };
    return explain(name, file, differing);
  };

  it('IOM-62: what the specification has otherwise is explained by one rule, and each rule has a case', () => {
    for (const name of Object.keys(RULES)) {
      const { byRule, unexplained } = explained(name);
      expect([name, unexplained]).toEqual([name, []]);
      expect([name, [...byRule].filter(([, cases]) => cases.length === 0)]).toEqual([name, []]);
    }
  });

  it('IOM-62: docs/iommu-differences.md lists the rules with their cases', () => {
    const found = Object.keys(RULES).flatMap((name) =>
      [...explained(name).byRule].map(([rule, cases]) => `${rule}: ${cases.length}: ${ranges(cases)}`),
    );
    expect(listed).toEqual(found);
  });

  it('a case that differs in another way is explained by none', () => {
    const { file, differing } = files.get('vtd-qemu72.json') as {
      file: VectorFile;
      differing: Disagreement[];
    };
    const [first] = differing;
    const other = { ...first, actual: { 'steps[1].fault': { reason: 6 } } } as Disagreement;
    expect(explain('vtd-qemu72.json', file, [other]).unexplained).toEqual([first?.id]);
  });
});
