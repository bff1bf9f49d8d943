// One line of an mmiotrace log: parsing, what is wrong with it, and printing it back.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MmioRecord, parseMmioLine } from '../../src/trace/mmiotrace.js';
import { formatMmioRecord } from '../../src/trace/mmiotrace-writer.js';

function good(text: string): MmioRecord {
  const record = parseMmioLine(text);
  if (record.kind === 'bad' || record.kind === 'other') throw new Error(`${record.kind}: ${text}`);
  return record;
}

describe('a line', () => {
  it.each([
    ['R', 'width: is missing'],
    ['R 3 1.000000 1 0x0 0x0 0x0 0', 'width: "3" is not 1, 2, 4 or 8'],
    ['R x 1.000000 1 0x0 0x0 0x0 0', 'width: "x" is not a decimal number'],
    ['R 4 1.00000 1 0x0 0x0 0x0 0', 'time: "1.00000" is not SECONDS.MICROSECONDS'],
    ['R 4 1.0000000 1 0x0 0x0 0x0 0', 'time: "1.0000000" is not SECONDS.MICROSECONDS'],
    ['R 4 1,000000 1 0x0 0x0 0x0 0', 'time: "1,000000" is not SECONDS.MICROSECONDS'],
    ['R 4 4294967296.000000 1 0x0 0x0 0x0 0', 'time: "4294967296.000000" is not SECONDS.MICROSECONDS'],
    ['R 4 1.000000 - 0x0 0x0 0x0 0', 'map id: "-" is not a decimal number'],
    ['R 4 1.000000 1  0x0 0x0 0x0 0', 'address: is missing'],
    ['R 4 1.000000 1 0 0x0 0x0 0', 'address: "0" is not a 0x number of at most 64 bits'],
    ['R 4 1.000000 1 0x 0x0 0x0 0', 'address: "0x" is not a 0x number of at most 64 bits'],
    [
      'W 4 1.000000 1 0x0 0x12345678901234567 0x0 0',
      'value: "0x12345678901234567" is not a 0x number of at most 64 bits',
    ],
    ['W 4 1.000000 1 0x0 0x1', 'pc: is missing'],
    ['W 4 1.000000 1 0x0 0x1 0x0', 'pid: is missing'],
    ['W 4 1.000000 1 0x0 0x1 0x0 0 tail', 'end of line: "tail" is left over'],
    ['MAP 1.000000 1 0x0 0x0 0xffffffffffffffff 0x0 0', 'length: "0x10000000000000000" is not below 2^53'],
    ['UNMAP 1.000000 1 0x0', 'pid: is missing'],
    ['MARK', 'time: is missing'],
    ['MARK soon text', 'time: "soon" is not SECONDS.MICROSECONDS'],
    ['UNKNOWN 1.000000 1 0x0 0f,1,00 0x0 0', 'opcode: "0f,1,00" is not three bytes hh,hh,hh'],
    ['VERSION', 'version: is missing'],
    ['PCIDEV 000 80862918 0', 'bus and function: "000" is not 4 hexadecimal digits'],
    ['PCIDEV 0000 8086291 0', 'vendor and device: "8086291" is not 8 hexadecimal digits'],
    ['PCIDEV 0000 80862918 0 0 0 0 0 0 0 0 0 0 0 0 0 0', 'size 6: is missing'],
    [
      'PCIDEV 0000 80862918 0 0 0 0 0x0 0 0 0 0 0 0 0 0 0 0 ',
      'resource 3: "0x0" is not a hexadecimal number',
    ],
  ])('names the field: %s', (text, reason) => {
    expect(parseMmioLine(text)).toEqual({ kind: 'bad', reason });
  });

  it.each(['', 'R4 1.0', ' R 4 1.0', 'r 4', 'rw what?', 'VERSIONS 1', 'X', '[ 1.0] e1000e: link up', '\0\0'])(
    'takes %j for a line of something else',
    (text) => {
      expect(parseMmioLine(text)).toEqual({ kind: 'other' });
    },
  );
});

describe('one record', () => {
  it('has its value masked to the width', () => {
    const value = (width: number): unknown => good(`W ${width} 1.000000 1 0x10 0xfedcba9876543210 0x0 0`);
    expect(value(1)).toMatchObject({ valueLo: 0x10, valueHi: 0 });
    expect(value(2)).toMatchObject({ valueLo: 0x3210, valueHi: 0 });
    expect(value(4)).toMatchObject({ valueLo: 0x76543210, valueHi: 0 });
    expect(value(8)).toMatchObject({ valueLo: 0x76543210, valueHi: 0xfedcba98 });
  });

  it('may have lost the space at its end, or gained one', () => {
    expect(formatMmioRecord(good('PCIDEV 00f8 80862918 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0'))).toMatch(/ 0 $/);
    expect(formatMmioRecord(good('MARK 1.000000'))).toBe('MARK 1.000000 ');
    expect(formatMmioRecord(good('UNMAP 1.000000 4 0x0 0 '))).toBe('UNMAP 1.000000 4 0x0 0');
  });

  it('is the same after printing and parsing', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const half = fc.oneof(fc.constant(0), u32);
    const ts = fc.integer({ min: 0, max: 2 ** 32 * 1e6 - 1 });
    const map = fc.integer({ min: -1, max: 2 ** 31 - 1 });
    const byte = fc.nat(255);
    const text = fc.string({ unit: 'binary' }).map((s) => s.replaceAll(/[\r\n]/g, ''));
    const traced = { ts, map, pcLo: u32, pcHi: half, pid: fc.nat(99999) };
    const located = { lo: u32, hi: half };
    const size = fc.oneof(fc.constant(0), fc.maxSafeNat());
    const access = fc
      .record({
        kind: fc.constantFrom('read', 'write'),
        width: fc.constantFrom(1, 2, 4, 8),
        ...traced,
        ...located,
        valueLo: u32,
        valueHi: half,
      })
      .map((r) => ({
        ...r,
        valueLo: r.width < 4 ? r.valueLo & (2 ** (8 * r.width) - 1) : r.valueLo,
        valueHi: r.width === 8 ? r.valueHi : 0,
      }));
    const bar = fc
      .record({ lo: u32, hi: half, flags: fc.nat(15), size })
      .map((r) =>
        (r.flags & 1) === 1 ? { ...r, flags: 1, lo: (r.lo & ~3) >>> 0 } : { ...r, lo: (r.lo & ~15) >>> 0 },
      );
    const rom = fc.record({ lo: u32.map((lo) => (lo & ~15) >>> 0), hi: half, flags: fc.nat(15), size });
    const record = fc.oneof(
      access,
      fc.record({ kind: fc.constant('map'), ...traced, ...located, virtLo: u32, virtHi: half, length: size }),
      fc.record({ kind: fc.constant('unmap'), ...traced }),
      fc.record({ kind: fc.constant('unknown'), ...traced, ...located, opcode: fc.nat(0xffffff) }),
      fc.record({ kind: fc.constant('mark'), ts, text }),
      fc.record({ kind: fc.constant('lspci'), text }),
      fc.record({ kind: fc.constant('version'), version: u32 }),
      fc.record({
        kind: fc.constant('pcidev'),
        bus: byte,
        devfn: byte,
        vendor: fc.nat(0xffff),
        device: fc.nat(0xffff),
        irq: u32,
        resources: fc.tuple(bar, bar, bar, bar, bar, bar, rom),
        driver: text,
      }),
    );
    fc.assert(
      fc.property(record, (r) => {
        expect(parseMmioLine(formatMmioRecord(r as MmioRecord))).toEqual(r);
      }),
      { numRuns: 2000 },
    );
  });
});
