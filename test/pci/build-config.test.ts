// Configuration space from a definition and from dumps: what stands where, and every mistake a caller can make.
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { buildConfig, configFromLspci, type FunctionDefinition } from '../../src/pci/build-config.js';
import type { CapabilityDefinition } from '../../src/pci/capability-definitions.js';
import { ConfigSpace } from '../../src/pci/config-space.js';
import { formatLspci, type LspciFunction } from '../../src/pci/lspci.js';
import { bundled, functionsOf, space } from './dumps.js';
import { AT, EVERYTHING, everything, SIZES } from './models.js';

const BASE: FunctionDefinition = { vendorId: 0x1234, deviceId: 0x5678 };
const build = (given: object): ConfigSpace =>
  new ConfigSpace(buildConfig({ ...BASE, ...given } as FunctionDefinition).save());
const withCapabilities = (...capabilities: object[]): ConfigSpace =>
  build({ bars: [{ size: 4096 }], capabilities: capabilities as unknown as CapabilityDefinition[] });

/** The error that `make` throws. */
function mistake(make: () => unknown): ZtlpError {
  try {
    make();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('a definition', () => {
  it('gives the header', () => {
    const given = new ConfigSpace(everything().save());
    const { vendorId, deviceId, command, status, revision, classCode, headerType, multifunction } = given;
    expect({ vendorId, deviceId, command, status, revision, classCode, headerType, multifunction }).toEqual({
      vendorId: 0x1234,
      deviceId: 0x5678,
      command: 0,
      status: 0x10,
      revision: 3,
      classCode: 0x020000,
      headerType: 0,
      multifunction: false,
    });
    expect([...given.bytes.subarray(0x2c, 0x30), given.bytes[0x3d]]).toEqual([0xf4, 0x1a, 0, 0x11, 1]);
    expect(build({ multifunction: true }).multifunction).toBe(true);
  });

  it('gives the BARs with their flags', () => {
    const model = everything();
    expect([0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30].map((register) => model.read(register, 4))).toEqual([
      0xc, 0, 0, 1, 4, 0, 0,
    ]);
    expect(model.bars.map(({ index, kind, size }) => [index, kind, size])).toEqual([
      [0, 'memory64', 16384],
      [2, 'memory32', 65536],
      [3, 'io', 32],
      [4, 'memory64', 4096],
      [6, 'rom', 65536],
    ]);
  });

  it('gives both chains in order', () => {
    const given = new ConfigSpace(everything().save());
    expect(given.problems).toEqual([]);
    expect(given.capabilities.map(({ name, offset }) => [name, offset])).toEqual([
      ['EXP', AT.pcie],
      ['MSI', AT.msi],
      ['MSIX', AT.msix],
      ['PM', AT.pm],
      ['VNDR', AT.vendor],
    ]);
    expect(given.extendedCapabilities.map(({ name, offset, version }) => [name, offset, version])).toEqual([
      ['ERR', AT.aer, 2],
      ['ATS', AT.ats, 1],
      ['PRI', AT.pri, 1],
      ['PASID', AT.pasid, 1],
      ['SRIOV', AT.sriov, 1],
      ['DSN', AT.dsn, 1],
      ['VNDR', AT.vsec, 1],
    ]);
  });

  // Read-only registers, by hand from the specifications.
  it.each([
    ['PCIe capabilities: version 2, endpoint', AT.pcie + 2, 2, 2],
    ['Device Capabilities: 512 bytes, extended tag, role-based, FLR', AT.pcie + 4, 4, 0x1000_8022],
    ['Link Capabilities: 16 GT/s x8', AT.pcie + 12, 4, 0x0040_0084],
    ['Link Status: 16 GT/s x8', AT.pcie + 18, 2, 0x1084],
    ['Device Capabilities 2', AT.pcie + 36, 4, 0x10],
    ['Link Capabilities 2: four speeds', AT.pcie + 44, 4, 0x1e],
    ['MSI: 8 vectors, 64-bit, maskable', AT.msi + 2, 2, 0x0186],
    ['MSI-X: 65 entries', AT.msix + 2, 2, 64],
    ['MSI-X table in BAR 2', AT.msix + 4, 4, 2],
    ['MSI-X pending bits in BAR 2', AT.msix + 8, 4, 0x1002],
    ['PM: version 3, D1, PME from D0, D3hot, D3cold', AT.pm + 2, 2, 0xca03],
    ['vendor: length and bytes', AT.vendor + 2, 4, 0x0302_0108],
    ['AER: ECRC', AT.aer + 0x18, 4, 0xa0],
    ['ATS: depth 32, page aligned', AT.ats + 4, 2, 0x20],
    ['PRI: stopped', AT.pri + 6, 2, 0x100],
    ['PRI: capacity', AT.pri + 8, 4, 32],
    ['PASID: 20 bits, execute, privileged', AT.pasid + 4, 2, 0x1406],
    ['SR-IOV: initial and total', AT.sriov + 0x0c, 4, 0x0007_0007],
    ['SR-IOV: offset and stride', AT.sriov + 0x14, 4, 0x0001_0001],
    ['SR-IOV: VF device id', AT.sriov + 0x1a, 2, 0x5679],
    ['SR-IOV: page sizes', AT.sriov + 0x1c, 4, 0x553],
    ['SR-IOV: VF BAR 0', AT.sriov + 0x24, 4, 4],
    ['DSN: low half', AT.dsn + 4, 4, 0x5566_7788],
    ['DSN: high half', AT.dsn + 8, 4, 0x1122_3344],
    ['vendor-specific header', AT.vsec + 4, 4, 0x00c0_0009],
  ] as const)('%s', (_, offset, width, value) => {
    const bytes = everything().save();
    let found = 0;
    for (let n = width - 1; n >= 0; n--) found = found * 256 + (bytes[offset + n] as number);
    expect(found).toBe(value);
  });

  it('has 4096 bytes with PCIe, else 256', () => {
    expect([build({}).bytes.length, withCapabilities({ kind: 'pcie' }).bytes.length]).toEqual([256, 4096]);
    expect([build({}).status, build({}).capabilities]).toEqual([0, []]);
  });

  it('may place capabilities, in any order of offsets', () => {
    const given = withCapabilities(
      { kind: 'pm', offset: 0xf8 },
      { kind: 'pcie', offset: 0x80 },
      { kind: 'msi', vectors: 1, bits64: false },
      { kind: 'dsn', serial: 1, offset: 0x100 },
      { kind: 'ats', offset: 0xff8 },
      { kind: 'aer', offset: 0x200 },
    );
    expect(given.capabilities.map(({ offset }) => offset)).toEqual([0xf8, 0x80, 0xbc]);
    expect(given.extendedCapabilities.map(({ offset }) => offset)).toEqual([0x100, 0xff8, 0x200]);
    expect(given.problems).toEqual([]);
  });

  it('gives MSI of each form its length', () => {
    const length = (form: object): number =>
      (withCapabilities({ kind: 'msi', vectors: 1, ...form }, { kind: 'pm' }).capabilities[1]?.offset ?? 0) -
      0x40;
    expect([
      length({ bits64: false }),
      length({}),
      length({ bits64: false, perVectorMask: true }),
      length({ perVectorMask: true }),
    ]).toEqual([12, 16, 20, 24]);
  });

  it.each([
    [{ vendorId: 0xffff }, 'vendorId'],
    [{ vendorId: undefined }, 'vendorId'],
    [{ deviceId: -1 }, 'deviceId'],
    [{ deviceId: 1.5 }, 'deviceId'],
    [{ revision: 256 }, 'revision'],
    [{ classCode: 0x100_0000 }, 'classCode'],
    [{ subsystemId: '1' }, 'subsystemId'],
    [{ subsystemVendorId: 0x1_0000 }, 'subsystemVendorId'],
    [{ headerType: 1 }, 'headerType'],
    [{ multifunction: 1 }, 'multifunction'],
    [{ interruptPin: 5 }, 'interruptPin'],
    [{ bars: 'none' }, 'bars'],
    [{ bars: Array(7).fill(undefined) }, 'bars'],
    [{ bars: [null] }, 'bars[0]'],
    [{ bars: [{}] }, 'bars[0].size'],
    [{ bars: [{ size: 8 }] }, 'bars[0].size'],
    [{ bars: [{ size: 48 }] }, 'bars[0].size'],
    [{ bars: [{ size: 2 ** 32 }] }, 'bars[0].size'],
    [{ bars: [{ size: 2 ** 64, bits: 64 }] }, 'bars[0].size'],
    [{ bars: [undefined, { size: 512, io: true }] }, 'bars[1].size'],
    [{ bars: [{ size: 16, bits: 16 }] }, 'bars[0].bits'],
    [{ bars: [{ size: 16, io: true, bits: 64 }] }, 'bars[0]'],
    [{ bars: [{ size: 16, io: true, prefetchable: true }] }, 'bars[0]'],
    [{ bars: [{ size: 16, prefetchable: 1 }] }, 'bars[0].prefetchable'],
    [{ bars: [{ size: 16, bits: 64 }, { size: 16 }] }, 'bars[0].bits'],
    [{ bars: [...Array(5).fill(undefined), { size: 16, bits: 64 }] }, 'bars[5].bits'],
    [{ rom: { size: 1024 } }, 'rom.size'],
    [{ rom: { size: 2 ** 25 } }, 'rom.size'],
    [{ rom: null }, 'rom'],
    [{ capabilities: {} }, 'capabilities'],
  ])('%j is refused in field %s', (given, field) => {
    const error = mistake(() => build(given));
    expect(error.field).toBe(field);
    expect(error.allowed).not.toBe(undefined);
  });

  const msix = { kind: 'msix', vectors: 4, tableBar: 0, tableOffset: 0, pbaBar: 0, pbaOffset: 2048 };
  const sriov = { kind: 'sriov', totalVfs: 1, vfDeviceId: 1 };
  it.each([
    [[null], 'capabilities[0]'],
    [[{ kind: 'agp' }], 'capabilities[0].kind'],
    [[{}], 'capabilities[0].kind'],
    [[{ kind: 'toString' }], 'capabilities[0].kind'],
    [[{ kind: 'pm', vector: 1 }], 'capabilities[0].vector'],
    [[{ kind: 'pcie', maxPayload: 64 }], 'capabilities[0].maxPayload'],
    [[{ kind: 'pcie', maxPayload: 384 }], 'capabilities[0].maxPayload'],
    [[{ kind: 'pcie', link: 'gen9x1' }], 'capabilities[0].link'],
    [[{ kind: 'pcie', link: 3 }], 'capabilities[0].link'],
    [[{ kind: 'pcie', flr: 'yes' }], 'capabilities[0].flr'],
    [[{ kind: 'msi', vectors: 3 }], 'capabilities[0].vectors'],
    [[{ kind: 'msi', vectors: 64 }], 'capabilities[0].vectors'],
    [[{ ...msix, vectors: 0 }], 'capabilities[0].vectors'],
    [[{ ...msix, vectors: 2049 }], 'capabilities[0].vectors'],
    [[{ ...msix, tableBar: 6 }], 'capabilities[0].tableBar'],
    [[{ ...msix, tableBar: 1 }], 'capabilities[0].tableBar'],
    [[{ ...msix, tableOffset: 4 }], 'capabilities[0].tableOffset'],
    [[{ ...msix, tableOffset: 4096 - 56 }], 'capabilities[0].tableOffset'],
    [[{ ...msix, pbaOffset: 4096 }], 'capabilities[0].pbaOffset'],
    [[{ ...msix, pbaOffset: 56 }], 'capabilities[0].pbaOffset'],
    [[{ kind: 'pm', pmeSupport: 32 }], 'capabilities[0].pmeSupport'],
    [[{ kind: 'vendor' }], 'capabilities[0].bytes'],
    [[{ kind: 'vendor', bytes: new Uint8Array(190) }], 'capabilities[0].bytes'],
    [
      [{ kind: 'vendor', bytes: new Uint8Array(1), writeMask: new Uint8Array(2) }],
      'capabilities[0].writeMask',
    ],
    [[{ kind: 'pcie' }, { kind: 'ats', queueDepth: 33 }], 'capabilities[1].queueDepth'],
    [[{ kind: 'pcie' }, { kind: 'ats' }, { kind: 'pri', capacity: 0 }], 'capabilities[2].capacity'],
    [[{ kind: 'pcie' }, { kind: 'pri', capacity: 1 }], 'capabilities[1].kind'],
    [[{ kind: 'pcie' }, { kind: 'pasid', width: 21 }], 'capabilities[1].width'],
    [[{ kind: 'pcie' }, { kind: 'dsn', serial: -1 }], 'capabilities[1].serial'],
    [[{ kind: 'pcie' }, { ...sriov, totalVfs: 0 }], 'capabilities[1].totalVfs'],
    [[{ kind: 'pcie' }, { ...sriov, totalVfs: 2, vfStride: 0 }], 'capabilities[1].vfStride'],
    [[{ kind: 'pcie' }, { ...sriov, pageSizes: 2 }], 'capabilities[1].pageSizes'],
    [[{ kind: 'pcie' }, { ...sriov, bars: [{ size: 2048 }] }], 'capabilities[1].bars[0].size'],
    [[{ kind: 'pcie' }, { ...sriov, bars: [{ size: 4, io: true }] }], 'capabilities[1].bars[0].io'],
    [[{ kind: 'pcie' }, { kind: 'vsec', id: 0x1_0000, bytes: new Uint8Array(0) }], 'capabilities[1].id'],
    [[{ kind: 'aer' }], 'capabilities[0].kind'],
    [[{ kind: 'pm' }, { kind: 'pm' }], 'capabilities[1].kind'],
    [[{ kind: 'pm', offset: 0x3c }], 'capabilities[0].offset'],
    [[{ kind: 'pm', offset: 0x42 }], 'capabilities[0].offset'],
    [[{ kind: 'pm', offset: 0xfc }], 'capabilities[0].offset'],
    [
      [
        { kind: 'pm', offset: 0x44 },
        { kind: 'pcie', offset: 0x48 },
      ],
      'capabilities[1].offset',
    ],
    [[{ kind: 'pcie' }, { kind: 'aer', offset: 0x200 }], 'capabilities[1].offset'],
    [[{ kind: 'pcie' }, { kind: 'aer', offset: 0xfc }], 'capabilities[1].offset'],
    [Array(2).fill({ kind: 'vendor', bytes: new Uint8Array(94) }), 'capabilities[1].offset'],
  ])('capabilities %j are refused in field %s', (given, field) => {
    const error = mistake(() => withCapabilities(...(given as object[])));
    expect(error.field).toBe(field);
    expect(error.allowed).not.toBe(undefined);
  });
});

describe('a dump', () => {
  it.each(['qemu72-e1000e', 'qemu72-nvme'] as const)('%s gives its bytes', async (name) => {
    const fn = await bundled(name);
    const model = configFromLspci(fn, SIZES[name]);
    expect(formatLspci({ ...fn, bytes: model.save() })).toBe(fn.rows.join('\n'));
    expect(model.bars.map(({ size }) => size)).toEqual(
      name === 'qemu72-nvme' ? [16384] : [131072, 131072, 32, 16384, 262144],
    );
  });

  it('without sizes names the BAR', async () => {
    const fn = await bundled('qemu72-e1000e');
    const { bars } = SIZES['qemu72-e1000e'];
    expect(mistake(() => configFromLspci(fn))).toMatchObject({ code: 'not-found', field: 'bars[0]' });
    expect(mistake(() => configFromLspci(fn, { bars }))).toMatchObject({ code: 'not-found', field: 'rom' });
    const error = mistake(() => configFromLspci(fn, { ...SIZES['qemu72-e1000e'], bars: [{ size: 131072 }] }));
    expect(error.field).toBe('bars[1]');
    expect(error.message).toContain('bars[1]: reads 0xfeba0000, but nothing tells its size');
  });

  it('with sizes that do not fit is refused', async () => {
    const fn = await bundled('qemu72-nvme');
    const field = (bars: unknown): string | undefined =>
      mistake(() => configFromLspci(fn, { bars } as object)).field;
    expect(field([{ size: 3 }])).toBe('bars[0].size');
    expect(field([null])).toBe('bars[0]');
    expect(field([{ size: 16384 }, { size: 16384 }])).toBe('bars[1]');
    expect(field([{ size: 16384 }, ...Array(5).fill(undefined), { size: 16 }])).toBe('bars[6]');
  });

  it('implements a BAR that reads 0 only where its size is given', async () => {
    const bytes = new Uint8Array(256);
    const fn: LspciFunction = { ...(await bundled('qemu72-nvme')), bytes, known: 256 };
    expect(configFromLspci(fn).bars).toEqual([]);
    expect(configFromLspci(fn, { bars: [undefined, { size: 64 }], rom: { size: 2048 } }).bars).toMatchObject([
      { index: 1, kind: 'memory32', size: 64 },
      { index: 6, kind: 'rom', size: 2048 },
    ]);
  });

  const text = (lines: readonly string[], bytes: Uint8Array): string => {
    const offsets = Array.from({ length: bytes.length / 16 }, (_, n) => 16 * n);
    return ['00:01.0 Class', ...lines, formatLspci({ bytes, offsets, offsetDigits: 2 })].join('\n');
  };
  const read = async (lines: readonly string[], bytes: Uint8Array): Promise<LspciFunction> => {
    const chunks = async function* (): AsyncGenerator<string> {
      yield text(lines, bytes);
    };
    const [fn] = await functionsOf(chunks());
    if (fn === undefined) throw new Error('no function');
    return fn;
  };

  it('tells sizes in its Region and ROM lines; an argument goes over them', async () => {
    const bytes = space(256, [
      [0x10, 0xfeb0_0004],
      [0x18, 0xc001],
      [0x30, 0xfea0_0000],
    ]);
    const fn = await read(
      [
        '\tRegion 0: Memory at feb00000 (64-bit, non-prefetchable) [size=1M]',
        '\tRegion 2: I/O ports at c000 [size=64]',
        '\tRegion 4: [virtual] Memory at 843060000000 (32-bit, non-prefetchable) [size=1M]',
        '\tExpansion ROM at fea00000 [disabled] [size=512K]',
      ],
      bytes,
    );
    const sizes = (given?: object): unknown =>
      configFromLspci(fn, given).bars.map(({ index, kind, size }) => [index, kind, size]);
    expect(sizes()).toEqual([
      [0, 'memory64', 1 << 20],
      [2, 'io', 64],
      [6, 'rom', 512 << 10],
    ]);
    expect(sizes({ bars: [{ size: 4096 }], rom: { size: 2048 } })).toEqual([
      [0, 'memory64', 4096],
      [2, 'io', 64],
      [6, 'rom', 2048],
    ]);
  });

  it('of 64 bytes, or with a gap, is refused', async () => {
    const whole = await bundled('qemu72-nvme');
    for (const fn of [
      { ...whole, bytes: whole.bytes.slice(0, 64), known: 64 },
      { ...whole, known: 4080 },
    ])
      expect(mistake(() => configFromLspci(fn))).toMatchObject({ code: 'malformed', field: 'bytes' });
  });

  it('with a chain that loops gives a model of that function', async () => {
    const bytes = space(256, [
      [0x04, 0x0010_0000],
      [0x34, 0x40],
      [0x40, 0x0003_5001],
      [0x50, 0x0000_4011],
    ]);
    const model = configFromLspci(await read([], bytes));
    expect(new ConfigSpace(model.save()).problems).toHaveLength(1);
    model.write(0x52, 0xffff, 2);
    model.write(0x44, 3, 1);
    expect([model.msix?.enable, model.powerState]).toEqual([true, 3]);
  });

  it('with capabilities over each other keeps its chain, whatever is written', async () => {
    const bytes = space(256, [
      [0x04, 0x0010_0000],
      [0x34, 0x40],
      [0x40, 0x01ff_4405],
      [0x44, 0x01ff_4805],
      [0x48, 0x01ff_fc05],
      [0xfc, 0x01ff_0005],
    ]);
    const model = configFromLspci(await read([], bytes));
    const names = (): unknown => new ConfigSpace(model.save()).capabilities;
    const before = names();
    for (const value of [0, 0xffff_ffff, 0x5555_5555])
      for (let register = 0; register < 256; register += 4) model.write(register, value, 4);
    expect(names()).toEqual(before);
  });
});

describe('the definition with everything', () => {
  it('does not change', () => {
    const frozen = JSON.stringify(EVERYTHING, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
    everything();
    expect(JSON.stringify(EVERYTHING, (_, value) => (typeof value === 'bigint' ? `${value}` : value))).toBe(
      frozen,
    );
  });
});
