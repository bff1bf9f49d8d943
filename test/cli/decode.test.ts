/** `ztlp decode` and `ztlp encode` as people and pipes use them. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MAIN, ROOT, ztlp } from '../support/cli.js';

const MWR = '400000010100000ffe00000012345678';
/** A read with PASID, a poisoned write that lacks its digest, and a write that lacks two DW of data. */
const LINES = [
  '9120004220000010010007ff0000010000001000',
  '4000c0010100000ffe00000012345678',
  '40000003010000fffe00000012345678',
];

/** One line on stderr, nothing on stdout. */
async function refuses(args: string[], code: number, pattern: RegExp, stdin?: string): Promise<void> {
  const outcome = await ztlp(args, stdin === undefined ? {} : { stdin });
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(/^ztlp: [^\n]*\n$/);
  expect(outcome.stderr).toMatch(pattern);
}

async function output(args: string[], stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await ztlp(args, stdin === undefined ? {} : { stdin });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

const row = (...cells: string[]): RegExp => new RegExp(`^ *${cells.join(' +')}$`, 'm');

describe('ztlp decode', () => {
  it('shows a write as a table of its fields', async () => {
    const text = await output(['decode', '40000001', '0100000f', 'fe000000', '12345678']);
    expect(text).toMatch(/^MWr32: 0xfe000000 to 0xfe000003, 4 bytes, from 01:00\.0\n/);
    expect(text).toMatch(row('byte', 'bits', 'field', 'raw', 'meaning'));
    expect(text).toMatch(row('0', '7:5', 'Fmt', '2', '3 DW header, with data'));
    expect(text).toMatch(row('4-5', '15:0', 'Requester ID', '0x0100', '01:00\\.0'));
    expect(text).toMatch(row('7', '3:0', 'First DW BE', '0xf', 'all bytes'));
    expect(text).toMatch(row('8-11', '31:2', 'Address', '0xfe000000', '0xfe000000 to .*'));
    expect(text).toMatch(row('12-15', 'Data', '4 bytes', '12345678'));
    expect(text).toContain('posted: 1 header credit, 1 data credit; 24 bytes on the wire');
    expect(text).not.toContain('Malformed');
  });

  it.each([
    ['0x40000001_0100000f_fe000000_12345678'],
    ['40:00:00:01:01:00:00:0f:fe:00:00:00:12:34:56:78'],
    ['0x40 0x00 0x00 0x01 0x01 0x00 0x00 0x0F 0xFE 0x00 0x00 0x00 0x12 0x34 0x56 0x78'],
    ['4000 0001', '0100000f, fe000000', '12345678'],
  ])('reads %j as the same TLP', async (...words) => {
    expect(await output(['decode', ...words])).toBe(await output(['decode', MWR]));
  });

  it('shows prefixes, tags of 10 bits, read enables and the bytes that are asked for', async () => {
    const bytes = (
      await output(
        'encode MRd addr=0x12345000 len=4 fbe=0xe lbe=1 tag=0x3ff pasid=0x42 priv req=ff:1f.7'.split(' '),
      )
    ).trim();
    const text = await output(['decode', bytes]);
    expect(text).toContain('MRd32: 0x12345001 to 0x1234500c, 12 bytes, from ff:1f.7, tag 1023');
    expect(text).toMatch(row('0', '7:0', 'Prefix', '0x91', 'PASID, end to end'));
    expect(text).toMatch(row('1', '5', 'PMR', '1', 'privileged mode requested'));
    expect(text).toMatch(row('1-3', '19:0', 'PASID', '0x00042', '66'));
    expect(text).toMatch(row('10', '7:0', 'Tag', '0xff', 'tag 1023 with T9 and T8'));
    expect(text).toMatch(row('11', '3:0', 'First DW BE', '0xe', 'bytes 1, 2, 3'));
    expect(text).toContain('non-posted: 1 header credit, no data credit; 24 bytes on the wire');
  });

  it.each([
    [
      'Cpl status=RRS cpl=02:03.4 bc=4096',
      /Cpl: RRS from 02:03\.4/,
      row('6', '7:5', 'Status', '2', 'RRS, request retry status'),
    ],
    [
      'Msg code=PME_Turn_Off routing=broadcast',
      /Msg: PME_Turn_Off/,
      row('7', '7:0', 'Message Code', '0x19', 'PME_Turn_Off'),
    ],
    [
      'Msg code=5 routing=id dst=03:02.0',
      /PRG Response/,
      row('8-9', '15:0', 'Destination ID', '0x0310', '03:02\\.0'),
    ],
    [
      'CfgRd0 dst=01:00.0 reg=0xffc',
      /01:00\.0 offset 0xffc/,
      row('10-11', '11:0', 'Register', '0xffc', 'configuration offset 0xffc'),
    ],
    [
      'MRd addr=0x1000 th ph=2 st=0x12a5',
      /MRd32: 0x1000 to 0x1003/,
      row('11', '7:0', 'ST\\[7:0\\]', '0xa5', 'steering tag 0x12a5'),
    ],
    [
      'MWr addr=0x1000 th st=0x21 data=00000000',
      /MWr32/,
      row('6', '7:0', 'ST\\[7:0\\]', '0x21', 'steering tag 0x21'),
    ],
    ['MRd addr=0x1000 at=1 ph=1 len=2', /MRd32/, row('11', '0', 'NW', '1', 'no write intended')],
    ['MRd addr=0x1000 fbe=0', /no byte, flushes at 0x1000/, row('7', '3:0', 'First DW BE', '0x0', 'no byte')],
    [
      'MWr addr=0x1000 fbe=9 data=00000000',
      /0x1000 to 0x1003, 4 bytes with gaps/,
      row('7', '3:0', 'First DW BE', '0x9', 'bytes 0, 3'),
    ],
    [
      'CAS addr=0x1000 data=0000000000000001',
      /operand of 4 bytes at 0x1000/,
      row('0', '4:0', 'Type', '0x0e', 'CAS'),
    ],
    [
      'IOWr addr=0xcf8 fbe=1 data=00000001',
      /IOWr: 0xcf8, 1 byte/,
      row('8-11', '31:2', 'Address', '0x00000cf8', '0xcf8, 1 byte'),
    ],
  ])('reads %s back', async (words, title, line) => {
    const bytes = await output(['encode', ...words.split(' ')]);
    const text = await output(['decode', '-'], bytes);
    expect(text).toMatch(title);
    expect(text).toMatch(line);
    expect(text).not.toMatch(/Malformed|reserved bits/);
  });

  it('says what is wrong: rule and section, ECRC, reserved bits', async () => {
    const malformed = await output(['decode', LINES[2] ?? '']);
    expect(malformed).toContain(
      'Malformed TLP: data bytes differ from the Length field (PCIe base specification 2.2.2)',
    );
    const good = (await output(['encode', 'MWr', 'td', 'data=12345678'])).trim();
    expect(await output(['decode', good])).toMatch(row('16-19', 'Digest', '[0-9a-f]{8}', 'ECRC ok'));
    const bad = await output(['decode', `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`]);
    expect(bad).toContain('ECRC wrong');
    expect(bad).toContain(`ECRC error: the digest should be ${good.slice(-8)}`);
    expect(await output(['decode', '0a00000000000004000000ff'])).toContain(
      'reserved bits are set in byte 11',
    );
    const form = await output(['decode', '3400000000000050', '0000000000000000']);
    expect(form).toContain('Set_Slot_Power_Limit comes as MsgD');
  });

  it('takes --mps, --be-check and --no-digest', async () => {
    const write = (await output(['encode', 'MWr', `data=${'00'.repeat(132)}`])).trim();
    expect(await output(['decode', write])).not.toContain('Malformed');
    expect(await output(['decode', '--mps', '128', write])).toContain('longer than Max_Payload_Size');
    const gap = (await output(['encode', 'MWr', 'addr=4', 'fbe=9', `data=${'00'.repeat(8)}`])).trim();
    const unchecked = await output(['decode', gap]);
    expect(unchecked).not.toContain('Malformed');
    expect(unchecked).toContain('byte enables break 2.2.5: malformed for a receiver that checks them');
    expect(unchecked).not.toContain('sheet');
    expect(await output(['decode', '--be-check', gap])).toContain('byte enables break the rules');
    const stripped = (await output(['encode', '--no-digest', 'MRd', 'td'])).trim();
    expect(await output(['decode', stripped])).toContain('digest DW disagree');
    expect(await output(['decode', '--no-digest', stripped])).not.toContain('Malformed');
  });

  it('has examples of its help that are well-formed', async () => {
    const help = await output(['decode', '--help']);
    const examples = [...help.matchAll(/^ {2}\$ ztlp (decode(?: --\S+| [0-9a-f]+)+)(?: {2}|$)/gm)].map(
      ([, call = '']) => call.trim().split(' '),
    );
    expect(examples.length).toBeGreaterThan(2);
    for (const call of examples) expect(await output([...call, '--be-check'])).not.toMatch(/Malformed|break/);
  });

  it('shows the LCRC of a sequence number', async () => {
    const text = await output(['decode', '--sequence', '0', '00'.repeat(12)]);
    expect(text).toMatch(row('12-15', 'LCRC', 'c779bbd1', 'over sequence number 0 .*'));
    expect(JSON.parse(await output(['decode', '--json', '--sequence', '0', '00'.repeat(12)]))).toMatchObject({
      sequence: 0,
      lcrc: 'c779bbd1',
    });
  });

  it('prints errors alone with --quiet: with --strict the exit code says whether all are well-formed', async () => {
    const malformed = LINES[2] ?? '';
    for (const args of [
      ['decode', '--quiet', MWR],
      ['decode', '--quiet', malformed],
    ]) {
      expect(await ztlp(args)).toEqual({ code: 0, stdout: '', stderr: '' });
    }
    const strict = {
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^ztlp: [^\n]*Malformed TLP[^\n]*\n$/),
    };
    expect(await ztlp(['decode', '--quiet', '--strict', malformed])).toEqual(strict);
    const stdin = `${MWR}\n${malformed}\n`;
    expect(await ztlp(['decode', '--quiet', '--strict'], { stdin })).toEqual(strict);
    expect(await ztlp(['decode', '--quiet'], { stdin })).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(JSON.parse(await output(['decode', '--quiet', '--json', MWR])).type).toBe('MWr');
  });

  it('reads lines: bad ones are reported with their numbers and counted, exit 1', async () => {
    const stdin = `# comment\n${MWR}\n\n40\nhello\n${LINES[0]}`;
    const { code, stdout, stderr } = await ztlp(['decode', '--json'], { stdin });
    expect(code).toBe(1);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).type),
    ).toEqual(['MWr', 'MRd']);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^ztlp: line 4: .*too short/),
      expect.stringMatching(/^ztlp: line 5: "h" is no hex digit/),
      'ztlp: 2 of 4 lines could not be used',
      '',
    ]);
  });

  it('puts an empty line between the tables of a pipe, also across bad lines', async () => {
    const { stdout } = await ztlp(['decode'], { stdin: `${MWR}\n40\n${MWR}\n` });
    const one = await output(['decode', MWR]);
    expect(stdout).toBe(`${one}\n${one}`);
  });

  it('shows a TLP before the next line is there, and ends as soon as nobody reads on', async () => {
    const child = spawn(process.execPath, [MAIN, 'decode'], { stdio: 'pipe' });
    child.stdin.on('error', () => undefined);
    child.stdin.write(`${MWR}\n`);
    const [shown] = (await once(child.stdout, 'data')) as [Buffer];
    expect(shown.toString()).toMatch(/^MWr32: /);
    child.stdout.destroy();
    child.stdin.write(`${MWR}\n`.repeat(100));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(0);
  });

  it('takes no time worth mentioning for a table', async () => {
    const stdin = `${MWR}\n`.repeat(3000);
    const began = performance.now();
    const text = await output(['decode'], stdin);
    // 5 ms per TLP would be 15 s; a busy machine is far below a third of that.
    expect(performance.now() - began).toBeLessThan(5000);
    expect(text.match(/^MWr32: /gm)).toHaveLength(3000);
  });

  it('--strict ends at the first bad line, and at the first malformed TLP', async () => {
    const bad = await ztlp(['decode', '--strict', '--json'], { stdin: `${MWR}\nzz\n${MWR}\n` });
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringMatching(/^ztlp: line 2: [^\n]*\n$/) });
    expect(bad.stdout.trim().split('\n')).toHaveLength(1);
    const malformed = await ztlp(['decode', '--strict', '--json'], { stdin: `${LINES[2]}\n${MWR}\n` });
    expect(malformed).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^ztlp: line 1: Malformed TLP/),
    });
    expect(malformed.stdout.trim().split('\n')).toHaveLength(1);
    expect(await ztlp(['decode', '--strict', LINES[2] ?? ''])).toMatchObject({ code: 1 });
    expect(await ztlp(['decode', '--strict', MWR])).toMatchObject({ code: 0 });
  });

  it('shows DLLPs, and says when the CRC is wrong', async () => {
    const ack = await output(['decode', '--dllp', '00000abc', '0000']);
    expect(ack).toMatch(row('2-3', '11:0', 'AckNak_Seq_Num', '0xabc', 'sequence number 2748'));
    expect(ack).toMatch(/Bad DLLP: the CRC-16 does not fit/);
    const bytes = await output('encode --dllp InitFC1 flow=CPL vc=1 hs=2 hc=5 ds=3 dc=7'.split(' '));
    const text = await output(['decode', '--dllp'], bytes);
    expect(text).toMatch(row('1-2', '7:0', 'HdrFC', '0x05', '20 header credits'));
    expect(text).toMatch(row('2-3', '11:0', 'DataFC', '0x007', '112 data credits'));
    expect(text).toMatch(row('4-5', '15:0', 'CRC', '[0-9a-f]{4}', 'ok'));
    expect(await ztlp(['decode', '--dllp', '--strict', '00000abc0000'])).toMatchObject({ code: 1 });
  });

  it.each([
    [['decode', '4'], 1, /no whole bytes/],
    [['decode', '40000001'], 1, /too short/],
    [['decode', `1b${'00'.repeat(15)}`], 1, /byte 0 is 0x1b/],
    [['decode', '00'.repeat(5000)], 1, /at most 4160 bytes/],
    [['decode', 'README.md'], 2, /"README\.md" is a file: for what is in it, ztlp decode < README\.md\n/],
    [['decode', '--dllp', '00'], 1, /a DLLP has 6 bytes, not 1/],
    [['decode', '--sequence', '4096', MWR], 2, /0 to 4095/],
    [['decode', '--mps', '100', MWR], 2, /128, 256/],
  ])('refuses %j', async (args, code, pattern) => {
    await refuses(args, code, pattern);
  });
});

describe('docs/tlp.md', () => {
  const text = readFileSync(new URL('../../docs/tlp.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```console\n\$ (.*)\n((?:.|\n)*?)```/g)].map(
    ([, call = '', shown = '']) => [call, shown],
  );

  it('has examples', () => expect(blocks.length).toBeGreaterThan(3));

  it.each(blocks)('shows the output of %s', async (call, shown) => {
    let stdin: string | undefined;
    for (const command of call.split(' | ')) {
      const [name, ...args] = command.split(' ');
      expect(name).toBe('ztlp');
      stdin = await output(args, stdin);
    }
    expect(stdin).toBe(shown);
  });
});

describe('ztlp encode', () => {
  it.each([
    [
      'MWr addr=0x10000000000 len=2 tag=1 req=01:00.0 data=0011223344556677 ns=1',
      '60001002010001ff00000100000000000011223344556677',
    ],
    ['mrd64 addr=0x1000000000', '20000001 0000000f 00000010 00000000'],
    ['CplD req=00:00.0 cpl=01:00.0 bc=4 status=SC data=ffffffff', '4a000001 01000004 00000000 ffffffff'],
    ['Cpl status=ca bc=4096 la=0x7f tag=0x3ff bcm', '0a880000 00009000 0000ff7f'],
    ['CfgWr0 dst=01:00.0 reg=0x10 data=00000000 fbe=3', '44000001000000030100001000000000'],
    ['Msg code=assert_inta routing=local req=0000:00:1f.7', '34000000 00ff0020 00000000 00000000'],
    [
      'MsgD code=vendor_defined_type_1 routing=id dst=02:00.1 msg=0x1234 data=01020304',
      '72000001 0000007f 02010000 00001234 01020304',
    ],
    [
      'MRd addr=4 ro ido tc=5 ep=1 prefix=local:14:0x10203 prefix=e2e:15:4',
      '8e010203 9f000004 00546001 0000000f 00000004',
    ],
  ])('%s', async (words, hex) => {
    expect(await output(['encode', ...words.split(' ')])).toBe(`${hex.replaceAll(' ', '')}\n`);
  });

  it('takes words in one text, and data with spaces', async () => {
    const plain = await output(['encode', 'MWr', 'data=0011223344556677']);
    expect(await output(['encode', 'MWr data=0011223344556677'])).toBe(plain);
    expect(await output(['encode', 'MWr', 'data=00112233 44:55:66:77'])).toBe(plain);
    expect(await output(['encode', '-'], 'MWr data=0011223344556677')).toBe(plain);
  });

  it('and decode are inverse, whatever the vectors, malformed and poisoned ones bring', async () => {
    const file = new URL('../vectors/tlp-cocotbext-pcie.json', import.meta.url);
    const { tlp } = JSON.parse(readFileSync(file, 'utf8')) as { tlp: { hdr: string; data?: string }[] };
    const bytes = [...tlp.slice(0, 600).map(({ hdr, data = '' }) => hdr + data), ...LINES, MWR];
    const json = await output(['decode', '--json'], bytes.join('\n'));
    expect(json.trim().split('\n')).toHaveLength(bytes.length);
    expect((await output(['encode'], json)).trim().split('\n')).toEqual(bytes);
  });

  it('decodes what it encodes to the same words', async () => {
    const hex = await output(['encode', 'MWr', 'addr=0xfe000000', 'req=01:00.0', 'data=12345678', 'td']);
    const [json = ''] = (await output(['decode', '--json'], hex)).split('\n');
    expect(await output(['encode', json])).toBe(hex);
    expect(JSON.parse(await output(['encode', '--json', 'MWr', 'data=12345678']))).toMatchObject({
      type: 'MWr',
      data: '12345678',
      hex: '400000010000000f0000000012345678',
      malformed: null,
    });
    const { digest, ...without } = JSON.parse(json);
    expect(digest).toMatch(/^[0-9a-f]{8}$/);
    expect(await output(['encode'], JSON.stringify(without))).toBe(hex); // computed again
    const stale = await output(['encode'], JSON.stringify({ ...without, digest: '00000000' }));
    expect(stale).toBe(`${hex.trim().slice(0, -8)}00000000\n`);
    expect(await output(['encode', '--no-digest', json])).toBe(`${hex.trim().slice(0, -8)}\n`);
  });

  it('keeps 64-bit values exact', async () => {
    const hex = await output(['encode', 'MRd', 'addr=0xfffffffffffffffc']);
    const json = await output(['decode', '--json'], hex);
    expect(JSON.parse(json).address).toBe('0xfffffffffffffffc');
    expect(await output(['encode'], json)).toBe(hex);
  });

  it('and decode are inverse for DLLPs', async () => {
    const words = [
      'Ack seq=4095',
      'UpdateFC flow=np vc=2 hc=9 dc=8',
      'DataLinkFeature ack features=1',
      'PM_Enter_L1',
      'NOP value=7',
    ];
    const hex = await output(['encode', '--dllp'], words.join('\n'));
    const json = await output(['decode', '--dllp', '--json'], hex);
    expect(await output(['encode', '--dllp'], json)).toBe(hex);
    expect(json).toMatch(
      /^{"type":"Ack","sequence":4095,"crc":"[0-9a-f]{4}","crcOk":true,"hex":"00000fff[0-9a-f]{4}"}\n/,
    );
  });

  it('builds malformed TLPs only when asked to', async () => {
    await refuses(['encode', 'IORd', 'ns'], 2, /attr: "ns" is not valid; allowed: none on IORd/);
    await refuses(['encode', 'MRd', 'at=3'], 2, /Malformed TLP \(2\.2\.4\.1\): AT 3 is reserved/);
    expect(await output(['encode', '--malformed', 'IORd', 'ns'])).toMatch(/^02001001/);
    expect(await output(['encode', '--malformed', 'MWr', 'len=4', 'data=00'])).toMatch(/^40000004.*00\n$/);
  });

  it.each([
    [['encode', 'Hello'], 2, /type: "Hello".*MRd, MRdLk/],
    [['encode', 'Cpl64'], 2, /type: "Cpl64".*did you mean Cpl/],
    [['encode', 'IORd32', 'addr=0x40'], 2, /type: "IORd32".*did you mean IORd/],
    [['encode', 'MRd', 'addr=4', 'address=8'], 2, /"address" is given twice/],
    [['encode', 'MRd', 'tag=4', 'TAG=4'], 2, /"TAG" is given twice/],
    [['encode', '--dllp', 'Ack', 'seq=1', 'sequence=2'], 2, /"sequence" is given twice/],
    [['encode', 'MWr', 'adr=1'], 2, /key: "adr".*addr, address/],
    [['encode', 'MWr', 'addr=lots'], 2, /addr: "lots"/],
    [['encode', 'MRd', 'addr=2'], 2, /multiple of 4/],
    [['encode', 'MRd', 'req=1:2:3'], 2, /01:00\.0/],
    [['encode', 'MRd', 'req=01:20.0'], 2, /up to 1f/],
    [['encode', 'MRd', 'ns=2'], 2, /ns: "2".*0, 1/],
    [['encode', 'Cpl', 'status=OK'], 2, /SC, UR, RRS, CA/],
    [['encode', 'MRd', 'prefix=far:1:2'], 2, /local:TYPE:VALUE/],
    [['encode', 'MWr', 'len=2', 'data=00000000'], 2, /8 bytes for Length 2/],
    [['encode', 'MWr', 'data=0011'], 2, /data is 2 bytes, not a multiple of 4\n/],
    [['encode', 'MWr', 'len=1', 'data=00'], 2, /data is 1 byte, not a multiple of 4\n/],
    [['encode', 'MWr'], 2, /MWr needs data=\.\.\., 4 bytes per DW\n/],
    [['encode', 'CplD', 'len=2'], 2, /CplD needs data=\.\.\., 8 bytes for len=2\n/],
    [['encode', 'MRd', 'len=1025'], 2, /^ztlp: len: 1025/],
    [['encode', 'MRd', 'length=1025'], 2, /^ztlp: length: 1025/],
    [['encode', 'MRd', 'FBE=16'], 2, /^ztlp: fbe: 16/],
    [['encode', 'MRd', 'req=65536'], 2, /^ztlp: req: 65536/],
    [['encode', 'CfgRd0', 'reg=3'], 2, /^ztlp: reg: 3/],
    [['encode', '--dllp', 'NOP', 'value=0x1000000'], 2, /^ztlp: value: 16777216/],
    [['encode', '{}'], 2, /^ztlp: no field type\n/],
    [['encode', '--dllp', '{}'], 2, /^ztlp: no field type\n/],
    [['encode', 'README.md'], 2, /"README\.md" is a file: for what is in it, ztlp encode < README\.md\n/],
    [['encode', 'MRd', 'data=00'], 2, /MRd carries none/],
    [['encode', '{"type":"MRd","adress":1}'], 2, /field "adress" is not known/],
    [['encode', '{"type":"MRd","tag":"1"}'], 2, /tag: "1".*an integer/],
    [['encode', '{"type":"constructor"}'], 2, /type: "constructor"/],
    [['encode', '{"type":"MRd","prefixes":[{"scope":"local","size":1}]}'], 2, /prefixes\[0\]\.size/],
    [['encode', '{"type":'], 2, /not JSON/],
    [['encode', '--dllp', 'Ack', 'vc=1'], 2, /Ack has no field "vc"/],
    [['encode', '--dllp', 'Ack', 'seq=4096'], 2, /^ztlp: seq: 4096.*0 to 4095/],
    [['encode', '--dllp', '{"type":"Ack","sequence":"1"}'], 2, /a number/],
  ])('refuses %j', async (args, code, pattern) => {
    await refuses(args, code, pattern);
  });

  it('reports bad lines of a pipe and goes on', async () => {
    const stdin = 'MRd\nMRx\n{"type":"MRd"}\n{}\nMRd tag=1024\n';
    const { code, stdout, stderr } = await ztlp(['encode'], { stdin });
    expect(code).toBe(1);
    expect(stdout).toBe('000000010000000f00000000\n'.repeat(2));
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^ztlp: line 2: type: "MRx"/),
      'ztlp: line 4: no field type',
      expect.stringMatching(/^ztlp: line 5: tag: 1024/),
      'ztlp: 3 of 5 lines could not be used',
      '',
    ]);
  });
});

describe.each(['decode', 'encode'])('%s', (command) => {
  it('explains itself with examples', async () => {
    const text = await output([command, '--help']);
    for (const word of ['Examples:', '--json', '--dllp', '--strict', 'Exit code'])
      expect(text).toContain(word);
  });

  it('says that there was nothing in standard input: no error but with --strict', async () => {
    const nothing = 'ztlp: no TLP in standard input\n';
    for (const stdin of ['', '\n# only a comment\n'])
      expect(await ztlp([command], { stdin })).toEqual({ code: 0, stdout: '', stderr: nothing });
    expect(await ztlp([command, '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await ztlp([command, '--strict', '--quiet'])).toEqual({ code: 1, stdout: '', stderr: nothing });
    expect((await ztlp([command, '--dllp'])).stderr).toBe('ztlp: no DLLP in standard input\n');
  });

  it('refuses a directory as standard input', () => {
    const descriptor = openSync(ROOT, 'r');
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, command], {
      stdio: [descriptor, 'pipe', 'pipe'],
      encoding: 'utf8',
    });
    closeSync(descriptor);
    const message = 'ztlp: standard input is a directory\n';
    expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: message });
  });

  it('ends silently with 0 when the reader of its output goes away', async () => {
    const stdin = `${command === 'decode' ? MWR : 'MRd'}\n`.repeat(20000);
    expect(await ztlp([command, '--json'], { stdin, closeAfter: 1 })).toMatchObject({ code: 0, stderr: '' });
  });
});
