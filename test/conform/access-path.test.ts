/** Changed access-path vectors are found, and a broken case is a disagreement that stops no other. */
import { beforeAll, describe, expect, it, test } from 'vitest';
import { OPTIONS, resolveOptions } from '../../src/base/options.js';
import { conformVectors } from '../../src/conform/index.js';
import { PRESETS, pathPreset } from '../../src/conform/presets.js';
import {
  type AnyCase,
  BUILDS,
  casesOf,
  readVectors,
  runCases,
  runChanged,
  useCore,
  type VectorFile,
} from './support.js';

const FORMAT = 'access-path-vectors/1';

let vectors: VectorFile;

beforeAll(async () => {
  vectors = await readVectors('access-paths.json');
});

function find(group: string, matches: (entry: AnyCase) => boolean): AnyCase {
  const found = casesOf(vectors, group).find(matches);
  if (found === undefined) throw new Error(`${group} has no such case`);
  return found;
}

type Change = readonly [what: string, matches: (entry: AnyCase) => boolean, change: (copy: AnyCase) => void];

const has =
  (name: string) =>
  (entry: AnyCase): boolean =>
    Object.hasOwn(entry, name);
const twoTlps = (entry: AnyCase): boolean => entry.tlps.length > 1 && entry.accesses !== undefined;
const whole = (entry: AnyCase): boolean => entry.accesses?.length > 0 && !has('barLength')(entry);

const CHANGES: readonly Change[] = [
  ['a type', twoTlps, (copy) => (copy.tlps[0].t = 'DMWr')],
  ['an address', twoTlps, (copy) => (copy.tlps[1].addr = '0xffc')],
  ['a Length', twoTlps, (copy) => (copy.tlps[0].dw += 1)],
  ['a First BE', twoTlps, (copy) => (copy.tlps[0].fbe ^= 1)],
  ['a Last BE', twoTlps, (copy) => (copy.tlps[1].lbe ^= 8)],
  ['a field of a TLP that is not known', twoTlps, (copy) => (copy.tlps[0].th = 1)],
  ['a lost TLP', twoTlps, (copy) => copy.tlps.pop()],
  ['no list of TLPs', twoTlps, (copy) => delete copy.tlps],
  ['the order of TLPs', twoTlps, (copy) => copy.tlps.reverse()],
  ['an access', twoTlps, (copy) => (copy.accesses[0][1] += 1)],
  ['a lost access', twoTlps, (copy) => copy.accesses.pop()],
  ['dropped bytes', has('dropped'), (copy) => (copy.dropped[0][1] += 1)],
  ['dropped bytes that are not mentioned', has('dropped'), (copy) => delete copy.dropped],
  ['dropped bytes that were not', whole, (copy) => (copy.dropped = [['0x0', 1]])],
  ['bytes that read as 0xff', has('filledFF'), (copy) => (copy.filledFF[0][0] = '0x1')],
  ['0xff bytes that are not mentioned', has('filledFF'), (copy) => delete copy.filledFF],
  ['a short count', has('shortCount'), (copy) => (copy.shortCount += 1)],
  ['a short count that is not mentioned', has('shortCount'), (copy) => delete copy.shortCount],
  ['a short count of a whole access', whole, (copy) => (copy.shortCount = copy.size)],
  ['an error', has('error'), (copy) => (copy.error = 'EIO')],
  ['an error that is not mentioned', has('error'), (copy) => delete copy.error],
  ['an error that was none', whole, (copy) => (copy.error = 'EINVAL')],
  ['a fault', has('fault'), (copy) => (copy.fault = 'another fault')],
  ['a fault that is not mentioned', has('fault'), (copy) => delete copy.fault],
  ['a fault that was none', whole, (copy) => (copy.fault = 'alignment fault')],
  ['the BAR length', has('shortCount'), (copy) => delete copy.barLength],
  ['the excluded range', has('dropped'), (copy) => delete copy.excluded],
  ['the path', twoTlps, (copy) => (copy.path = 'no-such-path')],
  ['the direction', twoTlps, (copy) => (copy.op = copy.op === 'read' ? 'write' : 'read')],
  ['a field that is not known', twoTlps, (copy) => (copy.burst = 1)],
];

const REGION: readonly Change[] = [
  [
    'the verdict of an accepted access',
    (entry) => entry.result === 'ok',
    (copy) => (copy.result = 'rejected'),
  ],
  ['the verdict of a refused access', (entry) => entry.result !== 'ok', (copy) => (copy.result = 'ok')],
  ['a verdict that is none', () => true, (copy) => (copy.result = 'maybe')],
  ['a call', (entry) => entry.calls?.length > 1, (copy) => (copy.calls[1][0] = '0x7')],
  ['the size of a call', (entry) => entry.calls?.length > 1, (copy) => (copy.calls[0][1] *= 2)],
  ['a lost call', (entry) => entry.calls?.length > 1, (copy) => copy.calls.pop()],
  ['calls that are not mentioned', (entry) => entry.result === 'ok', (copy) => delete copy.calls],
  ['a refused access with a call', (entry) => entry.result !== 'ok', (copy) => (copy.calls = [['0x0', 1]])],
  [
    'the sizes a region accepts',
    (entry) => entry.result === 'ok',
    (copy) => (copy.valid = { min: 8, max: 1 }),
  ],
  ['no sizes', () => true, (copy) => delete copy.impl],
  ['a field of the sizes that is not known', () => true, (copy) => (copy.impl.most = 4)],
];

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => useCore(build));

  test.each(CHANGES)('AP-10: a change of %s is found', (_what, matches, change) => {
    const original = find('cases', matches);
    const report = runChanged(FORMAT, 'cases', original, change);
    expect(report.groups).toEqual([{ name: 'cases', cases: 3, agree: 2, documented: 0, disagree: 1 }]);
    expect(report.disagreements).toMatchObject([{ id: original.id, group: 'cases' }]);
  });

  test.each(REGION)('AP-11: a change of %s is found', (_what, matches, change) => {
    const original = find('memoryRegionOps', matches);
    const report = runChanged(FORMAT, 'memoryRegionOps', original, change);
    expect(report.groups).toEqual([
      { name: 'memoryRegionOps', cases: 3, agree: 2, documented: 0, disagree: 1 },
    ]);
    expect(report.disagreements).toMatchObject([{ id: original.id, group: 'memoryRegionOps' }]);
  });

  it('AP-11: the reason of a rejection is not compared', () => {
    const original = find('memoryRegionOps', (entry) => entry.result === 'rejected: size');
    const report = runChanged(FORMAT, 'memoryRegionOps', original, (copy) => {
      copy.result = 'rejected: for another reason';
    });
    expect(report.groups[0]).toMatchObject({ cases: 3, agree: 3 });
  });

  it('AP-10: accesses are compared only where a case lists them', () => {
    const original = find('cases', twoTlps);
    const report = runChanged(FORMAT, 'cases', original, (copy) => delete copy.accesses);
    expect(report.groups[0]).toMatchObject({ cases: 3, agree: 3 });
  });

  it('shows the first TLP that differs and nothing else', () => {
    const original = find('cases', twoTlps);
    const report = runChanged(FORMAT, 'cases', original, (copy) => {
      copy.tlps[1].fbe ^= 1;
    });
    const { fbe } = original.tlps[1];
    expect(report.disagreements).toEqual([
      {
        id: original.id,
        group: 'cases',
        expected: { 'tlps[1].fbe': fbe ^ 1 },
        actual: { 'tlps[1].fbe': fbe },
      },
    ]);
    const short = runChanged(FORMAT, 'cases', original, (copy) => copy.tlps.pop());
    expect(short.disagreements[0]).toMatchObject({ expected: { 'tlps.length': original.tlps.length - 1 } });
  });

  const broken: [string, unknown][] = [
    ['null', null],
    ['a number', 17],
    ['a list', [1, 2]],
    ['a text', 'case'],
    ['an empty object', {}],
    ['an offset that is no number', { offset: 'zero' }],
    ['an offset above 64 bits', { offset: '0x10000000000000000' }],
    ['an offset above 4 GiB', { offset: '0xffffffffffffffff' }],
    ['a negative offset', { offset: -4 }],
    ['a size of 0', { size: 0 }],
    ['a size with a fraction', { size: 1.5 }],
    ['a huge size', { size: 1e15 }],
    ['a size that is text', { size: '4' }],
    ['TLPs that are no list', { tlps: { length: 1 } }],
    ['a TLP that is null', { tlps: [null] }],
    ['accesses that are no pairs', { accesses: [['0x0']] }],
    ['accesses with text', { accesses: ['0x0'] }],
    ['an excluded range that ends before it begins', { excluded: [] }],
    ['an excluded range of text', { excluded: ['a', 'b'] }],
    ['a BAR length that is a list', { barLength: [4] }],
    ['a path that is an object', { path: { toString: 1 } }],
    ['the path __proto__', { path: '__proto__' }],
    ['a fault that is a number', { fault: 1 }],
  ];

  test.each(broken)('AP-10: %s is a disagreement, and the other cases still run', (_what, part) => {
    const { id: _, ...original } = find('cases', twoTlps);
    const isPart =
      typeof part === 'object' && part !== null && Object.keys(part).length > 0 && !Array.isArray(part);
    const entry = isPart ? { ...original, ...part } : part;
    const report = runCases(FORMAT, 'cases', [original, entry, original]);
    expect(report.groups[0]).toMatchObject({ cases: 3, agree: 2, disagree: 1 });
    const [found] = report.disagreements;
    expect(found).toMatchObject({ id: 'cases#1', expected: 'a case that runs', actual: expect.any(String) });
    expect(found?.actual).not.toContain('\n');
    expect(String(found?.actual).length).toBeLessThan(1000);
  });
});

test('an id that is not text gives the place as name', () => {
  const original = find('cases', twoTlps);
  for (const id of [7, '', null, {}]) {
    const report = runCases(FORMAT, 'cases', [{ ...original, id, path: 'none' }]);
    expect(report.disagreements[0]?.id).toBe('cases#0');
  }
});

test('presets: every value is one of the option table, and path names decide', () => {
  for (const preset of Object.values(PRESETS)) {
    expect(resolveOptions(preset)).toMatchObject(preset);
    for (const name of Object.keys(preset)) expect(OPTIONS).toHaveProperty(name);
  }
  expect(pathPreset('x86-uc')).toEqual({});
  expect(pathPreset('vfio-rw-w4')).toEqual({ vfioGeneration: 1 });
  expect(pathPreset('kvm-qemu-vfio-w8')).toEqual({ vfioMmap: false, vfioGeneration: 3 });
  expect(pathPreset('tcg-qemu-vfio-w4')).toEqual({ vfioMmap: false, vfioGeneration: 1 });
});

test('a file without cases has none', () => {
  const report = conformVectors('empty.json', { format: FORMAT, cases: [] });
  expect(report.groups).toEqual([{ name: 'cases', cases: 0, agree: 0, documented: 0, disagree: 0 }]);
});
