/** Vector files are untrusted: whatever a case holds, the run goes on and the counts add up. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { conformVectors } from '../../src/conform/index.js';
import { type AnyCase, BUILDS, casesOf, readVectors, useCore, type VectorFile } from './support.js';

const GROUPS: readonly (readonly [file: string, group: string])[] = [
  ['tlp-cocotbext-pcie.json', 'tlp'],
  ['tlp-cocotbext-pcie.json', 'byteRange'],
  ['tlp-cocotbext-pcie.json', 'beCount'],
  ['tlp-cocotbext-pcie.json', 'split'],
  ['access-paths.json', 'cases'],
  ['access-paths.json', 'memoryRegionOps'],
];

/** Values near what fields hold, at the borders of types, and of wrong types. */
const value = fc.oneof(
  fc.integer(),
  fc.integer({ min: -1, max: 5000 }),
  fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53, 1e300, -0, 0.5, 4095, 4096, 4097, 1 << 20),
  fc.constantFrom(
    '',
    '0x',
    '0x0',
    '0xfff',
    '0xffffffffffffffff',
    '00',
    'read',
    'write',
    '__proto__',
    'MWr64',
  ),
  fc.constantFrom(null, true, false, {}, [], [[]], [['0x0', 1]], [null]),
  fc.string(),
  fc.jsonValue(),
);

describe.each(BUILDS)('%s core', (build) => {
  const files = new Map<string, VectorFile>();

  beforeAll(async () => {
    await useCore(build);
    for (const [name] of GROUPS) files.set(name, await readVectors(name));
  });

  it.each(GROUPS)('%s, %s: a field of any value is a verdict, never a crash', (name, group) => {
    const file = files.get(name) as VectorFile;
    const cases = casesOf(file, group);
    const good = cases.find((entry) => entry.bytes !== 0) as AnyCase;
    fc.assert(
      fc.property(fc.nat({ max: cases.length - 1 }), fc.nat(), value, (index, field, replacement) => {
        const original = cases[index] as AnyCase;
        const names = Object.keys(original);
        const changed = { ...original, [names[field % names.length] as string]: replacement };
        const report = conformVectors('x', { format: file.format, [group]: [good, changed, good] });
        expect(report.groups).toHaveLength(1);
        const [{ agree, documented, disagree }] = report.groups as [(typeof report.groups)[0]];
        expect(agree + documented + disagree).toBe(3);
        expect(agree).toBeGreaterThanOrEqual(2);
        expect(report.disagreements).toHaveLength(disagree);
        expect(JSON.stringify(report).length).toBeLessThan(20_000);
      }),
      { numRuns: 300 },
    );
  });

  it('any JSON at all is a report or one error of ztlp', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...GROUPS), (json, [name, group]) => {
        const report = conformVectors('x', { format: files.get(name)?.format, [group]: [json, json] });
        expect(report.groups[0]).toMatchObject({ cases: 2, disagree: 2 });
      }),
    );
  });
});
