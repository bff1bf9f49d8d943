/** Every benchmark does the work of its name, and measuring gives one list of samples per round; no time is judged. */
import { describe, expect, it } from 'vitest';
import { baselineOf, fullName, type Group } from '../../bench/case.js';
import { crcGroup, decodeGroup } from '../../bench/codec.js';
import { encodeGroup } from '../../bench/encode.js';
import { iommuGroups } from '../../bench/iommu.js';
import { measureGroup, type Sampling } from '../../bench/measure.js';
import { parseAnswer } from '../../bench/native.js';
import { pcistbGroup, splitsGroup } from '../../bench/pcistb.js';
import { widthsGroup } from '../../bench/widths.js';
import { caseOf } from './support.js';

const groups: Group[] = [
  await widthsGroup(),
  await encodeGroup(),
  await decodeGroup(),
  await crcGroup(),
  await pcistbGroup(),
  await splitsGroup(),
  ...(await iommuGroups()),
];
const TINY: Sampling = { rounds: 2, samples: 3, milliseconds: 0.01, warmUp: 0 };

describe('the groups', () => {
  it('have names of their own and baselines that exist', () => {
    const names = groups.flatMap((group) => group.cases.map(({ name }) => fullName(group, name)));
    expect(new Set(names).size).toBe(names.length);
    for (const group of groups) {
      const own = group.cases.map(({ name }) => name);
      expect(own).toContain(group.baseline);
      for (const one of group.cases) expect(own).toContain(baselineOf(group, one));
    }
  });

  it('cover every width of each path, a block of 4 KiB each time', () => {
    const { cases } = groups[0] as Group;
    const widths = (path: string): number[] =>
      cases.flatMap(({ name }) => {
        const [, count, width] = /^.*, (\d+) x (\d+) B$/.exec(name.startsWith(`${path},`) ? name : '') ?? [];
        return count === undefined
          ? []
          : [Number(count) * Number(width) === 4096 ? Number(width) : Number.NaN];
      });
    expect(widths('x86-uc')).toEqual([1, 2, 4, 8, 16, 32, 64]);
    expect(widths('arm64-device')).toEqual([1, 2, 4, 8, 16]);
    expect(widths('zpci-pcistg8')).toEqual([1, 2, 4, 8]);
    expect(widths('zpci-pcistb')).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
    expect(cases.every(({ bytes }) => bytes === 4096)).toBe(true);
  });

  it('set the goals of PCISTB, of encoding and of translation', () => {
    const goals = groups.flatMap((group) =>
      group.cases.flatMap(({ name, goal }) =>
        goal === undefined ? [] : [`${fullName(group, name)}: ${goal.limit} of ${goal.of}`],
      ),
    );
    expect(goals).toEqual([
      'encode: 64 B TLP, header, descriptor and payload: 0.8 of C',
      'encode: 256 B TLP, header, descriptor and payload: 0.8 of C',
      'pcistb: 128 B from guest memory: 0.8 of baseline',
      'pcistb: 128 B from bytes: 0.8 of baseline',
      'pcistb: 4096 B from guest memory: 4.5 of baseline',
      'pcistb: 4096 B from bytes: 4.5 of baseline',
      'iommu: IOTLB hit: 2 of baseline',
      'iommu: walk of 4 levels: 0.7 of C',
    ]);
  });

  it.each(groups.flatMap((group) => group.cases.map((one) => [fullName(group, one.name), one] as const)))(
    '%s runs again and again and passes its check',
    (_name, one) => {
      one.check?.();
      one.run();
      one.check?.();
      expect(Number.isInteger(one.units) && one.units > 0).toBe(true);
    },
  );
});

describe('measuring', () => {
  it('gives samples per round, divided by the units of a call, and runs the checks first', () => {
    const done: string[] = [];
    const group: Group = {
      title: 'sample',
      unit: 'call',
      baseline: 'one',
      cases: [
        caseOf('one', { run: () => void done.push('run'), check: () => void done.push('check') }),
        caseOf('two', {
          units: 1000,
          run: () => void done.push('run'),
          check: () => void done.push('check'),
        }),
      ],
    };
    const measured = measureGroup(group, TINY, undefined);
    expect([...measured.keys()]).toEqual(['sample: one', 'sample: two']);
    for (const rounds of measured.values()) {
      expect(rounds).toHaveLength(TINY.rounds);
      for (const samples of rounds) {
        expect(samples.length).toBeGreaterThanOrEqual(TINY.samples);
        expect(samples.every((ns) => Number.isFinite(ns) && ns > 0)).toBe(true);
      }
    }
    expect(done.slice(0, 3)).toEqual(['check', 'check', 'run']);
  });

  it('throws what a case throws', () => {
    const fails = (): never => {
      throw new Error('broken case');
    };
    const group = (more: object): Group => {
      return { title: 'sample', unit: 'call', baseline: 'one', cases: [caseOf('one', more)] };
    };
    expect(() => measureGroup(group({ run: fails }), TINY, undefined)).toThrow('broken case');
    expect(() => measureGroup(group({ check: fails }), TINY, undefined)).toThrow('broken case');
  });
});

describe('the answer of a C loop', () => {
  it('is one line of JSON with a check value and times', () => {
    expect(parseAnswer('{"loop":"crc","bytes":84,"check":4294967295,"ns":[1.5,2]}\n')).toEqual({
      check: 4294967295,
      ns: [1.5, 2],
    });
  });

  it.each([
    '',
    'Segmentation fault',
    '[]',
    'null',
    '{"check":1}',
    '{"check":1,"ns":[]}',
    '{"check":1,"ns":[0]}',
    '{"check":1,"ns":[1,null]}',
    '{"ns":[1]}',
  ])('%j is refused', (text) => {
    expect(() => parseAnswer(text)).toThrow(/^a C loop printed .* instead of its times$/);
  });
});
