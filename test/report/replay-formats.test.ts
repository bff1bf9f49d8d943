// The replay of QEMU traces, zPCI instruction logs and device logs: their counts, their TLPs, and what they leave out.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ready } from '../../src/core/shared.js';
import { type ReplayOptions, type ReplaySummary, replayFile } from '../../src/report/replay.js';
import { formatReplay } from '../../src/report/replay-text.js';
import { PLAIN } from '../../src/report/style.js';

const vector = (name: string): string => fileURLToPath(new URL(`../vectors/${name}`, import.meta.url));
const QEMU = vector('traces/nvme-e1000e-linux61.qemu-trace.txt');
const ZPCI = vector('trace-linux-s390x-virtio-net.log');
const DEVICE = vector('trace-linux-x86_64-virtio-net.log');

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ztlp-'));
  await ready(await readFile(new URL('../../build/release.wasm', import.meta.url)));
});
afterAll(() => rm(dir, { recursive: true }));

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

/** Bytes of one TLP on the link: 8 of framing, sequence number and LCRC, header, data. */
const WIRE = { MRd: 20, MWr: 24, CfgRd0: 20, CfgWr0: 24, Cpl: 20, CplD: 24 } as const;

describe.each([
  ['QEMU trace', QEMU],
  ['zPCI log', ZPCI],
  ['device log', DEVICE],
])('the recorded %s', (_what, file) => {
  it('has the same totals by width, by BAR, by kind and by TLP', async () => {
    const summary = await replayFile(file, { strict: true });
    const { reads, writes, byWidth, byBar, byKind = [], tlps, tlpCount } = summary;
    for (const list of [byWidth, byBar, byKind]) {
      expect(sum<{ reads: number }>(list, (row) => row.reads)).toBe(reads);
      expect(sum<{ writes: number }>(list, (row) => row.writes)).toBe(writes);
    }
    expect(sum(byKind, (row) => row.tlps)).toBe(tlpCount);
    expect(sum(tlps, ({ count }) => count)).toBe(tlpCount);
    const wire = (up: boolean): number =>
      sum(
        tlps.filter(({ type }) => type.startsWith('Cpl') === up),
        // Every access of these traces is of at most one DW.
        ({ type, lengthDw, count }) => {
          expect(lengthDw).toBe(type === 'Cpl' ? 0 : 1);
          return count * WIRE[type as keyof typeof WIRE];
        },
      );
    expect([summary.wireBytesDown, summary.wireBytesUp]).toEqual([wire(false), wire(true)]);
    expect(summary).toMatchObject({ badLines: 0, otherLines: 0, lostEvents: 0, byPhase: [] });
  });
});

describe('a QEMU trace', () => {
  it('has the counts of the recorded run', async () => {
    const summary = await replayFile(QEMU);
    expect(summary).toMatchObject({
      format: 'qemu-trace',
      lines: 8116,
      accesses: 8116,
      reads: 2054 + 2485,
      writes: 3451 + 126,
      outsideBars: 0,
      guessedWidths: 2611,
    });
    expect(kinds(summary)).toEqual([
      'MRd/3/1: 2054',
      'MWr/3/1: 3451',
      'CfgRd0/3/1: 2485',
      'CfgWr0/3/1: 126',
      'Cpl/3/0: 126',
      'CplD/3/1: 4539',
    ]);
    expect(summary.byBar.map(({ device, bar, reads, writes }) => [device, bar, reads, writes])).toEqual([
      ['00:01.0 nvme', 'BAR0', 51, 762],
      ['00:01.0 nvme', 'config', 1228, 60],
      ['00:02.0 e1000e', 'BAR0', 1982, 2639],
      ['00:02.0 e1000e', 'BAR3', 21, 50],
      ['00:02.0 e1000e', 'config', 1257, 66],
    ]);
    expect(summary.byRegion?.map(({ region, reads, writes }) => [region, reads + writes])).toEqual([
      ['nvme', 617],
      ['msix-table', 267],
      ['e1000e-mmio', 4621],
    ]);
    expect(summary.byKind?.map(({ kind, reads, writes }) => [kind, reads, writes])).toEqual([
      ['config', 2485, 126],
      ['memory', 2054, 3451],
    ]);
  });

  const ops = (op: string, addr: number, size: number, name: string, value = 0): string =>
    `memory_region_ops_${op} cpu 0 mr 0x1 addr 0x${addr.toString(16)} value 0x${value.toString(16)} size ${size} name '${name}'`;

  it('knows BARs from mapping events, and I/O BARs become I/O requests', async () => {
    const summary = await replay([
      ops('write', 0xfebc0000, 4, 'early'),
      'pci_update_mappings_add x 00:03.0 1,0xfebc0000+0x1000',
      'pci_update_mappings_add x 00:03.0 0,0xc000+0x20',
      ops('write', 0xfebc0000, 4, 'x-mem'),
      ops('read', 0xc010, 2, 'x-io'),
      ops('write', 0xc01f, 1, 'x-io'),
      ops('read', 0x3f8, 1, 'serial'),
    ]);
    expect(summary.byBar.map(({ device, bar, reads, writes }) => [device, bar, reads, writes])).toEqual([
      ['00:03.0 x', 'BAR0', 1, 1],
      ['00:03.0 x', 'BAR1', 0, 1],
      ['region early', '-', 0, 1],
      ['region serial', '-', 1, 0],
    ]);
    expect(summary.outsideBars).toBe(2);
    expect(kinds(summary)).toEqual([
      'MRd/3/1: 1',
      'MWr/3/1: 2',
      'IORd/3/1: 1',
      'IOWr/3/1: 1',
      'Cpl/3/0: 1',
      'CplD/3/1: 2',
    ]);
  });

  it('counts an access once that two records tell, and one record of a configuration port apart', async () => {
    const summary = await replay([
      ops('write', 0xcf8, 4, 'pci-conf-idx', 0x80000800),
      'pci_cfg_read x 00:01.0 @0x0 -> 0x10001af4',
      ops('read', 0xcfc, 4, 'pci-conf-data', 0x10001af4),
      ops('write', 0xe0000000, 8, '0000:01:00.0 BAR 0', 5),
      'vfio_region_write  (0000:01:00.0:region0+0x0, 0x5, 8)',
    ]);
    expect(summary).toMatchObject({ accesses: 3, records: { vfio_region_write: 1 } });
    expect(summary.guessedWidths).toBeUndefined();
    expect(kinds(summary)).toEqual(['MWr/3/2: 1', 'CfgRd0/3/1: 1', 'CplD/3/1: 1']);
    expect(summary.byKind).toEqual([
      { kind: 'config', reads: 1, writes: 0, tlps: 2, wireBytesDown: 20, wireBytesUp: 24 },
      { kind: 'memory', reads: 0, writes: 1, tlps: 1, wireBytesDown: 28, wireBytesUp: 0 },
      { kind: 'platform', reads: 0, writes: 1, tlps: 0, wireBytesDown: 0, wireBytesUp: 0 },
    ]);
    expect(summary.byBar.map(({ device, bar }) => [device, bar])).toEqual([
      ['00:01.0 x', 'config'],
      ['0000:01:00.0', 'BAR0'],
      ['region pci-conf-idx', '-'],
    ]);
  });

  it('makes one request per dword of a configuration access', async () => {
    const read = 'pci_cfg_read x 00:01.0 @0x7 -> 0x1234'; // two bytes across a border
    expect(kinds(await replay([read]))).toEqual(['CfgRd0/3/1: 2', 'CplD/3/1: 2']);
  });

  it('counts bad lines and events that are no accesses; strict throws', async () => {
    const lines = ['pci_cfg_read x 00:01.0 @0x0 -> 0x1', 'pci_cfg_read x', 'apic_ack 1'];
    expect(await replay(lines)).toMatchObject({
      accesses: 1,
      badLines: 1,
      otherLines: 1,
      firstBad: { line: 2, text: 'pci_cfg_read x' },
    });
    await expect(replay(lines, { strict: true })).rejects.toMatchObject({
      message: expect.stringMatching(/log\.txt": line 2: device/),
    });
  });
});

describe('a zPCI instruction log', () => {
  it('has the counts of the recorded run', async () => {
    const summary = await replayFile(ZPCI);
    expect(summary).toMatchObject({
      format: 'zpci-log',
      lines: 1869,
      accesses: 532,
      reads: 251,
      writes: 281,
      instructions: [
        { instruction: 'PCILG', count: 251, refused: 0 },
        { instruction: 'PCISTG', count: 281, refused: 0 },
        { instruction: 'RPCIT', count: 607, refused: 0 },
        { instruction: 'MPCIFC', count: 4, refused: 0 },
        { instruction: 'CLP', count: 4, refused: 0 },
        { instruction: 'SIC', count: 156, refused: 0 },
      ],
      records: { 'config read': 201, 'config write': 24, 'device read': 52, 'device write': 289 },
    });
    expect(summary.byWidth).toEqual([
      { width: 1, reads: 62 + 18, writes: 1 + 7 },
      { width: 2, reads: 109 + 20, writes: 9 + 204 },
      { width: 4, reads: 28 + 2 + 12, writes: 14 + 24 + 22 },
    ]);
    expect(summary.byBar.map(({ device, bar, reads, writes }) => [device, bar, reads, writes])).toEqual([
      ['fh 80020000', 'BAR1', 12, 22],
      ['fh 80020000', 'BAR4', 40, 235],
      ['fh 80020000', 'config', 199, 24],
    ]);
    expect(kinds(summary)).toEqual([
      'MRd/3/1: 52',
      'MWr/3/1: 257',
      'CfgRd0/3/1: 199',
      'CfgWr0/3/1: 24',
      'Cpl/3/0: 24',
      'CplD/3/1: 251',
    ]);
  });

  it('makes no TLPs of what was refused', async () => {
    const summary = await replay([
      'PCISTG fh=80020000 as=4 len=8 off=0x8 data=0102030405060708 -> cc=0',
      'PCISTG fh=80020000 as=4 len=8 off=0x8 data=0102030405060708 -> cc=1 status=12',
      'PCILG fh=80020000 as=4 len=4 off=0x8 data=01020304 -> cc=3',
      'RPCIT fh=80020000 start=0x0 len=0x1000 -> cc=1 status=16',
      'SIC oc=1 isc=2 -> cc=3',
    ]);
    expect(summary).toMatchObject({ accesses: 1, writes: 1 });
    expect(kinds(summary)).toEqual(['MWr/3/2: 1']);
    expect(summary.instructions?.map(({ instruction, refused }) => [instruction, refused])).toEqual([
      ['PCILG', 1],
      ['PCISTG', 1],
      ['RPCIT', 1],
      ['MPCIFC', 0],
      ['CLP', 0],
      ['SIC', 0],
    ]);
  });
});

describe('a device log', () => {
  it('has the counts of the recorded run; registers of the IOMMU make no TLPs', async () => {
    const summary = await replayFile(DEVICE);
    expect(summary).toMatchObject({
      format: 'device-log',
      lines: 743,
      accesses: 743,
      records: { 'config read': 244, 'config write': 56, 'device read': 77, 'device write': 366 },
      outsideBars: 0,
      guessedWidths: 300,
    });
    expect(summary.byKind?.map(({ kind, reads, writes, tlps }) => [kind, reads, writes, tlps])).toEqual([
      ['config', 244, 56, 600],
      ['memory', 58, 264, 2 * 58 + 264],
      ['platform', 19, 102, 0],
    ]);
    expect(summary.byBar.map(({ device, bar, reads, writes }) => [device, bar, reads, writes])).toEqual([
      ['virtio-net-pci', 'BAR1', 18, 40],
      ['virtio-net-pci', 'BAR4', 40, 224],
      ['virtio-net-pci', 'config', 244, 56],
      ['region intel_iommu', '-', 19, 102],
    ]);
  });
});

describe('memory', () => {
  it('does not grow with the number of names in a trace', async () => {
    const lines = Array.from(
      { length: 12_000 },
      (_, i) => `device write region=r${i} addr=0x10 size=4 value=0x0`,
    );
    const summary = await replay(lines);
    expect(summary.byRegion).toHaveLength(10_001);
    expect(summary.byRegion?.at(-1)).toMatchObject({ region: '(other regions)', writes: 2000 });
    expect(summary.byBar).toHaveLength(10_001);
    expect(summary.byBar.at(-1)).toMatchObject({ device: 'outside every BAR', writes: 2000 });
  });
});

describe('the text', () => {
  it('names the format and shows kinds, regions, instructions and guesses', async () => {
    const qemu = formatReplay({ ...(await replayFile(QEMU)), file: 'trace.txt' }, PLAIN).split('\n');
    expect(qemu[0]).toBe(
      'trace.txt: QEMU trace, 8,116 lines: 4,539 reads and 3,577 writes become 12,781 TLPs',
    );
    expect(qemu).toContain('configuration space  2,485     126  5,222           52,724         62,160');
    expect(qemu).toContain('e1000e-mmio  1,982   2,639       7,928         10,556');
    expect(qemu).toContain('CfgRd0           3              1  2,485');
    expect(qemu.at(-1)).toContain('2,611 configuration accesses without a width');
    const zpci = formatReplay({ ...(await replayFile(ZPCI)), file: 'trace.txt' }, PLAIN);
    expect(zpci).toMatch(/^RPCIT +607 +0$/m);
    expect(zpci).toContain('zPCI instruction log');
    const device = formatReplay({ ...(await replayFile(DEVICE)), file: 'trace.txt' }, PLAIN);
    expect(device).toMatch(/^registers of the machine +19 +102 +0 +0 +0$/m);
  });
});
