/** The examples about devices: what they print, their own tests, and the mailbox in a machine. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DeviceInstance } from '../../src/device/instance.js';
import type { Device } from '../../src/index.js';
import { TestHost } from '../device/host.js';
import { BUILDS, readBuild, useBuild } from '../support/builds.js';
import { ROOT, runNode } from '../support/cli.js';
import { type Driver, drive } from './support.js';

async function example(name: string): Promise<Device> {
  const file = new URL(`../../examples/${name}.mjs`, import.meta.url);
  return ((await import(file.href)) as { readonly default: Device }).default;
}

describe('examples/counter', () => {
  it('is a device of at most 40 lines', async () => {
    const text = readFileSync(join(ROOT, 'examples/counter.mjs'), 'utf8');
    expect(text.split('\n').length).toBeLessThanOrEqual(40);
    expect((await example('counter')).name).toBe('counter');
  });

  it('passes the test beside it', async () => {
    const { code, stdout } = await runNode('--test', ['--test-reporter=tap', 'examples/counter.test.mjs']);
    expect(stdout).toMatch(/^# pass 1$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
    expect(code).toBe(0);
  });

  it.each(BUILDS)('adds each write once on the %s core, also writes of single bytes', async (build) => {
    const driver = await drive(await example('counter'), { core: await readBuild(build) });
    driver.arm(1);
    driver.write32(0, 0, 0x63);
    driver.write(0, 1, Uint8Array.of(0));
    expect(driver.read32(0, 4)).toBe(0x63);
    expect(driver.vectors()).toEqual([]);
    driver.write(0, 0, Uint8Array.of(1));
    expect(driver.vectors()).toEqual([0]);
    driver.write32(0, 0, 0xffff_ffff);
    expect(driver.read32(0, 4)).toBe(0x63);
    expect(driver.vectors()).toEqual([]);
  });
});

describe('examples/uart', () => {
  it('passes the test beside it', async () => {
    const { code, stdout } = await runNode('--test', ['--test-reporter=tap', 'examples/uart.test.mjs']);
    expect(stdout).toMatch(/^# pass 4$/m);
    expect(code).toBe(0);
  });
});

describe('examples/copy-engine', () => {
  it('prints the TLPs of one copy', async () => {
    const { code, stdout } = await runNode(join(ROOT, 'examples/copy-engine.mjs'), []);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^down MWr {2}0x\w+ 4 bytes$/);
    expect(lines.filter((line) => line.startsWith('up   MRd'))).toEqual([
      'up   MRd  0x1f80 128 bytes', // up to the 4 KiB boundary
      'up   MRd  0x2000 472 bytes',
    ]);
    const written = lines.filter((line) => line.startsWith('up   MWr'));
    expect(written.map((line) => line.split(' ').at(-2))).toEqual(['256', '256', '88', '4']);
    expect(lines.slice(-2)).toEqual(['interrupt 0x40 at 1100 ns', 'copied: true']);
  });
});

describe.each(BUILDS)('examples/mailbox on the %s core', (build) => {
  const core = useBuild(build);
  const make = async (): Promise<Driver> => drive(await example('mailbox'), { core: core() });

  it('takes one message per store, and answers it when the time has passed', async () => {
    const driver = await make();
    const { machine, fn } = driver;
    const message = Uint8Array.from({ length: 600 }, (_, n) => n);
    machine.cpu.write({ path: 'x86-memcpy-toio', function: fn, bar: 0, offset: 0x1000, data: message });
    driver.write(0, 0x1000, Uint8Array.of(1, 2, 3, 4));
    expect(driver.read32(0, 0x1000)).toBe(2);
    machine.run(249);
    expect(driver.read32(0, 0)).toBe(0);
    machine.run(1);
    expect(driver.read32(0, 0)).toBe(4);
    expect(driver.read32(0, 0)).toBe(0);
    expect(driver.read32(0, 0x2000)).toBe(0x0102_0304);
    expect(fn.instance?.stats).toEqual({ answers: 2 });
    expect(fn.instance?.errors).toEqual([]);
  });

  it('reports a write with holes, and goes on', async () => {
    const driver = await make();
    const { machine, fn } = driver;
    machine.cpu.wcStore({ function: fn, bar: 0, offset: 0x1000, data: Uint8Array.of(1) });
    machine.cpu.wcStore({ function: fn, bar: 0, offset: 0x1006, data: Uint8Array.of(1) });
    machine.cpu.wcFence(fn);
    driver.write32(0, 0x1000, 5);
    expect(fn.instance?.errors.map(({ callback, message }) => [callback, message])).toEqual([
      ['write', 'a message with holes at 4096'],
    ]);
    expect(driver.read32(0, 0x1000)).toBe(1);
  });

  it('answers after a load what it had before the save', async () => {
    const device = await example('mailbox');
    const first = new DeviceInstance(device, new TestHost());
    first.write(0, 0x1000, Uint8Array.of(1, 2, 3, 4));
    const host = new TestHost();
    const second = new DeviceInstance(device, host);
    second.load(structuredClone(first.save()));
    host.run(250);
    expect(second.read(0, 0x2000, 4)).toEqual(Uint8Array.of(4, 3, 2, 1));
  });
});
