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
  readonly walks: readonly {
    readonly steps: readonly {
      what: string;
      address: string | number;
      entry: string | number;
      meaning: string;
    }[];
    readonly answer: Record<string, unknown>;
    readonly reason?: string;
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
      ['translated', 0x1234_5ffc],
      ['translated', 0x4000_0000],
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
    expect(walks[0]?.answer).toMatchObject({ kind: 'translated', address: 0x7fff_ffff, pageLg2: 30 });
  });

  it('ends where the image ends', async () => {
    const { walks } = await json([
      ...['--unit', 'vtd', '--root', '0x1000', '--image', `${at('memory.bin')}@0x1000`],
      ...['--sid', '01:00.0', '--address', '0x1000'],
    ]);
    expect(walks[0]).toMatchObject({
      answer: { kind: 'fault', reason: 1 },
      reason: 'root entry not present',
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
    expect(walks[0]?.answer).toMatchObject({ kind: 'translated', address: 0x9123, forcesSnoop: true });
    expect(walks[0]?.steps.map(({ what, meaning }) => `${what}: ${meaning}`)).toEqual([
      'device: mode 2, table 0x2000, TV, IR, IW',
      'device: domain 7',
      'device: ',
      'level 2: table 0x3000 of level 1, IR, IW',
      'level 1: 4 KiB page 0x9000, FC, IR, IW',
    ]);
  });

  it.each([
    ['unit: vtd\nroot: 0x1000\nroots: 1\n', 'roots', ':3: roots: '],
    ['unit: gart\nroot: 0\n', 'unit', ':1: unit: "gart"'],
    ['unit: vtd\n', 'root', 'root'],
    ['unit: vtd\nroot: -1\n', 'root', ':2: root: -1'],
    [
      'unit: vtd\nroot: 0x1000\nrequests:\n  - { sid: "4", address: 1 }\n  - { sid: "00:99.0", address: 1 }\n',
      'sid',
      ':5: requests.1.sid',
    ],
    ['unit: vtd\nroot: 0x1000\nentries: { x: 1 }\n', 'entries', 'entries'],
    ['unit: [\n', 'file', 'at line 2'],
    ['', 'file', 'file'],
    ['unit: smmuv3\nroot: 0\ncap: 1\nentries: { 0: 0 }\n', 'cap', 'cap is not of a unit of kind smmuv3'],
    ['unit: vtd\nroot: 0\noptions: { iotlbKeys: domain }\nentries: { 0: 0 }\n', 'options', 'iotlbKeys'],
    ['unit: vtd\nroot: 0\nimages: [{ file: none.bin, at: 0 }]\n', 'images', 'none.bin'],
    ['unit: vtd\nroot: 0\nentries: { 0: 0, 0x4000000000: 0 }\n', 'memory', 'images and entries within 2 GiB'],
    ['unit: vtd\nroot: 0\nentries: { 4: 0 }\n', 'entries', 'multiples of 8'],
    ['unit: vtd\nroot: 0\n', 'memory', 'an image or entries'],
  ])('says what is wrong with %j', async (text, _field, message) => {
    const file = at('wrong.yaml');
    await writeFile(file, text);
    const { code, stdout, stderr } = await ztlp(['iommu', 'walk', file, '--sid', '1', '--address', '0']);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(message);
    expect([1, 2]).toContain(code);
  });

  it.each([
    [[], 'a scenario file, or --unit, --root and --image'],
    [['--unit', 'vtd'], 'a scenario file, or --unit, --root and --image'],
    [[EXAMPLE, '--sid', '1'], '--sid, --pasid, --write and --privileged go with --address'],
    [[EXAMPLE, '--unit', 'vtd'], '--unit: the scenario has it'],
    [[EXAMPLE, '--address', 'here'], 'Expected: a number such as 0x1000'],
    [[EXAMPLE, '--image', 'x'], 'Expected: FILE@ADDRESS'],
    [[EXAMPLE, '--sid', '00:04', '--address', '0'], 'Expected: a requester such as 00:04.0'],
    [['nothing.yaml'], 'nothing.yaml: ENOENT'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await ztlp(['iommu', 'walk', ...args]);
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('help finds a command below another', async () => {
    expect((await ztlp(['help', 'iommu', 'walk'])).stdout).toContain(
      'Usage: ztlp iommu walk [options] [scenario]',
    );
    expect((await ztlp(['help', 'iommu', 'wlk'])).stderr).toContain(
      "unknown command 'wlk', did you mean walk?",
    );
  });
});
