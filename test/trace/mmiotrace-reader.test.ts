// The mmiotrace reader: conformance TRC-01, TRC-04 and TRC-10, what it refuses, and address lookup.
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openTrace } from '../../src/trace/lines.js';
import type { MmioRecord } from '../../src/trace/mmiotrace.js';
import { type MmioReadOptions, MmioTraceReader, readMmiotrace } from '../../src/trace/mmiotrace-reader.js';
import { formatMmioRecord } from '../../src/trace/mmiotrace-writer.js';
import { chunks, cutAt, SMALL, VECTOR } from './input.js';

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

  it('gives the same records for any chunking, with LF and CR LF', async () => {
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
