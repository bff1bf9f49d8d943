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

/** Each model with all the checks that it fails, and what their lines say. */
const BROKEN: readonly [device: { readonly name: string }, lines: Record<string, RegExp>][] = [
  [
    throwsInRead,
    {
      widths: /^read of 1 at BAR 0 offset 0x20 \(direct\) answers completer-abort: read: no such register$/,
      throws:
        /^read at BAR 0 offset 0x20 \(\w+, \d+ ns\): no such register \(completer-abort\), \w+\.ts:\d+$/,
    },
  ],
  [
    throwsInWrite,
    {
      throws:
        /^MODE\.write at BAR 0 offset 0x4 \(direct, 0 ns\): mode 15 is reserved \(write dropped\), \w+\.ts:\d+$/,
    },
  ],
  [
    wrongLength,
    {
      widths: /^read of 1 at BAR 0 offset 0x0 .* 4 bytes is not valid; allowed: 1 bytes/,
      throws: /^read at BAR 0 offset 0x[0-9a-f]+ .*: the answer: 4 bytes is not valid; allowed: \d+ bytes/,
    },
  ],
  [
    unaligned,
    {
      widths: /^read of 1 at BAR 0 offset 0x1 \(direct\) answers completer-abort: read: not a register$/,
      throws: /^read at BAR 0 offset 0x[0-9a-f]*[^048c] .*: not a register/,
    },
  ],
  [asynchronous, { throws: /^dma\.write .*: was called outside a callback: models are synchronous/ }],
  [throwsInReset, { resets: /^reset .*: FLR is not done yet \(ignored\), \w+\.ts:\d+$/ }],
  [loops, { loops: /^after .*: caused more than 100000 callbacks at one instant \(stopped\)$/ }],
  [crawls, { loops: /^after .*: more than 1000000 callbacks in one check/ }],
  [
    floods,
    { floods: /^write at BAR 0 offset 0x0 .*: made more than 100000 requests in one callback \(stopped\)$/ },
  ],
  [
    retries,
    {
      'dma-faults':
        /^the model was stopped when all DMA got unsupported-request: dma\.read done: caused more than/,
      loops: /^dma\.read done .*: caused more than 100000 callbacks at one instant \(stopped\)$/,
    },
  ],
  [
    hiddenState,
    {
      resets:
        /^cold reset \(direct\): read of 4 at BAR 0 offset 0x0 gives 0x\w{8} after use and 0x\w{8} without$/,
      'save-load': /^read of \d+ at BAR 0 offset 0x\w+ gives .* after a load and .* without \(direct\)$/,
      determinism: /^read of \d+ at BAR 0 offset 0x\w+ gives .* in one run and .* in another$/,
    },
  ],
  [
    halfSaved,
    {
      'save-load': /^read of \d at BAR 0 offset 0x\w+ gives 0x\w+ after a load and 0x\w+ without \(direct\)$/,
    },
  ],
  [unsavable, { 'save-load': /^state: cannot be copied; allowed: what structuredClone takes/ }],
  [random, { determinism: /^read of \d+ at BAR 0 offset 0x\w+ gives .* in one run and .* in another$/ }],
  [clock, { determinism: /^read of \d+ at BAR 0 offset 0x\w+ gives .* in one run and .* in another$/ }],
  [trusting, { 'dma-faults': /^dma\.read done .*: bar 0\.FIRST: undefined is not valid/ }],
  [
    restless,
    {
      quiesce:
        /^after quiesce the device sends MWr 0x800 of 1 DWs 0x00000001 \(it has no quiesce callback\)$/,
    },
  ],
  [
    wrongVector,
    {
      widths:
        /^write of 64 at BAR 0 offset 0xbc1 .*: RING\.write: vector: 2 is not valid; allowed: an integer from 0 to 1$/,
      msix: /^RING\.write at BAR 0 offset 0xc00 .*: vector: 2 is not valid; allowed: an integer from 0 to 1/,
    },
  ],
];

/** What depends on the host fails more checks at some times than at others. */
const VARYING: readonly { readonly name: string }[] = [random, clock];

describe('the kit finds', () => {
  it.each(BROKEN.map(([device, lines]) => [device.name, device, lines] as const))(
    '%s',
    async (_name, device, lines) => {
      const report = await check(device);
      const found = failures(report);
      expect(report).toMatchObject({ device: device.name, passed: false });
      if (!VARYING.includes(device)) expect(Object.keys(found)).toEqual(Object.keys(lines));
      for (const [id, line] of Object.entries(lines)) expect(found[id]).toMatch(line);
    },
  );

  it('the same again, word for word', async () => {
    expect(await check(throwsInRead)).toEqual(await check(throwsInRead));
  });

  it('nothing in the checks behind one in which the model was stopped', async () => {
    const { checks } = await check(loops);
    const rest = checks.filter(({ line }) => line === 'not run: the model was stopped in resets');
    expect(rest.map(({ id }) => id)).toContain('determinism');
    expect(rest.every(({ outcome }) => outcome === 'not-applicable')).toBe(true);
    const behind = checks.slice(checks.findIndex(({ id }) => id === 'resets') + 1);
    expect(behind.map(({ outcome }) => outcome)).not.toContain('pass');
  });
});
