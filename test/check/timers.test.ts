// The conformance kit on a UART that waits from microseconds to seconds, and on the ways in which its timers get lost.
import { beforeAll, describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import { type Device, type DeviceDefinition, defineDevice } from '../../src/device/index.js';
import { readBuild } from '../support/builds.js';

interface Shifting {
  readonly byte: number;
  readonly left: number;
}
interface State {
  readonly due: number;
  shifting: Shifting | undefined;
}
interface Saved {
  readonly shifting: Shifting | undefined;
  readonly running: boolean;
}
type Definition = DeviceDefinition<State>;

let core: WebAssembly.Module;
let uart: Definition;
beforeAll(async () => {
  core = await WebAssembly.compile(await readBuild('release'));
  const file = new URL('../../examples/uart.mjs', import.meta.url);
  const { default: device } = (await import(file.href)) as { readonly default: Device<State> };
  uart = device.definition;
});

/** Outcome and line of a check, and the checks that failed. */
async function run(definition: Definition, id: string, seed = 1) {
  const { checks } = await checkDevice(defineDevice(definition) as Device, { core, seed });
  const failed = checks.filter(({ outcome }) => outcome === 'fail').map((check) => check.id);
  return { failed, line: checks.find((check) => check.id === id)?.line };
}

describe.each([1, 2])('with seed %i the kit', (seed) => {
  it('passes the UART, saved and quiesced while its timers were set', async () => {
    const saved = await run(uart, 'save-load', seed);
    expect(saved.failed).toEqual([]);
    expect(saved.line).toMatch(/; \d+ saves while timers were set$/);
    expect((await run(uart, 'quiesce', seed)).line).toMatch(/, \d+ times while timers were set$/);
  });

  it('finds a load that does not set the timer again', async () => {
    const load: Definition['load'] = (saved, ctx) => {
      const { running: _, ...state } = saved as Saved;
      Object.assign(ctx.state, state);
    };
    const { failed, line } = await run({ ...uart, load }, 'save-load', seed);
    expect(failed).toEqual(['save-load']);
    expect(line).toMatch(/ after a load and .* without \(saved \d+ ns after .*, a timer set; /);
  });

  it('finds a save of when the timer is due', async () => {
    const save: Definition['save'] = (ctx) => {
      const saved = uart.save?.(ctx) as Saved;
      const { shifting, running } = saved;
      return running && shifting ? { ...saved, shifting: { ...shifting, left: ctx.state.due } } : saved;
    };
    expect((await run({ ...uart, save }, 'save-load', seed)).failed).toEqual(['save-load']);
  });

  it('finds a model that does not quiesce', async () => {
    const { quiesce: _, ...rest } = uart;
    const { failed, line } = await run(rest, 'quiesce', seed);
    expect(failed).toEqual(['quiesce']);
    expect(line).toMatch(
      /^(within \d+ ns )?after quiesce the device sends .* \(it has no quiesce callback\)$/,
    );
  });

  it('says that a model without callbacks refused to be saved', async () => {
    const { save: _, load: __, ...rest } = uart;
    const { failed, line } = await run(rest, 'save-load', seed);
    expect(failed).toEqual([]);
    expect(line).toMatch(/; save refused while timers were set, \d+ times$/);
  });
});

describe('the kit', () => {
  it('comes to an end with a model that never rests', async () => {
    const { failed } = await run(
      {
        name: 'ticker',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 64, registers: { GO: { offset: 0, width: 4, access: 'wo', write: go } } }],
        state: () => ({ due: 0, shifting: undefined }),
        save: ({ state: { due }, time }) => due - time.ns,
        load: (left, ctx) => tick(ctx, left as number),
      },
      'save-load',
    );
    expect(failed).toEqual([]);
  });
});

type Context = Parameters<NonNullable<Definition['quiesce']>>[0];

function go(_value: number, ctx: Context): void {
  if (ctx.state.due === 0) tick(ctx, 20);
}

function tick(ctx: Context, left: number): void {
  if (left < 0) return; // it did not run
  Object.assign(ctx.state, { due: ctx.time.ns + left });
  ctx.after(left, () => tick(ctx, 20));
}
