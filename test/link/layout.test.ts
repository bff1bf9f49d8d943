/** The words of a link's port: each file keeps to its part of the map in assembly/link-layout.ts, and no two share bytes. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LINK_PORT_STRIDE } from '../../assembly/link-layout.js';

const ASSEMBLY = join(import.meta.dirname, '..', '..', 'assembly');
const HERE = 'link-layout.ts';

interface Part {
  readonly from: number;
  readonly to: number;
  readonly files: readonly string[];
}

function read(file: string): string {
  return readFileSync(join(ASSEMBLY, file), 'utf8');
}

const parts: readonly Part[] = [
  ...read(HERE).matchAll(/^\/\/ +(\d+)-(\d+) +((?:here|[a-z]+\/[a-z]+\.ts)(?:, here)?) /gm),
].map(([, from, to, files]) => ({
  from: Number(from),
  to: Number(to),
  files: (files as string).split(', ').map((file) => (file === 'here' ? HERE : file)),
}));

/** Where each word begins, by file. Names of a word that stands in another file have no number. */
function wordsOf(file: string): { name: string; at: number }[] {
  const pattern =
    file === HERE
      ? /^export const ((?:LINK|LOAD|END)_\w+) = (\d+);/gm
      : /^(?:export )?const (\w+): usize = (\d+);/gm;
  const fields = /^(LINK_(PORT_STRIDE|MOST|P|NP|CPL|CLASSES|DLLP_BYTES|TAGS|RUNS|DONE|AT_END)|TLP_\w+)$/;
  return [...read(file).matchAll(pattern)]
    .map(([, name, at]) => ({ name: name as string, at: Number(at) }))
    .filter(({ name }) => !fields.test(name));
}

/** Words that are meant to be read or cleared together with the next one. */
const NEIGHBOURS = ['INIT_PHASE', 'INIT_SENT', 'READY_HEAD', 'SEND_FC', 'SEND_NAK'];

const files = [...new Set(parts.flatMap((part) => part.files))];
const words = files.flatMap((file) => wordsOf(file).map((word) => ({ file, ...word })));

describe('the words of a port', () => {
  it('stand in the parts of their files', () => {
    expect(files).toHaveLength(5);
    expect(words.length).toBeGreaterThan(110);
    const strays = words.filter(
      ({ file, at }) => !parts.some((part) => at >= part.from && at <= part.to && part.files.includes(file)),
    );
    expect(strays).toEqual([]);
  });

  it('have no bytes in common', () => {
    const begins = words.map(({ at }) => at);
    expect(new Set(begins).size).toBe(begins.length);
    expect(begins.filter((at) => at % 4 !== 0)).toEqual([]);
  });

  it('are read and written as u64 only where the next word is eight bytes on, or meant', () => {
    const sources = ['link', 'fabric'].flatMap((room) =>
      readdirSync(join(ASSEMBLY, room)).map((file) => read(join(room, file))),
    );
    const at = new Map(words.map((word) => [word.name, word.at]));
    // Words of the map that port.ts names once more.
    for (const [, name, of] of read('link/port.ts').matchAll(/^export const (\w+): usize = (LINK_\w+);/gm))
      at.set(name as string, at.get(of as string) as number);
    const begins = new Set(at.values());
    const uses = sources
      .flatMap((text) => [...text.matchAll(/(?:load<u64>\(port, |store<u64>\(port, .*, )([A-Z_]+)\)/g)])
      .map(([, name]) => name as string)
      .filter((name) => at.has(name));
    expect(uses.length).toBeGreaterThan(100);
    const halves = uses.filter((name) => begins.has((at.get(name) as number) + 4));
    expect([...new Set(halves)].sort()).toEqual(NEIGHBOURS);
  });

  it('has parts that do not overlap within a port', () => {
    const ends = parts.flatMap(({ from, to }) => [from, to]);
    expect(ends).toEqual([...ends].sort((one, other) => one - other));
    expect(ends.at(-1)).toBeLessThan(LINK_PORT_STRIDE);
  });
});
