// The device log reader: the counts of its README, printing back, chunking, and corrupt lines (TRC-10).
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DEVICE_LOG,
  type DeviceRecord,
  deviceAccess,
  formatDeviceRecord,
  parseDeviceLine,
  readDeviceLog,
} from '../../src/trace/device-log.js';
import { RecordReader } from '../../src/trace/record-reader.js';
import { collect, vector } from './collect.js';
import { chunks, cutAt } from './input.js';

const FILE = vector('trace-linux-x86_64-virtio-net.log');

const LINES = [
  'config read dev=virtio-net-pci off=0x0 value=0x1af4',
  'config write dev=virtio-net-pci off=0x10 value=0xffffffff',
  'device read region=msix-table addr=0xfebd5000 size=4 value=0x0',
  'device write region=intel_iommu addr=0x1fed90018 size=8 value=0x123456789abcdef0',
];

describe('the recorded log', () => {
  it('has 743 lines of accesses and prints back byte for byte', async () => {
    const bytes = await readFile(FILE);
    const reader = new RecordReader(DEVICE_LOG, true);
    const all = await collect(readDeviceLog(chunks(bytes), { reader }));
    expect(reader.counts).toEqual({
      'config read': 244,
      'config write': 56,
      'device read': 77,
      'device write': 366,
    });
    expect([reader.bad, reader.other]).toEqual([0, 0]);
    const printed = all.map(({ record }) => `${formatDeviceRecord(record)}\n`).join('');
    expect(printed === bytes.toString()).toBe(true);
  });

  it('is read the same in any chunks', async () => {
    const whole = await collect(readDeviceLog(chunks(LINES.join('\n'))));
    expect(whole).toHaveLength(LINES.length);
    const bytes = Buffer.from(`${LINES.join('\r\n')}\r\n`);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length)), async (cuts) => {
        expect(await collect(readDeviceLog(chunks(...cutAt(bytes, cuts))))).toEqual(whole);
      }),
    );
  });

  it('TRC-10 reports a corrupt line with its number and goes on; strict throws', async () => {
    const lines = (await readFile(FILE, 'utf8')).split('\n');
    lines[399] = 'config read dev=virtio-net-pci off=12 value=0x0';
    lines[500] = 'a kernel message';
    const reader = new RecordReader(DEVICE_LOG);
    expect(await collect(readDeviceLog(chunks(lines.join('\n')), { reader }))).toHaveLength(741);
    expect([reader.bad, reader.other, reader.firstBad?.line]).toEqual([1, 1, 400]);
    expect(reader.firstBad?.reason).toMatch(/^device: .* is not text up to what follows$/);
    await expect(collect(readDeviceLog(chunks(lines.join('\n')), { strict: true }))).rejects.toMatchObject({
      code: 'malformed',
      message: expect.stringContaining('line 400: '),
    });
  });
});

describe('a line', () => {
  it.each([
    ['config read dev=x off=0x0', 'value: is missing'],
    ['device read region=x addr=0x0 size=5 value=0x0', 'width: "5" is not 1, 2, 4 or 8'],
    ['device write region=x addr=0x0 size=4 value=0x0 ', 'end of line: " " is left over'],
  ])('with a wrong field is named: %s', (text, reason) => {
    expect(parseDeviceLine(text)).toMatchObject({ kind: 'bad' });
    if (!reason.startsWith('value')) expect(parseDeviceLine(text)).toEqual({ kind: 'bad', reason });
  });

  it.each(['', 'config', 'configread dev=x', ' config read dev=x off=0x0 value=0x0', 'PCILG fh=1'])(
    'of something else is none: %j',
    (text) => {
      expect(parseDeviceLine(text)).toEqual({ kind: 'other' });
    },
  );

  it('is the same after printing and parsing', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const text = fc.string({ unit: 'binary' }).map((s) => s.replaceAll(/[\r\n]/g, ''));
    const record = fc.oneof(
      fc.record({
        kind: fc.constantFrom('config read', 'config write'),
        device: text,
        offset: fc.nat(0xfff),
        value: u32,
      }),
      fc.record({
        kind: fc.constantFrom('device read', 'device write'),
        region: text,
        lo: u32,
        hi: fc.oneof(fc.constant(0), u32),
        width: fc.constantFrom(1, 2, 4, 8),
        valueLo: u32,
        valueHi: fc.oneof(fc.constant(0), u32),
      }),
    );
    fc.assert(
      fc.property(record, (r) => {
        expect(parseDeviceLine(formatDeviceRecord(r as DeviceRecord))).toEqual(r);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the accesses', () => {
  const accesses = LINES.map((text, i) => deviceAccess(parseDeviceLine(text) as DeviceRecord, i + 1));

  it('to configuration space have a guessed width, 4 for a BAR register', () => {
    expect(accesses[0]).toEqual({
      line: 1,
      op: 'read',
      space: 'config',
      device: 'virtio-net-pci',
      addressLo: 0,
      addressHi: 0,
      width: 2,
      guessed: true,
      valueLo: 0x1af4,
      valueHi: 0,
    });
    const zero = parseDeviceLine('config write dev=x off=0x14 value=0x0') as DeviceRecord;
    expect(deviceAccess(zero, 1)).toMatchObject({ op: 'write', width: 4 });
  });

  it('to registers of an IOMMU are the machine\u2019s own, all others memory', () => {
    expect(accesses[2]).toMatchObject({ space: 'memory', region: 'msix-table', addressLo: 0xfebd5000 });
    expect(accesses[3]).toEqual({
      line: 4,
      op: 'write',
      space: 'platform',
      region: 'intel_iommu',
      addressLo: 0xfed90018,
      addressHi: 1,
      width: 8,
      valueLo: 0x9abcdef0,
      valueHi: 0x12345678,
    });
  });
});
