// What each reset returns to its value at power-on, and what survives (PCIe base specification 4.0, 6.6 and 5.3.1.4).
import { describe, expect, it } from 'vitest';
import { buildConfig } from '../../src/pci/build-config.js';
import type { ConfigModel, ResetKind } from '../../src/pci/config-model.js';
import { AT, dumped, EVERYTHING, everything } from './models.js';

const KINDS: readonly ResetKind[] = ['power-on', 'hot', 'function', 'd3hot'];

// Value set, and the resets that keep it.
const SURVIVES: readonly (readonly [
  what: string,
  at: number,
  width: 1 | 2 | 4,
  value: number,
  kept: string,
])[] = [
  ['Command', 0x04, 2, 0x0547, ''],
  ['Cache Line Size', 0x0c, 1, 0x10, ''],
  ['BAR 0', 0x10, 4, 0xc000_000c, ''],
  ['ROM', 0x30, 4, 0xc000_0001, ''],
  ['Interrupt Line', 0x3c, 1, 0x0b, ''],
  ['error reporting and read size', AT.pcie + 8, 2, 0x501f, ''],
  ['Max_Payload_Size', AT.pcie + 8, 2, 0x2850, 'function d3hot'],
  ['Aux Power PM Enable', AT.pcie + 8, 2, 0x2c10, 'hot function d3hot'],
  ['ASPM, RCB, common clock, extended synch, width disable', AT.pcie + 0x10, 2, 0x02cb, 'function d3hot'],
  ['Device Control 2', AT.pcie + 0x28, 2, 0x0350, ''],
  ['Link Control 2', AT.pcie + 0x30, 2, 0x0023, 'hot function d3hot'],
  ['MSI', AT.msi + 2, 2, 0x01b7, ''],
  ['MSI-X', AT.msix + 2, 2, 0xc040, ''],
  ['PME enable with PME from D3cold', AT.pm + 4, 2, 0x0100, 'hot function d3hot'],
  ['AER uncorrectable mask', AT.aer + 0x08, 4, 0x0200_1000, 'hot function d3hot'],
  ['AER uncorrectable severity', AT.aer + 0x0c, 4, 0x0000_1000, 'hot function d3hot'],
  ['AER correctable mask', AT.aer + 0x14, 4, 0x0000_0001, 'hot function d3hot'],
  ['AER ECRC enables', AT.aer + 0x18, 4, 0x0000_01e0, 'hot function d3hot'],
  ['ATS', AT.ats + 6, 2, 0x8005, ''],
  ['PRI', AT.pri + 4, 2, 1, ''],
  ['PASID', AT.pasid + 6, 2, 7, ''],
  ['VF enable', AT.sriov + 8, 2, 0x19, ''],
  ['VF BAR', AT.sriov + 0x24, 4, 0xc000_0004, ''],
  ['vendor bytes', AT.vendor + 4, 1, 0xf2, ''],
];

// Bits that the device sets.
const STATUS: readonly (readonly [what: string, at: number, value: number, kept: string])[] = [
  ['Status', 0x04, 0xf910_0000, ''],
  ['Captured Slot Power Limit', AT.pcie + 4, 0x1ff8_8022, 'function d3hot'],
  ['Device Status', AT.pcie + 8, 0x000f_2810, ''],
  ['AER uncorrectable status', AT.aer + 4, 0x0010_0000, 'hot function d3hot'],
  ['AER correctable status', AT.aer + 0x10, 0x0000_1000, 'hot function d3hot'],
  ['AER First Error Pointer', AT.aer + 0x18, 0x0000_00b4, 'hot function d3hot'],
  ['AER header log', AT.aer + 0x28, 0xdead_beef, 'hot function d3hot'],
  ['PME status', AT.pm + 4, 0x8000, 'hot function d3hot'],
  ['PRI status', AT.pri + 4, 0x0103_0000, ''],
];

const resetTo = (model: ConfigModel, at: number, width: 1 | 2 | 4, kind: ResetKind): number => {
  model.reset(kind);
  return model.read(at, width);
};

describe.each(KINDS)('reset %s', (kind) => {
  it.each(SURVIVES)('%s', (_, at, width, value, kept) => {
    const model = everything();
    const initial = model.read(at, width);
    model.write(at, value, width);
    expect(model.read(at, width)).toBe(value);
    expect(initial).not.toBe(value);
    expect(resetTo(model, at, width, kind)).toBe(kept.split(' ').includes(kind) ? value : initial);
  });

  it.each(STATUS)('%s', (_, at, value, kept) => {
    const model = everything();
    const initial = model.read(at, 4);
    model.poke(at, value, 4);
    expect(resetTo(model, at, 4, kind)).toBe(kept.split(' ').includes(kind) ? value : initial);
  });
});

describe('PME bits of a function without PME from D3cold', () => {
  it.each(KINDS)('%s', (kind) => {
    const capabilities = [{ kind: 'pm', pmeSupport: 0x09 }] as const;
    const model = buildConfig({ vendorId: 1, deviceId: 2, capabilities });
    model.write(0x44, 0x0100, 2);
    model.poke(0x44, 0x8108, 2);
    // They are PME context, which D3hot to D0 keeps, and not sticky.
    expect(resetTo(model, 0x44, 2, kind)).toBe(kind === 'd3hot' ? 0x8108 : 0x0008);
  });
});

describe('values at power-on', () => {
  it('are those of the specification', () => {
    const model = everything();
    expect(model.read(AT.pcie + 0x08, 2)).toBe(0x2810); // No Snoop, Relaxed Ordering, 512-byte reads
    expect(model.read(AT.pcie + 0x30, 2)).toBe(4); // the fastest link
    expect(model.read(AT.aer + 0x08, 4)).toBe(0x0040_0000);
    expect(model.read(AT.aer + 0x0c, 4)).toBe(0x0046_2030);
    expect(model.read(AT.aer + 0x14, 4)).toBe(0xe000);
    expect(model.read(AT.sriov + 0x20, 4)).toBe(1); // 4 KiB
  });

  it('of a dump are those of the specification for what software sets, and its own for the rest', async () => {
    const model = await dumped('qemu72-nvme');
    expect([model.read(0x04, 2), model.read(0x10, 4), model.read(0x3c, 1)]).toEqual([
      0x107, 0xfebc_0004, 0x0a,
    ]);
    model.reset('power-on');
    expect([model.read(0x04, 2), model.read(0x10, 4), model.read(0x3c, 1)]).toEqual([0, 4, 0]);
    expect([model.read(0x00, 4), model.read(0x2c, 4)]).toEqual([0x0010_1b36, 0x1100_1af4]);
    expect(model.msix).toEqual({ enable: false, functionMask: false, vectors: 65 });
  });
});

describe('a reset', () => {
  it('tells what changed, and nothing else', () => {
    const model = everything();
    model.write(0x04, 6, 2);
    model.write(0x18, 0xe000_0000, 4);
    model.write(AT.pcie + 8, 0x2850, 2);
    const calls: unknown[] = [];
    model.observer = {
      command: ({ memory }) => calls.push(['command', memory]),
      bar: ({ index, address }) => calls.push(['bar', index, address]),
      msi: () => calls.push('msi'),
      msix: () => calls.push('msix'),
      deviceControl: ({ mps }) => calls.push(['deviceControl', mps]),
      flr: () => calls.push('flr'),
    };
    model.reset('function');
    expect(calls.splice(0)).toEqual([
      ['command', false],
      ['bar', 2, 0],
    ]);
    model.reset('hot');
    expect(calls).toEqual([['deviceControl', 128]]);
  });

  it('of another name is refused', () => {
    expect(() => everything().reset('warm' as 'hot')).toThrow(
      'kind: "warm" is not valid; allowed: power-on, f',
    );
  });

  it('does not undo what another function had', () => {
    const [model, other] = [everything(), buildConfig({ ...EVERYTHING, deviceId: 1 })];
    expect(() => model.load(other.save())).toThrow('vendor and device id');
    expect(() => model.load(new Uint8Array(256))).toThrow('4096 bytes');
  });
});
