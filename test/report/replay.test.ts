// The replay of mmiotrace logs as TLPs: counts of a recorded log, each kind of access, bad input, constant memory.
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ready } from '../../src/core/shared.js';
import { splitAccess } from '../../src/path/split.js';
import { type ReplayOptions, type ReplaySummary, replayFile } from '../../src/report/replay.js';
import { formatReplay } from '../../src/report/replay-text.js';
import { ansi, PLAIN } from '../../src/report/style.js';

const VECTOR = fileURLToPath(new URL('../vectors/traces/nvme-e1000e-linux61.mmiotrace.txt', import.meta.url));

const VERSION = 'VERSION 20070824';
/** BAR0 of 16 KiB at 0xfebc0000, BAR2 of 1 MiB at 2^40, ROM of 64 KiB at 0xfea00000. */
const NVME = 'PCIDEV 0008 1b360010 a febc0004 0 1000000000c 0 0 0 fea00001 4000 0 100000 0 0 0 10000 nvme';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ztlp-'));
});
afterAll(() => rm(dir, { recursive: true }));

const R = (width: number, address: number): string =>
  `R ${width} 1.000000 1 0x${address.toString(16)} 0x0 0x0 0`;
const W = (width: number, address: number): string => R(width, address).replace('R', 'W');
const mark = (text: string): string => `MARK 1.000000 ${text}`;

async function replay(lines: readonly string[], options: ReplayOptions = {}): Promise<ReplaySummary> {
  const file = join(dir, 'log.txt');
  await writeFile(file, `${lines.join('\n')}\n`);
  return replayFile(file, options);
}

/** TLP counts as `type/header DWs/length: count`. */
const kinds = ({ tlps }: ReplaySummary): string[] =>
  tlps.map(({ type, headerDw, lengthDw, count }) => `${type}/${headerDw}/${lengthDw}: ${count}`);

const sum = <T>(list: readonly T[], what: (item: T) => number): number =>
  list.reduce((total, item) => total + what(item), 0);

describe.each(['debug', 'release'])('replay on the %s core', (variant) => {
  beforeAll(async () => {
    await ready(await readFile(new URL(`../../build/${variant}.wasm`, import.meta.url)));
  });

  it('has the counts of the recorded log', async () => {
    const progress: [number, number | undefined][] = [];
    const summary = await replayFile(VECTOR, {
      strict: true,
      onProgress: (bytes, total) => progress.push([bytes, total]),
    });
    const phase = (
      mark: string,
      line: number,
      [reads, writes, tlps]: readonly [number, number, number],
      [wireBytesDown, wireBytesUp]: readonly [number, number],
    ): object => ({ mark, line, reads, writes, tlps, wireBytesDown, wireBytesUp });
    expect(summary).toEqual({
      file: VECTOR,
      format: 'mmiotrace',
      lines: 4923,
      accesses: 4902,
      reads: 2009,
      writes: 2893,
      byWidth: [{ width: 4, reads: 2009, writes: 2893 }],
      byBar: [
        {
          device: '00:01.0 1b36:0010',
          bar: 'BAR0',
          reads: 28,
          writes: 220,
          bytesRead: 112,
          bytesWritten: 880,
        },
        {
          device: '00:02.0 8086:10d3',
          bar: 'BAR0',
          reads: 1963,
          writes: 2626,
          bytesRead: 7852,
          bytesWritten: 10504,
        },
        { device: '00:02.0 8086:10d3', bar: 'BAR3', reads: 18, writes: 47, bytesRead: 72, bytesWritten: 188 },
      ],
      byPhase: [
        phase('load nvme', 8, [28, 212, 268], [5648, 672]),
        phase('nvme read', 253, [0, 4, 4], [96, 0]),
        phase('nvme write', 258, [0, 4, 4], [96, 0]),
        phase('load e1000e', 263, [606, 551, 1763], [25344, 14544]),
        phase('link up', 1423, [856, 1462, 3174], [52208, 20544]),
        phase('ping', 3742, [35, 29, 99], [1396, 840]),
        phase('link down', 3807, [484, 631, 1599], [24824, 11616]),
        phase('end', 4923, [0, 0, 0], [0, 0]),
      ],
      tlps: [
        { type: 'MRd', headerDw: 3, lengthDw: 1, count: 2009 },
        { type: 'MWr', headerDw: 3, lengthDw: 1, count: 2893 },
        { type: 'CplD', headerDw: 3, lengthDw: 1, count: 2009 },
      ],
      tlpCount: 2009 + 2893 + 2009,
      payloadBytesDown: 2893 * 4,
      payloadBytesUp: 2009 * 4,
      wireBytesDown: 2009 * 20 + 2893 * 24,
      wireBytesUp: 2009 * 24,
      records: { version: 1, pcidev: 6, map: 5, unmap: 1, mark: 8, unknown: 0, lspci: 0 },
      badLines: 0,
      otherLines: 0,
      lostEvents: 0,
      outsideBars: 0,
    });
    expect(progress.at(-1)).toEqual([189446, 189446]);
    expect(progress.map(([bytes]) => bytes)).toEqual(progress.map(([bytes]) => bytes).sort((a, b) => a - b));
  });

  it('makes one request of an aligned access of any width', async () => {
    const all = [1, 2, 4, 8].flatMap((width) => [R(width, 0xfebc0010), W(width, 0xfebc0010)]);
    const summary = await replay([VERSION, NVME, ...all, W(1, 0xfebc0013)]);
    expect(summary.byWidth).toEqual([
      { width: 1, reads: 1, writes: 2 },
      { width: 2, reads: 1, writes: 1 },
      { width: 4, reads: 1, writes: 1 },
      { width: 8, reads: 1, writes: 1 },
    ]);
    expect(kinds(summary)).toEqual([
      'MRd/3/1: 3',
      'MRd/3/2: 1',
      'MWr/3/1: 4',
      'MWr/3/2: 1',
      'CplD/3/1: 3',
      'CplD/3/2: 1',
    ]);
    const { wireBytesDown, wireBytesUp, payloadBytesDown, payloadBytesUp } = summary;
    expect([wireBytesDown, wireBytesUp]).toEqual([4 * 20 + 4 * 24 + 28, 3 * 24 + 28]);
    expect([payloadBytesDown, payloadBytesUp]).toEqual([4 * 4 + 8, 3 * 4 + 8]);
    expect(summary.byBar).toEqual([
      { device: '00:01.0 1b36:0010 nvme', bar: 'BAR0', reads: 4, writes: 5, bytesRead: 15, bytesWritten: 16 },
    ]);
  });

  it('cuts an access that crosses 8 bytes, and only that', async () => {
    const inside = await replay([VERSION, NVME, W(4, 0xfebc0002), R(2, 0xfebc0003)]);
    expect(kinds(inside)).toEqual(['MRd/3/2: 1', 'MWr/3/2: 1', 'CplD/3/2: 1']);
    const across = await replay([VERSION, NVME, W(8, 0xfebc0005), R(2, 0xfebc0007), R(4, 0xfebc0fff)]);
    expect(kinds(across)).toEqual(['MRd/3/1: 4', 'MWr/3/1: 1', 'MWr/3/2: 1', 'CplD/3/1: 4']);
    expect(across.byPhase).toMatchObject([
      { tlps: 10, wireBytesDown: 4 * 20 + 24 + 28, wireBytesUp: 4 * 24 },
    ]);
    const options = { ucSplitBoundary: 64 } as const;
    const whole = await replay([VERSION, NVME, W(8, 0xfebc0005), R(2, 0xfebc003f)], { options });
    expect(kinds(whole)).toEqual(['MRd/3/1: 2', 'MWr/3/3: 1', 'CplD/3/1: 2']);
  });

  it('uses headers of 4 DWs from 4 GiB on', async () => {
    const top = 2 ** 40 + 0x4_0000;
    const high = await replay([VERSION, NVME, R(4, top), W(8, top + 8), W(2, top + 7)]);
    expect(kinds(high)).toEqual(['MRd/4/1: 1', 'MWr/4/1: 2', 'MWr/4/2: 1', 'CplD/3/1: 1']);
    expect([high.wireBytesDown, high.wireBytesUp]).toEqual([24 + 2 * 28 + 32, 24]);
    expect(high.byBar).toMatchObject([{ bar: 'BAR2', reads: 1, writes: 2, bytesWritten: 10 }]);
    const border = [R(4, 2 ** 32 - 4), R(4, 2 ** 32), R(4, 2 ** 32 - 2)];
    expect(kinds(await replay([VERSION, ...border]))).toEqual(['MRd/3/1: 2', 'MRd/4/1: 2', 'CplD/3/1: 4']);
  });

  it('agrees with splitAccess for any access', async () => {
    const access = fc.record({
      op: fc.constantFrom('read', 'write'),
      bytes: fc.constantFrom(1, 2, 4, 8),
      offset: fc.nat(0x3000),
      base: fc.constantFrom(0, 0xfebc0000, 2 ** 32 - 0x2000, 2 ** 40),
    });
    const boundary = fc.constantFrom(8, 16, 32, 64);
    await fc.assert(
      fc.asyncProperty(fc.array(access, { maxLength: 40 }), boundary, async (accesses, ucSplitBoundary) => {
        const options = { ucSplitBoundary };
        const lines = accesses.map(({ op, bytes, offset, base }) =>
          op === 'read' ? R(bytes, base + offset) : W(bytes, base + offset),
        );
        const summary = await replay([VERSION, ...lines], { options });
        const totals = accesses.map((input) => splitAccess('x86-uc', { ...input, options }).totals);
        expect(summary).toMatchObject({
          tlpCount: sum(totals, ({ tlps }) => tlps),
          payloadBytesDown: sum(totals, (total) => total.payloadBytesDown),
          payloadBytesUp: sum(totals, (total) => total.payloadBytesUp),
          wireBytesDown: sum(totals, (total) => total.wireBytesDown),
          wireBytesUp: sum(totals, (total) => total.wireBytesUp),
        });
        expect(sum(summary.tlps, ({ count }) => count)).toBe(summary.tlpCount);
      }),
      { numRuns: 60 },
    );
  });

  it('has the same totals by phase, by BAR and by width', async () => {
    const width = fc.constantFrom(1, 2, 4, 8);
    const address = fc.oneof(
      fc.nat(0x5000).map((offset) => 0xfebc0000 + offset),
      fc.nat(0x10000).map((offset) => 0xfea00000 + offset),
      fc.nat(0xfffff).map((offset) => 2 ** 40 + offset),
    );
    const line = fc.oneof(
      { weight: 3, arbitrary: fc.tuple(width, address).map(([w, a]) => R(w, a)) },
      { weight: 3, arbitrary: fc.tuple(width, address).map(([w, a]) => W(w, a)) },
      fc.constantFrom(mark('x'), mark(''), 'MARK 0.000000 Lost 3 events.', 'R 4 bad', 'noise', ''),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 60 }), async (lines) => {
        const summary = await replay([VERSION, NVME, ...lines]);
        const { reads, writes, byWidth, byBar, byPhase, tlpCount, wireBytesDown, wireBytesUp } = summary;
        for (const list of [byWidth, byBar, byPhase]) {
          expect(sum<{ reads: number }>(list, (row) => row.reads)).toBe(reads);
          expect(sum<{ writes: number }>(list, (row) => row.writes)).toBe(writes);
        }
        expect(sum(byBar, (row) => row.bytesRead)).toBe(sum(byWidth, (row) => row.reads * row.width));
        expect(sum(byBar, (row) => row.bytesWritten)).toBe(sum(byWidth, (row) => row.writes * row.width));
        expect(sum(byPhase, (row) => row.tlps)).toBe(tlpCount);
        expect(sum(byPhase, (row) => row.wireBytesDown)).toBe(wireBytesDown);
        expect(sum(byPhase, (row) => row.wireBytesUp)).toBe(wireBytesUp);
        expect(summary.badLines).toBe(lines.filter((text) => text === 'R 4 bad').length);
        expect(summary.lines).toBe(lines.length + 2);
      }),
      { numRuns: 60 },
    );
  });

  it('needs no more memory for a long log', async () => {
    const file = join(dir, 'long.txt');
    function* long(): Generator<string> {
      yield `${VERSION}\n${NVME}\n`;
      for (let i = 2; i < 200_000; i++) {
        const at = (i * 2_654_435_761) % 0x5000; // spreads over the BAR, aligned or not, and over its end
        yield `${(i & 1 ? R : W)([1, 2, 4, 8][(i >>> 1) & 3] as number, 0xfebc0000 + at)}\n`;
      }
    }
    await pipeline(Readable.from(long()), createWriteStream(file));
    // What is reachable counts, not what has yet to be collected.
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const held = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = held();
    let most = before;
    let calls = 0;
    const onProgress = (): void => {
      if (calls++ % 8 === 0) most = Math.max(most, held());
    };
    const summary = await replayFile(file, { onProgress });
    expect(summary).toMatchObject({ lines: 200_000, accesses: 199_998, badLines: 0 });
    expect(summary.outsideBars).toBeGreaterThan(0);
    expect(calls).toBeGreaterThan(16);
    expect(most - before).toBeLessThan(32 << 20);
  });
});

describe('devices and phases', () => {
  it('lists the ROM, and what lies outside every BAR last', async () => {
    const log = [VERSION, NVME, W(4, 0x1000), R(1, 0xfea00000), R(2, 0xfebc0000), R(8, 0xfebc4000)];
    const summary = await replay(log);
    expect(summary.byBar.map(({ device, bar, reads, writes }) => [device, bar, reads, writes])).toEqual([
      ['00:01.0 1b36:0010 nvme', 'BAR0', 1, 0],
      ['00:01.0 1b36:0010 nvme', 'ROM', 1, 0],
      ['outside every BAR', '-', 1, 1],
    ]);
    expect(summary.outsideBars).toBe(2);
  });

  it('knows a device from its PCIDEV line on, however the log is cut into batches', async () => {
    const gap = Array.from({ length: 5000 }, () => 'LSPCI some text to fill the log');
    for (const between of [[], gap]) {
      const summary = await replay([VERSION, R(4, 0xfebc0000), ...between, NVME, R(4, 0xfebc0000)]);
      expect(summary.byBar.map(({ bar, reads }) => [bar, reads])).toEqual([
        ['BAR0', 1],
        ['-', 1],
      ]);
    }
  });

  it('keeps phases without accesses, but not an empty one before the first mark', async () => {
    const empty = await replay([VERSION, NVME, mark('a'), mark(''), R(4, 0xfebc0000), mark('a')]);
    expect(empty.byPhase.map((phase) => [phase.mark, phase.line, phase.reads])).toEqual([
      ['a', 3, 0],
      ['', 4, 1],
      ['a', 6, 0],
    ]);
    const before = await replay([VERSION, R(4, 0), mark('a')]);
    expect(before.byPhase.map((phase) => [phase.mark, phase.line, phase.reads])).toEqual([
      ['(before the first mark)', 1, 1],
      ['a', 3, 0],
    ]);
    expect((await replay([VERSION, R(4, 0)])).byPhase).toMatchObject([{ mark: '(before the first mark)' }]);
    expect((await replay([VERSION, NVME])).byPhase).toEqual([]);
  });

  it('do not end where the kernel says that it lost events', async () => {
    const log = [VERSION, mark('a'), R(4, 0), 'MARK 0.000000 Lost 7 events.', R(4, 0)];
    const summary = await replay(log);
    expect(summary.byPhase).toMatchObject([{ mark: 'a', reads: 2 }]);
    expect([summary.lostEvents, summary.records.mark]).toEqual([7, 2]);
  });

  it('are listed up to a limit; later ones are added up', async () => {
    const many = Array.from({ length: 10_005 }, (_, i) => [mark(`${i}`), R(4, 0)]).flat();
    const { byPhase } = await replay([VERSION, ...many]);
    expect(byPhase).toHaveLength(10_001);
    expect(byPhase[9_999]).toMatchObject({ mark: '9999', line: 20_000, reads: 1 });
    expect(byPhase[10_000]).toMatchObject({ mark: '(later marks)', line: 20_002, reads: 5, tlps: 10 });
  });

  it('have names of limited length', async () => {
    const summary = await replay([
      VERSION,
      mark('x'.repeat(60_000)),
      `${NVME}${'y'.repeat(60_000)}`,
      R(4, 0xfebc0000),
    ]);
    expect(summary.byPhase[0]?.mark).toBe(`${'x'.repeat(199)}…`);
    expect(summary.byBar[0]?.device.length).toBeLessThan(250);
  });
});

describe('bad input', () => {
  const bad = [VERSION, NVME, R(4, 0xfebc0000), 'R 3 1.0', W(4, 0xfebc0000), 'W 4 soon', 'hello'];

  it('is counted, with the first bad line; strict throws with file and line', async () => {
    const summary = await replay(bad);
    expect(summary).toMatchObject({
      lines: 7,
      accesses: 2,
      badLines: 2,
      firstBad: { line: 4, text: 'R 3 1.0', reason: 'width: "3" is not 1, 2, 4 or 8' },
      otherLines: 1,
    });
    await expect(replay(bad, { strict: true })).rejects.toMatchObject({
      name: 'ZtlpError',
      code: 'malformed',
      field: 'line 4',
      message: expect.stringMatching(/log\.txt": line 4: width: "3" is not/),
    });
  });

  it.each([
    ['an ftrace log', '# tracer: nop'],
    ['an ftrace log', '          <idle>-0     [000] d.h1. 1.000000: map: IOMMU: iova=0x0'],
    ['an lspci dump without hexadecimal rows', '00:02.0 PCI bridge: Intel Corporation'],
    ['JSON', '{"tick":0}'],
  ])('of another format is named: %s', async (format, line) => {
    await expect(replay(['', '  ', line, 'more'])).rejects.toMatchObject({
      code: 'unsupported',
      field: 'file',
      message: expect.stringContaining(`: it looks like ${format}`),
    });
  });

  it('that is a dump has nothing to replay', async () => {
    const dump = ['00:02.0 PCI bridge: Intel Corporation', `00: ${'00 '.repeat(15)}ff`];
    await expect(replay(dump)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/log\.txt" looks like an lspci dump, which has no accesses/),
    });
  });

  it.each([
    [
      'text of no known format',
      ['hello'],
      'unsupported',
      /log\.txt" is not an mmiotrace.*begins with "hello"/,
    ],
    ['an empty file', [''], 'malformed', /log\.txt" is empty/],
    ['another version', ['VERSION 1'], 'unsupported', /log\.txt" is a log of another version of mmiotrace/],
  ])('that is %s is refused with the name of the file', async (_, lines, code, message) => {
    await expect(replay(lines)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('includes files that are not there and options that do not exist', async () => {
    await expect(replayFile(join(dir, 'none'))).rejects.toMatchObject({ code: 'not-found' });
    const options = { ucSplitBoundary: 12 } as unknown as NonNullable<ReplayOptions['options']>;
    await expect(replay([VERSION], { options })).rejects.toMatchObject({ field: 'ucSplitBoundary' });
  });
});

describe('the text of a replay', () => {
  it('has a headline, all tables and nothing to remark for the recorded log', async () => {
    const text = formatReplay({ ...(await replayFile(VECTOR)), file: 'trace.txt' }, PLAIN);
    const lines = text.split('\n');
    expect(lines[0]).toBe(
      'trace.txt: Linux mmiotrace log, 4,923 lines: 2,009 reads and 2,893 writes become 6,911 TLPs',
    );
    expect(lines).toContain('    4  2,009   2,893');
    expect(lines).toContain('00:02.0 8086:10d3  BAR0  1,963   2,626       7,852         10,504');
    expect(lines).toContain('link up      1423    856   1,462  3,174           52,208         20,544');
    expect(lines).toContain('MWr            3              1  2,893');
    expect(lines).toContain('down: requests   4,902         11,572     109,612');
    expect(lines.at(-1)).toBe('up: completions  2,009          8,036      48,216');
    expect(text).not.toMatch(/bad line|missing|skipped| \n/);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(104);
  });

  it('says what is not in the numbers', async () => {
    const log = [VERSION, mark('a'), 'MARK 0.000000 Lost 1200 events.', 'W 4 soon', 'R 4', 'rw what?'];
    const unknown = 'UNKNOWN 2.000003 -1 0xfebc0000 0f,ab,00 0x0 0';
    const text = formatReplay(await replay([...log, unknown, R(1, 0)]), ansi());
    expect(text).toContain(
      '\u001b[33m2 bad lines left out, the first in line 4: time: "soon" is not SECONDS',
    );
    expect(text).toContain('1,200 events missing');
    expect(text).toContain('1 UNKNOWN record not replayed');
    expect(text).toContain('\u001b[2m1 line of other text skipped\u001b[22m');
    expect(text).toContain('1 read and 0 writes become 2 TLPs');
  });

  it('stays on its lines whatever the log holds', async () => {
    const hostile = [VERSION, mark('\u001b[2J\u009b31m\r\t\u202e漢字'), mark('x'.repeat(300)), mark('')];
    const text = formatReplay(await replay([...hostile, 'R \u001b]0;x\u0007']), PLAIN);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(text).toContain('\ufffd[2J\ufffd31m\ufffd\ufffd\ufffd漢字');
    expect(text).toContain(`${'x'.repeat(47)}…`);
    expect(text).toContain('(no text)');
    expect(text.split('\n')[0]).toContain('5 lines: no accesses');
  });

  it('ends a very long list', async () => {
    const marks = Array.from({ length: 1234 }, (_, i) => mark(`${i}`));
    const text = formatReplay(await replay([VERSION, ...marks]), PLAIN);
    expect(text).toContain('and 1,034 more');
    expect(text.split('\n').length).toBeLessThan(230);
  });
});
