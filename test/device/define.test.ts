// defineDevice: defaults, regions, configuration space from a dump, and every mistake refused by the name of its field.
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { defineDevice } from '../../src/device/define.js';
import type { DeviceBar, DeviceDefinition } from '../../src/device/types.js';
import { bundled, space } from '../pci/dumps.js';

const ID = { name: 'd', vendorId: 0x1af4, deviceId: 0x10f0 } as const;
const REGISTER = { offset: 0, width: 4, access: 'rw' } as const;
const msix = (more = {}) => ({ msix: { vectors: 3, bar: 0, tableOffset: 0x100, pbaOffset: 0x180, ...more } });

const regionsOf = (bars: readonly (DeviceBar | undefined)[], capabilities = {}, bar = 0) =>
  defineDevice({ ...ID, bars, capabilities, read: () => 0 }).bars[bar]?.regions.map(
    ({ kind, offset, size }) => [kind, offset, size],
  );

function refusal(definition: unknown): ZtlpError {
  try {
    defineDevice(definition as DeviceDefinition);
  } catch (error) {
    expect(error).toBeInstanceOf(ZtlpError);
    return error as ZtlpError;
  }
  throw new Error('was not refused');
}

describe('what is left out', () => {
  it('gets its default', () => {
    const device = defineDevice(ID);
    expect(device).toMatchObject({
      revision: 0,
      classCode: 0xff0000,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x10f0,
      interruptPin: 0,
      bars: Array(6).fill(undefined),
      capabilities: { vendor: [] },
      stateVersion: 1,
      blockWrites: false,
    });
    expect(device.config).toBeUndefined();
  });

  it('of a capability too', () => {
    const { capabilities } = defineDevice({
      ...ID,
      bars: [{ size: 4096, memory: true }],
      capabilities: {
        pcie: true,
        aer: true,
        ats: true,
        pri: true,
        pasid: { width: 16 },
        pm: true,
        ...msix(),
      },
    });
    expect(capabilities).toEqual({
      vendor: [],
      pcie: {
        deviceType: 'endpoint',
        maxPayloadSize: 512,
        functionLevelReset: true,
        extendedTags: true,
        maxLinkSpeed: 3,
        maxLinkWidth: 8,
      },
      aer: { ecrc: false },
      ats: { invalidateQueueDepth: 32, pageAligned: true, globalInvalidate: false },
      pri: { capacity: 32, responsePasid: false },
      pasid: { width: 16, execute: false, privileged: false },
      pm: { d1: false, d2: false, pme: 0, noSoftReset: true },
      msix: { vectors: 3, bar: 0, tableOffset: 0x100, pbaOffset: 0x180, pbaBar: 0 },
    });
  });

  it('leaves a device that nobody can change', () => {
    const device = defineDevice({ ...ID, bars: [{ size: 64, memory: true }] });
    const parts = [device, device.bars, device.bars[0], device.bars[0]?.regions, device.bars[0]?.regions[0]];
    for (const part of [...parts, device.capabilities]) expect(Object.isFrozen(part)).toBe(true);
  });
});

describe('regions', () => {
  it('of a BAR that one thing serves are cut around the MSI-X tables', () => {
    expect(regionsOf([{ size: 0x1000, callback: true }], msix())).toEqual([
      ['callback', 0, 0x100],
      ['msix-table', 0x100, 48],
      ['callback', 0x130, 0x50],
      ['msix-pba', 0x180, 8],
      ['callback', 0x188, 0xe78],
    ]);
    const bars = [{ size: 16, callback: true } as const, { size: 64, memory: true } as const];
    expect(regionsOf(bars, msix({ bar: 1, tableOffset: 0, pbaOffset: 56 }), 1)).toEqual([
      ['msix-table', 0, 48],
      ['memory', 48, 8],
      ['msix-pba', 56, 8],
    ]);
  });

  it('in a list are sorted, MSI-X tables added, gaps left', () => {
    const regions = [
      { offset: 0x800, size: 16, kind: 'callback' },
      { offset: 0, size: 16, kind: 'registers', registers: { A: REGISTER } },
      { offset: 0x180, kind: 'msix-pba', valid: { min: 8, max: 8 } },
    ] as const;
    expect(regionsOf([{ size: 0x1000, regions }], msix())).toEqual([
      ['registers', 0, 16],
      ['msix-table', 0x100, 48],
      ['msix-pba', 0x180, 8],
      ['callback', 0x800, 16],
    ]);
  });
});

describe('a dump', () => {
  it('gives identity, BAR kinds and interrupts', async () => {
    const { bytes } = await bundled('qemu72-nvme');
    const device = defineDevice({ name: 'nvme', config: bytes, bars: [{ size: 0x4000, memory: true }] });
    expect(device).toMatchObject({ vendorId: 0x1b36, deviceId: 0x10, revision: 2, classCode: 0x010802 });
    expect(device).toMatchObject({ subsystemVendorId: 0x1af4, subsystemId: 0x1100, interruptPin: 1 });
    expect(device.bars[0]).toMatchObject({ bits: 64, space: 'memory', prefetchable: false });
    expect(device.capabilities.msix).toMatchObject({
      vectors: 65,
      bar: 0,
      tableOffset: 0x2000,
      pbaOffset: 0x3000,
    });
    expect(device.config).toEqual(bytes);
    expect(device.config).not.toBe(bytes);
  });

  it('of a function with I/O and MSI works too', async () => {
    const { bytes } = await bundled('qemu72-e1000e');
    const memory = { size: 0x20000, memory: true } as const;
    const io = { size: 32, callback: true } as const;
    const table = { size: 0x4000, memory: true } as const;
    const device = defineDevice({
      name: 'e',
      config: bytes,
      bars: [memory, memory, io, table],
      rom: { size: 0x40000 },
      read: () => 0,
    });
    expect(device.romSize).toBe(0x40000);
    expect(device.bars.map((bar) => bar?.space)).toEqual([
      'memory',
      'memory',
      'io',
      'memory',
      undefined,
      undefined,
    ]);
    expect(device.capabilities.msi).toEqual({ vectors: 1, address64: true, maskable: false });
    expect(device.capabilities.msix).toMatchObject({ vectors: 5, bar: 3 });
  });

  it('needs the sizes of its BARs, and is not contradicted', async () => {
    const { bytes: config } = await bundled('qemu72-nvme');
    const bar = { size: 0x4000, memory: true } as const;
    expect(refusal({ name: 'n', config }).message).toContain('bars[0]: its size is not in the dump');
    expect(refusal({ name: 'n', config, bars: [{ ...bar, bits: 32 }] }).message).toContain('memory64');
    expect(refusal({ ...ID, config, bars: [bar] })).toMatchObject({ field: 'vendorId' });
    expect(refusal({ name: 'n', config, bars: [bar], capabilities: {} })).toMatchObject({
      field: 'capabilities',
    });
    expect(refusal({ name: 'n', config: config.subarray(0, 100) })).toMatchObject({ field: 'config' });
    expect(refusal({ name: 'n', config: new Uint8Array(64) })).toMatchObject({
      field: 'config',
      allowed: '256, 4096 bytes',
    });
    expect(refusal({ name: 'n', config: new Uint8Array(256).fill(0xff) })).toMatchObject({
      code: 'malformed',
    });
    expect(refusal({ name: 'n', config: space(256, [[0x0c, 0x1_0000]]) })).toMatchObject({
      code: 'unsupported',
    });
    const { bytes: withRom } = await bundled('qemu72-e1000e');
    const sized = [0x20000, 0x20000, undefined, 0x4000].map((size) => size && { size, memory: true });
    sized[2] = { size: 32, memory: true };
    expect(refusal({ name: 'n', config: withRom, bars: sized })).toMatchObject({ field: 'rom' });
    expect(refusal({ name: 'n', config: withRom, bars: sized, rom: { size: 5 } })).toMatchObject({
      field: 'rom.size',
    });
  });
});

describe('a definition', () => {
  const memory = { size: 4096, memory: true };
  const callback = { size: 4096, callback: true };
  const bars = (...list: unknown[]) => ({ ...ID, bars: list, read: () => 0 });
  const region = (...list: unknown[]) => bars({ size: 4096, regions: list });
  const capability = (capabilities: unknown) => ({ ...ID, bars: [memory], capabilities });

  it.each<[string, unknown, string]>([
    ['no object', 5, 'device: 5 is not valid'],
    ['an unknown field', { ...ID, venderId: 1 }, 'did you mean vendorId?'],
    ['no name', { ...ID, name: undefined }, 'name: is missing'],
    ['a name with a space', { ...ID, name: 'a b' }, 'name: "a b"'],
    ['no vendor', { ...ID, vendorId: undefined }, 'vendorId: is missing'],
    ['a vendor that means no function', { ...ID, vendorId: 0xffff }, 'vendorId: 65535'],
    ['a wide device ID', { ...ID, deviceId: 0x10000 }, 'deviceId: 65536'],
    ['a wide revision', { ...ID, revision: 256 }, 'revision: 256'],
    ['a wide class', { ...ID, classCode: 2 ** 24 }, 'classCode: 16777216'],
    ['a wide subsystem vendor', { ...ID, subsystemVendorId: -1 }, 'subsystemVendorId: -1'],
    ['a wide subsystem', { ...ID, subsystemId: -1 }, 'subsystemId: -1'],
    ['a fifth pin', { ...ID, interruptPin: 5 }, 'interruptPin: 5'],
    ['a state version that is none', { ...ID, stateVersion: 'a' }, 'stateVersion: "a"'],
    ['a flag that is none', { ...ID, blockWrites: 1 }, 'blockWrites: 1'],
    ['a callback that is none', { ...ID, reset: true }, 'reset: true'],
    ['save alone', { ...ID, save() {} }, 'save: needs load'],
    ['load alone', { ...ID, load() {} }, 'load: needs save'],
    ['write without a region for it', { ...ID, bars: [memory], write() {} }, 'write: is never called'],
    ['a callback region and nobody', { ...ID, bars: [callback] }, 'read: nothing serves'],

    ['bars that are no list', { ...ID, bars: {} }, 'bars: an object'],
    ['seven BARs', { ...ID, bars: Array(7).fill(undefined) }, 'at most 6 BARs'],
    ['a BAR that is none', bars(5), 'bars[0]: 5'],
    ['an unknown BAR field', bars({ ...memory, sise: 4 }), 'did you mean size?'],
    ['no form', bars({ size: 64 }), 'bars[0]: does not say what serves it; allowed: one of memory'],
    ['two forms', bars({ ...memory, callback: true }), 'bars[0]: "memory and callback"'],
    ['memory that is not true', bars({ size: 64, memory: 1 }), 'bars[0].memory: 1'],
    [
      'a rule that the form does not have',
      bars({ size: 64, regions: [], valid: {} }),
      '"valid" is not a field',
    ],
    ['a size that is no power of two', bars({ ...memory, size: 48 }), 'a power of two'],
    ['a size that is too small', bars({ ...memory, size: 8 }), 'bars[0].size: 8'],
    ['a size for 32 bits', bars({ ...memory, size: 2 ** 32 }), 'bars[0].size: 4294967296'],
    ['I/O that is too large', bars({ ...memory, space: 'io' }), 'an integer from 4 to 256'],
    ['I/O of 64 bits', bars({ size: 64, memory: true, space: 'io', bits: 64 }), 'bars[0].bits: 64'],
    [
      'prefetchable I/O',
      bars({ size: 64, memory: true, space: 'io', prefetchable: true }),
      'prefetchable: true',
    ],
    ['other bits', bars({ ...memory, bits: 16 }), 'bars[0].bits: 16'],
    ['a BAR in an upper half', bars({ ...memory, bits: 64 }, memory), 'bars[1]: an object'],
    ['a 64-bit BAR 5', bars(...Array(5).fill(undefined), { ...memory, bits: 64 }), 'bars[5].bits: 64'],
    ['a size rule that is none', bars({ ...memory, valid: { min: 3, max: 4 } }), 'bars[0].valid.min: 3'],
    ['a size rule without max', bars({ ...memory, impl: { min: 1 } }), 'bars[0].impl.max: undefined'],
    ['a size rule upside down', bars({ ...memory, impl: { min: 4, max: 2 } }), 'at most max (2)'],
    ['a byte order that is none', bars({ size: 64, registers: {}, byteOrder: 'be' }), 'bars[0].byteOrder'],
    [
      'a register outside',
      bars({ size: 16, registers: { A: { ...REGISTER, offset: 16 } } }),
      'registers.A.offset',
    ],

    ['regions that are no list', bars({ size: 64, regions: 5 }), 'bars[0].regions: 5'],
    ['an unknown kind', region({ offset: 0, size: 4, kind: 'rom' }), 'bars[0].regions[0].kind: "rom"'],
    ['no kind', region({ offset: 0, size: 4 }), 'bars[0].regions[0].kind: undefined'],
    ['no region size', region({ offset: 0, kind: 'memory' }), 'bars[0].regions[0].size: undefined'],
    ['a region outside', region({ offset: 4000, size: 100, kind: 'memory' }), 'regions[0].size: 100'],
    [
      'regions that overlap',
      region({ offset: 0, size: 8, kind: 'memory' }, { offset: 4, size: 8, kind: 'callback' }),
      'callback: 0x4 overlaps memory at 0x0 to 0x7',
    ],
    ['no registers', region({ offset: 0, size: 8, kind: 'registers' }), 'regions[0].registers: undefined'],
    [
      'registers in memory',
      region({ offset: 0, size: 8, kind: 'memory', registers: {} }),
      "only with kind 'registers'",
    ],
    [
      'an MSI-X region without MSI-X',
      region({ offset: 0, kind: 'msix-pba' }),
      'a table that capabilities.msix',
    ],
    [
      'a register name twice in a BAR',
      region(
        { offset: 0, size: 8, kind: 'registers', registers: { A: REGISTER } },
        { offset: 8, size: 8, kind: 'registers', registers: { A: REGISTER } },
      ),
      'unique in the BAR',
    ],
    [
      'an MSI-X region in another place',
      { ...ID, bars: [{ size: 4096, regions: [{ offset: 0, kind: 'msix-pba' }] }], capabilities: msix() },
      '8 bytes at 0x180, as capabilities.msix says',
    ],

    ['capabilities that are none', capability(5), 'capabilities: 5'],
    ['an unknown capability', capability({ msx: {} }), 'did you mean msi'],
    ['an unknown capability field', capability({ pcie: { flr: true } }), '"flr" is not a field'],
    ['a payload size that is none', capability({ pcie: { maxPayloadSize: 100 } }), 'maxPayloadSize: 100'],
    ['three MSI vectors', capability({ msi: { vectors: 3 } }), 'capabilities.msi.vectors: 3'],
    ['MSI without a number', capability({ msi: {} }), 'capabilities.msi.vectors: undefined'],
    ['too many MSI-X vectors', capability(msix({ vectors: 2049 })), 'capabilities.msix.vectors: 2049'],
    ['an MSI-X table at 4', capability(msix({ tableOffset: 4 })), 'a multiple of 8'],
    [
      'an MSI-X table outside',
      capability(msix({ tableOffset: 4088 })),
      'capabilities.msix.tableOffset: 0xff8 is not valid: the table of 48 bytes ends at 0x1028, bars[0] at 0x1000',
    ],
    [
      'MSI-X tables that overlap',
      capability(msix({ pbaOffset: 0x128 })),
      'msix-pba: 0x128 overlaps msix-table',
    ],
    ['MSI-X in a BAR that is not there', capability(msix({ bar: 1 })), 'capabilities.msix.bar: 1'],
    [
      'a register in the MSI-X table',
      {
        ...ID,
        bars: [{ size: 4096, registers: { A: { ...REGISTER, offset: 0x104 } } }],
        capabilities: msix(),
      },
      'bars[0].registers.A: 0x104 overlaps msix-table at 0x100 to 0x12f',
    ],
    ['AER without PCIe', capability({ aer: true }), 'capabilities.aer: needs pcie'],
    ['PRI without ATS', capability({ pcie: true, pri: true }), 'capabilities.pri: needs ats'],
    ['21 bits of PASID', capability({ pcie: true, pasid: { width: 21 } }), 'capabilities.pasid.width: 21'],
    ['SR-IOV without VFs', capability({ pcie: true, sriov: { vfDeviceId: 1 } }), 'sriov.totalVfs: undefined'],
    [
      'vendor data that is none',
      capability({ vendor: [{ data: [1] }] }),
      'capabilities.vendor[0].data: a list',
    ],
    ['vendor data that is no list', capability({ vendor: {} }), 'capabilities.vendor: an object'],
  ])('with %s is refused and named', (_, definition, message) => {
    expect(refusal(definition).message).toContain(message);
  });
});
