/** Group `access widths`: a 4 KiB block through `machine.cpu.write`, one host call per access, at every width of a path. */
import type { PathId } from '../src/index.js';
import type { Case, Group } from './case.js';
import { type Bed, BLOCK, bedOf, blockBed, fillsPage, PAGE } from './page.js';

/** A short block takes several hundred nanoseconds: this many bytes make one unit of work. */
const WORK = 64 * PAGE;

/** The block by accesses of `width` bytes, each one host call and one instruction of the path. */
function byAccesses({ machine, fn, page }: Bed, path: PathId, width: number): Case {
  const pieces = Array.from({ length: PAGE / width }, (_, n) => ({
    path,
    function: fn,
    bar: 0,
    block: false,
    offset: n * width,
    data: BLOCK.subarray(n * width, (n + 1) * width),
  }));
  const units = Math.max(1, Math.floor((WORK / PAGE) * (width / PAGE)));
  const name = `${path}, ${PAGE / width} x ${width} B`;
  const run = (): void => {
    for (let n = 0; n < units; n++) for (const piece of pieces) machine.cpu.write(piece);
  };
  return { name, bytes: PAGE, units, run, check: fillsPage(page, name, run) };
}

/** The block by one host call: the core repeats the instruction. */
function byOneCall({ machine, fn, page }: Bed, path: PathId): Case {
  const block = { path, function: fn, bar: 0, offset: 0, data: BLOCK };
  const units = 4;
  const name = `${path}, 4 KiB in one call`;
  const run = (): void => {
    for (let n = 0; n < units; n++) machine.cpu.write(block);
  };
  return { name, bytes: PAGE, units, run, check: fillsPage(page, name, run) };
}

/** 1, 2, 4, ... `longest`. */
function powers(longest: number): number[] {
  return Array.from({ length: Math.log2(longest) + 1 }, (_, n) => 2 ** n);
}

export async function widthsGroup(): Promise<Group> {
  const x86 = await bedOf('x86-64');
  const arm = await bedOf('arm64');
  const zpci = await blockBed();
  const blocks = powers(PAGE).map((width) => byAccesses(zpci, 'zpci-pcistb', width));
  return {
    title: 'access widths',
    unit: '4 KiB block',
    baseline: `zpci-pcistb, 1 x ${PAGE} B`,
    cases: [
      ...powers(64).map((width) => byAccesses(x86, 'x86-uc', width)),
      byOneCall(x86, 'x86-uc'),
      ...powers(16).map((width) => byAccesses(arm, 'arm64-device', width)),
      byOneCall(arm, 'arm64-device'),
      ...powers(8).map((width) => byAccesses(zpci, 'zpci-pcistg8', width)),
      byOneCall(zpci, 'zpci-pcistg8'),
      ...blocks,
    ],
  };
}
