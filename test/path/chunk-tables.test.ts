/** The tables of zpci.md 3.3, cell for cell: instructions of a Linux copy on s390 by length, offset and helper. */
import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type OptionInput, type PathId, ready, splitAccess } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const OLD: PathId = 'zpci-memcpy-old';
const NEW: PathId = 'zpci-memcpy-new';
const LITERAL: OptionInput = { boundary: 'literal' };

/** Rows of one block of the file, `key: text`. */
function rows(text: string, section: string): (readonly [key: string, text: string])[] {
  const block = new RegExp(`^## ${section}[^\\n]*\\n\\n\`\`\`\\n([^\`]*)\`\`\``, 'm').exec(text)?.[1];
  if (block === undefined) throw new Error(`the file has no block ${section}`);
  return block
    .trim()
    .split('\n')
    .map((line) => {
      const [key = '', rest = ''] = line.split(': ');
      return [key, rest] as const;
    });
}

/** `1B, 8 *7, 1B` as nine cells. */
function cells(row: string): string[] {
  return row.split(', ').flatMap((entry) => {
    const [cell = '', count = '1'] = entry.split(' *');
    return Array<string>(Number(count)).fill(cell);
  });
}

/** `8 x 15, 4,2,1` as sizes. */
function sequence(text: string): number[] {
  return text.split(',').flatMap((entry) => {
    const [size = '', count = '1'] = entry.split(' x ');
    return Array<number>(Number(count)).fill(Number(size));
  });
}

describe.each(BUILDS)('the chunk tables with the %s build', (variant) => {
  let file: string;
  beforeAll(async () => {
    await ready(await readBuild(variant));
    file = await readFile(new URL('../vectors/zpci-chunks.md', import.meta.url), 'utf8');
  });

  /** Sizes in order of what the copy asks for: the tables do not look at answers. */
  function sizes(id: PathId, bytes: number, offset: number, options: OptionInput, source = 0): number[] {
    const input = { op: 'write', offset, bytes, block: true, sourceAddress: source, options } as const;
    return splitAccess(id, { ...input, ignoreFaults: true }).accesses.map((access) => access.bytes);
  }

  /** PCISTG and PCISTB as a cell of the tables. */
  function cell(all: readonly number[]): string {
    const blocks = all.filter((bytes) => bytes > 8).length;
    const words = all.length - blocks;
    if (blocks === 0) return `${words}`;
    return words === 0 ? `${blocks}B` : `${words}+${blocks}B`;
  }

  /** Every cell of a table against what the path lists; the cells that differ. */
  function compare(
    table: readonly (readonly [string, string])[],
    id: PathId,
    options: OptionInput,
    overrides: ReadonlyMap<string, string> = new Map(),
  ): { count: number; wrong: string[] } {
    const wrong: string[] = [];
    let count = 0;
    for (const [length, row] of table) {
      const printed = cells(row);
      expect(printed.length, `cells of ${length}`).toBe(9);
      for (const [offset, plain] of printed.entries()) {
        const expected = overrides.get(`${length}, ${offset}`) ?? plain;
        const actual = cell(sizes(id, Number(length), offset, options));
        if (actual !== expected) wrong.push(`${id} ${length} at ${offset}: ${actual} instead of ${expected}`);
        count += 1;
      }
    }
    return { count, wrong };
  }

  it('Z-CHUNK-11 table 3.3-old: all 630 cells', () => {
    expect(compare(rows(file, 'old'), OLD, {})).toEqual({ count: 630, wrong: [] });
  });

  it('Z-CHUNK-11 table 3.3-new: all 630 cells, the three long lengths with boundary literal', () => {
    expect(compare(rows(file, 'new'), NEW, LITERAL)).toEqual({ count: 630, wrong: [] });
  });

  it('Z-CHUNK-11 table 3.3-new with boundary intended differs in the sixteen cells that are listed and in no other', () => {
    const listed = new Map(rows(file, 'intended'));
    expect(listed.size).toBe(16);
    const table = rows(file, 'new');
    expect(compare(table, NEW, { boundary: 'intended' }, listed)).toEqual({ count: 630, wrong: [] });
    // Each listed cell is a difference.
    const literal = new Map(table.map(([length, row]) => [length, cells(row)]));
    for (const [key, value] of listed) {
      const [length = '', offset = ''] = key.split(', ');
      expect(literal.get(length)?.[Number(offset)], key).not.toBe(value);
    }
  });

  it('Z-CHUNK-11 the ten printed sequences of both helpers', () => {
    const table = rows(file, 'sequences');
    expect(table.length).toBe(10);
    for (const [key, text] of table) {
      const [bytes = 0, offset = 0] = key.split(', ').map(Number);
      const [old = '', recent = ''] = text.split(' / ');
      expect(sizes(OLD, bytes, offset, {}), `old ${key}`).toEqual(sequence(old));
      expect(sizes(NEW, bytes, offset, { boundary: 'intended' }), `new ${key}`).toEqual(sequence(recent));
    }
  });

  it('Z-CHUNK-11 source and I/O offset co-aligned: all 90 cells, with either boundary', () => {
    const table = rows(file, 'co-aligned');
    expect(table.length).toBe(5);
    for (const [length, text] of table) {
      const [old = [], recent = []] = text.split(' / ').map(cells);
      expect([old.length, recent.length]).toEqual([9, 9]);
      for (let offset = 0; offset <= 8; offset++) {
        const bytes = Number(length);
        const at = `${length} at ${offset}`;
        expect(cell(sizes(OLD, bytes, offset, {}, offset)), `old ${at}`).toBe(old[offset]);
        for (const boundary of ['intended', 'literal'] as const) {
          const actual = cell(sizes(NEW, bytes, offset, { boundary }, offset));
          expect(actual, `new ${at}, ${boundary}`).toBe(recent[offset]);
        }
      }
    }
  });

  it('ignoreFaults lists what a refusal cuts off, and changes nothing where none comes', () => {
    const input = { op: 'write', offset: 8, bytes: 4097, block: true, options: LITERAL } as const;
    const stopped = splitAccess(NEW, input);
    expect(stopped.fault?.offset).toBe(0xf88);
    const whole = splitAccess(NEW, { ...input, ignoreFaults: true });
    expect(whole.fault).toBeUndefined();
    expect(whole.totals.bytesDone).toBe(4097);
    expect(whole.accesses.slice(0, stopped.accesses.length)).toEqual(stopped.accesses);
    const good = { ...input, offset: 0 };
    expect(splitAccess(NEW, { ...good, ignoreFaults: true })).toEqual(splitAccess(NEW, good));
  });
});
