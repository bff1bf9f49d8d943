/** How files are recognised, what is not built yet is counted, and what is none of ours is refused in one line. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, test } from 'vitest';
import { conformFile, conformVectors, type FileReport, hasDisagreement } from '../../src/conform/index.js';
import { formatConform } from '../../src/conform/text.js';
import { PLAIN } from '../../src/report/style.js';
import { errorOf, useCore, vectorPath, withFile } from './support.js';

beforeAll(() => useCore('release'));

const lines = (...text: string[]): string => `${text.join('\n')}\n`;

const run = (content: string | Uint8Array): Promise<FileReport> => withFile(content, conformFile);

function unsupported(cases: number): FileReport['groups'] {
  return [{ name: 'unsupported', cases, agree: 0, documented: 0, disagree: cases }];
}

const RECORDS = [
  'VERSION 20070824',
  'PCIDEV 0008 1b360010 a febc0004 0 0 0 0 0 0 4000 0 0 0 0 0 0 nvme',
  'MAP 2.000000 1 0xfebc0000 0xff79ff86c05a6000 0x2000 0x0 0',
  'R 4 2.000001 1 0xfebc001c 0x1 0x0 0',
];

describe('mmiotrace', () => {
  it('judges line by line and names lines by their number', async () => {
    const report = await run(
      lines(
        ...RECORDS,
        '',
        'cat: something else',
        'R 3 2.000001 1 0xfebc001c 0x1 0x0 0',
        'R 4 2.000001 1 0xfebc001c 0x01 0x0 0',
        'W 1 2.000002 1 0xfebc001c 0x1ff 0x0 0',
        'VERSION 19990101',
        'UNMAP 2.000004 1 0x0 0',
      ),
    );
    expect(report.format).toBe('mmiotrace');
    expect(report.groups).toEqual([{ name: 'lines', cases: 10, agree: 5, documented: 0, disagree: 5 }]);
    expect(report.disagreements.map(({ id }) => id)).toEqual([
      'lines#6',
      'lines#7',
      'lines#8',
      'lines#9',
      'lines#10',
    ]);
    expect(report.disagreements[2]).toEqual({
      id: 'lines#8',
      group: 'lines',
      expected: { line: 'R 4 2.000001 1 0xfebc001c 0x01 0x0 0' },
      actual: { line: 'R 4 2.000001 1 0xfebc001c 0x1 0x0 0' },
    });
    expect(report.disagreements[1]?.actual).toContain('width');
  });

  it('takes other line ends, a byte order mark and blank lines before the first', async () => {
    const report = await run(`\ufeff\r\n \r\n${RECORDS.join('\r\n')}`);
    expect(report.groups[0]).toMatchObject({ cases: 4, agree: 4 });
  });

  it('finds a line that is too long', async () => {
    const report = await run(lines(...RECORDS, `MARK 1.000000 ${'x'.repeat(100_000)}`));
    expect(report.disagreements).toMatchObject([{ id: 'lines#5', actual: 'line: is too long' }]);
  });

  it('shows of a long line the part behind the first difference', async () => {
    const pcidev = `PCIDEV 0008 1b360010 a febc0004 0 0 0 0 0 0 4000 0 0 0 0 0 0 ${'driver'.repeat(20)}`;
    const report = await run(lines('VERSION 20070824', pcidev.replace('1b36', '1B36')));
    const [found] = report.disagreements;
    expect(Object.keys(found?.expected as object)).toEqual(['line from character 12']);
    expect(Object.values(found?.expected as object)[0]).toMatch(/^\.{3}1B360010 a febc.{40,60}\.{3}$/);
    expect(Object.values(found?.actual as object)[0]).toMatch(/^\.{3}1b360010 a febc/);
  });

  it('refuses another version', async () => {
    const { code, message } = await errorOf(() => run(lines('VERSION 20990101', ...RECORDS.slice(1))));
    expect(code).toBe('unsupported');
    expect(message).toMatch(/input" is a log of another version.*VERSION 20070824/);
  });
});

type Text = readonly [
  what: string,
  format: string,
  agree: number,
  disagree: readonly string[],
  content: string,
];

describe('traces and dumps', () => {
  const row = (offset: string): string => `${offset}: ${'00 '.repeat(15)}ff`;
  /** A header without capabilities that no rule is broken in. */
  const header = [
    '00: 86 80 00 12 00 00 00 00 00 00 80 06 00 00 00 00',
    ...['10', '20', '30'].map((offset) => `${offset}: ${'00 '.repeat(15)}00`),
  ];

  const texts: readonly Text[] = [
    [
      'a QEMU trace',
      'qemu-trace',
      3,
      [],
      lines(
        'pci_cfg_read nvme 00:01.0 @0x0 -> 0x1b36',
        "memory_region_ops_write cpu 0 mr 0x55 addr 0xfebc0014 value 0x0 size 4 name 'nvme'",
        'msix_write_config dev nvme enabled 1 masked 0',
      ),
    ],
    [
      'a QEMU trace with time stamps',
      'qemu-trace',
      1,
      [],
      lines("123@1700000000.123456:memory_region_ops_read cpu 0 mr 0x1 addr 0x0 value 0x0 size 4 name 'x'"),
    ],
    [
      'a QEMU trace with other events and lines that are spelled otherwise',
      'qemu-trace',
      1,
      ['lines#2', 'lines#3', 'lines#5', 'lines#6'],
      lines(
        'pci_cfg_read nvme 00:01.0 @0x0 -> 0x1b36',
        'pci_nvme_mmio_write addr 0x14 data 0x0 size 4',
        'pci_cfg_read nvme 0:1.0 @0x0 -> 0x1b36',
        '',
        'pci_cfg_read nvme 00:01.0 @0x0 -> 0x001b36',
        'pci_cfg_read nvme 00:01.0',
      ),
    ],
    [
      'a zPCI log',
      'zpci-log',
      4,
      [],
      lines(
        '  config read dev=virtio-net-pci off=0x9a value=0x3',
        'SIC oc=1 isc=2 -> cc=3',
        'PCILG fh=80020000 as=15 len=4 off=0x0 data=f41a4110 -> cc=0',
        '  device write region=virtio-pci-common addr=0x14 size=1 value=0x0',
      ),
    ],
    [
      'a zPCI log of stores',
      'zpci-log',
      2,
      ['lines#3'],
      lines(
        'PCISTG fh=80020000 as=4 len=2 off=0x3000 data=0100 -> cc=0',
        'PCISTG fh=80020000 as=4 len=2 off=0x3000 data=0100 -> cc=1 status=12',
        'PCISTG fh=80020000 as=4 len=2 off=0x3000 data=01 -> cc=0',
      ),
    ],
    [
      'a device log',
      'device-log',
      2,
      ['lines#3'],
      lines(
        'config read dev=virtio-net-pci off=0x0 value=0x1af4',
        'device write region=intel_iommu addr=0xfed90018 size=4 value=0x1',
        'device write region=intel_iommu addr=0xfed90018 size=3 value=0x1',
      ),
    ],
    [
      'an lspci dump',
      'lspci',
      2,
      [],
      lines(
        '00:02.0 PCI bridge: Intel Corporation (rev 02)',
        '\tControl: I/O+ Mem+',
        ...header,
        '',
        '00:03.0 without rows',
        '',
        '0002:01:00.1 Ethernet controller',
        ...header,
        row('40'),
      ),
    ],
    [
      'a dump of functions that are wrong',
      'lspci',
      1,
      ['functions#1', 'functions#10', 'functions#15'],
      lines(
        '00:00.0 fewer than 64 bytes',
        ...header.slice(0, 3),
        '00:01.0 good',
        ...header,
        '00:02.0 a row that is none',
        ...header.slice(0, 2),
        '20: zz',
        ...header.slice(3),
        '00:03.0 a chain that leads below 0x40',
        '00: 86 80 00 12 00 00 10 00 00 00 80 06 00 00 00 00',
        ...header.slice(1, 3),
        '30: 00 00 00 00 10 00 00 00 00 00 00 00 00 00 00 00',
      ),
    ],
    [
      'an lspci dump from a mail',
      'lspci',
      1,
      [],
      lines('> 01:00.0 Ethernet', ...header.map((text) => `> ${text.slice(0, 30)}\n> ${text.slice(31)}`)),
    ],
  ];

  test.each(texts)('%s', async (_what, format, agree, wrong, content) => {
    const report = await run(content);
    const cases = agree + wrong.length;
    const name = format === 'lspci' ? 'functions' : 'lines';
    expect(report).toMatchObject({ format, deviations: [] });
    expect(report.disagreements.map(({ id }) => id)).toEqual(wrong);
    expect(report.groups).toEqual([{ name, cases, agree, documented: 0, disagree: wrong.length }]);
    expect(hasDisagreement(report)).toBe(wrong.length > 0);
  });
});

describe('JSON formats that are recognised but not built', () => {
  const transitions = (count: number) => ({ name: 'x', transitions: Array(count).fill({ from: 'STOP' }) });
  const formats: [string, number, object][] = [
    [
      'vfio-migration-vectors/1',
      7,
      { notes: ['a', 'b'], capSets: [transitions(4), transitions(3)], sources: ['s'] },
    ],
    ['vfio-migration-vectors/1', 2, { capSets: [transitions(2)] }],
  ];

  test.each(formats)('%s with %i cases', (format, cases, content) => {
    const report = conformVectors('file.json', { format, ...content });
    const { unsupported: parts = [], ...counts } = report;
    expect(parts.reduce((sum, part) => sum + part.cases, 0)).toBe(cases);
    expect(parts.length).toBeGreaterThan(0);
    expect(counts).toEqual({
      file: 'file.json',
      format,
      groups: unsupported(cases),
      disagreements: [],
      deviations: [],
    });
  });
});

test('the parts that are not built are named with their cases', () => {
  const json = { format: 'tlp-vectors/1', crc: [], others: [{}], messages: [{}, {}] };
  const report = conformVectors('file.json', json);
  expect(report.unsupported).toEqual([
    { name: 'others', cases: 1 },
    { name: 'messages', cases: 2 },
  ]);
  expect(formatConform({ files: [report] }, PLAIN, { most: 10 })).toMatch(
    /^unsupported: others 1, messages 2: not built in this version; not run, counted as disagreeing$/m,
  );
});

describe('what is refused', () => {
  const contents: [string, unknown, string, RegExp][] = [
    ['null', null, 'malformed', /it holds null/],
    ['a list', [], 'malformed', /it holds a list/],
    ['a number', 5, 'malformed', /it holds a number/],
    ['no format', { cases: [] }, 'malformed', /no field "format"/],
    ['a format that is no text', { format: 1 }, 'malformed', /holds a number/],
    [
      'an unknown format',
      { format: 'tlp-vectors/2' },
      'unsupported',
      /"tlp-vectors\/2" is not known.*tlp-vectors\/1/,
    ],
    ['the format __proto__', { format: '__proto__' }, 'unsupported', /is not known/],
    ['no group', { format: 'tlp-vectors/1' }, 'malformed', /no group of cases.*byteRange/],
    [
      'a group that is an object',
      { format: 'tlp-vectors/1', tlp: {} },
      'malformed',
      /tlp: an object is not valid/,
    ],
    ['a group that is null', { format: 'tlp-vectors/1', tlp: [], dllp: null }, 'malformed', /dllp: null/],
    ['cases that are text', { format: 'access-path-vectors/1', cases: 'x' }, 'malformed', /cases: "x"/],
    ['no capability sets', { format: 'vfio-migration-vectors/1' }, 'malformed', /capSets/],
    [
      'a capability set of null',
      { format: 'vfio-migration-vectors/1', capSets: [null] },
      'malformed',
      /capSets\[0\]/,
    ],
    ['no transitions', { format: 'vfio-migration-vectors/1', capSets: [{}] }, 'malformed', /transitions/],
  ];

  test.each(contents)('JSON: %s', async (_what, json, code, message) => {
    const error = await errorOf(() => conformVectors('some/file.json', json));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('"some/file.json"');
    expect(error.message).not.toContain('\n');
  });

  const broken: [string, string, RegExp][] = [
    [
      'an end too early',
      '{"format": "tlp-vectors/1",\n "tlp": [1, 2',
      /line 2, column 14: the text ends too early/,
    ],
    ['a comma too many', '{"a": [1, 2,]}', /line 1, column 13: "\]" is not expected/],
    ['a comma at the end of an object', '{"a": 1,\n}', /line 2, column 1: "}"/],
    ['a bare word', '{"a": yes}', /line 1, column 7: "y"/],
    ['a word that goes on', '{"a": nullable}', /line 1, column 11: "a"/],
    ['a name without quotes', '\n\n{a: 1}', /line 3, column 2: "a"/],
    ['no colon', '{"a" 1}', /line 1, column 6: "1"/],
    ['a string over a line end', '{"a": "b\n"}', /line 1, column 9/],
    ['a wrong escape', '{"a": "\\x41"}', /line 1, column 8/],
    ['a string without end', '{"a": "b', /line 1, column 9: the text ends too early/],
    ['a number like 01', '{"a": 01}', /line 1, column 8: "1"/],
    ['single quotes', "{'a': 1}", /line 1, column 2: "'"/],
    ['text behind the end', '{"a": {}} x', /line 1, column 11: "x"/],
    ['a wrong closer', '[1}', /line 1, column 3: "}"/],
    ['two values', '[1 2]', /line 1, column 4: "2"/],
    ['an end that opens nothing', '[]]', /line 1, column 3: "\]"/],
    [
      'a value after all kinds of good ones',
      '{"a":[-1.5e+3,true,false,null,"\\u00e9\\n",{},[]],"b":?}',
      /column 53: "\?"/,
    ],
  ];

  test.each(broken)('broken JSON: %s', async (_what, content, place) => {
    const error = await errorOf(() => run(content));
    expect(error.code).toBe('malformed');
    expect(error.message).toMatch(/input" is not JSON: line/);
    expect(error.message).toMatch(place);
    expect(error.message).not.toContain('\n');
  });

  it('JSON of great depth or length', async () => {
    const deep = await errorOf(() => run('['.repeat(200_000)));
    expect(deep.message).toContain('column 200001: the text ends too early');
    const nested = `${'['.repeat(5000)}${']'.repeat(5000)}`;
    const report = await run(
      `{"format": "access-path-vectors/1", "cases": [{"tlps": ${nested}, "path": ${nested}}]}`,
    );
    expect(report.groups[0]).toMatchObject({ cases: 1, disagree: 1 });
    expect(JSON.stringify(report).length).toBeLessThan(1000);
  });

  const texts: [string, string | Uint8Array, string, RegExp][] = [
    ['an empty file', '', 'malformed', /input" is empty/],
    ['only white space', ' \n\t\r\n\n', 'malformed', /input" is empty/],
    ['only a byte order mark', '\ufeff', 'malformed', /input" is empty/],
    [
      'prose that speaks of formats',
      lines('Lines of `PCILG fh=` and memory_region_ops_read'),
      'unsupported',
      /not an mmiotrace log nor another known/,
    ],
    [
      'hexadecimal rows without a device',
      `00: ${'00 '.repeat(16)}`,
      'unsupported',
      /not an mmiotrace log nor another known/,
    ],
    ['a device without rows', '00:02.0 PCI bridge', 'unsupported', /an lspci dump without hexadecimal rows/],
    [
      'binary',
      Uint8Array.of(0, 255, 254, 10, 0, 128),
      'unsupported',
      /not an mmiotrace log nor another known/,
    ],
    ['a compressed file', gzipSync('{}'), 'malformed', /gzip/],
  ];

  test.each(texts)('%s', async (_what, content, code, message) => {
    const error = await errorOf(() => run(content));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
  });

  it('files that cannot be read', async () => {
    const missing = await errorOf(() => conformFile(vectorPath('no-such-file.json')));
    expect(missing.code).toBe('not-found');
    const directory = await errorOf(() => conformFile(vectorPath('traces')));
    expect(directory.code).toBe('io');
    const below = await errorOf(() => conformFile(join(vectorPath('README.md'), 'x')));
    expect(below.code).toBe('not-found');
  });
});

test('JSON is recognised behind a byte order mark and white space', async () => {
  const report = await run(`\ufeff \n\t{"format": "vfio-migration-vectors/1", "capSets": []}`);
  expect(report.groups).toEqual(unsupported(0));
});

test('a whole file is refused for its shape before any case of it runs', async () => {
  const good = { offset: '0x0', size: 1 };
  const error = await errorOf(() =>
    conformVectors('x.json', { format: 'access-path-vectors/1', cases: [good], memoryRegionOps: 1 }),
  );
  expect(error.message).toContain('memoryRegionOps');
});
