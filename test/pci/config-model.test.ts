// Live configuration space: which bits each write changes, what the observer is told, bad accesses.
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { buildConfig } from '../../src/pci/build-config.js';
import { ConfigModel } from '../../src/pci/config-model.js';
import type { ConfigObserver } from '../../src/pci/config-watch.js';
import { space } from './dumps.js';
import { AT, everything } from './models.js';

/** Everything that the observer of `model` is told, as [callback, arguments]. */
function told(model: ConfigModel): [string, ...unknown[]][] {
  const calls: [string, ...unknown[]][] = [];
  const note =
    (name: string) =>
    (...values: unknown[]): void => {
      calls.push([name, ...values]);
    };
  const names = ['command', 'bar', 'msix', 'msi', 'deviceControl', 'powerState', 'flr'] as const;
  model.observer = Object.fromEntries(names.map((name) => [name, note(name)])) as ConfigObserver;
  return calls;
}

/** What of the ones and zeros written to a dword sticks: the bits that software can change. */
function writable(model: ConfigModel, register: number): number {
  model.write(register, 0, 4);
  const zeros = model.read(register, 4);
  // Initiate FLR would undo the rest of the write.
  model.write(register, register === AT.pcie + 8 ? 0xffff_7fff : 0xffff_ffff, 4);
  return (model.read(register, 4) ^ zeros) >>> 0;
}

// PCI local bus specification 3.0, PCIe base specification 4.0: every register with a bit that software can set.
const WRITABLE: readonly (readonly [what: string, register: number, bits: number])[] = [
  ['Command: I/O, memory, bus master, parity, SERR#, interrupt disable', 0x04, 0x0547],
  ['Cache Line Size', 0x0c, 0x0000_00ff],
  ['BAR 0, 16 KiB, 64-bit prefetchable', 0x10, 0xffff_c000],
  ['its upper half', 0x14, 0xffff_ffff],
  ['BAR 2, 64 KiB', 0x18, 0xffff_0000],
  ['BAR 3, 32 I/O ports', 0x1c, 0xffff_ffe0],
  ['BAR 4, 4 KiB, 64-bit', 0x20, 0xffff_f000],
  ['its upper half', 0x24, 0xffff_ffff],
  ['Expansion ROM, 64 KiB, and its enable', 0x30, 0xffff_0001],
  ['Interrupt Line', 0x3c, 0x0000_00ff],
  // Phantom functions are not supported; Initiate FLR is not kept.
  ['Device Control', AT.pcie + 0x08, 0x7dff],
  ['Link Control', AT.pcie + 0x10, 0x02cb],
  ['Device Control 2', AT.pcie + 0x28, 0x0350],
  ['Link Control 2', AT.pcie + 0x30, 0xffbf],
  ['MSI enable and vectors', AT.msi, 0x0071_0000],
  ['MSI address', AT.msi + 0x04, 0xffff_fffc],
  ['MSI upper address', AT.msi + 0x08, 0xffff_ffff],
  ['MSI data', AT.msi + 0x0c, 0x0000_ffff],
  ['MSI mask, 8 vectors', AT.msi + 0x10, 0x0000_00ff],
  ['MSI-X enable and function mask', AT.msix, 0xc000_0000],
  ['PM state and PME enable', AT.pm + 0x04, 0x0103],
  ['vendor bytes', AT.vendor + 0x04, 0x0000_00f0],
  ['AER uncorrectable mask', AT.aer + 0x08, 0x02ff_f030],
  ['AER uncorrectable severity', AT.aer + 0x0c, 0x02ff_f030],
  ['AER correctable mask', AT.aer + 0x14, 0x0000_f1c1],
  ['AER ECRC generation and check', AT.aer + 0x18, 0x0140],
  ['ATS', AT.ats + 0x04, 0x801f_0000],
  ['PRI enable', AT.pri + 0x04, 0x0001],
  ['PRI allocation', AT.pri + 0x0c, 0xffff_ffff],
  ['PASID', AT.pasid + 0x04, 0x0007_0000],
  ['SR-IOV control', AT.sriov + 0x08, 0x0019],
  ['SR-IOV NumVFs', AT.sriov + 0x10, 0xffff],
  ['SR-IOV system page size', AT.sriov + 0x20, 0x0553],
  ['VF BAR 0, 16 KiB', AT.sriov + 0x24, 0xffff_c000],
  ['its upper half', AT.sriov + 0x28, 0xffff_ffff],
  ['bytes of the vendor', AT.vsec + 0x08, 0x0000_00ff],
];

// Cleared by writing 1.
const CLEARED: readonly (readonly [what: string, offset: number, bits: number])[] = [
  ['Status', 0x06, 0xf900],
  ['Device Status', AT.pcie + 0x0a, 0x000f],
  ['Link Status 2', AT.pcie + 0x32, 0x0020],
  ['PME status', AT.pm + 0x04, 0x8000],
  ['AER uncorrectable, low half', AT.aer + 0x04, 0xf030],
  ['AER uncorrectable, high half', AT.aer + 0x06, 0x02ff],
  ['AER correctable', AT.aer + 0x10, 0xf1c1],
  ['PRI status', AT.pri + 0x06, 0x0003],
];

describe('bits that software can set', () => {
  it.each(WRITABLE)('%s', (_, register, bits) => {
    expect(writable(everything(), register).toString(16)).toBe(bits.toString(16));
  });

  it('are all in that list', () => {
    const listed = new Map(WRITABLE.map(([, register, bits]) => [register, bits]));
    const found = new Map<number, number>();
    const model = everything();
    for (let register = 0; register < 4096; register += 4) {
      model.reset('power-on');
      const bits = writable(model, register);
      if (bits !== 0) found.set(register, bits);
    }
    expect(found).toEqual(new Map([...listed].sort(([a], [b]) => a - b)));
  });
});

describe('bits that are cleared by writing 1', () => {
  it.each(CLEARED)('%s', (_, offset, bits) => {
    const model = everything();
    const before = model.read(offset, 2);
    model.poke(offset, before | bits, 2);
    model.write(offset, 0, 2);
    // Of a register that has writable bits too, those are now 0.
    expect(model.read(offset, 2) & bits).toBe(bits);
    for (let bit = 1; bit <= bits; bit *= 2) {
      if ((bits & bit) === 0) continue;
      const left = model.read(offset, 2) & bits;
      model.write(offset, bit, 2);
      expect(model.read(offset, 2) & bits).toBe(left & ~bit);
    }
  });

  it('are all in that list', () => {
    const found = new Map<number, number>();
    const model = everything();
    for (let offset = 0; offset < 4096; offset += 2) {
      model.reset('power-on');
      // Software may set a bit and find it set: only what the device alone sets counts.
      const settable = (writable(model, offset & ~3) >>> (8 * (offset & 2))) & 0xffff;
      model.reset('power-on');
      model.poke(offset, 0xffff & ~settable, 2);
      const before = model.read(offset, 2);
      model.write(offset, offset === AT.pcie + 8 ? 0x7fff : 0xffff, 2);
      const bits = before & ~model.read(offset, 2);
      if (bits !== 0) found.set(offset, bits);
    }
    expect(found).toEqual(new Map(CLEARED.map(([, offset, bits]) => [offset, bits])));
  });
});

describe('accesses', () => {
  it('of each width give the same bytes, little-endian', () => {
    const model = everything();
    expect(model.read(0x00, 4)).toBe(0x5678_1234);
    expect([model.read(0x00, 2), model.read(0x02, 2)]).toEqual([0x1234, 0x5678]);
    expect([0, 1, 2, 3].map((n) => model.read(n, 1))).toEqual([0x34, 0x12, 0x78, 0x56]);
    expect(model.read(0x01, 2)).toBe(0x7812);
  });

  it.each([
    ['behind the end', 4096, 1],
    ['below 0', -1, 1],
    ['no integer', 1.5, 1],
    ['over a dword border, 2 bytes', 3, 2],
    ['over a dword border, 4 bytes', 2, 4],
    ['of 3 bytes', 0, 3],
    ['of 8 bytes', 0, 8],
  ])('%s are refused', (_, offset, width) => {
    const model = everything();
    const before = model.save();
    expect(() => model.read(offset, width as 4)).toThrow(ZtlpError);
    expect(() => model.write(offset, 0, width as 4)).toThrow(ZtlpError);
    expect(() => model.poke(offset, 0, width as 4)).toThrow(ZtlpError);
    expect(model.save()).toEqual(before);
  });

  it('with a value that does not fit, byte enables that do not exist, or no dword register are refused', () => {
    const model = everything();
    expect(() => model.write(0x3c, 256, 1)).toThrow(
      'value: 256 is not valid; allowed: an integer from 0 to 255',
    );
    expect(() => model.write(0x3c, -1, 4)).toThrow(ZtlpError);
    expect(() => model.writeDw(0x3c, 0, 16)).toThrow('byteEnables');
    expect(() => model.writeDw(0x3d, 0, 15)).toThrow('offset');
    expect(() => new ConfigModel(new Uint8Array(256)).read(256, 4)).toThrow(
      'allowed: an integer from 0 to 255',
    );
  });

  it('of 256 or 4096 bytes with a known header have a model', () => {
    expect(() => new ConfigModel(new Uint8Array(64))).toThrow('allowed: 256 or 4096 bytes');
    expect(() => new ConfigModel(space(256, [[0x0c, 0x0002_0000]]))).toThrow('headerType: 2 has no model');
    expect(() => new ConfigModel(new Uint8Array(256).fill(0xff))).toThrow('headerType: 127 has no model');
  });
});

describe('sizing a BAR', () => {
  it('shows the size, and restores what was there', () => {
    const model = everything();
    model.write(0x18, 0xe000_0000, 4);
    model.write(0x18, 0xffff_ffff, 4);
    expect(model.read(0x18, 4)).toBe(0xffff_0000);
    model.write(0x18, 0xe000_0000, 4);
    expect(model.bar(2)).toEqual({
      index: 2,
      kind: 'memory32',
      prefetchable: false,
      size: 65536,
      address: 0xe000_0000,
      enabled: true,
    });
  });

  it('of a BAR that is not implemented gives 0', () => {
    const model = buildConfig({ vendorId: 1, deviceId: 2 });
    for (let register = 0x10; register <= 0x30; register += 4) {
      if (register === 0x2c) continue;
      model.write(register, 0xffff_ffff, 4);
      expect(model.read(register, 4)).toBe(0);
    }
    expect([model.bars, model.bar(0), model.bar(6)]).toEqual([[], undefined, undefined]);
  });

  it('of the ROM leaves its enable bit', () => {
    const model = everything();
    model.write(0x30, 0xffff_fffe, 4);
    expect(model.read(0x30, 4)).toBe(0xffff_0000);
    model.write(0x30, 0xfff0_0001, 4);
    expect(model.bar(6)).toMatchObject({ kind: 'rom', address: 0xfff0_0000, size: 65536, enabled: true });
  });
});

describe('the observer', () => {
  it('is told of the Command register, and not of Status beside it', () => {
    const model = everything();
    const calls = told(model);
    model.write(0x04, 0x0406, 2);
    model.poke(0x06, 0xf910, 2);
    model.write(0x04, 0xf900_0406, 4);
    const state = { io: false, parityErrorResponse: false, serr: false };
    expect(calls).toEqual([['command', { memory: true, busMaster: true, intxDisable: true, ...state }]]);
    expect(model.command).toEqual(calls[0]?.[1]);
  });

  it('is told of a 64-bit BAR at each half, with the whole address', () => {
    const model = everything();
    const calls = told(model);
    model.write(0x10, 0x1000_0000, 4);
    model.write(0x14, 0x0000_0040, 4);
    model.write(0x14, 0x0000_0040, 4);
    expect(calls.map(([name, state]) => [name, (state as { address: unknown }).address])).toEqual([
      ['bar', 0x1000_0000],
      ['bar', 0x40_1000_0000],
    ]);
  });

  it('is told of MSI and MSI-X', () => {
    const model = everything();
    const calls = told(model);
    model.write(AT.msix + 2, 0xc000, 2);
    expect(calls.splice(0)).toEqual([['msix', { enable: true, functionMask: true, vectors: 65 }]]);
    model.write(AT.msi + 4, 0xfee0_0000, 4);
    model.write(AT.msi + 8, 1, 4);
    model.write(AT.msi + 12, 0x4041, 2);
    model.write(AT.msi + 16, 0x81, 1);
    model.write(AT.msi + 2, 0x0051, 2); // 32 vectors of the 8 that there are
    const state = { enable: true, vectors: 8, address: 0x1_fee0_0000, data: 0x4041, mask: 0x81 };
    expect(calls).toHaveLength(5);
    expect(calls[4]).toEqual(['msi', state]);
    expect([model.msi, model.msix?.enable]).toEqual([state, true]);
  });

  it('is told of payload sizes and ordering, and not of error reporting', () => {
    const model = everything();
    const calls = told(model);
    expect(model.deviceControl).toEqual({
      mps: 128,
      mrrs: 512,
      relaxedOrdering: true,
      noSnoop: true,
      extendedTag: false,
    });
    model.write(AT.pcie + 8, 0x281f, 2);
    expect(calls).toEqual([]);
    model.write(AT.pcie + 8, 0x514f, 2);
    const state = { mps: 512, mrrs: 4096, relaxedOrdering: false, noSnoop: false, extendedTag: true };
    expect(calls.splice(0)).toEqual([['deviceControl', state]]);
    model.write(AT.pcie + 8, 0x70e0, 2); // reserved encodings
    expect(calls).toMatchObject([['deviceControl', { mps: 128, mrrs: 128 }]]);
  });

  it('is told of power states that there are, and of the reset behind D3hot', () => {
    const model = everything();
    model.write(0x04, 6, 2);
    const calls = told(model);
    model.write(AT.pm + 4, 2, 1); // D2 is not supported
    expect([calls, model.powerState]).toEqual([[], 0]);
    model.write(AT.pm + 4, 1, 1);
    model.write(AT.pm + 4, 3, 1);
    model.write(AT.pm + 4, 3, 1);
    expect(calls.splice(0)).toEqual([
      ['powerState', 1, false],
      ['powerState', 3, false],
    ]);
    model.write(AT.pm + 4, 1, 1); // from D3hot there is only the way to D0
    expect([calls, model.powerState]).toEqual([[], 3]);
    model.write(AT.pm + 4, 0, 1);
    expect(calls.map(([name]) => name)).toEqual(['command', 'powerState']);
    expect(calls[1]).toEqual(['powerState', 0, true]);
    expect([model.command.memory, model.powerState]).toEqual([false, 0]);
  });

  it('finds registers kept behind D3hot where No_Soft_Reset is set', () => {
    const model = buildConfig({ vendorId: 1, deviceId: 2, capabilities: [{ kind: 'pm' }] });
    model.write(0x04, 6, 2);
    model.write(0x44, 3, 1);
    const calls = told(model);
    model.write(0x44, 0, 1);
    expect(calls).toEqual([['powerState', 0, false]]);
    expect(model.command.memory).toBe(true);
  });

  it('is told of a function level reset behind what it changed, and the bit reads 0', () => {
    const model = everything();
    model.write(0x04, 6, 2);
    model.write(AT.msix + 2, 0x8000, 2);
    const calls = told(model);
    model.write(AT.pcie + 8, 0xa810, 2);
    expect(calls.map(([name]) => name)).toEqual(['command', 'msix', 'flr']);
    expect(model.read(AT.pcie + 8, 2)).toBe(0x2810);
    expect(model.msix?.enable).toBe(false);
    model.writeDw(AT.pcie + 8, 0xffff_ffff, 0b1101); // without the byte that holds the bit
    expect(calls.filter(([name]) => name === 'flr')).toHaveLength(1);
  });

  it('is told of no function level reset by a function that has none', () => {
    const model = buildConfig({ vendorId: 1, deviceId: 2, capabilities: [{ kind: 'pcie' }] });
    const calls = told(model);
    model.write(0x04, 6, 2);
    model.write(0x48, 0xffff, 2);
    expect(calls.map(([name]) => name)).toEqual(['command', 'deviceControl']);
    expect([model.read(0x48, 2), model.command.memory]).toEqual([0x7d1f, true]);
  });

  it('is told of a function level reset through Advanced Features', () => {
    const words = [
      [0x00, 0x0002_0001],
      [0x04, 0x0010_0000],
      [0x34, 0x40],
      [0x40, 0x0306_0013],
    ] as const;
    const model = new ConfigModel(space(256, words));
    const calls = told(model);
    model.write(0x44, 1, 1);
    expect([calls, model.read(0x44, 1)]).toEqual([[['flr']], 0]);
  });

  it('is told of any dword, and may write in a callback', () => {
    const model = everything();
    const seen: number[][] = [];
    model.observer = {
      command: () => model.write(0x3c, 9, 1),
      register: (...values) => void seen.push(values),
    };
    model.write(0x04, 2, 2);
    model.write(AT.sriov + 8, 1, 2);
    model.write(0x00, 0, 4);
    expect(seen).toEqual([
      [0x3c, 0x0109, 0x0100],
      [0x04, 0x0010_0002, 0x0010_0000],
      [AT.sriov + 8, 1, 0],
    ]);
  });
});

describe('a bridge', () => {
  const bridge = (words: readonly (readonly [number, number])[] = []): ConfigModel =>
    new ConfigModel(space(256, [[0x00, 0x0001_1b36], [0x0c, 0x0001_0000], ...words]));

  it('has bus numbers, windows and Bridge Control to write', () => {
    const bits = [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3c].map((register) =>
      writable(bridge(), register),
    );
    expect(bits).toEqual([0xffff_ffff, 0xf0f0, 0xfff0_fff0, 0xfff0_fff0, 0, 0, 0, 0x0bff_00ff]);
  });

  it('has upper halves of windows that say so', () => {
    const wide = bridge([
      [0x1c, 0x0101],
      [0x24, 0x0001_0001],
    ]);
    expect([0x28, 0x2c, 0x30].map((register) => writable(wide, register))).toEqual(
      Array(3).fill(0xffff_ffff),
    );
  });

  it('has two BARs and a ROM elsewhere', () => {
    const bytes = space(256, [[0x0c, 0x0001_0000]]);
    const model = new ConfigModel(bytes, { bars: [{ size: 4096 }], rom: { size: 2048 } });
    expect([writable(model, 0x10), writable(model, 0x38)]).toEqual([0xffff_f000, 0xffff_f801]);
    expect(() => new ConfigModel(bytes, { bars: [undefined, undefined, { size: 4096 }] })).toThrow('bars[2]');
  });
});
