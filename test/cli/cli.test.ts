/** The command as people meet it: output, exit codes, pipes, wrong calls and unusable files. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PATH_IDS } from '../../src/path/table.js';
import { ROOT, runNode, ztlp } from '../support/cli.js';

const TRACE = 'test/vectors/traces/nvme-e1000e-linux61.mmiotrace.txt';
const VECTORS = 'test/vectors/access-paths.json';
const folder = mkdtempSync(join(tmpdir(), 'ztlp-cli-'));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A wrong call or unusable data: one line on stderr, nothing on stdout, never a stack trace. */
async function refuses(args: string[], code: number, pattern: RegExp, stdin?: string): Promise<void> {
  const outcome = await ztlp(args, stdin === undefined ? {} : { stdin });
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
  expect(outcome.stderr).toMatch(pattern);
}

describe('ztlp widths', () => {
  it('prints one row per access path and says what the columns mean', async () => {
    const { code, stdout, stderr } = await ztlp(['widths']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const id of PATH_IDS) expect(stdout).toMatch(new RegExp(`^${id} +`, 'm'));
    expect(stdout).toMatch(/^zpci-pcistb +1 +0 +0 +1 +16 +4,096 +4,480 +568\.8 +91\.4 +568\.8 +0\.16x$/m);
    expect(stdout).toMatch(/^x86-memcpy-toio .* 1,024 +4,096 +28,672 +3,640\.0 .* 1\.00x$/m);
    expect(stdout).toContain('try --costs example');
  });

  it('gives the same as JSON, with every key in every row', async () => {
    const { code, stdout } = await ztlp(['widths', '--json', '--costs', 'example']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.costs).toEqual({
      preset: 'example',
      instructionNs: 100,
      exitNs: 2000,
      syscallNs: 300,
      hostOpNs: 100,
    });
    expect(report.rows.map((row: { path: string }) => row.path)).toEqual([...PATH_IDS]);
    const keys = Object.keys(report.rows[0]);
    for (const row of report.rows) expect(Object.keys(row)).toEqual(keys);
    const row = report.rows.find((entry: { path: string }) => entry.path === 'zpci-emulated');
    expect(row).toMatchObject({ tlps: null, wireBytes: null, exits: 32, deviceCalls: 512 });
  });

  it('prints the fault of a path that the hardware refuses, and n/a for a direction it lacks', async () => {
    const write = await ztlp(['widths', '--offset', '4', '--path', 'x86-movdir64b']);
    expect(write.stdout).toContain('x86-movdir64b: #GP (destination not 64-byte aligned)');
    const read = await ztlp(['widths', '--op', 'read', '--path', 'zpci-pcistb']);
    expect(read.stdout).toMatch(/^zpci-pcistb +n\/a/m);
  });

  it('names options that are not at their default', async () => {
    const { stdout } = await ztlp(['widths', '--mps', '128', '--option', 'chunking=old']);
    expect(stdout).toMatch(/options given: .*chunking=old/);
    expect(stdout).toMatch(/options given: .*mps=128/);
    expect(stdout).toMatch(/^zpci-pcistb +1 +0 +0 +1 +32 /m);
  });

  it('prints the bare table with --quiet', async () => {
    const { stdout } = await ztlp(['widths', '--quiet', '--path', 'x86-uc']);
    expect(stdout.trim().split('\n')).toHaveLength(3);
  });

  it.each([
    ['--size 4k', 4096],
    ['--size 0x1000', 4096],
    ['--size 1M', 1048576],
    ['--size 2KiB', 2048],
  ])('reads %s as %i bytes', async (flag, size) => {
    const { stdout } = await ztlp(['widths', '--json', '--path', 'x86-uc', ...flag.split(' ')]);
    expect(JSON.parse(stdout).size).toBe(size);
  });
});

describe('ztlp replay', () => {
  it('replays the bundled trace', async () => {
    const { code, stdout, stderr } = await ztlp(['replay', TRACE]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('2,009 reads and 2,893 writes become 6,911 TLPs');
  });

  it('reads standard input, several files, and prints JSON', async () => {
    const text = readFileSync(join(ROOT, TRACE), 'utf8');
    const { code, stdout } = await ztlp(['replay', '--json', '-', TRACE], { stdin: text });
    expect(code).toBe(0);
    const { files } = JSON.parse(stdout);
    expect(files).toHaveLength(2);
    expect(files[0].tlps).toEqual(files[1].tlps);
    expect(files[0]).toMatchObject({ reads: 2009, writes: 2893, badLines: 0 });
  });

  it('counts bad lines and shows the first with its number; --strict makes it an error', async () => {
    const bad = file(
      'bad.txt',
      'VERSION 20070824\nW 4 0.000001 1 0xfee00000 0x1 0x0 0\nW 3 x\nnonsense here\n',
    );
    const { code, stdout } = await ztlp(['replay', bad]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/1 bad line/);
    expect(stdout).toMatch(/line 3/);
    await refuses(['replay', '--strict', bad], 1, /line 3/);
  });

  it.each([
    ['a file that is not there', () => join(folder, 'none.txt'), /none\.txt/],
    ['a folder', () => folder, /./],
    ['an empty file', () => file('empty.txt', ''), /empty/],
    [
      'a binary file',
      () => file('binary', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 27])),
      /not an mmiotrace/,
    ],
    [
      'a compressed file',
      () => file('trace.gz', new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0])),
      /zcat|compressed/,
    ],
  ])('refuses %s in one line', async (_what, path, pattern) => {
    await refuses(['replay', path()], 1, pattern);
  });
});

describe('ztlp conform', () => {
  it('prints agreement per group and exits 0 when all agree', async () => {
    const { code, stdout } = await ztlp(['conform', VECTORS]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cases +1,057 +1,057 +0 +0$/m);
  });

  it('gives the agreed JSON shape', async () => {
    const { stdout } = await ztlp(['conform', '--json', VECTORS]);
    expect(JSON.parse(stdout)).toEqual({
      files: [
        {
          file: VECTORS,
          format: 'access-path-vectors/1',
          groups: [
            { name: 'cases', cases: 1057, agree: 1057, documented: 0, disagree: 0 },
            { name: 'memoryRegionOps', cases: 112, agree: 112, documented: 0, disagree: 0 },
          ],
          disagreements: [],
          deviations: [],
        },
      ],
    });
  });

  it('lists a case that disagrees, exits 1, and still runs the other files', async () => {
    const json = JSON.parse(readFileSync(join(ROOT, VECTORS), 'utf8'));
    json.cases = json.cases.slice(0, 3);
    json.memoryRegionOps = [];
    json.cases[1].tlps[0].fbe ^= 1;
    const path = file('wrong.json', JSON.stringify(json));
    const { code, stdout, stderr } = await ztlp([
      'conform',
      path,
      file('what.json', '{"format":"x/9"}'),
      VECTORS,
    ]);
    expect(code).toBe(1);
    expect(stdout).toContain(json.cases[1].id);
    expect(stdout).toMatch(/^cases +1,057 +1,057 +0 +0$/m);
    expect(stderr).toMatch(/^ztlp: [^\n]*what\.json[^\n]*\n$/);
  });
});

describe('every command', () => {
  it.each([
    [['widhts'], /Did you mean widths\?/],
    [['widths', '--pth', 'x'], /Did you mean --path\?/],
    [['widths', '--mps', '100'], /128, 256, 512, 1024, 2048, 4096/],
    [['widths', '--size', '0'], /size/],
    [['widths', '--size', 'many'], /4096, 0x1000/],
    [['widths', '--link', 'gen9x8'], /gen1 to gen5/],
    [['widths', '--path', 'x86-uq'], /x86-uc/],
    [['widths', '--option', 'chunkng=old'], /did you mean chunking/i],
    [['widths', '--option', 'chunking=middle'], /old/],
    [['widths', '--option', 'vtdModel=qemu72'], /no effect in this version/],
    [['widths', 'extra'], /too many arguments/],
    [['replay'], /missing required argument 'file'/],
    [['conform'], /missing required argument 'file'/],
    [['conform', '--most', 'all', 'x.json'], /most/],
  ])('refuses %j as a wrong call: one line, exit 2', async (args, pattern) => {
    await refuses(args, 2, pattern);
  });

  it.each(['widths', 'replay', 'conform'])('%s --help explains itself with examples', async (command) => {
    const { code, stdout, stderr } = await ztlp([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const word of ['Examples:', '--json', '--quiet']) expect(stdout).toContain(word);
  });

  it('prints help and exit codes when called with nothing', async () => {
    const { code, stdout } = await ztlp([]);
    expect(code).toBe(0);
    expect(stdout).toContain('Exit codes:');
  });

  it('writes no colour codes into a pipe', async () => {
    for (const args of [['widths'], ['replay', TRACE], ['conform', VECTORS]]) {
      expect((await ztlp(args)).stdout).not.toContain('\u001b');
    }
  });

  it('ends silently with 0 when the reader of its output goes away', async () => {
    for (const args of [
      ['widths', '--json'],
      ['replay', '--json', ...new Array<string>(20).fill(TRACE)],
    ]) {
      const { code, stderr } = await ztlp(args, { closeAfter: 1 });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
  });

  it('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect((await ztlp(['--version'])).stdout.trim()).toBe(version);
  });
});

describe('the examples', () => {
  it('pcistb-against-split prints what the README says', async () => {
    const { code, stdout } = await runNode(join(ROOT, 'dist/examples/pcistb-against-split.js'), []);
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toEqual([
      'one PCISTB: cc 0 and 16 TLPs, 4480 wire bytes',
      '4-byte split: 1024 TLPs, 28672 wire bytes',
    ]);
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    for (const line of lines) expect(readme).toContain(line);
  });
});
