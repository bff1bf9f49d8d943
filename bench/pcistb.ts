/** Groups `pcistb` (host call to bytes in place) and `pcistb splits` (one PCISTB against what it replaces). */
import { crc32 } from 'node:zlib';
import type { Case, Goal, Group } from './case.js';
import { type Bed, BLOCK, blockBed, fillsPage, PAGE, SET_NAME, setCase } from './page.js';

/** Goals of this project, as multiples of one 4 KiB `Uint8Array.set`. */
const SHORT: Goal = { of: 'baseline', limit: 0.8 };
const LONG: Goal = { of: 'baseline', limit: 4.5 };

/** PCISTB of `length` bytes to every place of the page in turn, from guest memory or from a Uint8Array. */
function stores(
  { machine, fn, page }: Bed,
  length: number,
  from: 'guest memory' | 'bytes',
  goal: Goal,
): Case {
  const operands = Array.from({ length: PAGE / length }, (_, n) => {
    const offset = n * length;
    const source = from === 'bytes' ? BLOCK.subarray(offset, offset + length) : offset;
    return { fh: fn.handle, as: 0, offset, length, source };
  });
  const rounds = Math.floor(400 / operands.length);
  const run = (): void => {
    for (let n = 0; n < rounds; n++) for (const operand of operands) machine.cpu.pcistb(operand);
  };
  const name = `${length} B from ${from}`;
  const units = rounds * operands.length;
  return { name, bytes: length, units, run, check: fillsPage(page, name, run), goal };
}

export async function pcistbGroup(): Promise<Group> {
  const bed = await blockBed();
  const copy = { loop: 'copy', bytes: PAGE, check: crc32(BLOCK) } as const;
  return {
    title: 'pcistb',
    unit: 'call',
    baseline: SET_NAME,
    cases: [
      { ...setCase(bed.page), native: copy },
      stores(bed, 128, 'guest memory', SHORT),
      stores(bed, 128, 'bytes', SHORT),
      stores(bed, PAGE, 'guest memory', LONG),
      stores(bed, PAGE, 'bytes', LONG),
    ],
  };
}

/** The block by PCISTB of `length` bytes from guest memory. */
function byBlocks({ machine, fn, page }: Bed, length: number): Case {
  const operands = Array.from({ length: PAGE / length }, (_, n) => {
    return { fh: fn.handle, as: 0, offset: n * length, length, source: n * length };
  });
  const units = Math.max(1, (64 * length) / PAGE);
  const name = `${PAGE / length} x ${length} B PCISTB`;
  const run = (): void => {
    for (let n = 0; n < units; n++) for (const operand of operands) machine.cpu.pcistb(operand);
  };
  return { name, bytes: PAGE, units, run, check: fillsPage(page, name, run) };
}

/** The block by PCISTG of `width` bytes: one host call each, or one that lets the core repeat the instruction. */
function byWords({ machine, fn, page }: Bed, width: 4 | 8, inOneCall: boolean): Case {
  const path = width === 8 ? 'zpci-pcistg8' : 'zpci-pcistg4';
  const step = inOneCall ? PAGE : width;
  const pieces = Array.from({ length: PAGE / step }, (_, n) => {
    const data = BLOCK.subarray(n * step, (n + 1) * step);
    return { path, function: fn, bar: 0, block: inOneCall, offset: n * step, data } as const;
  });
  const units = inOneCall ? 8 : 1;
  const name = `${PAGE / width} x ${width} B PCISTG, ${inOneCall ? 'one host call' : 'a host call each'}`;
  const run = (): void => {
    for (let n = 0; n < units; n++) for (const piece of pieces) machine.cpu.write(piece);
  };
  return { name, bytes: PAGE, units, run, check: fillsPage(page, name, run) };
}

export async function splitsGroup(): Promise<Group> {
  const bed = await blockBed();
  const whole = byBlocks(bed, PAGE);
  return {
    title: 'pcistb splits',
    unit: '4 KiB block',
    baseline: whole.name,
    cases: [
      whole,
      byBlocks(bed, 128),
      byWords(bed, 8, true),
      byWords(bed, 4, true),
      byWords(bed, 8, false),
      byWords(bed, 4, false),
    ],
  };
}
