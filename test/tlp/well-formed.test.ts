/** The debug core holds each TLP that it forms against the rules of its own decoder; the release core trusts itself. */
import { describe, expect, it } from 'vitest';
import { MODE_LIVE, PARAM_HEADER_BITS, PARAM_UNCUT, RUN_DONE } from '../../assembly/layout.js';
import { Core } from '../../src/core/core.js';
import { memoryDevice } from '../../src/index.js';
import { checkConfig } from '../../src/machine/config.js';
import { Machine } from '../../src/machine/machine.js';
import { pathOf, pathOptions, planOf, setParams } from '../../src/path/prepare.js';
import { BUILDS, useBuild } from '../support/builds.js';

/** AT field of DW0 with its reserved value. */
const RESERVED_ADDRESS_TYPE = 0xc00;

describe.each(BUILDS)('TLPs that are formed by the %s build', (build) => {
  const core = useBuild(build);

  /** A write of 256 bytes with MPS 128, after somebody has changed a parameter behind the back of the host. */
  async function write(parameter: number, value: number): Promise<number> {
    const device = memoryDevice();
    const config = checkConfig({ core: core(), slots: [{ device }], hostMemoryBytes: 4096 }, device);
    const instance = await Core.load(core(), config.hostMemoryBytes, config.barBytes);
    const machine = new Machine(instance, config);
    const path = pathOf('vfio-ism-rw');
    const options = { ...pathOptions(path), mps: 128 } as const;
    const access = { op: 'write', bytes: 256, block: true } as const;
    const plan = planOf(path, access, options);
    setParams(instance, { access, plan, options, mode: MODE_LIVE, sourceAddress: 0 });
    instance.setParam(parameter, value);
    instance.x.accessBegin(machine.functions[0]?.slot ?? 0, 0, 0, 0, 0, 0, 256);
    return instance.x.run();
  }

  it('are formed where the parameters are those of the host', async () => {
    expect(await write(PARAM_UNCUT, 0)).toBe(RUN_DONE);
  });

  it.each([
    ['data longer than MPS', PARAM_UNCUT, 4096],
    ['a reserved address type', PARAM_HEADER_BITS, RESERVED_ADDRESS_TYPE],
  ])('with %s do not pass the debug build', async (_what, parameter, value) => {
    const run = write(parameter, value);
    if (build === 'debug') await expect(run).rejects.toThrow(/malformed TLP/);
    else expect(await run).toBe(RUN_DONE);
  });
});
