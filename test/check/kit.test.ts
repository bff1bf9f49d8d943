// The conformance kit on models that are right: it passes, says what it looked at, and says the same again.
import { beforeAll, describe, expect, it } from 'vitest';
import { checkDevice } from '../../src/check/check-device.js';
import type { CheckOptions, CheckReport } from '../../src/check/types.js';
import { type Device, defineDevice } from '../../src/device/index.js';
import { BUILTIN_DEVICES } from '../../src/devices/builtin.js';
import { memoryDevice } from '../../src/devices/memory.js';
import { ZtlpError } from '../../src/index.js';
import { readBuild } from '../support/builds.js';
import { copier } from '../support/models.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10f0 } as const;
let core: WebAssembly.Module;
beforeAll(async () => {
  core = await WebAssembly.compile(await readBuild('release'));
});

/** The report as outcomes by id, and the lines of what failed. */
async function run(device: unknown, options: CheckOptions = {}): Promise<[CheckReport, Map<string, string>]> {
  const report = await checkDevice(device as Device, { core, accesses: 100, ...options });
  const failed = report.checks.filter(({ outcome }) => outcome === 'fail');
  expect(failed.map(({ id, line }) => `${id}: ${line}`)).toEqual([]);
  expect(report.passed).toBe(true);
  return [report, new Map(report.checks.map(({ id, outcome }) => [id, outcome]))];
}

describe('the kit passes', () => {
  it('a device that copies host memory and interrupts, and has looked at all of it', async () => {
    const [report, outcomes] = await run(copier);
    expect(new Set(outcomes.values())).toEqual(new Set(['pass']));
    const lines = Object.fromEntries(report.checks.map(({ id, line }) => [id, line]));
    expect(lines).toMatchObject({
      config: '256 bytes, 1 capability, read by TLPs',
      bars: '2 BARs, sized and enumerated by TLPs',
      registers: '5 plain registers, 1 with hooks',
      msix: '1 vector raised while masked, each sent once',
      throws: 'none in 300 accesses: direct, TLPs, emulated',
    });
    expect(lines['dma-faults']).toMatch(/^\d+ requests of 100 accesses/);
  });

  it('plain memory, which has no DMA and no interrupts', async () => {
    const { name, vendorId, deviceId, bars } = memoryDevice();
    const [, outcomes] = await run(defineDevice({ name, vendorId, deviceId, bars }));
    expect(outcomes.get('msix')).toBe('not-applicable');
    expect(outcomes.get('dma-faults')).toBe('not-applicable');
    expect(outcomes.get('widths')).toBe('pass');
  });

  it.each(['copy-engine', 'virtio-like'])('%s, which comes with ztlp, in all checks', async (name) => {
    const [, outcomes] = await run(BUILTIN_DEVICES[name]?.(), { accesses: 300 });
    expect(new Set(outcomes.values())).toEqual(new Set(['pass']));
  });

  it('a device that is nothing but its identity', async () => {
    const [report] = await run(defineDevice({ name: 'nothing', ...ID }));
    expect(report.checks.find(({ id }) => id === 'widths')?.line).toBe('no region that software reaches');
  });

  it('callbacks, I/O space, big-endian registers, holes, and a BAR at 64 bits', async () => {
    await run(
      defineDevice<{ last: number }>({
        name: 'mixed',
        ...ID,
        bars: [
          { size: 0x4000, callback: true, bits: 64, prefetchable: true },
          undefined,
          { size: 64, space: 'io', registers: { PORT: { offset: 4, width: 2, access: 'rw' } } },
          {
            size: 4096,
            regions: [
              { offset: 0x10, size: 0x20, kind: 'memory' },
              {
                offset: 0x100,
                size: 0x40,
                kind: 'registers',
                byteOrder: 'big',
                registers: {
                  A: { offset: 1, width: 4, access: 'rw', writeMask: 0x00ff_0ff0, reset: 0x0100_0000 },
                  B: { offset: 8, width: 8, access: 'rw1c', reset: 0xffff_ffff_0000_ffffn },
                  C: { offset: 16, width: 2, access: 'rc', reset: 7 },
                  D: { offset: 20, width: 1, access: 'wo' },
                  E: { offset: 24, width: 4, access: 'rw', wholeWrites: true },
                },
              },
            ],
          },
        ],
        state: () => ({ last: 0 }),
        read: (_at, length, { state }) => new Uint8Array(length).fill(state.last),
        write(_at, bytes, _enables, { state }) {
          state.last = bytes[0] as number;
        },
      }),
    );
  });

  it('resets by every way that configuration space has, and chains of all capabilities', async () => {
    const [report] = await run(
      defineDevice({
        name: 'rich',
        ...ID,
        rom: { size: 4096 },
        bars: [{ size: 4096, registers: { A: { offset: 0, width: 4, access: 'rw', reset: 9 } } }],
        capabilities: {
          pcie: true,
          msi: { vectors: 4, maskable: true },
          pm: { noSoftReset: false },
          aer: true,
          ats: true,
          pri: true,
          pasid: true,
          sriov: { totalVfs: 4, vfDeviceId: 0x10f1 },
          vendor: [{ data: Uint8Array.of(1, 2, 3) }],
        },
      }),
    );
    expect(report.checks[0]?.line).toBe('4096 bytes, 9 capabilities, read by TLPs');
  });

  it('a device that is too large for a machine, without one', async () => {
    const [report] = await run(
      defineDevice({
        name: 'large',
        ...ID,
        bars: [{ size: 2 ** 40, bits: 64, memory: true }],
      }),
    );
    const lines = Object.fromEntries(report.checks.map(({ id, line }) => [id, line]));
    expect(lines.bars).toBe('1 BAR, without a machine');
    expect(lines.throws).toBe('none in 100 accesses: direct');
  });

  it('a BAR that fills half of the low window of a machine', async () => {
    const bars = [
      { size: 2 ** 29, memory: true },
      { size: 4096, memory: true },
    ] as const;
    const [report] = await run(defineDevice({ name: 'wide', ...ID, bars }), { accesses: 10 });
    const lines = Object.fromEntries(report.checks.map(({ id, line }) => [id, line]));
    expect(lines.bars).toBe('2 BARs, sized and enumerated by TLPs');
    expect(lines.throws).toBe('none in 10 accesses: direct');
  });

  it('a timer that quiesce ends', async () => {
    await run(
      defineDevice<{ on: boolean }>({
        name: 'beat',
        ...ID,
        bars: [
          {
            size: 16,
            registers: {
              ON: {
                offset: 0,
                width: 1,
                access: 'rw',
                write(value, ctx) {
                  const tick = (): void => {
                    if (!ctx.state.on) return;
                    ctx.dma.write(0x100, Uint8Array.of(1));
                    ctx.after(500, tick);
                  };
                  const was = ctx.state.on;
                  ctx.state.on = value !== 0;
                  if (!was) tick();
                },
              },
            },
          },
        ],
        state: () => ({ on: false }),
        quiesce(ctx) {
          ctx.state.on = false;
        },
      }),
    );
  });
});

describe('checkDevice', () => {
  it('gives the same report for the same seed, and tells of each check and each call', async () => {
    const ids: string[] = [];
    const calls = new Set<string>();
    const [one] = await run(copier, {
      onCheck: ({ id }) => void ids.push(id),
      onCall: (check, callback, bar, offset) => void calls.add(`${check} ${callback} ${bar} ${offset}`),
    });
    const [other] = await run(copier);
    expect(one).toEqual(other);
    expect(ids).toEqual(one.checks.map(({ id }) => id));
    expect(calls).toContain('throws DOORBELL.write 0 28');
    expect(calls).toContain('quiesce dma.read done -1 0');
    const [third] = await run(copier, { seed: 2 });
    expect(third.seed).toBe(2);
  });

  it.each([
    [{ seed: -1 }, 'seed: -1 is not valid; allowed: an integer from 0 to 4294967295'],
    [{ accesses: 0 }, 'accesses: 0 is not valid; allowed: an integer from 1 to 100000'],
    [{ sed: 1 }, 'options.sed is not a field, did you mean seed?'],
  ])('refuses %j', async (options, message) => {
    const error = await checkDevice(copier as Device, options as CheckOptions).catch((reason) => reason);
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error.message).toContain(message);
  });
});
