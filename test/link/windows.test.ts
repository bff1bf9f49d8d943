/** Both ends computed in turn over windows of time give what one event after the other gives, for any load and any error. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EndInput, type SimulationInput, simulateLink } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

const writes = fc.record({
  count: fc.constantFrom(1, 3, 50, 400),
  bytes: fc.constantFrom(1, 4, 60, 64, 200, 256, 1000, 4096),
  cut: fc.constantFrom(64, 128, 256),
  intervalNs: fc.constantFrom(0, 0, 10, 300, 3000),
  waits: fc.boolean(),
  offset: fc.constantFrom(0, 0, 1, 60, 4095),
});
const reads = fc.record({
  count: fc.constantFrom(1, 20, 200),
  bytes: fc.constantFrom(4, 64, 100, 512, 2048),
  tags: fc.constantFrom(1, 2, 8, 32, 200),
  offset: fc.constantFrom(0, 0, 3, 61),
});
const end = fc.record(
  {
    writes,
    reads,
    credits: fc.constantFrom(
      { ph: 64, pd: 512, nph: 64, npd: 64, cplh: 0, cpld: 0 },
      { ph: 4, pd: 32, nph: 2, npd: 2, cplh: 3, cpld: 40 },
      { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 },
    ),
    completerNs: fc.constantFrom(0, 100, 700),
    drainNs: fc.constantFrom(0, 20, 300),
    wide: fc.boolean(),
    badTlps: fc.constantFrom(0, 0, 0.003, 0.06),
    badDllps: fc.constantFrom(0, 0, 0.003, 0.12),
  },
  { requiredKeys: [] },
);
const input: fc.Arbitrary<SimulationInput> = fc.record(
  {
    up: end as fc.Arbitrary<EndInput>,
    down: end as fc.Arbitrary<EndInput>,
    link: fc.constantFrom('gen1x1', 'gen3x8', 'gen5x16'),
    latencyNs: fc.constantFrom(0, 3, 10, 75, 500, 2000),
    ackNs: fc.constantFrom(0, 50, 203),
    updateFcNs: fc.constantFrom(0, 50, 203),
    replayBytes: fc.constantFrom(1000, 8000, 1 << 16),
    skp: fc.boolean(),
    skpInterval: fc.constantFrom(16, 375, 1538),
    ecrc: fc.boolean(),
    init: fc.boolean(),
    seed: fc.nat(0xffff_ffff),
  },
  { requiredKeys: ['up', 'down', 'seed'] },
);

describe.each(BUILDS)('windows of time on the %s build', (build) => {
  const core = useBuild(build);

  it('have the events, times, arrivals and memory of one event after the other', async () => {
    await fc.assert(
      fc.asyncProperty(input, async (given) => {
        const [inWindows, oneByOne] = [
          await simulateLink({ ...given, core: core() }),
          await simulateLink({ ...given, core: core(), windows: false }),
        ];
        const { bar, hostMemory, ...rest } = inWindows;
        const { bar: sameBar, hostMemory: sameMemory, ...same } = oneByOne;
        expect(rest).toEqual(same);
        expect(Buffer.compare(bar, sameBar)).toBe(0);
        expect(Buffer.compare(hostMemory, sameMemory)).toBe(0);
      }),
      { numRuns: build === 'release' ? 150 : 40 },
    );
  });

  it.each([
    [203, 50],
    [50, 203],
    [2000, 20],
  ])(
    'a run of arrivals ends where its Ack (%i ns) or its UpdateFC (%i ns) is due',
    async (ackNs, updateFcNs) => {
      const given = {
        ackNs,
        updateFcNs,
        latencyNs: 500,
        up: { writes: { count: 2000, bytes: 64 } },
        core: core(),
      };
      const [inWindows, oneByOne] = [
        await simulateLink(given),
        await simulateLink({ ...given, windows: false }),
      ];
      expect([inWindows.events, inWindows.up.hash]).toEqual([oneByOne.events, oneByOne.up.hash]);
    },
  );

  it.each([
    ['gen1x1', 10, { ackNs: 0, updateFcNs: 0 }],
    ['gen1x1', 10, {}],
    ['gen3x8', 10, { ackNs: 0, updateFcNs: 0 }],
  ])(
    '%s at %i ns: a DLLP, the shortest packet, reaches the other end in no window before its own',
    async (link, latencyNs, timers) => {
      const side: EndInput = {
        writes: { count: 60, bytes: 64 },
        reads: { count: 60, bytes: 64, tags: 2 },
        credits: { ph: 1, pd: 16, nph: 1, npd: 1, cplh: 1, cpld: 16 },
      };
      const given = {
        link,
        latencyNs,
        ...timers,
        up: side,
        down: { ...side, completerNs: 50 },
        core: core(),
      };
      const { events, up, down } = await simulateLink(given);
      const same = await simulateLink({ ...given, windows: false });
      expect([events, up.hash, down.hash]).toEqual([same.events, same.up.hash, same.down.hash]);
    },
  );

  it('writes that come faster than the link takes them cost events per TLP, not per tick', async () => {
    const { down, events } = await simulateLink({
      link: 'gen1x1',
      up: { writes: { count: 1500, bytes: 4096, intervalNs: 300 } },
      core: core(),
    });
    expect(down.tlps).toBe(1500 * 16);
    expect(events).toBeLessThan(1500 * 16 * 8);
  });
});
