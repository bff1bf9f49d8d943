/** The copy engine in a machine: its registers, copies, errors, time and interrupts. */
import { describe, expect, it } from 'vitest';
import { type CopyEngineOptions, copyEngine } from '../../src/devices/index.js';
import { ZtlpError } from '../../src/index.js';
import { CAP } from '../../src/pci/registers.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { type Driver, drive, MESSAGE_ADDRESS, MESSAGE_DATA } from './support.js';

const R = {
  ID: 0x00,
  SCRATCH: 0x04,
  SRC: 0x08,
  DST: 0x10,
  LEN: 0x18,
  CONTROL: 0x1c,
  STATUS: 0x20,
  ERROR_CODE: 0x24,
  COUNT: 0x28,
  MAX_LEN: 0x2c,
  BYTES: 0x30,
} as const;
const DONE = 1;
const ERROR = 2;
const BUSY = 4;
const DATA = Uint8Array.from({ length: 5000 }, (_, n) => n * 13 + (n >> 8));

function start(driver: Driver, src: number | bigint, dst: number | bigint, length: number): void {
  driver.write64(0, R.SRC, src);
  driver.write64(0, R.DST, dst);
  driver.write32(0, R.LEN, length);
  driver.write32(0, R.CONTROL, 1);
}

describe.each(BUILDS)('a copy engine on the %s core', (build) => {
  const core = useBuild(build);
  const make = async (options: CopyEngineOptions = {}, memory = 0x10000): Promise<Driver> => {
    const driver = await drive(copyEngine(options), { core: core(), hostMemoryBytes: memory });
    driver.arm(2);
    return driver;
  };

  it('has the registers of its drawing', async () => {
    const driver = await make({ maxBytes: 4096 });
    expect(driver.read32(0, R.ID)).toBe(0x0c0b_1e00);
    expect(driver.read32(0, R.MAX_LEN)).toBe(4096);
    driver.write32(0, R.ID, 1);
    driver.write32(0, R.MAX_LEN, 1);
    driver.write32(0, R.SCRATCH, 0xdead_beef);
    driver.write32(0, R.STATUS, 0xffff_ffff);
    expect(driver.read32(0, R.ID)).toBe(0x0c0b_1e00);
    expect(driver.read32(0, R.MAX_LEN)).toBe(4096);
    expect(driver.read32(0, R.SCRATCH)).toBe(0xdead_beef);
    expect(driver.read32(0, R.STATUS)).toBe(0);
    expect(driver.read32(0, R.CONTROL)).toBe(0);
  });

  it('copies, counts, and sends the message of vector 0 behind the data', async () => {
    const driver = await make();
    const { machine, fn } = driver;
    machine.memory.write(0x1003, DATA);
    machine.trace.start();
    start(driver, 0x1003, 0x8001, DATA.length);
    expect(machine.memory.read(0x8001, DATA.length)).toEqual(DATA);
    expect(machine.memory.read(0x8000, 1)).toEqual(Uint8Array.of(0));
    expect(machine.memory.read(0x8001 + DATA.length, 1)).toEqual(Uint8Array.of(0));
    expect(machine.takeInterrupts()).toEqual([
      { slot: 0, address: MESSAGE_ADDRESS, data: MESSAGE_DATA, ns: 0 },
    ]);
    const up = machine.trace.take().filter(({ direction, tlp }) => direction === 'up' && tlp.flow === 'P');
    expect(up.at(-1)?.tlp.address).toBe(MESSAGE_ADDRESS);
    expect(up.length).toBeGreaterThan(2);
    expect(driver.read32(0, R.STATUS)).toBe(DONE);
    expect(driver.read64(0, R.BYTES)).toBe(5000n);
    expect(driver.read32(0, R.COUNT)).toBe(1);
    expect(driver.read32(0, R.COUNT)).toBe(0);
    driver.write32(0, R.STATUS, DONE);
    expect(driver.read32(0, R.STATUS)).toBe(0);
    expect(fn.instance?.stats).toEqual({ copies: 1, bytes: 5000 });
    expect(fn.instance?.errors).toEqual([]);
  });

  it('starts with the write of LEN and CONTROL in one access, and not with bytes of CONTROL that lack START', async () => {
    const driver = await make();
    driver.machine.memory.write(0, DATA.subarray(0, 16));
    driver.write64(0, R.DST, 0x100);
    driver.write64(0, R.LEN, (1n << 32n) | 16n);
    expect(driver.machine.memory.read(0x100, 16)).toEqual(DATA.subarray(0, 16));
    driver.write(0, R.CONTROL + 1, Uint8Array.of(1));
    driver.write32(0, R.CONTROL, 0xffff_fffe);
    expect(driver.vectors()).toEqual([0]);
    expect(driver.fn.instance?.stats.copies).toBe(1);
  });

  it.each([
    ['length 0', 0, 0, 0, 1],
    ['a length above MAX_LEN', 0, 0, 4097, 1],
    ['a source where nothing is', 0x1_0000, 0, 64, 3],
    ['a source that leaves memory', 0xfff0, 0, 64, 3],
    ['a source of all ones', 0xffff_ffff_ffff_ff00n, 0, 64, 3],
  ])('answers %s with ERROR and vector 1, and writes nothing', async (_, src, dst, length, code) => {
    const driver = await make({ maxBytes: 4096 });
    const before = driver.machine.memory.read(0, 0x10000);
    start(driver, src, dst, length);
    expect(driver.read32(0, R.STATUS)).toBe(ERROR);
    expect(driver.read32(0, R.ERROR_CODE)).toBe(code);
    expect(driver.read32(0, R.COUNT)).toBe(0);
    expect(driver.vectors()).toEqual([1]);
    expect(driver.machine.memory.read(0, 0x10000)).toEqual(before);
    start(driver, 0, 0x100, 4096);
    expect(driver.read32(0, R.STATUS)).toBe(ERROR | DONE);
    expect(driver.vectors()).toEqual([0]);
    expect(driver.fn.instance?.errors).toEqual([]);
  });

  it('takes latencyNs and nsPerByte for each byte, and is locked and BUSY meanwhile', async () => {
    const driver = await make({ latencyNs: 100, nsPerByte: 3 });
    const { machine } = driver;
    machine.memory.write(0, DATA.subarray(0, 64));
    start(driver, 0, 0x1000, 64);
    expect(driver.read32(0, R.STATUS)).toBe(BUSY);
    driver.write32(0, R.STATUS, BUSY);
    driver.write64(0, R.SRC, 0x2000);
    driver.write32(0, R.DST + 4, 7);
    driver.write(0, R.LEN, Uint8Array.of(1));
    machine.run(291);
    expect(driver.read32(0, R.STATUS)).toBe(BUSY);
    expect(machine.memory.read(0x1000, 64)).toEqual(new Uint8Array(64));
    machine.run(1);
    expect(machine.memory.read(0x1000, 64)).toEqual(DATA.subarray(0, 64));
    expect([driver.read64(0, R.SRC), driver.read64(0, R.DST), driver.read32(0, R.LEN)]).toEqual([
      0n,
      0x1000n,
      64,
    ]);
    expect(machine.takeInterrupts()).toMatchObject([{ data: MESSAGE_DATA, ns: 292 }]);
  });

  it('refuses a second START while it is BUSY, and ends the first copy', async () => {
    const driver = await make({ latencyNs: 10 });
    driver.machine.memory.write(0, DATA.subarray(0, 8));
    start(driver, 0, 0x100, 8);
    driver.write32(0, R.CONTROL, 1);
    expect(driver.read32(0, R.STATUS)).toBe(BUSY | ERROR);
    expect(driver.read32(0, R.ERROR_CODE)).toBe(2);
    expect(driver.vectors()).toEqual([1]);
    driver.machine.run(10);
    expect(driver.read32(0, R.STATUS)).toBe(DONE | ERROR);
    expect(driver.vectors()).toEqual([0]);
    expect(driver.machine.memory.read(0x100, 8)).toEqual(DATA.subarray(0, 8));
  });

  it('keeps its message pending while the vector is masked', async () => {
    const driver = await make();
    driver.write32(0, 0x80c, 1);
    start(driver, 0, 0x100, 8);
    expect(driver.vectors()).toEqual([]);
    expect(driver.read64(0, 0xc00)).toBe(1n);
    driver.write32(0, 0x80c, 0);
    expect(driver.vectors()).toEqual([0]);
    expect(driver.read64(0, 0xc00)).toBe(0n);
  });

  it.each(['Initiate FLR', 'flr', 'hot', 'warm', 'cold'] as const)(
    'ends a copy that waits with %s',
    async (how) => {
      const driver = await make({ latencyNs: 10 });
      const { machine, fn } = driver;
      machine.memory.write(0, DATA.subarray(0, 8));
      start(driver, 0, 0x100, 8);
      const control = (fn.config.capability(CAP.PCIE) as number) + 8;
      if (how === 'Initiate FLR') machine.config.write(fn.id, control, 0x8000, 2);
      else machine.resetFunction(fn, how);
      machine.run(100);
      expect(machine.memory.read(0x100, 8)).toEqual(new Uint8Array(8));
      machine.enumerate();
      expect(driver.read32(0, R.STATUS)).toBe(0);
      expect(driver.read64(0, R.SRC)).toBe(0n);
      driver.arm(2);
      expect(driver.vectors()).toEqual([]);
      start(driver, 0, 0x100, 8);
      machine.run(10);
      expect(machine.memory.read(0x100, 8)).toEqual(DATA.subarray(0, 8));
      expect(driver.vectors()).toEqual([0]);
    },
  );

  it('fails with Bus Master Enable off, without a TLP and without a message', async () => {
    const driver = await make();
    const { machine, fn } = driver;
    machine.config.write(fn.id, 4, 0x0002, 2);
    const before = machine.stats(fn).tlpsUp;
    driver.write32(0, R.LEN, 8);
    driver.write32(0, R.CONTROL, 1);
    expect(machine.stats(fn).tlpsUp).toBe(before);
    expect(driver.read32(0, R.STATUS)).toBe(ERROR);
    expect(driver.read32(0, R.ERROR_CODE)).toBe(3);
    expect(driver.vectors()).toEqual([]);
  });
});

describe('the options of a copy engine', () => {
  it.each<[object | null, string]>([
    [{ maxBytes: 0 }, 'maxBytes'],
    [{ maxBytes: 2 ** 24 + 1 }, 'maxBytes'],
    [{ latencyNs: -1 }, 'latencyNs'],
    [{ latencyNs: 0.5 }, 'latencyNs'],
    [{ nsPerByte: 1001 }, 'nsPerByte'],
    [{ nsPerByte: '1' }, 'nsPerByte'],
    [{ nsPerBytes: 1 }, 'options.nsPerBytes'],
    [null, 'options'],
  ])('refuse %j and name the field', (options, field) => {
    let error: unknown;
    try {
      copyEngine(options as CopyEngineOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ZtlpError);
    expect((error as ZtlpError).field).toBe(field);
    expect((error as ZtlpError).allowed).toBeTruthy();
  });
});
