// How input is opened and cut into lines.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LineBatch, openTrace, readLines } from '../../src/trace/lines.js';
import { chunks, cutAt, SMALL } from './input.js';

async function lines(parts: readonly (Uint8Array | string)[], maxLineBytes = 65536): Promise<string[]> {
  const all: string[] = [];
  for await (const batch of readLines(chunks(...parts), { maxLineBytes })) {
    expect(batch.first).toBe(all.length + 1);
    all.push(...batch.lines.map((line, i) => (batch.tooLong.includes(i) ? `CUT ${line}` : line)));
  }
  return all;
}

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
      await expect(readLines(stream, { name: gz }).next()).rejects.toMatchObject({
        code: 'malformed',
        message: expect.stringContaining('zcat FILE'),
      });
      const gone = await openTrace(gz);
      await rm(gz);
      await expect(readLines(gone.stream).next()).rejects.toMatchObject({ code: 'not-found', message });
      const bytes = gzipSync(SMALL);
      await expect(lines(cutAt(bytes, [1, 2]))).rejects.toMatchObject({ code: 'malformed' });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
