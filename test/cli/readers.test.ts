/** The command on every kind of trace and dump: replay, replay through another path, agreement, and wrong calls. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, ztlp } from '../support/cli.js';

const MMIO = 'test/vectors/traces/nvme-e1000e-linux61.mmiotrace.txt';
const QEMU = 'test/vectors/traces/nvme-e1000e-linux61.qemu-trace.txt';
const ZPCI = 'test/vectors/trace-linux-s390x-virtio-net.log';
const DEVICE = 'test/vectors/trace-linux-x86_64-virtio-net.log';
const NVME = 'test/vectors/lspci/qemu72-nvme.txt';
const folder = mkdtempSync(join(tmpdir(), 'ztlp-readers-'));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function refuses(args: string[], code: number, pattern: RegExp): Promise<void> {
  const outcome = await ztlp(args);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
  expect(outcome.stderr).toMatch(pattern);
}

describe('ztlp replay', () => {
  it('recognises every trace by its content', async () => {
    const { code, stdout, stderr } = await ztlp(['replay', QEMU, ZPCI, DEVICE]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('QEMU trace, 8,116 lines: 4,539 reads and 3,577 writes become 12,781 TLPs');
    expect(stdout).toContain('zPCI instruction log, 1,869 lines: 251 reads and 281 writes become 807 TLPs');
    expect(stdout).toContain('device access log, 743 lines: 321 reads and 422 writes become 980 TLPs');
    expect(stdout).toMatch(/^RPCIT +607 +0$/m);
  });

  it('reads a QEMU trace from a pipe and prints JSON', async () => {
    const stdin = readFileSync(join(ROOT, QEMU), 'utf8');
    const { stdout } = await ztlp(['replay', '--json', '-', MMIO], { stdin });
    const { files } = JSON.parse(stdout);
    expect(files[0]).toMatchObject({ file: '-', format: 'qemu-trace', records: { pci_cfg_read: 2485 } });
    expect(files[1]).toMatchObject({ format: 'mmiotrace', accesses: 4902 });
    // What only other formats have is not there at all, so that scripts for mmiotrace see what they always saw.
    for (const name of ['byKind', 'byRegion', 'instructions', 'path'])
      expect(files[1]).not.toHaveProperty(name);
  });

  it('--path puts the same accesses through another path beside the recorded ones', async () => {
    const { code, stdout } = await ztlp(['replay', '--path', 'kvm-qemu-vfio-w4', '--merge', 'off', MMIO]);
    expect(code).toBe(0);
    expect(stdout).toContain('The same accesses through kvm-qemu-vfio-w4');
    expect(stdout).toMatch(/^exits +0 +4,902$/m);
    expect(stdout).toMatch(/^system calls +0 +4,902$/m);
    expect(stdout).toMatch(/^TLPs +6,911 +6,911$/m);
    expect(stdout).toContain('stores are not merged');
  });

  it('--path merges unless told not to, and counts what keeps its own path', async () => {
    const { stdout } = await ztlp(['replay', '--json', '--path', 'zpci-pcistb', MMIO]);
    expect(JSON.parse(stdout).files[0].path).toMatchObject({
      path: 'zpci-pcistb',
      merge: true,
      merged: { runs: 59, stores: 567, longest: { stores: 128, bytes: 512 } },
      kept: { 'no read': 2009 },
      recorded: { accesses: 4902, tlpCount: 6911 },
      through: { accesses: 4394, tlpCount: 6406 },
    });
  });

  it('counts a bad line of a QEMU trace and shows it; --strict makes it an error', async () => {
    const bad = file('bad.txt', 'pci_cfg_read x 00:01.0 @0x0 -> 0x1\npci_cfg_read x 00:01.0\nfoo\n');
    const { stdout } = await ztlp(['replay', bad]);
    expect(stdout).toMatch(/1 bad line left out, in line 2/);
    expect(stdout).toMatch(/1 line of other text skipped/);
    await refuses(['replay', '--strict', bad], 1, /line 2/);
  });

  it('refuses a dump: there is nothing to replay', async () => {
    await refuses(['replay', NVME], 1, /lspci dump, which has no accesses/);
  });

  it.each([
    [['replay', '--path', 'x86-uq', MMIO], /x86-uc/],
    [['replay', '--merge', 'maybe', '--path', 'x86-uc', MMIO], /on, off/],
    [['replay', '--merge', 'off', MMIO], /--merge is for --path/],
  ])('refuses %j as a wrong call', async (args, pattern) => {
    await refuses(args, 2, pattern);
  });
});

describe('ztlp conform', () => {
  it('agrees with every trace and dump', async () => {
    const files = [MMIO, QEMU, ZPCI, DEVICE, NVME, 'test/vectors/lspci/qemu72-e1000e.txt'];
    const { code, stdout } = await ztlp(['conform', '--json', ...files]);
    expect(code).toBe(0);
    const { files: reports } = JSON.parse(stdout);
    const all = (name: string, cases: number) => [{ name, cases, agree: cases, documented: 0, disagree: 0 }];
    expect(
      reports.map((report: { format: string; groups: unknown }) => [report.format, report.groups]),
    ).toEqual([
      ['mmiotrace', all('lines', 4923)],
      ['qemu-trace', all('lines', 8116)],
      ['zpci-log', all('lines', 1869)],
      ['device-log', all('lines', 743)],
      ['lspci', all('functions', 1)],
      ['lspci', all('functions', 1)],
    ]);
  });

  it('shows a line that does not come back as it was', async () => {
    const path = file(
      'zeros.txt',
      'pci_cfg_read x 00:01.0 @0x0 -> 0x1\npci_cfg_read x 00:01.0 @0x00 -> 0x1\n',
    );
    const { code, stdout } = await ztlp(['conform', path]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^lines +2 +1 +0 +1$/m);
    expect(stdout).toContain('lines#2');
  });

  it('names a dump whose capability chain is a loop', async () => {
    const text = readFileSync(join(ROOT, NVME), 'utf8').replace('\n40: 11 80', '\n40: 11 40');
    const { code, stdout } = await ztlp(['conform', file('loop.txt', text)]);
    expect(code).toBe(1);
    expect(stdout).toContain('pointer 0x40 at 0x41 leads back: the chain is a loop');
  });
});
