/** The package that `ztlp new-device` writes: its test passes, its types hold, and names are checked. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newDevicePackage } from '../../src/check/new-device.js';
import { ZtlpError } from '../../src/index.js';
import { type Outcome, ROOT, runNode } from '../support/cli.js';

const NAME = 'my-device.2';

describe('a new package', () => {
  const files = newDevicePackage(NAME);
  let folder = '';

  /** Runs node in the folder of the package. */
  const inFolder = (...args: string[]): Promise<Outcome> =>
    runNode('-e', [
      `const { spawnSync } = require('node:child_process');
       const done = spawnSync(process.execPath, ${JSON.stringify(args)}, { cwd: ${JSON.stringify(folder)}, stdio: 'inherit' });
       process.exitCode = done.status ?? 1;`,
    ]);

  beforeAll(() => {
    mkdirSync(join(ROOT, 'build'), { recursive: true });
    folder = mkdtempSync(join(ROOT, 'build/new-device-'));
    for (const [name, text] of files) writeFileSync(join(folder, name), text);
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(ROOT, join(folder, 'node_modules/ztlp'), 'dir');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has four files', () => {
    expect([...files.keys()]).toEqual(['package.json', 'index.mjs', 'index.test.mjs', 'README.md']);
    for (const [name, text] of files) {
      expect(text, name).toContain(NAME);
      expect(text.endsWith('\n'), name).toBe(true);
    }
    expect(files.get('README.md')).toContain('npm link /path/to/ztlp --ignore-scripts');
    expect(JSON.parse(files.get('package.json') ?? '')).toMatchObject({
      name: NAME,
      type: 'module',
      scripts: { test: 'node --test' },
      peerDependencies: { ztlp: expect.any(String) },
    });
  });

  it('passes its own test, which can fail', async () => {
    const { code, stdout } = await inFolder('--test', '--test-reporter=tap');
    expect(stdout).toMatch(/^# pass 1$/m);
    expect(code).toBe(0);
    const right = files.get('index.mjs') ?? '';
    const wrong = right.replace("status === 'ok' ? DONE", "status === 'ok' ? FAILED");
    expect(wrong).not.toBe(right);
    writeFileSync(join(folder, 'index.mjs'), wrong);
    const broken = await inFolder('--test', '--test-reporter=tap');
    writeFileSync(join(folder, 'index.mjs'), right);
    expect(broken.code).toBe(1);
  });

  it('has types that the compiler accepts', async () => {
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
    const options = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--allowJs',
      '--checkJs',
      '--module',
      'nodenext',
      '--target',
      'es2022',
    ];
    const rest = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types'), '--skipLibCheck'];
    const { code, stdout } = await inFolder(compiler, ...options, ...rest, 'index.mjs');
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });
});

describe('the name of a new package', () => {
  it.each(['a', '7up', 'nic.x', 'my_nic-2', 'a'.repeat(64)])('can be %s', (name) => {
    expect(newDevicePackage(name).get('index.mjs')).toContain(`name: '${name}',`);
  });

  it.each([
    '',
    'My-Nic',
    '.nic',
    '_nic',
    '-nic',
    '@me/nic',
    'a b',
    '../nic',
    "a'b",
    'é',
    'a\n',
    'a'.repeat(65),
    'ztlp',
    'node_modules',
    'favicon.ico',
    'http',
    'fs',
    undefined,
    7,
  ])('cannot be %j', (name) => {
    let error: unknown;
    try {
      newDevicePackage(name as string);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error).toMatchObject({ code: 'invalid-value', field: 'name', value: name });
    expect((error as ZtlpError).allowed).toBeTruthy();
  });
});
