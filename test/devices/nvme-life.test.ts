/** The NVMe controller over time: latency, aborts, interrupts, resets, shutdown, save and load, translation, backings. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostReadResult } from '../../src/device/host.js';
import { DeviceInstance } from '../../src/device/instance.js';
import { fileBacking, type NvmeBacking, type NvmeOptions, nvme } from '../../src/devices/index.js';
import { type MachineConfig, machineDomains } from '../../src/index.js';
import { CAP } from '../../src/pci/registers.js';
import { TestHost } from '../device/host.js';
import { errorOf, pattern, same } from '../machine/support.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  ADMIN,
  driveNvme,
  entryOf,
  type Fields,
  IO,
  MEMORY,
  type NvmeDriver,
  type Options,
  REG,
  rw,
} from './nvme-driver.js';
import { le } from './support.js';

const SHN = (n: number): number => (4 << 20) | (6 << 16) | (n << 14) | 1;
const FLUSH: Fields = { opcode: IO.FLUSH, nsid: 1 };

describe.each(BUILDS)('an NVMe controller on the %s core', (build) => {
  const core = useBuild(build);
  const make = async (
    options: Options = {},
    config: Omit<MachineConfig, 'slots'> = {},
  ): Promise<NvmeDriver> => {
    const driver = await driveNvme(options, { core: core(), ...config });
    expect(driver.enable()).toBe(1);
    return driver;
  };
  const clean = ({ fn }: NvmeDriver): void => expect(fn.instance?.errors).toEqual([]);

  it('lets latencyNs pass for each I/O command, all at once, and none for admin commands', async () => {
    const driver = await make({ latencyNs: 700 });
    const { machine } = driver;
    const pair = driver.create(1, 16);
    driver.vectors();
    const start = machine.time.ns;
    driver.submit(pair, FLUSH, FLUSH);
    machine.run(300);
    driver.submit(pair, rw(IO.WRITE, 0, 1, driver.pages(1)));
    machine.run(399);
    expect(driver.reap(pair)).toEqual([]);
    driver.identify(1);
    machine.run(1);
    expect(driver.reap(pair)).toHaveLength(2);
    machine.run(10_000);
    expect(driver.reap(pair)).toHaveLength(1);
    const messages = machine.takeInterrupts().filter(({ data }) => data === 0x41);
    expect(messages.map(({ ns }) => ns - start)).toEqual([700, 700, 1000]);
    clean(driver);
  });

  it('aborts what waits, and not what there is not', async () => {
    const driver = await make({ latencyNs: 1000 });
    const { admin, machine } = driver;
    const pair = driver.create(1, 8);
    const [, second] = driver.submit(pair, FLUSH, FLUSH, FLUSH);
    const abort = (sqid: number, cid = 0) =>
      driver.must(admin, { opcode: ADMIN.ABORT, words: [((cid << 16) | sqid) >>> 0] }).dw0;
    expect(abort(1, second)).toBe(0);
    expect(driver.reap(pair)).toMatchObject([{ cid: second, status: 0x007, sqhd: 3 }]);
    expect([abort(1, second), abort(2, 0), abort(9, 9)]).toEqual([1, 1, 1]);
    machine.run(1000);
    expect(driver.reap(pair).map(({ status }) => status)).toEqual([0, 0]);
    const [kept = 0] = driver.submit(admin, { opcode: ADMIN.EVENT });
    driver.submit(admin, { opcode: ADMIN.ABORT, words: [(kept << 16) >>> 0] });
    expect(driver.reap(admin)).toMatchObject([
      { cid: kept, status: 0x007 },
      { dw0: 0, status: 0 },
    ]);
    clean(driver);
  });

  it('deletes a queue after its commands: those that wait are aborted', async () => {
    const driver = await make({ latencyNs: 1000 });
    const { admin, machine } = driver;
    const pair = driver.create(1, 8);
    const ids = driver.submit(pair, FLUSH, FLUSH);
    driver.must(admin, { opcode: ADMIN.DELETE_SQ, words: [1] });
    expect(driver.reap(pair)).toMatchObject(ids.map((cid) => ({ cid, status: 0x008 })));
    driver.must(admin, { opcode: ADMIN.DELETE_CQ, words: [1] });
    machine.run(10_000);
    expect(driver.reap(pair)).toEqual([]);
    const again = driver.create(1, 4);
    driver.submit(again, FLUSH);
    machine.run(1000);
    expect(driver.reap(again)).toHaveLength(1);
    clean(driver);
  });

  it('deletes a queue in a timed machine after the DMA that is under way', async () => {
    const driver = await make({}, { fidelity: 'timed' });
    const { admin, machine } = driver;
    const wait = (): void => machine.settle();
    const size = (7 << 16) | 1;
    const pair = driver.pair(1, 8);
    driver.submit(admin, { opcode: ADMIN.CREATE_CQ, prp1: pair.cq, words: [size, 3] });
    driver.submit(admin, { opcode: ADMIN.CREATE_SQ, prp1: pair.sq, words: [size, 0x1_0001] });
    wait();
    expect(driver.reap(admin).map(({ status }) => status)).toEqual([0, 0]);
    const at = driver.pages(8);
    const data = pattern(8192, 3);
    machine.memory.write(at, data);
    driver.submit(pair, ...[0, 1, 2].map((n) => rw(IO.WRITE, 16 * n, 16, at, at + 4096)));
    driver.submit(admin, { opcode: ADMIN.DELETE_SQ, words: [1] });
    wait();
    expect(driver.reap(admin)).toMatchObject([{ status: 0 }]);
    const statuses = driver.reap(pair).map(({ status }) => status);
    expect(statuses.every((status) => status === 0 || status === 8)).toBe(true);
    clean(driver);
    expect(driver.fn.instance?.idle).toBe(true);
  });

  it('holds interrupts back by threshold and time, not of the admin queue and not where that is disabled', async () => {
    const driver = await make({ queues: 3 });
    const { admin, machine } = driver;
    const [one, two] = [driver.create(1, 16), driver.create(2, 16)];
    const set = (id: number, value: number) =>
      driver.must(admin, { opcode: ADMIN.SET_FEATURES, words: [id, value] });
    set(8, (2 << 8) | 2); // three entries, or 200 us
    set(9, (1 << 16) | 2);
    driver.vectors();
    driver.submit(one, FLUSH, FLUSH);
    driver.submit(two, FLUSH);
    expect(driver.vectors()).toEqual([2]);
    driver.submit(one, FLUSH);
    expect(driver.vectors()).toEqual([1]);
    driver.submit(one, FLUSH);
    machine.run(199_999);
    expect(driver.vectors()).toEqual([]);
    machine.run(1);
    expect(driver.vectors()).toEqual([1]);
    driver.submit(one, FLUSH);
    driver.reap(one); // taken by polling: no message is wanted any more
    machine.run(1e6);
    expect(driver.vectors()).toEqual([]);
    driver.identify(1);
    expect(driver.vectors()).toEqual([0]);
    clean(driver);
  });

  it('keeps a masked vector pending until its entries are taken', async () => {
    const driver = await make();
    const pair = driver.create(1, 8);
    driver.vectors();
    const control = driver.machine.config;
    const at = driver.fn.config.capability(CAP.MSIX) ?? 0;
    control.write(driver.fn.id, at + 2, 0xc008, 2); // Function Mask
    driver.submit(pair, FLUSH, FLUSH);
    driver.submit(driver.admin, { opcode: ADMIN.IDENTIFY, prp1: driver.pages(1), words: [1] });
    driver.reap(pair);
    control.write(driver.fn.id, at + 2, 0x8008, 2);
    expect(driver.vectors()).toEqual([0]);
    clean(driver);
  });

  it('has MSI with masks in INTMS and INTMC', async () => {
    const driver = await driveNvme({ interrupts: 'msi', vectors: 2 }, { core: core() });
    const { machine, fn } = driver;
    const at = fn.config.capability(CAP.MSI) ?? 0;
    machine.config.write(fn.id, at + 4, 0xfee0_1000, 4);
    machine.config.write(fn.id, at + 12, 0x60, 2);
    machine.config.write(fn.id, at + 2, 0x11, 2); // two messages, enabled
    driver.enable();
    const sent = (): number[] => machine.takeInterrupts().map(({ data }) => data - 0x60);
    const pair = driver.create(1, 8, 1);
    sent();
    driver.submit(pair, FLUSH, FLUSH);
    driver.identify(1);
    expect(sent()).toEqual([1, 1, 0]);
    driver.reap(pair);
    driver.write32(0, REG.INTMS, 2);
    driver.write(0, REG.INTMS, Uint8Array.of(4));
    expect([driver.read32(0, REG.INTMS), driver.read32(0, REG.INTMC)]).toEqual([6, 6]);
    driver.submit(pair, FLUSH);
    expect(sent()).toEqual([]);
    driver.write(0, REG.INTMC, Uint8Array.of(2));
    expect([driver.read32(0, REG.INTMS), driver.read32(0, REG.INTMC)]).toEqual([4, 4]);
    expect(sent()).toEqual([1]);
    driver.reap(pair);
    driver.write32(0, REG.INTMS, 2);
    driver.write32(0, REG.INTMC, 2); // nothing is left to tell
    expect(sent()).toEqual([]);
    clean(driver);
  });

  it('tells a temperature out of its thresholds to who wants to know', async () => {
    const driver = await make();
    const { admin } = driver;
    const set = (id: number, value: number) =>
      driver.must(admin, { opcode: ADMIN.SET_FEATURES, words: [id, value] });
    driver.submit(admin, { opcode: ADMIN.EVENT });
    set(4, 313);
    expect(driver.log(2, 512)[0]).toBe(2);
    set(4, 314);
    set(0x0b, 0x02);
    set(4, (1 << 20) | 312);
    expect(driver.log(2, 512)[0]).toBe(0);
    const [done] = driver.submit(admin, { opcode: ADMIN.SET_FEATURES, words: [4, (1 << 20) | 313] });
    expect(driver.reap(admin)).toMatchObject([{ cid: done }, { dw0: 0x02_0101 }]);
    clean(driver);
  });

  it('loses everything but its data in a controller reset, under way or not', async () => {
    const driver = await make({ latencyNs: 1000 });
    const { admin, machine } = driver;
    const at = driver.pages(1);
    const pair = driver.create(1, 8);
    machine.memory.write(at, pattern(512, 9));
    driver.submit(pair, rw(IO.WRITE, 5, 1, at));
    machine.run(1000);
    expect(driver.reap(pair)).toHaveLength(1);
    driver.submit(pair, rw(IO.WRITE, 6, 1, at), FLUSH);
    driver.submit(admin, { opcode: ADMIN.EVENT });
    driver.must(admin, { opcode: ADMIN.SET_FEATURES, words: [6, 0] });
    driver.write32(0, REG.INTMS, 5);
    driver.write32(0, REG.CC, 0x0046_0000);
    expect([driver.read32(0, REG.CSTS), driver.read32(0, REG.INTMS)]).toEqual([0, 0]);
    expect([driver.read32(0, REG.CC), driver.read64(0, REG.ASQ)]).toEqual([0x0046_0000, BigInt(admin.sq)]);
    machine.run(5000);
    expect(driver.reap(pair)).toEqual([]);
    expect(driver.enable()).toBe(1);
    expect(driver.must(admin, { opcode: ADMIN.GET_FEATURES, words: [6] }).dw0).toBe(1);
    driver.doorbell(3, 1); // of a queue that is gone: no event, its request is gone too
    const again = driver.create(1, 8);
    driver.submit(again, rw(IO.READ, 5, 1, at), rw(IO.READ, 6, 1, at + 512));
    machine.run(1000);
    expect(driver.reap(again)).toHaveLength(2);
    expect(machine.memory.read(at, 1024)).toEqual(Uint8Array.of(...pattern(512, 9), ...new Uint8Array(512)));
    clean(driver);
  });

  it.each(['flr', 'cold'] as const)('keeps data and counters over a function reset (%s)', async (kind) => {
    const driver = await make();
    const { machine, fn } = driver;
    const at = driver.pages(1);
    driver.must(driver.create(1, 8), rw(IO.WRITE, 0, 1, at + 0));
    machine.memory.write(at, pattern(512, 2));
    machine.resetFunction(fn, kind);
    machine.enumerate();
    expect(driver.read32(0, REG.CSTS)).toBe(0);
    expect(driver.read32(0, REG.CC)).toBe(0);
    driver.enable();
    driver.must(driver.create(1, 8), rw(IO.READ, 0, 1, at));
    expect(machine.memory.read(at, 512)).toEqual(new Uint8Array(512));
    const log = new DataView(driver.log(2, 512).buffer);
    const isCold = kind === 'cold' ? 1n : 0n;
    expect([112, 144].map((offset) => log.getBigUint64(offset, true))).toEqual([1n + isCold, isCold]);
    clean(driver);
  });

  it('shuts down when what was fetched has ended: data flushed, nothing fetched any more', async () => {
    let flushes = 0;
    const bytes = new Uint8Array(8192);
    const backing: NvmeBacking = {
      bytes: 8192,
      read: (at, length) => bytes.slice(at, at + length),
      write: (at, data) => bytes.set(data, at),
      flush: () => void flushes++,
    };
    const driver = await make({ backing, latencyNs: 500 });
    const { machine } = driver;
    const pair = driver.create(1, 8);
    driver.submit(pair, rw(IO.WRITE, 0, 1, driver.pages(1)));
    driver.write32(0, REG.CC, SHN(1));
    expect(driver.read32(0, REG.CSTS)).toBe(0b0101);
    machine.run(500);
    expect(driver.read32(0, REG.CSTS)).toBe(0b1001);
    expect(flushes).toBe(1);
    expect(driver.reap(pair)).toHaveLength(1);
    driver.submit(pair, FLUSH);
    machine.run(5000);
    expect(driver.reap(pair)).toEqual([]);
    driver.write32(0, REG.CC, 0);
    expect(driver.read32(0, REG.CSTS)).toBe(0);
    driver.write32(0, REG.CC, 2 << 14);
    expect(driver.read32(0, REG.CSTS)).toBe(0b1000);
    expect(driver.enable()).toBe(1);
    clean(driver);
  });

  // ---------------------------------------------------------------------------------------------- save and load

  it.each([false, true])(
    'goes on in another machine with commands, events and data (quiesced: %s)',
    async (isQuiesced) => {
      const options = { latencyNs: 1000, queues: 2 };
      const driver = await make(options);
      const pair = driver.create(1, 5);
      const at = driver.pages(4);
      driver.machine.memory.write(at, pattern(4096, 7));
      for (let n = 0; n < 7; n++) {
        driver.submit(pair, rw(IO.WRITE, 8 * n, 8, at));
        driver.machine.run(1000);
        expect(driver.reap(pair)).toHaveLength(1);
      }
      driver.must(driver.admin, { opcode: ADMIN.SET_FEATURES, words: [8, 0x0105] });
      driver.submit(driver.admin, { opcode: ADMIN.EVENT });
      driver.submit(pair, rw(IO.READ, 48, 8, at + 4096), rw(IO.WRITE, 100, 8, at));
      driver.machine.run(400);
      if (isQuiesced) {
        driver.fn.instance?.quiesce();
        driver.machine.run(3000);
        expect(driver.reap(pair, 1, false)).toEqual([]);
      }
      const saved = JSON.parse(JSON.stringify(driver.fn.instance?.save()));
      const other = await driveNvme(options, { core: core() });
      other.machine.run(77);
      other.machine.memory.write(0, driver.machine.memory.read(0, MEMORY));
      other.fn.instance?.load(saved);
      other.arm(3);
      const state = { tail: pair.tail, head: pair.head, phase: pair.phase };
      const own = { ...pair, ...state };
      if (isQuiesced) {
        other.machine.run(5000);
        expect(other.reap(own)).toEqual([]);
        expect(other.read32(0, REG.CSTS)).toBe(1); // the access that wakes it
      }
      other.machine.run(599);
      expect(other.reap(own)).toEqual([]);
      other.machine.run(1);
      expect(other.machine.takeInterrupts()).toEqual([]);
      other.machine.run(100_000);
      expect(other.vectors()).toEqual([1]); // coalesced
      expect(other.reap(own)).toHaveLength(2);
      expect(other.machine.memory.read(at + 4096, 4096)).toEqual(pattern(4096, 7));
      const admin = other.admin;
      Object.assign(admin, { tail: driver.admin.tail, head: driver.admin.head, phase: driver.admin.phase });
      other.doorbell(4, 9);
      expect(other.reap(admin)).toMatchObject([{ dw0: 0x01_0000 }]);
      other.submit(own, rw(IO.READ, 100, 8, at + 8192));
      other.machine.run(1000);
      expect(other.machine.memory.read(at + 8192, 4096)).toEqual(pattern(4096, 7));
      clean(other);
      const wrong = await driveNvme({ queues: 2, blocks: 8 }, { core: core() });
      expect(errorOf(() => wrong.fn.instance?.load(saved)).field).toBe('load');
    },
  );

  // ------------------------------------------------------------------------------------------ other sides of it

  it.each(['functional', 'timed'] as const)(
    'works behind a VT-d unit, where its domain maps memory (%s)',
    async (fidelity) => {
      const config = { fidelity, iommus: [{ kind: 'vtd' }], hostMemoryBytes: 2 * MEMORY } as const;
      const driver = await driveNvme({ mdts: 5 }, { core: core(), ...config });
      const { machine, fn, admin } = driver;
      const domains = machineDomains(machine, { tables: { at: MEMORY, bytes: 0x10_0000 } });
      const domain = domains.create('unmanaged');
      domain.attach({ sid: fn.id });
      driver.iova = 0x12_3400_0000n;
      domain.map(driver.iova, 0, MEMORY);
      const settle = (): void => {
        if (fidelity === 'timed') machine.settle();
      };
      expect(driver.enable()).toBe(1);
      const pair = driver.pair(1, 8);
      const size = (7 << 16) | 1;
      const at = driver.pages(20);
      const run = (ring: typeof pair, fields: Fields): number | undefined => {
        driver.submit(ring, fields);
        settle();
        return driver.reap(ring)[0]?.status;
      };
      expect(run(admin, { opcode: ADMIN.CREATE_CQ, prp1: driver.at(pair.cq), words: [size, 0x1_0003] })).toBe(
        0,
      );
      expect(run(admin, { opcode: ADMIN.CREATE_SQ, prp1: driver.at(pair.sq), words: [size, 0x1_0001] })).toBe(
        0,
      );
      const list = BigUint64Array.from({ length: 8 }, (_, n) => driver.at(at + 0x1000 * (2 + n)));
      machine.memory.write(at + 0x8000 + 0x9000, new Uint8Array(list.buffer));
      machine.memory.write(at + 0x1e00, pattern(0x8200, 1));
      const buffer = [driver.at(at + 0x1e00), driver.at(at + 0x1_1000)] as const;
      expect(run(pair, rw(IO.WRITE, 9, 65, ...buffer))).toBe(0);
      machine.memory.write(at + 0x1e00, new Uint8Array(0x8200));
      expect(run(pair, rw(IO.READ, 9, 65, ...buffer))).toBe(0);
      expect(same(machine.memory.read(at + 0x1e00, 0x8200), pattern(0x8200, 1))).toBe(true);
      expect(driver.vectors()).toEqual([0, 0, 1, 1]);
      expect(machine.iommus[0]).toMatchObject({ faults: [] });
      // An address that is not mapped: the unit refuses it, the command says so, the controller goes on.
      expect(run(pair, rw(IO.WRITE, 0, 1, at))).toBe(0x004);
      expect((machine.iommus[0] as { readonly faults: readonly unknown[] }).faults).toHaveLength(1);
      expect(run(pair, FLUSH)).toBe(0);
      clean(driver);
    },
  );

  it('takes the backing of the user: write through, Force Unit Access, and media that fail', async () => {
    const calls: string[] = [];
    const bytes = pattern(16 * 512, 4);
    let isBroken = false;
    const called = (what: string): void => {
      calls.push(what);
      if (isBroken) throw new Error('the head has crashed');
    };
    const backing: NvmeBacking = {
      read: (at, length) => {
        called(`read ${at} ${length}`);
        return bytes.slice(at, at + length);
      },
      write: (at, data) => {
        called(`write ${at} ${data.length}`);
        bytes.set(data, at);
      },
      flush: () => called('flush'),
    };
    const driver = await make({ backing, blocks: 16 });
    const pair = driver.create(1, 8);
    const at = driver.pages(2);
    driver.must(pair, rw(IO.READ, 1, 2, at));
    expect(driver.machine.memory.read(at, 1024)).toEqual(pattern(16 * 512, 4).slice(512, 1536));
    driver.must(pair, rw(IO.WRITE, 0, 1, at));
    const forced = rw(IO.WRITE, 3, 1, at);
    driver.must(pair, { ...forced, words: [3, 0, 2 ** 30] });
    driver.must(driver.admin, { opcode: ADMIN.SET_FEATURES, words: [6, 0] });
    driver.must(pair, rw(IO.ZEROES, 2, 2, 0));
    driver.must(pair, FLUSH);
    expect(calls.splice(0)).toEqual([
      'read 512 1024',
      'write 0 512',
      'write 1536 512',
      'flush',
      'write 1024 1024',
      'flush',
      'flush',
    ]);
    isBroken = true;
    const statuses = [rw(IO.READ, 0, 1, at), rw(IO.WRITE, 0, 1, at), rw(IO.ZEROES, 0, 1, 0), FLUSH].map(
      (fields) => driver.run(pair, fields).status,
    );
    expect(statuses).toEqual([0x281, 0x280, 0x280, 0x280]);
    isBroken = false;
    expect(new DataView(driver.log(2, 512).buffer).getBigUint64(160, true)).toBe(4n);
    driver.must(pair, rw(IO.READ, 0, 1, at));
    clean(driver);
  });

  it('takes a file: data comes and stays, a file that is read only is write protected', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nvme-'));
    try {
      const path = join(folder, 'disk');
      writeFileSync(path, pattern(8192 + 100, 6));
      const file = fileBacking(path);
      expect([file.bytes, file.readOnly]).toEqual([8292, false]);
      const driver = await make({ backing: file });
      const pair = driver.create(1, 8);
      expect(new DataView(driver.identify(0, 1).buffer).getBigUint64(0, true)).toBe(16n);
      const at = driver.pages(2);
      driver.must(pair, rw(IO.READ, 8, 8, at));
      expect(driver.machine.memory.read(at, 4096)).toEqual(pattern(8192, 6).slice(4096));
      driver.must(pair, rw(IO.WRITE, 0, 8, at));
      driver.must(pair, FLUSH);
      expect(new Uint8Array(readFileSync(path)).subarray(0, 4096)).toEqual(pattern(8192, 6).subarray(4096));
      file.close();
      expect(driver.run(pair, rw(IO.READ, 0, 1, at)).status).toBe(0x281);
      clean(driver);

      chmodSync(path, 0o444);
      const fixed = fileBacking(path, { readOnly: true });
      const second = await make({ backing: fixed });
      const ring = second.create(1, 8);
      expect(second.identify(0, 1)[99]).toBe(1);
      expect(second.run(ring, rw(IO.WRITE, 0, 1, at))).toMatchObject({ status: 0x020, dnr: true });
      expect(second.run(ring, rw(IO.ZEROES, 0, 1, at)).status).toBe(0x020);
      second.must(ring, FLUSH);
      second.must(ring, rw(IO.READ, 0, 1, at));
      fixed.close();
      expect(errorOf(() => fileBacking(join(folder, 'none'))).code).toBe('not-found');
      expect(errorOf(() => fileBacking(folder)).code).toBe('io');
      expect(errorOf(() => fileBacking('')).field).toBe('path');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('begins with the bytes that it is given, of its own in every instance', async () => {
    const image = pattern(4096, 8);
    const first = await make({ backing: image });
    const pair = first.create(1, 8);
    const at = first.pages(1);
    first.must(pair, rw(IO.READ, 0, 8, at));
    expect(first.machine.memory.read(at, 4096)).toEqual(image);
    first.must(pair, rw(IO.ZEROES, 0, 8, 0));
    first.must(pair, rw(IO.READ, 0, 8, at));
    expect(first.machine.memory.read(at, 4096)).toEqual(new Uint8Array(4096));
    expect(image).toEqual(pattern(4096, 8));
    expect(first.run(pair, rw(IO.READ, 8, 1, at)).status).toBe(0x080);
  });
});

/** Host memory, and a driver that may act while a message arrives. */
class Host extends TestHost {
  override readonly ram = new Uint8Array(MEMORY);
  onMessage: (vector: number) => void = () => undefined;

  override dmaRead(
    at: number | bigint,
    length: number,
    _: object,
    done: (result: HostReadResult) => void,
  ): void {
    done({ status: 'ok', data: this.ram.slice(Number(at), Number(at) + length) });
  }

  override dmaWrite(
    at: number | bigint,
    data: Uint8Array,
    _: object,
    done: (result: { status: 'ok' }) => void,
  ): void {
    this.ram.set(data, Number(at));
    done({ status: 'ok' });
  }

  override msix(vector: number): void {
    this.onMessage(vector);
  }
}

describe('an NVMe controller without a machine, at one instant', () => {
  const ADMIN_CQ = 0x1000;
  const SQ = 0x1_0000;
  const CQ = 0x2_0000;

  /** A controller with a pair of I/O queues of 512 entries. */
  const bringUp = () => {
    const host = new Host();
    const instance = new DeviceInstance(nvme({ mdts: 8, queues: 1 }), host);
    const write = (offset: number, value: number): unknown => instance.write(0, offset, le(value, 4));
    instance.setMsixControl(true, false);
    for (const vector of [0, 1]) instance.write(0, 0x2000 + 16 * vector + 12, le(0, 4));
    write(REG.AQA, 0x000f_000f);
    write(REG.ACQ, ADMIN_CQ);
    write(REG.CC, (4 << 20) | (6 << 16) | 1);
    const size = (511 << 16) | 1;
    host.ram.set(entryOf({ opcode: ADMIN.CREATE_CQ, prp1: CQ, words: [size, 0x1_0003] }), 0);
    host.ram.set(entryOf({ opcode: ADMIN.CREATE_SQ, prp1: SQ, words: [size, 0x1_0001] }), 64);
    write(REG.DOORBELLS, 2);
    expect([host.ram[ADMIN_CQ + 14], host.ram[ADMIN_CQ + 30]]).toEqual([1, 1]);
    write(REG.DOORBELLS + 4, 2);
    return { host, instance, write };
  };

  it('does many large scattered commands in pauses that keep it from being stopped', () => {
    const { host, instance, write } = bringUp();
    const list = 0x4000;
    // Every other page, so that no two are one request.
    const pages = BigUint64Array.from({ length: 255 }, (_, n) => BigInt(0x10_0000 + 8192 * n));
    host.ram.set(new Uint8Array(pages.buffer), list);
    for (let n = 0; n < 240; n++) host.ram.set(entryOf(rw(IO.WRITE, 0, 2048, 0x8000, list)), SQ + 64 * n);
    let messages = 0;
    host.onMessage = () => void messages++;
    write(REG.DOORBELLS + 8, 240);
    expect(messages).toBeGreaterThan(100);
    expect(messages).toBeLessThan(200);
    host.run(10_000);
    expect(messages).toBe(240);
    expect([instance.errors, instance.stopped, instance.idle]).toEqual([[], false, true]);
  });

  it('takes doorbells while a message arrives, also from a driver that never ends', () => {
    const { host, instance, write } = bringUp();
    for (let n = 0; n < 512; n++) host.ram.set(entryOf(FLUSH), SQ + 64 * n);
    let done = 0;
    host.onMessage = () => {
      done++;
      write(REG.DOORBELLS + 12, done % 512);
      write(REG.DOORBELLS + 8, (done + 1) % 512);
    };
    write(REG.DOORBELLS + 8, 1);
    const first = done;
    expect(first).toBeGreaterThan(10_000);
    host.run(1000);
    expect(done).toBeGreaterThan(first + 10_000);
    expect([instance.errors, instance.stopped]).toEqual([[], false]);
  });
});

describe('the options of an NVMe controller', () => {
  const read = (): Uint8Array => new Uint8Array(0);
  const calls = { read, write: () => undefined, flush: () => undefined };
  it.each<[object | null, string]>([
    [null, 'options'],
    [{ block: 1 }, 'options.block'],
    [{ bytes: 512, blocks: 1 }, 'blocks'],
    [{ bytes: 1000 }, 'bytes'],
    [{ blocks: 0 }, 'blocks'],
    [{ blocks: 2 ** 50 }, 'blocks'],
    [{ lbaBytes: 1024 }, 'lbaBytes'],
    [{ backing: new Uint8Array(100) }, 'backing'],
    [{ backing: new Uint8Array(1024), blocks: 3 }, 'blocks'],
    [{ backing: { ...calls, flush: 1 } }, 'backing.flush'],
    [{ backing: { ...calls, bytes: -1 } }, 'backing.bytes'],
    [{ backing: { ...calls, readOnly: 1 } }, 'backing.readOnly'],
    [{ queues: 257 }, 'queues'],
    [{ queueEntries: 1 }, 'queueEntries'],
    [{ vectors: 2049 }, 'vectors'],
    [{ interrupts: 'pin' }, 'interrupts'],
    [{ interrupts: 'msi', vectors: 3 }, 'vectors'],
    [{ doorbellStride: 12 }, 'doorbellStride'],
    [{ mdts: 0 }, 'mdts'],
    [{ latencyNs: -1 }, 'latencyNs'],
    [{ serial: 'x'.repeat(21) }, 'serial'],
    [{ model: 'ä' }, 'model'],
  ])('refuse %j and name the field', (options, field) => {
    const error = errorOf(() => nvme(options as NvmeOptions));
    expect(error.field).toBe(field);
    expect(error.message).toBeTruthy();
  });
});
