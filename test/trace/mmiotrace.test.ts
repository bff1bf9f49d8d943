// The mmiotrace reader and writer: conformance TRC-01, TRC-04 and TRC-10, and how input is cut into lines.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LineBatch, openTrace, readLines } from '../../src/trace/lines.js';
import {
  type MmioReadOptions,
  type MmioRecord,
  MmioTraceReader,
  parseMmioLine,
  readMmiotrace,
} from '../../src/trace/mmiotrace.js';
import { formatMmioRecord } from '../../src/trace/mmiotrace-writer.js';

const VECTOR = fileURLToPath(new URL('../vectors/traces/nvme-e1000e-linux61.mmiotrace.txt', import.meta.url));

const SMALL = [
  'VERSION 20070824',
  'PCIDEV 0008 1b360010 a febc0004 0 0 0 0 0 0 4000 0 0 0 0 0 0 nvme',
  'PCIDEV 0010 808610d3 b feb80000 feba0000 c041 0 0 0 feb40001 20000 20000 20 0 0 0 40000 ',
  'MARK 1.000001 größer → 漢字 😀',
  'MAP 2.000000 1 0xfebc0000 0xff79ff86c05a6000 0x2000 0x0 0',
  'R 4 2.000001 1 0xfebc001c 0x1 0x0 0',
  'W 8 2.000002 1 0x123456789a 0xfedcba9876543210 0xffffffff81234567 0',
  'cat: something else',
  '',
  'UNKNOWN 2.000003 -1 0xfebc0000 0f,ab,00 0x0 0',
  'UNMAP 2.000004 1 0x0 0',
  'LSPCI 00:01.0 Non-Volatile memory controller',
].join('\n');

async function* chunks<T>(...parts: T[]): AsyncGenerator<T> {
  yield* parts;
}

async function records(
  parts: readonly (Uint8Array | string)[],
  options: MmioReadOptions = {},
): Promise<{ line: number; record: MmioRecord }[]> {
  const all: { line: number; record: MmioRecord }[] = [];
  for await (const batch of readMmiotrace(chunks(...parts), options)) {
    batch.records.forEach((record, i) => {
      all.push({ line: batch.lines[i] ?? 0, record });
    });
  }
  return all;
}

async function lines(parts: readonly (Uint8Array | string)[], maxLineBytes = 65536): Promise<string[]> {
  const all: string[] = [];
  for await (const batch of readLines(chunks(...parts), { maxLineBytes })) {
    expect(batch.first).toBe(all.length + 1);
    all.push(...batch.lines.map((line, i) => (batch.tooLong.includes(i) ? `CUT ${line}` : line)));
  }
  return all;
}

/** Cuts bytes at the given places. */
function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...places].sort((a, b) => a - b);
  return [0, ...sorted].map((from, i) => bytes.subarray(from, sorted[i] ?? bytes.length));
}

function good(text: string): MmioRecord {
  const record = parseMmioLine(text);
  if (record.kind === 'bad' || record.kind === 'other') throw new Error(`${record.kind}: ${text}`);
  return record;
}

describe('a recorded log', () => {
  it('TRC-01 has the counts of its README, with no line skipped', async () => {
    const reader = new MmioTraceReader(true);
    const { stream, size } = await openTrace(VECTOR);
    const progress: number[] = [];
    let total = 0;
    for await (const batch of readMmiotrace(stream, {
      reader,
      onProgress: (bytes) => progress.push(bytes),
    })) {
      expect(batch.lines.length).toBe(batch.records.length);
      for (const record of batch.records) {
        total++;
        if (record.kind === 'read' || record.kind === 'write') {
          expect(record.width).toBe(4);
          expect(reader.resolve(record.lo, record.hi)).toBeDefined();
        }
      }
    }
    expect(reader.counts).toEqual({
      version: 1,
      pcidev: 6,
      map: 5,
      unmap: 1,
      mark: 8,
      read: 2009,
      write: 2893,
      unknown: 0,
      lspci: 0,
    });
    expect(total).toBe(4923);
    expect([reader.bad, reader.other, reader.lost, reader.firstBad]).toEqual([0, 0, 0, undefined]);
    expect(progress.at(-1)).toBe(size);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it('TRC-04 prints back byte for byte', async () => {
    const bytes = await readFile(VECTOR);
    const printed = (await records([bytes])).map(({ record }) => `${formatMmioRecord(record)}\n`).join('');
    expect(printed === bytes.toString('utf8')).toBe(true);
  });

  it('gives line numbers and fields', async () => {
    const all = await records([SMALL]);
    expect(all.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 6, 7, 10, 11, 12]);
    expect(all[5]?.record).toEqual({
      kind: 'read',
      width: 4,
      ts: 2_000_001,
      map: 1,
      lo: 0xfebc001c,
      hi: 0,
      valueLo: 1,
      valueHi: 0,
      pcLo: 0,
      pcHi: 0,
      pid: 0,
    });
    const write = all[6]?.record;
    expect(write).toMatchObject({ lo: 0x3456789a, hi: 0x12, valueLo: 0x76543210, valueHi: 0xfedcba98 });
    expect(write).toMatchObject({ pcLo: 0x81234567, pcHi: 0xffffffff });
    expect(all[7]?.record).toMatchObject({ kind: 'unknown', map: -1, opcode: 0x0fab00 });
  });
});

describe('bad input', () => {
  it('TRC-10 reports a corrupt line with its number and goes on; strict throws', async () => {
    const corrupt = (await readFile(VECTOR, 'utf8')).split('\n');
    corrupt[2499] = 'R 4 8.123456 2 0xfebc2z0c 0x1 0x0 0';
    corrupt[3000] = 'W 4 8.1';
    const text = corrupt.join('\n');
    const reader = new MmioTraceReader();
    expect(await records([text], { reader })).toHaveLength(4921);
    expect(reader.bad).toBe(2);
    expect(reader.firstBad).toEqual({
      line: 2500,
      text: corrupt[2499],
      reason: 'address: "0xfebc2z0c" is not a 0x number of at most 64 bits',
    });
    await expect(records([text], { strict: true })).rejects.toMatchObject({
      name: 'ZtlpError',
      code: 'malformed',
      message: expect.stringContaining('line 2500: address'),
    });
  });

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

  it('counts other lines, not blank ones, and sums what the kernel lost', async () => {
    const reader = new MmioTraceReader();
    const text =
      'MARK 0.000000 Lost 12 events.\nrw what?\n  \n\nMARK 0.000000 Lost 3 events.\nMARK 1.000000 Lost 5 events.';
    expect(await records(['\n \nVERSION 20070824\n', text], { reader })).toHaveLength(4);
    expect([reader.other, reader.bad, reader.lost]).toEqual([1, 0, 15]);
  });

  it.each([
    ['nothing', '', 'malformed', 'it is empty'],
    ['blank lines only', '\n \r\n', 'malformed', 'it is empty'],
    ['no VERSION line', 'R 4 1.000000 1 0x0 0x0 0x0 0\n', 'malformed', 'a first line "VERSION 20070824"'],
    ['a VERSION without number', 'VERSION one\n', 'malformed', 'it begins with "VERSION one"'],
    ['another version', 'VERSION 20080101\n', 'unsupported', 'version 20080101'],
    ['one endless line', 'x'.repeat(200_000), 'malformed', 'it begins with "xxx'],
  ])('refuses %s', async (_, text, code, message) => {
    await expect(records([text])).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('does not stop at a second VERSION, of whatever number', async () => {
    const reader = new MmioTraceReader();
    await records(['VERSION 20070824\nVERSION 1\nVERSION 20070824\n'], { reader });
    expect([reader.counts.version, reader.firstBad?.line]).toEqual([2, 2]);
  });

  it('counts a line that is too long as bad', async () => {
    const reader = new MmioTraceReader();
    await records([`VERSION 20070824\nMARK 1.000000 ${'x'.repeat(70_000)}\nMARK 1.000000 y\n`], { reader });
    expect([reader.bad, reader.counts.mark, reader.firstBad?.line]).toEqual([1, 1, 2]);
    expect(reader.firstBad?.text.length).toBe(65_536);
  });
});

describe('lines', () => {
  it('end with LF or CR LF, or not at all', async () => {
    expect(await lines(['a\r\n\r\nb\n\nc\rd\0\r'])).toEqual(['a', '', 'b', '', 'c\rd\0']);
    expect(await lines([''])).toEqual([]);
    expect(await lines(['a\n'])).toEqual(['a']);
  });

  it('lose a byte order mark, also one in pieces, but only at the start', async () => {
    expect(await lines([Uint8Array.of(0xef), Uint8Array.of(0xbb), Uint8Array.of(0xbf, 0x61)])).toEqual(['a']);
    expect(await lines(['\ufeffa\n\ufeffb\n'])).toEqual(['a', '\ufeffb']);
  });

  it('may be split inside a character, in bytes and in strings', async () => {
    expect(await lines([Uint8Array.of(0xf0, 0x9f), Uint8Array.of(0x98, 0x80, 0xff)])).toEqual(['😀\ufffd']);
    expect(await lines(['a\ud83d', '\ude00\n'])).toEqual(['a😀']);
    expect(await lines(['a\ud83d'])).toEqual(['a\ufffd']);
  });

  it('are cut at the maximum, wherever the chunks end', async () => {
    const bytes = Buffer.from('1234\n12345\r\n123456\n1234567\r\n\n12345\n123456');
    const expected = ['1234', '12345', 'CUT 12345', 'CUT 12345', '', '12345', 'CUT 12345'];
    for (let at = 0; at <= bytes.length; at++) expect(await lines(cutAt(bytes, [at]), 5)).toEqual(expected);
    expect(await lines(cutAt(bytes, [...bytes.keys()]), 5)).toEqual(expected);
  });

  it('of any length need no more memory than the maximum', async () => {
    const chunk = new Uint8Array(1 << 20).fill(0x78);
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 256; i++) yield chunk;
      yield Buffer.from('\nend');
    }
    const batches: LineBatch[] = [];
    const before = process.memoryUsage();
    for await (const batch of readLines(endless())) batches.push(batch);
    const after = process.memoryUsage();
    expect(batches.map(({ first, tooLong }) => [first, ...tooLong])).toEqual([[1, 0], [2]]);
    expect(batches[0]?.lines[0]?.length).toBe(65_536);
    expect(batches[1]).toMatchObject({ lines: ['end'], bytes: 256 * (1 << 20) + 4 });
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(64 << 20);
  });

  it('are the same for any chunking of any bytes', async () => {
    const alphabet = fc.constantFrom(
      0x0a,
      0x0d,
      0x61,
      0x20,
      0,
      0xc3,
      0xa4,
      0xf0,
      0x9f,
      0x98,
      0x80,
      0xef,
      0xbb,
      0xbf,
    );
    const input = fc.array(alphabet, { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(
        input,
        fc.array(fc.nat(60), { maxLength: 8 }),
        fc.integer({ min: 1, max: 20 }),
        async (b, cuts, max) => {
          const bytes = Uint8Array.from(b);
          const whole = await lines([bytes], max);
          const places = cuts.map((cut) => Math.min(cut, bytes.length));
          expect(await lines(cutAt(bytes, places), max)).toEqual(whole);
          expect(await lines(cutAt(bytes, [...bytes.keys()]), max)).toEqual(whole);
        },
      ),
    );
  });

  it('give the same records for any chunking, with LF and CR LF', async () => {
    const whole = await records([SMALL]);
    const bytes = [Buffer.from(SMALL), Buffer.from(`\ufeff${SMALL.replaceAll('\n', '\r\n')}\r\n`)];
    for (const log of bytes) {
      for (let at = 0; at <= log.length; at++) expect(await records(cutAt(log, [at]))).toEqual(whole);
    }
    const log = fc.constantFrom(...bytes);
    await fc.assert(
      fc.asyncProperty(log, fc.array(fc.nat(SMALL.length)), async (b, cuts) => {
        expect(await records(cutAt(b, cuts))).toEqual(whole);
      }),
    );
  });
});

describe('opening a file', () => {
  it('explains what is wrong with it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'ztlp-'));
    try {
      const message = expect.stringContaining('there is no such file');
      await expect(openTrace(join(dir, 'none'))).rejects.toMatchObject({ code: 'not-found', message });
      await expect(openTrace(dir)).rejects.toMatchObject({
        code: 'io',
        message: expect.stringContaining('directory'),
      });
      const gz = join(dir, 'log.gz');
      await writeFile(gz, gzipSync(SMALL));
      const { stream } = await openTrace(gz);
      await expect(readMmiotrace(stream, { name: gz }).next()).rejects.toMatchObject({
        code: 'malformed',
        message: expect.stringContaining('zcat FILE | ztlp replay -'),
      });
      const gone = await openTrace(gz);
      await rm(gz);
      await expect(readLines(gone.stream).next()).rejects.toMatchObject({ code: 'not-found', message });
      const bytes = gzipSync(SMALL);
      await expect(records(cutAt(bytes, [1, 2]))).rejects.toMatchObject({ code: 'malformed' });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe('address lookup', () => {
  async function lookup(...pcidevs: string[]): Promise<MmioTraceReader> {
    const reader = new MmioTraceReader(true);
    await records([['VERSION 20070824', ...pcidevs].join('\n')], { reader });
    return reader;
  }

  it('finds BARs and the ROM; I/O BARs, unused and unassigned ones never match', async () => {
    const reader = await lookup(
      ...SMALL.split('\n').slice(1, 3),
      'PCIDEV 0018 80860001 0 0 0 0 0 0 0 0 1000 0 0 0 0 0 0',
    );
    expect(reader.devices[0]).toMatchObject({
      bus: 0,
      devfn: 8,
      vendor: 0x1b36,
      device: 0x10,
      irq: 10,
      driver: 'nvme',
    });
    expect(reader.devices[0]?.resources[0]).toEqual({ lo: 0xfebc0000, hi: 0, flags: 4, size: 0x4000 });
    expect(reader.devices[1]?.resources[2]).toEqual({ lo: 0xc040, hi: 0, flags: 1, size: 0x20 });
    expect(reader.resolve(0xfebc2004, 0)).toEqual({ device: 0, bar: 0, offset: 0x2004 });
    expect(reader.resolve(0xfebc3fff, 0)).toEqual({ device: 0, bar: 0, offset: 0x3fff });
    expect(reader.resolve(0xfebc4000, 0)).toBeUndefined();
    expect(reader.resolve(0xfebc2004, 1)).toBeUndefined();
    expect(reader.resolve(0xfeb9ffff, 0)).toEqual({ device: 1, bar: 0, offset: 0x1ffff });
    expect(reader.resolve(0xfeba0000, 0)).toEqual({ device: 1, bar: 1, offset: 0 });
    expect(reader.resolve(0xfeb40010, 0)).toEqual({ device: 1, bar: 6, offset: 0x10 });
    expect(reader.resolve(0xc040, 0)).toBeUndefined();
    expect(reader.resolve(0x10, 0)).toBeUndefined();
  });

  it('takes the first of overlapping ranges, in whatever order it is asked', async () => {
    const reader = await lookup(
      'PCIDEV 0000 80860001 0 2000 0 0 0 0 0 0 1000 0 0 0 0 0 0 ',
      'PCIDEV 0008 80860002 0 1000 0 0 0 0 0 0 4000 0 0 0 0 0 0 ',
    );
    const devices = [0x1000, 0x2000, 0x1fff, 0x2fff, 0x3000, 0x2000, 0x4fff].map(
      (lo) => reader.resolve(lo, 0)?.device,
    );
    expect(devices).toEqual([1, 0, 1, 0, 1, 0, 1]);
  });

  it('handles 64-bit ranges that cross 4 GiB', async () => {
    const reader = await lookup('PCIDEV 0000 80860001 0 3ffff000c 0 0 0 0 0 0 20000 0 0 0 0 0 0');
    expect(reader.resolve(0xffff0000, 3)).toEqual({ device: 0, bar: 0, offset: 0 });
    expect(reader.resolve(0x0000fffc, 4)).toEqual({ device: 0, bar: 0, offset: 0x1fffc });
    expect(reader.resolve(0x00010000, 4)).toBeUndefined();
    expect(reader.resolve(0xfffeffff, 3)).toBeUndefined();
  });
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
