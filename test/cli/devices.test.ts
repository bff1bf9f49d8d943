// Commands that take device models: what they print, how they refuse what is no device, and a model that hangs.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CHECK_TITLES } from '../../src/check/check-device.js';
import { newDevicePackage } from '../../src/check/new-device.js';
import { ROOT, ztlp } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'ztlp-devices-'));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A definition as a module. */
const definition = (name: string, rest: string): string =>
  `export default { name: '${name}', vendorId: 0x1af4, deviceId: 0x10f0, ${rest} };\n`;

const small = file('small.mjs', definition('small', 'bars: [{ size: 64, memory: true }]'));
const counter = file(
  'counter.mjs',
  `export default () => (${definition(
    'counter',
    `bars: [{ size: 4096, registers: {
      ID: { offset: 0, width: 4, access: 'ro', reset: 0x12345678, description: 'who it is' },
      BIG: { offset: 8, width: 8, access: 'rw' },
    } }],
    capabilities: { pcie: true, msix: { vectors: 4, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 } }`,
  )
    .replace('export default ', '')
    .replace(';\n', '')});\n`,
);
const callback = (name: string, read: string): string =>
  file(
    `${name}.mjs`,
    definition(name, `bars: [{ size: 256, callback: true }], read({ offset }, length) { ${read} }`),
  );

/** A wrong call or unusable data: one line on stderr, nothing on stdout, never a stack trace. */
async function refuses(args: string[], code: number, pattern: RegExp): Promise<void> {
  const outcome = await ztlp(args);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
  expect(outcome.stderr).toMatch(pattern);
}

describe('ztlp check-device', () => {
  it('prints one row per check and no colour, in 100 columns', async () => {
    const { code, stdout, stderr } = await ztlp(['check-device', small, '--accesses', '50']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^small: 14 checks, seed 1, 50 accesses each\n\ncheck +result +what\n/);
    for (const [id] of CHECK_TITLES) expect(stdout).toMatch(new RegExp(`^${id} +(pass|n/a) +\\S`, 'm'));
    expect(stdout).toMatch(/^msix +n\/a +the device has no MSI-X capability$/m);
    expect(stdout).toMatch(/\n\npassed\n$/);
    expect(stdout).not.toContain('\u001b');
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });

  it('gives the same as JSON', async () => {
    const { code, stdout } = await ztlp([
      'check-device',
      'memory',
      '--json',
      '--seed',
      '7',
      '--accesses',
      '50',
    ]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ device: 'memory', seed: 7, accesses: 50, passed: true });
    expect(report.checks.map(({ id }: { id: string }) => id)).toEqual(CHECK_TITLES.map(([id]) => id));
    for (const check of report.checks) expect(Object.keys(check)).toEqual(['id', 'title', 'outcome', 'line']);
  });

  it('names the callback of a model that fails, folds long lines and exits with 1', async () => {
    const device = callback(
      'throws',
      'if (offset === 32) throw new Error("no such register".repeat(8)); return 0;',
    );
    const { code, stdout, stderr } = await ztlp(['check-device', device, '--accesses', '50']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^widths +FAIL +read of 1 at BAR 0 offset 0x20 \(direct\) answers/m);
    expect(stdout).toMatch(/\n\nFAILED: \d checks\n$/);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    const quiet = await ztlp(['check-device', device, '--accesses', '50', '--quiet']);
    expect(quiet).toMatchObject({ code: 1, stdout: '' });
    expect(quiet.stderr).toMatch(/^ztlp: throws: failed .*widths.*\n$/);
  });

  it('ends a model that does not return, and says where it hangs', async () => {
    const device = callback('hangs', 'while (offset === 64); return 0;');
    const { code, stdout } = await ztlp(['check-device', device, '--timeout', '10', '--json']);
    expect(code).toBe(1);
    const { checks, device: name, passed } = JSON.parse(stdout);
    expect({ name, passed }).toEqual({ name: 'hangs', passed: false });
    expect(checks.map(({ id }: { id: string }) => id)).toEqual(CHECK_TITLES.map(([id]) => id));
    const failed = checks.filter(({ outcome }: { outcome: string }) => outcome === 'fail');
    expect(failed).toEqual([
      {
        id: 'resets',
        title: 'resets leave nothing behind',
        outcome: 'fail',
        line: 'read at BAR 0 offset 0x40 did not return within 10 s',
      },
    ]);
    expect(checks.at(-1).line).toBe('not run: resets did not end');
  });

  it('keeps what a model prints away from the report', async () => {
    const device = callback('talks', 'console.log("hello"); return 0;');
    const { code, stdout, stderr } = await ztlp(['check-device', device, '--json', '--accesses', '5']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).device).toBe('talks');
    expect(stderr).toContain('hello');
  });

  it('reports a model that fails in a timer of its own, or ends the process', async () => {
    const late = callback('late', 'setTimeout(() => { throw new Error("too late"); }, 0); return 0;');
    const one = await ztlp(['check-device', late, '--accesses', '50']);
    expect(one).toMatchObject({ code: 1, stderr: '' });
    expect(one.stdout).toMatch(/FAIL +failed outside of its callbacks: too late$/m);
    const exits = callback('exits', 'process.exit(0);');
    const other = await ztlp(['check-device', exits, '--accesses', '50']);
    expect(other.code).toBe(1);
    expect(other.stdout).toMatch(/FAIL +read at BAR 0 offset 0x[0-9a-f]+ ended the process$/m);
  });

  it.each([
    ['no such file', () => './nosuch.mjs', /^ztlp: \.\/nosuch\.mjs: there is no such file$/m],
    ['a path of Windows', () => 'C:\\dev\\nic.mjs', /^ztlp: C:\\dev\\nic\.mjs: there is no such file$/m],
    ['a directory', () => folder, /: is a directory, not a module/],
    ['no name', () => '', /^ztlp: "": is no name$/m],
    [
      'a mistyped name',
      () => 'memroy',
      /is no file, no installed package and none of .*, did you mean memory\?/,
    ],
    [
      'a syntax error',
      () => file('syntax.mjs', '\nexport default {;\n'),
      /has a syntax error in .*syntax\.mjs:2: /,
    ],
    [
      'a syntax error in a file that it imports',
      () => {
        file('wrong.mjs', 'const a = 1;\n\nconst b = ;\n');
        return file('importing.mjs', 'import "./wrong.mjs";\nexport default {};\n');
      },
      /importing\.mjs: has a syntax error in .*wrong\.mjs:3: /,
    ],
    ['JSON', () => file('device.json', '{}'), /is JSON: a device is a module with a default export/],
    [
      'a wrong call of defineDevice',
      () => file('own.mjs', 'import { defineDevice } from "ztlp/device";\nexport default defineDevice({});'),
      /^ztlp: \S*own\.mjs: name: is missing$/m,
    ],
    ['an empty module', () => file('empty.mjs', ''), /has no default export/],
    ['an empty script', () => file('empty.cjs', ''), /has no default export/],
    ['no default export', () => file('none.mjs', 'export const a = 1;'), /has no default export/],
    ['null', () => file('null.mjs', 'export default null;'), /default export gives null, not a device/],
    ['a number', () => file('number.mjs', 'export default 7;'), /default export gives 7, not a device/],
    [
      'a function that fails',
      () => file('fails.mjs', 'export default (x) => x.y;'),
      /its default export, called without arguments: TypeError/,
    ],
    [
      'throwing',
      () => file('throwing.mjs', 'throw new Error("no licence");'),
      /fails when it is loaded: Error: no licence/,
    ],
    ['throwing nothing', () => file('nothing.mjs', 'throw undefined;'), /fails when it is loaded: undefined/],
    [
      'another module',
      () => file('needs.mjs', 'import "nosuch-package";'),
      /fails when it is loaded: .*nosuch-package/,
    ],
    [
      'an endless module',
      () => file('endless.mjs', 'while (true);'),
      /did not return within 2 s while it was loaded/,
    ],
    [
      'an invalid definition',
      () => file('invalid.mjs', 'export default { name: "x", vendorId: 70000, deviceId: 1 };'),
      /invalid\.mjs: vendorId: 70000 is not valid; allowed: an integer from 0 to 65534/,
    ],
    [
      'an unknown field',
      () => file('field.mjs', 'export default { name: "x", vendorId: 7, deviceId: 1, bar: [] };'),
      /"bar" is not a field, did you mean bars\?/,
    ],
  ])('refuses %s with exit code 1', async (what, device, pattern) => {
    const timeout = what === 'an endless module' ? ['--timeout', '2'] : [];
    await refuses(['check-device', device(), ...timeout], 1, pattern);
  });

  it('says what TypeScript needs where Node does not run it', async () => {
    const device = file('typed.ts', definition('typed', 'bars: [] as const'));
    const outcome = await ztlp(['check-device', device, '--accesses', '5']);
    if ((process.features as { typescript?: unknown }).typescript) expect(outcome.code).toBe(0);
    else expect(outcome).toMatchObject({ code: 1, stdout: '' });
    if (outcome.code === 1)
      expect(outcome.stderr).toMatch(/does not run TypeScript: compile it, or take Node/);
  });

  it.each([
    [['check-device'], /device: name one, as an argument or with --device/],
    [['check-device', 'memory', '--device', 'memory'], /device: name one/],
    [['check-device', 'memory', 'memory'], /too many arguments/],
    [['check-device', 'memory', '--sed', '1'], /unknown option '--sed'/],
    [['check-device', 'memory', '--seed', 'x'], /Expected: a whole number from 0/],
    [['check-device', 'memory', '--timeout', '0'], /Allowed: 1 to 86400/],
    [['check-device', 'memory', '--accesses', '0'], /Allowed: 1 to 100000/],
    [['inspect', '--function', '00:01.0'], /goes with --lspci/],
    [['inspect', '--platform', 'vax'], /Allowed choices are x86-64, arm64, s390x/],
    [['inspect', 'memory', 'memory'], /too many arguments/],
    [['new-device', 'nic', '--dir', ''], /--dir: "" is no directory/],
    [['new-device', '@me/nic'], /without a scope/],
    [['new-device'], /missing required argument 'name'/],
    [['new-device', 'My Device'], /name: "My Device" is not valid/],
  ])('refuses the call %j with exit code 2', async (args, pattern) => {
    await refuses(args, 2, pattern);
  });
});

describe('a device outside of any package', () => {
  const device = file(
    'outside.mjs',
    `import { defineDevice } from 'ztlp/device';
     import { ZtlpError } from 'ztlp';
     import { copyEngine } from 'ztlp/devices';
     console.log('loading', typeof ZtlpError, typeof copyEngine);
     export default defineDevice({
       name: 'outside', vendorId: 1, deviceId: 2, bars: [{ size: 64, callback: true }],
       read: () => { throw new Error('cannot'); },
     });`,
  );

  it('finds ztlp, and prints to stderr while it is inspected', async () => {
    for (const args of [[device], ['--device', device]]) {
      const { code, stdout, stderr } = await ztlp(['inspect', '--json', ...args]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: 'loading function function\n' });
      expect(JSON.parse(stdout).functions).toMatchObject([
        { name: 'outside', vendorId: 1, deviceId: 2, classCode: 0xff0000, capabilities: [] },
      ]);
    }
  });

  it('finds ztlp in the thread of check-device, which names the line that throws', async () => {
    const { code, stdout } = await ztlp(['check-device', '--device', device, '--accesses', '5']);
    expect(code).toBe(1);
    expect(stdout.replace(/\s+/g, ' ')).toMatch(/: cannot \(completer-abort\), outside\.mjs:7 /);
  });

  it.each([
    ['process.exit(0);', /: ended the process while it was loaded$/m],
    ['await new Promise(() => {});', /: its top-level await never ends$/m],
  ])('may not end the command: %s', async (text, pattern) => {
    await refuses(['inspect', file('ends.mjs', text)], 1, pattern);
    await refuses(['regress', '--device', file('ends.mjs', text)], 1, pattern);
    await refuses(['check-device', file('ends.mjs', text)], 1, pattern);
  });
});

describe('ztlp inspect', () => {
  it('shows what software finds, one function for each device', async () => {
    const { code, stdout, stderr } = await ztlp([
      'inspect',
      '--platform',
      's390x',
      '--device',
      counter,
      '--device',
      'memory',
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^01:00\.0 counter, function handle 0x[0-9a-f]{8}\n {2}1af4:10f0 class ff0000/);
    expect(stdout).toMatch(/^ {2}\[[0-9a-f]{2}\] MSIX: Enable- Masked- 4 vectors, table BAR 0 \+ 0x800/m);
    expect(stdout).toMatch(/^BAR 0, 4096 bytes: 0x0 to 0x7ff registers; 0x800 to 0x83f msix-table;/m);
    expect(stdout).toMatch(/^offset +bytes +access +name +value +description$/m);
    expect(stdout).toMatch(/^0x0 +4 +ro +ID +0x12345678 +who it is$/m);
    expect(stdout).toMatch(/^0x8 +8 +rw +BIG +0x0{16}$/m);
    expect(stdout).toMatch(/^01:01\.0 memory, function handle/m);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });

  it('loads a file with spaces and other letters in its name', async () => {
    const device = file('mein gerät #1 %20.mjs', definition('named', 'bars: []'));
    expect((await ztlp(['inspect', '--device', device])).stdout).toMatch(/^01:00\.0 named\n/);
  });

  it('gives the same as JSON, and the default device without one', async () => {
    const { functions } = JSON.parse((await ztlp(['inspect', '--device', counter, '--json'])).stdout);
    expect(functions).toHaveLength(1);
    expect(functions[0]).toMatchObject({ address: '01:00.0', name: 'counter', handle: null });
    expect(functions[0].bars[0].registers[1]).toMatchObject({ name: 'BIG', value: '0x0' });
    const plain = JSON.parse((await ztlp(['inspect', '--json'])).stdout);
    expect(plain).toMatchObject({ platform: 'x86-64', functions: [{ name: 'memory' }] });
  });

  it('shows a function of a dump, and refuses what is none', async () => {
    const rows = Array.from({ length: 16 }, (_, row) => {
      const bytes = Array<string>(16).fill('00');
      if (row === 0) bytes.splice(0, 4, 'f4', '1a', '01', '10');
      return `${row.toString(16)}0: ${bytes.join(' ')}`;
    });
    const dump = file('dump.txt', `00:03.0 Ethernet controller: something\n${rows.join('\n')}\n`);
    const { code, stdout } = await ztlp(['inspect', '--lspci', dump]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^01:00\.0 00-03\.0\n {2}1af4:1001 class 000000/);
    await refuses(['inspect', '--lspci', dump, '--function', '00:04.0'], 1, /"00:04\.0" is not in the dump/);
    await refuses(['inspect', '--lspci', join(folder, 'nosuch.txt')], 1, /no such file/);
    await refuses(['inspect', '--lspci', file('text.txt', 'nothing\n')], 1, /text\.txt: dump: no function/);
    await refuses(['inspect', '--device', './nosuch.mjs'], 1, /there is no such file/);
  });
});

describe('ztlp new-device', () => {
  it('writes the package, and nothing over what is there', async () => {
    const dir = join(folder, 'new', 'nic');
    const { code, stdout } = await ztlp(['new-device', 'nic', '--dir', dir]);
    expect(code).toBe(0);
    const files = newDevicePackage('nic');
    for (const [name, text] of files) expect(readFileSync(join(dir, name), 'utf8')).toBe(text);
    expect(stdout).toContain(join(dir, 'index.mjs'));
    await refuses(
      ['new-device', 'nic', '--dir', dir],
      2,
      /package\.json: exists already, nothing was written/,
    );
  });

  it('writes a device that passes the kit once ztlp is installed', async () => {
    const dir = join(folder, 'fresh');
    await ztlp(['new-device', 'fresh', '--dir', dir]);
    mkdirSync(join(dir, 'node_modules'));
    symlinkSync(ROOT, join(dir, 'node_modules', 'ztlp'), 'junction');
    const { code, stdout } = await ztlp(['check-device', join(dir, 'index.mjs')]);
    expect(stdout).not.toContain('FAIL');
    expect(stdout).toMatch(/^msix +pass +\d vectors? raised/m);
    expect(code).toBe(0);
  });

  it('writes all or nothing into a directory that has other files', async () => {
    const dir = join(folder, 'half');
    mkdirSync(dir);
    const last = [...newDevicePackage('nic').keys()].at(-1) as string;
    writeFileSync(join(dir, last), 'mine');
    await refuses(['new-device', 'nic', '--dir', dir], 2, new RegExp(`${last}: exists already`));
    expect(existsSync(join(dir, 'package.json'))).toBe(false);
    expect(readFileSync(join(dir, last), 'utf8')).toBe('mine');
    await refuses(['new-device', 'nic', '--dir', small], 2, /small\.mjs: is a file, nothing was written/);
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'notes.txt'), 'mine');
    const { code, stdout } = await ztlp(['new-device', 'nic', '--dir', other, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).files).toContain(join(other, 'package.json'));
  });
});

describe('ztlp regress --device', () => {
  it('stores to the memory of a device, below 4 GiB with shorter headers', async () => {
    const device = file('ram.mjs', definition('ram', 'bars: [undefined, { size: 65536, memory: true }]'));
    const { code, stdout } = await ztlp(['regress', '--device', device, '--cases', '5', '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ device: 'ram', above4GiB: false, passed: true });
    expect(report.rows[0].wireBytes).toBe(4096 + 16 * 20);
    const text = await ztlp(['regress', '--device', device, '--cases', '5']);
    expect(text.stdout).toMatch(/^4 KiB block store against its splits on ram, MPS 256, BAR below 4 GiB\n/);
    await refuses(['regress', '--device', small], 1, /small: has no BAR that the stores can go to/);
  });
});
