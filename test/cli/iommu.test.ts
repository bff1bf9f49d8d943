/** `ztlp iommu walk` as people call it: scenarios, images, flags, and what it says when something is wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ztlp } from '../support/cli.js';

const EXAMPLE = 'examples/walk.yaml';
let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ztlp-walk-'));
});
afterAll(() => rm(folder, { recursive: true }));

interface Report {
  readonly root: string;
  readonly options: Record<string, unknown>;
  readonly memory: Record<string, string>;
  readonly walks: readonly {
    readonly steps: readonly {
      what: string;
      address: string;
      entry: string | null;
      meaning: string;
    }[];
    readonly request: Record<string, unknown>;
    readonly answer: Record<string, unknown>;
    readonly reasonName?: string;
    readonly event?: readonly string[];
  }[];
}

async function json(args: readonly string[]): Promise<Report> {
  return JSON.parse((await ztlp(['iommu', 'walk', ...args, '--json'])).stdout) as Report;
}

describe('ztlp iommu walk', () => {
  it('shows every entry of a walk, what it says, and the end', async () => {
    const { code, stdout, stderr } = await ztlp(['iommu', 'walk', EXAMPLE]);
    expect(code).toBe(1);
    expect(stderr).toBe('ztlp: 2 of 4 requests were not translated\n');
    const [head, first, second, third, last] = stdout.split('\n\n');
    expect(head).toBe('vtd, root 0x1000, memory 0x1000 to 0x7fff');
    expect(first?.split('\n').map((line) => line.trim().replaceAll(/ {2,}/g, ' | '))).toEqual([
      '00:04.0 read 0xfff80010',
      'structure | address | entry | says',
      expect.stringMatching(/^─/),
      'root | 0x1000 | 0x2001 | context table 0x2000',
      'root | 0x1008 | 0x0 | reserved',
      'context | 0x2200 | 0x4001 | table 0x4000, TT 0: second stage',
      'context | 0x2208 | 0x102 | AW 2: 4 levels, domain 1',
      'level 4 | 0x4000 | 0x5003 | table 0x5000, R, W',
      'level 3 | 0x5018 | 0x6003 | table 0x6000, R, W',
      'level 2 | 0x6ff8 | 0x7003 | table 0x7000, R, W',
      'level 1 | 0x7c00 | 0x12345003 | 4 KiB page 0x12345000, R, W',
      '-> 0x12345010 | (second-stage, 4 KiB page, read write)',
    ]);
    expect(second).toContain('-> fault 0x5: write not permitted');
    expect(third).toContain('-> 0x40123456  (second-stage, 2 MiB page, read write, takes No Snoop away)');
    expect(last).toContain('-> fault 0x2: context entry not present');
  });

  it('--quiet prints nothing, the exit code is the answer', async () => {
    const good = ['iommu', 'walk', EXAMPLE, '--sid', '00:04.0', '--address', '0xfff80010', '--quiet'];
    expect(await ztlp(good)).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('takes requests from flags, for the requester of the scenario', async () => {
    const { walks } = await json([EXAMPLE, '--address', '0xfff80ffc', '--address', '0xffc00000', '--write']);
    expect(walks.map(({ answer }) => [answer.kind, answer.address])).toEqual([
      ['translated', '0x12345ffc'],
      ['translated', '0x40000000'],
    ]);
  });

  it('walks an image of memory', async () => {
    const image = new Uint8Array(0x8000);
    const words = new DataView(image.buffer);
    for (const [place, value] of [
      [0x0000, 0x2001n],
      [0x1200, 0x4001n],
      [0x1208, 0x102n],
      [0x3000, 0x5003n],
      [0x4000, 0x4000_0083n],
    ] as const)
      words.setBigUint64(place, value, true);
    await writeFile(at('memory.bin'), image);
    const { walks } = await json([
      ...['--unit', 'vtd', '--root', '0x1000', '--image', `${at('memory.bin')}@0x1000`],
      ...['--sid', '32', '--address', '0x3fffffff'],
    ]);
    expect(walks[0]?.answer).toMatchObject({ kind: 'translated', address: '0x7fffffff', pageLg2: 30 });
  });

  it('ends where the image ends', async () => {
    const { walks } = await json([
      ...['--unit', 'vtd', '--root', '0x1000', '--image', `${at('memory.bin')}@0x1000`],
      ...['--sid', '01:00.0', '--address', '0x1000'],
    ]);
    expect(walks[0]).toMatchObject({
      answer: { kind: 'fault', reason: 1 },
      reasonName: 'root entry not present',
    });
  });

  it('reads JSON as well as YAML', async () => {
    const scenario = {
      unit: 'amd',
      root: '0x1000',
      streams: 1,
      entries: {
        '0x1400': '0x6000000000002403',
        '0x1408': 7,
        '0x2008': '0x6000000000003201',
        '0x3010': '0x7000000000009001',
      },
      requests: [{ sid: '00:04.0', address: '0x202123' }],
    };
    await writeFile(at('amd.json'), JSON.stringify(scenario));
    const { walks } = await json([at('amd.json')]);
    expect(walks[0]?.answer).toMatchObject({ kind: 'translated', address: '0x9123', forcesSnoop: true });
    expect(walks[0]?.steps.map(({ what, meaning }) => `${what}: ${meaning}`)).toEqual([
      'device: mode 2, table 0x2000, TV, IR, IW',
      'device: domain 7',
      'device: interrupts as they are',
      'level 2: table 0x3000 of level 1, IR, IW',
      'level 1: 4 KiB page 0x9000, FC, IR, IW',
    ]);
  });

  it.each([
    ['unit: vtd\nroot: 0x1000\nroots: 1\n', ':3: roots is not a field; allowed: fields of docs/iommu.md'],
    ['unit: gart\nroot: 0\n', ':1: unit: "gart" is not valid; allowed: vtd, smmuv3, amd'],
    ['unit: vtd\n', ': root is missing\n'],
    ['unit: vtd\nroot: -1\n', ':2: root: -1 is not valid; allowed: a number such as 0x1000, below 2^64'],
    ['unit: vtd\nroot: 1.5\n', ':2: root: 1.5 is not valid; allowed: a number'],
    [
      'unit: vtd\nroot: 0x1004\nentries: { 0: 0 }\n',
      ': root: 0x1004 is not valid; allowed: a multiple of 4096',
    ],
    ['unit: smmuv3\nroot: 0x1004\n', 'allowed: a multiple of 64'],
    ['unit: amd\nroot: 0x1400\n', 'allowed: a multiple of 4096'],
    [
      'unit: vtd\nroot: 0x1000\nrequests:\n  - { sid: "4", address: 1 }\n  - { sid: "00:99.0", address: 1 }\n',
      ':5: requests.1.sid: "00:99.0" is not valid; allowed: bus:device.function in hexadecimal such as 00:04.0',
    ],
    ['unit: vtd\nroot: 0\nrequests: [{ sid: "0:4.0", address: 1 }]\n', 'bus:device.function in hexadecimal'],
    [
      'unit: vtd\nroot: 0\nrequests: [{ sid: "0001:00:04.0", address: 1 }]\n',
      'bus:device.function in hexadecimal',
    ],
    ['unit: vtd\nroot: 0\nrequests: [{ sid: 1, address: 1, pasid: 0x100000 }]\n', 'a PASID has 20 bits'],
    ['unit: vtd\nroot: 0\nrequests: [{ sid: 1 }]\n', ':3: requests.0.address is missing\n'],
    ['unit: vtd\nroot: 0\nrequests: 5\n', 'allowed: a list of { sid, address, write, pasid, privileged }'],
    ['unit: vtd\nroot: 0x1000\nentries: { x: 1 }\n', 'entries.x: "x" is not valid; allowed: an address'],
    ['unit: vtd\nroot: 0x1000\nentries:\n  0x1000: bad\n', ':4: entries.0x1000: "bad" is not valid'],
    ['unit: vtd\nroot: 0\nentries: { 0x1000: 1, "4096": 2 }\n', ':3: entries.0x1000 is given twice'],
    ['unit: [\n', ':2: '],
    ['unit: *vtd\n', ':1: *vtd has no anchor before it'],
    ['', ': the file is empty; allowed: fields of docs/iommu.md'],
    ['hello\n', ': "hello" is no scenario; allowed: fields'],
    ['unit: vtd\0', 'it is not text; a dump of memory is given with --image FILE@ADDRESS'],
    ['unit: smmuv3\nroot: 0\ncap: 1\nentries: { 0: 0 }\n', 'cap is not of a unit of kind smmuv3'],
    [
      'unit: vtd\nroot: 0\nstreams: 3\nentries: { 0: 0 }\n',
      'streams is not of a unit of kind vtd; allowed: smmuv3, amd',
    ],
    [
      'unit: amd\nroot: 0\nstreams: 0\nentries: { 0: 0 }\n',
      'streams: 0 is not valid; allowed: an integer from 1 to 512',
    ],
    [
      'unit: vtd\nroot: 0\noptions: { iotlbKeys: domain }\nentries: { 0: 0 }\n',
      '"iotlbKeys" is not an option',
    ],
    [
      'unit: vtd\nroot: 0\noptions: { vtdModel: 3 }\nentries: { 0: 0 }\n',
      'vtdModel: 3 is not valid; allowed: spec, qemu72',
    ],
    [
      'unit: vtd\nroot: 0\noptions: { iotlbWalkNs: 3 }\nentries: { 0: 0 }\n',
      'iotlbWalkNs: a walk of a unit of kind vtd does not use',
    ],
    [
      'unit: vtd\nroot: 0\nentries: { 4: 0 }\n',
      ': entries: 0x4 is not valid; allowed: addresses that are multiples of 8',
    ],
  ])('says what is wrong in %j: wrong data, with the name of the file', async (text, message) => {
    const file = at('wrong.yaml');
    await writeFile(file, text);
    const { code, stdout, stderr } = await ztlp(['iommu', 'walk', file, '--sid', '1', '--address', '0']);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain(`ztlp: ${file}`);
    expect(code).toBe(1);
  });

  it.each([
    ['unit: vtd\nroot: 0\nimages: [{ file: none.bin, at: 0 }]\n', 'there is no such file'],
    ['unit: vtd\nroot: 0\nentries: { 0: 0, 0x4000000000: 0 }\n', 'images and entries within 2 GiB'],
    ['unit: vtd\nroot: 0\nentries: { 0x10000000000000: 0 }\n', 'addresses of memory below 2^52'],
    ['unit: vtd\nroot: 0\n', 'no tables: there is nothing to walk; allowed: images or entries'],
  ])('refuses the tables of %j', async (text, message) => {
    await writeFile(at('wrong.yaml'), text);
    const { code, stderr } = await ztlp(['iommu', 'walk', at('wrong.yaml'), '--sid', '1', '--address', '0']);
    expect(stderr).toContain(message);
    expect(code).toBe(1);
  });

  it('refuses images that share an address, and names both', async () => {
    await writeFile(at('a.bin'), new Uint8Array(0x1000));
    await writeFile(at('b.bin'), new Uint8Array(0x10));
    const images = (second: string): string =>
      `unit: vtd\nroot: 0\nimages: [{ file: a.bin, at: 0x2000 }, { file: b.bin, at: ${second} }]\n`;
    await writeFile(at('images.yaml'), images('0x2ff8'));
    const call = ['iommu', 'walk', at('images.yaml'), '--sid', '1', '--address', '0'];
    const { code, stderr } = await ztlp(call);
    expect(stderr).toMatch(
      /images overlap: ".*a\.bin" \(0x2000 to 0x2fff\) and ".*b\.bin" \(0x2ff8 to 0x3007\)/,
    );
    expect(code).toBe(1);
    await writeFile(at('images.yaml'), images('0x3000'));
    expect((await ztlp(call)).stdout).toContain('memory 0x2000 to 0x3fff');
    const more = await ztlp([...call, '--image', `${at('b.bin')}@0x2800`]);
    expect(more.stderr).toContain('images overlap');
    expect(more.code).toBe(2);
  });

  it.each([
    [[], 'a scenario file, or --unit, --root and --image'],
    [['--unit', 'vtd'], 'a scenario file, or --unit, --root and --image'],
    [[EXAMPLE, '--sid', '1'], '--sid, --pasid, --write and --privileged go with --address'],
    [[EXAMPLE, '--unit', 'vtd'], '--unit: the scenario has it'],
    [[EXAMPLE, '--host-width', '40'], '--host-width: the scenario has it'],
    [[EXAMPLE, '--address', 'here'], 'Allowed: a number such as 0x1000'],
    [[EXAMPLE, '--image', 'x'], 'Expected: FILE@ADDRESS'],
    [
      [EXAMPLE, '--sid', '00:04', '--address', '0'],
      'Allowed: bus:device.function in hexadecimal such as 00:04.0',
    ],
    [[EXAMPLE, '--sid', '', '--address', '0'], 'Allowed: bus:device.function in hexadecimal'],
    [[EXAMPLE, '--sid', '1e2', '--address', '0'], 'or its number, 0 to 0xffff'],
    [[EXAMPLE, '--image', 'x@'], 'Allowed: a number such as 0x1000'],
    [[EXAMPLE, '--pasid', '0x1fffff', '--address', '0'], 'Allowed: 0 to 0xfffff: a PASID has 20 bits.'],
    [[EXAMPLE, '--root', '0x1004'], 'root: 0x1004 is not valid'],
    [[EXAMPLE, '--streams', '4'], 'streams is not of a unit of kind vtd'],
    [
      [EXAMPLE, '--option', 'smmuModel=qemu72'],
      'smmuModel: a walk of a unit of kind vtd does not use this option',
    ],
    [
      [EXAMPLE, '--option', 'iotlbWalkNs=3'],
      'iotlbWalkNs: a walk of a unit of kind vtd does not use this option',
    ],
    [['-', '--image', '-@0'], '-: standard input can be read once'],
    [['--unit', 'amd', '--root', '0', '--image', 'x@0', '--cap', '1'], '--cap is not of a unit of kind amd'],
    [['--unit', 'vtd', '--root', '0', '--image', 'x@0', '--output-width', '40'], '--output-width is not of'],
    [['--unit', 'smmuv3', '--root', '0', '--image', 'x@0', '--host-width', '40'], '--host-width is not of'],
    [
      ['--unit', 'amd', '--root', '0', '--image', 'x@0', '--substream-bits', '4'],
      'allowed: --hardware-flags',
    ],
    [
      ['--unit', 'vtd', '--root', '0', '--image', 'x@0', '--hardware-flags', 'dirty'],
      '--cap, --ecap, --host-width',
    ],
  ])('refuses the call %j', async (args, message) => {
    const { code, stderr } = await ztlp(['iommu', 'walk', ...args]);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('says of a file that it cannot read what other commands say', async () => {
    const said = async (file: string): Promise<string> => (await ztlp(['iommu', 'walk', file])).stderr;
    expect(await said('nothing.yaml')).toBe('ztlp: cannot read "nothing.yaml": there is no such file\n');
    expect(await said(folder)).toBe(`ztlp: cannot read "${folder}": it is a directory\n`);
  });

  it('reads a scenario, or an image, from standard input', async () => {
    const scenario = {
      unit: 'vtd',
      root: '0x1000',
      entries: { '0x1000': 0 },
      requests: [{ sid: 0, address: 0 }],
    };
    const found = await ztlp(['iommu', 'walk', '-'], { stdin: JSON.stringify(scenario) });
    expect(found.stdout).toContain('-> fault 0x1: root entry not present');
    const wrong = await ztlp(['iommu', 'walk', '-'], { stdin: 'unit: vtd\n' });
    expect(wrong.stderr).toBe('ztlp: standard input: root is missing\n');
    const flags = ['--unit', 'vtd', '--root', '0', '--image', '-@0', '--sid', '0', '--address', '0'];
    const image = await ztlp(['iommu', 'walk', ...flags], { stdin: new Uint8Array(4096) });
    expect(image.stdout).toContain('memory 0x0 to 0xfff');
    const long = await ztlp(['iommu', 'walk', '-'], { stdin: new Uint8Array(17 << 20) });
    expect(long.stderr).toContain('standard input: more than 16777216 bytes');
    expect(long.code).toBe(1);
  });

  it('names an entry that is outside memory as unreadable', async () => {
    await writeFile(
      at('out.yaml'),
      'unit: vtd\nroot: 0x1000\nentries: { 0x1000: 0x8001 }\nrequests: [{ sid: 8, address: 0 }]\n',
    );
    const { stdout } = await ztlp(['iommu', 'walk', at('out.yaml')]);
    expect(stdout).toMatch(/^context +0x8080 +- +unreadable: outside memory$/m);
    expect(stdout).toContain('-> fault 0x9: context entry unreadable');
    const { walks } = await json([at('out.yaml')]);
    expect(walks[0]?.steps.at(-1)).toEqual({
      what: 'context',
      address: '0x8080',
      entry: null,
      meaning: 'unreadable: outside memory',
    });
    // The entry of function 0 is in memory.
    expect(walks[0]?.steps.at(-2)?.entry).toBe('0x0');
  });

  it('prints addresses and entries of JSON as hexadecimal text, however large, and the reason in words', async () => {
    const { root, memory, walks } = await json([EXAMPLE]);
    expect({ root, memory }).toEqual({ root: '0x1000', memory: { first: '0x1000', end: '0x8000' } });
    for (const { request, steps } of walks)
      for (const text of [request.address, ...steps.flatMap((step) => [step.address, step.entry])])
        expect(text).toMatch(/^0x[0-9a-f]+$/);
    expect(walks[0]?.answer.address).toBe('0x12345010');
    expect(walks[1]).toMatchObject({ answer: { reason: 5 }, reasonName: 'write not permitted' });
  });

  it('lists options that do not hold their default', async () => {
    const options = ['--option', 'vtdModel=qemu72', '--option', 'faultReasons=spec'];
    const { stdout } = await ztlp(['iommu', 'walk', EXAMPLE, ...options]);
    expect(stdout.split('\n')[1]).toBe('options given: vtdModel=qemu72');
    expect((await json([EXAMPLE, ...options])).options).toEqual({ vtdModel: 'qemu72' });
    expect((await json([EXAMPLE])).options).toEqual({});
  });

  it('counts an interrupt message as answered', async () => {
    const call = ['iommu', 'walk', EXAMPLE, '--address', '0xfee00000', '--write'];
    const { code, stdout, stderr } = await ztlp(call);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('-> an interrupt message');
    // A read there is refused.
    expect((await ztlp(call.slice(0, -1))).code).toBe(1);
  });

  it('takes domain 0000 before a requester', async () => {
    const { walks } = await json([EXAMPLE, '--sid', '0000:00:04.0', '--address', '0xfff80010']);
    expect(walks[0]).toMatchObject({ request: { sid: 32 }, answer: { kind: 'translated' } });
  });

  it('gives each step two lines where the table would be too wide, and one row to words that say nothing', async () => {
    const call = ['iommu', 'walk', 'examples/walk-scalable.yaml'];
    const { stdout } = await ztlp(call, { env: { COLUMNS: '50' } });
    expect(stdout).toContain(
      '\nPASID directory 0x3000: 0x4001\n    PASID table 0x4000\nPASID 0x4000: 0x41\n    PGTT 1',
    );
    expect(stdout).toContain('\nPASID 0x4018-0x403f: 0x0\n    reserved, 5 words\n');
    const wide = await ztlp(call);
    expect(wide.stdout).toMatch(/^PASID +0x4018-0x403f +0x0 +reserved, 5 words$/m);
    const { walks } = await json(['examples/walk-scalable.yaml']);
    expect(walks[0]?.steps.filter(({ what }) => what === 'PASID')).toHaveLength(8);
    expect(walks.map(({ answer }) => answer.address ?? answer.reason)).toEqual([
      '0x20010',
      '0x20010',
      '0x20010',
      0x59,
    ]);
  });
});

describe('ztlp help of commands below others', () => {
  it('help finds a command below another', async () => {
    expect((await ztlp(['help', 'iommu', 'walk'])).stdout).toContain(
      'Usage: ztlp iommu walk [options] [scenario]',
    );
    expect((await ztlp(['help', 'iommu', 'wlk'])).stderr).toContain(
      "unknown command 'wlk', did you mean walk?",
    );
    expect((await ztlp(['iommu', 'help', 'walk'])).stdout).toContain('Usage: ztlp iommu walk');
  });

  it('a command that stands below another one is found there', async () => {
    for (const call of [
      ['walk', 'x'],
      ['help', 'walk'],
    ]) {
      const { code, stderr } = await ztlp(call);
      expect(stderr).toContain("unknown command 'walk', did you mean iommu walk?");
      expect(code).toBe(2);
    }
    expect((await ztlp(['wlk'])).stderr).not.toContain('iommu');
  });

  it('examples of the overview stand in two columns', async () => {
    const { stdout } = await ztlp(['help']);
    const columns = [...stdout.matchAll(/^ {2}\$ ztlp (?!conform|decode).*? {2,}/gm)].map(
      ([text]) => text.length,
    );
    expect(columns.length).toBeGreaterThan(6);
    expect(new Set(columns).size).toBe(1);
  });
});
