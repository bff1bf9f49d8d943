// The lspci reader: conformance TRC-05, TRC-06 and TRC-10, sizes, mail quotes, broken lines, and what is no row.
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLspci, type LspciFunction, LspciReader } from '../../src/pci/lspci.js';
import { openTrace } from '../../src/trace/lines.js';
import { readQemuTrace } from '../../src/trace/qemu-trace.js';
import { QEMU_VECTOR } from '../trace/collect.js';
import { chunks, cutAt } from '../trace/input.js';
import { bundled, dumpPath, functionsOf } from './dumps.js';

const hex = (value: number, digits = 2): string => value.toString(16).padStart(digits, '0');

/** Rows of `count` x 16 bytes that count up. */
const rows = (count: number, digits = 2): string[] =>
  Array.from({ length: count }, (_, n) => {
    const bytes = Array.from({ length: 16 }, (_, k) => hex((n * 16 + k) & 0xff));
    return `${hex(n * 16, digits)}: ${bytes.join(' ')}`;
  });

const read = (lines: readonly string[], reader?: LspciReader): Promise<LspciFunction[]> =>
  functionsOf(chunks(lines.join('\n')), reader);

describe('the bundled dumps', () => {
  it.each(['qemu72-nvme', 'qemu72-e1000e'] as const)(
    'TRC-05 %s loads and its rows print again',
    async (name) => {
      const text = await readFile(dumpPath(name), 'utf8');
      const fn = await bundled(name);
      expect([fn.bytes.length, fn.known, fn.rows.length, fn.problems]).toEqual([4096, 4096, 256, []]);
      expect(text).toBe(`${fn.address} ${fn.text}\n${formatLspci(fn)}\n`);
    },
  );

  it('TRC-06 holds what the trace of the same run read, but for registers that change', async () => {
    const dumps = new Map([
      ['nvme', (await bundled('qemu72-nvme')).bytes],
      ['e1000e', (await bundled('qemu72-e1000e')).bytes],
    ]);
    const matches = new Map<string, number>();
    const others = new Map<string, number>();
    const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1);
    const { stream } = await openTrace(QEMU_VECTOR);
    for await (const { records } of readQemuTrace(stream)) {
      for (const record of records) {
        if (record.kind !== 'pci_cfg_read') continue;
        const { device, offset, value } = record;
        const bytes = dumps.get(device) as Uint8Array;
        const field = (n: number): number =>
          [...bytes.subarray(offset, offset + n)].reduceRight((sum, byte) => sum * 256 + byte, 0);
        if ([1, 2, 4].some((n) => field(n) === value)) count(matches, device);
        else count(others, `${device} ${offset.toString(16)}`);
      }
    }
    expect(Object.fromEntries(matches)).toEqual({ nvme: 1209, e1000e: 1235 });
    expect(Object.fromEntries(others)).toEqual({
      'nvme 4': 7,
      'nvme 10': 2,
      'nvme 14': 2,
      'nvme 42': 8,
      'e1000e 4': 6,
      'e1000e 10': 2,
      'e1000e 14': 2,
      'e1000e 18': 3,
      'e1000e 1c': 2,
      'e1000e 30': 3,
      'e1000e a2': 4,
    });
  });
});

describe('a dump', () => {
  it.each([
    [4, 64],
    [16, 256],
    [256, 4096],
    [17, 4096],
  ])('of %i rows makes %i bytes', async (count, size) => {
    const [fn] = await read(['00:02.0 PCI bridge', ...rows(count)]);
    expect([fn?.bytes.length, fn?.known]).toEqual([size, count * 16]);
    expect(fn?.bytes[17]).toBe(0x11);
    if (count === 17) expect(fn?.bytes[0x110]).toBe(0xff);
    expect(formatLspci(fn as LspciFunction)).toBe(rows(count).join('\n'));
  });

  it('keeps three-digit offsets, a domain, and the class text', async () => {
    const [fn] = await read(['10000:e1:1f.7 Class 0280: Device 15b3:1019 (rev 01)', ...rows(16, 3)]);
    expect(fn).toMatchObject({
      line: 1,
      address: '10000:e1:1f.7',
      text: 'Class 0280: Device 15b3:1019 (rev 01)',
    });
    expect(formatLspci(fn as LspciFunction)).toBe(rows(16, 3).join('\n'));
  });

  it('has several functions; those without rows are left out', async () => {
    const reader = new LspciReader(true);
    const lines = [
      '',
      '00:00.0 a',
      ...rows(4),
      '',
      '00:01.0 b',
      '',
      '00:02.0 c',
      '\tFlags: x',
      ...rows(16),
      'bye',
    ];
    const functions = await read(lines, reader);
    expect(functions.map(({ line, address, known }) => [line, address, known])).toEqual([
      [2, '00:00.0', 64],
      [10, '00:02.0', 256],
    ]);
    expect([reader.devices, reader.bad]).toEqual([3, 0]);
  });

  it('tells sizes of BARs in its Region lines, not in those of a capability', async () => {
    const [fn] = await read([
      '00:02.0 VGA',
      '\tRegion 0: Memory at a0000000 (64-bit, non-prefetchable) [size=16M]',
      '        Region 2: Memory at 90000000 (64-bit, prefetchable) [disabled] [size=1G]',
      '\tRegion 4: I/O ports at 3000 [size=64]',
      '\tRegion 5: Memory at <unassigned> (32-bit, non-prefetchable)',
      '\t[virtual] Expansion ROM at 000c0000 [disabled] [size=128K]',
      '\tCapabilities: [1f8 v1] Single Root I/O Virtualization (SR-IOV)',
      '\t\tRegion 0: Memory at 88408000 (64-bit, non-prefetchable) [size=4K]',
      '                Region 1: Memory at 88408000 (64-bit, non-prefetchable) [size=4K]',
      ...rows(4),
    ]);
    expect(fn?.regions.map(({ index, space, size }) => [index, space, size])).toEqual([
      [0, 'memory', 1 << 24],
      [2, 'memory', 2 ** 30],
      [4, 'io', 64],
      [5, 'memory', undefined],
      [6, 'memory', 128 << 10],
    ]);
  });

  it('may have gone through mail: quote marks, and lines broken in two', async () => {
    const whole = await read(['03:00.0 Ethernet controller: Mellanox [ConnectX-3 Pro]', ...rows(16)]);
    const broken = rows(16).flatMap((row) => [row.slice(0, 27), row.slice(28)]);
    const mail = ['03:00.0 Ethernet controller: Mellanox', '[ConnectX-3 Pro]', ...broken];
    for (const quote of ['', '> ', '>', '> > ', '>> ']) {
      const [fn] = await read(['Somebody wrote:', ...mail.map((line) => quote + line), '-- ', 'signature']);
      expect({ ...fn, line: 1 }).toEqual(whole[0]);
    }
  });

  it('is the same in any chunks', async () => {
    const lines = [
      '00:00.0 a',
      '\tRegion 0: I/O ports at 10 [size=4]',
      ...rows(4),
      '',
      '00:01.0 b',
      ...rows(16),
    ];
    const whole = await read(lines);
    const bytes = Buffer.from(`${lines.join('\r\n')}\r\n`);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length)), async (cuts) => {
        expect(await functionsOf(chunks(...cutAt(bytes, cuts)))).toEqual(whole);
      }),
    );
  });

  it('of any bytes reads and prints back', async () => {
    const size = fc.constantFrom(64, 256, 4096);
    await fc.assert(
      fc.asyncProperty(size, fc.infiniteStream(fc.nat(255)), async (length, stream) => {
        const bytes = Uint8Array.from({ length }, () => stream.next().value as number);
        const offsets = Array.from({ length: length / 16 }, (_, n) => 16 * n);
        const text = formatLspci({ bytes, offsets, offsetDigits: 2 });
        const [fn] = await read(['00:00.0 x', text]);
        expect(fn?.bytes).toEqual(bytes);
        expect(formatLspci(fn as LspciFunction)).toBe(text);
      }),
      { numRuns: 30 },
    );
  });
});

describe('a bad row', () => {
  const dump = (...third: string[]): string[] => ['00:00.0 x', ...rows(2), ...third, ...rows(4).slice(3)];

  it.each([
    ['20: zz 00', 'row: is not 16 bytes of two hexadecimal digits'],
    [`${rows(3)[2]} 00`, 'row: is not 16 bytes of two hexadecimal digits'],
    ['20:', 'row: is not 16 bytes of two hexadecimal digits'],
    [rows(3)[2]?.replace('20:', '21:') ?? '', 'row: offset 0x21 is not a multiple of 16'],
    [rows(2)[1] ?? '', 'row: offset 0x10 comes again'],
    ['20: 00 01 02', 'row: has fewer than 16 bytes'],
  ])('TRC-10 is reported with its line and does not stop the rest: %s', async (row, reason) => {
    const reader = new LspciReader();
    const [fn, next] = await read([...dump(row), '00:01.0 y', ...rows(4)], reader);
    expect([reader.bad, reader.firstBad]).toEqual([1, { line: 4, text: row, reason }]);
    expect(fn?.problems).toEqual([`line 4: ${reason}`]);
    expect([fn?.known, fn?.bytes[0x20], fn?.bytes[0x30], fn?.offsets]).toEqual([32, 0xff, 0x30, [0, 16, 48]]);
    expect([next?.address, next?.known, next?.problems]).toEqual(['00:01.0', 64, []]);
    await expect(read(dump(row), new LspciReader(true))).rejects.toMatchObject({
      name: 'ZtlpError',
      code: 'malformed',
      field: 'line 4',
    });
  });

  it('at the very end is reported too', async () => {
    const reader = new LspciReader();
    await read(['00:00.0 x', ...rows(4), '40: 00 01'], reader);
    expect(reader.firstBad).toMatchObject({ line: 6, reason: 'row: has fewer than 16 bytes' });
  });

  it('is no memory leak: texts and problems are limited', async () => {
    const reader = new LspciReader();
    const [fn] = await read(
      [`00:00.0 ${'x'.repeat(5000)}`, ...Array<string>(100).fill('00: zz'), ...rows(4)],
      reader,
    );
    expect([fn?.text.length, fn?.problems.length, reader.bad]).toEqual([200, 10, 100]);
  });

  it('does not come of any text', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('00:00.0 x', ...rows(4), '> ', '00: 0'))),
        async (lines) => {
          const reader = new LspciReader();
          for (const fn of await read(lines, reader)) {
            expect(fn.known % 16).toBe(0);
            expect(formatLspci(fn)).toBe(fn.rows.join('\n'));
          }
        },
      ),
    );
  });
});
