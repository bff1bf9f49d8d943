/** The C model of the simulated link leaves what the core leaves, in cases that the benchmark does not time as well. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TICKS_PER_NS } from '../../assembly/layout.js';
import { loadKernel } from '../../bench/kernel.js';
import { CoreLink, nativeOutcome, type Setting, settingOf } from '../../bench/link-setup.js';
import { compileNative, LINK_MODEL } from '../../bench/native.js';
import { ROOT } from '../support/cli.js';

const program = join(mkdtempSync(join(tmpdir(), 'ztlp-link-')), 'link');
const native = compileNative(join(ROOT, 'bench/native'), program, LINK_MODEL);
const isMissing = typeof native === 'string';
if (isMissing) process.stderr.write(`the C model of the link is not tested: ${native}\n`);

const N = 500;
const ns = (value: number): number => value * TICKS_PER_NS;
const share = (part: number): number => Math.round(part * 2 ** 32);
const short = { writeCut: 64 };

const SETTINGS: Record<string, Setting> = {
  'posted 64 B': settingOf(short, { writes: N }),
  'posted 256 B': settingOf({}, { writes: N }),
  reads: settingOf({ completerDelay: ns(336) }, { reads: 4 * N }),
  'both directions': settingOf({}, { writes: N }, { writes: N }),
  'UpdateFC at once': settingOf({ ...short, fcInterval: 0 }, { writes: N }),
  'an Ack per TLP': settingOf({ ...short, ackInterval: 0 }, { writes: N }),
  'slow drain': settingOf({ ...short, drainDelay: ns(20) }, { writes: N }),
  'few data credits': settingOf({ pd: 64 }, { writes: N }),
  'few header credits': settingOf({ ...short, ph: 8, pd: 0 }, { writes: N }),
  'infinite credits': settingOf({ ...short, ph: 0, pd: 0, nph: 0, npd: 0 }, { writes: N, reads: N }),
  'small replay buffer': settingOf({ replayBytes: 7 * 284 }, { writes: N }),
  'errors on all sides': settingOf(
    { badTlps: share(0.01), badDllps: share(0.02), drainDelay: ns(50) },
    { writes: N, reads: 3 * N, readBytes: 512 },
    { writes: N, reads: 2 * N, readBytes: 1000 },
  ),
  'writes and reads': settingOf(
    { completerDelay: ns(100), nph: 4 },
    { writes: N, reads: 3 * N, readBytes: 4096 },
    { writes: N, writeBytes: 1000, reads: N },
  ),
  'unaligned writes': settingOf(
    {},
    { writes: N, writeBytes: 1237, writeAddress: 2 ** 40 + 3 },
    { writes: N, writeBytes: 77, writeCut: 64, writeAddress: 2 ** 18 + 1 },
  ),
  'unaligned reads': settingOf(
    { completerDelay: ns(10) },
    { reads: 2 * N, readBytes: 333, readAddress: 2 ** 40 + 1, readTags: 256 },
  ),
  'at intervals': settingOf(
    {},
    { writes: N, writeInterval: ns(700), reads: N, readInterval: ns(130) },
    { writes: N, writeInterval: ns(900) },
  ),
  'at intervals that are too short': settingOf(
    { ...short, mps: 128 },
    { writes: N, writeInterval: ns(20), reads: N, readInterval: ns(13) },
    { writes: N, writeInterval: ns(300) },
  ),
  'no latency': settingOf({ ...short, latency: 0 }, { writes: N, reads: N }),
  'a replay timer that is too short': settingOf(
    { ...short, latency: ns(500), replayLimit: ns(609) },
    { writes: N },
  ),
};

describe.skipIf(isMissing)('the C model of the link', () => {
  it.each(Object.entries(SETTINGS))('agrees with the core: %s', async (_name, setting) => {
    const link = await CoreLink.create();
    link.run(setting);
    expect(link.delivered()).toBeGreaterThanOrEqual(N);
    expect(nativeOutcome(program, setting)).toEqual(link.outcome());
  });

  it('says what it does not know', () => {
    const wrong = [{ nothing: 1 }, {}] as unknown as Setting;
    expect(() => nativeOutcome(program, wrong)).toThrow('the C model ended with 1: link: up.nothing=1');
  });
});

describe('the encode kernel', () => {
  it('counts the TLPs that it formed', async () => {
    const kernel = await loadKernel();
    const before = kernel(0, 64);
    expect(kernel(100, 256)).toBe(before + 100);
    expect(kernel(5, 64)).toBe(before + 105);
  });
});
