/** `npm run bench` as people meet it: files, tables, wrong calls and unusable files; no time is judged. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseResults } from '../../bench/compare.js';
import { compileNative } from '../../bench/native.js';
import { ROOT, runNode } from '../support/cli.js';

const MAIN = join(ROOT, 'dist/bench/main.js');
const SOURCES = join(ROOT, 'bench/native');
const folder = mkdtempSync(join(tmpdir(), 'ztlp-bench-'));
/** A PATH without a compiler. */
const EMPTY = join(folder, 'empty');
mkdirSync(EMPTY);

const bench = (args: readonly string[], env: Record<string, string> = {}) => runNode(MAIN, args, { env });
const out = (name: string): string => join(folder, name);

/** What a quick run says on stderr, so that the JSON of --json stands alone. */
function wrote(to: string): string {
  const quick = '--quick: it shows that the benchmark runs; do not compare its numbers\n';
  return `results: ${join(to, 'bench.json')} and ${join(to, 'bench.svg')}\n${quick}`;
}

async function refuses(args: readonly string[], code: number, pattern: RegExp): Promise<void> {
  const outcome = await bench(['--out', out('refused'), ...args]);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
  expect(outcome.stderr).toMatch(pattern);
  expect(existsSync(out('refused'))).toBe(false);
}

describe('the benchmark command', () => {
  it('prints tables and writes bench.json and bench.svg; a C loop stands beside its case', async () => {
    const to = out('full');
    const { code, stdout } = await bench(['--quick', '--filter', 'crc', '--out', to]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^crc$/m);
    expect(stdout).toMatch(/^lcrc, 84 B +.* x/m);
    const results = parseResults(readFileSync(join(to, 'bench.json'), 'utf8'), 'bench.json');
    expect(results.map(({ name }) => name).filter((name) => !name.endsWith('(C)'))).toEqual([
      'crc: zlib crc32, 84 B',
      'crc: lcrc, 84 B',
      'crc: zlib crc32, 280 B',
      'crc: lcrc, 280 B',
      'crc: zlib crc32, 65536 B',
      'crc: lcrc, 65536 B',
    ]);
    expect(readFileSync(join(to, 'bench.svg'), 'utf8')).toMatch(/^<\?xml[\s\S]*<\/svg>\n$/);
    const isCompiled = typeof compileNative(SOURCES, out('probe')) !== 'string';
    expect(results.some(({ name }) => name === 'crc: lcrc, 84 B (C)')).toBe(isCompiled);
  });

  it('says in one line that there is no compiler, goes on, and compares with the run before', async () => {
    const to = out('compare');
    const args = ['--quick', '--filter', 'decode', '--out', to];
    const first = await bench([...args, '--json'], { PATH: EMPTY });
    expect(first).toMatchObject({
      code: 0,
      stderr: `C loops left out: no C compiler (cc, gcc, clang) on PATH\n${wrote(to)}`,
    });
    const written = readFileSync(join(to, 'bench.json'), 'utf8');
    expect(JSON.parse(first.stdout)).toEqual(JSON.parse(written));
    for (const entry of JSON.parse(written))
      expect(Object.keys(entry)).toEqual(['name', 'ns', 'hz', 'rme', 'bytes']);
    const second = await bench([...args, '--compare', join(to, 'bench.json')], { PATH: EMPTY });
    expect(second.code).toBe(0);
    expect(second.stdout).toContain('against the earlier run');
    expect(second.stdout).not.toContain('only in');
  });

  it('says when the compiler fails, and goes on', async () => {
    const fake = out('fake');
    mkdirSync(fake);
    const script = '#!/bin/sh\n[ "$1" = --version ] && echo fake 1 && exit 0\necho "no header" >&2\nexit 1\n';
    writeFileSync(join(fake, 'cc'), script);
    chmodSync(join(fake, 'cc'), 0o755);
    const args = ['--quick', '--filter', 'decode', '--markdown', '--out', out('markdown')];
    const { code, stdout, stderr } = await bench(args, { PATH: fake });
    const left = 'C loops left out: cc failed: no header\n';
    expect({ code, stderr }).toEqual({ code: 0, stderr: `${left}${wrote(out('markdown'))}` });
    expect(stdout).toMatch(
      /^Measured on .*no C loops\.\n\n\| group \| row \| ratio \| speed of C \| goal \|\n/,
    );
    expect(stdout).toMatch(/^\| decode \| header, core call alone \| 1 \(baseline\) \| {2}\| {2}\|$/m);
  });

  it('refuses wrong calls with 2 and unusable files with 1, each in one line, before it measures', async () => {
    const bad = (name: string, text: string): string => {
      writeFileSync(out(name), text);
      return out(name);
    };
    await refuses(['--fast'], 2, /unknown option/);
    await refuses(['encode'], 2, /too many arguments/);
    await refuses(['--compare'], 2, /argument missing/);
    await refuses(['--json', '--markdown'], 2, /cannot be used with/);
    await refuses(
      ['--filter', 'no such row'],
      2,
      /no row holds "no such row"; allowed: .*access widths, encode/,
    );
    await refuses(['--compare', out('none.json')], 1, /none\.json: no such file/);
    await refuses(['--compare', folder], 1, /cannot be read \(EISDIR\)/);
    await refuses(['--compare', bad('text.json', 'hello')], 1, /text\.json is not JSON/);
    await refuses(['--compare', bad('shape.json', '{"name":"a"}')], 1, /shape\.json: it holds no list/);
    await refuses(
      ['--compare', bad('entry.json', '[{"name":"a","ns":-1}]')],
      1,
      /entry 0: ns is not a usable/,
    );
  });

  it('refuses a folder that it cannot write', async () => {
    writeFileSync(out('file'), '');
    const outcome = await bench(['--quick', '--filter', 'decode', '--out', join(out('file'), 'below')]);
    expect(outcome).toMatchObject({ code: 1, stdout: '' });
    expect(outcome.stderr).toMatch(/^ztlp: [^\n]*below: cannot be made \(ENOTDIR\)\n$/);
  });
});
