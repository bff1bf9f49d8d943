// The conformance kit on models that are wrong: which check finds what, and what its line says.
import { beforeAll, describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import type { CheckReport } from '../../src/check/types.js';
import type { Device } from '../../src/device/index.js';
import { readBuild } from '../support/builds.js';
import { restless, trusting, wrongVector } from './broken/dma.js';
import { crawls, floods, loops, retries } from './broken/endless.js';
import { clock, halfSaved, hiddenState, random, unsavable } from './broken/forgetful.js';
import {
  asynchronous,
  throwsInRead,
  throwsInReset,
  throwsInWrite,
  unaligned,
  wrongLength,
} from './broken/throwing.js';

let core: WebAssembly.Module;
beforeAll(async () => {
  core = await WebAssembly.compile(await readBuild('release'));
});

const check = (device: unknown): Promise<CheckReport> =>
  checkDevice(device as Device, { core, accesses: 100 });

/** Lines of the checks that failed, by id. */
function failures({ checks }: CheckReport): Record<string, string> {
  return Object.fromEntries(
    checks.filter(({ outcome }) => outcome === 'fail').map(({ id, line }) => [id, line]),
  );
}

const BROKEN: readonly [device: { readonly name: string }, lines: Record<string, RegExp>][] = [
  [throwsInRead, {}],
  [throwsInWrite, {}],
  [wrongLength, {}],
  [unaligned, {}],
  [asynchronous, {}],
  [throwsInReset, {}],
  [loops, {}],
  [crawls, {}],
  [floods, {}],
  [retries, {}],
  [hiddenState, {}],
  [halfSaved, {}],
  [unsavable, {}],
  [random, {}],
  [clock, {}],
  [trusting, {}],
  [restless, {}],
  [wrongVector, {}],
];

describe('the kit finds', () => {
  it.each(BROKEN.map(([device, lines]) => [device.name, device, lines] as const))('%s', async (_name, device, lines) => {
    const found = failures(await check(device));
    console.log(device.name, found);
    expect(Object.keys(found)).toEqual(Object.keys(lines));
    for (const [id, line] of Object.entries(lines)) expect(found[id]).toMatch(line);
  });
});
