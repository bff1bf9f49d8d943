/** zPCI scripts at work: every instruction and command, what they answer and set going, expectations, output as input. */
import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ansi, PLAIN } from '../../src/report/style.js';
import { readScript, runScript, ZpciRunner } from '../../src/report/zpci-run.js';
import {
  formatLine,
  formatTotals,
  lineToJson,
  totalsProblem,
  ZpciTotals,
} from '../../src/report/zpci-text.js';
import { VERBS } from '../../src/report/zpci-verb-list.js';
import { decodeTlp } from '../../src/tlp/codec.js';
import { parseHex } from '../../src/tlp/text.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { meets, read, run } from './zpci-support.js';

const EXAMPLE = readFileSync(new URL('../../examples/pcistb.zpci', import.meta.url), 'utf8');
const LOG = readFileSync(new URL('../vectors/trace-linux-s390x-virtio-net.log', import.meta.url), 'utf8');
const NATIVE = 'function nic bar0=64K zpciMode=native mps=128\n';
const MAPPED = `${NATIVE}map nic 0x1_0000_0000 0x10000 len=8K
MPCIFC fh=nic oc=4 -> cc=0
RPCIT fh=nic start=0x1_0000_0000 len=8K -> cc=0\n`;

describe.each(BUILDS)('on the %s core', (build) => {
  const core = useBuild(build);

  it('the example meets what it expects', async () => {
    const { results, texts } = await meets(EXAMPLE, core());
    expect(results.length).toBeGreaterThan(15);
    expect(texts.join('\n')).toContain('event 0x4 translation protection: nic at 0x100001000, reading');
    expect(EXAMPLE.split('\n').length).toBeLessThanOrEqual(45);
  });

  it('loads and stores answer as sheet zpci.md 2.5 to 2.7 says', async () => {
    await meets(
      `PCISTG fh=dev as=0 len=2 off=6 data=7788 -> cc=0 calls=1 tlps=0
PCISTG fh=80020001 as=0 len=4 off=0 data=12345678 -> cc=0
PCILG fh=dev as=0 len=8 off=0 data=1234567800007788 -> cc=0
PCILG fh=0x80020001 as=0 len=1 off=7 -> cc=0 data=88
PCILG fh=00020001 as=0 len=4 off=0 -> cc=3
PCILG fh=80020002 as=0 len=4 off=0 -> cc=3
PCILG fh=dev as=6 len=4 off=0 -> cc=1 status=20
PCILG fh=dev as=0 len=0 off=0 -> operand
PCILG fh=dev as=0 len=9 off=0 -> operand exception
PCILG fh=dev as=0 len=2 off=7 -> operand
PCILG fh=dev as=15 len=4 off=0 data=f41af110 -> cc=0
PCILG fh=dev as=0 len=4 off=0 r2=3 -> specification
PCILG fh=dev as=0 len=4 off=0 r2=3 problem -> privileged operation exception
PCISTB fh=dev as=0 len=16 off=0 data=000102030405060708090a0b0c0d0e0f -> cc=0 calls=2
PCISTB fh=dev as=0 len=8192 off=0 -> specification
PCISTB fh=dev as=15 len=12 off=0 -> cc=1 status=20
fill 0x4000 16 0xab
PCISTB fh=dev as=0 len=16 off=16 src=0x4000 -> cc=0
PCISTB fh=dev as=0 len=16 off=16 src=0x4004 -> specification
PCISTB fh=dev as=0 len=16 off=16 src=0x1000000 -> addressing
PCISTB fh=dev as=0 len=16 off=32 fill=7 problem -> privileged
show dev bar0 14 4 -> data=0e0fabab`,
      core(),
    );
  });

  it('a relaxed native function takes 11 bytes anywhere, as one TLP', async () => {
    const { results } = await meets(
      `option maxstbl=4096
function nic zpciMode=native relaxed=true
PCISTB fh=nic as=0 len=11 off=3 fill=1 -> cc=0 tlps=1
PCISTB fh=nic as=0 len=4K off=0 -> cc=0 tlps=16
PCISTB fh=nic as=0 len=4K off=1 -> specification`,
      core(),
    );
    expect(results[0]?.tlps[0]?.tlp).toMatchObject({ type: 'MWr', length: 4, firstBe: 8, lastBe: 3 });
    expect(results.map(({ wireBytes }) => wireBytes > 0)).toEqual([true, true, false]);
  });

  it('CLP, STPCIFC and SCLP show what they answer by name', async () => {
    const { texts } = await meets(
      `function a bar0=64K bar2=1M
function b device=virtio-like index=7 relaxed=true
CLP list -> cc=0 response=0010
CLP query fh=a -> response=0010
CLP query fh=80020003 -> response=0101
CLP group id=0xff -> response=0x10
CLP group id=0xf0 -> response=0010
CLP group id=3 -> response=010b
CLP set fh=a oc=0 -> response=0102
CLP set fh=a oc=1 -> response=0010 state=disabled
CLP set fh=a oc=0 ndas=2 -> response=0104
CLP set fh=a oc=0 -> response=0010 state=enabled
CLP list problem -> privileged
CLP -> cc=0
memory 0x5000 0020 0004 00000000 0000000000000000 000000ff 00000000 00000000 00000000 0040
CLP block=0x5000 -> cc=0 response=0010
show 0x5022 2 -> data=0010
CLP block=0x6000 -> operand
STPCIFC fh=a -> cc=0 fc=0x80
STPCIFC fh=00020001 -> cc=0 fc=0x80
STPCIFC fh=a fib=4 -> specification
STPCIFC fh=a dmaas=1 -> cc=1 status=28
SCLP deconfigure fid=a -> response=0020 state=standby
SCLP deconfigure fid=0x10 -> response=0120
SCLP configure fid=16 -> response=0020 state=disabled
SCLP configure fid=99 -> response=09f0
SIC oc=1 isc=2 -> cc=3
SIC oc=2 isc=2 -> operand`,
      core(),
    );
    const all = texts.join('\n');
    for (const text of [
      'fh 80020001  fid 0x10, 1af4:10f1, configured',
      'fh 80020007  fid 0x11, 1af4:1041, configured',
      'bar0        64K, stored 04000000',
      'bar2        1M, stored',
      'response 0101: bad handle',
      'flags         0x9: refresh, relaxed length and alignment',
      'MSI address   0xfe00000000000000',
      'a: enabled -> disabled',
      'not run: a log does not hold the block',
      'response 010b: group unknown',
      'fc  0x80: enabled',
      'the request register now holds the enabled handle',
      'block address 0x4 is not a multiple of 8',
      'status 28: invalid DMA address space',
      'response 09f0: unknown adapter',
    ])
      expect(all).toContain(text);
  });

  it('DMA goes through the tables of map, and an error is left by oc 9 and oc 7', async () => {
    const { texts } = await meets(
      `${MAPPED}map nic 0x1_0000_2000 0x10000 ro -> iota=0xf00804
RPCIT fh=nic start=0x1_0000_2000 len=4K -> cc=0
dma nic write 0x1_0000_0ffe 01020304 -> ok tlps=2
show 0x10ffe 4 -> data=01020304
dma nic read 0x1_0000_2ffe 2 -> ok data=0102 event=none
dma nic write 0x1_0000_2000 01 -> ok event=4 state=error
dma nic read 0x1_0000_0000 4 -> unsupported-request event=none
PCISTG fh=nic as=0 len=4 off=0 -> cc=1 status=12
MPCIFC fh=nic oc=7 -> cc=0 state=enabled
unmap nic 0x1_0000_0000
dma nic read 0x1_0000_0ffe 2 -> ok data=0102
RPCIT fh=nic start=0x1_0000_0000 len=4K -> cc=0
dma nic read 0x1_0000_0ffe 2 -> event=4
MPCIFC fh=nic oc=9 -> cc=0 state=error-ls-open
MPCIFC fh=nic oc=9 -> cc=1 status=24
MPCIFC fh=nic oc=7 -> cc=0
MPCIFC fh=nic oc=5 -> cc=0
MPCIFC fh=nic oc=8 -> operand
dma nic write 0x1_0000_0000 300 of counting -> tlps=3`,
      core(),
    );
    expect(texts[1]).toContain('iota 0xf00804, 0x100000000 to 0x3ffffffffff');
    expect(texts.join('\n')).toContain('status 24: sequence');
  });

  it('tables stand where they are asked for, and two functions have their own', async () => {
    const { results } = await meets(
      `function a
function b
tables a at=0x400000 -> iota=0x400804
map b 0x1_0000_0000 0x1000 -> iota=0xf00804
map a 0x1_0000_0000 0x2000 -> iota=0x400804
show 0x400010 8 -> data=0000000000404007
memory 0x1000 0b
memory 0x2000 0a
MPCIFC fh=a oc=4 iota=0x400804 pba=0x1_0000_0000 pal=0x1_0000_0fff -> cc=0
MPCIFC fh=b oc=4 -> cc=0
RPCIT fh=a start=0x1_0000_0000 len=4K -> cc=0
RPCIT fh=b start=0x1_0000_0000 len=4K -> cc=0
dma a read 0x1_0000_0000 1 -> data=0a
dma b read 0x1_0000_0000 1 -> data=0b
reset
show 0x400010 8 -> data=0000000000000000
tables a -> iota=0xf00804`,
      core(),
    );
    expect(results.at(-1)?.error).toBeUndefined();
    const again = await run('tables dev\ntables dev\nmap dev 1 0\nmap dev 0 1\ntables dev at=1', core());
    expect(again.results.map(({ error }) => error?.field)).toEqual([
      undefined,
      'tables',
      'iova',
      'frame',
      'tables',
    ]);
    const full = await run('tables dev at=0xeff000\nshow 0 1', core());
    expect(full.results.map(({ error }) => error?.code)).toEqual(['resource', undefined]);
  });

  it('messages set their bits and raise an adapter interrupt; without registration they go nowhere', async () => {
    const { texts } = await meets(
      `${NATIVE}MPCIFC fh=nic oc=2 isc=3 noi=8 aibv=0x2000 aibvo=3 aisb=0x3000 aisbo=9 sum=1 -> cc=0
STPCIFC fh=nic -> cc=0
msi nic 7 -> ok interrupt=3 tlps=1
show 0x2001 1 -> data=20
show 0x3001 1 -> data=40
msi nic 6 -> ok interrupt=none
MPCIFC fh=nic oc=3 -> cc=0
msi nic 5 -> ok interrupt=none`,
      core(),
    );
    expect(texts[1]).toContain('interrupts  isc 3, noi 8, aibv 0x2000 from bit 3, aisb 0x3000 bit 9');
    expect(texts[2]).toContain('adapter interrupt, ISC 3, from nic');
  });

  it('time moves the measurement block, and state tells what is registered and counted', async () => {
    const { texts } = await meets(
      `${NATIVE}MPCIFC fh=nic oc=10 fmb=0x7000 -> cc=0
PCISTB fh=nic as=0 len=16 off=0 -> cc=0
run 4s
show 0x7020 8 -> data=0000000000000001
state
state nic -> state=enabled`,
      core(),
    );
    const [, , , , all = '', one = ''] = texts;
    expect(all).toMatch(/nic +enabled, fh 80000001, fid 0x10, native/);
    expect(all).toMatch(/nic measurement +fmb 0x7000/);
    expect(all).toMatch(/nic counters +loads 0, stores 0, store blocks 1, refreshes 0/);
    expect(all).toMatch(/time +4000000000 ns/);
    expect(one.split('\n').slice(1)).toEqual(all.split('\n').slice(1));
  });

  it('a missed expectation and a line that cannot be run are shown, and the other lines run', async () => {
    const { results, texts } = await run(
      `PCILG fh=dev as=0 len=4 off=0 data=00000001 -> cc=0
PCISTB fh=dev as=0 len=11 off=0 -> cc=0
PCISTB fh=dev as=0 len=16 off=0 -> specification
PCILG fh=dev as=9 len=4 off=0 -> cc=1 status=12
show 0x2000000 1 -> data=00
reset -> event=1`,
      core(),
    );
    expect(texts[0]).toBe(
      'PCILG fh=dev as=0 len=4 off=0 data=00000000 -> cc=0\n  missed: expected data=00000001, got data=00000000\n  1 device call of the emulator, no TLP',
    );
    expect(texts[1]).toContain('missed: expected cc=0, got specification\n');
    expect(texts[2]).toContain('missed: expected specification, got cc=0\n');
    expect(texts[3]).toContain('missed: expected status=12, got status=20\n');
    expect(texts[4]).toContain('not run: address: "0x2000000" is not valid');
    expect(texts[5]).toContain('missed: expected event=0x1, got event=none');
    const totals = new ZpciTotals();
    for (const result of results) totals.add(result);
    expect(totals).toMatchObject({ instructions: 4, missed: 5, errors: 1, lines: [1, 2, 3, 4, 5, 6] });
    expect(totalsProblem(totals)).toBe(
      '5 of 7 expectations missed, 1 line could not be run: lines 1, 2, 3, 4, 5, 6',
    );
    expect(formatTotals(totals, PLAIN)).toMatch(
      /^ {2}total: 4 instructions, 0 TLPs, 0 wire bytes.*1 line not run$/,
    );
    expect(totalsProblem(new ZpciTotals())).toBeUndefined();
  });

  it('gives programs every field of every line, TLPs as bytes', async () => {
    const runner = new ZpciRunner(core());
    const script = await read(`${NATIVE}PCILG fh=nic as=0 len=4 off=8\nCLP group id=255\nshow 99M 1`);
    const objects: Record<string, unknown>[] = [];
    for await (const [, result] of runScript(script, runner))
      if (result !== undefined) objects.push(lineToJson(result, await runner.session()));
    const [load = {}, group = {}, wrong = {}] = objects;
    expect(Object.keys(group)).toEqual(Object.keys(load));
    expect(Object.keys(wrong)).toEqual(Object.keys(load));
    expect(load).toMatchObject({
      line: 2,
      verb: 'PCILG',
      cc: 0,
      data: '00000000',
      state: 'enabled',
      wireBytes: 48,
    });
    const [down, up] = load.tlps as { direction: string; hex: string }[];
    expect(down?.direction).toBe('down');
    expect(decodeTlp(parseHex(down?.hex ?? '')).type).toBe('MRd');
    expect(decodeTlp(parseHex(up?.hex ?? '')).type).toBe('CplD');
    expect(group.fields).toMatchObject({ maxstbl: '128' });
    expect(wrong.error).toMatchObject({ code: 'out-of-range', field: 'address' });
  });

  it('shows 8 TLPs of a line, or all', async () => {
    const runner = new ZpciRunner(core());
    const script = await read(`${NATIVE}dma nic write 0x1000 4K of 1`);
    for await (const [, result] of runScript(script, runner)) {
      if (result === undefined) continue;
      const session = await runner.session();
      const few = formatLine(result, session, { style: PLAIN });
      expect(few.split('\n')).toHaveLength(10);
      expect(few).toContain('... and 24 more TLPs (--all shows them)');
      expect(formatLine(result, session, { style: PLAIN, all: true }).split('\n')).toHaveLength(33);
      const coloured = formatLine(result, session, { style: ansi() });
      expect(stripVTControlCharacters(coloured)).toBe(few);
      expect(formatLine(result, session, { style: PLAIN, echo: false }).split('\n')[0]).toBe('  ok');
    }
  });

  it('prints a script again: its output expects what was answered', async () => {
    for (const text of [
      EXAMPLE,
      `${MAPPED}CLP list\nPCILG fh=nic as=0 len=4 off=0\nstate\ndma nic read 0 4\nSTPCIFC fh=nic\n`,
    ]) {
      const setup = text.split('\n').filter((line) => line.startsWith('function'));
      const first = await run(text, core());
      const second = await meets([...setup, ...first.texts].join('\n'), core());
      expect(second.texts).toEqual(first.texts);
    }
  });

  it('runs the boot log of a real kernel on a function of the same shape', async () => {
    const { results } = await run(`function net index=0 device=virtio-like\n${LOG}`, core());
    const missed = results.filter((result) => result.missed.length > 0);
    expect(results).toHaveLength(1303);
    expect(results.every(({ error }) => error === undefined)).toBe(true);
    // Contents of registers differ; condition codes do not.
    expect(missed.flatMap((result) => result.missed).filter(({ key }) => key !== 'data')).toEqual([]);
    expect(missed.length).toBeLessThan(40);
  });

  it('nothing that can be read makes it throw', async () => {
    const names = [...VERBS.values()].filter(({ kind }) => kind !== 'setup');
    const value = fc.constantFrom(
      '0',
      '1',
      '4',
      '8',
      '15',
      '16',
      '4K',
      '0x1_0000_0000',
      '0xfff8',
      '0xffffff',
      '0xffffffffffffffff',
      'dev',
    );
    const line = fc
      .tuple(fc.constantFrom(...names), fc.array(value, { minLength: 20, maxLength: 20 }), fc.nat())
      .map(([{ name, operands }, values, some]) => {
        const words = Object.entries(operands).map(([key, { place, isRequired }], n) => {
          if (!isRequired && ((some >> n) & 1) === 0) return '';
          return place === 'key' ? `${key}=${values[n]}` : place === 'flag' ? key : (values[n] ?? '');
        });
        return [name, ...words].filter((word) => word !== '').join(' ');
      });
    const shared = new ZpciRunner(core());
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 10 }), async (lines) => {
        const { lines: good } = await readScript(
          (async function* () {
            yield lines.join('\n');
          })(),
          'script',
        );
        const session = await shared.session();
        for (const one of good) {
          const result = await shared.take(one);
          if (result === undefined) continue;
          expect(formatLine(result, session, { style: PLAIN })).not.toBe('');
          lineToJson(result, session);
        }
      }),
      { numRuns: 300 },
    );
  });
});
