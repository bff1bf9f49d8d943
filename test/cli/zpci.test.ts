/** `ztlp zpci` as people, pipes and scripts use it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERBS } from '../../src/report/zpci-verb-list.js';
import { type Outcome, ztlp } from '../support/cli.js';

const STORE = 'PCISTB fh=dev as=0 len=64 off=0';
const MISSED = `# a comment\n${STORE} -> cc=0\n${STORE} -> cc=1\nshow 99M 4\n`;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ztlp-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function script(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, text);
  return path;
}

const piped = (stdin: string, ...flags: string[]): Promise<Outcome> =>
  ztlp(['zpci', '-', ...flags], { stdin });

describe('ztlp zpci', () => {
  it('runs the example: each line with its answer, a total, exit code 0', async () => {
    const { code, stdout, stderr } = await ztlp(['zpci', 'examples/pcistb.zpci']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      'PCISTB fh=nic as=0 len=11 off=0x100 -> specification tlps=0\n  specification exception: length 11',
    );
    expect(stdout).toContain('\n  down MWr64: 0x10000000100 to 0x1000000017f, 128 bytes, from 00:00.0\n');
    expect(stdout).toContain('\n  nic: enabled -> error\n');
    expect(stdout).toMatch(
      /\n\n {2}total: 13 instructions, 12 TLPs, 424 wire bytes; expectations: 34 met, 0 missed\n$/,
    );
  });

  it('prints what it can read again, with the same answers', async () => {
    const first = await ztlp(['zpci', 'examples/pcistb.zpci']);
    const second = await piped(first.stdout);
    expect(second.code).toBe(0);
    expect(second.stdout.replace(/\d+ met/, '')).toBe(first.stdout.replace(/\d+ met/, ''));
  });

  it.each([[['zpci']], [['zpci', '-']]])('reads standard input: %j', async (args) => {
    const { code, stdout, stderr } = await ztlp(args, { stdin: STORE });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      `${STORE} -> cc=0\n  8 device calls of the emulator, no TLP\n\n  total: 1 instruction, 0 TLPs, 0 wire bytes, 8 device calls; nothing expected\n`,
    );
  });

  it('says of an empty script that there is nothing in it', async () => {
    for (const stdin of ['', '# only words\n\n']) {
      const { code, stdout, stderr } = await piped(stdin);
      expect(code).toBe(0);
      expect(stdout).toMatch(/total: 0 instructions/);
      expect(stderr).toBe('ztlp: standard input: no instruction in it\n');
    }
  });

  it('exits with 1 for a missed expectation or a line that could not be run, and runs the others', async () => {
    const { code, stdout, stderr } = await piped(`${MISSED}${STORE}\n`);
    expect(code).toBe(1);
    expect(stdout).toContain(`${STORE} -> cc=0\n  missed: expected cc=1, got cc=0\n`);
    expect(stdout).toContain('  not run: address: ');
    expect(stdout.match(/8 device calls of/g)).toHaveLength(3);
    expect(stderr).toBe(
      'ztlp: standard input: 1 of 2 expectations missed, 1 line could not be run: lines 3, 4\n',
    );
  });

  it('with --quiet prints the missed lines only', async () => {
    const { code, stdout, stderr } = await piped(MISSED, '--quiet');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe('ztlp: standard input:3: missed: expected cc=1, got cc=0');
    expect(lines[1]).toMatch(/^ztlp: standard input:4: address: .*allowed: 4 bytes in guest memory/);
    expect(await piped(`${STORE} -> cc=0`, '--quiet')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('with --json prints an object per line, then the total', async () => {
    for (const flags of [['--json'], ['--json', '--quiet']]) {
      const { code, stdout } = await piped(MISSED, ...flags);
      expect(code).toBe(1);
      const objects = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(objects.map(({ line }) => line)).toEqual([2, 3, 4, undefined]);
      expect(objects[1]).toMatchObject({
        verb: 'PCISTB',
        cc: 0,
        missed: [{ key: 'cc', expected: '1', actual: '0' }],
      });
      expect(objects[3]).toMatchObject({
        total: { instructions: 2, met: 1, missed: 1, errors: 1, lines: [3, 4] },
      });
    }
  });

  it('tells of every error in a file with line and column, runs nothing, and exits with 2', async () => {
    const path = await script('wrong.zpci', `${STORE}\nPCISTB fh=dev as=0 len=64\nfunction late\nrun 5x\n`);
    const { code, stdout, stderr } = await ztlp(['zpci', path]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    expect(lines.map((line) => line.replace(`ztlp: ${path}:`, '').split(' ')[0])).toEqual([
      '2:26:',
      '3:1:',
      '4:5:',
    ]);
    expect(lines[0]).toMatch(/off= is missing; allowed: PCISTB fh= as= len= off=/);
  });

  it('tells of 20 errors at most, and prints none of what a script could do to a terminal', async () => {
    const { code, stderr } = await piped('nope\u001b[31m\n'.repeat(30));
    expect(code).toBe(2);
    expect(stderr).not.toContain('\u001b');
    expect(stderr.trimEnd().split('\n')).toHaveLength(21);
    expect(stderr).toContain('... and 10 more errors');
    const comment = await piped('# \u001b[31mred\u202e\n');
    expect(comment.stdout).not.toMatch(/\u202e|\[31m(?<!\ufffd\[31m)/);
  });

  it.each([
    [['zpci', 'no-such.zpci'], 1, /there is no such file/],
    [['zpci', 'examples'], 1, /it is a directory/],
    [['zpci', 'a', 'b'], 2, /too many arguments/],
    [['zpci', '--al'], 2, /Did you mean --all\?/],
  ])('refuses %j', async (args, code, pattern) => {
    const outcome = await ztlp(args);
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
    expect(outcome.stderr).toMatch(pattern);
  });

  it('shows all TLPs with --all', async () => {
    const stdin = 'function nic zpciMode=native\ndma nic write 0x1000 4K of 7\n';
    expect((await piped(stdin)).stdout).toContain('... and 8 more TLPs (--all shows them)');
    expect((await piped(stdin, '--all')).stdout.match(/MWr32/g)).toHaveLength(16);
  });

  it('ends quietly when its reader goes away', async () => {
    const stdin = `${STORE}\n`.repeat(20_000);
    const { code, stderr } = await ztlp(['zpci', '-'], { stdin, closeAfter: 100 });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('takes a log of a real kernel, and names the lines whose data differ', async () => {
    const { code, stderr } = await ztlp(['zpci', '--quiet', 'test/vectors/trace-linux-s390x-virtio-net.log']);
    expect(code).toBe(1);
    expect(stderr).toContain('expectations missed');
  });

  it('has every command in its help', async () => {
    const { stdout } = await ztlp(['zpci', '--help']);
    for (const name of VERBS.keys())
      for (const word of name.split(' ')) expect(stdout.toUpperCase()).toContain(word);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });
});
