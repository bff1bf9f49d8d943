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
      linkLatencyNs: null,
      mmioServiceNs: null,
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

  it('shows the latencies that waiting loads are charged, and that stores are not charged any', async () => {
    const read = ['widths', '--op', 'read', '--path', 'x86-uc', '--option', 'mmioServiceNs=40'];
    const { stdout } = await ztlp(read);
    expect(stdout).toMatch(/^linkLatencyNs 75, mmioServiceNs 40$/m);
    expect(stdout).toContain('each load that waits adds 2 x linkLatencyNs + mmioServiceNs, 190 ns');
    expect(JSON.parse((await ztlp([...read, '--json'])).stdout).costs).toMatchObject({
      linkLatencyNs: 75,
      mmioServiceNs: 40,
    });
    const wait = 'synchronous stores (PCISTG, PCISTB, ENQCMD) are not charged their wait';
    const paths = ['widths', '--path', 'x86-movdir64b'];
    expect((await ztlp([...paths, '--path', 'x86-enqcmd'])).stdout).toContain(wait);
    expect((await ztlp(paths)).stdout).not.toContain('synchronous');
  });

  it('echoes a source address that acts', async () => {
    const args = ['widths', '--path', 'zpci-mio', '--source-address', '4'];
    expect((await ztlp(args)).stdout).toMatch(/, memory at 0x4\n/);
    expect(JSON.parse((await ztlp([...args, '--json'])).stdout).sourceAddress).toBe(4);
  });

  it.each([
    ['--size 8k', 'length 8192 above maxstbl 4096'],
    ['--offset 1 --option relaxed=false', 'offset 1 is not a multiple of 8'],
    ['--size 8 --option relaxed=false', 'length 8, not above 8'],
    ['--size 12 --option relaxed=false', 'length 12 is not a multiple of 8'],
    ['--size 64 --source-address 4 --option relaxed=false', 'source address 0x4 is not a multiple of 8'],
    ['--size 16 --offset 4088', 'bytes 0xff8 to 0x1007 cross a 4 KiB boundary'],
    ['--size 8k --option relaxedMaximum=page', 'length 8192 above a page of 4096'],
  ])('says by the numbers why a PCISTB with %s is refused', async (flags, rule) => {
    const { code, stdout } = await ztlp(['widths', '--path', 'zpci-pcistb', ...flags.split(' ')]);
    expect(code).toBe(1);
    expect(stdout).toContain(`zpci-pcistb: specification exception: ${rule}\n`);
  });

  it('gives ratios below 0.1 three digits, takes a link in any case, and has no total without a time', async () => {
    const read = await ztlp(['widths', '--op', 'read', '--path', 'arm64-memcpy-io', '--link', 'GEN3X8']);
    expect(read.stdout).toMatch(/gen3x8/);
    expect(read.stdout).toMatch(/^arm64-memcpy-io .* 0\.0187x$/m);
    const emulated = await ztlp(['widths', '--path', 'zpci-emulated']);
    expect(emulated.stdout).toMatch(/^zpci-emulated( +\d+){4}( +-){7}$/m);
  });

  it('drops what is given twice alike', async () => {
    const twice =
      'widths --json --path x86-uc --path x86-uc --mps 128 --option mps=128 --op write --op write';
    const { code, stdout } = await ztlp(twice.split(' '));
    expect(code).toBe(0);
    expect(JSON.parse(stdout).rows).toHaveLength(1);
  });

  it('names options that are not at their default', async () => {
    const { stdout } = await ztlp(['widths', '--mps', '128', '--option', 'chunking=old']);
    expect(stdout).toMatch(/options given: .*chunking=old/);
    expect(stdout).toMatch(/options given: .*mps=128/);
    expect(stdout).toMatch(/^zpci-pcistb +1 +0 +0 +1 +32 /m);
  });

  it.each([
    [['widths'], 100],
    [['widths', '--op', 'read', '--costs', 'example'], 100],
    [['widths', '--costs', 'example'], 100],
    [['widths', '--op', 'read'], 100],
  ])('%j fits 100 columns', async (args, width) => {
    const { stdout } = await ztlp(args);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(width);
  });

  it.each([60, 80])('folds its table to COLUMNS=%i and keeps every number', async (width) => {
    const whole = (await ztlp(['widths'])).stdout;
    const { stdout } = await ztlp(['widths'], { env: { COLUMNS: String(width) } });
    const lines = stdout.split('\n').filter((line) => /^[a-z0-9-]+ +[\d,.-]+/.test(line));
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
    for (const id of PATH_IDS) {
      const cells = lines
        .filter((line) => line.startsWith(`${id} `))
        .map((line) => line.split(/ +/).slice(1));
      const row = new RegExp(`^${id} +(.*)$`, 'm').exec(whole)?.[1];
      expect(cells.flat().join(' ')).toBe(row?.split(/ +/).join(' '));
    }
  });

  it.each(['', '0', '-5', 'wide'])('takes COLUMNS=%j for none', async (COLUMNS) => {
    const args = ['widths', '--path', 'x86-uc'];
    expect((await ztlp(args, { env: { COLUMNS } })).stdout).toBe((await ztlp(args)).stdout);
  });

  it('exits 1 when no path at all did the access, and with --strict when one faults', async () => {
    const one = ['widths', '--offset', '4', '--path', 'x86-movdir64b'];
    const fault = /^ztlp: no path did this write: x86-movdir64b: #GP [^\n]*\n$/;
    expect(await ztlp(one)).toMatchObject({ code: 1, stderr: expect.stringMatching(fault) });
    const two = [...one, '--path', 'x86-uc'];
    expect(await ztlp(two)).toMatchObject({ code: 0, stderr: '' });
    const strict = 'ztlp: 1 of 2 paths fault: x86-movdir64b\n';
    expect(await ztlp([...two, '--strict'])).toMatchObject({ code: 1, stderr: strict });
    expect(await ztlp([...two, '--strict', '--quiet'])).toEqual({ code: 1, stdout: '', stderr: strict });
    // What a path has no instruction for is no fault, but no answer either.
    expect(await ztlp(['widths', '--op', 'read', '--strict'])).toMatchObject({ code: 0 });
    expect(await ztlp(['widths', '--op', 'read', '--path', 'zpci-pcistb', '--json'])).toMatchObject({
      code: 1,
    });
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

  it('goes on behind a file that cannot be used, reports every one, and exits 1', async () => {
    const files = [join(folder, 'none.txt'), TRACE, folder, file('nothing.txt', ''), TRACE];
    const { code, stdout, stderr } = await ztlp(['replay', ...files]);
    expect(code).toBe(1);
    expect(stdout.match(/2,009 reads and 2,893 writes become 6,911 TLPs/g)).toHaveLength(2);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(/^ztlp: cannot read .*none\.txt/),
      expect.stringMatching(/^ztlp: cannot read .*directory/),
      expect.stringMatching(/^ztlp: .*nothing\.txt" is empty/),
    ]);
    const json = await ztlp(['replay', '--json', ...files]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout).files).toHaveLength(2);
  });

  it('refuses an option that the replay does not use, and takes one that --path uses', async () => {
    await refuses(
      ['replay', '--option', 'mps=128', TRACE],
      2,
      /mps: .*does not use.*allowed: ucSplitBoundary\n/,
    );
    await refuses(['replay', '--option', 'zpciMode=native', TRACE], 2, /zpciMode/);
    const through = ['replay', '--quiet', '--path', 'zpci-pcistb', '--option', 'mps=128', TRACE];
    expect(await ztlp(through)).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await ztlp(['replay', '--quiet', '--option', 'ucSplitBoundary=16', TRACE])).toMatchObject({
      code: 0,
    });
  });

  it('exits 1 when no access could take --path, and with --strict when one faults on it', async () => {
    const head = 'VERSION 20070824\n';
    const store = (address: string): string => `W 4 0.000001 1 ${address} 0x1 0x0 0\n`;
    const read = 'R 4 0.000001 1 0xfee00000 0x1 0x0 0\n';
    const stores = file('stores.txt', head + store('0xfee00000') + read);
    const through = ['replay', '--path', 'x86-movdir64b', stores];
    expect(await ztlp(through)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('2 accesses keep their own path'),
      stderr: expect.stringMatching(/^ztlp: .*stores\.txt": no access could take path x86-movdir64b\n$/),
    });
    const faults = ['replay', '--quiet', '--path', 'x86-movdir64b', TRACE];
    expect(await ztlp(faults)).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await ztlp([...faults, '--strict'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^ztlp: .*accesses fault on path x86-movdir64b\n$/),
    });
  });

  it('exits 1 when a trace has nothing but bad lines, 0 when it has no accesses', async () => {
    const head = 'VERSION 20070824\n';
    const bad = await ztlp(['replay', '--quiet', file('all-bad.txt', `${head}W 3 x\nR\n`)]);
    expect(bad).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^ztlp: .*all-bad\.txt": no access, and 2 bad lines\n$/),
    });
    expect(await ztlp(['replay', '--quiet', file('none-at-all.txt', head)])).toMatchObject({
      code: 0,
      stderr: '',
    });
  });

  it('prints nothing with --quiet but errors', async () => {
    expect(await ztlp(['replay', '--quiet', TRACE])).toEqual({ code: 0, stdout: '', stderr: '' });
    const { code, stdout, stderr } = await ztlp(['replay', '--quiet', TRACE, folder]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^ztlp: cannot read [^\n]*\n$/);
    expect(JSON.parse((await ztlp(['replay', '--quiet', '--json', TRACE])).stdout).files).toHaveLength(1);
  });

  it('shows a Windows path as it was typed', async () => {
    await refuses(['replay', 'C:\\logs\\new\\trace.txt'], 1, /"C:\\logs\\new\\trace\.txt"/);
  });

  it.each([
    ['a file that is not there', () => join(folder, 'none.txt'), /none\.txt/],
    ['a folder', () => folder, /./],
    ['an empty file', () => file('empty.txt', ''), /empty/],
    [
      'a binary file',
      () => file('binary', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 27])),
      /is binary.*not an mmiotrace/,
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

  it('reads standard input as "-"', async () => {
    const stdin = readFileSync(join(ROOT, VECTORS), 'utf8');
    const { code, stdout } = await ztlp(['conform', '-'], { stdin });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^standard input {2}\(access-path-vectors\/1\)\n/);
    expect((await ztlp(['conform', '--help'])).stdout).toContain('standard input');
  });

  it('has an example in its help that agrees', async () => {
    const help = (await ztlp(['conform', '--help'])).stdout;
    const [, example = ''] = /^ {2}\$ ztlp (conform test\S+)/m.exec(help) ?? [];
    expect(await ztlp([...example.split(' '), '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' });
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

describe('--quiet', () => {
  it('leaves conform with one line per file that disagrees', async () => {
    expect(await ztlp(['conform', '--quiet', VECTORS])).toEqual({ code: 0, stdout: '', stderr: '' });
    const json = JSON.parse(readFileSync(join(ROOT, VECTORS), 'utf8'));
    json.cases = json.cases.slice(0, 3);
    json.cases[1].tlps[0].fbe ^= 1;
    const path = file('one-wrong.json', JSON.stringify(json));
    expect(await ztlp(['conform', '--quiet', path, VECTORS])).toEqual({
      code: 1,
      stdout: '',
      stderr: `ztlp: "${path}": 1 of ${3 + json.memoryRegionOps.length} cases disagree\n`,
    });
  });

  it.each([
    ['widths', '--path', 'x86-uc'],
    ['regress', '--cases', '1'],
    ['encode', 'MRd'],
    ['decode', '00000001', '0000000f', '00000000'],
  ])('leaves %s with nothing to say', async (...args) => {
    expect(await ztlp([...args, '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(JSON.parse((await ztlp([...args, '--quiet', '--json'])).stdout)).toBeTruthy();
  });
});

describe('help', () => {
  const commands = [
    'widths',
    'replay',
    'regress',
    'zpci',
    'decode',
    'encode',
    'conform',
    'inspect',
    'check-device',
    'new-device',
  ];

  it('of a name that is no command is one line', async () => {
    await refuses(['help', 'nope'], 2, /unknown command 'nope'.*allowed: widths, bandwidth, replay/);
    await refuses(['help', 'widht'], 2, /did you mean widths\?/);
    await refuses(['help', 'widths', 'more'], 2, /too many arguments/);
  });

  it.each(commands)(
    'of %s is what --help prints, fits 80 columns, and tells the exit codes',
    async (name) => {
      const { code, stdout, stderr } = await ztlp(['help', name]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toBe((await ztlp([name, '--help'])).stdout);
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
      expect(stdout).toContain('Exit codes: 0 ');
    },
  );

  it('alone is the help of ztlp, as --help and no argument are', async () => {
    const { stdout } = await ztlp([]);
    for (const args of [['help'], ['--help']]) expect((await ztlp(args)).stdout).toBe(stdout);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    for (const name of [...commands, 'help']) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
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
    [['widths', '--option', 'msiWindowOverflow=linux'], /no effect in this version/],
    [['widths', '--option', 'vtdModel=qemu72'], /does not use this option/],
    [['widths', '--option', 'ldpStp=one'], /does not use.*chunking/],
    [['widths', '--path', 'x86-uc', '--option', 'chunking=old'], /does not use.*ucSplitBoundary/],
    [['widths', '--path', 'zpci-emulated', '--mps', '128'], /does not use/],
    [['regress', '--option', 'mps=128'], /unknown option/],
    [['widths', '--option', 'mps'], /Allowed: name=value\./],
    [['encode', 'MWr', 'adr=0x10'], /did you mean addr\?/],
    [['encode', 'MRdx'], /did you mean MRd\?/],
    [['widths', '--path', 'x86-movdir64'], /did you mean x86-movdir64b\?/],
    [['widths', '--path', 'x86-uq'], /'x86-uq' is invalid\. It is not an access path, did you mean x86-uc\?/],
    [['widths', '--option', 'beChek=on'], /beCheck is planned/],
    [['widths', '--option', 'beCheck=off'], /beCheck: is planned and has no effect/],
    [['widths', '--option', 'skp=off'], /does not use this option/],
    [['replay', '--link', 'gen3x8', 'trace.txt'], /--link is for --timed/],
    [['widths', '--option', 'xy=1'], /"xy" is not an option; allowed/],
    [['widths', '--size', '99999999999999999999'], /at most 1073741824/],
    [['widths', '--op', 'read', '--op', 'write'], /'write' is invalid\. It was given as read before/],
    [['widths', '--option', 'mps=128', '--mps', '256'], /mps: given as 128 and as 256/],
    [['widths', '--option', 'mps=128', '--option', 'mps=256'], /mps was given as 128 before/],
    [['widths', '--mrrs', '128'], /mrrs: this comparison of writes does not use/],
    [['widths', '--option', 'linkLatencyNs=1'], /does not use/],
    [['widths', '--op', 'read', '--option', 'writeSplit=greedy'], /comparison of reads does not use/],
    [
      ['widths', '--path', 'x86-uc', '--source-address', '4'],
      /no path of this comparison.*allowed: with these options zpci-/,
    ],
    [['regress', '--mps', '1024'], /choices are 128, 256, 512, 4096\.\n/],
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
