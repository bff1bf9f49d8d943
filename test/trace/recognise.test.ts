// Which format a text has, by its content; and that nothing of it is lost while that is found out.
import { describe, expect, it } from 'vitest';
import { openTrace, readLines } from '../../src/trace/lines.js';
import { recognise } from '../../src/trace/recognise.js';
import { QEMU_VECTOR, vector } from './collect.js';
import { chunks, VECTOR } from './input.js';

const of = async (...lines: string[]): Promise<string> =>
  (await recognise(readLines(chunks(lines.join('\n'))), '"x"')).format;

const ROW = `00: ${'00 '.repeat(15)}ff`;

describe('a text is', () => {
  it.each([
    [VECTOR, 'mmiotrace'],
    [QEMU_VECTOR, 'qemu-trace'],
    [vector('trace-linux-s390x-virtio-net.log'), 'zpci-log'],
    [vector('trace-linux-x86_64-virtio-net.log'), 'device-log'],
    [vector('lspci/qemu72-nvme.txt'), 'lspci'],
  ])('%s: %s, and all of its lines follow', async (file, format) => {
    const { stream, size } = await openTrace(file);
    const found = await recognise(readLines(stream), 'x');
    expect(found.format).toBe(format);
    let next = 1;
    let bytes = 0;
    for await (const batch of found.lines) {
      expect(batch.first).toBe(next);
      next += batch.lines.length;
      bytes = batch.bytes;
    }
    expect(bytes).toBe(size);
  });

  it.each([
    ['mmiotrace', ['', ' ', 'VERSION 20070824']],
    [
      'qemu-trace',
      [
        'QEMU 7.2 monitor',
        "1@2.000003:memory_region_ops_read cpu 0 mr 0x1 addr 0x0 value 0x0 size 4 name 'x'",
      ],
    ],
    [
      'qemu-trace',
      ['pci_nvme_mmio_write addr 0x14', 'pci_update_mappings_add nvme 00:01.0 0,0xfebc0000+0x4000'],
    ],
    ['qemu-trace', ['vfio_region_read  (0000:01:00.0:region0+0x10, 4) = 0x0']],
    [
      'zpci-log',
      ['  config read dev=x off=0x0 value=0x0', 'PCILG fh=80020000 as=15 len=1 off=0x0 data=00 -> cc=0'],
    ],
    ['zpci-log', ['RPCIT fh=80020000 start=0x0 len=0x1000 -> cc=0']],
    ['device-log', ['device write region=x addr=0x0 size=1 value=0x0']],
    ['lspci', ['00:02.0 PCI bridge', '\tControl: I/O+', ROW]],
    ['lspci', ['On Tuesday somebody wrote:', '> 0002:01:00.0 Ethernet', `> ${ROW}`]],
  ])('%s by its content', async (format, lines) => {
    expect(await of(...lines)).toBe(format);
  });

  it('known though much other text comes before', async () => {
    const noise = Array.from({ length: 20_000 }, (_, i) => `[${i}] some message of the kernel`);
    expect(await of(...noise, 'config read dev=x off=0x0 value=0x0')).toBe('device-log');
  });
});

describe('a text is refused', () => {
  it.each([
    ['malformed', '"x" is empty', []],
    ['malformed', '"x" is empty', [' ', '\t', '']],
    ['unsupported', '"x" is a log of another version of mmiotrace: "VERSION 2"', ['VERSION 2']],
    [
      'unsupported',
      '"x" is not an mmiotrace log nor another known trace or dump: it begins with "hello"',
      ['hello'],
    ],
    ['unsupported', 'it looks like an ftrace log', ['# tracer: nop']],
    [
      'unsupported',
      'it looks like an lspci dump without hexadecimal rows',
      ['00:02.0 PCI bridge', '\tControl:'],
    ],
    ['unsupported', 'it begins with "00: 00 00', [ROW]],
    ['unsupported', 'it looks like JSON', ['{}']],
  ])('with code %s: %s', async (code, message, lines) => {
    await expect(of(...lines)).rejects.toMatchObject({
      name: 'ZtlpError',
      code,
      message: expect.stringContaining(message),
    });
  });

  it('after a few megabytes, however long it is, and its source is closed', async () => {
    let closed = false;
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield '\n'.repeat(1 << 16);
      } finally {
        closed = true;
      }
    }
    await expect(recognise(readLines(endless()), '"x"')).rejects.toMatchObject({ code: 'malformed' });
    expect(closed).toBe(true);
  });

  it('by what its source throws', async () => {
    await expect(recognise(readLines(chunks(Uint8Array.of(0x1f, 0x8b, 8))), 'x')).rejects.toMatchObject({
      message: expect.stringContaining('gzip'),
    });
  });
});
