// Tables and styles: alignment, grouping, widths that colour does not change, and text that is safe to print.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldTable } from '../../src/report/field-table.js';
import { ansi, clip, PLAIN, printable } from '../../src/report/style.js';
import { group, table } from '../../src/report/table.js';

const HEAD = ['name', 'count', 'note'];
const ROWS = [
  ['a', 7, 'x'],
  ['longer name', 1234567, ''],
];

// biome-ignore lint/suspicious/noControlCharactersInRegex: SGR codes begin with one
const plain = (text: string): string => text.replaceAll(/\u001b\[\d+m/g, '');

describe('a table', () => {
  it('groups numbers, aligns them right and leaves no spaces at the end of a line', () => {
    expect(table(HEAD, ROWS)).toBe(
      [
        'name             count  note',
        '───────────  ─────────  ────',
        'a                    7  x',
        'longer name  1,234,567',
      ].join('\n'),
    );
  });

  it('aligns as told, and a column with text in it left', () => {
    const rows = [
      [1, '2', 30],
      ['none', '10', 4],
    ];
    expect(
      table(['first', 'second', 'third'], rows, { align: ['left', 'right', 'left'] }).split('\n'),
    ).toEqual(['first  second  third', '─────  ──────  ─────', '1           2  30', 'none       10  4']);
    expect(table(['first'], [[1], ['none']]).split('\n')[2]).toBe('1');
  });

  it('has its head alone when there are no rows', () => {
    expect(table(HEAD, [])).toBe('name  count  note');
  });

  it('puts titles of one and of two lines on the rule', () => {
    expect(table(['name', 'wire\nbytes'], [['a', 1234567]]).split('\n')).toEqual([
      '           wire',
      'name      bytes',
      '────  ─────────',
      'a     1,234,567',
    ]);
  });

  it('folds behind its first column when it is too wide, with colour as without', () => {
    const rows = [
      ['a', 1, 22, 333, 4444],
      ['bb', 5, 6, 7, 8],
    ];
    const head = ['name', 'one', 'two', 'three', 'fo\nur'];
    const folded = [
      '                    ',
      'name  one  two',
      '────  ───  ───',
      'a       1   22',
      'bb      5    6',
      '',
      '                fo',
      'name  three     ur',
      '────  ─────  ─────',
      'a       333  4,444',
      'bb        7      8',
    ].map((line) => line.trimEnd());
    // The second part has the head of two lines, the first one does not need it.
    expect(table(head, rows, { width: 18 }).split('\n')).toEqual(folded.slice(1));
    expect(plain(table(head, rows, { width: 18, style: ansi() }))).toBe(table(head, rows, { width: 18 }));
    expect(table(head, rows, { width: 100 })).toBe(table(head, rows));
  });

  it('has a column beside the first one in every part, however narrow the terminal', () => {
    const parts = table(['name', 'x', 'y'], [['a', 1, 2]], { width: 1 }).split('\n\n');
    expect(parts).toHaveLength(2);
    for (const part of parts) expect(part).toMatch(/^name {2}[xy]\n/);
  });

  it('repeats every key column', () => {
    const head = ['device', 'BAR', 'reads', 'writes'];
    const rows = [
      ['00:02.0', 'BAR0', 1, 2],
      ['00:02.0', 'BAR3', 3, 4],
    ];
    const parts = table(head, rows, { width: 24, keys: 2 }).split('\n\n');
    expect(parts.map((part) => part.split('\n').at(-1))).toEqual([
      '00:02.0  BAR3      3',
      '00:02.0  BAR3       4',
    ]);
    // Keys that fill the terminal alone still have a number beside them; a table of keys does not fold.
    expect(table(head, rows, { width: 5, keys: 2 }).split('\n\n')).toHaveLength(2);
    expect(table(head.slice(0, 2), rows, { width: 5, keys: 2 })).not.toContain('\n\n');
  });

  it('is as wide with colour as without', () => {
    const style = ansi();
    const coloured = table(
      HEAD,
      ROWS.map(([name, ...rest]) => [style.warn(String(name)), ...rest]),
      { style },
    );
    expect(coloured).toContain('\u001b[1mcount\u001b[22m');
    expect(coloured).toContain('\u001b[33mlonger name\u001b[39m');
    expect(plain(coloured).replaceAll(/ +$/gm, '')).toBe(table(HEAD, ROWS));
  });

  it('gives wide characters two columns', () => {
    const [, , first, second] = table(
      ['a', 'b'],
      [
        ['漢字', 'x'],
        ['abcd', 'x'],
      ],
    ).split('\n');
    expect([first, second]).toEqual(['漢字  x', 'abcd  x']);
  });

  it('puts the codes of a style around text, and nothing for PLAIN', () => {
    expect([ansi().bold('x'), ansi().dim('x'), ansi().warn('x')]).toEqual([
      '\u001b[1mx\u001b[22m',
      '\u001b[2mx\u001b[22m',
      '\u001b[33mx\u001b[39m',
    ]);
    expect([PLAIN.bold('x'), PLAIN.dim('x'), PLAIN.warn('x')]).toEqual(['x', 'x', 'x']);
  });
});

describe('a table of fields', () => {
  const row = (byte: string, bits: string, field: string, raw: string, meaning: string) => {
    return { byte, bits, field, raw, meaning };
  };
  const rows = [
    row('0', '7:5', 'Fmt', '2', '3 DW header, with data'),
    row('2-3', '9:0', 'Length', '0x001', '1 DW, 4 bytes'),
    row('12-15', '', 'Data', '4 bytes', ''),
  ];

  it.each([[rows], [[]], [rows.slice(0, 1)]])(
    'looks as every other table, with colour as without',
    (list) => {
      const head = ['byte', 'bits', 'field', 'raw', 'meaning'];
      const cells = list.map(({ byte, bits, field, raw, meaning }) => [byte, bits, field, raw, meaning]);
      const align = ['right', 'right', 'left', 'left', 'left'] as const;
      const rule = list.length === 0 ? '\n────  ────  ─────  ───  ───────' : '';
      for (const style of [PLAIN, ansi()])
        expect(fieldTable(list, style)).toBe(`${table(head, cells, { align, style })}${rule}`);
    },
  );
});

describe('a number', () => {
  it.each([
    [0, '0'],
    [-0, '0'],
    [999, '999'],
    [1000, '1,000'],
    [28672, '28,672'],
    [-1234567, '-1,234,567'],
    [1234.5678, '1,234.5678'],
    [0.00001234, '0.00001234'],
    [Number.MAX_SAFE_INTEGER, '9,007,199,254,740,991'],
    [1e21, '1e+21'],
    [Number.NaN, 'NaN'],
    [-Infinity, '-Infinity'],
  ])('%d is printed as %s', (value, text) => {
    expect(group(value)).toBe(text);
  });

  it('is the same without its separators', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const text = group(value);
        expect(Number(text.replaceAll(',', ''))).toBe(value);
        expect(text).toMatch(/^-?\d{1,3}(,\d{3})*$/);
      }),
    );
  });
});

describe('text from a file', () => {
  it('loses what could control a terminal, and nothing else', () => {
    expect(printable('a\u001b[2Jb\u0007\u009b1mc\r\n\td\u202ee')).toBe(
      'a\ufffd[2Jb\ufffd\ufffd1mc\ufffd\ufffd\ufffdd\ufffde',
    );
    expect(printable('größer → 漢字 😀 «ok»')).toBe('größer → 漢字 😀 «ok»');
  });

  it('is clipped between characters', () => {
    expect(clip('abcd', 4)).toBe('abcd');
    expect(clip('abcde', 4)).toBe('abc…');
    expect(clip('ab😀de', 4)).toBe('ab…');
    expect(clip('😀', 1)).toBe('…');
  });
});
