/** Reading zPCI scripts: places of errors, commentary, expectations, and that any text at all is answered. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { LineError, MAX_FUNCTIONS, MAX_LINE, ScriptReader } from '../../src/report/zpci-script.js';
import { VERBS } from '../../src/report/zpci-verb-list.js';
import { errorsOf, read } from './zpci-support.js';

const LOG = new URL('../vectors/trace-linux-s390x-virtio-net.log', import.meta.url);

describe('a script', () => {
  it('takes the lines of a recorded log as they are', async () => {
    const text = readFileSync(LOG, 'utf8');
    const { lines, errors } = await read(text);
    expect(errors).toEqual([]);
    const count = (pattern: RegExp): number => text.split('\n').filter((line) => pattern.test(line)).length;
    expect(lines.filter(({ statement }) => statement !== undefined)).toHaveLength(count(/^[A-Z]/));
    expect(lines.filter(({ isSkipped }) => isSkipped)).toHaveLength(count(/^ /));
    expect(
      lines.every(({ statement, expected }) => (statement === undefined) === (expected.length === 0)),
    ).toBe(true);
  });

  it('may be empty, and have comments, blanks and CR LF', async () => {
    expect(await read('')).toEqual({ lines: [], errors: [] });
    const { lines, errors } = await read('\ufeff# one\r\n\r\npcilg FH=DEV as=0 len=4 off=0 # two\r\n');
    expect(errors).toEqual([]);
    expect(lines.map(({ statement }) => statement?.verb.name)).toEqual([undefined, undefined, 'PCILG']);
    expect(lines[2]?.comment).toBe('# two');
  });

  it('passes over what is indented, but not an instruction that somebody indented', async () => {
    expect(
      await errorsOf('  down MWr64: 0x0 to 0x3\n  state of things\n\tMSI address 0xfe\n   # all right\n'),
    ).toEqual([]);
    expect(await errorsOf('  reset\n')).toEqual([
      '1:1 reset stands behind blanks, as commentary does; allowed: instructions and commands in the first column',
    ]);
    expect(await errorsOf('\tPCILG fh=dev\n')).toHaveLength(1);
  });

  it.each([
    ['PCISTB fh=dev as=77 len=64 off=0', '1:18 as: "77" is not valid; allowed: 0 to 15'],
    ['PCIXX', /^1:1 line: "PCIXX" is not an instruction or a command, did you mean PCILG\?/],
    ['CLP quer fh=dev', /^1:1 CLP: "quer" is not one of its operations.*allowed: CLP list, CLP query/],
    ['SCLP', '1:1 SCLP: its operation is missing; allowed: SCLP configure, SCLP deconfigure'],
    [
      'PCISTB fh=dve as=0 len=64 off=0',
      /^1:11 fh: "dve" is not a handle of 8 hexadecimal digits or a function.*allowed: dev$/,
    ],
    ['PCISTB as=0', /^1:12 PCISTB: fh= is missing; allowed: PCISTB fh= as= len= off= \[src=\]/],
    ['PCILG fh=dev as=0 len=4 of=0', /^1:25 PCILG: "of" is not one of its operands/],
    ['PCILG fh=dev fh=dev as=0 len=4 off=0', '1:17 fh: is given twice'],
    ['PCILG fh=dev as=0 len=4 off=0 more', /^1:31 PCILG: "more" is one word too many/],
    ['PCILG fh=dev as=0 len=4 off=1e99', /^1:29 off: "1e99" is not valid; allowed: a number/],
    ['PCILG fh=dev as=0 len=4 off=0x1_0000_0000_0000_0000', /^1:29 off: .* a number of 64 bits/],
    ['PCILG fh=dev as=0 len=4 off=0 ->', '1:32 nothing stands behind ->'],
    ['-> cc=0', '1:1 nothing stands before ->'],
    ['PCILG fh=dev as=0 len=4 off=0 -> cc=9', '1:34 cc: "9" is not valid; allowed: 0 to 3'],
    [
      'PCILG fh=dev as=0 len=4 off=0 -> specifcation',
      /^1:34 expected: "specifcation" is not valid; allowed: operation, privileged/,
    ],
    ['PCILG fh=dev as=0 len=4 off=0 -> cc=0 cc=0', '1:39 cc: is expected twice'],
    ['CLP list -> data=00', /^1:13 CLP list: "data" is not what it answers/],
    [
      'PCILG fh=dev as=0 len=4 off=0 -> state=broken',
      /^1:34 state: "broken" is not valid; allowed: reserved/,
    ],
    ['PCISTG fh=dev as=0 len=4 off=0 data=01', /^1:1 data: "1 bytes" is not valid; allowed: 4 bytes/],
    ['PCISTB fh=dev as=0 len=16 off=0 src=0 fill=1', /^1:1 PCISTB: "several sources"/],
    ['MPCIFC fh=dev oc=4 fib=0 iota=0', /^1:1 MPCIFC: "fib= and iota="/],
    ['MPCIFC fh=dev oc=2 isc=8', '1:24 isc: "8" is not valid; allowed: 0 to 7'],
    ['memory 0 zz', /^1:10 hex: "zz" is not valid/],
    ['memory 0 123', /^1:10 hex: "123" is not valid/],
    ['memory 0', /^1:9 memory: HEX\.\.\. is missing/],
    ['fill 0 1G 0', /^1:8 length: "1G" is not valid/],
    ['show dev 0 16', /^1:1 show: "dev" is not valid/],
    ['show dev bar7 0 16', /^1:10 bar: "bar7" is not valid/],
    ['map dev 0 0 len=5', /^1:17 len: "5" is not valid; allowed: 4096 to/],
    ['map dev 0 0 len=5000', /^1:1 len: 5000 is not valid; allowed: a multiple of 4096/],
    ['dma dev send 0 1', /^1:9 op: "send" is not valid; allowed: read, write/],
    ['dma dev read 0 0', /^1:1 length: "0" is not valid/],
    ['dma dev write 0 1 of x', /^1:1 byte: "x" is not valid/],
    ['run 5h', /^1:5 time: "5h" is not valid/],
    ['run 2001s', /^1:5 time: /],
    ['option', /^1:1 option: NAME=VALUE is missing/],
    ['option mps=77', /^1:8 mps: "77" is not valid; allowed: 128, 256/],
    ['option nope=1', /^1:8 .*nope/],
    ['function', /^1:1 function: NAME is missing/],
    ['function 1x', /^1:1 function: "1x" is not valid/],
    ['function deadbeef', /^1:1 function: "deadbeef" is not valid/],
    ['function reset', /^1:1 function: "reset" is not valid; allowed: a name that is no command/],
    ['function a bar0=3K', /^1:12 bar0: "3K" is not valid; allowed: a power of two/],
    ['function a bar0=4K bar0=8K', /^1:1 bar0: is given twice/],
    ['function a device=none', /^1:12 device: "none" is not a model/],
    ['function a device=memory bar0=4K', /^1:1 device: "memory" is not valid/],
    ['function a index=65536', /^1:12 index: /],
    ['function a\nfunction A', /^2:1 function: "A" is not valid; allowed: a name that no other function/],
    ['function a index=2\nfunction b', /^2:1 index: 2 is not valid; allowed: an index that a does not have/],
    ['reset\noption mps=128', /^2:1 option comes too late/],
  ])('says of %j what is wrong and where', async (text, wanted) => {
    const [first = '', ...others] = await errorsOf(text);
    expect(others).toEqual([]);
    if (typeof wanted === 'string') expect(first).toBe(wanted);
    else expect(first).toMatch(wanted);
  });

  it('tells of every wrong line, as wrong calls with field and what is allowed', async () => {
    const { errors } = await read('PCILG\nreset\nrun x\n');
    expect(errors.map(({ line }) => line)).toEqual([1, 3]);
    for (const { error } of errors) {
      expect(['invalid-value', 'unknown-name', 'out-of-range']).toContain(error.code);
      expect(error.field).toBeDefined();
      expect(error.allowed).toBeDefined();
    }
  });

  it('is bounded: letters of a line, functions, bytes of BARs', async () => {
    expect(await errorsOf(`# ${'x'.repeat(MAX_LINE)}`)).toEqual([
      `1:1 the line has more than ${MAX_LINE} letters`,
    ]);
    expect(await errorsOf('y'.repeat(1 << 20))).toHaveLength(1);
    const functions = (count: number): string =>
      Array.from({ length: count }, (_, n) => `function f${n} bar0=4K`).join('\n');
    expect(await errorsOf(functions(MAX_FUNCTIONS))).toEqual([]);
    expect(await errorsOf(functions(MAX_FUNCTIONS + 1))).toHaveLength(1);
    expect(await errorsOf(functions(5).replaceAll('4K', '64M'))).toHaveLength(1);
  });

  it('answers any text with a line or with an error that has a column', () => {
    const verbs = [...VERBS.values()];
    const piece = fc.oneof(
      fc.constantFrom(
        ...verbs.map(({ name }) => name),
        '->',
        '#',
        'dev',
        'bar0',
        'of',
        'exception',
        '=',
        'cc=0',
        'ro',
      ),
      fc
        .constantFrom(...new Set(verbs.flatMap(({ operands }) => Object.keys(operands))))
        .map((key) => `${key}=`),
      fc.string({ maxLength: 8 }),
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.bigInt({ min: 0n, max: 1n << 66n }).map(String),
      fc.nat().map((value) => `0x${value.toString(16)}`),
    );
    const line = fc
      .tuple(fc.array(piece, { maxLength: 9 }), fc.constantFrom(' ', '', '\t'))
      .map(([words, blank]) => words.join(blank));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const reader = new ScriptReader();
        for (const text of lines) {
          const found = reader.read(text);
          if (!(found instanceof LineError)) continue;
          expect(found.error).toBeInstanceOf(ZtlpError);
          expect(found.column).toBeGreaterThan(0);
          expect(found.column).toBeLessThanOrEqual(text.length + 1);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
