// The QEMU trace reader: conformance TRC-02, TRC-03 and TRC-10, every event, and which records are one access.
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Access } from '../../src/trace/access.js';
import { openTrace } from '../../src/trace/lines.js';
import {
  formatQemuRecord,
  parseQemuLine,
  QEMU_TRACE,
  type QemuRecord,
  readQemuTrace,
} from '../../src/trace/qemu-trace.js';
import { RecordReader } from '../../src/trace/record-reader.js';
import { collect, mmioAccesses, QEMU_VECTOR, qemuAccesses } from './collect.js';
import { chunks, cutAt } from './input.js';

/** One line of every event. */
const EVENTS = [
  "memory_region_ops_read cpu 0 mr 0x5630 addr 0xfebc001c value 0x1 size 4 name 'nvme'",
  "memory_region_ops_write cpu -1 mr 0x7f0123456789 addr 0x1febc001c value 0xffffffffffffffff size 8 name 'a b #2'",
  'memory_region_subpage_read cpu 0 mr 0x1 offset 0x10 value 0x0 size 1',
  'memory_region_subpage_write cpu 3 mr 0x1 offset 0x10 value 0xff size 1',
  'memory_region_ram_device_read cpu 0 mr 0x1 addr 0x0 value 0x1234 size 2',
  'memory_region_ram_device_write cpu 0 mr 0x1 addr 0x8 value 0x0 size 8',
  'pci_cfg_read nvme 00:01.0 @0x0 -> 0x1b36',
  'pci_cfg_write e1000e 0a:1f.7 @0xfc <- 0xffffffff',
  'pci_update_mappings_add nvme 00:01.0 0,0xfebc0000+0x4000',
  'pci_update_mappings_del nvme 00:01.0 6,0x1fffffff0000+0x100000000',
  'msix_write_config dev nvme enabled 1 masked 0',
  'vfio_region_read  (0000:01:00.0:region0+0x10, 4) = 0xdeadbeef',
  'vfio_region_write  (0000:01:00.0:region2+0x1000, 0x1, 1)',
];

const good = (text: string): QemuRecord => {
  const record = parseQemuLine(text);
  if (record.kind === 'bad' || record.kind === 'other') throw new Error(`${record.kind}: ${text}`);
  return record;
};

describe('the recorded trace', () => {
  it('TRC-02 has the counts of its README, with no line skipped', async () => {
    const reader = new RecordReader(QEMU_TRACE, true);
    const { stream, size } = await openTrace(QEMU_VECTOR);
    const progress: number[] = [];
    const onProgress = (bytes: number): void => void progress.push(bytes);
    const all = await collect(readQemuTrace(stream, { reader, onProgress }));
    expect(all).toHaveLength(8116);
    expect(Object.fromEntries(Object.entries(reader.counts).filter(([, count]) => count > 0))).toEqual({
      memory_region_ops_read: 2054,
      memory_region_ops_write: 3451,
      pci_cfg_read: 2485,
      pci_cfg_write: 126,
    });
    expect([reader.bad, reader.other, reader.firstBad]).toEqual([0, 0, undefined]);
    expect(progress.at(-1)).toBe(size);
  });

  it('TRC-03 agrees with the mmiotrace of the same run, access by access', async () => {
    const { stream } = await openTrace(QEMU_VECTOR);
    const device = (await qemuAccesses(stream)).filter(({ space }) => space === 'memory');
    const guest = await mmioAccesses();
    expect([device.length, guest.length]).toEqual([5505, 4902]);
    const what = ({ op, addressLo, addressHi, width, valueLo, valueHi }: Access): string =>
      [op, addressHi, addressLo, width, valueHi, valueLo].join();
    expect(device.slice(542, 5444).map(what)).toEqual(guest.map(what));
    expect(device.length - 5444).toBe(61);
  });

  it('prints back byte for byte', async () => {
    const bytes = await readFile(QEMU_VECTOR);
    const all = await collect(readQemuTrace(chunks(bytes)));
    expect(all.map(({ record }) => `${formatQemuRecord(record)}\n`).join('') === bytes.toString()).toBe(true);
  });
});

describe('a line', () => {
  it.each(EVENTS)('is printed as it was: %s', (line) => {
    expect(formatQemuRecord(good(line))).toBe(line);
    const stamped = `4711@1700000000.000012:${line}`;
    const record = good(stamped);
    expect(record.stamp).toEqual({ thread: 4711, time: 1_700_000_000_000_012 });
    expect(formatQemuRecord(record)).toBe(stamped);
    expect({ ...record, stamp: undefined }).toEqual({ ...good(line), stamp: undefined });
  });

  it('has its fields, with a name of any text', () => {
    expect(good(EVENTS[1] as string)).toEqual({
      kind: 'memory_region_ops_write',
      cpu: -1,
      mrLo: 0x23456789,
      mrHi: 0x7f01,
      lo: 0xfebc001c,
      hi: 1,
      valueLo: 0xffffffff,
      valueHi: 0xffffffff,
      width: 8,
      name: 'a b #2',
    });
    expect(good(EVENTS[7] as string)).toEqual({
      kind: 'pci_cfg_write',
      device: 'e1000e',
      bus: 10,
      slot: 31,
      function: 7,
      offset: 0xfc,
      value: 0xffffffff,
    });
    expect(good(EVENTS[11] as string)).toMatchObject({
      device: '0000:01:00.0',
      region: 0,
      lo: 0x10,
      width: 4,
    });
  });

  it.each([
    ['pci_cfg_read', 'arguments: is missing'],
    ['pci_cfg_read nvme', 'device: "nvme" is not text up to what follows'],
    ['pci_cfg_read nvme 00:01.0 @0x0 <- 0x1', 'behind offset: is missing'],
    ['pci_cfg_read nvme 00:01.0 @0xx -> 0x1', 'offset: "x" is not a hexadecimal number of at most 32 bits'],
    [
      'pci_cfg_write nvme 00:01.0 @0x0 <- 0x1ffffffff',
      'value: "1ffffffff" is not a hexadecimal number of at most 32 bits',
    ],
    [
      "memory_region_ops_read cpu x mr 0x1 addr 0x0 value 0x0 size 4 name 'n'",
      'cpu: "x" is not a decimal number',
    ],
    [
      "memory_region_ops_read cpu 0 mr 0x1 addr 0x0 value 0x0 size 3 name 'n'",
      'width: "3" is not 1, 2, 4 or 8',
    ],
    [
      "memory_region_ops_read cpu 0 mr 0x1 addr 0x12345678901234567 value 0x0 size 4 name 'n'",
      'address: "12345678901234567" is not a hexadecimal number of at most 64 bits',
    ],
    [
      'memory_region_subpage_read cpu 0 mr 0x1 offset 0x10 value 0x0 size 1 more',
      'end of line: " more" is left over',
    ],
    ['msix_write_config nvme', 'line: "nvme" is not "dev "'],
  ])('names the field: %s', (text, reason) => {
    expect(parseQemuLine(text)).toEqual({ kind: 'bad', reason });
  });

  it.each(['', 'qemu: hello', 'pci_nvme_mmio_write addr 0x14 data 0x0 size 4', ' pci_cfg_read', '1@2.3:x y'])(
    'takes %j for a line of something else',
    (text) => {
      expect(parseQemuLine(text)).toEqual({ kind: 'other' });
    },
  );

  it('is the same after printing and parsing', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const half = fc.oneof(fc.constant(0), u32);
    const word = fc.stringMatching(/^[a-z0-9_-]{1,12}$/);
    const text = fc.string({ unit: 'binary' }).map((s) => s.replaceAll(/[\r\n]/g, ''));
    const called = { cpu: fc.integer({ min: -1, max: 255 }), mrLo: u32, mrHi: half };
    const value = { valueLo: u32, valueHi: half, width: fc.constantFrom(1, 2, 4, 8) };
    const placed = { device: word, bus: fc.nat(255), slot: fc.nat(31), function: fc.nat(7) };
    const located = { lo: u32, hi: half };
    const either = (name: string): fc.Arbitrary<string> => fc.constantFrom(`${name}_read`, `${name}_write`);
    const record = fc.oneof(
      fc.record({ kind: either('memory_region_ops'), ...called, ...located, ...value, name: text }),
      fc.record({ kind: either('memory_region_subpage'), ...called, ...located, ...value }),
      fc.record({ kind: either('memory_region_ram_device'), ...called, ...located, ...value }),
      fc.record({ kind: either('pci_cfg'), ...placed, offset: fc.nat(0xfff), value: u32 }),
      fc.record({
        kind: fc.constantFrom('pci_update_mappings_add', 'pci_update_mappings_del'),
        ...placed,
        bar: fc.nat(6),
        ...located,
        sizeLo: u32,
        sizeHi: half,
      }),
      fc.record({
        kind: fc.constant('msix_write_config'),
        device: word,
        enabled: fc.nat(1),
        masked: fc.nat(1),
      }),
      fc.record({ kind: either('vfio_region'), device: text, region: fc.nat(9), ...located, ...value }),
    );
    const stamp = fc.record({ thread: fc.nat(), time: fc.integer({ min: 0, max: 2 ** 32 * 1e6 }) });
    const stamped = fc.tuple(record, fc.option(stamp)).map(([r, s]) => (s === null ? r : { ...r, stamp: s }));
    fc.assert(
      fc.property(stamped, (r) => {
        expect(parseQemuLine(formatQemuRecord(r as QemuRecord))).toEqual(r);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('reading', () => {
  it('gives the same records for any chunking, with LF and CR LF', async () => {
    const whole = await collect(readQemuTrace(chunks(EVENTS.join('\n'))));
    expect(whole.map(({ line }) => line)).toEqual(EVENTS.map((_, i) => i + 1));
    const texts = [EVENTS.join('\n'), `\ufeff${EVENTS.join('\r\n')}\r\n`].map((text) => Buffer.from(text));
    for (const text of texts) {
      for (let at = 0; at <= text.length; at++)
        expect(await collect(readQemuTrace(chunks(...cutAt(text, [at]))))).toEqual(whole);
    }
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...texts), fc.array(fc.nat(EVENTS.join().length)), async (t, cuts) => {
        expect(await collect(readQemuTrace(chunks(...cutAt(t, cuts))))).toEqual(whole);
      }),
    );
  });

  it('TRC-10 reports a corrupt line with its number and goes on; strict throws', async () => {
    const corrupt = (await readFile(QEMU_VECTOR, 'utf8')).split('\n');
    corrupt[2499] = 'pci_cfg_read nvme 00:01.0 @0x -> 0x1';
    corrupt[3000] = 'memory_region_ops_read cpu 0 mr';
    corrupt[3001] = 'virtio_notify vdev 0x1 vq 0x2';
    const text = corrupt.join('\n');
    const reader = new RecordReader(QEMU_TRACE);
    expect(await collect(readQemuTrace(chunks(text), { reader }))).toHaveLength(8113);
    expect([reader.bad, reader.other]).toEqual([2, 1]);
    expect(reader.firstBad).toEqual({
      line: 2500,
      text: corrupt[2499],
      reason: 'offset: is missing',
    });
    await expect(collect(readQemuTrace(chunks(text), { strict: true }))).rejects.toMatchObject({
      name: 'ZtlpError',
      code: 'malformed',
      message: expect.stringContaining('line 2500: offset'),
    });
  });

  it('counts a line that is too long as bad', async () => {
    const reader = new RecordReader(QEMU_TRACE);
    const long = `${EVENTS[0]?.slice(0, -1)}${'x'.repeat(70_000)}'`;
    expect(await collect(readQemuTrace(chunks(`${long}\n${EVENTS[0]}`), { reader }))).toHaveLength(1);
    expect([reader.bad, reader.firstBad?.line]).toEqual([1, 1]);
  });
});

describe('the accesses', () => {
  const ops = (op: string, addr: string, value: string, size: number, name: string, mr = '0x1'): string =>
    `memory_region_ops_${op} cpu 0 mr ${mr} addr ${addr} value ${value} size ${size} name '${name}'`;
  const accesses = (...lines: string[]): Promise<Access[]> => qemuAccesses(chunks(lines.join('\n')));

  it('mask the value to the width', async () => {
    const all = await accesses(
      ...[1, 2, 4, 8].map((size) => ops('read', '0x10', '0xffffffffffffffff', size, 'n')),
    );
    expect(all.map(({ valueLo, valueHi }) => [valueLo, valueHi])).toEqual([
      [0xff, 0],
      [0xffff, 0],
      [0xffffffff, 0],
      [0xffffffff, 0xffffffff],
    ]);
  });

  it('of configuration space have their size from the region, behind a read and before a write', async () => {
    const all = await accesses(
      'pci_cfg_read nvme 00:01.0 @0x6 -> 0x10',
      ops('read', '0xcfe', '0x10', 2, 'pci-conf-data'),
      ops('write', '0xb0008004', '0x7', 4, 'pcie-mmcfg-mmio'),
      'pci_cfg_write nvme 00:01.0 @0x4 <- 0x7',
    );
    const both = { space: 'config', device: '00:01.0 nvme', addressHi: 0, valueHi: 0 };
    expect(all).toEqual([
      { ...both, line: 1, op: 'read', addressLo: 6, width: 2, valueLo: 0x10 },
      { ...both, line: 3, op: 'write', addressLo: 4, width: 4, valueLo: 7 },
    ]);
  });

  it('of configuration space have a guessed size where the region was filtered out', async () => {
    const read = (offset: string, value: string): string =>
      `pci_cfg_read nvme 00:01.0 @${offset} -> ${value}`;
    const all = await accesses(
      read('0x0', '0x1b36'),
      read('0x34', '0x40'),
      read('0x8', '0x1080202'),
      read('0x10', '0x4'),
    );
    expect(all.map(({ width, guessed }) => [width, guessed])).toEqual([
      [2, true],
      [1, true],
      [4, true],
      [4, true],
    ]);
    // The index port chooses a register; a window record that belongs to another register is none of this one's.
    const index = await accesses(
      ops('write', '0xcf8', '0x80000800', 4, 'pci-conf-idx'),
      read('0x0', '0x1b36'),
      ops('read', '0xcfd', '0x1b', 1, 'pci-conf-data'),
    );
    expect(index.map(({ space }) => space)).toEqual(['platform', 'config', 'platform']);
  });

  it('that two records tell are one', async () => {
    const all = await accesses(
      ops('write', '0xe0000010', '0x5', 4, 'vfio BAR 0'),
      'vfio_region_write  (0000:01:00.0:region0+0x10, 0x5, 4)',
      'vfio_region_read  (0000:01:00.0:region0+0x10, 4) = 0x5',
      ops('read', '0xe0000010', '0x5', 4, 'vfio BAR 0'),
      ops('write', '0xe0001000', '0x6', 8, 'mapped', '0x9'),
      'memory_region_ram_device_write cpu 0 mr 0x9 addr 0x0 value 0x6 size 8',
      'memory_region_subpage_write cpu 0 mr 0x3 offset 0x10 value 0x7 size 4',
      ops('write', '0xe0002010', '0x7', 4, 'n'),
      'vfio_region_write  (0000:01:00.0:region8+0x10, 0x5, 4)',
    );
    expect(all.map(({ op, device, bar, region, addressLo }) => [op, device, bar, region, addressLo])).toEqual(
      [
        ['write', '0000:01:00.0', 0, 'vfio BAR 0', 0xe0000010],
        ['read', '0000:01:00.0', 0, 'vfio BAR 0', 0xe0000010],
        ['write', undefined, undefined, 'mapped', 0xe0001000],
        ['write', undefined, undefined, 'n', 0xe0002010],
        ['write', '0000:01:00.0', undefined, 'region8', 0x10],
      ],
    );
  });

  it('are the same wherever batches end', async () => {
    const whole = await accesses(...EVENTS);
    const bytes = Buffer.from(EVENTS.join('\n'));
    expect(await qemuAccesses(chunks(...cutAt(bytes, [...bytes.keys()])))).toEqual(whole);
  });
});
