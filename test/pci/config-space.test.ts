// Configuration space: header fields, BARs, capability chains that loop, break or end early, and random bytes.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigSpace } from '../../src/pci/config-space.js';
import { bundled, space } from './dumps.js';

/** Status with the bit that says that there is a capability list. */
const LISTED = 0x0010_0000;

const chain = (...links: readonly (readonly [number, number])[]): ConfigSpace =>
  new ConfigSpace(space(256, [[0x04, LISTED], ...links]));

const extended = (...links: readonly (readonly [number, number])[]): ConfigSpace =>
  new ConfigSpace(space(4096, [[0x00, 0x8086], ...links]));

const names = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name);

describe('the bundled dumps', () => {
  it('TRC-05 nvme: header, BAR and capabilities', async () => {
    const config = new ConfigSpace((await bundled('qemu72-nvme')).bytes);
    const { vendorId, deviceId, command, status, revision, classCode, headerType, multifunction } = config;
    expect({ vendorId, deviceId, command, status, revision, classCode, headerType, multifunction }).toEqual({
      vendorId: 0x1b36,
      deviceId: 0x0010,
      command: 0x107,
      status: 0x10,
      revision: 2,
      classCode: 0x010802,
      headerType: 0,
      multifunction: false,
    });
    expect(config.bars).toEqual([
      { index: 0, kind: 'memory64', prefetchable: false, address: 0xfebc0000, raw: 0xfebc0004 },
    ]);
    expect(config.capabilities).toEqual([
      { id: 0x11, name: 'MSIX', offset: 0x40 },
      { id: 0x10, name: 'EXP', offset: 0x80 },
      { id: 0x01, name: 'PM', offset: 0x60 },
    ]);
    expect([config.extendedCapabilities, config.problems, config.truncated]).toEqual([[], [], false]);
  });

  it('TRC-05 e1000e: memory and I/O BARs, extended capabilities', async () => {
    const config = new ConfigSpace((await bundled('qemu72-e1000e')).bytes);
    expect(config.bars.map(({ index, kind, address }) => [index, kind, address])).toEqual([
      [0, 'memory32', 0xfeb80000],
      [1, 'memory32', 0xfeba0000],
      [2, 'io', 0xc040],
      [3, 'memory32', 0xfebc4000],
    ]);
    expect(names(config.capabilities)).toEqual(['PM', 'MSI', 'EXP', 'MSIX']);
    expect(config.extendedCapabilities).toEqual([
      { id: 0x01, name: 'ERR', offset: 0x100, version: 2 },
      { id: 0x03, name: 'DSN', offset: 0x140, version: 1 },
    ]);
    expect(config.problems).toEqual([]);
  });
});

describe('base address registers', () => {
  const bars = (...words: number[]) =>
    new ConfigSpace(
      space(
        64,
        words.map((word, n) => [0x10 + 4 * n, word]),
      ),
    );

  it('have kind, address and prefetchability; registers of 0 are left out', () => {
    const config = bars(0xe0000008, 0, 0x0000_000c, 0x12, 0xd001, 0xc0000002);
    expect(config.bars).toEqual([
      { index: 0, kind: 'memory32', prefetchable: true, address: 0xe0000000, raw: 0xe0000008 },
      { index: 2, kind: 'memory64', prefetchable: true, address: 0x12_0000_0000, raw: 0xc },
      { index: 4, kind: 'io', prefetchable: false, address: 0xd000, raw: 0xd001 },
      { index: 5, kind: 'memory32', prefetchable: false, address: 0xc0000000, raw: 0xc0000002 },
    ]);
    expect(config.problems).toEqual([]);
    expect(bars(0xf0000004, 0xffff_ffff).bars[0]?.address).toBe(0xffff_ffff_f000_0000n);
  });

  it('of 64 bits need a register behind them, and type 3 is reserved', () => {
    expect(bars(0, 0, 0, 0, 0, 0xe0000004).problems).toEqual([
      'BAR 5: is the last one and has no upper half',
    ]);
    expect(bars(0xe0000006).problems).toEqual(['BAR 0: type 3 is reserved']);
  });

  it('are two in a bridge, one in a CardBus bridge, none of an unknown header type', () => {
    const words = Array.from({ length: 6 }, (_, n): [number, number] => [
      0x10 + 4 * n,
      0xe0000000 + n * 0x100000,
    ]);
    const of = (headerType: number): ConfigSpace =>
      new ConfigSpace(space(64, [...words, [0x0c, headerType << 16]]));
    expect([0, 1, 2].map((type) => of(type).bars.length)).toEqual([6, 2, 1]);
    expect(of(0x81)).toMatchObject({ headerType: 1, multifunction: true, problems: [] });
    expect(of(3)).toMatchObject({ bars: [], problems: ['header type 3 is not known'] });
  });
});

describe('the capability chain', () => {
  it('is followed by its pointers', () => {
    const config = chain([0x34, 0x50], [0x50, 0x6005], [0x60, 0x4411], [0x44, 0x0077]);
    expect(config.capabilities).toEqual([
      { id: 0x05, name: 'MSI', offset: 0x50 },
      { id: 0x11, name: 'MSIX', offset: 0x60 },
      { id: 0x77, name: '#0x77', offset: 0x44 },
    ]);
    expect([config.problems, config.truncated]).toEqual([[], false]);
  });

  it('is followed without the two reserved bits of its pointers, and ends at a pointer of nothing else', () => {
    const config = chain([0x34, 0x53], [0x50, 0x6105], [0x60, 0x4611], [0x44, 0x0377]);
    expect(config.capabilities.map(({ offset }) => offset)).toEqual([0x50, 0x60, 0x44]);
    expect(config.problems).toEqual([]);
  });

  it('is not looked for when the status register has none', () => {
    expect(
      new ConfigSpace(
        space(256, [
          [0x34, 0x50],
          [0x50, 0x05],
        ]),
      ).capabilities,
    ).toEqual([]);
  });

  it('begins elsewhere in a CardBus bridge', () => {
    const words = [
      [0x04, LISTED],
      [0x0c, 0x20000],
      [0x14, 0x80],
      [0x80, 0x01],
    ] as const;
    expect(names(new ConfigSpace(space(256, words)).capabilities)).toEqual(['PM']);
  });

  it.each([
    [
      'a loop of two',
      [
        [0x34, 0x40],
        [0x40, 0x5001],
        [0x50, 0x4005],
      ],
      ['PM', 'MSI'],
      'pointer 0x40 at 0x51 leads back: the chain is a loop',
    ],
    [
      'a loop of one',
      [
        [0x34, 0x40],
        [0x40, 0x4001],
      ],
      ['PM'],
      'pointer 0x40 at 0x41 leads back: the chain is a loop',
    ],
    [
      'a pointer into the header',
      [
        [0x34, 0x40],
        [0x40, 0x1001],
      ],
      ['PM'],
      'pointer 0x10 at 0x41 is below 0x40',
    ],
    ['a first pointer into the header', [[0x34, 0x04]], [], 'pointer 0x4 at 0x34 is below 0x40'],
    [
      'a loop behind reserved bits',
      [
        [0x34, 0x41],
        [0x40, 0x5201],
        [0x50, 0x4305],
      ],
      ['PM', 'MSI'],
      'pointer 0x40 at 0x51 leads back: the chain is a loop',
    ],
    [
      'a capability of ones',
      [
        [0x34, 0x40],
        [0x40, 0xffff],
      ],
      [],
      'capability at 0x40 reads as ones',
    ],
  ] as const)('reports %s', (_what, links, list, problem) => {
    const config = chain(...links);
    expect(names(config.capabilities)).toEqual(list);
    expect(config.problems).toEqual([`capabilities: ${problem}`]);
  });

  it('is cut short, not broken, where a dump of 64 bytes ends', () => {
    const config = new ConfigSpace(
      space(64, [
        [0x04, LISTED],
        [0x34, 0x40],
      ]),
    );
    expect(config).toMatchObject({ capabilities: [], truncated: true, problems: [] });
  });
});

describe('the extended chain', () => {
  it.each([
    ['zeros', 0],
    ['ones', 0xffff_ffff],
  ])('is empty when its first header is all %s', (_what, header) => {
    expect(extended([0x100, header])).toMatchObject({
      extendedCapabilities: [],
      problems: [],
      truncated: false,
    });
  });

  it('is not there in 256 bytes', () => {
    expect(new ConfigSpace(new Uint8Array(256))).toMatchObject({
      extendedCapabilities: [],
      truncated: false,
    });
  });

  it('is followed by its pointers, over an empty first entry too', () => {
    const empty = extended([0x100, 0x1400_0000], [0x140, 0x0001_0010]);
    expect(names(empty.extendedCapabilities)).toEqual(['NULL', 'SRIOV']);
    const whole = extended([0x100, 0x1401_0003], [0x140, 0xffc2_0001], [0xffc, 0x0001_0042]);
    expect(whole.extendedCapabilities).toEqual([
      { id: 3, name: 'DSN', offset: 0x100, version: 1 },
      { id: 1, name: 'ERR', offset: 0x140, version: 2 },
      { id: 0x42, name: '#0x42', offset: 0xffc, version: 1 },
    ]);
    expect(whole.problems).toEqual([]);
  });

  it('is followed without the two reserved bits of its pointers', () => {
    const config = extended([0x100, 0x1421_0003], [0x140, 0x0031_0001]);
    expect(config.extendedCapabilities.map(({ offset }) => offset)).toEqual([0x100, 0x140]);
    expect(config.problems).toEqual([]);
  });

  it.each([
    [
      'a loop',
      [
        [0x100, 0x1401_0003],
        [0x140, 0x1002_0001],
      ],
      'pointer 0x100 at 0x140 leads back: the chain is a loop',
    ],
    ['a pointer below 0x100', [[0x100, 0x0401_0003]], 'pointer 0x40 at 0x100 is below 0x100'],
    ['a pointer to nothing', [[0x100, 0x1401_0003]], 'capability at 0x140 reads as 0x0'],
    [
      'a pointer to ones',
      [
        [0x100, 0x1401_0003],
        [0x140, 0xffff_ffff],
      ],
      'capability at 0x140 reads as 0xffffffff',
    ],
  ] as const)('reports %s', (_what, links, problem) => {
    expect(extended(...links).problems).toEqual([`extended capabilities: ${problem}`]);
  });
});

describe('any bytes', () => {
  it('make a space, and its chains end', () => {
    const length = fc.constantFrom(64, 128, 256, 260, 4096);
    // Few different bytes make pointers that meet again; with 0xff and 0 among them chains end in every way.
    const few = fc.uint8Array({ minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(
        length,
        few,
        fc.infiniteStream(fc.nat(255)),
        fc.boolean(),
        (size, palette, stream, random) => {
          const next = (): number => stream.next().value as number;
          const bytes = Uint8Array.from({ length: size }, () =>
            random ? next() : (palette[next() % palette.length] as number),
          );
          bytes[0x06] = (bytes[0x06] as number) | 0x10;
          const { bars, capabilities, extendedCapabilities } = new ConfigSpace(bytes);
          expect(bars.length).toBeLessThanOrEqual(6);
          for (const list of [capabilities, extendedCapabilities]) {
            expect(new Set(list.map(({ offset }) => offset)).size).toBe(list.length);
            for (const { offset } of list) expect([offset & 3, offset < size]).toEqual([0, true]);
          }
          expect(capabilities.every(({ offset }) => offset >= 0x40 && offset < 0x100)).toBe(true);
          expect(extendedCapabilities.every(({ offset }) => offset >= 0x100)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('that all read as ones are no function', () => {
    const config = new ConfigSpace(new Uint8Array(256).fill(0xff));
    expect(config.problems).toEqual(['every byte reads as ones: there is no function']);
    expect([config.vendorId, config.bars]).toEqual([0xffff, []]);
  });

  it.each([0, 63, 4097])('that are %i are refused', (length) => {
    expect(() => new ConfigSpace(new Uint8Array(length))).toThrow(/64 to 4096 bytes/);
  });
});
