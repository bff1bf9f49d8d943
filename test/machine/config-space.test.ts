/** Configuration space of functions in a machine: reached by configuration TLPs, and what its fields do. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { defineDevice, lspciDevice } from '../../src/device/index.js';
import { createMachine, type Machine, memoryDevice, type PciFunction } from '../../src/index.js';
import { dumpPath } from '../pci/dumps.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { errorOf } from './support.js';

const CAP_PM = 1;
const CAP_MSI = 5;
const CAP_PCIE = 16;
const CAP_MSIX = 17;
const COMMAND = 4;
const BAR0 = 0x10;

/** What the bundled dumps do not say. */
const E1000E = {
  bars: [{ size: 0x20000 }, { size: 0x20000 }, { size: 32 }, { size: 0x4000 }],
  rom: { size: 0x40000 },
};
const NVME = { bars: [{ size: 0x4000 }] };

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

/** Counts its resets, and raises an interrupt when RING is written. */
function bell(seen: string[], noSoftReset = true) {
  return defineDevice<{ rung: number }>({
    name: 'bell',
    vendorId: 0x1af4,
    deviceId: 0x10f4,
    bars: [
      {
        size: 4096,
        bits: 64,
        registers: {
          SCRATCH: { offset: 0, width: 4, access: 'rw', reset: 7 },
          RING: {
            offset: 4,
            width: 4,
            access: 'wo',
            write(value, ctx) {
              if ((value & 0x100) === 0) ctx.msix.raise(value);
              else ctx.msi.raise(value & 0xff);
            },
          },
          LATER: {
            offset: 8,
            width: 4,
            access: 'wo',
            write: (_value, ctx) => void ctx.after(100, () => ctx.dma.write(0x40, u32(5))),
          },
        },
      },
      undefined,
      { size: 4096, memory: true },
    ],
    capabilities: {
      pcie: true,
      pm: { noSoftReset },
      msi: { vectors: 4, maskable: true },
      msix: { vectors: 3, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 },
    },
    state: () => ({ rung: 0 }),
    reset: (kind) => void seen.push(kind),
  });
}

describe.each(BUILDS)('configuration space on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  async function bellMachine(seen: string[] = [], noSoftReset = true): Promise<[Machine, PciFunction]> {
    const device = bell(seen, noSoftReset);
    const made = await createMachine({ core, slots: [{ device }, { device }] });
    return [made, made.functions[0] as PciFunction];
  }
  const write = (made: Machine, fn: PciFunction, offset: number, value: number, bar = 0): void => {
    const { fault } = made.cpu.write({
      path: 'x86-uc',
      function: fn,
      bar,
      offset,
      data: u32(value),
      block: false,
    });
    expect(fault).toBeUndefined();
  };
  const read = (made: Machine, fn: PciFunction, offset: number, bar = 0): number => {
    const { data } = made.cpu.read({ path: 'x86-uc', function: fn, bar, offset, length: 4, block: false });
    return new DataView(data.buffer).getUint32(0, true);
  };

  it('answers type 0 configuration TLPs with one DW', async () => {
    const [made, fn] = await bellMachine();
    made.trace.start();
    expect(made.config.read(fn.id, 0, 4)).toBe(0x10f4_1af4);
    expect(made.config.read(fn.id, 2, 2)).toBe(0x10f4);
    expect(made.config.read(fn.id, 0x0e, 1)).toBe(0);
    made.config.write(fn.id, 0x3c, 0x5a, 1);
    expect(made.config.read(fn.id, 0x3c, 4)).toBe(0x5a);
    const seen = made.trace.take().map(({ tlp, slot, direction, data }) => ({
      type: tlp.type,
      slot,
      direction,
      firstBe: tlp.flow === 'CPL' ? undefined : tlp.firstBe,
      data: data.length,
    }));
    expect(seen.slice(0, 4)).toEqual([
      { type: 'CfgRd0', slot: 0, direction: 'down', firstBe: 15, data: 0 },
      { type: 'CplD', slot: 0, direction: 'up', firstBe: undefined, data: 4 },
      { type: 'CfgRd0', slot: 0, direction: 'down', firstBe: 12, data: 0 },
      { type: 'CplD', slot: 0, direction: 'up', firstBe: undefined, data: 4 },
    ]);
    expect(seen.slice(6, 8)).toEqual([
      { type: 'CfgWr0', slot: 0, direction: 'down', firstBe: 1, data: 4 },
      { type: 'Cpl', slot: 0, direction: 'up', firstBe: undefined, data: 0 },
    ]);
  });

  it('gives all ones and Unsupported Request where no function is, and behind a conventional space', async () => {
    const [made, fn] = await bellMachine();
    expect(made.config.read(fn.id + 1, 0, 4)).toBe(0xffff_ffff);
    expect(made.config.read(0, 0, 2)).toBe(0xffff);
    expect(made.stats().unsupportedRequests).toBe(2);
    made.config.write(0x1234, 4, 7, 2);
    expect(made.stats().unsupportedRequests).toBe(3);
    expect(made.config.read(fn.id, 0xffc, 4)).toBe(0); // PCI Express: 4096 bytes
    const plain = defineDevice({ name: 'p', vendorId: 1, deviceId: 2, bars: [{ size: 16, memory: true }] });
    const old = await createMachine({ core, slots: [{ device: plain }] });
    const [only] = old.functions;
    expect(old.config.read(only?.id ?? 0, 0xfc, 4)).toBe(0);
    expect(old.config.read(only?.id ?? 0, 0x100, 4)).toBe(0xffff_ffff);
  });

  it.each<[string, unknown[], string]>([
    ['a function number above 16 bits', [0x1_0000, 0, 4], 'bdf'],
    ['no function number', [undefined, 0, 4], 'bdf'],
    ['an offset behind the space', [0x100, 4096, 4], 'offset'],
    ['a width of 3', [0x100, 0, 3], 'width'],
    ['bytes of two DWs', [0x100, 3, 2], 'offset'],
  ])('refuses %s', async (_what, given, field) => {
    const [made] = await bellMachine();
    const config = made.config as unknown as Record<'read' | 'write', (...given: unknown[]) => unknown>;
    expect(errorOf(() => config.read(...given)).field).toBe(field);
    expect(errorOf(() => config.write(...given.slice(0, 2), 0, given[2])).field).toBe(field);
    expect(errorOf(() => made.config.write(0x100, 4, 0x1_0000, 2)).field).toBe('value');
  });

  it('begins as firmware leaves it: addresses, Memory Space and Bus Master Enable, no interrupts', async () => {
    const [made, fn] = await bellMachine();
    expect(made.config.read(fn.id, COMMAND, 2)).toBe(0x0006);
    expect(made.config.read(fn.id, BAR0, 4)).toBe(4); // 64 bits
    expect(made.config.read(fn.id, BAR0 + 4, 4)).toBe(0x100);
    expect(made.config.read(fn.id, BAR0 + 8, 4)).toBe(0xc000_0000);
    expect(fn.bars.map((bar) => bar?.address)).toEqual([
      2 ** 40,
      undefined,
      0xc000_0000,
      ...Array(3).fill(undefined),
    ]);
    expect(fn.config.msix).toMatchObject({ enable: false, vectors: 3 });
    expect(fn.config.msi).toMatchObject({ enable: false });
  });

  it('moves a BAR: the function answers at the new address, and at the old one nobody', async () => {
    const device = memoryDevice({ bars: [{ size: 0x1000 }] });
    const made = await createMachine({ core, slots: [{ device }, { device }] });
    const [fn, other] = made.functions as readonly [PciFunction, PciFunction];
    write(made, fn, 8, 0x1234);
    made.config.write(fn.id, BAR0, 0x8000_0000, 4);
    made.config.write(fn.id, BAR0 + 4, 0, 4);
    expect(fn.bar(0).address).toBe(0x8000_0000);
    made.trace.start();
    expect(read(made, fn, 8)).toBe(0x1234);
    expect(made.trace.take()[0]?.tlp).toMatchObject({ type: 'MRd', headerDw: 3, address: 0x8000_0008 });
    // The other function at the address that became free.
    made.config.write(other.id, BAR0, 0, 4);
    made.config.write(other.id, BAR0 + 4, 0x100, 4);
    write(made, other, 8, 0x77);
    expect([read(made, fn, 8), read(made, other, 8)]).toEqual([0x1234, 0x77]);
  });

  it('answers memory requests only while Memory Space is enabled and the function is in D0', async () => {
    const [made, fn] = await bellMachine();
    expect(read(made, fn, 0)).toBe(7);
    made.config.write(fn.id, COMMAND, 0x0004, 2);
    expect(read(made, fn, 0)).toBe(0xffff_ffff);
    made.config.write(fn.id, COMMAND, 0x0006, 2);
    expect(read(made, fn, 0)).toBe(7);
    const pm = fn.config.capability(CAP_PM) as number;
    made.config.write(fn.id, pm + 4, 3, 2);
    expect([read(made, fn, 0), fn.busMaster, made.config.read(fn.id, pm + 4, 2) & 3]).toEqual([
      0xffff_ffff,
      false,
      3,
    ]);
    made.config.write(fn.id, pm + 4, 0, 2);
    expect([read(made, fn, 0), fn.busMaster]).toEqual([7, true]);
  });

  it('resets the device by FLR, and on the way from D3hot where it says so', async () => {
    const seen: string[] = [];
    const [made, fn] = await bellMachine(seen, false);
    const other = made.functions[1] as PciFunction;
    write(made, other, 0, 1);
    const pcie = fn.config.capability(CAP_PCIE) as number;
    write(made, fn, 0, 9);
    write(made, fn, 8, 0); // a timer that would write memory
    made.config.write(fn.id, pcie + 8, made.config.read(fn.id, pcie + 8, 2) | 0x8000, 2);
    expect(seen).toEqual(['flr']);
    expect([made.config.read(fn.id, COMMAND, 2), fn.bar(0).address]).toEqual([0, 0]);
    made.config.write(fn.id, BAR0 + 4, 0x80, 4);
    made.config.write(fn.id, COMMAND, 6, 2);
    made.run(1000); // the timer is gone: nothing else would keep its DMA back
    expect(made.memory.read(0x40, 4)).toEqual(u32(0));
    expect(read(made, fn, 0)).toBe(7);
    const pm = fn.config.capability(CAP_PM) as number;
    for (const state of [3, 0]) made.config.write(fn.id, pm + 4, state, 2);
    expect(seen).toEqual(['flr', 'd3hot']);
    expect(fn.bar(0).address).toBe(0);
    expect(read(made, other, 0)).toBe(1);
  });

  it.each(['cold', 'warm', 'hot', 'flr'] as const)('is reset from outside: %s', async (kind) => {
    const seen: string[] = [];
    const [made, fn] = await bellMachine(seen);
    made.enableMsix(fn);
    write(made, fn, 0, 9);
    made.resetFunction(fn, kind);
    expect(seen).toEqual([kind]);
    expect([fn.config.command.memory, fn.config.msix?.enable, fn.bar(0).address]).toEqual([false, false, 0]);
    made.reset();
    expect(read(made, fn, 0)).toBe(7);
    expect(fn.bar(0).address).toBe(2 ** 40);
    expect(errorOf(() => made.resetFunction(fn, 'd3hot' as 'hot')).field).toBe('kind');
    expect(errorOf(() => made.resetFunction({} as PciFunction, 'hot')).field).toBe('function');
  });

  it('sends MSI-X once a driver enabled it, and holds messages back until then', async () => {
    const [made, fn] = await bellMachine();
    write(made, fn, 4, 1);
    expect(made.takeInterrupts()).toEqual([]);
    made.enableMsix(fn);
    expect(made.takeInterrupts()).toMatchObject([{ slot: 0, address: 0xfee0_0000, data: 1 }]);
    write(made, fn, 4, 2);
    expect(made.takeInterrupts()).toMatchObject([{ data: 2 }]);
    const msix = fn.config.capability(CAP_MSIX) as number;
    made.config.write(fn.id, msix + 2, 0xc000, 2); // Function Mask
    write(made, fn, 4, 0);
    expect(made.takeInterrupts()).toEqual([]);
    made.config.write(fn.id, msix + 2, 0x8000, 2);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0 }]);
    made.enableMsix(fn, [{ address: 0xfee0_1004, data: 0xabc }]);
    write(made, fn, 4, 0);
    expect(made.takeInterrupts()).toMatchObject([{ address: 0xfee0_1004, data: 0xabc }]);
  });

  it('refuses messages that no table entry can hold, and changes nothing', async () => {
    const [made, fn] = await bellMachine();
    const message = { address: 0xfee0_0000, data: 0 };
    for (const [messages, field] of [
      [Array(4).fill(message), 'messages'],
      [[{ ...message, address: 2 }], 'messages[0].address'],
      [[message, { ...message, data: 2 ** 32 }], 'messages[1].data'],
      [[null], 'messages[0].address'],
    ] as const)
      expect(errorOf(() => made.enableMsix(fn, messages as never)).field).toBe(field);
    expect(fn.config.msix?.enable).toBe(false);
    const plain = await createMachine({ core });
    expect(errorOf(() => plain.enableMsix(plain.functions[0] as PciFunction)).code).toBe('not-found');
    const arm = await createMachine({ core, platform: 'arm64', slots: [{ device: bell([]) }] });
    const [armFn] = arm.functions as readonly [PciFunction];
    arm.enableMsix(armFn);
    arm.cpu.write({
      path: 'arm64-device',
      function: armFn,
      bar: 0,
      offset: 4,
      data: u32(1),
      block: false,
    });
    expect(arm.takeInterrupts()).toMatchObject([{ address: 0x0809_0040, data: 1 }]);
    const s390 = await createMachine({ core, platform: 's390x', slots: [{ device: bell([]) }] });
    const [zpci] = s390.functions as readonly [PciFunction];
    expect(errorOf(() => s390.enableMsix(zpci)).field).toBe('messages');
    s390.enableMsix(zpci, [{ address: 0x1000, data: 0x11 }]);
    expect(zpci.config.msix?.enable).toBe(true);
  });

  it('sends MSI as the capability says: fewer vectors, masked and pending ones', async () => {
    const [made, fn] = await bellMachine();
    const at = fn.config.capability(CAP_MSI) as number;
    write(made, fn, 4, 0x101);
    expect(made.takeInterrupts()).toEqual([]);
    expect(made.takeLog()).toEqual(['bell: MSI vector 1 is lost: MSI is not enabled']);
    made.config.write(fn.id, at + 4, 0xfee0_2000, 4);
    made.config.write(fn.id, at + 12, 0x4041, 2);
    made.config.write(fn.id, at + 2, 0x0021, 2); // enabled, 4 vectors
    write(made, fn, 4, 0x103);
    expect(made.takeInterrupts()).toMatchObject([{ address: 0xfee0_2000, data: 0x4043 }]);
    made.config.write(fn.id, at + 16, 0b1010, 4);
    for (const vector of [3, 1, 0]) write(made, fn, 4, 0x100 + vector);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4040 }]);
    expect(made.config.read(fn.id, at + 20, 4)).toBe(0b1010);
    made.config.write(fn.id, at + 16, 0b1000, 4);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4041 }]);
    made.config.write(fn.id, at + 16, 0, 4);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4043 }]);
    expect(made.config.read(fn.id, at + 20, 4)).toBe(0);
    made.config.write(fn.id, at + 2, 0x0011, 2); // 2 vectors: the number wraps
    for (const vector of [2, 3]) write(made, fn, 4, 0x100 + vector);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4040 }, { data: 0x4041 }]);
    made.config.write(fn.id, at + 2, 0x0001, 2); // 1 vector: all share it, and the data is as it is
    write(made, fn, 4, 0x102);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4041 }]);
    made.config.write(fn.id, at + 16, 1, 4);
    write(made, fn, 4, 0x100);
    made.config.write(fn.id, at + 2, 0, 2); // not enabled: what is pending stays
    made.config.write(fn.id, at + 16, 0, 4);
    expect(made.takeInterrupts()).toEqual([]);
    made.config.write(fn.id, at + 2, 1, 2);
    expect(made.takeInterrupts()).toMatchObject([{ data: 0x4041 }]);
  });

  it('enumerates six functions of QEMU 7.2 as their dumps but for addresses, Command and Interrupt Line', async () => {
    const read72 = (name: string): string => readFileSync(dumpPath(`qemu72-${name}`), 'utf8');
    const devices = [lspciDevice(read72('e1000e'), E1000E), lspciDevice(read72('nvme'), NVME)];
    const slots = Array.from({ length: 6 }, (_, n) => ({ device: devices[n % 2] as (typeof devices)[0] }));
    const made = await createMachine({ core, slots });
    const before = made.functions.map((fn) => fn.bars.map((bar) => bar?.address));
    const found = made.enumerate();
    expect(found.map((fn) => fn.bdf)).toEqual(made.functions.map((fn) => fn.id));
    const chosen = new Set([COMMAND, COMMAND + 1, 0x3c, ...Array.from({ length: 24 }, (_, n) => 0x10 + n)]);
    for (let n = 0x30; n < 0x34; n++) chosen.add(n); // the ROM
    for (const [n, fn] of made.functions.entries()) {
      const dump = (devices[n % 2] as (typeof devices)[0]).config as Uint8Array;
      const now = Uint8Array.from({ length: dump.length }, (_, at) => made.config.read(fn.id, at, 1));
      expect([...now.keys()].filter((at) => now[at] !== dump[at] && !chosen.has(at))).toEqual([]);
      expect(found[n]?.problems).toEqual([]);
      expect(found[n]?.bars.map((bar) => [bar.index, bar.size])).toEqual(
        n % 2 === 1
          ? [[0, 0x4000]]
          : [
              [0, 0x20000],
              [1, 0x20000],
              [2, 32],
              [3, 0x4000],
              [6, 0x40000],
            ],
      );
      for (const bar of found[n]?.bars ?? []) {
        if (bar.index < 6) expect(fn.bars[bar.index]?.address).toBe(bar.address);
      }
      expect(fn.config.command).toMatchObject({ memory: true, busMaster: true, io: n % 2 === 0 });
      // Memory answers where the walk put it.
      write(made, fn, 0x20, 0x100 + n);
    }
    expect(made.functions.map((fn) => read(made, fn, 0x20))).toEqual([
      0x100, 0x101, 0x102, 0x103, 0x104, 0x105,
    ]);
    expect(made.functions.map((fn) => fn.bars.map((bar) => bar?.address))).not.toEqual(before);
  });

  it('finds functions on two buses, and puts no two at one address', async () => {
    const slots = Array.from({ length: 40 }, () => ({ device: memoryDevice() }));
    const made = await createMachine({ core, slots, hostMemoryBytes: 4096 });
    const found = made.enumerate();
    expect(found.map((fn) => fn.bdf)).toEqual(made.functions.map((fn) => fn.id));
    for (const [n, fn] of made.functions.entries()) write(made, fn, 0, n + 1);
    expect(made.functions.map((fn) => read(made, fn, 0))).toEqual(slots.map((_, n) => n + 1));
  });

  it('shows an I/O BAR that no access path reaches', async () => {
    const dump = readFileSync(dumpPath('qemu72-e1000e'), 'utf8');
    const made = await createMachine({ core, slots: [{ device: lspciDevice(dump, E1000E) }] });
    const fn = made.functions[0] as PciFunction;
    expect(fn.name).toBe('00-02.0');
    expect(fn.bars[2]).toMatchObject({ size: 32, space: 'io', address: 0x1000 });
    expect(errorOf(() => read(made, fn, 0, 2))).toMatchObject({ code: 'unsupported', field: 'bar' });
  });

  it('takes 20,000 configuration accesses without growing, and closes open write-combining lines first', async () => {
    const [made, fn] = await bellMachine();
    const bytes = made.memoryBytes;
    for (let n = 0; n < 20_000; n++) expect(made.config.read(fn.id, 0x2c, 4)).toBe(0x10f4_1af4);
    expect(made.memoryBytes).toBe(bytes);
    const [, other] = made.functions as readonly [PciFunction, PciFunction];
    made.trace.start();
    made.cpu.wcStore({ function: other, bar: 2, offset: 0x10, data: u32(1) });
    made.config.read(fn.id, 0, 4);
    expect(made.trace.take().map(({ tlp }) => tlp.type)).toEqual(['MWr', 'CfgRd0', 'CplD']);
  });
});

describe('a device from a dump', () => {
  const dump = readFileSync(dumpPath('qemu72-nvme'), 'utf8');
  const both = `${dump}\n${readFileSync(dumpPath('qemu72-e1000e'), 'utf8')}`;

  it('takes the sizes that lspci -v prints', () => {
    const verbose = dump.replace(/\n/, '\n\tRegion 0: Memory at febc0000 (64-bit) [size=16K]\n');
    expect(lspciDevice(verbose).bars[0]).toMatchObject({ size: 0x4000, bits: 64 });
  });

  it('is one of several by its address, and its BARs may be served otherwise', () => {
    const device = lspciDevice(both, { address: '00:02.0', ...E1000E });
    expect([device.vendorId, device.romSize, device.bars[3]?.size]).toEqual([0x8086, 0x40000, 0x4000]);
    const served = lspciDevice(dump, {
      name: 'nvme',
      bars: [{ size: 0x8000, bits: 64, callback: true }],
      read: () => 0,
    });
    expect([served.name, served.bars[0]?.size, served.bars[0]?.regions[0]?.kind]).toEqual([
      'nvme',
      0x8000,
      'callback',
    ]);
  });

  it.each<[string, unknown, unknown, string]>([
    ['no text', 5, {}, 'dump'],
    ['no dump', 'hello\n', {}, 'dump'],
    ['several functions', both, {}, 'address'],
    ['another address', dump, { address: '00:09.0' }, 'address'],
    ['no size', dump, {}, 'bars[0]'],
    ['a wrong size', dump, { bars: [{ size: 3 }] }, 'bars[0].size'],
    ['an identity of its own', dump, { ...NVME, vendorId: 1 }, 'vendorId'],
    ['64 bytes', dump.replace(/^[4-9a-f]0: .*$/gm, ''), {}, 'dump'],
  ])('is refused with %s', (_what, text, options, field) => {
    expect(errorOf(() => lspciDevice(text as string, options as object)).field).toBe(field);
  });
});
