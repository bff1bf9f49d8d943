/** Scenarios and numbers of `ztlp iommu walk` that are hostile or odd: each ends soon, with what is wrong in a line. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { readImage, readScenario } from '../../src/cli/iommu-scenario.js';
import { toInteger, toSid, toU64 } from '../../src/cli/iommu-values.js';
import { readWhole } from '../../src/cli/read-file.js';
import type { WalkInput } from '../../src/report/iommu-walk-input.js';

let folder = '';
let file = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ztlp-scenario-'));
  file = join(folder, 's.yaml');
});
afterAll(() => rm(folder, { recursive: true }));

async function read(text: string): Promise<WalkInput> {
  await writeFile(file, text);
  return readScenario(file);
}

/** The message of the ZtlpError `code` that `call` ends with, without the name of the file. */
async function refused(call: Promise<unknown>, code = 'malformed'): Promise<string> {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(ZtlpError);
  const { code: found, message } = error as ZtlpError;
  expect(found).toBe(code);
  return message.replace(file, '');
}

const HEAD = 'unit: vtd\nroot: 0\n';
const DIGITS = '7'.repeat(3_000_000);

describe('aliases of a scenario', () => {
  it('stand for the value of the last anchor before them', async () => {
    const { entries } = await read(`${HEAD}entries: { 0: &a 1, 8: *a, 16: &a 2, 24: *a }\n`);
    expect(entries).toEqual([
      [0n, 1n],
      [8n, 1n],
      [16n, 2n],
      [24n, 2n],
    ]);
    const { requests } = await read(`${HEAD}requests: [&r { sid: 1, address: 2 }, *r]\n`);
    expect(requests).toHaveLength(2);
    expect(requests[1]).toEqual(requests[0]);
  });

  it.each([
    ['unit: vtd\nroot: *nope\n', ':2: *nope has no anchor before it'],
    ['unit: vtd\nroot: &a [*a]\n', ':2: *a has no anchor before it'],
    [`${HEAD}entries: { 0: *late, 8: &late 1 }\n`, ':3: *late has no anchor before it'],
  ])('need an anchor before them: %j', async (text, message) => {
    expect(await refused(read(text))).toBe(message);
  });

  it('of aliases of aliases fill no memory', async () => {
    const levels = Array.from({ length: 12 }, (_, n) => `  - &l${n + 1} [${`*l${n}, `.repeat(10)}]\n`);
    expect(await refused(read(`${HEAD}requests:\n  - &l0 [1]\n${levels.join('')}`))).toBe(
      ':4: requests.0.sid is missing',
    );
  });
});

describe('keys of a scenario', () => {
  it.each([
    [`${HEAD}unit: amd\n`, ':3: unit is given twice'],
    [`${HEAD}entries:\n  0x7000: 1\n  0x7000: 2\n`, ':5: entries.0x7000 is given twice'],
    [`${HEAD}entries:\n  0x7000: 1\n  "0x07000": 2\n`, ':5: entries.0x7000 is given twice'],
    [`${HEAD}entries:\n  28672: 1\n  "0X7000": 2\n`, ':5: entries.0x7000 is given twice'],
    [`${HEAD}options: { vtdModel: spec, "vtdModel": spec }\n`, ':3: options.vtdModel is given twice'],
    [`${HEAD}requests: [{ sid: 1, address: 0, sid: 2 }]\n`, ':3: requests.0.sid is given twice'],
  ])('stand once: %j', async (text, message) => {
    expect(await refused(read(text))).toBe(message);
  });

  it.each([
    ['options: { constructor: 1 }\n', ':3: options.constructor is not a field'],
    ['options: { __proto__: 1 }\n', ':3: options.__proto__ is not a field'],
    ['options: { "prototype": 1 }\n', ':3: options.prototype is not a field'],
    ['entries: { __proto__: 1 }\n', ':3: entries.__proto__ is not a field'],
    ['__proto__: { unit: amd }\n', ':3: __proto__ is not a field'],
    ['entries: { [1, 2]: 1 }\n', ':3: a key is a list or a map'],
    ['entries: { <<: { 0: 1 } }\n', ':3: entries.<<: "<<" is not valid; allowed: an address such as 0x1000'],
    ['entries: [0]\n', ':3: entries: a list is not valid; allowed: 64-bit words by address'],
    ['options: []\n', ':3: options: a list is not valid; allowed: values by the names of docs/options.md'],
  ])('are names of fields or addresses: %j', async (text, message) => {
    expect(await refused(read(HEAD + text))).toBe(message);
  });

  it('are compared in a time that grows with their number', async () => {
    const words = Array.from({ length: 20_000 }, (_, n) => `  0x${(8 * n).toString(16)}: ${n}\n`).join('');
    const started = performance.now();
    expect((await read(`${HEAD}entries:\n${words}`)).entries[19_999]).toEqual([159_992n, 19_999n]);
    // A comparison of each with every other one took 9 s.
    expect(performance.now() - started).toBeLessThan(5000);
  }, 20_000);
});

describe('a scenario', () => {
  it.each([
    ['root: 0\n', ': unit is missing; allowed: vtd, smmuv3, amd'],
    ['[]\n', ': a list is no scenario; allowed: fields of docs/iommu.md'],
    [`${HEAD}---\nunit: amd\n`, ':3: a second document begins here'],
    [`unit: ${'['.repeat(40)}${']'.repeat(40)}\n`, ':1: too many lists or maps in one another'],
    // Other versions of YAML have other numbers: minutes and seconds, for one.
    ['%YAML 1.1\n---\nunit: vtd\nroot: 1:30\n', ':4: root: "1:30" is not valid'],
    [`${HEAD}requests: [{ sid: 0x10000, address: 0 }]\n`, ':3: requests.0.sid: 0x10000 is not valid'],
    [`${HEAD}requests: [{ sid: 0x10000, address: 0 }]\n`, 'or its number, 0 to 0xffff'],
    [`${HEAD}requests: [{ sid: "", address: 0 }]\n`, ':3: requests.0.sid: "" is not valid'],
    [`${HEAD}requests: [{ sid: 1e2, address: 0 }]\n`, ':3: requests.0.sid: 100 is not valid'],
  ])('says what it is not: %j', async (text, message) => {
    expect(await refused(read(text))).toContain(message);
  });

  it('deeper than a stack is refused as any deep one', async () => {
    expect(await refused(read(`unit: ${'['.repeat(5000)}\n`))).toBe(
      ':1: too many lists or maps in one another',
    );
  });

  it.each([
    ['root', `unit: vtd\nroot: ${DIGITS}\n`],
    ['root', `unit: vtd\nroot: 0x${DIGITS}\n`],
    ['root', `unit: vtd\nroot: 0o${DIGITS}\n`],
    ['entries', `${HEAD}entries:\n  ? ${DIGITS}\n  : 1\n`],
    ['entries', `${HEAD}entries: { "${DIGITS}": 1 }\n`],
    ['vtdModel', `${HEAD}options: { vtdModel: ${DIGITS} }\n`],
    ['*777', `unit: *${DIGITS}\n`],
    ['is not a field', `${HEAD}? x${DIGITS}\n: 1\n`],
  ])('with millions of digits is refused at once, in a short message: %s', async (field, text) => {
    const started = performance.now();
    const message = await refused(read(text));
    expect(performance.now() - started).toBeLessThan(4000);
    expect(message).toContain(field);
    expect(message.length).toBeLessThan(400);
  });
});

describe('files of a walk', () => {
  it('that do not end are read up to the most that is taken', async () => {
    expect(await refused(readWhole('/dev/zero', 1 << 20, 'zeros'), 'resource')).toBe(
      '/dev/zero: more than 1048576 bytes; allowed: up to 1048576 bytes',
    );
    expect(await refused(readScenario('/dev/zero'), 'resource')).toContain('more than 16777216 bytes');
  });

  it('may be pipes', async () => {
    const pipe = join(folder, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    const [found] = await Promise.all([readScenario(pipe), writeFile(pipe, `${HEAD}entries: { 0: 5 }\n`)]);
    expect(found.entries).toEqual([[0n, 5n]]);
  });

  it('are images within the addresses of memory', async () => {
    const image = join(folder, 'i.bin');
    await writeFile(image, new Uint8Array(16));
    const last = (1n << 52n) - 16n;
    expect((await readImage(image, last)).at).toBe(last);
    for (const at of [last + 1n, (1n << 64n) - 8n])
      expect(await refused(readImage(image, at))).toBe(
        `"${image}": 16 bytes from 0x${at.toString(16)} on; allowed: addresses of memory below 2^52`,
      );
    expect(await refused(read(`${HEAD}images: [{ file: i.bin, at: 0xfffffffffffffff8 }]\n`))).toContain(
      '16 bytes from 0xfffffffffffffff8 on',
    );
  });
});

describe('numbers of a walk', () => {
  it.each(['', ' ', ' 1', '1 ', '1e2', '1.0', '-1', '+1', '0x', '1_000', '0b1', '\n', 'NaN'])(
    '%j is none',
    (text) => {
      expect(toU64(text)).toBeUndefined();
      expect(toInteger(text, 0, 100)).toBeUndefined();
      expect(toSid(text)).toBeUndefined();
    },
  );

  it('are within their limits', () => {
    expect([toU64('18446744073709551615'), toU64('18446744073709551616')]).toEqual([
      (1n << 64n) - 1n,
      undefined,
    ]);
    expect([toSid('0xffff'), toSid('0x10000'), toSid('ff:1f.7')]).toEqual([0xffff, undefined, 0xffff]);
    expect([toInteger('30', 30, 52), toInteger('29', 30, 52), toInteger('53', 30, 52)]).toEqual([
      30,
      undefined,
      undefined,
    ]);
  });
});
